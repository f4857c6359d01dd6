/* imap/thread_private.h -- conversations out of messages: the algorithms of THREAD, without a session. */
#ifndef FACTEUR_IMAP_THREAD_PRIVATE_H
#define FACTEUR_IMAP_THREAD_PRIVATE_H
#include "base/arena.h"
#include "base/buf.h"

enum { THREAD_NONE = -1 };

enum thread_how { THREAD_ORDEREDSUBJECT, THREAD_REFERENCES, THREAD_REFS };

struct thread_message {
	uint32_t   number;             /* what the answer calls it */
	int64_t    sent, received;     /* seconds since 1970 */
	uint64_t   id;                 /* summary_id_number(); 0: it has none */
	const uint64_t *references;    /* oldest first */
	size_t     n_references;
	struct str subject;            /* base subject (RFC 5256 §2.1), folded for comparison */
	bool       is_reply;           /* the subject said "Re:", "Fwd:" or "(fwd)" */
};

/* A node is a message (its index), or behind them a dummy: the parent of messages whose own parent is not there. */
struct thread_node {
	int32_t parent, child, next;   /* THREAD_NONE: none; child: the first */
};
struct thread_tree {
	struct thread_node *nodes;
	size_t  n;
	int32_t first;                 /* of the threads; the others by next */
};

/* messages: in the order of the mailbox, at most 2^30. In the arena. */
void thread_build(struct arena *a, enum thread_how how, const struct thread_message *messages, size_t n, struct thread_tree *out);
/* "(2)(3 6 (4 23)(44 7 96))", whatever the depth; spill (may be NULL) is called after each thread. */
void thread_put(struct buf *b, struct arena *a, const struct thread_tree *t, const struct thread_message *messages, size_t n,
                void (*spill)(void *context), void *context);
#endif
