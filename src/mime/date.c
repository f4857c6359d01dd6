/* date-time.
 * Read by shape, not by position: a number before a month name is the day, one after it the year; three numbers with
 * colons are the time; a sign begins a zone. So "24 Nov 2026 15:04:05 +0100", "Tue Nov 24 15:04:05 2026" (asctime, in
 * old mail) and "24-Nov-26" all come out right, and comments and week days go. */
#include "mime/date.h"
#include "mime/mime_private.h"
#include <stdio.h>

static const char month_names[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep",
                                        "Oct", "Nov", "Dec" };
static const char day_names[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

/* Howard Hinnant's days_from_civil: years begin in March, so that the leap day is the last one. */
int64_t date_days(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = floor_div(y, 400);
	int64_t yoe = y - era * 400;
	int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void civil(int64_t days, int *year, int *month, int *day)
{
	days += 719468;
	int64_t era = floor_div(days, 146097);
	int64_t doe = days - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;

	*day = (int)(doy - (153 * mp + 2) / 5 + 1);
	*month = (int)(mp < 10 ? mp + 3 : mp - 9);
	*year = (int)(yoe + era * 400 + (*month <= 2));
}

int64_t date_day(const struct mail_date *d) { return floor_div(d->unix_s + d->zone_minutes * 60, 86400); }

size_t date_format(int64_t unix_s, int zone_minutes, char out[DATE_TEXT_MAX])
{
	int64_t local = unix_s + zone_minutes * 60;
	int64_t days = floor_div(local, 86400);
	int year, month, day, second = (int)(local - days * 86400);
	int zone = zone_minutes < 0 ? -zone_minutes : zone_minutes;

	civil(days, &year, &month, &day);
	int n = snprintf(out, DATE_TEXT_MAX, "%s, %02d %s %04d %02d:%02d:%02d %c%02d%02d",
	                 day_names[((days + 4) % 7 + 7) % 7], day, month_names[month - 1], year,
	                 second / 3600, second / 60 % 60, second % 60, zone_minutes < 0 ? '-' : '+',
	                 zone / 60 % 100, zone % 60);
	return n > 0 && n < DATE_TEXT_MAX ? (size_t)n : 0;
}

struct reading {
	int day, month, year, year_digits;
	int hour, minute, second;
	int zone;
	bool has_time, has_zone;
};

static bool is_letter(char c) { return chr_alpha(c); }

static int month_of(struct str word)
{
	for (int i = 0; i < 12 && word.n >= 3; i++) {
		const char *name = month_names[i];
		if (chr_upper(word.p[0]) == name[0] && chr_lower(word.p[1]) == name[1] && chr_lower(word.p[2]) == name[2])
			return i + 1;
	}
	return 0;
}

/* obs-zone (RFC 5322 §4.3). Military letters are unreliable: 0. */
static void zone_word(struct reading *r, struct str word)
{
	static const struct { struct str name; int minutes; } zones[] = {
		{ { "UT", 2 }, 0 }, { { "GMT", 3 }, 0 }, { { "UTC", 3 }, 0 }, { { "Z", 1 }, 0 }, { { "EST", 3 }, -300 },
		{ { "EDT", 3 }, -240 },
		{ { "CST", 3 }, -360 }, { { "CDT", 3 }, -300 }, { { "MST", 3 }, -420 }, { { "MDT", 3 }, -360 },
		{ { "PST", 3 }, -480 },
		{ { "PDT", 3 }, -420 }, { { "CET", 3 }, 60 }, { { "CEST", 4 }, 120 }, { { "MET", 3 }, 60 },
		{ { "MEST", 4 }, 120 },
		{ { "BST", 3 }, 60 }, { { "WET", 3 }, 0 }, { { "WEST", 4 }, 60 }, { { "EET", 3 }, 120 },
		{ { "EEST", 4 }, 180 },
		{ { "MSK", 3 }, 180 }, { { "JST", 3 }, 540 },
	};

	if (r->has_zone)
		return;
	for (size_t i = 0; i < COUNT_OF(zones); i++) {
		if (str_ieq(word, zones[i].name)) {
			r->zone = zones[i].minutes;
			r->has_zone = true;
		}
	}
}

static bool read_number(struct scan *s, struct reading *r)
{
	const char *from = s->p;
	int v = (int)scan_number(s, 999999);
	int digits = (int)(s->p - from);

	if (s->failed)
		return false;
	if (!r->has_time && digits <= 2 && scan_peek(s) == ':') {
		s->p++;
		r->hour = v;
		r->minute = (int)scan_number(s, 59);
		if (scan_take(s, ':'))
			r->second = (int)scan_number(s, 60);
		if (scan_take(s, '.'))
			(void)scan_number(s, 999999999);
		r->has_time = true;
		return !s->failed;
	}
	if (digits <= 2 && r->day == 0)
		r->day = v;
	else if (r->year_digits == 0)
		r->year = v, r->year_digits = digits;
	return true;
}

static void read_zone(struct scan *s, struct reading *r)
{
	int sign = *s->p++ == '-' ? -1 : 1;
	const char *from = s->p;
	int v = (int)scan_number(s, 999999);
	size_t digits = (size_t)(s->p - from);

	if (!s->failed && digits <= 2 && scan_take(s, ':')) {  /* "+01:00" */
		v = v * 100 + (int)scan_number(s, 59);
		digits = 4;
	}
	if (s->failed || r->has_zone || (digits != 4 && digits != 2))
		return;
	if (digits == 2)
		v *= 100;
	if (v / 100 <= 24 && v % 100 < 60)
		r->zone = sign * (v / 100 * 60 + v % 100);
	r->has_zone = true;
}

static bool read_all(struct scan *s, struct reading *r)
{
	for (int steps = 0; steps < 40; steps++) {
		mime_skip_cfws(s, NULL);
		scan_skip(s, ",;\"");
		mime_skip_cfws(s, NULL);
		int c = scan_peek(s);
		if (c < 0)
			return true;
		if (chr_digit((char)c)) {
			if (!read_number(s, r))
				return false;
		} else if (r->has_time && (c == '+' || c == '-')) {
			read_zone(s, r);
			if (s->failed)
				return r->year_digits != 0;
		} else if (chr_alpha((char)c)) {
			struct str word = scan_while(s, is_letter);
			int month = month_of(word);
			if (month && r->month == 0)
				r->month = month;
			else if (r->has_time)
				zone_word(r, word);
		} else {
			s->p++;
		}
	}
	return true;
}

bool date_parse(struct str value, struct mail_date *out)
{
	static const int days_in[12] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	struct reading r = { 0 };
	struct scan s = scan_of(str_sub(value, 0, 500));

	if (!read_all(&s, &r) || r.month == 0 || r.day == 0 || r.year_digits == 0)
		return false;
	if (r.year_digits == 2)  /* RFC 5322 §4.3 */
		r.year += r.year < 50 ? 2000 : 1900;
	else if (r.year_digits == 3)
		r.year += 1900;
	if (r.year < 1900 || r.year > 9999 || r.day > days_in[r.month - 1] || r.hour > 23)
		return false;
	out->unix_s = date_days(r.year, r.month, r.day) * 86400 + r.hour * 3600 + r.minute * 60 + r.second - r.zone * 60;
	out->zone_minutes = r.zone;
	return true;
}
