/* store/command.h -- CELL_COMMAND: what the administrator asks of a running account, through control.
 * One struct for the question and one for the answer, both on the wire as base/wire.h writes them. */
#ifndef FACTEUR_STORE_COMMAND_H
#define FACTEUR_STORE_COMMAND_H
#include "base/arena.h"
#include "base/wire.h"
#include "store/damage.h"
#include "store/rights.h"
#include "store/index.h"
#include "store/sending.h"

enum store_command_kind {
	STORE_COMMAND_MAILBOXES = 1,   /* list mailboxes with their counters, first_mailbox and following */
	STORE_COMMAND_UNDELETE,        /* bring back what was expunged since a time */
	STORE_COMMAND_COMPACT,         /* copy the live bodies of files that are mostly dead; runs on in view_tick() */
	STORE_COMMAND_LIMITS,          /* the account's settings changed */
	STORE_COMMAND_SENDING,         /* what was sent lately (store/sending.h) */
	STORE_COMMAND_FORGIVE,         /* the same; what looked bad in it does not count any more */
	STORE_COMMAND_REFUSED,         /* so many recipients of its mail were refused by other servers */
	STORE_COMMAND_SHARES,          /* who may do what with which mailbox: lines of rights, first_line and following */
	STORE_COMMAND_SHARE,           /* sets such a line, or removes it */
	STORE_COMMAND_INDEX,           /* how far the search index is; index_rebuilt: it is thrown away first */
	STORE_COMMAND_CHECK,           /* which bodies are damaged: damage.h, first_email and following */
	STORE_COMMAND_KINDS
};

struct store_command {
	enum store_command_kind kind;
	uint32_t   first_mailbox;      /* MAILBOXES: continue here (from the answer's next_mailbox) */
	struct str path;               /* UNDELETE: only this mailbox; empty: all */
	int64_t    since;              /* UNDELETE: seconds since 1970 */
	struct view_limits limits;     /* LIMITS */
	uint32_t   refused;            /* REFUSED */
	uint32_t   first_line;         /* SHARES: continue here (from the answer's next_line) */
	/* SHARE: of the mailbox path, or, is_tree, of those inside it, too. rights 0: remove it; who.kind 0: that of who.name, which can
	 * only be removed */
	struct acl_entry line;
	bool       is_tree;
	bool       index_rebuilt;      /* INDEX */
	uint32_t   first_email;        /* CHECK: continue here (from the answer's damage.next) */
};

struct store_command_share {       /* a line of the list of rights of a mailbox */
	struct str path, name;
	bool       is_negative;
	uint16_t   rights;
};

struct store_command_mailbox {
	struct str path;
	uint8_t    role;
	uint32_t   messages, unseen;
	uint64_t   size;
};

struct store_answer {
	enum store_command_kind kind;
	struct quota quota;            /* always set */
	/* MAILBOXES */
	uint32_t   next_mailbox;       /* 0: that was all */
	size_t     n;
	struct store_command_mailbox *mailboxes;
	uint32_t   restored;           /* UNDELETE */
	struct sending_facts sending;  /* SENDING, FORGIVE, REFUSED: after it */
	/* SHARES */
	uint32_t   next_line;          /* 0: that was all */
	struct store_command_share *shares;   /* n of them */
	struct index_facts index;      /* INDEX */
	struct damage damage;          /* CHECK */
	uint32_t   mailboxes_shared;   /* SHARE: in so many mailboxes it is now so; 0: none had a line of that name */
};

void store_command_encode(const struct store_command *c, struct buf *out);
enum err store_command_decode(struct str bytes,
							  struct store_command *out) MUST_CHECK; /* ERR_INVALID; slices view bytes */
enum err store_answer_decode(struct str bytes, struct arena *a, struct store_answer *out) MUST_CHECK;
/* The cell's side: does it and writes the answer's body (empty on an error, which goes into the reply's status).
 * ERR_INVALID: malformed; ERR_NOTFOUND: no such mailbox; ERR_QUOTA: undelete does not fit; ERR_LIMIT: too many lines of rights. */
enum err store_command_serve(struct view *v, struct str request, struct buf *answer) MUST_CHECK;
#endif
