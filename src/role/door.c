/* The doors. What a role needs beyond these it has open already, or gets as a descriptor: sockets from master, spool
 * files from queue, the look-up memfd from control. */
#include "role/door.h"
#include "base/arena.h"
#include "base/log.h"

enum { FOLDERS_MAX = 2 };

static const struct { enum role role; struct { const char *name; bool is_writable; } folders[FOLDERS_MAX]; } doors[] = {
	{ ROLE_CONTROL, { { "control", true } } },
	{ ROLE_KEYS,    { { "keys", true }, { "tls", false } } },
	{ ROLE_QUEUE,   { { "queue", true } } },
	{ ROLE_GATE,    { { NULL, false } } },
	{ ROLE_MX,      { { NULL, false } } },
	{ ROLE_NET,     { { NULL, false } } },
	{ ROLE_NURSERY, { { "accounts", true } } },
	{ ROLE_CELL,    { { "accounts/%llu", true } } },
};

enum err door_close(enum role role, const char *dir, uint64_t account, const struct sandbox_filter *filter)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct sandbox_path paths[FOLDERS_MAX + 1] = { { NULL, false } };
	const char *why = NULL;
	size_t door = 0;

	while (door < COUNT_OF(doors) && doors[door].role != role)
		door++;
	if (door == COUNT_OF(doors))
		return ERR_INVALID;
	for (size_t i = 0; i < FOLDERS_MAX && doors[door].folders[i].name; i++) {
		struct str name = str_of(doors[door].folders[i].name);
		if (role == ROLE_CELL)
			name = arena_printf(&a, "accounts/%llu", (unsigned long long)account);
		const char *path = arena_printf(&a, "%s/" STR_FMT, dir, STR_ARG(name)).p;
		paths[i] = (struct sandbox_path){ path, doors[door].folders[i].is_writable };
	}
	enum err e = sandbox_enter(role, filter, paths, &why);
	if (e != ERR_OK)
		log_error("%s cannot enter its sandbox: %s", role_name(role), why ? why : err_name(e));
	return e;
}
