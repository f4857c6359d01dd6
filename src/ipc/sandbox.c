/* Landlock and seccomp.
 *
 * Landlock decides by path, seccomp by call. Bookworm's landlock (ABI 2) does not see truncate(2), chmod and their like: seccomp
 * has no rule for them, so they fail. The list is an allow-list; what is not on it answers EPERM (a library that probes for a
 * feature goes on), and what only an intruder would try ends the process at once.
 * The filter is compiled to a program for the kernel before it is entered. One number in it is not known by then: a process may
 * send signals only to itself, and nursery compiles the filter that its children enter. So it is compiled with a pid that no
 * process has, and the child puts its own there.
 * A cell keeps nursery's list, which it inherits. So its own only refuses what nursery may do and a cell may not: the kernel asks both, and what
 * either refuses is refused. It is translated by the kernel at the start of each cell, which costs by its length: a whole list took 3 % of that start.
 * Sanitizer builds need calls of their own (ptrace-like, mmap with odd flags): there only landlock is entered. */
#include "ipc/sandbox.h"
#include "base/log.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static long landlock_abi(void) { return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION); }

const char *sandbox_missing(void)
{
	if (landlock_abi() < 2)
		return "landlock (kernel option CONFIG_SECURITY_LANDLOCK, and landlock in the lsm= list)";
	if (prctl(PR_GET_SECCOMP) < 0)
		return "seccomp";
	return NULL;
}

enum {
	READS = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
	WRITES = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
	         LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REFER,
	FILE_RIGHTS = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE,
	ALL = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1 + LANDLOCK_ACCESS_FS_REFER,
};

static enum err enter_landlock(const struct sandbox_path *paths)
{
	struct landlock_ruleset_attr attr = { .handled_access_fs = ALL };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return log_errno("prctl", "no_new_privs");
	CLEANUP(fd_close) int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (rules < 0)
		return log_errno("landlock_create_ruleset", "sandbox");
	for (; paths->path; paths++) {
		struct stat st;
		CLEANUP(fd_close) int fd = open(paths->path, O_PATH | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st) < 0)
			return log_errno("open", paths->path);
		struct landlock_path_beneath_attr rule = { .allowed_access = READS | (paths->is_writable ? WRITES : 0u), .parent_fd = fd };
		if (!S_ISDIR(st.st_mode))
			rule.allowed_access &= FILE_RIGHTS;
		if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
			return log_errno("landlock_add_rule", paths->path);
	}
	if (syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		return log_errno("landlock_restrict_self", "sandbox");
	return ERR_OK;
}

#ifndef FACTEUR_SANITIZER
/* What every role needs: memory, threads, clocks, its descriptors. */
static const char *const basic_calls[] = {
	"read", "write", "readv", "writev", "close", "fstat", "lseek", "munmap", "mremap", "madvise", "brk", "futex", "clock_gettime",
	"clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "getpid", "gettid", "getuid", "geteuid", "getgid",
	"getegid", "getrandom", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "poll", "ppoll", "eventfd2",
	"timerfd_create", "timerfd_settime", "timerfd_gettime", "recvmsg", "recvfrom", "shutdown", "getsockopt", "getsockname",
	"getpeername", "pipe2", "memfd_create", "set_robust_list",
	"get_robust_list", "rseq", "sigaltstack", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "exit", "exit_group",
	"sched_yield", "sched_getaffinity", "restart_syscall", "uname", "sysinfo", "membarrier", "signalfd4", "arch_prctl",
};
/* All but net, whose copies of the log would escape the rule about F_SETFL. */
static const char *const copy_calls[] = { "dup", "dup2", "dup3" };
static const int copy_commands[] = { F_DUPFD, F_DUPFD_CLOEXEC };
/* net: connections to strangers, and datagrams to name servers. No file at all; a large message is read from the descriptor that
 * queue gave. */
static const char *const out_calls[] = { "connect", "bind", "setsockopt", "sendmsg", "sendto", "pread64", "select", "pselect6" };
/* Roles that keep files; landlock says which. */
static const char *const file_calls[] = {
	"open", "openat", "pread64", "pwrite64", "preadv", "pwritev", "pwritev2", "ftruncate", "fsync", "fdatasync", "sync_file_range",
	"fallocate", "fadvise64", "unlink", "unlinkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "getdents64",
	"access", "faccessat", "faccessat2", "stat", "lstat", "newfstatat", "statx", "statfs", "fstatfs", "flock", "readlink",
	"readlinkat", "getcwd", "umask", "copy_file_range", "sendfile",
};
/* Roles that talk to clients through sockets master has bound. */
static const char *const client_calls[] = { "accept4" };
/* What of fcntl is allowed. Not F_SETOWN with F_SETSIG: together they send any signal to any process of the same user. Not F_SETFL:
 * it would take O_APPEND from the log. Only net has it, whose resolver library cannot do without: for every descriptor but the log's, which
 * is standard error, and of which net can make no copy. */
static const int fcntl_commands[] = { F_GETFD, F_SETFD, F_GETFL, F_ADD_SEALS, F_GET_SEALS };
/* nursery forks and waits; and what its children do before they have a list of their own. No cell may. */
static const char *const nursery_calls[] = {
	"wait4", "close_range", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self",
};
static const int nursery_prctls[] = { PR_SET_NO_NEW_PRIVS, PR_GET_SECCOMP, PR_SET_SECCOMP };
static const uint64_t namespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
/* What only an intruder tries here. */
static const char *const deadly_calls[] = {
	"execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "pidfd_send_signal",
	"io_uring_setup", "open_by_handle_at", "keyctl", "add_key", "request_key", "bpf", "perf_event_open", "userfaultfd", "mount",
	"umount2", "setns", "unshare", "init_module", "finit_module", "kexec_load", "mknod", "mknodat", "shmget", "shmat", "msgget",
	"semget", "mq_open",
};

static int add_all(scmp_filter_ctx f, uint32_t action, const char *const *names, size_t n)
{
	int bad = 0;

	for (size_t i = 0; i < n; i++) {
		int call = seccomp_syscall_resolve_name(names[i]);
		if (call != __NR_SCMP_ERROR)
			bad |= seccomp_rule_add(f, action, call, 0);
	}
	return bad;
}

/* What is said to sockets, of which a role has those that it was given. MSG_FASTOPEN is a connect(2) by another name: a listening socket
 * that was shut down could call anybody with it. A pair of datagram sockets could write to any local service by address. */
enum { SOCKET_KIND = 0xf };  /* without SOCK_CLOEXEC and SOCK_NONBLOCK */

/* F_SETFL for every descriptor above standard error. A filter compares 64 bits, of which the kernel looks at 32: "greater than 2" would
 * allow 1 << 32 | 2. So: 3, or one of the higher bits of the 32 is set. */
static int add_setfl(scmp_filter_ctx f)
{
	int bad = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 2, SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, STDERR_FILENO + 1),
	                           SCMP_A1(SCMP_CMP_EQ, F_SETFL));

	for (unsigned bit = 2; bit < 31; bit++)
		bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 2, SCMP_A0(SCMP_CMP_MASKED_EQ, 1U << bit, 1U << bit),
		                        SCMP_A1(SCMP_CMP_EQ, F_SETFL));
	return bad;
}

/* Sockets of the internet, of TCP and UDP, to wherever they like. */
static int add_out_calls(scmp_filter_ctx f)
{
	static const unsigned families[] = { AF_INET, AF_INET6 }, kinds[] = { SOCK_STREAM, SOCK_DGRAM };
	int bad = add_all(f, SCMP_ACT_ALLOW, out_calls, COUNT_OF(out_calls));

	for (size_t i = 0; i < COUNT_OF(families); i++)
		for (size_t k = 0; k < COUNT_OF(kinds); k++)
			bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, SCMP_A0(SCMP_CMP_EQ, families[i]),
			                        SCMP_A1(SCMP_CMP_MASKED_EQ, SOCKET_KIND, kinds[k]));
	bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(dup2), 1, SCMP_A1(SCMP_CMP_EQ, STDERR_FILENO));  /* role_on_log() */
	return bad | add_setfl(f);
}

static int add_socket_calls(scmp_filter_ctx f, enum role role)
{
	int bad = 0;

	if (role == ROLE_NET)
		return add_out_calls(f);
	bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 2, SCMP_A0(SCMP_CMP_EQ, AF_UNIX),
	                        SCMP_A1(SCMP_CMP_MASKED_EQ, SOCKET_KIND, SOCK_SEQPACKET));
	bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(sendmsg), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0));
	bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 2, SCMP_A3(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0),
	                        SCMP_A4(SCMP_CMP_EQ, 0));
	if (role == ROLE_GATE || role == ROLE_MX)
		bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), 2, SCMP_A1(SCMP_CMP_EQ, IPPROTO_TCP),
		                        SCMP_A2(SCMP_CMP_EQ, TCP_NODELAY));
	return bad;
}

enum { NO_PID = 0x7fff4e4f };  /* above what a kernel gives out */

/* Who makes processes, and may send signals to which. */
static int add_process_calls(scmp_filter_ctx f, enum role role)
{
	int bad = 0;

	if (role != ROLE_NURSERY) {
		bad |= seccomp_rule_add(f, SCMP_ACT_KILL_PROCESS, SCMP_SYS(pidfd_open), 0);
		bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
		bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, NO_PID));
		return bad;
	}
	bad |= add_all(f, SCMP_ACT_ALLOW, nursery_calls, COUNT_OF(nursery_calls));
	bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(pidfd_open), 0);
	bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 0);
	bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces, 0));
	for (size_t i = 0; i < COUNT_OF(nursery_prctls); i++)
		bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, (unsigned)nursery_prctls[i]));
	bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 2, SCMP_A0(SCMP_CMP_EQ, PR_SET_DUMPABLE), SCMP_A1(SCMP_CMP_EQ, 0));
	return bad;
}

/* Of what add_process_calls() allows nursery, all that it does not allow others. */
static int refuse_cell(scmp_filter_ctx f)
{
	const uint32_t refused = SCMP_ACT_ERRNO(EPERM);
	int bad = add_all(f, refused, nursery_calls, COUNT_OF(nursery_calls));

	bad |= seccomp_rule_add(f, SCMP_ACT_KILL_PROCESS, SCMP_SYS(pidfd_open), 0);
	bad |= seccomp_rule_add(f, refused, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
	bad |= seccomp_rule_add(f, refused, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_NE, NO_PID));
	bad |= seccomp_rule_add(f, refused, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_NE, PR_SET_NAME));
	return bad;
}

struct sandbox_filter {
	struct sock_filter *program;
	unsigned short      n;
	size_t              pid_at;    /* the instruction that compares with our pid; n: there is none */
};

void sandbox_filter_free(struct sandbox_filter **f)
{
	if (*f != NULL)
		mem_free((*f)->program);
	mem_free(*f);
	*f = NULL;
}

/* The program that libseccomp has made, and where the pid stands in it: exactly once, where it is asked for. */
static enum err export(scmp_filter_ctx f, size_t pids, struct sandbox_filter *out)
{
	CLEANUP(fd_close) int fd = memfd_create("filter", MFD_CLOEXEC);
	struct stat st;
	size_t found = 0;

	if (fd < 0 || seccomp_export_bpf(f, fd) < 0 || fstat(fd, &st) < 0)
		return log_errno("seccomp_export_bpf", "sandbox");
	out->program = mem_alloc((size_t)st.st_size);
	out->n = (unsigned short)((size_t)st.st_size / sizeof(*out->program));
	if (pread(fd, out->program, (size_t)st.st_size, 0) != st.st_size)
		return log_errno("pread", "sandbox");
	out->pid_at = out->n;
	for (size_t i = 0; i < out->n; i++) {
		if (out->program[i].k != NO_PID)
			continue;
		out->pid_at = i;
		found++;
	}
	if (found == pids && (pids == 0 || BPF_CLASS(out->program[out->pid_at].code) == BPF_JMP))
		return ERR_OK;
	log_error("the seccomp filter does not look as expected places=%zu", found);
	return ERR_IO;
}

static enum err load(const struct sandbox_filter *f)
{
	struct sock_filter *program = mem_array(f->n, sizeof(*program));
	struct sock_fprog prog = { f->n, program };
	enum err e = ERR_OK;

	memcpy(program, f->program, f->n * sizeof(*program));
	if (f->pid_at < f->n)
		program[f->pid_at].k = (uint32_t)getpid();
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		e = log_errno("prctl", "seccomp");
	mem_free(program);
	return e;
}

static int add_allowed(scmp_filter_ctx f, enum role role)
{
	int bad = add_all(f, SCMP_ACT_ALLOW, basic_calls, COUNT_OF(basic_calls));

	if (role != ROLE_GATE && role != ROLE_NET)
		bad |= add_all(f, SCMP_ACT_ALLOW, file_calls, COUNT_OF(file_calls));
	if (role == ROLE_GATE || role == ROLE_MX || role == ROLE_CONTROL)
		bad |= add_all(f, SCMP_ACT_ALLOW, client_calls, COUNT_OF(client_calls));
	if (role == ROLE_QUEUE) {
		static const char *const queue_calls[] = { "syncfs", "linkat" };
		bad |= add_all(f, SCMP_ACT_ALLOW, queue_calls, COUNT_OF(queue_calls));
		/* disk_has_writer(): whose signal nobody can send elsewhere, since F_SETOWN is not allowed */
		bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_SETLEASE));
	}
	if (role != ROLE_NET) {
		bad |= add_all(f, SCMP_ACT_ALLOW, copy_calls, COUNT_OF(copy_calls));
		for (size_t i = 0; i < COUNT_OF(copy_commands); i++)
			bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, (unsigned)copy_commands[i]));
	}
	for (size_t i = 0; i < COUNT_OF(fcntl_commands); i++)
		bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, (unsigned)fcntl_commands[i]));
	bad |= add_socket_calls(f, role);
	bad |= add_all(f, SCMP_ACT_KILL_PROCESS, deadly_calls, COUNT_OF(deadly_calls));
	/* memory that is never executable and writable; threads, but no processes; signals only to itself; names of threads */
	bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	bad |= add_process_calls(f, role);
	bad |= seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);  /* the C library falls back to clone */
	bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
	bad |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A2(SCMP_CMP_EQ, 0));
	return bad;
}

enum err sandbox_filter_make(enum role role, struct sandbox_filter **out)
{
	CLEANUP(sandbox_filter_free) struct sandbox_filter *made = MEM_NEW(struct sandbox_filter);
	scmp_filter_ctx f = seccomp_init(role == ROLE_CELL ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM));
	int bad = f == NULL;
	enum err e = ERR_IO;

	bad |= role == ROLE_CELL ? refuse_cell(f) : add_allowed(f, role);
	bad |= seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (bad == 0)
		e = export(f, role != ROLE_NURSERY, made);
	else
		log_error("the seccomp filter could not be made role=%s error=%d", role_name(role), bad);
	if (f)
		seccomp_release(f);
	if (e == ERR_OK) {
		*out = made;
		made = NULL;
	}
	return e;
}

/* A cell's list alone would allow nearly all. */
static enum err check_inherited(enum role role)
{
	if (role != ROLE_CELL || prctl(PR_GET_SECCOMP) == SECCOMP_MODE_FILTER)
		return ERR_OK;
	log_error("a cell has not inherited nursery's seccomp filter");
	return ERR_IO;
}
#else
struct sandbox_filter {
	enum role role;
};

enum err sandbox_filter_make(enum role role, struct sandbox_filter **out)
{
	*out = MEM_NEW(struct sandbox_filter);
	(*out)->role = role;
	return ERR_OK;
}

void sandbox_filter_free(struct sandbox_filter **f)
{
	mem_free(*f);
	*f = NULL;
}

static enum err load(const struct sandbox_filter *f) { return f->role < ROLE_COUNT ? ERR_OK : ERR_INVALID; }
static enum err check_inherited(UNUSED enum role role) { return ERR_OK; }
#endif

enum err sandbox_enter(enum role role, const struct sandbox_filter *filter, const struct sandbox_path *paths, const char **why)
{
	CLEANUP(sandbox_filter_free) struct sandbox_filter *own = NULL;

	*why = sandbox_missing();
	if (*why)
		return ERR_UNAVAILABLE;
	TRY(check_inherited(role));
	if (filter == NULL)
		TRY(sandbox_filter_make(role, &own));
	TRY(enter_landlock(paths));
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return log_errno("prctl", "dumpable");
	return load(filter ? filter : own);
}
