/* What was refused, for the trail: a message that never got a name in the queue has only this. */
#include "smtpd/smtpd.h"

static struct trail_recipient *all_recipients(const struct envelope *e, struct arena *a, size_t *n)
{
	struct trail_recipient *list;

	*n = e->n < TRAIL_RECIPIENTS_MAX ? e->n : TRAIL_RECIPIENTS_MAX;
	list = arena_array(a, *n, sizeof *list);
	for (size_t i = 0; i < *n; i++)
		list[i].address = e->recipients[i].address;
	return list;
}

struct trail_event smtpd_refusal_event(const struct envelope *e, struct str recipient, const struct smtp_reply *r, struct arena *a)
{
	struct trail_event out = {
		.kind = TRAIL_REFUSED, .source = (uint8_t)e->source, .sender = e->sender, .recipient = recipient, .peer = e->peer,
		.status = str_of(r->enhanced),
		.text = arena_printf(a, "%d %s%s" STR_FMT, r->code, r->enhanced ? r->enhanced : "", r->enhanced ? " " : "",
		                     STR_ARG(r->text)),
	};

	if (recipient.n == 0) {
		out.recipients = all_recipients(e, a, &out.n);
		out.count = (uint32_t)e->n;
	}
	return out;
}
