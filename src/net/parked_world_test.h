/* A table of parked sessions whose host writes down what it is told, and a scripted cell at the other end of each RENDER. Part of parked_test.c. */
#ifndef FACTEUR_NET_PARKED_WORLD_TEST_H
#define FACTEUR_NET_PARKED_WORLD_TEST_H
#include "base/clock.h"
#include "base/mem.h"
#include "base/test.h"
#include "net/parked.h"
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

struct world {
	struct loop   *loop;
	struct parked *parked;
	int            cell;          /* of the newest render; -1: none asked for */
	int            renders, revoked;
	uint64_t       asked[50][2];  /* MAY_WAIT: guest and owner, not answered yet */
	int            asks, asked_n;
	enum err       shares;        /* the answer */
	bool           takes_nothing; /* the cell of one that is attached */
	char           told[4000];    /* "1:KEEP:bytes;" by session number, "watch:7:1;" */
};

struct session { struct member m; int number; };

static void tell(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void tell(struct world *w, const char *fmt, ...)
{
	size_t n = strlen(w->told);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(w->told + n, sizeof(w->told) - n, fmt, ap);
	va_end(ap);
}

static int number_of(struct member *m) { return ((struct session *)(void *)m)->number; }

static void on_watch(void *context, uint64_t account, bool on, UNUSED bool tells) { tell(context, "watch:%d:%d;", (int)account, on); }

static void on_may_wait(void *context, uint64_t guest, uint64_t owner)
{
	struct world *w = context;

	w->asks++;
	w->asked[w->asked_n][0] = guest;
	w->asked[w->asked_n++][1] = owner;
}

static int on_attach(void *context, UNUSED uint64_t account)
{
	struct world *w = context;
	int pair[2];
	fd_close(&w->cell);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	w->cell = pair[1];
	w->renders++;
	return pair[0];
}

static void on_news(void *context, struct member *m, enum rendered how, struct str bytes)
{
	struct world *w = context;
	tell(w, "%d:%s:%.*s;", number_of(m), how == RENDERED_KEEP ? "KEEP" : how == RENDERED_ATTACH ? "ATTACH" : "BYE", STR_ARG(bytes));
	if (how == RENDERED_BYE)
		member_leave(w->parked, m);
	if (how == RENDERED_ATTACH)
		member_wake(w->parked, m);
}

static bool on_changed(void *context, struct member *m, struct str accounts)
{
	struct world *w = context;
	struct scan s = scan_of(accounts);

	if (w->takes_nothing)
		return false;
	tell(w, "%d:CHANGED:", number_of(m));
	while (!scan_done(&s))
		tell(w, "%d ", (int)get_u64(&s));
	tell(w, ";");
	return true;
}

static void on_revoked(void *context, struct member *m)
{
	((struct world *)context)->revoked++;
	member_leave(((struct world *)context)->parked, m);
}

static const struct parked_host host = { on_watch, on_may_wait, on_attach, on_news, on_changed, on_revoked };

static void begin(struct world *w)
{
	*w = (struct world){ .loop = loop_new(), .cell = -1 };
	w->parked = parked_new(w->loop, &host, w, 1);
}

static void end(struct world *w)
{
	EXPECT_INT(parked_accounts(w->parked), 0);
	parked_free(w->parked);
	fd_close(&w->cell);
	loop_free(w->loop);
}

static void enter(struct world *w, struct session *s, int number, uint64_t account)
{
	*s = (struct session){ .m = { .grant = { .account = account, .epoch = 3 }, .protocol = PROTOCOL_IMAP }, .number = number };
	member_enter(w->parked, &s->m);
}

static void park_waiting(struct world *w, struct session *s, uint64_t modseq, bool wants_news, struct str waits)
{
	CLEANUP(buf_free) struct buf b = BUF(200), record = BUF(100);
	buf_printf(&record, "r%d", s->number);
	put_u64(&b, 0);
	put_u64(&b, modseq);
	put_bool(&b, wants_news);
	put_str(&b, buf_str(&record));
	put_str(&b, waits);
	EXPECT(member_park(w->parked, &s->m, buf_str(&b)));
}

static void park(struct world *w, struct session *s, uint64_t modseq, bool wants_news) { park_waiting(w, s, modseq, wants_news, STR("")); }

static void add_wait(struct buf *b, uint64_t account, uint64_t modseq, enum wait how)
{
	put_u64(b, account);
	put_u64(b, modseq);
	put_u8(b, (uint8_t)how);
}

static void park_for(struct world *w, struct session *s, uint64_t modseq, bool wants_news, uint64_t account)
{
	CLEANUP(buf_free) struct buf b = BUF(100);

	put_bool(&b, false);
	add_wait(&b, account, modseq, WAIT_KNOWS);
	park_waiting(w, s, modseq, wants_news, buf_str(&b));
}

/* What the cell is asked for: "r1 r2 ". */
static const char *asked(struct world *w, uint32_t *first_index)
{
	static char out[4000], room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	uint32_t at = 0;

	out[0] = 0;
	while (frame_receive(w->cell, room, &type, &bytes) == ERR_OK) {
		struct scan s = scan_of(bytes);
		struct grant g;
		EXPECT_INT(type, FRAME_STATE);
		uint32_t index = get_u32(&s);
		if (at++ == 0)
			*first_index = index;
		get_grant(&s, &g);
		EXPECT_INT(get_u8(&s), PROTOCOL_IMAP);
		struct str record = get_str(&s, 100);
		EXPECT(get_end(&s));
		snprintf(out + strlen(out), sizeof(out) - strlen(out), "%.*s ", STR_ARG(record));
	}
	return out;
}

static void answer(struct world *w, uint32_t index, enum rendered how, uint64_t modseq, const char *record, const char *text)
{
	CLEANUP(buf_free) struct buf b = BUF(500);
	put_u32(&b, index);
	put_u8(&b, (uint8_t)how);
	put_u64(&b, modseq);
	put_str(&b, str_of(record));
	put_str(&b, str_of(text));
	EXPECT_OK(frame_send(w->cell, FRAME_RENDERED, buf_str(&b), 0));
}

static void turn(struct world *w)
{
	for (int i = 0; i < 10; i++) {
		loop_once(w->loop, 0);
		for (; w->asked_n > 0; w->asked_n--)
			parked_may_wait(w->parked, w->asked[w->asked_n - 1][0], w->asked[w->asked_n - 1][1], w->shares);
	}
}
#endif
