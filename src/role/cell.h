/* role/cell.h -- the process that has the mail of one account (DESIGN.md §2). */
#ifndef FACTEUR_ROLE_CELL_H
#define FACTEUR_ROLE_CELL_H
#include "base/err.h"
#include "ipc/sandbox.h"
#include <stdbool.h>
#include <stdint.h>

struct cell_start {
	uint64_t    account;
	uint32_t    epoch;        /* grants older than this are refused */
	bool        is_watched;   /* a gate parks a session of this account */
	int         master_fd;
	int         key_fd;       /* 32 bytes: the key that checks grants of this account */
	const char *dir;          /* the data folder; the cell opens only accounts/N of it */
	bool        sandbox;
	const struct sandbox_filter *filter;  /* for ROLE_CELL, made by nursery; NULL where the sandbox is off */
};

/* Opened before any door closes: time zone, character tables, library configuration. Called once by the nursery. */
void cell_preload(const char *dir);
/* Serves until it has nothing to do and master lets it leave; returns the exit code: 0, or one of these if the account could not be opened. */
enum { CELL_FAILED = 1, CELL_DISK_FULL = 2 };
int role_cell(const struct cell_start *start);
#endif
