/* Who waits for others that begin to share (net/gains.c). Part of parked_test.c. */
#ifndef FACTEUR_NET_PARKED_GAINS_TEST_H
#define FACTEUR_NET_PARKED_GAINS_TEST_H
#include "net/parked_visits_test.h"

static void park_for_gains(struct world *w, struct session *s, uint8_t also)
{
	CLEANUP(buf_free) struct buf b = BUF(1);

	put_u8(&b, also);
	park_waiting(w, s, 10, true, buf_str(&b));
}

/* Account 8 begins to share with account 7, and with nobody else: only those of 7 hear of it that wait for it, once. */
TEST(somebody_begins_to_share)
{
	struct world w;
	struct session s[3];

	begin(&w);
	for (int i = 0; i < 3; i++)
		enter(&w, &s[i], i, i < 2 ? 7 : 9);
	park_for_gains(&w, &s[0], WAIT_OWN | WAIT_GAINS);
	park_for_gains(&w, &s[1], WAIT_OWN);
	park_for_gains(&w, &s[2], WAIT_OWN | WAIT_GAINS);
	w.told[0] = 0;
	parked_gained(w.parked, 7);
	parked_gained(w.parked, 77);   /* nobody's */
	turn(&w);
	assert_string_equal(w.told, "0:ATTACH:;");
	EXPECT_STR(str_of(changed(&s[0])), "0 ");
	EXPECT_STR(str_of(changed(&s[1])), "");
	park_for_gains(&w, &s[0], WAIT_OWN | WAIT_GAINS);
	clock_mono_advance(2000);
	turn(&w);
	assert_string_equal(w.told, "0:ATTACH:;");
	for (int i = 0; i < 3; i++)
		member_leave(w.parked, &s[i].m);
	end(&w);
}

/* While it is attached, also before its cell has said that it waits at all: seen when it parks. What it was told of with its own command is not told again. */
TEST(who_is_attached_hears_of_gains_when_it_parks)
{
	struct world w;
	struct session s;

	begin(&w);
	enter(&w, &s, 1, 7);
	parked_gained(w.parked, 7);
	turn(&w);
	assert_string_equal(w.told, "");
	park_for_gains(&w, &s, WAIT_OWN | WAIT_GAINS);
	turn(&w);
	assert_string_equal(w.told, "watch:7:1;1:ATTACH:;");
	EXPECT_STR(str_of(changed(&s)), "0 ");
	park_for_gains(&w, &s, WAIT_OWN | WAIT_GAINS);
	parked_gained(w.parked, 7);
	member_wake(w.parked, &s.m);   /* its client says something at that moment */
	EXPECT_STR(str_of(changed(&s)), "0 ");
	clock_mono_advance(2000);
	turn(&w);
	park_for_gains(&w, &s, WAIT_OWN | WAIT_GAINS);
	turn(&w);
	assert_string_equal(w.told, "watch:7:1;1:ATTACH:;");
	member_wake(w.parked, &s.m);
	park_for_gains(&w, &s, WAIT_OWN | WAIT_GAINS_UNKNOWN);   /* control was not there: tried again, a second later */
	turn(&w);
	clock_mono_advance(2000);
	turn(&w);
	assert_string_equal(w.told, "watch:7:1;1:ATTACH:;1:ATTACH:;");
	member_leave(w.parked, &s.m);
	end(&w);
}

/* One that cannot be parked. */
TEST(who_listens_hears_of_gains)
{
	struct world w;
	struct session s;

	begin(&w);
	enter(&w, &s, 1, 7);
	EXPECT(!member_waits(&s.m, STR("\x08")));
	EXPECT(member_waits(&s.m, STR("\x03")));
	turn(&w);
	assert_string_equal(w.told, "");
	w.takes_nothing = true;
	parked_gained(w.parked, 7);
	turn(&w);
	assert_string_equal(w.told, "");
	w.takes_nothing = false;
	clock_mono_advance(2000);
	turn(&w);
	assert_string_equal(w.told, "1:CHANGED:0 ;");
	member_leave(w.parked, &s.m);
	end(&w);
}

/* A list of rights for everybody: not all cells at once. */
TEST(gains_of_all_come_in_turn)
{
	enum { MANY = 2 * GAINS_AT_ONCE + 10 };
	static struct session s[MANY];
	struct world w;

	begin(&w);
	for (int i = 0; i < MANY; i++) {
		enter(&w, &s[i], i, 100 + (uint64_t)i);
		park_for_gains(&w, &s[i], WAIT_OWN | WAIT_GAINS);
	}
	parked_gained(w.parked, 0);
	member_leave(w.parked, &s[MANY - 1].m);  /* in the row: the others keep their places */
	for (int round = 1; round <= 3; round++) {
		int awake = 0;
		w.told[0] = 0;
		turn(&w);
		for (int i = 0; i < MANY - 1; i++)
			awake += !s[i].m.is_parked;
		EXPECT_INT(awake, round < 3 ? round * GAINS_AT_ONCE : MANY - 1);
		clock_mono_advance(1000);
	}
	for (int i = 0; i < MANY - 1; i++)
		member_leave(w.parked, &s[i].m);
	end(&w);
}
#endif
