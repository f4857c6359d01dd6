/* The login phase of a connection: carries bytes, questions and time between auth/login.h and the world.
 *
 * What it wants next stands in talk.want; login_go() does it, again and again, until something has to come from
 * outside: bytes, room at the client, an answer of keys, a moment of waiting. Commands are given one at a time and
 * the next one only when the answer to the last is with the client's kernel: thousands of pipelined commands of
 * somebody who never reads cost one answer. */
#include "base/log.h"
#include "base/mem.h"
#include "role/gate_private.h"

enum { ASK_TIMEOUT_MS = 30000, KEYS_GRACE_MS = 10000 };

struct ask {   /* a question to keys; outlives the client if it must */
	struct client *client;
};

struct talk {
	struct login     *login;
	struct login_facts facts;
	enum login_want   want;         /* what comes next … */
	bool              waits;        /* … but an answer or a time is waited for */
	struct ask       *ask;
	struct buf        in;           /* not used yet */
	size_t            tried;        /* bytes of it that were no complete command */
	bool              is_delayed;
	char              hostname[HOSTNAME_MAX], peer[PEER_TEXT_MAX];
	uint8_t           exporter[32], end_point[64];
	size_t            end_point_n;
};

static void login_go(struct client *c);
static void login_ready(void *context, unsigned events);

static void bind_tls(struct talk *t, const struct tls *tls)
{
	struct sasl_binding *b = &t->facts.binding;

	if (tls_exporter(tls, t->exporter))
		b->tls_exporter = str_make(t->exporter, sizeof(t->exporter));
	if (tls_server_end_point(tls, t->end_point, &t->end_point_n))
		b->tls_server_end_point = str_make(t->end_point, t->end_point_n);
}

static void state_facts(struct client *c)
{
	struct talk *t = c->talk;
	const struct gate *g = c->gate;
	const struct conf *conf = lookup_conf(g->lookup);
	struct str hostname = str_sub(lookup_hostname(g->lookup), 0, HOSTNAME_MAX - 1);

	memcpy(t->hostname, hostname.p, hostname.n);
	t->facts = (struct login_facts){
		.is_tls = c->stream.tls != NULL,
		.can_start_tls = c->stream.tls == NULL && tls_server_is_ready(g->tls),
		.may_login = c->stream.tls != NULL || (peer_is_loopback(&c->peer) && conf_on(conf, SETTING_plain_login_loopback)),
		.has_scram = lookup_scram(g->lookup),
		.has_bearer = lookup_has_issuers(g->lookup),
		.is_printer = c->is_printer,
		.session = c->session,
		.message_size_max = conf_number(conf, SETTING_message_size_max),
		.recipients_max = conf_number(conf, SETTING_submit_recipients_max),
		.messages_max = conf_number(conf, SETTING_smtp_messages_per_connection),
		.hold_max = conf_number(conf, SETTING_submit_hold_max),
		.mistakes_max = c->protocol == PROTOCOL_SUBMISSION ? (uint32_t)conf_number(conf, SETTING_smtp_errors_max) : 0,
		.hostname = str_make(t->hostname, hostname.n),
		.peer = peer_text(&c->peer, t->peer),
	};
	if (c->stream.tls) {
		bind_tls(t, c->stream.tls);
		t->facts.has_certificate = tls_client_fingerprint(c->stream.tls, t->facts.fingerprint, &t->facts.certificate_is_current);
	}
}

static struct talk *talk_new(struct client *c)
{
	struct talk *t = MEM_NEW(struct talk);

	c->talk = t;
	state_facts(c);
	t->login = login_new(client_row(c), &t->facts);
	t->in = BUF(LOGIN_INPUT_MAX);
	return t;
}

void login_end(struct client *c)
{
	struct talk *t = c->talk;

	if (t == NULL)
		return;
	c->talk = NULL;
	if (t->ask)
		t->ask->client = NULL;
	login_free(t->login);
	if (t->in.n)
		mem_wipe(t->in.p, t->in.n);  /* perhaps half a password */
	buf_free(&t->in);
	mem_free(t);
}

void login_begin(struct client *c, bool greets, struct str input)
{
	c->phase = PHASE_LOGIN;
	struct talk *t = talk_new(c);
	buf_add(&t->in, input);
	t->want = greets ? login_greet(t->login, &c->out) : LOGIN_INPUT;
	login_go(c);
}

void login_tls_done(struct client *c)
{
	struct talk *t = c->talk;

	if (t == NULL) {
		login_begin(c, true, STR(""));
		return;
	}
	state_facts(c);
	t->want = login_secured(t->login, &t->facts, &c->out);
	login_go(c);
}

/* ---- questions to keys */

static void login_said(struct client *c, enum login_want want)
{
	struct talk *t = c->talk;

	t->want = want;
	if (t->login->delay_ms) {  /* what out holds is told later; the connection is quiet meanwhile */
		t->waits = t->is_delayed = true;
		loop_timer_in(c->gate->loop, &c->timer, t->login->delay_ms);
		t->login->delay_ms = 0;
		client_watch(c, login_ready, 0);
		return;
	}
	login_go(c);
}

static void keys_answered(void *context, struct message *answer)
{
	struct ask *ask = context;
	struct client *c = ask->client;

	mem_free(ask);
	if (c == NULL)
		return;
	c->talk->ask = NULL;
	c->talk->waits = false;
	login_said(c, login_answered(c->talk->login, answer->status, answer->body, &c->out));
}

static void ask_keys(struct client *c)
{
	struct talk *t = c->talk;
	bool shows_socket = t->login->request_type == REQUEST_PRINTER;  /* keys reads the address off it */

	t->waits = true;
	t->ask = MEM_NEW(struct ask);
	t->ask->client = c;
	channel_ask(c->gate->keys, t->login->request_type, buf_str(&t->login->request), shows_socket ? &c->stream.fd : NULL,
	            shows_socket ? 1 : 0, ASK_TIMEOUT_MS, keys_answered, t->ask);
}

void login_is_refused(struct client *c, enum err why, enum text sentence)
{
	struct login *l = c->talk->login;

	log_info("session not opened session=%llu account=%llu error=%s", (unsigned long long)c->session,
	         (unsigned long long)l->grant.account, err_name(why));
	c->phase = PHASE_LOGIN;
	login_said(c, login_refused(l, why, str_of(text_get(l->lang, sentence)), &c->out));
}

/* ---- going on */

static void login_ready(void *context, unsigned events)
{
	struct client *c = context;

	if ((events & LOOP_GONE) && !(events & LOOP_READ))
		client_end(c);
	else
		login_go(c);
}

/* Bytes of the client: true when some came. False: the client is watched for more, or is gone (and freed). */
static bool login_read(struct client *c)
{
	char room[LOGIN_INPUT_MAX];
	struct talk *t = c->talk;
	size_t got;
	enum err e = stream_read(&c->stream, room, LOGIN_INPUT_MAX - t->in.n, &got);

	if (e == ERR_OK) {
		c->heard_ms = loop_now_ms(c->gate->loop);
		buf_add_bytes(&t->in, room, got);
		mem_wipe(room, got);
		return true;
	}
	if (e == ERR_AGAIN) {
		if (t->in.n == 0)
			buf_free(&t->in);
		client_watch(c, login_ready, stream_wants(&c->stream, true, false));
	} else {
		client_end(c);
	}
	return false;
}

/* One command, or what could be one: a line more than was tried in vain (a literal is several lines). False: nothing
 * to try. */
static bool login_try(struct client *c)
{
	struct talk *t = c->talk;
	struct str all = buf_str(&t->in);
	ptrdiff_t line = str_chr(str_from(all, t->tried), '\n');
	size_t n = line >= 0 ? t->tried + (size_t)line + 1 : all.n, used = 0;

	if (n == t->tried || (line < 0 && all.n < LOGIN_INPUT_MAX))
		return false;
	t->login->has_more = n < all.n;
	t->want = login_input(t->login, str_sub(all, 0, n), &used, &c->out);
	t->tried = used ? 0 : n;
	mem_wipe(t->in.p, used);
	buf_drop_front(&t->in, used);
	return true;
}

static void begin_tls(struct client *c)
{
	if (c->talk->in.n) {  /* sent before we agreed: somebody on the way may have put it there (CVE-2011-0411) */
		client_bye(c, TEXT_NOTHING_AFTER_STARTTLS);
		return;
	}
	client_start_tls(c);
}

static void login_go(struct client *c)
{
	struct talk *t = c->talk;
	bool is_gone;

	c->watch.ready = login_ready;
	c->watch.context = c;
	while (!t->waits) {
		if (c->out.failed) {  /* more to say than a login phase says */
			client_end(c);
			return;
		}
		if (!client_flush(c, &is_gone))
			return;
		switch (t->want) {
		case LOGIN_INPUT:
			if (!login_try(c) && !login_read(c))
				return;
			break;
		case LOGIN_STARTTLS:
			begin_tls(c);
			return;
		case LOGIN_ASK:
			ask_keys(c);
			break;
		case LOGIN_OPEN:
			session_begin(c);
			return;
		default:
			login_end(c);
			client_close_soon(c);
			return;
		}
	}
	client_watch(c, login_ready, 0);
}

void login_due(struct client *c)
{
	struct talk *t = c->talk;

	if (t->is_delayed) {
		const struct conf *conf = lookup_conf(c->gate->lookup);
		t->waits = t->is_delayed = false;
		loop_timer_at(c->gate->loop, &c->timer, c->born_ms + (int64_t)conf_number(conf, SETTING_login_timeout) * 1000);
		login_go(c);
	} else if (t->ask) {
		loop_timer_in(c->gate->loop, &c->timer, KEYS_GRACE_MS);  /* we are the ones who are slow */
	} else {
		client_bye(c, TEXT_GATE_LOGIN_TIMEOUT);
	}
}

/* ---- the way into a session */

struct login *login_of(const struct client *c) { return c->talk->login; }
struct str login_rest(const struct client *c) { return buf_str(&c->talk->in); }
