/* control's side of ACCOUNT_INFO and RESOLVE. An account may send from its own addresses and from aliases that lead to it
 * directly; not from groups, where a mail in the group's name would be everybody's. */
#include "directory/info.h"
#include "directory/directory.h"

enum { SENDERS_BYTES_MAX = 40000 };

static enum err put_senders(struct directory *d, const struct directory_account *x, struct arena *a, struct buf *answer)
{
	struct str *senders;
	size_t n, count = 0, bytes = 0;

	TRY(name_senders(d, x->account, INFO_ADDRESSES_MAX, a, &senders, &n));
	while (count < n && bytes + senders[count].n < SENDERS_BYTES_MAX)
		bytes += senders[count++].n + 4;
	put_u32(answer, (uint32_t)count);
	for (size_t i = 0; i < count; i++)
		put_str(answer, senders[i]);
	return ERR_OK;
}

/* So that a cell need not ask about everybody elsewhere; hashes, since names of other people's domains are none of its business. */
static enum err put_domains(struct directory *d, struct arena *a, struct buf *answer)
{
	struct str *names;
	size_t n;

	TRY(domain_names(d, INFO_DOMAINS_MAX + 1, a, &names, &n));
	if (n > INFO_DOMAINS_MAX)
		n = 0;
	put_u32(answer, (uint32_t)n);
	for (size_t i = 0; i < n; i++)
		put_u64(answer, account_info_domain(names[i]));
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
	put_i64(answer, x.stopped_s);
	put_u32(answer, x.epoch);
	put_u64(answer, conf_number(conf, SETTING_message_size_max));
	if (e == ERR_OK)
		e = put_senders(d, &x, &a, answer);
	if (e == ERR_OK)
		e = put_domains(d, &a, answer);
	conf_encode(conf, answer);
	conf_free(conf);
	return e == ERR_OK && answer->failed ? ERR_LIMIT : e;
}

enum err resolve_serve(const struct lookup *l, uint64_t account, struct str request, struct buf *answer)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct scan s = scan_of(request);
	struct str address = get_str(&s, 1000);
	struct lookup_result r;
	bool full = true, suspended = true, temporary = false, is_group = false, may_post = true;
	struct lookup_group g;

	if (!get_end(&s))
		return ERR_INVALID;
	lookup_resolve(l, address, &a, &r);
	for (size_t i = 0; i < r.n; i++) {
		full = full && r.targets[i].is_full;
		suspended = suspended && r.targets[i].is_suspended;
		temporary = temporary || r.targets[i].full_is_temporary;
		if (!r.targets[i].is_group || !lookup_group(l, r.targets[i].remote, &g))
			continue;
		is_group = true;
		may_post = may_post && lookup_group_may_post(l, &g, STR(""), account);
	}
	put_u8(answer, (uint8_t)r.kind);
	put_bool(answer, r.n > 0 && full);
	put_bool(answer, r.n > 0 && suspended);
	put_bool(answer, temporary);
	put_u32(answer, (uint32_t)r.n);
	put_bool(answer, is_group);
	put_bool(answer, may_post);
	return ERR_OK;
}
