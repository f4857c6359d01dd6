/* An RSA signature takes a millisecond, a new RSA key some hundred: neither may stand before a login, so both are made in a thread. The
 * owner alone talks to keys.db; what the thread needs (the request, the private keys as PEM) travels with the job.
 *
 * The thread keeps the keys it has parsed by their number, which never means another key: nothing has to be taken back from it when a
 * key retires. It starts anew when there are too many. */
#include "mailauth/dkim_worker.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/thread.h"
#include <assert.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { PARSED_MAX = 1000 };

struct job {
	struct job         *next;
	struct arena        arena;     /* all that is borrowed below */
	enum err            result;
	/* a signature */
	dkim_signed         signed_done;
	struct dkim_request request;
	struct str          domain;    /* whose keys they are */
	struct dkim_secret  secrets[DKIM_ALGORITHM_COUNT];
	size_t              secret_count;
	struct buf          prefix;
	/* new keys */
	dkim_commanded      made_done;
	enum dkim_state     state;
	bool                wanted[DKIM_ALGORITHM_COUNT];
	struct dkim_pair    pairs[DKIM_ALGORITHM_COUNT];
	size_t              pair_count;
	void               *context;
};

struct dkim_worker {
	/* the owner's */
	struct secrets *secrets;
	size_t          pending;
	int             event_fd;
	bool            has_thread;
	pthread_t       thread;
	/* the thread's (without one, the owner's) */
	struct map      parsed;        /* key_id -> struct pkey */
	/* shared */
	pthread_mutex_t lock;
	pthread_cond_t  wake;
	struct job     *ready, *finished;
	bool            is_ending;
};

static void job_free(struct job *j)
{
	buf_free(&j->prefix);
	arena_wipe(&j->arena);
	arena_free(&j->arena);
	mem_free(j);
}

/* ---- in the thread ---- */

static void forget_parsed(struct dkim_worker *w)
{
	size_t at = 0;
	void *key;

	while (map_next(&w->parsed, &at, NULL, &key))
		pkey_free(key);
	map_free(&w->parsed);
	w->parsed = (struct map){ 0 };
}

static const struct pkey *parsed_key(struct dkim_worker *w, const struct dkim_secret *secret)
{
	struct pkey *key = map_get_u64(&w->parsed, secret->key_id);

	if (key != NULL)
		return key;
	if (pkey_from_pem(secret->pem, &key) != ERR_OK) {
		log_error("a DKIM key in keys.db cannot be read selector=" STR_FMT, STR_ARG(secret->selector));
		return NULL;
	}
	if (w->parsed.n >= PARSED_MAX)
		forget_parsed(w);
	map_set_u64(&w->parsed, secret->key_id, key);
	return key;
}

/* RSA signs the data with its digest in one go; Ed25519 signs the digest as if it were the message (RFC 8463 §3). */
static enum err sign(void *context, enum dkim_algorithm algorithm, struct str data, struct buf *signature)
{
	const struct pkey *key = context;
	uint8_t digest[SHA256_SIZE];

	if (algorithm == DKIM_RSA)
		return pkey_sign(key, &(struct pkey_scheme){ "SHA256", "pkcs1" }, data, signature);
	sha256(data, digest);
	return pkey_sign(key, &(struct pkey_scheme){ 0 }, str_make(digest, sizeof digest), signature);
}

/* A key that is damaged must not keep the others from signing. */
static enum err make_prefix(struct dkim_worker *w, struct job *j)
{
	enum err e = ERR_IO;

	for (size_t i = 0; i < j->secret_count; i++) {
		const struct dkim_secret *s = &j->secrets[i];
		const struct pkey *key = parsed_key(w, s);

		if (key != NULL)
			e = dkim_field(&j->request, s->algorithm, j->domain, s->selector, clock_wall_s(), sign, (void *)(uintptr_t)key, &j->prefix);
	}
	return j->prefix.n > 0 ? ERR_OK : e;
}

static enum err make_pairs(struct job *j)
{
	for (size_t i = 0; i < DKIM_ALGORITHM_COUNT; i++) {
		enum dkim_algorithm algorithm = (enum dkim_algorithm)i;
		struct pkey *key;

		if (!j->wanted[i])
			continue;
		TRY(pkey_generate(dkim_algorithm(algorithm)->kind, &key));
		j->pairs[j->pair_count++] = (struct dkim_pair){ algorithm, dkim_public_bytes(algorithm, pkey_public_der(key, &j->arena)),
		                                                pkey_pem(key, &j->arena) };
		pkey_free(key);
	}
	return ERR_OK;
}

static void work(struct dkim_worker *w, struct job *j)
{
	j->result = j->signed_done != NULL ? make_prefix(w, j) : make_pairs(j);
}

static void *thread_main(void *context)
{
	struct dkim_worker *w = context;
	uint64_t one = 1;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct job *j, **end;

		while (w->ready == NULL && !w->is_ending)
			pthread_cond_wait(&w->wake, &w->lock);
		if (w->is_ending)
			break;
		j = w->ready;
		w->ready = j->next;
		j->next = NULL;
		pthread_mutex_unlock(&w->lock);
		work(w, j);
		pthread_mutex_lock(&w->lock);
		for (end = &w->finished; *end != NULL; end = &(*end)->next)
			;
		*end = j;
		if (write(w->event_fd, &one, sizeof one) < 0)
			log_errno("write", "eventfd");
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* ---- the owner ---- */

struct dkim_worker *dkim_worker_new(struct secrets *s, bool has_thread)
{
	struct dkim_worker *w = MEM_NEW(struct dkim_worker);

	w->secrets = s;
	w->has_thread = has_thread;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert(w->event_fd >= 0);
	if (has_thread)
		thread_begin(&w->thread, thread_main, w);
	return w;
}

static void free_list(struct job *j)
{
	while (j != NULL) {
		struct job *next = j->next;

		job_free(j);
		j = next;
	}
}

void dkim_worker_free(struct dkim_worker *w)
{
	if (w == NULL)
		return;
	pthread_mutex_lock(&w->lock);
	w->is_ending = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	if (w->has_thread)
		pthread_join(w->thread, NULL);
	free_list(w->ready);
	free_list(w->finished);
	forget_parsed(w);
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->wake);
	close(w->event_fd);
	mem_free(w);
}

int dkim_worker_fd(const struct dkim_worker *w) { return w->event_fd; }

static void add_job(struct dkim_worker *w, struct job *j)
{
	struct job **end;

	w->pending++;
	pthread_mutex_lock(&w->lock);
	for (end = &w->ready; *end != NULL; end = &(*end)->next)
		;
	*end = j;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
}

static void answer_list(struct dkim_worker *w, struct str domain, enum err e, dkim_commanded done, void *context)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct dkim_keys keys = { 0 };

	if (e == ERR_OK)
		e = dkim_store_list(w->secrets, domain, &a, &keys);
	done(context, e, &keys);
}

static void finish(struct dkim_worker *w, struct job *j)
{
	w->pending--;
	if (j->signed_done != NULL) {
		j->signed_done(j->context, j->result, buf_str(&j->prefix));
	} else {
		if (j->result == ERR_OK)
			j->result = dkim_store_add(w->secrets, j->domain, j->state, j->pairs, j->pair_count);
		answer_list(w, j->domain, j->result, j->made_done, j->context);
	}
	job_free(j);
}

static struct job *take(struct dkim_worker *w, struct job **list)
{
	struct job *j;

	pthread_mutex_lock(&w->lock);
	j = *list;
	if (j != NULL)
		*list = j->next;
	pthread_mutex_unlock(&w->lock);
	return j;
}

void dkim_worker_receive(struct dkim_worker *w)
{
	uint64_t count;
	struct job *j;

	if (read(w->event_fd, &count, sizeof count) < 0)
		count = 0;
	while (!w->has_thread && (j = take(w, &w->ready)) != NULL) {
		work(w, j);
		finish(w, j);
	}
	while ((j = take(w, &w->finished)) != NULL)
		finish(w, j);
}

static enum err find_keys(struct dkim_worker *w, struct str domain, struct job *j)
{
	if (domain.n == 0)
		return ERR_NOTFOUND;
	j->domain = str_copy(&j->arena, domain);
	TRY(dkim_store_signing(w->secrets, domain, &j->arena, j->secrets, &j->secret_count));
	return j->secret_count > 0 ? ERR_OK : ERR_NOTFOUND;
}

void dkim_worker_sign(struct dkim_worker *w, const struct dkim_request *r, dkim_signed done, void *context)
{
	enum err e = w->pending < DKIM_PENDING_MAX ? ERR_OK : ERR_LIMIT;
	struct job *j = MEM_NEW(struct job);

	j->prefix = BUF(DKIM_PREFIX_MAX);
	if (e == ERR_OK) {
		e = find_keys(w, r->author, j);
		if (e == ERR_NOTFOUND)
			e = find_keys(w, r->sender, j);
	}
	if (e != ERR_OK) {
		job_free(j);
		done(context, e, STR(""));
		return;
	}
	j->request = *r;
	j->request.names = str_copy(&j->arena, r->names);
	j->request.header = str_copy(&j->arena, r->header);
	j->signed_done = done;
	j->context = context;
	add_job(w, j);
}

/* The keys this state lacks, made by the thread; with nothing to make the answer comes at once. */
static void make(struct dkim_worker *w, struct str domain, enum dkim_state state, dkim_commanded done, void *context)
{
	struct job *j = MEM_NEW(struct job);
	size_t n;
	enum err e = w->pending < DKIM_PENDING_MAX ? dkim_store_missing(w->secrets, domain, state, j->wanted, &n) : ERR_LIMIT;

	if (e != ERR_OK || n == 0) {
		job_free(j);
		answer_list(w, domain, e, done, context);
		return;
	}
	j->domain = str_copy(&j->arena, domain);
	j->state = state;
	j->made_done = done;
	j->context = context;
	add_job(w, j);
}

/* The next keys. A domain that has none yet gets its first ones. ERR_EXISTS: some wait already. */
static void rotate(struct dkim_worker *w, struct str domain, dkim_commanded done, void *context)
{
	bool missing[DKIM_ALGORITHM_COUNT];
	size_t unsigned_count, not_waiting;
	enum err e = dkim_store_missing(w->secrets, domain, DKIM_SIGNS, missing, &unsigned_count);

	if (e == ERR_OK)
		e = dkim_store_missing(w->secrets, domain, DKIM_WAITS, missing, &not_waiting);
	if (e == ERR_OK && not_waiting < DKIM_ALGORITHM_COUNT)
		e = ERR_EXISTS;
	if (e != ERR_OK)
		answer_list(w, domain, e, done, context);
	else
		make(w, domain, unsigned_count == DKIM_ALGORITHM_COUNT ? DKIM_SIGNS : DKIM_WAITS, done, context);
}

void dkim_worker_command(struct dkim_worker *w, const struct dkim_command *c, dkim_commanded done, void *context)
{
	enum err e = ERR_OK;

	switch (c->op) {
	case DKIM_MAKE:
		make(w, c->domain, DKIM_SIGNS, done, context);
		return;
	case DKIM_ROTATE:
		rotate(w, c->domain, done, context);
		return;
	case DKIM_ACTIVATE:
		e = dkim_store_activate(w->secrets, c->domain, c->selector);
		break;
	case DKIM_FORGET:
		e = dkim_store_forget(w->secrets, c->domain);
		break;
	case DKIM_LIST: case DKIM_WAITING: case DKIM_OP_COUNT:
		break;
	}
	answer_list(w, c->domain, e, done, context);
}
