/* Random lives of a queue against a model: what was acknowledged is in each of its mailboxes exactly once, whatever
 * dies.
 *
 * A power cut (half of the restarts) takes from every account what was not synced. That is harsher than a disk: there
 * some of it survives; crash_test.c has that. SEED=n repeats a run. */
#include "queue/world_test.h"

enum { ACCOUNTS = 12, DESTINATIONS = 6, STEPS = 400, RECIPIENTS = 5 };

struct sent {
	uint64_t accounts[RECIPIENTS];
	size_t   n;
};

struct story {
	struct world *w;
	struct sent   sent[WORLD_MESSAGES];
	uint32_t      n_sent;
	unsigned      seed;
};

static unsigned pick(struct story *s, unsigned below) { return (unsigned)rand_r(&s->seed) % below; }

static void send_some(struct story *s)
{
	static const size_t sizes[] = { 30, 300, 3000, 30000, 70000, 300000 };

	for (unsigned n = 1 + pick(s, 6); n > 0 && s->n_sent < WORLD_MESSAGES; n--) {
		struct sent *m = &s->sent[s->n_sent];
		m->n = 1 + pick(s, RECIPIENTS);
		for (size_t i = 0; i < m->n; i++)
			m->accounts[i] = pick(s, 3) == 0 ? WORLD_AT(pick(s, DESTINATIONS)) : 1 + (pick(s, ACCOUNTS) + i) % ACCOUNTS;
		world_add(s->w, s->n_sent++, m->accounts, m->n, sizes[pick(s, COUNT_OF(sizes))]);
	}
}

static void restart(struct story *s, bool with_power_cut)
{
	struct world *w = s->w;

	bool is_told = pick(s, 4) == 0;  /* what has been lost was told to the process that ended */
	if (with_power_cut)
		world_cut(w);
	else
		world_kill(w);
	if (is_told)
		(void)world_sync_accounts(w);
	for (size_t i = 0; i < ACCOUNTS; i++) {
		w->cells[i].is_held = w->cells[i].refuses = w->cells[i].is_bad = w->cells[i].stays = false;
		w->cells[i].dies_after = -1;
	}
	world_open(w);
}

static void misbehave(struct story *s)
{
	struct fake_cell *c = &s->w->cells[pick(s, ACCOUNTS)];

	switch (pick(s, 9)) {
	case 0:
		c->dies_after = (int)pick(s, 3);
		c->dies_before_answer = pick(s, 2);
		break;
	case 1:
		c->is_held = true;
		break;
	case 2:
		c->refuses = !c->refuses;
		break;
	case 3:
		c->syncs_now = !c->syncs_now;
		break;
	case 4:
		if (c->ch != NULL)
			cell_stop(c);
		break;
	case 5:
		c->is_bad = !c->is_bad;
		break;
	case 6:
		c->stays = !c->stays;
		break;
	case 7:  /* killed, and there is the next one before anybody has heard of it */
		c->asks = true;
		if (c->ch != NULL)
			world_start_cell(s->w, c->account);
		break;
	default:
		c->leaves = !c->leaves;
	}
}

static void misbehave_elsewhere(struct story *s)
{
	struct fake_net *n = &s->w->net;

	switch (pick(s, 6)) {  /* refusals are no loss: they end a message */
	case 0:
	case 1:
		n->dies_after = (int)pick(s, 6);
		n->dies_before_answer = pick(s, 2);
		break;
	case 2:
		n->is_held = true;
		break;
	case 3:
		n->defers = !n->defers;
		break;
	case 4:
		n->is_unreachable = !n->is_unreachable;
		break;
	default:
		world_start_net(s->w);
	}
}

static void behave_elsewhere(struct world *w)
{
	w->net.defers = w->net.is_unreachable = false;
	if (w->net.is_held)
		world_start_net(w);
	w->net.dies_after = -1;
}

static void step(struct story *s)
{
	struct world *w = s->w;
	unsigned what = pick(s, 40);

	if (what < 20)
		send_some(s);
	else if (what < 28)
		misbehave(s);
	else if (what < 30 && pick(s, 2))
		misbehave_elsewhere(s);
	else if (what < 31)
		w->clock_ms += pick(s, 12000);
	else if (what == 31)
		restart(s, pick(s, 2));
	else if (what == 32 && pick(s, 3) == 0) {
		world_stop(w);
		world_close_cells(w);
		world_open(w);
	}
	world_rounds(w, (int)pick(s, 8));
}

/* Everybody behaves; what is late is told to be tried until nothing is left. */
static bool is_settled(struct story *s)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct world *w = s->w;
	struct queue_command retry = { .kind = QUEUE_RETRY, .recipient = -1 }, counters = { .kind = QUEUE_COUNTERS };
	struct queue_command release = { .kind = QUEUE_RELEASE, .recipient = -1 };
	struct queue_answer answer;

	for (size_t i = 0; i < ACCOUNTS; i++) {
		w->cells[i].is_held = w->cells[i].refuses = w->cells[i].is_bad = false;
		w->cells[i].dies_after = -1;
	}
	behave_elsewhere(w);
	EXPECT_OK(world_command(w, &counters, &a, &answer));
	if (answer.counters.backlog == 0 && answer.counters.late.waiting + answer.counters.late.held == 0)
		return true;
	EXPECT_OK(world_command(w, &retry, &a, &answer));
	EXPECT_OK(world_command(w, &release, &a, &answer));
	w->clock_ms += 500;
	world_rounds(w, 5);
	return false;
}

/* Once; once more for each time that a kill came between its server's 250 and SENT. */
static void check_elsewhere(struct story *s, uint32_t number)
{
	const struct sent *m = &s->sent[number];
	const struct fake_net *net = &s->w->net;

	for (size_t i = 0; i < m->n; i++) {
		size_t got = net->got[number][i], most = 1u + net->excused[number][i];
		if (m->accounts[i] < WORLD_AT(0))
			continue;
		if (got > most || (s->w->is_acked[number] && got == 0)) {
			print_error("message %u recipient %zu elsewhere: %zu times, at most %zu (%s)\n", number, i, got, most,
			            s->w->is_acked[number] ? "acknowledged" : "not acknowledged");
			fail();
		}
	}
}

static void check(struct story *s)
{
	struct world *w = s->w;

	for (uint32_t number = 0; number < s->n_sent; number++) {
		const struct sent *m = &s->sent[number];
		check_elsewhere(s, number);
		for (uint64_t account = 1; account <= ACCOUNTS; account++) {
			size_t want = 0, got = world_count(w, account, number);
			for (size_t i = 0; i < m->n; i++)
				want += m->accounts[i] == account;
			/* what was not acknowledged may be there or not, but whole */
			if (w->is_acked[number] ? got != want : got > want) {
				print_error("message %u account %llu: %zu times, want %zu (%s)\n", number, (unsigned long long)account,
							got, want, w->is_acked[number] ? "acknowledged" : "not acknowledged");
				fail();
			}
		}
	}
}

TEST(acknowledged_is_exactly_once)
{
	const char *seed = getenv("SEED");
	struct story *s = MEM_NEW(struct story);

	s->seed = seed ? (unsigned)strtoul(seed, NULL, 10) : 7;
	s->w = world_new(8, 1 << 18);
	world_start_net(s->w);
	for (int i = 0; i < STEPS; i++)
		step(s);
	WORLD_UNTIL(s->w, is_settled(s));
	restart(s, true);
	WORLD_UNTIL(s->w, is_settled(s));
	check(s);
	EXPECT(s->w->accepted > s->n_sent / 4 && s->w->net.sends > s->n_sent / 4);
	world_free(s->w);
	mem_free(s);
}
