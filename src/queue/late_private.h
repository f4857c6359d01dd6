/* queue/late_private.h -- shared by the files of late: late.c (rows and their life), late_change.c (results, orders), late_bodies.c
 * (files), late_list.c (reading), late_report.c (telling), late_route.c (where rows lead). */
#ifndef FACTEUR_QUEUE_LATE_PRIVATE_H
#define FACTEUR_QUEUE_LATE_PRIVATE_H
#include "db/db.h"
#include "queue/late.h"
#include <pthread.h>

struct late_bodies {
	struct disk_dir  *dir;          /* DIR/queue/late */
	struct disk_file *file;         /* the shared one that is written now; NULL: none yet */
	uint32_t          number;       /* its number; 0: none */
	uint32_t          next_number;
	bool              is_dirty, has_new_name;
};

struct late_place {                 /* file 0: in a spool file */
	uint32_t file;
	uint64_t at;
};

struct late {
	pthread_mutex_t    lock;
	struct disk_dir   *dir;         /* DIR/queue */
	struct db         *db;
	struct late_bodies bodies;
	bool               is_routed;   /* rows lead where the routes of lookup say */
	struct lookup     *lookup;      /* whose routes say where an address leads; NULL: not there yet */
	uint64_t           log_id, w;   /* what a replay could bring again: this log, above w */
};

/* For CLEANUP: `CLEANUP(late_unlock) struct late *held = late_lock(l);` */
struct late *late_lock(struct late *l);
void late_unlock(struct late **l);

/* What rows have named that are gone: files of bodies, spool files. */
struct late_gone {
	struct late_place *bodies;
	uint64_t          *spools;
	size_t             n, cap, spools_cap;
};

/* ---- late.c, late_list.c; under the lock */
/* The message goes with its last row, in the caller's transaction; after the commit what nobody names any more is removed. */
enum err late_drop_message(struct late *l, uint64_t log_id, uint64_t seq, struct arena *a, struct late_gone *g) MUST_CHECK;
void late_remove_gone(struct late *l, const struct late_gone *g);
void late_bind_bytes(struct stmt *q, int index, struct str s);   /* an empty value is an empty blob, never NULL */
/* Makes what is parked due. */
enum err late_unpark_all(struct late *l) MUST_CHECK;
/* ---- late_route.c; under the lock. Empty for an account, and where the address has none: nothing will be parked then. */
struct str late_destination_of(const struct late *l, uint64_t account, struct str address, struct arena *a);
enum err late_commit(struct late *l) MUST_CHECK;
/* Forgets finished rows that no replay can bring again; begins and commits. */
enum err late_forget_finished(struct late *l) MUST_CHECK;
#define LATE_ROW_COLUMNS \
	"log_id, seq, recipient, state, due, account, tries, added, notify, address, orcpt, detail, status, reason, host, notice, tried, asked"
void late_read_row(struct stmt *q, struct arena *a, struct late_row *out);
enum err late_read_message(struct late *l, uint64_t log_id, uint64_t seq, struct arena *a, struct late_message *out) MUST_CHECK;

/* ---- late_bodies.c; all under the lock */
/* first_number: above every number that a row names. */
enum err late_bodies_open(struct disk_dir *dir, uint32_t first_number, struct late_bodies *b) MUST_CHECK;
void late_bodies_close(struct late_bodies *b);
/* Durable after late_bodies_sync(). */
enum err late_bodies_write(struct late_bodies *b, struct str body, struct late_place *out) MUST_CHECK;
enum err late_bodies_sync(struct late_bodies *b) MUST_CHECK;
/* Goes on in a new file next time. */
void late_bodies_seal(struct late_bodies *b);
enum err late_bodies_read(struct late_bodies *b, struct late_place place, uint64_t size, struct buf *out) MUST_CHECK;
void late_bodies_name(uint32_t number, char name[16]);
void late_bodies_remove(struct late_bodies *b, uint32_t number);
/* Removes every file that is_named() denies. */
enum err late_bodies_sweep(struct late_bodies *b, bool (*is_named)(struct late *l, uint32_t number), struct late *l) MUST_CHECK;
#endif
