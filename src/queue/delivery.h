/* queue/delivery.h -- the request DELIVER: a batch of deliveries for one account, from queue to its cell, and the
 * answer.
 *
 * A delivery is named by (log_id, seq, recipient): the log record and which of its envelope recipients. The body
 * travels inside the batch, or, when it lies in a spool file of its own, as a read-only descriptor of that file. On the
 * channel: the request's body is the batch itself if it fits MESSAGE_BODY_MAX (60,000 bytes), else the batch is in a
 * sealed memfd, which is then the first descriptor; the descriptors of bodies follow. */
#ifndef FACTEUR_QUEUE_DELIVERY_H
#define FACTEUR_QUEUE_DELIVERY_H
#include "base/arena.h"
#include "base/err.h"
#include "base/wire.h"
#include "ipc/channel.h"

enum {
	DELIVERY_BATCH_MAX  = 64,          /* deliveries */
	DELIVERY_BATCH_BYTES = 6 << 20,    /* encoded, with inline bodies (queue fills up to 4 MB) */
	DELIVERY_FDS_MAX    = 3,           /* bodies by descriptor in one batch (MESSAGE_FDS_MAX less the memfd) */
	DELIVERY_INLINE_MAX = 1 << 20,     /* bytes of a body inside the batch */
	DELIVERY_ADDRESS_MAX = 1000,       /* bytes of an address */
	DELIVERY_REASON_MAX = 500,
};

struct delivery {
	uint64_t   log_id, seq;
	uint16_t   recipient;              /* index in the envelope of the record */
	/* What a message made by a delivery (redirect, vacation, DSN) was made from; parent_log_id 0: it was not. The same
	 * key is never delivered twice; the cell writes it into the message's trace only. */
	uint64_t   parent_log_id, parent_seq, parent_account;
	uint32_t   parent_ordinal;
	struct str sender;                 /* envelope sender; empty: a bounce, "<>" */
	struct str original_recipient;     /* as in RCPT TO, before aliases */
	struct str detail;                 /* sub-address: "x" of bob+x@; empty if none */
	int64_t    received;               /* seconds since 1970, when it was accepted, or its sender let it go: the INTERNALDATE */
	bool       smtputf8;
	bool       may_be_duplicate;       /* replay or late: look before delivering */
	uint64_t   size;                   /* bytes of the body */
	uint32_t   crc;                    /* CRC32C of the body */
	struct str body;                   /* inline: size bytes; when fd is in use p == NULL */
	int        fd;                     /* -1: inline. Of a file with exactly these bytes */
};

struct delivery_batch {
	uint64_t account;
	/* What the cell may forget: every delivery of this log with seq ≤ prune_seq is answered and will never be sent
	 * again (≤ W, and below the oldest late delivery of this account); is_only_log: the same holds of all other logs. */
	uint64_t prune_log_id, prune_seq;
	bool     is_only_log;
	size_t   n;
	struct delivery *deliveries;
};

/* Encodes a batch: request gets the body of DELIVER, fds the descriptors to send along, *fd_count how many. A memfd
 * made for it is fds[0] and *memfd: the caller closes it after sending (-1: none). The bodies' descriptors stay the
 * caller's. ERR_LIMIT: over one of the limits above. ERR_IO: no memfd. */
enum err delivery_batch_encode(const struct delivery_batch *batch, struct buf *request, int fds[MESSAGE_FDS_MAX],
							   int *fd_count, int *memfd) MUST_CHECK;
/* Decodes what arrived. The slices point into m->body or the mapped memfd, which stays mapped until
 * delivery_batch_release(). The descriptors move from m into the deliveries (m->fds becomes -1). ERR_INVALID: not a
 * valid batch; nothing was taken. */
struct delivery_batch_in {
	struct delivery_batch batch;
	struct str            mapped;      /* private */
};
enum err delivery_batch_decode(struct message *m, struct arena *a, struct delivery_batch_in *out) MUST_CHECK;
void delivery_batch_release(struct delivery_batch_in *in);   /* unmaps and closes the descriptors; for CLEANUP too */
/* The pure part, for tests and fuzzing: bytes in, structs out; fd becomes the index of the descriptor (from 0) instead.
 */
bool delivery_batch_parse(struct str bytes, struct arena *a, struct delivery_batch *out);

/* ------------------------------------------------------------------------------------------------------ the answer */

enum delivery_outcome {
	DELIVERY_DONE = 1, /* delivered now, or found delivered already: durable at the next sync point or CELL_SYNC */
	DELIVERY_DEFERRED, /* not now: try again later */
	DELIVERY_REFUSED,  /* never: over quota by setting, message unusable */
};
struct delivery_result {
	uint64_t   log_id, seq;
	uint16_t   recipient;
	enum delivery_outcome outcome;
	bool       is_synced;              /* DONE, and durable already */
	struct str status;                 /* enhanced status code: "2.0.0", "4.2.2" (RFC 3463) */
	struct str reason;                 /* a sentence for log, trail and DSN; when DONE the mailbox it is in, as far as known */
};
/* One result for each delivery of the batch, in its order. */
void delivery_results_encode(const struct delivery_result *results, size_t n, struct buf *out);
/* ERR_INVALID: malformed, or more than DELIVERY_BATCH_MAX. */
enum err delivery_results_decode(struct str bytes, struct arena *a, struct delivery_result **out, size_t *n) MUST_CHECK;
#endif
