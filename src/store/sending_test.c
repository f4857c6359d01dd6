/* What is remembered of what an account sends, over cells that come and go, and over two months. */
#include "store/sending.h"
#include "base/test.h"

enum { T0 = 1700006400, HOUR_S = 3600, DAY_S = 86400 };

struct world { const char *dir; struct view *v; struct sending_facts f; };

static void open_again(struct world *w)
{
	view_close(w->v);
	EXPECT_OK(view_open(w->dir, &(struct view_config){ .account = 7 }, &w->v));
}

static void begin(struct world *w)
{
	*w = (struct world){ .dir = test_dir() };
	EXPECT_OK(view_open(w->dir, &(struct view_config){ .account = 7 }, &w->v));
}

static void end(struct world *w)
{
	view_close(w->v);
	test_dir_remove(w->dir);
}

static struct sending_cost cost(size_t all, const uint64_t *to, size_t n)
{
	return (struct sending_cost){ .recipients = all, .per_day = 10000000, .per_hour = 10000000, .elsewhere = { STR("n"), to, n } };
}

/* To n people, the first of them has this number. */
static void sends(struct world *w, int64_t now_s, const char *network, uint64_t first, size_t n)
{
	uint64_t to[500];

	for (size_t i = 0; i < n; i++)
		to[i] = first + i;
	struct sending_cost c = cost(n, to, n);
	uint64_t wait_s;
	c.elsewhere.network = str_of(network);
	EXPECT_OK(view_sending_spend(w->v, &c, now_s, &wait_s));
}

static const struct sending_counts *in(struct world *w, enum sending_window window, int64_t now_s)
{
	EXPECT_OK(view_sending_facts(w->v, now_s, &w->f));
	return &w->f.in[window];
}

TEST(hours_and_days)
{
	struct world w;

	begin(&w);
	sends(&w, T0, "192.0.0.0/16", 1, 3);
	sends(&w, T0 + 10, "192.0.0.0/16", 2, 3);        /* two of them are known by now */
	sends(&w, T0 + 2 * HOUR_S, "198.51.0.0/16", 1, 2);
	EXPECT_OK(view_sending_refused(w.v, 2, T0 + 2 * HOUR_S));
	open_again(&w);
	const struct sending_counts *c = in(&w, SENDING_HOUR, T0 + 2 * HOUR_S);
	EXPECT_INT(c->recipients, 2);
	EXPECT_INT(c->strangers, 0);
	EXPECT_INT(c->refused, 2);
	EXPECT_INT(c->networks, 1);                      /* a refusal comes from no network */
	c = in(&w, SENDING_DAY, T0 + 2 * HOUR_S);
	EXPECT_INT(c->recipients, 8);
	EXPECT_INT(c->strangers, 4);
	EXPECT_INT(c->networks, 2);
	EXPECT_INT(in(&w, SENDING_DAY, T0 + 2 * DAY_S)->recipients, 0);
	end(&w);
}

TEST(what_is_not_taken_does_not_count)
{
	struct world w;
	uint64_t to[] = { 1, 2 };
	const struct sending_cost c = cost(2, to, 2);
	uint64_t wait_s;

	begin(&w);
	EXPECT_OK(view_sending_spend(w.v, &c, T0, &wait_s));
	EXPECT_OK(view_sending_return(w.v, &c, false, T0));
	EXPECT_INT(in(&w, SENDING_DAY, T0)->recipients, 0);
	EXPECT_OK(view_sending_return(w.v, &c, false, T0));  /* never below nothing */
	EXPECT_INT(in(&w, SENDING_DAY, T0)->recipients, 0);
	EXPECT_OK(view_sending_spend(w.v, &c, T0, &wait_s));
	EXPECT_OK(view_sending_return(w.v, &c, true, T0));   /* refused because of what was seen: that stays seen */
	EXPECT_INT(in(&w, SENDING_DAY, T0)->recipients, 2);
	end(&w);
}

TEST(a_pace_lets_the_first_go_and_the_rest_evenly)
{
	static const struct { int64_t after_s; size_t n; enum err e; uint64_t least_s, most_s; bool is_next_cell, is_given_back; } steps[] = {
		{ .n = 60 },
		{ .n = 1, .most_s = 1 },
		{ .n = 600, .least_s = 58, .most_s = 60 },                                           /* to many, as a whole: it waits for those before it … */
		{ .n = 1, .least_s = 36055, .most_s = 36060, .is_next_cell = true },                 /* … and the next one for it */
		{ .n = 601, .is_given_back = true },
		{ .n = 1, .least_s = 55, .most_s = 60 },
		{ .n = 1500, .least_s = 55, .most_s = 121 },
		{ .n = 1, .e = ERR_LIMIT, .least_s = 86401, .most_s = 95000 },                       /* more than a day */
		{ .after_s = 26 * HOUR_S, .n = 1 },
	};
	static uint64_t to[1500];
	struct world w;
	uint64_t wait_s = 0;

	begin(&w);
	EACH(steps, s) {
		struct sending_cost c = cost(0, to, s->n);
		c.per_hour = 60;
		if (s->is_next_cell)
			open_again(&w);
		if (s->is_given_back) {
			EXPECT_OK(view_sending_return(w.v, &c, true, T0));
			continue;
		}
		EXPECT_ERR(view_sending_spend(w.v, &c, T0 + s->after_s, &wait_s), s->e);
		EXPECT(wait_s >= s->least_s && wait_s <= s->most_s);
	}
	end(&w);
}

/* Of a message that may not go nothing is counted, whatever it is that holds it. */
TEST(all_or_nothing)
{
	static const struct { size_t all, n; enum err e; } steps[] = {
		{ 4, 2, ERR_OK }, { 4, 2, ERR_OK },
		{ 3, 1, ERR_QUOTA },       /* of 10 a day; the pace would allow it */
		{ 2, 1500, ERR_OK }, { 0, 1, ERR_LIMIT }, { 0, 0, ERR_OK },
	};
	static uint64_t to[1500];
	struct world w;
	uint64_t wait_s, sent = 0;

	begin(&w);
	EACH(steps, s) {
		struct sending_cost c = cost(s->all, to, s->n);
		c.per_day = 10;
		c.per_hour = 60;
		EXPECT_ERR(view_sending_spend(w.v, &c, T0, &wait_s), s->e);
		sent += s->e == ERR_OK ? s->n : 0;
		EXPECT_INT(in(&w, SENDING_HOUR, T0)->recipients, sent);
	}
	end(&w);
}

TEST(habits)
{
	struct world w;

	begin(&w);
	for (int64_t day = 0; day < 5; day++)
		sends(&w, T0 + day * DAY_S, "192.0.0.0/16", 1, day == 3 ? 30 : 10);
	int64_t now = T0 + 10 * DAY_S;
	sends(&w, now, "203.0.0.0/16", 100, 40);
	EXPECT_INT(in(&w, SENDING_HOUR, now)->from_new_networks, 0);  /* not busy: nobody looks */
	EXPECT_INT(w.f.usual_hour, 0);
	sends(&w, now, "192.0.0.0/16", 200, 20);
	const struct sending_counts *c = in(&w, SENDING_HOUR, now);
	EXPECT_INT(c->recipients, 60);
	EXPECT_INT(c->from_new_networks, 40);
	EXPECT_INT(w.f.usual_hour, 30);
	EXPECT_INT(w.f.days, 5);
	sends(&w, now + 70 * DAY_S, "192.0.0.0/16", 300, 60);         /* two months later all of that is forgotten, but not the people */
	c = in(&w, SENDING_HOUR, now + 70 * DAY_S);
	EXPECT_INT(w.f.usual_hour, 0);
	EXPECT_INT(c->from_new_networks, 60);
	sends(&w, now + 70 * DAY_S, "192.0.0.0/16", 100, 40);
	EXPECT_INT(in(&w, SENDING_HOUR, now + 70 * DAY_S)->strangers, 60);
	end(&w);
}

/* In a later step than it was counted in: no step has less than nothing, which would be very much once the first one is past. */
TEST(taken_back_late)
{
	struct world w;
	uint64_t to[5] = { 1, 2, 3, 4, 5 };

	begin(&w);
	sends(&w, T0 + 590, "n", 1, 5);
	const struct sending_cost c = cost(5, to, 5);
	EXPECT_OK(view_sending_return(w.v, &c, false, T0 + 610));
	sends(&w, T0 + HOUR_S + 10, "n", 1, 1);
	EXPECT_INT(in(&w, SENDING_HOUR, T0 + HOUR_S + 10)->recipients, 1);
	end(&w);
}

TEST(forgiven)
{
	struct world w;

	begin(&w);
	sends(&w, T0, "203.0.0.0/16", 1, 90);
	EXPECT_OK(view_sending_refused(w.v, 30, T0));
	EXPECT_OK(view_sending_forgive(w.v, T0 + 60));
	const struct sending_counts *c = in(&w, SENDING_HOUR, T0 + 60);
	EXPECT_INT(c->recipients, 90);                   /* a habit, if it was the owner */
	EXPECT_INT(c->strangers, 0);
	EXPECT_INT(c->refused, 0);
	EXPECT_INT(c->from_new_networks, 0);
	sends(&w, T0 + 60, "203.0.0.0/16", 50, 60);
	EXPECT_INT(in(&w, SENDING_HOUR, T0 + 60)->strangers, 19);
	end(&w);
}

TEST(recipients_are_remembered_up_to_a_number)
{
	struct world w;

	begin(&w);
	for (uint64_t first = 1; first <= SENDING_KNOWN_MAX + 1000; first += 500)
		sends(&w, T0 + (int64_t)(first / 10000) * DAY_S, "n", first, 500);
	sends(&w, T0 + 10 * DAY_S, "n", 90000, 1);       /* the next day */
	sends(&w, T0 + 11 * DAY_S, "n", SENDING_KNOWN_MAX, 100);
	EXPECT_INT(in(&w, SENDING_HOUR, T0 + 11 * DAY_S)->strangers, 0);   /* those written to last are known */
	for (uint64_t first = 1; first < 10000; first += 500)
		sends(&w, T0 + 11 * DAY_S, "n", first, 500);
	uint64_t strangers = in(&w, SENDING_HOUR, T0 + 11 * DAY_S)->strangers;
	EXPECT(strangers >= 1000 && strangers <= 1001);                    /* as many of the first day are not */
	end(&w);
}

TEST(addresses)
{
	EXPECT(sending_recipient(STR("Bob@Example.ORG")) == sending_recipient(STR("bob@example.org")));
	EXPECT(sending_recipient(STR("bob@example.org")) != sending_recipient(STR("rob@example.org")));
}
