/* RFC 9051 §9, rule by rule. Each function bears the name of its rule. Where it is more lenient than the grammar, quirks.def says for whom. */
#include "imap/grammar.h"
#include "base/bytes.h"
#include "imap/utf7.h"
#include "mime/date.h"

/* ------------------------------------------------------------------------------------------------------ characters */

bool imap_is_atom_char(char c)
{
	/* atom-specials: "(" ")" "{" SP CTL list-wildcards quoted-specials resp-specials */
	return (unsigned char)c > 0x20 && (unsigned char)c < 0x7f && !strchr("(){%*\"\\]", c);
}

bool imap_is_astring_char(char c) { return c == ']' || imap_is_atom_char(c); }
static bool is_tag_char(char c) { return c != '+' && imap_is_astring_char(c); }
static bool is_list_char(char c) { return c == '%' || c == '*' || imap_is_astring_char(c); }

/* ------------------------------------------------------------------------------------------------- strings, literals */

bool imap_literal_announced(struct str line, struct imap_literal *out)
{
	size_t at, end;
	uint64_t n = 0;

	if (line.n < 3 || line.p[line.n - 1] != '}')
		return false;
	end = line.n - 1;
	out->waits = line.p[end - 1] != '+';
	if (!out->waits)
		end--;
	for (at = end; at > 0 && chr_digit(line.p[at - 1]); at--)
		;
	if (at == end || at == 0 || line.p[at - 1] != '{')
		return false;
	for (size_t i = at; i < end; i++)
		n = n > (UINT64_MAX - 9) / 10 ? UINT64_MAX : n * 10 + (uint64_t)(line.p[i] - '0');
	out->n = n;
	out->at = at - 1;
	out->is_binary = out->at > 0 && line.p[out->at - 1] == '~';
	if (out->is_binary)
		out->at--;
	return true;
}

void imap_sp(struct scan *s) { scan_need(s, ' '); }

static struct str word_of(struct scan *s, bool (*in)(char), size_t max)
{
	struct str w = scan_while(s, in);

	if (w.n == 0 || w.n > max) {
		scan_fail(s);
		return STR_NONE;
	}
	return w;
}

struct str imap_tag(struct scan *s) { return word_of(s, is_tag_char, IMAP_TAG_MAX); }
struct str imap_atom(struct scan *s) { return word_of(s, imap_is_atom_char, IMAP_LINE_MAX); }

bool imap_word(struct scan *s, const char *word)
{
	struct scan ahead = *s;

	if (!str_ieq(scan_while(&ahead, imap_is_astring_char), str_of(word)))
		return false;
	*s = ahead;
	return true;
}

/* quoted = DQUOTE *QUOTED-CHAR DQUOTE; quirk UTF8_IN_QUOTED */
static struct str quoted(struct scan *s, struct arena *a)
{
	const char *start = s->p;
	bool has_escape = false;
	struct str raw;
	char *out;
	size_t n = 0;

	while (s->p < s->end && *s->p != '"') {
		if (*s->p == '\\') {
			has_escape = true;
			s->p++;
			if (s->p == s->end || (*s->p != '"' && *s->p != '\\')) {
				scan_fail(s);
				return STR_NONE;
			}
		} else if (*s->p == '\r' || *s->p == '\n' || *s->p == '\0') {
			scan_fail(s);
			return STR_NONE;
		}
		s->p++;
	}
	raw = str_make(start, (size_t)(s->p - start));
	scan_need(s, '"');
	if (s->failed || (!str_is_ascii(raw) && !utf8_valid(raw))) {
		scan_fail(s);
		return STR_NONE;
	}
	if (!has_escape)
		return raw;
	out = arena_alloc(a, raw.n);
	for (size_t i = 0; i < raw.n; i++) {
		if (raw.p[i] == '\\')
			i++;
		out[n++] = raw.p[i];
	}
	return str_make(out, n);
}

/* literal = "{" number64 ["+"] "}" CRLF *CHAR8, as the command reader left it in the text */
static struct str literal(struct scan *s)
{
	uint64_t n = scan_number(s, IMAP_COMMAND_MAX);

	scan_take(s, '+');
	scan_need(s, '}');
	scan_need(s, '\r');
	scan_need(s, '\n');
	struct str bytes = scan_bytes(s, (size_t)n);
	if (bytes.n > 0 && memchr(bytes.p, '\0', bytes.n))
		scan_fail(s);
	return s->failed ? STR_NONE : bytes;
}

struct str imap_string(struct scan *s, struct arena *a)
{
	if (scan_take(s, '"'))
		return quoted(s, a);
	scan_need(s, '{');
	return literal(s);
}

struct str imap_astring(struct scan *s, struct arena *a)
{
	if (scan_peek(s) == '"' || scan_peek(s) == '{')
		return imap_string(s, a);
	return word_of(s, imap_is_astring_char, IMAP_LINE_MAX);
}

struct str imap_nstring(struct scan *s, struct arena *a)
{
	if (imap_word(s, "NIL"))
		return STR_NONE;
	return imap_string(s, a);
}

/* RFC 2971 §3.1, §3.3: at most 30 pairs */
bool imap_scan_id(struct scan *s, struct arena *a)
{
	if (imap_word(s, "NIL"))
		return true;
	scan_need(s, '(');
	for (int n = 0; !s->failed && scan_peek(s) != ')'; n++) {
		if (n == 30)
			scan_fail(s);
		if (n > 0)
			imap_sp(s);
		imap_string(s, a);
		imap_sp(s);
		imap_nstring(s, a);
	}
	scan_need(s, ')');
	return !s->failed;
}

/* ------------------------------------------------------------------------------------------------------- mailboxes */

static struct str decoded(struct scan *s, struct arena *a, struct str raw, bool is_utf8)
{
	struct str name;

	if (s->failed)
		return STR_NONE;
	if (is_utf8 ? !utf8_valid(raw) : !utf7_decode(a, raw, &raw)) {
		scan_fail(s);
		return STR_NONE;
	}
	name = raw.p ? raw : STR("");
	return str_ieq(name, STR("INBOX")) ? STR("INBOX") : name;
}

struct str imap_mailbox(struct scan *s, struct arena *a, bool is_utf8)
{
	return decoded(s, a, imap_astring(s, a), is_utf8);
}

/* list-mailbox = 1*list-char / string */
struct str imap_list_mailbox(struct scan *s, struct arena *a, bool is_utf8)
{
	struct str raw = scan_peek(s) == '"' || scan_peek(s) == '{' ? imap_string(s, a) : word_of(s, is_list_char, IMAP_LINE_MAX);

	return decoded(s, a, raw, is_utf8);
}

/* Two cursors, going back only to the last "*" (or "%" while no '/' was passed): O(pattern × path), no recursion. */
static bool match(struct str pattern, struct str path)
{
	size_t p = 0, t = 0, star_p = SIZE_MAX, star_t = 0, part_p = SIZE_MAX, part_t = 0;

	for (;;) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star_p = ++p;
			star_t = t;
			part_p = SIZE_MAX;
		} else if (p < pattern.n && pattern.p[p] == '%') {
			part_p = ++p;
			part_t = t;
		} else if (p == pattern.n && t == path.n) {
			return true;
		} else if (p < pattern.n && t < path.n && pattern.p[p] == path.p[t]) {
			p++;
			t++;
		} else if (part_p != SIZE_MAX && part_t < path.n && path.p[part_t] != '/') {
			p = part_p;
			t = ++part_t;
		} else if (star_p != SIZE_MAX && star_t < path.n) {
			p = star_p;
			t = ++star_t;
			part_p = SIZE_MAX;
		} else {
			return false;
		}
	}
}

bool imap_list_match(struct str pattern, struct str path)
{
	size_t same = str_istarts(pattern, STR("INBOX")) && str_starts(path, STR("INBOX")) ? 5 : 0;  /* "inbox" and "Inbox/%" mean INBOX (RFC 9051 §5.1) */

	return match(str_from(pattern, same), str_from(path, same));
}

/* --------------------------------------------------------------------------------------------------- numbers, flags */

/* seq-number = nz-number / "*". The largest number is what "*" is kept as, and no message ever has it (message.c): written out it is one that is
 * not there, never the last message. */
static uint32_t seq_number(struct scan *s)
{
	uint32_t n;

	if (scan_take(s, '*'))
		return UINT32_MAX;
	n = scan_u32(s);
	if (n == 0)
		scan_fail(s);
	return n < UINT32_MAX ? n : UINT32_MAX - 1;
}

/* sequence-set = (seq-number / seq-range) ["," sequence-set] */
bool imap_sequence_set(struct scan *s, struct arena *a, struct uid_set *set)
{
	do {
		uint32_t first = seq_number(s);
		uint32_t last = scan_take(s, ':') ? seq_number(s) : first;

		if (set->n == IMAP_SET_RANGES_MAX)  /* a client's request never decides how much memory we use */
			scan_fail(s);
		if (!s->failed)
			uid_set_push(set, a, first, last);
	} while (scan_take(s, ','));
	uid_set_sort(set);
	return !s->failed;
}

uint64_t imap_number64(struct scan *s) { return scan_number(s, INT64_MAX); }

/* flag = "\" atom / atom */
struct str imap_flag(struct scan *s)
{
	const char *start = s->p;
	struct str name;

	scan_take(s, '\\');
	name = imap_atom(s);
	return s->failed ? STR_NONE : str_make(start, (size_t)(name.p + name.n - start));
}

/* ----------------------------------------------------------------------------------------------------------- dates */

static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

static int two_digits(struct scan *s)
{
	struct str d = scan_bytes(s, 2);

	if (d.n != 2 || !chr_digit(d.p[0]) || !chr_digit(d.p[1])) {
		scan_fail(s);
		return 0;
	}
	return (d.p[0] - '0') * 10 + d.p[1] - '0';
}

static int month_number(struct scan *s)
{
	struct str name = scan_bytes(s, 3);

	for (int i = 0; i < 12; i++)
		if (str_ieq(name, str_of(months[i])))
			return i + 1;
	scan_fail(s);
	return 1;
}

/* date-day-fixed "-" date-month "-" date-year, to days since 1970; quirk DAY_OF_ONE_DIGIT */
static int64_t day_month_year(struct scan *s)
{
	static const int lengths[12] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int day, month, year;

	scan_take(s, ' ');
	day = (int)scan_number(s, 31);
	scan_need(s, '-');
	month = month_number(s);
	scan_need(s, '-');
	year = two_digits(s) * 100;
	year += two_digits(s);
	if (day < 1 || day > lengths[month - 1] || year < 1 ||
	    (month == 2 && day == 29 && (year % 4 != 0 || (year % 100 == 0 && year % 400 != 0))))
		scan_fail(s);
	return s->failed ? 0 : date_days(year, month, day);
}

int64_t imap_date_time(struct scan *s)
{
	int64_t days, seconds, zone;
	int hour, minute, second;
	bool is_west;

	scan_need(s, '"');
	days = day_month_year(s);
	imap_sp(s);
	hour = two_digits(s);
	scan_need(s, ':');
	minute = two_digits(s);
	scan_need(s, ':');
	second = two_digits(s);
	imap_sp(s);
	is_west = scan_take(s, '-');
	if (!is_west)
		scan_need(s, '+');
	zone = two_digits(s) * 3600;
	zone += two_digits(s) * 60;
	scan_need(s, '"');
	if (hour > 23 || minute > 59 || second > 60)
		scan_fail(s);
	seconds = days * 86400 + hour * 3600 + minute * 60 + second;
	return s->failed ? 0 : is_west ? seconds + zone : seconds - zone;
}

int64_t imap_date(struct scan *s)
{
	bool is_quoted = scan_take(s, '"');
	int64_t days = day_month_year(s);

	if (is_quoted)
		scan_need(s, '"');
	return s->failed ? 0 : days;
}

/* --------------------------------------------------------------------------------------------------------- writing */

void imap_put_number(struct buf *b, uint64_t v)
{
	char room[20];
	size_t at = sizeof room;

	do
		room[--at] = (char)('0' + v % 10);
	while ((v /= 10) != 0);
	buf_add_bytes(b, room + at, sizeof room - at);
}

static void put_quoted(struct buf *b, struct str s)
{
	buf_add_char(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_add_char(b, '\\');
		buf_add_char(b, s.p[i]);
	}
	buf_add_char(b, '"');
}

void imap_put_string(struct buf *b, struct str s, bool is_utf8)
{
	if (s.n > 1000 || str_has_ctl(s) || !(str_is_ascii(s) || (is_utf8 && utf8_valid(s)))) {
		buf_printf(b, "{%zu}\r\n", s.n);
		buf_add(b, s);
		return;
	}
	put_quoted(b, s);
}

void imap_put_mailbox(struct buf *b, struct str path, bool is_utf8)
{
	size_t at = b->n, i;

	if (!is_utf8)
		utf7_put(b, path);
	else
		buf_add(b, path);
	for (i = at; i < b->n && imap_is_astring_char(b->p[i]); i++)
		;
	if (b->failed || (i == b->n && b->n > at && !(b->n - at == 3 && str_ieq(path, STR("NIL")))))
		return;
	CLEANUP(buf_free) struct buf name = BUF(b->n - at + 1);
	buf_add_bytes(&name, b->p + at, b->n - at);
	buf_truncate(b, at);
	imap_put_string(b, buf_str(&name), is_utf8);
}

void imap_put_date_time(struct buf *b, int64_t unix_s)
{
	char text[DATE_TEXT_MAX];

	if (unix_s < -62135596800 || unix_s > 253402300799)  /* years 1 to 9999; what else can a date-time say */
		unix_s = 0;
	date_format(unix_s, 0, text);  /* "Tue, 24 Nov 2026 15:04:05 +0000" */
	buf_printf(b, "\"%.2s-%.3s-%.4s %.8s +0000\"", text + 5, text + 8, text + 12, text + 17);
}
