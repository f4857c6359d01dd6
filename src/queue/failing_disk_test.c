/* The queue on a disk that fails: its log, its files, its table of what waits. A queue that ends by itself and is opened again; what was told
 * to whom. (Accounts whose disk fails: queue_test.c.) */
#include "disk/fault_test.h"
#include "queue/queue_private.h"
#include "queue/world_test.h"

#ifdef FACTEUR_FAULT
struct faults {
	const char *folder;
	char        path[300];   /* of their rules */
};

static struct faults faults_begin(void)
{
	struct faults f = { .folder = test_dir() };

	snprintf(f.path, sizeof f.path, "%s/faults", f.folder);
	return f;
}

static void faults_end(const struct faults *f)
{
	unsetenv("FACTEUR_DISK_FAULT");
	disk_fault_start();
	test_dir_remove(f->folder);
}
#endif

TEST(a_log_that_fails_takes_nothing_until_it_is_opened_again)
{
#ifdef FACTEUR_FAULT
	struct faults faults = faults_begin();
	struct world *w = world_new(4, 1 << 20);
	const uint64_t to[] = { 1 };

	log_setup("test", LOG_LEVEL_ERROR + 1, false);
	world_add(w, 1, to, 1, 100);
	WORLD_UNTIL(w, w->cells[0].n_kept == 1);
	disk_shall(faults.path, "sync /log/ eio 1\n");
	world_add(w, 2, to, 1, 100);
	WORLD_UNTIL(w, w->answered == 2);
	EXPECT_INT(w->refused, 1);
	EXPECT(!queue_needs_restart(w->queue));
	disk_shall(faults.path, "# well again\n");
	world_add(w, 3, to, 1, 100);  /* nothing is believed all the same */
	WORLD_UNTIL(w, w->refused == 2);
	world_rounds(w, 5);
	w->clock_ms = 2000;
	world_rounds(w, 5);
	w->clock_ms = 6000;
	world_rounds(w, 5);
	EXPECT(queue_needs_restart(w->queue));
	world_kill(w);
	world_open(w);
	world_add(w, 4, to, 1, 100);
	WORLD_UNTIL(w, world_count(w, 1, 4) == 1);
	EXPECT_INT(world_count(w, 1, 1), 1);
	EXPECT(world_count(w, 1, 2) <= 1);
	EXPECT_INT(world_count(w, 1, 3), 0);
	faults_end(&faults);
	world_free(w);
#endif
}

/* A large one lies in a file of its own. Whoever sent it was told "come again"; the record may be there all the same. */
TEST(a_record_that_may_be_there_keeps_its_file)
{
#ifdef FACTEUR_FAULT
	static const struct { const char *rule; size_t times; } cases[] = { { "sync /log/ eio 1\n", 1 }, { "write /log/ eio 1\n", 0 } };
	struct faults faults = faults_begin();
	const uint64_t to[] = { 1 };

	EACH(cases, c) {
		struct world *w = world_new(4, 1 << 20);
		log_setup("test", LOG_LEVEL_ERROR + 1, false);
		disk_shall(faults.path, c->rule);
		world_add(w, 1, to, 1, 2 << 20);
		WORLD_UNTIL(w, w->answered == 1);
		EXPECT_INT(w->refused, 1);
		disk_shall(faults.path, "# well again\n");
		world_kill(w);
		world_open(w);
		WORLD_UNTIL(w, world_count(w, 1, 1) == c->times);
		EXPECT_INT(world_spool_files(w), c->times);  /* what no record names is gone */
		EXPECT_INT(world_late(w, true), 0);
		world_free(w);
	}
	faults_end(&faults);
#endif
}

/* What waits there could not be written any more, for as long as the process lives: not when it is tried next, nor who has got it. */
TEST(a_table_of_what_waits_that_fails_is_opened_again)
{
#ifdef FACTEUR_FAULT
	CLEANUP(arena_free) struct arena a = { 0 };
	struct faults faults = faults_begin();
	struct world *w = world_new(4, 1 << 20);
	struct queue_command retry = { .kind = QUEUE_RETRY, .recipient = -1 };
	struct queue_answer answer;
	const uint64_t to[] = { 1 };

	log_setup("test", LOG_LEVEL_ERROR + 1, false);
	w->cells[0].refuses = true;
	disk_shall(faults.path, "sync queue.db eio-once 1\n");
	world_add(w, 1, to, 1, 100);
	WORLD_UNTIL(w, late_has_failed(w->queue->late));
	EXPECT(!queue_needs_restart(w->queue));
	disk_shall(faults.path, "# well again\n");
	w->clock_ms += 2000;
	WORLD_UNTIL(w, w->queue->failed_ms != 0);
	world_add(w, 2, to, 1, 100);
	WORLD_UNTIL(w, w->refused == 1);
	w->clock_ms += 4000;
	world_rounds(w, 5);
	EXPECT(queue_needs_restart(w->queue));
	world_kill(w);
	world_open(w);
	EXPECT(!queue_needs_restart(w->queue));
	WORLD_UNTIL(w, world_late(w, true) == 1);
	w->cells[0].refuses = false;
	EXPECT_OK(world_command(w, &retry, &a, &answer));
	WORLD_UNTIL(w, world_count(w, 1, 1) == 1);
	faults_end(&faults);
	world_free(w);
#endif
}
