/* directory/lookup_private.h -- the bytes of the look-up memfd, for lookup_build.c and lookup_update.c (write) and lookup.c (reads).
 *
 *   header | accounts (sorted by number) | slots (hash table, power of two) | names | targets | strings
 *
 * All in the order of this machine: the memfd never leaves it. Structs are read with memcpy, so nothing has to be aligned. */
#ifndef FACTEUR_DIRECTORY_LOOKUP_PRIVATE_H
#define FACTEUR_DIRECTORY_LOOKUP_PRIVATE_H
#include "directory/directory.h"
#include "directory/lookup.h"

#define LOOKUP_MAGIC 0x336b6f6f4c746346ULL  /* "FctLook3"; the digit is the format's version */

struct text_at { uint32_t offset, length; };  /* in strings */

struct lookup_header {
	uint64_t magic, version, seed;
	uint32_t accounts, slots, names, targets, strings;   /* counts; strings: bytes */
	uint32_t domains;
	struct text_at hostname, first_domain, conf, srs_key;
	uint64_t routes_mark;                                /* lookup_routes_mark() */
};

enum { ACCOUNT_SUSPENDED = 1, ACCOUNT_FULL = 2, ACCOUNT_FULL_TEMPORARY = 4, ACCOUNT_FRENCH = 8, ACCOUNT_STOPPED = 16, ACCOUNT_FLAGS = 31 };
struct lookup_account_row {
	uint64_t account, message_size_max;
	uint32_t epoch, rights, flags, reserved;
	struct text_at address;
};

/* OWN: an address of an account itself, a login name. DOMAIN: key "@domain", targets: its catch-all. PRINTER: key "!ip".
 * ROUTE: key "~" and its pattern; the one target's "remote" is what put_route() writes. */
enum lookup_name { LOOKUP_NAME_OWN = 1, LOOKUP_NAME_LIST, LOOKUP_NAME_DOMAIN, LOOKUP_NAME_PRINTER, LOOKUP_NAME_ROUTE, LOOKUP_NAME_KINDS };
struct lookup_name_row {
	uint64_t hash;
	struct text_at key;
	uint32_t kind, first_target, target_count;
	uint32_t sts;              /* DOMAIN: enum mta_sts_mode */
};

struct lookup_target_row {
	uint32_t account_row;      /* index in accounts + 1; 0: remote */
	struct text_at remote;
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
	struct str           bytes, mapped;   /* mapped: to be unmapped */
	struct lookup_header h;
	const char          *accounts, *slots, *names, *targets, *strings;
	struct conf         *conf;
	struct str           hostname, srs_key;
	char                 separator;       /* 0: no plus-addresses */
};
bool lookup_find(const struct lookup *l, struct str key, struct lookup_name_row *out);

/* For those who write. server: the server's settings. Sets message_size_max and flags. */
enum err lookup_fill_account(struct directory *d, const struct conf *server, const struct directory_account *x, struct lookup_account_row *row) MUST_CHECK;
/* Enough for that many names; and the hash table over their rows. */
uint32_t lookup_slots_for(uint32_t names);
void lookup_put_slots(struct str rows, uint32_t slots, struct buf *out);
#endif
