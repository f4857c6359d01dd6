/* One look-up for each recipient, and a table of who is on the list already: somebody who is in three groups, or is named twice, gets
 * one copy. The first mention counts for what goes with it (detail, orcpt, notify), and who is named himself is not a member as well.
 *
 * Groups. The message itself has the group as a recipient that is done as soon as it is durable, so that its sender can be told, and the
 * trail can tell, what became of what he wrote. What the members get are other messages: from the group's address for bounces, since
 * the author can do nothing about a member's full mailbox (RFC 5321 §3.9.2), and silent about all but failures.
 *
 * Who may write is asked here again for what comes from an account: mx has asked for its own, a cell is not believed. */
#include "queue/resolve.h"
#include "base/log.h"
#include "base/map.h"

enum { LOOKED_AT_MAX = 5 * ENVELOPE_RECIPIENTS_MAX };   /* targets of all names together, those that are on the list already too */

struct resolving {
	const struct lookup   *lookup;
	struct arena          *arena;
	const struct envelope *in;
	struct resolved       *out;
	struct map             accounts, addresses, groups;   /* on the list */
	struct found_group {
		struct lookup_group group;
		uint16_t            recipient;
	}                     *found;                         /* in the order of their mention */
	size_t                 n, cap, orders_cap, envelope_cap, forwards_cap;
	size_t                 looked_at;                     /* a thousand sub-addresses of one alias lead to all of it a thousand times */
	bool                   is_accepted;                   /* who may write has been asked */
	bool                   is_over;
};

static void add_to(struct resolving *r, struct envelope *e, size_t *cap, const struct envelope_recipient *x)
{
	if (e->n == ENVELOPE_RECIPIENTS_MAX) {
		r->is_over = true;
		return;
	}
	if (e->n == *cap)
		e->recipients = arena_grow(r->arena, e->recipients, e->n, cap, sizeof(*x));
	e->recipients[e->n++] = *x;  /* NOLINT(clang-analyzer-core.NullDereference): there is room for one more */
}

/* Is it there for the first time? Then it counts from now on. */
static bool is_new(struct resolving *r, const struct envelope_recipient *x)
{
	struct map *seen = x->account ? &r->accounts : &r->addresses;
	struct str key = x->account ? str_make(&x->account, sizeof(x->account)) : str_lower(r->arena, x->address);

	if (map_get(seen, key) != NULL)
		return false;
	map_set(seen, key, r);
	return true;
}

static void add(struct resolving *r, const struct envelope_recipient *x)
{
	if (is_new(r, x))
		add_to(r, &r->out->envelope, &r->envelope_cap, x);
}

/* Whoever is told of it knows the address he wrote to, not where it leads (RFC 3461 §5.2.7 lets an alias keep or add ORCPT). */
static struct str orcpt_of(struct resolving *r, const struct envelope_recipient *asked)
{
	if (asked->orcpt.n > 0 || asked->address.n > ENVELOPE_ORCPT_MAX - 10)
		return asked->orcpt;
	return arena_printf(r->arena, "%s;" STR_FMT, str_is_ascii(asked->address) ? "rfc822" : "utf-8", STR_ARG(asked->address));
}

static bool is_ordered(const struct resolving *r, const struct list_address *x)
{
	for (size_t i = 0; i < r->out->orders_n; i++) {
		const struct list_address *o = &r->out->orders[i];
		if (o->order == x->order && str_eq(o->token, x->token) && str_ieq(o->group, x->group))
			return true;
	}
	return false;
}

/* Each once, however often it is named: control looks through all members for one. */
static void add_order(struct resolving *r, struct str address)
{
	struct list_address order;

	if (!lookup_list_order(r->lookup, address, r->arena, &order) || is_ordered(r, &order))
		return;
	if (r->out->orders_n == r->orders_cap)
		r->out->orders = arena_grow(r->arena, r->out->orders, r->out->orders_n, &r->orders_cap, sizeof order);
	order.group = str_copy(r->arena, order.group);   /* control may have to be waited for */
	order.token = str_copy(r->arena, order.token);
	r->out->orders[r->out->orders_n++] = order;
}

/* --------------------------------------------------------------------------------------------------------- groups */

/* The account that speaks: who submitted it, or whose mailbox sends it on. */
static uint64_t author_of(const struct envelope *e) { return e->source == ENVELOPE_DELIVERY ? e->parent.account : e->submitter; }

static bool may_post(struct resolving *r, const struct lookup_group *g)
{
	const struct envelope *e = r->in;

	if (e->sender.n == 0)  /* bounces, and answers of machines: for nobody in the group */
		return false;
	if (e->source == ENVELOPE_MX || e->source == ENVELOPE_LOCAL)
		return true;
	return lookup_group_may_post(r->lookup, g, e->sender, author_of(e));
}

static void add_group(struct resolving *r, const struct envelope_recipient *asked, struct str address)
{
	struct envelope_recipient x = *asked;
	struct lookup_group g;

	if (!lookup_group(r->lookup, address, &g) || map_get(&r->groups, g.address) != NULL)
		return;
	map_set(&r->groups, g.address, r);
	if (!r->is_accepted && !may_post(r, &g)) {
		log_info("not for the members of a group: this sender may not write to it group=" STR_FMT " from=" STR_FMT, STR_ARG(g.address),
		         STR_ARG(r->in->sender));
		return;
	}
	if (r->n == r->cap)
		r->found = arena_grow(r->arena, r->found, r->n, &r->cap, sizeof *r->found);
	r->found[r->n++] = (struct found_group){ g, (uint16_t)r->out->envelope.n };
	x.account = ENVELOPE_GROUP;
	x.detail = STR("");
	add_to(r, &r->out->envelope, &r->envelope_cap, &x);
}

static struct envelope head_of_copy(struct resolving *r, const struct lookup_group *g)
{
	struct envelope e = *r->in;

	e.sender = lookup_list_address(r->lookup, g->address, LIST_BOUNCE, STR(""), r->arena);
	e.list = g->address;
	e.parent = (struct envelope_parent){ 0 };  /* copies.c */
	e.envid = STR("");
	e.ret = ENVELOPE_RET_HDRS;
	e.is_authenticated = true;  /* its sender is ourselves */
	e.smtputf8 = e.smtputf8 || !str_is_ascii(g->address);
	e.n = 0;
	e.recipients = NULL;
	return e;
}

/* STAYING: members here of a group that has some who may leave; where nobody may, all are HERE. */
enum copy { COPY_HERE, COPY_STAYING, COPY_ELSEWHERE, COPIES };

static void add_copies(struct resolving *r, const struct found_group *found)
{
	const struct lookup_group *g = &found->group;
	struct resolved_copy copies[COPIES];
	struct lookup_target *members;
	size_t n, caps[COPIES] = { 0 };

	for (int i = 0; i < COPIES; i++)
		copies[i] = (struct resolved_copy){ .group = *g, .recipient = found->recipient, .is_elsewhere = i == COPY_ELSEWHERE,
			                                .may_leave = g->may_leave && i != COPY_STAYING, .envelope = head_of_copy(r, g) };
	lookup_group_members(r->lookup, g, r->arena, &members, &n);
	for (size_t i = 0; i < n && !r->is_over; i++) {
		const struct envelope_recipient x = { .address = members[i].account ? g->address : members[i].remote, .account = members[i].account,
			                                  .notify = ENVELOPE_NOTIFY_FAILURE };
		enum copy copy = members[i].account == 0 ? COPY_ELSEWHERE : g->may_leave && i >= g->leavers ? COPY_STAYING : COPY_HERE;
		if (is_new(r, &x))
			add_to(r, &copies[copy].envelope, &caps[copy], &x);
	}
	for (int i = 0; i < COPIES; i++)
		if (copies[i].envelope.n > 0)
			r->out->copies[r->out->n++] = copies[i];
}

/* ------------------------------------------------------------------------------------------------------------ all */

/* The last recipient is where this alias leads. */
static void add_forward(struct resolving *r, struct str alias)
{
	struct resolved *out = r->out;

	if (out->forwards_n == r->forwards_cap)
		out->forwards = arena_grow(r->arena, out->forwards, out->forwards_n, &r->forwards_cap, sizeof *out->forwards);
	out->forwards[out->forwards_n++] = (struct resolved_forward){ alias, (uint16_t)(out->envelope.n - 1) };
}

void resolved_drop_recipient(struct resolved *all, size_t at, bool is_loop, struct arena *a)
{
	struct envelope *e = &all->envelope;
	size_t left = 0;

	if (all->drops_n == all->drops_cap)
		all->drops = arena_grow(a, all->drops, all->drops_n, &all->drops_cap, sizeof *all->drops);
	all->drops[all->drops_n++] = (struct resolved_drop){ str_copy(a, e->recipients[at].address), is_loop };
	memmove(&e->recipients[at], &e->recipients[at + 1], (e->n - at - 1) * sizeof *e->recipients);
	e->n--;
	for (size_t i = 0; i < all->n; i++)
		all->copies[i].recipient -= all->copies[i].recipient > at;
	for (size_t i = 0; i < all->forwards_n; i++) {
		if (all->forwards[i].recipient == at)
			continue;
		all->forwards[left] = all->forwards[i];
		all->forwards[left].recipient -= all->forwards[left].recipient > at;
		left++;
	}
	all->forwards_n = left;
}

static void add_targets(struct resolving *r, const struct envelope_recipient *asked)
{
	struct envelope_recipient x = *asked;
	struct lookup_result found;

	x.account = 0;
	x.detail = STR("");
	if (lookup_resolve(r->lookup, asked->address, r->arena, &found) != LOOKUP_FOUND) {
		add(r, &x);
		return;
	}
	r->looked_at += found.n;
	r->is_over = r->is_over || r->looked_at > LOOKED_AT_MAX;
	for (size_t i = 0; i < found.n && !r->is_over; i++) {
		const struct lookup_target *t = &found.targets[i];
		if (t->is_group) {
			add_group(r, asked, t->remote);
			continue;
		}
		if (t->order != LIST_NONE) {
			add_order(r, t->remote);
			continue;
		}
		x.account = t->account;
		x.address = x.account ? asked->address : t->remote;
		x.detail = x.account ? found.detail : STR("");
		x.orcpt = x.account ? asked->orcpt : orcpt_of(r, asked);
		size_t before = r->out->envelope.n;
		add(r, &x);
		if (x.account == 0 && r->in->sender.n > 0 && r->out->envelope.n > before && !str_ieq(x.address, asked->address))
			add_forward(r, asked->address);
	}
}

static void begin(struct resolving *r)
{
	*r->out = (struct resolved){ .envelope = *r->in };
	r->out->envelope.n = 0;
	r->out->envelope.recipients = NULL;
}

static enum err end(struct resolving *r)
{
	r->out->copies = arena_array(r->arena, COPIES * r->n, sizeof *r->out->copies);
	for (size_t i = 0; i < r->n && !r->is_over; i++)
		add_copies(r, &r->found[i]);
	map_free(&r->accounts);
	map_free(&r->addresses);
	map_free(&r->groups);
	return r->is_over ? ERR_LIMIT : ERR_OK;
}

enum err envelope_distribute(const struct lookup *l, const struct envelope *in, struct arena *a, struct resolved *out)
{
	struct resolving r = { .lookup = l, .arena = a, .in = in, .out = out };

	begin(&r);
	for (size_t i = 0; i < in->n && !r.is_over; i++)
		add_targets(&r, &in->recipients[i]);
	return end(&r);
}

static void pass_over(struct resolving *r, const struct envelope *e)
{
	for (size_t i = 0; i < e->n; i++)
		if (e->recipients[i].account != ENVELOPE_GROUP)
			(void)is_new(r, &e->recipients[i]);
}

static void add_groups(struct resolving *r, const struct envelope_recipient *logged)
{
	struct lookup_result found;

	if (logged->account != ENVELOPE_GROUP || lookup_resolve(r->lookup, logged->address, r->arena, &found) != LOOKUP_FOUND)
		return;
	for (size_t i = 0; i < found.n; i++)
		if (found.targets[i].is_group)
			add_group(r, logged, found.targets[i].remote);
}

enum err envelope_distribute_rest(const struct lookup *l, const struct envelope *logged, const struct envelope *there, size_t n, struct arena *a,
                                  struct resolved *out)
{
	struct resolving r = { .lookup = l, .arena = a, .in = logged, .out = out, .is_accepted = true };

	begin(&r);
	pass_over(&r, logged);
	for (size_t i = 0; i < n; i++)
		pass_over(&r, &there[i]);
	for (size_t i = 0; i < logged->n && !r.is_over; i++)
		add_groups(&r, &logged->recipients[i]);
	return end(&r);
}

enum err envelope_resolve(const struct lookup *l, const struct envelope *in, struct arena *a, struct envelope *out)
{
	struct resolved all;

	TRY(envelope_distribute(l, in, a, &all));
	*out = all.envelope;
	return ERR_OK;
}
