/* What a session that waits hears of other accounts: in IDLE, and by NOTIFY. Part of remote_test.c. */
#ifndef FACTEUR_IMAP_REMOTE_WAITS_TEST_H
#define FACTEUR_IMAP_REMOTE_WAITS_TEST_H
#include "imap/remote_world_test.h"

/* NOTIFY: each owner is visited when it begins, and then when his account has changed, and only then. */
TEST(notify_of_others)
{
	struct world w;

	begin(&w);
	EXPECT_INT(say(&w, "a subscribe " HERS "f\"\r\n"), SESSION_WAIT);
	w.answers = "* STATUS " HERS "f\" (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 1 UNSEEN 0)\r\na OK done\r\n";
	w.parks_after = strlen("a NOOP\r\n");
	w.modseq = 50;
	EXPECT_INT(say(&w, "a notify set status (subscribed (messagenew messageexpunge))\r\n"), SESSION_WAIT_NEWS);
	EXPECT(heard(&w, "f\" (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 1 UNSEEN 0)\r\n") && heard(&w, "a OK"));
	EXPECT_INT(w.visits, 1);
	w.answers = "* STATUS " HERS "f\" (MESSAGES 4 UIDNEXT 5 UIDVALIDITY 1 UNSEEN 1)\r\nnotify OK done\r\n";
	w.parks_after = strlen("notify NOOP\r\n");
	wake(&w, 0);
	EXPECT_INT(w.visits, 1);
	wake(&w, 2);
	EXPECT_STR(buf_str(&w.out), "* STATUS " HERS "f\" (MESSAGES 4 UIDNEXT 5 UIDVALIDITY 1 UNSEEN 1)\r\n");
	EXPECT_INT(w.visits, 2);
	w.answers = "* STATUS INBOX (MESSAGES 9)\r\nnotify OK done\r\n";  /* not hers: it is not told, and nothing ends for it */
	wake(&w, 2);
	EXPECT_INT(waits_how(&w), WAIT_COULD_NOT_ASK);  /* and what is new there is asked for again */
	EXPECT(!heard(&w, "INBOX") && w.visits == 3);
	EXPECT_INT(say(&w, "b unsubscribe " HERS "f\"\r\n"), SESSION_WAIT_NEWS);
	wake(&w, 2);
	EXPECT_INT(w.visits, 3);
	w.answers = "c OK done\r\n";
	w.parks_after = strlen("c NOOP\r\n");
	EXPECT_INT(say(&w, "c subscribe " HERS "g\"\r\n"), SESSION_WAIT_NEWS);
	EXPECT_INT(w.visits, 4);
	EXPECT_INT(say(&w, "d notify none\r\n"), SESSION_WAIT);
	end(&w);
}

/* Names that appear, go and change: found by a visit when the owner's account has changed, and told once. */
TEST(notify_of_names_of_others)
{
#define LISTED(flags, name, id) "* LIST (" flags ") \"/\" " HERS name "\"\r\n* STATUS " HERS name "\" (MAILBOXID (" id "))\r\n"
#define TOLD(flags, name) "* LIST (" flags ") \"/\" " HERS name "\"\r\n"
	static const struct { const char *names, *told; } wakes[] = {
		{ LISTED("\\HasNoChildren", "f", "F1"), "" },
		{ LISTED("\\HasNoChildren", "f", "F1") LISTED("", "g", "F2"), TOLD("\\HasNoChildren", "g") },
		{ LISTED("\\HasNoChildren", "h", "F1") LISTED("", "g", "F2"),
		  "* LIST (\\HasNoChildren) \"/\" " HERS "h\" (\"OLDNAME\" (" HERS "f\"))\r\n" },
		{ LISTED("", "g", "F2"), TOLD("\\NonExistent \\NoAccess", "h") },
		{ LISTED("", "g", "F9"), "" },
		{ LISTED("", "a", "F3") LISTED("", "g", "F9"), TOLD("\\HasNoChildren", "a") },
		{ LISTED("\\HasChildren", "a", "F3") LISTED("", "a/x", "F4") LISTED("", "g", "F9"), TOLD("\\HasChildren", "a") TOLD("\\HasNoChildren", "a/x") },
		{ LISTED("\\HasChildren", "b", "F3") LISTED("", "b/x", "F4") LISTED("", "g", "F9"),
		  "* LIST (\\HasChildren) \"/\" " HERS "b\" (\"OLDNAME\" (" HERS "a\"))\r\n" },
		{ LISTED("", "b/x", "F4") LISTED("", "g", "F9"), TOLD("\\Noselect \\HasChildren", "b") },
		{ "", "* LIST (\\NonExistent \\NoAccess) \"/\" \"Other Users/alice@x\"\r\n" TOLD("\\NonExistent \\NoAccess", "b") TOLD("\\NonExistent \\NoAccess", "b/x") TOLD("\\NonExistent \\NoAccess", "g") },
	};
	struct world w;

	begin(&w);
	w.names = "a OK [NAMES 00] x\r\n" LISTED("\\HasNoChildren", "f", "F1") "a OK listed\r\n";
	w.answers = "a OK done\r\n";
	w.parks_after = strlen("a NOOP\r\n");
	w.modseq = 50;
	EXPECT_INT(say(&w, "a notify set (subtree \"Other Users\" (mailboxname))\r\n"), SESSION_WAIT_NEWS);
	EXPECT_STR(buf_str(&w.out), "a OK you will hear of these\r\n");
	EXPECT_INT(w.visits, 2);
	w.answers = "notify OK done\r\n";
	w.parks_after = strlen("notify NOOP\r\n");
	EACH(wakes, c) {
		char names[2000];
		const char *word = (c - wakes) % 2 ? "BAD x" : "OK [NAMES 01] x";  /* one that has no word is asked, too */
		snprintf(names, sizeof names, "notify %s\r\n%snotify OK listed\r\n", word, c->names);
		w.names = names;
		wake(&w, 2);
		EXPECT_STR(buf_str(&w.out), c->told);
		wake(&w, 0);
		EXPECT_STR(buf_str(&w.out), "");
	}
	w.names = "notify BAD x\r\n* BYE later\r\n";  /* not heard: asked again, and nothing is gone for it */
	wake(&w, 2);
	EXPECT_STR(buf_str(&w.out), "");
	EXPECT_INT(waits_how(&w), WAIT_COULD_NOT_ASK);
	end(&w);
}

/* How often she was asked for the names themselves, in the newest visit. */
static int lists_asked(struct world *w)
{
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	int n = 0;

	while (frame_receive(w->end, room, &type, &bytes) == ERR_OK)
		n += type == FRAME_DATA && str_find(bytes, STR(" LIST ")) >= 0;
	return n;
}

/* Her account changes all the time, mostly by messages; names are asked for when her word for them is another one. */
TEST(names_are_asked_for_when_they_have_changed)
{
	static const struct { const char *word; int lists; } wakes[] = {
		{ "OK [NAMES a1] x", 0 }, { "OK [NAMES a1] x", 0 }, { "OK [NAMES a2] x", 1 }, { "OK [NAMES a2] x", 0 }, { "OK [NAMES a1] x", 1 },
		{ "BAD unknown", 1 }, { "OK [NAMES a1] x", 0 }, { "OK [NAMES ] x", 1 }, { "OK a1", 1 },
	};
	CLEANUP(buf_free) struct buf few = BUF(1 << 20), many = BUF(1 << 20);

	buf_add_cstr(&few, LISTED("\\HasNoChildren", "f", "F1"));
	for (int i = 0; i < 1500; i++)  /* more than are kept, and so never compared: their word is all the same */
		buf_printf(&many, "* LIST () \"/\" " HERS "a folder with a name %04d\"\r\n", i);
	for (int is_many = 0; is_many < 2; is_many++) {
		CLEANUP(buf_free) struct buf names = BUF(1 << 20);
		struct str all = buf_str(is_many ? &many : &few);
		struct world w;
		begin(&w);
		buf_printf(&names, "a OK [NAMES a1] x\r\n" STR_FMT "a OK listed\r\n", STR_ARG(all));
		w.names = str_cstr(&w.arena, buf_str(&names));
		w.answers = "a OK done\r\n";
		w.parks_after = strlen("a NOOP\r\n");
		w.modseq = 50;
		EXPECT_INT(say(&w, "a notify set (subtree \"Other Users\" (mailboxname))\r\n"), SESSION_WAIT_NEWS);
		EXPECT_INT(lists_asked(&w), 1);
		w.answers = "notify OK done\r\n";
		w.parks_after = strlen("notify NOOP\r\n");
		EACH(wakes, c) {
			buf_reset(&names);
			buf_printf(&names, "notify %s\r\n" STR_FMT "notify OK listed\r\n", c->word, STR_ARG(all));
			w.names = str_cstr(&w.arena, buf_str(&names));
			wake(&w, 2);
			EXPECT_STR(buf_str(&w.out), "");
			EXPECT_INT(lists_asked(&w), c->lists);
			EXPECT_INT(waits_how(&w), WAIT_ASKS_ONCE);
		}
		end(&w);
	}
}

static void idle_elsewhere(struct world *w, const char *answers)
{
	w->answers = answers;
	w->stays_open = true;
	EXPECT_INT(say(w, "a select " HERS "INBOX\"\r\n"), SESSION_WAIT);
	EXPECT_INT(say(w, "b idle\r\n"), SESSION_PARK);
	w->parks_after = strlen("a SELECT " HERS "INBOX\"\r\nb IDLE\r\n");
	offer(w, w->end);
	w->stays_open = false;
}

/* What is new between an answer and the waiting is said behind the answer; the offer that follows it knows it as told. */
TEST(what_is_said_last_is_told)
{
	struct world w;
	CLEANUP(buf_free) struct buf record = BUF(PARK_RECORD_MAX);
	uint64_t modseq;

	begin(&w);
	idle_elsewhere(&w, SELECTED "+ idling\r\n* 2 EXPUNGE\r\n* 2 FETCH (FLAGS (\\Seen))\r\n");
	EXPECT(imap_engine.park(w.state, &record, &modseq));
	EXPECT_STR(buf_str(&w.out), "+ idling\r\n* 2 EXPUNGE\r\n* 2 FETCH (FLAGS (\\Seen))\r\n");
	end(&w);
	begin(&w);
	idle_elsewhere(&w, SELECTED "+ idling\r\n* STATUS INBOX (MESSAGES 9)\r\n");  /* not hers: nothing that she says now is believed */
	EXPECT(!imap_engine.park(w.state, &record, &modseq));
	EXPECT_INT(imap_engine.input(w.state), SESSION_CLOSE);
	EXPECT(heard(&w, "* BYE") && !heard(&w, "STATUS"));
	end(&w);
}

/* In IDLE, when the owner's cell takes no more guests: he waits on, and hears later what is new. Unless nothing is shared any more. */
TEST(who_is_not_let_in_waits_on)
{
	struct world w;

	begin(&w);
	w.modseq = 50;
	idle_elsewhere(&w, SELECTED "+ idling\r\n");
	EXPECT_INT(waits_how(&w), WAIT_KNOWS);
	w.refuses = ERR_UNAVAILABLE;            /* by master */
	wake(&w, 0);
	EXPECT_STR(buf_str(&w.out), "");
	EXPECT_INT(waits_how(&w), WAIT_COULD_NOT_ASK);
	w.refuses = ERR_OK;
	w.answers = "";
	w.parks_after = 0;                      /* by her cell, which hangs up */
	wake(&w, 2);
	EXPECT_INT(waits_how(&w), WAIT_COULD_NOT_ASK);
	w.answers = "* 4 EXISTS\r\n";
	w.parks = true;
	wake(&w, 2);
	EXPECT_STR(buf_str(&w.out), "* 4 EXISTS\r\n");
	EXPECT_INT(waits_how(&w), WAIT_KNOWS);
	EXPECT_INT(w.account.visits, 0);
	end(&w);
}

TEST(who_idles_where_nothing_is_shared_any_more_is_told)
{
	struct world w;
	CLEANUP(buf_free) struct buf record = BUF(PARK_RECORD_MAX);
	uint64_t modseq;

	begin(&w);
	idle_elsewhere(&w, SELECTED "+ idling\r\n");
	EXPECT(imap_engine.park(w.state, &record, &modseq));
	w.refuses = ERR_NOTFOUND;
	EXPECT_INT(imap_engine.input(w.state), SESSION_CLOSE);
	EXPECT(heard(&w, "* BYE [NOPERM]"));
	end(&w);
}
#endif
