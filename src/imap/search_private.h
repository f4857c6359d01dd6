/* imap/search_private.h -- a SEARCH program as a tree. */
#ifndef FACTEUR_IMAP_SEARCH_PRIVATE_H
#define FACTEUR_IMAP_SEARCH_PRIVATE_H
#include "imap/imap_private.h"
#include "mime/summary.h"
#include "store/gist.h"
#include "store/index.h"

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
	uint32_t           open_from; /* of UID 5:*, 5: as long as the search is kept up to date it is for what comes, too; 0: another set */
	struct str         written;   /* the same as the client wrote it */
	struct str         name;      /* of HEADER, and of a keyword */
	bool               is_like;   /* inside FUZZY: what resembles is found, too */
	struct index_hits *hits;      /* what the index says (search_index.c); NULL: it was not asked */
	struct search_key *child;     /* of AND, OR, NOT; chained by next */
	struct search_key *next;
};

enum { RETURN_MIN = 1, RETURN_MAX = 2, RETURN_ALL = 4, RETURN_COUNT = 8, RETURN_SAVE = 16, RETURN_PARTIAL = 32, RETURN_RELEVANCY = 64,
       RETURN_UPDATE = 128 };
struct search {
	struct search_key *key;
	unsigned returns;
	bool     has_return;           /* RETURN (…) was there: ESEARCH answers */
	bool     has_modseq;
	bool     has_saved;            /* a key asks for the save date */
	bool     has_fuzzy;            /* a key is inside FUZZY */
	bool     wants_relevancy;
	bool     is_bad_charset;
	bool     refuses_saved;        /* "$" is about another mailbox than the one that is searched */
	struct imap_partial partial;   /* of RETURN_PARTIAL */
	int64_t  now;                  /* seconds since 1970, for OLDER and YOUNGER */
	size_t   n_keys;
	struct str program;            /* the keys as they stand in the command */
	struct str update_items;       /* of RETURN (UPDATE (…)): what to fetch of new messages; empty: nothing */
	const struct uid_set *only;    /* UIDs; NULL: all messages */
	bool     is_beside;            /* asks a few, beside a command that is about something else (context.c) */
	/* while it runs */
	unsigned relevancy;            /* of the message that is visited: 1 to 100, if wants_relevancy */
	size_t   n_read;               /* messages that had to be read */
	size_t   n_damaged;            /* … and could not be, or their bytes are not those that were stored */
	bool     is_index_made;        /* as far as it can be */
	struct arena *index_arena;     /* what the index said: some bytes for each email of the account, so not kept beyond search_run() */
};

/* "[RETURN (…)] [CHARSET x] ": what stands before the keys. False: syntax, or is_bad_charset. */
bool search_parse_options(struct imap_session *s, struct imap_cmd *c, struct search *out);
/* UPDATE is for a tag that is not in use by it (RFC 5267 §4.3). */
bool search_update_is_allowed(struct imap_session *s, struct imap_cmd *c, const struct search *q);
/* "RETURN (…) " if it is there; a charset, checked; and the keys, to the end of the command: the same in pieces, for SORT and THREAD. */
void search_parse_return(struct imap_session *s, struct imap_cmd *c, struct search *out);
bool search_parse_charset(struct imap_cmd *c, struct search *out);
bool search_parse_program(struct imap_session *s, struct imap_cmd *c, struct search *out);

/* Where the mailbox is larger than imap_message_limit: sets q->only to the newest of what the keys name. False: it is small enough. */
bool search_limit(struct imap_session *s, struct imap_cmd *c, struct search *q);

/* Calls visit for each message that matches, in the order of the mailbox. ERR_UNAVAILABLE: the server stops. */
typedef void search_visit(void *context, const struct message_row *row);
enum err search_run(struct imap_session *s, struct search *q, search_visit *visit, void *context) MUST_CHECK;
/* The same with the gist of each (batches are read at once), for those that still exist. What it points to lies in the arena; wants:
 * GIST_SENT | …. */
typedef void search_visit_gist(void *context, const struct message_row *row, const struct gist *gist);
enum err search_run_gists(struct imap_session *s, struct search *q, unsigned wants, struct arena *a, search_visit_gist *visit,
                          void *context) MUST_CHECK;

/* search_index.c: which fields of the index a key is about; 0: it cannot answer that key. */
unsigned search_fields(const struct search_key *k);
/* Asks the index about all keys; what it says lies in q->index_arena. search_forget_index(): and is not asked any more. */
void search_use_index(struct imap_session *s, struct search *q);
void search_forget_index(struct search *q);
/* So many messages were read and those from row seq on are left: is it better to make the index first? Then it is made, with news about
 * the progress. ERR_UNAVAILABLE: the server stops. */
enum err search_make_index(struct imap_session *s, struct search *q, uint32_t seq) MUST_CHECK;
/* False: the index knows that it does not match, whatever the other keys say. */
bool search_may_match(const struct search *q, const struct message_row *row);

struct found {                   /* all zeros: nothing */
	struct uid_set set;          /* sequence numbers or UIDs */
	bool           wants_uids;
	struct uid_set uids;         /* the same messages, for SAVE */
	uint64_t       modseq;       /* the highest of those found */
	uint32_t       min, max, min_uid, max_uid;   /* of SORT: the first and the last */
	uint64_t       min_modseq, max_modseq;
	uint64_t       count;
	const uint32_t *order, *order_uids;          /* of SORT: count of them, in its order; NULL: SEARCH */
	uint8_t        *relevancy;                   /* RETURN (RELEVANCY): count of them, in the order of the results */
	size_t          relevancy_cap;
	struct str      mailbox;                     /* the answer names it, and is none when nothing was found (RFC 7377 §2.1) */
	uint32_t        uidvalidity;
};
void search_found_add(struct imap_cmd *c, const struct search *q, struct found *f, const struct message_row *row);
/* RELEVANCY without FUZZY is refused (RFC 6203 §4). */
bool search_relevancy_is_allowed(struct imap_cmd *c, const struct search *q);
/* "* ESEARCH …" */
void search_put_esearch(struct imap_session *s, struct imap_cmd *c, const struct search *q, const struct found *f);
/* word: "SEARCH" or "SORT". e: how the search went. */
struct imap_reply search_answer(struct imap_session *s, struct imap_cmd *c, const char *word, const struct search *q,
                                const struct found *f, enum err e);
/* When the program could not be read. */
struct imap_reply search_refuse(struct imap_session *s, struct imap_cmd *c, const struct search *q, const char *usage);
#endif
