/* SEARCH, and how it and SORT answer: the old line of numbers, or ESEARCH with what RETURN asked for; "$" for later commands.
 *
 * What is found stands in the order of the mailbox as a set of ranges (a million messages that match are one range), and for SORT
 * as a list in its own order. A PARTIAL is cut out of either by position. */
#include "base/clock.h"
#include "imap/context_private.h"

void search_found_add(struct imap_cmd *c, const struct search *q, struct found *f, const struct message_row *row)
{
	uint32_t number = c->is_uid ? row->uid : row->seq;

	if (q->returns & RETURN_RELEVANCY) {
		f->relevancy = arena_grow(&c->arena, f->relevancy, f->count, &f->relevancy_cap, 1);
		f->relevancy[f->count] = (uint8_t)q->relevancy;
	}
	uid_set_add(&f->set, &c->arena, number, number);
	if (f->wants_uids)
		uid_set_add(&f->uids, &c->arena, row->uid, row->uid);
	if (f->count++ == 0) {
		f->min = number;
		f->min_uid = row->uid;
		f->min_modseq = row->modseq;
	}
	f->max = number;
	f->max_uid = row->uid;
	f->max_modseq = row->modseq;
	if (row->modseq > f->modseq)
		f->modseq = row->modseq;
}

/* Which of n results, counted from 0, a range means: from *first, *length of them. */
static void positions(const struct imap_partial *p, uint64_t n, uint64_t *first, uint64_t *length)
{
	uint64_t from = p->first, to = p->last < n ? p->last : n;

	*first = *length = 0;
	if (from > n)
		return;
	*length = to - from + 1;
	*first = p->is_from_end ? n - to : from - 1;
}

/* Members first … first + length - 1 of a set, in its order. */
static void set_slice(const struct uid_set *set, uint64_t first, uint64_t length, struct arena *a, struct uid_set *out)
{
	for (size_t i = 0; i < set->n && length > 0; i++) {
		uint64_t n = (uint64_t)set->r[i].last - set->r[i].first + 1;
		if (first >= n) {
			first -= n;
			continue;
		}
		uint64_t take = n - first < length ? n - first : length;
		uid_set_add(out, a, (uint32_t)(set->r[i].first + first), (uint32_t)(set->r[i].first + first + take - 1));
		length -= take;
		first = 0;
	}
}

/* Numbers in the order of a SORT; "2:4" only where they ascend one by one. */
static void put_order(struct imap_session *s, const uint32_t *n, uint64_t count)
{
	for (uint64_t i = 0; i < count;) {
		uint64_t end = i + 1;
		while (end < count && n[end] == n[end - 1] + 1)
			end++;
		if (i > 0)
			buf_add_char(&s->out, ',');
		imap_put_number(&s->out, n[i]);
		if (end - i > 1) {
			buf_add_char(&s->out, ':');
			imap_put_number(&s->out, n[end - 1]);
		}
		imap_spill(s);
		i = end;
	}
}

/* RFC 7162 §3.1.10: with MIN or MAX alone the modseq is that of these messages */
static uint64_t modseq_of(const struct search *q, const struct found *f)
{
	unsigned only = q->returns & (RETURN_MIN | RETURN_MAX | RETURN_ALL | RETURN_COUNT | RETURN_PARTIAL);

	if (only == RETURN_MIN)
		return f->min_modseq;
	if (only == RETURN_MAX)
		return f->max_modseq;
	if (only == (RETURN_MIN | RETURN_MAX))
		return f->min_modseq > f->max_modseq ? f->min_modseq : f->max_modseq;
	return f->modseq;
}

/* "PARTIAL (1:100 3,7:9)", or NIL where the range has nothing                              RFC 9394 §3.1 */
static void put_partial(struct imap_session *s, struct imap_cmd *c, const struct search *q, const struct found *f)
{
	struct uid_set set = { 0 };
	uint64_t first, length;
	const char *sign = q->partial.is_from_end ? "-" : "";

	positions(&q->partial, f->count, &first, &length);
	buf_printf(&s->out, " PARTIAL (%s%u:%s%u ", sign, q->partial.is_reversed ? q->partial.last : q->partial.first, sign,
	           q->partial.is_reversed ? q->partial.first : q->partial.last);
	if (length == 0) {
		buf_add_cstr(&s->out, "NIL");
	} else if (f->order != NULL) {
		put_order(s, f->order + first, length);
	} else {
		set_slice(&f->set, first, length, &c->arena, &set);
		imap_put_set(s, &set);
	}
	buf_add_char(&s->out, ')');
}

/* "RELEVANCY (4 99 42)", of what is named                                                             RFC 6203 §4 */
static void put_relevancy(struct imap_session *s, const struct search *q, const struct found *f)
{
	uint64_t first = 0, length = f->count;

	if (q->returns & RETURN_PARTIAL)
		positions(&q->partial, f->count, &first, &length);
	buf_add_cstr(&s->out, " RELEVANCY (");
	for (uint64_t i = first; i < first + length; i++) {
		if (i > first)
			buf_add_char(&s->out, ' ');
		imap_put_number(&s->out, f->relevancy[i]);
		imap_spill(s);
	}
	buf_add_char(&s->out, ')');
}

/* "* ESEARCH (TAG "a") UID MIN 2 …"                                                    RFC 9051 §7.3.4, RFC 4731 §3 */
void search_put_esearch(struct imap_session *s, struct imap_cmd *c, const struct search *q, const struct found *f)
{
	struct buf *b = &s->out;

	buf_printf(b, "* ESEARCH (TAG \"" STR_FMT "\"", STR_ARG(c->tag));
	if (f->mailbox.n > 0) {  /* RFC 7377 §2.1 */
		buf_add_cstr(b, " MAILBOX ");
		imap_put_mailbox(b, f->mailbox, imap_names_utf8(s->tongue));
		buf_printf(b, " UIDVALIDITY %u", f->uidvalidity);
	}
	buf_printf(b, ")%s", c->is_uid ? " UID" : "");
	if (f->count > 0) {
		if (q->returns & RETURN_MIN)
			buf_printf(b, " MIN %u", f->min);
		if (q->returns & RETURN_MAX)
			buf_printf(b, " MAX %u", f->max);
		if (q->returns & RETURN_ALL) {
			buf_add_cstr(b, " ALL ");
			if (f->order != NULL)
				put_order(s, f->order, f->count);
			else
				imap_put_set(s, &f->set);
		}
	}
	if (q->returns & RETURN_PARTIAL)
		put_partial(s, c, q, f);
	if ((q->returns & RETURN_RELEVANCY) && f->count > 0)
		put_relevancy(s, q, f);
	if (q->returns & RETURN_COUNT)
		buf_printf(b, " COUNT %llu", (unsigned long long)f->count);
	if (q->has_modseq && f->count > 0)
		buf_printf(b, " MODSEQ %llu", (unsigned long long)modseq_of(q, f));
	buf_add_cstr(b, "\r\n");
}

static void put_one(struct imap_session *s, uint64_t number)
{
	buf_add_char(&s->out, ' ');
	imap_put_number(&s->out, number);
	imap_spill(s);
}

/* "* SEARCH 2 84 882"                                                    RFC 3501 §7.2.5; "* SORT …": RFC 5256 §4 */
static void put_list(struct imap_session *s, const char *word, const struct search *q, const struct found *f)
{
	buf_printf(&s->out, "* %s", word);
	for (uint64_t i = 0; f->order != NULL && i < f->count; i++)
		put_one(s, f->order[i]);
	for (size_t i = 0; f->order == NULL && i < f->set.n; i++)
		for (uint64_t n = f->set.r[i].first; n <= f->set.r[i].last; n++)
			put_one(s, n);
	if (q->has_modseq && f->count > 0)
		buf_printf(&s->out, " (MODSEQ %llu)", (unsigned long long)f->modseq);
	buf_add_cstr(&s->out, "\r\n");
}

/* A few of them, by the options: what "$" means when neither ALL nor COUNT was asked for           RFC 5182 §2.1, RFC 9394 §3.2 */
static void save_some(struct imap_session *s, const struct search *q, const struct found *f)
{
	uint64_t first, length;

	if (q->returns & RETURN_PARTIAL) {
		positions(&q->partial, f->count, &first, &length);
		if (f->order_uids != NULL)
			for (uint64_t i = first; i < first + length; i++)
				uid_set_push(&s->saved, &s->saved_arena, f->order_uids[i], f->order_uids[i]);
		else
			set_slice(&f->uids, first, length, &s->saved_arena, &s->saved);
	}
	if (q->returns & RETURN_MIN)
		uid_set_push(&s->saved, &s->saved_arena, f->min_uid, f->min_uid);
	if (q->returns & RETURN_MAX)
		uid_set_push(&s->saved, &s->saved_arena, f->max_uid, f->max_uid);
	uid_set_sort(&s->saved);
}

/* RETURN (SAVE): "$" is what is found, or only what was asked for; NULL: nothing. */
static void save(struct imap_session *s, const struct search *q, const struct found *f)
{
	arena_reset(&s->saved_arena);
	s->saved = (struct uid_set){ 0 };
	if (f == NULL || f->count == 0)
		return;
	if ((q->returns & (RETURN_MIN | RETURN_MAX | RETURN_PARTIAL)) && !(q->returns & (RETURN_ALL | RETURN_COUNT))) {
		save_some(s, q, f);
		return;
	}
	for (size_t i = 0; i < f->uids.n; i++)
		uid_set_add(&s->saved, &s->saved_arena, f->uids.r[i].first, f->uids.r[i].last);
}

struct imap_reply search_answer(struct imap_session *s, struct imap_cmd *c, const char *word, const struct search *q,
                                const struct found *f, enum err e)
{
	if (q->returns & RETURN_SAVE)
		save(s, q, e == ERR_OK ? f : NULL);
	if (e != ERR_OK)
		return imap_err(c, e);
	if (!q->has_return)
		put_list(s, word, q, f);
	else if ((q->returns & ~(unsigned)RETURN_UPDATE) != RETURN_SAVE && (f->count > 0 || f->mailbox.n == 0))
		search_put_esearch(s, c, q, f);
	return imap_ok(c, str_ieq(str_of(word), STR("SORT")) ? "sorted" : "searched");
}

struct imap_reply search_refuse(struct imap_session *s, struct imap_cmd *c, const struct search *q, const char *usage)
{
	if (!q->is_bad_charset)
		return imap_bad(c, usage);
	if (q->returns & RETURN_SAVE)
		save(s, q, NULL);
	return imap_no(c, "BADCHARSET (US-ASCII UTF-8)", "write the text in UTF-8");
}

bool search_relevancy_is_allowed(struct imap_cmd *c, const struct search *q)
{
	if (!q->wants_relevancy || q->has_fuzzy)
		return true;
	c->why = "RELEVANCY needs a FUZZY key (RFC 6203 section 4)";
	return false;
}

bool search_update_is_allowed(struct imap_session *s, struct imap_cmd *c, const struct search *q)
{
	if (!(q->returns & RETURN_UPDATE) || !context_has(s, c->tag))
		return true;
	c->why = "this tag is in use by a search that is kept up to date; CANCELUPDATE it, or take another (RFC 5267 section 4.3)";
	return false;
}

struct searching {
	struct imap_cmd *c;
	struct search    q;
	struct found     found;
};

static void visit(void *context, const struct message_row *row)
{
	struct searching *x = context;

	search_found_add(x->c, &x->q, &x->found, row);
}

/* SEARCH [search-return-opts] SP search-program                                                   RFC 9051 §6.4.4 */
struct imap_reply imap_search(struct imap_session *s, struct imap_cmd *c)
{
	struct searching x = { .c = c, .q.now = clock_wall_s() };
	struct search *q = &x.q;
	enum err e;

	if (!search_parse_options(s, c, q) || !search_parse_program(s, c, q) || !search_relevancy_is_allowed(c, q) ||
	    !search_update_is_allowed(s, c, q))
		return search_refuse(s, c, q, "[RETURN (MIN MAX ALL COUNT SAVE PARTIAL RELEVANCY UPDATE)] [CHARSET UTF-8] search-keys");
	if (!q->has_return && s->tongue.is_rev2) {
		q->has_return = true;
		q->returns = RETURN_ALL;
	}
	search_limit(s, c, q);
	x.found.wants_uids = (q->returns & (RETURN_SAVE | RETURN_UPDATE)) != 0;
	e = search_run(s, q, visit, &x);
	if (e == ERR_OK && (q->returns & RETURN_UPDATE))
		context_begin(s, c, q, &x.found, NULL);
	return search_answer(s, c, "SEARCH", q, &x.found, e);
}
