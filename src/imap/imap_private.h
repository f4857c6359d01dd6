/* imap/imap_private.h -- one IMAP session after login, and what its commands share. Read engine.c first. */
#ifndef FACTEUR_IMAP_IMAP_PRIVATE_H
#define FACTEUR_IMAP_IMAP_PRIVATE_H
#include "imap/grammar.h"
#include "imap/language.h"
#include "net/session.h"
#include "store/rights.h"
#include "store/view.h"
#include "submit/account.h"

enum {
	IMAP_ERRORS_MAX = 50,             /* BAD answers in a session before BYE */
	IMAP_LITERAL_TIMEOUT_MS = 300000,
	IMAP_OUT_PIECE = 32768,           /* the output buffer goes to the session at this size */
	IMAP_BATCH = 250,                 /* messages looked up at once */
	IMAP_LARGE = 1000,                /* a command in a mailbox of more messages may take long */
};

/* Where a command is allowed, and how it is run (commands.def). */
enum { IN_AUTH = 1, IN_SELECTED = 2, HOLDS = 4, STREAMS = 8, NUMBERS = 16, NAMES = 32, GUESTS = 64, REMOVES = 128, CELLS = 256 };

enum { IMAP_VISITS_MAX = GUEST_AT_ONCE };  /* threads at once: struct account */
#define IMAP_OTHERS "Other Users"   /* RFC 2342: the namespace of what other accounts share */

/* What the client has enabled: how we speak to it. Kept while parked. */
struct imap_tongue {
	bool is_condstore, is_qresync, is_utf8, is_rev2, is_uidonly;
	enum lang lang;                 /* of sentences for people */
};
static inline bool imap_names_utf8(struct imap_tongue t) { return t.is_utf8 || t.is_rev2; }
/* Changed flags come with the UID, also to who speaks CONDSTORE only (RFC 7162 §3.2.4); after ENABLE UIDONLY it stands in front already. */
static inline bool imap_adds_uid(struct imap_tongue t) { return (t.is_condstore || t.is_rev2) && !t.is_uidonly; }

struct imap_cmd;
struct imap_claim;
struct imap_context;
struct imap_notify;
struct imap_session;

/* A page of results: "1:100" the first hundred, "-1:-100" the last; first ≤ last. "100:1" is the same, and answered so    RFC 9394 §3.1, §4 */
struct imap_partial {
	uint32_t first, last;
	bool     is_from_end, is_reversed;
};

enum imap_status { IMAP_OK, IMAP_NO, IMAP_BAD, IMAP_PARK, IMAP_CUT /* in the middle of a literal: only hanging up is left */ };
struct imap_reply {
	enum imap_status status;
	struct str       text;          /* with its response code; in the command's arena */
	bool             is_last;       /* the connection ends after it */
	bool             compresses;    /* deflate begins after it */
	bool             gives_up;      /* the login; the session goes back to the gate */
};

struct imap_command {
	struct str word;
	struct imap_reply (*run)(struct imap_session *s, struct imap_cmd *c);
	unsigned   allowed;
};

struct imap_cmd {
	struct str    tag;              /* empty before it was read */
	const struct imap_command *row;
	bool          is_uid;
	bool          has_numbers;      /* a search whose keys have message numbers, also after UID */
	struct scan   args;             /* after the command word and its SP */
	struct buf    text;             /* the whole command when it has literals */
	struct arena  arena;
	enum lang     lang;             /* of the reply */
	uint32_t      limited_to;       /* MESSAGELIMIT: the lowest UID it worked on; UINT32_MAX: in several mailboxes; 0: there was no need */
	const char   *why;              /* what an argument was that failed; NULL: syntax. With a response code in front: see imap_bad() */
};

struct imap_session {
	struct session  *s;
	struct account  *account;
	struct view     *view;
	const struct guest *guest;      /* somebody else looks at the account's mailboxes; NULL: its owner */
	struct selected *selected;      /* NULL: none */
	int64_t          mailbox_id;
	bool             is_readonly;
	struct imap_tongue tongue;
	struct str       idle_tag;      /* n > 0: in IDLE; in session memory */
	char             idle_room[IMAP_TAG_MAX];
	struct arena     saved_arena;   /* SEARCHRES: "$", uids */
	struct uid_set   saved;
	int              errors;
	bool             is_cut;        /* in the middle of a literal: no word more */
	bool             gave_up;       /* its login */
	struct buf       out;
	uint64_t         told_changes;  /* flags that others had changed, told so far */
	uint64_t         flushes;       /* how often out went to the session */
	struct imap_guest *as_guest;    /* guest.c; guest is its who */
	struct imap_notify *notify;     /* NULL: nothing was said about that, the selected mailbox is told of */
	struct imap_context *contexts;  /* results that are kept up to date (context.c) */
	struct uid_set   own_changed;   /* whose flags the running command changed; in its arena; only where there are contexts */
	uint64_t         own_before;    /* events_own() before the running command */
	struct uid_set   shown;         /* what the running command has said all of that a change of flags would say, as they were at shown_modseq; in its arena */
	uint64_t         shown_modseq;
	int64_t          progress_ms;   /* when the command at hand says how far it is; 0: it has not been asked yet */
	uint64_t         told_modseq;   /* of a guest's session: all of this account up to here was looked at for news */
	uint64_t         told_keywords; /* the same: those that he has seen, and all that is no keyword; 0: not known here */
	uint32_t         parked_keywords;      /* view_keywords_mark() of them when he was parked, … */
	bool             has_other_keywords;   /* … and now, when they are known again, it is another one: he has not heard of all */
	unsigned         told_rights;   /* the same: what he may do in the selected mailbox, as he was told (PERMANENTFLAGS) */
	struct imap_claim *claim;       /* what it moves into another account (claim.c); NULL: nothing */
	struct imap_remote *remote;     /* a mailbox of another account is selected (remote.h); then selected is NULL */
	struct imap_cmd  cmd;
};

/* ------------------------------------------------------------------------------------------------------ guests (guest.c) */

struct imap_guest {
	uint64_t     account;
	const struct others *others;
	struct guest who;
	struct str   prefix;            /* "Other Users/alice@example.org/": before each name that he sees */
	size_t       place;             /* in account.guests, from 1; 0: none */
	int64_t      asked_ms;          /* when control said who he is */
	struct arena arena, whole;      /* of who; of the rest */
};
/* ERR_NOTFOUND, ERR_DENIED: he may see nothing. Also when it fails imap_guest_free() is the session's. */
enum err imap_guest_new(struct imap_session *s, const struct account *account, uint64_t guest, struct str address) MUST_CHECK;
void imap_guest_free(struct imap_guest *g);
/* A thread for a command of his. place stays 0: guests have as many as they may have, or he alone nearly all of them. */
void imap_guest_begin(struct imap_session *s);
void imap_guest_end(struct imap_session *s);
/* Who he is now. */
enum err imap_guest_look(struct imap_session *s) MUST_CHECK;
/* May he hear of the selected mailbox still? Asked before each command of a guest, and before anything is told. ERR_DENIED, ERR_NOTFOUND: no; others:
 * it could not be found out. */
enum err imap_welcome(struct imap_session *s) MUST_CHECK;

/* Has this session these rights (store/rights.h)? The owner has all: one compare. ERR_DENIED; ERR_NOTFOUND: he may not even know of the mailbox. */
enum err imap_may(struct imap_session *s, int64_t mailbox_id, unsigned rights) MUST_CHECK;
unsigned imap_rights(struct imap_session *s, int64_t mailbox_id);
/* The flags that these rights let him set and clear. */
uint64_t imap_flags_of(unsigned rights);
/* view_mailbox_find(), and the rights. */
enum err imap_find(struct imap_session *s, struct str path, unsigned rights, struct arena *a, struct mailbox *out) MUST_CHECK;
/* May a mailbox of this name be made? The right is that of the nearest parent that is there. */
enum err imap_may_create(struct imap_session *s, struct str path, struct arena *a) MUST_CHECK;
/* A mailbox as this client calls it (for every name that is written), and back (imap_arg_mailbox() does it; empty: no mailbox of this account). */
struct str imap_name_of(struct imap_session *s, struct str path, struct arena *a);
struct str imap_path_of(struct imap_session *s, struct str name);

/* ---------------------------------------------------------------------------------------------------- answering */

struct imap_reply imap_ok(struct imap_cmd *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* code: "TRYCREATE" or NULL */
struct imap_reply imap_no(struct imap_cmd *c, const char *code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* usage: what was expected; says c->why instead when an argument knows better. Where c->why begins with a response code the argument was
 * understood but cannot be had, so it is NO, but for [CLIENTBUG] and [UIDREQUIRED]. */
struct imap_reply imap_bad(struct imap_cmd *c, const char *usage);
bool imap_is_readonly(struct imap_session *s);   /* nothing can be changed in the selected mailbox: EXAMINE, or a guest who may only read, at this moment */
struct imap_reply imap_readonly(struct imap_session *s, struct imap_cmd *c);  /* to a command that would change a mailbox that was opened to be read */
struct imap_reply imap_err(struct imap_cmd *c, enum err e);  /* the one place that turns enum err into a reply */

/* Writes s->out to the session when it has grown to IMAP_OUT_PIECE; imap_flush: whatever there is. */
void imap_spill(struct imap_session *s);
void imap_flush(struct imap_session *s);

/* ---------------------------------------------------------------------------------------------------- arguments (args.c) */

/* After the last argument: true when all of it was understood and nothing is left. */
bool imap_arg_end(struct imap_cmd *c);
/* "$", sequence numbers or UIDs. imap_arg_set: as the client wrote it, "*" replaced; *is_uid says what it is.
 * imap_arg_messages: UIDs. A number beyond the mailbox is a failure, a UID beyond it is not (RFC 9051 §6.4.9). */
bool imap_arg_set(struct imap_cmd *c, struct imap_session *s, struct uid_set *set, bool *is_uid);
struct uid_set imap_arg_messages(struct imap_cmd *c, struct imap_session *s);
/* partial-range of RFC 9394 §4: both numbers positive or both negative, in any order */
void imap_arg_partial(struct imap_cmd *c, struct imap_partial *out);
struct str imap_arg_mailbox(struct imap_cmd *c, struct imap_session *s);
/* "(" flag … ")" or, is_bare: also without parentheses. The keywords are borrowed from the command. */
struct imap_flags {
	uint64_t   system;
	struct str keywords[IMAP_FLAGS_MAX];
	size_t     n;
};
void imap_arg_flags(struct imap_cmd *c, bool is_bare, struct imap_flags *out);
/* Their bits. Keywords that the account does not have are left out, or, makes_keywords, made if there is room for all of them (else it is a failure): there are
 * 58 at a time, so not before the command is understood, and only where a message gets them. For a guest none are made: they are the owner's. */
uint64_t imap_flag_bits(struct imap_cmd *c, struct imap_session *s, const struct imap_flags *flags, bool makes_keywords);

/* ------------------------------------------------------------------------------------------- reading commands (command.c) */

enum imap_read { IMAP_READ_DONE, IMAP_READ_NONE, IMAP_READ_REFUSED, IMAP_READ_OVER };
/* The next complete command into s->cmd: tag, row, arguments. NONE: none is there. REFUSED: answered already. OVER: the
 * connection ends (answered). */
enum imap_read imap_next_command(struct imap_session *s);
/* Lines and literals of a STREAMS command: reads a literal of n bytes (a "+ " is sent if it waits) into c->text. False: the
 * peer is gone. */
bool imap_read_literal(struct imap_session *s, const struct imap_literal *l, struct buf *into);

/* ------------------------------------------------------------------------------------------------------- news (news.c) */

/* "* 4 FETCH (", or after ENABLE UIDONLY "* 104 UIDFETCH (" (RFC 9586 §3.3) */
void imap_put_fetch(struct buf *b, struct imap_tongue tongue, const struct message_row *row);
/* Flags as text, remembering the last one: most messages have the same. */
struct imap_flag_words {
	struct str names[KEYWORDS_MAX];
	uint64_t   named;           /* FLAG_KEYWORD() of those that there are */
	bool       has_last;
	uint64_t   last;
	size_t     text_n;
	char       text[64 + KEYWORDS_MAX * (KEYWORD_NAME_MAX + 1)];
};
void imap_flag_words(struct imap_flag_words *w, struct view *v);
void imap_put_flags(struct buf *b, struct imap_flag_words *w, struct view *v, uint64_t flags);  /* "(\Seen x)" */
/* uid_set_put() of a set that may have any number of ranges: on its way in pieces. */
void imap_put_set(struct imap_session *s, const struct uid_set *set);
/* VANISHED (EARLIER): what was removed from the selected mailbox after since (passed through view_modseq_floor), of known (NULL: of all).
 * Nothing that this client counts. */
enum err imap_put_earlier(struct imap_session *s, const struct uid_set *known, uint64_t since, struct arena *a) MUST_CHECK;
/* What a guest may set has changed since he was told (RFC 4314 §5.1.1). */
void imap_put_rights_news(struct imap_session *s);
/* "* FLAGS (…)" and its line end: the keywords among these */
void imap_put_flags_line(struct buf *b, struct view *v, uint64_t keywords);
/* That line if these messages may have keywords that the client has not heard of: it stands before their flags. */
void imap_put_new_keywords(struct imap_session *s, const struct message_row *rows, size_t n);
/* The keywords that this client knows of: a guest of those only that a message of the selected mailbox has. */
uint64_t imap_keywords_known(struct imap_session *s);
/* All of the news; when it grows beyond IMAP_OUT_PIECE it is drained into the session (NULL: kept whole). */
void imap_put_news(struct buf *b, struct session *drain, struct imap_tongue tongue, struct view *v, const struct news *news, bool with_uid);
/* Untagged news, before a tagged line or while no command runs: of the selected mailbox, and of what NOTIFY asked for. False: the
 * connection ends (the mailbox is gone, BYE is written; or a literal was cut). */
bool imap_send_news(struct imap_session *s, bool removals, struct arena *a);

/* ------------------------------------------------------------------------------------------------------ shared by commands */

void imap_unselect_mailbox(struct imap_session *s);
/* What was said before was of one mailbox, what follows is of another: said to everybody who selects the next (RFC 7162 §3.2.11). */
void imap_put_closed(struct imap_session *s);
void imap_enable_condstore(struct imap_session *s);  /* tells HIGHESTMODSEQ when a mailbox is selected (RFC 7162 §3.1) */
/* STATUS items (status.c): parsed once, put for each mailbox. */
struct imap_status_items { unsigned bits; };
bool imap_parse_status_items(struct imap_cmd *c, struct imap_status_items *items);
struct str imap_status_items_text(struct imap_status_items items, struct arena *a);   /* "(MESSAGES UNSEEN)" */
enum err imap_put_status(struct imap_session *s, const struct mailbox *m, struct imap_status_items items, struct arena *a);
void imap_put_namespaces(struct imap_session *s);  /* "* NAMESPACE …", in the session's language (capability.c) */
void imap_put_myrights(struct imap_session *s, const struct mailbox *m);  /* acl.c */
/* In a loop that may take long (progress.c): says so now and then, but not between the untagged answers of one list. */
void imap_progress(struct imap_session *s, uint64_t done, uint64_t goal);
/* Entries of METADATA (metadata.c), for LIST: parsed once, put for each mailbox. */
struct imap_metadata;
struct imap_metadata *imap_parse_metadata_entries(struct imap_cmd *c);
enum { METADATA_ENTRIES_TEXT_MAX = 65536 };
void imap_put_metadata_entries(struct buf *b, const struct imap_metadata *wanted);   /* " METADATA (/shared/comment)" */
enum err imap_put_metadata(struct imap_session *s, const struct mailbox *m, struct imap_metadata *wanted);
/* "\\Sent" …; false: a use that no mailbox has here (RFC 6154) */
bool imap_role_of(struct str attribute, enum mailbox_role *role);
/* What the client called this mailbox, where that is not how it is stored; else empty. */
struct str imap_old_name(struct str path, struct str given);
/* A plain LIST line (SELECT), with OLDNAME if old is not empty (RFC 9051 §6.3.9.7). is_gone: it was deleted. */
void imap_put_list(struct imap_session *s, const struct mailbox *m, struct str old, bool is_gone);
/* The name of a mailbox here, or of another account, as it is stored, if there is one; else composed (store/view.h). */
struct str imap_stored_name(struct imap_session *s, struct str name, struct arena *a);
/* LIST of a mailbox that appeared, went (m and other are NULL), was subscribed, or was called old before (RFC 5465 §5.4, §5.5) */
struct imap_remote_name;
void imap_put_list_event(struct buf *b, struct imap_tongue tongue, struct str path, const struct mailbox *m, const struct imap_remote_name *other,
                         bool is_subscribed, struct str old);

/* message_limit.c, RFC 9738. Leaves the newest of these that the limit allows (of those with all of flags, changed after since), as UIDs.
 * False: they are few enough. */
bool imap_limit_set(struct imap_session *s, struct imap_cmd *c, struct uid_set *set, bool *by_uid, uint64_t since, uint64_t flags);
struct imap_reply imap_limit_refuse(struct imap_session *s, struct imap_cmd *c);
struct imap_reply imap_limit_reply(struct imap_session *s, struct imap_cmd *c, struct imap_reply r);

/* claim.c. These messages of the selected mailbox are moved by this session: by no other before imap_claim_end(). ERR_CONFLICT: by another. */
enum err imap_claim_begin(struct imap_session *s, const struct uid_set *uids) MUST_CHECK;
/* The same of messages that are all there; ERR_NOTFOUND: not all of them. */
enum err imap_claim_all(struct imap_session *s, const struct uid_set *uids) MUST_CHECK;
void imap_claim_end(struct imap_session *s);
struct imap_reply imap_claim_refuse(struct imap_cmd *c, enum err e);

/* park.c */
bool imap_park(void *state, struct buf *record, uint64_t *modseq);
void *imap_resume(struct session *s, void *cell, struct str record);
enum rendered imap_render(void *cell, struct str record, struct buf *bytes, struct buf *new_record, uint64_t *modseq);
void imap_fresh_record(struct imap_tongue tongue, struct buf *record);   /* of a session that has nothing selected */
void imap_notify_record(struct imap_tongue tongue, struct str notify, struct buf *record);   /* … and has said NOTIFY; notify: of notify_put() */
struct imap_session *imap_session_new(struct session *s, struct account *account);
void imap_session_free(void *state);

#define COMMAND(word, handler, allowed, advertises, arguments, spec) \
	struct imap_reply handler(struct imap_session *s, struct imap_cmd *c);
#define FEATURE(word, before_login, spec)
#include "imap/commands.def"
#undef COMMAND
#undef FEATURE
#endif
