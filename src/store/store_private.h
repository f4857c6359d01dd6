/* store/store_private.h -- what the files of this folder share: the open account, its transactions, its arrays.
 *
 * Locks, in this order; each may be taken alone:
 *   db      the connection and all that is committed: mailboxes (struct box), keywords, the modseq. No wait for the
 * disk but a commit's write(2) happens inside. memory  what sessions see: box.seen, arrays, sessions, subscriptions'
 * generation, quota. sync    who syncs now, up to which commit. Two kinds of transaction (struct tx): TX_SYNC   its
 * effects reach box.seen, arrays and on_changed only after the sync (they wait in view.pending) TX_FLAGS  seen at once,
 * durable within 1 s. It starts only when nothing is pending, and its modseq lies in a block whose reservation is
 * durable: what a client may have seen and a crash takes back is then a gap, and told as such. */
#ifndef FACTEUR_STORE_PRIVATE_H
#define FACTEUR_STORE_PRIVATE_H
#include "base/mem.h"
#include "db/db.h"
#include "store/bodies.h"
#include "store/delivered.h"
#include "store/digest.h"
#include "store/events.h"
#include "store/rights.h"
#include "store/view.h"
#include <pthread.h>
#include <stdatomic.h>

enum {
#ifdef FACTEUR_FAULT
	MODSEQ_BLOCK   = 16,          /* the crash tests cross the end of a block often */
#else
	MODSEQ_BLOCK   = 1000,        /* reserved at a time */
#endif
	ROWS_STEP      = 1000,        /* rows of one statement: well below 5 ms */
	ROWS_LOOK      = 50000,       /* entries of an array looked at under one lock */
	ROWS_NEAR      = 16,          /* rows so close are read by one statement */
	PENDING_MAX    = 1000,        /* transactions that wait for a sync */
	UNDELETE_DAYS  = 30,
	ARRAY_IDLE_MS  = 15000,       /* an array without sessions is kept this long */
	RECENT_MAX     = 1024,        /* changes of a mailbox that a session finds without looking at all rows */
	TOLD_MAX       = 16,
	EVENTS_MAX     = 256,         /* of mailboxes, kept in memory */
	EVENTS_BYTES_MAX = 65536,     /* of their names */
	LONG_WHOLE     = 16,
	DAMAGED_TOLD   = 64,
};

/* --------------------------------------------------------------------------------------------- arrays and sessions */

struct entry {                    /* 24 bytes a message */
	uint32_t uid, email;
	uint64_t modseq, flags;       /* FLAG_GONE: expunged, some session was not told yet */
};

struct array {
	struct entry *e;
	size_t        n, cap;
	size_t        changed;        /* index of the newest change; a guess */
	size_t        seen_upto;      /* entries below this index have \Seen or are gone */
	uint32_t     *gone;           /* sorted indices of the entries with FLAG_GONE */
	size_t        n_gone, gone_cap;
	struct selected *sessions;
	bool          is_complete, is_ready;   /* all rows are read; and durable: sessions may look */
	int64_t       idle_since_ms;
	struct { uint64_t modseq; uint32_t uid; } recent[RECENT_MAX];  /* a ring of flag changes */
	size_t        recent_at;      /* where the next one goes */
	uint64_t      recent_floor;   /* the ring has all flag changes above this modseq */
};

struct box {                      /* a mailbox; lives until view_close(), also when deleted */
	struct mailbox m;             /* committed; path is owned; under the db lock */
	struct mailbox seen;          /* visible; the same path; under the memory lock */
	int64_t       created;
	uint64_t      added_modseq, flags_modseq, vanished_modseq;   /* newest addition, flag change and removal that are visible */
	struct array *array;          /* NULL: not loaded; under the memory lock */
	bool          is_deleted;
	bool          is_going;       /* its messages are being erased, it follows; under the db lock */
	bool          is_uncounted;   /* unseen and deleted are those of a row that lacks changes of flags, since a page could not be read */
	bool          is_ahead;       /* of its row, which lacks changes of flags: see mailbox_row.c; under the db lock */
};

struct selected {
	struct view  *v;
	struct box   *box;
	struct array *array;
	struct selected *next;        /* in array->sessions */
	size_t        known;          /* entries [0, known) were told; the others are new */
	uint32_t     *skips;          /* sorted indices below known that are no longer numbered: told, or gone before */
	size_t        n_skips, skips_cap;
	uint32_t      count;          /* known - n_skips; only its own thread changes it */
	uint32_t      uidnext;        /* every known uid is below it */
	uint32_t      keywords;       /* names told: their mark */
	uint64_t      modseq;         /* flags told up to here */
	uint64_t      removed_modseq; /* removals told up to here */
	bool          holds_removals; /* some are not told yet */
	bool          is_opening;     /* its skips are not known yet: nothing may be dropped */
	uint64_t      told[TOLD_MAX];
	size_t        n_told;
	uint64_t      mixed;          /* changes from this modseq on may lie over another one of the same message that was not told; 0: none does */
};

bool selected_was_told(const struct selected *s, uint64_t modseq);   /* under the memory lock */

/* array.c; all under the memory lock */
void array_add(struct array *ar, uint32_t uid, uint32_t email, uint64_t modseq, uint64_t flags);  /* not twice */
void array_flags(struct array *ar, uint32_t uid, uint64_t modseq, uint64_t flags);
void array_gone(struct array *ar, uint32_t uid, uint64_t modseq);
/* Puts in what a resumed session still numbers; other sessions skip it. */
void array_insert_gone(struct array *ar, const struct uid_set *uids, uint64_t modseq);
void array_compact(struct array *ar);      /* drops what every session was told of */
size_t array_find(const struct array *ar, uint32_t uid);   /* index of the first entry with at least this uid */
size_t index_lower(const uint32_t *sorted, size_t n, uint32_t value);  /* how many are below value */
void index_insert(uint32_t **sorted, size_t *n, size_t *cap, uint32_t value);
void array_free(struct array *ar);
/* The array of a box, built if need be. Takes and releases both locks. */
enum err array_load(struct view *v, struct box *box);

/* ------------------------------------------------------------------------------------------------ the open account */

struct usage { uint64_t bytes, messages, mailboxes; };
enum change_kind { CHANGE_ADD, CHANGE_FLAGS, CHANGE_GONE };
struct change {
	enum change_kind kind;
	struct box *box;
	uint32_t    uid, email;
	uint64_t    flags;
};

struct changes {                  /* a list that grows by blocks: what was noted is not moved, and most transactions note one or two */
	struct change_block *first, *last;
	size_t               n;
};

struct event_note {               /* in the arena of its transaction */
	struct event event;
	struct event_note *next;
};

struct events {                   /* a ring; under the memory lock */
	struct event *list;           /* EVENTS_MAX of them; NULL before the first */
	size_t       first, end;      /* counted up: those in it are first .. end - 1 */
	size_t       bytes;
	uint64_t     floor;           /* events up to this modseq are not known */
};

struct pending {                  /* a transaction that is committed and not synced yet */
	uint64_t       commit, modseq;
	struct arena   arena;         /* holds all below */
	struct changes changes;
	struct event_note *events;
	struct box   **boxes;
	struct mailbox *counters;     /* of boxes[i] after it; path unused */
	size_t         n_boxes;
};

struct view {
	struct view_config config;
	struct disk_dir   *dir;
	struct disk_file  *lock_file;
	struct db         *db;
	struct bodies     *bodies;
	atomic_bool        is_broken;        /* a sync failed: nothing after it is trusted */

	pthread_mutex_t    db_lock;
	uint64_t           modseq;           /* of the newest commit */
	uint64_t           reserved;         /* committed end of the block */
	struct chunk      *chunk;            /* chunk.c: the one that is held; NULL: none was yet */
	atomic_ullong      committed;        /* number of the newest commit of this process */
	struct names      *names;            /* delivered.c: those that stand in INBOX's row */
	struct delivery_key pruned;          /* up to which names of deliveries were forgotten last */
	bool               pruned_others;    /* and all of other logs */
	int64_t            shared_bytes;     /* counted in more than one mailbox: see usage() in message.c */
	int64_t            kept_bytes;       /* of emails that are in no mailbox and wait for their end in expunged.c */
	struct allowance_level { bool is_known; int64_t level, at; } levels[ALLOWANCES];   /* allowance.c: the rows of its table */
	int64_t            sent_step;        /* sending.c: the newest one in its table; 0: not looked yet */
	struct sending_habits { int64_t step; uint64_t usual_hour, days; } habits;  /* sending.c: as of that step */
	uint32_t           uidvalidity;      /* the newest one given out */
	int64_t            mailbox_next;
	atomic_uint        email_next;
	struct box       **boxes;            /* in no order */
	size_t             n_boxes, boxes_cap;
	uint64_t           gap_end;          /* of the newest gap of modseqs that an unclean stop left; 0: none */
	uint64_t           history_floor;    /* removals at or below it are no longer known one by one */
	bool               is_unclean;       /* the row of state says so: note the clean end at close */
	bool               is_uncounted;     /* a mailbox is: no clean end is noted, so that the next process counts */
	_Atomic uint32_t   undelete_days;
	bool               was_unclean;      /* it said so when it was opened … */
	atomic_bool        is_replayed;      /* … and what may be torn since has been sent again, or it did not say so */
	/* view_tick() only, one thread at a time */
	atomic_flag        is_ticking;
	atomic_bool        is_pruning;       /* also set by view_compact() */
	bool               is_compacting;
	uint32_t           compact_left[16]; /* files with bytes that cannot be read: they are not emptied */
	size_t             n_compact_left;
	uint32_t           compacting;       /* file being emptied; 0: none */
	uint32_t           compact_after;    /* its emails up to this one are done … */
	uint32_t           compact_upto;     /* … and it has none behind this one */
	int64_t            pruned_ms, written_ms;
	uint64_t           ticked_commit;
	int64_t            seen_since_ms;    /* a session has had a mailbox selected at each tick since; 0: none has */
	int64_t            pours_since_ms;   /* a second that began with this email as the newest … */
	uint32_t           poured_from;
	bool               mail_poured;      /* … after one in which many came */

	pthread_mutex_t    memory_lock;
	pthread_cond_t     array_ready;
	uint64_t           seen_modseq;      /* visible */
	struct usage       used;             /* committed, seen or not */
	char              *keywords[KEYWORDS_MAX];
	atomic_ullong      keywords_named;   /* FLAG_KEYWORD() of those that are there */
	atomic_uint        keywords_mark;    /* of all of them */
	atomic_bool        keywords_crowded; /* view_close() is to make room */
	struct acl_lists  *acl;              /* all lists of rights; NULL: not read since they changed */
	bool               maildrop_locked;
	unsigned           n_selected;
	struct append     *appends;          /* those that have taken a number of an email */
	struct events      events;

	pthread_mutex_t    acl_telling;      /* taken first: one tells control at a time */
	atomic_bool        acl_is_untold;

	pthread_mutex_t    sync_lock;        /* taken under db by those who add to pending */
	pthread_cond_t     sync_done;
	bool               is_syncing;
	uint64_t           synced;           /* commits up to here are durable */
	uint64_t           reserved_durable;
	struct pending   **pending;
	size_t             n_pending, pending_cap, n_taken;   /* taken: durable, about to be applied */

	pthread_mutex_t    index_lock;       /* before db */
	struct index      *index;            /* NULL: not opened yet */

	atomic_uint        whole[LONG_WHOLE];   /* body.c: long messages that were compared lately */
	struct damaged { uint32_t emails[DAMAGED_TOLD]; size_t n; } damaged;   /* that were told of; under the memory lock */

	pthread_mutex_t    gists_lock;       /* alone */
	struct gists      *gists;            /* NULL: none are kept */
	size_t             gists_most;       /* bytes that they may take: 32 MB, less where a test wants to see the end */
};

enum tx_kind { TX_SYNC, TX_FLAGS };
struct tx {
	struct view   *v;
	enum tx_kind   kind;
	uint64_t       modseq;
	uint64_t       reserved_before;   /* to go back to when nothing is committed */
	struct arena   arena;
	struct changes changes;
	struct event_note *events;        /* what happens to mailboxes, in order */
	struct box   **boxes;
	struct mailbox *counters;         /* what boxes[i]->m becomes */
	size_t         n_boxes, boxes_cap, counters_cap;
	int64_t        shared_bytes, kept_bytes;
	struct reshape *reshapes;         /* mailboxes that appear, go, are renamed or get another role */
	size_t         n_reshapes, reshapes_cap;
	bool           has_names;         /* it changes names of deliveries (delivered.c) … */
	bool           wrote_names;       /* … and INBOX's row has them */
	bool           is_open;
};

struct reshape {
	struct box *box;
	char       *path;                 /* its name from now on (owned); NULL: it is deleted */
	enum mailbox_role role;           /* from now on */
	bool        is_born;
};

/* allowance.c, the db lock held: view_spend(), and at a pace: the first per_hour (1 to 10,000,000) go at once, what is more waits *wait_s
 * seconds, so that it goes evenly (ERR_LIMIT: that would be more than a day). In a transaction that is rolled back: allowance_forget(). */
enum err allowance_spend(struct view *v, enum allowance what, int64_t n, uint64_t per_day, int64_t now, uint64_t *wait_s) MUST_CHECK;
enum err allowance_pace(struct view *v, enum allowance what, int64_t n, uint64_t per_hour, int64_t now, uint64_t *wait_s) MUST_CHECK;
void allowance_forget(struct view *v);

/* tx.c */
enum err tx_begin(struct view *v, enum tx_kind kind, struct tx *tx) MUST_CHECK;       /* holds the db lock from here */
/* To be changed; written at the commit. Valid until the next call. */
struct mailbox *tx_counters(struct tx *tx, struct box *box);
void tx_change(struct tx *tx, enum change_kind kind, struct box *box, uint32_t uid, uint32_t email, uint64_t flags);
/* Sessions that watch mailboxes hear of this (events.h). */
void tx_event(struct tx *tx, enum event_kind kind, struct str path, struct str more);
/* At the commit the box appears, is deleted (path NULL) or has this path (taken over, also when nothing is committed).
 */
void tx_reshape(struct tx *tx, struct box *box, char *path, bool is_born);
/* Releases the db lock, also on an error (all is rolled back then). *commit: to be given to view_sync(). */
enum err tx_commit(struct tx *tx, uint64_t *commit) MUST_CHECK;
void tx_abandon(struct tx *tx);                                 /* for CLEANUP too; nothing after a commit */
enum err tx_commit_synced(struct tx *tx) MUST_CHECK;            /* commit, sync, publish */
/* Returns when that commit is durable and visible; without locks. */
enum err view_sync(struct view *v, uint64_t commit) MUST_CHECK;

size_t view_pending_count(struct view *v);
void will_wait(struct view *v);                                 /* without locks: this thread is busy for a while */

/* events.c; the first two under the memory lock */
void events_see(struct events *all, const struct event_note *notes);
void events_free(struct events *all);
void events_note_own(const struct view *v, uint64_t modseq);

/* state.c */
uint64_t modseq_floor(const struct view *v, uint64_t modseq);   /* memory lock */
enum err state_load(struct view *v) MUST_CHECK;
/* Did the last process end cleanly? A new account: yes. */
enum err state_peek(struct view *v, bool *is_clean) MUST_CHECK;
enum err state_reserve(struct view *v) MUST_CHECK;              /* the next block, in the open transaction */
enum err state_set_bytes(struct view *v, int64_t shared, int64_t kept) MUST_CHECK;  /* in the open transaction */
enum err state_write_counters(struct view *v, uint64_t modseq, bool clean) MUST_CHECK;   /* the same */
/* What index_files.c marks its list of files with; these two take the lock themselves. Durable with the next sync. */
enum err state_set_search_marks(struct view *v, uint64_t mark, uint64_t before) MUST_CHECK;
enum err state_search_marks(struct view *v, uint64_t *mark, uint64_t *before) MUST_CHECK;

/* gist.c */
void gists_drop(struct view *v);                                /* for the end */
void gists_tick(struct view *v, int64_t now_ms);

/* gist_table.c */
enum err gists_write(struct view *v, bool *more) MUST_CHECK;    /* some of what was made, for view_tick() */
enum err gists_forget(struct view *v, uint32_t email) MUST_CHECK;   /* in the transaction that purges it */

/* new_account.c */
enum err account_db_open(struct disk_dir *dir, struct db **out) MUST_CHECK;   /* account.db; where there is none, one with all tables is made. Also after an error: db_close() */
enum err account_db_open_settled(struct disk_dir *dir, struct db **out) MUST_CHECK;   /* once more, when it turned out that it was not left cleanly */

/* view.c. Opens an account with this database and nothing else, delivers a message, and ends it as view_close() would. */
enum err view_rehearse(struct db *db) MUST_CHECK;

/* schema.c */
enum err schema_image(struct str *image) MUST_CHECK;            /* as db_image_make() */
enum err schema_prepare(struct db *db) MUST_CHECK;

/* mailbox_row.c */
enum err mailbox_load(struct view *v) MUST_CHECK;
enum err mailbox_put_back(struct view *v) MUST_CHECK;           /* view_config.put_back_s; nobody has the view yet */
uint32_t mailbox_new_uidvalidity(struct view *v, uint32_t now);  /* none is given out twice in an account */
enum err mailbox_write(struct tx *tx, const struct mailbox *m) MUST_CHECK;
enum err mailbox_count_flags(struct view *v) MUST_CHECK;        /* after a stop that was not clean; nobody has the view yet */
enum err mailbox_write_flags(struct view *v) MUST_CHECK;        /* what rows lack, in the open transaction: for a clean end */
enum err mailbox_write_names(struct tx *tx) MUST_CHECK;   /* of deliveries, where INBOX's row was not written for anything else */

/* subscription.c: in the open transaction */
enum err subscription_write(struct view *v, struct str path, bool subscribed) MUST_CHECK;

/* mailbox.c */
enum err mailbox_create_defaults(struct view *v) MUST_CHECK;
int mailbox_name_order(struct str l, struct str r);   /* INBOX and what is in it first, children behind their parent */
/* INBOX in any case, no '/' at the end; ERR_INVALID. */
enum err mailbox_path(struct str path, struct arena *a, struct str *out) MUST_CHECK;
struct box *box_by_id(struct view *v, int64_t mailbox_id);      /* db or memory lock; NULL if deleted or unknown */
struct box *box_for_messages(struct view *v, int64_t mailbox_id);   /* db lock; that come into it: NULL, too, where it is being deleted */
struct box *box_by_role(struct view *v, enum mailbox_role role);
struct box *box_by_path(struct view *v, struct str path);
void box_free(struct box *box);

/* acl.c: lists of rights in memory. Lines are sorted by mailbox; a subject is in it once for each name it has had. */
struct acl_line {
	int64_t  mailbox_id;
	uint32_t subject;
	uint16_t rights;
	bool     is_negative;
};
struct acl_lists {
	struct arena     arena;
	struct subject  *subjects;
	struct acl_line *lines;
	size_t           n_subjects, n;
};
enum err acl_open(struct view *v) MUST_CHECK;
void acl_close(struct view *v);
/* Returns with the memory lock taken, and the lists until it is released; without it on an error. */
enum err acl_lock(struct view *v, struct acl_lists **out) MUST_CHECK;
size_t acl_first(const struct acl_lists *all, int64_t mailbox_id);
void acl_forget_lists(struct view *v);
/* A new mailbox begins with what its parent has (as far as ACL_TOTAL_MAX allows); one that goes takes its list along. */
enum err acl_inherit(struct tx *tx, int64_t parent_id, int64_t mailbox_id) MUST_CHECK;
enum err acl_drop(struct tx *tx, int64_t mailbox_id) MUST_CHECK;

/* keyword.c */
enum err keyword_load(struct view *v) MUST_CHECK;
/* Names that no message has go, if the account is crowded. Only at the end: no session holds their bits any more. */
enum err keyword_make_room(struct view *v) MUST_CHECK;

/* message.c; the caller holds a tx */
struct row {
	uint32_t uid, email;
	uint64_t modseq, flags, size;
};
/* Up to max rows with uid in first..last and all flags of with, in order. */
enum err message_rows(struct view *v, int64_t mailbox_id, uint32_t first, uint32_t last, uint64_t with, struct row *out,
					  size_t max, size_t *n) MUST_CHECK;
enum message_origin { MESSAGE_NEW, MESSAGE_COPIED, MESSAGE_MOVED, MESSAGE_RESTORED };
/* A new uid in box for the email of r; sets r->uid. */
enum err message_insert(struct tx *tx, struct box *box, enum message_origin origin, struct row *r) MUST_CHECK;
enum err message_expunge(struct tx *tx, struct box *box, const struct row *rows, size_t n) MUST_CHECK;
/* Row of `shared`; live = total = 1 when there is none. */
enum err shared_read(struct view *v, uint32_t email, int64_t *live, int64_t *total) MUST_CHECK;
enum err shared_write(struct view *v, uint32_t email, int64_t live, int64_t total) MUST_CHECK;

/* quota.c; all under the db lock */
struct usage usage_committed(const struct view *v);
void usage_note(struct view *v);               /* what is committed is what the limits are held against from now on */
bool usage_fits(const struct tx *tx);          /* bytes and messages, with what the transaction changes */
uint64_t usage_with_grace(uint64_t quota_bytes);   /* where the last delivery may end */
bool usage_fits_messages(const struct tx *tx);
bool usage_fits_mailboxes(const struct tx *tx);

/* vanished.c */
enum err vanished_add(struct tx *tx, struct box *box, const struct row *rows, size_t n) MUST_CHECK;
/* Exactly the uids removed from the mailbox after modseq, below uid_limit. Takes the db lock. */
enum err vanished_since(struct view *v, int64_t mailbox_id, uint64_t modseq, uint32_t uid_limit, struct arena *a,
						struct uid_set *out) MUST_CHECK;
enum err vanished_prune(struct tx *tx, uint64_t floor) MUST_CHECK;

/* email.c */
struct email_new {
	uint32_t     email;
	struct place place;
	int64_t      received;
	struct digest digest;
};
enum err email_insert(struct tx *tx, const struct email_new *in) MUST_CHECK;
/* Sets the sizes of rows; 0 where the email does not exist. db lock. */
enum err email_sizes(struct view *v, struct row *rows, size_t n) MUST_CHECK;
enum err email_place(struct view *v, uint32_t email, struct place *out) MUST_CHECK;       /* db lock; ERR_NOTFOUND */
enum err email_set_place(struct view *v, uint32_t email, const struct place *to) MUST_CHECK;   /* db lock */
enum err email_delete(struct tx *tx, uint32_t email) MUST_CHECK;
/* Emails after < email ≤ upto in ascending order, committed, read or not; at most max. Takes the db lock. */
enum err emails_after(struct view *v, uint32_t after, uint32_t upto, uint32_t *out, size_t max, size_t *n) MUST_CHECK;

/* body.c: its bytes are not those that were stored, or cannot be read; says so in the log, once while the account is open. */
void body_is_damaged(struct view *v, uint32_t email, const struct place *place);
/* Compares all of it. ERR_NOTFOUND: purged; ERR_CORRUPT: damaged; ERR_IO: it cannot be read, or its file is gone or too short. */
enum err body_compare(struct view *v, uint32_t email, struct place *place) MUST_CHECK;

/* append.c: every email up to this one is committed, or never will be. Takes the memory lock. */
uint32_t email_settled(struct view *v);

/* delivered.c; all under the db lock */
enum err delivered_load(struct view *v, struct str column) MUST_CHECK;   /* of INBOX's row; ERR_CORRUPT */
/* What INBOX's row is to say at the commit; p == NULL: what it says. */
struct str delivered_column(const struct tx *tx);
void delivered_committed(struct tx *tx);       /* they are found from now on */
enum err delivered_add(struct tx *tx, const struct delivery_key *key, uint32_t email) MUST_CHECK;
enum err delivered_prune(struct tx *tx, const struct delivery_key *upto, bool is_only_log) MUST_CHECK;

/* expunged.c: forgets what was expunged before that time, and the oldest of what is too much; at most max a call. */
enum err expunged_prune(struct view *v, int64_t before, size_t max, bool *more) MUST_CHECK;
/* More is kept than the quota. Takes the db lock. */
bool expunged_is_too_much(struct view *v);
enum err expunged_count(struct view *v, uint64_t *n) MUST_CHECK;                          /* takes the db lock */
/* Adds the flags of all that can be undeleted, until it has all of enough. Under the db lock. */
enum err expunged_flags(struct view *v, uint64_t enough, uint64_t *flags) MUST_CHECK;

/* index.c: the files are closed; nothing is written. For the end of the view. */
void index_close(struct view *v);
bool index_step_if_free(struct view *v, int budget_ms);   /* index_step(), but not while a search is at it */

/* compact.c: one step of a few milliseconds; *more: there is more to do */
enum err compact_step(struct view *v, bool *more) MUST_CHECK;
enum err body_file_add_dead(struct view *v, const struct place *place) MUST_CHECK;        /* in the open transaction */
#endif
