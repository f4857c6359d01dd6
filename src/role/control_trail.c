/* control's third half: the trail (trail/store.h). Notes come in by the loop and go to memory; a thread of its own writes them every
 * few seconds, so that neither a cell's question nor a command ever waits for its disk. Without a trail (its file cannot be opened)
 * everything else goes on. */
#include "base/clock.h"
#include "base/log.h"
#include "role/control_private.h"
#include <errno.h>

enum { STACK_SIZE = 256 << 10, RETRY_MS = 60000 };

static void *trail_main(void *context)
{
	struct control_trail *t = context;

	pthread_mutex_lock(&t->lock);
	while (!t->stops) {
		int64_t due = trail_store_due_ms(t->store);
		struct timespec until = { due / 1000, due % 1000 * 1000000 };
		if (due < 0) {
			pthread_cond_wait(&t->news, &t->lock);
		} else if (clock_mono_ms() < due) {
			pthread_cond_timedwait(&t->news, &t->lock, &until);
		} else {
			pthread_mutex_unlock(&t->lock);
			enum err e = trail_store_write(t->store);
			pthread_mutex_lock(&t->lock);
			until = (struct timespec){ (clock_mono_ms() + RETRY_MS) / 1000, 0 };
			while (e != ERR_OK && !t->stops && pthread_cond_timedwait(&t->news, &t->lock, &until) == 0)
				;
		}
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

static enum err start_thread(struct control_trail *t)
{
	pthread_condattr_t cond;
	pthread_attr_t attr;

	pthread_mutex_init(&t->lock, NULL);
	pthread_condattr_init(&cond);
	pthread_condattr_setclock(&cond, CLOCK_MONOTONIC);
	pthread_cond_init(&t->news, &cond);
	pthread_condattr_destroy(&cond);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	int failure = pthread_create(&t->thread, &attr, trail_main, t);
	pthread_attr_destroy(&attr);
	if (failure == 0)
		return ERR_OK;
	errno = failure;
	return log_errno("pthread_create", "trail");
}

void control_trail_start(struct control *c)
{
	struct control_trail *t = &c->trail;

	if (trail_store_open(c->dir, &t->store) != ERR_OK) {
		log_error("no trail is kept: `facteur trace` finds nothing new, everything else works");
		return;
	}
	if (start_thread(t) == ERR_OK)
		return;
	trail_store_close(t->store);
	t->store = NULL;
}

static void wake(struct control_trail *t)
{
	pthread_mutex_lock(&t->lock);
	pthread_cond_signal(&t->news);
	pthread_mutex_unlock(&t->lock);
}

void control_trail_stop(struct control *c)
{
	struct control_trail *t = &c->trail;

	if (t->store == NULL)
		return;
	pthread_mutex_lock(&t->lock);
	t->stops = true;
	pthread_cond_signal(&t->news);
	pthread_mutex_unlock(&t->lock);
	pthread_join(t->thread, NULL);
	trail_store_close(t->store);
	pthread_cond_destroy(&t->news);
	pthread_mutex_destroy(&t->lock);
	t->store = NULL;
}

void control_trail_write(struct control *c)
{
	if (c->trail.store != NULL && trail_store_write(c->trail.store) != ERR_OK)
		log_warn("the last notes of the trail could not be written");
}

void control_trail_limit(struct control *c)
{
	const struct conf *conf = lookup_conf(c->lookup);
	struct trail_limits limits = { (uint32_t)conf_number(conf, SETTING_trail_days), conf_number(conf, SETTING_trail_size) };

	if (c->trail.store == NULL || (limits.days == c->trail.limits.days && limits.bytes == c->trail.limits.bytes))
		return;
	c->trail.limits = limits;
	trail_store_limit(c->trail.store, &limits);
	wake(&c->trail);
}

void control_trail_take(struct control *c, enum role who, uint64_t account, struct str events)
{
	struct control_trail *t = &c->trail;
	bool was_idle;

	if (t->store == NULL)
		return;
	was_idle = trail_store_due_ms(t->store) < 0;
	if (trail_store_take(t->store, who, account, events) != ERR_OK)
		log_error("a note for the trail is malformed, or not this role's to write role=%s account=%llu", role_name(who),
		          (unsigned long long)account);
	if (was_idle)
		wake(t);
}
