/* IMAP before the login, as a client sees it. */
#include "auth/login_test.h"

#define CLEAR_GREETING "S: * OK [CAPABILITY IMAP4rev2 IMAP4rev1 LITERAL+ LANGUAGE ID ENABLE SASL-IR STARTTLS LOGINDISABLED] mail.test facteur is ready"
#define TLS_GREETING "S: * OK [CAPABILITY IMAP4rev2 IMAP4rev1 LITERAL+ LANGUAGE ID ENABLE SASL-IR AUTH=PLAIN AUTH=LOGIN] mail.test facteur is ready"

TEST(clear_text)
{
	LOGIN_PLAY(&imap_login, &login_clear,
		CLEAR_GREETING,
		"C: a1 capability", "S: * CAPABILITY IMAP4rev2 IMAP4rev1 LITERAL+ LANGUAGE ID ENABLE SASL-IR STARTTLS LOGINDISABLED", "S: a1 OK ...",
		"C: a2 LOGIN alice secret", "S: a2 NO [PRIVACYREQUIRED] ...TLS...",
		"C: a3 LOGIN {5}", "S: a3 NO [PRIVACYREQUIRED] ...",  /* no leave to send it */
		"C: a4 LOGIN {5+}", "C: alice {6+}", "C: secret", "S: a4 NO [PRIVACYREQUIRED] ...",
		"C: a5 AUTHENTICATE PLAIN", "S: a5 NO [PRIVACYREQUIRED] ...",
		"C: a6 STARTTLS x", "S: a6 BAD ...",
		"C: a7 STARTTLS", "S: a7 OK ...", "=STARTTLS", "TLS",
		"C: a8 STARTTLS", "S: a8 BAD TLS is active already",
		"C: a9 LOGIN alice secret", "K: alice secret OK", "=OPEN a9 LOGIN");
}

TEST(login)
{
	LOGIN_PLAY(&imap_login, &login_tls,
		TLS_GREETING,
		"C: a1 NOOP", "S: a1 OK done",
		"C: a2 ID (\"name\" \"x\" \"version\" NIL)", "S: * ID (\"name\" \"facteur\")", "S: a2 OK ...",
		"C: a3 ID NIL", "S: * ID (\"name\" \"facteur\")", "S: a3 OK ...",
		"C: a4 ID ({4+}", "C: name {1}", "S: + ...", "C: x)", "S: * ID ...", "S: a4 OK ...",
		"C: a5 ENABLE QRESYNC", "S: a5 BAD this command comes after the login...",
		"C: a6 UID FETCH 1 FLAGS", "S: a6 BAD this command comes after the login...",
		"C: a7 BLAH", "S: a7 BAD unknown command...",
		"C: a8", "S: * BAD a command is...",
		"C: +a LOGIN x y", "S: * BAD a command is...",
		"C: ", "S: * BAD ...",
		"C: a9 LOGIN alice", "S: a9 BAD expected: user name...",
		"C: b1 LOGIN alice secret more", "S: b1 BAD expected...",
		"C: b2 LOGIN \"al\\\"ice\" \"se cr\\\\et\"", "K: al\"ice se cr\\et WRONG", "S: b2 NO [AUTHENTICATIONFAILED] wrong user name or password...",
		"C: b3 LOGIN {5}", "S: + ...", "C: alice {6}", "S: + ...", "C: secret", "K: alice secret OK", "=OPEN b3 LOGIN");
	LOGIN_PLAY(&imap_login, &login_tls,
		TLS_GREETING,
		"C: a1 LOGIN {5+}", "C: alice \"é\"", "K: alice é OK", "=OPEN a1 LOGIN");
	LOGIN_PLAY(&imap_login, &login_tls,
		TLS_GREETING,
		"C: x LOGOUT", "S: * BYE see you", "S: x OK logged out", "=CLOSE");
}

TEST(language)  /* RFC 5255 §3 */
{
	LOGIN_PLAY(&imap_login, &login_tls,
		TLS_GREETING,
		"C: a1 LANGUAGE", "S: * LANGUAGE (en fr i-default)", "S: a1 OK the languages of this server",
		"C: a2 LANGUAGE MUL", "S: a2 NO none of these languages...",
		"C: a3 LANGUAGE de {5+}", "C: fr-CA en", "S: * LANGUAGE (fr)", "S: a3 OK désormais en français",
		"C: a4 LANGUAGE MUL", "S: a4 NO aucune de ces langues...",
		"C: a4 AUTHENTICATE PLAIN", "S: + ", "C: *", "S: a4 BAD abandonné",
		"C: a4 AUTHENTICATE PLAIN Ym9iAGFsaWNlAHNlY3JldA==", "S: a4 NO [AUTHENTICATIONFAILED] agir pour un autre compte...",
		"C: a5 NOOP", "S: a5 OK c'est fait",
		"C: a6 LOGIN alice wrong", "K: alice wrong WRONG", "S: a6 NO [AUTHENTICATIONFAILED] nom d'utilisateur ou mot de passe erroné...",
		"C: a7 LOGIN alice secret", "K: alice secret OK", "=OPEN a7 LOGIN fr");
}

TEST(what_follows_is_for_the_cell)
{
	LOGIN_PLAY(&imap_login, &login_tls,
		TLS_GREETING,
		"C: a1 NOOP\r\na2 LOGIN alice secret\r\na3 SELECT INBOX", "S: a1 OK done", "K: alice secret OK", "=OPEN a2 LOGIN");
}

TEST(authenticate)
{
	LOGIN_PLAY(&imap_login, &login_tls,
		TLS_GREETING,
		"C: a1 AUTHENTICATE GSSAPI", "S: a1 NO [CANNOT] ...PLAIN, LOGIN",
		"C: a2 AUTHENTICATE PLAIN ", "S: a2 BAD ...",
		"C: a3 AUTHENTICATE plain", "S: + ", "C: *", "S: a3 BAD cancelled",
		"C: a4 AUTHENTICATE PLAIN", "S: + ", "C: ????", "S: a4 BAD ...base64...",
		"C: a5 AUTHENTICATE PLAIN =", "S: a5 BAD ...",
		"C: a6 AUTHENTICATE PLAIN", "S: + ", "C: AGFsaWNlAHNlY3JldA==", "K: alice secret BUSY", "S: a6 NO [UNAVAILABLE] ...",
		"C: a7 AUTHENTICATE LOGIN", "S: + VXNlcm5hbWU6", "C: YWxpY2U=", "S: + UGFzc3dvcmQ6", "C: c2VjcmV0", "K: alice secret SUSPENDED",
		"S: a7 NO [AUTHORIZATIONFAILED] ...",
		"C: a8 AUTHENTICATE PLAIN Ym9iAGFsaWNlAHNlY3JldA==", "S: a8 NO [AUTHENTICATIONFAILED] acting for another account...",
		"C: a9 AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==", "K: alice secret OK", "=OPEN a9 AUTHENTICATE");
}

TEST(scram)
{
	struct login_facts facts = login_tls;

	facts.has_scram = true;
	facts.binding.tls_exporter = STR("EXPORTED");
	LOGIN_PLAY(&imap_login, &facts,
		"S: * OK [CAPABILITY ...AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN AUTH=LOGIN] ...",
		/* n,,n=alice,r=abc */
		"C: a1 AUTHENTICATE SCRAM-SHA-256 biwsbj1hbGljZSxyPWFiYw==", "K: FIRST alice THROTTLED", "S: a1 NO [LIMIT] ...30 seconds...",
		"C: a2 AUTHENTICATE SCRAM-SHA-256 biwsbj1hbGljZSxyPWFiYw==", "K: FIRST alice OK", "S: + cj1hYmNYWVoscz1jMkZzZEE9PSxpPTQwOTY=",
		/* c=biws,r=abcXYZ,p=AAAA… */
		"C: Yz1iaXdzLHI9YWJjWFlaLHA9QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQT0=", "K: FINAL APP",
		"S: a2 NO [AUTHENTICATIONFAILED] ...app password...",
		"C: a3 AUTHENTICATE SCRAM-SHA-256", "S: + ", "C: biwsbj1hbGljZSxyPWFiYw==", "K: FIRST alice OK", "S: + cj1hYmNYWVoscz1jMkZzZEE9PSxpPTQwOTY=",
		"C: Yz1iaXdzLHI9YWJjWFlaLHA9QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQT0=", "K: FINAL OK", "S: + dj1jMmxu",
		"C: ", "=OPEN a3 AUTHENTICATE");
}

TEST(tokens_and_certificates)
{
	struct login_facts facts = login_tls;

	facts.has_bearer = facts.has_certificate = facts.certificate_is_current = true;
	facts.fingerprint[0] = 0xf1;
	LOGIN_PLAY(&imap_login, &facts,
		"S: * OK [CAPABILITY ...AUTH=PLAIN AUTH=LOGIN AUTH=OAUTHBEARER AUTH=XOAUTH2 AUTH=EXTERNAL] ...",
		/* n,a=alice,^Aauth=Bearer {"alg":"RS256","kid":"k1"}.{}.…^A^A; the refusal is a challenge (RFC 7628 §3.2.3) */
		"C: a1 AUTHENTICATE OAUTHBEARER bixhPWFsaWNlLAFhdXRoPUJlYXJlciBleUpoYkdjaU9pSlNVekkxTmlJc0ltdHBaQ0k2SW1zeEluMC5lMzAuQUFBQQEB", "K: BEARER alice k1 WRONG", "S: + eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=", "C: AQ==", "S: a1 NO [AUTHENTICATIONFAILED] ...token...",
		"C: a2 AUTHENTICATE XOAUTH2", "S: + ", "C: dXNlcj1hbGljZQFhdXRoPUJlYXJlciBleUpoYkdjaU9pSlNVekkxTmlJc0ltdHBaQ0k2SW1zeEluMC5lMzAuQUFBQQEB", "K: BEARER alice k1 THROTTLED", "S: a2 NO [LIMIT] ...",
		"C: a3 AUTHENTICATE XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB5YTI5Lm9wYXF1ZQEB", "K: BEARER alice  WRONG", "S: + eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIiwic2NvcGUiOiIifQ==", "C: ", "S: a3 NO [AUTHENTICATIONFAILED] ...token...",
		"C: a4 AUTHENTICATE OAUTHBEARER bixhPWFsaWNlLAFhdXRoPUJlYXJlciBleUpoYkdjaU9pSlNVekkxTmlJc0ltdHBaQ0k2SW1zeEluMC5lMzAuQUFBQQEB", "K: BEARER alice k1 SUSPENDED", "S: a4 NO [AUTHORIZATIONFAILED] ...",
		"C: a5 AUTHENTICATE OAUTHBEARER AQ==", "S: a5 BAD expected...",
		"C: a6 AUTHENTICATE EXTERNAL YWxpY2U=", "K: CERTIFICATE alice BUSY", "S: a6 NO [UNAVAILABLE] ...",
		"C: a7 LANGUAGE fr", "S: * LANGUAGE (fr)", "S: a7 OK ...",
		"C: a8 AUTHENTICATE EXTERNAL =", "K: CERTIFICATE  NOT_ALLOWED", "S: a8 NO [AUTHORIZATIONFAILED] ...",
		"C: a9 AUTHENTICATE OAUTHBEARER", "S: + ", "C: biwsAWF1dGg9QmVhcmVyIGV5SmhiR2NpT2lKU1V6STFOaUlzSW10cFpDSTZJbXN4SW4wLmUzMC5BQUFBAQE=", "K: BEARER  k1 OK", "=OPEN a9 AUTHENTICATE fr");
	LOGIN_PLAY(&imap_login, &facts,
		"S: * OK ...",
		"C: a1 AUTHENTICATE EXTERNAL", "S: + ", "C: ", "K: CERTIFICATE  WRONG", "S: a1 NO [AUTHENTICATIONFAILED] the certificate...",
		"C: a2 AUTHENTICATE EXTERNAL =", "K: CERTIFICATE  OK", "=OPEN a2 AUTHENTICATE");
}

TEST(outcomes)
{
	LOGIN_PLAY(&imap_login, &login_tls,
		TLS_GREETING,
		"C: a LOGIN alice secret", "K: alice secret NOT_ALLOWED", "S: a NO [AUTHORIZATIONFAILED] ...app password...",
		"C: a LOGIN alice secret", "K: alice secret THROTTLED", "S: a NO [LIMIT] ...30 seconds...",
		"C: a LOGIN alice secret", "K: alice secret LOST", "S: a NO [UNAVAILABLE] ...",
		"C: b LOGIN \"\" \"\"", "K: ? ? WRONG", "S: b NO [AUTHENTICATIONFAILED] wrong...",  /* cannot be right: judged all the same */
		"C: c LOGIN alice secret", "K: alice secret OK", "=OPEN c LOGIN", "REFUSED", "S: c NO [UNAVAILABLE] no room", "=INPUT",
		"C: d LOGIN alice secret", "K: alice secret WRONG", "S: d NO [AUTHENTICATIONFAILED] wrong...",
		"C: e LOGIN alice secret", "K: alice secret WRONG", "S: e NO [AUTHENTICATIONFAILED] wrong...", "S: * BYE too many wrong passwords...",
		"=CLOSE");
}

TEST(injection)
{
	static const char *const lines[] = {
		CLEAR_GREETING, "C: a1 STARTTLS\r\na2 NOOP", "S: * BYE something was sent behind STARTTLS...", "=CLOSE", NULL
	};

	login_play_once(&imap_login, &login_clear, lines, false);  /* byte by byte the rest is a TLS handshake that fails */
}

TEST(limits)
{
	struct login_facts facts = login_tls;

	LOGIN_PLAY(&imap_login, &facts, TLS_GREETING,
		"C: a LOGIN {16384}", "S: a NO [LIMIT] before the login...",  /* no leave to send it */
		"C: a LOGIN {99999999999999999999}", "S: a NO [LIMIT] ...",
		"C: a NOOP", "S: a OK done",
		"C: a LOGIN {99999999999999999999+}", "S: * BYE this command is too long...", "=CLOSE");
	facts.mistakes_max = 3;
	LOGIN_PLAY(&imap_login, &facts, TLS_GREETING,
		"C: GET / HTTP/1.1", "S: GET BAD unknown command...",
		"C: Host: x", "S: Host: BAD unknown command...",
		"C: Accept: *", "S: Accept: BAD unknown...", "S: * BYE too many commands...", "=CLOSE");
}

/* What a client says, as the gate gives it: one line more at a time, or a full buffer. */
static struct buf told(struct str said, enum login_want ends)
{
	struct login_facts facts = login_tls;
	struct login *l = login_new(&imap_login, &facts);
	struct buf out = BUF(LOGIN_OUTPUT_MAX), in = BUF(LOGIN_INPUT_MAX);
	enum login_want want = LOGIN_INPUT;
	size_t tried = 0, used;

	while (want == LOGIN_INPUT) {
		struct str more = str_sub(said, 0, LOGIN_INPUT_MAX - in.n);
		buf_add(&in, more);
		said = str_from(said, more.n);
		ptrdiff_t line = str_chr(str_from(buf_str(&in), tried), '\n');
		size_t n = line >= 0 ? tried + (size_t)line + 1 : in.n;
		if (n == tried || (line < 0 && n < LOGIN_INPUT_MAX))
			break;
		want = login_input(l, str_sub(buf_str(&in), 0, n), &used, &out);
		tried = used ? 0 : n;
		buf_drop_front(&in, used);
	}
	EXPECT_INT(want, ends);
	EXPECT(want != LOGIN_INPUT || (in.n == 0 && said.n == 0));
	login_free(l);
	buf_free(&in);
	return out;
}

static void put_long(struct buf *b, const char *begin, size_t n, const char *end)
{
	buf_add_cstr(b, begin);
	for (size_t i = 0; i < n; i++)
		buf_add_char(b, 'x');
	buf_add_cstr(b, end);
}

/* 30 fields of 30 bytes, with values of 1024 bytes (RFC 2971 §3.3): in quotes; in literals, at once or with leave */
static void put_long_id(struct buf *b, const char *begin, const char *end)
{
	buf_add_cstr(b, "a ID (");
	for (int i = 0; i < 30; i++) {
		buf_printf(b, "%s\"%030d\" ", i > 0 ? " " : "", i);
		put_long(b, begin, 1024, end);
	}
	buf_add_cstr(b, ")\r\n");
}

TEST(longer_than_the_buffer)
{
	static const struct { const char *begin; size_t n; const char *end, *answer; enum login_want want; } cases[] = {
		{ "a ID (\"name\" \"", 20000, "\")\r\n", "* ID (\"name\" \"facteur\")\r\na OK pleased to meet you\r\nb OK done\r\n", LOGIN_INPUT },
		{ "a ID (\"name\" {20000+}\r\n", 20000, ")\r\n", "* ID (\"name\" \"facteur\")\r\na OK pleased to meet you\r\nb OK done\r\n", LOGIN_INPUT },
		{ "a ID (\"name\" {20000}\r\n", 20000, ")\r\n", "+ send the literal\r\n* ID (\"name\" \"facteur\")\r\na OK pleased to meet you\r\nb OK done\r\n", LOGIN_INPUT },
		{ "a LOGIN ", 16400, " secret\r\n", "a NO [LIMIT] before the login a command is at most 16384 bytes long\r\nb OK done\r\n", LOGIN_INPUT },
		{ "a LOGIN ", 16384 - 8, " {5+}\r\nalice\r\n", "a NO [LIMIT] before the login a command is at most 16384 bytes long\r\nb OK done\r\n", LOGIN_INPUT },
		{ "a LOGIN {16384+}\r\n", 16384, " {5}\r\n", "a NO [LIMIT] before the login a command is at most 16384 bytes long\r\nb OK done\r\n", LOGIN_INPUT },
		{ "a SELECT ", 30000, "\r\n", "a NO [LIMIT] before the login a command is at most 16384 bytes long\r\nb OK done\r\n", LOGIN_INPUT },
		{ "", 30000, "\r\n", "* NO [LIMIT] before the login a command is at most 16384 bytes long\r\nb OK done\r\n", LOGIN_INPUT },
		{ "a ID (\"name\" \"", 70000, "\")\r\n", "* BYE this command is too long for the time before the login\r\n", LOGIN_CLOSE },
		{ "a ID (\"name\" {70000}\r\n", 0, "", "* BYE this command is too long for the time before the login\r\n", LOGIN_CLOSE },
		{ "a ID (\"name\" {70000+}\r\n", 0, "", "* BYE this command is too long for the time before the login\r\n", LOGIN_CLOSE },
	};

	EACH(cases, c) {
		struct buf said = BUF(100000);
		put_long(&said, c->begin, c->n, c->end);
		if (c->want == LOGIN_INPUT)
			buf_add_cstr(&said, "b NOOP\r\n");
		struct buf out = told(buf_str(&said), c->want);
		EXPECT_STR(buf_str(&out), c->answer);
		buf_free(&said);
		buf_free(&out);
	}
}

TEST(id_as_long_as_it_may_be)  /* RFC 2971 §3.3 */
{
	static const char *const quotes[][2] = { { "\"", "\"" }, { "{1024+}\r\n", "" }, { "{1024}\r\n", "" } };

	EACH(quotes, q) {
		struct buf said = BUF(100000);
		put_long_id(&said, (*q)[0], (*q)[1]);
		buf_add_cstr(&said, "b NOOP\r\n");
		struct buf out = told(buf_str(&said), LOGIN_INPUT);
		EXPECT(str_ends(buf_str(&out), STR("* ID (\"name\" \"facteur\")\r\na OK pleased to meet you\r\nb OK done\r\n")));
		buf_free(&said);
		buf_free(&out);
	}
}
