/* Whose turn it is, counted in turns, not in seconds: what one sender has waiting costs another one nothing. */
#include "queue/turns_scene_test.h"

/* ------------------------------------------------------------------------------------------------------- fairness */

TEST(ten_thousand_messages_of_one_sender_delay_nobody_else)
{
	static const struct { bool is_spread; const char *single; size_t out, most_before; } cases[] = {
		{ false, "a.example",     TURNS_WINDOW_START, 2 },  /* every place there is taken: one of the next two */
		{ false, "b.example",     TURNS_WINDOW_START, 0 },
		{ true,  "d7.for.bulk",    TURNS_OUT_MAX / 2,  0 },
		{ true,  "d9999.for.bulk", TURNS_OUT_MAX / 2,  0 },
		{ true,  "b.example",     TURNS_OUT_MAX / 2,  0 },
	};

	EACH(cases, c) {
		struct scene *s = begin();
		if (c->is_spread)
			add_spread(s, BULK, "bulk");
		else
			add_many(s, BULK, "bulk", "a.example");
		EXPECT_INT(take_all(s, 0), c->out);
		struct item *single = add(s, "alice@example.org", c->single);
		size_t before = 0;
		(void)take_all(s, 0);
		add_many(s, 300, "newcomer", c->single);
		for (take_all(s, 0); !single->is_out; take_all(s, 0)) {
			EXPECT(before++ < c->most_before);
			leave(s, s->out[0]);
		}
		end(s);
	}
}

TEST(all_go_once_each_sender_in_order)
{
	static const struct { const char *sender, *destination; size_t n; } flows[] = {
		{ "alice@example.org", "a.example", 90 }, { "alice@example.org", "b.example", 40 }, { "bob@example.org", "a.example", 60 },
		{ "", "a.example", 30 },                  { "", "c.example", 1 },                   { "<>x@example.org", "b.example", 50 },
	};
	struct scene *s = begin();
	size_t went = 0;

	EACH(flows, f)
		add_many(s, f->n, f->sender, f->destination);
	for (take_all(s, 0); s->n_out > 0; take_all(s, 0)) {
		struct item *i = s->out[0];
		for (struct item *j = s->items; j < i; j++)  /* of its flow, what came before has left: it was taken before */
			EXPECT(j->turn.flow != i->turn.flow);
		leave(s, i);
		went++;
	}
	EXPECT_INT(went, s->n);
	EXPECT_INT(known(s), 0);
	end(s);
}

TEST(a_sender_gets_at_most_as_many_places_as_are_left)
{
	static const struct { size_t senders, out, each; } cases[] = {  /* each: the most that one has */
		{ 1, 150, 150 }, { 2, 200, 100 }, { 3, 225, 75 }, { 24, 288, 12 }, { 299, 299, 1 }, { 300, 300, 1 }, { 320, 300, 1 },
	};

	EACH(cases, c) {
		struct scene *s = begin();
		size_t of_first = 0;
		char sender[32];
		for (size_t i = 0; i < c->senders; i++) {
			snprintf(sender, sizeof sender, "s%zu", i);
			add_spread(s, c->senders > 30 ? 10 : 200, sender);
		}
		EXPECT_INT(take_all(s, 0), c->out);
		for (size_t i = 0; i < s->n_out; i++)
			of_first += s->out[i]->number <= (c->senders > 30 ? 10 : 200);
		EXPECT(of_first > 0 && of_first <= c->each);
		for (size_t i = 0; i < 50; i++) {  /* a place that gets free is taken */
			leave(s, s->out[0]);
			(void)take_all(s, 0);
			EXPECT(s->n_out >= c->out);
		}
		end(s);
	}
}

static void answers(struct scene *s, const char *destination, enum send_feedback f, int64_t now_ms)
{
	struct item *i = add(s, "bob@example.org", destination);

	while (!i->is_out)
		EXPECT(take(s, now_ms) != NULL);
	(void)turns_feedback(s->turns, &i->turn, f, now_ms);
	leave(s, i);
}

/* Her half of the places is held by servers that say nothing. */
TEST(silent_servers_keep_nobody_from_those_that_answer)
{
	enum { HOUR = 3600 * 1000 };
	static const struct { const char *before; int64_t at_ms; size_t others, goes; } cases[] = {
		{ "g",  1, 0, TURNS_BEYOND_MAX },
		{ "",   1, 0, 0 },
		{ "gu", 1, 0, 0 },                                  /* it did, and does not now */
		{ "gb", 1, 0, TURNS_BEYOND_MAX },                   /* it wants fewer of us, and says so */
		{ "g",  24 * (int64_t)HOUR - 1, 0, TURNS_BEYOND_MAX },
		{ "g",  24 * (int64_t)HOUR, 0, 0 },
		{ "g",  1, 7, 3 },                                  /* eight have 267: thirty places stay free */
		{ "g",  1, 8, 0 },                                  /* nine have 270 */
	};

	EACH(cases, c) {
		struct scene *s = begin();
		char name[40];
		for (size_t i = 0; i < 20; i++) {
			snprintf(name, sizeof name, "quick%zu.example", i);
			for (const char *f = c->before; *f != '\0'; f++)
				answers(s, name, *f == 'g' ? SEND_GOOD : *f == 'b' ? SEND_BUSY : SEND_UNREACHABLE, 0);
		}
		for (size_t i = 0; i < c->others; i++) {
			snprintf(name, sizeof name, "other%zu", i);
			add_spread(s, 150, name);
		}
		add_spread(s, 400, "alice@example.org");
		turns_pass(s->turns, c->at_ms);
		(void)take_all(s, c->at_ms);
		size_t first = s->n;
		for (size_t i = 0; i < 20; i++) {
			snprintf(name, sizeof name, "quick%zu.example", i);
			(void)add(s, "alice@example.org", name);
		}
		EXPECT_INT(take_all(s, c->at_ms), c->goes);
		for (size_t i = 0; i < 5 && c->goes > 0; i++) {     /* one that is done makes room for the next one of them */
			struct item *done = s->out[s->n_out - 1];
			EXPECT(done->number > first);
			leave(s, done);
			EXPECT_INT(take_all(s, c->at_ms), 1);
		}
		end(s);
	}
}

/* Below her half they take turns: neither waits for all of the other. */
TEST(who_answers_and_who_is_not_known_take_turns)
{
	struct scene *s = begin();

	answers(s, "quick.example", SEND_GOOD, 0);
	add_many(s, 200, "alice@example.org", "quick.example");
	add_spread(s, 200, "alice@example.org");
	for (size_t i = 0; i < 200; i++) {
		struct item *one = take(s, 1), *two = take(s, 1);
		EXPECT(one != NULL && two != NULL);
		EXPECT(str_eq(turn_destination(&one->turn), STR("quick.example")) != str_eq(turn_destination(&two->turn), STR("quick.example")));
		leave(s, one);
		leave(s, two);
	}
	end(s);
}

/* What waited before somebody else's mail was answered there goes as well. */
TEST(the_first_answer_is_heard_by_what_waits)
{
	struct scene *s = begin();

	add_spread(s, 400, "alice@example.org");
	struct item *hers = add(s, "alice@example.org", "quick.example");
	EXPECT_INT(take_all(s, 0), TURNS_OUT_MAX / 2);
	EXPECT(!hers->is_out);
	answers(s, "quick.example", SEND_GOOD, 0);
	EXPECT_INT(take_all(s, 0), 1);
	EXPECT(hers->is_out);
	end(s);
}

/* ------------------------------------------------------------------------------------------------ priority, signatures */

static struct item *add_kind(struct scene *s, const char *sender, const char *destination, int8_t priority, bool is_signed)
{
	struct item *i = &s->items[s->n++];

	i->number = (unsigned)s->n;
	turns_add(s->turns, &i->turn, &(struct turn_kind){ str_of(sender), str_of(destination), priority, is_signed });
	turns_weigh(&i->turn, 1);
	return i;
}

/* How many go before it, one at a time. */
static size_t turns_before(struct scene *s, const struct item *x)
{
	for (size_t n = 0;; n++) {
		struct item *i = take(s, 0);
		EXPECT(i != NULL);
		leave(s, i);
		if (i == x)
			return n;
	}
}

TEST(urgent_mail_goes_before_other_mail_of_its_sender)
{
	static const struct { int8_t priority; const char *sender, *destination; size_t before; } cases[] = {
		{ 0,  "alice@example.org", "a.example", 100 },
		{ 1,  "alice@example.org", "a.example", 0 },
		{ -9, "alice@example.org", "a.example", 100 },
		{ 9,  "alice@example.org", "b.example", 0 },    /* to another destination too */
		{ 9,  "bob@example.org",   "a.example", 1 },    /* others take turns with her as ever */
	};

	EACH(cases, c) {
		struct scene *s = begin();
		add_many(s, 100, "alice@example.org", "a.example");
		EXPECT_INT(turns_before(s, add_kind(s, c->sender, c->destination, c->priority, false)), c->before);
		end(s);
	}
}

TEST(nobody_is_overtaken_for_ever)
{
	static const char *const destinations[] = { "a.example", "b.example" };   /* in one flow, and in another of its sender */

	EACH(destinations, d) {
		struct scene *s = begin();
		struct item *plain = add(s, "alice@example.org", "a.example");
		for (size_t i = 0; i < 3 * TURNS_OVERTAKEN_MAX; i++)
			(void)add_kind(s, "alice@example.org", *d, 5, false);
		EXPECT(turns_before(s, plain) <= TURNS_OVERTAKEN_MAX + 1);
		end(s);
	}
}

/* While nobody signs, what needs no signature goes, also of the same sender and to the same destination. */
TEST(what_cannot_be_signed_holds_no_place)
{
	struct scene *s = begin();

	for (size_t i = 0; i < 50; i++)
		(void)add_kind(s, "alice@example.org", "a.example", 0, true);
	struct item *plain = add_kind(s, "alice@example.org", "a.example", 0, false);
	EXPECT(turns_take(s->turns, 0, false) == &plain->turn);
	EXPECT(turns_take(s->turns, 0, false) == NULL);
	turns_leave(s->turns, &plain->turn);
	EXPECT_INT(take_all(s, 0), TURNS_WINDOW_START);
	end(s);
}

TEST(recipients_are_counted)
{
	struct scene *s = begin();

	struct item *i = add(s, "alice@example.org", "a.example");
	turns_weigh(&i->turn, 99);
	(void)add(s, "alice@example.org", "a.example");
	EXPECT(state_of(s, "a.example").waiting == 101 && state_of(s, "a.example").here == 101);
	EXPECT(take(s, 0) == i);
	EXPECT(state_of(s, "a.example").waiting == 1 && state_of(s, "a.example").here == 101);
	again(s, i);
	EXPECT_INT(state_of(s, "a.example").waiting, 101);
	leave(s, i);
	EXPECT(state_of(s, "a.example").waiting == 1 && state_of(s, "a.example").here == 1);
	end(s);
}

/* ------------------------------------------------------------------------------------------------ windows and pauses */

/* One answer, as soon as one may be had; when it came. */
static int64_t answer(struct scene *s, enum send_feedback f, int64_t now_ms)
{
	int64_t again_ms = state_of(s, "a.example").again_ms;

	if (again_ms > now_ms)
		now_ms = again_ms;
	turns_pass(s->turns, now_ms);
	struct item *i = take(s, now_ms);
	EXPECT(i != NULL);
	EXPECT_INT(turns_feedback(s->turns, &i->turn, f, now_ms), f == SEND_UNREACHABLE);
	leave(s, i);
	return now_ms;
}

TEST(windows_grow_and_shrink)
{
	static const struct { const char *answers; size_t goods, window; unsigned failures; int64_t pause_ms; } cases[] = {
		{ "",       0,   5,  0, 0 },
		{ "",       4,   5,  0, 0 },
		{ "",       5,   6,  0, 0 },      /* one more for each window of successes */
		{ "",       10,  6,  0, 0 },
		{ "",       11,  7,  0, 0 },
		{ "",       179, 19, 0, 0 },
		{ "",       180, 20, 0, 0 },
		{ "",       400, 20, 0, 0 },
		{ "b",      0,   2,  0, 0 },      /* halves */
		{ "b",      180, 10, 0, 0 },
		{ "bb",     180, 5,  0, 0 },
		{ "bb",     0,   1,  0, 0 },
		{ "bbb",    0,   1,  0, 30000 },  /* even one was too many */
		{ "bbbg",   0,   2,  0, 0 },
		{ "bg",     0,   2,  0, 0 },
		{ "bgg",    0,   3,  0, 0 },
		{ "u",      180, 5,  1, 60000 },  /* and from the start again */
		{ "uu",     0,   5,  2, 120000 },
		{ "uug",    0,   5,  0, 0 },
		{ "ugu",    0,   5,  1, 60000 },
		{ "uuuuuu", 0,   5,  6, 1920000 },
		{ "uuuuuuu",   0, 5, 7, 3600000 },
		{ "uuuuuuuuu", 0, 5, 9, 3600000 },
	};

	EACH(cases, c) {
		struct scene *s = begin();
		int64_t now_ms = 1000;
		add_many(s, 600, "alice@example.org", "a.example");
		for (size_t i = 0; i < c->goods; i++)
			now_ms = answer(s, SEND_GOOD, now_ms);
		for (const char *a = c->answers; *a != '\0'; a++)
			now_ms = answer(s, *a == 'g' ? SEND_GOOD : *a == 'b' ? SEND_BUSY : SEND_UNREACHABLE, now_ms);
		struct turns_state got = state_of(s, "a.example");
		if (got.window != c->window)
			print_error("case %zu\n", (size_t)(c - cases));
		EXPECT_INT(got.window, c->window);
		EXPECT_INT(got.failures, c->failures);
		EXPECT_INT(got.again_ms, c->pause_ms > 0 ? now_ms + c->pause_ms : 0);
		/* that is what may go: nothing before a pause is over, then one where nobody could be reached */
		EXPECT_INT(take_all(s, now_ms + c->pause_ms - 1), c->pause_ms > 0 ? 0 : c->window);
		turns_pass(s->turns, now_ms + c->pause_ms);
		EXPECT_INT(take_all(s, now_ms + c->pause_ms), c->pause_ms == 0 ? 0 : c->failures > 0 ? 1 : c->window);
		end(s);
	}
}

TEST(answers_under_way_make_a_pause_no_longer)
{
	struct scene *s = begin();
	struct turns_state before;

	add_many(s, 20, "alice@example.org", "a.example");
	EXPECT_INT(take_all(s, 0), 5);
	EXPECT(turns_feedback(s->turns, &s->out[0]->turn, SEND_UNREACHABLE, 10));
	before = state_of(s, "a.example");
	EXPECT(turns_feedback(s->turns, &s->out[1]->turn, SEND_UNREACHABLE, 20));
	EXPECT(!turns_feedback(s->turns, &s->out[2]->turn, SEND_BUSY, 30));
	EXPECT_INT(state_of(s, "a.example").again_ms, before.again_ms);
	EXPECT_INT(state_of(s, "a.example").failures, 1);
	EXPECT_INT(state_of(s, "a.example").window, before.window);
	leave(s, s->out[0]);
	turns_pass(s->turns, before.again_ms);
	EXPECT_INT(take_all(s, before.again_ms), 0);  /* the others are still out: no probe beside them */
	while (s->n_out > 1)
		leave(s, s->out[0]);
	EXPECT_INT(take_all(s, before.again_ms), 0);
	leave(s, s->out[0]);
	EXPECT_INT(take_all(s, before.again_ms), 1);
	EXPECT(!turns_feedback(s->turns, &s->out[0]->turn, SEND_GOOD, before.again_ms));
	EXPECT_INT(take_all(s, before.again_ms), 4);
	end(s);
}

TEST(the_administrator_pauses_one_destination)
{
	struct scene *s = begin();

	add_many(s, 20, "alice@example.org", "a.example");
	add_many(s, 20, "alice@example.org", "b.example");
	turns_pause(s->turns, STR("a.example"), true);
	EXPECT(state_of(s, "a.example").is_paused && !state_of(s, "b.example").is_paused);
	EXPECT_INT(take_all(s, 0), 5);
	EXPECT_INT(state_of(s, "b.example").out, 5);
	turns_hurry(s->turns, STR_NONE);                       /* ends other pauses */
	turns_pass(s->turns, 1000000);
	EXPECT_INT(take_all(s, 1000000), 0);
	turns_pause(s->turns, STR("a.example"), false);
	turns_pass(s->turns, 1000000);
	EXPECT_INT(take_all(s, 1000000), 5);
	EXPECT_INT(state_of(s, "a.example").out, 5);
	end(s);
}

TEST(all_may_be_held)
{
	struct scene *s = begin();

	add_many(s, 2, "alice@example.org", "a.example");
	turns_hold(s->turns, true);
	EXPECT(state_of(s, "a.example").is_paused && state_of(s, "never.seen.example").is_paused);
	EXPECT_INT(take_all(s, 0), 0);
	turns_hold(s->turns, false);
	turns_pass(s->turns, 1000);
	EXPECT_INT(take_all(s, 1000), 2);
	end(s);
}

TEST(hurry_ends_pauses)
{
	struct scene *s = begin();

	add_many(s, 20, "alice@example.org", "a.example");
	(void)answer(s, SEND_UNREACHABLE, 0);
	EXPECT_INT(take_all(s, 1), 0);
	turns_hurry(s->turns, STR("b.example"));               /* one by name: no other */
	turns_hurry(s->turns, STR("never.heard.of.example"));
	turns_pass(s->turns, 1);
	EXPECT_INT(take_all(s, 1), 0);
	turns_hurry(s->turns, STR("a.example"));
	turns_pass(s->turns, 1);
	(void)answer(s, SEND_UNREACHABLE, 2);
	turns_hurry(s->turns, STR_NONE);
	turns_pass(s->turns, 1);
	EXPECT_INT(take_all(s, 1), 1);
	end(s);
}

/* --------------------------------------------------------------------------------------------------- out of the line */

TEST(drain_takes_all_that_waits_there_and_nothing_else)
{
	struct scene *s = begin();
	struct turn *x;
	size_t n = 0;

	add_many(s, 10, "alice@example.org", "a.example");
	add_many(s, 7, "bob@example.org", "a.example");
	add_many(s, 3, "alice@example.org", "b.example");
	struct item *one = take(s, 0), *two = take(s, 0);
	turns_withdraw(s->turns, &s->items[9].turn);
	while ((x = turns_drain(s->turns, &one->turn)) != NULL) {
		EXPECT(str_eq(turn_destination(x), STR("a.example")) && !x->is_waiting);
		EXPECT(!((struct item *)x)->is_out && x != &s->items[9].turn);
		n++;
		turns_leave(s->turns, x);
	}
	EXPECT_INT(n, 10 + 7 - 2 - 1);
	EXPECT(one->is_out && two->is_out);
	EXPECT_INT(state_of(s, "a.example").waiting, 0);
	EXPECT_INT(state_of(s, "a.example").out, 2);
	EXPECT_INT(take_all(s, 0), 3);
	again(s, &s->items[9]);
	EXPECT(take(s, 0) == &s->items[9]);
	end(s);
}

TEST(who_is_withdrawn_is_not_taken_but_keeps_its_destination)
{
	struct scene *s = begin();
	struct item *first = add(s, "alice@example.org", "a.example"), *second = add(s, "alice@example.org", "a.example");

	turns_withdraw(s->turns, &first->turn);
	EXPECT(take(s, 0) == second);
	leave(s, second);
	turns_pass(s->turns, 1000000);
	EXPECT_INT(known(s), 1);
	EXPECT_STR(turn_destination(&first->turn), "a.example");
	EXPECT_INT(take_all(s, 0), 0);
	leave(s, first);
	EXPECT_INT(known(s), 0);
	end(s);
}

TEST(again_is_at_the_front_and_gives_its_place_up)
{
	struct scene *s = begin();

	add_many(s, 20, "alice@example.org", "a.example");
	EXPECT_INT(take_all(s, 0), 5);
	struct item *bobs = add(s, "bob@example.org", "a.example");
	EXPECT_INT(take_all(s, 0), 0);
	again(s, &s->items[2]);
	EXPECT_INT(turns_out(s->turns), 4);
	EXPECT_INT(take_all(s, 0), 1);               /* without a turns_pass() */
	EXPECT(s->items[2].is_out || bobs->is_out);
	while (s->n_out > 0)                         /* net was lost: the newest first, so the oldest is at the front */
		again(s, s->out[s->n_out - 1]);
	EXPECT_INT(take_all(s, 0), 5);
	EXPECT(s->items[0].is_out && s->items[1].is_out);
	end(s);
}

/* -------------------------------------------------------------------------------------------------------- memory */

TEST(what_need_not_be_remembered_is_forgotten)
{
	enum { SECOND = 1000, MINUTE = 60 * SECOND };
	static const struct { const char *answers; bool is_paused, has_parked; int64_t at_ms; size_t known; } cases[] = {
		{ "",      false, false, SECOND,         0 },
		{ "ggggg", false, false, SECOND,         0 },
		{ "b",     false, false, SECOND,         0 },
		{ "bbb",   false, false, SECOND,         1 },
		{ "bbb",   false, false, 90 * SECOND - 1, 1 },  /* 30 s, and a minute */
		{ "bbb",   false, false, 90 * SECOND,    0 },
		{ "u",     false, false, SECOND,         1 },
		{ "u",     false, false, 2 * MINUTE - 1, 1 },
		{ "u",     false, false, 2 * MINUTE,     0 },
		{ "",      true,  false, 600 * MINUTE,   1 },
		{ "u",     false, true,  600 * MINUTE,   1 },
	};

	EACH(cases, c) {
		struct scene *s = begin();
		add_many(s, strlen(c->answers) + 1, "alice@example.org", "a.example");
		int64_t now_ms = 0;
		for (const char *a = c->answers; *a != '\0'; a++)
			now_ms = answer(s, *a == 'g' ? SEND_GOOD : *a == 'b' ? SEND_BUSY : SEND_UNREACHABLE, now_ms);
		turns_pause(s->turns, STR("a.example"), c->is_paused);
		turns_park(s->turns, STR("a.example"), c->has_parked);
		leave(s, &s->items[strlen(c->answers)]);
		turns_pass(s->turns, now_ms + c->at_ms);
		if (known(s) != c->known)
			print_error("case %zu\n", (size_t)(c - cases));
		EXPECT_INT(known(s), c->known);
		turns_pause(s->turns, STR("a.example"), false);
		turns_park(s->turns, STR("a.example"), false);
		turns_pass(s->turns, INT64_MAX);
		EXPECT_INT(known(s), 0);
		end(s);
	}
}

/* ------------------------------------------------------------------------------------------------- random lives */

static uint32_t dice(uint32_t *seed, uint32_t sides)
{
	*seed = *seed * 1664525 + 1013904223;
	return (*seed >> 8) % sides;
}

static void expect_bounds(const struct scene *s)
{
	struct turns_state d;
	size_t at = 0, out = 0;

	while (turns_next(s->turns, &at, &d)) {
		EXPECT(d.window >= 1 && d.window <= TURNS_WINDOW_MAX && d.out <= TURNS_WINDOW_MAX);
		out += d.out;
	}
	EXPECT_INT(out, turns_out(s->turns));
}

static void live(struct scene *s, uint32_t *seed, int64_t now_ms)
{
	static const char *const destinations[] = { "a.example", "b.example", "c.example" };
	static const char *const senders[] = { "alice@example.org", "bob@example.org", "" };
	struct item *i = s->n_out > 0 ? s->out[dice(seed, (uint32_t)s->n_out)] : NULL;
	struct turn *x;

	switch (dice(seed, 8)) {
	case 0:
	case 1:
		if (s->n < COUNT_OF(s->items))
			(void)add(s, senders[dice(seed, 3)], destinations[dice(seed, 3)]);
		break;
	case 2:
		if (i == NULL)
			break;
		if (turns_feedback(s->turns, &i->turn, (enum send_feedback)(SEND_GOOD + dice(seed, 3)), now_ms))
			while (dice(seed, 3) > 0 && (x = turns_drain(s->turns, &i->turn)) != NULL)
				turns_leave(s->turns, x);
		leave(s, i);
		break;
	case 3:
		if (i != NULL)
			again(s, i);
		break;
	case 4:
		i = s->n > 0 ? &s->items[dice(seed, (uint32_t)s->n)] : NULL;
		if (i != NULL && i->turn.is_waiting)
			turns_withdraw(s->turns, &i->turn);
		else if (i != NULL && i->turn.flow != NULL)
			again(s, i);
		break;
	case 5:
		turns_pause(s->turns, str_of(destinations[dice(seed, 3)]), dice(seed, 3) == 0);
		break;
	case 6:
		turns_pass(s->turns, now_ms);
		break;
	default:
		(void)take_all(s, now_ms);
	}
}

/* Whatever happens, what still waits goes when all is well again. */
TEST(random_lives_lose_nobody)
{
	for (uint32_t seed = 1; seed <= 30; seed++) {
		struct scene *s = begin();
		uint32_t dices = seed;
		int64_t now_ms = 1;
		for (size_t step = 0; step < 2000; step++) {
			live(s, &dices, now_ms += dice(&dices, 5000));
			expect_bounds(s);
		}
		for (size_t i = 0; i < s->n; i++)
			if (s->items[i].turn.flow != NULL && !s->items[i].turn.is_waiting)
				again(s, &s->items[i]);
		for (size_t i = 0; i < 3; i++)
			turns_pause(s->turns, (struct str[]){ STR("a.example"), STR("b.example"), STR("c.example") }[i], false);
		now_ms += 2 * TURNS_PAUSE_MOST_MS;
		turns_pass(s->turns, now_ms);
		for (take_all(s, now_ms); s->n_out > 0; take_all(s, now_ms)) {
			(void)turns_feedback(s->turns, &s->out[0]->turn, SEND_GOOD, now_ms);
			leave(s, s->out[0]);
		}
		for (size_t i = 0; i < s->n; i++)
			EXPECT(s->items[i].turn.flow == NULL);
		turns_pass(s->turns, now_ms);
		EXPECT_INT(known(s), 0);
		end(s);
	}
}
