/* The pump between a client (a stream socket) and a cell (a scripted pair): order, back pressure, ends, parking,
 * compression. */
#include "base/bytes.h"
#include "base/mem.h"
#include "base/test.h"
#include "net/relay.h"
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

struct fixture {
	struct loop   *loop;
	struct stream  stream;
	struct loop_fd watch;
	struct relay   relay;
	int            client, cell;   /* the ends that the test plays */
	int            started;
	enum relay_end how;
	char           said[1000];     /* with the end */
	size_t         said_n;
	char           waits[100];     /* as its newest WAITS said */
	size_t         waits_n;
};

static void on_started(void *context) { ((struct fixture *)context)->started++; }

static void on_ended(void *context, enum relay_end how, struct str bytes)
{
	struct fixture *f = context;
	f->how = how;
	f->said_n = bytes.n < sizeof(f->said) ? bytes.n : sizeof(f->said);
	if (bytes.n)
		memcpy(f->said, bytes.p, f->said_n);
}

static bool on_waits(void *context, struct str bytes)
{
	struct fixture *f = context;

	f->waits_n = bytes.n;
	if (bytes.n > 0)
		memcpy(f->waits, bytes.p, bytes.n);
	return bytes.n > 0;
}

static const struct relay_owner owner = { on_started, on_ended, on_waits };

static void begin(struct fixture *f, bool waits_for_start)
{
	int tcp[2], pair[2];
	*f = (struct fixture){ .loop = loop_new() };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, tcp), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	f->stream.fd = f->watch.fd = tcp[0];
	f->client = tcp[1];
	f->cell = pair[1];
	relay_start(&f->relay, f->loop, &f->stream, &f->watch, pair[0], waits_for_start, &owner, f);
}

static void end(struct fixture *f)
{
	loop_unwatch(f->loop, &f->watch);
	relay_stop(&f->relay);
	buf_free(&f->relay.to_client);
	stream_close(&f->stream);
	fd_close(&f->client);
	fd_close(&f->cell);
	loop_free(f->loop);
}

static void turn(struct fixture *f)
{
	for (int i = 0; i < 20; i++)
		loop_once(f->loop, 0);
}

static void says(int fd, const char *text) { assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text)); }

static struct str hears(int fd, char *room, size_t n)
{
	ssize_t got = read(fd, room, n);
	return str_make(room, got > 0 ? (size_t)got : 0);
}

static enum frame cell_gets(struct fixture *f, char *room, struct str *bytes)
{
	enum frame type = (enum frame)0;
	*bytes = STR("");
	enum err e = frame_receive(f->cell, room, &type, bytes);
	return e == ERR_OK ? type : (enum frame)0;
}

static void cell_says(struct fixture *f, enum frame type, const char *text) { EXPECT_OK(frame_send(f->cell, type, str_of(text), 0)); }

static void cell_gives_back(struct fixture *f, uint64_t bytes_in, struct str rest)
{
	CLEANUP(buf_free) struct buf b = BUF(200);
	put_u64(&b, bytes_in);
	put_str(&b, rest);
	EXPECT_OK(frame_send(f->cell, FRAME_UNAUTH, buf_str(&b), 0));
}

static void cell_offers_park(struct fixture *f, uint64_t bytes_in)
{
	CLEANUP(buf_free) struct buf b = BUF(100);
	put_u64(&b, bytes_in);
	put_u64(&b, 9);
	put_bool(&b, true);
	put_str(&b, STR("record"));
	EXPECT_OK(frame_send(f->cell, FRAME_PARK, buf_str(&b), 0));
}

TEST(both_ways)
{
	struct fixture f;
	char room[FRAME_MAX];
	struct str bytes;

	begin(&f, true);
	says(f.client, "a2 SELECT INBOX\r\n");
	relay_give(&f.relay, STR("a1 NOOP\r\n"));
	turn(&f);
	EXPECT_INT(cell_gets(&f, room, &bytes), FRAME_DATA);
	EXPECT_STR(bytes, "a1 NOOP\r\n");
	EXPECT_INT(cell_gets(&f, room, &bytes), 0);    /* the cell has not taken the session yet: it may still be refused */
	cell_says(&f, FRAME_DATA, "a0 OK in\r\n");
	turn(&f);
	EXPECT_INT(f.started, 1);
	EXPECT_STR(hears(f.client, room, sizeof(room)), "a0 OK in\r\n");
	EXPECT_INT(cell_gets(&f, room, &bytes), FRAME_DATA);
	EXPECT_STR(bytes, "a2 SELECT INBOX\r\n");
	EXPECT_INT(f.stream.bytes_in, 17);
	EXPECT_INT(f.stream.bytes_out, 10);
	cell_says(&f, FRAME_DATA, "* BYE\r\n");
	cell_says(&f, FRAME_LOGOUT, "");
	turn(&f);
	EXPECT_INT(f.how, RELAY_LOGOUT);
	EXPECT_STR(hears(f.client, room, sizeof(room)), "* BYE\r\n");
	end(&f);
}

TEST(refused_before_it_began)
{
	struct fixture f;
	begin(&f, true);
	cell_says(&f, FRAME_REFUSED, "\014no");
	turn(&f);
	EXPECT_INT(f.how, RELAY_REFUSED);
	EXPECT_INT(f.started, 0);
	EXPECT_STR(str_make(f.said, f.said_n), "\014no");
	end(&f);
}

/* A cell that goes with frames of ours unread is a reset for the kernel; what it said is not lost by that. */
TEST(last_words_of_a_cell_that_did_not_listen)
{
	struct fixture f;
	char room[FRAME_MAX];
	begin(&f, false);
	says(f.client, "a LOGOUT\r\nb NOOP\r\n");
	turn(&f);
	cell_says(&f, FRAME_DATA, "a OK bye\r\n");
	cell_says(&f, FRAME_LOGOUT, "");
	fd_close(&f.cell);
	turn(&f);
	EXPECT_INT(f.how, RELAY_LOGOUT);
	EXPECT_STR(hears(f.client, room, sizeof(room)), "a OK bye\r\n");
	end(&f);
}

/* A client that never reads stops its cell after a few frames; everything arrives when it reads again, also the end. */
TEST(slow_reader)
{
	struct fixture f;
	char room[FRAME_MAX];
	static char page[FRAME_LARGE_DATA_MAX];
	int sent = 0;
	size_t total = 0;

	begin(&f, false);
	memset(page, 'x', sizeof(page));
	while (frame_send(f.cell, FRAME_DATA, str_make(page, sizeof(page)), 0) == ERR_OK && sent < 1000) {
		sent++;
		loop_once(f.loop, 0);
	}
	EXPECT(sent > 3 && sent < 200);
	EXPECT(f.relay.to_client.n > 0 && f.relay.to_client.n < FRAME_LARGE_MAX);
	EXPECT(f.relay.is_mid_line);
	turn(&f);
	EXPECT_INT(f.how, 0);
	fd_close(&f.cell);   /* the cell ends; its words are still on the way */
	turn(&f);
	EXPECT_INT(f.how, 0);
	for (int i = 0; i < 10000 && f.how == 0; i++) {
		total += hears(f.client, room, sizeof(room)).n;
		loop_once(f.loop, 0);
	}
	for (struct str s; (s = hears(f.client, room, sizeof(room))).n;)
		total += s.n;
	EXPECT_INT(f.how, RELAY_CELL_GONE);
	EXPECT_INT(total, (size_t)sent * sizeof(page));
	EXPECT(f.relay.to_client.p == NULL);
	end(&f);
}

/* A cell that is busy stops its client; nothing is lost or reordered, the last bytes and the end of the client
 * included. */
TEST(slow_cell_and_half_close)
{
	struct fixture f;
	char room[FRAME_MAX];
	struct str bytes;
	uint32_t wrote = 0, seen = 0;
	enum frame type;

	begin(&f, false);
	for (int stuck = 0; stuck < 50; loop_once(f.loop, 0)) {
		ssize_t n = write(f.client, &wrote, sizeof(wrote));
		wrote += n > 0;
		stuck = n > 0 ? 0 : stuck + 1;
		for (int i = 0; n > 0 && i < 1000 && write(f.client, &wrote, sizeof(wrote)) > 0; i++)
			wrote++;
	}
	EXPECT(wrote > 10000);
	EXPECT(f.relay.to_cell.n <= FRAME_DATA_MAX);
	shutdown(f.client, SHUT_WR);
	turn(&f);
	CLEANUP(buf_free) struct buf all = BUF(4 << 20);
	while ((type = cell_gets(&f, room, &bytes)) == FRAME_DATA) {
		buf_add(&all, bytes);
		turn(&f);
	}
	EXPECT_INT(type, FRAME_EOF);
	EXPECT_INT(all.n, wrote * sizeof(wrote));
	for (; seen < wrote; seen++)
		if (memcmp(all.p + seen * sizeof(seen), &seen, sizeof(seen)) != 0)
			break;
	EXPECT_INT(seen, wrote);
	EXPECT_INT(cell_gets(&f, room, &bytes), 0);   /* told once */
	cell_says(&f, FRAME_DATA, "done\r\n");        /* the other direction is still open */
	turn(&f);
	EXPECT_STR(hears(f.client, room, sizeof(room)), "done\r\n");
	EXPECT_INT(f.how, 0);
	fd_close(&f.client);
	turn(&f);
	EXPECT_INT(f.how, RELAY_CLIENT_GONE);
	end(&f);
}

TEST(park_needs_every_byte)
{
	struct fixture f;
	char room[FRAME_MAX];
	struct str bytes;

	begin(&f, false);
	says(f.client, "a IDLE\r\n");
	turn(&f);
	EXPECT_INT(cell_gets(&f, room, &bytes), FRAME_DATA);
	says(f.client, "DONE\r\n");
	turn(&f);
	cell_offers_park(&f, 8);    /* the cell has not seen DONE: the session goes on */
	turn(&f);
	EXPECT_INT(f.how, 0);
	EXPECT_INT(cell_gets(&f, room, &bytes), FRAME_DATA);
	EXPECT_STR(bytes, "DONE\r\n");
	cell_says(&f, FRAME_DATA, "a OK\r\n");
	cell_offers_park(&f, 14);
	turn(&f);
	EXPECT_INT(f.how, RELAY_PARKED);
	EXPECT_STR(str_sub(str_make(f.said, f.said_n), f.said_n - 6, 6), "record");
	EXPECT_STR(hears(f.client, room, sizeof(room)), "a OK\r\n");   /* said before it was parked */
	end(&f);
}

/* For one that cannot be parked; if it can after all, not before it has heard of the change. */
TEST(a_session_that_stays_waits)
{
	struct fixture f;
	char room[FRAME_MAX];
	struct str bytes;

	begin(&f, false);
	says(f.client, "a IDLE\r\n");
	turn(&f);
	EXPECT_INT(cell_gets(&f, room, &bytes), FRAME_DATA);
	cell_says(&f, FRAME_WAITS, "for whom");
	turn(&f);
	EXPECT_STR(str_make(f.waits, f.waits_n), "for whom");
	EXPECT(relay_changed(&f.relay, STR("12345678")));
	cell_offers_park(&f, 8);
	turn(&f);
	EXPECT_INT(f.how, 0);
	EXPECT_INT(cell_gets(&f, room, &bytes), FRAME_CHANGED);
	EXPECT_STR(bytes, "12345678");
	cell_offers_park(&f, 9);
	turn(&f);
	EXPECT_INT(f.how, RELAY_PARKED);
	EXPECT(!relay_changed(&f.relay, STR("12345678")));
	end(&f);
	begin(&f, false);
	cell_says(&f, FRAME_WAITS, "");
	turn(&f);
	EXPECT_INT(f.how, RELAY_CELL_GONE);
	end(&f);
}

TEST(compress_begins_between_two_frames)
{
	struct fixture f;
	char room[FRAME_MAX], plain[200];
	struct str bytes;
	z_stream in = { 0 }, out = { 0 };

	begin(&f, false);
	cell_says(&f, FRAME_COMPRESS, "c OK DEFLATE active\r\n");
	cell_says(&f, FRAME_DATA, "* 1 EXISTS\r\n");
	turn(&f);
	struct str wire = hears(f.client, room, sizeof(room));
	EXPECT(str_starts(wire, STR("c OK DEFLATE active\r\n")));
	wire = str_from(wire, 21);
	inflateInit2(&in, -15);
	in.next_in = (Bytef *)(uintptr_t)wire.p;
	in.avail_in = (uInt)wire.n;
	in.next_out = (Bytef *)plain;
	in.avail_out = sizeof(plain);
	EXPECT_INT(inflate(&in, Z_SYNC_FLUSH), Z_OK);
	EXPECT_STR(str_make(plain, sizeof(plain) - in.avail_out), "* 1 EXISTS\r\n");
	inflateEnd(&in);
	deflateInit2(&out, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY);
	static char zeros[300000];   /* 300 bytes on the wire: more than the pair has room for */
	out.next_in = (Bytef *)zeros;
	out.avail_in = sizeof(zeros);
	out.next_out = (Bytef *)room;
	out.avail_out = sizeof(room);
	deflate(&out, Z_SYNC_FLUSH);
	assert_int_equal(write(f.client, room, sizeof(room) - out.avail_out), (ssize_t)(sizeof(room) - out.avail_out));
	deflateEnd(&out);
	size_t got = 0;
	for (int i = 0; i < 1000 && got < sizeof(zeros); i++) {
		loop_once(f.loop, 0);
		while (cell_gets(&f, room, &bytes) == FRAME_DATA)
			got += bytes.n;
	}
	EXPECT_INT(got, sizeof(zeros));
	end(&f);
}

/* UNAUTHENTICATE ends compression; what the client has sent behind it in plain text is for the login phase (RFC 8437 §4.1). */
TEST(who_gives_up_stops_compressing)
{
	static const struct { int flush; const char *behind, *garbled; enum relay_end how; } cases[] = {
		{ Z_SYNC_FLUSH, "", "", RELAY_UNAUTH }, { Z_FINISH, "", "", RELAY_UNAUTH },
		{ Z_SYNC_FLUSH, "a2 NOOP\r\n", "", RELAY_UNAUTH }, { Z_FINISH, "a2 NOOP\r\n", "", RELAY_UNAUTH },
		{ Z_PARTIAL_FLUSH, "a2 NOOP\r\n", "", RELAY_CLIENT_GONE },
		{ Z_SYNC_FLUSH, "", "u", RELAY_CLIENT_GONE },  /* the cell speaks of bytes that were never there */
	};

	EACH(cases, c) {
		struct fixture f;
		char room[FRAME_MAX];
		struct str bytes;
		z_stream out = { 0 };

		begin(&f, false);
		cell_says(&f, FRAME_COMPRESS, "c OK\r\n");
		turn(&f);
		hears(f.client, room, sizeof(room));
		deflateInit2(&out, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY);
		out.next_in = (Bytef *)(uintptr_t)"u UNAUTHENTICATE\r\n";
		out.avail_in = 18;
		out.next_out = (Bytef *)room;
		out.avail_out = sizeof(room);
		deflate(&out, c->flush);
		size_t n = sizeof(room) - out.avail_out;
		memcpy(room + n, c->behind, strlen(c->behind));
		n += strlen(c->behind);
		assert_int_equal(write(f.client, room, n), (ssize_t)n);
		deflateEnd(&out);
		turn(&f);
		EXPECT_INT(cell_gets(&f, room, &bytes), FRAME_DATA);
		EXPECT(str_starts(bytes, STR("u UNAUTHENTICATE\r\n")));
		cell_gives_back(&f, bytes.n, c->garbled[0] ? str_of(c->garbled) : str_from(bytes, 18));
		turn(&f);
		EXPECT_INT(f.how, c->how);
		if (c->how == RELAY_UNAUTH) {
			struct scan s = scan_of(str_make(f.said, f.said_n));
			get_u64(&s);
			EXPECT_STR(get_str(&s, 100), c->behind);
			EXPECT(get_end(&s) && f.relay.stream->deflate == NULL);
		}
		end(&f);
	}
}

TEST(unexpected_frame_ends_it)
{
	struct fixture f;
	begin(&f, false);
	cell_says(&f, FRAME_OPEN, "?");
	turn(&f);
	EXPECT_INT(f.how, RELAY_CELL_GONE);
	end(&f);
}
