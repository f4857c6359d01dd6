/* accounts/N: made, and erased whatever a cell has left in it. */
#include "base/test.h"
#include "store/account_folder.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH = 1500, ACCOUNT = 7 };

static void touch(int folder, const char *name)
{
	int fd = openat(folder, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
}

/* Opens accounts/7 below dir. */
static int open_account(const char *dir)
{
	char path[600];
	snprintf(path, sizeof path, "%s/accounts/%d", dir, ACCOUNT);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void make_account(const char *dir)
{
	char path[600];
	snprintf(path, sizeof path, "%s/accounts", dir);
	mkdir(path, 0700);
	EXPECT_OK(account_folder_make(dir, ACCOUNT, 0, 0));
}

/* Deeper than any path is long, with files on the way. */
static void nest(int at, int depth)
{
	int fd = dup(at);
	for (int i = 0; i < depth; i++) {
		assert_int_equal(mkdirat(fd, "d", 0700), 0);
		int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = next;
		touch(fd, "f");
	}
	close(fd);
}

TEST(an_account_is_erased_however_deep_its_folders_are)
{
	const char *dir = test_dir();
	make_account(dir);
	int fd = open_account(dir);
	nest(fd, DEPTH);
	close(fd);
	EXPECT_OK(account_folder_remove(dir, ACCOUNT));
	EXPECT_INT(open_account(dir), -1);
	EXPECT_OK(account_folder_remove(dir, ACCOUNT));  /* gone already */
	test_dir_remove(dir);
}

TEST(nothing_beside_the_account_is_touched)
{
	const char *dir = test_dir();
	char outside[600], kept[700];
	make_account(dir);
	snprintf(outside, sizeof outside, "%s/outside", dir);
	assert_int_equal(mkdir(outside, 0700), 0);
	snprintf(kept, sizeof kept, "%s/kept", outside);
	close(open(kept, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	int fd = open_account(dir);
	assert_int_equal(symlinkat(outside, fd, "link"), 0);
	assert_int_equal(mkdirat(fd, "erased-0", 0700), 0);  /* the names we move to may be taken */
	assert_int_equal(mkdirat(fd, "closed", 0), 0);
	nest(fd, 3);
	close(fd);
	EXPECT_OK(account_folder_remove(dir, ACCOUNT));
	EXPECT_INT(open_account(dir), -1);
	EXPECT_INT(access(kept, F_OK), 0);
	test_dir_remove(dir);
}

/* Its number was given out before, and control does not know it any more. */
TEST(nobody_gets_the_folder_of_another_account)
{
	const char *dir = test_dir();
	make_account(dir);
	make_account(dir);  /* nothing is in it */
	int fd = open_account(dir);
	touch(fd, "account.db");
	EXPECT_ERR(account_folder_make(dir, ACCOUNT, 0, 0), ERR_EXISTS);
	EXPECT_INT(faccessat(fd, "account.db", F_OK, 0), 0);
	close(fd);
	EXPECT_OK(account_folder_remove(dir, ACCOUNT));
	make_account(dir);
	test_dir_remove(dir);
}
