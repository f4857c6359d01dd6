/* trail/refusals.h -- what the refusals of other servers mean, for people: refusals.def as a table. Bounces and `facteur trace`
 * take their explanation and the next step here. Pure. */
#ifndef FACTEUR_TRAIL_REFUSALS_H
#define FACTEUR_TRAIL_REFUSALS_H
#include "text/text.h"

struct refusal {
	const char *name;      /* of its row, for tests and --json */
	const char *page;      /* where to go when the reply names no page itself; "": none */
	const char *why[LANG_COUNT], *next[LANG_COUNT];
};

/* The first row that fits a reply (word for word: "550-5.7.26 …", lines parted by LF) or a sentence of ours, and its enhanced status
 * ("5.7.26"; empty: it is looked for in the reply). NULL: no row knows it, so let it speak for itself. */
const struct refusal *refusal_find(struct str status, struct str reply);

/* What the sentences may name; empty where it is not known. */
struct refusal_facts {
	struct str recipient;  /* "bob@example.net" */
	struct str host;       /* who answered: "mx1.example.net [192.0.2.7]" */
	struct str reply;      /* a page named in it is better than the row's own */
};
/* One plain sentence each, in the arena: what happened and whose doing it is; what to do now. */
struct str refusal_why(const struct refusal *r, enum lang lang, const struct refusal_facts *facts, struct arena *a);
struct str refusal_next(const struct refusal *r, enum lang lang, const struct refusal_facts *facts, struct arena *a);
#endif
