/* trail.db, the reading half.
 *
 * Two passes. The first looks for what was asked, the newest block first, and notes the names of the messages it meets, until there
 * are enough. The second gathers, the oldest block first, all events of these names, whatever their age: a message that was
 * received last week and delivered today is one story. Both look into a block only when its filter says that it may be worth it;
 * the events that have not reached the file are the newest block of all, copied when the search begins.
 *
 * The lock of the file is held for the whole search, so that no block is read twice or missed on its way from memory to the file.
 * Only the thread that writes waits for it; notes are taken meanwhile. */
#include "trail/trail_private.h"
#include "base/map.h"
#include <stdlib.h>

struct search {
	struct trail_store       *store;
	const struct trail_query *query;
	struct arena             *arena;
	uint64_t                  wanted[2];     /* tokens of the query: any of them */
	size_t                    n_wanted;
	struct str                memory[PILES]; /* events that are not in the file */
	struct map                names;         /* name -> struct trail_message */
	struct trail_message    **found;
	size_t                    n, cap;
	enum err                  result;
};

/* ---- does it fit? */

static bool in_recipients(const struct trail_event *e, struct str address, uint64_t account)
{
	for (size_t i = 0; i < e->n; i++)
		if (str_ieq(e->recipients[i].address, address) || (account != 0 && e->recipients[i].account == account))
			return true;
	return false;
}

static bool has_address(const struct trail_event *e, struct str address, uint64_t account)
{
	return str_ieq(e->sender, address) || str_ieq(e->recipient, address) || (account != 0 && e->account == account) ||
	       in_recipients(e, address, account);
}

static bool has_domain(const struct trail_event *e, struct str domain)
{
	if (str_ieq(address_domain(e->sender), domain) || str_ieq(address_domain(e->recipient), domain))
		return true;
	for (size_t i = 0; i < e->n; i++)
		if (str_ieq(address_domain(e->recipients[i].address), domain))
			return true;
	return false;
}

static bool is_of_owner(const struct trail_event *e, uint64_t owner)
{
	return owner == 0 || e->account == owner || in_recipients(e, STR("@"), owner);
}

static bool fits(const struct trail_event *e, const struct trail_query *q)
{
	if (e->at_ms < q->since_ms || !is_of_owner(e, q->owner))
		return false;
	switch (q->by) {
	case TRAIL_BY_NAME:
		return (uint32_t)(e->log_id >> 32) == q->log_id_high && e->seq == q->seq && e->log_id != 0;
	case TRAIL_BY_MESSAGE_ID:
		return str_eq(e->message_id, q->text);
	case TRAIL_BY_RECEIVED_ID:
		return str_ieq(e->received_id, q->text);
	case TRAIL_BY_ADDRESS:
		return has_address(e, q->text, q->account);
	case TRAIL_BY_DOMAIN:
		return has_domain(e, q->text);
	case TRAIL_BY_TIME:
		break;
	}
	return true;
}

static void set_wanted(struct search *s)
{
	const struct trail_query *q = s->query;

	switch (q->by) {
	case TRAIL_BY_NAME:
		s->wanted[s->n_wanted++] = token_of_name(q->log_id_high, q->seq);
		break;
	case TRAIL_BY_MESSAGE_ID:
		s->wanted[s->n_wanted++] = token_of_message_id(q->text);
		break;
	case TRAIL_BY_RECEIVED_ID:
		s->wanted[s->n_wanted++] = token_of_received_id(q->text);
		break;
	case TRAIL_BY_ADDRESS:
		s->wanted[s->n_wanted++] = token_of_address(q->text);
		if (q->account != 0)
			s->wanted[s->n_wanted++] = token_of_account(q->account);
		break;
	case TRAIL_BY_DOMAIN:
		s->wanted[s->n_wanted++] = token_of_domain(q->text);
		break;
	case TRAIL_BY_TIME:
		break;
	}
}

static bool may_be_there(struct str filter, const uint64_t *tokens, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (filter_may_have(filter, tokens[i]))
			return true;
	return n == 0;
}

/* ---- messages found */

/* As people see it: half of the log id is all that is in a name. */
static struct str name_key(uint64_t log_id, uint64_t seq, char out[12])
{
	uint32_t high = (uint32_t)(log_id >> 32);

	memcpy(out, &high, 4);
	memcpy(out + 4, &seq, 8);
	return str_make(out, 12);
}

static struct trail_message *find_message(const struct search *s, uint64_t log_id, uint64_t seq)
{
	char key[12];

	return log_id != 0 ? map_get(&s->names, name_key(log_id, seq, key)) : NULL;
}

static struct trail_message *new_message(struct search *s, uint64_t log_id, uint64_t seq)
{
	struct trail_message *m = ARENA_NEW(s->arena, struct trail_message);
	char key[12];

	s->found = arena_grow(s->arena, s->found, s->n, &s->cap, sizeof(struct trail_message *));
	s->found[s->n++] = m;
	m->log_id = log_id;
	m->seq = seq;
	if (log_id != 0)
		map_set(&s->names, name_key(log_id, seq, key), m);
	return m;
}

/* Texts are views into memory that goes: the arena gets them. */
static void keep(struct trail_event *e, struct arena *a)
{
	struct str *texts[] = { &e->sender, &e->recipient, &e->message_id, &e->peer, &e->status, &e->text, &e->tls, &e->where, &e->received_id };
	struct trail_recipient *list = arena_array(a, e->n + 1, sizeof *list);

	for (size_t i = 0; i < COUNT_OF(texts); i++)
		*texts[i] = str_copy(a, *texts[i]);
	for (size_t i = 0; i < e->n; i++)
		list[i] = (struct trail_recipient){ str_copy(a, e->recipients[i].address), e->recipients[i].account };
	e->recipients = list;
}

/* A crash makes the queue say some things again. */
static bool is_known(const struct trail_message *m, const struct trail_event *e)
{
	if (e->kind != TRAIL_RECEIVED && e->kind != TRAIL_DELIVERED && e->kind != TRAIL_WAITS)
		return false;
	for (size_t i = 0; i < m->n; i++) {
		const struct trail_event *x = &m->events[i];
		if (x->kind == e->kind && x->log_id == e->log_id && x->seq == e->seq && x->account == e->account &&
		    str_eq(x->recipient, e->recipient))
			return true;
	}
	return false;
}

/* A message begins with its arrival: other notes of that second may have only the second as their time. */
static bool goes_before(const struct trail_message *m, const struct trail_event *e, const struct trail_event *other)
{
	bool is_start = e->kind == TRAIL_RECEIVED && trail_event_is_of(e, m);
	bool is_after_start = other->kind == TRAIL_RECEIVED && trail_event_is_of(other, m);

	return is_start || is_after_start ? is_start && !is_after_start : e->at_ms < other->at_ms;
}

/* In the order of time; of one moment, as they were noted. */
static void add_event(struct trail_message *m, const struct trail_event *e, struct arena *a)
{
	if (is_known(m, e))
		return;
	if (m->n == TRAIL_EVENTS_MAX) {
		m->is_cut = true;
		return;
	}
	if ((m->n & (m->n - 1)) == 0) {  /* full at each power of two */
		struct trail_event *more = arena_array(a, m->n ? m->n * 2 : 1, sizeof *more);
		if (m->n > 0)
			memcpy(more, m->events, m->n * sizeof *more);
		m->events = more;
	}
	size_t at = m->n++;
	while (at > 0 && goes_before(m, e, &m->events[at - 1])) {
		m->events[at] = m->events[at - 1];
		at--;
	}
	m->events[at] = *e;
	keep(&m->events[at], a);
}

/* ---- the two passes over the events of a block */

typedef void (*visitor)(struct search *s, const struct trail_event *e);

static void visit(struct search *s, struct str events, visitor run)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct scan in = scan_of(events);
	struct trail_event e;

	while (trail_event_decode(&in, &a, &e)) {
		run(s, &e);
		arena_reset(&a);
	}
}

static void look(struct search *s, const struct trail_event *e)
{
	if (!fits(e, s->query))
		return;
	if (e->log_id == 0)
		add_event(new_message(s, 0, 0), e, s->arena);
	else if (find_message(s, e->log_id, e->seq) == NULL)
		new_message(s, e->log_id, e->seq);
}

static void gather(struct search *s, const struct trail_event *e)
{
	struct trail_message *m = find_message(s, e->log_id, e->seq), *parent = find_message(s, e->parent_log_id, e->parent_seq);

	if (m != NULL)
		add_event(m, e, s->arena);
	if (parent != NULL)
		add_event(parent, e, s->arena);
}

/* ---- blocks */

static void visit_content(struct search *s, int64_t block_id, visitor run)
{
	static const char sql[] = "SELECT events FROM content WHERE block_id = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(s->store->db, sql);

	stmt_bind_int64(q, 1, block_id);
	if (stmt_row(q))
		visit(s, stmt_str(q, 0), run);
	else
		s->result = stmt_end(q);
}

static void look_in_memory(struct search *s)
{
	for (size_t i = 0; i < PILES; i++)
		visit(s, s->memory[i], look);
}

static bool has_enough(const struct search *s) { return s->n > s->query->max; }

static void look_in_file(struct search *s)
{
	static const char sql[] = "SELECT block_id, last_ms, filter FROM block ORDER BY block_id DESC";
	CLEANUP(stmt_release) struct stmt *q = db_query(s->store->db, sql);

	while (s->result == ERR_OK && !has_enough(s) && stmt_row(q)) {
		if (stmt_int64(q, 1) >= s->query->since_ms && may_be_there(stmt_str(q, 2), s->wanted, s->n_wanted))
			visit_content(s, stmt_int64(q, 0), look);
	}
	if (s->result == ERR_OK && !has_enough(s))
		s->result = stmt_end(q);
}

static void gather_all(struct search *s)
{
	static const char sql[] = "SELECT block_id, filter FROM block ORDER BY block_id";
	CLEANUP(stmt_release) struct stmt *q = db_query(s->store->db, sql);
	uint64_t *tokens = arena_array(s->arena, s->n, sizeof *tokens);
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		if (s->found[i]->log_id != 0)
			tokens[n++] = token_of_name((uint32_t)(s->found[i]->log_id >> 32), s->found[i]->seq);
	while (n > 0 && s->result == ERR_OK && stmt_row(q))
		if (may_be_there(stmt_str(q, 1), tokens, n))
			visit_content(s, stmt_int64(q, 0), gather);
	if (n > 0 && s->result == ERR_OK)
		s->result = stmt_end(q);
	for (size_t i = 0; n > 0 && i < PILES; i++)
		visit(s, s->memory[i], gather);
}

/* What is not in the file yet, oldest first. */
static void copy_memory(struct search *s)
{
	struct trail_store *t = s->store;

	pthread_mutex_lock(&t->memory);
	for (size_t i = 0; i < PILES; i++) {
		const struct pile *p = &t->piles[i];
		size_t n = p->full_bytes + (p->open != NULL ? p->open->events.n : 0);
		char *to = arena_alloc(s->arena, n + 1);
		s->memory[i] = str_make(to, n);
		for (const struct block *b = p->full; b != NULL; b = b->next) {
			memcpy(to, b->events.p, b->events.n);
			to += b->events.n;
		}
		if (p->open != NULL)
			memcpy(to, p->open->events.p, p->open->events.n);
	}
	pthread_mutex_unlock(&t->memory);
}

/* ---- the answer */

static int by_times(int64_t a_ms, int64_t b_ms, const struct trail_message *a, const struct trail_message *b)
{
	if (a_ms != b_ms)
		return a_ms < b_ms ? -1 : 1;
	return (a->seq > b->seq) - (a->seq < b->seq);
}

static int by_first(const void *left, const void *right)
{
	const struct trail_message *a = left, *b = right;

	return by_times(a->events[0].at_ms, b->events[0].at_ms, a, b);
}

static int by_last(const void *left, const void *right)
{
	const struct trail_message *a = left, *b = right;

	return by_times(a->events[a->n - 1].at_ms, b->events[b->n - 1].at_ms, a, b);
}

/* Of too many those stay to which something happened last. */
static void finish(struct search *s, struct trail_found *out)
{
	struct trail_message *list = arena_array(s->arena, s->n, sizeof *list);
	size_t n = 0, most = s->query->max;

	for (size_t i = 0; i < s->n; i++)
		if (s->found[i]->n > 0 && trail_owner_view(s->found[i], s->query->owner, s->arena))
			list[n++] = *s->found[i];
	if (n > most) {
		qsort(list, n, sizeof *list, by_last);
		list += n - most;
		n = most;
		out->has_more = true;
	}
	if (n > 1)
		qsort(list, n, sizeof *list, by_first);
	out->messages = list;
	out->n = n;
}

static void unlock(pthread_mutex_t **m) { pthread_mutex_unlock(*m); }

enum err trail_store_find(struct trail_store *t, const struct trail_query *q, struct arena *a, struct trail_found *out)
{
	struct search s = { .store = t, .query = q, .arena = a };
	CLEANUP(unlock) UNUSED pthread_mutex_t *held = &t->file;

	*out = (struct trail_found){ 0 };
	pthread_mutex_lock(&t->file);
	if (t->db == NULL)
		return ERR_UNAVAILABLE;
	set_wanted(&s);
	copy_memory(&s);
	look_in_memory(&s);
	look_in_file(&s);
	gather_all(&s);
	if (s.result == ERR_OK)
		finish(&s, out);
	map_free(&s.names);
	return s.result;
}
