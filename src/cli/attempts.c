/* The attempts. Each makes the plainest call that would do harm; the arguments are such that without a sandbox it
 * would succeed or fail with an errno of its own (EFAULT, EINVAL, ESRCH …), which counts as "got through": the call
 * reached the kernel's code. */
#include "cli/attempts.h"
#include "base/err.h"
#include "ipc/grant.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

enum {
	CELL = 1 << ROLE_CELL, KEYS = 1 << ROLE_KEYS, CONTROL = 1 << ROLE_CONTROL, QUEUE = 1 << ROLE_QUEUE,
	GATE = 1 << ROLE_GATE, MX = 1 << ROLE_MX, NET = 1 << ROLE_NET, ALL = ~0,
	NURSERY = 1 << ROLE_NURSERY,
	NOT_NET = ALL & ~NET,          /* what net is there for */
	NOT_NURSERY = ALL & ~NURSERY,  /* and nursery: it makes cells */
};

static int open_path(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	return fd < 0 ? -1 : close(fd);
}

static int open_below(const struct stage *s, const char *name, int flags)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", s->dir, name);
	return open_path(path, flags);
}

/* A call that would give a descriptor or a number. */
static int got(long result) { return result < 0 ? -1 : 0; }

static const char *path_of(const struct stage *s, const char *name)
{
	static char path[128];  /* of this process, which tries one thing */

	snprintf(path, sizeof(path), "%s/%s", s->dir, name);
	return path;
}

/* ---- files ---- */
static int read_own_account(const struct stage *s) { return open_below(s, "accounts/1/secret", O_RDWR); }
static int make_file_in_own_account(const struct stage *s) { return open_below(s, "accounts/1/new", O_RDWR | O_CREAT); }
static int read_other_account(const struct stage *s) { return open_below(s, "accounts/2/secret", O_RDONLY); }
static int read_below(const struct stage *s)
{
	int fd = openat(s->accounts_fd, "2/secret", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -1 : close(fd);
}
static int list_accounts(const struct stage *s) { return open_below(s, "accounts", O_RDONLY | O_DIRECTORY); }
static int write_other_account(const struct stage *s) { return open_below(s, "accounts/2/new", O_RDWR | O_CREAT); }
static int read_any_account(const struct stage *s) { return open_below(s, "accounts/1/secret", O_RDONLY); }
static int read_keys(const struct stage *s) { return open_below(s, "keys/secret", O_RDONLY); }
static int read_tls(const struct stage *s) { return open_below(s, "tls/secret", O_RDONLY); }
static int write_tls(const struct stage *s) { return open_below(s, "tls/secret", O_WRONLY); }
static int read_control(const struct stage *s) { return open_below(s, "control/secret", O_RDONLY); }
static int read_queue(const struct stage *s) { return open_below(s, "queue/secret", O_RDONLY); }
static int read_passwd(UNUSED const struct stage *s) { return open_path("/etc/passwd", O_RDONLY); }
static int read_proc(UNUSED const struct stage *s) { return open_path("/proc/self/environ", O_RDONLY); }
static int write_tmp(const struct stage *s) { return open_below(s, "out", O_WRONLY | O_CREAT); }
static int write_shm(UNUSED const struct stage *s) { return open_path("/dev/shm/facteur-selftest", O_RDWR | O_CREAT); }
static int unset_append(UNUSED const struct stage *s) { return fcntl(STDERR_FILENO, F_SETFL, 0); }
static int unset_append_of_copy(UNUSED const struct stage *s)
{
	int copy = dup(STDERR_FILENO);

	return copy < 0 ? -1 : fcntl(copy, F_SETFL, 0);
}
static int unset_append_of_fcntl_copy(UNUSED const struct stage *s)
{
	int copy = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -1 : fcntl(copy, F_SETFL, 0);
}
/* The kernel looks at 32 bits of a descriptor, a filter at 64. */
static int unset_append_by_long_number(UNUSED const struct stage *s)
{
	return got(syscall(SYS_fcntl, (1UL << 32) + STDERR_FILENO, F_SETFL, 0));
}
static int pass_to_itself(UNUSED const struct stage *s)
{
	int pair[2];

	return socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair);
}
static int truncate_other(const struct stage *s) { return truncate(path_of(s, "accounts/2/secret"), 0); }
static int chmod_other(const struct stage *s) { return chmod(path_of(s, "accounts/2/secret"), 0666); }
static int chown_other(const struct stage *s) { return chown(path_of(s, "accounts/2/secret"), getuid(), getgid()); }
static int utime_other(const struct stage *s) { return utimensat(AT_FDCWD, path_of(s, "accounts/2/secret"), NULL, 0); }
static int xattr_other(const struct stage *s) { return setxattr(path_of(s, "accounts/2/secret"), "user.x", "1", 1, 0); }
static int link_other(const struct stage *s)
{
	char from[128];

	snprintf(from, sizeof(from), "%s/accounts/2/secret", s->dir);
	return linkat(AT_FDCWD, from, AT_FDCWD, path_of(s, "accounts/1/stolen"), 0);
}
static int symlink_own(const struct stage *s) { return symlink("/etc", path_of(s, "accounts/1/etc")); }
static int rename_other(const struct stage *s)
{
	char from[128];

	snprintf(from, sizeof(from), "%s/accounts/2/secret", s->dir);
	return rename(from, path_of(s, "accounts/1/stolen"));
}
static int make_device(const struct stage *s) { return mknod(path_of(s, "accounts/1/null"), S_IFCHR | 0600, 0x103); }
static int make_fifo(const struct stage *s) { return mkfifo(path_of(s, "accounts/1/pipe"), 0600); }
static int open_by_handle(UNUSED const struct stage *s)
{
	return got(syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, O_RDONLY));
}

/* ---- the network ---- */
static int make_socket(UNUSED const struct stage *s) { return got(socket(AF_INET, SOCK_STREAM, 0)); }
static int make_unix_socket(UNUSED const struct stage *s) { return got(socket(AF_UNIX, SOCK_STREAM, 0)); }
static int make_raw_socket(UNUSED const struct stage *s) { return got(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)); }
static int use_connect(const struct stage *s)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	return connect(s->socket_fd, (struct sockaddr *)&to, sizeof(to));
}
static int use_bind(const struct stage *s)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	return bind(s->socket_fd, (struct sockaddr *)&at, sizeof(at));
}

/* connect(2) by another name */
static int use_fast_open(const struct stage *s)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	return got(sendto(s->socket_fd, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&to, sizeof(to)));
}
static int use_fast_open_message(const struct stage *s)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct iovec part = { (void *)(uintptr_t)"x", 1 };
	struct msghdr m = { .msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &part, .msg_iovlen = 1 };

	return got(sendmsg(s->socket_fd, &m, MSG_FASTOPEN));
}
/* A socket that can write to any local service, /dev/log say, by its address. */
static int make_datagram_pair(UNUSED const struct stage *s)
{
	int pair[2];

	return socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
}
static int listen_again(const struct stage *s) { return listen(s->socket_fd, 1); }
static int change_socket(const struct stage *s)
{
	int on = 1;

	return setsockopt(s->socket_fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
}

/* ---- other programs and processes ---- */
static int use_exec(UNUSED const struct stage *s) { return execl("/bin/true", "true", (char *)NULL); }
static int use_fork(UNUSED const struct stage *s)
{
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);

	if (pid == 0)
		_exit(0);
	return pid < 0 ? -1 : 0;
}
static int use_ptrace(const struct stage *s) { return (int)ptrace(PTRACE_ATTACH, s->victim, NULL, NULL); }
static int read_memory(const struct stage *s)
{
	char byte;
	struct iovec here = { &byte, 1 }, there = { (void *)(uintptr_t)s->secret, 1 };

	return got(process_vm_readv(s->victim, &here, 1, &there, 1, 0));
}
static int write_memory(const struct stage *s)
{
	char byte = 0;
	struct iovec here = { &byte, 1 }, there = { (void *)(uintptr_t)s->secret, 1 };

	return got(process_vm_writev(s->victim, &here, 1, &there, 1, 0));
}
static int use_pidfd(const struct stage *s) { return got(syscall(SYS_pidfd_open, s->victim, 0)); }
static int use_pidfd_getfd(UNUSED const struct stage *s) { return got(syscall(SYS_pidfd_getfd, 0, 0, 0)); }
static int use_pidfd_signal(UNUSED const struct stage *s) { return got(syscall(SYS_pidfd_send_signal, 0, 0, NULL, 0)); }
static int kill_other(const struct stage *s) { return kill(s->victim, 0); }
static int tgkill_other(const struct stage *s) { return (int)syscall(SYS_tgkill, s->victim, s->victim, 0); }
static int kill_everybody(UNUSED const struct stage *s) { return kill(-1, 0); }
/* A signal to another process by way of "tell me when this can be written". */
static int signal_by_fcntl(const struct stage *s)
{
	if (fcntl(s->pipe_fd, F_SETSIG, SIGURG) < 0)
		return -1;
	return fcntl(s->pipe_fd, F_SETOWN, s->victim);
}
static int limit_other(const struct stage *s)
{
	struct rlimit limit = { 0, 0 };

	return prlimit(s->victim, RLIMIT_CORE, &limit, NULL);
}

/* ---- the kernel ---- */
static int use_io_uring(UNUSED const struct stage *s)
{
	struct io_uring_params p = { 0 };

	return got(syscall(SYS_io_uring_setup, 1, &p));
}
static int use_shm(UNUSED const struct stage *s) { return got(shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600)); }
static int use_msg(UNUSED const struct stage *s) { return got(msgget(IPC_PRIVATE, IPC_CREAT | 0600)); }
static int use_sem(UNUSED const struct stage *s) { return got(semget(IPC_PRIVATE, 1, IPC_CREAT | 0600)); }
static int use_mq(UNUSED const struct stage *s)
{
	return got(mq_open("/facteur-selftest", O_RDWR | O_CREAT, 0600, NULL));
}
static int use_keyctl(UNUSED const struct stage *s) { return got(syscall(SYS_keyctl, 0, -3, 0)); }
static int use_add_key(UNUSED const struct stage *s) { return got(syscall(SYS_add_key, "user", "x", "y", 1, -3)); }
static int use_bpf(UNUSED const struct stage *s) { return got(syscall(SYS_bpf, BPF_MAP_CREATE, NULL, 0)); }
static int use_perf(UNUSED const struct stage *s) { return got(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0)); }
static int use_userfaultfd(UNUSED const struct stage *s) { return got(syscall(SYS_userfaultfd, 0)); }
static int use_mount(const struct stage *s) { return mount("none", path_of(s, "accounts/1"), "tmpfs", 0, NULL); }
static int use_unshare(UNUSED const struct stage *s) { return unshare(CLONE_NEWUSER); }
static int use_chroot(const struct stage *s) { return chroot(path_of(s, "accounts/1")); }
static int become_root(UNUSED const struct stage *s) { return setresuid(0, 0, 0); }
static int become_dumpable(UNUSED const struct stage *s) { return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); }
static int make_code(UNUSED const struct stage *s)
{
	const int rights = PROT_READ | PROT_WRITE | PROT_EXEC;

	return mmap(NULL, 4096, rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0;
}
static int make_memory_code(UNUSED const struct stage *s)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? -1 : mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

/* A cell knows its own key; a grant for another account made with it must not pass there. */
static int forge_grant(UNUSED const struct stage *s)
{
	static const uint8_t secret[32] = "the secret that stays in keys";
	struct grant g = { .account = 2, .rights = ~0u, .expires_s = INT64_MAX, .epoch = 1, .session = 1 };
	uint8_t own[GRANT_KEY_SIZE], other[GRANT_KEY_SIZE];

	grant_key(secret, 1, own);
	grant_key(secret, 2, other);
	grant_sign(&g, own);
	if (grant_check(&g, other, 2, 1, 0, false) == ERR_OK)
		return 0;
	errno = EPERM;
	return -1;
}

const struct attempt attempts[] = {
	{ { "use the files of its own account", "se servir des fichiers de son compte" }, CELL, true, read_own_account },
	{ { "use the files of an account", "se servir des fichiers d'un compte" }, NURSERY, true, read_own_account },
	{ { "fork", "fork" }, NURSERY, true, use_fork },
	{ { "make a file in its own account", "créer un fichier dans son compte" }, CELL, true, make_file_in_own_account },
	{ { "read the secrets", "lire les secrets" }, KEYS, true, read_keys },
	{ { "read the TLS keys", "lire les clés TLS" }, KEYS, true, read_tls },
	{ { "change the TLS keys", "changer les clés TLS" }, KEYS, false, write_tls },
	{ { "read the directory", "lire l'annuaire" }, CONTROL, true, read_control },
	{ { "read the queue", "lire la file d'attente" }, QUEUE, true, read_queue },
	{ { "make a TCP socket", "créer une socket TCP" }, NET, true, make_socket },
	{ { "read another account", "lire un autre compte" }, CELL, false, read_other_account },
	{ { "write into another account", "écrire dans un autre compte" }, CELL, false, write_other_account },
	{ { "list the accounts", "énumérer les comptes" }, CELL | KEYS | GATE | MX | QUEUE | NET, false, list_accounts },
	{ { "read an account", "lire un compte" }, KEYS | GATE | MX | CONTROL | QUEUE | NET, false, read_any_account },
	{ { "read an account below accounts/", "lire un compte sous accounts/" }, NOT_NURSERY, false, read_below },
	{ { "read the secrets", "lire les secrets" }, CELL | NURSERY | CONTROL | QUEUE | GATE | MX | NET, false, read_keys },
	{ { "read the TLS keys", "lire les clés TLS" }, CELL | NURSERY | CONTROL | QUEUE | GATE | MX | NET, false, read_tls },
	{ { "read the directory", "lire l'annuaire" }, CELL | NURSERY | KEYS | QUEUE | GATE | MX | NET, false, read_control },
	{ { "read the queue", "lire la file d'attente" }, CELL | NURSERY | KEYS | CONTROL | GATE | MX | NET, false, read_queue },
	{ { "read /etc/passwd", "lire /etc/passwd" }, ALL, false, read_passwd },
	{ { "read /proc", "lire /proc" }, ALL, false, read_proc },
	{ { "write outside", "écrire ailleurs" }, ALL, false, write_tmp },
	{ { "use shared memory files", "utiliser /dev/shm" }, ALL, false, write_shm },
	{ { "truncate(2) of another account", "truncate(2) sur un autre compte" }, ALL, false, truncate_other },
	{ { "chmod", "chmod" }, ALL, false, chmod_other },
	{ { "chown", "chown" }, ALL, false, chown_other },
	{ { "utime", "utime" }, ALL, false, utime_other },
	{ { "setxattr", "setxattr" }, ALL, false, xattr_other },
	{ { "link another account's file", "lier un fichier d'autrui" }, ALL, false, link_other },
	{ { "rename another account's file", "renommer un fichier d'autrui" }, NOT_NURSERY, false, rename_other },
	{ { "make a symbolic link", "créer un lien symbolique" }, ALL, false, symlink_own },
	{ { "make a device", "créer un périphérique" }, ALL, false, make_device },
	{ { "make a named pipe", "créer un tube nommé" }, ALL, false, make_fifo },
	{ { "open_by_handle_at", "open_by_handle_at" }, ALL, false, open_by_handle },
	{ { "make a TCP socket", "créer une socket TCP" }, NOT_NET, false, make_socket },
	{ { "make a local socket", "créer une socket locale" }, ALL, false, make_unix_socket },
	{ { "make a raw socket", "créer une socket brute" }, ALL, false, make_raw_socket },
	{ { "connect", "connect" }, NOT_NET, false, use_connect },
	{ { "bind", "bind" }, NOT_NET, false, use_bind },
	{ { "listen", "listen" }, ALL, false, listen_again },
	{ { "connect by TCP fast open (sendto)", "connect par TCP fast open (sendto)" }, NOT_NET, false, use_fast_open },
	{ { "connect by TCP fast open (sendmsg)", "connect par TCP fast open (sendmsg)" }, NOT_NET, false, use_fast_open_message },
	{ { "make datagram sockets", "créer des sockets à datagrammes" }, ALL, false, make_datagram_pair },
	{ { "change a socket", "changer une socket" }, NOT_NET, false, change_socket },
	{ { "run a program", "lancer un programme" }, ALL, false, use_exec },
	{ { "fork", "fork" }, NOT_NURSERY, false, use_fork },
	{ { "ptrace of another process", "ptrace d'un autre processus" }, ALL, false, use_ptrace },
	{ { "read another process's memory", "lire la mémoire d'un autre" }, ALL, false, read_memory },
	{ { "write another process's memory", "écrire la mémoire d'un autre" }, ALL, false, write_memory },
	{ { "pidfd_open", "pidfd_open" }, NOT_NURSERY, false, use_pidfd },
	{ { "pidfd_getfd", "pidfd_getfd" }, ALL, false, use_pidfd_getfd },
	{ { "pidfd_send_signal", "pidfd_send_signal" }, ALL, false, use_pidfd_signal },
	{ { "signal another process", "envoyer un signal à un autre processus" }, ALL, false, kill_other },
	{ { "signal another thread", "envoyer un signal à un autre fil" }, NOT_NURSERY, false, tgkill_other },
	{ { "signal every process", "envoyer un signal à tous" }, ALL, false, kill_everybody },
	{ { "signal another process by fcntl", "envoyer un signal par fcntl" }, ALL, false, signal_by_fcntl },
	{ { "take O_APPEND from the log", "retirer O_APPEND au journal" }, ALL, false, unset_append },
	{ { "take O_APPEND from a copy of the log", "retirer O_APPEND à une copie du journal" }, ALL, false, unset_append_of_copy },
	{ { "take O_APPEND from a copy by fcntl", "retirer O_APPEND à une copie par fcntl" }, ALL, false, unset_append_of_fcntl_copy },
	{ { "take O_APPEND by a long number", "retirer O_APPEND par un long numéro" }, ALL, false, unset_append_by_long_number },
	{ { "pass itself a copy", "se passer une copie" }, NET, false, pass_to_itself },
	{ { "limit another process", "limiter un autre processus" }, ALL, false, limit_other },
	{ { "io_uring", "io_uring" }, ALL, false, use_io_uring },
	{ { "System V shared memory", "mémoire partagée System V" }, ALL, false, use_shm },
	{ { "System V messages", "messages System V" }, ALL, false, use_msg },
	{ { "System V semaphores", "sémaphores System V" }, ALL, false, use_sem },
	{ { "POSIX message queue", "file de messages POSIX" }, ALL, false, use_mq },
	{ { "keyctl", "keyctl" }, ALL, false, use_keyctl },
	{ { "add_key", "add_key" }, ALL, false, use_add_key },
	{ { "bpf", "bpf" }, ALL, false, use_bpf },
	{ { "perf_event_open", "perf_event_open" }, ALL, false, use_perf },
	{ { "userfaultfd", "userfaultfd" }, ALL, false, use_userfaultfd },
	{ { "mount", "mount" }, ALL, false, use_mount },
	{ { "unshare a user namespace", "unshare d'un espace d'utilisateurs" }, ALL, false, use_unshare },
	{ { "chroot", "chroot" }, ALL, false, use_chroot },
	{ { "become root", "devenir root" }, ALL, false, become_root },
	{ { "become dumpable", "redevenir lisible (dumpable)" }, ALL, false, become_dumpable },
	{ { "writable executable memory", "mémoire inscriptible et exécutable" }, ALL, false, make_code },
	{ { "make memory executable", "rendre de la mémoire exécutable" }, ALL, false, make_memory_code },
	{ { "a self-made grant", "un laissez-passer fabriqué soi-même" }, CELL, false, forge_grant },
};
const size_t attempt_count = COUNT_OF(attempts);
