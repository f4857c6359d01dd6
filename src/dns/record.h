/* dns/record.h -- what is in the records of an answer: rdata as on the wire in, structs out. Hostile bytes: false where they are not
 * what their type asks for. Names come out as text, lower case, without the last dot ("" is the root). */
#ifndef FACTEUR_DNS_RECORD_H
#define FACTEUR_DNS_RECORD_H
#include "base/arena.h"
#include "base/scan.h"
#include "net/listen.h"

enum { DNS_TEXT_MAX = 16 << 10 };  /* bytes of a TXT record, its strings joined */

struct dns_mx {        /* RFC 1035 §3.3.9 */
	uint16_t   preference;
	struct str host;   /* "": null MX (RFC 7505) */
};
struct dns_srv {       /* RFC 2782 */
	uint16_t   priority, weight, port;
	struct str target; /* "": the service is not offered */
};
struct dns_tlsa {      /* RFC 6698 §2.1 */
	uint8_t    usage, selector, matching;
	struct str data;
};
struct dns_caa {       /* RFC 8659 §4.1 */
	bool       is_critical;
	struct str tag, value;
};
/* The slices live in the arena, or where there is none, view rdata. */
bool dns_read_address(struct str rdata, struct peer *out);          /* A: 4 bytes, AAAA: 16; port 0 */
bool dns_read_mx(struct str rdata, struct arena *a, struct dns_mx *out);
bool dns_read_name(struct str rdata, struct arena *a, struct str *out);   /* NS, CNAME, PTR */
bool dns_read_text(struct str rdata, struct arena *a, struct str *out);   /* TXT: its strings joined without anything between */
/* The strings of a TXT record one by one. */
bool dns_read_strings(struct str rdata, struct arena *a, struct str **out, size_t *n);
bool dns_read_srv(struct str rdata, struct arena *a, struct dns_srv *out);
bool dns_read_tlsa(struct str rdata, struct dns_tlsa *out);
bool dns_read_caa(struct str rdata, struct dns_caa *out);
/* The name to ask for PTR: "7.2.0.192.in-addr.arpa" (RFC 1035 §3.5), "….ip6.arpa" (RFC 3596 §2.5). */
struct str dns_reverse_name(const struct peer *p, struct arena *a);
/* A name at the cursor, to text; what is no letter, digit, '-' or '_' is escaped as "\DDD" (RFC 1035 §5.1). */
bool scan_dns_name(struct scan *s, struct arena *a, struct str *out);
#endif
