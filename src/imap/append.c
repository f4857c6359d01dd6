/* APPEND, one message or several (RFC 3502), and REPLACE (RFC 8508): the only commands that read their own literals, because a message goes to the store as
 * it comes. All messages of one command become visible together, or none.
 *
 * An error is known before or while a literal comes. Before, and the client waits for leave: it gets NO instead. Else what it is
 * sending is read and dropped, so that the next line is a command again. A message made of pieces: catenate.c. */
#include "imap/append_private.h"
#include "imap/remote.h"
#include "base/clock.h"

bool append_next_line(struct imap_session *s, struct imap_cmd *c)
{
	struct str line;
	size_t at;

	if (session_line_wait(s->s, IMAP_LINE_MAX, IMAP_LITERAL_TIMEOUT_MS, &line) != ERR_OK)
		return false;
	at = c->text.n;
	buf_add(&c->text, line);
	if (c->text.n > IMAP_COMMAND_MAX)
		return false;
	c->args = scan_of(buf_str(&c->text));
	scan_bytes(&c->args, at);
	return true;
}

struct imap_reply append_over(struct imap_cmd *c)
{
	struct imap_reply r = imap_bad(c, "the whole message, and a line end after it");

	r.is_last = true;
	return r;
}

/* Reads and drops what the client is sending without having waited. False: the peer is gone. */
static bool drop(struct imap_session *s, struct imap_literal l)
{
	struct str piece;

	while (!l.waits) {
		for (uint64_t left = l.n; left > 0; left -= piece.n)
			if (session_read(s->s, left < 65536 ? (size_t)left : 65536, IMAP_LITERAL_TIMEOUT_MS, &piece) != ERR_OK)
				return false;
		if (session_line_wait(s->s, IMAP_LINE_MAX, IMAP_LITERAL_TIMEOUT_MS, &piece) != ERR_OK)
			return false;
		if (!imap_literal_announced(piece, &l))
			break;
	}
	return true;
}

struct imap_reply append_refuse(struct imap_session *s, struct imap_cmd *c, struct imap_reply r)
{
	struct imap_literal l;

	if (imap_literal_announced(buf_str(&c->text), &l) && !drop(s, l))
		return append_over(c);
	return r;
}

bool append_mailbox(struct imap_session *s, struct imap_cmd *c, struct str *path)
{
	struct imap_literal l;

	if (scan_peek(&c->args) == '{' && imap_literal_announced(buf_str(&c->text), &l) && l.at == scan_offset(&c->args)) {
		size_t at = l.at;
		if (l.n > 4 * MAILBOX_PATH_MAX)
			return false;
		buf_add_cstr(&c->text, "\r\n");
		if (!imap_read_literal(s, &l, &c->text) || !append_next_line(s, c))
			return false;
		c->args = scan_of(buf_str(&c->text));
		scan_bytes(&c->args, at);
	}
	*path = str_copy(&c->arena, imap_arg_mailbox(c, s));
	imap_sp(&c->args);
	return !c->args.failed;
}

/* [flag-list SP] [date-time SP] */
static void parse_options(struct imap_cmd *c, struct imap_flags *flags, struct append_new *in)
{
	*flags = (struct imap_flags){ 0 };
	if (scan_peek(&c->args) == '(') {
		imap_arg_flags(c, false, flags);
		imap_sp(&c->args);
	}
	if (scan_peek(&c->args) == '"') {
		in->internal_date = imap_date_time(&c->args);
		imap_sp(&c->args);
	}
}

bool append_flags(struct imap_session *s, struct imap_cmd *c, struct appending *ap, struct append_new *in)
{
	if (ap->e == ERR_OK)
		in->flags = imap_flag_bits(c, s, &ap->flags, true);
	if (s->guest != NULL)
		in->flags &= imap_flags_of(imap_rights(s, ap->to.mailbox_id));
	if (c->args.failed)
		ap->reply = append_refuse(s, c, imap_bad(c, APPEND_USAGE));
	return !c->args.failed;
}

bool append_parse_literal(struct imap_cmd *c, struct imap_literal *l, bool *in_utf8)
{
	*in_utf8 = imap_word(&c->args, "UTF8");
	if (*in_utf8) {
		imap_sp(&c->args);
		scan_need(&c->args, '(');
	}
	return !c->args.failed && imap_literal_announced(scan_rest(&c->args), l) && l->at == 0;
}

struct imap_reply append_failure(struct imap_session *s, struct imap_cmd *c, enum err e, bool is_binary)
{
	switch (e) {
	case ERR_NOTFOUND:
		return imap_no(c, "TRYCREATE", "there is no such mailbox; CREATE it first");
	case ERR_CONFLICT:
		return imap_no(c, "EXPUNGEISSUED", "the message that should be replaced has been removed meanwhile; APPEND the new one");
	case ERR_LIMIT:
		return imap_no(c, "TOOBIG", "a message is at most %llu bytes long, and a command has at most %d of them",
		               (unsigned long long)view_message_size_max(s->view), APPEND_MESSAGES_MAX);
	case ERR_INVALID:
		if (is_binary)
			return imap_no(c, "UNKNOWN-CTE", "messages with NUL bytes cannot be stored; encode such parts as base64");
		return imap_no(c, "CANNOT", "the message is empty or has NUL bytes");
	default:
		return imap_err(c, e);
	}
}

bool append_take_literal(struct imap_session *s, struct appending *ap, const struct imap_literal *l)
{
	struct str piece;

	if (l->waits) {
		imap_flush(s);
		session_write(s->s, STR("+ send the message\r\n"));
		session_flush(s->s);
	}
	for (uint64_t left = l->n; left > 0; left -= piece.n) {
		if (session_read(s->s, left < 65536 ? (size_t)left : 65536, IMAP_LITERAL_TIMEOUT_MS, &piece) != ERR_OK)
			return false;
		if (ap->e == ERR_OK)
			ap->e = append_write(ap->append, piece);
	}
	return true;
}

/* literal / literal8 / "UTF8" SP "(" literal8 ")": a message in one piece (quirk EIGHT_BIT_HEADER). False: the reply is in ap->reply. */
static bool take_message(struct imap_session *s, struct imap_cmd *c, struct appending *ap, struct append_new *in)
{
	struct imap_literal l = { .waits = true };
	bool in_utf8;

	if (!append_parse_literal(c, &l, &in_utf8)) {
		ap->reply = append_refuse(s, c, imap_bad(c, APPEND_USAGE));
		return false;
	}
	if (in_utf8 && !s->tongue.is_utf8) {
		ap->reply = append_refuse(s, c, imap_bad(c, "ENABLE UTF8=ACCEPT before APPEND with UTF8"));
		return false;
	}
	if (!append_flags(s, c, ap, in))
		return false;
	ap->is_binary |= l.is_binary;
	if (ap->e == ERR_OK)
		ap->e = append_message(ap->append, in, l.n);
	if (ap->e != ERR_OK) {
		ap->reply = append_refuse(s, c, append_failure(s, c, ap->e, ap->is_binary));
		return false;
	}
	buf_truncate(&c->text, 0);
	if (!append_take_literal(s, ap, &l) || !append_next_line(s, c)) {
		ap->reply = append_over(c);
		return false;
	}
	if (in_utf8)
		scan_need(&c->args, ')');
	return true;
}

/* All messages of the command; the last line is read. False: the reply is in ap->reply. */
static bool take_all(struct imap_session *s, struct imap_cmd *c, struct appending *ap)
{
	for (;;) {
		struct append_new in = { .mailbox_id = ap->to.mailbox_id, .internal_date = clock_wall_s() };
		parse_options(c, &ap->flags, &in);
		if (imap_word(&c->args, "CATENATE") ? !append_catenate(s, c, ap, &in) : !take_message(s, c, ap, &in))
			return false;
		if (ap->e == ERR_OK)
			ap->e = append_end(ap->append);
		if (imap_arg_end(c))
			return true;
		if (ap->is_single)
			scan_fail(&c->args);
		imap_sp(&c->args);  /* the next message of a MULTIAPPEND */
	}
}

/* APPEND mailbox 1*append-message                                       RFC 9051 §6.3.12, RFC 3502, APPENDUID §7.1 */
struct imap_reply imap_append(struct imap_session *s, struct imap_cmd *c)
{
	CLEANUP(append_abandon) struct append *append = NULL;
	struct appending ap = { 0 };
	struct appended *done;
	struct uid_set uids = { 0 };
	struct str path, address;
	size_t n;

	if (!append_mailbox(s, c, &path))
		return append_refuse(s, c, imap_bad(c, APPEND_USAGE));
	if (s->guest == NULL && imap_is_other(path, &address))
		return imap_remote_append(s, c, "APPEND", path, address);
	ap.e = imap_find(s, path, RIGHT_INSERT, &c->arena, &ap.to);
	if (ap.e == ERR_OK)
		ap.e = append_begin(s->view, &append);
	ap.append = append;
	if (!take_all(s, c, &ap))
		return ap.reply;
	if (ap.e == ERR_OK)
		ap.e = append_commit(&append, &c->arena, &done, &n);
	if (ap.e != ERR_OK)
		return append_failure(s, c, ap.e, ap.is_binary);
	for (size_t i = 0; i < n; i++)
		uid_set_add(&uids, &c->arena, done[i].uid, done[i].uid);
	return imap_ok(c, "[APPENDUID %u %s] stored", done[0].uidvalidity, uid_set_text(&uids, &c->arena));
}

/* Which message is meant; 0: the reply is in *r. */
static uint32_t replaced_uid(struct imap_session *s, struct imap_cmd *c, struct imap_reply *r)
{
	uint32_t number = scan_u32(&c->args), uid;

	imap_sp(&c->args);
	if (c->args.failed || number == 0) {
		*r = imap_bad(c, "message " APPEND_USAGE);
		return 0;
	}
	if (imap_is_readonly(s)) {
		*r = imap_readonly(s, c);
		return 0;
	}
	uid = c->is_uid ? (selected_seq(s->selected, number) ? number : 0) : selected_uid(s->selected, number);
	if (uid == 0)
		*r = c->is_uid ? imap_no(c, "NONEXISTENT", "there is no such message to be replaced") : imap_bad(c, "the number of a message");
	return uid;
}

static enum err begin_replace(struct imap_session *s, uint32_t uid, struct append **append)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct uid_set set = { 0 };
	struct message_row row;
	struct summary sum;
	uint32_t next = 0;

	uid_set_add(&set, &a, uid, uid);
	if (selected_rows_by_uid(s->selected, &set, 0, &next, &row, 1) == 0)
		return ERR_CONFLICT;
	TRY(view_summaries(s->view, &row.email, 1, false, &a, &sum));
	TRY(append_begin(s->view, append));
	append_replaces(*append, s->mailbox_id, uid, sum.email ? sum.size : 0);
	return ERR_OK;
}

/* REPLACE seq-number SP mailbox append-message: the old message goes and the new one comes in one step      RFC 8508 §3 */
struct imap_reply imap_replace(struct imap_session *s, struct imap_cmd *c)
{
	CLEANUP(append_abandon) struct append *append = NULL;
	struct appending ap = { .is_single = true };
	struct imap_reply r;
	struct appended *done;
	struct str path, address;
	size_t n;
	uint32_t uid = replaced_uid(s, c, &r);

	if (uid == 0 || !append_mailbox(s, c, &path))
		return append_refuse(s, c, uid == 0 ? r : imap_bad(c, "message " APPEND_USAGE));
	if (s->guest == NULL && imap_is_other(path, &address))
		return append_refuse(s, c, imap_no(c, "CANNOT", "not from one account into another; APPEND the new message there and remove the old one here"));
	ap.e = imap_find(s, path, RIGHT_INSERT, &c->arena, &ap.to);
	if (ap.e == ERR_OK)
		ap.e = imap_may(s, s->mailbox_id, RIGHT_DELETED | RIGHT_EXPUNGE);
	if (ap.e == ERR_OK)
		ap.e = begin_replace(s, uid, &append);
	ap.append = append;
	if (!take_all(s, c, &ap))
		return ap.reply;
	if (ap.e == ERR_OK)
		ap.e = append_commit(&append, &c->arena, &done, &n);
	if (ap.e != ERR_OK)
		return append_failure(s, c, ap.e, ap.is_binary);
	buf_printf(&s->out, imap_in(s->tongue.lang, "* OK [APPENDUID %u %u] the new message is stored\r\n"), done[0].uidvalidity, done[0].uid);
	return imap_ok(c, "replaced");
}
