/* A parcel that has its turn: read it, have it signed, give it to net.
 *
 * It is read twice when it is signed, before and after keys was asked: what is read is not kept meanwhile, since hundreds of messages
 * may wait for their signature. The freshest are in the cache of contents anyway.
 *
 * Signed is what is ours: what our users and this machine submit, and the reports that the queue makes itself. Not what came from outside
 * and is only passed on, and not what a delivery makes of it (a redirect): its From says what a stranger wanted it to say. And what a group
 * sends on: its From is the group's, or that of one of ours who has logged in (copies.c).
 *
 * Mail of a group goes to each member with his own sender and, where members may leave by themselves, his own fields for that, which
 * stand before the message and are signed with it. So its parcels have one recipient each. */
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "mailauth/dkim_sign.h"
#include "mime/list.h"
#include "queue/forward.h"
#include "queue/parcels_private.h"
#include "text/text.h"
#include <assert.h>
#include <stddef.h>
#include <unistd.h>

enum { SIGNING_MAX = 8, TO_SIGN_MAX = 32, SIGN_TIMEOUT_MS = 10000, SIGN_AGAIN_MS = 1000, PIECE = 64 << 10, LEAVE_FIELDS_MAX = 2000, FORWARD_FIELDS_MAX = LEAVE_FIELDS_MAX };
static_assert((int)SEND_PREFIX_MAX >= (int)DKIM_PREFIX_MAX + (int)LEAVE_FIELDS_MAX, "one limit, two names");

/* ---------------------------------------------------------------------------------------------------------- reading */

struct loaded {
	struct send send;                 /* all but number and prefix; fd is ours */
	bool        is_ours;              /* to be signed */
	bool        is_stopped;           /* who sent it may not send now */
	uint64_t    submitter;            /* account; 0: none */
	struct str  list;                 /* the group that sends it on; empty: none */
	struct str  fields;               /* that only its one recipient gets; before the message */
	struct buf  bytes;                /* of a row's body */
	struct send_recipient recipients[SEND_RECIPIENTS_MAX];
};

static void loaded_free(struct loaded *l)
{
	fd_close(&l->send.fd);
	buf_free(&l->bytes);
}

bool parcels_sign_it(const struct envelope *e)
{
	return e->source == ENVELOPE_SUBMISSION || e->source == ENVELOPE_LOCAL || e->list.n > 0 ||
	       (e->source == ENVELOPE_DELIVERY && e->parent.account == 0);
}

static void fill_head(const struct queue *q, const struct envelope *e, struct loaded *out)
{
	out->is_ours = parcels_sign_it(e);
	out->is_stopped = times_is_stopped(q, e);
	out->list = e->list;
	out->submitter = e->submitter;
	out->send.sender = e->sender;
	out->send.body_type = e->body;
	out->send.ret = e->ret;
	out->send.envid = e->envid;
	out->send.smtputf8 = e->smtputf8;
	out->send.wishes = e->wishes;
	if (e->wishes.deliver_by != 0)
		out->send.wishes.deliver_by = jumps_moved_with(&q->jumps, envelope_begins(e), e->wishes.deliver_by);
}

static void add_recipient(const struct envelope_recipient *r, struct loaded *out)
{
	out->recipients[out->send.n++] = (struct send_recipient){ r->address, r->orcpt, r->notify };
}

static enum err load_logged(struct parcel *p, struct loaded *out)
{
	struct queue *q = p->parcels->queue;
	const struct content *c;

	TRY(content_get(q->contents, q->log, p->place, &c));
	fill_head(q, &c->envelope, out);
	for (size_t i = 0; i < p->n; i++) {
		if (p->items[i].state == ITEM_SETTLED)
			continue;
		if (p->items[i].recipient >= c->envelope.n)
			return ERR_CORRUPT;
		add_recipient(&c->envelope.recipients[p->items[i].recipient], out);
	}
	out->send.size = c->size;
	out->send.body = c->body;
	return c->body.p == NULL ? spool_read(q->spool, c->spool, &out->send.fd) : ERR_OK;
}

/* A row that is held, removed or finished meanwhile is left alone. */
static enum err load_rows(struct parcel *p, struct arena *a, struct loaded *out)
{
	struct late *late = p->parcels->queue->late;

	for (size_t i = 0; i < p->n; i++) {
		struct item *item = &p->items[i];
		struct late_key key = item_key(p, item);
		struct late_row row;
		if (item->state == ITEM_SETTLED)
			continue;
		enum err e = late_find(late, &key, a, &row);
		if (e != ERR_OK && e != ERR_NOTFOUND)
			return e;
		if (e != ERR_OK || row.state != LATE_WAITING) {
			item_forget_row(p, item);
			continue;
		}
		add_recipient(&row.recipient, out);
		item->tries = row.tries;
		item->asked = row.asked;
	}
	return ERR_OK;
}

static enum err load_late(struct parcel *p, struct arena *a, struct loaded *out)
{
	struct late *late = p->parcels->queue->late;
	struct late_message m;

	TRY(load_rows(p, a, out));
	if (out->send.n == 0)
		return ERR_OK;
	TRY(late_message_find(late, p->log_id, p->seq, a, &m));
	fill_head(p->parcels->queue, &m.envelope, out);
	out->bytes = BUF(LATE_SHARED_MAX);
	TRY(late_body(late, p->log_id, p->seq, &out->bytes, &out->send.fd));
	out->send.size = m.size;
	out->send.body = out->send.fd >= 0 ? STR_NONE : out->bytes.n > 0 ? buf_str(&out->bytes) : STR("");
	return ERR_OK;
}

/* What a path may hold as it is (RFC 3986 §3.3). */
static bool is_plain(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!chr_alpha(s.p[i]) && !chr_digit(s.p[i]) && (s.p[i] == '\0' || strchr("-._~!$&'()*+,;=:@", s.p[i]) == NULL))
			return false;
	return true;
}

/* Where one click does it (RFC 8058); empty: no web page is served, or the address would have to be written in another way there. */
static struct str leave_url(const struct queue *q, struct str address, struct arena *a)
{
	struct str port = q->config.https_port == 443 ? STR("") : arena_printf(a, ":%u", q->config.https_port);

	if (q->config.https_port == 0 || !is_plain(address))
		return STR("");
	return arena_printf(a, "https://" STR_FMT STR_FMT "/leave/" STR_FMT, STR_ARG(lookup_hostname(q->lookup)), STR_ARG(port), STR_ARG(address));
}

static struct str leave_fields(const struct queue *q, const struct lookup_group *g, struct str member, struct arena *a)
{
	CLEANUP(buf_free) struct buf b = BUF(LEAVE_FIELDS_MAX);
	struct str address = lookup_list_address(q->lookup, g->address, LIST_LEAVE, member, a);

	list_leave_fields(address, leave_url(q, address, a), &b);
	return b.failed ? STR("") : str_copy(a, buf_str(&b));
}

/* The one recipient's own sender, and how he leaves. */
static void fill_member(const struct parcel *p, struct arena *a, struct loaded *out)
{
	const struct queue *q = p->parcels->queue;
	struct str member = out->send.recipients[0].address;
	struct lookup_group g;

	if (out->list.n == 0 || q->lookup == NULL || out->send.n != 1 || !lookup_group(q->lookup, out->list, &g))
		return;
	out->send.sender = lookup_list_address(q->lookup, g.address, LIST_BOUNCE, member, a);
	if (lookup_group_lets_go(q->lookup, &g, member))
		out->fields = leave_fields(q, &g, member, a);
}

static enum err load(struct parcel *p, struct arena *a, struct loaded *out)
{
	*out = (struct loaded){ .send = { .log_id = p->log_id, .seq = p->seq, .fd = -1 } };
	arena_reset(&p->arena);
	out->send.destination = turn_destination(&p->turn);
	out->send.recipients = out->recipients;
	TRY(p->place.length > 0 ? load_logged(p, out) : load_late(p, a, out));
	if (out->send.n > 0)
		fill_member(p, a, out);
	return ERR_OK;
}

/* Which way it goes now. Forwarded mail leaves with a sender of ours, so that its bounce comes back here (SRS). False: another way than where
 * it waits. */
static bool set_way(const struct parcel *p, struct arena *a, struct loaded *out)
{
	const struct lookup *l = p->parcels->queue->lookup;
	struct queue_way way;

	if (!queue_way_of(l, out->recipients[0].address, a, &way) || !str_eq(way.destination, out->send.destination))
		return false;
	out->send.route = way.route;
	if (l == NULL || way.is_inner)
		return true;
	out->send.sender = lookup_forward_sender(l, out->send.sender, a);
	lookup_source(l, out->submitter, &out->send.source_ipv4, &out->send.source_ipv6);
	return true;
}

/* False: p is not there any more, or waits elsewhere. */
static bool read_parcel(struct parcel *p, struct arena *a, struct loaded *out)
{
	if (load(p, a, out) != ERR_OK) {
		parcel_all(p, DELIVERY_DEFERRED, STR("4.3.0"), str_of(text_get(LANG_EN, TEXT_REASON_UNREADABLE)));
		return false;
	}
	if (out->send.n == 0) {
		parcel_drop(p);
		return false;
	}
	if (set_way(p, a, out))
		return true;
	parcel_refile(p);
	return false;
}

void parcel_refuse(struct parcel *p, struct str status, struct str text)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(loaded_free) struct loaded l = { .send = { .fd = -1 } };

	if (read_parcel(p, &a, &l))
		parcel_all(p, DELIVERY_REFUSED, status, text);
}

/* ---------------------------------------------------------------------------------------------------------- sending */

static void on_answer(void *context, struct message *m)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct parcel *p = context;
	struct send_answer answer;
	size_t n = 0;

	if (m->status == ERR_UNAVAILABLE) {
		parcel_lost(p);
		return;
	}
	if (m->status == ERR_AGAIN) {  /* we stop, and nothing has come of it */
		parcel_again(p);
		return;
	}
	for (size_t i = 0; i < p->n; i++)
		n += p->items[i].state != ITEM_SETTLED;
	if (m->status == ERR_OK && send_answer_decode(m->body, n, &a, &answer) == ERR_OK) {
		parcel_answered(p, &answer);
		return;
	}
	log_error("net did not understand a message, or its answer cannot be understood seq=%llu status=%s",
	          (unsigned long long)p->seq, err_name(m->status));
	parcel_all(p, DELIVERY_DEFERRED, STR("4.3.0"), STR("This server's sending process gave no usable answer; see the server's log."));
}

static void hand_over(struct parcel *p, struct loaded *l)
{
	CLEANUP(buf_free) struct buf request = BUF(MESSAGE_BODY_MAX);
	CLEANUP(fd_close) int memfd = -1;
	struct parcels *r = p->parcels;
	int fds[MESSAGE_FDS_MAX], fd_count;

	l->send.number = p->number = ++r->number;
	enum err e = send_encode(&l->send, &request, fds, &fd_count, &memfd);
	if (e == ERR_LIMIT) {
		parcel_all(p, DELIVERY_REFUSED, STR("5.3.4"), str_of(text_get(LANG_EN, TEXT_REASON_ENVELOPE_LONG)));
		return;
	}
	if (e == ERR_INVALID) {
		parcel_all(p, DELIVERY_REFUSED, STR("5.1.3"), str_of(text_get(LANG_EN, TEXT_REASON_ENVELOPE_CONTROLS)));
		return;
	}
	if (e != ERR_OK) {  /* no memory or descriptors at the moment (logged) */
		parcel_all(p, DELIVERY_DEFERRED, STR("4.3.0"), STR("The message could not be read for sending; see the server's log."));
		return;
	}
	parcels_tell_sent(r);
	channel_ask(r->net, REQUEST_SEND, buf_str(&request), fds, fd_count, SEND_TIMEOUT_MS, on_answer, p);
	p->state = PARCEL_OUT;
	p->bytes = l->send.fd < 0 ? (size_t)l->send.size : 0;
	r->bytes_out += p->bytes;
}

/* An address of ours: it has gone since it was accepted, or its domain was not ours then. */
static bool is_nobodys(const struct parcel *p)
{
	const struct lookup *l = p->parcels->queue->lookup;

	return l != NULL && lookup_domain(l, turn_destination(&p->turn));
}

static uint16_t signed_part(const struct parcel *p) { return p->is_single ? p->items[0].recipient : SIGNATURES_WHOLE; }

/* The marks of aliases that send it on. No signature covers them: they are for ourselves. */
static struct str forward_fields(const struct parcel *p, const struct loaded *l, struct arena *a)
{
	struct str all = STR("");

	for (size_t i = 0; l->list.n == 0 && i < l->send.n; i++) {
		struct str field = forward_field(p->parcels->queue->lookup, l->recipients[i].address, l->recipients[i].orcpt, a);
		if (field.n > 0 && all.n + field.n <= FORWARD_FIELDS_MAX && str_find(all, field) < 0)
			all = arena_printf(a, STR_FMT STR_FMT, STR_ARG(all), STR_ARG(field));
	}
	return all;
}

/* Behind the signature that covers them; and marks, before it. */
static void add_fields(const struct parcel *p, struct loaded *l, struct arena *a)
{
	struct str marks = forward_fields(p, l, a);

	if (l->fields.n > 0 || marks.n > 0)
		l->send.prefix = arena_printf(a, STR_FMT STR_FMT STR_FMT, STR_ARG(marks), STR_ARG(l->send.prefix), STR_ARG(l->fields));
}

static void send_now(struct parcel *p)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(loaded_free) struct loaded l = { .send = { .fd = -1 } };

	if (!parcels_may_send(p->parcels)) {  /* that may have changed while it was signed */
		parcel_again(p);
		return;
	}
	if (!read_parcel(p, &a, &l))
		return;
	if (!signatures_find(p->parcels->signatures, p->log_id, p->seq, signed_part(p), l.fields, &l.send.prefix)) {
		parcel_again(p);  /* its fields are others by now */
		return;
	}
	add_fields(p, &l, &a);
	hand_over(p, &l);
}

static void add_to_sign(struct parcel *p)
{
	p->state = PARCEL_SIGNING;
	p->next_to_sign = NULL;
	*p->parcels->to_sign_end = p;
	p->parcels->to_sign_end = &p->next_to_sign;
	p->parcels->to_sign_n++;
}

static struct parcel *next_to_sign(struct parcels *r)
{
	struct parcel *p = r->to_sign;

	if (p == NULL)
		return NULL;
	r->to_sign = p->next_to_sign;
	if (r->to_sign == NULL)
		r->to_sign_end = &r->to_sign;
	r->to_sign_n--;
	return p;
}

bool parcels_can_sign(const struct parcels *r)
{
	return r->keys != NULL && channel_is_open(r->keys) && r->now_ms >= r->sign_again_ms && r->to_sign_n < TO_SIGN_MAX;
}

static void give_back_to_sign(struct parcels *r)
{
	struct parcel *p, *back = NULL;

	while ((p = next_to_sign(r)) != NULL) {
		p->next_to_sign = back;
		back = p;
	}
	for (; (p = back) != NULL; parcel_again(p))  /* the last one first: each goes to the front */
		back = p->next_to_sign;
}

void parcels_unsign(struct parcels *r)
{
	if (r->keys == NULL || !channel_is_open(r->keys) || r->now_ms < r->sign_again_ms)
		give_back_to_sign(r);
}

void parcels_stop(struct parcels *r)
{
	if (r->net != NULL)
		channel_notify(r->net, NOTICE_SENDS_END, STR(""), NULL, 0);
	give_back_to_sign(r);
}

/* Nobody here signs it: keys has said so of both domains. A body in a file is left to the worker, with its header. */
static bool is_keyless(const struct parcels *r, const struct loaded *l, struct arena *a)
{
	struct dkim_domains d;

	return l->send.fd < 0 && dkim_sign_domains(l->send.sender, l->send.body, a, &d) && signatures_is_keyless(r->signatures, d.author) &&
	       (d.sender.n == 0 || signatures_is_keyless(r->signatures, d.sender));
}

void parcel_go(struct parcel *p)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(loaded_free) struct loaded l = { .send = { .fd = -1 } };

	if (!read_parcel(p, &a, &l))
		return;
	if (l.is_stopped) {
		parcel_put_aside(p, times_look_again(), NULL);
		return;
	}
	if (is_nobodys(p)) {
		parcel_resolve(p);
		return;
	}
	if (l.is_ours && !is_keyless(p->parcels, &l, &a)) {
		if (!signatures_find(p->parcels->signatures, p->log_id, p->seq, signed_part(p), l.fields, &l.send.prefix)) {
			add_to_sign(p);
			return;
		}
	}
	add_fields(p, &l, &a);
	hand_over(p, &l);
}

/* ---------------------------------------------------------------------------------------------------------- signing */

/* What keys is asked is made in the worker's thread: a message may be large. */
struct signing {
	struct job     job;
	struct parcel *parcel;
	struct arena   arena;
	struct loaded  loaded;
	struct buf     request;
	enum err       result;
};

static void signing_free(struct signing *s)
{
	s->parcel->parcels->signing--;
	loaded_free(&s->loaded);
	arena_free(&s->arena);
	buf_free(&s->request);
	mem_free(s);
}

static void signed_with(struct signing *s, struct str prefix)
{
	struct parcel *p = s->parcel;

	signatures_put(p->parcels->signatures, p->log_id, p->seq, signed_part(p), s->loaded.fields, prefix.n <= DKIM_PREFIX_MAX ? prefix : STR(""));
	signing_free(s);
	send_now(p);
}

static void has_no_key(struct signing *s)
{
	struct signatures *to = s->parcel->parcels->signatures;
	struct scan in = scan_of(buf_str(&s->request));
	struct dkim_request r;

	if (get_dkim_request(&in, &r)) {
		signatures_keyless(to, r.author);
		if (r.sender.n > 0)
			signatures_keyless(to, r.sender);
	}
	signed_with(s, STR(""));
}

static void sign_later(struct signing *s)
{
	struct parcel *p = s->parcel;

	p->parcels->sign_again_ms = p->parcels->now_ms + SIGN_AGAIN_MS;
	signing_free(s);
	parcel_again(p);
}

static void on_signed(void *context, struct message *m)
{
	struct signing *s = context;

	switch (m->status) {
	case ERR_OK:
		signed_with(s, m->body);
		break;
	case ERR_NOTFOUND:
		has_no_key(s);
		break;
	case ERR_INVALID:
		log_error("a message leaves without a signature: keys did not understand seq=%llu", (unsigned long long)s->parcel->seq);
		signed_with(s, STR(""));
		break;
	default:
		sign_later(s);
	}
}

static enum err hash_file(struct dkim_sign *d, int fd, uint64_t size)
{
	char *piece = mem_alloc(PIECE);
	enum err e = ERR_OK;

	for (uint64_t at = 0; e == ERR_OK && at < size;) {
		ssize_t n = pread(fd, piece, PIECE, (off_t)at);
		if (n <= 0) {
			e = log_errno("read", "a queued message");
			break;
		}
		dkim_sign_add(d, str_make(piece, (size_t)n));
		at += (uint64_t)n;
	}
	mem_free(piece);
	return e;
}

static enum err make_request(struct signing *s)
{
	CLEANUP(dkim_sign_free) struct dkim_sign *d = dkim_sign_begin(s->loaded.send.sender);

	dkim_sign_add(d, s->loaded.fields);
	if (s->loaded.send.fd >= 0)
		TRY(hash_file(d, s->loaded.send.fd, s->loaded.send.size));
	else
		dkim_sign_add(d, s->loaded.send.body);
	return dkim_sign_end(d, &s->request);
}

static void run_request(struct job *j)
{
	struct signing *s = (struct signing *)j;

	s->result = make_request(s);
}

static void request_made(struct job *j)
{
	struct signing *s = (struct signing *)j;
	struct parcels *r = s->parcel->parcels;

	if (s->result != ERR_OK) {  /* it has no From, or two: nobody can sign that */
		signed_with(s, STR(""));
		return;
	}
	if (r->keys == NULL)
		sign_later(s);
	else
		channel_ask(r->keys, REQUEST_DKIM_SIGN, buf_str(&s->request), NULL, 0, SIGN_TIMEOUT_MS, on_signed, s);
}

static void sign(struct parcel *p)
{
	struct signing *s = MEM_NEW(struct signing);
	struct parcels *r = p->parcels;

	*s = (struct signing){ .parcel = p, .request = BUF(DKIM_REQUEST_MAX), .loaded = { .send = { .fd = -1 } } };
	if (!read_parcel(p, &s->arena, &s->loaded)) {
		loaded_free(&s->loaded);
		arena_free(&s->arena);
		mem_free(s);
		return;
	}
	r->signing++;
	s->job = (struct job){ .run = run_request, .done = request_made };
	if (s->loaded.send.fd >= 0) {
		s->loaded.send.sender = str_copy(&s->arena, s->loaded.send.sender);  /* the cache may let go of it */
		worker_add(r->queue->worker, &s->job);
		return;
	}
	run_request(&s->job);
	request_made(&s->job);
}

void parcels_sign(struct parcels *r)
{
	struct str prefix;

	while (r->to_sign != NULL && r->signing < SIGNING_MAX && r->now_ms >= r->sign_again_ms && r->keys != NULL) {
		struct parcel *p = next_to_sign(r);
		if (!p->is_single && signatures_find(r->signatures, p->log_id, p->seq, signed_part(p), STR(""), &prefix))
			send_now(p);  /* for another destination, meanwhile */
		else
			sign(p);
	}
}
