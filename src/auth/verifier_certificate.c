/* CERTIFICATE_LOGIN: TLS has seen that the client holds the key of a certificate; here it is asked whose it is. A client that names somebody
 * else, or whose certificate nobody added or is out of date, is told nothing more than that; the log says which. */
#include "auth/client_certificate.h"
#include "auth/verifier_private.h"
#include "base/clock.h"
#include "base/log.h"

static bool lives(void *context, uint64_t account)
{
	struct verifier *v = context;
	struct login_account found;

	return v->o.resolve_account(v->o.context, account, &found);
}

/* The account of the certificate: the one that was named, or the only one. */
static enum err find_owner(struct ask *q, const struct certificate_login_request *in, struct certificate_owner *owner)
{
	struct verifier *v = q->v;
	struct certificate_search search = { .account = q->account.account, .lives = lives, .context = v };
	struct login_account account;

	if (in->login.n > 0 && q->account.account == 0)
		return ERR_NOTFOUND;
	memcpy(search.fingerprint, in->fingerprint, sizeof search.fingerprint);
	TRY(client_certificate_find(v->o.secrets, &search, clock_wall_s(), owner));
	if (!v->o.resolve_account(v->o.context, owner->account, &account))
		return ERR_NOTFOUND;
	verifier_ask_about(q, &account);
	return ERR_OK;
}

void verifier_certificate(struct verifier *v, const struct certificate_login_request *in, struct arena *a, struct verify_reply *out)
{
	struct ask *q = verifier_ask_new(v, in->protocol, in->session, in->peer, in->login);
	struct certificate_owner owner;
	uint64_t tag;
	enum err e;

	*out = (struct verify_reply){ 0 };
	memcpy(&tag, in->fingerprint, sizeof tag);
	if (verifier_is_throttled(q, &out->retry_s)) {
		out->outcome = VERIFY_THROTTLED;
	} else if (!in->is_current) {
		verifier_judge_wrong(q, VERIFY_WRONG, "certificate-out-of-date", tag, out);
	} else if ((e = find_owner(q, in, &owner)) == ERR_OK) {
		verifier_judge_right(q, &(struct proof){ .how = "certificate", .rights = owner.rights, .life_s = GRANT_LIFE_S }, out);
	} else if (e == ERR_NOTFOUND || e == ERR_CONFLICT) {
		verifier_judge_wrong(q, VERIFY_WRONG, e == ERR_CONFLICT ? "certificate-of-several-accounts" : "unknown-certificate", tag, out);
	} else {
		log_warn("login busy reason=%s login=" STR_FMT " peer=" STR_FMT, err_name(e), STR_ARG(in->login), STR_ARG(in->peer));
		out->outcome = VERIFY_BUSY;
	}
	out->login = str_copy(a, out->login);
	verifier_ask_free(q);
}
