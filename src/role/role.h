/* role/role.h -- how a role starts. Master executes `facteur --role NAME --index N --dir DIR --fd 3 …` (role/main.c); that calls
 * the role's function below in a fresh process whose only open descriptors are 0-2 and the channel to master. The function
 * makes channel_new(start->master_fd, …), opens its own files, enters the sandbox (ipc/sandbox.h), sends READY, serves, and
 * returns the exit code: 0 after STOP or when master is gone. Every role handles CONNECT (a new channel to a peer, also when
 * a peer was restarted), STOP, and where requests.def says so LISTEN and DIRECTORY. */
#ifndef FACTEUR_ROLE_ROLE_H
#define FACTEUR_ROLE_ROLE_H
#include "ipc/channel.h"
#include <sys/types.h>

struct role_start {
	enum role   role;
	uint32_t    index;       /* of several gates: 0, 1, … */
	int         master_fd;
	const char *dir;         /* the data folder, absolute; facteur.conf, accounts/, control/, keys/, queue/, tls/ live there */
	bool        sandbox;     /* false: setting sandbox = off, or a demo on a kernel without it */
};

int role_nursery(const struct role_start *start);
int role_control(const struct role_start *start);
int role_keys(const struct role_start *start);
int role_gate(const struct role_start *start);
int role_mx(const struct role_start *start);
int role_queue(const struct role_start *start);
int role_net(const struct role_start *start);
struct conf;
/* Would it start, as this user (0: as who we are)? In a process of its own, which has said why not. Before there are threads. */
bool role_net_can_start(const struct conf *c, uid_t uid, gid_t gid);

/* Body of CONNECT and LISTEN (ipc/requests.def); false: malformed. */
bool get_connect(struct message *m, enum role *peer, uint32_t *index);
struct listen_on { enum protocol protocol; bool implicit_tls; uint16_t port; };
bool get_listen(struct message *m, struct listen_on *l);
/* The handler of ALIVE, for every role that is no cell: who does not answer for as long as role_patience (facteur.conf) hangs, and is ended by master. */
void role_on_alive(void *context, struct channel *ch, struct message *m);
/* The handler of NOTICE_LOG, for the table of every role's channel to master: the log goes to the new descriptor. */
void role_on_log(void *context, struct channel *ch, struct message *m);

/* Runs a role in this process; called by the command line for `--role`. */
int role_main(int argc, char **argv);
/* Calls the role's function. */
int role_run(const struct role_start *start);

/* Master: `facteur serve`. Blocks until SIGINT/SIGTERM; returns the exit code. */
struct serve_options {
	const char *dir;
	int         port_offset;  /* added to every port; -1: as facteur.conf says */
	bool        single;       /* roles are threads, no sandbox, no change of user: for gdb and sanitizers */
	bool        demo;         /* ./run: starts, with a warning, where landlock or seccomp is missing */
};
int master_run(const struct serve_options *options);
#endif
