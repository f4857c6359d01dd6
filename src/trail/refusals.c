/* A table and a search from its top. Replies are long, come in pieces (each line with its codes, words cut anywhere between two lines)
 * and are written by anybody, so they are first made one line of text, at most REPLY_MAX bytes; the needles are looked for in that.
 *
 * A page that the reply itself names is better than the row's: it often carries the address or the ticket. Only https and http ones,
 * of printable ASCII, count; a person clicks on it, so it must not be something else than it looks. */
#include "trail/refusals.h"
#include "base/buf.h"
#include "base/scan.h"

enum { REPLY_MAX = 2000, PAGE_MAX = 300 };

struct row {
	struct refusal refusal;
	const char    *status, *words;
};
static const struct row rows[] = {
#define REFUSAL(name, status, words, page, why_en, why_fr, next_en, next_fr)                                        \
	{ { name, page, { why_en, why_fr }, { next_en, next_fr } }, status, words },
#include "trail/refusals.def"
#undef REFUSAL
};

/* ---- the reply as one line */

/* "5.7.26": three numbers of one to three digits, the first 2, 4 or 5 (RFC 3463 §2). */
static struct str scan_status(struct scan *s)
{
	const char *from = s->p;
	struct scan t = *s;

	for (int part = 0; part < 3; part++) {
		const char *digits = t.p;
		while (t.p < t.end && chr_digit(*t.p))
			t.p++;
		if (t.p == digits || t.p - digits > 3 || (part < 2 && !scan_take(&t, '.')))
			return STR("");
	}
	s->p = t.p;
	return str_make(from, (size_t)(t.p - from));
}

/* What stands behind "550-5.7.26 ": reply code and status are taken from the line, if they are there. */
static struct str line_text(struct str line, struct str *status)
{
	struct scan s = scan_of(line);
	struct str found;

	if (line.n >= 3 && chr_digit(line.p[0]) && chr_digit(line.p[1]) && chr_digit(line.p[2]) &&
	    (line.n == 3 || line.p[3] == ' ' || line.p[3] == '-'))
		s.p += line.n == 3 ? 3 : 4;
	found = scan_status(&s);
	if (found.n > 0 && status->n == 0)
		*status = found;
	return str_trim(scan_rest(&s));
}

/* All lines' text with a space between them. *status is set when it is empty and the reply has one. */
static void put_reply(struct str reply, struct str *status, struct buf *out)
{
	struct str line, rest = str_sub(reply, 0, REPLY_MAX);

	while (rest.n > 0) {
		str_cut(rest, '\n', &line, &rest);
		if (out->n > 0)
			buf_add_char(out, ' ');
		buf_add(out, line_text(line, status));
	}
}

/* ---- does a row fit? */

static bool part_fits(struct str want, struct str got)
{
	if (str_eq(want, STR("*")))
		return true;
	if (want.n != got.n)
		return false;
	for (size_t i = 0; i < want.n; i++)
		if (want.p[i] != got.p[i] && want.p[i] != '?')
			return false;
	return true;
}

/* "5.7" fits "5.7.26", "*.7.26" fits "4.7.26", "4.7.5??" fits "4.7.500". */
static bool status_fits_one(struct str pattern, struct str status)
{
	struct str want, got;

	while (pattern.n > 0) {
		str_cut(pattern, '.', &want, &pattern);
		str_cut(status, '.', &got, &status);
		if (got.n == 0 || !part_fits(want, got))
			return false;
	}
	return true;
}

static bool status_fits(const char *patterns, struct str status)
{
	struct str one, rest = str_of(patterns);

	while (rest.n > 0) {
		str_cut(rest, '|', &one, &rest);
		if (status_fits_one(one, status))
			return true;
	}
	return *patterns == '\0';
}

static bool words_fit(const char *needles, struct str text)
{
	struct str one, rest = str_of(needles);

	while (rest.n > 0) {
		str_cut(rest, '|', &one, &rest);
		if (str_ifind(text, one) >= 0)
			return true;
	}
	return *needles == '\0';
}

const struct refusal *refusal_find(struct str status, struct str reply)
{
	CLEANUP(buf_free) struct buf text = BUF(2 * REPLY_MAX);
	struct str given = status;

	put_reply(reply, &status, &text);
	if (status.n == 0 && given.n == 0 && reply.n > 0 && (reply.p[0] == '4' || reply.p[0] == '5'))
		status = str_sub(reply, 0, 1);  /* "550 no such user": at least its class */
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		if (status_fits(rows[i].status, status) && words_fit(rows[i].words, buf_str(&text)))
			return &rows[i].refusal;
	return NULL;
}

/* ---- sentences */

static bool is_page_char(char c) { return c > ' ' && c < 127 && c != '<' && c != '>' && c != '"' && c != '\\' && c != '`'; }

/* The first page named in the reply, without the full stop or bracket behind it; empty: none. */
static struct str find_page(struct str text)
{
	static const struct str schemes[] = { { "https://", 8 }, { "http://", 7 } };

	for (size_t i = 0; i < COUNT_OF(schemes); i++) {
		ptrdiff_t at = str_ifind(text, schemes[i]);
		if (at < 0)
			continue;
		struct scan s = scan_of(str_from(text, (size_t)at));
		struct str page = scan_while(&s, is_page_char);
		while (page.n > 0 && strchr(".,;:)]}'", page.p[page.n - 1]) != NULL)
			page.n--;
		if (page.n > schemes[i].n && page.n <= PAGE_MAX)
			return page;
	}
	return STR("");
}

static void put_argument(struct buf *b, const struct refusal *r, enum lang lang, const struct refusal_facts *f, char which)
{
	CLEANUP(buf_free) struct buf text = BUF(2 * REPLY_MAX);
	ptrdiff_t at = str_rchr(f->recipient, '@');
	struct str status = STR(""), page;

	switch (which) {
	case '1':
		if (at >= 0)
			buf_add(b, str_from(f->recipient, (size_t)at + 1));
		else
			buf_add_cstr(b, lang == LANG_FR ? "le destinataire" : "the recipient's server");
		return;
	case '2':
		buf_add(b, f->host);
		return;
	case '3':
		put_reply(f->reply, &status, &text);
		page = find_page(buf_str(&text));
		buf_add(b, page.n > 0 ? page : str_of(r->page));
		return;
	default:
		if (f->recipient.n > 0)
			buf_add(b, f->recipient);
		else
			buf_add_cstr(b, lang == LANG_FR ? "ce destinataire" : "this recipient");
	}
}

static struct str sentence(const struct refusal *r, enum lang lang, const char *p, const struct refusal_facts *f, struct arena *a)
{
	CLEANUP(buf_free) struct buf b = BUF(16 << 10);

	while (*p) {
		if (p[0] == '{' && p[1] >= '1' && p[1] <= '4' && p[2] == '}') {
			put_argument(&b, r, lang, f, p[1]);
			p += 3;
		} else {
			buf_add_char(&b, *p++);
		}
	}
	return str_trim(str_copy(a, buf_str(&b)));
}

struct str refusal_why(const struct refusal *r, enum lang lang, const struct refusal_facts *facts, struct arena *a)
{
	return sentence(r, lang, r->why[lang], facts, a);
}

struct str refusal_next(const struct refusal *r, enum lang lang, const struct refusal_facts *facts, struct arena *a)
{
	return sentence(r, lang, r->next[lang], facts, a);
}
