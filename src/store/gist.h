/* store/gist.h -- the gist of messages: what they are sorted and threaded by (RFC 5256), ready to be compared. Made out of the record at the
 * first use and kept in memory for as long as somebody asks again; a mailbox that is sorted a second time reads no record. */
#ifndef FACTEUR_STORE_GIST_H
#define FACTEUR_STORE_GIST_H
#include "store/view.h"

enum gist_text {
	GIST_SUBJECT,                    /* base subject (RFC 5256 §2.1) */
	GIST_FROM, GIST_TO, GIST_CC,     /* addr-mailbox of the first address */
	GIST_DISPLAYFROM, GIST_DISPLAYTO,  /* its display name; "mailbox@host" when it has none (RFC 5957 §3) */
	GIST_TEXTS
};
#define GIST_TEXT(text) (1u << (text))
#define GIST_SENT       (1u << GIST_TEXTS)        /* sent; comes with all others */
#define GIST_REFERENCES (1u << (GIST_TEXTS + 1))  /* id and references */

struct gist {
	uint32_t   email;                /* 0: it does not exist any more, nothing else is set */
	uint64_t   size;
	int64_t    received;             /* seconds since 1970 */
	int64_t    sent;                 /* the same; received when its Date says nothing */
	uint64_t   id;                   /* summary_id_number() of its Message-ID; 0: none */
	const uint64_t *references;      /* of those it refers to, oldest first */
	uint8_t    n_references;
	bool       knows_references;     /* false: ask the message (summary_references()) */
	bool       is_reply;             /* says the subject */
	struct str texts[GIST_TEXTS];    /* folded by fold_casemap() */
};
/* Gists of n rows (n ≤ 1000), as view_summaries(). wants: GIST_SENT | GIST_TEXT(GIST_SUBJECT) | …; 0: only size and received. What was
 * not asked for may be empty. What out points to lies in the arena. */
enum err view_gists(struct view *v, const uint32_t *emails, size_t n, unsigned wants, struct arena *a, struct gist *out) MUST_CHECK;
/* How many are kept now; for tests. */
size_t view_gists_kept(struct view *v);
#endif
