/* The judgement. The order, cheapest first: throttle; app password (one HMAC and one row); a password remembered from a success
 * within 24 hours (one HMAC); yescrypt in a worker.
 *
 * A name that does not exist takes the same road: the same look-up of a MAC under account 0, the same queue, a yescrypt of a hash
 * nobody has the password of, the same answer. What is left (a cheap imported hash, a warm page) hides under a floor: a failure
 * is told a quarter of a second after the question at the earliest; the gate waits, by a timer.
 * Suspension and missing rights are told only to whom the password is known. */
#include "auth/app_password.h"
#include "auth/verifier_private.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum {
	FAILURE_FLOOR_MS = 250, DELAY_MAX_MS = 10000, EXCHANGE_LIFE_MS = 60000,
	PRINTER_LIFE_S = 3600,  /* taken off the list, a printer is out after this at the latest; its session does not park */
};

struct verifier *verifier_new(const struct verifier_options *o)
{
	struct verifier *v = MEM_NEW(struct verifier);

	v->o = *o;
	if (v->o.now_ms == NULL)
		v->o.now_ms = clock_mono_ms;
	v->hasher = hasher_new(o->workers);
	v->throttle = throttle_new();
	v->remember = remember_new();
	return v;
}

void verifier_ask_free(struct ask *q)
{
	arena_free(&q->arena);
	mem_free(q);
}

void verifier_free(struct verifier *v)
{
	if (v == NULL)
		return;
	hasher_free(v->hasher);
	throttle_free(v->throttle);
	remember_free(v->remember);
	map_free(&v->epochs);
	for (unsigned i = 0; i < EXCHANGES; i++)
		if (v->exchange[i].scram_id != 0)
			verifier_ask_free(v->exchange[i].ask);
	mem_free(v);
}

void verifier_set_scram(struct verifier *v, bool has_scram) { v->o.has_scram = has_scram; }
void verifier_set_token_ends_session(struct verifier *v, bool yes) { v->o.token_ends_session = yes; }
int  verifier_fd(const struct verifier *v) { return hasher_fd(v->hasher); }
void verifier_receive(struct verifier *v) { hasher_receive(v->hasher); }

void verifier_cell_key(const struct verifier *v, uint64_t account, uint8_t key[GRANT_KEY_SIZE])
{
	grant_key(secrets_grant_key(v->o.secrets), account, key);
}

uint32_t verifier_epoch(const struct verifier *v, uint64_t account, uint32_t of_directory)
{
	uint32_t told = (uint32_t)(uintptr_t)map_get_u64(&v->epochs, account);

	return told > of_directory ? told : of_directory;
}

void verifier_ask_about(struct ask *q, const struct login_account *account)
{
	q->account = *account;
	q->account.address = str_copy(&q->arena, account->address);
	q->account.epoch = verifier_epoch(q->v, account->account, account->epoch);
	q->who.account = account->account;
}

struct ask *verifier_ask_new(struct verifier *v, enum protocol protocol, uint64_t session, struct str peer, struct str login)
{
	struct ask *q = MEM_NEW(struct ask);

	q->v = v;
	q->protocol = protocol;
	q->session = session;
	q->login = str_copy(&q->arena, login);
	q->who.peer = str_copy(&q->arena, peer);
	q->asked_ms = v->o.now_ms();
	q->changes = v->changes;
	if (q->login.n > 0 && v->o.resolve(v->o.context, q->login, &q->arena, &q->account))
		verifier_ask_about(q, &q->account);
	else
		q->account = (struct login_account){ 0 };
	if (q->account.account == 0)  /* nobody named counts with others from the same place, not with everybody */
		q->who.account = str_hash(str_lower(&q->arena, q->login.n > 0 ? q->login : q->who.peer), 1) | 1ULL << 63;
	return q;
}

/* ---- the ends of the road ---- */

static void sign(const struct verifier *v, struct grant *g)
{
	uint8_t key[GRANT_KEY_SIZE];

	verifier_cell_key(v, g->account, key);
	grant_sign(g, key);
	mem_wipe(key, sizeof key);
}

void verifier_judge_right(struct ask *q, const struct proof *how, struct verify_reply *r)
{
	struct verifier *v = q->v;
	uint32_t rights = q->account.rights & (how->rights ? how->rights : UINT32_MAX);

	throttle_success(v->throttle, &q->who, v->o.now_ms());
	*r = (struct verify_reply){ .outcome = VERIFY_OK, .login = q->account.address };
	if (q->account.is_suspended)
		r->outcome = VERIFY_SUSPENDED;
	else if ((rights & 1u << q->protocol) == 0)
		r->outcome = VERIFY_NOT_ALLOWED;
	if (r->outcome != VERIFY_OK) {
		log_info("login refused reason=%s login=" STR_FMT " account=%llu protocol=%s peer=" STR_FMT,
				 r->outcome == VERIFY_SUSPENDED ? "suspended" : "not-allowed", STR_ARG(q->login),
				 (unsigned long long)q->account.account, protocol_name(q->protocol), STR_ARG(q->who.peer));
		return;
	}
	r->grant = (struct grant){ .account = q->account.account, .rights = rights, .expires_s = clock_wall_s() + how->life_s,
	                           .epoch = q->account.epoch, .session = q->session, .app_password_id = how->app_password_id,
	                           .ends_session = how->ends_session, .token_mark = how->token_mark };
	sign(v, &r->grant);
	if (how->app_password_id != 0)
		secrets_app_used(v->o.secrets, q->account.account, how->app_password_id, clock_wall_s());
	log_info("login account=%llu protocol=%s how=%s app_password=%u peer=" STR_FMT, (unsigned long long)q->account.account,
	         protocol_name(q->protocol), how->how, how->app_password_id, STR_ARG(q->who.peer));
}

static void judge_password(struct ask *q, const char *how, struct verify_reply *r)
{
	verifier_judge_right(q, &(struct proof){ .how = how, .life_s = GRANT_LIFE_S }, r);
}

static void judge_app_password(struct ask *q, const struct app_secret *app, const char *how, struct verify_reply *r)
{
	verifier_judge_right(q, &(struct proof){ .how = how, .rights = app->rights, .app_password_id = app->app_password_id, .life_s = GRANT_LIFE_S }, r);
}

void verifier_judge_wrong(struct ask *q, enum verify_outcome outcome, const char *why, uint64_t tag, struct verify_reply *r)
{
	int64_t now = q->v->o.now_ms(), floor_ms = q->asked_ms + FAILURE_FLOOR_MS - now;
	uint32_t delay_ms = throttle_failure(q->v->throttle, &q->who, tag, now);

	*r = (struct verify_reply){ .outcome = outcome, .delay_ms = delay_ms };
	if (floor_ms > (int64_t)r->delay_ms)
		r->delay_ms = (uint32_t)floor_ms;
	if (r->delay_ms > DELAY_MAX_MS)
		r->delay_ms = DELAY_MAX_MS;
	log_info("login failed reason=%s login=" STR_FMT " protocol=%s peer=" STR_FMT " delay_ms=%u", why, STR_ARG(q->login),
	         protocol_name(q->protocol), STR_ARG(q->who.peer), r->delay_ms);
}

bool verifier_is_throttled(struct ask *q, uint32_t *retry_s)
{
	*retry_s = throttle_check(q->v->throttle, &q->who, q->v->o.now_ms());
	if (*retry_s > 0)
		log_info("login throttled login=" STR_FMT " protocol=%s peer=" STR_FMT " retry_s=%u", STR_ARG(q->login),
		         protocol_name(q->protocol), STR_ARG(q->who.peer), *retry_s);
	return *retry_s > 0;
}

static void answer(struct ask *q, const struct verify_reply *r)
{
	q->done(q->context, r);
	verifier_ask_free(q);
}

/* Not now: a queue is full, or the disk failed. Never "wrong", which would make mail programs ask for another password. */
static void answer_busy(struct ask *q, const char *reason)
{
	log_warn("login busy reason=%s login=" STR_FMT " peer=" STR_FMT, reason, STR_ARG(q->login), STR_ARG(q->who.peer));
	answer(q, &(struct verify_reply){ .outcome = VERIFY_BUSY });
}

/* ---- VERIFY ---- */

/* An older hash is made anew with the password that just proved right; if it changes meanwhile, the change wins. */
static void upgrade_done(struct hash_job *job, enum err result)
{
	struct verifier *v = job->context;
	struct str *old_hash = job->detail;
	enum err e = result;

	if (e == ERR_OK)
		e = secrets_upgrade_password(v->o.secrets, job->account, *old_hash, str_of(job->hash));
	log_info("password hash upgraded account=%llu from=%s result=%s", (unsigned long long)job->account, password_hash_kind(*old_hash),
	         err_name(e));
	mem_free((void *)(uintptr_t)old_hash->p);
	mem_free(old_hash);
}

static void upgrade(struct ask *q, struct str password)
{
	struct hash_job *job = hasher_job(HASH_MAKE, password, STR_NONE);
	struct str *old_hash = MEM_NEW(struct str);
	char *copy = mem_alloc(q->hash.n + 1);

	memcpy(copy, q->hash.p, q->hash.n);
	*old_hash = str_make(copy, q->hash.n);
	job->account = q->account.account;
	job->context = q->v;
	job->detail = old_hash;
	job->done = upgrade_done;
	if (hasher_add(q->v->hasher, job) != ERR_OK) {  /* cannot happen: our own work is not limited */
		mem_free(copy);
		mem_free(old_hash);
	}
}

static bool verify_is_known(struct hash_job *job)
{
	struct ask *q = job->context;

	return q->account.account != 0 && remember_knows(q->v->remember, q->account.account, q->account.epoch,
	                                                 str_make(job->password, job->password_size), q->v->o.now_ms());
}

static void verify_done(struct hash_job *job, enum err result)
{
	struct ask *q = job->context;
	struct verifier *v = q->v;
	struct str password = str_make(job->password, job->password_size);
	struct verify_reply r;

	if (result == ERR_TIMEOUT) {
		answer_busy(q, "waited-too-long");
		return;
	}
	if (result == ERR_INVALID)
		log_error("password hash cannot be read account=%llu", (unsigned long long)q->account.account);
	if (result != ERR_OK || q->account.account == 0 || q->hash.n == 0) {
		verifier_judge_wrong(q, VERIFY_WRONG, "wrong", q->password_tag, &r);
		answer(q, &r);
		return;
	}
	if (q->changes == v->changes) {
		remember_add(v->remember, q->account.account, q->account.epoch, password, v->o.now_ms());
		if (password_hash_is_old(q->hash))
			upgrade(q, password);
	}
	judge_password(q, "password", &r);
	answer(q, &r);
}

void verifier_ask(struct verifier *v, const struct verify_request *in, verifier_done done, void *context)
{
	struct ask *q = verifier_ask_new(v, in->protocol, in->session, in->peer, in->login);
	struct verify_reply r = { 0 };
	struct app_secret app;
	struct hash_job *job;
	uint8_t mac[SHA256_SIZE];
	enum err e;

	q->done = done;
	q->context = context;
	if (verifier_is_throttled(q, &r.retry_s)) {
		r.outcome = VERIFY_THROTTLED;
		answer(q, &r);
		return;
	}
	app_password_mac(secrets_app_key(v->o.secrets), q->account.account, in->password, mac);
	e = secrets_app_find(v->o.secrets, q->account.account, mac, &app);
	if (e == ERR_OK && q->account.account != 0) {
		judge_app_password(q, &app, "app-password", &r);
		answer(q, &r);
		return;
	}
	if (remember_knows(v->remember, q->account.account, q->account.epoch, in->password, v->o.now_ms()) && q->account.account != 0) {
		judge_password(q, "remembered", &r);
		answer(q, &r);
		return;
	}
	if (e == ERR_OK || e == ERR_NOTFOUND)
		e = secrets_password(v->o.secrets, q->account.account, &q->arena, &q->hash);
	if (e != ERR_OK && e != ERR_NOTFOUND) {
		answer_busy(q, err_name(e));
		return;
	}
	q->password_tag = remember_tag(v->remember, q->who.account, in->password);
	job = hasher_job(HASH_CHECK, in->password, q->hash.n ? q->hash : password_hash_nobody());
	job->account = q->who.account;
	job->network = throttle_network(q->who.peer);
	job->context = q;
	job->done = verify_done;
	job->is_known = verify_is_known;
	if (in->password.n > PASSWORD_MAX)  /* cut, and so it could be right: nobody has one that long */
		q->hash = STR_NONE;
	if (hasher_add(v->hasher, job) != ERR_OK)
		answer_busy(q, "queue-full");
}

/* ---- SCRAM ---- */

static void exchange_end(struct exchange *x)
{
	if (x->scram_id != 0)
		verifier_ask_free(x->ask);
	*x = (struct exchange){ 0 };
}

/* Where the next exchange goes. A client that begins and never ends them takes the places of its own network, the oldest first; only
 * when many networks have filled the table does the oldest of all give way. Its client is told to try again. */
static struct exchange *exchange_place(struct verifier *v, uint64_t network)
{
	struct exchange *free_one = NULL, *oldest = v->exchange, *own = NULL;
	unsigned of_network = 0;

	for (struct exchange *x = v->exchange; x < v->exchange + EXCHANGES; x++) {
		if (x->scram_id == 0) {
			free_one = free_one ? free_one : x;
			continue;
		}
		if (x->at_ms < oldest->at_ms)
			oldest = x;
		of_network += x->network == network;
		if (x->network == network && (own == NULL || x->at_ms < own->at_ms))
			own = x;
	}
	return of_network >= EXCHANGES_A_NETWORK ? own : free_one ? free_one : oldest;
}

void verifier_scram_first(struct verifier *v, const struct scram_first_request *in, const void *asker, struct arena *a,
                          struct scram_first_reply *out)
{
	struct ask *q = verifier_ask_new(v, in->protocol, in->session, in->peer, in->login);
	uint8_t salt[SCRAM_SALT_SIZE], nonce[18];
	struct arena *own = &q->arena;

	*out = (struct scram_first_reply){ .outcome = VERIFY_OK };
	if (verifier_is_throttled(q, &out->retry_s)) {
		out->outcome = VERIFY_THROTTLED;
		verifier_ask_free(q);
		return;
	}
	uint64_t network = throttle_network(in->peer);
	struct exchange *x = exchange_place(v, network);
	exchange_end(x);
	random_bytes(nonce, sizeof nonce);
	scram_salt(secrets_scram_key(v->o.secrets), q->account.account, in->login, salt);
	x->scram_id = (random_u64() | 1ULL << 63) / EXCHANGES * EXCHANGES + (uint64_t)(x - v->exchange);
	x->asker = asker;
	x->network = network;
	x->at_ms = v->o.now_ms();
	x->ask = q;
	x->client_first_bare = str_copy(own, in->client_first_bare);
	x->server_first = arena_printf(own, "r=" STR_FMT STR_FMT ",s=" STR_FMT ",i=%d", STR_ARG(in->client_nonce),
	                               STR_ARG(base64_encode(own, str_make(nonce, sizeof nonce))),
	                               STR_ARG(base64_encode(own, str_make(salt, sizeof salt))), SCRAM_ITERATIONS);
	out->scram_id = x->scram_id;
	out->server_first = str_copy(a, x->server_first);
}

/* Tries the keys of each app password of the account; the messages decide. */
static bool find_scram(struct exchange *x, const struct scram_final_request *in, struct arena *a, struct app_secret *found,
                       uint8_t signature[SHA256_SIZE])
{
	struct app_secret *apps;
	struct str message;
	size_t count;

	if (secrets_app_scram(x->ask->v->o.secrets, x->ask->account.account, a, &apps, &count) != ERR_OK || x->ask->account.account == 0)
		return false;
	message = arena_printf(a, STR_FMT "," STR_FMT "," STR_FMT, STR_ARG(x->client_first_bare), STR_ARG(x->server_first),
	                       STR_ARG(in->without_proof));
	for (size_t i = 0; i < count; i++) {
		if (scram_proof_is_right(apps + i, message, in->proof, signature)) {
			*found = apps[i];
			return true;
		}
	}
	return false;
}

void verifier_scram_final(struct verifier *v, const struct scram_final_request *in, const void *asker, struct arena *a,
                          struct verify_reply *out)
{
	struct exchange *x = v->exchange + in->scram_id % EXCHANGES;
	uint8_t signature[SHA256_SIZE];
	struct app_secret app;
	uint64_t tag;

	if (in->scram_id == 0 || x->scram_id != in->scram_id || x->asker != asker || x->ask->session != in->session ||
	    v->o.now_ms() - x->at_ms > EXCHANGE_LIFE_MS) {
		*out = (struct verify_reply){ .outcome = VERIFY_BUSY };
		return;
	}
	if (find_scram(x, in, a, &app, signature)) {
		judge_app_password(x->ask, &app, "scram", out);
		if (out->outcome == VERIFY_OK)
			out->server_final = arena_printf(a, "v=" STR_FMT, STR_ARG(base64_encode(a, str_make(signature, sizeof signature))));
	} else {
		memcpy(&tag, in->proof, sizeof tag);  /* differs each time: a repeated wrong password counts each time here */
		verifier_judge_wrong(x->ask, VERIFY_USE_APP_PASSWORD, "wrong", tag, out);
	}
	out->login = str_copy(a, out->login);
	exchange_end(x);
}

/* ---- PRINTER ---- */

void verifier_printer(struct verifier *v, const struct printer_request *in, struct verify_reply *out)
{
	const uint32_t submission = 1u << PROTOCOL_SUBMISSION;
	struct login_account x = { 0 };

	*out = (struct verify_reply){ .outcome = VERIFY_OK };
	if (!v->o.resolve_printer(v->o.context, in->peer, &x))
		out->outcome = VERIFY_WRONG;
	else if (x.is_suspended)
		out->outcome = VERIFY_SUSPENDED;
	else if ((x.rights & submission) == 0)
		out->outcome = VERIFY_NOT_ALLOWED;
	log_info("printer %s account=%llu peer=" STR_FMT, out->outcome == VERIFY_OK ? "let in" : "refused",
	         (unsigned long long)x.account, STR_ARG(in->peer));
	if (out->outcome != VERIFY_OK)
		return;
	out->login = x.address;
	out->grant = (struct grant){ .account = x.account, .rights = submission, .expires_s = clock_wall_s() + PRINTER_LIFE_S,
	                             .epoch = verifier_epoch(v, x.account, x.epoch), .session = in->session, .ends_session = true };
	sign(v, &out->grant);
}

void verifier_tick(struct verifier *v)
{
	int64_t now = v->o.now_ms();

	hasher_tick(v->hasher);
	for (unsigned i = 0; i < EXCHANGES; i++)
		if (v->exchange[i].scram_id != 0 && now - v->exchange[i].at_ms > EXCHANGE_LIFE_MS)
			exchange_end(v->exchange + i);
	if (now - v->flushed_ms >= 60000) {
		v->flushed_ms = now;
		secrets_flush(v->o.secrets);
	}
}
