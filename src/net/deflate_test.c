/* COMPRESS over the life of a connection: both ends talk, one of them is put away again and again, nobody notices. */
#include "base/bytes.h"
#include "base/test.h"
#include "net/deflate.h"
#include <zlib.h>

/* The client: plain zlib, whose state lives as long as the connection. */
struct client { z_stream out, in; };

static void client_begin(struct client *c)
{
	*c = (struct client){ 0 };
	assert_int_equal(deflateInit2(&c->out, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(inflateInit2(&c->in, -15), Z_OK);
}

static void client_end(struct client *c)
{
	deflateEnd(&c->out);
	inflateEnd(&c->in);
}

static struct str client_puts(struct client *c, struct str plain, char *room, size_t n, int flush)
{
	c->out.next_in = (Bytef *)(uintptr_t)plain.p;
	c->out.avail_in = (uInt)plain.n;
	c->out.next_out = (Bytef *)room;
	c->out.avail_out = (uInt)n;
	deflate(&c->out, flush);
	EXPECT_INT(c->out.avail_in, 0);
	return str_make(room, n - c->out.avail_out);
}

static struct str client_reads(struct client *c, struct str wire, char *room, size_t n)
{
	c->in.next_in = (Bytef *)(uintptr_t)wire.p;
	c->in.avail_in = (uInt)wire.n;
	c->in.next_out = (Bytef *)room;
	c->in.avail_out = (uInt)n;
	int r = inflate(&c->in, Z_SYNC_FLUSH);
	EXPECT(r == Z_OK || r == Z_BUF_ERROR);
	EXPECT_INT(c->in.avail_in, 0);
	return str_make(room, n - c->in.avail_out);
}

static void server_reads(struct deflate *d, struct str wire, size_t step, struct buf *plain)
{
	char room[1000];
	size_t got;

	deflate_feed(d, wire);
	while (deflate_get(d, room, step, &got) == ERR_OK)
		buf_add_bytes(plain, room, got);
	EXPECT(!deflate_has_input(d));
}

TEST(both_ways_over_many_parks)
{
	struct client c;
	struct deflate *d = deflate_new();
	static char wire[100000], back[200000];

	client_begin(&c);
	for (int i = 0; i < 60; i++) {
		CLEANUP(buf_free) struct buf said = BUF(100000), heard = BUF(100000), answer = BUF(200000), sent = BUF(300000);
		buf_printf(&said, "a%d UID FETCH %d:* (FLAGS UID ENVELOPE BODYSTRUCTURE)\r\n", i, i * 7);
		if (i % 10 == 3)
			for (int k = 0; k < 4000; k++)
				buf_printf(&said, "%d literal line of a message\r\n", k * i);  /* more than the window */
		server_reads(d, client_puts(&c, buf_str(&said), wire, sizeof(wire), Z_SYNC_FLUSH), (size_t)(1 + i * 13 % 999), &heard);
		EXPECT(str_eq(buf_str(&heard), buf_str(&said)));
		for (int k = 0; k <= i * i; k++)
			buf_printf(&answer, "* %d FETCH (UID %d FLAGS (\\Seen))\r\n", k, k * 3);
		deflate_put(d, buf_str(&answer), &sent);
		EXPECT(str_eq(client_reads(&c, buf_str(&sent), back, sizeof(back)), buf_str(&answer)));
		if (i % 3 == 0)
			deflate_park(d);
		if (i % 9 == 0)
			deflate_park(d);  /* twice is harmless */
	}
	client_end(&c);
	deflate_free(d);
}

TEST(the_dictionary_is_worth_its_room)
{
	struct client c;
	struct deflate *d = deflate_new();
	CLEANUP(buf_free) struct buf first = BUF(1000), second = BUF(1000);
	static const char line[] = "* LIST (\\HasNoChildren \\Archive) \"/\" \"Archives de la famille\"\r\n";

	client_begin(&c);
	deflate_put(d, STR(line), &first);
	deflate_park(d);
	deflate_put(d, STR(line), &second);
	EXPECT(second.n * 3 < first.n);
	char room[500];
	EXPECT_STR(client_reads(&c, buf_str(&first), room, sizeof(room)), line);
	EXPECT_STR(client_reads(&c, buf_str(&second), room, sizeof(room)), line);
	client_end(&c);
	deflate_free(d);
}

TEST(parked_in_the_middle_of_a_block)
{
	struct client c;
	struct deflate *d = deflate_new();
	CLEANUP(buf_free) struct buf heard = BUF(1000);
	char wire[1000];

	client_begin(&c);
	struct str all = client_puts(&c, STR("a1 IDLE\r\n and then DONE\r\n"), wire, sizeof(wire), Z_SYNC_FLUSH);
	for (size_t i = 0; i < all.n; i++) {
		server_reads(d, str_sub(all, i, 1), 100, &heard);
		deflate_park(d);
	}
	EXPECT_STR(buf_str(&heard), "a1 IDLE\r\n and then DONE\r\n");
	client_end(&c);
	deflate_free(d);
}

TEST(random_bytes_fit_the_bound)
{
	struct deflate *d = deflate_new();
	static char noise[16384];

	for (size_t n = 1; n <= sizeof(noise); n = n * 3 + 1) {
		CLEANUP(buf_free) struct buf out = BUF(deflate_bound(sizeof(noise)));
		random_bytes(noise, n);
		deflate_put(d, str_make(noise, n), &out);
		EXPECT(out.n <= deflate_bound(n));
	}
	deflate_free(d);
}

TEST(hostile_input)
{
	struct client c;
	char room[16384], wire[1000];
	size_t got, total = 0;
	static char zeros[900000];
	struct deflate *d = deflate_new();

	/* a bomb comes out as slowly as it is read */
	client_begin(&c);
	deflate_feed(d, client_puts(&c, str_make(zeros, sizeof(zeros)), wire, sizeof(wire), Z_SYNC_FLUSH));
	while (deflate_get(d, room, sizeof(room), &got) == ERR_OK)
		total += got;
	EXPECT_INT(total, sizeof(zeros));
	/* the end of the stream is the end of the connection */
	deflate_feed(d, client_puts(&c, STR("x"), wire, sizeof(wire), Z_FINISH));
	EXPECT_OK(deflate_get(d, room, sizeof(room), &got));
	EXPECT_ERR(deflate_get(d, room, sizeof(room), &got), ERR_AGAIN);
	deflate_feed(d, STR("more"));
	EXPECT_ERR(deflate_get(d, room, sizeof(room), &got), ERR_CLOSED);
	deflate_free(d);
	client_end(&c);
	/* a client that goes on without compressing */
	d = deflate_new();
	deflate_feed(d, STR("a2 NOOP\r\n"));
	enum err e;
	while ((e = deflate_get(d, room, sizeof(room), &got)) == ERR_OK)
		continue;
	EXPECT_ERR(e, ERR_INVALID);
	deflate_free(d);
}

/* The client stops compressing behind "u UNAUTHENTICATE" and goes on in plain text (RFC 8437 §4.1). */
TEST(the_client_stops)
{
	static const struct { int flush; const char *behind; size_t step; bool is_known; } cases[] = {
		{ Z_SYNC_FLUSH, "", 1000, true }, { Z_FULL_FLUSH, "", 1000, true }, { Z_FINISH, "", 1000, true }, { Z_PARTIAL_FLUSH, "", 1000, true },
		{ Z_SYNC_FLUSH, "a2 AUTHENTICATE PLAIN AGFsaWNl\r\n", 1000, true }, { Z_FINISH, "a2 AUTHENTICATE PLAIN AGFsaWNl\r\n", 1000, true },
		{ Z_SYNC_FLUSH, "B2 LOGIN bob secret\r\nc2 NOOP\r\n", 1, true }, { Z_FINISH, "c2 NOOP\r\n", 1, true },
		{ Z_PARTIAL_FLUSH, "B2 LOGIN bob secret\r\nc2 NOOP\r\n", 1000, false },
	};

	EACH(cases, k)
		for (size_t piece = 1; piece < 200; piece += piece < 12 ? 1 : 17) {
			struct client c;
			struct deflate *d = deflate_new();
			CLEANUP(buf_free) struct buf wire = BUF(1000), plain = BUF(100000);
			char room[1000];
			size_t got;
			struct str raw;
			enum err e = ERR_AGAIN;

			client_begin(&c);
			buf_add(&wire, client_puts(&c, STR("a CAPABILITY\r\n"), room, sizeof(room), Z_SYNC_FLUSH));
			buf_add(&wire, client_puts(&c, STR("b NOOP\r\nu UNAUTHENTICATE\r\n"), room, sizeof(room), k->flush));
			buf_add_cstr(&wire, k->behind);
			for (struct str rest = buf_str(&wire); rest.n > 0 && e == ERR_AGAIN; rest = str_from(rest, piece)) {
				deflate_feed(d, str_sub(rest, 0, piece));
				while ((e = deflate_get(d, room, k->step, &got)) == ERR_OK)
					buf_add_bytes(&plain, room, got);
				if (e != ERR_AGAIN && rest.n > piece) {  /* nobody reads on; what is left comes as it is */
					EXPECT(deflate_stopped(d, plain.n - 40, &raw) == k->is_known);
					EXPECT(!k->is_known || str_starts(str_of(k->behind), raw));
				}
			}
			EXPECT(str_starts(buf_str(&plain), STR("a CAPABILITY\r\nb NOOP\r\nu UNAUTHENTICATE\r\n")));
			EXPECT(deflate_stopped(d, plain.n - 40, &raw) == k->is_known);
			EXPECT(!k->is_known || str_starts(str_of(k->behind), raw));
			EXPECT(!k->is_known || raw.n > 0 || k->behind[0] == 0 || e != ERR_AGAIN);
			EXPECT(!deflate_stopped(d, plain.n - 10, &raw));   /* in the middle of something */
			deflate_free(d);
			client_end(&c);
		}
}

/* What is kept for that is bounded, and nothing is lost of a client that says much and flushes once. */
TEST(much_without_a_flush)
{
	struct client c;
	struct deflate *d = deflate_new();
	static char noise[100000], wire[120000], room[16384];
	CLEANUP(buf_free) struct buf plain = BUF(200000);
	struct str rest, raw;
	size_t got;

	client_begin(&c);
	random_bytes(noise, sizeof(noise));
	for (int turn = 0; turn < 2; turn++) {
		rest = client_puts(&c, str_make(noise, sizeof(noise)), wire, sizeof(wire), Z_SYNC_FLUSH);
		for (; rest.n > 0; rest = str_from(rest, 16384)) {
			deflate_feed(d, str_sub(rest, 0, 16384));
			while (deflate_get(d, room, sizeof(room), &got) == ERR_OK)
				buf_add_bytes(&plain, room, got);
			deflate_park(d);
		}
		EXPECT(deflate_stopped(d, 0, &raw) && raw.n == 0);
	}
	EXPECT_INT(plain.n, 2 * sizeof(noise));
	EXPECT(memcmp(plain.p, noise, sizeof(noise)) == 0 && memcmp(plain.p + sizeof(noise), noise, sizeof(noise)) == 0);
	deflate_free(d);
	client_end(&c);
}
