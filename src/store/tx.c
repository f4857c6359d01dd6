/* Transactions of an account, and when their effects are seen.
 *
 * Problem: a client must never see what a crash can take back, or it stays wrong for ever (a uid would be given out
 * twice). Syncing inside the database lock would make everybody wait for the disk. Choice: a transaction collects its
 * effects on what sessions see as a list of changes; commit puts that list on `pending`; view_sync() makes everything
 * committed durable outside the locks, one thread for all who wait (group commit), and then applies the lists in order
 * and calls on_changed. Flags alone are seen at once (DESIGN §4.7): see TX_FLAGS in store_private.h for why that is
 * safe.
 *
 * Invariants: commits have consecutive numbers, given under the db lock; pending is in their order; seen_modseq never
 * goes back; after a failed sync nothing is published any more (is_broken). */
#include "base/clock.h"
#include "base/log.h"
#include "store/chunk.h"
#include "store/store_private.h"

size_t view_pending_count(struct view *v)
{
	size_t n;

	pthread_mutex_lock(&v->sync_lock);
	n = v->n_pending + v->n_taken;
	pthread_mutex_unlock(&v->sync_lock);
	return n;
}

static bool is_reserved_durably(struct view *v, uint64_t modseq)
{
	bool durable;

	pthread_mutex_lock(&v->sync_lock);
	durable = modseq <= v->reserved_durable;
	pthread_mutex_unlock(&v->sync_lock);
	return durable;
}

/* Commits the next block by itself and returns with the db lock released. */
static enum err reserve_alone(struct view *v)
{
	enum err e = ERR_OK;

	if (v->modseq + 1 > v->reserved) {
		e = db_begin(v->db);
		if (e == ERR_OK) {
			e = state_reserve(v);
			if (e == ERR_OK)
				e = db_commit(v->db);
			if (e == ERR_OK) {
				atomic_fetch_add(&v->committed, 1);
			} else {
				db_rollback(v->db);
				v->reserved = v->modseq;
			}
		}
	}
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

enum err tx_begin(struct view *v, enum tx_kind kind, struct tx *tx)
{
	enum err e;

	*tx = (struct tx){ .v = v, .kind = kind };
	for (;;) {
		if (atomic_load(&v->is_broken))
			return ERR_IO;
		pthread_mutex_lock(&v->db_lock);
		if (kind == TX_SYNC || (is_reserved_durably(v, v->modseq + 1) && view_pending_count(v) == 0))
			break;
		TRY(reserve_alone(v));
		TRY(view_sync(v, atomic_load(&v->committed)));
	}
	tx->reserved_before = v->reserved;
	e = db_begin(v->db);
	if (e == ERR_OK && v->modseq + 1 > v->reserved)
		e = state_reserve(v);
	if (e != ERR_OK) {
		db_rollback(v->db);
		v->reserved = tx->reserved_before;
		pthread_mutex_unlock(&v->db_lock);
		return e;
	}
	tx->modseq = v->modseq + 1;
	tx->shared_bytes = v->shared_bytes;
	tx->kept_bytes = v->kept_bytes;
	tx->is_open = true;
	return ERR_OK;
}

struct mailbox *tx_counters(struct tx *tx, struct box *box)
{
	for (size_t i = 0; i < tx->n_boxes; i++)
		if (tx->boxes[i] == box)
			return &tx->counters[i];
	if (tx->n_boxes == tx->boxes_cap) {
		tx->counters = arena_grow(&tx->arena, tx->counters, tx->n_boxes, &tx->counters_cap, sizeof *tx->counters);
		tx->boxes = arena_grow(&tx->arena, tx->boxes, tx->n_boxes, &tx->boxes_cap, sizeof *tx->boxes);
	}
	tx->boxes[tx->n_boxes] = box;
	tx->counters[tx->n_boxes] = box->m;
	tx->counters[tx->n_boxes].highestmodseq = tx->modseq;
	return &tx->counters[tx->n_boxes++];
}

enum { BLOCK_FIRST = 4, BLOCK_MOST = 512 };

struct change_block {
	struct change_block *next;
	size_t               n, cap;
	struct change        changes[];
};

static struct change_block *block_with_room(struct changes *list, struct arena *a)
{
	struct change_block *b = list->last;

	if (b != NULL && b->n < b->cap)
		return b;
	size_t cap = b == NULL ? BLOCK_FIRST : b->cap < BLOCK_MOST ? b->cap * 2 : BLOCK_MOST;
	struct change_block *more = arena_alloc(a, sizeof *more + cap * sizeof more->changes[0]);
	more->cap = cap;
	if (b == NULL)
		list->first = more;
	else
		b->next = more;
	list->last = more;
	return more;
}

void tx_change(struct tx *tx, enum change_kind kind, struct box *box, uint32_t uid, uint32_t email, uint64_t flags)
{
	struct change_block *b = block_with_room(&tx->changes, &tx->arena);

	b->changes[b->n++] = (struct change){ kind, box, uid, email, flags };
	tx->changes.n++;
}

void tx_reshape(struct tx *tx, struct box *box, char *path, bool is_born)
{
	if (tx->n_reshapes == tx->reshapes_cap)
		tx->reshapes = arena_grow(&tx->arena, tx->reshapes, tx->n_reshapes, &tx->reshapes_cap, sizeof *tx->reshapes);
	tx->reshapes[tx->n_reshapes++] = (struct reshape){ box, path, box->m.role, is_born };
}

static void add_box(struct view *v, struct box *box)
{
	if (v->n_boxes == v->boxes_cap) {
		v->boxes_cap = v->boxes_cap ? v->boxes_cap * 2 : 16;
		v->boxes = mem_resize(v->boxes, v->boxes_cap * sizeof(struct box *));
	}
	v->boxes[v->n_boxes++] = box;
}

/* The tree of mailboxes changes at the commit, under both locks, so that nobody finds a name twice. */
static void apply_reshapes(struct tx *tx)
{
	pthread_mutex_lock(&tx->v->memory_lock);
	for (size_t i = 0; i < tx->n_reshapes; i++) {
		struct reshape *r = &tx->reshapes[i];
		if (r->path != NULL) {
			mem_free((char *)(uintptr_t)r->box->m.path.p);
			r->box->m.path = r->box->seen.path = str_of(r->path);
			r->path = NULL;
			r->box->m.role = r->box->seen.role = r->role;
		} else {
			r->box->is_deleted = true;
		}
		if (r->is_born)
			add_box(tx->v, r->box);
	}
	pthread_mutex_unlock(&tx->v->memory_lock);
}

static void drop_reshapes(struct tx *tx)
{
	for (size_t i = 0; i < tx->n_reshapes; i++) {
		mem_free(tx->reshapes[i].path);
		if (tx->reshapes[i].is_born)
			box_free(tx->reshapes[i].box);
	}
	tx->n_reshapes = 0;
}

/* --------------------------------------------------------------------------------------------------------- visible */

/* The rest of a mailbox never changes, but for its path and its role, which change under both locks (apply_reshapes). */
static void copy_counters(struct mailbox *to, const struct mailbox *from)
{
	to->uidnext = from->uidnext;
	to->messages = from->messages;
	to->unseen = from->unseen;
	to->deleted = from->deleted;
	to->size = from->size;
	to->highestmodseq = from->highestmodseq;
}

static void see_change(const struct change *c, uint64_t modseq)
{
	struct array *ar = c->box->array;

	if (c->kind == CHANGE_ADD)
		c->box->added_modseq = modseq;
	if (c->kind == CHANGE_FLAGS)
		c->box->flags_modseq = modseq;
	if (c->kind == CHANGE_GONE)
		c->box->vanished_modseq = modseq;
	if (ar == NULL)
		return;
	switch (c->kind) {
	case CHANGE_ADD:
		array_add(ar, c->uid, c->email, modseq, c->flags);
		break;
	case CHANGE_FLAGS:
		array_flags(ar, c->uid, modseq, c->flags);
		break;
	case CHANGE_GONE:
		array_gone(ar, c->uid, modseq);
		break;
	}
}

static void see_tx(struct view *v, const struct pending *p)
{
	for (size_t i = 0; i < p->n_boxes; i++)
		copy_counters(&p->boxes[i]->seen, &p->counters[i]);
	for (const struct change_block *b = p->changes.first; b != NULL; b = b->next)
		for (size_t i = 0; i < b->n; i++)
			see_change(&b->changes[i], p->modseq);
	events_see(&v->events, p->events);
	v->seen_modseq = p->modseq;
}

static void tell(struct view *v, uint64_t modseq)
{
	if (v->config.on_changed)
		v->config.on_changed(v->config.context, v->config.account, modseq);
}

/* ---------------------------------------------------------------------------------------------------------- commit */

/* Columns of the mailboxes it touched, but for flags alone (mailbox_row.c); then COMMIT. */
static enum err tx_write(struct tx *tx)
{
	TRY(chunk_flush(tx->v));
	for (size_t i = 0; tx->kind == TX_SYNC && i < tx->n_boxes; i++)
		TRY(mailbox_write(tx, &tx->counters[i]));
	if (tx->has_names && !tx->wrote_names)
		TRY(mailbox_write_names(tx));
	if (tx->shared_bytes != tx->v->shared_bytes || tx->kept_bytes != tx->v->kept_bytes)
		TRY(state_set_bytes(tx->v, tx->shared_bytes, tx->kept_bytes));
	return db_commit(tx->v->db);
}

static void add_pending(struct view *v, const struct pending *done)
{
	struct pending *p = MEM_NEW(struct pending);

	*p = *done;
	pthread_mutex_lock(&v->sync_lock);
	if (v->n_pending == v->pending_cap) {
		v->pending_cap = v->pending_cap ? v->pending_cap * 2 : 16;
		v->pending = mem_resize(v->pending, v->pending_cap * sizeof(struct pending *));
	}
	v->pending[v->n_pending++] = p;
	pthread_mutex_unlock(&v->sync_lock);
}

enum err tx_commit(struct tx *tx, uint64_t *commit)
{
	struct view *v = tx->v;
	struct pending done;
	enum err e = tx_write(tx);

	if (e != ERR_OK) {
		tx_abandon(tx);
		return e;
	}
	for (size_t i = 0; i < tx->n_boxes; i++) {
		copy_counters(&tx->boxes[i]->m, &tx->counters[i]);
		tx->boxes[i]->is_ahead = tx->kind == TX_FLAGS;
	}
	if (tx->n_reshapes > 0)
		apply_reshapes(tx);
	delivered_committed(tx);
	v->modseq = tx->modseq;
	v->shared_bytes = tx->shared_bytes;
	v->kept_bytes = tx->kept_bytes;
	usage_note(v);
	*commit = atomic_fetch_add(&v->committed, 1) + 1;
	done = (struct pending){ .commit = *commit,
							 .modseq = tx->modseq,
							 .arena = tx->arena,
							 .changes = tx->changes,
							 .events = tx->events,
							 .boxes = tx->boxes,
							 .counters = tx->counters,
							 .n_boxes = tx->n_boxes };
	tx->arena = (struct arena){ 0 };
	tx->is_open = false;
	events_note_own(v, done.modseq);
	if (tx->kind == TX_SYNC) {
		add_pending(v, &done);
		pthread_mutex_unlock(&v->db_lock);
		return ERR_OK;
	}
	pthread_mutex_lock(&v->memory_lock);
	see_tx(v, &done);
	pthread_mutex_unlock(&v->memory_lock);
	pthread_mutex_unlock(&v->db_lock);
	tell(v, done.modseq);
	arena_free(&done.arena);
	return ERR_OK;
}

void tx_abandon(struct tx *tx)
{
	if (tx->is_open) {
		db_rollback(tx->v->db);
		chunk_forget(tx->v);
		tx->v->reserved = tx->reserved_before;
		tx->is_open = false;
		drop_reshapes(tx);
		pthread_mutex_unlock(&tx->v->db_lock);
	}
	arena_free(&tx->arena);
}

enum err tx_commit_synced(struct tx *tx)
{
	uint64_t commit;

	TRY(tx_commit(tx, &commit));
	return view_sync(tx->v, commit);
}

/* ------------------------------------------------------------------------------------------------------------ sync */

/* Takes what is durable now off the list; what was taken before has been applied. */
static size_t take_durable(struct view *v, uint64_t durable, struct pending **taken, size_t max)
{
	size_t n = 0;

	pthread_mutex_lock(&v->sync_lock);
	while (n < max && n < v->n_pending && v->pending[n]->commit <= durable) {
		taken[n] = v->pending[n];
		n++;
	}
	if (n > 0)
		memmove(v->pending, v->pending + n, (v->n_pending - n) * sizeof *v->pending);
	v->n_pending -= n;
	v->n_taken = n;
	pthread_mutex_unlock(&v->sync_lock);
	return n;
}

/* Only the thread that holds is_syncing publishes, so lists are applied in their order; is_syncing is held until then.
 */
static void publish(struct view *v, uint64_t durable)
{
	struct pending *taken[64];
	uint64_t newest = 0;
	size_t n;

	while ((n = take_durable(v, durable, taken, COUNT_OF(taken))) > 0) {
		pthread_mutex_lock(&v->memory_lock);
		for (size_t i = 0; i < n; i++)
			see_tx(v, taken[i]);
		pthread_mutex_unlock(&v->memory_lock);
		newest = taken[n - 1]->modseq;
		for (size_t i = 0; i < n; i++) {
			arena_free(&taken[i]->arena);
			mem_free(taken[i]);
		}
	}
	if (newest != 0)
		tell(v, newest);
}

void will_wait(struct view *v)
{
	if (v->config.on_wait)
		v->config.on_wait(v->config.context);
}

static enum err sync_files(struct view *v, uint64_t *target, uint64_t *reserved)
{
	pthread_mutex_lock(&v->db_lock);
	*target = atomic_load(&v->committed);
	*reserved = v->reserved;
	pthread_mutex_unlock(&v->db_lock);
	TRY(bodies_sync(v->bodies));
	return db_sync_wal(v->db);
}

enum err view_sync(struct view *v, uint64_t commit)
{
	bool has_synced = false;
	enum err e = ERR_OK;

	pthread_mutex_lock(&v->sync_lock);
	if (v->synced < commit) {
		pthread_mutex_unlock(&v->sync_lock);
		will_wait(v);
		pthread_mutex_lock(&v->sync_lock);
	}
	while (v->synced < commit && !atomic_load(&v->is_broken)) {
		uint64_t target, reserved;
		if (v->is_syncing) {
			pthread_cond_wait(&v->sync_done, &v->sync_lock);
			continue;
		}
		v->is_syncing = true;
		pthread_mutex_unlock(&v->sync_lock);
		e = sync_files(v, &target, &reserved);
		pthread_mutex_lock(&v->sync_lock);
		if (e == ERR_OK) {
			v->reserved_durable = reserved;
			pthread_mutex_unlock(&v->sync_lock);
			publish(v, target);
			pthread_mutex_lock(&v->sync_lock);
			v->synced = target;  /* last: whoever waits finds its change visible */
		} else {
			log_error("account sync failed, nothing more is accepted account=%llu",
					  (unsigned long long)v->config.account);
			atomic_store(&v->is_broken, true);
		}
		v->is_syncing = false;
		has_synced = true;
	}
	e = v->synced >= commit ? ERR_OK : ERR_IO;
	pthread_mutex_unlock(&v->sync_lock);
	if (has_synced)  /* outside the lock, which those that wait take next */
		pthread_cond_broadcast(&v->sync_done);
	return e;
}

enum err view_publish(struct view *v)
{
	return view_sync(v, atomic_load(&v->committed));
}
