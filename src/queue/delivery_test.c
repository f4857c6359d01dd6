#include "base/test.h"
#include "queue/delivery.h"
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct delivery example(uint64_t seq, struct str body)
{
	return (struct delivery){ .log_id = 77, .seq = seq, .recipient = 3, .sender = STR("a@b.example"),
		.original_recipient = STR("bob+x@example.test"), .detail = STR("x"), .received = 1700000000, .smtputf8 = true,
		.size = body.n, .crc = 5, .body = body, .fd = -1 };
}

/* What a cell receives: copies of the descriptors, as the kernel makes them. */
static struct message as_received(const struct buf *request, const int *fds, int fd_count)
{
	struct message m = { .body = buf_str(request), .fd_count = fd_count, .fds = { -1, -1, -1, -1 } };

	for (int i = 0; i < fd_count; i++)
		m.fds[i] = dup(fds[i]);
	return m;
}

TEST(small_batch_travels_in_the_request)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf request = BUF(MESSAGE_BODY_MAX);
	struct delivery d[2] = { example(1, STR("Subject: one\r\n\r\n")), example(2, STR("Subject: two\r\n\r\nx\r\n")) };
	struct delivery_batch batch = { .account = 9, .prune_log_id = 77, .prune_seq = 4, .is_only_log = true, .n = 2, .deliveries = d };
	struct delivery_batch_in in;
	struct message m;
	int fds[MESSAGE_FDS_MAX], fd_count, memfd;

	EXPECT_OK(delivery_batch_encode(&batch, &request, fds, &fd_count, &memfd));
	EXPECT_INT(fd_count, 0);
	m = as_received(&request, fds, fd_count);
	EXPECT_OK(delivery_batch_decode(&m, &a, &in));
	EXPECT_INT(in.batch.account, 9);
	EXPECT_INT(in.batch.prune_seq, 4);
	EXPECT(in.batch.is_only_log);
	EXPECT_INT(in.batch.n, 2);
	EXPECT_INT(in.batch.deliveries[1].seq, 2);
	EXPECT_STR(in.batch.deliveries[1].detail, "x");
	EXPECT_STR(in.batch.deliveries[0].body, "Subject: one\r\n\r\n");
	delivery_batch_release(&in);
}

TEST(large_batch_travels_in_a_memfd_and_a_spooled_body_as_its_file)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf request = BUF(MESSAGE_BODY_MAX);
	CLEANUP(buf_free) struct buf body = BUF(1 << 20);
	CLEANUP(fd_close) int spool = memfd_create("spool", 0);
	struct delivery d[2];
	struct delivery_batch batch = { .account = 9, .n = 2, .deliveries = d };
	struct delivery_batch_in in;
	struct message m;
	int fds[MESSAGE_FDS_MAX], fd_count, memfd;

	memset(buf_reserve(&body, 200000), 'x', 200000);
	buf_grew(&body, 200000);
	EXPECT_INT(write(spool, "spooled", 7), 7);
	d[0] = example(1, buf_str(&body));
	d[1] = example(2, STR_NONE);
	d[1].size = 7;
	d[1].fd = spool;
	EXPECT_OK(delivery_batch_encode(&batch, &request, fds, &fd_count, &memfd));
	EXPECT_INT(fd_count, 2);
	m = as_received(&request, fds, fd_count);
	EXPECT_OK(delivery_batch_decode(&m, &a, &in));
	EXPECT_INT(in.batch.deliveries[0].body.n, 200000);
	EXPECT(in.batch.deliveries[1].fd >= 0 && m.fds[1] == -1);
	delivery_batch_release(&in);
	close(m.fds[0]);
	/* a file that is not of the size that was said */
	EXPECT_INT(write(spool, "more", 4), 4);
	m = as_received(&request, fds, fd_count);
	EXPECT_ERR(delivery_batch_decode(&m, &a, &in), ERR_INVALID);
	close(m.fds[0]);
	close(m.fds[1]);
	close(memfd);
}

TEST(what_is_cut_or_too_much_is_refused)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf request = BUF(MESSAGE_BODY_MAX);
	struct delivery d[65];
	struct delivery_batch batch = { .account = 9, .n = 65, .deliveries = d };
	struct delivery_batch parsed;
	int fds[MESSAGE_FDS_MAX], fd_count, memfd;

	for (size_t i = 0; i < COUNT_OF(d); i++)
		d[i] = example(i, STR("body"));
	EXPECT_ERR(delivery_batch_encode(&batch, &request, fds, &fd_count, &memfd), ERR_LIMIT);
	batch.n = 2;
	EXPECT_OK(delivery_batch_encode(&batch, &request, fds, &fd_count, &memfd));
	for (size_t cut = 1; cut < request.n; cut++)
		EXPECT(!delivery_batch_parse(str_make(request.p + 1, cut - 1), &a, &parsed));
	EXPECT(delivery_batch_parse(str_make(request.p + 1, request.n - 1), &a, &parsed));
}

TEST(results)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct delivery_result results[2] = {
		{ .log_id = 1, .seq = 2, .recipient = 0, .outcome = DELIVERY_DONE, .is_synced = true, .status = STR("2.0.0") },
		{ .log_id = 1,
		  .seq = 3,
		  .recipient = 1,
		  .outcome = DELIVERY_REFUSED,
		  .status = STR("5.2.2"),
		  .reason = STR("full") },
	};
	struct delivery_result *got;
	size_t n;

	delivery_results_encode(results, 2, &b);
	EXPECT_OK(delivery_results_decode(buf_str(&b), &a, &got, &n));
	EXPECT_INT(n, 2);
	EXPECT_INT(got[1].outcome, DELIVERY_REFUSED);
	EXPECT_STR(got[1].reason, "full");
	EXPECT_ERR(delivery_results_decode(str_make(b.p, b.n - 1), &a, &got, &n), ERR_INVALID);
}
