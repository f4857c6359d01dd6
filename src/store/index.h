/* store/index.h -- which messages have a text in them, without reading them.
 *
 * The index knows the words of every email (text/words.h) in seven fields. It lies in the account's folder below search/, is made from the
 * messages, and can be lost or thrown away at any time: what it does not know is HIT_MAYBE, and whoever asks reads the message then. A HIT_NO
 * and a HIT_YES are right by i;unicode-casemap; so a search is as exact with the index as without, only faster.
 *
 * It belongs to the view: it is opened at the first call, made up to date by view_tick() while sessions have a mailbox selected, and by
 * index_step() when somebody waits for it. Every call is thread-safe; none of them holds a lock of the view while it reads messages. A disk
 * that fails, or a damaged file, is logged once, and from then on there is no index until the account is opened again (damage: it is
 * thrown away and made anew); no call here fails because of that. */
#ifndef FACTEUR_STORE_INDEX_H
#define FACTEUR_STORE_INDEX_H
#include "store/view.h"

enum index_field {
	INDEX_FROM = 1, INDEX_TO = 2, INDEX_CC = 4, INDEX_BCC = 8, INDEX_SUBJECT = 16,   /* as summary_addresses(), summary_subject() show them */
	INDEX_HEADER = 32,   /* mime_header_text() of the message and of its parts, names of attachments */
	INDEX_BODY = 64,     /* mime_text() of its parts */
	INDEX_ANY = 127,
};

enum { INDEX_NEEDLES_MAX = 64 };    /* in one index_find(): the others are HIT_MAYBE */

struct index_needle {
	struct str text;         /* as somebody wrote it, UTF-8; is_like: his words, in any order */
	unsigned   fields;       /* at least one of these */
	bool       is_like;      /* resembling words do as well; else exactly this string */
	struct index_hits *hits; /* out, in the arena */
	bool       is_unfound;   /* out; is_like: a word of it is nowhere, so words with a wrong letter were taken; of emails that the index has */
};

/* Looks up all needles at once. Some milliseconds, for a hundred thousand messages. */
void index_find(struct view *v, struct index_needle *needles, size_t n, struct arena *a);

enum index_hit { HIT_NO, HIT_YES, HIT_MAYBE };
enum index_hit index_hit(const struct index_hits *hits, uint32_t email);
/* Of a needle that is_like: how relevant, 1 to 100; 0 where index_hit() is not HIT_YES. */
unsigned index_relevancy(const struct index_hits *hits, uint32_t email);

/* The same for a message that is not in the index: its texts one after the other, each with its field. 0: it has not all of the words. */
struct index_liking {
	struct str words[16], stems[16];
	unsigned   best[16];
	size_t     n;
};
void index_like_begin(struct index_liking *l, struct arena *a, struct str needle);
void index_like_text(struct index_liking *l, struct arena *a, struct str text, enum index_field field);
unsigned index_like_end(const struct index_liking *l);

/* How far the index is: emails it has looked at, and those it still has to (both as numbers of emails go, so an estimate). */
struct index_progress {
	uint64_t done, todo;
};
void index_progress(struct view *v, struct index_progress *out);
/* Goes on making it for about so many milliseconds. False: there is nothing (more) to do, or it cannot be done. */
bool index_step(struct view *v, int budget_ms);
/* The same, for the last few emails too, which are not worth it otherwise. */
bool index_step_to_end(struct view *v, int budget_ms);

struct index_facts {
	uint64_t emails, todo, bytes;   /* it knows; still to be read; on disk */
};
void index_facts(struct view *v, struct index_facts *out);
/* Throws it away; view_tick() and searches make a new one. */
void index_forget(struct view *v);
#endif
