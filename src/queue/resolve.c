/* One look-up for each recipient, and a table of who is on the list already: somebody who is in three groups, or is named twice, gets
 * one copy. The first mention counts for what goes with it (detail, orcpt, notify). */
#include "queue/resolve.h"
#include "base/map.h"

struct resolving {
	struct arena    *arena;
	struct envelope *out;
	size_t           cap;
	struct map       accounts, addresses;   /* on the list */
	bool             is_over;
};

static void add(struct resolving *r, const struct envelope_recipient *x)
{
	struct map *seen = x->account ? &r->accounts : &r->addresses;
	struct str key = x->account ? str_make(&x->account, sizeof(x->account)) : str_lower(r->arena, x->address);

	if (map_get(seen, key) != NULL || r->is_over)
		return;
	if (r->out->n == ENVELOPE_RECIPIENTS_MAX) {
		r->is_over = true;
		return;
	}
	if (r->out->n == r->cap)
		r->out->recipients = arena_grow(r->arena, r->out->recipients, r->out->n, &r->cap, sizeof(*x));
	r->out->recipients[r->out->n++] = *x;
	map_set(seen, key, r);
}

/* Whoever is told of it knows the address he wrote to, not where it leads (RFC 3461 §5.2.7 lets an alias keep or add ORCPT). */
static struct str orcpt_of(struct resolving *r, const struct envelope_recipient *asked)
{
	if (asked->orcpt.n > 0 || asked->address.n > ENVELOPE_ORCPT_MAX - 10)
		return asked->orcpt;
	return arena_printf(r->arena, "%s;" STR_FMT, str_is_ascii(asked->address) ? "rfc822" : "utf-8", STR_ARG(asked->address));
}

static void add_list(struct resolving *r, const struct lookup *l, const struct envelope_recipient *asked, struct str detail,
                     const struct lookup_target *targets, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct envelope_recipient x = *asked;
		struct lookup_target *members;
		struct lookup_group g;
		size_t count;
		if (targets[i].is_group && lookup_group(l, targets[i].remote, &g)) {
			lookup_group_members(l, &g, r->arena, &members, &count);
			add_list(r, l, asked, STR(""), members, count);
			continue;
		}
		x.account = targets[i].account;
		x.address = x.account ? asked->address : targets[i].remote;
		x.detail = x.account ? detail : STR("");
		x.orcpt = x.account ? asked->orcpt : orcpt_of(r, asked);
		add(r, &x);
	}
}

static void add_targets(struct resolving *r, const struct lookup *l, const struct envelope_recipient *asked)
{
	struct envelope_recipient x = *asked;
	struct lookup_result found;

	x.account = 0;
	x.detail = STR("");
	if (lookup_resolve(l, asked->address, r->arena, &found) != LOOKUP_FOUND)
		add(r, &x);
	else
		add_list(r, l, asked, found.detail, found.targets, found.n);
}

enum err envelope_resolve(const struct lookup *l, const struct envelope *in, struct arena *a, struct envelope *out)
{
	struct resolving r = { .arena = a, .out = out };

	*out = *in;
	out->n = 0;
	out->recipients = NULL;
	for (size_t i = 0; i < in->n && !r.is_over; i++)
		add_targets(&r, l, &in->recipients[i]);
	map_free(&r.accounts);
	map_free(&r.addresses);
	return r.is_over ? ERR_LIMIT : ERR_OK;
}
