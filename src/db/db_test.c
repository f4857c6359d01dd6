#include "base/test.h"
#include "base/bytes.h"
#include "db/db_private.h"
#include "base/mem.h"
#include "disk/powercut_test.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct db_step steps[] = {
	{ 1, "CREATE TABLE note(note_id INTEGER PRIMARY KEY, text TEXT UNIQUE, bytes BLOB);" },
	{ 2, "CREATE TABLE more(x INTEGER); CREATE INDEX more_x ON more(x);" },
};
static const struct db_options normal = { .durability = DB_NORMAL }, full = { .durability = DB_FULL };

static enum err add(struct db *db, struct str text, struct str bytes)
{
	static const char sql[] = "INSERT INTO note(text, bytes) VALUES(?1, ?2)";
	CLEANUP(stmt_release) struct stmt *q = db_query(db, sql);

	stmt_bind_text(q, 1, text);
	stmt_bind_blob(q, 2, bytes);
	return stmt_done(q);
}

static int64_t count(struct db *db)
{
	static const char sql[] = "SELECT count(*) FROM note";
	CLEANUP(stmt_release) struct stmt *q = db_query(db, sql);

	return stmt_row(q) ? stmt_int64(q, 0) : -1;
}

/* Each row asks the same statement again inside its own loop. */
static int64_t count_pairs(struct db *db, int depth)
{
	static const char sql[] = "SELECT note_id FROM note";
	CLEANUP(stmt_release) struct stmt *q = db_query(db, sql);
	int64_t n = 0;

	while (stmt_row(q))
		n += depth ? count_pairs(db, depth - 1) : 1;
	return n;
}

TEST(statements_and_transactions)
{
	static const char find[] = "SELECT text, bytes, NULL, note_id FROM note WHERE text = ?1", bad[] = "SELECT nothing FROM nowhere";
	const char *path = test_dir();
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
	struct db *db = NULL, *second = NULL;

	EXPECT_OK(disk_dir_open(path, &dir));
	EXPECT_OK(db_open(dir, "a.db", &normal, &db));
	EXPECT_ERR(db_open(dir, "a.db", &normal, &second), ERR_AGAIN);
	EXPECT_OK(db_migrate(db, "note", steps, 1));
	EXPECT_OK(db_migrate(db, "note", steps, 2));
	EXPECT_OK(db_migrate(db, "note", steps, 2));
	EXPECT_ERR(db_migrate(db, "note", steps, 1), ERR_CONFLICT);
	EXPECT_OK(add(db, STR("one"), STR("\0\1\2")));
	EXPECT_OK(add(db, STR(""), STR_NONE));
	EXPECT_ERR(add(db, STR("one"), STR("x")), ERR_EXISTS);
	EXPECT_INT(count(db), 2);
	EXPECT_OK(db_begin(db));
	EXPECT(db_in_transaction(db));
	EXPECT_OK(add(db, STR("two"), STR("x")));
	db_rollback(db);
	db_rollback(db);
	EXPECT_INT(count(db), 2);
	{
		CLEANUP(db_rollback_if_open) struct db *tx = db;
		EXPECT_OK(db_begin(tx));
		EXPECT_OK(add(db, STR("three"), STR("x")));
	}
	EXPECT_INT(count(db), 2);
	EXPECT_OK(db_begin(db));
	EXPECT_OK(add(db, STR("three"), STR("x")));
	EXPECT_INT(db_changes(db), 1);
	EXPECT_OK(db_commit(db));
	EXPECT_INT(count_pairs(db, 2), 27);
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(db, find);
		stmt_bind_text(q, 1, STR("one"));
		EXPECT(stmt_row(q));
		EXPECT_STR(stmt_str(q, 0), "one");
		EXPECT_INT(stmt_str(q, 1).n, 3);
		EXPECT(stmt_is_null(q, 2) && stmt_str(q, 2).p == NULL);
		EXPECT(!stmt_row(q) && !stmt_row(q));
		EXPECT_ERR(stmt_err(q, ERR_NOTFOUND), ERR_NOTFOUND);
		EXPECT_OK(stmt_end(q));
		stmt_reset(q);
		stmt_bind_text(q, 1, STR(""));
		EXPECT(stmt_row(q) && stmt_str(q, 0).p != NULL && stmt_str(q, 0).n == 0);
	}
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(db, bad);
		stmt_bind_text(q, 1, STR("one"));
		EXPECT(!stmt_row(q));
		EXPECT_ERR(stmt_err(q, ERR_NOTFOUND), ERR_IO);
		stmt_reset(q);
		EXPECT_ERR(stmt_done(q), ERR_IO);
	}
	EXPECT(db_wal_pages(db) > 0);
	EXPECT_OK(db_sync_wal(db));
	EXPECT_OK(db_checkpoint(db));
	EXPECT_INT(db_wal_pages(db), 0);
	EXPECT_OK(add(db, STR("after the checkpoint"), STR("x")));
	EXPECT_INT(db_wal_pages(db) < 5, 1);
	db_close(&db);
	db_close(&db);
	EXPECT_OK(db_open(dir, "a.db", &full, &db));
	EXPECT_INT(count(db), 4);
	EXPECT_OK(add(db, STR("synced"), STR("x")));
	db_close(&db);
	EXPECT_OK(disk_write_file(dir, "junk.db", STR("this is not a database, but it is long enough to be looked at, is it not? "
	                                              "One hundred bytes at least are needed for that.")));
	EXPECT_ERR(db_open(dir, "junk.db", &normal, &db), ERR_CORRUPT);
	test_dir_remove(path);
}

/* A process that dies without a word loses nothing that was committed (the page cache stays); the lock goes with it. */
static uint64_t size_of(struct disk_dir *dir, const char *name)
{
	CLEANUP(disk_close) struct disk_file *f = NULL;
	uint64_t size = 0;

	EXPECT_OK(disk_open(dir, name, DISK_READ, &f));
	EXPECT_OK(disk_size(f, &size));
	return size;
}

/* Lives that each add a little: what the next one has to read of the log never becomes much, also when one of them was checkpointed. */
/* The library would plan anew for each value that is bound where a partial index could fit that value. */
TEST(a_query_is_planned_once)
{
	static const struct db_step partial[] = { { 1, "CREATE TABLE due(account INTEGER, at INTEGER); CREATE INDEX due_at ON due(at) WHERE account = 0;" } };
	static const char sql[] = "SELECT at FROM due WHERE account = ?1 ORDER BY at";
	const char *path = test_dir();
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
	struct db *db = NULL;

	EXPECT_OK(disk_dir_open(path, &dir));
	EXPECT_OK(db_open(dir, "a.db", &normal, &db));
	EXPECT_OK(db_migrate(db, "due", partial, 1));
	for (int64_t i = 0; i < 5; i++) {
		CLEANUP(stmt_release) struct stmt *q = db_query(db, sql);
		stmt_bind_int64(q, 1, i);
		EXPECT(!stmt_row(q));
		EXPECT_INT(sqlite3_stmt_status(q->prepared, SQLITE_STMTSTATUS_REPREPARE, 0), 0);
	}
	db_close(&db);
	test_dir_remove(path);
}

TEST(the_log_stays_short_over_many_lives)
{
	enum { LIVES = 60, MOST = 20, FRAME = 4096 + 24 };
	const char *path = test_dir();
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
	struct db *db = NULL;

	EXPECT_OK(disk_dir_open(path, &dir));
	for (int i = 0; i < LIVES; i++) {
		char text[20];
		snprintf(text, sizeof text, "life %d", i);
		EXPECT_OK(db_open(dir, "a.db", &normal, &db));
		EXPECT_OK(db_migrate(db, "note", steps, 2));
		EXPECT_INT(count(db), i);
		EXPECT_OK(add(db, str_of(text), STR("x")));
		if (i % 7 == 0)
			EXPECT_OK(db_checkpoint(db));
		EXPECT_OK(db_empty_wal(db, MOST));
		db_close(&db);
		EXPECT(size_of(dir, "a.db-wal") <= (MOST + 1) * FRAME);
	}
	test_dir_remove(path);
}

static void copy_image(struct disk_dir *dir, struct str image)
{
	struct db *db = NULL;

	EXPECT_OK(db_create(dir, "a.db", image));
	EXPECT_OK(db_open(dir, "a.db", &normal, &db));
	EXPECT_OK(db_migrate(db, "note", steps, 2));
	EXPECT_OK(add(db, STR("one"), STR("x")));
	EXPECT_OK(db_sync_wal(db));
	db_close(&db);
}

TEST(a_copy_of_an_image)
{
	const char *path = test_dir();
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
	struct str image = STR_NONE;
	struct db *db = NULL;

	EXPECT_OK(disk_dir_open(path, &dir));
	EXPECT_OK(db_image_make("note", steps, 2, &image));
	copy_image(dir, image);
	EXPECT_OK(db_create(dir, "a.db", image));  /* what is there stays */
	EXPECT_OK(db_open(dir, "a.db", &normal, &db));
	EXPECT_INT(count(db), 1);
	EXPECT_OK(db_checkpoint(db));
	EXPECT_OK(add(db, STR("two"), STR("x")));
	db_close(&db);
	EXPECT_OK(disk_remove(dir, "a.db"));  /* the log of a file that is gone is none of the next one */
	EXPECT_OK(db_create(dir, "a.db", image));
	EXPECT(!disk_exists(dir, "a.db"));
	EXPECT_OK(db_open(dir, "a.db", &normal, &db));
	EXPECT_OK(db_migrate(db, "note", steps, 2));
	EXPECT_INT(count(db), 0);
	db_close(&db);
	mem_free((char *)(uintptr_t)image.p);
	test_dir_remove(path);
}

/* ---- connections that are inherited */

static const char some[] = "SELECT count(*) FROM note WHERE note_id > 0";

static struct db *inherited(void)
{
	struct str image = STR_NONE;
	struct db *db = NULL;

	EXPECT_OK(db_image_make("note", steps, 2, &image));
	EXPECT_OK(db_open_image(image, "a.db", &normal, &db));
	mem_free((char *)(uintptr_t)image.p);
	db_prepare(db, some);
	return db;
}

static int64_t some_of(struct db *db)
{
	CLEANUP(stmt_release) struct stmt *q = db_query(db, some);

	return stmt_row(q) ? stmt_int64(q, 0) : -1;
}

static bool is_whole(struct db *db)
{
	static const char sql[] = "PRAGMA integrity_check";
	CLEANUP(stmt_release) struct stmt *q = db_query(db, sql);

	return stmt_row(q) && str_eq(stmt_str(q, 0), STR("ok"));
}

/* Whatever file it gets: what is there is found, and what is added is found by who opens it without anything inherited. */
static void adopt_and_add(const char *path, int64_t before)
{
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
	struct db *db = inherited();

	EXPECT_OK(disk_dir_open(path, &dir));
	EXPECT_OK(db_adopt(db, dir));
	EXPECT_OK(db_migrate(db, "note", steps, 2));
	EXPECT_INT(count(db), before);
	EXPECT_INT(some_of(db), before);
	EXPECT_OK(add(db, STR("more"), STR("x")));
	EXPECT(disk_exists(dir, "a.db-wal"));
	EXPECT_OK(db_sync_wal(db));
	EXPECT_INT(some_of(db), before + 1);
	EXPECT(is_whole(db));
	db_close(&db);
	EXPECT_OK(db_open(dir, "a.db", &normal, &db));
	EXPECT_INT(count(db), before + 1);
	EXPECT(is_whole(db));
	db_close(&db);
}

static void put_notes(const char *path, const struct db_step *made_by, int n, bool checkpoint)
{
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
	struct db *db = NULL;
	char text[20];

	EXPECT_OK(disk_dir_open(path, &dir));
	EXPECT_OK(db_open(dir, "a.db", &normal, &db));
	EXPECT_OK(db_migrate(db, "note", made_by, 2));
	for (int i = 0; i < n; i++) {
		snprintf(text, sizeof text, "note %d", i);
		EXPECT_OK(add(db, str_of(text), STR("x")));
	}
	if (checkpoint)
		EXPECT_OK(db_checkpoint(db));
	db_close(&db);
}

/* Somebody has had the library make the file anew, with his own idea of how a file should be. */
TEST(an_inherited_connection_to_a_file_that_was_made_otherwise)
{
	static const char *const ideas[] = { "page_size=512", "page_size=8192", "page_size=65536", "auto_vacuum=1", "auto_vacuum=2", "application_id=7" };

	EACH(ideas, idea) {
		const char *path = test_dir();
		char sql[200], file[600];
		sqlite3 *raw = NULL;
		put_notes(path, steps, 50, true);
		snprintf(file, sizeof file, "%s/a.db", path);
		snprintf(sql, sizeof sql, "PRAGMA journal_mode=DELETE; PRAGMA %s; VACUUM", *idea);
		EXPECT(sqlite3_open(file, &raw) == SQLITE_OK);
		EXPECT(sqlite3_exec(raw, sql, NULL, NULL, NULL) == SQLITE_OK);
		sqlite3_close(raw);
		adopt_and_add(path, 50);
		test_dir_remove(path);
	}
}

TEST(an_inherited_connection)
{
	/* as many changes of the tables as steps[] has, and each table on another page */
	static const struct db_step other_way[] = {
		{ 1, "CREATE TABLE more(x INTEGER); CREATE INDEX more_x ON more(x);" },
		{ 2, "CREATE TABLE note(note_id INTEGER PRIMARY KEY, text TEXT UNIQUE, bytes BLOB);" },
	};
	static const struct db_step one_less[] = { { 1, "CREATE TABLE more(x INTEGER); CREATE INDEX more_x ON more(x);" }, { 2, "" } };
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
	const char *path = test_dir();
	struct str image = STR_NONE;
	struct db *db = NULL, *second = inherited();

	EXPECT_OK(disk_dir_open(path, &dir));
	EXPECT_OK(db_image_make("note", steps, 2, &image));
	EXPECT_OK(db_create(dir, "a.db", image));
	mem_free((char *)(uintptr_t)image.p);
	adopt_and_add(path, 0);
	EXPECT_OK(db_open(dir, "a.db", &normal, &db));
	EXPECT_ERR(db_adopt(second, dir), ERR_AGAIN);
	db_close(&second);
	db_close(&db);
	test_dir_remove(path);

	path = test_dir();
	adopt_and_add(path, 0);   /* no file */
	test_dir_remove(path);

	const struct db_step *const ways[] = { steps, other_way };
	for (size_t i = 0; i < 2 * COUNT_OF(ways); i++) {
		path = test_dir();
		put_notes(path, ways[i / 2], 50, i % 2);
		adopt_and_add(path, 50);
		test_dir_remove(path);
	}

	path = test_dir();
	disk_dir_close(&dir);
	EXPECT_OK(disk_dir_open(path, &dir));
	EXPECT_OK(disk_write_file(dir, "a.db", STR("this is no database, and it is longer than the header of one, which has a hundred bytes: so it is read as what it is")));
	second = inherited();
	EXPECT_ERR(db_adopt(second, dir), ERR_CORRUPT);
	db_close(&second);
	test_dir_remove(path);

	path = test_dir();
	put_notes(path, one_less, 0, true);
	second = inherited();
	disk_dir_close(&dir);
	EXPECT_OK(disk_dir_open(path, &dir));
	EXPECT_OK(db_adopt(second, dir));
	EXPECT_INT(some_of(second), -1);  /* the table that is not there is not believed in */
	db_close(&second);
	test_dir_remove(path);
}

/* The power goes while it is made: then it is not there, or whole, and what was confirmed is in it. */
TEST(a_copy_of_an_image_and_a_power_cut)
{
#ifdef FACTEUR_FAULT
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
	const char *path = test_dir();
	const char *trace_path = powercut_start(&a, path);
	struct str image = STR_NONE;

	EXPECT_OK(disk_dir_open(path, &dir));
	EXPECT_OK(db_image_make("note", steps, 2, &image));
	copy_image(dir, image);
	struct str trace = powercut_stop(&a, trace_path);
	for (unsigned seed = 0; seed < 120; seed++) {
		CLEANUP(disk_dir_close) struct disk_dir *cut = NULL;
		char *after = mem_strdup(str_cstr(&a, arena_printf(&a, "%s.cut", path)));
		size_t upto = seed < 20 ? trace.n : trace.n * (seed - 20) / 100;
		struct db *db = NULL;
		powercut_rebuild(trace, upto, path, after, seed);
		EXPECT_OK(disk_dir_open(after, &cut));
		EXPECT_OK(db_create(cut, "a.db", image));
		EXPECT_OK(db_open(cut, "a.db", &normal, &db));
		EXPECT_OK(db_migrate(db, "note", steps, 2));
		EXPECT(count(db) == 1 || (count(db) == 0 && upto < trace.n));
		db_close(&db);
		test_dir_remove(after);
	}
	mem_free((char *)(uintptr_t)image.p);
	test_dir_remove(path);
#endif
}

TEST(killed_in_the_middle)
{
	const char *path = test_dir();
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
	struct db *db = NULL;
	int status;

	EXPECT_OK(disk_dir_open(path, &dir));
	pid_t child = fork();
	if (child == 0) {
		if (db_open(dir, "a.db", &normal, &db) == ERR_OK && db_migrate(db, "note", steps, 2) == ERR_OK &&
		    add(db, STR("committed"), STR("x")) == ERR_OK && db_begin(db) == ERR_OK && add(db, STR("open"), STR("x")) == ERR_OK)
			_exit(7);
		_exit(1);
	}
	EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
	EXPECT_OK(db_open(dir, "a.db", &normal, &db));
	EXPECT_INT(count(db), 1);
	EXPECT(db_wal_pages(db) > 0);
	db_close(&db);
	test_dir_remove(path);
}

#ifdef FACTEUR_FAULT
/* A process that ends at its first sync of the write-ahead log. */
static void begin_and_die(struct disk_dir *dir, const char *rules)
{
	struct db *db = NULL;
	FILE *f = fopen(rules, "w");

	if (f == NULL || fputs("sync a.db-wal eio 1\n", f) < 0 || fclose(f) != 0)
		_exit(1);
	setenv("FACTEUR_DISK_FAULT", rules, 1);
	disk_fault_start();
	_exit(db_open(dir, "a.db", &normal, &db) == ERR_OK && db_migrate(db, "note", steps, 2) == ERR_IO ? 7 : 1);
}
#endif

/* Killed before its first sync, then another process confirms what it finds and adds to it, then the power goes. */
TEST(names_of_a_killed_process)
{
#ifdef FACTEUR_FAULT
	static const struct db_options *const cases[] = { &normal, &full };

	EACH(cases, options) {
		CLEANUP(arena_free) struct arena a = { 0 };
		CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
		const char *path = test_dir();
		const char *trace_path = powercut_start(&a, path);
		struct db *db = NULL;
		int status;
		EXPECT_OK(disk_dir_open(path, &dir));
		pid_t child = fork();
		if (child == 0)
			begin_and_die(dir, str_cstr(&a, arena_printf(&a, "%s.rules", path)));
		EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
		unlink(str_cstr(&a, arena_printf(&a, "%s.rules", path)));
		struct db_options next = **options;
		next.settles = true;
		EXPECT_OK(db_open(dir, "a.db", &next, &db));
		EXPECT_OK(db_migrate(db, "note", steps, 2));
		EXPECT_OK(add(db, STR("confirmed"), STR("x")));
		EXPECT_OK(db_sync_wal(db));
		db_close(&db);
		struct str trace = powercut_stop(&a, trace_path);
		for (unsigned seed = 0; seed < 30; seed++) {
			CLEANUP(disk_dir_close) struct disk_dir *cut = NULL;
			char *after = mem_strdup(str_cstr(&a, arena_printf(&a, "%s.cut", path)));
			powercut_rebuild(trace, trace.n, path, after, seed);
			EXPECT_OK(disk_dir_open(after, &cut));
			EXPECT_OK(db_open(cut, "a.db", &normal, &db));
			EXPECT_INT(count(db), 1);
			db_close(&db);
			test_dir_remove(after);
		}
		test_dir_remove(path);
	}
#endif
}

/* Calls of write(2) and its like so far, by the kernel's own count. */
static uint64_t writes(void)
{
	char text[512] = "";
	uint64_t n = 0;
	int fd = open("/proc/self/io", O_RDONLY | O_CLOEXEC);
	struct str line = STR_NONE, rest;

	EXPECT(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	rest = str_of(text);
	while (str_cut(rest, '\n', &line, &rest) || line.n > 0) {
		if (str_starts(line, STR("syscw: ")))
			EXPECT(str_to_u64(str_from(line, 7), &n));
		line = STR_NONE;
	}
	return n;
}

static void add_many(struct db *db, int first, int n, size_t size)
{
	char *bytes = calloc(1, size), text[32];

	EXPECT_OK(db_begin(db));
	for (int i = first; i < first + n; i++) {
		snprintf(text, sizeof(text), "note %d", i);
		EXPECT_OK(add(db, str_of(text), str_make(bytes, size)));
	}
	EXPECT_OK(db_commit(db));
	free(bytes);
}

/* A commit is one write as long as its pages fit; one larger than the page cache is read back while it is open. Whatever came
 * to the file in pieces, it is there when somebody else reads it. */
TEST(commits_in_few_writes)
{
	static const struct { int n; size_t size; uint64_t writes_most; } cases[] = {
		{ 1, 10, 1 },
		{ 3, 100, 1 },
		{ 10, 3000, 2 },
		{ 40, 3000, 5 },
		{ 400, 4000, 4000 },  /* more than the page cache: pages are written before the commit, as they come */
		{ 1, 10, 1 },
	};
	const char *path = test_dir();
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
	struct db *db = NULL;
	int n = 0;

	EXPECT_OK(disk_dir_open(path, &dir));
	EXPECT_OK(db_open(dir, "a.db", &normal, &db));
	EXPECT_OK(db_migrate(db, "note", steps, 2));
	EACH(cases, c) {
		uint64_t before = writes();
		add_many(db, n, c->n, c->size);
		n += c->n;
		EXPECT_INT(count(db), n);
		EXPECT(writes() - before <= c->writes_most);
	}
	db_close(&db);  /* without a checkpoint: all is in the write-ahead log */
	EXPECT_OK(db_open(dir, "a.db", &normal, &db));
	EXPECT_INT(count(db), n);
	db_close(&db);
	test_dir_remove(path);
}

#ifdef FACTEUR_FAULT
static void disk_rule(const char *path, const char *rule)
{
	FILE *f = fopen(path, "w");

	EXPECT(f != NULL && fputs(rule, f) >= 0 && fclose(f) == 0);
}
#endif

/* The disk is full when a commit is written: that commit fails, nothing of it is seen, and what comes later is as if it had never been. */
TEST(disk_full_at_a_commit)
{
#ifdef FACTEUR_FAULT
	static const int sizes[] = { 1, 20, 400 };  /* rows: one write, several, more than the page cache */
	const char *path = test_dir();
	char rules[600];
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
	struct db *db = NULL;

	snprintf(rules, sizeof(rules), "%s/rules", path);
	disk_rule(rules, "");
	EXPECT_OK(disk_dir_open(path, &dir));
	EXPECT_OK(db_open(dir, "a.db", &normal, &db));
	EXPECT_OK(db_migrate(db, "note", steps, 2));
	EXPECT_OK(add(db, STR("before"), STR("x")));
	setenv("FACTEUR_DISK_FAULT", rules, 1);
	disk_fault_start();
	EACH(sizes, n) {
		char bytes[3000] = "", text[32];
		enum err e;
		disk_rule(rules, "write a.db-wal enospc 1\n");
		e = db_begin(db);
		for (int i = 0; e == ERR_OK && i < *n; i++) {
			snprintf(text, sizeof(text), "lost %d", i);
			e = add(db, str_of(text), str_make(bytes, sizeof(bytes)));
		}
		if (e == ERR_OK)
			e = db_commit(db);
		EXPECT_ERR(e, ERR_FULL);
		db_rollback(db);
		disk_rule(rules, "");
		EXPECT_INT(count(db), 1 + (n - sizes));
		snprintf(text, sizeof(text), "after %d", *n);
		EXPECT_OK(add(db, str_of(text), STR("x")));
		EXPECT_OK(db_sync_wal(db));
	}
	unsetenv("FACTEUR_DISK_FAULT");
	disk_fault_start();
	db_close(&db);
	EXPECT_OK(db_open(dir, "a.db", &normal, &db));
	EXPECT_INT(count(db), 1 + COUNT_OF(sizes));
	db_close(&db);
	test_dir_remove(path);
#endif
}
