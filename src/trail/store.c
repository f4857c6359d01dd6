/* trail.db, the writing half.
 *
 * Not a row an event. Millions of events are written and hardly ever read, and each index of them (name, Message-ID, sender,
 * recipients) would be a B-tree that is written all over: four pages of 4 kB for 250 bytes, when the file is larger than the cache.
 * So events are kept as they came, 64 kB of them in one row (`content`), beside a row with a Bloom filter of all under which one of
 * them can be found (`block`, token.c). Writing costs a few microseconds a message and its own size twice; looking for one name
 * reads all filters, some 2 kB for 300 messages, and then a few blocks (find.c).
 *
 * A block is filled in memory. What it has so far goes into `tail` every five seconds, each time as a new row, and from there it is
 * taken up again after a restart; when the block is full, or a day old, it is written whole and its rows of tail go. Who takes notes
 * touches memory only, under a lock that is never held over the disk.
 *
 * The clock of a block is control's own, of when the notes came: what they say of the time themselves is shown, and believed for
 * nothing. */
#include "trail/trail_private.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum {
	BLOCK_BYTES = 64 << 10,
	BLOCK_AGE_MS = 86400 * 1000,
	MEMORY_MAX = 4 << 20,         /* of full blocks that cannot be written */
	CHECKPOINT_PAGES = 2000,
	PRUNE_EVERY_MS = 600 * 1000,
	PRUNE_MAX = 1000,             /* blocks at once */
	REFUSALS_SHARE = 4,           /* of the room: a quarter */
};

static const struct db_step steps[] = {
	{ 1, "CREATE TABLE block (block_id INTEGER PRIMARY KEY, pile INTEGER NOT NULL, first_ms INTEGER NOT NULL,"
	     " last_ms INTEGER NOT NULL, bytes INTEGER NOT NULL, filter BLOB NOT NULL);"
	     "CREATE INDEX block_pile ON block (pile, block_id, last_ms, bytes);"
	     "CREATE TABLE content (block_id INTEGER PRIMARY KEY, events BLOB NOT NULL);"
	     "CREATE TABLE tail (tail_id INTEGER PRIMARY KEY, pile INTEGER NOT NULL, first_ms INTEGER NOT NULL,"
	     " last_ms INTEGER NOT NULL, events BLOB NOT NULL);" },
};

static void unlock(pthread_mutex_t **m) { pthread_mutex_unlock(*m); }
/* Until the end of the block. */
#define WITH_LOCK(name, m) CLEANUP(unlock) UNUSED pthread_mutex_t *name = (m); pthread_mutex_lock(m)

/* ---- blocks in memory */

static struct block *block_new(int64_t now_ms)
{
	struct block *b = MEM_NEW(struct block);

	b->events = BUF(SIZE_MAX / 2);
	b->first_ms = b->last_ms = now_ms;
	return b;
}

static void block_free(struct block *b)
{
	buf_free(&b->events);
	mem_free(b);
}

static void close_block(struct pile *p)
{
	*p->full_end = p->open;
	p->full_end = &p->open->next;
	p->full_bytes += p->open->events.n;
	p->open = NULL;
	p->kept = 0;
}

static void add(struct trail_store *t, struct pile *p, struct str event, int64_t now_ms)
{
	if (p->open == NULL && p->full_bytes > MEMORY_MAX) {
		t->lost++;
		return;
	}
	if (p->open == NULL)
		p->open = block_new(now_ms);
	buf_add(&p->open->events, event);
	p->open->last_ms = now_ms;
	if (p->open->events.n >= BLOCK_BYTES)
		close_block(p);
}

enum err trail_store_take(struct trail_store *t, enum role who, uint64_t account, struct str events)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	int64_t now_ms = clock_wall_ms();
	struct pile *p = &t->piles[who == ROLE_QUEUE ? PILE_MESSAGES : PILE_REFUSALS];
	struct scan s = scan_of(events);
	struct trail_event e;
	WITH_LOCK(held, &t->memory);

	if (t->limits.days == 0)
		return ERR_OK;
	for (const char *from = s.p; trail_event_decode(&s, &a, &e); from = s.p) {
		if (!trail_may_note(who, account, &e))
			return ERR_INVALID;
		add(t, p, str_make(from, (size_t)(s.p - from)), now_ms);
		arena_reset(&a);
	}
	if (t->waits_since_ms < 0)
		t->waits_since_ms = clock_mono_ms();
	return s.failed ? ERR_INVALID : ERR_OK;
}

int64_t trail_store_due_ms(struct trail_store *t)
{
	WITH_LOCK(held, &t->memory);

	return t->waits_since_ms < 0 ? -1 : t->waits_since_ms + TRAIL_WRITE_EVERY_MS;
}

void trail_store_limit(struct trail_store *t, const struct trail_limits *limits)
{
	WITH_LOCK(held, &t->memory);

	t->limits = *limits;
	t->pruned_ms = 0;
	t->waits_since_ms = clock_mono_ms() - TRAIL_WRITE_EVERY_MS;  /* now */
}

/* ---- the file */

static enum err read_sizes(struct trail_store *t)
{
	static const char sql[] = "SELECT pile, sum(bytes) FROM block GROUP BY pile";
	CLEANUP(stmt_release) struct stmt *q = db_query(t->db, sql);

	for (size_t i = 0; i < PILES; i++)
		t->piles[i].file_bytes = 0;
	while (stmt_row(q))
		if (stmt_int64(q, 0) >= 0 && stmt_int64(q, 0) < PILES)
			t->piles[stmt_int64(q, 0)].file_bytes = stmt_u64(q, 1);
	return stmt_end(q);
}

static enum err read_tail(struct trail_store *t)
{
	static const char sql[] = "SELECT pile, first_ms, last_ms, events FROM tail ORDER BY tail_id";
	CLEANUP(stmt_release) struct stmt *q = db_query(t->db, sql);

	while (stmt_row(q)) {
		int64_t kind = stmt_int64(q, 0);
		if (kind < 0 || kind >= PILES)
			continue;
		struct pile *p = &t->piles[kind];
		if (p->open == NULL)
			p->open = block_new(stmt_int64(q, 1));
		p->open->last_ms = stmt_int64(q, 2);
		buf_add(&p->open->events, stmt_str(q, 3));
		p->kept = p->open->events.n;
	}
	return stmt_end(q);
}

static enum err open_db(struct trail_store *t)
{
	const struct db_options options = { .durability = DB_NORMAL };

	TRY(db_open(t->dir, "trail.db", &options, &t->db));
	TRY(db_migrate(t->db, "trail", steps, COUNT_OF(steps)));
	return read_sizes(t);
}

/* A trail is not worth a server that does not start: what is damaged is kept for whoever wants to look, and a new file begun. */
static void set_aside(struct trail_store *t)
{
	log_error("trail.db is damaged: it is kept as trail.db.damaged, and a new one begun");
	db_close(&t->db);
	if (disk_replace(t->dir, "trail.db", "trail.db.damaged") != ERR_OK)
		log_warn("trail.db could not be renamed");
	if (disk_exists(t->dir, "trail.db-wal") && disk_remove(t->dir, "trail.db-wal") != ERR_OK)
		log_warn("trail.db-wal could not be removed");
}

static enum err open_anew(struct trail_store *t)
{
	enum err e = open_db(t);

	if (e == ERR_CORRUPT) {
		set_aside(t);
		e = open_db(t);
	}
	if (e != ERR_OK)
		db_close(&t->db);
	return e;
}

enum err trail_store_open(struct disk_dir *dir, struct trail_store **out)
{
	struct trail_store *t = MEM_NEW(struct trail_store);
	enum err e;

	t->dir = dir;
	t->waits_since_ms = -1;
	t->limits = (struct trail_limits){ .days = 30, .bytes = UINT64_MAX };
	pthread_mutex_init(&t->file, NULL);
	pthread_mutex_init(&t->memory, NULL);
	for (size_t i = 0; i < PILES; i++)
		t->piles[i].full_end = &t->piles[i].full;
	e = open_anew(t);
	if (e == ERR_OK)
		e = read_tail(t);
	if (e != ERR_OK) {
		trail_store_close(t);
		return e;
	}
	*out = t;
	return ERR_OK;
}

void trail_store_close(struct trail_store *t)
{
	if (t == NULL)
		return;
	if (trail_store_due_ms(t) >= 0 && trail_store_write(t) != ERR_OK)
		log_warn("the last notes of the trail could not be written");
	db_close(&t->db);
	for (size_t i = 0; i < PILES; i++) {
		struct pile *p = &t->piles[i];
		if (p->open != NULL)
			close_block(p);
		for (struct block *b; (b = p->full) != NULL;) {
			p->full = b->next;
			block_free(b);
		}
	}
	pthread_mutex_destroy(&t->file);
	pthread_mutex_destroy(&t->memory);
	mem_free(t);
}

/* ---- writing */

static void block_filter(const struct block *b, struct buf *filter)
{
	CLEANUP(arena_free) struct arena a = { 0 }, list = { 0 };
	struct scan s = scan_of(buf_str(&b->events));
	uint64_t *tokens = NULL, one[TOKENS_MAX];
	size_t n = 0, cap = 0;
	struct trail_event e;

	while (trail_event_decode(&s, &a, &e)) {
		size_t more = event_tokens(&e, one);
		for (size_t i = 0; i < more; i++) {
			tokens = arena_grow(&list, tokens, n, &cap, sizeof *tokens);
			tokens[n++] = one[i];
		}
		arena_reset(&a);
	}
	filter_make(tokens, n, filter);
}

static enum err insert_content(struct trail_store *t, int64_t block_id, struct str events)
{
	static const char sql[] = "INSERT INTO content (block_id, events) VALUES (?1, ?2)";
	CLEANUP(stmt_release) struct stmt *q = db_query(t->db, sql);

	stmt_bind_int64(q, 1, block_id);
	stmt_bind_blob(q, 2, events);
	return stmt_done(q);
}

static enum err insert_block(struct trail_store *t, size_t pile, const struct block *b)
{
	static const char sql[] = "INSERT INTO block (pile, first_ms, last_ms, bytes, filter) VALUES (?1, ?2, ?3, ?4, ?5)";
	CLEANUP(buf_free) struct buf filter = BUF(FILTER_BYTES_MAX);
	CLEANUP(stmt_release) struct stmt *q = db_query(t->db, sql);

	block_filter(b, &filter);
	stmt_bind_int64(q, 1, (int64_t)pile);
	stmt_bind_int64(q, 2, b->first_ms);
	stmt_bind_int64(q, 3, b->last_ms);
	stmt_bind_u64(q, 4, filter.n + b->events.n);
	stmt_bind_blob(q, 5, buf_str(&filter));
	TRY(stmt_done(q));
	TRY(insert_content(t, db_last_rowid(t->db), buf_str(&b->events)));
	t->piles[pile].file_bytes += filter.n + b->events.n;
	return ERR_OK;
}

static enum err clear_tail(struct trail_store *t, size_t pile)
{
	static const char sql[] = "DELETE FROM tail WHERE pile = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(t->db, sql);

	stmt_bind_int64(q, 1, (int64_t)pile);
	return stmt_done(q);
}

static enum err insert_tail(struct trail_store *t, size_t pile, const struct block *b)
{
	static const char sql[] = "INSERT INTO tail (pile, first_ms, last_ms, events) VALUES (?1, ?2, ?3, ?4)";
	CLEANUP(stmt_release) struct stmt *q = db_query(t->db, sql);

	stmt_bind_int64(q, 1, (int64_t)pile);
	stmt_bind_int64(q, 2, b->first_ms);
	stmt_bind_int64(q, 3, b->last_ms);
	stmt_bind_blob(q, 4, buf_str(&b->events));
	return stmt_done(q);
}

/* What is to be written of a pile, taken out of it under the lock. */
struct work {
	struct block *full;
	struct block  fresh;      /* what the open block has that is not in tail yet */
};

static void take_work(struct trail_store *t, struct pile *p, struct work *w)
{
	int64_t now_ms = clock_wall_ms();

	if (p->open != NULL && (now_ms - p->open->first_ms >= BLOCK_AGE_MS || now_ms < p->open->first_ms || t->limits.days == 0))
		close_block(p);
	w->full = p->full;
	p->full = NULL;
	p->full_end = &p->full;
	p->full_bytes = 0;
	w->fresh = (struct block){ .events = BUF(SIZE_MAX / 2) };
	if (p->open == NULL || p->kept == p->open->events.n)
		return;
	w->fresh.first_ms = p->open->first_ms;
	w->fresh.last_ms = p->open->last_ms;
	buf_add(&w->fresh.events, str_from(buf_str(&p->open->events), p->kept));
	p->kept = p->open->events.n;
}

static enum err write_work(struct trail_store *t, size_t pile, const struct work *w)
{
	for (const struct block *b = w->full; b != NULL; b = b->next)
		TRY(insert_block(t, pile, b));
	if (w->full != NULL)
		TRY(clear_tail(t, pile));
	return w->fresh.events.n > 0 ? insert_tail(t, pile, &w->fresh) : ERR_OK;
}

static void free_work(struct work *w)
{
	for (struct block *b; (b = w->full) != NULL;) {
		w->full = b->next;
		block_free(b);
	}
	buf_free(&w->fresh.events);
}

static enum err remove_block(struct trail_store *t, int64_t block_id)
{
	static const char block[] = "DELETE FROM block WHERE block_id = ?1", content[] = "DELETE FROM content WHERE block_id = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(t->db, block), *c = db_query(t->db, content);

	stmt_bind_int64(q, 1, block_id);
	stmt_bind_int64(c, 1, block_id);
	TRY(stmt_done(q));
	return stmt_done(c);
}

struct old { int64_t block_id; uint64_t bytes; };

/* The oldest blocks of a pile that must go: they are too old, or their pile is too large. */
static enum err list_old(struct trail_store *t, size_t pile, int64_t since_ms, uint64_t most, struct old *out, size_t *n)
{
	static const char sql[] = "SELECT block_id, last_ms, bytes FROM block WHERE pile = ?1 ORDER BY block_id LIMIT ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(t->db, sql);
	uint64_t left = t->piles[pile].file_bytes;

	*n = 0;
	stmt_bind_int64(q, 1, (int64_t)pile);
	stmt_bind_int64(q, 2, PRUNE_MAX);
	while (stmt_row(q) && (stmt_int64(q, 1) < since_ms || left > most)) {
		out[*n] = (struct old){ stmt_int64(q, 0), stmt_u64(q, 2) };
		left -= out[*n].bytes < left ? out[*n].bytes : left;
		(*n)++;
	}
	return stmt_end(q);
}

static uint64_t most_bytes(const struct trail_limits *limits, size_t pile)
{
	uint64_t refusals = limits->bytes / REFUSALS_SHARE;

	return pile == PILE_REFUSALS ? refusals : limits->bytes - refusals;
}

static enum err prune(struct trail_store *t, const struct trail_limits *limits)
{
	int64_t since_ms = limits->days == 0 ? INT64_MAX : clock_wall_ms() - (int64_t)limits->days * 86400 * 1000;
	struct old old[PRUNE_MAX];
	size_t n;

	for (size_t i = 0; i < PILES; i++) {
		TRY(list_old(t, i, since_ms, most_bytes(limits, i), old, &n));
		for (size_t k = 0; k < n; k++) {
			TRY(remove_block(t, old[k].block_id));
			t->piles[i].file_bytes -= old[k].bytes < t->piles[i].file_bytes ? old[k].bytes : t->piles[i].file_bytes;
		}
	}
	return ERR_OK;
}

static bool is_too_large(const struct trail_store *t, const struct trail_limits *limits)
{
	for (size_t i = 0; i < PILES; i++)
		if (t->piles[i].file_bytes > most_bytes(limits, i))
			return true;
	return false;
}

static enum err write_all(struct trail_store *t, struct work work[PILES], const struct trail_limits *limits)
{
	CLEANUP(db_rollback_if_open) UNUSED struct db *tx = NULL;
	int64_t now_ms = clock_mono_ms();

	if (t->db == NULL)
		TRY(open_anew(t));
	tx = t->db;
	TRY(db_begin(t->db));
	for (size_t i = 0; i < PILES; i++)
		TRY(write_work(t, i, &work[i]));
	if (is_too_large(t, limits) || t->pruned_ms == 0 || now_ms - t->pruned_ms >= PRUNE_EVERY_MS) {
		TRY(prune(t, limits));
		t->pruned_ms = now_ms;
	}
	TRY(db_commit(t->db));
	return db_wal_pages(t->db) > CHECKPOINT_PAGES ? db_checkpoint(t->db) : ERR_OK;
}

/* After a failure the file is opened anew: a failed sync is believed by nobody (db/db.h). What could not be written is lost. */
static void fail(struct trail_store *t, enum err e)
{
	log_error("notes of the trail are lost error=%s", err_name(e));
	if (e == ERR_CORRUPT && t->db != NULL)
		set_aside(t);
	db_close(&t->db);
}

enum err trail_store_write(struct trail_store *t)
{
	struct work work[PILES];
	struct trail_limits limits;
	uint32_t lost;
	enum err e;
	WITH_LOCK(held, &t->file);

	pthread_mutex_lock(&t->memory);
	for (size_t i = 0; i < PILES; i++)
		take_work(t, &t->piles[i], &work[i]);
	limits = t->limits;
	lost = t->lost;
	t->lost = 0;
	t->waits_since_ms = -1;
	pthread_mutex_unlock(&t->memory);
	if (lost > 0)
		log_warn("notes of the trail had no room in memory events=%u", lost);
	e = write_all(t, work, &limits);
	if (e != ERR_OK)
		fail(t, e);
	for (size_t i = 0; i < PILES; i++)
		free_work(&work[i]);
	return e;
}
