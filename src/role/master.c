/* Master: binds the ports, makes the channels, starts every role and restarts what dies. Root where it can be, and therefore
 * small: it never reads a byte that came from a network, and single-threaded: it forks.
 *
 * A role is the same binary executed again (`--role NAME`), so that no two processes share an address layout and nothing of
 * master's memory is in them. Every pair of roles in `links` gets a fresh socketpair whenever one of the two starts.
 * With --single they are threads instead (role/threads.h); all else is the same. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "disk/disk.h"
#include "ipc/sandbox.h"
#include "role/memory.h"
#include "role/notify.h"
#include "role/role_private.h"
#include "role/threads.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CLOSED_GRACE_MS = 1000, BACK_OFF_FIRST_MS = 100, BACK_OFF_MAX_MS = 10000, STABLE_MS = 30000, YOUNG_MS = 1000, MENDED_EVERY_MS = 200,
       LOOK_MOST_MS = 1000, ASKS_OF_PATIENCE = 5 };
enum { FILES_LEAST = 256 };  /* that may be open: with fewer the roles lose each other one by one */
enum { ADDRESSES_LEAST_MB = 512 };  /* of a process: with less the threads of some roles cannot begin, and others end in the middle of their work */

/* Who talks to whom (docs/architecture.md). */
static const struct { enum role a, b; } links[] = {
	{ ROLE_GATE, ROLE_KEYS },    { ROLE_MX, ROLE_KEYS },     { ROLE_CONTROL, ROLE_KEYS }, { ROLE_CONTROL, ROLE_GATE },
	{ ROLE_CONTROL, ROLE_MX },   { ROLE_CONTROL, ROLE_QUEUE }, { ROLE_MX, ROLE_QUEUE },     { ROLE_QUEUE, ROLE_NET },
	{ ROLE_CONTROL, ROLE_NET },  { ROLE_MX, ROLE_NET },      { ROLE_QUEUE, ROLE_KEYS },
	{ ROLE_NET, ROLE_KEYS },
};

struct running *master_role(struct master *m, enum role role, uint32_t index)
{
	for (size_t i = 0; i < m->role_count; i++)
		if (m->roles[i].role == role && m->roles[i].index == index)
			return &m->roles[i];
	return NULL;
}

/* In the child, before exec: only 0-2 and the channel stay open. */
static void become_role(const struct running *r, int channel_fd)
{
	char index[16];
	sigset_t none;
	const struct master *m = r->master;
	bool is_cells = r->role == ROLE_NURSERY;

	dup2(channel_fd, 3);
	close_range(4, ~0U, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0);  /* Ctrl-C reaches master only, which stops the roles in order */
	if (m->uid) {
		gid_t gid = is_cells ? m->cell_gid : m->gid;
		uid_t uid = is_cells ? m->cell_uid : m->uid;
		if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0) {
			log_errno("setresuid", role_name(r->role));
			_exit(1);
		}
	}
	snprintf(index, sizeof(index), "%u", r->index);
	if (is_cells)
		setenv("LD_BIND_NOW", "1", 1);  /* what is looked up at its first call, each cell would look up anew: 20 pages */
	execl("/proc/self/exe", "facteur", "--role", role_name(r->role), "--index", index, "--dir", m->options.dir, "--sandbox",
	      m->sandbox ? "on" : "off", "--log", conf_on(m->conf, SETTING_log_json) ? "json" : "text", (char *)NULL);
	log_errno("exec", "/proc/self/exe");
	_exit(1);
}

static void connect_pair(struct running *a, struct running *b)
{
	CLEANUP(buf_free) struct buf to_a = BUF(16), to_b = BUF(16);
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		log_errno("socketpair", role_name(a->role));
		return;
	}
	put_u8(&to_a, (uint8_t)b->role);
	put_u32(&to_a, b->index);
	put_u8(&to_b, (uint8_t)a->role);
	put_u32(&to_b, a->index);
	channel_notify(a->ch, NOTICE_CONNECT, buf_str(&to_a), &pair[0], 1);
	channel_notify(b->ch, NOTICE_CONNECT, buf_str(&to_b), &pair[1], 1);
	close(pair[0]);
	close(pair[1]);
}

static bool is_linked(enum role a, enum role b)
{
	for (size_t i = 0; i < COUNT_OF(links); i++)
		if ((links[i].a == a && links[i].b == b) || (links[i].a == b && links[i].b == a))
			return true;
	return false;
}

static void connect_peers(struct running *r)
{
	for (size_t i = 0; i < r->master->role_count; i++) {
		struct running *peer = &r->master->roles[i];
		if (peer != r && peer->pid && is_linked(r->role, peer->role))
			connect_pair(r, peer);
	}
}

/* Not where one of them has only just been started, and the news was sent before it was connected. A role that was taken over can have its
 * own channels closed, as it can by itself, and not many times a second. */
void role_on_lost(void *context, UNUSED struct channel *ch, struct message *msg)
{
	struct running *r = context, *peer;
	struct scan s = scan_of(msg->body);
	enum role role = (enum role)get_u8(&s);
	uint32_t index = get_u32(&s);
	int64_t now = clock_mono_ms();

	peer = get_end(&s) && is_linked(r->role, role) ? master_role(r->master, role, index) : NULL;
	if (peer == NULL || peer->pid == 0 || now - r->started_ms < YOUNG_MS || now - peer->started_ms < YOUNG_MS || now - r->mended_ms < MENDED_EVERY_MS)
		return;
	r->mended_ms = now;
	log_warn("two roles have lost each other, they are connected again role=%s peer=%s index=%u", role_name(r->role), role_name(role), index);
	connect_pair(r, peer);
}

/* Gives what one gate counts to another. */
static void show_counts(const struct running *of, const struct running *to)
{
	CLEANUP(buf_free) struct buf b = BUF(16);

	if (of == to || to->role != ROLE_GATE || to->pid == 0 || of->counts_fd < 0)
		return;
	put_u32(&b, of->index);
	channel_notify(to->ch, NOTICE_GATE_COUNTS, buf_str(&b), &of->counts_fd, 1);
}

/* A gate has started: it learns what the others count. */
static void gates_show_counts(const struct running *fresh)
{
	for (size_t i = 0; i < fresh->master->role_count; i++)
		show_counts(&fresh->master->roles[i], fresh);
}

void gate_on_counts(void *context, UNUSED struct channel *ch, struct message *msg)
{
	struct running *r = context;

	if (r->role != ROLE_GATE || msg->fd_count != 1)
		return;
	fd_close(&r->counts_fd);
	r->counts_fd = msg->fds[0];
	msg->fds[0] = -1;
	for (size_t i = 0; i < r->master->role_count; i++)
		show_counts(r, &r->master->roles[i]);
}

/* The role ends, or has said what it must not say: an honest one is gone in a moment, any other is ended (serve()). */
static void on_role_closed(void *context, UNUSED struct channel *ch)
{
	((struct running *)context)->closed_ms = clock_mono_ms();
}

static void start_role(struct running *r)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		log_errno("socketpair", role_name(r->role));
		return;
	}
	pid_t pid = threads_are_used() ? threads_start_role(r->role, r->index, pair[1]) : fork();
	if (pid == 0)
		become_role(r, pair[1]);
	if (!threads_are_used())
		close(pair[1]);
	if (pid < 0) {
		log_errno("fork", role_name(r->role));
		close(pair[0]);
		r->restart_at_ms = clock_mono_ms() + 1000;
		return;
	}
	r->pid = pid;
	r->is_ready = false;
	r->closed_ms = 0;
	r->silent_ms = 0;
	r->is_asked = false;
	r->started_ms = clock_mono_ms();
	r->restart_at_ms = 0;
	channel_replace(r->ch, pair[0]);
	watch_channel(r->master->watch, r->ch);
	ports_give(r);
	connect_peers(r);
	gates_show_counts(r);
	cells_reconnect(r->master, r->role);
	log_debug("role started name=%s index=%u pid=%d", role_name(r->role), r->index, (int)pid);
}

static void role_ended(struct running *r, int status)
{
	struct master *m = r->master;

	r->pid = 0;
	fd_close(&r->counts_fd);
	cells_asker_gone(m, r->ch);
	if (r->role == ROLE_CONTROL)
		pairs_forget(m, 0);  /* it may have ended between a change and its SHARES_CHANGED */
	channel_replace(r->ch, -1);
	if (m->stops)
		return;
	log_error("role ended name=%s index=%u %s=%d, starting it again", role_name(r->role), r->index,
	          WIFSIGNALED(status) ? "signal" : "code", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	if (clock_mono_ms() - r->started_ms > STABLE_MS)
		r->back_off_ms = 0;
	r->restart_at_ms = clock_mono_ms() + r->back_off_ms;
	r->back_off_ms = r->back_off_ms ? r->back_off_ms * 2 : BACK_OFF_FIRST_MS;
	if (r->back_off_ms > BACK_OFF_MAX_MS)
		r->back_off_ms = BACK_OFF_MAX_MS;
	if (r->role == ROLE_GATE) {  /* what it parked is gone with it */
		size_t at = 0;
		struct str key;
		void *v;
		while (map_next(&m->watches, &at, &key, &v)) {
			uintptr_t mask = (uintptr_t)v & ~((uintptr_t)1 << r->index);
			map_set(&m->watches, key, (void *)mask);
		}
	}
}

/* -1: there is none, or it cannot be opened (logged). It may be a pipe, which then never waits for its reader. */
static int open_log_file(const struct master *m)
{
	struct str path = conf_text(m->conf, SETTING_log_file);
	int fd = path.n ? open(path.p, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0640) : -1;

	if (path.n && fd < 0)
		log_error("log_file (facteur.conf) cannot be written path=%s: %s", path.p,
		          errno == ENXIO ? "it is a pipe that nobody reads; begin what reads it first" : strerror(errno));
	return fd;
}

/* The log file is opened anew (logrotate moved it): here, and by descriptor in every role. */
static enum err open_log(const struct master *m)
{
	CLEANUP(fd_close) int fd = open_log_file(m);

	if (fd < 0)
		return conf_text(m->conf, SETTING_log_file).n ? ERR_IO : ERR_OK;
	dup2(fd, STDERR_FILENO);
	return ERR_OK;
}

/* Who may change flags (ipc/sandbox.c) has the file opened for itself: those of the others stay. */
static void send_log(struct master *m, const struct running *r)
{
	CLEANUP(fd_close) int own = r->role == ROLE_NET ? open_log_file(m) : -1;
	int fd = own >= 0 ? own : STDERR_FILENO;

	channel_notify(r->ch, NOTICE_LOG, STR(""), &fd, 1);
}

static void on_hangup(struct master *m)
{
	if (open_log(m) != ERR_OK)
		return;
	for (size_t i = 0; i < m->role_count; i++)
		if (m->roles[i].pid)
			send_log(m, &m->roles[i]);
	cells_notify(m, NOTICE_LOG, STDERR_FILENO);
	log_info("log opened anew");
}

static void on_child(struct master *m, pid_t pid, int status)
{
	for (size_t i = 0; i < m->role_count; i++) {
		if (m->roles[i].pid == pid) {
			role_ended(&m->roles[i], status);
			return;
		}
	}
	cells_collected(m, pid, status);
}

static void on_thread_ended(void *context)
{
	int number, code;

	while ((number = threads_ended_role(&code)) > 0)
		on_child(context, number, W_EXITCODE(code, 0));
}

static void on_signal(void *context)
{
	struct master *m = context;
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	while (read(m->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGINT || info.ssi_signo == SIGTERM)
			m->stops = true;
		else if (info.ssi_signo == SIGHUP)
			on_hangup(m);
	}
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		on_child(m, pid, status);
}

static enum err make_folder(const struct master *m, const char *name, mode_t mode, uid_t uid, gid_t gid)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", m->options.dir, name);
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return log_errno("mkdir", path);
	if (m->uid && chown(path, uid, gid) < 0)
		return log_errno("chown", path);
	if (chmod(path, mode) < 0)  /* whatever the umask is */
		return log_errno("chmod", path);
	return ERR_OK;
}

/* The users of the roles, where master is root and they exist; else everything runs as who started it. "root" in facteur.conf: so
 * it is wanted (a demo in a folder that other users cannot reach). */
static void find_users(struct master *m)
{
	const char *name = conf_text(m->conf, SETTING_user).p, *cell_name = conf_text(m->conf, SETTING_cell_user).p;
	struct passwd *p;

	if (geteuid() != 0 || m->options.single || strcmp(name, "root") == 0)
		return;
	p = getpwnam(name);
	if (p) {
		m->uid = p->pw_uid;
		m->gid = p->pw_gid;
	}
	p = getpwnam(cell_name);
	if (p && m->uid) {
		m->cell_uid = p->pw_uid;
		m->cell_gid = p->pw_gid;
	} else {
		m->uid = 0;
		log_warn("the users %s and %s do not exist: every role runs as root. `facteur setup` as root makes them", name, cell_name);
	}
}

static void add_role(struct master *m, enum role role, uint32_t index)
{
	struct running *r = &m->roles[m->role_count++];

	*r = (struct running){ .master = m, .role = role, .index = index, .counts_fd = -1 };
	r->ch = channel_new(-1, ROLE_MASTER, role, master_handlers, r, on_role_closed);  /* until it runs, who asks it hears that it is not there */
}

/* What is left of a role; ROLE_CELL: of the cells. */
static size_t running_of(const struct master *m, enum role role)
{
	size_t left = role == ROLE_CELL ? cells_left(m) : 0;

	for (size_t i = 0; i < m->role_count; i++)
		left += m->roles[i].role == role && m->roles[i].pid;
	return left;
}

static void tell_all(struct master *m, enum role role, uint16_t notice)
{
	for (size_t i = 0; i < m->role_count; i++)
		if (m->roles[i].role == role && m->roles[i].pid)
			channel_notify(m->roles[i].ch, notice, STR(""), NULL, 0);
	if (role == ROLE_CELL)
		cells_stop(m);
}

/* First those who accept; then whoever waits is told goodbye, and each session when its command is done; last those who hold the
 * promise. A step that takes too long does not take the time of the next one. */
static void stop_all(struct master *m)
{
	static const struct { enum role tell; uint16_t notice; enum role await; int patience_ms; } steps[] = {
		{ ROLE_MX,      NOTICE_STOP,  ROLE_MX,      10000 },
		{ ROLE_GATE,    NOTICE_DRAIN, ROLE_COUNT,   0 },
		{ ROLE_CELL,    NOTICE_STOP,  ROLE_CELL,    5000 },
		{ ROLE_GATE,    NOTICE_STOP,  ROLE_GATE,    10000 },
		{ ROLE_COUNT,   0,            ROLE_CELL,    45000 },  /* a large WAL on a slow disk */
		{ ROLE_QUEUE,   NOTICE_STOP,  ROLE_QUEUE,   20000 },  /* another server's last word to a message */
		{ ROLE_NET,     NOTICE_STOP,  ROLE_NET,     5000 },
		{ ROLE_NURSERY, NOTICE_STOP,  ROLE_NURSERY, 5000 },
		{ ROLE_CONTROL, NOTICE_STOP,  ROLE_CONTROL, 10000 },
		{ ROLE_KEYS,    NOTICE_STOP,  ROLE_KEYS,    5000 },
	};

	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		int64_t until = clock_mono_ms() + steps[i].patience_ms;
		tell_all(m, steps[i].tell, steps[i].notice);
		while (running_of(m, steps[i].await) && clock_mono_ms() < until)
			watch_run(m->watch, 50);
	}
	for (size_t i = 0; i < m->role_count; i++) {
		if (m->roles[i].pid) {
			log_warn("role did not stop in time, ending it name=%s", role_name(m->roles[i].role));
			if (threads_are_used())
				continue;  /* it ends with the process */
			kill(m->roles[i].pid, SIGKILL);
			waitpid(m->roles[i].pid, NULL, 0);
		}
	}
}

static void on_alive(void *context, UNUSED struct message *answer)
{
	struct running *r = context;

	r->silent_ms = 0;
	r->is_asked = false;
}

/* One that hangs closes no channel: all that it does would stand still until somebody notices. Time in which master itself did not run, with the whole
 * machine perhaps, is nobody's silence. */
static void look_after(struct running *r, int64_t step_ms)
{
	const struct master *m = r->master;

	if (r->pid == 0 || m->patience_ms == 0 || threads_are_used())
		return;
	r->silent_ms += step_ms;
	if (r->is_asked && r->silent_ms >= m->patience_ms) {
		log_error("a role hangs, it has not answered for %lld s: it is ended and started again name=%s index=%u (role_patience in facteur.conf)",
		          (long long)(r->silent_ms / 1000), role_name(r->role), r->index);
		r->silent_ms = 0;
		kill(r->pid, SIGKILL);
	} else if (!r->is_asked && r->silent_ms >= m->patience_ms / ASKS_OF_PATIENCE) {
		r->silent_ms = 0;
		r->is_asked = true;
		channel_ask(r->ch, REQUEST_ALIVE, STR(""), NULL, 0, INT_MAX, on_alive, r);
	}
}

static void serve(struct master *m)
{
	bool was_ready = false;

	for (int64_t looked_ms = clock_mono_ms(); !m->stops;) {
		int64_t now = clock_mono_ms(), step_ms = now - looked_ms < LOOK_MOST_MS ? now - looked_ms : LOOK_MOST_MS;
		bool ready = true;
		looked_ms = now;
		for (size_t i = 0; i < m->role_count; i++) {
			struct running *r = &m->roles[i];
			if (r->pid == 0 && now >= r->restart_at_ms)
				start_role(r);
			else if (r->pid && r->closed_ms && now > r->closed_ms + CLOSED_GRACE_MS && !threads_are_used())
				kill(r->pid, SIGKILL);
			ready &= r->pid && r->is_ready;
			channel_expire(r->ch, now);
			look_after(r, step_ms);
		}
		if (ready && !was_ready) {
			was_ready = true;
			log_info("facteur is ready dir=%s port_offset=%d", m->options.dir, m->options.port_offset);
			notify_manager("READY=1");
		}
		cells_tick(m);
		watch_run(m->watch, 100);
	}
}

/* facteur.conf, and what of it the command line overrides. */
static bool read_conf(struct master *m)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct conf_problem problem;
	char path[512];

	m->conf = conf_new();
	snprintf(path, sizeof(path), "%s/facteur.conf", m->options.dir);
	if (!conf_read_file(m->conf, path, &problem)) {
		log_error("%s: " STR_FMT, path, STR_ARG(conf_explain(&a, &problem, false)));
		return false;
	}
	m->patience_ms = (int64_t)conf_number(m->conf, SETTING_role_patience) * 1000;
	if (m->options.port_offset < 0)
		m->options.port_offset = (int)conf_number(m->conf, SETTING_port_offset);
	log_setup("master", LOG_LEVEL_INFO, conf_on(m->conf, SETTING_log_json));
	return true;
}

/* False: the sandbox is wanted and this kernel does not have it. */
static bool choose_sandbox(struct master *m)
{
	const char *missing = sandbox_missing();

	m->sandbox = !missing && !m->options.single && conf_on(m->conf, SETTING_sandbox);
	if (m->sandbox)
		return true;
	if (missing && !m->options.demo && !m->options.single && conf_on(m->conf, SETTING_sandbox)) {
		log_error("this kernel lacks %s, without which one mailbox is not shielded from another; facteur does not serve. "
		          "Set sandbox = off in facteur.conf to accept that", missing);
		return false;
	}
	log_warn("the sandbox is OFF: mailboxes are not shielded from each other%s%s", missing ? "; missing: " : "", missing ? missing : "");
	return true;
}

/* False: the threads and memory of a role have no room, which is said. Where a role has that trouble is not where it can be seen what to do. */
static bool has_addresses(void)
{
	struct rlimit addresses;

	if (getrlimit(RLIMIT_AS, &addresses) < 0 || addresses.rlim_cur >= (rlim_t)ADDRESSES_LEAST_MB << 20)
		return true;
	log_error("a process may have at most %llu MB of addresses, and the server needs %d: raise LimitAS= of the service, or ulimit -v; what it really "
	          "takes of the memory is limited by MemoryMax=", (unsigned long long)(addresses.rlim_cur >> 20), ADDRESSES_LEAST_MB);
	return false;
}

/* False: too few files, which is said. */
static bool choose_sizes(struct master *m)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN), pages = sysconf(_SC_PHYS_PAGES);
	struct rlimit files;
	uint64_t memory = memory_allowed((uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE), "/proc/self/cgroup", "/sys/fs/cgroup");

	m->gates = (int)conf_number(m->conf, SETTING_gates);
	if (m->gates == 0)
		m->gates = cpus > 2 ? (cpus > GATES_MAX ? GATES_MAX : (int)cpus) : 2;
	m->cells_max = (size_t)conf_number(m->conf, SETTING_cells_max);
	if (m->cells_max == 0)
		m->cells_max = (size_t)(memory / 3000000) + 1;  /* half of it, at 1.5 MB each */
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return true;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_max < FILES_LEAST) {
		log_error("at most %llu files may be open, and the server needs %d: raise LimitNOFILE= of the service, or ulimit -n",
		          (unsigned long long)files.rlim_max, FILES_LEAST);
		return false;
	}
	/* a cell costs master three descriptors, queue and control two each; a quarter is for sessions whose cell starts */
	size_t room = files.rlim_max > 1u << 20 ? 1u << 20 : (size_t)files.rlim_max;
	if (m->cells_max > room / 4)
		m->cells_max = room / 4;
	m->attaches_max = room / 8;
	log_info("limits open_files=%zu memory_mb=%llu accounts_at_once=%zu gates=%d", room, (unsigned long long)(memory >> 20), m->cells_max, m->gates);
	return true;
}

static enum err make_folders(const struct master *m)
{
	static const char *const own[] = { "keys", "queue", "tls", "control" };

	/* the group of the roles may open it, not what is in it: queue syncs its file system */
	TRY(make_folder(m, "accounts", 0750, m->cell_uid, m->gid));
	for (size_t i = 0; i < COUNT_OF(own); i++)
		TRY(make_folder(m, own[i], 0700, m->uid, m->gid));
	return ERR_OK;
}

/* A role that cannot open its files would be started again and again, and say only that. */
static enum err check_owners(const struct master *m)
{
	const struct { const char *name; uid_t uid; } files[] = { { "control/directory.db", m->uid }, { "keys/keys.db", m->uid }, { "accounts/1", m->cell_uid } };

	for (size_t i = 0; i < COUNT_OF(files) && m->uid; i++) {
		char path[512];
		snprintf(path, sizeof path, "%s/%s", m->options.dir, files[i].name);
		TRY(disk_check_owner(path, files[i].uid));
	}
	return ERR_OK;
}

static void watch_children(struct master *m)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	m->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	m->watch = watch_new();
	watch_fd(m->watch, m->signal_fd, on_signal, m);
	if (m->options.single) {
		threads_use(m->options.dir);
		watch_fd(m->watch, threads_role_fd(), on_thread_ended, m);
	}
}

int master_run(const struct serve_options *options)
{
	struct master m = { .options = *options };
	char path[512];

	log_setup("master", LOG_LEVEL_INFO, false);
	prctl(PR_SET_NAME, "facteur");  /* begun by the demonstration, by /proc/self/exe, it would be called "exe" */
	if (!read_conf(&m) || !choose_sandbox(&m))
		return 1;
	if (!has_addresses() || !choose_sizes(&m))
		return 1;
	find_users(&m);
	if (!role_net_can_start(m.conf, m.uid, m.gid))
		return 1;
	snprintf(path, sizeof(path), "%s/lock", options->dir);
	CLEANUP(fd_close) int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock < 0) {
		log_error("%s cannot be written: %s", options->dir, strerror(errno));
		return 1;
	}
	if (flock(lock, LOCK_EX | LOCK_NB) < 0) {
		log_error("another facteur is using %s: %s", options->dir, strerror(errno));
		return 1;
	}
	umask(077);
	if (make_folders(&m) != ERR_OK || check_owners(&m) != ERR_OK || ports_bind(&m) != ERR_OK)
		return 1;
	/* until here to standard error: why a server does not start is told to whoever starts it */
	if (open_log(&m) != ERR_OK)
		return 1;
	log_never_waits(STDERR_FILENO);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	watch_children(&m);
	add_role(&m, ROLE_NURSERY, 0);
	add_role(&m, ROLE_KEYS, 0);
	add_role(&m, ROLE_CONTROL, 0);
	add_role(&m, ROLE_NET, 0);
	add_role(&m, ROLE_QUEUE, 0);
	add_role(&m, ROLE_MX, 0);
	for (int i = 0; i < m.gates; i++)
		add_role(&m, ROLE_GATE, (uint32_t)i);
	serve(&m);
	log_info("stopping");
	notify_manager("STOPPING=1");
	stop_all(&m);
	ports_close(&m);
	for (size_t i = 0; i < m.role_count; i++)
		channel_free(m.roles[i].ch);
	map_free(&m.cells);
	map_free(&m.watches);
	map_free(&m.pairs);
	watch_free(m.watch);
	conf_free(m.conf);
	log_info("stopped");
	return 0;
}
