/* queue/spool.h -- files for large messages: each has one body, and a record of the log (or a row of queue.db) names
 * it.
 *
 * A file's life: made for whoever asked (its owner: one channel), written by it through the descriptor; taken by its
 * ADD, synced, named by a record; removed when W has passed that record, unless late names it. Files nobody took are
 * removed when their owner says so, after two hours and at start. Only the owner can take a file: a number is no key to other people's mail.
 *
 * spool_write(), spool_sync() and spool_read() may run in any thread, the rest belongs to one. */
#ifndef FACTEUR_QUEUE_SPOOL_H
#define FACTEUR_QUEUE_SPOOL_H
#include "disk/disk.h"
#include "queue/late.h"

enum { SPOOL_OPEN_MAX = 10000, SPOOL_UNUSED_MS = 2 * 3600 * 1000 };

struct spool;

/* dir: DIR/queue; must outlive it. */
enum err spool_open(struct disk_dir *dir, struct spool **out) MUST_CHECK;
void spool_close(struct spool *s);      /* NULL is fine; files stay */

/* A new empty file; *fd is the caller's. ERR_FULL: the disk is. ERR_LIMIT: SPOOL_OPEN_MAX files wait to be used, or
 * `most` of this owner. */
enum err spool_new(struct spool *s, uint64_t owner, size_t most, int64_t now_ms, uint64_t *number, int *fd) MUST_CHECK;
/* Its owner does not need it: it goes, unless it is taken already, or another's. */
void spool_drop(struct spool *s, uint64_t owner, uint64_t number);
/* The owner is gone: its unused files go. */
void spool_owner_gone(struct spool *s, uint64_t owner);
/* The owner says it is complete. ERR_NOTFOUND: not this owner's, or used already. ERR_INVALID: not of this size, or somebody
 * has it open for writing. */
enum err spool_take(struct spool *s, uint64_t owner, uint64_t number, uint64_t size) MUST_CHECK;
/* A file with these bytes, head before rest, not yet synced. ERR_FULL: the disk is. */
enum err spool_write(struct spool *s, struct str head, struct str rest, uint64_t *number) MUST_CHECK;
/* Bytes and name are durable when it returns ERR_OK. */
enum err spool_sync(struct spool *s, uint64_t number) MUST_CHECK;
/* *fd: read only, the caller's. */
enum err spool_read(struct spool *s, uint64_t number, int *fd) MUST_CHECK;
void spool_remove(struct spool *s, uint64_t number);

/* The record seq names it: at start, and when the record is written. */
void spool_named(struct spool *s, uint64_t number, uint64_t seq);
/* W is durable: files that only records up to it named are removed. */
void spool_passed(struct spool *s, uint64_t w, struct late *late);
/* Removes what was not used for too long. */
void spool_expire(struct spool *s, int64_t now_ms);
/* At start, after the replay: removes what neither a record nor late names. */
enum err spool_sweep(struct spool *s, struct late *late) MUST_CHECK;
#endif
