/* Which messages does a search program mean? Each message is asked in three steps, from cheap to dear: what is in memory (flags, numbers, modseq), what the summary
 * says (dates, sizes, addresses, subject), and only for what is still open the message itself. A key answers yes, no or "not yet",
 * and AND, OR and NOT of those are known early: "UNSEEN TEXT x" reads unseen messages only. What the index knows of texts is in the first
 * step, so with it most searches read nothing.
 *
 * Text is compared by i;unicode-casemap as a substring of decoded UTF-8 (RFC 9051 §6.4.4, RFC 5051). */
#include "imap/search_private.h"
#include "mime/header.h"
#include "mime/text.h"
#include "text/fold.h"

enum { BATCH = 100, INDEX_AFTER_READ = 300 /* messages */, LARGE_MESSAGE = 1 << 20 };
enum answer { NO, YES, OPEN };
enum step { STEP_ROW, STEP_SUMMARY, STEP_MESSAGE };

struct candidate {
	struct imap_session      *s;
	const struct message_row *row;
	int64_t                   saved;    /* SAVEDATE, where the program asks for it */
	int64_t                   now;
	const struct summary     *sum;      /* from STEP_SUMMARY on */
	struct arena             *arena;    /* of this message */
	struct str                message;  /* in STEP_MESSAGE; p == NULL: not read yet */
	struct mime_part         *root;
	enum err                  e;
};

static bool has_text(struct candidate *m, struct str text, struct str folded_needle)
{
	return fold_contains(m->arena, text, folded_needle);
}

static int64_t day_of(int64_t unix_s)
{
	return unix_s >= 0 ? unix_s / 86400 : -((-unix_s + 86399) / 86400);
}

/* What the index says is true of the words; of HEADER it does not know the field. */
static enum answer from_index(const struct candidate *m, const struct search_key *k)
{
	enum index_hit hit = k->hits != NULL ? index_hit(k->hits, m->row->email) : HIT_MAYBE;

	return hit == HIT_NO ? NO : hit == HIT_YES && k->op != KEY_HEADER ? YES : OPEN;
}

static enum answer from_row(const struct candidate *m, const struct search_key *k)
{
	const struct message_row *row = m->row;

	switch (k->op) {
	case KEY_ALL:
		return YES;
	case KEY_NONE:
		return NO;
	case KEY_FLAGS:
		return (row->flags & k->number) == k->number;
	case KEY_NO_FLAGS:
		return (row->flags & k->number) == 0;
	case KEY_SEQS:
		return uid_set_has(&k->set, row->seq);
	case KEY_UIDS:
		return uid_set_has(&k->set, row->uid);
	case KEY_MODSEQ:
		return row->modseq >= k->number;
	case KEY_SAVEDBEFORE:
		return day_of(m->saved) < k->day;
	case KEY_SAVEDON:
		return day_of(m->saved) == k->day;
	case KEY_SAVEDSINCE:
		return day_of(m->saved) >= k->day;
	default:
		return from_index(m, k);
	}
}

static enum answer from_numbers(const struct candidate *m, const struct search_key *k)
{
	const struct summary *sum = m->sum;
	char id[18];

	switch (k->op) {
	case KEY_BEFORE:
		return day_of(sum->received) < k->day;
	case KEY_ON:
		return day_of(sum->received) == k->day;
	case KEY_SINCE:
		return day_of(sum->received) >= k->day;
	case KEY_OLDER:
		return sum->received <= m->now - (int64_t)k->number;
	case KEY_YOUNGER:
		return sum->received >= m->now - (int64_t)k->number;
	case KEY_LARGER:
		return sum->size > k->number;
	case KEY_SMALLER:
		return sum->size < k->number;
	case KEY_EMAILID:
		email_id_text(sum->emailid, id);
		return str_eq(str_of(id), k->text);
	case KEY_THREADID:
		thread_id_text(sum->threadid, id);
		return str_eq(str_of(id), k->text);
	default:
		return OPEN;
	}
}

static const struct { enum search_op op; enum index_field field; enum summary_field summary; } addresses[] = {
	{ KEY_FROM, INDEX_FROM, SUMMARY_FROM }, { KEY_TO, INDEX_TO, SUMMARY_TO }, { KEY_CC, INDEX_CC, SUMMARY_CC }, { KEY_BCC, INDEX_BCC, SUMMARY_BCC },
};

/* The message into memory, once for all keys. */
static bool read_message(struct candidate *m)
{
	CLEANUP(body_close) struct body body = { 0 };
	char *bytes;

	if (m->message.p != NULL || m->e != ERR_OK)
		return m->e == ERR_OK;
	m->e = body_open(m->s->view, m->row->email, &body);
	if (m->e == ERR_OK) {
		if (body.size > LARGE_MESSAGE)  /* the account's other sessions go on while it is read and taken apart */
			session_will_wait(m->s->s);
		bytes = arena_alloc(m->arena, (size_t)body.size + 1);
		m->e = body_read(&body, 0, bytes, (size_t)body.size);
		if (m->e == ERR_IO)  /* a bad block is one message's misfortune */
			m->e = ERR_CORRUPT;
		m->message = str_make(bytes, (size_t)body.size);
	}
	return m->e == ERR_OK;
}

static const struct mime_part *parts_of(struct candidate *m)
{
	if (m->root == NULL)
		m->root = mime_parse(m->arena, m->message);
	return m->root;
}

/* ------------------------------------------------------------------------------------------------- like, not equal (FUZZY) */

static void like_record(struct candidate *m, struct index_liking *l, unsigned fields)
{
	for (size_t i = 0; i < COUNT_OF(addresses); i++)
		if (fields & addresses[i].field)
			index_like_text(l, m->arena, summary_addresses(m->arena, m->sum->record, addresses[i].summary), addresses[i].field);
	if (fields & INDEX_SUBJECT)
		index_like_text(l, m->arena, summary_subject(m->arena, m->sum->record), INDEX_SUBJECT);
}

static void like_message(struct candidate *m, struct index_liking *l, unsigned fields)
{
	if (!(fields & (INDEX_HEADER | INDEX_BODY)) || !read_message(m))
		return;
	for (const struct mime_part *p = parts_of(m); p != NULL && (fields & INDEX_HEADER); p = mime_next(p))
		index_like_text(l, m->arena, mime_part_header_text(m->arena, m->message, p), INDEX_HEADER);
	for (const struct mime_part *p = mime_text_first(parts_of(m)); p != NULL && (fields & INDEX_BODY); p = mime_text_next(p))
		index_like_text(l, m->arena, mime_text(m->arena, m->message, p, MIME_TEXT_MAX), INDEX_BODY);
}

/* How relevant a message is to one key: of the index, or as the index would say. */
static unsigned how_like(struct candidate *m, const struct search_key *k)
{
	struct index_liking l;
	unsigned known = k->hits != NULL ? index_relevancy(k->hits, m->row->email) : 0;

	if (known > 0)
		return known;
	index_like_begin(&l, m->arena, k->written);
	like_record(m, &l, search_fields(k));
	like_message(m, &l, search_fields(k));
	return index_like_end(&l);
}

static enum answer from_record(struct candidate *m, const struct search_key *k)
{
	struct str record = m->sum->record;
	struct mail_date sent;

	if (k->is_like)
		return k->op >= KEY_BODY ? OPEN : how_like(m, k) > 0;
	switch (k->op) {
	case KEY_SENTBEFORE:
	case KEY_SENTON:
	case KEY_SENTSINCE:
		if (!summary_sent(record, &sent))
			return NO;
		return k->op == KEY_SENTBEFORE ? date_day(&sent) < k->day : k->op == KEY_SENTON ? date_day(&sent) == k->day : date_day(&sent) >= k->day;
	case KEY_FROM:
	case KEY_TO:
	case KEY_CC:
	case KEY_BCC:
		return has_text(m, summary_addresses(m->arena, record, addresses[k->op - KEY_FROM].summary), k->text);
	case KEY_SUBJECT:
		return has_text(m, summary_subject(m->arena, record), k->text);
	default:
		return OPEN;
	}
}

static enum answer in_header(struct candidate *m, const struct search_key *k)
{
	struct scan scan = scan_of(str_sub(m->message, 0, header_size(m->message)));
	struct header_field field;

	while (header_next(&scan, &field))
		if (str_ieq(field.name, k->name) && (k->text.n == 0 || has_text(m, header_decode(m->arena, field.value), k->text)))
			return YES;
	return NO;
}

static enum answer in_text(struct candidate *m, const struct search_key *k)
{
	if (k->op == KEY_TEXT)
		for (const struct mime_part *p = parts_of(m); p != NULL; p = mime_next(p))
			if (has_text(m, mime_part_header_text(m->arena, m->message, p), k->text))
				return YES;
	for (const struct mime_part *p = mime_text_first(parts_of(m)); p != NULL; p = mime_text_next(p))
		if (has_text(m, mime_text(m->arena, m->message, p, MIME_TEXT_MAX), k->text))
			return YES;
	return NO;
}

static enum answer from_message(struct candidate *m, const struct search_key *k)
{
	if (!read_message(m))
		return NO;
	if (k->is_like)
		return how_like(m, k) > 0;
	return k->op == KEY_HEADER ? in_header(m, k) : in_text(m, k);
}

static enum answer ask(struct candidate *m, const struct search_key *k, enum step step)
{
	enum answer a;

	switch (k->op) {
	case KEY_NOT:
		a = ask(m, k->child, step);
		return a == OPEN ? OPEN : a == YES ? NO : YES;
	case KEY_AND:
	case KEY_OR: {
		enum answer decides = k->op == KEY_AND ? NO : YES, all = decides == NO ? YES : NO;
		for (const struct search_key *child = k->child; child != NULL; child = child->next) {
			a = ask(m, child, step);
			if (a == decides)
				return decides;
			if (a == OPEN)
				all = OPEN;
		}
		return all;
	}
	default:
		a = from_row(m, k);
		if (a == OPEN && step >= STEP_SUMMARY && m->sum->email == 0)
			return NO;  /* expunged and purged meanwhile */
		if (a == OPEN && step >= STEP_SUMMARY)
			a = from_numbers(m, k);
		if (a == OPEN && step >= STEP_SUMMARY)
			a = from_record(m, k);
		if (a == OPEN && step == STEP_MESSAGE)
			a = from_message(m, k);
		return a;
	}
}

/* Of all keys inside FUZZY together; 0: no such key has a part in the match. */
static unsigned relevancy(struct candidate *m, const struct search_key *k)
{
	unsigned sum = 0, most = 0, n = 0;

	if (k->is_like && m->sum->email != 0)
		return how_like(m, k);
	if (k->op != KEY_AND && k->op != KEY_OR)
		return 0;
	for (const struct search_key *child = k->child; child != NULL; child = child->next) {
		unsigned one = relevancy(m, child);
		sum += one;
		n += one > 0;
		most = one > most ? one : most;
	}
	return k->op == KEY_OR || n == 0 ? most : sum / n;
}

static enum err read_saved(struct imap_session *s, const struct message_row *rows, size_t n, int64_t *saved)
{
	uint32_t uids[BATCH] = { 0 };

	for (size_t i = 0; i < n; i++)
		uids[i] = rows[i].uid;
	return view_saved(s->view, s->mailbox_id, uids, n, saved);
}

static bool wants_record(const struct search_key *k)
{
	for (; k != NULL; k = k->next)
		if ((k->op >= KEY_SENTBEFORE && k->op <= KEY_SUBJECT) || k->is_like || (k->child != NULL && wants_record(k->child)))
			return true;
	return false;
}

struct running {
	struct imap_session *s;
	struct search       *q;
	search_visit        *visit;
	void                *context;
	struct message_row   rows[2 * BATCH];   /* to be asked */
	size_t               n;
};

static enum err ask_for_rest(struct running *x, struct candidate *m, enum answer *a)
{
	*a = ask(m, x->q->key, STEP_SUMMARY);
	if (*a == OPEN) {
		x->q->n_read++;
		*a = ask(m, x->q->key, STEP_MESSAGE);
		if (m->e != ERR_OK)  /* it could not be read: that it has not these words is not known either */
			*a = NO;
	}
	x->q->relevancy = 0;
	if (*a == YES && x->q->wants_relevancy) {
		x->q->relevancy = relevancy(m, x->q->key);
		x->q->relevancy += x->q->relevancy == 0;
	}
	arena_reset(m->arena);
	if (m->e == ERR_CORRUPT)  /* logged; the others are found */
		x->q->n_damaged++;
	return m->e == ERR_NOTFOUND || m->e == ERR_CORRUPT ? ERR_OK : m->e;
}

static enum err search_batch(struct running *x, const struct message_row *rows, size_t n)
{
	CLEANUP(arena_free) struct arena sums_arena = { 0 }, arena = { 0 };
	struct imap_session *s = x->s;
	enum answer answers[BATCH];
	struct summary sums[BATCH];
	uint32_t emails[BATCH];
	int64_t saved[BATCH] = { 0 };
	size_t n_open = 0, at = 0;

	if (x->q->has_saved)
		TRY(read_saved(s, rows, n, saved));
	for (size_t i = 0; i < n; i++) {
		struct candidate m = { .s = s, .row = &rows[i], .saved = saved[i], .arena = &arena, .now = x->q->now };
		answers[i] = ask(&m, x->q->key, STEP_ROW);
		if (answers[i] == YES && x->q->wants_relevancy)
			answers[i] = OPEN;  /* it may not be known without its texts */
		if (answers[i] == OPEN)
			emails[n_open++] = rows[i].email;
	}
	if (n_open > 0)
		TRY(view_summaries(s->view, emails, n_open, wants_record(x->q->key), &sums_arena, sums));
	for (size_t i = 0; i < n; i++) {
		if (session_is_dead(s->s))
			return ERR_UNAVAILABLE;  /* the server stops: a part of what is found is no answer */
		if (answers[i] == OPEN) {
			struct candidate m = { .s = s, .row = &rows[i], .saved = saved[i], .sum = &sums[at++], .arena = &arena, .now = x->q->now };
			TRY(ask_for_rest(x, &m, &answers[i]));
		}
		if (answers[i] == YES)
			x->visit(x->context, &rows[i]);
	}
	return ERR_OK;
}

/* Asks the first of the rows. */
static enum err search_some(struct running *x, size_t n)
{
	uint32_t last = x->rows[n - 1].seq;

	TRY(search_batch(x, x->rows, n));
	memmove(x->rows, x->rows + n, (x->n - n) * sizeof x->rows[0]);
	x->n -= n;
	if (x->q->is_beside)
		return ERR_OK;
	imap_progress(x->s, last, selected_count(x->s->selected));
	return x->q->n_read >= INDEX_AFTER_READ && !x->q->is_index_made ? search_make_index(x->s, x->q, last) : ERR_OK;
}

static enum err ask_all(struct imap_session *s, struct search *q, search_visit *visit, void *context)
{
	struct running x = { .s = s, .q = q, .visit = visit, .context = context };
	uint32_t next = 0;
	size_t n;

	while ((n = q->only ? selected_rows_by_uid(s->selected, q->only, 0, &next, x.rows + x.n, BATCH)
	                    : selected_rows(s->selected, NULL, 0, &next, x.rows + x.n, BATCH)) > 0) {
		for (size_t end = x.n + n, i = x.n; i < end; i++)
			if (search_may_match(q, &x.rows[i]))
				x.rows[x.n++] = x.rows[i];
		if (x.n >= BATCH)
			TRY(search_some(&x, BATCH));
	}
	return x.n > 0 ? search_some(&x, x.n) : ERR_OK;
}

enum err search_run(struct imap_session *s, struct search *q, search_visit *visit, void *context)
{
	struct arena arena = { 0 };
	enum err e;

	q->index_arena = &arena;
	if (!q->is_beside)
		search_use_index(s, q);
	q->n_damaged = 0;
	e = ask_all(s, q, visit, context);
	if (e == ERR_OK && q->n_damaged > 0 && !q->is_beside)
		buf_printf(&s->out, imap_in(s->tongue.lang, "* NO [CORRUPTION] %zu messages are damaged on the server's disk, or cannot be read from it, and were searched only as far as is known of them; the administrator finds details in the log\r\n"),
		           q->n_damaged);
	search_forget_index(q);
	q->index_arena = NULL;
	return e;
}

struct gathering {
	struct imap_session *s;
	struct search       *q;
	unsigned             wants;
	struct arena        *arena;
	search_visit_gist   *visit;
	void                *context;
	struct message_row   rows[BATCH];
	unsigned             relevancy[BATCH];
	size_t               n;
	enum err             e;
};

static enum err gather(struct gathering *g)
{
	uint32_t emails[BATCH] = { 0 };
	struct gist gists[BATCH];
	size_t n = g->n;

	g->n = 0;
	for (size_t i = 0; i < n; i++)
		emails[i] = g->rows[i].email;
	TRY(view_gists(g->s->view, emails, n, g->wants, g->arena, gists));
	for (size_t i = 0; i < n; i++) {
		g->q->relevancy = g->relevancy[i];
		if (gists[i].email != 0)  /* else: expunged and purged meanwhile */
			g->visit(g->context, &g->rows[i], &gists[i]);
	}
	return ERR_OK;
}

static void gather_row(void *context, const struct message_row *row)
{
	struct gathering *g = context;

	g->relevancy[g->n] = g->q->relevancy;
	g->rows[g->n++] = *row;
	if (g->n < BATCH)
		return;
	if (g->e == ERR_OK)
		g->e = gather(g);
	g->n = 0;
}

enum err search_run_gists(struct imap_session *s, struct search *q, unsigned wants, struct arena *a, search_visit_gist *visit, void *context)
{
	struct gathering g = { .s = s, .q = q, .wants = wants, .arena = a, .visit = visit, .context = context };

	TRY(search_run(s, q, gather_row, &g));
	TRY(g.e);
	return g.n > 0 ? gather(&g) : ERR_OK;
}
