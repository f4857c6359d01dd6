/* imap/model_told_test.h -- what a client of the model (model_test.h) makes of what the server says; and whether what it was told is what is. */
#ifndef FACTEUR_IMAP_MODEL_TOLD_TEST_H
#define FACTEUR_IMAP_MODEL_TOLD_TEST_H
#include "imap/model_names_test.h"

/* ---- reading answers */

static void forget(struct client *c, size_t at)
{
	memmove(&c->list[at], &c->list[at + 1], (c->n - at - 1) * sizeof *c->list);
	c->n--;
}

static void read_uids(struct play *p, struct str text, struct uid_set *out)
{
	if (!read_set(&p->arena, text, out))
		wrong(p, "not a set: " STR_FMT, STR_ARG(text));
}

static void hear_vanished(struct play *p, struct client *c, struct str text, struct answer *a)
{
	struct uid_set set = { 0 };

	if (str_starts(text, STR("(EARLIER) "))) {
		read_uids(p, str_from(text, 10), &a->earlier);
		return;
	}
	read_uids(p, text, &set);
	uint64_t left = uid_set_count(&set);
	for (size_t i = c->n; i-- > 0;) {
		if (c->list[i].uid != 0 && uid_set_has(&set, c->list[i].uid)) {
			forget(c, i);
			left--;
		}
	}
	for (size_t i = c->n; left > 0 && i-- > 0;) {  /* announced just before, and not asked for yet */
		if (c->list[i].uid == 0) {
			forget(c, i);
			left--;
		}
	}
	if (left > 0)
		wrong(p, "VANISHED of what was never announced: " STR_FMT, STR_ARG(text));
}

static void hear_fetch(struct play *p, struct client *c, uint32_t seq, struct str items, struct answer *a)
{
	uint32_t uid = number_after(items, "UID "), size = number_after(items, "RFC822.SIZE ");
	ptrdiff_t at = str_find(items, STR("FLAGS ("));
	struct model_message *m;

	if (seq == 0 || seq > c->n) {
		wrong(p, "FETCH of %u, of %zu announced", seq, c->n);
		return;
	}
	struct told *t = &c->list[seq - 1];
	if (uid != 0 && t->uid != 0 && t->uid != uid)
		wrong(p, "FETCH %u is uid %u, was %u", seq, uid, t->uid);
	if (uid != 0) {
		t->uid = uid;
		uid_set_add(&a->fetched, &p->arena, uid, uid);
	}
	bool has_modseq = str_find(items, STR("MODSEQ (")) >= 0, is_told = t->uid != 0 && uid_set_has(has_modseq ? &a->sized_modseq : &a->sized, t->uid);
	if (t->uid != 0 && size != 0)
		uid_set_add(&a->sized, &p->arena, t->uid, t->uid);
	if (t->uid != 0 && size != 0 && has_modseq)
		uid_set_add(&a->sized_modseq, &p->arena, t->uid, t->uid);
	if (at >= 0) {
		struct str flags = str_from(items, (size_t)at + 7);
		flags = str_sub(flags, 0, (size_t)str_chr(flags, ')'));
		uint32_t now = read_flags(flags);
		if (now & ~c->named)
			wrong(p, "a flag that FLAGS has not told of: " STR_FMT, STR_ARG(items));
		if (size == 0 && is_told && t->has_flags && t->flags == now)
			wrong(p, "uid %u: told flags %x, and once more as news", t->uid, now);
		t->flags = now;
		t->has_flags = true;
	}
	m = t->uid ? find(box_of(p, c), t->uid) : NULL;
	if (m != NULL && size != 0 && size != m->size)
		wrong(p, "uid %u has %u bytes, not %u", m->uid, m->size, size);
}

/* The place of a message that is named by its UID. One that is new takes its place by it, for one of those that were announced and not
 * asked for yet: they stand at the end. */
static uint32_t place_of(struct client *c, uint32_t uid)
{
	size_t at = 0;

	while (at < c->n && c->list[at].uid != 0 && c->list[at].uid < uid)
		at++;
	if (at < c->n && c->list[at].uid == uid)
		return (uint32_t)at + 1;
	if (c->n == 0 || c->list[c->n - 1].uid != 0)
		return 0;
	memmove(&c->list[at + 1], &c->list[at], (c->n - at - 1) * sizeof *c->list);
	c->list[at] = (struct told){ .uid = uid };
	return (uint32_t)at + 1;
}

static void hear_uidfetch(struct play *p, struct client *c, uint32_t uid, struct str items, struct answer *a)
{
	uint32_t place = place_of(c, uid);

	if (place == 0 || !c->is_uidonly) {
		wrong(p, "UIDFETCH of %u, which nobody announced", uid);
		return;
	}
	uid_set_add(&a->fetched, &p->arena, uid, uid);
	hear_fetch(p, c, place, items, a);
}

static void hear_numbers(struct play *p, struct str text, struct answer *a)
{
	struct scan s = scan_of(text);

	a->has_list = true;
	while (!s.failed && !scan_done(&s) && scan_take(&s, ' ') && scan_peek(&s) != '(')
		a->numbers[a->n++] = scan_u32(&s);
	if (s.failed)
		wrong(p, "no numbers: " STR_FMT, STR_ARG(text));
}

static size_t result_at(const struct client *c, uint32_t number)
{
	size_t at = 0;

	while (at < c->n_results && c->results[at] != number)
		at++;
	return at;
}

/* place: from 1; 0: where it belongs by its number */
static void add_result(struct play *p, struct client *c, uint32_t place, uint32_t number)
{
	size_t at = place - 1;

	if (place == 0)
		for (at = 0; at < c->n_results && c->results[at] < number; at++)
			;
	if (at > c->n_results || result_at(c, number) < c->n_results) {
		wrong(p, "ADDTO %u at %u, of %zu results", number, place, c->n_results);
		return;
	}
	memmove(&c->results[at + 1], &c->results[at], (c->n_results++ - at) * sizeof c->results[0]);
	c->results[at] = number;
}

static void remove_result(struct play *p, struct client *c, uint32_t place, uint32_t number)
{
	size_t at = result_at(c, number);

	if (at == c->n_results || (place != 0 && at != place - 1)) {
		wrong(p, "REMOVEFROM %u at %u, where it is not", number, place);
		return;
	}
	memmove(&c->results[at], &c->results[at + 1], (--c->n_results - at) * sizeof c->results[0]);
}

/* " ADDTO (0 4:5,7)" or " ADDTO (3 17 1 4)": true when it is there. */
static bool hear_update(struct play *p, struct client *c, struct str line, const char *word, void (*apply)(struct play *, struct client *, uint32_t, uint32_t))
{
	ptrdiff_t at = str_find(line, str_of(word));
	struct scan s;

	if (at < 0)
		return false;
	s = scan_of(str_from(line, (size_t)at + strlen(word)));
	do {
		uint32_t place = scan_u32(&s);
		scan_need(&s, ' ');
		do {
			uint32_t first = scan_u32(&s), last = scan_take(&s, ':') ? scan_u32(&s) : first;
			for (uint32_t n = first; !s.failed && n <= last && n - first < 1000; n++)
				apply(p, c, place, n);
		} while (scan_take(&s, ','));
	} while (scan_take(&s, ' '));
	scan_need(&s, ')');
	if (s.failed)
		wrong(p, "not an update: " STR_FMT, STR_ARG(line));
	return true;
}

/* "(TAG "x") UID ALL 1:3,7 …", "PARTIAL (1:4 NIL)": the set of ALL or PARTIAL in its order */
static void hear_esearch(struct play *p, struct client *c, struct str text, struct answer *a)
{
	ptrdiff_t all = str_find(text, STR(" ALL ")), partial = str_find(text, STR(" PARTIAL ("));
	bool is_update = hear_update(p, c, text, " REMOVEFROM (", remove_result);
	struct scan s;

	if (hear_update(p, c, text, " ADDTO (", add_result) || is_update)
		return;
	a->has_list = true;
	a->min = number_after(text, " MIN ");
	a->max = number_after(text, " MAX ");
	if (all >= 0) {
		s = scan_of(str_from(text, (size_t)all + 5));
	} else {
		struct str rest = partial >= 0 ? str_from(text, (size_t)partial + 10) : STR("");
		ptrdiff_t space = str_chr(rest, ' ');
		if (space < 0 || str_starts(str_from(rest, (size_t)space), STR(" NIL)")))
			return;
		s = scan_of(str_from(rest, (size_t)space + 1));
	}
	do {
		uint32_t first = scan_u32(&s), last = scan_take(&s, ':') ? scan_u32(&s) : first;
		for (uint32_t n = first; n <= last && a->n < COUNT_OF(a->numbers); n++)
			a->numbers[a->n++] = n;
	} while (scan_take(&s, ','));
	if (s.failed)
		wrong(p, "no set: " STR_FMT, STR_ARG(text));
}

static void hear_numbered(struct play *p, struct client *c, struct str line, struct answer *a)
{
	struct scan s = scan_of(line);
	uint32_t n = scan_u32(&s);
	scan_need(&s, ' ');
	struct str rest = scan_rest(&s);

	if (c->is_uidonly && !str_eq(rest, STR("EXISTS")) && !str_starts(rest, STR("UIDFETCH (")) && !str_eq(rest, STR("RECENT")))
		wrong(p, "a message number after ENABLE UIDONLY: " STR_FMT, STR_ARG(line));
	if (str_eq(rest, STR("EXPUNGE"))) {
		if (n == 0 || n > c->n)
			wrong(p, "EXPUNGE of %u, of %zu announced", n, c->n);
		else
			forget(c, n - 1);
		for (size_t i = 0; i < c->n_results && c->context == SEARCHED; i++) {
			if (c->results[i] == n)
				wrong(p, "EXPUNGE of %u, which is among the results", n);
			c->results[i] -= c->results[i] > n;
		}
	} else if (str_eq(rest, STR("EXISTS"))) {
		if (n < c->n || n > COUNT_OF(c->list))
			wrong(p, "EXISTS %u after %zu", n, c->n);
		while (c->n < n && c->n < COUNT_OF(c->list))
			c->list[c->n++] = (struct told){ 0 };
	} else if (str_starts(rest, STR("FETCH ("))) {
		hear_fetch(p, c, n, rest, a);
	} else if (str_starts(rest, STR("UIDFETCH ("))) {
		hear_uidfetch(p, c, n, str_from(rest, 3), a);
	}
}

static struct counts counts_of(const struct box *b)
{
	struct counts n = { (uint32_t)b->n, b->uidnext, 0 };

	for (size_t i = 0; i < b->n; i++)
		n.unseen += !(b->list[i].flags & SEEN);
	return n;
}

/* The first one is what STATUS asked for; any other comes by NOTIFY. */
static void hear_status(struct client *c, struct str line, struct answer *a)
{
	static const char *const items[] = { "MESSAGES ", "UIDNEXT ", "UNSEEN ", "DELETED ", "SIZE " };
	uint32_t values[COUNT_OF(items)];

	for (size_t i = 0; i < COUNT_OF(items); i++)
		values[i] = number_after(line, items[i]);
	if (!a->has_status)
		memcpy(a->status_items, values, sizeof values);
	a->has_status = true;
	for (int b = 0; b < BOXES; b++) {
		if (!str_starts(str_from(line, 9), str_of(name_of(c, b))))
			continue;
		if (str_find(line, STR("MESSAGES ")) >= 0)
			c->heard[b].messages = values[0];
		if (str_find(line, STR("UIDNEXT ")) >= 0)
			c->heard[b].uidnext = values[1];
		if (str_find(line, STR("UNSEEN ")) >= 0)
			c->heard[b].unseen = values[2];
	}
}

static void hear(struct play *p, struct client *c, struct str line, struct answer *a)
{
	ptrdiff_t code = str_find(line, STR("[HIGHESTMODSEQ ")), validity = str_find(line, STR("[UIDVALIDITY "));

	if (code >= 0) {
		struct scan s = scan_of(str_from(line, (size_t)code + 15));
		a->highest = scan_number(&s, UINT64_MAX);
	}
	if (validity >= 0 && c->box >= 0)
		c->uidvalidity[c->box] = number_after(line, "[UIDVALIDITY ");
	if (str_starts(line, STR("t "))) {
		a->status = line.p[2];
		a->text = str_from(line, 2);
	} else if (str_starts(line, STR("* VANISHED "))) {
		hear_vanished(p, c, str_from(line, 11), a);
	} else if (str_starts(line, STR("* SEARCH")) || str_starts(line, STR("* SORT"))) {
		hear_numbers(p, str_from(line, line.p[3] == 'E' ? 8 : 6), a);
	} else if (str_starts(line, STR("* ESEARCH"))) {
		hear_esearch(p, c, line, a);
	} else if (str_starts(line, STR("* STATUS "))) {
		hear_status(c, line, a);
	} else if (str_starts(line, STR("* FLAGS ("))) {
		c->named = read_flags(str_sub(line, 9, line.n - 10)) & ~(uint32_t)OTHER_FLAG;
	} else if (str_starts(line, STR("* LIST "))) {
		hear_folder(p, c, line);
	} else if (line.n > 2 && chr_digit(line.p[2])) {
		hear_numbered(p, c, str_from(line, 2), a);
	}
}

static void hear_all(struct play *p, struct client *c, struct answer *a)
{
	struct str all = str_copy(&p->arena, buf_str(&c->out)), line;

	while (str_cut(all, '\n', &line, &all))
		hear(p, c, str_trim(line), a);
}

static void say(struct play *p, struct client *c, struct answer *a, const char *fmt, ...) PRINTF_LIKE(4, 5);
static void say(struct play *p, struct client *c, struct answer *a, const char *fmt, ...)
{
	CLEANUP(buf_free) struct buf said = BUF(100000);
	va_list args;
	char text[20000];

	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	snprintf(p->did, sizeof p->did, "client %d: %.200s", (int)(c - p->clients), text);
	*a = (struct answer){ 0 };
	p->spoke = true;
	buf_reset(&c->out);
	session_test_input(c->s, arena_printf(&p->arena, "t %s\r\n", text));
	if (imap_engine.input(c->state) == SESSION_CLOSE)
		wrong(p, "the session ended: " STR_FMT, STR_ARG(buf_str(&c->out)));
	hear_all(p, c, a);
	if (a->status != 'O' && a->status != 'N' && a->status != 'B')
		wrong(p, "no answer");
}

/* The account has changed, the session is woken. */
static void be_woken(struct play *p, struct client *c)
{
	struct answer a = { 0 };

	buf_reset(&c->out);
	if (imap_engine.input(c->state) != SESSION_WAIT_NEWS)
		wrong(p, "does not listen any more: " STR_FMT, STR_ARG(buf_str(&c->out)));
	hear_all(p, c, &a);
}

static void want_ok(struct play *p, const struct answer *a)
{
	if (a->status != 'O')
		wrong(p, "answered " STR_FMT, STR_ARG(a->text));
}

/* ---- what a client knows */

/* From 1; 0: it was not told of it. */
static uint32_t told_place(const struct client *c, uint32_t uid)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->list[i].uid == uid)
			return (uint32_t)i + 1;
	return 0;
}

static bool is_told_gone(struct play *p, const struct client *c, uint32_t number, bool by_uid)
{
	uint32_t uid = by_uid ? number : number >= 1 && number <= c->n ? c->list[number - 1].uid : 0;

	return uid == 0 || find(&p->boxes[c->box], uid) == NULL;
}

static bool knows_all_that_went(struct play *p, const struct client *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (find(box_of(p, c), c->list[i].uid) == NULL)
			return false;
	return true;
}

static bool is_saved(const struct client *c, uint32_t uid)
{
	for (size_t i = 0; i < c->n_saved; i++)
		if (c->saved[i] == uid)
			return true;
	return false;
}

/* ---- after each command: what the client was told is what is */

static void check_told(struct play *p, struct client *c, bool removals)
{
	struct box *b;
	size_t at = 0, alive = 0, unasked = 0;

	if (c->box < 0 || p->wrong[0])
		return;
	b = box_of(p, c);
	for (size_t i = 0; i < c->n; i++) {
		const struct told *t = &c->list[i];
		if (t->uid == 0) {  /* announced now, one of the last; while removals wait it may be gone again */
			unasked++;
			continue;
		}
		alive += find(b, t->uid) != NULL;
		if (find(b, t->uid) == NULL) {
			if (removals)
				wrong(p, "uid %u is gone, and nobody said so", t->uid);
			continue;
		}
		while (at < b->n && b->list[at].uid != t->uid)
			at++;
		if (at == b->n)
			wrong(p, "uid %u stands in the wrong place", t->uid);
		else if (t->has_flags && t->flags != b->list[at].flags)
			wrong(p, "uid %u: told flags %x, it has %x", t->uid, t->flags, b->list[at].flags);
	}
	if (alive > b->n || alive + unasked < b->n || (removals && c->n != b->n))
		wrong(p, "%zu messages told, there are %zu", c->n, b->n);
}

/* Of mailboxes that are not selected it knows what NOTIFY said; but for what it did itself, and what it had selected until now. */
static void check_watched(struct play *p, struct client *c, int box_before)
{
	for (int i = 0; i < BOXES; i++) {
		struct counts now = counts_of(&p->boxes[i]);
		if (i == c->box || i == box_before || p->touched[i])
			c->heard[i] = now;
		else if (memcmp(&c->heard[i], &now, sizeof now) != 0)
			wrong(p, "%s: NOTIFY said %u messages, uidnext %u, %u unseen; it has %u, %u, %u", box_names[i], c->heard[i].messages, c->heard[i].uidnext,
			      c->heard[i].unseen, now.messages, now.uidnext, now.unseen);
	}
}

/* The results it was told of are those of the messages it was told of; but for those that are gone, and not told so yet. */
static void check_results(struct play *p, struct client *c)
{
	uint32_t want[COUNT_OF(c->results)];
	struct box *b = box_of(p, c);
	size_t n = 0, got = 0;

	for (size_t i = 0; i < c->n; i++) {
		struct model_message *m = find(b, c->list[i].uid);
		if (m == NULL || (m->flags & (c->context == SEARCHED ? SEEN : DELETED)))
			continue;
		size_t at = n++;
		for (; c->context == SORTED && at > 0 && find(b, want[at - 1])->size < m->size; at--)
			want[at] = want[at - 1];
		want[at] = c->context == SEARCHED ? (uint32_t)i + 1 : m->uid;
	}
	for (size_t i = 0; i < c->n_results; i++) {
		uint32_t number = c->results[i];
		uint32_t uid = c->context == SORTED ? number : number >= 1 && number <= c->n ? c->list[number - 1].uid : 0;
		if (find(b, uid) == NULL)
			continue;
		if (got >= n || want[got] != number)
			wrong(p, "result %zu is %u, should be %u", got, number, got < n ? want[got] : 0);
		got++;
	}
	if (got != n)
		wrong(p, "%zu results, should be %zu", got, n);
}

/* Asks for what was only announced, as clients do. */
static void ask_for_new(struct play *p, struct client *c)
{
	struct answer a;

	if (c->box < 0)
		return;
	for (size_t i = 0; i < c->n; i++) {
		if (c->list[i].uid == 0 || !c->list[i].has_flags) {
			say(p, c, &a, "UID FETCH 1:* (FLAGS RFC822.SIZE)");
			if (a.status == 'B')
				wrong(p, "answered " STR_FMT, STR_ARG(a.text));
			check_told(p, c, true);
			return;
		}
	}
}
#endif
