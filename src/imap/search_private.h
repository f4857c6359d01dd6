/* imap/search_private.h -- a SEARCH program as a tree. */
#ifndef FACTEUR_IMAP_SEARCH_PRIVATE_H
#define FACTEUR_IMAP_SEARCH_PRIVATE_H
#include "imap/imap_private.h"
#include "mime/summary.h"

enum { SEARCH_DEPTH_MAX = 50, SEARCH_KEYS_MAX = 2000 };

enum search_op {
	/* answered from the row in memory */
	KEY_ALL, KEY_NONE, KEY_FLAGS, KEY_NO_FLAGS, KEY_SEQS, KEY_UIDS, KEY_MODSEQ,
	KEY_SAVEDBEFORE, KEY_SAVEDON, KEY_SAVEDSINCE,  /* and its save date */
	/* from the numbers of the summary */
	KEY_BEFORE, KEY_ON, KEY_SINCE, KEY_OLDER, KEY_YOUNGER, KEY_LARGER, KEY_SMALLER, KEY_EMAILID, KEY_THREADID,
	/* from its record */
	KEY_SENTBEFORE, KEY_SENTON, KEY_SENTSINCE, KEY_FROM, KEY_TO, KEY_CC, KEY_BCC, KEY_SUBJECT,
	/* from the message */
	KEY_HEADER, KEY_BODY, KEY_TEXT,
	/* from other keys */
	KEY_AND, KEY_OR, KEY_NOT,
};

struct search_key {
	enum search_op     op;
	uint64_t           number;    /* flags, modseq, size, seconds */
	int64_t            day;
	struct uid_set     set;
	struct str         text;      /* folded for comparison (text/fold.h); EMAILID as it is */
	struct str         name;      /* of HEADER */
	struct search_key *child;     /* of AND, OR, NOT; chained by next */
	struct search_key *next;
};

enum { RETURN_MIN = 1, RETURN_MAX = 2, RETURN_ALL = 4, RETURN_COUNT = 8, RETURN_SAVE = 16, RETURN_PARTIAL = 32 };
struct search {
	struct search_key *key;
	unsigned returns;
	bool     has_return;           /* RETURN (…) was there: ESEARCH answers */
	bool     has_modseq;
	bool     has_saved;            /* a key asks for the save date */
	bool     is_bad_charset;
	struct imap_partial partial;   /* of RETURN_PARTIAL */
	int64_t  now;                  /* seconds since 1970, for OLDER and YOUNGER */
	size_t   n_keys;
};

/* "[RETURN (…)] [CHARSET x] keys". False: syntax, or is_bad_charset. */
bool search_parse(struct imap_session *s, struct imap_cmd *c, struct search *out);
/* "RETURN (…) " if it is there; the rest: charset (checked) and keys. search_parse() of SORT and THREAD, in pieces. */
void search_parse_return(struct imap_cmd *c, struct search *out);
bool search_parse_charset(struct imap_cmd *c, struct search *out);
bool search_parse_program(struct imap_session *s, struct imap_cmd *c, struct search *out);

/* Calls visit for each message that matches, in the order of the mailbox. ERR_UNAVAILABLE: the server stops. */
typedef void search_visit(void *context, const struct message_row *row);
enum err search_run(struct imap_session *s, const struct search *q, search_visit *visit, void *context) MUST_CHECK;
/* The same with the summary of each (batches are read at once), for those that still exist. scratch is emptied after each. */
typedef void search_visit_summary(void *context, const struct message_row *row, const struct summary *sum, struct arena *scratch);
enum err search_run_summaries(struct imap_session *s, const struct search *q, bool with_record, search_visit_summary *visit,
                              void *context) MUST_CHECK;

struct found {                   /* all zeros: nothing */
	struct uid_set set;          /* sequence numbers or UIDs */
	bool           wants_uids;
	struct uid_set uids;         /* the same messages, for SAVE */
	uint64_t       modseq;       /* the highest of those found */
	uint32_t       min, max, min_uid, max_uid;   /* of SORT: the first and the last */
	uint64_t       min_modseq, max_modseq;
	uint64_t       count;
	const uint32_t *order, *order_uids;          /* of SORT: count of them, in its order; NULL: SEARCH */
};
void search_found_add(struct imap_cmd *c, struct found *f, const struct message_row *row);
/* word: "SEARCH" or "SORT". e: how the search went. */
struct imap_reply search_answer(struct imap_session *s, struct imap_cmd *c, const char *word, const struct search *q,
                                const struct found *f, enum err e);
/* When the program could not be read. */
struct imap_reply search_refuse(struct imap_session *s, struct imap_cmd *c, const struct search *q, const char *usage);
#endif
