/* Parameters of structured fields (RFC 2045 §5.1, RFC 2231).
 * Two steps. Reading takes `name=value` pairs as they come, and joins continuations (name*0, name*1*, ...) by number,
 * not by order, into one parameter; this is what IMAP shows (RFC 2231 §6). When any piece was %XX-encoded the joined
 * value is an extended one, and pieces that were not are encoded, so the whole can be decoded alike. Decoding to
 * UTF-8 is done for those who ask, by mime_param(). */
#include "mime/mime_private.h"
#include "mime/header.h"
#include "base/bytes.h"
#include "text/charset.h"

enum { PIECES_MAX = 100, VALUE_MAX = 65536 };

/* One `name*3*=value` as written. */
struct piece {
	struct str name, value;
	int        number;       /* -1: no continuation */
	bool       is_encoded;   /* a star at the end */
	bool       is_used;
};

void mime_skip_cfws(struct scan *s, struct str *comment)
{
	for (;;) {
		int c = scan_peek(s);
		if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
			s->p++;
		} else if (c == '(') {
			const char *from = ++s->p;
			for (int depth = 1; s->p < s->end; s->p++) {
				if (*s->p == '\\' && s->p + 1 < s->end)
					s->p++;
				else if (*s->p == '(')
					depth++;
				else if (*s->p == ')' && --depth == 0)
					break;
			}
			if (comment)
				*comment = str_make(from, (size_t)(s->p - from));
			scan_take(s, ')');
		} else {
			return;
		}
	}
}

static const bool ends_token[256] = {
	[0 ... 32] = true, [127] = true, ['('] = true, [')'] = true, ['<'] = true, ['>'] = true, ['@'] = true, [','] = true, [';'] = true,
	[':'] = true, ['\\'] = true, ['"'] = true, ['/'] = true, ['['] = true, [']'] = true, ['?'] = true, ['='] = true,
};

struct str mime_token(struct scan *s)
{
	const char *from = s->p;

	while (s->p < s->end && !ends_token[(unsigned char)*s->p])
		s->p++;
	return str_make(from, (size_t)(s->p - from));
}

struct str mime_quoted_string(struct arena *a, struct scan *s)
{
	scan_take(s, '"');
	const char *from = s->p;
	size_t plain = 0;
	bool is_plain = true;

	for (; s->p < s->end && *s->p != '"'; s->p++) {
		if (*s->p == '\\' || *s->p == '\r' || *s->p == '\n' || *s->p == '\0')
			is_plain = false;
		if (*s->p == '\\' && s->p + 1 < s->end)
			s->p++;
	}
	struct str inside = str_make(from, (size_t)(s->p - from));
	scan_take(s, '"');
	if (is_plain)
		return inside;
	char *out = arena_alloc(a, inside.n + 1);
	for (size_t i = 0; i < inside.n; i++) {
		char c = inside.p[i];
		if (c == '\\' && i + 1 < inside.n)
			c = inside.p[++i];
		if (c != '\r' && c != '\n' && c != '\0')
			out[plain++] = c;
	}
	return str_make(out, plain);
}

/* A value that is no quoted string: mail has unquoted blanks in names, so it goes up to the semicolon; trailing
 * blanks and a trailing comment go. */
static struct str loose_value(struct scan *s)
{
	const char *from = s->p;

	while (s->p < s->end && *s->p != ';')
		s->p++;
	struct str v = str_trim(str_make(from, (size_t)(s->p - from)));
	ptrdiff_t comment = str_find(v, STR(" ("));
	return comment > 0 ? str_trim(str_sub(v, 0, (size_t)comment)) : v;
}

static void split_name(struct piece *p)
{
	ptrdiff_t star = str_chr(p->name, '*');

	p->number = -1;
	if (star <= 0)
		return;
	struct str rest = str_from(p->name, (size_t)star + 1);
	if (rest.n == 0) {
		p->is_encoded = true;
	} else {
		struct scan n = scan_of(rest);
		uint64_t number = scan_number(&n, 9999);
		bool is_encoded = scan_take(&n, '*');
		if (n.failed || !scan_done(&n))
			return;  /* "a*b": a name like any other */
		p->number = (int)number;
		p->is_encoded = is_encoded;
	}
	p->name = str_sub(p->name, 0, (size_t)star);
}

static size_t read_pieces(struct arena *a, struct scan *s, struct piece *pieces)
{
	size_t n = 0;

	while (!scan_done(s) && n < PIECES_MAX) {
		mime_skip_cfws(s, NULL);
		if (scan_take(s, ';'))
			continue;
		struct piece p = { .name = mime_token(s) };
		mime_skip_cfws(s, NULL);
		if (p.name.n == 0 || !scan_take(s, '=')) {
			scan_until(s, ';');  /* "; =x" or a word alone: nothing to keep */
			continue;
		}
		mime_skip_cfws(s, NULL);
		if (scan_peek(s) == '"') {
			p.value = mime_quoted_string(a, s);
			scan_until(s, ';');
		} else {
			p.value = loose_value(s);
		}
		split_name(&p);
		pieces[n++] = p;
	}
	return n;
}

static bool is_attribute_char(char c)  /* RFC 2231 §7 */
{
	return !ends_token[(unsigned char)c] && (unsigned char)c < 127 && c != '*' && c != '\'' && c != '%';
}

/* Joins the continuations of one name, from number 0 until one is missing. */
static struct str join_pieces(struct arena *a, struct piece *pieces, size_t n, struct piece *first, bool *is_extended)
{
	struct buf b = BUF(VALUE_MAX);

	*is_extended = false;
	for (size_t i = 0; i < n; i++)
		if (pieces[i].number >= 0 && pieces[i].is_encoded && str_ieq(pieces[i].name, first->name))
			*is_extended = true;
	if (*is_extended && !first->is_encoded)
		buf_add(&b, STR("''"));
	for (int number = 0; number <= PIECES_MAX; number++) {
		struct piece *found = NULL;
		for (size_t i = 0; i < n && !found; i++)
			if (pieces[i].number == number && !pieces[i].is_used && str_ieq(pieces[i].name, first->name))
				found = &pieces[i];
		if (!found)
			break;
		found->is_used = true;
		if (!*is_extended || found->is_encoded) {
			buf_add(&b, found->value);
			continue;
		}
		for (size_t k = 0; k < found->value.n; k++) {
			char c = found->value.p[k];
			if (is_attribute_char(c))
				buf_add_char(&b, c);
			else
				buf_printf(&b, "%%%02X", (unsigned char)c);
		}
	}
	struct str out = b.n ? str_copy(a, buf_str(&b)) : STR("");
	buf_free(&b);
	return out;
}

struct mime_param *mime_params_read(struct arena *a, struct scan *s)
{
	struct piece pieces[PIECES_MAX];
	size_t n = read_pieces(a, s, pieces), kept = 0;
	struct mime_param *first = NULL, **at = &first;

	for (size_t i = 0; i < n && kept < MIME_PARAMS_MAX; i++) {
		struct piece *p = &pieces[i];
		if (p->is_used)
			continue;
		struct mime_param *out = ARENA_NEW(a, struct mime_param);
		out->name = p->name;
		out->value = p->value;
		out->is_extended = p->is_encoded;
		if (p->number >= 0) {
			struct piece *zero = NULL;
			for (size_t k = 0; k < n && !zero; k++)
				if (pieces[k].number == 0 && !pieces[k].is_used && str_ieq(pieces[k].name, p->name))
					zero = &pieces[k];
			if (!zero)
				continue;  /* a continuation of nothing */
			out->value = join_pieces(a, pieces, n, zero, &out->is_extended);
		}
		*at = out;
		at = &out->next;
		kept++;
	}
	return first;
}

struct mime_param *mime_params_parse(struct arena *a, struct str raw)
{
	struct scan s = scan_of(header_unfold(a, raw));

	return mime_params_read(a, &s);
}

static int hex_digit(char c)
{
	return chr_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* charset'language'%XX text; without the quotes all is text. */
static struct str decode_extended(struct arena *a, struct str v)
{
	struct str charset, rest, language, text;

	if (!str_cut(v, '\'', &charset, &rest) || !str_cut(rest, '\'', &language, &text)) {
		charset = STR("");
		text = v;
	}
	char *out = arena_alloc(a, text.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < text.n; i++) {
		int hi, lo;
		if (text.p[i] == '%' && i + 2 < text.n &&
		    (hi = hex_digit(text.p[i + 1])) >= 0 && (lo = hex_digit(text.p[i + 2])) >= 0) {
			out[n++] = (char)(hi << 4 | lo);
			i += 2;
		} else {
			out[n++] = text.p[i];
		}
	}
	return charset_to_utf8(a, charset, str_make(out, n), VALUE_MAX);
}

struct str mime_param(struct arena *a, const struct mime_param *params, const char *name)
{
	for (const struct mime_param *p = params; p; p = p->next) {
		if (!str_ieq(p->name, str_of(name)))
			continue;
		return p->is_extended ? decode_extended(a, p->value) : header_decode(a, p->value);
	}
	return STR_NONE;
}

struct str mime_filename(struct arena *a, const struct mime_part *p)
{
	struct str name = mime_param(a, p->disposition_params, "filename");

	if (name.n == 0)
		name = mime_param(a, p->params, "name");
	if (name.n == 0)
		return STR_NONE;
	for (size_t i = name.n; i > 0; i--)
		if (name.p[i - 1] == '/' || name.p[i - 1] == '\\')
			return i < name.n ? str_from(name, i) : STR_NONE;
	return name;
}

enum mime_encoding mime_encoding_of(struct str name)
{
	static const struct { struct str name; enum mime_encoding encoding; } known[] = {
		{ { "7bit", 4 }, MIME_7BIT }, { { "8bit", 4 }, MIME_8BIT }, { { "base64", 6 }, MIME_BASE64 },
		{ { "binary", 6 }, MIME_BINARY },
		{ { "quoted-printable", 16 }, MIME_QUOTED_PRINTABLE },
	};

	for (size_t i = 0; i < COUNT_OF(known); i++)
		if (str_ieq(name, known[i].name))
			return known[i].encoding;
	return MIME_ENCODING_UNKNOWN;
}
