/* Replies as a client sees them; command lines. */
#include "base/test.h"
#include "smtp/command.h"
#include "smtp/reply.h"

TEST(replies)
{
	static const struct { int code; const char *enhanced, *text, *want; } cases[] = {
		{ 250, "2.1.0", "fine", "250 2.1.0 fine\r\n" },
		{ 354, NULL, "go on", "354 go on\r\n" },
		{ 553, "5.7.1", "one\ntwo", "553-5.7.1 one\r\n553 5.7.1 two\r\n" },
		{ 550, "5.1.1", "no \r\n250 injected", "550-5.1.1 no ?\r\n550 5.1.1 250 injected\r\n" },  /* never a line without our code */
		{ 550, "5.1.1", "no j\xc3\xa9r\xc3\xb4me", "550 5.1.1 no j?r?me\r\n" },
		{ 250, NULL, "", "250 \r\n" },
	};
	EACH(cases, c) {
		CLEANUP(buf_free) struct buf b = BUF(10000);
		smtp_put(&b, c->code, c->enhanced, c->text);
		EXPECT_STR(buf_str(&b), c->want);
	}
}

TEST(long_sentences_are_broken_at_a_space)
{
	CLEANUP(buf_free) struct buf text = BUF(10000), b = BUF(10000);

	for (int i = 0; i < 200; i++)
		buf_add(&text, STR("word "));
	smtp_put_reply(&b, &(struct smtp_reply){ 550, "5.0.0", buf_str(&text) });
	struct str rest = buf_str(&b), line;
	while (str_cut(rest, '\n', &line, &rest)) {
		EXPECT(line.n + 1 <= SMTP_REPLY_LINE_MAX);
		EXPECT(str_starts(line, STR("550")) && str_chr(line, '\r') == (ptrdiff_t)line.n - 1);
		EXPECT(str_find(line, STR("wor\r")) < 0);
	}
	EXPECT(rest.n == 0);
}

TEST(names_of_clients)
{
	static const struct { const char *in, *want; } cases[] = {
		{ "client.example.org", "client.example.org" },
		{ " [192.0.2.1] ", "[192.0.2.1]" },
		{ "MY_PC", "MY_PC" },           /* no domain name, and to be accepted all the same */
		{ "", NULL }, { "two words", NULL }, { "a\tb", NULL }, { "\xff", NULL },
	};
	EACH(cases, c) {
		struct str name;
		bool ok = smtp_helo_name(str_of(c->in), &name);
		EXPECT_STR(ok ? name : STR_NONE, c->want);
	}
}
