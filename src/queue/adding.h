/* queue/adding.h -- a message on its way into the log: its record is made (a large body goes to a spool file first, synced in the worker),
 * then written, alone or together with others that belong to it: all of them, or none. One thread.
 *
 * It is embedded in what it belongs to (add.c: what somebody asked for; copies.c: what groups send on), which owns it until written() or
 * adding_drop(). */
#ifndef FACTEUR_QUEUE_ADDING_H
#define FACTEUR_QUEUE_ADDING_H
#include "queue/add.h"
#include "queue/content.h"
#include "queue/worker.h"
#include "queue/writer.h"

struct queue;

struct adding {
	struct writing    writing;      /* first; its entry.result is that of the record */
	struct job        job;
	struct queue     *queue;
	struct str        head;         /* stands before body.bytes; may be empty */
	struct queue_body body;         /* and head: must live until ready(), or keep() */
	void            (*keep)(struct adding *a);   /* it takes longer: body must be kept from now on, and may move; NULL: it lives anyway */
	bool              is_apart;     /* it has too many with it: in a file of its own, however short */
	uint64_t          spool;        /* its file; 0: none */
	struct buf        encoded;      /* the envelope */
	struct content   *content;      /* the record, from ready() on */
	int64_t           until_ms;     /* add.h; of those that are written together the first one's counts */
	enum err          result;       /* of making it */
	void            (*ready)(struct adding *a, enum err result);   /* once, perhaps before adding_begin() returns */
	void            (*written)(struct adding *a);                  /* once after adding_write(), in the order of the log */
};

/* First of all: its envelope, resolved, which is not needed any more when this returns. ERR_LIMIT: too large. */
enum err adding_envelope(struct adding *a, const struct envelope *e) MUST_CHECK;
/* Makes the record. */
void adding_begin(struct adding *a);
/* Why nothing can be taken now; ERR_OK: it can. */
enum err adding_is_possible(const struct queue *q);
/* All are ready, and have no place yet. names: the envelope's parent is first[0], whose number is known only when it is written. At most
 * LOG_TOGETHER_MAX. */
void adding_write(struct adding *const *list, size_t n, bool names);
/* It is durable: into the backlog, and it is noted in the trail. Its content is the cache's from then on. */
const struct content *adding_enter(struct adding *a);
/* Forgets it, with its file; not while it is being made or written. Once its record is there, or may be, only what is left in memory. */
void adding_drop(struct adding *a);
#endif
