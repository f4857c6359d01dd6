/* Messages on their way in: APPEND, MULTIAPPEND, and deliveries.
 *
 * Order is everything here (DESIGN §4.7). A message's bytes are complete, its structure is read (outside all locks),
 * its record is in bodies/ and, for whoever is told OK afterwards, synced, before the transaction that names it begins;
 * the transaction is short; the sync of the database follows, and only then is the message visible. A delivery that
 * nobody watches leaves both syncs to the sync point: a crash in between may keep the row and tear the body, so its
 * name is kept in `delivered` and the replay looks (delivered.c).
 *
 * Small messages wait in memory as the records that they become, and go to the disk together; a long one goes there as it comes, in a file of
 * its own. */
#include "base/log.h"
#include "store/delivered.h"
#include "store/digest.h"
#include "store/store_private.h"

enum {
	IN_MEMORY_MAX = 1 << 20,  /* of one message */
#ifdef FACTEUR_FAULT
	WRITE_AT_ONCE = 300,      /* the crash tests come to it */
#else
	WRITE_AT_ONCE = 64 << 10, /* memory that the allocator has at hand */
#endif
	PLACE_MOST = 256,         /* messages in it */
	TRACE_ROOM = 512,         /* a delivery puts some lines before the message */
};

struct incoming {
	struct append_new   in;
	uint32_t            email;
	struct place        place;     /* file 0: its record waits in memory */
	struct digest       digest;
	struct delivery_key key;       /* log_id 0: not a delivery */
};

struct append {
	struct view        *v;
	struct arena        arena;     /* digests, until the commit */
	struct incoming    *messages;
	size_t              n, cap;
	bool                is_open;   /* messages[n - 1] is being written */
	enum err            failed;    /* of the open message */
	struct buf          memory;    /* records, each with room for its header */
	size_t              open_at;   /* where the open one begins */
	size_t              n_placed;  /* messages before this one have been written */
	struct body_writer *writer;    /* once it is longer than IN_MEMORY_MAX */
	uint64_t            total;     /* bytes of the finished messages */
	bool                is_delivery;
	int64_t             replaced_mailbox;  /* 0: nothing is replaced */
	uint32_t            replaced_uid;
	uint64_t            freed;     /* its bytes, as far as one can say before */
	struct delivery_key forget;    /* names up to its seq go in the same transaction; log_id 0: none */
	bool                forgets_others;   /* and all of other logs */
	struct append      *next, **link;   /* in view.appends, once it has taken a number; under the memory lock */
	uint32_t            first_email;
};

static uint64_t open_size(const struct append *ap)
{
	return ap->writer ? body_writer_size(ap->writer) : ap->memory.n - ap->open_at - RECORD_HEADER;
}

static struct str open_bytes(const struct append *ap) { return str_from(buf_str(&ap->memory), ap->open_at + RECORD_HEADER); }

/* n: messages with the one under way. A delivery that begins below the limit may pass it, but not by any size: usage_with_grace(). */
static enum err within_limits(struct append *ap, uint64_t size, size_t n)
{
	struct view *v = ap->v;
	struct view_limits limits;
	struct usage used;

	pthread_mutex_lock(&v->memory_lock);
	used = v->used;
	limits = v->config.limits;
	pthread_mutex_unlock(&v->memory_lock);
	if (size > limits.message_size_max)
		return ERR_LIMIT;
	used.bytes -= ap->freed < used.bytes ? ap->freed : used.bytes;
	used.messages -= ap->replaced_mailbox != 0 && used.messages > 0;
	if (limits.messages_max > 0 && used.messages + n > limits.messages_max)
		return ERR_QUOTA;
	if (limits.quota_bytes == 0)
		return ERR_OK;
	if (ap->is_delivery)
		return used.bytes + ap->total < limits.quota_bytes && used.bytes + ap->total + size <= usage_with_grace(limits.quota_bytes) ? ERR_OK : ERR_QUOTA;
	return used.bytes <= limits.quota_bytes && ap->total + size <= limits.quota_bytes - used.bytes ? ERR_OK : ERR_QUOTA;
}

enum err append_begin(struct view *v, struct append **out)
{
	if (atomic_load(&v->is_broken))
		return ERR_IO;
	*out = MEM_NEW(struct append);
	(*out)->v = v;
	(*out)->memory = BUF(2 * IN_MEMORY_MAX);
	return ERR_OK;
}

void append_replaces(struct append *ap, int64_t mailbox_id, uint32_t uid, uint64_t size)
{
	ap->replaced_mailbox = mailbox_id;
	ap->replaced_uid = uid;
	ap->freed = size;
}

/* Drops the message under way. */
static void drop_open(struct append *ap)
{
	body_writer_abandon(&ap->writer);
	if (ap->is_open) {
		buf_truncate(&ap->memory, ap->open_at);
		ap->n--;
	}
	ap->is_open = false;
}

static const char no_header[RECORD_HEADER];

enum err append_message(struct append *ap, const struct append_new *in, uint64_t size)
{
	struct box *box;

	drop_open(ap);
	pthread_mutex_lock(&ap->v->memory_lock);
	box = box_by_id(ap->v, in->mailbox_id);
	pthread_mutex_unlock(&ap->v->memory_lock);
	if (box == NULL)
		return ERR_NOTFOUND;
	if (ap->n == APPEND_MESSAGES_MAX)
		return ERR_LIMIT;
	TRY(within_limits(ap, size, ap->n + 1));
	if (ap->messages == NULL)  /* most come alone */
		ap->messages = arena_array(&ap->arena, ap->cap = 1, sizeof *ap->messages);
	if (ap->n == ap->cap)
		ap->messages = arena_grow(&ap->arena, ap->messages, ap->n, &ap->cap, sizeof *ap->messages);
	ap->messages[ap->n++] = (struct incoming){ .in = *in };
	ap->messages[ap->n - 1].in.flags &= ~FLAG_GONE;
	if (size + TRACE_ROOM <= IN_MEMORY_MAX)
		buf_reserve(&ap->memory, RECORD_HEADER + size + TRACE_ROOM);
	ap->open_at = ap->memory.n;
	buf_add_bytes(&ap->memory, no_header, RECORD_HEADER);
	ap->failed = ERR_OK;
	ap->is_open = true;
	return ERR_OK;
}

static enum err write_open(struct append *ap, struct str bytes)
{
	TRY(within_limits(ap, open_size(ap) + bytes.n, ap->n));
	if (memchr(bytes.p, 0, bytes.n) != NULL)
		return ERR_INVALID;
	if (ap->writer == NULL && open_size(ap) + bytes.n > IN_MEMORY_MAX) {
		struct str before = open_bytes(ap);
		TRY(body_writer_begin(ap->v->bodies, &ap->writer));
		if (before.n > 0)
			TRY(body_writer_write(ap->writer, before));
		buf_truncate(&ap->memory, ap->open_at);
	}
	if (ap->writer != NULL)
		return body_writer_write(ap->writer, bytes);
	buf_add(&ap->memory, bytes);
	return ERR_OK;
}

enum err append_write(struct append *ap, struct str bytes)
{
	if (!ap->is_open)
		return ERR_INVALID;
	if (ap->failed == ERR_OK && bytes.n > 0)
		ap->failed = write_open(ap, bytes);
	return ap->failed;
}

/* Who goes through all emails must not pass one that is committed later. */
static uint32_t take_number(struct append *ap)
{
	struct view *v = ap->v;
	uint32_t email;

	pthread_mutex_lock(&v->memory_lock);
	email = atomic_fetch_add(&v->email_next, 1);
	if (ap->first_email == 0) {
		ap->first_email = email;
		ap->next = v->appends;
		ap->link = &v->appends;
		if (ap->next != NULL)
			ap->next->link = &ap->next;
		v->appends = ap;
	}
	pthread_mutex_unlock(&v->memory_lock);
	return email;
}

static void numbers_are_settled(struct append *ap)
{
	if (ap->first_email == 0)  /* link and next are changed by the neighbours, too: only under the lock */
		return;
	pthread_mutex_lock(&ap->v->memory_lock);
	*ap->link = ap->next;
	if (ap->next != NULL)
		ap->next->link = ap->link;
	pthread_mutex_unlock(&ap->v->memory_lock);
}

uint32_t email_settled(struct view *v)
{
	uint32_t upto;

	pthread_mutex_lock(&v->memory_lock);
	upto = atomic_load(&v->email_next) - 1;
	for (const struct append *ap = v->appends; ap != NULL; ap = ap->next)
		if (ap->first_email - 1 < upto)
			upto = ap->first_email - 1;
	pthread_mutex_unlock(&v->memory_lock);
	return upto;
}

static enum err finish_long(struct append *ap, struct incoming *m)
{
	struct str whole;

	TRY(body_writer_map(ap->writer, &whole));
	digest_message(whole, &ap->arena, &m->digest);
	body_writer_unmap(whole);
	return body_writer_commit(&ap->writer, m->email, &m->place);
}

/* The records that wait in memory: never more than PLACE_MOST, since finish_short() counts the long messages between them, too. */
static enum err place_all(struct append *ap)
{
	uint32_t emails[PLACE_MOST];
	struct place places[PLACE_MOST];
	size_t n = 0;

	for (size_t i = ap->n_placed; i < ap->n; i++) {
		if (ap->messages[i].place.file == 0) {
			emails[n] = ap->messages[i].email;
			places[n++] = ap->messages[i].place;
		}
	}
	if (n > 0)
		TRY(bodies_append_all(ap->v->bodies, &ap->memory, emails, n, places));
	n = 0;
	for (; ap->n_placed < ap->n; ap->n_placed++)
		if (ap->messages[ap->n_placed].place.file == 0)
			ap->messages[ap->n_placed].place = places[n++];
	buf_reset(&ap->memory);
	return ERR_OK;
}

static enum err finish_short(struct append *ap, struct incoming *m)
{
	struct str whole = open_bytes(ap);

	digest_message(whole, &ap->arena, &m->digest);
	m->place.size = whole.n;
	return ap->memory.n >= WRITE_AT_ONCE || ap->n - ap->n_placed >= PLACE_MOST ? place_all(ap) : ERR_OK;
}

enum err append_end(struct append *ap)
{
	struct incoming *m;
	enum err e;

	if (!ap->is_open)
		return ERR_INVALID;
	m = &ap->messages[ap->n - 1];
	e = ap->failed;
	if (e == ERR_OK && open_size(ap) == 0)
		e = ERR_INVALID;
	if (e == ERR_OK) {
		m->email = take_number(ap);
		e = ap->writer ? finish_long(ap, m) : finish_short(ap, m);
	}
	if (e == ERR_OK) {
		ap->total += m->place.size;
		ap->is_open = false;
	}
	drop_open(ap);
	return e;
}

void append_for_delivery(struct append *ap) { ap->is_delivery = true; }

void append_delivered(struct append *ap, const struct delivery_key *key)
{
	ap->messages[ap->n - 1].key = *key;
}

void append_forget_delivered(struct append *ap, uint64_t log_id, uint64_t seq, bool is_only_log)
{
	ap->forget = (struct delivery_key){ .log_id = log_id, .seq = seq };
	ap->forgets_others = is_only_log;
}

/* ---------------------------------------------------------------------------------------------------------- commit */

static enum err insert_one(struct tx *tx, const struct incoming *m, struct appended *out)
{
	struct box *box = box_for_messages(tx->v, m->in.mailbox_id);
	struct email_new email = {
		.email = m->email, .place = m->place, .received = m->in.internal_date, .digest = m->digest
	};
	struct row row = { .email = m->email, .flags = m->in.flags, .size = m->place.size };

	if (box == NULL)
		return ERR_NOTFOUND;
	TRY(email_insert(tx, &email));
	TRY(message_insert(tx, box, MESSAGE_NEW, &row));
	if (m->key.log_id != 0)
		TRY(delivered_add(tx, &m->key, m->email));
	*out = (struct appended){ m->in.mailbox_id, box->m.uidvalidity, row.uid, m->email };
	return ERR_OK;
}

static enum err expunge_replaced(struct append *ap, struct tx *tx)
{
	struct box *box = box_by_id(tx->v, ap->replaced_mailbox);
	struct row row;
	size_t n = 0;

	if (box != NULL && !box->is_deleted)
		TRY(message_rows(tx->v, ap->replaced_mailbox, ap->replaced_uid, ap->replaced_uid, 0, &row, 1, &n));
	return n == 1 ? message_expunge(tx, box, &row, 1) : ERR_CONFLICT;
}

static enum err insert_all(struct append *ap, struct appended *out, uint64_t *commit)
{
	CLEANUP(tx_abandon) struct tx tx = { 0 };

	TRY(tx_begin(ap->v, TX_SYNC, &tx));
	if (ap->replaced_mailbox != 0)
		TRY(expunge_replaced(ap, &tx));
	for (size_t i = 0; i < ap->n; i++)
		TRY(insert_one(&tx, &ap->messages[i], &out[i]));
	if (ap->forget.log_id != 0)
		TRY(delivered_prune(&tx, &ap->forget, ap->forgets_others));
	if (!ap->is_delivery && !usage_fits(&tx))
		return ERR_QUOTA;
	return tx_commit(&tx, commit);
}

/* What a failed append left in bodies/ is dead weight; noted for compaction, and harmless if even that fails. */
static void note_dead(struct append *ap)
{
	struct view *v = ap->v;

	pthread_mutex_lock(&v->db_lock);
	for (size_t i = 0; i < ap->n; i++)
		if (ap->messages[i].place.file != 0 && body_file_add_dead(v, &ap->messages[i].place) != ERR_OK)
			break;
	pthread_mutex_unlock(&v->db_lock);
}

static enum err commit_append(struct append *ap, bool sync, struct appended *out)
{
	uint64_t commit;

	if (ap->n == 0)
		return ERR_OK;
	TRY(place_all(ap));
	if (sync)
		TRY(bodies_sync(ap->v->bodies));  /* a body before its row: no log can mend it */
	TRY(insert_all(ap, out, &commit));
	return sync ? view_sync(ap->v, commit) : ERR_OK;
}

static enum err commit_and_free(struct append **append, bool sync, struct arena *a, struct appended **out, size_t *n)
{
	struct append *ap = *append;
	enum err e;

	drop_open(ap);  /* one that was not ended does not come in */
	*out = arena_array(a, ap->n + 1, sizeof **out);
	*n = ap->n;
	e = commit_append(ap, sync, *out);
	if (e == ERR_OK)
		ap->n = 0;
	else
		*n = 0;
	append_abandon(append);
	return e;
}

enum err append_commit(struct append **append, struct arena *a, struct appended **out, size_t *n)
{
	return commit_and_free(append, true, a, out, n);
}

/* A session must not see what is not durable, and cannot be kept from the counters: with sessions it is synced at once.
 */
enum err append_commit_later(struct append **append, struct arena *a, struct appended **out, size_t *n)
{
	struct view *v = (*append)->v;
	bool has_sessions;

	pthread_mutex_lock(&v->memory_lock);
	has_sessions = v->n_selected > 0;
	pthread_mutex_unlock(&v->memory_lock);
	return commit_and_free(append, has_sessions || view_pending_count(v) >= PENDING_MAX, a, out, n);
}

void append_abandon(struct append **append)
{
	struct append *ap = *append;

	if (ap == NULL)
		return;
	drop_open(ap);
	if (ap->n > 0)
		note_dead(ap);
	numbers_are_settled(ap);
	buf_free(&ap->memory);
	arena_free(&ap->arena);
	mem_free(ap);
	*append = NULL;
}
