/* A server that counts on memory it may not have is ended by the kernel, and with it whoever was being served. Only the unified hierarchy is
 * read (control groups v2), which is Debian's. Every group around ours limits, too. */
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

/* The line "0::/system.slice/facteur.service" of /proc/self/cgroup. */
static struct str own_group(struct str text)
{
	struct str line;

	while (text.n > 0) {
		str_cut(text, '\n', &line, &text);
		if (str_starts(line, STR("0::/")))
			return str_from(line, 3);
	}
	return STR_NONE;
}

static uint64_t limit_of(const char *root, struct str group)
{
	char path[FILE_MAX], text[FILE_MAX];
	struct str line, rest;
	uint64_t bytes;

	if (snprintf(path, sizeof(path), "%s" STR_FMT "/memory.max", root, STR_ARG(group)) >= (int)sizeof(path))
		return UINT64_MAX;
	str_cut(read_file(path, text), '\n', &line, &rest);
	return str_to_u64(line, &bytes) ? bytes : UINT64_MAX;  /* "max" */
}

uint64_t memory_allowed(uint64_t machine, const char *groups, const char *root)
{
	char text[FILE_MAX];
	struct str group = own_group(read_file(groups, text));
	uint64_t least = machine;

	while (group.n > 0) {
		uint64_t limit = limit_of(root, group);
		if (limit < least)
			least = limit;
		group = str_sub(group, 0, (size_t)str_rchr(group, '/'));
	}
	uint64_t around = limit_of(root, STR_NONE);  /* the root of a container is a group, too */
	return around < least ? around : least;
}
