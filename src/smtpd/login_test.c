/* Submission before the login, as a client sees it. */
#include "auth/login_test.h"

#define GREETING "S: 220 mail.test ESMTP facteur is ready"
#define EHLO_BEGINS "C: EHLO client", "S: 250-mail.test greets 192.0.2.7", "S: 250-PIPELINING", "S: 250-SIZE 1000", "S: 250-8BITMIME", \
	"S: 250-SMTPUTF8", "S: 250-CHUNKING", "S: 250-BINARYMIME", "S: 250-ENHANCEDSTATUSCODES", "S: 250-DSN", \
	"S: 250-DELIVERBY", "S: 250-MT-PRIORITY"
#define EHLO_CLEAR EHLO_BEGINS, "S: 250-LIMITS RCPTMAX=50", "S: 250 STARTTLS"
#define EHLO_TLS EHLO_BEGINS, "S: 250-REQUIRETLS", "S: 250-LIMITS RCPTMAX=50", "S: 250 AUTH PLAIN LOGIN"

TEST(clear_text)
{
	LOGIN_PLAY(&submission_login, &login_clear,
		GREETING, EHLO_CLEAR,
		"C: AUTH PLAIN AGFsaWNlAHNlY3JldA==", "S: 538 5.7.11 ...TLS...",
		"C: MAIL FROM:<alice@example.test>", "S: 530 5.7.0 ...TLS...",
		"C: STARTTLS now", "S: 501 5.5.4 ...",
		"C: STARTTLS", "S: 220 2.0.0 begin TLS now", "=STARTTLS", "TLS",
		"C: STARTTLS", "S: 503 5.5.1 TLS is active already",
		"C: AUTH PLAIN AGFsaWNlAHNlY3JldA==", "S: 503 5.5.1 EHLO comes first",  /* forgotten: it was said in clear text */
		EHLO_TLS,
		"C: AUTH PLAIN AGFsaWNlAHNlY3JldA==", "K: alice secret OK", "=OPEN EHLO client");
}

TEST(send_later_is_offered_before_the_login)
{
	struct login_facts facts = login_tls;

	facts.hold_max = 86400;
	LOGIN_PLAY(&submission_login, &facts,
		GREETING, EHLO_BEGINS, "S: 250-FUTURERELEASE 86400 ...", "S: 250-REQUIRETLS", "S: 250-LIMITS RCPTMAX=50", "S: 250 AUTH PLAIN LOGIN");
}

TEST(before_the_login)
{
	LOGIN_PLAY(&submission_login, &login_tls,
		GREETING,
		"C: NOOP", "S: 250 2.0.0 done", "C: RSET", "S: 250 2.0.0 done", "C: VRFY alice", "S: 252 2.5.2 ...", "C: help", "S: 214 2.0.0 ...",
		"C: BLAH", "S: 500 5.5.1 unknown command...",
		"C: EHLO", "S: 501 5.5.4 ...", "C: EHLO two words", "S: 501 5.5.4 ...",
		"C: HELO client", "S: 250 mail.test",
		"C: MAIL FROM:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA", "S: 530 5.7.0 log in first...", "S: 530 5.7.0 log in...",
		"S: 530 5.7.0 log in...",
		"C: BDAT 6 LAST\r\nQUIT", "S: 530 5.7.0 log in first...",  /* six bytes of message, not a command */
		"C: NOOP", "S: 250 2.0.0 done",
		"C- NOOP\n", "S: 500 5.5.2 a line ends with CR LF...",
		"C: NO\rOP", "S: 500 5.5.2 a line ends with CR LF...",
		"C: QUIT", "S: 221 2.0.0 goodbye", "=CLOSE");
}

TEST(auth)
{
	LOGIN_PLAY(&submission_login, &login_tls,
		GREETING, EHLO_TLS,
		"C: AUTH", "S: 501 5.5.4 ...",
		"C: AUTH CRAM-MD5", "S: 504 5.5.4 ...",
		"C: AUTH PLAIN", "S: 334 ", "C: *", "S: 501 5.7.0 cancelled",
		"C: AUTH PLAIN", "S: 334 ", "C: ???", "S: 501 5.5.2 ...",
		"C: AUTH PLAIN =", "S: 501 5.5.2 ...",
		"C: AUTH PLAIN", "S: 334 ", "C: AGFsaWNlAHNlY3JldA==", "K: alice secret WRONG", "S: 535 5.7.8 wrong...",
		"C: AUTH LOGIN", "S: 334 VXNlcm5hbWU6", "C: YWxpY2U=", "S: 334 UGFzc3dvcmQ6", "C: c2VjcmV0", "K: alice secret SUSPENDED",
		"S: 535 5.7.8 ...suspended...",
		"C: AUTH LOGIN YWxpY2U=", "S: 334 UGFzc3dvcmQ6", "C: c2VjcmV0", "K: alice secret APP", "S: 534 5.7.9 ...app password...",
		"C: AUTH PLAIN AGFsaWNlAHNlY3JldA==", "K: alice secret THROTTLED", "S: 454 4.7.0 ...30 seconds...",
		"C: AUTH PLAIN AGFsaWNlAHNlY3JldA==", "K: alice secret LOST", "S: 454 4.7.0 ...",
		"C: AUTH PLAIN AGFsaWNlAHNlY3JldA==", "K: alice secret OK", "=OPEN EHLO client", "REFUSED", "S: 454 4.7.0 no room", "=INPUT",
		"C: AUTH PLAIN AGFsaWNlAHNlY3JldA==", "K: alice secret WRONG", "S: 535 5.7.8 too many wrong passwords...", "=CLOSE");
}

TEST(tokens_and_certificates)
{
	struct login_facts facts = login_tls;

	facts.has_bearer = facts.has_certificate = facts.certificate_is_current = true;
	facts.fingerprint[0] = 0xf1;
	LOGIN_PLAY(&submission_login, &facts,
		GREETING, EHLO_BEGINS, "S: 250-REQUIRETLS", "S: 250-LIMITS RCPTMAX=50", "S: 250 AUTH PLAIN LOGIN OAUTHBEARER XOAUTH2 EXTERNAL",
		"C: AUTH OAUTHBEARER bixhPWFsaWNlLAFhdXRoPUJlYXJlciBleUpoYkdjaU9pSlNVekkxTmlJc0ltdHBaQ0k2SW1zeEluMC5lMzAuQUFBQQEB", "K: BEARER alice k1 WRONG", "S: 334 eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=", "C: AQ==", "S: 535 5.7.8 the token...",
		"C: AUTH EXTERNAL YWxpY2U=", "K: CERTIFICATE alice WRONG", "S: 535 5.7.8 the certificate...",
		"C: AUTH EXTERNAL =", "K: CERTIFICATE  OK", "=OPEN EHLO client");
}

TEST(printers)
{
	struct login_facts facts = login_clear;

	facts.is_printer = true;
	LOGIN_PLAY(&submission_login, &facts,
		GREETING, "C: HELO scanner", "S: 250 mail.test",
		"C: MAIL FROM:<scan@example.test>\r\nRCPT TO:<bob@example.test>", "K: PRINTER OK", "=OPEN PRINTER HELO scanner");
	LOGIN_PLAY(&submission_login, &facts,  /* taken off the list meanwhile */
		GREETING,
		"C: MAIL FROM:<scan@example.test>", "S: 503 5.5.1 EHLO comes first",
		"C: HELO scanner", "S: 250 mail.test",
		"C: MAIL FROM:<scan@example.test>", "K: PRINTER WRONG", "S: 530 5.7.0 ...",
		"C: MAIL FROM:<scan@example.test>", "S: 530 5.7.0 ...");
	LOGIN_PLAY(&submission_login, &facts,
		GREETING, "C: HELO scanner", "S: 250 mail.test",
		"C: MAIL FROM:<scan@example.test>", "K: PRINTER LOST", "S: 451 4.3.0 ...",
		"C: MAIL FROM:<scan@example.test>", "K: PRINTER OK", "=OPEN PRINTER HELO scanner");
	facts = login_tls;
	facts.is_printer = true;
	LOGIN_PLAY(&submission_login, &facts,  /* one that can log in may do so */
		GREETING, "C: HELO scanner", "S: 250 mail.test",
		"C: MAIL FROM:<scan@example.test>", "K: PRINTER WRONG", "S: 530 5.7.0 ...",
		"C: AUTH PLAIN Ym9iAGFsaWNlAHNlY3JldA==", "S: 535 5.7.8 acting for another account...",
		"C: AUTH PLAIN AGFsaWNlAHNlY3JldA==", "K: alice secret OK", "=OPEN HELO scanner");
}

/* The cell has no room for a printer: its MAIL, which nobody has taken, is answered here. */
TEST(printer_refused)
{
	struct login_facts facts = login_clear;
	struct str in = STR("EHLO scanner\r\nMAIL FROM:<scan@example.test>\r\n");
	struct verify_reply granted = { .outcome = VERIFY_OK, .grant = { .account = 7 }, .login = STR("alice@example.test") };
	struct buf out = BUF(LOGIN_OUTPUT_MAX), answer = BUF(1000);
	struct login *l;
	size_t used;

	facts.is_printer = true;
	l = login_new(&submission_login, &facts);
	EXPECT_INT(login_input(l, in, &used, &out), LOGIN_ASK);
	in = str_from(in, used);
	EXPECT_STR(in, "MAIL FROM:<scan@example.test>\r\n");
	put_verify_reply(&answer, &granted);
	EXPECT_INT(login_answered(l, ERR_OK, buf_str(&answer), &out), LOGIN_OPEN);
	EXPECT_STR(l->login_name, "alice@example.test");
	buf_reset(&out);
	EXPECT_INT(login_refused(l, ERR_LIMIT, STR("no room"), &out), LOGIN_INPUT);
	EXPECT_INT(login_input(l, in, &used, &out), LOGIN_INPUT);
	EXPECT_INT(used, in.n);
	EXPECT(str_starts(buf_str(&out), STR("451 4.3.0 ")));
	login_free(l);
	buf_free(&out);
	buf_free(&answer);
}

TEST(injection)
{
	static const char *const lines[] = {
		GREETING, EHLO_CLEAR, "C: NOOP\r\nSTARTTLS\r\nNOOP", "S: 250 2.0.0 done", "S: 421 4.3.2 mail.test: something was sent behind...",
		"=CLOSE", NULL
	};

	login_play_once(&submission_login, &login_clear, lines, false);
}

TEST(limits)
{
	struct login_facts facts = login_tls;
	struct login *l = login_new(&submission_login, &facts);
	struct buf out = BUF(LOGIN_OUTPUT_MAX), in = BUF(LOGIN_INPUT_MAX);
	size_t used;

	while (in.n < SASL_LINE_MAX + 500)
		buf_add_char(&in, 'x');
	EXPECT_INT(login_input(l, buf_str(&in), &used, &out), LOGIN_CLOSE);
	EXPECT(str_starts(buf_str(&out), STR("421 4.3.2 mail.test: this command is too long")));
	login_free(l);
	buf_free(&in);
	buf_free(&out);
	facts.mistakes_max = 2;
	LOGIN_PLAY(&submission_login, &facts, GREETING,
		"C: MAIL FROM:<>", "S: 530 ...", "C: X", "S: 500 ...", "S: 421 4.3.2 mail.test: too many commands...", "=CLOSE");
}
