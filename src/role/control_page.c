/* PAGE: the few pages that somebody outside may ask for without a login, and what answers each. A gate has read the request; the answer is
 * ready when this returns: nothing here waits for another role, and what a page has changed is on disk. */
#include "base/log.h"
#include "http/page.h"
#include "role/control_private.h"

/* Lock held. Sets *out, whose html lives in the arena. */
typedef void (*page_serve)(struct control *c, const struct page_request *r, struct arena *a, struct page_answer *out);

/* The page of a path is the first row that begins it. */
static const struct { struct str path; page_serve serve; } pages[] = {
	{ { "/leave/", 7 }, control_leave_page },
};

static page_serve find_page(struct str path)
{
	for (size_t i = 0; i < COUNT_OF(pages); i++)
		if (str_starts(path, pages[i].path))
			return pages[i].serve;
	return NULL;
}

void control_on_page(void *context, struct channel *ch, struct message *m)
{
	struct control_peer *p = context;
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	CLEANUP(arena_free) struct arena a = { 0 };
	struct page_answer answer = { .status = 404, .html = STR("") };
	struct scan s = scan_of(m->body);
	struct page_request r;
	page_serve serve;

	if (!get_page_request(&s, &r)) {
		channel_reply(ch, m->call, ERR_INVALID, STR(""), NULL, 0);
		return;
	}
	serve = find_page(r.path);
	if (serve != NULL) {
		control_lock(p->control);
		serve(p->control, &r, &a, &answer);
		control_unlock(p->control);
	}
	put_page_answer(&b, &answer);
	channel_reply(ch, m->call, b.failed ? ERR_LIMIT : ERR_OK, b.failed ? STR("") : buf_str(&b), NULL, 0);
}
