/* How many are let in: of an address, a network, an account; by one process and by several that count together. */
#include "base/test.h"
#include "net/admission.h"
#include "net/peer_test.h"
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static enum admission enter(struct admissions *a, const struct peer *p, int64_t now_ms) { return admission_enter(a, PROTOCOL_IMAP, p, now_ms); }
static void leave(struct admissions *a, const struct peer *p) { admission_leave(a, PROTOCOL_IMAP, p); }

TEST(limits_at_once)
{
	struct admission_limits lim = { .total = 6, .per_address = 2, .per_network = 3 };
	struct admissions *a = admissions_new(&lim, NULL);
	struct peer one = peer_of("192.0.2.1"), two = peer_of("192.0.2.2"), far = peer_of("198.51.100.1"), self = peer_of("127.0.0.1");

	EXPECT_INT(enter(a, &one, 1000), ADMITTED);
	EXPECT_INT(enter(a, &one, 1000), ADMITTED);
	EXPECT_INT(enter(a, &one, 1000), ADMISSION_MANY);   /* the address */
	EXPECT_INT(enter(a, &two, 1000), ADMITTED);
	EXPECT_INT(enter(a, &two, 1000), ADMISSION_MANY);   /* its network */
	EXPECT_INT(enter(a, &far, 1000), ADMITTED);
	leave(a, &one);
	EXPECT_INT(enter(a, &two, 1000), ADMITTED);
	for (int i = 0; i < 2; i++)
		EXPECT_INT(enter(a, &self, 1000), ADMITTED);
	EXPECT_INT(enter(a, &self, 1000), ADMISSION_FULL);
	EXPECT_INT(admissions_count(a), 6);
	admissions_free(a);
}

TEST(each_protocol_counts_for_itself)
{
	struct admission_limits lim = { .per_address = 1 };
	struct admissions *a = admissions_new(&lim, NULL);
	struct peer p = peer_of("192.0.2.1"), other_loopback = peer_of("127.0.0.2"), self = peer_of("::1");

	EXPECT_INT(admission_enter(a, PROTOCOL_IMAP, &p, 0), ADMITTED);
	EXPECT_INT(admission_enter(a, PROTOCOL_POP3, &p, 0), ADMITTED);
	EXPECT_INT(admission_enter(a, PROTOCOL_POP3, &p, 0), ADMISSION_MANY);
	EXPECT_INT(enter(a, &other_loopback, 0), ADMITTED);
	EXPECT_INT(enter(a, &other_loopback, 0), ADMISSION_MANY);   /* only the usual loopback addresses are free */
	for (int i = 0; i < 100; i++)
		EXPECT_INT(enter(a, &self, 0), ADMITTED);
	admissions_free(a);
}

TEST(limits_a_minute)
{
	struct admission_limits lim = { .per_minute_address = 3 };
	struct admissions *a = admissions_new(&lim, NULL);
	struct peer p = peer_of("2001:db8:0:1::1"), q = peer_of("2001:db8:0:1:ffff::2"), other = peer_of("2001:db8:0:2::1");

	for (int i = 0; i < 3; i++) {
		EXPECT_INT(enter(a, i % 2 ? &q : &p, 61000), ADMITTED);   /* one /64 is one address */
		leave(a, i % 2 ? &q : &p);
	}
	EXPECT_INT(enter(a, &p, 61000), ADMISSION_FAST);
	EXPECT_INT(enter(a, &other, 61000), ADMITTED);
	for (int64_t t = 61000; t <= 120000; t += 100)   /* asking often counts nothing, and helps nothing */
		EXPECT_INT(enter(a, &p, t), ADMISSION_FAST);
	EXPECT_INT(enter(a, &p, 121000), ADMITTED);      /* the three of the last minute weigh less each second */
	EXPECT_INT(enter(a, &p, 121000), ADMISSION_FAST);
	EXPECT_INT(enter(a, &p, 240000), ADMITTED);
	admissions_free(a);
}

TEST(a_flood_of_addresses_does_not_push_out_who_is_in)
{
	struct admission_limits lim = { .per_address = 1 };
	struct admissions *a = admissions_new(&lim, NULL);
	struct peer in = peer_of("192.0.2.1"), p = peer_of("10.0.0.0");
	uint32_t refused = 0;

	EXPECT_INT(enter(a, &in, 0), ADMITTED);
	for (uint32_t i = 0; i < 300000; i++) {
		uint32_t v4 = htonl(0x0a000000 + i * 251);
		memcpy(p.address + 12, &v4, 4);
		if (enter(a, &p, (int64_t)i / 100) == ADMITTED)
			leave(a, &p);
		else
			refused++;
	}
	EXPECT_INT(refused, 0);   /* nor does it keep out who comes next */
	EXPECT_INT(enter(a, &in, 4000), ADMISSION_MANY);
	EXPECT_INT(admissions_count(a), 1);
	admissions_free(a);
}

/* Two gates and a third that takes the place of the second after its death. */
TEST(processes_count_together)
{
	struct admission_limits lim = { .per_address = 2, .per_minute_network = 4, .per_account = 3 };
	struct peer p = peer_of("192.0.2.1"), q = peer_of("192.0.2.2");
	int fd[3];
	struct admissions *a = admissions_new(&lim, &fd[0]), *b = admissions_new(&lim, &fd[1]), *again = admissions_new(&lim, &fd[2]);

	EXPECT_OK(admissions_join(a, 1, fd[1]));
	EXPECT_OK(admissions_join(b, 0, fd[0]));
	EXPECT_INT(enter(a, &p, 0), ADMITTED);
	EXPECT_INT(enter(b, &p, 0), ADMITTED);
	EXPECT_INT(enter(a, &p, 0), ADMISSION_MANY);
	EXPECT_INT(enter(b, &p, 0), ADMISSION_MANY);
	EXPECT_INT(enter(a, &q, 0), ADMITTED);
	EXPECT_INT(enter(b, &q, 0), ADMITTED);
	leave(b, &q);
	EXPECT_INT(enter(a, &q, 0), ADMISSION_FAST);   /* four of the network this minute */
	for (int i = 0; i < 3; i++)
		EXPECT(admission_account_enter(i % 2 ? a : b, PROTOCOL_IMAP, 7, 0));
	EXPECT(!admission_account_enter(a, PROTOCOL_IMAP, 7, 0));
	EXPECT(!admission_account_enter(b, PROTOCOL_IMAP, 7, 0));
	EXPECT(admission_account_enter(a, PROTOCOL_IMAP, 8, 0));
	admission_account_leave(b, PROTOCOL_IMAP, 7);
	EXPECT(admission_account_enter(a, PROTOCOL_IMAP, 7, 0));
	EXPECT_OK(admissions_join(a, 1, fd[2]));       /* what the second one had is gone with it */
	EXPECT_INT(enter(a, &p, 0), ADMITTED);
	EXPECT(admission_account_enter(a, PROTOCOL_IMAP, 7, 0));
	admissions_free(a);
	admissions_free(b);
	admissions_free(again);
	for (size_t i = 0; i < COUNT_OF(fd); i++)
		close(fd[i]);
}

TEST(only_a_sealed_table_of_the_right_size_is_joined)
{
	const struct admission_limits lim = { 0 };
	int fd, pipe_fd[2];
	struct admissions *a = admissions_new(&lim, &fd);

	EXPECT(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);  /* nobody else writes it */
	EXPECT_ERR(admissions_join(a, ADMISSION_SEATS, fd), ERR_INVALID);
	close(fd);
	FILE *f = tmpfile();
	EXPECT_ERR(admissions_join(a, 1, fileno(f)), ERR_INVALID);
	fclose(f);
	assert_int_equal(pipe(pipe_fd), 0);
	EXPECT_ERR(admissions_join(a, 1, pipe_fd[0]), ERR_INVALID);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	admissions_free(a);
}
