/* THREAD (RFC 5256 §3): the messages that match, as conversations. What threads a message is in its gist
 * (store/gist.h); those that came before the record had their references are asked for their header. */
#include "base/clock.h"
#include "imap/search_private.h"
#include "imap/thread_private.h"
#include "mime/header.h"

enum { OLD_HEADER_MAX = 65536 };  /* bytes that are read of a message whose record has no references */

struct threading {
	struct imap_session   *s;
	struct imap_cmd       *c;
	enum thread_how        how;
	unsigned               wants;
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

	if (e == ERR_NOTFOUND || e == ERR_CORRUPT)
		return ERR_OK;  /* a damaged one (logged) refers to nothing: the others have their threads */
	TRY(e);
	size_t size = body.size < OLD_HEADER_MAX ? (size_t)body.size : OLD_HEADER_MAX;
	char *bytes = arena_alloc(scratch, size + 1);
	e = body_read(&body, 0, bytes, size);
	if (e == ERR_CORRUPT || e == ERR_IO)
		return ERR_OK;
	TRY(e);
	struct str header = str_sub(str_make(bytes, size), 0, header_size(str_make(bytes, size)));
	header_find(header, STR("References"), &references);
	header_find(header, STR("In-Reply-To"), &in_reply_to);
	*n = summary_references_of(scratch, references, in_reply_to, out);
	return ERR_OK;
}

static void add_references(struct threading *x, const struct gist *gist, struct thread_message *m)
{
	CLEANUP(arena_free) struct arena scratch = { 0 };
	uint64_t ids[SUMMARY_REFERENCES_MAX] = { 0 };

	m->id = gist->id;
	m->references = gist->references;
	m->n_references = gist->n_references;
	if (gist->knows_references || x->e != ERR_OK)
		return;
	x->e = read_references(x, gist->email, &scratch, ids, &m->n_references);
	m->references = memcpy(arena_array(&x->c->arena, m->n_references, sizeof *ids), ids, m->n_references * sizeof *ids);
}

static void add_message(void *context, const struct message_row *row, const struct gist *gist)
{
	struct threading *x = context;
	struct thread_message m = { .number = x->c->is_uid ? row->uid : row->seq, .sent = gist->sent, .received = gist->received };

	if (x->how != THREAD_REFS) {
		m.subject = gist->texts[GIST_SUBJECT];
		m.is_reply = gist->is_reply;
	}
	if (x->how != THREAD_ORDEREDSUBJECT)
		add_references(x, gist, &m);
	if (x->n == x->cap)
		x->messages = arena_grow(&x->c->arena, x->messages, x->n, &x->cap, sizeof *x->messages);
	x->messages[x->n++] = m;
}

static void spill(void *context) { imap_spill(context); }

/* THREAD algorithm SP charset SP search-keys */
struct imap_reply imap_thread(struct imap_session *s, struct imap_cmd *c)
{
	static const struct { const char *word; enum thread_how how; unsigned wants; } algorithms[] = {
		{ "ORDEREDSUBJECT", THREAD_ORDEREDSUBJECT, GIST_TEXT(GIST_SUBJECT) },
		{ "REFERENCES", THREAD_REFERENCES, GIST_TEXT(GIST_SUBJECT) | GIST_REFERENCES },
		{ "REFS", THREAD_REFS, GIST_REFERENCES },
	};
	struct threading x = { .s = s, .c = c };
	struct search q = { .now = clock_wall_s() };
	struct thread_tree tree;
	size_t i = 0;
	enum err e;

	while (i < COUNT_OF(algorithms) && !imap_word(&c->args, algorithms[i].word))
		i++;
	if (i == COUNT_OF(algorithms)) {
		scan_fail(&c->args);
	} else {
		x.how = algorithms[i].how;
		x.wants = algorithms[i].wants;
	}
	imap_sp(&c->args);
	if (!search_parse_charset(c, &q) || !search_parse_program(s, c, &q))
		return search_refuse(s, c, &q, "ORDEREDSUBJECT/REFERENCES/REFS charset search-keys");
	if (search_limit(s, c, &q))
		return imap_limit_refuse(s, c);
	e = search_run_gists(s, &q, x.wants, &c->arena, add_message, &x);
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
