/* The tree of mailboxes. It is small (tens, at most 10,000) and asked for all the time, so it is kept in memory whole
 * (struct box) and the table is only its durable form. A mailbox's name is its whole path: a rename rewrites the rows
 * of the subtree, a look-up compares strings. Every parent is a mailbox too (missing ones are made), and one with
 * children is not deleted, so there is no \NonExistent and no \Noselect anywhere. The rows are in mailbox_row.c. */
#include "base/bytes.h"
#include "base/clock.h"
#include "store/metadata.h"
#include "store/store_private.h"
#include "text/fold.h"
#include <stdlib.h>

const char *mailbox_role_attribute(enum mailbox_role role)
{
	static const char *const names[MAILBOX_ROLES] = { "", "", "\\Drafts", "\\Sent", "\\Junk", "\\Trash", "\\Archive" };

	return role < MAILBOX_ROLES ? names[role] : "";
}

/* ----------------------------------------------------------------------------------------------------------- names */

static bool level_is_valid(struct str level)
{
	return level.n > 0 && !str_has_ctl(level);
}

enum err mailbox_path(struct str path, struct arena *a, struct str *out)
{
	struct str left = path, level;
	size_t depth = 0;
	bool more = true;

	if (path.n > 0 && path.p[path.n - 1] == MAILBOX_SEPARATOR)
		path.n--;  /* quirk SLASH_AT_THE_END */
	left = path;
	if (path.n == 0 || path.n > MAILBOX_PATH_MAX || !utf8_valid(path))
		return ERR_INVALID;
	while (more) {
		more = str_cut(left, MAILBOX_SEPARATOR, &level, &left);
		if (!level_is_valid(level) || ++depth > MAILBOX_DEPTH_MAX)
			return ERR_INVALID;
	}
	*out = str_copy(a, path);
	str_cut(*out, MAILBOX_SEPARATOR, &level, &left);
	if (str_ieq(level, STR("INBOX")))  /* RFC 9051 §5.1: any case; also as the first level */
		memcpy((char *)(uintptr_t)out->p, "INBOX", 5);
	return ERR_OK;
}

/* For a name that is new: nor the controls and the separators of lines and paragraphs beyond ASCII (RFC 6855 §3). path is valid UTF-8. */
static bool is_net_unicode(struct str path)
{
	struct scan s = scan_of(path);

	while (!scan_done(&s)) {
		int32_t c = utf8_next(&s);
		if ((c >= 0x80 && c <= 0x9f) || c == 0x2028 || c == 0x2029)
			return false;
	}
	return true;
}

/* Is this path below the other? */
static bool is_below(struct str path, struct str parent)
{
	return path.n > parent.n && path.p[parent.n] == MAILBOX_SEPARATOR && str_starts(path, parent);
}

/* ----------------------------------------------------------------------------------------------------------- boxes */

struct box *box_by_id(struct view *v, int64_t mailbox_id)
{
	for (size_t i = 0; i < v->n_boxes; i++)
		if (v->boxes[i]->m.mailbox_id == mailbox_id)
			return v->boxes[i]->is_deleted ? NULL : v->boxes[i];
	return NULL;
}

struct box *box_for_messages(struct view *v, int64_t mailbox_id)
{
	struct box *box = box_by_id(v, mailbox_id);

	return box != NULL && box->is_going ? NULL : box;
}

struct box *box_by_role(struct view *v, enum mailbox_role role)
{
	for (size_t i = 0; i < v->n_boxes; i++)
		if (v->boxes[i]->m.role == role && !v->boxes[i]->is_deleted)
			return v->boxes[i];
	return NULL;
}

struct box *box_by_path(struct view *v, struct str path)
{
	for (size_t i = 0; i < v->n_boxes; i++)
		if (!v->boxes[i]->is_deleted && str_eq(v->boxes[i]->m.path, path))
			return v->boxes[i];
	return NULL;
}

void box_free(struct box *box)
{
	mem_free((char *)(uintptr_t)box->m.path.p);
	array_free(box->array);
	mem_free(box);
}

static bool has_children(struct view *v, struct str path)
{
	for (size_t i = 0; i < v->n_boxes; i++)
		if (!v->boxes[i]->is_deleted && is_below(v->boxes[i]->m.path, path))
			return true;
	return false;
}

/* Is it to be in a mailbox that is being deleted? */
static bool is_in_one_that_goes(struct view *v, struct str path)
{
	for (size_t i = 0; i < v->n_boxes; i++)
		if (v->boxes[i]->is_going && !v->boxes[i]->is_deleted && is_below(path, v->boxes[i]->m.path))
			return true;
	return false;
}

static struct str inside(struct str parent, struct str level, struct arena *a)
{
	return parent.n == 0 ? level : arena_printf(a, STR_FMT "%c" STR_FMT, STR_ARG(parent), MAILBOX_SEPARATOR, STR_ARG(level));
}

/* The mailbox in this parent that is spelled so; else composed; else in any other form, if there is one. */
static struct str stored_level(struct view *v, struct str parent, struct str level, struct arena *a)
{
	struct str as_asked = inside(parent, level, a), composed = fold_composed(a, level), best, above, its;

	if (str_is_ascii(level) || box_by_path(v, as_asked) != NULL)
		return as_asked;
	best = inside(parent, composed, a);
	if (box_by_path(v, best) != NULL)
		return best;
	for (size_t i = 0; i < v->n_boxes; i++) {
		struct str path = v->boxes[i]->m.path;
		size_t from = (size_t)(str_rchr(path, MAILBOX_SEPARATOR) + 1);
		above = str_sub(path, 0, from > 0 ? from - 1 : 0);
		its = str_from(path, from);
		if (!v->boxes[i]->is_deleted && !str_is_ascii(its) && str_eq(above, parent) && str_eq(fold_composed(a, its), composed))
			return path;
	}
	return best;
}

/* How this name is stored, or would be: composed (RFC 9051 §6.3.4), but for the levels that are there in another form: accounts have such from before names
 * were composed, and what is made in them stays in them. */
static struct str stored_name(struct view *v, struct str path, struct arena *a)
{
	struct str out = STR_NONE, left = path, level;
	bool more = true;

	if (str_is_ascii(path) || box_by_path(v, path) != NULL)
		return path;
	while (more) {
		more = str_cut(left, MAILBOX_SEPARATOR, &level, &left);
		out = stored_level(v, out, level, a);
	}
	return str_copy(a, out);
}

enum err view_mailbox_name(struct view *v, struct str path, struct arena *a, struct str *out)
{
	struct str right;

	TRY(mailbox_path(path, a, &right));
	pthread_mutex_lock(&v->memory_lock);
	*out = stored_name(v, right, a);
	pthread_mutex_unlock(&v->memory_lock);
	return out->n > MAILBOX_PATH_MAX ? ERR_INVALID : ERR_OK;
}

/* ------------------------------------------------------------------------------------------------------------ made */

/* In the transaction, also: one that is being made by it (a parent made a moment ago). 0: none. */
static int64_t id_of_path(struct tx *tx, struct str path)
{
	struct box *box = box_by_path(tx->v, path);

	for (size_t i = 0; i < tx->n_reshapes && box == NULL; i++)
		if (tx->reshapes[i].path && str_eq(str_of(tx->reshapes[i].path), path))
			box = tx->reshapes[i].box;
	return box ? box->m.mailbox_id : 0;
}

/* Who may do what with the parent may do it with its new child (RFC 4314 leaves that to the server). */
static enum err inherit(struct tx *tx, struct str path, int64_t mailbox_id)
{
	ptrdiff_t cut = str_rchr(path, MAILBOX_SEPARATOR);
	int64_t parent_id = cut > 0 ? id_of_path(tx, str_sub(path, 0, (size_t)cut)) : 0;

	return parent_id ? acl_inherit(tx, parent_id, mailbox_id) : ERR_OK;
}

static enum err mailbox_insert(struct tx *tx, struct str path, enum mailbox_role role, struct box **out)
{
	static const char sql[] = "INSERT INTO mailbox VALUES (?1, ?2, ?3, ?4, 1, 0, 0, 0, 0, ?5, ?6, x'')";
	CLEANUP(stmt_release) struct stmt *q = db_query(tx->v->db, sql);
	struct view *v = tx->v;
	uint32_t now = (uint32_t)clock_wall_s();
	struct box *box = MEM_NEW(struct box);
	char *owned = mem_alloc(path.n + 1);

	box->created = now;
	box->m = (struct mailbox){ .mailbox_id = v->mailbox_next++,
							   .role = role,
							   .uidvalidity = mailbox_new_uidvalidity(v, now),
							   .uidnext = 1,
							   .highestmodseq = tx->modseq };
	box->seen = box->m;
	memcpy(owned, path.p, path.n);
	tx_reshape(tx, box, owned, true);
	tx_counters(tx, box);
	tx_event(tx, EVENT_CREATED, path, STR_NONE);
	stmt_bind_int64(q, 1, box->m.mailbox_id);
	stmt_bind_text(q, 2, path);
	stmt_bind_int64(q, 3, role);
	stmt_bind_int64(q, 4, box->m.uidvalidity);
	stmt_bind_u64(q, 5, tx->modseq);
	stmt_bind_int64(q, 6, box->created);
	TRY(stmt_done(q));
	*out = box;
	TRY(inherit(tx, path, box->m.mailbox_id));
	return state_write_counters(v, v->modseq, false);
}

enum err mailbox_create_defaults(struct view *v)
{
	static const struct { enum mailbox_role role; const char *en, *fr; } defaults[] = {
		{ MAILBOX_INBOX, "INBOX", "INBOX" },
		{ MAILBOX_DRAFTS, "Drafts", "Brouillons" },
		{ MAILBOX_SENT, "Sent", "Envoyés" },
		{ MAILBOX_JUNK, "Junk", "Indésirables" },
		{ MAILBOX_TRASH, "Trash", "Corbeille" },
		{ MAILBOX_ARCHIVE, "Archive", "Archives" },
	};
	CLEANUP(tx_abandon) struct tx tx;
	struct box *box;

	TRY(tx_begin(v, TX_SYNC, &tx));
	for (size_t i = 0; i < COUNT_OF(defaults); i++) {
		struct str path = str_of(v->config.french ? defaults[i].fr : defaults[i].en);
		TRY(mailbox_insert(&tx, path, defaults[i].role, &box));
		TRY(subscription_write(v, path, true));
	}
	return tx_commit_synced(&tx);
}

/* ------------------------------------------------------------------------------------------------------------ list */

/* With the time of its making: ids of an account put back from a copy do not meet newer ones (RFC 8474 §5.1). By hand: each delivery asks. */
static void put_mailboxid(const struct box *box, char out[20])
{
	uint64_t number = (uint64_t)box->created << 32 | (uint32_t)box->seen.mailbox_id;

	out[0] = 'F';
	for (int i = 0; i < 16; i++)
		out[1 + i] = "0123456789abcdef"[number >> (60 - 4 * i) & 15];
	out[17] = '\0';
}

static void copy_out(const struct box *box, struct arena *a, struct mailbox *out)
{
	*out = box->seen;
	out->path = str_copy(a, box->seen.path);
	put_mailboxid(box, out->mailboxid);
}

/* '/' sorts before all else, so that children follow their parent at once. */
static int path_order(struct str l, struct str r)
{
	size_t n = l.n < r.n ? l.n : r.n;

	for (size_t i = 0; i < n; i++) {
		unsigned a = l.p[i] == MAILBOX_SEPARATOR ? 0 : (unsigned char)l.p[i];
		unsigned b = r.p[i] == MAILBOX_SEPARATOR ? 0 : (unsigned char)r.p[i];
		if (a != b)
			return a < b ? -1 : 1;
	}
	return l.n < r.n ? -1 : l.n > r.n;
}

static bool is_inbox_tree(struct str path)
{
	return str_starts(path, STR("INBOX")) && (path.n == 5 || path.p[5] == MAILBOX_SEPARATOR);
}

int mailbox_name_order(struct str l, struct str r)
{
	if (is_inbox_tree(l) != is_inbox_tree(r))
		return is_inbox_tree(l) ? -1 : 1;
	return path_order(l, r);
}

static int mailbox_order(const void *left, const void *right)
{
	const struct mailbox *l = left, *r = right;

	return mailbox_name_order(l->path, r->path);
}

/* Both lists are sorted alike. */
static void mark_subscribed(struct mailbox *boxes, size_t n, const struct str *names, size_t n_names)
{
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		while (at < n_names && mailbox_name_order(names[at], boxes[i].path) < 0)
			at++;
		boxes[i].is_subscribed = at < n_names && str_eq(names[at], boxes[i].path);
	}
}

enum err view_mailboxes(struct view *v, struct arena *a, struct mailbox **out, size_t *n)
{
	struct str *names;
	size_t n_names;

	TRY(view_subscriptions(v, a, &names, &n_names));
	pthread_mutex_lock(&v->memory_lock);
	*out = arena_array(a, v->n_boxes + 1, sizeof **out);
	*n = 0;
	for (size_t i = 0; i < v->n_boxes; i++)
		if (!v->boxes[i]->is_deleted) {
			(*out)[*n] = v->boxes[i]->seen;
			(*out)[*n].path = str_copy(a, v->boxes[i]->seen.path);
			put_mailboxid(v->boxes[i], (*out)[*n].mailboxid);
			(*n)++;
		}
	pthread_mutex_unlock(&v->memory_lock);
	qsort(*out, *n, sizeof **out, mailbox_order);
	for (size_t i = 0; i + 1 < *n; i++)
		(*out)[i].has_children = is_below((*out)[i + 1].path, (*out)[i].path);
	mark_subscribed(*out, *n, names, n_names);
	return ERR_OK;
}

/* Out of memory alone: what asks for nothing else takes no lock that a long transaction holds. */
static enum err give_out(struct view *v, struct box *(*find)(struct view *v, const void *key), const void *key, bool with_children,
						 struct arena *a, struct mailbox *out)
{
	struct box *box;

	pthread_mutex_lock(&v->memory_lock);
	box = find(v, key);
	if (box != NULL) {
		copy_out(box, a, out);
		out->has_children = with_children && has_children(v, out->path);
	}
	pthread_mutex_unlock(&v->memory_lock);
	return box ? ERR_OK : ERR_NOTFOUND;
}

static struct box *find_id(struct view *v, const void *key) { return box_by_id(v, *(const int64_t *)key); }
static struct box *find_path(struct view *v, const void *key) { return box_by_path(v, *(const struct str *)key); }
static struct box *find_role(struct view *v, const void *key)
{
	return box_by_role(v, *(const enum mailbox_role *)key);
}

enum err view_mailbox_get(struct view *v, int64_t mailbox_id, struct arena *a, struct mailbox *out)
{
	return give_out(v, find_id, &mailbox_id, true, a, out);
}

enum err view_mailbox_by_role(struct view *v, enum mailbox_role role, struct arena *a, struct mailbox *out)
{
	return give_out(v, find_role, &role, false, a, out);  /* each delivery asks, and would pay for the names of ten thousand mailboxes */
}

enum err view_mailbox_find(struct view *v, struct str path, struct arena *a, struct mailbox *out)
{
	struct str right;

	if (view_mailbox_name(v, path, a, &right) != ERR_OK)
		return ERR_NOTFOUND;
	return give_out(v, find_path, &right, true, a, out);
}

/* ---------------------------------------------------------------------------------------------------------- create */

static enum err make_parents(struct tx *tx, struct str path)
{
	struct box *box;

	for (size_t i = 0; i < path.n; i++) {
		struct str parent = str_sub(path, 0, i);
		if (path.p[i] == MAILBOX_SEPARATOR && id_of_path(tx, parent) == 0)
			TRY(mailbox_insert(tx, parent, MAILBOX_PLAIN, &box));
	}
	return ERR_OK;
}

enum err view_mailbox_create(struct view *v, struct str path, enum mailbox_role role, struct arena *a,
							 struct mailbox *out)
{
	CLEANUP(tx_abandon) struct tx tx = { 0 };
	struct str right;
	struct box *box;

	TRY(view_mailbox_name(v, path, a, &right));
	if (!is_net_unicode(right))
		return ERR_INVALID;
	TRY(tx_begin(v, TX_SYNC, &tx));
	if (box_by_path(v, right) != NULL)
		return ERR_EXISTS;
	if (role != MAILBOX_PLAIN && box_by_role(v, role) != NULL)
		return ERR_CONFLICT;
	if (is_in_one_that_goes(v, right))
		return ERR_AGAIN;
	TRY(make_parents(&tx, right));
	TRY(mailbox_insert(&tx, right, role, &box));
	if (!usage_fits_mailboxes(&tx))
		return ERR_QUOTA;
	TRY(tx_commit_synced(&tx));
	return out ? view_mailbox_get(v, box->m.mailbox_id, a, out) : ERR_OK;
}

enum err view_mailbox_set_role(struct view *v, int64_t mailbox_id, enum mailbox_role role)
{
	static const char sql[] = "UPDATE mailbox SET role = ?1 WHERE mailbox_id = ?2";
	CLEANUP(tx_abandon) struct tx tx = { 0 };
	struct box *box;
	char *path;

	TRY(tx_begin(v, TX_SYNC, &tx));
	box = box_by_id(v, mailbox_id);
	if (box == NULL)
		return ERR_NOTFOUND;
	if (box->m.role == MAILBOX_INBOX || role == MAILBOX_INBOX)
		return ERR_DENIED;
	if (box->m.role == role)
		return ERR_OK;
	if (role != MAILBOX_PLAIN && box_by_role(v, role) != NULL)
		return ERR_CONFLICT;
	path = mem_alloc(box->m.path.n + 1);
	memcpy(path, box->m.path.p, box->m.path.n);
	tx_reshape(&tx, box, path, false);
	tx.reshapes[tx.n_reshapes - 1].role = role;
	tx_counters(&tx, box);  /* its modseq: the change is seen */
	tx_event(&tx, EVENT_METADATA, box->m.path, STR(METADATA_SPECIAL_USE));
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
		stmt_bind_int64(q, 1, role);
		stmt_bind_int64(q, 2, mailbox_id);
		TRY(stmt_done(q));
	}
	return tx_commit_synced(&tx);
}

/* ---------------------------------------------------------------------------------------------------------- delete */

/* Nothing can have come since its messages were erased (box_for_messages()). */
static enum err delete_emptied(struct view *v, int64_t mailbox_id)
{
	static const char sql[] = "DELETE FROM mailbox WHERE mailbox_id = ?1";
	static const char notes[] = "DELETE FROM metadata WHERE mailbox_id = ?1";
	static const char forget[] = "DELETE FROM vanished WHERE mailbox_id = ?1";
	CLEANUP(tx_abandon) struct tx tx = { 0 };
	struct box *box;

	TRY(tx_begin(v, TX_SYNC, &tx));
	box = box_by_id(v, mailbox_id);
	if (box == NULL)
		return ERR_NOTFOUND;
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
		stmt_bind_int64(q, 1, mailbox_id);
		TRY(stmt_done(q));
	}
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(v->db, notes);
		stmt_bind_int64(q, 1, mailbox_id);
		TRY(stmt_done(q));
	}
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(v->db, forget);
		stmt_bind_int64(q, 1, mailbox_id);
		TRY(stmt_done(q));
	}
	TRY(acl_drop(&tx, mailbox_id));
	TRY(state_write_counters(v, tx.modseq, false));  /* no mailbox has this modseq */
	tx_reshape(&tx, box, NULL, false);
	tx_event(&tx, EVENT_DELETED, box->m.path, STR_NONE);
	return tx_commit_synced(&tx);
}

static enum err may_go(struct view *v, const struct box *box, const struct mailbox *asked)
{
	if (box == NULL || box->is_going || !str_eq(box->m.path, asked->path))
		return ERR_NOTFOUND;
	return has_children(v, box->m.path) ? ERR_CONFLICT : ERR_OK;
}

/* From here on nothing comes into it or is made in it, and it keeps its name: else its messages would be erased for a NO, or under the name that
 * somebody gave it to keep. */
static enum err begin_delete(struct view *v, const struct mailbox *asked)
{
	struct box *box;
	enum err e;

	pthread_mutex_lock(&v->db_lock);
	box = box_by_id(v, asked->mailbox_id);
	e = may_go(v, box, asked);
	if (e == ERR_OK)
		box->is_going = true;
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

static void give_up_delete(struct view *v, int64_t mailbox_id)
{
	pthread_mutex_lock(&v->db_lock);
	struct box *box = box_by_id(v, mailbox_id);
	if (box != NULL)
		box->is_going = false;
	pthread_mutex_unlock(&v->db_lock);
}

static enum err delete_all(struct view *v, int64_t mailbox_id, struct arena *a)
{
	TRY(view_expunge(v, mailbox_id, NULL, false, a, NULL));
	return delete_emptied(v, mailbox_id);
}

enum err view_mailbox_delete(struct view *v, struct str path)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct mailbox m;

	TRY(view_mailbox_find(v, path, &a, &m));
	if (m.role == MAILBOX_INBOX)
		return ERR_DENIED;
	TRY(begin_delete(v, &m));
	enum err e = delete_all(v, m.mailbox_id, &a);
	if (e != ERR_OK)
		give_up_delete(v, m.mailbox_id);
	return e;
}

/* ---------------------------------------------------------------------------------------------------------- rename */

static enum err rename_row(struct tx *tx, struct box *box, struct str to)
{
	static const char sql[] = "UPDATE mailbox SET path = ?1 WHERE mailbox_id = ?2";
	static const char follow[] = "UPDATE OR REPLACE subscription SET path = ?1 WHERE path = ?2";
	char *owned = mem_alloc(to.n + 1);

	memcpy(owned, to.p, to.n);
	tx_reshape(tx, box, owned, false);
	tx_counters(tx, box);  /* its modseq: the change is seen */
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(tx->v->db, sql);
		stmt_bind_text(q, 1, to);
		stmt_bind_int64(q, 2, box->m.mailbox_id);
		TRY(stmt_done(q));
	}
	CLEANUP(stmt_release) struct stmt *q = db_query(tx->v->db, follow);
	stmt_bind_text(q, 1, to);
	stmt_bind_text(q, 2, box->m.path);
	return stmt_done(q);
}

static enum err rename_tree(struct view *v, struct str from, struct str to, struct arena *a)
{
	CLEANUP(tx_abandon) struct tx tx = { 0 };

	TRY(tx_begin(v, TX_SYNC, &tx));
	const struct box *moved = box_by_path(v, from);
	if (moved == NULL)
		return ERR_NOTFOUND;
	if (box_by_path(v, to) != NULL)
		return ERR_EXISTS;
	if (moved->is_going || is_in_one_that_goes(v, to))
		return ERR_AGAIN;
	TRY(make_parents(&tx, to));
	if (tx.n_reshapes > 0 && !usage_fits_mailboxes(&tx))
		return ERR_QUOTA;
	tx_event(&tx, EVENT_RENAMED, to, from);
	for (size_t i = 0; i < v->n_boxes; i++) {
		struct box *box = v->boxes[i];
		struct str tail, path;
		if (box->is_deleted || !(str_eq(box->m.path, from) || is_below(box->m.path, from)))
			continue;
		tail = str_from(box->m.path, from.n);
		TRY(mailbox_path(arena_printf(a, STR_FMT STR_FMT, STR_ARG(to), STR_ARG(tail)), a, &path));  /* too long, or too deep */
		TRY(rename_row(&tx, box, path));
	}
	return tx_commit_synced(&tx);
}

/* RFC 9051 §6.3.6: renaming INBOX moves its messages to the new mailbox. */
static enum err rename_inbox(struct view *v, struct str to, struct arena *a)
{
	static struct uid_range everything = { 1, UINT32_MAX };
	struct uid_set all = { &everything, 1, 1 };
	struct mailbox inbox, target;
	struct copied moved;

	TRY(view_mailbox_by_role(v, MAILBOX_INBOX, a, &inbox));
	TRY(view_mailbox_create(v, to, MAILBOX_PLAIN, a, &target));
	return view_move(v, inbox.mailbox_id, &all, target.mailbox_id, a, &moved);
}

static struct str with_last_level_composed(struct str path, struct arena *a)
{
	size_t from = (size_t)(str_rchr(path, MAILBOX_SEPARATOR) + 1);

	return arena_printf(a, STR_FMT STR_FMT, STR_ARG(str_sub(path, 0, from)), STR_ARG(fold_composed(a, str_from(path, from))));
}

enum err view_mailbox_rename(struct view *v, struct str from, struct str to)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str source, target;

	if (view_mailbox_name(v, from, &a, &source) != ERR_OK)
		return ERR_NOTFOUND;
	TRY(view_mailbox_name(v, to, &a, &target));
	if (str_eq(target, source))
		target = with_last_level_composed(source, &a);
	if (!is_net_unicode(target))
		return ERR_INVALID;
	if (str_eq(target, STR("INBOX")))
		return ERR_EXISTS;
	if (str_eq(source, STR("INBOX")))
		return rename_inbox(v, target, &a);
	if (is_below(target, source))
		return ERR_INVALID;
	return rename_tree(v, source, target, &a);
}
