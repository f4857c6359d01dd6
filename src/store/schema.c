/* The tables of account.db. A step that has shipped is never edited; a new one is added below it. What a column means stands
 * with the file that writes it. Few tables and no secondary index: each page that a lone delivery touches costs 4 kB of
 * log, and a delivery touches mailbox, email, chunk and reference. */
#include "store/chunk.h"
#include "store/store_private.h"

static const char step_1[] =
	/* state.c: one row. clean: closed in order, modseq is exact; else the account goes on at `reserved`. */
	"CREATE TABLE state (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), modseq INTEGER NOT NULL,"
	" reserved INTEGER NOT NULL, clean INTEGER NOT NULL, email_next INTEGER NOT NULL, mailbox_next INTEGER NOT NULL,"
	" uidvalidity INTEGER NOT NULL, shared_bytes INTEGER NOT NULL, history_floor INTEGER NOT NULL,"
	" created INTEGER NOT NULL);"
	"CREATE TABLE gap (first INTEGER PRIMARY KEY, last INTEGER NOT NULL);"
	/* mailbox.c */
	"CREATE TABLE mailbox (mailbox_id INTEGER PRIMARY KEY, path TEXT NOT NULL, role INTEGER NOT NULL,"
	" uidvalidity INTEGER NOT NULL, uidnext INTEGER NOT NULL, messages INTEGER NOT NULL, unseen INTEGER NOT NULL,"
	" deleted INTEGER NOT NULL, size INTEGER NOT NULL, modseq INTEGER NOT NULL, created INTEGER NOT NULL);"
	"CREATE TABLE subscription (path TEXT PRIMARY KEY) WITHOUT ROWID;"
	/* keyword.c */
	"CREATE TABLE keyword (bit INTEGER PRIMARY KEY, name TEXT NOT NULL);"
	/* message.c; saved: seconds since 1970. shared: emails that more than one row of message or expunged names. */
	"CREATE TABLE message (mailbox_id INTEGER NOT NULL, uid INTEGER NOT NULL, email_id INTEGER NOT NULL,"
	" flags INTEGER NOT NULL, modseq INTEGER NOT NULL, saved INTEGER NOT NULL, PRIMARY KEY (mailbox_id, uid))"
	" WITHOUT ROWID;"
	"CREATE TABLE shared (email_id INTEGER PRIMARY KEY, live INTEGER NOT NULL, total INTEGER NOT NULL);"
	/* email.c; summary last, so that the numbers are read without it */
	"CREATE TABLE email (email_id INTEGER PRIMARY KEY, file INTEGER NOT NULL, at INTEGER NOT NULL, size INTEGER NOT NULL,"
	" received INTEGER NOT NULL, thread INTEGER NOT NULL, summary BLOB NOT NULL);"
	"CREATE TABLE reference (hash INTEGER PRIMARY KEY, thread INTEGER NOT NULL);"
	/* vanished.c */
	"CREATE TABLE vanished (mailbox_id INTEGER NOT NULL, modseq INTEGER NOT NULL, first INTEGER NOT NULL,"
	" last INTEGER NOT NULL, PRIMARY KEY (mailbox_id, modseq, first)) WITHOUT ROWID;"
	/* expunged.c; at: seconds since 1970 */
	"CREATE TABLE expunged (expunged_id INTEGER PRIMARY KEY, mailbox_id INTEGER NOT NULL, uid INTEGER NOT NULL,"
	" email_id INTEGER NOT NULL, flags INTEGER NOT NULL, modseq INTEGER NOT NULL, at INTEGER NOT NULL);"
	/* compact.c: bytes of a file of bodies/ that no row names any more */
	"CREATE TABLE body_file (file INTEGER PRIMARY KEY, dead INTEGER NOT NULL);"
	/* delivered.c */
	"CREATE TABLE delivered (log_id INTEGER NOT NULL, seq INTEGER NOT NULL, recipient INTEGER NOT NULL,"
	" email_id INTEGER NOT NULL, PRIMARY KEY (log_id, seq, recipient)) WITHOUT ROWID;";

static const char step_2[] =
	/* allowance.c; level: in 1/86,400 of a unit, as it was at `at`, seconds since 1970 */
	"CREATE TABLE allowance (what INTEGER PRIMARY KEY, level INTEGER NOT NULL, at INTEGER NOT NULL);";

static const char step_3[] =
	/* sending.c; step: ten minutes since 1970. day: days since 1970, when it was last written to */
	"CREATE TABLE sending (step INTEGER NOT NULL, network TEXT NOT NULL, recipients INTEGER NOT NULL, strangers INTEGER NOT NULL,"
	" refused INTEGER NOT NULL, PRIMARY KEY (step, network)) WITHOUT ROWID;"
	"CREATE TABLE written_to (recipient INTEGER PRIMARY KEY, day INTEGER NOT NULL);";

static const char step_4[] =
	/* state.c: bytes of emails that only rows of expunged name */
	"ALTER TABLE state ADD COLUMN kept_bytes INTEGER NOT NULL DEFAULT 0;"
	"UPDATE state SET kept_bytes = coalesce((SELECT sum(e.size) FROM (SELECT DISTINCT email_id FROM expunged) x"
	" JOIN email e ON e.email_id = x.email_id LEFT JOIN shared s ON s.email_id = x.email_id"
	" WHERE s.live IS NULL OR s.live = 0), 0);";

static const char step_5[] =
	/* metadata.c; mailbox_id 0: of the account */
	"CREATE TABLE metadata (mailbox_id INTEGER NOT NULL, entry TEXT NOT NULL, value BLOB NOT NULL,"
	" PRIMARY KEY (mailbox_id, entry)) WITHOUT ROWID;";

static const char step_6[] =
	/* sending.c: when was this network first seen? */
	"CREATE INDEX sending_network ON sending (network, step);";

static const char step_7[] =
	/* acl.c; kind: enum subject_kind, rights: RIGHT_LOOKUP | … . A row of acl_untold: control has not heard of the newest lists */
	"CREATE TABLE acl (mailbox_id INTEGER NOT NULL, negative INTEGER NOT NULL, kind INTEGER NOT NULL, account INTEGER NOT NULL,"
	" grp TEXT NOT NULL, name TEXT NOT NULL, rights INTEGER NOT NULL, PRIMARY KEY (mailbox_id, negative, kind, account, grp))"
	" WITHOUT ROWID;"
	"CREATE TABLE acl_untold (only_row INTEGER PRIMARY KEY CHECK (only_row = 1));";

static const char step_8[] =
	/* state.c: what the search index that this account has made last is marked with, and the one before (index_files.c) */
	"ALTER TABLE state ADD COLUMN search_mark INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE state ADD COLUMN search_mark_before INTEGER NOT NULL DEFAULT 0;";

static const char step_9[] =
	/* shared_names.c */
	"CREATE TABLE shared_names (owner INTEGER PRIMARY KEY, address TEXT NOT NULL, names BLOB NOT NULL);";

static const char step_10[] =
	/* chunk.c; slots: what the rows of message had */
	"CREATE TABLE chunk (chunk_id INTEGER PRIMARY KEY, slots BLOB NOT NULL);";

static const char step_11[] = "DROP TABLE message;";

static const char step_12[] =
	/* gist_table.c; block: emails of these numbers / 256 */
	"CREATE TABLE gist (block INTEGER PRIMARY KEY, crc INTEGER NOT NULL, gists BLOB NOT NULL);";

static const char step_13[] =
	/* delivered.c: in INBOX's row; what does not fit there is in the table */
	"ALTER TABLE mailbox ADD COLUMN delivered BLOB NOT NULL DEFAULT x'';";

static const char step_14[] =
	/* mailbox_row.c: counts what its rows lack after a stop that was not clean; an older program would believe them */
	"";

static const struct db_step steps[] = {
	{ 1, step_1, NULL }, { 2, step_2, NULL }, { 3, step_3, NULL }, { 4, step_4, NULL }, { 5, step_5, NULL }, { 6, step_6, NULL },
	{ 7, step_7, NULL }, { 8, step_8, NULL }, { 9, step_9, NULL }, { 10, step_10, chunk_convert }, { 11, step_11, NULL }, { 12, step_12, NULL },
	{ 13, step_13, NULL }, { 14, step_14, NULL },
};

enum err schema_prepare(struct db *db)
{
	return db_migrate(db, "store", steps, COUNT_OF(steps));
}

enum err schema_image(struct str *image) { return db_image_make("store", steps, COUNT_OF(steps), image); }
