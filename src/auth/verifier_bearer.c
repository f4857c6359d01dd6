/* BEARER: a token of an issuer that the administrator trusts. Whether it is genuine and meant for us is auth/bearer.c's; here it is asked whose
 * account it opens.
 *
 * A token whose signature is right and that is refused all the same (it has expired, it is for another server) is nobody's guess: it does not
 * count against who sent it, and a mail program that comes with yesterday's token before it fetches a new one is not kept waiting.
 *
 * The session may outlive the token, whose hour is for fetching the next one; but not by more than a day, because whoever is let go at the
 * issuer is to be out here, too. */
#include "auth/bearer.h"
#include "auth/verifier_private.h"
#include "base/clock.h"
#include "base/log.h"
#include "directory/address.h"

enum { TOKEN_GRANT_LIFE_S = 86400 };

static bool is_of_domain(const struct login_account *account, struct str domain, struct arena *a)
{
	struct directory_address x;

	return domain.n == 0 || (directory_address_parse(account->address, a, &x) && str_eq(x.domain, domain));
}

/* Whom the token lets in; NULL, or why not. */
static const char *find_account(struct ask *q, const struct issuer *issuer, struct str address, struct arena *a)
{
	struct login_account account;

	if (!q->v->o.resolve(q->v->o.context, address, a, &account))
		return "token-of-nobody-here";
	if (!is_of_domain(&account, issuer->domain, a))
		return "token-of-another-domain";
	if (q->login.n > 0 && q->account.account != account.account)
		return "token-of-somebody-else";
	verifier_ask_about(q, &account);
	return NULL;
}

static void refuse(struct ask *q, const char *why, struct str address, struct verify_reply *out)
{
	out->outcome = VERIFY_WRONG;
	log_info("login failed reason=%s login=" STR_FMT " token_for=" STR_FMT " protocol=%s peer=" STR_FMT, why, STR_ARG(q->login), STR_ARG(address),
	         protocol_name(q->protocol), STR_ARG(q->who.peer));
}

static void judge(struct ask *q, const struct bearer_request *in, struct arena *a, struct verify_reply *out)
{
	struct verifier *v = q->v;
	const struct issuer *issuer = NULL;
	struct issuer *issuers;
	struct str address = STR("");
	size_t n = v->o.issuers(v->o.context, a, &issuers);
	enum bearer_fault fault = bearer_judge(issuers, n, in, clock_wall_s(), a, &issuer, &address);
	const char *why;

	if (!bearer_is_signed(fault)) {
		verifier_judge_wrong(q, VERIFY_WRONG, bearer_fault_name(fault), remember_tag(v->remember, q->who.account, in->signed_part), out);
		return;
	}
	why = fault == BEARER_FINE ? find_account(q, issuer, address, a) : bearer_fault_name(fault);
	if (why != NULL)
		refuse(q, why, address, out);
	else
		verifier_judge_right(q, &(struct proof){ .how = "token", .life_s = TOKEN_GRANT_LIFE_S, .ends_session = true }, out);
}

void verifier_bearer(struct verifier *v, const struct bearer_request *in, struct arena *a, struct verify_reply *out)
{
	struct ask *q = verifier_ask_new(v, in->protocol, in->session, in->peer, in->login);

	*out = (struct verify_reply){ 0 };
	if (verifier_is_throttled(q, &out->retry_s))
		out->outcome = VERIFY_THROTTLED;
	else
		judge(q, in, a, out);
	out->login = str_copy(a, out->login);
	verifier_ask_free(q);
}
