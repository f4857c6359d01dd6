#include "store/messages_test.h"
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* What cells do: each is a child of the process that prepared them, opens one account, and ends; sometimes by being killed. */
static void live(const char *dir, int nth, bool is_killed)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	pid_t child = fork();
	int status;

	if (child == 0) {
		struct view *v = open_account(dir);
		int64_t inbox = inbox_of(v);
		EXPECT_INT(get(v, inbox, &a).messages, nth);
		add(v, inbox, "Message-ID: <1@example.org>\r\n\r\nx\r\n", 0);
		EXPECT_INT(get(v, inbox, &a).messages, nth + 1);
		if (!is_killed)
			EXPECT_OK(view_close(v));
		_exit(7);
	}
	EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

TEST(every_child_has_an_account_of_its_own)
{
	enum { ACCOUNTS = 3, LIVES = 4 };
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dirs[ACCOUNTS];

	view_preload();
	for (int i = 0; i < ACCOUNTS; i++)
		dirs[i] = test_dir();
	for (int n = 0; n < LIVES; n++)
		for (int i = 0; i < ACCOUNTS; i++)
			live(dirs[i], n, n == i);
	for (int i = 0; i < ACCOUNTS; i++) {
		struct view *v = open_account(dirs[i]);
		EXPECT_INT(get(v, inbox_of(v), &a).messages, LIVES);
		EXPECT_OK(view_close(v));
		test_dir_remove(dirs[i]);
	}
}
