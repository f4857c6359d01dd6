/* BODY[…], BINARY[…]: bytes of a message. Where a part begins is in its summary, so a part is a pread. Bytes go from the file into
 * the output buffer in large pieces. It is compared with its checksum before its literal is announced, and the first piece is read, too:
 * what is damaged is then answered with NO, and only a failure in the middle of a large part costs the connection. */
#include "imap/fetch_private.h"
#include "mime/decode.h"
#include "mime/header.h"

enum { PIECE = 32768 };

enum err fetch_open(struct imap_session *s, struct fetch_message *m)
{
	if (m->is_open)
		return ERR_OK;
	TRY(body_open(s->view, m->email, &m->body));
	m->is_open = true;
	return ERR_OK;
}

static void put_label(struct buf *b, const struct fetch_section *section)
{
	buf_add(b, section->label);
	if (section->is_partial && section->how != FETCH_BINARY_SIZE)
		buf_printf(b, "<%llu>", (unsigned long long)section->offset);
	buf_add_char(b, ' ');
}

static void put_literal_size(struct buf *b, uint64_t n)
{
	buf_add_char(b, '{');
	imap_put_number(b, n);
	buf_add_cstr(b, "}\r\n");
}

/* The window of a partial on n bytes. */
static void clip(const struct fetch_section *section, uint64_t *from, uint64_t *n)
{
	*from = 0;
	if (!section->is_partial)
		return;
	*from = section->offset < *n ? section->offset : *n;
	*n -= *from;
	if (section->count < *n)
		*n = section->count;
}

static enum err read_into(struct buf *b, struct body *body, uint64_t at, uint64_t n)
{
	char *room = buf_reserve(b, (size_t)n);

	if (room == NULL)
		return ERR_LIMIT;
	TRY(body_read(body, at, room, (size_t)n));
	buf_grew(b, (size_t)n);
	return ERR_OK;
}

static enum err put_bytes(struct imap_session *s, struct body *body, const struct fetch_section *section, uint64_t at,
                          uint64_t n, bool *is_cut)
{
	size_t before = s->out.n;
	uint64_t from, piece;
	enum err e;

	if (at > body->size || n > body->size - at)
		return ERR_CORRUPT;
	clip(section, &from, &n);
	at += from;
	TRY(body_check(body, at + n));
	put_label(&s->out, section);
	put_literal_size(&s->out, n);
	/* all of one that is not long is read to where it is sent from */
	uint64_t most = n == body->size && n <= BODY_KEPT ? n : PIECE;
	for (bool is_first = true; n > 0; n -= piece, at += piece, is_first = false) {
		piece = n < most ? n : most;
		e = read_into(&s->out, body, at, piece);
		if (e != ERR_OK) {
			*is_cut = !is_first;
			if (is_first)
				buf_truncate(&s->out, before);
			return e;
		}
		imap_spill(s);
		if (session_is_dead(s->s)) {
			*is_cut = true;
			return ERR_CLOSED;
		}
	}
	return ERR_OK;
}

static bool is_named(const struct fetch_section *section, struct str name)
{
	for (size_t i = 0; i < section->n_fields; i++)
		if (str_ieq(section->fields[i], name))
			return true;
	return false;
}

/* HEADER.FIELDS and HEADER.FIELDS.NOT: the lines as they stand, and the empty line (RFC 9051 §6.4.5.1). A header is longer than
 * MIME_HEADER_MAX by its last line, which may be as long as the message. */
static enum err choose_fields(struct body *body, const struct fetch_section *section, const struct summary_section *where, struct buf *chosen)
{
	CLEANUP(buf_free) struct buf header = BUF(where->length);
	struct header_field field;
	struct scan scan;

	if (where->offset > body->size || where->length > body->size - where->offset)
		return ERR_CORRUPT;
	TRY(body_check(body, where->offset + where->length));
	TRY(read_into(&header, body, where->offset, where->length));
	scan = scan_of(buf_str(&header));
	while (header_next(&scan, &field))
		if (is_named(section, field.name) == (section->how == FETCH_FIELDS))
			buf_add(chosen, field.line);
	buf_add_cstr(chosen, "\r\n");
	return ERR_OK;
}

static enum err put_fields(struct imap_session *s, struct body *body, const struct fetch_section *section,
                           const struct summary_section *where)
{
	CLEANUP(buf_free) struct buf chosen = BUF(where->length + 2);
	uint64_t from, n, piece;

	TRY(choose_fields(body, section, where, &chosen));
	n = chosen.n;
	clip(section, &from, &n);
	put_label(&s->out, section);
	put_literal_size(&s->out, n);
	for (; n > 0; n -= piece, from += piece) {
		piece = n < PIECE ? n : PIECE;
		buf_add(&s->out, str_sub(buf_str(&chosen), (size_t)from, (size_t)piece));
		imap_spill(s);
	}
	return ERR_OK;
}

struct decoded {
	uint64_t n;          /* bytes that came out so far */
	bool     has_nul;
	uint64_t from, end;  /* what is wanted of it */
};

/* Decodes a part piece by piece; into == NULL: only counts. */
static enum err decode(struct imap_session *s, struct body *body, const struct summary_section *where, struct decoded *d,
                       bool is_output)
{
	CLEANUP(buf_free) struct buf in = BUF(PIECE), out = BUF(4 * PIECE);
	struct mime_decoder decoder = mime_decoder(where->encoding);
	uint64_t at = where->offset, left = where->length;

	if (at > body->size || left > body->size - at)
		return ERR_CORRUPT;
	TRY(body_check(body, at + left));
	while (left > 0 || at != UINT64_MAX) {
		uint64_t piece = left < PIECE ? left : PIECE;
		buf_reset(&in);
		buf_reset(&out);
		if (left > 0) {
			TRY(read_into(&in, body, at, piece));
			mime_decode(&decoder, buf_str(&in), &out);
			at += piece;
			left -= piece;
		} else {
			mime_decode_end(&decoder, &out);
			at = UINT64_MAX;
		}
		d->has_nul |= out.n > 0 && memchr(out.p, '\0', out.n) != NULL;
		if (is_output) {
			uint64_t first = d->n < d->from ? d->from - d->n : 0;
			uint64_t last = d->end > d->n ? d->end - d->n : 0;
			if (last > out.n)
				last = out.n;
			if (first < last)
				buf_add(&s->out, str_sub(buf_str(&out), (size_t)first, (size_t)(last - first)));
			imap_spill(s);
		}
		d->n += out.n;
	}
	return ERR_OK;
}

/* BINARY[…], BINARY.SIZE[…]: decoded twice, once to count, because the length comes first (RFC 3516 §4.3) */
static enum err put_binary(struct imap_session *s, struct body *body, const struct fetch_section *section,
                           const struct summary_section *where, bool *is_cut)
{
	struct decoded count = { 0 }, out = { 0 };
	uint64_t from, n;
	enum err e;

	TRY(decode(s, body, where, &count, false));
	put_label(&s->out, section);
	if (section->how == FETCH_BINARY_SIZE) {
		imap_put_number(&s->out, count.n);
		return ERR_OK;
	}
	n = count.n;
	clip(section, &from, &n);
	if (count.has_nul)
		buf_add_char(&s->out, '~');
	put_literal_size(&s->out, n);
	out.from = from;
	out.end = from + n;
	e = decode(s, body, where, &out, true);
	*is_cut = e != ERR_OK;
	return e;
}

enum err fetch_put_section(struct imap_session *s, struct fetch_message *m, const struct fetch_section *section, bool *is_cut,
                           bool *is_unknown_cte)
{
	bool is_binary = section->how == FETCH_BINARY || section->how == FETCH_BINARY_SIZE;
	struct summary_section where;

	TRY(fetch_open(s, m));
	if (section->where.n == 0) {
		if (section->how != FETCH_BINARY_SIZE)
			return put_bytes(s, &m->body, section, 0, m->body.size, is_cut);
		where = (struct summary_section){ .length = m->body.size, .encoding = MIME_8BIT };
	} else if (!summary_section(m->record, section->where, &where)) {
		put_label(&s->out, section);
		buf_add_cstr(&s->out, section->how == FETCH_BINARY_SIZE ? "0" : "NIL");
		return ERR_OK;
	}
	if (is_binary && where.encoding == MIME_ENCODING_UNKNOWN) {
		*is_unknown_cte = true;
		put_label(&s->out, section);
		buf_add_cstr(&s->out, section->how == FETCH_BINARY_SIZE ? "0" : "NIL");
		return ERR_OK;
	}
	if (is_binary)
		return put_binary(s, &m->body, section, &where, is_cut);
	if (section->how != FETCH_BYTES)
		return put_fields(s, &m->body, section, &where);
	return put_bytes(s, &m->body, section, where.offset, where.length, is_cut);
}

enum err fetch_read_section(struct imap_session *s, struct fetch_message *m, const struct fetch_section *section, fetch_write *write, void *context)
{
	CLEANUP(buf_free) struct buf bytes = BUF(PIECE);
	struct summary_section where;
	uint64_t from, n, piece;

	TRY(fetch_open(s, m));
	if (section->where.n == 0)
		where = (struct summary_section){ .length = m->body.size };
	else if (!summary_section(m->record, section->where, &where))
		return ERR_NOTFOUND;
	if (section->how != FETCH_BYTES) {
		bytes.max = where.length + 2;
		TRY(choose_fields(&m->body, section, &where, &bytes));
		n = bytes.n;
		clip(section, &from, &n);
		return write(context, str_sub(buf_str(&bytes), (size_t)from, (size_t)n));
	}
	if (where.offset > m->body.size || where.length > m->body.size - where.offset)
		return ERR_CORRUPT;
	n = where.length;
	clip(section, &from, &n);
	TRY(body_check(&m->body, where.offset + from + n));
	for (uint64_t at = where.offset + from; n > 0; n -= piece, at += piece) {
		piece = n < PIECE ? n : PIECE;
		buf_reset(&bytes);
		TRY(read_into(&bytes, &m->body, at, piece));
		TRY(write(context, buf_str(&bytes)));
	}
	return ERR_OK;
}
