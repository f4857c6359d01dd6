/* SECRET_COMMAND: what control may ask about an account's passwords. Hashing goes to the workers, all else is a row or two.
 * A change forgets the remembered password at once and counts, so that a check under way is not remembered afterwards. */
#include "auth/app_password.h"
#include "auth/client_certificate.h"
#include "auth/verifier_private.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"

struct pending {
	struct verifier *v;
	verifier_answer  answer;
	void            *context;
};

static void changed(struct verifier *v, uint64_t account)
{
	v->changes++;
	remember_drop(v->remember, account);
}

static void reply(verifier_answer answer, void *context, enum err e)
{
	answer(context, e, &(struct secret_reply){ 0 });
}

static void set_done(struct hash_job *job, enum err result)
{
	struct pending *p = job->context;

	if (result == ERR_OK)
		result = secrets_set_password(p->v->o.secrets, job->account, str_of(job->hash));
	changed(p->v, job->account);
	log_info("password set account=%llu result=%s", (unsigned long long)job->account, err_name(result));
	reply(p->answer, p->context, result);
	mem_free(p);
}

static void check_done(struct hash_job *job, enum err result)
{
	struct pending *p = job->context;

	reply(p->answer, p->context, result);
	mem_free(p);
}

/* network 0: what control asks is not limited, and not fair to anybody */
static void hash_later(struct verifier *v, struct hash_job *job, uint64_t account, void (*done)(struct hash_job *, enum err),
                       verifier_answer answer, void *context)
{
	struct pending *p = MEM_NEW(struct pending);

	*p = (struct pending){ v, answer, context };
	job->account = account;
	job->context = p;
	job->done = done;
	if (hasher_add(v->hasher, job) != ERR_OK) {
		reply(answer, context, ERR_AGAIN);
		mem_free(p);
	}
}

static void set_password(struct verifier *v, const struct secret_command *c, verifier_answer answer, void *context)
{
	if (c->secret.n == 0 || c->secret.n > PASSWORD_MAX || memchr(c->secret.p, 0, c->secret.n) != NULL)
		reply(answer, context, ERR_INVALID);
	else
		hash_later(v, hasher_job(HASH_MAKE, c->secret, STR_NONE), c->account, set_done, answer, context);
}

static void check_password(struct verifier *v, const struct secret_command *c, verifier_answer answer, void *context)
{
	struct arena a = { 0 };
	struct str hash;

	if (c->secret.n == 0 || c->secret.n > PASSWORD_MAX || secrets_password(v->o.secrets, c->account, &a, &hash) != ERR_OK)
		reply(answer, context, ERR_DENIED);
	else
		hash_later(v, hasher_job(HASH_CHECK, c->secret, hash), c->account, check_done, answer, context);
	arena_free(&a);
}

static enum err set_hash(struct verifier *v, const struct secret_command *c)
{
	if (!password_hash_is_known(c->secret))
		return ERR_INVALID;
	return secrets_set_password(v->o.secrets, c->account, c->secret);
}

static enum err status(struct verifier *v, const struct secret_command *c, struct arena *a, struct secret_reply *r)
{
	struct str hash;
	size_t count;
	enum err e = secrets_password(v->o.secrets, c->account, a, &hash);

	if (e != ERR_OK && e != ERR_NOTFOUND)
		return e;
	r->flag = e == ERR_OK;
	r->text = e == ERR_OK ? str_of(password_hash_kind(hash)) : STR("");
	TRY(secrets_app_list(v->o.secrets, c->account, a, &r->apps, &count));
	r->id = (uint32_t)count;
	return ERR_OK;
}

static enum err app_add(struct verifier *v, const struct secret_command *c, struct arena *a, struct secret_reply *r)
{
	struct app_secret app = { .rights = c->rights, .has_scram = v->o.has_scram };
	uint8_t salt[SCRAM_SALT_SIZE];

	if (c->name.n == 0 || !utf8_valid(c->name) || str_has_ctl(c->name))
		return ERR_INVALID;
	r->text = app_password_make(a);
	app_password_mac(secrets_app_key(v->o.secrets), c->account, r->text, app.mac);
	if (app.has_scram) {
		scram_salt(secrets_scram_key(v->o.secrets), c->account, STR_NONE, salt);
		scram_keys(r->text, salt, app.stored_key, app.server_key);
	}
	return secrets_app_add(v->o.secrets, c->account, c->name, &app, &r->id);
}

static enum err certificate_add(struct verifier *v, const struct secret_command *c, struct secret_reply *r)
{
	struct client_certificate x = { .name = c->name, .rights = c->rights, .expires_s = c->id };

	if (c->name.n == 0 || !utf8_valid(c->name) || str_has_ctl(c->name) || c->secret.n != sizeof x.fingerprint)
		return ERR_INVALID;
	memcpy(x.fingerprint, c->secret.p, sizeof x.fingerprint);
	return client_certificate_add(v->o.secrets, c->account, &x, &r->id);
}

static enum err run(struct verifier *v, const struct secret_command *c, struct arena *a, struct secret_reply *r)
{
	struct secrets *s = v->o.secrets;

	switch (c->op) {
	case SECRET_SET_HASH:   return set_hash(v, c);
	case SECRET_REMOVE:     return secrets_remove_password(s, c->account);
	case SECRET_STATUS:     return status(v, c, a, r);
	case SECRET_APP_ADD:    return app_add(v, c, a, r);
	case SECRET_APP_LIST:   return secrets_app_list(s, c->account, a, &r->apps, &r->app_count);
	case SECRET_APP_REMOVE: return secrets_app_remove(s, c->account, c->id);
	case SECRET_CERTIFICATE_ADD:    return certificate_add(v, c, r);
	case SECRET_CERTIFICATE_LIST:   return client_certificate_list(s, c->account, a, &r->certificates, &r->certificate_count);
	case SECRET_CERTIFICATE_REMOVE: return client_certificate_remove(s, c->account, c->id);
	case SECRET_FORGET:     return secrets_forget(s, c->account);
	case SECRET_EPOCH:      map_set_u64(&v->epochs, c->account, (void *)(uintptr_t)c->id); return ERR_OK;
	case SECRET_SET_PASSWORD: case SECRET_CHECK: case SECRET_OP_COUNT: break;
	}
	return ERR_INVALID;
}

static bool is_change(enum secret_op op)
{
	return op != SECRET_STATUS && op != SECRET_APP_LIST && op != SECRET_APP_ADD &&
	       op != SECRET_CERTIFICATE_ADD && op != SECRET_CERTIFICATE_LIST;
}

void verifier_command(struct verifier *v, const struct secret_command *c, verifier_answer answer, void *context)
{
	struct secret_reply r = { 0 };
	struct arena a = { 0 };
	enum err e;

	if (c->op == SECRET_SET_PASSWORD) {
		set_password(v, c, answer, context);
		return;
	}
	if (c->op == SECRET_CHECK) {
		check_password(v, c, answer, context);
		return;
	}
	e = run(v, c, &a, &r);
	if (is_change(c->op))
		changed(v, c->account);
	answer(context, e, &r);
	arena_free(&a);
}
