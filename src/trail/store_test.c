/* The trail as somebody who looks for a message sees it: found by whatever he knows, in the order of time, also after a restart and
 * in a file of many blocks; and gone when it is too old, or too much. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/test.h"
#include "trail/store.h"

#define LOG_ID 0x1234567800000000ULL
enum { HIGH = 0x12345678, BOB = 7, CAROL = 8 };

struct place { const char *path; struct disk_dir *dir; struct trail_store *t; };

static void start(struct place *p)
{
	if (p->path == NULL)
		p->path = test_dir();
	EXPECT_OK(disk_dir_open(p->path, &p->dir));
	EXPECT_OK(trail_store_open(p->dir, &p->t));
}

static void stop(struct place *p)
{
	trail_store_close(p->t);
	disk_dir_close(&p->dir);
}

static void end(struct place *p)
{
	stop(p);
	test_dir_remove(p->path);
}

static void take(struct place *p, enum role who, const struct trail_event *e)
{
	CLEANUP(buf_free) struct buf b = BUF(TRAIL_EVENT_MAX);

	trail_event_encode(e, &b);
	EXPECT_OK(trail_store_take(p->t, who, BOB, buf_str(&b)));
}

/* A message for bob, and its delivery a second later. */
static void pass(struct place *p, uint64_t seq, int64_t at_ms)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct trail_recipient to = { STR("Bob@Example.org"), BOB };

	take(p, ROLE_QUEUE, &(struct trail_event){
		.kind = TRAIL_RECEIVED, .at_ms = at_ms, .log_id = LOG_ID + 1, .seq = seq,
		.sender = arena_printf(&a, "sender%llu@example.net", (unsigned long long)seq),
		.message_id = arena_printf(&a, "id%llu@example.net", (unsigned long long)seq),
		.received_id = arena_printf(&a, "0a1b2c3d4e.%llu", (unsigned long long)seq), .n = 1, .recipients = &to, .count = 1 });
	take(p, ROLE_QUEUE, &(struct trail_event){ .kind = TRAIL_DELIVERED, .at_ms = at_ms + 1000, .log_id = LOG_ID + 1, .seq = seq,
		                                       .account = BOB, .where = STR("INBOX") });
}

static void find(struct place *p, struct trail_query q, struct arena *a, struct trail_found *out)
{
	if (q.max == 0)
		q.max = 10;
	EXPECT_OK(trail_store_find(p->t, &q, a, out));
}

TEST(found_by_all_that_is_known)
{
	static const struct { struct trail_query q; size_t n; } cases[] = {
		{ { .by = TRAIL_BY_NAME, .log_id_high = HIGH, .seq = 2 }, 1 },
		{ { .by = TRAIL_BY_NAME, .log_id_high = HIGH, .seq = 4 }, 0 },
		{ { .by = TRAIL_BY_NAME, .log_id_high = 1, .seq = 2 }, 0 },
		{ { .by = TRAIL_BY_MESSAGE_ID, .text = STR("id2@example.net") }, 1 },
		{ { .by = TRAIL_BY_MESSAGE_ID, .text = STR("ID2@example.net") }, 0 },  /* RFC 5322 §3.6.4: its case counts */
		{ { .by = TRAIL_BY_RECEIVED_ID, .text = STR("0A1B2C3D4E.3") }, 1 },
		{ { .by = TRAIL_BY_RECEIVED_ID, .text = STR("0a1b2c3d4e.4") }, 0 },
		{ { .by = TRAIL_BY_ADDRESS, .text = STR("SENDER2@example.net") }, 1 },
		{ { .by = TRAIL_BY_ADDRESS, .text = STR("bob@example.org") }, 3 },
		{ { .by = TRAIL_BY_ADDRESS, .text = STR("robert@example.org"), .account = BOB }, 3 },
		{ { .by = TRAIL_BY_ADDRESS, .text = STR("robert@example.org") }, 0 },
		{ { .by = TRAIL_BY_DOMAIN, .text = STR("EXAMPLE.net") }, 3 },
		{ { .by = TRAIL_BY_DOMAIN, .text = STR("example.com") }, 0 },
		{ { .by = TRAIL_BY_TIME, .since_ms = 2001 }, 2 },                      /* the second was delivered after that */
		{ { .by = TRAIL_BY_TIME, .max = 2 }, 2 },
	};
	struct place p = { 0 };

	start(&p);
	for (uint64_t seq = 1; seq <= 3; seq++)
		pass(&p, seq, (int64_t)seq * 1000 - 500 * (seq == 1));
	for (int round = 0; round < 2; round++) {  /* in memory, then read from the file */
		EACH(cases, c) {
			CLEANUP(arena_free) struct arena a = { 0 };
			struct trail_found f;
			find(&p, c->q, &a, &f);
			EXPECT_INT(f.n, c->n);
			EXPECT_INT(f.has_more, c->q.max == 2);
			for (size_t i = 0; i < f.n; i++) {
				EXPECT_INT(f.messages[i].n, 2);
				EXPECT_INT(f.messages[i].events[0].kind, TRAIL_RECEIVED);
				EXPECT_STR(f.messages[i].events[1].where, "INBOX");
				EXPECT(i == 0 || f.messages[i - 1].seq < f.messages[i].seq);
			}
		}
		stop(&p);
		start(&p);
	}
	end(&p);
}

/* That it leaves later is noted with the second in which it came, which is before the moment in which it came. */
TEST(a_message_begins_with_its_arrival)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct place p = { 0 };
	struct trail_found f;

	start(&p);
	pass(&p, 1, 1700);
	take(&p, ROLE_QUEUE, &(struct trail_event){ .kind = TRAIL_WAITS, .at_ms = 1000, .log_id = LOG_ID, .seq = 1, .text = STR("asked") });
	find(&p, (struct trail_query){ .by = TRAIL_BY_NAME, .log_id_high = HIGH, .seq = 1 }, &a, &f);
	EXPECT_INT(f.messages[0].n, 3);
	EXPECT_INT(f.messages[0].events[0].kind, TRAIL_RECEIVED);
	EXPECT_INT(f.messages[0].events[1].kind, TRAIL_WAITS);
	end(&p);
}

TEST(what_a_crash_made_the_queue_say_twice_is_there_once)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct place p = { 0 };
	struct trail_found f;
	struct trail_event sent = { .kind = TRAIL_SENT, .at_ms = 5000, .log_id = LOG_ID, .seq = 1, .recipient = STR("x@example.com") };

	start(&p);
	pass(&p, 1, 1000);
	pass(&p, 1, 3000);
	take(&p, ROLE_QUEUE, &sent);
	sent.at_ms++;
	take(&p, ROLE_QUEUE, &sent);  /* that another server got it twice is no echo: it may have */
	find(&p, (struct trail_query){ .by = TRAIL_BY_NAME, .log_id_high = HIGH, .seq = 1 }, &a, &f);
	EXPECT_INT(f.n, 1);
	EXPECT_INT(f.messages[0].n, 4);
	EXPECT_INT(f.messages[0].events[0].at_ms, 1000);
	EXPECT_INT(f.messages[0].events[3].at_ms, 5001);
	end(&p);
}

/* A message of long ago that was delivered today is one story; its bounce is part of it. */
TEST(a_story_goes_through_many_blocks)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct place p = { 0 };
	struct trail_found f;

	start(&p);
	pass(&p, 1, 1000);
	for (uint64_t seq = 100; seq < 3000; seq++) {
		pass(&p, seq, (int64_t)seq * 1000);
		if (seq % 500 == 0)
			EXPECT_OK(trail_store_write(p.t));
	}
	take(&p, ROLE_QUEUE, &(struct trail_event){ .kind = TRAIL_FAILED, .at_ms = 4000000, .log_id = LOG_ID, .seq = 1,
		                                        .recipient = STR("dave@example.com"), .text = STR("550 no") });
	take(&p, ROLE_QUEUE, &(struct trail_event){ .kind = TRAIL_RECEIVED, .at_ms = 4000001, .log_id = LOG_ID, .seq = 3000,
		                                        .parent_log_id = LOG_ID, .parent_seq = 1 });
	find(&p, (struct trail_query){ .by = TRAIL_BY_TIME, .since_ms = 4000000 }, &a, &f);
	EXPECT_INT(f.n, 2);
	EXPECT_INT(f.messages[0].seq, 1);
	EXPECT_INT(f.messages[0].n, 4);
	EXPECT_INT(f.messages[0].events[3].seq, 3000);
	EXPECT_INT(f.messages[1].n, 1);
	find(&p, (struct trail_query){ .by = TRAIL_BY_MESSAGE_ID, .text = STR("id2000@example.net") }, &a, &f);
	EXPECT_INT(f.n, 1);
	find(&p, (struct trail_query){ .by = TRAIL_BY_DOMAIN, .text = STR("example.net"), .max = 50 }, &a, &f);
	EXPECT_INT(f.n, 50);
	EXPECT(f.has_more);
	EXPECT_INT(f.messages[49].seq, 2999);
	EXPECT_INT(f.messages[0].seq, 2950);
	end(&p);
}

TEST(the_owner_sees_his_own)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const struct trail_recipient to[] = { { STR("bob@example.org"), BOB }, { STR("carol@example.org"), CAROL } };
	struct place p = { 0 };
	struct trail_found f;

	start(&p);
	take(&p, ROLE_QUEUE, &(struct trail_event){ .kind = TRAIL_RECEIVED, .at_ms = 1, .log_id = LOG_ID, .seq = 1, .account = BOB,
		                                        .n = 2, .recipients = to, .count = 2 });
	take(&p, ROLE_QUEUE, &(struct trail_event){ .kind = TRAIL_DELIVERED, .at_ms = 2, .log_id = LOG_ID, .seq = 1, .account = BOB,
		                                        .where = STR("INBOX") });
	take(&p, ROLE_QUEUE, &(struct trail_event){ .kind = TRAIL_DELIVERED, .at_ms = 3, .log_id = LOG_ID, .seq = 1, .account = CAROL,
		                                        .where = STR("Junk") });
	take(&p, ROLE_QUEUE, &(struct trail_event){ .kind = TRAIL_RECEIVED, .at_ms = 4, .log_id = LOG_ID, .seq = 2, .n = 1,
		                                        .recipients = to });
	take(&p, ROLE_MX, &(struct trail_event){ .kind = TRAIL_REFUSED, .at_ms = 5, .account = CAROL, .text = STR("452 full") });

	find(&p, (struct trail_query){ .by = TRAIL_BY_TIME, .owner = BOB }, &a, &f);
	EXPECT_INT(f.n, 2);
	EXPECT_INT(f.messages[0].n, 3);                      /* he sent it: all of it … */
	EXPECT_STR(f.messages[0].events[1].where, "INBOX");
	EXPECT_STR(f.messages[0].events[2].where, "");       /* … but not where others keep it */
	find(&p, (struct trail_query){ .by = TRAIL_BY_TIME, .owner = CAROL }, &a, &f);
	EXPECT_INT(f.n, 2);
	EXPECT_INT(f.messages[0].n, 2);
	EXPECT_INT(f.messages[0].events[0].n, 1);            /* nobody but herself */
	EXPECT_STR(f.messages[0].events[0].recipients[0].address, "carol@example.org");
	EXPECT_STR(f.messages[0].events[1].where, "Junk");
	EXPECT_INT(f.messages[1].events[0].kind, TRAIL_REFUSED);
	find(&p, (struct trail_query){ .by = TRAIL_BY_NAME, .log_id_high = HIGH, .seq = 2, .owner = CAROL }, &a, &f);
	EXPECT_INT(f.n, 0);
	find(&p, (struct trail_query){ .by = TRAIL_BY_TIME, .owner = 9 }, &a, &f);
	EXPECT_INT(f.n, 0);
	end(&p);
}

static size_t count(struct place *p)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct trail_found f;

	find(p, (struct trail_query){ .by = TRAIL_BY_TIME, .max = 1000 }, &a, &f);
	return f.n;
}

TEST(the_old_is_forgotten)
{
	struct place p = { 0 };

	start(&p);
	clock_wall_offset(-40 * 86400);
	for (uint64_t seq = 0; seq < 600; seq++)  /* more than a block */
		pass(&p, seq, 0);
	EXPECT_OK(trail_store_write(p.t));
	clock_wall_offset(0);
	pass(&p, 1000, 0);
	EXPECT_INT(count(&p), 601);
	trail_store_limit(p.t, &(struct trail_limits){ .days = 30, .bytes = 1 << 30 });
	EXPECT_OK(trail_store_write(p.t));  /* closes the block that has been open for 40 days */
	trail_store_limit(p.t, &(struct trail_limits){ .days = 30, .bytes = 1 << 30 });
	EXPECT_OK(trail_store_write(p.t));
	EXPECT(count(&p) < 300);
	trail_store_limit(p.t, &(struct trail_limits){ .days = 0, .bytes = 1 << 30 });
	EXPECT_OK(trail_store_write(p.t));
	EXPECT_INT(count(&p), 0);
	pass(&p, 1, 0);
	EXPECT_INT(count(&p), 0);
	end(&p);
}

/* Strangers can have refusals noted: they push out older refusals, and no message. */
TEST(refusals_have_their_own_room)
{
	struct place p = { 0 };
	uint64_t total;

	start(&p);
	trail_store_limit(p.t, &(struct trail_limits){ .days = 30, .bytes = 4 << 20 });
	for (uint64_t seq = 0; seq < 500; seq++)
		pass(&p, seq, 1);
	for (int i = 0; i < 40000; i++) {
		take(&p, ROLE_MX, &(struct trail_event){ .kind = TRAIL_REFUSED, .at_ms = 2, .sender = STR("spam@example.com"),
			                                     .recipient = STR("info@example.org"), .text = STR("550 5.1.1 there is nobody") });
		if (i % 1000 == 0)
			EXPECT_OK(trail_store_write(p.t));
	}
	EXPECT_OK(trail_store_write(p.t));
	stop(&p);
	start(&p);
	CLEANUP(arena_free) struct arena a = { 0 };
	struct trail_found f;
	find(&p, (struct trail_query){ .by = TRAIL_BY_DOMAIN, .text = STR("example.net"), .max = 1000 }, &a, &f);
	EXPECT_INT(f.n, 500);
	CLEANUP(disk_close) struct disk_file *file = NULL;
	EXPECT_OK(disk_open(p.dir, "trail.db", DISK_READ, &file));
	EXPECT_OK(disk_size(file, &total));
	EXPECT(total < 4 << 20);
	end(&p);
}

TEST(malformed_notes)
{
	struct place p = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(TRAIL_EVENT_MAX);
	struct trail_event e = { .kind = TRAIL_DELIVERED, .log_id = LOG_ID, .seq = 1, .at_ms = 1 };

	start(&p);
	EXPECT_ERR(trail_store_take(p.t, ROLE_QUEUE, 0, STR("\1\1")), ERR_INVALID);
	trail_event_encode(&e, &b);
	EXPECT_ERR(trail_store_take(p.t, ROLE_MX, 0, buf_str(&b)), ERR_INVALID);
	EXPECT_INT(count(&p), 0);
	EXPECT_OK(trail_store_take(p.t, ROLE_QUEUE, 0, buf_str(&b)));
	EXPECT_INT(count(&p), 1);
	end(&p);
}

TEST(a_damaged_file_is_set_aside)
{
	struct place p = { 0 };
	CLEANUP(buf_free) struct buf junk = BUF(1 << 20);

	start(&p);
	pass(&p, 1, 1);
	stop(&p);
	for (int i = 0; i < 20000; i++)
		buf_add(&junk, STR("no database "));
	EXPECT_OK(disk_dir_open(p.path, &p.dir));
	EXPECT_OK(disk_write_file(p.dir, "trail.db", buf_str(&junk)));
	EXPECT_OK(disk_remove(p.dir, "trail.db-wal"));
	disk_dir_close(&p.dir);
	start(&p);
	EXPECT(disk_exists(p.dir, "trail.db.damaged"));
	pass(&p, 2, 1);
	EXPECT_INT(count(&p), 1);
	end(&p);
}
