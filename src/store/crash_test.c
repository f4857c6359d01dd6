/* Power cuts. A random program runs on an account while the disk layer records every write and sync; then the account
 * is rebuilt as it may be after a cut at many moments, opened, and compared with what had been acknowledged by then. */
#include "base/clock.h"
#include "disk/powercut_test.h"
#include "store/index.h"
#include "store/rights.h"
#include "store/view.h"

#ifdef FACTEUR_FAULT
enum { OPERATIONS = 150, MESSAGES_MAX = 400, CUTS = 120 };

enum place_kind { NOWHERE, IN_INBOX, IN_ARCHIVE, EXPUNGED };

struct history {                 /* of one message, named by its text */
	struct {
		size_t          from, acked;   /* positions in the trace: begun, and promised (SIZE_MAX: never) */
		enum place_kind where;
	} step[8];
	size_t   n;
	uint32_t inbox_uid, archive_uid;
};

struct moment {                  /* what a client knew after an operation */
	size_t   at;
	uint64_t modseq;
	uint32_t inbox_uidnext;
	uint64_t inbox_highest;      /* HIGHESTMODSEQ */
	uint64_t flags_modseq;       /* of the newest flag change */
	uint32_t flagged;            /* messages with \Flagged then */
};

struct share {                   /* bob's rights on INBOX were set to this */
	size_t   from, acked;
	unsigned rights;
};

struct story {
	const char    *dir, *trace_path;
	struct view   *v;
	int64_t        inbox, archive;
	struct history h[MESSAGES_MAX];
	size_t         n;
	struct moment  moments[OPERATIONS + 1];
	size_t         n_moments;
	struct share   shares[OPERATIONS + 1];   /* the first: before the story */
	size_t         n_shares;
	unsigned       seed;
	int64_t        passed_s;                 /* so many seconds have passed */
};

static void begin_step(struct story *t, struct history *h, enum place_kind where)
{
	EXPECT(h->n < COUNT_OF(h->step));
	h->step[h->n].from = powercut_position(t->trace_path);
	h->step[h->n].acked = SIZE_MAX;
	h->step[h->n++].where = where;
}

static void ack(struct story *t, struct history *h)
{
	h->step[h->n - 1].acked = powercut_position(t->trace_path);
}

static void text_of(size_t number, bool is_long, struct buf *out)
{
	buf_printf(out, "Message-ID: <%zu@x>\r\nSubject: %zu\r\n\r\n", number, number);
	for (size_t i = 0; i < (is_long ? 60000U : number % 100); i++)
		buf_printf(out, "line %zu of %zu....\r\n", i, number);
}

/* What was expunged a moment ago is forgotten, and its room given back. */
static void do_compact(struct story *t)
{
	clock_wall_offset(t->passed_s += 2);
	view_compact(t->v);
	for (int i = 0; i < 20 && view_tick(t->v); i++)
		;
}

static void do_append(struct story *t)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf text = BUF(4 << 20);
	struct append_new in = { .mailbox_id = t->inbox, .internal_date = 5 };
	struct history *h = &t->h[t->n];
	struct append *ap;
	struct appended *done;
	size_t n;

	text_of(t->n, t->n % 50 == 7, &text);
	t->n++;
	begin_step(t, h, IN_INBOX);
	EXPECT_OK(append_begin(t->v, &ap));
	EXPECT_OK(append_message(ap, &in, 0));
	EXPECT_OK(append_write(ap, buf_str(&text)));
	EXPECT_OK(append_end(ap));
	if (t->n % 4 == 0)  /* its client is slow */
		do_compact(t);
	EXPECT_OK(append_commit(&ap, &a, &done, &n));
	h->inbox_uid = done[0].uid;
	ack(t, h);
}

static struct history *some_message(struct story *t)
{
	struct history *h = &t->h[rand_r(&t->seed) % (t->n + 1)];

	return h->n > 0 && h->step[h->n - 1].where == IN_INBOX ? h : NULL;
}

static void do_remove(struct story *t, bool move)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct history *h = some_message(t);
	struct uid_set set = { 0 };
	struct copied copied;

	if (h == NULL)
		return;
	uid_set_add(&set, &a, h->inbox_uid, h->inbox_uid);
	begin_step(t, h, move ? IN_ARCHIVE : EXPUNGED);
	if (move) {
		EXPECT_OK(view_move(t->v, t->inbox, &set, t->archive, &a, &copied));
		h->archive_uid = copied.to.r[0].first;
	} else {
		EXPECT_OK(view_expunge(t->v, t->inbox, &set, false, &a, NULL));
	}
	ack(t, h);
}

static uint32_t count_flagged(struct view *v, int64_t mailbox_id)
{
	struct message_row rows[MESSAGES_MAX];
	struct selected *s;
	uint32_t next = 0, n = 0;
	size_t got;

	EXPECT_OK(selected_open(v, mailbox_id, NULL, &s));
	got = selected_rows(s, NULL, 0, &next, rows, COUNT_OF(rows));
	for (size_t i = 0; i < got; i++)
		n += !!(rows[i].flags & FLAG_FLAGGED);
	selected_close(s);
	return n;
}

static void keyword_of(size_t number, char name[20]) { snprintf(name, 20, "of%zu", number); }

static void do_flag(struct story *t)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct history *h = some_message(t);
	struct flags_change change = { .op = FLAGS_REPLACE, .flags = FLAG_FLAGGED };
	struct uid_set set = { 0 };
	char name[20];

	if (h == NULL)
		return;
	keyword_of((size_t)(h - t->h), name);
	change.flags |= view_keyword(t->v, str_of(name), true);
	change.flags |= (rand_r(&t->seed) % 2 ? FLAG_SEEN : 0) | (rand_r(&t->seed) % 2 ? FLAG_DELETED : 0);
	uid_set_add(&set, &a, h->inbox_uid, h->inbox_uid);
	EXPECT_OK(view_store_flags(t->v, t->inbox, &set, &change, &a, NULL, NULL));
}

static void do_share(struct story *t)
{
	struct share *x = &t->shares[t->n_shares++];
	const struct acl_entry line = { { SUBJECT_ACCOUNT, 8, STR(""), STR("bob@example.test") }, false, rand_r(&t->seed) % (RIGHTS_ALL + 1) };

	*x = (struct share){ powercut_position(t->trace_path), SIZE_MAX, line.rights };
	EXPECT_OK(acl_write(t->v, t->inbox, ACL_SET, &line));
	x->acked = powercut_position(t->trace_path);
}

static void open_story(struct story *t)
{
	const struct view_config config = { .account = 7 };
	char name[20];

	EXPECT_OK(view_open(t->dir, &config, &t->v));
	view_set_undelete_days(t->v, 0);
	for (int i = 0; i < KEYWORDS_MAX - 8; i++) {  /* nearly all: what no message has goes when it is closed again */
		snprintf(name, sizeof name, "none%d", i);
		(void)!view_keyword(t->v, str_of(name), true);
	}
}

static void do_sleep(struct story *t)
{
	EXPECT_OK(view_close(t->v));
	open_story(t);
}

static void note_moment(struct story *t)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct mailbox m;

	EXPECT_OK(view_mailbox_get(t->v, t->inbox, &a, &m));
	t->moments[t->n_moments++] = (struct moment){ .at = powercut_position(t->trace_path), .modseq = view_modseq(t->v),
		.inbox_uidnext = m.uidnext, .inbox_highest = m.highestmodseq, .flagged = count_flagged(t->v, t->inbox) };
}

static void run_story(struct story *t)
{
	for (int i = 0; i < OPERATIONS; i++) {
		switch (rand_r(&t->seed) % 20) {
		case 0: case 1: case 2: case 3: case 4: case 5:
			do_append(t);
			break;
		case 6: case 7:
			do_remove(t, false);
			break;
		case 8: case 9:
			do_remove(t, true);
			break;
		case 10:
			view_tick(t->v);
			break;
		case 11:
			do_compact(t);
			break;
		case 12: case 13:
			do_share(t);
			break;
		case 14:
			index_step(t->v, 20);
			break;
		case 15:
			do_sleep(t);
			break;
		default:
			do_flag(t);
		}
		note_moment(t);
	}
}

/* ----------------------------------------------------------------------------------------------------- after a cut */

/* Where a message is: by its uid in a mailbox; its bytes must be right. */
static bool is_in(struct view *v, int64_t mailbox_id, uint32_t uid, size_t number)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf text = BUF(4 << 20);
	struct uid_set set = { 0 };
	struct message_row row;
	struct selected *s;
	struct body body;
	uint32_t next = 0;
	size_t n;
	char *got;

	if (uid == 0)
		return false;
	uid_set_add(&set, &a, uid, uid);
	EXPECT_OK(selected_open(v, mailbox_id, NULL, &s));
	n = selected_rows_by_uid(s, &set, 0, &next, &row, 1);
	selected_close(s);
	if (n == 0)
		return false;
	text_of(number, number % 50 == 7, &text);
	EXPECT_OK(body_open(v, row.email, &body));
	EXPECT_INT(body.size, text.n);
	got = arena_alloc(&a, body.size);
	EXPECT_OK(body_read(&body, 0, got, body.size));
	EXPECT(str_eq(str_make(got, body.size), buf_str(&text)));
	body_close(&body);
	return true;
}

static void check_message(const struct story *t, struct view *v, size_t number, size_t cut)
{
	const struct history *h = &t->h[number];
	bool in_inbox = is_in(v, t->inbox, h->inbox_uid, number), in_archive = is_in(v, t->archive, h->archive_uid, number),
		 fits = false;
	enum place_kind promised = NOWHERE;

	for (size_t i = 0; i < h->n; i++)
		if (h->step[i].acked <= cut)
			promised = h->step[i].where;
	for (size_t i = 0; i <= h->n; i++) {  /* the promised state, or that of any operation begun after it */
		enum place_kind where = i == 0 ? promised : h->step[i - 1].where;
		if (i > 0 && (h->step[i - 1].acked <= cut || h->step[i - 1].from > cut))
			continue;
		fits = fits || (in_inbox == (where == IN_INBOX) && in_archive == (where == IN_ARCHIVE));
	}
	EXPECT(fits);
}

/* The rights that were promised last, or those of any change begun after it; and nobody believes that control has been told of them. */
static void check_shares(const struct story *t, struct view *v, size_t cut)
{
	const struct guest bob = { .account = 8 };
	const struct share *promised = t->shares;
	bool fits = false;
	unsigned rights;

	for (size_t i = 1; i < t->n_shares; i++)
		if (t->shares[i].acked <= cut)
			promised = &t->shares[i];
	EXPECT_OK(rights_of(v, t->inbox, &bob, &rights));
	for (const struct share *x = promised; x < t->shares + t->n_shares; x++)
		fits = fits || (rights == x->rights && (x == promised || x->from <= cut));
	EXPECT(fits);
	EXPECT(promised == t->shares || acl_is_untold(v));
}

/* The index never denies what is there: no number of an email that it knows has come to mean another one. */
static void check_index(const struct story *t, struct view *v)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct message_row rows[MESSAGES_MAX];
	struct selected *s;
	uint32_t next = 0;
	size_t n;

	EXPECT_OK(selected_open(v, t->inbox, NULL, &s));
	n = selected_rows(s, NULL, 0, &next, rows, COUNT_OF(rows));
	selected_close(s);
	for (size_t i = 0; i < t->n; i += 5) {
		struct index_needle needle = { .text = arena_printf(&a, "%zu", i), .fields = INDEX_SUBJECT };
		index_find(v, &needle, 1, &a);
		for (size_t k = 0; k < n; k++)
			EXPECT(rows[k].uid != t->h[i].inbox_uid || index_hit(needle.hits, rows[k].email) != HIT_NO);
	}
}

static void check_counters(struct view *v, int64_t mailbox_id)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct message_row rows[MESSAGES_MAX];
	struct selected *s;
	struct mailbox m;
	uint32_t next = 0, unseen = 0, deleted = 0;
	size_t n;

	EXPECT_OK(view_mailbox_get(v, mailbox_id, &a, &m));
	EXPECT_OK(selected_open(v, mailbox_id, NULL, &s));
	n = selected_rows(s, NULL, 0, &next, rows, COUNT_OF(rows));
	for (size_t i = 0; i < n; i++) {
		unseen += !(rows[i].flags & FLAG_SEEN);
		deleted += !!(rows[i].flags & FLAG_DELETED);
		EXPECT(rows[i].modseq <= m.highestmodseq);
	}
	EXPECT_INT(m.messages, n);
	EXPECT_INT(m.unseen, unseen);
	EXPECT_INT(m.deleted, deleted);
	selected_close(s);
}

/* A message has no keyword but its own: never one that got the bit later, or had it before. */
static void check_keywords(const struct story *t, struct view *v)
{
	struct message_row rows[MESSAGES_MAX];
	struct str names[KEYWORDS_MAX];
	uint64_t named = view_keywords(v, names);
	struct selected *s;
	uint32_t next = 0;
	char name[20];

	EXPECT_OK(selected_open(v, t->inbox, NULL, &s));
	size_t n = selected_rows(s, NULL, 0, &next, rows, COUNT_OF(rows));
	selected_close(s);
	for (size_t i = 0; i < n; i++) {
		size_t number = 0;
		while (number < t->n && t->h[number].inbox_uid != rows[i].uid)
			number++;
		keyword_of(number, name);
		EXPECT((rows[i].flags & FLAGS_KEYWORDS & ~named) == 0);
		for (int k = 0; k < KEYWORDS_MAX; k++)
			if (rows[i].flags & FLAG_KEYWORD(k))
				EXPECT_STR(names[k], name);
	}
}

static void check_cut(const struct story *t, struct str trace, size_t cut, unsigned seed)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	char *dir = mem_strdup(str_cstr(&a, arena_printf(&a, "%s.cut", t->dir)));
	struct view_config config = { .account = 7 };
	struct append_new in = { .mailbox_id = t->inbox };
	struct moment knew = { 0 };
	struct mailbox inbox;
	struct append *ap;
	struct appended *done;
	struct view *v;
	size_t n;

	powercut_rebuild(trace, cut, t->dir, dir, seed);
	EXPECT_OK(view_open(dir, &config, &v));
	for (size_t i = 0; i < t->n; i++)
		check_message(t, v, i, cut);
	check_shares(t, v, cut);
	check_keywords(t, v);
	check_counters(v, t->inbox);
	check_counters(v, t->archive);
	if (seed % 8 == 0)
		check_index(t, v);
	for (size_t i = 0; i < t->n_moments && t->moments[i].at <= cut; i++)
		knew = t->moments[i];
	EXPECT_OK(view_mailbox_get(v, t->inbox, &a, &inbox));
	EXPECT(inbox.highestmodseq >= knew.inbox_highest);
	/* a client that knows all up to a modseq that still counts has the right flags */
	if (view_modseq_floor(v, knew.modseq) != 0 && knew.modseq == view_modseq(v))
		EXPECT_INT(count_flagged(v, t->inbox), knew.flagged);
	/* no uid and no modseq that anybody saw is given out again */
	EXPECT_OK(append_begin(v, &ap));
	EXPECT_OK(append_message(ap, &in, 0));
	EXPECT_OK(append_write(ap, STR("new\r\n")));
	EXPECT_OK(append_end(ap));
	EXPECT_OK(append_commit(&ap, &a, &done, &n));
	EXPECT(done[0].uid >= knew.inbox_uidnext);
	EXPECT(view_modseq(v) > knew.modseq);
	view_close(v);
	test_dir_remove(dir);
}
#endif

TEST(every_power_cut_keeps_what_was_acknowledged)
{
#ifdef FACTEUR_FAULT
	CLEANUP(arena_free) struct arena a = { 0 };
	struct story *t = arena_alloc(&a, sizeof *t);
	struct mailbox m;
	const char *seed = getenv("SEED");
	struct str trace;
	size_t ready;

	t->dir = test_dir();
	t->seed = seed ? (unsigned)strtoul(seed, NULL, 10) : 17;
	t->trace_path = powercut_start(&a, t->dir);
	open_story(t);
	EXPECT_OK(view_mailbox_by_role(t->v, MAILBOX_INBOX, &a, &m));
	t->inbox = m.mailbox_id;
	EXPECT_OK(view_mailbox_by_role(t->v, MAILBOX_ARCHIVE, &a, &m));
	t->archive = m.mailbox_id;
	ready = powercut_position(t->trace_path);
	t->n_shares = 1;
	run_story(t);
	view_close(t->v);
	clock_wall_offset(0);
	trace = powercut_stop(&a, t->trace_path);
	for (unsigned i = 0; i < CUTS; i++)
		check_cut(t, trace, powercut_after(trace, ready, (unsigned)rand_r(&t->seed) % 3000), i);
	check_cut(t, trace, trace.n, 0);
	test_dir_remove(t->dir);
#endif
}
