/* queue/writer.h -- the thread that writes the log: what waits goes out together, with one write and one sync
 * (DESIGN.md §4.2). While a batch is being synced the next one gathers; where many send, a little longer (writer.c). */
#ifndef FACTEUR_QUEUE_WRITER_H
#define FACTEUR_QUEUE_WRITER_H
#include "queue/handback.h"
#include "queue/log.h"

enum { WRITER_BATCH_MAX = 512, WRITER_BATCH_BYTES = 4 << 20 };

struct writer;

struct writing {  /* one record on its way, embedded in what it belongs to */
	struct handed    handed;
	struct log_entry entry;                    /* kind, head and body filled; they stay until done() */
	void (*done)(struct writing *w); /* in writer_receive(), in the order of the log; entry.place and result are set */
};

struct writer *writer_new(struct log *l);      /* the log must outlive it */
void writer_free(struct writer *w);            /* after all has been written and done() called; NULL is fine */
void writer_add(struct writer *w, struct writing *record);
/* W is to be made durable: with the next batch, or now, alone. It never goes back. */
void writer_set_w(struct writer *w, uint64_t to, bool now);
bool writer_is_idle(struct writer *w);         /* nothing waits, and all done() were called */
int  writer_fd(const struct writer *w);        /* readable: call writer_receive() */
void writer_receive(struct writer *w);
#endif
