/* Chunks: their ends, damage, and the rows that accounts had before there were any. */
#include "base/log.h"
#include "base/test.h"
#include "store/account_test.h"
#include "store/chunk.h"
#include "store/view.h"
#include <unistd.h>

static int64_t mailbox_of(struct view *v, enum mailbox_role role)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct mailbox m;

	EXPECT_OK(view_mailbox_by_role(v, role, &a, &m));
	return m.mailbox_id;
}

static struct uid_set set_of(struct arena *a, uint32_t first, uint32_t last)
{
	struct uid_set set = { 0 };

	uid_set_add(&set, a, first, last);
	return set;
}

/* A message, and copies of it until the mailbox has n. */
static void fill(struct view *v, int64_t mailbox_id, uint32_t n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct append_new in = { .mailbox_id = mailbox_id, .internal_date = 1700000000 };
	struct append *ap;
	struct appended *done;
	struct copied copied;
	size_t one;

	EXPECT_OK(append_begin(v, &ap));
	EXPECT_OK(append_message(ap, &in, 0));
	EXPECT_OK(append_write(ap, STR("Subject: x\r\n\r\n")));
	EXPECT_OK(append_end(ap));
	EXPECT_OK(append_commit(&ap, &a, &done, &one));
	for (uint32_t have = 1; have < n;) {
		uint32_t more = have < n - have ? have : n - have;
		struct uid_set set = set_of(&a, 1, more);
		EXPECT_OK(view_copy(v, mailbox_id, &set, mailbox_id, &a, &copied));
		have += more;
	}
}

static void store(struct view *v, int64_t mailbox_id, uint32_t first, uint32_t last, uint64_t flags)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct uid_set set = set_of(&a, first, last);
	struct flags_change change = { .op = FLAGS_ADD, .flags = flags };

	EXPECT_OK(view_store_flags(v, mailbox_id, &set, &change, &a, NULL, NULL));
}

/* All that a mailbox holds, a line a message. saved: said too. */
static struct str text_of(struct view *v, int64_t mailbox_id, struct arena *a)
{
	struct buf b = BUF(1 << 20);
	struct message_row rows[100];
	struct selected *s;
	struct str text;
	uint32_t next = 0;
	size_t n;

	EXPECT_OK(selected_open(v, mailbox_id, NULL, &s));
	while ((n = selected_rows(s, NULL, 0, &next, rows, COUNT_OF(rows))) > 0)
		for (size_t i = 0; i < n; i++) {
			int64_t saved;
			EXPECT_OK(view_saved(v, mailbox_id, &rows[i].uid, 1, &saved));
			buf_printf(&b, "%u %u %llx %llu %lld\n", rows[i].uid, rows[i].email, (unsigned long long)rows[i].flags,
			           (unsigned long long)rows[i].modseq, (long long)saved);
		}
	selected_close(s);
	text = str_copy(a, buf_str(&b));
	buf_free(&b);
	return text;
}

static void sql(struct db *db, const char *text)
{
	CLEANUP(stmt_release) struct stmt *q = db_query(db, text);

	EXPECT_OK(stmt_done(q));
}

struct base {
	struct disk_dir *dir;
	struct db *db;
};

static struct base open_base(const char *dir)
{
	const struct db_options options = { .durability = DB_NORMAL };
	struct base b;

	EXPECT_OK(disk_dir_open(dir, &b.dir));
	EXPECT_OK(db_open(b.dir, "account.db", &options, &b.db));
	return b;
}

static void close_base(struct base *b)
{
	db_close(&b->db);
	disk_dir_close(&b->dir);
}

static void put_row(struct db *db, int64_t mailbox_id, uint32_t uid, uint32_t email, uint64_t flags, uint64_t modseq)
{
	static const char text[] = "INSERT INTO message VALUES (?1, ?2, ?3, ?4, ?5, 1600000000 + ?2)";
	CLEANUP(stmt_release) struct stmt *q = db_query(db, text);

	stmt_bind_int64(q, 1, mailbox_id);
	stmt_bind_int64(q, 2, uid);
	stmt_bind_int64(q, 3, email);
	stmt_bind_u64(q, 4, flags);
	stmt_bind_u64(q, 5, modseq);
	EXPECT_OK(stmt_done(q));
}

TEST(an_account_of_an_older_program)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf want = BUF(1 << 20);
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	int64_t inbox = mailbox_of(v, MAILBOX_INBOX), trash = mailbox_of(v, MAILBOX_TRASH);
	struct uid_set gone;

	fill(v, inbox, 300);
	fill(v, trash, 3);
	EXPECT_OK(view_close(v));
	struct base b = open_base(dir);
	sql(b.db, "DROP TABLE chunk");
	sql(b.db, "DROP TABLE gist");  /* and whatever else came later */
	sql(b.db, "ALTER TABLE mailbox DROP COLUMN delivered");
	sql(b.db, "CREATE TABLE message (mailbox_id INTEGER NOT NULL, uid INTEGER NOT NULL, email_id INTEGER NOT NULL,"
	          " flags INTEGER NOT NULL, modseq INTEGER NOT NULL, saved INTEGER NOT NULL, PRIMARY KEY (mailbox_id, uid))"
	          " WITHOUT ROWID");
	sql(b.db, "UPDATE schema_step SET step = 9 WHERE component = 'store'");
	for (uint32_t uid = 1; uid <= 300; uid++) {
		uint64_t flags = uid == 300 ? UINT64_C(1) << 63 : uid % 2 ? FLAG_SEEN : 0, modseq = uid == 299 ? UINT64_C(1) << 60 : uid;
		put_row(b.db, inbox, uid, 1, flags, modseq);
		buf_printf(&want, "%u 1 %llx %llu %u\n", uid, (unsigned long long)flags, (unsigned long long)modseq, 1600000000 + uid);
	}
	put_row(b.db, trash, 3, 2, 0, 9);
	close_base(&b);
	v = open_account(dir);
	EXPECT_STR(text_of(v, inbox, &a), str_cstr(&a, buf_str(&want)));
	EXPECT_STR(text_of(v, trash, &a), "3 2 0 9 1600000003\n");
	fill(v, trash, 1);
	struct uid_set all = set_of(&a, 1, UINT32_MAX);
	EXPECT_OK(view_expunge(v, trash, &all, false, &a, &gone));
	EXPECT_STR(str_of(uid_set_text(&gone, &a)), "3:4");
	EXPECT_OK(view_close(v));
	v = open_account(dir);
	EXPECT_STR(text_of(v, inbox, &a), str_cstr(&a, buf_str(&want)));
	EXPECT_INT(text_of(v, trash, &a).n, 0);
	EXPECT_OK(view_close(v));
	test_dir_remove(dir);
}

TEST(ranges_begin_and_end_anywhere_in_them)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	int64_t inbox = mailbox_of(v, MAILBOX_INBOX), trash = mailbox_of(v, MAILBOX_TRASH);
	static const struct { uint32_t first, last; } removed[] = { { 2, 2 }, { 139, 142 }, { 200, 430 }, { 1, 1 }, { 500, 500 } };
	bool is_gone[501] = { false };
	struct mailbox m;
	struct copied moved;
	uint32_t left = 500;

	fill(v, trash, 2);  /* neighbours on both sides */
	fill(v, inbox, 500);
	EACH(removed, r) {
		struct uid_set set = set_of(&a, r->first, r->last);
		EXPECT_OK(view_expunge(v, inbox, &set, false, &a, NULL));
		for (uint32_t uid = r->first; uid <= r->last; uid++, left--)
			is_gone[uid] = true;
	}
	store(v, inbox, 138, 201, FLAG_FLAGGED);
	store(v, inbox, 431, 431, FLAG_SEEN);
	store(v, inbox, 300, 320, FLAG_SEEN);  /* nothing is there */
	struct uid_set set = set_of(&a, 143, 150);
	EXPECT_OK(view_move(v, inbox, &set, inbox, &a, &moved));
	EXPECT_STR(str_of(uid_set_text(&moved.to, &a)), "501:508");
	for (int again = 0; again < 2; again++) {
		CLEANUP(buf_free) struct buf want = BUF(1 << 20);
		struct message_row rows[600];
		struct selected *s;
		uint32_t next = 0;
		for (uint32_t uid = 1; uid <= 508; uid++)
			if (uid > 500 || (!is_gone[uid] && (uid < 143 || uid > 150)))
				buf_printf(&want, "%u%s%s\n", uid, (uid >= 138 && uid <= 199) || uid > 500 ? " flagged" : "", uid == 431 ? " seen" : "");
		CLEANUP(buf_free) struct buf got = BUF(1 << 20);
		EXPECT_OK(selected_open(v, inbox, NULL, &s));
		size_t n = selected_rows(s, NULL, 0, &next, rows, COUNT_OF(rows));
		for (size_t i = 0; i < n; i++)
			buf_printf(&got, "%u%s%s\n", rows[i].uid, rows[i].flags & FLAG_FLAGGED ? " flagged" : "", rows[i].flags & FLAG_SEEN ? " seen" : "");
		selected_close(s);
		EXPECT_STR(buf_str(&got), str_cstr(&a, buf_str(&want)));
		EXPECT_OK(view_mailbox_get(v, inbox, &a, &m));
		EXPECT_INT(m.messages, left);
		EXPECT_INT(m.unseen, left - 1);
		EXPECT_OK(view_close(v));
		v = open_account(dir);
	}
	EXPECT_OK(view_close(v));
	test_dir_remove(dir);
}

TEST(damage_is_found_and_spreads_no_further)
{
	static const char *const damages[] = {
		"UPDATE chunk SET slots = substr(slots, 1, 27) WHERE chunk_id >> 32 = 1",
		"UPDATE chunk SET slots = x'' WHERE chunk_id >> 32 = 1",
		"UPDATE chunk SET slots = zeroblob(3948) WHERE chunk_id >> 32 = 1",
		"UPDATE chunk SET slots = CAST(substr(slots, 1, 28) || slots AS BLOB) WHERE chunk_id >> 32 = 1",   /* a uid twice */
		"UPDATE chunk SET slots = CAST(x'ffffffff' || substr(slots, 5) AS BLOB) WHERE chunk_id >> 32 = 1",
		"UPDATE chunk SET chunk_id = (1 << 32) + 500 WHERE chunk_id >> 32 = 1",
	};
	CLEANUP(arena_free) struct arena a = { 0 };

	log_to_fd(-1);  /* each is logged */
	EACH(damages, damage) {
		const char *dir = test_dir();
		struct view *v = open_account(dir);
		int64_t inbox = mailbox_of(v, MAILBOX_INBOX), trash = mailbox_of(v, MAILBOX_TRASH);
		struct uid_set all = set_of(&a, 1, UINT32_MAX);
		struct flags_change change = { .op = FLAGS_ADD, .flags = FLAG_SEEN };
		struct selected *s;
		EXPECT_INT(inbox, 1);
		fill(v, inbox, 5);
		fill(v, trash, 5);
		EXPECT_OK(view_close(v));
		struct base b = open_base(dir);
		sql(b.db, *damage);
		sql(b.db, "UPDATE state SET clean = 0");   /* so that opening it reads all of them */
		close_base(&b);
		v = open_account(dir);
		EXPECT_ERR(selected_open(v, inbox, NULL, &s), ERR_CORRUPT);
		EXPECT_ERR(view_store_flags(v, inbox, &all, &change, &a, NULL, NULL), ERR_CORRUPT);
		EXPECT_ERR(view_expunge(v, inbox, &all, false, &a, NULL), ERR_CORRUPT);
		store(v, trash, 1, 5, FLAG_SEEN);
		EXPECT_OK(view_expunge(v, trash, &all, false, &a, NULL));
		EXPECT_OK(view_close(v));
		test_dir_remove(dir);
	}
	log_to_fd(STDERR_FILENO);
}

TEST(a_message_that_stands_in_two_of_them_is_there_once)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	int64_t inbox = mailbox_of(v, MAILBOX_INBOX);
	struct message_row rows[20];
	struct selected *s;
	uint32_t next = 0;

	EXPECT_INT(inbox, 1);
	fill(v, inbox, 5);
	EXPECT_OK(view_close(v));
	struct base b = open_base(dir);
	sql(b.db, "INSERT INTO chunk SELECT chunk_id + 1, CAST(substr(slots, 29, 28) AS BLOB) FROM chunk WHERE chunk_id = (1 << 32) + 1");
	sql(b.db, "INSERT INTO chunk SELECT chunk_id + 2, CAST(substr(slots, 57) AS BLOB) FROM chunk WHERE chunk_id = (1 << 32) + 1");
	close_base(&b);
	v = open_account(dir);
	EXPECT_OK(selected_open(v, inbox, NULL, &s));
	EXPECT_INT(selected_rows(s, NULL, 0, &next, rows, COUNT_OF(rows)), 5);
	selected_close(s);
	EXPECT_OK(view_close(v));
	test_dir_remove(dir);
}

TEST(damage_to_names_of_deliveries)
{
	static const struct { const char *sql; enum err opened; } cases[] = {
		{ "UPDATE mailbox SET delivered = x'' WHERE role = 1", ERR_OK },              /* as an older program left it */
		{ "UPDATE mailbox SET delivered = zeroblob(48) WHERE role = 1", ERR_OK },     /* as one with less room */
		{ "UPDATE mailbox SET delivered = x'00' WHERE role = 1", ERR_CORRUPT },
		{ "UPDATE mailbox SET delivered = zeroblob(24000) WHERE role = 1", ERR_CORRUPT },
		{ "UPDATE mailbox SET delivered = 'no' WHERE role <> 1", ERR_OK },            /* nobody reads it there */
	};
	const struct view_config config = { .account = 7 };

	log_to_fd(-1);
	EACH(cases, c) {
		const char *dir = test_dir();
		struct view *v = open_account(dir);
		EXPECT_OK(view_close(v));
		struct base b = open_base(dir);
		sql(b.db, c->sql);
		close_base(&b);
		EXPECT_ERR(view_open(dir, &config, &v), c->opened);
		if (c->opened == ERR_OK)
			EXPECT_OK(view_close(v));
		test_dir_remove(dir);
	}
	log_to_fd(STDERR_FILENO);
}
