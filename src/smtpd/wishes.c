/* What a sender wants beyond delivery (queue/envelope.h): from the parameters of MAIL, and one field of the header.
 *
 * Times are counted from MAIL, and kept as times of the clock: whoever looks at them days later has nothing to add up.
 *
 * What is refused is refused at MAIL, in words. A message that could only come back (its time is over before it leaves) is not taken:
 * a reply is read, a bounce comes when nobody waits for it any more.
 *
 * Who may. FUTURERELEASE is for our own users (RFC 4865 §3: a service of submission). A stranger's priority counts only where it makes his
 * mail wait for others (RFC 6710 §4.1: who is not trusted must not be believed). The other two are anybody's. */
#include "base/clock.h"
#include "mime/header.h"
#include "mime/timestamp.h"
#include "smtpd/smtpd_private.h"

static const struct smtp_reply granted = { 0 };

uint64_t smtpd_hold_max(const struct smtpd *s) { return s->client.source == ENVELOPE_MX ? 0 : s->server->hold_max; }

static struct smtp_reply take_release(struct smtpd *s, const struct smtp_mail_params *p, int64_t now)
{
	int64_t release = p->hold_for > 0 ? now + (int64_t)p->hold_for : p->hold_until, last = now + (int64_t)smtpd_hold_max(s);
	char text[TIMESTAMP_TEXT_MAX];

	if (release == 0)
		return granted;
	if (last == now)
		return SMTP_REPLY(555, "5.5.4", "HOLDFOR and HOLDUNTIL are not offered here: this server sends at once");
	if (p->hold_for > 0 && p->hold_until > 0)
		return SMTP_REPLY(501, "5.5.4", "HOLDFOR and HOLDUNTIL exclude each other");
	if (release <= now)
		return SMTP_REPLY(501, "5.5.4", "the time of HOLDUNTIL has passed: without it the message goes at once");
	if (release > last)
		return smtp_reply_printf(&s->arena, 501, "5.5.4", "a message is kept for %llu seconds at most, until " STR_FMT,
		                         (unsigned long long)smtpd_hold_max(s), STR_ARG(timestamp_text(last, text)));
	s->envelope.wishes.release = release;
	return granted;
}

static struct smtp_reply take_deadline(struct smtpd *s, const struct smtp_mail_params *p, int64_t now)
{
	static const enum envelope_by modes[] = {
		[SMTP_BY_NOTHING] = ENVELOPE_BY_NOTHING, [SMTP_BY_NOTIFY] = ENVELOPE_BY_NOTIFY, [SMTP_BY_RETURN] = ENVELOPE_BY_RETURN,
	};
	struct envelope_wishes *w = &s->envelope.wishes;

	if (p->by == SMTP_BY_NOTHING)
		return granted;
	if (p->by == SMTP_BY_RETURN && p->by_s <= 0)  /* RFC 2852 §4 */
		return SMTP_REPLY(501, "5.5.4", "BY with R needs a time to come: this message could only be returned");
	if (w->release > 0 && w->release >= now + p->by_s)
		return SMTP_REPLY(501, "5.5.4", "the time of BY is over before the message may leave: HOLDFOR and HOLDUNTIL must end before it");
	w->deliver_by = now + p->by_s;
	w->by = modes[p->by];
	w->by_traces = p->by_traces;
	return granted;
}

static struct smtp_reply take_tls(struct smtpd *s, const struct smtp_mail_params *p)
{
	if (!p->requiretls)
		return granted;
	if (!s->client.is_tls && s->client.source != ENVELOPE_LOCAL)
		return SMTP_REPLY(530, "5.7.10", "REQUIRETLS is for encrypted connections: say STARTTLS first");
	s->envelope.wishes.tls = ENVELOPE_TLS_REQUIRED;
	s->envelope.ret = ENVELOPE_RET_HDRS;  /* §5: a bounce of it may go another way back, and shall not carry the text */
	return granted;
}

struct smtp_reply smtpd_take_wishes(struct smtpd *s, const struct smtp_mail_params *p)
{
	int64_t now = clock_wall_s();
	struct smtp_reply r = take_release(s, p, now);
	bool is_pushing = s->client.source == ENVELOPE_MX && p->priority > 0;

	s->envelope.wishes.priority = is_pushing ? 0 : (int8_t)p->priority;
	if (r.code == 0)
		r = take_deadline(s, p, now);
	return r.code == 0 ? take_tls(s, p) : r;
}

void smtpd_take_tls_field(struct smtpd *s, struct str header)
{
	struct envelope_wishes *w = &s->envelope.wishes;
	struct str value;

	if (w->tls == ENVELOPE_TLS_USUAL && header_find(header, STR("TLS-Required"), &value) &&
	    str_ieq(header_unfold(&s->arena, value), STR("No")))
		w->tls = ENVELOPE_TLS_OPTIONAL;
}
