/* submit/account.h -- what an engine in a cell (imap, pop3, submission) gets as `void *cell`: its account. Filled by
 * role/cell.c; every call is thread-safe and may block. */
#ifndef FACTEUR_SUBMIT_ACCOUNT_H
#define FACTEUR_SUBMIT_ACCOUNT_H
#include "base/arena.h"
#include "directory/share.h"
#include "ipc/channel.h"

struct view;

enum { GUESTS_AT_ONCE = 6, GUEST_AT_ONCE = 3 };

/* How an engine meets other accounts (shared mailboxes): through control and master; in tests, without them, and perhaps without list. Each call may wait. */
struct others {
	/* Who lets this account see something: one by any of his addresses (ERR_NOTFOUND: nobody, or he shares nothing), or all. */
	enum err (*find)(void *context, struct str address, struct arena *a, struct share_owner *out);
	enum err (*list)(void *context, struct arena *a, struct share_owner **out, size_t *n);
	/* Who is this account, as a guest of ours? ERR_NOTFOUND, ERR_DENIED: nobody who may look at anything. */
	enum err (*guest)(void *context, uint64_t guest, struct arena *a, struct guest *out);
	/* A session pair (ipc/frame.h) into that account's cell, which is told by master whose we are. */
	enum err (*visit)(void *context, uint64_t owner, int *fd);
	void *context;
};

struct account {
	uint64_t        account;    /* its number */
	struct view    *view;       /* store/view.h */
	struct channel *control;    /* for ACCOUNT_INFO and RESOLVE (directory/info.h) */
	struct channel *queue;      /* for queue_add() (queue/add.h) */
	const struct others *others;  /* NULL: it sees no other account */
	_Atomic uint32_t message_limit;  /* messages one IMAP command works on (RFC 9738); 0: no limit */
	/* Threads that wait for another account's cell, at most GUEST_AT_ONCE; that serve guests from one. Three more may wait for guests to read
	 * (net/attach.c). A cell has fourteen: some are always left for its own clients, and two cells whose clients look at each other cannot wait
	 * for each other with all of them. */
	_Atomic int      visits;
	_Atomic uint64_t guests[GUESTS_AT_ONCE];   /* whom a thread serves; 0: nobody. At most GUEST_AT_ONCE of them the same one */
};
#endif
