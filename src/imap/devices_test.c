/* Several devices on one mailbox, each with its own idea of what is in it, built from nothing but what the server says: EXISTS,
 * EXPUNGE, VANISHED, FETCH. They change flags, remove, move, append, idle, are parked, rendered and attached again, at random. From
 * time to time all of them say NOOP; then each idea must be what a fresh SELECT shows. No client stays wrong about a message.
 *
 * FACTEUR_SEED=n repeats a run. */
#include "base/mem.h"
#include "base/test.h"
#include "imap/engine.h"
#include "store/view.h"
#include "submit/account.h"
#include <stdlib.h>

enum { DEVICES = 4, MESSAGES_MAX = 400, STEPS = 1500, CHECK_EVERY = 60, KEEP = 60 };

struct known {
	uint32_t uid;          /* 0: announced by EXISTS, not asked for yet */
	char     flags[160];   /* as the server writes them; "" with uid 0 */
};

struct device {
	struct session *s;
	void           *state;
	struct buf      out, record;
	bool            is_qresync, is_idle;
	struct known    list[MESSAGES_MAX];
	size_t          n;
};

struct world {
	struct account account;
	struct device  devices[DEVICES];
	struct arena   arena;
	uint64_t       random;
	unsigned       seed, step;
	char           did[8][120];     /* the last things that happened */
};

static uint32_t pick(struct world *w, uint32_t below)
{
	w->random = w->random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(w->random >> 33) % below;
}

static void fail_here(struct world *w, const struct device *d, const char *what, struct str detail)
{
	print_error("FACTEUR_SEED=%u step %u device %d: %s: " STR_FMT "\n", w->seed, w->step, (int)(d - w->devices), what, STR_ARG(detail));
	for (unsigned i = 0; i < COUNT_OF(w->did); i++)
		print_error("  %s\n", w->did[(w->step + 1 + i) % COUNT_OF(w->did)]);
	fail();
}

static void note(struct world *w, const struct device *d, struct str what)
{
	snprintf(w->did[w->step % COUNT_OF(w->did)], sizeof w->did[0], "%u: device %d%s%s: " STR_FMT, w->step, (int)(d - w->devices),
	         d->is_qresync ? " (qresync)" : "", d->is_idle ? " (idle)" : "", STR_ARG(str_sub(what, 0, 70)));
}

/* ---- what a client makes of the answers ---- */

static void forget(struct device *d, size_t at)
{
	memmove(&d->list[at], &d->list[at + 1], (d->n - at - 1) * sizeof *d->list);
	d->n--;
}

/* UIDs ascend, so one that was announced and never asked for lies between two known ones. */
static size_t where_is(const struct device *d, uint32_t uid)
{
	size_t unknown = d->n;

	for (size_t i = 0; i < d->n; i++) {
		if (d->list[i].uid == uid)
			return i;
		if (d->list[i].uid > uid)
			break;
		unknown = d->list[i].uid == 0 ? i : d->n;
	}
	return unknown;
}

static void heard_vanished(struct world *w, struct device *d, struct str set)
{
	struct uid_set uids = { 0 };
	struct scan s = scan_of(set);

	EXPECT(!str_starts(set, STR("(EARLIER)")));
	do {
		uint32_t first = scan_u32(&s), last = scan_take(&s, ':') ? scan_u32(&s) : first;
		uid_set_add(&uids, &w->arena, first, last);
	} while (scan_take(&s, ','));
	EXPECT(!s.failed && scan_done(&s));
	for (size_t r = 0; r < uids.n; r++) {
		for (uint64_t uid = uids.r[r].first; uid <= uids.r[r].last; uid++) {
			size_t at = where_is(d, (uint32_t)uid);
			if (at == d->n)
				fail_here(w, d, "VANISHED of a message that was never there", set);
			forget(d, at);
		}
	}
}

/* "n FETCH (UID u FLAGS (…) …)", items in any order; others are skipped */
static void heard_fetch(struct world *w, struct device *d, uint32_t seq, struct str items)
{
	ptrdiff_t uid_at = str_find(items, STR("UID ")), flags_at = str_find(items, STR("FLAGS ("));
	struct known *m;

	if (seq == 0 || seq > d->n)
		fail_here(w, d, "FETCH of a number that was never announced", items);
	m = &d->list[seq - 1];
	if (uid_at >= 0) {
		struct scan s = scan_of(str_from(items, (size_t)uid_at + 4));
		uint32_t uid = scan_u32(&s);
		if (m->uid != 0 && m->uid != uid)
			fail_here(w, d, "FETCH of another message than the number means", items);
		m->uid = uid;
	}
	if (flags_at >= 0) {
		struct str flags = str_from(items, (size_t)flags_at + 7);
		str_cut(flags, ')', &flags, &(struct str){ 0 });
		snprintf(m->flags, sizeof m->flags, STR_FMT, STR_ARG(flags));
	}
}

static void heard(struct world *w, struct device *d, struct str line)
{
	struct scan s;
	uint32_t n;

	if (str_starts(line, STR("* VANISHED "))) {
		heard_vanished(w, d, str_from(line, 11));
		return;
	}
	if (!str_starts(line, STR("* ")) || line.n < 3 || !chr_digit(line.p[2]))
		return;
	s = scan_of(str_from(line, 2));
	n = scan_u32(&s);
	scan_need(&s, ' ');
	if (str_eq(scan_rest(&s), STR("EXPUNGE"))) {
		if (n == 0 || n > d->n)
			fail_here(w, d, "EXPUNGE of a number that was never announced", line);
		forget(d, n - 1);
	} else if (str_eq(scan_rest(&s), STR("EXISTS"))) {
		if (n < d->n || n > MESSAGES_MAX)
			fail_here(w, d, "EXISTS says fewer than EXPUNGE left", line);
		while (d->n < n)
			d->list[d->n++] = (struct known){ 0 };
	} else if (str_starts(scan_rest(&s), STR("FETCH ("))) {
		heard_fetch(w, d, n, str_from(scan_rest(&s), 7));
	}
}

static void listen(struct world *w, struct device *d)
{
	struct str all = buf_str(&d->out), line;

	while (str_cut(all, '\n', &line, &all))
		heard(w, d, str_trim(line));
	if (all.n > 0)
		fail_here(w, d, "half a line", all);
	buf_reset(&d->out);
}

/* ---- doing ---- */

static void attach(struct world *w, struct device *d)
{
	static const struct session_open info = { .protocol = PROTOCOL_IMAP };

	if (d->state != NULL)
		return;
	d->s = session_for_test(&info, STR(""), &d->out);
	d->state = imap_engine.resume(d->s, &w->account, buf_str(&d->record));
	if (d->state == NULL)
		fail_here(w, d, "cannot be attached again", buf_str(&d->out));
	listen(w, d);
}

static void send(struct world *w, struct device *d, struct str line)
{
	enum session_next next;

	attach(w, d);
	note(w, d, line);
	session_test_input(d->s, arena_printf(&w->arena, STR_FMT "\r\n", STR_ARG(line)));
	next = imap_engine.input(d->state);
	if (next == SESSION_CLOSE || str_find(buf_str(&d->out), STR(" BAD ")) >= 0)
		fail_here(w, d, "the server says", buf_str(&d->out));
	listen(w, d);
}

static void end_idle(struct world *w, struct device *d)
{
	if (!d->is_idle)
		return;
	d->is_idle = false;
	send(w, d, STR("DONE"));
}

static void command(struct world *w, struct device *d, struct str line)
{
	end_idle(w, d);
	send(w, d, line);
}

static void park(struct world *w, struct device *d)
{
	uint64_t modseq;

	if (d->state == NULL)
		return;
	note(w, d, STR("(parked)"));
	buf_reset(&d->record);
	EXPECT(imap_engine.park(d->state, &d->record, &modseq));
	imap_engine.close(d->state);
	session_test_free(d->s);
	d->state = NULL;
}

static void render(struct world *w, struct device *d)
{
	CLEANUP(buf_free) struct buf next = BUF(PARK_RECORD_MAX);
	uint64_t modseq;

	if (d->state != NULL)
		return;
	note(w, d, STR("(rendered)"));
	if (imap_engine.render(&w->account, buf_str(&d->record), &d->out, &next, &modseq) != RENDERED_KEEP)
		fail_here(w, d, "cannot be rendered", buf_str(&d->out));
	buf_reset(&d->record);
	buf_add(&d->record, buf_str(&next));
	listen(w, d);
}

/* Attached and not in IDLE: numbers stay what they are until the next command. */
static void settle(struct world *w, struct device *d)
{
	end_idle(w, d);
	attach(w, d);
}

/* What a real client does after EXISTS. */
static void ask_for_new(struct world *w, struct device *d)
{
	settle(w, d);
	for (size_t i = 0; i < d->n; i++) {
		if (d->list[i].uid == 0) {
			command(w, d, arena_printf(&w->arena, "f FETCH %zu:* (UID FLAGS)", i + 1));
			return;
		}
	}
}

static void store(struct world *w, struct device *d)
{
	static const char *const flags[] = { "\\Seen", "\\Flagged", "\\Answered", "\\Draft", "k1", "k2", "\\Seen k1" };
	static const char *const ops[] = { "FLAGS", "+FLAGS", "-FLAGS" };
	uint32_t first, last;

	settle(w, d);
	if (d->n == 0)
		return;
	first = 1 + pick(w, (uint32_t)d->n);
	last = first + pick(w, (uint32_t)d->n - first + 1) % 6;
	command(w, d, arena_printf(&w->arena, "s STORE %u:%u %s (%s)", first, last, ops[pick(w, 3)], flags[pick(w, COUNT_OF(flags))]));
}

static void mark_deleted(struct world *w, struct device *d)
{
	settle(w, d);
	if (d->n > KEEP)
		command(w, d, arena_printf(&w->arena, "d STORE %u +FLAGS (\\Deleted)", 1 + pick(w, (uint32_t)d->n)));
}

static void one(struct world *w, struct device *d)
{
	static const char *const others[] = { "n NOOP", "e EXPUNGE", "x UID EXPUNGE 1:40", "r SEARCH FLAGGED", "c CHECK", "u UID SEARCH ALL" };

	switch (pick(w, 14)) {
	case 0: case 1: case 2:
		store(w, d);
		break;
	case 3: case 4:
		command(w, d, STR("a APPEND INBOX (k2) {1+}\r\nx {1+}\r\ny"));
		break;
	case 5:
		mark_deleted(w, d);
		break;
	case 6: case 7:
		command(w, d, str_of(others[pick(w, COUNT_OF(others))]));
		break;
	case 8:
		settle(w, d);
		if (d->n > KEEP)
			command(w, d, arena_printf(&w->arena, "m MOVE %u Trash", 1 + pick(w, (uint32_t)d->n)));
		break;
	case 9:
		settle(w, d);
		if (d->n > 0)
			command(w, d, arena_printf(&w->arena, "b FETCH %u BODY[]", 1 + pick(w, (uint32_t)d->n)));
		break;
	case 10:
		if (!d->is_idle)
			command(w, d, STR("i IDLE"));
		d->is_idle = true;
		break;
	case 11:
		park(w, d);
		break;
	case 12:
		render(w, d);
		break;
	default:
		ask_for_new(w, d);
		break;
	}
}

static void start(struct world *w, struct device *d, bool is_qresync)
{
	static const struct session_open info = { .protocol = PROTOCOL_IMAP, .command = STR("a0 LOGIN") };

	*d = (struct device){ .out = BUF(16 << 20), .record = BUF(PARK_RECORD_MAX), .is_qresync = is_qresync };
	d->s = session_for_test(&info, STR(""), &d->out);
	d->state = imap_engine.open(d->s, &w->account);
	EXPECT(d->state != NULL);
	if (is_qresync)
		send(w, d, STR("q ENABLE QRESYNC"));
	send(w, d, STR("s SELECT INBOX"));
	ask_for_new(w, d);
}

static void stop(struct device *d)
{
	if (d->state != NULL) {
		imap_engine.close(d->state);
		session_test_free(d->s);
	}
	buf_free(&d->out);
	buf_free(&d->record);
}

static void compare(struct world *w, struct device *d, const struct device *truth)
{
	command(w, d, STR("n NOOP"));
	ask_for_new(w, d);
	if (d->n != truth->n)
		fail_here(w, d, "counts are apart", arena_printf(&w->arena, "%zu, in truth %zu", d->n, truth->n));
	for (size_t i = 0; i < d->n; i++)
		if (d->list[i].uid != truth->list[i].uid || strcmp(d->list[i].flags, truth->list[i].flags) != 0)
			fail_here(w, d, "wrong about a message", arena_printf(&w->arena, "%zu: uid %u (%s), in truth uid %u (%s)", i + 1,
			          d->list[i].uid, d->list[i].flags, truth->list[i].uid, truth->list[i].flags));
}

static void check(struct world *w)
{
	struct device *truth = MEM_NEW(struct device);

	start(w, truth, false);
	for (int i = 0; i < DEVICES; i++)
		compare(w, &w->devices[i], truth);
	stop(truth);
	mem_free(truth);
}

static void play(unsigned seed)
{
	struct world *w = MEM_NEW(struct world);
	const char *dir = test_dir();

	w->seed = seed;
	w->random = seed;
	w->account.account = 1;
	EXPECT_OK(view_open(dir, &(struct view_config){ .account = 1 }, &w->account.view));
	for (int i = 0; i < DEVICES; i++)
		start(w, &w->devices[i], i % 2 == 1);
	for (w->step = 1; w->step <= STEPS; w->step++) {
		one(w, &w->devices[pick(w, DEVICES)]);
		arena_reset(&w->arena);
		if (w->step % CHECK_EVERY == 0)
			check(w);
	}
	for (int i = 0; i < DEVICES; i++)
		stop(&w->devices[i]);
	arena_free(&w->arena);
	view_close(w->account.view);
	test_dir_remove(dir);
	mem_free(w);
}

TEST(devices_agree)
{
	const char *only = getenv("FACTEUR_SEED");

	if (only != NULL) {
		play((unsigned)strtoul(only, NULL, 10));
		return;
	}
	for (unsigned seed = 1; seed <= 5; seed++)
		play(seed);
}
