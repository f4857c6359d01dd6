/* queue, asked by mx, control and cells, and answered by cells, net, keys and control: a fresh log for each input. */
#include "queue/delivery.h"
#include "role/role_fuzz.h"

#define RESULT "%4ssssbbb"
#define RESULTS_1 RESULT
#define RESULTS_2 RESULT RESULT
#define RESULTS_OF(n) "=" #n "=0=0=0" RESULTS_##n
#define SOMEBODY_WAITS "=0=0=0=0=0=0=0=0"  /* for the answer, always */
#define ENVELOPE "=1%4s%3%2sbb8s88884(sss8%7)"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void reset(const char *dir)
{
	char *path = mem_alloc(300);

	snprintf(path, 300, "%s/queue", dir);
	test_dir_remove(path);
	CLEANUP(arena_free) struct arena a = { 0 };
	assert(mkdir(str_cstr(&a, arena_printf(&a, "%s/queue", dir)), 0700) == 0);
}

static void prepare(const char *dir)
{
	CLEANUP(arena_free) struct arena a = { 0 };

	assert(mkdir(str_cstr(&a, arena_printf(&a, "%s/accounts", dir)), 0700) == 0);
}

/* Results for the batch that came last. */
static void put_results(struct fuzz_world *w, struct buf *b)
{
	static const struct str statuses[] = { { "2.0.0", 5 }, { "4.2.2", 5 }, { "5.1.1", 5 }, { "", 0 } };
	CLEANUP(arena_free) struct arena a = { 0 };
	struct delivery_result results[DELIVERY_BATCH_MAX];
	struct delivery_batch batch;

	if (!delivery_batch_parse(str_from(buf_str(&w->heard), 1), &a, &batch))
		return;
	for (size_t i = 0; i < batch.n; i++) {
		const struct delivery *d = &batch.deliveries[i];
		uint8_t v = get_u8(&w->in);
		results[i] = (struct delivery_result){ d->log_id, d->seq, d->recipient, (enum delivery_outcome)(DELIVERY_DONE + v % 3),
			                                   v & 64, statuses[v / 4 % 4], STR("why") };
	}
	delivery_results_encode(results, batch.n - (batch.n > 0 && get_u8(&w->in) == 1), b);
}

static const struct fuzz_row rows[] = {
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_DIRECTORY, "vD" },
	{ FUZZ_SEND, ROLE_MX, REQUEST_ADD, SOMEBODY_WAITS "=1{" ENVELOPE "}=1r" },
	{ FUZZ_SEND, ROLE_MX, REQUEST_ADD, SOMEBODY_WAITS "=1{=1=1s=1=0s=0b8s88884(sss8=0)}=1r" },
	{ FUZZ_SEND, ROLE_MX, REQUEST_ADD, SOMEBODY_WAITS "=2[{" ENVELOPE "}=1r]" },
	{ FUZZ_SEND, ROLE_MX, REQUEST_ADD, SOMEBODY_WAITS "=1{" ENVELOPE "}=2884" },
	{ FUZZ_SEND, ROLE_MX, REQUEST_ADD, "r" },
	{ FUZZ_SEND, ROLE_MX, REQUEST_SPOOL, "" },
	{ FUZZ_SEND, ROLE_MX, NOTICE_SPOOL_DROP, "8" },
	{ FUZZ_SEND, ROLE_CELL, REQUEST_ADD, SOMEBODY_WAITS "=1{" ENVELOPE "}=1r" },
	{ FUZZ_SEND, ROLE_CELL, REQUEST_ADD, SOMEBODY_WAITS "=1{=1=3s=1=0s=0=08s8888" "4(sss8=0)}=1r" },
	{ FUZZ_SEND, ROLE_CELL, REQUEST_ADD, SOMEBODY_WAITS "=1{" ENVELOPE "}=2884" },
	{ FUZZ_SEND, ROLE_CELL, REQUEST_SPOOL, "" },
	{ FUZZ_SEND, ROLE_CELL, REQUEST_CELL_REPLAYED, "" },
	{ FUZZ_SEND, ROLE_CELL, NOTICE_CELL_SYNCED, "" },
	{ FUZZ_ANSWER, ROLE_CELL, REQUEST_DELIVER, "X" },
	{ FUZZ_ANSWER, ROLE_CELL, REQUEST_DELIVER, "(882%3bss)" },
	{ FUZZ_ANSWER, ROLE_CELL, REQUEST_DELIVER, "r" },
	{ FUZZ_ANSWER, ROLE_CELL, REQUEST_CELL_SYNC, "" },
	{ FUZZ_ANSWER, ROLE_MASTER, REQUEST_QUEUE_CELL_END, "" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_QUEUE_COMMAND, "=1" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_QUEUE_COMMAND, "=288" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_QUEUE_COMMAND, "=3s2" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_QUEUE_COMMAND, "%7s8" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_QUEUE_COMMAND, "r" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_DIRECTORY, "vM" },
	{ FUZZ_SEND, ROLE_MASTER, NOTICE_CELL_CHANNEL, "aP" },
	{ FUZZ_SEND, ROLE_MASTER, NOTICE_CONNECT, "14P" },
	{ FUZZ_DIE, ROLE_CELL, 0, NULL },
	{ FUZZ_DIE, ROLE_MX, 0, NULL },
	{ FUZZ_DIE, ROLE_CONTROL, 0, NULL },
	{ FUZZ_ANSWER, ROLE_NET, REQUEST_SEND, "%3" RESULTS_OF(1) "(ss)" },
	{ FUZZ_ANSWER, ROLE_NET, REQUEST_SEND, "%3" RESULTS_OF(2) "=0=0=0=0" },
	{ FUZZ_ANSWER, ROLE_NET, REQUEST_SEND, "r" },
	{ FUZZ_ANSWER, ROLE_KEYS, REQUEST_DKIM_SIGN, "r" },
	{ FUZZ_SEND, ROLE_KEYS, NOTICE_DKIM_KEYS, "" },
	{ FUZZ_ANSWER, ROLE_CONTROL, REQUEST_LIST_ORDER, "ssb4s" },
	{ FUZZ_ANSWER, ROLE_CONTROL, REQUEST_LIST_ORDER, "r" },
	{ FUZZ_DIE, ROLE_NET, 0, NULL },
	{ FUZZ_DIE, ROLE_KEYS, 0, NULL },
};

static const struct fuzz_role queue = { .role = ROLE_QUEUE, .rows = rows, .row_count = COUNT_OF(rows), .prepare = prepare,
                                        .reset = reset, .hook = put_results, .before = "A" };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) { return role_fuzz(&queue, data, n); }
