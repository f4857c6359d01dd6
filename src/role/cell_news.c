/* Who is told that something has changed: sessions here, and through master those that wait in a gate.
 *
 * "Seen means synced" (DESIGN.md §4.5): what was delivered is shown after its sync, and the sync is made for those who look. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "role/cell_private.h"
#include "store/view.h"

static void tell_changed(struct cell *c)
{
	CLEANUP(buf_free) struct buf b = BUF(32);
	uint64_t modseq = c->changed, told = c->told;

	while (modseq > told)
		if (atomic_compare_exchange_weak(&c->told, &told, modseq)) {
			put_u64(&b, c->start.account);
			put_u64(&b, modseq);
			channel_notify(c->master, NOTICE_CHANGED, buf_str(&b), NULL, 0);
			return;
		}
}

void cell_tell_newest(struct cell *c)
{
	uint64_t known = c->changed, newest = view_modseq(c->account.view);

	while (newest > known && !atomic_compare_exchange_weak(&c->changed, &known, newest))
		;
	c->told = 0;
	tell_changed(c);
}

/* Only sessions that wait in a gate hear of a change this way, and each notice wakes master and gates: while none waits it is kept
 * back. Either this thread sees that somebody began to wait, or the one that saw it begin sees the change (cell_watch()). */
void cell_on_changed(void *context, UNUSED uint64_t account, uint64_t modseq)
{
	struct cell *c = context;
	uint64_t known = c->changed;

	while (modseq > known && !atomic_compare_exchange_weak(&c->changed, &known, modseq))
		;
	if (c->is_watched)
		tell_changed(c);
	if (c->attached != NULL)
		attached_changed(c->attached);
}

void cell_watch(struct cell *c)
{
	c->is_watched = true;
	tell_changed(c);
}

bool cell_has_viewers(struct cell *c) { return c->is_watched || attached_count(c->attached) > 0; }

void cell_publish(struct cell *c)
{
	c->must_publish = false;
	c->last_publish_ms = clock_mono_ms();
	if (view_publish(c->account.view) != ERR_OK)
		log_error("what was delivered could not be synced; it stays in the queue's log account=%llu",
		          (unsigned long long)c->start.account);
}

/* "Seen means synced": at most 20 times a second, and only for those who look (DESIGN.md §4.5). */
void cell_publish_soon(struct cell *c)
{
	int64_t now = clock_mono_ms();

	if (!cell_has_viewers(c))
		return;  /* the sync point of the queue does it */
	if (now >= c->last_publish_ms + PUBLISH_EVERY_MS) {
		cell_publish(c);
		return;
	}
	c->must_publish = true;
	pool_alarm(c->pool, c->last_publish_ms + PUBLISH_EVERY_MS);
}
