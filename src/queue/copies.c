/* Writing what groups send on.
 *
 * Each copy has the header of mime/list.h and the body of the original, which is not copied in memory: it stays mapped until the copies are
 * written. Members elsewhere see the group as the author (mime/list.c says why), but for authors who are ours and have logged in: their
 * domain's signature is made here, so their name passes everywhere. A name of ours in a stranger's mail proves nothing, and must not
 * get our signature.
 *
 * A message that a delivery has made (a redirect) has a key, under which it is queued once; its copies have keys made from it, so that a
 * delivery that is repeated after a kill finds them. */
#include "queue/copies.h"
#include "base/log.h"
#include "base/mem.h"
#include "mime/address.h"
#include "mime/header.h"
#include "mime/list.h"
#include "queue/queue_private.h"
#include <sys/mman.h>
#include <unistd.h>

enum { HEADER_ROOM = 8192, ORDINAL_OF_COPIES = 1 << 30, ORDINALS = 1 << 12 };

struct copies {
	struct queue            *queue;
	struct resolved         *all;
	const struct queue_body *body;
	struct str               mapped;     /* the spool file */
	size_t                   writing;
	enum err                 result;
	void                   (*done)(void *context, enum err result);
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
	if (c->mapped.p != NULL)
		munmap((void *)c->mapped.p, c->mapped.n);
	mem_free(c);
}

static struct str message_of(const struct copies *c) { return c->mapped.p != NULL ? c->mapped : c->body->bytes; }

/* ----------------------------------------------------------------------------------------------------------- checking */

static bool is_only_for_groups(const struct envelope *e)
{
	for (size_t i = 0; i < e->n; i++)
		if (e->recipients[i].account != ENVELOPE_GROUP)
			return false;
	return true;
}

enum err copies_check(struct copies *c, const struct envelope *e)
{
	struct str message = message_of(c), header = str_sub(message, 0, header_size(message));
	enum list_obstacle why = LIST_MAY_PASS;
	size_t left = 0;

	for (size_t i = 0; i < c->all->n; i++) {
		struct resolved_copy *copy = &c->all->copies[i];
		enum list_obstacle here = list_obstacle(header, copy->group.address);
		if (here == LIST_MAY_PASS) {
			c->all->copies[left++] = *copy;
			continue;
		}
		why = here;
		log_info("not sent on to the members of a group: %s group=" STR_FMT " from=" STR_FMT,
		         here == LIST_HAS_SEEN_IT ? "it comes from there" : "it is an automatic answer", STR_ARG(copy->group.address), STR_ARG(e->sender));
	}
	c->all->n = left;
	if (left > 0 || why == LIST_MAY_PASS || !is_only_for_groups(&c->all->envelope) || e->source == ENVELOPE_DELIVERY)
		return ERR_OK;
	return why == LIST_HAS_SEEN_IT ? ERR_CONFLICT : ERR_DENIED;
}

/* ------------------------------------------------------------------------------------------------------------ writing */

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

static void write_header(const struct copies *c, const struct resolved_copy *copy, struct str header, struct buf *out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const struct list_post post = {
		.address = copy->group.address, .title = copy->group.title, .replies_to_list = copy->group.replies_to_group,
		.is_for_few = lookup_group_is_for_few(&copy->group),
		.leave = copy->is_elsewhere || !copy->group.may_leave ? STR("")  /* each gets his own when it is sent: parcel_send.c */
			: lookup_list_address(c->queue->lookup, copy->group.address, LIST_LEAVE, STR(""), &a),
		.renames_author = copy->is_elsewhere && !is_author_ours(c->queue, &copy->envelope, header),
	};

	list_header(&post, header, out);
}

static void one_done(struct copies *c, enum err result)
{
	if (result != ERR_OK)
		c->result = result;
	if (--c->writing == 0)
		c->done(c->context, c->result);
}

static void on_written(void *context, enum err result, struct due *hold)
{
	struct copies *c = context;

	if (hold != NULL)
		backlog_settle(&c->queue->backlog, hold);
	one_done(c, result);
}

static void write_copy(struct copies *c, size_t i)
{
	struct resolved_copy *copy = &c->all->copies[i];
	struct str message = message_of(c), header = str_sub(message, 0, header_size(message));
	CLEANUP(buf_free) struct buf head = BUF(header.n * 2 + HEADER_ROOM);
	struct envelope_parent *parent = &copy->envelope.parent;

	if (parent->log_id != 0)
		parent->ordinal = ORDINAL_OF_COPIES + parent->ordinal % ORDINALS * ORDINALS + (uint32_t)i;
	uint64_t earlier = parents_find(&c->queue->parents, parent);
	if (earlier != 0) {
		one_done(c, earlier == PARENT_BEING_WRITTEN ? ERR_AGAIN : ERR_OK);
		return;
	}
	write_header(c, copy, header, &head);
	if (head.failed) {
		one_done(c, ERR_LIMIT);
		return;
	}
	add_copy(c->queue, &copy->envelope, buf_str(&head), str_from(message, header.n), on_written, c);
}

void copies_write(struct copies *c, void (*done)(void *context, enum err result), void *context)
{
	c->done = done;
	c->context = context;
	c->writing = c->all->n + 1;  /* one for ourselves: a copy may be done before the next is begun */
	for (size_t i = 0, n = c->all->n; i < n; i++)
		write_copy(c, i);
	one_done(c, ERR_OK);
}
