/* The log through its life: many turns of the ring, restarts, a full ring, torn tails, leftovers, damage, a failing
 * disk. Power cuts: log_crash_test.c. */
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/test.h"
#include "base/wire.h"
#include "disk/fault.h"
#include "queue/log.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SEGMENT = LOG_SEGMENT_BYTES_MIN, SEGMENTS = 4 };

struct ring {
	const char      *path;
	struct disk_dir *dir;
	struct log      *l;
	int              said;    /* memfd that the log lines go to */
};

static void open_ring(struct ring *r)
{
	const struct log_config config = { SEGMENTS, SEGMENT };

	if (r->path == NULL)
		r->path = test_dir();
	EXPECT_OK(disk_dir_open(r->path, &r->dir));
	EXPECT_OK(log_open(r->dir, &config, &r->l));
}

static void close_ring(struct ring *r)
{
	log_close(&r->l);
	disk_dir_close(&r->dir);
}

static void reopen(struct ring *r)
{
	close_ring(r);
	open_ring(r);
}

static void listen_to_log(struct ring *r)
{
	r->said = memfd_create("log", MFD_CLOEXEC);
	log_to_fd(r->said);
}

/* Was it said since the last time? */
static bool was_said(struct ring *r, const char *what)
{
	char text[20000];
	ssize_t n = pread(r->said, text, sizeof(text), 0);

	EXPECT(n >= 0 && n < (ssize_t)sizeof(text));
	EXPECT(ftruncate(r->said, 0) == 0 && lseek(r->said, 0, SEEK_SET) == 0);
	return str_find(str_make(text, (size_t)n), str_of(what)) >= 0;
}

static void end(struct ring *r)
{
	close_ring(r);
	if (r->said > 0) {
		log_to_fd(2);
		close(r->said);
	}
	test_dir_remove(r->path);
}

/* Everything about a message follows from its mark, a number of the test's own. */
static void text_of(uint64_t mark, size_t n, struct buf *out)
{
	buf_reset(out);
	put_u64(out, mark);
	while (out->n < n)
		put_u8(out, (uint8_t)(mark * 7 + out->n * 13));
}

static enum err put(struct ring *r, uint64_t mark, size_t n, struct log_place *place)
{
	CLEANUP(buf_free) struct buf b = BUF(SEGMENT);
	struct log_entry e = { .kind = LOG_MESSAGE }, *entries[] = { &e };

	text_of(mark, n, &b);
	e.head = str_sub(buf_str(&b), 0, 8);
	e.body = str_from(buf_str(&b), 8);
	log_write(r->l, entries, 1);
	if (place)
		*place = e.place;
	return e.result;
}

/* One batch with the marks 2, 3 and 4. */
static void put_three(struct ring *r, size_t n, struct arena *a, struct log_entry e[3])
{
	CLEANUP(buf_free) struct buf b = BUF(SEGMENT);
	struct log_entry *entries[] = { &e[0], &e[1], &e[2] };

	for (size_t i = 0; i < 3; i++) {
		text_of(2 + i, n, &b);
		e[i] = (struct log_entry){ .kind = LOG_MESSAGE, .head = str_copy(a, buf_str(&b)) };
	}
	log_write(r->l, entries, 3);
	for (size_t i = 0; i < 3; i++)
		EXPECT_OK(e[i].result);
}

static enum err put_w(struct ring *r, uint64_t w)
{
	CLEANUP(buf_free) struct buf b = BUF(8);
	struct log_entry e = { .kind = LOG_W }, *entries[] = { &e };

	put_u64(&b, w);
	e.head = buf_str(&b);
	log_write(r->l, entries, 1);
	return e.result;
}

struct seen { uint64_t mark[3000], seq[3000]; size_t n; };

static enum err see(void *context, struct log_place place, struct str payload)
{
	CLEANUP(buf_free) struct buf want = BUF(SEGMENT);
	struct seen *s = context;
	struct scan scan = scan_of(payload);

	EXPECT(s->n < COUNT_OF(s->mark));
	s->mark[s->n] = get_u64(&scan);
	text_of(s->mark[s->n], payload.n, &want);
	EXPECT(str_eq(buf_str(&want), payload));
	s->seq[s->n++] = place.seq;
	return ERR_OK;
}

/* Marks in the order of the replay, as words: "1 2 4". */
static struct str replay(struct ring *r, struct arena *a)
{
	CLEANUP(buf_free) struct buf b = BUF(100000);
	struct seen *s = arena_alloc(a, sizeof(*s));

	EXPECT_OK(log_replay(r->l, LOG_MESSAGE, see, s));
	for (size_t i = 0; i < s->n; i++) {
		buf_printf(&b, "%s%llu", i ? " " : "", (unsigned long long)s->mark[i]);
		EXPECT(i == 0 || s->seq[i] > s->seq[i - 1]);
		EXPECT(s->seq[i] > log_w(r->l) && s->seq[i] <= log_last_seq(r->l));
	}
	return s->n ? str_copy(a, buf_str(&b)) : STR("");
}

static void expect_replay(struct ring *r, const char *want)
{
	CLEANUP(arena_free) struct arena a = { 0 };

	EXPECT_STR(replay(r, &a), want);
}

/* Changes bytes of a closed ring behind its back. */
static void overwrite(struct ring *r, uint32_t segment, uint32_t offset, struct str bytes)
{
	char path[500];
	snprintf(path, sizeof(path), "%s/%02u", r->path, segment);
	CLEANUP(fd_close) int fd = open(path, O_WRONLY);

	EXPECT(pwrite(fd, bytes.p, bytes.n, offset) == (ssize_t)bytes.n);
}

static void zero(struct ring *r, uint32_t segment, uint32_t offset, size_t n)
{
	char *zeros = mem_alloc(n);

	overwrite(r, segment, offset, str_make(zeros, n));
	mem_free(zeros);
}

static struct str image(struct ring *r, uint32_t segment, struct arena *a)
{
	char *bytes = arena_alloc(a, SEGMENT), path[500];
	snprintf(path, sizeof(path), "%s/%02u", r->path, segment);
	CLEANUP(fd_close) int fd = open(path, O_RDONLY);

	EXPECT(pread(fd, bytes, SEGMENT, 0) == SEGMENT);
	return str_make(bytes, SEGMENT);
}

TEST(what_was_written_is_found_again)
{
	CLEANUP(buf_free) struct buf got = BUF(SEGMENT), want = BUF(SEGMENT);
	struct log_place place;
	struct ring r = { 0 };
	uint64_t id;

	open_ring(&r);
	id = log_id(r.l);
	EXPECT(id != 0);
	EXPECT_INT(log_record_max(r.l), SEGMENT / 4 - LOG_RECORD_HEADER);
	expect_replay(&r, "");
	EXPECT_OK(put(&r, 1, 100, &place));
	EXPECT_INT(place.seq, log_last_seq(r.l));
	EXPECT_OK(log_read(r.l, place, &got));
	text_of(1, 100, &want);
	EXPECT(str_eq(buf_str(&got), buf_str(&want)));
	EXPECT_OK(put(&r, 2, log_record_max(r.l), NULL));
	EXPECT_ERR(put(&r, 3, log_record_max(r.l) + 1, NULL), ERR_LIMIT);
	EXPECT_OK(put(&r, 4, 8, NULL));  /* its body is empty */
	EXPECT_OK(put_w(&r, place.seq));
	reopen(&r);
	EXPECT(log_id(r.l) == id);
	EXPECT_INT(log_w(r.l), place.seq);
	expect_replay(&r, "2 4");
	expect_replay(&r, "");
	reopen(&r);
	reopen(&r);
	expect_replay(&r, "2 4");
	end(&r);
}

static enum err count_seen(void *context, UNUSED struct log_place place, UNUSED struct str payload)
{
	++*(size_t *)context;
	return ERR_OK;
}

/* Two kinds, each by itself; and W lets go of both. */
TEST(what_was_sent_is_found_again)
{
	struct ring r = { 0 };
	struct log_entry message = { .kind = LOG_MESSAGE, .head = STR("m") }, done = { .kind = LOG_DONE, .head = STR("d") };
	struct log_entry *entries[] = { &message, &done, &done };
	size_t messages = 0, dones = 0;

	open_ring(&r);
	log_write(r.l, entries, 2);
	log_write(r.l, entries + 2, 1);
	EXPECT_OK(done.result);
	reopen(&r);
	EXPECT_OK(log_replay(r.l, LOG_DONE, count_seen, &dones));
	EXPECT_OK(log_replay(r.l, LOG_MESSAGE, count_seen, &messages));
	EXPECT(messages == 1 && dones == 2);
	EXPECT_OK(put_w(&r, message.place.seq + 1));
	reopen(&r);
	messages = dones = 0;
	EXPECT_OK(log_replay(r.l, LOG_DONE, count_seen, &dones));
	EXPECT_OK(log_replay(r.l, LOG_MESSAGE, count_seen, &messages));
	EXPECT(messages == 0 && dones == 1);
	close_ring(&r);
	test_dir_remove(r.path);
}

TEST(a_batch_larger_than_what_goes_out_at_once)
{
	enum { N = 1300 };
	CLEANUP(arena_free) struct arena a = { 0 };
	struct log_entry *e = arena_array(&a, N, sizeof(*e)), **entries = arena_array(&a, N, sizeof(*entries));
	struct ring r = { 0 };
	struct seen *s = arena_alloc(&a, sizeof(*s));

	open_ring(&r);
	for (uint64_t i = 0; i < N; i++) {
		struct buf b = BUF(1000);
		text_of(i, 8 + i % 60, &b);
		e[i] = (struct log_entry){ .kind = LOG_MESSAGE, .head = str_copy(&a, str_sub(buf_str(&b), 0, 8)),
			.body = str_copy(&a, str_from(buf_str(&b), 8)) };
		entries[i] = &e[i];
		buf_free(&b);
	}
	log_write(r.l, entries, N);
	for (size_t i = 0; i < N; i++)
		EXPECT_OK(e[i].result);
	reopen(&r);
	EXPECT_OK(log_replay(r.l, LOG_MESSAGE, see, s));
	EXPECT_INT(s->n, N);
	for (size_t i = 0; i < N; i++)
		EXPECT(s->mark[i] == i && s->seq[i] == e[i].place.seq);
	end(&r);
}

/* Random messages, W always some messages behind, restarts in between: the replay is exactly what W has not passed. */
TEST(many_turns_of_the_ring)
{
	struct { uint64_t mark, seq; } *kept = mem_array(20000, sizeof(*kept));
	struct seen *s = MEM_NEW(struct seen);
	size_t first = 0, n = 0;
	unsigned seed = 11;
	struct ring r = { 0 };

	open_ring(&r);
	for (uint64_t mark = 1; mark <= 4000; mark++) {
		struct log_place place;
		size_t size = 8 + (unsigned)rand_r(&seed) % (rand_r(&seed) % 20 ? 700 : 15000);
		while (put(&r, mark, size, &place) == ERR_AGAIN) {
			first += (n - first) / 2 + 1;
			EXPECT_OK(put_w(&r, kept[first - 1].seq));
		}
		kept[n].mark = mark;
		kept[n++].seq = place.seq;
		EXPECT(log_fill_percent(r.l) <= 100);
		if (rand_r(&seed) % 40)
			continue;
		reopen(&r);
		s->n = 0;
		EXPECT_OK(log_replay(r.l, LOG_MESSAGE, see, s));
		EXPECT_INT(s->n, n - first);
		for (size_t i = 0; i < s->n; i++)
			EXPECT(s->mark[i] == kept[first + i].mark && s->seq[i] == kept[first + i].seq);
	}
	EXPECT(log_last_seq(r.l) > 4000);
	mem_free(kept);
	mem_free(s);
	end(&r);
}

struct found { const struct log_entry *e; size_t at, n; };

static enum err compare(void *context, struct log_place place, struct str payload)
{
	struct found *f = context;

	EXPECT(f->at < f->n && place.seq == f->e[f->at].place.seq && str_eq(payload, f->e[f->at].body));
	f->at++;
	return ERR_OK;
}

/* Batches that go past the page cache and such that go through it, one behind the other; ends within sectors, and of them. Read at once, and by
 * the next process. */
TEST(large_and_small_batches_beside_each_other)
{
	enum { N = 300, MOST = 700000 };
	CLEANUP(buf_free) struct buf got = BUF(4 << 20);
	const struct log_config config = { SEGMENTS, 16 << 20 };
	char *text = mem_alloc(MOST);
	struct log_entry *e = mem_array(N, sizeof *e), *entries[N];
	unsigned seed = 5;
	struct ring r = { .path = test_dir() };
	uint32_t end = 0;

	for (size_t i = 0; i < MOST; i++)
		text[i] = (char)rand_r(&seed);
	EXPECT_OK(disk_dir_open(r.path, &r.dir));
	EXPECT_OK(log_open(r.dir, &config, &r.l));
	for (size_t at = 0, n; at < N; at += n) {
		n = 1 + (unsigned)rand_r(&seed) % 3;
		n = n < N - at ? n : N - at;
		for (size_t i = at; i < at + n; i++) {
			size_t size = 1 + (unsigned)rand_r(&seed) % (rand_r(&seed) % 4 ? 3000 : rand_r(&seed) % 2 ? 540000 : 60000);
			if (n == 1 && rand_r(&seed) % 2)  /* up to the end of a sector */
				size += (DISK_SECTOR - (end + LOG_RECORD_HEADER + size) % DISK_SECTOR) % DISK_SECTOR;
			e[i] = (struct log_entry){ .kind = LOG_MESSAGE, .body = str_make(text + i, size) };
			entries[i] = &e[i];
		}
		log_write(r.l, entries + at, n);
		for (size_t i = at; i < at + n; i++)
			EXPECT_OK(e[i].result);
		end = (e[at + n - 1].place.offset + e[at + n - 1].place.length + 7) & ~7U;
		for (size_t i = at > 4 ? at - 4 : 0; i < at + n; i++) {
			EXPECT_OK(log_read(r.l, e[i].place, &got));
			EXPECT(str_eq(buf_str(&got), e[i].body));
		}
		if (rand_r(&seed) % 20)
			continue;
		log_close(&r.l);
		EXPECT_OK(log_open(r.dir, &config, &r.l));
		struct found f = { e, 0, at + n };
		EXPECT_OK(log_replay(r.l, LOG_MESSAGE, compare, &f));
		EXPECT_INT(f.at, f.n);
		end = 0;
	}
	mem_free(text);
	mem_free(e);
	close_ring(&r);
	test_dir_remove(r.path);
}

/* Messages are refused before LOG_W is; when W passes, there is room again. */
TEST(a_full_ring)
{
	struct ring r = { 0 };
	struct log_place place = { 0 };
	uint64_t first_of_segment[3] = { 0 }, mark = 0;

	open_ring(&r);
	while (put(&r, ++mark, 4000, &place) == ERR_OK)
		if (place.segment < 3 && first_of_segment[place.segment] == 0)
			first_of_segment[place.segment] = place.seq;
	EXPECT_INT(log_fill_percent(r.l), 75);
	EXPECT_ERR(put(&r, mark, 8000, NULL), ERR_AGAIN);
	/* W moves, but frees nothing: there is always room for it */
	for (int i = 0; i < 2000; i++) {
		enum err e = put_w(&r, first_of_segment[0]);
		EXPECT(e == ERR_OK || (e == ERR_AGAIN && i > 500));  /* half of the last segment is for what frees something */
		EXPECT_ERR(put(&r, mark, 4000, NULL), ERR_AGAIN);
		if (i % 100 == 0)
			reopen(&r);
	}
	EXPECT_OK(put_w(&r, first_of_segment[1]));
	EXPECT_OK(put(&r, mark++, 4000, NULL));  /* the first segment is free: into the rest of the last */
	while (put(&r, mark, 4000, NULL) == ERR_OK)
		mark++;
	EXPECT_OK(put_w(&r, first_of_segment[2]));
	EXPECT_OK(put(&r, mark, 4000, NULL));
	end(&r);
}

/* All or none, whatever the room, and each knows the number of the first. */
TEST(what_goes_together)
{
	enum { MOST = 12 };
	struct seen *s = MEM_NEW(struct seen);
	struct log_entry e[MOST], *entries[MOST];
	size_t kept = 0, refused = 0;
	unsigned seed = 5;
	struct ring r = { 0 };

	open_ring(&r);
	for (int round = 0; round < 200; round++) {
		CLEANUP(arena_free) struct arena a = { 0 };
		size_t n = 1 + (unsigned)rand_r(&seed) % MOST, size = 16 + (unsigned)rand_r(&seed) % 12000;
		uint64_t last = log_last_seq(r.l);
		for (size_t i = 0; i < n; i++) {
			struct buf b = BUF(SEGMENT);
			text_of(kept + i, size, &b);
			e[i] = (struct log_entry){ .kind = LOG_MESSAGE, .head = arena_printf(&a, "%08zu" STR_FMT, i, STR_ARG(STR("12345678"))),
				                       .body = str_copy(&a, buf_str(&b)), .together = i == 0 ? n : 0, .names = i > 0 ? &e[0] : NULL, .names_at = 8 };
			entries[i] = &e[i];
			buf_free(&b);
		}
		log_write(r.l, entries, n);
		for (size_t i = 0; i < n; i++) {
			struct scan read = scan_of(str_from(e[i].head, 8));
			EXPECT_INT(e[i].result, e[0].result);
			EXPECT(e[i].result != ERR_OK || i == 0 ||  /* NOLINT: all n were set above */
			       (get_u64(&read) == e[0].place.seq && e[i].place.seq > e[i - 1].place.seq));  /* NOLINT */
		}
		if (e[0].result != ERR_OK) {
			EXPECT_INT(log_last_seq(r.l), last);
			EXPECT_OK(put_w(&r, last));
			refused++;
		}
		kept += n;
	}
	EXPECT(refused > 10 && refused < 150);
	e[0] = e[1] = (struct log_entry){ .kind = LOG_MESSAGE, .head = STR("small"), .together = 2 };
	e[1].head = str_make((const char *)s, log_record_max(r.l) + 1u);   /* too large, so the other is refused as well */
	log_write(r.l, entries, 2);
	EXPECT(e[0].result == ERR_LIMIT && e[1].result == ERR_LIMIT);
	mem_free(s);
	end(&r);
}

TEST(a_full_ring_opens)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct ring r = { 0 };
	uint64_t mark = 1;

	open_ring(&r);
	while (put(&r, mark, 3000, NULL) == ERR_OK)
		mark++;
	for (int i = 0; i < 200; i++)
		reopen(&r);
	EXPECT(str_starts(replay(&r, &a), STR("1 2 3 ")));
	EXPECT_ERR(put(&r, mark, 3000, NULL), ERR_AGAIN);
	EXPECT_OK(put_w(&r, log_last_seq(r.l)));
	EXPECT_OK(put(&r, mark, 3000, NULL));
	end(&r);
}

/* A batch of three, of which only the first bytes reached the disk: what is found is a prefix, and appending goes on
 * after it. */
TEST(a_torn_tail_at_every_byte)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct log_entry e[3];
	struct ring r = { 0 };
	struct str whole;
	size_t found = 0;

	open_ring(&r);
	EXPECT_OK(put(&r, 1, 50, NULL));
	put_three(&r, 60, &a, e);
	close_ring(&r);
	whole = image(&r, 0, &a);
	listen_to_log(&r);
	uint32_t start = e[0].place.offset - LOG_RECORD_HEADER, stop = e[2].place.offset + 60;
	for (uint32_t cut = start; cut <= stop; cut++) {
		static const char *const want[] = { "1", "1 2", "1 2 3", "1 2 3 4" };
		static const char *const want_more[] = { "1 9", "1 2 9", "1 2 3 9", "1 2 3 4 9" };
		while (found < 3 && cut >= e[found].place.offset + 60)
			found++;
		overwrite(&r, 0, 0, whole);
		zero(&r, 0, cut, stop - cut + 8);
		open_ring(&r);
		expect_replay(&r, want[found]);
		EXPECT_OK(put(&r, 9, 60, NULL));
		reopen(&r);
		expect_replay(&r, want_more[found]);
		close_ring(&r);
		EXPECT(!was_said(&r, "damaged"));
	}
	EXPECT_INT(found, 3);
	open_ring(&r);
	end(&r);
}

/* A batch {a, b, c}, of which only c reached the disk. After the restart stands LOG_OPEN where a was, and a message
 * just as long as what is left up to c: c has the right place and the right seq, and is not taken. */
TEST(a_leftover_with_a_plausible_seq)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct log_entry e[3];
	struct log_place place;
	struct ring r = { 0 };

	open_ring(&r);
	EXPECT_OK(put(&r, 1, 48, NULL));
	put_three(&r, 64, &a, e);
	close_ring(&r);
	zero(&r, 0, e[0].place.offset - LOG_RECORD_HEADER, 2 * (LOG_RECORD_HEADER + 64));
	listen_to_log(&r);
	open_ring(&r);
	expect_replay(&r, "1");
	EXPECT_OK(put(&r, 9, 128, &place));
	EXPECT_INT(place.offset + 128, e[2].place.offset - LOG_RECORD_HEADER);
	EXPECT_INT(place.seq + 1, e[2].place.seq);
	reopen(&r);
	expect_replay(&r, "1 9");
	EXPECT(!was_said(&r, "damaged"));
	end(&r);
}

/* Two segments of messages, the second begun; a byte of one in the middle is wrong. */
TEST(damage_is_reported_and_the_rest_is_used)
{
	static const struct { uint32_t segment, at, n; const char *what; } cases[] = {
		{ 0, 0, 0,                       NULL },
		{ 0, LOG_RECORD_HEADER * 4, 1,   "records are missing" },
		{ 0, 20000, 1,                   "records are missing" },
		{ 0, 20000, 30000,               "records are missing" },
		{ 0, SEGMENT - 9000, 9000,       "records are missing" },    /* the end of a segment */
		{ 0, 10, 1,                      "header of a segment is missing" },
		{ 1, 10, 1,                      "header of a segment is missing" },
		{ 1, 0, 20000,                   "records are missing" },
		{ 2, 10, 1,                      "header of a segment is missing" },  /* the newest */
		{ 2, 9000, 100,                  "records are missing" },    /* acknowledged ones stand behind it */
	};
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str whole[SEGMENTS];
	struct ring r = { 0 };
	struct log_place places[100];
	struct seen *s = arena_alloc(&a, sizeof(*s));
	size_t n = 0;

	open_ring(&r);
	for (; n < 40; n++)
		EXPECT_OK(put(&r, n, 4000, &places[n]));
	EXPECT_INT(places[n - 1].segment, 2);
	close_ring(&r);
	for (uint32_t i = 0; i < SEGMENTS; i++)
		whole[i] = image(&r, i, &a);
	listen_to_log(&r);
	EACH(cases, c) {
		size_t hit = 0;
		for (uint32_t i = 0; i < SEGMENTS; i++)
			overwrite(&r, i, 0, whole[i]);
		char *junk = mem_alloc(c->n + 1);
		for (size_t i = 0; i < c->n; i++)
			junk[i] = (char)(whole[c->segment].p[c->at + i] ^ 0x55);
		overwrite(&r, c->segment, c->at, str_make(junk, c->n));
		mem_free(junk);
		for (size_t i = 0; i < n; i++)
			hit += c->n > 0 && places[i].segment == c->segment && places[i].offset - LOG_RECORD_HEADER < c->at + c->n &&
			       places[i].offset + 4000 > c->at;
		for (int again = 0; again < 2; again++) {  /* also when it was opened and written once more */
			open_ring(&r);
			EXPECT_INT(was_said(&r, c->what ? c->what : "damaged"), c->what != NULL);
			s->n = 0;
			EXPECT_OK(log_replay(r.l, LOG_MESSAGE, see, s));
			EXPECT_INT(s->n, n - hit + (size_t)again);
			EXPECT_OK(put(&r, 99, 100, NULL));
			close_ring(&r);
		}
	}
	open_ring(&r);
	end(&r);
}

TEST(a_seq_is_never_given_twice_even_after_damage)
{
	struct ring r = { 0 };
	struct log_place place;

	open_ring(&r);
	for (uint64_t i = 0; i < 20; i++)
		EXPECT_OK(put(&r, i, 4000, &place));
	close_ring(&r);
	EXPECT_INT(place.segment, 1);
	overwrite(&r, 1, 0, STR("x"));
	zero(&r, 1, 1, SEGMENT - 1);  /* nothing in the newest segment can be read */
	listen_to_log(&r);
	for (int again = 0; again < 2; again++) {
		open_ring(&r);
		EXPECT(was_said(&r, "damaged"));
		EXPECT(log_last_seq(r.l) > place.seq);
		EXPECT_OK(put(&r, 50, 4000, &place));
		close_ring(&r);
	}
	open_ring(&r);
	end(&r);
}

TEST(what_is_no_ring_is_left_alone)
{
	const struct log_config config = { SEGMENTS, SEGMENT };
	CLEANUP(arena_free) struct arena a = { 0 };
	struct ring r = { 0 };
	struct str ring;

	open_ring(&r);
	EXPECT_OK(put(&r, 1, 100, NULL));
	log_close(&r.l);
	EXPECT_OK(disk_read_file(r.dir, "ring", 1000, &a, &ring));
	listen_to_log(&r);
	for (size_t i = 0; i < ring.n; i++) {
		struct str bad = str_copy(&a, ring);
		((char *)(uintptr_t)bad.p)[i] ^= 1;
		EXPECT_OK(disk_write_file(r.dir, "ring", bad));
		EXPECT_ERR(log_open(r.dir, &config, &r.l), ERR_CORRUPT);
	}
	EXPECT_OK(disk_remove(r.dir, "ring"));
	EXPECT_ERR(log_open(r.dir, &config, &r.l), ERR_CORRUPT);  /* there is mail in it */
	EXPECT(was_said(&r, "ring of the queue's log is missing"));
	EXPECT_OK(disk_write_file(r.dir, "ring", ring));
	EXPECT_OK(log_open(r.dir, &config, &r.l));
	expect_replay(&r, "1");
	log_close(&r.l);
	overwrite(&r, 0, 8, STR("x"));  /* the only header */
	EXPECT_ERR(log_open(r.dir, &config, &r.l), ERR_CORRUPT);
	EXPECT(was_said(&r, "no segment has a valid header"));
	overwrite(&r, 0, 8, str_make("\1", 1));
	EXPECT_OK(log_open(r.dir, &config, &r.l));
	log_close(&r.l);
	EXPECT_OK(disk_write_file(r.dir, "02", STR("short")));
	EXPECT_ERR(log_open(r.dir, &config, &r.l), ERR_CORRUPT);
	disk_dir_close(&r.dir);
	log_to_fd(2);
	close(r.said);
	test_dir_remove(r.path);
}

TEST(sizes_that_a_setting_may_have)
{
	static const struct { struct log_config config; uint32_t record_max; } cases[] = {
		{ { 1, 1 }, LOG_SEGMENT_BYTES_MIN / 4 - LOG_RECORD_HEADER },
		{ { 5, 100000 }, 99840 / 4 - LOG_RECORD_HEADER },  /* whole sectors */
	};
	EACH(cases, c) {
		const char *path = test_dir();
		struct disk_dir *dir;
		struct log *l;
		EXPECT_OK(disk_dir_open(path, &dir));
		EXPECT_OK(log_open(dir, &c->config, &l));
		EXPECT_INT(log_record_max(l), c->record_max);
		log_close(&l);
		EXPECT_OK(log_open(dir, &c->config, &l));
		log_close(&l);
		disk_dir_close(&dir);
		test_dir_remove(path);
	}
}

#ifdef FACTEUR_FAULT
static void set_fault(struct ring *r, struct str lines)
{
	static char path[500];

	snprintf(path, sizeof(path), "%s.fault", r->path);
	CLEANUP(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	EXPECT(write(fd, lines.p, lines.n) == (ssize_t)lines.n);
	setenv("FACTEUR_DISK_FAULT", path, 1);
	disk_fault_start();
}

static void clear_fault(struct ring *r)
{
	char path[500];

	snprintf(path, sizeof(path), "%s.fault", r->path);
	unsetenv("FACTEUR_DISK_FAULT");
	disk_fault_start();
	close(DISK_FAULT_CONTROL_FD);
	unlink(path);
}
#endif

/* After a failed sync nothing is acknowledged, however well the disk works again, until the log is opened anew. */
TEST(a_failed_sync)
{
#ifdef FACTEUR_FAULT
	static const struct str faults[] = { { "sync 0 eio-once 1\n", 18 }, { "write 0 eio-once 1\n", 19 },
		{ "write 0 enospc-once 1\n", 22 } };
	CLEANUP(arena_free) struct arena a = { 0 };

	EACH(faults, f) {
		struct ring r = { 0 };
		open_ring(&r);
		listen_to_log(&r);
		EXPECT_OK(put(&r, 1, 100, NULL));
		set_fault(&r, *f);
		EXPECT_ERR(put(&r, 2, 100, NULL), ERR_IO);
		EXPECT(log_has_failed(r.l));
		EXPECT(was_said(&r, "no mail is accepted"));
		EXPECT_ERR(put(&r, 3, 100, NULL), ERR_IO);
		EXPECT_ERR(put_w(&r, 1), ERR_IO);
		clear_fault(&r);
		EXPECT_ERR(put(&r, 4, 100, NULL), ERR_IO);
		reopen(&r);
		EXPECT(!log_has_failed(r.l));
		EXPECT(str_starts(replay(&r, &a), STR("1")));  /* 2 may be there: nobody was told that it is not */
		EXPECT_OK(put(&r, 5, 100, NULL));
		reopen(&r);
		EXPECT(str_ends(replay(&r, &a), STR(" 5")));
		end(&r);
	}
#endif
}

TEST(one_write_and_one_sync_for_a_batch)
{
#ifdef FACTEUR_FAULT
	enum { N = 100 };
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf payload = BUF(1000);
	struct log_entry e[N], *entries[N];
	struct ring r = { 0 };
	struct str trace;
	size_t ops[DISK_OP_COUNT] = { 0 };
	char path[500];

	open_ring(&r);
	text_of(1, 300, &payload);
	for (int i = 0; i < N; i++) {
		e[i] = (struct log_entry){ .kind = LOG_MESSAGE, .head = buf_str(&payload) };
		entries[i] = &e[i];
	}
	snprintf(path, sizeof(path), "%s/trace", r.path);
	setenv("FACTEUR_DISK_TRACE", path, 1);
	disk_fault_start();
	log_write(r.l, entries, N);
	unsetenv("FACTEUR_DISK_TRACE");
	disk_fault_start();
	close(DISK_FAULT_TRACE_FD);
	EXPECT_OK(disk_read_file(r.dir, "trace", 1 << 20, &a, &trace));
	for (struct scan s = scan_of(trace); scan_left(&s) > 0;) {
		struct scan record = s;
		scan_need_str(&record, STR("FDT1"));
		uint32_t length = get_u32(&record);
		get_u32(&record);
		ops[get_u8(&record) % DISK_OP_COUNT]++;
		scan_bytes(&s, length);
	}
	EXPECT_INT(ops[DISK_OP_WRITE], 1);
	EXPECT_INT(ops[DISK_OP_SYNC], 1);
	EXPECT_INT(ops[DISK_OP_DONE], 2);
	end(&r);
#endif
}
