/* Counts and policies over an opening of the file, and what bounds them. */
#include "base/test.h"
#include "tlsrpt/book.h"

static struct disk_dir *dir;

static struct book *reopen(struct book *b)
{
	book_close(b);
	EXPECT_OK(book_open(dir, &b));
	return b;
}

static enum err count(struct book *b, int64_t day, const struct tls_session *s, size_t n)
{
	CLEANUP(buf_free) struct buf bytes = BUF(100000);

	for (size_t i = 0; i < n; i++)
		put_tls_session(&bytes, &s[i]);
	return book_count(b, day, buf_str(&bytes));
}

TEST(sessions_are_counted_by_day)
{
	const struct tls_session s[] = {
		{ STR("a.test"), TLS_POLICY_STS, STR("version: STSv1\n"), TLS_RESULT_GOOD, STR(""), STR(""), STR(""), STR(""), 5 },
		{ STR("a.test"), TLS_POLICY_STS, STR("version: STSv1\n"), TLS_RESULT_EXPIRED, STR("mx.a.test"), STR("192.0.2.1"), STR("192.0.2.9"), STR("old"), 2 },
		{ STR("b.test"), TLS_POLICY_NONE, STR(""), TLS_RESULT_NO_STARTTLS, STR("mx.b.test"), STR("::1"), STR(""), STR(""), 1 },
	};
	CLEANUP(arena_free) struct arena a = { 0 };
	struct book *b = NULL;
	struct book_domain *domains;
	struct tls_session *list;
	const char *path = test_dir();
	size_t n;

	EXPECT_OK(disk_dir_open(path, &dir));
	b = reopen(b);
	EXPECT_OK(count(b, 100, s, 3));
	EXPECT_OK(count(b, 100, s, 2));
	EXPECT_OK(count(b, 101, s, 1));
	EXPECT_ERR(book_count(b, 100, STR("nonsense")), ERR_INVALID);
	b = reopen(b);
	EXPECT_OK(book_domains(b, 101, &a, &domains, &n));
	EXPECT_INT(n, 2);
	EXPECT_STR(domains[0].domain, "a.test");
	EXPECT_INT(domains[0].good, 10);
	EXPECT_INT(domains[0].bad, 4);
	EXPECT_INT(domains[1].bad, 1);
	EXPECT_OK(book_sessions(b, 100, STR("a.test"), &a, &list, &n));
	EXPECT_INT(n, 2);
	EXPECT_INT(list[1].result, TLS_RESULT_EXPIRED);
	EXPECT_INT(list[1].count, 4);
	EXPECT_STR(list[1].mx, "mx.a.test");
	EXPECT_STR(list[1].info, "old");
	EXPECT_OK(book_reported(b, 100, STR("a.test")));
	EXPECT_OK(book_domains(b, 200, &a, &domains, &n));
	EXPECT_INT(n, 2);
	EXPECT_OK(book_prune(b, 101 + BOOK_KEPT_DAYS));
	EXPECT_OK(book_domains(b, 200, &a, &domains, &n));
	EXPECT_INT(n, 1);
	EXPECT_INT(domains[0].day, 101);
	book_close(b);
	disk_dir_close(&dir);
	test_dir_remove(path);
}

TEST(policies_are_kept_until_they_run_out)
{
	CLEANUP(buf_free) struct buf out = BUF(200000);
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *path = test_dir();
	struct book *b = NULL;
	struct sts_record got;
	uint64_t next = 0;
	int pages = 0, found = 0;

	EXPECT_OK(disk_dir_open(path, &dir));
	b = reopen(b);
	for (int i = 0; i < 600; i++) {
		struct sts_record r = { arena_printf(&a, "d%d.test", i), STR("1"), STR("version: STSv1"), 1000 + i };
		EXPECT_OK(book_keep(b, &r, 500));
	}
	EXPECT_OK(book_keep(b, &(struct sts_record){ STR("d5.test"), STR("2"), STR("mode: none"), 9000 }, 500));   /* replaced */
	b = reopen(b);
	do {
		buf_reset(&out);
		EXPECT_OK(book_kept(b, next, 1100, &out, &next));
		struct scan s = scan_of(buf_str(&out));
		for (; get_sts_record(&s, &got); found++)
			EXPECT(got.expires_s > 1100);
		EXPECT(!s.failed);
		pages++;
	} while (next != 0);
	EXPECT_INT(found, 500);
	EXPECT_STR(got.id, "2");
	EXPECT_STR(got.text, "mode: none");
	EXPECT(pages <= 3);
	book_close(b);
	disk_dir_close(&dir);
	test_dir_remove(path);
}

TEST(a_tally_counts_what_is_alike_once)
{
	CLEANUP(buf_free) struct buf out = BUF(100000);
	struct tls_tally *t = tls_tally_new(NULL, NULL);
	struct tls_session s = { STR("a.test"), TLS_POLICY_NONE, STR(""), TLS_RESULT_GOOD, STR(""), STR(""), STR(""), STR(""), 1 }, got;

	EXPECT(!tls_tally_take(t, &out));
	for (int i = 0; i < 10; i++)
		tls_tally_add(t, &s);
	s.result = TLS_RESULT_EXPIRED;
	tls_tally_add(t, &s);
	EXPECT(tls_tally_take(t, &out));
	struct scan in = scan_of(buf_str(&out));
	int good = 0, bad = 0;
	while (get_tls_session(&in, &got))
		*(got.result == TLS_RESULT_GOOD ? &good : &bad) += (int)got.count;
	EXPECT(!in.failed);
	EXPECT_INT(good, 10);
	EXPECT_INT(bad, 1);
	buf_reset(&out);
	EXPECT(!tls_tally_take(t, &out));
	tls_tally_free(t);
}

TEST(a_long_policy_is_cut_after_a_line)
{
	CLEANUP(buf_free) struct buf text = BUF(20000), out = BUF(100000);
	struct tls_session s = { STR("a.test"), TLS_POLICY_STS, STR(""), TLS_RESULT_GOOD, STR(""), STR(""), STR(""), STR(""), 1 }, got;

	for (int i = 0; i < 1000; i++)
		buf_printf(&text, "mx: m%d.test\n", i);
	s.text = buf_str(&text);
	put_tls_session(&out, &s);
	struct scan in = scan_of(buf_str(&out));
	EXPECT(get_tls_session(&in, &got));
	EXPECT(got.text.n <= TLS_SESSION_TEXT_MAX && got.text.p[got.text.n - 1] == '\n');
}
