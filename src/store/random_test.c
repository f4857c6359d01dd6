/* Random operations on an account and on a simple model of it, side by side; several sessions look at it, each checked
 * against what a client would know. After each round the account is closed (or not: the process "dies") and opened
 * again. */
#include "base/test.h"
#include "store/metadata.h"
#include "store/rights.h"
#include "store/view.h"
#include <stdlib.h>

enum { BOXES = 3, MESSAGES_MAX = 3000, SESSIONS = 4, ROUNDS = 8, STEPS = 400 };

static const struct subject subjects[] = { { SUBJECT_ANYONE, 0, { "", 0 }, { "anyone", 6 } }, { SUBJECT_ACCOUNT, 8, { "", 0 }, { "bob", 3 } },
                                           { SUBJECT_GROUP, 0, { "team", 4 }, { "$team", 5 } } };

struct model_message {
	uint32_t uid, size;
	uint64_t flags, modseq;
	bool     is_gone;
};

struct model_box {
	int64_t  mailbox_id;
	uint32_t uidnext;
	size_t   n;
	struct model_message m[MESSAGES_MAX];
	unsigned rights[COUNT_OF(subjects)][2];   /* given; taken */
};

struct client {  /* what a mail program believes */
	struct selected *s;
	int              box;
	size_t           n;
	uint32_t         uid[MESSAGES_MAX];
	uint64_t         flags[MESSAGES_MAX];
};

struct world {
	const char      *dir;
	struct view     *v;
	struct model_box box[BOXES];
	struct client    client[SESSIONS];
	uint64_t         modseq, highest[BOXES];   /* HIGHESTMODSEQ that somebody was told */
	char             keywords[KEYWORDS_MAX][20];
	unsigned         opened;
	unsigned         seed;
};

static unsigned pick(struct world *w, unsigned n)
{
	return (unsigned)rand_r(&w->seed) % n;
}

static void model_add(struct world *w, struct model_box *b, uint32_t uid, uint32_t size, uint64_t flags)
{
	EXPECT(uid >= b->uidnext);  /* never reused */
	b->uidnext = uid + 1;
	EXPECT(b->n < MESSAGES_MAX);
	b->m[b->n++] = (struct model_message){ uid, size, flags, view_modseq(w->v), false };
}

static struct uid_set some_uids(struct world *w, struct model_box *b, struct arena *a)
{
	struct uid_set set = { 0 };
	unsigned ranges = 1 + pick(w, 3);

	for (unsigned i = 0; i < ranges; i++) {
		uint32_t first = 1 + pick(w, b->uidnext + 2);
		uid_set_add(&set, a, first, first + pick(w, 5));
	}
	return set;
}

static uint64_t some_flags(struct world *w)
{
	return ((uint64_t)rand_r(&w->seed) & FLAGS_SYSTEM) | FLAG_KEYWORD((w->opened * 7 + pick(w, 4)) % KEYWORDS_MAX);
}

static void expect_modseq_grew(struct world *w, bool changed)
{
	uint64_t now = view_modseq(w->v);

	EXPECT(changed ? now > w->modseq : now == w->modseq);
	w->modseq = now;
}

/* ------------------------------------------------------------------------------------------------------ operations */

/* bob, who is anyone and in the team, has the sum of what is given to these, less the sum of what is taken. */
static void check_rights(struct world *w)
{
	static struct str team = { "team", 4 };
	const struct guest bob = { .account = 8, .is_anyone = true, .groups = &team, .n_groups = 1 };

	for (int i = 0; i < BOXES; i++) {
		unsigned given = 0, taken = 0, rights;
		for (size_t k = 0; k < COUNT_OF(subjects); k++) {
			given |= w->box[i].rights[k][0];
			taken |= w->box[i].rights[k][1];
		}
		EXPECT_OK(rights_of(w->v, w->box[i].mailbox_id, &bob, &rights));
		EXPECT_INT(rights, given & ~taken);
	}
}

static void do_share(struct world *w)
{
	struct model_box *b = &w->box[pick(w, BOXES)];
	size_t k = pick(w, COUNT_OF(subjects)), negative = pick(w, 2);
	enum acl_change how = (enum acl_change)pick(w, 3);
	const struct acl_entry line = { subjects[k], negative, (unsigned)rand_r(&w->seed) & (unsigned)rand_r(&w->seed) & RIGHTS_ALL };  /* NOLINT: two draws */
	unsigned *model = &b->rights[k][negative], before = *model;

	*model = how == ACL_SET ? line.rights : how == ACL_ADD ? before | line.rights : before & ~line.rights;
	EXPECT_OK(acl_write(w->v, b->mailbox_id, how, &line));
	expect_modseq_grew(w, *model != before);
	check_rights(w);
}

static void do_note(struct world *w)
{
	const struct metadata note = { STR("/private/comment"), str_make("0123456789", pick(w, 10)), 0 };

	EXPECT_OK(metadata_write(w->v, w->box[pick(w, BOXES)].mailbox_id, 0, &note, 1));
	expect_modseq_grew(w, true);
}

static void do_append(struct world *w, struct arena *a)
{
	struct model_box *b = &w->box[pick(w, BOXES)];
	struct append_new in = { .mailbox_id = b->mailbox_id, .internal_date = 1, .flags = some_flags(w) };
	struct append *ap;
	struct appended *done;
	size_t n, messages = 1 + pick(w, 3), sizes[3];
	static const char text[] = "Subject: x\r\n\r\n0123456789012345678901234567890123456789";

	EXPECT_OK(append_begin(w->v, &ap));
	for (size_t i = 0; i < messages; i++) {
		sizes[i] = 15 + pick(w, 30);
		EXPECT_OK(append_message(ap, &in, 0));
		EXPECT_OK(append_write(ap, str_make(text, sizes[i])));
		EXPECT_OK(append_end(ap));
	}
	EXPECT_OK(append_commit(&ap, a, &done, &n));
	EXPECT_INT(n, messages);
	for (size_t i = 0; i < n; i++)
		model_add(w, b, done[i].uid, (uint32_t)sizes[i], in.flags);
	expect_modseq_grew(w, true);
}

static void do_store(struct world *w, struct arena *a)
{
	struct model_box *b = &w->box[pick(w, BOXES)];
	struct uid_set set = some_uids(w, b, a), modified, expected = { 0 };
	struct flags_change change = { .op = (enum flags_op)pick(w, 3),
								   .flags = some_flags(w),
								   .has_unchanged_since = pick(w, 3) == 0 };
	uint64_t modseq;
	bool changed = false;

	change.unchanged_since = w->modseq > 5 ? w->modseq - pick(w, 5) : 0;
	EXPECT_OK(view_store_flags(w->v, b->mailbox_id, &set, &change, a, &modified, &modseq));
	for (size_t i = 0; i < b->n; i++) {
		struct model_message *m = &b->m[i];
		uint64_t flags = change.op == FLAGS_ADD		 ? m->flags | change.flags
						 : change.op == FLAGS_REMOVE ? m->flags & ~change.flags
													 : change.flags;
		if (m->is_gone || !uid_set_has(&set, m->uid))
			continue;
		if (change.has_unchanged_since && m->modseq > change.unchanged_since) {
			uid_set_add(&expected, a, m->uid, m->uid);
		} else if (flags != m->flags) {
			m->flags = flags;
			m->modseq = modseq;
			changed = true;
		}
	}
	EXPECT_STR(str_of(uid_set_text(&modified, a)), uid_set_text(&expected, a));
	EXPECT(changed == (modseq != 0));
	expect_modseq_grew(w, changed);
}

static void do_transfer(struct world *w, struct arena *a, bool move)
{
	struct model_box *from = &w->box[pick(w, BOXES)], *to = &w->box[pick(w, BOXES)];
	struct uid_set set = some_uids(w, from, a);
	struct copied copied;
	size_t n = from->n;
	uint32_t uid = to->uidnext;
	bool changed = false;

	EXPECT_OK((move ? view_move : view_copy)(w->v, from->mailbox_id, &set, to->mailbox_id, a, &copied));
	EXPECT_INT(uid_set_count(&copied.from), uid_set_count(&copied.to));
	for (size_t i = 0; i < n; i++) {
		struct model_message *m = &from->m[i];
		if (m->is_gone || !uid_set_has(&set, m->uid))
			continue;
		EXPECT(uid_set_has(&copied.from, m->uid));
		EXPECT(uid_set_has(&copied.to, uid));
		m->is_gone = move;
		if (move)
			m->modseq = view_modseq(w->v);
		model_add(w, to, uid++, m->size, m->flags);
		changed = true;
	}
	expect_modseq_grew(w, changed);
}

static void do_expunge(struct world *w, struct arena *a)
{
	struct model_box *b = &w->box[pick(w, BOXES)];
	struct uid_set set = some_uids(w, b, a), gone;
	bool only_deleted = pick(w, 2), changed = false;

	EXPECT_OK(view_expunge(w->v, b->mailbox_id, &set, only_deleted, a, &gone));
	for (size_t i = 0; i < b->n; i++) {
		struct model_message *m = &b->m[i];
		bool goes = !m->is_gone && uid_set_has(&set, m->uid) && (!only_deleted || (m->flags & FLAG_DELETED));
		EXPECT_INT(goes, uid_set_has(&gone, m->uid));
		if (!goes)
			continue;
		m->is_gone = true;
		m->modseq = view_modseq(w->v);
		changed = true;
	}
	expect_modseq_grew(w, changed);
}

/* --------------------------------------------------------------------------------------------------------- clients */

static void client_reads_all(struct client *c)
{
	struct message_row rows[64];
	uint32_t next = 0;
	size_t n;

	c->n = 0;
	while ((n = selected_rows(c->s, NULL, 0, &next, rows, COUNT_OF(rows))) > 0)
		for (size_t i = 0; i < n; i++) {
			EXPECT_INT(rows[i].seq, c->n + 1);
			c->uid[c->n] = rows[i].uid;
			c->flags[c->n++] = rows[i].flags & ~FLAG_GONE;
		}
	EXPECT_INT(c->n, selected_count(c->s));
}

static void client_opens(struct world *w, struct client *c)
{
	c->box = (int)pick(w, BOXES);
	EXPECT_OK(selected_open(w->v, w->box[c->box].mailbox_id, NULL, &c->s));
	client_reads_all(c);
}

static void client_hears(struct client *c, const struct news *news)
{
	struct message_row rows[64];
	uint32_t next;
	size_t n;

	for (size_t i = 0; i < news->n_removed; i++) {
		uint32_t at = news->removed[i].seq - 1;
		EXPECT(at < c->n);
		EXPECT_INT(c->uid[at], news->removed[i].uid);
		memmove(&c->uid[at], &c->uid[at + 1], (c->n - at - 1) * sizeof c->uid[0]);
		memmove(&c->flags[at], &c->flags[at + 1], (c->n - at - 1) * sizeof c->flags[0]);
		c->n--;
	}
	EXPECT(news->exists >= c->n);
	EXPECT_INT(news->has_new, news->exists > c->n);
	for (size_t i = 0; i < news->n_changed; i++) {
		EXPECT(news->changed[i].seq <= c->n);
		EXPECT_INT(c->uid[news->changed[i].seq - 1], news->changed[i].uid);
		c->flags[news->changed[i].seq - 1] = news->changed[i].flags;
	}
	next = (uint32_t)c->n;
	while ((n = selected_rows(c->s, NULL, 0, &next, rows, COUNT_OF(rows))) > 0)
		for (size_t i = 0; i < n; i++) {
			EXPECT_INT(rows[i].seq, c->n + 1);
			c->uid[c->n] = rows[i].uid;
			c->flags[c->n++] = rows[i].flags;
		}
	EXPECT_INT(c->n, news->exists);
}

/* Nothing is withheld from a client that hears everything: it knows exactly what is there. */
static void client_is_right(struct world *w, const struct client *c)
{
	const struct model_box *b = &w->box[c->box];
	uint32_t unseen = 0;
	size_t at = 0;

	for (size_t i = 0; i < b->n; i++) {
		if (b->m[i].is_gone)
			continue;
		EXPECT(at < c->n);
		EXPECT_INT(c->uid[at], b->m[i].uid);
		EXPECT_INT(c->flags[at], b->m[i].flags);
		if (unseen == 0 && !(c->flags[at] & FLAG_SEEN))
			unseen = (uint32_t)at + 1;
		at++;
	}
	EXPECT_INT(at, c->n);
	EXPECT_INT(selected_first_unseen(c->s), unseen);
}

static void client_looks(struct world *w, struct client *c, struct arena *a)
{
	bool removals = pick(w, 2);
	struct selected_state parked;
	struct news news;

	if (c->s == NULL) {
		client_opens(w, c);
		return;
	}
	switch (pick(w, 4)) {
	case 0:  /* parked, told by render or not, and back */
		selected_state(c->s, &parked);
		EXPECT_INT(parked.count, c->n);
		selected_close(c->s);
		EXPECT_OK(selected_open(w->v, parked.mailbox_id, &parked, &c->s));
		EXPECT_INT(selected_count(c->s), c->n);
		for (uint32_t seq = 1; seq <= c->n; seq++) {
			EXPECT_INT(selected_uid(c->s, seq), c->uid[seq - 1]);
			EXPECT_INT(selected_seq(c->s, c->uid[seq - 1]), seq);
		}
		break;
	case 1:
		selected_close(c->s);
		c->s = NULL;
		break;
	default:
		selected_news(c->s, removals, a, &news);
		client_hears(c, &news);
		if (removals)
			client_is_right(w, c);
	}
}

/* ---------------------------------------------------------------------------------------------------------- checks */

static void check_counters(struct world *w, struct arena *a)
{
	uint64_t messages = 0;
	struct quota quota;

	for (int i = 0; i < BOXES; i++) {
		const struct model_box *b = &w->box[i];
		uint32_t count = 0, unseen = 0, deleted = 0;
		uint64_t size = 0;
		struct mailbox m;
		for (size_t k = 0; k < b->n; k++) {
			if (b->m[k].is_gone)
				continue;
			count++;
			unseen += !(b->m[k].flags & FLAG_SEEN);
			deleted += !!(b->m[k].flags & FLAG_DELETED);
			size += b->m[k].size;
		}
		EXPECT_OK(view_mailbox_get(w->v, b->mailbox_id, a, &m));
		EXPECT_INT(m.messages, count);
		EXPECT_INT(m.unseen, unseen);
		EXPECT_INT(m.deleted, deleted);
		EXPECT_INT(m.size, size);
		EXPECT_INT(m.uidnext, b->uidnext);
		EXPECT(m.highestmodseq >= w->highest[i] && m.highestmodseq <= view_modseq(w->v));
		w->highest[i] = m.highestmodseq;
		messages += count;
	}
	view_quota(w->v, &quota);
	EXPECT_INT(quota.messages, messages);
}

static void check_vanished(struct world *w, struct arena *a)
{
	const struct model_box *b = &w->box[pick(w, BOXES)];
	uint64_t since = 1 + pick(w, (unsigned)w->modseq);
	struct uid_set vanished, expected = { 0 };

	if (view_modseq_floor(w->v, since) == 0)
		return;
	EXPECT_OK(view_vanished(w->v, b->mailbox_id, since, NULL, a, &vanished));
	for (size_t i = 0; i < b->n; i++)
		if (b->m[i].is_gone && b->m[i].modseq > since)
			uid_set_add(&expected, a, b->m[i].uid, b->m[i].uid);
	EXPECT_STR(str_of(uid_set_text(&vanished, a)), uid_set_text(&expected, a));
}

static void step(struct world *w)
{
	CLEANUP(arena_free) struct arena a = { 0 };

	switch (pick(w, 13)) {
	case 0: case 1: case 2:
		do_append(w, &a);
		break;
	case 3: case 4: case 5:
		do_store(w, &a);
		break;
	case 6:
		do_transfer(w, &a, false);
		break;
	case 7:
		do_transfer(w, &a, true);
		break;
	case 8:
		do_expunge(w, &a);
		break;
	case 9:
		if (pick(w, 4) == 0)  /* each waits for the disk */
			do_share(w);
		else
			do_note(w);
		break;
	default:
		client_looks(w, &w->client[pick(w, SESSIONS)], &a);
	}
	if (pick(w, 20) == 0) {
		check_counters(w, &a);
		check_vanished(w, &a);
	}
}

/* What a message has is called as before; the others may have gone. */
static void check_keywords(struct world *w)
{
	struct str names[KEYWORDS_MAX];
	uint64_t named = view_keywords(w->v, names), used = 0;

	for (int i = 0; i < BOXES; i++)
		for (size_t k = 0; k < w->box[i].n; k++)
			used |= w->box[i].m[k].is_gone ? 0 : w->box[i].m[k].flags & FLAGS_KEYWORDS;
	EXPECT((used & ~named) == 0);
	for (int k = 0; k < KEYWORDS_MAX; k++)
		if (used & FLAG_KEYWORD(k))
			EXPECT_STR(names[k], w->keywords[k]);
}

/* New ones, as many as there is room for: so the next clean end looks for those that nothing has. */
static void make_keywords(struct world *w)
{
	struct str names[KEYWORDS_MAX];

	for (unsigned i = 0; i < KEYWORDS_MAX; i++) {
		char name[20];
		snprintf(name, sizeof name, "k%u.%u", w->opened, i);
		(void)!view_keyword(w->v, str_of(name), true);
	}
	EXPECT(view_keywords(w->v, names) == FLAGS_KEYWORDS);
	for (int k = 0; k < KEYWORDS_MAX; k++)
		snprintf(w->keywords[k], sizeof w->keywords[k], STR_FMT, STR_ARG(names[k]));
}

static void open_world(struct world *w)
{
	struct view_config config = { .account = 7 };

	EXPECT_OK(view_open(w->dir, &config, &w->v));
	EXPECT(view_modseq(w->v) >= w->modseq);
	w->modseq = view_modseq(w->v);
	check_keywords(w);
	make_keywords(w);
	w->opened++;
}

/* Cleanly, or as if the process died. */
static void close_world(struct world *w, bool dies)
{
	for (int i = 0; i < SESSIONS; i++) {
		selected_close(w->client[i].s);
		w->client[i].s = NULL;
	}
	if (dies)
		view_close_unclean(w->v);
	else
		EXPECT_OK(view_close(w->v));
}

/* What the database says of each message. */
static void check_messages(struct world *w)
{
	struct message_row rows[MESSAGES_MAX];

	for (int i = 0; i < BOXES; i++) {
		struct selected *s;
		uint32_t next = 0;
		EXPECT_OK(selected_open(w->v, w->box[i].mailbox_id, NULL, &s));
		size_t n = selected_rows(s, NULL, 0, &next, rows, COUNT_OF(rows)), at = 0;
		for (size_t k = 0; k < w->box[i].n; k++) {
			const struct model_message *m = &w->box[i].m[k];
			if (m->is_gone)
				continue;
			EXPECT(at < n);
			EXPECT_INT(rows[at].uid, m->uid);
			EXPECT_INT(rows[at].flags, m->flags);
			EXPECT_INT(rows[at++].modseq, m->modseq);
		}
		EXPECT_INT(at, n);
		for (at = 0; at < n && (rows[at].flags & FLAG_SEEN); at++)
			;
		EXPECT_INT(selected_first_unseen(s), at < n ? rows[at].seq : 0);
		selected_close(s);
	}
}

TEST(random_operations_agree_with_a_model)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct world *w = arena_alloc(&a, sizeof *w);
	static const enum mailbox_role roles[BOXES] = { MAILBOX_INBOX, MAILBOX_ARCHIVE, MAILBOX_TRASH };
	const char *seed = getenv("SEED");

	w->dir = test_dir();
	w->seed = seed ? (unsigned)strtoul(seed, NULL, 10) : 20261124;
	open_world(w);
	for (int i = 0; i < BOXES; i++) {
		struct mailbox m;
		EXPECT_OK(view_mailbox_by_role(w->v, roles[i], &a, &m));
		w->box[i].mailbox_id = m.mailbox_id;
		w->box[i].uidnext = 1;
	}
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < STEPS; i++)
			step(w);
		check_counters(w, &a);
		close_world(w, pick(w, 2));
		open_world(w);
		check_counters(w, &a);
		check_messages(w);
		check_rights(w);
	}
	close_world(w, false);
	test_dir_remove(w->dir);
}
