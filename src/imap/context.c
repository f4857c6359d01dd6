/* Results that are kept up to date (RFC 5267 §4.3). A context is a program with the uids that match it. What may have changed is asked
 * again, message by message, when the client is told of the change: new ones, those with other flags, whoever changed them. Nothing else
 * can change a match but time (OLDER, YOUNGER), which RFC 5032 leaves open. Numbers in the program mean what they meant when it was
 * given (§4.3), so they are uids here; but UID 5:* is for what comes, too.
 *
 * A SEARCH is told with position 0: sets in the order of the mailbox. A SORT is told with places, so its results are kept with what they
 * are sorted by; a message moves never, its date and subject do not change.
 *
 * The program is read anew into the memory of the context, which ends with the selected mailbox. It has no bound that fits into a parked
 * record: a session that has one stays in its cell (park.c), and has CONTEXTS_MAX at most. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "imap/context_private.h"

enum { CONTEXT_ADDED_MAX = 2 * CONTEXT_SORTED_MAX };  /* to a SORT, in its life: what came and went leaves its keys behind */

struct imap_context {
	struct imap_context *next;
	struct imap_cmd      cmd;            /* tag, is_uid, and the arena of all below */
	struct search        q;
	struct sorting      *sorted;         /* NULL: of a SEARCH */
	uint64_t             n_added;
	struct fetch         items;          /* of new messages that match */
	bool                 has_items;
	struct uid_set       members;        /* uids that match */
	struct arena         members_arena;
};

static void context_free(struct imap_context *x)
{
	arena_free(&x->cmd.arena);
	arena_free(&x->members_arena);
	mem_free(x);
}

void contexts_end(struct imap_session *s)
{
	while (s->contexts != NULL) {
		struct imap_context *x = s->contexts;
		s->contexts = x->next;
		context_free(x);
	}
	s->own_changed = (struct uid_set){ 0 };
}

bool context_has(const struct imap_session *s, struct str tag)
{
	for (const struct imap_context *x = s->contexts; x != NULL; x = x->next)
		if (str_eq(x->cmd.tag, tag))
			return true;
	return false;
}

void context_refuse(struct imap_session *s, const struct imap_cmd *c, const char *why)
{
	buf_printf(&s->out, "* NO [NOUPDATE \"" STR_FMT "\"] %s\r\n", STR_ARG(c->tag), imap_in(s->tongue.lang, why));
}

/* ------------------------------------------------------------------------------------------------------------ begin */

/* A keyword that nothing had may have been made meanwhile. */
static void look_for_keyword(struct imap_session *s, struct search_key *k)
{
	uint64_t bit = k->name.n > 0 && (k->op == KEY_NONE || k->op == KEY_ALL) ? view_keyword(s->view, k->name, false) : 0;

	if (bit == 0)
		return;
	k->op = k->op == KEY_NONE ? KEY_FLAGS : KEY_NO_FLAGS;
	k->number = bit;
}

/* The keys are kept for long: numbers become uids, and what the index said a moment ago is forgotten. */
static void settle_keys(struct imap_session *s, struct search_key *k, struct arena *a)
{
	for (; k != NULL; k = k->next) {
		look_for_keyword(s, k);
		if (k->op == KEY_SEQS) {
			struct uid_set uids = { 0 };
			selected_to_uids(s->selected, &k->set, a, &uids);
			k->op = KEY_UIDS;
			k->set = uids;
		}
		if (k->open_from > 0)
			uid_set_add(&k->set, a, k->open_from, UINT32_MAX);
		k->open_from = 0;
		k->hits = NULL;
		settle_keys(s, k->child, a);
	}
}

static bool parse_again(struct imap_session *s, struct imap_context *x, const struct search *q)
{
	x->q = (struct search){ .now = q->now };
	x->cmd.args = scan_of(str_copy(&x->cmd.arena, q->program));
	if (!search_parse_program(s, &x->cmd, &x->q))
		return false;
	settle_keys(s, x->q.key, &x->cmd.arena);
	x->has_items = q->update_items.n > 0;
	if (!x->has_items)
		return true;
	x->cmd.args = scan_of(str_copy(&x->cmd.arena, q->update_items));
	fetch_parse_items(s, &x->cmd, &x->items);
	x->items.sets_seen = false;  /* nobody has read what comes unasked */
	return imap_arg_end(&x->cmd);
}

static size_t count(const struct imap_session *s)
{
	size_t n = 0;

	for (const struct imap_context *x = s->contexts; x != NULL; x = x->next)
		n++;
	return n;
}

void context_begin(struct imap_session *s, struct imap_cmd *c, const struct search *q, const struct found *f, const struct sorting *sorted)
{
	struct imap_context *x;

	if (session_guest(s->s) != 0) {  /* it could not be parked, and his own cell hears only of parked ones: IDLE would tell him nothing at all */
		context_refuse(s, c, "results in mailboxes of others are not kept up to date");
		return;
	}
	if (count(s) == CONTEXTS_MAX) {
		context_refuse(s, c, "so many results are kept up to date already; CANCELUPDATE one of them");
		return;
	}
	if (sorted != NULL && f->count > CONTEXT_SORTED_MAX) {
		context_refuse(s, c, "these are too many to be kept in order; a SEARCH can be kept up to date");
		return;
	}
	x = MEM_NEW(struct imap_context);
	x->cmd.tag = str_copy(&x->cmd.arena, c->tag);
	x->cmd.is_uid = c->is_uid;
	if (!parse_again(s, x, q)) {
		context_refuse(s, c, "this search cannot be kept up to date");
		context_free(x);
		return;
	}
	for (size_t i = 0; i < f->uids.n; i++)
		uid_set_add(&x->members, &x->members_arena, f->uids.r[i].first, f->uids.r[i].last);
	if (sorted != NULL)
		x->sorted = sort_keep(sorted, &x->cmd, &x->q);
	x->next = s->contexts;
	s->contexts = x;
}

/* ---------------------------------------------------------------------------------------------------------- changes */

void contexts_note(struct imap_session *s, const struct uid_set *uids)
{
	for (size_t i = 0; s->contexts != NULL && i < uids->n; i++)
		uid_set_add(&s->own_changed, &s->cmd.arena, uids->r[i].first, uids->r[i].last);
}

/* Those of set that are (or are not) in other: run by run, since a client may name all uids that there could be. */
static void pick(const struct uid_set *set, const struct uid_set *other, bool is_in, struct arena *a, struct uid_set *out)
{
	uint32_t last;

	for (size_t i = 0; i < set->n; i++)
		for (uint64_t uid = set->r[i].first; uid <= set->r[i].last; uid = (uint64_t)last + 1) {
			bool is_there = uid_set_run(other, (uint32_t)uid, &last);
			last = last < set->r[i].last ? last : set->r[i].last;
			if (is_there == is_in)
				uid_set_add(out, a, (uint32_t)uid, last);
		}
}

/* members without the one and with the other set, in new memory */
static void change_members(struct imap_context *x, const struct uid_set *removed, const struct uid_set *added)
{
	struct arena room = { 0 };
	struct uid_set now = { 0 };
	size_t r = 0;

	for (size_t i = 0; i < x->members.n; i++) {
		uint64_t from = x->members.r[i].first, last = x->members.r[i].last;
		while (r < removed->n && removed->r[r].last < from)
			r++;
		for (size_t k = r; k < removed->n && removed->r[k].first <= last; k++) {
			if (removed->r[k].first > from)
				uid_set_add(&now, &room, (uint32_t)from, removed->r[k].first - 1);
			from = (uint64_t)removed->r[k].last + 1;
		}
		if (from <= last)
			uid_set_add(&now, &room, (uint32_t)from, (uint32_t)last);
	}
	for (size_t i = 0; i < added->n; i++)
		uid_set_add(&now, &room, added->r[i].first, added->r[i].last);
	arena_free(&x->members_arena);
	x->members_arena = room;
	x->members = now;
}

static void begin_line(struct imap_session *s, const struct imap_context *x)
{
	buf_printf(&s->out, "* ESEARCH (TAG \"" STR_FMT "\")%s", STR_ARG(x->cmd.tag), x->cmd.is_uid ? " UID" : "");
}

/* " REMOVEFROM (0 1:4)" of a SEARCH */
static void put_set(struct imap_session *s, const char *word, const struct uid_set *numbers)
{
	buf_printf(&s->out, " %s (0 ", word);
	imap_put_set(s, numbers);
	buf_add_char(&s->out, ')');
}

struct placing {
	struct imap_session *s;
	struct imap_context *x;
	const char          *word;
	bool                 has_any;
};

/* " ADDTO (3 17 4 18" of a SORT, piece by piece */
static void put_place(void *context, uint32_t number, size_t place)
{
	struct placing *p = context;

	if (!p->has_any)
		buf_printf(&p->s->out, " %s (", p->word);
	else
		buf_add_char(&p->s->out, ' ');
	p->has_any = true;
	imap_put_number(&p->s->out, place);
	buf_add_char(&p->s->out, ' ');
	imap_put_number(&p->s->out, number);
	imap_spill(p->s);
}

static void put_placed(void *context, uint32_t uid, size_t place)
{
	struct placing *p = context;

	p->x->n_added++;
	put_place(context, p->x->cmd.is_uid ? uid : selected_seq(p->s->selected, uid), place);
}

/* In numbers or uids, as the client counts here. */
static struct uid_set as_told(struct imap_session *s, const struct imap_context *x, const struct uid_set *uids, struct arena *a)
{
	struct uid_set numbers = { 0 };

	if (x->cmd.is_uid)
		return *uids;
	selected_to_seqs(s->selected, uids, a, &numbers);
	return numbers;
}

static void put_removed(struct imap_session *s, struct imap_context *x, const struct news *news, struct arena *a)
{
	static const struct uid_set none = { 0 };
	struct placing places = { .s = s, .x = x, .word = "REMOVEFROM" };
	struct uid_set gone = { 0 }, numbers = { 0 };

	pick(&news->vanished, &x->members, true, a, &gone);
	if (gone.n == 0)
		return;
	begin_line(s, x);
	for (size_t i = 0; i < news->n_removed; i++) {
		const struct message_row *row = &news->removed[i];
		if (!uid_set_has(&gone, row->uid))
			continue;
		if (x->sorted != NULL)
			put_place(&places, x->cmd.is_uid ? row->uid : row->seq, sort_remove(x->sorted, row->uid));
		else
			uid_set_add(&numbers, a, x->cmd.is_uid ? row->uid : row->seq, x->cmd.is_uid ? row->uid : row->seq);
	}
	if (x->sorted != NULL)
		buf_add_char(&s->out, ')');
	else
		put_set(s, "REMOVEFROM", &numbers);
	buf_add_cstr(&s->out, "\r\n");
	imap_spill(s);
	change_members(x, &gone, &none);
}

void contexts_put_removed(struct imap_session *s, const struct news *news, struct arena *a)
{
	for (struct imap_context *x = s->contexts; x != NULL && news->n_removed > 0; x = x->next)
		put_removed(s, x, news, a);
}

struct matching {
	struct arena   *arena;
	struct uid_set *matched;
};

static void match(void *context, const struct message_row *row)
{
	struct matching *m = context;

	uid_set_add(m->matched, m->arena, row->uid, row->uid);
}

static enum err put_sorted(struct imap_session *s, struct imap_context *x, const struct uid_set *removed, const struct uid_set *added)
{
	struct placing from = { .s = s, .x = x, .word = "REMOVEFROM" }, to = { .s = s, .x = x, .word = "ADDTO" };
	enum err e = ERR_OK;

	for (size_t i = 0; i < removed->n; i++)
		for (uint64_t uid = removed->r[i].first; uid <= removed->r[i].last; uid++)
			put_place(&from, x->cmd.is_uid ? (uint32_t)uid : selected_seq(s->selected, (uint32_t)uid), sort_remove(x->sorted, (uint32_t)uid));
	if (from.has_any)
		buf_add_char(&s->out, ')');
	x->q.only = added;
	if (added->n > 0)
		e = sort_add(s, x->sorted, put_placed, &to);
	if (to.has_any)
		buf_add_char(&s->out, ')');
	return e == ERR_OK && x->n_added > CONTEXT_ADDED_MAX ? ERR_LIMIT : e;
}

/* Asks again those that may have changed; tells what came in and went out. *new: of those that came in, from first_new on. */
static enum err update(struct imap_session *s, struct imap_context *x, const struct uid_set *changed, uint32_t first_new, struct arena *a,
                       struct uid_set *new)
{
	struct uid_set matched = { 0 }, members = { 0 }, removed = { 0 }, added = { 0 };
	struct matching m = { a, &matched };
	enum err e = ERR_OK;

	x->q.only = changed;
	x->q.is_beside = true;
	x->q.now = clock_wall_s();
	settle_keys(s, x->q.key, &x->cmd.arena);
	TRY(search_run(s, &x->q, match, &m));
	pick(changed, &x->members, true, a, &members);
	pick(&members, &matched, false, a, &removed);
	pick(&matched, &x->members, false, a, &added);
	if (removed.n == 0 && added.n == 0)
		return ERR_OK;
	begin_line(s, x);
	if (x->sorted != NULL) {
		e = put_sorted(s, x, &removed, &added);
	} else {
		struct uid_set out = as_told(s, x, &removed, a), in = as_told(s, x, &added, a);
		if (out.n > 0)
			put_set(s, "REMOVEFROM", &out);
		if (in.n > 0)
			put_set(s, "ADDTO", &in);
	}
	buf_add_cstr(&s->out, "\r\n");
	imap_spill(s);
	change_members(x, &removed, &added);
	for (size_t i = 0; i < added.n; i++)
		if (added.r[i].last >= first_new)
			uid_set_add(new, a, added.r[i].first > first_new ? added.r[i].first : first_new, added.r[i].last);
	return e;
}

/* It cannot be told rightly any more: the client hears that, and nothing later. */
static void drop(struct imap_session *s, struct imap_context **link)
{
	struct imap_context *x = *link;

	context_refuse(s, &x->cmd, "this result is not kept up to date any more; search again");
	*link = x->next;
	context_free(x);
}

void contexts_put_changed(struct imap_session *s, const struct news *news, uint32_t first_new, struct fetch_wish *wishes, size_t *n, struct arena *a)
{
	struct uid_set changed = s->own_changed;

	s->own_changed = (struct uid_set){ 0 };
	if (s->contexts == NULL)
		return;
	for (size_t i = 0; i < news->n_changed; i++)
		uid_set_add(&changed, a, news->changed[i].uid, news->changed[i].uid);
	if (news->has_new && selected_uidnext(s->selected) > first_new)
		uid_set_add(&changed, a, first_new, selected_uidnext(s->selected) - 1);
	for (struct imap_context **link = &s->contexts; changed.n > 0 && *link != NULL;) {
		struct imap_context *x = *link;
		struct uid_set new = { 0 };
		enum err e = update(s, x, &changed, news->has_new ? first_new : UINT32_MAX, a, &new);
		if (e == ERR_OK && x->has_items && new.n > 0)
			wishes[(*n)++] = (struct fetch_wish){ &x->items, new };
		if (e == ERR_OK) {
			link = &x->next;
			continue;
		}
		log_warn("a search result is not kept up to date any more: %s", err_name(e));
		drop(s, link);
	}
}

/* ----------------------------------------------------------------------------------------------------------- cancel */

static bool cancel(struct imap_session *s, struct str tag)
{
	for (struct imap_context **link = &s->contexts; *link != NULL; link = &(*link)->next) {
		struct imap_context *x = *link;
		if (!str_eq(x->cmd.tag, tag))
			continue;
		*link = x->next;
		context_free(x);
		return true;
	}
	return false;
}

/* CANCELUPDATE 1*(SP quoted)                                                                       RFC 5267 §4.3.5 */
struct imap_reply imap_cancelupdate(struct imap_session *s, struct imap_cmd *c)
{
	bool is_known = true;

	do {
		struct str tag = imap_string(&c->args, &c->arena);
		if (!c->args.failed)
			is_known &= cancel(s, tag);
	} while (!c->args.failed && scan_take(&c->args, ' '));
	if (!imap_arg_end(c))
		return imap_bad(c, "\"tag\" …");
	return is_known ? imap_ok(c, "you will hear no more of it") : imap_no(c, NULL, "no result is kept up to date for one of these tags");
}
