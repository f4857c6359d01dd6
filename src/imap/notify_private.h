/* imap/notify_private.h -- what a client asked to hear of by NOTIFY (RFC 5465), and which mailboxes that, or a search, is about. */
#ifndef FACTEUR_IMAP_NOTIFY_PRIVATE_H
#define FACTEUR_IMAP_NOTIFY_PRIVATE_H
#include "imap/fetch_private.h"

/* ------------------------------------------------------------------------------------- filter-mailboxes (filter.c) */

/* RFC 5465 §6, and subtree-one of RFC 7377 §2.2. Numbers stand in parked records: append only. */
enum filter_kind {
	FILTER_SELECTED, FILTER_SELECTED_DELAYED, FILTER_INBOXES, FILTER_PERSONAL, FILTER_SUBSCRIBED, FILTER_SUBTREE, FILTER_SUBTREE_ONE,
	FILTER_MAILBOXES, FILTER_KINDS
};
enum { FILTER_NAMES_MAX = 1000 };  /* in one command */

struct filter {
	enum filter_kind kind;
	struct str      *names;        /* of SUBTREE, SUBTREE_ONE, MAILBOXES; UTF-8 */
	size_t           n_names;
};

/* One filter with its names; kinds: those allowed, a bit each. Sticky failure in c->args. */
void filter_parse(struct imap_session *s, struct imap_cmd *c, unsigned kinds, struct filter *out);
/* Does it name this mailbox? Never for SELECTED and SELECTED_DELAYED, which are not about names. */
bool filter_matches(const struct filter *f, struct str path, bool is_subscribed);

/* ---------------------------------------------------------------------------------------------- NOTIFY (notify.c) */

/* Bits stand in parked records: append only. */
enum {
	NOTIFY_NEW = 1, NOTIFY_EXPUNGE = 2, NOTIFY_FLAGS = 4, NOTIFY_NAME = 8, NOTIFY_SUBSCRIPTION = 16, NOTIFY_METADATA = 32,
	NOTIFY_SERVER_METADATA = 64,
	NOTIFY_MESSAGES = NOTIFY_NEW | NOTIFY_EXPUNGE | NOTIFY_FLAGS,
	NOTIFY_MAILBOXES = NOTIFY_NAME | NOTIFY_SUBSCRIPTION | NOTIFY_METADATA | NOTIFY_SERVER_METADATA,
};
enum {
	NOTIFY_GROUPS_MAX = 50, NOTIFY_ITEMS_MAX = 4096, NOTIFY_RECORD_MAX = 1800 /* bytes of it in a parked record */,
	NOTIFY_OWNERS_MAX = 50,        /* other accounts; at most PARK_WAITS_MAX - 1 */
	NOTIFY_OTHERS_MAX = 100,       /* mailboxes of theirs */
};

struct notify_group {
	struct filter filter;
	unsigned      events;          /* 0: NONE */
};

/* Somebody else, some of whose mailboxes are watched. */
struct notify_owner {
	uint64_t account;
	uint64_t told;                 /* modseq of his account: told up to here; NOTIFY_ANEW: STATUS of all */
	bool     must_look;            /* it has changed, or may have */
	bool     could_not_ask;        /* what is new there: not again before it is woken for it */
};
enum { NOTIFY_ANEW = 0, NOTIFY_SINCE_EVER = 1 };

struct imap_notify {               /* without groups: NOTIFY NONE */
	struct arena  arena;           /* all of it */
	struct notify_group *groups;
	size_t        n;
	unsigned      selected;        /* events of the selected mailbox */
	bool          is_delayed;      /* … whose removals wait for a command that may tell them */
	struct str    items;           /* "(UID FLAGS)" to be told of new messages there; empty: none */
	struct fetch  fetch;           /* the same, parsed; only in a session */
	uint64_t      told;            /* modseq of the account: other mailboxes were told up to here */
	struct notify_owner *owners;   /* NOTIFY_OWNERS_MAX of them, or NULL; notify_others.c */
	size_t        n_owners;
	bool          must_look_anew;  /* somebody shares something with us who did not before */
};

struct imap_notify *notify_new(void);
void notify_free(struct imap_notify *n);   /* NULL is fine */
/* The events of a mailbox that is not selected: of all groups that name it, or none if one of them is NONE. */
unsigned notify_events(const struct imap_notify *n, struct str path, bool is_subscribed);
bool notify_wants(const struct imap_notify *n, unsigned events);   /* any of them, anywhere but in the selected mailbox */

/* The only one that a guest's session has: events of messages in mailboxes of ours that it names, and in the selected one. */
bool notify_is_for_guest(const struct imap_notify *n);
/* The command by which the cell of another account is told what is wanted of the mailbox that is selected there. */
struct str notify_of_selected(const struct imap_notify *n, struct arena *a);

/* As it is parked, and back; false: not what notify_put() writes. items are not parsed: notify_parse_items(). */
void notify_put(struct buf *b, const struct imap_notify *n);
bool notify_get(struct str bytes, struct imap_notify *n);
bool notify_parse_items(struct imap_session *s, struct imap_notify *n);

/* ----------------------------------------------------------------------------------- what is told (notify_news.c) */

/* What happened since n->told in mailboxes other than the selected one (0: none), which is then told. Drained as imap_put_news() is. guest: whose
 * session it is, if not the owner's. When more happened than the store remembers, the client hears NOTIFICATIONOVERFLOW and n becomes NONE (RFC 5465 §5.8). */
enum err notify_put_news(struct buf *b, struct session *drain, struct imap_tongue tongue, struct view *v, int64_t selected_id,
                         struct imap_notify *n, struct imap_session *guest);
/* "* STATUS" of all mailboxes whose messages are watched, for NOTIFY SET STATUS. */
enum err notify_put_status(struct imap_session *s, const struct imap_notify *n);

/* ---------------------------------------------------------------------------- in mailboxes of others (notify_others.c) */

/* Finds out whose mailboxes are watched, and what is known of them: at NOTIFY SET, and when a subscription of one changes. wants_status: tells their
 * STATUS. False: the connection ends. */
bool notify_others_begin(struct imap_session *s, struct imap_notify *n, bool wants_status);
/* May it be about mailboxes of others who share nothing yet? */
bool notify_watches_others(const struct imap_notify *n);
/* Tells what is new with those that must be looked at; what is about names becomes events of this account. False: the connection ends. */
bool notify_others_tell(struct imap_session *s);
/* These accounts have changed (session_open.changed; 0: another one has begun to share). */
void notify_others_changed(struct imap_notify *n, struct str accounts);
#endif
