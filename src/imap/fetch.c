/* FETCH. Messages are taken in batches: rows from memory (never SQL for FLAGS, UID, MODSEQ), summaries in one pass of the database,
 * bodies one at a time. Nothing is allocated for each message; numbers are formatted by hand, the text of the last flags is kept.
 *
 * \Seen (BODY[] without .PEEK): written for a batch before its bytes go out, and told in the same response (RFC 9051 §6.4.5); taken
 * back from those that could not be shown. */
#include "base/log.h"
#include "imap/context_private.h"

enum { BATCH_BODIES = 32 };  /* \Seen is written for so many at once, no more than are soon on their way */

struct fetching {
	struct imap_session   *s;
	struct fetch           f;
	struct imap_flag_words words;
	struct arena           arena;      /* of one batch */
	bool                   is_first;   /* item of its message */
	bool                   is_missing, is_unknown_cte, is_cut;
	enum err               e;          /* the first failure that is not a missing message */
	unsigned               news_items; /* what news of changed flags would say; 0: nobody asked for these messages */
	uint64_t               told;       /* flags up to here are no news */
};

static void begin_item(struct fetching *x)
{
	if (!x->is_first)
		buf_add_char(&x->s->out, ' ');
	x->is_first = false;
}

/* What is known without the message. */
static void put_plain(struct fetching *x, const struct message_row *row, const struct summary *sum, int64_t saved, unsigned items)
{
	struct buf *b = &x->s->out;
	char text[18];

	if (items & FETCH_UID) {
		begin_item(x);
		buf_add_bytes(b, "UID ", 4);
		imap_put_number(b, row->uid);
	}
	if (items & FETCH_FLAGS) {
		begin_item(x);
		buf_add_bytes(b, "FLAGS ", 6);
		imap_put_flags(b, &x->words, x->s->view, row->flags);
	}
	if (items & FETCH_MODSEQ) {
		begin_item(x);
		buf_add_bytes(b, "MODSEQ (", 8);
		imap_put_number(b, row->modseq);
		buf_add_char(b, ')');
	}
	if (items & FETCH_SAVEDATE) {
		begin_item(x);
		buf_add_cstr(b, "SAVEDATE ");
		if (saved != 0)
			imap_put_date_time(b, saved);
		else
			buf_add_cstr(b, "NIL");
	}
	if (sum == NULL)
		return;
	if (items & FETCH_SIZE) {
		begin_item(x);
		buf_add_bytes(b, "RFC822.SIZE ", 12);
		imap_put_number(b, sum->size);
	}
	if (items & FETCH_INTERNALDATE) {
		begin_item(x);
		buf_add_cstr(b, "INTERNALDATE ");
		imap_put_date_time(b, sum->received);
	}
	if (items & FETCH_EMAILID) {
		begin_item(x);
		email_id_text(sum->emailid, text);
		buf_printf(b, "EMAILID (%s)", text);
	}
	if (items & FETCH_THREADID) {
		begin_item(x);
		thread_id_text(sum->threadid, text);
		buf_printf(b, "THREADID (%s)", text);
	}
}

/* A record that was damaged is made again from the message. */
static enum err mend_record(struct fetching *x, struct fetch_message *m)
{
	if (summary_is_valid(m->record))
		return ERR_OK;
	TRY(fetch_open(x->s, m));
	char *bytes = arena_alloc(&x->arena, (size_t)m->body.size + 1);
	TRY(body_read(&m->body, 0, bytes, (size_t)m->body.size));
	m->record = summary_build(&x->arena, str_make(bytes, (size_t)m->body.size), NULL);
	return ERR_OK;
}

static void put_structures(struct fetching *x, const struct fetch_message *m)
{
	struct buf *b = &x->s->out;

	if (x->f.items & FETCH_ENVELOPE) {
		begin_item(x);
		buf_add_bytes(b, "ENVELOPE ", 9);
		buf_add(b, summary_envelope(m->record));
	}
	if (x->f.items & FETCH_BODYSTRUCTURE) {
		begin_item(x);
		buf_add_bytes(b, "BODYSTRUCTURE ", 14);
		if (x->s->tongue.is_rev2 || !summary_bodystructure_rev1(m->record, b))
			buf_add(b, summary_bodystructure(m->record));
	}
	if (x->f.items & FETCH_BODY) {
		begin_item(x);
		buf_add_bytes(b, "BODY ", 5);
		summary_body(m->record, x->s->tongue.is_rev2, b);
	}
	if (x->f.items & FETCH_PREVIEW) {
		begin_item(x);
		buf_add_cstr(b, "PREVIEW ");
		imap_put_string(b, summary_preview(m->record), imap_names_utf8(x->s->tongue));
	}
}

static enum err put_contents(struct fetching *x, const struct message_row *row, const struct summary *sum)
{
	struct fetch_message m = { .email = row->email };
	enum err e = ERR_OK;

	if (fetch_needs_record(&x->f)) {
		m.record = sum->record;  /* NOLINT(clang-analyzer-core.NullDereference): whoever needs records has asked for them */
		e = mend_record(x, &m);
	}
	if (e == ERR_OK && x->f.n_sections > 0)
		e = fetch_open(x->s, &m);
	if (e == ERR_OK)
		put_structures(x, &m);
	for (size_t i = 0; i < x->f.n_sections && e == ERR_OK; i++) {
		begin_item(x);
		e = fetch_put_section(x->s, &m, &x->f.sections[i], &x->is_cut, &x->is_unknown_cte);
	}
	if (m.is_open)
		body_close(&m.body);
	return e;
}

/* "* n FETCH (…)"; what failed before its literal began leaves nothing behind. */
static enum err put_message(struct fetching *x, const struct message_row *row, const struct summary *sum, int64_t saved, unsigned items)
{
	struct buf *b = &x->s->out;
	size_t start = b->n;
	uint64_t flushes = x->s->flushes;
	enum err e = ERR_OK;

	/* removed, and purged since, or while the session was parked: then nobody knows its flags any more */
	if ((sum != NULL && sum->email == 0) || (row->email == 0 && (items & FETCH_FLAGS))) {
		x->is_missing = true;
		return ERR_OK;
	}
	imap_put_fetch(b, x->s->tongue, row);
	x->is_first = true;
	put_plain(x, row, sum, saved, items);
	if ((x->f.items & FETCH_RECORD) || x->f.n_sections > 0) {
		e = put_contents(x, row, sum);
		if (e != ERR_OK && flushes != x->s->flushes)
			x->is_cut = true;  /* a part of this response is on its way already */
	}
	if (e != ERR_OK && !x->is_cut)
		buf_truncate(b, start);
	if (e == ERR_NOTFOUND)
		x->is_missing = true;
	else if (e != ERR_OK && x->e == ERR_OK)
		x->e = e;
	if (e != ERR_OK)
		return e;
	buf_add_bytes(b, ")\r\n", 3);
	if (x->news_items != 0 && (items & x->news_items) == x->news_items && row->modseq > x->told)
		uid_set_add(&x->s->shown, &x->s->cmd.arena, row->uid, row->uid);
	return ERR_OK;
}

/* Others may have changed flags of them, too, since they were read. */
static void look_again(struct fetching *x, const struct uid_set *uids, struct message_row *rows, size_t n)
{
	struct message_row now[IMAP_BATCH];
	uint32_t next = 0;
	size_t n_now = selected_rows_by_uid(x->s->selected, uids, 0, &next, now, COUNT_OF(now));

	for (size_t i = 0, at = 0; i < n && at < n_now; i++)
		if (rows[i].uid == now[at].uid)
			rows[i] = now[at++];
}

static enum err mark_seen(struct fetching *x, struct message_row *rows, size_t n, bool *was_marked)
{
	static const struct flags_change seen = { .op = FLAGS_ADD, .flags = FLAG_SEEN };
	struct uid_set uids = { 0 };
	uint64_t modseq;

	for (size_t i = 0; i < n; i++) {
		was_marked[i] = !(rows[i].flags & (FLAG_SEEN | FLAG_GONE));
		if (was_marked[i])
			uid_set_add(&uids, &x->arena, rows[i].uid, rows[i].uid);
	}
	if (uids.n == 0)
		return ERR_OK;
	TRY(view_store_flags(x->s->view, x->s->mailbox_id, &uids, &seen, &x->arena, NULL, &modseq));
	selected_told(x->s->selected, modseq, true);
	contexts_note(x->s, &uids);
	look_again(x, &uids, rows, n);
	return ERR_OK;
}

/* The client was not told of it, and hears at the end of the command that they are as they were. */
static enum err unmark_seen(struct fetching *x, const struct uid_set *unseen)
{
	static const struct flags_change change = { .op = FLAGS_REMOVE, .flags = FLAG_SEEN };
	uint64_t modseq;

	return unseen->n > 0 ? view_store_flags(x->s->view, x->s->mailbox_id, unseen, &change, &x->arena, NULL, &modseq) : ERR_OK;
}

static enum err put_batch(struct fetching *x, struct message_row *rows, size_t n)
{
	bool needs_record = fetch_needs_record(&x->f), needs_summary = needs_record || (x->f.items & FETCH_NUMBERS);
	struct imap_tongue tongue = x->s->tongue;
	bool was_marked[IMAP_BATCH] = { false };
	struct summary sums[IMAP_BATCH];
	uint32_t emails[IMAP_BATCH];
	int64_t saved[IMAP_BATCH] = { 0 };
	struct uid_set unseen = { 0 };

	if (x->f.sets_seen && !x->s->is_readonly && imap_may(x->s, x->s->mailbox_id, RIGHT_SEEN) == ERR_OK)
		TRY(mark_seen(x, rows, n, was_marked));
	if (needs_summary) {
		for (size_t i = 0; i < n; i++)
			emails[i] = rows[i].email;
		TRY(view_summaries(x->s->view, emails, n, needs_record, &x->arena, sums));
	}
	if (x->f.items & FETCH_SAVEDATE) {
		uint32_t uids[IMAP_BATCH];
		for (size_t i = 0; i < n; i++)
			uids[i] = rows[i].uid;
		TRY(view_saved(x->s->view, x->s->mailbox_id, uids, n, saved));
	}
	if ((x->f.items & FETCH_FLAGS) || x->f.sets_seen)
		imap_put_new_keywords(x->s, rows, n);
	for (size_t i = 0; i < n && !x->is_cut; i++) {
		unsigned items = x->f.items;
		if (was_marked[i])  /* with the UID where every change of flags has it (RFC 7162 §3.2.4) */
			items |= FETCH_FLAGS | (tongue.is_condstore ? FETCH_MODSEQ : 0) | (imap_adds_uid(tongue) ? FETCH_UID : 0);
		if (put_message(x, &rows[i], needs_summary ? &sums[i] : NULL, saved[i], items) != ERR_OK && was_marked[i])
			uid_set_add(&unseen, &x->arena, rows[i].uid, rows[i].uid);
		imap_spill(x->s);
	}
	return unmark_seen(x, &unseen);
}

static enum err put_all(struct fetching *x, const struct uid_set *set, bool by_uid)
{
	size_t max = x->f.sets_seen ? BATCH_BODIES : fetch_needs_record(&x->f) ? 100 : IMAP_BATCH, n;
	struct message_row rows[IMAP_BATCH];
	uint32_t next = 0;
	enum err e = ERR_OK;

	while (e == ERR_OK && !x->is_cut) {
		if (session_is_dead(x->s->s)) {  /* the server stops: whoever asked must not take a part for all there is */
			e = ERR_UNAVAILABLE;
			break;
		}
		n = (by_uid ? selected_rows_by_uid : selected_rows)(x->s->selected, set, x->f.since, &next, rows, max);
		if (n == 0)
			break;
		e = put_batch(x, rows, n);
		arena_reset(&x->arena);
	}
	arena_free(&x->arena);
	return e;
}

/* VANISHED (EARLIER) before the messages (RFC 7162 §3.2.6). "*" is the highest UID that there ever was: above the last message that is left may have
 * been those that the client does not know to be gone. */
static enum err put_vanished(struct fetching *x, struct imap_cmd *c, struct scan written, const struct uid_set *set)
{
	struct uid_set asked = { 0 };

	if (scan_peek(&written) == '$')
		asked = *set;
	else if (imap_sequence_set(&written, &c->arena, &asked))
		uid_set_star(&asked, selected_uidnext(x->s->selected) - 1);
	return imap_put_earlier(x->s, &asked, x->f.since, &c->arena);
}

/* Those of the set that exist, numbered from 1 or from the end: the set becomes the uids of one page of them, of which CHANGEDSINCE leaves some out.
 * VANISHED is told for the whole set, as without PARTIAL.                                              RFC 9394 §3.3, §3.4 */
static void pick_partial(struct fetching *x, struct imap_cmd *c, struct uid_set *set, bool *by_uid)
{
	const struct imap_partial *p = &x->f.partial;
	struct message_row rows[IMAP_BATCH];
	struct uid_set page = { 0 };
	uint64_t total = 0, from = p->first, to = p->last, at = 0;
	uint32_t next = 0;
	size_t n;

	if (p->is_from_end) {
		while ((n = (*by_uid ? selected_rows_by_uid : selected_rows)(x->s->selected, set, 0, &next, rows, IMAP_BATCH)) > 0)
			total += n;
		from = total >= p->last ? total - p->last + 1 : 1;
		to = total >= p->first ? total - p->first + 1 : 0;
	}
	for (next = 0; at < to && (n = (*by_uid ? selected_rows_by_uid : selected_rows)(x->s->selected, set, 0, &next, rows, IMAP_BATCH)) > 0;)
		for (size_t i = 0; i < n; i++)
			if (++at >= from && at <= to)
				uid_set_add(&page, &c->arena, rows[i].uid, rows[i].uid);
	*set = page;
	*by_uid = true;
}

static bool has_section(const struct fetch *f, const struct fetch_section *x)
{
	for (size_t i = 0; i < f->n_sections; i++) {
		const struct fetch_section *y = &f->sections[i];
		if (y->how == x->how && str_eq(y->label, x->label) && y->is_partial == x->is_partial && y->offset == x->offset && y->count == x->count)
			return true;
	}
	return false;
}

static void add_wish(struct fetch *all, const struct fetch *more, struct arena *a)
{
	struct fetch_section *sections = arena_array(a, all->n_sections + more->n_sections, sizeof *sections);

	if (all->n_sections > 0)
		memcpy(sections, all->sections, all->n_sections * sizeof *sections);
	all->items |= more->items;
	all->sections = sections;
	for (size_t i = 0; i < more->n_sections; i++)
		if (!has_section(all, &more->sections[i]))
			sections[all->n_sections++] = more->sections[i];
}

/* From this uid on to *last all are wished for alike. */
static struct fetch wished(const struct fetch_wish *wishes, size_t n, uint32_t uid, uint32_t *last, struct arena *a)
{
	struct fetch all = { 0 };

	*last = UINT32_MAX;
	for (size_t i = 0; i < n; i++) {
		uint32_t end;
		if (uid_set_run(&wishes[i].uids, uid, &end))
			add_wish(&all, wishes[i].what, a);
		*last = end < *last ? end : *last;
	}
	return all;
}

bool fetch_put_unasked(struct imap_session *s, const struct fetch_wish *wishes, size_t n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct fetching x = { .s = s };
	enum err e = ERR_OK;

	imap_flag_words(&x.words, s->view);
	if (n == 1) {  /* in batches, also where every other message is one of them */
		add_wish(&x.f, wishes[0].what, &a);
		e = put_all(&x, &wishes[0].uids, true);
	}
	for (uint32_t uid = 1, last = 0; n > 1 && e == ERR_OK && !x.is_cut && last < UINT32_MAX; uid = last + 1) {
		struct uid_set set = { 0 };
		arena_reset(&a);
		x.f = wished(wishes, n, uid, &last, &a);
		uid_set_add(&set, &a, uid, last);
		if (x.f.items != 0 || x.f.n_sections > 0)
			e = put_all(&x, &set, true);
	}
	if (e != ERR_OK || x.e != ERR_OK)
		log_warn("new messages could not be told: %s", err_name(e != ERR_OK ? e : x.e));
	return !x.is_cut;
}

/* What others have changed, and this FETCH says, is not to be said once more behind it. What they change while it runs is. */
static void note_shown(struct fetching *x)
{
	struct imap_tongue tongue = x->s->tongue;

	x->news_items = FETCH_FLAGS | (tongue.is_condstore ? FETCH_MODSEQ : 0u) | (imap_adds_uid(tongue) ? FETCH_UID : 0u);
	x->told = selected_modseq(x->s->selected);
	x->s->shown_modseq = view_modseq(x->s->view);
}

/* FETCH sequence-set ("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")") [fetch-modifiers]
 * RFC 9051 §6.4.5, RFC 7162 §3.1.4 */
struct imap_reply imap_fetch(struct imap_session *s, struct imap_cmd *c)
{
	struct fetching x = { .s = s };
	struct scan written = c->args;
	struct uid_set set, asked;
	bool by_uid;
	enum err e = ERR_OK;

	imap_arg_set(c, s, &set, &by_uid);
	asked = set;
	imap_sp(&c->args);
	if (!fetch_parse(s, c, &x.f))
		return imap_bad(c, "sequence-set (items) [(CHANGEDSINCE modseq [VANISHED] PARTIAL range)]");
	if (x.f.has_since)
		x.f.since = view_modseq_floor(s->view, x.f.since);
	imap_flag_words(&x.words, s->view);
	note_shown(&x);
	if (x.f.has_partial)
		pick_partial(&x, c, &set, &by_uid);
	if (imap_limit_set(s, c, &set, &by_uid, x.f.since, 0) && x.f.has_partial) {
		c->limited_to = 0;  /* nothing is done (RFC 9738 §3.1) */
		return imap_limit_refuse(s, c);
	}
	if (x.f.wants_vanished)
		e = put_vanished(&x, c, written, &asked);
	if (e == ERR_OK)
		e = put_all(&x, &set, by_uid);
	if (x.is_cut)
		return (struct imap_reply){ .status = IMAP_CUT };
	if (e == ERR_OK)
		e = x.e;
	if (e == ERR_CORRUPT)
		return imap_no(c, "CORRUPTION", "some of these messages are damaged on the server's disk and cannot be shown; all others are above, and the administrator finds details in the log");
	if (e != ERR_OK)
		return imap_err(c, e);
	if (x.is_missing && !c->is_uid)  /* a UID that is not there is passed over without a word (RFC 9051 §6.4.9); its EXPUNGE comes with this answer */
		return imap_no(c, "EXPUNGEISSUED", "some of these messages no longer exist");
	if (x.is_unknown_cte)
		return imap_no(c, "UNKNOWN-CTE", "a part has an encoding that nobody knows; fetch it with BODY[]");
	return imap_ok(c, "fetched");
}
