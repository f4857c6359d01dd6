/* Mail for other servers, with a net that does what it is told. Random lives and kills: random_test.c. */
#include "db/db.h"
#include "queue/sending_test.h"

TEST(a_message_leaves_once_for_each_destination)
{
	struct world *w = begin();
	const uint64_t to[] = { WORLD_AT(0), 1, WORLD_AT(1), WORLD_AT(0) };

	world_add(w, 3, to, 4, 100);
	WORLD_UNTIL(w, w->net.sends == 2 && open_connections(w) == 0 && w->cells[0].n_kept == 1 && backlog(w) == 0);
	EXPECT(w->net.got[3][0] == 1 && w->net.got[3][2] == 1 && w->net.got[3][3] == 1 && w->net.got[3][1] == 0);
	world_stop(w);
	world_close_cells(w);
	world_open(w);
	world_rounds(w, 20);
	EXPECT_INT(w->net.sends, 2);
	world_free(w);
}

TEST(messages_of_all_sizes_leave)
{
	static const size_t sizes[] = { 20, 58000, 61000, (1 << 20) - 100, (1 << 20) + 1, 3 << 20 };
	struct world *w = world_new(4, 8 << 20);
	const uint64_t to[] = { WORLD_AT(0) };

	world_start_net(w);
	for (uint32_t i = 0; i < COUNT_OF(sizes); i++)
		world_add(w, i, to, 1, sizes[i]);
	WORLD_UNTIL(w, got_in_all(w, COUNT_OF(sizes)) == COUNT_OF(sizes) && backlog(w) == 0);
	world_free(w);
}

TEST(after_a_kill_nothing_that_was_written_down_leaves_again)
{
	struct world *w = begin();
	const uint64_t to[] = { WORLD_AT(0), WORLD_AT(1) };

	for (uint32_t i = 0; i < 50; i++)
		world_add(w, i, to, 2, 500);
	WORLD_UNTIL(w, w->net.sends == 100 && open_connections(w) == 0);
	world_kill(w);
	world_open(w);
	world_rounds(w, 50);
	EXPECT_INT(w->net.sends, 100);
	world_free(w);
}

/* Killed while 10 messages are at net, accepted there, and not answered: those go again, no others. */
TEST(a_kill_repeats_one_message_a_connection)
{
	struct world *w = begin();
	const uint64_t to[] = { WORLD_AT(0), WORLD_AT(1) };

	w->net.is_held = true;
	for (uint32_t i = 0; i < 50; i++)
		world_add(w, i, to, 2, 500);
	WORLD_UNTIL(w, w->answered == 50 && w->net.sends == 2 * TURNS_WINDOW_START);
	world_kill(w);
	world_open(w);
	WORLD_UNTIL(w, w->net.sends == 100 + 2 * TURNS_WINDOW_START && backlog(w) == 0);
	EXPECT_INT(got_in_all(w, 50), 100 + 2 * TURNS_WINDOW_START);
	world_free(w);
}

/* A server that has the whole message is waited for, longer than for our own cells, and what it says is written down. */
TEST(a_stop_waits_for_the_last_word_of_a_server)
{
	struct world *w = begin();
	const uint64_t to[] = { WORLD_AT(0) };

	w->net.is_held = true;
	world_add(w, 0, to, 1, 500);
	WORLD_UNTIL(w, w->answered == 1 && w->net.sends == 1);
	queue_stop(w->queue);
	WORLD_UNTIL(w, w->net.is_told_of_end);
	w->clock_ms += 14000;
	world_rounds(w, 20);
	EXPECT(!queue_is_stopped(w->queue));
	net_answer_held(&w->net);
	WORLD_UNTIL(w, queue_is_stopped(w->queue));
	EXPECT_INT(open_connections(w), 0);
	world_stop(w);
	world_open(w);
	world_rounds(w, 50);
	EXPECT_INT(w->net.sends, 1);
	world_free(w);
}

/* What has not left is given back: nothing is waited for, no try is counted, and it leaves after the start. */
TEST(what_a_stop_gives_back_leaves_after_the_start)
{
	struct world *w = begin();
	const uint64_t to[] = { WORLD_AT(0), WORLD_AT(1) };

	w->net.is_held = w->net.gives_back = true;
	for (uint32_t i = 0; i < 20; i++)
		world_add(w, i, to, 2, 500);
	WORLD_UNTIL(w, w->answered == 20 && w->net.sends == 2 * TURNS_WINDOW_START);
	world_stop(w);
	w->net.gives_back = false;
	world_open(w);
	EXPECT_INT(late(w).waiting + late(w).held, 0);
	WORLD_UNTIL(w, got_in_all(w, 20) == 40);
	world_free(w);
}

TEST(what_is_deferred_is_tried_again_in_five_minutes)
{
	struct world *w = begin();
	const uint64_t to[] = { WORLD_AT(0) };

	w->net.defers = true;
	world_add(w, 1, to, 1, 100);
	WORLD_UNTIL(w, late(w).waiting == 1);
	EXPECT(late(w).next_due > clock_wall_s() + 290 && late(w).next_due <= clock_wall_s() + 300);
	w->net.defers = false;
	world_kill(w);
	world_open(w);
	world_rounds(w, 5);
	EXPECT_INT(w->net.sends, 1);
	clock_wall_offset(301);
	WORLD_UNTIL(w, late(w).waiting == 0);
	EXPECT_INT(w->net.got[1][0], 1);
	clock_wall_offset(0);
	world_free(w);
}

/* Its row is finished even when the queue dies between the record and the change of the row. */
TEST(a_row_that_was_sent_to_is_finished_by_the_replay)
{
	struct world *w = begin();
	const uint64_t to[] = { WORLD_AT(0) };

	w->net.defers = true;
	world_add(w, 1, to, 1, 100);
	WORLD_UNTIL(w, late(w).waiting == 1);
	world_kill(w);
	w->sync_every_ms = 60000;
	world_open(w);
	w->net.defers = false;
	clock_wall_offset(301);
	WORLD_UNTIL(w, w->net.sends == 2 && open_connections(w) == 0);
	w->sync_every_ms = 20;
	world_kill(w);  /* sync's next round would be in a minute */
	world_open(w);
	WORLD_UNTIL(w, late(w).waiting == 0);
	world_rounds(w, 20);
	EXPECT_INT(w->net.sends, 2);
	clock_wall_offset(0);
	world_free(w);
}

TEST(a_slow_server_holds_up_neither_the_log_nor_others)
{
	struct world *w = begin();
	const uint64_t slow[] = { WORLD_AT(0) }, quick[] = { WORLD_AT(1) };

	w->net.is_held = true;
	world_add(w, 1, slow, 1, 100);
	WORLD_UNTIL(w, w->net.sends == 1);
	w->net.is_held = false;
	world_add(w, 2, quick, 1, 100);
	WORLD_UNTIL(w, w->net.got[2][0] == 1);
	w->clock_ms += 11000;
	WORLD_UNTIL(w, late(w).waiting == 1 && backlog(w) == 0);
	world_rounds(w, 20);
	EXPECT_INT(w->net.sends, 2);  /* the row is not sent while it is out */
	struct fake_connection *c = &w->net.open[0];
	struct send_result done = { .outcome = DELIVERY_DONE, .status = STR("2.0.0"), .text = STR("250 ok") };
	CLEANUP(buf_free) struct buf b = BUF(1000);
	send_answer_encode(&(struct send_answer){ SEND_GOOD, 1, &done, 0, NULL }, &b);
	channel_reply(w->net.ch, c->call, ERR_OK, buf_str(&b), NULL, 0);
	WORLD_UNTIL(w, late(w).waiting == 0 && open_connections(w) == 0);
	EXPECT_INT(w->net.got[1][0], 1);
	world_free(w);
}

TEST(a_destination_that_is_full_gets_the_rest_from_queue_db)
{
	enum { MESSAGES = 300 };
	struct world *w = begin();
	const uint64_t to[] = { WORLD_AT(0) };

	w->net.is_held = true;
	for (uint32_t i = 0; i < MESSAGES; i++)
		world_add(w, i, to, 1, 100);
	WORLD_UNTIL(w, w->answered == MESSAGES);
	EXPECT_INT(w->net.most, TURNS_WINDOW_START);
	w->clock_ms += 11000;
	WORLD_UNTIL(w, backlog(w) == 0);
	world_start_net(w);
	WORLD_UNTIL(w, late(w).waiting == 0);
	for (uint32_t i = 0; i < MESSAGES; i++)
		EXPECT(w->net.got[i][0] >= 1 && w->net.got[i][0] <= 1 + w->net.excused[i][0]);
	EXPECT(w->net.most > TURNS_WINDOW_START && w->net.most <= TURNS_WINDOW_MAX);
	world_free(w);
}

TEST(where_nobody_is_reached_one_probe_goes_after_a_pause)
{
	struct world *w = begin();
	const uint64_t to[] = { WORLD_AT(0) };

	w->net.is_unreachable = true;
	for (uint32_t i = 0; i < 40; i++)
		world_add(w, i, to, 1, 100);
	WORLD_UNTIL(w, w->answered == 40 && w->net.sends > 0 && turns_at(w, "d0.example").failures > 0 && open_connections(w) == 0);
	w->clock_ms += 11000;
	WORLD_UNTIL(w, late(w).waiting == 40 && backlog(w) == 0);
	EXPECT(w->net.sends <= TURNS_WINDOW_START);
	size_t before = w->net.sends;
	clock_wall_offset(3600);  /* all of them are due, and the destination's minute is over */
	w->clock_ms += 60000;
	WORLD_UNTIL(w, w->net.sends == before + 1 && late(w).next_due > clock_wall_s());
	w->net.is_unreachable = false;
	clock_wall_offset(8 * 3600);
	w->clock_ms += 2 * 60000;
	WORLD_UNTIL(w, late(w).waiting == 0);
	EXPECT_INT(got_in_all(w, 40), 40);
	clock_wall_offset(0);
	world_free(w);
}

TEST(an_address_without_a_domain_is_refused_at_once)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct world *w = begin();
	struct envelope_recipient r = { .address = STR("postmaster") };
	struct world_add *context = MEM_NEW(struct world_add);
	struct queue_body body = { .bytes = STR("Subject: 1\r\n\r\n") };
	struct envelope e = { .source = ENVELOPE_MX, .body = ENVELOPE_7BIT, .received = clock_wall_s(), .n = 1, .recipients = &r };

	*context = (struct world_add){ w, 1 };
	EXPECT_OK(queue_add_ask(w->mx, &e, &body, world_added, context));
	WORLD_UNTIL(w, w->accepted == 1 && backlog(w) == 0);
	EXPECT_INT(w->net.sends, 0);
	EXPECT_INT(late(w).waiting + late(w).held, 0);
	struct late_message m;
	uint64_t seq = log_last_seq(w->queue->log);
	EXPECT_OK(late_message_find(w->queue->late, log_id(w->queue->log), seq, &a, &m));
	world_stop(w);
	world_open(w);
	EXPECT_ERR(late_message_find(w->queue->late, log_id(w->queue->log), seq, &a, &m), ERR_NOTFOUND);  /* nothing of it is kept */
	world_free(w);
}

static size_t asked_to_sign;
static void on_sign(UNUSED void *context, struct channel *ch, struct message *m)
{
	asked_to_sign++;
	channel_reply(ch, m->call, ERR_NOTFOUND, STR(""), NULL, 0);
}
static const struct channel_handler keys_without_keys[] = { { REQUEST_DKIM_SIGN, on_sign }, { 0 } };

static void submitted(struct envelope *e)
{
	e->source = ENVELOPE_SUBMISSION;
	e->submitter = WORLD_SUBMITTER;
}

static void from_a_program(struct envelope *e)
{
	e->source = ENVELOPE_LOCAL;
	e->submitter = WORLD_SUBMITTER;
}

static void too_late(struct envelope *e)
{
	submitted(e);
	e->wishes = (struct envelope_wishes){ .deliver_by = clock_wall_s() - 5, .by = ENVELOPE_BY_RETURN };
}

TEST(who_submitted_what_is_refused_is_told)
{
	struct world *w = begin();
	const uint64_t to[] = { WORLD_AT(0), WORLD_AT(0), WORLD_AT(1) };
	void (*const dress[])(struct envelope *e) = { submitted, NULL, from_a_program };
	struct channel *keys;
	int pair[2];

	world_pair(pair);
	queue_keys(w->queue, pair[1]);
	keys = channel_new(pair[0], ROLE_KEYS, ROLE_QUEUE, keys_without_keys, w, NULL);
	w->net.refuses = true;
	for (uint32_t i = 0; i < COUNT_OF(dress); i++) {
		w->dress = dress[i];
		world_add(w, i, to, COUNT_OF(to), 100);
	}
	WORLD_UNTIL(w, channel_receive(keys) == ERR_OK && w->net.sends >= 2 * COUNT_OF(dress) && backlog(w) == 0);
	EXPECT_INT(w->refused_elsewhere, COUNT_OF(to));  /* a person's; what a program or a stranger sends is not his */
	world_stop_net(w);
	w->net.is_wanted = false;
	w->dress = too_late;
	world_add(w, COUNT_OF(dress), to, COUNT_OF(to), 100);
	WORLD_UNTIL(w, channel_receive(keys) == ERR_OK && w->answered == COUNT_OF(dress) + 1 && backlog(w) == 0);
	EXPECT_INT(w->refused_elsewhere, COUNT_OF(to));  /* nor what we refuse ourselves */
	world_free(w);
	channel_free(keys);
}

TEST(a_domain_without_a_key_is_asked_for_once)
{
	static const struct { bool news; size_t asked; } steps[] = {
		{ false, 1 },
		{ false, 1 },   /* keys has said that it has none, */
		{ true, 2 },    /* … and that this may have changed */
		{ false, 2 },
	};
	struct world *w = begin();
	const uint64_t to = WORLD_AT(0);
	struct channel *keys;
	int pair[2];

	world_pair(pair);
	queue_keys(w->queue, pair[1]);
	keys = channel_new(pair[0], ROLE_KEYS, ROLE_QUEUE, keys_without_keys, w, NULL);
	w->dress = submitted;
	asked_to_sign = 0;
	for (uint32_t i = 0; i < COUNT_OF(steps); i++) {
		if (steps[i].news)
			channel_notify(keys, NOTICE_DKIM_KEYS, STR(""), NULL, 0);
		world_add(w, i, &to, 1, 100);
		WORLD_UNTIL(w, channel_receive(keys) == ERR_OK && w->net.got[i][0] == 1);
		EXPECT_INT(asked_to_sign, steps[i].asked);
	}
	world_free(w);
	channel_free(keys);
}

/* A message that ends net each time is put off, and the others leave. */
TEST(a_message_that_net_dies_of_does_not_stop_the_others)
{
	struct world *w = begin();
	const uint64_t to[] = { WORLD_AT(0) };

	w->net.poison = 1;
	world_add(w, 1, to, 1, 100);
	WORLD_UNTIL(w, late(w).waiting == 1);
	EXPECT_INT(w->net.sends, PARCELS_LOSSES_MAX);
	world_add(w, 2, to, 1, 100);
	WORLD_UNTIL(w, w->net.got[2][0] == 1);
	EXPECT_INT(w->net.got[1][0], 0);
	world_free(w);
}

static void tries_again_an_hour_later(struct world *w, uint32_t messages)
{
	const uint64_t to[] = { WORLD_AT(0) };

	w->net.defers = true;
	for (uint32_t i = 0; i < messages; i++)
		world_add(w, i, to, 1, 100);
	WORLD_UNTIL(w, late(w).waiting == messages);
	w->net.defers = false;
	clock_wall_offset(3600);
}

/* The administrator looks whether it goes now; it does not, and is tried again when it would have been anyhow. */
TEST(a_retry_by_command_is_no_failed_try)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const struct queue_command c = { .kind = QUEUE_RETRY, .recipient = -1 };
	const uint64_t to[] = { WORLD_AT(0) };
	struct world *w = begin();
	struct queue_answer answer;

	w->net.defers = true;
	world_add(w, 1, to, 1, 100);
	WORLD_UNTIL(w, late(w).waiting == 1);
	struct late_row before = row_of(w, &a), after;
	EXPECT(before.tried > 0 && before.tries == 1);
	clock_wall_offset(20);
	for (size_t i = 2; i < 4; i++) {
		EXPECT_OK(world_command(w, &c, &a, &answer));
		WORLD_UNTIL(w, w->net.sends == i && late(w).next_due > clock_wall_s());
	}
	after = row_of(w, &a);
	EXPECT_INT(after.due, before.due);
	EXPECT_INT(after.tries, 1);
	EXPECT(after.tried >= before.tried + 20);
	clock_wall_offset(0);
	world_free(w);
}

/* Orders that are no wish for a try leave the pause of a destination as it is; a wish ends that of its own one only. */
TEST(only_a_retry_ends_the_pause_of_its_destination)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct queue_command c = { .kind = QUEUE_HOLD, .recipient = -1 };
	const uint64_t one[] = { WORLD_AT(0) }, other[] = { WORLD_AT(1) };
	struct world *w = begin();
	struct queue_answer answer;
	struct turns_state s;

	w->net.is_unreachable = true;
	world_add(w, 1, one, 1, 100);
	world_add(w, 2, other, 1, 100);
	WORLD_UNTIL(w, late(w).waiting == 2);
	EXPECT_OK(world_command(w, &c, &a, &answer));
	turns_state(parcels_turns(w->queue->parcels), STR("d0.example"), &s);
	EXPECT(s.failures == 1 && s.again_ms > 0);
	c = (struct queue_command){ .kind = QUEUE_LIST };
	EXPECT_OK(world_command(w, &c, &a, &answer));
	EXPECT_INT(answer.n, 2);
	c = (struct queue_command){ .kind = QUEUE_RELEASE, .recipient = -1, .name = queue_name(answer.messages[0].id, &a) };
	w->net.is_unreachable = false;
	EXPECT_OK(world_command(w, &c, &a, &answer));
	turns_state(parcels_turns(w->queue->parcels), STR("d1.example"), &s);
	EXPECT(s.failures == 1 && s.again_ms > 0);
	WORLD_UNTIL(w, w->net.got[1][0] == 1 && late(w).waiting == 0);
	EXPECT_INT(w->net.got[2][0], 0);
	world_free(w);
}

/* Its row is held, and what comes of the try that was under way does not change that. */
TEST(what_is_held_while_it_is_out_stays_held)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct world *w = begin();
	struct queue_command c = { .kind = QUEUE_HOLD, .recipient = -1 };
	struct queue_answer answer;

	tries_again_an_hour_later(w, 1);
	w->net.is_held = true;
	WORLD_UNTIL(w, w->net.sends == 2);
	EXPECT_OK(world_command(w, &c, &a, &answer));
	EXPECT_INT(late(w).held, 1);
	w->net.defers = true;
	struct send_result later = { .outcome = DELIVERY_DEFERRED, .status = STR("4.0.0"), .text = STR("450 later") };
	CLEANUP(buf_free) struct buf b = BUF(1000);
	send_answer_encode(&(struct send_answer){ SEND_GOOD, 1, &later, 0, NULL }, &b);
	channel_reply(w->net.ch, w->net.open[0].call, ERR_OK, buf_str(&b), NULL, 0);
	WORLD_UNTIL(w, open_connections(w) == 0);
	w->clock_ms += 3000;
	world_rounds(w, 50);
	EXPECT_INT(late(w).held, 1);
	clock_wall_offset(0);
	world_free(w);
}

TEST(rows_that_wait_for_a_paused_destination_leave_memory)
{
	struct world *w = begin();
	struct turns_state s;

	tries_again_an_hour_later(w, 40);
	w->net.is_held = true;
	WORLD_UNTIL(w, w->net.sends == 40 + TURNS_WINDOW_START || w->net.sends >= 40 + TURNS_WINDOW_MAX);
	EXPECT_OK(parcels_pause(w->queue->parcels, STR("d0.example"), true));
	turns_state(parcels_turns(w->queue->parcels), STR("d0.example"), &s);
	EXPECT(s.waiting == 0 && s.out > 0 && s.has_parked);
	w->clock_ms += 3000;
	world_rounds(w, 50);
	EXPECT_OK(parcels_pause(w->queue->parcels, STR("d0.example"), false));
	world_start_net(w);
	WORLD_UNTIL(w, late(w).waiting == 0);
	for (uint32_t i = 0; i < 40; i++)
		EXPECT(w->net.got[i][0] >= 1 && w->net.got[i][0] <= 1 + w->net.excused[i][0]);
	clock_wall_offset(0);
	world_free(w);
}

static void of_our_user(struct envelope *e)
{
	e->source = ENVELOPE_SUBMISSION;
	e->submitter = 1;
}

/* A tarpit with many recipients does not fill the memory of all others. */
TEST(no_destination_takes_the_room_of_all_others)
{
	enum { MESSAGES = 24, RECIPIENTS = SEND_RECIPIENTS_MAX };
	struct world *w = begin();
	uint64_t tarpit[RECIPIENTS];
	const uint64_t other[] = { WORLD_AT(1) };
	struct turns_state s;

	w->net.defers = true;
	for (size_t i = 0; i < RECIPIENTS; i++)
		tarpit[i] = WORLD_AT(0);
	for (uint32_t i = 0; i < MESSAGES; i++)
		world_add(w, i, tarpit, RECIPIENTS, 100);
	world_add(w, MESSAGES, other, 1, 100);
	WORLD_UNTIL(w, late(w).waiting == MESSAGES * RECIPIENTS + 1);
	w->net.is_held = true;  /* it answers nothing any more */
	clock_wall_offset(3600);
	w->clock_ms += 1000;
	WORLD_UNTIL(w, net_open_to(&w->net, "d1.example") == 1);
	w->clock_ms += 3000;
	world_rounds(w, 50);
	turns_state(parcels_turns(w->queue->parcels), STR("d0.example"), &s);
	EXPECT(s.waiting <= PARCELS_PARK_ABOVE && s.has_parked);
	EXPECT_INT(s.here, s.waiting + s.out * RECIPIENTS);
	world_start_net(w);  /* all of it has its turn once somebody answers */
	WORLD_UNTIL(w, late(w).next_due > clock_wall_s() && turns_at(w, "d0.example").here == 0 && !turns_at(w, "d0.example").has_parked);
	clock_wall_offset(0);
	world_free(w);
}

/* Keys is away, or does not answer: what needs no signature goes, also to the same destination. */
TEST(what_waits_for_its_signature_is_in_nobodys_way)
{
	static const bool is_there[] = { false, true };

	EACH(is_there, there) {
		struct world *w = begin();
		const uint64_t to[] = { WORLD_AT(0) };
		struct turns_state s;
		int pair[2];

		world_pair(pair);
		queue_keys(w->queue, pair[1]);
		if (!*there)
			close(pair[0]);
		w->dress = of_our_user;
		for (uint32_t i = 0; i < 40; i++)
			world_add(w, i, to, 1, 100);
		WORLD_UNTIL(w, w->answered == 40);
		world_rounds(w, 5);
		w->dress = NULL;
		world_add(w, 40, to, 1, 100);
		w->clock_ms += 11000;  /* a question to keys is over */
		WORLD_UNTIL(w, w->net.got[40][0] == 1);
		EXPECT_INT(w->net.sends, 1);
		turns_state(parcels_turns(w->queue->parcels), STR("d0.example"), &s);
		EXPECT(s.out <= TURNS_WINDOW_START);
		if (*there)
			close(pair[0]);
		world_free(w);
	}
}

/* It cannot be sent, and is not given up silently either. */
TEST(a_row_whose_envelope_is_damaged_is_held)
{
	const struct db_options options = { .durability = DB_FULL };
	struct world *w = begin();
	struct db *db;

	tries_again_an_hour_later(w, 2);
	world_kill(w);
	EXPECT_OK(db_open(w->dir, "queue.db", &options, &db));
	struct stmt *q = db_query(db, "UPDATE message SET envelope = x'00' WHERE seq = (SELECT min(seq) FROM message)");
	EXPECT_OK(stmt_done(q));
	stmt_release(&q);
	db_close(&db);
	world_open(w);
	w->clock_ms += 3000;
	WORLD_UNTIL(w, late(w).held == 1 && late(w).waiting == 0);
	EXPECT_INT(got_in_all(w, 2), 1);
	clock_wall_offset(0);
	world_free(w);
}
