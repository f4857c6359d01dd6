/* SEARCH. Each message is asked in three steps, from cheap to dear: what is in memory (flags, numbers, modseq), what the summary
 * says (dates, sizes, addresses, subject), and only for what is still open the message itself. A key answers yes, no or "not yet",
 * and AND, OR and NOT of those are known early: "UNSEEN TEXT x" reads unseen messages only.
 *
 * Text is compared by i;unicode-casemap as a substring of decoded UTF-8 (RFC 9051 §6.4.4, RFC 5051). */
#include "imap/search_private.h"
#include "mime/header.h"
#include "mime/text.h"
#include "text/fold.h"

enum answer { NO, YES, OPEN };
enum step { STEP_ROW, STEP_SUMMARY, STEP_MESSAGE };

struct candidate {
	struct imap_session      *s;
	const struct message_row *row;
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

static enum answer from_row(const struct message_row *row, const struct search_key *k)
{
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
	default:
		return OPEN;
	}
}

static int64_t day_of(int64_t unix_s)
{
	return unix_s >= 0 ? unix_s / 86400 : -((-unix_s + 86399) / 86400);
}

static enum answer from_numbers(const struct summary *sum, const struct search_key *k)
{
	char id[18];

	switch (k->op) {
	case KEY_BEFORE:
		return day_of(sum->received) < k->day;
	case KEY_ON:
		return day_of(sum->received) == k->day;
	case KEY_SINCE:
		return day_of(sum->received) >= k->day;
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

static enum answer from_record(struct candidate *m, const struct search_key *k)
{
	struct str record = m->sum->record;
	struct mail_date sent;

	switch (k->op) {
	case KEY_SENTBEFORE:
	case KEY_SENTON:
	case KEY_SENTSINCE:
		if (!summary_sent(record, &sent))
			return NO;
		return k->op == KEY_SENTBEFORE ? date_day(&sent) < k->day : k->op == KEY_SENTON ? date_day(&sent) == k->day : date_day(&sent) >= k->day;
	case KEY_FROM:
		return has_text(m, summary_addresses(m->arena, record, SUMMARY_FROM), k->text);
	case KEY_TO:
		return has_text(m, summary_addresses(m->arena, record, SUMMARY_TO), k->text);
	case KEY_CC:
		return has_text(m, summary_addresses(m->arena, record, SUMMARY_CC), k->text);
	case KEY_BCC:
		return has_text(m, summary_addresses(m->arena, record, SUMMARY_BCC), k->text);
	case KEY_SUBJECT:
		return has_text(m, summary_subject(m->arena, record), k->text);
	default:
		return OPEN;
	}
}

/* The message into memory, once for all keys. */
static bool read_message(struct candidate *m)
{
	CLEANUP(body_close) struct body body = { 0 };
	char *bytes;

	if (m->message.p != NULL || m->e != ERR_OK)
		return m->e == ERR_OK;
	m->e = body_open(m->s->view, m->row->email, &body);
	if (m->e == ERR_OK) {
		bytes = arena_alloc(m->arena, (size_t)body.size + 1);
		m->e = body_read(&body, 0, bytes, (size_t)body.size);
		m->message = str_make(bytes, (size_t)body.size);
	}
	return m->e == ERR_OK;
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
	if (m->root == NULL)
		m->root = mime_parse(m->arena, m->message);
	if (k->op == KEY_TEXT)
		for (const struct mime_part *p = m->root; p != NULL; p = mime_next(p))
			if (has_text(m, mime_header_text(m->arena, mime_header(m->message, p)), k->text))
				return YES;
	for (const struct mime_part *p = mime_text_first(m->root); p != NULL; p = mime_text_next(p))
		if (has_text(m, mime_text(m->arena, m->message, p, MIME_TEXT_MAX), k->text))
			return YES;
	return NO;
}

static enum answer from_message(struct candidate *m, const struct search_key *k)
{
	if (!read_message(m))
		return NO;
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
		a = from_row(m->row, k);
		if (a == OPEN && step >= STEP_SUMMARY && m->sum->email == 0)
			return NO;  /* expunged and purged meanwhile */
		if (a == OPEN && step >= STEP_SUMMARY)
			a = from_numbers(m->sum, k);
		if (a == OPEN && step >= STEP_SUMMARY)
			a = from_record(m, k);
		if (a == OPEN && step == STEP_MESSAGE)
			a = from_message(m, k);
		return a;
	}
}

struct found {
	struct uid_set set;          /* sequence numbers or UIDs */
	struct uid_set uids;         /* for SAVE */
	uint64_t       modseq;       /* the highest of those found */
	uint32_t       min, max, min_uid, max_uid;
	uint64_t       min_modseq, max_modseq;
	uint64_t       count;
};

static void add_found(struct imap_cmd *c, struct found *f, const struct message_row *row, bool with_uids)
{
	uint32_t number = c->is_uid ? row->uid : row->seq;

	uid_set_add(&f->set, &c->arena, number, number);
	if (with_uids)
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

static bool wants_record(const struct search_key *k)
{
	for (; k != NULL; k = k->next)
		if ((k->op >= KEY_SENTBEFORE && k->op <= KEY_SUBJECT) || (k->child != NULL && wants_record(k->child)))
			return true;
	return false;
}

static enum err search_batch(struct imap_session *s, struct imap_cmd *c, const struct search *q, const struct message_row *rows,
                             size_t n, struct found *found)
{
	CLEANUP(arena_free) struct arena sums_arena = { 0 }, arena = { 0 };
	enum answer answers[100];
	struct summary sums[100];
	uint32_t emails[100];
	size_t n_open = 0, at = 0;

	for (size_t i = 0; i < n; i++) {
		struct candidate m = { .s = s, .row = &rows[i], .arena = &arena };
		answers[i] = ask(&m, q->key, STEP_ROW);
		if (answers[i] == OPEN)
			emails[n_open++] = rows[i].email;
	}
	if (n_open > 0)
		TRY(view_summaries(s->view, emails, n_open, wants_record(q->key), &sums_arena, sums));
	for (size_t i = 0; i < n; i++) {
		if (session_is_dead(s->s))
			return ERR_UNAVAILABLE;  /* the server stops: a part of what is found is no answer */
		if (answers[i] == OPEN) {
			struct candidate m = { .s = s, .row = &rows[i], .sum = &sums[at++], .arena = &arena };
			answers[i] = ask(&m, q->key, STEP_SUMMARY);
			if (answers[i] == OPEN)
				answers[i] = ask(&m, q->key, STEP_MESSAGE);
			arena_reset(&arena);
			if (m.e != ERR_OK && m.e != ERR_NOTFOUND)
				return m.e;
		}
		if (answers[i] == YES)
			add_found(c, found, &rows[i], (q->returns & RETURN_SAVE) != 0);
	}
	return ERR_OK;
}

static enum err search_all(struct imap_session *s, struct imap_cmd *c, const struct search *q, struct found *found)
{
	struct message_row rows[100];
	uint32_t next = 0;
	size_t n;

	while ((n = selected_rows(s->selected, NULL, 0, &next, rows, COUNT_OF(rows))) > 0)
		TRY(search_batch(s, c, q, rows, n, found));
	return ERR_OK;
}

/* --------------------------------------------------------------------------------------------------------- answering */

/* RFC 7162 §3.1.10: with MIN or MAX alone the modseq is that of these messages */
static uint64_t modseq_of(const struct search *q, const struct found *f)
{
	unsigned only = q->returns & (RETURN_MIN | RETURN_MAX | RETURN_ALL | RETURN_COUNT);

	if (only == RETURN_MIN)
		return f->min_modseq;
	if (only == RETURN_MAX)
		return f->max_modseq;
	if (only == (RETURN_MIN | RETURN_MAX))
		return f->min_modseq > f->max_modseq ? f->min_modseq : f->max_modseq;
	return f->modseq;
}

/* "* ESEARCH (TAG "a") UID MIN 2 …"                                                    RFC 9051 §7.3.4, RFC 4731 §3 */
static void put_esearch(struct imap_session *s, const struct imap_cmd *c, const struct search *q, const struct found *f)
{
	struct buf *b = &s->out;

	buf_printf(b, "* ESEARCH (TAG \"" STR_FMT "\")%s", STR_ARG(c->tag), c->is_uid ? " UID" : "");
	if (f->count > 0) {
		if (q->returns & RETURN_MIN)
			buf_printf(b, " MIN %u", f->min);
		if (q->returns & RETURN_MAX)
			buf_printf(b, " MAX %u", f->max);
		if (q->returns & RETURN_ALL) {
			buf_add_cstr(b, " ALL ");
			uid_set_put(b, &f->set);
		}
	}
	if (q->returns & RETURN_COUNT)
		buf_printf(b, " COUNT %llu", (unsigned long long)f->count);
	if (q->has_modseq && f->count > 0)
		buf_printf(b, " MODSEQ %llu", (unsigned long long)modseq_of(q, f));
	buf_add_cstr(b, "\r\n");
}

/* "* SEARCH 2 84 882"                                                                             RFC 3501 §7.2.5 */
static void put_search(struct imap_session *s, const struct search *q, const struct found *f)
{
	buf_add_cstr(&s->out, "* SEARCH");
	for (size_t i = 0; i < f->set.n; i++) {
		for (uint64_t n = f->set.r[i].first; n <= f->set.r[i].last; n++) {
			buf_add_char(&s->out, ' ');
			imap_put_number(&s->out, n);
			imap_spill(s);
		}
	}
	if (q->has_modseq && f->count > 0)
		buf_printf(&s->out, " (MODSEQ %llu)", (unsigned long long)f->modseq);
	buf_add_cstr(&s->out, "\r\n");
}

/* RETURN (SAVE): "$" is what is found, or only the MIN and MAX that were asked for                  RFC 5182 §2.1 */
static void save(struct imap_session *s, const struct search *q, const struct found *f)
{
	arena_reset(&s->saved_arena);
	s->saved = (struct uid_set){ 0 };
	if (f == NULL || f->count == 0)
		return;
	if ((q->returns & (RETURN_MIN | RETURN_MAX)) && !(q->returns & (RETURN_ALL | RETURN_COUNT))) {
		if (q->returns & RETURN_MIN)
			uid_set_add(&s->saved, &s->saved_arena, f->min_uid, f->min_uid);
		if (q->returns & RETURN_MAX)
			uid_set_add(&s->saved, &s->saved_arena, f->max_uid, f->max_uid);
		return;
	}
	for (size_t i = 0; i < f->uids.n; i++)
		uid_set_add(&s->saved, &s->saved_arena, f->uids.r[i].first, f->uids.r[i].last);
}

/* SEARCH [search-return-opts] SP search-program                                                   RFC 9051 §6.4.4 */
struct imap_reply imap_search(struct imap_session *s, struct imap_cmd *c)
{
	struct search q = { 0 };
	struct found found = { 0 };
	enum err e;

	if (!search_parse(s, c, &q)) {
		if (!q.is_bad_charset)
			return imap_bad(c, "[RETURN (MIN MAX ALL COUNT SAVE)] [CHARSET UTF-8] search-keys");
		if (q.returns & RETURN_SAVE)
			save(s, &q, NULL);
		return imap_no(c, "BADCHARSET (US-ASCII UTF-8)", "write the text in UTF-8");
	}
	if (!q.has_return && s->tongue.is_rev2) {
		q.has_return = true;
		q.returns = RETURN_ALL;
	}
	e = search_all(s, c, &q, &found);
	if (q.returns & RETURN_SAVE)
		save(s, &q, e == ERR_OK ? &found : NULL);
	if (e != ERR_OK)
		return imap_err(c, e);
	if (!q.has_return)
		put_search(s, &q, &found);
	else if (q.returns != RETURN_SAVE)
		put_esearch(s, c, &q, &found);
	return imap_ok(c, "searched");
}
