/* Replies in every shape and in pieces; a message through the dots. */
#include "smtp/client.h"
#include "base/test.h"
#include <sys/socket.h>
#include <unistd.h>

TEST(answers)
{
	static const struct { const char *in; enum err e; int code; const char *enhanced, *text; size_t used; } cases[] = {
		{ "250 ok\r\n",                          ERR_OK, 250, "", "ok", 8 },
		{ "250 2.1.0 ok\r\nmore",                ERR_OK, 250, "2.1.0", "ok", 14 },
		{ "550-5.1.1 no such\r\n550 5.1.1 user\r\n", ERR_OK, 550, "5.1.1", "no such\nuser", 35 },
		{ "550 no such\r\n",                     ERR_OK, 550, "", "no such", 13 },
		{ "250-2.1.5 ok\r\n550 no such\r\n",     ERR_OK, 550, "", "ok\nno such", 27 },   /* two codes: the last one counts, */
		{ "250-2.1.5 ok\r\n550 5.1.1 no\r\n",    ERR_OK, 550, "5.1.1", "ok\nno", 28 },  /* and what belongs to it */
		{ "250\r\n",                             ERR_OK, 250, "", "", 5 },
		{ "250 ok\n",                            ERR_OK, 250, "", "ok", 7 },              /* LF alone: read */
		{ "250 4.1.0 x\r\n",                     ERR_OK, 250, "", "4.1.0 x", 13 },        /* a class that contradicts the code */
		{ "250 2.1.x\r\n",                       ERR_OK, 250, "", "2.1.x", 11 },
		{ "250 a\x07" "b\xff\r\n",               ERR_OK, 250, "", "a?b\xef\xbf\xbd", 10 },
		{ "250 \xc2\x9b" "2J\xe2\x80\xae" "x\xc3\xa9\r\n", ERR_OK, 250, "", "?2J?x\xc3\xa9", 16 },
		{ "250-first\r\n",                       ERR_AGAIN },
		{ "250 ok",                              ERR_AGAIN },
		{ "",                                    ERR_AGAIN },
		{ "* OK IMAP4 ready\r\n",                ERR_INVALID },
		{ "150 x\r\n",                           ERR_INVALID },
		{ "25\r\n",                              ERR_INVALID },
		{ "250x\r\n",                            ERR_INVALID },
		{ "\r\n",                                ERR_INVALID },
	};
	CLEANUP(arena_free) struct arena a = { 0 };

	EACH(cases, c) {
		struct scan s = scan_of(str_of(c->in));
		struct smtp_answer got;

		EXPECT_ERR(scan_smtp_answer(&s, &a, &got), c->e);
		EXPECT_INT(scan_offset(&s), c->e == ERR_OK ? c->used : 0);
		if (c->e != ERR_OK)
			continue;
		EXPECT_INT(got.code, c->code);
		EXPECT_STR(got.enhanced, c->enhanced);
		EXPECT_STR(got.text, c->text);
	}
}

TEST(endless_answers)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(1 << 20);
	struct smtp_answer got;

	for (int i = 0; i <= SMTP_ANSWER_LINES_MAX; i++)
		buf_add(&b, STR("250-x\r\n"));
	struct scan s = scan_of(buf_str(&b));
	EXPECT_ERR(scan_smtp_answer(&s, &a, &got), ERR_INVALID);
	buf_reset(&b);
	while (b.n <= SMTP_ANSWER_MAX)
		buf_add(&b, STR("250 no line end "));
	s = scan_of(buf_str(&b));
	EXPECT_ERR(scan_smtp_answer(&s, &a, &got), ERR_INVALID);
}

TEST(data)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "a\r\nb\r\n",        "a\r\nb\r\n.\r\n" },
		{ ".\r\n..x\r\na.b",   "..\r\n...x\r\na.b\r\n.\r\n" },
		{ "",                  ".\r\n" },
	};

	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		CLEANUP(smtp_client_free) struct smtp_client client;
		struct smtp_answer got;
		int pair[2];
		char room[200];

		EXPECT_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		EXPECT_INT(write(pair[1], "250 2.0.0 queued\r\n421 bye\r\n", 27), 27);
		smtp_client_init(&client, pair[0], 1000);
		EXPECT_OK(smtp_client_data(&client, str_of(c->in), &a, &got));
		EXPECT_INT(got.code, 250);
		ssize_t n = read(pair[1], room, sizeof(room));
		EXPECT_STR(str_make(room, (size_t)n), c->out);
		EXPECT_OK(smtp_client_answer(&client, &a, &got));
		EXPECT_INT(smtp_answer_class(&got), 4);
		EXPECT_ERR(smtp_client_say(&client, STR("RCPT TO:<a>\r\nDATA"), &a, &got), ERR_INVALID);  /* nothing is smuggled by a name */
		close(pair[1]);
		EXPECT_ERR(smtp_client_answer(&client, &a, &got), ERR_CLOSED);
		close(pair[0]);
	}
}
