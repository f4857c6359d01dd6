/* SASL: each mechanism's road, and what is refused on the way. */
#include "base/test.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "auth/command.h"
#include "auth/sasl.h"

static struct str b64(struct arena *a, const char *text, size_t n) { return base64_encode(a, str_make(text, n)); }
#define B64(literal) b64(&a, literal, sizeof(literal) - 1)

TEST(plain)
{
	struct arena a = { 0 };
	const struct { struct str message; enum sasl_next next; const char *login, *password; } cases[] = {
		{ B64("\0alice@example.test\0secret"), SASL_VERIFY, "alice@example.test", "secret" },
		{ B64("alice@example.test\0ALICE@example.test\0s"), SASL_VERIFY, "ALICE@example.test", "s" },
		{ B64("bob@example.test\0alice@example.test\0s"), SASL_DENIED, "alice@example.test", "s" },
		{ B64("\0alice\0"), SASL_MALFORMED, NULL, NULL },
		{ B64("\0\0secret"), SASL_MALFORMED, NULL, NULL },
		{ B64("alice\0secret"), SASL_MALFORMED, NULL, NULL },
		{ B64("\0alice\0sec\0ret"), SASL_MALFORMED, NULL, NULL },
		{ B64("\0ali\xff\0secret"), SASL_MALFORMED, NULL, NULL },
		{ B64("\0ali\nce\0secret"), SASL_MALFORMED, NULL, NULL },
		{ STR("AGFsaWNl*"), SASL_MALFORMED, NULL, NULL },
		{ STR(""), SASL_MALFORMED, NULL, NULL },
		{ STR("="), SASL_MALFORMED, NULL, NULL },
		{ STR("*"), SASL_CANCELLED, NULL, NULL },
	};

	EACH(cases, c) {
		struct sasl x;
		struct str challenge;

		sasl_begin(&x, SASL_PLAIN, NULL, &a);
		EXPECT_INT(sasl_step(&x, STR_NONE, &challenge), SASL_CHALLENGE);
		EXPECT_STR(challenge, "");
		EXPECT_INT(sasl_step(&x, c->message, &challenge), c->next);
		EXPECT_STR(x.login, c->login);
		EXPECT_STR(x.password, c->password);
		sasl_end(&x);
		sasl_begin(&x, SASL_PLAIN, NULL, &a);  /* as initial response */
		EXPECT_INT(sasl_step(&x, c->message, &challenge), c->next);
	}
	arena_free(&a);
}

TEST(login)
{
	struct arena a = { 0 };
	struct sasl x;
	struct str challenge;

	sasl_begin(&x, SASL_LOGIN, NULL, &a);
	EXPECT_INT(sasl_step(&x, STR_NONE, &challenge), SASL_CHALLENGE);
	EXPECT_STR(challenge, "VXNlcm5hbWU6");
	EXPECT_INT(sasl_step(&x, B64("alice@example.test"), &challenge), SASL_CHALLENGE);
	EXPECT_STR(challenge, "UGFzc3dvcmQ6");
	EXPECT_INT(sasl_step(&x, B64("secret"), &challenge), SASL_VERIFY);
	EXPECT_STR(x.login, "alice@example.test");
	EXPECT_STR(x.password, "secret");

	sasl_begin(&x, SASL_LOGIN, NULL, &a);  /* AUTH LOGIN <user>: as some clients do */
	EXPECT_INT(sasl_step(&x, B64("alice@example.test"), &challenge), SASL_CHALLENGE);
	EXPECT_INT(sasl_step(&x, B64("secret"), &challenge), SASL_VERIFY);

	sasl_begin(&x, SASL_LOGIN, NULL, &a);
	EXPECT_INT(sasl_step(&x, STR("=="), &challenge), SASL_MALFORMED);
	sasl_begin(&x, SASL_LOGIN, NULL, &a);
	EXPECT_INT(sasl_step(&x, B64("alice"), &challenge), SASL_CHALLENGE);
	EXPECT_INT(sasl_step(&x, B64("a\0b"), &challenge), SASL_MALFORMED);
	arena_free(&a);
}

TEST(offers)
{
	const struct { struct sasl_offers offers; const char *list; } cases[] = {
		{ { 0 }, "PLAIN LOGIN" },
		{ { .has_binding = true }, "PLAIN LOGIN" },
		{ { .has_scram = true }, "SCRAM-SHA-256 PLAIN LOGIN" },
		{ { .has_scram = true, .has_binding = true }, "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN" },
		{ { .has_bearer = true }, "PLAIN LOGIN OAUTHBEARER XOAUTH2" },
		{ { .has_certificate = true }, "PLAIN LOGIN EXTERNAL" },
	};
	static const char *const names[] = { "plain", "Login", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "OAUTHBEARER", "XOAUTH2", "EXTERNAL" };
	struct buf b = BUF(200);
	enum sasl_mechanism m;

	EACH(cases, c) {  /* what is listed is found, and nothing else */
		buf_reset(&b);
		sasl_list(&b, "", " ", &c->offers);
		EXPECT_STR(buf_str(&b), c->list);
		EACH(names, name) {
			bool is_listed = false;
			struct str rest = buf_str(&b), word;
			while (rest.n > 0) {
				str_cut(rest, ' ', &word, &rest);
				is_listed |= str_ieq(word, str_of(*name));
			}
			EXPECT(sasl_find(str_of(*name), &c->offers, &m) == is_listed);
		}
	}
	buf_reset(&b);
	sasl_list(&b, "AUTH=", " ", &cases[0].offers);
	EXPECT_STR(buf_str(&b), "AUTH=PLAIN AUTH=LOGIN");
	buf_free(&b);
}

TEST(bearer)
{
	struct arena a = { 0 };
	const struct { enum sasl_mechanism m; struct str message; enum sasl_next next; const char *login, *token; } cases[] = {
		{ SASL_OAUTHBEARER, B64("n,a=user@example.com,\1host=server.example.com\1port=143\1auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1"),
		  SASL_BEARER, "user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==" },  /* RFC 7628 §4.1 */
		{ SASL_OAUTHBEARER, B64("n,,\1auth=bearer a.b.c\1\1"), SASL_BEARER, "", "a.b.c" },
		{ SASL_OAUTHBEARER, B64("y,a=a=2Cb,\1auth=Bearer  x\1\1"), SASL_BEARER, "a,b", "x" },
		{ SASL_OAUTHBEARER, B64("p=tls-exporter,,\1auth=Bearer x\1\1"), SASL_MALFORMED, NULL, NULL },
		{ SASL_OAUTHBEARER, B64("n,,\1auth=Basic x\1\1"), SASL_MALFORMED, NULL, NULL },
		{ SASL_OAUTHBEARER, B64("n,,\1auth=Bearer\1\1"), SASL_MALFORMED, NULL, NULL },
		{ SASL_OAUTHBEARER, B64("n,,\1auth=Bearer x y\1\1"), SASL_MALFORMED, NULL, NULL },
		{ SASL_OAUTHBEARER, B64("n,,\1auth=Bearer x\1"), SASL_MALFORMED, NULL, NULL },     /* its end is missing */
		{ SASL_OAUTHBEARER, B64("n,,\1auth=Bearer x\1\1z"), SASL_MALFORMED, NULL, NULL },
		{ SASL_OAUTHBEARER, B64("n,,\1host=h\1\1"), SASL_MALFORMED, NULL, NULL },         /* no token */
		{ SASL_OAUTHBEARER, B64("n,,\1host\1auth=Bearer x\1\1"), SASL_MALFORMED, NULL, NULL },
		{ SASL_OAUTHBEARER, B64("n,a=,\1auth=Bearer x\1\1"), SASL_MALFORMED, NULL, NULL },
		{ SASL_OAUTHBEARER, B64("\1"), SASL_MALFORMED, NULL, NULL },
		{ SASL_OAUTHBEARER, STR("*"), SASL_CANCELLED, NULL, NULL },
		{ SASL_XOAUTH2, B64("user=someuser@example.com\1auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\1\1"),
		  SASL_BEARER, "someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg" },
		{ SASL_XOAUTH2, B64("auth=Bearer x\1\1"), SASL_BEARER, "", "x" },
		{ SASL_XOAUTH2, B64("user=a\nb\1auth=Bearer x\1\1"), SASL_MALFORMED, NULL, NULL },
		{ SASL_XOAUTH2, B64("user=a\1auth=x\1\1"), SASL_MALFORMED, NULL, NULL },
		{ SASL_XOAUTH2, STR(""), SASL_MALFORMED, NULL, NULL },
	};

	EACH(cases, c) {
		struct sasl x;
		struct str challenge;

		sasl_begin(&x, c->m, NULL, &a);
		EXPECT_INT(sasl_step(&x, c->message, &challenge), c->next);
		EXPECT_STR(x.login, c->login);
		EXPECT_STR(x.password, c->token);
		if (c->next != SASL_BEARER)
			continue;
		EXPECT(sasl_bearer_refused(&x).n > 0);
		EXPECT_INT(sasl_step(&x, STR("AQ=="), &challenge), SASL_DENIED);  /* RFC 7628 §3.2.3: whatever it says now */
		sasl_end(&x);
	}
	arena_free(&a);
}

TEST(external)
{
	struct arena a = { 0 };
	const struct { struct str message; enum sasl_next next; const char *login; } cases[] = {
		{ STR(""), SASL_CERTIFICATE, "" },
		{ STR("="), SASL_CERTIFICATE, "" },
		{ B64("alice@example.test"), SASL_CERTIFICATE, "alice@example.test" },
		{ B64("a\0b"), SASL_MALFORMED, NULL },
		{ B64("a\xff"), SASL_MALFORMED, NULL },
		{ STR("*"), SASL_CANCELLED, NULL },
	};

	EACH(cases, c) {
		struct sasl x;
		struct str challenge;

		sasl_begin(&x, SASL_EXTERNAL, NULL, &a);
		if (!str_eq(c->message, STR("="))) {
			EXPECT_INT(sasl_step(&x, STR_NONE, &challenge), SASL_CHALLENGE);
			EXPECT_STR(challenge, "");
		}
		EXPECT_INT(sasl_step(&x, c->message, &challenge), c->next);
		EXPECT_STR(x.login, c->login);
	}
	arena_free(&a);
}

TEST(scram_first)
{
	struct arena a = { 0 };
	struct sasl_binding none = { 0 }, tls = { .tls_exporter = STR("EXPORTED") };
	const struct { bool plus, has_tls; const char *message; enum sasl_next next; const char *login; } cases[] = {
		{ false, false, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", SASL_SCRAM_FIRST, "user" },
		{ false, false, "n,a=user,n=user,r=abc", SASL_SCRAM_FIRST, "user" },
		{ false, false, "n,a=other,n=user,r=abc", SASL_DENIED, "user" },
		{ false, false, "n,,n=a=2Cb=3Dc,r=abc", SASL_SCRAM_FIRST, "a,b=c" },
		{ false, false, "n,,n=a=20,r=abc", SASL_MALFORMED, NULL },
		{ false, false, "n,,n=,r=abc", SASL_MALFORMED, NULL },
		{ false, false, "n,,n=user,r=", SASL_MALFORMED, NULL },
		{ false, false, "n,,n=user", SASL_MALFORMED, NULL },
		{ false, false, "n,,m=x,n=user,r=abc", SASL_MALFORMED, NULL },      /* a mandatory extension we do not know */
		{ false, false, "n,,n=user,r=abc,m=x", SASL_MALFORMED, NULL },
		{ false, false, "n,,n=user,r=abc,x=opt", SASL_SCRAM_FIRST, "user" },
		{ false, false, "y,,n=user,r=abc", SASL_SCRAM_FIRST, "user" },
		{ false, true,  "y,,n=user,r=abc", SASL_DENIED, NULL },             /* a downgrade on the way */
		{ false, true,  "n,,n=user,r=abc", SASL_SCRAM_FIRST, "user" },
		{ false, true,  "p=tls-exporter,,n=user,r=abc", SASL_MALFORMED, NULL },
		{ true,  true,  "p=tls-exporter,,n=user,r=abc", SASL_SCRAM_FIRST, "user" },
		{ true,  true,  "p=tls-server-end-point,,n=user,r=abc", SASL_DENIED, NULL },
		{ true,  true,  "p=tls-unique,,n=user,r=abc", SASL_DENIED, NULL },
		{ true,  true,  "n,,n=user,r=abc", SASL_MALFORMED, NULL },
		{ false, false, "", SASL_MALFORMED, NULL },
	};

	EACH(cases, c) {
		struct sasl x;
		struct str challenge;

		sasl_begin(&x, c->plus ? SASL_SCRAM_SHA_256_PLUS : SASL_SCRAM_SHA_256, c->has_tls ? &tls : &none, &a);
		EXPECT_INT(sasl_step(&x, base64_encode(&a, str_of(c->message)), &challenge), c->next);
		EXPECT_STR(x.login, c->login);
	}
	arena_free(&a);
}

/* RFC 7677 §3 up to what keys is asked, with and without binding. */
TEST(scram_final)
{
	struct arena a = { 0 };
	struct sasl_binding tls = { .tls_exporter = STR("EXPORTED") };
	struct scram_first_reply first = { VERIFY_OK, 0, 42,
		STR("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096") };
	const struct { bool plus; const char *message; enum sasl_next next; } cases[] = {
		{ false, "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		  SASL_SCRAM_FINAL },
		{ false, "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,x=1,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		  SASL_SCRAM_FINAL },
		{ false, "c=biws,r=rOprNGfwEbeRWgbNEkqO,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", SASL_DENIED },
		{ false, "c=eSws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		  SASL_DENIED },  /* "y,,": not the header sent first */
		{ false, "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzb", SASL_MALFORMED },
		{ false, "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", SASL_MALFORMED },
		{ true,  "c=cD10bHMtZXhwb3J0ZXIsLEVYUE9SVEVE,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
		         "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", SASL_SCRAM_FINAL },
		{ true,  "c=cD10bHMtZXhwb3J0ZXIsLEVYUE9SVEVF,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
		         "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", SASL_DENIED },  /* somebody else's connection */
	};

	EACH(cases, c) {
		struct verify_reply ok = { .outcome = VERIFY_OK, .server_final = STR("v=sig") };
		struct sasl x;
		struct str challenge;

		sasl_begin(&x, c->plus ? SASL_SCRAM_SHA_256_PLUS : SASL_SCRAM_SHA_256, c->plus ? &tls : NULL, &a);
		EXPECT_INT(sasl_step(&x, c->plus ? B64("p=tls-exporter,,n=user,r=rOprNGfwEbeRWgbNEkqO")
		                                 : B64("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"), &challenge), SASL_SCRAM_FIRST);
		EXPECT_STR(x.client_first_bare, "n=user,r=rOprNGfwEbeRWgbNEkqO");
		EXPECT(str_eq(sasl_scram_challenge(&x, &first), base64_encode(&a, first.server_first)));
		EXPECT_INT(sasl_step(&x, base64_encode(&a, str_of(c->message)), &challenge), c->next);
		if (c->next != SASL_SCRAM_FINAL)
			continue;
		EXPECT(x.scram_id == 42);
		EXPECT(str_starts(x.without_proof, STR("c=")) && !str_ends(x.without_proof, STR("=")));
		EXPECT_STR(sasl_scram_success(&x, &ok), "dj1zaWc=");
		EXPECT_INT(sasl_step(&x, STR(""), &challenge), SASL_DONE);
	}
	arena_free(&a);
}

TEST(encodings)
{
	struct arena a = { 0 };
	struct buf b = BUF(8000);
	struct verify_request q = { PROTOCOL_IMAP, 7, STR("192.0.2.1"), STR("alice"), STR("pw") }, q2;
	struct verify_reply r = { VERIFY_THROTTLED, 5, 60, { .account = 3 }, STR("alice"), STR("v=x") }, r2;
	struct scram_first_request f = { PROTOCOL_POP3, 7, STR("::1"), STR("al"), STR("n1"), STR("n=al,r=n1") }, f2;
	struct scram_final_request e = { 1, 2, STR("c=biws,r=x"), { 9 } }, e2;
	struct app_password apps[] = { { 1, 2, STR("phone"), 3, 4 }, { 2, 0, STR("tablet"), 3, 0 } };
	struct secret_reply s = { true, 9, STR("text"), apps, 2 }, s2;
	struct secret_command c = { SECRET_APP_ADD, 5, 0, 6, STR("phone"), STR("") }, c2;
	struct scan in;

#define BACK(put, get, from, to) buf_reset(&b); put(&b, &from); in = scan_of(buf_str(&b)); EXPECT(get(&in, &to)); \
	in = scan_of(str_sub(buf_str(&b), 0, b.n - 1)); EXPECT(!get(&in, &to)); in = scan_of(buf_str(&b)); EXPECT(get(&in, &to))
	BACK(put_verify_request, get_verify_request, q, q2);
	EXPECT_STR(q2.password, "pw");
	BACK(put_verify_reply, get_verify_reply, r, r2);
	EXPECT(r2.retry_s == 60 && r2.grant.account == 3);
	BACK(put_scram_first_request, get_scram_first_request, f, f2);
	EXPECT_STR(f2.client_first_bare, "n=al,r=n1");
	BACK(put_scram_final_request, get_scram_final_request, e, e2);
	EXPECT_INT(e2.proof[0], 9);
	BACK(put_secret_command, get_secret_command, c, c2);
	EXPECT_INT(c2.rights, 6);
	buf_reset(&b);
	put_secret_reply(&b, &s);
	in = scan_of(buf_str(&b));
	EXPECT(get_secret_reply(&in, &a, &s2));
	EXPECT_STR(s2.apps[1].name, "tablet");
	q.protocol = (enum protocol)99;
	buf_reset(&b);
	put_verify_request(&b, &q);
	in = scan_of(buf_str(&b));
	EXPECT(!get_verify_request(&in, &q2));
	buf_free(&b);
	arena_free(&a);
}
