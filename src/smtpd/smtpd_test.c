/* Dialogues. Each is run whole, and cut at every byte, with a host that answers at once and with one that answers later: what the
 * client sees and what is added must always be the same. */
#include "base/clock.h"
#include "base/test.h"
#include "smtpd/test_host.h"
#include <unistd.h>

#define BYTES(s) { s, sizeof(s) - 1 }
#define HELLO "EHLO c.test\r\n"
#define BEGIN "MAIL FROM:<a@b.test>\r\nRCPT TO:<bob@x.test>\r\n"
#define BEGUN "250 2.1.0 sender accepted\r\n250 2.1.5 recipient accepted\r\n"
#define GO_ON "354 go on; end with a line that has only a dot\r\n"

/* The replies without those to EHLO; ends with "|" and the next step when that is not SMTPD_INPUT. */
static void talk(struct test_host *t, struct str in, size_t piece)
{
	static const char *const steps[] = { "", "|wait", "|flush", "|tls", "|close" };
	enum smtpd_next next = SMTPD_INPUT;

	if (piece == 0)
		piece = in.n;
	while (in.n > 0 && next == SMTPD_INPUT) {
		struct str some = str_sub(in, 0, piece);
		next = test_host_feed(t, some);
		in = str_from(in, some.n);
	}
	buf_add_cstr(&t->out, steps[next]);
}

static struct str without_ehlo(struct str out)
{
	ptrdiff_t end = str_starts(out, STR("250-mx.test")) ? str_find(out, STR("\r\n250 ")) : -1;

	if (end < 0)
		return out;
	struct str rest = str_from(out, (size_t)end + 2);
	return str_from(rest, (size_t)str_chr(rest, '\n') + 1);
}

static void expect_dialogue(struct str in, const char *want, const char *added)
{
	clock_wall_offset(0);
	for (int slow = 0; slow <= 1; slow++) {
		for (size_t piece = 0; piece < in.n; piece++) {
			struct test_host t;
			test_host_begin(&t, ENVELOPE_MX);
			t.is_slow = slow;
			talk(&t, in, piece);
			EXPECT_STR(without_ehlo(buf_str(&t.out)), want);
			if (added && str_find(buf_str(&t.added), str_of(added)) < 0) {
				print_error("missing: %s\nin: %.*s\n", added, STR_ARG(buf_str(&t.added)));
				fail();
			}
			if (added == NULL)
				EXPECT_INT(t.added_count, 0);
			test_host_end(&t);
		}
	}
}

/* What leaves a group is no message that has a name afterwards. */
TEST(an_order)
{
	struct test_host t;

	test_host_begin(&t, ENVELOPE_MX);
	t.is_order = true;
	talk(&t, STR(HELLO "MAIL FROM:<a@b.test>\r\nRCPT TO:<team=leave=x@x.test>\r\nDATA\r\n\r\n.\r\n"), SIZE_MAX);
	EXPECT(str_ends(buf_str(&t.out), STR("250 2.0.0 read and done: there is nobody to pass it on to\r\n")));
	test_host_end(&t);
}

TEST(a_message)
{
	static const char in[] = HELLO "MAIL FROM:<a@b.test> SIZE=20\r\nRCPT TO:<bob@x.test>\r\nDATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n";
	struct test_host t;

	expect_dialogue(str_make(in, sizeof(in) - 1), BEGUN GO_ON "250 2.0.0 queued as 11223344-1\r\n221 2.0.0 goodbye\r\n|close",
	                "\r\nSubject: x\r\n\r\n.dot\r\n");
	test_host_begin(&t, ENVELOPE_MX);
	talk(&t, str_make(in, sizeof(in) - 1), 0);
	EXPECT(str_starts(buf_str(&t.added), STR("from=a@b.test to=bob@x.test/0/ body=1 utf8=0 ret=0 envid= peer=c.test [192.0.2.7]\n"
	       "Received: from c.test ([192.0.2.7])\r\n\tby mx.test with ESMTP\r\n\tid s1.1 for <bob@x.test>;\r\n\t")));
	test_host_end(&t);
}

/* As people read it in a trace. */
TEST(who_was_it)
{
	static const struct { const char *peer, *hello, *want; } cases[] = {
		{ "192.0.2.7",   "c.test",             "peer=c.test [192.0.2.7]\n" },
		{ "192.0.2.7",   "[192.0.2.7]",        "peer=[192.0.2.7]\n" },
		{ "192.0.2.7",   "[192.0.2.8]",        "peer=[192.0.2.8] [192.0.2.7]\n" },  /* behind an address translation */
		{ "2001:db8::7", "[IPv6:2001:DB8::7]", "peer=[2001:db8::7]\n" },
	};

	EACH(cases, c) {
		CLEANUP(buf_free) struct buf in = BUF(1000);
		struct test_host t;
		test_host_begin(&t, ENVELOPE_MX);
		struct smtpd_client client = { .source = ENVELOPE_MX, .session = STR("s1"), .peer = str_of(c->peer) };
		smtpd_free(t.smtpd);
		t.smtpd = smtpd_new(&t.server, &client, &test_host_calls, &t);
		buf_printf(&in, "EHLO %s\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<bob@x.test>\r\nDATA\r\n\r\n.\r\n", c->hello);
		talk(&t, buf_str(&in), SIZE_MAX);
		EXPECT(str_find(buf_str(&t.added), str_of(c->want)) >= 0);
		test_host_end(&t);
	}
}

TEST(received)
{
	static const struct { struct smtpd_client client; const char *hello, *want; } cases[] = {
		{ { .source = ENVELOPE_MX, .peer = STR("2001:db8::7"), .is_tls = true, .tls_text = STR("TLSv1.3 X") }, "EHLO [IPv6:2001:db8::7]\r\n",
		  "Received: from [IPv6:2001:db8::7] ([IPv6:2001:db8::7])\r\n\tby mx.test with ESMTPS (TLSv1.3 X)\r\n\tid s1.1;\r\n" },
		{ { .source = ENVELOPE_MX, .peer = STR("192.0.2.7") }, "HELO a(b)\xc3\xa9;c\r\n",  /* a name can be anything */
		  "Received: from a?b????c ([192.0.2.7])\r\n\tby mx.test with SMTP\r\n" },
		{ { .source = ENVELOPE_SUBMISSION, .peer = STR("192.0.2.7"), .login = STR("alice@x.test"), .is_tls = true, .helo = STR("laptop"), .is_esmtp = true }, "",
		  "Received: from laptop ([192.0.2.7])\r\n\tby mx.test with ESMTPSA\r\n" },
		{ { .source = ENVELOPE_LOCAL, .peer = STR(""), .who = STR("user 33"), .login = STR("alice@x.test") }, "EHLO localhost\r\n",
		  "Received: from localhost (user 33)\r\n\tby mx.test with ESMTP\r\n" },
	};
	EACH(cases, c) {
		struct test_host t;
		struct smtpd_client client = c->client;
		test_host_begin(&t, ENVELOPE_MX);
		smtpd_free(t.smtpd);
		client.session = STR("s1");
		t.smtpd = smtpd_new(&t.server, &client, &test_host_calls, &t);
		talk(&t, str_of(c->hello), 0);
		/* two recipients: none of them is named */
		talk(&t, STR("MAIL FROM:<a@b.test>\r\nRCPT TO:<bob@x.test>\r\nRCPT TO:<carl@x.test>\r\nDATA\r\n\r\n.\r\n"), 0);
		if (str_find(buf_str(&t.added), str_of(c->want)) < 0)
			print_error("want %s\nin %.*s\n", c->want, STR_ARG(buf_str(&t.added)));
		EXPECT(str_find(buf_str(&t.added), str_of(c->want)) > 0);
		EXPECT(str_find(buf_str(&t.added), STR(" for <")) < 0);
		test_host_end(&t);
	}
}

TEST(dialogues)
{
	static const struct { struct str in; const char *want, *added; } cases[] = {
		/* order of commands */
		{ BYTES("MAIL FROM:<a@b.test>\r\n"), "503 5.5.1 say EHLO first\r\n", NULL },
		{ BYTES("HELO c.test\r\nRCPT TO:<bob@x.test>\r\nDATA\r\nRSET\r\n"),
		  "250 mx.test\r\n503 5.5.1 say MAIL first\r\n503 5.5.1 say MAIL first\r\n250 2.0.0 forgotten\r\n", NULL },
		{ BYTES(HELLO "MAIL FROM:<>\r\nMAIL FROM:<>\r\n"), "250 2.1.0 sender accepted\r\n503 5.5.1 a message is begun already; RSET forgets it\r\n", NULL },
		{ BYTES(HELLO "MAIL FROM:<>\r\nDATA\r\n"), "250 2.1.0 sender accepted\r\n554 5.5.1 no recipient was accepted\r\n", NULL },
		/* recipients */
		{ BYTES(HELLO "MAIL FROM:<a@b.test>\r\nRCPT TO:<nobody@x.test>\r\nRCPT TO:<full@x.test>\r\nRCPT TO:<Postmaster>\r\nDATA\r\n\r\n.\r\n"),
		  "250 2.1.0 sender accepted\r\n550 5.1.1 nobody\r\n452 4.2.2 full\r\n250 2.1.5 recipient accepted\r\n" GO_ON "250 2.0.0 queued as 11223344-1\r\n",
		  "to=Postmaster/0/" },
		{ BYTES(HELLO BEGIN "RCPT TO:<b@x.test>\r\nRCPT TO:<c@x.test>\r\nRCPT TO:<d@x.test>\r\n"),
		  BEGUN "250 2.1.5 recipient accepted\r\n250 2.1.5 recipient accepted\r\n"
		  "452 4.5.3 enough recipients for one message: please send it again to the others\r\n", NULL },
		/* parameters */
		{ BYTES(HELLO "MAIL FROM:<a@b.test> SIZE=1048577\r\n"), "552 5.3.4 the message is larger than the 1048576 bytes this server accepts\r\n", NULL },
		{ BYTES(HELLO "MAIL FROM:<a@b.test> FOO=1\r\n"), "555 5.5.4 this server does not know the parameter FOO\r\n", NULL },
		{ BYTES(HELLO "MAIL FROM:<forged@b.test>\r\nMAIL FROM:<a@b.test>\r\n"), "553 5.7.1 you may not be forged@b.test\r\n250 2.1.0 sender accepted\r\n", NULL },
		{ BYTES(HELLO "MAIL FROM:<j\xc3\xa9@b.test>\r\n"), "550 5.6.7 an address with such characters needs the parameter SMTPUTF8\r\n", NULL },
		{ BYTES(HELLO "MAIL FROM:<a@b.test> RET=HDRS ENVID=e+3D1 BODY=8BITMIME\r\nRCPT TO:<bob@x.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x+2By@x.test\r\n"
		        "DATA\r\n\r\n.\r\n"), BEGUN GO_ON "250 2.0.0 queued as 11223344-1\r\n", "to=bob@x.test/6/rfc822;x+y@x.test body=2 utf8=0 ret=2 envid=e=1" },
		{ BYTES(HELLO "MAIL FROM:<j\xc3\xa9@b.test> SMTPUTF8\r\nRCPT TO:<bob@x.test>\r\nDATA\r\n\r\n.\r\n"),
		  BEGUN GO_ON "250 2.0.0 queued as 11223344-1\r\n", "with UTF8SMTP\r\n" },
		/* smuggling: refused at the true end, and nothing before it is a command */
		{ BYTES(HELLO BEGIN "DATA\r\nx\n.\nQUIT\r\n.\r\nNOOP\r\n"),
		  BEGUN GO_ON "550 5.6.0 the message has an LF without CR: lines must end with CR LF\r\n250 2.0.0 fine\r\n", NULL },
		{ BYTES(HELLO BEGIN "DATA\r\nx\r\n.\rQUIT\r\n.\r\nNOOP\r\n"),
		  BEGUN GO_ON "550 5.6.0 the message has a CR without LF: lines must end with CR LF\r\n250 2.0.0 fine\r\n", NULL },
		{ BYTES(HELLO BEGIN "DATA\r\nx\0\r\n.\r\nNOOP\r\n"),
		  BEGUN GO_ON "550 5.6.0 the message has a NUL byte: such content needs BODY=BINARYMIME or an encoding\r\n250 2.0.0 fine\r\n", NULL },
		{ BYTES("EHLO c.test\nNOOP\r\n"), "500 5.5.2 a line must end with CR LF, not with LF alone\r\n250 2.0.0 fine\r\n", NULL },
		{ BYTES("NO\rOP\r\nNO\0OP\r\n"), "500 5.5.2 a command must not contain CR or NUL\r\n500 5.5.2 a command must not contain CR or NUL\r\n", NULL },
		/* BDAT */
		{ BYTES(HELLO BEGIN "BDAT 3\r\nA:bBDAT 6 LAST\r\n\r\n\r\nx\nNOOP\r\n"),
		  BEGUN "250 2.0.0 chunk received\r\n550 5.6.0 the message has an LF without CR: lines must end with CR LF\r\n250 2.0.0 fine\r\n", NULL },
		{ BYTES(HELLO BEGIN "BDAT 5\r\nA:b\r\nBDAT 5 LAST\r\n\r\n.\r\nNOOP\r\n"),
		  BEGUN "250 2.0.0 chunk received\r\n250 2.0.0 queued as 11223344-1\r\n250 2.0.0 fine\r\n", "\r\nA:b\r\n\r\n.\r\n" },
		{ BYTES(HELLO BEGIN "BDAT 3 LAST\r\nA:bNOOP\r\n"), BEGUN "250 2.0.0 queued as 11223344-1\r\n250 2.0.0 fine\r\n", "\r\nA:b\r\n" },
		{ BYTES(HELLO BEGIN "BDAT 0 LAST\r\nNOOP\r\n"), BEGUN "250 2.0.0 queued as 11223344-1\r\n250 2.0.0 fine\r\n", "Received:" },
		{ BYTES(HELLO BEGIN "BDAT 4\r\nA\nb\rBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"),
		  BEGUN "550 5.6.0 the message has an LF without CR: lines must end with CR LF\r\n503 5.5.1 a chunk was refused: say RSET first\r\n250 2.0.0 fine\r\n", NULL },
		{ BYTES("BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"), "503 5.5.1 say MAIL first\r\n250 2.0.0 fine\r\n", NULL },
		{ BYTES(HELLO BEGIN "BDAT 2\r\n\r\nDATA\r\nRCPT TO:<c@x.test>\r\n"),
		  BEGUN "250 2.0.0 chunk received\r\n503 5.5.1 this message comes by BDAT; RSET forgets it\r\n503 5.5.1 the message has begun: no more recipients\r\n", NULL },
		{ BYTES(HELLO BEGIN "BDAT x\r\nQUIT\r\n"),
		  BEGUN "501 5.5.4 expected: BDAT size, or BDAT size LAST; where the message ends is not known, so goodbye\r\n|close", NULL },
		{ BYTES(HELLO BEGIN "BDAT 2000000\r\nQUIT\r\n"), BEGUN, NULL },  /* swallowed; its reply comes at its end */
		{ BYTES(HELLO "MAIL FROM:<a@b.test> BODY=BINARYMIME\r\nRCPT TO:<bob@x.test>\r\nDATA\r\n"), BEGUN "503 5.5.1 BODY=BINARYMIME needs BDAT\r\n", NULL },
		/* the header */
		{ BYTES(HELLO BEGIN "DATA\r\nX-Refuse: 1\r\n\r\nx\r\n.\r\n"), BEGUN GO_ON "550 5.7.1 such a header\r\n", NULL },
		/* two things are wrong: the first is told, in however many pieces the message comes */
		{ BYTES(HELLO BEGIN "DATA\r\nX-Refuse: 1\r\n\r\nx\0\r\n.\r\n"), BEGUN GO_ON "550 5.7.1 such a header\r\n", NULL },
		{ BYTES(HELLO BEGIN "BDAT 19 LAST\r\nX-Refuse: 1\r\n\r\nx\0\r\n"), BEGUN "550 5.7.1 such a header\r\n", NULL },
		{ BYTES(HELLO BEGIN "DATA\r\nX-Refuse: 1\0\r\n\r\nx\r\n.\r\n"),
		  BEGUN GO_ON "550 5.6.0 the message has a NUL byte: such content needs BODY=BINARYMIME or an encoding\r\n", NULL },
		{ BYTES(HELLO BEGIN "DATA\r\nX-Change: 1\r\n\r\nbody\r\n.\r\n"), BEGUN GO_ON "250 2.0.0 queued as 11223344-1\r\n", "\r\nX-Changed: yes\r\n\r\nbody\r\n" },
		{ BYTES(HELLO BEGIN "DATA\r\nX-Change: 1\r\n.\r\n"), BEGUN GO_ON "250 2.0.0 queued as 11223344-1\r\n", "\r\nX-Changed: yes\r\n\r\n" },
		/* the rest */
		{ BYTES("VRFY bob\r\nEXPN list\r\nAUTH PLAIN x\r\nFOO\r\nHELP\r\n"),
		  "252 2.5.0 this server does not tell; send the message, and RCPT answers for each recipient\r\n"
		  "252 2.5.0 this server does not tell; send the message, and RCPT answers for each recipient\r\n"
		  "502 5.5.1 no login on this port: mail programs send through port 465 or 587\r\n500 5.5.2 unknown command; HELP says which there are\r\n"
		  "214 2.0.0 these commands are known: EHLO HELO MAIL RCPT DATA BDAT RSET VRFY EXPN HELP NOOP QUIT STARTTLS AUTH\r\n", NULL },
		{ BYTES("GET / HTTP/1.1\r\nHost: x\r\n"), "421 4.7.0 this is a mail server and not a web server\r\n|close", NULL },
	};
	EACH(cases, c)
		expect_dialogue(c->in, c->want, c->added);
}

TEST(binarymime_is_stored_as_base64)
{
	static const char in[] = HELLO "MAIL FROM:<a@b.test> BODY=BINARYMIME\r\nRCPT TO:<bob@x.test>\r\nBDAT 75\r\n"
		"MIME-Version: 1.0\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\nBDAT 4 LAST\r\n\0\n\r\xff" "NOOP\r\n";
	CLEANUP(buf_free) struct buf fixed = BUF(1000);

	/* the first chunk's size, so that nobody has to count */
	ptrdiff_t head = str_find(str_make(in, sizeof(in) - 1), STR("MIME-V"));
	ptrdiff_t end = str_find(str_make(in, sizeof(in) - 1), STR("BDAT 4"));
	buf_add(&fixed, str_make(in, (size_t)head - 4));
	buf_printf(&fixed, "%td\r\n", end - head);
	buf_add(&fixed, str_from(str_make(in, sizeof(in) - 1), (size_t)head));
	expect_dialogue(buf_str(&fixed), BEGUN "250 2.0.0 chunk received\r\n250 2.0.0 queued as 11223344-1\r\n250 2.0.0 fine\r\n",
	                "Content-Transfer-Encoding: base64\r\n\r\nAAoN/w==\r\n");
}

/* Up to BDAT … LAST; the message goes to a file, and from there back into it. */
static void put_large_binary(struct buf *b)
{
	CLEANUP(buf_free) struct buf message = BUF(1 << 20);

	buf_add(&message, STR("MIME-Version: 1.0\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n"));
	for (int i = 0; i < 400000; i++)
		buf_add_char(&message, (char)i);
	buf_printf(b, HELLO "MAIL FROM:<a@b.test> BODY=BINARYMIME\r\nRCPT TO:<bob@x.test>\r\nBDAT %zu LAST\r\n", message.n);
	buf_add(b, buf_str(&message));
}

TEST(large_binarymime)
{
	static const struct { bool is_slow, is_dropped; const char *want; } cases[] = {
		{ false, false, "250 2.0.0 queued as 11223344-1\r\n" }, { true, false, "250 2.0.0 queued as 11223344-1\r\n" },
		{ false, true, "451 4.3.0 " }, { true, true, "451 4.3.0 " },   /* the host ends, and has not come to it */
	};
	CLEANUP(buf_free) struct buf in = BUF(1 << 20);

	put_large_binary(&in);
	EACH(cases, c) {
		struct test_host t;
		test_host_begin(&t, ENVELOPE_MX);
		t.is_slow = c->is_slow;
		t.drops_work = c->is_dropped;
		test_host_feed(&t, buf_str(&in));
		EXPECT(str_find(buf_str(&t.out), str_of(c->want)) > 0);
		EXPECT_INT(t.added_count, !c->is_dropped);
		if (!c->is_dropped)
			EXPECT(t.added.n > 400000 * 4 / 3 && str_find(buf_str(&t.added), STR("Encoding: base64\r\n\r\nAAECAwQF")) > 0);
		test_host_feed(&t, STR("NOOP\r\n"));
		EXPECT(str_ends(buf_str(&t.out), STR("250 2.0.0 fine\r\n")));
		test_host_end(&t);
	}
}

/* Goodbye while it is under way: the file is closed when that has ended, and not before. */
TEST(a_rewrite_outlives_its_session)
{
	CLEANUP(buf_free) struct buf in = BUF(1 << 20);
	struct test_host t;
	size_t used;

	put_large_binary(&in);
	test_host_begin(&t, ENVELOPE_MX);
	t.is_slow = true;
	for (struct str left = buf_str(&in); t.owes != OWES_REWRITE; left = str_from(left, used)) {
		smtpd_input(t.smtpd, left, &used, &t.out);
		if (t.owes == OWES_SPOOL)
			test_answer_spool(&t);
	}
	smtpd_bye(t.smtpd, "4.3.2", "goodbye", &t.out);
	EXPECT(t.work->fd >= 0);
	test_answer_rewrite(&t);
	EXPECT_INT(t.work->fd, -1);
	EXPECT_INT(t.added_count, 0);
	test_host_end(&t);
}

TEST(starttls)
{
	struct test_host t;

	test_host_begin(&t, ENVELOPE_MX);
	talk(&t, STR(HELLO BEGIN "STARTTLS\r\n"), 0);
	EXPECT_STR(without_ehlo(buf_str(&t.out)), BEGUN "220 2.0.0 go ahead with TLS\r\n|tls");
	EXPECT(str_find(buf_str(&t.out), STR("250-STARTTLS\r\n")) > 0 || str_find(buf_str(&t.out), STR("250 STARTTLS\r\n")) > 0);
	smtpd_secured(t.smtpd, STR("TLSv1.3 X"));
	buf_reset(&t.out);
	talk(&t, STR("RCPT TO:<bob@x.test>\r\nMAIL FROM:<a@b.test>\r\nSTARTTLS\r\nEHLO c.test\r\n" BEGIN "DATA\r\n\r\n.\r\n"), 0);
	EXPECT(str_starts(buf_str(&t.out), STR("503 5.5.1 say MAIL first\r\n503 5.5.1 say EHLO first\r\n503 5.5.1 this connection is encrypted already\r\n250-mx")));
	EXPECT(str_find(buf_str(&t.out), STR("STARTTLS")) < 0);
	EXPECT(str_find(buf_str(&t.added), STR("with ESMTPS (TLSv1.3 X)\r\n")) > 0);
	test_host_end(&t);

	test_host_begin(&t, ENVELOPE_MX);  /* injection: what came in clear text must not count as said through TLS */
	talk(&t, STR(HELLO "STARTTLS\r\nMAIL FROM:<evil@b.test>\r\n"), 0);
	EXPECT_STR(without_ehlo(buf_str(&t.out)), "554 5.5.1 nothing may be sent behind STARTTLS before its answer; goodbye\r\n|close");
	test_host_end(&t);
}

TEST(limits)
{
	struct test_host t;

	test_host_begin(&t, ENVELOPE_MX);
	t.server.errors_max = 3;
	talk(&t, STR("X\r\nX\r\nX\r\nNOOP\r\n"), 0);
	EXPECT(str_ends(buf_str(&t.out), STR("421 4.7.0 too many mistakes on this connection; please look at the replies before you try again\r\n|close")));
	test_host_end(&t);

	test_host_begin(&t, ENVELOPE_MX);
	t.server.messages_max = 1;
	talk(&t, STR(HELLO BEGIN "DATA\r\n\r\n.\r\nMAIL FROM:<>\r\nNOOP\r\n"), 0);
	EXPECT(str_ends(buf_str(&t.out), STR("421 4.5.3 this connection has carried enough messages: please open a new one\r\n|close")));
	test_host_end(&t);

	test_host_begin(&t, ENVELOPE_MX);
	for (int i = 0; i < 200 && t.last != SMTPD_CLOSE; i++)
		test_host_feed(&t, STR("NOOP\r\n"));
	EXPECT(t.last == SMTPD_CLOSE);
	test_host_end(&t);

	test_host_begin(&t, ENVELOPE_MX);  /* a long command: one reply, the next one is read */
	for (int i = 0; i < 1000; i++)
		test_host_feed(&t, STR("NOOP NOOP "));
	talk(&t, STR("\r\nNOOP\r\n"), 0);
	EXPECT_STR(buf_str(&t.out), "500 5.5.6 this command is too long\r\n250 2.0.0 fine\r\n");
	test_host_end(&t);
}

static void feed_lines(struct test_host *t, int n)
{
	static const char line[] = "0123456789012345678901234567890123456789012345678901234567890123456789\r\n";
	CLEANUP(buf_free) struct buf b = BUF(64 << 20);

	for (int i = 0; i < n; i++)
		buf_add(&b, STR(line));
	test_host_feed(t, buf_str(&b));
}

TEST(large_messages_go_to_a_spool_file)
{
	for (int slow = 0; slow <= 1; slow++) {
		struct test_host t;
		test_host_begin(&t, ENVELOPE_MX);
		t.is_slow = slow;
		talk(&t, STR(HELLO BEGIN "DATA\r\nA: b\r\n\r\n"), 0);
		feed_lines(&t, 12000);
		EXPECT(t.server.memory_used <= 2 * SMTPD_MEMORY_MAX);
		test_host_feed(&t, STR(".\r\nNOOP\r\n"));
		EXPECT(str_ends(buf_str(&t.out), STR("250 2.0.0 queued as 11223344-1\r\n250 2.0.0 fine\r\n")));
		EXPECT_INT(t.spooled_count, 1);
		EXPECT(t.added.n > 12000 * 72 && str_find(buf_str(&t.added), STR("\r\nA: b\r\n\r\n0123")) > 0);
		test_host_end(&t);
	}
}

TEST(all_in_one_piece)
{
	CLEANUP(buf_free) struct buf b = BUF(64 << 20);
	struct test_host t;

	buf_add(&b, STR(HELLO BEGIN "DATA\r\nA: b\r\n\r\n"));
	for (int i = 0; i < 13000; i++)
		buf_add(&b, STR("..234567890123456789012345678901234567890123456789012345678901234567890\r\n"));
	buf_add(&b, STR(".\r\nNOOP\r\n"));
	test_host_begin(&t, ENVELOPE_MX);
	t.is_slow = true;
	talk(&t, buf_str(&b), 0);
	EXPECT(str_ends(buf_str(&t.out), STR("250 2.0.0 queued as 11223344-1\r\n250 2.0.0 fine\r\n")));
	EXPECT(str_find(buf_str(&t.added), STR("\n..")) < 0);
	test_host_end(&t);
}

TEST(too_large_is_swallowed_and_refused_at_its_end)
{
	struct test_host t;

	test_host_begin(&t, ENVELOPE_MX);
	talk(&t, STR(HELLO BEGIN "DATA\r\nA: b\r\n\r\n"), 0);
	feed_lines(&t, 20000);
	EXPECT(t.server.memory_used < 4096);  /* the envelope; nothing of the message */
	test_host_feed(&t, STR("QUIT\r\n.\r\nNOOP\r\n"));
	EXPECT(str_ends(buf_str(&t.out), STR("552 5.3.4 the message is larger than the 1048576 bytes this server accepts\r\n250 2.0.0 fine\r\n")));
	EXPECT_INT(t.added_count, 0);
	test_host_end(&t);
}

TEST(endless_messages_are_cut_off)
{
	struct test_host t;

	test_host_begin(&t, ENVELOPE_MX);
	talk(&t, STR(HELLO BEGIN "DATA\r\nA: b\r\n\r\n"), 0);
	for (int i = 0; i < 100 && t.last == SMTPD_INPUT; i++)
		feed_lines(&t, 1000);
	EXPECT(t.last == SMTPD_CLOSE);
	EXPECT(str_ends(buf_str(&t.out), STR("421 4.3.4 the message is far too large, and its end has not come: goodbye\r\n")));
	test_host_end(&t);
	test_host_begin(&t, ENVELOPE_MX);
	talk(&t, STR(HELLO BEGIN "BDAT 9999999999\r\nQUIT\r\n"), 0);
	EXPECT(t.last == SMTPD_CLOSE);
	test_host_end(&t);
}

TEST(memory_of_all_sessions)
{
	struct test_host t;

	test_host_begin(&t, ENVELOPE_MX);
	t.server.memory_max = 1;
	talk(&t, STR(HELLO BEGIN "RCPT TO:<c@x.test>\r\nDATA\r\nA: b\r\n\r\n"), 0);
	EXPECT(str_find(buf_str(&t.out), STR("452 4.3.1 too many messages are arriving")) > 0);
	feed_lines(&t, 500);  /* small, but there is no memory: to a file */
	test_host_feed(&t, STR(".\r\n"));
	EXPECT_INT(t.spooled_count, 1);
	EXPECT(str_ends(buf_str(&t.out), STR("250 2.0.0 queued as 11223344-1\r\n")));
	test_host_end(&t);
}

/* Nothing of what was refused stays: "4xx" is no mistake, and may be said without end. */
TEST(memory_of_refused_recipients)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct test_host t;
	char orcpt[400];

	memset(orcpt, 'o', sizeof orcpt);
	test_host_begin(&t, ENVELOPE_MX);
	talk(&t, STR(HELLO "MAIL FROM:<a@b.test>\r\n"), 0);
	for (int i = 0; i < 1000; i++)
		test_host_feed(&t, arena_printf(&a, "RCPT TO:<full@x.test> ORCPT=rfc822;%.*s\r\n", (int)sizeof orcpt, orcpt));
	buf_reset(&t.out);
	test_host_feed(&t, STR("RCPT TO:<bob@x.test> ORCPT=rfc822;b+2Bb@x.test\r\nDATA\r\n\r\n"));
	EXPECT(t.server.memory_used < 4096);
	test_host_feed(&t, STR(".\r\n"));
	EXPECT(str_find(buf_str(&t.added), STR("to=bob@x.test/0/rfc822;b+b@x.test")) >= 0);
	test_host_end(&t);
}

/* A header can only be kept in memory: where there is none, a long one has to come again. */
TEST(memory_of_long_headers)
{
	static const char field[] = "X-Field: 0123456789012345678901234567890123456789012345678901234567890123456789\r\n";
	CLEANUP(buf_free) struct buf header = BUF(1 << 20);
	struct test_host t;

	for (int i = 0; i < 1000; i++)
		buf_add_cstr(&header, field);
	test_host_begin(&t, ENVELOPE_MX);
	t.server.memory_max = 1;
	talk(&t, STR(HELLO BEGIN "DATA\r\n"), 0);
	test_host_feed(&t, buf_str(&header));
	EXPECT(t.server.memory_used < 32 << 10);
	test_host_feed(&t, STR("\r\nQUIT\r\n.\r\n" BEGIN "DATA\r\n"));
	EXPECT(str_find(buf_str(&t.out), STR("\r\n452 4.3.1 this server has no room for the message at the moment: please try again later\r\n250 2.1.0")) > 0);
	test_host_feed(&t, str_sub(buf_str(&header), 0, 8000));
	test_host_feed(&t, STR("\r\n\r\n.\r\n"));
	EXPECT(str_ends(buf_str(&t.out), STR("250 2.0.0 queued as 11223344-1\r\n")));
	test_host_end(&t);
}

TEST(what_the_queue_says)
{
	static const struct { enum err spool, add; const char *want; } cases[] = {
		{ ERR_OK, ERR_AGAIN, "452 4.3.1" }, { ERR_OK, ERR_UNAVAILABLE, "451 4.3.0" }, { ERR_OK, ERR_IO, "451 4.3.0" }, { ERR_OK, ERR_LIMIT, "552 5.3.4" },
		{ ERR_AGAIN, ERR_OK, "452 4.3.1" }, { ERR_UNAVAILABLE, ERR_OK, "451 4.3.0" },
	};
	EACH(cases, c) {
		for (int slow = 0; slow <= 1; slow++) {
			struct test_host t;
			test_host_begin(&t, ENVELOPE_MX);
			t.is_slow = slow;
			t.spool_result = c->spool;
			t.add_result = c->add;
			talk(&t, STR(HELLO BEGIN "DATA\r\nA: b\r\n\r\n"), 0);
			feed_lines(&t, 5000);
			buf_reset(&t.out);
			test_host_feed(&t, STR(".\r\nNOOP\r\n"));
			EXPECT(str_starts(buf_str(&t.out), str_of(c->want)));
			EXPECT(str_ends(buf_str(&t.out), STR("\r\n250 2.0.0 fine\r\n")));
			test_host_end(&t);
		}
	}
}

/* The queue had room when it gave the file; a hundred others have come since. (A memfd says that there is no room for more.) */
TEST(a_disk_that_fills_while_a_message_comes)
{
	for (int is_full = 0; is_full <= 1; is_full++) {
		struct test_host t;
		test_host_begin(&t, ENVELOPE_MX);
		t.server.size_max = 64 << 20;
		t.server.disk_reserve = is_full ? 1 : 0;
		talk(&t, STR(HELLO BEGIN "DATA\r\nA: b\r\n\r\n"), 0);
		for (int i = 0; i < 10; i++)
			feed_lines(&t, 14000);
		EXPECT_INT(t.dropped_count, is_full);
		test_host_feed(&t, STR("QUIT\r\n.\r\nNOOP\r\n"));
		EXPECT(str_ends(buf_str(&t.out), is_full ? STR("452 4.3.1 this server has no room for the message at the moment: please try again later\r\n250 2.0.0 fine\r\n")
		                                         : STR("250 2.0.0 queued as 11223344-1\r\n250 2.0.0 fine\r\n")));
		test_host_end(&t);
	}
}

/* A file is either added or said to be not needed, once, whatever becomes of its message. */
TEST(files_that_are_not_needed)
{
	enum { REFUSED, RESET, BYE, BYE_WHILE_ASKED, BYE_WHILE_ADDED, NOT_ADDED, ADDED };

	for (int what = REFUSED; what <= ADDED; what++) {
		struct test_host t;
		size_t used;
		test_host_begin(&t, ENVELOPE_MX);
		t.is_slow = true;
		t.add_result = what == NOT_ADDED ? ERR_AGAIN : ERR_OK;
		talk(&t, STR(HELLO BEGIN "DATA\r\nA: b\r\n\r\n"), 0);
		if (what == BYE_WHILE_ASKED) {
			char zeros[300000];
			struct str left = { zeros, sizeof zeros };
			memset(zeros, '0', sizeof zeros);
			for (size_t i = 998; i + 2 < sizeof zeros; i += 1000)
				memcpy(zeros + i, "\r\n", 2);
			for (; t.owes != OWES_SPOOL; left = str_from(left, used))
				smtpd_input(t.smtpd, left, &used, &t.out);
			smtpd_bye(t.smtpd, "4.3.2", "stopping", &t.out);
			test_answer_spool(&t);
		} else {
			feed_lines(&t, 5000);
			EXPECT_INT(t.dropped_count, 0);
			if (what == REFUSED)
				test_host_feed(&t, STR("\n"));
			else if (what == BYE)
				smtpd_bye(t.smtpd, "4.3.2", "stopping", &t.out);
			if (what == BYE_WHILE_ADDED) {
				EXPECT(smtpd_input(t.smtpd, STR(".\r\n"), &used, &t.out) == SMTPD_WAIT);
				smtpd_bye(t.smtpd, "4.3.2", "stopping", &t.out);
				test_answer_add(&t);
			} else if (what == NOT_ADDED || what == ADDED) {
				test_host_feed(&t, STR(".\r\n"));
			}
		}
		EXPECT_INT(t.spooled_count, 1);
		if (what != RESET)
			EXPECT_INT(t.dropped_count, what != ADDED && what != BYE_WHILE_ADDED);
		smtpd_free(t.smtpd);
		t.smtpd = NULL;
		EXPECT_INT(t.dropped_count, what != ADDED && what != BYE_WHILE_ADDED);
		test_host_end(&t);
	}
}

TEST(loops_and_huge_headers)
{
	struct test_host t;

	test_host_begin(&t, ENVELOPE_MX);
	talk(&t, STR(HELLO BEGIN "DATA\r\n"), 0);
	for (int i = 0; i < 101; i++)
		test_host_feed(&t, STR("Received: from a by b\r\n"));
	test_host_feed(&t, STR("\r\n.\r\n"));
	EXPECT(str_ends(buf_str(&t.out), STR("554 5.4.6 this message has passed more than 100 servers: it goes round in a circle\r\n")));
	talk(&t, STR(BEGIN "DATA\r\n"), 0);
	for (int i = 0; i < 10000; i++)
		test_host_feed(&t, STR("To: somebody@somewhere.test, else@where.test\r\n"));
	test_host_feed(&t, STR("\r\n.\r\n"));
	EXPECT(str_ends(buf_str(&t.out), STR("554 5.6.0 the header of the message is larger than 262144 bytes\r\n")));
	EXPECT_INT(t.added_count, 0);
	test_host_end(&t);
}

TEST(ends_while_an_answer_is_due)
{
	struct test_host t;
	size_t used;

	test_host_begin(&t, ENVELOPE_MX);
	t.is_slow = true;
	talk(&t, STR(HELLO BEGIN "DATA\r\n"), 0);
	EXPECT(smtpd_input(t.smtpd, STR("\r\n.\r\n"), &used, &t.out) == SMTPD_WAIT);
	smtpd_bye(t.smtpd, "4.3.2", "stopping", &t.out);
	EXPECT(smtpd_is_waiting(t.smtpd));
	test_answer_add(&t);
	EXPECT(!smtpd_is_waiting(t.smtpd));
	EXPECT(str_ends(buf_str(&t.out), STR("421 4.3.2 stopping\r\n")));
	test_host_end(&t);
}

/* ---- wishes ---- */

/* It is 2026-11-28T10:00:00Z, and will be for the 0.3 s that a case may take on a slow machine. */
static void at_ten(void)
{
	while (clock_wall_ms() % 1000 > 700)
		usleep(10000);
	clock_wall_offset(0);
	clock_wall_offset(1795860000 - clock_wall_s());
}

static void secure(struct test_host *t)
{
	talk(t, STR("STARTTLS\r\n"), 0);
	smtpd_secured(t->smtpd, STR("TLSv1.3"));
	buf_reset(&t->out);
}

TEST(wishes)
{
	enum { MX, USER, USER_TLS, PROGRAM };
	static const struct { int who; const char *parameters, *reply, *added; } cases[] = {
		{ USER, "HOLDFOR=3600", "250 2.1.0 sender accepted", " release=+3600 body" },
		{ USER, "HOLDUNTIL=2026-11-28T12:00:00+01:00", "250 2.1.0 sender accepted", " release=+3600 body" },
		{ PROGRAM, "HOLDFOR=86400", "250 2.1.0 sender accepted", " release=+86400 body" },
		{ USER, "HOLDFOR=86401", "501 5.5.4 a message is kept for 86400 seconds at most, until 2026-11-29T10:00:00Z", NULL },
		{ USER, "HOLDUNTIL=2027-01-01T00:00:00Z", "501 5.5.4 a message is kept for 86400 seconds at most, until 2026-11-29T10:00:00Z", NULL },
		{ USER, "HOLDUNTIL=2026-11-28T10:00:00Z", "501 5.5.4 the time of HOLDUNTIL has passed: without it the message goes at once", NULL },
		{ USER, "HOLDFOR=5 HOLDUNTIL=2026-11-28T11:00:00Z", "501 5.5.4 HOLDFOR and HOLDUNTIL exclude each other", NULL },
		{ USER, "HOLDFOR=soon", "501 5.5.4 the parameters cannot be read: the value of HOLDFOR is wrong, or something behind it", NULL },
		{ MX, "HOLDFOR=5", "555 5.5.4 HOLDFOR and HOLDUNTIL are not offered here: this server sends at once", NULL },
		{ MX, "BY=120;RT", "250 2.1.0 sender accepted", " by=+120;2T body" },
		{ USER, "BY=-5;N", "250 2.1.0 sender accepted", " by=-5;1 body" },
		{ USER, "BY=0;R", "501 5.5.4 BY with R needs a time to come: this message could only be returned", NULL },
		{ USER, "HOLDFOR=120 BY=121;R", "250 2.1.0 sender accepted", " release=+120 by=+121;2 body" },
		{ USER, "BY=120;R HOLDFOR=120",
		  "501 5.5.4 the time of BY is over before the message may leave: HOLDFOR and HOLDUNTIL must end before it", NULL },
		{ USER, "MT-PRIORITY=9", "250 2.1.0 sender accepted", " priority=9 tls=0 body" },
		{ MX, "MT-PRIORITY=-3", "250 2.1.0 sender accepted", " priority=-3 tls=0 body" },
		{ MX, "MT-PRIORITY=3", "250 2.3.6 0 is its priority here; sender accepted", "<bob@x.test>;" },
		{ USER_TLS, "REQUIRETLS", "250 2.1.0 sender accepted", " priority=0 tls=1 body" },
		{ USER_TLS, "REQUIRETLS RET=FULL", "250 2.1.0 sender accepted", " utf8=0 ret=2" },
		{ PROGRAM, "REQUIRETLS", "250 2.1.0 sender accepted", " priority=0 tls=1 body" },
		{ USER, "REQUIRETLS", "530 5.7.10 REQUIRETLS is for encrypted connections: say STARTTLS first", NULL },
		{ MX, "REQUIRETLS", "530 5.7.10 REQUIRETLS is for encrypted connections: say STARTTLS first", NULL },
	};

	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct test_host t;
		test_host_begin(&t, c->who == MX ? ENVELOPE_MX : c->who == PROGRAM ? ENVELOPE_LOCAL : ENVELOPE_SUBMISSION);
		t.server.hold_max = 86400;
		if (c->who == USER_TLS)
			secure(&t);
		at_ten();
		talk(&t, arena_printf(&a, HELLO "MAIL FROM:<a@b.test> %s\r\n", c->parameters), 0);
		EXPECT_STR(str_trim(without_ehlo(buf_str(&t.out))), c->reply);
		talk(&t, STR("RCPT TO:<bob@x.test>\r\nDATA\r\nSubject: x\r\n\r\n.\r\n"), 0);
		EXPECT_INT(t.added_count, c->added != NULL);
		if (c->added)
			EXPECT(str_find(buf_str(&t.added), str_of(c->added)) >= 0);
		test_host_end(&t);
	}
	clock_wall_offset(0);
}

TEST(what_is_offered)
{
	static const struct { enum envelope_source source; bool is_tls; uint64_t hold_max; const char *has, *has_not; } cases[] = {
		{ ENVELOPE_MX, false, 86400, "250-DELIVERBY\r\n250-MT-PRIORITY\r\n", "FUTURERELEASE" },
		{ ENVELOPE_MX, false, 86400, "250-DELIVERBY", "REQUIRETLS" },
		{ ENVELOPE_MX, true, 86400, "250-REQUIRETLS\r\n", "FUTURERELEASE" },
		{ ENVELOPE_SUBMISSION, false, 86400, "250-FUTURERELEASE 86400 2026-11-29T10:00:00Z\r\n", "REQUIRETLS" },
		{ ENVELOPE_SUBMISSION, true, 0, "250-REQUIRETLS\r\n", "FUTURERELEASE" },
	};

	at_ten();
	EACH(cases, c) {
		struct test_host t;
		test_host_begin(&t, c->source);
		t.server.hold_max = c->hold_max;
		if (c->is_tls)
			secure(&t);
		talk(&t, STR(HELLO), 0);
		EXPECT(str_find(buf_str(&t.out), str_of(c->has)) >= 0 && str_find(buf_str(&t.out), str_of(c->has_not)) < 0);
		test_host_end(&t);
	}
	clock_wall_offset(0);
}

TEST(wishes_in_the_header)
{
	expect_dialogue(STR(HELLO BEGIN "DATA\r\nTLS-Required: no\r\n\r\n.\r\n"), BEGUN GO_ON "250 2.0.0 queued as 11223344-1\r\n", " tls=2 ");
	expect_dialogue(STR(HELLO BEGIN "DATA\r\nTLS-Required:\r\n NO \r\n\r\n.\r\n"), BEGUN GO_ON "250 2.0.0 queued as 11223344-1\r\n", " tls=2 ");
	expect_dialogue(STR(HELLO BEGIN "DATA\r\nTLS-Required: yes\r\n\r\n.\r\n"), BEGUN GO_ON "250 2.0.0 queued as 11223344-1\r\n",
	                "to=bob@x.test/0/ body");
	expect_dialogue(STR(HELLO "MAIL FROM:<a@b.test> MT-PRIORITY=-4\r\nRCPT TO:<bob@x.test>\r\nDATA\r\n\r\n.\r\n"),
	                BEGUN GO_ON "250 2.0.0 queued as 11223344-1\r\n", " for <bob@x.test> priority -4;\r\n");
	struct test_host t;  /* what MAIL says counts more */
	test_host_begin(&t, ENVELOPE_MX);
	secure(&t);
	talk(&t, STR(HELLO "MAIL FROM:<a@b.test> REQUIRETLS\r\nRCPT TO:<bob@x.test>\r\nDATA\r\nTLS-Required: No\r\n\r\n.\r\n"), 0);
	EXPECT(str_find(buf_str(&t.added), STR(" tls=1 ")) >= 0);
	test_host_end(&t);
}
