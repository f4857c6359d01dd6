/* submit/account.h -- what an engine in a cell (imap, pop3, submission) gets as `void *cell`: its account. Filled by
 * role/cell.c; every call is thread-safe and may block. */
#ifndef FACTEUR_SUBMIT_ACCOUNT_H
#define FACTEUR_SUBMIT_ACCOUNT_H
#include "base/arena.h"
#include "ipc/channel.h"

struct view;

struct account {
	uint64_t        account;    /* its number */
	struct view    *view;       /* store/view.h */
	struct channel *control;    /* for ACCOUNT_INFO and RESOLVE (directory/info.h) */
	struct channel *queue;      /* for queue_add() (queue/add.h) */
};
#endif
