/* What the sender sees, what programs see, and what a hostile original or reply must not do. */
#include "deliver/bounce.h"
#include "base/test.h"
#include "mime/decode.h"
#include "mime/header.h"
#include "mime/parse.h"
#include "mime/text.h"

#define ORIGINAL "From: alice@example.org\r\nTo: bob@example.net\r\nSubject: Lunch?\r\nDate: Sat, 28 Nov 2026 10:00:00 +0100\r\n" \
	"Message-ID: <1@example.org>\r\n\r\nAt noon?\r\n"

static struct envelope envelope = { .source = ENVELOPE_SUBMISSION, .sender = { "alice@example.org", 17 }, .received = 1795852800 };
static const struct report_recipient bob = {
	REPORT_FAILED, STR("bob@example.net"), STR(""), STR("5.1.1"), STR("550 5.1.1 <bob@example.net>: no such user"),
	STR("mx1.example.net [192.0.2.7]"), 1795852860
};
static const struct bounce_style english = { LANG_EN, false, STR("mail.example.org"), STR("example.org") };
static const struct bounce_style french = { LANG_FR, false, STR("mail.example.org"), STR("example.org") };

/* A report that was built, and its three parts. */
struct built {
	struct arena arena;
	struct buf   bytes;
	enum envelope_body body;
	bool         smtputf8;
	struct str   lines, text, status, original, original_type;  /* text: its lines joined */
};

static struct report report_of(const struct report_recipient *x, size_t n)
{
	return (struct report){ .message = { 0x3f2a9c0100000000, 1234 }, .envelope = &envelope, .size = sizeof(ORIGINAL) - 1,
		                    .original = STR(ORIGINAL), .now = 1795852861, .gives_up = 1796284800, .n = n, .recipients = x };
}

static struct str joined(struct arena *a, struct str text)
{
	char *p = str_cstr(a, text);
	size_t n = 0;

	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i] == '\n' || text.p[i] == '\r' ? ' ' : text.p[i];
		if (c != ' ' || (n > 0 && p[n - 1] != ' '))
			p[n++] = c;
	}
	return str_make(p, n);
}

static void build(struct built *b, const struct report *r, const struct bounce_style *style)
{
	*b = (struct built){ .bytes = BUF(BOUNCE_BYTES_MAX) };
	bounce_build(r, style, &b->bytes, &b->body, &b->smtputf8);
	EXPECT(!b->bytes.failed);
	struct str m = buf_str(&b->bytes);
	const struct mime_part *root = mime_parse(&b->arena, m), *part = root->children;
	EXPECT(mime_is(root, "multipart", "report"));
	EXPECT(part != NULL && part->next != NULL && part->next->next != NULL && part->next->next->next == NULL);
	b->lines = mime_text(&b->arena, m, part, MIME_TEXT_MAX);
	b->text = joined(&b->arena, b->lines);
	b->status = mime_body(m, part->next);
	b->original = mime_body(m, part->next->next);
	b->original_type = arena_printf(&b->arena, STR_FMT "/" STR_FMT, STR_ARG(part->next->next->type), STR_ARG(part->next->next->subtype));
}

static void built_free(struct built *b)
{
	buf_free(&b->bytes);
	arena_free(&b->arena);
}

static struct str field(struct built *b, const char *name)
{
	struct str value;

	return header_find(buf_str(&b->bytes), str_of(name), &value) ? header_decode(&b->arena, value) : STR_NONE;
}

#define EXPECT_HAS(where, what) do { if (str_find(where, str_of(what)) < 0) { print_error("not there: %s\nin: %.*s\n", what, \
	STR_ARG(where)); TEST_FAILS(); } } while (0)
#define EXPECT_NOT(where, what) EXPECT(str_find(where, str_of(what)) < 0)

TEST(a_refused_message)
{
	struct report r = report_of(&bob, 1);
	struct built b;

	build(&b, &r, &english);
	EXPECT_STR(field(&b, "Subject"), "Not delivered: Lunch?");
	EXPECT_STR(field(&b, "To"), "<alice@example.org>");
	EXPECT_HAS(field(&b, "From"), "<postmaster@example.org>");
	EXPECT_STR(field(&b, "Auto-Submitted"), "auto-replied");
	EXPECT_STR(field(&b, "In-Reply-To"), "<1@example.org>");
	EXPECT(str_starts(b.text, STR("Your message to bob@example.net was not delivered,")));
	EXPECT_HAS(b.text, "Why: There is no mailbox bob@example.net");
	EXPECT_HAS(b.text, "What to do: Check the address letter by letter");
	EXPECT_HAS(b.text, "mx1.example.net [192.0.2.7] answered:");
	EXPECT_HAS(b.text, "550 5.1.1 <bob@example.net>: no such user");
	EXPECT_HAS(b.text, "message 3f2a9c01-1234");
	EXPECT_STR(b.status, "Reporting-MTA: dns; mail.example.org\r\nArrival-Date: Sat, 28 Nov 2026 08:00:00 +0000\r\n\r\n"
		"Final-Recipient: rfc822; bob@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx1.example.net\r\n"
		"Diagnostic-Code: smtp; 550 5.1.1 <bob@example.net>: no such user\r\nLast-Attempt-Date: Sat, 28 Nov 2026 08:01:00 +0000");
	EXPECT_STR(b.original_type, "text/rfc822-headers");
	EXPECT_HAS(b.original, "Subject: Lunch?");
	EXPECT_NOT(b.original, "At noon?");
	EXPECT_INT(b.body, ENVELOPE_7BIT);
	EXPECT(!b.smtputf8);
	built_free(&b);
}

TEST(in_french_or_both)
{
	struct report r = report_of(&bob, 1);
	struct bounce_style both = english;
	struct built b;

	build(&b, &r, &french);
	EXPECT_STR(field(&b, "Subject"), "Non remis : Lunch?");
	EXPECT(str_starts(b.text, STR("Votre message à bob@example.net n'a pas été remis")));
	EXPECT_HAS(b.text, "Que faire : Vérifiez l'adresse lettre par lettre");
	EXPECT_HAS(b.text, "Écrit le : samedi 28 novembre 2026, 10:00 (+0100)");
	EXPECT_INT(b.body, ENVELOPE_7BIT);  /* quoted-printable */
	built_free(&b);
	both.is_bilingual = true;
	build(&b, &r, &both);
	EXPECT(str_starts(b.text, STR("Your message to")));
	EXPECT_HAS(b.text, "Votre message à");
	built_free(&b);
}

/* However long the address is: no line begins with what stands behind a blank in French. */
TEST(french_marks_stay_with_their_word)
{
	static const char *const marks[] = { "\n;", "\n:", "\n!", "\n?" };
	char address[80];

	for (size_t n = 1; n < sizeof address - 12; n++) {
		struct report_recipient full = bob;
		memset(address, 'x', n);
		memcpy(address + n, "@example.net", 12);
		full.address = str_make(address, n + 12);
		full.status = STR("5.2.2");
		full.text = STR("552 5.2.2 mailbox full");
		struct report r = report_of(&full, 1);
		struct built b;
		build(&b, &r, &french);
		EXPECT_HAS(b.text, "place ; puis renvoyez");
		EACH(marks, m) EXPECT_NOT(b.lines, *m);
		built_free(&b);
	}
}

TEST(each_action)
{
	static const struct { enum report_action action; const char *status, *subject, *sentence, *word, *given; } cases[] = {
		{ REPORT_FAILED, "", "Not delivered: Lunch?", "was not delivered", "Action: failed", "Status: 5.0.0" },
		{ REPORT_FAILED, "4.2.2", "Not delivered: Lunch?", "was not delivered", "Action: failed", "Status: 5.0.0" },  /* class must fit */
		{ REPORT_FAILED, "5.1.1.1", "Not delivered: Lunch?", "was not delivered", "Action: failed", "Status: 5.0.0" },
		{ REPORT_EXPIRED, "4.4.1", "Not delivered: Lunch?", "again and again", "Action: failed", "Status: 5.4.7" },
		{ REPORT_DELAYED, "4.4.1", "Not delivered yet: Lunch?", "until 2026-12-03 08:00 UTC", "Action: delayed", "Status: 4.4.1" },
		{ REPORT_DELIVERED, "2.1.5", "Delivered: Lunch?", "put into the mailbox", "Action: delivered", "Status: 2.1.5" },
		{ REPORT_RELAYED, "", "Passed on: Lunch?", "server in charge", "Action: relayed", "Status: 2.0.0" },
	};
	struct built b;

	EACH(cases, c) {
		struct report_recipient x = bob;
		x.action = c->action;
		x.status = str_of(c->status);
		struct report r = report_of(&x, 1);
		build(&b, &r, &english);
		EXPECT_STR(field(&b, "Subject"), c->subject);
		EXPECT_HAS(b.text, c->sentence);
		EXPECT_HAS(b.status, c->word);
		EXPECT_HAS(b.status, c->given);
		EXPECT((str_find(b.status, STR("Will-Retry-Until: Thu, 03 Dec 2026 08:00:00 +0000")) >= 0) == (c->action == REPORT_DELAYED));
		EXPECT((str_find(b.text, STR("What to do")) >= 0) == (c->action <= REPORT_EXPIRED));
		built_free(&b);
	}
}

TEST(several_recipients)
{
	struct report_recipient x[] = { bob, bob, bob };
	struct report r = report_of(x, 2);
	struct built b;

	x[1].address = STR("carol@example.com");
	x[1].host = STR("");
	x[1].text = STR("This mailbox is asleep.");
	x[1].status = STR("");
	build(&b, &r, &english);
	EXPECT(str_starts(b.text, STR("Your message was not delivered to the 2 recipients")));
	EXPECT_HAS(b.text, "Recipients that are not named here are not concerned.");
	EXPECT_HAS(b.text, "carol@example.com: not delivered Why: This mailbox is asleep.");
	EXPECT_HAS(b.status, "Diagnostic-Code: x-facteur; This mailbox is asleep.");
	built_free(&b);
	x[2].action = REPORT_DELIVERED;
	r.n = 3;
	build(&b, &r, &english);
	EXPECT(str_starts(b.text, STR("Here is what became of your message for 3 of its recipients.")));
	EXPECT_STR(field(&b, "Subject"), "Not delivered: Lunch?");  /* the worst counts */
	built_free(&b);
}

/* RFC 3461 §4.3: RET is about failures; nothing that is too large goes back. */
TEST(what_goes_back)
{
	static const struct { enum envelope_ret ret; enum report_action action; uint64_t more; const char *type, *sentence; } cases[] = {
		{ ENVELOPE_RET_NONE, REPORT_FAILED, 0, "text/rfc822-headers", "The header of your message" },
		{ ENVELOPE_RET_HDRS, REPORT_FAILED, 0, "text/rfc822-headers", "The header of your message" },
		{ ENVELOPE_RET_FULL, REPORT_FAILED, 0, "message/rfc822", "Your message is attached." },
		{ ENVELOPE_RET_FULL, REPORT_DELAYED, 0, "text/rfc822-headers", "The header of your message" },
		{ ENVELOPE_RET_FULL, REPORT_DELIVERED, 0, "text/rfc822-headers", "The header of your message" },
		{ ENVELOPE_RET_FULL, REPORT_FAILED, 1 << 20, "text/rfc822-headers", "too large" },  /* only its beginning is here */
	};
	struct built b;

	EACH(cases, c) {
		struct report_recipient x = bob;
		struct report r = report_of(&x, 1);
		x.action = c->action;
		envelope.ret = c->ret;
		r.size += c->more;
		build(&b, &r, &english);
		EXPECT_STR(b.original_type, c->type);
		EXPECT_HAS(b.text, c->sentence);
		EXPECT((str_find(b.original, STR("At noon?")) >= 0) == str_starts(b.original_type, STR("message")));
		built_free(&b);
	}
	envelope.ret = ENVELOPE_RET_NONE;
}

TEST(dsn_parameters)
{
	struct report_recipient x = bob;
	struct report r = report_of(&x, 1);
	struct built b;

	x.orcpt = STR("rfc822;info@example.org");
	envelope.envid = STR("QQ314159");
	build(&b, &r, &english);
	EXPECT(str_starts(b.status, STR("Original-Envelope-Id: QQ314159\r\n")));
	EXPECT_HAS(b.status, "\r\n\r\nOriginal-Recipient: rfc822; info@example.org\r\n");
	EXPECT_HAS(b.text, "(your message to info@example.org is forwarded there)");
	built_free(&b);
	envelope.envid = STR("");
	x.orcpt = STR("rfc822;BOB@example.net");  /* the same address: no news */
	build(&b, &r, &english);
	EXPECT_NOT(b.text, "forwarded");
	built_free(&b);
}

/* RFC 6533 */
/* The sentence knows what the sender had asked for; the fields say it to programs (RFC 2852, RFC 4865). */
TEST(wishes)
{
	static const struct { const char *status, *text; const struct bounce_style *style; const char *says; } cases[] = {
		{ "5.7.30", "the sender wants every server on the way to prove itself (REQUIRETLS), and nothing proves which one it is", &english,
		  "Send it again without that wish (REQUIRETLS)" },
		{ "5.4.7", "the time by which the sender wanted it there, or not at all, is over", &french, "et cette heure est passée" },
		{ "5.3.3", "the server of the recipient does not promise that (DELIVERBY)", &english, "cannot promise to give it back in time" },
	};

	envelope.wishes = (struct envelope_wishes){ .release = 1795860000, .deliver_by = 1795863600, .by = ENVELOPE_BY_RETURN };
	EACH(cases, c) {
		struct built b;
		struct report_recipient x = { REPORT_FAILED, STR("bob@example.net"), STR(""), str_of(c->status), str_of(c->text), STR(""), 0 };
		struct report r = report_of(&x, 1);
		build(&b, &r, c->style);
		EXPECT_HAS(b.text, c->says);
		EXPECT_HAS(b.status, "Future-Release-Request: until; 2026-11-28T10:00:00Z\r\n");
		EXPECT_HAS(b.status, "Deliver-By-Date: Sat, 28 Nov 2026 11:00:00 +0000\r\n");
		built_free(&b);
	}
	envelope.wishes = (struct envelope_wishes){ 0 };
}

TEST(beyond_ascii)
{
	static const char original[] = "Subject: d\xc3\xa9j\xc3\xa0\r\n\r\nx\r\n";
	struct report_recipient x = bob;
	struct report r = report_of(&x, 1);
	struct built b;

	x.address = STR("\xc3\xa9lise@exemple.fr");
	r.original = STR("Subject: d\xc3\xa9j\xc3\xa0\r\n\r\nx\r\n");
	r.size = sizeof original - 1;
	envelope.smtputf8 = true;
	envelope.ret = ENVELOPE_RET_FULL;
	build(&b, &r, &english);
	EXPECT_HAS(buf_str(&b.bytes), "Content-Type: message/global-delivery-status\r\n");
	EXPECT_HAS(b.status, "Final-Recipient: utf-8; \xc3\xa9lise@exemple.fr\r\n");
	EXPECT_STR(b.original_type, "message/global");
	EXPECT_STR(field(&b, "Content-Transfer-Encoding"), "8bit");
	EXPECT_INT(b.body, ENVELOPE_8BITMIME);
	EXPECT(!b.smtputf8);  /* the sender's own address needs none */
	built_free(&b);
	envelope.smtputf8 = false;
	build(&b, &r, &english);
	EXPECT_STR(b.original_type, "text/rfc822-headers");  /* raw, not announced: as text it can be encoded for any server */
	built_free(&b);
	envelope.ret = ENVELOPE_RET_NONE;
	x = bob;
	x.text = STR("550 5.1.1 bo\xc3\xaete inconnue");
	build(&b, &r, &english);
	EXPECT_HAS(b.status, "Diagnostic-Code: smtp; 550 5.1.1 bo??te inconnue");  /* message/delivery-status is ASCII */
	EXPECT_HAS(b.text, "bo\xc3\xaete inconnue");
	built_free(&b);
}

TEST(hostile_replies_and_originals)
{
	static char huge[300000];
	struct report_recipient x = bob;
	struct report r = report_of(&x, 1);
	struct built b;

	x.text = STR("550 no\r\nAction: delivered\n\n--=_x\x1b[31m\xff\xe2\x80\xae txet");  /* NOLINT(misc-misleading-bidirectional) */
	x.address = STR("bob@example.net\r\nBcc: eve@example.com");
	x.host = STR("mx\r\nX: y [192.0.2.7]");
	r.original = STR("Subject: a\r\n b =?utf-8?q?=0D=0ABcc:_eve@example.com?=\r\nMessage-ID: <a b\"@c>\r\nno field\r\n\r\n");
	r.size = r.original.n;
	build(&b, &r, &english);
	EXPECT(field(&b, "Bcc").p == NULL);
	EXPECT(str_find(b.status, STR("\nAction: delivered")) < 0);
	EXPECT(str_find(b.status, STR("\nBcc")) < 0 && str_find(b.status, STR("\nX: y")) < 0);
	EXPECT_NOT(b.text, "\x1b");
	EXPECT_NOT(b.text, "\xe2\x80\xae");  /* would turn the line around NOLINT(misc-misleading-bidirectional) */
	built_free(&b);

	memset(huge, 'a', sizeof huge);  /* one line, no end, no colon */
	r.original = str_make(huge, sizeof huge);
	r.size = sizeof huge;
	build(&b, &r, &english);
	EXPECT(b.bytes.n < 10000);
	built_free(&b);
	for (size_t i = 0; i < sizeof huge; i += 100)
		memcpy(huge + i, "X-A: b\r\n", 8);
	build(&b, &r, &english);
	EXPECT(b.original.n > REPORT_HEADER_MAX - 200 && b.original.n <= REPORT_HEADER_MAX);
	built_free(&b);
	r.original = STR("");
	r.size = 0;
	build(&b, &r, &english);
	EXPECT_STR(field(&b, "Subject"), "Not delivered: (without subject)");
	built_free(&b);
}

TEST(the_most_that_comes)
{
	struct report_recipient x[REPORT_RECIPIENTS_MAX];
	struct report r = report_of(x, COUNT_OF(x));
	struct bounce_style both = { LANG_FR, true, STR("mail.example.org"), STR("example.org") };
	char address[ENVELOPE_ADDRESS_MAX], reply[1000];
	struct built b;

	memset(address, 0xe9, sizeof address);  /* broken UTF-8 all over */
	memset(reply, 0xe9, sizeof reply);
	for (size_t i = 0; i < COUNT_OF(x); i++) {
		x[i] = bob;
		x[i].address = x[i].orcpt = str_make(address, sizeof address);
		x[i].text = str_make(reply, sizeof reply);
	}
	build(&b, &r, &both);
	built_free(&b);
}
