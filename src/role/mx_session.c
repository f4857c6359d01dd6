/* A connection of port 25 or of submit.sock: bytes between its socket and the machine of smtpd/.
 *
 * One function, go_on(), does whatever can be done now and says what to wait for: first what is to be sent, then what
 * was read but not taken, then what can be read. A client that does not read what we say is not read from either. At
 * most ROUND_MAX pieces are read in one turn, so that a fast one does not keep the others waiting.
 *
 * Patience has one deadline. A command must be complete within smtp_timeout after the reply before it; in a message every
 * RATE_MIN bytes put the deadline off by a second, never to more than smtp_timeout from now: so a byte a minute, which
 * never looks silent, ends just the same, also behind many that came fast.
 *
 * While the queue owes an answer the session must stay, even when its client is gone: the answer names it. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "role/mx_private.h"
#include <sys/socket.h>

enum { READ_PIECE = 16384, ROUND_MAX = 16, OUT_MAX = 32768, RATE_MIN = 500, HANDSHAKE_MS = 60000, LINGER_MS = 2000 };

static void go_on(struct mx_session *s);

/* ---- life ---- */

static void session_free(struct mx_session *s)
{
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
	smtpd_free(s->smtpd);
	buf_free(&s->in);
	buf_free(&s->out);
	arena_free(&s->arena);
	mem_free(s);
}

/* The connection ends. */
static void session_end(struct mx_session *s)
{
	struct loop *l = s->mx->loop;

	if (!s->is_gone) {
		s->is_gone = true;
		loop_unwatch(l, &s->watch);
		loop_timer_stop(l, &s->timer);
		loop_defer_cancel(l, &s->again);
		stream_close(&s->stream);
		if (!s->lingers)
			admission_leave(s->mx->admissions, PROTOCOL_SMTP, &s->peer);
	}
	if (!smtpd_is_waiting(s->smtpd))
		session_free(s);
}

void mx_session_context(const struct mx_session *s)
{
	log_context("session=" STR_FMT " peer=" STR_FMT, STR_ARG(s->name), STR_ARG(s->who));
}

void mx_session_answered(struct mx_session *s)
{
	if (s->is_gone) {
		if (!smtpd_is_waiting(s->smtpd))
			session_free(s);
		return;
	}
	s->deadline_ms = clock_mono_ms() + s->mx->timeout_ms;
	s->has_answer = true;
	go_on(s);
}

/* ---- patience ---- */

/* After input: a reply begins a new time, but that to a chunk; in a message it grows with its bytes. */
static void be_patient(struct mx_session *s, size_t taken, bool has_replied)
{
	int64_t most = loop_now_ms(s->mx->loop) + s->mx->timeout_ms, earned = s->deadline_ms + (int64_t)(taken * 1000 / RATE_MIN);
	bool is_in_body = smtpd_is_in_body(s->smtpd);

	if (is_in_body && s->was_in_body)
		s->deadline_ms = earned < most ? earned : most;
	else if (is_in_body || has_replied)
		s->deadline_ms = most;
	s->was_in_body = is_in_body;
}

static void on_timer(void *context)
{
	struct mx_session *s = context;
	int64_t now = clock_mono_ms();
	size_t taken;

	if (s->lingers) {
		session_end(s);
		return;
	}
	if (smtpd_is_waiting(s->smtpd))
		s->deadline_ms = now + s->mx->timeout_ms;  /* we are the slow ones */
	if (now < s->deadline_ms) {
		loop_timer_at(s->mx->loop, &s->timer, s->deadline_ms);
		return;
	}
	mx_session_context(s);
	if (!s->closes && !s->stream.is_handshaking && s->out.n == 0) {
		smtpd_bye(s->smtpd, "4.4.2", "nothing, or too little, has come for too long: goodbye", &s->out);
		if (stream_write(&s->stream, buf_str(&s->out), &taken) != ERR_OK)
			log_debug("the goodbye could not be sent");
	} else {
		log_info("session ended: the client does not read or does not finish the handshake");
	}
	session_end(s);
	log_context_clear();
}

/* ---- bytes ---- */

enum progress { GO_ON, STOP_HERE };  /* STOP_HERE: wait for the watch, a timer, an answer; or the session is gone */

static void wait_for(struct mx_session *s, bool reads, bool writes)
{
	loop_watch(s->mx->loop, &s->watch, reads || writes ? stream_wants(&s->stream, reads, writes) : 0);
}

static enum progress handshake(struct mx_session *s)
{
	enum err e = stream_handshake(&s->stream);

	if (e == ERR_AGAIN) {
		wait_for(s, true, false);
		return STOP_HERE;
	}
	if (e != ERR_OK) {
		log_info("TLS handshake failed reason=%s", tls_reason(s->stream.tls));
		session_end(s);
		return STOP_HERE;
	}
	smtpd_secured(s->smtpd, tls_text(s->stream.tls, &s->arena));
	s->deadline_ms = clock_mono_ms() + s->mx->timeout_ms;
	return GO_ON;
}

static enum progress send_out(struct mx_session *s)
{
	size_t taken;

	while (s->out.n > 0) {
		enum err e = stream_write(&s->stream, buf_str(&s->out), &taken);
		if (e == ERR_AGAIN) {
			wait_for(s, false, true);
			return STOP_HERE;
		}
		if (e != ERR_OK) {
			session_end(s);
			return STOP_HERE;
		}
		buf_drop_front(&s->out, taken);
	}
	buf_free(&s->out);
	return GO_ON;
}

static enum progress begin_tls(struct mx_session *s)
{
	s->starts_tls = false;
	if (stream_start_tls(&s->stream, s->mx->tls, PROTOCOL_SMTP) != ERR_OK) {
		session_end(s);
		return STOP_HERE;
	}
	s->deadline_ms = clock_mono_ms() + HANDSHAKE_MS;
	loop_timer_at(s->mx->loop, &s->timer, s->deadline_ms);
	return GO_ON;
}

/* Gives bytes to the machine; what it does not take stays in `in`. */
static enum progress feed(struct mx_session *s, struct str bytes, bool is_kept)
{
	size_t used = 0, said = s->out.n;
	enum smtpd_next next = smtpd_input(s->smtpd, bytes, &used, &s->out);

	s->has_answer = false;
	if (is_kept)
		buf_drop_front(&s->in, used);
	else
		buf_add(&s->in, str_from(bytes, used));
	if (s->in.n == 0)
		buf_free(&s->in);
	be_patient(s, used, s->out.n > said);
	if (next == SMTPD_CLOSE)
		s->closes = true;
	if (next == SMTPD_STARTTLS)
		s->starts_tls = true;
	return GO_ON;
}

/* All is said. What still comes (of a chunk that is too large) is dropped for a moment, in which the session counts for nobody; not by a server that
 * stops. */
static enum progress finish(struct mx_session *s)
{
	if (!s->lingers) {
		s->lingers = true;
		admission_leave(s->mx->admissions, PROTOCOL_SMTP, &s->peer);
		stream_end_output(&s->stream);
		loop_timer_in(s->mx->loop, &s->timer, LINGER_MS);
	}
	if (s->mx->stops || !stream_drop_input(&s->stream))
		session_end(s);
	else
		loop_watch(s->mx->loop, &s->watch, LOOP_READ);
	return STOP_HERE;
}

static enum progress read_in(struct mx_session *s)
{
	char room[READ_PIECE];
	size_t got;
	enum err e = stream_read(&s->stream, room, sizeof(room), &got);

	if (e == ERR_AGAIN) {
		wait_for(s, true, false);
		return STOP_HERE;
	}
	if (e != ERR_OK) {
		session_end(s);
		return STOP_HERE;
	}
	s->is_drained = got < sizeof(room) && !stream_has_input(&s->stream);
	return feed(s, str_make(room, got), false);
}

/* One thing that can be done now. */
static enum progress step(struct mx_session *s)
{
	if (s->stream.is_handshaking)
		return handshake(s);
	if (s->out.n > 0)
		return send_out(s);
	if (s->closes)
		return finish(s);
	if (s->starts_tls)
		return begin_tls(s);
	if (smtpd_is_waiting(s->smtpd))
		return STOP_HERE;  /* watched as it is: most clients are silent now; see on_ready() */
	if (s->mx->stops && !s->has_answer) {
		smtpd_bye(s->smtpd, "4.3.2", "this server is stopping: please come back in a moment", &s->out);
		s->closes = true;
		return GO_ON;
	}
	if (s->in.n > 0 || s->has_answer)
		return feed(s, buf_str(&s->in), true);
	if (!s->is_drained)
		return read_in(s);
	s->is_drained = false;
	wait_for(s, true, false);
	return STOP_HERE;
}

static void go_on(struct mx_session *s)
{
	int rounds = 0;

	while (step(s) == GO_ON) {
		if (++rounds < ROUND_MAX * 3)  /* reading, feeding and sending are a step each */
			continue;
		loop_watch(s->mx->loop, &s->watch, 0);
		loop_defer(s->mx->loop, &s->again);
		return;
	}
}

static void on_again(void *context)
{
	struct mx_session *s = context;

	mx_session_context(s);
	go_on(s);
	log_context_clear();
}

static void on_ready(void *context, unsigned events)
{
	struct mx_session *s = context;

	mx_session_context(s);
	if (!smtpd_is_waiting(s->smtpd) || s->out.n > 0)
		go_on(s);
	else if (events & LOOP_GONE)
		session_end(s);  /* the message goes its way; there is nobody left to tell */
	else
		loop_watch(s->mx->loop, &s->watch, 0);  /* it has sent more, or ended its side: that can wait for the answer */
	log_context_clear();
}

/* ---- accepting ---- */

/* One line, and the connection is closed. */
static void turn_away(int fd, const struct smtp_reply *r)
{
	CLEANUP(buf_free) struct buf b = BUF(OUT_MAX);
	struct stream st = { .fd = fd };
	size_t taken;

	smtp_put_reply(&b, r);
	if (stream_write(&st, buf_str(&b), &taken) != ERR_OK)
		log_debug("the refusal could not be sent");
	stream_close(&st);
}

static bool admit(struct mx *m, int fd, const struct peer *peer)
{
	struct smtp_reply r = SMTP_REPLY(421, "4.3.2", "this server is stopping: please come back in a moment");
	char room[PEER_TEXT_MAX];

	if (!m->stops) {
		switch (admission_enter(m->admissions, PROTOCOL_SMTP, peer, loop_now_ms(m->loop))) {
		case ADMITTED:
			return true;
		case ADMISSION_FULL:
			r = SMTP_REPLY(421, "4.3.2", "this server has as many connections as it can serve: please come back later");
			break;
		case ADMISSION_MANY:
			r = SMTP_REPLY(421, "4.7.0",
						   "too many connections from your address or network at once: please close some first");
			break;
		case ADMISSION_FAST:
			r = SMTP_REPLY(421, "4.7.0",
						   "too many new connections from your address or network in a minute: please come back later");
			break;
		}
	}
	log_info("connection refused peer=" STR_FMT " reason=" STR_FMT, STR_ARG(peer_text(peer, room)), STR_ARG(r.text));
	turn_away(fd, &r);
	return false;
}

static void session_start(struct mx_session *s, int fd, const struct smtpd_client *client)
{
	struct mx *m = s->mx;

	s->next = m->sessions;
	if (s->next)
		s->next->link = &s->next;
	s->link = &m->sessions;
	m->sessions = s;
	s->stream.fd = fd;
	s->in = BUF(READ_PIECE);
	s->out = BUF(OUT_MAX);
	s->watch = (struct loop_fd){ .ready = on_ready, .context = s, .fd = fd };
	s->timer = (struct loop_timer){ .due = on_timer, .context = s };
	s->again = (struct loop_task){ .run = on_again, .context = s };
	s->smtpd = smtpd_new(&m->server, client, &mx_session_host, s);
	s->deadline_ms = clock_mono_ms() + m->timeout_ms;
	loop_timer_at(m->loop, &s->timer, s->deadline_ms);
	smtpd_greet(s->smtpd, &s->out);
	mx_session_context(s);
	go_on(s);
	log_context_clear();
}

static struct mx_session *session_new(struct mx *m, const struct peer *peer)
{
	struct mx_session *s = MEM_NEW(struct mx_session);

	s->mx = m;
	s->peer = *peer;
	s->name = arena_printf(&s->arena, "%010llx", (unsigned long long)(random_u64() >> 24));
	return s;
}

static bool has_spoken(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void mx_accept_smtp(void *context, int fd, const struct peer *peer)
{
	struct mx *m = context;
	struct mx_session *s;

	if (!admit(m, fd, peer))
		return;
	if (has_spoken(fd)) {  /* RFC 5321 §4.3.1: a client waits for the greeting; what guesses the dialogue does not */
		char room[PEER_TEXT_MAX];
		log_info("connection refused peer=" STR_FMT " reason=spoke before the greeting",
				 STR_ARG(peer_text(peer, room)));
		turn_away(fd, &SMTP_REPLY(554, "5.5.1", "you spoke before the greeting: a mail server waits for it"));
		admission_leave(m->admissions, PROTOCOL_SMTP, peer);
		return;
	}
	s = session_new(m, peer);
	s->who = peer_text(peer, s->peer_room);
	session_start(s, fd, &(struct smtpd_client){
		.source = ENVELOPE_MX, .session = s->name, .peer = s->who, .can_start_tls = tls_server_is_ready(m->tls),
	});
}

void mx_accept_local(void *context, int fd, UNUSED const struct peer *peer)
{
	static const struct peer here = { .address = { [15] = 1 } };
	struct mx *m = context;
	struct mx_session *s;
	struct smtp_reply why;

	if (!admit(m, fd, &here))
		return;
	s = session_new(m, &here);
	s->is_local = true;
	if (!mx_caller_find(m, fd, &s->arena, &s->caller, &why)) {
		log_info("local program refused reason=" STR_FMT, STR_ARG(why.text));
		turn_away(fd, &why);
		admission_leave(m->admissions, PROTOCOL_SMTP, &here);
		arena_free(&s->arena);
		mem_free(s);
		return;
	}
	s->who = arena_printf(&s->arena, "user %u", s->caller.uid);
	session_start(s, fd, &(struct smtpd_client){
		.source = ENVELOPE_LOCAL, .session = s->name, .peer = STR(""), .who = s->who, .login = s->caller.address,
	});
}

/* ---- stopping ---- */

void mx_sessions_stop(struct mx *m)
{
	for (struct mx_session *s = m->sessions, *next; s; s = next) {
		next = s->next;
		mx_session_context(s);
		if (!s->is_gone && !s->stream.is_handshaking)
			go_on(s);  /* sees m->stops */
		else if (!s->is_gone)
			session_end(s);
	}
	log_context_clear();
}

void mx_sessions_end(struct mx *m)
{
	for (struct mx_session *s = m->sessions, *next; s; s = next) {
		next = s->next;
		session_end(s);
	}
}
