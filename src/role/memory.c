/* A server that counts on memory it may not have is ended by the kernel, and with it whoever was being served. Both kinds of control groups are
 * looked at, v2 (Debian's) and v1 (older hosts of containers). Every group around ours limits, too. */
#include "role/memory.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/str.h"
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { FILE_MAX = 4096 };

/* STR_NONE: it cannot be read. */
static struct str read_file(const char *path, char text[FILE_MAX])
{
	CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, FILE_MAX);

	return n > 0 ? str_make(text, (size_t)n) : STR_NONE;
}

/* "0::/system.slice/facteur.service" of /proc/self/cgroup: the name behind the number; of v1 the one of the controller "memory". */
static struct str own_group(struct str text, bool is_v1)
{
	struct str line, number, controllers, group;

	while (text.n > 0) {
		str_cut(text, '\n', &line, &text);
		str_cut(line, ':', &number, &controllers);
		str_cut(controllers, ':', &controllers, &group);
		if (str_starts(group, STR("/")) && (is_v1 ? str_find(controllers, STR("memory")) >= 0 : str_eq(number, STR("0"))))
			return group;
	}
	return STR_NONE;
}

static uint64_t limit_of(const char *root, struct str group, const char *file)
{
	char path[FILE_MAX], text[FILE_MAX];
	struct str line, rest;
	uint64_t bytes;

	if (snprintf(path, sizeof(path), "%s" STR_FMT "/%s", root, STR_ARG(group), file) >= (int)sizeof(path))
		return UINT64_MAX;
	str_cut(read_file(path, text), '\n', &line, &rest);
	return str_to_u64(line, &bytes) ? bytes : UINT64_MAX;  /* "max" */
}

/* The least of the group, of those around it, and of the root, which in a container is a group, too. */
static uint64_t least_of(const char *root, struct str group, const char *file)
{
	uint64_t least = limit_of(root, STR_NONE, file);

	while (group.n > 0) {
		uint64_t limit = limit_of(root, group, file);
		if (limit < least)
			least = limit;
		group = str_sub(group, 0, (size_t)str_rchr(group, '/'));
	}
	return least;
}

uint64_t memory_allowed(uint64_t machine, const char *groups, const char *root)
{
	char text[FILE_MAX], root_v1[FILE_MAX];
	struct str all = read_file(groups, text);
	uint64_t v2 = least_of(root, own_group(all, false), "memory.max"), v1 = UINT64_MAX;

	if (snprintf(root_v1, sizeof(root_v1), "%s/memory", root) < (int)sizeof(root_v1))
		v1 = least_of(root_v1, own_group(all, true), "memory.limit_in_bytes");
	if (v1 < v2)
		v2 = v1;
	return v2 < machine ? v2 : machine;
}
