/* What travels for a page, and the one look that our few pages have: a column of text that any browser since the first ones can show, in the
 * light or dark of the system, without anything to load. */
#include "http/page.h"

void put_page_request(struct buf *b, const struct page_request *r)
{
	put_bool(b, r->is_post);
	put_str(b, r->host);
	put_str(b, r->path);
	put_str(b, r->form);
	put_bool(b, r->french);
}

bool get_page_request(struct scan *s, struct page_request *out)
{
	out->is_post = get_bool(s);
	out->host = get_str(s, 255);
	out->path = get_str(s, PAGE_PATH_MAX);
	out->form = get_str(s, PAGE_FORM_MAX);
	out->french = get_bool(s);
	return get_end(s) && out->path.n > 0 && out->path.p[0] == '/';
}

void put_page_answer(struct buf *b, const struct page_answer *a)
{
	put_u16(b, a->status);
	put_str(b, a->html);
}

bool get_page_answer(struct scan *s, struct page_answer *out)
{
	out->status = get_u16(s);
	out->html = get_str(s, PAGE_HTML_MAX);
	return get_end(s) && out->status >= 200 && out->status < 600;
}

struct str page_text(struct arena *a, struct str text)
{
	CLEANUP(buf_free) struct buf b = BUF(PAGE_HTML_MAX);

	for (size_t i = 0; i < text.n; i++) {
		switch (text.p[i]) {
		case '&':  buf_add_cstr(&b, "&amp;"); break;
		case '<':  buf_add_cstr(&b, "&lt;"); break;
		case '>':  buf_add_cstr(&b, "&gt;"); break;
		case '"':  buf_add_cstr(&b, "&quot;"); break;
		case '\'': buf_add_cstr(&b, "&#39;"); break;
		default:   buf_add_char(&b, text.p[i]);
		}
	}
	return str_copy(a, b.failed ? STR("") : buf_str(&b));
}

struct str page_html(struct arena *a, bool french, struct str title, struct str sentence, struct str button)
{
	struct str heading = page_text(a, title), form = STR("");

	if (button.n)
		form = arena_printf(a, "<form method=\"post\"><button>" STR_FMT "</button></form>", STR_ARG(page_text(a, button)));
	return arena_printf(a, "<!DOCTYPE html><html lang=\"%s\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"
	                    "<meta name=\"color-scheme\" content=\"light dark\"><meta name=\"robots\" content=\"noindex\"><title>" STR_FMT "</title>"
	                    "<style>body{font:1.1em/1.5 sans-serif;max-width:32em;margin:4em auto;padding:0 1em}button{font:inherit;padding:.5em 1em}"
	                    "</style><h1>" STR_FMT "</h1><p>" STR_FMT "</p>" STR_FMT "</html>\n", french ? "fr" : "en", STR_ARG(heading), STR_ARG(heading),
	                    STR_ARG(page_text(a, sentence)), STR_ARG(form));
}
