/* The IMAP engine of a cell: a login's last word, then one command after the other out of the table (commands.def), each with its
 * untagged news before its tagged line. All complete commands that have arrived run before the thread is given back; answers go out
 * together.
 *
 * What must stay true: between two commands the whole session is what park.c can write down. A handler never sends its own tagged
 * reply. Removals are told only where RFC 9051 §7.5.1 and RFC 7162 §3.2.10.2 allow it: not after a command of the table that `HOLDS`,
 * nor after UID SEARCH with message numbers. */
#include "imap/engine.h"
#include "base/mem.h"
#include "imap/capability.h"
#include "imap/context_private.h"
#include "imap/notify_private.h"
#include "imap/remote.h"
#include "store/events.h"

struct imap_session *imap_session_new(struct session *s, struct account *account)
{
	struct imap_session *i = MEM_NEW(struct imap_session);

	i->s = s;
	i->account = account;
	i->view = account->view;
	i->out = BUF(8 << 20);
	i->cmd.text = BUF(IMAP_COMMAND_MAX + 2 * IMAP_LINE_MAX);
	return i;
}

void imap_session_free(void *state)
{
	struct imap_session *s = state;

	contexts_end(s);
	imap_claim_end(s);
	selected_close(s->selected);
	imap_remote_free(s->remote);
	imap_guest_free(s->as_guest);
	notify_free(s->notify);
	arena_free(&s->saved_arena);
	arena_free(&s->cmd.arena);
	buf_free(&s->cmd.text);
	buf_free(&s->out);
	mem_free(s);
}

static void *imap_open(struct session *session, void *cell)
{
	struct imap_session *s = imap_session_new(session, cell);
	struct str tag, word;
	enum lang lang;

	str_cut(session_info(session)->command, ' ', &tag, &word);
	str_cut(word, ' ', &word, &word);
	if (lang_find(word, &lang))
		s->tongue.lang = lang;
	buf_add(&s->out, tag.n ? tag : STR("*"));
	buf_add_cstr(&s->out, " OK [CAPABILITY ");
	imap_put_capabilities(&s->out, view_message_size_max(s->view), s->account->message_limit, session_info(session)->is_compressed);
	buf_add_cstr(&s->out, "] logged in\r\n");
	imap_flush(s);
	return s;
}

static void send_reply(struct imap_session *s, const struct imap_cmd *c, const struct imap_reply *r)
{
	static const char *const words[] = { [IMAP_OK] = " OK ", [IMAP_NO] = " NO ", [IMAP_BAD] = " BAD " };

	if (s->out.failed)  /* cannot happen: every command spills; but a client must never read half an answer as a whole one */
		return;
	buf_add(&s->out, c->tag);
	buf_add_cstr(&s->out, words[r->status]);
	if (r->text.n > IMAP_OUT_PIECE) {  /* COPYUID of a million messages */
		imap_flush(s);
		session_write(s->s, r->text);
	} else {
		buf_add(&s->out, r->text);
	}
	buf_add_cstr(&s->out, "\r\n");
	imap_flush(s);
}

/* A guest has lost his rights since he selected the mailbox. He may leave it, though. */
static struct imap_reply not_welcome(struct imap_session *s, struct imap_cmd *c, enum err e)
{
	if (c->row->run == imap_unselect || c->row->run == imap_close)
		return imap_unselect(s, c);
	if (e != ERR_DENIED && e != ERR_NOTFOUND)  /* who he is could not be asked */
		return imap_err(c, e);
	return imap_no(c, "NOPERM", "the owner does not share this mailbox with you any more");
}

/* A guest's cell says by itself once more what found no room ([INUSE], remote.c): what is a number in it must mean the same message then. */
static bool keeps_numbers(const struct imap_session *s, const struct imap_cmd *c, const struct imap_reply *r)
{
	return (c->row->allowed & HOLDS) || c->has_numbers || (s->as_guest != NULL && imap_remote_is_busy(r));
}

/* One command. True: the session goes on. */
static bool run_one(struct imap_session *s)
{
	struct imap_cmd *c = &s->cmd;
	struct imap_reply r;

	if (s->selected != NULL && selected_count(s->selected) > IMAP_LARGE)
		session_will_wait(s->s);  /* deliveries and other sessions of the account go on */
	if (c->row->run != imap_store && c->row->run != imap_uid_expunge)
		imap_claim_end(s);
	s->own_before = events_own(s->view);
	s->progress_ms = 0;
	enum err e = imap_welcome(s);
	if (s->as_guest != NULL && s->as_guest->place == 0)
		r = imap_no(c, "INUSE", "too many others use the mailboxes of this account at the moment; please try again");
	else if (e != ERR_OK)
		r = not_welcome(s, c, e);
	else if (!imap_remote_takes(s, c, &r))
		r = c->row->run(s, c);
	if (r.status == IMAP_CUT) {
		s->is_cut = true;
		return false;
	}
	if (c->limited_to != 0)
		r = imap_limit_reply(s, c, r);
	if (r.status == IMAP_PARK)
		return imap_send_news(s, true, &c->arena);
	if (!r.is_last && !r.gives_up && !imap_send_news(s, !keeps_numbers(s, c, &r), &c->arena))
		return false;
	send_reply(s, c, &r);
	if (r.compresses)
		session_compress(s->s);
	if (r.status == IMAP_BAD)
		s->errors++;
	s->gave_up = r.gives_up;
	return !r.is_last && !r.gives_up;
}

static bool run(struct imap_session *s)
{
	bool goes_on;

	imap_guest_begin(s);
	goes_on = run_one(s);
	imap_guest_end(s);
	imap_remote_rest(s->remote);
	return goes_on;
}

/* DONE ends IDLE; anything else was a mistake and ends it, too (RFC 9051 §6.3.13). False: not there yet. */
static bool end_idle(struct imap_session *s, enum err *e)
{
	struct imap_cmd *c = &s->cmd;
	struct str line;
	struct imap_reply r;

	*e = session_line(s->s, IMAP_LINE_MAX, &line);
	if (*e != ERR_OK)
		return false;
	c->tag = str_copy(&c->arena, s->idle_tag);
	c->lang = s->tongue.lang;
	s->idle_tag = STR_NONE;
	if (!imap_send_news(s, true, &c->arena)) {
		*e = ERR_CLOSED;
		return false;
	}
	bool is_done = str_ieq(line, STR("DONE"));
	r = is_done ? imap_ok(c, "IDLE ended") : imap_bad(c, "DONE");
	if (s->remote != NULL) {
		struct imap_reply there = imap_remote_done(s, c);
		r = is_done || there.status != IMAP_OK ? there : r;
		imap_remote_rest(s->remote);
	}
	if (r.status == IMAP_CUT) {
		s->is_cut = true;
		*e = ERR_CLOSED;
		return false;
	}
	send_reply(s, c, &r);
	*e = ERR_CLOSED;
	s->gave_up = r.gives_up;
	return !r.is_last && !r.gives_up;
}

static bool watches(const struct imap_session *s) { return s->notify != NULL && s->notify->n > 0; }

/* No command runs: what NOTIFY asked for, and in IDLE all there is. Removals at once only to who said that numbers do not matter to him
 * (RFC 5465 §5.3, §6.1.2). */
static bool send_unasked(struct imap_session *s)
{
	bool removals = s->idle_tag.n > 0 || (s->notify != NULL && !s->notify->is_delayed);
	bool is_there;

	s->cmd.row = NULL;
	s->own_before = events_own(s->view);
	is_there = imap_send_news(s, removals, &s->cmd.arena);
	arena_reset(&s->cmd.arena);
	return is_there;
}

/* What NOTIFY says of the selected mailbox is heard from another account's cell. */
static bool listens_elsewhere(const struct imap_session *s) { return s->remote != NULL && s->notify->selected != 0; }

/* It was woken, has said its news, and nobody has asked it anything: changes of other accounts wake it only where it was. And who looks at this account from
 * another cell goes back to it. */
static bool goes_back(const struct imap_session *s, bool was_asked)
{
	return !was_asked && (s->notify->n_owners > 0 || notify_watches_others(s->notify) || listens_elsewhere(s) || s->guest != NULL);
}

/* Of other accounts the gate says that they have changed, also to who cannot be parked. */
static void notice_others(struct imap_session *s)
{
	struct str changed = session_take_changed(s->s, &s->cmd.arena);

	if (s->notify != NULL)
		notify_others_changed(s->notify, changed);
}

static enum session_next imap_input(void *state)
{
	struct imap_session *s = state;
	enum imap_read got = IMAP_READ_DONE;
	bool was_asked = false;
	enum err e;

	notice_others(s);
	while (!session_is_dead(s->s)) {
		if (s->idle_tag.n > 0 && !end_idle(s, &e))
			return e == ERR_AGAIN && send_unasked(s) && (s->remote == NULL || s->remote->link != NULL || imap_remote_listen(s)) ? SESSION_PARK
			                                                                                                                    : SESSION_CLOSE;
		got = imap_next_command(s);
		was_asked |= got != IMAP_READ_NONE;
		if (got == IMAP_READ_NONE || got == IMAP_READ_OVER)
			break;
		if (got == IMAP_READ_DONE && !run(s))
			return s->gave_up ? SESSION_UNAUTH : SESSION_CLOSE;
		if (s->errors >= IMAP_ERRORS_MAX) {
			session_write(s->s, str_of(imap_in(s->tongue.lang, "* BYE too many mistakes; please tell the maker of your mail program\r\n")));
			return SESSION_CLOSE;
		}
		arena_reset(&s->cmd.arena);
	}
	if (got == IMAP_READ_NONE && watches(s) && (!send_unasked(s) || (!was_asked && listens_elsewhere(s) && !imap_remote_listen(s))))
		return SESSION_CLOSE;
	buf_free(&s->out);  /* nothing is kept while waiting */
	buf_free(&s->cmd.text);
	if (got != IMAP_READ_NONE)
		return SESSION_CLOSE;
	return !watches(s) ? SESSION_WAIT : goes_back(s, was_asked) ? SESSION_PARK : SESSION_WAIT_NEWS;
}

/* RFC 9051 §7.1.5 */
static void imap_bye(void *state)
{
	struct imap_session *s = state;

	if (!s->is_cut)  /* else it would be taken for the rest of the message */
		session_write(s->s, str_of(imap_in(s->tongue.lang, "* BYE the server ends this session: it stops, or the password was changed; please connect again\r\n")));
}

const struct engine imap_engine = {
	.protocol = PROTOCOL_IMAP,
	.open = imap_open,
	.resume = imap_resume,
	.input = imap_input,
	.park = imap_park,
	.close = imap_session_free,
	.render = imap_render,
	.bye = imap_bye,
};
