/* directory/list_address.h -- the addresses that a group has besides its own: where bounces of what it sends come back to, and where
 * a member writes who wants to leave.
 *
 *   team=bounce@example.org                     of the group as such
 *   team=leave=k3q7wz2mn5r4t6ya@example.org     of one member: 40 bits that name him within the group, 40 bits of MAC
 *
 * Each member gets mail from the group with his own, so that a bounce says by its address whose it is, however it is worded, and so that
 * one click (RFC 8058) is proof enough. Nobody can make one up, or turn that of a bounce into one that leaves. Pure. */
#ifndef FACTEUR_DIRECTORY_LIST_ADDRESS_H
#define FACTEUR_DIRECTORY_LIST_ADDRESS_H
#include "directory/address.h"

enum list_order { LIST_NONE = 0, LIST_BOUNCE, LIST_LEAVE };
enum { LIST_TOKEN_CHARS = 16 };

struct list_address {
	enum list_order order;
	struct str      group;    /* the address of the group; lives in the arena */
	struct str      token;    /* of the member; empty: of the group as such */
};

/* key: directory_srs_key(). member empty: of the group as such. Lives in the arena; empty when group is no address. */
struct str list_address(struct str key, struct str group, enum list_order order, struct str member, struct arena *a);
/* Takes one apart. False: not one, or its token was not made with this key. That the group exists is the caller's to look up. */
bool list_address_parse(struct str key, struct str address, struct arena *a, struct list_address *out);
/* What an alias leaves in a message that it sends on elsewhere, so that it is known when it comes back: the same for all spellings, and nobody
 * else can read the address in it. Empty when it is no address. */
struct str forward_mark(struct str key, struct str alias, struct arena *a);
/* Is it this member's? */
bool list_address_is_of(struct str key, const struct list_address *x, struct str member, struct arena *a);
#endif
