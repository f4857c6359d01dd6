/* store/shared_names.h -- which mailboxes other accounts share with this one, as they said when they were asked last. It is what LIST falls back on
 * while one of them does not answer: a program that synchronises takes a name that is missing for a mailbox that was deleted. */
#ifndef FACTEUR_STORE_SHARED_NAMES_H
#define FACTEUR_STORE_SHARED_NAMES_H
#include "store/view.h"

enum {
	SHARED_NAMES_MAX = 65536,       /* bytes kept of one owner */
	SHARED_NAMES_OWNERS_MAX = 100,
};

struct shared_names {
	uint64_t   owner;               /* account */
	struct str address;             /* what he was called then */
	struct str names;               /* as the caller wrote them */
};

/* All of them, by owner. */
enum err shared_names_read(struct view *v, struct arena *a, struct shared_names **out, size_t *n) MUST_CHECK;
/* Replaces what is kept of this owner; names.p == NULL: forgets it. Not synced for its own sake: a power cut may bring back what was heard before.
 * ERR_LIMIT: too long, or of too many. */
enum err shared_names_write(struct view *v, const struct shared_names *names) MUST_CHECK;
/* What is different about them now; sessions that watch names hear of it (events.h). old: renamed; is_gone: to be seen no more; else it has appeared. */
struct shared_change {
	struct str path, old;
	bool       is_gone;
};
/* shared_names_write(), and tells of the changes. */
enum err shared_names_heard(struct view *v, const struct shared_names *names, const struct shared_change *changes, size_t n) MUST_CHECK;
#endif
