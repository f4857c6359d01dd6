/* The client's side of a shared mailbox, with another account's cell that says what it likes: what reaches the client, and what does not. That it
 * works with one that says the truth is tests/system/test_shared.py. */
#include "imap/remote_waits_test.h"

/* After SELECT one command; the answers to both lie ready. */
TEST(what_another_cell_says)
{
	static const struct { const char *command, *answer, *heard, *unheard; bool is_over; } cases[] = {
		{ "b fetch 1 flags\r\n", "* 1 FETCH (FLAGS (\\Seen))\r\nb OK done\r\n", "* 1 FETCH (FLAGS (\\Seen))\r\nb OK done\r\n", NULL, false },
		/* a literal goes through as it is, whatever it looks like */
		{ "b fetch 1 body[]\r\n", "* 1 FETCH (BODY[] {11}\r\nb OK done\r\n)\r\nb OK all\r\n", "{11}\r\nb OK done\r\n)\r\nb OK all\r\n", NULL, false },
		{ "b fetch 1 flags\r\n", "b NO [NOPERM] no\r\n", "b NO [NOPERM] no\r\n", NULL, false },
		{ "b fetch 1 flags\r\n", "+ go on\r\n* CAPABILITY X\r\nb OK done\r\n", "b OK done\r\n", "CAPABILITY X", false },
		/* it speaks of what is not its own, with another tag, or not at all */
		{ "b fetch 1 flags\r\n", "* STATUS INBOX (MESSAGES 9)\r\nb OK done\r\n", "* BYE [UNAVAILABLE]", "STATUS", true },
		{ "b noop\r\n", "* LIST () \"/\" INBOX\r\nb OK done\r\n", "* BYE [UNAVAILABLE]", "LIST", true },
		{ "b noop\r\n", "* PREAUTH hello\r\nb OK done\r\n", "* BYE [UNAVAILABLE]", "PREAUTH", true },
		{ "b noop\r\n", "x OK done\r\n", "* BYE [UNAVAILABLE]", "x OK", true },
		{ "b noop\r\n", "* BYE [X] words\r\n", "* BYE [UNAVAILABLE]", "words", true },
		{ "b noop\r\n", "* BYE [NOPERM] words\r\n", "* BYE [NOPERM] the owner", "words", true },
		{ "b noop\r\n", "", "* BYE [UNAVAILABLE]", NULL, true },
		{ "b noop\r\n", "b PERHAPS done\r\n", "b NO [SERVERBUG]", NULL, false },
		{ "b noop\r\n", "* OK [ALERT] your password has expired\r\nb OK done\r\n", "* BYE [UNAVAILABLE]", "ALERT", true },
		{ "b noop\r\n", "* ESEARCH (TAG \"x MAILBOX Other Users/alice@x/f\" MAILBOX INBOX) ALL 1\r\nb OK done\r\n", "* BYE [UNAVAILABLE]", "ESEARCH", true },
		{ "b noop\r\n", "b NO [ALERT] your password has expired\r\n", "b NO your", "ALERT", false },
		{ "b noop\r\n", "* NO [CORRUPTION] one is damaged\r\n* OK [READ-WRITE] now\r\nb OK done\r\n", "* NO [CORRUPTION] one is damaged\r\n* OK [READ-WRITE] now\r\nb OK done", "BYE", false },
		{ "b claim 1\r\n", "b OK claimed\r\n", "b BAD unknown command", "claimed", false },
		{ "b fetch 1 body[]\r\n", "b NO [CORRUPTION] damaged\r\n", "b NO [CORRUPTION] damaged", "BYE", false },
		{ "b status " HERS "f\" (messages)\r\n", "* STATUS \"Other Users/carol@x/f\" (MESSAGES 0)\r\nb OK done\r\n", "* BYE [UNAVAILABLE]", "carol", true },
		{ "b noop\r\n", "* LIST () \"/\" INBOX (\"CHILDINFO\" (\"\"/\" Other Users/alice@x/\"))\r\nb OK done\r\n", "* BYE [UNAVAILABLE]", "LIST", true },
		/* in the middle of a literal only hanging up is left */
		{ "b fetch 1 body[]\r\n", "* 1 FETCH (BODY[] {100}\r\nhalf", "", "BYE", true },
		/* copies: what is not understood is not stored, and the rest neither */
		{ "b copy 1 INBOX\r\n", "* 1 FETCH (UID 7 FLAGS (\\Seen k) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" BODY[] {5}\r\nabcde)\r\nb OK done\r\n",
		  "b OK [COPYUID ", NULL, false },
		{ "b copy 1 INBOX\r\n", "* 1 FETCH (UID 7 FLAGS () BODY[] {5}\r\nabcde)\r\n* 2 FETCH (UID 8 X BODY[] {1}\r\na)\r\nb OK done\r\n", "* BYE [UNAVAILABLE]", "COPYUID", true },
		{ "b copy 1 INBOX\r\n", "* 1 FETCH (UID 7 FLAGS () BODY[] {99999999999}\r\n", "BYE", "COPYUID", true },
		{ "b copy 1 INBOX\r\n", "b OK done\r\n", "b OK none of these messages is there", NULL, false },
		{ "b copy 1 Nowhere\r\n", "", "b NO [TRYCREATE]", NULL, false },
		{ "b copy 1 \"Other Users/carol@x/f\"\r\n", "", "b NO [NONEXISTENT]", NULL, false },
		/* all or none, also where FETCH may work on a part (RFC 9738) */
		{ "b copy 1:3 INBOX\r\n", "* 3 FETCH (UID 7 FLAGS () BODY[] {5}\r\nabcde)\r\nb OK [MESSAGELIMIT 1 7] fetched, the newest only\r\n",
		  "b NO [MESSAGELIMIT 1 7] ", "COPYUID", false },
		/* so many that they are counted first */
		{ "b copy 1:* INBOX\r\n", "* ESEARCH (TAG \"b\") COUNT 1001\r\nb OK searched\r\n", "b NO [LIMIT]", "ESEARCH", false },
		{ "b uid copy 1:* INBOX\r\n", "* ESEARCH (TAG \"b\") UID COUNT 0\r\nb OK searched\r\nb OK fetched\r\n", "b OK none of these", "ESEARCH", false },
		{ "b copy 1:1001 INBOX\r\n", "b BAD no such number\r\n", "b BAD no such number", NULL, false },
		/* MOVE asks whether it may remove, when it has read: numbers mean what they did when the client said them */
		{ "b move 1 INBOX\r\n", MESSAGE "b OK done\r\n* 1 EXPUNGE\r\nb NO [NOPERM] no\r\n", "* 1 EXPUNGE\r\nb NO [NOPERM] no", "COPYUID", false },
		{ "b move 1 INBOX\r\n", MESSAGE "b OK done\r\nb NO [INUSE] wait\r\n* 1 EXPUNGE\r\nb NO [EXPUNGEISSUED] gone\r\n", "* 1 EXPUNGE\r\nb NO [EXPUNGEISSUED] gone", "COPYUID", false },
		/* what is copied is removed, also when she has no room for the command at once: else it would be there twice */
		{ "b move 1 INBOX\r\n", MESSAGE "b OK done\r\nb OK claimed\r\nb NO [INUSE] wait\r\nb OK stored\r\nb NO [INUSE] wait\r\n* 1 EXPUNGE\r\nb OK expunged\r\n",
		  "* 1 EXPUNGE\r\nb OK moved", "INUSE", false },
		/* she has no room for it now: nothing is lost by that */
		{ "b idle\r\nc noop\r\n", "b NO [NOPERM] no\r\nc OK done\r\n", "b NO [NOPERM] no\r\nc OK done\r\n", "BYE", false },
		{ "b copy 1 INBOX\r\n", "b NO [INUSE] too many\r\n" MESSAGE "b OK done\r\n", "b OK [COPYUID ", "INUSE", false },
		{ "b idle\r\n", "* BYE no\r\n", "* BYE [UNAVAILABLE]", "+", true },
		{ "b noop\r\n", "b NO [INUSE] too many\r\nb NO [INUSE] too many\r\nb OK done\r\n", "b OK done\r\n", "INUSE", false },
		/* both speak so, or none */
		{ "b language fr\r\nc noop\r\n", "b NO [UNAVAILABLE] no\r\nc OK done\r\n", "b NO [UNAVAILABLE] no\r\nc OK done\r\n", "LANGUAGE", false },
		{ "b replace 1 INBOX {3+}\r\nabc\r\n", "", "b NO [CANNOT]", NULL, false },
		{ "b replace 1 " HERS "INBOX\" {3+}\r\nabc\r\n", "+ go\r\n* OK [APPENDUID 1 4] stored\r\n* 1 EXPUNGE\r\nb OK replaced\r\n",
		  "* OK [APPENDUID 1 4] stored\r\n* 1 EXPUNGE\r\nb OK replaced", "+ ", false },
		{ "b uid replace 7 " HERS "f\" {3+}\r\nabc\r\nc noop\r\n", "b NO [NOPERM] no\r\nc OK x\r\n", "b NO [NOPERM] no\r\nc OK x", NULL, false },
		{ "b select INBOX\r\n", "", "b OK [READ-WRITE]", NULL, false },
		/* LANGUAGE is for both, and our own answer is the client's */
		{ "b language fr\r\nc noop\r\n", "* LANGUAGE (x)\r\nb OK x\r\nc OK rien\r\n", "* LANGUAGE (fr)\r\n* NAMESPACE ((\"\" \"/\")) ((\"Other Users/\" \"/\" \"TRANSLATION\" (\"Autres utilisateurs/\"))) NIL\r\nb OK d\xc3\xa9sormais en fran\xc3\xa7" "ais\r\nc OK rien", "(x)", false },
		{ "b close\r\nc fetch 1 flags\r\n", "b OK closed\r\n", "c BAD no mailbox is selected", NULL, false },
	};

	EACH(cases, c) {
		struct world w;
		char answers[1000];
		begin(&w);
		snprintf(answers, sizeof answers, "%s%s", SELECTED, c->answer);
		w.answers = answers;
		EXPECT_INT(say(&w, "a select " HERS "INBOX\"\r\n"), SESSION_WAIT);
		EXPECT(heard(&w, "* 3 EXISTS\r\na OK [READ-WRITE] selected\r\n"));
		EXPECT_INT(say(&w, c->command), c->is_over ? SESSION_CLOSE : SESSION_WAIT);
		if (!heard(&w, c->heard) || (c->unheard != NULL && heard(&w, c->unheard))) {
			print_error("%s: " STR_FMT "\n", c->command, STR_ARG(buf_str(&w.out)));
			fail();
		}
		EXPECT_INT(w.account.visits, 0);
		end(&w);
	}
}

/* Commands that name a mailbox of others while none is selected: nothing of it ends the session. */
TEST(names_of_others)
{
	static const struct { const char *command, *answers, *heard, *unheard; } cases[] = {
		{ "b status " HERS "f\" (messages)\r\n", "* STATUS " HERS "f\" (MESSAGES 3)\r\nb OK counted\r\n", "(MESSAGES 3)\r\nb OK counted", NULL },
		{ "b status " HERS "f\" (messages)\r\n", "", "b NO [UNAVAILABLE]", NULL },
		{ "b status " HERS "f\" (messages)\r\n", "* BYE [NOPERM] no\r\n", "b NO [NOPERM]", "BYE" },
		{ "b status " HERS "f\" (messages)\r\n", "* BYE [UNAVAILABLE] your mailbox had to be closed\r\n", "b NO [UNAVAILABLE] the owner's account cannot be reached", "BYE" },
		{ "b status \"Other Users/carol@x/f\" (messages)\r\n", "", "b NO [NONEXISTENT]", NULL },
		{ "b status \"Other Users/o'b@x/f\" (messages)\r\n", "* STATUS \"Other Users/o'b@x/f\" (MESSAGES 3)\r\nb OK x\r\n", "(MESSAGES 3)\r\nb OK x", NULL },
		{ "b status \"Other Users/o'b@x/f\" (messages)\r\n", "* STATUS \"Other Users/carol@x/f\" (MESSAGES 0)\r\nb OK x\r\n", "b NO [UNAVAILABLE]", "carol" },
		{ "b status " HERS "f\" (messages)\r\n", "* STATUS \"Other Users/alice@x/\" (MESSAGES 0)\r\nb OK x\r\n", "b NO [UNAVAILABLE]", "MESSAGES" },
		{ "b status \"Other Users/x\" (messages)\r\n", "", "b NO [NONEXISTENT]", NULL },
		{ "b getmetadata (maxsize 99) " HERS "f\" /shared/comment\r\n", "* METADATA " HERS "f\" (/shared/comment {5}\r\nhello)\r\nb OK x\r\n", "{5}\r\nhello)\r\nb OK x", NULL },
		{ "b setmetadata " HERS "f\" (/private/comment {5+}\r\nhello)\r\n", "+ go\r\nb OK noted\r\n", "b OK noted", "+ " },
		{ "b getmetadata " HERS "f\" /shared/comment\r\n", "* METADATA \"\" (/shared/admin x)\r\nb OK x\r\n", "b NO [UNAVAILABLE]", "admin" },
		{ "b create \"Other Users/x\"\r\n", "", "b NO [CANNOT]", NULL },
		{ "b rename " HERS "f\" mine\r\n", "", "b NO [CANNOT]", NULL },
		{ "b list \"\" *\r\n", "* LIST (\\HasNoChildren) \"/\" " HERS "f/g\"\r\n* LIST () \"/\" INBOX\r\n* LIST () \"/\" \"Other Users/carol@x/f\"\r\nb OK listed\r\n",
		  "* LIST (\\HasNoChildren) \"/\" " HERS "f/g\"", "carol" },
		{ "b list \"\" " HERS "%\"\r\n", "* LIST (\\HasNoChildren) \"/\" " HERS "f/g\"\r\nb OK listed\r\n", "* LIST (\\Noselect \\HasChildren) \"/\" " HERS "f\"", "/g" },
		{ "b list \"\" *\r\n", "", "* NO [UNAVAILABLE] the account of alice@x does not answer at the moment; its mailboxes are missing", "b NO" },  /* never seen: not missed */
		{ "b list \"\" * return (status (messages))\r\n",
		  "* LIST () \"/\" " HERS "f\"\r\n* STATUS " HERS "f\" (MESSAGES 1)\r\n* STATUS " HERS "f\" (MESSAGES 2)\r\n* STATUS " HERS "f\" (MESSAGES 3)\r\nb OK listed\r\n",
		  "(MESSAGES 1)", "(MESSAGES 2)" },
		{ "b list \"\" * return (metadata (/shared/comment))\r\n",
		  "* LIST () \"/\" " HERS "f\"\r\n* METADATA " HERS "f\" (/shared/comment {7}\r\na\r\nb OK /private/x {1}\r\nc)\r\nb OK listed\r\n",
		  "f\"\r\n* METADATA " HERS "f\" (/shared/comment {7}\r\na\r\nb OK /private/x {1}\r\nc)\r\nb OK listed\r\n", "b NO" },
		{ "b list \"\" * return (metadata (/shared/comment))\r\n", "* LIST () \"/\" " HERS "f\"\r\n* METADATA \"\" (/shared/admin x)\r\nb OK listed\r\n", "b OK listed", "admin" },
		{ "b list \"\" * return (metadata (/shared/comment))\r\n", "* LIST () \"/\" " HERS "f\"\r\n* METADATA " HERS "f\" (/shared/comment {99999999}\r\nx", "b OK listed", "999" },
		{ "b list \"\" Archive\r\n", "x", "b OK listed", "Other" },
#define APPEND_URL(rest) "b append INBOX catenate (url \"/Other%20Users/alice@x/f" rest "\" text {1+}\r\n.)\r\n"
#define EXAMINED "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nb OK [READ-ONLY] opened\r\n"
		{ APPEND_URL("/;UID=5"), EXAMINED "* 1 FETCH (UID 5 BODY[] {5}\r\nb OK )\r\n* 2 EXPUNGE\r\nb OK done\r\n", "b OK [APPENDUID", "EX" },
		{ APPEND_URL(";UIDVALIDITY=7/;UID=5/;SECTION=2/;PARTIAL=1.2"), EXAMINED "* 1 FETCH (UID 5 BODY[2]<1> \"\")\r\nb OK done\r\n", "b OK [APPENDUID", "EX" },
		{ APPEND_URL(";UIDVALIDITY=8/;UID=5"), EXAMINED, "b NO [BADURL /Other%20Users/alice@x/f;UIDVALIDITY=8/;UID=5]", NULL },
		{ APPEND_URL("/;UID=5"), EXAMINED "b OK done\r\n", "b NO [BADURL", "EX" },
		{ APPEND_URL("/;UID=5"), EXAMINED "* 1 FETCH (UID 5 BODY[] NIL)\r\nb OK done\r\n", "b NO [BADURL", NULL },
		{ APPEND_URL("/;UID=5"), "b NO [INUSE] no\r\n", "b NO [UNAVAILABLE]", "BADURL" },
		{ APPEND_URL("/;UID=5"), "b NO [NOPERM] no\r\n", "b NO [BADURL", "NOPERM" },
		{ APPEND_URL("/;UID=5"), EXAMINED "* 1 FETCH (UID 5 BODY[] {9}\r\nhalf", "b NO [UNAVAILABLE]", "half" },
		{ APPEND_URL("/;UID=5"), EXAMINED "* 1 FETCH (UID 5 BODY[] {999999999999}\r\nhalf", "b NO [", "APPENDUID" },
		{ "b append INBOX catenate (url \"/Other%20Users/carol@x/f/;UID=5\")\r\n", "", "b NO [BADURL", NULL },
		{ "b append " HERS "f\" {3}\r\n", "b NO [NOPERM] no\r\n", "b NO [NOPERM] no", "+ " },
		{ "b append " HERS "f\" {3+}\r\nabc\r\n", "+ go\r\nb OK [APPENDUID 1 2] stored\r\n", "b OK [APPENDUID 1 2] stored", "+ " },
		{ "b append " HERS "f\" {3+}\r\nabc\r\nc noop\r\n", "", "b NO [UNAVAILABLE]", NULL },
	};

	EACH(cases, c) {
		struct world w;
		begin(&w);
		w.answers = c->answers;
		EXPECT_INT(say(&w, c->command), SESSION_WAIT);
		if (!heard(&w, c->heard) || (c->unheard != NULL && heard(&w, c->unheard))) {
			print_error("%s: " STR_FMT "\n", c->command, STR_ARG(buf_str(&w.out)));
			fail();
		}
		EXPECT_INT(w.account.visits, 0);
		end(&w);
	}
}

/* A mailbox of one's own is selected: of that one no other cell can say anything. */
TEST(what_another_cell_says_of_ours)
{
	static const struct { const char *command, *answers, *heard, *unheard; } cases[] = {
		{ "b status " HERS "f\" (messages)\r\n", "* VANISHED 1:100\r\nb OK counted\r\n", "b NO [UNAVAILABLE]", "VANISHED" },
		{ "b status " HERS "f\" (messages)\r\n", "* 0 EXISTS\r\nb OK counted\r\n", "b NO [UNAVAILABLE]", "EXISTS" },
		{ "b status " HERS "f\" (messages)\r\n", "* OK [UIDVALIDITY 7] x\r\nb OK counted\r\n", "b NO [UNAVAILABLE]", "UIDVALIDITY" },
		{ "b status " HERS "f\" (messages)\r\n", "* OK [INPROGRESS] x\r\n* STATUS " HERS "f\" (MESSAGES 3)\r\nb OK counted\r\n", "INPROGRESS] x\r\n* STATUS", NULL },
		{ "b list \"\" * return (status (messages))\r\n",
		  "* LIST () \"/\" " HERS "f\"\r\n* STATUS INBOX (MESSAGES 77)\r\nb OK listed\r\n", "b OK listed", "77" },
		{ "b esearch in (mailboxes " HERS "f\") all\r\n", "* ESEARCH (TAG \"b\") ALL 1:9\r\nb OK\r\n", "b NO [UNAVAILABLE]", "ESEARCH" },
		{ "b esearch in (mailboxes " HERS "my mailbox of old\") all\r\n", "* ESEARCH (TAG \"b\" MAILBOX " HERS "my mailbox of old\" UIDVALIDITY 1) UID ALL 1:9\r\nb OK searched\r\n",
		  "UID ALL 1:9\r\nb OK", NULL },
		{ "b esearch in (mailboxes " HERS "f\") all\r\n", "* ESEARCH (TAG \"b\" MAILBOX " HERS "f\" MAILBOX INBOX UIDVALIDITY 1) UID ALL 1:9\r\nb OK\r\n",
		  "b NO [UNAVAILABLE]", "ESEARCH" },
		{ "b esearch in (mailboxes " HERS "f\") all\r\n", "* ESEARCH (TAG \"b\" MAILBOX " HERS "f\" UIDVALIDITY 1) UID ALL 1:9\r\nb OK searched\r\n", "UID ALL 1:9", NULL },
	};

	EACH(cases, c) {
		struct world w;
		begin(&w);
		w.answers = "";
		EXPECT_INT(say(&w, "a select INBOX\r\n"), SESSION_WAIT);
		w.answers = c->answers;
		EXPECT_INT(say(&w, c->command), SESSION_WAIT);
		if (!heard(&w, c->heard) || (c->unheard != NULL && heard(&w, c->unheard))) {
			print_error("%s: " STR_FMT "\n", c->command, STR_ARG(buf_str(&w.out)));
			fail();
		}
		end(&w);
	}
}

/* A program that synchronises must not take for deleted what its owner could not be asked for: it is listed as before. */
TEST(who_does_not_answer_is_listed_as_before)
{
	static const char before[] = "* LIST (\\HasChildren) \"/\" " HERS "f\"\r\n* LIST (\\HasNoChildren) \"/\" " HERS "f/g\"\r\nb OK listed\r\n";
	static const char *const unheard[] = {
		"", "b NO [INUSE] too many\r\n", "* BYE later\r\n", "* LIST (\\HasNoChildren) \"/\" " HERS "f\"\r\n", "* LIST () \"/\" " HERS "new\"\r\nb BAD x\r\n",
	};
	struct world w;

	begin(&w);
	w.answers = before;
	EXPECT_INT(say(&w, "b list \"\" *\r\n"), SESSION_WAIT);
	EXPECT(heard(&w, HERS "f/g\"\r\n") && !heard(&w, "* NO") && heard(&w, "b OK listed"));
	EACH(unheard, u) {
		w.answers = *u;
		EXPECT_INT(say(&w, "b list \"\" * return (status (messages))\r\n"), SESSION_WAIT);
		EXPECT(heard(&w, "* NO [UNAVAILABLE] the account of alice@x does not answer at the moment; its mailboxes are listed as they were seen last\r\n"));
		EXPECT(heard(&w, "* LIST () \"/\" " HERS "f/g\"\r\n") && heard(&w, "b OK listed") && !heard(&w, "new"));
	}
	w.answers = "b OK listed\r\n";  /* shared no more: she says so herself */
	EXPECT_INT(say(&w, "b list \"\" *\r\n"), SESSION_WAIT);
	EXPECT(!heard(&w, HERS) && !heard(&w, "* NO"));
	w.answers = "";
	EXPECT_INT(say(&w, "b list \"\" *\r\n"), SESSION_WAIT);
	EXPECT(!heard(&w, HERS) && heard(&w, "b OK listed"));
	end(&w);
}

/* More than is kept: then what cannot be listed would be missed, and the command fails. */
TEST(more_than_is_kept_is_missed)
{
	CLEANUP(buf_free) struct buf many = BUF(1 << 20);
	struct world w;

	for (int i = 0; i < 2000; i++)
		buf_printf(&many, "* LIST () \"/\" " HERS "a folder with a name %04d\"\r\n", i);
	begin(&w);
	buf_add_cstr(&many, "b OK listed\r\n");
	w.answers = str_cstr(&w.arena, buf_str(&many));
	EXPECT_INT(say(&w, "b list \"\" *\r\n"), SESSION_WAIT);
	EXPECT(heard(&w, "name 1999") && heard(&w, "b OK listed"));
	w.answers = "";
	EXPECT_INT(say(&w, "b list \"\" *\r\n"), SESSION_WAIT);
	EXPECT(heard(&w, "b NO [UNAVAILABLE] not all"));
	end(&w);
}

/* A URL beside the mailbox that is selected there, also after waiting: the one that was selected, not another that has its name now. */
TEST(pieces_beside_the_selected_one)
{
#define BESIDE(url) "b append INBOX catenate (url \"" url "\" text {1+}\r\n.)\r\n"
#define PIECE "* 1 FETCH (UID 5 BODY[] {5}\r\nabcde)\r\nb OK done\r\n"
	static const struct { const char *command, *answers, *heard, *asked; } cases[] = {
		{ BESIDE(";UID=5"), EXAMINED PIECE, "b OK [APPENDUID", "EXAMINE " HERS "f/INBOX\"" },
		{ BESIDE(";UID=5"), "* OK [UIDVALIDITY 8] x\r\nb OK [READ-ONLY] opened\r\n", "b NO [BADURL ;UID=5]", "EXAMINE " HERS "f/INBOX\"" },
		{ BESIDE("g;UIDVALIDITY=7/;UID=5"), EXAMINED PIECE, "b OK [APPENDUID", "EXAMINE " HERS "f/g\"" },
		{ BESIDE("g;UIDVALIDITY=8/;UID=5"), EXAMINED, "b NO [BADURL", "EXAMINE " HERS "f/g\"" },
	};

	for (size_t i = 0; i < 2 * COUNT_OF(cases); i++) {
		struct world w;
		struct str bytes;
		enum frame type;
		char room[FRAME_MAX];
		begin(&w);
		w.answers = "* OK [UIDVALIDITY 7] x\r\n" SELECTED;
		w.parks_after = strlen("a select " HERS "f/INBOX\"\r\n");
		EXPECT_INT(say(&w, "a select " HERS "f/INBOX\"\r\n"), SESSION_WAIT);
		if (i >= COUNT_OF(cases))
			wake(&w, 0);
		w.parks_after = 0;
		w.answers = cases[i % COUNT_OF(cases)].answers;
		EXPECT_INT(say(&w, cases[i % COUNT_OF(cases)].command), SESSION_WAIT);
		EXPECT(heard(&w, cases[i % COUNT_OF(cases)].heard));
		EXPECT(frame_receive(w.end, room, &type, &bytes) == ERR_OK && frame_receive(w.end, room, &type, &bytes) == ERR_OK);
		EXPECT(str_find(bytes, str_of(cases[i % COUNT_OF(cases)].asked)) >= 0);
		end(&w);
	}
}

/* In the millisecond in which the owner's cell ends: it has begun nothing, and one more visit finds the next one. */
TEST(who_comes_as_a_cell_ends_comes_again)
{
	static const struct { const char *command, *answers, *heard; int ends, visits; } cases[] = {
		{ "b status " HERS "f\" (messages)\r\n", "* STATUS " HERS "f\" (MESSAGES 3)\r\nb OK counted\r\n", "b OK counted", 1, 2 },
		{ "b status " HERS "f\" (messages)\r\n", "* STATUS " HERS "f\" (MESSAGES 3)\r\nb OK counted\r\n", "b NO [UNAVAILABLE]", 2, 2 },
		{ "b select " HERS "f\"\r\n", "* 3 EXISTS\r\nb OK [READ-WRITE] selected\r\n", "b OK [READ-WRITE]", 1, 2 },
		{ "b list \"\" *\r\n", "* LIST () \"/\" " HERS "f\"\r\nb OK listed\r\n", HERS "f\"", 1, 2 },
		{ "b idle\r\n", "+ idling\r\n", "+ idling", 1, 3 },
		{ "b copy 1 INBOX\r\n", MESSAGE "b OK done\r\n", "b OK [COPYUID", 1, 3 },
		{ "b status " HERS "f\" (messages)\r\n", "* STATUS " HERS "f\" (MESS", "b NO [UNAVAILABLE]", 0, 1 },  /* it had begun */
	};

	EACH(cases, c) {
		struct world w;
		begin(&w);
		if (c->visits == 3) {  /* with a mailbox selected there, after waiting */
			w.answers = SELECTED;
			w.parks_after = strlen("a select " HERS "f\"\r\n");
			EXPECT_INT(say(&w, "a select " HERS "f\"\r\n"), SESSION_WAIT);
			wake(&w, 0);
			w.parks_after = 0;
		}
		w.answers = c->answers;
		w.ends = c->ends;
		EXPECT(say(&w, c->command) != SESSION_CLOSE);
		EXPECT(heard(&w, c->heard) && !heard(&w, "* NO"));
		EXPECT_INT(w.visits, c->visits);
		end(&w);
	}
}

/* What was sent to the third account. */
static struct str sent_to_dave(struct world *w)
{
	static char room[FRAME_MAX], all[4000];
	enum frame type;
	struct str bytes;
	size_t n = 0;

	while (frame_receive(w->dave_end, room, &type, &bytes) == ERR_OK && n + bytes.n < sizeof all) {
		if (type == FRAME_DATA)
			memcpy(all + n, bytes.p, bytes.n);
		n += type == FRAME_DATA ? bytes.n : 0;
	}
	return str_make(all, n);
}

/* Out of a mailbox of one account into one of another, neither of which is the client's. */
TEST(copies_between_two_others)
{
	static const struct { const char *command, *alice, *dave, *heard; } cases[] = {
		{ "b copy 1 \"Other Users/dave@x/f\"\r\n", MESSAGE "b OK done\r\n", "+ go\r\nb OK [APPENDUID 9 3] stored\r\n", "b OK [COPYUID 9 7 3] copied" },
		{ "b copy 1 \"Other Users/dave@x/f\"\r\n", MESSAGE "b OK done\r\n", "b NO [OVERQUOTA] full\r\n", "b NO [OVERQUOTA] full" },
		{ "b copy 1 \"Other Users/dave@x/f\"\r\n", MESSAGE "b OK done\r\n", "+ go\r\nb NO [TRYCREATE] none\r\n", "b NO [TRYCREATE] none" },
		{ "b copy 1 \"Other Users/dave@x/f\"\r\n", MESSAGE "b OK done\r\n", "* 7 EXISTS\r\n", "b NO [UNAVAILABLE]" },
		{ "b copy 1 \"Other Users/dave@x/f\"\r\n", "b OK done\r\n", "", "b OK none of these" },
		{ "b move 1:2 \"Other Users/dave@x/f\"\r\n", MESSAGE "b OK [MESSAGELIMIT 1 7] fetched\r\n", "+ go\r\n", "b NO [MESSAGELIMIT 1 7] " },
		{ "b move 1 \"Other Users/dave@x/f\"\r\n", MESSAGE "b OK done\r\nb OK claimed\r\nb OK stored\r\n* 1 EXPUNGE\r\nb OK expunged\r\n",
		  "+ go\r\nb OK [APPENDUID 9 3] stored\r\n", "* OK [COPYUID 9 7 3] these\r\n* 1 EXPUNGE\r\nb OK moved" },
		{ "b move 1 \"Other Users/dave@x/f\"\r\n", MESSAGE "b OK done\r\nb NO [NOPERM] no\r\n", "+ go\r\n", "b NO [NOPERM] no" },
	};

	EACH(cases, c) {
		struct world w;
		char answers[1000];
		begin(&w);
		snprintf(answers, sizeof answers, "%s%s", SELECTED, c->alice);
		w.answers = answers;
		w.dave = c->dave;
		EXPECT_INT(say(&w, "a select " HERS "INBOX\"\r\n"), SESSION_WAIT);
		EXPECT_INT(say(&w, c->command), SESSION_WAIT);
		if (!heard(&w, c->heard)) {
			print_error("%s: " STR_FMT "\n", c->command, STR_ARG(buf_str(&w.out)));
			fail();
		}
		if (str_find(str_of(c->heard), STR("COPYUID")) >= 0)
			EXPECT_STR(sent_to_dave(&w), "b APPEND \"Other Users/dave@x/f\" (\\Seen k) \"17-Jul-1996 09:44:25 +0000\" {5}\r\nabcde\r\n");
		EXPECT_INT(w.account.visits, 0);
		end(&w);
	}
}

static void damage(struct world *w, off_t at)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(fd_close) int fd = open(str_cstr(&a, arena_printf(&a, "%s/bodies/000001", w->dir)), O_WRONLY | O_CLOEXEC);

	EXPECT(fd >= 0 && pwrite(fd, "?", 1, at) == 1);
}

/* Nothing of it comes to the other account, nothing leaves this one, and it is not the other one that is to blame. */
TEST(what_is_damaged_is_not_copied)
{
	static const char *const commands[] = { "b copy 1:2 " HERS "f\"\r\n", "b move 1:2 " HERS "f\"\r\n" };

	EACH(commands, c) {
		struct world w;
		begin(&w);
		EXPECT_INT(say(&w, "x append inbox {14+}\r\nSubject: a\r\n\r\n {14+}\r\nSubject: b\r\n\r\n\r\n"), SESSION_WAIT);
		damage(&w, 24 + 14 + 24 + 9);
		w.answers = "";
		EXPECT_INT(say(&w, "a select INBOX\r\n"), SESSION_WAIT);
		EXPECT(heard(&w, "* 2 EXISTS"));
		w.answers = "+ go\r\n+ go\r\nb OK [APPENDUID 9 3:4] stored\r\n";
		EXPECT_INT(say(&w, *c), SESSION_WAIT);
		EXPECT(str_starts(buf_str(&w.out), STR("b NO [CORRUPTION] ")));
		EXPECT_INT(say(&w, "d uid search all\r\n"), SESSION_WAIT);
		EXPECT(heard(&w, "* SEARCH 1 2\r\n"));
		EXPECT_INT(w.account.visits, 0);
		end(&w);
	}
}
