/* The road of a message under power cuts: ADD, the log, DELIVER, the account, the sync point, all in one trace of the
 * disk layer. After a cut anywhere, what had been acknowledged is in each of its mailboxes exactly once and whole, once
 * the replay is done. SEED=n repeats a run. */
#include "base/bytes.h"
#include "base/log.h"
#include "deliver/local.h"
#include "disk/powercut_test.h"
#include "queue/add.h"
#include "queue/queue.h"
#include <poll.h>
#include <sys/socket.h>

#ifdef FACTEUR_FAULT
enum { ACCOUNTS = 3, MESSAGES = 90, CUTS = 40, TEXT_MAX = 40000 };

struct cell {
	struct road    *road;
	uint64_t        account;
	struct view    *view;
	struct channel *ch;
	bool            shall_end;
};

struct road {
	const char     *dir;
	struct disk_dir *queue_dir;
	struct queue   *queue;
	struct channel *mx;
	struct cell     cells[ACCOUNTS];
	struct channel *watched[2 * ACCOUNTS + 4];
	const char     *trace_path;        /* NULL: nothing is traced */
	size_t          acked_at[MESSAGES]; /* position in the trace; 0: never */
	uint32_t        sent;
	size_t          answered;
	unsigned        seed, slowness;    /* one in so many rounds a cell does something */
};

static void text_of(uint32_t number, struct buf *out)
{
	buf_printf(out, "Subject: %u\r\n\r\n", number);
	for (uint32_t i = 0; i < number * 7919 % 500; i++)
		buf_printf(out, "line %u of message %u\r\n", i, number);
}

static uint64_t accounts_of(uint32_t number)
{
	return 1 + number * 31 % ((1 << ACCOUNTS) - 1);
} /* a mask, never empty */

/* ---- host */

static void on_watch(void *context, struct channel *ch)
{
	struct road *r = context;
	size_t i = 0;

	while (r->watched[i] != NULL)
		i++;
	EXPECT(i < COUNT_OF(r->watched));
	r->watched[i] = ch;
}

static void on_forget(void *context, struct channel *ch)
{
	struct road *r = context;

	for (size_t i = 0; i < COUNT_OF(r->watched); i++)
		if (r->watched[i] == ch)
			r->watched[i] = NULL;
}

static void on_deliver(void *context, struct channel *ch, struct message *m)
{
	static const struct deliver_settings settings = { 0 };
	CLEANUP(buf_free) struct buf answer = BUF(MESSAGE_BODY_MAX);
	struct cell *c = context;

	enum err e = deliver_serve(c->view, &settings, m, &answer);
	channel_reply(ch, m->call, e, buf_str(&answer), NULL, 0);
}

static void on_sync(void *context, struct channel *ch, struct message *m)
{
	struct cell *c = context;
	bool refuses = rand_r(&c->road->seed) % 3 == 0;  /* then all are synced at once */

	channel_reply(ch, m->call, refuses ? ERR_AGAIN : view_publish(c->view), STR(""), NULL, 0);
}

static const struct channel_handler cell_handlers[] = { { REQUEST_DELIVER, on_deliver },
														{ REQUEST_CELL_SYNC, on_sync },
														{ 0 } };

static void make_pair(int pair[2])
{
	EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
}

static void on_wake(void *context, uint64_t account)
{
	struct road *r = context;
	struct cell *c = &r->cells[account - 1];
	int pair[2];

	make_pair(pair);
	if (c->ch != NULL)
		channel_free(c->ch);
	c->ch = channel_new(pair[0], ROLE_CELL, ROLE_QUEUE, cell_handlers, c, NULL);
	queue_cell(r->queue, account, pair[1]);
}

/* One that refuses twice what only it can prove. */
static void on_end(void *context, uint64_t account)
{
	struct road *r = context;

	r->cells[account - 1].shall_end = true;
}

static void end_cell(struct road *r, struct cell *c)
{
	c->shall_end = false;
	channel_free(c->ch);
	c->ch = NULL;
	queue_cell_ended(r->queue, c->account, ERR_OK);
}

static enum err on_sync_accounts(void *context)
{
	struct road *r = context;

	for (size_t i = 0; i < ACCOUNTS; i++)
		if (view_publish(r->cells[i].view) != ERR_OK)
			return ERR_IO;
	return ERR_OK;
}

/* ---- life */

static struct disk_dir *below(struct disk_dir *parent, const char *name)
{
	struct disk_dir *d;

	EXPECT_OK(disk_dir_open_below(parent, name, true, &d));
	EXPECT_OK(disk_dir_sync(parent));
	return d;
}

static void open_road(struct road *r, const char *dir)
{
	const struct queue_host host = { r, on_watch, on_forget, on_wake, on_end, on_sync_accounts };
	struct queue_config config = {
		.ring = { 6, 1 << 17 }, .disk_reserve = 1, .lifetime_s = 86400, .sync_every_ms = 30, .is_resolved = true
	};
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(disk_dir_close) struct disk_dir *top = NULL;
	int pair[2];

	r->dir = dir;
	EXPECT_OK(disk_dir_open(dir, &top));
	r->queue_dir = below(top, "queue");
	for (size_t i = 0; i < ACCOUNTS; i++) {
		const struct view_config view = { .account = i + 1 };
		char *name = str_cstr(&a, arena_printf(&a, "account%zu", i + 1));
		struct disk_dir *folder = below(top, name);
		r->cells[i] = (struct cell){ .road = r, .account = i + 1 };
		EXPECT_OK(view_open(disk_dir_path(folder), &view, &r->cells[i].view));
		disk_dir_close(&folder);
	}
	config.dir = r->queue_dir;
	EXPECT_OK(queue_open(&config, &host, &r->queue));
	make_pair(pair);
	r->mx = channel_new(pair[0], ROLE_MX, ROLE_QUEUE, NULL, r, NULL);
	queue_mx(r->queue, pair[1]);
}

static void round_of(struct road *r)
{
	int fds[2];

	queue_fds(r->queue, fds);
	struct pollfd p[2] = { { fds[0], POLLIN, 0 }, { fds[1], POLLIN, 0 } };
	poll(p, 2, 1);
	queue_receive(r->queue);
	for (size_t i = 0; i < COUNT_OF(r->watched); i++)
		if (r->watched[i] != NULL)
			(void)channel_receive(r->watched[i]);
	queue_run(r->queue, clock_mono_ms());
	(void)channel_receive(r->mx);
	for (struct cell *c = r->cells; c < r->cells + ACCOUNTS; c++) {
		if (c->shall_end)
			end_cell(r, c);
		if (c->ch != NULL && rand_r(&r->seed) % r->slowness == 0)
			(void)channel_receive(c->ch);
	}
}

static void stop_road(struct road *r)
{
	queue_stop(r->queue);
	for (int i = 0; i < 8000 && !queue_is_stopped(r->queue); i++)
		round_of(r);
	EXPECT(queue_is_stopped(r->queue));
	channel_free(r->mx);
	queue_close(r->queue);
	for (size_t i = 0; i < ACCOUNTS; i++) {
		channel_free(r->cells[i].ch);
		view_close(r->cells[i].view);
	}
	disk_dir_close(&r->queue_dir);
}

struct waiting {
	struct road *road;
	uint32_t     number;
};

static void on_added(void *context, enum err result, UNUSED struct queue_id id)
{
	struct waiting *w = context;

	w->road->answered++;
	if (result == ERR_OK)
		w->road->acked_at[w->number] = powercut_position(w->road->trace_path);
	mem_free(w);
}

static void send_one(struct road *r)
{
	CLEANUP(buf_free) struct buf text = BUF(TEXT_MAX);
	struct envelope_recipient to[ACCOUNTS];
	struct envelope e = { .source = ENVELOPE_MX,
						  .sender = STR("a@example.test"),
						  .body = ENVELOPE_7BIT,
						  .received = 1700000000,
						  .recipients = to };
	struct waiting *w = MEM_NEW(struct waiting);

	*w = (struct waiting){ r, r->sent };
	text_of(r->sent, &text);
	for (uint64_t i = 0; i < ACCOUNTS; i++)
		if (accounts_of(r->sent) >> i & 1)
			to[e.n++] = (struct envelope_recipient){ .address = STR("b@example.test"), .account = i + 1 };
	r->sent++;
	const struct queue_body body = { .bytes = buf_str(&text) };
	EXPECT_OK(queue_add_ask(r->mx, &e, &body, on_added, w));
}

/* ---- after a cut */

static uint32_t number_of(struct view *v, uint32_t email)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf want = BUF(TEXT_MAX);
	struct body body;
	char *text;

	EXPECT_OK(body_open(v, email, &body));
	text = arena_alloc(&a, body.size);
	EXPECT_OK(body_read(&body, 0, text, body.size));
	struct scan s = scan_of(str_make(text, body.size));
	scan_need_str(&s, STR("Return-Path: <a@example.test>\r\nDelivered-To: b@example.test\r\nSubject: "));
	uint32_t number = scan_u32(&s);
	EXPECT(!s.failed && number < MESSAGES);
	text_of(number, &want);
	EXPECT(str_ends(str_make(text, body.size), buf_str(&want)));
	body_close(&body);
	return number;
}

static void count_account(struct view *v, uint32_t times[MESSAGES])
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct message_row rows[2 * MESSAGES];
	struct mailbox inbox;
	struct selected *s;
	uint32_t next = 0;

	EXPECT_OK(view_publish(v));
	EXPECT_OK(view_mailbox_by_role(v, MAILBOX_INBOX, &a, &inbox));
	EXPECT_OK(selected_open(v, inbox.mailbox_id, NULL, &s));
	size_t n = selected_rows(s, NULL, 0, &next, rows, COUNT_OF(rows));
	for (size_t i = 0; i < n; i++)
		times[number_of(v, rows[i].email)]++;
	selected_close(s);
}

static void check_cut(const struct road *before, struct str trace, size_t cut, unsigned seed)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct road *r = MEM_NEW(struct road);
	r->slowness = 1;
	char *dir = mem_strdup(str_cstr(&a, arena_printf(&a, "%s.cut", before->dir)));  /* test_dir_remove() frees it */

	powercut_rebuild(trace, cut, before->dir, dir, seed);
	open_road(r, dir);
	for (int i = 0; i < 40; i++)
		round_of(r);
	stop_road(r);  /* waits for what is out */
	open_road(r, dir);
	for (int i = 0; i < 40; i++)
		round_of(r);
	for (uint64_t i = 0; i < ACCOUNTS; i++) {
		uint32_t times[MESSAGES] = { 0 };
		count_account(r->cells[i].view, times);
		for (uint32_t k = 0; k < before->sent; k++) {
			bool is_acked = before->acked_at[k] != 0 && before->acked_at[k] <= cut;
			uint32_t want = accounts_of(k) >> i & 1;
			if (is_acked ? times[k] != want : times[k] > want) {
				print_error("seed %u cut %zu: message %u is %u times in account %llu, want %u%s\n", seed, cut, k,
							times[k], (unsigned long long)i + 1, want, is_acked ? "" : " at most");
				fail();
			}
		}
	}
	stop_road(r);
	mem_free(r);
	test_dir_remove(dir);
}

static void run_story(struct road *r)
{
	while (r->sent < MESSAGES) {
		for (int n = rand_r(&r->seed) % 4; n > 0 && r->sent < MESSAGES; n--)
			send_one(r);
		for (int n = rand_r(&r->seed) % 40; n > 0; n--)
			round_of(r);
	}
	for (int i = 0; i < 4000 && r->answered < r->sent; i++)
		round_of(r);
	r->slowness = 1;
}
#endif

TEST(acknowledged_is_in_the_mailbox_after_any_power_cut)
{
#ifdef FACTEUR_FAULT
	CLEANUP(arena_free) struct arena a = { 0 };
	struct road *r = MEM_NEW(struct road);
	const char *seed = getenv("SEED");

	log_setup("test", LOG_LEVEL_ERROR + 1, false);  /* torn bodies are what this is about */
	const char *dir = test_dir();
	r->seed = seed ? (unsigned)strtoul(seed, NULL, 10) : 11;
	r->trace_path = powercut_start(&a, dir);
	r->slowness = 12;
	open_road(r, dir);
	size_t ready = powercut_position(r->trace_path);
	run_story(r);
	stop_road(r);
	EXPECT(r->acked_at[MESSAGES - 1] != 0);
	struct str trace = powercut_stop(&a, r->trace_path);
	for (unsigned i = 0; i < CUTS; i++)
		check_cut(r, trace, powercut_after(trace, ready, (unsigned)rand_r(&r->seed) % 3000), i);
	check_cut(r, trace, trace.n, 0);
	test_dir_remove(dir);
	mem_free(r);
#endif
}
