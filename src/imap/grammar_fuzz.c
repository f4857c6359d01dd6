/* The words of IMAP, each rule by itself, without an account: so many a second that sets, dates and names of every kind are tried. What is
 * read and can be written is written and read again: it must mean the same. The first byte chooses the rule. */
#include "base/bytes.h"
#include "imap/grammar.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { NAME_MAX_B = 1000 };

static bool is_same_set(const struct uid_set *a, const struct uid_set *b)
{
	return a->n == b->n && (a->n == 0 || memcmp(a->r, b->r, a->n * sizeof *a->r) == 0);
}

static void try_set(struct scan *s, struct arena *a)
{
	CLEANUP(buf_free) struct buf text = BUF(1 << 20);
	struct uid_set set = { 0 }, again = { 0 };

	if (!imap_sequence_set(s, a, &set) || s->failed)
		return;
	assert(set.n > 0 && set.n <= IMAP_SET_RANGES_MAX);
	for (size_t i = 0; i < set.n; i++)
		assert(set.r[i].first >= 1 && set.r[i].first <= set.r[i].last && (i == 0 || set.r[i].first > set.r[i - 1].last + 1));
	uid_set_star(&set, 7000);
	uid_set_put(&text, &set);
	struct scan t = scan_of(buf_str(&text));
	assert(imap_sequence_set(&t, a, &again) && !t.failed && scan_done(&t));
	assert(is_same_set(&set, &again));
}

static void try_date_time(struct scan *s, struct arena *a)
{
	CLEANUP(buf_free) struct buf text = BUF(100);
	int64_t when = imap_date_time(s);

	(void)a;
	if (s->failed)
		return;
	imap_put_date_time(&text, when);
	struct scan t = scan_of(buf_str(&text));
	assert(imap_date_time(&t) == when && !t.failed && scan_done(&t));
}

/* Strings are written in one of three ways, and read as what they were. */
static void expect_string(struct str said, bool is_utf8)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf text = BUF(1 << 20);

	imap_put_string(&text, said, is_utf8);
	struct scan t = scan_of(buf_str(&text));
	struct str again = imap_string(&t, &a);
	assert(!t.failed && scan_done(&t) && str_eq(again, said));
}

static void try_string(struct scan *s, struct arena *a)
{
	struct str said = imap_astring(s, a);

	if (s->failed)
		return;
	expect_string(said, false);
	expect_string(said, utf8_valid(said));
}

static void expect_mailbox(struct str path, bool is_utf8)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf text = BUF(1 << 20);

	imap_put_mailbox(&text, path, is_utf8);
	struct scan t = scan_of(buf_str(&text));
	struct str again = imap_mailbox(&t, &a, is_utf8);
	assert(!t.failed && scan_done(&t) && str_eq(again, path));
}

static void mailbox(struct scan *s, struct arena *a, bool is_utf8)
{
	struct str path = imap_mailbox(s, a, is_utf8);

	if (s->failed)
		return;
	assert(utf8_valid(path));
	if (path.n == 0 || path.n > NAME_MAX_B || str_has_ctl(path))  /* no mailbox has such a name */
		return;
	expect_mailbox(path, false);
	expect_mailbox(path, true);
}

static void try_mailbox(struct scan *s, struct arena *a) { mailbox(s, a, false); }
static void try_mailbox_utf8(struct scan *s, struct arena *a) { mailbox(s, a, true); }

/* A pattern and a path: each path matches itself and "*", and a pattern of many stars must not take for ever. */
static void try_pattern(struct scan *s, struct arena *a)
{
	struct str pattern = imap_list_mailbox(s, a, false);

	imap_sp(s);
	struct str path = imap_mailbox(s, a, false);
	if (s->failed || path.n > NAME_MAX_B)
		return;
	bool matches = imap_list_match(pattern, path);
	assert(imap_list_match(STR("*"), path));
	assert(!matches || pattern.n > 0 || path.n == 0);
	if (memchr(path.p, '*', path.n) == NULL && memchr(path.p, '%', path.n) == NULL)
		assert(imap_list_match(path, path));
}

static void try_rest(struct scan *s, struct arena *a)
{
	struct scan date = *s, number = *s, flag = *s, id = *s, nstring = *s;
	struct imap_literal literal;

	imap_date(&date);
	assert(imap_number64(&number) <= INT64_MAX);
	struct str f = imap_flag(&flag);
	assert(flag.failed || (f.n > 0 && !str_has_ctl(f)));
	imap_scan_id(&id, a);
	imap_nstring(&nstring, a);
	if (imap_literal_announced(scan_rest(s), &literal))
		assert(literal.at < scan_left(s) && (s->p[literal.at] == '{' || s->p[literal.at] == '~'));
	struct str tag = imap_tag(s);
	assert(s->failed || (tag.n > 0 && tag.n <= IMAP_TAG_MAX && memchr(tag.p, '+', tag.n) == NULL));
}

static void (*const rules[])(struct scan *s, struct arena *a) = {
	try_set, try_date_time, try_string, try_mailbox, try_mailbox_utf8, try_pattern, try_rest,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	CLEANUP(arena_free) struct arena a = { 0 };

	if (n == 0)
		return 0;
	struct scan s = scan_of(str_make(data + 1, n - 1));
	rules[data[0] % COUNT_OF(rules)](&s, &a);
	return 0;
}
