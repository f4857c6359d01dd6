/* What becomes of a SEND: every end a server can put to it, and which connection carries what. */
#include "deliver/outbound_private.h"
#include "deliver/outbound_test.h"
#include <sys/resource.h>

TEST(outcomes)
{
	static const struct {
		const char *name, *scripts[3];
		enum delivery_outcome outcome;
		const char *status, *text;    /* text: contained in it */
		enum send_feedback feedback;
		bool is_unsure;
	} cases[] = {
		{ "taken", { HELLO MAIL RCPT DATA "<QUIT\n221 bye\n" }, DELIVERY_DONE, "2.0.0", "250 2.0.0 queued as 1", SEND_GOOD },
		{ "no such user", { HELLO MAIL "<RCPT TO\n550-5.1.1 no\n550 5.1.1 such user\n<QUIT\n221 bye\n" }, DELIVERY_REFUSED, "5.1.1", "550 5.1.1 no\nsuch user",
		  SEND_GOOD },
		{ "greylisted", { HELLO MAIL "<RCPT TO\n450 4.7.1 later\n<QUIT\nX\n" }, DELIVERY_DEFERRED, "4.7.1", "450 4.7.1 later", SEND_GOOD },
		{ "drops after the end", { HELLO MAIL RCPT "<DATA\n354 go\n<.\nX\n" }, DELIVERY_DEFERRED, "4.4.2", "may have arrived", SEND_GOOD, true },
		{ "busy", { "421 4.3.2 too busy\nX\n" }, DELIVERY_DEFERRED, "4.3.2", "421 4.3.2 too busy", SEND_BUSY },
		{ "blocked", { "554 5.7.1 blocked using list\nX\n" }, DELIVERY_REFUSED, "5.7.1", "blocked using list", SEND_BUSY },
		{ "sender not now", { HELLO "<MAIL\n451 4.3.0 no disk\n<QUIT\n221 bye\n" }, DELIVERY_DEFERRED, "4.3.0", "451 4.3.0 no disk", SEND_BUSY },
		{ "too large", { "220 p\n<EHLO\n250-p\n250 SIZE 20\n<QUIT\n221 bye\n" }, DELIVERY_REFUSED, "5.3.4", "takes 20 at most", SEND_GOOD },
		{ "not SMTP", { "SSH-2.0-x\nX\n" }, DELIVERY_DEFERRED, "4.5.0", "does not speak SMTP", SEND_UNREACHABLE },
		{ "STARTTLS that is none, then in clear", { "220 p\n<EHLO\n250-p\n250 STARTTLS\n<STARTTLS\n220 go\nX\n", HELLO MAIL RCPT DATA "<QUIT\n221 bye\n" },
		  DELIVERY_DONE, "2.0.0", "queued", SEND_GOOD },
		{ "STARTTLS that is none, and not without it", { "220 p\n<EHLO\n250-p\n250 STARTTLS\n<STARTTLS\n220 go\nX\n",
		                                                 HELLO "<MAIL\n530 5.7.0 Must issue a STARTTLS command first\n<QUIT\n221 bye\n" },
		  DELIVERY_DEFERRED, "4.4.1", "530 5.7.0 Must issue", SEND_BUSY },
		{ "STARTTLS not now, and not without it", { "220 p\n<EHLO\n250-p\n250 STARTTLS\n<STARTTLS\n454 4.7.0 not now\n"
		                                            "<MAIL\n530 5.7.0 Must issue a STARTTLS command first\n<QUIT\n221 bye\n" },
		  DELIVERY_DEFERRED, "4.4.1", "530 5.7.0 Must issue", SEND_BUSY },
		{ "a login is wanted", { HELLO "<MAIL\n530 5.7.0 Authentication required\n<QUIT\n221 bye\n" }, DELIVERY_REFUSED, "5.7.0", "530 5.7.0", SEND_GOOD },
	};

	EACH(cases, c) {
		struct world w;
		struct send_recipient bob = { .address = STR("bob@x") };
		struct send s = message_to(&bob, 1);

		print_message("%s\n", c->name);
		setup(&w, c->scripts);
		ask(&w, &s);
		EXPECT_INT(w.answer.results[0].outcome, c->outcome);
		EXPECT_STR(w.answer.results[0].status, c->status);
		EXPECT(str_find(w.answer.results[0].text, str_of(c->text)) >= 0);
		EXPECT_INT(w.answer.feedback, c->feedback);
		EXPECT_INT(w.answer.results[0].is_unsure, c->is_unsure);
		EXPECT_STR(w.answer.results[0].host, "[127.0.0.1]");
		sent(&w, 7);
		teardown(&w);
		if (c->outcome == DELIVERY_DONE)
			EXPECT(strstr(w.server.seen[w.server.connections - 1], "DKIM-Signature: x\r\nSubject: hello\r\n\r\n..dot\r\n.\r\n") != NULL);
	}
}

/* DELIVERBY: who does not know it gets nothing that might have to come back (R), and everything else. */
TEST(deadlines)
{
	static const struct {
		const char *offers;
		enum envelope_by by;
		int seconds;
		enum delivery_outcome outcome;
		const char *status;
		bool passed;
	} cases[] = {
		{ "250 DELIVERBY", ENVELOPE_BY_RETURN, 3600, DELIVERY_DONE, "2.0.0", true },
		{ "250 DELIVERBY 600", ENVELOPE_BY_RETURN, 3600, DELIVERY_DONE, "2.0.0", true },
		{ "250 DELIVERBY 7200", ENVELOPE_BY_RETURN, 3600, DELIVERY_REFUSED, "5.4.7" },
		{ "250 DELIVERBY", ENVELOPE_BY_RETURN, -1, DELIVERY_REFUSED, "5.4.7" },
		{ "250 HELP", ENVELOPE_BY_RETURN, 3600, DELIVERY_REFUSED, "5.3.3" },
		{ "250 HELP", ENVELOPE_BY_NOTIFY, 3600, DELIVERY_DONE, "2.0.0", false },
		{ "250 DELIVERBY", ENVELOPE_BY_NOTIFY, -60, DELIVERY_DONE, "2.0.0", true },
	};

	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		bool goes = c->outcome == DELIVERY_DONE;
		const char *scripts[2] = { str_cstr(&a, arena_printf(&a, "220 p\n<EHLO\n250-p\n%s\n%s", c->offers, goes ? MAIL RCPT DATA "<QUIT\n221 bye\n" : "<QUIT\n221 bye\n")) };
		struct world w;
		struct send_recipient bob = { .address = STR("bob@x") };
		struct send s = message_to(&bob, 1);

		s.wishes = (struct envelope_wishes){ .deliver_by = clock_wall_s() + c->seconds, .by = c->by };
		setup(&w, scripts);
		ask(&w, &s);
		EXPECT_INT(w.answer.results[0].outcome, c->outcome);
		EXPECT_STR(w.answer.results[0].status, c->status);
		EXPECT(w.answer.results[0].has_passed_by == c->passed);
		sent(&w, 7);
		teardown(&w);
		if (c->passed)
			EXPECT(strstr(w.server.seen[0], c->by == ENVELOPE_BY_RETURN ? " BY=3" : " BY=-6") != NULL);  /* 3600 or 3599 */
	}
}

/* REQUIRETLS at a host that was set up by hand: no TLS there is a reason for this message to come back, and none for others. */
TEST(requires_tls)
{
	const char *scripts[] = { "220 p\n<EHLO\n250-p\n250 REQUIRETLS\nX\n", NULL };
	struct world w;
	struct send_recipient bob = { .address = STR("bob@x") };
	struct send s = message_to(&bob, 1);

	s.wishes.tls = ENVELOPE_TLS_REQUIRED;
	setup(&w, scripts);
	s.route = (struct route){ .host = STR("127.0.0.1"), .port = w.server.port, .tls = ROUTE_TLS_MAY, .login = STR("") };
	ask(&w, &s);
	EXPECT_INT(w.answer.results[0].outcome, DELIVERY_REFUSED);
	EXPECT_STR(w.answer.results[0].status, "5.7.10");
	EXPECT_INT(w.answer.feedback, SEND_GOOD);
	sent(&w, 7);
	teardown(&w);
}

/* What tells of such a message goes all the same: lost, it would tell nobody (RFC 8689 §5). */
TEST(a_bounce_of_what_required_tls)
{
	const char *scripts[] = { HELLO "<MAIL FROM:<>\n250 ok\n" RCPT DATA "<QUIT\n221 bye\n", NULL };
	struct world w;
	struct send_recipient bob = { .address = STR("bob@x") };
	struct send s = message_to(&bob, 1);

	s.sender = STR("");
	s.wishes.tls = ENVELOPE_TLS_REQUIRED;
	setup(&w, scripts);
	ask(&w, &s);
	EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DONE);
	EXPECT(strstr(w.server.seen[0], "REQUIRETLS") == NULL);
	sent(&w, 7);
	teardown(&w);
}

/* A server without 8BITMIME: encoded and without the signature; one that has it, or is given ASCII: as it is. */
TEST(eight_bit_text)
{
	static const struct {
		const char *name, *offers, *body;
		const char *data;      /* what the server sees; NULL: it comes back with 5.6.3 and */
		const char *text;
		bool smtputf8;
	} cases[] = {
		{ "encoded", "220 p\n<EHLO\n250-p\n250 SIZE 1000\n", "MIME-Version: 1.0\r\n\r\ncaf\xc3\xa9 au lait\r\n",
		  "SIZE=85\r\nRCPT TO:<bob@x>\r\nDATA\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9 au lait\r\n.\r\n", "" },
		{ "HELO", "220 p\n<EHLO\n502 what?\n<HELO\n250 p\n", "MIME-Version: 1.0\r\n\r\ncaf\xc3\xa9 au lait\r\n", "caf=C3=A9 au lait\r\n.\r\n", "" },
		{ "8BITMIME", "220 p\n<EHLO\n250-p\n250 8BITMIME\n", "MIME-Version: 1.0\r\n\r\ncaf\xc3\xa9 au lait\r\n",
		  "BODY=8BITMIME\r\nRCPT TO:<bob@x>\r\nDATA\r\nDKIM-Signature: x\r\nMIME-Version: 1.0\r\n\r\ncaf\xc3\xa9 au lait\r\n.\r\n", "" },
		{ "SMTPUTF8 alone", "220 p\n<EHLO\n250-p\n250 SMTPUTF8\n", "Subject: caf\xc3\xa9\r\n\r\nx\r\n", "Subject: caf\xc3\xa9\r\n", "", true },
		{ "ASCII", HELLO, "Content-Transfer-Encoding: 8bit\r\n\r\nx\r\n", "DKIM-Signature: x\r\nContent-Transfer-Encoding: 8bit\r\n\r\nx\r\n.\r\n", "" },
		{ "in the header", HELLO, "Subject: caf\xc3\xa9\r\n\r\nx\r\n", NULL, "the header of the message" },
		{ "signed", HELLO, "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xe9\r\n--b--\r\n", NULL, "break the signature" },
	};

	EACH(cases, c) {
		struct world w;
		struct send_recipient bob = { .address = STR("bob@x") };
		struct send s = message_to(&bob, 1);
		CLEANUP(arena_free) struct arena a = { 0 };
		struct str script = arena_printf(&a, "%s%s<QUIT\n221 bye\n", c->offers, c->data ? "<MAIL\n250 ok\n" RCPT DATA : "");
		const char *const scripts[] = { script.p, NULL };

		print_message("%s\n", c->name);
		s.body = str_of(c->body);
		s.size = s.body.n;
		s.body_type = ENVELOPE_8BITMIME;
		s.smtputf8 = c->smtputf8;
		setup(&w, scripts);
		ask(&w, &s);
		EXPECT_STR(w.answer.results[0].status, c->data ? "2.0.0" : "5.6.3");
		EXPECT_INT(w.answer.results[0].outcome, c->data ? DELIVERY_DONE : DELIVERY_REFUSED);
		EXPECT(str_find(w.answer.results[0].text, str_of(c->text)) >= 0);
		sent(&w, 7);
		teardown(&w);
		EXPECT(c->data == NULL || strstr(w.server.seen[0], c->data) != NULL);
	}
}

/* An alias leads to an address beyond ASCII, which who wrote to the alias knew nothing of: only a server with SMTPUTF8 is told it (RFC 6531
 * §3.4); the others get the message for those whose address they can read, and as it is. */
TEST(an_address_beyond_ascii)
{
	static const struct { const char *offers, *talk; bool is_taken; } cases[] = {
		{ "250-p\n250 SMTPUTF8\n", "<MAIL FROM:<alice@me.test> SMTPUTF8\n250 ok\n" RCPT "<RCPT TO:<jos\xc3\xa9@x>\n250 ok\n" DATA, true },
		{ "250 p\n", MAIL RCPT DATA, false },
	};

	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct send_recipient people[] = { { .address = STR("bob@x") }, { .address = STR("jos\xc3\xa9@x") } };
		const char *const scripts[] = { str_cstr(&a, arena_printf(&a, "220 p\n<EHLO\n%s%s<QUIT\n221 bye\n", c->offers, c->talk)), NULL };
		struct world w;
		struct send s = message_to(people, 2);

		setup(&w, scripts);
		ask(&w, &s);
		EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DONE);
		EXPECT_INT(w.answer.results[1].outcome, c->is_taken ? DELIVERY_DONE : DELIVERY_REFUSED);
		EXPECT_STR(w.answer.results[1].status, c->is_taken ? "2.0.0" : "5.6.7");
		sent(&w, 7);
		teardown(&w);
		EXPECT((strstr(w.server.seen[0], "jos\xc3\xa9") != NULL) == c->is_taken);
	}
}

/* In a file; and sent twice, for the recipient that was too many at first: encoded from its beginning again. */
TEST(eight_bit_text_in_a_file)
{
	static const char *const scripts[] = { HELLO MAIL "<RCPT TO:<bob@x>\n250 ok\n<RCPT TO:<eve@x>\n452 4.5.3 too many\n" DATA
	                                       MAIL "<RCPT TO:<eve@x>\n250 ok\n" DATA "<QUIT\n221 bye\n", NULL };
	struct send_recipient people[] = { { .address = STR("bob@x") }, { .address = STR("eve@x") } };
	struct str body = STR("MIME-Version: 1.0\r\n\r\ncaf\xc3\xa9 au lait\r\n");
	char name[] = "/tmp/outbound_test.XXXXXX";
	CLEANUP(fd_close) int fd = mkstemp(name);
	struct world w;
	struct send s = message_to(people, 2);

	EXPECT(fd >= 0 && unlink(name) == 0 && write(fd, body.p, body.n) == (ssize_t)body.n);
	s.body = STR_NONE;
	s.size = body.n;
	s.fd = fd;
	s.body_type = ENVELOPE_8BITMIME;
	setup(&w, scripts);
	ask(&w, &s);
	EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DONE);
	EXPECT_INT(w.answer.results[1].outcome, DELIVERY_DONE);
	sent(&w, 7);
	teardown(&w);
	const char *first = strstr(w.server.seen[0], "\r\n\r\ncaf=C3=A9 au lait\r\n.\r\n");
	EXPECT(first != NULL && strstr(first + 1, "\r\n\r\ncaf=C3=A9 au lait\r\n.\r\n") != NULL);
}

TEST(partial_refusal)
{
	static const char *const scripts[] = { HELLO MAIL RCPT "<RCPT TO:<eve@x>\n550 5.1.1 who?\n<RCPT TO:<dan@x>\n452 4.2.2 full\n" DATA
	                                       "<MAIL FROM\n250 ok\n<RCPT TO:<dan@x>\n452 4.2.2 still full\n<QUIT\n221 bye\n", NULL };
	struct send_recipient people[] = { { .address = STR("bob@x") }, { .address = STR("eve@x") }, { .address = STR("dan@x") } };
	struct world w;
	struct send s = message_to(people, 3);

	setup(&w, scripts);
	ask(&w, &s);
	EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DONE);
	EXPECT_INT(w.answer.results[1].outcome, DELIVERY_REFUSED);
	EXPECT_INT(w.answer.results[2].outcome, DELIVERY_DEFERRED);
	EXPECT_STR(w.answer.results[2].status, "4.2.2");
	sent(&w, 7);
	teardown(&w);
}

/* A server that takes one recipient at a time, and goes away before the second: the first one has the message, and must not get it
 * again over another connection. */
TEST(no_second_copy)
{
	static const char *const ends[] = { "<MAIL\n421 4.3.2 enough\nX\n", "<MAIL\nX\n" };

	EACH(ends, end) {
		char script[1000];
		const char *scripts[] = { script, HELLO MAIL RCPT DATA "<QUIT\n221 bye\n", NULL };
		struct send_recipient people[] = { { .address = STR("bob@x") }, { .address = STR("dan@x") } };
		struct world w;
		struct send s = message_to(people, 2);

		for (int is_reused = 0; is_reused <= 1; is_reused++) {
			snprintf(script, sizeof(script), "220 p\n<EHLO\n250-p\n250 LIMITS RCPTMAX=1\n%s" MAIL RCPT DATA "%s",
			         is_reused ? MAIL RCPT DATA : "", *end);
			setup(&w, scripts);
			if (is_reused) {
				s.n = 1;
				ask(&w, &s);
				sent(&w, 7);
				s.n = 2;
			}
			ask(&w, &s);
			EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DONE);
			EXPECT_INT(w.answer.results[1].outcome, DELIVERY_DEFERRED);
			EXPECT_INT(outbound_connections(w.outbound), 0);
			sent(&w, 7);
			teardown(&w);
			EXPECT_INT(w.server.connections, 1);
		}
	}
}

/* One connection for two messages, the second after SENT; and one that was closed meanwhile is no failure. */
TEST(connections_are_kept)
{
	static const char *const scripts[] = { HELLO MAIL RCPT DATA MAIL RCPT DATA "<MAIL\nX\n", HELLO MAIL RCPT DATA "<QUIT\n221 bye\n", NULL };
	struct send_recipient bob = { .address = STR("bob@x") };
	struct world w;
	struct send s = message_to(&bob, 1);

	setup(&w, scripts);
	for (uint64_t i = 1; i <= 3; i++) {
		s.number = i;
		ask(&w, &s);
		EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DONE);
		EXPECT_INT(w.answer.n_attempts, 0);
		EXPECT_INT(outbound_connections(w.outbound), 1);
		sent(&w, i);
	}
	teardown(&w);
	EXPECT_INT(w.server.connections, 2);
}

/* "Enough for this connection" is no word about the next one. */
TEST(enough_for_a_kept_connection)
{
	static const char *const scripts[] = { HELLO MAIL RCPT DATA "<MAIL\n451 4.7.0 too many messages\n<QUIT\n221 bye\n", HELLO MAIL RCPT DATA "<QUIT\n221 bye\n",
	                                       NULL };
	struct send_recipient bob = { .address = STR("bob@x") };
	struct world w;
	struct send s = message_to(&bob, 1);

	setup(&w, scripts);
	for (uint64_t i = 1; i <= 2; i++) {
		s.number = i;
		ask(&w, &s);
		EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DONE);
		sent(&w, i);
	}
	teardown(&w);
	EXPECT_INT(w.server.connections, 2);
}

/* Before its SENT a connection carries nothing else. */
TEST(not_before_sent)
{
	static const char *const scripts[] = { HELLO MAIL RCPT DATA "<QUIT\n221 bye\n", HELLO MAIL RCPT DATA "<QUIT\n221 bye\n", NULL };
	struct send_recipient bob = { .address = STR("bob@x") };
	struct world w;
	struct send s = message_to(&bob, 1);

	setup(&w, scripts);
	s.number = 1;
	ask(&w, &s);
	outbound_drop_all(w.outbound);  /* as if the queue had died: nothing is left of it */
	EXPECT_INT(outbound_connections(w.outbound), 0);
	s.number = 2;
	ask(&w, &s);
	EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DONE);
	sent(&w, 1);
	EXPECT_INT(outbound_connections(w.outbound), 1);
	sent(&w, 2);
	teardown(&w);
}

TEST(nobody_there)
{
	static const char *const scripts[] = { NULL };
	struct send_recipient bob = { .address = STR("bob@x") };
	struct world w;
	struct send s = message_to(&bob, 1);

	setup(&w, scripts);
	struct outbound_settings settings = outbound_defaults;
	settings.hostname = STR("me.test");
	settings.port = 1;
	outbound_configure(w.outbound, &settings);
	ask(&w, &s);
	EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DEFERRED);
	EXPECT_STR(w.answer.results[0].status, "4.4.1");
	EXPECT_INT(w.answer.feedback, SEND_UNREACHABLE);
	EXPECT_INT(w.answer.n_attempts, 1);
	s.destination = STR("[127.0.0.x]");
	ask(&w, &s);
	EXPECT_INT(w.answer.results[0].outcome, DELIVERY_REFUSED);
	EXPECT_STR(w.answer.results[0].status, "5.1.3");
	teardown(&w);
}

/* One connection at a time, kept for so long. */
static void allow_one(struct world *w, int keep_ms)
{
	struct outbound_settings settings = outbound_defaults;

	settings.hostname = STR("me.test");
	settings.port = w->server.port;
	settings.connections_max = 1;
	settings.keep_ms = keep_ms;
	outbound_configure(w->outbound, &settings);
}

/* None left here: the message waits, and the destination is not taken for unreachable. */
TEST(no_descriptors)
{
	static const char *const scripts[] = { NULL };
	struct send_recipient bob = { .address = STR("bob@x") };
	struct send s = message_to(&bob, 1);
	struct rlimit usual, few;
	struct world w;

	setup(&w, scripts);
	EXPECT_INT(getrlimit(RLIMIT_NOFILE, &usual), 0);
	few = usual;
	few.rlim_cur = 3;
	EXPECT_INT(setrlimit(RLIMIT_NOFILE, &few), 0);
	ask(&w, &s);
	EXPECT_INT(setrlimit(RLIMIT_NOFILE, &usual), 0);
	EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DEFERRED);
	EXPECT_STR(w.answer.results[0].status, "4.3.1");
	EXPECT_INT(w.answer.feedback, SEND_GOOD);
	sent(&w, 7);
	teardown(&w);
}

/* Gone while a thread still plans how to encode it: nobody waits for the plan, and nothing of it is left. */
TEST(a_plan_that_nobody_waits_for)
{
	enum { SIZE = 8 << 20 };
	static const char *const scripts[] = { "220 p\n<EHLO\n250 p\n=\nX\n", NULL };
	struct send_recipient bob = { .address = STR("bob@x") };
	CLEANUP(fd_close) int fd = file_of(SIZE);
	struct world w;
	struct send s = message_in(fd, SIZE, &bob);

	s.body_type = ENVELOPE_8BITMIME;
	setup(&w, scripts);
	begin_to_ask(&w, &s, SEND_TIMEOUT_MS);
	for (int64_t until = clock_mono_ms() + WAIT_MS; !(w.outbound->jobs && w.outbound->jobs->plan) && clock_mono_ms() < until;)
		loop_once(w.loop, 10);
	EXPECT(w.outbound->jobs && w.outbound->jobs->plan);
	outbound_drop_all(w.outbound);
	w.server.goes_on = true;
	teardown(&w);
}

/* However fast a server takes a large message, the others have their turns. */
TEST(large_message_takes_turns)
{
	enum { SIZE = 1 << 20, TURN_MAX = 300 << 10 };
	static const char *const scripts[] = { HELLO MAIL RCPT DATA "<QUIT\n221 bye\n", NULL };
	struct send_recipient bob = { .address = STR("bob@x") };
	CLEANUP(fd_close) int fd = file_of(SIZE);
	struct world w;
	struct send s = message_in(fd, SIZE, &bob);
	uint64_t most = 0;

	setup(&w, scripts);
	begin_to_ask(&w, &s, SEND_TIMEOUT_MS);
	for (int64_t until = clock_mono_ms() + WAIT_MS; !w.is_answered && clock_mono_ms() < until;) {
		uint64_t before = w.outbound->connections ? w.outbound->connections->stream.bytes_out : 0;
		loop_once(w.loop, 10);
		uint64_t turn = w.outbound->connections ? w.outbound->connections->stream.bytes_out - before : 0;
		most = turn > most ? turn : most;
	}
	EXPECT(w.is_answered && w.answer.results[0].outcome == DELIVERY_DONE);
	EXPECT(most > 0 && most <= TURN_MAX);
	sent(&w, 7);
	teardown(&w);
}

/* A server that takes a message in drops makes progress all the time, and would keep its connection for ever. */
TEST(drop_by_drop)
{
	enum { SIZE = 16 << 20, LONG_MS = 1000000000 };
	static const char *const scripts[] = { HELLO MAIL RCPT "<DATA\n354 go\n~\n", NULL };
	struct send_recipient bob = { .address = STR("bob@x") };
	CLEANUP(fd_close) int fd = file_of(SIZE);
	struct world w;
	struct send s = message_in(fd, SIZE, &bob);

	setup(&w, scripts);
	begin_to_ask(&w, &s, SEND_TIMEOUT_MS);
	for (int64_t until = clock_mono_ms() + WAIT_MS; !w.is_answered && clock_mono_ms() < until;) {
		loop_once(w.loop, 10);
		if (w.outbound->connections && w.outbound->connections->content_ms > 0)
			w.outbound->connections->content_ms = clock_mono_ms() - LONG_MS;  /* so long it has gone on already */
	}
	EXPECT(w.is_answered && w.answer.results[0].outcome == DELIVERY_DEFERRED);
	EXPECT(str_find(w.answer.results[0].text, STR("the server takes the message too slowly")) >= 0);
	teardown(&w);
}

/* CHUNKING is offered, BDAT not known: DATA over another connection, and from then on at once. */
TEST(bdat_that_nobody_knows)
{
	static const char *const scripts[] = { "220 p\n<EHLO\n250-p\n250 CHUNKING\n" MAIL RCPT "<BDAT\n502 5.5.1 what?\n<x\n",
	                                       "220 p\n<EHLO\n250-p\n250 CHUNKING\n" MAIL RCPT DATA "<QUIT\n221 bye\n",
	                                       "220 p\n<EHLO\n250-p\n250 CHUNKING\n" MAIL RCPT DATA "<QUIT\n221 bye\n", NULL };
	struct send_recipient bob = { .address = STR("bob@x") };
	struct world w;
	struct send s = message_to(&bob, 1);

	setup(&w, scripts);
	allow_one(&w, 0);
	for (uint64_t i = 0; i < 2; i++) {
		s.number = i;
		ask(&w, &s);
		EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DONE);
		EXPECT_INT(w.answer.n_attempts, 0);
		sent(&w, i);
	}
	teardown(&w);
	EXPECT_INT(w.server.connections, 3);
}

/* More SENDs than connections may be open: the second waits, and gets the connection when its message is on disk. */
TEST(waiting_for_room)
{
	static const char *const scripts[] = { HELLO MAIL RCPT DATA MAIL RCPT DATA "<QUIT\n221 bye\n", NULL };
	struct send_recipient bob = { .address = STR("bob@x") };
	struct world w;
	struct send s = message_to(&bob, 1);

	setup(&w, scripts);
	allow_one(&w, outbound_defaults.keep_ms);
	s.number = 1;
	ask(&w, &s);
	s.number = 2;
	ask_in_vain(&w, &s, SEND_TIMEOUT_MS);
	sent(&w, 1);
	wait_for_answer(&w);
	EXPECT(w.answer.results[0].outcome == DELIVERY_DONE);
	sent(&w, 2);
	teardown(&w);
	EXPECT_INT(w.server.connections, 1);
}

/* What waited so long that the queue has given it up, and sends it again, does not go out any more. */
TEST(not_when_it_is_late)
{
	static const char *const scripts[] = { HELLO MAIL RCPT DATA "<QUIT\n221 bye\n", NULL };
	struct send_recipient bob = { .address = STR("bob@x") };
	struct world w;
	struct send s = message_to(&bob, 1);

	setup(&w, scripts);
	allow_one(&w, 0);
	s.number = 1;
	ask(&w, &s);
	s.number = 2;
	ask_in_vain(&w, &s, 2 * SEND_TIMEOUT_MS);
	clock_mono_advance(outbound_defaults.send_ms);
	sent(&w, 1);
	wait_for_answer(&w);
	EXPECT(w.answer.results[0].outcome == DELIVERY_DEFERRED);
	EXPECT_STR(w.answer.results[0].status, "4.4.1");
	teardown(&w);
	EXPECT_INT(w.server.connections, 1);
	EXPECT(strstr(w.server.seen[0], "MAIL FROM") != NULL && strstr(strstr(w.server.seen[0], "MAIL FROM") + 1, "MAIL FROM") == NULL);
}

/* A server that makes progress, but so slowly that it would never end: its time is over with that of the SEND. */
TEST(not_for_ever)
{
	static const char *const scripts[] = { "220 p\n<EHLO\n250 p\n<MAIL\n<QUIT\n", NULL };
	struct send_recipient bob = { .address = STR("bob@x") };
	struct world w;
	struct send s = message_to(&bob, 1);

	setup(&w, scripts);
	struct outbound_settings settings = outbound_defaults;
	settings.hostname = STR("me.test");
	settings.port = w.server.port;
	settings.send_ms = 100;
	outbound_configure(w.outbound, &settings);
	ask(&w, &s);
	EXPECT_INT(w.answer.results[0].outcome, DELIVERY_DEFERRED);
	EXPECT_INT(outbound_connections(w.outbound), 0);
	teardown(&w);
}
