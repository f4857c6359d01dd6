/* What a client that asked by NOTIFY is told of mailboxes other than the selected one: STATUS where messages changed (RFC 5465 §5.1 to
 * §5.3), LIST for names and subscriptions (§5.4, §5.5), METADATA for notes (§5.6, §5.7). The same for a session that has just run a command,
 * one that waits, and one that is parked.
 *
 * All comes out of the account's clock: one number says what was told, for 10,000 mailboxes as for one. STATUS has UNSEEN as well, so
 * that a client without CONDSTORE hears of read messages, and a list of folders with counters needs no question more. */
#include "imap/notify_private.h"
#include "imap/remote.h"
#include "store/events.h"

struct telling {
	struct buf         *b;
	struct session     *drain;
	struct imap_tongue  tongue;
	struct view        *v;
	struct imap_notify *n;
	struct arena        arena;
	struct str         *subscribed;     /* in the order of view_subscriptions(); read once, where it matters */
	size_t              n_subscribed;
	bool                has_subscribed;
	struct shared_names *kept;          /* names of others; read once, where there are any */
	size_t              n_kept;
	struct imap_session *guest;
};

static void drain(struct telling *t)
{
	if (t->drain == NULL || t->b->n < IMAP_OUT_PIECE)
		return;
	session_write(t->drain, buf_str(t->b));
	buf_reset(t->b);
}

static enum err read_subscribed(struct telling *t)
{
	if (t->has_subscribed)
		return ERR_OK;
	t->has_subscribed = true;
	return view_subscriptions(t->v, &t->arena, &t->subscribed, &t->n_subscribed);
}

static bool is_subscribed(const struct telling *t, struct str path)
{
	for (size_t i = 0; i < t->n_subscribed; i++)
		if (str_eq(t->subscribed[i], path))
			return true;
	return false;
}

/* Does it depend on subscriptions what is told? */
static bool asks_subscriptions(const struct imap_notify *n)
{
	for (size_t i = 0; i < n->n; i++)
		if (n->groups[i].filter.kind == FILTER_SUBSCRIBED)
			return true;
	return false;
}

/* name: as the client calls it */
static void put_status(struct buf *b, struct imap_tongue tongue, struct str name, const struct mailbox *m, bool with_counts, bool with_modseq)
{
	buf_add_cstr(b, "* STATUS ");
	imap_put_mailbox(b, name, imap_names_utf8(tongue));
	buf_add_cstr(b, " (");
	if (with_counts)
		buf_printf(b, "MESSAGES %u UIDNEXT %u ", m->messages, m->uidnext);
	buf_printf(b, "UIDVALIDITY %u UNSEEN %u", m->uidvalidity, m->unseen);
	if (with_modseq)
		buf_printf(b, " HIGHESTMODSEQ %llu", (unsigned long long)m->highestmodseq);
	buf_add_cstr(b, ")\r\n");
}

static enum err tell_messages(struct telling *t, int64_t selected_id)
{
	struct mailbox_news *news;
	size_t n;

	events_messages(t->v, t->n->told, &t->arena, &news, &n);
	if (n > 0 && asks_subscriptions(t->n))
		TRY(read_subscribed(t));
	for (size_t i = 0; i < n; i++) {
		unsigned events = notify_events(t->n, news[i].m.path, is_subscribed(t, news[i].m.path));
		bool has_counts = (news[i].has_new && (events & NOTIFY_NEW)) || (news[i].has_gone && (events & NOTIFY_EXPUNGE));
		if (news[i].m.mailbox_id == selected_id || !(has_counts || (news[i].has_flags && (events & NOTIFY_FLAGS))))
			continue;
		if (t->guest != NULL && imap_may(t->guest, news[i].m.mailbox_id, RIGHT_LOOKUP | RIGHT_READ) != ERR_OK)
			continue;
		put_status(t->b, t->tongue, t->guest ? imap_name_of(t->guest, news[i].m.path, &t->arena) : news[i].m.path, &news[i].m, has_counts,
		           t->tongue.is_condstore);
		drain(t);
	}
	return ERR_OK;
}

static enum err put_other(struct telling *t, struct str path, struct str old)
{
	struct imap_remote_name name;
	bool is_there;

	if (t->kept == NULL)
		TRY(shared_names_read(t->v, &t->arena, &t->kept, &t->n_kept));
	TRY(read_subscribed(t));
	is_there = remote_names_find(t->kept, t->n_kept, path, &name);
	imap_put_list_event(t->b, t->tongue, path, NULL, is_there ? &name : NULL, is_subscribed(t, path), old);
	drain(t);
	return ERR_OK;
}

static enum err put_name(struct telling *t, struct str path, struct str old)
{
	struct str address;
	struct mailbox m;
	bool is_there, subscribed;

	if (imap_is_other(path, &address))
		return put_other(t, path, old);
	is_there = view_mailbox_find(t->v, path, &t->arena, &m) == ERR_OK;
	TRY(view_is_subscribed(t->v, is_there ? m.path : path, &subscribed));
	imap_put_list_event(t->b, t->tongue, path, is_there ? &m : NULL, NULL, subscribed, old);
	drain(t);
	return ERR_OK;
}

static enum err tell_name(struct telling *t, const struct event *e)
{
	struct str address;
	ptrdiff_t cut = -1;

	TRY(put_name(t, e->path, e->kind == EVENT_RENAMED ? e->more : STR_NONE));
	if ((e->kind != EVENT_CREATED && e->kind != EVENT_DELETED) || imap_is_other(e->path, &address))
		return ERR_OK;
	for (size_t i = 0; i < e->path.n; i++)
		if (e->path.p[i] == MAILBOX_SEPARATOR)
			cut = (ptrdiff_t)i;
	struct str parent = str_sub(e->path, 0, cut > 0 ? (size_t)cut : 0);  /* it has a child more or less (RFC 5465 §5.4) */
	if (parent.n > 0 && (notify_events(t->n, parent, is_subscribed(t, parent)) & NOTIFY_NAME))
		TRY(put_name(t, parent, STR_NONE));
	return ERR_OK;
}

static void put_metadata(struct telling *t, const struct event *e)
{
	buf_add_cstr(t->b, "* METADATA ");
	if (e->path.n == 0)
		buf_add_cstr(t->b, "\"\"");
	else
		imap_put_mailbox(t->b, e->path, imap_names_utf8(t->tongue));
	buf_add_char(t->b, ' ');
	buf_add(t->b, e->more);
	buf_add_cstr(t->b, "\r\n");
	drain(t);
}

static bool is_name(enum event_kind kind) { return kind == EVENT_CREATED || kind == EVENT_DELETED; }

/* A later one says the same, as it is now. */
static bool is_repeated(const struct event *events, size_t i, size_t n)
{
	for (size_t k = i + 1; k < n; k++)
		if ((events[k].kind == events[i].kind || (is_name(events[k].kind) && is_name(events[i].kind))) &&
		    str_eq(events[k].path, events[i].path))
			return events[i].kind == EVENT_SUBSCRIPTION || is_name(events[i].kind);
	return false;
}

static enum err tell_mailboxes(struct telling *t)
{
	struct event *events;
	size_t n;

	TRY(events_mailboxes(t->v, t->n->told, &t->arena, &events, &n));
	if (n > 0 && asks_subscriptions(t->n))
		TRY(read_subscribed(t));
	for (size_t i = 0; i < n; i++) {
		const struct event *e = &events[i];
		/* what was unsubscribed now was subscribed before */
		unsigned wanted = notify_events(t->n, e->path, e->kind == EVENT_SUBSCRIPTION || is_subscribed(t, e->path));
		if (e->kind == EVENT_RENAMED)
			wanted |= notify_events(t->n, e->more, is_subscribed(t, e->more));
		if (e->kind == EVENT_METADATA) {
			if (e->path.n > 0 ? wanted & NOTIFY_METADATA : notify_wants(t->n, NOTIFY_SERVER_METADATA))
				put_metadata(t, e);
		} else if ((wanted & (e->kind == EVENT_SUBSCRIPTION ? NOTIFY_SUBSCRIPTION : NOTIFY_NAME)) && !is_repeated(events, i, n)) {
			TRY(tell_name(t, e));
		}
	}
	return ERR_OK;
}

static void give_up(struct buf *b, enum lang lang, struct imap_notify *n)
{
	buf_add_cstr(b, imap_in(lang, "* OK [NOTIFICATIONOVERFLOW] more has happened than can be told; LIST the mailboxes, then say NOTIFY again\r\n"));
	n->n = 0;
	n->selected = 0;
	n->items = STR_NONE;
}

enum err notify_put_news(struct buf *b, struct session *session, struct imap_tongue tongue, struct view *v, int64_t selected_id, struct imap_notify *n,
                         struct imap_session *guest)
{
	struct telling t = { .b = b, .drain = session, .tongue = tongue, .v = v, .n = n, .guest = guest };
	uint64_t now = view_modseq(v);
	enum err e = ERR_OK;

	if (guest != NULL && n->told == NOTIFY_ANEW)
		e = notify_put_status(guest, n);
	if (e != ERR_OK || n->told >= now || (guest != NULL && n->told == NOTIFY_ANEW)) {
		n->told = guest != NULL && e == ERR_OK ? now : n->told;  /* the account of a guest's host may have been put back to what it was */
		return e;
	}
	if (notify_wants(n, NOTIFY_MAILBOXES))
		e = tell_mailboxes(&t);
	if (e == ERR_CONFLICT) {
		give_up(b, tongue.lang, n);
		e = ERR_OK;
	}
	if (e == ERR_OK && notify_wants(n, NOTIFY_MESSAGES))
		e = tell_messages(&t, selected_id);
	arena_free(&t.arena);
	if (e == ERR_OK)
		n->told = now;
	return e;
}

/* MESSAGES, UIDNEXT and UIDVALIDITY, and HIGHESTMODSEQ where flags are watched                           RFC 5465 §3.1 */
enum err notify_put_status(struct imap_session *s, const struct imap_notify *n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct mailbox *all;
	size_t count;

	TRY(view_mailboxes(s->view, &a, &all, &count));
	for (size_t i = 0; i < count; i++) {
		unsigned events = notify_events(n, all[i].path, all[i].is_subscribed);
		if (!(events & NOTIFY_MESSAGES) || (s->selected != NULL && all[i].mailbox_id == s->mailbox_id))
			continue;
		if (s->guest != NULL && imap_may(s, all[i].mailbox_id, RIGHT_LOOKUP | RIGHT_READ) != ERR_OK)
			continue;
		put_status(&s->out, s->tongue, imap_name_of(s, all[i].path, &a), &all[i], true, s->tongue.is_condstore || (events & NOTIFY_FLAGS));
		imap_spill(s);
	}
	return ERR_OK;
}
