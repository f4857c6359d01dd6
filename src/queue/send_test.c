#include "base/test.h"
#include "queue/send.h"
#include <sys/mman.h>
#include <unistd.h>

static struct send_recipient two[] = { { STR("bob@example.org"), STR("rfc822;b@example.test"), ENVELOPE_NOTIFY_FAILURE },
	                                   { STR("eve@example.org"), STR(""), 0 } };

static struct send example(struct str body)
{
	return (struct send){ .number = 9, .log_id = 77, .seq = 3, .destination = STR("example.org"),
		.route = { .host = STR("relay.example.net"), .port = 587, .tls = ROUTE_TLS_VERIFY, .login = STR("alice") }, .source_ipv6 = STR("2001:db8::1"),
		.sender = STR("a@example.test"),
		.body_type = ENVELOPE_8BITMIME, .ret = ENVELOPE_RET_HDRS, .envid = STR("QQ1"), .smtputf8 = true, .prefix = STR("DKIM: x\r\n"),
		.size = body.n, .body = body, .fd = -1, .n = 2, .recipients = two };
}

/* What net receives: copies of the descriptors, as the kernel makes them. */
static struct message as_received(const struct buf *request, const int *fds, int fd_count)
{
	struct message m = { .body = buf_str(request), .fd_count = fd_count, .fds = { -1, -1, -1, -1 } };

	for (int i = 0; i < fd_count; i++)
		m.fds[i] = dup(fds[i]);
	return m;
}

TEST(a_short_message_travels_in_the_request_and_is_kept)
{
	CLEANUP(buf_free) struct buf request = BUF(MESSAGE_BODY_MAX);
	CLEANUP(send_release) struct send_in in;
	struct send s = example(STR("Subject: one\r\n\r\n"));
	int fds[MESSAGE_FDS_MAX], fd_count, memfd;

	EXPECT_OK(send_encode(&s, &request, fds, &fd_count, &memfd));
	EXPECT_INT(fd_count, 0);
	struct message m = as_received(&request, fds, fd_count);
	EXPECT_OK(send_take(&m, &in));
	memset(request.p, 'x', request.n);  /* the handler has returned */
	EXPECT_INT(in.send.number, 9);
	EXPECT_INT(in.send.seq, 3);
	EXPECT_STR(in.send.destination, "example.org");
	EXPECT_STR(in.send.route.host, "relay.example.net");
	EXPECT_INT(in.send.route.port, 587);
	EXPECT_INT(in.send.route.tls, ROUTE_TLS_VERIFY);
	EXPECT_STR(in.send.route.login, "alice");
	EXPECT_STR(in.send.source_ipv4, "");
	EXPECT_STR(in.send.source_ipv6, "2001:db8::1");
	EXPECT_STR(in.send.sender, "a@example.test");
	EXPECT_INT(in.send.body_type, ENVELOPE_8BITMIME);
	EXPECT_INT(in.send.ret, ENVELOPE_RET_HDRS);
	EXPECT_STR(in.send.envid, "QQ1");
	EXPECT(in.send.smtputf8 && !send_requires_tls(&in.send));
	EXPECT_STR(in.send.prefix, "DKIM: x\r\n");
	EXPECT_STR(in.send.body, "Subject: one\r\n\r\n");
	EXPECT_INT(in.send.n, 2);
	EXPECT_STR(in.send.recipients[0].orcpt, "rfc822;b@example.test");
	EXPECT_INT(in.send.recipients[0].notify, ENVELOPE_NOTIFY_FAILURE);
	EXPECT_STR(in.send.recipients[1].address, "eve@example.org");
}

TEST(a_longer_one_in_a_memfd)
{
	CLEANUP(buf_free) struct buf request = BUF(MESSAGE_BODY_MAX), body = BUF(1 << 20);
	CLEANUP(send_release) struct send_in in;
	int fds[MESSAGE_FDS_MAX], fd_count, memfd;

	memset(buf_reserve(&body, 300000), 'x', 300000);
	buf_grew(&body, 300000);
	struct send s = example(buf_str(&body));
	EXPECT_OK(send_encode(&s, &request, fds, &fd_count, &memfd));
	EXPECT_INT(fd_count, 1);
	struct message m = as_received(&request, fds, fd_count);
	EXPECT_OK(send_take(&m, &in));
	EXPECT_INT(in.send.body.n, 300000);
	close(m.fds[0]);
	close(memfd);
}

TEST(a_large_one_as_its_file)
{
	CLEANUP(buf_free) struct buf request = BUF(MESSAGE_BODY_MAX);
	CLEANUP(fd_close) int spool = memfd_create("spool", 0);
	struct send_in in;
	struct send s = example(STR_NONE);
	int fds[MESSAGE_FDS_MAX], fd_count, memfd;

	EXPECT_INT(write(spool, "spooled", 7), 7);
	s.size = 7;
	s.fd = spool;
	EXPECT_OK(send_encode(&s, &request, fds, &fd_count, &memfd));
	EXPECT_INT(fd_count, 1);
	struct message m = as_received(&request, fds, fd_count);
	EXPECT_OK(send_take(&m, &in));
	EXPECT(in.send.fd >= 0 && m.fds[0] == -1 && in.send.body.p == NULL);
	send_release(&in);
	/* a file that is not of the size that was said; none at all; one too many */
	EXPECT_INT(write(spool, "more", 4), 4);
	m = as_received(&request, fds, 1);
	EXPECT_ERR(send_take(&m, &in), ERR_INVALID);
	m.fd_count = 0;
	EXPECT_ERR(send_take(&m, &in), ERR_INVALID);
	m.fd_count = 2;
	EXPECT_ERR(send_take(&m, &in), ERR_INVALID);
	close(m.fds[0]);
}

TEST(limits_of_a_send)
{
	CLEANUP(buf_free) struct buf request = BUF(MESSAGE_BODY_MAX);
	struct send s = example(STR("x"));
	int fds[MESSAGE_FDS_MAX], fd_count, memfd;

	s.n = 0;
	EXPECT_ERR(send_encode(&s, &request, fds, &fd_count, &memfd), ERR_LIMIT);
	s.n = SEND_RECIPIENTS_MAX + 1;
	EXPECT_ERR(send_encode(&s, &request, fds, &fd_count, &memfd), ERR_LIMIT);
	s = example(STR("x"));
	s.size = 2;
	EXPECT_ERR(send_encode(&s, &request, fds, &fd_count, &memfd), ERR_LIMIT);
	s = example(STR("x"));
	s.destination = STR("");
	EXPECT_ERR(send_encode(&s, &request, fds, &fd_count, &memfd), ERR_LIMIT);
}

/* Whatever the roles before have let through: no second command for the other server. */
TEST(no_line_breaks_in_addresses)
{
	static const struct { const char *sender, *recipient, *destination; } cases[] = {
		{ "a@example.test\r\nRSET", "bob@example.org", "example.org" },
		{ "a@example.test", "bob@example.org>\nDATA", "example.org" },
		{ "a@example.test", "bob@example.org", "example.org\r" },
	};
	static char body[] = "x";

	EACH(cases, c) {
		CLEANUP(buf_free) struct buf request = BUF(MESSAGE_BODY_MAX), clean = BUF(MESSAGE_BODY_MAX);
		CLEANUP(arena_free) struct arena a = { 0 };
		struct send_recipient r = { .address = str_of(c->recipient) };
		struct send s = example(str_of(body)), out;
		int fds[MESSAGE_FDS_MAX], fd_count, memfd;

		s.sender = str_of(c->sender);
		s.destination = str_of(c->destination);
		s.recipients = &r;
		s.n = 1;
		EXPECT_ERR(send_encode(&s, &request, fds, &fd_count, &memfd), ERR_INVALID);
		/* nor does net believe that the queue has looked */
		struct send harmless = example(str_of(body));
		EXPECT_OK(send_encode(&harmless, &clean, fds, &fd_count, &memfd));
		char *at = memmem(clean.p, clean.n, "eve@", 4);
		at[1] = '\n';
		EXPECT(!send_parse(str_make(clean.p + 1, clean.n - 1), false, &a, &out));
	}
}

TEST(an_answer)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct send_result results[] = {
		{ DELIVERY_DONE, STR("2.0.0"), STR("250 2.0.0 queued as 5"), STR("mx.example.org [192.0.2.1]"), STR("TLSv1.3"),
		  .has_passed_dsn = true, .has_passed_by = true },
		{ DELIVERY_REFUSED, STR("5.1.1"), STR("550-5.1.1 no\n550 5.1.1 such user"), STR("mx.example.org [192.0.2.1]"), STR(""),
		  .is_unsure = true },
	};
	struct send_attempt attempt = { STR("mx2.example.org [192.0.2.2]"), STR("no route to it") };
	struct send_answer in = { SEND_BUSY, 2, results, 1, &attempt }, out;

	send_answer_encode(&in, &b);
	EXPECT_OK(send_answer_decode(buf_str(&b), 2, &a, &out));
	EXPECT_INT(out.feedback, SEND_BUSY);
	EXPECT_INT(out.results[0].outcome, DELIVERY_DONE);
	EXPECT_STR(out.results[0].tls, "TLSv1.3");
	EXPECT(out.results[0].has_passed_dsn && out.results[0].has_passed_by && !out.results[0].is_unsure && out.results[1].is_unsure);
	EXPECT_STR(out.results[1].text, "550-5.1.1 no\n550 5.1.1 such user");
	EXPECT_STR(out.attempts[0].text, "no route to it");
	EXPECT_ERR(send_answer_decode(buf_str(&b), 1, &a, &out), ERR_INVALID);
	EXPECT_ERR(send_answer_decode(str_sub(buf_str(&b), 0, b.n - 1), 2, &a, &out), ERR_INVALID);
}

/* A hundred recipients, each with a novel for a reply: outcomes and statuses arrive. */
TEST(the_longest_answer_fits)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	char novel[5000];
	struct send_result results[SEND_RECIPIENTS_MAX];
	struct send_attempt attempts[20];
	struct send_answer in = { SEND_GOOD, SEND_RECIPIENTS_MAX, results, 20, attempts }, out;

	memset(novel, 'n', sizeof novel);
	struct str text = str_make(novel, sizeof novel);
	for (size_t i = 0; i < SEND_RECIPIENTS_MAX; i++)
		results[i] = (struct send_result){ DELIVERY_DEFERRED, text, text, text, text, .is_unsure = false };
	for (size_t i = 0; i < 20; i++)
		attempts[i] = (struct send_attempt){ text, text };
	send_answer_encode(&in, &b);
	EXPECT(!b.failed);
	EXPECT_OK(send_answer_decode(buf_str(&b), SEND_RECIPIENTS_MAX, &a, &out));
	EXPECT_INT(out.results[0].text.n, SEND_TEXT_MAX);
	EXPECT_INT(out.results[99].status.n, SEND_STATUS_MAX);
	EXPECT_INT(out.n_attempts, SEND_ATTEMPTS_MAX);
}

TEST(sent)
{
	CLEANUP(buf_free) struct buf b = BUF(64);
	uint64_t number;

	put_sent(&b, 123456789012);
	put_sent(&b, 7);
	buf_add_char(&b, 'x');
	struct scan s = scan_of(buf_str(&b));
	EXPECT(get_sent(&s, &number));
	EXPECT_INT(number, 123456789012);
	EXPECT(get_sent(&s, &number));
	EXPECT_INT(number, 7);
	EXPECT(!get_sent(&s, &number));
}
