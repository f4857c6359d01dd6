/* facteur selftest isolation: from inside the sandbox of each role, try what it must not allow (DESIGN.md §2).
 *
 * Each attempt has a process of its own, which becomes the role's user (when we are root), closes the role's door
 * behind itself (the same role/door.h that the role calls), and tries one thing. Refused is: ended by seccomp, or
 * EPERM, EACCES, ENOSYS, EXDEV. Anything else, even a failure, means that the call reached code it must not reach.
 * Where the kernel has no landlock or no seccomp the test fails. It works in a folder of its own below /tmp and
 * touches no mail. */
#include "cli/attempts.h"
#include "cli/flags.h"
#include "cli/users.h"
#include "role/door.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char secret[] = "hands off";
static const char *const folders[] = { "accounts/1", "accounts/2", "keys", "tls", "control", "queue" };

static const enum role roles[] = { ROLE_CELL, ROLE_NURSERY, ROLE_KEYS, ROLE_CONTROL, ROLE_QUEUE, ROLE_GATE, ROLE_MX, ROLE_NET };
enum { OWN_ACCOUNT = 1 };

enum outcome { OUTCOME_WORKED, OUTCOME_ENDED, OUTCOME_NO_SANDBOX, OUTCOME_ERRNO };
struct result { enum outcome outcome; int errnum; };
enum { EXIT_NO_SANDBOX = 255 };

static bool become(const struct users *u, enum role role)
{
	bool is_cells = role == ROLE_CELL || role == ROLE_NURSERY;
	uid_t uid = is_cells ? u->cell_uid : u->uid;
	gid_t gid = is_cells ? u->cell_gid : u->gid;

	return uid == 0 || (setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0);
}

/* A cell stands behind nursery's door, too: its own refuses only what that one leaves open. */
static bool close_door(const struct stage *s, enum role role)
{
	return (role != ROLE_CELL || door_close(ROLE_NURSERY, s->dir, 0, NULL) == ERR_OK) && door_close(role, s->dir, OWN_ACCOUNT, NULL) == ERR_OK;
}

static struct result try_one(const struct stage *s, const struct users *u, enum role role, const struct attempt *a)
{
	struct result r = { OUTCOME_ERRNO, EIO };
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		alarm(10);
		if (dup2(s->log_fd, STDERR_FILENO) < 0 || !become(u, role) || !close_door(s, role))
			_exit(EXIT_NO_SANDBOX);
		_exit(a->run(s) == 0 ? 0 : errno > 0 && errno < EXIT_NO_SANDBOX ? errno : EIO);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return r;
	if (pid < 0)
		return r;
	if (WIFSIGNALED(status))
		r.outcome = WTERMSIG(status) == SIGSYS ? OUTCOME_ENDED : OUTCOME_WORKED;
	else if (WEXITSTATUS(status) == EXIT_NO_SANDBOX)
		r.outcome = OUTCOME_NO_SANDBOX;
	else if (WEXITSTATUS(status) == 0)
		r.outcome = OUTCOME_WORKED;
	else
		r.errnum = WEXITSTATUS(status);
	return r;
}

static bool is_refusal(struct result r)
{
	return r.outcome == OUTCOME_ENDED || (r.outcome == OUTCOME_ERRNO && (r.errnum == EPERM || r.errnum == EACCES ||
	                                                                     r.errnum == ENOSYS || r.errnum == EXDEV));
}

/* ---- the stage ---- */

static bool make_folder(const struct stage *s, const struct users *u, const char *name)
{
	char path[128];
	bool is_account = strncmp(name, "accounts/", 9) == 0;

	snprintf(path, sizeof(path), "%s/%s", s->dir, name);
	if (mkdir(path, 0700) < 0)
		return false;
	if (u->uid && chown(path, is_account ? u->cell_uid : u->uid, is_account ? u->cell_gid : u->gid) < 0)
		return false;
	snprintf(path, sizeof(path), "%s/%s/secret", s->dir, name);
	CLEANUP(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	return fd >= 0 && write(fd, secret, sizeof(secret)) == sizeof(secret) &&
	       (!u->uid || fchown(fd, is_account ? u->cell_uid : u->uid, is_account ? u->cell_gid : u->gid) == 0);
}

static bool make_stage(struct stage *s, const struct users *u)
{
	char path[128];
	int ends[2];

	*s = (struct stage){ .socket_fd = -1, .accounts_fd = -1, .pipe_fd = -1, .log_fd = -1, .secret = secret };
	snprintf(s->dir, sizeof(s->dir), "/tmp/facteur-selftest-XXXXXX");
	if (mkdtemp(s->dir) == NULL || chmod(s->dir, 0711) < 0)
		return false;
	snprintf(path, sizeof(path), "%s/accounts", s->dir);
	if (mkdir(path, 0711) < 0 || chmod(path, 0711) < 0 || (u->uid && chown(path, u->cell_uid, u->cell_gid) < 0))
		return false;
	for (size_t i = 0; i < COUNT_OF(folders); i++)
		if (!make_folder(s, u, folders[i]))
			return false;
	s->socket_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	s->accounts_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return false;
	close(ends[0]);
	s->pipe_fd = ends[1];
	snprintf(path, sizeof(path), "%s/log", s->dir);
	s->log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	return s->socket_fd >= 0 && s->accounts_fd >= 0 && s->log_fd >= 0;
}

static int remove_one(const char *path, UNUSED const struct stat *st, UNUSED int kind, UNUSED struct FTW *ftw)
{
	return remove(path);
}

static void remove_stage(struct stage *s)
{
	fd_close(&s->socket_fd);
	fd_close(&s->accounts_fd);
	fd_close(&s->pipe_fd);
	fd_close(&s->log_fd);
	nftw(s->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A process that waits to be attacked: same user, as lenient as it can be. */
static pid_t start_victim(const struct users *u, enum role role)
{
	int ready[2];
	char byte;

	if (pipe2(ready, O_CLOEXEC) < 0)
		return -1;
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!become(u, role) || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
			_exit(1);
		prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
		if (write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	if (pid > 0 && read(ready[0], &byte, 1) != 1)
		byte = 0;
	close(ready[0]);
	return pid;
}

/* ---- the table ---- */

static struct str outcome_text(struct cli *c, const struct attempt *a, struct result r, bool is_good)
{
	if (r.outcome == OUTCOME_NO_SANDBOX)
		return str_of(text_get(c->lang, TEXT_SELFTEST_BROKEN));
	if (a->must_work)
		return str_of(text_get(c->lang, is_good ? TEXT_SELFTEST_ALLOWED : TEXT_SELFTEST_BROKEN));
	if (!is_good && r.outcome == OUTCOME_ERRNO)
		return arena_printf(&c->arena, "%s (%s)", text_get(c->lang, TEXT_SELFTEST_THROUGH), strerror(r.errnum));
	if (!is_good)
		return str_of(text_get(c->lang, TEXT_SELFTEST_THROUGH));
	if (r.outcome == OUTCOME_ENDED)
		return str_of(text_get(c->lang, TEXT_SELFTEST_ENDED));
	return text_fmt(&c->arena, c->lang, TEXT_SELFTEST_REFUSED, str_of(strerror(r.errnum)));
}

struct count { size_t tried, bad; };

static void try_role(struct cli *c, struct stage *s, const struct users *u, enum role role, struct table *t,
                     struct count *count)
{
	s->victim = start_victim(u, role);
	for (size_t i = 0; i < attempt_count; i++) {
		const struct attempt *a = &attempts[i];
		if (!(a->roles & 1 << role))
			continue;
		struct result r = try_one(s, u, role, a);
		bool is_good = a->must_work ? r.outcome == OUTCOME_WORKED : is_refusal(r);
		const struct str cells[] = {
			str_of(role_name(role)), str_of(a->name[c->lang]), outcome_text(c, a, r, is_good),
		};
		count->tried++;
		count->bad += !is_good;
		table_row(t, cells, COUNT_OF(cells));
	}
	if (s->victim > 0) {
		kill(s->victim, SIGKILL);
		waitpid(s->victim, NULL, 0);
	}
}

static int isolation(struct cli *c, const struct users *u)
{
	static const enum text titles[] = { TEXT_SELFTEST_ROLE, TEXT_SELFTEST_ATTEMPT, TEXT_SELFTEST_OUTCOME };
	CLEANUP(buf_free) struct buf out = BUF(1 << 20);
	struct table *t = table_new(&c->arena);
	struct count count = { 0, 0 };
	struct stage stage;
	struct str tried;

	for (size_t i = 0; i < COUNT_OF(titles); i++)
		table_column(t, str_of(text_get(c->lang, titles[i])), false);
	if (!make_stage(&stage, u)) {
		complain(c, TEXT_SETUP_NO_FOLDER, str_of(stage.dir), str_of(strerror(errno)));
		remove_stage(&stage);
		return EXIT_FAILED;
	}
	for (size_t i = 0; i < COUNT_OF(roles); i++)
		try_role(c, &stage, u, roles[i], t, &count);
	remove_stage(&stage);
	table_print(t, &c->style, &out);
	cli_write(buf_str(&out));
	tried = arena_printf(&c->arena, "%zu", count.tried);
	if (count.bad == 0)
		say(c, TEXT_SELFTEST_GOOD, tried);
	else
		complain(c, TEXT_SELFTEST_BAD, arena_printf(&c->arena, "%zu", count.bad), tried);
	return count.bad ? EXIT_FAILED : EXIT_OK;
}

int cli_selftest(struct cli *c, int argc, char **argv)
{
	static const struct flag none[] = { { 0 } };
	const char *missing = sandbox_missing();
	struct str words[1];
	struct users users;
	size_t n;

	if (!flags_parse(c, argc, argv, none, words, 1, &n))
		return EXIT_USAGE;
	if (n != 1 || !str_eq(words[0], STR("isolation"))) {
		complain(c, TEXT_SELFTEST_USAGE);
		return EXIT_USAGE;
	}
	if (missing) {
		complain(c, TEXT_SELFTEST_MISSING, str_of(missing));
		return EXIT_FAILED;
	}
	return users_find(c, &users) ? isolation(c, &users) : EXIT_FAILED;
}
