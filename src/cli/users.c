/* System users. Made with Debian's useradd: it knows the files and the locks. */
#include "cli/users.h"
#include "conf/conf.h"
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static bool look_up(const char *name, uid_t *uid, gid_t *gid)
{
	struct passwd *p = getpwnam(name);

	if (p == NULL)
		return false;
	*uid = p->pw_uid;
	*gid = p->pw_gid;
	return true;
}

bool users_find(struct cli *c, struct users *out)
{
	struct conf *conf = conf_new();
	struct conf_problem problem;
	struct str path = arena_printf(&c->arena, "%s/facteur.conf", c->dir);
	bool is_read = conf_read_file(conf, path.p, &problem);

	*out = (struct users){ 0 };
	if (is_read) {
		snprintf(out->user, sizeof(out->user), "%s", conf_text(conf, SETTING_user).p);
		snprintf(out->cell_user, sizeof(out->cell_user), "%s", conf_text(conf, SETTING_cell_user).p);
		if (geteuid() == 0 && strcmp(out->user, "root") != 0 &&
		    (!look_up(out->user, &out->uid, &out->gid) || !look_up(out->cell_user, &out->cell_uid, &out->cell_gid)))
			out->uid = out->cell_uid = 0;
	} else {
		struct str why = conf_explain(&c->arena, &problem, c->lang == LANG_FR);
		complain(c, TEXT_CLI_FAILED_TO_OPEN, path, why);
	}
	conf_free(conf);
	return is_read;
}

static bool run_useradd(const char *name)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execl("/usr/sbin/useradd", "useradd", "--system", "--user-group", "--no-create-home", "--home-dir",
		      "/nonexistent", "--shell", "/usr/sbin/nologin", name, (char *)NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool make_one(struct cli *c, const char *name, uid_t *uid, gid_t *gid)
{
	if (look_up(name, uid, gid))
		return true;
	if (!run_useradd(name) || !look_up(name, uid, gid)) {
		warn(c, TEXT_SETUP_NO_USER, str_of(name));
		return false;
	}
	say(c, TEXT_SETUP_USER_MADE, str_of(name));
	return true;
}

void users_make(struct cli *c, struct users *u)
{
	if (geteuid() != 0 || strcmp(u->user, "root") == 0)
		return;
	if (!make_one(c, u->user, &u->uid, &u->gid) || !make_one(c, u->cell_user, &u->cell_uid, &u->cell_gid))
		u->uid = u->cell_uid = 0;
}

bool users_can_reach(uid_t uid, gid_t gid, const char *dir)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
			_exit(1);
		_exit(access(dir, X_OK) == 0 ? 0 : 1);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
