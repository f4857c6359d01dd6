/* store/damage.h -- which messages of an account are not what was stored: all bodies are read and compared with their checksums, some
 * at each call, so that others go on. For the administrator (command.h). */
#ifndef FACTEUR_STORE_DAMAGE_H
#define FACTEUR_STORE_DAMAGE_H
#include "store/view.h"

enum { DAMAGE_AT_ONCE = 20, DAMAGE_MESSAGE_ID_MAX = 200 };

struct damaged_message {
	struct str path, message_id;   /* of its first mailbox; empty: of none, it was erased and could still be brought back. message_id may be empty */
	uint32_t   uid;                /* there */
	uint32_t   file;               /* of bodies/ */
	int64_t    received;           /* seconds since 1970 */
	uint64_t   size;
	bool       is_unreadable;      /* the disk does not give its bytes at all, or their file is gone */
};

struct damage {
	uint32_t next;                 /* where the next call goes on; 0: that was all */
	uint64_t checked, bytes;       /* messages, and what they have together */
	size_t   n;
	struct damaged_message messages[DAMAGE_AT_ONCE];
};

/* Goes on at `from` (0: the first message) for about a second. Slices live in the arena. */
enum err damage_look(struct view *v, uint32_t from, struct arena *a, struct damage *out) MUST_CHECK;
#endif
