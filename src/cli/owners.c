/* Whose the files of a data folder are.
 *
 * On another machine the users of the roles have other numbers, and not every copy keeps an owner. Here it is root who goes through
 * folders in which processes write that may have been broken into: folders are opened one below the other without following links, only
 * folders and files with one name are given away, and the lock of the data folder is held, so that none of those processes runs. */
#include "cli/owners.h"
#include "base/str.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 8 };   /* accounts/N/search/…: nothing of ours is deeper */

struct mending {
	uid_t    uid;
	gid_t    gid;
	uint64_t n;         /* had another owner */
	uint64_t linked;    /* have one, and a second name */
	int      failure;   /* errno of the first that could not be given; 0: none */
};

static void mend_in(struct mending *m, int folder, int depth);

static void note_failure(struct mending *m)
{
	if (m->failure == 0)
		m->failure = errno;
}

/* What was looked at is what is given away, whatever has its name by then. */
static void give(struct mending *m, int entry, const struct stat *st)
{
	if (st->st_uid == m->uid)
		return;
	if (S_ISREG(st->st_mode) && st->st_nlink > 1)
		m->linked++;
	else if (fchownat(entry, "", m->uid, m->gid, AT_EMPTY_PATH) == 0)
		m->n++;
	else
		note_failure(m);
}

static void mend_entry(struct mending *m, int parent, const char *name, int depth)
{
	CLEANUP(fd_close) int entry = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (entry < 0 || fstat(entry, &st) < 0 || !(S_ISDIR(st.st_mode) || S_ISREG(st.st_mode)))
		return;
	give(m, entry, &st);
	if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX)
		mend_in(m, openat(entry, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), depth + 1);
}

/* All that is in the folder, which is closed. */
static void mend_in(struct mending *m, int folder, int depth)
{
	DIR *entries = folder >= 0 ? fdopendir(folder) : NULL;

	if (entries == NULL) {
		if (errno != ENOENT)
			note_failure(m);
		fd_close(&folder);
		return;
	}
	for (struct dirent *entry; (entry = readdir(entries)) != NULL;)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			mend_entry(m, dirfd(entries), entry->d_name, depth);
	closedir(entries);
}

static struct str number(struct cli *c, uint64_t n) { return arena_printf(&c->arena, "%llu", (unsigned long long)n); }

bool owners_mend(struct cli *c, const struct users *u)
{
	static const char *const own[] = { "control", "keys", "queue", "tls" };
	struct mending roles = { .uid = u->uid, .gid = u->gid }, cells = { .uid = u->cell_uid, .gid = u->cell_gid };
	CLEANUP(fd_close) int top = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(fd_close) int lock = top >= 0 ? openat(top, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;

	if (u->uid == 0 || lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0)
		return true;
	for (size_t i = 0; i < COUNT_OF(own); i++)
		mend_in(&roles, openat(top, own[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), 0);
	mend_in(&cells, openat(top, "accounts", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), 0);
	int failure = roles.failure ? roles.failure : cells.failure;
	if (failure) {
		complain(c, TEXT_SETUP_OWNERS_FAILED, str_of(c->dir), str_of(strerror(failure)));
		return false;
	}
	if (roles.n + cells.n > 0)
		say(c, TEXT_SETUP_OWNERS, number(c, roles.n + cells.n), str_of(u->user), str_of(u->cell_user));
	if (roles.linked + cells.linked > 0)  /* or the server, which does not start with them, would send here again and again */
		say(c, TEXT_SETUP_OWNERS_LINKED, number(c, roles.linked + cells.linked));
	return true;
}
