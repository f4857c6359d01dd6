/* Who is taken for a thief, and who is not. */
#include "submit/watch.h"
#include "base/test.h"

/* What happened in one hour, in a row that reads like a story. */
struct hour { uint64_t recipients, strangers, refused, networks, from_new, usual, days, held_to; };

static void judge(const struct hour *h, struct watch *out)
{
	const struct sending_counts c = { h->recipients, h->strangers, h->refused, h->networks, h->from_new, h->held_to };
	const struct sending_facts f = { .in = { c, c }, .usual_hour = h->usual, .days = h->days };

	watch_judge(&f, out);
}

TEST(stories)
{
	enum { FINE, REPORTED, STOPPED };
	static const struct { const char *what; struct hour h; int verdict; } cases[] = {
		{ "nothing",                                    { 0 },                             FINE },
		{ "a busy secretary",                           { 90, 20, 3, 2, 0, 25, 50 },       FINE },
		{ "the monthly newsletter",                     { 400, 10, 12, 1, 0, 390, 50 },    FINE },
		{ "the first newsletter of a new account",      { 300, 300, 9, 1, 300, 0, 0 },     REPORTED },
		{ "the first newsletter to an old list",        { 300, 300, 40, 1, 0, 12, 40 },    REPORTED },
		{ "a newsletter from the holidays",             { 300, 0, 5, 1, 300, 12, 40 },     REPORTED },
		{ "a traveller: train, hotel, telephone, office", { 30, 10, 0, 4, 0, 0, 0 },       FINE },
		{ "a thief with a good list",                   { 120, 118, 0, 1, 120, 8, 40 },    STOPPED },
		{ "a thief with a bad list",                    { 150, 150, 45, 1, 0, 8, 40 },     STOPPED },
		{ "a thief who waits for nothing",              { 200, 10, 150, 1, 0, 500, 40 },   STOPPED },
		{ "many thieves at once",                       { 150, 150, 2, 30, 150, 200, 40 }, STOPPED },
		{ "a thief in an account that sends much",      { 500, 480, 130, 1, 500, 400, 60 }, STOPPED },
	};

	EACH(cases, c) {
		struct watch w;
		judge(&c->h, &w);
		int verdict = w.points >= WATCH_STOP_POINTS ? STOPPED : w.points >= WATCH_REPORT_POINTS ? REPORTED : FINE;
		if (verdict != c->verdict)
			print_error("%s: %u points, %zu signs\n", c->what, w.points, w.n);
		EXPECT_INT(verdict, c->verdict);
	}
}

TEST(reasons_for_people)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct watch w;

	judge(&(struct hour){ 120, 118, 0, 1, 120, 8, 40 }, &w);
	struct str why = watch_encode(&w, &a);
	EXPECT_STR(why, "signs: STRANGERS=118/120/8 BULK=120/120/8 NEW_NETWORK=120/120/8");
	EXPECT_STR(watch_words(why, LANG_EN, &a),
	           "- within an hour it wrote to 118 people it had never written to before (of 120)\n"
	           "- it wrote to 120 people in an hour; in its busiest hour of the last two months it was 8\n"
	           "- 120 of its 120 mails of the last hour came from networks it has never sent from before");
	EXPECT(str_starts(watch_words(why, LANG_FR, &a), STR("- en une heure, il a écrit à 118 personnes")));
	EXPECT_STR(watch_words(STR("signs: OF_TOMORROW=3 REFUSED=30/90/8"), LANG_EN, &a),
	           "- 30 of the 90 people it wrote to within a day were refused: addresses that do not exist, or servers that took it for spam");
	EXPECT_STR(watch_words(STR("asked for by the school"), LANG_EN, &a), "asked for by the school");
	EXPECT_STR(watch_words(STR(""), LANG_EN, &a), "");
}

TEST(every_sign_fits_a_reason)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct watch w;

	judge(&(struct hour){ UINT64_MAX / 200, UINT64_MAX / 200, UINT64_MAX / 200, UINT64_MAX / 200, UINT64_MAX / 200, 1, 9, UINT64_MAX }, &w);
	EXPECT_INT(w.n, WATCH_SIGNS);  /* all at once */
	EXPECT(watch_encode(&w, &a).n < WATCH_WHY_MAX);
}
