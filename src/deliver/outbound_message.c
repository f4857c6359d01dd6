/* A message made to fit a server: what RFC 1870, 6152, 6531 and 8689 ask of a client whose server cannot do something.
 *
 * SMTPUTF8: what needs it stays here, if it needs it: a flag alone, with addresses and header in ASCII, does not (RFC 6531 §3.1 lets a
 * client find that out). SIZE: what is too large is not sent to be refused. REQUIRETLS goes to nobody who does not know the word.
 * 8BITMIME: eight-bit text is encoded for who lacks it (RFC 6152 §3), and goes without our signature, which would not verify any more; what
 * is in a header, or signed, cannot be encoded and comes back. A message that turns out to be ASCII goes as it is. SMTPUTF8 promises
 * 8BITMIME (RFC 6531 §3.1), also where it is not announced beside it. */
#include "deliver/outbound_private.h"
#include "base/bytes.h"
#include "base/clock.h"
#include <unistd.h>

enum { HEADER_MAX = 256 << 10 };

void result_set(struct outbound_job *j, size_t i, enum delivery_outcome outcome, const char *status, struct str text)
{
	j->results[i] = (struct send_result){ .outcome = outcome, .status = str_of(status), .text = str_copy(&j->arena, text), .host = STR(""),
	                                      .tls = STR("") };
	if (j->connection) {
		j->results[i].host = str_copy(&j->arena, j->connection->host);
		j->results[i].tls = str_copy(&j->arena, j->connection->tls_words);
	}
}

static bool read_body(const struct send *s, uint64_t offset, char *room, size_t n)
{
	if (s->body.p) {
		memcpy(room, s->body.p + offset, n);
		return true;
	}
	while (n > 0) {
		ssize_t got = pread(s->fd, room, n, (off_t)offset);
		if (got <= 0)
			return false;
		room += got;
		offset += (uint64_t)got;
		n -= (size_t)got;
	}
	return true;
}

/* Of the fields before the message, and the message. */
static bool read_message(void *context, uint64_t offset, char *room, size_t n)
{
	const struct send *s = &((struct outbound_job *)context)->in.send;

	if (offset < s->prefix.n) {
		size_t head = s->prefix.n - (size_t)offset < n ? s->prefix.n - (size_t)offset : n;
		memcpy(room, s->prefix.p + offset, head);
		room += head;
		n -= head;
		offset += head;
	}
	return n == 0 || read_body(s, offset - s->prefix.n, room, n);
}

static bool has_ascii_header(const struct send *s)
{
	CLEANUP(buf_free) struct buf b = BUF(HEADER_MAX);
	size_t n = s->size < HEADER_MAX ? (size_t)s->size : HEADER_MAX;
	char *room = buf_reserve(&b, n);

	if (room == NULL || !read_body(s, 0, room, n))
		return false;
	buf_grew(&b, n);
	ptrdiff_t end = str_find(buf_str(&b), STR("\r\n\r\n"));
	return (end >= 0 || n == s->size) && str_is_ascii(str_sub(buf_str(&b), 0, end >= 0 ? (size_t)end : n));
}

static void settle_all(struct outbound_job *j, enum delivery_outcome outcome, const char *status, struct str text)
{
	for (size_t i = 0; i < j->in.send.n; i++)
		if (j->results[i].outcome == 0)
			result_set(j, i, outcome, status, text);
}

static void refuse_all(struct outbound_job *j, const char *status, struct str text) { settle_all(j, DELIVERY_REFUSED, status, text); }

/* Also what did not come with SMTPUTF8 may need it: an alias leads where whoever wrote to it does not know. */
static bool needs_utf8(const struct outbound_job *j)
{
	const struct send *s = &j->in.send;
	bool needs = s->smtputf8 || !str_is_ascii(s->sender);

	for (size_t i = 0; i < s->n && !needs; i++)
		needs = j->results[i].outcome == 0 && !str_is_ascii(s->recipients[i].address);
	return needs;
}

/* Without SMTPUTF8 there: the recipients it can be sent to all the same. */
static void refuse_utf8(struct outbound_job *j)
{
	const struct send *s = &j->in.send;

	if (!str_is_ascii(s->sender))
		refuse_all(j, "5.6.7", STR("the sender's address has letters beyond ASCII, and the server of the recipient does not take such addresses"));
	for (size_t i = 0; i < s->n; i++)
		if (j->results[i].outcome == 0 && !str_is_ascii(s->recipients[i].address))
			result_set(j, i, DELIVERY_REFUSED, "5.6.7", STR("the address has letters beyond ASCII, and its server does not take such addresses"));
	if (s->smtputf8 && !has_ascii_header(s))
		refuse_all(j, "5.6.9", STR("the header of the message has letters beyond ASCII, and the server of the recipient does not take such messages"));
}

/* ---- without 8BITMIME ---- */

static bool read_ascii(void *context, uint64_t offset, char *room, size_t n)
{
	plan_read(context, offset, room, n);
	return true;
}

static bool needs_ascii(const struct send *s, const struct smtp_offers *offers)
{
	return s->body_type != ENVELOPE_7BIT && !(offers->has & SMTP_OFFERS_8BITMIME) && !(s->smtputf8 && offers->has & SMTP_OFFERS_SMTPUTF8);
}

/* Planned, as far as it can be: is it the encoded message that goes? Those it cannot be sent to have their result. */
static bool fit_ascii(struct outbound_job *j, enum err plan)
{
	static const char *const reasons[] = {
		[DOWNGRADE_HEADER] = "the header of the message, or of a part of it, has letters beyond ASCII that are not encoded, and the server of "
		                     "the recipient takes ASCII only (no 8BITMIME)",
		[DOWNGRADE_SIGNED] = "a part of the message is signed and has letters beyond ASCII; the server of the recipient takes ASCII only (no "
		                     "8BITMIME), and encoding them would break the signature",
		[DOWNGRADE_BROKEN] = "the message has letters beyond ASCII where its form does not allow to encode them, and the server of the recipient "
		                     "takes ASCII only (no 8BITMIME)",
	};

	if (plan != ERR_OK) {
		settle_all(j, DELIVERY_DEFERRED, "4.3.0", STR("the message could not be read from the queue"));
		return false;
	}
	enum downgrade_outcome outcome = plan_outcome(j);
	if (outcome != DOWNGRADE_DONE && outcome != DOWNGRADE_NOT_NEEDED)
		refuse_all(j, "5.6.3", str_of(reasons[outcome]));
	return outcome == DOWNGRADE_DONE;
}

/* BY with R: who does not know it cannot promise to give the message back in time, so it does not get it (RFC 2852 §4). What an LMTP server
 * takes is there. */
static void fit_deadline(struct outbound_job *j, const struct smtp_offers *offers, int64_t left_s)
{
	if (j->in.send.wishes.by != ENVELOPE_BY_RETURN)
		return;
	if (left_s <= 0)
		refuse_all(j, "5.4.7", STR("the time by which the sender wanted it there, or not at all, is over"));
	else if (!j->way.is_lmtp && !(offers->has & SMTP_OFFERS_DELIVERBY))
		refuse_all(j, "5.3.3", STR("the sender wants it there by a certain time or not at all, and the server of the recipient does not promise "
		                           "that (DELIVERBY)"));
	else if (left_s < (int64_t)offers->by_min)
		refuse_all(j, "5.4.7", arena_printf(&j->arena, "the sender wants it there in %lld seconds or not at all, and the server of the recipient "
		                                    "needs %u at least", (long long)left_s, offers->by_min));
}

static enum smtp_by by_of(const struct send *s)
{
	static const enum smtp_by modes[] = {
		[ENVELOPE_BY_NOTHING] = SMTP_BY_NOTHING, [ENVELOPE_BY_NOTIFY] = SMTP_BY_NOTIFY, [ENVELOPE_BY_RETURN] = SMTP_BY_RETURN,
	};
	return modes[s->wishes.by];
}

enum err message_fit(struct outbound_job *j, const struct smtp_offers *offers, bool is_proven)
{
	const struct send *s = &j->in.send;
	bool needs_plan = needs_ascii(s, offers);
	enum err plan = needs_plan ? plan_ascii(j) : ERR_OK;
	bool has_utf8 = (offers->has & SMTP_OFFERS_SMTPUTF8) != 0;
	int64_t left_s = s->wishes.deliver_by - clock_wall_s();
	size_t n = 0;

	if (plan == ERR_AGAIN)
		return plan;
	fit_deadline(j, offers, left_s);
	if (!has_utf8)
		refuse_utf8(j);
	bool is_encoded = needs_plan && fit_ascii(j, plan);
	uint64_t size = is_encoded ? plan_size(j) : s->size + s->prefix.n;
	if (offers->size_max && size > offers->size_max)
		refuse_all(j, "5.3.4", arena_printf(&j->arena, "the message has %llu bytes, and the server takes %llu at most", (unsigned long long)size,
		                                    (unsigned long long)offers->size_max));
	if (job_requires_tls(j) && !(is_proven && offers->has & SMTP_OFFERS_REQUIRETLS))
		refuse_all(j, "5.7.30", STR("the sender wants every server on the way to encrypt and to prove itself (REQUIRETLS), and this one "
		                            "does not promise it"));
	for (size_t i = 0; i < s->n; i++) {
		if (j->results[i].outcome != 0)
			continue;
		j->people[n] = (struct smtp_outgoing_recipient){ s->recipients[i].address, s->recipients[i].orcpt, s->recipients[i].notify };
		j->who[n++] = i;
	}
	j->outgoing = (struct smtp_outgoing){
		.sender = s->sender, .body = s->body_type == ENVELOPE_7BIT || is_encoded ? SMTP_BODY_7BIT : SMTP_BODY_8BITMIME,
		.ret = s->ret == ENVELOPE_RET_FULL ? SMTP_RET_FULL : s->ret == ENVELOPE_RET_HDRS ? SMTP_RET_HDRS : SMTP_RET_NONE,
		.by = by_of(s), .by_traces = s->wishes.by_traces, .by_s = left_s, .priority = s->wishes.priority,
		.envid = s->envid, .smtputf8 = has_utf8 && needs_utf8(j), .requiretls = send_requires_tls(s) && is_proven && !j->way.is_lmtp, .size = size,
		.read = is_encoded ? read_ascii : read_message, .context = j,
		.n = n, .recipients = j->people,
	};
	return n > 0 ? ERR_OK : ERR_NOTFOUND;
}
