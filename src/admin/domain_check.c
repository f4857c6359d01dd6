/* domain check: each record that `domain dns` prints, looked up as a stranger would, and a sentence on each: right, or what happened to it
 * and how to mend it. Nothing is guessed where the name servers do not answer: such a row is "unclear".
 *
 * A DKIM key that waits signs from the moment its record is seen here; that is the one thing this command changes. */
#include "admin/domain_check.h"
#include "base/bytes.h"
#include "dns/name.h"
#include "dns/record.h"
#include "mailauth/published.h"

enum { SHOWN_MAX = 120 };

/* ---- rows ---- */

void check_put(struct check *k, struct str name, enum dns_type type, const char *state, enum text id, const struct str *args, size_t n)
{
	json_t *row = admin_row(k->c);

	admin_put_text(row, "name", name);
	admin_put_text(row, "type", str_of(domain_record_type(type)));
	admin_put_text(row, "verdict", str_of(state));
	admin_put_text(row, "finding", text_format(&k->c->arena, k->c->lang, id, args, n));
	k->to_mend += strcmp(state, "missing") == 0 || strcmp(state, "wrong") == 0;
}

static struct str shown(struct str text) { return str_sub(text, 0, SHOWN_MAX); }

enum err check_look_up(struct check *k, struct str name, enum dns_type type, struct dns_answer *out, bool *usable)
{
	TRY(k->c->host->question(k->c->host->context, name, type, &k->c->arena, out));
	*usable = out->outcome != DNS_FAILED && out->outcome != DNS_FORGED;
	if (!*usable)
		FOUND(k, name, type, "unclear", TEXT_CHECK_FAILED, out->why);
	return ERR_OK;
}

/* ---- where mail goes ---- */

static void add_addresses(struct check *k, const struct dns_answer *answer)
{
	for (size_t i = 0; i < answer->n && k->address_count < CHECK_ADDRESSES_MAX; i++)
		k->address_count += dns_read_address(answer->records[i], &k->addresses[k->address_count]);
}

static void check_exchangers(struct check *k, const struct dns_answer *answer)
{
	struct arena *a = &k->c->arena;
	struct str domain = k->records.domain, hostname = k->records.hostname, others = STR(""), doubled;
	enum text id = TEXT_CHECK_MX_ELSEWHERE;
	struct dns_mx mx;

	doubled = arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(hostname), STR_ARG(domain));
	for (size_t i = 0; i < answer->n; i++) {
		if (!dns_read_mx(answer->records[i], a, &mx))
			continue;
		if (str_eq(mx.host, hostname)) {
			k->is_mx = true;
			continue;
		}
		if (mx.host.n == 0)
			id = TEXT_CHECK_MX_NULL;
		else if (str_eq(mx.host, doubled))
			id = TEXT_CHECK_MX_DOT;
		else if (!domain_is_host(mx.host))
			id = TEXT_CHECK_MX_ADDRESS;
		others = arena_printf(a, STR_FMT "%s" STR_FMT, STR_ARG(others), others.n ? ", " : "", STR_ARG(mx.host));
		if (mx.host.n && k->other_count < CHECK_HOSTS_MAX)
			k->others[k->other_count++] = mx.host;
	}
	if (!k->is_mx)
		FOUND(k, domain, DNS_MX, "wrong", id, others, hostname);
	else if (others.n > 0)
		FOUND(k, domain, DNS_MX, "unclear", TEXT_CHECK_MX_ALSO, others);
	else
		FOUND(k, domain, DNS_MX, "right", TEXT_CHECK_MX_RIGHT, hostname);
}

static enum err check_mx(struct check *k)
{
	struct str domain = k->records.domain;
	struct dns_answer answer;
	bool usable;

	TRY(check_look_up(k, domain, DNS_MX, &answer, &usable));
	if (!usable)
		return ERR_OK;
	if (answer.outcome == DNS_NO_NAME)
		FOUND(k, domain, DNS_MX, "missing", TEXT_CHECK_NO_DOMAIN, domain);
	else if (answer.outcome == DNS_NONE)
		FOUND(k, domain, DNS_MX, "missing", TEXT_CHECK_MX_MISSING, domain, k->records.hostname);
	else
		check_exchangers(k, &answer);
	return ERR_OK;
}

static bool is_private(const struct peer *p)
{
	static const char *const networks[] = { "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
	                                        "fc00::/7", "fe80::/10", "::1/128" };

	for (size_t i = 0; i < COUNT_OF(networks); i++)
		if (peer_is_in(p, str_of(networks[i])))
			return true;
	return false;
}

static enum err check_reverse(struct check *k, const struct peer *p)
{
	struct str hostname = k->records.hostname, name = dns_reverse_name(p, &k->c->arena), text, called = STR("");
	char room[PEER_TEXT_MAX];
	struct dns_answer answer;
	bool usable;

	text = str_copy(&k->c->arena, peer_text(p, room));
	TRY(check_look_up(k, name, DNS_PTR, &answer, &usable));
	if (!usable)
		return ERR_OK;
	for (size_t i = 0; i < answer.n; i++) {
		struct str one;

		if (dns_read_name(answer.records[i], &k->c->arena, &one) && (called.n == 0 || str_eq(one, hostname)))
			called = one;
	}
	if (called.n == 0)
		FOUND(k, text, DNS_PTR, "missing", TEXT_CHECK_PTR_MISSING, text, hostname);
	else if (!str_eq(called, hostname))
		FOUND(k, text, DNS_PTR, "wrong", TEXT_CHECK_PTR_OTHER, text, called, hostname);
	else
		FOUND(k, text, DNS_PTR, "right", TEXT_CHECK_PTR_RIGHT, hostname);
	return ERR_OK;
}

static enum err check_addresses(struct check *k)
{
	static const enum dns_type types[] = { DNS_A, DNS_AAAA };
	struct str hostname = k->records.hostname;
	bool usable, is_unclear = false;

	for (size_t i = 0; i < COUNT_OF(types); i++) {
		struct dns_answer answer;

		TRY(check_look_up(k, hostname, types[i], &answer, &usable));
		is_unclear |= !usable;
		if (usable && !str_eq(answer.canonical, hostname) && answer.n > 0)
			FOUND(k, hostname, types[i], "wrong", TEXT_CHECK_ADDRESS_ALIAS, hostname, answer.canonical);
		if (usable)
			add_addresses(k, &answer);
	}
	if (k->address_count == 0 && !is_unclear)
		FOUND(k, hostname, DNS_A, "missing", TEXT_CHECK_ADDRESS_MISSING, hostname);
	for (size_t i = 0; i < k->address_count; i++) {
		const struct peer *p = &k->addresses[i];
		char room[PEER_TEXT_MAX];
		struct str text = str_copy(&k->c->arena, peer_text(p, room));

		if (is_private(p))
			FOUND(k, hostname, peer_is_v4(p) ? DNS_A : DNS_AAAA, "unclear", TEXT_CHECK_ADDRESS_PRIVATE, hostname, text);
		else
			FOUND(k, hostname, peer_is_v4(p) ? DNS_A : DNS_AAAA, "right", TEXT_CHECK_ADDRESS_RIGHT, text);
		TRY(check_reverse(k, p));
	}
	return ERR_OK;
}

/* ---- texts ---- */

size_t check_texts(struct check *k, const struct dns_answer *answer, struct str out[CHECK_TEXTS_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < answer->n && n < CHECK_TEXTS_MAX; i++)
		n += dns_read_text(answer->records[i], &k->c->arena, &out[n]);
	return n;
}

/* The record stands under its name with the domain once more behind it? */
static enum err is_doubled(struct check *k, struct str name, struct str *doubled, bool *out)
{
	struct dns_answer answer;

	*doubled = arena_printf(&k->c->arena, STR_FMT "." STR_FMT, STR_ARG(name), STR_ARG(k->records.domain));
	TRY(k->c->host->question(k->c->host->context, *doubled, DNS_TXT, &k->c->arena, &answer));
	*out = answer.outcome == DNS_RECORDS;
	return ERR_OK;
}

static enum text sentence_of(enum published what)
{
	static const enum text sentences[PUBLISHED_COUNT] = {
		[PUBLISHED_GOOD] = TEXT_CHECK_RIGHT,
		[PUBLISHED_MISSING] = TEXT_CHECK_TXT_MISSING,
		[PUBLISHED_TWICE] = TEXT_CHECK_TXT_TWICE,
		[PUBLISHED_QUOTED] = TEXT_CHECK_TXT_QUOTED,
		[PUBLISHED_BACKSLASHED] = TEXT_CHECK_TXT_BACKSLASHED,
		[PUBLISHED_MALFORMED] = TEXT_CHECK_TXT_MALFORMED,
		[PUBLISHED_CUT] = TEXT_CHECK_DKIM_CUT,
		[PUBLISHED_OTHER_KEY] = TEXT_CHECK_DKIM_OTHER,
		[PUBLISHED_REVOKED] = TEXT_CHECK_DKIM_REVOKED,
		[PUBLISHED_TESTING] = TEXT_CHECK_DKIM_TESTING,
		[PUBLISHED_OPEN] = TEXT_CHECK_SPF_OPEN,
		[PUBLISHED_NOT_US] = TEXT_CHECK_SPF_NOT_US,
		[PUBLISHED_UNSURE] = TEXT_CHECK_SPF_UNSURE,
		[PUBLISHED_NOWHERE] = TEXT_CHECK_SPF_NOWHERE,
		[PUBLISHED_TOO_MUCH] = TEXT_CHECK_SPF_TOO_MUCH,
	};

	return sentences[what];
}

static const char *state_of(enum published what)
{
	switch (what) {
	case PUBLISHED_GOOD:                            return "right";
	case PUBLISHED_MISSING:                         return "missing";
	case PUBLISHED_UNSURE: case PUBLISHED_TESTING:  return "unclear";
	default:                                        return "wrong";
	}
}

static enum err put_missing(struct check *k, const struct domain_record *r)
{
	struct str doubled;
	bool is_there = false;

	if (r->kind != RECORD_SPF)
		TRY(is_doubled(k, r->name, &doubled, &is_there));
	if (is_there)
		FOUND(k, r->name, DNS_TXT, "wrong", TEXT_CHECK_TXT_DOUBLED, doubled, str_sub(r->name, 0, r->name.n - k->records.domain.n - 1));
	else if (r->kind == RECORD_HOST_SPF)
		FOUND(k, r->name, DNS_TXT, "optional", TEXT_CHECK_HOST_SPF_MISSING, r->value);
	else
		FOUND(k, r->name, DNS_TXT, "missing", TEXT_CHECK_TXT_MISSING, k->records.domain);
	return ERR_OK;
}

/* A record that stands there: right, or what is the matter with it. */
static enum err put_published(struct check *k, const struct domain_record *r, enum published what, struct str at)
{
	struct dkim_keys keys;

	if (what == PUBLISHED_MISSING)
		return put_missing(k, r);
	if (what == PUBLISHED_GOOD && r->kind == RECORD_DKIM && r->key->state == DKIM_WAITS) {
		enum err e = admin_dkim(k->c, DKIM_ACTIVATE, k->records.domain, r->key->selector, &keys);
		if (e == ERR_OK)
			FOUND(k, r->name, DNS_TXT, "right", TEXT_CHECK_DKIM_NOW, r->key->selector);
		return e == ERR_NOTFOUND ? ERR_OK : e;  /* another check was faster */
	}
	FOUND(k, r->name, DNS_TXT, state_of(what), sentence_of(what), shown(at), k->records.domain, k->records.hostname);
	return ERR_OK;
}

/* Of a domain that an SPF record leads to. */
static enum err ask_texts(void *context, struct str name, struct str texts[PUBLISHED_TEXTS_MAX], size_t *n)
{
	struct check *k = context;
	struct dns_answer answer;

	*n = 0;
	TRY(k->c->host->question(k->c->host->context, name, DNS_TXT, &k->c->arena, &answer));
	if (answer.outcome == DNS_FAILED || answer.outcome == DNS_FORGED)
		return ERR_UNAVAILABLE;
	*n = check_texts(k, &answer, texts);
	return ERR_OK;
}

static enum err check_text(struct check *k, const struct domain_record *r)
{
	struct published_sender sender = { k->records.domain, k->records.hostname, k->is_mx, k->addresses, k->address_count };
	struct str texts[CHECK_TEXTS_MAX], at = STR("");
	struct dns_answer answer;
	enum published what;
	bool usable;
	size_t n;

	TRY(check_look_up(k, r->name, DNS_TXT, &answer, &usable));
	if (!usable)
		return ERR_OK;
	n = check_texts(k, &answer, texts);
	if (r->kind == RECORD_HOST_SPF)
		sender.domain = k->records.hostname;
	if (r->kind == RECORD_DKIM)
		what = published_dkim(texts, n, r->key->algorithm, r->key->public_key, &at);
	else if (r->kind == RECORD_DMARC)
		what = published_dmarc(texts, n, &at);
	else
		what = published_spf(texts, n, &sender, &(struct published_world){ ask_texts, k }, &at);
	return put_published(k, r, what, at);
}

/* ---- what may be there ---- */

static enum err check_service(struct check *k, const struct domain_record *r)
{
	struct arena *a = &k->c->arena;
	struct str found = STR("");
	struct dns_answer answer;
	struct dns_srv srv;
	bool usable, is_right = false;

	TRY(check_look_up(k, r->name, DNS_SRV, &answer, &usable));
	if (!usable)
		return ERR_OK;
	for (size_t i = 0; i < answer.n; i++) {
		struct str tail;

		if (!dns_read_srv(answer.records[i], a, &srv))
			continue;
		found = arena_printf(a, "%u " STR_FMT ".", srv.port, STR_ARG(srv.target));
		tail = arena_printf(a, " " STR_FMT, STR_ARG(found));
		is_right |= str_ends(r->value, tail);  /* priority and weight are the administrator's */
	}
	if (found.n == 0)
		FOUND(k, r->name, DNS_SRV, "optional", TEXT_CHECK_SRV_MISSING, r->value);
	else if (!is_right)
		FOUND(k, r->name, DNS_SRV, "wrong", TEXT_CHECK_SRV_OTHER, found, r->value);
	else
		FOUND(k, r->name, DNS_SRV, "right", TEXT_CHECK_RIGHT, STR(""));
	return ERR_OK;
}

/* One of ours? */
static bool is_our_tlsa(struct check *k, struct str name, const struct dns_tlsa *x)
{
	CLEANUP(buf_free) struct buf text = BUF(1 << 12);

	buf_printf(&text, "%u %u %u ", x->usage, x->selector, x->matching);
	hex_put(&text, x->data);
	for (size_t i = 0; i < k->records.n; i++)
		if (k->records.list[i].kind == RECORD_TLSA && str_eq(k->records.list[i].name, name) && str_eq(k->records.list[i].value, buf_str(&text)))
			return true;
	return false;
}

/* Records of the form 3 1 1 are ours or wrong; of other forms (the issuer's: 2 x x) nothing is said. */
static enum err check_tlsa(struct check *k, const struct domain_record *r)
{
	bool usable, is_ours = false, is_other = false;
	struct dns_answer answer;
	struct dns_tlsa x;

	TRY(check_look_up(k, r->name, DNS_TLSA, &answer, &usable));
	if (!usable)
		return ERR_OK;
	for (size_t i = 0; i < answer.n; i++) {
		if (!dns_read_tlsa(answer.records[i], &x))
			continue;
		if (is_our_tlsa(k, r->name, &x))
			is_ours = true;
		else if (x.usage == 3 && x.selector == 1 && x.matching == 1)
			is_other = true;
	}
	if (answer.n == 0)
		FOUND(k, r->name, DNS_TLSA, "optional", TEXT_CHECK_TLSA_MISSING, STR(""));
	else if (!is_ours && is_other)
		FOUND(k, r->name, DNS_TLSA, "wrong", TEXT_CHECK_TLSA_OTHER, r->value);
	else if (!answer.is_secure)
		FOUND(k, r->name, DNS_TLSA, "unclear", TEXT_CHECK_TLSA_INSECURE, STR(""));
	else
		FOUND(k, r->name, DNS_TLSA, is_ours ? "right" : "unclear", is_ours ? TEXT_CHECK_RIGHT : TEXT_CHECK_TLSA_FOREIGN, STR(""));
	return ERR_OK;
}

static enum err check_record(struct check *k, const struct domain_record *r, bool is_first_of_name)
{
	switch (r->kind) {
	case RECORD_SPF: case RECORD_HOST_SPF: case RECORD_DMARC:
		return check_text(k, r);
	case RECORD_DKIM:
		return r->key->state == DKIM_RETIRED ? ERR_OK : check_text(k, r);
	case RECORD_SRV:
		return check_service(k, r);
	case RECORD_TLSA:
		return is_first_of_name ? check_tlsa(k, r) : ERR_OK;
	case RECORD_STS:
		return check_sts(k, r);
	case RECORD_STS_HOST:
		return check_sts_host(k, r);
	case RECORD_TLSRPT:
		return check_tlsrpt(k, r);
	case RECORD_MX: case RECORD_ADDRESS:
		break;
	}
	return ERR_OK;
}

static enum err check_domain(struct admin_call *c, struct str domain, uint64_t *to_mend)
{
	struct check k = { .c = c };

	TRY(domain_records(c, domain, &k.records));
	TRY(check_mx(&k));
	TRY(check_addresses(&k));
	for (size_t i = 0; i < k.records.n; i++)
		TRY(check_record(&k, &k.records.list[i], i == 0 || !str_eq(k.records.list[i].name, k.records.list[i - 1].name)));
	if (!k.records.has_policy)
		TRY(check_no_sts(&k));
	*to_mend += k.to_mend;
	return ERR_OK;
}

static enum err check_every_domain(struct admin_call *c, uint64_t *to_mend)
{
	struct directory_domain *list;
	size_t n;

	TRY(domain_list(c->directory, &c->arena, &list, &n));
	for (size_t i = 0; i < n; i++) {
		TRY(check_domain(c, list[i].name, to_mend));
		admin_progress(c, i + 1, n);
	}
	return ERR_OK;
}

/* What control does by itself every hour. */
static enum err check_waiting_keys(struct admin_call *c, uint64_t *to_mend)
{
	struct dkim_keys keys;

	TRY(admin_dkim(c, DKIM_WAITING, STR(""), STR(""), &keys));
	for (size_t i = 0; i < keys.count; i++) {
		struct check k = { .c = c, .records = { .domain = keys.list[i].domain } };
		struct domain_record r = domain_key_record(&c->arena, k.records.domain, &keys.list[i]);

		TRY(check_record(&k, &r, true));
		*to_mend += k.to_mend;
	}
	return ERR_OK;
}

enum err admin_domain_check(struct admin_call *c)
{
	struct str text = admin_text(c, "domain"), domain = str_of(text_get(c->lang, TEXT_CHECK_EVERY_DOMAIN));
	uint64_t to_mend = 0;

	if (!c->host->is_running)
		return admin_refuse(c, ERR_UNAVAILABLE, TEXT_ADMIN_NOT_RUNNING, STR(""));
	if (admin_is_on(c, "waiting")) {
		TRY(check_waiting_keys(c, &to_mend));
	} else if (text.p != NULL) {
		TRY(admin_domain(c, text, &domain));
		TRY(check_domain(c, domain, &to_mend));
	} else {
		TRY(check_every_domain(c, &to_mend));
	}
	if (to_mend == 0 && admin_is_on(c, "waiting"))
		return admin_said(c, TEXT_CHECK_NONE_WAITS);
	if (to_mend == 0)
		return admin_said(c, TEXT_CHECK_ALL_RIGHT, domain);
	c->has_fault = true;
	return admin_said(c, TEXT_CHECK_TO_MEND, domain, admin_number_text(c, to_mend));
}
