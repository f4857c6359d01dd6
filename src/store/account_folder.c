/* accounts/N: master makes the folder, since only root can give it to the cells' user, and erases it when an account is
 * purged.
 *
 * What lies in it was written by a cell, so by somebody who may have been broken into, and master is root: nothing is
 * opened by a path that could lead elsewhere. Folders are opened one below the other without following links, and
 * unlinkat() removes a link itself. No cell runs while an account is erased. */
#include "store/account_folder.h"
#include "base/log.h"
#include "base/str.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_ROOM = 600 };

/* accounts/, and the name of N in it */
static int open_accounts(const char *dir, uint64_t account, char *name, size_t room)
{
	char path[PATH_ROOM];
	int fd;

	snprintf(name, room, "%llu", (unsigned long long)account);
	snprintf(path, sizeof path, "%s/accounts", dir);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		log_errno("open", path);
	return fd;
}

static DIR *open_folder(int parent, const char *name)
{
	CLEANUP(fd_close) int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;

	if (folder)
		fd = -1;
	return folder;
}

static bool is_itself_or_parent(const char *name) { return strcmp(name, ".") == 0 || strcmp(name, "..") == 0; }

/* A number is given out once, but control may know less than it did: its own folder alone was put back from a copy. One that was made and not
 * used, before a power cut, is empty. */
static enum err must_be_empty(int accounts, const char *name)
{
	DIR *folder = open_folder(accounts, name);
	struct dirent *entry;

	if (folder == NULL)
		return log_errno("open", name);
	do
		entry = readdir(folder);
	while (entry != NULL && is_itself_or_parent(entry->d_name));
	closedir(folder);
	if (entry == NULL)
		return ERR_OK;
	log_error("the folder of a new account has somebody's mail account=%s; control/ is older than accounts/", name);
	return ERR_EXISTS;
}

enum err account_folder_make(const char *dir, uint64_t account, uid_t uid, gid_t gid)
{
	char name[24];
	CLEANUP(fd_close) int accounts = open_accounts(dir, account, name, sizeof name);

	if (accounts < 0)
		return ERR_IO;
	if (mkdirat(accounts, name, 0700) < 0) {
		if (errno != EEXIST)
			return log_errno("mkdir", name);
		TRY(must_be_empty(accounts, name));
	}
	if (uid && fchownat(accounts, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return log_errno("chown", name);
	return fsync(accounts) < 0 ? log_errno("fsync", "accounts") : ERR_OK;
}

/* One level at a time, and the same few descriptors whatever the depth: a cell that was broken into can nest folders as
 * deep as it likes, and must not thereby keep its account from being erased. What lies in a subfolder is moved up to the
 * account's own folder, under a name nobody has, until there is nothing but files. */
struct eraser {
	int      root;      /* accounts/N */
	unsigned moved;     /* how many were moved up: their names */
	bool     did;       /* something went, or moved, in this pass */
};

static enum err move_up(struct eraser *r, int folder, const char *name)
{
	char to[32];

	do {
		snprintf(to, sizeof to, "erased-%u", r->moved++);
		if (renameat2(folder, name, r->root, to, RENAME_NOREPLACE) == 0)
			return ERR_OK;
	} while (errno == EEXIST);
	return log_errno("rename", name);
}

/* Removes one entry. A folder is not entered: at the top it is left (*is_folder), below it is moved up. */
static enum err erase_entry(struct eraser *r, int folder, const char *name, bool *is_folder)
{
	*is_folder = false;
	if (unlinkat(folder, name, 0) == 0) {
		r->did = true;
		return ERR_OK;
	}
	if (errno == ENOENT)
		return ERR_OK;
	if (errno != EISDIR && errno != EPERM)
		return log_errno("unlink", name);
	*is_folder = true;
	if (fchmodat(folder, name, 0700, 0) < 0)  /* its writer may have made it unreadable; it is a folder, so no link is followed */
		return log_errno("chmod", name);
	if (folder == r->root)
		return ERR_OK;
	r->did = true;
	return move_up(r, folder, name);
}

/* A folder at the top: its files go, its folders move up, then it goes itself. What readdir() did not show, because we
 * changed the folder under it, is left to the next pass. */
static enum err erase_folder(struct eraser *r, const char *name)
{
	DIR *folder = open_folder(r->root, name);
	enum err e = ERR_OK;
	bool is_folder;

	if (folder == NULL)
		return log_errno("open", name);
	for (struct dirent *entry; e == ERR_OK && (entry = readdir(folder)) != NULL;)
		if (!is_itself_or_parent(entry->d_name))
			e = erase_entry(r, dirfd(folder), entry->d_name, &is_folder);
	closedir(folder);
	if (e == ERR_OK && unlinkat(r->root, name, AT_REMOVEDIR) == 0)
		r->did = true;
	else if (e == ERR_OK && errno != ENOTEMPTY && errno != EEXIST)
		e = log_errno("rmdir", name);
	return e;
}

static enum err erase_pass(struct eraser *r, DIR *top)
{
	enum err e = ERR_OK;
	bool is_folder;

	r->did = false;
	rewinddir(top);
	for (struct dirent *entry; e == ERR_OK && (entry = readdir(top)) != NULL;) {
		if (is_itself_or_parent(entry->d_name))
			continue;
		e = erase_entry(r, r->root, entry->d_name, &is_folder);
		if (e == ERR_OK && is_folder)
			e = erase_folder(r, entry->d_name);
	}
	return e;
}

enum err account_folder_remove(const char *dir, uint64_t account)
{
	char name[24];
	CLEANUP(fd_close) int accounts = open_accounts(dir, account, name, sizeof name);
	enum err e = ERR_OK;

	if (accounts < 0)
		return ERR_IO;
	DIR *top = open_folder(accounts, name);
	if (top == NULL)
		return errno == ENOENT ? ERR_OK : log_errno("open", name);
	struct eraser r = { .root = dirfd(top), .did = true };
	while (e == ERR_OK && r.did)
		e = erase_pass(&r, top);
	closedir(top);
	TRY(e);
	if (unlinkat(accounts, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return log_errno("rmdir", name);
	return fsync(accounts) < 0 ? log_errno("fsync", "accounts") : ERR_OK;
}
