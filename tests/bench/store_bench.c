/* What the store costs: microseconds a message for append, flags, summaries, STORE, delivery and opening, on one
 * account of N messages (argument 1, default 10000) in a folder (argument 2, default /var/tmp). Build: make store-bench
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "deliver/local.h"
#include "store/gist.h"
#include "store/view.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static int64_t started_us, started_cpu_us;

static int64_t cpu_us(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * INT64_C(1000000) + r.ru_utime.tv_usec + r.ru_stime.tv_usec;
}

static void start(void)
{
	started_us = clock_mono_us();
	started_cpu_us = cpu_us();
}

static void report(const char *what, size_t n)
{
	double wall = (double)(clock_mono_us() - started_us) / (double)n,
		   cpu = (double)(cpu_us() - started_cpu_us) / (double)n;

	printf("%-46s %9.2f us wall  %9.2f us cpu\n", what, wall, cpu);
}

static void need(enum err e, const char *what)
{
	if (e == ERR_OK)
		return;
	fprintf(stderr, "%s: %s\n", what, err_name(e));
	exit(1);
}

static struct view *open_account(const char *dir)
{
	struct view_config config = { .account = 1 };
	struct view *v;

	need(view_open(dir, &config, &v), "open");
	return v;
}

static struct str make_message(struct arena *a, unsigned n)
{
	struct str head = arena_printf(
		a,
		"Received: from mail.example.org by mx.example.test; Tue, 24 Nov 2026 10:00:00 +0000\r\n"
		"From: Alice Example <alice@example.org>\r\nTo: Bob <bob@example.test>\r\nSubject: Message number %u about "
		"things\r\n"
		"Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%u.bench@example.org>\r\nMIME-Version: 1.0\r\n"
		"Content-Type: multipart/alternative; boundary=\"xyz\"\r\n\r\n--xyz\r\nContent-Type: text/plain; "
		"charset=utf-8\r\n\r\n",
		n, n);
	char *text = arena_alloc(a, 4096);

	memset(text, 'x', 3400);
	for (size_t i = 70; i < 3400; i += 72)
		memcpy(text + i, "\r\n", 2);
	return arena_printf(a, STR_FMT "%s\r\n--xyz\r\nContent-Type: text/html\r\n\r\n<p>x</p>\r\n--xyz--\r\n",
						STR_ARG(head), text);
}

static void bench_delivery(struct view *v, unsigned n, unsigned at_once, bool sync)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct delivery d[DELIVERY_BATCH_MAX];
	struct delivery_batch batch = { .account = 1, .n = at_once, .deliveries = d };
	struct deliver_settings settings = { .sync_now = sync };
	struct delivery_result *results;
	static uint64_t seq;
	char what[80];

	for (unsigned i = 0; i < at_once; i++) {
		struct str body = make_message(&a, i);
		d[i] = (struct delivery){ .log_id = 9,
								  .sender = STR("alice@example.org"),
								  .original_recipient = STR("bob@example.test"),
								  .received = 1700000000,
								  .size = body.n,
								  .crc = crc32c(0, body.p, body.n),
								  .body = body,
								  .fd = -1 };
	}
	start();
	for (unsigned done = 0; done < n; done += at_once) {
		CLEANUP(arena_free) struct arena result = { 0 };
		for (unsigned i = 0; i < at_once; i++)
			d[i].seq = ++seq;
		batch.prune_log_id = 9;
		batch.prune_seq = seq > 40 ? (seq - 40) / 40 * 40 : 0;  /* as it goes on once a second, at 40 messages a second */
		deliver_batch(v, &settings, &batch, &result, &results);
		need(results[0].outcome == DELIVERY_DONE ? ERR_OK : ERR_IO, "deliver");
		if (done % 1024 == 0)
			view_tick(v);
	}
	need(view_publish(v), "publish");
	snprintf(what, sizeof what, "deliver 4 kB, %u at once, %s", at_once, sync ? "synced" : "at the sync point");
	report(what, n);
}

static void bench_fetch(struct view *v, int64_t inbox)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct selected *s;
	struct message_row rows[256];
	struct summary summaries[256];
	uint32_t emails[256], next = 0;
	uint64_t sum = 0;
	size_t n, total = 0;

	start();
	need(selected_open(v, inbox, NULL, &s), "select");
	report("select, a message", selected_count(s));
	start();
	for (int i = 0; i < 20; i++, next = 0)
		while ((n = selected_rows(s, NULL, 0, &next, rows, COUNT_OF(rows))) > 0) {
			for (size_t k = 0; k < n; k++)
				sum += rows[k].flags;
			total += n;
		}
	report("flags of 1:*, a message", total);
	start();
	total = 0;
	while ((n = selected_rows(s, NULL, 0, &next, rows, COUNT_OF(rows))) > 0) {
		for (size_t k = 0; k < n; k++)
			emails[k] = rows[k].email;
		need(view_summaries(v, emails, n, true, &a, summaries), "summaries");
		for (size_t k = 0; k < n; k++)
			sum += summaries[k].record.n;
		arena_reset(&a);
		total += n;
	}
	report("summaries of 1:*, a message", total);
	printf("%-46s %9.0f bytes\n", "mean summary", (double)sum / (double)total);
	start();
	total = next = 0;
	char *p = mem_alloc(1 << 20);
	while ((n = selected_rows(s, NULL, 0, &next, rows, COUNT_OF(rows))) > 0)
		for (size_t k = 0; k < n; k++, total++) {
			struct body body;
			need(body_open(v, rows[k].email, &body), "body");
			need(body_read(&body, 0, p, body.size), "read");
			body_close(&body);
		}
	report("body of 4 kB", total);
	mem_free(p);
	selected_close(s);
}

static void bench_store(struct view *v, int64_t inbox, uint32_t n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct flags_change change = { .op = FLAGS_ADD, .flags = FLAG_FLAGGED };
	struct selected *s;

	need(selected_open(v, inbox, NULL, &s), "select");
	start();
	for (uint32_t i = 1; i <= 2000 && i <= n; i++) {
		struct uid_set one = { 0 };
		struct news news;
		uint64_t modseq;
		uid_set_add(&one, &a, i, i);
		need(view_store_flags(v, inbox, &one, &change, &a, NULL, &modseq), "store");
		selected_told(s, modseq);
		selected_news(s, true, &a, &news);
		arena_reset(&a);
	}
	report("STORE of one flag", n < 2000 ? n : 2000);
	struct uid_set all = { 0 };
	uid_set_add(&all, &a, 1, UINT32_MAX);
	change.flags = FLAG_SEEN;
	start();
	need(view_store_flags(v, inbox, &all, &change, &a, NULL, NULL), "store");
	report("STORE of 1:*, a message", n);
	view_tick(v);
	selected_close(s);
}

/* What SORT (SUBJECT) reads, twice. */
static void bench_gists(struct view *v, const char *when)
{
	for (int again = 0; again < 2; again++) {
		CLEANUP(arena_free) struct arena a = { 0 };
		uint32_t emails[1000], next = 1;
		struct gist *gists = mem_array(COUNT_OF(emails), sizeof *gists);
		size_t n = 0;
		char what[80];
		start();
		for (; next < 10000; next += COUNT_OF(emails), n += COUNT_OF(emails), arena_reset(&a)) {
			for (uint32_t i = 0; i < COUNT_OF(emails); i++)
				emails[i] = next + i;
			need(view_gists(v, emails, COUNT_OF(emails), GIST_TEXT(GIST_SUBJECT), &a, gists), "gists");
		}
		snprintf(what, sizeof what, "subjects, %s, %s", when, again ? "again" : "first");
		report(what, n);
		mem_free(gists);
	}
}

static void bench_append(struct view *v, int64_t inbox, unsigned n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str message = make_message(&a, 1);
	struct append_new in = { .mailbox_id = inbox, .internal_date = 1700000000 };
	struct append *ap;
	struct appended *done;
	size_t got;

	start();
	for (unsigned i = 0; i < n; i++) {
		need(append_begin(v, &ap), "append");
		need(append_message(ap, &in, message.n), "append");
		need(append_write(ap, message), "append");
		need(append_end(ap), "append");
		need(append_commit(&ap, &a, &done, &got), "append");
	}
	report("APPEND 4 kB, durable, one at a time", n);
}

int main(int argc, char **argv)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	unsigned n = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 10000;
	char dir[300];
	struct mailbox inbox;
	struct view *v;

	snprintf(dir, sizeof dir, "%s/store-bench-XXXXXX", argc > 2 ? argv[2] : "/var/tmp");
	if (mkdtemp(dir) == NULL)
		return 1;
	start();
	v = open_account(dir);
	report("first opening of an account", 1);
	need(view_mailbox_by_role(v, MAILBOX_INBOX, &a, &inbox), "inbox");
	bench_delivery(v, n / 2, 64, false);
	bench_delivery(v, n / 2, 1, false);
	bench_delivery(v, 200, 1, true);
	bench_fetch(v, inbox.mailbox_id);
	bench_store(v, inbox.mailbox_id, n + 200);
	bench_append(v, inbox.mailbox_id, 200);
	bench_gists(v, "never asked for");
	start();
	while (view_tick(v))
		;
	report("tick, a message", n);
	start();
	view_close(v);
	report("close", 1);
	v = open_account(dir);
	bench_gists(v, "in an account just opened");
	view_close(v);
	int64_t open_us = 0;
	start();
	for (int i = 0; i < 100; i++) {
		int64_t from_us = clock_mono_us();
		v = open_account(dir);
		open_us += clock_mono_us() - from_us;
		view_close(v);
	}
	report("open and close", 100);
	printf("%-46s %9.2f us wall\n", "  of it open", (double)open_us / 100);
	printf("left in %s\n", dir);
	return 0;
}
