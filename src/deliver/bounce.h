/* deliver/bounce.h -- delivery status notifications (RFC 3464, internationalised: RFC 6533): facts in, a message out. Pure.
 *
 * A person reads it first: what happened to which address, whose doing it is, what to do now, in his language; the subject and the
 * date of his message, so that he knows which one it was. Programs read the second part, the third is the message or its header
 * (RET, RFC 3461 §4.3). It says of itself that a machine wrote it (RFC 3834), and its sender is "<>", so nothing answers it.
 *
 * The original is hostile, and so are replies of other servers: nothing of them makes a field, a boundary or a control character. */
#ifndef FACTEUR_DELIVER_BOUNCE_H
#define FACTEUR_DELIVER_BOUNCE_H
#include "queue/report.h"
#include "text/text.h"

enum { BOUNCE_BYTES_MAX = REPORT_ORIGINAL_MAX + (8 << 20) };

struct bounce_style {
	enum lang  lang;           /* of the sender's account */
	bool       is_bilingual;   /* the other language stands below: for a sender whose language nobody knows */
	struct str hostname;       /* what this server calls itself */
	struct str from_domain;    /* postmaster@ of it has written: the sender's own domain where it is ours */
};

/* Adds the message to *out (CRLF lines) and sets what its envelope must say: 8BITMIME when something in it has 8 bits, SMTPUTF8 when
 * the sender's address does. out->failed: it did not fit; BOUNCE_BYTES_MAX is enough for REPORT_RECIPIENTS_MAX. */
void bounce_build(const struct report *r, const struct bounce_style *style, struct buf *out, enum envelope_body *body, bool *smtputf8);
#endif
