/* mime/address.h -- address lists (RFC 5322 §3.4 and §4.4, RFC 6532): best effort, never fails. */
#ifndef FACTEUR_MIME_ADDRESS_H
#define FACTEUR_MIME_ADDRESS_H
#include "base/arena.h"
#include "base/buf.h"

enum { MAIL_ADDRESSES_MAX = 10000 };

enum mail_address_kind { ADDRESS_MAILBOX, ADDRESS_GROUP_BEGIN, ADDRESS_GROUP_END };
struct mail_address {
	enum mail_address_kind kind;
	struct str name;     /* display name, or group name: unquoted, comments out, RFC 2047 words as they stand; or the
	                      * comment after a bare address ("bob@example.org (Bob)"); p == NULL: none */
	struct str route;    /* "@a,@b" of an obsolete route; p == NULL: none */
	struct str local;    /* unquoted: "john doe" for "john doe"@example.org; may be empty */
	struct str domain;   /* as written, comments and space out; empty: there was none */
};

/* All mailboxes and group marks of a field value (raw or unfolded), in order; *list in the arena; returns how many.
 * Members of a group stand between its BEGIN and END. At most MAIL_ADDRESSES_MAX, the rest is dropped: where it returns
 * MAIL_ADDRESSES_MAX - 1 or more, there may have been one. */
size_t address_list_parse(struct arena *a, struct str value, struct mail_address **list);
/* "local@domain", the local part quoted when it must be; "local" alone without a domain. */
struct str address_text(struct arena *a, const struct mail_address *m);
/* The display name as UTF-8; empty when there is none. */
struct str address_name(struct arena *a, const struct mail_address *m);
/* Is it a valid dot-atom or quoted local part / a host name or literal? For what we are about to send. */
bool address_is_valid(const struct mail_address *m);
#endif
