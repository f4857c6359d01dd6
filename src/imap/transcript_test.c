/* Runs tests/imap/NAME.txt against the engine, each on an account of its own, in this process. The format (tests/imap/README.md) has
 * nothing of that in it but the lines with "@", so the same files can be spoken to a server. */
#include "base/mem.h"
#include "base/test.h"
#include "directory/people_test.h"
#include "imap/engine.h"
#include "store/view.h"
#include "submit/account.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { SESSIONS = 4 };

struct client {
	struct session *s;
	void           *state;
	struct buf      out;          /* what the server said and nobody has looked at yet */
	struct buf      send;         /* C: lines that belong together */
	struct buf      record;       /* n > 0: parked */
	bool            is_closed, wants_news, is_guest;
};

struct play {
	const char    *file, *dir;
	int            line;
	struct account account;
	struct people  people;        /* once there is a line "@people" */
	struct others  others;
	struct client  clients[SESSIONS];
};

static void fail_here(struct play *p, const char *what, struct str detail)
{
	print_error("%s:%d: %s: " STR_FMT "\n", p->file, p->line, what, STR_ARG(detail));
	fail();
}

static void start(struct play *p, struct client *c)
{
	const struct session_open info = { .protocol = PROTOCOL_IMAP, .command = STR("a0 LOGIN") };

	c->out = BUF(256 << 20);
	c->send = BUF(64 << 20);
	c->record = BUF(PARK_RECORD_MAX);
	c->s = session_for_test(&info, STR(""), &c->out);
	c->state = imap_engine.open(c->s, &p->account);
	EXPECT(c->state != NULL);
	EXPECT(str_starts(buf_str(&c->out), STR("a0 OK [CAPABILITY ")));
	buf_reset(&c->out);
}

static void stop(struct client *c)
{
	if (c->state)
		imap_engine.close(c->state);
	c->state = NULL;
	if (c->s)
		session_test_free(c->s);
	c->s = NULL;
}

static void look(struct client *c)
{
	enum session_next next = imap_engine.input(c->state);

	c->is_closed = next == SESSION_CLOSE;
	c->wants_news = next == SESSION_WAIT_NEWS || next == SESSION_PARK;
}

static void run(struct client *c)
{
	if (c->send.n == 0 || c->state == NULL)
		return;
	session_test_input(c->s, buf_str(&c->send));
	buf_reset(&c->send);
	look(c);
}

static void nothing_left(struct play *p)
{
	for (int i = 0; i < SESSIONS; i++)
		if (p->clients[i].s || p->clients[i].record.n)
			run(&p->clients[i]);
	for (int i = 0; i < SESSIONS; i++)
		if (p->clients[i].out.n > 0)
			fail_here(p, "the server also said", buf_str(&p->clients[i].out));
}

static void open_account(struct play *p)
{
	EXPECT_OK(view_open(p->dir, &(struct view_config){ .account = 1, .limits = { .quota_bytes = 100000, .messages_max = 1000 } }, &p->account.view));
}

static void park(struct play *p, struct client *c)
{
	uint64_t modseq;

	buf_reset(&c->record);
	if (!imap_engine.park(c->state, &c->record, &modseq))
		fail_here(p, "cannot be parked", STR(""));
	stop(c);
}

/* The account has changed: a session that wants to hear of it looks (SESSION_WAIT_NEWS). */
static void wake(struct play *p, struct client *c)
{
	if (!c->wants_news)
		fail_here(p, "does not want to hear of changes", STR(""));
	look(c);
}

static void attach(struct play *p, struct client *c)
{
	const struct session_open info = { .protocol = PROTOCOL_IMAP, .login_name = c->is_guest ? STR("alice@example.test") : STR("") };

	c->s = session_for_test(&info, STR(""), &c->out);
	session_test_guest(c->s, c->is_guest ? BOB : 0);
	c->state = imap_engine.resume(c->s, &p->account, buf_str(&c->record));
	c->is_closed = c->state == NULL;
	buf_reset(&c->record);
	if (c->state != NULL)
		look(c);
}

static enum err who_is_guest(void *context, uint64_t guest, struct arena *a, struct guest *out)
{
	return guest_ask(((struct people *)context)->control, guest, 10000, a, out);
}

static enum err shares_nothing(UNUSED void *context, UNUSED struct arena *a, struct share_owner **out, size_t *n)
{
	*out = NULL;
	*n = 0;
	return ERR_OK;
}

static void people(struct play *p)
{
	people_begin(&p->people);
	p->others = (struct others){ .guest = who_is_guest, .list = shares_nothing, .context = &p->people };
	p->account.control = p->people.control;
	p->account.others = &p->others;
}

/* bob's cell has come to this account: with what a session of his own would be parked as, or with what is parked here. */
static void visit(struct play *p, struct client *c)
{
	if (c->record.n == 0) {
		start(p, c);
		park(p, c);
	}
	c->is_guest = true;
	attach(p, c);
}

/* Nothing happened for a while: the cell has left, and the next one comes. */
static void sleep_a_while(struct play *p)
{
	for (int i = 0; i < SESSIONS; i++)
		if (p->clients[i].s != NULL)
			fail_here(p, "a connection is not parked", STR(""));
	EXPECT_OK(view_close(p->account.view));
	open_account(p);
}

static void render(struct play *p, struct client *c)
{
	CLEANUP(buf_free) struct buf next = BUF(PARK_RECORD_MAX);
	uint64_t modseq;
	enum rendered how = imap_engine.render(&p->account, buf_str(&c->record), &c->out, &next, &modseq);

	if (how == RENDERED_BYE) {
		c->is_closed = true;
		return;
	}
	if (how == RENDERED_ATTACH) {
		EXPECT_INT(c->out.n, 0);
		attach(p, c);
		return;
	}
	EXPECT_INT(how, RENDERED_KEEP);
	buf_reset(&c->record);
	buf_add(&c->record, buf_str(&next));
}

/* The disk gives back another byte than was written: the first of this text, in the first file of bodies. */
static void damage(struct play *p, struct str text)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(fd_close) int fd = open(str_cstr(&a, arena_printf(&a, "%s/bodies/000001", p->dir)), O_RDWR | O_CLOEXEC);
	char *bytes = arena_alloc(&a, 1 << 20);
	ssize_t n = fd < 0 ? 0 : pread(fd, bytes, 1 << 20, 0);
	ptrdiff_t at = n > 0 ? str_find(str_make(bytes, (size_t)n), text) : -1;

	if (at < 0 || pwrite(fd, "?", 1, at) != 1)
		fail_here(p, "not found in a body", text);
}

/* "..." stands for any bytes */
static bool matches(struct str pattern, struct str line)
{
	ptrdiff_t gap = str_find(pattern, STR("..."));

	if (gap < 0)
		return str_eq(pattern, line);
	if (!str_starts(line, str_sub(pattern, 0, (size_t)gap)))
		return false;
	pattern = str_from(pattern, (size_t)gap + 3);
	line = str_from(line, (size_t)gap);
	for (size_t i = 0; i <= line.n; i++)
		if (matches(pattern, str_from(line, i)))
			return true;
	return false;
}

static void expect_line(struct play *p, struct client *c, struct str want)
{
	struct str out, line;
	ptrdiff_t end;

	run(c);
	out = buf_str(&c->out);
	end = out.n ? str_find(out, STR("\n")) : -1;
	if (end < 0)
		fail_here(p, "the server said nothing more, but wanted is", want);
	line = str_sub(out, 0, (size_t)end);
	if (str_ends(line, STR("\r")))
		line.n--;
	if (!matches(want, line)) {
		print_error("%s:%d: want " STR_FMT "\n", p->file, p->line, STR_ARG(want));
		fail_here(p, "got", out);
	}
	buf_drop_front(&c->out, (size_t)end + 1);
}

static void play_line(struct play *p, struct str line)
{
	char side = line.n ? line.p[0] : '#';
	size_t n = 1;
	struct client *c = &p->clients[0];

	if (side == '#')
		return;
	if (side == '@') {
		struct str verb, number;
		str_cut(str_from(line, 1), ' ', &verb, &number);
		c = &p->clients[number.n && chr_digit(number.p[0]) ? number.p[0] - '1' : 0];
		if (str_eq(verb, STR("eof")))
			return;  /* here a client never has more than was given */
		if (str_eq(verb, STR("people"))) {
			people(p);
			return;
		}
		nothing_left(p);
		if (str_eq(verb, STR("damage")))
			damage(p, number);
		else if (str_eq(verb, STR("guest")))
			visit(p, c);
		else if (str_eq(verb, STR("park")))
			park(p, c);
		else if (str_eq(verb, STR("attach")))
			attach(p, c);
		else if (str_eq(verb, STR("render")))
			render(p, c);
		else if (str_eq(verb, STR("limit")))
			p->account.message_limit = (uint32_t)(number.p[0] - '0');
		else if (str_eq(verb, STR("sleep")))
			sleep_a_while(p);
		else if (str_eq(verb, STR("wake")))
			wake(p, c);
		else if (str_eq(verb, STR("closed")))
			EXPECT(c->is_closed);
		else
			fail_here(p, "unknown word", line);
		return;
	}
	if (line.n > 1 && chr_digit(line.p[1])) {
		c = &p->clients[line.p[1] - '1'];
		n = 2;
	}
	if (c->s == NULL && c->record.n == 0 && !c->is_closed)
		start(p, c);
	struct str text = str_from(line, n + (str_starts(str_from(line, n), STR(": ")) ? 2 : 1));
	if (side == 'C') {
		if (c->send.n == 0)
			nothing_left(p);
		buf_add(&c->send, text);
		buf_add_cstr(&c->send, "\r\n");
	} else {
		expect_line(p, c, text);
	}
}

static void begin(struct play *p, const char *dir)
{
	p->dir = dir;
	p->account.account = 1;
	open_account(p);
}

static void end(struct play *p, const char *dir)
{
	nothing_left(p);
	for (int i = 0; i < SESSIONS; i++) {
		stop(&p->clients[i]);
		buf_free(&p->clients[i].out);
		buf_free(&p->clients[i].send);
		buf_free(&p->clients[i].record);
	}
	view_close(p->account.view);
	if (p->account.control != NULL)
		people_end(&p->people);
	test_dir_remove(dir);
}

static void play(const char *file)
{
	struct play p = { .file = file };
	const char *dir = test_dir();
	char line[8192];
	FILE *f = fopen(file, "r");

	EXPECT(f != NULL);
	begin(&p, dir);
	while (fgets(line, sizeof line, f) != NULL) {
		p.line++;
		struct str s = str_of(line);
		while (str_ends(s, STR("\n")))
			s.n--;
		play_line(&p, s);
	}
	fclose(f);
	end(&p, dir);
}

static void say(struct play *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void say(struct play *p, const char *fmt, ...)
{
	char line[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	play_line(p, str_of(line));
}

/* Who watches what happens to mailboxes and sleeps through too much of it, is told so, and then nothing more (RFC 5465 §5.8). */
TEST(more_than_is_remembered_overflows)
{
	struct play p = { .file = "overflow" };
	const char *dir = test_dir();

	begin(&p, dir);
	say(&p, "C: a1 NOTIFY SET (personal (SubscriptionChange MessageNew MessageExpunge))");
	say(&p, "S: a1 OK ...");
	for (int i = 0; i < 300; i++) {
		say(&p, "C2: b%d SUBSCRIBE x%d", i, i);
		say(&p, "S2: b%d OK ...", i);
	}
	say(&p, "@wake 1");
	say(&p, "S: * OK [NOTIFICATIONOVERFLOW] ...");
	say(&p, "C2: c1 SUBSCRIBE y");
	say(&p, "S2: c1 OK ...");
	say(&p, "C: a2 NOOP");
	say(&p, "S: a2 OK ...");
	end(&p, dir);
}

TEST(transcripts)
{
	struct dirent **names;
	const char *only = getenv("ONLY");
	int n = scandir("tests/imap", &names, NULL, alphasort);

	EXPECT(n > 0);
	for (int i = 0; i < n; i++) {
		char path[300];
		snprintf(path, sizeof path, "tests/imap/%s", names[i]->d_name);
		if (str_ends(str_of(path), STR(".txt")) && (only == NULL || strstr(path, only)))
			play(path);
		free(names[i]);
	}
	free(names);
}

/* Commands of guests that run at this moment: one more of bob is refused when nearly all of them are his, and of anybody when they are all there may be. */
TEST(guests_leave_room_for_each_other)
{
	static const struct { uint64_t running[GUESTS_AT_ONCE]; const char *says; } cases[] = {
		{ { BOB, 0, BOB, 0 }, "b1 OK ..." }, { { CAROL, CAROL, CAROL, DAVE, DAVE, 0 }, "b1 OK ..." },
		{ { BOB, BOB, 0, BOB }, "b1 NO [INUSE] ..." }, { { CAROL, BOB, DAVE, CAROL, DAVE, DAVE }, "b1 NO [INUSE] ..." },
	};

	EACH(cases, c) {
		struct play p = { .file = "guests" };
		const char *dir = test_dir();
		begin(&p, dir);
		say(&p, "@people");
		say(&p, "@guest 2");
		for (int i = 0; i < GUESTS_AT_ONCE; i++)
			p.account.guests[i] = c->running[i];
		say(&p, "C2: b1 NOOP");
		say(&p, "S2: %s", c->says);
		for (int i = 0; i < GUESTS_AT_ONCE; i++)
			EXPECT_INT(p.account.guests[i], c->running[i]);
		end(&p, dir);
	}
}

static struct str names_word(struct play *p, struct arena *a)
{
	struct client *bob = &p->clients[1];
	struct scan s;

	buf_reset(&bob->out);
	say(p, "C2: n NAMES");
	run(bob);
	s = scan_of(str_copy(a, buf_str(&bob->out)));
	buf_reset(&bob->out);
	scan_need_str(&s, STR("n OK [NAMES "));
	struct str word = scan_until(&s, ']');
	EXPECT(!s.failed && word.n == 32);
	return word;
}

/* What is shared with a guest is another word when a name or a right of it has changed, and when nothing else has. */
TEST(names_shared_are_one_word)
{
	static const struct { const char *command; bool changes; } cases[] = {
		{ "CREATE Work", false }, { "SETACL Work bob@example.test lr", true }, { "APPEND INBOX {1+}\r\nx", false }, { "CREATE Work/a", true },
		{ "SETACL Work carol@example.test lr", false }, { "SETACL Work bob@example.test l", true }, { "SETACL Work bob@example.test lws", false },
		{ "RENAME Work/a Work/b", true }, { "SUBSCRIBE Work/b", false }, { "SETACL INBOX team@example.test lr", true }, { "SETACL INBOX bob@example.test lr", false },
		{ "DELETE Work/b", true }, { "CREATE Work/b", true }, { "CREATE Mine", false }, { "DELETEACL Work bob@example.test", true },
	};
	CLEANUP(arena_free) struct arena a = { 0 };
	struct play p = { .file = "names" };
	const char *dir = test_dir();
	struct str before;

	begin(&p, dir);
	say(&p, "@people");
	say(&p, "@guest 2");
	before = names_word(&p, &a);
	EACH(cases, c) {
		say(&p, "C: a2 %s", c->command);
		run(&p.clients[0]);
		EXPECT(str_find(buf_str(&p.clients[0].out), STR("a2 OK")) >= 0);
		buf_reset(&p.clients[0].out);
		struct str now = names_word(&p, &a);
		if (str_eq(before, now) == c->changes)
			fail_here(&p, "wrong word after", str_of(c->command));
		before = now;
	}
	say(&p, "C: a3 NAMES");
	say(&p, "S: a3 BAD ...");
	end(&p, dir);
}
