/* What may not leave before, and not be delivered after: times.c, with a net that does what it is told. */
#include "queue/sending_test.h"

static int64_t wished_s;   /* from now */

static void not_before(struct envelope *e) { e->wishes.release = clock_wall_s() + wished_s; }
static void slowed(struct envelope *e) { e->slowed_until = clock_wall_s() + wished_s; }

/* FUTURERELEASE: nobody gets it before, not even after a kill or a retry by command; of slowed mail only recipients elsewhere wait. */
TEST(nothing_leaves_before_its_time)
{
	static const struct { void (*dress)(struct envelope *e); size_t here; } cases[] = { { not_before, 0 }, { slowed, 1 } };

	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		const struct queue_command retry = { .kind = QUEUE_RETRY, .recipient = -1 };
		const uint64_t to[] = { WORLD_AT(0), 1 };
		struct world *w = begin();
		struct queue_answer answer;

		wished_s = 3600;
		w->dress = c->dress;
		world_add(w, 1, to, 2, 100);
		WORLD_UNTIL(w, w->answered == 1);
		world_kill(w);  /* perhaps before it is a row */
		world_open(w);
		WORLD_UNTIL(w, late(w).waiting == 2 - c->here && backlog(w) == 0);
		EXPECT_INT(w->cells[0].n_kept, c->here);
		EXPECT_OK(world_command(w, &retry, &a, &answer));
		w->clock_ms += 20000;
		world_rounds(w, 50);
		EXPECT(w->net.sends == 0 && w->cells[0].n_kept == c->here);
		clock_wall_offset(wished_s + 1);
		WORLD_UNTIL(w, w->net.got[1][0] == 1 && w->cells[0].n_kept == 1 && late(w).waiting == 0);
		clock_wall_offset(0);
		world_free(w);
	}
}

/* Written by a clock that was a week ahead: how long a sender was slowed is ours to set right, what date he chose is not. */
TEST(slowed_by_a_clock_ahead_it_leaves_in_time)
{
	static const struct { void (*dress)(struct envelope *e); bool leaves; } cases[] = { { slowed, true }, { not_before, false } };

	EACH(cases, c) {
		const uint64_t to[] = { WORLD_AT(0) };
		struct world *w = begin();

		wished_s = 3600;
		w->dress = c->dress;
		clock_wall_jump(7 * 86400);
		world_add(w, 1, to, 1, 100);
		WORLD_UNTIL(w, late(w).waiting == 1 && backlog(w) == 0);
		clock_wall_jump(0);
		w->clock_ms += 2000;
		world_rounds(w, 20);
		EXPECT(late(w).next_due > clock_wall_s() + 3500);
		clock_wall_offset(3610);
		w->clock_ms += 61000;
		if (c->leaves)
			WORLD_UNTIL(w, w->net.got[1][0] == 1 && late(w).waiting == 0);
		world_rounds(w, 20);
		EXPECT_INT(w->net.got[1][0], c->leaves);
		clock_wall_offset(0);
		world_free(w);
	}
}

TEST(released_by_name_it_leaves_at_once)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct queue_command c = { .kind = QUEUE_RELEASE, .recipient = -1 };
	const uint64_t to[] = { WORLD_AT(0), 1 };
	struct world *w = begin();
	struct queue_answer answer;

	wished_s = 3600;
	w->dress = not_before;
	world_add(w, 1, to, 2, 100);
	WORLD_UNTIL(w, late(w).waiting == 2);
	EXPECT_OK(world_command(w, &c, &a, &answer));   /* of all: what was held */
	EXPECT_INT(answer.changed, 0);
	c.kind = QUEUE_LIST;
	EXPECT_OK(world_command(w, &c, &a, &answer));
	EXPECT(answer.n == 1 && answer.messages[0].next_due > clock_wall_s() + 3500);
	EXPECT(str_find(answer.messages[0].reason, STR("wants it to leave on")) > 0);
	c = (struct queue_command){ .kind = QUEUE_RELEASE, .recipient = -1, .name = queue_name(answer.messages[0].id, &a) };
	EXPECT_OK(world_command(w, &c, &a, &answer));
	EXPECT_INT(answer.changed, 2);
	WORLD_UNTIL(w, w->net.got[1][0] == 1 && w->cells[0].n_kept == 1 && late(w).waiting == 0);
	world_free(w);
}

static enum envelope_by by;
static char told[400];

static void not_after(struct envelope *e)
{
	e->is_authenticated = true;
	e->wishes.deliver_by = clock_wall_s() + wished_s;
	e->wishes.by = by;
}

static bool tell(UNUSED void *context, const struct report *r, struct buf *body, enum envelope_body *type, bool *smtputf8)
{
	static const char *const words[REPORT_ACTIONS] = { [REPORT_DELAYED] = "delayed", [REPORT_FAILED] = "failed", [REPORT_EXPIRED] = "expired", [REPORT_RELAYED] = "relayed" };

	snprintf(told, sizeof told, "%s " STR_FMT " " STR_FMT, words[r->recipients[0].action], STR_ARG(r->recipients[0].status),
	         STR_ARG(r->recipients[0].text));
	buf_add_cstr(body, "Subject: 9\r\nFrom: postmaster@example.test\r\n\r\n");
	*type = ENVELOPE_7BIT;
	*smtputf8 = false;
	return true;
}

/* DELIVERBY, RFC 2852: what is tried later, what is parked, what waits for its turn, what is out at that moment. */
TEST(after_the_time_it_comes_back_or_goes_on_with_a_word)
{
	static const struct { enum envelope_by by; enum { TRIED, PARKED, WAITS, IS_OUT } how; const char *told; } cases[] = {
		{ ENVELOPE_BY_RETURN, TRIED,  "failed 5.4.7 Its sender wanted it delivered by" },
		{ ENVELOPE_BY_RETURN, PARKED, "failed 5.4.7 Its sender wanted it delivered by" },
		{ ENVELOPE_BY_RETURN, WAITS,  "failed 5.4.7 Its sender wanted it delivered by" },
		{ ENVELOPE_BY_RETURN, IS_OUT, "failed 5.4.7 Its sender wanted it delivered by" },
		{ ENVELOPE_BY_NOTIFY, TRIED,  "delayed" },
		{ ENVELOPE_BY_NOTIFY, PARKED, "delayed" },
	};

	EACH(cases, c) {
		const uint64_t to[] = { WORLD_AT(0) };
		struct world *w = begin();
		int pair[2];

		*told = '\0';
		w->report = tell;
		world_kill(w);
		world_open(w);
		world_pair(pair);
		queue_keys(w->queue, pair[1]);   /* reports are signed: they stay */
		wished_s = c->how == WAITS ? 5 : 200;
		by = c->by;
		w->dress = not_after;
		w->net.defers = w->net.is_held = c->how == TRIED || c->how == IS_OUT;
		w->net.is_held = c->how == IS_OUT;
		if (c->how == PARKED)
			EXPECT_OK(parcels_pause(w->queue->parcels, STR("d0.example"), true));
		if (c->how == WAITS)
			world_stop_net(w);
		world_add(w, 1, to, 1, 100);
		WORLD_UNTIL(w, w->answered == 1);
		if (c->how != WAITS) {
			w->clock_ms += c->how == PARKED ? 11000 : 0;
			WORLD_UNTIL(w, c->how == IS_OUT ? w->net.sends == 1 : late(w).waiting == 1);
		}
		w->clock_ms += 2000;
		world_rounds(w, 20);
		EXPECT_STR(str_of(told), "");
		clock_wall_offset(210);
		w->hurry_ms = 50;
		if (c->how == IS_OUT)
			world_start_net(w);   /* it is lost, and waits again */
		WORLD_UNTIL(w, str_starts(str_of(told), str_of(c->told)));
		EXPECT_INT(w->net.got[1][0], 0);
		if (c->by == ENVELOPE_BY_NOTIFY) {
			*told = '\0';
			w->net.defers = false;
			EXPECT_OK(parcels_pause(w->queue->parcels, STR("d0.example"), false));
			clock_wall_offset(900);
			WORLD_UNTIL(w, w->net.got[1][0] == 1);
			WORLD_UNTIL(w, str_starts(str_of(told), STR("relayed")));   /* the server there does not watch the time */
		}
		clock_wall_offset(0);
		close(pair[0]);
		world_free(w);
	}
}

static void hears_of_delays(struct envelope *e)
{
	e->is_authenticated = true;
	for (size_t i = 0; i < e->n; i++)
		e->recipients[i].notify = ENVELOPE_NOTIFY_DELAY | ENVELOPE_NOTIFY_FAILURE;
}

/* A destination that takes nothing, with more mail than is kept in memory for it: all of it comes back after the lifetime, and its senders hear
 * of the delay before. */
TEST(what_is_parked_grows_old_like_everything_else)
{
	enum { MESSAGES = 16, EACH_TO = SEND_RECIPIENTS_MAX };
	struct world *w = begin();
	uint64_t to[EACH_TO];
	int pair[2];

	*told = '\0';
	w->report = tell;
	world_kill(w);
	world_open(w);
	queue_configure(w->queue, &(struct queue_config){ .lifetime_s = 5 * 86400, .delay_notice_s = 4 * 3600 });
	world_pair(pair);
	queue_keys(w->queue, pair[1]);   /* reports are signed: they stay */
	w->dress = hears_of_delays;
	w->hurry_ms = 100;
	w->net.is_held = w->net.defers = true;
	for (size_t i = 0; i < EACH_TO; i++)
		to[i] = WORLD_AT(0);
	for (uint32_t i = 0; i < MESSAGES; i++)
		world_add(w, i, to, EACH_TO, 100);
	WORLD_UNTIL(w, w->answered == MESSAGES && w->net.sends > 0);
	w->clock_ms += 11000;
	WORLD_UNTIL(w, turns_at(w, "d0.example").has_parked && late(w).waiting == MESSAGES * EACH_TO);
	clock_wall_offset(4 * 3600 + 60);
	WORLD_UNTIL(w, str_starts(str_of(told), STR("delayed 4.4.1 More mail waits to go there")));
	*told = '\0';
	clock_wall_offset(5 * 86400 + 60);
	w->net.is_unreachable = true;
	world_start_net(w);
	WORLD_UNTIL(w, str_starts(str_of(told), STR("expired")) && late(w).waiting <= 2 * MESSAGES);   /* what is left are reports */
	clock_wall_offset(0);
	close(pair[0]);
	world_free(w);
}

/* The queue is open before control has said anything. */
TEST(nothing_is_too_old_before_it_is_known_how_old_it_may_be)
{
	const uint64_t to[] = { 1 };
	struct world *w = world_new(4, 1 << 20);

	w->wakes = false;
	world_add(w, 1, to, 1, 100);
	WORLD_UNTIL(w, w->answered == 1);
	world_kill(w);
	w->knows_no_lifetime = true;
	world_open(w);
	clock_wall_offset(6 * 86400);
	w->hurry_ms = 500;
	WORLD_UNTIL(w, late(w).waiting + late(w).held == 1 && backlog(w) == 0);
	EXPECT_INT(late(w).held, 0);
	queue_configure(w->queue, &(struct queue_config){ .lifetime_s = 5 * 86400 });
	clock_wall_offset(6 * 86400 + 20);
	WORLD_UNTIL(w, late(w).held == 1);   /* its sender cannot be told */
	clock_wall_offset(0);
	world_free(w);
}
