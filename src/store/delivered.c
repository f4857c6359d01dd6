/* Names of deliveries. The queue sends a delivery again when it cannot know whether it was done: after a crash of
 * either side. The row of `delivered` is written in the transaction that adds the message, so it says exactly whether
 * the message is there. The bytes are another matter: neither they nor the row were synced, the file system may keep
 * the row and lose the bytes; therefore a replay also checks the CRC of the body and writes a torn one again, from the
 * log (DESIGN §4.5). */
#include "base/log.h"
#include "store/delivered.h"
#include "store/store_private.h"

enum err delivered_add(struct tx *tx, const struct delivery_key *key, uint32_t email)
{
	static const char sql[] = "INSERT OR REPLACE INTO delivered VALUES (?1, ?2, ?3, ?4)";
	CLEANUP(stmt_release) struct stmt *q = db_query(tx->v->db, sql);

	stmt_bind_u64(q, 1, key->log_id);
	stmt_bind_u64(q, 2, key->seq);
	stmt_bind_int64(q, 3, key->recipient);
	stmt_bind_int64(q, 4, email);
	return stmt_done(q);
}

static enum err find(struct view *v, const struct delivery_key *key, uint32_t *email)
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

/* Most batches come with the seq of the one before. If the transaction is undone the names stay until the next seq. */
enum err delivered_prune(struct tx *tx, const struct delivery_key *upto)
{
	static const char sql[] = "DELETE FROM delivered WHERE log_id = ?1 AND seq <= ?2";
	struct delivery_key *pruned = &tx->v->pruned;

	if (upto->log_id == pruned->log_id && upto->seq <= pruned->seq)
		return ERR_OK;
	*pruned = *upto;
	CLEANUP(stmt_release) struct stmt *q = db_query(tx->v->db, sql);

	stmt_bind_u64(q, 1, upto->log_id);
	stmt_bind_u64(q, 2, upto->seq);
	return stmt_done(q);
}
