/* What comes in, what goes on; cut in every place, because bytes arrive as they like. */
#include "submit/fixup.h"
#include "base/test.h"
#include "mime/address.h"
#include "mime/header.h"

static const struct fixup_facts facts = {
	.received = { "Received: here\r\n", 16 }, .domain = { "example.test", 12 }, .from_name = { "", 0 },
	.from = { "alice@example.test", 18 }, .now_s = 1700000000,
};

/* The message fixed, having come in pieces of this size. */
static struct str fixed(struct arena *a, struct str in, size_t piece)
{
	CLEANUP(fixup_free) struct fixup f;
	CLEANUP(buf_free) struct buf out = BUF(8 << 20);

	fixup_begin(&f);
	while (in.n > 0) {
		struct str next = str_sub(in, 0, piece);
		in = str_from(in, next.n);
		EXPECT_OK(fixup_take(&f, &next));
		if (f.is_whole) {
			fixup_write(&f, &facts, &out);
			buf_add(&out, next);
			buf_add(&out, in);
			return str_copy(a, buf_str(&out));
		}
	}
	fixup_end(&f);
	fixup_write(&f, &facts, &out);
	return str_copy(a, buf_str(&out));
}

#define D "Date: Tue, 24 Nov 2026 15:04:05 +0000\r\n"
#define M "Message-ID: <1@x>\r\n"
#define F "From: alice@example.test\r\n"
#define R "Received: here\r\n"

TEST(what_is_there_stays)
{
	static const struct { const char *in, *out; } cases[] = {
		{ F D M "Sender: b@x\r\n\r\nhi\r\n",       R F D M "Sender: b@x\r\n\r\nhi\r\n" },
		{ F D M "Bcc: x@y,\r\n z@y\r\nTo: a\r\n\r\n", R F D M "To: a\r\n\r\n" },                 /* folded */
		{ F D M "bcc : x@y\r\nRESENT-BCC: q\r\n\r\n", R F D M "\r\n" },                         /* obsolete space, any case */
		{ "Return-Path: <x@y>\r\n" F D M "\r\n",   R F D M "\r\n" },
		{ F D M "\r\nBcc: text\r\n",               R F D M "\r\nBcc: text\r\n" },               /* in the body it is text */
		{ F D M,                                   R F D M "\r\n" },                            /* no empty line */
		{ F D "Message-ID: <1@x>",                 R F D M "\r\n" },                            /* no line end either */
		{ F D M "no field\r\nBcc: x\r\n",          R F D M "\r\nno field\r\nBcc: x\r\n" },      /* the header ended before it */
		{ F D M ": nameless\r\n\r\n",              R F D M "\r\n: nameless\r\n\r\n" },
		{ "From root Mon Nov 24 2026\r\n" F D M "\r\nx", R F D M "\r\nx" },                     /* an mbox's separator */
		{ "From : a@example.test\r\n" D M "\r\nx", R "From : a@example.test\r\n" D M "\r\nx" },        /* a field all the same */
		{ F D M "From me to you\r\n",              R F D M "\r\nFrom me to you\r\n" },          /* only in front */
		{ F D M "X: 1\r\n \r\n\r\nb",              R F D M "X: 1\r\n \r\n\r\nb" },              /* a folded blank */
		{ F D M "S: \xc3\xa9t\xc3\xa9\r\n\r\n",    R F D M "S: \xc3\xa9t\xc3\xa9\r\n\r\n" },    /* RFC 6532 */
	};
	CLEANUP(arena_free) struct arena a = { 0 };

	EACH(cases, c) {
		for (size_t piece = 1; piece < 40; piece += 3)
			EXPECT_STR(fixed(&a, str_of(c->in), piece), c->out);
		EXPECT_STR(fixed(&a, str_of(c->in), 1000), c->out);
		CLEANUP(buf_free) struct buf out = BUF(1000);
		fixup_header(str_of(c->in), &facts, &out);
		EXPECT_STR(buf_str(&out), c->out);
	}
}

static size_t count(struct str message, const char *name, struct str *value)
{
	struct scan s = scan_of(message);
	struct header_field f;
	size_t n = 0;

	while (header_next(&s, &f)) {
		if (str_ieq(f.name, str_of(name))) {
			*value = str_trim(f.value);
			n++;
		}
	}
	return n;
}

TEST(what_is_missing_is_supplied)
{
	static const struct { const char *in, *end; } cases[] = {
		{ "Subject: x\r\n\r\nbody\r\n",     "\r\n\r\nbody\r\n" },
		{ "\r\nbody\r\n",                   "\r\n\r\nbody\r\n" },
		{ "just text\r\nmore: text\r\n",    "\r\n\r\njust text\r\nmore: text\r\n" },  /* echo hello | sendmail bob */
		{ " starts with a blank\r\n",       "\r\n\r\n starts with a blank\r\n" },
		{ "",                               "\r\n\r\n" },
		{ "Date: \r\nMessage-ID:\r\nFrom: \r\n\r\nx", "\r\n\r\nx" },                 /* empty is missing, and not there twice */
	};
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str value;

	EACH(cases, c) {
		struct str out = fixed(&a, str_of(c->in), 7);
		EXPECT(str_ends(out, str_of(c->end)));
		EXPECT_INT(count(out, "Date", &value), 1);
		EXPECT_STR(value, "Tue, 14 Nov 2023 22:13:20 +0000");
		EXPECT_INT(count(out, "Message-ID", &value), 1);
		EXPECT(str_starts(value, STR("<")) && str_ends(value, STR("@example.test>")));
		EXPECT_INT(count(out, "From", &value), 1);
		EXPECT_STR(value, "<alice@example.test>");
	}
}

TEST(authors)
{
	static const struct { const char *in, *out; enum err e; } cases[] = {
		{ "From: Alice <alice@example.test>\r\n\r\n", "alice@example.test", ERR_OK },
		{ "From: a@x, \"b c\"@y\r\n\r\n",             "a@x \"b c\"@y", ERR_OK },
		{ "From: a@x\r\nFROM : b@y\r\n\r\n",          "a@x b@y", ERR_OK },           /* twice: both are looked at */
		{ "From: ceo@bank.test <a@x>\r\n\r\n",        "a@x", ERR_OK },               /* a name, whatever it looks like */
		{ "From: a@x <ceo@bank.test>\r\n\r\n",        "ceo@bank.test", ERR_OK },
		{ "From: team: a@x, b@y;\r\n\r\n",            "a@x b@y", ERR_OK },           /* RFC 6854 */
		{ "From: nobody:;\r\n\r\n",                   "", ERR_INVALID },
		{ "From: alice\r\n\r\n",                      "", ERR_INVALID },
		{ "From: \r\n\r\n",                           "", ERR_OK },
		{ "X: 1\r\n\r\nFrom: b@y\r\n",                "", ERR_OK },
		{ "X: 1\r\nno field\r\nFrom: b@y\r\n\r\n",    "", ERR_OK },                  /* text by now */
	};
	CLEANUP(arena_free) struct arena a = { 0 };

	EACH(cases, c) {
		CLEANUP(fixup_free) struct fixup f;
		CLEANUP(buf_free) struct buf all = BUF(1000);
		struct str in = str_of(c->in);
		struct authors got;

		fixup_begin(&f);
		EXPECT_OK(fixup_take(&f, &in));
		fixup_end(&f);
		EXPECT_ERR(fixup_authors(&f, &a, &got), c->e);
		for (size_t i = 0; c->e == ERR_OK && i < got.n; i++)
			buf_printf(&all, "%s" STR_FMT, i ? " " : "", STR_ARG(got.addresses[i]));
		EXPECT_STR(all.n ? buf_str(&all) : STR(""), c->out);
	}
}

TEST(limits)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(fixup_free) struct fixup f;
	CLEANUP(buf_free) struct buf big = BUF(4 << 20);
	struct authors got;
	struct str in;

	while (big.n < FIXUP_HEADER_MAX - 100)
		buf_add(&big, STR("X-Filler: 0123456789012345678901234567890123456789\r\n"));
	fixup_begin(&f);
	in = buf_str(&big);
	EXPECT_OK(fixup_take(&f, &in));
	in = str_sub(buf_str(&big), 0, 52 * 3);
	EXPECT_ERR(fixup_take(&f, &in), ERR_LIMIT);
	fixup_free(&f);

	buf_reset(&big);
	buf_add(&big, STR("From: "));
	for (int i = 0; i <= FIXUP_AUTHORS_MAX; i++)
		buf_printf(&big, "a%d@x,\r\n ", i);
	buf_add(&big, STR("b@x\r\n\r\n"));
	fixup_begin(&f);
	in = buf_str(&big);
	EXPECT_OK(fixup_take(&f, &in));
	EXPECT(f.is_whole);
	EXPECT_ERR(fixup_authors(&f, &a, &got), ERR_LIMIT);
}

/* A list that is read only up to a limit must not hide who stands behind it. */
TEST(no_author_hides_behind_groups)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(fixup_free) struct fixup f;
	CLEANUP(buf_free) struct buf big = BUF(1 << 20);
	struct authors got;
	struct str in;

	buf_add(&big, STR("From: alice@example.test, "));
	for (int i = 0; i < MAIL_ADDRESSES_MAX / 2; i++)
		buf_add(&big, STR("g:;"));
	buf_add(&big, STR(", bob@example.test\r\n\r\n"));
	fixup_begin(&f);
	in = buf_str(&big);
	EXPECT_OK(fixup_take(&f, &in));
	EXPECT_ERR(fixup_authors(&f, &a, &got), ERR_LIMIT);
}
