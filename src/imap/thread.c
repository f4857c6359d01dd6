/* THREAD (RFC 5256 §3): the messages that match, as conversations. What threads a message lies beside it since it came
 * (mime/summary.h); those that came before that was kept are asked for their header once. */
#include "base/clock.h"
#include "imap/search_private.h"
#include "imap/thread_private.h"
#include "mime/header.h"
#include "text/fold.h"

enum { OLD_HEADER_MAX = 65536 };  /* bytes that are read of a message whose record has no references */

struct threading {
	struct imap_session   *s;
	struct imap_cmd       *c;
	enum thread_how        how;
	struct thread_message *messages;
	size_t                 n, cap;
	enum err               e;
};

/* Of a message from before version 2 of the record. */
static enum err read_references(struct threading *x, uint32_t email, struct arena *scratch, uint64_t out[SUMMARY_REFERENCES_MAX], size_t *n)
{
	CLEANUP(body_close) struct body body = { 0 };
	struct str references = STR_NONE, in_reply_to = STR_NONE;
	enum err e = body_open(x->s->view, email, &body);

	if (e == ERR_NOTFOUND)
		return ERR_OK;
	TRY(e);
	size_t size = body.size < OLD_HEADER_MAX ? (size_t)body.size : OLD_HEADER_MAX;
	char *bytes = arena_alloc(scratch, size + 1);
	TRY(body_read(&body, 0, bytes, size));
	struct str header = str_sub(str_make(bytes, size), 0, header_size(str_make(bytes, size)));
	header_find(header, STR("References"), &references);
	header_find(header, STR("In-Reply-To"), &in_reply_to);
	*n = summary_references_of(scratch, references, in_reply_to, out);
	return ERR_OK;
}

static void add_references(struct threading *x, const struct summary *sum, struct arena *scratch, struct thread_message *m)
{
	uint64_t ids[SUMMARY_REFERENCES_MAX], *kept;
	struct str own = summary_message_id(scratch, sum->record);
	size_t n = 0;

	m->id = own.n > 0 ? summary_id_number(own) : 0;
	if (!summary_references(sum->record, ids, &n) && x->e == ERR_OK)
		x->e = read_references(x, sum->email, scratch, ids, &n);
	kept = arena_array(&x->c->arena, n, sizeof *kept);
	for (size_t i = 0; i < n; i++)
		kept[i] = ids[i];
	m->references = kept;
	m->n_references = n;
}

static void add_message(void *context, const struct message_row *row, const struct summary *sum, struct arena *scratch)
{
	struct threading *x = context;
	struct arena *a = &x->c->arena;
	struct thread_message m = { .number = x->c->is_uid ? row->uid : row->seq, .sent = sum->received, .received = sum->received };
	struct mail_date sent;

	if (summary_sent(sum->record, &sent))
		m.sent = sent.unix_s;
	if (x->how != THREAD_REFS)
		m.subject = str_copy(a, fold_casemap(scratch, summary_base_subject(scratch, sum->record, &m.is_reply)));
	if (x->how != THREAD_ORDEREDSUBJECT)
		add_references(x, sum, scratch, &m);
	if (x->n == x->cap)
		x->messages = arena_grow(a, x->messages, x->n, &x->cap, sizeof *x->messages);
	x->messages[x->n++] = m;
}

static void spill(void *context) { imap_spill(context); }

/* THREAD algorithm SP charset SP search-keys */
struct imap_reply imap_thread(struct imap_session *s, struct imap_cmd *c)
{
	static const struct { const char *word; enum thread_how how; } algorithms[] = {
		{ "ORDEREDSUBJECT", THREAD_ORDEREDSUBJECT }, { "REFERENCES", THREAD_REFERENCES }, { "REFS", THREAD_REFS } };
	struct threading x = { .s = s, .c = c };
	struct search q = { .now = clock_wall_s() };
	struct thread_tree tree;
	size_t i = 0;
	enum err e;

	while (i < COUNT_OF(algorithms) && !imap_word(&c->args, algorithms[i].word))
		i++;
	if (i == COUNT_OF(algorithms))
		scan_fail(&c->args);
	else
		x.how = algorithms[i].how;
	imap_sp(&c->args);
	if (!search_parse_charset(c, &q) || !search_parse_program(s, c, &q))
		return search_refuse(s, c, &q, "ORDEREDSUBJECT/REFERENCES/REFS charset search-keys");
	if (search_limit(s, c, &q))
		return imap_limit_refuse(s, c);
	e = search_run_summaries(s, &q, true, add_message, &x);
	if (e == ERR_OK)
		e = x.e;
	if (e != ERR_OK)
		return imap_err(c, e);
	thread_build(&c->arena, x.how, x.messages, x.n, &tree);
	buf_add_cstr(&s->out, tree.first == THREAD_NONE ? "* THREAD" : "* THREAD ");
	thread_put(&s->out, &c->arena, &tree, x.messages, x.n, spill, s);
	buf_add_cstr(&s->out, "\r\n");
	return imap_ok(c, "threaded");
}
