/* A search must answer the same with the index as without it. Each program is run on an account that has none, and again when it is made. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/test.h"
#include "disk/fault_test.h"
#include "imap/engine.h"
#include "imap/imap_private.h"
#include "store/index.h"
#include "submit/account.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MESSAGES = 80, MANY = 260, ANSWER_MAX = 1 << 20 };

struct world {
	const char     *dir;
	struct account  account;
	struct session *session;
	void           *state;
	struct buf      out;
	uint32_t        random;
};

static const char *one_of(struct world *w, const char *const *from, size_t n)
{
	w->random = w->random * 1664525 + 1013904223;
	return from[(w->random >> 16) % n];
}

static const char *word(struct world *w)
{
	static const char *const words[] = { "budget", "Plan", "invoice", "re-invoice", "b=C3=A9b=C3=A9", "na=C3=AFve", "bebe", "=E6=9D=B1=E4=BA=AC", "x7f3a9c", "fran=C3=A7ais",
	                                     "stra=C3=9Fe", "STRASSE", "end.", "a", "0815" };

	return one_of(w, words, COUNT_OF(words));
}

static struct str text_of(struct world *w, struct arena *a, const char *between)
{
	struct str text = STR("");

	for (int i = 0; i < 5; i++)
		text = arena_printf(a, STR_FMT "%s%s", STR_ARG(text), between, word(w));
	return text;
}

static struct str message(struct world *w, struct arena *a, int i)
{
	struct str head = arena_printf(a, "From: =?utf-8?q?Zo=C3=A9_%d?= <zoe%d@example.test>\r\nTo: bob@%s.example, =?utf-8?q?%s?= <x@y.example>\r\nCc: c%d@example.test\r\n"
	                                  "Subject: =?utf-8?q?%s_%s?=\r\nReceived: from secret.example\r\nMessage-ID: <%d.id@host>\r\nX-Tag: t%d blue-%d\r\nMIME-Version: 1.0\r\n",
	                               i, i, i % 3 ? "alpha" : "beta", word(w), i % 7, word(w), word(w), i, i, i % 5);
	struct str plain = arena_printf(a, "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" STR_FMT "\r\n",
	                                STR_ARG(text_of(w, a, i % 2 ? " " : "=\r\n")));

	if (i % 4 != 0)
		return arena_printf(a, STR_FMT STR_FMT, STR_ARG(head), STR_ARG(plain));
	return arena_printf(a, STR_FMT "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" STR_FMT "\r\n--b\r\nContent-Type: text/html\r\n\r\n"
	                       "<p>half<b>bold</b> &eacute;t&eacute;</p>\r\n--b\r\nContent-Type: application/pdf\r\n"
	                       "Content-Disposition: attachment; filename*=utf-8''r%%C3%%A9sum%%C3%%A9-%d.pdf\r\n\r\nbinary\r\n--b--\r\n", STR_ARG(head), STR_ARG(plain), i);
}

static void fill(struct world *w, int n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct append_new in = { .internal_date = 1700000000 };
	struct appended *done;
	struct mailbox inbox;
	struct append *ap;
	size_t n_done;

	EXPECT_OK(view_mailbox_by_role(w->account.view, MAILBOX_INBOX, &a, &inbox));
	in.mailbox_id = inbox.mailbox_id;
	EXPECT_OK(append_begin(w->account.view, &ap));
	for (int i = 0; i < n; i++) {
		in.flags = i % 3 == 0 ? FLAG_SEEN : 0;
		EXPECT_OK(append_message(ap, &in, 0));
		EXPECT_OK(append_write(ap, message(w, &a, i)));
		EXPECT_OK(append_end(ap));
	}
	EXPECT_OK(append_commit(&ap, &a, &done, &n_done));
}

static void say(struct world *w, const char *command)
{
	session_test_input(w->session, str_of(command));
	session_test_input(w->session, STR("\r\n"));
	EXPECT_INT(imap_engine.input(w->state), SESSION_WAIT);
}

static void begin(struct world *w, int n)
{
	const struct session_open info = { .protocol = PROTOCOL_IMAP, .command = STR("a0 LOGIN") };
	const struct view_config config = { .account = 7 };

	*w = (struct world){ .dir = test_dir(), .random = 5, .out = BUF(ANSWER_MAX) };
	EXPECT_OK(view_open(w->dir, &config, &w->account.view));
	fill(w, n);
	w->session = session_for_test(&info, STR(""), &w->out);
	w->state = imap_engine.open(w->session, &w->account);
	say(w, "s SELECT INBOX");
	buf_reset(&w->out);
}

static void end(struct world *w)
{
	imap_engine.close(w->state);
	session_test_free(w->session);
	EXPECT_OK(view_close(w->account.view));
	buf_free(&w->out);
	test_dir_remove(w->dir);
}

static struct str answer(struct world *w, struct arena *a, const char *program)
{
	buf_reset(&w->out);
	say(w, program);
	return str_copy(a, buf_str(&w->out));
}

static void make_index(struct world *w)
{
	struct index_facts facts;

	while (index_step(w->account.view, 1000))
		;
	index_facts(w->account.view, &facts);
	EXPECT(facts.todo < 64);
}

static void forget_index(struct world *w)
{
	struct index_facts facts;

	index_facts(w->account.view, &facts);
	if (facts.emails > 0)
		index_forget(w->account.view);
}

static const char *const needles[] = {
	"budget", "udge", "BUDGET PLAN", "plan inv", "-inv", "end.", "b\xc3\xa9", "bebe", "\xc3\xa9", "\xe6\x9d\xb1", "\xe6\x9d\xb1\xe4\xba\xac", "x7f", "stra\xc3\x9f", "ss", "nothing",
	"r\xc3\xa9sum\xc3\xa9-8", "zoe7", "Zo\xc3\xa9", "beta", "secret.example", "secret", "blue-3", "t12 ", "12.id@host", ".", "half", "halfbold", "\xc3\xa9t\xc3\xa9", "pdf", "subject", "a", "c3@",
};
static const char *const keys[] = { "TEXT", "BODY", "SUBJECT", "FROM", "TO", "CC", "HEADER X-Tag", "HEADER Message-ID", "HEADER Received",
                                    "NOT BODY", "UNSEEN TEXT", "OR SEEN SUBJECT", "FUZZY TEXT", "FUZZY BODY", "FUZZY SUBJECT", "NOT FUZZY BODY" };

TEST(the_index_changes_no_answer)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str before[COUNT_OF(keys)][COUNT_OF(needles)];
	char line[200];
	struct world w;
	int n_found = 0;

	begin(&w, MESSAGES);
	for (int pass = 0; pass < 2; pass++) {
		for (size_t k = 0; k < COUNT_OF(keys); k++) {
			for (size_t i = 0; i < COUNT_OF(needles); i++) {
				snprintf(line, sizeof line, "t SEARCH CHARSET UTF-8 %s {%zu+}\r\n%s", keys[k], strlen(needles[i]), needles[i]);
				struct str now = answer(&w, &a, line);
				EXPECT(str_starts(now, STR("* SEARCH")));
				if (pass == 0)
					forget_index(&w);  /* it was made to be sure that no message has a word of FUZZY */
				if (pass == 0)
					before[k][i] = now;
				else if (!str_eq(now, before[k][i]))
					print_error("%s '%s':\n" STR_FMT "was\n" STR_FMT, keys[k], needles[i], STR_ARG(now), STR_ARG(before[k][i]));
				EXPECT(pass == 0 || str_eq(now, before[k][i]));
				n_found += now.n > 40;
			}
		}
		make_index(&w);
	}
	EXPECT(n_found > 100);
	EXPECT_STR(answer(&w, &a, "t SEARCH BODY secret TEXT secret"), "* SEARCH\r\nt OK searched\r\n");
	end(&w);
}

/* New messages are read, removed ones are not found, and a search of many unread ones makes the index by itself. */
TEST(a_search_follows_what_happens)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct index_facts facts;
	struct world w;

	begin(&w, MANY);
	EXPECT_STR(answer(&w, &a, "t SEARCH TEXT t17"), "* SEARCH 18 171 172 173 174 175 176 177 178 179 180\r\nt OK searched\r\n");
	index_facts(w.account.view, &facts);
	EXPECT_INT(facts.emails, 0);
	fill(&w, 100);
	say(&w, "t NOOP");
	EXPECT_STR(answer(&w, &a, "t SEARCH TEXT t17"), "* SEARCH 18 171 172 173 174 175 176 177 178 179 180 278\r\nt OK searched\r\n");
	index_facts(w.account.view, &facts);
	EXPECT(facts.emails > 300);  /* more than three hundred had to be read: worth it */
	say(&w, "t STORE 18,171 +FLAGS (\\Deleted)");
	say(&w, "t EXPUNGE");
	EXPECT_STR(answer(&w, &a, "t SEARCH TEXT t17"), "* SEARCH 170 171 172 173 174 175 176 177 178 276\r\nt OK searched\r\n");
	say(&w, "t COPY 170 Archive");
	say(&w, "t SELECT Archive");
	EXPECT_STR(answer(&w, &a, "t SEARCH TEXT t17"), "* SEARCH 1\r\nt OK searched\r\n");
	end(&w);
}

TEST(relevancy_orders)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct world w;

	begin(&w, MESSAGES);
	for (int pass = 0; pass < 2; pass++) {
		struct str all = answer(&w, &a, "t SEARCH RETURN (RELEVANCY ALL COUNT) FUZZY TEXT bebes");
		EXPECT(str_find(all, STR(" RELEVANCY (")) > 0);
		struct str best = answer(&w, &a, "t SORT RETURN (RELEVANCY PARTIAL 1:3) (RELEVANCY) UTF-8 FUZZY TEXT bebes");
		EXPECT(str_find(best, STR(" RELEVANCY (90 90 90)")) > 0);   /* in the subject */
		struct str worst = answer(&w, &a, "t SORT RETURN (RELEVANCY PARTIAL 1:1) (REVERSE RELEVANCY) UTF-8 FUZZY TEXT bebes");
		EXPECT(str_find(worst, STR(" RELEVANCY (21)")) > 0);        /* in the middle of a word of the text */
		make_index(&w);
	}
	EXPECT(answer(&w, &a, "t SEARCH FUZZY TEXT invioce").n > 100);   /* mistyped */
	end(&w);
}

/* In an account that has no index, and among messages that it does not have yet; but not where the word as it is written is somewhere. */
TEST(a_wrong_letter_is_forgiven_everywhere)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct world w;

	begin(&w, 5);
	EXPECT_STR(answer(&w, &a, "t SEARCH FUZZY FROM exemple"), "* SEARCH 1 2 3 4 5\r\nt OK searched\r\n");
	fill(&w, 3);
	say(&w, "t NOOP");
	EXPECT_STR(answer(&w, &a, "t SEARCH FUZZY FROM exemple"), "* SEARCH 1 2 3 4 5 6 7 8\r\nt OK searched\r\n");
	EXPECT_STR(answer(&w, &a, "t SEARCH FUZZY SUBJECT nothing"), "* SEARCH\r\nt OK searched\r\n");
	end(&w);
}

/* A bad block under one message does not keep the others from being found. */
TEST(what_cannot_be_read_does_not_stop_a_search)
{
#ifdef FACTEUR_FAULT
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *control = test_dir(), *rules = str_cstr(&a, arena_printf(&a, "%s/rules", control));
	struct world w;

	log_setup("test", LOG_LEVEL_ERROR + 1, false);
	begin(&w, 5);
	for (int i = 0; i < 2; i++) {
		disk_shall(rules, "read bodies eio-once 2\n");
		struct str got = answer(&w, &a, i == 0 ? "t SEARCH HEADER Received secret" : "t SEARCH NOT HEADER Received other");
		EXPECT(str_starts(got, STR("* NO [CORRUPTION] 1 messages ")));
		EXPECT(str_ends(got, STR("\r\n* SEARCH 1 3 4 5\r\nt OK searched\r\n")));
		disk_shall(rules, "# nothing\n");
		EXPECT_STR(answer(&w, &a, "t SEARCH HEADER Received secret"), "* SEARCH 1 2 3 4 5\r\nt OK searched\r\n");
	}
	end(&w);
	test_dir_remove(control);
#endif
}

TEST(long_commands_say_how_far_they_are)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct world w;
	struct imap_session *s;

	begin(&w, MESSAGES);
	s = w.state;
	s->cmd.tag = STR("t7");
	imap_progress(s, 1, 10);
	clock_mono_advance(9000);
	imap_progress(s, 2, 10);
	EXPECT_INT(w.out.n, 0);
	clock_mono_advance(2000);
	imap_progress(s, 3, 10);
	imap_progress(s, 4, 10);
	EXPECT_STR(buf_str(&w.out), "* OK [INPROGRESS (\"t7\" 3 10)] still at it\r\n");
	end(&w);
}

/* Many ranges, and less room than they take: an answer goes on its way in pieces. */
TEST(sets_of_any_length_are_told_as_a_whole)
{
	static const struct { const char *command, *last; } cases[] = {
		{ "t SEARCH RETURN (ALL) FLAGGED",                                "32763,32765,32767\r\nt OK " },
		{ "t UID SEARCH RETURN (PARTIAL 1:1000000) FLAGGED",              "32763,32765,32767)\r\nt OK " },
		{ "t UID COPY $ Drafts",                                          "32763,32765,32767 1:16384] copied\r\n" },
		{ "t UID MOVE $ Archive",                                         "32763,32765,32767\r\nt OK " },  /* VANISHED */
		{ "t UID FETCH 1:* (UID) (CHANGEDSINCE 4 VANISHED)",              "32763,32765,32767\r\n" },
	};
	CLEANUP(arena_free) struct arena a = { 0 };
	struct flags_change flag = { .op = FLAGS_ADD, .flags = FLAG_FLAGGED };
	struct uid_set odd = { 0 };
	struct imap_session *s;
	struct world w;

	begin(&w, 128);
	s = w.state;
	say(&w, "s ENABLE QRESYNC");
	for (int i = 0; i < 8; i++)
		say(&w, "s COPY 1:* INBOX");
	for (uint32_t uid = 1; uid < 32768; uid += 2)
		uid_set_add(&odd, &a, uid, uid);
	EXPECT_OK(view_store_flags(w.account.view, s->mailbox_id, &odd, &flag, &a, NULL, NULL));
	say(&w, "s SEARCH RETURN (SAVE) FLAGGED");
	s->out.max = 60000;
	EACH(cases, c) {
		struct str got = answer(&w, &a, c->command);
		if (str_find(got, str_of(c->last)) < 0 || !str_ends(got, STR("\r\n")))
			print_error("%s: %zu bytes, without %s\n", c->command, got.n, c->last);
		EXPECT(str_find(got, str_of(c->last)) >= 0 && str_ends(got, STR("\r\n")));
	}
	end(&w);
}
