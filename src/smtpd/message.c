/* DATA and BDAT: where bytes stop being commands, and where they begin to be commands again.
 *
 * Whatever is wrong with a message, its bytes are taken up to its true end (CR LF "." CR LF; all bytes of the chunk)
 * and the reply comes then: a client that goes on sending must never have its text read as commands. Only where the end
 * cannot be known (a BDAT whose size cannot be read) the connection is closed. */
#include "base/log.h"
#include "smtpd/smtpd_private.h"

static const char *flaw_sentence(enum lines_flaw f)
{
	switch (f) {
	case LINES_BARE_CR:
		return "the message has a CR without LF: lines must end with CR LF";
	case LINES_BARE_LF:
		return "the message has an LF without CR: lines must end with CR LF";
	case LINES_NUL:
		return "the message has a NUL byte: such content needs BODY=BINARYMIME or an encoding";
	case LINES_LONG:
		return "the message has a line of more than 65536 bytes";
	case LINES_FINE:
		break;
	}
	return "";
}

static void check_lines(struct smtpd *s)
{
	if (s->lines.flaw != LINES_FINE)
		smtpd_refuse(s, (struct smtp_reply){ 550, "5.6.0", str_of(flaw_sentence(s->lines.flaw)) });
}

/* A client that ignores SIZE may have its reply, but not for ever more bytes. */
static bool is_endless(const struct smtpd *s, uint64_t octets)
{
	return s->refusal.code != 0 && octets / SMTPD_SWALLOW_MAX > s->server->size_max;
}

static const char endless[] = "the message is far too large, and its end has not come: goodbye";

/* Either it is refused now or it goes to the host. */
void smtpd_end_message(struct smtpd *s)
{
	s->phase = PHASE_ADDED;
	if (s->refusal.code == 0 && s->envelope.body != ENVELOPE_BINARYMIME && s->lines.has_8bit)
		s->envelope.body = ENVELOPE_8BITMIME;  /* many do not declare it; whoever sends the message on must know */
	if (s->refusal.code == 0)
		smtpd_body_end(s);
	if (s->refusal.code != 0)
		s->answer = s->refusal;
}

/* The host has answered, or the message was refused here. */
void smtpd_tell_added(struct smtpd *s)
{
	struct smtp_reply r = s->answer;

	s->phase = PHASE_COMMAND;
	if (r.code < 400)
		smtpd_reply_with(s, r);  /* its text is in the arena that ends now */
	else
		smtpd_reply_refusal(s, STR(""), r);
	if (r.code < 300)
		s->errors = 0;
	if (s->phase != PHASE_OVER)
		smtpd_reset(s);
}

void smtpd_added(struct smtpd *s, enum err result, struct queue_id id)
{
	CLEANUP(arena_free) struct arena a = { 0 };

	s->is_waiting = false;
	smtpd_body_added(s, result == ERR_OK);
	if (s->phase != PHASE_ADDED)  /* the session has ended meanwhile */
		return;
	switch (result) {
	case ERR_OK:
		if (id.seq == 0) {  /* it was for this server itself: a member leaves a group, or his mail comes back */
			s->answer = SMTP_REPLY(250, "2.0.0", "read and done: there is nobody to pass it on to");
			log_info("read and done id=" STR_FMT ".%llu from=" STR_FMT " to=" STR_FMT, STR_ARG(s->client.session), (unsigned long long)s->messages,
					 STR_ARG(s->envelope.sender), STR_ARG(s->envelope.recipients[0].address));
			break;
		}
		s->answer = smtp_reply_printf(&s->arena, 250, "2.0.0", "queued as " STR_FMT, STR_ARG(queue_name(id, &a)));
		log_info("accepted queue=" STR_FMT " id=" STR_FMT ".%llu from=" STR_FMT " recipients=%zu to=" STR_FMT
				 " size_bytes=%llu",
				 STR_ARG(queue_name(id, &a)), STR_ARG(s->client.session), (unsigned long long)s->messages,
				 STR_ARG(s->envelope.sender), s->envelope.n, STR_ARG(s->envelope.recipients[0].address),
				 (unsigned long long)s->body.octets);
		break;
	case ERR_AGAIN:
		s->answer =
			SMTP_REPLY(452, "4.3.1", "this server has no room for the message at the moment: please try again later");
		break;
	case ERR_CONFLICT:
		s->answer = SMTP_REPLY(554, "5.4.6", "this message has been sent on from that address before: somewhere what goes out from it is sent back to it");
		break;
	case ERR_DENIED:
		s->answer = SMTP_REPLY(550, "5.7.1", "automatic answers are not sent on to the members of a group");
		break;
	case ERR_NOTFOUND:
		s->answer = SMTP_REPLY(550, "5.7.1", "you are not among those members of this group who may leave it by themselves: please ask its postmaster");
		break;
	case ERR_LIMIT:
		s->answer = SMTP_REPLY(552, "5.3.4", "too large for this server: the message, the list of its recipients, or the number of groups it is for; send it to fewer at a time");
		break;
	default:
		s->answer = SMTP_REPLY(451, "4.3.0", "the message cannot be stored at the moment: please try again later");
		break;
	}
}

void smtpd_refused(struct smtpd *s, struct smtp_reply r)
{
	s->is_waiting = false;
	smtpd_body_added(s, false);
	if (s->phase != PHASE_ADDED)
		return;
	r.text = str_copy(&s->arena, r.text);
	s->answer = r;
}

/* ---- DATA ---- */

/* DATA                                                                                             RFC 5321 §4.1.1.4 */
void smtpd_data(struct smtpd *s, struct str argument)
{
	if (argument.n > 0)
		smtpd_reply(s, 501, "5.5.4", "DATA has no arguments");
	else if (!s->has_mail)
		smtpd_reply(s, 503, "5.5.1", "say MAIL first");
	else if (s->is_chunked)
		smtpd_reply(s, 503, "5.5.1", "this message comes by BDAT; RSET forgets it");
	else if (s->envelope.n == 0)
		smtpd_reply(s, 554, "5.5.1", "no recipient was accepted");
	else if (s->envelope.body == ENVELOPE_BINARYMIME)
		smtpd_reply(s, 503, "5.5.1", "BODY=BINARYMIME needs BDAT");  /* RFC 3030 §3 */
	else {
		smtpd_reply(s, 354, NULL, "go on; end with a line that has only a dot");
		s->phase = PHASE_DATA;
		lines_begin(&s->lines, true);
		smtpd_body_begin(s);
	}
}

void smtpd_take_data(struct smtpd *s, struct str *in)
{
	struct str piece;
	bool is_end = false;

	while (in->n > 0 && !is_end && !s->is_waiting) {
		struct str some = str_sub(*in, 0, SMTPD_PIECE);
		size_t before = some.n;

		is_end = lines_take(&s->lines, &some, SMTPD_TEXT_LINE_MAX, &piece);
		*in = str_from(*in, before - some.n);
		check_lines(s);
		smtpd_body_add(s, piece);
	}
	if (is_end)
		s->phase = PHASE_END;
	else if (is_endless(s, s->body.octets))
		smtpd_over(s, "4.3.4", endless);
}

/* ---- BDAT ---- */

static uint64_t room_left(const struct smtpd *s)
{
	return s->body.octets < s->server->size_max ? s->server->size_max - s->body.octets : 0;
}

/* bdat-cmd = "BDAT" SP chunk-size [ SP "LAST" ]                                                         RFC 3030 §2 */
void smtpd_bdat(struct smtpd *s, struct str argument)
{
	struct scan in = scan_of(argument);
	struct smtp_reply r = { 0 };

	s->chunk_left = scan_u64(&in);
	s->chunk_is_last = scan_take(&in, ' ') && (scan_skip(&in, " "), scan_take_istr(&in, STR("LAST")));
	if (in.failed || !scan_done(&in)) {
		smtpd_reply(s, 501, "5.5.4",
					"expected: BDAT size, or BDAT size LAST; where the message ends is not known, so goodbye");
		s->phase = PHASE_OVER;
		return;
	}
	if (!s->has_mail)
		r = SMTP_REPLY(503, "5.5.1", "say MAIL first");
	else if (s->envelope.n == 0)
		r = SMTP_REPLY(554, "5.5.1", "no recipient was accepted");
	else if (s->is_broken)
		r = SMTP_REPLY(503, "5.5.1", "a chunk was refused: say RSET first");  /* RFC 3030 §2 */
	s->phase = PHASE_CHUNK;
	if (r.code == 0 && !s->is_chunked) {
		s->is_chunked = true;
		lines_begin(&s->lines, false);
		smtpd_body_begin(s);
	}
	if (r.code == 0 && s->chunk_left > room_left(s))
		r = smtp_reply_printf(&s->arena, 552, "5.3.4", "the message is larger than the %llu bytes this server accepts",
							  (unsigned long long)s->server->size_max);
	if (r.code != 0)
		smtpd_refuse(s, r);
	if (is_endless(s, s->chunk_left))
		smtpd_over(s, "4.3.4", endless);
}

/* All bytes of the chunk have come. */
static void end_chunk(struct smtpd *s)
{
	bool is_text = s->envelope.body != ENVELOPE_BINARYMIME;

	if (s->chunk_is_last && s->refusal.code == 0 && is_text) {
		if (!lines_end(&s->lines))
			smtpd_body_add(s, STR("\r\n"));
		check_lines(s);
	}
	if (s->chunk_is_last && (s->refusal.code == 0 || s->has_mail)) {
		s->phase = PHASE_END;
		return;
	}
	s->phase = PHASE_COMMAND;
	if (s->refusal.code == 0) {
		smtpd_reply(s, 250, "2.0.0", "chunk received");
		return;
	}
	s->is_broken = s->has_mail;
	if (s->has_mail)
		smtpd_reply_refusal(s, STR(""), s->refusal);
	else
		smtpd_reply_with(s, s->refusal);
	s->refusal.code = 0;
	if (!s->has_mail && s->phase != PHASE_OVER)
		smtpd_reset(s);
}

void smtpd_take_chunk(struct smtpd *s, struct str *in)
{
	bool is_text = s->envelope.body != ENVELOPE_BINARYMIME;
	struct str piece, chunk = str_sub(*in, 0, s->chunk_left < SMTPD_PIECE ? (size_t)s->chunk_left : SMTPD_PIECE);
	size_t before = chunk.n;

	while (chunk.n > 0 && s->refusal.code == 0 && !s->is_waiting) {
		piece = chunk;
		if (is_text)
			lines_take(&s->lines, &chunk, SMTPD_TEXT_LINE_MAX, &piece);
		else
			chunk = STR("");
		check_lines(s);
		smtpd_body_add(s, piece);
	}
	if (s->refusal.code != 0)
		chunk.n = 0;  /* the rest of it is nobody's */
	*in = str_from(*in, before - chunk.n);
	s->chunk_left -= before - chunk.n;
	if (s->chunk_left == 0 && !s->is_waiting)
		end_chunk(s);
}
