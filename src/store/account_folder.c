/* accounts/N: master makes the folder, since only root can give it to the cells' user, and erases it when an account is
 * purged.
 *
 * What lies in it was written by a cell, so by somebody who may have been broken into, and master is root: nothing is
 * opened by a path that could lead elsewhere. Folders are opened one below the other without following links, and
 * unlinkat() removes a link itself. */
#include "store/account_folder.h"
#include "base/log.h"
#include "base/str.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 4, PATH_ROOM = 600 };

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

enum err account_folder_make(const char *dir, uint64_t account, uid_t uid, gid_t gid)
{
	char name[24];
	CLEANUP(fd_close) int accounts = open_accounts(dir, account, name, sizeof name);

	if (accounts < 0)
		return ERR_IO;
	if (mkdirat(accounts, name, 0700) < 0 && errno != EEXIST)
		return log_errno("mkdir", name);
	if (uid && fchownat(accounts, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return log_errno("chown", name);
	return fsync(accounts) < 0 ? log_errno("fsync", "accounts") : ERR_OK;
}

static enum err remove_below(int parent, const char *name, int depth);

static enum err remove_entry(int folder, const char *name, int depth)
{
	if (unlinkat(folder, name, 0) == 0 || errno == ENOENT)
		return ERR_OK;
	if (errno == EISDIR || errno == EPERM)
		return remove_below(folder, name, depth);
	return log_errno("unlink", name);
}

static enum err remove_below(int parent, const char *name, int depth)
{
	int fd = depth > 0 ? openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
	enum err e = ERR_OK;

	if (fd < 0 && errno == ENOENT && depth > 0)
		return ERR_OK;
	if (folder == NULL) {
		fd_close(&fd);
		return depth > 0 ? log_errno("open", name) : ERR_LIMIT;
	}
	for (struct dirent *entry; e == ERR_OK && (entry = readdir(folder)) != NULL;)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			e = remove_entry(fd, entry->d_name, depth - 1);
	closedir(folder);
	if (e == ERR_OK && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return log_errno("rmdir", name);
	return e;
}

enum err account_folder_remove(const char *dir, uint64_t account)
{
	char name[24];
	CLEANUP(fd_close) int accounts = open_accounts(dir, account, name, sizeof name);

	if (accounts < 0)
		return ERR_IO;
	TRY(remove_below(accounts, name, DEPTH_MAX));
	return fsync(accounts) < 0 ? log_errno("fsync", "accounts") : ERR_OK;
}
