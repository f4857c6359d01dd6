/* cli/attempts.h -- what a process that was taken over might try, one function each, for `facteur selftest
 * isolation`. */
#ifndef FACTEUR_CLI_ATTEMPTS_H
#define FACTEUR_CLI_ATTEMPTS_H
#include "ipc/role.h"
#include <sys/types.h>

/* The stage: a data folder of its own with two accounts, and things opened before the door closed. */
struct stage {
	char  dir[64];         /* mode 0711; accounts/1, accounts/2, keys, tls, control, queue, each with "secret" in it */
	int   socket_fd;       /* an unconnected TCP socket */
	int   pipe_fd;         /* the writing end of a pipe */
	int   log_fd;          /* a log, opened for appending */
	int   accounts_fd;     /* the folder accounts/, as queue holds it for syncfs */
	pid_t victim;          /* another process of the same user */
	const char *secret;    /* an address that is mapped in the victim too */
};

struct attempt {
	const char *name[2];                      /* English, French */
	int         roles;                        /* bits 1 << enum role: who must not (or must) be able to */
	bool        must_work;                    /* shows that the sandbox is not just a dead process */
	int       (*run)(const struct stage *s);  /* 0: it worked; -1: errno says why not */
};
extern const struct attempt attempts[];
extern const size_t attempt_count;
#endif
