/* What a mailing list makes of a header. */
#include "base/test.h"
#include "mime/header.h"
#include "mime/list.h"

#define TEAM .address = STR("team@example.org"), .title = STR("The Team")

static struct str written(struct arena *a, const struct list_post *p, const char *header)
{
	CLEANUP(buf_free) struct buf b = BUF(100000);

	list_header(p, str_of(header), &b);
	EXPECT(!b.failed);
	return str_copy(a, buf_str(&b));
}

TEST(headers_of_lists)
{
	static const struct { struct list_post post; const char *in, *out; } cases[] = {
		/* members here: the author stays, with his signature; what the list answers for is replaced */
		{ { TEAM },
		  "Received: from a\r\nDKIM-Signature: v=1;\r\n d=example.net\r\nFrom: Alice <alice@example.net>\r\nList-Id: <old.list>\r\n"
		  "Subject: Hi\r\nPrecedence: bulk\r\n\r\n",
		  "Received: from a\r\nDKIM-Signature: v=1;\r\n d=example.net\r\nFrom: Alice <alice@example.net>\r\nSubject: Hi\r\n"
		  "Precedence: list\r\nList-Id: The Team <team.example.org>\r\nList-Post: <mailto:team@example.org>\r\n\r\n" },
		/* members elsewhere: the list speaks in its own name, the author gets the answers */
		{ { TEAM, .renames_author = true },
		  "DKIM-Signature: v=1;\r\n d=example.net\r\nFrom: Alice <alice@example.net>\r\nSender: bob@example.net\r\nSubject: Hi\r\n\r\n",
		  "From: Alice via The Team <team@example.org>\r\nSubject: Hi\r\nX-Original-From: Alice <alice@example.net>\r\n"
		  "Reply-To: Alice <alice@example.net>\r\nPrecedence: list\r\nList-Id: The Team <team.example.org>\r\n"
		  "List-Post: <mailto:team@example.org>\r\n\r\n" },
		/* where the author said where answers go, that counts */
		{ { TEAM, .renames_author = true },
		  "From: alice@example.net\r\nReply-To: desk@example.net\r\n\r\n",
		  "From: alice via The Team <team@example.org>\r\nReply-To: desk@example.net\r\nX-Original-From: alice@example.net\r\n"
		  "Precedence: list\r\nList-Id: The Team <team.example.org>\r\nList-Post: <mailto:team@example.org>\r\n\r\n" },
		/* the list gets the answers */
		{ { TEAM, .replies_to_list = true },
		  "From: alice@example.net\r\nReply-To: desk@example.net\r\nDisposition-Notification-To: alice@example.net\r\n\r\n",
		  "From: alice@example.net\r\nReply-To: The Team <team@example.org>\r\nPrecedence: list\r\n"
		  "List-Id: The Team <team.example.org>\r\nList-Post: <mailto:team@example.org>\r\n\r\n" },
		/* announcements: few may write, everybody may leave */
		{ { .address = STR("news@example.org"), .is_for_few = true, .leave = STR("news=leave@example.org") },
		  "From: alice@example.net\r\n\r\n",
		  "From: alice@example.net\r\nPrecedence: list\r\nList-Id: news <news.example.org>\r\nList-Post: NO\r\n"
		  "List-Unsubscribe: <mailto:news=leave@example.org?subject=unsubscribe>\r\n\r\n" },
		/* two From fields are one afterwards; a header without an end gets one; a folded From stays folded where it is kept */
		{ { TEAM, .renames_author = true },
		  "From: Alice\r\n <alice@example.net>\r\nFrom: eve@example.net\r\nSubject: x",
		  "From: Alice via The Team <team@example.org>\r\nSubject: x\r\nX-Original-From: Alice\r\n <alice@example.net>\r\n"
		  "Reply-To: Alice\r\n <alice@example.net>\r\nPrecedence: list\r\nList-Id: The Team <team.example.org>\r\n"
		  "List-Post: <mailto:team@example.org>\r\n\r\n" },
		/* its empty line may be a bare LF: what we add must not be its body */
		{ { TEAM }, "From: a@b.test\n\n", "From: a@b.test\nPrecedence: list\r\nList-Id: The Team <team.example.org>\r\n"
		  "List-Post: <mailto:team@example.org>\r\n\r\n" },
		/* it had neither: both are the list's to say */
		{ { TEAM, .message_id = STR("1@example.org"), .date = 1700000000 },
		  "From: a@b.test\r\n\r\n",
		  "From: a@b.test\r\nMessage-ID: <1@example.org>\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\nPrecedence: list\r\n"
		  "List-Id: The Team <team.example.org>\r\nList-Post: <mailto:team@example.org>\r\n\r\n" },
		{ { TEAM, .message_id = STR("1@example.org"), .date = 1700000000 },
		  "date: yesterday\r\nmessage-id: <2@b.test>\r\n\r\n",
		  "date: yesterday\r\nmessage-id: <2@b.test>\r\nPrecedence: list\r\n"
		  "List-Id: The Team <team.example.org>\r\nList-Post: <mailto:team@example.org>\r\n\r\n" },
		/* nobody wrote it */
		{ { TEAM, .renames_author = true }, "\r\n",
		  "Precedence: list\r\nList-Id: The Team <team.example.org>\r\nList-Post: <mailto:team@example.org>\r\n\r\n" },
	};

	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		EXPECT_STR(written(&a, &c->post, c->in), c->out);
	}
}

/* Names that need quotes or encoding, and one that would be a field of its own. */
TEST(names_of_authors)
{
	static const struct { const char *from, *name; } cases[] = {
		{ "\"Smith, Bob\" <bob@example.net>", "From: \"Smith, Bob via The Team\" <team@example.org>\r\n" },
		{ "=?utf-8?q?Ren=C3=A9?= <rene@example.net>", "From: =?utf-8?q?Ren=C3=A9_via_The_Team?= <team@example.org>\r\n" },
		{ "bob@example.net (Bob)", "From: Bob via The Team <team@example.org>\r\n" },
		{ "", "From: via The Team <team@example.org>\r\n" },
		{ "=?utf-8?q?a=0D=0ABcc:_eve@example.net?= <bob@example.net>", NULL },
	};
	const struct list_post team = { TEAM, .renames_author = true };

	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct str value, out = written(&a, &team, str_cstr(&a, arena_printf(&a, "From: %s\r\n\r\n", c->from)));
		if (c->name != NULL)
			EXPECT_STR(str_sub(out, 0, strlen(c->name)), c->name);
		EXPECT(!header_find(out, STR("Bcc"), &value));
	}
}

TEST(fields_for_leaving)
{
	CLEANUP(buf_free) struct buf b = BUF(1000);

	list_leave_fields(STR("our team=leave=x@example.org"), STR("https://mail.example.org/leave/x"), &b);
	EXPECT_STR(buf_str(&b), "List-Unsubscribe: <https://mail.example.org/leave/x>,\r\n <mailto:our%20team=leave=x@example.org?subject=unsubscribe>\r\n"
	                        "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n");
}

TEST(obstacles)
{
	static const struct { const char *header; enum list_obstacle why; } cases[] = {
		{ "Subject: x\r\n\r\n", LIST_MAY_PASS },
		{ "List-Id: The Team <TEAM.example.org>\r\n\r\n", LIST_HAS_SEEN_IT },
		{ "List-Id: folded\r\n <team.example.org>\r\n\r\n", LIST_HAS_SEEN_IT },
		{ "List-Id: Others <others.example.org>\r\n\r\n", LIST_MAY_PASS },          /* a list in a list */
		{ "List-Id: team.example.org\r\n\r\n", LIST_MAY_PASS },
		{ "Auto-Submitted: auto-replied (vacation)\r\n\r\n", LIST_IS_AUTOMATIC },
		{ "Auto-Submitted: auto-generated\r\n\r\n", LIST_MAY_PASS },                /* what a machine has to say may interest everybody */
		{ "Auto-Submitted: no\r\n\r\n", LIST_MAY_PASS },
		{ "Precedence: auto_reply\r\n\r\n", LIST_IS_AUTOMATIC }, { "X-Autoreply: yes\r\n\r\n", LIST_IS_AUTOMATIC },
		{ "Precedence: bulk\r\n\r\n", LIST_MAY_PASS },
		{ "Subject: x\r\n\r\nX-Autoreply: in the body\r\n", LIST_MAY_PASS },
	};

	EACH(cases, c) EXPECT_INT(list_obstacle(str_of(c->header), STR("team@example.org")), c->why);
}
