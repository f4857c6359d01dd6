/* http/page.h -- PAGE: what a gate asks of control when somebody wants a page whose content it does not know itself. The gate has read the
 * request (http/request.h) and serves the answer; which pages there are stands in role/control_page.c. */
#ifndef FACTEUR_HTTP_PAGE_H
#define FACTEUR_HTTP_PAGE_H
#include "base/arena.h"
#include "base/wire.h"

enum { PAGE_PATH_MAX = 2048, PAGE_FORM_MAX = 8 << 10, PAGE_HTML_MAX = 32 << 10, PAGE_TIMEOUT_MS = 15000 };

struct page_request {
	bool       is_post;
	struct str host;      /* as asked for: lower case, without a port */
	struct str path;      /* begins with "/"; printable ASCII as it came, "%" and a query included */
	struct str form;      /* POST: the body as it came, at most PAGE_FORM_MAX */
	bool       french;    /* the reader would rather have French */
};
struct page_answer {
	uint16_t   status;    /* 200; 404: there is no such page, or not any more; 503: later */
	struct str html;      /* the whole document; nothing in it may come from outside unescaped (page_text). The gate forbids scripts */
};
void put_page_request(struct buf *b, const struct page_request *r);
bool get_page_request(struct scan *s, struct page_request *out);   /* views */
void put_page_answer(struct buf *b, const struct page_answer *a);
bool get_page_answer(struct scan *s, struct page_answer *out);

/* A whole, plain document of a title, a sentence and perhaps a button that posts to the same address; all escaped. button: empty: none. */
struct str page_html(struct arena *a, bool french, struct str title, struct str sentence, struct str button);
struct str page_text(struct arena *a, struct str text);   /* escaped for HTML, in text and in a quoted attribute */
#endif
