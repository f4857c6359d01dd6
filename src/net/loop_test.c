/* The loop: order of timers, handlers that free each other, channels that die and come back. */
#include "base/test.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/loop.h"
#include <sys/socket.h>
#include <unistd.h>

struct seen { int order[16]; int n; struct loop *l; struct loop_task task; };
struct numbered { struct loop_timer t; struct seen *seen; int number; };

static void note(void *context)
{
	struct numbered *x = context;
	x->seen->order[x->seen->n++] = x->number;
}

TEST(timers_run_in_order)
{
	static const int delays[] = { 5, 1, 4, 2, 3, 0 };
	struct loop *l = loop_new();
	struct seen seen = { .l = l };
	struct numbered x[COUNT_OF(delays)] = { 0 };

	for (size_t i = 0; i < COUNT_OF(delays); i++) {
		x[i] = (struct numbered){ { .due = note, .context = &x[i] }, &seen, delays[i] };
		loop_timer_at(l, &x[i].t, clock_mono_ms() - 100 + delays[i]);
	}
	loop_timer_stop(l, &x[2].t);                            /* 4 never comes */
	loop_timer_at(l, &x[1].t, clock_mono_ms() - 10);        /* 1 comes last */
	loop_once(l, 0);
	EXPECT_INT(seen.n, 5);
	static const int want[] = { 0, 2, 3, 5, 1 };
	for (int i = 0; i < 5; i++)
		EXPECT_INT(seen.order[i], want[i]);
	loop_free(l);
}

TEST(many_timers_moved_and_stopped)
{
	enum { N = 5000 };
	struct loop *l = loop_new();
	struct seen seen = { .l = l };
	struct numbered *x = mem_array(N, sizeof(*x));
	int64_t now = clock_mono_ms();

	for (int i = 0; i < N; i++) {
		x[i] = (struct numbered){ { .due = note, .context = &x[i] }, &seen, i };
		loop_timer_at(l, &x[i].t, now + 1000000 + (i * 7919) % N);
	}
	for (int i = 0; i < N; i++)
		loop_timer_at(l, &x[i].t, now + 1000000 + (i * 104729) % N);
	for (int i = 0; i < N; i++)
		if (i != 17 && i != 4242)
			loop_timer_stop(l, &x[i].t);
	loop_timer_at(l, &x[17].t, now - 1);
	loop_once(l, 0);
	EXPECT_INT(seen.n, 1);
	EXPECT_INT(seen.order[0], 17);
	loop_free(l);
	mem_free(x);
}

static void again(void *context)
{
	struct seen *s = context;
	s->n++;
	loop_defer(s->l, &s->task);
}

TEST(a_task_that_defers_itself_runs_once_a_round)
{
	struct loop *l = loop_new();
	struct seen s = { .l = l };
	struct loop_task *t = &s.task;

	*t = (struct loop_task){ .run = again, .context = &s };
	loop_defer(l, t);
	loop_defer(l, t);  /* already waits */
	loop_once(l, 0);
	EXPECT_INT(s.n, 1);
	loop_once(l, 0);
	EXPECT_INT(s.n, 2);
	loop_defer_cancel(l, t);
	loop_once(l, 0);
	EXPECT_INT(s.n, 2);
	loop_free(l);
}

struct pair { struct loop *l; struct loop_fd w[2]; int ran; };

static void close_both(void *context, UNUSED unsigned events)
{
	struct pair *p = context;

	p->ran++;
	for (int i = 0; i < 2; i++) {
		loop_unwatch(p->l, &p->w[i]);
		fd_close(&p->w[i].fd);
	}
}

TEST(a_handler_may_end_another_of_the_same_round)
{
	struct pair p = { .l = loop_new() };
	int a[2], b[2];

	EXPECT_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, a) | socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
	p.w[0] = (struct loop_fd){ close_both, &p, a[0], 0, false };
	p.w[1] = (struct loop_fd){ close_both, &p, b[0], 0, false };
	loop_watch(p.l, &p.w[0], LOOP_READ);
	loop_watch(p.l, &p.w[1], LOOP_READ);
	EXPECT_INT(write(a[1], "x", 1) + write(b[1], "x", 1), 2);
	loop_once(p.l, 100);
	EXPECT_INT(p.ran, 1);
	loop_free(p.l);
	close(a[1]);
	close(b[1]);
}

struct answers { int ok, lost, closed, stopped; };
static void on_stop(void *context, UNUSED struct channel *ch, UNUSED struct message *m) { ((struct answers *)context)->stopped++; }
static void on_closed(void *context, UNUSED struct channel *ch) { ((struct answers *)context)->closed++; }
static void on_answer(void *context, struct message *m)
{
	struct answers *a = context;
	*(m->status == ERR_OK ? &a->ok : &a->lost) += 1;
}
static void serve_verify(UNUSED void *context, struct channel *ch, struct message *m) { channel_reply(ch, m->call, ERR_OK, STR(""), NULL, 0); }

TEST(channels)
{
	static const struct channel_handler gate_side[] = { { NOTICE_STOP, on_stop }, { 0 } };
	static const struct channel_handler keys_side[] = { { REQUEST_VERIFY, serve_verify }, { 0 } };
	struct loop *l = loop_new();
	struct answers a = { 0 };
	int pair[2];

	EXPECT_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	struct channel *gate = channel_new(pair[0], ROLE_GATE, ROLE_KEYS, gate_side, &a, on_closed);
	struct channel *keys = channel_new(pair[1], ROLE_KEYS, ROLE_GATE, keys_side, &a, NULL);
	loop_channel(l, gate);
	loop_channel(l, keys);
	EXPECT_OK(channel_ask(gate, REQUEST_VERIFY, STR("x"), NULL, 0, 1000, on_answer, &a));
	for (int i = 0; i < 5; i++)
		loop_once(l, 10);
	EXPECT_INT(a.ok, 1);
	/* lost: the ask ends, on_closed is told, a new descriptor (most likely the same number) works again */
	loop_forget_channel(l, keys);
	channel_free(keys);
	EXPECT_OK(channel_ask(gate, REQUEST_VERIFY, STR("x"), NULL, 0, 1000, on_answer, &a));
	for (int i = 0; i < 5; i++)
		loop_once(l, 10);
	EXPECT_INT(a.lost, 1);
	EXPECT_INT(a.closed, 1);
	EXPECT_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	channel_replace(gate, pair[0]);
	loop_channel(l, gate);
	keys = channel_new(pair[1], ROLE_KEYS, ROLE_GATE, keys_side, &a, NULL);
	loop_channel(l, keys);
	EXPECT_OK(channel_ask(gate, REQUEST_VERIFY, STR("x"), NULL, 0, 1000, on_answer, &a));
	for (int i = 0; i < 5; i++)
		loop_once(l, 10);
	EXPECT_INT(a.ok, 2);
	loop_free(l);
	channel_free(keys);
	channel_free(gate);
}
