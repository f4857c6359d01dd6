/* store/bodies_private.h -- what bodies.c and body_writer.c share. */
#ifndef FACTEUR_STORE_BODIES_PRIVATE_H
#define FACTEUR_STORE_BODIES_PRIVATE_H
#include "store/bodies.h"
#include <pthread.h>

enum { BODIES_OPEN = 24 };           /* files; more while many are pinned */

struct body_file {
	uint32_t          file;
	struct disk_file *f;
	unsigned          pins;
	uint64_t          used;
};

struct bodies {
	struct disk_dir  *account, *dir;
	pthread_mutex_t   append_lock;   /* one append at a time, and the change to the next file; before lock */
	pthread_mutex_t   lock;          /* all below; never held while the disk works, but for opening a file */
	pthread_cond_t    sync_done;
	struct body_file *open[BODIES_OPEN * 4];
	size_t            n_open;
	uint64_t          clock;         /* for the least recently used */
	uint32_t          newest;        /* number given out last */
	struct body_file *current;       /* pinned; NULL before the first append */
	uint64_t          end;           /* where the next record goes */
	uint64_t          size;          /* of the current file; zeros from end on */
	unsigned          lone_syncs;    /* the last ones covered few bytes */
	bool              has_new_name;  /* the folder needs a sync too */
	bool              is_syncing, has_failed;
	uint64_t          written, synced;   /* writes */
	uint64_t          unsynced_bytes;
};

void body_file_name(char out[24], uint32_t file, bool is_new);
void body_record_header(char out[RECORD_HEADER], uint32_t crc, uint64_t size, uint32_t email);
/* The file that takes the next record is b->current; both locks are held. */
enum err bodies_open_current(struct bodies *b) MUST_CHECK;
#endif
