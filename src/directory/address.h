/* directory/address.h -- addresses as the directory compares them (RFC 5321 §2.3.11, §4.1.2, §4.5.3.1; RFC 6531).
 * Case does not matter (ASCII and Unicode), canonically equal spellings are equal, a domain is its A-labels in lower case. */
#ifndef FACTEUR_DIRECTORY_ADDRESS_H
#define FACTEUR_DIRECTORY_ADDRESS_H
#include "base/arena.h"

enum { ADDRESS_LOCAL_MAX = 64, ADDRESS_DOMAIN_MAX = 253, ADDRESS_TEXT_MAX = 320, ADDRESS_KEY_MAX = 1100 };

struct directory_address {
	struct str local;        /* unquoted, as written */
	struct str domain;       /* A-labels, lower case; or a literal "[192.0.2.1]" */
	bool       is_literal;
};
/* local@domain without angle brackets; the local part may be quoted. Slices live in the arena or view `in`. False: not one. */
bool directory_address_parse(struct str in, struct arena *a, struct directory_address *out);
/* A domain in any spelling -> A-labels in lower case. False: not a domain name. */
bool directory_domain_parse(struct str in, struct arena *a, struct str *out);
/* What two spellings of one address have in common: folded local part, "@", domain. Empty when it would be over ADDRESS_KEY_MAX. */
struct str directory_address_key(struct arena *a, struct str local, struct str domain);
/* As it is written in a message: the local part quoted when it must be. */
struct str directory_address_text(struct arena *a, const struct directory_address *x);
#endif
