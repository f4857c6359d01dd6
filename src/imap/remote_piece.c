/* A message of another account, or a part of one, for CATENATE (RFC 4469): its URL names a mailbox that somebody else shares.
 *
 * It is read by a session of its own in the owner's cell, which opens that mailbox and nothing else; what it says beside the bytes that were asked for
 * is not the client's business, and is read over. What the owner does not let us read is no message, as everywhere. */
#include "imap/remote.h"
#include "base/clock.h"

enum { LINE_BYTES_MAX = 65536, PIECE_MS = 120000 };

/* The next line; what is announced at its end is still to be read. */
static enum err next_line(struct imap_remote *r, struct str *line, struct imap_literal *l)
{
	struct str text;

	TRY(link_line(r->link, LINE_BYTES_MAX, &text));
	*line = str_copy(&r->s->cmd.arena, text);
	if (!imap_literal_announced(*line, l))
		l->n = UINT64_MAX;
	return ERR_OK;
}

static enum err read_literal(struct imap_remote *r, uint64_t n, enum err (*write)(void *context, struct str bytes), void *context)
{
	struct str piece;

	for (; n > 0; n -= piece.n) {
		TRY(link_read(r->link, n < IMAP_OUT_PIECE ? (size_t)n : IMAP_OUT_PIECE, &piece));
		if (write != NULL)
			TRY(write(context, piece));
	}
	return ERR_OK;
}

static bool is_tagged(const struct imap_remote *r, struct str line)
{
	struct str tag = r->s->cmd.tag;

	return str_starts(line, tag) && line.n > tag.n && line.p[tag.n] == ' ';
}

static enum err outcome(struct imap_remote *r, struct str line)
{
	struct imap_reply reply = imap_remote_reply(&r->s->cmd, line);

	if (reply.status == IMAP_OK)
		return ERR_OK;
	return str_starts(reply.text, STR("[INUSE]")) || str_starts(reply.text, STR("[UNAVAILABLE]")) ? ERR_UNAVAILABLE : ERR_NOTFOUND;
}

/* "* OK [UIDVALIDITY 12] …" */
static uint32_t validity_of(struct str line)
{
	struct scan s = scan_of(line);

	return scan_take_istr(&s, STR("* OK [UIDVALIDITY ")) ? scan_u32(&s) : 0;
}

enum err imap_remote_examine(struct imap_remote *r, struct str name, uint32_t *uidvalidity)
{
	CLEANUP(buf_free) struct buf ask = BUF(4096);
	struct link *link = imap_remote_link(r);
	struct imap_literal l;
	struct str line;

	*uidvalidity = 0;
	if (link == NULL)
		return ERR_UNAVAILABLE;
	buf_printf(&ask, STR_FMT " EXAMINE ", STR_ARG(r->s->cmd.tag));
	imap_put_mailbox(&ask, name, imap_names_utf8(r->s->tongue));
	buf_add_cstr(&ask, "\r\n");
	if (ask.failed)
		return ERR_NOTFOUND;
	link_hurry(link, clock_mono_ms() + PIECE_MS);
	TRY(link_send(link, buf_str(&ask)));
	for (;;) {
		TRY(next_line(r, &line, &l));
		if (is_tagged(r, line))
			return outcome(r, line);
		if (l.n != UINT64_MAX)
			TRY(read_literal(r, l.n, NULL, NULL));
		uint32_t validity = validity_of(line);
		*uidvalidity = validity != 0 ? validity : *uidvalidity;
	}
}

/* "* 1 FETCH (UID 5 BODY[2] {120}", or ' "")' where there is nothing in it */
static bool is_piece(struct str line) { return str_starts(line, STR("* ")) && str_ifind(line, STR("FETCH (")) > 0 && str_ifind(line, STR("BODY[")) > 0; }

enum err imap_remote_piece(struct imap_remote *r, uint32_t uid, struct str section, enum err (*write)(void *context, struct str bytes), void *context)
{
	struct str ask = arena_printf(&r->s->cmd.arena, STR_FMT " UID FETCH %u (BODY.PEEK" STR_FMT ")\r\n", STR_ARG(r->s->cmd.tag), uid, STR_ARG(section));
	struct link *link = imap_remote_link(r);  /* the client may have taken its time since the last piece */
	bool is_there = false;
	struct imap_literal l;
	struct str line;

	if (link == NULL)
		return ERR_UNAVAILABLE;
	link_hurry(link, clock_mono_ms() + PIECE_MS);
	TRY(link_send(link, ask));
	for (;;) {
		TRY(next_line(r, &line, &l));
		if (is_tagged(r, line))
			break;
		bool is_first = !is_there && is_piece(line);
		is_there |= is_first && (l.n != UINT64_MAX || str_ends(line, STR(" \"\")")));
		if (l.n != UINT64_MAX)
			TRY(read_literal(r, l.n, is_first ? write : NULL, context));
	}
	TRY(outcome(r, line));
	return is_there ? ERR_OK : ERR_NOTFOUND;
}
