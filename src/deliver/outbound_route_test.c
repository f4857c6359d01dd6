/* SENDs over routes: smart hosts with and without a login, LMTP, source addresses; and probes. */
#include "deliver/outbound_test.h"

static struct {
	const char *password;   /* what keys says; NULL: it has none */
	char        asked[600]; /* for which route */
	int         times;
	int         misses;     /* so often it is being restarted */
} keys;

static struct world *asked_by;

static void ask_password(void *context, struct str route, uint64_t ticket)
{
	struct world *w = context;

	keys.times++;
	snprintf(keys.asked, sizeof(keys.asked), STR_FMT, STR_ARG(route));
	if (keys.misses > 0) {
		keys.misses--;
		outbound_password(w->outbound, ticket, ERR_UNAVAILABLE, STR(""));
		return;
	}
	outbound_password(w->outbound, ticket, keys.password ? ERR_OK : ERR_NOTFOUND, str_of(keys.password ? keys.password : ""));
}

static void setup_route(struct world *w, const char *const *scripts, const char *password)
{
	struct outbound_settings s = outbound_defaults;

	setup(w, scripts);
	s.hostname = STR("me.test");
	s.port = 9;  /* of who has no route: not this server */
	s.ask_password = ask_password;
	s.password_context = w;
	outbound_configure(w->outbound, &s);
	memset(&keys, 0, sizeof(keys));
	keys.password = password;
	asked_by = w;
}

static struct send routed(struct world *w, struct send_recipient *people, size_t n, const char *login)
{
	struct send s = message_to(people, n);

	s.route = (struct route){ .host = STR("127.0.0.1"), .port = w->server.port, .tls = ROUTE_TLS_MAY, .login = str_of(login) };
	s.destination = route_name(&s.route, &w->arena);
	return s;
}

#define AUTH_HELLO "220 peer\n<EHLO me.test\n250-peer\n250 AUTH PLAIN\n"

TEST(a_login)
{
	static const char *const scripts[] = { AUTH_HELLO "<AUTH PLAIN AGFsaWNlAHNlc2FtZQ==\n235 2.7.0 hello alice\n" MAIL RCPT DATA MAIL RCPT DATA
	                                       "<QUIT\n221 bye\n", NULL };
	struct send_recipient bob = { .address = STR("bob@x") };
	struct world w;

	setup_route(&w, scripts, "sesame");
	keys.misses = 2;  /* it is back in a moment: the message waits for it, and the route is not blamed */
	struct send s = routed(&w, &bob, 1, "alice");
	for (s.number = 1; s.number <= 2; s.number++) {  /* the second over the same connection, without asking again */
		ask(&w, &s);
		EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DONE);
		sent(&w, s.number);
	}
	EXPECT_STR(str_of(keys.asked), str_cstr(&w.arena, arena_printf(&w.arena, "alice@127.0.0.1:%u", w.server.port)));
	EXPECT_INT(keys.times, 3);
	teardown(&w);
	EXPECT_INT(w.server.connections, 1);
}

/* Whatever is wrong with a login is our affair: the message waits, nothing else is tried at once, and the words say what to mend. */
TEST(logins_that_fail)
{
	static const struct { const char *script, *password, *login, *status, *text; } cases[] = {
		{ AUTH_HELLO "<AUTH\n535 5.7.8 bad credentials\n", "x", "alice", "4.7.8", "refuses the login of \"alice\": 535 5.7.8 bad credentials" },
		{ HELLO, "x", "alice", "4.7.4", "no way to log in" },
		{ NULL, NULL, "alice", "4.7.8", "no password is kept" },
		{ HELLO "<MAIL\n530 5.7.0 Authentication required\n<QUIT\n221 bye\n", NULL, "", "4.7.0", "530 5.7.0 Authentication required" },
	};
	struct send_recipient people[] = { { .address = STR("bob@x") }, { .address = STR("eve@y") } };

	EACH(cases, c) {
		const char *scripts[] = { c->script, HELLO, NULL };
		struct world w;
		setup_route(&w, scripts, c->password);
		struct send s = routed(&w, people, 2, c->login);
		ask(&w, &s);
		for (size_t i = 0; i < 2; i++) {
			EXPECT_INT(w.answer.results[i].outcome, DELIVERY_DEFERRED);
			EXPECT_STR(w.answer.results[i].status, c->status);
			EXPECT(str_find(w.answer.results[i].text, str_of(c->text)) >= 0);
		}
		EXPECT_INT(w.answer.feedback, SEND_UNREACHABLE);
		sent(&w, 7);
		teardown(&w);
		EXPECT_INT(w.server.connections, c->script != NULL);
	}
}

/* A filter on this machine has our own name, and is no loop: somebody has said that mail is to go there. */
TEST(a_smart_host_with_our_own_name)
{
	static const char *const scripts[] = { "220 me.test\n<EHLO me.test\n250 me.test\n" MAIL RCPT DATA "<QUIT\n221 bye\n", NULL };
	struct send_recipient bob = { .address = STR("bob@x") };
	struct world w;

	setup_route(&w, scripts, NULL);
	struct send s = routed(&w, &bob, 1, "");
	ask(&w, &s);
	EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DONE);
	sent(&w, 7);
	teardown(&w);
}

/* RFC 2033: an answer for each recipient. */
TEST(lmtp)
{
	static const char *const scripts[] = { "220 peer\n<LHLO me.test\n250 peer\n" MAIL RCPT "<RCPT TO:<eve@x>\n250 ok\n<DATA\n354 go\n<.\n250 2.0.0 ok\n"
	                                       "552 5.2.2 full\n<QUIT\n221 bye\n", NULL };
	struct send_recipient people[] = { { .address = STR("bob@x") }, { .address = STR("eve@x") } };
	struct world w;

	setup_route(&w, scripts, NULL);
	struct send s = routed(&w, people, 2, "");
	s.route.is_lmtp = true;
	ask(&w, &s);
	EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DONE);
	EXPECT_INT(w.answer.results[1].outcome, DELIVERY_REFUSED);
	EXPECT_STR(w.answer.results[1].status, "5.2.2");
	sent(&w, 7);
	teardown(&w);
}

/* A connection that asks less of the other side carries nothing that asks more. */
TEST(ways_are_not_mixed)
{
	static const char *const scripts[] = { HELLO MAIL RCPT DATA "<QUIT\n221 bye\n", HELLO "<QUIT\n221 bye\n", NULL };
	struct send_recipient bob = { .address = STR("bob@x") };
	struct world w;

	setup_route(&w, scripts, NULL);
	struct send s = routed(&w, &bob, 1, "");
	ask(&w, &s);
	EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DONE);
	sent(&w, 7);
	s.number = 8;
	s.route.tls = ROUTE_TLS_ENCRYPT;
	ask(&w, &s);
	EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DEFERRED);
	EXPECT(str_find(w.answer.results[0].text, STR("STARTTLS")) >= 0);
	sent(&w, 8);
	teardown(&w);
	EXPECT_INT(w.server.connections, 2);
}

TEST(source_addresses)
{
	static const char *const scripts[] = { HELLO MAIL RCPT DATA "<QUIT\n221 bye\n", NULL };
	struct send_recipient bob = { .address = STR("bob@x") };
	struct world w;

	setup_route(&w, scripts, NULL);
	struct send s = routed(&w, &bob, 1, "");
	s.source_ipv4 = STR("192.0.2.1");  /* TEST-NET-1: nobody's */
	ask(&w, &s);
	EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DEFERRED);
	EXPECT(str_find(w.answer.results[0].text, STR("192.0.2.1 (setting source_ipv4), which is no address of this machine")) >= 0);
	sent(&w, 7);
	s.number = 8;
	s.source_ipv4 = STR("127.0.0.9");
	ask(&w, &s);
	EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DONE);
	sent(&w, 8);
	teardown(&w);
	EXPECT_STR(w.server.from, "127.0.0.9");
}

/* ---- probes ---- */

static void on_probe(UNUSED void *context, struct channel *ch, struct message *m) { outbound_on_probe(asked_by->outbound, ch, m); }
static const struct channel_handler control_handlers[] = { { REQUEST_PROBE, on_probe }, { 0 } };

static void probe(struct world *w, const struct send *s)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	int pair[2], memfd, fds[MESSAGE_FDS_MAX], n = 0;

	EXPECT_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	struct channel *control = channel_new(pair[0], ROLE_CONTROL, ROLE_NET, none, w, NULL);
	struct channel *net = channel_new(pair[1], ROLE_NET, ROLE_CONTROL, control_handlers, w, NULL);
	loop_channel(w->loop, control);
	loop_channel(w->loop, net);
	w->n = s->n;
	w->is_answered = false;
	EXPECT_OK(send_encode(s, &b, fds, &n, &memfd));
	EXPECT_OK(channel_ask(control, REQUEST_PROBE, buf_str(&b), fds, n, SEND_TIMEOUT_MS, on_answer, w));
	for (int64_t until = clock_mono_ms() + WAIT_MS; !w->is_answered && clock_mono_ms() < until;)
		loop_once(w->loop, 10);
	EXPECT(w->is_answered);
	EXPECT_ERR(w->status, ERR_OK);
	loop_forget_channel(w->loop, control);
	loop_forget_channel(w->loop, net);
	channel_free(control);
	channel_free(net);
}

/* A probe logs in, asks whether mail is taken, and goes; nothing is sent, and a connection that is kept proves nothing. */
TEST(probes)
{
	static const char *const scripts[] = { AUTH_HELLO "<AUTH PLAIN\n235 ok\n<MAIL FROM:<>\n250 ok\n<QUIT\n221 bye\n",
	                                       HELLO "<MAIL FROM:<>\n530 5.7.0 Authentication required\n<QUIT\n221 bye\n", AUTH_HELLO "<AUTH PLAIN\n535 5.7.8 no\n", NULL };
	struct send_recipient bob = { .address = STR("bob@x") };
	struct world w;

	setup_route(&w, scripts, "sesame");
	struct send s = routed(&w, &bob, 1, "alice");
	probe(&w, &s);
	EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DONE);
	EXPECT_STR(w.answer.results[0].text, "the login was accepted");
	EXPECT(str_starts(w.answer.results[0].host, STR("[127.0.0.1]")));
	s.route.login = STR("");  /* it offers everything, and says only to MAIL that it wants one */
	probe(&w, &s);
	EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DEFERRED);
	EXPECT_STR(w.answer.results[0].text, "530 5.7.0 Authentication required");
	s.route.login = STR("alice");
	probe(&w, &s);
	EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DEFERRED);
	EXPECT_STR(w.answer.results[0].status, "4.7.8");
	teardown(&w);
	EXPECT(strstr(w.server.seen[0], "RCPT") == NULL);
}
