/* The client's cell of remote_test.c, and another account's cell that says what the test wants it to. */
#ifndef FACTEUR_IMAP_REMOTE_WORLD_TEST_H
#define FACTEUR_IMAP_REMOTE_WORLD_TEST_H
#include "base/test.h"
#include "imap/engine.h"
#include "imap/imap_private.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define HERS "\"Other Users/alice@x/"
#define MESSAGE "* 1 FETCH (UID 7 FLAGS (\\Seen \\Recent k) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" BODY[] {5}\r\nabcde)\r\n"
#define SELECTED "* 3 EXISTS\r\na OK [READ-WRITE] selected\r\n"

struct world {
	struct account  account;
	const char     *dir;
	struct others   others;
	struct session *s;
	void           *state;
	struct buf      out;
	const char     *answers;      /* of the other cell, to all that it is asked in one visit */
	const char     *names;        /* … and to every second one, if it is asked for names there */
	const char     *dave;         /* what a third one answers */
	int             dave_end;     /* its end, with what it was sent */
	int             end;          /* its end of the pair */
	int             visits;
	uint64_t        parks_after, modseq;   /* bytes of the command */
	bool            parks, stays_open;
	enum err        refuses;      /* no pair is to be had */
	int             ends;         /* so many visits come as the other cell ends */
	struct arena    arena;
};

static enum err find(UNUSED void *context, struct str address, UNUSED struct arena *a, struct share_owner *out)
{
	bool is_dave = str_eq(address, STR("dave@x"));

	*out = (struct share_owner){ is_dave ? 3 : 2, address };
	return is_dave || str_eq(address, STR("alice@x")) || str_eq(address, STR("o'b@x")) ? ERR_OK : ERR_NOTFOUND;
}

static enum err list(UNUSED void *context, struct arena *a, struct share_owner **out, size_t *n)
{
	*out = arena_array(a, 1, sizeof **out);
	**out = (struct share_owner){ 2, STR("alice@x") };
	*n = 1;
	return ERR_OK;
}

static void offer(struct world *w, int fd)
{
	CLEANUP(buf_free) struct buf b = BUF(100);

	put_u64(&b, w->parks_after);
	put_u64(&b, w->modseq);
	put_bool(&b, true);
	put_str(&b, STR("record"));
	put_str(&b, STR(""));
	EXPECT_OK(frame_send(fd, FRAME_PARK, buf_str(&b), 0));
}

static enum err visit(void *context, uint64_t owner, int *fd)
{
	struct world *w = context;
	int pair[2];

	EXPECT(owner == 2 || owner == 3);
	w->visits++;
	if (w->refuses != ERR_OK)
		return w->refuses;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	bool for_names = w->names != NULL && w->visits % 2 == 0;
	const char *answers = w->ends-- > 0 ? "" : owner == 3 ? w->dave : for_names ? w->names : w->answers;
	for (struct str rest = str_of(answers); rest.n > 0; rest = str_from(rest, FRAME_DATA_MAX))
		EXPECT_OK(frame_send(pair[1], FRAME_DATA, str_sub(rest, 0, FRAME_DATA_MAX), 0));
	if (!for_names && (w->parks || w->parks_after > 0))
		offer(w, pair[1]);
	if (!w->stays_open)
		shutdown(pair[1], SHUT_WR);
	fd_close(owner == 3 ? &w->dave_end : &w->end);
	*(owner == 3 ? &w->dave_end : &w->end) = pair[1];
	*fd = pair[0];
	return ERR_OK;
}

static void begin(struct world *w)
{
	static const struct session_open info = { .protocol = PROTOCOL_IMAP, .command = STR("a0 LOGIN") };

	*w = (struct world){ .out = BUF(1 << 20), .end = -1, .dave_end = -1, .dave = "", .dir = test_dir() };
	w->others = (struct others){ .find = find, .list = list, .visit = visit, .context = w };
	w->account = (struct account){ .account = 1, .others = &w->others };
	EXPECT_OK(view_open(w->dir, &(struct view_config){ .account = 1 }, &w->account.view));
	w->s = session_for_test(&info, STR(""), &w->out);
	w->state = imap_engine.open(w->s, &w->account);
	buf_reset(&w->out);
}

static void end(struct world *w)
{
	imap_engine.close(w->state);
	session_test_free(w->s);
	buf_free(&w->out);
	fd_close(&w->end);
	fd_close(&w->dave_end);
	arena_free(&w->arena);
	view_close(w->account.view);
	test_dir_remove(w->dir);
}

static enum session_next say(struct world *w, const char *commands)
{
	buf_reset(&w->out);
	session_test_input(w->s, str_of(commands));
	return imap_engine.input(w->state);
}

static bool heard(struct world *w, const char *words) { return str_find(buf_str(&w->out), str_of(words)) >= 0; }

/* Parks it and goes on; changed: the accounts, of those it waits for, that have. */
static void wake(struct world *w, uint64_t changed)
{
	CLEANUP(buf_free) struct buf record = BUF(PARK_RECORD_MAX), accounts = BUF(8);
	uint64_t modseq;

	EXPECT(imap_engine.park(w->state, &record, &modseq));
	imap_engine.close(w->state);
	session_test_free(w->s);
	if (changed != 0)
		put_u64(&accounts, changed);
	const struct session_open info = { .protocol = PROTOCOL_IMAP, .changed = str_copy(&w->arena, buf_str(&accounts)) };
	w->s = session_for_test(&info, STR(""), &w->out);
	buf_reset(&w->out);
	w->state = imap_engine.resume(w->s, &w->account, buf_str(&record));
	EXPECT(w->state != NULL);
	enum session_next next = imap_engine.input(w->state);
	EXPECT(next == SESSION_PARK || next == SESSION_WAIT_NEWS || next == SESSION_WAIT);
}

/* How it waits for the one other account, when it parks. */
static enum wait waits_how(struct world *w)
{
	CLEANUP(buf_free) struct buf record = BUF(PARK_RECORD_MAX);
	uint64_t modseq;

	EXPECT(imap_engine.park(w->state, &record, &modseq));
	struct str waits = session_test_waits(w->s);
	return waits.n > 0 ? (enum wait)waits.p[waits.n - 1] : WAIT_KNOWS;
}
#endif
