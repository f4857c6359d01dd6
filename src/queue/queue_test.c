#include "queue/command.h"
#include "queue/world_test.h"


TEST(a_message_goes_in_and_out)
{
	struct world *w = world_new(4, 1 << 20);
	const uint64_t to[] = { 1, 2 };

	world_add(w, 7, to, 2, 100);
	WORLD_UNTIL(w, w->cells[0].n_kept == 1 && w->cells[1].n_kept == 1);
	EXPECT_INT(w->accepted, 1);
	EXPECT_INT(world_count(w, 1, 7), 1);
	EXPECT_INT(world_count(w, 2, 7), 1);
	world_free(w);
}

TEST(a_clean_restart_replays_nothing)
{
	struct world *w = world_new(4, 1 << 20);
	const uint64_t to[] = { 1, 2, 3 };

	for (uint32_t i = 0; i < 100; i++)
		world_add(w, i, to, 3, 2000);
	WORLD_UNTIL(w, w->answered == 100 && w->cells[2].n_kept == 100);
	world_stop(w);
	world_close_cells(w);
	w->wakes_seen = 0;
	world_open(w);
	world_rounds(w, 20);
	EXPECT_INT(w->wakes_seen, 0);
	world_free(w);
}

TEST(after_a_kill_all_is_sent_again_and_says_so)
{
	struct world *w = world_new(4, 1 << 20);
	const uint64_t to[] = { 1, 2, 3 };

	for (uint32_t i = 0; i < 100; i++)
		world_add(w, i, to, 3, 2000);
	WORLD_UNTIL(w, w->answered == 100 && w->cells[2].n_kept > 0);
	world_kill(w);
	world_open(w);
	WORLD_UNTIL(w, w->cells[0].n_kept == 100 && w->cells[1].n_kept == 100 && w->cells[2].n_kept == 100);
	world_rounds(w, 50);
	EXPECT_INT(w->cells[0].n_kept, 100);
	world_free(w);
}
