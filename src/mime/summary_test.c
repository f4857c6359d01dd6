#include "mime/summary.h"
#include "base/test.h"

static struct str structure_of(struct arena *a, const char *message)
{
	return summary_bodystructure(summary_build(a, str_of(message), NULL));
}

TEST(bodystructure)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "Subject: x\r\n\r\nhello\r\n",
		  "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 7 1 NIL NIL NIL NIL)" },
		{ "", "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)" },
		{ "Content-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n--b\r\n\r\none\r\n--b\r\n"
		  "Content-Type: application/pdf; name=\"a b.pdf\"\r\nContent-Transfer-Encoding: base64\r\n"
		  "Content-Disposition: attachment; filename*0=\"a \";\r\n filename*1=b.pdf\r\nContent-ID: <c@d>\r\n\r\nAAAA\r\n--b--\r\npost\r\n",
		  "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 0 NIL NIL NIL NIL)"
		  "(\"application\" \"pdf\" (\"name\" \"a b.pdf\") \"<c@d>\" NIL \"base64\" 4 NIL (\"attachment\" (\"filename\" \"a b.pdf\")) NIL NIL)"
		  " \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)" },
		{ "Content-Type: multipart/mixed\r\n\r\nno boundary",
		  "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 11 0 NIL NIL NIL NIL)" },
		{ "Content-Type: multipart/mixed; boundary=never\r\n\r\nx\n--other\ny",
		  "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 11 2 NIL NIL NIL NIL)" },
		{ "Content-Type: message/rfc822\r\n\r\nSubject: in\r\nFrom: a@b\r\n\r\nbody\r\n",
		  "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 32 (NIL \"in\" ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) "
		  "((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL) (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 6 1 NIL NIL NIL NIL)"
		  " 4 NIL NIL NIL NIL)" },
		/* multipart/digest: parts are messages unless they say something else */
		{ "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: s\n\nx\n--b--\n",
		  "((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 13 (NIL \"s\" NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" \"plain\" (\"charset\" "
		  "\"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL) 2 NIL NIL NIL NIL) \"digest\" (\"boundary\" \"b\") NIL NIL NIL)" },
		{ "Content-Type: image/png; name*=utf-8''caf%C3%A9.png\r\nContent-Language: fr, en\r\nContent-MD5: Q2hl\r\nContent-Location: u\r\n"
		  "Content-Description: d\xc3\xa9\r\n\r\n",
		  "(\"image\" \"png\" (\"name*\" \"utf-8''caf%C3%A9.png\") NIL {3}\r\nd\xc3\xa9 \"7bit\" 0 \"Q2hl\" NIL (\"fr\" \"en\") \"u\")" },
	};
	struct arena a = { 0 };

	EACH(cases, c) EXPECT_STR(structure_of(&a, c->in), c->out);
	arena_free(&a);
}

TEST(body)
{
	struct arena a = { 0 };
	struct buf b = BUF(10000);
	struct str r = summary_build(&a, STR("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Language: fr\n\nx\n--b\n"
	                                     "Content-Type: message/rfc822\n\nSubject: (\n\ny\n--b\nContent-Type: a/b\n\n--b--\n"), NULL);

	EXPECT(summary_body(r, true, &b));
	EXPECT_STR(buf_str(&b), "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0)"
	                        "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 13 (NIL \"(\" NIL NIL NIL NIL NIL NIL NIL NIL) "
	                        "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0) 2)"
	                        "(\"a\" \"b\" NIL NIL NIL \"7bit\" 0) \"mixed\")");
	buf_free(&b);
	arena_free(&a);
}

TEST(structure_for_imap4rev1)
{
	struct arena a = { 0 };
	struct buf b = BUF(4000);
	struct str r = summary_build(&a, STR("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: MESSAGE/Global\nContent-Language: fr\n\nSubject: x\n\ny\n--b\n"
	                                     "Content-Type: message/rfc822\n\nSubject: (\n\ny\n--b--\n"), NULL);

	EXPECT(summary_bodystructure_rev1(r, &b));
	EXPECT_STR(buf_str(&b), "((\"MESSAGE\" \"Global\" NIL NIL NIL \"7bit\" 13 NIL NIL (\"fr\") NIL)"
	                        "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 13 (NIL \"(\" NIL NIL NIL NIL NIL NIL NIL NIL) "
	                        "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL) 2 NIL NIL NIL NIL)"
	                        " \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)");
	EXPECT(str_find(summary_bodystructure(r), STR("13 (NIL \"x\" NIL")) > 0);
	buf_reset(&b);
	EXPECT(summary_body(r, false, &b));
	EXPECT(str_starts(buf_str(&b), STR("((\"MESSAGE\" \"Global\" NIL NIL NIL \"7bit\" 13)(\"message\" \"rfc822\"")));
	buf_free(&b);
	arena_free(&a);
}

TEST(envelope)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "\r\n", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)" },
		{ "Date: Tue, 24 Nov 2026 15:04:05 +0000\r\nSubject: =?utf-8?q?caf=C3=A9?= \"x\" \\\r\n y\r\n"
		  "From: \"Bob \\\"B\\\" Q.\" <bob@example.org>\r\nTo: undisclosed-recipients:;\r\nCc: a@b,\r\n c@d (Carl)\r\n"
		  "Message-ID: <m@x>\r\nIn-Reply-To: <i@x>\r\n\r\n",
		  "(\"Tue, 24 Nov 2026 15:04:05 +0000\" \"=?utf-8?q?caf=C3=A9?= \\\"x\\\" \\\\ y\" ((\"Bob \\\"B\\\" Q.\" NIL \"bob\" "
		  "\"example.org\")) ((\"Bob \\\"B\\\" Q.\" NIL \"bob\" \"example.org\")) ((\"Bob \\\"B\\\" Q.\" NIL \"bob\" \"example.org\")) "
		  "((NIL NIL \"undisclosed-recipients\" NIL)(NIL NIL NIL NIL)) ((NIL NIL \"a\" \"b\")(\"Carl\" NIL \"c\" \"d\")) NIL \"<i@x>\" "
		  "\"<m@x>\")" },
		/* 8-bit goes as it stands in a literal; an empty Subject is no NIL; Sender of its own; a name without domain */
		{ "Subject:\r\nFrom: Ren\xc3\xa9 <r@x>\r\nSender: root\r\nReply-To: \r\n\r\n",
		  "(NIL \"\" (({5}\r\nRen\xc3\xa9 NIL \"r\" \"x\")) ((NIL NIL \"root\" \"\")) (({5}\r\nRen\xc3\xa9 NIL \"r\" \"x\")) NIL NIL NIL NIL "
		  "NIL)" },
		{ "To: a@b\nTo: c@d\n\n", "(NIL NIL NIL NIL NIL ((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")) NIL NIL NIL NIL)" },
		{ "To: <@x,@y:u@z>\n\n", "(NIL NIL NIL NIL NIL ((NIL \"@x,@y\" \"u\" \"z\")) NIL NIL NIL NIL)" },
	};
	struct arena a = { 0 };

	EACH(cases, c) EXPECT_STR(summary_envelope(summary_build(&a, str_of(c->in), NULL)), c->out);
	arena_free(&a);
}

static const char nested[] =
	"Subject: top\r\nContent-Type: multipart/mixed; boundary=A\r\n\r\n"
	"--A\r\nContent-Type: text/plain\r\n\r\npart one\r\n"
	"--A\r\nContent-Type: multipart/alternative; boundary=B\r\n\r\n"
	"--B\r\n\r\nalt one\r\n--B\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nYWx0IHR3bw==\r\n--B--\r\n"
	"--A\r\nContent-Type: message/rfc822\r\nX-Mime: 3\r\n\r\n"
	"Subject: inner\r\nContent-Type: multipart/mixed; boundary=C\r\n\r\n--C\r\n\r\nin one\r\n--C\r\n\r\nin two\r\n--C--\r\n"
	"--A\r\nContent-Type: message/rfc822\r\n\r\nSubject: single\r\n\r\nsingle text\r\n"
	"--A--\r\n";

TEST(sections)
{
	static const struct { const char *section, *out; } cases[] = {
		{ "1", "part one" }, { "1.MIME", "Content-Type: text/plain\r\n\r\n" }, { "2.1", "alt one" }, { "2.2", "YWx0IHR3bw==" },
		{ "2.1.mime", "\r\n" }, { "2.3", NULL }, { "1.1", NULL }, { "0", NULL }, { "5", NULL }, { "1.", NULL }, { "x", NULL },
		{ "3.MIME", "Content-Type: message/rfc822\r\nX-Mime: 3\r\n\r\n" },
		{ "3.HEADER", "Subject: inner\r\nContent-Type: multipart/mixed; boundary=C\r\n\r\n" },
		{ "3.TEXT", "--C\r\n\r\nin one\r\n--C\r\n\r\nin two\r\n--C--" }, { "3.1", "in one" }, { "3.2", "in two" }, { "3.3", NULL },
		{ "4.HEADER", "Subject: single\r\n\r\n" }, { "4.TEXT", "single text" }, { "4.1", "single text" }, { "4.2", NULL },
		{ "4.1.MIME", "Subject: single\r\n\r\n" }, { "4.1.1", NULL }, { "1.HEADER", NULL }, { "1.TEXT", NULL }, { "MIME", NULL },
		{ "HEADER", "Subject: top\r\nContent-Type: multipart/mixed; boundary=A\r\n\r\n" }, { "4294967297", NULL },
	};
	struct arena a = { 0 };
	struct str message = str_of(nested), r = summary_build(&a, message, NULL);

	EACH(cases, c) {
		struct summary_section s;
		bool found = summary_section(r, str_of(c->section), &s);
		if (found != (c->out != NULL))
			print_error("section %s\n", c->section);
		EXPECT(found == (c->out != NULL));
		if (found)
			EXPECT_STR(str_sub(message, s.offset, s.length), c->out);
	}
	struct summary_section s;
	EXPECT(summary_section(r, STR("2.2"), &s) && s.encoding == MIME_BASE64 && s.kind == MIME_TEXT);
	EXPECT(summary_section(r, STR(""), &s) && s.offset == 0 && s.length == message.n);
	EXPECT(summary_section(r, STR("TEXT"), &s) && s.offset + s.length == message.n);
	r = summary_build(&a, STR("A: b\r\n\r\nbody"), NULL);
	EXPECT(summary_section(r, STR("1"), &s) && s.offset == 8 && s.length == 4);
	EXPECT(!summary_section(r, STR("2"), &s) && !summary_section(r, STR("1.1"), &s));
	/* the message itself is a message: its part 1 is the inner one, 1.1 the text of that */
	r = summary_build(&a, STR("Content-Type: message/rfc822\r\n\r\nS: i\r\n\r\nxyz"), NULL);
	EXPECT(summary_section(r, STR("1.1"), &s) && s.length == 3);
	EXPECT(summary_section(r, STR("1.HEADER"), &s) && s.length == 8);
	EXPECT(summary_section(r, STR("HEADER"), &s) && s.offset == 0);
	arena_free(&a);
}

TEST(facts)
{
	struct arena a = { 0 };
	struct mail_date d;
	struct str r = summary_build(&a, STR("Date: Tue, 24 Nov 2026 01:00:00 +0200\nSubject: =?iso-8859-1?Q?=E9t=E9?=\nFrom: =?utf-8?q?Ren=C3=A9?= "
	                                     "<r@x>, b@y\nTo: friends: c@z;\nMessage-ID: <1@x>\n\n> quoted\nHello   there,\n\n-- \nsig\n"), NULL);

	EXPECT(summary_is_valid(r));
	EXPECT(summary_sent(r, &d));
	EXPECT_INT(d.unix_s, 1795474800);
	EXPECT_INT(d.zone_minutes, 120);
	EXPECT_STR(summary_preview(r), "Hello there,");
	EXPECT_STR(summary_subject(&a, r), "été");
	EXPECT_STR(summary_addresses(&a, r, SUMMARY_FROM), "René <r@x>\n<b@y>\n");
	EXPECT_STR(summary_addresses(&a, r, SUMMARY_TO), "friends:\n<c@z>\n");
	EXPECT_STR(summary_addresses(&a, r, SUMMARY_CC), "");
	EXPECT_STR(summary_message_id(&a, r), "1@x");
	EXPECT(!summary_has_attachment(r));
	EXPECT(summary_has_attachment(summary_build(&a, STR("Content-Type: image/png\n\nx"), NULL)));
	arena_free(&a);
}

TEST(what_it_refers_to)
{
	static const struct { const char *message, *ids; } cases[] = {
		{ "References: <a@x> <b@x>\n <c@x>\nIn-Reply-To: <d@x>\n\n", "a@x b@x c@x" },
		{ "In-Reply-To: <d@x> <e@x>\n\n", "d@x" },
		{ "References: nonsense\nIn-Reply-To: <d@x>\n\n", "d@x" },
		{ "Subject: none\n\n", "" },
	};

	EACH(cases, t) {
		CLEANUP(arena_free) struct arena a = { 0 };
		uint64_t ids[SUMMARY_REFERENCES_MAX];
		struct str rest = str_of(t->ids), id;
		size_t n, i = 0;
		EXPECT(summary_references(summary_build(&a, str_of(t->message), NULL), ids, &n));
		for (; rest.n > 0; i++) {
			id = str_sub(rest, 0, 3);
			rest = str_from(rest, rest.n > 3 ? 4 : 3);
			EXPECT(i < n && ids[i] == summary_id_number(id));
		}
		EXPECT_INT(i, n);
	}
}

/* Of a long list the root and the last ones; a record of the first release knows nothing of them. */
TEST(many_references_and_none_known)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(10000);
	uint64_t ids[SUMMARY_REFERENCES_MAX];
	struct str record;
	size_t n;

	buf_add_cstr(&b, "References:");
	for (int i = 0; i < 200; i++)
		buf_printf(&b, " <%d@x>", i);
	buf_add_cstr(&b, "\n\n");
	record = summary_build(&a, buf_str(&b), NULL);
	EXPECT(summary_references(record, ids, &n));
	EXPECT_INT(n, SUMMARY_REFERENCES_MAX);
	EXPECT(ids[0] == summary_id_number(STR("0@x")) && ids[1] == summary_id_number(STR("151@x")));
	EXPECT(ids[n - 1] == summary_id_number(STR("199@x")));
	record = str_copy(&a, str_sub(summary_build(&a, STR("Subject: x\n\n"), NULL), 0, SIZE_MAX));
	((char *)record.p)[0] = 1;
	record.n -= 4;  /* version 1 ended with the parts */
	EXPECT(summary_is_valid(record) && !summary_references(record, ids, &n));
}

TEST(damaged)
{
	struct arena a = { 0 };
	struct str r = summary_build(&a, str_of(nested), NULL);
	char *copy = arena_alloc(&a, r.n);
	struct summary_section s;
	struct buf b = BUF(100000);

	for (size_t n = 0; n < r.n; n++)  /* cut anywhere: never valid */
		EXPECT(!summary_is_valid(str_sub(r, 0, n)));
	for (size_t i = 0; i < r.n; i++) {  /* one byte wrong: no crash (asan looks) */
		memcpy(copy, r.p, r.n);
		copy[i] ^= 0x55;
		(void)summary_section(str_make(copy, r.n), STR("3.2.1"), &s);
		(void)summary_body(str_make(copy, r.n), true, &b);
		(void)summary_addresses(&a, str_make(copy, r.n), SUMMARY_BCC);
		buf_reset(&b);
	}
	buf_free(&b);
	arena_free(&a);
}
