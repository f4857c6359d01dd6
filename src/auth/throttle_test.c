/* What guessers get, and what owners do not. */
#include "base/test.h"
#include "auth/throttle.h"

static struct throttle_who who(uint64_t account, const char *peer) { return (struct throttle_who){ account, str_of(peer) }; }

TEST(pair_is_delayed_then_refused)
{
	struct throttle *t = throttle_new();
	struct throttle_who w = who(1, "192.0.2.7");
	int64_t now = 1000000;

	for (uint64_t i = 0; i < 10; i++) {
		uint32_t delay;

		EXPECT_INT(throttle_check(t, &w, now), 0);
		delay = throttle_failure(t, &w, i, now);
		if (i < 2)
			EXPECT_INT(delay, 0);
		else
			EXPECT(delay >= 250 && delay <= 10000);
	}
	EXPECT_INT(throttle_check(t, &w, now), 60);
	EXPECT(throttle_check(t, &w, now + 59000) > 0);
	EXPECT_INT(throttle_check(t, &w, now + 60000), 0);
	throttle_failure(t, &w, 77, now + 60000);
	EXPECT(throttle_check(t, &w, now + 60000) > 0);     /* one try a minute from now on */
	w = who(2, "192.0.2.7");
	EXPECT_INT(throttle_check(t, &w, now), 0);          /* another account from there */
	w = who(1, "198.51.100.1");
	EXPECT_INT(throttle_check(t, &w, now), 0);          /* the owner elsewhere */
	throttle_free(t);
}

TEST(old_password_of_a_phone)
{
	struct throttle *t = throttle_new();
	struct throttle_who w = who(1, "192.0.2.7");

	for (int i = 0; i < 1000; i++) {
		EXPECT_INT(throttle_check(t, &w, i * 10), 0);
		throttle_failure(t, &w, 4711, i * 10);
	}
	throttle_free(t);
}

/* All app passwords were taken away, and telephone and tablet each try theirs: who has the new one is let in beside them. */
TEST(old_passwords_of_several_devices_at_one_address)
{
	struct throttle *t = throttle_new();
	struct throttle_who w = who(1, "192.0.2.7");

	for (int i = 0; i < 1000; i++) {
		EXPECT_INT(throttle_check(t, &w, i * 10), 0);
		throttle_failure(t, &w, 4711 + (uint64_t)i % 3, i * 10);
	}
	for (uint64_t i = 1; i <= 7; i++)  /* who guesses counts as ever */
		throttle_failure(t, &w, i, 10000);
	EXPECT(throttle_check(t, &w, 10000) > 0);
	throttle_free(t);
}

TEST(address_and_network)
{
	struct throttle *t = throttle_new();
	int64_t now = 5000;
	struct throttle_who w;
	char peer[40];
	int i;

	for (i = 0; i < 100; i++) {  /* one password for a hundred names */
		w = who(100 + (uint64_t)i, "192.0.2.7");
		if (throttle_check(t, &w, now) > 0)
			break;
		throttle_failure(t, &w, 1, now);
	}
	EXPECT_INT(i, 40);
	w = who(1, "::ffff:192.0.2.7");
	EXPECT(throttle_check(t, &w, now) > 0);  /* the same address in other clothes */

	for (i = 0; i < 1000; i++) {  /* from all over a /48 */
		snprintf(peer, sizeof peer, "2001:db8:7:%x::1", (unsigned)i);
		w = who(1000 + (uint64_t)i, peer);
		if (throttle_check(t, &w, now) > 0)
			break;
		throttle_failure(t, &w, 1, now);
	}
	EXPECT_INT(i, 200);
	w = who(5, "127.0.0.1");
	for (i = 0; i < 300; i++) {  /* a local proxy is not shut out by one of its users */
		struct throttle_who other = who(2000 + (uint64_t)i, "127.0.0.1");
		throttle_failure(t, &other, 1, now);
	}
	EXPECT_INT(throttle_check(t, &w, now), 0);
	throttle_free(t);
}

TEST(owner_is_not_locked_out)
{
	struct throttle *t = throttle_new();
	struct throttle_who owner = who(9, "203.0.113.5"), stranger;
	int64_t now = 5000;
	char peer[40];

	throttle_success(t, &owner, now);
	for (int i = 0; i < 250; i++) {
		snprintf(peer, sizeof peer, "10.%d.1.1", i);
		stranger = who(9, peer);
		throttle_failure(t, &stranger, (uint64_t)i, now);
	}
	stranger = who(9, "10.251.1.1");
	EXPECT(throttle_check(t, &stranger, now) > 0);
	EXPECT_INT(throttle_check(t, &owner, now), 0);
	throttle_free(t);
}

TEST(success_forgives_its_own_only)
{
	struct throttle *t = throttle_new();
	struct throttle_who victim = who(1, "192.0.2.7"), own = who(2, "192.0.2.7");
	int64_t now = 5000;
	int i;

	for (i = 0; i < 9; i++)
		throttle_failure(t, &victim, (uint64_t)i, now);
	throttle_success(t, &victim, now);
	for (i = 0; i < 9; i++)
		throttle_failure(t, &victim, 100 + (uint64_t)i, now);
	EXPECT_INT(throttle_check(t, &victim, now), 0);
	for (i = 0; i < 200; i++) {  /* logging in to his own account between guesses */
		struct throttle_who v = who(1000 + (uint64_t)i, "192.0.2.7");
		if (throttle_check(t, &v, now) > 0)
			break;
		throttle_failure(t, &v, 1, now);
		throttle_success(t, &own, now);
	}
	EXPECT(i < 40);
	throttle_free(t);
}

TEST(flood_keeps_the_worst)
{
	struct throttle *t = throttle_new();
	struct throttle_who hammer = who(1, "192.0.2.7");
	int64_t now = 5000;

	for (uint64_t i = 0; i < 10; i++)
		throttle_failure(t, &hammer, i, now);
	for (uint64_t i = 0; i < 200000; i++) {
		struct throttle_who w = { 10 + i, str_of("not an address") };
		throttle_failure(t, &w, i, now);
	}
	EXPECT(throttle_check(t, &hammer, now) > 0);
	throttle_free(t);
}
