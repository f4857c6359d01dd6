/* Read by position: unlike the dates of mail (date.c) these have one form, and nobody writes another one. */
#include "mime/timestamp.h"
#include "mime/date.h"
#include <stdio.h>
#include <time.h>

static int scan_digits(struct scan *s, size_t n, int min, int max)
{
	struct str digits = scan_bytes(s, n);
	int v = 0;

	for (size_t i = 0; i < digits.n; i++) {
		if (!chr_digit(digits.p[i]))
			scan_fail(s);
		v = v * 10 + (digits.p[i] - '0');
	}
	if (!s->failed && (v < min || v > max))
		scan_fail(s);
	return s->failed ? 0 : v;
}

static bool is_digit(char c) { return chr_digit(c); }

static void scan_letter(struct scan *s, char capital, char small)
{
	if (!scan_take(s, capital))
		scan_need(s, small);
}

/* full-date = date-fullyear "-" date-month "-" date-mday                                                      RFC 3339 §5.6 */
static int64_t scan_days(struct scan *s)
{
	int year = scan_digits(s, 4, 0, 9999), month, day;

	scan_need(s, '-');
	month = scan_digits(s, 2, 1, 12);
	scan_need(s, '-');
	day = scan_digits(s, 2, 1, 31);
	if (s->failed)
		return 0;
	int64_t days = date_days(year, month, day);
	if (days >= (month == 12 ? date_days(year + 1, 1, 1) : date_days(year, month + 1, 1)))
		scan_fail(s);
	return days;
}

/* time-offset = "Z" / time-numoffset; time-numoffset = ("+" / "-") time-hour ":" time-minute; seconds east of Greenwich */
static int scan_offset_s(struct scan *s)
{
	int sign = scan_take(s, '+') ? 1 : scan_take(s, '-') ? -1 : 0, hour, minute;

	if (sign == 0) {
		scan_letter(s, 'Z', 'z');
		return 0;
	}
	hour = scan_digits(s, 2, 0, 23);
	scan_need(s, ':');
	minute = scan_digits(s, 2, 0, 59);
	return sign * (hour * 3600 + minute * 60);
}

/* date-time = full-date "T" full-time; full-time = partial-time time-offset;
 * partial-time = time-hour ":" time-minute ":" time-second ["." 1*DIGIT] */
int64_t scan_timestamp(struct scan *s)
{
	int64_t days = scan_days(s);
	int hour, minute, second, offset;

	scan_letter(s, 'T', 't');
	hour = scan_digits(s, 2, 0, 23);
	scan_need(s, ':');
	minute = scan_digits(s, 2, 0, 59);
	scan_need(s, ':');
	second = scan_digits(s, 2, 0, 60);
	if (scan_take(s, '.') && scan_while(s, is_digit).n == 0)
		scan_fail(s);
	offset = scan_offset_s(s);
	return s->failed ? 0 : days * 86400 + hour * 3600 + minute * 60 + (second < 60 ? second : 59) - offset;
}

struct str timestamp_text(int64_t unix_s, char out[TIMESTAMP_TEXT_MAX])
{
	int64_t first = date_days(0, 1, 1) * 86400, last = date_days(10000, 1, 1) * 86400 - 1;
	time_t t = (time_t)(unix_s < first ? first : unix_s > last ? last : unix_s);
	struct tm tm;

	gmtime_r(&t, &tm);
	return str_make(out, strftime(out, TIMESTAMP_TEXT_MAX, "%04Y-%m-%dT%H:%M:%SZ", &tm));
}
