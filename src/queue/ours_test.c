/* Mail for a domain that has become ours while it was queued. */
#include "directory/directory.h"
#include "queue/sending_test.h"

/* "d0.example" becomes a domain of ours: x0 is an account there, x1 an alias that leads to it and to another server (or to a group), the others nobody. */
static void make_ours(struct world *w, bool has_group, struct buf *bytes, struct lookup **l)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct directory_address x0, x1, team, elsewhere;
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
	const char *path = test_dir();
	struct directory *d;
	uint64_t account;

	EXPECT_OK(disk_dir_open(path, &dir));
	EXPECT_OK(directory_open(dir, &d));
	EXPECT_OK(domain_add(d, STR("d0.example")));
	EXPECT(directory_address_parse(STR("x0@d0.example"), &a, &x0) && directory_address_parse(STR("x1@d0.example"), &a, &x1) &&
	       directory_address_parse(STR("x3@d1.example"), &a, &elsewhere) && directory_address_parse(STR("team@d0.example"), &a, &team));
	EXPECT_OK(account_add(d, &x0, STR(""), false, &account));
	EXPECT_INT(account, 1);
	struct directory_address targets[] = { x0, has_group ? team : elsewhere };
	EXPECT_OK(name_add(d, &team, NAME_GROUP, &x0, 1));
	EXPECT_OK(name_add(d, &x1, NAME_ALIAS, targets, 2));
	EXPECT_OK(lookup_build(d, 1, bytes));
	EXPECT_OK(lookup_read(buf_str(bytes), l));
	directory_close(d);
	test_dir_remove(path);
	queue_use_lookup(w->queue, *l);
}

static void twice(struct envelope *e) { e->recipients[2].address = STR("X0@d0.example"); }

TEST(mail_for_a_domain_that_has_become_ours_is_delivered)
{
	static const bool cases[] = { false, true };   /* it is a row; it is still in the log */

	EACH(cases, is_fresh) {
		CLEANUP(buf_free) struct buf bytes = BUF(LOOKUP_BYTES_MAX);
		struct world *w = begin();
		const uint64_t to[] = { WORLD_AT(0), WORLD_AT(0), WORLD_AT(0), WORLD_AT(0) };
		struct lookup *l;

		w->dress = twice;
		w->net.defers = !*is_fresh;
		if (*is_fresh)
			world_stop_net(w);
		world_add(w, 1, to, 4, 100);
		WORLD_UNTIL(w, w->answered == 1 && (*is_fresh || late(w).waiting == 4));
		make_ours(w, false, &bytes, &l);
		if (*is_fresh)
			world_start_net(w);
		w->net.defers = false;
		clock_wall_offset(400);
		WORLD_UNTIL(w, w->cells[0].n_kept == 1 && w->net.got[1][3] == 1 && late(w).waiting == 0 && backlog(w) == 0);
		EXPECT_INT(world_count(w, 1, 1), 1);   /* once, though an alias leads there, too, and he is named by two spellings */
		EXPECT_INT(w->net.got[1][3], 1);
		clock_wall_offset(0);
		world_free(w);
		lookup_close(l);
	}
}

/* What a group would have done with it nobody can do any more: it comes back to its sender, who can send it again, and goes to no half of them. */
TEST(mail_for_an_alias_that_leads_to_a_group_by_now_comes_back)
{
	CLEANUP(buf_free) struct buf bytes = BUF(LOOKUP_BYTES_MAX);
	struct world *w = begin();
	const uint64_t to[] = { WORLD_AT(0), WORLD_AT(0) };
	struct lookup *l;

	w->net.defers = true;
	world_add(w, 1, to, 2, 100);
	WORLD_UNTIL(w, w->answered == 1 && late(w).waiting == 2);
	make_ours(w, true, &bytes, &l);
	clock_wall_offset(400);
	WORLD_UNTIL(w, w->cells[0].n_kept == 1 && late(w).waiting == 0);
	clock_wall_offset(0);
	world_free(w);
	lookup_close(l);
}

/* Names that its account may forget are asked for when W has changed. A row that is its account's only since then is among them: the name would go with
 * the delivery that brings it, and a cell that is killed a moment later gets the message again, and does not know it. */
TEST(what_is_ours_by_now_is_not_forgotten_with_what_was_before)
{
	CLEANUP(buf_free) struct buf bytes = BUF(LOOKUP_BYTES_MAX);
	struct world *w = begin();
	const uint64_t elsewhere[] = { WORLD_AT(0) }, here[] = { 1 };
	struct lookup *l;

	w->net.defers = true;
	world_add(w, 1, elsewhere, 1, 100);
	WORLD_UNTIL(w, w->answered == 1 && late(w).waiting == 1);
	uint64_t seq = w->last_accepted;
	for (uint32_t n = 2; n < 1000 && w->cells[0].prune_seq < seq; n++) {
		world_add(w, n, here, 1, 100);
		WORLD_UNTIL(w, world_count(w, 1, n) == 1);
	}
	EXPECT(w->cells[0].prune_seq >= seq);
	make_ours(w, false, &bytes, &l);
	w->net.defers = false;
	clock_wall_offset(400);
	WORLD_UNTIL(w, world_count(w, 1, 1) == 1 && late(w).waiting == 0);
	EXPECT(w->cells[0].prune_seq < seq);
	clock_wall_offset(0);
	world_free(w);
	lookup_close(l);
}
