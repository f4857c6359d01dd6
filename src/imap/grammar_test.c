/* The words of IMAP, one table for each. */
#include "base/test.h"
#include "imap/grammar.h"
#include "imap/language.h"
#include "imap/url.h"
#include "imap/utf7.h"

static struct arena arena;

TEST(sequence_set)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "1", "1" },
		{ "9:3,5", "3:9" },          /* reversed range; the overlap is merged */
		{ "4,2,3,9:11", "2:4,9:11" },
		{ "2:*", "2:4294967295" },   /* the caller puts the largest number there */
		{ "*:5", "5:4294967295" },
		{ "1:4294967295", "1:4294967294" },  /* a number, though the largest, is never "*" */
		{ "4294967296", NULL },      /* does not fit 32 bits */
		{ "0", NULL },
		{ "1,", NULL },
		{ "1:", NULL },
		{ "", NULL },
	};
	EACH(cases, c) {
		struct scan s = scan_of(str_of(c->in));
		struct uid_set set = { 0 };
		bool ok = imap_sequence_set(&s, &arena, &set) && scan_done(&s);
		EXPECT_STR(ok ? str_of(uid_set_text(&set, &arena)) : STR_NONE, c->out);
	}
	arena_free(&arena);
}

TEST(astring)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "INBOX", "INBOX" },
		{ "a]b", "a]b" },
		{ "\"a b\"", "a b" },
		{ "\"\"", "" },
		{ "\"a\\\"\\\\b\"", "a\"\\b" },
		{ "\"a\\b\"", NULL },           /* only \" and \\ */
		{ "\"a\r\nb\"", NULL },
		{ "\"caf\xc3\xa9\"", "caf\xc3\xa9" },
		{ "\"caf\xe9\"", NULL },        /* not UTF-8 */
		{ "{3}\r\nabc", "abc" },
		{ "{3+}\r\nabc", "abc" },
		{ "{0}\r\n", "" },
		{ "{4}\r\nabc", NULL },
		{ "", NULL },
		{ "\"open", NULL },
	};
	EACH(cases, c) {
		struct scan s = scan_of(str_of(c->in));
		struct str got = imap_astring(&s, &arena);
		EXPECT_STR(s.failed ? STR_NONE : got.p ? got : STR(""), c->out);
	}
	arena_free(&arena);
}

TEST(literal_announced)
{
	static const struct { const char *line; bool has; uint64_t n; bool waits, is_binary; size_t at; } cases[] = {
		{ "a LOGIN {5}", true, 5, true, false, 8 },
		{ "a LOGIN {5+}", true, 5, false, false, 8 },
		{ "a APPEND x ~{17}", true, 17, true, true, 11 },
		{ "{0}", true, 0, true, false, 0 },
		{ "a {}", false, 0, false, false, 0 },
		{ "a {+}", false, 0, false, false, 0 },
		{ "a 5}", false, 0, false, false, 0 },
		{ "}", false, 0, false, false, 0 },
		{ "{99999999999999999999999999}", true, UINT64_MAX, true, false, 0 },
	};
	EACH(cases, c) {
		struct imap_literal l = { 0 };
		EXPECT_INT(imap_literal_announced(str_of(c->line), &l), c->has);
		if (!c->has)
			continue;
		EXPECT(l.n == c->n);
		EXPECT_INT(l.waits, c->waits);
		EXPECT_INT(l.is_binary, c->is_binary);
		EXPECT_INT(l.at, c->at);
	}
}

TEST(utf7)
{
	static const struct { const char *utf7, *utf8; } cases[] = {
		{ "Drafts", "Drafts" },
		{ "A&-B", "A&B" },
		{ "Entw&APw-rfe", "Entwürfe" },
		{ "&ZeVnLIqe-", "日本語" },
		{ "&2D3eAA-", "😀" },               /* a pair of surrogates */
		{ "~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語" },
	};
	static const char *const bad[] = { "&", "&AGE-", "&U,BTFw-&ZeVnLIqe-", "&2D0-", "&3gA-", "&APw", "&AP-", "&AP!-", "&A-", "\xff" };

	EACH(cases, c) {
		CLEANUP(buf_free) struct buf b = BUF(1000);
		struct str got;
		EXPECT(utf7_decode(&arena, str_of(c->utf7), &got));
		EXPECT_STR(got, c->utf8);
		utf7_put(&b, str_of(c->utf8));
		EXPECT_STR(buf_str(&b), c->utf7);
	}
	EACH(bad, b) {
		struct str got;
		EXPECT(!utf7_decode(&arena, str_of(*b), &got));
	}
	arena_free(&arena);
}

TEST(list_match)
{
	static const struct { const char *pattern, *path; bool matches; } cases[] = {
		{ "*", "a/b/c", true },
		{ "%", "a", true },
		{ "%", "a/b", false },
		{ "%/%", "a/b", true },
		{ "a/%", "a/b/c", false },
		{ "a/*", "a/b/c", true },
		{ "a*c", "a/b/c", true },
		{ "%b*d", "ab/c/d", true },
		{ "*%c", "a/b/c", true },
		{ "a%b%c", "axxbxxc", true },
		{ "a%b/c", "axb/c", true },
		{ "inbox", "INBOX", true },
		{ "Inbox/%", "INBOX/x", true },
		{ "inbox/Invoices and receipts of the year before the last one, to be kept", "INBOX/Invoices and receipts of the year before the last one, to be kept", true },
		{ "inboxes", "inboxes", true },
		{ "Work", "work", false },
		{ "", "a", false },
		{ "a/b", "a", false },
		{ "*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false },
	};
	EACH(cases, c) {
		if (imap_list_match(str_of(c->pattern), str_of(c->path)) != c->matches)
			print_error("%s on %s\n", c->pattern, c->path);
		EXPECT_INT(imap_list_match(str_of(c->pattern), str_of(c->path)), c->matches);
	}
}

TEST(dates)
{
	static const struct { const char *in; int64_t out; bool ok; } cases[] = {
		{ "\"17-Jul-1996 02:44:25 -0700\"", 837596665, true },
		{ "\" 1-Jan-1970 00:00:00 +0000\"", 0, true },
		{ "\"01-Jan-1970 01:00:00 +0100\"", 0, true },
		{ "\"31-Jun-1996 02:44:25 -0700\"", 0, false },
		{ "\"17-Jul-1996 25:44:25 -0700\"", 0, false },
		{ "\"17-Jul-96 02:44:25 -0700\"", 0, false },
		{ "17-Jul-1996", 0, false },
	};
	EACH(cases, c) {
		struct scan s = scan_of(str_of(c->in));
		int64_t got = imap_date_time(&s);
		EXPECT_INT(!s.failed, c->ok);
		EXPECT_INT(got, c->out);
	}
	struct scan s = scan_of(STR("1-Feb-1994"));
	EXPECT_INT(imap_date(&s), 8797);
	CLEANUP(buf_free) struct buf b = BUF(100);
	imap_put_date_time(&b, 837596665);
	EXPECT_STR(buf_str(&b), "\"17-Jul-1996 09:44:25 +0000\"");
}

TEST(mailbox_out)
{
	static const struct { const char *in, *out; bool utf8; } cases[] = {
		{ "INBOX", "INBOX", false },
		{ "a b", "\"a b\"", false },
		{ "", "\"\"", false },
		{ "é", "&AOk-", false },
		{ "é", "\"é\"", true },
		{ "nil", "\"nil\"", false },
		{ "a&b", "a&-b", false },
	};
	EACH(cases, c) {
		CLEANUP(buf_free) struct buf b = BUF(100);
		imap_put_mailbox(&b, str_of(c->in), c->utf8);
		EXPECT_STR(buf_str(&b), c->out);
	}
}

static struct str url_text(const char *in)
{
	struct imap_url url;

	if (!imap_url_parse(str_of(in), &arena, &url))
		return STR_NONE;
	return arena_printf(&arena, "%s" STR_FMT " %u %u [" STR_FMT "] %llu+%llu", url.is_relative ? "~" : "", STR_ARG(url.mailbox), url.uidvalidity,
	                    url.uid, STR_ARG(url.section), (unsigned long long)url.offset, (unsigned long long)url.count);
}

TEST(urls)  /* RFC 5092 §11 */
{
	static const struct { const char *in, *out; } cases[] = {
		{ "/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.MIME", "Drafts 385759045 20 [1.MIME] 0+0" },
		{ "/Drafts/;uid=20", "Drafts 0 20 [] 0+0" },
		{ "a/b/;UID=1/;PARTIAL=7.9", "~a/b 0 1 [] 7+9" },
		{ ";UID=1/;SECTION=HEADER.FIELDS%20(To)/;PARTIAL=7", "~ 0 1 [HEADER.FIELDS (To)] 7+18446744073709551615" },
		{ "/%C3%89t%c3%a9%3B/;UID=1", "\xc3\x89t\xc3\xa9; 0 1 [] 0+0" },
		{ "/%C3/;UID=1", NULL },                  /* no UTF-8 */
		{ "/a%0Ab/;UID=1", NULL },
		{ "/a%4/;UID=1", NULL },
		{ "imap://bob@example.org/INBOX/;UID=1", NULL },
		{ "//example.org/INBOX/;UID=1", NULL },
		{ "/INBOX", NULL },                       /* a mailbox is no message */
		{ "/INBOX;UID=1", NULL },
		{ "/;UID=1", NULL },                      /* the root has no messages */
		{ ";UIDVALIDITY=1/;UID=1", NULL },
		{ "/INBOX/;UID=0", NULL },
		{ "/INBOX/;UID=4294967296", NULL },
		{ "/INBOX/;UID=1/;SECTION=", NULL },
		{ "/INBOX/;UID=1/;PARTIAL=1.0", NULL },
		{ "/INBOX/;UID=1;EXPIRE=2030-01-01T00:00:00Z;URLAUTH=anonymous", NULL },
		{ "/INBOX?SUBJECT%20x", NULL },
		{ "", NULL },
	};

	EACH(cases, c)
		EXPECT_STR(url_text(c->in), c->out);
	arena_free(&arena);
}

/* The placeholders of a sentence, one after the other. */
static struct str placeholders(const char *sentence)
{
	CLEANUP(buf_free) struct buf b = BUF(1000);

	for (const char *p = strchr(sentence, '%'); p != NULL; p = strchr(p, '%')) {
		size_t n = 1 + strspn(p + 1, ".*l");
		buf_add_bytes(&b, p, n + 1);
		p += n;
	}
	return str_copy(&arena, buf_str(&b));
}

TEST(french)
{
	static const struct { const char *english, *french; } cases[] = {
#define FRENCH(english, french) { english, french },
#include "imap/french.def"
#undef FRENCH
	};

	EACH(cases, c) {
		struct str fr = str_of(c->french);
		size_t code = 0;
		EXPECT(str_eq(placeholders(c->french), placeholders(c->english)));
		while (code < fr.n && fr.p[code] == c->english[code] && fr.p[code] != '[')
			code++;
		if (code < fr.n && fr.p[code] == '[')  /* a response code stays as it is */
			EXPECT(str_starts(fr, str_sub(str_of(c->english), 0, (size_t)(strchr(c->english, ']') - c->english) + 1)));
		EXPECT(str_ends(fr, STR("\r\n")) == str_ends(str_of(c->english), STR("\r\n")));
		EXPECT(strcmp(imap_in(LANG_FR, c->english), c->french) == 0);  /* no sentence stands there twice */
		EXPECT(imap_in(LANG_EN, c->english) == c->english);
	}
	EXPECT(strcmp(imap_in(LANG_FR, "never translated"), "never translated") == 0);
	arena_free(&arena);
}
