/* store/metadata.h -- notes that mail programs keep at a mailbox or at the account: entry -> value (RFC 5464). */
#ifndef FACTEUR_STORE_METADATA_H
#define FACTEUR_STORE_METADATA_H
#include "store/view.h"

enum {
	METADATA_ENTRY_MAX = 200,       /* bytes of a name */
	METADATA_VALUE_MAX = 65536,     /* bytes of a value */
	METADATA_ENTRIES_MAX = 100,     /* of one mailbox */
	METADATA_TOTAL_MAX = 4 << 20,   /* bytes of all names and values of the account; as many again for what its guests note for themselves */
	METADATA_GUEST_MAX = 1 << 18,   /* bytes of one guest's own */
};

/* The role of a mailbox as an entry of its owner's (RFC 6154 §4): kept with the mailbox (view_mailbox_set_role()), never in this table. */
#define METADATA_SPECIAL_USE "/private/specialuse"

struct metadata {
	struct str entry;               /* "/private/comment": lower case, checked by the caller */
	struct str value;               /* any bytes; p == NULL: none */
	int64_t    mailbox_id;          /* as read; 0: the account */
};

/* guest: whose "/private" it is; 0: the owner's. What is "/shared" is one for all. What they may see and change the caller decides. */

/* All entries of a mailbox (0: of the account), by name. */
enum err metadata_read(struct view *v, int64_t mailbox_id, uint64_t guest, struct arena *a, struct metadata **out, size_t *n) MUST_CHECK;
/* Those of all mailboxes, and of the account: by mailbox_id, then by name. */
enum err metadata_read_all(struct view *v, uint64_t guest, struct arena *a, struct metadata **out, size_t *n) MUST_CHECK;
/* Sets them, or removes those whose value is none: all or nothing. Durable as flags are. ERR_NOTFOUND: no such mailbox. ERR_LIMIT: over
 * METADATA_ENTRIES_MAX, METADATA_TOTAL_MAX or METADATA_GUEST_MAX. They go with their mailbox. */
enum err metadata_write(struct view *v, int64_t mailbox_id, uint64_t guest, const struct metadata *entries, size_t n) MUST_CHECK;
#endif
