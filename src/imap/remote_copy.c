/* COPY and MOVE between accounts. The two stores share nothing, so this cell reads on one side and appends on the other: FETCH there and an append
 * here, or APPEND there of what is read here, or both there, between two others. A message is copied with its flags and its date; it is a new email
 * in the other account. How many there are is asked before their bodies are read.
 *
 * All or none, as within an account: one append, committed when everything has come. MOVE removes afterwards what was copied, and nothing else; a
 * server that is killed in between leaves the messages in both places. Whether they may be removed is asked before, and they are claimed by that
 * (claim.c); but not before they are read: the other cell tells of removals with that answer, and the client's message numbers are from before them. */
#include "imap/remote.h"
#include "base/clock.h"

enum { MESSAGES_DROPPED_MAX = 1000000, REMOVAL_TRIES = 5 };

/* ------------------------------------------------------------------------------------------------------ from there to here */

struct copying {
	struct imap_session *s;
	struct imap_cmd *c;
	struct imap_remote *r;
	struct append  *append;
	int64_t         mailbox_id;
	struct imap_remote *to;     /* a third account, instead: where an APPEND is under way */
	struct buf      head;       /* of it, before its next literal */
	struct str      refused;    /* its answer, if that comes early */
	struct uid_set  from;
	size_t          n;
	enum err        e;          /* of this side; the rest is read and dropped */
};

struct fetched {
	uint32_t uid;
	uint64_t flags;
	struct str flag_words;      /* the same as text, for a third account */
	int64_t  received;
	uint64_t size;
};

/* "* 3 FETCH (UID 5 FLAGS (\Seen) INTERNALDATE "…" BODY[] {120}" */
static bool is_message(struct str line) { return str_ifind(line, STR(" BODY[] ")) > 0 && (str_ifind(line, STR(" FETCH (")) > 0 || str_ifind(line, STR(" UIDFETCH (")) > 0); }

static uint64_t flag_of(struct copying *x, struct str word)
{
	static const struct { struct str name; uint64_t bit; } system_flags[] = { { { "\\Seen", 5 }, FLAG_SEEN }, { { "\\Answered", 9 }, FLAG_ANSWERED },
		{ { "\\Flagged", 8 }, FLAG_FLAGGED }, { { "\\Deleted", 8 }, FLAG_DELETED }, { { "\\Draft", 6 }, FLAG_DRAFT } };

	for (size_t i = 0; i < COUNT_OF(system_flags); i++)
		if (str_ieq(word, system_flags[i].name))
			return system_flags[i].bit;
	return word.n > 0 && word.p[0] != '\\' && word.n <= KEYWORD_NAME_MAX ? view_keyword(x->s->view, word, true) : 0;  /* no room for it: without */
}

static void take_flag(struct copying *x, struct str word, struct fetched *m)
{
	bool is_told = word.n > 0 && word.n <= KEYWORD_NAME_MAX && !str_ieq(word, STR("\\Recent"));

	if (x->to == NULL)
		m->flags |= flag_of(x, word);
	else if (is_told && m->flag_words.n < IMAP_LINE_MAX / 2)
		m->flag_words = arena_printf(&x->c->arena, STR_FMT "%s" STR_FMT, STR_ARG(m->flag_words), m->flag_words.n > 0 ? " " : "", STR_ARG(word));
}

static bool parse_message(struct copying *x, struct str line, struct fetched *m)
{
	struct scan s = scan_of(line);
	struct imap_literal l;
	uint32_t number;

	*m = (struct fetched){ .received = clock_wall_s() };
	scan_need_str(&s, STR("* "));
	number = scan_u32(&s);
	if (scan_take_istr(&s, STR(" UIDFETCH (")))
		m->uid = number;
	else if (!scan_take_istr(&s, STR(" FETCH (")))
		scan_fail(&s);
	while (!s.failed && !scan_take_istr(&s, STR("BODY[] "))) {
		if (scan_take_istr(&s, STR("UID "))) {
			m->uid = scan_u32(&s);
		} else if (scan_take_istr(&s, STR("INTERNALDATE "))) {
			m->received = imap_date_time(&s);
		} else if (scan_take_istr(&s, STR("MODSEQ ("))) {
			scan_u64(&s);
			scan_need(&s, ')');
		} else if (scan_take_istr(&s, STR("FLAGS ("))) {
			while (!s.failed && !scan_take(&s, ')')) {
				take_flag(x, imap_flag(&s), m);
				scan_take(&s, ' ');
			}
		} else {
			scan_fail(&s);
		}
		imap_sp(&s);
	}
	if (s.failed || m->uid == 0 || !imap_literal_announced(scan_rest(&s), &l) || l.at != 0)
		return false;
	m->size = l.n;
	return true;
}

static bool begins_literal(struct str line) { return str_starts(line, STR("+")); }

/* " (flags) "date" {size}", and leave to send it. */
static enum err begin_across(struct copying *x, const struct fetched *m)
{
	struct str line;

	buf_printf(&x->head, " (" STR_FMT ") ", STR_ARG(m->flag_words));
	imap_put_date_time(&x->head, m->received);
	buf_printf(&x->head, " {%llu}\r\n", (unsigned long long)m->size);
	if (x->head.failed)
		return ERR_LIMIT;
	TRY(link_send(x->to->link, buf_str(&x->head)));
	buf_reset(&x->head);
	TRY(imap_remote_line(x->to, begins_literal, &line));
	if (begins_literal(line))
		return ERR_OK;
	x->refused = line;
	return ERR_CONFLICT;
}

static enum err begin_message(struct copying *x, const struct fetched *m)
{
	const struct append_new in = { .mailbox_id = x->mailbox_id, .internal_date = m->received, .flags = m->flags };

	return x->to != NULL ? begin_across(x, m) : append_message(x->append, &in, m->size);
}

static enum err write_piece(struct copying *x, struct str piece)
{
	return x->to != NULL ? link_send(x->to->link, piece) : append_write(x->append, piece);
}

/* False: the other side is not to be understood. */
static bool take_message(struct copying *x, struct str line)
{
	struct fetched m;
	struct str piece;

	if (!parse_message(x, line, &m))
		return false;
	if (x->n++ >= APPEND_MESSAGES_MAX)
		x->e = ERR_LIMIT;
	if (x->n > MESSAGES_DROPPED_MAX)
		return false;
	if (x->e == ERR_OK)
		x->e = begin_message(x, &m);
	for (uint64_t left = m.size; left > 0; left -= piece.n) {
		if (session_is_dead(x->s->s) || link_read(x->r->link, left < IMAP_OUT_PIECE ? (size_t)left : IMAP_OUT_PIECE, &piece) != ERR_OK)
			return false;
		if (x->e == ERR_OK)
			x->e = write_piece(x, piece);
	}
	if (x->e == ERR_OK && x->to == NULL)
		x->e = append_end(x->append);
	if (x->e == ERR_OK)
		uid_set_add(&x->from, &x->c->arena, m.uid, m.uid);
	return link_line(x->r->link, IMAP_LINE_MAX, &piece) == ERR_OK && str_eq(piece, STR(")"));
}

/* "* ESEARCH (TAG "a") UID COUNT 5" */
static bool is_count(struct str line) { return str_istarts(line, STR("* ESEARCH (")) && str_ifind(line, STR(") ")) > 0; }

static struct imap_reply too_many(struct imap_cmd *c)
{
	return imap_no(c, "LIMIT", "between accounts at most %d messages are copied at a time, none larger than the account takes", APPEND_MESSAGES_MAX);
}

/* So few that they need not be counted. */
static bool is_small(struct str set)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct scan s = scan_of(set);
	struct uid_set parsed = { 0 };
	uint64_t n = 0;

	if (!imap_sequence_set(&s, &a, &parsed))
		return false;
	for (size_t i = 0; i < parsed.n; i++)
		n += (uint64_t)parsed.r[i].last - parsed.r[i].first + 1;
	return n <= APPEND_MESSAGES_MAX;
}

/* Are they not too many? Asked before the first body is read. */
static struct imap_reply count_there(struct copying *x, struct str set)
{
	struct link *link = imap_remote_link(x->r);
	bool by_uid = x->c->is_uid || str_eq(set, STR("$"));
	uint64_t n = 0;
	struct str line;

	if (link == NULL || link_send(link, arena_printf(&x->c->arena, STR_FMT " %sSEARCH RETURN (COUNT) %s" STR_FMT "\r\n", STR_ARG(x->c->tag), by_uid ? "UID " : "",
	                                                 x->c->is_uid && !str_eq(set, STR("$")) ? "UID " : "", STR_ARG(set))) != ERR_OK)
		return imap_remote_gone(x->r, x->c);
	for (;;) {
		if (imap_remote_line(x->r, is_count, &line) != ERR_OK || str_starts(line, STR("* BYE")))
			return imap_remote_gone(x->r, x->c);
		if (!is_count(line))
			break;
		struct scan s = scan_of(str_from(line, (size_t)str_ifind(line, STR(") ")) + 2));
		scan_take_istr(&s, STR("UID "));
		if (scan_take_istr(&s, STR("COUNT ")))
			n = scan_u64(&s);
	}
	struct imap_reply reply = imap_remote_reply(x->c, line);
	return reply.status == IMAP_OK && n > APPEND_MESSAGES_MAX ? too_many(x->c) : reply;
}

/* FETCH may work on a part, COPY may not: the client would believe that it has them all (RFC 9738 §3.1). */
static struct imap_reply all_or_none(struct imap_cmd *c, struct imap_reply fetched)
{
	struct scan s = scan_of(fetched.text);

	if (fetched.status != IMAP_OK || !str_istarts(fetched.text, STR("[MESSAGELIMIT ")) || !scan_take(&s, '['))
		return fetched;
	return imap_no(c, str_cstr(&c->arena, scan_until(&s, ']')), "these are more messages than one command may work on; name fewer");
}

static struct imap_reply fetch_once(struct copying *x, struct str set)
{
	struct link *link = imap_remote_link(x->r);
	bool by_uid = x->c->is_uid || str_eq(set, STR("$"));
	struct str line;

	if (link == NULL || link_send(link, arena_printf(&x->c->arena, STR_FMT " %sFETCH " STR_FMT " (UID FLAGS INTERNALDATE BODY.PEEK[])\r\n", STR_ARG(x->c->tag),
	                                                 by_uid ? "UID " : "", STR_ARG(set))) != ERR_OK)
		return imap_remote_gone(x->r, x->c);
	while (imap_remote_line(x->r, is_message, &line) == ERR_OK) {
		if (!is_message(line))
			return all_or_none(x->c, imap_remote_reply(x->c, line));
		if (!take_message(x, line))
			break;
	}
	return x->n == 0 && imap_remote_comes_again(x->r) ? fetch_once(x, set) : imap_remote_gone(x->r, x->c);
}

static struct imap_reply fetch_all(struct copying *x, struct str set)
{
	struct imap_reply reply;
	int64_t until_ms = 0;

	do
		reply = fetch_once(x, set);
	while (x->n == 0 && imap_remote_tries_again(x->r, &reply, &until_ms));
	return reply;
}

/* What is copied must go: it is said again for longer than any other command. */
static struct imap_reply insist(struct copying *x, struct str command)
{
	struct imap_reply reply;
	int tries = 0;

	do
		reply = imap_remote_command(x->r, x->c, command);
	while (imap_remote_is_busy(&reply) && ++tries < REMOVAL_TRIES && !session_is_dead(x->s->s));
	return reply;
}

/* Removes what was copied. */
static struct imap_reply remove_there(struct copying *x)
{
	const char *uids = uid_set_text(&x->from, &x->c->arena);
	struct imap_reply reply = insist(x, arena_printf(&x->c->arena, "UID STORE %s +FLAGS.SILENT (\\Deleted)", uids));

	return reply.status == IMAP_OK ? insist(x, arena_printf(&x->c->arena, "UID EXPUNGE %s", uids)) : reply;
}

/* Are these messages there still, may they be removed, and does nobody else move them? From here on nobody does (claim.c). */
static struct imap_reply claim(struct copying *x)
{
	return imap_remote_command(x->r, x->c, arena_printf(&x->c->arena, "CLAIM %s", uid_set_text(&x->from, &x->c->arena)));
}

static struct imap_reply ask_before(struct copying *x, struct str set)
{
	if (is_small(set))
		return (struct imap_reply){ .status = IMAP_OK };
	return count_there(x, set);
}

static struct imap_reply here_it_is(struct copying *x, bool is_move)
{
	struct uid_set to = { 0 };
	struct appended *done;
	struct imap_reply reply;
	size_t n;

	if (x->e == ERR_OK)
		x->e = append_commit(&x->append, &x->c->arena, &done, &n);
	if (x->e == ERR_LIMIT)
		return too_many(x->c);
	if (x->e != ERR_OK)
		return imap_err(x->c, x->e);
	for (size_t i = 0; i < n; i++)
		uid_set_add(&to, &x->c->arena, done[i].uid, done[i].uid);
	struct str code = arena_printf(&x->c->arena, "[COPYUID %u %s %s]", done[0].uidvalidity, uid_set_text(&x->from, &x->c->arena),
	                               uid_set_text(&to, &x->c->arena));
	if (!is_move)
		return imap_ok(x->c, STR_FMT " copied", STR_ARG(code));
	buf_printf(&x->s->out, "* OK " STR_FMT " these\r\n", STR_ARG(code));
	reply = remove_there(x);
	return reply.status == IMAP_OK ? imap_ok(x->c, "moved") : reply;
}

struct imap_reply imap_remote_copy_from(struct imap_session *s, struct imap_cmd *c, struct str set, struct str name, bool is_move)
{
	struct copying x = { .s = s, .c = c, .r = s->remote };
	CLEANUP(append_abandon) struct append *append = NULL;
	struct imap_reply reply;
	struct mailbox to;
	enum err e = view_mailbox_find(s->view, name, &c->arena, &to);

	if (e == ERR_NOTFOUND)
		return imap_no(c, "TRYCREATE", "there is no such mailbox; CREATE it first");
	if (e == ERR_OK) {
		reply = ask_before(&x, set);
		if (reply.status != IMAP_OK)
			return reply;
	}
	if (e == ERR_OK)
		e = append_begin(s->view, &append);
	if (e != ERR_OK)
		return imap_err(c, e);
	x.append = append;
	x.mailbox_id = to.mailbox_id;
	reply = fetch_all(&x, set);
	if (reply.status == IMAP_OK && x.n == 0)
		return imap_ok(c, "none of these messages is there");
	if (reply.status == IMAP_OK && is_move && x.e == ERR_OK)
		reply = claim(&x);
	if (reply.status == IMAP_OK || (reply.status == IMAP_NO && !reply.is_last && x.n > 0 && x.e != ERR_OK))
		reply = here_it_is(&x, is_move);
	append = x.append;  /* NULL once it is committed */
	return reply;
}

/* ------------------------------------------------------------------------------------------------------ from here to there */

static enum err send_body(struct imap_session *s, struct link *link, uint32_t email)
{
	char room[32768];
	struct body body;
	enum err e;

	TRY(body_open(s->view, email, &body));
	e = body_check(&body, body.size);
	for (uint64_t at = 0; at < body.size && e == ERR_OK; ) {
		size_t n = body.size - at < sizeof room ? (size_t)(body.size - at) : sizeof room;
		e = body_read(&body, at, room, n);
		if (e == ERR_OK)
			e = link_send(link, str_make(room, n));
		at += n;
	}
	body_close(&body);
	return e;
}

/* One message of the APPEND; what is before its literal is in head. ERR_CONFLICT: *line is the answer, to all of it. */
static enum err send_message(struct imap_session *s, struct imap_remote *r, struct buf *head, const struct message_row *row, const struct summary *sum,
                             struct str *line)
{
	struct imap_flag_words w;

	imap_flag_words(&w, s->view);
	buf_add_char(head, ' ');
	imap_put_flags(head, &w, s->view, row->flags);
	buf_add_char(head, ' ');
	imap_put_date_time(head, sum->received);
	buf_printf(head, " {%llu}\r\n", (unsigned long long)sum->size);
	TRY(link_send(r->link, buf_str(head)));
	buf_reset(head);
	TRY(imap_remote_line(r, begins_literal, line));
	return begins_literal(*line) ? send_body(s, r->link, row->email) : ERR_CONFLICT;
}

/* "OK [APPENDUID 12 5:7] stored": what comes before "]" and after the word */
static struct str append_uid(struct str text)
{
	struct scan s = scan_of(text);
	struct str code;

	if (!scan_take_istr(&s, STR("[APPENDUID ")))
		return STR_NONE;
	code = scan_until(&s, ']');
	for (size_t i = 0; i < code.n; i++)
		if (!chr_digit(code.p[i]) && strchr(" :,", code.p[i]) == NULL)
			return STR_NONE;
	return code;
}

static struct imap_reply moved_away(struct imap_session *s, struct imap_cmd *c, const struct uid_set *from, struct str code, bool is_move)
{
	struct str validity, uids;
	struct str answer = STR_NONE;

	if (str_cut(code, ' ', &validity, &uids))
		answer = arena_printf(&c->arena, "[COPYUID " STR_FMT " %s " STR_FMT "] ", STR_ARG(validity), uid_set_text(from, &c->arena), STR_ARG(uids));
	if (!is_move)
		return imap_ok(c, STR_FMT "copied", STR_ARG(answer));
	if (answer.n > 0)
		buf_printf(&s->out, "* OK " STR_FMT "these\r\n", STR_ARG(answer));
	enum err e = view_expunge(s->view, s->mailbox_id, from, false, &c->arena, NULL);
	return e == ERR_OK ? imap_ok(c, "moved") : imap_err(c, e);
}

static struct imap_reply copy_to(struct imap_session *s, struct imap_cmd *c, const struct uid_set *uids, struct str name, struct str address, bool is_move)
{
	CLEANUP(imap_remote_close) struct imap_remote *r = NULL;
	CLEANUP(buf_free) struct buf head = BUF(IMAP_LINE_MAX);
	struct imap_reply reply;
	struct message_row rows[IMAP_BATCH];
	struct uid_set from = { 0 };
	uint32_t next = 0;
	struct str line = STR_NONE;
	size_t n, count = 0;
	enum err e = ERR_OK;

	if (imap_remote_for(s, c, address, &r, &reply) == NULL)
		return reply;
	if (imap_remote_link(r) == NULL)
		return imap_remote_gone(r, c);
	buf_printf(&head, STR_FMT " APPEND ", STR_ARG(c->tag));
	imap_put_mailbox(&head, name, imap_names_utf8(s->tongue));
	while (e == ERR_OK && (n = selected_rows_by_uid(s->selected, uids, 0, &next, rows, COUNT_OF(rows))) > 0) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct summary sums[IMAP_BATCH];
		uint32_t emails[IMAP_BATCH];
		for (size_t i = 0; i < n; i++)
			emails[i] = rows[i].email;
		e = view_summaries(s->view, emails, n, false, &a, sums);
		for (size_t i = 0; i < n && e == ERR_OK; i++) {
			if ((rows[i].flags & FLAG_GONE) || sums[i].email == 0)
				continue;
			uid_set_add(&from, &c->arena, rows[i].uid, rows[i].uid);
			e = ++count > APPEND_MESSAGES_MAX ? ERR_LIMIT : send_message(s, r, &head, &rows[i], &sums[i], &line);
		}
	}
	if (e == ERR_CONFLICT)
		return imap_remote_reply(c, line);
	if (e == ERR_LIMIT)
		return imap_no(c, "LIMIT", "between accounts at most %d messages are copied at a time", APPEND_MESSAGES_MAX);
	if (e == ERR_CORRUPT)  /* one of these here; there nothing is stored of an APPEND without its end */
		return imap_err(c, e);
	if (e != ERR_OK)
		return imap_remote_gone(r, c);
	if (count == 0)
		return imap_ok(c, "none of these messages is there");
	if (link_send(r->link, STR("\r\n")) != ERR_OK)
		return imap_remote_gone(r, c);
	reply = imap_remote_answer(r, c);
	return reply.status == IMAP_OK ? moved_away(s, c, &from, append_uid(reply.text), is_move) : reply;
}

/* Those of them that the client has been told of. */
static struct uid_set known_uids(struct imap_session *s, struct arena *a, const struct uid_set *uids)
{
	struct message_row rows[IMAP_BATCH];
	struct uid_set known = { 0 };
	uint32_t next = 0;
	size_t n;

	while ((n = selected_rows_by_uid(s->selected, uids, 0, &next, rows, COUNT_OF(rows))) > 0)
		for (size_t i = 0; i < n; i++)
			if (!(rows[i].flags & FLAG_GONE))
				uid_set_add(&known, a, rows[i].uid, rows[i].uid);
	return known;
}

struct imap_reply imap_remote_copy_to(struct imap_session *s, struct imap_cmd *c, const struct uid_set *uids, struct str name, struct str address, bool is_move)
{
	struct uid_set known;
	struct imap_reply reply;
	enum err e;

	if (!is_move)
		return copy_to(s, c, uids, name, address, false);
	known = known_uids(s, &c->arena, uids);
	e = imap_claim_all(s, &known);
	if (e != ERR_OK)
		return imap_claim_refuse(c, e);
	reply = copy_to(s, c, &known, name, address, true);
	imap_claim_end(s);
	return reply;
}

/* ------------------------------------------------------------------------------------------------- from there to a third one */

/* The APPEND is whole, or nothing of it is to be: a connection that ends in the middle leaves nothing behind. */
static struct imap_reply end_across(struct copying *x, bool is_move)
{
	struct imap_reply reply;
	struct str validity, uids, code;

	if (x->e == ERR_CONFLICT)
		return imap_remote_reply(x->c, x->refused);
	if (x->e == ERR_LIMIT)
		return too_many(x->c);
	reply = is_move && x->e == ERR_OK ? claim(x) : (struct imap_reply){ .status = IMAP_OK };
	if (reply.status != IMAP_OK)
		return reply;
	if (x->e != ERR_OK || link_send(x->to->link, STR("\r\n")) != ERR_OK)
		return imap_remote_gone(x->to, x->c);
	reply = imap_remote_answer(x->to, x->c);
	if (reply.status != IMAP_OK)
		return reply;
	code = append_uid(reply.text);
	if (str_cut(code, ' ', &validity, &uids))
		code = arena_printf(&x->c->arena, "[COPYUID " STR_FMT " %s " STR_FMT "] ", STR_ARG(validity), uid_set_text(&x->from, &x->c->arena), STR_ARG(uids));
	if (!is_move)
		return imap_ok(x->c, STR_FMT "copied", STR_ARG(code));
	if (code.n > 0)
		buf_printf(&x->s->out, "* OK " STR_FMT "these\r\n", STR_ARG(code));
	reply = remove_there(x);
	return reply.status == IMAP_OK ? imap_ok(x->c, "moved") : reply;
}

struct imap_reply imap_remote_copy_across(struct imap_session *s, struct imap_cmd *c, struct str set, struct str name, struct str address, bool is_move)
{
	CLEANUP(imap_remote_close) struct imap_remote *to = NULL;
	struct copying x = { .s = s, .c = c, .r = s->remote, .head = BUF(2 * IMAP_LINE_MAX) };
	struct imap_reply reply;

	if (imap_remote_for(s, c, address, &to, &reply) == NULL)
		return reply;
	reply = ask_before(&x, set);
	if (reply.status == IMAP_OK && imap_remote_link(to) == NULL)
		reply = imap_remote_gone(to, c);
	if (reply.status != IMAP_OK)
		return reply;
	x.to = to;
	buf_printf(&x.head, STR_FMT " APPEND ", STR_ARG(c->tag));
	imap_put_mailbox(&x.head, name, imap_names_utf8(s->tongue));
	reply = fetch_all(&x, set);
	if (reply.status == IMAP_OK && x.n == 0)
		reply = imap_ok(c, "none of these messages is there");
	else if (reply.status == IMAP_OK)
		reply = end_across(&x, is_move);
	buf_free(&x.head);
	return reply;
}
