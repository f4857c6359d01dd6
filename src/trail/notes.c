/* The noting side. Notes lie in one buffer until it is half a message or a second old; then they go to control, cut at the ends of
 * events. While control is away they wait; what does not fit any more is counted, and the count is noted when control is back. */
#include "base/clock.h"
#include "base/mem.h"
#include "trail/trail.h"

enum { SEND_AT = MESSAGE_BODY_MAX / 2, SEND_AFTER_MS = 1000, WAITING_MAX = 1 << 20 };

struct trail_notes {
	struct channel *control;
	struct buf      waiting;
	int64_t         since_ms;   /* 0: as of the next trail_notes_run() */
	uint32_t        lost;
};

struct trail_notes *trail_notes_new(struct channel *control)
{
	struct trail_notes *t = MEM_NEW(struct trail_notes);

	t->control = control;
	t->waiting = BUF(WAITING_MAX + TRAIL_EVENT_MAX);
	return t;
}

/* Bytes of whole events that fit one message. */
static size_t piece(struct str waiting)
{
	size_t n = 0;

	while (n < waiting.n) {
		struct scan s = scan_of(str_from(waiting, n));
		get_u8(&s);
		size_t length = 3 + (size_t)get_u16(&s);
		if (n + length > MESSAGE_BODY_MAX)
			break;
		n += length;
	}
	return n;
}

static void add(struct trail_notes *t, const struct trail_event *e)
{
	size_t before = t->waiting.n;

	if (before < WAITING_MAX)
		trail_event_encode(e, &t->waiting);
	if (before < WAITING_MAX && !t->waiting.failed)
		return;
	t->waiting.failed = false;
	buf_truncate(&t->waiting, before);
	t->lost++;
}

void trail_notes_send(struct trail_notes *t)
{
	size_t sent = 0;

	while (sent < t->waiting.n && channel_is_open(t->control)) {
		struct str rest = str_from(buf_str(&t->waiting), sent);
		size_t n = piece(rest);
		if (channel_notify(t->control, NOTICE_TRAIL, str_sub(rest, 0, n), NULL, 0) != ERR_OK)
			break;
		sent += n;
	}
	buf_drop_front(&t->waiting, sent);
	if (sent > 0 && t->lost > 0) {
		const struct trail_event lost = { .kind = TRAIL_LOST, .at_ms = clock_wall_ms(), .count = t->lost };
		t->lost = 0;
		add(t, &lost);
	}
	t->since_ms = 0;
}

void trail_notes_free(struct trail_notes *t)
{
	if (t == NULL)
		return;
	trail_notes_send(t);
	buf_free(&t->waiting);
	mem_free(t);
}

void trail_note(struct trail_notes *t, const struct trail_event *e)
{
	struct trail_event dated = *e;

	if (t == NULL)
		return;
	if (dated.at_ms == 0)
		dated.at_ms = clock_wall_ms();
	add(t, &dated);
	if (t->waiting.n >= SEND_AT)
		trail_notes_send(t);
}

bool trail_notes_run(struct trail_notes *t, int64_t now_ms)
{
	if (t == NULL || t->waiting.n == 0)
		return false;
	if (t->since_ms == 0)
		t->since_ms = now_ms;
	if (now_ms - t->since_ms >= SEND_AFTER_MS)
		trail_notes_send(t);
	return t->waiting.n > 0;
}

void trail_tell(struct channel *control, const struct trail_event *e)
{
	CLEANUP(buf_free) struct buf b = BUF(TRAIL_EVENT_MAX);
	struct trail_event dated = *e;

	if (dated.at_ms == 0)
		dated.at_ms = clock_wall_ms();
	trail_event_encode(&dated, &b);
	if (!b.failed)
		channel_notify(control, NOTICE_TRAIL, buf_str(&b), NULL, 0);
}
