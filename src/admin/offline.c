/* No server runs: the command is control, keys and the account's cell itself, for as long as it lasts.
 *
 * DIR/lock keeps a server from starting meanwhile. As root everything is done as the user it will belong to afterwards
 * (settings user and cell_user of facteur.conf, as master does), because SQLite makes files as it goes: the effective
 * user is `user`, and only around an account's folder it is root or `cell_user`. An account that was not closed cleanly
 * stays marked so: deliveries may be torn there, and only the queue's replay mends them. Nothing is compacted there. */
#include "admin/offline.h"
#include "admin/wire.h"
#include "auth/verifier.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "mailauth/dkim_worker.h"
#include "store/account_folder.h"
#include "store/rights.h"
#include "text/text.h"
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_ROOM = 600, HASH_WAIT_MS = 60000 };

struct user { uid_t uid; gid_t gid; };   /* uid 0: no change */

struct admin_offline {
	struct admin_host host;
	char             *path;
	int               lock;
	struct user       user, cell_user;
	struct conf      *file;
	struct disk_dir  *control_dir, *keys_dir;
	struct directory *directory;
	struct secrets   *secrets;
	struct verifier  *verifier;
	struct dkim_worker *dkim;
};

/* ---- users ---- */

/* The process works as this user from now on; with uid 0 as itself. */
static void become(const struct admin_offline *o, struct user u)
{
	if (o->user.uid == 0)
		return;
	if (seteuid(0) < 0 || setegid(u.uid ? u.gid : 0) < 0 || seteuid(u.uid) < 0)
		log_errno("seteuid", "offline");
}

/* As master finds them (role/master.c). */
static void find_users(struct admin_offline *o)
{
	const char *name = conf_text(o->file, SETTING_user).p;
	struct passwd *p;

	if (geteuid() != 0 || strcmp(name, "root") == 0)
		return;
	p = getpwnam(name);
	if (p != NULL)
		o->user = (struct user){ p->pw_uid, p->pw_gid };
	p = getpwnam(conf_text(o->file, SETTING_cell_user).p);
	if (p != NULL && o->user.uid)
		o->cell_user = (struct user){ p->pw_uid, p->pw_gid };
	else
		o->user = (struct user){ 0 };
}

/* ---- the host ---- */

static enum err host_publish(UNUSED void *context) { return ERR_OK; }
static enum err host_end_sessions(UNUSED void *context, UNUSED uint64_t account, UNUSED uint32_t epoch)
{
	return ERR_OK;
}
static enum err host_end_cell(UNUSED void *context, UNUSED uint64_t account) { return ERR_OK; }
static void host_limits_changed(UNUSED void *context, UNUSED uint64_t account) { }
static void host_usage(UNUSED void *context, UNUSED uint64_t account) { }
static void host_gained(UNUSED void *context, UNUSED const struct share_gains *gained) { }

static enum err host_queue(UNUSED void *context, UNUSED const struct queue_command *c, UNUSED struct arena *a,
						   UNUSED struct queue_answer *out)
{
	return ERR_UNAVAILABLE;
}

static enum err host_sessions(UNUSED void *context, UNUSED struct arena *a, struct session_info **out, size_t *n)
{
	*out = NULL;
	*n = 0;
	return ERR_UNAVAILABLE;
}

static enum err host_trace(void *context, const struct trail_query *q, struct arena *a, struct trail_found *out)
{
	struct admin_offline *o = context;
	struct trail_store *store;

	*out = (struct trail_found){ 0 };
	if (!disk_exists(o->control_dir, "trail.db"))
		return ERR_OK;
	TRY(trail_store_open(o->control_dir, &store));
	enum err e = trail_store_find(store, q, a, out);
	trail_store_close(store);
	return e;
}

/* Like keys, from the files themselves. */
static enum err host_certificates(void *context, struct arena *a, struct certificate_info **out, size_t *n)
{
	struct admin_offline *o = context;
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
	struct keyring *ring;
	size_t cap = 0;
	uint32_t from = 0;
	enum err e;
	char path[PATH_ROOM];

	*out = NULL;
	*n = 0;
	snprintf(path, sizeof path, "%s/tls", o->path);
	if (access(path, F_OK) < 0)
		return ERR_OK;
	TRY(disk_dir_open(path, &dir));
	ring = keyring_new(dir);
	keyring_reload(ring);
	do {
		CLEANUP(buf_free) struct buf request = BUF(16), answer = BUF(MESSAGE_BODY_MAX);
		put_u32(&request, from);
		e = certificates_serve(ring, buf_str(&request), &answer);
		struct scan s = scan_of(buf_str(&answer));
		if (e == ERR_OK && !get_certificates(&s, a, out, n, &cap, &from))
			e = ERR_INVALID;
	} while (e == ERR_OK && from != 0);
	keyring_free(ring);
	return e;
}

struct secret_answer {
	struct buf bytes;      /* the reply, encoded: it is only lent to the callback */
	enum err   status;
	bool       is_there;
};

static void on_secret(void *context, enum err status, const struct secret_reply *r)
{
	struct secret_answer *answer = context;

	answer->status = status;
	answer->is_there = true;
	put_secret_reply(&answer->bytes, r);
}

static enum err host_secret(void *context, const struct secret_command *c, struct arena *a, struct secret_reply *out)
{
	struct admin_offline *o = context;
	struct secret_answer answer = { .bytes = BUF(MESSAGE_BODY_MAX) };
	int64_t until = clock_mono_ms() + HASH_WAIT_MS;
	struct scan s;
	enum err e;

	*out = (struct secret_reply){ 0 };
	verifier_command(o->verifier, c, on_secret, &answer);
	while (!answer.is_there && clock_mono_ms() < until)
		verifier_receive(o->verifier);  /* without workers it hashes here */
	e = answer.is_there ? answer.status : ERR_TIMEOUT;
	s = scan_of(str_copy(a, buf_str(&answer.bytes)));
	if (e == ERR_OK && !get_secret_reply(&s, a, out))
		e = ERR_INVALID;
	if (answer.bytes.n)
		mem_wipe(answer.bytes.p, answer.bytes.n);
	buf_free(&answer.bytes);
	return e;
}

struct dkim_answer {
	struct buf bytes;      /* as above */
	enum err   status;
	bool       is_there;
};

static void on_dkim(void *context, enum err status, const struct dkim_keys *keys)
{
	struct dkim_answer *answer = context;

	answer->status = status;
	answer->is_there = true;
	put_dkim_keys(&answer->bytes, keys);
}

static enum err host_dkim(void *context, const struct dkim_command *c, struct arena *a, struct dkim_keys *out)
{
	struct admin_offline *o = context;
	struct dkim_answer answer = { .bytes = BUF(MESSAGE_BODY_MAX) };
	struct scan s;

	dkim_worker_command(o->dkim, c, on_dkim, &answer);
	if (!answer.is_there)
		dkim_worker_receive(o->dkim);  /* it makes keys here */
	s = scan_of(str_copy(a, buf_str(&answer.bytes)));
	buf_free(&answer.bytes);
	return !get_dkim_keys(&s, a, out) ? ERR_INVALID : answer.status;
}

static enum err host_question(UNUSED void *context, UNUSED struct str name, UNUSED enum dns_type type, UNUSED struct arena *a,
                              UNUSED struct dns_answer *out)
{
	return ERR_UNAVAILABLE;
}

static enum err host_route_password(void *context, const struct route_password_command *c, bool *was_there)
{
	struct admin_offline *o = context;
	return route_password_run(o->secrets, c, was_there);
}

static enum err host_probe(UNUSED void *context, UNUSED struct str address, UNUSED struct arena *a, UNUSED struct queue_way *way,
                           UNUSED struct send_answer *out)
{
	return ERR_UNAVAILABLE;
}

static enum err host_make_folder(void *context, uint64_t account)
{
	struct admin_offline *o = context;

	become(o, (struct user){ 0 });
	enum err e = account_folder_make(o->path, account, o->cell_user.uid, o->cell_user.gid);
	become(o, o->user);
	return e;
}

static enum err host_remove_folder(void *context, uint64_t account)
{
	struct admin_offline *o = context;

	become(o, (struct user){ 0 });
	enum err e = account_folder_remove(o->path, account);
	become(o, o->user);
	return e;
}

static enum err account_config(struct admin_offline *o, uint64_t account, struct arena *a, struct view_config *out)
{
	struct directory_account x;
	struct conf *conf;

	TRY(account_get(o->directory, account, a, &x));
	TRY(directory_account_conf(o->directory, account, x.address, &conf));
	*out = (struct view_config){ .account = account,
								 .french = x.french,
								 .put_back_s = (int64_t)conf_number(conf, SETTING_put_back),
								 .limits = view_limits_of(conf) };
	conf_free(conf);
	return ERR_OK;
}

static enum err serve_in_view(struct view *v, const struct store_command *c, struct arena *a, struct store_answer *out)
{
	CLEANUP(buf_free) struct buf request = BUF(MESSAGE_BODY_MAX), answer = BUF(MESSAGE_BODY_MAX);

	store_command_encode(c, &request);
	TRY(store_command_serve(v, buf_str(&request), &answer));
	while (c->kind == STORE_COMMAND_COMPACT && view_tick(v))  /* there is nobody who would go on with it later */
		;
	return store_answer_decode(str_copy(a, buf_str(&answer)), a, out);
}

static bool tells_shares(const struct store_command *c) { return c->kind == STORE_COMMAND_SHARE || c->kind == STORE_COMMAND_SHARES; }

static enum err host_cell(void *context, uint64_t account, const struct store_command *c, struct arena *a,
						  struct store_answer *out)
{
	struct admin_offline *o = context;
	struct view_config config;
	struct subject *with = NULL;
	struct quota used;
	struct view *v;
	char folder[PATH_ROOM];
	size_t n_with = 0;
	bool changed;
	enum err e;

	TRY(account_config(o, account, a, &config));
	snprintf(folder, sizeof folder, "%s/accounts/%llu", o->path, (unsigned long long)account);
	become(o, o->cell_user);
	e = view_open(folder, &config, &v);
	if (e == ERR_OK) {
		bool was_unclean = view_was_unclean(v);
		e = was_unclean && (c->kind == STORE_COMMAND_COMPACT || c->kind == STORE_COMMAND_CHECK) ? ERR_CONFLICT : serve_in_view(v, c, a, out);
		if (e == ERR_OK && tells_shares(c))
			e = acl_subjects(v, a, &with, &n_with);
		view_quota(v, &used);
		if (was_unclean)
			view_close_unclean(v);  /* the next cell still waits for the replay */
		else
			view_close(v);
	}
	become(o, o->user);
	if (e == ERR_OK && tells_shares(c))  /* what the cell would tell control; the next one says it once more */
		e = shares_replace(o->directory, account, with, n_with);
	if (e == ERR_OK)
		e = account_usage(o->directory, account, used.used_bytes, used.messages,
						  used.percent >= 100, &changed);
	return e;
}

/* ---- opening ---- */

static enum err make_folder(struct admin_offline *o, const char *name, mode_t mode, struct user of)
{
	char path[PATH_ROOM];

	snprintf(path, sizeof path, "%s/%s", o->path, name);
	bool is_new = mkdir(path, mode) == 0;
	if (!is_new && errno != EEXIST)
		return log_errno("mkdir", path);
	if (is_new && chmod(path, mode) < 0)  /* whatever the umask */
		return log_errno("chmod", path);
	if (o->user.uid && chown(path, of.uid, of.gid) < 0)
		return log_errno("chown", path);
	return ERR_OK;
}

static enum err take_lock(struct admin_offline *o)
{
	char path[PATH_ROOM];

	snprintf(path, sizeof path, "%s/lock", o->path);
	if (mkdir(o->path, 0711) < 0 && errno != EEXIST)
		return errno == EACCES ? ERR_DENIED : log_errno("mkdir", o->path);
	o->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (o->lock < 0)
		return errno == EACCES || errno == EPERM ? ERR_DENIED : log_errno("open", path);
	if (flock(o->lock, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? ERR_AGAIN : log_errno("flock", path);
	return ERR_OK;
}

static enum err read_file(struct admin_offline *o)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct conf_problem problem;
	struct str why;

	o->file = conf_new();
	if (conf_read_file(o->file, str_cstr(&a, arena_printf(&a, "%s/facteur.conf", o->path)), &problem))
		return ERR_OK;
	why = conf_explain(&a, &problem, lang_of_environment() == LANG_FR);
	log_error(STR_FMT, STR_ARG(why));
	return ERR_INVALID;
}

static enum err open_databases(struct admin_offline *o)
{
	struct verifier_options options = { 0 };
	char path[PATH_ROOM];
	struct conf *conf;

	snprintf(path, sizeof path, "%s/control", o->path);
	TRY(disk_dir_open(path, &o->control_dir));
	snprintf(path, sizeof path, "%s/keys", o->path);
	TRY(disk_dir_open(path, &o->keys_dir));
	TRY(directory_open(o->control_dir, &o->directory));
	TRY(secrets_open(o->keys_dir, &o->secrets));
	TRY(directory_conf(o->directory, &conf));
	options.secrets = o->secrets;
	options.has_scram = conf_on(conf, SETTING_scram);
	conf_free(conf);
	o->verifier = verifier_new(&options);
	o->dkim = dkim_worker_new(o->secrets, false);
	return ERR_OK;
}

static enum err check_owner(const struct admin_offline *o, const char *name)
{
	char path[PATH_ROOM];

	snprintf(path, sizeof path, "%s/%s", o->path, name);
	return o->user.uid ? disk_check_owner(path, o->user.uid) : ERR_OK;
}

static enum err open_all(struct admin_offline *o)
{
	TRY(take_lock(o));
	TRY(read_file(o));
	find_users(o);
	/* the group of the roles may open it, not what is in it, as master makes it */
	TRY(make_folder(o, "accounts", 0750, (struct user){ o->cell_user.uid, o->user.gid }));
	TRY(make_folder(o, "control", 0700, o->user));
	TRY(make_folder(o, "keys", 0700, o->user));
	TRY(check_owner(o, "control/directory.db"));
	become(o, o->user);
	return open_databases(o);
}

enum err admin_offline_open(const char *dir, struct admin_offline **out)
{
	struct admin_offline *o = MEM_NEW(struct admin_offline);
	mode_t before = umask(077);
	enum err e;

	o->lock = -1;
	o->path = mem_strdup(dir);
	e = open_all(o);
	umask(before);
	if (e != ERR_OK) {
		admin_offline_close(o);
		return e;
	}
	o->host = (struct admin_host){
		.context = o,
		.directory = o->directory,
		.dir = o->path,
		.file = o->file,
		.secret = host_secret,
		.publish = host_publish,
		.end_sessions = host_end_sessions,
		.make_folder = host_make_folder,
		.remove_folder = host_remove_folder,
		.cell = host_cell,
		.limits_changed = host_limits_changed,
		.gained = host_gained,
		.usage = host_usage,
		.end_cell = host_end_cell,
		.queue = host_queue,
		.certificates = host_certificates,
		.trace = host_trace,
		.dkim = host_dkim,
		.question = host_question,
		.route_password = host_route_password,
		.probe = host_probe,
		.sessions = host_sessions,
	};
	*out = o;
	return ERR_OK;
}

const struct admin_host *admin_offline_host(struct admin_offline *o) { return &o->host; }

void admin_offline_close(struct admin_offline *o)
{
	if (o == NULL)
		return;
	if (o->verifier != NULL)
		verifier_free(o->verifier);
	dkim_worker_free(o->dkim);
	secrets_close(o->secrets);
	directory_close(o->directory);
	disk_dir_close(&o->keys_dir);
	disk_dir_close(&o->control_dir);
	conf_free(o->file);
	become(o, (struct user){ 0 });
	fd_close(&o->lock);
	mem_free(o->path);
	mem_free(o);
}
