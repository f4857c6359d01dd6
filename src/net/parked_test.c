/* Parked sessions and their news. */
#include "net/parked_gains_test.h"

TEST(one_render_for_all_that_want)
{
	struct world w;
	struct session s[4];
	uint32_t first = 99;

	begin(&w);
	for (int i = 0; i < 4; i++)
		enter(&w, &s[i], i, i < 3 ? 7 : 8);
	park(&w, &s[0], 10, true);
	park(&w, &s[1], 10, false);
	park(&w, &s[2], 10, true);
	park(&w, &s[3], 10, true);
	assert_string_equal(w.told, "watch:7:1;watch:8:1;");
	parked_changed(w.parked, 7, 11);
	parked_changed(w.parked, 9, 11);   /* nobody of it is here */
	turn(&w);
	EXPECT_INT(w.renders, 1);
	EXPECT_STR(str_of(asked(&w, &first)), "r2 r0 ");
	parked_changed(w.parked, 7, 12);   /* one render at a time */
	answer(&w, first, RENDERED_KEEP, 11, "r2'", "* 2 EXISTS\r\n");
	answer(&w, first + 1, RENDERED_KEEP, 12, "r0'", "");
	turn(&w);
	EXPECT(strstr(w.told, "2:KEEP:* 2 EXISTS\r\n;"));
	EXPECT(strstr(w.told, "0:KEEP") == NULL);   /* nothing to say */
	EXPECT_INT(w.renders, 1);                       /* by the same pair */
	EXPECT_STR(str_of(asked(&w, &first)), "r2' ");  /* the other one knows 12 already */
	answer(&w, first, RENDERED_KEEP, 12, "r2''", "");
	turn(&w);
	EXPECT_INT(w.renders, 1);
	for (int i = 0; i < 4; i++)
		member_leave(w.parked, &s[i].m);
	EXPECT(strstr(w.told, "watch:7:0;") && strstr(w.told, "watch:8:0;"));
	w.told[0] = 0;
	enter(&w, &s[0], 0, 7);
	park(&w, &s[0], 12, true);
	member_wake(w.parked, &s[0].m);      /* renews IDLE: nobody need know */
	park(&w, &s[0], 12, true);
	assert_string_equal(w.told, "watch:7:1;");
	member_leave(w.parked, &s[0].m);
	end(&w);
}

/* The cell wrote the record, then it changed, then the gate heard of the change, then of the record. */
TEST(no_news_falls_between)
{
	struct world w;
	struct session s;
	uint32_t first = 0;

	begin(&w);
	enter(&w, &s, 1, 7);
	parked_changed(w.parked, 7, 21);
	park(&w, &s, 20, true);
	EXPECT_INT(w.renders, 1);
	EXPECT_STR(str_of(asked(&w, &first)), "r1 ");
	answer(&w, first, RENDERED_KEEP, 5, "r1'", "news");   /* an odd number of the cell does not make us ask for ever */
	turn(&w);
	EXPECT_INT(w.renders, 1);
	member_wake(w.parked, &s.m);
	park(&w, &s, 21, true);
	EXPECT_INT(w.renders, 1);
	member_leave(w.parked, &s.m);
	end(&w);
}

TEST(who_wakes_up_is_not_told)
{
	struct world w;
	struct session a, b;
	uint32_t first = 0;

	begin(&w);
	enter(&w, &a, 1, 7);
	enter(&w, &b, 2, 7);
	park(&w, &a, 1, true);
	park(&w, &b, 1, true);
	parked_changed(w.parked, 7, 2);
	EXPECT_STR(str_of(asked(&w, &first)), "r2 r1 ");
	member_wake(w.parked, &b.m);
	EXPECT_STR(b.m.record, "r2");       /* what it resumes from */
	answer(&w, first, RENDERED_KEEP, 2, "x", "too late");
	answer(&w, first + 1, RENDERED_ATTACH, 0, "", "");
	turn(&w);
	EXPECT(strstr(w.told, "too late") == NULL);
	EXPECT(strstr(w.told, "1:ATTACH:;"));
	EXPECT(!a.m.is_parked);
	member_leave(w.parked, &a.m);
	member_leave(w.parked, &b.m);
	end(&w);
}

TEST(busy_ones_wait)
{
	struct world w;
	struct session s;
	uint32_t first = 0;

	begin(&w);
	enter(&w, &s, 1, 7);
	park(&w, &s, 1, true);
	s.m.is_busy = true;
	parked_changed(w.parked, 7, 2);
	EXPECT_INT(w.renders, 0);
	parked_again(w.parked, &s.m);
	EXPECT_STR(str_of(asked(&w, &first)), "r1 ");
	answer(&w, first, RENDERED_BYE, 0, "", "* BYE\r\n");
	turn(&w);
	EXPECT(strstr(w.told, "1:BYE:* BYE\r\n;"));
	end(&w);
}

/* Cells die; the news come with the next one. */
TEST(a_cell_that_dies_is_asked_again)
{
	struct world w;
	struct session s;
	uint32_t first = 0;

	begin(&w);
	enter(&w, &s, 1, 7);
	park(&w, &s, 1, true);
	parked_changed(w.parked, 7, 2);
	fd_close(&w.cell);
	turn(&w);
	EXPECT_INT(w.renders, 1);
	int64_t until = clock_mono_ms() + 3000;
	while (w.renders < 2 && clock_mono_ms() < until)
		loop_once(w.loop, 100);
	EXPECT_INT(w.renders, 2);
	EXPECT_STR(str_of(asked(&w, &first)), "r1 ");
	EXPECT_OK(frame_send(w.cell, FRAME_RENDERED, STR("nonsense"), 0));
	turn(&w);
	member_leave(w.parked, &s.m);   /* while a retry is set */
	end(&w);
}

/* The pair of a render is kept for the next one. Its cell may leave whenever it likes: who waits is told by the next one, at once. */
TEST(a_pair_is_kept)
{
	struct world w;
	struct session s;
	uint32_t first = 0;

	begin(&w);
	enter(&w, &s, 1, 7);
	park(&w, &s, 1, true);
	for (int i = 2; i < 5; i++) {
		parked_changed(w.parked, 7, (uint64_t)i);
		EXPECT_STR(str_of(asked(&w, &first)), "r1 ");
		answer(&w, first, RENDERED_KEEP, (uint64_t)i, "r1", "");
		turn(&w);
		EXPECT_INT(w.renders, 1);
	}
	fd_close(&w.cell);                   /* it leaves, and that is seen */
	turn(&w);
	parked_changed(w.parked, 7, 5);
	EXPECT_INT(w.renders, 2);
	EXPECT_STR(str_of(asked(&w, &first)), "r1 ");
	answer(&w, first, RENDERED_KEEP, 5, "r1", "");
	turn(&w);
	fd_close(&w.cell);                   /* not seen before it is asked */
	parked_changed(w.parked, 7, 6);
	EXPECT_INT(w.renders, 3);
	EXPECT_STR(str_of(asked(&w, &first)), "r1 ");
	answer(&w, first, RENDERED_KEEP, 6, "r1", "");
	turn(&w);
	parked_changed(w.parked, 7, 7);      /* asked, and it leaves without having looked */
	fd_close(&w.cell);
	turn(&w);
	EXPECT_INT(w.renders, 4);
	EXPECT_STR(str_of(asked(&w, &first)), "r1 ");
	answer(&w, first, RENDERED_KEEP, 7, "r1", "");
	turn(&w);
	EXPECT_OK(frame_send(w.cell, FRAME_RENDERED, STR("nobody asked"), 0));
	turn(&w);
	parked_changed(w.parked, 7, 8);
	EXPECT_INT(w.renders, 5);
	member_leave(w.parked, &s.m);
	end(&w);
}

/* News of that account, told. Whether the pair is kept for the next ones. */
static bool news_and_kept(struct world *w, uint64_t account, uint64_t modseq)
{
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	uint32_t index = 0;

	parked_changed(w->parked, account, modseq);
	asked(w, &index);
	answer(w, index, RENDERED_KEEP, modseq, "r", "");
	turn(w);
	return frame_receive(w->cell, room, &type, &bytes) == ERR_AGAIN;
}

/* Each is a descriptor: one of all accounts here. */
TEST(few_pairs_are_kept)
{
	struct world w;
	struct session s[2];

	begin(&w);
	for (int i = 0; i < 2; i++) {
		enter(&w, &s[i], i, 7 + (uint64_t)i);
		park(&w, &s[i], 1, true);
	}
	EXPECT(news_and_kept(&w, 7, 2));
	int cell_of_7 = w.cell;
	w.cell = -1;
	EXPECT(!news_and_kept(&w, 8, 2));
	close(cell_of_7);
	turn(&w);
	EXPECT(news_and_kept(&w, 8, 3));
	EXPECT(news_and_kept(&w, 8, 4));
	EXPECT_INT(w.renders, 3);
	for (int i = 0; i < 2; i++)
		member_leave(w.parked, &s[i].m);
	end(&w);
}

TEST(many_states_and_an_epoch)
{
	enum { MANY = 2000 };
	struct world w;
	uint32_t first = 0;
	int states = 0, told = 0;
	struct session *s = mem_array(MANY, sizeof(*s));

	begin(&w);
	for (int i = 0; i < MANY; i++) {
		enter(&w, &s[i], i, 7);
		park(&w, &s[i], 1, true);
	}
	parked_changed(w.parked, 7, 2);
	for (int round = 0; round < 1000 && states < MANY; round++) {  /* more than the pair holds: they go as it has room */
		const char *list = asked(&w, &first);
		uint32_t index = first;
		for (; *list; list++)
			if (*list == ' ') {
				answer(&w, index++, RENDERED_KEEP, 2, "n", "");
				states++;
			}
		turn(&w);
	}
	EXPECT_INT(states, MANY);
	for (int i = 0; i < MANY; i++)
		told += str_eq(s[i].m.record, STR("n"));
	EXPECT_INT(told, MANY);
	s[5].m.grant.epoch = 4;
	parked_epoch(w.parked, 7, 4);
	EXPECT_INT(w.revoked, MANY - 1);
	member_leave(w.parked, &s[5].m);
	mem_free(s);
	end(&w);
}
