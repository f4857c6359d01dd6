/* smtp/offers.h -- what a server has said in its answer to EHLO (RFC 5321 §4.1.1.1). */
#ifndef FACTEUR_SMTP_OFFERS_H
#define FACTEUR_SMTP_OFFERS_H
#include "base/str.h"

enum {
	SMTP_OFFERS_PIPELINING = 1 << 0,   /* RFC 2920 */
	SMTP_OFFERS_8BITMIME   = 1 << 1,   /* RFC 6152 */
	SMTP_OFFERS_SMTPUTF8   = 1 << 2,   /* RFC 6531 */
	SMTP_OFFERS_CHUNKING   = 1 << 3,   /* RFC 3030 */
	SMTP_OFFERS_BINARYMIME = 1 << 4,   /* RFC 3030 */
	SMTP_OFFERS_SIZE       = 1 << 5,   /* RFC 1870 */
	SMTP_OFFERS_DSN        = 1 << 6,   /* RFC 3461 */
	SMTP_OFFERS_STARTTLS   = 1 << 7,   /* RFC 3207 */
	SMTP_OFFERS_REQUIRETLS = 1 << 8,   /* RFC 8689 */
	SMTP_OFFERS_LIMITS     = 1 << 9,   /* RFC 9422 */
	SMTP_OFFERS_DELIVERBY  = 1 << 10,  /* RFC 2852 */
	SMTP_OFFERS_MT_PRIORITY = 1 << 11, /* RFC 6710 */
	SMTP_OFFERS_AUTH_PLAIN = 1 << 24,  /* RFC 4954; RFC 4616 */
	SMTP_OFFERS_AUTH_LOGIN = 1 << 25,
};

struct smtp_offers {
	unsigned has;                  /* SMTP_OFFERS_* */
	uint64_t size_max;             /* bytes; 0: none named */
	uint32_t mail_max, rcpt_max;   /* messages of a connection, recipients of a message; 0: none named */
	uint32_t by_min;               /* seconds that it needs for BY with R; 0: none named */
	uint32_t rcpt_domain_max;      /* domains of the recipients of a message; 0: none named */
};
/* From the text of the answer (smtp/client.h): the lines after the first. Unknown keywords are passed over; one that is malformed
 * counts as not said. */
void smtp_offers_read(struct str text, struct smtp_offers *out);
#endif
