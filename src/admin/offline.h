/* admin/offline.h -- the same commands when no server runs: this process takes DIR/lock, opens directory.db and
 * keys.db, and opens accounts itself when a command is about their mail. */
#ifndef FACTEUR_ADMIN_OFFLINE_H
#define FACTEUR_ADMIN_OFFLINE_H
#include "admin/admin.h"

struct admin_offline;
/* Makes the folders that are missing (and DIR itself). ERR_AGAIN: a server (or another command) has DIR/lock.
 * ERR_DENIED: not this user's folder. ERR_IO, ERR_CORRUPT: logged. */
enum err admin_offline_open(const char *dir, struct admin_offline **out) MUST_CHECK;
/* For admin_run(). */
const struct admin_host *admin_offline_host(struct admin_offline *o);
void admin_offline_close(struct admin_offline *o);   /* NULL is fine */
#endif
