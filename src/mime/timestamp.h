/* mime/timestamp.h -- date-time of RFC 3339 §5.6, as SMTP (HOLDUNTIL), JMAP and many others write it: "2026-11-28T10:00:00Z". */
#ifndef FACTEUR_MIME_TIMESTAMP_H
#define FACTEUR_MIME_TIMESTAMP_H
#include "base/scan.h"

enum { TIMESTAMP_TEXT_MAX = 24 };

/* Seconds since 1970, UTC; parts of a second are dropped, and a leap second (60) is the one before it. Fails the scan where it is none, or
 * no such day exists. */
int64_t scan_timestamp(struct scan *s);
/* In UTC. Years 0 to 9999; others are shown as the nearest of them. */
struct str timestamp_text(int64_t unix_s, char out[TIMESTAMP_TEXT_MAX]);
#endif
