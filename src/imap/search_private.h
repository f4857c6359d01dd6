/* imap/search_private.h -- a SEARCH program as a tree. */
#ifndef FACTEUR_IMAP_SEARCH_PRIVATE_H
#define FACTEUR_IMAP_SEARCH_PRIVATE_H
#include "imap/imap_private.h"
#include "mime/summary.h"

enum { SEARCH_DEPTH_MAX = 50, SEARCH_KEYS_MAX = 2000 };

enum search_op {
	/* answered from the row in memory */
	KEY_ALL, KEY_NONE, KEY_FLAGS, KEY_NO_FLAGS, KEY_SEQS, KEY_UIDS, KEY_MODSEQ,
	/* from the numbers of the summary */
	KEY_BEFORE, KEY_ON, KEY_SINCE, KEY_LARGER, KEY_SMALLER, KEY_EMAILID, KEY_THREADID,
	/* from its record */
	KEY_SENTBEFORE, KEY_SENTON, KEY_SENTSINCE, KEY_FROM, KEY_TO, KEY_CC, KEY_BCC, KEY_SUBJECT,
	/* from the message */
	KEY_HEADER, KEY_BODY, KEY_TEXT,
	/* from other keys */
	KEY_AND, KEY_OR, KEY_NOT,
};

struct search_key {
	enum search_op     op;
	uint64_t           number;    /* flags, modseq, size */
	int64_t            day;
	struct uid_set     set;
	struct str         text;      /* folded for comparison (text/fold.h); EMAILID as it is */
	struct str         name;      /* of HEADER */
	struct search_key *child;     /* of AND, OR, NOT; chained by next */
	struct search_key *next;
};

enum { RETURN_MIN = 1, RETURN_MAX = 2, RETURN_ALL = 4, RETURN_COUNT = 8, RETURN_SAVE = 16 };
struct search {
	struct search_key *key;
	unsigned returns;
	bool     has_return;           /* RETURN (…) was there: ESEARCH answers */
	bool     has_modseq;
	bool     is_bad_charset;
	size_t   n_keys;
};

/* "[RETURN (…)] [CHARSET x] keys". False: syntax, or is_bad_charset. */
bool search_parse(struct imap_session *s, struct imap_cmd *c, struct search *out);
#endif
