/* Names of deliveries. The queue sends a delivery again when it cannot know whether it was done: after a crash of
 * either side. Its name is written in the transaction that adds the message, so it says exactly whether
 * the message is there. The bytes are another matter: neither they nor the name were synced, the file system may keep
 * the name and lose the bytes; therefore a replay also checks the CRC of the body and writes a torn one again, from the
 * log (DESIGN §4.5).
 *
 * A row in a table of names would cost each lone delivery a page of the log, and most names live for seconds, until the queue's W has passed
 * them. So the newest ones stand in a column of INBOX's row, whose page is written anyway; when one more comes than fits there, they all go into
 * the table together. Memory has what the row says, twice: as it is committed, and as the open transaction leaves it, which a rollback
 * forgets. Whether the table may have names belongs to both: else it could be taken for empty because of a DELETE that was undone. That it is empty
 * stands in the row, too, in the first free place, so that who wakes for one delivery does not ask. (A release that does not know this clears
 * that place before it puts names into the table.)
 *
 * A queue whose log was made anew, or an account that came from another server, leaves names of a log that nobody will speak of again: the queue
 * says when it has nothing of any other log, and they go. */
#include "base/log.h"
#include "store/delivered.h"
#include "store/store_private.h"
#include <endian.h>

enum {
	NAMES_MAX = 128,          /* 3 kB: the row is one of a page, and its page is not larger */
	TABLE_IS_EMPTY = 1,       /* seq of the first free place */
#ifdef FACTEUR_FAULT
	NAMES_FULL = 6,           /* the crash tests fill it often */
#else
	NAMES_FULL = NAMES_MAX,
#endif
};

struct name {                 /* as it stands in the row: little-endian */
	uint64_t log_id, seq, recipient_email;   /* log_id 0: a free place; recipient << 32 | email */
};

struct name_list {
	struct name names[NAMES_MAX];   /* the first n are taken */
	size_t      n;
	bool        has_table;          /* there may be names in the table, too */
	uint64_t    table_log, table_first;   /* those of this log begin there; log 0: not known */
};

struct names {                      /* under the db lock */
	struct name_list committed, changed;   /* changed: while the open transaction says has_names */
};

static struct name name_of(const struct delivery_key *key, uint32_t email)
{
	return (struct name){ htole64(key->log_id), htole64(key->seq), htole64((uint64_t)key->recipient << 32 | email) };
}

static struct delivery_key key_of(const struct name *name)
{
	return (struct delivery_key){ le64toh(name->log_id), le64toh(name->seq), (uint16_t)(le64toh(name->recipient_email) >> 32) };
}

static uint32_t email_of(const struct name *name) { return (uint32_t)le64toh(name->recipient_email); }

enum err delivered_load(struct view *v, struct str column)
{
	struct name_list *l;

	if (v->names == NULL)
		v->names = MEM_NEW(struct names);
	l = &v->names->committed;
	*l = (struct name_list){ .has_table = true };
	if (column.n % sizeof(struct name) != 0 || column.n > sizeof l->names)
		return ERR_CORRUPT;
	if (column.n > 0)
		memcpy(l->names, column.p, column.n);
	while (l->n < NAMES_MAX && l->names[l->n].log_id != 0)
		l->n++;
	l->has_table = l->n == NAMES_MAX || le64toh(l->names[l->n].seq) != TABLE_IS_EMPTY;
	return ERR_OK;
}

/* What the open transaction changes. */
static struct name_list *changing(struct tx *tx)
{
	struct names *all = tx->v->names;

	if (!tx->has_names)
		all->changed = all->committed;
	tx->has_names = true;
	return &all->changed;
}

static const struct name_list *current(const struct tx *tx)
{
	return tx->has_names ? &tx->v->names->changed : &tx->v->names->committed;
}

struct str delivered_column(const struct tx *tx)
{
	struct name_list *l = &tx->v->names->changed;

	if (tx->has_names && l->n < NAMES_MAX)
		l->names[l->n] = (struct name){ .seq = htole64(l->has_table ? 0 : TABLE_IS_EMPTY) };
	return tx->has_names ? str_make((const char *)l->names, sizeof l->names) : STR_NONE;
}

void delivered_committed(struct tx *tx)
{
	if (tx->has_names)
		tx->v->names->committed = tx->v->names->changed;
}

static enum err put_into_table(struct view *v, const struct name *name)
{
	static const char sql[] = "INSERT OR REPLACE INTO delivered VALUES (?1, ?2, ?3, ?4)";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
	struct delivery_key key = key_of(name);

	stmt_bind_u64(q, 1, key.log_id);
	stmt_bind_u64(q, 2, key.seq);
	stmt_bind_int64(q, 3, key.recipient);
	stmt_bind_int64(q, 4, email_of(name));
	return stmt_done(q);
}

static enum err empty_into_table(struct view *v, struct name_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		TRY(put_into_table(v, &l->names[i]));
	*l = (struct name_list){ .has_table = true };
	return ERR_OK;
}

enum err delivered_add(struct tx *tx, const struct delivery_key *key, uint32_t email)
{
	struct name_list *l = changing(tx);

	if (l->n >= NAMES_FULL)
		TRY(empty_into_table(tx->v, l));
	l->names[l->n++] = name_of(key, email);
	return ERR_OK;
}

static enum err find_in_table(struct view *v, const struct delivery_key *key, uint32_t *email)
{
	static const char sql[] = "SELECT email_id FROM delivered WHERE log_id = ?1 AND seq = ?2 AND recipient = ?3";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_u64(q, 1, key->log_id);
	stmt_bind_u64(q, 2, key->seq);
	stmt_bind_int64(q, 3, key->recipient);
	if (!stmt_row(q))
		return stmt_err(q, ERR_NOTFOUND);
	*email = (uint32_t)stmt_int64(q, 0);
	return ERR_OK;
}

static enum err find(struct view *v, const struct delivery_key *key, uint32_t *email)
{
	const struct name_list *l = &v->names->committed;

	for (size_t i = l->n; i > 0; i--) {
		struct delivery_key other = key_of(&l->names[i - 1]);
		if (other.log_id == key->log_id && other.seq == key->seq && other.recipient == key->recipient) {
			*email = email_of(&l->names[i - 1]);
			return ERR_OK;
		}
	}
	return l->has_table ? find_in_table(v, key, email) : ERR_NOTFOUND;
}

enum err delivered_find(struct view *v, const struct delivery_key *key, uint32_t *email)
{
	enum err e;

	pthread_mutex_lock(&v->db_lock);
	e = find(v, key, email);
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

static enum err place_of(struct view *v, uint32_t email, struct place *place)
{
	enum err e;

	pthread_mutex_lock(&v->db_lock);
	e = email_place(v, email, place);
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

enum err delivered_check(struct view *v, uint32_t email)
{
	struct place place;
	bool is_whole;

	TRY(place_of(v, email, &place));
	TRY(bodies_check(v->bodies, &place, email, &is_whole));
	return is_whole ? ERR_OK : ERR_CORRUPT;
}

static enum err change_place(struct view *v, uint32_t email, const struct place *to)
{
	CLEANUP(tx_abandon) struct tx tx = { 0 };

	TRY(tx_begin(v, TX_SYNC, &tx));
	TRY(email_set_place(v, email, to));
	TRY(state_write_counters(v, tx.modseq, false));
	return tx_commit_synced(&tx);
}

enum err delivered_repair(struct view *v, uint32_t email, const struct str *pieces, size_t n)
{
	struct place place, again;
	uint64_t size = 0;

	TRY(place_of(v, email, &place));
	for (size_t i = 0; i < n; i++)
		size += pieces[i].n;
	if (size != place.size)
		return ERR_CORRUPT;
	TRY(bodies_append(v->bodies, email, pieces, n, &again));
	TRY(bodies_sync(v->bodies));
	TRY(change_place(v, email, &again));
	log_warn("torn body written again account=%llu email=%u", (unsigned long long)v->config.account, email);
	return ERR_OK;
}

static bool is_pruned(const struct name *name, const struct delivery_key *upto, bool with_others)
{
	struct delivery_key key = key_of(name);

	return key.log_id == upto->log_id ? key.seq <= upto->seq : with_others;
}

static void prune_row(struct tx *tx, const struct delivery_key *upto, bool with_others)
{
	const struct name_list *was = current(tx);
	size_t n = 0;

	while (n < was->n && !is_pruned(&was->names[n], upto, with_others))
		n++;
	if (n == was->n)
		return;
	struct name_list *l = changing(tx);
	for (size_t i = n; i < l->n; i++)
		if (!is_pruned(&l->names[i], upto, with_others))
			l->names[n++] = l->names[i];
	memset(&l->names[n], 0, (l->n - n) * sizeof l->names[0]);
	l->n = n;
}

static enum err table_has_names(struct view *v, bool *has)
{
	static const char sql[] = "SELECT 1 FROM delivered LIMIT 1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	*has = stmt_row(q);
	return *has ? ERR_OK : stmt_end(q);
}

/* The lowest of this log that the table has; UINT64_MAX: none. */
static enum err first_in_table(struct view *v, uint64_t log_id, uint64_t *seq)
{
	static const char sql[] = "SELECT seq FROM delivered WHERE log_id = ?1 ORDER BY seq LIMIT 1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_u64(q, 1, log_id);
	*seq = stmt_row(q) ? stmt_u64(q, 0) : UINT64_MAX;
	return *seq != UINT64_MAX ? ERR_OK : stmt_end(q);
}

static enum err delete_from_table(struct view *v, const struct delivery_key *upto)
{
	static const char sql[] = "DELETE FROM delivered WHERE log_id = ?1 AND seq <= ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_u64(q, 1, upto->log_id);
	stmt_bind_u64(q, 2, upto->seq);
	return stmt_done(q);
}

static enum err delete_others(struct view *v, uint64_t log_id)
{
	static const char sql[] = "DELETE FROM delivered WHERE log_id <> ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_u64(q, 1, log_id);
	return stmt_done(q);
}

static enum err prune_table(struct tx *tx, const struct delivery_key *upto, bool with_others)
{
	const struct name_list *was = current(tx);

	if (!was->has_table || (!with_others && was->table_log == upto->log_id && upto->seq < was->table_first))
		return ERR_OK;
	if (with_others)
		TRY(delete_others(tx->v, upto->log_id));
	TRY(delete_from_table(tx->v, upto));
	struct name_list *l = changing(tx);
	l->table_log = upto->log_id;
	TRY(first_in_table(tx->v, upto->log_id, &l->table_first));
	if (l->table_first != UINT64_MAX)
		return ERR_OK;
	return table_has_names(tx->v, &l->has_table);
}

/* Most batches come with the seq of the one before. If the transaction is undone the names stay until the next seq, those of
 * other logs until the account is opened again. */
enum err delivered_prune(struct tx *tx, const struct delivery_key *upto, bool is_only_log)
{
	struct view *v = tx->v;
	bool is_same_log = upto->log_id == v->pruned.log_id;
	bool with_others = is_only_log && !(is_same_log && v->pruned_others);

	if (is_same_log && upto->seq <= v->pruned.seq && !with_others)
		return ERR_OK;
	v->pruned = *upto;
	v->pruned_others = is_only_log;
	prune_row(tx, upto, with_others);
	return prune_table(tx, upto, with_others);
}
