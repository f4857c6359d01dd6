/* queue/writer.h -- who writes the log: what waits goes out together, with one write and one sync (DESIGN.md §4.2). A thread, while
 * the next batch gathers; where many send, a little longer; or the loop itself, where one sender is alone (writer.c). */
#ifndef FACTEUR_QUEUE_WRITER_H
#define FACTEUR_QUEUE_WRITER_H
#include "queue/handback.h"
#include "queue/log.h"

enum { WRITER_BATCH_MAX = 512, WRITER_BATCH_BYTES = 4 << 20, WRITER_LATER_MS = 3 };

struct writer;

struct writing {  /* one record on its way, embedded in what it belongs to */
	struct handed    handed;
	struct log_entry entry;                    /* kind, head and body filled; they stay until done() */
	int64_t          until_ms;                 /* clock_mono_ms(): what is not begun by then is not written, with what goes together with it: ERR_TIMEOUT; 0: none */
	void (*done)(struct writing *w);  /* in writer_receive() or writer_go(), in the order of the log; entry.place and result are set */
	bool             has_time;                 /* the writer's: of writer_add_later() */
};

struct writer *writer_new(struct log *l);      /* the log must outlive it */
void writer_free(struct writer *w);            /* after all has been written and done() called; NULL is fine */
void writer_add(struct writer *w, struct writing *record);   /* nothing happens before writer_go() */
/* Several that go together (log.h), at most LOG_TOGETHER_MAX: they are written in one call, one behind the other. */
void writer_add_together(struct writer *w, struct writing *const *records, size_t n);
/* The same, for one that nobody waits for: with what is added next, or after WRITER_LATER_MS. */
void writer_add_later(struct writer *w, struct writing *record);
int writer_patience_ms(const struct writer *w);   /* writer_go() is to be called again within so long; INT_MAX: whenever something happens */
/* At the end of each turn of the loop: what was added is written, by the thread, or here and now when it is one record of a lone
 * sender (writer.c); then its done() runs inside. */
void writer_go(struct writer *w);
/* W is to be made durable: with the next batch, or now, alone. It never goes back. */
void writer_set_w(struct writer *w, uint64_t to, bool now);
bool writer_is_idle(struct writer *w);         /* nothing waits, and all done() were called */
int  writer_fd(const struct writer *w);        /* readable: call writer_receive() */
void writer_receive(struct writer *w);
#endif
