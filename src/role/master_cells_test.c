/* Master's table of cells, with scripted neighbours: keys, nursery, the roles that ask, and the cells are played by the test. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/test.h"
#include "role/cell.h"
#include "role/master_cell.h"
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ALICE = 7, BOB = 8, GATE = 0, KEYS, NURSERY, QUEUE, CONTROL, OTHERS };

struct world {
	struct master   master;
	struct channel *other[OTHERS];   /* the test's ends */
	struct channel *alice, *bob;     /* what their cells would hold */
	bool            keys_are_slow, nursery_is_slow;
	uint32_t        spawn_call, key_call, spawned_epoch, next_pid;
	uint64_t        started[40];     /* accounts whose keys were asked for, in order */
	uint32_t        start_calls[40];
	size_t          start_count;
	uint64_t        changed, modseq;
	uint64_t        gained[3];     /* GATE_GAINED, and how many of them */
	size_t          gained_n;
	int             gains;
	char            watched[3];      /* the last CELL_WATCHED: two flags */
	uint8_t         connected[ROLE_COUNT][ROLE_COUNT];   /* how often a role was given a channel to another */
	int             ended;           /* answers to QUEUE_CELL_END */
	uint64_t        guest;           /* of the last CELL_ATTACH */
	enum err        visited;         /* the answer to VISIT, and its descriptor */
	int             visit_fd;
	enum err        shares;          /* what control says of any pair */
	int             asked;           /* how often it was */
	uint64_t        pair[2];
	bool            control_is_slow;
	uint32_t        pair_call;
};

static void give_key(struct world *w, uint32_t call)
{
	CLEANUP(buf_free) struct buf b = BUF(16);
	int ends[2];

	EXPECT_INT(pipe(ends), 0);
	put_u32(&b, 3);
	channel_reply(w->other[KEYS], call, ERR_OK, buf_str(&b), &ends[0], 1);
	close(ends[0]);
	close(ends[1]);
}

static void on_cell_key(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct world *w = context;
	struct scan s = scan_of(m->body);

	EXPECT(w->start_count < COUNT_OF(w->started));
	w->started[w->start_count] = get_u64(&s);
	w->start_calls[w->start_count++] = w->key_call = m->call;
	if (!w->keys_are_slow)
		give_key(w, m->call);
}

static void on_connected(void *context, struct channel *ch, struct message *m)
{
	struct world *w = context;
	enum role peer;
	uint32_t index;

	EXPECT(get_connect(m, &peer, &index) && index == 0);
	for (int i = 0; i < OTHERS; i++)
		if (w->other[i] == ch)
			w->connected[w->master.roles[i].role][peer]++;
}

static void ignore(UNUSED void *context, UNUSED struct channel *ch, UNUSED struct message *m) { }

static void on_cell_attach(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct world *w = context;
	struct scan s = scan_of(m->body);

	EXPECT_INT(get_u8(&s), ATTACH_GUEST);
	w->guest = get_u64(&s);
	EXPECT(get_end(&s));
	EXPECT_INT(m->fd_count, 1);
	EXPECT_OK(frame_send(m->fds[0], FRAME_DATA, STR("from alice"), 0));
}

static void on_watched(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct scan s = scan_of(m->body);

	for (char *flag = ((struct world *)context)->watched; flag < ((struct world *)context)->watched + 2; flag++)
		*flag = get_bool(&s) ? '1' : '0';
	EXPECT(get_end(&s));
}

static const struct channel_handler cell_side[] = {
	{ NOTICE_CELL_ATTACH, on_cell_attach }, { NOTICE_CELL_WATCHED, on_watched }, { NOTICE_CONNECT, ignore }, { 0 },
};

static void spawned(struct world *w)
{
	CLEANUP(buf_free) struct buf b = BUF(16);

	put_u32(&b, ++w->next_pid);
	channel_reply(w->other[NURSERY], w->spawn_call, ERR_OK, buf_str(&b), NULL, 0);
}

static void on_spawn(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct world *w = context;
	struct scan s = scan_of(m->body);
	struct channel **cell = get_u64(&s) == ALICE ? &w->alice : &w->bob;

	w->spawned_epoch = get_u32(&s);
	*cell = channel_new(m->fds[0], ROLE_CELL, ROLE_MASTER, cell_side, w, NULL);
	m->fds[0] = -1;
	w->spawn_call = m->call;
	if (!w->nursery_is_slow)
		spawned(w);
}

static void on_changed(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct world *w = context;
	struct scan s = scan_of(m->body);

	w->changed = get_u64(&s);
	w->modseq = get_u64(&s);
}

static void on_shares_with(void *context, struct channel *ch, struct message *m)
{
	struct world *w = context;
	struct scan s = scan_of(m->body);

	w->asked++;
	w->pair[0] = get_u64(&s);
	w->pair[1] = get_u64(&s);
	EXPECT(get_end(&s));
	w->pair_call = m->call;
	if (!w->control_is_slow)
		channel_reply(ch, m->call, w->shares, STR(""), NULL, 0);
}

static void on_gained(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct world *w = context;
	struct scan s = scan_of(m->body);

	w->gains++;
	for (w->gained_n = 0; w->gained_n < COUNT_OF(w->gained) && !scan_done(&s); w->gained_n++)
		w->gained[w->gained_n] = get_u64(&s);
}

static const struct channel_handler handlers[] = {
	{ NOTICE_GATE_GAINED, on_gained },
	{ REQUEST_SHARES_WITH, on_shares_with },
	{ REQUEST_CELL_KEY, on_cell_key },    { REQUEST_SPAWN, on_spawn },
	{ NOTICE_GATE_CHANGED, on_changed }, { NOTICE_GATE_EPOCH, ignore },
	{ NOTICE_CELL_CHANNEL, ignore },     { NOTICE_CONTROL_CELL, ignore }, { NOTICE_CONNECT, on_connected },
	{ 0 },
};

static void connect_other(struct world *w, int i)
{
	struct running *r = &w->master.roles[i];
	int pair[2];

	EXPECT_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	if (r->ch == NULL)
		r->ch = channel_new(pair[0], ROLE_MASTER, r->role, master_handlers, r, NULL);
	else
		channel_replace(r->ch, pair[0]);
	watch_channel(w->master.watch, r->ch);
	channel_free(w->other[i]);
	w->other[i] = channel_new(pair[1], r->role, ROLE_MASTER, handlers, w, NULL);
}

static struct world *begin(void)
{
	static const enum role roles[OTHERS] = { ROLE_GATE, ROLE_KEYS, ROLE_NURSERY, ROLE_QUEUE, ROLE_CONTROL };
	struct world *w = MEM_NEW(struct world);

	w->master = (struct master){ .watch = watch_new(), .gates = 1, .cells_max = 10, .attaches_max = 100, .role_count = OTHERS };
	for (int i = 0; i < OTHERS; i++) {
		w->master.roles[i] = (struct running){ .master = &w->master, .role = roles[i] };
		connect_other(w, i);
	}
	return w;
}

static void rounds(struct world *w)
{
	for (int n = 0; n < 20; n++) {
		watch_run(w->master.watch, 0);
		for (int i = 0; i < OTHERS; i++)
			(void)channel_receive(w->other[i]);
	}
}

static void tell(struct world *w, struct channel *from, uint16_t notice, uint64_t a, uint64_t b, size_t second_size)
{
	CLEANUP(buf_free) struct buf body = BUF(16);

	put_u64(&body, a);
	if (second_size == 8)
		put_u64(&body, b);
	else if (second_size == 4)
		put_u32(&body, (uint32_t)b);
	EXPECT_OK(channel_notify(from, notice, buf_str(&body), NULL, 0));
	rounds(w);
}

static void exits_with(struct world *w, uint64_t account, uint32_t pid, int code)
{
	CLEANUP(buf_free) struct buf body = BUF(16);

	put_u64(&body, account);
	put_u32(&body, pid);
	put_u32(&body, (uint32_t)W_EXITCODE(code, 0));
	EXPECT_OK(channel_notify(w->other[NURSERY], NOTICE_EXITED, buf_str(&body), NULL, 0));
	rounds(w);
}

static void exits(struct world *w, uint64_t account, uint32_t pid) { exits_with(w, account, pid, 0); }

static void end(struct world *w)
{
	size_t at = 0;
	void *v;

	w->master.stops = true;
	for (uint32_t pid = 1; pid <= w->next_pid; pid++)
		cells_collected(&w->master, (pid_t)pid, 0);
	EXPECT_INT(cells_left(&w->master), 0);
	for (int i = 0; i < OTHERS; i++) {
		watch_forget(w->master.watch, w->master.roles[i].ch);
		channel_free(w->master.roles[i].ch);
		channel_free(w->other[i]);
	}
	channel_free(w->alice);
	channel_free(w->bob);
	while (map_next(&w->master.cells, &at, NULL, &v)) {  /* of cells that crashed */
		mem_free(((struct cell_slot *)v)->waiting);
		mem_free(v);
	}
	map_free(&w->master.cells);
	map_free(&w->master.watches);
	map_free(&w->master.pairs);
	watch_free(w->master.watch);
	mem_free(w);
}

static void watches(struct world *w, uint64_t account, bool on)
{
	CLEANUP(buf_free) struct buf body = BUF(16);

	put_u64(&body, account);
	put_bool(&body, on);
	put_bool(&body, false);
	EXPECT_OK(channel_notify(w->other[GATE], NOTICE_WATCH, buf_str(&body), NULL, 0));
	rounds(w);
	channel_receive(w->alice);
}

TEST(a_cell_tells_changes_of_its_own_account_only)
{
	struct world *w = begin();

	tell(w, w->other[QUEUE], NOTICE_WAKE, ALICE, 0, 0);
	EXPECT(w->alice != NULL);
	tell(w, w->alice, NOTICE_CHANGED, BOB, UINT64_MAX, 8);
	EXPECT_INT(w->changed, 0);
	tell(w, w->alice, NOTICE_CHANGED, ALICE, 0, 0);
	EXPECT_INT(w->changed, 0);
	tell(w, w->alice, NOTICE_CHANGED, ALICE, 4, 8);
	EXPECT_INT(w->changed, 0);                      /* no gate has to do with her */
	watches(w, ALICE, true);
	assert_string_equal(w->watched, "11");          /* that one has not heard: it is told again */
	tell(w, w->alice, NOTICE_CHANGED, ALICE, 5, 8);
	EXPECT_INT(w->changed, ALICE);
	EXPECT_INT(w->modseq, 5);
	watches(w, ALICE, false);
	assert_string_equal(w->watched, "00");
	tell(w, w->alice, NOTICE_CHANGED, ALICE, 6, 8);
	EXPECT_INT(w->modseq, 6);                       /* a session of it may be about to wait */
	watches(w, ALICE, true);
	assert_string_equal(w->watched, "10");
	end(w);
}

/* The nursery has been told already whether anybody waits: a cell that does not hear of it keeps its changes to itself. */
TEST(who_begins_to_wait_while_a_cell_starts)
{
	struct world *w = begin();

	w->nursery_is_slow = true;
	tell(w, w->other[QUEUE], NOTICE_WAKE, ALICE, 0, 0);
	EXPECT(w->alice != NULL);
	watches(w, ALICE, true);
	assert_string_equal(w->watched, "11");
	spawned(w);
	rounds(w);
	end(w);
}

/* A pair whose channel has ended gets another one; nobody gets one that is not made for him, nor while his peer is only just starting. */
TEST(two_roles_that_have_lost_each_other_are_connected_again)
{
	static const struct { int from; enum role peer; uint8_t index; pid_t pid; bool is_young; size_t bytes, connected; } cases[] = {
		{ QUEUE,   ROLE_KEYS,    0, 7, false, 5, 1 },
		{ KEYS,    ROLE_QUEUE,   0, 7, false, 5, 1 },
		{ QUEUE,   ROLE_NURSERY, 0, 7, false, 5, 0 },   /* they never talk */
		{ QUEUE,   ROLE_QUEUE,   0, 7, false, 5, 0 },
		{ QUEUE,   ROLE_COUNT,   0, 7, false, 5, 0 },
		{ CONTROL, ROLE_GATE,    1, 7, false, 5, 0 },   /* there is one gate */
		{ CONTROL, ROLE_GATE,    0, 0, false, 5, 0 },   /* it does not run: it is connected when it does */
		{ CONTROL, ROLE_GATE,    0, 7, true,  5, 0 },   /* it was, a moment ago */
		{ QUEUE,   ROLE_KEYS,    0, 7, false, 4, 0 },
	};

	EACH(cases, c) {
		struct world *w = begin();
		CLEANUP(buf_free) struct buf b = BUF(16);
		enum role role = w->master.roles[c->from].role;
		size_t all = 0;
		for (int i = 0; i < OTHERS; i++) {
			w->master.roles[i].pid = c->pid;
			w->master.roles[i].started_ms = c->is_young ? clock_mono_ms() : -10000;
			w->master.roles[i].mended_ms = -10000;
		}
		put_u8(&b, (uint8_t)c->peer);
		put_u32(&b, c->index);
		buf_truncate(&b, c->bytes);
		for (int i = 0; i < 3; i++)   /* the others come too soon after the first */
			EXPECT_OK(channel_notify(w->other[c->from], NOTICE_LOST, buf_str(&b), NULL, 0));
		rounds(w);
		for (int a = 0; a < ROLE_COUNT; a++)
			for (int peer = 0; peer < ROLE_COUNT; peer++)
				all += w->connected[a][peer];
		EXPECT_INT(all, 2 * c->connected);
		if (c->connected > 0)
			EXPECT(w->connected[role][c->peer] == 1 && w->connected[c->peer][role] == 1);
		for (int i = 0; i < OTHERS; i++)
			w->master.roles[i].pid = 0;
		end(w);
	}
}

TEST(an_epoch_told_while_a_cell_starts_counts)
{
	struct world *w = begin();

	w->keys_are_slow = true;
	tell(w, w->other[QUEUE], NOTICE_WAKE, ALICE, 0, 0);
	EXPECT(w->key_call != 0);
	tell(w, w->other[CONTROL], NOTICE_EPOCH, ALICE, 9, 4);
	give_key(w, w->key_call);  /* says 3 */
	rounds(w);
	EXPECT_INT(w->spawned_epoch, 9);
	tell(w, w->other[QUEUE], NOTICE_WAKE, BOB, 0, 0);
	give_key(w, w->key_call);
	rounds(w);
	EXPECT_INT(w->spawned_epoch, 3);
	end(w);
}

/* After a start of the whole server the first login may come before keys has heard from control. */
TEST(who_comes_before_keys_is_ready_waits)
{
	struct world *w = begin();
	CLEANUP(buf_free) struct buf body = BUF(16);
	char said;
	int pair[2];

	w->keys_are_slow = true;
	EXPECT_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	put_u64(&body, ALICE);
	put_u8(&body, 1);  /* ATTACH_SESSION */
	EXPECT_OK(channel_notify(w->other[GATE], NOTICE_ATTACH, buf_str(&body), &pair[1], 1));
	close(pair[1]);
	rounds(w);
	channel_reply(w->other[KEYS], w->key_call, ERR_UNAVAILABLE, STR(""), NULL, 0);
	rounds(w);
	cells_tick(&w->master);
	EXPECT(w->alice == NULL && recv(pair[0], &said, 1, 0) < 0);  /* neither opened nor refused */
	clock_mono_advance(200);
	cells_tick(&w->master);
	rounds(w);
	give_key(w, w->key_call);
	rounds(w);
	EXPECT(w->alice != NULL);
	EXPECT(recv(pair[0], &said, 1, 0) < 0);
	close(pair[0]);
	end(w);
}

static void on_ended(void *context, struct message *answer) { ((struct world *)context)->ended += answer->status == ERR_OK; }

static void ask_end(struct world *w, uint64_t account)
{
	CLEANUP(buf_free) struct buf body = BUF(8);

	put_u64(&body, account);
	channel_ask(w->other[QUEUE], REQUEST_QUEUE_CELL_END, buf_str(&body), NULL, 0, 60000, on_ended, w);
	rounds(w);
}

/* Calls are numbered anew by each process: the answer for the one that died would be taken for another account's. */
TEST(a_new_queue_gets_no_answer_to_what_the_old_one_asked)
{
	struct world *w = begin();

	tell(w, w->other[QUEUE], NOTICE_WAKE, ALICE, 0, 0);
	tell(w, w->other[QUEUE], NOTICE_WAKE, BOB, 0, 0);
	ask_end(w, ALICE);
	cells_asker_gone(&w->master, w->master.roles[QUEUE].ch);
	connect_other(w, QUEUE);
	ask_end(w, BOB);
	exits(w, ALICE, 1);
	EXPECT_INT(w->ended, 0);
	exits(w, BOB, 2);
	EXPECT_INT(w->ended, 1);
	end(w);
}

TEST(no_cell_starts_when_the_server_stops)
{
	struct world *w = begin();

	w->keys_are_slow = true;
	tell(w, w->other[QUEUE], NOTICE_WAKE, ALICE, 0, 0);
	w->master.stops = true;
	cells_stop(&w->master);
	give_key(w, w->key_call);
	rounds(w);
	EXPECT(w->alice == NULL);
	EXPECT_INT(cells_left(&w->master), 0);
	end(w);
}

/* A nursery that was taken over: a slot whose start is under way is not freed because of a process that never was. */
TEST(the_end_of_no_process_ends_no_start)
{
	struct world *w = begin();

	w->keys_are_slow = true;
	tell(w, w->other[QUEUE], NOTICE_WAKE, ALICE, 0, 0);
	exits(w, ALICE, 0);
	EXPECT_INT(cells_left(&w->master), 1);
	give_key(w, w->key_call);
	rounds(w);
	EXPECT(w->alice != NULL);
	end(w);
}

static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		alarm(60);  /* where the test fails, nobody ends it */
		pause();
		_exit(0);
	}
	EXPECT(pid > 0);
	return pid;
}

static bool is_alive(pid_t pid)
{
	siginfo_t info = { 0 };

	for (int i = 0; i < 100 && info.si_pid == 0; i++) {
		usleep(1000);
		EXPECT_INT(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
	}
	return info.si_pid == 0;
}

/* A nursery that was taken over has master, who is root, end whomever it likes: only its own cells, which are of its process group. */
TEST(nobody_but_a_cell_is_ended)
{
	static const struct { bool is_of_group, is_the_same; } cases[] = { { true, true }, { false, true }, { true, false } };

	EACH(cases, t) {
		struct world *w = begin();
		CLEANUP(buf_free) struct buf b = BUF(16);
		pid_t cell = sleeper(), other = sleeper();
		CLEANUP(fd_close) int fd = (int)syscall(SYS_pidfd_open, t->is_the_same ? cell : other, 0);

		EXPECT(fd >= 0);
		w->nursery_is_slow = true;
		w->master.roles[NURSERY].pid = t->is_of_group ? getpgrp() : getpgrp() + 1;
		tell(w, w->other[QUEUE], NOTICE_WAKE, ALICE, 0, 0);
		put_u32(&b, (uint32_t)cell);
		channel_reply(w->other[NURSERY], w->spawn_call, ERR_OK, buf_str(&b), &fd, 1);
		rounds(w);
		ask_end(w, ALICE);
		EXPECT_INT(is_alive(cell), !(t->is_of_group && t->is_the_same));
		EXPECT(is_alive(other));
		kill(cell, SIGKILL);
		kill(other, SIGKILL);
		EXPECT(waitpid(cell, NULL, 0) == cell && waitpid(other, NULL, 0) == other);
		exits(w, ALICE, (uint32_t)cell);
		EXPECT_INT(w->ended, 1);
		w->master.roles[NURSERY].pid = 0;
		end(w);
	}
}

static void ask_in(struct world *w, uint64_t account, int *fd)
{
	CLEANUP(buf_free) struct buf body = BUF(16);
	int pair[2];

	EXPECT_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	put_u64(&body, account);
	put_u8(&body, ATTACH_SESSION);
	EXPECT_OK(channel_notify(w->other[GATE], NOTICE_ATTACH, buf_str(&body), &pair[1], 1));
	close(pair[1]);
	*fd = pair[0];
}

static void log_in(struct world *w, uint64_t account, int *fd)
{
	ask_in(w, account, fd);
	rounds(w);
}

/* Killed a moment ago, and nobody has noticed: who comes then gets the next cell, not an error. */
TEST(who_comes_when_the_cell_has_just_died_waits_for_the_next)
{
	struct world *w = begin();
	char byte;
	int fd;

	tell(w, w->other[QUEUE], NOTICE_WAKE, ALICE, 0, 0);
	EXPECT(w->alice != NULL);
	ask_in(w, ALICE, &fd);  /* master reads it first */
	shutdown(channel_fd(w->alice), SHUT_RDWR);
	rounds(w);
	channel_free(w->alice);
	w->alice = NULL;
	exits(w, ALICE, w->next_pid);
	EXPECT(w->alice != NULL);
	EXPECT(recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);  /* neither refused nor closed */
	close(fd);
	end(w);
}

/* Killed between a change and the notice of it: whoever waits in a gate would hear with the next change only. */
TEST(who_waits_gets_another_cell_for_one_that_was_killed)
{
	struct world *w = begin();

	tell(w, w->other[QUEUE], NOTICE_WAKE, ALICE, 0, 0);
	for (int i = 0; i < 4; i++) {
		EXPECT(w->alice != NULL);
		if (i == 1)
			watches(w, ALICE, true);
		channel_free(w->alice);
		w->alice = NULL;
		exits(w, ALICE, w->next_pid);
		EXPECT((w->alice != NULL) == (i == 1));  /* nobody waits; somebody does; it dies again and again */
		if (i == 0)
			tell(w, w->other[QUEUE], NOTICE_WAKE, ALICE, 0, 0);
		if (i == 2)
			break;
	}
	end(w);
}

/* Who comes again and again is not given a new process each time, and hears why all the same. */
TEST(on_a_full_disk_each_hears_so)
{
	struct world *w = begin();
	char room[FRAME_MAX];
	enum text sentence;
	enum frame type;
	struct str bytes;
	enum err why;
	int fd;

	for (int i = 0; i < 4; i++) {
		log_in(w, ALICE, &fd);
		if (w->alice == NULL)
			break;
		close(fd);
		channel_free(w->alice);
		w->alice = NULL;
		exits_with(w, ALICE, w->next_pid, CELL_DISK_FULL);
	}
	EXPECT(w->alice == NULL);
	EXPECT_OK(frame_receive(fd, room, &type, &bytes));
	EXPECT_INT(type, FRAME_REFUSED);
	struct scan s = scan_of(bytes);
	EXPECT(get_refusal(&s, &why, &sentence));
	EXPECT_INT(why, ERR_UNAVAILABLE);
	EXPECT_INT(sentence, TEXT_CELL_DISK_FULL);
	close(fd);
	end(w);
}

static void on_visited(void *context, struct message *answer)
{
	struct world *w = context;

	w->visited = answer->status;
	w->visit_fd = answer->fd_count == 1 ? answer->fds[0] : -1;
	answer->fds[0] = -1;
}

static enum err visit(struct world *w, uint64_t owner)
{
	CLEANUP(buf_free) struct buf body = BUF(8);

	put_u64(&body, owner);
	w->visited = ERR_AGAIN;
	EXPECT_OK(channel_ask(w->bob, REQUEST_VISIT, buf_str(&body), NULL, 0, 60000, on_visited, w));
	rounds(w);
	(void)channel_receive(w->bob);
	return w->visited;
}

/* bob's cell asks for a session in alice's, which does not run yet: it is started, and told by master, not by bob, who comes. */
TEST(a_visit_says_whose_it_is)
{
	static const struct { uint64_t owner; enum err answer; } wrong[] = { { BOB, ERR_INVALID }, { 0, ERR_INVALID } };
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	struct world *w = begin();

	tell(w, w->other[QUEUE], NOTICE_WAKE, BOB, 0, 0);
	EACH(wrong, c)
		EXPECT_ERR(visit(w, c->owner), c->answer);
	EXPECT(w->alice == NULL);
	EXPECT_OK(visit(w, ALICE));
	EXPECT(w->visit_fd >= 0 && w->alice != NULL);
	(void)channel_receive(w->alice);
	EXPECT_INT(w->guest, BOB);
	EXPECT_OK(frame_receive(w->visit_fd, room, &type, &bytes));
	EXPECT_STR(bytes, "from alice");
	close(w->visit_fd);
	end(w);
}

/* A cell that was broken into has no cell started but of those who share with it: control knows them, and is asked once a minute. */
TEST(a_visit_is_to_who_shares)
{
	struct world *w = begin();

	tell(w, w->other[QUEUE], NOTICE_WAKE, BOB, 0, 0);
	w->shares = ERR_NOTFOUND;
	EXPECT_ERR(visit(w, ALICE), ERR_NOTFOUND);
	EXPECT(w->alice == NULL && w->pair[0] == BOB && w->pair[1] == ALICE);
	w->shares = ERR_OK;
	EXPECT_OK(visit(w, ALICE));                /* shared just now: nobody has to wait for it */
	close(w->visit_fd);
	EXPECT_OK(visit(w, ALICE));
	close(w->visit_fd);
	EXPECT_INT(w->asked, 2);
	w->shares = ERR_NOTFOUND;
	tell(w, w->other[CONTROL], NOTICE_SHARES_CHANGED, BOB, 0, 0);    /* somebody else's */
	EXPECT_OK(visit(w, ALICE));
	close(w->visit_fd);
	tell(w, w->other[CONTROL], NOTICE_SHARES_CHANGED, ALICE, 0, 0);
	EXPECT_ERR(visit(w, ALICE), ERR_NOTFOUND);
	w->shares = ERR_OK;
	EXPECT_OK(visit(w, ALICE));
	close(w->visit_fd);
	w->shares = ERR_NOTFOUND;
	clock_mono_advance(61000);
	EXPECT_ERR(visit(w, ALICE), ERR_NOTFOUND);
	end(w);
}

static void on_may_wait(void *context, struct message *answer) { ((struct world *)context)->visited = answer->status; }

static enum err may_wait(struct world *w, uint64_t guest, uint64_t owner)
{
	CLEANUP(buf_free) struct buf body = BUF(16);

	put_u64(&body, guest);
	put_u64(&body, owner);
	w->visited = ERR_AGAIN;
	EXPECT_OK(channel_ask(w->other[GATE], REQUEST_MAY_WAIT, buf_str(&body), NULL, 0, 60000, on_may_wait, w));
	rounds(w);
	return w->visited;
}

TEST(a_gate_hears_who_may_wait)
{
	struct world *w = begin();

	EXPECT_OK(may_wait(w, BOB, ALICE));
	tell(w, w->other[CONTROL], NOTICE_SHARES_CHANGED, 0, 0, 0);
	w->shares = ERR_NOTFOUND;
	EXPECT_ERR(may_wait(w, BOB, ALICE), ERR_NOTFOUND);
	w->control_is_slow = true;
	EXPECT_ERR(may_wait(w, BOB, ALICE), ERR_AGAIN);
	cells_asker_gone(&w->master, w->master.roles[GATE].ch);   /* its successor counts its questions anew: it gets no answer to this one */
	channel_reply(w->other[CONTROL], w->pair_call, ERR_OK, STR(""), NULL, 0);
	rounds(w);
	EXPECT_ERR(w->visited, ERR_AGAIN);
	end(w);
}

/* A gate hears of those accounts whose sessions it has; where it may be about any, it looks itself. */
TEST(a_gate_hears_who_gains)
{
	struct world *w = begin();
	int fd;

	tell(w, w->other[CONTROL], NOTICE_GAINED, ALICE, BOB, 8);
	EXPECT_INT(w->gains, 0);
	tell(w, w->other[QUEUE], NOTICE_WAKE, ALICE, 0, 0);  /* a cell, and no session */
	watches(w, BOB, true);
	tell(w, w->other[CONTROL], NOTICE_GAINED, ALICE, BOB, 8);
	EXPECT(w->gains == 1 && w->gained_n == 1 && w->gained[0] == BOB);
	log_in(w, ALICE, &fd);   /* attached, and not parked yet */
	tell(w, w->other[CONTROL], NOTICE_GAINED, ALICE, 0, 8);
	EXPECT(w->gains == 2 && w->gained_n == 1 && w->gained[0] == ALICE);
	EXPECT_OK(channel_notify(w->other[CONTROL], NOTICE_GAINED, STR(""), NULL, 0));
	rounds(w);
	EXPECT(w->gains == 3 && w->gained_n == 0);
	close(fd);
	end(w);
}

/* Sixteen open at a time. Who logs in does not stand behind a message to everybody, and the message gets on all the same. */
TEST(logins_come_before_deliveries_but_for_every_fourth)
{
	static const uint64_t expected[] = { 200, 301, 302, 201, 303, 304, 202, 203 };
	struct world *w = begin();
	int fds[5];

	w->keys_are_slow = true;
	w->master.cells_max = 100;
	for (uint64_t account = 100; account < 116; account++)
		tell(w, w->other[QUEUE], NOTICE_WAKE, account, 0, 0);
	for (uint64_t account = 200; account < 204; account++)
		tell(w, w->other[QUEUE], NOTICE_WAKE, account, 0, 0);
	for (size_t i = 0; i < 5; i++)
		log_in(w, i == 0 ? 200 : 300 + i, &fds[i]);  /* 200 waited with a delivery */
	EXPECT_INT(w->start_count, 16);
	for (size_t i = 0; i < COUNT_OF(expected); i++) {
		channel_reply(w->other[KEYS], w->start_calls[i], ERR_NOTFOUND, STR(""), NULL, 0);
		rounds(w);
		EXPECT_INT(w->start_count, 17 + i);
	}
	for (size_t i = 0; i < COUNT_OF(expected); i++)
		EXPECT_INT(w->started[16 + i], expected[i]);
	for (size_t i = 0; i < 5; i++)
		close(fds[i]);
	w->master.stops = true;
	for (size_t i = 8; i < w->start_count; i++) {
		channel_reply(w->other[KEYS], w->start_calls[i], ERR_NOTFOUND, STR(""), NULL, 0);
		rounds(w);
	}
	end(w);
}
