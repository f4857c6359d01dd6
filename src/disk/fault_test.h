/* disk/fault_test.h -- for tests only: what the disk shall do from now on, in the words of disk/fault.h. */
#ifndef FACTEUR_DISK_FAULT_TEST_H
#define FACTEUR_DISK_FAULT_TEST_H
#ifdef FACTEUR_FAULT
#include "base/test.h"
#include "disk/fault.h"
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* path: of a file that this makes, or writes anew. The same words once more count on where they were. */
static inline void disk_shall(const char *path, const char *rules)
{
	CLEANUP(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	EXPECT(fd >= 0 && write(fd, rules, strlen(rules)) == (ssize_t)strlen(rules));
	setenv("FACTEUR_DISK_FAULT", path, 1);
	disk_fault_start();
}
#endif
#endif
