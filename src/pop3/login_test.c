/* POP3 before the login, as a client sees it. */
#include "auth/login_test.h"

#define GREETING "S: +OK mail.test facteur is ready"
#define ALWAYS "S: TOP", "S: UIDL", "S: RESP-CODES", "S: AUTH-RESP-CODE", "S: PIPELINING", "S: EXPIRE NEVER", "S: UTF8 USER", "S: IMPLEMENTATION facteur", "S: ."

TEST(clear_text)
{
	LOGIN_PLAY(&pop3_login, &login_clear,
		GREETING,
		"C: CAPA", "S: +OK ...", "S: STLS", ALWAYS,
		"C: USER alice", "S: -ERR [SYS/PERM] ...TLS...",
		"C: PASS secret", "S: -ERR [SYS/PERM] ...TLS...",
		"C: AUTH PLAIN", "S: -ERR [SYS/PERM] ...TLS...",
		"C: AUTH", "S: -ERR [SYS/PERM] ...TLS...",
		"C: stls", "S: +OK begin TLS now", "=STARTTLS", "TLS",
		"C: CAPA", "S: +OK ...", "S: USER", "S: SASL PLAIN LOGIN", ALWAYS,
		"C: STLS", "S: -ERR TLS is active already",
		"C: USER alice", "S: +OK ...",
		"C: PASS secret", "K: alice secret OK", "=OPEN ASCII PLAIN LOGIN");
}

TEST(user_and_pass)
{
	LOGIN_PLAY(&pop3_login, &login_tls,
		GREETING,
		"C: PASS secret", "S: -ERR the user name comes first...",
		"C: USER", "S: -ERR expected: USER name",
		"C: STAT", "S: -ERR this command comes after the login...",
		"C: APOP alice c4c9334bac560ecc979e58001b3e22fb", "S: -ERR APOP is not offered...",
		"C: BLAH", "S: -ERR unknown command...",
		"C: UTF8", "S: +OK ...",
		"C: USER alice@example.test", "S: +OK ...",
		"C: PASS  two words ", "K: alice@example.test  two words  WRONG", "S: -ERR [AUTH] wrong...",
		"C: PASS secret", "S: -ERR the user name comes first...",
		"C: USER bob", "S: +OK ...",
		"C: PASS s", "K: bob s THROTTLED", "S: -ERR [LOGIN-DELAY] ...30 seconds...",
		"C: USER bob", "S: +OK ...", "C: PASS s", "K: bob s LOST", "S: -ERR [SYS/TEMP] ...",
		"C: USER bob", "S: +OK ...", "C: PASS s", "K: bob s OK", "=OPEN UTF8 PLAIN LOGIN", "REFUSED", "S: -ERR [SYS/TEMP] no room", "=INPUT",
		"C: USER b", "S: +OK ...", "C: PASS s", "K: b s WRONG", "S: -ERR [AUTH] wrong...",
		"C: USER b", "S: +OK ...", "C: PASS s", "K: b s WRONG", "S: -ERR [AUTH] too many wrong passwords...", "=CLOSE");
	LOGIN_PLAY(&pop3_login, &login_tls, GREETING, "C: QUIT", "S: +OK goodbye", "=CLOSE");
}

/* RFC 2449 §6.6: all at once; what follows PASS is for the cell */
TEST(pipelined)
{
	LOGIN_PLAY(&pop3_login, &login_tls,
		GREETING, "C: USER alice\r\nPASS secret\r\nSTAT\r\nQUIT", "S: +OK ...", "K: alice secret OK", "=OPEN ASCII PLAIN LOGIN");
}

TEST(auth)
{
	LOGIN_PLAY(&pop3_login, &login_tls,
		GREETING,
		"C: AUTH", "S: +OK ...", "S: PLAIN", "S: LOGIN", "S: .",
		"C: AUTH GSSAPI", "S: -ERR this mechanism is not offered...",
		"C: AUTH PLAIN", "S: + ", "C: *", "S: -ERR cancelled",
		"C: AUTH PLAIN", "S: + ", "C: AGFsaWNlAHNlY3JldA==", "K: alice secret SUSPENDED", "S: -ERR [AUTH] ...suspended...",
		"C: AUTH PLAIN Ym9iAGFsaWNlAHNlY3JldA==", "S: -ERR [AUTH] acting for another account...",
		"C: AUTH LOGIN", "S: + VXNlcm5hbWU6", "C: YWxpY2U=", "S: + UGFzc3dvcmQ6", "C: c2VjcmV0", "K: alice secret NOT_ALLOWED",
		"S: -ERR [AUTH] ...",
		"C: auth plain AGFsaWNlAHNlY3JldA==", "K: alice secret OK", "=OPEN ASCII PLAIN LOGIN");
}

TEST(tokens_and_certificates)
{
	struct login_facts facts = login_tls;

	facts.has_bearer = facts.has_certificate = facts.certificate_is_current = true;
	facts.fingerprint[0] = 0xf1;
	LOGIN_PLAY(&pop3_login, &facts,
		"S: +OK ...", "C: AUTH", "S: +OK ...", "S: PLAIN", "S: LOGIN", "S: OAUTHBEARER", "S: XOAUTH2", "S: EXTERNAL", "S: .",
		"C: AUTH XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciBleUpoYkdjaU9pSlNVekkxTmlJc0ltdHBaQ0k2SW1zeEluMC5lMzAuQUFBQQEB", "K: BEARER alice k1 WRONG", "S: + eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIiwic2NvcGUiOiIifQ==", "C: ", "S: -ERR [AUTH] the token...",
		"C: AUTH EXTERNAL =", "K: CERTIFICATE  WRONG", "S: -ERR [AUTH] the certificate...",
		"C: AUTH OAUTHBEARER", "S: + ", "C: bixhPWFsaWNlLAFhdXRoPUJlYXJlciBleUpoYkdjaU9pSlNVekkxTmlJc0ltdHBaQ0k2SW1zeEluMC5lMzAuQUFBQQEB", "K: BEARER alice k1 OK", "=OPEN ASCII PLAIN LOGIN OAUTHBEARER XOAUTH2 EXTERNAL");
}

TEST(injection)
{
	static const char *const lines[] = {
		GREETING, "C: CAPA\r\nSTLS\r\nQUIT", "S: +OK ...", "S: STLS", ALWAYS, "S: -ERR something was sent behind STARTTLS...", "=CLOSE", NULL
	};

	login_play_once(&pop3_login, &login_clear, lines, false);
}

TEST(limits)
{
	struct login *l = login_new(&pop3_login, &login_tls);
	struct buf out = BUF(LOGIN_OUTPUT_MAX), in = BUF(LOGIN_INPUT_MAX);
	size_t used;

	buf_add_cstr(&in, "USER ");
	for (int i = 0; i < LOGIN_NAME_MAX + 1; i++)
		buf_add_char(&in, 'x');
	buf_add_cstr(&in, "\r\nPASS y\r\n");
	EXPECT_INT(login_input(l, buf_str(&in), &used, &out), LOGIN_ASK);
	EXPECT_STR(l->login_name, "?");  /* nobody's */
	buf_reset(&in);
	login_answered(l, ERR_UNAVAILABLE, STR(""), &out);
	buf_reset(&out);
	while (in.n < SASL_LINE_MAX + 500)
		buf_add_char(&in, 'x');
	EXPECT_INT(login_input(l, buf_str(&in), &used, &out), LOGIN_CLOSE);
	EXPECT(str_starts(buf_str(&out), STR("-ERR this command is too long")));
	login_free(l);
	buf_free(&in);
	buf_free(&out);
}
