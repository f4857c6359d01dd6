/* Mail that goes by routes, and routes that change while it waits: in memory, in queue.db, while nothing runs. */
#include "queue/directory_test.h"

static struct world *begin_routes(void)
{
	struct world *w = begin();

	open_directory(w);
	return w;
}

static void set(const char *pattern, const char *target)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct route r;

	EXPECT(route_target_parse(str_of(target), &a, &r));
	route_complete(&r, false);
	EXPECT_OK(route_set(directory, str_of(pattern), &r));
}

static void end(struct world *w)
{
	clock_wall_offset(0);
	world_free(w);
	close_directory();
}

static size_t got(const struct world *w, uint32_t messages)
{
	size_t n = 0;

	for (uint32_t i = 1; i <= messages; i++)
		for (size_t r = 0; r < WORLD_RECIPIENTS; r++)
			n += w->net.got[i][r];
	return n;
}

/* Recipients of several domains are one SEND to the smart host. */
TEST(a_route_is_one_destination)
{
	struct world *w = begin_routes();
	const uint64_t to[] = { WORLD_AT(0), WORLD_AT(1), WORLD_AT(2) };

	set("*", "smart.example");
	set("d2.example", "direct");
	publish(w);
	world_add(w, 1, to, 3, 100);
	WORLD_UNTIL(w, got(w, 1) == 3);
	EXPECT_INT(w->net.sends, 2);
	world_add(w, 2, to, 2, 100);
	WORLD_UNTIL(w, got(w, 2) == 5);
	EXPECT_STR(str_of(w->net.destination), "smart.example:25");
	EXPECT_STR(str_of(w->net.host), "smart.example");
	EXPECT(str_starts(str_of(w->net.sender), STR("SRS0=")));  /* a stranger's, passed on */
	world_add(w, 3, to + 2, 1, 100);
	WORLD_UNTIL(w, got(w, 3) == 6);
	EXPECT_STR(str_of(w->net.host), "");
	end(w);
}

/* What a server of a domain of ours gets has the sender that it came with. */
TEST(inside_a_domain_of_ours)
{
	struct world *w = begin_routes();
	const uint64_t to[] = { WORLD_AT(0) };

	EXPECT_OK(domain_add(directory, STR("d0.example")));
	set("d0.example", "lmtp:127.0.0.1");
	publish(w);
	world_add(w, 1, to, 1, 100);
	WORLD_UNTIL(w, got(w, 1) == 1);
	EXPECT_STR(str_of(w->net.destination), "lmtp:127.0.0.1:24 for d0.example");
	EXPECT(!str_starts(str_of(w->net.sender), STR("SRS0=")));
	end(w);
}

/* Nobody can be reached; then somebody sets a smart host. What waits in memory and in queue.db goes there at once. */
TEST(a_new_route_takes_what_waits)
{
	struct world *w = begin_routes();
	const uint64_t to[] = { WORLD_AT(0), WORLD_AT(1) };

	publish(w);
	w->net.is_unreachable = true;
	for (uint32_t i = 1; i <= 20; i++)
		world_add(w, i, to, 2, 100);
	WORLD_UNTIL(w, w->answered == 20 && late(w).waiting == 40);
	size_t sends = w->net.sends;
	w->net.is_unreachable = false;
	set("*", "smart.example");
	publish(w);
	WORLD_UNTIL(w, got(w, 20) == 40 && late(w).waiting == 0);
	EXPECT_INT(w->net.sends, sends + 20);  /* both recipients of a message together */
	EXPECT_STR(str_of(w->net.destination), "smart.example:25");
	end(w);
}

/* While nothing runs: the rows of the old way lead the new one. */
TEST(a_route_that_changed_meanwhile)
{
	struct world *w = begin_routes();
	const uint64_t to[] = { WORLD_AT(0) };

	set("*", "smart.example");
	publish(w);
	w->net.defers = true;
	world_add(w, 1, to, 1, 100);
	WORLD_UNTIL(w, late(w).waiting == 1);
	w->net.defers = false;
	world_stop(w);
	set("*", "other.example");
	world_open(w);
	publish(w);
	WORLD_UNTIL(w, got(w, 1) == 1);
	EXPECT_STR(str_of(w->net.destination), "other.example:25");
	end(w);
}

/* Parked for a way that is paused, then the way changes: none is forgotten. */
TEST(what_is_parked_for_a_way_that_is_gone)
{
	struct world *w = begin_routes();
	const uint64_t to[] = { WORLD_AT(0) };

	set("*", "smart.example");
	publish(w);
	EXPECT_OK(parcels_pause(w->queue->parcels, STR("smart.example:25"), true));
	for (uint32_t i = 1; i <= 30; i++)
		world_add(w, i, to, 1, 100);
	WORLD_UNTIL(w, w->answered == 30);
	w->clock_ms += 11000;
	WORLD_UNTIL(w, late(w).waiting == 30);
	EXPECT_INT(w->net.sends, 0);
	EXPECT_OK(route_remove(directory, STR("*")));
	publish(w);
	WORLD_UNTIL(w, got(w, 30) == 30);
	EXPECT_STR(str_of(w->net.destination), "d0.example");
	end(w);
}

/* Changed while messages are being written to queue.db: wherever they were just then, all arrive. */
TEST(changing_again_and_again)
{
	struct world *w = begin_routes();
	const uint64_t to[] = { WORLD_AT(0), WORLD_AT(1) };

	publish(w);
	EXPECT_OK(parcels_pause(w->queue->parcels, STR("d0.example"), true));
	for (uint32_t i = 1; i <= 60; i++) {
		world_add(w, i, to, 2, 100);
		if (i % 10 == 0) {
			w->clock_ms += 10000;
			set("*", i % 20 == 0 ? "smart.example" : "direct");
			publish(w);
		}
		world_rounds(w, 3);
	}
	EXPECT_OK(parcels_pause(w->queue->parcels, STR("[127.0.0.1]"), false));
	EXPECT_OK(parcels_pause(w->queue->parcels, STR("d0.example"), false));
	w->clock_ms += 120000;
	WORLD_UNTIL(w, got(w, 60) == 120 && late(w).waiting == 0);
	end(w);
}
