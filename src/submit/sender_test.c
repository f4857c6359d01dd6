/* Who may be the sender, and what a refusal says. */
#include "submit/sender.h"
#include "base/test.h"

TEST(senders)
{
	static const struct { const char *address; int code; } cases[] = {
		{ "alice@example.test", 0 }, { "Alice+shop@EXAMPLE.test", 0 }, { "info@example.test", 0 }, { "", 0 },
		{ "bob@example.test", 553 }, { "alice@example.org", 553 }, { "alice", 553 }, { "\"alice", 553 },
	};
	struct str own[] = { STR("alice@example.test"), STR("info@example.test") };
	struct account_info info = { .senders = own, .sender_count = COUNT_OF(own), .conf = conf_new() };

	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct smtp_reply r = submit_check_sender(&info, str_of(c->address), &a);

		EXPECT_INT(r.code, c->code);
		if (r.code)
			EXPECT(str_ends(r.text, STR("(MAIL FROM); it may send as alice@example.test, info@example.test")));
	}
	account_info_free(&info);
}

TEST(many_senders)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct account_info info = { .sender_count = 500, .conf = conf_new() };

	info.senders = arena_array(&a, 500, sizeof(struct str));
	for (int i = 0; i < 500; i++)
		info.senders[i] = arena_printf(&a, "name%d@example.test", i);
	struct smtp_reply r = submit_check_sender(&info, STR("x@y.test"), &a);
	EXPECT(str_ends(r.text, STR("name9@example.test and 490 more")));
	account_info_free(&info);
}

TEST(authors)
{
	static const struct { const char *header; int code; } cases[] = {
		{ "Subject: x\r\n\r\n", 0 },
		{ "From: Alice <alice@example.test>\r\n\r\n", 0 },
		{ "From: bob@example.test <alice@example.test>\r\n\r\n", 0 },
		{ "From: alice@example.test, bob@example.test\r\n\r\n", 553 },
		{ "From: alice@example.test\r\nFrom: bob@example.test\r\n\r\n", 553 },
		{ "From: undisclosed:;\r\n\r\n", 554 },
		{ "Sender: bob@example.test\r\nFrom: alice@example.test\r\n\r\n", 0 },
	};
	struct str own[] = { STR("alice@example.test") };
	struct account_info info = { .senders = own, .sender_count = 1, .conf = conf_new() };

	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		CLEANUP(fixup_free) struct fixup f;
		struct str in = str_of(c->header);

		fixup_begin(&f);
		EXPECT_OK(fixup_take(&f, &in));
		fixup_end(&f);
		EXPECT_INT(submit_check_authors(&info, &f, &a).code, c->code);
	}
	account_info_free(&info);
}
