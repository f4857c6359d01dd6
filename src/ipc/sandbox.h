/* ipc/sandbox.h -- the door a role closes behind itself: landlock (which files), seccomp (which system calls), no new
 * privileges, not dumpable (DESIGN.md §2). Nothing opens it again; threads started later are inside too. */
#ifndef FACTEUR_IPC_SANDBOX_H
#define FACTEUR_IPC_SANDBOX_H
#include "base/err.h"
#include "ipc/role.h"

struct sandbox_path {
	const char *path;      /* a file or folder; everything below it */
	bool        is_writable;
};

/* The list of system calls of a role, compiled: it costs most of a millisecond, so nursery makes it once for all cells. That of a cell is no whole
 * list: it is what a cell is refused beside what nursery is, and needs nursery's under it. */
struct sandbox_filter;
enum err sandbox_filter_make(enum role role, struct sandbox_filter **out) MUST_CHECK;
void sandbox_filter_free(struct sandbox_filter **f);   /* for CLEANUP too; NULL is fine */

/* Enters. filter: of this role, or NULL: made for the occasion. paths ends with a NULL path. ERR_UNAVAILABLE: this kernel lacks landlock or seccomp (said in *why); nothing was done.
 * ERR_IO: logged; among others, a cell that is not within nursery's list. Call it while the process has one thread. */
enum err sandbox_enter(enum role role, const struct sandbox_filter *filter, const struct sandbox_path *paths,
                       const char **why) MUST_CHECK;
/* What this kernel lacks, or NULL. */
const char *sandbox_missing(void);
#endif
