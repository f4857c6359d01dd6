/* control's side of ACCOUNT_INFO and RESOLVE. An account may send from its own addresses and from aliases that lead to it
 * directly; not from groups, where a mail in the group's name would be everybody's. */
#include "directory/info.h"
#include "directory/directory.h"

enum { SENDERS_BYTES_MAX = 40000 };

static bool leads_to(const struct directory_name *alias, const struct directory_account *x, struct arena *a)
{
	struct directory_address target, own;

	for (size_t i = 0; i < alias->target_count; i++)
		if (directory_address_parse(alias->targets[i], a, &target) && directory_address_parse(x->address, a, &own) &&
		    str_eq(directory_address_key(a, target.local, target.domain), directory_address_key(a, own.local, own.domain)))
			return true;
	return false;
}

static enum err put_senders(struct directory *d, const struct directory_account *x, struct arena *a, struct buf *answer)
{
	struct directory_name *names;
	size_t n, count = 0, bytes = 0;
	struct str *senders = arena_array(a, INFO_ADDRESSES_MAX, sizeof *senders);

	TRY(name_list(d, 0, a, &names, &n));
	senders[count++] = x->address;
	for (size_t i = 0; i < n && count < INFO_ADDRESSES_MAX && bytes < SENDERS_BYTES_MAX; i++) {
		if ((names[i].kind == NAME_FURTHER && names[i].account == x->account) || (names[i].kind == NAME_ALIAS && leads_to(&names[i], x, a))) {
			senders[count++] = names[i].address;
			bytes += names[i].address.n + 4;
		}
	}
	put_u32(answer, (uint32_t)count);
	for (size_t i = 0; i < count; i++)
		put_str(answer, senders[i]);
	return ERR_OK;
}

enum err account_info_serve(struct directory *d, struct str request, struct buf *answer)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct scan s = scan_of(request);
	uint64_t account = get_u64(&s);
	struct directory_account x;
	struct str hostname;
	struct conf *conf;
	enum err e;

	if (!get_end(&s))
		return ERR_INVALID;
	TRY(account_get(d, account, &a, &x));
	TRY(directory_account_conf(d, account, x.address, &conf));
	e = directory_hostname(d, conf, &a, &hostname);
	put_u64(answer, account);
	put_str(answer, x.address);
	put_str(answer, x.name);
	put_str(answer, hostname);
	put_bool(answer, x.french);
	put_bool(answer, x.is_suspended);
	put_u32(answer, x.epoch);
	put_u64(answer, conf_number(conf, SETTING_quota));
	put_u64(answer, conf_number(conf, SETTING_message_size_max));
	if (e == ERR_OK)
		e = put_senders(d, &x, &a, answer);
	conf_encode(conf, answer);
	conf_free(conf);
	return e == ERR_OK && answer->failed ? ERR_LIMIT : e;
}

enum err resolve_serve(const struct lookup *l, struct str request, struct buf *answer)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct scan s = scan_of(request);
	struct str address = get_str(&s, 1000);
	struct lookup_result r;
	bool full = true, suspended = true, temporary = false;

	if (!get_end(&s))
		return ERR_INVALID;
	lookup_resolve(l, address, &a, &r);
	for (size_t i = 0; i < r.n; i++) {
		full = full && r.targets[i].is_full;
		suspended = suspended && r.targets[i].is_suspended;
		temporary = temporary || r.targets[i].full_is_temporary;
	}
	put_u8(answer, (uint8_t)r.kind);
	put_bool(answer, r.n > 0 && full);
	put_bool(answer, r.n > 0 && suspended);
	put_bool(answer, temporary);
	put_u32(answer, (uint32_t)r.n);
	return ERR_OK;
}
