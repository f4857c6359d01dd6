/* Who waits for changes of other accounts (net/visits.c). Part of parked_test.c. */
#ifndef FACTEUR_NET_PARKED_VISITS_TEST_H
#define FACTEUR_NET_PARKED_VISITS_TEST_H
#include "net/parked_world_test.h"

/* Two of account 7 look into mailboxes of account 8: its changes wake them, their own do not. */
TEST(visits)
{
	struct world w;
	struct session s[3];

	begin(&w);
	for (int i = 0; i < 3; i++)
		enter(&w, &s[i], i, 7);
	park_for(&w, &s[0], 10, true, 8);
	park_for(&w, &s[1], 30, true, 8);
	park_for(&w, &s[2], 10, true, 7);  /* his own account after all */
	turn(&w);
	assert_string_equal(w.told, "watch:7:1;watch:8:1;");
	EXPECT_INT(w.asks, 1);             /* for both of them */
	parked_changed(w.parked, 8, 20);
	turn(&w);
	EXPECT(strstr(w.told, "0:ATTACH:;") != NULL);
	EXPECT(strstr(w.told, "1:ATTACH:;") == NULL);  /* he knows that */
	EXPECT_INT(w.renders, 0);
	member_wake(w.parked, &s[0].m);
	w.told[0] = 0;
	park_for(&w, &s[0], 15, true, 8);  /* it has changed since: no watch tells that again */
	turn(&w);
	assert_string_equal(w.told, "0:ATTACH:;");
	for (int i = 0; i < 3; i++)
		member_leave(w.parked, &s[i].m);
	assert_string_equal(w.told, "0:ATTACH:;watch:8:0;watch:7:0;");
	end(&w);
}

static const char *changed(struct session *s)
{
	static char text[100];
	CLEANUP(buf_free) struct buf b = BUF(100);

	text[0] = 0;
	member_changed(&s->m, &b);
	struct scan scan = scan_of(buf_str(&b));
	while (!scan_done(&scan))
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%d ", (int)get_u64(&scan));
	return text;
}

static void park_with_both(struct world *w, struct session *s, uint64_t own, uint64_t eight, uint64_t nine)
{
	CLEANUP(buf_free) struct buf b = BUF(100);

	put_bool(&b, true);
	add_wait(&b, 8, eight, WAIT_ASKS_ONCE);
	if (nine > 0)
		add_wait(&b, 9, nine, WAIT_ASKS_ONCE);
	park_waiting(w, s, own, true, buf_str(&b));
}

/* NOTIFY: its own account and two others. Each of those is asked once when it begins to be waited for, then once for each change, and what
 * changes between two parkings is not missed. */
TEST(waits_for_several)
{
	struct world w;
	struct session s;
	uint32_t first = 0;

	begin(&w);
	enter(&w, &s, 1, 7);
	park_with_both(&w, &s, 10, 20, 30);
	turn(&w);
	assert_string_equal(w.told, "watch:7:1;1:ATTACH:;watch:9:1;watch:8:1;");
	EXPECT_STR(str_of(changed(&s)), "9 8 ");
	park_with_both(&w, &s, 10, 20, 30);
	turn(&w);
	EXPECT_STR(str_of(changed(&s)), "");
	parked_changed(w.parked, 7, 11);       /* its own: told as ever */
	turn(&w);
	EXPECT_STR(str_of(asked(&w, &first)), "r1 ");
	answer(&w, first, RENDERED_KEEP, 11, "r1", "");
	turn(&w);
	w.told[0] = 0;
	parked_changed(w.parked, 9, 31);
	turn(&w);
	assert_string_equal(w.told, "1:ATTACH:;");
	EXPECT_STR(str_of(changed(&s)), "9 ");
	parked_changed(w.parked, 8, 21);       /* while it is attached */
	turn(&w);
	park_with_both(&w, &s, 11, 20, 30);    /* 9 was asked, whatever it said: not again before it changes again */
	turn(&w);
	assert_string_equal(w.told, "1:ATTACH:;1:ATTACH:;");
	EXPECT_STR(str_of(changed(&s)), "8 ");
	park_with_both(&w, &s, 11, 21, 0);     /* waits for one only */
	turn(&w);
	parked_changed(w.parked, 9, 40);
	turn(&w);
	assert_string_equal(w.told, "1:ATTACH:;1:ATTACH:;watch:9:0;");
	member_wake(w.parked, &s.m);
	park(&w, &s, 11, false);
	member_leave(w.parked, &s.m);
	EXPECT(strstr(w.told, "watch:8:0;") != NULL);
	end(&w);
}

static void listen_to_both(struct session *s, uint64_t eight, uint64_t nine)
{
	CLEANUP(buf_free) struct buf b = BUF(100);

	put_bool(&b, true);
	add_wait(&b, 8, eight, WAIT_ASKS_ONCE);
	add_wait(&b, 9, nine, WAIT_ASKS_ONCE);
	EXPECT(member_waits(&s->m, buf_str(&b)));
}

/* One that cannot be parked: its cell is told, once each time that it has said what it waits for, and of its own account nothing. */
TEST(who_stays_attached_listens)
{
	struct world w;
	struct session s;

	begin(&w);
	enter(&w, &s, 1, 7);
	EXPECT(!member_waits(&s.m, STR("")) && !member_waits(&s.m, STR("\1abc")));
	listen_to_both(&s, 20, 30);
	turn(&w);
	assert_string_equal(w.told, "1:CHANGED:9 8 ;watch:9:1;watch:8:1;");
	w.told[0] = 0;
	parked_changed(w.parked, 7, 11);
	listen_to_both(&s, 20, 30);
	turn(&w);
	assert_string_equal(w.told, "");
	parked_changed(w.parked, 8, 21);
	turn(&w);
	assert_string_equal(w.told, "1:CHANGED:8 ;");
	w.told[0] = 0;
	parked_changed(w.parked, 9, 31);      /* while it looks */
	turn(&w);
	assert_string_equal(w.told, "");
	listen_to_both(&s, 21, 30);
	turn(&w);
	assert_string_equal(w.told, "1:CHANGED:9 ;");
	w.told[0] = 0;
	listen_to_both(&s, 21, 31);
	w.takes_nothing = true;
	parked_changed(w.parked, 8, 22);
	turn(&w);
	assert_string_equal(w.told, "");
	w.takes_nothing = false;
	parked_changed(w.parked, 9, 32);      /* or a second later */
	turn(&w);
	assert_string_equal(w.told, "1:CHANGED:9 8 ;");
	w.told[0] = 0;
	w.shares = ERR_NOTFOUND;              /* and nothing is shared with it any more: it hears of that, and then no more */
	listen_to_both(&s, 22, 32);
	parked_changed(w.parked, 8, 23);
	turn(&w);
	assert_string_equal(w.told, "1:CHANGED:8 ;");
	w.told[0] = 0;
	parked_changed(w.parked, 8, 24);
	listen_to_both(&s, 23, 32);
	turn(&w);
	assert_string_equal(w.told, "");
	w.shares = ERR_OK;
	park_with_both(&w, &s, 11, 23, 32);
	parked_changed(w.parked, 9, 33);
	turn(&w);
	EXPECT(strstr(w.told, "1:ATTACH:;") != NULL && strstr(w.told, "CHANGED") == NULL);
	member_leave(w.parked, &s.m);
	end(&w);
}

static void park_unasked(struct world *w, struct session *s, uint64_t eight, enum wait how)
{
	CLEANUP(buf_free) struct buf b = BUF(100);

	put_bool(&b, true);
	add_wait(&b, 8, eight, how);
	park_waiting(w, s, 10, true, buf_str(&b));
}

/* When a group's mailbox changes all its members ask at once, and not all are let in: nobody's news are lost by that. */
TEST(who_could_not_ask_tries_again)
{
	struct world w;
	struct session s;

	begin(&w);
	enter(&w, &s, 1, 7);
	park_unasked(&w, &s, 20, WAIT_ASKS_ONCE);
	turn(&w);
	EXPECT_STR(str_of(changed(&s)), "8 ");
	w.told[0] = 0;
	for (int64_t pause_ms = 1000; pause_ms < 1000000; pause_ms *= 2) {
		int64_t waits_ms = pause_ms < 300000 ? pause_ms : 300000;
		park_unasked(&w, &s, 20, WAIT_COULD_NOT_ASK);
		if (pause_ms >= 64000) {   /* a machine may stand still for the shorter ones */
			clock_mono_advance(waits_ms / 2);
			turn(&w);
			EXPECT_STR(str_of(w.told), "");
			member_wake(w.parked, &s.m);       /* for a command of the client's: not for this */
			EXPECT_STR(str_of(changed(&s)), "");
			park_unasked(&w, &s, 20, WAIT_ASKS_ONCE);
		}
		clock_mono_advance(waits_ms);
		turn(&w);
		EXPECT_STR(str_of(w.told), "1:ATTACH:;");
		EXPECT_STR(str_of(changed(&s)), "8 ");
		w.told[0] = 0;
	}
	park_unasked(&w, &s, 21, WAIT_ASKS_ONCE);  /* it could: over */
	clock_mono_advance(1000000);
	turn(&w);
	EXPECT_STR(str_of(w.told), "");
	member_leave(w.parked, &s.m);
	w.told[0] = 0;
	end(&w);
}

/* Account 7 waits for account 8, which changes: it is attached. */
static void wait_and_be_told(struct world *w, struct session *s)
{
	enter(w, s, 1, 7);
	park_for(w, s, 10, true, 8);
	turn(w);
	parked_changed(w->parked, 8, 20);
	turn(w);
	assert_string_equal(w->told, "watch:8:1;1:ATTACH:;");
}

/* In IDLE: it knows what it is told there, and could not be told. It is not attached again and again for that, and hears of the next change at once. */
TEST(who_is_not_let_in_waits_on)
{
	struct world w;
	struct session s;

	begin(&w);
	wait_and_be_told(&w, &s);
	changed(&s);
	park_unasked(&w, &s, 0, WAIT_COULD_NOT_ASK);
	turn(&w);
	assert_string_equal(w.told, "watch:8:1;1:ATTACH:;watch:7:1;");
	clock_mono_advance(1500);
	turn(&w);
	assert_string_equal(w.told, "watch:8:1;1:ATTACH:;watch:7:1;1:ATTACH:;");
	changed(&s);
	park_unasked(&w, &s, 0, WAIT_COULD_NOT_ASK);
	parked_changed(w.parked, 8, 30);
	turn(&w);
	assert_string_equal(w.told, "watch:8:1;1:ATTACH:;watch:7:1;1:ATTACH:;1:ATTACH:;");
	changed(&s);
	park_for(&w, &s, 30, true, 8);   /* now it was told */
	clock_mono_advance(1000000);
	turn(&w);
	EXPECT(s.m.is_parked);
	member_leave(w.parked, &s.m);
	end(&w);
}

/* A cell that was broken into can have its sessions wait for anybody. It learns nothing of who shares nothing with it, whoever else waits there. */
TEST(who_may_not_wait_hears_nothing)
{
	struct world w;
	struct session s, owners;

	begin(&w);
	enter(&w, &s, 1, 7);
	enter(&w, &owners, 2, 8);
	park(&w, &owners, 10, true);
	w.shares = ERR_NOTFOUND;
	park_for(&w, &s, 0, true, 8);
	turn(&w);
	parked_changed(w.parked, 8, 20);
	turn(&w);
	assert_string_equal(w.told, "watch:8:1;");   /* the owner's own */
	EXPECT_INT(w.asks, 2);
	member_wake(w.parked, &s.m);
	park_unasked(&w, &s, 0, WAIT_ASKS_ONCE);
	turn(&w);
	EXPECT_STR(str_of(changed(&s)), "");         /* nor by what a session is told when it is attached */
	w.shares = ERR_UNAVAILABLE;                  /* nobody knows: asked again in a second */
	member_wake(w.parked, &s.m);
	park_for(&w, &s, 0, true, 8);
	turn(&w);
	EXPECT_INT(w.asks, 4);
	w.shares = ERR_OK;
	clock_mono_advance(2000);
	turn(&w);
	EXPECT_INT(w.asks, 5);
	EXPECT(strstr(w.told, "1:ATTACH:;") != NULL);
	member_leave(w.parked, &s.m);
	member_leave(w.parked, &owners.m);
	end(&w);
}

/* What was shared is not any more: he is attached once, so that his cell says so, and then hears nothing. */
TEST(who_has_lost_all_is_told_once)
{
	struct world w;
	struct session s;

	begin(&w);
	wait_and_be_told(&w, &s);
	park_for(&w, &s, 20, true, 8);
	w.shares = ERR_NOTFOUND;
	for (uint64_t modseq = 30; modseq < 60; modseq += 10) {
		parked_changed(w.parked, 8, modseq);
		turn(&w);
		changed(&s);
		if (!s.m.is_parked)
			park_for(&w, &s, 20, true, 8);
	}
	assert_string_equal(w.told, "watch:8:1;1:ATTACH:;1:ATTACH:;");
	member_leave(w.parked, &s.m);
	end(&w);
}
#endif
