/* Who wants a report, what is in it, and the message: read back by programs that did not write it (jansson, zlib). */
#include "base/bytes.h"
#include "base/test.h"
#include "tlsrpt/report.h"
#include <jansson.h>
#include <zlib.h>

TEST(records)
{
	static const struct { const char *text[2]; size_t n; const char *address, *host, *path; uint16_t port; } cases[] = {
		{ { "v=TLSRPTv1; rua=mailto:reports@a.test" }, 1, "reports@a.test", "", "", 0 },
		{ { "v=TLSRPTv1;rua=mailto:a%2Bb@a.test?subject=x ;" }, 1, "a+b@a.test", "", "", 0 },
		{ { "v=TLSRPTv1; rua=https://R.a.test/v1/tlsrpt" }, 1, "", "r.a.test", "/v1/tlsrpt", 0 },
		{ { "v=TLSRPTv1; rua=https://r.a.test:8443" }, 1, "", "r.a.test", "/", 8443 },
		{ { "v=TLSRPTv1; x=y; rua= ftp://a , mailto:b@a.test,https://c/" }, 2, "b@a.test", "", "", 0 },
		{ { "spf", "v=TLSRPTv1; rua=mailto:a@a.test" }, 1, "a@a.test", "", "", 0 },
		{ { "v=TLSRPTv1; rua=mailto:a@a.test", "v=TLSRPTv1; rua=mailto:b@a.test" }, 0, NULL, NULL, NULL, 0 },   /* which? */
		{ { "v=TLSRPTv2; rua=mailto:a@a.test" }, 0, NULL, NULL, NULL, 0 },
		{ { "v=TLSRPTv1; rua=mailto:a%0d%0aTo:b@a.test" }, 0, NULL, NULL, NULL, 0 },
		{ { "v=TLSRPTv1; rua=mailto:a%3Eb@a.test,mailto:%2" }, 0, NULL, NULL, NULL, 0 },
		{ { "v=TLSRPTv1; rua=https://user@a.test/,https://a.test:0/,https://a.test:99999/,https://[::1]/,https:///x" }, 0, NULL, NULL, NULL, 0 },
		{ { "v=TLSRPTv1" }, 0, NULL, NULL, NULL, 0 },
	};

	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct tlsrpt_target t[TLSRPT_TARGETS_MAX];
		struct str texts[2] = { str_of(c->text[0]), str_of(c->text[1]) };
		size_t n = tlsrpt_record(texts, c->text[1] ? 2 : 1, &a, t);
		EXPECT_INT(n, c->n);
		if (c->n == 0)
			continue;
		EXPECT_STR(t[0].address, c->address);
		EXPECT_STR(t[0].host, c->host);
		EXPECT_STR(t[0].path, c->path);
		EXPECT_INT(t[0].port, c->port);
	}
}

#define POLICY "version: STSv1\r\nmode: testing\r\nmx: *.a.test\r\nmax_age: 1\r\n"

static const struct tls_session sessions[] = {
	{ { "a.test", 6 }, TLS_POLICY_NONE, { "", 0 }, TLS_RESULT_GOOD, { "", 0 }, { "", 0 }, { "", 0 }, { "", 0 }, 7 },
	{ { "a.test", 6 }, TLS_POLICY_STS, { POLICY, sizeof(POLICY) - 1 }, TLS_RESULT_GOOD, { "", 0 }, { "", 0 },
	  { "", 0 }, { "", 0 }, 5 },
	{ { "a.test", 6 }, TLS_POLICY_STS, { POLICY, sizeof(POLICY) - 1 }, TLS_RESULT_EXPIRED, { "mx.a.test", 9 },
	  { "192.0.2.1", 9 }, { "192.0.2.9", 9 }, { "certificate has \"expired\"", 25 }, 3 },
};
static const struct tlsrpt_report report = {
	{ "me.test", 7 }, { "me.test", 7 }, { "postmaster@me.test", 18 }, { "1@me.test", 9 }, { "a.test", 6 }, 20000, sessions, COUNT_OF(sessions),
};

TEST(what_it_says)
{
	CLEANUP(buf_free) struct buf b = BUF(TLSRPT_BYTES_MAX);
	json_t *j, *p;

	tlsrpt_json(&report, &b);
	j = json_loadb(b.p, b.n, 0, NULL);
	EXPECT(j != NULL);
	EXPECT_STR(str_of(json_string_value(json_object_get(json_object_get(j, "date-range"), "start-datetime"))), "2024-10-04T00:00:00Z");
	EXPECT_STR(str_of(json_string_value(json_object_get(json_object_get(j, "date-range"), "end-datetime"))), "2024-10-04T23:59:59Z");
	EXPECT_STR(str_of(json_string_value(json_object_get(j, "organization-name"))), "me.test");
	EXPECT_INT(json_array_size(json_object_get(j, "policies")), 2);
	p = json_array_get(json_object_get(j, "policies"), 0);
	EXPECT_STR(str_of(json_string_value(json_object_get(json_object_get(p, "policy"), "policy-type"))), "no-policy-found");
	EXPECT(json_object_get(p, "failure-details") == NULL);
	p = json_array_get(json_object_get(j, "policies"), 1);
	EXPECT_INT(json_array_size(json_object_get(json_object_get(p, "policy"), "policy-string")), 4);
	EXPECT_STR(str_of(json_string_value(json_array_get(json_object_get(json_object_get(p, "policy"), "mx-host"), 0))), "*.a.test");
	EXPECT_INT(json_integer_value(json_object_get(json_object_get(p, "summary"), "total-successful-session-count")), 5);
	EXPECT_INT(json_integer_value(json_object_get(json_object_get(p, "summary"), "total-failure-session-count")), 3);
	p = json_array_get(json_object_get(p, "failure-details"), 0);
	EXPECT_STR(str_of(json_string_value(json_object_get(p, "result-type"))), "certificate-expired");
	EXPECT_STR(str_of(json_string_value(json_object_get(p, "receiving-mx-hostname"))), "mx.a.test");
	EXPECT_STR(str_of(json_string_value(json_object_get(p, "failure-reason-code"))), "certificate has \"expired\"");
	EXPECT_INT(json_integer_value(json_object_get(p, "failed-session-count")), 3);
	json_decref(j);
}

static void gunzip(struct str gz, struct buf *out)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)gz.p, .avail_in = (uInt)gz.n };
	char *room = buf_reserve(out, 100000);

	EXPECT_INT(inflateInit2(&z, MAX_WBITS + 16), Z_OK);
	z.next_out = (Bytef *)room;
	z.avail_out = 100000;
	EXPECT_INT(inflate(&z, Z_FINISH), Z_STREAM_END);
	buf_grew(out, z.total_out);
	inflateEnd(&z);
}

TEST(the_message)
{
	CLEANUP(buf_free) struct buf json = BUF(TLSRPT_BYTES_MAX), gz = BUF(TLSRPT_BYTES_MAX), mail = BUF(TLSRPT_BYTES_MAX), text = BUF(TLSRPT_BYTES_MAX), back = BUF(TLSRPT_BYTES_MAX),
	                                decoded = BUF(TLSRPT_BYTES_MAX);
	struct str whole, part;

	tlsrpt_json(&report, &json);
	EXPECT_OK(tlsrpt_gzip(buf_str(&json), &gz));
	tlsrpt_mail(&report, STR("reports@a.test"), buf_str(&gz), 1728000000, &mail);
	whole = buf_str(&mail);
	EXPECT(!mail.failed);
	EXPECT(str_find(whole, STR("From: <postmaster@me.test>\r\nTo: <reports@a.test>\r\nSubject: Report Domain: a.test\r\n Submitter: me.test\r\n")) > 0);
	EXPECT(str_find(whole, STR("TLS-Report-Domain: a.test\r\nTLS-Report-Submitter: me.test\r\nTLS-Required: No\r\n")) > 0);
	EXPECT(str_find(whole, STR("filename=\"me.test!a.test!1728000000!1728086399!1@me.test.json.gz\"\r\n\r\n")) > 0);
	part = str_from(whole, (size_t)str_find(whole, STR(".json.gz\"\r\n\r\n")) + 13);
	part = str_sub(part, 0, (size_t)str_find(part, STR("\r\n\r\n")));
	for (size_t i = 0; i < part.n; i++)
		if (part.p[i] != '\r' && part.p[i] != '\n')
			buf_add_char(&text, part.p[i]);
	EXPECT(base64_get(&decoded, buf_str(&text)));
	gunzip(buf_str(&decoded), &back);
	EXPECT(str_eq(buf_str(&back), buf_str(&json)));
	for (size_t at = 0; at < whole.n;) {  /* no line is longer than a relay has to take, and each ends in CRLF */
		ptrdiff_t lf = str_chr(str_from(whole, at), '\n');
		EXPECT(lf > 0 && lf < 998 && whole.p[at + (size_t)lf - 1] == '\r');
		at += (size_t)lf + 1;
	}
}
