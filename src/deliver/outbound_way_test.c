/* Where a SEND goes, by names: which host after which, and which connections carry the messages of more than one domain. */
#include "deliver/outbound_private.h"
#include "deliver/outbound_test.h"
#include "dns/nameserver_test.h"

static const char *const zones[] = {
	"add one.test MX 10 mx.shared.test",
	"add two.test MX 10 mx.shared.test",
	"add other.test MX 10 mx.other.test",
	"add mx.shared.test A 127.0.0.1",
	"add mx.other.test A 127.0.0.1",
	"fail broken.test servfail",
	"add half.test MX 10 mail.broken.test",
	"add half.test MX 20 mx.shared.test",
	"add gone.test MX 10 nowhere.shared.test",
	"add gone.test MX 20 mx.shared.test",
	"sign lost.test",
	"add lost.test MX 10 mx.lost.test",
	"add lost.test MX 20 mx.shared.test",
	"add mx.lost.test A 127.0.0.9",
	"add many.test MX 10 mx1.many.test", "add many.test MX 10 mx2.many.test", "add many.test MX 20 mx3.many.test", "add many.test MX 30 mx.shared.test",
	"add mx1.many.test A 127.1.0.1", "add mx1.many.test A 127.1.0.2", "add mx1.many.test A 127.1.0.3", "add mx1.many.test A 127.1.0.4",
	"add mx1.many.test A 127.1.0.5", "add mx1.many.test A 127.1.0.6", "add mx1.many.test A 127.1.0.7", "add mx1.many.test A 127.1.0.8",
	"add mx2.many.test A 127.1.1.1", "add mx2.many.test A 127.1.1.2", "add mx2.many.test A 127.1.1.3", "add mx2.many.test A 127.1.1.4",
	"add mx3.many.test A 127.1.2.1", "add mx3.many.test A 127.1.2.2", "add mx3.many.test A 127.1.2.3", "add mx3.many.test A 127.1.2.4",
};

static void begin(struct world *w, const struct nameserver *ns, const char *const *scripts, size_t per_address_max)
{
	setup_with(w, scripts, &(struct resolver_config){ .servers = str_of(ns->server), .trust_anchor = str_of(ns->anchor) });
	struct outbound_settings s = outbound_defaults;
	s.hostname = STR("me.test");
	s.port = w->server.port;
	s.keep_ms = 10 * WAIT_MS;
	s.per_address_max = per_address_max;
	outbound_configure(w->outbound, &s);
}

/* Mail comes back to this server, or goes into a network that a stranger's records name: neither is tried. */
TEST(addresses_that_mail_does_not_go_to)
{
	static const struct { const char *destination, *status; bool is_own; } cases[] = {
		{ "one.test", "5.4.6", true }, { "one.test", "5.4.4", false }, { "[127.0.0.1]", "5.4.4", false },
	};
	static const char *const scripts[] = { NULL };
	static const struct peer here = { .address = { [10] = 0xff, 0xff, 127, 0, 0, 1 } };
	struct nameserver ns = nameserver_start(zones, COUNT_OF(zones));
	struct world w;

	begin(&w, &ns, scripts, 1);
	EACH(cases, c) {
		struct send_recipient bob = { .address = STR("bob@x") };
		struct send s = message_to(&bob, 1);
		struct outbound_settings settings = outbound_defaults;

		settings.hostname = STR("me.test");
		settings.public_only = !c->is_own;
		settings.own = &here;
		settings.own_count = c->is_own;
		outbound_configure(w.outbound, &settings);
		s.destination = str_of(c->destination);
		ask(&w, &s);
		EXPECT_INT(w.answer.results[0].outcome, DELIVERY_REFUSED);
		EXPECT_STR(w.answer.results[0].status, c->status);
		EXPECT_INT(w.answer.n_attempts, 0);
	}
	teardown(&w);
	nameserver_stop(&ns);
}

static void ask_for(struct world *w, uint64_t number, const char *destination)
{
	struct send_recipient bob = { .address = STR("bob@x") };
	struct send s = message_to(&bob, 1);

	s.number = number;
	s.destination = str_of(destination);
	ask(w, &s);
}

/* More addresses than are tried for one SEND, and nobody at home but at the last host: it has its try, each time (RFC 5321 §5.1). */
TEST(the_last_of_many_hosts)
{
	static const char *const scripts[] = { HELLO MAIL RCPT DATA "<QUIT\n221 bye\n", NULL };
	struct nameserver ns = nameserver_start(zones, COUNT_OF(zones));
	struct world w;

	begin(&w, &ns, scripts, 20);
	ask_for(&w, 1, "many.test");
	EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DONE);
	EXPECT_INT(w.answer.n_attempts, 7);
	EXPECT(str_starts(w.answer.results[0].host, STR("mx.shared.test ")));
	for (size_t i = 0, of_third = 0; i < w.answer.n_attempts; i++) {
		of_third += str_starts(w.answer.attempts[i].host, STR("mx3.many.test "));
		EXPECT(of_third == (i == 6));  /* in their order, and once */
	}
	sent(&w, 1);
	teardown(&w);
	nameserver_stop(&ns);
}

/* Two domains with the same mail host: one connection. A third one whose host is only the same address: its own, and what was kept for
 * nobody in particular makes room for it at once. */
TEST(one_host_for_many_domains)
{
	static const char *const scripts[] = { HELLO MAIL RCPT DATA MAIL RCPT DATA MAIL RCPT DATA "<QUIT\n221 bye\n", HELLO MAIL RCPT DATA "<QUIT\n221 bye\n",
	                                       NULL };
	static const char *const destinations[] = { "one.test", "two.test", "one.test", "other.test" };
	struct world w;
	struct nameserver ns = nameserver_start(zones, COUNT_OF(zones));

	begin(&w, &ns, scripts, 1);
	for (uint64_t i = 0; i < COUNT_OF(destinations); i++) {
		ask_for(&w, i, destinations[i]);
		EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DONE);
		EXPECT_INT(outbound_connections(w.outbound), 1);
		sent(&w, i);
	}
	teardown(&w);
	EXPECT_INT(w.server.connections, 2);
	nameserver_stop(&ns);
}

/* Who waits for an address gets the connection to it when its message is on disk, or its place where it may not have it. */
TEST(waiting_at_an_address)
{
	static const struct { const char *second; int connections; } cases[] = { { "two.test", 1 }, { "other.test", 2 } };
	struct nameserver ns = nameserver_start(zones, COUNT_OF(zones));

	EACH(cases, c) {
		const char *const scripts[] = { c->connections == 1 ? HELLO MAIL RCPT DATA MAIL RCPT DATA "<QUIT\n221 bye\n" : HELLO MAIL RCPT DATA "<QUIT\n221 bye\n",
		                                HELLO MAIL RCPT DATA "<QUIT\n221 bye\n", NULL };
		struct send_recipient bob = { .address = STR("bob@x") };
		struct send s = message_to(&bob, 1);
		struct world w;

		begin(&w, &ns, scripts, 1);
		ask_for(&w, 1, "one.test");
		s.number = 2;
		s.destination = str_of(c->second);
		ask_in_vain(&w, &s, SEND_TIMEOUT_MS);
		sent(&w, 1);
		wait_for_answer(&w);
		EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DONE);
		sent(&w, 2);
		teardown(&w);
		EXPECT_INT(w.server.connections, c->connections);
	}
	nameserver_stop(&ns);
}

/* "Never" of one host is a "never" only if the others have said so too, or do not exist. Who drops packets of a name server must not
 * turn "later" into a bounce. */
TEST(hosts_that_could_not_be_asked)
{
	static const struct { const char *domain; enum delivery_outcome outcome; } cases[] = {
		{ "one.test", DELIVERY_REFUSED }, { "half.test", DELIVERY_DEFERRED }, { "gone.test", DELIVERY_REFUSED },
		{ "lost.test", DELIVERY_DEFERRED },
	};
	struct nameserver ns = nameserver_start(zones, COUNT_OF(zones));

	EACH(cases, c) {
		static const char *const scripts[] = { "554 5.7.1 go away\nX\n", NULL };
		struct world w;

		print_message("%s\n", c->domain);
		begin(&w, &ns, scripts, 20);
		char order[100];
		snprintf(order, sizeof(order), "fail _%u._tcp.mx.lost.test servfail", w.server.port);
		script_do(&ns.script, order);
		ask_for(&w, 1, c->domain);
		EXPECT_INT(w.answer.results[0].outcome, c->outcome);
		EXPECT_INT(w.answer.results[0].status.p[0], c->outcome == DELIVERY_REFUSED ? '5' : '4');
		EXPECT(str_find(w.answer.results[0].text, STR("go away")) >= 0);
		teardown(&w);
	}
	nameserver_stop(&ns);
}

/* A message that insists on nothing (TLS-Required: No) has made a connection without asking what its destination insists on: the next one
 * to this destination asks first. */
TEST(connection_of_who_insists_on_nothing)
{
	static const struct { bool is_relaxed, is_for_relaxed, is_found; } cases[] = {
		{ false, false, true }, { false, true, true }, { true, false, false }, { true, true, true },
	};

	EACH(cases, c) {
		struct outbound_connection kept = { .state = CONNECTION_FREE, .destination = STR("one.test"), .opened_ms = clock_mono_ms(), .is_relaxed = c->is_relaxed };
		struct outbound r = { .connections = &kept };
		struct outbound_job j = { .outbound = &r, .way = { .name = STR("one.test") }, .until_ms = INT64_MAX };
		j.in.send.wishes.tls = c->is_for_relaxed ? ENVELOPE_TLS_OPTIONAL : ENVELOPE_TLS_USUAL;
		EXPECT_INT(connection_find(&j) == &kept, c->is_found);
	}
}

/* The queue stops: what has not left is given back at once; what has goes on for a moment, and only what was sent to its end and not
 * answered then may be there all the same. */
TEST(the_queue_stops)
{
	enum { SIZE = 20 << 20 };  /* more than sockets hold */
	static const struct {
		const char *name, *scripts[2];
		bool is_large, goes_on;
		enum err status;             /* ERR_AGAIN: given back */
		enum delivery_outcome outcome;
	} cases[] = {
		{ "no greeting", { "=\nX\n" }, .status = ERR_AGAIN },
		{ "no word to MAIL", { HELLO "<MAIL\n=\nX\n" }, .status = ERR_AGAIN },
		{ "no word to DATA", { HELLO MAIL RCPT "<DATA\n=\nX\n" }, .status = ERR_AGAIN },
		{ "its end was sent", { HELLO MAIL RCPT "<DATA\n354 go\n<.\n=\n250 2.0.0 mine\n<QUIT\n221 bye\n" }, .goes_on = true, .outcome = DELIVERY_DONE },
		{ "its end was sent, in vain", { HELLO MAIL RCPT "<DATA\n354 go\n<.\n=\nX\n" }, .outcome = DELIVERY_DEFERRED },
		{ "half of it was sent", { HELLO MAIL RCPT "<DATA\n354 go\n=\nX\n" }, .is_large = true, .status = ERR_AGAIN },
	};

	EACH(cases, c) {
		CLEANUP(fd_close) int fd = c->is_large ? file_of(SIZE) : -1;
		struct world w;
		struct send_recipient bob = { .address = STR("bob@x") };
		struct send s = c->is_large ? message_in(fd, SIZE, &bob) : message_to(&bob, 1);

		print_message("%s\n", c->name);
		setup(&w, c->scripts);
		w.outbound->settings.ending_ms = 2 * WAIT_MS;
		ask_in_vain(&w, &s, WAIT_MS);
		for (int64_t until = clock_mono_ms() + WAIT_MS; !w.server.is_waiting && clock_mono_ms() < until;)
			loop_once(w.loop, 10);
		end_sends(&w);
		if (c->status == ERR_AGAIN && !c->is_large)
			wait_for_answer(&w);
		EXPECT(w.is_answered == (c->status == ERR_AGAIN && !c->is_large));
		if (c->goes_on)
			w.server.goes_on = true;
		else
			outbound_ending_over(w.outbound);
		wait_for_answer(&w);
		EXPECT_ERR(w.status, c->status);
		if (c->status == ERR_OK) {
			EXPECT_INT(w.answer.results[0].outcome, c->outcome);
			EXPECT_INT(w.answer.results[0].is_unsure, c->outcome == DELIVERY_DEFERRED);
			sent(&w, 7);
		}
		ask_and_hear(&w, &s, ERR_AGAIN);  /* nothing more is taken */
		w.server.goes_on = true;
		teardown(&w);
	}
}
