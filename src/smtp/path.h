/* smtp/path.h -- reverse-path and forward-path (RFC 5321 §4.1.2, with UTF-8 as in RFC 6531 §3.3). */
#ifndef FACTEUR_SMTP_PATH_H
#define FACTEUR_SMTP_PATH_H
#include "base/scan.h"

enum {
	SMTP_PATH_MAX = 512,   /* bytes of local@domain; §4.5.3.1.3 asks for 256, long senders of mailing lists for more */
	SMTP_DOMAIN_MAX = 255, /* §4.5.3.1.2 */
};

struct smtp_path {       /* views of what was scanned */
	struct str address;  /* "bob@example.org", without <> and source route; empty: the null reverse-path "<>" */
	struct str local;    /* as written, with its quotes if it has them */
	struct str domain;   /* as written: a name or an address literal with its brackets; empty: "Postmaster" alone */
	bool       is_utf8;  /* has a character beyond ASCII: needs SMTPUTF8 */
};
/* "<>" or "<" [source route ":"] mailbox ">". A source route is read and dropped (RFC 5321, appendix C). */
bool scan_reverse_path(struct scan *s, struct smtp_path *p);
/* The same without "<>", and "<Postmaster>" in any case is one too (§4.5.1). */
bool scan_forward_path(struct scan *s, struct smtp_path *p);
#endif
