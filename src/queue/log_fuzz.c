/* A ring of hostile bytes. The input is a program that places records (with good and bad CRCs) and junk into the
 * segments; then the log is opened, replayed, written to and opened again: it never crashes or loops, and what it
 * acknowledged is there. */
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/wire.h"
#include "queue/log.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SEGMENTS = 4, SEGMENT = LOG_SEGMENT_BYTES_MIN, RECORDS_MAX = 200, NEW = 3 };
static const uint64_t ID = 1;
static struct disk_dir *dir;

static void put_crc(char *p, size_t n)
{
	static const char id[8] = { 1 };
	uint32_t crc = crc32c(crc32c(0, id, 8), p + 8, n - 8);

	for (int i = 0; i < 4; i++)
		p[4 + i] = (char)(crc >> (8 * i));
}

/* Small numbers, so that they often continue each other. at: where the last record of this segment ended. */
static void place_record(struct scan *s, char *ring, uint32_t at[SEGMENTS])
{
	CLEANUP(buf_free) struct buf b = BUF(SEGMENT);
	uint8_t how = get_u8(s), segment = get_u8(s) % SEGMENTS;
	uint64_t seq = get_u8(s), epoch = get_u8(s) % 4;
	uint16_t kind = get_u8(s) % 7, in_batch = get_u8(s) % 5;
	uint32_t length = get_u8(s) * (how & 16 ? 60U : 1U);
	uint32_t offset = how & 1 ? at[segment] : get_u8(s) * 8U * (how & 2 ? 30U : 1U);

	if (kind == LOG_SEGMENT)
		length = 20;
	buf_add(&b, STR("FLG1"));
	put_u32(&b, 0);
	put_u64(&b, seq);
	put_u64(&b, epoch);
	put_u16(&b, kind);
	put_u16(&b, in_batch);
	put_u32(&b, how & 4 ? 0xfffffff0U - length : length);
	for (uint32_t i = 0; i < length; i += 8)
		put_u64(&b, i == 0 ? get_u8(s) : seq ? (uint64_t)get_u8(s) % seq : 0);
	buf_truncate(&b, LOG_RECORD_HEADER + length);
	if (!(how & 8))
		put_crc(b.p, b.n);
	if (offset + b.n > SEGMENT)
		return;
	memcpy(ring + segment * SEGMENT + offset, b.p, b.n);
	at[segment] = (offset + (uint32_t)b.n + 7) & ~7U;
}

static void make_files(const char *ring)
{
	CLEANUP(buf_free) struct buf b = BUF(100);
	char name[16];

	for (uint32_t i = 0; i < SEGMENTS; i++) {
		CLEANUP(disk_close) struct disk_file *f = NULL;
		snprintf(name, sizeof(name), "%02u", i);
		if (disk_open(dir, name, DISK_CREATE, &f) != ERR_OK || disk_pwrite(f, ring + i * SEGMENT, SEGMENT, 0) != ERR_OK)
			abort();
	}
	buf_add(&b, STR("FRNG"));
	put_u32(&b, 1);
	put_u64(&b, ID);
	put_u32(&b, SEGMENTS);
	put_u32(&b, SEGMENT);
	put_u32(&b, crc32c(0, b.p, b.n));
	if (disk_write_file(dir, "ring", buf_str(&b)) != ERR_OK)
		abort();
}

struct expected { struct log_place places[NEW]; size_t n, found; uint64_t last; };

static enum err see(void *context, struct log_place place, UNUSED struct str payload)
{
	struct expected *x = context;

	assert(place.seq > x->last);  /* in order, each once */
	x->last = place.seq;
	for (size_t i = 0; i < x->n; i++)
		x->found += x->places[i].seq == place.seq && x->places[i].offset == place.offset;
	return ERR_OK;
}

static void use_log(void)
{
	const struct log_config config = { SEGMENTS, SEGMENT };
	CLEANUP(log_close) struct log *l = NULL;
	struct log_entry e[NEW], *entries[NEW];
	struct expected x = { 0 };
	size_t still = 0;

	if (log_open(dir, &config, &l) != ERR_OK || log_replay(l, LOG_MESSAGE, see, &x) != ERR_OK)
		return;
	for (size_t i = 0; i < NEW; i++) {
		e[i] = (struct log_entry){ .kind = LOG_MESSAGE, .head = str_make("a message", i * 3) };
		entries[i] = &e[i];
	}
	log_write(l, entries, NEW);
	for (size_t i = 0; i < NEW; i++)
		if (e[i].result == ERR_OK)
			x.places[x.n++] = e[i].place;
	log_close(&l);
	if (log_open(dir, &config, &l) != ERR_OK)
		return;
	x.last = 0;
	enum err replayed = log_replay(l, LOG_MESSAGE, see, &x);
	assert(replayed == ERR_OK);
	for (size_t i = 0; i < x.n; i++)
		still += x.places[i].seq > log_w(l);
	assert(x.found == still);
}

static void remove_dir(void)
{
	static const char *const names[] = { "00", "01", "02", "03", "ring" };

	for (size_t i = 0; i < COUNT_OF(names); i++)
		(void)!disk_remove(dir, names[i]);
	rmdir(disk_dir_path(dir));
	disk_dir_close(&dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char path[] = "/dev/shm/log_fuzz.XXXXXX";
	struct scan s = scan_of(str_make(data, size));
	char *ring = mem_alloc(SEGMENTS * SEGMENT);
	uint32_t at[SEGMENTS] = { 0 };

	if (dir == NULL) {
		log_setup("fuzz", LOG_LEVEL_ERROR + 1, false);
		if (mkdtemp(path) == NULL || disk_dir_open(path, &dir) != ERR_OK)
			abort();
		atexit(remove_dir);
	}
	for (int i = 0; i < RECORDS_MAX && !scan_done(&s); i++)
		place_record(&s, ring, at);
	make_files(ring);
	mem_free(ring);
	use_log();
	return 0;
}
