/* submit/watch.h -- is this still the owner of the account who sends? What it has sent lately (store/sending.h) against a table of signs
 * (signs.def): points, and sentences for people. Pure. */
#ifndef FACTEUR_SUBMIT_WATCH_H
#define FACTEUR_SUBMIT_WATCH_H
#include "store/sending.h"
#include "text/text.h"

enum { WATCH_REPORT_POINTS = 60, WATCH_STOP_POINTS = 100, WATCH_WHY_MAX = 500 };

enum watch_sign {
#define SIGN(name, ...) WATCH_##name,
#include "submit/signs.def"
#undef SIGN
	WATCH_SIGNS
};

struct watch {
	unsigned points;
	size_t   n;
	struct watch_seen { enum watch_sign sign; uint64_t counted, recipients, usual; } seen[WATCH_SIGNS];
};
void watch_judge(const struct sending_facts *f, struct watch *out);

/* As it is kept with the account (at most WATCH_WHY_MAX bytes), so that it can be read in any language later. */
struct str watch_encode(const struct watch *w, struct arena *a);
/* The sentences, each as "- …" on a line of its own, without the last line end. What watch_encode() did not write is given back as it is:
 * an administrator has his own words. */
struct str watch_words(struct str why, enum lang lang, struct arena *a);
#endif
