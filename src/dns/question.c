/* The side of net: asks, and answers the call when the answer is there. */
#include "dns/question_private.h"

struct waiting {
	struct channel *ch;
	uint32_t        call;
};

static void answered(void *context, const struct dns_answer *a)
{
	struct waiting *w = context;
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);

	put_dns_answer(&b, a);
	channel_reply(w->ch, w->call, ERR_OK, buf_str(&b), NULL, 0);
}

void question_serve(struct resolver *r, struct channel *ch, struct message *m)
{
	struct scan s = scan_of(m->body);
	struct str name = get_str(&s, DNS_NAME_MAX);
	uint16_t type = get_u16(&s);
	struct waiting *w;

	if (!get_end(&s)) {
		channel_reply(ch, m->call, ERR_INVALID, STR_NONE, NULL, 0);
		return;
	}
	w = question_context(resolver_ask(r, name, type, answered, NULL), sizeof *w);
	*w = (struct waiting){ ch, m->call };
}
