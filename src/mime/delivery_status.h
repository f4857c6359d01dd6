/* mime/delivery_status.h -- what a bounce says (RFC 3464): is anybody's mail undeliverable for good? Pure. */
#ifndef FACTEUR_MIME_DELIVERY_STATUS_H
#define FACTEUR_MIME_DELIVERY_STATUS_H
#include "base/arena.h"

/* A report with a recipient whose Action is "failed". *reason: his Diagnostic-Code without its type, else his Status; in the arena, without
 * control characters. False: it is no report, or one of a delay or a success, or a member's absence message. */
bool delivery_has_failed(struct str message, struct arena *a, struct str *reason);
#endif
