/* The near side of a guest's session. The far side parks by itself after two seconds, as every session does; its offer lies in the pair until
 * somebody looks. One that counts fewer bytes than were sent was made before the last command: it is void on both sides (ipc/frame.h). */
#include "net/link.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include <poll.h>
#include <unistd.h>

enum { LINK_LOOK_MS = 1000, LINK_IN_MAX = 128 * 1024 };  /* how often the client's own session is looked at; unread bytes, at most */

struct link {
	struct session *session;
	int             fd;           /* -1: a test */
	struct buf      in;
	size_t          in_at;
	uint64_t        sent, modseq;
	int64_t         until_ms;     /* link_hurry(); 0: no such limit */
	struct buf      record;       /* n > 0: it is parked */
	bool            has_begun, stays;
	enum err        over;         /* not ERR_OK: nothing more comes */
	struct buf     *test_out;
};

struct link *link_open(struct session *session, int fd, struct str name, struct str record)
{
	CLEANUP(buf_free) struct buf b = BUF(FRAME_DATA_MAX);
	const struct session_open *own = session_info(session);
	const struct session_open o = {
		.grant = { .session = own->grant.session }, .protocol = own->protocol, .is_tls = own->is_tls, .peer = own->peer,
		.peer_port = own->peer_port, .local_port = own->local_port, .login_name = name, .tls_text = own->tls_text, .record = record,
	};
	struct link *l = MEM_NEW(struct link);

	l->session = session;
	l->fd = fd;
	l->in = BUF(LINK_IN_MAX);
	l->record = BUF(PARK_RECORD_MAX);
	put_session_open(&b, &o);
	l->over = b.failed ? ERR_LIMIT : frame_send(fd, FRAME_OPEN, buf_str(&b), 0);
	return l;
}

struct link *link_for_test(struct session *session, struct str input, struct buf *output)
{
	struct link *l = MEM_NEW(struct link);

	l->session = session;
	l->fd = -1;
	l->in = BUF(64 << 20);
	l->record = BUF(PARK_RECORD_MAX);
	l->test_out = output;
	buf_add(&l->in, input);
	return l;
}

void link_free(struct link *l)
{
	if (l == NULL)
		return;
	fd_close(&l->fd);
	buf_free(&l->in);
	buf_free(&l->record);
	mem_free(l);
}

enum err link_send(struct link *l, struct str bytes)
{
	if (l->over != ERR_OK)
		return l->over;
	if (l->test_out != NULL) {
		buf_add(l->test_out, bytes);
		return ERR_OK;
	}
	while (bytes.n > 0 && l->over == ERR_OK) {
		struct str piece = str_sub(bytes, 0, FRAME_DATA_MAX);
		l->over = frame_send(l->fd, FRAME_DATA, piece, 0);
		if (l->over == ERR_AGAIN) {
			session_will_wait(l->session);
			l->over = frame_send(l->fd, FRAME_DATA, piece, LINK_SILENCE_MS);
		}
		l->sent += piece.n;
		bytes = str_from(bytes, piece.n);
	}
	return l->over;
}

/* u64 bytes_in, u64 modseq, bool wants_news, str record, str waits */
static void take_offer(struct link *l, struct str frame)
{
	struct scan s = scan_of(frame);
	bool is_fresh = get_u64(&s) == l->sent;

	uint64_t modseq = get_u64(&s);
	get_bool(&s);
	struct str record = get_str(&s, PARK_RECORD_MAX);
	get_str(&s, 1 + PARK_WAITS_MAX * PARK_WAIT_SIZE);
	if (!get_end(&s) || record.n == 0) {
		l->over = ERR_INVALID;
	} else if (is_fresh) {
		buf_reset(&l->record);
		buf_add(&l->record, record);
		l->modseq = modseq;
	}
}

static void take_refusal(struct link *l, struct str frame)
{
	struct scan s = scan_of(frame);
	enum text sentence;
	enum err why;

	l->over = get_refusal(&s, &why, &sentence) && why == ERR_DENIED ? ERR_DENIED : ERR_UNAVAILABLE;
}

static void take_frame(struct link *l, enum frame type, struct str bytes)
{
	l->has_begun = true;
	switch (type) {
	case FRAME_DATA:
		if (l->in_at > 0) {
			buf_drop_front(&l->in, l->in_at);
			l->in_at = 0;
		}
		buf_add(&l->in, bytes);
		if (l->in.failed)
			l->over = ERR_LIMIT;
		break;
	case FRAME_PARK:
		take_offer(l, bytes);
		break;
	case FRAME_STAYS:
		l->stays = true;
		break;
	case FRAME_REFUSED:
		take_refusal(l, bytes);
		break;
	case FRAME_LOGOUT:
		l->over = ERR_CLOSED;
		break;
	default:
		log_error("unexpected frame from another account's cell type=%d", (int)type);
		l->over = ERR_INVALID;
	}
}

/* Waits for one more frame and takes it. */
static enum err fill(struct link *l, int64_t until_ms)
{
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	enum err e = ERR_CLOSED;

	if (l->until_ms != 0 && l->until_ms < until_ms)
		until_ms = l->until_ms;
	while (l->over == ERR_OK && l->fd >= 0) {
		int64_t now = clock_mono_ms();
		/* also while there is more: the other cell may never stop */
		e = session_is_dead(l->session) ? ERR_CLOSED : now >= until_ms ? ERR_TIMEOUT : ERR_OK;
		if (e != ERR_OK)
			break;
		e = frame_receive(l->fd, room, &type, &bytes);
		if (e != ERR_AGAIN)
			break;
		session_will_wait(l->session);
		struct pollfd p = { l->fd, POLLIN, 0 };
		poll(&p, 1, until_ms - now < LINK_LOOK_MS ? (int)(until_ms - now) : LINK_LOOK_MS);
	}
	if (l->over == ERR_OK && e == ERR_OK)
		take_frame(l, type, bytes);
	else if (l->over == ERR_OK)
		l->over = e == ERR_CLOSED && !l->has_begun ? ERR_UNAVAILABLE : e;
	return l->over;
}

void link_hurry(struct link *l, int64_t until_ms) { l->until_ms = until_ms; }

static int64_t patience(const struct link *l) { return clock_mono_ms() + (l->has_begun ? LINK_SILENCE_MS : LINK_OPEN_MS); }

static struct str unread(const struct link *l) { return str_make(l->in.p + l->in_at, l->in.n - l->in_at); }

/* What was said before it ended is heard first. */
static enum err more(struct link *l)
{
	if (l->record.n > 0)
		return ERR_AGAIN;
	return fill(l, patience(l));
}

enum err link_line(struct link *l, size_t max, struct str *line)
{
	for (;;) {
		struct str rest = l->in.n > l->in_at ? unread(l) : STR_NONE;
		ptrdiff_t end = rest.n > 0 ? str_chr(rest, '\n') : -1;
		if (end >= 0) {
			*line = str_sub(rest, 0, (size_t)end);
			l->in_at += (size_t)end + 1;
			if (str_ends(*line, STR("\r")))
				line->n--;
			return line->n > max ? ERR_LIMIT : ERR_OK;
		}
		if (rest.n > max + 1)
			return ERR_LIMIT;
		TRY(more(l));
	}
}

enum err link_read(struct link *l, size_t max, struct str *bytes)
{
	while (l->in.n == l->in_at)
		TRY(more(l));
	*bytes = str_sub(unread(l), 0, max);
	l->in_at += bytes->n;
	return ERR_OK;
}

enum err link_part(struct link *l, size_t max, struct str *bytes, bool *ends_line)
{
	ptrdiff_t end;

	while (l->in.n == l->in_at)
		TRY(more(l));
	*bytes = str_sub(unread(l), 0, max);
	end = str_chr(*bytes, '\n');
	*ends_line = end >= 0;
	if (*ends_line)
		*bytes = str_sub(*bytes, 0, (size_t)end + 1);
	l->in_at += bytes->n;
	return ERR_OK;
}

bool link_never_began(const struct link *l) { return l->over == ERR_UNAVAILABLE; }

bool link_has_left(struct link *l, struct str *record)
{
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	enum err e = ERR_OK;

	while (l->over == ERR_OK && l->fd >= 0 && (e = frame_receive(l->fd, room, &type, &bytes)) == ERR_OK)
		take_frame(l, type, bytes);
	if (l->over == ERR_OK && e != ERR_OK && e != ERR_AGAIN && l->in.n == l->in_at)  /* else what it said last is heard first */
		l->over = e;
	*record = buf_str(&l->record);
	if (l->over != ERR_OK && l->record.n > 0 && l->in.n == l->in_at)
		return true;
	if (l->over == ERR_OK)
		buf_reset(&l->record);  /* the offer is void with the next byte */
	return false;
}

enum err link_park(struct link *l, struct str *record, uint64_t *modseq)
{
	int64_t until = patience(l);

	l->stays = false;
	if (l->record.n == 0 && l->over == ERR_OK && l->fd >= 0)
		l->over = frame_send(l->fd, FRAME_PARK, STR(""), LINK_LOOK_MS);
	while (l->record.n == 0 && !l->stays)
		TRY(fill(l, until));
	if (l->record.n == 0)
		return ERR_AGAIN;
	*record = buf_str(&l->record);
	*modseq = l->modseq;
	return ERR_OK;
}
