#include "store/account_test.h"
#include <stdio.h>

static size_t shared_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[1000], rights[5];
	size_t n = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof line, maps) != NULL)
		n += sscanf(line, "%*s %4s", rights) == 1 && rights[3] == 's';
	fclose(maps);
	return n;
}

/* A cell that somebody has taken over may make any memory writable: what it changes must be its own, not what the next accounts begin with. */
TEST(what_new_accounts_begin_with_is_shared_with_no_cell)
{
	const char *dir = test_dir();
	size_t before = shared_mappings();

	view_preload();
	EXPECT_INT(shared_mappings(), before);
	EXPECT_OK(view_close(open_account(dir)));
	test_dir_remove(dir);
}
