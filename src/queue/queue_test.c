#include "directory/directory.h"
#include "queue/command.h"
#include "queue/queue_private.h"
#include "queue/world_test.h"

TEST(a_message_goes_in_and_out)
{
	struct world *w = world_new(4, 1 << 20);
	const uint64_t to[] = { 1, 2 };

	world_add(w, 7, to, 2, 100);
	WORLD_UNTIL(w, w->cells[0].n_kept == 1 && w->cells[1].n_kept == 1);
	EXPECT_INT(w->accepted, 1);
	EXPECT_INT(world_count(w, 1, 7), 1);
	EXPECT_INT(world_count(w, 2, 7), 1);
	world_free(w);
}

TEST(a_clean_restart_replays_nothing)
{
	struct world *w = world_new(4, 1 << 20);
	const uint64_t to[] = { 1, 2, 3 };

	for (uint32_t i = 0; i < 100; i++)
		world_add(w, i, to, 3, 2000);
	WORLD_UNTIL(w, w->answered == 100 && w->cells[2].n_kept == 100);
	world_stop(w);
	world_close_cells(w);
	w->wakes_seen = 0;
	world_open(w);
	world_rounds(w, 20);
	EXPECT_INT(w->wakes_seen, 0);
	world_free(w);
}

TEST(after_a_kill_all_is_sent_again_and_says_so)
{
	struct world *w = world_new(4, 1 << 20);
	const uint64_t to[] = { 1, 2, 3 };

	for (uint32_t i = 0; i < 100; i++)
		world_add(w, i, to, 3, 2000);
	WORLD_UNTIL(w, w->answered == 100 && w->cells[2].n_kept > 0);
	world_kill(w);
	world_open(w);
	WORLD_UNTIL(w, w->cells[0].n_kept == 100 && w->cells[1].n_kept == 100 && w->cells[2].n_kept == 100);
	world_rounds(w, 50);
	EXPECT_INT(w->cells[0].n_kept, 100);
	world_free(w);
}

TEST(messages_of_all_sizes)
{
	struct world *w = world_new(4, 8 << 20);
	const size_t sizes[] = { 20, 58000, 61000, (1 << 20) - 100, (1 << 20) + 1, 3 << 20, 20 << 20 };
	const uint64_t to[] = { 1, 2 };

	for (uint32_t i = 0; i < COUNT_OF(sizes); i++)
		world_add(w, i, to, 2, sizes[i]);
	WORLD_UNTIL(w, w->cells[0].n_kept == COUNT_OF(sizes) && w->cells[1].n_kept == COUNT_OF(sizes));
	EXPECT_INT(world_spool_files(w), 3);
	/* the next record takes W along; then nothing names the files */
	for (uint32_t i = 0; i < 50 && world_spool_files(w) > 0; i++) {
		world_add(w, 50 + i, to, 1, 100);
		world_rounds(w, 100);
	}
	EXPECT_INT(world_spool_files(w), 0);
	world_free(w);
}

struct spooled {
	uint64_t number;
	int      fd;
	enum err result;
};

static void on_spooled(void *context, enum err result, uint64_t spool, int fd)
{
	*(struct spooled *)context = (struct spooled){ spool, fd, result };
}

static void add_spooled(struct world *w, struct channel *from, uint32_t number, const struct spooled *s,
						struct str text, const uint64_t *to)
{
	struct envelope_recipient r[1];
	struct envelope e;
	struct world_add *context = MEM_NEW(struct world_add);
	struct queue_body body = { .spool = s->number, .size = text.n, .crc = crc32c(0, text.p, text.n) };

	*context = (struct world_add){ w, number };
	world_envelope(&e, r, to, 1, NULL);
	EXPECT_OK(queue_add_ask(from, &e, &body, world_added, context));
}

TEST(a_spool_file_belongs_to_who_asked_for_it)
{
	CLEANUP(buf_free) struct buf text = BUF(4 << 20);
	struct world *w = world_new(4, 1 << 20);
	const uint64_t to[] = { 1 };
	struct spooled s = { .fd = -1, .result = ERR_AGAIN };

	world_text(&text, 9, 3 << 20);
	EXPECT_OK(queue_spool_ask(w->mx, on_spooled, &s));
	WORLD_UNTIL(w, s.result == ERR_OK);
	EXPECT_INT(pwrite(s.fd, text.p, text.n, 0), text.n);
	/* a cell that guesses the number gets nothing */
	world_start_cell(w, 2);
	add_spooled(w, w->cells[1].ch, 8, &s, buf_str(&text), to);
	WORLD_UNTIL(w, w->answered == 1);
	EXPECT_INT(w->refused, 1);
	/* nor does its owner, who could still change it */
	add_spooled(w, w->mx, 9, &s, buf_str(&text), to);
	WORLD_UNTIL(w, w->answered == 2);
	EXPECT_INT(w->refused, 2);
	close(s.fd);
	add_spooled(w, w->mx, 9, &s, buf_str(&text), to);
	WORLD_UNTIL(w, w->cells[0].n_kept == 1);
	EXPECT_INT(w->cells[0].kept[0].number, 9);
	/* nor does it work twice */
	add_spooled(w, w->mx, 10, &s, buf_str(&text), to);
	WORLD_UNTIL(w, w->answered == 4);
	EXPECT_INT(w->refused, 3);
	/* one that is not needed goes when its owner says so; one that was taken stays */
	EXPECT_OK(queue_spool_ask(w->mx, on_spooled, &s));
	uint64_t taken = s.number;
	s.result = ERR_AGAIN;
	WORLD_UNTIL(w, s.result == ERR_OK);
	EXPECT_INT(world_spool_files(w), 2);
	queue_spool_drop(w->cells[1].ch, s.number);
	queue_spool_drop(w->mx, taken);
	world_rounds(w, 5);
	EXPECT_INT(world_spool_files(w), 2);
	queue_spool_drop(w->mx, s.number);
	WORLD_UNTIL(w, world_spool_files(w) == 1);
	close(s.fd);
	/* one that was asked for and not used goes with mx */
	EXPECT_OK(queue_spool_ask(w->mx, on_spooled, &s));
	s.result = ERR_AGAIN;
	WORLD_UNTIL(w, s.result == ERR_OK);
	EXPECT_INT(world_spool_files(w), 2);
	close(s.fd);
	shutdown(channel_fd(w->mx), SHUT_RDWR);
	world_rounds(w, 5);
	EXPECT_INT(world_spool_files(w), 1);
	world_free(w);
}

TEST(recipients_elsewhere_are_kept)
{
	struct world *w = world_new(4, 1 << 20);
	const uint64_t to[] = { 0, 1, 0 };

	world_add(w, 1, to, 3, 100);
	WORLD_UNTIL(w, w->accepted == 1);
	w->clock_ms += 11000;  /* nobody sends */
	WORLD_UNTIL(w, world_late(w, true) == 2 && w->cells[0].n_kept == 1);
	world_stop(w);
	world_open(w);
	EXPECT_INT(world_late(w, true), 2);
	EXPECT_INT(w->cells[0].n_kept, 1);
	world_free(w);
}

/* A look-up of a directory that has nobody. */
static struct lookup *lookup_of_nobody(struct world *w, struct buf *bytes)
{
	struct directory *d;
	struct lookup *l;

	EXPECT_OK(directory_open(w->dir, &d));
	EXPECT_OK(lookup_build(d, 1, bytes));
	directory_close(d);
	EXPECT_OK(lookup_read(buf_str(bytes), &l));
	return l;
}

TEST(mail_for_an_account_that_is_gone_is_not_tried_for_days)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf bytes = BUF(1 << 20);
	struct world *w = world_new(4, 1 << 20);
	struct queue_command counters = { .kind = QUEUE_COUNTERS };
	struct queue_answer answer;
	const uint64_t to[] = { 1 };

	w->cells[0].is_held = true;
	world_add(w, 1, to, 1, 100);
	WORLD_UNTIL(w, w->accepted == 1 && w->cells[0].batches == 1);
	struct lookup *l = lookup_of_nobody(w, &bytes);
	queue_use_lookup(w->queue, l);
	w->clock_ms += 60000;  /* no cell answers for it any more */
	WORLD_UNTIL(w, world_late(w, true) == 1);
	EXPECT_OK(world_command(w, &counters, &a, &answer));
	EXPECT_INT(answer.counters.late.held, 1);  /* a stranger's: nobody is told, somebody looks */
	world_free(w);
	lookup_close(l);
}

TEST(a_full_mailbox_is_tried_again)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct world *w = world_new(4, 1 << 20);
	struct queue_command retry = { .kind = QUEUE_RETRY, .recipient = -1 };
	struct queue_answer answer;
	const uint64_t to[] = { 1, 2 };

	w->cells[0].refuses = true;
	for (uint32_t i = 0; i < 10; i++)
		world_add(w, i, to, 2, 100);
	WORLD_UNTIL(w, w->cells[1].n_kept == 10 && world_late(w, true) == 10);
	EXPECT_INT(w->cells[0].n_kept, 0);
	w->cells[0].refuses = false;
	EXPECT_OK(world_command(w, &retry, &a, &answer));
	EXPECT_INT(answer.changed, 10);
	WORLD_UNTIL(w, w->cells[0].n_kept == 10 && world_late(w, true) == 0);
	/* neither the log nor queue.db brings it once more */
	world_kill(w);
	world_open(w);
	world_rounds(w, 100);
	EXPECT_INT(w->cells[0].n_kept, 10);
	EXPECT_INT(world_late(w, true), 0);
	world_free(w);
}

TEST(a_cell_that_hangs_delays_only_itself)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct world *w = world_new(4, 1 << 20);
	struct queue_command retry = { .kind = QUEUE_RETRY, .recipient = -1 };
	struct queue_answer answer;
	const uint64_t to[] = { 1, 2 };

	w->cells[0].is_held = true;
	for (uint32_t i = 0; i < 100; i++)
		world_add(w, i, to, 2, 100);
	WORLD_UNTIL(w, w->cells[1].n_kept == 100);
	EXPECT_INT(w->ends_seen, 0);
	size_t hung = w->cells[0].n_kept;  /* it took them and said nothing */
	EXPECT(hung > 0 && hung <= DELIVERY_BATCH_MAX);
	w->clock_ms = 11000;
	WORLD_UNTIL(w, w->ends_seen == 1 && w->cells[0].n_kept == 100);  /* its next cell gets the rest */
	WORLD_UNTIL(w, world_late(w, true) == hung);
	EXPECT_OK(world_command(w, &retry, &a, &answer));
	WORLD_UNTIL(w, world_late(w, true) == 0);
	EXPECT_INT(w->cells[0].n_kept, 100);
	world_free(w);
}

TEST(a_cell_that_does_not_come_is_given_up_for_now)
{
	struct world *w = world_new(4, 1 << 20);
	const uint64_t to[] = { 1, 2, 3 };

	w->wakes = false;
	world_start_cell(w, 3);
	world_add(w, 1, to, 3, 100);
	WORLD_UNTIL(w, w->cells[2].n_kept == 1 && w->wakes_seen == 2);
	w->clock_ms = 11000;
	WORLD_UNTIL(w, world_late(w, true) == 2);
	world_free(w);
}

TEST(a_message_that_kills_cells_is_found)
{
	struct world *w = world_new(4, 1 << 20);
	const uint64_t to[] = { 1 };
	struct fake_cell *c = &w->cells[0];

	for (uint32_t i = 0; i < 20; i++)
		world_add(w, i, to, 1, 100);
	c->dies_after = 0;
	c->dies_before_answer = true;
	WORLD_UNTIL(w, c->batches == 1);
	for (int i = 0; i < 2; i++) {
		c->dies_after = 0;
		uint64_t before = c->batches;
		WORLD_UNTIL(w, c->batches == before + 1);
	}
	WORLD_UNTIL(w, c->n_kept == 19);
	WORLD_UNTIL(w, world_late(w, true) == 1);
	world_free(w);
}

TEST(a_cell_that_dies_after_the_commit_gets_nothing_twice)
{
	struct world *w = world_new(4, 1 << 20);
	const uint64_t to[] = { 1 };

	w->cells[0].dies_after = 1;
	for (uint32_t i = 0; i < 200; i++)
		world_add(w, i, to, 1, 100);
	WORLD_UNTIL(w, w->cells[0].n_kept == 200);
	world_rounds(w, 50);
	EXPECT_INT(w->cells[0].n_kept, 200);
	world_free(w);
}

TEST(after_an_unclean_stop_a_cell_waits_for_the_replay)
{
	struct world *w = world_new(4, 1 << 20);
	const uint64_t to[] = { 1 };

	for (uint32_t i = 0; i < 150; i++)
		world_add(w, i, to, 1, 100);
	w->cells[0].is_held = true;
	WORLD_UNTIL(w, w->accepted == 150 && w->cells[0].n_kept > 0);
	world_kill(w);
	w->cells[0].asks = true;
	world_open(w);
	world_start_cell(w, 1);
	world_rounds(w, 30);
	EXPECT(!w->cells[0].is_replayed);  /* it hangs at the first batch */
	world_start_cell(w, 1);
	w->cells[0].is_held = false;
	WORLD_UNTIL(w, w->cells[0].is_replayed);
	EXPECT_INT(w->cells[0].n_kept, 150);
	/* nothing outstanding: at once */
	world_start_cell(w, 1);
	WORLD_UNTIL(w, w->cells[0].is_replayed);
	world_free(w);
}

/* Accounts 1 to n, of whose disks the log is silent. */
static struct world *world_of_many(uint64_t to[], uint64_t n)
{
	log_setup("test", LOG_LEVEL_ERROR + 1, false);
	for (uint64_t i = 0; i < n; i++)
		to[i] = i + 1;
	return world_new(4, 1 << 20);
}

/* The same, and rounds begin when a test says so. */
static struct world *world_of_rounds(uint64_t to[], uint64_t n)
{
	struct world *w = world_of_many(to, n);

	w->sync_every_ms = 60000;
	world_kill(w);
	world_open(w);
	return w;
}

static size_t kept_by_all(const struct world *w)
{
	size_t n = 0;

	for (size_t i = 0; i < WORLD_CELLS; i++)
		n += w->cells[i].n_kept;
	return n;
}

/* With so many that are delivered, and answered, after what a queue begins when it is opened; so many accounts that all are synced at once, when syncs_wait ends. */
static void begin_round(struct world *w, size_t delivered)
{
	WORLD_UNTIL(w, kept_by_all(w) == delivered && w->queue->backlog.dues == 0 && !sync_is_running(w->queue->sync));
	w->syncs_wait = true;
	sync_tick(w->queue->sync, world_now(w), true);
	EXPECT(sync_is_running(w->queue->sync));
}

static void end_round(struct world *w)
{
	w->syncs_wait = false;
	WORLD_UNTIL(w, !sync_is_running(w->queue->sync));
}

/* Sessions wait as well for what a round is to prove: if it cannot, it is delivered again, and may be torn until then. */
TEST(a_cell_waits_for_the_round_of_the_one_before_it)
{
	uint64_t to[10];
	struct world *w = world_of_rounds(to, 10);
	struct fake_cell *c = &w->cells[0];

	c->asks = w->fails = true;
	world_add(w, 0, to, 10, 100);
	begin_round(w, 10);
	cell_stop(c);
	world_rounds(w, 3);
	world_start_cell(w, 1);
	world_rounds(w, 30);
	EXPECT(!c->is_replayed);
	end_round(w);
	WORLD_UNTIL(w, c->is_replayed);
	EXPECT_INT(c->batches, 2);
	/* nor longer than that */
	w->fails = false;
	world_add(w, 1, to, 10, 100);
	begin_round(w, 20);
	cell_stop(c);
	world_rounds(w, 3);
	world_start_cell(w, 1);
	world_rounds(w, 30);
	end_round(w);
	WORLD_UNTIL(w, c->is_replayed);
	world_free(w);
}

TEST(a_full_log_says_so_and_recovers)
{
	struct world *w = world_new(4, 1 << 16);
	const uint64_t to[] = { 1 };

	w->wakes = false;
	for (uint32_t i = 0; i < 60; i++)
		world_add(w, i, to, 1, 5000);
	WORLD_UNTIL(w, w->answered == 60);
	EXPECT(w->refused > 10 && w->accepted > 20);
	size_t accepted = w->accepted;
	w->wakes = true;
	WORLD_UNTIL(w, w->cells[0].n_kept == accepted);
	w->answered = w->refused = 0;
	for (uint32_t i = 0; w->refused < 200 && w->answered == w->refused; i++) {
		world_add(w, 100 + i, to, 1, 5000);
		WORLD_UNTIL(w, w->answered == i + 1);
		world_rounds(w, 20);
	}
	EXPECT(w->answered > w->refused);
	world_free(w);
}

TEST(what_cannot_be_delivered_leaves_a_log_that_fills_up)
{
	struct world *w = world_new(8, 1 << 16);
	const uint64_t nobody[] = { 1 }, to[] = { 2 };

	for (uint32_t i = 3; i < 19; i++)  /* sixteen that are being woken, so that account 1 waits for its turn */
		world_add(w, i, (uint64_t[]){ i }, 1, 100);
	w->wakes = false;
	world_start_cell(w, 2);
	world_add(w, 0, nobody, 1, 100);
	WORLD_UNTIL(w, w->answered == 17);
	for (uint32_t i = 0; i < 40; i++) {
		world_add(w, 100 + i, to, 1, 9000);
		world_rounds(w, 3);
	}
	WORLD_UNTIL(w, w->answered == 57);
	w->clock_ms = 11000;
	WORLD_UNTIL(w, world_late(w, true) == 17);
	w->answered = w->accepted = 0;
	for (uint32_t i = 0; w->accepted == 0 && i < 100; i++) {
		world_add(w, 200 + i, to, 1, 9000);
		world_rounds(w, 50);
	}
	EXPECT(w->accepted > 0);
	world_free(w);
}

TEST(a_message_made_by_a_delivery_is_queued_once)
{
	struct world *w = world_new(4, 1 << 20);
	const uint64_t to[] = { 2 };
	struct envelope_recipient r[1];
	struct envelope e;
	struct queue_body body = { .bytes = STR("Subject: 5\r\n\r\n") };

	world_start_cell(w, 1);
	for (int life = 0; life < 2; life++) {
		for (uint32_t i = 0; i < 3; i++) {
			struct world_add *context = MEM_NEW(struct world_add);
			*context = (struct world_add){ w, 5 };
			world_envelope(&e, r, to, 1, NULL);
			e.source = ENVELOPE_DELIVERY;
			e.parent = (struct envelope_parent){ 77, 1, 1, i % 2 };  /* 0, 1, and 0 again */
			EXPECT_OK(queue_add_ask(w->cells[0].ch, &e, &body, world_added, context));
			WORLD_UNTIL(w, w->answered == i + 1);
		}
		EXPECT_INT(w->accepted, 3);
		WORLD_UNTIL(w, w->cells[1].n_kept == 2);
		if (life == 1)
			break;
		world_kill(w);  /* the keys are in the log */
		world_open(w);
		world_start_cell(w, 1);
		w->answered = w->accepted = 0;
	}
	world_rounds(w, 50);
	EXPECT_INT(w->cells[1].n_kept, 2);
	world_free(w);
}

/* W passes all that came before, and the power goes. */
static void cut_when_all_is_let_go(struct world *w)
{
	w->clock_ms += 400000;  /* W is written without company */
	w->hurry_ms = 50;
	WORLD_UNTIL(w, w->queue->w >= w->last_accepted);
	w->hurry_ms = 0;
	EXPECT_INT(w->refused, 0);
	world_cut(w);
	world_open(w);
}

/* Each of these accounts has messages 0 to n - 1 once, on disk. */
static void expect_all_durable(struct world *w, uint64_t accounts, uint32_t n)
{
	cut_when_all_is_let_go(w);
	world_rounds(w, 50);
	for (uint64_t account = 1; account <= accounts; account++)
		for (uint32_t number = 0; number < n; number++)
			EXPECT_INT(world_count(w, account, number), 1);
}

static size_t write_errors(const struct fake_cell *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n_kept; i++)
		n += c->kept[i].is_lost;
	return n;
}

/* One page of one account, when its cell is asked: its messages are delivered again, the others' are not, and mail is taken all the time. */
TEST(a_sync_that_fails_in_one_account_is_its_own_affair)
{
	struct world *w = world_new(4, 1 << 20);
	const uint64_t to[] = { 1, 2 };
	uint64_t account;

	log_setup("test", LOG_LEVEL_ERROR + 1, false);
	w->cells[0].is_bad = true;
	world_add(w, 0, to, 2, 100);
	WORLD_UNTIL(w, write_errors(&w->cells[0]) == 1 && sync_failing(w->queue->sync, &account) == 1);
	EXPECT_INT(account, 1);
	w->cells[0].is_bad = false;
	world_add(w, 1, to, 2, 100);
	WORLD_UNTIL(w, w->cells[0].n_kept == 2 && write_errors(&w->cells[0]) == 0);
	WORLD_UNTIL(w, sync_failing(w->queue->sync, &account) == 0);
	EXPECT_INT(w->cells[1].n_kept, 2);
	expect_all_durable(w, 2, 2);
	world_free(w);
}

TEST(a_deleted_account_is_not_said_to_fail)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf bytes = BUF(1 << 20);
	struct world *w = world_new(4, 1 << 20);
	struct queue_command counters = { .kind = QUEUE_COUNTERS };
	struct queue_answer answer;
	const uint64_t to[] = { 1 };
	uint64_t account;

	log_setup("test", LOG_LEVEL_ERROR + 1, false);
	w->cells[0].is_bad = true;
	world_add(w, 0, to, 1, 100);
	WORLD_UNTIL(w, sync_failing(w->queue->sync, &account) == 1);
	EXPECT_OK(world_command(w, &counters, &a, &answer));
	EXPECT_INT(answer.counters.failing_account, 1);
	struct lookup *l = lookup_of_nobody(w, &bytes);
	queue_use_lookup(w->queue, l);
	EXPECT_OK(world_command(w, &counters, &a, &answer));
	EXPECT_INT(answer.counters.failing, 0);
	EXPECT_INT(answer.counters.failing_account, 0);
	world_free(w);
	lookup_close(l);
}

/* The same where so many are synced at once that nobody says whose page it was: each is asked. */
TEST(a_file_system_that_lost_something_does_not_say_whose)
{
	uint64_t to[10];
	struct world *w = world_of_many(to, 10);

	w->cells[3].is_bad = true;
	world_add(w, 0, to, 10, 100);
	WORLD_UNTIL(w, write_errors(&w->cells[3]) == 1);
	EXPECT(w->syncs > 0);
	w->cells[3].is_bad = false;
	world_add(w, 1, to, 10, 100);
	WORLD_UNTIL(w, w->cells[3].n_kept == 2 && write_errors(&w->cells[3]) == 0);
	expect_all_durable(w, 10, 2);
	world_free(w);
}

/* Delivered after a round began, and lost before its syncfs, which is told: the next one is not. */
TEST(a_failure_that_another_round_was_told_of)
{
	uint64_t to[10];
	struct world *w = world_of_many(to, 10);

	w->syncs_wait = true;
	world_add(w, 0, to + 1, 9, 100);
	WORLD_UNTIL(w, w->cells[9].n_kept == 1 && sync_is_running(w->queue->sync));
	w->cells[0].is_bad = true;
	world_add(w, 1, to, 10, 100);
	WORLD_UNTIL(w, w->cells[0].n_kept == 1 && w->cells[9].n_kept == 2);
	world_rounds(w, 20);
	w->syncs_wait = false;
	WORLD_UNTIL(w, write_errors(&w->cells[0]) == 1);
	w->cells[0].is_bad = false;
	world_add(w, 2, to, 10, 100);
	WORLD_UNTIL(w, w->cells[0].n_kept == 2 && write_errors(&w->cells[0]) == 0);
	cut_when_all_is_let_go(w);
	world_rounds(w, 50);
	for (uint64_t account = 1; account <= 10; account++)
		for (uint32_t number = account == 1; number < 3; number++)
			EXPECT_INT(world_count(w, account, number), 1);
	world_free(w);
}

/* The queue was killed after it had been told, and cells live on. */
TEST(a_failure_that_another_queue_was_told_of)
{
	uint64_t to[10];
	struct world *w = world_of_rounds(to, 10);

	world_add(w, 0, to, 10, 100);
	WORLD_UNTIL(w, w->cells[9].n_kept == 1 && w->accepted == 1);
	w->cells[0].is_bad = true;
	EXPECT_INT(world_sync_accounts(w), ERR_IO);
	w->cells[0].is_bad = false;
	world_kill(w);
	world_open(w);
	expect_all_durable(w, 10, 1);
	world_free(w);
}

/* A cell comes while the round of the one before it is told of a failure, and answers for what it got meanwhile when the round has ended. */
TEST(a_failure_that_the_round_of_an_earlier_cell_was_told_of)
{
	uint64_t to[10];
	struct world *w = world_of_rounds(to, 10);
	struct fake_cell *c = &w->cells[0];

	world_add(w, 0, to, 10, 100);
	begin_round(w, 10);
	cell_stop(c);
	world_rounds(w, 3);
	world_start_cell(w, 1);
	c->is_held = c->is_bad = true;
	world_add(w, 1, to, 1, 100);
	WORLD_UNTIL(w, c->n_kept == 2);
	end_round(w);
	EXPECT_INT(write_errors(c), 2);
	c->is_bad = false;
	cell_answer_held(c);
	world_add(w, 2, to + 1, 9, 100);
	WORLD_UNTIL(w, w->accepted == 3 && w->queue->backlog.dues == 1);  /* the first one is out again */
	sync_tick(w->queue->sync, world_now(w), true);  /* asks it, in vain */
	world_rounds(w, 100);
	c->is_held = false;
	world_start_cell(w, 1);
	WORLD_UNTIL(w, c->n_kept == 2 && write_errors(c) == 0);
	cut_when_all_is_let_go(w);
	world_rounds(w, 50);
	for (uint32_t number = 0; number < 2; number++)
		EXPECT_INT(world_count(w, 1, number), 1);
	world_free(w);
}

/* What an account never takes leaves the log, which goes round, and waits in queue.db. */
TEST(an_account_that_cannot_be_synced_at_all_holds_up_nobody)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct world *w = world_new(4, 1 << 18);
	struct queue_command retry = { .kind = QUEUE_RETRY, .recipient = -1 };
	struct queue_answer answer;
	const uint64_t bad[] = { 1 }, good[] = { 2 };

	log_setup("test", LOG_LEVEL_ERROR + 1, false);
	w->sync_every_ms = 50;
	world_kill(w);
	world_open(w);
	w->cells[0].is_bad = true;
	for (uint32_t i = 0; i < 100; i++) {  /* three times what the log can hold */
		world_add(w, i, i % 2 ? good : bad, 1, 30000);
		WORLD_UNTIL(w, w->answered == i + 1 && world_count(w, 2, i) == i % 2);
		world_rounds(w, 20);
	}
	EXPECT_INT(w->refused, 0);
	WORLD_UNTIL(w, world_late(w, false) == 50);
	w->cells[0].is_bad = false;
	EXPECT_OK(world_command(w, &retry, &a, &answer));
	WORLD_UNTIL(w, world_late(w, false) == 0);
	cut_when_all_is_let_go(w);
	world_rounds(w, 50);
	for (uint32_t i = 0; i < 100; i++)
		EXPECT_INT(world_count(w, 1 + i % 2, i), 1);
	world_free(w);
}

TEST(a_cell_that_cannot_sync_and_stays_is_ended)
{
	struct world *w = world_new(4, 1 << 20);
	const uint64_t to[] = { 1, 2 };

	log_setup("test", LOG_LEVEL_ERROR + 1, false);
	w->cells[0].is_bad = w->cells[0].stays = true;
	world_add(w, 0, to, 2, 100);
	WORLD_UNTIL(w, write_errors(&w->cells[0]) == 1);
	w->cells[0].is_bad = false;
	WORLD_UNTIL(w, w->ends_seen == 1);
	expect_all_durable(w, 2, 1);
	world_free(w);
}

/* Errors that are no account's: all is proved by the cells. */
TEST(a_file_system_that_fails_each_time_is_done_without)
{
	uint64_t to[10];
	struct world *w = world_of_many(to, 10);

	w->fails = true;
	for (uint32_t i = 0; i < 2; i++) {
		world_add(w, i, to, 10, 100);
		WORLD_UNTIL(w, w->cells[9].syncs == i + 1);
	}
	EXPECT_INT(w->cells[9].batches, 2);
	expect_all_durable(w, 10, 2);
	world_free(w);
}

/* A cell whose disk fails loses what nobody had synced, and the next one can sync what is left. */
TEST(what_a_lost_cell_had_not_synced_is_delivered_again)
{
	struct world *w = world_new(4, 1 << 20);
	const uint64_t to[] = { 1, 2 };

	w->sync_every_ms = 60000;
	world_kill(w);
	world_open(w);
	world_add(w, 1, to, 2, 100);
	WORLD_UNTIL(w, w->cells[0].n_kept == 1 && w->cells[1].n_kept == 1);
	world_rounds(w, 20);
	w->cells[0].n_kept = 0;
	cell_stop(&w->cells[0]);
	WORLD_UNTIL(w, w->cells[0].n_kept == 1);
	EXPECT_INT(world_count(w, 1, 1), 1);
	EXPECT_INT(w->cells[1].batches, 1);
	world_free(w);
}

/* One that takes a message and ends, again and again, holds up nobody. */
TEST(a_cell_that_ends_after_each_answer_does_not_hold_up_the_log)
{
	struct world *w = world_new(4, 1 << 20);
	const uint64_t to[] = { 1 };

	w->sync_every_ms = 60000;
	world_kill(w);
	world_open(w);
	world_add(w, 1, to, 1, 100);
	for (unsigned i = 1; i <= 3; i++) {
		WORLD_UNTIL(w, w->cells[0].batches == i);
		world_rounds(w, 20);
		cell_stop(&w->cells[0]);
	}
	WORLD_UNTIL(w, w->cells[0].ch != NULL);
	world_rounds(w, 20);
	w->clock_ms += 60000;
	WORLD_UNTIL(w, world_late(w, false) == 1);
	EXPECT_INT(w->cells[0].batches, 3);
	world_free(w);
}

/* The same for what was late: it is delivered again before anybody sees the account, and not for ever. */
TEST(what_was_late_and_not_synced_is_delivered_again)
{
	struct world *w = world_new(4, 1 << 20);
	struct fake_cell *c = &w->cells[0];
	const uint64_t to[] = { 1 };

	c->refuses = c->asks = true;
	world_add(w, 1, to, 1, 100);
	WORLD_UNTIL(w, world_late(w, false) == 1);
	world_kill(w);
	w->sync_every_ms = 60000;
	world_open(w);
	w->wakes = c->refuses = false;
	c->batches = 0;
	for (unsigned i = 1; i <= 3; i++) {
		world_start_cell(w, 1);
		WORLD_UNTIL(w, c->is_replayed);
		EXPECT_INT(c->batches, i);
		EXPECT_INT(c->n_kept, 1);
		c->n_kept = 0;
		cell_stop(c);
		world_rounds(w, 3);
	}
	world_start_cell(w, 1);
	WORLD_UNTIL(w, c->is_replayed);
	w->clock_ms += 60000;
	world_rounds(w, 50);
	EXPECT_INT(c->batches, 3);
	EXPECT_INT(world_late(w, false), 1);
	world_free(w);
}

/* What a cell said last is heard, also when the next one is there before that was read. */
TEST(the_last_words_of_a_cell)
{
	struct world *w = world_new(4, 1 << 20);
	struct fake_cell *c = &w->cells[0];
	const uint64_t to[] = { 1 };

	c->leaves = true;
	world_add(w, 1, to, 1, 100);
	WORLD_UNTIL(w, c->n_kept == 1);
	world_start_cell(w, 1);
	world_rounds(w, 50);
	EXPECT_INT(c->batches, 1);
	world_free(w);
}

TEST(few_accounts_are_synced_by_their_cells)
{
	struct world *w = world_new(4, 1 << 20);
	const uint64_t to[] = { 1, 2 };

	world_add(w, 1, to, 2, 100);
	WORLD_UNTIL(w, w->cells[0].syncs == 1 && w->cells[1].syncs == 1);
	EXPECT_INT(w->syncs, 0);
	/* one of them hangs: syncfs proves it for both */
	world_add(w, 2, to, 2, 100);
	WORLD_UNTIL(w, w->cells[0].n_kept == 2 && w->cells[1].n_kept == 2);
	w->cells[0].is_held = true;
	WORLD_UNTIL(w, w->syncs == 1);
	world_free(w);
}
