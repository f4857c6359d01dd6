/* An account is opened once in a process (its cell) and shared by all sessions of it. Opening reads the small tables
 * whole (mailboxes, keywords, gaps) and nothing of the messages: a sleeping account must wake in a millisecond.
 *
 * What has to happen now and then, and for which nobody should wait, is done by view_tick() in small steps: the sync of
 * flags, arrays that no session uses, checkpoints, the forgetting of old expunged messages, compaction. */
#include "base/clock.h"
#include "base/log.h"
#include "store/chunk.h"
#include "store/index.h"
#include "store/store_private.h"

enum {
	TICK_BUDGET_MS = 20,
	INDEX_LEAST_MS = 4,           /* of a tick that a slow disk has used up: else the index would rest as long as flags are written */
	PRUNE_EVERY_MS = 600 * 1000,
	CHECKPOINT_PAGES = 1000,      /* at once */
	IDLE_PAGES = 64,              /* when nothing was written for a while */
	CLOSE_PAGES = 128,            /* the next one reads them in 0.3 ms; cutting the log off costs two syncs, now and when it begins anew */
	IDLE_MS = 5000,
	INDEX_AFTER_MS = 10000,       /* of somebody being here: who only looks for new mail costs nothing */
	INDEX_LEAST = 64,             /* emails */
	GISTS_MAX = 32 << 20,         /* bytes: 250,000 messages that are sorted by subject */
	POUR_MS = 1000,
	POUR_EMAILS = 4,              /* more of them in POUR_MS: mail pours in */
	INDEX_BEHIND = 1000,          /* emails: more would let a search wait (300 us each) */
};

static void locks_init(struct view *v)
{
	pthread_mutex_init(&v->db_lock, NULL);
	pthread_mutex_init(&v->memory_lock, NULL);
	pthread_mutex_init(&v->sync_lock, NULL);
	pthread_mutex_init(&v->acl_telling, NULL);
	pthread_mutex_init(&v->index_lock, NULL);
	pthread_mutex_init(&v->gists_lock, NULL);
	pthread_cond_init(&v->array_ready, NULL);
	pthread_cond_init(&v->sync_done, NULL);
}

/* A process that was killed leaves rows and bytes that everybody can read and no disk has yet. Sessions would see them, and the
 * queue would take them for synced by us; so they are, before anything else: rows here, bytes when all is loaded. */
static enum err open_files(struct view *v, const char *folder, bool *is_clean)
{
	TRY(disk_dir_open(folder, &v->dir));
	TRY(disk_open(v->dir, "account.lock", DISK_CREATE, &v->lock_file));
	TRY(disk_lock(v->lock_file));
	TRY(account_db_open(v->dir, &v->db));
	TRY(schema_prepare(v->db));
	TRY(state_peek(v, is_clean));
	if (!*is_clean) {
		db_close(&v->db);
		TRY(account_db_open_settled(v->dir, &v->db));
		TRY(schema_prepare(v->db));  /* what the first one made of older tables may be gone, too */
	}
	return bodies_open(v->dir, &v->bodies);
}

static enum err load(struct view *v)
{
	TRY(mailbox_load(v));
	TRY(state_load(v));
	TRY(keyword_load(v));
	TRY(acl_open(v));
	v->used = usage_committed(v);
	return v->n_boxes == 0 ? mailbox_create_defaults(v) : ERR_OK;
}

/* Frees all; writes nothing. */
static void release(struct view *v)
{
	index_close(v);
	for (size_t i = 0; i < v->n_pending; i++) {
		arena_free(&v->pending[i]->arena);
		mem_free(v->pending[i]);
	}
	for (size_t i = 0; i < v->n_boxes; i++)
		box_free(v->boxes[i]);
	for (size_t i = 0; i < KEYWORDS_MAX; i++)
		mem_free(v->keywords[i]);
	events_free(&v->events);
	mem_free(v->pending);
	mem_free(v->names);
	mem_free(v->boxes);
	acl_close(v);
	gists_drop(v);
	chunk_forget(v);
	bodies_close(&v->bodies);
	db_close(&v->db);
	disk_close(&v->lock_file);
	disk_dir_close(&v->dir);
	pthread_mutex_destroy(&v->index_lock);
	pthread_mutex_destroy(&v->gists_lock);
	pthread_cond_destroy(&v->array_ready);
	pthread_cond_destroy(&v->sync_done);
	pthread_mutex_destroy(&v->acl_telling);
	pthread_mutex_destroy(&v->sync_lock);
	pthread_mutex_destroy(&v->memory_lock);
	pthread_mutex_destroy(&v->db_lock);
	mem_free(v);
}

static struct view *view_new(const struct view_config *config)
{
	struct view *v = MEM_NEW(struct view);

	locks_init(v);
	v->config = *config;
	v->gists_most = GISTS_MAX;
	view_set_limits(v, &config->limits);
	view_set_undelete_days(v, UNDELETE_DAYS);
	return v;
}

enum err view_open(const char *folder, const struct view_config *config, struct view **out)
{
	struct view *v = view_new(config);
	bool was_clean;
	enum err e = open_files(v, folder, &was_clean);

	if (e == ERR_OK)
		e = load(v);
	if (e == ERR_OK && !was_clean) {
		v->was_unclean = true;  /* also where what said so was only in the kernel's memory */
		e = bodies_settle(v->bodies);
	}
	if (e == ERR_OK)
		e = mailbox_put_back(v);
	if (e != ERR_OK) {
		release(v);
		return e;
	}
	atomic_store(&v->is_replayed, !v->was_unclean);
	v->pruned_ms = v->pours_since_ms = clock_mono_ms();
	v->poured_from = email_settled(v);
	*out = v;
	return ERR_OK;
}

static enum err note_clean_end(struct view *v)
{
	enum err e;

	if (!v->is_unclean || v->is_uncounted)
		return ERR_OK;
	pthread_mutex_lock(&v->db_lock);
	e = db_begin(v->db);
	if (e == ERR_OK)
		e = mailbox_write_flags(v);
	if (e == ERR_OK)
		e = state_write_counters(v, v->modseq, true);
	if (e == ERR_OK)
		e = db_commit(v->db);
	if (e != ERR_OK)
		db_rollback(v->db);
	atomic_fetch_add(&v->committed, 1);
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

static enum err deliver_one(struct view *v)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(tx_abandon) struct tx tx = { 0 };
	struct box *inbox = box_by_role(v, MAILBOX_INBOX);
	struct email_new email = { .email = 1, .place = { .file = 1, .size = 1 } };
	struct row row = { .email = 1, .size = 1 };
	uint64_t commit;

	digest_message(STR("Message-ID: <1@example.org>\r\n\r\n"), &a, &email.digest);
	TRY(tx_begin(v, TX_SYNC, &tx));
	TRY(email_insert(&tx, &email));
	TRY(message_insert(&tx, inbox, MESSAGE_NEW, &row));
	return tx_commit(&tx, &commit);
}

enum err view_rehearse(struct db *db)
{
	static const struct view_config config = { .account = 0 };
	struct view *v = view_new(&config);
	enum err e;

	v->db = db;
	v->synced = UINT64_MAX;  /* there is no disk */
	e = schema_prepare(db);
	if (e == ERR_OK)
		e = load(v);
	if (e == ERR_OK)
		e = deliver_one(v);
	if (e == ERR_OK)
		e = note_clean_end(v);
	v->db = NULL;
	release(v);
	return e;
}

static bool is_synced(struct view *v)
{
	pthread_mutex_lock(&v->sync_lock);
	bool is = v->synced >= atomic_load(&v->committed);
	pthread_mutex_unlock(&v->sync_lock);
	return is;
}

/* The note itself may get lost in a power cut, where all that it is about is on the disk already: then the next process finds a stop that was not
 * clean, as if this one had been killed here, and loses nothing by it. So it only costs a sync where there are changes to be synced. */
static enum err close_cleanly(struct view *v)
{
	TRY(bodies_sync(v->bodies));  /* the disk may have the note first */
	bool is_all_there = is_synced(v);
	if (keyword_make_room(v) != ERR_OK)  /* tried again when there is none next time */
		log_warn("no room could be made for keywords account=%llu", (unsigned long long)v->config.account);
	TRY(note_clean_end(v));
	return is_all_there ? ERR_OK : view_publish(v);
}

enum err view_close(struct view *v)
{
	enum err e = ERR_IO;

	if (v == NULL)
		return ERR_OK;
	if (!atomic_load(&v->is_broken)) {
		e = close_cleanly(v);
		if (e != ERR_OK)
			log_error("account not closed cleanly account=%llu", (unsigned long long)v->config.account);
	}
	if (!atomic_load(&v->is_broken))
		(void)!db_empty_wal(v->db, CLOSE_PAGES);  /* logged; the log is complete without it */
	release(v);
	return e;
}

void view_close_unclean(struct view *v)
{
	(void)!view_publish(v);  /* logged; the queue has it */
	release(v);
}

bool view_has_failed(const struct view *v) { return atomic_load(&v->is_broken) || bodies_have_failed(v->bodies) || db_has_failed(v->db); }
bool view_was_unclean(const struct view *v) { return v->was_unclean; }
void view_replayed(struct view *v) { atomic_store(&v->is_replayed, true); }

void view_set_undelete_days(struct view *v, uint32_t days) { atomic_store(&v->undelete_days, days); }

uint64_t view_modseq(struct view *v)
{
	uint64_t modseq;

	pthread_mutex_lock(&v->memory_lock);
	modseq = v->seen_modseq;
	pthread_mutex_unlock(&v->memory_lock);
	return modseq;
}

bool view_maildrop_lock(struct view *v)
{
	bool got;

	pthread_mutex_lock(&v->memory_lock);
	got = !v->maildrop_locked;
	v->maildrop_locked = true;
	pthread_mutex_unlock(&v->memory_lock);
	return got;
}

void view_maildrop_unlock(struct view *v)
{
	pthread_mutex_lock(&v->memory_lock);
	v->maildrop_locked = false;
	pthread_mutex_unlock(&v->memory_lock);
}

/* ------------------------------------------------------------------------------------------------------------ tick */

static void drop_idle_arrays(struct view *v, int64_t now_ms)
{
	pthread_mutex_lock(&v->memory_lock);
	for (size_t i = 0; i < v->n_boxes; i++) {
		struct array *ar = v->boxes[i]->array;
		if (ar != NULL && ar->is_ready && ar->sessions == NULL && now_ms - ar->idle_since_ms > ARRAY_IDLE_MS) {
			array_free(ar);
			v->boxes[i]->array = NULL;
		}
	}
	pthread_mutex_unlock(&v->memory_lock);
}

static enum err checkpoint_if_due(struct view *v, int64_t now_ms)
{
	uint64_t committed = atomic_load(&v->committed);
	enum err e = ERR_OK;

	if (committed != v->ticked_commit) {
		v->ticked_commit = committed;
		v->written_ms = now_ms;
	}
	pthread_mutex_lock(&v->db_lock);
	if (db_wal_pages(v->db) >= (now_ms - v->written_ms >= IDLE_MS ? IDLE_PAGES : CHECKPOINT_PAGES))
		e = db_checkpoint(v->db);
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

/* Forgetting, then compaction, as far as the time of this call goes. */
static enum err background(struct view *v, int64_t now_ms, bool *more)
{
	if (now_ms - v->pruned_ms > PRUNE_EVERY_MS || expunged_is_too_much(v)) {
		v->pruned_ms = now_ms;
		v->is_pruning = true;
	}
	*more = atomic_load(&v->is_replayed) && (v->is_pruning || v->is_compacting);  /* a torn body stays where its checksum is */
	while (*more && clock_mono_ms() - now_ms < TICK_BUDGET_MS) {
		bool again;
		if (v->is_pruning) {
			TRY(expunged_prune(v, clock_wall_s() - atomic_load(&v->undelete_days) * INT64_C(86400), 64, &again));
			v->is_pruning = again;
			v->is_compacting = true;
		} else {
			TRY(compact_step(v, &again));
			v->is_compacting = again || v->compacting != 0;  /* somebody writes or reads there: the next tick looks again */
			*more = again;
		}
	}
	return ERR_OK;
}

static bool write_gists(struct view *v)
{
	bool more;

	return gists_write(v, &more) == ERR_OK && more;  /* a failure is logged; they are made again */
}

/* More than a few messages have come in this second, or came in the one before. */
static bool mail_pours(struct view *v, int64_t now_ms)
{
	uint32_t settled = email_settled(v), n = settled - v->poured_from;
	int64_t passed_ms = now_ms - v->pours_since_ms;

	if (passed_ms < POUR_MS)
		return v->mail_poured || n > POUR_EMAILS;
	v->mail_poured = (int64_t)n * POUR_MS > POUR_EMAILS * passed_ms;
	v->poured_from = settled;
	v->pours_since_ms = now_ms;
	return v->mail_poured;
}

/* Whoever reads his mail here will search it, too; but hardly in the second in which much of it comes, and that must not cost more for this. */
static bool index_a_little(struct view *v, int64_t now_ms)
{
	pthread_mutex_lock(&v->memory_lock);
	bool is_seen = v->n_selected > 0;
	pthread_mutex_unlock(&v->memory_lock);
	if (!is_seen || v->seen_since_ms == 0)
		v->seen_since_ms = is_seen ? now_ms : 0;
	bool pours = mail_pours(v, now_ms);
	struct index_progress p;
	if (!is_seen || now_ms - v->seen_since_ms < INDEX_AFTER_MS || email_settled(v) < INDEX_LEAST)
		return false;
	index_progress(v, &p);
	if (pours && p.todo < INDEX_BEHIND)
		return p.todo >= INDEX_LEAST;
	int64_t left_ms = TICK_BUDGET_MS - (clock_mono_ms() - now_ms);
	return index_step_if_free(v, left_ms > INDEX_LEAST_MS ? (int)left_ms : INDEX_LEAST_MS);
}

/* Only deliveries wait, and nobody would see them: their syncs are the queue's business (its sync point), or that of the one who looks.
 * What is committed and in no list of changes is flags, subscriptions, names of keywords: those were promised within a second. */
static bool may_wait(struct view *v)
{
	pthread_mutex_lock(&v->memory_lock);
	bool is_seen = v->n_selected > 0;
	pthread_mutex_unlock(&v->memory_lock);
	pthread_mutex_lock(&v->sync_lock);
	bool has_others = atomic_load(&v->committed) - v->synced > v->n_pending;
	pthread_mutex_unlock(&v->sync_lock);
	return !is_seen && !has_others;
}

bool view_has_unseen(struct view *v) { return view_pending_count(v) > 0; }

bool view_tick(struct view *v)
{
	int64_t now_ms = clock_mono_ms();
	bool more = false;

	if (atomic_load(&v->is_broken) || (!may_wait(v) && view_publish(v) != ERR_OK))
		return false;
	if (atomic_flag_test_and_set(&v->is_ticking))
		return false;  /* another thread is at it */
	drop_idle_arrays(v, now_ms);
	gists_tick(v, now_ms);
	if (checkpoint_if_due(v, now_ms) != ERR_OK || background(v, now_ms, &more) != ERR_OK)
		v->is_pruning = v->is_compacting = more = false;  /* logged; tried again after PRUNE_EVERY_MS */
	more |= write_gists(v);
	more |= index_a_little(v, now_ms);
	atomic_flag_clear(&v->is_ticking);
	return more;
}

void view_compact(struct view *v)
{
	v->is_pruning = true;  /* and after it, compaction */
}
