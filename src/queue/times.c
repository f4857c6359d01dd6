/* What mail may wait for, and what may not wait: times that its sender or this server has set.
 *
 * Not before: FUTURERELEASE (RFC 4865), an account that sends more than it usually does, and one that is stopped from sending. Such a
 * recipient becomes a row of queue.db at once, due then; the log is not kept up by it, and a kill changes nothing, since what stands in
 * the log is looked at again. Whether a sender is stopped is asked again each STOPPED_LOOK_S: nobody has to know who waited for it.
 *
 * Not after: DELIVERBY (RFC 2852). A row has its deadline in a column of its own: when it is tried next says nothing about it, least of all
 * of what is parked. One place decides, once a second: what is in memory and waits for its turn, and rows that nobody has. What is out gets
 * its answer; if that is "later", the next look finds the row. The lifetime of what is parked is looked at in the same way. */
#include "base/clock.h"
#include "base/log.h"
#include "mime/date.h"
#include "queue/parcels.h"
#include "queue/queue_private.h"
#include "text/text.h"

enum { STOPPED_LOOK_S = 120, OVERDUE_MAX = 500 };

static struct str date_of(int64_t unix_s, struct arena *a)
{
	char text[DATE_TEXT_MAX];

	return str_copy(a, str_make(text, date_format(unix_s, 0, text)));
}

bool times_is_stopped(const struct queue *q, const struct envelope *e)
{
	struct lookup_account account;

	return e->source == ENVELOPE_SUBMISSION && e->submitter != 0 && q->lookup != NULL && lookup_account(q->lookup, e->submitter, &account) &&
	       account.is_stopped;
}

int64_t times_wait(const struct queue *q, const struct envelope *e, bool elsewhere, struct arena *a, struct sync_result *why)
{
	int64_t now = clock_wall_s(), at = envelope_leaves(e, elsewhere);

	*why = (struct sync_result){ .status = STR(""), .reason = STR(""), .host = STR("") };
	if (at > now) {
		why->reason = at == e->wishes.release ?
			text_fmt(a, LANG_EN, TEXT_REASON_LATER, date_of(at, a)) : str_of(text_get(LANG_EN, TEXT_REASON_SLOWED));
		return at;
	}
	if (!elsewhere || !times_is_stopped(q, e))
		return 0;
	why->status = STR("4.7.0");
	why->reason = str_of(text_get(LANG_EN, TEXT_REASON_STOPPED));
	return times_look_again();
}

int64_t times_look_again(void) { return clock_wall_s() + STOPPED_LOOK_S; }

struct str times_over(int64_t deliver_by, struct str last, struct arena *a)
{
	return text_fmt(a, LANG_EN, last.n > 0 ? TEXT_REASON_OVER_LAST : TEXT_REASON_OVER, date_of(deliver_by, a), last);
}

/* True: its deadline has passed and only that is to be noted (*out). */
static bool overdue(struct queue *q, const struct late_due *due, struct late_overdue *out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct late_message m;
	struct late_row row;

	if (late_find(q->late, &due->key, &a, &row) != ERR_OK || late_message_find(q->late, due->key.log_id, due->key.seq, &a, &m) != ERR_OK ||
	    jumps_moved_with(&q->jumps, envelope_begins(&m.envelope), m.envelope.wishes.deliver_by) > clock_wall_s())
		return false;
	if (m.envelope.wishes.by == ENVELOPE_BY_RETURN) {
		const struct sync_result over = { .outcome = DELIVERY_REFUSED, .status = STR("5.4.7"), .host = STR(""),
			.reason = times_over(m.envelope.wishes.deliver_by, row.reason, &a) };
		queue_give_up(q, &row, &m.envelope, &over);
		return false;
	}
	*out = (struct late_overdue){ due->key, row.notice == REPORT_NOTHING && !(row.recipient.notify & ENVELOPE_NOTIFY_NEVER) &&
		                                      report_is_due(&m.envelope, ENVELOPE_NOTIFY_DELAY, REPORT_DELAYED) };
	return true;
}

/* What more is queued for a destination than it takes is parked, and has no time of its own: each of these gets "not yet" once it is old, so
 * that its sender hears of it, and gets it back when its lifetime is over. */
static void look_at_parked(struct queue *q)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	int64_t patience = q->config.delay_notice_s > 0 && q->config.delay_notice_s < q->config.lifetime_s ? q->config.delay_notice_s : q->config.lifetime_s;
	struct late_due *due;
	struct late_message m;
	struct late_row row;
	size_t n = 0;

	if (q->config.holds_elsewhere || late_list_parked_long(q->late, clock_wall_s() - patience, OVERDUE_MAX, &a, &due, &n) != ERR_OK)
		return;
	for (size_t i = 0; i < n; i++) {
		if (late_find(q->late, &due[i].key, &a, &row) != ERR_OK || late_message_find(q->late, due[i].key.log_id, due[i].key.seq, &a, &m) != ERR_OK)
			continue;
		struct sync_result later = { .outcome = DELIVERY_DEFERRED, .status = row.status, .reason = row.reason, .host = row.host };
		if (row.reason.n == 0) {
			later.status = STR("4.4.1");
			later.reason = str_of(text_get(LANG_EN, TEXT_REASON_CROWD));
		}
		queue_give_up(q, &row, &m.envelope, &later);
	}
}

void times_tick(struct queue *q)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct late_overdue passed[OVERDUE_MAX];
	struct late_due *due;
	size_t n, n_passed = 0;

	parcels_expire(q->parcels);
	look_at_parked(q);
	if (late_list_overdue(q->late, clock_wall_s(), OVERDUE_MAX, &a, &due, &n) != ERR_OK)
		return;
	for (size_t i = 0; i < n; i++)
		n_passed += overdue(q, &due[i], &passed[n_passed]);
	if (n_passed > 0)
		(void)!late_pass_deadline(q->late, passed, n_passed);  /* logged; the next look finds them again */
}
