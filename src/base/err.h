/* base/err.h -- the dozen outcomes that mean something to a caller.
 * Whoever first meets a failure from outside (disk, SQL, peer) logs it once and returns the value; all above pass it on.
 * Each service maps these to its own codes in one function. */
#ifndef FACTEUR_BASE_ERR_H
#define FACTEUR_BASE_ERR_H

enum err {
	ERR_OK = 0,
	ERR_NOTFOUND,     /* no such thing */
	ERR_EXISTS,       /* there is one already */
	ERR_DENIED,       /* not allowed: wrong password, no right, not the owner */
	ERR_QUOTA,        /* the account is full */
	ERR_LIMIT,        /* a limit of ours was reached (size, count, rate); trying the same again will not help */
	ERR_CONFLICT,     /* somebody changed it meanwhile; read again */
	ERR_INVALID,      /* the input is malformed */
	ERR_IO,           /* disk or system failure; already logged */
	ERR_TIMEOUT,      /* the deadline passed */
	ERR_CLOSED,       /* the peer went away */
	ERR_AGAIN,        /* not now: would block, busy, full for the moment */
	ERR_UNAVAILABLE,  /* the role that would answer is not there; try later */
	ERR_FULL,         /* the disk is full: the same goes well when there is room; already logged */
	ERR_CORRUPT,      /* stored data does not match its checksum; already logged */
	ERR_COUNT
};

/* A word for logs ("notfound"); never NULL. */
const char *err_name(enum err e);
/* Maps errno (ENOENT -> NOTFOUND, EEXIST -> EXISTS, EACCES -> DENIED, ENOSPC/EDQUOT -> FULL, EMFILE/ENFILE/EFBIG -> LIMIT, EAGAIN -> AGAIN, else IO). */
enum err err_from_errno(int errnum);

#define MUST_CHECK __attribute__((warn_unused_result))
#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define UNUSED __attribute__((unused))
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

/* Returns from the enclosing function on anything but ERR_OK. */
#define TRY(expr) do { enum err try_e = (expr); if (try_e != ERR_OK) return try_e; } while (0)

void fd_close(int *fd);  /* for CLEANUP; -1 is fine; keeps errno */
#endif
