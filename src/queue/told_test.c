/* What senders and administrators hear of mail that could not leave at once, or left in the moment of a kill. */
#include "queue/fate.h"
#include "queue/sending_test.h"

static unsigned reports;
static char told[1000], words[1000];

static bool tell(UNUSED void *context, const struct report *r, struct buf *body, enum envelope_body *type, bool *smtputf8)
{
	reports++;
	snprintf(told, sizeof told, "%d " STR_FMT, (int)r->recipients[0].action, STR_ARG(r->recipients[0].status));
	snprintf(words, sizeof words, STR_FMT, STR_ARG(r->recipients[0].text));
	buf_add_cstr(body, "Subject: 9\r\nFrom: postmaster@example.test\r\n\r\n");
	*type = ENVELOPE_7BIT;
	*smtputf8 = false;
	return true;
}

static void asks_for_success(struct envelope *e)
{
	e->is_authenticated = true;
	for (size_t i = 0; i < e->n; i++)
		e->recipients[i].notify = ENVELOPE_NOTIFY_SUCCESS;
}

/* Killed between the record that says "sent" and the row that says "tell": of a message of the log, and of a row. */
TEST(success_is_told_once_whatever_is_killed)
{
	static const bool cases[] = { false, true };

	EACH(cases, is_row) {
		struct world *w = begin();
		const uint64_t to[] = { WORLD_AT(0) };
		int pair[2];

		reports = 0;
		w->report = tell;
		w->dress = asks_for_success;
		world_kill(w);
		w->sync_every_ms = *is_row ? 20 : 60000;
		world_open(w);
		w->net.defers = *is_row;
		world_add(w, 1, to, 1, 100);
		if (*is_row) {
			WORLD_UNTIL(w, late(w).waiting == 1);
			world_kill(w);
			w->sync_every_ms = 60000;
			world_open(w);
			w->net.defers = false;
			clock_wall_offset(301);
		}
		WORLD_UNTIL(w, w->net.got[1][0] == 1 && open_connections(w) == 0);
		EXPECT_INT(reports, 0);
		w->sync_every_ms = 20;
		for (unsigned kills = 0; kills < 3; kills++) {
			world_kill(w);
			world_open(w);
			world_pair(pair);
			queue_keys(w->queue, pair[1]);  /* the report is to be signed: it stays */
			clock_wall_offset(310 + 10 * kills);
			WORLD_UNTIL(w, reports == 1);
			w->clock_ms += 3000;
			world_rounds(w, 50);
			close(pair[0]);
		}
		EXPECT_INT(reports, 1);
		EXPECT_INT(w->net.got[1][0], 1);
		EXPECT(str_starts(str_of(told), STR("5 2.0.0")));
		clock_wall_offset(0);
		world_free(w);
	}
}

/* Into which mailbox it went is nothing to its sender. */
TEST(success_does_not_tell_where_it_lies)
{
	struct world *w = begin();
	const uint64_t to[] = { 1 };

	reports = 0;
	w->report = tell;
	w->dress = asks_for_success;
	world_kill(w);
	world_open(w);
	world_add(w, 1, to, 1, 100);
	WORLD_UNTIL(w, w->cells[0].n_kept == 1);
	clock_wall_offset(310);
	WORLD_UNTIL(w, reports == 1);
	EXPECT(str_starts(str_of(told), STR("4 2.0.0")));
	EXPECT_STR(str_of(words), "");
	clock_wall_offset(0);
	world_free(w);
}

/* Where nobody was reached a moment ago, or the administrator has stopped it, mail waits: at once, with a reason to be seen. */
TEST(mail_to_a_destination_that_rests_is_seen_at_once)
{
	static const bool cases[] = { false, true };

	EACH(cases, is_paused) {
		CLEANUP(arena_free) struct arena a = { 0 };
		const struct queue_command list = { .kind = QUEUE_LIST };
		const uint64_t to[] = { WORLD_AT(0) };
		struct world *w = begin();
		struct queue_answer answer;

		w->net.is_unreachable = true;
		if (*is_paused) {
			EXPECT_OK(parcels_pause(w->queue->parcels, STR("d0.example"), true));
		} else {
			world_add(w, 1, to, 1, 100);
			WORLD_UNTIL(w, late(w).waiting == 1);
		}
		int64_t since = w->clock_ms;
		world_add(w, 2, to, 1, 100);
		WORLD_UNTIL(w, late(w).waiting == (*is_paused ? 1 : 2) && backlog(w) == 0);
		EXPECT(w->clock_ms - since < 5000);
		EXPECT_OK(world_command(w, &list, &a, &answer));
		const struct queue_listed *last = &answer.messages[answer.n - 1];
		EXPECT(str_find(last->reason, *is_paused ? STR("The administrator has stopped mail to d0.example") : STR("Nobody could be reached for d0.example")) >= 0);
		EXPECT(*is_paused || str_find(last->reason, STR("250 taken")) >= 0);  /* the words of the try before */
		EXPECT_INT(last->next_due == LATE_NEVER, *is_paused);
		w->net.is_unreachable = false;
		EXPECT_OK(parcels_pause(w->queue->parcels, STR("d0.example"), false));
		w->clock_ms += 61000;
		clock_wall_offset(601);
		WORLD_UNTIL(w, w->net.got[2][0] == 1);
		clock_wall_offset(0);
		world_free(w);
	}
}

static void asks_for_delays(struct envelope *e)
{
	e->is_authenticated = true;
	for (size_t i = 0; i < e->n; i++)
		e->recipients[i].notify = ENVELOPE_NOTIFY_DELAY | ENVELOPE_NOTIFY_FAILURE;
}

/* With reports that stay, since nobody signs them, and delays that are told. */
static struct world *begin_telling(void)
{
	struct world *w = begin();

	reports = 0;
	*told = '\0';
	w->report = tell;
	w->dress = asks_for_delays;
	world_kill(w);
	return w;
}

static void open_telling(struct world *w, int keys[2])
{
	world_open(w);
	queue_configure(w->queue, &(struct queue_config){ .lifetime_s = 5 * 86400, .delay_notice_s = 4 * 3600 });
	world_pair(keys);
	queue_keys(w->queue, keys[1]);
}

enum { DAYS = 86400 };

static void try_again(struct world *w)
{
	size_t sends = w->net.sends;

	w->clock_ms += 61000;
	WORLD_UNTIL(w, w->net.sends > sends && late(w).next_due > clock_wall_s());
	world_rounds(w, 50);
}

/* Mail that waits, elsewhere and here, while the clock is a week ahead for a moment, with or without a restart in between. */
TEST(a_clock_that_is_ahead_for_a_moment_delays_and_ends_nothing)
{
	static const bool cases[] = { false, true };

	EACH(cases, is_restarted) {
		const uint64_t to[] = { WORLD_AT(0), 1 };
		int keys[2];
		struct world *w = begin_telling();

		open_telling(w, keys);
		w->net.defers = w->cells[0].refuses = true;
		world_add(w, 1, to, 2, 100);
		WORLD_UNTIL(w, late(w).waiting == 2);
		clock_wall_jump(7 * DAYS);
		try_again(w);
		EXPECT_INT(reports, 0);
		if (*is_restarted) {
			world_kill(w);
			close(keys[0]);
		}
		clock_wall_jump(0);
		if (*is_restarted)
			open_telling(w, keys);
		w->clock_ms += 1000;
		world_rounds(w, 20);
		WORLD_UNTIL(w, late(w).next_due <= clock_wall_s() + 60);
		w->net.defers = w->cells[0].refuses = false;
		clock_wall_offset(601);
		w->clock_ms += 61000;
		WORLD_UNTIL(w, w->net.got[1][0] == 1 && w->cells[0].n_kept == 1 && late(w).waiting == 0);
		EXPECT_INT(reports, 0);
		clock_wall_offset(0);
		close(keys[0]);
		world_free(w);
	}
}

/* The clock was in 1970 until somebody had asked the network: what came before that is no older by it, and ends in its time; also if the queue
 * is started again, or that was a week ahead for a moment and is forgotten by then. */
TEST(a_clock_that_is_put_right_makes_no_mail_old)
{
	static const struct { bool is_restarted, was_ahead; } cases[] = { { false, false }, { true, false }, { true, true } };

	EACH(cases, c) {
		const uint64_t to[] = { WORLD_AT(0) };
		int keys[2];
		struct world *w = begin_telling();

		clock_wall_jump(-50 * 365 * DAYS);
		open_telling(w, keys);
		w->net.defers = true;
		world_add(w, 1, to, 1, 100);
		WORLD_UNTIL(w, late(w).waiting == 1);
		clock_wall_jump(0);
		try_again(w);
		for (int days = c->was_ahead ? 7 : 0; c->is_restarted && days >= 0; days -= 7) {
			clock_wall_jump(days * DAYS);
			world_rounds(w, 1);
			world_kill(w);
			close(keys[0]);
			open_telling(w, keys);
		}
		EXPECT_INT(reports, 0);
		clock_wall_offset(4 * 3600 + 60);
		try_again(w);
		WORLD_UNTIL(w, reports == 1);
		EXPECT(str_starts(str_of(told), STR("1 ")));   /* delayed, and noted: what follows is looked at once only */
		WORLD_UNTIL(w, !late_report_is_due(w->queue->late, clock_wall_s() + FATE_GATHER_S) && !reporter_is_busy(w->queue->reporter));
		world_rounds(w, 50);
		clock_wall_offset(5 * DAYS + 60);
		w->clock_ms += 61000;
		WORLD_UNTIL(w, late_report_is_due(w->queue->late, clock_wall_s() + FATE_GATHER_S));
		clock_wall_offset(5 * DAYS + 70);
		WORLD_UNTIL(w, reports == 2);
		EXPECT(str_starts(str_of(told), STR("3 ")));   /* expired */
		clock_wall_offset(0);
		close(keys[0]);
		world_free(w);
	}
}

/* A report that was to be written in a moment, by a clock that was ahead; and mail that came by such a clock, which ends all the same. */
TEST(what_was_written_by_a_clock_ahead_is_told_in_time)
{
	static const bool cases[] = { false, true };

	EACH(cases, expires) {
		const uint64_t to[] = { WORLD_AT(0) };
		int keys[2];
		struct world *w = begin_telling();

		clock_wall_jump(7 * DAYS);
		open_telling(w, keys);
		w->net.refuses = !*expires;
		w->net.defers = *expires;
		world_add(w, 1, to, 1, 100);
		WORLD_UNTIL(w, w->net.sends == 1 && backlog(w) == 0 && late(w).waiting == *expires);
		clock_wall_jump(0);
		w->clock_ms += 2000;
		world_rounds(w, 20);
		if (!*expires)
			clock_wall_offset(10);
		for (int i = 1; *expires && reports == 0 && i < 60; i++) {
			clock_wall_offset(i * (4 * 3600 + 60));
			try_again(w);
		}
		WORLD_UNTIL(w, reports == 1);
		EXPECT(str_starts(str_of(told), *expires ? STR("1 ") : STR("2 ")));
		clock_wall_offset(0);
		close(keys[0]);
		world_free(w);
	}
}
