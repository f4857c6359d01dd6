/* A sender against peers out of a script. A line of a script is what the sender is to say ("C: ", up to its CRLF) or what the peer says
 * ("S: "); "C* TEXT" eats what is there and looks for TEXT in it; "X" closes cleanly, "R" with a reset, "T" is a handshake. */
#include "smtp/sender.h"
#include "base/buf.h"
#include "base/test.h"

struct peer {
	struct smtp_sender *s;
	struct buf said;      /* by the sender, not yet looked at */
	struct str body;
};

static void pull(struct peer *p)
{
	for (struct str out; (out = smtp_sender_output(p->s)).n > 0;) {
		size_t n = out.n > 7 ? 7 : out.n;  /* in small pieces */
		buf_add(&p->said, str_sub(out, 0, n));
		smtp_sender_wrote(p->s, n);
	}
}

static void expect_said(struct peer *p, struct str line)
{
	pull(p);
	struct str said = buf_str(&p->said);
	if (!str_starts(said, line) || !str_starts(str_from(said, line.n), STR("\r\n"))) {
		print_error("want '" STR_FMT "', said '" STR_FMT "'\n", STR_ARG(line), STR_ARG(said));
		TEST_FAILS();
	}
	buf_drop_front(&p->said, line.n + 2);
}

static void run(struct peer *p, const char *script)
{
	struct str left = str_of(script), line;

	while (left.n > 0) {
		str_cut(left, '\n', &line, &left);
		if (str_starts(line, STR("C: "))) {
			expect_said(p, str_from(line, 3));
		} else if (str_starts(line, STR("C* "))) {
			pull(p);
			EXPECT(str_find(buf_str(&p->said), str_from(line, 3)) >= 0);
			buf_reset(&p->said);
		} else if (str_starts(line, STR("S: "))) {
			pull(p);
			for (size_t i = 3; i < line.n; i++)
				smtp_sender_input(p->s, str_sub(line, i, 1));
			smtp_sender_input(p->s, STR("\r\n"));
		} else if (str_eq(line, STR("T"))) {
			EXPECT_INT(smtp_sender_state(p->s), SMTP_SENDER_STARTTLS);
			smtp_sender_secured(p->s);
		} else {
			pull(p);
			smtp_sender_closed(p->s, STR("the connection was closed"), str_eq(line, STR("X")));
		}
	}
	pull(p);
}

static bool read_body(void *context, uint64_t offset, char *room, size_t n)
{
	memcpy(room, ((struct peer *)context)->body.p + offset, n);
	return true;
}

static const struct smtp_outgoing_recipient people[] = {
	{ .address = { "a@x", 3 }, .notify = SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY, .orcpt = { "rfc822;a+b@x", 12 } },
	{ .address = { "b@x", 3 } }, { .address = { "c@x", 3 } },
};

struct one {
	const char *name, *script;
	size_t      n;          /* recipients */
	const char *results;    /* "D2.0.0 T4.2.0 R5.1.1": done, temporary, refused, each with its status */
	enum smtp_sender_state state;
	enum smtp_stage at;     /* of the last result */
	enum smtp_sender_tls tls;
	bool        is_lmtp;
};

static void check_results(const struct smtp_result *r, size_t n, const char *want)
{
	CLEANUP(buf_free) struct buf b = BUF(1000);

	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s%c" STR_FMT, i ? " " : "", "?DTR"[r[i].outcome], STR_ARG(r[i].status));
	EXPECT_STR(buf_str(&b), want);
}

static void check_one(const struct one *c)
{
	struct smtp_sender_config config = { .hostname = STR("me.test"), .tls = c->tls, .is_lmtp = c->is_lmtp };
	struct peer p = { .s = smtp_sender_new(&config), .said = BUF(1 << 20), .body = STR("Subject: x\r\n\r\n.dot\r\n..\r\n") };
	struct smtp_outgoing m = { .sender = STR("me@me.test"), .body = SMTP_BODY_8BITMIME, .ret = SMTP_RET_HDRS, .envid = STR("q=1"),
	                           .size = p.body.n, .read = read_body, .context = &p, .n = c->n, .recipients = people };
	struct str script = str_of(c->script), hello, rest;
	ptrdiff_t at = str_find(script, STR("--\n"));

	print_message("%s\n", c->name);
	hello = str_sub(script, 0, (size_t)at);
	rest = str_from(script, (size_t)at + 3);
	struct arena a = { 0 };
	run(&p, str_cstr(&a, hello));
	EXPECT_INT(smtp_sender_state(p.s), SMTP_SENDER_READY);
	smtp_sender_begin(p.s, &m);
	run(&p, str_cstr(&a, rest));
	EXPECT_INT(smtp_sender_state(p.s), c->state);
	check_results(smtp_sender_results(p.s), c->n, c->results);
	EXPECT_INT(smtp_sender_results(p.s)[c->n - 1].at, c->at);
	EXPECT_INT(p.said.n, 0);
	if (c->state == SMTP_SENDER_FINISHED) {
		smtp_sender_next(p.s);
		EXPECT_INT(smtp_sender_state(p.s), SMTP_SENDER_READY);
	}
	arena_free(&a);
	buf_free(&p.said);
	smtp_sender_free(p.s);
}

#define HELLO "S: 220 mx.x ESMTP\nC: EHLO me.test\n"
#define PLAIN HELLO "S: 250 mx.x\n--\n"
#define PIPE HELLO "S: 250-mx.x\nS: 250 PIPELINING\n--\n"
#define BDAT HELLO "S: 250-mx.x\nS: 250-PIPELINING\nS: 250 CHUNKING\n--\n"
#define MAIL "C: MAIL FROM:<me@me.test>\n"
#define TEXT "C: Subject: x\nC: \nC: ..dot\nC: ...\nC: .\n"
#define RAW "C: BDAT 24 LAST\nC: Subject: x\nC: \nC: .dot\nC: ..\n"

TEST(messages)
{
	static const struct one cases[] = {
		{ "step by step", PLAIN MAIL "S: 250 ok\nC: RCPT TO:<a@x>\nS: 250 2.1.5 ok\nC: DATA\nS: 354 go\n" TEXT "S: 250 2.0.0 queued\n",
		  1, "D2.0.0", SMTP_SENDER_FINISHED, SMTP_AT_END },
		{ "HELO", "S: 220 x\nC: EHLO me.test\nS: 502 what?\nC: HELO me.test\nS: 250 x\n--\n" MAIL "S: 250 ok\nC: RCPT TO:<a@x>\nS: 250 ok\n"
		  "C: DATA\nS: 354 go\n" TEXT "S: 250 ok\n", 1, "D2.0.0", SMTP_SENDER_FINISHED, SMTP_AT_END },
		{ "all parameters", HELLO "S: 250-mx.x\nS: 250-SIZE 1000\nS: 250-8BITMIME\nS: 250 DSN\n--\n"
		  "C: MAIL FROM:<me@me.test> SIZE=24 BODY=8BITMIME RET=HDRS ENVID=q+3D1\nS: 250 ok\n"
		  "C: RCPT TO:<a@x> NOTIFY=FAILURE,DELAY ORCPT=rfc822;a+2Bb@x\nS: 250 ok\nC: DATA\nS: 354 go\n" TEXT "S: 250 ok\n",
		  1, "D2.0.0", SMTP_SENDER_FINISHED, SMTP_AT_END },
		{ "in a pipeline, partly refused", PIPE MAIL "C: RCPT TO:<a@x>\nC: RCPT TO:<b@x>\nC: RCPT TO:<c@x>\nC: DATA\n"
		  "S: 250 ok\nS: 550 5.1.1 no a\nS: 450 4.2.0 greylisted\nS: 250 ok\nS: 354 go\n" TEXT "S: 250 ok\n",
		  3, "R5.1.1 T4.2.0 D2.0.0", SMTP_SENDER_FINISHED, SMTP_AT_END },
		{ "nobody, and 354 all the same", PIPE MAIL "C: RCPT TO:<a@x>\nC: DATA\nS: 250 ok\nS: 550 no\nS: 354 go\nC: .\nS: 554 nobody\n",
		  1, "R5.0.0", SMTP_SENDER_FINISHED, SMTP_AT_RCPT },
		{ "nobody, no content", PLAIN MAIL "S: 250 ok\nC: RCPT TO:<a@x>\nS: 450 4.7.1 later\n", 1, "T4.7.1", SMTP_SENDER_FINISHED, SMTP_AT_RCPT },
		{ "sender refused", PIPE MAIL "C: RCPT TO:<a@x>\nC: DATA\nS: 550 5.7.1 not you\nS: 503 first MAIL\nS: 503 first MAIL\n",
		  1, "R5.7.1", SMTP_SENDER_FINISHED, SMTP_AT_MAIL },
		{ "one round trip", BDAT MAIL "C: RCPT TO:<a@x>\n" RAW "S: 250 ok\nS: 250 ok\nS: 250 2.6.0 got it\n", 1, "D2.6.0", SMTP_SENDER_FINISHED,
		  SMTP_AT_END },
		{ "one round trip in vain", BDAT MAIL "C: RCPT TO:<a@x>\n" RAW "S: 250 ok\nS: 550 5.1.1 no\nS: 503 no\n", 1, "R5.1.1", SMTP_SENDER_FINISHED,
		  SMTP_AT_RCPT },
		{ "content refused", PLAIN MAIL "S: 250 ok\nC: RCPT TO:<a@x>\nS: 250 ok\nC: DATA\nS: 354 go\n" TEXT "S: 554-5.7.1 spam\nS: 554 5.7.1 http://x\n",
		  1, "R5.7.1", SMTP_SENDER_FINISHED, SMTP_AT_END },
		{ "too many at once", PLAIN MAIL "S: 250 ok\nC: RCPT TO:<a@x>\nS: 250 ok\nC: RCPT TO:<b@x>\nS: 452 4.5.3 too many\nC: RCPT TO:<c@x>\n"
		  "S: 452 4.5.3 too many\nC: DATA\nS: 354 go\n" TEXT "S: 250 ok\n" MAIL "S: 250 ok\nC: RCPT TO:<b@x>\nS: 250 ok\nC: RCPT TO:<c@x>\n"
		  "S: 550 5.1.1 no\nC: DATA\nS: 354 go\n" TEXT "S: 250 2.1.0 ok\n", 3, "D2.0.0 D2.1.0 R5.1.1", SMTP_SENDER_FINISHED, SMTP_AT_RCPT },
		{ "LIMITS", HELLO "S: 250-mx.x\nS: 250-PIPELINING\nS: 250 LIMITS RCPTMAX=2 FOO=1\n--\n" MAIL "C: RCPT TO:<a@x>\nC: RCPT TO:<b@x>\nC: DATA\n"
		  "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\n" TEXT "S: 250 ok\n" MAIL "C: RCPT TO:<c@x>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n" TEXT
		  "S: 250 ok\n", 3, "D2.0.0 D2.0.0 D2.0.0", SMTP_SENDER_FINISHED, SMTP_AT_END },
		{ "421 between", PIPE MAIL "C: RCPT TO:<a@x>\nC: RCPT TO:<b@x>\nC: DATA\nS: 250 ok\nS: 550 5.1.1 no\nS: 421 4.3.2 going down\n",
		  2, "R5.1.1 T4.3.2", SMTP_SENDER_OVER, SMTP_AT_RCPT },
		{ "closed before anything", PLAIN MAIL "X\n", 1, "T4.4.2", SMTP_SENDER_OVER, SMTP_AT_MAIL },
		{ "closed after the end", PLAIN MAIL "S: 250 ok\nC: RCPT TO:<a@x>\nS: 250 ok\nC: DATA\nS: 354 go\n" TEXT "X\n", 1, "T4.4.2", SMTP_SENDER_OVER,
		  SMTP_AT_END },
		{ "a kept connection was closed", BDAT MAIL "C: RCPT TO:<a@x>\n" RAW "X\n", 1, "T4.4.2", SMTP_SENDER_OVER, SMTP_AT_MAIL },
		{ "reset: it may have arrived", BDAT MAIL "C: RCPT TO:<a@x>\n" RAW "R\n", 1, "T4.4.2", SMTP_SENDER_OVER, SMTP_AT_END },
		{ "an answer too many", PLAIN MAIL "S: 250 ok\nC: RCPT TO:<a@x>\nS: 250 ok\nS: 250 ok\nC* DATA\n", 1, "T4.4.2", SMTP_SENDER_OVER, SMTP_AT_DATA },
		{ "not SMTP", PLAIN MAIL "S: HTTP/1.1 400\n", 1, "T4.5.0", SMTP_SENDER_OVER, SMTP_AT_MAIL },
		{ "TLS", HELLO "S: 250-mx.x\nS: 250-CHUNKING\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nT\nC: EHLO me.test\nS: 250 mx.x\n--\n" MAIL "S: 250 ok\n"
		  "C: RCPT TO:<a@x>\nS: 250 ok\nC: DATA\nS: 354 go\n" TEXT "S: 250 ok\n", 1, "D2.0.0", SMTP_SENDER_FINISHED, SMTP_AT_END, SMTP_TLS_MUST },
		{ "no TLS now", HELLO "S: 250-mx.x\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 not now\n--\n" MAIL "S: 550 5.7.0 no\n", 1, "R5.7.0",
		  SMTP_SENDER_FINISHED, SMTP_AT_MAIL },
		{ "TLS not wanted", HELLO "S: 250-mx.x\nS: 250 STARTTLS\n--\n" MAIL "S: 550 5.7.0 no\n", 1, "R5.7.0", SMTP_SENDER_FINISHED, SMTP_AT_MAIL,
		  SMTP_TLS_NEVER },
		{ "LMTP", "S: 220 x\nC: LHLO me.test\nS: 250-x\nS: 250 PIPELINING\n--\n" MAIL "C: RCPT TO:<a@x>\nC: RCPT TO:<b@x>\nC: RCPT TO:<c@x>\nC: DATA\n"
		  "S: 250 ok\nS: 250 ok\nS: 550 5.1.1 no\nS: 250 ok\nS: 354 go\n" TEXT "S: 250 2.0.0 ok\nS: 452 4.2.2 full\n",
		  3, "D2.0.0 R5.1.1 T4.2.2", SMTP_SENDER_FINISHED, SMTP_AT_END, SMTP_TLS_MAY, true },
	};

	EACH(cases, c)
		check_one(c);
}

TEST(no_connection)
{
	static const struct { const char *script, *status; enum smtp_outcome outcome; enum smtp_stage at; enum smtp_sender_tls tls; } cases[] = {
		{ "S: 554 5.7.1 blocked\n", "5.7.1", SMTP_OUTCOME_REFUSED, SMTP_AT_GREETING },
		{ "S: 421 busy\n", "4.0.0", SMTP_OUTCOME_DEFERRED, SMTP_AT_GREETING },
		{ "X\n", "4.4.2", SMTP_OUTCOME_DEFERRED, SMTP_AT_GREETING },
		{ "S: 220 x\nC: EHLO me.test\nS: 451 later\n", "4.0.0", SMTP_OUTCOME_DEFERRED, SMTP_AT_EHLO },
		{ "S: 220 x\nC: EHLO me.test\nS: 250-ME.TEST hello\nS: 250 SIZE\n", "5.4.6", SMTP_OUTCOME_REFUSED, SMTP_AT_EHLO },
		{ "S: 220 x\nC: EHLO me.test\nS: 250 x\n", "4.7.4", SMTP_OUTCOME_DEFERRED, SMTP_AT_STARTTLS, SMTP_TLS_MUST },
	};

	EACH(cases, c) {
		struct smtp_sender_config config = { .hostname = STR("me.test"), .tls = c->tls };
		struct peer p = { .s = smtp_sender_new(&config), .said = BUF(1 << 20) };

		run(&p, c->script);
		EXPECT_INT(smtp_sender_state(p.s), SMTP_SENDER_OVER);
		EXPECT_INT(smtp_sender_failure(p.s)->outcome, c->outcome);
		EXPECT_STR(smtp_sender_failure(p.s)->status, c->status);
		EXPECT_INT(smtp_sender_failure(p.s)->at, c->at);
		buf_free(&p.said);
		smtp_sender_free(p.s);
	}
}

/* RFC 3207 §4.2: words put in before the handshake are not taken for words of after it. */
TEST(injection_before_tls)
{
	struct smtp_sender_config config = { .hostname = STR("me.test") };
	struct smtp_sender *s = smtp_sender_new(&config);

	smtp_sender_input(s, STR("220 x\r\n"));
	smtp_sender_input(s, STR("250-x\r\n250 STARTTLS\r\n"));
	smtp_sender_input(s, STR("220 go\r\n250 injected\r\n"));
	EXPECT_INT(smtp_sender_state(s), SMTP_SENDER_OVER);
	EXPECT_STR(smtp_sender_failure(s)->status, "4.7.0");
	smtp_sender_free(s);
}

/* What the postmaster reads in the queue says what really was waited for. */
TEST(words_of_what_was_going_on)
{
	static const struct { const char *script, *text; } cases[] = {
		{ "S: 220 x\nC: EHLO me.test\nX\n", "the connection was closed (waiting for the answer to EHLO)" },
		{ "S: 220 x\nC: EHLO me.test\nS: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nX\n", "the connection was closed (in the TLS handshake)" },
		{ "S: 220 x\nC: EHLO me.test\nS: 250 x\nS: 250 ok\n", "the server answered before it was asked: \"250 ok\"" },
	};

	EACH(cases, c) {
		struct smtp_sender_config config = { .hostname = STR("me.test") };
		struct peer p = { .s = smtp_sender_new(&config), .said = BUF(1 << 20) };

		run(&p, c->script);
		EXPECT_STR(smtp_sender_failure(p.s)->text, c->text);
		buf_free(&p.said);
		smtp_sender_free(p.s);
	}
}

TEST(second_message_and_reset)
{
	struct smtp_sender_config config = { .hostname = STR("me.test") };
	struct peer p = { .s = smtp_sender_new(&config), .said = BUF(1 << 20), .body = STR("x\r\n") };
	struct smtp_outgoing m = { .sender = STR(""), .size = 3, .read = read_body, .context = &p, .n = 1, .recipients = people };

	run(&p, "S: 220 x\nC: EHLO me.test\nS: 250-x\nS: 250-LIMITS MAILMAX=3\nS: 250 PIPELINING\n");
	smtp_sender_begin(p.s, &m);
	run(&p, "C: MAIL FROM:<>\nC: RCPT TO:<a@x>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: x\nC: .\nS: 250 ok\n");
	smtp_sender_next(p.s);
	smtp_sender_begin(p.s, &m);  /* straight on after one that went through */
	run(&p, "C: MAIL FROM:<>\nC: RCPT TO:<a@x>\nC: DATA\nS: 250 ok\nS: 550 no\nS: 503 nobody\n");
	EXPECT_INT(smtp_sender_state(p.s), SMTP_SENDER_FINISHED);
	smtp_sender_next(p.s);
	smtp_sender_begin(p.s, &m);  /* after one that did not: RSET */
	run(&p, "C: RSET\nC: MAIL FROM:<>\nC: RCPT TO:<a@x>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: x\nC: .\nS: 250 ok\n");
	EXPECT_INT(smtp_sender_results(p.s)[0].outcome, SMTP_OUTCOME_DONE);
	smtp_sender_next(p.s);
	run(&p, "C: QUIT\nS: 221 bye\n");  /* MAILMAX */
	EXPECT_INT(smtp_sender_state(p.s), SMTP_SENDER_OVER);
	buf_free(&p.said);
	smtp_sender_free(p.s);
}

/* To who knows them, and to nobody else. */
TEST(wishes)
{
	static const struct { const char *offers, *mail; enum smtp_by by; bool traces, passed; int64_t by_s; int priority; } cases[] = {
		{ "S: 250-DELIVERBY\nS: 250 MT-PRIORITY MIXER\n", "C: MAIL FROM:<> BY=60;RT MT-PRIORITY=-4\n", SMTP_BY_RETURN, true, true, 60, -4 },
		{ "S: 250-DELIVERBY 20,X\nS: 250 REQUIRETLS\n", "C: MAIL FROM:<> REQUIRETLS BY=-999999999;N\n", SMTP_BY_NOTIFY, false, true, INT64_MIN / 2, 3 },
		{ "S: 250 MT-PRIORITY\n", "C: MAIL FROM:<> MT-PRIORITY=9\n", SMTP_BY_NOTIFY, false, false, 60, 9 },
		{ "S: 250-DELIVERBY\nS: 250 MT-PRIORITY\n", "C: MAIL FROM:<>\n", SMTP_BY_NOTHING, false, false, 0, 0 },
		{ "S: 250 HELP\n", "C: MAIL FROM:<>\n", SMTP_BY_RETURN, true, false, 60, 9 },
	};

	EACH(cases, c) {
		struct smtp_sender_config config = { .hostname = STR("me.test") };
		struct peer p = { .s = smtp_sender_new(&config), .said = BUF(1 << 20), .body = STR("x\r\n") };
		struct smtp_outgoing m = { .sender = STR(""), .size = 3, .read = read_body, .context = &p, .n = 1, .recipients = people, .requiretls = true,
			                       .by = c->by, .by_traces = c->traces, .by_s = c->by_s, .priority = c->priority };
		run(&p, HELLO "S: 250-x\n");
		run(&p, c->offers);
		smtp_sender_begin(p.s, &m);
		run(&p, c->mail);
		run(&p, "S: 250 ok\nC: RCPT TO:<a@x>\nS: 250 ok\nC: DATA\nS: 354 go\nC: x\nC: .\nS: 250 ok\n");
		EXPECT_INT(smtp_sender_results(p.s)[0].outcome, SMTP_OUTCOME_DONE);
		EXPECT(smtp_sender_results(p.s)[0].passed_by == c->passed);
		EXPECT_INT(smtp_sender_offers(p.s)->by_min, str_find(str_of(c->offers), STR("20,X")) >= 0 ? 20 : 0);
		buf_free(&p.said);
		smtp_sender_free(p.s);
	}
}

/* AGFsaWNlAHNlc2FtZQ==: NUL alice NUL sesame. Without TLS only where it was said to be safe; whatever fails is for later. */
TEST(logins)
{
	static const char secret[] = "sesame";
	static char long_secret[400];
	static const struct { const char *name, *script, *status, *text; bool in_clear, is_long; enum smtp_sender_tls tls; } cases[] = {
		{ "PLAIN", HELLO "S: 250-x\nS: 250 AUTH LOGIN PLAIN X\nC: AUTH PLAIN AGFsaWNlAHNlc2FtZQ==\nS: 235 2.7.0 welcome\n", NULL, NULL, true },
		{ "as it was written once", HELLO "S: 250-x\nS: 250 AUTH=PLAIN\nC: AUTH PLAIN AGFsaWNlAHNlc2FtZQ==\nS: 235 welcome\n", NULL, NULL, true },
		{ "LOGIN", HELLO "S: 250-x\nS: 250 AUTH LOGIN\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YWxpY2U=\nS: 334 UGFzc3dvcmQ6\nC: c2VzYW1l\nS: 235 ok\n",
		  NULL, NULL, true },
		{ "long", HELLO "S: 250-x\nS: 250 AUTH PLAIN\nC: AUTH PLAIN\nS: 334 \nC* AGFsaWNlAHh4eHh4\nS: 235 ok\n", NULL, NULL, true, true },
		{ "over TLS", HELLO "S: 250-x\nS: 250-AUTH LOGIN\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nT\nC: EHLO me.test\nS: 250-x\nS: 250 AUTH PLAIN\n"
		  "C: AUTH PLAIN AGFsaWNlAHNlc2FtZQ==\nS: 235 ok\n", NULL, NULL, false, false, SMTP_TLS_MUST },
		{ "not in clear text", HELLO "S: 250-x\nS: 250 AUTH PLAIN\n", "4.7.10", "not sent in clear text" },
		{ "no way", HELLO "S: 250-x\nS: 250 AUTH CRAM-MD5\n", "4.7.4", "no way to log in", true },
		{ "wrong", HELLO "S: 250-x\nS: 250 AUTH PLAIN\nC* AUTH\nS: 535 5.7.8 who?\n", "4.7.8", "refuses the login of \"alice\": 535 5.7.8 who?", true },
		{ "not now", HELLO "S: 250-x\nS: 250 AUTH PLAIN\nC* AUTH\nS: 454 4.7.0 busy\n", "4.7.0", "454 4.7.0 busy", true },
		{ "and more", HELLO "S: 250-x\nS: 250 AUTH PLAIN\nC* AUTH\nS: 334 x\n", "4.7.0", "334 x", true },
		{ "gone", HELLO "S: 250-x\nS: 250 AUTH PLAIN\nC* AUTH\nX\n", "4.4.2", "AUTH", true },
		{ "421", HELLO "S: 250-x\nS: 250 AUTH PLAIN\nC* AUTH\nS: 421 4.3.2 down\n", "4.3.2", "421 4.3.2 down", true },
	};

	memset(long_secret, 'x', sizeof(long_secret) - 1);
	EACH(cases, c) {
		struct smtp_sender_config config = { .hostname = STR("me.test"), .tls = c->tls, .login = STR("alice"),
		                                     .password = str_of(c->is_long ? long_secret : secret), .login_in_clear = c->in_clear };
		struct peer p = { .s = smtp_sender_new(&config), .said = BUF(1 << 20) };

		print_message("%s\n", c->name);
		run(&p, c->script);
		EXPECT_INT(smtp_sender_state(p.s), c->status ? SMTP_SENDER_OVER : SMTP_SENDER_READY);
		if (c->status) {
			EXPECT_INT(smtp_sender_failure(p.s)->outcome, SMTP_OUTCOME_DEFERRED);
			EXPECT_STR(smtp_sender_failure(p.s)->status, c->status);
			EXPECT_INT(smtp_sender_failure(p.s)->at, SMTP_AT_LOGIN);
			EXPECT(str_find(smtp_sender_failure(p.s)->text, str_of(c->text)) >= 0);
		}
		EXPECT_INT(p.said.n, 0);
		buf_free(&p.said);
		smtp_sender_free(p.s);
	}
}
