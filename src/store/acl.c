/* Rows of `acl`: the lines of the lists of rights, and their copy in memory.
 *
 * Lists are short, rarely changed, and asked for with each request of a guest; most accounts have none. So all of
 * them are read at once when the first guest (or GETACL) looks, kept as 16 bytes a line beside the names they speak
 * of, and forgotten whole at each change: the change holds the database until it is committed, so whoever reads them
 * anew finds what was committed.
 *
 * Control keeps a table of who shares with whom (directory/share.h). The row of `acl_untold` says that it does not
 * know the newest lists: it is written with the change and taken away when control has said that its table is on
 * disk, so a kill in between costs nothing; the cell tries again until it is told (acl_tell()). */
#include "base/map.h"
#include "store/rights.h"
#include "store/store_private.h"
#include <stdlib.h>

/* ---- in memory ---- */

static void lists_free(struct acl_lists **all)
{
	if (*all != NULL) {
		arena_free(&(*all)->arena);
		mem_free(*all);
	}
	*all = NULL;
}

void acl_forget_lists(struct view *v)
{
	pthread_mutex_lock(&v->memory_lock);
	lists_free(&v->acl);
	pthread_mutex_unlock(&v->memory_lock);
}

size_t acl_first(const struct acl_lists *all, int64_t mailbox_id)
{
	size_t low = 0, high = all->n;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (all->lines[middle].mailbox_id < mailbox_id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct reading {                  /* what acl_read_all() collects */
	struct acl_lists *all;
	size_t lines_cap, subjects_cap;
	struct map numbers;           /* kind, account, group and name -> index of the subject + 1 */
};

static uint32_t subject_number(struct reading *r, const struct subject *x)
{
	struct acl_lists *all = r->all;
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str key = arena_printf(&a, "%d %llu " STR_FMT " " STR_FMT, x->kind, (unsigned long long)x->account,
								  STR_ARG(x->group), STR_ARG(x->name));
	size_t known = (size_t)(uintptr_t)map_get(&r->numbers, key);

	if (known > 0)
		return (uint32_t)(known - 1);
	if (all->n_subjects == r->subjects_cap)
		all->subjects =
			arena_grow(&all->arena, all->subjects, all->n_subjects, &r->subjects_cap, sizeof *all->subjects);
	all->subjects[all->n_subjects] =
		(struct subject){ x->kind, x->account, str_copy(&all->arena, x->group), str_copy(&all->arena, x->name) };
	map_set(&r->numbers, key, (void *)(uintptr_t)(all->n_subjects + 1));
	return (uint32_t)all->n_subjects++;
}

/* db lock. In the order of the primary key: by mailbox, positive lines first. */
static enum err read_rows(struct view *v, struct reading *r)
{
	static const char sql[] = "SELECT mailbox_id, negative, kind, account, grp, name, rights FROM acl ORDER BY mailbox_id, negative, kind, account, grp";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
	struct acl_lists *all = r->all;

	while (stmt_row(q)) {
		struct subject who = { (enum subject_kind)stmt_int64(q, 2), stmt_u64(q, 3), stmt_str(q, 4), stmt_str(q, 5) };
		if (all->n == r->lines_cap)
			all->lines = arena_grow(&all->arena, all->lines, all->n, &r->lines_cap, sizeof *all->lines);
		all->lines[all->n++] = (struct acl_line){ stmt_int64(q, 0), subject_number(r, &who),
												  (uint16_t)(stmt_int64(q, 6) & RIGHTS_ALL), stmt_int64(q, 1) };
	}
	return stmt_end(q);
}

static enum err load(struct view *v)
{
	struct reading r = { .all = MEM_NEW(struct acl_lists) };
	enum err e;

	pthread_mutex_lock(&v->db_lock);
	e = read_rows(v, &r);
	pthread_mutex_lock(&v->memory_lock);
	if (e == ERR_OK && v->acl == NULL) {
		v->acl = r.all;
		r.all = NULL;
	}
	pthread_mutex_unlock(&v->memory_lock);
	pthread_mutex_unlock(&v->db_lock);
	map_free(&r.numbers);
	lists_free(&r.all);
	return e;
}

enum err acl_lock(struct view *v, struct acl_lists **out)
{
	pthread_mutex_lock(&v->memory_lock);
	while (v->acl == NULL) {
		pthread_mutex_unlock(&v->memory_lock);
		TRY(load(v));
		pthread_mutex_lock(&v->memory_lock);
	}
	*out = v->acl;
	return ERR_OK;
}

static int by_kind_and_name(const void *left, const void *right)
{
	const struct acl_entry *l = left, *r = right;

	if (l->is_negative != r->is_negative)
		return l->is_negative ? 1 : -1;
	if (l->who.kind != r->who.kind)  /* anyone, groups, accounts */
		return l->who.kind == SUBJECT_ANYONE || r->who.kind == SUBJECT_ACCOUNT ? -1 : 1;
	return str_cmp(l->who.name, r->who.name);
}

static struct subject copy_subject(const struct subject *x, struct arena *a)
{
	return (struct subject){ x->kind, x->account, str_copy(a, x->group), str_copy(a, x->name) };
}

enum err acl_read(struct view *v, int64_t mailbox_id, struct arena *a, struct acl_entry **out, size_t *n)
{
	struct acl_lists *all;
	enum err e;

	*out = NULL;
	*n = 0;
	TRY(acl_lock(v, &all));
	e = box_by_id(v, mailbox_id) == NULL ? ERR_NOTFOUND : ERR_OK;
	size_t first = acl_first(all, mailbox_id), end = e == ERR_OK ? acl_first(all, mailbox_id + 1) : first;
	*out = arena_array(a, end - first, sizeof **out);
	for (size_t i = first; i < end; i++)
		(*out)[(*n)++] = (struct acl_entry){ copy_subject(&all->subjects[all->lines[i].subject], a),
											 all->lines[i].is_negative, all->lines[i].rights };
	pthread_mutex_unlock(&v->memory_lock);
	if (*n > 1)
		qsort(*out, *n, sizeof **out, by_kind_and_name);
	return e;
}

enum err acl_subjects(struct view *v, struct arena *a, struct subject **out, size_t *n)
{
	struct acl_lists *all;
	bool *is_given;

	*n = 0;
	TRY(acl_lock(v, &all));
	is_given = arena_array(a, all->n_subjects, sizeof *is_given);
	*out = arena_array(a, all->n_subjects, sizeof **out);
	for (size_t i = 0; i < all->n; i++)
		is_given[all->lines[i].subject] |= !all->lines[i].is_negative;
	for (size_t i = 0; i < all->n_subjects && *n < SHARE_SUBJECTS_MAX; i++) {
		bool is_new = is_given[i];
		for (size_t k = 0; k < *n && is_new; k++)  /* one whose name has changed is there twice */
			is_new = !subject_is(&(*out)[k], &all->subjects[i]);
		if (is_new)
			(*out)[(*n)++] = copy_subject(&all->subjects[i], a);
	}
	pthread_mutex_unlock(&v->memory_lock);
	return ERR_OK;
}

/* ---- changes ---- */

static enum err note_untold(struct tx *tx)
{
	static const char sql[] = "INSERT OR IGNORE INTO acl_untold VALUES (1)";
	CLEANUP(stmt_release) struct stmt *q = db_query(tx->v->db, sql);

	TRY(stmt_done(q));
	atomic_store(&tx->v->acl_is_untold, true);
	return ERR_OK;
}

/* The last step before the commit. */
static enum err changed(struct tx *tx)
{
	TRY(note_untold(tx));
	TRY(state_write_counters(tx->v, tx->modseq, false));  /* no mailbox has this modseq */
	acl_forget_lists(tx->v);
	return ERR_OK;
}

static void bind_line(struct stmt *q, int64_t mailbox_id, const struct acl_entry *line)
{
	stmt_bind_int64(q, 1, mailbox_id);
	stmt_bind_int64(q, 2, line->is_negative);
	stmt_bind_int64(q, 3, line->who.kind);
	stmt_bind_u64(q, 4, line->who.account);
	stmt_bind_text(q, 5, line->who.group.n ? line->who.group : STR(""));
}

static enum err read_line(struct view *v, int64_t mailbox_id, const struct acl_entry *line, unsigned *rights)
{
	static const char sql[] =
		"SELECT rights FROM acl WHERE mailbox_id = ?1 AND negative = ?2 AND kind = ?3 AND account = ?4 AND grp = ?5";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	bind_line(q, mailbox_id, line);
	*rights = stmt_row(q) ? (unsigned)stmt_int64(q, 0) : 0;
	return *rights ? ERR_OK : stmt_end(q);
}

static enum err write_line(struct view *v, int64_t mailbox_id, const struct acl_entry *line, unsigned rights)
{
	static const char put[] = "INSERT OR REPLACE INTO acl VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
	static const char drop[] =
		"DELETE FROM acl WHERE mailbox_id = ?1 AND negative = ?2 AND kind = ?3 AND account = ?4 AND grp = ?5";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, rights ? put : drop);

	bind_line(q, mailbox_id, line);
	if (rights) {
		stmt_bind_text(q, 6, line->who.name);
		stmt_bind_int64(q, 7, rights);
	}
	return stmt_done(q);
}

static enum err within_limits(struct view *v)
{
	static const char lines[] = "SELECT total(n), max(n) FROM (SELECT count(*) AS n FROM acl GROUP BY mailbox_id)";
	static const char subjects[] = "SELECT count(*), total(length(CAST(grp AS BLOB)) + 32) FROM (SELECT DISTINCT kind, account, grp FROM acl)";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, lines);
	CLEANUP(stmt_release) struct stmt *s = db_query(v->db, subjects);

	if (!stmt_row(q) || !stmt_row(s))
		return stmt_err(q, ERR_IO);
	return stmt_int64(q, 0) > ACL_TOTAL_MAX || stmt_int64(q, 1) > ACL_ENTRIES_MAX ||
				   stmt_int64(s, 0) > SHARE_SUBJECTS_MAX || stmt_int64(s, 1) > SUBJECTS_BYTES_MAX
			   ? ERR_LIMIT
			   : ERR_OK;
}

/* A line of a group that is gone gives nobody anything. It goes when the one that now has its address gets a line: two of one name would be seen. */
static enum err drop_former(struct view *v, int64_t mailbox_id, const struct acl_entry *entry, bool *is_changed)
{
	static const char sql[] = "DELETE FROM acl WHERE mailbox_id = ?1 AND negative = ?2 AND kind = ?3 AND account = ?4 AND grp <> ?5 AND name = ?6";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	bind_line(q, mailbox_id, entry);
	stmt_bind_text(q, 6, entry->who.name);
	TRY(stmt_done(q));
	*is_changed |= db_changes(v->db) > 0;
	return ERR_OK;
}

/* In the transaction. *is_changed: something was written. */
static enum err change_line(struct view *v, int64_t mailbox_id, enum acl_change change, const struct acl_entry *entry,
							bool *is_changed)
{
	unsigned before, after;

	if (box_by_id(v, mailbox_id) == NULL)
		return ERR_NOTFOUND;
	if (entry->who.kind == SUBJECT_GROUP)
		TRY(drop_former(v, mailbox_id, entry, is_changed));
	TRY(read_line(v, mailbox_id, entry, &before));
	after = change == ACL_SET ? entry->rights : change == ACL_ADD ? before | entry->rights : before & ~entry->rights;
	if (after == before)
		return ERR_OK;
	*is_changed = true;
	return write_line(v, mailbox_id, entry, after);
}

enum err acl_write_all(struct view *v, const int64_t *mailbox_ids, size_t n, enum acl_change change,
					   const struct acl_entry *entry)
{
	CLEANUP(tx_abandon) struct tx tx = { 0 };
	bool is_changed = false;

	TRY(tx_begin(v, TX_SYNC, &tx));
	for (size_t i = 0; i < n; i++)
		TRY(change_line(v, mailbox_ids[i], change, entry, &is_changed));
	if (!is_changed)
		return ERR_OK;
	TRY(within_limits(v));
	TRY(changed(&tx));
	return tx_commit_synced(&tx);
}

enum err acl_write(struct view *v, int64_t mailbox_id, enum acl_change change, const struct acl_entry *entry)
{
	return acl_write_all(v, &mailbox_id, 1, change, entry);
}

/* Whose line has this name? At most one: the names of accounts and groups are one name space, and renamed ones take
 * their line along. */
static enum err find_line(struct view *v, int64_t mailbox_id, struct str name, bool is_negative, struct arena *a,
						  struct acl_entry *out)
{
	struct acl_entry *all;
	size_t n;

	TRY(acl_read(v, mailbox_id, a, &all, &n));
	for (size_t i = 0; i < n; i++)
		if (all[i].is_negative == is_negative && str_ieq(all[i].who.name, name)) {
			*out = all[i];
			return ERR_OK;
		}
	return ERR_NOTFOUND;
}

enum err acl_remove(struct view *v, int64_t mailbox_id, struct str name, bool is_negative)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct acl_entry line;

	TRY(find_line(v, mailbox_id, name, is_negative, &a, &line));
	line.rights = 0;
	return acl_write(v, mailbox_id, ACL_SET, &line);
}

enum err acl_inherit(struct tx *tx, int64_t parent_id, int64_t mailbox_id)
{
	static const char sql[] = "INSERT INTO acl SELECT ?2, negative, kind, account, grp, name, rights FROM acl WHERE mailbox_id = ?1"
	                          " AND (SELECT count(*) FROM acl) + ?3 <= ?4";
	CLEANUP(stmt_release) struct stmt *q = db_query(tx->v->db, sql);

	stmt_bind_int64(q, 1, parent_id);
	stmt_bind_int64(q, 2, mailbox_id);
	stmt_bind_int64(q, 3, ACL_ENTRIES_MAX);
	stmt_bind_int64(q, 4, ACL_TOTAL_MAX);
	TRY(stmt_done(q));
	if (db_changes(tx->v->db) > 0)
		acl_forget_lists(tx->v);
	return ERR_OK;
}

enum err acl_drop(struct tx *tx, int64_t mailbox_id)
{
	static const char sql[] = "DELETE FROM acl WHERE mailbox_id = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(tx->v->db, sql);

	stmt_bind_int64(q, 1, mailbox_id);
	TRY(stmt_done(q));
	return db_changes(tx->v->db) > 0 ? changed(tx) : ERR_OK;
}

/* ---- control's table ---- */

enum err acl_open(struct view *v)
{
	static const char sql[] = "SELECT 1 FROM acl_untold";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	atomic_store(&v->acl_is_untold, stmt_row(q));
	return atomic_load(&v->acl_is_untold) ? ERR_OK : stmt_end(q);
}

void acl_close(struct view *v) { lists_free(&v->acl); }

bool acl_is_untold(struct view *v) { return atomic_load(&v->acl_is_untold); }
void acl_tell_again(struct view *v) { atomic_store(&v->acl_is_untold, true); }

static enum err note_told(struct view *v)
{
	static const char sql[] = "DELETE FROM acl_untold";
	enum err e = ERR_OK;

	pthread_mutex_lock(&v->db_lock);
	if (!atomic_load(&v->acl_is_untold)) {  /* else somebody has changed a list meanwhile, and tells it */
		CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
		e = stmt_done(q);
		atomic_fetch_add(&v->committed, 1);  /* view_tick() syncs it; lost, it is told once more */
	}
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

/* One at a time: an older list never comes behind a newer one. */
enum err acl_tell(struct view *v, struct channel *control, int timeout_ms)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct subject *with;
	enum err e = ERR_OK;
	size_t n;

	pthread_mutex_lock(&v->acl_telling);
	if (atomic_exchange(&v->acl_is_untold, false)) {
		e = acl_subjects(v, &a, &with, &n);
		if (e == ERR_OK)
			e = shares_tell(control, with, n, timeout_ms);
		if (e != ERR_OK)
			atomic_store(&v->acl_is_untold, true);
		else
			e = note_told(v);
	}
	pthread_mutex_unlock(&v->acl_telling);
	return e;
}
