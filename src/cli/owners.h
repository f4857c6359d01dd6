/* cli/owners.h -- whose the files of a data folder are. */
#ifndef FACTEUR_CLI_OWNERS_H
#define FACTEUR_CLI_OWNERS_H
#include "cli/users.h"

/* Gives the roles' users what is theirs, where a copy from elsewhere has not kept its owners; says how much that was. As root, and while
 * no server runs; else nothing is done. False: it could not be (said). */
bool owners_mend(struct cli *c, const struct users *u);
#endif
