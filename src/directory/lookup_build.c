/* Writing the look-up memfd: the whole directory, with aliases and groups expanded, so that reading needs no recursion.
 *
 * Expansion walks targets depth first and enters each name once, so loops end and a target appears once. An account that
 * is deleted is not there at all. A target that is ours but unknown is dropped; one elsewhere stays as its
 * address. Of a group come first those who may leave it by themselves: who is found by way of a group that forbids that, or of an
 * alias, stays; where there are several ways the shortest counts, as it does when somebody leaves (list_order.c). postmaster@ and abuse@ of every domain lead to somebody whenever there is an account at all. */
#include "base/bytes.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "directory/directory.h"
#include "directory/lookup_private.h"
#include <stdlib.h>

enum { DEPTH_MAX = 50 };

struct build {
	struct directory         *d;
	struct arena              arena;
	struct conf              *conf;
	struct directory_domain  *domains;
	size_t                    domain_count;
	struct directory_name    *names;
	size_t                    name_count;
	struct map                by_key;         /* key -> struct directory_name */
	struct map                group_set;      /* key -> struct directory_group */
	struct map                account_rows;   /* number -> index + 1 */
	struct map                first_of;       /* domain -> lowest number of an account there that lives */
	bool                      has_administrator;   /* the setting leads to somebody */
	struct map                domain_set;
	struct directory_route   *routes;
	size_t                    route_count;
	struct map                route_set;      /* pattern -> struct directory_route */
	struct buf                accounts, rows, targets, groups, strings;
	struct lookup_header      h;
	uint64_t                  first_account;  /* lowest number that lives; 0: none */
};

static struct text_at add_text(struct build *b, struct str s)
{
	struct text_at t = { (uint32_t)b->strings.n, (uint32_t)s.n };

	buf_add(&b->strings, s);
	return t;
}

/* A server of a million accounts has few own settings: they are read only where there are some. */
enum err lookup_fill_account(struct directory *d, const struct conf *server, const struct directory_account *x, struct lookup_account_row *row,
                              struct arena *a, struct str *source)
{
	struct conf *own = NULL;
	const struct conf *c = server;
	bool plain;

	*source = STR("");
	TRY(directory_is_plain(d, x->account, x->address, &plain));
	if (!plain) {
		TRY(directory_account_conf(d, x->account, x->address, &own));
		c = own;
		*source = arena_printf(a, STR_FMT " " STR_FMT, STR_ARG(conf_text(c, SETTING_source_ipv4)), STR_ARG(conf_text(c, SETTING_source_ipv6)));
	}
	row->message_size_max = conf_number(c, SETTING_message_size_max);
	row->flags = (x->is_suspended ? ACCOUNT_SUSPENDED : 0) | (x->is_full ? ACCOUNT_FULL : 0) | (x->french ? ACCOUNT_FRENCH : 0) |
	             (conf_on(c, SETTING_over_quota_temporary) ? ACCOUNT_FULL_TEMPORARY : 0) | (x->stopped_s != 0 ? ACCOUNT_STOPPED : 0);
	conf_free(own);
	return ERR_OK;
}

static int by_number(const void *x, const void *y)
{
	const struct directory_account *a = x, *b = y;

	return a->account < b->account ? -1 : a->account > b->account;
}

static enum err add_accounts(struct build *b)
{
	struct directory_account *list;
	size_t n;

	TRY(account_list(b->d, STR(""), &b->arena, &list, &n));
	if (n > 1)
		qsort(list, n, sizeof *list, by_number);
	for (size_t i = 0; i < n; i++) {
		struct lookup_account_row row = { .account = list[i].account, .epoch = list[i].epoch, .rights = UINT32_MAX };
		struct str source;
		if (list[i].deleted_s != 0)
			continue;
		if (b->first_account == 0)
			b->first_account = list[i].account;
		row.address = add_text(b, list[i].address);
		TRY(lookup_fill_account(b->d, b->conf, &list[i], &row, &b->arena, &source));
		row.source = add_text(b, source);
		buf_add_bytes(&b->accounts, &row, sizeof row);
		map_set_u64(&b->account_rows, list[i].account, (void *)(uintptr_t)++b->h.accounts);
	}
	return ERR_OK;
}

/* The address of an account that is deleted, or only being made, is nobody's. */
static bool is_in_use(const struct build *b, const struct directory_name *name)
{
	return name->account == 0 || map_get_u64(&b->account_rows, name->account);
}

/* One list of targets under construction. */
struct expansion {
	struct build *b;
	bool          is_list;    /* more than one target is possible */
	bool          stops_at_groups;   /* a group is one target: what goes to it is a list's mail, however it is called */
	bool          has_no_roles;      /* postmaster@ and abuse@ lead nowhere unless somebody made them */
	struct map    seen;       /* keys of names and remotes, numbers of accounts */
	bool          stays;      /* who is found now may not leave by himself */
	struct buf    staying;    /* targets */
	uint32_t      first, n;   /* n: with those who stay */
};

static void put_target(struct expansion *e, const struct lookup_target_row *row)
{
	if (e->n == LOOKUP_TARGETS_MAX)
		return;
	buf_add_bytes(e->stays ? &e->staying : &e->b->targets, row, sizeof *row);
	e->n++;
}

static void add_target(struct expansion *e, uint64_t account, struct str remote)
{
	struct lookup_target_row row = { .account_row = account ? (uint32_t)(uintptr_t)map_get_u64(&e->b->account_rows, account) : 0 };

	if (account && row.account_row == 0)
		return;
	if (account) {
		if (e->n > 0 && map_get_u64(&e->seen, account))
			return;
		if (e->is_list)  /* else it is the only target: no table for each address of a large server */
			map_set_u64(&e->seen, account, e);
	} else {
		row.remote = add_text(e->b, remote);
	}
	put_target(e, &row);
}

/* postmaster@ and abuse@ must take everything, bounces too (RFC 5321 §4.5.1): whoever makes them groups means several people. */
static bool is_role(struct str key)
{
	struct str local = str_sub(key, 0, (size_t)str_rchr(key, '@'));

	return str_eq(local, STR("postmaster")) || str_eq(local, STR("abuse"));
}

static bool is_list(const struct directory_name *name) { return name->kind == NAME_GROUP && !is_role(name->key); }

static void follow_all(struct expansion *e, const struct directory_name *name, int depth);

static void expand_name(struct expansion *e, const struct directory_name *name, int depth)
{
	if (name->account) {
		add_target(e, name->account, STR_NONE);
		return;
	}
	if (map_get(&e->seen, name->key) || depth == DEPTH_MAX)
		return;
	map_set(&e->seen, name->key, e);
	if (e->stops_at_groups && is_list(name)) {
		struct lookup_target_row row = { .account_row = (uint32_t)TARGET_IS_GROUP, .remote = add_text(e->b, name->address) };
		put_target(e, &row);
		return;
	}
	follow_all(e, name, depth);
}

static void add_remote(struct expansion *e, struct str key, struct str address)
{
	if (map_get(&e->seen, key))
		return;
	map_set(&e->seen, key, e);
	add_target(e, 0, address);
}

/* Does what nobody here has in this domain of ours go to another server? */
static bool is_routed(const struct build *b, struct str domain)
{
	const struct directory_route *r = map_get(&b->route_set, domain);
	return r != NULL && r->route.host.n > 0;
}

/* Where one target leads, in the order they are followed. */
struct lead {
	enum lead_kind { LEAD_ONE, LEAD_GROUP, LEAD_ALIAS, LEAD_ROLE, LEAD_NOWHERE } kind;   /* ONE: an account, or an address elsewhere */
	const struct directory_name *name;   /* NULL: elsewhere; or a role that nobody made */
	struct str                   key, address;
};

static enum lead_kind kind_of(const struct directory_name *name)
{
	return name->account ? LEAD_ONE : name->kind == NAME_GROUP ? LEAD_GROUP : LEAD_ALIAS;
}

static struct lead lead_of(struct build *b, struct str address)
{
	struct lead lead = { .kind = LEAD_NOWHERE, .address = address };
	struct str separator = conf_text(b->conf, SETTING_address_separator);
	struct directory_address x;
	ptrdiff_t cut;

	if (!directory_address_parse(address, &b->arena, &x))
		return lead;
	lead.key = directory_address_key(&b->arena, x.local, x.domain);
	bool is_ours = map_get(&b->domain_set, x.domain) != NULL;
	if (is_ours)
		lead.name = map_get(&b->by_key, lead.key);
	cut = is_ours && separator.n ? str_chr(x.local, separator.p[0]) : -1;
	if (lead.name == NULL && cut > 0)
		lead.name = map_get(&b->by_key, directory_address_key(&b->arena, str_sub(x.local, 0, (size_t)cut), x.domain));
	if (lead.name != NULL)
		lead.kind = kind_of(lead.name);
	else if (is_ours && is_role(lead.key))
		lead.kind = LEAD_ROLE;
	else if (!is_ours || is_routed(b, x.domain))
		lead.kind = LEAD_ONE;
	else
		log_debug("an alias or group leads to an address that does not exist target=" STR_FMT, STR_ARG(address));
	return lead;
}

static void follow(struct expansion *e, const struct lead *lead, int depth);

/* postmaster@ (RFC 5321 §4.5.1) and abuse@ (RFC 2142 §2) of a domain where nobody made them. */
static void expand_role(struct expansion *e, struct str key, int depth)
{
	struct build *b = e->b;
	struct str domain = str_from(key, (size_t)str_rchr(key, '@') + 1);
	uint64_t first = (uint64_t)(uintptr_t)map_get(&b->first_of, domain);
	bool stayed = e->stays;

	if (e->has_no_roles || map_get(&e->seen, key) || depth == DEPTH_MAX)
		return;
	map_set(&e->seen, key, e);
	e->stays = depth > 0;  /* whoever gets the mail of a role is not a member himself */
	if (b->has_administrator) {
		struct lead lead = lead_of(b, conf_text(b->conf, SETTING_administrator));
		follow(e, &lead, depth + 1);
	} else {
		add_target(e, first ? first : b->first_account, STR_NONE);
	}
	e->stays = stayed;
}

static void follow(struct expansion *e, const struct lead *lead, int depth)
{
	if (lead->name != NULL)
		expand_name(e, lead->name, depth);
	else if (lead->kind == LEAD_ROLE)
		expand_role(e, lead->key, depth);
	else if (lead->kind == LEAD_ONE)
		add_remote(e, lead->key, lead->address);
}

static bool lets_go(const struct build *b, const struct directory_name *name)
{
	const struct directory_group *g = map_get(&b->group_set, name->key);
	return g != NULL && g->may_leave;
}

static void follow_all(struct expansion *e, const struct directory_name *name, int depth)
{
	struct lead *leads = arena_array(&e->b->arena, name->target_count, sizeof *leads);
	bool stayed = e->stays;

	e->stays = depth > 0 && !lets_go(e->b, name);
	for (size_t i = 0; i < name->target_count; i++)
		leads[i] = lead_of(e->b, name->targets[i]);
	for (enum lead_kind kind = LEAD_ONE; kind < LEAD_NOWHERE; kind++)
		for (size_t i = 0; i < name->target_count; i++)
			if (leads[i].kind == kind)
				follow(e, &leads[i], depth + 1);
	e->stays = stayed;
}

static void expand(struct expansion *e, struct str address)
{
	struct lead lead = lead_of(e->b, address);

	follow(e, &lead, 0);
}

static struct expansion expansion_begin(struct build *b, bool is_list)
{
	return (struct expansion){ .b = b, .is_list = is_list, .staying = BUF(LOOKUP_BYTES_MAX), .first = b->h.targets };
}

/* How many of its targets may leave. */
static uint32_t expansion_end(struct expansion *e)
{
	uint32_t stay = (uint32_t)(e->staying.n / sizeof(struct lookup_target_row));

	buf_add(&e->b->targets, buf_str(&e->staying));
	buf_free(&e->staying);
	map_free(&e->seen);
	e->b->h.targets += e->n;
	return e->n - stay;
}

static void add_name_row(struct build *b, struct str key, enum lookup_name kind, const struct expansion *e, uint32_t of_kind)
{
	struct lookup_name_row row = { .hash = lookup_hash(b->h.seed, key), .key = add_text(b, key), .kind = kind,
	                               .first_target = e->first, .target_count = e->n, .sts = of_kind };

	buf_add_bytes(&b->rows, &row, sizeof row);
	b->h.names++;
}

static void add_name(struct build *b, struct str key, enum lookup_name kind, const struct expansion *e) { add_name_row(b, key, kind, e, 0); }

/* What the group has besides its members. Its row is the newest one. */
static void add_group(struct build *b, const struct directory_name *name, uint32_t leavers)
{
	struct expansion posters = expansion_begin(b, true);
	const struct directory_group *g = map_get(&b->group_set, name->key);

	for (size_t i = 0; i < g->poster_count; i++)
		expand(&posters, g->posters[i]);
	(void)expansion_end(&posters);
	struct lookup_group_row row = { .address = add_text(b, name->address), .title = add_text(b, g->title), .post = g->post,
	                                .flags = (g->replies_to_group ? GROUP_REPLIES : 0) | (g->may_leave ? GROUP_MAY_LEAVE : 0), .leavers = leavers,
	                                .first_poster = posters.first, .poster_count = posters.n };
	buf_add_bytes(&b->groups, &row, sizeof row);
	b->h.groups++;
}

static void add_name_of(struct build *b, const struct directory_name *name)
{
	struct expansion e = expansion_begin(b, name->account == 0);
	bool is_group = is_list(name);

	e.stops_at_groups = name->kind == NAME_ALIAS && !is_role(name->key);
	expand_name(&e, name, 0);
	uint32_t leavers = expansion_end(&e);
	if (is_group)
		add_group(b, name, leavers);
	add_name_row(b, name->key, name->account ? LOOKUP_NAME_OWN : is_group ? LOOKUP_NAME_GROUP : LOOKUP_NAME_LIST, &e, is_group ? b->h.groups : 0);
}

static void add_names(struct build *b)
{
	for (size_t i = 0; i < b->name_count; i++)
		if (is_in_use(b, &b->names[i]))
			add_name_of(b, &b->names[i]);
}

/* Unless the administrator made them. */
static void add_role_names(struct build *b, struct str domain)
{
	static const char *const roles[] = { "postmaster", "abuse" };

	for (size_t i = 0; i < COUNT_OF(roles); i++) {
		struct str key = directory_address_key(&b->arena, str_of(roles[i]), domain);
		struct expansion e = expansion_begin(b, true);
		if (map_get(&b->by_key, key) || b->first_account == 0)  /* a server whose first account comes later */
			continue;
		expand_role(&e, key, 0);
		(void)expansion_end(&e);
		add_name(b, key, LOOKUP_NAME_LIST, &e);
	}
}

/* Does the setting lead to somebody? What it says of itself, by way of a role, does not count. */
static bool finds_administrator(struct build *b)
{
	struct expansion e = expansion_begin(b, true);
	size_t before = b->targets.n;

	e.has_no_roles = true;
	if (conf_text(b->conf, SETTING_administrator).n)
		expand(&e, conf_text(b->conf, SETTING_administrator));
	b->targets.n = before;
	buf_free(&e.staying);
	map_free(&e.seen);
	return e.n > 0;
}

static enum err domain_sts(struct build *b, struct str domain, enum mta_sts_mode *out)
{
	struct conf *c;

	TRY(directory_domain_conf(b->d, domain, &c));
	if (!mta_sts_mode_parse(conf_text(c, SETTING_mta_sts), out))
		*out = MTA_STS_NONE;
	conf_free(c);
	return ERR_OK;
}

static enum err add_domains(struct build *b)
{
	for (size_t i = 0; i < b->domain_count; i++) {
		const struct directory_domain *domain = &b->domains[i];
		enum mta_sts_mode sts;
		TRY(domain_sts(b, domain->name, &sts));
		struct expansion e = expansion_begin(b, true);
		e.stops_at_groups = true;
		if (domain->catch_all.n)
			expand(&e, domain->catch_all);
		(void)expansion_end(&e);
		add_name_row(b, arena_printf(&b->arena, "@" STR_FMT, STR_ARG(domain->name)), LOOKUP_NAME_DOMAIN, &e, sts);
		add_role_names(b, domain->name);
	}
	return ERR_OK;
}

static enum err add_printers(struct build *b)
{
	struct directory_printer *list;
	size_t n;

	TRY(printer_list(b->d, &b->arena, &list, &n));
	for (size_t i = 0; i < n; i++) {
		struct expansion e = expansion_begin(b, true);
		add_target(&e, list[i].account, STR_NONE);
		(void)expansion_end(&e);
		if (e.n)
			add_name(b, arena_printf(&b->arena, "!" STR_FMT, STR_ARG(list[i].ip)), LOOKUP_NAME_PRINTER, &e);
	}
	return ERR_OK;
}

static enum err add_issuers(struct build *b)
{
	CLEANUP(buf_free) struct buf all = BUF(LOOKUP_BYTES_MAX);
	struct issuer *list;
	size_t n;

	TRY(issuer_list(b->d, &b->arena, &list, &n));
	for (size_t i = 0; i < n; i++) {
		put_issuer(&all, &list[i]);
		put_bool(&all, list[i].source.is_fetched);
	}
	b->h.issuers = add_text(b, buf_str(&all));
	return ERR_OK;
}

static void add_routes(struct build *b)
{
	CLEANUP(buf_free) struct buf all = BUF(LOOKUP_BYTES_MAX), one = BUF(1000);

	for (size_t i = 0; i < b->route_count; i++) {
		struct expansion e = expansion_begin(b, true);
		buf_reset(&one);
		put_route(&one, &b->routes[i].route);
		put_str(&all, b->routes[i].pattern);
		put_str(&all, buf_str(&one));
		add_target(&e, 0, buf_str(&one));
		(void)expansion_end(&e);
		add_name(b, arena_printf(&b->arena, "~" STR_FMT, STR_ARG(b->routes[i].pattern)), LOOKUP_NAME_ROUTE, &e);
	}
	if (b->route_count > 0)
		b->h.routes_mark = str_hash_keyed(buf_str(&all), 1, 1) | 1;
}

uint32_t lookup_slots_for(uint32_t names)
{
	uint32_t slots = 8;

	while (slots < 2 * names)
		slots *= 2;
	return slots;
}

void lookup_put_slots(struct str rows, uint32_t n, struct buf *out)
{
	uint32_t *slots = mem_array(n, sizeof *slots);

	for (uint32_t i = 0; i < rows.n / sizeof(struct lookup_name_row); i++) {
		struct lookup_name_row row;
		memcpy(&row, rows.p + i * sizeof row, sizeof row);
		uint32_t at = (uint32_t)row.hash & (n - 1);
		while (slots[at])
			at = (at + 1) & (n - 1);
		slots[at] = i + 1;
	}
	buf_add_bytes(out, slots, n * sizeof *slots);
	mem_free(slots);
}

static enum err read_groups(struct build *b)
{
	for (size_t i = 0; i < b->name_count; i++) {
		if (b->names[i].kind != NAME_GROUP)
			continue;
		struct directory_group *g = ARENA_NEW(&b->arena, struct directory_group);
		TRY(group_get(b->d, b->names[i].key, &b->arena, g));
		map_set(&b->group_set, b->names[i].key, g);
	}
	return ERR_OK;
}

static void note_first_of_domain(struct build *b, const struct directory_name *name)
{
	struct str domain = str_from(name->key, (size_t)(str_rchr(name->key, '@') + 1));
	uint64_t first = (uint64_t)(uintptr_t)map_get(&b->first_of, domain);

	if (name->kind == NAME_MAIN && (first == 0 || name->account < first))
		map_set(&b->first_of, domain, (void *)(uintptr_t)name->account);
}

static void note_names(struct build *b)
{
	for (size_t i = 0; i < b->name_count; i++) {
		if (!is_in_use(b, &b->names[i]))
			continue;
		map_set(&b->by_key, b->names[i].key, &b->names[i]);
		note_first_of_domain(b, &b->names[i]);
	}
}

static enum err read_all(struct build *b)
{
	TRY(directory_conf(b->d, &b->conf));
	TRY(domain_list(b->d, &b->arena, &b->domains, &b->domain_count));
	TRY(name_list(b->d, 0, &b->arena, &b->names, &b->name_count));
	TRY(route_list(b->d, &b->arena, &b->routes, &b->route_count));
	for (size_t i = 0; i < b->route_count; i++)
		map_set(&b->route_set, b->routes[i].pattern, &b->routes[i]);
	for (size_t i = 0; i < b->domain_count; i++)
		map_set(&b->domain_set, b->domains[i].name, b);
	TRY(read_groups(b));
	TRY(add_accounts(b));
	note_names(b);
	b->has_administrator = finds_administrator(b);
	return ERR_OK;
}

static enum err build(struct build *b, struct buf *out)
{
	CLEANUP(buf_free) struct buf conf = BUF(CONF_ENCODED_MAX);
	struct str hostname, srs_key;

	TRY(read_all(b));
	TRY(directory_hostname(b->d, b->conf, &b->arena, &hostname));
	TRY(directory_srs_key(b->d, &b->arena, &srs_key));
	conf_encode(b->conf, &conf);
	b->h.conf = add_text(b, buf_str(&conf));
	b->h.hostname = add_text(b, hostname);
	b->h.srs_key = add_text(b, srs_key);
	b->h.domains = (uint32_t)b->domain_count;
	if (b->domain_count)
		b->h.first_domain = add_text(b, b->domains[0].name);
	add_names(b);
	TRY(add_domains(b));
	TRY(add_printers(b));
	TRY(add_issuers(b));
	add_routes(b);
	b->h.slots = lookup_slots_for(b->h.names);
	b->h.strings = (uint32_t)b->strings.n;
	buf_add_bytes(out, &b->h, sizeof b->h);
	buf_add(out, buf_str(&b->accounts));
	lookup_put_slots(buf_str(&b->rows), b->h.slots, out);
	buf_add(out, buf_str(&b->rows));
	buf_add(out, buf_str(&b->targets));
	buf_add(out, buf_str(&b->groups));
	buf_add(out, buf_str(&b->strings));
	return out->failed || b->groups.failed || b->accounts.failed || b->rows.failed || b->targets.failed || b->strings.failed || conf.failed ? ERR_LIMIT : ERR_OK;
}

enum err lookup_build(struct directory *d, uint64_t version, struct buf *out)
{
	struct build b = { .d = d, .accounts = BUF(LOOKUP_BYTES_MAX), .rows = BUF(LOOKUP_BYTES_MAX), .targets = BUF(LOOKUP_BYTES_MAX),
	                   .groups = BUF(LOOKUP_BYTES_MAX), .strings = BUF(LOOKUP_BYTES_MAX), .h = { .magic = LOOKUP_MAGIC, .version = version, .seed = random_u64() } };
	enum err e = build(&b, out);

	conf_free(b.conf);
	map_free(&b.by_key);
	map_free(&b.group_set);
	map_free(&b.account_rows);
	map_free(&b.domain_set);
	map_free(&b.route_set);
	map_free(&b.first_of);
	buf_free(&b.accounts);
	buf_free(&b.rows);
	buf_free(&b.targets);
	buf_free(&b.groups);
	buf_free(&b.strings);
	arena_free(&b.arena);
	return e;
}
