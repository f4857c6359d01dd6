/* queue/world_cell_test.h -- for tests: cells that keep what they get as an account does: seen at once, durable after a sync, lost with the
 * power. Part of world_test.h. */
#ifndef FACTEUR_QUEUE_WORLD_CELL_TEST_H
#define FACTEUR_QUEUE_WORLD_CELL_TEST_H
#include "base/bytes.h"
#include "base/mem.h"
#include "base/test.h"
#include "queue/delivery.h"
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

struct kept {  /* one delivery in an account */
	uint64_t log_id, seq;
	uint16_t recipient;
	uint32_t number;            /* the message's own, from its text */
	bool     is_synced;
	bool     is_lost;           /* the disk could not write it; the kernel shows it until the account is opened anew */
};

struct fake_cell {
	pthread_mutex_t *lock;      /* of kept, and of what the disk has lost: the queue's worker syncs it */
	uint64_t        account;
	struct channel *ch;         /* NULL: it does not run */
	bool            is_held;    /* does not answer: cell_answer_held() */
	bool            refuses;    /* answers DEFERRED */
	bool            refuses_for_good;
	bool            syncs_now;
	int             dies_after; /* batches; -1: never */
	bool            dies_before_answer;
	uint32_t        held_call;
	struct kept    *kept;
	size_t          n_kept, cap;
	uint64_t        batches, syncs;
	uint64_t        prune_seq;  /* of the last batch */
	bool            leaves;     /* after each answer, synced */
	bool            is_bad;     /* its disk loses what is to be written now */
	bool            has_lost;   /* it has, since the cell began: none of its syncs succeeds any more */
	bool           *untold;     /* the world's: something was lost, and no sync of all accounts has said so */
	bool            lives_on;   /* only its channel was closed */
	bool            stays;      /* also after a sync that failed */
	bool            asks, is_replayed;
};

static struct kept *cell_find(struct fake_cell *c, const struct delivery *d)
{
	for (size_t i = 0; i < c->n_kept; i++)
		if (c->kept[i].log_id == d->log_id && c->kept[i].seq == d->seq && c->kept[i].recipient == d->recipient)
			return &c->kept[i];
	return NULL;
}

/* "Subject: 17\r\n…" */
static uint32_t text_number(struct str body)
{
	struct scan s = scan_of(body);

	scan_need_str(&s, STR("Subject: "));
	uint32_t n = scan_u32(&s);
	EXPECT(!s.failed);
	return n;
}

static uint32_t delivery_number(const struct delivery *d)
{
	char *text;
	uint32_t n;

	if (d->fd < 0) {
		EXPECT_INT(crc32c(0, d->body.p, d->body.n), d->crc);
		return text_number(d->body);
	}
	text = mem_alloc(d->size);
	EXPECT_INT(pread(d->fd, text, d->size, 0), d->size);
	EXPECT_INT(crc32c(0, text, d->size), d->crc);
	n = text_number(str_make(text, d->size));
	mem_free(text);
	return n;
}

static void cell_keep(struct fake_cell *c, const struct delivery *d)
{
	struct kept kept = { d->log_id, d->seq, d->recipient, delivery_number(d), c->syncs_now && !c->is_bad, false };

	if (d->may_be_duplicate && cell_find(c, d) != NULL)
		return;
	EXPECT(cell_find(c, d) == NULL);  /* sent twice without a word */
	pthread_mutex_lock(c->lock);
	if (c->n_kept == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 16;
		c->kept = mem_resize(c->kept, c->cap * sizeof *c->kept);
	}
	c->kept[c->n_kept++] = kept;
	pthread_mutex_unlock(c->lock);
}

UNUSED static void cell_stop(struct fake_cell *c)
{
	channel_free(c->ch);
	c->ch = NULL;
}

/* Under the lock. What is lost now is told once to who syncs everything, and to the cell for as long as it lives. */
static void cell_write(struct fake_cell *c)
{
	for (size_t i = 0; i < c->n_kept; i++) {
		struct kept *k = &c->kept[i];
		if (k->is_synced || k->is_lost)
			continue;
		k->is_lost = c->is_bad;
		k->is_synced = !c->is_bad;
		c->has_lost |= c->is_bad;
		*c->untold |= c->is_bad;
	}
}

static enum err cell_sync(struct fake_cell *c)
{
	pthread_mutex_lock(c->lock);
	cell_write(c);
	enum err e = c->has_lost ? ERR_IO : ERR_OK;
	pthread_mutex_unlock(c->lock);
	return e;
}

/* Keeps what the disk has (with_power_cut: and nothing else), or the kernel. */
UNUSED static void cell_reopen(struct fake_cell *c, bool with_power_cut)
{
	size_t left = 0;

	pthread_mutex_lock(c->lock);
	for (size_t i = 0; i < c->n_kept; i++)
		if (c->kept[i].is_synced || !(with_power_cut || c->kept[i].is_lost))
			c->kept[left++] = c->kept[i];
	c->n_kept = left;
	c->has_lost = false;
	pthread_mutex_unlock(c->lock);
}

static void cell_answer(struct fake_cell *c, uint32_t call, const struct delivery_batch *batch)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct delivery_result results[DELIVERY_BATCH_MAX];

	for (size_t i = 0; i < batch->n; i++) {
		const struct delivery *d = &batch->deliveries[i];
		const struct kept *kept = cell_find(c, d);
		results[i] = (struct delivery_result){ d->log_id,	 d->seq,	   d->recipient, DELIVERY_DONE,
											   kept != NULL && kept->is_synced, STR("2.0.0"), STR("Work/Secret") };
		if (c->refuses || c->refuses_for_good) {
			results[i].outcome = c->refuses ? DELIVERY_DEFERRED : DELIVERY_REFUSED;
			results[i].status = c->refuses ? STR("4.2.2") : STR("5.2.2");
			results[i].reason = STR("full");
		}
	}
	delivery_results_encode(results, batch->n, &b);
	channel_reply(c->ch, call, ERR_OK, buf_str(&b), NULL, 0);
	if (c->leaves) {
		if (cell_sync(c) == ERR_OK)
			channel_notify(c->ch, NOTICE_CELL_SYNCED, STR(""), NULL, 0);
		shutdown(channel_fd(c->ch), SHUT_WR);
	}
}

static void cell_on_deliver(void *context, UNUSED struct channel *ch, struct message *m)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(delivery_batch_release) struct delivery_batch_in in = { 0 };
	struct fake_cell *c = context;

	EXPECT_OK(delivery_batch_decode(m, &a, &in));
	EXPECT_INT(in.batch.account, c->account);
	EXPECT(in.batch.n > 0 && in.batch.n <= DELIVERY_BATCH_MAX);
	c->prune_seq = in.batch.prune_seq;
	for (size_t i = 0; i < in.batch.n; i++) {  /* what comes now is not forgotten with what was before */
		const struct delivery *d = &in.batch.deliveries[i];
		EXPECT(d->log_id == in.batch.prune_log_id ? d->seq > in.batch.prune_seq : !in.batch.is_only_log);
	}
	c->batches++;
	if (c->dies_after >= 0 && c->dies_after-- == 0) {
		for (size_t i = 0; !c->dies_before_answer && !c->refuses_for_good && i < in.batch.n; i++)
			cell_keep(c, &in.batch.deliveries[i]);
		shutdown(channel_fd(c->ch), SHUT_RDWR);
		return;
	}
	for (size_t i = 0; !c->refuses && !c->refuses_for_good && i < in.batch.n; i++)
		cell_keep(c, &in.batch.deliveries[i]);
	c->held_call = m->call;
	if (c->is_held)
		return;
	cell_answer(c, m->call, &in.batch);
}

/* The one delivery that it has kept last. */
UNUSED static void cell_answer_held(struct fake_cell *c)
{
	const struct kept *k = &c->kept[c->n_kept - 1];
	struct delivery d = { .log_id = k->log_id, .seq = k->seq, .recipient = k->recipient };

	cell_answer(c, c->held_call, &(struct delivery_batch){ .n = 1, .deliveries = &d });
}

static void cell_on_sync(void *context, struct channel *ch, struct message *m)
{
	struct fake_cell *c = context;

	if (c->is_held)
		return;
	c->syncs++;
	enum err e = cell_sync(c);
	channel_reply(ch, m->call, e, STR(""), NULL, 0);
	if (e != ERR_OK && !c->stays)
		shutdown(channel_fd(ch), SHUT_WR);
}

static const struct channel_handler world_cell_handlers[] = {
	{ REQUEST_DELIVER, cell_on_deliver }, { REQUEST_CELL_SYNC, cell_on_sync }, { 0 },
};

static void cell_on_replayed(void *context, struct message *answer)
{
	if (answer->status == ERR_OK)
		((struct fake_cell *)context)->is_replayed = true;
}
#endif
