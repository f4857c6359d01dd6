/* Requests whole, byte by byte, and wrong; and what an answer looks like. */
#include "base/test.h"
#include "http/page.h"
#include "http/request.h"

static const struct { const char *in; enum err end; int refuse; const char *host, *path, *body; } cases[] = {
	{ "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", ERR_OK, 0, "a.test", "/", "" },
	{ "\r\nGET /.well-known/mta-sts.txt HTTP/1.1\r\nHOST:MTA-STS.Example.Test:10443\r\n\r\n", ERR_OK, 0, "mta-sts.example.test", "/.well-known/mta-sts.txt", "" },
	{ "POST /u/x?y=%20z HTTP/1.1\r\nHost: a.test.\r\nContent-Length: 5\r\n\r\na=b&cXXX", ERR_OK, 0, "a.test", "/u/x?y=%20z", "a=b&c" },
	{ "GET https://b.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n", ERR_OK, 0, "b.test", "/x", "" },   /* the target's host counts */
	{ "GET http://b.test HTTP/1.1\r\nHost: a.test\r\n\r\n", ERR_OK, 0, "b.test", "/", "" },
	{ "HEAD / HTTP/1.0\r\nHost: [::1]:443\r\n\r\n", ERR_OK, 0, "[::1]", "/", "" },
	{ "GET / HTTP/1.1\r\n\r\n", ERR_INVALID, 400, NULL, NULL, NULL },
	{ "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", ERR_INVALID, 400, NULL, NULL, NULL },
	{ "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", ERR_INVALID, 400, NULL, NULL, NULL },
	{ "GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n", ERR_INVALID, 400, NULL, NULL, NULL },
	{ "GET / HTTP/1.1\r\nHost : a\r\n\r\n", ERR_INVALID, 400, NULL, NULL, NULL },
	{ "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", ERR_INVALID, 400, NULL, NULL, NULL },      /* folded */
	{ "GET / HTTP/1.1\nHost: a\n\n", ERR_INVALID, 400, NULL, NULL, NULL },
	{ "GET  / HTTP/1.1\r\n", ERR_INVALID, 400, NULL, NULL, NULL },
	{ "GET /a b HTTP/1.1\r\n", ERR_INVALID, 400, NULL, NULL, NULL },
	{ "GET /\x01 HTTP/1.1\r\n", ERR_INVALID, 400, NULL, NULL, NULL },
	{ "GET * HTTP/1.1\r\n", ERR_INVALID, 400, NULL, NULL, NULL },
	{ "CONNECT a:25 HTTP/1.1\r\n", ERR_INVALID, 400, NULL, NULL, NULL },
	{ "EHLO me\r\n", ERR_INVALID, 400, NULL, NULL, NULL },
	{ "PRI * HTTP/2.0\r\n", ERR_INVALID, 505, NULL, NULL, NULL },
	{ "POST / HTTP/1.1\r\nHost: a\r\n\r\n", ERR_INVALID, 411, NULL, NULL, NULL },
	{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", ERR_INVALID, 411, NULL, NULL, NULL },
	{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", ERR_INVALID, 501, NULL, NULL, NULL },
	{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8193\r\n\r\n", ERR_INVALID, 413, NULL, NULL, NULL },
	{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", ERR_INVALID, 400, NULL, NULL, NULL },
	{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", ERR_INVALID, 400, NULL, NULL, NULL },
	{ "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n", ERR_INVALID, 417, NULL, NULL, NULL },
	{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab", ERR_AGAIN, 0, NULL, NULL, NULL },
};

static enum err read_all(struct http_request *r, struct str in, size_t step)
{
	enum err e = ERR_AGAIN;

	for (size_t at = 0; at < in.n && e == ERR_AGAIN; at += step)
		e = http_request_take(r, str_sub(in, at, step));
	return e;
}

TEST(requests)
{
	EACH(cases, c) {
		static const size_t steps[] = { 1, 7, 100000 };
		EACH(steps, step) {
			CLEANUP(http_request_free) struct http_request r;
			http_request_init(&r);
			EXPECT_ERR(read_all(&r, str_of(c->in), *step), c->end);
			EXPECT_INT(r.refuse, c->refuse);
			if (c->end != ERR_OK)
				continue;
			EXPECT_STR(r.host, c->host);
			EXPECT_STR(r.path, c->path);
			EXPECT_STR(r.body.n ? buf_str(&r.body) : STR(""), c->body);
		}
	}
}

TEST(floods_end_at_their_limit)
{
	static const struct { const char *first, *again; int refuse; } floods[] = {
		{ "", "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 414 },
		{ "", "\r\n", 431 },
		{ "GET / HTTP/1.1\r\n", "X: y\r\n", 431 },
		{ "GET / HTTP/1.1\r\n", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 431 },
	};

	EACH(floods, f) {
		CLEANUP(http_request_free) struct http_request r;
		http_request_init(&r);
		enum err e = http_request_take(&r, str_of(f->first));
		for (int i = 0; i < 100000 && e == ERR_AGAIN; i++)
			e = http_request_take(&r, str_of(f->again));
		EXPECT_ERR(e, ERR_INVALID);
		EXPECT_INT(r.refuse, f->refuse);
	}
}

TEST(languages)
{
	static const struct { const char *value; bool french; } words[] = {
		{ "fr-FR,fr;q=0.9,en;q=0.8", true }, { "en-GB, fr", false }, { "de", false }, { "FR", true }, { "", false },
	};

	EACH(words, w) {
		CLEANUP(http_request_free) struct http_request r;
		CLEANUP(arena_free) struct arena a = { 0 };
		http_request_init(&r);
		EXPECT_OK(http_request_take(&r, arena_printf(&a, "GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: %s\r\n\r\n", w->value)));
		EXPECT(r.french == w->french);
	}
}

TEST(replies)
{
	CLEANUP(buf_free) struct buf b = BUF(2000);
	struct http_reply reply = { 405, STR("text/plain"), STR("no\n"), STR("Allow: GET\r\n"), false };

	http_reply_put(&reply, 784111777, &b);
	EXPECT_STR(buf_str(&b), "HTTP/1.1 405 Method Not Allowed\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
	           "Connection: close\r\nX-Content-Type-Options: nosniff\r\nAllow: GET\r\n\r\nno\n");
	buf_reset(&b);
	reply.is_head = true;
	http_reply_put(&reply, 784111777, &b);
	EXPECT(str_ends(buf_str(&b), STR("Allow: GET\r\n\r\n")));
}

TEST(pages_escape_what_they_show)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str html = page_html(&a, false, STR("<b>"), STR("\"a\" & 'b'"), STR(""));

	EXPECT(str_find(html, STR("<h1>&lt;b&gt;</h1><p>&quot;a&quot; &amp; &#39;b&#39;</p></html>")) > 0);
	EXPECT(str_find(html, STR("<form")) < 0);
	EXPECT(str_find(page_html(&a, true, STR("t"), STR("s"), STR("Oui")), STR("<form method=\"post\"><button>Oui</button></form>")) > 0);
}

TEST(a_page_travels)
{
	CLEANUP(buf_free) struct buf b = BUF(20000);
	struct page_request in = { true, STR("a.test"), STR("/x"), STR("f"), true }, out;
	struct page_answer said = { 200, STR("<html>") }, heard;

	put_page_request(&b, &in);
	struct scan s = scan_of(buf_str(&b));
	EXPECT(get_page_request(&s, &out));
	EXPECT(out.is_post && out.french);
	EXPECT_STR(out.host, "a.test");
	EXPECT_STR(out.path, "/x");
	EXPECT_STR(out.form, "f");
	buf_reset(&b);
	put_page_answer(&b, &said);
	s = scan_of(buf_str(&b));
	EXPECT(get_page_answer(&s, &heard));
	EXPECT_INT(heard.status, 200);
	EXPECT_STR(heard.html, "<html>");
}
