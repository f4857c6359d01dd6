/* Answers whole, byte by byte, and wrong. */
#include "base/test.h"
#include "http/answer.h"
#include "http/url.h"

static const struct { const char *in; enum err end; int status; const char *body, *type; } cases[] = {
	{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello", ERR_OK, 200, "hello", "text/plain" },
	{ "HTTP/1.0 404\r\ncontent-length:0\r\n\r\n", ERR_OK, 404, "", "" },
	{ "HTTP/1.1 204 No Content\r\n\r\n", ERR_OK, 204, "", "" },
	{ "HTTP/1.1 200 OK\r\n\r\nuntil the end", ERR_OK, 200, "until the end", "" },
	{ "HTTP/1.1 103 Early Hints\r\nLink: x\r\nContent-Type: a/b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", ERR_OK, 200, "x", "" },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX: y\r\n\r\n", ERR_OK, 200, "hello world", "" },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", ERR_OK, 200, "abc", "" },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", ERR_INVALID, 200, NULL, NULL },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ERR_INVALID, 200, NULL, NULL },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", ERR_INVALID, 200, NULL, NULL },
	{ "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n", ERR_INVALID, 200, NULL, NULL },
	{ "HTTP/1.1 200 OK\nContent-Length: 0\n\n", ERR_INVALID, 0, NULL, NULL },
	{ "HTTP/2 200 OK\r\n\r\n", ERR_INVALID, 0, NULL, NULL },
	{ "HTTP/1.1 20x OK\r\n\r\n", ERR_INVALID, 0, NULL, NULL },
	{ "SSH-2.0-OpenSSH\r\n\r\n", ERR_INVALID, 0, NULL, NULL },
	{ "\r\n", ERR_INVALID, 0, NULL, NULL },
	{ "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", ERR_INVALID, 200, NULL, NULL },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n", ERR_LIMIT, 200, NULL, NULL },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n", ERR_CLOSED, 200, NULL, NULL },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n", ERR_LIMIT, 200, NULL, NULL },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", ERR_INVALID, 200, NULL, NULL },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n", ERR_INVALID, 200, NULL, NULL },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", ERR_CLOSED, 200, NULL, NULL },
	{ "HTTP/1.1 200 OK\r\nContent-Le", ERR_CLOSED, 0, NULL, NULL },
};

static enum err read_all(struct http_answer *h, struct str in, size_t step)
{
	enum err e = ERR_AGAIN;

	for (size_t at = 0; at < in.n && e == ERR_AGAIN; at += step)
		e = http_answer_take(h, str_sub(in, at, step));
	return e == ERR_AGAIN ? http_answer_end(h, true) : e;
}

/* Behind a chunk there is only its end: more is not read to the deadline, in however large a piece it comes. */
TEST(a_chunk_that_goes_on)
{
	static const size_t steps[] = { 1, 100000 };
	char in[2000];

	memset(in, 'x', sizeof in);
	memcpy(in, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n", 50);
	EACH(steps, step) {
		CLEANUP(http_answer_free) struct http_answer h;
		http_answer_init(&h, 64);
		EXPECT_ERR(read_all(&h, str_make(in, sizeof in), *step), ERR_INVALID);
	}
}

TEST(answers)
{
	EACH(cases, c) {
		static const size_t steps[] = { 1, 7, 100000 };
		EACH(steps, step) {
			CLEANUP(http_answer_free) struct http_answer h;
			http_answer_init(&h, 64);
			enum err e = read_all(&h, str_of(c->in), *step);
			if (e != c->end)
				print_error("%s (%s)\n", c->in, h.why ? h.why : "");
			EXPECT_ERR(e, c->end);
			EXPECT_INT(h.status, c->status);
			EXPECT((e == ERR_OK) == (h.why == NULL));
			if (e != ERR_OK)
				continue;
			EXPECT_STR(str_make(h.body.p ? h.body.p : "", h.body.n), c->body);
			EXPECT(str_eq(h.content_type, str_of(c->type)));
		}
	}
}

/* Without a length only a connection that was not cut tells where an answer ends (RFC 9112 §9.8). */
TEST(cut)
{
	static const struct { const char *in; enum err end; } answers[] = {
		{ "HTTP/1.0 200 OK\r\n\r\nhello", ERR_CLOSED },
		{ "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", ERR_OK },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", ERR_OK },
		{ "HTTP/1.1 204 No Content\r\n\r\n", ERR_OK },
	};

	EACH(answers, c) {
		CLEANUP(http_answer_free) struct http_answer h;
		http_answer_init(&h, 64);
		enum err e = http_answer_take(&h, str_of(c->in));
		EXPECT_ERR(e == ERR_AGAIN ? http_answer_end(&h, false) : e, c->end);
	}
}

TEST(types)
{
	static const struct { const char *value; bool is_plain; } types[] = {
		{ "text/plain", true }, { "Text/Plain; charset=utf-8", true }, { "text/plain2", false }, { "text/html", false }, { "", false },
	};
	EACH(types, t) {
		struct http_answer h = { .content_type = str_of(t->value) };
		EXPECT_INT(http_answer_is_type(&h, STR("text/plain")), t->is_plain);
	}
}

TEST(limits)
{
	CLEANUP(http_answer_free) struct http_answer h;
	enum err e = ERR_AGAIN;

	http_answer_init(&h, 64);
	e = http_answer_take(&h, STR("HTTP/1.1 200 OK\r\n"));
	for (int i = 0; i < 100000 && e == ERR_AGAIN; i++)
		e = http_answer_take(&h, STR("A: b\r\n"));
	EXPECT_ERR(e, ERR_LIMIT);
	http_answer_free(&h);
	http_answer_init(&h, 64);
	e = http_answer_take(&h, STR("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"));
	for (int i = 0; i < 100000 && e == ERR_AGAIN; i++)
		e = http_answer_take(&h, STR("A: b\r\n"));
	EXPECT_ERR(e, ERR_LIMIT);
	http_answer_free(&h);
	http_answer_init(&h, 64);
	e = ERR_AGAIN;
	for (int i = 0; i < 100000 && e == ERR_AGAIN; i++)
		e = http_answer_take(&h, STR("HTTP/1.1 100 Continue\r\n\r\n"));
	EXPECT_ERR(e, ERR_LIMIT);
}

TEST(urls)
{
	static const struct { const char *url, *host; int port; const char *path; } urls_in[] = {
		{ "https://ID.example.test/realms/Mail", "id.example.test", 0, "/realms/Mail" },
		{ "HTTPS://id.test:8443", "id.test", 8443, "/" },
		{ "https://id.test/keys?v=2", "id.test", 0, "/keys?v=2" },
		{ "http://id.test/", NULL, 0, NULL },
		{ "https://id.test@evil.test/", NULL, 0, NULL },
		{ "https://id.test/#keys", NULL, 0, NULL },
		{ "https://id.test?keys", NULL, 0, NULL },
		{ "https://id.test:0/", NULL, 0, NULL }, { "https://id.test:65536/", NULL, 0, NULL }, { "https://id.test:/", NULL, 0, NULL },
		{ "https://[::1]/", NULL, 0, NULL },
		{ "https://id.test/a b", NULL, 0, NULL }, { "https://id.test/\r\nX: y", NULL, 0, NULL },
		{ "https:///path", NULL, 0, NULL }, { "https://", NULL, 0, NULL }, { "", NULL, 0, NULL },
	};
	struct arena a = { 0 };

	EACH(urls_in, c) {
		struct http_url out;
		EXPECT_INT(http_url_read(str_of(c->url), &a, &out), c->host != NULL);
		if (c->host == NULL)
			continue;
		EXPECT_STR(out.host, c->host);
		EXPECT_INT(out.port, c->port);
		EXPECT_STR(out.path, c->path);
	}
	arena_free(&a);
}
