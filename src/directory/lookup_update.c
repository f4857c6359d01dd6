/* The next look-up memfd from the one before it.
 *
 * Building reads every account and every name and sorts them: 5 µs each, which thousands of accounts that are made one after the other pay
 * for all those before. But most changes concern one account: it is made, suspended, full. Then its row changes, or a row, a name and a
 * target come behind the others, and the rest is copied: 0.1 µs an account.
 *
 * A new account can mean more than its own rows: an alias that led nowhere leads to it, it is the first of its domain, so postmaster@
 * is its. Whatever is not certainly its own rows alone is ERR_CONFLICT here, and everything is built. */
#include "base/bytes.h"
#include "directory/directory_private.h"
#include "directory/lookup_private.h"
#include <string.h>

struct update {
	struct directory     *d;
	const struct lookup  *old;
	struct arena          arena;
	struct conf          *conf;
	struct str           *catch_alls;
	size_t                catch_all_count;
	struct buf            accounts, names, targets, strings;
	struct lookup_header  h;
};

static struct lookup_account_row account_at(const struct update *u, uint32_t i)
{
	struct lookup_account_row row;

	memcpy(&row, u->accounts.p + i * sizeof row, sizeof row);
	return row;
}

/* The place of the account in the table, or where it would be. */
static uint32_t place_of(const struct update *u, uint64_t account)
{
	uint32_t low = 0, high = u->h.accounts;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (account_at(u, middle).account < account)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct text_at add_text(struct update *u, struct str s)
{
	struct text_at t = { (uint32_t)u->strings.n, (uint32_t)s.n };

	buf_add(&u->strings, s);
	return t;
}

/* Does this text name the address with this key, or one with something behind its separator? */
static bool leads_to(struct update *u, struct str text, struct str key)
{
	struct str local = str_sub(key, 0, (size_t)str_rchr(key, '@'));
	struct directory_address x;

	if (!directory_address_parse(text, &u->arena, &x))
		return false;
	struct str other = directory_address_key(&u->arena, x.local, x.domain);
	return str_eq(other, key) || (u->old->separator && str_starts(other, local) && other.n > local.n && other.p[local.n] == u->old->separator);
}

/* ERR_CONFLICT: it is more than an account and its name. */
static enum err check_new(struct update *u, const struct directory_account *x, const struct directory_address *address, struct str key)
{
	struct lookup_name_row there;
	bool is_target, has_older;
	uint64_t names;

	if (lookup_find(u->old, key, &there) || leads_to(u, conf_text(u->conf, SETTING_administrator), key))
		return ERR_CONFLICT;
	for (size_t i = 0; i < u->catch_all_count; i++)
		if (leads_to(u, u->catch_alls[i], key))
			return ERR_CONFLICT;
	TRY(name_is_target(u->d, key, u->old->separator, &is_target));
	TRY(domain_has_older(u->d, address->domain, x->account, &has_older));
	TRY(name_count(u->d, x->account, &names));
	return is_target || !has_older || names != 1 ? ERR_CONFLICT : ERR_OK;
}

static enum err add_account(struct update *u, const struct directory_account *x, struct lookup_account_row *row)
{
	struct directory_address address;

	if (u->h.accounts > 0 && account_at(u, u->h.accounts - 1).account > x->account)
		return ERR_CONFLICT;
	if (!directory_address_parse(x->address, &u->arena, &address))
		return ERR_CONFLICT;
	struct str key = directory_address_key(&u->arena, address.local, address.domain);
	TRY(check_new(u, x, &address, key));
	struct lookup_target_row target = { .account_row = ++u->h.accounts };
	struct lookup_name_row name = { .hash = lookup_hash(u->h.seed, key), .key = add_text(u, key), .kind = LOOKUP_NAME_OWN,
	                                .first_target = u->h.targets++, .target_count = 1 };
	row->address = add_text(u, x->address);
	buf_add_bytes(&u->accounts, row, sizeof *row);
	buf_add_bytes(&u->targets, &target, sizeof target);
	buf_add_bytes(&u->names, &name, sizeof name);
	u->h.names++;
	return ERR_OK;
}

static enum err bring_up_to_date(struct update *u, uint64_t account)
{
	uint32_t place = place_of(u, account);
	bool is_there = place < u->h.accounts && account_at(u, place).account == account;
	struct directory_account x;
	struct str source;
	enum err e = account_get(u->d, account, &u->arena, &x);

	if (e != ERR_OK && e != ERR_NOTFOUND)
		return e;
	if (e == ERR_NOTFOUND || x.deleted_s != 0)
		return is_there ? ERR_CONFLICT : ERR_OK;  /* one that is being made is not there yet */
	struct lookup_account_row row = { .account = account, .epoch = x.epoch, .rights = UINT32_MAX };
	TRY(lookup_fill_account(u->d, u->conf, &x, &row, &u->arena, &source));
	row.source = add_text(u, source);
	if (!is_there)
		return add_account(u, &x, &row);
	row.address = account_at(u, place).address;
	memcpy(u->accounts.p + place * sizeof row, &row, sizeof row);
	return ERR_OK;
}

static enum err update(struct update *u, const uint64_t *changed, size_t n, struct buf *out)
{
	const struct lookup *old = u->old;

	TRY(directory_conf(u->d, &u->conf));
	TRY(domain_catch_alls(u->d, &u->arena, &u->catch_alls, &u->catch_all_count));
	buf_add_bytes(&u->accounts, old->accounts, (size_t)(old->slots - old->accounts));
	buf_add_bytes(&u->names, old->names, (size_t)(old->targets - old->names));
	buf_add_bytes(&u->targets, old->targets, (size_t)(old->groups - old->targets));
	buf_add_bytes(&u->strings, old->strings, old->h.strings);
	for (size_t i = 0; i < n; i++)
		TRY(bring_up_to_date(u, changed[i]));
	u->h.slots = lookup_slots_for(u->h.names);
	u->h.strings = (uint32_t)u->strings.n;
	buf_add_bytes(out, &u->h, sizeof u->h);
	buf_add(out, buf_str(&u->accounts));
	lookup_put_slots(buf_str(&u->names), u->h.slots, out);
	buf_add(out, buf_str(&u->names));
	buf_add(out, buf_str(&u->targets));
	buf_add_bytes(out, old->groups, (size_t)(old->strings - old->groups));
	buf_add(out, buf_str(&u->strings));
	return out->failed || u->accounts.failed || u->names.failed || u->targets.failed || u->strings.failed ? ERR_LIMIT : ERR_OK;
}

enum err lookup_update(struct directory *d, const struct lookup *old, uint64_t version, struct buf *out)
{
	uint64_t changed[CHANGES_KEPT];
	size_t n;

	if (old == NULL || !directory_changed_accounts(d, lookup_version(old), changed, &n))
		return lookup_build(d, version, out);
	struct update u = { .d = d, .old = old, .accounts = BUF(LOOKUP_BYTES_MAX), .names = BUF(LOOKUP_BYTES_MAX), .targets = BUF(LOOKUP_BYTES_MAX),
	                    .strings = BUF(LOOKUP_BYTES_MAX), .h = old->h };
	u.h.version = version;
	enum err e = update(&u, changed, n, out);

	conf_free(u.conf);
	buf_free(&u.accounts);
	buf_free(&u.names);
	buf_free(&u.targets);
	buf_free(&u.strings);
	arena_free(&u.arena);
	if (e != ERR_CONFLICT)
		return e;
	buf_reset(out);
	return lookup_build(d, version, out);
}
