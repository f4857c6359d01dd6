/* Parked sessions and their news, with a scripted cell at the other end of each RENDER. */
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

TEST(one_render_for_all_that_want)
{
	struct world w;
	struct session s[4];
	uint32_t first = 99;

	begin(&w);
	for (int i = 0; i < 4; i++)
		enter(&w, &s[i], i, i < 3 ? 7 : 8);
	park(&w, &s[0], 10, true);
	park(&w, &s[1], 10, false);
	park(&w, &s[2], 10, true);
	park(&w, &s[3], 10, true);
	assert_string_equal(w.told, "watch:7:1;watch:8:1;");
	parked_changed(w.parked, 7, 11);
	parked_changed(w.parked, 9, 11);   /* nobody of it is here */
	turn(&w);
	EXPECT_INT(w.renders, 1);
	EXPECT_STR(str_of(asked(&w, &first)), "r2 r0 ");
	parked_changed(w.parked, 7, 12);   /* one render at a time */
	answer(&w, first, RENDERED_KEEP, 11, "r2'", "* 2 EXISTS\r\n");
	answer(&w, first + 1, RENDERED_KEEP, 12, "r0'", "");
	turn(&w);
	EXPECT(strstr(w.told, "2:KEEP:* 2 EXISTS\r\n;"));
	EXPECT(strstr(w.told, "0:KEEP") == NULL);   /* nothing to say */
	EXPECT_INT(w.renders, 1);                       /* by the same pair */
	EXPECT_STR(str_of(asked(&w, &first)), "r2' ");  /* the other one knows 12 already */
	answer(&w, first, RENDERED_KEEP, 12, "r2''", "");
	turn(&w);
	EXPECT_INT(w.renders, 1);
	for (int i = 0; i < 4; i++)
		member_leave(w.parked, &s[i].m);
	EXPECT(strstr(w.told, "watch:7:0;") && strstr(w.told, "watch:8:0;"));
	w.told[0] = 0;
	enter(&w, &s[0], 0, 7);
	park(&w, &s[0], 12, true);
	member_wake(w.parked, &s[0].m);      /* renews IDLE: nobody need know */
	park(&w, &s[0], 12, true);
	assert_string_equal(w.told, "watch:7:1;");
	member_leave(w.parked, &s[0].m);
	end(&w);
}

/* Two of account 7 look into mailboxes of account 8: its changes wake them, their own do not. */
TEST(visits)
{
	struct world w;
	struct session s[3];

	begin(&w);
	for (int i = 0; i < 3; i++)
		enter(&w, &s[i], i, 7);
	park_for(&w, &s[0], 10, true, 8);
	park_for(&w, &s[1], 30, true, 8);
	park_for(&w, &s[2], 10, true, 7);  /* his own account after all */
	turn(&w);
	assert_string_equal(w.told, "watch:7:1;watch:8:1;");
	EXPECT_INT(w.asks, 1);             /* for both of them */
	parked_changed(w.parked, 8, 20);
	turn(&w);
	EXPECT(strstr(w.told, "0:ATTACH:;") != NULL);
	EXPECT(strstr(w.told, "1:ATTACH:;") == NULL);  /* he knows that */
	EXPECT_INT(w.renders, 0);
	member_wake(w.parked, &s[0].m);
	w.told[0] = 0;
	park_for(&w, &s[0], 15, true, 8);  /* it has changed since: no watch tells that again */
	turn(&w);
	assert_string_equal(w.told, "0:ATTACH:;");
	for (int i = 0; i < 3; i++)
		member_leave(w.parked, &s[i].m);
	assert_string_equal(w.told, "0:ATTACH:;watch:8:0;watch:7:0;");
	end(&w);
}

static const char *changed(struct session *s)
{
	static char text[100];
	CLEANUP(buf_free) struct buf b = BUF(100);

	text[0] = 0;
	member_changed(&s->m, &b);
	struct scan scan = scan_of(buf_str(&b));
	while (!scan_done(&scan))
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%d ", (int)get_u64(&scan));
	return text;
}

static void park_with_both(struct world *w, struct session *s, uint64_t own, uint64_t eight, uint64_t nine)
{
	CLEANUP(buf_free) struct buf b = BUF(100);

	put_bool(&b, true);
	add_wait(&b, 8, eight, WAIT_ASKS_ONCE);
	if (nine > 0)
		add_wait(&b, 9, nine, WAIT_ASKS_ONCE);
	park_waiting(w, s, own, true, buf_str(&b));
}

/* NOTIFY: its own account and two others. Each of those is asked once when it begins to be waited for, then once for each change, and what
 * changes between two parkings is not missed. */
TEST(waits_for_several)
{
	struct world w;
	struct session s;
	uint32_t first = 0;

	begin(&w);
	enter(&w, &s, 1, 7);
	park_with_both(&w, &s, 10, 20, 30);
	turn(&w);
	assert_string_equal(w.told, "watch:7:1;1:ATTACH:;watch:9:1;watch:8:1;");
	EXPECT_STR(str_of(changed(&s)), "9 8 ");
	park_with_both(&w, &s, 10, 20, 30);
	turn(&w);
	EXPECT_STR(str_of(changed(&s)), "");
	parked_changed(w.parked, 7, 11);       /* its own: told as ever */
	turn(&w);
	EXPECT_STR(str_of(asked(&w, &first)), "r1 ");
	answer(&w, first, RENDERED_KEEP, 11, "r1", "");
	turn(&w);
	w.told[0] = 0;
	parked_changed(w.parked, 9, 31);
	turn(&w);
	assert_string_equal(w.told, "1:ATTACH:;");
	EXPECT_STR(str_of(changed(&s)), "9 ");
	parked_changed(w.parked, 8, 21);       /* while it is attached */
	turn(&w);
	park_with_both(&w, &s, 11, 20, 30);    /* 9 was asked, whatever it said: not again before it changes again */
	turn(&w);
	assert_string_equal(w.told, "1:ATTACH:;1:ATTACH:;");
	EXPECT_STR(str_of(changed(&s)), "8 ");
	park_with_both(&w, &s, 11, 21, 0);     /* waits for one only */
	turn(&w);
	parked_changed(w.parked, 9, 40);
	turn(&w);
	assert_string_equal(w.told, "1:ATTACH:;1:ATTACH:;watch:9:0;");
	member_wake(w.parked, &s.m);
	park(&w, &s, 11, false);
	member_leave(w.parked, &s.m);
	EXPECT(strstr(w.told, "watch:8:0;") != NULL);
	end(&w);
}

static void listen_to_both(struct session *s, uint64_t eight, uint64_t nine)
{
	CLEANUP(buf_free) struct buf b = BUF(100);

	put_bool(&b, true);
	add_wait(&b, 8, eight, WAIT_ASKS_ONCE);
	add_wait(&b, 9, nine, WAIT_ASKS_ONCE);
	EXPECT(member_waits(&s->m, buf_str(&b)));
}

/* One that cannot be parked: its cell is told, once each time that it has said what it waits for, and of its own account nothing. */
TEST(who_stays_attached_listens)
{
	struct world w;
	struct session s;

	begin(&w);
	enter(&w, &s, 1, 7);
	EXPECT(!member_waits(&s.m, STR("")) && !member_waits(&s.m, STR("\1abc")));
	listen_to_both(&s, 20, 30);
	turn(&w);
	assert_string_equal(w.told, "1:CHANGED:9 8 ;watch:9:1;watch:8:1;");
	w.told[0] = 0;
	parked_changed(w.parked, 7, 11);
	listen_to_both(&s, 20, 30);
	turn(&w);
	assert_string_equal(w.told, "");
	parked_changed(w.parked, 8, 21);
	turn(&w);
	assert_string_equal(w.told, "1:CHANGED:8 ;");
	w.told[0] = 0;
	parked_changed(w.parked, 9, 31);      /* while it looks */
	turn(&w);
	assert_string_equal(w.told, "");
	listen_to_both(&s, 21, 30);
	turn(&w);
	assert_string_equal(w.told, "1:CHANGED:9 ;");
	w.told[0] = 0;
	listen_to_both(&s, 21, 31);
	w.takes_nothing = true;
	parked_changed(w.parked, 8, 22);
	turn(&w);
	assert_string_equal(w.told, "");
	w.takes_nothing = false;
	parked_changed(w.parked, 9, 32);      /* or a second later */
	turn(&w);
	assert_string_equal(w.told, "1:CHANGED:9 8 ;");
	w.told[0] = 0;
	w.shares = ERR_NOTFOUND;              /* and nothing is shared with it any more: it hears of that, and then no more */
	listen_to_both(&s, 22, 32);
	parked_changed(w.parked, 8, 23);
	turn(&w);
	assert_string_equal(w.told, "1:CHANGED:8 ;");
	w.told[0] = 0;
	parked_changed(w.parked, 8, 24);
	listen_to_both(&s, 23, 32);
	turn(&w);
	assert_string_equal(w.told, "");
	w.shares = ERR_OK;
	park_with_both(&w, &s, 11, 23, 32);
	parked_changed(w.parked, 9, 33);
	turn(&w);
	EXPECT(strstr(w.told, "1:ATTACH:;") != NULL && strstr(w.told, "CHANGED") == NULL);
	member_leave(w.parked, &s.m);
	end(&w);
}

static void park_unasked(struct world *w, struct session *s, uint64_t eight, enum wait how)
{
	CLEANUP(buf_free) struct buf b = BUF(100);

	put_bool(&b, true);
	add_wait(&b, 8, eight, how);
	park_waiting(w, s, 10, true, buf_str(&b));
}

/* When a group's mailbox changes all its members ask at once, and not all are let in: nobody's news are lost by that. */
TEST(who_could_not_ask_tries_again)
{
	struct world w;
	struct session s;

	begin(&w);
	enter(&w, &s, 1, 7);
	park_unasked(&w, &s, 20, WAIT_ASKS_ONCE);
	turn(&w);
	EXPECT_STR(str_of(changed(&s)), "8 ");
	w.told[0] = 0;
	for (int64_t pause_ms = 1000; pause_ms < 1000000; pause_ms *= 2) {
		int64_t waits_ms = pause_ms < 300000 ? pause_ms : 300000;
		park_unasked(&w, &s, 20, WAIT_COULD_NOT_ASK);
		if (pause_ms >= 64000) {   /* a machine may stand still for the shorter ones */
			clock_mono_advance(waits_ms / 2);
			turn(&w);
			EXPECT_STR(str_of(w.told), "");
			member_wake(w.parked, &s.m);       /* for a command of the client's: not for this */
			EXPECT_STR(str_of(changed(&s)), "");
			park_unasked(&w, &s, 20, WAIT_ASKS_ONCE);
		}
		clock_mono_advance(waits_ms);
		turn(&w);
		EXPECT_STR(str_of(w.told), "1:ATTACH:;");
		EXPECT_STR(str_of(changed(&s)), "8 ");
		w.told[0] = 0;
	}
	park_unasked(&w, &s, 21, WAIT_ASKS_ONCE);  /* it could: over */
	clock_mono_advance(1000000);
	turn(&w);
	EXPECT_STR(str_of(w.told), "");
	member_leave(w.parked, &s.m);
	w.told[0] = 0;
	end(&w);
}

/* Account 7 waits for account 8, which changes: it is attached. */
static void wait_and_be_told(struct world *w, struct session *s)
{
	enter(w, s, 1, 7);
	park_for(w, s, 10, true, 8);
	turn(w);
	parked_changed(w->parked, 8, 20);
	turn(w);
	assert_string_equal(w->told, "watch:8:1;1:ATTACH:;");
}

/* In IDLE: it knows what it is told there, and could not be told. It is not attached again and again for that, and hears of the next change at once. */
TEST(who_is_not_let_in_waits_on)
{
	struct world w;
	struct session s;

	begin(&w);
	wait_and_be_told(&w, &s);
	changed(&s);
	park_unasked(&w, &s, 0, WAIT_COULD_NOT_ASK);
	turn(&w);
	assert_string_equal(w.told, "watch:8:1;1:ATTACH:;watch:7:1;");
	clock_mono_advance(1500);
	turn(&w);
	assert_string_equal(w.told, "watch:8:1;1:ATTACH:;watch:7:1;1:ATTACH:;");
	changed(&s);
	park_unasked(&w, &s, 0, WAIT_COULD_NOT_ASK);
	parked_changed(w.parked, 8, 30);
	turn(&w);
	assert_string_equal(w.told, "watch:8:1;1:ATTACH:;watch:7:1;1:ATTACH:;1:ATTACH:;");
	changed(&s);
	park_for(&w, &s, 30, true, 8);   /* now it was told */
	clock_mono_advance(1000000);
	turn(&w);
	EXPECT(s.m.is_parked);
	member_leave(w.parked, &s.m);
	end(&w);
}

/* A cell that was broken into can have its sessions wait for anybody. It learns nothing of who shares nothing with it, whoever else waits there. */
TEST(who_may_not_wait_hears_nothing)
{
	struct world w;
	struct session s, owners;

	begin(&w);
	enter(&w, &s, 1, 7);
	enter(&w, &owners, 2, 8);
	park(&w, &owners, 10, true);
	w.shares = ERR_NOTFOUND;
	park_for(&w, &s, 0, true, 8);
	turn(&w);
	parked_changed(w.parked, 8, 20);
	turn(&w);
	assert_string_equal(w.told, "watch:8:1;");   /* the owner's own */
	EXPECT_INT(w.asks, 2);
	member_wake(w.parked, &s.m);
	park_unasked(&w, &s, 0, WAIT_ASKS_ONCE);
	turn(&w);
	EXPECT_STR(str_of(changed(&s)), "");         /* nor by what a session is told when it is attached */
	w.shares = ERR_UNAVAILABLE;                  /* nobody knows: asked again in a second */
	member_wake(w.parked, &s.m);
	park_for(&w, &s, 0, true, 8);
	turn(&w);
	EXPECT_INT(w.asks, 4);
	w.shares = ERR_OK;
	clock_mono_advance(2000);
	turn(&w);
	EXPECT_INT(w.asks, 5);
	EXPECT(strstr(w.told, "1:ATTACH:;") != NULL);
	member_leave(w.parked, &s.m);
	member_leave(w.parked, &owners.m);
	end(&w);
}

/* What was shared is not any more: he is attached once, so that his cell says so, and then hears nothing. */
TEST(who_has_lost_all_is_told_once)
{
	struct world w;
	struct session s;

	begin(&w);
	wait_and_be_told(&w, &s);
	park_for(&w, &s, 20, true, 8);
	w.shares = ERR_NOTFOUND;
	for (uint64_t modseq = 30; modseq < 60; modseq += 10) {
		parked_changed(w.parked, 8, modseq);
		turn(&w);
		changed(&s);
		if (!s.m.is_parked)
			park_for(&w, &s, 20, true, 8);
	}
	assert_string_equal(w.told, "watch:8:1;1:ATTACH:;1:ATTACH:;");
	member_leave(w.parked, &s.m);
	end(&w);
}

/* The cell wrote the record, then it changed, then the gate heard of the change, then of the record. */
TEST(no_news_falls_between)
{
	struct world w;
	struct session s;
	uint32_t first = 0;

	begin(&w);
	enter(&w, &s, 1, 7);
	parked_changed(w.parked, 7, 21);
	park(&w, &s, 20, true);
	EXPECT_INT(w.renders, 1);
	EXPECT_STR(str_of(asked(&w, &first)), "r1 ");
	answer(&w, first, RENDERED_KEEP, 5, "r1'", "news");   /* an odd number of the cell does not make us ask for ever */
	turn(&w);
	EXPECT_INT(w.renders, 1);
	member_wake(w.parked, &s.m);
	park(&w, &s, 21, true);
	EXPECT_INT(w.renders, 1);
	member_leave(w.parked, &s.m);
	end(&w);
}

TEST(who_wakes_up_is_not_told)
{
	struct world w;
	struct session a, b;
	uint32_t first = 0;

	begin(&w);
	enter(&w, &a, 1, 7);
	enter(&w, &b, 2, 7);
	park(&w, &a, 1, true);
	park(&w, &b, 1, true);
	parked_changed(w.parked, 7, 2);
	EXPECT_STR(str_of(asked(&w, &first)), "r2 r1 ");
	member_wake(w.parked, &b.m);
	EXPECT_STR(b.m.record, "r2");       /* what it resumes from */
	answer(&w, first, RENDERED_KEEP, 2, "x", "too late");
	answer(&w, first + 1, RENDERED_ATTACH, 0, "", "");
	turn(&w);
	EXPECT(strstr(w.told, "too late") == NULL);
	EXPECT(strstr(w.told, "1:ATTACH:;"));
	EXPECT(!a.m.is_parked);
	member_leave(w.parked, &a.m);
	member_leave(w.parked, &b.m);
	end(&w);
}

TEST(busy_ones_wait)
{
	struct world w;
	struct session s;
	uint32_t first = 0;

	begin(&w);
	enter(&w, &s, 1, 7);
	park(&w, &s, 1, true);
	s.m.is_busy = true;
	parked_changed(w.parked, 7, 2);
	EXPECT_INT(w.renders, 0);
	parked_again(w.parked, &s.m);
	EXPECT_STR(str_of(asked(&w, &first)), "r1 ");
	answer(&w, first, RENDERED_BYE, 0, "", "* BYE\r\n");
	turn(&w);
	EXPECT(strstr(w.told, "1:BYE:* BYE\r\n;"));
	end(&w);
}

/* Cells die; the news come with the next one. */
TEST(a_cell_that_dies_is_asked_again)
{
	struct world w;
	struct session s;
	uint32_t first = 0;

	begin(&w);
	enter(&w, &s, 1, 7);
	park(&w, &s, 1, true);
	parked_changed(w.parked, 7, 2);
	fd_close(&w.cell);
	turn(&w);
	EXPECT_INT(w.renders, 1);
	int64_t until = clock_mono_ms() + 3000;
	while (w.renders < 2 && clock_mono_ms() < until)
		loop_once(w.loop, 100);
	EXPECT_INT(w.renders, 2);
	EXPECT_STR(str_of(asked(&w, &first)), "r1 ");
	EXPECT_OK(frame_send(w.cell, FRAME_RENDERED, STR("nonsense"), 0));
	turn(&w);
	member_leave(w.parked, &s.m);   /* while a retry is set */
	end(&w);
}

/* The pair of a render is kept for the next one. Its cell may leave whenever it likes: who waits is told by the next one, at once. */
TEST(a_pair_is_kept)
{
	struct world w;
	struct session s;
	uint32_t first = 0;

	begin(&w);
	enter(&w, &s, 1, 7);
	park(&w, &s, 1, true);
	for (int i = 2; i < 5; i++) {
		parked_changed(w.parked, 7, (uint64_t)i);
		EXPECT_STR(str_of(asked(&w, &first)), "r1 ");
		answer(&w, first, RENDERED_KEEP, (uint64_t)i, "r1", "");
		turn(&w);
		EXPECT_INT(w.renders, 1);
	}
	fd_close(&w.cell);                   /* it leaves, and that is seen */
	turn(&w);
	parked_changed(w.parked, 7, 5);
	EXPECT_INT(w.renders, 2);
	EXPECT_STR(str_of(asked(&w, &first)), "r1 ");
	answer(&w, first, RENDERED_KEEP, 5, "r1", "");
	turn(&w);
	fd_close(&w.cell);                   /* not seen before it is asked */
	parked_changed(w.parked, 7, 6);
	EXPECT_INT(w.renders, 3);
	EXPECT_STR(str_of(asked(&w, &first)), "r1 ");
	answer(&w, first, RENDERED_KEEP, 6, "r1", "");
	turn(&w);
	parked_changed(w.parked, 7, 7);      /* asked, and it leaves without having looked */
	fd_close(&w.cell);
	turn(&w);
	EXPECT_INT(w.renders, 4);
	EXPECT_STR(str_of(asked(&w, &first)), "r1 ");
	answer(&w, first, RENDERED_KEEP, 7, "r1", "");
	turn(&w);
	EXPECT_OK(frame_send(w.cell, FRAME_RENDERED, STR("nobody asked"), 0));
	turn(&w);
	parked_changed(w.parked, 7, 8);
	EXPECT_INT(w.renders, 5);
	member_leave(w.parked, &s.m);
	end(&w);
}

/* News of that account, told. Whether the pair is kept for the next ones. */
static bool news_and_kept(struct world *w, uint64_t account, uint64_t modseq)
{
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	uint32_t index = 0;

	parked_changed(w->parked, account, modseq);
	asked(w, &index);
	answer(w, index, RENDERED_KEEP, modseq, "r", "");
	turn(w);
	return frame_receive(w->cell, room, &type, &bytes) == ERR_AGAIN;
}

/* Each is a descriptor: one of all accounts here. */
TEST(few_pairs_are_kept)
{
	struct world w;
	struct session s[2];

	begin(&w);
	for (int i = 0; i < 2; i++) {
		enter(&w, &s[i], i, 7 + (uint64_t)i);
		park(&w, &s[i], 1, true);
	}
	EXPECT(news_and_kept(&w, 7, 2));
	int cell_of_7 = w.cell;
	w.cell = -1;
	EXPECT(!news_and_kept(&w, 8, 2));
	close(cell_of_7);
	turn(&w);
	EXPECT(news_and_kept(&w, 8, 3));
	EXPECT(news_and_kept(&w, 8, 4));
	EXPECT_INT(w.renders, 3);
	for (int i = 0; i < 2; i++)
		member_leave(w.parked, &s[i].m);
	end(&w);
}

TEST(many_states_and_an_epoch)
{
	enum { MANY = 2000 };
	struct world w;
	uint32_t first = 0;
	int states = 0, told = 0;
	struct session *s = mem_array(MANY, sizeof(*s));

	begin(&w);
	for (int i = 0; i < MANY; i++) {
		enter(&w, &s[i], i, 7);
		park(&w, &s[i], 1, true);
	}
	parked_changed(w.parked, 7, 2);
	for (int round = 0; round < 1000 && states < MANY; round++) {  /* more than the pair holds: they go as it has room */
		const char *list = asked(&w, &first);
		uint32_t index = first;
		for (; *list; list++)
			if (*list == ' ') {
				answer(&w, index++, RENDERED_KEEP, 2, "n", "");
				states++;
			}
		turn(&w);
	}
	EXPECT_INT(states, MANY);
	for (int i = 0; i < MANY; i++)
		told += str_eq(s[i].m.record, STR("n"));
	EXPECT_INT(told, MANY);
	s[5].m.grant.epoch = 4;
	parked_epoch(w.parked, 7, 4);
	EXPECT_INT(w.revoked, MANY - 1);
	member_leave(w.parked, &s[5].m);
	mem_free(s);
	end(&w);
}
