/* store/bodies.h -- the bytes of messages: bodies/000001 …, append-only files of records.
 * A record is 24 bytes of header (magic, CRC32C of the bytes, their number, the email, CRC32C of the header) and the
 * bytes. Which record is alive is known by the rows of `email` alone; what a crash left half written is never named by
 * one. Thread-safe. Private to store/, in a header of its own because it knows nothing of the rest. */
#ifndef FACTEUR_STORE_BODIES_H
#define FACTEUR_STORE_BODIES_H
#include "base/buf.h"
#include "disk/disk.h"

struct bodies;
struct body_file;      /* an open file, pinned */
struct body_writer;    /* one long message on its way into a file of its own */

enum { RECORD_HEADER = 24 };
static const uint64_t BODY_FILE_SEAL = UINT64_C(256) << 20;   /* then a new file is begun */

struct place {
	uint32_t file;
	uint64_t at;       /* of the record in its file */
	uint64_t size;     /* bytes of the message, without the header */
};

/* Opens the folder "bodies" of an account, made if absent; removes what unfinished writers left. */
enum err bodies_open(struct disk_dir *account, struct bodies **out) MUST_CHECK;
void bodies_close(struct bodies **b);

/* Appends one record made of up to 7 pieces; durable after bodies_sync(). ERR_FULL: the disk is. */
enum err bodies_append(struct bodies *b, uint32_t email, const struct str *pieces, size_t n,
					   struct place *out) MUST_CHECK;
/* The same for several, in one write. They stand in bytes one after the other, each behind RECORD_HEADER bytes of room, which are filled
 * in; out has their sizes before and their places afterwards. */
enum err bodies_append_all(struct bodies *b, struct buf *bytes, const uint32_t *emails, size_t n, struct place *out) MUST_CHECK;
/* After an unclean stop: what the last process wrote and did not sync, bytes and names, is durable when it returns; what it failed to sync
 * is seen to be torn. */
enum err bodies_settle(struct bodies *b) MUST_CHECK;
/* Everything appended before this call is durable when it returns; concurrent calls share one fsync. */
enum err bodies_sync(struct bodies *b) MUST_CHECK;
/* A sync has failed: nothing is appended any more. */
bool bodies_have_failed(struct bodies *b);

enum err body_writer_begin(struct bodies *b, struct body_writer **out) MUST_CHECK;
enum err body_writer_write(struct body_writer *w, struct str bytes) MUST_CHECK;
uint64_t body_writer_size(const struct body_writer *w);
/* What was written so far, for reading, until body_writer_unmap(). Nobody else can cut the file. */
enum err body_writer_map(const struct body_writer *w, struct str *out) MUST_CHECK;
void body_writer_unmap(struct str mapped);
/* Durable, and at its place; *w is freed, also on an error (then nothing is left). */
enum err body_writer_commit(struct body_writer **w, uint32_t email, struct place *out) MUST_CHECK;
void body_writer_abandon(struct body_writer **w);

/* ERR_CORRUPT: the file is not there (not logged: the caller knows whose message it was). */
enum err bodies_pin(struct bodies *b, uint32_t file, struct body_file **out) MUST_CHECK;
void bodies_unpin(struct bodies *b, struct body_file *f);
enum err body_file_read(struct body_file *f, uint64_t at, void *p, size_t n) MUST_CHECK;
/* All bytes of a message into p. ERR_CORRUPT: they, or the header before them, are not what was written (not logged). */
enum err body_file_read_message(struct body_file *f, const struct place *place, uint32_t email, void *p) MUST_CHECK;
/* The same, and nobody wants the bytes. */
enum err body_file_check(struct body_file *f, const struct place *place, uint32_t email) MUST_CHECK;
bool body_file_holds(struct body_file *f, uint64_t at, uint64_t n);   /* the file is long enough for that */

/* True when the record at the place is whole. ERR_IO only for failures of the disk. */
enum err bodies_check(struct bodies *b, const struct place *place, uint32_t email, bool *is_whole) MUST_CHECK;
/* Appends what stands at a place as it stands, header and all: what is damaged does not get a checksum that says it is not. *is_whole as
 * above. ERR_CORRUPT: it cannot be read (a failure of the disk is logged), and stays where it is. */
enum err bodies_copy(struct bodies *b, const struct place *from, uint32_t email, struct place *to, bool *is_whole) MUST_CHECK;
enum err bodies_file_size(struct bodies *b, uint32_t file, uint64_t *size) MUST_CHECK;
/* If new records go into this file: from now on they go into a new one. */
enum err bodies_leave(struct bodies *b, uint32_t file) MUST_CHECK;
/* Unlinks a file that no row names. ERR_AGAIN: a reader has it pinned. */
enum err bodies_remove(struct bodies *b, uint32_t file) MUST_CHECK;
#endif
