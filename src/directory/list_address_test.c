/* Addresses that a group has besides its own. */
#include "base/test.h"
#include "directory/list_address.h"

static const struct str key = { "0123456789abcdef0123456789abcdef", 32 };

TEST(there_and_back)
{
	static const struct { const char *group; enum list_order order; const char *member, *begins; } cases[] = {
		{ "team@example.test", LIST_BOUNCE, "", "team=bounce@example.test" },
		{ "team@example.test", LIST_LEAVE, "", "team=leave@example.test" },
		{ "team@example.test", LIST_BOUNCE, "bob@elsewhere.test", "team=bounce=" },
		{ "team@example.test", LIST_LEAVE, "bob@elsewhere.test", "team=leave=" },
		{ "a=b@example.test", LIST_LEAVE, "bob@elsewhere.test", "a=b=leave=" },            /* groups may have "=" in their names */
		{ "\"our team\"@example.test", LIST_LEAVE, "bob@elsewhere.test", "\"our team=leave=" },
	};

	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct list_address x;
		struct str address = list_address(key, str_of(c->group), c->order, str_of(c->member), &a);
		EXPECT(str_starts(address, str_of(c->begins)));
		EXPECT(list_address_parse(key, address, &a, &x));
		EXPECT_INT(x.order, c->order);
		EXPECT_STR(x.group, c->group);
		EXPECT_INT(list_address_is_of(key, &x, str_of(c->member), &a), c->member[0] != '\0');
		EXPECT(!list_address_is_of(key, &x, STR("eve@elsewhere.test"), &a));
	}
}

TEST(spelling_does_not_matter)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct list_address x;
	struct str address = list_address(key, STR("Team@example.test"), LIST_LEAVE, STR("Bob@Elsewhere.test"), &a);
	char *upper = str_cstr(&a, address);

	for (size_t i = 0; i < address.n; i++)  /* as servers that shout do */
		upper[i] = chr_upper(upper[i]);
	EXPECT(list_address_parse(key, str_of(upper), &a, &x));
	EXPECT_INT(x.order, LIST_LEAVE);
	EXPECT(list_address_is_of(key, &x, STR("bob@elsewhere.TEST"), &a));
}

TEST(nobody_makes_one_up)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str bounce = list_address(key, STR("team@example.test"), LIST_BOUNCE, STR("bob@elsewhere.test"), &a);
	struct str token = str_sub(bounce, 12, LIST_TOKEN_CHARS);
	const struct str cases[] = {
		arena_printf(&a, "team=leave=" STR_FMT "@example.test", STR_ARG(token)),    /* that of a bounce does not leave */
		arena_printf(&a, "others=bounce=" STR_FMT "@example.test", STR_ARG(token)), /* nor is it good for another group */
		STR("team=leave=aaaaaaaaaaaaaaaa@example.test"), STR("team=leave=short@example.test"), STR("team=remove@example.test"),
		STR("=leave@example.test"), STR("team@example.test"), STR("leave@example.test"), STR("team=leave"), STR(""),
	};
	struct list_address x;

	EACH(cases, c) EXPECT(!list_address_parse(key, *c, &a, &x));
	EXPECT(!list_address_parse(STR("another key"), bounce, &a, &x));
}
