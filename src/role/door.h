/* role/door.h -- which files each role may still touch when its door is closed (DESIGN.md §2). One table: the roles
 * close their doors with it, and `facteur selftest isolation` tries the same doors from inside. */
#ifndef FACTEUR_ROLE_DOOR_H
#define FACTEUR_ROLE_DOOR_H
#include "ipc/sandbox.h"
#include <stdint.h>

/* Enters the sandbox of the role in this process, which has one thread. dir: the data folder; account: of a cell,
 * else 0; filter: nursery's for cells, else NULL. A failure is logged, with what the kernel lacks. */
enum err door_close(enum role role, const char *dir, uint64_t account, const struct sandbox_filter *filter) MUST_CHECK;
#endif
