/* mime/date.h -- date-time of RFC 5322 §3.3, with what mail really has (§4.3: two-digit years, zone names, no zone). */
#ifndef FACTEUR_MIME_DATE_H
#define FACTEUR_MIME_DATE_H
#include "base/arena.h"

enum { DATE_TEXT_MAX = 40 };
struct mail_date {
	int64_t unix_s;        /* seconds since 1970, UTC */
	int     zone_minutes;  /* east of Greenwich: 330 for +0530; unknown zones and "-0000" are 0 */
};
/* False when no date can be made of it; *out is untouched then. Years 1900 to 9999. */
bool date_parse(struct str value, struct mail_date *out);
/* "Tue, 24 Nov 2026 15:04:05 +0000"; returns its length, out is NUL-terminated. */
size_t date_format(int64_t unix_s, int zone_minutes, char out[DATE_TEXT_MAX]);
/* Days since 1970 of the date as its author wrote it, in his zone: what IMAP SENTBEFORE, SENTON, SENTSINCE compare. */
int64_t date_day(const struct mail_date *d);
int64_t date_days(int year, int month, int day);  /* proleptic Gregorian: days since 1970-01-01; month 1-12 */
#endif
