/* queue/unfinished.h -- messages to groups that a restart finds in the log: are all copies there that belong to them? One thread.
 *
 * A message and what groups send on of it are written together (copies.h). If that write was cut, copies at the end of it are missing; they are
 * made up when the look-up is there, and until then W stays below the message, and nothing new is taken. */
#ifndef FACTEUR_QUEUE_UNFINISHED_H
#define FACTEUR_QUEUE_UNFINISHED_H
#include "queue/backlog.h"
#include "queue/envelope.h"

struct queue;
struct unfinished_message;
struct unfinished_attempt;

struct unfinished {  /* all zeros: none */
	struct unfinished_message *first, *last;
	struct unfinished_attempt *attempt;
	bool    has_failed;      /* it cannot be made up now: others need not wait for it */
	int64_t again_ms;
};

/* During the replay: a group in a message, taken from the backlog. */
void unfinished_add(struct unfinished *u, const struct log_place *place, struct due *d);
/* During the replay: a message with this parent. If it is a copy of one that waits here, that has it. */
void unfinished_has_copy(struct queue *q, const struct envelope_parent *parent, const struct log_place *place);
/* After each round of events: makes up what is missing. */
void unfinished_run(struct queue *q);
bool unfinished_comes_first(const struct unfinished *u);   /* before anything new */
/* Nothing of it is under way; the log has it still. */
void unfinished_free(struct queue *q);
#endif
