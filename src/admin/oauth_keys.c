/* Keys of issuers, fetched: `oauth add` without keys, `oauth refresh`, which control runs by itself when they are due (directory/issuer.h), and
 * `oauth check` of a token whose key is not known.
 *
 *      ISSUER/.well-known/openid-configuration ──► jwks_uri ──► the keys
 *
 * Both texts come over https from a server whose certificate is right, so nobody between can put keys of his own there. Whatever goes wrong, the keys
 * that were fetched before stay, and the list says what it was; but not for ever: an issuer that gives none for days (the setting token_keys_age) may
 * have lost one to a thief, and could not say so. An issuer that publishes a set without a key of use has said so: those of before count no longer.
 *
 * The administrator has named the issuer, and may mean one in his own network. The document of the issuer names where its keys are: at another host
 * that is a stranger's word, and not followed into private networks. */
#include "admin/oauth.h"
#include "auth/discovery.h"
#include "auth/jwks.h"
#include "base/clock.h"
#include "base/log.h"
#include "text/reason.h"

enum { FETCH_MS = 20000, DAY_S = 86400 };

/* ---- looking ---- */

static struct str url_text(const struct http_url *u, struct arena *a)
{
	if (u->port == 0)
		return arena_printf(a, "https://" STR_FMT STR_FMT, STR_ARG(u->host), STR_ARG(u->path));
	return arena_printf(a, "https://" STR_FMT ":%u" STR_FMT, STR_ARG(u->host), u->port, STR_ARG(u->path));
}

/* why may be a stranger's: as much of it as is kept. */
static enum err is_at_fault(struct issuer_source *s, enum issuer_fault fault, struct str why)
{
	s->fault = fault;
	s->why = str_sub(why, 0, ISSUER_WHY_MAX);
	return ERR_NOTFOUND;
}

/* ERR_NOTFOUND: there is no such text; the source says why, also where it is our own process that does not answer: else the age of the keys would not be
 * looked at as long as it does not. */
static enum err fetch(struct admin_call *c, const struct http_url *url, bool public_only, struct issuer_source *s, struct str *text)
{
	struct http_place place = { .host = url->host, .port = url->port, .path = url->path, .body_max = FETCH_ANSWER_MAX, .deadline_ms = FETCH_MS,
	                            .public_only = public_only, .type = STR("") };
	struct fetch_said said;
	enum err e;

	s->asked = url_text(url, &c->arena);
	e = c->host->fetch(c->host->context, &place, &c->arena, &said);
	if (e == ERR_INVALID)  /* net would not even ask */
		return is_at_fault(s, ISSUER_NO_ANSWER, STR("that is not the name of a host"));
	if (e != ERR_OK)
		return is_at_fault(s, ISSUER_NO_ANSWER, STR("the process of this server that asks others does not answer"));
	if (said.e != ERR_OK)
		return is_at_fault(s, ISSUER_NO_ANSWER, said.why);
	if (said.status != 200)
		return is_at_fault(s, ISSUER_STATUS, admin_number_text(c, said.status));
	*text = said.body;
	return ERR_OK;
}

static enum err read_document(struct admin_call *c, struct issuer *i, struct str text, struct str *keys)
{
	struct str said;

	switch (discovery_read(text, i->name, &c->arena, keys, &said)) {
	case ERR_OK:       return ERR_OK;
	case ERR_CONFLICT: return is_at_fault(&i->source, ISSUER_OTHER, said);
	case ERR_NOTFOUND: return is_at_fault(&i->source, ISSUER_NO_KEYS_URL, said);
	default:           return is_at_fault(&i->source, ISSUER_NO_DOCUMENT, STR(""));
	}
}

/* Where its keys are. Where neither place has the document, the fault of the usual one is told. */
static enum err find_keys_url(struct admin_call *c, struct issuer *i, const struct http_url places[DISCOVERY_PLACES], struct str *url)
{
	struct issuer_source usual = i->source;
	struct str text;
	enum err e = ERR_OK;

	for (size_t k = 0; k < DISCOVERY_PLACES; k++) {
		e = fetch(c, &places[k], false, &i->source, &text);
		if (e == ERR_OK)
			e = read_document(c, i, text, url);
		if (e != ERR_NOTFOUND || i->source.fault == ISSUER_OTHER || i->source.fault == ISSUER_NO_KEYS_URL)
			return e;
		if (k == 0)
			usual = i->source;
		if (i->source.fault == ISSUER_NO_ANSWER)
			break;
	}
	i->source = usual;
	return e;
}

static enum err read_keys(struct admin_call *c, struct issuer *i, struct str text)
{
	struct issuer_key *keys = arena_array(&c->arena, ISSUER_KEYS_MAX, sizeof *keys);
	size_t n;

	switch (jwks_read(text, &c->arena, keys, &n)) {
	case ERR_OK:       break;
	case ERR_NOTFOUND: return is_at_fault(&i->source, ISSUER_KEYS_NONE, STR(""));
	case ERR_DENIED:   return is_at_fault(&i->source, ISSUER_KEYS_SECRET, STR(""));
	case ERR_LIMIT:    return is_at_fault(&i->source, ISSUER_KEYS_MANY, STR(""));
	default:           return is_at_fault(&i->source, ISSUER_KEYS_BAD, STR(""));
	}
	i->keys = keys;
	i->key_count = n;
	return ERR_OK;
}

enum err oauth_fetch(struct admin_call *c, struct issuer *i)
{
	struct http_url places[DISCOVERY_PLACES], url;
	struct issuer_source *s = &i->source;
	struct str text, keys_url;

	s->is_fetched = true;
	s->tried_s = clock_wall_s();
	s->asked = i->name;
	if (!discovery_places(i->name, &c->arena, places))
		return is_at_fault(s, ISSUER_NO_ANSWER, STR("that is not an address that begins with https://"));
	TRY(find_keys_url(c, i, places, &keys_url));
	if (!http_url_read(keys_url, &c->arena, &url))
		return is_at_fault(s, ISSUER_NO_KEYS_URL, keys_url);
	TRY(fetch(c, &url, !str_eq(url.host, places[0].host), s, &text));
	TRY(read_keys(c, i, text));
	s->url = keys_url;
	s->fetched_s = s->tried_s;
	s->fault = ISSUER_FINE;
	s->asked = s->why = STR("");
	return ERR_OK;
}

/* ---- what came of it ---- */

struct str oauth_trouble(struct admin_call *c, const struct issuer *i)
{
	static const enum text texts[ISSUER_FAULT_COUNT] = {
		[ISSUER_NO_ANSWER] = TEXT_ISSUER_NO_ANSWER, [ISSUER_STATUS] = TEXT_ISSUER_STATUS, [ISSUER_NO_DOCUMENT] = TEXT_ISSUER_NO_DOCUMENT,
		[ISSUER_OTHER] = TEXT_ISSUER_OTHER, [ISSUER_NO_KEYS_URL] = TEXT_ISSUER_NO_KEYS_URL, [ISSUER_KEYS_BAD] = TEXT_ISSUER_KEYS_BAD,
		[ISSUER_KEYS_NONE] = TEXT_ISSUER_KEYS_NONE, [ISSUER_KEYS_SECRET] = TEXT_ISSUER_KEYS_SECRET, [ISSUER_KEYS_MANY] = TEXT_ISSUER_KEYS_MANY,
	};
	const struct issuer_source *s = &i->source;
	struct str words;

	if (s->fault == ISSUER_FINE)
		return STR("");
	words = text_format(&c->arena, c->lang, texts[s->fault], ADMIN_TEXTS(s->asked, text_reason(&c->arena, c->lang, s->why)));
	return i->key_count > 0 || s->fetched_s == 0 || s->fault == ISSUER_KEYS_NONE ? words : text_format(&c->arena, c->lang, TEXT_ISSUER_KEYS_TOO_OLD, ADMIN_TEXTS(words));
}

static bool has_key(const struct issuer *i, const struct issuer_key *k)
{
	for (size_t j = 0; j < i->key_count; j++)
		if (str_eq(i->keys[j].kid, k->kid) && str_eq(i->keys[j].public_der, k->public_der))
			return true;
	return false;
}

/* In whatever order: some issuers say them in another one each time. */
static bool has_same_keys(const struct issuer *a, const struct issuer *b)
{
	for (size_t k = 0; k < a->key_count; k++)
		if (!has_key(b, &a->keys[k]))
			return false;
	return a->key_count == b->key_count;
}

/* Do the keys of before count no longer? */
static enum err is_over(struct admin_call *c, const struct issuer *i, bool *yes)
{
	struct conf *conf;

	TRY(directory_conf(c->directory, &conf));
	*yes = i->key_count > 0 && (i->source.fault == ISSUER_KEYS_NONE ||
	                            i->source.tried_s - i->source.fetched_s > (int64_t)conf_number(conf, SETTING_token_keys_age));
	conf_free(conf);
	return ERR_OK;
}

/* i as it stands in the directory by now; found: as it was looked at. */
static enum err keep(struct admin_call *c, struct issuer *i, const struct issuer *found, bool *changed)
{
	bool has_come = found->source.fault == ISSUER_FINE, over = false;

	i->source = found->source;
	if (!has_come)
		TRY(is_over(c, i, &over));
	if (!over && (!has_come || has_same_keys(i, found)))
		return issuer_note(c->directory, i->name, &i->source);
	i->keys = found->keys;
	i->key_count = over ? 0 : found->key_count;
	i->changed_s = i->source.tried_s;
	*changed = true;
	if (over)
		log_error("the keys of an issuer are not believed any more issuer=" STR_FMT " withdrawn=%s days=%lld", STR_ARG(i->name),
		          i->source.fault == ISSUER_KEYS_NONE ? "yes" : "no", (long long)((i->source.tried_s - i->source.fetched_s) / DAY_S));
	else
		log_info("an issuer has other keys issuer=" STR_FMT " keys=%zu", STR_ARG(i->name), i->key_count);
	return issuer_set(c->directory, i);
}

enum err oauth_refresh(struct admin_call *c, struct str name, struct issuer *now, bool *changed)
{
	struct issuer found;
	enum err e;

	TRY(issuer_get(c->directory, name, &c->arena, &found));
	found.source.tried_s = clock_wall_s();
	TRY(issuer_note(c->directory, name, &found.source));  /* who else finds it due meanwhile leaves it to this look */
	e = oauth_fetch(c, &found);
	if (e != ERR_OK)
		log_warn("the keys of an issuer could not be fetched issuer=" STR_FMT " asked=" STR_FMT " fault=%d reason=" STR_FMT, STR_ARG(name),
		         STR_ARG(found.source.asked), (int)found.source.fault, STR_ARG(found.source.why));
	TRY(issuer_get(c->directory, name, &c->arena, now));   /* the directory was open meanwhile */
	return now->source.is_fetched ? keep(c, now, &found, changed) : ERR_OK;
}

/* ---- oauth refresh ---- */

static void put_issuer_row(struct admin_call *c, const struct issuer *i)
{
	struct str trouble = oauth_trouble(c, i);
	json_t *row = admin_row(c);

	admin_put_text(row, "issuer", i->name);
	admin_put_number(row, "keys", i->key_count);
	admin_put_number(row, "fetched", (uint64_t)i->source.fetched_s);
	admin_put_text(row, "trouble", trouble);
	c->has_fault = c->has_fault || trouble.n > 0;
}

/* Looked at as it is by now: another look may have taken it while this one was busy with those before it. */
static enum err refresh(struct admin_call *c, struct str name, bool is_named, bool *changed)
{
	struct issuer i;

	TRY(issuer_get(c->directory, name, &c->arena, &i));
	if (!i.source.is_fetched || (admin_is_on(c, "due") && !issuer_is_due(&i, is_named, clock_wall_s())))
		return ERR_OK;
	TRY(oauth_refresh(c, name, &i, changed));
	put_issuer_row(c, &i);
	return ERR_OK;
}

static enum err refresh_all(struct admin_call *c, struct str name, const struct issuer *list, size_t n, bool *changed)
{
	for (size_t i = 0; i < n; i++) {
		enum err e = name.p == NULL || str_eq(list[i].name, name) ? refresh(c, list[i].name, name.p != NULL, changed) : ERR_OK;
		if (e != ERR_OK && e != ERR_NOTFOUND)  /* removed meanwhile */
			return e;
	}
	return ERR_OK;
}

enum err admin_oauth_refresh(struct admin_call *c)
{
	struct str name = admin_text(c, "issuer");
	struct issuer *list, one;
	bool changed = false;
	enum err e;
	size_t n;

	if (!c->host->is_running)
		return admin_refuse(c, ERR_UNAVAILABLE, TEXT_ADMIN_NOT_RUNNING, STR(""));
	e = name.p == NULL ? ERR_OK : issuer_get(c->directory, name, &c->arena, &one);
	if (e == ERR_NOTFOUND)
		return admin_refuse(c, e, TEXT_ADMIN_NO_SUCH_ISSUER, name);
	if (e != ERR_OK)
		return e;
	if (name.p != NULL && !one.source.is_fetched)
		return admin_refuse(c, ERR_INVALID, TEXT_ISSUER_BY_HAND, name);
	TRY(issuer_list(c->directory, &c->arena, &list, &n));
	e = refresh_all(c, name, list, n, &changed);
	if (changed)
		TRY(admin_publish(c));
	return e;
}
