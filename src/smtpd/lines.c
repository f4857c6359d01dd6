/* Strict lines.
 *
 * "SMTP smuggling": two servers that disagree about where a message ends let a stranger hide a second message in the
 * body of the first. So there is one end, CR LF "." CR LF, and no byte of a body is ever read as a command: a message
 * with a CR or LF of its own or a NUL is swallowed up to that end, and refused (the caller). After a flaw only the
 * search for the end matters, and what counts as a line start is still only CR LF.
 *
 * A dot at the start of a line is dropped at once: it was stuffed, or it begins the end (".\r\n"). ".\r" and then
 * something else is a bare CR, so what was dropped there does not matter. Therefore text is always handed on as views
 * of the input.
 *
 * A piece ends with the header: what is wrong with the header is then known before what is wrong behind it, however the input was cut. */
#include "smtpd/lines.h"

void lines_begin(struct lines *l, bool is_dotted) { *l = (struct lines){ .at = LINES_START, .is_dotted = is_dotted }; }

static void flaw(struct lines *l, enum lines_flaw f)
{
	if (l->flaw == LINES_FINE)
		l->flaw = f;
}

/* n bytes of a line, none of them CR. Which flaw comes first must not depend on how the input was cut. */
static void look_at(struct lines *l, const char *p, size_t n, size_t line_max)
{
	const char *lf = memchr(p, '\n', n), *nul = memchr(p, '\0', n);
	size_t lf_at = lf ? (size_t)(lf - p) : n, nul_at = nul ? (size_t)(nul - p) : n;
	size_t long_at = l->length + n > line_max ? (line_max > l->length ? line_max - l->length : 0) : n;

	l->length += n;
	if (lf_at < n && lf_at < nul_at && lf_at <= long_at)
		flaw(l, LINES_BARE_LF);
	else if (nul_at < n && nul_at <= long_at)
		flaw(l, LINES_NUL);
	else if (long_at < n)
		flaw(l, LINES_LONG);
}

/* The bytes of a line up to a CR or the end of the input; returns where it stopped. */
static const char *take_inside(struct lines *l, const char *p, const char *end, size_t line_max)
{
	const char *cr = memchr(p, '\r', (size_t)(end - p));
	size_t n = (size_t)((cr ? cr : end) - p);

	if (n > 0 && l->flaw == LINES_FINE)
		look_at(l, p, n, line_max);
	if (cr == NULL)
		return end;
	l->at = LINES_CR;
	return cr + 1;
}

bool lines_take(struct lines *l, struct str *in, size_t line_max, struct str *piece)
{
	const char *from = in->p, *p = in->p, *end = in->p + in->n;
	bool is_end = false, is_cut = false, ends_header = false;

	while (p < end && !is_end && !is_cut && !ends_header) {
		switch (l->at) {
		case LINES_START:
			l->length = 0;
			is_cut = l->is_dotted && *p == '.';  /* dropped: the piece ends before it */
			l->at = is_cut ? LINES_DOT : LINES_INSIDE;
			break;
		case LINES_INSIDE:
			p = take_inside(l, p, end, line_max);
			break;
		case LINES_CR:
			if (*p != '\n')
				flaw(l, LINES_BARE_CR);
			ends_header = *p == '\n' && l->length == 0 && !l->has_header;
			l->has_header = l->has_header || ends_header;
			l->at = *p == '\n' ? LINES_START : *p == '\r' ? LINES_CR : LINES_INSIDE;
			p += *p == '\n' || *p == '\r';
			break;
		case LINES_DOT:
			l->at = *p == '\r' ? LINES_DOT_CR : LINES_INSIDE;
			if (*p == '\r')
				from = ++p;
			break;
		case LINES_DOT_CR:
			is_end = *p == '\n';
			if (!is_end)
				flaw(l, LINES_BARE_CR);
			l->at = *p == '\r' ? LINES_CR : LINES_INSIDE;
			if (is_end || *p == '\r')
				from = ++p;
			break;
		}
	}
	*piece = str_make(from, (size_t)(p - from));
	p += is_cut;
	*in = str_make(p, (size_t)(end - p));
	l->has_8bit = l->has_8bit || !str_is_ascii(*piece);
	return is_end;
}

bool lines_end(struct lines *l)
{
	if (l->at == LINES_CR)
		flaw(l, LINES_BARE_CR);
	return l->at == LINES_START;
}
