/* Gists: what the message says, whether they are made, kept in memory, or read from disk. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/test.h"
#include "mime/summary.h"
#include "store/gist.h"
#include "store/messages_test.h"
#include "store/store_private.h"
#include "text/fold.h"

static const char reply_of_bob[] = "Subject: Re:  Hello\r\nFrom: Bob B <bob@x.test>\r\nDate: Sat, 1 Jan 2000 00:00:00 +0000\r\n"
                                   "Message-ID: <b@x.test>\r\nReferences: <r@x.test> <a@x.test>\r\n\r\nx\r\n";

static void expect_gist(const struct gist *g, const char *subject, const char *from, bool has_references)
{
	EXPECT_INT(g->size, sizeof reply_of_bob - 1);
	EXPECT_INT(g->received, 1700000000);
	EXPECT_INT(g->sent, 946684800);
	EXPECT(g->is_reply == (subject != NULL) && g->knows_references == has_references);
	EXPECT(g->id == (has_references ? summary_id_number(STR("b@x.test")) : 0));
	EXPECT_INT(g->n_references, has_references ? 2 : 0);
	if (has_references)
		EXPECT(g->references[0] == summary_id_number(STR("r@x.test")) && g->references[1] == summary_id_number(STR("a@x.test")));
	EXPECT_STR(g->texts[GIST_SUBJECT].n > 0 ? g->texts[GIST_SUBJECT] : STR_NONE, subject);
	EXPECT_STR(g->texts[GIST_DISPLAYFROM].n > 0 ? g->texts[GIST_DISPLAYFROM] : STR_NONE, from);
}

/* Made from the record or kept, in whatever order texts are asked for: the same. */
TEST(gists_are_what_the_message_says_also_when_they_are_kept)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	const uint32_t emails[] = { add(v, inbox_of(v), reply_of_bob, 0).email, add(v, inbox_of(v), "X: y\r\n\r\n", 0).email, 4711 };
	static const struct { unsigned wants; const char *subject, *from; bool has_references; size_t kept; } cases[] = {
		{ 0, NULL, NULL, false, 2 },  /* only numbers */
		{ GIST_SENT, NULL, NULL, false, 2 },
		{ GIST_TEXT(GIST_SUBJECT), "HELLO", NULL, false, 2 },
		{ GIST_REFERENCES, "HELLO", NULL, true, 2 },  /* what is known already is not lost */
		{ GIST_TEXT(GIST_DISPLAYFROM), "HELLO", "BOB B", true, 2 },
		{ GIST_TEXT(GIST_SUBJECT), "HELLO", "BOB B", true, 2 },
		{ GIST_SENT, "HELLO", "BOB B", true, 2 },
	};

	EACH(cases, c) {
		struct gist gists[3];
		EXPECT_OK(view_gists(v, emails, 3, c->wants, &a, gists));
		if (c->wants != 0)
			expect_gist(&gists[0], c->subject, c->from, c->has_references);
		EXPECT(gists[1].email == emails[1] && gists[1].sent == 1700000000 && gists[1].id == 0 && gists[1].texts[GIST_SUBJECT].n == 0);
		EXPECT_INT(gists[2].email, 0);
		EXPECT_INT(view_gists_kept(v), c->kept);
	}
	gists_tick(v, clock_mono_ms());
	EXPECT_INT(view_gists_kept(v), 2);
	gists_tick(v, clock_mono_ms() + 61000);  /* nobody asked for a minute */
	EXPECT_INT(view_gists_kept(v), 0);
	EXPECT_OK(view_close(v));
	test_dir_remove(dir);
}

/* However large subjects are and however many: what is kept has an end, and answers stay right beyond it. */
TEST(gists_that_are_kept_have_a_limit)
{
	enum { MESSAGES = 600, SUBJECT = 3900 };
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct append_new in = { .mailbox_id = inbox_of(v) };
	uint32_t emails[MESSAGES];
	char *subject = arena_alloc(&a, SUBJECT);
	struct append *ap;
	struct appended *done;
	size_t n, kept;

	v->gists_most = 2 << 20;
	memset(subject, 'm', SUBJECT);
	for (size_t i = 0; i < MESSAGES; i += n) {
		EXPECT_OK(append_begin(v, &ap));
		for (size_t k = 0; k < 100; k++) {
			EXPECT_OK(append_message(ap, &in, 0));
			EXPECT_OK(append_write(ap, arena_printf(&a, "Subject: %zu %.*s\r\n\r\n", i + k, SUBJECT, subject)));
			EXPECT_OK(append_end(ap));
		}
		EXPECT_OK(append_commit(&ap, &a, &done, &n));
		for (size_t k = 0; k < n; k++)
			emails[i + k] = done[k].email;
	}
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < MESSAGES; i += 100) {
			CLEANUP(arena_free) struct arena scratch = { 0 };
			struct gist gists[100];
			EXPECT_OK(view_gists(v, emails + i, 100, GIST_TEXT(GIST_SUBJECT), &scratch, gists));
			for (size_t k = 0; k < 100; k++)
				EXPECT(str_starts(gists[k].texts[GIST_SUBJECT], arena_printf(&scratch, "%zu MMM", i + k)));
		}
		kept = view_gists_kept(v);
		EXPECT(kept > 500 && kept < 550);
	}
	gists_tick(v, clock_mono_ms() + 61000);
	EXPECT_INT(view_gists_kept(v), 0);
	EXPECT_OK(view_close(v));
	test_dir_remove(dir);
}

enum { EMAILS = 520 };  /* two blocks, and a part that is too new */

/* Emails 1 to EMAILS, each with its number in the subject. */
static void fill(struct view *v)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct append_new in = { .mailbox_id = inbox_of(v) };
	struct append *ap;
	struct appended *done;
	size_t n;

	EXPECT_OK(append_begin(v, &ap));
	for (int i = 1; i <= EMAILS; i++) {
		EXPECT_OK(append_message(ap, &in, 0));
		EXPECT_OK(append_write(ap, arena_printf(&a, "Subject: s%d\r\nFrom: <f%d@x.test>\r\nReferences: <a@x.test>\r\n\r\n", i, i)));
		EXPECT_OK(append_end(ap));
	}
	EXPECT_OK(append_commit(&ap, &a, &done, &n));
	EXPECT_INT(done[EMAILS - 1].email, EMAILS);
}

static void sql(const char *dir, const char *text, int64_t *out)
{
	const struct db_options options = { .durability = DB_NORMAL };
	struct disk_dir *folder;
	struct db *db;

	EXPECT_OK(disk_dir_open(dir, &folder));
	EXPECT_OK(db_open(folder, "account.db", &options, &db));
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(db, text);
		if (stmt_row(q) && out != NULL)
			*out = stmt_int64(q, 0);
		EXPECT_OK(stmt_end(q));
	}
	db_close(&db);
	disk_dir_close(&folder);
}

/* How many of the emails have the subject that they were given. */
static int right_subjects(struct view *v, uint32_t from, uint32_t to)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct gist *gists = arena_array(&a, EMAILS, sizeof *gists);
	uint32_t emails[EMAILS], n = to - from + 1;
	int right = 0;

	for (uint32_t i = 0; i < n; i++)
		emails[i] = from + i;
	EXPECT_OK(view_gists(v, emails, n, GIST_TEXT(GIST_SUBJECT) | GIST_REFERENCES, &a, gists));
	for (uint32_t i = 0; i < n; i++)
		right += gists[i].email == emails[i] && str_eq(gists[i].texts[GIST_SUBJECT], arena_printf(&a, "S%u", emails[i])) &&
		         gists[i].n_references == 1;
	return right;
}

static struct view *again(struct view *v, const char *dir, const char *change)
{
	while (view_tick(v))
		;
	EXPECT_OK(view_close(v));
	if (change != NULL)
		sql(dir, change, NULL);
	return open_account(dir);
}

TEST(gists_come_back_from_disk)
{
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	int64_t rows = 0;

	fill(v);
	EXPECT_INT(right_subjects(v, 1, 100), 100);  /* another mailbox may ask for the others */
	v = again(v, dir, NULL);
	EXPECT_INT(right_subjects(v, 90, EMAILS), EMAILS - 89);
	v = again(v, dir, "UPDATE email SET summary = x'00'");  /* now they can only come from there */
	EXPECT_INT(right_subjects(v, 1, 511), 511);
	EXPECT_INT(right_subjects(v, 512, EMAILS), 0);  /* too new */
	EXPECT_OK(view_close(v));
	sql(dir, "SELECT count(*) FROM gist", &rows);
	EXPECT_INT(rows, 2);
	test_dir_remove(dir);
}

TEST(what_is_purged_is_in_no_gist)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct uid_set one = { 0 };
	int64_t rows = 0;

	fill(v);
	EXPECT_INT(right_subjects(v, 1, EMAILS), EMAILS);
	v = again(v, dir, NULL);
	EXPECT_INT(right_subjects(v, 1, EMAILS), EMAILS);  /* in memory, from there */
	uid_set_add(&one, &a, 7, 7);
	EXPECT_OK(view_expunge(v, inbox_of(v), &one, false, &a, NULL));
	view_set_undelete_days(v, 0);
	clock_wall_offset(86400);
	view_compact(v);
	v = again(v, dir, NULL);
	clock_wall_offset(0);
	EXPECT_OK(view_close(v));
	sql(dir, "SELECT count(*) FROM gist WHERE block = 0", &rows);
	EXPECT_INT(rows, 0);
	v = open_account(dir);
	EXPECT_INT(right_subjects(v, 1, EMAILS), EMAILS - 1);
	v = again(v, dir, NULL);
	EXPECT_OK(view_close(v));
	sql(dir, "SELECT count(*) FROM gist WHERE instr(gists, CAST('S8' AS BLOB)) AND NOT instr(gists, CAST('S7' || x'00' AS BLOB))", &rows);
	EXPECT_INT(rows, 1);
	test_dir_remove(dir);
}

/* Sums of the rows as they are, if a program with this version of folding had written them. */
static void sign(const char *dir, uint32_t version)
{
	const struct db_options options = { .durability = DB_NORMAL };
	struct disk_dir *folder;
	struct db *db;

	EXPECT_OK(disk_dir_open(dir, &folder));
	EXPECT_OK(db_open(folder, "account.db", &options, &db));
	for (int block = 0; block < 2; block++) {
		CLEANUP(stmt_release) struct stmt *q = db_query(db, "SELECT gists FROM gist WHERE block = ?1");
		CLEANUP(stmt_release) struct stmt *set = db_query(db, "UPDATE gist SET crc = ?1 WHERE block = ?2");
		stmt_bind_int64(q, 1, block);
		EXPECT(stmt_row(q));
		stmt_bind_int64(set, 1, crc32c(version, stmt_str(q, 0).p, stmt_str(q, 0).n));
		stmt_bind_int64(set, 2, block);
		EXPECT_OK(stmt_done(set));
	}
	db_close(&db);
	disk_dir_close(&folder);
}

TEST(what_another_unicode_has_folded_is_made_anew)
{
	static const struct { uint32_t later; int right; } cases[] = { { 0, 511 }, { 1u << 24, 0 }, { 1, 0 } };

	EACH(cases, c) {
		const char *dir = test_dir();
		struct view *v = open_account(dir);
		fill(v);
		EXPECT_INT(right_subjects(v, 1, EMAILS), EMAILS);
		v = again(v, dir, "UPDATE email SET summary = x'00'");
		EXPECT_OK(view_close(v));
		sign(dir, fold_version() + c->later);
		v = open_account(dir);
		EXPECT_INT(right_subjects(v, 1, 511), c->right);
		EXPECT_OK(view_close(v));
		test_dir_remove(dir);
	}
}

TEST(a_damaged_row_is_as_good_as_none)
{
	static const char *const damages[] = {
		"UPDATE gist SET gists = substr(gists, 1, 100)",
		"UPDATE gist SET gists = zeroblob(5000)",
		"UPDATE gist SET gists = CAST(substr(gists, 1, 1000) || x'00' || substr(gists, 1002) AS BLOB)",
	};

	EACH(damages, damage) {
		const char *dir = test_dir();
		struct view *v = open_account(dir);
		fill(v);
		EXPECT_INT(right_subjects(v, 1, EMAILS), EMAILS);
		v = again(v, dir, *damage);
		EXPECT_INT(right_subjects(v, 1, EMAILS), EMAILS);
		EXPECT_OK(view_close(v));
		test_dir_remove(dir);
	}
}
