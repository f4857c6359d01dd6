/* The pump of a session; see the header.
 *
 * Most sessions never own a buffer: bytes are read into room on the stack and given on at once. Only what the other
 * side has no room for is kept (at most one frame), and while it is kept nothing more is read from where it came. So
 * a client that stops reading stops its cell's writes, and a cell that is busy stops its client's; the thread goes
 * on with everybody else.
 *
 * A read that was short is not tried again in the same round: the loop is level-triggered, and most rounds are one
 * small command or one small answer. Exception: bytes that wait inside TLS or inside the decompressor, of which the
 * socket knows nothing; they are taken until the cell has no more room.
 *
 * Order is what makes parking and logout right: a frame is taken only when everything before it is with the client's
 * kernel. */
#include "net/relay.h"
#include "base/log.h"
#include "base/mem.h"
#include <assert.h>

enum { ROUNDS = 16 };   /* frames a session may move before others have their turn */

static void client_ready(void *context, unsigned events);
static void cell_ready(void *context, unsigned events);

static bool has_output(const struct relay *r) { return r->to_client.n > 0 || !stream_is_flushed(r->stream); }

/* The relay may be freed by the owner: callers return at once. */
static void end(struct relay *r, enum relay_end how, struct str bytes)
{
	r->is_running = false;
	loop_unwatch(r->loop, &r->cell);
	r->owner->ended(r->context, how, bytes);
}

/* ---- client -> cell */

/* False: no room now, or nobody there. */
static bool give_cell(struct relay *r, enum frame type, struct str bytes)
{
	enum err e = frame_send(r->cell.fd, type, bytes, 0);

	/* a cell that closed may have left words in the pair: the reading side finds its end */
	r->cell_is_deaf |= e != ERR_OK && e != ERR_AGAIN;
	return e == ERR_OK;
}

static bool flush_cell(struct relay *r)
{
	while (r->to_cell.n) {
		struct str piece = str_sub(buf_str(&r->to_cell), 0, FRAME_DATA_MAX);
		if (!give_cell(r, FRAME_DATA, piece))
			return false;
		buf_drop_front(&r->to_cell, piece.n);
	}
	buf_free(&r->to_cell);
	return true;
}

static void pump_in(struct relay *r)
{
	char room[FRAME_DATA_MAX];
	size_t got = sizeof(room);

	for (int i = 0; !r->cell_is_deaf && (i < ROUNDS || stream_has_input(r->stream)); i++) {
		if (!flush_cell(r))
			return;
		if (r->is_eof) {
			r->eof_sent = r->eof_sent || give_cell(r, FRAME_EOF, STR(""));
			return;
		}
		if (r->waits_for_start || r->must_compress || (got < sizeof(room) / 2 && !stream_has_input(r->stream)))
			return;
		enum err e = stream_read(r->stream, room, sizeof(room), &got);
		if (e == ERR_AGAIN)
			return;
		r->is_eof = e != ERR_OK;
		if (r->is_eof)
			continue;
		r->heard_ms = r->moved_ms = loop_now_ms(r->loop);
		r->sent += got;
		if (!give_cell(r, FRAME_DATA, str_make(room, got)))
			buf_add_bytes(&r->to_cell, room, got);
	}
}

/* ---- cell -> client */

/* False: the client is gone. What it has no room for stays in to_client. */
static bool give_client(struct relay *r, struct str bytes)
{
	while (bytes.n) {
		size_t taken;
		enum err e = stream_write(r->stream, bytes, &taken);
		if (e == ERR_AGAIN)
			break;
		if (e != ERR_OK)
			return false;
		r->moved_ms = loop_now_ms(r->loop);
		bytes = str_from(bytes, taken);
	}
	buf_add(&r->to_client, bytes);
	return true;
}

/* The client may compress as soon as it has read the OK: it is sent, and what comes next is expected compressed, in
 * one step. */
static void compress_if_sent(struct relay *r)
{
	if (!r->must_compress || has_output(r))
		return;
	r->must_compress = false;
	stream_compress(r->stream);
}

static bool flush_client(struct relay *r)
{
	struct buf waiting = r->to_client;

	if (waiting.n == 0)
		return stream_flush(r->stream) != ERR_CLOSED;
	r->to_client = BUF(FRAME_LARGE_MAX);
	bool is_there = give_client(r, buf_str(&waiting));
	buf_free(&waiting);
	compress_if_sent(r);
	return is_there;
}

/* The cell has had every byte of the client that was given to it. */
static bool has_all(const struct relay *r, struct str offer)
{
	struct scan s = scan_of(offer);

	return get_u64(&s) == r->sent && !s.failed && r->to_cell.n == 0;
}

/* True when the session waits from now on; false: bytes of the client are on their way to the cell, which goes on. */
static bool agrees_to_park(const struct relay *r, struct str offer)
{
	return has_all(r, offer) && !r->is_eof && !stream_has_input(r->stream);
}

/* The client gives up its login; with it ends compression, both ways, and what the cell has not understood is raw input (RFC 8437 §4.1).
 * The relay ends. */
static void give_up(struct relay *r, struct str offer)
{
	CLEANUP(buf_free) struct buf raw = BUF(FRAME_MAX), plain = BUF(2 * FRAME_MAX);
	struct scan s = scan_of(offer);
	uint64_t sent = get_u64(&s);
	struct str rest = get_str(&s, FRAME_MAX);

	if (r->stream->deflate == NULL) {
		end(r, RELAY_UNAUTH, offer);
	} else if (!get_end(&s)) {
		log_error("malformed UNAUTH from cell");
		end(r, RELAY_CELL_GONE, STR(""));
	} else if (!stream_decompress(r->stream, rest.n, &raw)) {
		log_info("client has sent something behind UNAUTHENTICATE, and where its compression ended cannot be told");
		end(r, RELAY_CLIENT_GONE, STR(""));
	} else {
		put_u64(&plain, sent);
		put_str(&plain, buf_str(&raw));
		end(r, RELAY_UNAUTH, buf_str(&plain));
	}
	mem_wipe(raw.p, raw.n);  /* perhaps a password */
	mem_wipe(plain.p, plain.n);
}

/* False: the relay has ended (and may be gone). */
static bool take_frame(struct relay *r, enum frame type, struct str bytes)
{
	enum relay_end how = RELAY_CELL_GONE;

	if (type != FRAME_REFUSED && !r->has_started) {
		r->has_started = true;
		r->waits_for_start = false;
		if (r->owner->started)
			r->owner->started(r->context);
	}
	switch (type) {
	case FRAME_DATA:
		if (bytes.n)
			r->is_mid_line = bytes.p[bytes.n - 1] != '\n';
		if (give_client(r, bytes))
			return true;
		how = RELAY_CLIENT_GONE;
		break;
	case FRAME_COMPRESS:
		r->must_compress = true;
		if (give_client(r, bytes)) {
			compress_if_sent(r);
			return true;
		}
		how = RELAY_CLIENT_GONE;
		break;
	case FRAME_PARK:
		if (!agrees_to_park(r, bytes))
			return true;
		how = RELAY_PARKED;
		break;
	case FRAME_WAITS:
		if (r->owner->waits != NULL && r->owner->waits(r->context, bytes))
			return true;
		log_error("malformed WAITS from cell");
		break;
	case FRAME_LOGOUT:
		how = RELAY_LOGOUT;
		break;
	case FRAME_UNAUTH:
		if (!has_all(r, bytes))
			return true;
		give_up(r, bytes);
		return false;
	case FRAME_REFUSED:
		how = RELAY_REFUSED;
		break;
	default:
		log_error("unexpected frame from cell type=%d", (int)type);
	}
	end(r, how, bytes);
	return false;
}

static bool pump_out(struct relay *r)
{
	char room[FRAME_LARGE_MAX];
	struct str bytes = { room, sizeof(room) };
	enum frame type;

	for (int i = 0; i < ROUNDS; i++) {
		if (has_output(r) && !flush_client(r)) {
			end(r, RELAY_CLIENT_GONE, STR(""));
			return false;
		}
		if (has_output(r) || bytes.n < sizeof(room) / 2)
			return true;
		enum err e = frame_receive_large(r->cell.fd, room, &type, &bytes);
		if (e == ERR_AGAIN)
			return true;
		if (e != ERR_OK) {
			end(r, RELAY_CELL_GONE, STR(""));
			return false;
		}
		if (!take_frame(r, type, bytes))
			return false;
	}
	return true;
}

/* ---- both */

static void arm(struct relay *r)
{
	bool reads = !r->is_eof && r->to_cell.n == 0 && !r->waits_for_start && !r->must_compress && !r->cell_is_deaf;
	bool writes = has_output(r);
	bool has_news = r->to_cell.n || (r->is_eof && !r->eof_sent) || (reads && stream_has_input(r->stream));

	loop_watch(r->loop, r->client, stream_wants(r->stream, reads, writes));
	if (writes && r->cell_is_gone)
		loop_unwatch(r->loop, &r->cell);  /* it would report its end again and again */
	else
		loop_watch(r->loop, &r->cell, (writes ? 0u : LOOP_READ) | (has_news && !r->cell_is_deaf ? LOOP_WRITE : 0u));
}

static void client_ready(void *context, unsigned events)
{
	struct relay *r = context;

	if ((events & LOOP_GONE) && !(events & LOOP_READ)) {
		end(r, RELAY_CLIENT_GONE, STR(""));
		return;
	}
	bool is_crossed = r->stream->read_wants || r->stream->write_wants;  /* TLS reads to write, or the other way round */
	if (((events & LOOP_WRITE) || is_crossed) && !pump_out(r))
		return;
	if ((events & LOOP_READ) || is_crossed)
		pump_in(r);
	arm(r);
}

static void cell_ready(void *context, unsigned events)
{
	struct relay *r = context;

	if (events & LOOP_GONE)
		r->cell_is_deaf = r->cell_is_gone = true;  /* what it said last is still told, as fast as the client reads */
	if ((events & (LOOP_READ | LOOP_GONE)) && !pump_out(r))
		return;
	if (events & LOOP_WRITE || stream_has_input(r->stream))
		pump_in(r);
	arm(r);
}

void relay_start(struct relay *r, struct loop *l, struct stream *st, struct loop_fd *client, int fd, bool waits_for_start,
                 const struct relay_owner *owner, void *context)
{
	*r = (struct relay){ .loop = l, .stream = st, .client = client, .cell = { .ready = cell_ready, .context = r, .fd = fd },
	                     .owner = owner, .context = context, .to_cell = BUF(FRAME_MAX), .to_client = BUF(FRAME_LARGE_MAX),
	                     .heard_ms = loop_now_ms(l), .moved_ms = loop_now_ms(l), .is_running = true,
	                     .waits_for_start = waits_for_start };
	client->ready = client_ready;
	client->context = r;
	arm(r);
}

void relay_give(struct relay *r, struct str bytes)
{
	assert(bytes.n <= FRAME_MAX && r->to_cell.n == 0);
	r->sent += bytes.n;
	buf_add(&r->to_cell, bytes);
	flush_cell(r);
	arm(r);
}

bool relay_changed(struct relay *r, struct str accounts)
{
	if (!r->is_running || r->is_eof || r->cell_is_deaf || r->to_cell.n > 0 || !give_cell(r, FRAME_CHANGED, accounts))
		return false;
	r->sent++;
	return true;
}

void relay_stop(struct relay *r)
{
	if (r->loop == NULL)
		return;
	r->is_running = false;
	loop_unwatch(r->loop, &r->cell);
	fd_close(&r->cell.fd);
	buf_free(&r->to_cell);
	r->loop = NULL;
}
