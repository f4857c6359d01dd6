/* RETR and TOP: a message on its way out, from where it is kept, or in pieces of 32 kB: dots doubled at the start of a line (RFC 1939 §3), the last line ended.
 * A dot is rare, so the scanner looks for dots (memchr, 30 GB/s on base64) and then at the byte before; what lies between goes
 * out in one piece. A message may hold a bare LF (IMAP APPEND keeps it): a dot behind it is doubled too, since many clients
 * take LF for the end of a line, and they all undouble. */
#include "mime/header.h"
#include "pop3/downgrade.h"
#include "pop3/pop3_private.h"

enum { PIECE = 32768, LINE = 1000 /* no line is longer (RFC 5322 §2.1.1) */ };

struct sender {
	struct session *s;
	char  last, before;    /* the last two bytes sent; at the start of the message as if behind CRLF */
};

/* Writes bytes with their dots doubled. */
static void send_stuffed(struct sender *out, struct str bytes)
{
	const char *from = bytes.p, *end = bytes.p + bytes.n, *dot;
	char last = out->last;

	if (bytes.n == 0)
		return;
	for (const char *at = from; (dot = memchr(at, '.', (size_t)(end - at))) != NULL; at = dot + 1) {
		if ((dot > bytes.p ? dot[-1] : last) == '\n') {
			session_write(out->s, str_make(from, (size_t)(dot - from)));
			session_write(out->s, STR("."));
			from = dot;
		}
	}
	session_write(out->s, str_make(from, (size_t)(end - from)));
	out->before = bytes.n > 1 ? end[-2] : last;
	out->last = end[-1];
}

static void send_end(struct sender *out)
{
	if (out->last != '\n' || out->before != '\r')
		session_write(out->s, STR("\r\n"));
	session_write(out->s, STR(".\r\n"));
}

/* How much of a piece belongs to "header, blank line, and n lines of the text" (TOP). */
struct top { uint64_t lines_left; bool in_body, at_line_start; };

static size_t top_takes(struct top *t, struct str bytes)
{
	const char *at = bytes.p, *end = bytes.p + bytes.n;

	while (at < end) {
		const char *lf;

		if (t->in_body && t->lines_left == 0)
			break;
		if (!t->in_body && t->at_line_start && (*at == '\n' || (*at == '\r' && at + 1 < end && at[1] == '\n')))
			t->in_body = true, t->lines_left++;  /* the blank line itself */
		lf = memchr(at, '\n', (size_t)(end - at));
		t->at_line_start = lf != NULL;
		if (lf == NULL)
			return bytes.n;
		if (t->in_body)
			t->lines_left--;
		at = lf + 1;
	}
	return (size_t)(at - bytes.p);
}

static size_t piece_size(const struct body *body, uint64_t at)
{
	return body->size - at < PIECE ? (size_t)(body->size - at) : PIECE;
}

/* What comes at `at`: the rest of a message that is in memory whole, else a piece, in room. */
static enum err next_piece(struct body *body, uint64_t at, char *room, struct str *out)
{
	if (body->size > BODY_KEPT) {
		*out = str_make(room, piece_size(body, at));
		return body_read(body, at, room, out->n);
	}
	TRY(body_look(body, out));
	*out = str_from(*out, (size_t)at);
	return ERR_OK;
}

/* How far into a message TOP may come with so many lines; those who want all of it ask for more lines than there are. */
static uint64_t reaches(const struct body *body, uint64_t lines)
{
	uint64_t header = piece_size(body, 0);

	return lines < (body->size - header) / LINE ? header + lines * LINE : body->size;
}

/* The header of a message that this client cannot take as it is, made ASCII, and where it ended; STR_NONE: send as it is.
 * first: the piece at the start of the message. A header over 256 kB is left alone. */
static struct str header_for_ascii(struct pop3 *p, struct body *body, struct str first, uint64_t *end)
{
	struct str header = str_sub(first, 0, header_size(first));

	if (p->has_utf8 || str_is_ascii(header))
		return STR_NONE;
	if (header.n == first.n && first.n < body->size) {  /* longer than a piece */
		size_t n = body->size < POP3_HEADER_MAX ? (size_t)body->size : POP3_HEADER_MAX;
		char *room = arena_alloc(&p->arena, n);

		if (body_read(body, 0, room, n) != ERR_OK)
			return STR_NONE;
		header = str_sub(str_make(room, n), 0, header_size(str_make(room, n)));
		if (header.n == n && n < body->size)
			return STR_NONE;
	}
	if (!downgrade_is_needed(header))
		return STR_NONE;
	*end = header.n;
	buf_reset(&p->header);
	downgrade_header(header, &p->header);
	return p->header.failed ? STR_NONE : buf_str(&p->header);
}

/* Sends a message; lines NULL: all of it. A failure of the disk in the middle ends the session, as its own end (the server stops) ends the
 * message: there is no other way to say that the rest is missing than to leave out the dot. */
static bool send_message(struct pop3 *p, const struct pop3_message *m, const uint64_t *lines)
{
	CLEANUP(body_close) struct body body = { 0 };
	struct sender out = { p->s, '\n', '\r' };
	struct top top = { lines ? *lines : 0, false, true };
	char room[PIECE];
	uint64_t at, end = 0;
	struct str header, piece;
	enum err e = body_open(p->view, m->email, &body);

	if (e == ERR_OK)
		e = body_check(&body, lines ? reaches(&body, *lines) : body.size);
	if (e == ERR_OK)
		e = next_piece(&body, 0, room, &piece);
	if (e != ERR_OK) {
		pop3_failure(p, e);
		return false;
	}
	header = header_for_ascii(p, &body, piece, &end);
	session_printf(p->s, "+OK %llu octets\r\n", (unsigned long long)body.size - end + header.n);
	send_stuffed(&out, header);
	top.in_body = end > 0;
	for (at = end; at < body.size && !session_is_dead(p->s);) {
		size_t takes;

		if (at > 0)
			e = next_piece(&body, at, room, &piece);
		if (e != ERR_OK) {
			p->is_over = true;
			return false;
		}
		if (piece.n > 1 && piece.p[piece.n - 1] == '\r' && at + piece.n < body.size)
			piece.n--;  /* a piece never ends between CR and LF: top_takes() sees a blank line whole */
		takes = lines ? top_takes(&top, piece) : piece.n;
		send_stuffed(&out, str_sub(piece, 0, takes));
		if (takes < piece.n)
			break;
		at += piece.n;
	}
	if (at < body.size && session_is_dead(p->s)) {  /* cut short by the end of the session: it must not look whole */
		p->is_over = true;
		return false;
	}
	send_end(&out);
	return true;
}

/* RETR n                                                                                           RFC 1939 §5 */
void pop3_retr(struct pop3 *p, struct str rest)
{
	struct pop3_message *m = maildrop_find(p, rest);

	if (m == NULL || !send_message(p, m, NULL) || m->is_seen)
		return;
	m->is_seen = true;
	uid_set_push(&p->seen, &p->seen_arena, m->uid, m->uid);
}

/* TOP n lines                                                                                      RFC 1939 §7 */
void pop3_top(struct pop3 *p, struct str rest)
{
	struct str number, count;
	const struct pop3_message *m;
	uint64_t lines;

	str_cut(rest, ' ', &number, &count);
	if (!str_to_u64(str_trim(count), &lines)) {
		pop3_error(p, "expected: TOP message lines");
		return;
	}
	m = maildrop_find(p, number);
	if (m != NULL)
		send_message(p, m, &lines);
}
