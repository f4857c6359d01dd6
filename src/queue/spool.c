/* Files are numbered at random: a number need not be remembered over a restart, and none comes twice. Two tables: files
 * that somebody writes now (by number, with their owner), and files that a record names (by number, with its seq). */
#include "queue/spool.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "queue/record.h"
#include <fcntl.h>
#include <stdio.h>

struct unused {
	uint64_t owner;
	int64_t  made_ms;
};

struct named {
	uint64_t seq;
};

struct spool {
	struct disk_dir *dir;
	struct map       unused, named;
};

enum err spool_open(struct disk_dir *dir, struct spool **out)
{
	CLEANUP(disk_dir_close) struct disk_dir *folder = NULL;

	TRY(disk_dir_open_below(dir, "spool", true, &folder));
	TRY(disk_dir_sync(dir));
	*out = MEM_NEW(struct spool);
	(*out)->dir = dir;
	return ERR_OK;
}

static void free_values(struct map *m)
{
	size_t at = 0;
	void *v;

	while (map_next(m, &at, NULL, &v))
		mem_free(v);
	map_free(m);
}

void spool_close(struct spool *s)
{
	if (s == NULL)
		return;
	free_values(&s->unused);
	free_values(&s->named);
	mem_free(s);
}

static enum err make(struct spool *s, uint64_t *number, struct disk_file **f)
{
	char name[SPOOL_NAME_MAX];
	enum err e;

	do {
		*number = random_u64();
		spool_name(*number, name);
		e = *number == 0 ? ERR_EXISTS : disk_open(s->dir, name, DISK_NEW, f);
	} while (e == ERR_EXISTS);
	return e;
}

/* A descriptor for somebody else; the file itself is closed. */
static enum err share(struct disk_file *f, int *fd)
{
	*fd = fcntl(disk_fd(f), F_DUPFD_CLOEXEC, 3);
	return *fd < 0 ? log_errno("dup", disk_name(f)) : ERR_OK;
}

static size_t count_unused(const struct spool *s, uint64_t owner)
{
	size_t at = 0, n = 0;
	void *v;

	while (map_next(&s->unused, &at, NULL, &v))
		n += ((struct unused *)v)->owner == owner;
	return n;
}

enum err spool_new(struct spool *s, uint64_t owner, size_t most, int64_t now_ms, uint64_t *number, int *fd)
{
	CLEANUP(disk_close) struct disk_file *f = NULL;
	struct unused *u;

	if (s->unused.n >= SPOOL_OPEN_MAX || (most < SPOOL_OPEN_MAX && count_unused(s, owner) >= most))
		return ERR_LIMIT;
	TRY(make(s, number, &f));
	enum err e = share(f, fd);
	if (e != ERR_OK) {
		spool_remove(s, *number);
		return e;
	}
	u = MEM_NEW(struct unused);
	*u = (struct unused){ owner, now_ms };
	map_set_u64(&s->unused, *number, u);
	return ERR_OK;
}

static void forget_unused(struct spool *s, uint64_t number)
{
	mem_free(map_get_u64(&s->unused, number));
	map_set_u64(&s->unused, number, NULL);
}

void spool_drop(struct spool *s, uint64_t owner, uint64_t number)
{
	const struct unused *u = map_get_u64(&s->unused, number);

	if (u == NULL || u->owner != owner)
		return;
	forget_unused(s, number);
	spool_remove(s, number);
}

void spool_owner_gone(struct spool *s, uint64_t owner)
{
	size_t at = 0;
	struct str key;
	void *v;

	while (map_next(&s->unused, &at, &key, &v)) {
		uint64_t number = map_key_u64(key);
		if (((struct unused *)v)->owner != owner)
			continue;
		forget_unused(s, number);
		spool_remove(s, number);
	}
}

enum err spool_take(struct spool *s, uint64_t owner, uint64_t number, uint64_t size)
{
	CLEANUP(disk_close) struct disk_file *f = NULL;
	struct unused *u = map_get_u64(&s->unused, number);
	char name[SPOOL_NAME_MAX];
	uint64_t there;

	if (u == NULL || u->owner != owner)
		return ERR_NOTFOUND;
	spool_name(number, name);
	TRY(disk_open(s->dir, name, DISK_READ, &f));
	TRY(disk_size(f, &there));
	if (there != size || size == 0)
		return ERR_INVALID;
	if (disk_has_writer(f)) {  /* he could change what we are about to promise */
		log_error("a spool file is still open for writing at its sender, the message is not taken file=%s", name);
		return ERR_INVALID;
	}
	forget_unused(s, number);
	return ERR_OK;
}

enum err spool_write(struct spool *s, struct str head, struct str rest, uint64_t *number)
{
	CLEANUP(disk_close) struct disk_file *f = NULL;

	TRY(make(s, number, &f));
	enum err e = head.n > 0 ? disk_pwrite(f, head.p, head.n, 0) : ERR_OK;
	if (e == ERR_OK && rest.n > 0)
		e = disk_pwrite(f, rest.p, rest.n, head.n);
	if (e != ERR_OK)
		spool_remove(s, *number);
	return e;
}

enum err spool_sync(struct spool *s, uint64_t number)
{
	CLEANUP(disk_close) struct disk_file *f = NULL;
	char name[SPOOL_NAME_MAX];

	spool_name(number, name);
	TRY(disk_open(s->dir, name, DISK_WRITE, &f));
	TRY(disk_written_elsewhere(f));
	TRY(disk_sync(f));
	return disk_dir_sync_name(s->dir, name);
}

enum err spool_read(struct spool *s, uint64_t number, int *fd)
{
	CLEANUP(disk_close) struct disk_file *f = NULL;
	char name[SPOOL_NAME_MAX];

	spool_name(number, name);
	TRY(disk_open(s->dir, name, DISK_READ, &f));
	return share(f, fd);
}

void spool_remove(struct spool *s, uint64_t number)
{
	char name[SPOOL_NAME_MAX];

	spool_name(number, name);
	(void)!disk_remove(s->dir, name);  /* logged; the next start tries again */
}

void spool_named(struct spool *s, uint64_t number, uint64_t seq)
{
	struct named *n = map_get_u64(&s->named, number);

	if (n == NULL) {
		n = MEM_NEW(struct named);
		map_set_u64(&s->named, number, n);
	}
	if (seq > n->seq)
		n->seq = seq;
}

void spool_passed(struct spool *s, uint64_t w, struct late *late)
{
	size_t at = 0;
	struct str key;
	void *v;

	while (map_next(&s->named, &at, &key, &v)) {
		uint64_t number = map_key_u64(key);
		if (((struct named *)v)->seq > w)
			continue;
		mem_free(v);
		map_set_u64(&s->named, number, NULL);
		if (!late_names_spool(late, number))
			spool_remove(s, number);
	}
}

void spool_expire(struct spool *s, int64_t now_ms)
{
	size_t at = 0;
	struct str key;
	void *v;

	while (map_next(&s->unused, &at, &key, &v)) {
		uint64_t number = map_key_u64(key);
		if (now_ms - ((struct unused *)v)->made_ms < SPOOL_UNUSED_MS)
			continue;
		forget_unused(s, number);
		spool_remove(s, number);
	}
}

enum err spool_sweep(struct spool *s, struct late *late)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(disk_dir_close) struct disk_dir *folder = NULL;
	struct str *names;
	size_t n, removed = 0;

	TRY(disk_dir_open_below(s->dir, "spool", false, &folder));
	TRY(disk_list(folder, &a, &names, &n));
	for (size_t i = 0; i < n; i++) {
		uint64_t number;
		if (!spool_name_parse(names[i], &number) || map_get_u64(&s->named, number) != NULL ||
			late_names_spool(late, number))
			continue;
		spool_remove(s, number);
		removed++;
	}
	if (removed > 0)
		log_info("spool files that no message needs were removed count=%zu", removed);
	return ERR_OK;
}
