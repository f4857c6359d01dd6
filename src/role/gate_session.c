/* The sessions of a connection in its account's cell: opened after the login, attached while there is something to do,
 * parked while there is not, told news while parked.
 *
 *   OPENING ──first frame──> ATTACHED <──a byte, or RENDERED_ATTACH── PARKED
 *      │ refused                │ └──────────PARK agreed───────────────> │
 *      v                        v LOGOUT, BYE                            v BYE
 *    LOGIN                   CLOSING                                  CLOSING
 *
 * Whatever happens to a cell, its clients hear of it: refused before the session began, a line of goodbye after. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "role/gate_private.h"
#include <sys/socket.h>
#include <unistd.h>

enum { OPEN_TIMEOUT_MS = 60000, MAY_WAIT_TIMEOUT_MS = 10000, STALL_MS = 120000, ATTACHED_TICK_MS = 30000, OPEN_FRAME_MAX = 8192 };

static const struct relay_owner relay_owner;

/* ---- pairs */

/* Our end of a new pair whose other end goes to the account's cell, with the first frame in it. -1: logged. */
static int attach(struct gate *g, uint64_t account, enum attach kind, struct str open_frame)
{
	CLEANUP(buf_free) struct buf b = BUF(16);
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		log_errno("socketpair", "session");
		return -1;
	}
	put_u64(&b, account);
	put_u8(&b, (uint8_t)kind);
	bool ok = (open_frame.n == 0 || frame_send(pair[0], FRAME_OPEN, open_frame, 0) == ERR_OK) &&
	          channel_notify(g->master, NOTICE_ATTACH, buf_str(&b), &pair[1], 1) == ERR_OK;
	close(pair[1]);
	if (!ok)
		close(pair[0]);
	return ok ? pair[0] : -1;
}

static int64_t silence_ms(const struct client *c)
{
	const struct conf *conf = lookup_conf(c->gate->lookup);
	enum setting s = c->protocol == PROTOCOL_IMAP ? SETTING_imap_idle_timeout :
	                 c->protocol == PROTOCOL_POP3 ? SETTING_pop3_timeout : SETTING_smtp_timeout;

	return (int64_t)conf_number(conf, s) * 1000;
}

/* When somebody has to look again whether it goes on, if it says nothing until silent_ms. */
static int64_t look_ms(const struct client *c, int64_t silent_ms) { return silent_ms < c->ends_ms ? silent_ms : c->ends_ms; }

static void look_in(struct client *c, int64_t ms) { loop_timer_at(c->gate->loop, &c->timer, look_ms(c, loop_now_ms(c->gate->loop) + ms)); }

/* The grant says it by the clock on the wall, which may be set anew meanwhile. */
static int64_t end_of(const struct client *c)
{
	const struct grant *g = &c->member.grant;

	return g->ends_session ? loop_now_ms(c->gate->loop) + (g->expires_s - clock_wall_s()) * 1000 : INT64_MAX;
}

/* Attaches to the cell. given: the client's bytes so far. False: no pair could be made. */
static bool enter_cell(struct client *c, struct str command, struct str given, bool waits_for_start)
{
	CLEANUP(buf_free) struct buf b = BUF(OPEN_FRAME_MAX);
	CLEANUP(buf_free) struct buf changed = BUF(PARK_CHANGED_MAX);
	CLEANUP(arena_free) struct arena a = { 0 };
	char room[PEER_TEXT_MAX];
	member_changed(&c->member, &changed);
	const struct session_open o = {
		.grant = c->member.grant, .protocol = (enum protocol)c->protocol, .is_tls = c->stream.tls != NULL,
		.is_compressed = c->stream.deflate != NULL, .peer = peer_text(&c->peer, room), .peer_port = c->peer.port,
		.local_port = c->peer.local_port, .login_name = str_of(c->login_name), .command = command,
		.tls_text = c->stream.tls ? tls_text(c->stream.tls, &a) : STR(""), .record = c->member.record,
		.changed = buf_str(&changed),
	};

	put_session_open(&b, &o);
	int fd = b.failed ? -1 : attach(c->gate, c->member.grant.account, ATTACH_SESSION, buf_str(&b));
	if (fd < 0)
		return false;
	c->relay = MEM_NEW(struct relay);
	relay_start(c->relay, c->gate->loop, &c->stream, &c->watch, fd, waits_for_start, &relay_owner, c);
	relay_give(c->relay, given);
	return true;
}

void session_drop(struct client *c)
{
	struct relay *r = c->relay;

	if (r == NULL)
		return;
	c->relay = NULL;
	relay_stop(r);
	if (r->heard_ms > c->heard_ms)
		c->heard_ms = r->heard_ms;
	buf_add(&c->out, buf_str(&r->to_client));
	buf_free(&r->to_client);
	mem_free(r);
}

/* ---- the beginning */

void session_leave(struct client *c)
{
	if (c->member.of)
		admission_account_leave(c->gate->admissions, (enum protocol)c->protocol, c->member.grant.account);
	member_leave(c->gate->parked, &c->member);
}

void session_begin(struct client *c)
{
	struct login *l = login_of(c);

	if (!admission_account_enter(c->gate->admissions, (enum protocol)c->protocol, l->grant.account, loop_now_ms(c->gate->loop))) {
		log_info("too many sessions of one account, limit=sessions_per_account account=%llu", (unsigned long long)l->grant.account);
		login_is_refused(c, ERR_LIMIT, TEXT_GATE_SESSIONS);
		return;
	}
	c->member.grant = l->grant;
	c->member.protocol = c->protocol;
	c->ends_ms = end_of(c);
	mem_free(c->login_name);
	c->login_name = mem_alloc(l->login_name.n + 1);
	memcpy(c->login_name, l->login_name.p, l->login_name.n);
	member_enter(c->gate->parked, &c->member);
	gate_tokens_session(c->gate, &c->member.grant);
	c->phase = PHASE_OPENING;
	loop_timer_in(c->gate->loop, &c->timer, OPEN_TIMEOUT_MS);
	/* what the client sent already goes along, and is kept until the cell has taken the session: it may refuse it */
	if (!enter_cell(c, l->command, login_rest(c), true)) {
		session_leave(c);
		login_is_refused(c, ERR_UNAVAILABLE, TEXT_SERVER_BUSY);
	}
}

static void on_started(void *context)
{
	struct client *c = context;
	char room[PEER_TEXT_MAX];

	if (c->phase != PHASE_OPENING)
		return;
	log_info("session opened protocol=%s session=%llu account=%llu name=\"%s\" peer=%s tls=%s", protocol_name(c->protocol),
	         (unsigned long long)c->session, (unsigned long long)c->member.grant.account, c->login_name,
	         peer_text(&c->peer, room).p, c->stream.tls ? "yes" : "no");
	login_end(c);
	c->phase = PHASE_ATTACHED;
	c->since_s = clock_wall_s();
	look_in(c, ATTACHED_TICK_MS);
}

/* ---- the end */

/* The cell or master will not have it. Before the session has begun that is an answer to the login. */
static void on_refused(struct client *c, enum err why, enum text sentence)
{
	session_drop(c);
	if (c->phase == PHASE_OPENING) {
		session_leave(c);
		loop_timer_at(c->gate->loop, &c->timer,
		              c->born_ms + (int64_t)conf_number(lookup_conf(c->gate->lookup), SETTING_login_timeout) * 1000);
		login_is_refused(c, why, sentence);
	} else {
		client_bye(c, why == ERR_DENIED ? TEXT_GATE_LOGIN_ENDED : sentence);
	}
}

/* A login was given up: the next one has as much time as the first. What the client sent meanwhile is looked at first. */
static void on_unauthenticated(struct client *c, struct str rest)
{
	CLEANUP(buf_free) struct buf input = BUF(LOGIN_INPUT_MAX);

	buf_add(&input, rest);  /* its frame lies in the relay's hands */
	session_drop(c);
	session_leave(c);
	c->born_ms = loop_now_ms(c->gate->loop);
	loop_timer_in(c->gate->loop, &c->timer, (int64_t)conf_number(lookup_conf(c->gate->lookup), SETTING_login_timeout) * 1000);
	login_begin(c, false, buf_str(&input));
	if (input.n > 0)
		mem_wipe(input.p, input.n);  /* perhaps a password */
}

static void go_to_sleep(struct client *c);

static void on_ended(void *context, enum relay_end how, struct str bytes)
{
	struct client *c = context;
	struct scan s = scan_of(bytes);
	enum text sentence;
	enum err why;

	switch (how) {
	case RELAY_PARKED:
		if (!member_park(c->gate->parked, &c->member, bytes)) {
			log_error("malformed PARK from cell account=%llu", (unsigned long long)c->member.grant.account);
			client_bye(c, TEXT_GATE_CELL_GONE);
			return;
		}
		go_to_sleep(c);
		return;
	case RELAY_LOGOUT:
		session_drop(c);
		client_close_soon(c);
		return;
	case RELAY_UNAUTH:
		get_u64(&s);
		on_unauthenticated(c, get_str(&s, LOGIN_INPUT_MAX));
		return;
	case RELAY_REFUSED:
		if (!get_refusal(&s, &why, &sentence)) {
			log_error("malformed REFUSED from cell account=%llu", (unsigned long long)c->member.grant.account);
			why = ERR_UNAVAILABLE;
			sentence = TEXT_GATE_CELL_GONE;
		}
		on_refused(c, why, sentence);
		return;
	case RELAY_CELL_GONE:
		if (c->phase == PHASE_OPENING)
			on_refused(c, ERR_UNAVAILABLE, TEXT_GATE_CELL_GONE);
		else
			client_bye(c, TEXT_GATE_CELL_GONE);
		return;
	case RELAY_CLIENT_GONE:
		client_end(c);
	}
}

static bool on_waits(void *context, struct str bytes) { return member_waits(&((struct client *)context)->member, bytes); }

static const struct relay_owner relay_owner = { on_started, on_ended, on_waits };

/* ---- parked */

static void wake_up(struct client *c, struct str bytes)
{
	member_wake(c->gate->parked, &c->member);
	c->phase = PHASE_ATTACHED;
	look_in(c, ATTACHED_TICK_MS);
	if (!enter_cell(c, STR(""), bytes, false)) {
		client_bye(c, TEXT_SERVER_BUSY);
		return;
	}
	member_forget(&c->member);
}

static void parked_ready(void *context, unsigned events)
{
	struct client *c = context;
	char room[FRAME_DATA_MAX];
	bool is_gone;
	size_t got;

	if ((events & LOOP_GONE) && !(events & LOOP_READ)) {
		client_end(c);
		return;
	}
	if (c->out.n || !stream_is_flushed(&c->stream)) {  /* news that it has not read yet */
		if (!client_flush(c, &is_gone))
			return;
		client_watch(c, parked_ready, stream_wants(&c->stream, true, false));
		loop_timer_at(c->gate->loop, &c->timer, look_ms(c, c->heard_ms + silence_ms(c)));
		parked_again(c->gate->parked, &c->member);
		return;
	}
	enum err e = stream_read(&c->stream, room, sizeof(room), &got);
	if (e == ERR_OK) {
		c->heard_ms = loop_now_ms(c->gate->loop);
		wake_up(c, str_make(room, got));
	} else if (e == ERR_AGAIN) {
		client_watch(c, parked_ready, stream_wants(&c->stream, true, false));
	} else {
		client_end(c);
	}
}

static void go_to_sleep(struct client *c)
{
	session_drop(c);
	if (c->gate->drains) {
		client_bye(c, TEXT_GATE_STOPPING);
		return;
	}
	c->phase = PHASE_PARKED;
	stream_park(&c->stream);
	client_watch(c, parked_ready, stream_wants(&c->stream, true, false));
	loop_timer_at(c->gate->loop, &c->timer, look_ms(c, c->heard_ms + silence_ms(c)));
}

/* ---- what the table of parked sessions asks for */

static struct client *client_of(struct member *m)
{
	return (struct client *)(void *)((char *)m - offsetof(struct client, member));
}

static void on_watch(void *context, uint64_t account, bool on, bool tells)
{
	struct gate *g = context;
	CLEANUP(buf_free) struct buf b = BUF(16);

	put_u64(&b, account);
	put_bool(&b, on);
	put_bool(&b, tells);
	channel_notify(g->master, NOTICE_WATCH, buf_str(&b), NULL, 0);
}

struct wait_question { struct gate *gate; uint64_t guest, owner; };

static void wait_answered(void *context, struct message *answer)
{
	struct wait_question *q = context;

	parked_may_wait(q->gate->parked, q->guest, q->owner, answer->status);
	mem_free(q);
}

static void on_may_wait(void *context, uint64_t guest, uint64_t owner)
{
	struct gate *g = context;
	CLEANUP(buf_free) struct buf b = BUF(16);
	struct wait_question *q = MEM_NEW(struct wait_question);

	*q = (struct wait_question){ g, guest, owner };
	put_u64(&b, guest);
	put_u64(&b, owner);
	channel_ask(g->master, REQUEST_MAY_WAIT, buf_str(&b), NULL, 0, MAY_WAIT_TIMEOUT_MS, wait_answered, q);
}

static int on_attach(void *context, uint64_t account) { return attach(context, account, ATTACH_RENDER, STR("")); }

static void on_news(UNUSED void *context, struct member *m, enum rendered how, struct str bytes)
{
	struct client *c = client_of(m);
	bool is_gone;

	if (how == RENDERED_ATTACH) {
		wake_up(c, STR(""));
		return;
	}
	buf_add(&c->out, bytes);
	if (how == RENDERED_BYE) {
		member_wake(c->gate->parked, m);
		client_close_soon(c);
		return;
	}
	if (client_flush(c, &is_gone)) {
		stream_park(&c->stream);
	} else if (!is_gone) {
		m->is_busy = true;
		loop_timer_in(c->gate->loop, &c->timer, STALL_MS);
	}
}

static bool on_changed(UNUSED void *context, struct member *m, struct str accounts) { return client_of(m)->relay != NULL && relay_changed(client_of(m)->relay, accounts); }

static void on_revoked(UNUSED void *context, struct member *m) { client_bye(client_of(m), TEXT_GATE_LOGIN_ENDED); }

const struct parked_host gate_parked_host = { on_watch, on_may_wait, on_attach, on_news, on_changed, on_revoked };

/* ---- time */

/* Silence is measured to the client's last byte; while it reads an answer it is not silent. */
void session_due(struct client *c)
{
	struct gate *g = c->gate;
	struct relay *r = c->relay;
	int64_t now = loop_now_ms(g->loop), last = r && r->moved_ms > c->heard_ms ? r->moved_ms : c->heard_ms;
	bool has_output = c->out.n || !stream_is_flushed(&c->stream) || (r && r->to_client.n);

	if (c->phase == PHASE_OPENING) {
		on_refused(c, ERR_TIMEOUT, TEXT_SERVER_BUSY);
		return;
	}
	if (has_output && (r == NULL || now >= r->moved_ms + STALL_MS)) {
		log_info("client reads nothing, connection ended protocol=%s session=%llu", protocol_name(c->protocol),
		         (unsigned long long)c->session);
		client_end(c);
		return;
	}
	if (now >= c->ends_ms) {
		client_bye(c, TEXT_GATE_LOGIN_ENDED);
	} else if (now < last + silence_ms(c)) {
		int64_t next = look_ms(c, last + silence_ms(c));
		loop_timer_at(g->loop, &c->timer, r && next > now + ATTACHED_TICK_MS ? now + ATTACHED_TICK_MS : next);
	} else if (c->protocol == PROTOCOL_POP3) {
		client_end(c);  /* RFC 1939 §3: without a response, nothing is removed */
	} else {
		client_bye(c, TEXT_GATE_SILENT);
	}
}
