/* imap/url.h -- IMAP URLs that name a message of the session's own account, or a part of one (RFC 5092), as CATENATE uses them: without
 * server and user, relative to "imap://user@server/" or to the mailbox that is selected (RFC 4469 §3).
 *
 *     /Drafts;UIDVALIDITY=385759045/;UID=20/;SECTION=1.2/;PARTIAL=0.1024
 *     ;UID=20/;SECTION=HEADER                                              in the mailbox that is selected */
#ifndef FACTEUR_IMAP_URL_H
#define FACTEUR_IMAP_URL_H
#include "base/arena.h"
#include "base/str.h"

enum { IMAP_URL_MAX = 8192 };  /* bytes */

struct imap_url {
	struct str mailbox;      /* UTF-8; p == NULL: the one that is selected */
	bool       is_relative;  /* the mailbox stands beside the one that is selected: no "/" came first */
	uint32_t   uidvalidity;  /* 0: not said */
	uint32_t   uid;
	struct str section;      /* what BODY[…] has between its brackets; empty: the whole message */
	bool       is_partial;
	uint64_t   offset, count;  /* with is_partial: a window on it; count UINT64_MAX: to the end */
};

/* Slices live in the arena. False: not a URL of a message, or one with a scheme, a server, a search or an authorization. */
bool imap_url_parse(struct str text, struct arena *a, struct imap_url *out);
#endif
