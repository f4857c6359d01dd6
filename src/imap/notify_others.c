/* NOTIFY in mailboxes of other accounts: those that are subscribed, or named, by themselves or by a tree that they are in.
 *
 * Nothing is kept open for it. Of each such account the session knows one number, the modseq that it was told up to; the gate wakes it when the account
 * has changed since (net/parked.h), and then it visits that account once: as a session that is parked there with a NOTIFY of its own, made here
 * from what the client asked for, which hears what is new and goes again (guest.c, notify_is_for_guest()). So a hundred programs that watch a
 * mailbox of a group cost their owner nothing while nothing happens, and an owner's cell never speaks to who has not asked.
 *
 * Who watches names asks besides, in a second visit, which there are now. What is different from what this account has heard before becomes events of
 * its own (remote_names.c), so it is told like the names of its own mailboxes, and to all of its sessions; the second visit comes after the first one, whose
 * modseq says what is waited for from then on. Of an owner who shared nothing before the gate says so (net/gains.c). Accounts are known here by their main addresses, as LIST shows them. */
#include "imap/notify_private.h"
#include "imap/remote.h"
#include "base/clock.h"
#include "base/wire.h"

/* One owner's cell may take so long, and all together: the client's next command waits behind it. */
enum { OWNER_MS = 10000, OTHERS_MS = 30000 };
enum { ASK_BYTES_MAX = 1500 };

/* What is asked of one owner: a group for each name, those that say NONE in each of the portions. */
struct asking {
	struct imap_session *s;
	int64_t until_ms;
	const struct share_owner *owner;
	struct notify_group *none, *wanted;
	size_t n_none, n_wanted;
	bool   wants_names;
};

struct watched {
	struct share_owner *owners;
	size_t n_owners;
	struct str *subscribed;
	size_t n_subscribed;
	int64_t until_ms;
};

static enum err read_watched(struct imap_session *s, struct watched *w)
{
	const struct others *others = s->account->others;

	if (others->list == NULL)
		return ERR_UNAVAILABLE;
	TRY(view_subscriptions(s->view, &s->cmd.arena, &w->subscribed, &w->n_subscribed));
	session_will_wait(s->s);
	w->until_ms = clock_mono_ms() + OTHERS_MS;
	return others->list(others->context, &s->cmd.arena, &w->owners, &w->n_owners);
}

/* The name, if it is one of this owner's, as he calls it himself. */
static bool is_his(const struct share_owner *owner, struct str name, struct str *path)
{
	struct str address;

	if (!imap_is_other(name, &address) || !str_ieq(address, owner->address))
		return false;
	*path = str_from(name, sizeof IMAP_OTHERS + address.n);
	*path = str_from(*path, path->n > 0);
	if (str_ieq(*path, STR("INBOX")))
		*path = STR("INBOX");
	return path->n > 0;
}

/* A tree that begins above her mailboxes: whatever she lets him see. */
static bool is_all_of(const struct share_owner *owner, enum filter_kind kind, struct str name)
{
	struct str address;

	if (kind != FILTER_SUBTREE)
		return false;
	return str_eq(name, STR(IMAP_OTHERS)) ||
	       (imap_is_other(name, &address) && str_ieq(address, owner->address) && name.n == sizeof IMAP_OTHERS + address.n);
}

static void add_name(struct asking *a, struct notify_group **list, size_t *n, enum filter_kind kind, unsigned events, struct str name)
{
	struct arena *arena = &a->s->cmd.arena;
	bool is_all = is_all_of(a->owner, kind, name);
	struct str path = { 0 }, *names;

	if (*n == NOTIFY_OTHERS_MAX || (!is_all && !is_his(a->owner, name, &path)))
		return;
	if (*list == NULL)
		*list = arena_array(arena, NOTIFY_OTHERS_MAX, sizeof **list);
	names = arena_array(arena, 1, sizeof *names);
	*names = path;
	(*list)[(*n)++] = (struct notify_group){
		.filter = { .kind = is_all ? FILTER_PERSONAL : kind, .names = names, .n_names = is_all ? 0 : 1 }, .events = events };
}

/* Is this name one of this owner's mailboxes, or all that others share, or all of this one? */
static bool is_about(const struct share_owner *owner, enum filter_kind kind, struct str name)
{
	struct str address;

	if (kind == FILTER_SUBTREE && str_eq(name, STR(IMAP_OTHERS)))
		return true;
	return imap_is_other(name, &address) && str_ieq(address, owner->address);
}

static bool names_are_about(const struct asking *a, const struct watched *w, const struct notify_group *g)
{
	for (size_t i = 0; g->filter.kind == FILTER_SUBSCRIBED && i < w->n_subscribed; i++)
		if (is_about(a->owner, FILTER_MAILBOXES, w->subscribed[i]))
			return true;
	for (size_t i = 0; g->filter.kind >= FILTER_SUBTREE && i < g->filter.n_names; i++)
		if (is_about(a->owner, g->filter.kind, g->filter.names[i]))
			return true;
	return false;
}

static void add_group(struct asking *a, const struct watched *w, const struct notify_group *g)
{
	unsigned events = g->events & NOTIFY_MESSAGES;
	struct notify_group **list = g->events == 0 ? &a->none : &a->wanted;
	size_t *n = g->events == 0 ? &a->n_none : &a->n_wanted;

	a->wants_names |= (g->events & NOTIFY_NAME) && names_are_about(a, w, g);
	if (g->events != 0 && events == 0)
		return;
	for (size_t i = 0; g->filter.kind == FILTER_SUBSCRIBED && i < w->n_subscribed; i++)
		add_name(a, list, n, FILTER_MAILBOXES, events, w->subscribed[i]);
	for (size_t i = 0; g->filter.kind >= FILTER_SUBTREE && i < g->filter.n_names; i++)
		add_name(a, list, n, g->filter.kind, events, g->filter.names[i]);
}

static struct asking asking_of(struct imap_session *s, const struct imap_notify *n, const struct watched *w, const struct share_owner *owner)
{
	int64_t until_ms = clock_mono_ms() + OWNER_MS;
	struct asking a = { .s = s, .owner = owner, .until_ms = until_ms < w->until_ms ? until_ms : w->until_ms };

	for (size_t i = 0; i < n->n; i++)
		add_group(&a, w, &n->groups[i]);
	if (s->remote != NULL && s->remote->owner == owner->account)  /* of that one its own session tells */
		add_name(&a, &a.none, &a.n_none, FILTER_MAILBOXES, 0, buf_str(&s->remote->name));
	return a;
}

/* From *at on, as many as one visit takes. False: there is no room for even one. */
static bool next_portion(const struct asking *a, size_t *at, uint64_t told, struct buf *notify)
{
	struct notify_group groups[NOTIFY_GROUPS_MAX];
	struct imap_notify n = { .groups = groups, .told = told };
	size_t bytes = 0, begin = *at;

	for (size_t i = 0; i < a->n_none && a->n_wanted > 0 && n.n < NOTIFY_GROUPS_MAX; i++) {
		groups[n.n++] = a->none[i];
		bytes += a->none[i].filter.names[0].n + 16;
	}
	for (; *at < a->n_wanted && n.n < NOTIFY_GROUPS_MAX; (*at)++) {
		bytes += a->wanted[*at].filter.names[0].n + 16;
		if (bytes > ASK_BYTES_MAX)
			break;
		groups[n.n++] = a->wanted[*at];
	}
	if (a->n_wanted == 0) {  /* it is only to be said how far its account is */
		static struct str inbox = { "INBOX", 5 };
		groups[n.n++] = (struct notify_group){ .filter = { .kind = FILTER_MAILBOXES, .names = &inbox, .n_names = 1 } };
	}
	notify_put(notify, &n);
	return *at > begin || a->n_wanted == 0;
}

/* One visit: what is new there is told, also what was said before the time was over; *told is how far. False: it did not come to that. */
static bool visit(const struct asking *a, struct str notify, uint64_t *told)
{
	struct imap_session *s = a->s;
	CLEANUP(imap_remote_close) struct imap_remote *r = imap_remote_new(s, a->owner->account, a->owner->address);
	struct imap_reply reply;

	buf_reset(&r->record);
	imap_notify_record(s->tongue, notify, &r->record);
	if (r->record.failed || clock_mono_ms() >= a->until_ms)
		return false;
	r->until_ms = a->until_ms;
	reply = imap_remote_command(r, &s->cmd, STR("NOOP"));
	s->is_cut |= reply.status == IMAP_CUT;
	if (reply.status != IMAP_OK || !imap_remote_park(r))
		return false;
	*told = r->modseq;
	return true;
}

/* All portions; told up to what the first of them said. False: not all of them. */
static bool look_at_messages(const struct asking *a, struct notify_owner *o)
{
	uint64_t since = o->told, told = since;
	size_t at = 0;

	do {
		CLEANUP(buf_free) struct buf notify = BUF(NOTIFY_RECORD_MAX);
		bool is_first = at == 0;
		uint64_t now;
		if (!next_portion(a, &at, since, &notify) || notify.failed || !visit(a, buf_str(&notify), &now)) {
			o->told = since == NOTIFY_ANEW ? NOTIFY_SINCE_EVER : since;
			return false;
		}
		told = is_first || now < told ? now : told;
	} while (at < a->n_wanted && !a->s->is_cut);
	o->told = told == NOTIFY_ANEW ? NOTIFY_SINCE_EVER : told;
	return true;
}

static void look(const struct asking *a, struct notify_owner *o)
{
	o->must_look = false;
	o->could_not_ask = !look_at_messages(a, o) || (a->wants_names && !a->s->is_cut && !imap_remote_hear_names(a->s, a->owner, a->until_ms));
}

static bool wants_any(const struct asking *a) { return a->n_wanted > 0 || a->wants_names; }

static struct notify_owner *owner_of(struct imap_notify *n, uint64_t account)
{
	for (size_t i = 0; i < n->n_owners; i++)
		if (n->owners[i].account == account)
			return &n->owners[i];
	return NULL;
}

/* Those whose mailboxes are watched, and of whom nothing is known yet. */
static void begin(struct imap_session *s, struct imap_notify *n, const struct watched *w, bool wants_status)
{
	size_t names = 0;

	for (size_t i = 0; i < w->n_owners && !s->is_cut; i++) {
		struct asking a = asking_of(s, n, w, &w->owners[i]);
		if (n->n_owners == NOTIFY_OWNERS_MAX || (names += a.n_wanted) > NOTIFY_OTHERS_MAX)
			break;
		if (!wants_any(&a) || owner_of(n, w->owners[i].account) != NULL)
			continue;
		if (n->owners == NULL)
			n->owners = arena_array(&n->arena, NOTIFY_OWNERS_MAX, sizeof *n->owners);
		struct notify_owner *o = &n->owners[n->n_owners++];
		*o = (struct notify_owner){ .account = w->owners[i].account, .told = wants_status ? NOTIFY_ANEW : UINT64_MAX };
		look(&a, o);
		o->told = o->told == UINT64_MAX ? NOTIFY_SINCE_EVER : o->told;  /* could not be asked: all that was ever new there is told once */
	}
}

bool notify_others_begin(struct imap_session *s, struct imap_notify *n, bool wants_status)
{
	struct watched w = { 0 };

	if (s->guest != NULL || s->account->others == NULL || n == NULL || !notify_wants(n, NOTIFY_MESSAGES | NOTIFY_NAME) || read_watched(s, &w) != ERR_OK)
		return true;
	if (notify_wants(n, NOTIFY_NAME))
		imap_remote_forget_names(s, w.owners, w.n_owners);
	begin(s, n, &w, wants_status);
	return !s->is_cut;
}

bool notify_watches_others(const struct imap_notify *n)
{
	struct str address;

	for (size_t i = 0; i < n->n; i++) {
		const struct filter *f = &n->groups[i].filter;
		if ((n->groups[i].events & (NOTIFY_MESSAGES | NOTIFY_NAME)) == 0)
			continue;
		if (f->kind == FILTER_SUBSCRIBED)
			return true;
		for (size_t k = 0; f->kind >= FILTER_SUBTREE && k < f->n_names; k++)
			if (str_eq(f->names[k], STR(IMAP_OTHERS)) || imap_is_other(f->names[k], &address))
				return true;
	}
	return false;
}

/* Has nothing (more) of it to be told: it is not waited for any longer. */
static bool look_or_leave(struct imap_session *s, const struct watched *w, struct notify_owner *o)
{
	for (size_t i = 0; i < w->n_owners; i++) {
		if (w->owners[i].account != o->account)
			continue;
		struct asking a = asking_of(s, s->notify, w, &w->owners[i]);
		if (wants_any(&a))
			look(&a, o);
		return !wants_any(&a);
	}
	return true;
}

static void look_at_all(struct imap_session *s, struct imap_notify *n, const struct watched *w)
{
	bool is_anew = n->must_look_anew;

	n->must_look_anew = false;
	for (size_t i = 0; i < n->n_owners && !s->is_cut; ) {
		if (n->owners[i].must_look && look_or_leave(s, w, &n->owners[i]))
			n->owners[i] = n->owners[--n->n_owners];
		else
			i++;
	}
	if (notify_wants(n, NOTIFY_NAME))
		imap_remote_forget_names(s, w->owners, w->n_owners);
	if (notify_wants(n, NOTIFY_NAME) || is_anew)
		begin(s, n, w, false);  /* who shares something since */
}

bool notify_others_tell(struct imap_session *s)
{
	struct imap_notify *n = s->notify;
	struct str tag = s->cmd.tag;
	struct watched w = { 0 };
	bool must_look = n->must_look_anew;

	for (size_t i = 0; i < n->n_owners; i++)
		must_look |= n->owners[i].must_look;
	if (!must_look || read_watched(s, &w) != ERR_OK)
		return true;
	if (s->cmd.row == NULL)  /* no command of the client's runs; the owner's cell has to be sent one, under some tag */
		s->cmd.tag = STR("notify");
	look_at_all(s, n, &w);
	s->cmd.tag = tag;
	return !s->is_cut;
}

void notify_others_changed(struct imap_notify *n, struct str accounts)
{
	struct scan s = scan_of(accounts);

	while (!scan_done(&s)) {
		uint64_t account = get_u64(&s);
		struct notify_owner *o = owner_of(n, account);
		n->must_look_anew |= account == 0;
		if (o != NULL)
			o->must_look = true;
	}
}
