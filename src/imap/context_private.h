/* imap/context_private.h -- search results that are kept up to date: SEARCH and SORT RETURN (UPDATE) (RFC 5267 §4). */
#ifndef FACTEUR_IMAP_CONTEXT_PRIVATE_H
#define FACTEUR_IMAP_CONTEXT_PRIVATE_H
#include "imap/fetch_private.h"
#include "imap/search_private.h"

enum { CONTEXTS_MAX = 10, CONTEXT_SORTED_MAX = 20000 /* results of a SORT */ };

struct sorting;

/* After a search of the selected mailbox that asked for UPDATE: f is what was found, with its uids; sorted (NULL: SEARCH) its results with
 * what they are sorted by. Where it would be too much the client is told (NOUPDATE) and goes on without. */
void context_begin(struct imap_session *s, struct imap_cmd *c, const struct search *q, const struct found *f, const struct sorting *sorted);
/* "* NO [NOUPDATE "a1"] why" */
void context_refuse(struct imap_session *s, const struct imap_cmd *c, const char *why);
bool context_has(const struct imap_session *s, struct str tag);
void contexts_end(struct imap_session *s);

/* The running command changed the flags of these itself. */
void contexts_note(struct imap_session *s, const struct uid_set *uids);
/* "* ESEARCH (TAG "a1") REMOVEFROM (0 4)" of what was removed, before the EXPUNGEs. */
void contexts_put_removed(struct imap_session *s, const struct news *news, struct arena *a);
/* What changed otherwise, after EXISTS and FETCH: new messages from uid first_new on, those whose flags others changed, and those this
 * session changed itself. What is to be told of new ones is added to wishes, which has room for CONTEXTS_MAX. */
void contexts_put_changed(struct imap_session *s, const struct news *news, uint32_t first_new, struct fetch_wish *wishes, size_t *n, struct arena *a);

/* sort.c: the results of a SORT for as long as c lives; q finds more of them. */
struct sorting *sort_keep(const struct sorting *from, struct imap_cmd *c, struct search *q);
/* Puts in what q finds (q->only: what is not among them yet). placed: each uid and its place, from 1, one after the other. */
typedef void sort_placed(void *context, uint32_t uid, size_t place);
enum err sort_add(struct imap_session *s, struct sorting *kept, sort_placed *placed, void *context) MUST_CHECK;
size_t sort_remove(struct sorting *kept, uint32_t uid);   /* its place, from 1; 0: it is not among them */
#endif
