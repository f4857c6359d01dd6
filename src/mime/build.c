/* Building small messages.
 * Fields fold at 78 columns where there is a blank. Text that is not printable ASCII becomes RFC 2047 words of at
 * most 75 characters, each of whole characters: Q when most of it is ASCII, else B. Whatever is given, no CR, LF or
 * NUL of a value reaches the output. */
#include "mime/build.h"
#include "mime/date.h"
#include "mime/decode.h"
#include "base/bytes.h"
#include "base/clock.h"

enum { COLUMNS = 78, WORD_TEXT_MAX = 75 - 12 };  /* "=?utf-8?q?" and "?=" are 12 */

/* Printable ASCII that does not look like an encoded word. */
static bool is_plain(struct str s)
{
	return str_is_ascii(s) && !str_has_ctl(s) && str_find(s, STR("=?")) < 0;
}

static size_t column_of(const struct buf *b)
{
	size_t n = b->n;

	while (n > 0 && b->p[n - 1] != '\n')
		n--;
	return b->n - n;
}

/* Adds words separated by blanks, folding before one that would pass the last column. */
static void put_folded(struct buf *b, struct str text)
{
	struct scan s = scan_of(text);
	size_t column = column_of(b);

	while (!scan_done(&s)) {
		const char *from = s.p;
		while (!scan_done(&s) && *s.p == ' ')
			s.p++;
		while (!scan_done(&s) && *s.p != ' ')
			s.p++;
		struct str word = str_make(from, (size_t)(s.p - from));
		if (word.p[0] == ' ' && column + word.n > COLUMNS && column > 1 && str_trim(word).n) {
			buf_add(b, STR("\r\n"));
			column = 0;
		}
		for (size_t i = 0; i < word.n; i++)
			buf_add_char(b, (unsigned char)word.p[i] < 32 || word.p[i] == 127 ? ' ' : word.p[i]);
		column += word.n;
	}
}

static bool is_q_plain(char c)  /* safe also inside a phrase, RFC 2047 §5 (3) */
{
	return chr_alpha(c) || chr_digit(c) || c == '!' || c == '*' || c == '+' || c == '-' || c == '/';
}

/* One encoded word from the start of text; returns the bytes used. */
static size_t put_word(struct buf *b, struct str text, bool is_q, size_t room)
{
	struct scan s = scan_of(text);
	size_t used = 0, width = 0;

	while (!scan_done(&s)) {
		const char *from = s.p;
		(void)utf8_next(&s);
		size_t n = (size_t)(s.p - from), w = 0;
		for (size_t i = 0; i < n; i++)
			w += is_q_plain(from[i]) || from[i] == ' ' ? 1 : 3;
		size_t next = is_q ? width + w : (used + n + 2) / 3 * 4;
		if (next > room && used)
			break;
		width = next;
		used += n;
	}
	buf_add_cstr(b, is_q ? "=?utf-8?q?" : "=?utf-8?b?");
	if (is_q) {
		for (size_t i = 0; i < used; i++) {
			if (text.p[i] == ' ')
				buf_add_char(b, '_');
			else if (is_q_plain(text.p[i]))
				buf_add_char(b, text.p[i]);
			else
				buf_printf(b, "=%02X", (unsigned char)text.p[i]);
		}
	} else {
		base64_put(b, str_sub(text, 0, used));
	}
	buf_add(b, STR("?="));
	return used;
}

static void put_encoded(struct buf *b, struct str text)
{
	size_t high = 0;
	bool is_first = true;

	for (size_t i = 0; i < text.n; i++)
		high += !is_q_plain(text.p[i]) && text.p[i] != ' ';
	while (text.n) {
		size_t column = column_of(b);
		if (!is_first || column + 12 + 12 > COLUMNS) {
			buf_add(b, STR("\r\n "));
			column = 1;
		}
		size_t room = COLUMNS - 2 - 12 - column;
		text = str_from(text, put_word(b, text, high * 3 < text.n, room < WORD_TEXT_MAX ? room : WORD_TEXT_MAX));
		is_first = false;
	}
}

void build_field_text(struct buf *b, const char *name, struct str text)
{
	buf_printf(b, "%s: ", name);
	if (is_plain(text))
		put_folded(b, text);
	else
		put_encoded(b, text);
	buf_add(b, STR("\r\n"));
}

void build_field_raw(struct buf *b, const char *name, struct str value)
{
	buf_printf(b, "%s: ", name);
	put_folded(b, value);
	buf_add(b, STR("\r\n"));
}

static bool is_phrase(struct str s)  /* atoms and blanks */
{
	for (size_t i = 0; i < s.n; i++)
		if (!chr_alpha(s.p[i]) && !chr_digit(s.p[i]) && s.p[i] != ' ' && s.p[i] != '-' && s.p[i] != '\'')
			return false;
	return true;
}

static void put_quoted(struct buf *b, struct str s)
{
	buf_add_char(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_add_char(b, '\\');
		buf_add_char(b, (unsigned char)s.p[i] < 32 || s.p[i] == 127 ? ' ' : s.p[i]);
	}
	buf_add_char(b, '"');
}

void build_field_address(struct buf *b, const char *name, struct str display, struct str address)
{
	buf_printf(b, "%s: ", name);
	if (display.n && !is_plain(display))
		put_encoded(b, display);
	else if (display.n && is_phrase(display))
		put_folded(b, display);
	else if (display.n)
		put_quoted(b, display);
	if (display.n)
		buf_add_cstr(b, column_of(b) + address.n + 3 > COLUMNS ? "\r\n " : " ");
	buf_add_char(b, '<');
	for (size_t i = 0; i < address.n; i++)
		if ((unsigned char)address.p[i] >= 32 && address.p[i] != 127 && address.p[i] != '<' && address.p[i] != '>')
			buf_add_char(b, address.p[i]);
	buf_add(b, STR(">\r\n"));
}

void build_field_date(struct buf *b, const char *name, int64_t unix_s)
{
	char text[DATE_TEXT_MAX];
	size_t n = date_format(unix_s, 0, text);

	build_field_raw(b, name, str_make(text, n));
}

struct str build_message_id(struct arena *a, struct str domain)
{
	struct str word = random_word(a, 20);

	return arena_printf(a, "<" STR_FMT ".%llx@" STR_FMT ">", STR_ARG(word),
	                    (unsigned long long)clock_wall_s(), STR_ARG(domain));
}

void build_param(struct buf *b, const char *name, struct str value)
{
	buf_add_char(b, ';');
	buf_add_cstr(b, column_of(b) + strlen(name) + value.n + 6 > COLUMNS ? "\r\n " : " ");
	buf_add_cstr(b, name);
	if (is_plain(value)) {
		buf_add_char(b, '=');
		put_quoted(b, value);
		return;
	}
	buf_add_cstr(b, "*=utf-8''");
	for (size_t i = 0; i < value.n; i++) {
		char c = value.p[i];
		if (chr_alpha(c) || chr_digit(c) || c == '.' || c == '-' || c == '_')
			buf_add_char(b, c);
		else
			buf_printf(b, "%%%02X", (unsigned char)c);
	}
}

/* -------------------------------------------------------------------------------------------------------- messages */

static bool has_long_line(struct str s)
{
	while (s.n) {
		ptrdiff_t lf = str_chr(s, '\n');
		size_t n = lf < 0 ? s.n : (size_t)lf;
		if (n > 990)
			return true;
		s = lf < 0 ? STR("") : str_from(s, n + 1);
	}
	return false;
}

static void put_end_of_line(struct buf *b)
{
	if (!b->failed && b->n && b->p[b->n - 1] != '\n')
		buf_add(b, STR("\r\n"));
}

static void put_text_lines(struct buf *b, struct str s)
{
	while (s.n) {
		struct str line, rest;
		str_cut(s, '\n', &line, &rest);
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		buf_add(b, line);
		buf_add(b, STR("\r\n"));
		s = rest;
	}
}

static void put_part(struct buf *b, const struct build_part *p)
{
	bool has_8bit_text = p->raw.p == NULL && p->bytes.p == NULL && (!str_is_ascii(p->text) || has_long_line(p->text));

	buf_add(b, STR("Content-Type: "));
	put_folded(b, p->type.n ? p->type : STR("text/plain"));
	if (p->raw.p == NULL && p->bytes.p == NULL && (p->type.n == 0 || str_istarts(p->type, STR("text/"))))
		buf_add_cstr(b, str_is_ascii(p->text) ? "; charset=us-ascii" : "; charset=utf-8");
	buf_add(b, STR("\r\n"));
	if (p->description.n)
		build_field_text(b, "Content-Description", p->description);
	if (p->filename.n) {
		buf_add(b, STR("Content-Disposition: attachment"));
		build_param(b, "filename", p->filename);
		buf_add(b, STR("\r\n"));
	}
	if (p->bytes.p) {
		struct mime_base64 e = { 0 };
		buf_add(b, STR("Content-Transfer-Encoding: base64\r\n\r\n"));
		mime_base64_put(&e, p->bytes, b);
		mime_base64_end(&e, b);
	} else if (p->raw.p) {
		buf_add_cstr(b, str_is_ascii(p->raw) ? "\r\n" : "Content-Transfer-Encoding: 8bit\r\n\r\n");
		buf_add(b, p->raw);
	} else if (has_8bit_text) {
		buf_add(b, STR("Content-Transfer-Encoding: quoted-printable\r\n\r\n"));
		mime_qp_put_text(p->text, b);
	} else {
		buf_add(b, STR("\r\n"));
		put_text_lines(b, p->text);
	}
	put_end_of_line(b);
}

void build_message(const struct build_message *m, struct buf *out)
{
	struct arena a = { 0 };

	build_field_date(out, "Date", m->date);
	if (m->from.n)
		build_field_address(out, "From", m->from_name, m->from);
	if (m->to.n)
		build_field_address(out, "To", m->to_name, m->to);
	build_field_text(out, "Subject", m->subject);
	build_field_raw(out, "Message-ID", m->message_id);
	if (m->in_reply_to.n)
		build_field_raw(out, "In-Reply-To", m->in_reply_to);
	if (m->references.n)
		build_field_raw(out, "References", m->references);
	if (m->is_auto_submitted)
		build_field_raw(out, "Auto-Submitted", m->in_reply_to.n ? STR("auto-replied") : STR("auto-generated"));
	buf_add(out, m->extra);
	buf_add(out, STR("MIME-Version: 1.0\r\n"));
	if (m->parts_n == 1) {
		put_part(out, &m->parts[0]);
	} else {
		struct str boundary = random_word(&a, 30);  /* 148 bits: in no part by chance, and not to be guessed */
		buf_printf(out, "Content-Type: multipart/%s;\r\n boundary=\"=_" STR_FMT "\"\r\n\r\n",
		           m->multipart ? m->multipart : "mixed", STR_ARG(boundary));
		for (size_t i = 0; i < m->parts_n; i++) {
			buf_printf(out, "--=_" STR_FMT "\r\n", STR_ARG(boundary));
			put_part(out, &m->parts[i]);
		}
		buf_printf(out, "--=_" STR_FMT "--\r\n", STR_ARG(boundary));
	}
	arena_free(&a);
}
