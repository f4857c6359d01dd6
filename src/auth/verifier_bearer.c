/* BEARER: a token of an issuer that the administrator trusts. Whether it is genuine and meant for us is auth/bearer.c's; here it is asked whose
 * account it opens.
 *
 * A token whose signature is right and that is refused all the same (it has expired, it is for another server) is nobody's guess: it does not
 * count against who sent it, and a mail program that comes with yesterday's token before it fetches a new one is not kept waiting.
 *
 * A key that is not known may be one that its issuer has begun to use: then the issuer is asked, and the client told to come back, not that it is wrong,
 * which would make a mail program ask its user. It counts as wrong all the same, since anybody can make such a token.
 *
 * The session may outlive the token, whose hour is for fetching the next one; but not by more than a day, because whoever is let go at the
 * issuer is to be out here, too. A setting lets it end with the token. When the issuer is removed, or its key, the gate ends it (grant.token_mark). */
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

static bool may_be_new(struct verifier *v, enum bearer_fault fault, const struct issuer *i, struct str kid)
{
	bool asks, comes_back;

	if ((fault != BEARER_UNKNOWN_KEY && fault != BEARER_SIGNATURE) || !i->source.is_fetched)
		return false;
	comes_back = missing_key(&v->missing, i->name, kid, v->o.now_ms(), &asks);
	if (asks)
		v->o.fetch_keys(v->o.context, i);
	return comes_back;
}

/* The minute that is forgiven a token (auth/bearer.c) is the session's, too. */
static int64_t life_s(const struct verifier *v, const struct bearer_token *t)
{
	int64_t left_s = t->expires_s + BEARER_LEEWAY_S - clock_wall_s();

	return v->o.token_ends_session && left_s < TOKEN_GRANT_LIFE_S ? left_s : TOKEN_GRANT_LIFE_S;
}

static void judge(struct ask *q, const struct bearer_request *in, struct arena *a, struct verify_reply *out)
{
	struct verifier *v = q->v;
	struct bearer_token token;
	struct issuer *issuers;
	size_t n = v->o.issuers(v->o.context, a, &issuers);
	enum bearer_fault fault = bearer_judge(issuers, n, in, clock_wall_s(), a, &token);
	const char *why;

	if (!bearer_is_signed(fault)) {
		verifier_judge_wrong(q, VERIFY_WRONG, bearer_fault_name(fault), remember_tag(v->remember, q->who.account, in->signed_part), out);
		if (may_be_new(v, fault, token.issuer, in->kid))
			out->outcome = VERIFY_BUSY;
		return;
	}
	why = fault == BEARER_FINE ? find_account(q, token.issuer, token.address, a) : bearer_fault_name(fault);
	if (why != NULL)
		refuse(q, why, token.address, out);
	else
		verifier_judge_right(q, &(struct proof){ .how = "token", .life_s = life_s(v, &token), .ends_session = true,
		                                         .token_mark = issuer_mark(token.issuer, token.key) }, out);
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
