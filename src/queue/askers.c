/* Who is at the other end: mx, control, cells, net and keys; what they ask that is not ADD (add.c). */
#include "base/mem.h"
#include "queue/command.h"
#include "queue/parcels.h"
#include "queue/queue_private.h"

enum { LAST_WORDS_MAX = 64 };

static struct asker *asker_new(struct queue *q, uint64_t account)
{
	struct asker *a = MEM_NEW(struct asker);

	*a = (struct asker){ .queue = q, .number = ++q->next_asker, .account = account };
	map_set_u64(&q->askers, a->number, a);
	return a;
}

static void asker_free(struct asker *a)
{
	struct queue *q = a->queue;

	map_set_u64(&q->askers, a->number, NULL);
	spool_owner_gone(q->spool, a->number);
	q->host.forget(q->host.context, a->ch);
	channel_free(a->ch);
	mem_free(a);
}

/* The cell starts after an unclean stop. What earlier cells may have half delivered is sent again before it serves
 * anybody; that is all of the backlog that may be duplicate, and what is late for this account. */
static void on_replayed(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct asker *a = context;

	local_try_late(a->queue, a->account);
	dispatch_replayed(a->queue->dispatch, a->account, m->call);
}

static void on_cell_synced(void *context, UNUSED struct channel *ch, UNUSED struct message *m)
{
	struct asker *a = context;

	a->is_synced = true;
	sync_closed(a->queue->sync, a->account);
}

static const struct channel_handler mx_handlers[] = { { REQUEST_ADD, add_on_add },
													  { REQUEST_SPOOL, add_on_spool },
													  { NOTICE_SPOOL_DROP, add_on_spool_drop },
													  { 0 } };
static const struct channel_handler cell_handlers[] = {
	{ REQUEST_ADD, add_on_add }, { REQUEST_SPOOL, add_on_spool }, { NOTICE_SPOOL_DROP, add_on_spool_drop },
	{ REQUEST_CELL_REPLAYED, on_replayed }, { NOTICE_CELL_SYNCED, on_cell_synced }, { 0 },
};

static void on_mx_closed(void *context, UNUSED struct channel *ch)
{
	struct asker *a = context;

	a->queue->mx = NULL;
	asker_free(a);
}

void queue_mx(struct queue *q, int fd)
{
	if (q->mx != NULL)
		asker_free(q->mx);
	q->mx = asker_new(q, 0);
	q->mx->ch = channel_new(fd, ROLE_QUEUE, ROLE_MX, mx_handlers, q->mx, on_mx_closed);
	q->host.watch(q->host.context, q->mx->ch);
}

/* Who asks is named by its number alone, so that an answer that comes late does not meet somebody else. */
void queue_on_control_add(struct queue *q, struct channel *ch, struct message *m)
{
	if (q->control == NULL)
		q->control = asker_new(q, 0);
	q->control->ch = ch;
	add_on_add(q->control, ch, m);
}

/* Its cell is ended by whoever deletes it, and shall not be woken again. A round proves what it has got, with all others. */
static bool is_deleted(const struct queue *q, uint64_t account)
{
	struct lookup_account found;

	return q->lookup != NULL && !lookup_account(q->lookup, account, &found);
}

/* The asks of the channel end first (channel_free), so that what was out waits again. */
static void lose_cell(struct asker *a)
{
	struct queue *q = a->queue;
	uint64_t account = a->account;
	bool is_synced = a->is_synced;

	map_set_u64(&q->cells, account, NULL);
	asker_free(a);
	if (!is_synced && !is_deleted(q, account))
		sync_lost(q->sync, account);
	dispatch_asleep(q->dispatch, account);
}

static void on_cell_closed(void *context, UNUSED struct channel *ch) { lose_cell(context); }

/* The process is gone, as master says; what it said before is still to be read. Lost, its deliveries would be made again, and count as
 * losses. */
static void hear_out(struct queue *q, uint64_t account)
{
	struct asker *a = map_get_u64(&q->cells, account);

	for (int i = 0; a != NULL && i < LAST_WORDS_MAX && channel_receive(a->ch) == ERR_OK; i++)
		;
}

void queue_cell(struct queue *q, uint64_t account, int fd)
{
	hear_out(q, account);
	struct asker *a = map_get_u64(&q->cells, account);
	if (a != NULL)
		lose_cell(a);
	a = asker_new(q, account);
	a->ch = channel_new(fd, ROLE_QUEUE, ROLE_CELL, cell_handlers, a, on_cell_closed);
	map_set_u64(&q->cells, account, a);
	q->host.watch(q->host.context, a->ch);
	dispatch_awake(q->dispatch, account, a->ch);
}

void queue_net(struct queue *q, int fd) { parcels_net(q->parcels, fd); }
void queue_keys(struct queue *q, int fd) { parcels_keys(q->parcels, fd); }

void queue_cell_ended(struct queue *q, uint64_t account, enum err result)
{
	if (result == ERR_OK)
		hear_out(q, account);
	dispatch_ended(q->dispatch, account, result);
}

/* Whoever has brought a mailbox back under another number, and deleted this one, is done with it. */
static size_t failing(struct queue *q, uint64_t *account)
{
	size_t n;

	while ((n = sync_failing(q->sync, account)) > 0 && is_deleted(q, *account))
		sync_forget_failing(q->sync, *account);
	return n;
}

void queue_on_command(struct queue *q, struct channel *ch, struct message *m)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct queue_counters c = { .log_id = log_id(q->log),
								.w = log_w(q->log),
								.last_seq = log_last_seq(q->log),
								.fill_percent = log_fill_percent(q->log),
								.has_failed = log_has_failed(q->log),
								.is_disk_full = q->is_disk_full,
								.backlog = q->backlog.dues };
	bool has_changed = false;

	c.failing = failing(q, &c.failing_account);
	enum err e = queue_command_serve(q->late, q->parcels, &c, m->body, &b, &has_changed);

	channel_reply(ch, m->call, e, e == ERR_OK && b.n > 0 ? buf_str(&b) : STR(""), NULL, 0);
	if (!has_changed)
		return;
	note_order(q, m->body);
	q->late_due = 0;
	parcels_look_anew(q->parcels);
}

void askers_close(struct queue *q)
{
	size_t at = 0;
	void *v;

	while (map_next(&q->cells, &at, NULL, &v))
		lose_cell(v);
	if (q->mx != NULL)
		asker_free(q->mx);
	if (q->control != NULL)
		map_set_u64(&q->askers, q->control->number, NULL);
	mem_free(q->control);
}
