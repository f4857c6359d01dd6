/* There and back; and nothing that we did not make ourselves. */
#include "smtp/srs.h"
#include "base/test.h"

#define KEY STR("0123456789abcdef0123456789abcdef")
enum { NOW = 1795852800, DAY = 86400 };

static struct str local_of(struct str address) { return str_sub(address, 0, (size_t)str_rchr(address, '@')); }

TEST(there_and_back)
{
	static const char *const senders[] = { "bob@example.net", "Bob.Smith@Example.net", "bob+x=y@example.net", "\xc3\xa9lise@exemple.fr",
		                                   "SRS0=abcd=xy=example.com=alice@first.test", "SRS0+abcd=xy=example.com=alice@first.test" };
	struct arena a = { 0 };
	struct str back;

	EACH(senders, s) {
		struct str out = srs_forward(KEY, str_of(*s), STR("ours.test"), NOW, &a);
		EXPECT(str_ends(out, STR("@ours.test")) && srs_is(local_of(out)));
		EXPECT(srs_reverse(KEY, local_of(out), NOW + 20 * DAY, &a, &back));
		EXPECT_STR(back, *s);
		EXPECT(srs_reverse(KEY, str_lower(&a, local_of(out)), NOW, &a, &back));  /* a server on the way has changed its case */
	}
	EXPECT(str_starts(srs_forward(KEY, STR("bob@example.net"), STR("ours.test"), NOW, &a), STR("SRS0=")));
	arena_free(&a);
}

/* However many forward it, two are named, and a bounce goes to the first of them. */
TEST(a_chain_of_forwarders)
{
	struct arena a = { 0 };
	struct str first = srs_forward(STR("key of the first server"), STR("bob@example.net"), STR("first.test"), NOW, &a);
	struct str second = srs_forward(STR("key of the second server"), first, STR("second.test"), NOW, &a), back;
	struct str third = srs_forward(KEY, second, STR("ours.test"), NOW, &a);

	EXPECT(str_starts(third, STR("SRS1=")) && str_find(third, STR("second.test")) < 0);
	EXPECT(srs_reverse(KEY, local_of(third), NOW, &a, &back));
	EXPECT(str_eq(back, first));
	EXPECT(srs_reverse(STR("key of the first server"), local_of(back), NOW, &a, &back));
	EXPECT_STR(back, "bob@example.net");
	arena_free(&a);
}

TEST(what_is_not_ours)
{
	struct arena a = { 0 };
	struct str ours = srs_forward(KEY, STR("bob@example.net"), STR("ours.test"), NOW, &a), back;
	char *changed = str_cstr(&a, ours);

	EXPECT(!srs_reverse(KEY, local_of(ours), NOW + (SRS_DAYS_MAX + 1) * DAY, &a, &back));   /* too old */
	EXPECT(!srs_reverse(KEY, local_of(ours), NOW - 2 * DAY, &a, &back));                    /* of the future */
	EXPECT(!srs_reverse(STR("another key"), local_of(ours), NOW, &a, &back));
	for (size_t i = 5; i < local_of(ours).n; i++) {  /* any other letter anywhere */
		char was = changed[i];
		changed[i] = was == 'q' ? 'r' : 'q';
		EXPECT(!srs_reverse(KEY, str_sub(str_of(changed), 0, local_of(ours).n), NOW, &a, &back));
		changed[i] = was;
		EXPECT(!srs_reverse(KEY, str_sub(ours, 0, i), NOW, &a, &back));
	}
	EXPECT(!srs_is(STR("srs")) && !srs_is(STR("SRS0")) && !srs_is(STR("SRS2=x")) && !srs_is(STR("srs0x=y")) && srs_is(STR("srs0=x")));
	arena_free(&a);
}

/* These go as they are. */
TEST(what_cannot_be_rewritten)
{
	static const char *const senders[] = { "", "nobody", "\"a b\"@example.net", "bob@[192.0.2.1]", "@example.net", "bob@", "bob@exam=ple.net", "SRS1=x@example.net" };
	struct arena a = { 0 };

	EACH(senders, s)
		EXPECT_STR(srs_forward(KEY, str_of(*s), STR("ours.test"), NOW, &a), *s);
	arena_free(&a);
}
