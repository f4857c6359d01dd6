/* queue/world_net_test.h -- for tests: a net that counts what it has sent to whom, and dies when a test wants it. Part of world_test.h. */
#ifndef FACTEUR_QUEUE_WORLD_NET_TEST_H
#define FACTEUR_QUEUE_WORLD_NET_TEST_H
#include "queue/send.h"
#include "queue/world_cell_test.h"
#include <stdio.h>

enum { WORLD_MESSAGES = 20000, WORLD_CONNECTIONS = 400, WORLD_RECIPIENTS = 8 };

/* What net has open: a message that went over it, until SENT says that the queue has written that down. */
struct fake_connection {
	uint64_t number;            /* of the SEND; 0: unused */
	uint32_t message, call;
	uint32_t accepted;          /* recipients, as bits */
	char     destination[100];
};

struct fake_net {
	struct channel *ch;         /* NULL: it does not run */
	bool     is_held;           /* does not answer */
	bool     is_told_of_end;
	bool     defers, refuses, is_unreachable;
	bool     gives_back;        /* nothing of what is held has left: the end of all (SENDS_END) gives it back */
	int      dies_after;        /* SENDs; -1: never */
	uint32_t poison;            /* the message it dies of each time; 0: none */
	bool     dies_before_answer;/* but after the other server has accepted it */
	struct fake_connection open[WORLD_CONNECTIONS];
	uint8_t  got[WORLD_MESSAGES][WORLD_RECIPIENTS];     /* how often the recipient's server has accepted it */
	uint8_t  excused[WORLD_MESSAGES][WORLD_RECIPIENTS]; /* how often a kill came between that and SENT */
	size_t   sends, most;       /* most: at a time, for one destination */
	bool     is_wanted;         /* it is started with the queue */
	char     destination[100], host[100], sender[200], prefix[500];   /* of the last SEND */
};

static struct fake_connection *net_find(struct fake_net *n, uint64_t number)
{
	for (size_t i = 0; i < WORLD_CONNECTIONS; i++)
		if (n->open[i].number == number)
			return &n->open[i];
	return NULL;
}

static size_t net_open_to(const struct fake_net *n, const char *destination)
{
	size_t open = 0;

	for (size_t i = 0; i < WORLD_CONNECTIONS; i++)
		open += n->open[i].number != 0 && strcmp(n->open[i].destination, destination) == 0;
	return open;
}

/* "x3@d0.example" */
static unsigned net_recipient(struct str address)
{
	struct scan s = scan_of(address);

	scan_need_str(&s, STR("x"));
	unsigned n = scan_u32(&s);
	EXPECT(!s.failed && n < WORLD_RECIPIENTS);
	return n;
}

static uint32_t net_text_number(const struct send *s)
{
	const struct delivery as = { .body = s->body, .fd = s->fd, .size = s->size };
	char head[64];

	if (s->fd < 0)
		return text_number(as.body);
	EXPECT(pread(s->fd, head, sizeof head, 0) == (ssize_t)sizeof head);
	return text_number(str_make(head, sizeof head));
}

/* The recipients' server accepts it. */
static void net_accept(struct fake_net *n, struct fake_connection *c, const struct send *s)
{
	for (size_t i = 0; i < s->n; i++) {
		unsigned r = net_recipient(s->recipients[i].address);
		n->got[c->message][r]++;
		c->accepted |= 1u << r;
	}
}

static void net_answer(struct fake_net *n, uint32_t call, const struct send *s)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct send_result results[SEND_RECIPIENTS_MAX];
	struct send_answer a = { n->is_unreachable ? SEND_UNREACHABLE : SEND_GOOD, s->n, results, 0, NULL };

	for (size_t i = 0; i < s->n; i++) {
		results[i] = (struct send_result){ .outcome = DELIVERY_DONE, .status = STR("2.0.0"), .text = STR("250 taken"), .host = STR("mx [192.0.2.1]") };
		if (n->refuses)
			results[i].outcome = DELIVERY_REFUSED;
		else if (n->defers || n->is_unreachable)
			results[i].outcome = DELIVERY_DEFERRED;
	}
	send_answer_encode(&a, &b);
	channel_reply(n->ch, call, ERR_OK, buf_str(&b), NULL, 0);
}

static void net_on_send(void *context, UNUSED struct channel *ch, struct message *m)
{
	CLEANUP(send_release) struct send_in in;
	struct fake_net *n = context;
	struct fake_connection *c = net_find(n, 0);

	EXPECT_OK(send_take(m, &in));
	EXPECT(c != NULL);
	*c = (struct fake_connection){ .number = in.send.number, .message = net_text_number(&in.send), .call = m->call };
	snprintf(c->destination, sizeof c->destination, STR_FMT, STR_ARG(in.send.destination));
	memcpy(n->destination, c->destination, sizeof n->destination);
	snprintf(n->host, sizeof n->host, STR_FMT, STR_ARG(in.send.route.host));
	snprintf(n->sender, sizeof n->sender, STR_FMT, STR_ARG(in.send.sender));
	snprintf(n->prefix, sizeof n->prefix, STR_FMT, STR_ARG(in.send.prefix));
	n->sends++;
	size_t open = net_open_to(n, c->destination);
	n->most = open > n->most ? open : n->most;
	bool dies = (n->dies_after >= 0 && n->dies_after-- == 0) || (n->poison != 0 && c->message == n->poison), accepts = !n->refuses && !n->defers && !n->is_unreachable && !n->gives_back;
	if (accepts && !(dies && !n->dies_before_answer))
		net_accept(n, c, &in.send);
	if (dies)
		shutdown(channel_fd(n->ch), SHUT_RDWR);
	else if (!n->is_held)
		net_answer(n, m->call, &in.send);
}

static void net_on_sent(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct fake_net *n = context;
	struct scan s = scan_of(m->body);
	struct fake_connection *c;
	uint64_t number;

	EXPECT(m->body.n > 0);
	while (get_sent(&s, &number))
		if ((c = net_find(n, number)) != NULL)
			c->number = 0;
	EXPECT(!s.failed);
}

static void net_on_sends_end(void *context, struct channel *ch, UNUSED struct message *m)
{
	struct fake_net *n = context;

	n->is_told_of_end = true;
	for (size_t i = 0; n->gives_back && i < WORLD_CONNECTIONS; i++) {
		if (n->open[i].number != 0)
			channel_reply(ch, n->open[i].call, ERR_AGAIN, STR(""), NULL, 0);
		n->open[i].number = 0;
	}
}

static const struct channel_handler world_net_handlers[] = {
	{ REQUEST_SEND, net_on_send }, { NOTICE_SENT, net_on_sent }, { NOTICE_SENDS_END, net_on_sends_end }, { 0 },
};

/* Net, or the queue, dies: all connections break, and what was accepted over them may be sent once more. */
static void net_excuse(struct fake_net *n)
{
	for (size_t i = 0; i < WORLD_CONNECTIONS; i++) {
		struct fake_connection *c = &n->open[i];
		for (unsigned r = 0; c->number != 0 && r < WORLD_RECIPIENTS; r++)
			n->excused[c->message][r] += c->accepted >> r & 1;
		c->number = 0;
	}
}
#endif
