/* What is signed, and how the field looks.
 *
 * Which fields: a table, with what it protects. A field is named once more than it occurs ("over-signing", RFC 6376 §8.15) where a second
 * one, put on top by somebody who replays the mail, would be what people see: the signature breaks then. Some are even named when they
 * are absent, for the same reason; not those that mailing lists add to what they pass on unchanged.
 * Fields of one name are taken from the bottom up, as a verifier does (§5.4.2). One that does not fit is left out with all of its name
 * above it; over-signing such a name would break the signature by itself.
 *
 * The field's own text is hashed, too, with an empty b=. It is folded first and then made canonical by the function that does it for all
 * others, so that what is signed is what a verifier will compute from what we send. */
#include "mailauth/dkim_sign.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "directory/address.h"
#include "mailauth/dkim_canon.h"
#include "mime/address.h"
#include "mime/header.h"
#include "mime/parse.h"

enum { FOLD_AT = 74, PIECE = 4096, NAMES_TEXT_MAX = 4000, FIELD_MAX = 6000 };
enum protection { SIGN, SIGN_ONCE_MORE, SIGN_EVEN_IF_ABSENT };  /* as often as it is there; once more, if it is there; always */

static const struct { const char *name; enum protection how; } fields[] = {
	{ "from",                      SIGN_EVEN_IF_ABSENT },
	{ "subject",                   SIGN_EVEN_IF_ABSENT },
	{ "date",                      SIGN_EVEN_IF_ABSENT },
	{ "to",                        SIGN_EVEN_IF_ABSENT },
	{ "cc",                        SIGN_EVEN_IF_ABSENT },
	{ "reply-to",                  SIGN_ONCE_MORE },  /* lists add their own */
	{ "sender",                    SIGN_ONCE_MORE },
	{ "message-id",                SIGN_ONCE_MORE },
	{ "in-reply-to",               SIGN_ONCE_MORE },
	{ "references",                SIGN_ONCE_MORE },
	{ "mime-version",              SIGN_ONCE_MORE },
	{ "content-type",              SIGN_ONCE_MORE },
	{ "content-transfer-encoding", SIGN_ONCE_MORE },
	{ "auto-submitted",            SIGN },
	{ "list-id",                   SIGN },
	{ "list-unsubscribe",          SIGN },
	{ "list-unsubscribe-post",     SIGN },            /* RFC 8058 §4: both must be signed */
	{ "list-post",                 SIGN },
	{ "list-help",                 SIGN },
	{ "list-archive",              SIGN },
	{ "resent-from",               SIGN },
	{ "resent-to",                 SIGN },
	{ "resent-date",               SIGN },
	{ "resent-message-id",         SIGN },
	{ "autocrypt",                 SIGN },
};

struct dkim_sign {
	struct str       sender;
	struct buf       header;
	bool             in_body;
	struct dkim_body body;
	struct arena     arena;
};

/* ---- the queue's half ---- */

struct dkim_sign *dkim_sign_begin(struct str sender)
{
	struct dkim_sign *s = MEM_NEW(struct dkim_sign);

	s->sender = str_copy(&s->arena, sender);
	s->header = BUF(MIME_HEADER_MAX);
	dkim_body_begin(&s->body);
	return s;
}

void dkim_sign_free(struct dkim_sign **s)
{
	if (*s == NULL)
		return;
	if ((*s)->body.digest != NULL)
		dkim_body_end(&(*s)->body, NULL);
	buf_free(&(*s)->header);
	arena_free(&(*s)->arena);
	mem_free(*s);
	*s = NULL;
}

/* Bytes of the header with its empty line, or 0: it goes on. from: what was looked at before. */
static size_t header_ends(struct str text, size_t from)
{
	ptrdiff_t at;

	if (str_starts(text, STR("\r\n")))
		return 2;
	from = from > 3 ? from - 3 : 0;
	at = str_find(str_from(text, from), STR("\r\n\r\n"));
	return at < 0 ? 0 : from + (size_t)at + 4;
}

static void add_to_header(struct dkim_sign *s, struct str piece)
{
	size_t before = s->header.n, end;

	buf_add(&s->header, piece);
	end = s->header.failed ? 0 : header_ends(buf_str(&s->header), before);
	if (end == 0)
		return;
	buf_truncate(&s->header, end);
	s->in_body = true;
	dkim_body_add(&s->body, str_from(piece, end - before));
}

void dkim_sign_add(struct dkim_sign *s, struct str piece)
{
	while (piece.n > 0 && !s->in_body) {
		add_to_header(s, str_sub(piece, 0, PIECE));
		piece = str_from(piece, PIECE);
	}
	dkim_body_add(&s->body, piece);
}

/* The A-labels of what stands behind the "@"; empty: no domain. */
static struct str domain_of(struct arena *a, struct str address)
{
	ptrdiff_t at = str_rchr(address, '@');
	struct str out;

	return at >= 0 && directory_domain_parse(str_from(address, (size_t)at + 1), a, &out) ? out : STR("");
}

/* Of the first mailbox in From. */
static struct str author_domain(struct arena *a, struct str from)
{
	struct mail_address *list;
	size_t n = address_list_parse(a, from, &list);
	struct str out;

	for (size_t i = 0; i < n; i++)
		if (list[i].kind == ADDRESS_MAILBOX)
			return directory_domain_parse(list[i].domain, a, &out) ? out : STR("");
	return STR("");
}

bool dkim_sign_domains(struct str sender, struct str message, struct arena *a, struct dkim_domains *out)
{
	struct scan s = scan_of(message);
	struct header_field f;
	size_t from_count = 0;

	out->sender = domain_of(a, sender);
	while (header_next(&s, &f)) {
		if (!str_ieq(f.name, STR("from")))
			continue;
		from_count++;
		out->author = author_domain(a, f.value);
	}
	return from_count == 1 && out->author.n > 0;
}

struct found { size_t row; struct str name, value; };

/* The fields that are in the table, at most DKIM_FIELDS_MAX, the last ones: a verifier begins there. */
static size_t find_fields(struct str header, struct found out[DKIM_FIELDS_MAX])
{
	struct scan s = scan_of(header);
	struct header_field f;
	size_t n = 0;

	while (header_next(&s, &f)) {
		for (size_t row = 0; row < COUNT_OF(fields); row++) {
			if (!str_ieq(f.name, str_of(fields[row].name)))
				continue;
			if (n == DKIM_FIELDS_MAX)
				memmove(out, out + 1, --n * sizeof *out);
			out[n++] = (struct found){ row, f.name, f.value };
		}
	}
	return n;
}

struct signing { struct buf names, header; };

/* False: it does not fit, and is not there. */
static bool sign_field(struct signing *g, const struct found *f)
{
	size_t before = g->header.n;

	dkim_relax_field(&g->header, f->name, f->value);
	buf_add_cstr(&g->header, "\r\n");
	if (!g->header.failed)
		return true;
	g->header.failed = false;
	buf_truncate(&g->header, before);
	return false;
}

static void name_field(struct signing *g, size_t row)
{
	if (g->names.n > 0)
		buf_add_char(&g->names, ':');
	buf_add_cstr(&g->names, fields[row].name);
}

static void sign_row(struct signing *g, size_t row, const struct found *all, size_t n)
{
	size_t signed_count = 0;
	bool is_whole = true;

	for (size_t i = n; i > 0 && is_whole; i--) {
		if (all[i - 1].row != row)
			continue;
		is_whole = sign_field(g, &all[i - 1]);
		if (is_whole) {
			name_field(g, row);
			signed_count++;
		}
	}
	if (is_whole && (fields[row].how == SIGN_EVEN_IF_ABSENT || (fields[row].how == SIGN_ONCE_MORE && signed_count > 0)))
		name_field(g, row);
}

static enum err choose(struct dkim_sign *s, struct signing *g, struct str *author)
{
	struct found all[DKIM_FIELDS_MAX];
	size_t n = find_fields(buf_str(&s->header), all), from_count = 0;

	for (size_t i = 0; i < n; i++) {
		if (all[i].row != 0)
			continue;
		from_count++;
		*author = author_domain(&s->arena, all[i].value);
	}
	if (from_count != 1 || author->n == 0)
		return ERR_INVALID;
	for (size_t row = 0; row < COUNT_OF(fields); row++) {
		sign_row(g, row, all, n);
		if (g->header.n == 0)
			return ERR_LIMIT;
	}
	return g->names.failed ? ERR_LIMIT : ERR_OK;
}

static enum err make_request(struct dkim_sign *s, struct signing *g, struct buf *request)
{
	struct str author = STR("");
	uint8_t hash[SHA256_SIZE];

	if (s->header.failed)
		return ERR_LIMIT;
	if (!s->in_body)
		return ERR_INVALID;
	TRY(choose(s, g, &author));
	dkim_body_end(&s->body, hash);
	put_str(request, author);
	put_str(request, domain_of(&s->arena, s->sender));
	put_str(request, str_make(hash, sizeof hash));
	put_str(request, buf_str(&g->names));
	put_str(request, buf_str(&g->header));
	return request->failed ? ERR_LIMIT : ERR_OK;
}

enum err dkim_sign_end(struct dkim_sign *s, struct buf *request)
{
	struct signing g = { BUF(NAMES_TEXT_MAX), BUF(DKIM_SIGNED_MAX) };
	enum err e = make_request(s, &g, request);

	buf_free(&g.names);
	buf_free(&g.header);
	return e;
}

enum err dkim_sign_request(struct str sender, struct str message, struct buf *request)
{
	CLEANUP(dkim_sign_free) struct dkim_sign *s = dkim_sign_begin(sender);

	dkim_sign_add(s, message);
	return dkim_sign_end(s, request);
}

/* ---- keys' half ---- */

bool get_dkim_request(struct scan *s, struct dkim_request *r)
{
	struct str hash;

	*r = (struct dkim_request){ 0 };
	r->author = get_str(s, DKIM_DOMAIN_MAX);
	r->sender = get_str(s, DKIM_DOMAIN_MAX);
	hash = get_str(s, SHA256_SIZE);
	r->names = get_str(s, NAMES_TEXT_MAX);
	r->header = get_str(s, DKIM_SIGNED_MAX);
	if (!get_end(s) || hash.n != SHA256_SIZE)
		return false;
	memcpy(r->body_hash, hash.p, SHA256_SIZE);
	return r->author.n > 0 && !str_has_ctl(r->author) && r->names.n > 0 && !str_has_ctl(r->names);
}

/* Text to which words are added with a fold before the one that would make its line too long. */
struct folded { struct buf *out; size_t line_at; };

static void fold_word(struct folded *f, struct str word, bool space)
{
	if (f->out->n - f->line_at + space + word.n > FOLD_AT && f->out->n > f->line_at) {
		buf_add_cstr(f->out, "\r\n\t");
		f->line_at = f->out->n;
	} else if (space) {
		buf_add_char(f->out, ' ');
	}
	buf_add(f->out, word);
}

static void add_names(struct folded *f, struct str names)
{
	struct str name, rest = names;
	bool more = true, first = true;

	while (more) {
		more = str_cut(rest, ':', &name, &rest);
		if (first)
			fold_word(f, STR("h="), true);
		first = false;
		fold_word(f, str_make(name.p, name.n + more), false);  /* with its colon, which follows it in names */
	}
	buf_add_char(f->out, ';');
}

static void add_base64(struct folded *f, struct str text)
{
	for (size_t at = 0; at < text.n;) {
		size_t room = FOLD_AT - (f->out->n - f->line_at);

		if (f->out->n - f->line_at >= FOLD_AT) {
			buf_add_cstr(f->out, "\r\n\t");
			f->line_at = f->out->n;
			continue;
		}
		buf_add(f->out, str_sub(text, at, room));
		at += room;
	}
}

/* All of the field up to "b=". */
static void begin_field(struct folded *f, const struct dkim_request *r, enum dkim_algorithm algorithm, struct str domain,
                        struct str selector, int64_t now_s)
{
	CLEANUP(arena_free) struct arena a = { 0 };

	buf_add_cstr(f->out, "DKIM-Signature:");
	fold_word(f, STR("v=1;"), true);
	fold_word(f, arena_printf(&a, "a=%s;", dkim_algorithm(algorithm)->name), true);
	fold_word(f, STR("c=relaxed/relaxed;"), true);
	fold_word(f, arena_printf(&a, "d=" STR_FMT ";", STR_ARG(domain)), true);
	fold_word(f, arena_printf(&a, "s=" STR_FMT ";", STR_ARG(selector)), true);
	fold_word(f, arena_printf(&a, "t=%lld;", (long long)now_s), true);
	add_names(f, r->names);
	fold_word(f, arena_printf(&a, "bh=" STR_FMT ";", STR_ARG(base64_encode(&a, str_make(r->body_hash, SHA256_SIZE)))), true);
	fold_word(f, STR("b="), true);
}

static enum err sign_field_text(const struct dkim_request *r, enum dkim_algorithm algorithm, struct str field, dkim_signer sign,
                                void *context, struct buf *signature)
{
	CLEANUP(buf_free) struct buf data = BUF(DKIM_SIGNED_MAX + FIELD_MAX);
	size_t colon = (size_t)str_chr(field, ':');

	buf_add(&data, r->header);
	dkim_relax_field(&data, str_sub(field, 0, colon), str_from(field, colon + 1));
	return data.failed ? ERR_LIMIT : sign(context, algorithm, buf_str(&data), signature);
}

enum err dkim_field(const struct dkim_request *r, enum dkim_algorithm algorithm, struct str domain, struct str selector, int64_t now_s,
                    dkim_signer sign, void *context, struct buf *out)
{
	CLEANUP(buf_free) struct buf field = BUF(FIELD_MAX), signature = BUF(PKEY_SIGNATURE_MAX);
	CLEANUP(arena_free) struct arena a = { 0 };
	struct folded f = { .out = &field };

	begin_field(&f, r, algorithm, domain, selector, now_s);
	if (field.failed)
		return ERR_LIMIT;
	TRY(sign_field_text(r, algorithm, buf_str(&field), sign, context, &signature));
	add_base64(&f, base64_encode(&a, buf_str(&signature)));
	buf_add_cstr(&field, "\r\n");
	buf_add(out, buf_str(&field));
	return field.failed || out->failed ? ERR_LIMIT : ERR_OK;
}
