/* Master's table of cells, between neighbours that were taken over: gates, queue, control, keys and nursery say and answer anything, and
 * so do the cells. One thread: the input is a program of what arrives and in which order. */
#include "base/log.h"
#include "base/mem.h"
#include "base/test.h"
#include "role/role_private.h"
#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { GATE, KEYS, NURSERY, QUEUE, CONTROL, OTHERS, CELLS = 8, OPEN_MAX = 32, STEPS = 200 };

struct question { int from; uint16_t type; uint32_t call; };

struct world {
	struct master    master;
	struct channel  *other[OTHERS], *cell[CELLS];
	size_t           next_cell;
	uint32_t         next_pid;
	struct question  open[OPEN_MAX];
	size_t           open_count;
};

struct end { struct world *world; int who; };

static const char *folder;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Master ends with its process: slots that nobody wants any more are not given back. */
const char *__asan_default_options(void);  /* NOLINT: the sanitizer's name */
const char *__asan_default_options(void) { return "detect_leaks=0"; }

static const enum role roles[OTHERS] = { ROLE_GATE, ROLE_KEYS, ROLE_NURSERY, ROLE_QUEUE, ROLE_CONTROL };

static void hears(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct end *e = context;
	struct world *w = e->world;

	if (m->call != 0 && w->open_count < OPEN_MAX)
		w->open[w->open_count++] = (struct question){ e->who, m->type, m->call };
	if (m->type != REQUEST_SPAWN || m->fd_count != 2)
		return;
	struct channel **cell = &w->cell[w->next_cell++ % CELLS];
	channel_free(*cell);
	*cell = channel_new(m->fds[0], ROLE_CELL, ROLE_MASTER, NULL, NULL, NULL);
	m->fds[0] = -1;
}

static const struct channel_handler handlers[] = {
	{ REQUEST_CELL_KEY, hears }, { REQUEST_SPAWN, hears }, { NOTICE_GATE_CHANGED, hears }, { NOTICE_GATE_EPOCH, hears },
	{ NOTICE_CELL_CHANNEL, hears }, { NOTICE_CONTROL_CELL, hears }, { REQUEST_SHARES_WITH, hears }, { NOTICE_GATE_GAINED, hears }, { 0 },
};

static void connect_other(struct world *w, struct end *e)
{
	struct running *r = &w->master.roles[e->who];
	int pair[2];

	assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	if (r->ch == NULL)
		r->ch = channel_new(pair[0], ROLE_MASTER, r->role, master_handlers, r, NULL);
	else
		channel_replace(r->ch, pair[0]);
	watch_channel(w->master.watch, r->ch);
	channel_free(w->other[e->who]);
	w->other[e->who] = channel_new(pair[1], r->role, ROLE_MASTER, handlers, e, NULL);
}

static void rounds(struct world *w)
{
	for (int n = 0; n < 4; n++) {
		watch_run(w->master.watch, 0);
		for (int i = 0; i < OTHERS; i++)
			(void)channel_receive(w->other[i]);
		for (int i = 0; i < CELLS; i++)
			if (w->cell[i] != NULL)
				(void)channel_receive(w->cell[i]);
	}
}

static void ignore_answer(UNUSED void *context, UNUSED struct message *m) { }

/* The oldest open question gets an answer. keys: an epoch and a descriptor; nursery: a pid, perhaps one that it has given before. */
static void answer(struct world *w, struct scan *s)
{
	CLEANUP(buf_free) struct buf b = BUF(100);
	uint8_t how = get_u8(s);
	int fds[2] = { -1, -1 };

	if (w->open_count == 0)
		return;
	struct question q = w->open[0];
	memmove(&w->open[0], &w->open[1], --w->open_count * sizeof q);
	put_u32(&b, how & 1 ? get_u8(s) : ++w->next_pid);
	if (how & 2)
		buf_truncate(&b, how & 3);
	assert(pipe(fds) == 0);
	channel_reply(w->other[q.from], q.call, how & 0x80 ? (enum err)(how & 15) : ERR_OK, buf_str(&b), fds, how & 4 ? how >> 3 & 1 : q.type == REQUEST_CELL_KEY);
	close(fds[0]);
	close(fds[1]);
}

static void say(struct channel *ch, uint16_t type, bool is_request, struct scan *s)
{
	CLEANUP(buf_free) struct buf b = BUF(200);
	CLEANUP(fd_close) int fd = dup(0);
	uint8_t how = get_u8(s), more = get_u8(s);

	if (type == NOTICE_LOST) {
		put_u8(&b, how);
		put_u32(&b, more);
	} else {
		put_u64(&b, how % 4);
	}
	switch (type) {
	case NOTICE_ATTACH:  put_u8(&b, more); break;
	case NOTICE_WATCH:   put_u8(&b, more & 1); put_u8(&b, more >> 1 & 1); break;
	case REQUEST_MAY_WAIT: case NOTICE_GAINED: put_u64(&b, more % 4); break;
	case NOTICE_EPOCH:   put_u32(&b, more); break;
	case NOTICE_EXITED:  put_u32(&b, more); put_u32(&b, get_u8(s) << 8); break;
	case NOTICE_CHANGED: put_u64(&b, more); break;
	default: break;
	}
	if (how & 0x80)
		buf_truncate(&b, more % (b.n + 1));
	if (is_request)
		(void)!channel_ask(ch, type, buf_str(&b), NULL, 0, 60000, ignore_answer, NULL);
	else
		channel_notify(ch, type, buf_str(&b), &fd, type == NOTICE_ATTACH && !(how & 0x40));
}

static void step(struct world *w, struct end ends[OTHERS], struct scan *s)
{
	static const struct { int from; uint16_t type; bool is_request; } all[] = {
		{ GATE, NOTICE_ATTACH, false }, { GATE, NOTICE_WATCH, false }, { GATE, NOTICE_READY, false },
		{ QUEUE, NOTICE_WAKE, false }, { QUEUE, REQUEST_QUEUE_CELL_END, true }, { CONTROL, NOTICE_CONTROL_WAKE, false },
		{ CONTROL, REQUEST_CELL_END, true }, { CONTROL, NOTICE_EPOCH, false }, { CONTROL, REQUEST_ACCOUNT_FOLDER, true },
		{ CONTROL, REQUEST_ACCOUNT_REMOVE, true }, { NURSERY, NOTICE_EXITED, false }, { GATE, NOTICE_LOST, false },
		{ GATE, REQUEST_MAY_WAIT, true }, { CONTROL, NOTICE_SHARES_CHANGED, false },
		{ CONTROL, NOTICE_GAINED, false },
	};
	uint8_t what = get_u8(s), which = get_u8(s);

	switch (what % 8) {
	case 0: case 1: case 2:
		which %= COUNT_OF(all);
		say(w->other[all[which].from], all[which].type, all[which].is_request, s);
		break;
	case 3: case 4:
		answer(w, s);
		break;
	case 5:
		if (w->cell[which % CELLS] != NULL)
			say(w->cell[which % CELLS], which & 0x80 ? NOTICE_CHANGED : which & 0x40 ? REQUEST_VISIT : REQUEST_LEAVE, !(which & 0x80), s);
		break;
	case 6:  /* a cell, or a role with what it was asked, is gone */
		if (which & 0x80) {
			channel_free(w->cell[which % CELLS]);
			w->cell[which % CELLS] = NULL;
			break;
		}
		w->open_count = 0;
		cells_asker_gone(&w->master, w->master.roles[which % OTHERS].ch);
		connect_other(w, &ends[which % OTHERS]);
		cells_reconnect(&w->master, roles[which % OTHERS]);
		break;
	case 7:
		cells_tick(&w->master);
		if (which == 255)
			cells_notify(&w->master, NOTICE_LOG, 0);
		break;
	}
	rounds(w);
}

static void end(struct world *w)
{
	w->master.stops = true;
	cells_stop(&w->master);
	for (int i = 0; i < OTHERS; i++) {  /* what is asked ends with the channel */
		cells_asker_gone(&w->master, w->master.roles[i].ch);
		watch_forget(w->master.watch, w->master.roles[i].ch);
		channel_free(w->master.roles[i].ch);
		channel_free(w->other[i]);
		w->master.roles[i].ch = NULL;
	}
	for (uint32_t pid = 1; pid <= w->next_pid + 256; pid++)
		for (int i = 0; i < CELLS; i++)  /* a nursery may give one number twice */
			cells_collected(&w->master, (pid_t)pid, 0);
	assert(cells_left(&w->master) == 0);
	for (int i = 0; i < CELLS; i++)
		channel_free(w->cell[i]);
}

static void remove_folder(void) { test_dir_remove(folder); }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct world w = { .master = { .watch = watch_new(), .gates = 1, .cells_max = 3, .role_count = OTHERS } };
	struct end ends[OTHERS];
	struct scan s = scan_of(str_make(data, n));

	if (folder == NULL) {
		log_to_fd(-1);
		folder = test_dir();
		atexit(remove_folder);
		CLEANUP(arena_free) struct arena a = { 0 };
		assert(mkdir(str_cstr(&a, arena_printf(&a, "%s/accounts", folder)), 0700) == 0);
	}
	w.master.options.dir = folder;
	w.master.cell_uid = getuid();
	w.master.cell_gid = getgid();
	for (int i = 0; i < OTHERS; i++) {
		w.master.roles[i] = (struct running){ .master = &w.master, .role = roles[i] };
		ends[i] = (struct end){ &w, i };
		connect_other(&w, &ends[i]);
	}
	for (int i = 0; i < STEPS && !scan_done(&s); i++)
		step(&w, ends, &s);
	end(&w);
	map_free(&w.master.cells);
	map_free(&w.master.watches);
	map_free(&w.master.pairs);
	watch_free(w.master.watch);
	return 0;
}
