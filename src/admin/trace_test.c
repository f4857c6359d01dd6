/* What `facteur trace` says of a message, on a data folder without a server: how it stands, and the words for what happened. */
#include "admin/offline.h"
#include "admin/wire.h"
#include "base/mem.h"
#include "base/test.h"
#include "trail/store.h"
#include <stdio.h>

#define LOG_ID 0x3f2a9c0100000000ULL

static bool collect(void *context, struct str message)
{
	CLEANUP(admin_json_free) json_t *value = admin_json_read(message);
	json_t **rows = context;

	EXPECT(value != NULL);
	if (json_object_get(value, "rows") != NULL)
		json_array_extend(*rows, json_object_get(value, "rows"));
	return true;
}

/* Whoever runs the tests keeps his user: the system users need not exist. */
static const char *make_folder(void)
{
	const char *folder = test_dir();
	char path[300];
	FILE *f;

	snprintf(path, sizeof path, "%s/facteur.conf", folder);
	f = fopen(path, "we");
	EXPECT(f != NULL && fputs("user = root\ncell_user = root\n", f) >= 0 && fclose(f) == 0);
	return folder;
}

/* The events of one message, written as control would. */
static void write_trail(const char *folder, const struct trail_event *events, size_t n)
{
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
	CLEANUP(buf_free) struct buf b = BUF(1 << 20);
	struct trail_store *t;
	char path[300];

	snprintf(path, sizeof path, "%s/control", folder);
	EXPECT_OK(disk_dir_open(path, &dir));
	EXPECT_OK(trail_store_open(dir, &t));
	for (size_t i = 0; i < n; i++)
		trail_event_encode(&events[i], &b);
	EXPECT_OK(trail_store_take(t, ROLE_QUEUE, 0, buf_str(&b)));
	trail_store_close(t);
}

static json_t *trace(struct admin_offline *o, const char *what, const char *lang)
{
	char request[300];
	json_t *rows = json_array();

	snprintf(request, sizeof request, "{\"command\":\"trace\",\"args\":{\"what\":\"%s\"},\"lang\":\"%s\"}", what, lang);
	admin_run(admin_offline_host(o), str_of(request), collect, &rows);
	return rows;
}

static struct str text(const json_t *o, const char *key) { return str_of(json_string_value(json_object_get(o, key))); }

static const struct trail_recipient two[] = { { { "bob@x.test", 10 }, 0 }, { { "eve@y.test", 10 }, 0 } };
static const struct trail_recipient ann = { { "ann@z.test", 10 }, 0 };
#define E(what, seq_, ...) { .kind = (what), .at_ms = 1000, .log_id = LOG_ID, .seq = (seq_), __VA_ARGS__ }
#define RECEIVED(seq) E(TRAIL_RECEIVED, seq, .source = 1, .sender = STR("ann@z.test"), .peer = STR("z [192.0.2.1]"), .n = 2, .count = 2, .recipients = two)
#define BOB .recipient = STR("bob@x.test")
#define EVE .recipient = STR("eve@y.test")

TEST(how_it_stands)
{
	static const struct { struct trail_event events[5]; const char *state; } cases[] = {
		{ { RECEIVED(1) }, "waiting" },
		{ { RECEIVED(2), E(TRAIL_SENT, 2, BOB), E(TRAIL_SENT, 2, EVE) }, "delivered" },
		{ { RECEIVED(3), E(TRAIL_SENT, 3, BOB) }, "waiting" },                                /* eve has nothing yet */
		{ { RECEIVED(4), E(TRAIL_DEFERRED, 4, BOB), E(TRAIL_SENT, 4, BOB), E(TRAIL_SENT, 4, EVE) }, "delivered" },
		{ { RECEIVED(5), E(TRAIL_FAILED, 5, BOB), E(TRAIL_EXPIRED, 5, EVE) }, "failed" },
		{ { RECEIVED(6), E(TRAIL_FAILED, 6, BOB), E(TRAIL_SENT, 6, EVE) }, "partly failed" },
		{ { RECEIVED(7), E(TRAIL_SENT, 7, BOB), E(TRAIL_HELD, 7) }, "held" },
		{ { RECEIVED(8), E(TRAIL_HELD, 8), E(TRAIL_RELEASED, 8) }, "waiting" },
		{ { RECEIVED(9), E(TRAIL_ATTEMPT, 9, .peer = STR("mx")), E(TRAIL_REMOVED, 9) }, "removed" },
		{ { E(TRAIL_SENT, 10, BOB) }, "delivered" },                                          /* its beginning was lost */
	};
	struct admin_offline *o;
	const char *folder = make_folder();

	admin_json_setup();
	EXPECT_OK(admin_offline_open(folder, &o));
	EACH(cases, c) {
		size_t n = 0;
		char name[40];
		while (n < COUNT_OF(c->events) && c->events[n].kind != 0)
			n++;
		write_trail(folder, c->events, n);
		snprintf(name, sizeof name, "3f2a9c01-%llu", (unsigned long long)c->events[0].seq);
		CLEANUP(admin_json_free) json_t *rows = trace(o, name, "en");
		EXPECT_INT(json_array_size(rows), 1);
		EXPECT_STR(text(json_array_get(rows, 0), "state"), c->state);
	}
	admin_offline_close(o);
	test_dir_remove(folder);
}

/* ---- the queue */

struct fake_queue { enum err show, counters; uint32_t held; uint64_t w; size_t asked; };
static struct fake_queue fake;

static enum err ask_fake(UNUSED void *context, const struct queue_command *c, struct arena *a, struct queue_answer *out)
{
	fake.asked++;
	*out = (struct queue_answer){ .kind = c->kind, .counters = { .log_id = LOG_ID, .w = fake.w }, .messages = ARENA_NEW(a, struct queue_listed) };
	out->messages->held = fake.held;
	return c->kind == QUEUE_COUNTERS ? fake.counters : fake.show;
}

/* Of what should still wait: noted was that it came (1), that it is held (2), that a host was tried (3). */
TEST(the_queue_knows_what_was_not_noted)
{
	static const struct trail_event came[] = { RECEIVED(1) }, held[] = { RECEIVED(2), E(TRAIL_HELD, 2) }, tried[] = { E(TRAIL_ATTEMPT, 3, .peer = STR("mx")) },
		done[] = { RECEIVED(4), E(TRAIL_SENT, 4, BOB), E(TRAIL_SENT, 4, EVE) };
	static const struct { const char *what; struct fake_queue queue; const char *state; size_t asked; } cases[] = {
		{ "3f2a9c01-1", { .w = 9 },                                                    "waiting", 2 },
		{ "3f2a9c01-1", { .w = 9, .held = 1 },                                         "held",    2 },
		{ "3f2a9c01-1", { .w = 9, .show = ERR_NOTFOUND },                              "unclear", 2 },
		{ "3f2a9c01-1", { .w = 0, .show = ERR_NOTFOUND },                              "waiting", 2 },  /* still in the log */
		{ "3f2a9c01-2", { .w = 9, .show = ERR_NOTFOUND },                              "unclear", 2 },
		{ "3f2a9c01-2", { .w = 9 },                                                    "waiting", 2 },  /* released since */
		{ "3f2a9c01-3", { .w = 9, .show = ERR_NOTFOUND },                              "unclear", 2 },
		{ "3f2a9c01-4", { .w = 9 },                                                    "delivered", 0 },
		{ "ann@z.test", { .counters = ERR_TIMEOUT, .show = ERR_TIMEOUT },              "waiting", 1 },  /* asked once, of three */
	};
	struct admin_offline *o;
	const char *folder = make_folder();

	admin_json_setup();
	EXPECT_OK(admin_offline_open(folder, &o));
	write_trail(folder, came, COUNT_OF(came));
	write_trail(folder, held, COUNT_OF(held));
	write_trail(folder, tried, COUNT_OF(tried));
	write_trail(folder, done, COUNT_OF(done));
	EACH(cases, c) {
		struct admin_host host = *admin_offline_host(o);
		char request[300];
		CLEANUP(admin_json_free) json_t *rows = json_array();
		host.queue = ask_fake;
		fake = c->queue;
		snprintf(request, sizeof request, "{\"command\":\"trace\",\"args\":{\"what\":\"%s\"},\"lang\":\"en\"}", c->what);
		admin_run(&host, str_of(request), collect, &rows);
		const json_t *first = json_array_get(rows, 0);
		EXPECT_STR(text(first, "state"), c->state);
		EXPECT_INT(text(first, "explanation").n > 0, strcmp(c->state, "unclear") == 0);
		EXPECT_INT(fake.asked, c->asked);
	}
	admin_offline_close(o);
	test_dir_remove(folder);
}

TEST(sent_twice_is_said)
{
	static const struct trail_event events[] = {
		RECEIVED(1), E(TRAIL_SENT, 1, BOB), E(TRAIL_SENT, 1, EVE), { .kind = TRAIL_SENT, .at_ms = 2000, .log_id = LOG_ID, .seq = 1, BOB },
	};
	struct admin_offline *o;
	const char *folder = make_folder();

	admin_json_setup();
	EXPECT_OK(admin_offline_open(folder, &o));
	write_trail(folder, events, COUNT_OF(events));
	CLEANUP(admin_json_free) json_t *rows = trace(o, "3f2a9c01-1", "en");
	const json_t *list = json_object_get(json_array_get(rows, 0), "events");
	for (size_t i = 0; i < COUNT_OF(events); i++)
		EXPECT_INT(json_object_get(json_array_get(list, i), "explanation") != NULL, i == 3);
	EXPECT(str_starts(text(json_array_get(list, 3), "explanation"), STR("it was sent twice")));
	admin_offline_close(o);
	test_dir_remove(folder);
}

TEST(by_the_id_in_received)
{
	static const struct trail_event events[] = {
		{ .kind = TRAIL_RECEIVED, .at_ms = 1000, .log_id = LOG_ID, .seq = 1, .source = 2, .received_id = STR("0a1b2c3d4e.1") },
		{ .kind = TRAIL_RECEIVED, .at_ms = 1000, .log_id = LOG_ID, .seq = 2, .source = 2, .received_id = STR("0a1b2c3d4e.2") },
	};
	static const struct { const char *what; size_t n; } cases[] = {
		{ "0a1b2c3d4e.2", 1 }, { "0A1B2C3D4E.1", 1 }, { "0a1b2c3d4e.3", 0 }, { "0a1b2c3d.2", 0 }, { "0a1b2c3d4e.2.example.org", 0 },
	};
	struct admin_offline *o;
	const char *folder = make_folder();

	admin_json_setup();
	EXPECT_OK(admin_offline_open(folder, &o));
	write_trail(folder, events, COUNT_OF(events));
	EACH(cases, c) {
		CLEANUP(admin_json_free) json_t *rows = trace(o, c->what, "en");
		EXPECT_INT(json_array_size(rows), c->n);
	}
	admin_offline_close(o);
	test_dir_remove(folder);
}

TEST(what_happened_in_words)
{
	static const struct trail_event events[] = {
		RECEIVED(1),
		E(TRAIL_ATTEMPT, 1, .peer = STR("mx1.x.test [192.0.2.7]"), .text = STR("connection refused")),
		E(TRAIL_DEFERRED, 1, BOB, .peer = STR("mx2.x.test [192.0.2.8]"), .status = STR("4.7.28"), .due = 2000, .count = 1,
		  .text = STR("421-4.7.28 unusual rate\n421 4.7.28 of mail")),
		E(TRAIL_SENT, 1, EVE, .peer = STR("mx.y.test [192.0.2.9]"), .status = STR("2.0.0"), .text = STR("250 ok"), .tls = STR("TLSv1.3")),
		E(TRAIL_FAILED, 1, BOB, .peer = STR("mx2.x.test [192.0.2.8]"), .status = STR("5.1.1"), .text = STR("550 5.1.1 no such user")),
		{ .kind = TRAIL_RECEIVED, .at_ms = 1000, .log_id = LOG_ID, .seq = 2, .parent_log_id = LOG_ID, .parent_seq = 1, .source = 4,
		  .n = 1, .count = 1, .recipients = &ann },
		{ .kind = TRAIL_WAITS, .at_ms = 1000, .log_id = LOG_ID, .seq = 1, .due = 3000, .text = STR("slowed") },
		{ .kind = TRAIL_WAITS, .at_ms = 1000, .log_id = LOG_ID, .seq = 1, .due = 3000, .text = STR("slowed") },  /* again, after a crash */
	};
	static const char *const sentences[][2] = {
		{ "received from z [192.0.2.1]", "reçu de z [192.0.2.1]" },
		{ "tried mx1.x.test [192.0.2.7]: “connection refused”", "essayé mx1.x.test [192.0.2.7] : « connection refused »" },
		{ "mx2.x.test [192.0.2.8] does not take it for bob@x.test yet: “421-4.7.28 unusual rate 421 4.7.28 of mail”",
		  "mx2.x.test [192.0.2.8] ne le prend pas encore pour bob@x.test : « 421-4.7.28 unusual rate 421 4.7.28 of mail »" },
		{ "sent on for eve@y.test: mx.y.test [192.0.2.9] has taken it, saying “250 ok” (encrypted: TLSv1.3)",
		  "transmis pour eve@y.test : mx.y.test [192.0.2.9] l'a pris, en disant « 250 ok » (chiffré : TLSv1.3)" },
		{ "mx2.x.test [192.0.2.8] refuses it for bob@x.test: “550 5.1.1 no such user”",
		  "mx2.x.test [192.0.2.8] le refuse pour bob@x.test : « 550 5.1.1 no such user »" },
		{ "ann@z.test was told so, with message 3f2a9c01-2", "ann@z.test en a été averti, par le message 3f2a9c01-2" },
		{ "it does not leave at once: this account has sent more within an hour than `submit_recipients_per_hour` lets go",
		  "il ne part pas tout de suite : ce compte a envoyé plus en une heure que `submit_recipients_per_hour` n'en laisse partir" },
	};
	struct admin_offline *o;
	const char *folder = make_folder();

	admin_json_setup();
	EXPECT_OK(admin_offline_open(folder, &o));
	write_trail(folder, events, COUNT_OF(events));
	for (int lang = 0; lang < 2; lang++) {
		CLEANUP(admin_json_free) json_t *rows = trace(o, "3f2a9c01-1", lang ? "fr" : "en");
		const json_t *list = json_object_get(json_array_get(rows, 0), "events");
		EXPECT_INT(json_array_size(list), COUNT_OF(sentences));
		for (size_t i = 0; i < COUNT_OF(sentences); i++)
			EXPECT_STR(text(json_array_get(list, i), "sentence"), sentences[i][lang]);
		const json_t *deferred = json_array_get(list, 2), *failed = json_array_get(list, 4);
		EXPECT(text(deferred, "explanation").n > 20 && text(deferred, "next_step").n > 10);
		EXPECT(text(failed, "explanation").n > 20 && text(failed, "next_step").n > 10);
		EXPECT_INT(json_integer_value(json_object_get(deferred, "next_try")), 2000);
		EXPECT_STR(text(deferred, "reply"), "421-4.7.28 unusual rate\n421 4.7.28 of mail");  /* word for word */
	}
	admin_offline_close(o);
	test_dir_remove(folder);
}
