/* cli/users.h -- the system users the roles run as (settings user and cell_user of facteur.conf), and what setup does
 * for them. */
#ifndef FACTEUR_CLI_USERS_H
#define FACTEUR_CLI_USERS_H
#include "cli/cli_private.h"
#include <sys/types.h>

struct users {
	char  user[33], cell_user[33];
	uid_t uid, cell_uid;           /* 0: the roles run as who starts the server */
	gid_t gid, cell_gid;
};
/* By DIR/facteur.conf; without root, or with "root" there, ids are 0. False: facteur.conf cannot be read (said). */
bool users_find(struct cli *c, struct users *out);
/* As root: makes those that are missing (said). */
void users_make(struct cli *c, struct users *u);
/* Can this user reach the folder? */
bool users_can_reach(uid_t uid, gid_t gid, const char *dir);
#endif
