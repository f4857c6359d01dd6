/* CATENATE (RFC 4469): a message put together of text that the client sends and of pieces of messages that are here already, so that a
 * draft with a large attachment is changed without its going over the line twice.
 *
 * The pieces go to the store one after the other as they are read, like the one literal of a plain APPEND: nothing is kept in memory, and
 * the whole is bounded by what a message may have. A URL is looked up when its turn comes. Most commands name pieces of one message,
 * so the window on its mailbox stays open from one URL to the next; and so does the session in another account's cell (remote_piece.c). */
#include "imap/append_private.h"
#include "imap/fetch_private.h"
#include "imap/remote.h"
#include "imap/url.h"

struct catenation {
	struct imap_session *s;
	struct imap_cmd     *c;
	struct appending    *ap;
	uint64_t             size;        /* of the message so far */
	struct selected     *window;      /* NULL: none is open; the session's own is never kept here */
	struct str           window_path;
	struct imap_remote  *elsewhere;   /* NULL: none is open */
	struct str           elsewhere_path;
	uint32_t             elsewhere_validity;
	bool                 is_bad_url;
	bool                 is_gone;     /* the peer */
};

static void close_window(struct catenation *k)
{
	selected_close(k->window);
	k->window = NULL;
	imap_remote_free(k->elsewhere);
	k->elsewhere = NULL;
}

/* What a relative URL means beside this mailbox: that itself, or one in the same place                       RFC 3986 §5.2.3 */
static struct str beside(struct imap_cmd *c, struct str base, const struct imap_url *url)
{
	ptrdiff_t cut = str_rchr(base, MAILBOX_SEPARATOR);

	if (url->mailbox.p == NULL)
		return base;
	return arena_printf(&c->arena, STR_FMT STR_FMT, STR_ARG(str_sub(base, 0, (size_t)(cut + 1))), STR_ARG(url->mailbox));
}

/* The mailbox that a URL means: with "/" from the root, else beside the one that is selected */
static enum err find_path(struct catenation *k, const struct imap_url *url, struct str *path)
{
	struct mailbox m;

	*path = imap_path_of(k->s, url->mailbox);
	if (!url->is_relative || k->s->selected == NULL)
		return url->mailbox.p != NULL ? ERR_OK : ERR_NOTFOUND;
	TRY(view_mailbox_get(k->s->view, k->s->mailbox_id, &k->c->arena, &m));
	*path = beside(k->c, m.path, url);
	return ERR_OK;
}

static enum err open_window(struct catenation *k, const struct imap_url *url, struct selected **window)
{
	struct mailbox m;
	struct str path;

	TRY(find_path(k, url, &path));
	if (k->window == NULL || !str_eq(path, k->window_path)) {
		close_window(k);
		TRY(imap_find(k->s, path, RIGHT_READ, &k->c->arena, &m));
		*window = k->s->selected;
		if (*window == NULL || selected_mailbox_id(*window) != m.mailbox_id) {
			TRY(selected_open(k->s->view, m.mailbox_id, NULL, &k->window));
			k->window_path = path;
		}
	}
	if (k->window != NULL)
		*window = k->window;
	return url->uidvalidity == 0 || url->uidvalidity == selected_uidvalidity(*window) ? ERR_OK : ERR_NOTFOUND;
}

static enum err write_piece(void *context, struct str bytes)
{
	struct catenation *k = context;

	k->size += bytes.n;
	k->ap->e = append_write(k->ap->append, bytes);
	return k->ap->e;
}

/* "[" section "]" with the parser of FETCH */
static bool parse_section(struct catenation *k, const struct imap_url *url, struct fetch_section *section)
{
	struct imap_cmd *c = k->c;
	struct scan rest = c->args;
	bool is_fine;

	c->args = scan_of(arena_printf(&c->arena, "[" STR_FMT "]", STR_ARG(url->section)));
	fetch_parse_section(c, "", FETCH_BYTES, section);
	is_fine = imap_arg_end(c);
	c->args = rest;
	section->is_partial = url->is_partial;
	section->offset = url->offset;
	section->count = url->count;
	return is_fine;
}

static enum err copy_section(struct catenation *k, uint32_t email, const struct fetch_section *section)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct fetch_message m = { .email = email };
	struct summary sum;
	enum err e;

	TRY(view_summaries(k->s->view, &email, 1, section->where.n > 0, &a, &sum));
	if (sum.email == 0)
		return ERR_NOTFOUND;
	m.record = sum.record;
	e = fetch_read_section(k->s, &m, section, write_piece, k);
	body_close(&m.body);
	return e;
}

static enum err open_elsewhere(struct catenation *k, struct str path, struct str address)
{
	if (k->elsewhere != NULL && str_eq(path, k->elsewhere_path))
		return ERR_OK;
	close_window(k);
	if (k->s->account->others == NULL)
		return ERR_NOTFOUND;
	TRY(imap_remote_open(k->s, address, &k->elsewhere));
	k->elsewhere_path = path;
	return imap_remote_examine(k->elsewhere, path, &k->elsewhere_validity);
}

/* Is it in a mailbox of another account, in which one? validity: what its UIDVALIDITY must be; 0: as it is. */
static bool is_elsewhere(struct catenation *k, const struct imap_url *url, struct str *path, struct str *address, uint32_t *validity)
{
	const struct imap_remote *r = k->s->remote;

	*path = url->mailbox;
	*validity = url->uidvalidity;
	if (k->s->guest != NULL)
		return false;
	if (url->is_relative && r != NULL) {
		*path = beside(k->c, buf_str(&r->name), url);
		if (url->mailbox.p == NULL)  /* somebody may have given its name to another one since */
			*validity = r->uidvalidity;
	} else if (url->is_relative) {
		return false;
	}
	return imap_is_other(*path, address);
}

static enum err copy_elsewhere(struct catenation *k, const struct imap_url *url, struct str path, struct str address, uint32_t validity)
{
	struct str section = arena_printf(&k->c->arena, "[" STR_FMT "]", STR_ARG(url->section));
	enum err e = open_elsewhere(k, path, address);

	if (e == ERR_OK && validity != 0 && validity != k->elsewhere_validity)
		e = ERR_NOTFOUND;
	if (e == ERR_OK && url->is_partial)
		section = arena_printf(&k->c->arena, STR_FMT "<%llu.%llu>", STR_ARG(section), (unsigned long long)url->offset,
		                       (unsigned long long)(url->count < UINT32_MAX ? url->count : UINT32_MAX));
	if (e == ERR_OK)
		e = imap_remote_piece(k->elsewhere, url->uid, section, write_piece, k);
	if (e != ERR_OK)
		close_window(k);
	return e == ERR_OK || e == ERR_NOTFOUND || k->ap->e != ERR_OK ? e : ERR_UNAVAILABLE;
}

static enum err copy_url(struct catenation *k, struct str text)
{
	struct str path, address;
	uint32_t validity;
	struct fetch_section section = { 0 };
	struct uid_set set = { 0 };
	struct message_row row;
	struct selected *window = NULL;
	struct imap_url url;
	uint32_t next = 0;

	if (!imap_url_parse(text, &k->c->arena, &url) || !parse_section(k, &url, &section))
		return ERR_NOTFOUND;
	if (is_elsewhere(k, &url, &path, &address, &validity))
		return str_has_ctl(url.section) ? ERR_NOTFOUND : copy_elsewhere(k, &url, path, address, validity);
	TRY(open_window(k, &url, &window));
	uid_set_add(&set, &k->c->arena, url.uid, url.uid);
	if (selected_rows_by_uid(window, &set, 0, &next, &row, 1) == 0)
		return ERR_NOTFOUND;
	return copy_section(k, row.email, &section);
}

/* "URL" SP astring: a literal among them is read here */
static bool take_url(struct catenation *k, struct str *url)
{
	struct imap_cmd *c = k->c;
	struct imap_literal l;

	imap_sp(&c->args);
	if (!imap_literal_announced(scan_rest(&c->args), &l) || l.at != 0) {
		*url = imap_astring(&c->args, &c->arena);
		return !c->args.failed;
	}
	if (l.n > IMAP_URL_MAX)
		return false;
	buf_truncate(&c->text, 0);
	k->is_gone = !imap_read_literal(k->s, &l, &c->text);
	*url = str_copy(&c->arena, buf_str(&c->text));
	buf_truncate(&c->text, 0);
	k->is_gone = k->is_gone || !append_next_line(k->s, c);
	return !k->is_gone;
}

/* As a response code may have it: ASCII without "]" and line ends                                             RFC 4469 §5 */
static struct imap_reply bad_url(struct imap_cmd *c, struct str url)
{
	CLEANUP(buf_free) struct buf code = BUF(3 * IMAP_URL_MAX + 10);

	buf_add_cstr(&code, "BADURL ");
	url = str_sub(url, 0, IMAP_URL_MAX);
	for (size_t i = 0; i < url.n; i++) {
		if ((unsigned char)url.p[i] <= ' ' || (unsigned char)url.p[i] >= 0x7f || url.p[i] == ']')
			buf_printf(&code, "%%%02X", (unsigned)(unsigned char)url.p[i]);
		else
			buf_add_char(&code, url.p[i]);
	}
	buf_add_char(&code, '\0');
	return imap_no(c, code.p, "there is no such message or part; a URL is /mailbox/;UID=n, then perhaps /;SECTION=part");
}

static bool add_url(struct catenation *k)
{
	struct appending *ap = k->ap;
	struct str url;
	enum err e;

	if (!take_url(k, &url))
		return false;
	e = copy_url(k, url);
	if (e == ERR_OK)
		return true;
	/* an error of the writing is one of the message, any other is one of the URL */
	k->is_bad_url = ap->e == ERR_OK && e == ERR_NOTFOUND;
	if (k->is_bad_url)
		ap->reply = bad_url(k->c, url);
	ap->e = e;
	return false;
}

/* "TEXT" SP literal / "UTF8" SP "(" literal8 ")"                                              RFC 4469 §5, RFC 6855 §4 */
static bool add_text(struct catenation *k)
{
	struct appending *ap = k->ap;
	struct imap_cmd *c = k->c;
	struct imap_literal l;
	bool in_utf8;

	if (imap_word(&c->args, "TEXT"))
		imap_sp(&c->args);
	if (!append_parse_literal(c, &l, &in_utf8))
		return false;
	if (in_utf8 && !k->s->tongue.is_utf8) {
		c->why = "ENABLE UTF8=ACCEPT before CATENATE with UTF8";
		return false;
	}
	ap->is_binary |= l.is_binary;
	if (l.n > view_message_size_max(k->s->view) - k->size) {
		ap->e = ERR_LIMIT;
		return false;
	}
	k->size += l.n;
	buf_truncate(&c->text, 0);
	k->is_gone = !append_take_literal(k->s, ap, &l) || !append_next_line(k->s, c);
	if (in_utf8)
		scan_need(&c->args, ')');
	return !k->is_gone && !c->args.failed && ap->e == ERR_OK;
}

static bool add_pieces(struct catenation *k)
{
	struct scan *args = &k->c->args;

	do {
		if (k->ap->n_pieces++ == CATENATE_PIECES_MAX) {
			k->c->why = "[LIMIT] a command puts at most 1000 pieces together; nothing was stored";
			return false;
		}
		if (imap_word(args, "URL") ? !add_url(k) : !add_text(k))
			return false;
	} while (scan_take(args, ' '));
	scan_need(args, ')');
	return !args->failed;
}

/* SP "(" cat-part *(SP cat-part) ")"                                                                          RFC 4469 §3 */
bool append_catenate(struct imap_session *s, struct imap_cmd *c, struct appending *ap, struct append_new *in)
{
	CLEANUP(close_window) struct catenation k = { .s = s, .c = c, .ap = ap };

	imap_sp(&c->args);
	scan_need(&c->args, '(');
	if (!c->args.failed && !append_flags(s, c, ap, in))
		return false;
	if (ap->e == ERR_OK)
		ap->e = append_message(ap->append, in, 0);
	session_will_wait(s->s);
	if (ap->e == ERR_OK && add_pieces(&k))
		return true;
	if (k.is_gone)
		ap->reply = append_over(c);
	else if (ap->e != ERR_OK)
		ap->reply = append_refuse(s, c, k.is_bad_url ? ap->reply : append_failure(s, c, ap->e, ap->is_binary));
	else
		ap->reply = append_refuse(s, c, imap_bad(c, "mailbox ... CATENATE (URL \"/mailbox/;UID=n\" TEXT {size} ...)"));
	return false;
}
