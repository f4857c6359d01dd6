/* Control keeps the members; it is asked with LIST_ORDER. When it says that a member's mail has come back often enough, the postmaster of the
 * group's domain gets a letter: control has noted that in the same breath, so it is one letter. */
#include "role/queue_lists.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "mime/build.h"
#include "text/text.h"

enum { LETTER_MAX = 64 << 10 };

struct asked {
	struct queue_lists *lists;
	void              (*done)(void *context, enum err result);
	void               *context;
};

static enum lang language_of(const struct lookup *l, struct str postmaster, struct arena *a)
{
	struct lookup_account account;
	struct lookup_result found;

	if (lookup_resolve(l, postmaster, a, &found) != LOOKUP_FOUND || !lookup_account(l, found.targets[0].account, &account))
		return LANG_EN;
	return account.french ? LANG_FR : LANG_EN;
}

static void write_letter(const struct queue_lists *lists, const struct list_order_result *r)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf out = BUF(LETTER_MAX);
	struct str domain = str_from(r->group, (size_t)(str_rchr(r->group, '@') + 1));
	struct str postmaster = arena_printf(&a, "postmaster@" STR_FMT, STR_ARG(domain));
	enum lang lang = language_of(lists->lookup, postmaster, &a);
	const struct build_part part = {
		.type = STR("text/plain"),
		.text = text_fmt(&a, lang, TEXT_LIST_BOUNCES, r->group, r->member, arena_printf(&a, "%u", r->days), r->reason),
	};
	const struct build_message letter = {
		.from_name = STR("facteur"), .from = postmaster, .to = postmaster, .subject = text_fmt(&a, lang, TEXT_LIST_BOUNCES_SUBJECT, r->group, r->member),
		.date = clock_wall_s(), .message_id = build_message_id(&a, lookup_hostname(lists->lookup)), .is_auto_submitted = true,
		.parts = &part, .parts_n = 1,
	};

	build_message(&letter, &out);
	if (!out.failed)
		queue_letter(lists->queue, postmaster, buf_str(&out));
}

static void on_answer(void *context, struct message *m)
{
	struct asked *k = context;
	struct list_order_result r;

	if (m->status == ERR_OK && list_order_get_result(m->body, &r) && r.is_report_due && k->lists->queue != NULL && k->lists->lookup != NULL)
		write_letter(k->lists, &r);
	k->done(k->context, m->status);
	mem_free(k);
}

void queue_lists_order(struct queue_lists *lists, const struct list_order_request *r, void (*done)(void *context, enum err result),
                       void *done_context)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct asked *k = MEM_NEW(struct asked);

	*k = (struct asked){ lists, done, done_context };
	list_order_put_request(r, &b);
	if (channel_ask(lists->control, REQUEST_LIST_ORDER, buf_str(&b), NULL, 0, LIST_ORDER_TIMEOUT_MS, on_answer, k) == ERR_OK)
		return;
	mem_free(k);
	done(done_context, ERR_UNAVAILABLE);
}

static void on_noted(UNUSED void *context, UNUSED enum err result) {}   /* a count that is one too low harms nobody */

void queue_lists_report(struct queue_lists *lists, const struct report *r)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct report_recipient *x = &r->recipients[i];
		const struct list_order_request order = {
			.what = { .order = LIST_BOUNCE, .group = r->envelope->list }, .member = x->address, .reason = x->text };
		if (x->action == REPORT_FAILED || x->action == REPORT_EXPIRED)
			queue_lists_order(lists, &order, on_noted, NULL);
	}
}
