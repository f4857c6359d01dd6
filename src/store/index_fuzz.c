/* Segments of the index that were made of anything: gone through, looked in, merged. The first byte says whether the rest is words and lists, which
 * are written as a segment is, or the bytes of its two files. */
#include "base/mem.h"
#include "base/test.h"
#include "store/index_private.h"
#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct disk_dir *dir;
static const char *folder;

static void remove_folder(void)
{
	disk_dir_close(&dir);
	test_dir_remove(folder);
}

static void write_words(struct str input, struct segment_info *info)
{
	struct scan s = scan_of(input);
	struct segment_writer *w;

	assert(segment_begin(dir, info->number, &w) == ERR_OK);
	while (scan_left(&s) >= 2) {
		size_t term_n = (unsigned char)s.p[0] % TERM_MAX + 1, list_n = (unsigned char)s.p[1];
		s.p += 2;
		struct str term = scan_bytes(&s, term_n), list = scan_bytes(&s, list_n);
		if (!s.failed)
			assert(segment_put(w, term, list) == ERR_OK);
	}
	assert(segment_end(&w, info) == ERR_OK);
}

static void write_raw(const char *name, struct str bytes)
{
	struct disk_file *f;

	assert(disk_open(dir, name, DISK_NEW, &f) == ERR_OK);
	assert(disk_pwrite(f, bytes.p, bytes.n, 0) == ERR_OK);
	disk_close(&f);
}

static void write_files(struct str input, struct segment_info *info)
{
	char words[32], lists[32];
	size_t n = input.n / 2;

	segment_names(info->number, words, lists);
	write_raw(words, str_sub(input, 0, n));
	write_raw(lists, str_from(input, n));
	info->words_bytes = n;
	info->lists_bytes = input.n - n;
}

static bool looks_at(UNUSED void *context, UNUSED struct str entries) { return true; }
static bool wants(UNUSED void *context, struct str term) { return term.n % 2 == 0; }
static void take(UNUSED void *context, struct list_reader *list)
{
	while (list_next(list))
		assert(list->email > 0);
}

static void remove_files(uint32_t number)
{
	char words[32], lists[32];

	segment_names(number, words, lists);
	(void)!disk_remove(dir, words);
	(void)!disk_remove(dir, lists);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(segment_room_free) struct segment_room room = { 0 };
	const struct segment_scan how = { looks_at, wants, take, NULL, &room };
	struct segment_info info = { .number = 1, .first = 1, .last = 1000 }, merged;
	struct segment *s;
	struct merge *m;
	bool done = false;

	if (folder == NULL) {
		folder = test_dir();
		assert(disk_dir_open(folder, &dir) == ERR_OK);
		atexit(remove_folder);
	}
	if (size < 2)
		return 0;
	(data[0] & 1 ? write_files : write_words)(str_make(data + 1, size - 1), &info);
	assert(segment_open(dir, &info, &s) == ERR_OK);
	atomic_store(&s->is_checked, true);  /* a sum that is right of words that are not */
	(void)!segment_scan(s, &how);
	if (merge_begin(dir, &s, 1, 2, NULL, &m) == ERR_OK) {
		while (!done && merge_step(m, INT64_MAX, &done, &merged) == ERR_OK)
			;
		merge_abandon(&m);
	}
	segment_release(s);
	remove_files(1);
	remove_files(2);
	return 0;
}
