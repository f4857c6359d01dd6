/* What a signature covers, and how the field looks. That others find it good is asserted by tests/system/test_dkim.py. */
#include "base/bytes.h"
#include "base/test.h"
#include "mailauth/dkim_sign.h"

#define HEADER "From: Alice <alice@example.org>\r\nSubject: x\r\n"

static enum err ask(struct arena *a, struct str sender, struct str message, struct dkim_request *out)
{
	CLEANUP(buf_free) struct buf b = BUF(DKIM_REQUEST_MAX);
	enum err e = dkim_sign_request(sender, message, &b);
	struct scan s = scan_of(str_copy(a, buf_str(&b)));

	if (e == ERR_OK)
		EXPECT(get_dkim_request(&s, out));
	return e;
}

TEST(fields_that_are_signed)
{
	static const struct { const char *header, *names, *signed_text; } cases[] = {
		{ "From: a@example.org\r\n", "from:from:subject:date:to:cc", "from:a@example.org\r\n" },
		/* what is there is named once more, from the bottom up; a trace field is not signed */
		{ "Received: by x\r\nTo: x@y\r\nFROM : a@example.org\r\nReply-To: b@example.org\r\nSubject: 1\r\nSubject:  2\r\n 3\r\n",
		  "from:from:subject:subject:subject:date:to:to:cc:reply-to:reply-to",
		  "from:a@example.org\r\nsubject:2 3\r\nsubject:1\r\nto:x@y\r\nreply-to:b@example.org\r\n" },
		/* a list may add its own fields */
		{ "From: a@example.org\r\nList-Unsubscribe: <https://example.org/u>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n",
		  "from:from:subject:date:to:cc:list-unsubscribe:list-unsubscribe-post",
		  "from:a@example.org\r\nlist-unsubscribe:<https://example.org/u>\r\nlist-unsubscribe-post:List-Unsubscribe=One-Click\r\n" },
	};
	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct dkim_request r;

		EXPECT_OK(ask(&a, STR(""), arena_printf(&a, "%s\r\nbody\r\n", c->header), &r));
		EXPECT_STR(r.names, c->names);
		EXPECT_STR(r.header, c->signed_text);
	}
}

TEST(whose_signature)
{
	static const struct { const char *from, *sender, *author, *fallback; } cases[] = {
		{ "a@Example.ORG", "bounce@other.example", "example.org", "other.example" },
		{ "\"@x.example\" <a@example.org>, b@second.example", "", "example.org", "" },
		{ "\xc3\xa9lise <e@caf\xc3\xa9.example>", "e@caf\xc3\xa9.example", "xn--caf-dma.example", "xn--caf-dma.example" },
		{ "Team: a@example.org;", "x", "example.org", "" },
		{ "nobody", "a@example.org", NULL, NULL },               /* no domain: nothing that could be signed */
		{ "a@[192.0.2.1]", "", NULL, NULL },
		{ "a@example.org\r\nFrom: b@example.org", "", NULL, NULL },   /* RFC 5322 §3.6: which one would people see? */
	};
	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct dkim_request r;
		struct dkim_domains d;
		struct str message = arena_printf(&a, "From: %s\r\n\r\nFrom: x@body.example\r\n", c->from);
		enum err e = ask(&a, str_of(c->sender), message, &r);

		EXPECT_ERR(e, c->author ? ERR_OK : ERR_INVALID);
		EXPECT_INT(dkim_sign_domains(str_of(c->sender), message, &a, &d), c->author != NULL);
		if (e != ERR_OK)
			continue;
		EXPECT_STR(d.author, c->author);
		EXPECT_STR(d.sender, c->fallback);
		EXPECT_STR(r.author, c->author);
		EXPECT_STR(r.sender, c->fallback);
	}
}

/* The same bytes in any pieces give the same request. */
TEST(in_pieces)
{
	static const struct str message = { HEADER "\r\nHello \r\n\r\n\r\nBob\r\n\r\n", sizeof(HEADER "\r\nHello \r\n\r\n\r\nBob\r\n\r\n") - 1 };
	CLEANUP(buf_free) struct buf whole = BUF(DKIM_REQUEST_MAX);

	EXPECT_OK(dkim_sign_request(STR("a@example.org"), message, &whole));
	for (size_t step = 1; step < message.n; step++) {
		CLEANUP(dkim_sign_free) struct dkim_sign *s = dkim_sign_begin(STR("a@example.org"));
		CLEANUP(buf_free) struct buf b = BUF(DKIM_REQUEST_MAX);

		for (size_t at = 0; at < message.n; at += step)
			dkim_sign_add(s, str_sub(message, at, step));
		EXPECT_OK(dkim_sign_end(s, &b));
		EXPECT(str_eq(buf_str(&b), buf_str(&whole)));
	}
}

TEST(what_cannot_be_signed)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf m = BUF(4 << 20);
	struct dkim_request r;

	EXPECT_ERR(ask(&a, STR(""), STR(""), &r), ERR_INVALID);
	EXPECT_ERR(ask(&a, STR(""), STR("\r\nbody"), &r), ERR_INVALID);
	EXPECT_ERR(ask(&a, STR(""), STR("From: a@example.org\r\n"), &r), ERR_INVALID);  /* its header never ends */
	buf_add_cstr(&m, "From: a@example.org");
	for (int i = 0; i < DKIM_SIGNED_MAX / 10; i++)
		buf_add_cstr(&m, ",\r\n b@c.example");
	buf_add_cstr(&m, "\r\n\r\n");
	EXPECT_ERR(ask(&a, STR(""), buf_str(&m), &r), ERR_LIMIT);
	buf_reset(&m);
	buf_add_cstr(&m, "From: a@example.org\r\n");
	while (m.n <= 1 << 20)
		buf_add_cstr(&m, "X-Padding: 0123456789012345678901234567890123456789012345678901234567890123456789\r\n");
	buf_add_cstr(&m, "\r\n");
	EXPECT_ERR(ask(&a, STR(""), buf_str(&m), &r), ERR_LIMIT);
}

/* A field that would make the request too large is not signed; nor is it over-signed, which would break the signature. */
TEST(a_large_field_is_left_out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf m = BUF(1 << 20);
	struct dkim_request r;

	buf_add_cstr(&m, "From: a@example.org\r\nTo: first@example.org");
	for (int i = 0; i < DKIM_SIGNED_MAX / 10; i++)
		buf_add_cstr(&m, ",\r\n b@c.example");
	buf_add_cstr(&m, "\r\nTo: second@example.org\r\nCc: c@example.org\r\n\r\n");
	EXPECT_OK(ask(&a, STR(""), buf_str(&m), &r));
	EXPECT_STR(r.names, "from:from:subject:date:to:cc:cc");
	EXPECT_STR(r.header, "from:a@example.org\r\nto:second@example.org\r\ncc:c@example.org\r\n");
}

/* More fields than we sign: the last ones are signed, as a verifier begins at the bottom. */
TEST(many_fields)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf m = BUF(1 << 20);
	struct dkim_request r;

	for (int i = 0; i < 500; i++)
		buf_printf(&m, "List-Id: <%d.example.org>\r\n", i);
	buf_add_cstr(&m, "From: a@example.org\r\n\r\n");
	EXPECT_OK(ask(&a, STR(""), buf_str(&m), &r));
	EXPECT(str_find(r.header, STR("list-id:<499.example.org>")) > 0);
	EXPECT(str_find(r.header, STR("list-id:<300.example.org>")) < 0);
	EXPECT(r.names.n < 2000);
}

static struct buf seen = BUF(1 << 20);

static enum err fake_sign(void *context, enum dkim_algorithm algorithm, struct str data, struct buf *signature)
{
	buf_reset(&seen);
	buf_add(&seen, data);
	buf_add_bytes(signature, context, algorithm == DKIM_RSA ? 256 : 64);
	return ERR_OK;
}

TEST(the_field)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf out = BUF(DKIM_PREFIX_MAX);
	static uint8_t zeros[256];
	struct dkim_request r;

	EXPECT_OK(ask(&a, STR(""), STR(HEADER "\r\nbody\r\n"), &r));
	EXPECT_OK(dkim_field(&r, DKIM_ED25519, STR("example.org"), STR("20261128e"), 1764000000, fake_sign, zeros, &out));
	EXPECT_STR(buf_str(&out),
	           "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org;\r\n"
	           "\ts=20261128e; t=1764000000; h=from:from:subject:subject:date:to:cc;\r\n"
	           "\tbh=Ck5SoRNWUpSR4X0COv7R5ub2pUTtl6xz4dTFz++ji4M=; b=AAAAAAAAAAAAAAAAAAAAAAA\r\n"
	           "\tAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\r\n");
	EXPECT_STR(buf_str(&seen),
	           "from:Alice <alice@example.org>\r\nsubject:x\r\n"
	           "dkim-signature:v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org; s=20261128e; t=1764000000; "
	           "h=from:from:subject:subject:date:to:cc; bh=Ck5SoRNWUpSR4X0COv7R5ub2pUTtl6xz4dTFz++ji4M=; b=");
}

/* No line over 78, whatever the names; every line goes on with white space. */
TEST(folding)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf m = BUF(1 << 20), out = BUF(DKIM_PREFIX_MAX);
	static uint8_t zeros[256];
	struct dkim_request r;
	struct str line, rest;

	for (int i = 0; i < 98; i++)
		buf_printf(&m, "List-Unsubscribe-Post: %d\r\n", i);
	buf_add_cstr(&m, "From: a@example.org\r\n\r\n");
	EXPECT_OK(ask(&a, STR(""), buf_str(&m), &r));
	EXPECT_OK(dkim_field(&r, DKIM_RSA, STR("a-domain-that-is-rather-long.and-has.many-labels.in.its.name.example.org"), STR("20261128r12"),
	                     1764000000, fake_sign, zeros, &out));
	EXPECT(str_ends(buf_str(&out), STR("\r\n")));
	rest = buf_str(&out);
	while (rest.n > 0) {
		size_t n = (size_t)str_find(rest, STR("\r\n"));

		line = str_sub(rest, 0, n);
		EXPECT(line.n > 1 && line.n <= 78);
		EXPECT(line.p == out.p || line.p[0] == '\t');
		rest = str_from(rest, n + 2);
	}
}
