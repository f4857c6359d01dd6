/* dns/name.h -- domain names as text: from what people write to what is asked, and what a mail host may be called. */
#ifndef FACTEUR_DNS_NAME_H
#define FACTEUR_DNS_NAME_H
#include "base/arena.h"
#include "base/str.h"

enum { DOMAIN_MAX = 253 };   /* bytes of a domain as text, without a last dot (RFC 1035 §2.3.4) */

/* "Bücher.example." -> "xn--bcher-kva.example": NFC, lower case, A-labels (IDNA 2008, RFC 5891; non-transitional UTS 46), without the
 * last dot. False: no domain: an empty or overlong label, a character that is not allowed, over DOMAIN_MAX. */
bool domain_to_ascii(struct str in, struct arena *a, struct str *out);
/* The same backwards, for people; an A-label that is none stays as it is. */
struct str domain_to_unicode(struct str ascii, struct arena *a);
/* What the domain name system can be asked: labels of 1-63 printable characters, DOMAIN_MAX in all; "_dmarc.example.org" too. */
bool domain_is_name(struct str ascii);
/* Letters, digits and hyphens in labels of 1-63, no hyphen at their ends; the last label is not a number (RFC 1123 §2.1). */
bool domain_is_host(struct str ascii);
#endif
