/* The server stops, or the password was changed, while a command runs: a part of an answer must not look like all of it. A client that
 * compares what it has with FETCH 1:* or SEARCH ALL removes what is not named. */
#include "base/test.h"
#include "imap/engine.h"
#include "store/view.h"
#include "submit/account.h"

enum { MESSAGES = 600 };

struct world {
	const char     *path;
	struct account  account;
	struct session *s;
	void           *state;
	struct buf      out;
};

static struct str say(struct world *w, const char *line, enum session_next want)
{
	buf_reset(&w->out);
	session_test_input(w->s, str_of(line));
	EXPECT_INT(imap_engine.input(w->state), want);
	session_flush(w->s);
	return buf_str(&w->out);
}

static void begin(struct world *w)
{
	const struct session_open info = { .protocol = PROTOCOL_IMAP, .command = STR("l LOGIN") };

	*w = (struct world){ .path = test_dir(), .out = BUF(64 << 20) };
	w->account.account = 1;
	EXPECT_OK(view_open(w->path, &(struct view_config){ .account = 1 }, &w->account.view));
	w->s = session_for_test(&info, STR(""), &w->out);
	w->state = imap_engine.open(w->s, &w->account);
	say(w, "a APPEND INBOX {15+}\r\nSubject: x\r\n\r\nb\r\n", SESSION_WAIT);
	say(w, "b SELECT INBOX\r\n", SESSION_WAIT);
	for (int have = 1; have < MESSAGES; have *= 2)
		say(w, "c COPY 1:* INBOX\r\nd NOOP\r\n", SESSION_WAIT);
}

static void end(struct world *w)
{
	imap_engine.close(w->state);
	session_test_free(w->s);
	view_close(w->account.view);
	buf_free(&w->out);
	test_dir_remove(w->path);
}

TEST(fetch_does_not_say_ok)
{
	struct world w;

	begin(&w);
	EXPECT(str_find(say(&w, "e FETCH 1:* (UID FLAGS)\r\n", SESSION_WAIT), STR("e OK ")) > 0);
	session_test_end_after(w.s, 10);
	struct str got = say(&w, "f FETCH 1:* (UID FLAGS BODYSTRUCTURE)\r\n", SESSION_CLOSE);
	EXPECT(str_find(got, STR("* 1 FETCH ")) >= 0 && str_find(got, STR("* 600 FETCH ")) < 0);
	EXPECT(str_find(got, STR("f OK ")) < 0 && str_find(got, STR("f NO [UNAVAILABLE] ")) > 0);
	end(&w);
}

/* The "+" for the literal is what is written; then the stop comes. */
TEST(search_does_not_say_ok)
{
	struct world w;

	begin(&w);
	EXPECT(str_find(say(&w, "e SEARCH SUBJECT {1}\r\nx\r\n", SESSION_WAIT), STR("e OK ")) > 0);
	session_test_end_after(w.s, 1);
	struct str got = say(&w, "f UID SEARCH SUBJECT {1}\r\nx\r\n", SESSION_CLOSE);
	EXPECT(str_find(got, STR("SEARCH")) < 0 && str_find(got, STR("f OK ")) < 0);
	EXPECT(str_find(got, STR("f NO [UNAVAILABLE] ")) > 0);
	end(&w);
}

/* Behind a part of a literal even BYE would be taken for a part of the message. */
TEST(nothing_is_said_behind_half_a_literal)
{
	CLEANUP(buf_free) struct buf text = BUF(1 << 20);
	struct world w;

	begin(&w);
	buf_add_cstr(&text, "g APPEND INBOX {300000+}\r\n");
	size_t from = text.n;
	while (text.n < from + 300000)
		buf_add_cstr(&text, text.n == from ? "Subject: long\r\n\r\n" : "x");
	buf_add_cstr(&text, "\r\n");
	buf_add_char(&text, '\0');
	say(&w, text.p, SESSION_WAIT);
	session_test_end_after(w.s, 10);
	struct str got = say(&w, "h FETCH * BODY.PEEK[]\r\n", SESSION_CLOSE);
	size_t n = got.n;
	EXPECT(str_find(got, STR("{300000}")) > 0 && n < 300000);
	imap_engine.bye(w.state);
	session_flush(w.s);
	EXPECT_INT(w.out.n, n);
	end(&w);
}
