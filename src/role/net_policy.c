/* What net has from control and tells it, since it keeps nothing itself: policies of MTA-STS over its restarts, and how TLS to other servers
 * went. The policies are asked for as soon as control is there, page by page; until they have come, or control, which has told us all else that is
 * needed to send, has had its time, messages wait for theirs. */
#include "role/net_private.h"
#include "base/log.h"
#include "base/mem.h"

enum { TELL_AFTER_MS = 1000, RESTORE_MS = 10000 };

/* ---- policies ---- */

static void on_kept(void *context, const struct sts_record *r)
{
	struct net_policy *p = context;
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);

	put_sts_record(&b, r);
	if (p->control != NULL && !b.failed)
		channel_notify(p->control, NOTICE_STS_KEPT, buf_str(&b), NULL, 0);
}

static void end_restore(struct net_policy *p)
{
	p->is_restored = true;
	loop_timer_stop(p->loop, &p->patience);
	sts_restore_end(p->sts);
}

static void ask_page(struct net_policy *p, uint64_t from);

static void on_page(void *context, struct message *answer)
{
	struct net_policy *p = context;
	struct scan s = scan_of(answer->body);
	struct sts_record r;
	uint64_t next;

	p->is_asking = false;
	if (p->is_restored)
		return;
	if (answer->status == ERR_UNAVAILABLE || answer->status == ERR_TIMEOUT) {
		if (channel_is_open(p->control))  /* another control is there, or it is busy: from the beginning. Else another one will be in a moment */
			ask_page(p, 0);
		return;
	}
	next = get_u64(&s);
	if (answer->status == ERR_OK && !s.failed)
		while (get_sts_record(&s, &r))
			sts_restore(p->sts, &r);
	if (answer->status == ERR_OK && !s.failed && next > p->from)
		ask_page(p, next);
	else
		end_restore(p);
}

static void ask_page(struct net_policy *p, uint64_t from)
{
	CLEANUP(buf_free) struct buf b = BUF(16);

	p->from = from;
	p->is_asking = true;
	put_u64(&b, from);
	channel_ask(p->control, REQUEST_STS_POLICIES, buf_str(&b), NULL, 0, RESTORE_MS, on_page, p);
}

static void on_patience(void *context)
{
	log_warn("the policies of other domains (MTA-STS) that were known before the restart have not come: they are fetched again");
	end_restore(context);
}

void net_policy_control(struct net_policy *p, struct channel *control)
{
	p->control = control;
	if (!p->is_restored && !p->is_asking)
		ask_page(p, 0);
}

void net_policy_awaited(struct net_policy *p)
{
	if (!p->is_restored)
		loop_timer_in(p->loop, &p->patience, RESTORE_MS);
}

/* ---- counts ---- */

static void tell(struct net_policy *p)
{
	for (bool more = p->control != NULL; more;) {
		CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
		more = tls_tally_take(p->tally, &b);
		if (more && channel_notify(p->control, NOTICE_TLS_SESSIONS, buf_str(&b), NULL, 0) != ERR_OK)
			log_warn("some TLS sessions will be missing in reports: control does not listen");
	}
}

static void on_tick(void *context) { tell(context); }

/* Soon, with what comes meanwhile. */
static void on_news(void *context)
{
	struct net_policy *p = context;

	loop_timer_in(p->loop, &p->tick, TELL_AFTER_MS);
}

/* ---- life ---- */

void net_policy_open(struct net_policy *p, struct loop *loop, struct sts *sts)
{
	*p = (struct net_policy){ .loop = loop, .sts = sts, .tally = tls_tally_new(on_news, p) };
	p->tick = (struct loop_timer){ .due = on_tick, .context = p };
	p->patience = (struct loop_timer){ .due = on_patience, .context = p };
	sts_on_kept(sts, on_kept, p);
	sts_restore_begin(sts);
}

void net_policy_stop(struct net_policy *p) { tell(p); }

void net_policy_close(struct net_policy *p)
{
	if (p->loop == NULL)
		return;
	loop_timer_stop(p->loop, &p->tick);
	loop_timer_stop(p->loop, &p->patience);
	tls_tally_free(p->tally);
}
