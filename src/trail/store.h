/* trail/store.h -- trail.db: what the roles have noted (trail.h), kept for some weeks, and found again by a message's name, its
 * Message-ID, an address, a domain or the time. control owns it. Any thread may call; nothing here waits for anybody but the disk.
 *
 * A trail is worth much and is no promise: what was taken is in memory for some seconds before it is written, and what was written
 * is synced when the file's write-ahead log is emptied. A crash loses the last of it, never more, and never a mail. */
#ifndef FACTEUR_TRAIL_STORE_H
#define FACTEUR_TRAIL_STORE_H
#include "disk/disk.h"
#include "trail/trail.h"

struct trail_store;

struct trail_limits {
	uint32_t days;          /* 0: nothing is kept */
	uint64_t bytes;         /* of the file, about; the oldest goes first */
};

enum {
	TRAIL_WRITE_EVERY_MS = 5000,
	TRAIL_MESSAGES_MAX = 1000,       /* in one answer */
	TRAIL_EVENTS_MAX = 1000,         /* of one message in an answer */
};

/* Opens or makes DIR/control/trail.db. A file that is damaged is set aside as trail.db.damaged, and a new one begun. */
enum err trail_store_open(struct disk_dir *dir, struct trail_store **out) MUST_CHECK;
/* Writes what waits. NULL is fine. */
void trail_store_close(struct trail_store *t);
void trail_store_limit(struct trail_store *t, const struct trail_limits *limits);

/* Notes of a role; account: of a cell. Never waits. ERR_INVALID: malformed, or not for this role to say; the notes before it were
 * taken. */
enum err trail_store_take(struct trail_store *t, enum role who, uint64_t account, struct str events) MUST_CHECK;
/* When something waits to be written, and it is time; -1: nothing waits. */
int64_t trail_store_due_ms(struct trail_store *t);
/* Writes it, and forgets what is too old. */
enum err trail_store_write(struct trail_store *t) MUST_CHECK;

/* ---- finding */
enum trail_by { TRAIL_BY_TIME, TRAIL_BY_NAME, TRAIL_BY_MESSAGE_ID, TRAIL_BY_RECEIVED_ID, TRAIL_BY_ADDRESS, TRAIL_BY_DOMAIN };

struct trail_query {
	enum trail_by by;
	uint32_t   log_id_high;     /* NAME: as queue_name_parse() gives it */
	uint64_t   seq;
	struct str text;            /* MESSAGE_ID without <>; RECEIVED_ID, ADDRESS, DOMAIN (these in any case) */
	uint64_t   account;         /* ADDRESS: the account it leads to, whose mail is found too; 0: none */
	int64_t    since_ms;        /* only messages that something happened to since then; 0: all */
	uint64_t   owner;           /* what this account may see; 0: everything, for the administrator */
	size_t     max;             /* messages, the latest ones; ≤ TRAIL_MESSAGES_MAX */
};

struct trail_message {
	uint64_t   log_id, seq;     /* the upper half of the log id counts; 0: refused before it had a name; it has one event */
	size_t     n;               /* events in the order of time, at least one */
	struct trail_event *events; /* of it, and RECEIVED of what was made from it (parent) */
	bool       is_cut;          /* there are more */
};
/* The event is the message's own, and not that of one that was made from it. */
static inline bool trail_event_is_of(const struct trail_event *e, const struct trail_message *m)
{
	return e->log_id >> 32 == m->log_id >> 32 && e->seq == m->seq;
}

struct trail_found {
	size_t     n;               /* the earliest first */
	struct trail_message *messages;
	bool       has_more;        /* earlier ones */
};
/* All lives in a. What may be there twice after a crash (RECEIVED, DELIVERED) is there once. */
enum err trail_store_find(struct trail_store *t, const struct trail_query *q, struct arena *a, struct trail_found *out) MUST_CHECK;

/* What the owner of an account may see of a message: all that happened to what he sent, but not into which mailbox of others it
 * went; of what he received only his own part. False: nothing. Changes m. */
bool trail_owner_view(struct trail_message *m, uint64_t owner, struct arena *a);
#endif
