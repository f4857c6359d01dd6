/* Segments of the index that were made of anything: gone through, looked in, merged. The first byte says whether the rest is words and lists, which
 * are written as a segment is, or the bytes of its files. */
#include "base/bytes.h"
#include "base/test.h"
#include "base/wire.h"
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

static void write_raw(struct segment_info *info, enum segment_file file, const struct buf *b)
{
	struct disk_file *f;

	assert(disk_open(dir, segment_names(info->number).of[file], DISK_NEW, &f) == ERR_OK);
	assert(disk_pwrite(f, b->p, b->n, 0) == ERR_OK);
	info->bytes[file] = b->n;
	disk_close(&f);
}

/* One block of anything with a sum that is right, a filter that says yes, lists of anything. */
static void write_files(struct str input, struct segment_info *info)
{
	CLEANUP(buf_free) struct buf words = BUF(1 << 20), lists = BUF(1 << 20), filters = BUF(1 << 20), filter = BUF(1 << 20);
	struct str entries = str_sub(input, 0, input.n / 2 < 30000 ? input.n / 2 : 30000);

	put_u32(&words, crc32c(0, entries.p, entries.n));
	put_u32(&words, (uint32_t)entries.n);
	put_u64(&words, 0);
	buf_add(&words, entries);
	buf_add(&lists, str_from(input, entries.n));
	put_u32(&filter, (uint32_t)words.n);
	for (int i = 0; i < 2048; i++)
		buf_add_char(&filter, (char)0xff);
	put_u32(&filters, crc32c(0, filter.p, filter.n));
	buf_add(&filters, buf_str(&filter));
	write_raw(info, WORDS, &words);
	write_raw(info, LISTS, &lists);
	write_raw(info, FILTERS, &filters);
}

static bool may_have(UNUSED void *context, const uint8_t *filter) { return segment_filter_has(filter, STR("abc")); }
static bool looks_at(UNUSED void *context, UNUSED struct str entries) { return true; }
static bool wants(UNUSED void *context, struct str term) { return term.n % 2 == 0; }
static void take(UNUSED void *context, struct list_reader *list)
{
	while (list_next(list))
		assert(list->email > 0);
}

static void remove_files(uint32_t number)
{
	struct segment_names names = segment_names(number);

	for (int i = 0; i < SEGMENT_FILES; i++)
		(void)!disk_remove(dir, names.of[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(segment_room_free) struct segment_room room = { 0 };
	const struct segment_scan how = { may_have, looks_at, wants, take, NULL, &room };
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
