/* queue/world_test.h -- for tests: a queue with everything around it in one process: an mx that adds, a master that
 * wakes and ends, cells (world_cell_test.h) and net (world_net_test.h). */
#ifndef FACTEUR_QUEUE_WORLD_TEST_H
#define FACTEUR_QUEUE_WORLD_TEST_H
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/test.h"
#include "queue/add.h"
#include "queue/command.h"
#include "queue/queue.h"
#include "queue/world_net_test.h"
#include <errno.h>
#include <stdio.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef WORLD_CELLS
#define WORLD_CELLS 40
#endif
enum { WORLD_CHANNELS = 128, WORLD_SUBMITTER = 7 };
/* Instead of an account: elsewhere, at "dK.example". */
#define WORLD_AT(k) ((1u << 20) + (uint64_t)(k))

struct world {
	struct fake_net   net;
	const char       *path;
	struct disk_dir  *dir;
	struct queue     *queue;
	struct channel   *mx;
	struct fake_cell  cells[WORLD_CELLS];      /* account number is index + 1 */
	struct channel   *watched[WORLD_CHANNELS]; /* the queue's ends */
	struct log_config ring;
	pthread_mutex_t   kept_lock;               /* of what cells keep */
	_Atomic size_t    syncs;                   /* of all accounts */
	bool              fails;                   /* they fail */
	_Atomic bool      syncs_wait;              /* they begin when it is false again */
	bool              untold;                  /* an account has lost something: the next one says so */
	bool              wakes;                   /* master starts cells */
	uint64_t          to_wake[WORLD_CELLS], to_end[WORLD_CELLS];
	size_t            n_wake, n_end, wakes_seen, ends_seen;
	int64_t           clock_ms;                /* added to the real one */
	int64_t           hurry_ms;                /* added to that in each round */
	int               sync_every_ms;           /* 0: as ever */
	bool              knows_no_lifetime;       /* its settings have not come yet */
	size_t            refused_elsewhere;     /* recipients, of messages of account WORLD_SUBMITTER */
	size_t            answered, accepted, refused;
	uint64_t          last_accepted;           /* its seq */
	bool              is_acked[WORLD_MESSAGES];
	void (*dress)(struct envelope *e);         /* what a test wants its envelopes to say; NULL: nothing */
	bool (*report)(void *context, const struct report *r, struct buf *body, enum envelope_body *type, bool *smtputf8);
};

static int64_t world_now(const struct world *w) { return clock_mono_ms() + w->clock_ms; }

/* ---- the queue's host */

static void world_watch(void *context, struct channel *ch)
{
	struct world *w = context;

	for (size_t i = 0; i < WORLD_CHANNELS; i++) {
		if (w->watched[i] == NULL) {
			w->watched[i] = ch;
			return;
		}
	}
	fail();
}

static void world_forget(void *context, struct channel *ch)
{
	struct world *w = context;

	for (size_t i = 0; i < WORLD_CHANNELS; i++)
		if (w->watched[i] == ch)
			w->watched[i] = NULL;
}

static void world_wake(void *context, uint64_t account)
{
	struct world *w = context;

	w->wakes_seen++;
	if (w->n_wake < WORLD_CELLS)
		w->to_wake[w->n_wake++] = account;
}

static void world_end(void *context, uint64_t account)
{
	struct world *w = context;

	w->ends_seen++;
	w->to_end[w->n_end++] = account;
}

/* In the worker's thread. */
static void world_refused(void *context, uint64_t account)
{
	EXPECT_INT(account, WORLD_SUBMITTER);
	((struct world *)context)->refused_elsewhere++;
}

static enum err world_sync_accounts(void *context)
{
	struct world *w = context;

	while (w->syncs_wait)
		usleep(1000);
	pthread_mutex_lock(&w->kept_lock);
	for (size_t i = 0; i < WORLD_CELLS; i++)
		cell_write(&w->cells[i]);
	bool fails = w->fails || w->untold;
	w->untold = false;
	w->syncs++;
	pthread_mutex_unlock(&w->kept_lock);
	return fails ? ERR_IO : ERR_OK;
}

/* ---- cells and net come and go */

static void world_pair(int pair[2])
{
	EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
}

UNUSED static void world_start_cell(struct world *w, uint64_t account)
{
	struct fake_cell *c = &w->cells[account - 1];
	int pair[2];

	world_pair(pair);
	if (c->ch != NULL)
		cell_stop(c);
	if (!c->lives_on)
		cell_reopen(c, false);
	c->lives_on = false;
	c->ch = channel_new(pair[0], ROLE_CELL, ROLE_QUEUE, world_cell_handlers, c, NULL);
	queue_cell(w->queue, account, pair[1]);
	c->is_replayed = false;
	if (c->asks)
		channel_ask(c->ch, REQUEST_CELL_REPLAYED, STR(""), NULL, 0, 60000, cell_on_replayed, c);
}

UNUSED static void world_stop_net(struct world *w)
{
	channel_free(w->net.ch);
	w->net.ch = NULL;
	net_excuse(&w->net);
}

UNUSED static void world_start_net(struct world *w)
{
	int pair[2];

	if (w->net.ch != NULL)
		world_stop_net(w);
	world_pair(pair);
	w->net.is_wanted = true;
	w->net.dies_after = -1;
	w->net.is_held = false;
	w->net.ch = channel_new(pair[0], ROLE_NET, ROLE_QUEUE, world_net_handlers, &w->net, NULL);
	queue_net(w->queue, pair[1]);
}

/* ---- life */

static void world_open(struct world *w)
{
	const struct queue_host host = { w, world_watch, world_forget, world_wake, world_end, world_sync_accounts, w->report, world_refused };
	const struct queue_config config = {
		.dir = w->dir, .ring = w->ring, .disk_reserve = 1 << 20, .lifetime_s = w->knows_no_lifetime ? 0 : 5 * 86400, .is_resolved = true,
		.sync_every_ms = w->sync_every_ms,
	};
	int pair[2];

	EXPECT_OK(queue_open(&config, &host, &w->queue));
	world_pair(pair);
	w->mx = channel_new(pair[0], ROLE_MX, ROLE_QUEUE, NULL, w, NULL);
	queue_mx(w->queue, pair[1]);
	if (w->net.is_wanted)
		world_start_net(w);
}

UNUSED static struct world *world_new(uint32_t segments, uint32_t segment_bytes)
{
	struct world *w = MEM_NEW(struct world);

	log_setup("test", LOG_LEVEL_ERROR, false);
	pthread_mutex_init(&w->kept_lock, NULL);
	w->path = test_dir();
	w->ring = (struct log_config){ segments, segment_bytes };
	w->wakes = true;
	for (size_t i = 0; i < WORLD_CELLS; i++) {
		w->cells[i].lock = &w->kept_lock;
		w->cells[i].untold = &w->untold;
		w->cells[i].account = i + 1;
		w->cells[i].dies_after = -1;
	}
	EXPECT_OK(disk_dir_open(w->path, &w->dir));
	world_open(w);
	return w;
}

/* One round of everybody. */
static void world_round(struct world *w)
{
	int fds[2];
	struct pollfd p[2];

	queue_fds(w->queue, fds);
	p[0] = (struct pollfd){ fds[0], POLLIN, 0 };
	p[1] = (struct pollfd){ fds[1], POLLIN, 0 };
	poll(p, 2, 1);
	queue_receive(w->queue);
	for (size_t i = 0; i < WORLD_CHANNELS; i++)
		if (w->watched[i] != NULL)
			(void)channel_receive(w->watched[i]);
	w->clock_ms += w->hurry_ms;
	queue_run(w->queue, world_now(w));
	while (w->wakes && w->n_wake > 0)
		world_start_cell(w, w->to_wake[--w->n_wake]);
	while (w->n_end > 0) {
		struct fake_cell *c = &w->cells[w->to_end[--w->n_end] - 1];
		if (c->ch != NULL)
			cell_stop(c);
		c->is_held = false;
		queue_cell_ended(w->queue, c->account, ERR_OK);
	}
	(void)channel_receive(w->mx);
	if (w->net.ch != NULL && channel_receive(w->net.ch) == ERR_CLOSED)
		world_start_net(w);
	for (size_t i = 0; i < WORLD_CELLS; i++) {
		struct fake_cell *c = &w->cells[i];
		if (c->ch != NULL && channel_receive(c->ch) == ERR_CLOSED)
			cell_stop(c);
	}
}

UNUSED static void world_rounds(struct world *w, int n)
{
	while (n-- > 0)
		world_round(w);
}

/* Until it is true; a machine may be busy. */
#define WORLD_UNTIL(w, condition) do { int64_t wu_end = clock_mono_ms() + 60000; \
	while (!(condition) && clock_mono_ms() < wu_end) { world_round(w); } \
	EXPECT(condition); } while (0)

UNUSED static void world_close_cells(struct world *w)
{
	for (size_t i = 0; i < WORLD_CELLS; i++)
		if (w->cells[i].ch != NULL)
			cell_stop(&w->cells[i]);
}

UNUSED static void world_stop(struct world *w)
{
	queue_stop(w->queue);
	WORLD_UNTIL(w, queue_is_stopped(w->queue));
	world_stop_net(w);
	channel_free(w->mx);
	queue_close(w->queue);
	w->queue = NULL;
}

/* The role is killed. Cells live on, and lose their channel. */
UNUSED static void world_kill(struct world *w)
{
	world_stop_net(w);
	channel_free(w->mx);
	queue_close(w->queue);
	w->queue = NULL;
	w->n_wake = w->n_end = 0;
	for (size_t i = 0; i < WORLD_CELLS; i++)
		w->cells[i].lives_on |= w->cells[i].ch != NULL;
	world_close_cells(w);
}

/* The power: nothing lives on, and accounts have what was synced. */
UNUSED static void world_cut(struct world *w)
{
	world_kill(w);
	for (size_t i = 0; i < WORLD_CELLS; i++) {
		w->cells[i].lives_on = false;
		cell_reopen(&w->cells[i], true);
	}
	w->untold = false;
}

UNUSED static void world_free(struct world *w)
{
	if (w->queue != NULL)
		world_kill(w);
	world_close_cells(w);
	for (size_t i = 0; i < WORLD_CELLS; i++)
		mem_free(w->cells[i].kept);
	disk_dir_close(&w->dir);
	test_dir_remove(w->path);
	mem_free(w);
}

/* ---- control */

struct command_asked {
	enum err      result;
	struct arena *arena;
	struct str    answer;
};

static void world_on_command(void *context, struct channel *ch, struct message *m)
{
	queue_on_command(((struct world *)context)->queue, ch, m);
}

static void world_commanded(void *context, struct message *answer)
{
	struct command_asked *c = context;

	c->result = answer->status;
	c->answer = str_copy(c->arena, answer->body);
}

/* ---- mx */

struct world_add {
	struct world *world;
	uint32_t      number;
};

static void world_added(void *context, enum err result, struct queue_id id)
{
	struct world_add *a = context;

	a->world->answered++;
	if (result == ERR_OK) {
		a->world->accepted++;
		a->world->last_accepted = id.seq;
		a->world->is_acked[a->number] = true;
	} else {
		a->world->refused++;
	}
	mem_free(a);
}

UNUSED static void world_envelope(struct envelope *e, struct envelope_recipient *r, const uint64_t *accounts, size_t n,
                                  struct arena *a)
{
	*e = (struct envelope){ .source = ENVELOPE_MX, .sender = STR("alice@example.test"), .body = ENVELOPE_7BIT,
		                    .received = clock_wall_s(), .n = n, .recipients = r };
	for (size_t i = 0; i < n; i++) {
		if (accounts[i] != 0 && accounts[i] < WORLD_AT(0))  /* NOLINT: there are n of them */
			r[i] = (struct envelope_recipient){ .address = STR("bob@example.test"), .account = accounts[i] };
		else
			r[i].address = arena_printf(a, "x%zu@d%u.example", i, accounts[i] ? (unsigned)(accounts[i] - WORLD_AT(0)) : 0);
	}
}

static void world_text(struct buf *text, uint32_t number, size_t size)
{
	buf_printf(text, "Subject: %u\r\nFrom: alice@example.test\r\n\r\n", number);
	while (text->n < size)
		buf_printf(text, "%060u\r\n", number);
}

/* A message for these accounts (0: elsewhere); its text says its number. */
UNUSED static void world_add(struct world *w, uint32_t number, const uint64_t *accounts, size_t n, size_t size)
{
	CLEANUP(buf_free) struct buf text = BUF(64 << 20);
	CLEANUP(arena_free) struct arena a = { 0 };
	struct envelope_recipient *r = arena_array(&a, n, sizeof *r);
	struct world_add *context = MEM_NEW(struct world_add);
	struct queue_body body;
	struct envelope e;

	*context = (struct world_add){ w, number };
	world_text(&text, number, size);
	world_envelope(&e, r, accounts, n, &a);
	if (w->dress != NULL)
		w->dress(&e);
	body = (struct queue_body){ .bytes = buf_str(&text) };
	EXPECT_OK(queue_add_ask(w->mx, &e, &body, world_added, context));
}

/* Asks the queue as control does; the answer lives in a. */
UNUSED static enum err world_command(struct world *w, const struct queue_command *c, struct arena *a,
									 struct queue_answer *out)
{
	CLEANUP(buf_free) struct buf request = BUF(MESSAGE_BODY_MAX), answer = BUF(MESSAGE_BODY_MAX);
	struct command_asked asked = { ERR_AGAIN, a, STR_NONE };
	static const struct channel_handler none[] = { { 0 } };
	int pair[2];

	world_pair(pair);
	struct channel *control = channel_new(pair[0], ROLE_CONTROL, ROLE_QUEUE, none, w, NULL);
	const struct channel_handler handlers[] = { { REQUEST_QUEUE_COMMAND, world_on_command }, { 0 } };
	struct channel *queue = channel_new(pair[1], ROLE_QUEUE, ROLE_CONTROL, handlers, w, NULL);
	queue_command_encode(c, &request);
	channel_ask(control, REQUEST_QUEUE_COMMAND, buf_str(&request), NULL, 0, 5000, world_commanded, &asked);
	(void)channel_receive(queue);
	(void)channel_receive(control);
	channel_free(queue);
	channel_free(control);
	return asked.result == ERR_OK ? queue_answer_decode(asked.answer, a, out) : asked.result;
}

/* Large messages that have a file of their own. */
UNUSED static size_t world_spool_files(const struct world *w)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(disk_dir_close) struct disk_dir *d = NULL;
	struct str *names;
	size_t n;

	EXPECT_OK(disk_dir_open_below(w->dir, "spool", false, &d));
	EXPECT_OK(disk_list(d, &a, &names, &n));
	return n;
}

UNUSED static size_t world_late(struct world *w, bool with_elsewhere)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct queue_command c = { .kind = QUEUE_COUNTERS };
	struct queue_answer answer;

	EXPECT_OK(world_command(w, &c, &a, &answer));
	const struct late_counts *n = &answer.counters.late;
	return (size_t)(n->waiting + n->held - (with_elsewhere ? 0 : n->elsewhere));
}

/* How often the account has the message. */
UNUSED static size_t world_count(const struct world *w, uint64_t account, uint32_t number)
{
	const struct fake_cell *c = &w->cells[account - 1];
	size_t n = 0;

	for (size_t i = 0; i < c->n_kept; i++)
		n += c->kept[i].number == number;
	return n;
}
#endif
