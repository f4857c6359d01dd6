/* Channels that stand apart: heard at once, or, held, with what comes from others. */
#include "base/test.h"
#include "base/clock.h"
#include "role/watch.h"
#include <sys/socket.h>

struct peer {
	struct channel *ours, *theirs;
	int             heard;
};

static void on_changed(void *context, UNUSED struct channel *ch, UNUSED struct message *m) { ((struct peer *)context)->heard++; }

static const struct channel_handler handlers[] = { { NOTICE_CHANGED, on_changed }, { 0 } };

static void peer_open(struct peer *p)
{
	int fd[2];

	EXPECT_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
	*p = (struct peer){ 0 };
	p->ours = channel_new(fd[0], ROLE_MASTER, ROLE_CELL, handlers, p, NULL);
	p->theirs = channel_new(fd[1], ROLE_CELL, ROLE_MASTER, NULL, p, NULL);
}

static void say(struct peer *p) { EXPECT_OK(channel_notify(p->theirs, NOTICE_CHANGED, STR("0123456789abcdef"), NULL, 0)); }

static void peer_close(struct watch *w, struct peer *p)
{
	watch_forget(w, p->ours);
	channel_free(p->ours);
	channel_free(p->theirs);
}

TEST(who_stands_apart_wakes_nobody_while_held)
{
	struct watch *w = watch_new();
	struct peer near, apart, late;

	peer_open(&near);
	peer_open(&apart);
	watch_hold_apart(w, true);   /* before there is anybody */
	watch_channel(w, near.ours);
	watch_channel_apart(w, apart.ours);
	watch_run(w, 0);

	say(&near);
	say(&apart);
	watch_run(w, 0);             /* a look that finds something is all of a round */
	EXPECT(near.heard == 0 && apart.heard == 1);
	say(&apart);
	watch_run(w, 10000);         /* near is there */
	EXPECT(near.heard == 1 && apart.heard == 1);
	watch_run(w, 10000);
	EXPECT_INT(apart.heard, 2);

	int64_t began_ms = clock_mono_ms();
	watch_run(w, 20);
	EXPECT(clock_mono_ms() - began_ms >= 19);
	say(&apart);
	watch_hold_apart(w, false);
	watch_run(w, 10000);
	EXPECT_INT(apart.heard, 3);

	peer_open(&late);
	watch_channel_apart(w, late.ours);
	say(&late);
	watch_run(w, 10000);
	EXPECT_INT(late.heard, 1);
	say(&late);
	watch_forget(w, late.ours);
	watch_run(w, 0);
	EXPECT_INT(late.heard, 1);
	peer_close(w, &near);
	peer_close(w, &apart);
	channel_free(late.ours);
	channel_free(late.theirs);
	watch_free(w);
}
