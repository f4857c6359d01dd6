/* What was refused, for the trail: a message that never got a name in the queue has only this. And refusals that both hosts know. */
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

struct smtp_reply smtpd_group_refusal(struct str group, struct str claimed, struct arena *a)
{
	if (claimed.n == 0)
		return smtp_reply_printf(a, 550, "5.7.1", "you may not write to the group <" STR_FMT ">: only its members may, or those whom its administrator has named",
		                         STR_ARG(group));
	return smtp_reply_printf(a, 550, "5.7.1", "<" STR_FMT "> may not write to the group <" STR_FMT "> from outside: members of this server must log"
	                         " in to send, others must be known to the group", STR_ARG(claimed), STR_ARG(group));
}

struct smtp_reply smtpd_group_takes_no_bounce(void)
{
	return SMTP_REPLY(550, "5.7.1", "this is a group: bounces and automatic answers are not sent on to its members");
}
