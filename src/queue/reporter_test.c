/* Random lives of a queue whose mailboxes refuse for good: each refusal is told to the sender exactly once, whatever is killed between the
 * refusal, the report and the end of its rows. The reports stay in queue.db here (their recipient is elsewhere), where they are
 * counted. SEED=n repeats a run. */
#include "queue/world_test.h"
#include "queue/queue_private.h"

enum { ACCOUNTS = 6, MESSAGES = 200, STEPS = 250 };

struct story {
	struct world *w;
	uint64_t      accounts[MESSAGES][3];
	size_t        n[MESSAGES];
	uint32_t      n_sent;
	unsigned      told[MESSAGES][ACCOUNTS + 1];
	unsigned      seed;
	int64_t       wall_s;
};

static unsigned pick(struct story *s, unsigned below) { return (unsigned)rand_r(&s->seed) % below; }

/* "Subject: 17", and a line for each recipient with the number of its account. */
static bool write_report(UNUSED void *context, const struct report *r, struct buf *body, enum envelope_body *type, bool *smtputf8)
{
	EXPECT(str_starts(r->original, STR("Subject: ")));
	EXPECT(r->n > 0 && r->n <= 3);
	buf_printf(body, "Subject: %u\r\n\r\n", text_number(r->original));
	for (size_t i = 0; i < r->n; i++) {
		EXPECT_INT(r->recipients[i].action, REPORT_FAILED);
		EXPECT_STR(r->recipients[i].status, "5.2.2");
		buf_add(body, r->recipients[i].address);
		buf_add_cstr(body, "\r\n");
	}
	*type = ENVELOPE_7BIT;
	*smtputf8 = false;
	return true;
}

static void send_one(struct story *s)
{
	static const struct str addresses[ACCOUNTS + 1] = { { "0", 1 }, { "1", 1 }, { "2", 1 }, { "3", 1 }, { "4", 1 }, { "5", 1 }, { "6", 1 } };
	static const size_t sizes[] = { 30, 3000, 100000, 1500000 };
	CLEANUP(buf_free) struct buf text = BUF(4 << 20);
	struct envelope_recipient r[3];
	struct world_add *context;
	struct envelope e;

	if (s->n_sent == MESSAGES)
		return;
	size_t n = s->n[s->n_sent] = 1 + pick(s, 3), first = pick(s, ACCOUNTS);
	for (size_t i = 0; i < n; i++)
		s->accounts[s->n_sent][i] = 1 + (first + i) % ACCOUNTS;
	world_text(&text, s->n_sent, sizes[pick(s, 20) < 19 ? pick(s, 3) : 3]);
	world_envelope(&e, r, s->accounts[s->n_sent], n, NULL);
	for (size_t i = 0; i < n; i++)
		r[i].address = addresses[s->accounts[s->n_sent][i]];
	e.is_authenticated = true;
	context = MEM_NEW(struct world_add);
	*context = (struct world_add){ s->w, s->n_sent++ };
	const struct queue_body body = { .bytes = buf_str(&text) };
	EXPECT_OK(queue_add_ask(s->w->mx, &e, &body, world_added, context));
}

static bool refuses(uint64_t account) { return account > ACCOUNTS / 2; }

static void open_again(struct story *s)
{
	world_kill(s->w);
	world_open(s->w);
}

static void step(struct story *s)
{
	unsigned what = pick(s, 20);

	if (what < 10) {
		send_one(s);
	} else if (what < 16) {
		s->w->clock_ms += 1000;
		clock_wall_offset(s->wall_s += 1);
	} else if (what < 19) {
		open_again(s);
	} else {
		world_stop(s->w);
		world_close_cells(s->w);
		world_open(s->w);
	}
	world_rounds(s->w, (int)pick(s, 6));
}

static bool is_settled(struct story *s)
{
	struct queue *q = s->w->queue;

	s->w->clock_ms += 300;
	clock_wall_offset(s->wall_s += 1);
	world_rounds(s->w, 5);
	return !late_report_is_due(q->late, clock_wall_s() + 100) && !reporter_is_busy(q->reporter) && q->adding == 0 &&
	       q->backlog.dues == 0;
}

/* What one report says. */
static void count_report(struct story *s, const struct late_message *m)
{
	CLEANUP(buf_free) struct buf body = BUF(LATE_SHARED_MAX);
	CLEANUP(fd_close) int fd = -1;

	EXPECT_OK(late_body(s->w->queue->late, m->log_id, m->seq, &body, &fd));
	uint32_t number = text_number(buf_str(&body));
	struct str line, rest = str_from(buf_str(&body), (size_t)str_find(buf_str(&body), STR("\r\n\r\n")) + 4);
	while (rest.n > 0) {
		str_cut(rest, '\n', &line, &rest);
		EXPECT(number < MESSAGES && chr_digit(line.p[0]));
		s->told[number][line.p[0] - '0']++;
	}
}

static void count_reports(struct story *s)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	uint64_t log_id = 0, seq = 0;
	struct late_message *found;
	size_t n;

	do {
		EXPECT_OK(late_list(s->w->queue->late, log_id, seq, 100, &a, &found, &n));
		for (size_t i = 0; i < n; i++) {
			log_id = found[i].log_id;
			seq = found[i].seq;
			EXPECT_INT(found[i].envelope.sender.n, 0);  /* nothing else is left */
			count_report(s, &found[i]);
		}
	} while (n > 0);
}

TEST(each_refusal_is_told_once)
{
	const char *seed = getenv("SEED");
	struct story *s = MEM_NEW(struct story);

	s->seed = seed ? (unsigned)strtoul(seed, NULL, 10) : 3;
	s->w = world_new(8, 1 << 18);
	s->w->report = write_report;
	world_stop(s->w);
	world_open(s->w);
	for (uint64_t account = 1; account <= ACCOUNTS; account++)
		s->w->cells[account - 1].refuses_for_good = refuses(account);
	for (int i = 0; i < STEPS; i++)
		step(s);
	WORLD_UNTIL(s->w, is_settled(s));
	count_reports(s);
	size_t told = 0;
	for (uint32_t number = 0; number < s->n_sent; number++) {
		for (size_t i = 0; i < s->n[number]; i++) {
			uint64_t account = s->accounts[number][i];
			unsigned got = s->told[number][account], want = refuses(account);
			told += got;
			if (s->w->is_acked[number] ? got != want : got > want) {
				print_error("message %u account %llu: told %u times, want %u\n", number, (unsigned long long)account, got, want);
				fail();
			}
		}
	}
	EXPECT(told > 20);
	clock_wall_offset(0);
	world_free(s->w);
	mem_free(s);
}
