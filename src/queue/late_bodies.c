/* The bodies of late messages: files late/000001 and so on, only ever appended to.
 *
 * A file for each message would cost two syncs a message (its bytes, its name); a burst of letters to other servers is
 * moved in batches, so small bodies go one behind the other into a shared file: one sync a batch. A shared file goes
 * when its last message goes: a few old messages can keep LATE_FILE_SEAL bytes each, for as long as they are in the
 * queue, and no more. Bodies have no header: the row has their place, length and CRC, and a row commits only after
 * late_bodies_sync().
 *
 * A number is not used again while anything could name it, and a file that was there before this opening is not
 * appended to: nothing needs to be known about how the last process ended. What a crash left without a row is swept
 * away at the opening. */
#include "queue/late_private.h"
#include <stdio.h>

void late_bodies_name(uint32_t number, char name[16]) { snprintf(name, 16, "%06u", number); }

enum err late_bodies_open(struct disk_dir *dir, uint32_t first_number, struct late_bodies *b)
{
	*b = (struct late_bodies){ .next_number = first_number };
	TRY(disk_dir_open_below(dir, "late", true, &b->dir));
	return disk_dir_sync(dir);  /* also when it was there: a killed process may not have come to it */
}

void late_bodies_close(struct late_bodies *b)
{
	late_bodies_seal(b);
	disk_dir_close(&b->dir);
}

static enum err new_file(struct late_bodies *b, struct disk_file **out, uint32_t *number)
{
	char name[16];

	*number = b->next_number++;
	late_bodies_name(*number, name);
	TRY(disk_open(b->dir, name, DISK_NEW, out));
	b->has_new_name = true;
	return ERR_OK;
}

/* A large body: a file with exactly these bytes, so that its descriptor can be passed on. */
static enum err write_own_file(struct late_bodies *b, struct str body, struct late_place *out)
{
	CLEANUP(disk_close) struct disk_file *f = NULL;

	*out = (struct late_place){ 0 };
	TRY(new_file(b, &f, &out->file));
	TRY(disk_append(f, body, &out->at));
	return disk_sync(f);
}

enum err late_bodies_write(struct late_bodies *b, struct str body, struct late_place *out)
{
	uint64_t size = 0;

	if (body.n > LATE_SHARED_MAX)
		return write_own_file(b, body, out);
	if (b->file != NULL)
		TRY(disk_size(b->file, &size));
	if (b->file == NULL || size >= LATE_FILE_SEAL) {
		TRY(late_bodies_sync(b));  /* what is in it may belong to rows that are about to commit */
		late_bodies_seal(b);
		TRY(new_file(b, &b->file, &b->number));
	}
	out->file = b->number;
	b->is_dirty = true;
	return disk_append(b->file, body, &out->at);
}

enum err late_bodies_sync(struct late_bodies *b)
{
	if (b->is_dirty)
		TRY(disk_sync(b->file));
	b->is_dirty = false;
	if (b->has_new_name)
		TRY(disk_dir_sync(b->dir));
	b->has_new_name = false;
	return ERR_OK;
}

void late_bodies_seal(struct late_bodies *b)
{
	disk_close(&b->file);
	b->number = 0;
	b->is_dirty = false;
}

enum err late_bodies_read(struct late_bodies *b, struct late_place place, uint64_t size, struct buf *out)
{
	CLEANUP(disk_close) struct disk_file *f = NULL;
	char name[16], *p = buf_reserve(out, (size_t)size);

	if (p == NULL)
		return ERR_LIMIT;
	late_bodies_name(place.file, name);
	TRY(disk_open(b->dir, name, DISK_READ, &f));
	TRY(disk_read_all(f, p, (size_t)size, place.at));
	buf_grew(out, (size_t)size);
	return ERR_OK;
}

/* Not synced: a file that comes back after a power cut is swept at the next opening. A failure is logged by disk/. */
void late_bodies_remove(struct late_bodies *b, uint32_t number)
{
	char name[16];

	late_bodies_name(number, name);
	(void)!disk_remove(b->dir, name);
}

enum err late_bodies_sweep(struct late_bodies *b, bool (*is_named)(struct late *l, uint32_t number), struct late *l)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str *names;
	uint64_t number;
	size_t n;

	TRY(disk_list(b->dir, &a, &names, &n));
	for (size_t i = 0; i < n; i++) {
		if (!str_to_u64(names[i], &number) || number == 0 || number > UINT32_MAX - 1)
			continue;  /* not ours */
		if (number >= b->next_number)
			b->next_number = (uint32_t)number + 1;
		if (number != b->number && !is_named(l, (uint32_t)number))
			late_bodies_remove(b, (uint32_t)number);
	}
	return ERR_OK;
}
