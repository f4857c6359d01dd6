/* Gists on disk, so that the first SORT of a cell that just woke up need not read each record.
 *
 * A row holds those of 256 emails that follow each other, as far as somebody asked for them: a SORT of ten thousand reads forty rows
 * of 30 kB, not 2,500 pages of records. Rows are written by view_tick(), after a SORT had to make gists, never by a delivery (each page
 * that it touches costs it 4 kB of log) and never for the newest emails, whose row would be written again and again.
 *
 * It is a cache: a row that is damaged, was folded in another way or cannot be written is as good as none, and an email never changes. But what is forgotten
 * must be forgotten here too: the row goes with the first of its emails that is purged (email_delete()), and only what exists is
 * written, both under the db lock. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/wire.h"
#include "store/gist_private.h"
#include "text/fold.h"

enum { ROW_MAX = GIST_BLOCK * 4352 /* a gist that is kept has 4 kB at most */, BUDGET_MS = 10 };
static const uint64_t FREE_LEAST = 256 << 20;   /* bytes of the disk: mail needs them more */

/* ----------------------------------------------------------------------------------------------------------- what is known */

/* State of the block of an email; NULL: no email has this number yet. The gists lock is held. */
static uint8_t *block_of(struct view *v, uint32_t email)
{
	struct gists *all = v->gists;
	size_t block = email / GIST_BLOCK;

	if (email >= atomic_load(&v->email_next))
		return NULL;
	if (block >= all->n_blocks) {
		size_t n = atomic_load(&v->email_next) / GIST_BLOCK + 1;
		all->blocks = mem_resize(all->blocks, n);
		memset(all->blocks + all->n_blocks, 0, n - all->n_blocks);
		all->n_blocks = n;
	}
	return &all->blocks[block];
}

void gists_note_new(struct view *v, uint32_t email)
{
	uint8_t *block = block_of(v, email);

	if (block == NULL || (*block & BLOCK_IS_NEW))
		return;
	*block |= BLOCK_IS_NEW;
	v->gists->n_new++;
}

/* ------------------------------------------------------------------------------------------------------------------- read */

/* Also says how texts were folded: what another Unicode made sorts elsewhere. */
static uint32_t sum_of(struct str gists) { return crc32c(fold_version(), gists.p, gists.n); }

/* out lives as long as a and the row. */
static bool read_one(struct scan *s, uint32_t block, struct arena *a, struct gist *out, unsigned *has)
{
	*out = (struct gist){ .email = block * GIST_BLOCK + get_u8(s) };
	*has = get_u8(s);
	out->knows_references = get_bool(s);
	out->is_reply = get_bool(s);
	out->sent = get_i64(s);
	out->received = get_i64(s);
	out->size = get_u64(s);
	out->id = get_u64(s);
	out->n_references = get_u8(s);
	uint64_t *references = arena_array(a, out->n_references, sizeof *references);
	for (int i = 0; i < out->n_references; i++)
		references[i] = get_u64(s);
	out->references = references;
	for (int i = 0; i < GIST_TEXTS; i++)
		out->texts[i] = scan_bytes(s, get_u16(s));
	return !s->failed;
}

/* A copy of the row, so that the database is free while it is read. */
static struct str row_of(struct view *v, uint32_t block, struct arena *a)
{
	static const char sql[] = "SELECT crc, gists FROM gist WHERE block = ?1";
	struct str row = STR("");

	pthread_mutex_lock(&v->db_lock);
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
		stmt_bind_int64(q, 1, block);
		if (stmt_row(q) && sum_of(stmt_str(q, 1)) == (uint32_t)stmt_int64(q, 0))
			row = str_copy(a, stmt_str(q, 1));  /* a failure is logged, and as good as none */
	}
	pthread_mutex_unlock(&v->db_lock);
	return row;
}

static bool read_block(struct view *v, uint32_t block)
{
	CLEANUP(arena_free) struct arena row = { 0 }, a = { 0 };
	struct scan s = scan_of(row_of(v, block, &row));
	bool is_any = false;
	struct gist g;
	unsigned has;

	pthread_mutex_lock(&v->gists_lock);
	while (v->gists != NULL && !scan_done(&s) && read_one(&s, block, &a, &g, &has)) {
		const struct kept *k = gist_kept(v->gists, g.email);
		if (k == NULL || (k->has | has) != k->has)
			gist_keep(v->gists, &g, has);
		arena_reset(&a);
		is_any = true;
	}
	pthread_mutex_unlock(&v->gists_lock);
	return is_any;
}

bool gists_read(struct view *v, const uint32_t *emails, const uint32_t *which, size_t n)
{
	uint32_t blocks[GISTS_BATCH];
	size_t n_blocks = 0;
	bool is_any = false;

	pthread_mutex_lock(&v->gists_lock);
	gists_begin(v);
	for (size_t i = 0; i < n; i++) {
		uint8_t *block = block_of(v, emails[which[i]]);
		if (block != NULL && !(*block & BLOCK_WAS_READ)) {
			*block |= BLOCK_WAS_READ;
			blocks[n_blocks++] = emails[which[i]] / GIST_BLOCK;
		}
	}
	pthread_mutex_unlock(&v->gists_lock);
	for (size_t i = 0; i < n_blocks; i++)
		is_any |= read_block(v, blocks[i]);
	return is_any;
}

/* ------------------------------------------------------------------------------------------------------------------ write */

static void put_one(struct buf *b, const struct kept *k)
{
	const char *texts = (const char *)(k->references + k->n_references);

	put_u8(b, (uint8_t)(k->email % GIST_BLOCK));
	put_u8(b, k->has);
	put_bool(b, k->knows_references);
	put_bool(b, k->is_reply);
	put_i64(b, k->sent);
	put_i64(b, k->received);
	put_u64(b, k->size);
	put_u64(b, k->id);
	put_u8(b, k->n_references);
	for (int i = 0; i < k->n_references; i++)
		put_u64(b, k->references[i]);
	for (int i = 0, from = 0; i < GIST_TEXTS; from = k->ends[i++]) {
		put_u16(b, (uint16_t)(k->ends[i] - from));
		buf_add_bytes(b, texts + from, (size_t)(k->ends[i] - from));
	}
}

/* Takes the next block that has something new; those up to `settled` only. ends[i]: where the i-th of its emails ends in b. */
static bool take_new(struct view *v, uint32_t settled, uint32_t *block, struct buf *b, size_t ends[GIST_BLOCK])
{
	bool found = false;

	pthread_mutex_lock(&v->gists_lock);
	struct gists *all = v->gists;
	for (size_t i = 0; all != NULL && all->n_new > 0 && all->full_ms == 0 && i < all->n_blocks && !found; i++) {
		if (!(all->blocks[i] & BLOCK_IS_NEW) || (i + 1) * GIST_BLOCK - 1 > settled)
			continue;
		all->blocks[i] &= (uint8_t)~BLOCK_IS_NEW;
		all->n_new--;
		*block = (uint32_t)i;
		found = true;
		for (uint32_t k = 0; k < GIST_BLOCK; k++) {
			const struct kept *kept = gist_kept(all, *block * GIST_BLOCK + k);
			if (kept != NULL)
				put_one(b, kept);
			ends[k] = b->n;
		}
	}
	pthread_mutex_unlock(&v->gists_lock);
	return found;
}

/* What of it exists; the db lock is held. */
static enum err keep_existing(struct view *v, uint32_t block, const struct buf *all, const size_t ends[GIST_BLOCK], struct buf *out)
{
	static const char sql[] = "SELECT email_id FROM email WHERE email_id BETWEEN ?1 AND ?2 ORDER BY email_id";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, (int64_t)block * GIST_BLOCK);
	stmt_bind_int64(q, 2, (int64_t)block * GIST_BLOCK + GIST_BLOCK - 1);
	while (stmt_row(q)) {
		size_t i = (size_t)stmt_int64(q, 0) % GIST_BLOCK, from = i > 0 ? ends[i - 1] : 0;
		buf_add_bytes(out, all->p + from, ends[i] - from);
	}
	return stmt_end(q);
}

static enum err write_row(struct view *v, uint32_t block, struct str gists)
{
	static const char sql[] = "INSERT OR REPLACE INTO gist VALUES (?1, ?2, ?3)";
	CLEANUP(db_rollback_if_open) struct db *tx = v->db;

	TRY(db_begin(tx));
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
		stmt_bind_int64(q, 1, block);
		stmt_bind_int64(q, 2, sum_of(gists));
		stmt_bind_blob(q, 3, gists);
		TRY(stmt_done(q));
	}
	TRY(db_commit(tx));
	atomic_fetch_add(&v->committed, 1);
	return ERR_OK;
}

enum err gists_write(struct view *v, bool *more)
{
	uint64_t free_bytes, total_bytes;
	int64_t until_ms = clock_mono_ms() + BUDGET_MS;
	uint32_t block, settled;

	*more = false;
	pthread_mutex_lock(&v->gists_lock);
	bool has_new = v->gists != NULL && v->gists->n_new > 0;
	pthread_mutex_unlock(&v->gists_lock);
	if (!has_new || disk_space(v->dir, &free_bytes, &total_bytes) != ERR_OK || free_bytes < FREE_LEAST)
		return ERR_OK;
	settled = email_settled(v);
	for (;;) {
		CLEANUP(buf_free) struct buf all = BUF(ROW_MAX), existing = BUF(ROW_MAX);
		size_t ends[GIST_BLOCK];
		if (clock_mono_ms() >= until_ms) {
			*more = true;
			return ERR_OK;
		}
		if (!take_new(v, settled, &block, &all, ends))
			return ERR_OK;
		pthread_mutex_lock(&v->db_lock);
		enum err e = keep_existing(v, block, &all, ends, &existing);
		if (e == ERR_OK && existing.n > 0 && !existing.failed)
			e = write_row(v, block, buf_str(&existing));
		pthread_mutex_unlock(&v->db_lock);
		TRY(e);
	}
}

enum err gists_forget(struct view *v, uint32_t email)
{
	static const char sql[] = "DELETE FROM gist WHERE block = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, email / GIST_BLOCK);
	return stmt_done(q);
}
