/* An account on a disk that lies: pages, values and bodies are changed, then a client opens it and reads, searches, copies and expunges
 * all there is, it is looked through for damage, and its files of bodies are compacted. The input is a list of changes; the account is the same before each. Whatever it holds, nothing may crash or hang. */
#include "base/log.h"
#include "base/mem.h"
#include "base/test.h"
#include "db/db.h"
#include "imap/engine.h"
#include "store/damage.h"
#include "store/view.h"
#include "submit/account.h"
#include <assert.h>
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

enum { FILES_MAX = 16, CHANGES_MAX = 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct kept { char path[64]; struct buf bytes; };

static const char *folder;
static struct kept kept[FILES_MAX];
static size_t kept_count;

static const char script_of_birth[] =
	"a APPEND INBOX {5+}\r\nhello\r\n"
	"a APPEND INBOX (\\Seen k) {128+}\r\nFrom: a@b.test\r\nTo: c@d.test\r\nSubject: =?utf-8?q?=C3=A9?=\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhello\r\n--x--\r\n"
	"a CREATE f/g\r\na SELECT INBOX\r\na COPY 1:* f/g\r\na COPY 1 Trash\r\na STORE 2 +FLAGS (\\Deleted)\r\na EXPUNGE\r\n"
	"a APPEND INBOX {9+}\r\nTo: x\r\n\r\ny\r\na LOGOUT\r\n";
static const char script_of_client[] =
	"b LIST \"\" * RETURN (STATUS (MESSAGES UNSEEN UIDNEXT UIDVALIDITY SIZE DELETED HIGHESTMODSEQ) SPECIAL-USE)\r\nb ENABLE QRESYNC\r\n"
	"b SELECT INBOX\r\nb FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE MODSEQ EMAILID THREADID PREVIEW)\r\n"
	"b FETCH 1:* (BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[1] BODY.PEEK[1.MIME] BINARY.PEEK[1])\r\nb FETCH 1:* ENVELOPE\r\nb FETCH 1:* BODYSTRUCTURE\r\n"
	"b SEARCH TEXT hello\r\nb SEARCH OR FROM a BODY h\r\nb STORE 1:* +FLAGS (new)\r\nb COPY 1:* Archive\r\nb SELECT f/g (QRESYNC (1 1))\r\n"
	"b FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)\r\nb MOVE 1:* Trash\r\nb SELECT Trash\r\nb STORE 1:* FLAGS (\\Deleted)\r\nb EXPUNGE\r\nb RENAME f h\r\n"
	"b APPEND INBOX {3+}\r\nnew\r\nb GETQUOTAROOT INBOX\r\nb LOGOUT\r\n";

static const char *const changes[] = {  /* each names ?2, so both can be bound */
	"UPDATE email SET summary = ?1 WHERE email_id = 1 + (?2 & 3)",
	"UPDATE email SET file = ?2",
	"UPDATE email SET at = ?2",
	"UPDATE email SET size = ?2 WHERE email_id < 3",
	"UPDATE email SET thread = ?2, received = ?2 * 1000000000",
	"UPDATE chunk SET slots = ?1 WHERE ?2 IS NOT NULL",
	"UPDATE chunk SET slots = CAST(substr(slots, 1, ?2) || ?1 || substr(slots, ?2 + 1 + length(?1)) AS BLOB)",
	"UPDATE OR IGNORE chunk SET chunk_id = ?2",
	"UPDATE OR IGNORE chunk SET chunk_id = (?2 << 32) + 1",
	"UPDATE mailbox SET path = ?1 WHERE mailbox_id = 1 + (?2 & 7)",
	"UPDATE mailbox SET uidnext = ?2",
	"UPDATE mailbox SET messages = ?2, unseen = ?2, deleted = ?2",
	"UPDATE mailbox SET size = ?2, modseq = ?2",
	"UPDATE mailbox SET role = ?2 WHERE mailbox_id < 4",
	"UPDATE state SET modseq = ?2",
	"UPDATE state SET email_next = ?2, mailbox_next = ?2",
	"UPDATE state SET reserved = ?2, clean = 0, shared_bytes = ?2, history_floor = ?2",
	"UPDATE keyword SET name = ?1 WHERE ?2 IS NOT NULL",
	"INSERT OR REPLACE INTO keyword VALUES (?2, ?1)",
	"UPDATE OR IGNORE vanished SET first = ?2, last = 1",
	"INSERT OR REPLACE INTO vanished VALUES (1, ?2, ?2, 4294967295)",
	"UPDATE expunged SET email_id = ?2, mailbox_id = ?2, at = ?2",
	"UPDATE shared SET live = ?2, total = -?2",
	"INSERT OR REPLACE INTO gap VALUES (?2, 1)",
	"INSERT OR REPLACE INTO subscription SELECT ?1 WHERE ?2 IS NOT NULL",
	"INSERT OR REPLACE INTO body_file VALUES (?2 & 3, ?2)",
	"UPDATE reference SET thread = ?2",
	"UPDATE email SET summary = substr(summary, 1, ?2)",
	"UPDATE email SET summary = CAST(substr(summary, 1, ?2) || ?1 || substr(summary, ?2 + 1 + length(?1)) AS BLOB)",
};

static void talk(const char *script)
{
	static const struct session_open info = { .protocol = PROTOCOL_IMAP, .command = STR("a0 LOGIN") };
	const struct view_config config = { .account = 1, .limits.quota_bytes = 100000 };
	CLEANUP(buf_free) struct buf out = BUF(64 << 20);
	struct account account = { .account = 1 };

	if (view_open(folder, &config, &account.view) != ERR_OK)
		return;
	struct session *s = session_for_test(&info, str_of(script), &out);
	void *state = imap_engine.open(s, &account);
	if (state != NULL) {
		imap_engine.input(state);
		imap_engine.close(state);
	}
	session_test_free(s);
	struct damage damage;
	CLEANUP(arena_free) struct arena a = { 0 };
	(void)!damage_look(account.view, 0, &a, &damage);
	view_compact(account.view);
	for (int i = 0; i < 9 && view_tick(account.view); i++)
		;
	(void)!damage_look(account.view, 0, &a, &damage);
	(void)!view_close(account.view);
}

static void keep_folder(const char *sub)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *path = str_cstr(&a, arena_printf(&a, "%s/%s", folder, sub));
	DIR *d = opendir(path);

	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
		if (e->d_name[0] == '.' || e->d_type != DT_REG || kept_count == FILES_MAX)
			continue;
		struct kept *k = &kept[kept_count++];
		snprintf(k->path, sizeof k->path, "%s%.50s", sub, e->d_name);
		k->bytes = BUF(8 << 20);
		FILE *f = fopen(str_cstr(&a, arena_printf(&a, "%s/%s", folder, k->path)), "r");
		char room[4096];
		for (size_t n; f != NULL && (n = fread(room, 1, sizeof room, f)) > 0;)
			buf_add_bytes(&k->bytes, room, n);
		assert(f != NULL && fclose(f) == 0);
	}
	if (d != NULL)
		closedir(d);
}

static void remove_folder(void) { test_dir_remove(folder); }

static void begin(void)
{
	log_setup("fuzz", LOG_LEVEL_ERROR, false);
	if (getenv("FACTEUR_LOG") == NULL)
		log_to_fd(-1);
	folder = test_dir();
	atexit(remove_folder);
	talk(script_of_birth);
	keep_folder("");
	keep_folder("bodies/");
}

/* A change of bytes of a file, on its way to the disk. */
static void restore(size_t damaged, uint32_t at, struct str bytes)
{
	CLEANUP(arena_free) struct arena a = { 0 };

	unlink(str_cstr(&a, arena_printf(&a, "%s/account.db-wal", folder)));
	for (size_t i = 0; i < kept_count; i++) {
		FILE *f = fopen(str_cstr(&a, arena_printf(&a, "%s/%s", folder, kept[i].path)), "w");
		size_t cut = i == damaged && bytes.n == 0 ? at % (kept[i].bytes.n + 1) : kept[i].bytes.n;
		assert(f != NULL && fwrite(kept[i].bytes.p, 1, cut, f) == cut);
		if (i == damaged && bytes.n > 0 && fseek(f, (long)(at % (kept[i].bytes.n + 1)), SEEK_SET) == 0)
			fwrite(bytes.p, 1, bytes.n, f);
		fclose(f);
	}
}

static struct str bytes_of(struct scan *s)
{
	size_t n = get_u8(s);

	return scan_bytes(s, n < scan_left(s) ? n : scan_left(s));
}

static void change(struct db *db, struct scan *s)
{
	CLEANUP(stmt_release) struct stmt *q = db_query(db, changes[get_u8(s) % COUNT_OF(changes)]);
	uint8_t v = get_u8(s);

	stmt_bind_blob(q, 1, bytes_of(s));
	stmt_bind_int64(q, 2, v < 0xe0 ? v : v < 0xf0 ? INT64_MAX >> (v & 15) * 4 : v == 0xff ? get_i64(s) : -(int64_t)(v & 15));
	(void)!stmt_done(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct scan s = scan_of(str_make(data, n));
	const struct db_options options = { .durability = DB_NORMAL };
	struct disk_dir *dir = NULL;
	struct db *db = NULL;

	if (folder == NULL)
		begin();
	uint8_t damaged = get_u8(&s);
	uint32_t at = get_u32(&s);
	restore(damaged, at, damaged < kept_count ? bytes_of(&s) : STR("x"));
	if (!scan_done(&s) && disk_dir_open(folder, &dir) == ERR_OK && db_open(dir, "account.db", &options, &db) == ERR_OK) {
		for (int i = 0; i < CHANGES_MAX && !scan_done(&s); i++)
			change(db, &s);
		db_close(&db);
	}
	disk_dir_close(&dir);
	talk(script_of_client);
	return 0;
}
