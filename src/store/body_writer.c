/* One long message on its way into a file of its own, which has a temporary name until it is whole and synced (bodies.c says why). */
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/bodies_private.h"
#include <sys/mman.h>

struct body_writer {
	struct bodies    *b;
	struct disk_file *f;
	uint32_t          file, crc;
	uint64_t          size;
	enum err          failed;
};

enum err body_writer_begin(struct bodies *b, struct body_writer **out)
{
	struct body_writer *w = MEM_NEW(struct body_writer);
	char name[24];
	enum err e;

	*w = (struct body_writer){ .b = b };
	pthread_mutex_lock(&b->append_lock);
	pthread_mutex_lock(&b->lock);
	e = bodies_open_current(b);  /* or its number would be taken for the current file */
	if (e == ERR_OK)
		w->file = ++b->newest;
	pthread_mutex_unlock(&b->lock);
	pthread_mutex_unlock(&b->append_lock);
	if (e == ERR_OK) {
		body_file_name(name, w->file, true);
		e = disk_open(b->dir, name, DISK_NEW, &w->f);
	}
	if (e != ERR_OK) {
		mem_free(w);
		return e;
	}
	*out = w;
	return ERR_OK;
}

enum err body_writer_write(struct body_writer *w, struct str bytes)
{
	if (w->failed == ERR_OK)
		w->failed = disk_pwrite(w->f, bytes.p, bytes.n, RECORD_HEADER + w->size);
	w->crc = crc32c(w->crc, bytes.p, bytes.n);
	w->size += bytes.n;
	return w->failed;
}

uint64_t body_writer_size(const struct body_writer *w) { return w->size; }

enum err body_writer_map(const struct body_writer *w, struct str *out)
{
	void *p = mmap(NULL, RECORD_HEADER + w->size, PROT_READ, MAP_PRIVATE, disk_fd(w->f), 0);

	if (p == MAP_FAILED)
		return log_errno("mmap", disk_name(w->f));
	*out = str_make((char *)p + RECORD_HEADER, w->size);
	return ERR_OK;
}

void body_writer_unmap(struct str mapped)
{
	munmap((char *)(uintptr_t)mapped.p - RECORD_HEADER, RECORD_HEADER + mapped.n);
}

static enum err note_failure(struct bodies *b, enum err e)
{
	pthread_mutex_lock(&b->lock);
	b->has_failed = b->has_failed || e != ERR_OK;
	e = b->has_failed ? ERR_IO : ERR_OK;
	pthread_mutex_unlock(&b->lock);
	return e;
}

/* The current file is left, durable; append_lock is held, so nobody writes to it. */
static enum err sync_left(struct bodies *b) { return note_failure(b, disk_sync(b->current->f)); }

/* From now on records follow the long message. */
static enum err follow(struct bodies *b, const struct body_writer *w)
{
	struct body_file *f;
	enum err e = bodies_pin(b, w->file, &f);

	if (e != ERR_OK)
		return e;
	pthread_mutex_lock(&b->lock);
	b->current->pins--;
	b->current = f;
	b->end = b->size = RECORD_HEADER + w->size;
	pthread_mutex_unlock(&b->lock);
	return ERR_OK;
}

/* Gives the file its name. One that is newer than the current one takes its place, see bodies.c: where that fails nothing more is added to the
 * current one, which the next process would not know to be unsynced. */
static enum err publish(struct bodies *b, const struct body_writer *w)
{
	char from[24], to[24];

	body_file_name(from, w->file, true);
	body_file_name(to, w->file, false);
	bool is_newer = w->file > b->current->file;  /* there is one since body_writer_begin() */
	if (is_newer)
		TRY(sync_left(b));
	TRY(disk_replace(b->dir, from, to));
	enum err e = disk_dir_sync(b->dir);
	return note_failure(b, e == ERR_OK && is_newer ? follow(b, w) : e);
}

static enum err writer_finish(struct body_writer *w, uint32_t email)
{
	char header[RECORD_HEADER];

	TRY(w->failed);
	body_record_header(header, w->crc, w->size, email);
	TRY(disk_pwrite(w->f, header, sizeof header, 0));
	TRY(disk_sync(w->f));
	pthread_mutex_lock(&w->b->append_lock);
	enum err e = publish(w->b, w);
	pthread_mutex_unlock(&w->b->append_lock);
	return e;
}

enum err body_writer_commit(struct body_writer **writer, uint32_t email, struct place *out)
{
	struct body_writer *w = *writer;
	enum err e = writer_finish(w, email);

	if (e != ERR_OK) {
		body_writer_abandon(writer);
		return e;
	}
	*out = (struct place){ w->file, 0, w->size };
	disk_close(&w->f);
	mem_free(w);
	*writer = NULL;
	return ERR_OK;
}

void body_writer_abandon(struct body_writer **writer)
{
	struct body_writer *w = *writer;
	char name[24];

	if (w == NULL)
		return;
	body_file_name(name, w->file, true);
	disk_close(&w->f);
	(void)!disk_remove(w->b->dir, name);  /* else the next bodies_open() does it */
	mem_free(w);
	*writer = NULL;
}
