/* Records that people typed or pasted. The judgement is not that of a verifier (which takes what it can): it looks for what goes wrong
 * between two web pages, and says which. What depends on further questions (an include: in SPF) is asked by who called, or left unsure instead of wrong. */
#include "mailauth/published.h"
#include "base/bytes.h"

enum { KEY_TEXT_MAX = 4096 };

static bool is_pasted_with_quotes(struct str text) { return str_chr(text, '"') >= 0; }
static bool is_pasted_with_backslashes(struct str text) { return str_find(text, STR("\\;")) >= 0; }

/* The one that is meant, of those at the name; *count: how many are. */
static struct str pick(const struct str *texts, size_t n, bool (*is_meant)(struct str), size_t *count)
{
	struct str first = STR("");

	*count = 0;
	for (size_t i = 0; i < n; i++)
		if (is_meant(texts[i]) && (*count)++ == 0)
			first = texts[i];
	return first;
}

/* One that would be meant if it were written right. */
static enum published why_none(const struct str *texts, size_t n, struct str word, struct str *at)
{
	for (size_t i = 0; i < n; i++) {
		if (str_ifind(texts[i], word) < 0)
			continue;
		*at = texts[i];
		return is_pasted_with_quotes(*at) ? PUBLISHED_QUOTED : is_pasted_with_backslashes(*at) ? PUBLISHED_BACKSLASHED : PUBLISHED_MALFORMED;
	}
	return PUBLISHED_MISSING;
}

/* The only record that is meant, as it should be pasted: GOOD, and *at is it. word: by what a spoilt one is known. */
static enum published pick_only(const struct str *texts, size_t n, bool (*is_meant)(struct str), struct str word, struct str *at)
{
	size_t count;

	*at = pick(texts, n, is_meant, &count);
	if (count == 0)
		return why_none(texts, n, word, at);
	if (count > 1)
		return PUBLISHED_TWICE;
	if (is_pasted_with_quotes(*at))
		return PUBLISHED_QUOTED;
	return is_pasted_with_backslashes(*at) ? PUBLISHED_BACKSLASHED : PUBLISHED_GOOD;
}

/* The value of a tag (RFC 6376 §3.2); p == NULL: there is none. */
static struct str tag(struct str text, char name)
{
	struct str item, rest = text, key, value;
	bool more = true;

	while (more) {
		more = str_cut(rest, ';', &item, &rest);
		if (str_cut(item, '=', &key, &value) && str_eq(str_trim(key), str_make(&name, 1)))
			return str_trim(value);
	}
	return STR_NONE;
}

/* ---- DKIM (RFC 6376 §3.6.1) ---- */

static bool is_key(struct str text) { return tag(text, 'p').p != NULL || str_ifind(text, STR("DKIM1")) >= 0; }

static void without_space(struct buf *out, struct str text)
{
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] != ' ' && text.p[i] != '\t' && text.p[i] != '\r' && text.p[i] != '\n')
			buf_add_char(out, text.p[i]);
}

static enum published compare_key(struct str given, struct str public_key)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf text = BUF(KEY_TEXT_MAX);
	struct str wanted = base64_encode(&a, public_key);

	without_space(&text, given);
	if (text.failed)
		return PUBLISHED_OTHER_KEY;
	if (text.n == 0)
		return PUBLISHED_REVOKED;
	if (str_eq(buf_str(&text), wanted))
		return PUBLISHED_GOOD;
	return str_starts(wanted, buf_str(&text)) ? PUBLISHED_CUT : PUBLISHED_OTHER_KEY;
}

enum published published_dkim(const struct str *texts, size_t n, enum dkim_algorithm algorithm, struct str public_key, struct str *at)
{
	struct str p, k, t;
	enum published found = pick_only(texts, n, is_key, STR("="), at);

	if (found != PUBLISHED_GOOD)
		return found;
	p = tag(*at, 'p');
	k = tag(*at, 'k');
	t = tag(*at, 't');
	if (p.p == NULL)
		return PUBLISHED_MALFORMED;
	found = compare_key(p, public_key);
	if (found != PUBLISHED_GOOD)
		return found;
	if (!str_eq(k.p != NULL ? k : STR("rsa"), str_of(dkim_algorithm(algorithm)->key_type)))
		return PUBLISHED_MALFORMED;
	return str_chr(t, 'y') >= 0 ? PUBLISHED_TESTING : PUBLISHED_GOOD;
}

struct str published_dkim_text(struct arena *a, enum dkim_algorithm algorithm, struct str public_key)
{
	return arena_printf(a, "v=DKIM1; k=%s; p=" STR_FMT, dkim_algorithm(algorithm)->key_type, STR_ARG(base64_encode(a, public_key)));
}

/* ---- DMARC (RFC 7489 §6.3) ---- */

static bool is_dmarc(struct str text) { return str_starts(text, STR("v=DMARC1")); }

enum published published_dmarc(const struct str *texts, size_t n, struct str *at)
{
	enum published found = pick_only(texts, n, is_dmarc, STR("DMARC1"), at);
	struct str p;

	if (found != PUBLISHED_GOOD)
		return found;
	p = tag(*at, 'p');
	return str_ieq(p, STR("none")) || str_ieq(p, STR("quarantine")) || str_ieq(p, STR("reject")) ? PUBLISHED_GOOD : PUBLISHED_MALFORMED;
}

/* ---- SPF (RFC 7208) ---- */

static bool is_spf(struct str text)
{
	return str_ieq(text, STR("v=spf1")) || str_istarts(text, STR("v=spf1 "));  /* §4.5 */
}

enum { SPF_QUESTIONS_MAX = 10, SPF_DEPTH_MAX = 10 };  /* §4.6.4: a record that needs more is an error for all who read it */

struct spf {
	const struct published_sender *sender;
	struct published_world world;
	struct str domain;        /* whose record this is */
	int    depth;
	bool   covered[64];       /* of the sender's addresses */
	bool   all_covered, is_unsure, is_open, is_malformed, is_too_much;
	size_t questions;
	struct str broken;        /* an include: or redirect= that leads to no record */
	struct str redirect;
};

static void cover(struct spf *f, struct str network)
{
	for (size_t i = 0; i < f->sender->address_count && i < COUNT_OF(f->covered); i++)
		f->covered[i] |= peer_is_in(&f->sender->addresses[i], network);
}

static void judge(struct spf *f, struct str record);

static void merge(struct spf *f, const struct spf *inner, bool passes)
{
	for (size_t i = 0; passes && i < COUNT_OF(f->covered); i++)
		f->covered[i] |= inner->covered[i];
	f->all_covered |= passes && inner->all_covered;
	f->is_open |= passes && inner->is_open;
	f->is_unsure |= inner->is_unsure;
	f->is_malformed |= inner->is_malformed;
	f->is_too_much |= inner->is_too_much;
	f->questions = inner->questions;
	if (inner->broken.n > 0)
		f->broken = inner->broken;
}

/* include: (§5.2), redirect= (§6.1): what the other domain allows. A name with a macro in it is another one for each mail. */
static void follow(struct spf *f, struct str domain, bool passes)
{
	struct str texts[PUBLISHED_TEXTS_MAX], record;
	size_t n = 0, count;

	f->is_too_much |= f->questions > SPF_QUESTIONS_MAX || f->depth == SPF_DEPTH_MAX;
	if (f->is_too_much)
		return;
	if (f->world.ask == NULL || str_chr(domain, '%') >= 0 || f->world.ask(f->world.context, domain, texts, &n) != ERR_OK) {
		f->is_unsure = true;
		return;
	}
	record = pick(texts, n, is_spf, &count);
	if (count != 1) {
		f->broken = domain;
		return;
	}
	struct spf inner = { .sender = f->sender, .world = f->world, .domain = domain, .depth = f->depth + 1, .questions = f->questions };
	judge(&inner, record);
	merge(f, &inner, passes);
}

/* "mx" or "a", of a host or a domain that may stand behind it. */
static void term_host(struct spf *f, bool is_mx, struct str value, bool passes)
{
	bool is_own = value.n == 0 || value.p[-1] == '/' || str_ieq(value, f->domain);
	struct str host = is_own ? f->domain : value;

	if (!is_mx)
		f->all_covered |= passes && str_ieq(host, f->sender->hostname);
	else if (str_ieq(host, f->sender->domain))
		f->all_covered |= passes && f->sender->is_mx;
	else
		f->is_unsure |= f->depth > 0;  /* somebody else's hosts may be ours; in one's own record one would write it otherwise */
}

/* One mechanism or modifier (§4.6.1); false: what follows is never looked at. */
static bool term(struct spf *f, struct str text)
{
	struct str name, value, rest;
	bool passes = text.p[0] != '-' && text.p[0] != '~' && text.p[0] != '?';

	if (!passes || text.p[0] == '+')
		text = str_from(text, 1);
	if (str_ieq(text, STR("all"))) {
		f->is_open |= passes;
		f->redirect = STR("");
		return false;
	}
	if (str_istarts(text, STR("redirect="))) {
		f->redirect = str_from(text, 9);
		return true;
	}
	if (str_istarts(text, STR("include:"))) {
		f->questions++;
		follow(f, str_from(text, 8), passes);
		return true;
	}
	if (str_istarts(text, STR("exists:")) || str_istarts(text, STR("ptr"))) {
		f->questions++;
		f->is_unsure = true;
		return true;
	}
	str_cut(text, ':', &name, &value);
	if (str_ieq(name, STR("ip4")) || str_ieq(name, STR("ip6"))) {
		if (passes)
			cover(f, value);
		return true;
	}
	if (value.n == 0)
		str_cut(text, '/', &name, &value);  /* "mx/24" */
	else
		str_cut(value, '/', &value, &rest);  /* "mx:example.org/24" */
	if (str_ieq(name, STR("mx")) || str_ieq(name, STR("a"))) {
		f->questions++;
		term_host(f, name.n == 2, value, passes);
	} else if (str_chr(text, '=') < 0) {
		f->is_malformed = true;  /* an unknown modifier is passed over, an unknown mechanism is an error (§4.6, §6) */
	}
	return true;
}

/* A record from its version on. */
static void judge(struct spf *f, struct str record)
{
	struct str word, rest = str_from(record, 6);
	bool more = true;

	while (more) {
		more = str_cut(rest, ' ', &word, &rest);
		if (word.n > 0 && !term(f, word))
			break;
	}
	if (f->redirect.n > 0) {
		f->questions++;
		follow(f, f->redirect, true);
	}
	f->is_too_much |= f->questions > SPF_QUESTIONS_MAX;
}

static bool is_covered(const struct spf *f)
{
	size_t n = f->sender->address_count;

	if (f->all_covered)
		return true;
	for (size_t i = 0; i < n; i++)
		if (i >= COUNT_OF(f->covered) || !f->covered[i])
			return false;
	return n > 0;
}

enum published published_spf(const struct str *texts, size_t n, const struct published_sender *s, const struct published_world *world,
                             struct str *at)
{
	struct spf f = { .sender = s, .world = *world, .domain = s->domain };
	size_t count;

	*at = pick(texts, n, is_spf, &count);
	if (count == 0)
		return why_none(texts, n, STR("v=spf1"), at);
	if (count > 1)
		return PUBLISHED_TWICE;
	if (is_pasted_with_quotes(*at))
		return PUBLISHED_QUOTED;
	judge(&f, *at);
	if (f.is_malformed)
		return PUBLISHED_MALFORMED;
	if (f.is_too_much)
		return PUBLISHED_TOO_MUCH;
	if (f.broken.n > 0) {
		*at = f.broken;
		return PUBLISHED_NOWHERE;
	}
	if (f.is_open)
		return PUBLISHED_OPEN;
	return is_covered(&f) ? PUBLISHED_GOOD : f.is_unsure ? PUBLISHED_UNSURE : PUBLISHED_NOT_US;
}
