/* queue/directory_test.h -- a directory for tests of the queue, and the look-up that the queue has of it. */
#ifndef FACTEUR_QUEUE_DIRECTORY_TEST_H
#define FACTEUR_QUEUE_DIRECTORY_TEST_H
#include "directory/directory.h"
#include "queue/sending_test.h"

static struct directory *directory;
static struct lookup *lookup;
static struct buf lookup_bytes[2];   /* of this look-up and of the one before */
static int turn;

UNUSED static void open_directory(struct world *w)
{
	EXPECT_OK(directory_open(w->dir, &directory));
	EXPECT_OK(domain_add(directory, STR("ours.test")));
}

/* The queue hears of what was changed. */
UNUSED static void publish(struct world *w)
{
	struct lookup *before = lookup;

	turn = !turn;
	lookup_bytes[turn] = BUF(1 << 20);
	EXPECT_OK(lookup_build(directory, directory_version(directory), &lookup_bytes[turn]));
	EXPECT_OK(lookup_read(buf_str(&lookup_bytes[turn]), &lookup));
	queue_use_lookup(w->queue, lookup);
	lookup_close(before);
	buf_free(&lookup_bytes[!turn]);
}

/* Its world is gone already. */
UNUSED static void close_directory(void)
{
	lookup_close(lookup);
	lookup = NULL;
	buf_free(&lookup_bytes[turn]);
	directory_close(directory);
}
#endif
