/* One message to 10,000 accounts that sleep: in bounded memory, sixteen at a time, each once. */
#define WORLD_CELLS 10000
#include "queue/world_test.h"
#include <malloc.h>

TEST(a_group_of_ten_thousand)
{
	struct world *w = world_new(8, 8 << 20);
	uint64_t *to = mem_array(WORLD_CELLS, sizeof *to);
	int64_t start = clock_mono_ms();
	size_t once = 0;

	for (uint64_t i = 0; i < WORLD_CELLS; i++) {
		to[i] = i + 1;
		w->cells[i].leaves = true;
	}
	size_t before = mallinfo2().uordblks;
	world_add(w, 1, to, WORLD_CELLS, 4000);
	WORLD_UNTIL(w, w->answered == 1);
	size_t used = mallinfo2().uordblks - before;
	EXPECT(used < 16u << 20);
	while (w->wakes_seen < WORLD_CELLS && clock_mono_ms() < start + 60000)
		world_round(w);
	world_rounds(w, 20);
	for (uint64_t i = 0; i < WORLD_CELLS; i++)
		once += world_count(w, i + 1, 1) == 1;
	EXPECT_INT(once, WORLD_CELLS);
	print_message("%lld ms, %zu kB in use after the answer\n", (long long)(clock_mono_ms() - start), used >> 10);
	mem_free(to);
	world_free(w);
}
