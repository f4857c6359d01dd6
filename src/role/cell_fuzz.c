/* A cell between gates, queue, control and master: grants good and bad, frames of sessions and parked ones, deliveries, commands. The
 * account stays from one life to the next while it is small. */
#include "base/bytes.h"
#include "directory/info.h"
#include "role/cell.h"
#include "role/role_fuzz.h"
#include "store/account_folder.h"
#include <sys/resource.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A cell's process ends with it; its channels and threads' stacks are not given back. */
const char *__asan_default_options(void);  /* NOLINT: the sanitizer's name */
const char *__asan_default_options(void) { return "detect_leaks=0"; }

static struct buf info = { .max = MESSAGE_BODY_MAX };

static void prepare(const char *dir)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf question = BUF(8);
	struct rlimit files = { 1 << 20, 1 << 20 };
	struct disk_dir *d;
	struct directory *directory;

	setrlimit(RLIMIT_NOFILE, &files);
	put_u64(&question, 1);
	assert(disk_dir_open(str_cstr(&a, arena_printf(&a, "%s/control", dir)), &d) == ERR_OK && directory_open(d, &directory) == ERR_OK);
	assert(account_info_serve(directory, buf_str(&question), &info) == ERR_OK);
	directory_close(directory);
	disk_dir_close(&d);
	assert(mkdir(str_cstr(&a, arena_printf(&a, "%s/accounts", dir)), 0700) == 0);
}

static void reset(const char *dir)
{
	static unsigned lives;
	char *path;

	if (lives++ % 50 != 0)
		return;
	path = mem_alloc(300);
	snprintf(path, 300, "%s/accounts/1", dir);
	test_dir_remove(path);
	assert(account_folder_make(dir, 1, getuid(), getgid()) == ERR_OK);
}

static void *main_of_cell(void *context)
{
	const struct role_start *start = context;
	int ends[2];

	assert(pipe(ends) == 0 && write(ends[1], fuzz_key, GRANT_KEY_SIZE) == GRANT_KEY_SIZE);
	close(ends[1]);
	const struct cell_start cell = { .account = 1, .epoch = 3, .master_fd = start->master_fd, .key_fd = ends[0], .dir = start->dir };
	return (void *)(intptr_t)role_cell(&cell);
}

/* The answer to ACCOUNT_INFO; or the end of a delivery whose sum is right. */
static void put_right(struct fuzz_world *w, struct buf *b)
{
	CLEANUP(buf_free) struct buf room = BUF(FUZZ_BODY_MAX);

	if (w->row->type == REQUEST_ACCOUNT_INFO) {
		buf_add(b, buf_str(&info));
		return;
	}
	struct str body = fuzz_string(&w->in, &room);
	put_u64(b, body.n);
	put_u32(b, crc32c(0, body.p, body.n));
	put_u8(b, 0);
	put_str(b, body);
}

static const char *const words[] = {
	"a1 SELECT INBOX\r\n", "a2 FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE)\r\n", "a3 IDLE\r\n", "DONE\r\n", "a4 APPEND INBOX {3+}\r\nabc\r\n",
	"a5 STORE 1:* +FLAGS (\\Deleted)\r\n", "a6 EXPUNGE\r\n", "a7 LOGOUT\r\n", "a8 COMPRESS DEFLATE\r\n", "a9 UNAUTHENTICATE\r\n", "STAT\r\n",
	"RETR 1\r\n", "DELE 1\r\n", "QUIT\r\n", "EHLO x\r\n", "MAIL FROM:<alice@example.test>\r\n", "RCPT TO:<bob@example.test>\r\n", "DATA\r\n",
	"From: alice@example.test\r\n\r\nx\r\n.\r\n", "RSET\r\n", "b1 SELECT INBOX (QRESYNC (1 1))\r\n", "b2 ENABLE QRESYNC\r\n", "b3 COPY 1 Trash\r\n",
	"b4 SETACL INBOX bob lr\r\n", "b5 GETACL INBOX\r\n", "b6 DELETEACL INBOX bob\r\n", NULL
};

static const struct fuzz_row rows[] = {
	{ FUZZ_ANSWER, ROLE_CONTROL, REQUEST_ACCOUNT_INFO, "X" },
	{ FUZZ_SEND, ROLE_MASTER, NOTICE_CELL_ATTACH, "=1P" },
	{ FUZZ_FRAME, ROLE_GATE, FRAME_OPEN, "g%6bbs22sss=0=0=0=0" },
	{ FUZZ_FRAME, ROLE_GATE, FRAME_OPEN, "g=3=0=0s22sss=0=0=0=0" },
	{ FUZZ_FRAME, ROLE_GATE, FRAME_DATA, "w" },
	{ FUZZ_FRAME, ROLE_GATE, FRAME_DATA, "ww" },
	{ FUZZ_FRAME, ROLE_GATE, FRAME_DATA, "r" },
	{ FUZZ_FRAME, ROLE_GATE, FRAME_OPEN, "g%6bbs22ssss" },
	{ FUZZ_FRAME, ROLE_GATE, FRAME_OPEN, "r" },
	{ FUZZ_FRAME, ROLE_GATE, FRAME_EOF, "" },
	{ FUZZ_FRAME, ROLE_GATE, FRAME_STATE, "4g%6s" },
	{ FUZZ_FRAME, ROLE_GATE, FRAME_STATE, "r" },
	{ FUZZ_FRAME, ROLE_GATE, 99, "r" },
	{ FUZZ_SEND, ROLE_MASTER, NOTICE_CELL_ATTACH, "%3P" },
	{ FUZZ_SEND, ROLE_MASTER, NOTICE_CELL_WATCHED, "bb" },
	{ FUZZ_SEND, ROLE_MASTER, NOTICE_CELL_ATTACH, "=38P" },
	{ FUZZ_SEND, ROLE_MASTER, NOTICE_CELL_EPOCH, "a4" },
	{ FUZZ_SEND, ROLE_QUEUE, REQUEST_DELIVER, "=1a88b(88288884sss8bbX)" },
	{ FUZZ_SEND, ROLE_QUEUE, REQUEST_DELIVER, "=1a88b(88288884sss8bb84=1=0)F" },
	{ FUZZ_SEND, ROLE_QUEUE, REQUEST_DELIVER, "=2[a88b(88288884sss8bb84%2s)]" },
	{ FUZZ_SEND, ROLE_QUEUE, REQUEST_DELIVER, "r" },
	{ FUZZ_SEND, ROLE_QUEUE, REQUEST_CELL_SYNC, "" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_CELL_COMMAND, "=14" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_CELL_COMMAND, "%5s8" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_CELL_COMMAND, "%588" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_CELL_COMMAND, "=74" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_CELL_COMMAND, "=84" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_CELL_COMMAND, "=9s%48ssb2b" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_CELL_COMMAND, "=;4" },
	{ FUZZ_ANSWER, ROLE_CONTROL, REQUEST_SUBJECT, "%4ass" },
	{ FUZZ_ANSWER, ROLE_CONTROL, REQUEST_GUEST, "sb(s)" },
	{ FUZZ_ANSWER, ROLE_CONTROL, REQUEST_SHARES, "" },
	{ FUZZ_ANSWER, ROLE_CONTROL, REQUEST_SHARED, "8(as)" },
	{ FUZZ_ANSWER, ROLE_CONTROL, REQUEST_SENDING, "bb" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_CELL_COMMAND, "r" },
	{ FUZZ_ANSWER, ROLE_CONTROL, REQUEST_ACCOUNT_INFO, "asssbb8488(s)r" },
	{ FUZZ_ANSWER, ROLE_CONTROL, REQUEST_RESOLVE, "%3bbb4" },
	{ FUZZ_ANSWER, ROLE_QUEUE, REQUEST_ADD, "88" },
	{ FUZZ_ANSWER, ROLE_QUEUE, REQUEST_SPOOL, "8F" },
	{ FUZZ_ANSWER, ROLE_QUEUE, REQUEST_CELL_REPLAYED, "" },
	{ FUZZ_ANSWER, ROLE_MASTER, REQUEST_LEAVE, "" },
	{ FUZZ_SEND, ROLE_MASTER, NOTICE_CONNECT, "14P" },
	{ FUZZ_HANG_UP, ROLE_GATE, 0, NULL },
	{ FUZZ_DIE, ROLE_QUEUE, 0, NULL },
	{ FUZZ_DIE, ROLE_CONTROL, 0, NULL },
	{ FUZZ_SEND, ROLE_CONTROL, NOTICE_TELL_USAGE, "" },
};

static const struct fuzz_role cell = { .role = ROLE_CELL, .rows = rows, .row_count = COUNT_OF(rows), .prepare = prepare, .reset = reset,
                                       .main = main_of_cell, .words = words, .hook = put_right, .before = "A" };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) { return role_fuzz(&cell, data, n); }
