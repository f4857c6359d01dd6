/* Whatever bytes open: every question is answered without reading outside of them. */
#include "directory/lookup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct lookup_account account;
	struct lookup_target *members;
	struct lookup_group group;
	struct lookup_result r;
	struct route route;
	size_t n;
	struct lookup *l;

	if (lookup_read(str_make(data, size), &l) != ERR_OK)
		return 0;
	for (uint64_t number = 0; number < 20; number++)
		lookup_account(l, number, &account);
	lookup_login(l, STR("alice"), &account);
	lookup_login(l, STR("alice@example.test"), &account);
	lookup_printer(l, STR("192.0.2.7"), &account);
	lookup_resolve(l, STR("staff@example.test"), &a, &r);
	lookup_resolve(l, STR("bob+shop@example.test"), &a, &r);
	lookup_resolve(l, STR("postmaster"), &a, &r);
	lookup_resolve(l, lookup_hostname(l), &a, &r);
	lookup_route(l, STR("mail.example.net"), &route);
	lookup_route(l, STR("example.test"), &route);
	struct str ipv4, ipv6;
	lookup_source(l, 1, &ipv4, &ipv6);
	if (lookup_group(l, STR("team@example.test"), &group)) {
		lookup_group_members(l, &group, &a, &members, &n);
		lookup_group_may_post(l, &group, STR("eve@elsewhere.test"), 0);
		lookup_group_lets_go(l, &group, STR("eve@elsewhere.test"));
	}
	lookup_close(l);
	return 0;
}
