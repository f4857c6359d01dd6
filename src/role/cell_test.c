/* A cell as a whole, with master and control played by the test: what comes while its account is still being opened. What it does for sessions
 * and deliveries is tested where it is done, and in tests/system. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/test.h"
#include "directory/directory.h"
#include "directory/info.h"
#include "ipc/channel.h"
#include "ipc/grant.h"
#include "role/cell.h"
#include "store/account_folder.h"
#include "store/view.h"
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATIENCE_MS = 30000 };

struct world {
	pthread_t         thread;
	struct cell_start start;
	struct channel   *master, *control;
	struct buf        info;      /* control's answer about the account */
	bool              is_ready;
	uint64_t          told;      /* the modseq of its last CHANGED */
};

static void *cell_main(void *context) { return (void *)(intptr_t)role_cell(&((struct world *)context)->start); }

static void on_ready(void *context, UNUSED struct channel *ch, UNUSED struct message *m) { ((struct world *)context)->is_ready = true; }

static void on_info(void *context, struct channel *ch, struct message *m)
{
	channel_reply(ch, m->call, ERR_OK, buf_str(&((struct world *)context)->info), NULL, 0);
}

static void on_changed(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct scan s = scan_of(m->body);

	get_u64(&s);
	((struct world *)context)->told = get_u64(&s);
}

static void ignore(UNUSED void *context, UNUSED struct channel *ch, UNUSED struct message *m) {}

static const struct channel_handler master_side[] = { { NOTICE_READY, on_ready }, { NOTICE_CHANGED, on_changed }, { 0 } };
static const struct channel_handler control_side[] = { { REQUEST_ACCOUNT_INFO, on_info }, { NOTICE_USAGE, ignore }, { 0 } };

static void make_account(struct world *w)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf question = BUF(8);
	struct directory_address alice;
	char path[300];
	struct disk_dir *d;
	struct directory *directory;
	uint64_t account;

	snprintf(path, sizeof path, "%s/accounts", w->start.dir);
	assert_int_equal(mkdir(path, 0700), 0);
	EXPECT_OK(account_folder_make(w->start.dir, 1, getuid(), getgid()));
	snprintf(path, sizeof path, "%s/control", w->start.dir);
	assert_int_equal(mkdir(path, 0700), 0);
	EXPECT_OK(disk_dir_open(path, &d));
	EXPECT_OK(directory_open(d, &directory));
	EXPECT_OK(domain_add(directory, STR("example.test")));
	EXPECT(directory_address_parse(STR("alice@example.test"), &a, &alice));
	EXPECT_OK(account_add(directory, &alice, STR(""), false, &account));
	put_u64(&question, account);
	EXPECT_OK(account_info_serve(directory, buf_str(&question), &w->info));
	directory_close(directory);
	disk_dir_close(&d);
}

/* It has changed something, and was killed. */
static void live_and_die(struct world *w)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct view *v;
	char path[300];

	snprintf(path, sizeof path, "%s/accounts/1", w->start.dir);
	EXPECT_OK(view_open(path, &(struct view_config){ .account = 1 }, &v));
	EXPECT_OK(view_mailbox_create(v, STR("new"), MAILBOX_PLAIN, &a, NULL));
	view_close_unclean(v);
}

/* The cell waits for control: it has no account yet. */
static void begin(struct world *w, bool was_killed)
{
	static const uint8_t key[GRANT_KEY_SIZE] = "the key of the account's grants";
	int pair[2], ends[2];

	*w = (struct world){ .info = BUF(MESSAGE_BODY_MAX), .start = { .account = 1, .dir = test_dir() } };
	make_account(w);
	if (was_killed)
		live_and_die(w);
	w->start.is_watched = was_killed;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], key, sizeof key), sizeof key);
	close(ends[1]);
	w->start.master_fd = pair[1];
	w->start.key_fd = ends[0];
	w->master = channel_new(pair[0], ROLE_MASTER, ROLE_CELL, master_side, w, NULL);
	pthread_create(&w->thread, NULL, cell_main, w);
}

static void connect_control(struct world *w)
{
	CLEANUP(buf_free) struct buf b = BUF(16);
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	put_u8(&b, ROLE_CONTROL);
	put_u32(&b, 0);
	channel_notify(w->master, NOTICE_CONNECT, buf_str(&b), &pair[1], 1);
	close(pair[1]);
	w->control = channel_new(pair[0], ROLE_CONTROL, ROLE_CELL, control_side, w, NULL);
}

static void until_ready(struct world *w)
{
	for (int64_t until_ms = clock_mono_ms() + PATIENCE_MS; !w->is_ready && clock_mono_ms() < until_ms; usleep(500)) {
		channel_flush(w->master);
		channel_receive(w->master);
		channel_receive(w->control);
		channel_flush(w->control);
	}
	EXPECT(w->is_ready);
}

static void end(struct world *w)
{
	void *code;

	channel_notify(w->master, NOTICE_STOP, STR(""), NULL, 0);
	channel_flush(w->master);
	pthread_join(w->thread, &code);
	EXPECT_INT((intptr_t)code, 0);
	channel_free(w->control);
	channel_free(w->master);
	buf_free(&w->info);
	test_dir_remove(w->start.dir);
}

/* A session of this account begins to wait in a gate, or a guest's to wait for it. */
TEST(somebody_waits_before_the_account_is_open)
{
	struct world w;

	begin(&w, false);
	channel_notify(w.master, NOTICE_CELL_WATCHED, str_make("\1\0", 2), NULL, 0);
	channel_notify(w.master, NOTICE_CELL_WATCHED, str_make("\1\1", 2), NULL, 0);
	connect_control(&w);
	until_ready(&w);
	end(&w);
}

/* What the last one changed and had not told yet: who waits in a gate is made to look. */
TEST(who_waits_hears_that_the_last_cell_was_killed)
{
	struct world w;

	begin(&w, true);
	connect_control(&w);
	until_ready(&w);
	for (int64_t until_ms = clock_mono_ms() + PATIENCE_MS; w.told == 0 && clock_mono_ms() < until_ms; usleep(500))
		channel_receive(w.master);
	EXPECT(w.told > 1);
	end(&w);
}
