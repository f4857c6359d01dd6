/* disk/powercut_test.h -- for tests only: what a folder may look like after a power cut, made from the trace of
 * disk/fault.h. What was synced before the cut is there; of later writes any part may be; names of a folder that were
 * not synced survive as a random prefix of their order. */
#ifndef FACTEUR_DISK_POWERCUT_TEST_H
#define FACTEUR_DISK_POWERCUT_TEST_H
#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/test.h"
#include "base/wire.h"
#include "disk/disk.h"
#include "disk/fault.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef FACTEUR_FAULT

struct cut_write {
	struct str data;
	uint64_t   offset;
	bool       is_truncate;
};

struct cut_file {  /* an inode */
	char            *bytes;
	size_t           n, cap;
	struct cut_write pending[4096];
	size_t           n_pending;
};

struct cut_name {  /* a pending change of names in one folder */
	enum disk_op     op;
	struct str       path, to;
	struct cut_file *file;
};

struct cut_disk {
	struct arena    arena;
	struct map      live;      /* path -> cut_file, as the program sees it */
	struct map      kept;      /* path -> cut_file, names that are durable */
	struct cut_name names[4096];
	size_t          n_names;
	unsigned        seed, way;
};

static void cut_write_into(struct cut_disk *d, struct cut_file *f, uint64_t offset, const char *p, size_t n)
{
	size_t end = (size_t)offset + n;

	if (end > f->cap) {
		char *more = arena_alloc(&d->arena, f->cap = end * 2);
		if (f->n > 0)
			memcpy(more, f->bytes, f->n);
		f->bytes = more;
	}
	memcpy(f->bytes + offset, p, n);
	if (end > f->n)
		f->n = end;
}

static void cut_apply(struct cut_disk *d, struct cut_file *f, const struct cut_write *w)
{
	if (!w->is_truncate) {
		cut_write_into(d, f, w->offset, w->data.p, w->data.n);
	} else if (w->offset < f->n) {
		memset(f->bytes + w->offset, 0, f->n - (size_t)w->offset);
		f->n = (size_t)w->offset;
	}
}

/* The part of a write that reached the platter. */
static void cut_apply_torn(struct cut_disk *d, struct cut_file *f, const struct cut_write *w)
{
	unsigned fate = (unsigned)rand_r(&d->seed) % 3;

	if (fate == 0)
		return;
	if (fate == 1 || w->is_truncate) {
		cut_apply(d, f, w);
		return;
	}
	for (uint64_t at = w->offset; at < w->offset + w->data.n;) {
		uint64_t end = (at / DISK_SECTOR + 1) * DISK_SECTOR;
		if (end > w->offset + w->data.n)
			end = w->offset + w->data.n;
		if (rand_r(&d->seed) % 2)
			cut_write_into(d, f, at, w->data.p + (at - w->offset), (size_t)(end - at));
		at = end;
	}
}

/* One cut in three keeps or loses the unsynced writes of a file as a whole, one keeps a prefix of them: what file
 * systems really do; one lets every write have its own fate: what the contract allows. */
static void cut_finish_file(struct cut_disk *d, struct cut_file *f)
{
	unsigned way = d->way % 3;
	size_t kept = way == 0	 ? 0
				  : way == 1 ? (rand_r(&d->seed) % 2 ? f->n_pending : 0)
							 : (size_t)rand_r(&d->seed) % (f->n_pending + 1);

	for (size_t i = 0; i < f->n_pending; i++) {
		if (way == 0)
			cut_apply_torn(d, f, &f->pending[i]);
		else if (i < kept)
			cut_apply(d, f, &f->pending[i]);
	}
}

static void cut_name_apply(struct map *names, const struct cut_name *c)
{
	if (c->op == DISK_OP_CREATE) {
		map_set(names, c->path, c->file);
	} else if (c->op == DISK_OP_REMOVE) {
		map_set(names, c->path, NULL);
	} else {
		map_set(names, c->to, c->file);
		map_set(names, c->path, NULL);
	}
}

static bool cut_in_folder(const struct cut_name *c, struct str folder)
{
	ptrdiff_t slash = str_rchr(c->path, '/');

	return str_eq(str_sub(c->path, 0, (size_t)slash), folder);
}

/* The names of one folder (p == NULL: of all) up to a number of changes are durable. */
static void cut_settle_names(struct cut_disk *d, struct str folder, size_t changes)
{
	size_t left = 0;

	for (size_t i = 0; i < d->n_names; i++) {
		if ((folder.p == NULL || cut_in_folder(&d->names[i], folder)) && changes > 0) {
			cut_name_apply(&d->kept, &d->names[i]);
			changes--;
		} else {
			d->names[left++] = d->names[i];
		}
	}
	d->n_names = left;
}

static void cut_op(struct cut_disk *d, enum disk_op op, struct str path, uint64_t offset, struct str data)
{
	struct cut_file *f = map_get(&d->live, path);
	struct cut_name *c = &d->names[d->n_names];

	switch (op) {
	case DISK_OP_CREATE:
		f = ARENA_NEW(&d->arena, struct cut_file);
		map_set(&d->live, path, f);
		*c = (struct cut_name){ op, path, STR_NONE, f };
		d->n_names++;
		break;
	case DISK_OP_WRITE:
	case DISK_OP_TRUNCATE:
		EXPECT(f != NULL && f->n_pending < COUNT_OF(f->pending));
		f->pending[f->n_pending++] = (struct cut_write){ data, offset, op == DISK_OP_TRUNCATE };
		break;
	case DISK_OP_REMOVE:
	case DISK_OP_REPLACE:
		*c = (struct cut_name){ op, path, data, f };
		cut_name_apply(&d->live, c);
		d->n_names++;
		break;
	default:
		break;
	}
	EXPECT(d->n_names < COUNT_OF(d->names));
}

static void cut_synced(struct cut_disk *d, enum disk_op op, struct str path)
{
	struct cut_file *f = map_get(&d->live, path);

	if (op == DISK_OP_SYNC && f != NULL) {
		for (size_t i = 0; i < f->n_pending; i++)
			cut_apply(d, f, &f->pending[i]);
		f->n_pending = 0;
	} else if (op == DISK_OP_DIRSYNC) {
		cut_settle_names(d, path, SIZE_MAX);
	}
}

/* All folders on the way to a file. */
static void cut_make_parents(struct cut_disk *d, const char *to, struct str path)
{
	for (size_t i = strlen(to) + 1; i < path.n; i++)
		if (path.p[i] == '/')
			(void)!mkdir(str_cstr(&d->arena, str_sub(path, 0, i)), 0700);
}

static void cut_make_file(struct cut_disk *d, const char *from, const char *to, struct str path, struct cut_file *f)
{
	struct str tail = str_from(path, strlen(from));
	struct str made = arena_printf(&d->arena, "%s" STR_FMT, to, STR_ARG(tail));
	char *name = str_cstr(&d->arena, made);
	CLEANUP(fd_close) int fd = -1;

	EXPECT(str_starts(path, str_of(from)));
	cut_make_parents(d, to, made);
	cut_finish_file(d, f);
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	EXPECT(fd >= 0);
	EXPECT(f->n == 0 || write(fd, f->bytes, f->n) == (ssize_t)f->n);
}

/* Writes into the folder `to` what `from` may be after a power cut when the trace had `at` bytes. */
static void powercut_rebuild(struct str trace, size_t at, const char *from, const char *to, unsigned seed)
{
	struct cut_disk *d = MEM_NEW(struct cut_disk);
	struct scan s = scan_of(str_sub(trace, 0, at));
	struct { enum disk_op op; uint64_t id; struct str path; } open_syncs[64];
	size_t n_syncs = 0, step = 0;
	struct str path;
	void *f;

	d->seed = d->way = seed;
	while (scan_left(&s) > 12) {
		scan_need_str(&s, STR("FDT1"));
		uint32_t size = get_u32(&s);
		get_u32(&s);
		enum disk_op op = (enum disk_op)get_u8(&s);
		get_u32(&s);
		uint64_t id = get_u64(&s);
		uint32_t errnum = get_u32(&s);
		uint64_t offset = get_u64(&s);
		uint16_t path_n = get_u16(&s);
		uint32_t data_n = get_u32(&s);
		path = scan_bytes(&s, path_n);
		struct str data = scan_bytes(&s, data_n);
		if (s.failed)
			break;  /* the cut fell into this record: the operation had not begun */
		EXPECT(size > 0);
		if (op == DISK_OP_SYNC || op == DISK_OP_DIRSYNC) {
			EXPECT(n_syncs < COUNT_OF(open_syncs));
			open_syncs[n_syncs].op = op;
			open_syncs[n_syncs].id = id;
			open_syncs[n_syncs++].path = path;
		} else if (op == DISK_OP_DONE) {
			for (size_t i = 0; i < n_syncs; i++) {
				if (open_syncs[i].id != id)
					continue;
				if (errnum == 0)
					cut_synced(d, open_syncs[i].op, open_syncs[i].path);
				open_syncs[i] = open_syncs[--n_syncs];
				break;
			}
		} else {
			cut_op(d, op, path, offset, data);
		}
	}
	cut_settle_names(d, STR_NONE, (size_t)rand_r(&d->seed) % (d->n_names + 1));
	EXPECT(mkdir(to, 0700) == 0);
	while (map_next(&d->kept, &step, &path, &f))
		cut_make_file(d, from, to, path, f);
	map_free(&d->kept);
	map_free(&d->live);
	arena_free(&d->arena);
	mem_free(d);
}

/* The position after the n-th record from a position on; wraps around. Cuts between operations are as likely as they
 * are many, not as they are long. */
UNUSED static size_t powercut_after(struct str trace, size_t from, unsigned n)
{
	size_t at = from;

	while (n-- > 0) {
		struct scan s = scan_of(str_from(trace, at));
		scan_need_str(&s, STR("FDT1"));
		at += get_u32(&s);
		EXPECT(!s.failed && at <= trace.n);
		if (at == trace.n)
			at = from;
	}
	return at;
}

static const char *powercut_start(struct arena *a, const char *dir)
{
	const char *path = str_cstr(a, arena_printf(a, "%s.trace", dir));

	setenv("FACTEUR_DISK_TRACE", path, 1);
	disk_fault_start();
	return path;
}

static size_t powercut_position(const char *trace)
{
	struct stat st;

	EXPECT(stat(trace, &st) == 0);
	return (size_t)st.st_size;
}

static struct str powercut_stop(struct arena *a, const char *path)
{
	size_t size = powercut_position(path);
	char *p = arena_alloc(a, size + 1);
	CLEANUP(fd_close) int fd = open(path, O_RDONLY);

	EXPECT(fd >= 0 && read(fd, p, size) == (ssize_t)size);
	unsetenv("FACTEUR_DISK_TRACE");
	close(DISK_FAULT_TRACE_FD);
	disk_fault_start();
	unlink(path);
	return str_make(p, size);
}
#endif
#endif
