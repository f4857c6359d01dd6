/* The table share, and control's side of SUBJECT, GUEST, SHARES, SHARED and SHARES_WITH.
 *
 * Whom an account shares with is told by its cell, whole, after each change (store/rights.h), and replaces what was
 * here: so the table needs no care when an address, a group or a member goes, only when the owner does. It is read
 * from the guest's side: his number, the groups he is in, and anyone. Membership is looked up when it is asked for,
 * so whoever leaves a group has lost what was shared with it at the next question. Writing it is no change of the
 * directory: nobody but a cell that asks looks at it.
 *
 * A group is known by its folded address; where there have been others of that address, by their number as well ("team@example.org#2"; no domain
 * has such a sign): what was shared with one that is gone is not shared with the next. */
#include "directory/share.h"
#include "directory/directory_private.h"

enum { ANSWER_FULL = 50000 };

/* Every group that mail to one of its own addresses can come from, through aliases and through groups in groups. */
#define GROUPS_OF_GUEST \
	"WITH RECURSIVE way(key) AS (SELECT key FROM name WHERE account = ?1" \
	" UNION SELECT target.key FROM way JOIN target ON target.target_key = way.key JOIN name ON name.key = target.key AND name.kind IN (3, 4))"

/* Every name that mail to ?1 can come to: the same way, down. */
#define BELOW_NAME "WITH RECURSIVE way(key) AS (SELECT ?1 UNION SELECT target_key FROM way JOIN target ON target.key = way.key)"

/* "#2", for a key */
#define FORMER(key) "coalesce((SELECT '#' || times FROM former_group WHERE former_group.key = " key "), '')"

static struct str domain_of(struct str address) { return str_from(address, (size_t)(str_rchr(address, '@') + 1)); }

static enum err living(struct directory *d, uint64_t account, struct arena *a, struct directory_account *out)
{
	TRY(account_get(d, account, a, out));
	return out->deleted_s == 0 ? ERR_OK : ERR_NOTFOUND;
}

/* Is what accounts of this domain give to "anyone" this guest's, too? */
static enum err is_anyone_of(struct directory *d, struct str domain, const struct directory_account *guest, bool *is)
{
	struct conf *conf;

	*is = str_eq(domain, domain_of(guest->address));
	if (*is)
		return ERR_OK;
	TRY(directory_domain_conf(d, domain, &conf));
	*is = conf_on(conf, SETTING_anyone_is_server);
	conf_free(conf);
	return ERR_OK;
}

/* ---- whom does it mean? ---- */

static enum err account_subject(struct directory *d, uint64_t account, struct arena *a, struct subject *out)
{
	struct directory_account x;

	TRY(living(d, account, a, &x));
	*out = (struct subject){ .kind = SUBJECT_ACCOUNT, .account = account, .group = STR(""), .name = x.address };
	return ERR_OK;
}

static enum err group_number(struct directory *d, struct str key, struct arena *a, struct str *out)
{
	static const char sql[] = "SELECT ?1 || " FORMER("?1");
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(q, 1, key);
	if (!stmt_row(q))
		return stmt_err(q, ERR_IO);
	*out = str_copy(a, stmt_str(q, 0));
	return ERR_OK;
}

/* "bob" is bob@ the owner's domain */
static enum err read_address(struct directory *d, uint64_t owner, struct str text, struct arena *a,
							 struct directory_address *out)
{
	struct directory_account x;

	if (str_chr(text, '@') < 0) {
		TRY(account_get(d, owner, a, &x));
		text = arena_printf(a, STR_FMT "@" STR_FMT, STR_ARG(text), STR_ARG(domain_of(x.address)));
	}
	return directory_address_parse(text, a, out) ? ERR_OK : ERR_NOTFOUND;
}

enum err subject_find(struct directory *d, uint64_t account, struct str text, struct arena *a, struct subject *out)
{
	bool is_group = text.n > 0 && text.p[0] == '$';
	struct directory_address x;
	struct directory_name name;

	if (str_ieq(text, STR("anyone"))) {
		*out = (struct subject){ .kind = SUBJECT_ANYONE, .group = STR(""), .name = STR("anyone") };
		return ERR_OK;
	}
	TRY(read_address(d, account, str_from(text, is_group), a, &x));
	TRY(name_find(d, &x, a, &name));
	if (name.kind == NAME_ALIAS && name.target_count == 1 && directory_address_parse(name.targets[0], a, &x))
		TRY(name_find(d, &x, a, &name));
	if (name.kind == NAME_GROUP) {
		*out = (struct subject){ .kind = SUBJECT_GROUP };
		TRY(group_number(d, name.key, a, &out->group));
		out->name = arena_printf(a, "$" STR_FMT, STR_ARG(name.address));
		return ERR_OK;
	}
	return is_group || name.account == 0 ? ERR_NOTFOUND : account_subject(d, name.account, a, out);
}

enum err subject_serve(struct directory *d, uint64_t account, struct str request, struct buf *answer)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct scan s = scan_of(request);
	struct str text = get_str(&s, SUBJECT_NAME_MAX);
	struct subject x;

	if (!get_end(&s))
		return ERR_INVALID;
	TRY(subject_find(d, account, text, &a, &x));
	put_u8(answer, (uint8_t)x.kind);
	put_u64(answer, x.account);
	put_str(answer, x.group);
	put_str(answer, x.name);
	return ERR_OK;
}

/* ---- who is that? ---- */

static enum err put_groups(struct directory *d, uint64_t guest, struct buf *answer)
{
	static const char sql[] = GROUPS_OF_GUEST
		" SELECT way.key || " FORMER("way.key") " FROM way JOIN name ON name.key = way.key AND name.kind = 4 ORDER BY 1 LIMIT ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	CLEANUP(buf_free) struct buf list = BUF(ANSWER_FULL);
	uint32_t n = 0;

	stmt_bind_u64(q, 1, guest);
	stmt_bind_int64(q, 2, GUEST_GROUPS_MAX);
	while (n < GUEST_GROUPS_MAX && stmt_row(q) && list.n + stmt_str(q, 0).n + 4 <= ANSWER_FULL) {
		put_str(&list, stmt_str(q, 0));
		n++;
	}
	put_u32(answer, n);
	buf_add(answer, buf_str(&list));
	return ERR_OK;
}

enum err guest_serve(struct directory *d, uint64_t account, struct str request, struct buf *answer)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct scan s = scan_of(request);
	uint64_t number = get_u64(&s);
	struct directory_account owner, guest;
	bool is_anyone;

	if (!get_end(&s))
		return ERR_INVALID;
	TRY(living(d, account, &a, &owner));  /* of a deleted account nobody sees anything, also who has been in it */
	TRY(living(d, number, &a, &guest));
	if (guest.is_suspended && number != account)  /* the owner may be: what he shares is there for the others */
		return ERR_DENIED;
	TRY(is_anyone_of(d, domain_of(owner.address), &guest, &is_anyone));
	put_str(answer, guest.address);
	put_bool(answer, is_anyone);
	return put_groups(d, number, answer);
}

/* ---- who shares with whom? ---- */

static enum err clear(struct directory *d, uint64_t owner)
{
	static const char sql[] = "DELETE FROM share WHERE owner = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_u64(q, 1, owner);
	return stmt_done(q);
}

enum err shares_replace(struct directory *d, uint64_t account, const struct subject *with, size_t n)
{
	static const char sql[] = "INSERT OR IGNORE INTO share VALUES (?1, ?2, ?3, ?4)";
	CLEANUP(directory_end) UNUSED struct directory *change_of = d;
	CLEANUP(stmt_release) struct stmt *q = NULL;

	TRY(directory_begin(change_of));
	TRY(clear(d, account));
	q = db_query(d->db, sql);
	for (size_t i = 0; i < n; i++) {
		stmt_bind_u64(q, 1, account);
		stmt_bind_int64(q, 2, with[i].kind);
		stmt_bind_u64(q, 3, with[i].account);
		stmt_bind_text(q, 4, with[i].group);
		TRY(stmt_done(q));
		stmt_reset(q);
	}
	return db_commit(d->db);
}

/* ---- who may see something that he could not see before? ---- */

void share_gains_add(struct share_gains *g, uint64_t account)
{
	for (size_t i = 0; i < g->n; i++)
		if (g->accounts[i] == account)
			return;
	if (g->n < SHARE_GAINS_MAX)
		g->accounts[g->n++] = account;
	else
		g->is_many = true;
}

void put_share_gains(struct buf *b, const struct share_gains *g)
{
	for (size_t i = 0; i < g->n && !g->is_many; i++)
		put_u64(b, g->accounts[i]);
}

static enum err take_gains(struct stmt *q, struct share_gains *g)
{
	while (!g->is_many && stmt_row(q))
		share_gains_add(g, stmt_u64(q, 0));
	return g->is_many ? ERR_OK : stmt_end(q);
}

static enum err gains_of_group(struct directory *d, struct str group, struct share_gains *g)
{
	static const char sql[] = BELOW_NAME " SELECT DISTINCT account FROM way JOIN name ON name.key = way.key WHERE account > 0"
	                                     " AND ?1 || " FORMER("?1") " = ?2 LIMIT ?3";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	ptrdiff_t number = str_rchr(group, '#');
	bool has_number = number > str_rchr(group, '@');

	stmt_bind_text(q, 1, str_sub(group, 0, has_number ? (size_t)number : group.n));
	stmt_bind_text(q, 2, group);
	stmt_bind_int64(q, 3, SHARE_GAINS_MAX + 1);
	return take_gains(q, g);
}

static enum err gains_of_anyone(struct directory *d, uint64_t owner, struct share_gains *g)
{
	static const char sql[] = "SELECT account FROM account WHERE domain = ?1 AND deleted = 0 LIMIT ?2";
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	struct directory_account x;
	struct conf *conf;

	TRY(account_get(d, owner, &a, &x));
	TRY(directory_domain_conf(d, domain_of(x.address), &conf));
	g->is_many |= conf_on(conf, SETTING_anyone_is_server);
	conf_free(conf);
	stmt_bind_text(q, 1, domain_of(x.address));
	stmt_bind_int64(q, 2, SHARE_GAINS_MAX + 1);
	return take_gains(q, g);
}

static enum err was_there(struct directory *d, uint64_t owner, const struct subject *with, bool *was)
{
	static const char sql[] = "SELECT 1 FROM share WHERE owner = ?1 AND kind = ?2 AND account = ?3 AND grp = ?4";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_u64(q, 1, owner);
	stmt_bind_int64(q, 2, with->kind);
	stmt_bind_u64(q, 3, with->account);
	stmt_bind_text(q, 4, with->group);
	*was = stmt_row(q);
	return *was ? ERR_OK : stmt_end(q);
}

static enum err gains_of(struct directory *d, uint64_t owner, const struct subject *with, struct share_gains *g)
{
	if (with->kind == SUBJECT_ACCOUNT)
		share_gains_add(g, with->account);
	else
		return with->kind == SUBJECT_GROUP ? gains_of_group(d, with->group, g) : gains_of_anyone(d, owner, g);
	return ERR_OK;
}

static enum err find_gains(struct directory *d, uint64_t owner, const struct subject *with, size_t n, struct share_gains *g)
{
	for (size_t i = 0; i < n && !g->is_many; i++) {
		bool was;
		TRY(was_there(d, owner, &with[i], &was));
		if (!was)
			TRY(gains_of(d, owner, &with[i], g));
	}
	return ERR_OK;
}

enum err share_gains_of_owner(struct directory *d, uint64_t owner, struct share_gains *gained)
{
	static const char sql[] = "SELECT kind, account, grp FROM share WHERE owner = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_u64(q, 1, owner);
	while (!gained->is_many && stmt_row(q)) {
		const struct subject with = { .kind = (enum subject_kind)stmt_int64(q, 0), .account = stmt_u64(q, 1), .group = stmt_str(q, 2) };
		TRY(gains_of(d, owner, &with, gained));
	}
	return gained->is_many ? ERR_OK : stmt_end(q);
}

enum err share_gains_of_all(struct directory *d, struct share_gains *gained)
{
	static const char sql[] = "SELECT 1 FROM share WHERE kind = ?1 LIMIT 1";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_int64(q, 1, SUBJECT_ANYONE);
	gained->is_many = stmt_row(q);
	return gained->is_many ? ERR_OK : stmt_end(q);
}

enum err share_gains_of_name(struct directory *d, const struct directory_address *x, struct share_gains *gained)
{
	static const char shared[] = "WITH RECURSIVE way(key) AS (SELECT ?1 UNION SELECT target.key FROM way JOIN target ON target.target_key = way.key)"
		" SELECT 1 FROM way CROSS JOIN share ON kind = 3 AND share.account = 0 AND grp = way.key || " FORMER("way.key") " LIMIT 1";
	static const char sql[] = BELOW_NAME " SELECT DISTINCT account FROM way JOIN name ON name.key = way.key WHERE account > 0 LIMIT ?2";
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(stmt_release) struct stmt *is_shared = db_query(d->db, shared);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	struct str key = directory_address_key(&a, x->local, x->domain);

	stmt_bind_text(is_shared, 1, key);
	if (!stmt_row(is_shared))
		return stmt_end(is_shared);
	stmt_bind_text(q, 1, key);
	stmt_bind_int64(q, 2, SHARE_GAINS_MAX + 1);
	return take_gains(q, gained);
}

enum err share_delete_of_account(struct directory *d, uint64_t account) { return clear(d, account); }

enum err shares_serve(struct directory *d, uint64_t account, struct str request, struct share_gains *gained)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct scan s = scan_of(request);
	size_t n = get_count(&s, SHARE_SUBJECTS_MAX);
	struct subject *with = arena_array(&a, n, sizeof *with);

	for (size_t i = 0; i < n && !s.failed; i++) {
		with[i] = (struct subject){ .kind = (enum subject_kind)get_u8(&s),
									.account = get_u64(&s),
									.group = get_str(&s, SUBJECT_GROUP_MAX) };
		if (with[i].kind < SUBJECT_ANYONE || with[i].kind >= SUBJECT_KINDS ||
			(with[i].kind == SUBJECT_ACCOUNT) != (with[i].account != 0) ||
			(with[i].kind == SUBJECT_GROUP) != (with[i].group.n > 0))
			scan_fail(&s);
		for (size_t k = 0; k < i && !s.failed; k++)
			if (subject_is(&with[k], &with[i]))  /* no honest cell names one twice; each costs a look for who is in it */
				scan_fail(&s);
	}
	if (!get_end(&s))
		return ERR_INVALID;
	TRY(find_gains(d, account, with, n, gained));
	return shares_replace(d, account, with, n);
}

struct search {                   /* for the owners who share with a guest */
	struct directory_account guest;
	uint64_t    after, only;          /* numbers behind it; this one, or 0 */
	struct map  domains;              /* of those who share with anyone: is he that? "yes" or "no" */
	struct arena arena;
	struct buf  list;
	uint32_t    n;
	uint64_t    next;
};

static void search_free(struct search *s)
{
	map_free(&s->domains);
	arena_free(&s->arena);
	buf_free(&s->list);
}

/* Asked once for each domain, however many of its accounts share with anyone. */
static enum err is_anyone_there(struct directory *d, struct search *s, struct str domain, bool *is)
{
	static char yes, no;
	const char *known = map_get(&s->domains, domain);

	if (known == NULL) {
		TRY(is_anyone_of(d, domain, &s->guest, is));
		known = *is ? &yes : &no;
		map_set(&s->domains, domain, (void *)(uintptr_t)known);
	}
	*is = known == &yes;
	return ERR_OK;
}

static enum err find_owners(struct directory *d, struct search *s)
{
	/* three look-ups by index, however many share with others */
	static const char sql[] = GROUPS_OF_GUEST
		", found(owner, is_his) AS (SELECT owner, 1 FROM share WHERE kind = 2 AND account = ?1 AND grp = ''"
		" UNION ALL SELECT owner, 1 FROM way CROSS JOIN share ON kind = 3 AND share.account = 0 AND grp = way.key || " FORMER("way.key")
		" UNION ALL SELECT owner, 0 FROM share WHERE kind = 1 AND account = 0 AND grp = '')"
		" SELECT owner, account.address, max(is_his) FROM found JOIN account ON account.account = owner AND account.deleted = 0"
		" WHERE owner > ?2 AND owner <> ?1 AND (?3 = 0 OR owner = ?3) GROUP BY owner ORDER BY owner";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_u64(q, 1, s->guest.account);
	stmt_bind_u64(q, 2, s->after);
	stmt_bind_u64(q, 3, s->only);
	while (stmt_row(q)) {
		struct str address = str_copy(&s->arena, stmt_str(q, 1));
		bool is_his = stmt_int64(q, 2);
		if (!is_his)
			TRY(is_anyone_there(d, s, domain_of(address), &is_his));
		if (!is_his)
			continue;
		put_u64(&s->list, stmt_u64(q, 0));
		put_str(&s->list, address);
		if (++s->n == SHARED_OWNERS_MAX || s->list.n > ANSWER_FULL - ADDRESS_TEXT_MAX - 16) {
			s->next = stmt_u64(q, 0);
			return ERR_OK;
		}
	}
	return stmt_end(q);
}

enum err shared_serve(struct directory *d, uint64_t account, struct str request, struct buf *answer)
{
	CLEANUP(search_free) struct search search = { .list = BUF(ANSWER_FULL) };
	struct scan s = scan_of(request);
	struct str address = get_str(&s, SUBJECT_NAME_MAX);
	struct directory_account owner = { 0 };
	struct directory_address x;

	search.after = get_u64(&s);
	if (!get_end(&s))
		return ERR_INVALID;
	TRY(account_get(d, account, &search.arena, &search.guest));
	if (address.n > 0 && !directory_address_parse(address, &search.arena, &x))
		return ERR_NOTFOUND;
	if (address.n > 0)
		TRY(account_find(d, &x, &search.arena, &owner));
	search.only = owner.account;
	TRY(find_owners(d, &search));
	put_u64(answer, search.next);
	put_u32(answer, search.n);
	buf_add(answer, buf_str(&search.list));
	return ERR_OK;
}

enum err shared_list(struct directory *d, uint64_t account, struct arena *a, struct share_owner **out, size_t *n)
{
	CLEANUP(search_free) struct search search = { .list = BUF(ANSWER_FULL) };
	struct scan s;

	TRY(account_get(d, account, &search.arena, &search.guest));
	TRY(find_owners(d, &search));
	s = scan_of(buf_str(&search.list));
	*out = arena_array(a, search.n, sizeof **out);
	for (*n = 0; *n < search.n; ++*n)
		(*out)[*n] =
			(struct share_owner){ .account = get_u64(&s), .address = str_copy(a, get_str(&s, ADDRESS_TEXT_MAX)) };
	return ERR_OK;
}

/* ---- does the one share with the other? ---- */

/* The nearest way, by what the owner's lists say: enum subject_kind, 0: none. */
static enum err find_way(struct directory *d, uint64_t guest, uint64_t owner, enum subject_kind *kind)
{
	static const char sql[] = GROUPS_OF_GUEST
		" SELECT max(kind) FROM share WHERE owner = ?2 AND owner <> ?1"
		" AND (kind = 1 OR (kind = 2 AND share.account = ?1) OR (kind = 3 AND grp IN (SELECT way.key || " FORMER("way.key") " FROM way)))";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_u64(q, 1, guest);
	stmt_bind_u64(q, 2, owner);
	if (!stmt_row(q))
		return stmt_err(q, ERR_NOTFOUND);
	*kind = (enum subject_kind)stmt_int64(q, 0);
	return ERR_OK;
}

enum err shares_with_serve(struct directory *d, struct str request)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct scan s = scan_of(request);
	uint64_t guest_number = get_u64(&s), owner_number = get_u64(&s);
	struct directory_account guest, owner;
	enum subject_kind kind = (enum subject_kind)0;
	bool is_his;

	if (!get_end(&s))
		return ERR_INVALID;
	TRY(living(d, guest_number, &a, &guest));
	TRY(living(d, owner_number, &a, &owner));
	TRY(find_way(d, guest_number, owner_number, &kind));
	is_his = kind > SUBJECT_ANYONE;
	if (kind == SUBJECT_ANYONE)
		TRY(is_anyone_of(d, domain_of(owner.address), &guest, &is_his));
	return is_his ? ERR_OK : ERR_NOTFOUND;
}
