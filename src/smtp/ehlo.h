/* smtp/ehlo.h -- the answer to EHLO (RFC 5321 §4.1.1.1), the same on port 25, before and after a login on 587 and 465: derived from
 * keywords.def. */
#ifndef FACTEUR_SMTP_EHLO_H
#define FACTEUR_SMTP_EHLO_H
#include "base/buf.h"

struct smtp_ehlo {
	struct str hostname;         /* what this server calls itself */
	struct str peer;             /* "192.0.2.7": tells the client how it is seen; empty: not told */
	uint64_t   message_size_max; /* bytes */
	uint64_t   recipients_max;   /* of one message; 0: no LIMITS */
	uint64_t   messages_max;     /* of one connection; 0: not told */
	bool       offers_starttls;
	bool       is_tls;
	uint64_t   hold_max;         /* seconds that a message may wait for its time (RFC 4865); 0: not offered */
	int64_t    now;              /* seconds since 1970, with hold_max */
	struct str mechanisms;       /* "PLAIN LOGIN" (auth/sasl.h: sasl_list()); empty: no AUTH */
	struct str caller;           /* on submit.sock: the address of the user who calls; a name without a domain gets its domain */
};
/* "250-mail.example.test greets 192.0.2.7" and a line for each keyword, the last one with "250 ". */
void smtp_put_ehlo(struct buf *b, const struct smtp_ehlo *e);
#endif
