/* store/chunk.h -- where messages stand, packed: a row of the table `chunk` has the messages of one mailbox from one uid to another,
 * CHUNK_MAX at most, in the order of their uids. message.c and array.c read and change them here.
 *
 * All under the db lock; changes in a transaction. One chunk is held in memory: a pointer to it is good until the next call that takes a
 * view. It is written when another one is wanted, and by chunk_flush() before the commit. */
#ifndef FACTEUR_STORE_CHUNK_H
#define FACTEUR_STORE_CHUNK_H
#include "db/db.h"

struct view;
struct chunk;
struct entry;

enum { CHUNK_MAX = 140 };         /* 28 bytes each: a page of the database */

struct slot {                     /* a message in a mailbox */
	uint32_t uid, email;
	uint64_t modseq, flags;
	int64_t  saved;               /* seconds since 1970, up to 2106 */
};

/* The first chunk of the mailbox with a uid of at least this one; *out is NULL if there is none. ERR_CORRUPT: logged. */
enum err chunk_seek(struct view *v, int64_t mailbox_id, uint32_t uid, struct chunk **out) MUST_CHECK;
/* Those whose key is at least this one, by one statement, in order, at most max; *more: there may be others. */
typedef void chunk_taker(void *context, const struct chunk *c);
enum err chunk_each(struct view *v, int64_t mailbox_id, uint32_t key, size_t max, chunk_taker *take, void *context, bool *more) MUST_CHECK;
/* Adds the flags of all messages of all mailboxes, until it has all of enough. */
enum err chunk_flags(struct view *v, uint64_t enough, uint64_t *flags) MUST_CHECK;
uint32_t chunk_key(const struct chunk *c);                       /* the uid that its first message had: it may be gone */
size_t chunk_count(const struct chunk *c);                       /* at least one, as it comes */
size_t chunk_find(const struct chunk *c, uint32_t uid);          /* index of the first with at least this uid; the count: there is none */
struct slot chunk_slot(const struct chunk *c, size_t i);
void chunk_entries(const struct chunk *c, size_t i, struct entry *out);   /* all from the i-th on */
uint32_t chunk_last_uid(const struct chunk *c);
void chunk_set_flags(struct chunk *c, size_t i, uint64_t flags, uint64_t modseq);
/* Behind the last of the mailbox. ERR_CORRUPT: its uid is not above that one's (logged). */
enum err chunk_append(struct view *v, int64_t mailbox_id, const struct slot *s) MUST_CHECK;
/* ERR_NOTFOUND: it is not there. */
enum err chunk_remove(struct view *v, int64_t mailbox_id, uint32_t uid) MUST_CHECK;

enum err chunk_flush(struct view *v) MUST_CHECK;
void chunk_forget(struct view *v);                               /* what is held is not true any more: rolled back, or the end */

/* A step of the schema: the rows that `message` had until then. */
enum err chunk_convert(struct db *db) MUST_CHECK;
#endif
