/* domain dns, domain rotate */
#include "admin/domain_records.h"

enum { TXT_STRING_MAX = 255 };  /* RFC 1035 §3.3.14: a longer text stands in several strings */

static enum text purpose_of(const struct domain_record *r)
{
	switch (r->kind) {
	case RECORD_MX:       return TEXT_DNS_FOR_MX;
	case RECORD_ADDRESS:  return TEXT_DNS_FOR_ADDRESS;
	case RECORD_SPF:      return TEXT_DNS_FOR_SPF;
	case RECORD_HOST_SPF: return TEXT_DNS_FOR_HOST_SPF;
	case RECORD_DMARC:    return TEXT_DNS_FOR_DMARC;
	case RECORD_SRV:      return TEXT_DNS_FOR_SRV;
	case RECORD_TLSA:     return TEXT_DNS_FOR_TLSA;
	case RECORD_STS:      return TEXT_DNS_FOR_STS;
	case RECORD_STS_HOST: return TEXT_DNS_FOR_STS_HOST;
	case RECORD_TLSRPT:   return TEXT_DNS_FOR_TLSRPT;
	case RECORD_DKIM:     break;
	}
	switch (r->key->state) {
	case DKIM_WAITS:   return TEXT_DNS_FOR_DKIM_NEXT;
	case DKIM_RETIRED: return TEXT_DNS_FOR_DKIM_OLD;
	case DKIM_SIGNS:   break;
	}
	return TEXT_DNS_FOR_DKIM;
}

static const char *need_of(const struct domain_record *r)
{
	switch (r->kind) {
	case RECORD_MX: case RECORD_SPF: case RECORD_DMARC:      return "needed";
	case RECORD_ADDRESS: return r->type == DNS_A ? "needed" : "useful";
	case RECORD_DKIM:    return r->key->state == DKIM_RETIRED ? "for now" : r->key->algorithm == DKIM_RSA ? "needed" : "useful";
	case RECORD_STS: case RECORD_STS_HOST: return "needed";
	case RECORD_HOST_SPF: case RECORD_SRV: case RECORD_TLSA: case RECORD_TLSRPT: break;
	}
	return "useful";
}

/* A value that only the administrator knows. */
static struct str unknown_value(struct admin_call *c, const struct domain_record *r)
{
	return str_of(text_get(c->lang, r->type == DNS_A ? TEXT_DNS_YOUR_IPV4 : TEXT_DNS_YOUR_IPV6));
}

static void put_row(struct admin_call *c, const struct domain_record *r)
{
	json_t *row = admin_row(c);

	admin_put_text(row, "name", r->name);
	admin_put_text(row, "type", str_of(domain_record_type(r->type)));
	admin_put_text(row, "value", r->value.n > 0 ? r->value : unknown_value(c, r));
	admin_put_text(row, "need", str_of(need_of(r)));
	admin_put_text(row, "purpose", str_of(text_get(c->lang, purpose_of(r))));
}

static void put_zone_line(struct admin_call *c, struct str line) { admin_put_text(admin_row(c), "zone", line); }

/* "…" "…" */
static struct str quoted(struct arena *a, struct str text)
{
	struct str out = STR("");

	for (size_t at = 0; at < text.n; at += TXT_STRING_MAX)
		out = arena_printf(a, STR_FMT "%s\"" STR_FMT "\"", STR_ARG(out), at > 0 ? " " : "", STR_ARG(str_sub(text, at, TXT_STRING_MAX)));
	return out;
}

/* What an administrator has to decide or to fill in stands there as a comment. is_first: of several for the same purpose. */
static void put_zone_record(struct admin_call *c, const struct domain_record *r, bool is_first)
{
	struct arena *a = &c->arena;
	bool is_comment = r->value.n == 0 || r->kind == RECORD_TLSA;
	struct str value = r->value.n == 0 ? unknown_value(c, r) : r->type == DNS_TXT ? quoted(a, r->value) : r->value;

	if (is_first)
		put_zone_line(c, arena_printf(a, "; %s", text_get(c->lang, purpose_of(r))));
	put_zone_line(c, arena_printf(a, "%s" STR_FMT ". IN %s " STR_FMT, is_comment ? "; " : "", STR_ARG(r->name), domain_record_type(r->type),
	                              STR_ARG(value)));
}

enum err admin_domain_dns(struct admin_call *c)
{
	struct domain_records r;
	struct str domain;

	TRY(admin_domain(c, admin_text(c, "domain"), &domain));
	TRY(domain_records(c, domain, &r));
	for (size_t i = 0; i < r.n; i++) {
		if (admin_is_on(c, "zone"))
			put_zone_record(c, &r.list[i], i == 0 || purpose_of(&r.list[i]) != purpose_of(&r.list[i - 1]));
		else
			put_row(c, &r.list[i]);
	}
	return ERR_OK;
}

enum err admin_domain_rotate(struct admin_call *c)
{
	struct dkim_keys keys;
	struct str domain;
	enum err e;

	TRY(admin_domain(c, admin_text(c, "domain"), &domain));
	e = admin_dkim(c, DKIM_ROTATE, domain, STR(""), &keys);
	if (e == ERR_EXISTS)
		return admin_refuse(c, e, TEXT_ADMIN_DKIM_WAITS, domain);
	if (e != ERR_OK)
		return e;
	return admin_said(c, TEXT_ADMIN_DKIM_ROTATED, domain);
}
