/* Which commands go to another account's cell, and what happens here beside: SELECT, IDLE, APPEND, and the rest, which is passed on as it came. */
#include "imap/append_private.h"
#include "imap/notify_private.h"
#include "imap/remote.h"
#include <poll.h>

enum { LISTEN_AGAIN_MS = 20 };

/* ---------------------------------------------------------------------------------------------------------- the selected one */

static void leave(struct imap_session *s)
{
	imap_remote_free(s->remote);
	s->remote = NULL;
}

static struct imap_reply forward(struct imap_remote *r, struct imap_cmd *c)
{
	return imap_remote_command(r, c, arena_printf(&c->arena, STR_FMT "%s" STR_FMT, STR_ARG(c->row->word), scan_done(&c->args) ? "" : " ",
	                                              STR_ARG(scan_rest(&c->args))));
}

/* It spoke of modseqs: from now on they are told (RFC 7162 §3.1), also in a mailbox of this account that is selected next. */
static void learn_tongue(struct imap_session *s, struct str args)
{
	s->tongue.is_condstore |= str_ifind(args, STR("MODSEQ")) >= 0 || str_ifind(args, STR("CHANGEDSINCE")) >= 0 ||
	                          str_ifind(args, STR("CONDSTORE")) >= 0 || str_ifind(args, STR("(QRESYNC")) >= 0;
}

/* What was selected before is not any more, whatever comes of this. The owner's cell says so itself when that was there. */
static void unselect(struct imap_session *s)
{
	bool was_selected = s->selected != NULL || s->remote != NULL;

	if (s->selected != NULL)
		imap_unselect_mailbox(s);
	leave(s);
	if (was_selected)
		imap_put_closed(s);
}

/* What NOTIFY has said of the selected mailbox holds for this one, too. Where that cannot be had now, it is told of with commands. */
static struct imap_reply say_notify(struct imap_session *s, struct imap_cmd *c, struct imap_reply selected)
{
	struct imap_reply r = imap_remote_command(s->remote, c, notify_of_selected(s->notify, &c->arena));

	return r.status == IMAP_CUT || r.is_last ? r : selected;
}

static struct imap_reply do_select(struct imap_session *s, struct imap_cmd *c, struct str name, struct str address)
{
	CLEANUP(imap_remote_close) struct imap_remote *fresh = NULL;
	struct str args = scan_rest(&c->args);
	struct imap_reply reply;
	struct imap_remote *r;

	if (s->remote == NULL || !str_ieq(s->remote->address, address))
		unselect(s);
	r = imap_remote_for(s, c, address, &fresh, &reply);
	if (r == NULL)
		return reply;
	reply = forward(r, c);
	if (reply.status == IMAP_OK) {
		learn_tongue(s, args);
		s->remote = r;
		buf_reset(&r->name);
		buf_add(&r->name, name);
		if (fresh != NULL && s->notify != NULL)
			reply = say_notify(s, c, reply);
		fresh = NULL;
	} else if (r == s->remote && reply.status != IMAP_CUT && !reply.is_last && reply.status != IMAP_BAD) {
		leave(s);  /* RFC 9051 §6.3.2: a SELECT that fails leaves nothing selected */
	}
	return reply;
}

/* ------------------------------------------------------------------------------------------------------------- IDLE */

static bool begins_idle(struct str line) { return str_starts(line, STR("+")); }

/* False: the reply says why. */
static bool begin_idle(struct imap_session *s, struct imap_cmd *c, struct imap_reply *reply)
{
	struct link *link = imap_remote_link(s->remote);
	struct str line;

	if (link == NULL || link_send(link, arena_printf(&c->arena, STR_FMT " IDLE\r\n", STR_ARG(c->tag))) != ERR_OK || imap_remote_line(s->remote, begins_idle, &line) != ERR_OK ||
	    str_starts(line, STR("* BYE"))) {
		if (imap_remote_comes_again(s->remote))
			return begin_idle(s, c, reply);
		*reply = imap_remote_gone(s->remote, c);
		return false;
	}
	if (begins_idle(line))
		return true;
	*reply = imap_remote_reply(c, line);
	return false;
}

static struct imap_reply idle(struct imap_session *s, struct imap_cmd *c)
{
	struct imap_reply reply;
	int64_t until_ms = 0;

	do
		if (begin_idle(s, c, &reply))
			return imap_idle(s, c);
	while (imap_remote_tries_again(s->remote, &reply, &until_ms));
	return reply;
}

/* The owner's cell takes no more guests at the moment, or does not start: it has begun nothing, and what was known there is known as before. That
 * nothing is shared any more is another matter. */
static bool is_kept_out(const struct imap_remote *r, enum err e)
{
	if (r->link == NULL)
		return r->why == ERR_UNAVAILABLE || r->why == ERR_TIMEOUT || r->why == ERR_LIMIT;
	return e == ERR_UNAVAILABLE;
}

static void wait_on(struct imap_remote *r)
{
	link_free(r->link);
	r->link = NULL;
	r->is_lost = false;
	r->could_not_ask = true;
	imap_remote_rest(r);
}

/* All that is new, up to the moment when it waits there again. ERR_AGAIN: told; or it cannot wait now, because a result in many pieces is saved
 * there, and tells with the next command. */
static enum err hear_all(struct imap_remote *r)
{
	struct str line, record;

	if (r->link != NULL)
		return imap_remote_settle(r, &record);
	r->is_unasked = true;
	imap_remote_link(r);
	r->is_unasked = false;
	return r->link == NULL ? ERR_CLOSED : imap_remote_line(r, NULL, &line);
}

bool imap_remote_listen(struct imap_session *s)
{
	enum err e;

	s->remote->could_not_ask = false;
	e = hear_all(s->remote);
	if (s->remote->is_busy) {  /* the gate asks again at once, because the record knows no more than before */
		s->remote->is_busy = false;
		poll(NULL, 0, LISTEN_AGAIN_MS);
		return true;
	}
	if (e == ERR_AGAIN) {
		imap_flush(s);
		imap_remote_rest(s->remote);
		return true;
	}
	if (is_kept_out(s->remote, e)) {
		wait_on(s->remote);
		return true;
	}
	if (imap_remote_gone(s->remote, &s->cmd).status == IMAP_CUT)
		s->is_cut = true;
	return false;
}

struct imap_reply imap_remote_done(struct imap_session *s, struct imap_cmd *c)
{
	struct link *link = imap_remote_link(s->remote);

	if (link == NULL || link_send(link, STR("DONE\r\n")) != ERR_OK)
		return imap_remote_gone(s->remote, c);
	return imap_remote_answer(s->remote, c);
}

/* ------------------------------------------------------------------------------------------------------------ APPEND */

/* The client's message goes through, when the owner's cell gives leave for it. False: the reply is in *reply. */
static bool pass_literal(struct imap_session *s, struct imap_cmd *c, struct imap_remote *r, const struct imap_literal *l, struct imap_reply *reply)
{
	struct str line, piece;

	if (imap_remote_line(r, begins_idle, &line) != ERR_OK) {
		*reply = append_refuse(s, c, imap_remote_gone(r, c));
		return false;
	}
	if (!begins_idle(line)) {  /* its answer, before a byte was sent */
		*reply = append_refuse(s, c, imap_remote_reply(c, line));
		return false;
	}
	if (l->waits) {
		imap_flush(s);
		session_write(s->s, STR("+ send the message\r\n"));
		session_flush(s->s);
	}
	for (uint64_t left = l->n; left > 0; left -= piece.n) {
		if (session_read(s->s, left < 65536 ? (size_t)left : 65536, IMAP_LITERAL_TIMEOUT_MS, &piece) != ERR_OK) {
			*reply = append_over(c);
			return false;
		}
		if (link_send(r->link, piece) != ERR_OK)
			r->is_lost = true;
	}
	return true;
}

/* text: a line of the command, perhaps with a literal announced at its end, for which the owner's cell is asked. */
static bool pass_line(struct imap_remote *r, struct imap_cmd *c, struct str text, const struct imap_literal *l)
{
	struct str line = text;

	if (l != NULL)
		line = arena_printf(&c->arena, STR_FMT "%s{%llu}", STR_ARG(str_sub(text, 0, l->at)), l->is_binary ? "~" : "", (unsigned long long)l->n);
	return imap_remote_link(r) != NULL && link_send(r->link, line) == ERR_OK && link_send(r->link, STR("\r\n")) == ERR_OK;
}

struct imap_reply imap_remote_append(struct imap_session *s, struct imap_cmd *c, const char *verb, struct str name, struct str address)
{
	CLEANUP(imap_remote_close) struct imap_remote *temporary = NULL;
	CLEANUP(buf_free) struct buf first = BUF(IMAP_LINE_MAX + 4 * MAILBOX_PATH_MAX);
	struct imap_reply reply;
	struct imap_remote *r = imap_remote_for(s, c, address, &temporary, &reply);
	struct imap_literal l;
	struct str text;

	if (r == NULL)
		return append_refuse(s, c, reply);
	buf_printf(&first, STR_FMT " %s ", STR_ARG(c->tag), verb);
	imap_put_mailbox(&first, name, imap_names_utf8(s->tongue));
	buf_add_char(&first, ' ');
	buf_add(&first, scan_rest(&c->args));
	text = buf_str(&first);
	for (;;) {
		bool has_literal = imap_literal_announced(text, &l);
		if (first.failed || !pass_line(r, c, text, has_literal ? &l : NULL))
			return append_refuse(s, c, imap_remote_gone(r, c));
		if (!has_literal)
			return imap_remote_answer(r, c);
		if (!pass_literal(s, c, r, &l, &reply))
			return reply;
		buf_truncate(&c->text, 0);
		if (!append_next_line(s, c))
			return append_over(c);
		text = buf_str(&c->text);
	}
}

/* ---------------------------------------------------------------------------------------------------------- choosing */

/* The mailbox that is named first, or after one more word; STR_NONE: another account's it is not. */
static bool peek_other(struct imap_session *s, struct imap_cmd *c, int at, struct str *name, struct str *address)
{
	struct scan args = c->args;

	if (str_ifind(scan_rest(&args), STR(IMAP_OTHERS "/")) < 0)  /* "/" and all letters stand for themselves in modified UTF-7, too */
		return false;
	if (scan_take(&args, '(')) {  /* options of GETMETADATA */
		scan_until(&args, ')');
		scan_take(&args, ')');
		imap_sp(&args);
	}
	for (; at > 0; at--) {
		scan_until(&args, ' ');
		imap_sp(&args);
	}
	*name = imap_mailbox(&args, &c->arena, imap_names_utf8(s->tongue));
	return !args.failed && imap_is_other(*name, address);
}

/* The second name of RENAME. */
static bool peek_second(struct imap_session *s, struct imap_cmd *c, struct str *address)
{
	struct scan args = c->args;
	bool is_utf8 = imap_names_utf8(s->tongue);

	imap_mailbox(&args, &c->arena, is_utf8);
	imap_sp(&args);
	struct str name = imap_mailbox(&args, &c->arena, is_utf8);
	return !args.failed && imap_is_other(name, address);
}

static bool is_word(const struct imap_cmd *c, const char *word) { return str_ieq(c->row->word, str_of(word)); }

/* In one's own account nothing is called as the place where the mailboxes of others are. */
static bool makes_others(struct imap_session *s, struct imap_cmd *c)
{
	struct scan args = c->args;
	bool is_utf8 = imap_names_utf8(s->tongue);
	struct str name = imap_mailbox(&args, &c->arena, is_utf8);

	if (is_word(c, "RENAME")) {
		imap_sp(&args);
		name = imap_mailbox(&args, &c->arena, is_utf8);
	} else if (!is_word(c, "CREATE")) {
		return false;
	}
	return !args.failed && str_istarts(name, STR(IMAP_OTHERS)) &&
	       (name.n == sizeof IMAP_OTHERS - 1 || name.p[sizeof IMAP_OTHERS - 1] == MAILBOX_SEPARATOR);
}

/* A command about a mailbox that is another account's. */
static struct imap_reply about_other(struct imap_session *s, struct imap_cmd *c, struct str name, struct str address)
{
	CLEANUP(imap_remote_close) struct imap_remote *temporary = NULL;
	struct str second = STR_NONE, args = scan_rest(&c->args);
	struct imap_reply reply;
	struct imap_remote *r;

	if (is_word(c, "SELECT") || is_word(c, "EXAMINE"))
		return do_select(s, c, name, address);
	if (is_word(c, "RENAME") && (!peek_second(s, c, &second) || !str_ieq(second, address)))
		return imap_no(c, "CANNOT", "a mailbox stays in its account; COPY the messages");
	r = imap_remote_for(s, c, address, &temporary, &reply);
	if (r == NULL)
		return reply;
	reply = forward(r, c);
	if (reply.status == IMAP_OK && is_word(c, "STATUS"))
		learn_tongue(s, args);
	return reply;
}

/* REPLACE in the selected mailbox of another account, by a message in the same account: it goes there as it comes. */
static struct imap_reply replace_there(struct imap_session *s, struct imap_cmd *c)
{
	uint32_t number = scan_u32(&c->args);
	struct str name, address;

	imap_sp(&c->args);
	if (number == 0 || c->args.failed || !append_mailbox(s, c, &name))
		return append_refuse(s, c, imap_bad(c, "message " APPEND_USAGE));
	if (!imap_is_other(name, &address) || !str_ieq(address, s->remote->address))
		return append_refuse(s, c, imap_no(c, "CANNOT", "not from one account into another; APPEND the new message there and remove the old one here"));
	return imap_remote_append(s, c, str_cstr(&c->arena, arena_printf(&c->arena, STR_FMT " %u", STR_ARG(c->row->word), number)), name, address);
}

/* COPY and MOVE out of the selected mailbox of another account: here, or to a third one. */
static struct imap_reply out_of_other(struct imap_session *s, struct imap_cmd *c, bool is_move)
{
	struct str set = scan_until(&c->args, ' '), name, address;

	imap_sp(&c->args);
	name = imap_mailbox(&c->args, &c->arena, imap_names_utf8(s->tongue));
	if (!imap_arg_end(c))
		return imap_bad(c, "sequence-set mailbox");
	if (imap_is_other(name, &address))
		return imap_remote_copy_across(s, c, set, name, address, is_move);
	return imap_remote_copy_from(s, c, set, name, is_move);
}

/* With a mailbox of another account selected: what is about that one. */
static bool takes_selected(struct imap_session *s, struct imap_cmd *c, struct imap_reply *reply)
{
	struct str args = scan_rest(&c->args), name, address;
	bool is_move = is_word(c, "MOVE") || is_word(c, "UID MOVE");

	if (is_word(c, "IDLE")) {
		*reply = imap_arg_end(c) ? idle(s, c) : imap_bad(c, "");
		return true;
	}
	if ((is_word(c, "ENABLE") || is_word(c, "LANGUAGE")) && args.n > 0) {  /* both have to speak so, or none */
		*reply = forward(s->remote, c);
		return reply->status != IMAP_OK;
	}
	if ((c->row->allowed & IN_AUTH) && !is_word(c, "NOOP"))
		return false;
	if (c->row->allowed & STREAMS) {
		*reply = replace_there(s, c);
		return true;
	}
	if ((is_move || is_word(c, "COPY") || is_word(c, "UID COPY")) &&
	    !(peek_other(s, c, 1, &name, &address) && str_ieq(address, s->remote->address))) {
		*reply = out_of_other(s, c, is_move);
		return true;
	}
	*reply = forward(s->remote, c);
	if (reply->status == IMAP_OK) {
		learn_tongue(s, args);
		if (is_word(c, "CLOSE") || is_word(c, "UNSELECT"))
			leave(s);
	}
	return true;
}

bool imap_remote_takes(struct imap_session *s, struct imap_cmd *c, struct imap_reply *reply)
{
	struct str name, address;

	if (s->guest != NULL || is_word(c, "CLAIM"))
		return false;
	if ((c->row->allowed & NAMES) && !(c->row->allowed & STREAMS)) {
		if (peek_other(s, c, 0, &name, &address)) {
			*reply = about_other(s, c, name, address);
			return true;
		}
		if (is_word(c, "RENAME") && peek_second(s, c, &address)) {
			*reply = imap_no(c, "CANNOT", "a mailbox stays in its account; COPY the messages");
			return true;
		}
		if (makes_others(s, c)) {
			*reply = imap_no(c, "CANNOT", "\"" IMAP_OTHERS "\" is where the mailboxes are that others share with you");
			return true;
		}
		if (s->remote != NULL && (is_word(c, "SELECT") || is_word(c, "EXAMINE")))
			unselect(s);
		return false;
	}
	return s->remote != NULL && takes_selected(s, c, reply);
}
