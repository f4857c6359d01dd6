/* The yescrypt pool. A check costs 25 ms of a core and 16 MB; the owner thread, which also answers app passwords and signatures in
 * microseconds, must never do one. At most half the cores work here, so that mail goes on while everybody logs in again.
 *
 * Choosing late: the owner keeps all that waits and hands a worker one job when it is free. So when ten connections of one mail
 * program bring the same password, the first check answers all ten (is_known), and order can follow fairness instead of arrival:
 * each job gets a rank, one more than the last waiting job of the same network (start-time fair queueing with equal weights),
 * and two more when the same account waits already; the smallest rank goes next. A network with 200 jobs waiting thus takes turns
 * with one that has a single job. The queue is short (1024), so ranks are found by walking it: microseconds beside 25 ms.
 *
 * Shared between threads: ready, finished, running flags; all under one mutex. */
#include "auth/hasher.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include <assert.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { WORKERS_MAX = 64 };

struct hasher {
	/* the owner's */
	struct hash_job *waiting;          /* any order */
	size_t           waiting_count;
	struct hash_job *running[WORKERS_MAX];
	int              running_count, workers;
	uint64_t         served_rank;      /* rank of the last job taken: time, for who comes new */
	int              event_fd;
	/* shared */
	pthread_mutex_t  lock;
	pthread_cond_t   wake;
	struct hash_job *ready, *finished;
	bool             is_ending;
	pthread_t        thread[WORKERS_MAX];
};

struct hash_job *hasher_job(enum hash_work work, struct str password, struct str hash)
{
	struct hash_job *j = MEM_NEW(struct hash_job);

	j->work = work;
	j->password_size = password.n < PASSWORD_MAX ? password.n : PASSWORD_MAX;
	memcpy(j->password, password.p ? password.p : "", j->password_size);
	memcpy(j->hash, hash.p ? hash.p : "", hash.n < PASSWORD_HASH_MAX ? hash.n : PASSWORD_HASH_MAX);
	return j;
}

static void job_free(struct hash_job *j)
{
	mem_wipe(j->password, sizeof j->password);
	mem_free(j);
}

/* A check of a cheap hash takes microseconds where one for an unknown name takes a yescrypt: after a wrong password the
 * difference would tell which names exist, so the yescrypt is done as well. */
static enum err check(struct str hash, struct str password)
{
	enum err e = password_check(hash, password);

	if (e != ERR_OK && !str_starts(hash, STR("$y$")) && password_check(password_hash_nobody(), password) == ERR_OK)
		log_error("the hash nobody has the password of has met it");
	return e;
}

static void work(struct hash_job *j)
{
	struct str password = str_make(j->password, j->password_size), hash = str_of(j->hash);
	struct arena a = { 0 };

	if (j->work == HASH_CHECK) {
		j->result = check(hash, password);
		return;
	}
	j->result = password_hash(password, &a, &hash);
	if (j->result == ERR_OK)
		memcpy(j->hash, hash.p, hash.n + 1);
	arena_free(&a);
}

static void *worker(void *context)
{
	struct hasher *h = context;

	pthread_mutex_lock(&h->lock);
	for (;;) {
		struct hash_job *j;
		uint64_t one = 1;

		while (h->ready == NULL && !h->is_ending)
			pthread_cond_wait(&h->wake, &h->lock);
		if (h->is_ending)
			break;
		j = h->ready;
		h->ready = j->next;
		pthread_mutex_unlock(&h->lock);
		work(j);
		pthread_mutex_lock(&h->lock);
		j->next = h->finished;
		h->finished = j;
		if (write(h->event_fd, &one, sizeof one) < 0)
			log_errno("write", "eventfd");
	}
	pthread_mutex_unlock(&h->lock);
	return NULL;
}

struct hasher *hasher_new(int workers)
{
	struct hasher *h = MEM_NEW(struct hasher);

	assert(workers >= 0 && workers <= WORKERS_MAX);
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->wake, NULL);
	h->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert(h->event_fd >= 0);
	for (; h->workers < workers; h->workers++)
		thread_begin(&h->thread[h->workers], worker, h);
	return h;
}

static void finish(struct hash_job *j, enum err result)
{
	j->done(j, result);
	job_free(j);
}

static void end_list(struct hash_job *j)
{
	while (j != NULL) {
		struct hash_job *next = j->next;

		finish(j, ERR_TIMEOUT);
		j = next;
	}
}

void hasher_free(struct hasher *h)
{
	if (h == NULL)
		return;
	pthread_mutex_lock(&h->lock);
	h->is_ending = true;
	pthread_cond_broadcast(&h->wake);
	pthread_mutex_unlock(&h->lock);
	for (int i = 0; i < h->workers; i++)
		pthread_join(h->thread[i], NULL);
	end_list(h->waiting);
	end_list(h->ready);
	end_list(h->finished);
	pthread_mutex_destroy(&h->lock);
	pthread_cond_destroy(&h->wake);
	close(h->event_fd);
	mem_free(h);
}

int hasher_fd(const struct hasher *h) { return h->event_fd; }

static bool account_is_running(const struct hasher *h, uint64_t account)
{
	for (int i = 0; i < h->running_count; i++)
		if (h->running[i]->account == account)
			return true;
	return false;
}

/* Unlinks and returns the waiting job with the smallest rank whose account is not being worked on; NULL if there is none. */
static struct hash_job *take_next(struct hasher *h)
{
	struct hash_job **best = NULL, *j;

	for (struct hash_job **at = &h->waiting; *at != NULL; at = &(*at)->next)
		if ((best == NULL || (*at)->rank < (*best)->rank) && !account_is_running(h, (*at)->account))
			best = at;
	if (best == NULL)
		return NULL;
	j = *best;
	*best = j->next;
	j->next = NULL;
	h->waiting_count--;
	if (j->rank > h->served_rank)
		h->served_rank = j->rank;
	return j;
}

/* Hands waiting jobs to free workers; jobs whose answer is known by now, or that waited too long, are finished here. */
static void dispatch(struct hasher *h)
{
	int64_t now = clock_mono_ms();
	struct hash_job *j;

	while ((h->workers == 0 || h->running_count < h->workers) && (j = take_next(h)) != NULL) {
		if (j->is_known != NULL && j->is_known(j)) {
			finish(j, ERR_OK);
		} else if (j->network != 0 && now - j->asked_ms > HASHER_WAIT_MAX_MS) {
			finish(j, ERR_TIMEOUT);
		} else if (h->workers == 0) {
			work(j);
			finish(j, j->result);
		} else {
			h->running[h->running_count++] = j;
			pthread_mutex_lock(&h->lock);
			struct hash_job **end = &h->ready;
			while (*end != NULL)
				end = &(*end)->next;
			*end = j;
			pthread_cond_signal(&h->wake);
			pthread_mutex_unlock(&h->lock);
		}
	}
}

/* Counts the waiting jobs of the same network and account, and gives the job its rank. ERR_AGAIN: too many. */
static enum err rank(struct hasher *h, struct hash_job *job)
{
	size_t of_network = 0, of_account = 0;

	job->rank = h->served_rank + 1;
	for (const struct hash_job *j = h->waiting; j != NULL; j = j->next) {
		bool same_network = j->network == job->network, same_account = j->account == job->account;

		of_network += same_network;
		of_account += same_account;
		if (same_network && j->rank + 1 > job->rank)
			job->rank = j->rank + 1;
		if (same_account && j->rank + 2 > job->rank)
			job->rank = j->rank + 2;
	}
	if (job->network == 0)
		return ERR_OK;
	return h->waiting_count >= HASHER_PENDING_MAX || of_network >= HASHER_PER_NETWORK_MAX || of_account >= HASHER_PER_ACCOUNT_MAX
	       ? ERR_AGAIN : ERR_OK;
}

enum err hasher_add(struct hasher *h, struct hash_job *job)
{
	enum err e = rank(h, job);

	if (e != ERR_OK) {
		job_free(job);
		return e;
	}
	job->asked_ms = clock_mono_ms();
	job->next = h->waiting;
	h->waiting = job;
	h->waiting_count++;
	if (h->workers > 0)
		dispatch(h);
	return ERR_OK;
}

void hasher_receive(struct hasher *h)
{
	struct hash_job *j, *next;
	uint64_t count;

	if (read(h->event_fd, &count, sizeof count) < 0)
		count = 0;
	pthread_mutex_lock(&h->lock);
	j = h->finished;
	h->finished = NULL;
	pthread_mutex_unlock(&h->lock);
	for (; j != NULL; j = next) {
		next = j->next;
		for (int i = 0; i < h->running_count; i++) {
			if (h->running[i] == j) {
				h->running[i] = h->running[--h->running_count];
				break;
			}
		}
		finish(j, j->result);
	}
	dispatch(h);
}

void hasher_tick(struct hasher *h)
{
	int64_t now = clock_mono_ms();
	struct hash_job *late = NULL;

	for (struct hash_job **at = &h->waiting; *at != NULL;) {
		struct hash_job *j = *at;

		if (j->network == 0 || now - j->asked_ms <= HASHER_WAIT_MAX_MS) {
			at = &j->next;
			continue;
		}
		*at = j->next;
		h->waiting_count--;
		j->next = late;
		late = j;
	}
	while (late != NULL) {
		struct hash_job *next = late->next;

		finish(late, ERR_TIMEOUT);
		late = next;
	}
}
