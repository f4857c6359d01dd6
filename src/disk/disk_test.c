#include "base/bytes.h"
#include "base/test.h"
#include "disk/disk.h"
#include "disk/fault.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TEST(files_and_names)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *path = test_dir();
	CLEANUP(disk_dir_close) struct disk_dir *d = NULL, *sub = NULL;
	CLEANUP(disk_close) struct disk_file *f = NULL, *g = NULL, *h = NULL;
	struct iovec v[3] = { { (char[]){ "abc" }, 3 }, { (char[]){ "" }, 0 }, { (char[]){ "defg" }, 4 } };
	char bytes[16] = "";
	struct str *names, text;
	uint64_t at, size, total;
	size_t n;

	EXPECT_ERR(disk_dir_open("/nowhere/at/all", &d), ERR_NOTFOUND);
	EXPECT_OK(disk_dir_open(path, &d));
	EXPECT_ERR(disk_dir_open_below(d, "bodies", false, &sub), ERR_NOTFOUND);
	EXPECT_OK(disk_dir_open_below(d, "bodies", true, &sub));
	EXPECT_ERR(disk_open(d, "bodies/1", DISK_WRITE, &f), ERR_NOTFOUND);
	EXPECT_OK(disk_open(d, "bodies/1", DISK_CREATE, &f));
	EXPECT_ERR(disk_open(d, "bodies/1", DISK_NEW, &g), ERR_EXISTS);
	EXPECT_OK(disk_append(f, STR("hello "), &at));
	EXPECT_INT(at, 0);
	EXPECT_OK(disk_append(f, STR("world"), &at));
	EXPECT_INT(at, 6);
	EXPECT_OK(disk_read_all(f, bytes, 11, 0));
	EXPECT_STR(str_of(bytes), "hello world");
	EXPECT_ERR(disk_read_all(f, bytes, 12, 0), ERR_CORRUPT);
	EXPECT_OK(disk_pread(f, bytes, 12, 6, &n));
	EXPECT_INT(n, 5);
	EXPECT_OK(disk_pwritev(f, v, 3, 20));  /* leaves a hole, moves the end */
	EXPECT_OK(disk_append(f, STR("!"), &at));
	EXPECT_INT(at, 27);
	EXPECT_OK(disk_truncate(f, 5));
	EXPECT_OK(disk_append(f, STR("!"), &at));
	EXPECT_INT(at, 5);
	EXPECT_OK(disk_size(f, &size));
	EXPECT_INT(size, 6);
	EXPECT_OK(disk_sync(f));
	EXPECT_OK(disk_dir_sync_name(d, "bodies/1"));
	EXPECT_OK(disk_dir_sync(d));
	EXPECT_OK(disk_dir_sync_all(d));
	EXPECT_OK(disk_space(d, &size, &total));
	EXPECT(size <= total && total > 0);
	EXPECT_OK(disk_lock(f));
	EXPECT_OK(disk_open(d, "bodies/1", DISK_READ, &g));
	EXPECT_ERR(disk_lock(g), ERR_AGAIN);
	disk_close(&f);
	EXPECT_OK(disk_lock(g));
	EXPECT_OK(disk_replace(d, "bodies/1", "two"));
	EXPECT_ERR(disk_replace(d, "bodies/1", "two"), ERR_NOTFOUND);
	EXPECT_OK(disk_write_file(d, "one", STR("small")));
	EXPECT_OK(disk_write_file(d, "one", STR("smaller")));
	EXPECT_OK(disk_read_file(d, "one", 100, &a, &text));
	EXPECT_STR(text, "smaller");
	EXPECT_ERR(disk_read_file(d, "one", 3, &a, &text), ERR_LIMIT);
	EXPECT_ERR(disk_read_file(d, "three", 3, &a, &text), ERR_NOTFOUND);
	EXPECT_OK(disk_list(d, &a, &names, &n));
	EXPECT_INT(n, 3);
	EXPECT_STR(names[1], "one");
	EXPECT(disk_exists(d, "two") && !disk_exists(d, "three"));
	EXPECT_OK(disk_remove(d, "two"));
	EXPECT_ERR(disk_remove(d, "two"), ERR_NOTFOUND);
	test_dir_remove(path);
}

/* What was written each way is what both ways of reading find, whatever was in memory before. */
TEST(past_the_page_cache)
{
	static char room[2 * 1024 + DISK_ALIGNED];
	char *aligned = room + (DISK_ALIGNED - (uintptr_t)room % DISK_ALIGNED), found[2048];
	const char *path = test_dir();
	CLEANUP(disk_dir_close) struct disk_dir *d = NULL;
	CLEANUP(disk_close) struct disk_file *f = NULL, *g = NULL;

	EXPECT_OK(disk_dir_open(path, &d));
	EXPECT_OK(disk_open(d, "log", DISK_CREATE, &f));
	EXPECT_OK(disk_open(d, "log", DISK_READ, &g));
	memset(aligned, 'a', 2048);
	EXPECT_OK(disk_pwrite_direct(f, aligned, 2048, 0));  /* there is no such way yet: as any other write */
	EXPECT_OK(disk_read_all(g, found, 2048, 0));
	disk_direct(d, f);
	memset(aligned, 'b', 1024);
	EXPECT_OK(disk_pwrite_direct(f, aligned, 1024, 512));
	EXPECT_OK(disk_sync(f));
	EXPECT_OK(disk_pwrite(f, "c", 1, 600));
	memset(aligned, 'd', 512);
	EXPECT_OK(disk_pwrite_direct(f, aligned, 512, 1024));
	EXPECT_OK(disk_read_all(g, found, 2048, 0));
	for (size_t i = 0; i < sizeof(found); i++)
		EXPECT(found[i] == (i < 512 || i >= 1536 ? 'a' : i == 600 ? 'c' : i < 1024 ? 'b' : 'd'));
	disk_close(&f);
	disk_close(&g);
	disk_dir_close(&d);
	test_dir_remove(path);
}

TEST(failures_on_demand_and_the_trace)
{
#ifdef FACTEUR_FAULT
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *path = test_dir();
	CLEANUP(disk_dir_close) struct disk_dir *d = NULL;
	CLEANUP(disk_close) struct disk_file *f = NULL;
	struct str control = STR("# a comment\nsync first eio-once 2\nwrite first enospc 3\n"), text;
	uint64_t at;

	EXPECT_OK(disk_dir_open(path, &d));
	setenv("FACTEUR_DISK_TRACE", str_cstr(&a, arena_printf(&a, "%s/trace", path)), 1);
	setenv("FACTEUR_DISK_FAULT", str_cstr(&a, arena_printf(&a, "%s/fault", path)), 1);
	EXPECT_OK(disk_write_file(d, "fault", control));
	disk_fault_start();
	EXPECT_OK(disk_open(d, "first", DISK_NEW, &f));
	EXPECT_OK(disk_append(f, STR("one"), &at));
	EXPECT_OK(disk_sync(f));
	EXPECT_OK(disk_append(f, STR("two"), &at));
	EXPECT_ERR(disk_sync(f), ERR_IO);
	EXPECT_OK(disk_sync(f));
	EXPECT_ERR(disk_append(f, STR("three"), &at), ERR_FULL);
	EXPECT_ERR(disk_append(f, STR("three"), &at), ERR_FULL);
	EXPECT_ERR(disk_written_elsewhere(f), ERR_FULL);
	unsetenv("FACTEUR_DISK_TRACE");
	unsetenv("FACTEUR_DISK_FAULT");
	disk_fault_start();
	close(DISK_FAULT_TRACE_FD);
	close(DISK_FAULT_CONTROL_FD);
	EXPECT_OK(disk_append(f, STR("three"), &at));
	EXPECT_INT(at, 6);
	EXPECT_OK(disk_read_file(d, "trace", 100000, &a, &text));
	EXPECT(str_starts(text, STR("FDT1")));
	EXPECT(str_find(text, STR("two")) > 0 && str_find(text, STR("three")) < 0);  /* what fails here never happened */
	test_dir_remove(path);
#endif
}
