/* A connection from accept to close.
 *
 * The struct client is what a parked session costs beside TLS and its record; everything a phase needs and others do
 * not hangs off it and is freed with the phase (talk, relay). One timer, which mostly rings in vain: activity only
 * notes the time, and the timer looks when it rings. Any function that may end the connection says so to its caller,
 * who then touches nothing. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "ipc/sessions.h"
#include "role/gate_private.h"
#include <unistd.h>

enum { CLOSING_MAX_MS = 30000, LINGER_MS = 2000, OUT_MAX = 128 * 1024, HANDSHAKES_A_ROUND = 16, REFUSAL_LOG_EVERY_MS = 1000 };

const struct login_protocol *client_row(const struct client *c)
{
	return c->protocol == PROTOCOL_POP3 ? &pop3_login : c->protocol == PROTOCOL_SUBMISSION ? &submission_login : &imap_login;
}

/* ---- slots */

static void slot_take(struct gate *g, struct client *c)
{
	while (g->slot_free < g->slot_n && g->slots[g->slot_free])
		g->slot_free++;
	if (g->slot_free == g->slot_n && g->slot_n == g->slot_cap) {
		g->slot_cap = g->slot_cap ? g->slot_cap * 2 : 64;
		g->slots = mem_resize(g->slots, g->slot_cap * sizeof(struct client *));
	}
	g->slot_n += g->slot_free == g->slot_n;
	c->slot = g->slot_free;
	g->slots[c->slot] = c;
	g->count++;
}

static void slot_give(struct gate *g, const struct client *c)
{
	g->slots[c->slot] = NULL;
	if (c->slot < g->slot_free)
		g->slot_free = c->slot;
	g->count--;
}

/* ---- ending */

/* It counts for nobody any more. */
static void leave(struct client *c)
{
	if (c->has_left)
		return;
	c->has_left = true;
	if (c->member.of)
		log_info("session ended protocol=%s session=%llu account=%llu seconds=%lld bytes_in=%llu bytes_out=%llu",
		         protocol_name(c->protocol), (unsigned long long)c->session,
		         (unsigned long long)c->member.grant.account, (long long)(clock_wall_s() - c->since_s),
		         (unsigned long long)c->stream.bytes_in, (unsigned long long)c->stream.bytes_out);
	session_leave(c);
	admission_leave(c->gate->admissions, (enum protocol)c->protocol, &c->peer);
}

void client_end(struct client *c)
{
	struct gate *g = c->gate;

	login_end(c);
	web_end(c);
	session_drop(c);
	leave(c);
	loop_timer_stop(g->loop, &c->timer);
	loop_unwatch(g->loop, &c->watch);
	stream_close(&c->stream);
	slot_give(g, c);
	buf_free(&c->out);
	mem_free(c->login_name);
	mem_free(c);
}

void client_watch(struct client *c, void (*ready)(void *context, unsigned events), unsigned events)
{
	c->watch.ready = ready;
	c->watch.context = c;
	loop_watch(c->gate->loop, &c->watch, events);
}

bool client_flush(struct client *c, bool *is_gone)
{
	size_t at = 0, taken;
	enum err e = ERR_OK;

	*is_gone = false;
	while (at < c->out.n && (e = stream_write(&c->stream, str_from(buf_str(&c->out), at), &taken)) == ERR_OK)
		at += taken;
	buf_drop_front(&c->out, at);
	if (c->out.n == 0) {
		buf_free(&c->out);
		if (e == ERR_OK)
			e = stream_flush(&c->stream);
	}
	if (e == ERR_OK)
		return true;
	if (e != ERR_AGAIN) {
		*is_gone = true;
		client_end(c);
		return false;
	}
	loop_watch(c->gate->loop, &c->watch, stream_wants(&c->stream, false, true));
	return false;
}

static void lingering_ready(void *context, unsigned events)
{
	struct client *c = context;

	if ((events & LOOP_GONE) || !stream_drop_input(&c->stream))
		client_end(c);
}

/* All of out is sent. What still comes (of a web page, a literal that is too large, a line without an end) is dropped for a moment; not by a gate that
 * ends itself, whom everybody would have to wait for. */
static void finish(struct client *c)
{
	struct gate *g = c->gate;

	if (g->stops || g->drains) {
		client_end(c);
		return;
	}
	stream_end_output(&c->stream);
	if (!stream_drop_input(&c->stream)) {
		client_end(c);
		return;
	}
	leave(c);
	client_watch(c, lingering_ready, LOOP_READ);
	loop_timer_in(g->loop, &c->timer, LINGER_MS);
}

static void closing_ready(void *context, unsigned events)
{
	struct client *c = context;
	bool is_gone = false;

	if (events & LOOP_GONE)
		client_end(c);
	else if (client_flush(c, &is_gone))
		finish(c);
}

void client_close_soon(struct client *c)
{
	bool is_gone;

	c->phase = PHASE_CLOSING;
	client_watch(c, closing_ready, 0);
	if (client_flush(c, &is_gone))
		finish(c);
	else if (!is_gone)
		loop_timer_in(c->gate->loop, &c->timer, CLOSING_MAX_MS);
}

/* Before a handshake is done nothing can be said; in the middle of a line nothing should be. */
void client_bye(struct client *c, enum text sentence)
{
	bool may_speak = c->protocol != PROTOCOL_HTTP && c->phase != PHASE_HANDSHAKE && c->phase != PHASE_CLOSING && !(c->relay && c->relay->is_mid_line);
	struct str hostname = c->gate->lookup ? lookup_hostname(c->gate->lookup) : STR("localhost");

	if (c->phase == PHASE_CLOSING)
		return;
	session_drop(c);
	member_wake(c->gate->parked, &c->member);
	if (may_speak) {
		c->out.failed = false;
		client_row(c)->bye(NULL, hostname, str_of(text_get(LANG_EN, sentence)), &c->out);
	}
	login_end(c);
	web_end(c);
	if (may_speak || c->out.n)
		client_close_soon(c);
	else
		client_end(c);
}

/* ---- beginning */

/* A handshake costs a hundred times a command. When ten thousand telephones come back at once, those who are in go
 * on between. */
static bool is_turn_for_handshake(struct gate *g)
{
	if (g->round_ms != loop_now_ms(g->loop)) {
		g->round_ms = loop_now_ms(g->loop);
		g->handshakes = 0;
	}
	return g->handshakes++ < HANDSHAKES_A_ROUND;
}

static void handshake_ready(void *context, unsigned events)
{
	struct client *c = context;

	if ((events & LOOP_GONE) == 0 && !is_turn_for_handshake(c->gate)) {
		client_watch(c, handshake_ready, stream_wants(&c->stream, true, false));
		return;  /* the loop tells again */
	}
	enum err e = stream_handshake(&c->stream);

	if (e == ERR_AGAIN) {
		client_watch(c, handshake_ready, stream_wants(&c->stream, true, false));
		return;
	}
	if (e == ERR_OK && c->protocol == PROTOCOL_HTTP) {
		web_begin(c);
		return;
	}
	if (e == ERR_OK) {
		c->phase = PHASE_LOGIN;
		login_tls_done(c);
		return;
	}
	char room[PEER_TEXT_MAX];
	if (e == ERR_INVALID)
		log_info("TLS handshake failed protocol=%s peer=%s reason=\"%s\"", protocol_name(c->protocol),
		         peer_text(&c->peer, room).p, tls_reason(c->stream.tls));
	client_end(c);
}

/* A peer that never says hello costs no TLS state. */
static void hello_ready(void *context, unsigned events)
{
	struct client *c = context;

	if (((events & LOOP_GONE) && !(events & LOOP_READ)) ||
	    stream_start_tls(&c->stream, c->gate->tls, (enum protocol)c->protocol) != ERR_OK)
		client_end(c);
	else
		handshake_ready(c, events);
}

void client_start_tls(struct client *c)
{
	c->phase = PHASE_HANDSHAKE;
	client_watch(c, hello_ready, LOOP_READ);
}

static void client_due(void *context)
{
	struct client *c = context;

	switch (c->phase) {
	case PHASE_HANDSHAKE:
	case PHASE_WEB:
	case PHASE_CLOSING:
		client_end(c);
		break;
	case PHASE_LOGIN:
		login_due(c);
		break;
	default:
		session_due(c);
	}
}

/* Too many: said in plain text where the protocol begins in plain text, else the connection just ends. */
static void turn_away(struct door *d, int fd, const struct peer *peer, enum admission how)
{
	static const struct { enum text sentence; const char *settings; } says[] = {
		[ADMISSION_FULL] = { TEXT_GATE_FULL, "the limit of open files of the service" },
		[ADMISSION_MANY] = { TEXT_GATE_MANY, "connections_per_address, connections_per_network" },
		[ADMISSION_FAST] = { TEXT_GATE_FAST, "connections_per_minute" },
	};
	enum text sentence = says[how].sentence;
	CLEANUP(buf_free) struct buf out = BUF(1024);
	struct stream st = { .fd = fd };
	struct client c = { .protocol = (uint8_t)d->on.protocol };
	char room[PEER_TEXT_MAX];
	size_t taken;

	if (loop_now_ms(d->gate->loop) >= d->gate->refusal_ms + REFUSAL_LOG_EVERY_MS) {
		log_info("connection refused protocol=%s peer=%s reason=\"%s\" limit=\"%s\" others=%u", protocol_name(d->on.protocol),
		         peer_text(peer, room).p, text_get(LANG_EN, sentence), says[how].settings, d->gate->refusals);
		d->gate->refusal_ms = loop_now_ms(d->gate->loop);
		d->gate->refusals = 0;
	} else {
		d->gate->refusals++;
	}
	if (!d->on.implicit_tls) {
		client_row(&c)->bye(NULL, lookup_hostname(d->gate->lookup), str_of(text_get(LANG_EN, sentence)), &out);
		if (stream_write(&st, buf_str(&out), &taken) != ERR_OK)
			log_debug("refusal not sent");
	}
	stream_close(&st);
}

/* On the list of devices that may submit without a login? */
static bool is_printer(const struct client *c)
{
	struct lookup_account found;
	char room[PEER_TEXT_MAX];

	return lookup_printer(c->gate->lookup, peer_text(&c->peer, room), &found);
}

void client_accept(void *door, int fd, const struct peer *peer)
{
	struct door *d = door;
	struct gate *g = d->gate;
	enum admission how = g->count >= g->count_max ? ADMISSION_FULL :
	                                                admission_enter(g->admissions, d->on.protocol, peer, loop_now_ms(g->loop));

	if (how != ADMITTED) {
		turn_away(d, fd, peer, how);
		return;
	}
	struct client *c = MEM_NEW(struct client);
	c->gate = g;
	c->stream.fd = c->watch.fd = fd;
	c->peer = *peer;
	c->protocol = (uint8_t)d->on.protocol;
	c->session = g->next_session;
	g->next_session += 8;
	c->since_s = clock_wall_s();
	c->born_ms = c->heard_ms = loop_now_ms(g->loop);
	c->out = BUF(OUT_MAX);
	c->timer = (struct loop_timer){ .due = client_due, .context = c };
	c->is_printer = d->on.protocol == PROTOCOL_SUBMISSION && !d->on.implicit_tls && is_printer(c);
	slot_take(g, c);
	loop_timer_in(g->loop, &c->timer, (int64_t)conf_number(lookup_conf(g->lookup), SETTING_login_timeout) * 1000);
	if (d->on.implicit_tls)
		client_start_tls(c);
	else
		login_begin(c, true, STR(""));
}

/* ---- GATE_SESSIONS */

void gate_list_sessions(struct gate *g, uint32_t from, struct buf *out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct session_info *list = arena_array(&a, SESSIONS_PAGE_MAX, sizeof(*list));
	size_t n = 0;

	for (; from < g->slot_n && n < SESSIONS_PAGE_MAX; from++) {
		const struct client *c = g->slots[from];
		char room[PEER_TEXT_MAX];
		if (c == NULL)
			continue;
		list[n++] = (struct session_info){
			.session = c->session, .account = c->member.of ? c->member.grant.account : 0, .protocol = (enum protocol)c->protocol,
			.is_tls = c->stream.tls != NULL, .is_parked = c->phase == PHASE_PARKED, .since_s = c->since_s,
			.is_compressed = c->stream.deflate != NULL, .peer = str_copy(&a, peer_text(&c->peer, room)),
			.login = c->member.of ? str_of(c->login_name) : STR(""),
			.tls = c->stream.tls && !c->stream.is_handshaking ? tls_text(c->stream.tls, &a) : STR(""),
			.bytes_in = c->stream.bytes_in, .bytes_out = c->stream.bytes_out,
		};
	}
	put_sessions(out, list, n, from < g->slot_n ? from : 0);
}
