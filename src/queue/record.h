/* queue/record.h -- what the records of the log hold. LOG_MESSAGE: the envelope, and the body or the name of its spool file.
 * LOG_DONE: recipients of one message that other servers have taken.
 *
 * What a restart needs, and why the log has results of other servers only (DESIGN.md §4.3, §4.4, §4.6):
 *   - A local recipient is answered for by its account: the cell keeps the name (log id, seq, recipient) in the
 *     transaction that adds the message, so a replay of everything above W delivers nothing twice and loses nothing.
 *   - A recipient that has moved to queue.db is answered for by its row there (queue/late.h), which is kept, even when
 *     it is finished, until W has passed its seq. So a replay asks late_find() first and leaves such a recipient alone.
 *   - A recipient elsewhere that has been sent to is answered for by a LOG_DONE, which stands behind its message; whether the
 *     sender is to hear of it can be seen from both. It may name a row of queue.db (of an older log, too) whose change did not come to the disk: the replay finishes it.
 *   - Everything else is still to be done. So W may become v as soon as each recipient of each seq ≤ v is either
 *     committed in a synced account, or sent, or a row of queue.db, and the rows that LOG_DONEs ≤ v name are finished. */
#ifndef FACTEUR_QUEUE_RECORD_H
#define FACTEUR_QUEUE_RECORD_H
#include "base/wire.h"

enum { SPOOL_NAME_MAX = 32, RECORD_DONE_MAX = 100 };

struct record_message {
	struct str envelope;   /* envelope_encode() */
	struct str body;       /* inline; p == NULL: in the spool file */
	uint64_t   spool;      /* number of the spool file; 0: inline */
	uint64_t   size;       /* bytes of the body, wherever it is */
	uint32_t   crc;        /* CRC32C of the body */
};

/* The first part of the payload; an inline body follows it as it is (struct log_entry: head, body). */
void record_message_encode(const struct record_message *m, struct buf *head);
/* Slices view payload. False: malformed, or of a later version. */
bool record_message_decode(struct str payload, struct record_message *out) MUST_CHECK;

/* Where in payload the seq of the envelope's parent stands, as put_u64() writes it: for one that is numbered in the same breath (log.h). */
size_t record_parent_seq_at(struct str payload);

struct record_done {
	uint64_t log_id, seq;  /* the message */
	size_t   n;            /* 1 to RECORD_DONE_MAX */
	uint16_t recipients[RECORD_DONE_MAX];  /* indexes in its envelope */
	uint8_t  taken[RECORD_DONE_MAX];       /* RECORD_*: what the other server has taken over, of what the sender wants to hear */
};
enum { RECORD_PEER_TELLS = 1, RECORD_PASSED_BY = 2 };   /* queue/fate.h */
void record_done_encode(const struct record_done *d, struct buf *out);
bool record_done_decode(struct str payload, struct record_done *out) MUST_CHECK;

/* "spool/00000000000000000042", below DIR/queue. */
void spool_name(uint64_t spool, char name[SPOOL_NAME_MAX]);
/* The other way, for a name as it stands in the folder ("00000000000000000042"). */
bool spool_name_parse(struct str name, uint64_t *spool);
#endif
