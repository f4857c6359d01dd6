#include "base/test.h"
#include "store/uid_set.h"

TEST(ranges_stay_sorted_and_merged)
{
	static const struct { uint32_t in[8]; const char *out; } cases[] = {
		{ { 1, 1, 2, 2, 3, 3 }, "1:3" },                /* adjacent */
		{ { 9, 3, 5, 5 }, "3:9" },                      /* reversed, and contained */
		{ { 5, 6, 1, 2, 3, 3 }, "1:3,5:6" },
		{ { 10, 20, 1, 2, 15, 30, 3, 9 }, "1:30" },
		{ { UINT32_MAX, UINT32_MAX, 1, 1 }, "1,4294967295" },  /* adding 1 to the last would overflow */
	};
	CLEANUP(arena_free) struct arena a = { 0 };

	EACH(cases, c) {
		struct uid_set added = { 0 }, pushed = { 0 };
		for (size_t i = 0; i < 8 && c->in[i] != 0; i += 2) {
			uid_set_add(&added, &a, c->in[i], c->in[i + 1]);
			uid_set_push(&pushed, &a, c->in[i], c->in[i + 1]);
		}
		uid_set_sort(&pushed);
		EXPECT_STR(str_of(uid_set_text(&added, &a)), c->out);
		EXPECT_STR(str_of(uid_set_text(&pushed, &a)), c->out);
	}
}

TEST(star_is_the_largest_even_when_reversed)
{
	static const struct { uint32_t first, last, largest; const char *out; } cases[] = {
		{ 1, UINT32_MAX, 17, "1:17" },
		{ 559, UINT32_MAX, 17, "17:559" },  /* RFC 9051 §9: always includes the last message */
		{ UINT32_MAX, UINT32_MAX, 17, "17" },
		{ 1, UINT32_MAX, 0, "" },           /* an empty mailbox has no "*" */
		{ 3, 4, 17, "3:4" },
	};
	CLEANUP(arena_free) struct arena a = { 0 };

	EACH(cases, c) {
		struct uid_set set = { 0 };
		uid_set_add(&set, &a, c->first, c->last);
		uid_set_star(&set, c->largest);
		EXPECT_STR(str_of(uid_set_text(&set, &a)), c->out);
	}
}

TEST(has_and_count)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct uid_set set = { 0 };

	for (uint32_t i = 10; i < 1000; i += 10)
		uid_set_add(&set, &a, i, i + 1);
	EXPECT_INT(uid_set_count(&set), 198);
	for (uint32_t i = 1; i < 1010; i++) {
		uint32_t last;
		EXPECT_INT(uid_set_has(&set, i), i >= 10 && i < 1000 && i % 10 < 2);
		EXPECT(uid_set_run(&set, i, &last) == uid_set_has(&set, i));
		EXPECT_INT(last, i < 10 ? 9 : i >= 992 ? UINT32_MAX : i % 10 < 2 ? i / 10 * 10 + 1 : i / 10 * 10 + 9);
	}
}
