/* The records of a domain. Which, and why so:
 *   MX, SPF     the first makes mail come, the second says that the same host sends; "-all" because nobody else does
 *   host's SPF  bounces have no sender's domain: receivers then look at the name the server gives itself (RFC 7208 §2.4)
 *   DKIM        one for each key that signs or is to sign; of a retired one nothing has to be published anew
 *   DMARC       p=none: asks for nothing that could lose mail of a domain whose other senders we do not know; receivers want to see one
 *   MTA-STS     where the setting mta_sts asks for it: the id of the policy, and a name under which it is fetched
 *   TLSRPT      senders report once a day how TLS to this server went
 *   SRV         mail programs that know RFC 6186 find their settings; TLS from the first byte (RFC 8314 §3)
 *   TLSA        3 1 1, the key itself (RFC 7672 §3.1.1); of the certificate that the host's name gets */
#include "admin/domain_records.h"
#include "base/bytes.h"
#include "dns/mta_sts.h"
#include "mailauth/published.h"

enum { PORT_SUBMISSIONS = 465, PORT_IMAPS = 993, PORT_POP3S = 995 };

const char *domain_record_type(enum dns_type type)
{
	switch (type) {
	case DNS_A:    return "A";
	case DNS_AAAA: return "AAAA";
	case DNS_MX:   return "MX";
	case DNS_TXT:  return "TXT";
	case DNS_SRV:  return "SRV";
	case DNS_TLSA: return "TLSA";
	case DNS_PTR:  return "PTR";
	case DNS_CNAME: return "CNAME";
	default:       return "";
	}
}

enum err admin_dkim(struct admin_call *c, enum dkim_op op, struct str domain, struct str selector, struct dkim_keys *out)
{
	struct dkim_command command = { op, domain, selector };

	return c->host->dkim(c->host->context, &command, &c->arena, out);
}

static void add(struct admin_call *c, struct domain_records *r, struct domain_record x)
{
	r->list = arena_grow(&c->arena, r->list, r->n, &r->cap, sizeof *r->list);
	r->list[r->n++] = x;
}

/* Is it the domain, or below it: a record of its zone? */
static bool is_in(struct str name, struct str domain)
{
	return str_eq(name, domain) || (name.n > domain.n && str_ends(name, domain) && name.p[name.n - domain.n - 1] == '.');
}

static void add_host(struct admin_call *c, struct domain_records *r)
{
	if (!is_in(r->hostname, r->domain))
		return;
	add(c, r, (struct domain_record){ RECORD_ADDRESS, DNS_A, r->hostname, STR("") });
	add(c, r, (struct domain_record){ RECORD_ADDRESS, DNS_AAAA, r->hostname, STR("") });
}

struct domain_record domain_key_record(struct arena *a, struct str domain, const struct dkim_key *k)
{
	return (struct domain_record){ RECORD_DKIM, DNS_TXT, arena_printf(a, STR_FMT "._domainkey." STR_FMT, STR_ARG(k->selector), STR_ARG(domain)),
	                               published_dkim_text(a, k->algorithm, k->public_key), k };
}

static void add_service(struct admin_call *c, struct domain_records *r, const char *service, int priority, uint64_t port)
{
	add(c, r, (struct domain_record){ RECORD_SRV, DNS_SRV, arena_printf(&c->arena, "_%s._tcp." STR_FMT, service, STR_ARG(r->domain)),
		arena_printf(&c->arena, "%d 1 %llu " STR_FMT ".", priority, (unsigned long long)port, STR_ARG(r->hostname)) });
}

static void add_services(struct admin_call *c, struct domain_records *r)
{
	uint64_t offset = c->host->file != NULL ? conf_number(c->host->file, SETTING_port_offset) : 0;

	add_service(c, r, "submissions", 0, PORT_SUBMISSIONS + offset);
	add_service(c, r, "imaps", 0, PORT_IMAPS + offset);
	add_service(c, r, "pop3s", 10, PORT_POP3S + offset);  /* RFC 6186 §3.4: who knows both takes IMAP */
}

static bool has_name(const struct certificate_info *x, struct str hostname)
{
	struct str name, rest = x->names, label, parent;
	bool more = true;

	str_cut(hostname, '.', &label, &parent);
	while (more) {
		more = str_cut(rest, ',', &name, &rest);
		name = str_trim(name);
		if (str_eq(name, hostname) || (str_starts(name, STR("*.")) && str_eq(str_from(name, 2), parent)))
			return true;
	}
	return false;
}

/* Of the certificates of this name; without one, of the first: it is shown to whoever asks for a name that is not there. */
static enum err add_tlsa(struct admin_call *c, struct domain_records *r)
{
	struct certificate_info *list;
	bool found = false;
	size_t n;

	if (!is_in(r->hostname, r->domain))
		return ERR_OK;
	TRY(c->host->certificates(c->host->context, &c->arena, &list, &n));
	for (size_t i = 0; i < n; i++)
		found |= has_name(&list[i], r->hostname);
	for (size_t i = 0; i < n; i++) {
		CLEANUP(buf_free) struct buf hex = BUF(2 * TLS_KEY_HASH_SIZE);

		if (found ? !has_name(&list[i], r->hostname) : i > 0)
			continue;
		hex_put(&hex, str_make(list[i].key_hash, sizeof list[i].key_hash));
		add(c, r, (struct domain_record){ RECORD_TLSA, DNS_TLSA, arena_printf(&c->arena, "_25._tcp." STR_FMT, STR_ARG(r->hostname)),
			arena_printf(&c->arena, "3 1 1 " STR_FMT, STR_ARG(buf_str(&hex))) });
	}
	return ERR_OK;
}

/* A domain with a policy. One without may have to withdraw what it had published: `domain check` looks for that. */
static enum err add_policy(struct admin_call *c, struct domain_records *r)
{
	struct arena *a = &c->arena;
	enum mta_sts_mode mode = MTA_STS_NONE;
	struct conf *conf;

	TRY(directory_domain_conf(c->directory, r->domain, &conf));
	if (!mta_sts_mode_parse(conf_text(conf, SETTING_mta_sts), &mode))
		mode = MTA_STS_NONE;
	r->policy = mta_sts_policy_text(a, mode, r->hostname, conf_text(conf, SETTING_mta_sts_hosts));
	r->has_policy = mode != MTA_STS_NONE;
	conf_free(conf);
	if (!r->has_policy)
		return ERR_OK;
	add(c, r, (struct domain_record){ RECORD_STS, DNS_TXT, arena_printf(a, "_mta-sts." STR_FMT, STR_ARG(r->domain)),
		arena_printf(a, "v=STSv1; id=" STR_FMT, STR_ARG(mta_sts_policy_id(a, r->policy))) });
	add(c, r, (struct domain_record){ RECORD_STS_HOST, DNS_CNAME, arena_printf(a, "mta-sts." STR_FMT, STR_ARG(r->domain)),
		arena_printf(a, STR_FMT ".", STR_ARG(r->hostname)) });
	return ERR_OK;
}

static void add_reports(struct admin_call *c, struct domain_records *r)
{
	struct arena *a = &c->arena;

	add(c, r, (struct domain_record){ RECORD_TLSRPT, DNS_TXT, arena_printf(a, "_smtp._tls." STR_FMT, STR_ARG(r->domain)),
		arena_printf(a, "v=TLSRPTv1; rua=mailto:postmaster@" STR_FMT, STR_ARG(r->domain)) });
}

enum err domain_records(struct admin_call *c, struct str domain, struct domain_records *out)
{
	struct dkim_keys keys;
	struct conf *conf;
	enum err e;

	*out = (struct domain_records){ .domain = domain };
	TRY(directory_conf(c->directory, &conf));
	e = directory_hostname(c->directory, conf, &c->arena, &out->hostname);
	conf_free(conf);
	TRY(e);
	TRY(admin_dkim(c, DKIM_MAKE, domain, STR(""), &keys));
	add(c, out, (struct domain_record){ RECORD_MX, DNS_MX, domain, arena_printf(&c->arena, "10 " STR_FMT ".", STR_ARG(out->hostname)) });
	add_host(c, out);
	add(c, out, (struct domain_record){ RECORD_SPF, DNS_TXT, domain, STR("v=spf1 mx -all") });
	for (size_t i = 0; i < keys.count; i++)
		add(c, out, domain_key_record(&c->arena, domain, &keys.list[i]));
	add(c, out, (struct domain_record){ RECORD_DMARC, DNS_TXT, arena_printf(&c->arena, "_dmarc." STR_FMT, STR_ARG(domain)), STR("v=DMARC1; p=none") });
	if (is_in(out->hostname, domain) && !str_eq(out->hostname, domain))
		add(c, out, (struct domain_record){ RECORD_HOST_SPF, DNS_TXT, out->hostname, STR("v=spf1 a -all") });
	TRY(add_policy(c, out));
	add_reports(c, out);
	add_services(c, out);
	return add_tlsa(c, out);
}
