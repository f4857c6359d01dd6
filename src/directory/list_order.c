/* The member is among the targets of the group, or of a group in it: whoever is named by a token is found by making the token of each. */
#include "directory/list_order.h"
#include "base/log.h"
#include "base/map.h"
#include "base/wire.h"

struct search {
	struct directory                *d;
	const struct list_order_request *r;
	struct arena                    *arena;
	struct str                       key;      /* of the directory, for tokens */
	struct map                       seen;     /* groups: they may be in each other */
	struct directory_address         group, member;
	struct directory_name            name;     /* of the group he is in */
};

static bool is_account(struct search *s, const struct directory_address *x)
{
	struct directory_account account;

	return account_find(s->d, x, s->arena, &account) == ERR_OK && account.account == s->r->account;
}

static bool is_he(struct search *s, struct str target, const struct directory_address *x)
{
	struct directory_address other;

	if (s->r->what.token.n > 0)
		return list_address_is_of(s->key, &s->r->what, target, s->arena);
	if (s->r->account != 0)
		return is_account(s, x);
	return directory_address_parse(s->r->member, s->arena, &other) &&
	       str_eq(directory_address_key(s->arena, other.local, other.domain), directory_address_key(s->arena, x->local, x->domain));
}

static enum err search(struct search *s, const struct directory_address *group, int depth)
{
	struct directory_name name;
	struct directory_address x;

	TRY(name_find(s->d, group, s->arena, &name));
	if (name.kind != NAME_GROUP || depth == LIST_NESTED_MAX || map_get(&s->seen, name.key) != NULL)
		return ERR_NOTFOUND;
	map_set(&s->seen, name.key, s);
	for (size_t i = 0; i < name.target_count; i++) {
		if (!directory_address_parse(name.targets[i], s->arena, &x) || !is_he(s, name.targets[i], &x))
			continue;
		s->group = *group;
		s->member = x;
		s->name = name;
		return ERR_OK;
	}
	enum err e = ERR_NOTFOUND;
	for (size_t i = 0; i < name.target_count && e == ERR_NOTFOUND; i++)
		if (directory_address_parse(name.targets[i], s->arena, &x))
			e = search(s, &x, depth + 1);
	return e;  /* what could not be read is not "no member": that would be final */
}

static enum err may_leave(struct search *s, const struct directory_address *group)
{
	struct directory_group g;

	TRY(group_get(s->d, directory_address_key(s->arena, group->local, group->domain), s->arena, &g));
	return g.may_leave ? ERR_OK : ERR_DENIED;
}

/* He is taken out of the group that he is in, and that may be one within the one whose mail he does not want any more: staff that is in "news"
 * as a whole. Then he would be out of that too, so it has to allow it as well. */
static enum err leave(struct search *s, const struct directory_address *named)
{
	TRY(may_leave(s, named));
	TRY(may_leave(s, &s->group));
	return name_targets_remove(s->d, &s->group, &s->member, 1, &(size_t){ 0 });
}

static enum err note_bounce(struct search *s, int64_t now_s, struct list_order_result *out)
{
	struct directory_bounce b;

	TRY(group_bounced(s->d, s->name.key, &s->member, s->r->reason, now_s, s->arena, &b));
	out->days = b.days;
	out->reason = b.reason;
	out->is_report_due = b.days >= LIST_REPORT_DAYS && !b.is_reported;
	return out->is_report_due ? group_bounce_reported(s->d, s->name.key, &s->member) : ERR_OK;
}

enum err list_order_run(struct directory *d, const struct list_order_request *r, int64_t now_s, struct arena *a, struct list_order_result *out)
{
	struct search s = { .d = d, .r = r, .arena = a };
	struct directory_address named;

	*out = (struct list_order_result){ 0 };
	if (!directory_address_parse(r->what.group, a, &named))
		return ERR_NOTFOUND;
	TRY(directory_srs_key(d, a, &s.key));
	enum err e = search(&s, &named, 0);
	map_free(&s.seen);
	TRY(e);
	out->member = directory_address_text(a, &s.member);
	out->group = s.name.address;
	out->reason = STR("");
	TRY(r->what.order == LIST_LEAVE ? leave(&s, &named) : note_bounce(&s, now_s, out));
	log_info("%s group=" STR_FMT " member=" STR_FMT " days=%u reason=" STR_FMT, r->what.order == LIST_LEAVE ? "a member has left" : "mail came back",
	         STR_ARG(out->group), STR_ARG(out->member), out->days, STR_ARG(out->reason));
	return ERR_OK;
}

/* ------------------------------------------------------------------------------------------------------------ encoding */

void list_order_put_request(const struct list_order_request *r, struct buf *out)
{
	put_u8(out, (uint8_t)r->what.order);
	put_str(out, r->what.group);
	put_str(out, r->what.token);
	put_u64(out, r->account);
	put_str(out, r->member);
	put_str(out, str_sub(r->reason, 0, GROUP_REASON_MAX));
}

bool list_order_get_request(struct str bytes, struct list_order_request *out)
{
	struct scan s = scan_of(bytes);

	*out = (struct list_order_request){ .what = { .order = (enum list_order)get_u8(&s) } };
	out->what.group = get_str(&s, ADDRESS_KEY_MAX);
	out->what.token = get_str(&s, LIST_TOKEN_CHARS);
	out->account = get_u64(&s);
	out->member = get_str(&s, ADDRESS_KEY_MAX);
	out->reason = get_str(&s, GROUP_REASON_MAX);
	return get_end(&s) && (out->what.order == LIST_LEAVE || out->what.order == LIST_BOUNCE) &&
	       (out->what.token.n == 0 || out->what.token.n == LIST_TOKEN_CHARS);
}

void list_order_put_result(const struct list_order_result *r, struct buf *out)
{
	put_str(out, r->member);
	put_str(out, r->group);
	put_bool(out, r->is_report_due);
	put_u32(out, r->days);
	put_str(out, str_sub(r->reason, 0, GROUP_REASON_MAX));
}

bool list_order_get_result(struct str bytes, struct list_order_result *out)
{
	struct scan s = scan_of(bytes);

	*out = (struct list_order_result){ .member = get_str(&s, ADDRESS_KEY_MAX) };
	out->group = get_str(&s, ADDRESS_KEY_MAX);
	out->is_report_due = get_bool(&s);
	out->days = get_u32(&s);
	out->reason = get_str(&s, GROUP_REASON_MAX);
	return get_end(&s);
}
