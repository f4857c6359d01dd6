/* Reading the look-up memfd.
 *
 * Everything is checked once when it is opened: counts against the size, every offset, kind and string, that the accounts are
 * sorted and that each slot names a row. After that a look-up is: fold into a buffer, one hash, a slot or two, a comparison.
 * control is trusted more than a stranger, but a role that crashes on a wrong byte would crash in every process at once. */
#include "directory/lookup_private.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "directory/address.h"
#include "directory/directory.h"
#include "ipc/channel.h"
#include "smtp/srs.h"

static bool text_fits(const struct lookup *l, struct text_at t) { return t.offset <= l->h.strings && t.length <= l->h.strings - t.offset; }

static bool read_route(const struct lookup *l, const struct lookup_name_row *row, struct route *out)
{
	struct scan s = scan_of(lookup_text(l, LOOKUP_ROW(l, targets, struct lookup_target_row, row->first_target).remote));

	*out = get_route(&s);
	return get_end(&s);
}

static bool has_route(const struct lookup *l, const struct lookup_name_row *row)
{
	struct route r;
	return row->target_count == 1 && LOOKUP_ROW(l, targets, struct lookup_target_row, row->first_target).account_row == 0 && read_route(l, row, &r);
}

static bool check_issuers(const struct lookup *l)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct issuer *list;

	return text_fits(l, l->h.issuers) && (l->h.issuers.length == 0 || lookup_issuers(l, &a, &list) > 0);
}

static bool has_group(const struct lookup *l, const struct lookup_name_row *row)
{
	return row->group > 0 && row->group <= l->h.groups && LOOKUP_ROW(l, groups, struct lookup_group_row, row->group - 1).leavers <= row->target_count;
}

static bool check_rows(const struct lookup *l)
{
	uint64_t last = 0;

	for (uint32_t i = 0; i < l->h.accounts; i++) {
		struct lookup_account_row r = LOOKUP_ROW(l, accounts, struct lookup_account_row, i);
		if (r.account <= last || r.flags & ~(uint32_t)ACCOUNT_FLAGS || !text_fits(l, r.address) || !text_fits(l, r.source))
			return false;
		last = r.account;
	}
	for (uint32_t i = 0; i < l->h.targets; i++) {
		struct lookup_target_row r = LOOKUP_ROW(l, targets, struct lookup_target_row, i);
		bool is_text = r.account_row == 0 || r.account_row == (uint32_t)TARGET_IS_GROUP;
		if ((r.account_row > l->h.accounts && !is_text) || !text_fits(l, r.remote) || (is_text && r.remote.length == 0))
			return false;
	}
	for (uint32_t i = 0; i < l->h.names; i++) {
		struct lookup_name_row r = LOOKUP_ROW(l, names, struct lookup_name_row, i);
		if (r.kind == 0 || r.kind >= LOOKUP_NAME_KINDS || !text_fits(l, r.key) || r.first_target > l->h.targets ||
		    r.target_count > l->h.targets - r.first_target || r.target_count > LOOKUP_TARGETS_MAX ||
		    (r.kind == LOOKUP_NAME_GROUP ? !has_group(l, &r) : r.sts > MTA_STS_ENFORCE))
			return false;
		if ((r.kind == LOOKUP_NAME_OWN || r.kind == LOOKUP_NAME_PRINTER) &&
		    (r.target_count != 1 || !lookup_is_account(LOOKUP_ROW(l, targets, struct lookup_target_row, r.first_target).account_row)))
			return false;
		if (r.kind == LOOKUP_NAME_ROUTE && !has_route(l, &r))
			return false;
	}
	for (uint32_t i = 0; i < l->h.groups; i++) {
		struct lookup_group_row r = LOOKUP_ROW(l, groups, struct lookup_group_row, i);
		if (!text_fits(l, r.address) || !text_fits(l, r.title) || r.post >= GROUP_POSTS || r.flags & ~(uint32_t)GROUP_FLAGS ||
		    r.first_poster > l->h.targets || r.poster_count > l->h.targets - r.first_poster || r.poster_count > LOOKUP_TARGETS_MAX)
			return false;
	}
	uint32_t used = 0;
	for (uint32_t i = 0; i < l->h.slots; i++) {
		uint32_t slot = LOOKUP_ROW(l, slots, uint32_t, i);
		if (slot > l->h.names)
			return false;
		used += slot != 0;
	}
	return used < l->h.slots;  /* an empty slot ends every search */
}

static bool check(struct lookup *l)
{
	const struct lookup_header *h = &l->h;
	uint64_t need = sizeof *h;

	if (l->bytes.n < sizeof *h)
		return false;
	memcpy(&l->h, l->bytes.p, sizeof *h);
	if (h->magic != LOOKUP_MAGIC || h->slots == 0 || (h->slots & (h->slots - 1)) != 0)
		return false;
	l->accounts = l->bytes.p + need;
	need += (uint64_t)h->accounts * sizeof(struct lookup_account_row);
	if (need > l->bytes.n)
		return false;
	l->slots = l->bytes.p + need;
	need += (uint64_t)h->slots * sizeof(uint32_t);
	if (need > l->bytes.n)
		return false;
	l->names = l->bytes.p + need;
	need += (uint64_t)h->names * sizeof(struct lookup_name_row);
	if (need > l->bytes.n)
		return false;
	l->targets = l->bytes.p + need;
	need += (uint64_t)h->targets * sizeof(struct lookup_target_row);
	if (need > l->bytes.n)
		return false;
	l->groups = l->bytes.p + need;
	need += (uint64_t)h->groups * sizeof(struct lookup_group_row);
	if (need > l->bytes.n || l->bytes.n - need != h->strings)
		return false;
	l->strings = l->bytes.p + need;
	return text_fits(l, h->hostname) && text_fits(l, h->first_domain) && text_fits(l, h->conf) && text_fits(l, h->srs_key) && check_rows(l) &&
	       check_issuers(l);
}

enum err lookup_read(struct str bytes, struct lookup **out)
{
	struct lookup *l = MEM_NEW(struct lookup);
	struct scan s;

	l->bytes = bytes;
	atomic_store(&l->owners, 1);
	if (!check(l))
		goto bad;
	l->conf = conf_new();
	s = scan_of(lookup_text(l, l->h.conf));
	if (!conf_decode(l->conf, &s) || !get_end(&s))
		goto bad;
	l->hostname = lookup_text(l, l->h.hostname);
	if (l->hostname.n == 0)
		goto bad;
	l->srs_key = lookup_text(l, l->h.srs_key);
	l->separator = conf_text(l->conf, SETTING_address_separator).n ? conf_text(l->conf, SETTING_address_separator).p[0] : '\0';
	*out = l;
	return ERR_OK;
bad:
	lookup_close(l);
	return ERR_INVALID;
}

enum err lookup_open(int fd, struct lookup **out)
{
	struct str mapped;

	TRY(memfd_map(fd, LOOKUP_BYTES_MAX, &mapped));
	if (lookup_read(mapped, out) != ERR_OK) {
		log_error("the directory that was sent is malformed size_bytes=%zu", mapped.n);
		memfd_unmap(mapped);
		return ERR_INVALID;
	}
	(*out)->mapped = mapped;
	return ERR_OK;
}

void lookup_close(struct lookup *l)
{
	if (l == NULL || atomic_fetch_sub(&l->owners, 1) > 1)
		return;
	conf_free(l->conf);
	if (l->mapped.p)
		memfd_unmap(l->mapped);
	mem_free(l);
}

struct lookup *lookup_share(const struct lookup *l)
{
	struct lookup *shared = (struct lookup *)(uintptr_t)l;  /* nothing but the count of its owners ever changes */

	atomic_fetch_add(&shared->owners, 1);
	return shared;
}

enum err lookup_replace(struct lookup **l, struct message *m)
{
	struct scan s = scan_of(m->body);
	uint64_t version = get_u64(&s);
	struct lookup *fresh;

	if (!get_end(&s) || m->fd_count != 1)
		return ERR_INVALID;
	TRY(lookup_open(m->fds[0], &fresh));
	if (fresh->h.version != version) {
		lookup_close(fresh);
		return ERR_INVALID;
	}
	lookup_close(*l);
	*l = fresh;
	return ERR_OK;
}

uint64_t lookup_version(const struct lookup *l) { return l->h.version; }
const struct conf *lookup_conf(const struct lookup *l) { return l->conf; }
struct str lookup_hostname(const struct lookup *l) { return l->hostname; }
bool lookup_has_issuers(const struct lookup *l) { return l->h.issuers.length > 0; }

size_t lookup_issuers(const struct lookup *l, struct arena *a, struct issuer **out)
{
	struct scan s = scan_of(lookup_text(l, l->h.issuers));
	size_t n = 0;

	*out = arena_array(a, ISSUERS_MAX, sizeof **out);
	for (; !scan_done(&s) && n < ISSUERS_MAX; n++) {
		(*out)[n] = get_issuer(&s, a);
		(*out)[n].source.is_fetched = get_bool(&s);
	}
	return get_end(&s) ? n : 0;
}

uint64_t lookup_issuers_mark(const struct lookup *l) { return str_hash_keyed(lookup_text(l, l->h.issuers), 0, 0); }

bool lookup_scram(const struct lookup *l) { return conf_on(l->conf, SETTING_scram); }

bool lookup_find(const struct lookup *l, struct str key, struct lookup_name_row *out)
{
	uint64_t hash = lookup_hash(l->h.seed, key);

	for (uint32_t at = (uint32_t)hash & (l->h.slots - 1);; at = (at + 1) & (l->h.slots - 1)) {
		uint32_t slot = LOOKUP_ROW(l, slots, uint32_t, at);
		if (slot == 0)
			return false;
		*out = LOOKUP_ROW(l, names, struct lookup_name_row, slot - 1);
		if (out->hash == hash && str_eq(lookup_text(l, out->key), key))
			return true;
	}
}

static bool find_domain(const struct lookup *l, struct str domain, struct lookup_name_row *out)
{
	char key[ADDRESS_DOMAIN_MAX + 1];

	if (domain.n > ADDRESS_DOMAIN_MAX)
		return false;
	key[0] = '@';
	memcpy(key + 1, domain.p, domain.n);
	return lookup_find(l, str_make(key, domain.n + 1), out) && out->kind == LOOKUP_NAME_DOMAIN;
}

bool lookup_domain(const struct lookup *l, struct str domain)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct lookup_name_row row;
	struct str spelled;

	return directory_domain_parse(domain, &a, &spelled) && find_domain(l, spelled, &row);
}

bool lookup_domain_sts(const struct lookup *l, struct str domain, enum mta_sts_mode *out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct lookup_name_row row;
	struct str spelled;

	if (!directory_domain_parse(domain, &a, &spelled) || !find_domain(l, spelled, &row))
		return false;
	*out = (enum mta_sts_mode)row.sts;
	return true;
}

static void fill_account(const struct lookup *l, uint32_t index, struct lookup_account *out)
{
	struct lookup_account_row r = LOOKUP_ROW(l, accounts, struct lookup_account_row, index);

	*out = (struct lookup_account){
		.account = r.account, .epoch = r.epoch, .rights = r.rights, .message_size_max = r.message_size_max,
		.is_suspended = r.flags & ACCOUNT_SUSPENDED, .is_full = r.flags & ACCOUNT_FULL,
		.full_is_temporary = r.flags & ACCOUNT_FULL_TEMPORARY, .french = r.flags & ACCOUNT_FRENCH, .is_stopped = r.flags & ACCOUNT_STOPPED,
		.address = lookup_text(l, r.address),
	};
}

static bool find_account(const struct lookup *l, uint64_t account, uint32_t *index)
{
	uint32_t low = 0, high = l->h.accounts;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		uint64_t here = LOOKUP_ROW(l, accounts, struct lookup_account_row, middle).account;
		if (here == account) {
			*index = middle;
			return true;
		}
		if (here < account)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

bool lookup_account(const struct lookup *l, uint64_t account, struct lookup_account *out)
{
	uint32_t index;

	if (!find_account(l, account, &index))
		return false;
	fill_account(l, index, out);
	return true;
}

void lookup_source(const struct lookup *l, uint64_t account, struct str *ipv4, struct str *ipv6)
{
	uint32_t index;

	*ipv4 = conf_text(l->conf, SETTING_source_ipv4);
	*ipv6 = conf_text(l->conf, SETTING_source_ipv6);
	if (!find_account(l, account, &index))
		return;
	struct str own = lookup_text(l, LOOKUP_ROW(l, accounts, struct lookup_account_row, index).source);
	if (own.n > 0)
		str_cut(own, ' ', ipv4, ipv6);
}

static bool only_account(const struct lookup *l, struct str key, enum lookup_name kind, struct lookup_account *out)
{
	struct lookup_name_row row;

	if (key.n == 0 || !lookup_find(l, key, &row) || row.kind != kind)
		return false;
	fill_account(l, LOOKUP_ROW(l, targets, struct lookup_target_row, row.first_target).account_row - 1, out);
	return true;
}

bool lookup_login(const struct lookup *l, struct str login, struct lookup_account *out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct directory_address x;
	struct str name = login, domain = lookup_text(l, l->h.first_domain);

	if (login.n > ADDRESS_TEXT_MAX)
		return false;
	if (str_chr(login, '@') < 0 && l->h.domains == 1)
		name = arena_printf(&a, STR_FMT "@" STR_FMT, STR_ARG(login), STR_ARG(domain));
	return directory_address_parse(name, &a, &x) &&
	       only_account(l, directory_address_key(&a, x.local, x.domain), LOOKUP_NAME_OWN, out);
}

bool lookup_printer(const struct lookup *l, struct str ip, struct lookup_account *out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str spelled;

	return printer_ip(ip, &a, &spelled) && only_account(l, arena_printf(&a, "!" STR_FMT, STR_ARG(spelled)), LOOKUP_NAME_PRINTER, out);
}

struct lookup_target lookup_target_at(const struct lookup *l, uint32_t i)
{
	struct lookup_target_row t = LOOKUP_ROW(l, targets, struct lookup_target_row, i);
	struct lookup_account x;

	if (!lookup_is_account(t.account_row))
		return (struct lookup_target){ .remote = lookup_text(l, t.remote), .is_group = t.account_row == (uint32_t)TARGET_IS_GROUP };
	fill_account(l, t.account_row - 1, &x);
	return (struct lookup_target){ .account = x.account, .is_suspended = x.is_suspended, .is_full = x.is_full,
	                               .full_is_temporary = x.full_is_temporary };
}

void lookup_list_targets(const struct lookup *l, uint32_t first, uint32_t n, struct arena *a, struct lookup_target **out)
{
	*out = arena_array(a, n, sizeof **out);
	for (uint32_t i = 0; i < n; i++)
		(*out)[i] = lookup_target_at(l, first + i);
}

static void only_target(struct lookup_target t, struct arena *a, struct lookup_result *out)
{
	out->kind = LOOKUP_FOUND;
	out->n = 1;
	out->targets = ARENA_NEW(a, struct lookup_target);
	out->targets[0] = t;
}

static void fill_targets(const struct lookup *l, const struct lookup_name_row *row, struct arena *a, struct lookup_result *out)
{
	out->kind = row->target_count ? LOOKUP_FOUND : LOOKUP_UNKNOWN;
	if (row->target_count > 0 && row->kind == LOOKUP_NAME_GROUP) {
		struct lookup_group_row g = LOOKUP_ROW(l, groups, struct lookup_group_row, row->group - 1);
		only_target((struct lookup_target){ .remote = lookup_text(l, g.address), .is_group = true }, a, out);
		return;
	}
	out->n = row->target_count;
	lookup_list_targets(l, row->first_target, row->target_count, a, &out->targets);
}

/* A bounce to an address that lookup_forward_sender() made goes on to who is in it. The part before the "@" counts as it was written. */
static bool resolve_forwarded(const struct lookup *l, struct str address, struct arena *a, struct lookup_result *out)
{
	struct str original, local = str_sub(address, 0, (size_t)str_rchr(address, '@'));

	if (!srs_is(local) || !srs_reverse(l->srs_key, local, clock_wall_s(), a, &original))
		return false;
	only_target((struct lookup_target){ .remote = original }, a, out);
	out->is_for_bounces = true;
	return true;
}

/* What comes to such an address is for the server itself: a bounce, or a member who leaves. */
static bool resolve_list_order(const struct lookup *l, struct str address, struct arena *a, struct lookup_result *out)
{
	struct list_address x;

	if (!lookup_list_order(l, address, a, &x))
		return false;
	only_target((struct lookup_target){ .remote = address, .order = x.order }, a, out);
	return true;
}

struct str lookup_forward_mark(const struct lookup *l, struct str alias, struct arena *a) { return forward_mark(l->srs_key, alias, a); }

struct str lookup_forward_sender(const struct lookup *l, struct str sender, struct arena *a)
{
	struct str domain = lookup_text(l, l->h.first_domain);
	ptrdiff_t at = str_rchr(sender, '@');

	if (at < 0 || domain.n == 0 || lookup_domain(l, str_from(sender, (size_t)at + 1)))
		return sender;
	return srs_forward(l->srs_key, sender, domain, clock_wall_s(), a);
}

/* ---- routes ---- */

static bool find_route(const struct lookup *l, struct str pattern, struct route *out)
{
	char key[ROUTE_PATTERN_MAX + 1] = "~";
	struct lookup_name_row row;

	if (pattern.n > ROUTE_PATTERN_MAX)
		return false;
	memcpy(key + 1, pattern.p, pattern.n);
	return lookup_find(l, str_make(key, pattern.n + 1), &row) && row.kind == LOOKUP_NAME_ROUTE && read_route(l, &row, out);
}

/* "mail.example.net": "mail.example.net", ".example.net", ".net". */
static bool find_narrowest(const struct lookup *l, struct str domain, struct route *out)
{
	ptrdiff_t dot;

	if (find_route(l, domain, out))
		return true;
	for (size_t at = 1; (dot = str_chr(str_from(domain, at), '.')) >= 0; at += (size_t)dot + 1)
		if (find_route(l, str_from(domain, at + (size_t)dot), out))
			return true;
	return false;
}

bool lookup_route(const struct lookup *l, struct str domain, struct route *out)
{
	struct lookup_name_row row;
	bool is_found = false;

	if (l->h.routes_mark == 0)
		return false;
	if (find_domain(l, domain, &row))
		is_found = find_route(l, domain, out);
	else if (str_starts(domain, STR("[")))
		is_found = find_route(l, STR("*"), out);
	else
		is_found = find_narrowest(l, domain, out) || find_route(l, STR("*"), out);
	return is_found && out->host.n > 0;
}

uint64_t lookup_routes_mark(const struct lookup *l) { return l->h.routes_mark; }

/* What nobody here has, of a domain whose other mailboxes are somewhere else. */
static bool resolve_routed(const struct lookup *l, struct str address, struct str domain, struct arena *a, struct lookup_result *out)
{
	struct route r;

	if (!lookup_route(l, domain, &r))
		return false;
	out->kind = LOOKUP_FOUND;
	out->n = 1;
	out->targets = ARENA_NEW(a, struct lookup_target);
	out->targets[0].remote = str_copy(a, address);
	return true;
}

enum lookup_kind lookup_resolve(const struct lookup *l, struct str address, struct arena *a, struct lookup_result *out)
{
	struct directory_address x;
	struct lookup_name_row domain, row;
	ptrdiff_t cut;

	*out = (struct lookup_result){ .kind = LOOKUP_INVALID };
	if (str_ieq(address, STR("postmaster")))  /* RFC 5321 §4.5.1 */
		address = arena_printf(a, "postmaster@" STR_FMT, STR_ARG(lookup_text(l, l->h.first_domain)));
	if (!directory_address_parse(address, a, &x))
		return out->kind;
	if (x.is_literal || !find_domain(l, x.domain, &domain))
		return out->kind = LOOKUP_FOREIGN;
	if (lookup_find(l, directory_address_key(a, x.local, x.domain), &row)) {
		fill_targets(l, &row, a, out);
		return out->kind;
	}
	if (resolve_forwarded(l, address, a, out) || resolve_list_order(l, address, a, out))
		return out->kind;
	cut = l->separator ? str_chr(x.local, l->separator) : -1;
	if (cut > 0 && lookup_find(l, directory_address_key(a, str_sub(x.local, 0, (size_t)cut), x.domain), &row)) {
		out->detail = str_from(x.local, (size_t)cut + 1);
		fill_targets(l, &row, a, out);
		return out->kind;
	}
	if (resolve_routed(l, address, x.domain, a, out))
		return out->kind;
	out->is_catch_all = true;
	fill_targets(l, &domain, a, out);  /* or unknown */
	return out->kind;
}
