/* Power cuts under delivery. Batches go in unsynced; now and then all is synced and W moves on. After a cut the queue
 * sends everything above W again: then each message must be there exactly once, whole. */
#include "base/bytes.h"
#include "base/log.h"
#include "deliver/local.h"
#include "disk/powercut_test.h"
#include <sys/wait.h>

#ifdef FACTEUR_FAULT
enum { BATCHES = 80, SEQ_MAX = 500, CUTS = 120 };

struct story {
	const char *dir, *trace_path;
	uint64_t    seq;
	struct { size_t at; uint64_t w; } synced[BATCHES + 1];
	size_t      n_synced;
	unsigned    seed;
};

static struct delivery letter(struct arena *a, uint64_t seq, bool again)
{
	struct buf text = BUF(2 << 20);
	struct delivery d = { .log_id = 5,
						  .seq = seq,
						  .sender = STR("alice@example.test"),
						  .original_recipient = STR("bob@example.test"),
						  .received = 1700000000,
						  .may_be_duplicate = again,
						  .fd = -1 };

	buf_printf(&text, "Subject: %llu\r\n\r\n", (unsigned long long)seq);
	for (uint64_t i = 0; i < seq * 37 % 150; i++)
		buf_printf(&text, "line %llu of %llu\r\n", (unsigned long long)i, (unsigned long long)seq);
	d.body = str_copy(a, buf_str(&text));
	d.size = d.body.n;
	d.crc = crc32c(0, d.body.p, d.body.n);
	buf_free(&text);
	return d;
}

static void deliver(struct view *v, uint64_t first, uint64_t last, bool again, uint64_t w)
{
	static const struct deliver_settings settings = { 0 };

	while (first <= last) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct delivery d[DELIVERY_BATCH_MAX];
		struct delivery_batch batch = { .account = 7, .prune_log_id = 5, .prune_seq = w, .deliveries = d };
		struct delivery_result *results;
		for (; first <= last && batch.n < COUNT_OF(d); first++)
			d[batch.n++] = letter(&a, first, again);
		deliver_batch(v, &settings, &batch, &a, &results);
		for (size_t i = 0; i < batch.n; i++)
			EXPECT_INT(results[i].outcome, DELIVERY_DONE);
	}
}

static void run_story(struct story *t, struct view *v)
{
	for (int i = 0; i < BATCHES; i++) {
		uint64_t n = 1 + (unsigned)rand_r(&t->seed) % 6, w = t->n_synced ? t->synced[t->n_synced - 1].w : 0;
		deliver(v, t->seq + 1, t->seq + n, false, w);
		t->seq += n;
		if (rand_r(&t->seed) % 4)
			continue;
		EXPECT_OK(view_publish(v));
		t->synced[t->n_synced].at = powercut_position(t->trace_path);
		t->synced[t->n_synced++].w = t->seq;
	}
}

static uint64_t seq_of(struct view *v, uint32_t email)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct delivery d;
	struct scan s;
	struct body body;
	uint64_t seq;
	char *text;

	EXPECT_OK(body_open(v, email, &body));
	text = arena_alloc(&a, body.size);
	EXPECT_OK(body_read(&body, 0, text, body.size));
	s = scan_of(str_make(text, body.size));
	scan_need_str(&s, STR("Return-Path: <alice@example.test>\r\nDelivered-To: bob@example.test\r\nSubject: "));
	d = letter(&a, scan_u64(&s), false);
	seq = d.seq;
	EXPECT(!s.failed && str_ends(str_make(text, body.size), d.body));
	body_close(&body);
	return seq;
}

static void check_cut(const struct story *t, struct str trace, size_t cut, unsigned seed)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	char *dir = mem_strdup(str_cstr(&a, arena_printf(&a, "%s.cut", t->dir)));
	struct view_config config = { .account = 7 };
	struct message_row rows[SEQ_MAX];
	bool seen[SEQ_MAX] = { 0 };
	struct mailbox inbox;
	struct selected *s;
	struct view *v;
	uint64_t w = 0;
	uint32_t next = 0;
	size_t n;

	for (size_t i = 0; i < t->n_synced && t->synced[i].at <= cut; i++)
		w = t->synced[i].w;
	powercut_rebuild(trace, cut, t->dir, dir, seed);
	EXPECT_OK(view_open(dir, &config, &v));
	deliver(v, w + 1, t->seq, true, w);
	EXPECT_OK(view_publish(v));
	EXPECT_OK(view_mailbox_by_role(v, MAILBOX_INBOX, &a, &inbox));
	EXPECT_OK(selected_open(v, inbox.mailbox_id, NULL, &s));
	n = selected_rows(s, NULL, 0, &next, rows, COUNT_OF(rows));
	for (size_t i = 0; i < n; i++) {
		uint64_t seq = seq_of(v, rows[i].email);
		EXPECT(seq < SEQ_MAX && !seen[seq]);
		seen[seq] = true;
	}
	EXPECT_INT(n, t->seq);
	selected_close(s);
	view_close(v);
	test_dir_remove(dir);
}
#endif

TEST(replay_after_any_power_cut_delivers_exactly_once)
{
#ifdef FACTEUR_FAULT
	CLEANUP(arena_free) struct arena a = { 0 };
	struct view_config config = { .account = 7 };
	struct story *t = arena_alloc(&a, sizeof *t);
	const char *seed = getenv("SEED");
	struct str trace;
	struct view *v;
	size_t ready;

	log_setup("test", LOG_LEVEL_ERROR, false);  /* torn bodies are what this is about */
	t->dir = test_dir();
	t->seed = seed ? (unsigned)strtoul(seed, NULL, 10) : 23;
	t->trace_path = powercut_start(&a, t->dir);
	EXPECT_OK(view_open(t->dir, &config, &v));
	ready = powercut_position(t->trace_path);
	run_story(t, v);
	view_close(v);
	trace = powercut_stop(&a, t->trace_path);
	for (unsigned i = 0; i < CUTS; i++)
		check_cut(t, trace, powercut_after(trace, ready, (unsigned)rand_r(&t->seed) % 3000), i);
	test_dir_remove(t->dir);
#endif
}

#ifdef FACTEUR_FAULT
/* A process that delivers and is killed before anything was synced. */
static void deliver_and_die(const char *dir, uint64_t first, uint64_t last)
{
	struct view_config config = { .account = 7 };
	struct view *v;
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (view_open(dir, &config, &v) == ERR_OK)
			deliver(v, first, last, false, 0);
		_exit(0);
	}
	EXPECT(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
}
#endif

/* The next cell shows what it finds, and answers CELL_SYNC for it: so it is durable once the account is open. */
TEST(what_a_killed_process_left_is_durable_before_it_is_seen)
{
#ifdef FACTEUR_FAULT
	CLEANUP(arena_free) struct arena a = { 0 };
	struct view_config config = { .account = 7 };
	struct story *t = arena_alloc(&a, sizeof *t);
	struct str trace;
	struct view *v;

	log_setup("test", LOG_LEVEL_ERROR, false);
	t->dir = test_dir();
	t->trace_path = powercut_start(&a, t->dir);
	EXPECT_OK(view_open(t->dir, &config, &v));
	view_close(v);
	deliver_and_die(t->dir, 1, 20);
	t->seq = 20;
	EXPECT_OK(view_open(t->dir, &config, &v));
	EXPECT(view_was_unclean(v));
	t->synced[t->n_synced].at = powercut_position(t->trace_path);
	t->synced[t->n_synced++].w = t->seq;
	view_close_unclean(v);
	trace = powercut_stop(&a, t->trace_path);
	for (unsigned i = 0; i < 12; i++)  /* nothing is delivered again: all must be there */
		check_cut(t, trace, t->synced[0].at, i);
	test_dir_remove(t->dir);
#endif
}
