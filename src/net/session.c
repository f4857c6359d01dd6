/* The bytes of a session; see the header. Input is one buffer with a read position: what the engine has read is dropped before
 * the next frame is taken, so slices stay valid until the next read. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/session_private.h"
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

enum { LOOK_AGAIN_MS = 250 };

const struct session_open *session_info(const struct session *s) { return &s->info; }
uint64_t session_guest(const struct session *s) { return s->guest; }
void session_waits_for_own(struct session *s) { s->waits_also |= WAIT_OWN; }
void session_waits_for_gains(struct session *s, bool is_unknown) { s->waits_also |= is_unknown ? WAIT_GAINS_UNKNOWN : WAIT_GAINS; }
struct arena *session_arena(struct session *s) { return &s->arena; }
bool session_is_dead(const struct session *s) { return s->is_dead || s->must_end; }
uint64_t session_bytes_out(const struct session *s) { return s->bytes_out; }
bool session_has_input(const struct session *s) { return s->in_at < s->in.n; }

void session_waits_for(struct session *s, uint64_t account, uint64_t modseq, enum wait how)
{
	if (s->waits.n >= PARK_WAITS_MAX * PARK_WAIT_SIZE)
		return;
	put_u64(&s->waits, account);
	put_u64(&s->waits, modseq);
	put_u8(&s->waits, (uint8_t)how);
}

void session_will_wait(struct session *s)
{
	if (s->pool)  /* a test session has none */
		pool_will_wait(s->pool);
}

enum err session_fill(struct session *s, int timeout_ms)
{
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	int64_t until = clock_mono_ms() + timeout_ms;

	for (;;) {
		if (s->is_eof || s->is_dead)
			return ERR_CLOSED;
		if (s->is_drained && timeout_ms == 0)
			return ERR_AGAIN;
		enum err e = s->fd >= 0 ? frame_receive(s->fd, room, &type, &bytes) : timeout_ms == 0 ? ERR_AGAIN : ERR_CLOSED;
		if (e == ERR_AGAIN) {
			int64_t left = until - clock_mono_ms();
			if (timeout_ms == 0)
				return ERR_AGAIN;
			if (left <= 0)
				return ERR_TIMEOUT;
			session_flush(s);
			pool_will_wait(s->pool);
			struct pollfd p = { s->fd, POLLIN, 0 };
			poll(&p, 1, (int)left);
			continue;
		}
		if (e != ERR_OK) {
			s->is_eof = true;
			return ERR_CLOSED;
		}
		if (type == FRAME_EOF) {
			s->is_eof = true;
			return ERR_CLOSED;
		}
		if (type == FRAME_PARK && s->guest != 0) {
			s->must_park = true;
			continue;
		}
		if (type == FRAME_CHANGED && s->guest == 0) {
			buf_add(&s->changed, bytes);
			s->bytes_in++;
			return ERR_OK;
		}
		if (type != FRAME_DATA) {
			log_error("unexpected frame from gate type=%d", (int)type);
			s->is_dead = true;
			return ERR_CLOSED;
		}
		if (s->in_at) {
			buf_drop_front(&s->in, s->in_at);
			s->in_at = 0;
		}
		buf_add(&s->in, bytes);
		s->bytes_in += bytes.n;
		s->is_drained = bytes.n < FRAME_DATA_MAX / 2;
		return ERR_OK;
	}
}

/* ERR_AGAIN: no whole line is in the buffer. */
static enum err take_line(struct session *s, size_t max, struct str *line)
{
	struct str rest = str_make(s->in.p + s->in_at, s->in.n - s->in_at);
	ptrdiff_t end = rest.n ? str_chr(rest, '\n') : -1;

	if (end < 0)
		return rest.n > max + 1 ? ERR_LIMIT : ERR_AGAIN;
	*line = str_sub(rest, 0, (size_t)end);
	s->in_at += (size_t)end + 1;
	if (line->n && line->p[line->n - 1] == '\r')
		line->n--;
	return line->n > max ? ERR_LIMIT : ERR_OK;
}

static enum err line_by(struct session *s, size_t max, int timeout_ms, struct str *line)
{
	int64_t until = clock_mono_ms() + timeout_ms;

	for (;;) {
		enum err e = take_line(s, max, line);
		if (e != ERR_AGAIN)
			return e;
		int64_t left = timeout_ms ? until - clock_mono_ms() : 0;
		if (timeout_ms && left <= 0)
			return ERR_TIMEOUT;
		TRY(session_fill(s, (int)left));
	}
}

enum err session_line(struct session *s, size_t max, struct str *line) { return line_by(s, max, 0, line); }
enum err session_line_wait(struct session *s, size_t max, int timeout_ms, struct str *line) { return line_by(s, max, timeout_ms, line); }

enum err session_read(struct session *s, size_t max, int timeout_ms, struct str *bytes)
{
	while (!session_has_input(s))
		TRY(session_fill(s, timeout_ms));
	*bytes = str_sub(str_make(s->in.p + s->in_at, s->in.n - s->in_at), 0, max);
	s->in_at += bytes->n;
	return ERR_OK;
}

/* A client may take his time, unless so many do that nobody else of this account could log in: then those go who have read nothing for some seconds. */
static enum err wait_and_send(struct session *s, enum frame type, struct str bytes, struct str more)
{
	int64_t since_ms = clock_mono_ms();
	enum err e;

	attached_waits_for_client(s->owner);
	while ((e = frame_send_both(s->fd, type, bytes, more, LOOK_AGAIN_MS)) == ERR_TIMEOUT && clock_mono_ms() < since_ms + SESSION_WRITE_TIMEOUT_MS)
		if (attached_gives_up(s->owner, since_ms))
			return ERR_TIMEOUT;
	attached_waited_for_client(s->owner);
	return e;
}

enum err session_frame(struct session *s, enum frame type, struct str bytes, struct str more)
{
	enum err e = frame_send_both(s->fd, type, bytes, more, 0);

	if (e != ERR_AGAIN)
		return e;
	if (s->guest != 0 && !attached_guest_waits(s->owner))
		return ERR_TIMEOUT;
	session_will_wait(s);
	e = wait_and_send(s, type, bytes, more);
	if (s->guest != 0)
		attached_guest_waited(s->owner);
	return e;
}

static size_t frame_max(const struct session *s) { return s->takes_large ? FRAME_LARGE_DATA_MAX : FRAME_DATA_MAX; }

/* False: not as one frame, but as smaller ones. */
static bool send_data(struct session *s, struct str bytes, struct str more)
{
	enum err e;

	if (s->fd < 0 || s->is_dead)
		return true;
	e = session_frame(s, FRAME_DATA, bytes, more);
	if (e == ERR_LIMIT && s->takes_large) {
		s->takes_large = false;
		return false;
	}
	if (e == ERR_TIMEOUT)
		log_info("client reads too slowly, session ended");
	s->is_dead = e != ERR_OK;
	s->bytes_out += bytes.n + more.n;
	return true;
}

/* Sends of what waits and of bytes all but the last `stays`, from where they are: a body is not copied here. */
static void send_frames(struct session *s, struct str bytes, size_t stays)
{
	struct str waiting = buf_str(&s->out);

	while (waiting.n + bytes.n > stays) {
		size_t left = waiting.n + bytes.n - stays, n = left < frame_max(s) ? left : frame_max(s);
		struct str first = str_sub(waiting, 0, n), more = str_sub(bytes, 0, n - first.n);
		if (!send_data(s, first, more))
			continue;
		waiting = str_from(waiting, first.n);
		bytes = str_from(bytes, more.n);
	}
	buf_drop_front(&s->out, s->out.n - waiting.n);
	buf_add(&s->out, bytes);
}

void session_flush(struct session *s)
{
	if (s->out.n > 0)
		send_frames(s, STR_NONE, 0);
}

void session_write(struct session *s, struct str bytes)
{
	if (s->test_out) {
		buf_add(s->test_out, bytes);
		s->bytes_out += bytes.n;
		if (s->test_ends_at && s->bytes_out >= s->test_ends_at)
			s->must_end = true;
	} else if (s->out.n + bytes.n < SESSION_OUT_FULL) {
		buf_add(&s->out, bytes);
	} else {
		send_frames(s, bytes, 1);  /* the last byte may be of an OK that COMPRESS has to go with */
	}
}

void session_printf(struct session *s, const char *fmt, ...)
{
	CLEANUP(buf_free) struct buf b = BUF(1 << 20);
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	session_write(s, buf_str(&b));
}

void session_compress(struct session *s)
{
	s->info.is_compressed = true;
	send_frames(s, STR_NONE, FRAME_DATA_MAX);
	s->bytes_out += s->out.n;
	if (s->fd >= 0 && !s->is_dead && session_frame(s, FRAME_COMPRESS, buf_str(&s->out), STR_NONE) != ERR_OK)
		s->is_dead = true;
	buf_reset(&s->out);
}

void session_slim(struct session *s)
{
	if (s->in_at == s->in.n) {
		buf_free(&s->in);
		s->in_at = 0;
	}
	buf_free(&s->out);
}

struct str session_take_changed(struct session *s, struct arena *a)
{
	struct str changed = str_copy(a, buf_str(&s->changed));

	buf_reset(&s->changed);
	return changed;
}

struct session *session_for_test(const struct session_open *info, struct str input, struct buf *output)
{
	struct session *s = MEM_NEW(struct session);

	s->fd = -1;
	s->info = *info;
	s->in = BUF(64 << 20);
	s->waits = BUF(PARK_WAITS_MAX * PARK_WAIT_SIZE);
	s->changed = BUF(PARK_CHANGED_MAX);
	s->test_out = output;
	buf_add(&s->in, input);
	return s;
}

void session_test_input(struct session *s, struct str more)
{
	buf_drop_front(&s->in, s->in_at);
	s->in_at = 0;
	buf_add(&s->in, more);
}

void session_test_end_after(struct session *s, uint64_t bytes) { s->test_ends_at = s->bytes_out + bytes; }

void session_test_guest(struct session *s, uint64_t guest) { s->guest = guest; }

struct str session_test_waits(const struct session *s) { return buf_str(&s->waits); }

void session_test_free(struct session *s)
{
	buf_free(&s->in);
	buf_free(&s->waits);
	buf_free(&s->changed);
	arena_free(&s->arena);
	mem_free(s);
}
