/* The cell's side of ACCOUNT_INFO and RESOLVE: encode, ask, decode. */
#include "directory/address.h"
#include "directory/info.h"

bool get_account_info(struct scan *s, struct arena *a, struct account_info *out)
{
	*out = (struct account_info){ .account = get_u64(s), .address = str_copy(a, get_str(s, ADDRESS_KEY_MAX)) };
	out->name = str_copy(a, get_str(s, 1000));
	out->hostname = str_copy(a, get_str(s, ADDRESS_DOMAIN_MAX));
	out->french = get_bool(s);
	out->is_suspended = get_bool(s);
	out->stopped_s = get_i64(s);
	out->epoch = get_u32(s);
	out->message_size_max = get_u64(s);
	out->sender_count = get_count(s, INFO_ADDRESSES_MAX);
	out->senders = arena_array(a, out->sender_count, sizeof(struct str));
	for (size_t i = 0; i < out->sender_count && !s->failed; i++)
		out->senders[i] = str_copy(a, get_str(s, ADDRESS_KEY_MAX));
	out->domain_count = get_count(s, INFO_DOMAINS_MAX);
	out->domains = arena_array(a, out->domain_count, sizeof(uint64_t));
	for (size_t i = 0; i < out->domain_count && !s->failed; i++)
		out->domains[i] = get_u64(s);
	out->conf = conf_new();
	if (conf_decode(out->conf, s) && get_end(s))
		return true;
	account_info_free(out);
	return false;
}

enum err account_info_ask(struct channel *control, uint64_t account, int timeout_ms, struct arena *a, struct account_info *out)
{
	CLEANUP(buf_free) struct buf b = BUF(16);
	struct message answer;
	struct scan s;

	put_u64(&b, account);
	TRY(channel_call(control, REQUEST_ACCOUNT_INFO, buf_str(&b), NULL, 0, timeout_ms, a, &answer));
	s = scan_of(answer.body);
	return get_account_info(&s, a, out) ? ERR_OK : ERR_INVALID;
}

void account_info_free(struct account_info *info)
{
	conf_free(info->conf);
	info->conf = NULL;
}

bool account_info_may_send(const struct account_info *info, struct str address)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct directory_address x, own;
	struct str key, base = STR_NONE, separator = info->conf ? conf_text(info->conf, SETTING_address_separator) : STR_NONE;
	ptrdiff_t cut;

	if (!directory_address_parse(address, &a, &x))
		return false;
	key = directory_address_key(&a, x.local, x.domain);
	cut = separator.n ? str_chr(x.local, separator.p[0]) : -1;
	if (cut > 0)
		base = directory_address_key(&a, str_sub(x.local, 0, (size_t)cut), x.domain);
	for (size_t i = 0; i < info->sender_count; i++) {
		if (!directory_address_parse(info->senders[i], &a, &own))
			continue;
		struct str mine = directory_address_key(&a, own.local, own.domain);
		if (str_eq(mine, key) || (base.n && str_eq(mine, base)))
			return true;
	}
	return false;
}

uint64_t account_info_domain(struct str domain) { return str_hash_keyed(domain, 0x646f6d61696e73ULL, 1); }

bool account_info_is_elsewhere(const struct account_info *info, struct str address)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct directory_address x;

	if (info->domain_count == 0 || !directory_address_parse(address, &a, &x))
		return false;
	uint64_t domain = account_info_domain(x.domain);
	for (size_t i = 0; i < info->domain_count; i++)
		if (info->domains[i] == domain)
			return false;
	return true;
}

enum err resolve_ask(struct channel *control, struct str address, int timeout_ms, struct resolve_info *out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(1024);
	struct message answer;
	struct scan s;

	put_str(&b, address);
	if (b.failed)
		return ERR_INVALID;
	TRY(channel_call(control, REQUEST_RESOLVE, buf_str(&b), NULL, 0, timeout_ms, &a, &answer));
	s = scan_of(answer.body);
	*out = (struct resolve_info){ .kind = (enum lookup_kind)get_u8(&s) };
	out->is_full = get_bool(&s);
	out->is_suspended = get_bool(&s);
	out->full_is_temporary = get_bool(&s);
	out->targets = get_u32(&s);
	out->is_group = get_bool(&s);
	out->may_post = get_bool(&s);
	return get_end(&s) && out->kind <= LOOKUP_FOUND ? ERR_OK : ERR_INVALID;
}
