/* The rules of RFC 3461 §5.2 and §6, and ours for back-scatter (report.h), in one place. */
#include "queue/fate.h"

/* Has somebody proven that this is the sender? Who submitted it had a password; of a stranger SPF or DKIM spoke. What a delivery made
 * for a stranger (a redirect) is no better than the stranger. */
static bool is_ours(const struct envelope *e) { return e->source == ENVELOPE_SUBMISSION || e->source == ENVELOPE_LOCAL; }

bool report_is_due(const struct envelope *e, uint8_t notify, enum report_action action)
{
	if (e->sender.n == 0 || (notify & ENVELOPE_NOTIFY_NEVER) || (!is_ours(e) && !e->is_authenticated))
		return false;
	switch (action) {
	case REPORT_FAILED:
	case REPORT_EXPIRED:
		return notify == 0 || (notify & ENVELOPE_NOTIFY_FAILURE);
	case REPORT_DELAYED:
		return notify == 0 ? is_ours(e) : (notify & ENVELOPE_NOTIFY_DELAY) != 0;
	case REPORT_DELIVERED:
	case REPORT_RELAYED:
		return (notify & ENVELOPE_NOTIFY_SUCCESS) != 0;
	default:
		return false;
	}
}

/* DELIVERBY: its sender asked where it goes, or would wait for a word that nobody will say when the time is over: the next server does not
 * watch it (RFC 2852 §4.1.4). */
static bool watches_time(const struct envelope *e, uint8_t notify, bool has_passed_by)
{
	bool asks = e->wishes.by_traces || (e->wishes.by == ENVELOPE_BY_NOTIFY && !has_passed_by);

	return asks && report_is_due(e, ENVELOPE_NOTIFY_SUCCESS, REPORT_RELAYED) && !(notify & ENVELOPE_NOTIFY_NEVER);
}

bool report_of_done_is_due(const struct envelope *e, uint64_t account, uint8_t notify, bool peer_tells, bool has_passed_by)
{
	if (account != 0)
		return report_is_due(e, notify, REPORT_DELIVERED);
	return (!peer_tells && report_is_due(e, notify, REPORT_RELAYED)) || watches_time(e, notify, has_passed_by);
}

static void end_with(const struct fate_facts *f, enum report_action action, enum late_state untold, struct fate *out)
{
	if (report_is_due(f->envelope, f->notify, action))
		*out = (struct fate){ LATE_REPORT, f->now + FATE_GATHER_S, action };
	else
		*out = (struct fate){ untold, LATE_NEVER, REPORT_NOTHING };
}

void fate_of(const struct fate_facts *f, struct fate *out)
{
	bool wants_silence = f->notify != 0 && !(f->notify & ENVELOPE_NOTIFY_FAILURE);
	enum late_state untold = f->account != 0 && !wants_silence ? LATE_HELD : LATE_FINISHED;

	if (f->outcome == DELIVERY_DONE && report_of_done_is_due(f->envelope, f->account, f->notify, f->peer_tells, f->has_passed_by)) {
		*out = (struct fate){ LATE_REPORT, f->now + FATE_GATHER_S, f->account != 0 ? REPORT_DELIVERED : REPORT_RELAYED };
	} else if (f->outcome == DELIVERY_DONE) {
		*out = (struct fate){ LATE_FINISHED, LATE_NEVER, REPORT_NOTHING };
	} else if (f->outcome == DELIVERY_REFUSED) {
		end_with(f, REPORT_FAILED, untold, out);
	} else if (f->is_over) {
		end_with(f, REPORT_EXPIRED, untold, out);
	} else {
		*out = (struct fate){ LATE_WAITING, f->due, REPORT_NOTHING };
		if (!f->has_told && f->delay_notice_s > 0 && f->age_s >= f->delay_notice_s &&
		    report_is_due(f->envelope, f->notify, REPORT_DELAYED))
			out->notice = REPORT_DELAYED;
	}
}
