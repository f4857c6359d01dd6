/* directory/world_test.h -- a directory in a folder of its own, and the look-up that is published from it, for unit tests. */
#ifndef FACTEUR_DIRECTORY_WORLD_TEST_H
#define FACTEUR_DIRECTORY_WORLD_TEST_H
#include "base/test.h"
#include "directory/directory.h"
#include "directory/lookup.h"

struct world {
	const char       *path;
	struct disk_dir  *dir;
	struct directory *d;
	struct arena      arena;
	struct buf        bytes;
	struct lookup    *l;
};

static struct directory_address at(struct world *w, const char *text)
{
	struct directory_address x;

	EXPECT(directory_address_parse(str_of(text), &w->arena, &x));
	return x;
}

/* With the domain example.test. */
static struct world *begin(void)
{
	static struct world w;

	w = (struct world){ .path = test_dir() };
	EXPECT_OK(disk_dir_open(w.path, &w.dir));
	EXPECT_OK(directory_open(w.dir, &w.d));
	EXPECT_OK(domain_add(w.d, STR("example.test")));
	return &w;
}

static void publish(struct world *w)
{
	lookup_close(w->l);
	w->l = NULL;
	buf_free(&w->bytes);
	w->bytes = BUF(LOOKUP_BYTES_MAX);
	EXPECT_OK(lookup_build(w->d, directory_version(w->d), &w->bytes));
	EXPECT_OK(lookup_read(buf_str(&w->bytes), &w->l));
}

static void end(struct world *w)
{
	lookup_close(w->l);
	buf_free(&w->bytes);
	directory_close(w->d);
	disk_dir_close(&w->dir);
	arena_free(&w->arena);
	test_dir_remove(w->path);
}
#endif
