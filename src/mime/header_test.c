#include "mime/header.h"
#include "mime/parse.h"
#include "mime/date.h"
#include "base/test.h"

TEST(fields)
{
	struct str header = STR("From nobody\r\nA: one\r\n two\r\nbroken line\r\nB :x\r\n\tcontinued\r\nC:\r\nbad name: y\r\n\r\nD: body\r\n");
	struct scan s = scan_of(header);
	struct header_field f;
	struct arena a = { 0 };
	struct str v;

	EXPECT(header_next(&s, &f));
	EXPECT_STR(f.name, "A");
	EXPECT_STR(f.value, " one\r\n two");
	EXPECT_STR(f.line, "A: one\r\n two\r\n");
	EXPECT_STR(header_unfold(&a, f.value), "one two");
	EXPECT(header_next(&s, &f));
	EXPECT_STR(f.name, "B");
	EXPECT(header_next(&s, &f));
	EXPECT_STR(f.name, "C");
	EXPECT_STR(f.value, "");
	EXPECT(!header_next(&s, &f));
	EXPECT(header_find(header, STR("c"), &v));
	EXPECT(!header_find(header, STR("D"), &v) && v.p == NULL);
	EXPECT_INT(header_size(header), header.n - 9);
	EXPECT_INT(header_size(STR("no end")), 6);
	arena_free(&a);
}

TEST(encoded_words)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "plain", "plain" },
		{ "=?utf-8?Q?caf=C3=A9_noir?=", "café noir" },
		{ "=?ISO-8859-1?B?6XTp?= et =?iso-8859-1*fr?q?=E0?=", "été et à" },
		{ "=?utf-8?b?w6k=?= =?utf-8?b?dMOp?=", "été" },             /* white space between two words goes */
		{ "=?utf-8?q?=C3?=\r\n =?utf-8?q?=A9?=", "é" },             /* a character cut in two */
		{ "=?utf-8?q?a?=b", "ab" },
		{ "a =?utf-8?q?b?= c", "a b c" },
		{ "=?utf-8?x?a?=", "=?utf-8?x?a?=" },                       /* no such encoding: as it stands */
		{ "=?utf-8?q?open", "=?utf-8?q?open" },
		{ "=?=?utf-8?q?a?=", "=?a" },
		{ "=?utf-8?q?a b?=", "a b" },                               /* not allowed, common */
		{ "caf\xe9", "café" },                                      /* raw 8-bit: guessed */
		{ "=?utf-8?q?a=00=0Ab?=", "a  b" },                         /* no control characters come out */
		{ "=?iso-2022-jp?B?GyRCJDMkcxsoQg==?=", "こん" },
		{ "=?utf-8?q?\?=", "" },
	};
	struct arena a = { 0 };

	EACH(cases, c) EXPECT_STR(header_decode(&a, str_of(c->in)), c->out);
	arena_free(&a);
}

TEST(identifiers)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "<a@b> <c@d>", "a@b|c@d|" }, { "<a@b>(x)<c @ d>", "a@b|c@d|" }, { "a@b c", "a@b|" }, { "", "" }, { "<>", "" }, { "<a@b", "a@b|" },
		{ "<1@x><2@x><3@x><4@x><5@x>", "2@x|3@x|4@x|5@x|" },  /* the newest four */
	};
	struct arena a = { 0 };

	EACH(cases, c) {
		struct str *ids;
		struct buf b = BUF(1000);
		size_t n = header_ids(&a, str_of(c->in), &ids, 4);
		for (size_t i = 0; i < n; i++)
			buf_printf(&b, STR_FMT "|", STR_ARG(ids[i]));
		EXPECT_STR(b.n ? buf_str(&b) : STR(""), c->out);
		buf_free(&b);
	}
	arena_free(&a);
}

TEST(base_subject)
{
	static const struct { const char *in, *out; bool is_reply; } cases[] = {
		{ "Hello", "Hello", false }, { "Re: Hello", "Hello", true }, { "RE:  Fwd: [list] Re[2]: Hello (fwd)", "Hello", true },
		{ "[list] Hello", "Hello", false }, { "[list]", "[list]", false }, { "[Fwd: Re: Hello]", "Hello", true },
		{ "=?utf-8?q?Re=3A_caf=C3=A9?=", "café", true }, { "Regarding", "Regarding", false }, { "a   b", "a b", false }, { "", "", false },
		{ "Re: ", "", true }, { "[a][b] x", "x", false },
	};
	struct arena a = { 0 };

	EACH(cases, c) {
		bool is_reply;
		EXPECT_STR(header_base_subject(&a, str_of(c->in), &is_reply), c->out);
		EXPECT(is_reply == c->is_reply);
	}
	arena_free(&a);
}

TEST(dates)
{
	static const struct { const char *in; const char *out; } cases[] = {
		{ "Tue, 24 Nov 2026 15:04:05 +0000", "Tue, 24 Nov 2026 15:04:05 +0000" },
		{ "24 Nov 2026 15:04 +0130 (comment)", "Tue, 24 Nov 2026 15:04:00 +0130" },
		{ "Tue Nov 24 15:04:05 2026", "Tue, 24 Nov 2026 15:04:05 +0000" },          /* asctime */
		{ "24 Nov 26 15:04:05 EST", "Tue, 24 Nov 2026 15:04:05 -0500" },            /* two digits, a name */
		{ "1 Jan 99 00:00:00 GMT", "Fri, 01 Jan 1999 00:00:00 +0000" },
		{ "Thu,\r\n 29 Feb 2024 23:59:60 -0000", "Fri, 01 Mar 2024 00:00:00 +0000" },/* a leap second */
		{ "Tue, 24 Nov 2026 15:04:05 +01:00", "Tue, 24 Nov 2026 15:04:05 +0100" },
		{ "24-Nov-2026 15:04:05 +0000", "Tue, 24 Nov 2026 15:04:05 +0000" },
		{ "24 Nov 2026", "Tue, 24 Nov 2026 00:00:00 +0000" },
		{ "Wed, 31 Dec 1969 23:00:00 -0100", "Wed, 31 Dec 1969 23:00:00 -0100" },
		{ "Tue, 24 Nov 2026 15:04:05 X", "Tue, 24 Nov 2026 15:04:05 +0000" },       /* military letters mean nothing */
		{ "32 Nov 2026 00:00:00 +0000", NULL }, { "yesterday", NULL }, { "", NULL }, { "24 Nov 2026 25:00", NULL },
	};

	EACH(cases, c) {
		struct mail_date d;
		char out[DATE_TEXT_MAX];
		bool ok = date_parse(str_of(c->in), &d);
		if (ok != (c->out != NULL))
			print_error("date %s\n", c->in);
		EXPECT(ok == (c->out != NULL));
		if (ok)
			EXPECT_STR(str_make(out, date_format(d.unix_s, d.zone_minutes, out)), c->out);
	}
	EXPECT_INT(date_days(1970, 1, 1), 0);
	EXPECT_INT(date_days(2000, 3, 1), 11017);
	EXPECT_INT(date_day(&(struct mail_date){ -1, 0 }), -1);
}

TEST(parameters)
{
	static const struct { const char *in, *name, *out; } cases[] = {
		{ "; name=simple.txt", "name", "simple.txt" },
		{ "; name=\"a \\\"b\\\".txt\"; x=y", "name", "a \"b\".txt" },
		{ "; name=two words.txt ; x=y", "name", "two words.txt" },              /* unquoted blanks */
		{ "; filename*=UTF-8''na%C3%AFve%20caf%c3%a9.txt", "filename", "naïve café.txt" },
		{ "; filename*=iso-8859-1'fr'%E9t%E9", "filename", "été" },
		{ "; f*0=\"one \"; f*1=two", "f", "one two" },
		{ "; f*1=two; f*0=one", "f", "onetwo" },                                /* by number, not by order */
		{ "; f*0*=utf-8''%C3%A9; f*1=\" %\"; f*2*=%C3%A8", "f", "é %è" },       /* pieces encoded and not */
		{ "; f*1=x", "f", NULL },
		{ "; name==?utf-8?q?=C3=A9?=", "name", "é" },                           /* RFC 2047 where it may not be */
		{ "; (comment) charset (c) = utf-8 (why)", "charset", "utf-8" },
		{ "; NAME=x", "name", "x" }, { ";;; =; x; name=\"open", "name", "open" }, { "", "name", NULL },
	};
	struct arena a = { 0 };

	EACH(cases, c) EXPECT_STR(mime_param(&a, mime_params_parse(&a, str_of(c->in)), c->name), c->out);
	arena_free(&a);
}
