/* smtp/srs.h -- the Sender Rewriting Scheme: mail that an alias sends on to somebody else's server. (No RFC; the usual SRS0 and SRS1.)
 *
 * The next server checks SPF of the envelope sender's domain, and finds that we may not send for it. So the sender becomes an address of
 * ours that contains the old one; a bounce to it comes here, and goes on to the old one. A MAC and a day make sure that nobody
 * makes up such addresses to have us send his mail: a wrong or old one is nobody's.
 *
 *   SRS0=MAC=DAY=example.net=bob@ours          bob@example.net wrote
 *   SRS1=MAC=first.test==MAC=DAY=example.net=bob@ours      first.test had forwarded it before us: its SRS0 is kept as it is, so an
 *                                              address never grows beyond two forwarders
 * Pure. Letters' case does not matter in what we added, since some servers change it; the old local part keeps its own. */
#ifndef FACTEUR_SMTP_SRS_H
#define FACTEUR_SMTP_SRS_H
#include "base/arena.h"

enum { SRS_KEY_SIZE = 32, SRS_DAYS_MAX = 21 };  /* longer than any queue keeps a message and its bounce */

/* The sender to use instead; sender itself when it cannot be written in this form (a quoted local part, over the limits). */
struct str srs_forward(struct str key, struct str sender, struct str domain, int64_t now, struct arena *a);
/* Is it one (its local part, unquoted)? Then it must be ours to mean anything. */
bool srs_is(struct str local);
/* The address inside; false: forged, older than SRS_DAYS_MAX, or malformed. */
bool srs_reverse(struct str key, struct str local, int64_t now, struct arena *a, struct str *address);
#endif
