/* smtpd/test_host.h -- for tests and the fuzz target: a host that answers at once or later, and keeps what was added. */
#ifndef FACTEUR_SMTPD_TEST_HOST_H
#define FACTEUR_SMTPD_TEST_HOST_H
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "smtpd/smtpd.h"
#include <assert.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

struct test_host {
	bool       is_order;        /* what is added is no message, but an order to a group */
	bool       is_slow;         /* answers only when test_host_feed() finds the machine waiting */
	enum err   spool_result, add_result;
	struct smtpd_server server;
	struct smtpd *smtpd;
	struct buf out;             /* all replies */
	struct buf added;           /* the messages: an envelope as text, then the body */
	int        spool_fd;        /* ours, of the machine's spool file; -1: none */
	size_t     added_count, spooled_count, dropped_count, largest_in_memory;
	struct smtpd_rewrite *work;
	bool       drops_work;      /* a rewrite is never run */
	enum { OWES_NOTHING, OWES_SPOOL, OWES_REWRITE, OWES_ADD } owes;
	enum smtpd_next last;
};

static struct smtp_reply test_sender(void *context, const struct envelope *e, struct arena *a)
{
	(void)context;
	return str_starts(e->sender, STR("forged@")) ? smtp_reply_printf(a, 553, "5.7.1", "you may not be " STR_FMT, STR_ARG(e->sender)) : (struct smtp_reply){ 0 };
}

static struct smtp_reply test_recipient(void *context, const struct envelope *e, const struct envelope_recipient *r, struct arena *a)
{
	(void)context, (void)e, (void)a;
	if (str_starts(r->address, STR("nobody@")))
		return SMTP_REPLY(550, "5.1.1", "nobody");
	if (str_starts(r->address, STR("full@")))
		return SMTP_REPLY(452, "4.2.2", "full");
	return (struct smtp_reply){ 0 };
}

static struct smtp_reply test_header(void *context, const struct envelope *e, struct str header, struct buf *out, struct arena *a)
{
	(void)context, (void)e, (void)a;
	if (str_find(header, STR("X-Refuse:")) >= 0)
		return SMTP_REPLY(550, "5.7.1", "such a header");
	if (str_starts(header, STR("X-Change:")))
		buf_add(out, STR("X-Changed: yes\r\n\r\n"));
	return (struct smtp_reply){ 0 };
}

static void test_answer_spool(struct test_host *t)
{
	int fd = -1;

	if (t->spool_result == ERR_OK) {
		t->spool_fd = memfd_create("spool", MFD_CLOEXEC);
		fd = dup(t->spool_fd);
	}
	t->spooled_count++;
	t->owes = OWES_NOTHING;
	smtpd_spooled(t->smtpd, t->spool_result, 7, fd);
}

static void test_spool(void *context)
{
	struct test_host *t = context;

	t->owes = OWES_SPOOL;
	if (!t->is_slow)
		test_answer_spool(t);
}

static void test_drop(void *context, uint64_t spool)
{
	assert(spool == 7);
	((struct test_host *)context)->dropped_count++;
}

static void test_answer_rewrite(struct test_host *t)
{
	if (!t->drops_work)
		smtpd_rewrite_run(t->work);
	t->owes = OWES_NOTHING;
	smtpd_rewritten(t->smtpd);
}

static void test_rewrite(void *context, struct smtpd_rewrite *w)
{
	struct test_host *t = context;

	t->work = w;
	t->owes = OWES_REWRITE;
	if (!t->is_slow)
		test_answer_rewrite(t);
}

static void test_answer_add(struct test_host *t)
{
	t->owes = OWES_NOTHING;
	smtpd_added(t->smtpd, t->add_result, (struct queue_id){ 0x1122334455667788, t->is_order ? 0 : t->added_count });
}

static void test_keep_body(struct test_host *t, const struct queue_body *body)
{
	if (body->bytes.p != NULL) {
		if (body->bytes.n > t->largest_in_memory)
			t->largest_in_memory = body->bytes.n;
		buf_add(&t->added, body->bytes);
		return;
	}
	char *room = mem_alloc(body->size);
	assert(t->spool_fd >= 0 && body->spool == 7);
	assert(pread(t->spool_fd, room, body->size, 0) == (ssize_t)body->size);
	assert(crc32c(0, room, body->size) == body->crc);
	buf_add_bytes(&t->added, room, body->size);
	mem_free(room);
}

static void test_add(void *context, const struct envelope *e, const struct queue_body *body)
{
	struct test_host *t = context;

	t->added_count++;
	buf_printf(&t->added, "from=" STR_FMT, STR_ARG(e->sender));
	for (size_t i = 0; i < e->n; i++)
		buf_printf(&t->added, " to=" STR_FMT "/%u/" STR_FMT, STR_ARG(e->recipients[i].address), e->recipients[i].notify, STR_ARG(e->recipients[i].orcpt));
	if (e->wishes.release != 0)
		buf_printf(&t->added, " release=+%lld", (long long)(e->wishes.release - clock_wall_s()));
	if (e->wishes.by != 0)
		buf_printf(&t->added, " by=%+lld;%d%s", (long long)(e->wishes.deliver_by - clock_wall_s()), e->wishes.by, e->wishes.by_traces ? "T" : "");
	if (e->wishes.priority != 0 || e->wishes.tls != 0)
		buf_printf(&t->added, " priority=%d tls=%d", e->wishes.priority, e->wishes.tls);
	buf_printf(&t->added, " body=%d utf8=%d ret=%d envid=" STR_FMT " peer=" STR_FMT "\n", (int)e->body, e->smtputf8, (int)e->ret, STR_ARG(e->envid),
	           STR_ARG(e->peer));
	test_keep_body(t, body);
	t->owes = OWES_ADD;
	if (!t->is_slow)
		test_answer_add(t);
}

static const struct smtpd_host test_host_calls = {
	.sender = test_sender, .recipient = test_recipient, .header = test_header, .spool = test_spool, .drop = test_drop, .rewrite = test_rewrite,
	.add = test_add,
};

static void test_host_begin(struct test_host *t, enum envelope_source source)
{
	log_setup("test", LOG_LEVEL_ERROR, false);
	struct smtpd_client client = { .source = source, .session = STR("s1"), .peer = STR("192.0.2.7"), .can_start_tls = true };

	*t = (struct test_host){ .spool_fd = -1, .out = BUF(64 << 20), .added = BUF(256 << 20) };
	t->server = (struct smtpd_server){ .hostname = STR("mx.test"), .size_max = 1 << 20, .recipients_max = 3, .messages_max = 1000, .errors_max = 20,
	                                   .memory_max = 64 << 20 };
	t->smtpd = smtpd_new(&t->server, &client, &test_host_calls, t);
}

static void test_host_end(struct test_host *t)
{
	if (t->owes == OWES_SPOOL)
		smtpd_spooled(t->smtpd, ERR_UNAVAILABLE, 0, -1);
	if (t->owes == OWES_REWRITE)
		smtpd_rewritten(t->smtpd);
	if (t->owes == OWES_ADD)
		smtpd_added(t->smtpd, ERR_UNAVAILABLE, (struct queue_id){ 0 });
	smtpd_free(t->smtpd);
	assert(t->server.memory_used == 0);
	buf_free(&t->out);
	buf_free(&t->added);
	fd_close(&t->spool_fd);
}

/* Gives it all, waiting for nothing. */
static enum smtpd_next test_host_feed(struct test_host *t, struct str in)
{
	size_t used;

	for (;;) {
		t->last = smtpd_input(t->smtpd, in, &used, &t->out);
		in = str_from(in, used);
		if (t->last != SMTPD_WAIT)
			return t->last;
		assert(t->owes != OWES_NOTHING);
		if (t->owes == OWES_SPOOL)
			test_answer_spool(t);
		else if (t->owes == OWES_REWRITE)
			test_answer_rewrite(t);
		else
			test_answer_add(t);
	}
}
#endif
