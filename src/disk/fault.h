/* disk/fault.h -- the fault layer of the test builds (FACTEUR_FAULT): a trace of all operations, and failures on demand.
 * In other builds the calls below are nothing.
 *
 * FACTEUR_DISK_TRACE=path: each operation appends a record BEFORE it is performed and one after it, with its result. One
 * write(2) with O_APPEND a record, so records of all processes have one order. Little-endian, no padding:
 *     u32 magic "FDT1"  u32 length of the whole record  u32 crc32c of what follows
 *     u8 enum disk_op   u32 pid   u64 id   u32 errno (of *_DONE)   u64 offset   u16 path length   u32 data length   path   data
 * DONE carries the id of what it ends. A process that is killed can leave a torn record: readers look for the next magic
 * whose CRC is right. Paths are absolute. Writes are cut into records of at most 64 kB. tests/crash/rebuild reads it.
 *
 * FACTEUR_DISK_FAULT=path: a text file, read before every operation, that tests may rewrite at any time (at most 4,000
 * bytes). A line is `OP PATH ACTION N`; OP: read write sync (of any kind) syncfs dirsync truncate open remove replace any; PATH: a part of the
 * absolute path, or *; ACTION: eio, enospc (from the N-th such call of a process on), eio-once, enospc-once (only
 * the N-th), slow (N milliseconds each). '#' begins a comment. */
#ifndef FACTEUR_DISK_FAULT_H
#define FACTEUR_DISK_FAULT_H
#include "base/str.h"

enum disk_op {
	DISK_OP_DONE = 0,
	DISK_OP_CREATE = 1,      /* a name that was not there */
	DISK_OP_WRITE,           /* offset, data */
	DISK_OP_TRUNCATE,        /* offset: the new size */
	DISK_OP_SYNC,            /* bytes and size of one file */
	DISK_OP_DIRSYNC,         /* names in one folder */
	DISK_OP_SYNCFS,          /* everything */
	DISK_OP_REMOVE,
	DISK_OP_REPLACE,         /* path: from; data: the path it gets */
	DISK_OP_MKDIR,
	DISK_OP_READ,            /* not in the trace; only for failures */
	DISK_OP_OPEN,            /* not in the trace; only for failures */
	DISK_OP_FORGET,          /* pages that a sync has failed to write leave the kernel's memory; not in the trace; fails: they stay */
	DISK_OP_COUNT
};

#ifdef FACTEUR_FAULT
enum { DISK_FAULT_FDS = 900, DISK_FAULT_TRACE_FD = 900, DISK_FAULT_CONTROL_FD = 901 };
/* Opens what the environment names; runs by itself before main(), tests call it again after setenv(). */
void disk_fault_start(void);
/* The operation may begin: records it, sleeps if it is to be slow. Returns 0 or the errno it shall fail with. *id for done. */
int  disk_fault_begin(enum disk_op op, const char *folder, const char *name, uint64_t offset, struct str data, uint64_t *id);
/* It has ended; errnum 0: well. Keeps errno. */
void disk_fault_done(uint64_t id, int errnum);
#else
static inline int disk_fault_begin(enum disk_op op, const char *folder, const char *name, uint64_t offset, struct str data,
                                   uint64_t *id)
{
	(void)op, (void)folder, (void)name, (void)offset, (void)data;
	*id = 0;
	return 0;
}
static inline void disk_fault_done(uint64_t id, int errnum) { (void)id, (void)errnum; }
#endif
#endif
