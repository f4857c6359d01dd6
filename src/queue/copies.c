/* What groups send on: messages of their own, made here and written together with the message they are of.
 *
 * Each copy has the header of mime/list.h and the body of the original, which is not copied in memory before the records are made: it stays
 * mapped. Members elsewhere see the group as the author (mime/list.c says why), but for authors who are ours and have logged in: their
 * domain's signature is made here, so their name passes everywhere. A name of ours in a stranger's mail proves nothing, and must not
 * get our signature.
 *
 * All of it or none. The message and its copies are records that stand one behind the other, and either all find room in the log or none does
 * (log.h), so its sender is told "accepted" or "not now" about all of it, and what he sends again nobody has already. Cut in the
 * middle of that write, before anybody was told, the message is there and copies at the end are missing: unfinished.c makes those up, so that
 * a message made by a delivery, which is not asked for a second time (parents.h), reaches all members.
 *
 * The parent of a copy is (message, ENVELOPE_GROUP, how many came before it); the last one says that it is. */
#include "queue/copies.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "mime/address.h"
#include "mime/header.h"
#include "mime/list.h"
#include "queue/queue_private.h"
#include <sys/mman.h>
#include <unistd.h>

enum {
	HEADER_ROOM = 8192,
	INLINE_MAX = 4 << 20,          /* bytes of all copies that may be in memory; more: each is in a file */
};

struct copy {
	struct adding  adding;         /* first */
	struct copies *copies;
	struct buf     head;
};

struct copies {
	struct queue            *queue;
	struct resolved         *all;
	const struct queue_body *body;
	struct str               mapped;     /* the spool file */
	struct copy             *list;       /* of those that are made; NULL: not yet */
	size_t                   n, making, writing;
	uint64_t                 of_seq;
	enum err                 result;
	copies_done              done;
	void                    *context;
};

enum err copies_new(struct queue *q, struct resolved *all, const struct queue_body *body, struct copies **out)
{
	CLEANUP(fd_close) int fd = -1;
	void *p = NULL;

	if (body->bytes.p == NULL) {
		TRY(spool_read(q->spool, body->spool, &fd));
		p = mmap(NULL, body->size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (p == MAP_FAILED)
			return log_errno("map", "a spool file");
	}
	*out = MEM_NEW(struct copies);
	**out = (struct copies){ .queue = q, .all = all, .body = body, .mapped = str_make(p, p != NULL ? (size_t)body->size : 0) };
	return ERR_OK;
}

void copies_free(struct copies *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->n; i++) {
		adding_drop(&c->list[i].adding);
		buf_free(&c->list[i].head);
	}
	if (c->mapped.p != NULL)
		munmap((void *)c->mapped.p, c->mapped.n);
	mem_free(c->list);
	mem_free(c);
}

void copies_settle(struct queue *q, struct due *d)
{
	static const struct sync_result done = { .outcome = DELIVERY_DONE, .status = { "2.1.5", 5 },
		.reason = { "The message was sent on to the members of the group.", 52 }, .host = { "", 0 } };

	if (d->tells_success)
		sync_move(q->sync, d, &done);
	else
		backlog_settle(&q->backlog, d);
}

static struct str message_of(const struct copies *c) { return c->mapped.p != NULL ? c->mapped : c->body->bytes; }

/* ----------------------------------------------------------------------------------------------------------- checking */

/* The copies of a group stand together. */
static void drop_group(struct resolved *all, size_t i, bool is_loop, struct arena *a)
{
	size_t at = all->copies[i].recipient, end = i + 1;

	while (end < all->n && all->copies[end].recipient == at)
		end++;
	memmove(&all->copies[i], &all->copies[end], (all->n - end) * sizeof *all->copies);
	all->n -= end - i;
	resolved_drop_recipient(all, at, is_loop, a);
}

enum err copies_check(struct copies *c, const struct envelope *e, struct arena *a)
{
	struct str message = message_of(c), header = str_sub(message, 0, header_size(message));
	enum list_obstacle why = LIST_MAY_PASS;
	struct resolved *all = c->all;

	for (size_t i = 0; i < all->n;) {
		struct str group = all->copies[i].group.address;
		enum list_obstacle here = list_obstacle(header, group);
		if (here == LIST_MAY_PASS) {
			i++;
			continue;
		}
		why = here;
		log_info("not sent on to the members of a group: %s group=" STR_FMT " from=" STR_FMT,
		         here == LIST_HAS_SEEN_IT ? "it comes from there" : "it is an automatic answer", STR_ARG(group), STR_ARG(e->sender));
		drop_group(all, i, here == LIST_HAS_SEEN_IT, a);
	}
	if (all->envelope.n > 0 || why == LIST_MAY_PASS || e->source == ENVELOPE_DELIVERY)
		return ERR_OK;
	return why == LIST_HAS_SEEN_IT ? ERR_CONFLICT : ERR_DENIED;
}

/* ------------------------------------------------------------------------------------------------------------- making */

static void on_written(struct adding *a);

/* Who From names is ours, and has proven it. */
static bool is_author_ours(const struct queue *q, const struct envelope *e, struct str header)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct mail_address *list;
	struct str from;

	if ((e->source != ENVELOPE_SUBMISSION && e->source != ENVELOPE_LOCAL) || !header_find(header, STR("From"), &from))
		return false;
	size_t n = address_list_parse(&a, from, &list);
	return n == 1 && list[0].kind == ADDRESS_MAILBOX && lookup_domain(q->lookup, list[0].domain);
}

/* For a message that has none: the same for all copies, also for one that is made up after a restart. */
static struct str message_id_for(const struct copies *c, const struct resolved_copy *copy, struct arena *a)
{
	struct str message = message_of(c), group = copy->group.address, domain = str_from(group, (size_t)str_rchr(group, '@') + 1);

	return !str_is_ascii(domain) ? STR("") : arena_printf(a, "%08x.%llx.%zx@" STR_FMT, crc32c(0, message.p, message.n),
	                                                      (unsigned long long)copy->envelope.received, message.n, STR_ARG(domain));
}

static void write_header(const struct copies *c, const struct resolved_copy *copy, struct str header, struct buf *out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const struct list_post post = {
		.message_id = message_id_for(c, copy, &a), .date = copy->envelope.received,
		.address = copy->group.address, .title = copy->group.title, .replies_to_list = copy->group.replies_to_group,
		.is_for_few = lookup_group_is_for_few(&copy->group),
		.leave = copy->is_elsewhere || !copy->may_leave ? STR("")  /* each gets his own when it is sent: parcel_send.c */
			: lookup_list_address(c->queue->lookup, copy->group.address, LIST_LEAVE, STR(""), &a),
		.renames_author = copy->is_elsewhere && !is_author_ours(c->queue, &copy->envelope, header),
	};

	list_header(&post, header, out);
}

static void one_made(struct copies *c, enum err result)
{
	if (result != ERR_OK)
		c->result = result;
	if (--c->making == 0)
		c->done(c->context, c->result);
}

static void on_ready(struct adding *a, enum err result) { one_made(((struct copy *)a)->copies, result); }

static void make_copy(struct copies *c, size_t i, bool is_apart)
{
	struct resolved_copy *of = &c->all->copies[i];
	struct copy *copy = &c->list[i];
	struct str message = message_of(c), header = str_sub(message, 0, header_size(message));

	of->envelope.parent = (struct envelope_parent){ log_id(c->queue->log), c->of_seq, ENVELOPE_GROUP, (uint32_t)i | (i + 1 == c->n ? COPIES_LAST : 0) };
	copy->copies = c;
	copy->head = BUF(header.n * 2 + HEADER_ROOM);
	write_header(c, of, header, &copy->head);
	copy->adding = (struct adding){ .queue = c->queue, .head = buf_str(&copy->head), .is_apart = is_apart,
		                            .body = { .bytes = str_from(message, header.n) }, .ready = on_ready, .written = on_written };
	if (copy->head.failed || adding_envelope(&copy->adding, &of->envelope) != ERR_OK)
		one_made(c, ERR_LIMIT);
	else
		adding_begin(&copy->adding);
}

void copies_make(struct copies *c, uint64_t of_seq, copies_done done, void *context)
{
	size_t n = c->all->n;
	bool is_apart = n * message_of(c).n > INLINE_MAX;

	c->done = done;
	c->context = context;
	c->of_seq = of_seq;
	c->making = 1;  /* for ourselves: a copy may be made before the next is begun */
	if (n >= LOG_TOGETHER_MAX)
		c->result = ERR_LIMIT;
	if (c->result == ERR_OK && n > 0) {
		c->list = mem_array(n, sizeof *c->list);
		c->n = n;
		c->making += n;
	}
	for (size_t i = 0; i < c->n; i++)
		make_copy(c, i, is_apart);
	one_made(c, ERR_OK);
}

/* ------------------------------------------------------------------------------------------------------------ writing */

size_t copies_count(const struct copies *c) { return c->n; }

/* All their results are there when the first of them is told. */
enum err copies_result(const struct copies *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->list[i].adding.writing.entry.result != ERR_OK)
			return c->list[i].adding.writing.entry.result;
	return ERR_OK;
}

static void on_written(struct adding *a)
{
	struct copies *c = ((struct copy *)a)->copies;

	if (a->writing.entry.result == ERR_OK)
		adding_enter(a);
	if (--c->writing > 0)
		return;
	if (c->done != NULL)
		c->done(c->context, copies_result(c));
	copies_free(c);
}

void copies_write(struct copies *c, struct adding *message, copies_done done, void *context)
{
	struct adding *list[LOG_TOGETHER_MAX];
	size_t n = 0;

	c->done = done;
	c->context = context;
	c->writing = c->n;
	if (message != NULL)
		list[n++] = message;
	for (size_t i = 0; i < c->n; i++)
		list[n++] = &c->list[i].adding;
	adding_write(list, n, message != NULL);
}
