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

/* Enters. paths ends with a NULL path. ERR_UNAVAILABLE: this kernel lacks landlock or seccomp (said in *why); nothing was done.
 * Call it while the process has one thread. */
enum err sandbox_enter(enum role role, const struct sandbox_path *paths, const char **why) MUST_CHECK;
/* Only the landlock half: nursery, which confines itself to accounts/ and each child further. */
enum err sandbox_files(const struct sandbox_path *paths, const char **why) MUST_CHECK;
/* What this kernel lacks, or NULL. */
const char *sandbox_missing(void);
#endif
