/* ESEARCH (RFC 7377): one search over many mailboxes, each of which answers by its own line if anything was found there.
 *
 * The program is read anew for each mailbox, because numbers, "*" and what the index knows belong to it; the session looks at each through
 * a window of its own for a moment, and at the selected one through the window it has.
 *
 * Mailboxes of other accounts that are named, or subscribed, are searched by the cells of their owners: this very command there, for the
 * guest, whose answers are passed on. PERSONAL and INBOXES are never theirs (RFC 5465 §6.2). */
#include "base/clock.h"
#include "imap/context_private.h"
#include "imap/notify_private.h"
#include "imap/remote.h"

enum { OTHERS_MS = 60000 /* for all other accounts together */, SOURCES_MAX = 50, OTHERS_MAX = 100 /* mailboxes of other accounts that one command names, subscribed ones among them */ };

struct sources {
	struct filter list[SOURCES_MAX];
	size_t        n;
	bool          has_selected, has_others;
};

struct searching {
	struct imap_cmd *c;
	struct search    q;
	struct found     found;
};

/* "IN" SP "(" filter-mailboxes *(SP filter-mailboxes) ")" SP; scope options: none are defined          RFC 7377 §4 */
static void parse_sources(struct imap_session *s, struct imap_cmd *c, struct sources *out)
{
	const unsigned kinds = (1u << FILTER_KINDS) - 1 - (1u << FILTER_SELECTED_DELAYED);

	out->has_selected = true;
	if (!imap_word(&c->args, "IN"))
		return;
	out->has_selected = false;
	imap_sp(&c->args);
	scan_need(&c->args, '(');
	do {
		if (out->n == SOURCES_MAX)
			scan_fail(&c->args);
		if (c->args.failed)
			return;
		struct filter *f = &out->list[out->n++];
		filter_parse(s, c, kinds, f);
		out->has_selected |= f->kind == FILTER_SELECTED;
		out->has_others |= f->kind != FILTER_SELECTED;
	} while (scan_take(&c->args, ' '));
	scan_need(&c->args, ')');
	imap_sp(&c->args);
}

static bool is_source(struct imap_session *s, const struct sources *in, const struct mailbox *m)
{
	if (in->has_selected && s->selected != NULL && m->mailbox_id == s->mailbox_id)
		return true;
	for (size_t i = 0; i < in->n; i++) {
		const struct filter *f = &in->list[i];
		bool is_named = f->kind == FILTER_MAILBOXES;
		if ((s->guest != NULL && f->kind < FILTER_SUBTREE) || !filter_matches(f, m->path, m->is_subscribed))
			continue;
		/* what is not named has to be in his lists, too (RFC 7377 §2.2) */
		if (imap_may(s, m->mailbox_id, is_named ? RIGHT_READ : RIGHT_READ | RIGHT_LOOKUP) == ERR_OK)
			return true;
	}
	return false;
}

static void visit(void *context, const struct message_row *row)
{
	struct searching *x = context;

	search_found_add(x->c, &x->q, &x->found, row);
}

/* The session as it would be with this mailbox selected; back with look_back(). What the index finds lies in the session's arena
 * (search_index.c): a fresh one for each mailbox, so that ten thousand of them cost no more memory than one. */
struct look {
	struct selected *selected;
	int64_t          mailbox_id;
	bool             is_condstore;
	struct arena     arena;
};

static enum err look_at(struct imap_session *s, int64_t mailbox_id, struct look *before)
{
	struct selected *window = s->selected;

	if (mailbox_id != s->mailbox_id || window == NULL)
		TRY(selected_open(s->view, mailbox_id, NULL, &window));
	*before = (struct look){ s->selected, s->mailbox_id, s->tongue.is_condstore, s->cmd.arena };
	s->cmd.arena = (struct arena){ 0 };
	s->selected = window;
	s->mailbox_id = mailbox_id;
	s->tongue.is_condstore = true;  /* a key MODSEQ turns it on; the modseq to be told then is that of the selected mailbox */
	return ERR_OK;
}

static void look_back(struct imap_session *s, const struct look *before)
{
	if (s->selected != before->selected)
		selected_close(s->selected);
	s->selected = before->selected;
	s->mailbox_id = before->mailbox_id;
	s->tongue.is_condstore = before->is_condstore;
	arena_free(&s->cmd.arena);
	s->cmd.arena = before->arena;
}

/* One mailbox. q: what the command wants returned. parsed (may be NULL): whether the program could be read is all that is asked. */
static enum err search_one(struct imap_session *s, struct imap_cmd *c, const struct search *q, const struct mailbox *m, struct search *parsed)
{
	struct imap_cmd sub = { .tag = c->tag, .row = c->row, .is_uid = true, .args = c->args };
	struct searching x = { .c = &sub, .q = *q };
	struct look before;
	enum err e;

	TRY(look_at(s, m->mailbox_id, &before));
	bool is_ok = search_parse_program(s, &sub, &x.q) && search_relevancy_is_allowed(&sub, &x.q);
	if (parsed != NULL) {
		*parsed = x.q;
		c->why = sub.why;
		e = is_ok ? ERR_OK : ERR_INVALID;
	} else {
		search_limit(s, &sub, &x.q);
		e = search_run(s, &x.q, visit, &x);
		if (sub.limited_to != 0)
			c->limited_to = UINT32_MAX;
		if (e == ERR_OK && x.found.count > 0) {
			x.found.mailbox = imap_name_of(s, m->path, &sub.arena);
			x.found.uidvalidity = m->uidvalidity;
			search_put_esearch(s, &sub, &x.q, &x.found);
			imap_spill(s);
		}
	}
	look_back(s, &before);
	arena_free(&sub.arena);
	return e == ERR_NOTFOUND ? ERR_OK : e;  /* deleted meanwhile */
}

/* Read once against any mailbox, so that a mistake is one also where there is nothing to search. */
static bool program_is_valid(struct imap_session *s, struct imap_cmd *c, const struct mailbox *all, size_t n, struct search *q)
{
	struct search parsed = *q;
	const struct mailbox *m = &all[0];

	for (size_t i = 0; i < n; i++)
		if (s->selected != NULL && all[i].mailbox_id == s->mailbox_id)
			m = &all[i];
	if (search_one(s, c, q, m, &parsed) != ERR_OK)
		return false;
	if (parsed.has_modseq)
		imap_enable_condstore(s);
	return true;
}

#define USAGE "[IN (mailboxes)] [RETURN (MIN MAX ALL COUNT SAVE PARTIAL RELEVANCY UPDATE)] [CHARSET UTF-8] search-keys"

/* The selected mailbox alone: UID SEARCH, but for the form of its answer. */
static struct imap_reply search_selected(struct imap_session *s, struct imap_cmd *c, const struct search *q)
{
	struct searching x = { .c = c, .q = *q };
	struct mailbox m;
	enum err e;

	c->is_uid = true;
	if (!search_parse_program(s, c, &x.q) || !search_relevancy_is_allowed(c, &x.q) || !search_update_is_allowed(s, c, &x.q))
		return search_refuse(s, c, &x.q, USAGE);
	search_limit(s, c, &x.q);
	x.found.wants_uids = (q->returns & (RETURN_SAVE | RETURN_UPDATE)) != 0;
	e = view_mailbox_get(s->view, s->mailbox_id, &c->arena, &m);
	if (e == ERR_OK) {
		x.found.mailbox = imap_name_of(s, m.path, &c->arena);
		x.found.uidvalidity = m.uidvalidity;
		e = search_run(s, &x.q, visit, &x);
	}
	if (e == ERR_OK && (x.q.returns & RETURN_UPDATE))
		context_begin(s, c, &x.q, &x.found, NULL);
	return search_answer(s, c, "SEARCH", &x.q, &x.found, e);
}

/* ------------------------------------------------------------------------------------------------ mailboxes of other accounts */

struct owner {
	struct str address;
	struct str sources;      /* as ESEARCH IN (…) there wants them */
};

struct owners {
	struct owner list[REMOTE_OWNERS_MAX];
	size_t       n, n_names;
	bool         is_over;
};

/* source: "subtree name", or "selected" */
static void add_source(struct imap_cmd *c, struct owners *all, struct str address, struct str source)
{
	size_t i = 0;

	while (i < all->n && !str_ieq(all->list[i].address, address))
		i++;
	if (i == REMOTE_OWNERS_MAX || ++all->n_names > OTHERS_MAX) {
		all->is_over = true;
		return;
	}
	if (i == all->n)
		all->list[all->n++] = (struct owner){ .address = address };
	all->list[i].sources = arena_printf(&c->arena, STR_FMT "%s" STR_FMT, STR_ARG(all->list[i].sources), all->list[i].sources.n > 0 ? " " : "", STR_ARG(source));
}

/* Adds it to what is asked of its owner, if it is somebody else's. */
static void add_other(struct imap_session *s, struct imap_cmd *c, struct owners *all, const char *kind, struct str name)
{
	CLEANUP(buf_free) struct buf b = BUF(4 * MAILBOX_PATH_MAX + REMOTE_ADDRESS_MAX);
	struct str address;

	if (s->guest != NULL || !imap_is_other(name, &address))
		return;
	buf_printf(&b, "%s ", kind);
	imap_put_mailbox(&b, name, imap_names_utf8(s->tongue));
	add_source(c, all, address, buf_str(&b));
}

static enum err find_others(struct imap_session *s, struct imap_cmd *c, const struct sources *in, struct owners *all)
{
	static const char *const kinds[FILTER_KINDS] = { [FILTER_SUBTREE] = "subtree", [FILTER_SUBTREE_ONE] = "subtree-one", [FILTER_MAILBOXES] = "mailboxes" };
	struct str *names;
	size_t n;

	for (size_t i = 0; i < in->n; i++) {
		const struct filter *f = &in->list[i];
		for (size_t k = 0; k < f->n_names; k++)
			add_other(s, c, all, kinds[f->kind], f->names[k]);
		if (f->kind == FILTER_SELECTED && s->remote != NULL)
			add_source(c, all, s->remote->address, STR("selected"));
		if (f->kind != FILTER_SUBSCRIBED)
			continue;
		TRY(view_subscriptions(s->view, &c->arena, &names, &n));
		for (size_t k = 0; k < n; k++)
			add_other(s, c, all, kinds[FILTER_MAILBOXES], names[k]);
	}
	return ERR_OK;
}

/* rest: the command behind its sources. Who shares nothing is passed over, as a name that does not exist would be. */
static struct imap_reply search_others(struct imap_session *s, struct imap_cmd *c, const struct owners *all, struct str rest)
{
	struct imap_reply done = imap_ok(c, "searched");
	int64_t until_ms = clock_mono_ms() + OTHERS_MS;

	for (size_t i = 0; i < all->n; i++) {
		CLEANUP(imap_remote_close) struct imap_remote *temporary = NULL;
		struct imap_reply reply;
		struct imap_remote *r = imap_remote_for(s, c, all->list[i].address, &temporary, &reply);
		if (r == NULL)
			continue;
		if (clock_mono_ms() >= until_ms)
			return imap_no(c, "INUSE", "not all mailboxes of others could be searched in time; name fewer of them");
		if (r == temporary && imap_remote_link(r) != NULL)
			link_hurry(r->link, until_ms);
		reply = imap_remote_command(r, c, arena_printf(&c->arena, "ESEARCH IN (" STR_FMT ") " STR_FMT, STR_ARG(all->list[i].sources), STR_ARG(rest)));
		if (reply.is_last)
			return reply;
		if (reply.status != IMAP_OK)
			done = reply;
	}
	return done;
}

/* ----------------------------------------------------------------------------------------------------------- all of it */

static struct imap_reply search_all(struct imap_session *s, struct imap_cmd *c, struct search *q, const struct sources *in, struct str rest)
{
	struct owners *others = ARENA_NEW(&c->arena, struct owners);
	struct mailbox *all;
	size_t n;
	enum err e = view_publish(s->view);

	if (e == ERR_OK)
		e = view_mailboxes(s->view, &c->arena, &all, &n);
	if (e == ERR_OK)
		e = find_others(s, c, in, others);
	if (e != ERR_OK)
		return imap_err(c, e);
	if (!program_is_valid(s, c, all, n, q))
		return search_refuse(s, c, q, USAGE);
	if (others->is_over)
		return imap_no(c, "LIMIT", "at most %d mailboxes of other accounts can be searched at once", OTHERS_MAX);
	for (size_t i = 0; i < n && e == ERR_OK; i++)
		if (all[i].messages > 0 && is_source(s, in, &all[i]))
			e = search_one(s, c, q, &all[i], NULL);
	return e == ERR_OK ? search_others(s, c, others, rest) : imap_err(c, e);
}

/* ESEARCH [SP "IN" …] [SP search-return-opts] SP search-program                                        RFC 7377 §2 */
struct imap_reply imap_esearch(struct imap_session *s, struct imap_cmd *c)
{
	struct search q = { .now = clock_wall_s() };
	struct sources *in = ARENA_NEW(&c->arena, struct sources);

	parse_sources(s, c, in);
	struct str rest = scan_rest(&c->args);
	if (!c->args.failed && in->has_selected && !in->has_others && s->remote != NULL)  /* it is a mailbox of another account */
		return imap_remote_command(s->remote, c, arena_printf(&c->arena, "ESEARCH " STR_FMT, STR_ARG(rest)));
	if (!c->args.failed && in->has_selected && s->selected == NULL && s->remote == NULL) {
		c->why = "no mailbox is selected: SELECT one, or say where, IN (PERSONAL) and the like";
		return imap_bad(c, USAGE);
	}
	if (!search_parse_options(s, c, &q))
		return search_refuse(s, c, &q, USAGE);
	if (!q.has_return)
		q.returns = RETURN_ALL;
	q.has_return = true;
	if ((q.returns & RETURN_SAVE) && in->has_others)
		c->why = "SAVE goes with IN (SELECTED) only: \"$\" is about the selected mailbox (RFC 7377 section 2.2)";
	if (c->why != NULL)
		return imap_bad(c, USAGE);
	if ((q.returns & RETURN_UPDATE) && s->selected == NULL) {
		c->why = s->remote != NULL ? "only results in the selected mailbox alone are kept up to date"
		                           : "UPDATE is about the selected mailbox, and none is selected (RFC 7377 section 2.2)";
		return imap_bad(c, USAGE);
	}
	if ((q.returns & RETURN_UPDATE) && in->has_others) {
		context_refuse(s, c, "only results in the selected mailbox alone are kept up to date");
		q.returns &= ~(unsigned)RETURN_UPDATE;
	}
	q.refuses_saved = in->has_others;
	return in->has_others ? search_all(s, c, &q, in, rest) : search_selected(s, c, &q);
}
