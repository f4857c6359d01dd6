/* queue/add.h -- the one way into the queue. ERR_OK means: on disk, once, and it will be delivered (DESIGN.md §4).
 *
 * The caller is mx or a cell; the request ADD goes to the role queue (add_call.c asks, add.c serves). The body is the
 * message as it will be stored: CRLF lines, no NUL, with its Received field; Return-Path is added at delivery.
 * Three ways for the bytes, chosen here or by the caller:
 *   - up to about 58 kB together with the envelope: inside the request;
 *   - more: a sealed memfd made here, so give the bytes in memory and do not care;
 *   - a large message still arriving: queue_spool() gives a file of the queue to write into, so that it is never in
 *     memory. */
#ifndef FACTEUR_QUEUE_ADD_H
#define FACTEUR_QUEUE_ADD_H
#include "ipc/channel.h"
#include "queue/envelope.h"

/* A disk that hangs for a minute does what it was asked for in the end: whoever was told "451" by then sends it again, and it is there twice.
 * Other servers wait ten minutes for the word (RFC 5321 §4.5.3.2.6). */
enum { QUEUE_BODY_MAX = 256 << 20, QUEUE_ADD_TIMEOUT_MS = 5 * 60000, QUEUE_ANSWER_MS = 10000 /* of it, for the answer's way back */ };

struct queue_body {
	struct str bytes;       /* in memory; or p == NULL and: */
	uint64_t   spool;       /* the number queue_spool() gave; all bytes written, synced by queue */
	uint64_t   size;        /* of the spool file */
	uint32_t   crc;         /* CRC32C of the spool file's bytes */
};

/* The name of a message in the queue, as people see it: queue_name(). */
struct queue_id {
	uint64_t log_id, seq;
};
/* "3f2a9c01-1234": the first half of the log id and the seq. For the reply "250 2.0.0 queued as …" and the logs. */
struct str queue_name(struct queue_id id, struct arena *a);
bool queue_name_parse(struct str name, uint32_t *log_id_high, uint64_t *seq);

/* Adds one message and waits until it is durable. Recipients are resolved there (queue/envelope.h). ERR_OK; *id is its
 * name (when a message of the same parent key is there already: that one's). ERR_AGAIN: the log or the disk is full:
 * 452 4.3.1, try later. ERR_UNAVAILABLE, ERR_TIMEOUT: the outcome is not known, treat as not accepted: 451 4.3.0.
 * ERR_LIMIT: too large or too many recipients for the queue. ERR_CONFLICT: it is for a group, or an alias, that has sent it on before; ERR_DENIED: an
 * automatic answer, for a group. ERR_NOTFOUND: it was to leave a group, and who sent it is no member, or members do not leave it by themselves. ERR_IO: the disk failed and nothing can be accepted now:
 * 451 4.3.0. */
enum err queue_add(struct channel *queue, const struct envelope *e, const struct queue_body *body,
                   struct queue_id *id) MUST_CHECK;

/* The same without waiting, for event loops: done runs once from channel_receive(), never from inside this call.
 * Returns something else than ERR_OK when the question could not be sent: then done never runs. */
typedef void (*queue_added)(void *context, enum err result, struct queue_id id);
enum err queue_add_ask(struct channel *queue, const struct envelope *e, const struct queue_body *body, queue_added done,
                       void *context) MUST_CHECK;

/* A new empty file for one large message: write it from offset 0, close it, then add it by its number: while anybody has it
 * open for writing it is refused. *fd is the caller's to close; a file that is not added within 2 hours, or before the queue
 * restarts, is removed. ERR_AGAIN: the disk is nearly full. */
enum err queue_spool(struct channel *queue, uint64_t *spool, int *fd) MUST_CHECK;
typedef void (*queue_spooled)(void *context, enum err result, uint64_t spool, int fd);  /* fd is the callee's */
enum err queue_spool_ask(struct channel *queue, queue_spooled done, void *context) MUST_CHECK;
/* The message of this file did not come to its end, or was refused: the file goes at once, or who begins messages and never ends them would have
 * the disk. Also after an ADD of it that failed, for whatever reason: if the message was taken all the same, its file stays. */
void queue_spool_drop(struct channel *queue, uint64_t spool);

/* ---- the serving side: what a request holds, checked.
 * ADD:    u64 until_ms, u8 where its content is (1: behind this byte; 2: in a sealed memfd, the one descriptor). The content: the envelope
 *         as a string, u8 body (1: the bytes that follow, to the end; 2: a spool file: u64 number, u64 size, u32
 *         CRC32C).
 *         Answer: u64 log id, u64 seq.
 * SPOOL:  empty. Answer: u64 number, and the file.
 * SPOOL_DROP: u64 number. */
struct queue_add_in {
	struct envelope   envelope;
	struct queue_body body;
	int64_t           until_ms;        /* clock_mono_ms(): from then on nobody waits for the answer, and it is not to be begun; 0: somebody always does */
	struct str        mapped;          /* private */
};
/* Slices view m->body or the mapped memfd, which stays mapped until queue_add_release(); arrays live in a. ERR_INVALID:
 * the sender is broken. */
enum err queue_add_decode(const struct message *m, struct arena *a, struct queue_add_in *out) MUST_CHECK;
void queue_add_release(struct queue_add_in *in);   /* for CLEANUP too */
void queue_add_answer(struct queue_id id, struct buf *out);
void queue_spool_answer(uint64_t spool, struct buf *out);
#endif
