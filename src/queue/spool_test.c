#include "queue/spool.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/test.h"
#include <sys/mman.h>
#include <unistd.h>

struct shelf {
	const char      *path;
	struct disk_dir *dir;
	struct late     *late;
	struct spool    *spool;
};

static void shelf_open(struct shelf *s)
{
	*s = (struct shelf){ .path = test_dir() };
	log_setup("test", LOG_LEVEL_ERROR, false);
	EXPECT_OK(disk_dir_open(s->path, &s->dir));
	EXPECT_OK(late_open(s->dir, 7, 0, &s->late));
	EXPECT_OK(spool_open(s->dir, &s->spool));
}

static void shelf_close(struct shelf *s)
{
	spool_close(s->spool);
	late_close(&s->late);
	disk_dir_close(&s->dir);
	test_dir_remove(s->path);
}

static bool is_there(struct shelf *s, uint64_t number)
{
	CLEANUP(fd_close) int fd = -1;

	return spool_read(s->spool, number, &fd) == ERR_OK;
}

/* A file of five bytes, written by its owner. */
static uint64_t make(struct shelf *s, uint64_t owner, int64_t now_ms)
{
	CLEANUP(fd_close) int fd = -1;
	uint64_t number;

	EXPECT_OK(spool_new(s->spool, owner, SPOOL_OPEN_MAX, now_ms, &number, &fd));
	EXPECT(write(fd, "12345", 5) == 5);
	return number;
}

TEST(only_its_owner_takes_a_file_and_once)
{
	struct shelf s;
	uint64_t number;

	shelf_open(&s);
	number = make(&s, 1, 0);
	EXPECT_ERR(spool_take(s.spool, 2, number, 5), ERR_NOTFOUND);
	EXPECT_ERR(spool_take(s.spool, 1, number, 6), ERR_INVALID);
	EXPECT_ERR(spool_take(s.spool, 1, number + 1, 5), ERR_NOTFOUND);
	EXPECT_OK(spool_take(s.spool, 1, number, 5));
	EXPECT_ERR(spool_take(s.spool, 1, number, 5), ERR_NOTFOUND);
	EXPECT_OK(spool_sync(s.spool, number));
	shelf_close(&s);
}

/* What is promised with the 250 is what its sender can no longer change: neither by a descriptor nor by a mapping. */
TEST(a_file_that_its_sender_can_still_write_is_not_taken)
{
	struct shelf s;
	uint64_t number;
	int fd;

	shelf_open(&s);
	EXPECT_OK(spool_new(s.spool, 1, SPOOL_OPEN_MAX, 0, &number, &fd));
	EXPECT(write(fd, "12345", 5) == 5);
	EXPECT_ERR(spool_take(s.spool, 1, number, 5), ERR_INVALID);
	void *mapped = mmap(NULL, 5, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	EXPECT_ERR(spool_take(s.spool, 1, number, 5), ERR_INVALID);
	munmap(mapped, 5);
	EXPECT_OK(spool_take(s.spool, 1, number, 5));
	shelf_close(&s);
}

TEST(an_owner_has_its_limit)
{
	CLEANUP(fd_close) int fd = -1;
	struct shelf s;
	uint64_t number;

	shelf_open(&s);
	make(&s, 1, 0);
	make(&s, 1, 0);
	EXPECT_ERR(spool_new(s.spool, 1, 2, 0, &number, &fd), ERR_LIMIT);
	EXPECT_OK(spool_new(s.spool, 2, 2, 0, &number, &fd));
	shelf_close(&s);
}

TEST(files_go_when_nobody_needs_them)
{
	struct shelf s;
	uint64_t unused, young, gone, named;

	shelf_open(&s);
	unused = make(&s, 1, 0);
	young = make(&s, 1, 5000);
	gone = make(&s, 2, 5000);
	EXPECT_OK(spool_write(s.spool, STR("by"), STR("tes"), &named));
	spool_named(s.spool, named, 10);
	spool_expire(s.spool, SPOOL_UNUSED_MS);
	EXPECT(!is_there(&s, unused) && is_there(&s, young) && is_there(&s, gone));
	spool_owner_gone(s.spool, 2);
	EXPECT(!is_there(&s, gone) && is_there(&s, young));
	spool_passed(s.spool, 9, s.late);
	EXPECT(is_there(&s, named));
	spool_passed(s.spool, 10, s.late);
	EXPECT(!is_there(&s, named));
	shelf_close(&s);
}

TEST(a_start_removes_what_no_message_names)
{
	struct shelf s;
	uint64_t unused, named;

	shelf_open(&s);
	unused = make(&s, 1, 0);
	EXPECT_OK(spool_write(s.spool, STR(""), STR("bytes"), &named));
	spool_close(s.spool);
	EXPECT_OK(spool_open(s.dir, &s.spool));
	spool_named(s.spool, named, 3);
	EXPECT_OK(spool_sweep(s.spool, s.late));
	EXPECT(!is_there(&s, unused) && is_there(&s, named));
	shelf_close(&s);
}
