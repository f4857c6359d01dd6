/* Control as a whole, with scripted neighbours: master, keys, mx and a cell are played by the test, commands come over a real
 * socket. What matters: a command returns when everybody knows, waits for nobody who is gone, and keeps no cell waiting. */
#include "admin/wire.h"
#include "auth/command.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/test.h"
#include "directory/info.h"
#include "directory/share.h"
#include "role/role.h"
#include "submit/sending.h"
#include "store/command.h"
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_MS = 5000, ALICE = 1 };

struct world {
	pthread_t         thread;
	struct role_start start;
	const char       *dir;
	struct channel   *master, *keys, *mx, *cell, *net;
	bool              is_ready;
	bool              mx_is_slow, keys_are_slow, cell_is_mute;
	uint32_t          mx_call, keys_call, cell_call;   /* requests that wait for the test */
	struct lookup    *lookup;                          /* as mx has it */
	uint64_t          woken, epoch_of, folder_of;
	uint32_t          epoch;
	uint32_t          refused;                         /* STORE_COMMAND_REFUSED, added up */
	int               limits;                          /* STORE_COMMAND_LIMITS seen by the cell */
	uint64_t          used_bytes;                      /* what it says to TELL_USAGE … */
	int               usages;                          /* … so often */
	int               directories;                     /* DIRECTORY seen by mx */
	int               fetches;                         /* FETCH seen by net */
	uint64_t          shares_of;                       /* the newest SHARES_CHANGED, and how many there were */
	int               shares_changed;
	uint64_t          gained[4];                       /* the newest GAINED, and how many there were */
	size_t            gained_n;
	int               gains;
};

static void *control_main(void *context) { return (void *)(intptr_t)role_control(&((struct world *)context)->start); }

/* ---- neighbours */

static void on_ready(void *context, UNUSED struct channel *ch, UNUSED struct message *m) { ((struct world *)context)->is_ready = true; }

static void on_epoch(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct world *w = context;
	struct scan s = scan_of(m->body);

	w->epoch_of = get_u64(&s);
	w->epoch = get_u32(&s);
}

static void on_wake(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct scan s = scan_of(m->body);

	((struct world *)context)->woken = get_u64(&s);
}

static void on_folder(void *context, struct channel *ch, struct message *m)
{
	struct scan s = scan_of(m->body);

	((struct world *)context)->folder_of = get_u64(&s);
	channel_reply(ch, m->call, ERR_OK, STR(""), NULL, 0);
}

static void on_keys_directory(UNUSED void *context, struct channel *ch, struct message *m)
{
	channel_reply(ch, m->call, ERR_OK, STR(""), NULL, 0);
}

static void on_mx_directory(void *context, struct channel *ch, struct message *m)
{
	struct world *w = context;

	EXPECT_OK(lookup_replace(&w->lookup, m));
	w->directories++;
	if (w->mx_is_slow)
		w->mx_call = m->call;
	else
		channel_reply(ch, m->call, ERR_OK, STR(""), NULL, 0);
}

static void secret_done(struct world *w, uint32_t call)
{
	CLEANUP(buf_free) struct buf b = BUF(1000);

	put_secret_reply(&b, &(struct secret_reply){ 0 });
	channel_reply(w->keys, call, ERR_OK, buf_str(&b), NULL, 0);
}

static void on_secret(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct world *w = context;

	if (w->keys_are_slow)
		w->keys_call = m->call;
	else
		secret_done(w, m->call);
}

static void cell_done(struct world *w, uint32_t call, enum store_command_kind kind)
{
	CLEANUP(buf_free) struct buf b = BUF(1000);

	put_u8(&b, (uint8_t)kind);
	for (int i = 0; i < 3; i++)
		put_u64(&b, 0);
	if (kind == STORE_COMMAND_UNDELETE)
		put_u32(&b, 5);
	channel_reply(w->cell, call, ERR_OK, buf_str(&b), NULL, 0);
}

static void on_cell_command(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct world *w = context;
	struct store_command c;

	EXPECT_OK(store_command_decode(m->body, &c));
	w->limits += c.kind == STORE_COMMAND_LIMITS;
	w->refused += c.kind == STORE_COMMAND_REFUSED ? c.refused : 0;
	if (w->cell_is_mute)
		w->cell_call = m->call;
	else
		cell_done(w, m->call, c.kind);
}

static void says_usage(struct world *w, uint64_t bytes)
{
	CLEANUP(buf_free) struct buf b = BUF(64);

	put_u64(&b, ALICE);
	put_u64(&b, bytes);
	put_u64(&b, 7);
	put_bool(&b, false);
	channel_notify(w->cell, NOTICE_USAGE, buf_str(&b), NULL, 0);
}

static void on_shares_changed(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct world *w = context;
	struct scan s = scan_of(m->body);

	w->shares_of = get_u64(&s);
	w->shares_changed++;
}

static void on_gained(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct world *w = context;
	struct scan s = scan_of(m->body);

	w->gains++;
	for (w->gained_n = 0; w->gained_n < COUNT_OF(w->gained) && !scan_done(&s); w->gained_n++)
		w->gained[w->gained_n] = get_u64(&s);
	EXPECT(get_end(&s));
}

static const struct channel_handler master_side[] = {
	{ NOTICE_GAINED, on_gained },
	{ NOTICE_SHARES_CHANGED, on_shares_changed },
	{ NOTICE_READY, on_ready }, { NOTICE_EPOCH, on_epoch }, { NOTICE_CONTROL_WAKE, on_wake },
	{ REQUEST_ACCOUNT_FOLDER, on_folder }, { 0 },
};
static const struct channel_handler keys_side[] = { { REQUEST_DIRECTORY, on_keys_directory }, { REQUEST_SECRET_COMMAND, on_secret }, { 0 } };
static const struct channel_handler mx_side[] = { { REQUEST_DIRECTORY, on_mx_directory }, { 0 } };
static void on_tell_usage(void *context, UNUSED struct channel *ch, UNUSED struct message *m)
{
	struct world *w = context;

	w->usages++;
	if (!w->cell_is_mute)
		says_usage(w, w->used_bytes);
}

static const struct channel_handler cell_side[] = { { REQUEST_CELL_COMMAND, on_cell_command }, { NOTICE_TELL_USAGE, on_tell_usage }, { 0 } };

static void pump(struct world *w)
{
	struct channel *all[] = { w->master, w->keys, w->mx, w->cell, w->net };

	for (size_t i = 0; i < COUNT_OF(all); i++) {
		if (all[i] == NULL)
			continue;
		channel_flush(all[i]);
		channel_receive(all[i]);
		channel_expire(all[i], clock_mono_ms());
	}
}

/* The web: an issuer's description of itself, and its keys. */
static void on_fetch(void *context, struct channel *ch, struct message *m)
{
	static const char about[] = "{\"issuer\":\"https://id.test\",\"jwks_uri\":\"https://id.test/keys\"}";
	static const char keys[] = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";
	CLEANUP(buf_free) struct buf b = BUF(1000);
	struct world *w = context;
	struct scan s = scan_of(m->body);

	EXPECT_STR(get_str(&s, 100), "id.test");
	get_u16(&s);
	put_u8(&b, ERR_OK);
	put_str(&b, STR(""));
	put_u16(&b, 200);
	put_str(&b, STR("application/json"));
	put_str(&b, str_of(str_eq(get_str(&s, 100), STR("/keys")) ? keys : about));
	w->fetches++;
	channel_reply(ch, m->call, ERR_OK, buf_str(&b), NULL, 0);
}

static void on_net_directory(UNUSED void *context, struct channel *ch, struct message *m) { channel_reply(ch, m->call, ERR_OK, STR(""), NULL, 0); }

static const struct channel_handler net_side[] = { { REQUEST_FETCH, on_fetch }, { REQUEST_DIRECTORY, on_net_directory }, { 0 } };

#define UNTIL(cond) do { int64_t until_ms = clock_mono_ms() + PATIENCE_MS; \
	while (!(cond) && clock_mono_ms() < until_ms) { pump(w); usleep(500); } EXPECT(cond); } while (0)
#define NOT_FOR(ms, cond) do { int64_t until_ms = clock_mono_ms() + (ms); \
	while (clock_mono_ms() < until_ms) { pump(w); usleep(500); EXPECT(!(cond)); } } while (0)

static struct channel *connect_role(struct world *w, enum role role, const struct channel_handler *handlers)
{
	CLEANUP(buf_free) struct buf b = BUF(16);
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	put_u8(&b, (uint8_t)role);
	put_u32(&b, 0);
	channel_notify(w->master, NOTICE_CONNECT, buf_str(&b), &pair[1], 1);
	close(pair[1]);
	return channel_new(pair[0], role, ROLE_CONTROL, handlers, w, NULL);
}

static void connect_cell(struct world *w, uint64_t account)
{
	CLEANUP(buf_free) struct buf b = BUF(16);
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	put_u64(&b, account);
	channel_notify(w->master, NOTICE_CONTROL_CELL, buf_str(&b), &pair[1], 1);
	close(pair[1]);
	w->cell = channel_new(pair[0], ROLE_CELL, ROLE_CONTROL, cell_side, w, NULL);
}

static void cell_ends(struct world *w)
{
	channel_free(w->cell);
	w->cell = NULL;
}

static void listen_admin(struct world *w)
{
	CLEANUP(buf_free) struct buf b = BUF(16);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof a.sun_path, "%s/admin.sock", w->dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 100), 0);
	put_u8(&b, PROTOCOL_ADMIN);
	put_bool(&b, false);
	put_u16(&b, 0);
	channel_notify(w->master, NOTICE_LISTEN, buf_str(&b), &fd, 1);
	close(fd);
}

/* ---- the administrator */

static int send_command(struct world *w, const char *command, const char *args)
{
	CLEANUP(buf_free) struct buf b = BUF(10000);
	int fd;

	buf_printf(&b, "{'command':'%s','args':{%s},'lang':'en'}", command, args);
	for (size_t i = 0; i < b.n; i++)
		if (b.p[i] == '\'')
			b.p[i] = '"';
	EXPECT_OK(admin_connect(w->dir, &fd));
	EXPECT_OK(admin_send(fd, buf_str(&b), PATIENCE_MS));
	return fd;
}

static bool has_answer(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };

	return poll(&p, 1, 0) == 1;
}

/* The answer's error, "" for ok; closes. */
static struct str answer(struct world *w, int fd, struct arena *a)
{
	CLEANUP(buf_free) struct buf b = BUF(ADMIN_REPLY_MAX);
	CLEANUP(admin_json_free) json_t *value = NULL;

	UNTIL(has_answer(fd));
	EXPECT_OK(admin_receive(fd, &b, PATIENCE_MS));
	close(fd);
	value = admin_json_read(buf_str(&b));
	EXPECT(value != NULL);
	const char *error = json_string_value(json_object_get(value, "error"));
	return str_copy(a, error ? str_of(error) : STR(""));
}

static void gives(struct world *w, const char *command, const char *args, const char *error)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str got = answer(w, send_command(w, command, args), &a);

	EXPECT_STR(got, error);
}

static struct world *begin(void)
{
	static struct world world;
	struct world *w = &world;
	char path[300];
	int pair[2];

	signal(SIGPIPE, SIG_IGN);
	log_setup("test", LOG_LEVEL_WARN, false);
	*w = (struct world){ .dir = test_dir() };
	snprintf(path, sizeof path, "%s/control", w->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	w->start = (struct role_start){ .role = ROLE_CONTROL, .master_fd = pair[1], .dir = w->dir };
	w->master = channel_new(pair[0], ROLE_MASTER, ROLE_CONTROL, master_side, w, NULL);
	admin_json_setup();
	listen_admin(w);
	w->keys = connect_role(w, ROLE_KEYS, keys_side);
	w->mx = connect_role(w, ROLE_MX, mx_side);
	pthread_create(&w->thread, NULL, control_main, w);
	UNTIL(w->is_ready && w->lookup != NULL);
	gives(w, "domain add", "'domain':'example.test'", "");
	gives(w, "account add", "'address':'alice@example.test'", "");
	EXPECT_INT(w->folder_of, ALICE);
	return w;
}

static void end(struct world *w)
{
	void *code;

	channel_notify(w->master, NOTICE_STOP, STR(""), NULL, 0);
	channel_flush(w->master);
	pthread_join(w->thread, &code);
	EXPECT_INT((intptr_t)code, 0);
	channel_free(w->master);
	channel_free(w->keys);
	channel_free(w->mx);
	channel_free(w->cell);
	channel_free(w->net);
	lookup_close(w->lookup);
	test_dir_remove(w->dir);
}

/* ---- tests */

TEST(a_command_returns_when_everybody_knows)
{
	struct world *w = begin();
	CLEANUP(arena_free) struct arena a = { 0 };
	struct lookup_result r;
	int fd;

	w->mx_is_slow = true;
	fd = send_command(w, "alias add", "'alias':'sales@example.test','target':['alice@example.test']");
	UNTIL(w->mx_call != 0);
	EXPECT_INT(lookup_resolve(w->lookup, STR("sales@example.test"), &a, &r), LOOKUP_FOUND);
	NOT_FOR(200, has_answer(fd));
	w->mx_is_slow = false;
	channel_reply(w->mx, w->mx_call, ERR_OK, STR(""), NULL, 0);
	EXPECT_STR(answer(w, fd, &a), "");
	end(w);
}

TEST(who_is_gone_is_not_waited_for)
{
	struct world *w = begin();
	CLEANUP(arena_free) struct arena a = { 0 };
	struct lookup_result r;
	int fd;

	w->mx_is_slow = true;
	fd = send_command(w, "alias add", "'alias':'sales@example.test','target':['alice@example.test']");
	UNTIL(w->mx_call != 0);
	channel_free(w->mx);  /* it died */
	w->mx = NULL;
	EXPECT_STR(answer(w, fd, &a), "");
	gives(w, "alias remove", "'alias':'sales@example.test'", "");
	w->mx_is_slow = false;
	w->mx = connect_role(w, ROLE_MX, mx_side);  /* and is back: it gets the newest one at once */
	UNTIL(lookup_resolve(w->lookup, STR("sales@example.test"), &a, &r) == LOOKUP_UNKNOWN);
	end(w);
}

TEST(a_role_that_refuses_the_directory)
{
	struct world *w = begin();
	CLEANUP(arena_free) struct arena a = { 0 };
	int64_t from = clock_mono_ms();
	int fd;

	w->mx_is_slow = true;
	fd = send_command(w, "domain add", "'domain':'other.test'");
	UNTIL(w->mx_call != 0);
	channel_reply(w->mx, w->mx_call, ERR_INVALID, STR(""), NULL, 0);
	EXPECT_STR(answer(w, fd, &a), "timeout");
	w->mx_is_slow = false;
	gives(w, "domain add", "'domain':'third.test'", "");  /* and nobody waits for its answer again */
	EXPECT(clock_mono_ms() - from < PATIENCE_MS);
	end(w);
}

/* A hash takes its time in keys; a cell that starts meanwhile must not wait for it. */
TEST(a_hash_keeps_nobody_waiting)
{
	struct world *w = begin();
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(account_info_free) struct account_info info = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(16);
	struct message m;
	struct scan s;
	int fd;

	connect_cell(w, ALICE);
	w->keys_are_slow = true;
	fd = send_command(w, "account password", "'address':'alice@example.test','password':'secret'");
	UNTIL(w->keys_call != 0);
	EXPECT_OK(account_info_ask(w->cell, ALICE, PATIENCE_MS, &a, &info));
	EXPECT_STR(info.address, "alice@example.test");
	gives(w, "account list", "", "");
	EXPECT(!has_answer(fd));
	w->keys_are_slow = false;
	secret_done(w, w->keys_call);
	EXPECT_STR(answer(w, fd, &a), "");
	UNTIL(w->epoch_of == ALICE && w->epoch == info.epoch + 1);

	put_u64(&b, ALICE + 1);  /* a cell hears of its own account only */
	EXPECT_ERR(channel_call(w->cell, REQUEST_ACCOUNT_INFO, buf_str(&b), NULL, 0, PATIENCE_MS, &a, &m), ERR_DENIED);
	s = scan_of(m.body);
	EXPECT_INT(scan_left(&s), 0);
	end(w);
}

TEST(a_command_for_a_cell)
{
	struct world *w = begin();
	CLEANUP(arena_free) struct arena a = { 0 };
	int fd = send_command(w, "message undelete", "'address':'alice@example.test'");

	UNTIL(w->woken == ALICE);          /* it sleeps: master is asked for it */
	w->cell_is_mute = true;
	connect_cell(w, ALICE);
	UNTIL(w->cell_call != 0);
	w->woken = 0;
	cell_ends(w);                      /* it was just leaving */
	UNTIL(w->woken == ALICE);
	w->cell_is_mute = false;
	connect_cell(w, ALICE);
	EXPECT_STR(answer(w, fd, &a), "");

	gives(w, "config set", "'setting':'quota','value':'1GB','account':'alice@example.test'", "");
	UNTIL(w->limits == 1);
	gives(w, "config set", "'setting':'hostname','value':'mx.example.test'", "");
	UNTIL(w->limits == 2);             /* for everybody */
	end(w);
}

/* The cell of alice says what it has seen; what control answers. */
static enum err says_sending(struct world *w, uint64_t account, enum sending_kind kind, bool *is_news, bool *french)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(200);
	struct message m;

	put_u64(&b, account);
	put_u8(&b, (uint8_t)kind);
	put_str(&b, STR("signs: BULK=150/150/3"));
	TRY(channel_call(w->cell, REQUEST_SENDING, buf_str(&b), NULL, 0, PATIENCE_MS, &a, &m));
	struct scan s = scan_of(m.body);
	*is_news = get_bool(&s);
	*french = get_bool(&s);
	return get_end(&s) ? ERR_OK : ERR_INVALID;
}

TEST(an_account_that_sends_like_a_thief_is_stopped)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct world *w = begin();
	struct account_info info;
	bool is_news, french;

	gives(w, "account describe", "'address':'alice@example.test','lang':'fr'", "");
	connect_cell(w, ALICE);
	EXPECT_OK(says_sending(w, ALICE, SENDING_UNUSUAL, &is_news, &french));
	EXPECT(is_news && french);                                             /* alice is the administrator, too */
	EXPECT_OK(account_info_ask(w->cell, ALICE, PATIENCE_MS, &a, &info));
	EXPECT(info.stopped_s == 0);
	account_info_free(&info);
	EXPECT_OK(says_sending(w, ALICE, SENDING_STOP, &is_news, &french));
	EXPECT(is_news);
	EXPECT_OK(says_sending(w, ALICE, SENDING_STOP, &is_news, &french));
	EXPECT(!is_news);                                                      /* another session was faster */
	EXPECT_OK(account_info_ask(w->cell, ALICE, PATIENCE_MS, &a, &info));   /* on disk by then */
	EXPECT(info.stopped_s != 0);
	account_info_free(&info);
	EXPECT_ERR(says_sending(w, ALICE + 1, SENDING_STOP, &is_news, &french), ERR_DENIED);  /* a cell speaks for itself alone */
	EXPECT_ERR(says_sending(w, ALICE, (enum sending_kind)7, &is_news, &french), ERR_INVALID);
	end(w);
}

static enum err shares_with(struct world *w, uint64_t guest, uint64_t owner)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(16);
	struct message m;

	put_u64(&b, guest);
	put_u64(&b, owner);
	return channel_call(w->master, REQUEST_SHARES_WITH, buf_str(&b), NULL, 0, PATIENCE_MS, &a, &m);
}

/* Master asks who shares with whom, remembers it, and is told before anybody is answered that it is not so any more. */
TEST(master_hears_who_shares_with_whom)
{
	struct world *w = begin();
	const struct subject bob = { .kind = SUBJECT_ACCOUNT, .account = ALICE + 1, .group = STR("") };

	gives(w, "account add", "'address':'bob@example.test'", "");
	connect_cell(w, ALICE);
	EXPECT_ERR(shares_with(w, ALICE + 1, ALICE), ERR_NOTFOUND);
	UNTIL(w->shares_of == 0 && w->shares_changed > 0);       /* accounts have changed */
	EXPECT_OK(shares_tell(w->cell, &bob, 1, PATIENCE_MS));
	pump(w);
	EXPECT_INT(w->shares_of, ALICE);
	EXPECT_OK(shares_with(w, ALICE + 1, ALICE));
	EXPECT_ERR(shares_with(w, ALICE, ALICE + 1), ERR_NOTFOUND);
	EXPECT_ERR(shares_with(w, ALICE, 999), ERR_NOTFOUND);
	gives(w, "account delete", "'address':'bob@example.test'", "");
	EXPECT_ERR(shares_with(w, ALICE + 1, ALICE), ERR_NOTFOUND);
	end(w);
}

/* Who shares with somebody for the first time is told of at once; again and again, once in a while, with all that came together. */
TEST(master_hears_who_gains)
{
	struct world *w = begin();
	const struct subject bob = { .kind = SUBJECT_ACCOUNT, .account = ALICE + 1, .group = STR("") };
	const struct subject team = { .kind = SUBJECT_GROUP, .group = STR("team@example.test") };

	gives(w, "account add", "'address':'bob@example.test'", "");
	gives(w, "account add", "'address':'carol@example.test'", "");
	gives(w, "group add", "'group':'team@example.test','member':['carol@example.test']", "");
	connect_cell(w, ALICE);
	EXPECT_OK(shares_tell(w->cell, &bob, 1, PATIENCE_MS));
	UNTIL(w->gains == 1);
	EXPECT(w->gained_n == 1 && w->gained[0] == ALICE + 1);
	EXPECT_OK(shares_tell(w->cell, &bob, 1, PATIENCE_MS));   /* as before */
	for (int i = 0; i < 10; i++) {
		EXPECT_OK(shares_tell(w->cell, NULL, 0, PATIENCE_MS));
		EXPECT_OK(shares_tell(w->cell, i < 9 ? &bob : &team, 1, PATIENCE_MS));
	}
	NOT_FOR(100, w->gains != 1);
	clock_mono_advance(11000);
	UNTIL(w->gains == 2);
	EXPECT(w->gained_n == 2 && w->gained[0] == ALICE + 1 && w->gained[1] == ALICE + 2);
	gives(w, "group member add", "'group':'team@example.test','member':['bob@example.test']", "");
	UNTIL(w->gains == 3);
	EXPECT_INT(w->gained_n, 2);
	gives(w, "alias add", "'alias':'info@example.test','target':['bob@example.test']", "");   /* nothing is shared with that */
	NOT_FOR(100, w->gains != 3);
	end(w);
	clock_mono_advance(-11000);
}

/* A cell that was broken into names the same group a thousand times: control does not look a thousand times for who is in it. */
TEST(nobody_is_shared_with_twice)
{
	struct world *w = begin();
	struct subject with[1000];

	gives(w, "group add", "'group':'team@example.test','member':['carol@elsewhere.test']", "");
	connect_cell(w, ALICE);
	for (size_t i = 0; i < COUNT_OF(with); i++)
		with[i] = (struct subject){ .kind = SUBJECT_GROUP, .group = STR("team@example.test") };
	EXPECT_ERR(shares_tell(w->cell, with, COUNT_OF(with), PATIENCE_MS), ERR_INVALID);
	EXPECT_OK(shares_tell(w->cell, with, 1, PATIENCE_MS));
	for (size_t i = 0; i < COUNT_OF(with); i++)
		with[i] = (struct subject){ .kind = SUBJECT_ACCOUNT, .account = i + 1, .group = STR("") };
	EXPECT_OK(shares_tell(w->cell, with, COUNT_OF(with), PATIENCE_MS));
	with[999].account = 1;
	EXPECT_ERR(shares_tell(w->cell, with, COUNT_OF(with), PATIENCE_MS), ERR_INVALID);
	end(w);
}

/* An owner who was deleted and comes back, and "anyone" who means the whole server: for those whom it is about that is as a first time. */
TEST(who_is_back_is_told_of)
{
	struct world *w = begin();
	const struct subject with[] = { { .kind = SUBJECT_ACCOUNT, .account = ALICE + 1, .group = STR("") }, { .kind = SUBJECT_GROUP, .group = STR("team@example.test") } };
	const struct subject anyone = { .kind = SUBJECT_ANYONE, .group = STR("") };

	gives(w, "account add", "'address':'bob@example.test'", "");
	gives(w, "account add", "'address':'carol@example.test'", "");
	gives(w, "group add", "'group':'team@example.test','member':['carol@example.test','bob@example.test']", "");
	gives(w, "config set", "'setting':'anyone_is_server','value':'on'", "");   /* nobody shares with anyone */
	gives(w, "config set", "'setting':'anyone_is_server','value':'off'", "");
	connect_cell(w, ALICE);
	EXPECT_OK(shares_tell(w->cell, with, 2, PATIENCE_MS));
	UNTIL(w->gains == 1);
	gives(w, "account delete", "'address':'bob@example.test'", "");
	gives(w, "account undelete", "'address':'bob@example.test'", "");   /* he shares nothing */
	NOT_FOR(100, w->gains != 1);
	gives(w, "account delete", "'address':'alice@example.test'", "");
	gives(w, "account undelete", "'address':'alice@example.test'", "");
	UNTIL(w->gains == 2);
	EXPECT_INT(w->gained_n, 2);
	end(w);
	w = begin();
	connect_cell(w, ALICE);
	EXPECT_OK(shares_tell(w->cell, &anyone, 1, PATIENCE_MS));
	UNTIL(w->gains == 1);
	gives(w, "config set", "'setting':'anyone_is_server','value':'on'", "");
	UNTIL(w->gains == 2);
	EXPECT_INT(w->gained_n, 0);   /* perhaps everybody */
	gives(w, "config set", "'setting':'quota','value':'1GB'", "");
	NOT_FOR(100, w->gains != 2);
	end(w);
}

static void refuses(struct channel *queue, uint64_t account, uint32_t n)
{
	CLEANUP(buf_free) struct buf b = BUF(16);

	put_u64(&b, account);
	put_u32(&b, n);
	EXPECT_OK(channel_notify(queue, NOTICE_REFUSED, buf_str(&b), NULL, 0));
}

static void names_unknown_key(struct world *w, const char *issuer)
{
	CLEANUP(buf_free) struct buf b = BUF(300);

	put_str(&b, str_of(issuer));
	EXPECT_OK(channel_notify(w->keys, NOTICE_UNKNOWN_KEY, buf_str(&b), NULL, 0));
}

TEST(keys_of_issuers_are_kept_up_to_date)
{
	struct world *w = begin();

	w->net = connect_role(w, ROLE_NET, net_side);
	gives(w, "oauth add", "'issuer':'https://id.test','audience':'mail'", "");
	EXPECT_INT(w->fetches, 2);
	names_unknown_key(w, "https://id.test");
	names_unknown_key(w, "https://thief.test");
	NOT_FOR(100, w->fetches != 2);         /* it was asked just now, and the other one is nobody */
	clock_wall_offset(301);
	for (int i = 0; i < 20; i++)
		names_unknown_key(w, "https://id.test");
	UNTIL(w->fetches == 4);
	NOT_FOR(100, w->fetches != 4);         /* once, for all that name one */
	clock_wall_offset(301 + 3601);
	clock_mono_advance(70 * 1000);
	UNTIL(w->fetches == 6);                /* an hour later without being told */
	gives(w, "oauth refresh", "'due':true", "");
	EXPECT_INT(w->fetches, 6);
	clock_wall_offset(0);
	end(w);
	clock_mono_advance(-70 * 1000);
}

TEST(the_cell_hears_what_other_servers_refuse)
{
	struct world *w = begin();
	struct channel *queue = connect_role(w, ROLE_QUEUE, keys_side);

	refuses(queue, 999, 500);              /* nobody's */
	refuses(queue, ALICE, 9);
	NOT_FOR(100, w->woken != 0);           /* for that nobody is woken */
	refuses(queue, ALICE, 2);
	UNTIL(w->woken == ALICE);
	connect_cell(w, ALICE);
	UNTIL(w->refused == 11);
	refuses(queue, ALICE, 1);              /* who is awake hears all */
	UNTIL(w->refused == 12);
	end(w);
	channel_free(queue);
}

TEST(usage_is_published_when_it_crosses_the_line)
{
	struct world *w = begin();
	CLEANUP(buf_free) struct buf b = BUF(64), other = BUF(64);
	struct lookup_account x;

	connect_cell(w, ALICE);
	put_u64(&other, ALICE + 1);        /* of somebody else: not believed */
	put_u64(&other, 1);
	put_u64(&other, 1);
	put_bool(&other, true);
	channel_notify(w->cell, NOTICE_USAGE, buf_str(&other), NULL, 0);
	put_u64(&b, ALICE);
	put_u64(&b, 5000);
	put_u64(&b, 7);
	put_bool(&b, true);
	channel_notify(w->cell, NOTICE_USAGE, buf_str(&b), NULL, 0);
	UNTIL(lookup_account(w->lookup, ALICE, &x) && x.is_full);
	end(w);
}

static void shows(struct world *w, const char *command, const char *bytes)
{
	CLEANUP(buf_free) struct buf shown = BUF(ADMIN_REPLY_MAX);
	int64_t latest_ms = clock_mono_ms() + 3000;
	CLEANUP(fd_close) int fd = send_command(w, command, strcmp(command, "account show") == 0 ? "'address':'alice@example.test'" : "");

	UNTIL(has_answer(fd));
	EXPECT(clock_mono_ms() < latest_ms);
	EXPECT_OK(admin_receive(fd, &shown, PATIENCE_MS));
	EXPECT(str_find(buf_str(&shown), str_of(bytes)) >= 0);
}

/* Figures gather before they are written, but whoever asks sees the newest. */
TEST(a_command_shows_the_newest_usage)
{
	struct world *w = begin();
	int before = w->directories;

	connect_cell(w, ALICE);
	w->used_bytes = 5000;
	shows(w, "account list", "5000");     /* nothing that it said is under way any more */
	w->used_bytes = 6000;
	shows(w, "account list", "6000");
	w->used_bytes = 7000;
	shows(w, "account show", "7000");
	EXPECT_INT(w->directories, before);   /* nobody else needs to know */
	end(w);
}

/* One that hangs is shown as it was heard last, and keeps nobody waiting. */
TEST(a_cell_that_hangs_keeps_no_list_waiting)
{
	struct world *w = begin();

	connect_cell(w, ALICE);
	w->used_bytes = 5000;
	shows(w, "account list", "5000");     /* it was asked, and nothing else that it said is under way */
	w->cell_is_mute = true;
	w->used_bytes = 6000;
	for (int i = 0; i < 3; i++)
		shows(w, "account list", "5000");
	EXPECT_INT(w->usages, 2);             /* nobody asks it again */
	says_usage(w, 6000);
	w->cell_is_mute = false;
	shows(w, "account list", "6000");
	w->cell_is_mute = true;
	int asked = w->usages;
	CLEANUP(fd_close) int fd = send_command(w, "account list", "");
	UNTIL(w->usages > asked);
	cell_ends(w);                         /* it dies meanwhile */
	UNTIL(has_answer(fd));
	end(w);
}

/* A mailbox at the edge of its quota, or a cell that means harm: everybody's directory is not built again for each word. */
TEST(usage_that_goes_to_and_fro_is_published_now_and_then)
{
	struct world *w = begin();
	struct lookup_account x;
	int before = w->directories;

	connect_cell(w, ALICE);
	for (uint64_t i = 0; i < 101; i++) {
		CLEANUP(buf_free) struct buf b = BUF(64);
		put_u64(&b, ALICE);
		put_u64(&b, i);
		put_u64(&b, 7);
		put_bool(&b, i % 2 == 1 || i == 100);
		channel_notify(w->cell, NOTICE_USAGE, buf_str(&b), NULL, 0);
		pump(w);
	}
	cell_ends(w);
	NOT_FOR(300, false);
	UNTIL(lookup_account(w->lookup, ALICE, &x) && x.is_full);  /* the last word counts */
	NOT_FOR(100, !lookup_account(w->lookup, ALICE, &x) || !x.is_full);
	EXPECT(w->directories - before <= 10);
	end(w);
}

/* Nonsense ends its own connection and nothing else; more connections than there is room for are closed. */
TEST(hostile_connections)
{
	static const struct { const char *bytes; size_t n; } cases[] = {
		{ "\xff\xff\xff\xff", 4 }, { "\0\0\0\x7f{}", 6 }, { "\x05\0\0\0{", 5 }, { "\0\0\0\0", 4 }, { "\x04\0\0\0null", 8 }, { "G", 1 },
	};
	struct world *w = begin();
	int idle[40];

	EACH(cases, t) {
		int fd;
		EXPECT_OK(admin_connect(w->dir, &fd));
		EXPECT_INT(send(fd, t->bytes, t->n, MSG_NOSIGNAL), (ssize_t)t->n);
		NOT_FOR(10, false);
		close(fd);
	}
	gives(w, "account list", "", "");
	for (size_t i = 0; i < COUNT_OF(idle); i++)
		EXPECT_OK(admin_connect(w->dir, &idle[i]));
	NOT_FOR(100, false);
	for (size_t i = 0; i < COUNT_OF(idle); i++)
		close(idle[i]);
	NOT_FOR(100, false);
	gives(w, "account list", "", "");
	end(w);
}

/* A script that makes accounts forty at a time is not told that the server went away. */
TEST(who_comes_while_many_commands_run_waits)
{
	enum { MOST = 32 };
	struct world *w = begin();
	CLEANUP(arena_free) struct arena a = { 0 };
	int idle[MOST], fds[3];

	for (size_t i = 0; i < MOST; i++)
		EXPECT_OK(admin_connect(w->dir, &idle[i]));
	NOT_FOR(100, false);
	for (size_t i = 0; i < COUNT_OF(fds); i++)
		fds[i] = send_command(w, "account list", "");
	NOT_FOR(200, has_answer(fds[0]) || has_answer(fds[2]));
	close(idle[0]);
	for (size_t i = 0; i < COUNT_OF(fds); i++)   /* one place is enough for them all */
		EXPECT_STR(answer(w, fds[i], &a), "");
	for (size_t i = 1; i < MOST; i++)
		close(idle[i]);
	end(w);
}

/* Many at once: each is true when it returns, and they share builds. */
TEST(commands_at_the_same_time)
{
	enum { N = 20 };
	struct world *w = begin();
	CLEANUP(arena_free) struct arena a = { 0 };
	int fds[N];

	for (int i = 0; i < N; i++) {
		char args[100];
		snprintf(args, sizeof args, "'alias':'a%d@example.test','target':['alice@example.test']", i);
		fds[i] = send_command(w, "alias add", args);
	}
	for (int i = 0; i < N; i++) {
		struct lookup_result r;
		EXPECT_STR(answer(w, fds[i], &a), "");
		EXPECT_INT(lookup_resolve(w->lookup, arena_printf(&a, "a%d@example.test", i), &a, &r), LOOKUP_FOUND);
	}
	end(w);
}
