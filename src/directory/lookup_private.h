/* directory/lookup_private.h -- the bytes of the look-up memfd, for lookup_build.c and lookup_update.c (write) and lookup.c (reads).
 *
 *   header | accounts (sorted by number) | slots (hash table, power of two) | names | targets | groups | strings
 *
 * All in the order of this machine: the memfd never leaves it. Structs are read with memcpy, so nothing has to be aligned. */
#ifndef FACTEUR_DIRECTORY_LOOKUP_PRIVATE_H
#define FACTEUR_DIRECTORY_LOOKUP_PRIVATE_H
#include "directory/directory.h"
#include "directory/lookup.h"
#include <stdatomic.h>

#define LOOKUP_MAGIC 0x386b6f6f4c746346ULL  /* "FctLook8"; the digit is the format's version */

struct text_at { uint32_t offset, length; };  /* in strings */

struct lookup_header {
	uint64_t magic, version, seed;
	uint32_t accounts, slots, names, targets, groups, strings;   /* counts; strings: bytes */
	uint32_t domains, reserved;
	struct text_at hostname, first_domain, conf, srs_key, issuers;   /* issuers: put_issuer(), bool is_fetched, one behind the other */
	uint64_t routes_mark;                                /* lookup_routes_mark() */
};

enum { ACCOUNT_SUSPENDED = 1, ACCOUNT_FULL = 2, ACCOUNT_FULL_TEMPORARY = 4, ACCOUNT_FRENCH = 8, ACCOUNT_STOPPED = 16, ACCOUNT_FLAGS = 31 };
struct lookup_account_row {
	uint64_t account, message_size_max;
	uint32_t epoch, rights, flags, reserved;
	struct text_at address;
	struct text_at source;     /* "192.0.2.7 2001:db8::7", where its settings are not the server's; either may be missing, the space is not */
};

/* OWN: an address of an account itself, a login name. LIST: an alias. GROUP: targets are its members, groups in groups too. DOMAIN:
 * key "@domain", targets: its catch-all. PRINTER: key "!ip". ROUTE: key "~" and its pattern; the one target's "remote" is what
 * put_route() writes. */
enum lookup_name {
	LOOKUP_NAME_OWN = 1, LOOKUP_NAME_LIST, LOOKUP_NAME_DOMAIN, LOOKUP_NAME_PRINTER, LOOKUP_NAME_ROUTE, LOOKUP_NAME_GROUP, LOOKUP_NAME_KINDS
};
struct lookup_name_row {
	uint64_t hash;
	struct text_at key;
	uint32_t kind, first_target, target_count;
	union {
		uint32_t sts;          /* DOMAIN: enum mta_sts_mode */
		uint32_t group;        /* GROUP: index in groups + 1 */
	};
};

struct lookup_target_row {
	uint32_t account_row;      /* index in accounts + 1; 0: remote; TARGET_IS_GROUP: an alias leads to the group called remote */
	struct text_at remote;
};
enum { TARGET_IS_GROUP = -1 };

enum { GROUP_REPLIES = 1, GROUP_MAY_LEAVE = 2, GROUP_FLAGS = 3 };
struct lookup_group_row {
	struct text_at address, title;
	uint32_t post, flags, leavers;                      /* so many of its targets, the first ones, may leave by themselves */
	uint32_t first_poster, poster_count;                /* posters: targets */
};

/* FNV-1a with a seed of the block; names are the administrator's, so nobody can aim at it. */
static inline uint64_t lookup_hash(uint64_t seed, struct str key)
{
	uint64_t h = seed ^ 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < key.n; i++)
		h = (h ^ (unsigned char)key.p[i]) * 0x100000001b3ULL;
	return h ^ h >> 29;
}

struct lookup {
	atomic_uint          owners;
	struct str           bytes, mapped;   /* mapped: to be unmapped */
	struct lookup_header h;
	const char          *accounts, *slots, *names, *targets, *groups, *strings;
	struct conf         *conf;
	struct str           hostname, srs_key;
	char                 separator;       /* 0: no plus-addresses */
};
bool lookup_find(const struct lookup *l, struct str key, struct lookup_name_row *out);

#define LOOKUP_ROW(l, table, type, index) ({ type row_; memcpy(&row_, (l)->table + (size_t)(index) * sizeof(type), sizeof(type)); row_; })
static inline struct str lookup_text(const struct lookup *l, struct text_at t) { return str_make(l->strings + t.offset, t.length); }
static inline bool lookup_is_account(uint32_t account_row) { return account_row != 0 && account_row != (uint32_t)TARGET_IS_GROUP; }
struct lookup_target lookup_target_at(const struct lookup *l, uint32_t i);
void lookup_list_targets(const struct lookup *l, uint32_t first, uint32_t n, struct arena *a, struct lookup_target **out);

/* For those who write. server: the server's settings. Sets message_size_max and flags; *source: what row->source has to say, in a; empty: nothing. */
enum err lookup_fill_account(struct directory *d, const struct conf *server, const struct directory_account *x, struct lookup_account_row *row,
                              struct arena *a, struct str *source) MUST_CHECK;
/* Enough for that many names; and the hash table over their rows. */
uint32_t lookup_slots_for(uint32_t names);
void lookup_put_slots(struct str rows, uint32_t slots, struct buf *out);
#endif
