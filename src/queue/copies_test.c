/* What is written to a group reaches each member once: when there is no room for it, when the write is cut anywhere, and when members come
 * and go meanwhile. */
#include "queue/directory_test.h"
#include <endian.h>
#include <fcntl.h>

static struct channel *keys;

static unsigned signs;
static bool has_keys;

static void on_sign(UNUSED void *context, struct channel *ch, struct message *m)
{
	signs++;
	channel_reply(ch, m->call, has_keys ? ERR_OK : ERR_NOTFOUND, has_keys ? STR("DKIM-Signature: x\r\n") : STR(""), NULL, 0);
}
static const struct channel_handler keys_without_keys[] = { { REQUEST_DKIM_SIGN, on_sign }, { 0 } };

/* What is sent to members elsewhere wants to be signed. */
static void start_keys(struct world *w)
{
	int pair[2];

	world_pair(pair);
	queue_keys(w->queue, pair[1]);
	channel_free(keys);
	keys = channel_new(pair[0], ROLE_KEYS, ROLE_QUEUE, keys_without_keys, w, NULL);
}

static bool with_keys(void)
{
	(void)channel_receive(keys);
	return true;
}

static struct directory_address at(const char *text, struct arena *a)
{
	struct directory_address x;

	EXPECT(directory_address_parse(str_of(text), a, &x));
	return x;
}

/* Accounts 1 to 3; in the group are 1, 2 and two people elsewhere. */
static struct world *open_world(void)
{
	static const char *const accounts[] = { "ann@ours.test", "bob@ours.test", "cleo@ours.test" };
	CLEANUP(arena_free) struct arena a = { 0 };
	struct world *w = begin();
	uint64_t account;

	open_directory(w);
	EACH(accounts, address)
		EXPECT_OK(account_add(directory, &(struct directory_address){ at(*address, &a).local, STR("ours.test") }, STR(""), false, &account));
	const struct directory_address team = at("team@ours.test", &a);
	const struct directory_address members[] = { at(accounts[0], &a), at(accounts[1], &a), at("x0@d0.example", &a), at("x1@d1.example", &a) };
	const struct directory_address old = at("old@ours.test", &a), older = at("older@ours.test", &a), away = at("x2@d2.example", &a);
	EXPECT_OK(name_add(directory, &team, NAME_GROUP, members, COUNT_OF(members)));
	EXPECT_OK(name_add(directory, &old, NAME_ALIAS, &away, 1));
	EXPECT_OK(name_add(directory, &older, NAME_ALIAS, &away, 1));
	publish(w);
	start_keys(w);
	return w;
}

static void close_world(struct world *w)
{
	channel_free(keys);
	keys = NULL;
	world_free(w);
	close_directory();
}

static unsigned reports;

static bool tell(UNUSED void *context, UNUSED const struct report *r, struct buf *body, enum envelope_body *type, bool *smtputf8)
{
	reports++;
	buf_add_cstr(body, "Subject: 9\r\nFrom: postmaster@ours.test\r\n\r\n");
	*type = ENVELOPE_7BIT;
	*smtputf8 = false;
	return true;
}

static void reopen(struct world *w)
{
	world_kill(w);
	world_open(w);
	publish(w);
	start_keys(w);
}

static void to_the_team(struct envelope *e) { e->recipients[0].address = STR("team@ours.test"); }
static void to_the_team_and_one(struct envelope *e)
{
	to_the_team(e);
	e->recipients[1].address = STR("bob@ours.test");
}

static size_t elsewhere(const struct world *w, uint32_t number) { return w->net.got[number][0] * 10u + w->net.got[number][1]; }

TEST(each_member_once)
{
	static const size_t sizes[] = { 100, 30000, 3 << 20 };   /* beside the envelope, in a record, in files */
	const uint64_t nobody[] = { 0, 0 };
	struct world *w = open_world();
	uint32_t number = 0;

	EACH(sizes, size) {
		w->dress = number % 2 ? to_the_team : to_the_team_and_one;
		world_add(w, number, nobody, number % 2 ? 1 : 2, *size);
		WORLD_UNTIL(w, with_keys() && w->accepted == number + 1u && elsewhere(w, number) == 11 && world_count(w, 1, number) == 1);
		EXPECT_INT(world_count(w, 2, number), 1);   /* also who is named beside it */
		number++;
	}
	WORLD_UNTIL(w, with_keys() && backlog(w) == 0);
	w->dress = to_the_team;
	world_add(w, number, nobody, 1, 3 << 20);   /* the end comes while its files are written */
	world_rounds(w, 1);
	close_world(w);
}

/* A message that finds no room reaches nobody, so whoever sends it again doubles nothing. Of all sizes: where one copy would find room, and the
 * next would not. */
TEST(what_is_refused_reached_nobody)
{
	enum { REFUSED = 12, MOST = 200 };
	const uint64_t nobody[] = { 0 };
	struct world *w = open_world();
	size_t sizes[MOST], n = 0;

	w->dress = to_the_team;
	w->wakes = false;
	world_stop_net(w);
	while (w->refused < REFUSED && n < MOST) {   /* nobody takes anything: the ring fills up */
		sizes[n] = 2000 + n * 37 % 29 * 5000;
		world_add(w, (uint32_t)n, nobody, 1, sizes[n]);
		n++;
		WORLD_UNTIL(w, with_keys() && w->answered == n);
	}
	EXPECT(w->accepted >= REFUSED && w->refused == REFUSED);
	w->wakes = true;
	world_start_net(w);
	for (uint32_t i = 0; i < n; i++)
		while (!w->is_acked[i]) {
			size_t answered = w->answered;
			world_add(w, i, nobody, 1, sizes[i]);
			WORLD_UNTIL(w, with_keys() && w->answered == answered + 1);
			world_rounds(w, 3);
		}
	for (uint32_t i = 0; i < n; i++)
		WORLD_UNTIL(w, with_keys() && elsewhere(w, i) == 11 && world_count(w, 1, i) == 1 && world_count(w, 2, i) == 1);
	close_world(w);
}

static struct str in_the_way;

/* Adds one whose header says that. */
static void post(struct world *w, uint32_t number, struct envelope_recipient *r, size_t n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct world_add *context = MEM_NEW(struct world_add);
	const struct envelope e = { .source = ENVELOPE_MX, .sender = STR("cleo@ours.test"), .is_authenticated = true, .body = ENVELOPE_7BIT,
		                        .received = clock_wall_s(), .n = n, .recipients = r };
	const struct queue_body body = { .bytes = arena_printf(&a, "Subject: %u\r\n" STR_FMT "\r\ntext\r\n", number, STR_ARG(in_the_way)) };

	*context = (struct world_add){ w, number };
	EXPECT_OK(queue_add_ask(w->mx, &e, &body, world_added, context));
}

/* A group that must not send it on is no recipient: nobody is told that it has. */
TEST(what_is_not_sent_on)
{
	static const char *const fields[] = { "List-Id: x <team.ours.test>\r\n", "Auto-Submitted: auto-replied\r\n" };
	struct world *w = open_world();
	struct envelope_recipient r[] = { { .address = STR("team@ours.test"), .notify = ENVELOPE_NOTIFY_SUCCESS }, { .address = STR("bob@ours.test") } };
	uint32_t number = 0;

	reports = 0;
	w->report = tell;
	reopen(w);
	EACH(fields, field) {
		size_t refused = w->refused;
		in_the_way = str_of(*field);
		post(w, number, r, 2);
		WORLD_UNTIL(w, with_keys() && world_count(w, 2, number) == 1 && backlog(w) == 0);
		EXPECT(elsewhere(w, number) == 0 && world_count(w, 1, number) == 0);
		post(w, ++number, r, 1);   /* for it alone: refused */
		WORLD_UNTIL(w, with_keys() && w->refused == refused + 1);
		number++;
	}
	clock_wall_offset(20);
	world_rounds(w, 200);
	EXPECT_INT(reports, 0);
	clock_wall_offset(0);
	close_world(w);
}

/* An alias that leads to a server that sends it back: it is known at its first return, by whatever spelling. */
TEST(a_circle_of_forwarding)
{
	static char mark[sizeof ((struct fake_net *)0)->prefix];
	struct world *w = open_world();
	struct envelope_recipient r[] = { { .address = STR("Old@ours.test") }, { .address = STR("bob@ours.test") } };

	in_the_way = STR("");
	post(w, 1, r, 1);
	WORLD_UNTIL(w, with_keys() && w->net.got[1][2] == 1);
	memcpy(mark, w->net.prefix, sizeof mark);
	EXPECT(str_starts(str_of(mark), STR("X-Facteur-Forwarded: ")) && str_find(str_of(mark), STR("old")) < 0);
	in_the_way = str_of(mark);
	r[0].address = STR("old@OURS.test");
	r[0].orcpt = STR("rfc822;x2@d2.example");   /* as the server there says it */
	post(w, 2, r, 1);
	WORLD_UNTIL(w, with_keys() && w->refused == 1);
	post(w, 3, r, 2);                           /* others get it */
	WORLD_UNTIL(w, with_keys() && world_count(w, 2, 3) == 1 && backlog(w) == 0);
	r[0] = (struct envelope_recipient){ .address = STR("older@ours.test") };   /* another alias on its way is no circle */
	post(w, 4, r, 1);
	WORLD_UNTIL(w, with_keys() && w->net.got[4][2] == 1);
	EXPECT(w->net.got[2][2] + w->net.got[3][2] == 0 && strcmp(mark, w->net.prefix) != 0);
	close_world(w);
}

/* Zeros in the place of the last messages of the log, as if they had never come to the disk; those up to this number stay, and so does what a note
 * stands behind, which was durable before it. */
static void cut(struct world *w, size_t n, uint64_t stays)
{
	enum { SEQ_AT = 8, KIND_AT = 24 };
	uint32_t size = w->ring.segment_bytes;
	char *text = mem_alloc(size), name[32];
	int dir = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	EXPECT(snprintf(name, sizeof name, "log/00") > 0);
	int fd = openat(dir, name, O_RDWR | O_CLOEXEC);
	EXPECT(fd >= 0 && pread(fd, text, size, 0) == (ssize_t)size);
	while (n > 0) {
		struct str rest = str_make(text, size);
		ptrdiff_t last = -1, next;
		uint64_t seq;
		for (size_t from = 0; (next = str_find(str_from(rest, from), STR("FLG1"))) >= 0; from += (size_t)next + 4)
			last = (ptrdiff_t)from + next;
		EXPECT(last >= 0);
		memcpy(&seq, text + last + SEQ_AT, sizeof seq);
		if (le64toh(seq) <= stays || text[last + KIND_AT] == LOG_DONE)
			break;
		n -= text[last + KIND_AT] == LOG_MESSAGE;   /* behind them a W may stand */
		memset(text + last, 0, size - (size_t)last);
	}
	EXPECT(pwrite(fd, text, size, 0) == (ssize_t)size);
	close(fd);
	close(dir);
	mem_free(text);
}

static void change_members(bool leaves)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const struct directory_address team = at("team@ours.test", &a), bob = at("bob@ours.test", &a), cleo = at("cleo@ours.test", &a);

	if (leaves)
		EXPECT_OK(name_targets_remove(directory, &team, &bob, 1, &(size_t){ 0 }));
	EXPECT_OK(name_targets_add(directory, &team, &cleo, 1));
}

/* Cut behind the message, or between its copies: a restart makes up what is missing, for each who has got nothing. */
TEST(a_write_that_is_cut)
{
	static const struct { size_t cut; bool changes; size_t bob, cleo; } cases[] = {
		{ 0, false, 1, 0 },
		{ 0, true, 1, 0 },     /* all of it is there: who joins later is too late */
		{ 1, false, 1, 0 },    /* members elsewhere are missing */
		{ 1, true, 1, 1 },     /* he has got it before he left; she was not there when it came, and may have it */
		{ 2, false, 1, 0 },
		{ 2, true, 0, 1 },
	};
	const uint64_t nobody[] = { 0 };

	EACH(cases, c) {
		struct world *w = open_world();
		w->dress = to_the_team;
		w->wakes = false;
		world_stop_net(w);
		world_add(w, 1, nobody, 1, 3000);
		WORLD_UNTIL(w, with_keys() && w->accepted == 1);
		world_kill(w);
		cut(w, c->cut, 0);
		if (c->changes)
			change_members(c->bob == 0 || c->cut == 1);
		world_open(w);
		publish(w);
		start_keys(w);
		w->wakes = true;
		WORLD_UNTIL(w, with_keys() && elsewhere(w, 1) == 11 && world_count(w, 1, 1) == 1 && backlog(w) == 0);
		EXPECT_INT(world_count(w, 2, 1), c->bob);
		EXPECT_INT(world_count(w, 3, 1), c->cleo);
		reopen(w);     /* and a second time: nothing more */
		world_add(w, 2, nobody, 1, 3000);
		WORLD_UNTIL(w, with_keys() && w->accepted == 2 && elsewhere(w, 2) == 11 && backlog(w) == 0);
		EXPECT(elsewhere(w, 1) == 11 && world_count(w, 1, 1) == 1 && world_count(w, 2, 1) == c->bob);
		close_world(w);
	}
}

static void asks_for_success(struct envelope *e)
{
	to_the_team(e);
	e->sender = STR("cleo@ours.test");
	e->is_authenticated = true;
	e->recipients[0].notify = ENVELOPE_NOTIFY_SUCCESS;
}

TEST(its_author_is_told_once)
{
	const uint64_t nobody[] = { 0 };
	struct world *w = open_world();

	reports = 0;
	w->report = tell;
	w->dress = asks_for_success;
	reopen(w);
	world_add(w, 1, nobody, 1, 1200000);
	WORLD_UNTIL(w, with_keys() && elsewhere(w, 1) == 11);
	clock_wall_offset(10);
	WORLD_UNTIL(w, with_keys() && world_count(w, 3, 9) == 1);
	reopen(w);
	clock_wall_offset(20);
	world_add(w, 2, nobody, 1, 3000);
	WORLD_UNTIL(w, with_keys() && world_count(w, 3, 9) == 2);
	EXPECT_INT(reports, 2);
	clock_wall_offset(0);
	close_world(w);
}

/* A minute in each round: whatever waits falls due. */
static bool later(void)
{
	static int64_t offset;

	clock_wall_offset(offset += 60);
	return true;
}

/* How a member leaves is signed with the rest; where that has changed a kept signature would be wrong. */
TEST(a_signature_over_other_fields_is_made_anew)
{
	const uint64_t nobody[] = { 0 };
	struct world *w = open_world();

	signs = 0;
	has_keys = true;
	w->dress = to_the_team;
	w->net.defers = true;
	world_add(w, 1, nobody, 1, 100);
	WORLD_UNTIL(w, with_keys() && late(w).waiting == 2);
	EXPECT_INT(signs, 2);
	WORLD_UNTIL(w, with_keys() && later() && w->net.sends >= 4 && open_connections(w) == 0);
	EXPECT_INT(signs, 2);
	EXPECT_OK(group_set(directory, STR("team@ours.test"), &(struct directory_group){ .may_leave = true }));
	publish(w);
	w->net.defers = false;
	WORLD_UNTIL(w, with_keys() && later() && elsewhere(w, 1) == 11);
	EXPECT_INT(signs, 4);
	has_keys = false;
	clock_wall_offset(0);
	close_world(w);
}

static void to_all(struct envelope *e) { e->recipients[0].address = STR("all@ours.test"); }

/* Everybody may leave the group itself, but its members are in it by way of the team. */
TEST(who_may_not_leave_is_not_asked_to)
{
	static const bool cases[] = { false, true };
	CLEANUP(arena_free) struct arena a = { 0 };
	const uint64_t nobody[] = { 0 };
	struct world *w = open_world();
	const struct directory_address all = at("all@ours.test", &a), team = at("team@ours.test", &a);
	uint32_t number = 0;

	EXPECT_OK(name_add(directory, &all, NAME_GROUP, &team, 1));
	EXPECT_OK(group_set(directory, STR("all@ours.test"), &(struct directory_group){ .may_leave = true }));
	w->dress = to_all;
	EACH(cases, may_leave) {
		EXPECT_OK(group_set(directory, STR("team@ours.test"), &(struct directory_group){ .may_leave = *may_leave }));
		publish(w);
		world_add(w, number, nobody, 1, 100);
		WORLD_UNTIL(w, with_keys() && elsewhere(w, number) == 11 && world_count(w, 1, number) == 1);
		EXPECT_INT(strstr(w->net.prefix, "List-Unsubscribe") != NULL, *may_leave);
		number++;
	}
	close_world(w);
}

/* ---------------------------------------------------------------------------------------------------------------- lives */

enum { LIFE_MESSAGES = 40 };
static unsigned seed;

static unsigned pick(unsigned below) { return (unsigned)rand_r(&seed) % below; }

/* What may be told of them, or do something, has not happened yet: they may be lost. */
static bool is_unheard(const struct world *w, size_t answered, uint32_t from, uint32_t to)
{
	bool is_unheard = w->answered == answered;

	for (uint32_t i = from; i < to; i++)
		is_unheard = is_unheard && elsewhere(w, i) == 0 && world_count(w, 1, i) == 0 && world_count(w, 2, i) == 0;
	return is_unheard;
}

static void rounds(struct world *w, unsigned n)
{
	for (; n > 0; n--) {
		world_rounds(w, 1);
		(void)with_keys();
	}
}

/* Some messages at once; then often a kill, with a part of what was being written lost; or net dies. */
static uint32_t live_on(struct world *w, uint32_t from)
{
	static const size_t sizes[] = { 100, 3000, 9000, 1200000 };
	const uint64_t nobody[] = { 0, 0 };
	uint64_t before = log_last_seq(w->queue->log);
	size_t answered = w->answered, of_group = 1 + pick(2);
	uint32_t n = from;
	unsigned what = pick(10);

	w->dress = of_group == 1 ? to_the_team : to_the_team_and_one;
	for (unsigned left = 1 + pick(3); left > 0 && n < LIFE_MESSAGES; left--)
		world_add(w, n++, nobody, of_group, sizes[pick(10) == 0 ? 3 : pick(3)]);
	if (what >= 5) {
		rounds(w, pick(30));
	} else if (what >= 3) {
		w->net.dies_after = (int)pick(6);
		w->net.dies_before_answer = pick(2);
		rounds(w, pick(20));
		world_start_net(w);
	} else {
		rounds(w, 1 + pick(4));
		bool may_be_cut = before > 0 && is_unheard(w, answered, from, n);
		world_kill(w);
		cut(w, may_be_cut ? pick(9) : 0, before);
		world_open(w);
		publish(w);
		start_keys(w);
		world_start_net(w);
	}
	return n;
}

static bool is_over(struct world *w)
{
	return with_keys() && w->queue->adding == 0 && w->queue->unfinished.first == NULL && backlog(w) == 0 && (late(w).waiting == 0 || !later());
}

/* Each member once, or nobody; what was acknowledged, each. Elsewhere once more for each kill between a 250 and SENT. */
static void check_message(const struct world *w, uint32_t i)
{
	size_t got[] = { world_count(w, 1, i), world_count(w, 2, i), w->net.got[i][0], w->net.got[i][1] }, have = 0;
	const size_t most[] = { 1, 1, 1u + w->net.excused[i][0], 1u + w->net.excused[i][1] };

	for (size_t k = 0; k < COUNT_OF(got); k++) {
		EXPECT(got[k] <= most[k]);
		have += got[k] > 0;
	}
	EXPECT(have == COUNT_OF(got) || (have == 0 && !w->is_acked[i]));
}

TEST(random_lives_of_a_group)
{
	const char *wanted = getenv("SEED");

	for (unsigned life = 0; life < 2; life++) {
		struct world *w = open_world();
		seed = (wanted ? (unsigned)strtoul(wanted, NULL, 10) : 8) + life;
		for (uint32_t n = 0; n < LIFE_MESSAGES;)
			n = live_on(w, n);
		w->net.dies_after = -1;
		world_start_net(w);
		WORLD_UNTIL(w, is_over(w));
		for (uint32_t i = 0; i < LIFE_MESSAGES; i++)
			check_message(w, i);
		clock_wall_offset(0);
		close_world(w);
	}
}
