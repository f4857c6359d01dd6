/* Power cuts under queue.db. A random program adds, tries, holds, finishes and removes recipients while W moves on;
 * then the folder is rebuilt as it may be after a cut at many moments. Each row must be in a state that was promised,
 * or one that was on its way; each row that is left must have its whole body; no file is left without a row; and it
 * must go on working. */
#include "base/bytes.h"
#include "base/log.h"
#include "disk/powercut_test.h"
#include "queue/late.h"
#include "queue/record.h"

#ifdef FACTEUR_FAULT
enum { LOG_ID = 7, STEPS = 150, MESSAGES_MAX = 400, RECIPIENTS = 3, STATES_MAX = 12, CUTS = 60, ABSENT = 0 };

struct history {              /* of one row */
	struct {
		size_t from, acked;   /* positions in the trace: begun, and promised */
		int    state;         /* enum late_state, or ABSENT */
	} step[STATES_MAX];
	size_t n;
};

struct story {
	const char     *dir, *trace_path;
	struct disk_dir *d;
	struct late    *l;
	struct history  rows[MESSAGES_MAX][RECIPIENTS];   /* by seq */
	uint64_t        seq, w;                           /* last one added */
	struct { size_t from, acked; uint64_t w; } ws[STEPS + 1];
	size_t          n_ws;
	unsigned        seed;
};

static unsigned dice(struct story *t, unsigned sides) { return (unsigned)rand_r(&t->seed) % sides; }
static bool is_spooled(uint64_t seq) { return seq % 7 == 3; }
static int state_of(const struct history *h) { return h->n ? h->step[h->n - 1].state : ABSENT; }

static void body_of(uint64_t seq, struct buf *out)
{
	size_t n = seq % 25 == 4 ? LATE_SHARED_MAX + 10000 : seq % 9 == 5 ? 300000 : seq * 31 % 3000;

	buf_reset(out);
	while (out->n < n)
		buf_printf(out, "line %zu of %llu\r\n", out->n, (unsigned long long)seq);
}

static void begin_step(struct story *t, struct history *h, int state)
{
	EXPECT(h->n < STATES_MAX);
	h->step[h->n].from = powercut_position(t->trace_path);
	h->step[h->n].acked = SIZE_MAX;
	h->step[h->n++].state = state;
}

static void ack(struct story *t, struct history *h) { h->step[h->n - 1].acked = powercut_position(t->trace_path); }

/* One call adds several messages, some with their body in a spool file. They are the last ones up to t->seq. */
static enum err add_some(struct story *t, size_t n)
{
	static struct envelope_recipient to[RECIPIENTS] = {
		{ { "bob@example.test", 16 }, { "", 0 }, { "", 0 }, 1, 0 },
		{ { "carol@example.test", 18 }, { "", 0 }, { "", 0 }, 2, 0 },
		{ { "dave@elsewhere.example", 22 }, { "", 0 }, { "", 0 }, 0, 0 },
	};
	static const struct late_recipient r[RECIPIENTS] = {
		{ 0, LATE_WAITING, 1000, 1, { "4.2.2", 5 }, { "over quota", 10 } },
		{ 1, LATE_WAITING, 2000, 1, { "4.2.2", 5 }, { "over quota", 10 } },
		{ 2, LATE_WAITING, LATE_NEVER, 0, { "", 0 }, { "", 0 } },
	};
	struct envelope e = { .source = ENVELOPE_MX, .sender = STR("ann@example.org"), .body = ENVELOPE_7BIT,
		.n = RECIPIENTS, .recipients = to };
	struct late_new m[6] = { 0 };
	struct buf bodies[6] = { 0 };
	char name[SPOOL_NAME_MAX];

	for (size_t i = 0; i < n; i++) {
		uint64_t seq = ++t->seq;
		EXPECT(seq < MESSAGES_MAX);
		bodies[i] = BUF(4 << 20);
		body_of(seq, &bodies[i]);
		m[i] = (struct late_new){ .log_id = LOG_ID, .seq = seq, .envelope = &e, .size = bodies[i].n,
			.crc = crc32c(0, bodies[i].p, bodies[i].n), .n = RECIPIENTS, .recipients = r };
		if (is_spooled(seq)) {
			m[i].spool = seq;
			spool_name(seq, name);
			EXPECT_OK(disk_write_file(t->d, name, buf_str(&bodies[i])));
		} else {
			m[i].body = bodies[i].n ? buf_str(&bodies[i]) : STR("");
		}
		for (size_t k = 0; k < RECIPIENTS; k++)
			begin_step(t, &t->rows[seq][k], LATE_WAITING);
	}
	enum err result = late_add(t->l, m, n);
	for (size_t i = 0; i < n; i++)
		buf_free(&bodies[i]);
	return result;
}

static void do_add(struct story *t)
{
	size_t n = 1 + dice(t, 6);

	EXPECT_OK(add_some(t, n));
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < RECIPIENTS; k++)
			ack(t, &t->rows[t->seq - i][k]);
}

static void open_late(struct story *t)
{
	EXPECT_OK(disk_dir_open(t->dir, &t->d));
	EXPECT_OK(late_open(t->d, LOG_ID, t->w, &t->l));
}

static void close_late(struct story *t)
{
	late_close(&t->l);
	disk_dir_close(&t->d);
}

/* A sync fails; the process ends and starts again. A row it finds will be left to late by the replay: so it must stay. */
static void do_fail(struct story *t)
{
	static const char *const what[] = { "queue.db-wal", "late" };
	static int times;
	size_t n = 1 + dice(t, 6);
	char path[500];

	snprintf(path, sizeof(path), "%s.fault", t->dir);
	CLEANUP(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	EXPECT(dprintf(fd, "sync %s eio-once 1\n# %d\n", what[dice(t, 2)], ++times) > 0);  /* another text: it counts anew */
	setenv("FACTEUR_DISK_FAULT", path, 1);
	disk_fault_start();
	enum err failed = add_some(t, n);
	unsetenv("FACTEUR_DISK_FAULT");
	close(DISK_FAULT_CONTROL_FD);
	disk_fault_start();
	unlink(path);
	EXPECT(failed == ERR_IO || failed == ERR_OK);  /* all may be in spool files: no sync in late */
	close_late(t);
	open_late(t);
	for (size_t i = 0; i < n; i++) {
		for (unsigned k = 0; k < RECIPIENTS; k++) {
			CLEANUP(arena_free) struct arena a = { 0 };
			struct late_key key = { LOG_ID, t->seq - i, (uint16_t)k };
			struct history *h = &t->rows[t->seq - i][k];
			struct late_row row;
			if (late_find(t->l, &key, &a, &row) != ERR_OK) {
				EXPECT(failed != ERR_OK);
				begin_step(t, h, ABSENT);
			}
			ack(t, h);
		}
	}
}

/* The results of tries in one call: of single recipients, or of all of a message. */
static void do_change(struct story *t)
{
	struct late_change c[4];
	struct history *changed[4];
	bool is_delivered = dice(t, 2);
	uint64_t seq = 1 + dice(t, (unsigned)t->seq);
	size_t n = 0;

	for (uint16_t tries = 0; tries < 8 && n < COUNT_OF(c); tries++) {
		if (!is_delivered)
			seq = 1 + dice(t, (unsigned)t->seq);
		uint16_t recipient = is_delivered ? tries % RECIPIENTS : (uint16_t)dice(t, RECIPIENTS);
		struct history *h = &t->rows[seq][recipient];
		bool is_twice = false;
		for (size_t i = 0; i < n; i++)
			is_twice |= changed[i] == h;
		if (is_twice || h->n > STATES_MAX - 4 || state_of(h) == ABSENT || state_of(h) == LATE_FINISHED)
			continue;
		enum late_state to = is_delivered || dice(t, 2) ? LATE_FINISHED : dice(t, 2) ? LATE_WAITING : LATE_HELD;
		c[n] = (struct late_change){ .key = { LOG_ID, seq, recipient }, .state = to, .due = 3000, .tries = 2 };
		begin_step(t, h, to == LATE_FINISHED && seq <= t->w ? ABSENT : (int)to);
		changed[n++] = h;
	}
	EXPECT_OK(late_change(t->l, c, n));
	for (size_t i = 0; i < n; i++)
		ack(t, changed[i]);
}

static void do_pass(struct story *t)
{
	uint64_t w = t->w + dice(t, (unsigned)(t->seq - t->w) + 1);

	t->ws[t->n_ws].from = powercut_position(t->trace_path);  /* W is durable in the log from here on */
	t->ws[t->n_ws].w = w;
	for (uint64_t seq = t->w + 1; seq <= w; seq++)
		for (size_t k = 0; k < RECIPIENTS; k++)
			if (state_of(&t->rows[seq][k]) == LATE_FINISHED)
				begin_step(t, &t->rows[seq][k], ABSENT);
	EXPECT_OK(late_passed(t->l, w));
	for (uint64_t seq = t->w + 1; seq <= w; seq++)
		for (size_t k = 0; k < RECIPIENTS; k++)
			if (state_of(&t->rows[seq][k]) == ABSENT)
				ack(t, &t->rows[seq][k]);
	t->ws[t->n_ws++].acked = powercut_position(t->trace_path);
	t->w = w;
}

static void do_remove(struct story *t)
{
	uint64_t seq = 1 + dice(t, (unsigned)t->seq), changed;
	bool did[RECIPIENTS] = { false };

	for (size_t k = 0; k < RECIPIENTS; k++) {
		struct history *h = &t->rows[seq][k];
		did[k] = state_of(h) == LATE_WAITING || state_of(h) == LATE_HELD;
		if (did[k])
			begin_step(t, h, seq <= t->w ? ABSENT : LATE_FINISHED);
	}
	EXPECT_OK(late_order(t->l, LATE_REMOVE, LOG_ID, seq, -1, 0, &changed));
	for (size_t k = 0; k < RECIPIENTS; k++)
		if (did[k])
			ack(t, &t->rows[seq][k]);
}

static void run_story(struct story *t)
{
	for (int i = 0; i < STEPS; i++) {
		switch (t->seq == 0 ? 0 : dice(t, 12)) {
		case 0: case 1: case 2:
			do_add(t);
			break;
		case 3: case 4:
			do_pass(t);
			break;
		case 5:
			do_remove(t);
			break;
		case 6:
			do_fail(t);
			break;
		case 7:
			close_late(t);
			open_late(t);
			break;
		default:
			do_change(t);
		}
	}
}

/* ----------------------------------------------------------------------------------------------------- after a cut */

static bool is_possible(const struct history *h, int state, size_t cut)
{
	int promised = ABSENT;
	bool fits = false;

	for (size_t i = 0; i < h->n; i++)
		if (h->step[i].acked <= cut)
			promised = h->step[i].state;
	fits = state == promised;
	for (size_t i = 0; i < h->n; i++)
		fits |= h->step[i].acked > cut && h->step[i].from <= cut && h->step[i].state == state;
	return fits;
}

static void check_body(struct late *l, uint64_t seq)
{
	CLEANUP(buf_free) struct buf want = BUF(4 << 20), got = BUF(4 << 20);
	CLEANUP(fd_close) int fd = -1;

	body_of(seq, &want);
	EXPECT_OK(late_body(l, LOG_ID, seq, &got, &fd));
	if (fd >= 0) {
		char *p = buf_reserve(&got, want.n);
		EXPECT(pread(fd, p, want.n, 0) == (ssize_t)want.n);
		buf_grew(&got, want.n);
	}
	EXPECT(str_eq(buf_str(&got), buf_str(&want)));
}

static void check_rows(const struct story *t, struct late *l, size_t cut)
{
	for (uint64_t seq = 1; seq <= t->seq; seq++) {
		size_t rows = 0;
		for (unsigned k = 0; k < RECIPIENTS; k++) {
			CLEANUP(arena_free) struct arena a = { 0 };
			struct late_key key = { LOG_ID, seq, (uint16_t)k };
			struct late_row row = { 0 };
			enum err e = late_find(l, &key, &a, &row);
			EXPECT(e == ERR_OK || e == ERR_NOTFOUND);
			EXPECT(is_possible(&t->rows[seq][k], e == ERR_OK ? (int)row.state : ABSENT, cut));
			rows += e == ERR_OK;
		}
		EXPECT_INT(late_names_spool(l, seq), rows > 0 && is_spooled(seq));
		if (rows > 0)
			check_body(l, seq);
	}
}

/* A queue without messages has no bodies. */
static void check_emptied(struct story *after, const struct story *t)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
	struct late_change *all = arena_array(&a, MESSAGES_MAX * RECIPIENTS, sizeof(*all));
	struct late_counts counts;
	struct str *names;
	size_t n = 0;

	for (uint64_t seq = 1; seq <= t->seq; seq++)
		for (unsigned k = 0; k < RECIPIENTS; k++)
			all[n++] = (struct late_change){ .key = { LOG_ID, seq, (uint16_t)k }, .state = LATE_FINISHED };
	EXPECT_OK(late_change(after->l, all, n));
	EXPECT_OK(late_passed(after->l, t->seq));
	EXPECT_OK(late_count(after->l, &counts));
	EXPECT(counts.waiting == 0 && counts.held == 0);
	EXPECT_OK(disk_dir_open_below(after->d, "late", false, &dir));
	EXPECT_OK(disk_list(dir, &a, &names, &n));
	EXPECT_INT(n, 0);
	for (uint64_t seq = 1; seq <= t->seq; seq++)
		EXPECT(!late_names_spool(after->l, seq));
}

static void check_cut(const struct story *t, struct str trace, size_t cut, unsigned way)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct story *after = arena_alloc(&a, sizeof(*after));

	after->dir = mem_strdup(str_cstr(&a, arena_printf(&a, "%s.cut", t->dir)));
	for (size_t i = 0; i < t->n_ws && t->ws[i].acked <= cut; i++)
		after->w = t->ws[i].w;
	powercut_rebuild(trace, cut, t->dir, after->dir, way);
	open_late(after);
	check_rows(t, after->l, cut);
	close_late(after);
	open_late(after);
	check_rows(t, after->l, cut);
	check_emptied(after, t);
	close_late(after);
	test_dir_remove(after->dir);
}
#endif

TEST(every_power_cut_keeps_what_was_promised)
{
#ifdef FACTEUR_FAULT
	CLEANUP(arena_free) struct arena a = { 0 };
	struct story *t = arena_alloc(&a, sizeof(*t));
	const char *given = getenv("SEED");
	CLEANUP(disk_dir_close) struct disk_dir *spool = NULL;
	struct str trace;
	size_t ready;

	log_setup("test", LOG_LEVEL_WARN, false);
	t->dir = test_dir();
	t->seed = given ? (unsigned)strtoul(given, NULL, 10) : 9;
	t->trace_path = powercut_start(&a, t->dir);
	open_late(t);
	EXPECT_OK(disk_dir_open_below(t->d, "spool", true, &spool));
	ready = powercut_position(t->trace_path);
	run_story(t);
	close_late(t);
	trace = powercut_stop(&a, t->trace_path);
	for (unsigned i = 0; i < CUTS; i++)
		check_cut(t, trace, powercut_after(trace, ready, dice(t, 6000)), i);
	check_cut(t, trace, trace.n, 0);
	test_dir_remove(t->dir);
#endif
}
