/* Bodies are written once and never changed: an append-only file needs one write and one fsync a message (shared by all
 * who wait), no page of a database is torn by it, and a backup copies sealed files once. Positions come from the rows
 * only, so after a crash nothing has to be scanned: new records simply go after the end of what is there.
 *
 * A message over a megabyte is not kept in memory while it arrives (body_writer.c): it gets a file of its own under a temporary name
 * ("000017.new"), which becomes 000017 at its commit; later records may follow in it as in any other file.
 *
 * A sync covers what was completely written before it began: `written` counts finished appends, `synced` those known to
 * be durable. A file that is left for the next one is synced at that moment, so only the current file is ever dirty, and
 * the current file has the highest number of all: after an unclean stop the next process finds by the number what it has
 * to sync. A long message therefore becomes the current file, and the one before is left, when it gets its name.
 *
 * To sync a file that has grown costs the file system a commit of its journal, three times as much as to sync bytes in the middle of one, and ten
 * times as long. So where syncs come after one or two records each (a client's APPENDs, deliveries that somebody waits for), zeros are
 * written ahead, and the next records go over them. A later process finds the end by them: no message has a NUL, so none ends with one. After a
 * power cut that end may lie inside a record that was torn; then no row names it, or the replay finds it torn and writes it again elsewhere. */
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/wire.h"
#include "store/bodies_private.h"
#include <assert.h>
#include <stdio.h>

enum {
	PIECES_MAX = 7, CHECK_STEP = 64 << 10,
#ifdef FACTEUR_FAULT
	AHEAD = 690, LONE_SYNCS = 1,   /* the crash tests pass the end of them often */
#else
	AHEAD = 64 << 10,              /* bytes */
	LONE_SYNCS = 3,                /* one after the other: it will go on like that */
#endif
	FEW = AHEAD / 3,               /* bytes that a sync covers: of more, zeros would double what is written and save little */
};
static const uint32_t RECORD_MAGIC = 0x31424346;  /* "FCB1" */

void body_file_name(char out[24], uint32_t file, bool is_new)
{
	snprintf(out, 24, "%06u%s", file, is_new ? ".new" : "");
}

void body_record_header(char out[RECORD_HEADER], uint32_t crc, uint64_t size, uint32_t email)
{
	struct buf b = { .p = out, .cap = RECORD_HEADER, .max = RECORD_HEADER };

	put_u32(&b, RECORD_MAGIC);
	put_u32(&b, crc);
	put_u64(&b, size);
	put_u32(&b, email);
	put_u32(&b, crc32c(0, b.p, b.n));
}

/* ------------------------------------------------------------------------------------------------------------ open */

static enum err look_through(struct bodies *b)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str *names;
	size_t n;

	TRY(disk_list(b->dir, &a, &names, &n));
	for (size_t i = 0; i < n; i++) {
		uint64_t file;
		if (str_ends(names[i], STR(".new")))
			TRY(disk_remove(b->dir, str_cstr(&a, names[i])));
		else if (str_to_u64(names[i], &file) && file < UINT32_MAX && file > b->newest)
			b->newest = (uint32_t)file;
	}
	return ERR_OK;
}

enum err bodies_open(struct disk_dir *account, struct bodies **out)
{
	struct bodies *b = MEM_NEW(struct bodies);
	bool is_new = !disk_exists(account, "bodies");
	enum err e;

	b->account = account;
	pthread_mutex_init(&b->append_lock, NULL);
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->sync_done, NULL);
	e = disk_dir_open_below(account, "bodies", true, &b->dir);
	if (e == ERR_OK && is_new)
		e = disk_dir_sync(account);
	if (e == ERR_OK)
		e = look_through(b);
	if (e != ERR_OK)
		bodies_close(&b);
	*out = b;
	return e;
}

void bodies_close(struct bodies **bodies)
{
	struct bodies *b = *bodies;

	if (b == NULL)
		return;
	for (size_t i = 0; i < b->n_open; i++) {
		if (b->has_failed)
			(void)!disk_settle(b->open[i]->f);  /* no row may say that this process was not the last one: the next may not see the lost pages */
		disk_close(&b->open[i]->f);
		mem_free(b->open[i]);
	}
	if (b->dir)
		disk_dir_close(&b->dir);
	pthread_mutex_destroy(&b->lock);
	pthread_mutex_destroy(&b->append_lock);
	pthread_cond_destroy(&b->sync_done);
	mem_free(b);
	*bodies = NULL;
}

/* --------------------------------------------------------------------------------------------- files that are open */

static void close_least_used(struct bodies *b)
{
	size_t least = SIZE_MAX;

	if (b->n_open < BODIES_OPEN)
		return;
	for (size_t i = 0; i < b->n_open; i++)
		if (b->open[i]->pins == 0 && (least == SIZE_MAX || b->open[i]->used < b->open[least]->used))
			least = i;
	if (least == SIZE_MAX)
		return;
	disk_close(&b->open[least]->f);
	mem_free(b->open[least]);
	b->open[least] = b->open[--b->n_open];
}

/* The lock is held. */
static enum err pin(struct bodies *b, uint32_t file, enum disk_how how, struct body_file **out)
{
	struct body_file *f;
	struct disk_file *opened;
	char name[24];
	enum err e;

	for (size_t i = 0; i < b->n_open; i++) {
		if (b->open[i]->file == file) {
			*out = b->open[i];
			(*out)->pins++;
			(*out)->used = ++b->clock;
			return ERR_OK;
		}
	}
	close_least_used(b);
	if (b->n_open == COUNT_OF(b->open))
		return ERR_AGAIN;
	body_file_name(name, file, false);
	e = disk_open(b->dir, name, how, &opened);
	if (e != ERR_OK)
		return e;
	f = MEM_NEW(struct body_file);
	*f = (struct body_file){ .file = file, .f = opened, .pins = 1, .used = ++b->clock };
	b->open[b->n_open++] = f;
	*out = f;
	return ERR_OK;
}

enum err bodies_pin(struct bodies *b, uint32_t file, struct body_file **out)
{
	enum err e;

	pthread_mutex_lock(&b->lock);
	e = pin(b, file, DISK_WRITE, out);
	pthread_mutex_unlock(&b->lock);
	return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
}

void bodies_unpin(struct bodies *b, struct body_file *f)
{
	pthread_mutex_lock(&b->lock);
	assert(f->pins > 0);
	f->pins--;
	pthread_mutex_unlock(&b->lock);
}

enum err body_file_read(struct body_file *f, uint64_t at, void *p, size_t n)
{
	return disk_read_all(f->f, p, n, at);
}

bool body_file_holds(struct body_file *f, uint64_t at, uint64_t n)
{
	uint64_t size;

	return disk_size(f->f, &size) == ERR_OK && at <= size && n <= size - at;
}

/* ---------------------------------------------------------------------------------------------------------- append */

/* Trying again after a failure proves nothing: the kernel has forgotten which pages were lost. */
static enum err leave_synced(struct bodies *b)
{
	enum err e = b->has_failed ? ERR_IO : disk_sync(b->current->f);

	if (e != ERR_OK)
		b->has_failed = true;
	return e;
}

/* The end of the last message, before the zeros that were written ahead. */
static enum err find_end(struct bodies *b)
{
	char step[4096];

	b->end = b->size;
	while (b->end > 0) {
		size_t n = (b->end - 1) % sizeof step + 1;
		TRY(disk_read_all(b->current->f, step, n, b->end - n));
		for (; n > 0 && step[n - 1] == '\0'; n--)
			b->end--;
		if (n > 0)
			break;
	}
	return ERR_OK;
}

/* Both locks are held, so no write to the file that is left is under way. It stays the current one until the next one is there: that cannot be
 * begun on a full disk, and there may be a sync to come. */
enum err bodies_open_current(struct bodies *b)
{
	struct body_file *next;

	if (b->current == NULL && b->newest > 0) {
		TRY(pin(b, b->newest, DISK_WRITE, &b->current));
		TRY(disk_size(b->current->f, &b->size));
		TRY(find_end(b));
	}
	if (b->current != NULL && b->end < BODY_FILE_SEAL)
		return ERR_OK;
	if (b->current != NULL)
		TRY(leave_synced(b));
	TRY(pin(b, b->newest + 1, DISK_NEW, &next));
	if (b->current != NULL)
		b->current->pins--;
	b->current = next;
	b->newest++;
	b->end = b->size = 0;
	b->has_new_name = true;
	return ERR_OK;
}

/* *zeros: so many are to follow them. */
static enum err claim(struct bodies *b, uint64_t bytes, struct body_file **f, uint64_t *at, size_t *zeros)
{
	enum err e;

	pthread_mutex_lock(&b->lock);
	e = b->has_failed ? ERR_IO : bodies_open_current(b);
	if (e == ERR_OK) {
		*f = b->current;
		(*f)->pins++;
		*at = b->end;
		b->end += bytes;
		*zeros = b->end > b->size && b->lone_syncs >= LONE_SYNCS ? AHEAD : 0;
		b->size = b->end + *zeros > b->size ? b->end + *zeros : b->size;
	}
	pthread_mutex_unlock(&b->lock);
	return e;
}

/* Whole records; v has room for one more; *out: where the first one is, its size is not set. */
static enum err append_bytes(struct bodies *b, struct iovec *v, int n, uint64_t bytes, struct place *out)
{
	static char ahead[AHEAD];
	struct body_file *f;
	size_t zeros = 0;
	uint64_t at;
	enum err e;

	pthread_mutex_lock(&b->append_lock);
	e = claim(b, bytes, &f, &at, &zeros);
	v[n] = (struct iovec){ ahead, zeros };
	if (e == ERR_OK) {
		e = disk_pwritev(f->f, v, n + (zeros > 0), at);
		*out = (struct place){ .file = f->file, .at = at };
		pthread_mutex_lock(&b->lock);
		f->pins--;
		b->written++;
		b->unsynced_bytes += bytes;
		pthread_mutex_unlock(&b->lock);
	}
	pthread_mutex_unlock(&b->append_lock);
	return e;
}

enum err bodies_append(struct bodies *b, uint32_t email, const struct str *pieces, size_t n, struct place *out)
{
	char header[RECORD_HEADER];
	struct iovec v[PIECES_MAX + 2];
	uint64_t size = 0;
	uint32_t crc = 0;

	assert(n <= PIECES_MAX);
	for (size_t i = 0; i < n; i++) {
		v[i + 1] = (struct iovec){ (char *)(uintptr_t)pieces[i].p, pieces[i].n };
		crc = crc32c(crc, pieces[i].p, pieces[i].n);
		size += pieces[i].n;
	}
	body_record_header(header, crc, size, email);
	v[0] = (struct iovec){ header, sizeof header };
	TRY(append_bytes(b, v, (int)n + 1, RECORD_HEADER + size, out));
	out->size = size;
	return ERR_OK;
}

enum err bodies_append_all(struct bodies *b, struct buf *bytes, const uint32_t *emails, size_t n, struct place *out)
{
	struct iovec v[2] = { { bytes->p, bytes->n } };
	size_t end = 0;

	for (size_t i = 0; i < n; i++) {
		char *record = bytes->p + end;
		body_record_header(record, crc32c(0, record + RECORD_HEADER, out[i].size), out[i].size, emails[i]);
		out[i].at = end;
		end += RECORD_HEADER + out[i].size;
	}
	assert(end == bytes->n);
	struct place first;
	TRY(append_bytes(b, v, 1, bytes->n, &first));
	for (size_t i = 0; i < n; i++) {
		out[i].file = first.file;
		out[i].at += first.at;
	}
	return ERR_OK;
}

static enum err sync_current(struct bodies *b, struct body_file *f, bool new_name)
{
	TRY(disk_sync(f->f));
	return new_name ? disk_dir_sync(b->dir) : ERR_OK;
}

enum err bodies_sync(struct bodies *b)
{
	bool has_synced = false;
	uint64_t wanted;
	enum err e;

	pthread_mutex_lock(&b->lock);
	wanted = b->written;
	while (b->synced < wanted && !b->has_failed) {
		if (b->is_syncing) {
			pthread_cond_wait(&b->sync_done, &b->lock);
			continue;
		}
		struct body_file *f = b->current;
		uint64_t target = b->written, bytes = b->unsynced_bytes;
		bool new_name = b->has_new_name;
		b->is_syncing = true;
		b->has_new_name = false;
		f->pins++;
		pthread_mutex_unlock(&b->lock);
		e = sync_current(b, f, new_name);
		pthread_mutex_lock(&b->lock);
		f->pins--;
		b->is_syncing = false;
		b->lone_syncs = bytes <= FEW ? b->lone_syncs + 1 : 0;
		b->unsynced_bytes -= bytes;
		if (e == ERR_OK)
			b->synced = target;
		else
			b->has_failed = true;
		has_synced = true;
	}
	e = b->has_failed ? ERR_IO : ERR_OK;
	pthread_mutex_unlock(&b->lock);
	if (has_synced)  /* outside the lock, which those that wait take next */
		pthread_cond_broadcast(&b->sync_done);
	return e;
}

bool bodies_have_failed(struct bodies *b)
{
	pthread_mutex_lock(&b->lock);
	bool has_failed = b->has_failed;
	pthread_mutex_unlock(&b->lock);
	return has_failed;
}

enum err bodies_settle(struct bodies *b)
{
	struct body_file *f;
	enum err e;

	if (b->newest == 0)
		return ERR_OK;
	TRY(bodies_pin(b, b->newest, &f));  /* only the newest is ever dirty */
	e = disk_settle(f->f);
	if (e == ERR_OK)
		e = disk_dir_sync(b->dir);
	bodies_unpin(b, f);
	return e;
}

/* ---------------------------------------------------------------------------------------------- checking, removing */

static bool header_is_right(const char *header, const struct place *place, uint32_t email, uint32_t *crc)
{
	struct scan s = scan_of(str_make(header, RECORD_HEADER));
	bool right = get_u32(&s) == RECORD_MAGIC;

	*crc = get_u32(&s);
	right = get_u64(&s) == place->size && right;
	right = get_u32(&s) == email && right;
	return get_u32(&s) == crc32c(0, header, RECORD_HEADER - 4) && right;
}

enum err body_file_read_message(struct body_file *f, const struct place *place, uint32_t email, void *p)
{
	char header[RECORD_HEADER];
	struct iovec v[2] = { { header, sizeof header }, { p, place->size } };
	uint32_t crc;
	size_t got;

	TRY(disk_preadv(f->f, v, COUNT_OF(v), place->at, &got));
	if (got < sizeof header + place->size || !header_is_right(header, place, email, &crc))
		return ERR_CORRUPT;
	return crc32c(0, p, place->size) == crc ? ERR_OK : ERR_CORRUPT;
}

static enum err sum_up(struct body_file *f, uint64_t at, uint64_t size, uint32_t *crc)
{
	char *step = mem_alloc(CHECK_STEP);
	enum err e = ERR_OK;

	*crc = 0;
	for (uint64_t n; e == ERR_OK && size > 0; at += n, size -= n) {
		size_t got;
		n = size < CHECK_STEP ? size : CHECK_STEP;
		e = disk_pread(f->f, step, (size_t)n, at, &got);
		if (e == ERR_OK && got < n)
			e = ERR_CORRUPT;
		if (e == ERR_OK)
			*crc = crc32c(*crc, step, (size_t)n);
	}
	mem_free(step);
	return e;
}

enum err body_file_check(struct body_file *f, const struct place *place, uint32_t email)
{
	char header[RECORD_HEADER];
	uint32_t crc, is;
	size_t got;

	TRY(disk_pread(f->f, header, sizeof header, place->at, &got));
	if (got < sizeof header || !header_is_right(header, place, email, &crc))
		return ERR_CORRUPT;
	TRY(sum_up(f, place->at + RECORD_HEADER, place->size, &is));
	return is == crc ? ERR_OK : ERR_CORRUPT;
}

enum err bodies_check(struct bodies *b, const struct place *place, uint32_t email, bool *is_whole)
{
	struct body_file *f;
	enum err e = bodies_pin(b, place->file, &f);

	if (e == ERR_OK) {
		e = body_file_check(f, place, email);
		bodies_unpin(b, f);
	}
	*is_whole = e == ERR_OK;
	return e == ERR_CORRUPT ? ERR_OK : e;
}

/* The record as it is into p. */
static enum err read_record(struct bodies *b, const struct place *from, char *p, uint32_t email, bool *is_whole)
{
	struct body_file *f;
	uint32_t crc;
	size_t got;
	enum err e;

	TRY(bodies_pin(b, from->file, &f));
	e = disk_pread(f->f, p, RECORD_HEADER + from->size, from->at, &got);
	bodies_unpin(b, f);
	if (e != ERR_OK || got < RECORD_HEADER + from->size)
		return ERR_CORRUPT;
	*is_whole = header_is_right(p, from, email, &crc) && crc32c(0, p + RECORD_HEADER, from->size) == crc;
	return ERR_OK;
}

enum err bodies_copy(struct bodies *b, const struct place *from, uint32_t email, struct place *to, bool *is_whole)
{
	uint64_t end;
	enum err e;

	*is_whole = false;
	TRY(bodies_file_size(b, from->file, &end));
	if (from->at > end || end - from->at < RECORD_HEADER || end - from->at - RECORD_HEADER < from->size)  /* no room is made for a size that cannot be true */
		return ERR_CORRUPT;
	uint64_t size = RECORD_HEADER + from->size;
	char *p = mem_alloc(size);
	e = read_record(b, from, p, email, is_whole);
	if (e == ERR_OK) {
		struct iovec v[2] = { { p, size } };
		e = append_bytes(b, v, 1, size, to);
		to->size = from->size;
	}
	mem_free(p);
	return e;
}

enum err bodies_file_size(struct bodies *b, uint32_t file, uint64_t *size)
{
	struct body_file *f;
	enum err e;

	TRY(bodies_pin(b, file, &f));
	e = disk_size(f->f, size);
	bodies_unpin(b, f);
	return e;
}

enum err bodies_leave(struct bodies *b, uint32_t file)
{
	enum err e = ERR_OK;

	pthread_mutex_lock(&b->append_lock);
	pthread_mutex_lock(&b->lock);
	if ((b->current ? b->current->file : b->newest) == file) {
		e = bodies_open_current(b);
		if (e == ERR_OK && b->current->file == file) {
			uint64_t end = b->end;
			b->end = BODY_FILE_SEAL;
			e = bodies_open_current(b);
			if (e != ERR_OK)
				b->end = end;
		}
	}
	pthread_mutex_unlock(&b->lock);
	pthread_mutex_unlock(&b->append_lock);
	return e;
}

enum err bodies_remove(struct bodies *b, uint32_t file)
{
	char name[24];
	enum err e = ERR_OK;

	pthread_mutex_lock(&b->lock);
	for (size_t i = 0; i < b->n_open; i++) {
		if (b->open[i]->file != file)
			continue;
		if (b->open[i]->pins > 0) {
			e = ERR_AGAIN;
			break;
		}
		disk_close(&b->open[i]->f);
		mem_free(b->open[i]);
		b->open[i] = b->open[--b->n_open];
		break;
	}
	if (e == ERR_OK) {
		body_file_name(name, file, false);
		e = disk_remove(b->dir, name);
		if (e == ERR_NOTFOUND)
			e = ERR_OK;
	}
	pthread_mutex_unlock(&b->lock);
	return e;
}
