/* Several clients of one account, and two guests, each in a thread of its own, all on the same few mailboxes at once: what one changes while another's command
 * runs is what this is about. Commands are drawn by the seed; how they meet is the machine's doing, so that a seed that failed may pass the next time:
 * what was said, in the order in which it was heard, is printed.
 *
 * Each believes what a strict mail program would (crowd_told_test.h). Many times a second all stand still, and each picture, those that were
 * kept for QRESYNC too, must be what a fresh SELECT shows.
 *
 * FACTEUR_SEED=n repeats one play, FACTEUR_OPERATIONS=n plays as many in all, FACTEUR_FIRST=n from that seed on (`make torture-crowd`). */
#include "imap/crowd_told_test.h"
#include "store/delivered.h"
#include "store/rights.h"
#include "store/view.h"
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

enum { ROUNDS = 40, STEPS = 10, KEEP = 40, KEEPS_RESULTS = 2, PLAY = CLIENTS * ROUNDS * STEPS };
#ifdef FACTEUR_SANITIZER
enum { OPERATIONS_IN_ALL = 3 * PLAY };
#else
enum { OPERATIONS_IN_ALL = 20 * PLAY };
#endif

static uint32_t draw(struct client *c)
{
	c->random = c->random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(c->random >> 33);
}

/* ---- a session */

static void say(struct client *c)
{
	CLEANUP(buf_free) struct buf all = BUF(100000);

	for (size_t i = 0; i < c->n_commands; i++)
		buf_printf(&all, "%s %s\r\n", c->commands[i].tag, c->commands[i].text);
	c->current = 0;
	begin_command(c);
	session_test_input(c->s, buf_str(&all));
	enum session_next next = imap_engine.input(c->state);
	hear_all(c);
	if (next == SESSION_CLOSE && !c->is_over)
		wrong(c, "the session ends");
	else if (next != SESSION_CLOSE && !c->is_over && c->current < c->n_commands && !c->is_idle)
		wrong(c, "no answer to %s", c->commands[c->current].text);
}

static struct command *add(struct client *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static struct command *add(struct client *c, const char *fmt, ...)
{
	struct command *new = &c->commands[c->n_commands++];
	va_list args;

	assert_true(c->n_commands <= PIPELINE_MAX);
	*new = (struct command){ .tag = "t", .releases = true };
	va_start(args, fmt);
	vsnprintf(new->text, sizeof new->text, fmt, args);
	va_end(args);
	return new;
}

/* One command, and nothing behind it. */
static void say_one(struct client *c, const char *text, bool may_fail)
{
	c->n_commands = 0;
	add(c, "%s", text)->may_fail = may_fail;
	say(c);
}

static struct account *account_of(const struct client *c) { return c->is_elsewhere ? &c->crowd->elsewhere.account : &c->crowd->account; }

static bool resume(struct client *c, struct str record)
{
	CLEANUP(buf_free) struct buf changed = BUF(8);
	struct session_open info = { .protocol = PROTOCOL_IMAP, .login_name = STR("a@x") };

	if (c->is_elsewhere) {
		put_u64(&changed, OWNER);
		info.changed = buf_str(&changed);
	}
	c->s = session_for_test(&info, STR(""), &c->out);
	session_test_guest(c->s, c->is_guest && !c->is_elsewhere ? GUEST : 0);
	c->state = imap_engine.resume(c->s, account_of(c), record);
	if (c->state == NULL)
		session_test_free(c->s);
	return c->state != NULL;
}

static void log_in(struct client *c)
{
	CLEANUP(buf_free) struct buf record = BUF(PARK_RECORD_MAX);

	c->box = -1;
	c->n = 0;
	c->is_idle = c->is_over = c->has_results = false;
	memset(c->is_heard, 0, sizeof c->is_heard);
	imap_fresh_record((struct imap_tongue){ 0 }, &record);
	if (!resume(c, buf_str(&record)))
		wrong(c, "cannot log in");
	if (c->is_qresync)
		say_one(c, "ENABLE QRESYNC", false);
	if (c->watches)
		say_one(c, "NOTIFY SET STATUS (SELECTED-DELAYED (MessageNew MessageExpunge FlagChange)) (PERSONAL (MessageNew MessageExpunge FlagChange))", false);
}

static void hang_up(struct client *c)
{
	if (c->state != NULL) {
		imap_engine.close(c->state);
		session_test_free(c->s);
	}
	c->state = NULL;
}

/* Its mailbox was deleted. */
static void log_in_again(struct client *c)
{
	hang_up(c);
	c->n_commands = 0;
	log_in(c);
}

/* As its gate keeps it, and tells it news if it waits for them. */
static void park(struct client *c, unsigned renders)
{
	CLEANUP(buf_free) struct buf record = BUF(PARK_RECORD_MAX);
	enum rendered how = RENDERED_KEEP;
	uint64_t modseq;

	bool is_parked = imap_engine.park(c->state, &record, &modseq);
	hear_all(c);  /* another account's cell may have something to say before */
	if (!is_parked) {
		if (!c->is_elsewhere && !c->has_results)
			wrong(c, "cannot be parked");
		return;
	}
	hang_up(c);
	note(c, "parked", STR(""));
	for (unsigned i = 0; i < renders && how == RENDERED_KEEP && !c->is_guest; i++) {
		CLEANUP(buf_free) struct buf next = BUF(PARK_RECORD_MAX), bytes = BUF(1 << 20);
		how = imap_engine.render(account_of(c), buf_str(&record), &bytes, &next, &modseq);
		if (how != RENDERED_KEEP)
			break;
		buf_add(&c->out, buf_str(&bytes));
		hear_all(c);
		buf_reset(&record);
		buf_add(&record, buf_str(&next));
		sched_yield();
	}
	note(c, "resumed", STR(""));
	bool is_back = resume(c, buf_str(&record));
	hear_all(c);
	if (!is_back && !c->is_over)
		wrong(c, "cannot be resumed");
}

/* The account has changed, or may have. */
static void be_woken(struct client *c)
{
	note(c, "woken", STR(""));
	bool ends = imap_engine.input(c->state) == SESSION_CLOSE;
	hear_all(c);
	if (ends && !c->is_over)
		wrong(c, "the session ends");
}

/* ---- commands */

static void pick_range(struct client *c, struct command *now, uint32_t a)
{
	uint32_t n = (uint32_t)c->n, first = a % n, last = first + (a >> 10) % 6;

	if ((a >> 16) % 8 == 0) {
		first = 0;
		last = n - 1;
	}
	last = last < n ? last : n - 1;
	while (now->by_uid && last > first && c->list[last].uid == 0)
		last--;
	now->first = now->by_uid ? c->list[first].uid : first + 1;
	now->last = now->by_uid ? c->list[last].uid : last + 1;
	if (now->first == 0 || now->last == 0)
		now->first = now->last = UINT32_MAX;  /* by UID, and none is known */
}

static void add_store(struct client *c, bool by_uid, uint32_t a, uint32_t b)
{
	static const char *const ops[] = { "", "+", "-" };
	uint32_t flags = 1u << b % FLAGS | ((b >> 4) % 2 ? 1u << (b >> 5) % FLAGS : 0);
	struct command how = { .tag = "t", .by_uid = by_uid, .op = (b >> 8) % 3, .is_silent = (b >> 10) % 2, .flags = (b >> 11) % 4 ? flags & ~(uint32_t)DELETED : flags };
	char names[200], condition[60] = "";

	how.is_silent &= !c->is_guest || (how.flags & ~(uint32_t)SYSTEM_FLAGS) == 0;  /* a keyword that the owner has not made yet is left out, and silence does not say so */
	pick_range(c, &how, a);
	flag_list(how.flags, names, sizeof names);
	if (c->is_condstore && (b >> 13) % 3 == 0)
		snprintf(condition, sizeof condition, " (UNCHANGEDSINCE %llu)", (unsigned long long)((b >> 15) % 2 ? c->synced : c->seen));
	struct command *now = add(c, "%sSTORE %u:%u%s %sFLAGS%s (%s)", by_uid ? "UID " : "", how.first, how.last, condition, ops[how.op], how.is_silent ? ".SILENT" : "", names);
	memcpy(how.text, now->text, sizeof how.text);
	*now = how;
	now->holds = !by_uid;
	now->releases = by_uid;
	now->may_fail = c->is_guest && (how.flags & SYSTEM_FLAGS) == 0;  /* keywords are the owner's to make */
}

static void add_fetch(struct client *c, bool by_uid, uint32_t a, uint32_t b)
{
	static const char *const items[] = { "BODY[TEXT]", "(UID BODY[])", "BODY.PEEK[HEADER]", "(FLAGS RFC822.SIZE)", "(UID FLAGS)", "(UID FLAGS ENVELOPE)", "BINARY[1]" };
	struct command range = { .by_uid = by_uid };
	unsigned which = b % (COUNT_OF(items) + 2);

	pick_range(c, &range, a);
	bool is_plain = which < COUNT_OF(items);
	struct command *now = add(c, "%sFETCH %u:%u %s", by_uid ? "UID " : "", range.first, range.last,
	                          is_plain ? items[which] : c->is_condstore ? "(UID FLAGS MODSEQ)" : "(UID FLAGS)");
	now->is_fetch = true;
	now->wants_plain_flags = is_plain;
	now->holds = !by_uid;
	now->releases = by_uid;
}

static void add_search(struct client *c, bool by_uid, uint32_t b)
{
	static const char *const keys[] = { "FLAGGED", "UNSEEN", "ALL", "KEYWORD k1", "NOT DELETED", "SUBJECT x", "OR SEEN DRAFT" };
	static const char *const commands[] = { "SEARCH", "SEARCH RETURN (ALL)", "SEARCH RETURN (SAVE)", "SEARCH RETURN (SAVE ALL COUNT)", "SORT (REVERSE ARRIVAL) UTF-8" };
	struct command *now = add(c, "%s%s %s", by_uid ? "UID " : "", commands[(b >> 4) % COUNT_OF(commands)], keys[b % COUNT_OF(keys)]);

	now->is_search_by_uid = by_uid;
	now->holds = !by_uid;
	now->releases = by_uid;
}

static int some_box(const struct client *c, uint32_t a) { return (int)(a % (c->is_guest ? FOLDER : BOXES)); }

static void add_append(struct client *c, int box, uint32_t b)
{
	char flags[200];
	struct command *now;

	flag_list(b & 0x77, flags, sizeof flags);
	if (b >> 8 & 1)
		now = add(c, "APPEND %s (%s) {17+}\r\nSubject: x\r\n\r\nabc (%s) {17+}\r\nSubject: y\r\n\r\nabc", name_of(c, box), flags, flags);
	else
		now = add(c, "APPEND %s (%s) {17+}\r\nSubject: x\r\n\r\nabc", name_of(c, box), flags);
	now->touches = box + 1;
	now->may_fail = box == FOLDER;
}

/* What takes messages away, or brings them. */
static void add_change(struct client *c, uint32_t what, bool by_uid, uint32_t a, uint32_t b)
{
	int to = some_box(c, b);
	bool is_own = c->is_elsewhere && (b >> 8) % 4 == 0;  /* into his own account */
	const char *where = is_own ? "INBOX" : name_of(c, to);
	bool has_room = c->crowd->truth[to].n <= KEEP;
	struct command range = { .by_uid = by_uid };
	struct command *now;

	pick_range(c, &range, a);
	if (what == 0 && has_room)
		now = add(c, "%sCOPY %u:%u %s", by_uid ? "UID " : "", range.first, range.last, where);
	else if (what == 1 && (to != c->box || is_own) && has_room)
		now = add(c, "%sMOVE %u:%u %s", by_uid ? "UID " : "", range.first, range.last, where);
	else if (what == 2)
		now = add(c, "EXPUNGE");
	else if (what == 3)
		now = add(c, "UID EXPUNGE %u:%u", range.by_uid ? range.first : 1, range.by_uid ? range.last : 10000);
	else if (what == 4 && range.by_uid && has_room)
		now = add(c, "UID REPLACE %u %s {17+}\r\nSubject: z\r\n\r\nxyz", range.first, name_of(c, to));
	else
		now = add(c, "NOOP");
	now->touches = what == 2 || what == 3 ? 0 : to + 1;
	now->may_fail = to == FOLDER || what == 1 || what == 4;  /* another may be moving it (claim.c), or have */
}

static void add_synced(struct client *c, uint32_t a, uint32_t b)
{
	struct command *now = NULL;

	switch (b % 6) {
	case 0:
		if (c->is_qresync && c->synced != 0)
			now = add(c, "UID FETCH 1:* (FLAGS) (CHANGEDSINCE %llu%s)", (unsigned long long)c->synced, a % 2 ? " VANISHED" : "");
		break;
	case 1:
		now = add(c, "UID FETCH $ (UID FLAGS)");
		break;
	case 2:
		if (!c->is_readonly)
			now = add(c, "UID STORE $ +FLAGS (%s)", flag_names[a % 3]);
		break;
	case 3:
		now = add(c, "STATUS %s (MESSAGES UNSEEN UIDNEXT HIGHESTMODSEQ)", name_of(c, a % 2 == 0 ? 1 : 0));
		break;
	case 4:
		now = add(c, "CHECK");
		break;
	default:
		break;
	}
	if (now == NULL)
		now = add(c, "NOOP");
	now->is_fetch = str_starts(str_of(now->text), STR("UID FETCH"));
	now->wants_plain_flags = now->is_fetch;
	now->may_fail = true;
}

/* Numbers are good for the first of several only: removals may be told before the next one (RFC 9051 §5.5). */
static void add_some(struct client *c, bool is_first)
{
	uint32_t what = draw(c) % 24, a = draw(c), b = draw(c);
	bool by_uid = !is_first || (b >> 20) % 2;
	int box = some_box(c, a);

	if ((what < 3 && c->crowd->truth[box].n <= KEEP) || c->n == 0)
		add_append(c, c->n == 0 && c->box >= 0 ? c->box : box, b);
	else if (what < 12 && !c->is_readonly)
		add_store(c, by_uid, a, b);
	else if (what < 16)
		add_fetch(c, by_uid, a, b);
	else if (what < 18)
		add_search(c, by_uid, b);
	else if (what < 21 && !c->is_readonly)
		add_change(c, (b >> 4) % 5, by_uid, a, b);
	else
		add_synced(c, a, b);
}

/* The older half of a mailbox that has grown. */
static void clear(struct client *c)
{
	if (c->is_readonly || c->n <= KEEP || c->list[c->n / 2].uid == 0)
		return;
	c->n_commands = 0;
	add(c, "UID STORE 1:%u +FLAGS (\\Deleted)", c->list[c->n / 2].uid);
	add(c, "EXPUNGE");
	say(c);
}

static void select_some(struct client *c, uint32_t a, uint32_t b)
{
	int box = some_box(c, a);
	const struct memory *m = &c->memories[box][(a >> 4) % MEMORIES];
	bool remembers = c->is_qresync && m->modseq != 0 && b % 4 != 0;

	c->n_commands = 0;
	if (c->box >= 0 && b % 7 == 0 && (c->is_readonly || c->box < FOLDER)) {
		struct command *leave = add(c, c->is_readonly || b % 2 ? "UNSELECT" : "CLOSE");
		leave->selects = true;
		leave->box = -1;
	}
	struct command *now = remembers ? add(c, "SELECT %s (QRESYNC (%u %llu))", name_of(c, box), m->uidvalidity, (unsigned long long)m->modseq)
	                                : add(c, "%s %s%s", b % 5 == 1 ? "EXAMINE" : "SELECT", name_of(c, box), c->is_condstore ? " (CONDSTORE)" : "");
	now->selects = true;
	now->releases = false;
	now->box = box;
	now->may_fail = box == FOLDER;
	now->from = remembers ? m : NULL;
	say(c);
	if (c->number != KEEPS_RESULTS || c->box < 0 || c->is_over || c->crowd->is_wrong || a % 3 == 0)
		return;
	c->n_commands = 0;
	now = add(c, "UID SEARCH RETURN (ALL UPDATE) FLAGGED");
	now->tag = "u";
	now->is_search_by_uid = now->may_fail = true;
	say(c);
}

static void idle(struct client *c, uint32_t a)
{
	c->n_commands = 0;
	add(c, "IDLE");
	c->is_idle = true;
	say(c);
	for (unsigned i = 0; i < 1 + a % 4 && !c->is_over && !c->crowd->is_wrong; i++) {
		sched_yield();
		if ((a >> (4 + i)) % 2 && !c->is_elsewhere)
			be_woken(c);
		else
			park(c, 1 + (a >> 8) % 3);
	}
	c->is_idle = false;
	if (c->is_over || c->crowd->is_wrong)
		return;
	session_test_input(c->s, STR("DONE\r\n"));
	be_woken(c);
	if (c->current < c->n_commands && !c->is_over)
		wrong(c, "IDLE does not end");
}

static void change_folder(struct client *c, uint32_t a)
{
	if (c->is_guest)
		return;
	c->n_commands = 0;
	if (a % 7 == 0) {  /* all messages leave it, and it stays (RFC 9051 §6.3.6) */
		struct command *now = add(c, "RENAME INBOX Old");
		now->may_fail = true;
		now->touches = 1;
		add(c, "DELETE Old")->may_fail = true;
	} else if (a % 3 == 0) {
		add(c, "DELETE Crowd")->may_fail = true;
		add(c, "CREATE Crowd")->may_fail = true;
	} else {
		add(c, "RENAME Crowd Crowd2")->may_fail = true;
		add(c, "RENAME Crowd2 Crowd")->may_fail = true;
		add(c, "DELETE Crowd2")->may_fail = true;
		add(c, "CREATE Crowd")->may_fail = true;
	}
	say(c);
}

/* Mail that comes in: nobody sees it before somebody else's change is synced, or a second has passed (view_tick()). */
static void deliver(struct client *c, int box)
{
	struct append_new in = { .internal_date = 1 };
	struct append *ap;
	struct appended *out;
	struct mailbox m;
	size_t n;

	if (c->crowd->truth[box].n > KEEP || view_mailbox_find(c->crowd->account.view, str_of(box_names[box]), &c->arena, &m) != ERR_OK)
		return;
	note(c, "delivers to", str_of(box_names[box]));
	in.mailbox_id = m.mailbox_id;
	enum err e = append_begin(c->crowd->account.view, &ap);
	if (e == ERR_OK)
		e = append_message(ap, &in, 0);
	if (e == ERR_OK)
		e = append_write(ap, STR("Subject: delivered\r\n\r\nabc"));
	if (e == ERR_OK)
		e = append_end(ap);
	if (e == ERR_OK)
		e = append_commit_later(&ap, &c->arena, &out, &n);
	else
		append_abandon(&ap);
	if (e != ERR_OK && (e != ERR_NOTFOUND || box != FOLDER))
		wrong(c, "not delivered to %s: %s", box_names[box], err_name(e));
}

/* What a client asks after EXISTS. */
static void ask_for_new(struct client *c)
{
	if (c->n == 0 || knows_all(c))
		return;
	c->n_commands = 0;
	add(c, "UID FETCH 1:* (UID FLAGS%s)", c->is_condstore ? " MODSEQ" : "")->is_fetch = true;
	say(c);
}

static void remember(struct client *c, uint32_t a)
{
	if (!c->is_qresync || c->is_over || !knows_all(c) || c->synced == 0)
		return;
	struct memory *m = &c->memories[c->box][a % MEMORIES];
	*m = (struct memory){ .modseq = c->synced, .uidvalidity = c->uidvalidity, .n = c->n };
	for (size_t i = 0; i < c->n; i++) {
		m->list[i].uid = c->list[i].uid;
		m->list[i].flags = c->list[i].flags;
	}
}

static void step(struct client *c)
{
	uint32_t what = draw(c) % 32, a = draw(c), b = draw(c);

	if (what < 3 || c->box < 0) {
		select_some(c, a, b);
	} else if (what < 6) {
		idle(c, a);
	} else if (what == 6) {
		park(c, 0);
	} else if (what == 7) {
		clear(c);
	} else if (what < 10) {
		ask_for_new(c);
	} else if (what == 10 && b % 4 == 0) {
		change_folder(c, a);
	} else if (what == 11) {
		view_tick(c->crowd->account.view);
	} else if (what < 14) {
		deliver(c, some_box(c, a));
	} else if (what == 14 && c->watches) {
		be_woken(c);
	} else {
		c->n_commands = 0;
		for (unsigned i = 0; i < 1 + a % PIPELINE_MAX; i++)
			add_some(c, i == 0);
		say(c);
	}
	if (c->is_over && !c->crowd->is_wrong)
		log_in_again(c);
	remember(c, b >> 8);
	arena_reset(&c->arena);
}

/* ---- all stand still */

static const struct client *truth_of(const struct client *c)
{
	const struct client *truth = &c->crowd->truth[c->box];

	return truth->box >= 0 && truth->uidvalidity == c->uidvalidity ? truth : NULL;
}

static void compare(struct client *c, const char *how)
{
	const struct client *truth = truth_of(c);

	if (truth == NULL) {  /* renamed while it was selected, and something else has its name */
		if (c->box < FOLDER)
			wrong(c, "%s: another UIDVALIDITY", how);
		return;
	}
	if (c->n != truth->n)
		wrong(c, "%s: %zu messages, there are %zu", how, c->n, truth->n);
	for (size_t i = 0; i < c->n && !c->crowd->is_wrong; i++) {
		const struct entry *e = &c->list[i], *is = &truth->list[i];
		if (e->uid != is->uid || e->flags != is->flags)
			wrong(c, "%s: number %zu is uid %u with flags %x, it is uid %u with %x", how, i + 1, e->uid, e->flags, is->uid, is->flags);
		else if (c->is_condstore && e->modseq != 0 && e->modseq != is->modseq)
			wrong(c, "%s: uid %u was told with MODSEQ %llu, it has %llu", how, e->uid, (unsigned long long)e->modseq, (unsigned long long)is->modseq);
	}
}

static void compare_results(struct client *c)
{
	const struct client *truth = truth_of(c);
	size_t n = 0;

	for (size_t i = 0; truth != NULL && i < truth->n; i++) {
		if (!(truth->list[i].flags & FLAGGED))
			continue;
		if (result_at(c, truth->list[i].uid) == c->n_results)
			wrong(c, "uid %u is not among the results", truth->list[i].uid);
		n++;
	}
	if (truth != NULL && n != c->n_results)
		wrong(c, "%zu results, should be %zu", c->n_results, n);
}

static void compare_heard(struct client *c)
{
	for (int b = 0; b < FOLDER; b++) {
		const struct client *is = &c->crowd->truth[b];
		uint32_t unseen = 0;
		for (size_t i = 0; i < is->n; i++)
			unseen += !(is->list[i].flags & SEEN);
		if (b == c->box)
			continue;
		if ((c->is_heard[b].messages && c->heard[b].messages != is->n) || (c->is_heard[b].unseen && c->heard[b].unseen != unseen))
			wrong(c, "NOTIFY said %u messages in %s, %u unseen, there are %zu and %u", c->heard[b].messages, box_names[b], c->heard[b].unseen, is->n, unseen);
	}
}

/* By QRESYNC from what it remembers, in a session of its own. */
static void compare_memory(struct client *c, struct client *again, int box, uint32_t a)
{
	const struct memory *m = &c->memories[box][a % MEMORIES];

	if (m->modseq == 0 || c->crowd->is_wrong)
		return;
	*again = (struct client){ .crowd = c->crowd, .number = c->number, .is_guest = c->is_guest, .is_elsewhere = c->is_elsewhere, .is_condstore = true, .is_qresync = true, .out = again->out,
	                          .log = c->log, .arena = again->arena };
	log_in(again);
	again->n_commands = 0;
	struct command *now = add(again, "SELECT %s (QRESYNC (%u %llu))", name_of(c, box), m->uidvalidity, (unsigned long long)m->modseq);
	now->selects = true;
	now->box = box;
	now->from = m;
	now->may_fail = box == FOLDER;
	say(again);
	if (again->box >= 0 && again->uidvalidity == m->uidvalidity)
		compare(again, "after QRESYNC");
	hang_up(again);
	c->log = again->log;
	arena_reset(&again->arena);
}

static void judge(struct client *c, struct client *again)
{
	uint32_t a = draw(c);

	if (c->crowd->is_wrong)
		return;
	note(c, "all stand still", STR(""));
	if (c->box >= 0)
		say_one(c, "NOOP", false);
	if (c->is_over)
		log_in_again(c);
	ask_for_new(c);
	if (c->box >= 0 && !c->crowd->is_wrong)
		compare(c, "in the end");
	if (c->has_results && c->box >= 0 && !c->crowd->is_wrong)
		compare_results(c);
	if (c->watches && !c->crowd->is_wrong) {
		be_woken(c);
		compare_heard(c);
	}
	remember(c, a >> 8);
	for (int b = 0; b < BOXES && c->is_qresync; b++)
		compare_memory(c, again, b, a >> b);
	arena_reset(&c->arena);
}

static void look(struct client *truth, int box)
{
	log_in(truth);
	truth->n_commands = 0;
	struct command *now = add(truth, "SELECT %s (CONDSTORE)", box_names[box]);
	now->selects = true;
	now->box = box;
	now->may_fail = box == FOLDER;
	say(truth);
	if (truth->box >= 0)
		ask_for_new(truth);
	hang_up(truth);
	arena_reset(&truth->arena);
}

/* ---- plays */

static void *run(void *context)
{
	struct client *c = context, *again = MEM_NEW(struct client);
	struct crowd *w = c->crowd;

	again->out = BUF(1 << 20);
	for (;;) {
		pthread_barrier_wait(&w->barrier);
		if (w->round == ROUNDS)
			break;
		buf_reset(&c->log);
		for (int i = 0; i < STEPS && !w->is_wrong; i++)
			step(c);
		pthread_barrier_wait(&w->barrier);
		pthread_barrier_wait(&w->barrier);
		judge(c, again);
		pthread_barrier_wait(&w->barrier);
	}
	buf_free(&again->out);
	arena_free(&again->arena);
	mem_free(again);
	return NULL;
}

static enum err who_is(UNUSED void *context, uint64_t account, UNUSED struct arena *a, struct guest *out)
{
	*out = (struct guest){ .account = account, .address = account == GUEST ? STR("b@x") : STR("c@x") };
	return ERR_OK;
}

static void tell_changed(void *context, UNUSED uint64_t account, UNUSED uint64_t modseq)
{
	struct crowd *w = context;

	if (w->has_cell)
		attached_changed(w->elsewhere.attached);
}

/* The disk here is none: who waits for it lets others go on all the same. */
static void wait_a_little(UNUSED void *context)
{
	static atomic_uint n;

	if (atomic_fetch_add(&n, 1) % 4 == 0)
		usleep(20);
	else
		sched_yield();
}

static void begin(struct crowd *w)
{
	static const struct others others = { .guest = who_is };
	static const struct acl_entry all[] = {
		{ .who = { .kind = SUBJECT_ACCOUNT, .account = GUEST, .name = STR("b@x") }, .rights = RIGHTS_ALL },
		{ .who = { .kind = SUBJECT_ACCOUNT, .account = GUEST_ELSEWHERE, .name = STR("c@x") }, .rights = RIGHTS_ALL },
	};
	CLEANUP(arena_free) struct arena a = { 0 };
	struct mailbox m;

	w->dir = test_dir();
	w->account.account = OWNER;
	w->account.others = &others;
	pthread_mutex_init(&w->lock, NULL);
	pthread_barrier_init(&w->barrier, NULL, CLIENTS + 1);
	EXPECT_OK(view_open(w->dir, &(struct view_config){ .account = OWNER, .on_wait = wait_a_little, .on_changed = tell_changed, .context = w }, &w->account.view));
	EXPECT_OK(view_mailbox_create(w->account.view, STR("Crowd"), MAILBOX_PLAIN, &a, NULL));
	for (int b = 0; b < BOXES; b++) {
		EXPECT_OK(view_mailbox_find(w->account.view, str_of(box_names[b]), &a, &m));
		if (b < FOLDER)
			EACH(all, line) EXPECT_OK(acl_write(w->account.view, m.mailbox_id, ACL_SET, line));
		w->truth[b] = (struct client){ .crowd = w, .out = BUF(1 << 20), .log = BUF(8 << 20), .is_condstore = true, .box = -1 };
	}
	begin_elsewhere(&w->elsewhere, &w->account, GUEST_ELSEWHERE);
	open_cell(&w->elsewhere);
	w->has_cell = true;
	for (unsigned i = 0; i < CLIENTS; i++) {
		w->clients[i] = (struct client){ .crowd = w, .number = i, .random = w->seed * 2654435761u + i * 40503u + 1, .out = BUF(1 << 20), .log = BUF(8 << 20),
		                                 .is_condstore = i > 0, .is_qresync = i > 1, .watches = i == 3, .is_guest = i >= 4, .is_elsewhere = i == 5 };
		log_in(&w->clients[i]);
	}
}

static void free_client(struct client *c)
{
	hang_up(c);
	buf_free(&c->out);
	buf_free(&c->log);
	arena_free(&c->arena);
}

static void end(struct crowd *w)
{
	for (int i = 0; i < CLIENTS; i++)
		free_client(&w->clients[i]);
	for (int b = 0; b < BOXES; b++)
		free_client(&w->truth[b]);
	close_cell(&w->elsewhere);
	w->has_cell = false;
	end_elsewhere(&w->elsewhere);
	pthread_barrier_destroy(&w->barrier);
	pthread_mutex_destroy(&w->lock);
	EXPECT_OK(view_close(w->account.view));
	test_dir_remove(w->dir);
}

/* The logs of the round in one, in the order of their tickets. */
static void show(const struct crowd *w)
{
	struct str logs[CLIENTS], line;

	for (int i = 0; i < CLIENTS; i++)
		logs[i] = buf_str(&w->clients[i].log);
	for (;;) {
		int next = -1;
		for (int i = 0; i < CLIENTS; i++)
			if (logs[i].n > 0 && (next < 0 || memcmp(logs[i].p, logs[next].p, 8) < 0))
				next = i;
		if (next < 0)
			break;
		str_cut(logs[next], '\n', &line, &logs[next]);
		print_error("%d: " STR_FMT "\n", next, STR_ARG(line));
	}
	print_error("FACTEUR_SEED=%u round %u client %u: %s\n", w->seed, w->round, w->whose->number, w->wrong);
}

static void play(unsigned seed)
{
	struct crowd *w = MEM_NEW(struct crowd);
	pthread_t threads[CLIENTS];

	w->seed = seed;
	begin(w);
	for (int i = 0; i < CLIENTS; i++)
		EXPECT(pthread_create(&threads[i], NULL, run, &w->clients[i]) == 0);
	for (w->round = 0; w->round < ROUNDS && !w->is_wrong; w->round++) {
		pthread_barrier_wait(&w->barrier);
		pthread_barrier_wait(&w->barrier);
		for (int b = 0; b < BOXES && !w->is_wrong; b++) {
			buf_reset(&w->truth[b].log);
			look(&w->truth[b], b);
		}
		pthread_barrier_wait(&w->barrier);
		pthread_barrier_wait(&w->barrier);
		if (w->is_wrong)
			break;
	}
	if (w->is_wrong)
		show(w);
	w->round = ROUNDS;
	pthread_barrier_wait(&w->barrier);
	for (int i = 0; i < CLIENTS; i++)
		pthread_join(threads[i], NULL);
	bool is_wrong = w->is_wrong;
	end(w);
	mem_free(w);
	if (is_wrong)
		fail();
}

TEST(no_client_of_many_is_wrong)
{
	unsigned only = number_of("FACTEUR_SEED", 0), first = only ? only : number_of("FACTEUR_FIRST", 1);
	unsigned plays = only ? 1 : number_of("FACTEUR_OPERATIONS", OPERATIONS_IN_ALL) / PLAY;

	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	for (unsigned seed = first; seed < first + plays; seed++)
		play(seed);
}
