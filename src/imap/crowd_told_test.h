/* imap/crowd_told_test.h -- the picture that a strict mail program has of its mailbox, from nothing but what the server says; for crowd_test.c.
 *
 * Numbers shift by EXPUNGE and VANISHED alone, and never during FETCH, STORE, SEARCH and SORT by number (RFC 9051 §7.5.1); EXISTS never shrinks; a MODSEQ
 * of a message never goes back, and means one state of its flags (RFC 7162 §3.1); QRESYNC from what it remembers leaves exactly what EXISTS says (§3.2.5).
 * What STORE .SILENT asked for it believes when it says it, and is corrected by whatever is told of the message from then on. */
#ifndef FACTEUR_IMAP_CROWD_TOLD_TEST_H
#define FACTEUR_IMAP_CROWD_TOLD_TEST_H
#include "base/mem.h"
#include "imap/answers_test.h"
#include "imap/cell_test.h"
#include "imap/imap_private.h"
#include <stdatomic.h>

enum { CLIENTS = 6, BOXES = 3, FOLDER = 2 /* this one is deleted, renamed and made again */, MESSAGES_MAX = 1500, MEMORIES = 3, PIPELINE_MAX = 4, GUEST = 7, GUEST_ELSEWHERE = 8 };
enum op { OP_SET, OP_ADD, OP_REMOVE };

static const char *const box_names[BOXES] = { "INBOX", "Drafts", "Crowd" };
static const char *const guest_names[BOXES] = { "\"Other Users/a@x/INBOX\"", "\"Other Users/a@x/Drafts\"", "\"Other Users/a@x/Crowd\"" };

struct entry {
	uint32_t uid, flags;          /* uid 0: announced by EXISTS only */
	uint32_t before;              /* is_tried: what they were before the silent STORE that runs */
	uint64_t modseq;              /* the last one told; 0: none */
	bool     has_flags, is_tried;
	bool     is_of_modseq;        /* the flags were told together with it */
};
struct memory {                       /* what it knows of a mailbox that it has left; all up to modseq */
	uint64_t modseq;
	uint32_t uidvalidity;
	size_t   n;
	struct { uint32_t uid, flags; } list[MESSAGES_MAX];
};
struct command {
	const char *tag;
	char     text[400];
	bool     holds, selects, releases;   /* no removals are told while it runs; … all of them are, before its OK */
	bool     wants_plain_flags;          /* a FETCH that did not ask for MODSEQ */
	bool     is_fetch, is_search_by_uid, is_silent, by_uid, may_fail;
	enum op  op;
	uint32_t flags, first, last;
	int      box;                        /* selects */
	int      touches;                    /* … changes this one, from 1; 0: none but the one that is selected */
	const struct memory *from;           /* … with QRESYNC */
};
struct counts { uint32_t messages, uidnext, unseen; };

struct crowd;
struct client {
	struct crowd  *crowd;
	unsigned       number;
	uint64_t       random;
	bool           is_guest, is_elsewhere, is_condstore, is_qresync, watches;   /* a guest's session is in the owner's cell, or elsewhere */
	uint32_t       named;                /* flags that FLAGS has told it of */
	struct session *s;
	void          *state;
	struct buf     out, log;
	struct arena   arena;
	struct command commands[PIPELINE_MAX];
	size_t         n_commands, current;
	bool           is_idle, is_over, was_ok;
	int            box;                  /* -1: none is selected */
	bool           is_readonly;
	uint32_t       uidvalidity;
	uint64_t       synced, seen;         /* everything up to the first was told; the highest MODSEQ heard */
	struct entry   list[MESSAGES_MAX];
	size_t         n;
	struct uid_set earlier;
	const struct memory *joins;          /* SELECT runs, and has told nothing yet but what was before it; … */
	bool           has_exists;           /* … and this much of it */
	struct memory  memories[BOXES][MEMORIES];
	bool           has_results;          /* of a search that is kept up to date (RFC 5267) */
	uint32_t       results[MESSAGES_MAX];   /* uids */
	size_t         n_results;
	struct counts  heard[BOXES], is_heard[BOXES];   /* by NOTIFY; since it changed something there itself? */
	uint64_t       n_said;
};

struct crowd {
	struct account    account;
	struct elsewhere  elsewhere;
	atomic_bool       has_cell;
	const char       *dir;
	unsigned          seed, round;
	struct client     clients[CLIENTS], truth[BOXES];
	bool              is_there[BOXES];
	pthread_barrier_t barrier;
	atomic_uint       ticket;            /* the order of things in the logs */
	atomic_bool       is_wrong;
	pthread_mutex_t   lock;
	char              wrong[800];
	const struct client *whose;
};

static const char *name_of(const struct client *c, int box) { return (c->is_guest ? guest_names : box_names)[box]; }

static void note(struct client *c, const char *what, struct str line)
{
	struct str rest;

	str_cut(str_sub(line, 0, 500), '\r', &line, &rest);
	buf_printf(&c->log, "%08u %s " STR_FMT "\n", atomic_fetch_add(&c->crowd->ticket, 1), what, STR_ARG(line));
}

static void wrong(struct client *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void wrong(struct client *c, const char *fmt, ...)
{
	va_list args;

	pthread_mutex_lock(&c->crowd->lock);
	if (!c->crowd->is_wrong) {
		va_start(args, fmt);
		vsnprintf(c->crowd->wrong, sizeof c->crowd->wrong, fmt, args);
		va_end(args);
		c->crowd->whose = c;
		note(c, "WRONG", str_of(c->crowd->wrong));
	}
	pthread_mutex_unlock(&c->crowd->lock);
	c->crowd->is_wrong = true;
}

static const struct command *running(const struct client *c) { return c->current < c->n_commands ? &c->commands[c->current] : NULL; }

/* ---- a line */

static void forget(struct client *c, size_t at)
{
	memmove(&c->list[at], &c->list[at + 1], (c->n - at - 1) * sizeof *c->list);
	c->n--;
}

/* UIDs ascend: one that was only announced lies between two known ones. n: nowhere */
static size_t place_of(const struct client *c, uint32_t uid)
{
	size_t unknown = c->n;

	for (size_t i = 0; i < c->n && c->list[i].uid <= uid; i++) {
		if (c->list[i].uid == uid)
			return i;
		unknown = c->list[i].uid == 0 ? i : c->n;
	}
	return unknown;
}

/* What it knew, without what is gone, and with what was told: that is what EXISTS counts, in this order. */
static void join_memory(struct client *c)
{
	const struct memory *m = c->joins;

	c->joins = NULL;
	if (m == NULL || m->uidvalidity != c->uidvalidity) {
		if (m != NULL && c->earlier.n > 0)
			wrong(c, "VANISHED (EARLIER) of another UIDVALIDITY");
		return;
	}
	struct entry *all = arena_array(&c->arena, m->n + c->n, sizeof *all);
	size_t n = 0, at = 0;

	for (size_t i = 0; i <= m->n; i++) {
		for (; at < c->n && (c->list[at].uid == 0 || i == m->n || c->list[at].uid <= m->list[i].uid); at++)
			if (c->list[at].uid != 0)
				all[n++] = c->list[at];
		if (i < m->n && (n == 0 || all[n - 1].uid != m->list[i].uid) && !uid_set_has(&c->earlier, m->list[i].uid))
			all[n++] = (struct entry){ .uid = m->list[i].uid, .flags = m->list[i].flags, .has_flags = true };
	}
	if (n != c->n)
		wrong(c, "QRESYNC from modseq %llu leaves %zu messages, EXISTS says %zu", (unsigned long long)m->modseq, n, c->n);
	for (size_t i = 0; i < n && n == c->n; i++) {
		if (c->list[i].uid != 0 && c->list[i].uid != all[i].uid)
			wrong(c, "QRESYNC has uid %u as number %zu, FETCH %u", all[i].uid, i + 1, c->list[i].uid);
		c->list[i] = all[i];
	}
}

static size_t result_at(const struct client *c, uint32_t uid)
{
	size_t at = 0;

	while (at < c->n_results && c->results[at] != uid)
		at++;
	return at;
}

static void hear_removal(struct client *c, size_t at, struct str line)
{
	const struct command *now = running(c);

	if (at >= c->n)
		wrong(c, "removes what was never announced: " STR_FMT, STR_ARG(line));
	else if (now != NULL && now->holds)
		wrong(c, "removes while %s runs", now->text);
	else if (now == NULL && c->watches && !c->is_idle)
		wrong(c, "removes without being asked, after SELECTED-DELAYED");
	else if (c->has_results && c->list[at].uid != 0 && result_at(c, c->list[at].uid) < c->n_results)
		wrong(c, "removes uid %u, which is among the results", c->list[at].uid);
	else
		forget(c, at);
}

static void hear_vanished(struct client *c, struct str text, struct str line)
{
	struct uid_set gone = { 0 };

	if (str_starts(text, STR("(EARLIER) "))) {
		if (!read_set(&c->arena, str_from(text, 10), &c->earlier))
			wrong(c, "no set: " STR_FMT, STR_ARG(line));
		for (size_t i = 0; i < c->n && running(c) != NULL && !running(c)->selects; i++)
			if (c->list[i].uid != 0 && uid_set_has(&c->earlier, c->list[i].uid))
				wrong(c, "uid %u is counted: " STR_FMT, c->list[i].uid, STR_ARG(line));
		return;
	}
	join_memory(c);
	if (!c->is_qresync || !read_set(&c->arena, text, &gone))
		wrong(c, "not for this client: " STR_FMT, STR_ARG(line));
	for (size_t r = 0; r < gone.n; r++)
		for (uint64_t uid = gone.r[r].first; uid <= gone.r[r].last && !c->crowd->is_wrong; uid++)
			hear_removal(c, place_of(c, (uint32_t)uid), line);
}

static void hear_flags(struct client *c, struct entry *e, struct str items, uint64_t modseq)
{
	ptrdiff_t at = str_find(items, STR("FLAGS ("));
	struct str flags = at >= 0 ? str_from(items, (size_t)at + 7) : STR("");
	const struct command *now = running(c);

	if (modseq != 0 && modseq < e->modseq)
		wrong(c, "MODSEQ of uid %u goes back from %llu: " STR_FMT, e->uid, (unsigned long long)e->modseq, STR_ARG(items));
	if (at < 0) {
		e->is_of_modseq &= modseq == 0 || modseq == e->modseq;
		e->modseq = modseq != 0 ? modseq : e->modseq;
		return;
	}
	uint32_t told = read_flags(str_sub(flags, 0, (size_t)str_chr(flags, ')')));
	if (told & ~c->named)
		wrong(c, "a flag that FLAGS has not told of: " STR_FMT, STR_ARG(items));
	if (modseq != 0 && modseq == e->modseq && e->is_of_modseq && told != e->flags)
		wrong(c, "uid %u had flags %x with this MODSEQ: " STR_FMT, e->uid, e->flags, STR_ARG(items));
	if (modseq == 0 && c->is_condstore && (now == NULL || !now->wants_plain_flags))
		wrong(c, "no MODSEQ: " STR_FMT, STR_ARG(items));
	e->flags = told;
	e->has_flags = true;
	e->is_tried = false;
	e->is_of_modseq = modseq != 0;
	e->modseq = modseq != 0 ? modseq : e->modseq;
}

static void hear_fetch(struct client *c, uint32_t seq, struct str items)
{
	uint32_t uid = number_after(items, "UID ");
	uint64_t modseq = long_after(items, "MODSEQ (");
	const struct command *now = running(c);

	if (seq == 0 || seq > c->n) {
		wrong(c, "FETCH of %u, of %zu announced", seq, c->n);
		return;
	}
	struct entry *e = &c->list[seq - 1];
	if (uid == 0 && c->is_qresync && (now == NULL || !now->is_fetch))
		wrong(c, "no UID: " STR_FMT, STR_ARG(items));
	if (uid != 0 && e->uid != 0 && e->uid != uid)
		wrong(c, "number %u is uid %u, was %u", seq, uid, e->uid);
	for (size_t i = seq - 1; uid != 0 && i-- > 0;) {
		if (c->list[i].uid >= uid)
			wrong(c, "uid %u stands behind %u", uid, c->list[i].uid);
		if (c->list[i].uid != 0)
			break;
	}
	e->uid = uid != 0 ? uid : e->uid;
	c->seen = modseq > c->seen ? modseq : c->seen;
	hear_flags(c, e, items, modseq);
}

/* Results name messages that it was told of. */
static void hear_results(struct client *c, struct str set, struct str line)
{
	const struct command *now = running(c);
	struct uid_set found = { 0 };

	if (!read_set(&c->arena, set, &found) || now == NULL)
		wrong(c, "no results: " STR_FMT, STR_ARG(line));
	for (size_t r = 0; r < found.n && !c->crowd->is_wrong; r++) {
		for (uint64_t i = found.r[r].first; i <= found.r[r].last && !c->crowd->is_wrong; i++)
			if (now->is_search_by_uid ? place_of(c, (uint32_t)i) == c->n : i == 0 || i > c->n)
				wrong(c, "%llu of %zu was never announced: " STR_FMT, (unsigned long long)i, c->n, STR_ARG(line));
	}
}

static void hear_search(struct client *c, struct str numbers, struct str line)
{
	struct str word;

	while (numbers.n > 0) {
		str_cut(numbers, ' ', &word, &numbers);
		if (word.n > 0 && word.p[0] == '(')  /* (MODSEQ …) */
			return;
		if (word.n > 0)
			hear_results(c, word, line);
	}
}

/* "ADDTO (0 3:4)": those come, or go. */
static void hear_update(struct client *c, struct str line, const char *word, bool adds)
{
	ptrdiff_t at = str_find(line, str_of(word));
	struct str set = at >= 0 ? str_from(line, (size_t)at + strlen(word)) : STR("");
	struct uid_set uids = { 0 };

	if (at < 0)
		return;
	if (!read_set(&c->arena, str_sub(set, 0, (size_t)str_chr(set, ')')), &uids))
		wrong(c, "no set: " STR_FMT, STR_ARG(line));
	for (size_t r = 0; r < uids.n; r++) {
		for (uint32_t uid = uids.r[r].first; uid <= uids.r[r].last && !c->crowd->is_wrong; uid++) {
			size_t result = result_at(c, uid);
			if ((result < c->n_results) == adds || (adds && (place_of(c, uid) == c->n || c->n_results == MESSAGES_MAX)))
				wrong(c, "result %u: " STR_FMT, uid, STR_ARG(line));
			else if (adds)
				c->results[c->n_results++] = uid;
			else
				c->results[result] = c->results[--c->n_results];
		}
	}
}

static void hear_esearch(struct client *c, struct str line)
{
	ptrdiff_t all = str_find(line, STR(" ALL "));
	struct str set, rest;

	if (all >= 0) {
		str_cut(str_from(line, (size_t)all + 5), ' ', &set, &rest);
		hear_results(c, set, line);
	}
	if (str_find(line, STR("(TAG \"u\")")) < 0)
		return;
	if (all >= 0)
		hear_update(c, str_copy(&c->arena, arena_printf(&c->arena, STR_FMT ")", STR_ARG(line))), " ALL ", true);
	hear_update(c, line, " REMOVEFROM (0 ", false);
	hear_update(c, line, " ADDTO (0 ", true);
}

static void hear_status(struct client *c, struct str line)
{
	static const char *const items[] = { "MESSAGES ", "UIDNEXT ", "UNSEEN " };

	for (int b = 0; b < BOXES; b++) {
		uint32_t *values[] = { &c->heard[b].messages, &c->heard[b].uidnext, &c->heard[b].unseen };
		uint32_t *known[] = { &c->is_heard[b].messages, &c->is_heard[b].uidnext, &c->is_heard[b].unseen };
		ptrdiff_t open = str_find(line, STR(" ("));
		if (open < 9 || !str_eq(str_sub(line, 9, (size_t)open - 9), str_of(name_of(c, b))))
			continue;
		for (size_t i = 0; i < COUNT_OF(items); i++) {
			if (str_find(line, str_of(items[i])) < 0)
				continue;
			*values[i] = number_after(line, items[i]);
			*known[i] = true;
		}
	}
}

static void hear_numbered(struct client *c, struct str text, struct str line)
{
	struct scan s = scan_of(text);
	uint32_t n = scan_u32(&s);

	scan_need(&s, ' ');
	struct str rest = scan_rest(&s);
	if (str_eq(rest, STR("EXPUNGE"))) {
		if (c->is_qresync || n == 0)
			wrong(c, "not for this client: " STR_FMT, STR_ARG(line));
		hear_removal(c, n - 1, line);
	} else if (str_eq(rest, STR("EXISTS"))) {
		if (c->has_exists)
			join_memory(c);
		c->has_exists = true;
		if (n < c->n || n > COUNT_OF(c->list))
			wrong(c, "EXISTS %u after %zu", n, c->n);
		while (c->n < n && c->n < COUNT_OF(c->list))
			c->list[c->n++] = (struct entry){ 0 };
	} else if (str_starts(rest, STR("FETCH ("))) {
		hear_fetch(c, n, str_from(rest, 7));
	} else if (!str_eq(rest, STR("RECENT"))) {
		wrong(c, "what is this? " STR_FMT, STR_ARG(line));
	}
}

/* ---- commands begin and end */

static void begin_command(struct client *c)
{
	const struct command *now = running(c);

	if (now == NULL)
		return;
	note(c, "C:", str_of(now->text));
	c->earlier = (struct uid_set){ 0 };
	if (now->touches > 0)
		c->is_heard[now->touches - 1] = (struct counts){ 0 };
	if (now->selects) {
		if (c->box >= 0)
			c->is_heard[c->box] = (struct counts){ 0 };
		c->box = -1;
		c->n = 0;
		c->synced = c->seen = 0;
		c->has_exists = c->has_results = false;
		c->joins = now->from;
	}
	if (now->tag[0] == 'u') {
		c->has_results = true;
		c->n_results = 0;
	}
	for (size_t i = 0; i < c->n && now->is_silent; i++) {
		struct entry *e = &c->list[i];
		uint32_t number = now->by_uid ? e->uid : (uint32_t)i + 1;
		e->has_flags &= number != 0;  /* it was told of its flags, and does not know whether this is one of them */
		if (number < now->first || number > now->last || !e->has_flags)
			continue;
		e->before = e->flags;
		e->is_tried = true;
		e->is_of_modseq = false;
		e->flags = now->op == OP_SET ? now->flags : now->op == OP_ADD ? e->flags | now->flags : e->flags & ~now->flags;
	}
}

/* These stay as they were: it did not work, or not for them (MODIFIED). */
static void end_silent(struct client *c, const struct command *was, struct str reply)
{
	ptrdiff_t at = str_find(reply, STR("[MODIFIED "));
	struct uid_set modified = { 0 };

	if (at >= 0) {
		struct str set = str_from(reply, (size_t)at + 10);
		if (!read_set(&c->arena, str_sub(set, 0, (size_t)str_chr(set, ']')), &modified))
			wrong(c, "no set: " STR_FMT, STR_ARG(reply));
	}
	for (size_t i = 0; i < c->n; i++) {
		struct entry *e = &c->list[i];
		if (e->is_tried && (at >= 0 ? uid_set_has(&modified, was->by_uid ? e->uid : (uint32_t)i + 1)
		                            : !c->was_ok && str_find(reply, STR("[EXPUNGEISSUED]")) < 0))
			e->flags = e->before;
		e->is_tried = false;
	}
}

static bool knows_all(const struct client *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->list[i].uid == 0 || !c->list[i].has_flags)
			return false;
	return c->box >= 0;
}

static void end_select(struct client *c, const struct command *was)
{
	if (!c->was_ok) {
		c->joins = NULL;
		c->n = 0;
		return;
	}
	c->box = was->box;
	join_memory(c);
}

static void end_command(struct client *c, struct str reply)
{
	const struct command *was = running(c);

	if (was == NULL) {
		wrong(c, "an answer to nothing: " STR_FMT, STR_ARG(reply));
		return;
	}
	c->was_ok = str_starts(reply, STR("OK"));
	c->is_readonly = c->was_ok && was->selects ? str_starts(reply, STR("OK [READ-ONLY]")) : c->is_readonly;
	if (!c->was_ok && !((was->may_fail || c->box == FOLDER) && str_starts(reply, STR("NO"))) && !str_starts(reply, STR("NO [EXPUNGEISSUED]")))
		wrong(c, "%s: " STR_FMT, was->text, STR_ARG(reply));
	if (was->selects)
		end_select(c, was);
	if (was->is_silent)
		end_silent(c, was, reply);
	if (c->was_ok && was->releases && c->seen > c->synced)
		c->synced = c->seen;
	c->current++;
	begin_command(c);
}

static void hear(struct client *c, struct str line)
{
	uint64_t highest = long_after(line, "[HIGHESTMODSEQ ");
	uint32_t uidvalidity = number_after(line, "[UIDVALIDITY ");

	note(c, "S:", line);
	if (highest != 0 && c->is_qresync && highest < c->synced)
		wrong(c, "HIGHESTMODSEQ goes back from %llu: " STR_FMT, (unsigned long long)c->synced, STR_ARG(line));
	c->synced = highest != 0 ? highest : c->synced;
	c->uidvalidity = uidvalidity != 0 && str_starts(line, STR("* OK [UIDVALIDITY ")) ? uidvalidity : c->uidvalidity;
	if (str_starts(line, STR("* OK [CLOSED]")) && running(c) != NULL && !running(c)->selects) {
		c->box = -1;
		c->n = 0;
		c->has_results = false;
	}
	if (str_starts(line, STR("t ")) || str_starts(line, STR("u ")))
		end_command(c, str_from(line, 2));
	else if (str_starts(line, STR("* VANISHED ")))
		hear_vanished(c, str_from(line, 11), line);
	else if (str_starts(line, STR("* SEARCH")) || str_starts(line, STR("* SORT")))
		hear_search(c, str_from(line, line.p[3] == 'E' ? 8 : 6), line);
	else if (str_starts(line, STR("* ESEARCH")))
		hear_esearch(c, line);
	else if (str_starts(line, STR("* FLAGS (")))
		c->named = read_flags(str_sub(line, 9, line.n - 10)) & ~(uint32_t)OTHER_FLAG;
	else if (str_starts(line, STR("* STATUS ")))
		hear_status(c, line);
	else if (str_starts(line, STR("* BYE")))
		c->is_over = (c->box == FOLDER || (running(c) != NULL && running(c)->selects && running(c)->box == FOLDER)) && str_find(line, STR("was deleted")) >= 0;
	else if (line.n > 2 && chr_digit(line.p[2]) && str_starts(line, STR("* ")))
		hear_numbered(c, str_from(line, 2), line);
}

static void hear_all(struct client *c)
{
	struct str all = str_copy(&c->arena, buf_str(&c->out)), line = STR("");

	buf_reset(&c->out);
	while (!c->crowd->is_wrong && str_cut(all, '\n', &line, &all))
		hear(c, str_trim(line));
	if (!c->crowd->is_wrong && line.n > 0)
		wrong(c, "half a line: " STR_FMT, STR_ARG(line));
}
#endif
