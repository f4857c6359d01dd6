/* queue/reporter.h -- writes reports to senders: collects what queue.db has to tell, has it written (queue_host.report), puts it into
 * the log as a message of its own. Each exactly once, whatever is killed. One thread. */
#ifndef FACTEUR_QUEUE_REPORTER_H
#define FACTEUR_QUEUE_REPORTER_H
#include <stdbool.h>

struct queue;
struct reporter;

struct reporter *reporter_new(struct queue *q);
/* Looks whether something is due, and begins with it: about once a second. */
void reporter_tick(struct reporter *r);
/* Reports are under way. */
bool reporter_is_busy(const struct reporter *r);
/* Begins nothing more: the queue is about to close. NULL is fine. */
void reporter_stop(struct reporter *r);
void reporter_free(struct reporter *r);   /* after worker and writer; NULL is fine */
#endif
