/* role/role_fuzz.h -- a role against neighbours that were taken over. The role runs whole, in a thread, as it does behind `serve`; the
 * input is a program for everybody around it: what they ask, tell and answer, which descriptors they send, when they die, what clients
 * say on its ports and cells on its sessions. Rows of a table say what each of them may send and of which values it is made, so that
 * the bytes of the input reach the handlers and not only the first check of a channel (ipc/channel_fuzz.c has that).
 *
 * A step is: which row, then its values. A value is a byte that chooses a small number or a word, or says that raw bytes follow. In a
 * shape each letter is a value:
 *   1 2 4 8 b  u8 … u64, bool      s  string      r  bytes as they are      a  u64: an account's number      h  32 bytes
 *   =X  u8, the digit X   %X  u8, mostly 0 … X   {…}  a string with this in it   (…)  u32 count, and this so many times
 *   v  u64: the version of the directory
 *   w  words of the role's own, as they are                                      X  what the role's hook writes
 *   g  a grant that is good for a1 as far as the fuzzer's key is            D  fd: the directory   M  fd: a sealed memfd of bytes
 *   [ … ]  fd: a sealed memfd with this in it      P  fd: one end of a pair, the other is ours    F  fd: an empty file
 * Whatever is sent, the role does not crash, and stops within STOP_MAX_MS when master says so. */
#ifndef FACTEUR_ROLE_ROLE_FUZZ_H
#define FACTEUR_ROLE_ROLE_FUZZ_H
#include "admin/wire.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/test.h"
#include "directory/directory.h"
#include "directory/lookup.h"
#include "ipc/frame.h"
#include "ipc/grant.h"
#include "role/role.h"
#include <arpa/inet.h>
#include <assert.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { FUZZ_CELLS = 2, FUZZ_PAIRS = 6, FUZZ_CLIENTS = 3, FUZZ_PENDING = 64, FUZZ_STEPS = 60, FUZZ_BODY_MAX = 200000,
       FUZZ_ANSWER_MS = 3, READ_MS = 2000, BUSY_MS = 50, STOP_MAX_MS = 20000 };

enum fuzz_what {
	FUZZ_SEND,        /* a request or notice */
	FUZZ_ANSWER,      /* the answer to the oldest open question of this type */
	FUZZ_FRAME,       /* a frame on one of the session pairs we hold; type: enum frame */
	FUZZ_SAY,         /* a client says something; it connects first if it has to */
	FUZZ_HANG_UP,     /* a client, or a pair, is closed */
	FUZZ_DIE,         /* the neighbour is gone; the next thing it says comes over a new channel */
};

struct fuzz_row {
	enum fuzz_what what;
	enum role      from;    /* of the neighbour; ROLE_CELL: a byte says which */
	uint16_t       type;
	const char    *shape;
};

struct fuzz_world;

struct fuzz_role {
	enum role    role;
	const struct fuzz_row *rows;
	size_t       row_count;
	enum protocol listens;              /* 0: it has no port */
	void       (*prepare)(const char *dir);   /* once: what must lie in the data folder */
	void      *(*main)(void *start);    /* the thread; NULL: role_run() */
	void       (*reset)(const char *dir);     /* before each input */
	const char *const *words;           /* ends with NULL */
	void       (*hook)(struct fuzz_world *w, struct buf *b);
	const char  *before;                /* rows run before the input, each a letter from 'A'; with values of zeros */
};

struct fuzz_question { struct channel *ch; uint16_t type; uint32_t call; };

static const char *fuzz_dir;
static int fuzz_directory = -1;             /* the look-up memfd */
static uint64_t fuzz_version;
static uint8_t fuzz_hash[32];               /* what a shape's h is, mostly: of a key that there is */
static const uint8_t fuzz_key[GRANT_KEY_SIZE] = "the key of the accounts' grants";

struct fuzz_world {
	const struct fuzz_role *role;
	struct scan      in;
	struct channel  *peer[ROLE_COUNT], *cell[FUZZ_CELLS];
	struct fuzz_question open[FUZZ_PENDING];
	size_t           open_count;
	int              asked;             /* our questions without an answer yet */
	int              pairs[FUZZ_PAIRS], clients[FUZZ_CLIENTS];
	size_t           pair_next;
	int              port;
	bool             is_ready;
	const struct fuzz_row *row;         /* this step's */
	struct buf       heard;             /* the body of the newest question */
};

/* ---- values ---- */

static const char *const fuzz_words[] = {
	"", "alice@example.test", "bob@example.test", "alice", "secret", "127.0.0.1", "192.0.2.7", "staff@example.test", "postmaster",
	"info@example.test", "carol@elsewhere.test", "alice+shop@example.test", "INBOX", "Trash", "a1 LOGIN", "2.0.0", "TLSv1.3 X",
	"n,,n=alice,r=abcdef", "r=abcdefGHI,s=c2FsdA==,i=4096", "c=biws,r=abcdefGHI", "\xc3\xa9t\xc3\xa9@example.test", "2001:db8::1",
	"Subject: x\r\n\r\nbody\r\n", "From: a@b\r\nTo: c@d\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhello\r\n--x--\r\n",
};

static uint64_t fuzz_number(struct scan *in)
{
	uint8_t v = get_u8(in);

	return v < 0xf0 ? v : v == 0xff ? UINT64_MAX : v == 0xfe ? (uint64_t)clock_wall_s() : get_u64(in);
}

static struct str fuzz_bytes(struct scan *in, size_t n) { return scan_bytes(in, n < scan_left(in) ? n : scan_left(in)); }

static struct str fuzz_string(struct scan *in, struct buf *room)
{
	uint8_t v = get_u8(in);

	if (v < COUNT_OF(fuzz_words))
		return str_of(fuzz_words[v]);
	if (v < 0xf8)
		return fuzz_bytes(in, v - COUNT_OF(fuzz_words));
	buf_reset(room);
	for (size_t n = (size_t)get_u8(in) << (v & 7), c = get_u8(in); n > 0; n--)
		buf_add_char(room, (char)c);
	return buf_str(room);
}

struct fuzz_fds { int fd[MESSAGE_FDS_MAX]; int n; };

static void fuzz_add_fd(struct fuzz_fds *fds, int fd)
{
	if (fds->n < MESSAGE_FDS_MAX && fd >= 0)
		fds->fd[fds->n++] = fd;
	else if (fd >= 0)
		close(fd);
}

static void fuzz_keep_pair(struct fuzz_world *w, int fd)
{
	int *slot = &w->pairs[w->pair_next++ % FUZZ_PAIRS];

	fd_close(slot);
	*slot = fd;
}

static int fuzz_pair(struct fuzz_world *w)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -1;
	fuzz_keep_pair(w, pair[0]);
	return pair[1];
}

static int fuzz_memfd(struct str bytes)
{
	int fd = -1;

	return memfd_make("fuzz", bytes, &fd) == ERR_OK ? fd : -1;
}

static void fuzz_put_grant(struct scan *in, struct buf *b)
{
	struct grant g = { .account = 1, .rights = ~0u, .expires_s = INT64_MAX, .epoch = 9, .session = 1 };
	uint8_t wrong = get_u8(in);

	if (wrong & 0x80)
		g.rights = wrong & 0x7f;
	if (wrong & 0x40)
		g.account = 2;
	grant_sign(&g, fuzz_key);
	if (wrong & 0x20)
		g.mac[0] ^= 1;
	put_grant(b, &g);
}

static struct str fuzz_word(struct fuzz_world *w)
{
	size_t n = 0;

	while (w->role->words[n] != NULL)
		n++;
	return str_of(w->role->words[get_u8(&w->in) % n]);  /* NOLINT(clang-analyzer-core.DivideZero): each role has some */
}

static void fuzz_put_hash(struct scan *in, struct buf *b)
{
	uint8_t v = get_u8(in);
	struct str raw = v == 0 ? str_make(fuzz_hash, sizeof fuzz_hash) : fuzz_bytes(in, sizeof fuzz_hash);

	buf_add(b, raw);
	for (size_t n = raw.n; n < sizeof fuzz_hash; n++)
		buf_add_char(b, (char)v);
}

/* Writes the values of a shape up to its end or closing bracket; where that was. */
static const char *fuzz_put(struct fuzz_world *w, const char *shape, struct buf *b, struct fuzz_fds *fds)
{
	CLEANUP(buf_free) struct buf inner = BUF(FUZZ_BODY_MAX), room = BUF(FUZZ_BODY_MAX);
	struct scan *in = &w->in;
	const char *again = shape;
	uint32_t n;

	for (; *shape != '\0' && *shape != ')' && *shape != '}' && *shape != ']'; shape++) {
		switch (*shape) {
		case '1': put_u8(b, get_u8(in)); break;
		case '2': put_u16(b, (uint16_t)fuzz_number(in)); break;
		case '4': put_u32(b, (uint32_t)fuzz_number(in)); break;
		case '8': put_u64(b, fuzz_number(in)); break;
		case 'a': put_u64(b, (n = get_u8(in)) < 0xf0 ? n % 3 + 1 : fuzz_number(in)); break;
		case 'b': put_u8(b, get_u8(in) % 2); break;
		case 's': put_str(b, fuzz_string(in, &room)); break;
		case 'r': buf_add(b, fuzz_string(in, &room)); break;
		case 'h': fuzz_put_hash(in, b); break;
		case '=': put_u8(b, (uint8_t)(*++shape - '0')); break;
		case '%': n = get_u8(in), shape++; put_u8(b, (uint8_t)(n < 0xf0 ? n % (uint32_t)(*shape - '0' + 1) : n)); break;
		case 'v': put_u64(b, fuzz_version + get_u8(in) / 0xf0); break;
		case 'w': buf_add(b, fuzz_word(w)); break;
		case 'X': w->role->hook(w, b); break;
		case 'g': fuzz_put_grant(in, b); break;
		case 'D': fuzz_add_fd(fds, dup(fuzz_directory)); break;
		case 'M': fuzz_add_fd(fds, fuzz_memfd(fuzz_string(in, &room))); break;
		case 'P': fuzz_add_fd(fds, fuzz_pair(w)); break;
		case 'F': fuzz_add_fd(fds, memfd_create("file", MFD_CLOEXEC)); break;
		case '{':
			buf_reset(&inner);
			shape = fuzz_put(w, shape + 1, &inner, fds);
			put_str(b, buf_str(&inner));
			break;
		case '[':
			buf_reset(&inner);
			shape = fuzz_put(w, shape + 1, &inner, fds);
			fuzz_add_fd(fds, fuzz_memfd(buf_str(&inner)));
			break;
		case '(':
			n = get_u8(in) % 5;
			put_u32(b, n);
			for (uint32_t i = 0; i <= n; i++) {  /* one more into nothing: where it ends */
				buf_reset(&inner);
				again = fuzz_put(w, shape + 1, i < n ? b : &inner, i < n ? fds : &(struct fuzz_fds){ .n = MESSAGE_FDS_MAX });
			}
			shape = again;
			break;
		default: assert(!"a letter of a shape"); break;
		}
	}
	return shape;
}

/* ---- neighbours ---- */

static void fuzz_heard(void *context, struct channel *ch, struct message *m)
{
	struct fuzz_world *w = context;

	if (m->type == NOTICE_READY)
		w->is_ready = true;
	buf_reset(&w->heard);
	buf_add(&w->heard, m->body);
	if (m->call != 0 && w->open_count < FUZZ_PENDING)
		w->open[w->open_count++] = (struct fuzz_question){ ch, m->type, m->call };
	if (m->type == NOTICE_ATTACH && m->fd_count == 1) {
		fuzz_keep_pair(w, m->fds[0]);
		m->fds[0] = -1;
	}
}

static const struct channel_handler fuzz_handlers[] = {
#define REQUEST(name, number, sender, receiver, largest) { REQUEST_##name, fuzz_heard },
#define NOTICE(name, number, sender, receiver, largest) { NOTICE_##name, fuzz_heard },
#include "ipc/requests.def"
#undef REQUEST
#undef NOTICE
	{ 0 },
};

static void fuzz_forget(struct fuzz_world *w, struct channel **ch)
{
	size_t kept = 0;

	for (size_t i = 0; i < w->open_count; i++)
		if (w->open[i].ch != *ch)
			w->open[kept++] = w->open[i];
	w->open_count = kept;
	channel_free(*ch);
	*ch = NULL;
}

/* The neighbour's end, connected by master if it is not yet. NULL: this role has no such neighbour. */
static struct channel *fuzz_peer(struct fuzz_world *w, enum role from)
{
	CLEANUP(buf_free) struct buf b = BUF(64);
	size_t cell = from == ROLE_CELL ? get_u8(&w->in) % FUZZ_CELLS : 0;
	struct channel **ch = from == ROLE_CELL ? &w->cell[cell] : &w->peer[from];
	uint16_t how = from != ROLE_CELL ? NOTICE_CONNECT : w->role->role == ROLE_QUEUE ? NOTICE_CELL_CHANNEL : NOTICE_CONTROL_CELL;
	int pair[2];

	if (*ch != NULL && channel_is_open(*ch))
		return *ch;
	if (*ch != NULL && from == ROLE_MASTER)
		return NULL;
	fuzz_forget(w, ch);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		return NULL;
	if (from == ROLE_CELL) {
		put_u64(&b, cell + 1);
	} else {
		put_u8(&b, (uint8_t)from);
		put_u32(&b, 0);
	}
	channel_notify(w->peer[ROLE_MASTER], how, buf_str(&b), &pair[1], 1);
	close(pair[1]);
	*ch = channel_new(pair[0], from, w->role->role, fuzz_handlers, w, NULL);
	return *ch;
}

static size_t fuzz_all(struct fuzz_world *w, struct channel *all[ROLE_COUNT + FUZZ_CELLS])
{
	size_t n = 0;

	for (size_t i = 0; i < ROLE_COUNT; i++)
		if (w->peer[i] != NULL)
			all[n++] = w->peer[i];
	for (size_t i = 0; i < FUZZ_CELLS; i++)
		if (w->cell[i] != NULL)
			all[n++] = w->cell[i];
	return n;
}

static void fuzz_pump(struct fuzz_world *w)
{
	struct channel *all[ROLE_COUNT + FUZZ_CELLS];
	size_t n = fuzz_all(w, all);

	for (size_t i = 0; i < n; i++) {
		channel_flush(all[i]);
		(void)channel_receive(all[i]);
	}
}

/* Is anything that we have sent still unread? */
static bool fuzz_is_unread(struct fuzz_world *w)
{
	struct channel *all[ROLE_COUNT + FUZZ_CELLS];
	size_t n = fuzz_all(w, all);

	for (size_t i = 0; i < n; i++) {
		int left = 0;
		if (channel_is_open(all[i]) && ioctl(channel_fd(all[i]), SIOCOUTQ, &left) == 0 && left > 0)
			return true;
	}
	return false;
}

/* Until all is read, and for a moment more while an answer is missing. */
static void fuzz_settle(struct fuzz_world *w, int asked_before, int answer_ms, int read_ms)
{
	int64_t begin = clock_mono_ms(), now = begin;

	do {
		fuzz_pump(w);
		if (!fuzz_is_unread(w) && (w->asked <= asked_before || now > begin + answer_ms))
			return;
		usleep(20);
		now = clock_mono_ms();
	} while (now < begin + read_ms);
}

static void fuzz_answered(void *context, UNUSED struct message *m) { ((struct fuzz_world *)context)->asked--; }

static bool fuzz_is_notice(uint16_t type)
{
	switch (type) {
#define REQUEST(name, number, sender, receiver, largest)
#define NOTICE(name, number, sender, receiver, largest) case number:
#include "ipc/requests.def"
#undef REQUEST
#undef NOTICE
		return true;
	default:
		return false;
	}
}

/* ---- clients ---- */

static int fuzz_client(struct fuzz_world *w)
{
	int *fd = &w->clients[get_u8(&w->in) % FUZZ_CLIENTS];
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)w->port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
	const struct linger at_once = { 1, 0 };

	if (*fd >= 0 || w->role->listens == 0)
		return *fd;
	if (w->role->listens == PROTOCOL_ADMIN)
		return admin_connect(fuzz_dir, fd) == ERR_OK ? *fd : -1;
	*fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(*fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);  /* no port waits for late segments */
	if (connect(*fd, (struct sockaddr *)&a, sizeof a) < 0)
		fd_close(fd), *fd = -1;
	return *fd;
}

static void fuzz_drain(const int *fds, size_t n)
{
	char room[FRAME_MAX];

	for (size_t i = 0; i < n; i++)
		while (fds[i] >= 0 && recv(fds[i], room, sizeof room, MSG_DONTWAIT) > 0)
			;
}

static void fuzz_listen(struct fuzz_world *w)
{
	CLEANUP(buf_free) struct buf b = BUF(16);
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct sockaddr_un path = { .sun_family = AF_UNIX };
	bool is_path = w->role->listens == PROTOCOL_ADMIN;
	socklen_t n = sizeof a;
	CLEANUP(fd_close) int fd = socket(is_path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(path.sun_path, sizeof path.sun_path, "%s/admin.sock", fuzz_dir);
	if (is_path)
		unlink(path.sun_path);
	if (bind(fd, is_path ? (struct sockaddr *)&path : (struct sockaddr *)&a, is_path ? sizeof path : n) < 0 || listen(fd, 10) < 0)
		return;
	if (!is_path && getsockname(fd, (struct sockaddr *)&a, &n) == 0)
		w->port = ntohs(a.sin_port);
	put_u8(&b, (uint8_t)w->role->listens);
	put_bool(&b, false);
	put_u16(&b, (uint16_t)w->port);
	channel_notify(w->peer[ROLE_MASTER], NOTICE_LISTEN, buf_str(&b), &fd, 1);
}

/* ---- steps ---- */

static void fuzz_send(struct fuzz_world *w, const struct fuzz_row *row, struct channel *ch, struct str body, const struct fuzz_fds *fds)
{
	if (fuzz_is_notice(row->type))
		channel_notify(ch, row->type, body, fds->fd, fds->n);
	else if (channel_ask(ch, row->type, body, fds->fd, fds->n, 60000, fuzz_answered, w) == ERR_OK)
		w->asked++;
}

static void fuzz_answer(struct fuzz_world *w, const struct fuzz_row *row, struct channel *ch, struct str body, const struct fuzz_fds *fds)
{
	uint8_t status = get_u8(&w->in);

	for (size_t i = 0; i < w->open_count; i++) {
		if (w->open[i].ch != ch || w->open[i].type != row->type)
			continue;
		channel_reply(ch, w->open[i].call, status < 0x80 ? ERR_OK : (enum err)(status & 15), body, fds->fd, fds->n);
		memmove(&w->open[i], &w->open[i + 1], (--w->open_count - i) * sizeof w->open[0]);
		return;
	}
}

/* Some are as large as a cell's are for its gate, which is more than an input has bytes. */
static void fuzz_frame(struct fuzz_world *w, uint16_t type, struct str body)
{
	static const char more[FRAME_LARGE_DATA_MAX];
	uint8_t which = get_u8(&w->in);
	int fd = w->pairs[which % FUZZ_PAIRS];

	body = str_sub(body, 0, FRAME_DATA_MAX);
	if (fd >= 0)
		(void)!frame_send_both(fd, (enum frame)type, body, which & 0x80 ? str_make(more, sizeof more - body.n) : STR_NONE, 0);
}

static void fuzz_hang_up(struct fuzz_world *w)
{
	uint8_t which = get_u8(&w->in);
	int *fd = which & 0x80 ? &w->pairs[which % FUZZ_PAIRS] : &w->clients[which % FUZZ_CLIENTS];

	fd_close(fd);
	*fd = -1;
}

static void fuzz_step(struct fuzz_world *w, const struct fuzz_row *row)
{
	CLEANUP(buf_free) struct buf body = BUF(FUZZ_BODY_MAX);
	struct fuzz_fds fds = { .n = 0 };
	struct channel *ch = NULL;
	int asked = w->asked;

	w->row = row;
	if (row->what == FUZZ_SEND || row->what == FUZZ_ANSWER || row->what == FUZZ_DIE)
		if ((ch = fuzz_peer(w, row->from)) == NULL)
			return;
	if (row->shape != NULL)
		fuzz_put(w, row->shape, &body, &fds);
	switch (row->what) {
	case FUZZ_SEND:    fuzz_send(w, row, ch, buf_str(&body), &fds); break;
	case FUZZ_ANSWER:  fuzz_answer(w, row, ch, buf_str(&body), &fds); break;
	case FUZZ_FRAME:   fuzz_frame(w, row->type, buf_str(&body)); break;
	case FUZZ_SAY:     (void)!send(fuzz_client(w), body.p, body.n, MSG_DONTWAIT | MSG_NOSIGNAL); break;
	case FUZZ_HANG_UP: fuzz_hang_up(w); break;
	case FUZZ_DIE:     fuzz_forget(w, row->from == ROLE_CELL ? &w->cell[ch == w->cell[1]] : &w->peer[row->from]); break;
	}
	for (int i = 0; i < fds.n; i++)
		close(fds.fd[i]);
	fuzz_drain(w->pairs, FUZZ_PAIRS);
	fuzz_drain(w->clients, FUZZ_CLIENTS);
	fuzz_settle(w, asked, FUZZ_ANSWER_MS, BUSY_MS);  /* it may wait for a neighbour */
}

/* ---- a life ---- */

static void fuzz_make_directory(void)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf bytes = BUF(1 << 20);
	struct directory_address alice, bob, staff, info, carol;
	struct disk_dir *dir;
	struct directory *d;
	uint64_t account;
	const char *path = str_cstr(&a, arena_printf(&a, "%s/control", fuzz_dir));

	assert(mkdir(path, 0700) == 0 && disk_dir_open(path, &dir) == ERR_OK && directory_open(dir, &d) == ERR_OK);
	assert(directory_address_parse(STR("alice@example.test"), &a, &alice) && directory_address_parse(STR("bob@example.test"), &a, &bob) &&
	       directory_address_parse(STR("staff@example.test"), &a, &staff) && directory_address_parse(STR("info@example.test"), &a, &info) &&
	       directory_address_parse(STR("carol@elsewhere.test"), &a, &carol));
	const struct directory_address targets[] = { alice, bob, carol };
	assert(domain_add(d, STR("example.test")) == ERR_OK && account_add(d, &alice, STR("Alice"), false, &account) == ERR_OK &&
	       account_add(d, &bob, STR("Bob"), true, &account) == ERR_OK && printer_add(d, STR("192.0.2.7"), 1) == ERR_OK &&
	       name_add(d, &staff, NAME_ALIAS, targets, 3) == ERR_OK && name_add(d, &info, NAME_ALIAS, targets, 1) == ERR_OK &&
	       setting_store(d, SCOPE_SERVER, STR(""), SETTING_plain_login_loopback, STR("on")) == ERR_OK &&
	       setting_store(d, SCOPE_SERVER, STR(""), SETTING_scram, STR("on")) == ERR_OK &&
	       setting_store(d, SCOPE_SERVER, STR(""), SETTING_queue_segments, STR("4")) == ERR_OK &&
	       setting_store(d, SCOPE_SERVER, STR(""), SETTING_queue_segment_size, STR("1MB")) == ERR_OK);
	assert(lookup_build(d, directory_version(d), &bytes) == ERR_OK && memfd_make("directory", buf_str(&bytes), &fuzz_directory) == ERR_OK);
	fuzz_version = directory_version(d);
	directory_close(d);
	disk_dir_close(&dir);
}

static void fuzz_remove_dir(void) { test_dir_remove(fuzz_dir); }

static void fuzz_begin(const struct fuzz_role *role)
{
	signal(SIGPIPE, SIG_IGN);
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	log_setup("fuzz", LOG_LEVEL_ERROR, false);
	if (getenv("FACTEUR_LOG") == NULL)
		log_to_fd(-1);  /* every refusal is a line */
	fuzz_dir = test_dir();
	atexit(fuzz_remove_dir);
	fuzz_make_directory();
	if (role->prepare != NULL)
		role->prepare(fuzz_dir);
}

static void *fuzz_main(void *start) { return (void *)(intptr_t)role_run(start); }

/* Nobody answers any more; master says STOP. */
static void fuzz_stop(struct fuzz_world *w, pthread_t thread)
{
	int64_t until = clock_mono_ms() + STOP_MAX_MS;
	void *code;

	for (size_t i = 0; i < FUZZ_CLIENTS; i++)
		fd_close(&w->clients[i]);
	for (size_t i = 0; i < FUZZ_PAIRS; i++)
		fd_close(&w->pairs[i]);
	for (size_t i = 0; i < FUZZ_CELLS; i++)
		fuzz_forget(w, &w->cell[i]);
	for (enum role r = ROLE_MASTER + 1; r < ROLE_COUNT; r++)
		fuzz_forget(w, &w->peer[r]);
	while (pthread_tryjoin_np(thread, &code) != 0) {
		channel_notify(w->peer[ROLE_MASTER], NOTICE_STOP, STR(""), NULL, 0);  /* again and again: no loop waits for its next tick */
		if (clock_mono_ms() > until) {
			fprintf(stderr, "the role does not stop\n");
			abort();
		}
		fuzz_pump(w);
		usleep(500);
	}
	fuzz_forget(w, &w->peer[ROLE_MASTER]);
}

static void fuzz_await(struct fuzz_world *w, const struct fuzz_row *row)
{
	int64_t until = clock_mono_ms() + STOP_MAX_MS;

	fuzz_peer(w, row->from);
	while ((w->open_count == 0 || w->open[w->open_count - 1].type != row->type) && clock_mono_ms() < until) {
		fuzz_pump(w);
		usleep(20);
	}
}

static void fuzz_prologue(struct fuzz_world *w)
{
	struct scan input = w->in;

	for (const char *row = w->role->before; row != NULL && *row != '\0'; row++) {
		static const char zeros[64];
		w->in = scan_of(str_make(zeros, sizeof zeros));
		if (w->role->rows[*row - 'A'].what == FUZZ_ANSWER)
			fuzz_await(w, &w->role->rows[*row - 'A']);
		fuzz_step(w, &w->role->rows[*row - 'A']);
		fuzz_settle(w, 0, READ_MS, READ_MS);
	}
	w->in = input;
}

static int role_fuzz(const struct fuzz_role *role, const uint8_t *data, size_t n)
{
	struct fuzz_world w = { .role = role, .in = scan_of(str_make(data, n)), .pairs = { -1, -1, -1, -1, -1, -1 }, .clients = { -1, -1, -1 },
	                        .heard = BUF(MESSAGE_BODY_MAX) };
	struct role_start start = { .role = role->role };
	pthread_t thread;
	int pair[2];

	if (fuzz_dir == NULL)
		fuzz_begin(role);
	start.dir = fuzz_dir;
	if (role->reset != NULL)
		role->reset(fuzz_dir);
	assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
	start.master_fd = pair[1];
	w.peer[ROLE_MASTER] = channel_new(pair[0], ROLE_MASTER, role->role, fuzz_handlers, &w, NULL);
	if (role->listens)
		fuzz_listen(&w);
	assert(pthread_create(&thread, NULL, role->main ? role->main : fuzz_main, &start) == 0);
	fuzz_prologue(&w);
	for (int i = 0; i < FUZZ_STEPS && !scan_done(&w.in) && channel_is_open(w.peer[ROLE_MASTER]); i++)
		fuzz_step(&w, &role->rows[get_u8(&w.in) % role->row_count]);
	fuzz_stop(&w, thread);
	buf_free(&w.heard);
	return 0;
}
#endif
