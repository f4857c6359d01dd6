/* Power cuts under the log. Batches are written, W moves, syncs fail, the log is opened again and again; then the ring
 * is rebuilt as it may be after a cut at many moments. It must open without a word of damage, with everything that was
 * acknowledged, in order and without a hole; and on what it became the same is done once more, with the leftovers of
 * torn batches in it. */
#include "base/log.h"
#include "disk/powercut_test.h"
#include "queue/log.h"
#include <sys/mman.h>

#ifdef FACTEUR_FAULT
enum { STEPS = 120, STEPS_AGAIN = 15, MESSAGES_MAX = 3000, WS_MAX = 500, CUTS = 60, CUTS_AGAIN = 6 };
static const struct log_config config = { 4, LOG_SEGMENT_BYTES_MIN };

struct promise {
	uint64_t seq, mark;      /* of a message: everything about it follows from its mark. Of a W: seq is W */
	size_t   from, acked;    /* positions in the trace; acked SIZE_MAX: never */
};

struct story {
	const char     *dir;
	const char     *trace_path;
	struct disk_dir *d;
	struct log     *l;
	struct promise  messages[MESSAGES_MAX];
	size_t          n;
	uint64_t        mark;
	struct promise  ws[WS_MAX];
	size_t          n_ws;
	unsigned       *seed;
};

static unsigned dice(struct story *t, unsigned sides) { return (unsigned)rand_r(t->seed) % sides; }

static void text_of(uint64_t mark, struct buf *out)
{
	size_t n = mark % 10 == 3 ? 9000 : mark * 37 % 1500;

	buf_reset(out);
	put_u64(out, mark);
	while (out->n < 8 + n)
		put_u8(out, (uint8_t)(mark * 7 + out->n));
}

static void open_log(struct story *t)
{
	EXPECT_OK(disk_dir_open(t->dir, &t->d));
	EXPECT_OK(log_open(t->d, &config, &t->l));
}

static void close_log(struct story *t)
{
	log_close(&t->l);
	disk_dir_close(&t->d);
}

static enum err put_batch(struct story *t, size_t n)
{
	struct buf b[8];
	struct log_entry e[8], *entries[8];
	size_t from = powercut_position(t->trace_path), acked;
	enum err result = ERR_OK;

	for (size_t i = 0; i < n; i++) {
		b[i] = BUF(16384);
		text_of(t->mark + i, &b[i]);
		e[i] = (struct log_entry){ .kind = LOG_MESSAGE, .head = buf_str(&b[i]) };
		entries[i] = &e[i];
	}
	log_write(t->l, entries, n);
	acked = powercut_position(t->trace_path);
	for (size_t i = 0; i < n; i++) {
		buf_free(&b[i]);
		if (e[i].result != ERR_OK)
			result = e[i].result;
		if (e[i].place.seq == 0)
			continue;  /* not even tried */
		EXPECT(t->n < MESSAGES_MAX);
		t->messages[t->n++] = (struct promise){ e[i].place.seq, t->mark + i, from, e[i].result == ERR_OK ? acked : SIZE_MAX };
	}
	t->mark += n;
	return result;
}

static void put_w(struct story *t, uint64_t w)
{
	CLEANUP(buf_free) struct buf b = BUF(8);
	struct log_entry e = { .kind = LOG_W }, *entries[] = { &e };
	size_t from = powercut_position(t->trace_path);

	put_u64(&b, w);
	e.head = buf_str(&b);
	log_write(t->l, entries, 1);
	EXPECT_OK(e.result);
	EXPECT(t->n_ws < WS_MAX);
	t->ws[t->n_ws++] = (struct promise){ w, 0, from, powercut_position(t->trace_path) };
}

static void move_w(struct story *t)
{
	uint64_t w = log_w(t->l);
	size_t i = 0;

	while (i < t->n && t->messages[i].seq <= w)
		i++;
	if (i < t->n)
		put_w(t, t->messages[i + dice(t, (unsigned)(t->n - i))].seq);
}

static enum err count(void *context, UNUSED struct log_place place, struct str payload)
{
	CLEANUP(buf_free) struct buf want = BUF(16384);
	struct { const struct story *t; size_t next; } *c = context;
	struct scan s = scan_of(payload);
	uint64_t mark = get_u64(&s);

	text_of(mark, &want);
	EXPECT(str_eq(payload, buf_str(&want)));
	EXPECT(c->next < c->t->n && c->t->messages[c->next].mark == mark);
	c->next++;
	return ERR_OK;
}

/* What the log has, must be the messages above W up to some number, without a hole. Returns that number. */
static size_t replay(struct story *t)
{
	struct { const struct story *t; size_t next; } c = { t, 0 };
	uint64_t w = log_w(t->l);

	while (c.next < t->n && t->messages[c.next].seq <= w)
		c.next++;
	EXPECT_OK(log_replay(t->l, LOG_MESSAGE, count, &c));
	return c.next;
}

/* A sync fails; the process ends and starts again. What it finds it may deliver, so it must stay, though nobody was
 * promised it. */
static void fail_and_reopen(struct story *t)
{
	static int times;
	char path[500];
	size_t had = t->n;

	snprintf(path, sizeof(path), "%s.fault", t->dir);
	CLEANUP(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	EXPECT(dprintf(fd, "sync * eio-once 1\n# %d\n", ++times) > 0);  /* another text: it counts anew */
	setenv("FACTEUR_DISK_FAULT", path, 1);
	disk_fault_start();
	enum err failed = put_batch(t, 1 + dice(t, 4));
	EXPECT(failed == ERR_IO || failed == ERR_AGAIN);
	unsetenv("FACTEUR_DISK_FAULT");
	close(DISK_FAULT_CONTROL_FD);
	disk_fault_start();
	unlink(path);
	close_log(t);
	open_log(t);
	size_t found = replay(t);
	EXPECT(found >= had);
	for (size_t i = had; i < found; i++)
		t->messages[i].acked = powercut_position(t->trace_path);
	t->n = found;
}

static void run_story(struct story *t, int steps)
{
	for (int i = 0; i < steps; i++) {
		switch (dice(t, 12)) {
		case 0:
			close_log(t);
			open_log(t);
			EXPECT_INT(replay(t), t->n);
			break;
		case 1:
			fail_and_reopen(t);
			break;
		case 2: case 3:
			move_w(t);
			break;
		default:
			if (put_batch(t, 1 + dice(t, 6)) == ERR_AGAIN)
				move_w(t);
		}
	}
}

/* The files of a folder that no trace knows, through the disk layer into one that is traced. */
static void import(const char *from, const char *to)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(disk_dir_close) struct disk_dir *in = NULL, *out = NULL;
	struct str *names, bytes;
	size_t n;

	EXPECT_OK(disk_dir_open(from, &in));
	EXPECT_OK(disk_dir_open(to, &out));
	EXPECT_OK(disk_list(in, &a, &names, &n));
	for (size_t i = 0; i < n; i++) {
		CLEANUP(disk_close) struct disk_file *f = NULL;
		EXPECT_OK(disk_read_file(in, str_cstr(&a, names[i]), 1 << 20, &a, &bytes));
		EXPECT_OK(disk_open(out, str_cstr(&a, names[i]), DISK_NEW, &f));
		EXPECT_OK(disk_pwrite(f, bytes.p, bytes.n, 0));
		EXPECT_OK(disk_sync(f));
	}
	EXPECT_OK(disk_dir_sync(out));
}

static void check_w(const struct story *t, uint64_t w, size_t cut)
{
	uint64_t least = 0, most = 0;

	for (size_t i = 0; i < t->n_ws; i++) {
		if (t->ws[i].acked <= cut)
			least = t->ws[i].seq;
		if (t->ws[i].from <= cut)
			most = t->ws[i].seq;
	}
	EXPECT(w >= least && w <= most);
}

static void tell_again(struct story *old, size_t found, const char *dir, uint64_t w);

static void check_cut(struct story *t, struct str trace, size_t cut, unsigned way, bool go_on)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	char *dir = str_cstr(&a, arena_printf(&a, "%s.cut", t->dir));
	char *opened = str_cstr(&a, arena_printf(&a, "%s.opened", t->dir));
	struct story after = { .dir = opened };
	size_t promised = 0, begun = 0, found;
	uint64_t w;

	powercut_rebuild(trace, cut, t->dir, dir, way);
	if (go_on) {
		EXPECT(mkdir(opened, 0700) == 0);
		import(dir, opened);
	} else {
		after.dir = dir;
	}
	open_log(&after);
	t->l = after.l;
	found = replay(t);
	t->l = NULL;
	w = log_w(after.l);
	while (promised < t->n && t->messages[promised].acked <= cut)
		promised++;
	while (begun < t->n && t->messages[begun].from <= cut)
		begun++;
	EXPECT(found >= promised && found <= begun);
	check_w(t, w, cut);
	close_log(&after);
	if (go_on) {
		tell_again(t, found, dir, w);
		test_dir_remove(mem_strdup(opened));
	}
	test_dir_remove(mem_strdup(dir));
}

/* The same once more, on the disk that a cut left. */
static void tell_again(struct story *old, size_t found, const char *dir, uint64_t w)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct story *t = arena_alloc(&a, sizeof(*t));
	struct str trace;
	size_t ready;

	t->dir = str_cstr(&a, arena_printf(&a, "%s.again", old->dir));
	t->seed = old->seed;
	EXPECT(mkdir(t->dir, 0700) == 0);
	memcpy(t->messages, old->messages, found * sizeof(t->messages[0]));
	t->n = found;
	t->mark = old->mark;
	for (size_t i = 0; i < found; i++)
		t->messages[i].from = t->messages[i].acked = 0;
	t->ws[t->n_ws++] = (struct promise){ .seq = w };
	t->trace_path = powercut_start(&a, t->dir);
	import(dir, t->dir);
	ready = powercut_position(t->trace_path);
	open_log(t);
	EXPECT_INT(replay(t), found);
	run_story(t, STEPS_AGAIN);
	close_log(t);
	trace = powercut_stop(&a, t->trace_path);
	for (unsigned i = 0; i < CUTS_AGAIN; i++)
		check_cut(t, trace, powercut_after(trace, ready, dice(t, 2000)), i, false);
	check_cut(t, trace, trace.n, 0, false);
	test_dir_remove(mem_strdup(t->dir));
}
#endif

TEST(every_power_cut_keeps_what_was_acknowledged)
{
#ifdef FACTEUR_FAULT
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(fd_close) int said = memfd_create("log", MFD_CLOEXEC);
	struct story *t = arena_alloc(&a, sizeof(*t));
	const char *given = getenv("SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : 5;
	static char text[1 << 22];
	struct str trace;
	size_t ready;

	log_to_fd(said);
	t->dir = test_dir();
	t->seed = &seed;
	t->trace_path = powercut_start(&a, t->dir);
	open_log(t);
	ready = powercut_position(t->trace_path);
	run_story(t, STEPS);
	close_log(t);
	open_log(t);
	EXPECT_INT(replay(t), t->n);
	close_log(t);
	trace = powercut_stop(&a, t->trace_path);
	for (unsigned i = 0; i < CUTS; i++)
		check_cut(t, trace, powercut_after(trace, ready, dice(t, 3000)), i, i % 4 == 0);
	check_cut(t, trace, trace.n, 0, true);
	ssize_t n = pread(said, text, sizeof(text), 0);
	log_to_fd(2);
	EXPECT(n > 0 && str_find(str_make(text, (size_t)n), STR("damaged")) < 0);
	test_dir_remove(t->dir);
#endif
}
