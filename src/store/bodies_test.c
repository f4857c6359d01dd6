/* What is durable of bodies when one process was killed, another took over, and then the power went. */
#include "base/log.h"
#include "base/mem.h"
#include "disk/fault_test.h"
#include "disk/powercut_test.h"
#include "store/bodies.h"

static void append(struct bodies *b, uint32_t email, struct place *out)
{
	struct str text = STR("a short message, on the disk only after a sync");

	EXPECT_OK(bodies_append(b, email, &text, 1, out));
}

static void expect_whole(struct bodies *b, const struct place *place, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		bool is_whole;
		EXPECT_OK(bodies_check(b, &place[i], i, &is_whole));
		EXPECT(is_whole);
	}
}

/* Where each record is synced, the file is longer than they are; the next process goes on where they end. */
TEST(zeros_are_written_ahead)
{
	enum { LIVES = 3, EACH = 40 };
	struct place place[LIVES * EACH];
	const char *folder = test_dir();
	uint32_t n = 0;
	uint64_t size;

	for (int life = 0; life < LIVES; life++) {
		CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
		CLEANUP(bodies_close) struct bodies *b = NULL;
		EXPECT_OK(disk_dir_open(folder, &dir));
		EXPECT_OK(bodies_open(dir, &b));
		for (int i = 0; i < EACH; i++, n++) {
			append(b, n, &place[n]);
			if (n > 0)
				EXPECT_INT(place[n].at, place[n - 1].at + RECORD_HEADER + place[n - 1].size);
			EXPECT_OK(bodies_sync(b));
		}
		EXPECT_OK(bodies_file_size(b, 1, &size));
		EXPECT(size > place[n - 1].at + RECORD_HEADER + place[n - 1].size);
		expect_whole(b, place, n);
	}
	test_dir_remove(folder);
}

/* Zeros before large records would be written for nothing: each of these is longer than what they are ahead. */
TEST(no_zeros_ahead_of_large_records)
{
	enum { LARGE = 70000 };
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
	CLEANUP(bodies_close) struct bodies *b = NULL;
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str text = str_make(memset(arena_alloc(&a, LARGE), 'x', LARGE), LARGE);
	const char *folder = test_dir();
	struct place place;
	uint64_t size;

	EXPECT_OK(disk_dir_open(folder, &dir));
	EXPECT_OK(bodies_open(dir, &b));
	for (uint32_t i = 0; i < 10; i++) {
		EXPECT_OK(bodies_append(b, i, &text, 1, &place));
		EXPECT_OK(bodies_sync(b));
	}
	EXPECT_OK(bodies_file_size(b, 1, &size));
	EXPECT_INT(size, 10 * (RECORD_HEADER + LARGE));
	test_dir_remove(folder);
}

/* What a damaged row says of a place is not believed. */
TEST(places_that_cannot_be)
{
	static const struct place cases[] = { { 1, 0, UINT64_MAX - 10 }, { 1, 0, UINT64_MAX - 23 }, { 1, 1, 1 << 20 }, { 1, 1 << 20, 10 }, { 1, 60, 20 }, { 2, 0, 10 } };
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
	CLEANUP(bodies_close) struct bodies *b = NULL;
	const char *folder = test_dir();
	struct place place, to;
	bool is_whole;

	EXPECT_OK(disk_dir_open(folder, &dir));
	EXPECT_OK(bodies_open(dir, &b));
	append(b, 7, &place);
	EACH(cases, c) {
		EXPECT_ERR(bodies_copy(b, c, 7, &to, &is_whole), ERR_CORRUPT);
		EXPECT_OK(bodies_check(b, c, 7, &is_whole));
		EXPECT(!is_whole);
	}
	EXPECT_OK(bodies_copy(b, &place, 7, &to, &is_whole));
	EXPECT(is_whole);
	test_dir_remove(folder);
}

#ifdef FACTEUR_FAULT
enum { RECORDS = 6 };

static void append_long(struct bodies *b, uint32_t email, struct place *out)
{
	struct body_writer *w;

	EXPECT_OK(body_writer_begin(b, &w));
	EXPECT_OK(body_writer_write(w, STR("a long one, in a file of its own")));
	EXPECT_OK(body_writer_commit(&w, email, out));
}
#endif

/* The file of short messages must not stay unsynced behind the newer file of a long one, where nobody looks for it. */
TEST(settled_by_the_next_process)
{
#ifdef FACTEUR_FAULT
	CLEANUP(arena_free) struct arena a = { 0 };
	struct place place[RECORDS];
	const char *folder = test_dir();
	const char *trace_path = powercut_start(&a, folder);

	for (unsigned life = 0; life < 2; life++) {
		CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
		CLEANUP(bodies_close) struct bodies *b = NULL;
		EXPECT_OK(disk_dir_open(folder, &dir));
		EXPECT_OK(bodies_open(dir, &b));
		EXPECT_OK(bodies_settle(b));
		if (life == 1)
			break;
		append(b, 0, &place[0]);
		append(b, 1, &place[1]);
		append_long(b, 2, &place[2]);
		append(b, 3, &place[3]);
		append_long(b, 4, &place[4]);
		append(b, 5, &place[5]);
	}
	struct str trace = powercut_stop(&a, trace_path);
	for (unsigned seed = 0; seed < 30; seed++) {
		CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
		CLEANUP(bodies_close) struct bodies *b = NULL;
		char *after = mem_strdup(str_cstr(&a, arena_printf(&a, "%s.cut", folder)));
		powercut_rebuild(trace, trace.n, folder, after, seed);
		EXPECT_OK(disk_dir_open(after, &dir));
		EXPECT_OK(bodies_open(dir, &b));
		expect_whole(b, place, RECORDS);
		test_dir_remove(after);
	}
	test_dir_remove(folder);
#endif
}

/* The disk is full where the next file is to begin: what is in the one before can still be synced, and followed. */
TEST(the_next_file_cannot_be_begun)
{
#ifdef FACTEUR_FAULT
	enum { MORE = 4 };
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
	CLEANUP(bodies_close) struct bodies *b = NULL;
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *folder = test_dir(), *control = test_dir(), *rules = str_cstr(&a, arena_printf(&a, "%s/rules", control));
	struct place place[MORE];
	struct body_writer *w;

	log_setup("test", LOG_LEVEL_ERROR + 1, false);
	EXPECT_OK(disk_dir_open(folder, &dir));
	EXPECT_OK(bodies_open(dir, &b));
	append(b, 0, &place[0]);
	EXPECT_OK(body_writer_begin(b, &w));
	EXPECT_OK(body_writer_write(w, STR("a long one, in a file of its own")));
	disk_shall(rules, "open bodies enospc 1\n");
	EXPECT_ERR(bodies_leave(b, 1), ERR_FULL);
	EXPECT_OK(bodies_sync(b));
	append(b, 1, &place[1]);
	EXPECT_INT(place[1].file, 1);
	EXPECT_INT(place[1].at, RECORD_HEADER + place[0].size);
	EXPECT_ERR(bodies_leave(b, 1), ERR_FULL);
	EXPECT_OK(bodies_sync(b));
	disk_shall(rules, "# nothing\n");
	EXPECT_OK(body_writer_commit(&w, 2, &place[2]));
	EXPECT_OK(bodies_leave(b, 1));
	append(b, 3, &place[3]);
	EXPECT_OK(bodies_sync(b));
	EXPECT(place[3].file == place[2].file);
	expect_whole(b, place, MORE);
	test_dir_remove(folder);
	test_dir_remove(control);
#endif
}

/* The file of a long message has its name, and the folder could not be synced. Short ones must not go on into the one before: the next process
 * takes the file with the highest number for the only one that is not synced. */
TEST(the_folder_of_a_long_one_cannot_be_synced)
{
#ifdef FACTEUR_FAULT
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
	CLEANUP(bodies_close) struct bodies *b = NULL;
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *folder = test_dir(), *control = test_dir(), *rules = str_cstr(&a, arena_printf(&a, "%s/rules", control));
	struct str text = STR("a short message");
	struct body_writer *w;
	struct place place;

	log_setup("test", LOG_LEVEL_ERROR + 1, false);
	EXPECT_OK(disk_dir_open(folder, &dir));
	EXPECT_OK(bodies_open(dir, &b));
	append(b, 0, &place);
	EXPECT_OK(bodies_sync(b));
	EXPECT_OK(body_writer_begin(b, &w));
	EXPECT_OK(body_writer_write(w, STR("a long one, in a file of its own")));
	disk_shall(rules, "dirsync bodies eio-once 1\n");
	EXPECT_ERR(body_writer_commit(&w, 1, &place), ERR_IO);
	EXPECT_ERR(bodies_append(b, 2, &text, 1, &place), ERR_IO);
	EXPECT(bodies_have_failed(b));
	disk_shall(rules, "# nothing\n");
	test_dir_remove(folder);
	test_dir_remove(control);
#endif
}
