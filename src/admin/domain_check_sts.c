/* domain check, of MTA-STS (RFC 8461) and TLSRPT (RFC 8460): the record, and the policy itself, fetched as a stranger would. Half of what goes
 * wrong with a policy is its certificate; that is found here, and not by those who then send nothing. */
#include "admin/domain_check.h"
#include "dns/mta_sts.h"
#include "text/reason.h"

enum { FETCH_MS = 20000 };

/* The one text that begins so; empty: none. */
static struct str find_text(struct check *k, const struct dns_answer *answer, struct str start)
{
	struct str texts[CHECK_TEXTS_MAX];
	size_t n = check_texts(k, answer, texts);

	for (size_t i = 0; i < n; i++)
		if (str_istarts(texts[i], start))
			return texts[i];
	return STR("");
}

enum err check_sts(struct check *k, const struct domain_record *r)
{
	struct dns_answer answer;
	struct str id, text;
	bool usable;

	TRY(check_look_up(k, r->name, DNS_TXT, &answer, &usable));
	if (!usable)
		return ERR_OK;
	text = find_text(k, &answer, STR("v=STSv1"));
	if (text.n == 0)
		FOUND(k, r->name, DNS_TXT, "missing", TEXT_CHECK_TXT_MISSING, k->records.domain);
	else if (mta_sts_record(&answer, &k->c->arena, &id) != ERR_OK || !str_eq(id, mta_sts_policy_id(&k->c->arena, k->records.policy)))
		FOUND(k, r->name, DNS_TXT, "wrong", TEXT_CHECK_STS_OTHER, text, r->value);
	else
		FOUND(k, r->name, DNS_TXT, "right", TEXT_CHECK_RIGHT, STR(""));
	return ERR_OK;
}

/* The domain's other mail hosts have to be in the policy. False: a row says which is not. */
static bool allows_all(struct check *k, const struct domain_record *r)
{
	struct mta_sts_policy policy;
	struct str why;

	if (mta_sts_policy_parse(k->records.policy, &k->c->arena, &policy, &why) != ERR_OK)
		return true;
	for (size_t i = 0; i < k->other_count; i++) {
		if (!mta_sts_policy_allows(&policy, k->others[i])) {
			FOUND(k, r->name, r->type, "wrong", TEXT_CHECK_STS_MX, k->records.hostname, k->others[i]);
			return false;
		}
	}
	return true;
}

enum err check_sts_host(struct check *k, const struct domain_record *r)
{
	struct http_place place = { .host = r->name, .path = STR("/.well-known/mta-sts.txt"), .body_max = FETCH_ANSWER_MAX, .deadline_ms = FETCH_MS };
	struct fetch_said said;

	TRY(k->c->host->fetch(k->c->host->context, &place, &k->c->arena, &said));
	if (said.e != ERR_OK)
		FOUND(k, r->name, r->type, "wrong", TEXT_CHECK_STS_FETCH, text_reason(&k->c->arena, k->c->lang, said.why));
	else if (said.status != 200)
		FOUND(k, r->name, r->type, "wrong", TEXT_CHECK_STS_STATUS, admin_number_text(k->c, said.status));
	else if (!str_eq(said.body, k->records.policy))
		FOUND(k, r->name, r->type, "wrong", TEXT_CHECK_STS_TEXT, STR(""));
	else if (allows_all(k, r))
		FOUND(k, r->name, r->type, "right", TEXT_CHECK_RIGHT, STR(""));
	return ERR_OK;
}

enum err check_no_sts(struct check *k)
{
	struct str name = arena_printf(&k->c->arena, "_mta-sts." STR_FMT, STR_ARG(k->records.domain)), id, own;
	struct dns_answer answer;

	TRY(k->c->host->question(k->c->host->context, name, DNS_TXT, &k->c->arena, &answer));
	own = mta_sts_policy_id(&k->c->arena, k->records.policy);
	if (mta_sts_record(&answer, &k->c->arena, &id) == ERR_OK)
		FOUND(k, name, DNS_TXT, str_eq(id, own) ? "unclear" : "wrong", TEXT_CHECK_STS_LEFT, own);
	return ERR_OK;
}

enum err check_tlsrpt(struct check *k, const struct domain_record *r)
{
	struct dns_answer answer;
	struct str text;
	bool usable;

	TRY(check_look_up(k, r->name, DNS_TXT, &answer, &usable));
	if (!usable)
		return ERR_OK;
	text = find_text(k, &answer, STR("v=TLSRPT"));
	if (text.n == 0)
		FOUND(k, r->name, DNS_TXT, "optional", TEXT_CHECK_TLSRPT_MISSING, r->value);
	else if (!str_starts(text, STR("v=TLSRPTv1;")) || str_find(text, STR("rua=")) < 0)
		FOUND(k, r->name, DNS_TXT, "wrong", TEXT_CHECK_TLSRPT_OTHER, text, r->value);
	else
		FOUND(k, r->name, DNS_TXT, "right", TEXT_CHECK_RIGHT, STR(""));
	return ERR_OK;
}
