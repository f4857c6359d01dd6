#include "mime/build.h"
#include "mime/header.h"
#include "mime/parse.h"
#include "mime/text.h"
#include "base/test.h"

TEST(fields)
{
	static const struct { const char *text; } cases[] = {
		{ "Hello" }, { "" }, { "é" }, { "Votre boîte aux lettres est prête — bienvenue à tous les nouveaux utilisateurs de ce serveur" },
		{ "日本語の件名はとても長いので、いくつかの単語に分けなければなりません。それでも読めるはずです。" }, { "looks =?like?=" },
		{ "a rather long subject that has only plain words in it and must be folded somewhere, twice if it has to be, or even more often" },
	};
	struct arena a = { 0 };

	EACH(cases, c) {
		struct buf b = BUF(10000);
		build_field_text(&b, "Subject", str_of(c->text));
		struct str value;
		EXPECT(header_find(buf_str(&b), STR("subject"), &value));
		EXPECT_STR(header_decode(&a, value), c->text);
		EXPECT(str_is_ascii(buf_str(&b)));
		for (size_t i = 0, column = 0; i < b.n; i++) {
			column = b.p[i] == '\n' ? 0 : column + 1;
			EXPECT(column <= 79);
		}
		buf_free(&b);
	}
	arena_free(&a);
}

TEST(no_field_can_be_injected)
{
	struct buf b = BUF(10000);

	build_field_text(&b, "Subject", STR("x\r\nBcc: evil@x"));
	build_field_raw(&b, "X", STR("y\r\nBcc: evil@x"));
	build_field_address(&b, "From", STR("n\r\nBcc: evil@x"), STR("a\r\nBcc: evil@x>"));
	EXPECT(str_find(buf_str(&b), STR("\nBcc")) < 0);
	EXPECT(str_find(buf_str(&b), STR("\n\n")) < 0);
	buf_free(&b);
}

TEST(address_fields)
{
	static const struct { const char *name, *out; } cases[] = {
		{ "", "To: <a@b>\r\n" }, { "Bob Builder", "To: Bob Builder <a@b>\r\n" }, { "Q., \"X\"", "To: \"Q., \\\"X\\\"\" <a@b>\r\n" },
		{ "René", "To: =?utf-8?b?UmVuw6k=?= <a@b>\r\n" },
	};

	EACH(cases, c) {
		struct buf b = BUF(1000);
		build_field_address(&b, "To", str_of(c->name), STR("a@b"));
		EXPECT_STR(buf_str(&b), c->out);
		buf_free(&b);
	}
}

TEST(report)
{
	struct arena a = { 0 };
	struct buf b = BUF(100000);
	struct build_part parts[] = {
		{ .type = STR("text/plain"), .text = STR("Le message n'a pas pu être remis.\n.\nFrom here\n") },
		{ .type = STR("message/delivery-status"), .raw = STR("Reporting-MTA: dns; x\r\n\r\nAction: failed\r\n") },
		{ .type = STR("text/rfc822-headers"), .raw = STR("Subject: x\r\n") },
		{ .type = STR("application/pdf"), .bytes = STR("\0\1\2"), .filename = STR("été.pdf") },
	};
	struct build_message m = {
		.from_name = STR("Mail"), .from = STR("postmaster@x"), .to = STR("a@b"), .subject = STR("Non remis"), .date = 1795532645,
		.message_id = build_message_id(&a, STR("x.test")), .is_auto_submitted = true, .parts = parts, .parts_n = COUNT_OF(parts),
		.multipart = "report; report-type=delivery-status",
	};
	build_message(&m, &b);
	EXPECT(!b.failed && str_is_ascii(buf_str(&b)));
	const struct mime_part *root = mime_parse(&a, buf_str(&b)), *p = root->children;
	EXPECT(root->kind == MIME_MULTIPART && mime_is(root, "multipart", "report"));
	EXPECT_STR(mime_param(&a, root->params, "report-type"), "delivery-status");
	EXPECT_STR(root->envelope->date, "Tue, 24 Nov 2026 15:04:05 +0000");
	EXPECT(root->envelope->message_id.n > 20);
	EXPECT_STR(mime_text(&a, buf_str(&b), p, 10000), "Le message n'a pas pu être remis.\r\n.\r\nFrom here");
	EXPECT_STR(mime_body(buf_str(&b), p->next), "Reporting-MTA: dns; x\r\n\r\nAction: failed");
	EXPECT_STR(mime_filename(&a, p->next->next->next), "été.pdf");
	EXPECT_STR(mime_body(buf_str(&b), p->next->next->next), "AAEC");
	m.parts_n = 1;
	buf_reset(&b);
	build_message(&m, &b);
	EXPECT(mime_parse(&a, buf_str(&b))->kind == MIME_TEXT);
	buf_free(&b);
	arena_free(&a);
}
