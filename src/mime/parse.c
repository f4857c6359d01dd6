/* One pass over a message.
 *
 * The body is read line by line with memchr; only lines that begin with "--" are looked at. The boundaries of all
 * multiparts we are in stand in a stack; a line may belong to any of them, and the longest one that fits wins, the
 * innermost among equals: so "--ab" inside "--a" is not taken for the outer one, and an outer boundary ends inner
 * parts that forgot their close delimiter (RFC 2046 §5.1.2). A level that sees a foreign boundary returns it to its
 * caller, with the line still known.
 *
 * Positions are kept as (offset, number of LFs before it), so line counts cost nothing more. The parts are allocated
 * in the order of their bytes; recursion goes at most MIME_DEPTH_MAX deep. A part over a limit is an opaque leaf: its
 * inside is not looked at, but boundaries of the levels around it still end it, except when there would be too many
 * parts. */
#include "mime/mime_private.h"
#include "mime/header.h"

struct parser {
	struct arena    *a;
	struct str       message;
	size_t           at;            /* start of the next line */
	uint32_t         lines;         /* LFs before at */
	struct str       stack[MIME_DEPTH_MAX + 1];  /* boundaries */
	int              depth;         /* of the stack */
	int              nesting;       /* multiparts and messages we are in */
	uint32_t         parts;
};

/* How a body ended: at the end of the message (hit < 0), or at a boundary line of level hit. */
struct stop {
	int      hit;
	bool     is_close;
	size_t   end;        /* where the content ends, before the line break that belongs to the boundary */
	uint32_t end_lines;
};

static struct stop parse_part(struct parser *ps, struct mime_part *part, bool is_digest);

/* Which level's delimiter is this line ("--" already seen)? -1: none. */
static int boundary_of(const struct parser *ps, struct str line, bool *is_close)
{
	int hit = -1;
	size_t longest = 0;

	for (int i = ps->depth - 1; i >= 0; i--) {
		struct str b = ps->stack[i];
		if (b.n > longest && line.n - 2 >= b.n && memcmp(line.p + 2, b.p, b.n) == 0) {
			hit = i;
			longest = b.n;
		}
	}
	if (hit >= 0)
		*is_close = str_starts(str_from(line, longest + 2), STR("--"));
	return hit;
}

static bool next_line(struct parser *ps, struct str *line)
{
	if (ps->at == ps->message.n)
		return false;
	const char *from = ps->message.p + ps->at;
	size_t left = ps->message.n - ps->at;
	const char *lf = memchr(from, '\n', left);

	line->p = from;
	line->n = lf ? (size_t)(lf - from) + 1 : left;
	ps->at += line->n;
	ps->lines += lf != NULL;
	return true;
}

/* Is this line a boundary? Then *stop says which, and where the content before it ends, not before least. */
static bool line_stops(struct parser *ps, struct str line, size_t least, struct stop *stop)
{
	if (line.n < 3 || line.p[0] != '-' || line.p[1] != '-' || ps->depth == 0)
		return false;
	stop->hit = boundary_of(ps, line, &stop->is_close);
	if (stop->hit < 0)
		return false;
	size_t end = (size_t)(line.p - ps->message.p);
	stop->end_lines = ps->lines - (line.p[line.n - 1] == '\n');
	if (end > least && ps->message.p[end - 1] == '\n') {
		end--;
		stop->end_lines--;
		if (end > least && ps->message.p[end - 1] == '\r')
			end--;
	}
	stop->end = end;
	return true;
}

static bool begins_like_boundary(const struct parser *ps)
{
	return ps->message.n - ps->at >= 2 && ps->message.p[ps->at] == '-' && ps->message.p[ps->at + 1] == '-';
}

/* To the next line that may end something, or to the end. */
static void skip_lines(struct parser *ps)
{
	const char *p = ps->message.p + ps->at, *end = ps->message.p + ps->message.n, *lf;
	bool may_stop = ps->depth > 0;

	while (p < end && (lf = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		p = lf + 1;
		ps->lines++;
		if (may_stop && end - p >= 2 && p[0] == '-' && p[1] == '-') {
			ps->at = (size_t)(p - ps->message.p);
			return;
		}
	}
	ps->at = ps->message.n;
}

static struct stop skip_body(struct parser *ps, size_t least)
{
	struct stop stop = { .hit = -1 };
	struct str line;

	for (;;) {
		if (ps->depth == 0 || !begins_like_boundary(ps))  /* nothing else can end it: only count */
			skip_lines(ps);
		if (!next_line(ps, &line))
			break;
		if (line_stops(ps, line, least, &stop))
			return stop;
	}
	stop.end = ps->message.n;
	stop.end_lines = ps->lines;
	return stop;
}

/* --------------------------------------------------------------------------------------------------- header fields */

static void set_once(struct parser *ps, struct str *to, struct str raw)
{
	if (to->p == NULL)
		*to = header_unfold(ps->a, raw);
}

static void set_joined(struct parser *ps, struct str *to, struct str raw, uint32_t *repeats)
{
	if (to->p == NULL)
		*to = header_unfold(ps->a, raw);
	else if (++*repeats < MIME_REPEATS_MAX)
		*to = arena_printf(ps->a, STR_FMT ", " STR_FMT, STR_ARG(*to), STR_ARG(header_unfold(ps->a, raw)));
}

static void content_type(struct parser *ps, struct mime_part *p, struct str raw)
{
	struct scan s = scan_of(header_unfold(ps->a, raw));

	mime_skip_cfws(&s, NULL);
	struct str type = mime_token(&s), subtype = STR("");
	mime_skip_cfws(&s, NULL);
	if (scan_take(&s, '/')) {
		mime_skip_cfws(&s, NULL);
		subtype = mime_token(&s);
	}
	if (type.n == 0)
		return;  /* unreadable: as if there were none */
	if (subtype.n == 0) {
		/* "Content-Type: text" of old mailers */
		bool is_text = str_ieq(type, STR("text"));
		type = is_text ? STR("text") : STR("application");
		subtype = is_text ? STR("plain") : STR("octet-stream");
	}
	p->type = type;
	p->subtype = subtype;
	p->params = mime_params_read(ps->a, &s);
}

static void content_languages(struct parser *ps, struct mime_part *p, struct str raw)
{
	struct scan s = scan_of(header_unfold(ps->a, raw));
	size_t cap = 0;

	while (!scan_done(&s) && p->languages_n < MIME_PARAMS_MAX) {
		mime_skip_cfws(&s, NULL);
		struct str tag = mime_token(&s);
		if (tag.n) {
			p->languages = arena_grow(ps->a, p->languages, p->languages_n, &cap, sizeof(*p->languages));
			p->languages[p->languages_n++] = tag;
		} else if (!scan_done(&s)) {
			s.p++;
		}
	}
}

static void content_field(struct parser *ps, struct mime_part *p, struct str name, struct str raw)
{
	name = str_from(name, 8);  /* after "Content-" */
	if (str_ieq(name, STR("Type"))) {
		if (p->type.p == NULL)
			content_type(ps, p, raw);
	} else if (str_ieq(name, STR("Transfer-Encoding"))) {
		if (p->encoding_name.p == NULL) {
			struct scan s = scan_of(header_unfold(ps->a, raw));
			mime_skip_cfws(&s, NULL);
			struct str word = mime_token(&s);
			if (word.n)
				p->encoding_name = word;
		}
	} else if (str_ieq(name, STR("Disposition"))) {
		struct scan s = scan_of(header_unfold(ps->a, raw));
		mime_skip_cfws(&s, NULL);
		struct str word = mime_token(&s);
		if (word.n && p->disposition.p == NULL) {
			p->disposition = word;
			p->disposition_params = mime_params_read(ps->a, &s);
		}
	} else if (str_ieq(name, STR("ID"))) {
		set_once(ps, &p->content_id, raw);
	} else if (str_ieq(name, STR("Description"))) {
		set_once(ps, &p->description, raw);
	} else if (str_ieq(name, STR("MD5"))) {
		set_once(ps, &p->md5, raw);
	} else if (str_ieq(name, STR("Location"))) {
		set_once(ps, &p->location, raw);
	} else if (str_ieq(name, STR("Language")) && p->languages_n == 0) {
		content_languages(ps, p, raw);
	}
}

static void envelope_field(struct parser *ps, struct mime_envelope *e, struct str name, struct str raw,
                           uint32_t *repeats)
{
	switch (name.n) {
	case 2:
		if (str_ieq(name, STR("To")))
			set_joined(ps, &e->to, raw, repeats);
		else if (str_ieq(name, STR("Cc")))
			set_joined(ps, &e->cc, raw, repeats);
		break;
	case 3:
		if (str_ieq(name, STR("Bcc")))
			set_joined(ps, &e->bcc, raw, repeats);
		break;
	case 4:
		if (str_ieq(name, STR("From")))
			set_joined(ps, &e->from, raw, repeats);
		else if (str_ieq(name, STR("Date")))
			set_once(ps, &e->date, raw);
		break;
	case 6:
		if (str_ieq(name, STR("Sender")))
			set_joined(ps, &e->sender, raw, repeats);
		break;
	case 7:
		if (str_ieq(name, STR("Subject")))
			set_once(ps, &e->subject, raw);
		break;
	case 8:
		if (str_ieq(name, STR("Reply-To")))
			set_joined(ps, &e->reply_to, raw, repeats);
		break;
	case 10:
		if (str_ieq(name, STR("Message-ID")))
			set_once(ps, &e->message_id, raw);
		else if (str_ieq(name, STR("References")))
			set_once(ps, &e->references, raw);
		break;
	case 11:
		if (str_ieq(name, STR("In-Reply-To")))
			set_once(ps, &e->in_reply_to, raw);
		break;
	default:
		break;
	}
}

static void read_fields(struct parser *ps, struct mime_part *p)
{
	struct str header = str_sub(ps->message, p->header_at, p->header_n);
	struct scan s = scan_of(header);
	struct header_field f;
	uint32_t repeats = 0;

	p->has_8bit = !str_is_ascii(header);
	while (header_next(&s, &f)) {
		if (f.name.n > 8 && f.name.p[7] == '-' && str_istarts(f.name, STR("Content-")))
			content_field(ps, p, f.name, f.value);
		else if (p->envelope)
			envelope_field(ps, p->envelope, f.name, f.value, &repeats);
	}
}

/* Finds where the header ends: after its empty line, at a boundary, at the limit, at the end. True: a boundary ended
 * it. */
static bool find_header(struct parser *ps, struct mime_part *p, struct stop *stop)
{
	uint32_t from_lines = ps->lines;
	struct str line;

	p->header_at = ps->at;
	for (;;) {
		if (ps->at - p->header_at > MIME_HEADER_MAX || !next_line(ps, &line))
			break;
		if (line_stops(ps, line, p->header_at, stop)) {
			p->header_n = stop->end - p->header_at;
			p->header_lines = stop->end_lines - from_lines;
			p->body_at = stop->end;
			return true;
		}
		if (line.p[0] == '\n' || (line.n == 2 && line.p[0] == '\r' && line.p[1] == '\n'))
			break;
	}
	p->header_n = ps->at - p->header_at;
	p->header_lines = ps->lines - from_lines;
	p->body_at = ps->at;
	return false;
}

/* ----------------------------------------------------------------------------------------------------------- parts */

static void settle_type(struct mime_part *p, bool is_digest)
{
	if (p->type.p == NULL) {
		p->type = is_digest ? STR("message") : STR("text");
		p->subtype = is_digest ? STR("rfc822") : STR("plain");
	}
	if (p->encoding_name.p == NULL)
		p->encoding_name = STR("7bit");
	p->encoding = mime_encoding_of(p->encoding_name);
	if (str_ieq(p->type, STR("text")))
		p->kind = MIME_TEXT;
	else if (str_ieq(p->type, STR("multipart")))
		p->kind = MIME_MULTIPART;
	else if (mime_is(p, "message", "rfc822") || mime_is(p, "message", "global"))
		p->kind = MIME_MESSAGE;
	else
		p->kind = MIME_LEAF;
}

static void make_opaque(struct mime_part *p)
{
	p->kind = MIME_LEAF;
	p->type = STR("application");
	p->subtype = STR("octet-stream");
	p->params = NULL;
	p->children = NULL;
}

static void make_plain(struct mime_part *p)
{
	p->kind = MIME_TEXT;
	p->type = STR("text");
	p->subtype = STR("plain");
	p->params = NULL;
	p->children = NULL;
}

static struct mime_part *part_new(struct parser *ps, struct mime_part *parent)
{
	struct mime_part *p = ARENA_NEW(ps->a, struct mime_part);

	p->parent = parent;
	ps->parts++;
	return p;
}

static struct str boundary_param(struct mime_part *p)
{
	for (struct mime_param *q = p->params; q; q = q->next)
		if (str_ieq(q->name, STR("boundary")))
			return q->value.n <= MIME_BOUNDARY_MAX ? q->value : STR_NONE;
	return STR_NONE;
}

/* The cursor is at the body of a multipart. Preamble, parts, epilogue. */
static struct stop parse_multipart(struct parser *ps, struct mime_part *p, struct str boundary)
{
	bool is_digest = str_ieq(p->subtype, STR("digest"));
	struct mime_part **last = &p->children;
	int mine = ps->depth;

	ps->stack[ps->depth++] = boundary;
	ps->nesting++;
	struct stop stop = skip_body(ps, p->body_at);
	while (stop.hit == mine && !stop.is_close) {
		if (ps->parts >= MIME_PARTS_MAX) {
			ps->depth = 0;
			stop = skip_body(ps, p->body_at);
			break;
		}
		struct mime_part *child = part_new(ps, p);
		*last = child;
		last = &child->next;
		if (ps->parts >= MIME_PARTS_MAX)
			ps->depth = 0;  /* nothing ends the last part any more */
		stop = parse_part(ps, child, is_digest);
	}
	ps->nesting--;
	ps->depth = mine;
	if (stop.hit == mine)
		stop = skip_body(ps, p->body_at);  /* the epilogue */
	if (p->children == NULL)
		make_plain(p);
	return stop;
}

static struct stop parse_part(struct parser *ps, struct mime_part *p, bool is_digest)
{
	struct stop stop = { .hit = -1 };
	uint32_t body_from;

	if (find_header(ps, p, &stop)) {
		read_fields(ps, p);
		settle_type(p, is_digest);
		if (p->kind == MIME_MULTIPART || p->kind == MIME_MESSAGE)
			make_plain(p);
		return stop;
	}
	read_fields(ps, p);
	settle_type(p, is_digest);
	body_from = ps->lines;
	struct str boundary = p->kind == MIME_MULTIPART ? boundary_param(p) : STR_NONE;
	if (p->kind == MIME_MULTIPART && boundary.n == 0)
		make_plain(p);
	bool is_container = p->kind == MIME_MULTIPART || p->kind == MIME_MESSAGE;
	if (is_container && (ps->nesting >= MIME_DEPTH_MAX || ps->parts >= MIME_PARTS_MAX)) {
		make_opaque(p);
		is_container = false;
	}
	if (!is_container) {
		stop = skip_body(ps, p->body_at);
	} else if (p->kind == MIME_MULTIPART) {
		stop = parse_multipart(ps, p, boundary);
	} else {
		ps->nesting++;
		p->children = part_new(ps, p);
		p->children->envelope = ARENA_NEW(ps->a, struct mime_envelope);
		stop = parse_part(ps, p->children, false);
		ps->nesting--;
	}
	p->body_n = stop.end > p->body_at ? stop.end - p->body_at : 0;
	p->body_lines = stop.end_lines > body_from ? stop.end_lines - body_from : 0;
	return stop;
}

struct mime_part *mime_parse(struct arena *a, struct str message)
{
	struct parser ps;

	ps.a = a;
	ps.message = message;
	ps.at = 0;
	ps.lines = 0;
	ps.depth = ps.nesting = 0;
	ps.parts = 0;
	struct mime_part *root = part_new(&ps, NULL);
	root->envelope = ARENA_NEW(a, struct mime_envelope);
	(void)parse_part(&ps, root, false);
	return root;
}

const struct mime_part *mime_next(const struct mime_part *p)
{
	if (p->children)
		return p->children;
	while (p && !p->next)
		p = p->parent;
	return p ? p->next : NULL;
}

bool mime_is(const struct mime_part *p, const char *type, const char *subtype)
{
	return str_ieq(p->type, str_of(type)) && (subtype == NULL || str_ieq(p->subtype, str_of(subtype)));
}
