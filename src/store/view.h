/* store/view.h -- an account as services see it: mailboxes, messages, flags, bodies, changes. Never tables.
 *
 *   struct view      the open account: one in a cell, shared by its sessions and threads; every call is thread-safe
 *   struct selected  one session's window on one mailbox: its own sequence numbers; used by one thread at a time
 *   struct append    messages on their way in (APPEND, MULTIAPPEND, delivery): all become visible at once, or none
 *   struct body      one message's bytes, pinned for reading
 *
 * DURABLE: when a call that changes something returns ERR_OK, the change is synced: body first, then its rows (DESIGN
 *   §4.7). Exception: view_store_flags() and view_subscribe() are durable within 1 s, by view_tick(). Syncs are shared.
 * VISIBLE: other sessions see a new message only after it is synced; on_changed() is called after that, too.
 * NUMBERS: uid, email and mailbox_id are never reused. A mailbox's uids ascend. A modseq is taken once for each
 *   transaction of the account; all that changed in it carries the same one (RFC 7162 §3.1).
 * ERRORS any call may return: ERR_IO (disk or SQL failure, logged; after a failed sync the view stays in this state until
 *   the account is opened again), ERR_CORRUPT (logged). Other errors stand with the call.
 * Slices returned live in the given arena. Names are UTF-8; mUTF-7 is the IMAP engine's affair. */
#ifndef FACTEUR_STORE_VIEW_H
#define FACTEUR_STORE_VIEW_H
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "store/uid_set.h"

struct conf;
struct view;
struct selected;
struct append;

enum {
	MAILBOX_PATH_MAX  = 1000,     /* bytes of a whole path */
	MAILBOX_DEPTH_MAX = 20,       /* levels */
	MAILBOXES_MAX     = 10000,    /* in one account */
	SUBSCRIPTIONS_MAX = 10000,
	KEYWORDS_MAX      = 58,       /* in one account at a time */
	KEYWORD_NAME_MAX  = 100,      /* bytes */
	APPEND_MESSAGES_MAX = 1000,   /* in one struct append */
	EMAIL_PLACES_MAX  = 1000,     /* rows that share one email, expunged ones that are kept among them: they cost no quota */
};
#define MAILBOX_SEPARATOR '/'

/* Flags of a message: bits 0-4 are the system flags of RFC 9051 §2.3.2, bit 6 + k is keyword k of the account. */
#define FLAG_SEEN     (UINT64_C(1) << 0)
#define FLAG_ANSWERED (UINT64_C(1) << 1)
#define FLAG_FLAGGED  (UINT64_C(1) << 2)
#define FLAG_DELETED  (UINT64_C(1) << 3)
#define FLAG_DRAFT    (UINT64_C(1) << 4)
#define FLAG_GONE     (UINT64_C(1) << 5)  /* only in struct message_row: expunged, but this session was not told yet */
#define FLAGS_SYSTEM  UINT64_C(0x1f)
#define FLAG_KEYWORD(k) (UINT64_C(1) << (6 + (k)))
#define FLAGS_KEYWORDS  (~UINT64_C(0) << 6)

/* ---------------------------------------------------------------------------------------------- opening an account */

struct view_limits {
	uint64_t quota_bytes;        /* 0: no limit */
	uint64_t message_size_max;   /* bytes of one message; 0: 64 MB */
	uint64_t messages_max;       /* 0: no limit */
	uint64_t mailboxes_max;      /* 0 and more than that: MAILBOXES_MAX */
	uint64_t disk_reserve;       /* with less free on the disk the index is not gone on with; 0: it is */
};
/* As the settings have them that hold for an account. */
struct view_limits view_limits_of(const struct conf *conf);
struct view_config {
	uint64_t account;            /* its number */
	struct view_limits limits;
	bool     french;             /* names of the folders made with a new account: Brouillons, Envoyés, … */
	int64_t  put_back_s;         /* when it was put back from an older copy, seconds since 1970; 0: never. Mailboxes from before get a new UIDVALIDITY */
	/* After a sync that made changes visible, and after each flag change: up to this modseq there is news. Called
	 * without locks, from the thread that made the change; must be quick. May be NULL. */
	void   (*on_changed)(void *context, uint64_t account, uint64_t modseq);
	/* The calling thread is about to wait for the disk, or to read a large mailbox: others may go on meanwhile, and what they
	 * commit shares the next sync. May be NULL. */
	void   (*on_wait)(void *context);
	void    *context;
};

/* Before a process, which has one thread, makes children that open accounts: they inherit what a new account begins with (100 kB), instead of making it, and
 * each what the SQL library has to know to open its first account. */
void view_preload(void);
/* Opens accounts/N (made by master; an empty folder becomes a new account with its special-use mailboxes) and holds its
 * account.lock. After an unclean stop it notes the gap of modseqs (see view_modseq_floor); the caller serves nobody
 * before the replay is done. ERR_AGAIN: another process has it. ERR_CORRUPT: the database or a newer format; logged. */
enum err view_open(const char *folder, const struct view_config *config, struct view **out) MUST_CHECK;
/* A sync has failed: nothing is changed any more until the account is opened again. */
bool view_has_failed(const struct view *v);
/* The last process that had it did not close it: there may be torn deliveries until the queue's replay is done. */
bool view_was_unclean(const struct view *v);
/* The replay is done. Before, no body is moved: a torn one is known by its checksum, and a copy would have its own. */
void view_replayed(struct view *v);
/* Syncs everything, notes the clean end and closes; ERR_OK: all of it is durable. No selected, append or body of it may be left. NULL is fine. */
enum err view_close(struct view *v);
/* Syncs and closes, but does not note a clean end: the replay after the last unclean one is not done. */
void view_close_unclean(struct view *v);
/* Settings of the account changed. What is there already stays, whatever they are. */
void view_set_limits(struct view *v, const struct view_limits *limits);
/* How long expunged messages can be brought back; 30 days unless this is called. */
void view_set_undelete_days(struct view *v, uint32_t days);
/* Something was delivered that nobody sees before view_publish() (or view_tick() beside a session). */
bool view_has_unseen(struct view *v);
/* Each second while anything may be unsynced: makes flags durable (and deliveries visible, where a session looks), continues
 * background work (at most 20 ms a call): pruning of expunged messages, compaction of bodies, checkpoints, the index (index.h). Returns true while
 * there is more to do. */
bool view_tick(struct view *v);
/* Asks for the forgetting of what was expunged long ago (view_set_undelete_days()), and for compaction, now; view_tick() does it. */
void view_compact(struct view *v);
/* Syncs all that was committed and makes it visible (on_changed follows). Returns at once when nothing is unsynced. */
enum err view_publish(struct view *v) MUST_CHECK;
uint64_t view_modseq(struct view *v);   /* the newest visible modseq of the account */

struct quota {
	uint64_t used_bytes;    /* as all here of what is committed, seen or not; not of what is expunged; once for an email in two mailboxes */
	uint64_t limit_bytes;   /* 0: none */
	uint64_t messages, messages_max;     /* copies count, expunged ones do not; max 0: no limit */
	uint64_t mailboxes, mailboxes_max;
	unsigned percent;       /* of bytes or messages, whichever is nearer to its limit; 100: nothing more goes in */
};
void view_quota(struct view *v, struct quota *out);
uint64_t view_message_size_max(struct view *v);
uint64_t view_delivery_size_max(struct view *v);   /* the largest delivery that goes in when nothing else is there: that, or less where the quota is small */
/* One POP3 session at a time (RFC 1939 §8): false when another session has it ([IN-USE]). */
bool view_maildrop_lock(struct view *v);
void view_maildrop_unlock(struct view *v);

/* ------------------------------------------------------------------------------------------------------- mailboxes */

enum mailbox_role {  /* RFC 6154; kept in the database: append only */
	MAILBOX_PLAIN, MAILBOX_INBOX, MAILBOX_DRAFTS, MAILBOX_SENT, MAILBOX_JUNK, MAILBOX_TRASH, MAILBOX_ARCHIVE,
	MAILBOX_ROLES
};
/* "\\Drafts" …; "" for PLAIN and INBOX. */
const char *mailbox_role_attribute(enum mailbox_role role);

struct mailbox {
	int64_t    mailbox_id;
	struct str path;            /* "INBOX", "Travail/Été"; UTF-8, levels cut by '/' */
	enum mailbox_role role;
	bool       is_subscribed;   /* set by view_mailboxes() alone; for one of them: view_is_subscribed() */
	bool       has_children;    /* not set by view_mailbox_by_role() */
	uint32_t   uidvalidity, uidnext;
	uint32_t   messages, unseen, deleted;   /* unseen: without \Seen; deleted: with \Deleted */
	uint64_t   size;            /* sum of its messages' RFC822.SIZE (STATUS=SIZE) */
	uint64_t   highestmodseq;   /* of this mailbox; at least 1 */
	char       mailboxid[20];   /* RFC 8474: "F…" */
};

/* All mailboxes, INBOX first, then by name, children after their parent. The counters are visible ones: what is not
 * synced yet is not in them. */
enum err view_mailboxes(struct view *v, struct arena *a, struct mailbox **out, size_t *n) MUST_CHECK;
/* A name as it is stored, or would be if a mailbox were made: INBOX in capitals, letters composed (RFC 5198 §3), and each level that is there as it is
 * there. ERR_INVALID: no name. */
enum err view_mailbox_name(struct view *v, struct str path, struct arena *a, struct str *out) MUST_CHECK;
/* path: any case of INBOX means INBOX, and any form of a letter (composed or not) that letter. ERR_NOTFOUND. */
enum err view_mailbox_find(struct view *v, struct str path, struct arena *a, struct mailbox *out) MUST_CHECK;
enum err view_mailbox_get(struct view *v, int64_t mailbox_id, struct arena *a, struct mailbox *out) MUST_CHECK;
enum err view_mailbox_by_role(struct view *v, enum mailbox_role role, struct arena *a, struct mailbox *out) MUST_CHECK;
/* Makes the missing parents as well (RFC 9051 §6.3.4). role: MAILBOX_PLAIN or one that no mailbox has yet (CREATE …
 * USE). One trailing '/' is ignored. ERR_EXISTS; ERR_INVALID: not a name (empty level, control character, not UTF-8,
 * too long or deep); ERR_CONFLICT: the role is taken; ERR_QUOTA: there are mailboxes_max; ERR_AGAIN: what it would be in is being deleted.
 * out may be NULL. */
enum err view_mailbox_create(struct view *v, struct str path, enum mailbox_role role, struct arena *a,
                             struct mailbox *out) MUST_CHECK;
/* PLAIN takes its role from it. ERR_NOTFOUND; ERR_DENIED: INBOX is INBOX; ERR_CONFLICT: another mailbox has the role. */
enum err view_mailbox_set_role(struct view *v, int64_t mailbox_id, enum mailbox_role role) MUST_CHECK;
/* Its messages can be undeleted for 30 days. The subscription stays (RFC 9051 §6.3.7). Sessions that have it selected
 * get news.is_deleted. ERR_DENIED: INBOX. ERR_CONFLICT: it has children ([HASCHILDREN]). ERR_NOTFOUND: also where somebody else deletes it already. */
enum err view_mailbox_delete(struct view *v, struct str path) MUST_CHECK;
/* With its children and their subscriptions; missing parents of the new name are made. INBOX: its messages move to the
 * new mailbox, INBOX stays, empty (RFC 9051 §6.3.6). ERR_NOTFOUND, ERR_EXISTS, ERR_INVALID (also: into its own child); ERR_AGAIN: it, or what it
 * would be in, is being deleted.
 * One that is stored decomposed may get the same name, composed. */
enum err view_mailbox_rename(struct view *v, struct str from, struct str to) MUST_CHECK;
/* A subscription is a name, as written; the mailbox need not exist (any more). Unknown to unsubscribe: ERR_OK. ERR_INVALID,
 * ERR_LIMIT. */
enum err view_subscribe(struct view *v, struct str path, bool subscribed) MUST_CHECK;
enum err view_is_subscribed(struct view *v, struct str path, bool *out) MUST_CHECK;   /* path as it is stored */
/* Subscribed names in order, also those without a mailbox. */
enum err view_subscriptions(struct view *v, struct arena *a, struct str **out, size_t *n) MUST_CHECK;

/* Keywords, any case, as first written: FLAG_KEYWORD(k) is names[k] if it is in what is returned. What a bit means stays so until view_close(), which
 * takes names that no message has away where there are many of them (keyword.c). Borrowed until then. */
uint64_t view_keywords(struct view *v, struct str names[KEYWORDS_MAX]);
/* A number for the names of these flags: another one when a name or its bit is another. The same in every process. */
uint32_t view_keywords_mark(struct view *v, uint64_t flags);
/* Is there room for n more names? If not, view_close() looks for those that no message has. */
bool view_keywords_fit(struct view *v, size_t n);
/* The bit of a keyword, made if missing and create. Returns 0: unknown, or (create) there is no room or it is not a
 * flag-keyword. */
uint64_t view_keyword(struct view *v, struct str name, bool create);

/* ----------------------------------------------------------------------------- one session's window on one mailbox */

/* What the session's client knows; also all that a parked session must remember of it (about 40 bytes). */
struct selected_state {
	int64_t  mailbox_id;
	uint32_t uidvalidity, uidnext, count;
	uint64_t modseq;            /* told everything up to here */
	uint64_t flags_modseq;      /* … and flags up to here, while removals wait; 0: no more than that */
	uint32_t keywords;          /* told these names: view_keywords_mark() */
};

/* known == NULL: SELECT/EXAMINE; everything visible now is known and nothing is left to tell.
 * known: a parked session again, with exactly the sequence numbers it had; selected_news() tells the rest.
 * ERR_CONFLICT: that state cannot be rebuilt (too old, or in a gap after an unclean stop, or another uidvalidity): say
 * BYE. ERR_NOTFOUND: no such mailbox. The array is built at the first use, and shared by all sessions of the mailbox.
 */
enum err selected_open(struct view *v, int64_t mailbox_id, const struct selected_state *known,
					   struct selected **out) MUST_CHECK;
void selected_close(struct selected *s);   /* NULL is fine */
void selected_state(struct selected *s, struct selected_state *out);
struct view *selected_view(struct selected *s);
int64_t  selected_mailbox_id(const struct selected *s);
uint32_t selected_uidvalidity(const struct selected *s);
uint32_t selected_count(const struct selected *s);       /* messages this client was told of: EXISTS */
uint32_t selected_uidnext(const struct selected *s);
/* HIGHESTMODSEQ that may be sent now (RFC 7162 §3.2.5): everything up to it was told; lower while removals are held
 * back. */
uint64_t selected_modseq(const struct selected *s);

struct message_row {
	uint32_t seq;               /* in this session's numbering */
	uint32_t uid;
	uint32_t email;             /* for summaries and bodies; several messages may share it (COPY) */
	uint64_t modseq;
	uint64_t flags;             /* may have FLAG_GONE: answer from what is here, bodies may still be read */
};

/* Messages by sequence number, a batch at a time, out of memory (never SQL). seqs NULL: all. Start with *next = 0.
 * since: only those with a modseq above it (0: all). At most max rows; 0 rows: the end. */
size_t selected_rows(struct selected *s, const struct uid_set *seqs, uint64_t since, uint32_t *next,
                     struct message_row *out, size_t max);
/* The same for a set of uids; UIDs that do not exist are silently skipped (RFC 9051 §6.4.9). */
size_t selected_rows_by_uid(struct selected *s, const struct uid_set *uids, uint64_t since, uint32_t *next,
                            struct message_row *out, size_t max);
/* The number of the first message without \Seen that is there; 0: all have it. Does not look again at what had it the last time. */
uint32_t selected_first_unseen(struct selected *s);
/* seq -> uid, 0 if out of range; uid -> seq, 0 if not there. */
uint32_t selected_uid(struct selected *s, uint32_t seq);
uint32_t selected_seq(struct selected *s, uint32_t uid);
/* Sequence numbers to UIDs and back; what does not exist is left out. Messages that are gone keep their uid here. */
void selected_to_uids(struct selected *s, const struct uid_set *seqs, struct arena *a, struct uid_set *uids);
void selected_to_seqs(struct selected *s, const struct uid_set *uids, struct arena *a, struct uid_set *seqs);

/* Has the account names of keywords that this client was not told of? They count as told from now on. */
bool selected_new_keywords(struct selected *s);

/* What a client has to hear, in the order of announcing: removals, EXISTS, flags. */
struct news {
	/* Highest sequence number first, so that each EXPUNGE is right when it is sent (RFC 9051 §7.5.1). */
	size_t              n_removed;
	struct message_row *removed;      /* seq and uid */
	struct uid_set      vanished;     /* the same uids, for VANISHED (RFC 7162 §3.2.10) */
	uint32_t            exists;       /* the number of messages after the removals */
	bool                has_new;      /* exists grew: send EXISTS */
	size_t              n_changed;
	struct message_row *changed;      /* flags changed by others; seq after the removals; new messages are not in it */
	bool                has_keywords; /* the account has new keyword names: send FLAGS (RFC 9051 §7.3.5) */
	bool                is_deleted;   /* the mailbox is gone: say BYE or answer NO; nothing else is set */
};
/* What changed since the last look; the session's numbers advance. removals: false in the middle of FETCH, STORE,
 * SEARCH (not their UID forms) and when no command runs (RFC 9051 §7.5.1): they wait for a later call. Never SQL when
 * nothing changed: a compare of two numbers. */
void selected_news(struct selected *s, bool removals, struct arena *a, struct news *out);
/* The session made that change (its own STORE), or told its client the flags of all that it changed, as_they_are since: not to be news again. If it did not
 * tell them, and another device's change of one of these messages was not told yet, all of it is news: the client would not hear of the other's. */
void selected_told(struct selected *s, uint64_t modseq, bool as_they_are);
/* When these messages came into the mailbox (SAVEDATE of RFC 8514): seconds since 1970; 0: it is not there any more. */
enum err view_saved(struct view *v, int64_t mailbox_id, const uint32_t *uids, size_t n, int64_t *saved) MUST_CHECK;
/* The same for a parked session, without building the array if the mailbox has none (gate's render): state advances.
 * ERR_CONFLICT as in selected_open(). */
enum err view_news(struct view *v, struct selected_state *state, bool removals, struct arena *a,
				   struct news *out) MUST_CHECK;

/* ------------------------------------------------------------------------------------------- CONDSTORE and QRESYNC */

/* The modseq from which changes must be told to a client that says it knows all up to modseq: the same number, or 0
 * (tell everything) when it lies in or before the newest gap left by an unclean stop, or is older than the history, or
 * was never given out. */
uint64_t view_modseq_floor(struct view *v, uint64_t modseq);
/* VANISHED (EARLIER): uids removed after modseq (already passed through view_modseq_floor); with 0 every uid that does
 * not exist. Only those in known (NULL: 1:uidnext-1). RFC 7162 §3.2.5.2. */
enum err view_vanished(struct view *v, int64_t mailbox_id, uint64_t modseq, const struct uid_set *known,
					   struct arena *a, struct uid_set *out) MUST_CHECK;

/* --------------------------------------------------------------------------------------------------------- changes */

enum flags_op { FLAGS_ADD, FLAGS_REMOVE, FLAGS_REPLACE };
struct flags_change {
	enum flags_op op;
	uint64_t      flags;             /* FLAGS_SYSTEM and keyword bits */
	uint64_t      untouched;         /* flags that stay as they are, whatever op and flags say */
	bool          has_unchanged_since;
	uint64_t      unchanged_since;   /* RFC 7162 §3.1.3 */
};
/* In one transaction; messages whose flags are so already keep their modseq; missing uids are skipped. *modified: those
 * that failed UNCHANGEDSINCE ([MODIFIED]). *modseq: of this change, 0 if nothing changed. modified and modseq may be
 * NULL. */
enum err view_store_flags(struct view *v, int64_t mailbox_id, const struct uid_set *uids,
						  const struct flags_change *change, struct arena *a, struct uid_set *modified,
						  uint64_t *modseq) MUST_CHECK;

/* What a COPY or MOVE did: pairs in ascending order, the i-th uid of from became the i-th of to (RFC 4315 COPYUID). */
struct copied {
	uint32_t       uidvalidity;      /* of the target */
	struct uid_set from, to;
	uint64_t       modseq;
};
/* All or none; the emails are shared, flags copied. ERR_NOTFOUND: a mailbox is gone. ERR_LIMIT: EMAIL_PLACES_MAX. ERR_QUOTA: a copy would
 * be more than messages_max. */
enum err view_copy(struct view *v, int64_t from_id, const struct uid_set *uids, int64_t to_id, struct arena *a,
                   struct copied *out) MUST_CHECK;
enum err view_move(struct view *v, int64_t from_id, const struct uid_set *uids, int64_t to_id, struct arena *a,
                   struct copied *out) MUST_CHECK;
/* Either of them, for somebody who may not set all flags in the target: the copies come without those of left_out. */
enum err view_transfer(struct view *v, int64_t from_id, const struct uid_set *uids, int64_t to_id, bool is_move, uint64_t left_out,
                       struct arena *a, struct copied *out) MUST_CHECK;
/* Removes the messages of uids (NULL: all); only_deleted: those with \Deleted among them. They can be undeleted for 30
 * days. *expunged (may be NULL): what went. */
enum err view_expunge(struct view *v, int64_t mailbox_id, const struct uid_set *uids, bool only_deleted,
					  struct arena *a, struct uid_set *expunged) MUST_CHECK;

/* One or more messages in. Up to 1 MB a message stays in memory, more goes to the disk as it comes; a message is
 * complete (and its structure read) at append_end(). Nothing remains unless append_commit() succeeded. One thread at a
 * time. */
enum err append_begin(struct view *v, struct append **out) MUST_CHECK;
/* The commit also removes this message, which has size bytes (RFC 8508 REPLACE): both or neither; append_commit() says ERR_CONFLICT
 * when it is gone by then. */
void append_replaces(struct append *ap, int64_t mailbox_id, uint32_t uid, uint64_t size);
struct append_new {
	int64_t  mailbox_id;
	int64_t  internal_date;   /* seconds since 1970, UTC; RFC 9051 §2.3.3 */
	uint64_t flags;
};
/* Starts a message of size bytes if known (0: unknown). ERR_NOTFOUND: mailbox; ERR_LIMIT: over message_size_max or more
 * than APPEND_MESSAGES_MAX; ERR_QUOTA. After an error the caller still reads and drops the literal. */
enum err append_message(struct append *ap, const struct append_new *in, uint64_t size) MUST_CHECK;
/* The next bytes. ERR_LIMIT, ERR_QUOTA as above, ERR_IO; sticky for this message. */
enum err append_write(struct append *ap, struct str bytes) MUST_CHECK;
/* The message is complete. ERR_INVALID: empty, or has a NUL. Bare LF and bare CR are kept as they came. */
enum err append_end(struct append *ap) MUST_CHECK;
struct appended {
	int64_t  mailbox_id;
	uint32_t uidvalidity, uid, email;
};
/* All messages in one transaction, synced and published; frees *ap on success and on failure. out: APPEND_MESSAGES_MAX
 * at most, in the order of append_message(). ERR_NOTFOUND: a mailbox is gone by now; ERR_QUOTA. */
enum err append_commit(struct append **ap, struct arena *a, struct appended **out, size_t *n) MUST_CHECK;
void append_abandon(struct append **ap);   /* for CLEANUP too */

/* Brings back what was expunged at or after since (seconds since 1970): to its mailbox, or to INBOX if that is gone,
 * with new uids. mailbox_id 0: all. ERR_QUOTA: nothing was brought back. */
enum err view_undelete(struct view *v, int64_t mailbox_id, int64_t since, uint32_t *restored) MUST_CHECK;

/* ------------------------------------------------------------------------------------------------------ allowances */

enum allowance {               /* kept in the database: append only */
	ALLOWANCE_RECIPIENTS = 1,  /* written to by this account */
	ALLOWANCE_REPORTS,         /* to the administrator, about what it sends */
	ALLOWANCE_PACE,            /* recipients elsewhere, by the hour */
	ALLOWANCES
};
/* How much is left now, of per_day (1 to 10,000,000) in 24 hours; it grows back evenly. */
enum err view_allowance_left(struct view *v, enum allowance what, uint64_t per_day, uint64_t *left) MUST_CHECK;
/* Takes n of it, or gives -n back. ERR_LIMIT: so much is free only after *wait_s seconds (more than a day: never); nothing was taken.
 * Survives a killed cell at once, a power cut about as flags do. */
enum err view_spend(struct view *v, enum allowance what, int64_t n, uint64_t per_day, uint64_t *wait_s) MUST_CHECK;

/* --------------------------------------------------------------------------------------------------------- reading */

struct summary {
	uint32_t   email;           /* 0: it does not exist any more, nothing else is set */
	uint64_t   size;            /* RFC822.SIZE */
	int64_t    received;        /* INTERNALDATE, seconds since 1970 */
	uint64_t   emailid;         /* EMAILID, UIDL: email_id_text() */
	uint64_t   threadid;        /* THREADID: thread_id_text() */
	struct str record;          /* what mime/summary.h wrote: ENVELOPE, BODYSTRUCTURE, part offsets, preview */
};
/* Summaries of n rows (n ≤ 1000 at a time; 100-250 is a good batch), out[i] for emails[i]. Without with_record only the
 * numbers are read, which is cheaper. One pass in the database, one copy. */
enum err view_summaries(struct view *v, const uint32_t *emails, size_t n, bool with_record, struct arena *a,
                        struct summary *out) MUST_CHECK;
/* RFC 8474: "M" and "T" with 16 hex digits; stable for ever. out: 18 bytes. */
void email_id_text(uint64_t emailid, char out[18]);
void thread_id_text(uint64_t threadid, char out[18]);

struct body {  /* all zeros: closed */
	struct view *view;
	uint64_t     size;           /* bytes of the message */
	uint64_t     at;             /* private, as all below: where its record starts in its file */
	uint32_t     email, in_file;
	void        *file;
	char        *kept;           /* the message, compared; NULL: not in memory */
};
/* Pins the bytes of an email until body_close(). ERR_NOTFOUND: expunged and purged. */
enum err body_open(struct view *v, uint32_t email, struct body *out) MUST_CHECK;
void body_close(struct body *b);  /* for CLEANUP too */
/* Exactly n bytes from offset into p; offset + n ≤ size, else ERR_INVALID. Outside all locks. ERR_CORRUPT: the bytes of this message are
 * not those that were stored (logged, once a message): always found out of messages up to BODY_KEPT bytes, and when all is read at once. */
enum err body_read(struct body *b, uint64_t offset, void *p, size_t n) MUST_CHECK;
/* All of a message of up to BODY_KEPT bytes, where it is kept until body_close(). ERR_LIMIT: it is longer. ERR_CORRUPT: as above. */
enum err body_look(struct body *b, struct str *all) MUST_CHECK;
/* For who reads a longer one in pieces, and cannot take back what he passed on: up to here it will be read. ERR_CORRUPT: as above. What is asked
 * of it lies in its first eighth (a header, a text before large attachments): nothing is compared, that would cost a multiple of the reading. */
enum err body_check(struct body *b, uint64_t upto) MUST_CHECK;
enum { BODY_KEPT = 127 << 10 };   /* what malloc has at hand */
#endif
