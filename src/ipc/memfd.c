/* Sealed memory files: how bodies and the directory travel. Whoever maps one checks the seals first, so that the sender
 * cannot change the bytes under the reader or cut the file short (SIGBUS). */
#include "base/log.h"
#include "ipc/channel.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

/* Also where no descriptor is left: ERR_LIMIT, which that would be, means to those who ask that the bytes are too many, today and tomorrow. */
static enum err fail(const char *what, const char *name)
{
	(void)!log_errno(what, name);
	return ERR_IO;
}

enum err memfd_make(const char *name, struct str bytes, int *fd)
{
	int made = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (made < 0)
		return fail("memfd_create", name);
	for (size_t at = 0; at < bytes.n;) {
		ssize_t n = write(made, bytes.p + at, bytes.n - at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			enum err e = fail("write", name);
			close(made);
			return e;
		}
		at += (size_t)n;
	}
	if (fcntl(made, F_ADD_SEALS, SEALS | F_SEAL_SEAL) < 0) {
		enum err e = fail("seal", name);
		close(made);
		return e;
	}
	*fd = made;
	return ERR_OK;
}

enum err memfd_map(int fd, size_t max, struct str *out)
{
	int seals = fcntl(fd, F_GET_SEALS);
	off_t size = lseek(fd, 0, SEEK_END);  /* not fstat(): the C library makes it a call by path, which gate's sandbox refuses */

	if (seals < 0 || (seals & SEALS) != SEALS || size < 0 || (uint64_t)size > max)
		return ERR_INVALID;
	if (size == 0) {
		*out = STR("");
		return ERR_OK;
	}
	void *p = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return log_errno("mmap", "memfd");
	*out = str_make(p, (size_t)size);
	return ERR_OK;
}

void memfd_unmap(struct str bytes)
{
	if (bytes.n)
		munmap((void *)(uintptr_t)bytes.p, bytes.n);
}
