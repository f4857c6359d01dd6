/* The readable text of parts, for searching and for previews. Work is bounded by the bytes of the part, not by what
 * they claim. */
#include "mime/text.h"
#include "mime/decode.h"
#include "mime/header.h"
#include "mime/mime_private.h"
#include "base/bytes.h"
#include "text/charset.h"

enum { PREVIEW_BYTES_MAX = 16384, HEADER_TEXT_MAX = 2 << 20 };

static bool has_text(const struct mime_part *p)
{
	return p->kind == MIME_TEXT || mime_is(p, "message", "delivery-status") ||
	       mime_is(p, "message", "disposition-notification") || mime_is(p, "message", "global-delivery-status");
}

static const struct mime_part *first_from(const struct mime_part *p)
{
	while (p && !has_text(p))
		p = mime_next(p);
	return p;
}

const struct mime_part *mime_text_first(const struct mime_part *root) { return first_from(root); }
const struct mime_part *mime_text_next(const struct mime_part *p) { return first_from(mime_next(p)); }

struct str mime_text(struct arena *a, struct str message, const struct mime_part *p, size_t max)
{
	if (max > MIME_TEXT_MAX)
		max = MIME_TEXT_MAX;
	struct str bytes = mime_decode_all(a, p->encoding, str_sub(mime_body(message, p), 0, max), max);
	struct str text = charset_to_utf8(a, mime_param(a, p->params, "charset"), bytes, max);
	return mime_is(p, "text", "html") ? mime_html_text(a, text) : text;
}

bool mime_field_is_for_machines(struct str name)
{
	static const char *const exact[] = { "received", "x-received", "received-spf", "dkim-signature", "domainkey-signature", "dkim-filter",
	                                     "autocrypt", "face", "x-face", "content-transfer-encoding", "mime-version", "x-original-dkim-signature",
	                                     "x-mozilla-status", "x-mozilla-status2", "x-uidl" };
	static const char *const beginnings[] = { "arc-", "x-google-", "x-gm-", "x-ms-exchange-", "x-microsoft-", "x-forefront-", "x-exchange-",
	                                          "x-ms-", "x-ses-", "x-sg-", "x-mailgun-", "x-proofpoint-", "x-ironport-" };

	for (size_t i = 0; i < COUNT_OF(exact); i++)
		if (str_ieq(name, str_of(exact[i])))
			return true;
	for (size_t i = 0; i < COUNT_OF(beginnings); i++)
		if (str_istarts(name, str_of(beginnings[i])))
			return true;
	return false;
}

struct str mime_header_text(struct arena *a, struct str header)
{
	struct buf b = BUF(HEADER_TEXT_MAX);
	struct scan s = scan_of(header);
	struct header_field f;

	while (header_next(&s, &f)) {
		if (mime_field_is_for_machines(f.name))
			continue;
		buf_add(&b, f.name);
		buf_add(&b, STR(": "));
		buf_add(&b, header_decode(a, f.value));
		buf_add_char(&b, '\n');
	}
	struct str out = b.n ? str_copy(a, buf_str(&b)) : STR("");
	buf_free(&b);
	return out;
}

/* A name in the form of RFC 2231 is not what anybody looks for. */
struct str mime_part_header_text(struct arena *a, struct str message, const struct mime_part *p)
{
	struct str text = mime_header_text(a, mime_header(message, p)), name = mime_filename(a, p);

	return name.n > 0 ? arena_printf(a, STR_FMT STR_FMT "\n", STR_ARG(text), STR_ARG(name)) : text;
}

/* --------------------------------------------------------------------------------------------------------- preview */

static const struct mime_part *preview_part(const struct mime_part *root)
{
	const struct mime_part *html = NULL;

	for (const struct mime_part *p = root; p; p = mime_next(p)) {
		if (p->kind != MIME_TEXT || str_ieq(p->disposition, STR("attachment")))
			continue;
		if (mime_is(p, "text", "plain") && p->body_n)
			return p;
		if (!html && mime_is(p, "text", "html"))
			html = p;
	}
	return html;
}

static size_t plain_run(const char *p, size_t n)
{
	size_t k = 0;

	while (k < n && p[k] > ' ' && p[k] < 0x7f)
		k++;
	return k;
}

/* Adds the words of a line, single blanks between; false: no room for more. */
static bool put_words(struct str line, char *out, size_t cap, size_t *n, size_t *characters, size_t max_characters)
{
	struct scan s = scan_of(line);

	while (!scan_done(&s)) {
		const char *from = s.p;
		size_t k = plain_run(from, scan_left(&s) < max_characters - *characters ? scan_left(&s) : max_characters - *characters);
		if (k > 0 && *n + k <= cap) {  /* nearly all there is */
			memcpy(out + *n, from, k);
			*n += k;
			*characters += k;
			s.p += k;
			continue;
		}
		int32_t c = utf8_next(&s);
		bool is_space = c <= ' ' || c == 0x7f || c == 0xa0 || c == 0xad || c == 0x34f || c == 0xfeff ||
		                (c >= 0x2000 && c <= 0x200d) || c == 0x2028 || c == 0x2029;
		size_t bytes = (size_t)(s.p - from);
		if (*characters == max_characters || *n + bytes + 1 > cap)
			return false;
		if (is_space) {
			if (*n == 0 || out[*n - 1] == ' ')
				continue;
			out[(*n)++] = ' ';
		} else {
			memcpy(out + *n, from, bytes);
			*n += bytes;
		}
		++*characters;
	}
	if (*n && out[*n - 1] != ' ' && *characters < max_characters) {
		out[(*n)++] = ' ';
		++*characters;
	}
	return true;
}

/* *is_full: there was more text than room. */
static struct str condense(struct arena *a, struct str text, size_t max_characters, bool skips_quotes, bool *is_full)
{
	size_t cap = max_characters * 4 + 4, n = 0, characters = 0;
	char *out = arena_alloc(a, cap);
	struct scan s = scan_of(text);

	*is_full = false;
	while (!scan_done(&s)) {
		struct str line = scan_until(&s, '\n');
		scan_take(&s, '\n');
		struct str trimmed = str_trim(line);
		if (skips_quotes && trimmed.n && trimmed.p[0] == '>')
			continue;
		if (skips_quotes && (str_eq(line, STR("-- ")) || str_eq(line, STR("-- \r"))))
			break;
		*is_full = !put_words(line, out, cap, &n, &characters, max_characters);
		if (*is_full)
			break;
	}
	return str_trim(str_make(out, n));
}

static struct str preview_of(struct arena *a, struct str message, const struct mime_part *p, size_t bytes, size_t max_characters,
                             bool *is_full)
{
	struct str text = mime_text(a, message, p, bytes);

	if (!utf8_valid(text))
		text = charset_guess(a, text);
	struct str out = condense(a, text, max_characters, true, is_full);
	return out.n ? out : condense(a, text, max_characters, false, is_full);
}

/* The beginning of a text usually fills it; what is quoted, or HTML, needs more. */
struct str mime_preview(struct arena *a, struct str message, const struct mime_part *root, size_t max_characters)
{
	const struct mime_part *p = preview_part(root);
	struct str out = STR("");
	bool is_full = false;

	if (p && mime_is(p, "text", "plain") && p->body_n > max_characters * 4)
		out = preview_of(a, message, p, max_characters * 4, max_characters, &is_full);
	if (p && !is_full)
		out = preview_of(a, message, p, PREVIEW_BYTES_MAX, max_characters, &is_full);
	return out;
}
