/* RFC 2047 encoded words to UTF-8.
 * Neighbours with the same charset are joined before conversion, because mailers cut characters in two between words.
 * What looks like an encoded word and is none stays as it is. Blanks inside Q words and words inside quoted strings
 * are not allowed, but common. */
#include "mime/header.h"
#include "mime/decode.h"
#include "base/bytes.h"
#include "text/charset.h"

/* RFC 2047 §2 says 75; without a bound, words that never close would cost the square of their number. */
enum { WORD_MAX = 4096 };

struct word {
	struct str charset, text;
	char       encoding;   /* 'b' or 'q' */
};

/* encoded-word = "=?" charset ["*" language] "?" encoding "?" encoded-text "?=" */
static bool take_word(struct scan *s, struct word *out)
{
	struct scan t = *s;

	scan_need_str(&t, STR("=?"));
	struct str charset = scan_until(&t, '?');
	scan_need(&t, '?');
	int encoding = scan_peek(&t);
	if (t.failed || charset.n == 0 || charset.n > 80 || encoding < 0)
		return false;
	t.p++;
	scan_need(&t, '?');
	if (t.failed)
		return false;
	ptrdiff_t end = str_find(str_sub(scan_rest(&t), 0, WORD_MAX), STR("?="));
	if (end < 0)
		return false;
	out->encoding = chr_lower((char)encoding);
	out->text = scan_bytes(&t, (size_t)end);
	t.p += 2;
	if (out->encoding != 'b' && out->encoding != 'q')
		return false;
	str_cut(charset, '*', &out->charset, &(struct str){ 0 });
	*s = t;
	return true;
}

static int hex_digit(char c)
{
	return chr_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void decode_word(const struct word *w, struct buf *out)
{
	if (w->encoding == 'b') {
		struct mime_decoder d = mime_decoder(MIME_BASE64);
		mime_decode(&d, w->text, out);
		mime_decode_end(&d, out);
		return;
	}
	for (size_t i = 0; i < w->text.n; i++) {
		char c = w->text.p[i];
		if (c == '=' && i + 2 < w->text.n && hex_digit(w->text.p[i + 1]) >= 0 && hex_digit(w->text.p[i + 2]) >= 0) {
			buf_add_char(out, (char)(hex_digit(w->text.p[i + 1]) << 4 | hex_digit(w->text.p[i + 2])));
			i += 2;
		} else {
			buf_add_char(out, c == '_' ? ' ' : c);
		}
	}
}

static void flush(struct arena *a, struct str charset, struct buf *bytes, struct buf *out)
{
	if (bytes->n)
		buf_add(out, charset_to_utf8(a, charset, buf_str(bytes), bytes->n));
	buf_reset(bytes);
}

struct str header_decode_words(struct arena *a, struct str text)
{
	if (str_find(text, STR("=?")) < 0)
		return charset_guess(a, text);
	struct buf out = BUF(HEADER_DECODED_MAX), bytes = BUF(HEADER_DECODED_MAX);
	struct str charset = STR("");
	struct scan s = scan_of(text);
	while (!scan_done(&s)) {
		ptrdiff_t at = str_find(scan_rest(&s), STR("=?"));
		struct str before = scan_bytes(&s, at < 0 ? scan_left(&s) : (size_t)at);
		struct word w;
		bool is_between = bytes.n > 0 && str_trim(before).n == 0;  /* white space between two words is not shown */
		if (at >= 0 && take_word(&s, &w)) {
			if (bytes.n && (!is_between || !str_ieq(w.charset, charset)))
				flush(a, charset, &bytes, &out);
			if (!is_between)
				buf_add(&out, charset_guess(a, before));
			charset = w.charset;
			decode_word(&w, &bytes);
			continue;
		}
		flush(a, charset, &bytes, &out);
		buf_add(&out, charset_guess(a, before));
		if (at >= 0)
			buf_add(&out, scan_bytes(&s, 2));
	}
	flush(a, charset, &bytes, &out);
	buf_free(&bytes);
	struct str result = out.n ? str_copy(a, buf_str(&out)) : STR("");
	buf_free(&out);
	return result;
}
