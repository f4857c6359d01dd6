/* The queue of password checks: fair, bounded, late jobs ended. Cheap hashes keep it quick. */
#include "base/test.h"
#include "auth/hasher.h"
#include <poll.h>

static uint64_t order[2000];
static size_t done_count, given_up;

static void on_done(struct hash_job *job, enum err result)
{
	if (result == ERR_OK)
		order[done_count++] = job->network;
	given_up += result == ERR_TIMEOUT;
}

static enum err add(struct hasher *h, uint64_t network, uint64_t account, bool (*is_known)(struct hash_job *))
{
	struct hash_job *j = hasher_job(HASH_CHECK, STR("secret"), STR("{PLAIN}secret"));

	j->network = network;
	j->account = account;
	j->done = on_done;
	j->is_known = is_known;
	return hasher_add(h, j);
}

static size_t place_of(uint64_t network)
{
	for (size_t i = 0; i < done_count; i++)
		if (order[i] == network)
			return i;
	return SIZE_MAX;
}

TEST(fair_by_network_and_account)
{
	struct hasher *h = hasher_new(0);

	done_count = 0;
	for (uint64_t i = 0; i < 100; i++)
		EXPECT_OK(add(h, 1, 1000 + i, NULL));
	EXPECT_OK(add(h, 2, 5, NULL));      /* came last, alone in its network */
	for (uint64_t i = 0; i < 10; i++)
		EXPECT_OK(add(h, 100 + i, 6, NULL));  /* ten networks ask for one account: a guesser with many addresses */
	EXPECT_OK(add(h, 3, 7, NULL));
	hasher_receive(h);
	EXPECT_INT(done_count, 112);
	EXPECT(place_of(2) <= 3);
	EXPECT(place_of(3) <= 4);
	EXPECT(place_of(109) > 20);
	hasher_free(h);
}

TEST(bounded)
{
	struct hasher *h = hasher_new(0);
	size_t taken = 0;

	done_count = 0;
	for (uint64_t i = 0; i < 300; i++)
		taken += add(h, 1, 1000 + i, NULL) == ERR_OK;
	EXPECT_INT(taken, HASHER_PER_NETWORK_MAX);
	for (uint64_t i = 0; i < 2000; i++)
		taken += add(h, 10 + i, 5000 + i, NULL) == ERR_OK;
	EXPECT_INT(taken, HASHER_PENDING_MAX);
	EXPECT_OK(add(h, 0, 1, NULL));      /* our own work always finds room */
	hasher_receive(h);
	EXPECT_INT(done_count, HASHER_PENDING_MAX + 1);
	hasher_free(h);
}

static int asked;
static bool is_known(UNUSED struct hash_job *job) { return ++asked > 1; }

TEST(known_by_now_and_threads)
{
	struct hasher *h = hasher_new(2);

	done_count = 0;
	asked = 0;
	for (int i = 0; i < 20; i++)
		EXPECT_OK(add(h, 1, 1, is_known));
	for (int i = 0; i < 100 && done_count < 20; i++) {
		struct pollfd p = { hasher_fd(h), POLLIN, 0 };

		poll(&p, 1, 20);
		hasher_receive(h);
	}
	EXPECT_INT(done_count, 20);
	given_up = 0;
	for (int i = 0; i < 10; i++)
		EXPECT_OK(add(h, 1, 50 + (uint64_t)i, NULL));
	hasher_free(h);  /* with work under way */
	EXPECT_INT(given_up, 10);
}
