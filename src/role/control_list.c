/* Members of groups who leave, by mail or by one click (RFC 8058), and whose mail comes back. The change is on disk before it is answered;
 * that the other roles use it is not waited for: mail of the next second may still come to who has left. */
#include "base/clock.h"
#include "base/log.h"
#include "directory/list_order.h"
#include "http/page.h"
#include "role/control_private.h"
#include "text/text.h"

/* Lock held. */
static enum err run(struct control *c, const struct list_order_request *r, struct arena *a, struct list_order_result *out)
{
	enum err e = list_order_run(c->directory, r, clock_wall_s(), a, out);

	if (e == ERR_OK && r->what.order == LIST_LEAVE && control_send_directory(c) != ERR_OK)
		log_error("a member has left a group, but mail still goes to it until the directory is published");
	return e;
}

void control_on_list_order(void *context, struct channel *ch, struct message *m)
{
	struct control_peer *p = context;
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct list_order_request r;
	struct list_order_result result;
	enum err e = ERR_INVALID;

	if (list_order_get_request(m->body, &r)) {
		control_lock(p->control);
		e = run(p->control, &r, &a, &result);
		control_unlock(p->control);
	}
	if (e == ERR_OK)
		list_order_put_result(&result, &b);
	channel_reply(ch, m->call, e, buf_str(&b), NULL, 0);
}

static struct str say(struct arena *a, bool french, enum text id, struct str group, struct str other)
{
	return text_fmt(a, french ? LANG_FR : LANG_EN, id, group, other);
}

/* What the page says after the click. */
static struct str outcome(struct arena *a, bool french, enum err e, const struct list_address *what, const struct list_order_result *result)
{
	switch (e) {
	case ERR_OK:
		return say(a, french, TEXT_LEAVE_DONE, what->group, result->member);
	case ERR_DENIED:
		return say(a, french, TEXT_LEAVE_DENIED, what->group, str_from(what->group, (size_t)(str_rchr(what->group, '@') + 1)));
	default:
		return say(a, french, TEXT_LEAVE_GONE, what->group, STR(""));
	}
}

/* "/leave/team=leave=TOKEN@example.org": looking asks, the button (and a mail program's one click) does it. */
void control_leave_page(struct control *c, const struct page_request *r, struct arena *a, struct page_answer *out)
{
	struct list_order_request order = { 0 };
	struct list_order_result result;

	*out = (struct page_answer){ .status = 404, .html = STR("") };
	if (!lookup_list_order(c->lookup, str_from(r->path, sizeof("/leave/") - 1), a, &order.what) || order.what.order != LIST_LEAVE ||
	    order.what.token.n == 0)
		return;
	struct str title = say(a, r->french, TEXT_LEAVE_TITLE, order.what.group, STR(""));
	if (!r->is_post) {
		out->html = page_html(a, r->french, title, say(a, r->french, TEXT_LEAVE_ASK, order.what.group, STR("")),
		                      say(a, r->french, TEXT_LEAVE_BUTTON, STR(""), STR("")));
		out->status = 200;
		return;
	}
	enum err e = run(c, &order, a, &result);
	bool is_settled = e == ERR_OK || e == ERR_NOTFOUND || e == ERR_DENIED;
	out->status = is_settled ? 200 : 503;
	out->html = is_settled ? page_html(a, r->french, title, outcome(a, r->french, e, &order.what, &result), STR("")) : STR("");
}
