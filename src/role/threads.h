/* role/threads.h -- `serve --single`: every role a thread of one process instead of a process of its own, for gdb and sanitizers.
 * The same channels between them; no sandbox, no change of user, and a crash of one is a crash of all. */
#ifndef FACTEUR_ROLE_THREADS_H
#define FACTEUR_ROLE_THREADS_H
#include "role/cell.h"
#include "role/role.h"

/* From then on roles and cells are threads. Called once, before the first role starts. */
void threads_use(const char *dir);
bool threads_are_used(void);
/* Starts a role (a cell) as a thread that owns the descriptors. Returns a number like a pid, from 1. */
int threads_start_role(enum role role, uint32_t index, int master_fd);
int threads_start_cell(const struct cell_start *cell);
/* The next thread of this kind that has ended: its number, or 0. *code: what its function returned. */
int threads_ended_role(int *code);
int threads_ended_cell(int *code);
/* Readable when a thread of this kind has ended. */
int threads_role_fd(void);
int threads_cell_fd(void);
#endif
