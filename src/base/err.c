/* Outcomes and their names. */
#include "base/err.h"
#include <errno.h>
#include <unistd.h>

const char *err_name(enum err e)
{
	static const char *const names[ERR_COUNT] = {
		[ERR_OK] = "ok", [ERR_NOTFOUND] = "notfound", [ERR_EXISTS] = "exists", [ERR_DENIED] = "denied",
		[ERR_QUOTA] = "quota", [ERR_LIMIT] = "limit", [ERR_CONFLICT] = "conflict", [ERR_INVALID] = "invalid",
		[ERR_IO] = "io", [ERR_TIMEOUT] = "timeout", [ERR_CLOSED] = "closed", [ERR_AGAIN] = "again",
		[ERR_UNAVAILABLE] = "unavailable", [ERR_FULL] = "full", [ERR_CORRUPT] = "corrupt",
	};
	return (unsigned)e < ERR_COUNT && names[e] ? names[e] : "unknown";
}

enum err err_from_errno(int errnum)
{
	switch (errnum) {
	case 0: return ERR_OK;
	case ENOENT: return ERR_NOTFOUND;
	case EEXIST: return ERR_EXISTS;
	case EACCES: case EPERM: return ERR_DENIED;
	case ENOSPC: case EDQUOT: return ERR_FULL;
	case EMFILE: case ENFILE: case EFBIG: return ERR_LIMIT;
	case EAGAIN: return ERR_AGAIN;
	case ETIMEDOUT: return ERR_TIMEOUT;
	case EPIPE: case ECONNRESET: case ENOTCONN: return ERR_CLOSED;
	default: return ERR_IO;
	}
}

void fd_close(int *fd)
{
	int kept = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = kept;
}
