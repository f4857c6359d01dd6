/* Which segments the index has. It stands in search/segments, replaced as a whole; other files in the folder are leavings.
 *
 * What an account had before it was put back from a copy is recognised by the last email of each segment (index_check()). */
#include "base/bytes.h"
#include "base/log.h"
#include "base/wire.h"
#include "store/index_private.h"
#include "store/store_private.h"

enum { MANIFEST_MAX = 16384, DEAD_LEAST = 1000 };
static const char manifest_name[] = "segments", manifest_magic[] = "facteur search 2";

uint64_t index_check_of(uint32_t email, int64_t received, uint64_t size)
{
	return ((uint64_t)received * UINT64_C(0x9e3779b97f4a7c15)) ^ (size << 20) ^ email;
}

/* ERR_NOTFOUND: purged. ERR_CORRUPT: the account has never had it. */
static enum err index_check(struct view *v, uint32_t email, uint64_t *check)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct summary sum;

	if (email >= atomic_load(&v->email_next))
		return ERR_CORRUPT;
	TRY(view_summaries(v, &email, 1, false, &a, &sum));
	*check = index_check_of(sum.email, sum.received, sum.size);
	return sum.email == email ? ERR_OK : ERR_NOTFOUND;
}

enum err index_write_manifest(struct index *x)
{
	CLEANUP(buf_free) struct buf b = BUF(MANIFEST_MAX);

	put_str(&b, str_of(manifest_magic));
	put_u32(&b, x->next_number);
	put_u32(&b, (uint32_t)x->segments.n);
	for (size_t i = 0; i < x->segments.n; i++) {
		const struct segment_info *s = &x->segments.s[i]->info;
		put_u32(&b, s->number);
		put_u32(&b, s->level);
		put_u32(&b, s->first);
		put_u32(&b, s->last);
		put_u32(&b, s->emails);
		for (int file = 0; file < SEGMENT_FILES; file++)
			put_u64(&b, s->bytes[file]);
		put_u64(&b, s->check);
	}
	put_u32(&b, crc32c(0, b.p, b.n));
	return disk_write_file(x->dir, manifest_name, buf_str(&b));
}

static struct segment_info get_info(struct scan *s)
{
	struct segment_info i = { 0 };

	i.number = get_u32(s);
	i.level = get_u32(s);
	i.first = get_u32(s);
	i.last = get_u32(s);
	i.emails = get_u32(s);
	for (int file = 0; file < SEGMENT_FILES; file++)
		i.bytes[file] = get_u64(s);
	i.check = get_u64(s);
	return i;
}

static enum err read_segments(struct view *v, struct index *x, struct str bytes)
{
	struct str body = str_sub(bytes, 0, bytes.n >= 4 ? bytes.n - 4 : 0);
	struct scan s = scan_of(body), sum = scan_of(str_from(bytes, body.n));
	uint32_t expected = 1;

	if (get_u32(&sum) != crc32c(0, body.p, body.n) || sum.failed || !str_eq(get_str(&s, 64), str_of(manifest_magic)))
		return ERR_CORRUPT;
	x->next_number = get_u32(&s);
	for (uint32_t n = get_count(&s, SEGMENTS_MAX); n > 0; n--) {
		struct segment_info info = get_info(&s);
		uint64_t check = info.check;
		if (s.failed || info.first != expected || info.last < info.first || info.last == UINT32_MAX || info.number >= x->next_number)
			return ERR_CORRUPT;
		enum err e = index_check(v, info.last, &check);
		if (e != ERR_NOTFOUND)
			TRY(e);
		if (check != info.check && e == ERR_OK)
			return ERR_CORRUPT;
		TRY(segment_open(x->dir, &info, &x->segments.s[x->segments.n]));
		x->segments.n++;
		expected = info.last + 1;
	}
	return get_end(&s) ? ERR_OK : ERR_CORRUPT;
}

void index_close_segments(struct index *x)
{
	for (size_t i = 0; i < x->segments.n; i++)
		segment_release(x->segments.s[i]);
	x->segments.n = 0;
}

static bool is_named(const struct index *x, struct str name)
{
	if (str_eq(name, str_of(manifest_name)))
		return true;
	for (size_t i = 0; i < x->segments.n; i++) {
		struct segment_names names = segment_names(x->segments.s[i]->info.number);
		for (int file = 0; file < SEGMENT_FILES; file++)
			if (str_eq(name, str_of(names.of[file])))
				return true;
	}
	return false;
}

enum err index_remove_leavings(struct index *x)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str *names;
	size_t n;

	TRY(disk_list(x->dir, &a, &names, &n));
	for (size_t i = 0; i < n; i++)
		if (!is_named(x, names[i]))
			TRY(disk_remove(x->dir, str_cstr(&a, names[i])));
	return ERR_OK;
}

uint32_t index_last(const struct index *x) { return x->segments.n > 0 ? x->segments.s[x->segments.n - 1]->info.last : 0; }

void index_note_written(struct index *x)
{
	atomic_store(&x->written_upto, index_last(x));
	if (x->batch == NULL)
		atomic_store(&x->read_upto, index_last(x));
}

/* More than a fifth of what it knows is in no mailbox any more and cannot be brought back. */
static enum err look_for_dead(struct view *v, struct index *x)
{
	struct quota quota;
	uint64_t kept, known = 0;

	TRY(expunged_count(v, &kept));
	view_quota(v, &quota);
	for (size_t i = 0; i < x->segments.n; i++)
		known += x->segments.s[i]->info.emails;
	x->is_stale = known > (quota.messages + kept) / 4 * 5 + DEAD_LEAST;
	return ERR_OK;
}

enum err index_load(struct view *v, struct index *x)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str bytes;
	enum err e;

	TRY(disk_dir_open_below(v->dir, "search", true, &x->dir));
	x->next_number = 1;
	e = disk_read_file(x->dir, manifest_name, MANIFEST_MAX, &a, &bytes);
	if (e == ERR_OK)
		e = read_segments(v, x, bytes);
	if (e == ERR_CORRUPT || e == ERR_LIMIT) {
		log_warn("the search index is not of this account, or damaged; it is made anew account=%llu", (unsigned long long)v->config.account);
		index_close_segments(x);
		e = ERR_OK;
	} else if (e == ERR_NOTFOUND) {
		e = ERR_OK;
	}
	TRY(e);
	index_note_written(x);
	TRY(look_for_dead(v, x));
	return index_remove_leavings(x);
}

void index_segments(struct view *v, struct segments *out)
{
	struct index *x = index_of(v);

	pthread_mutex_lock(&x->lock);
	*out = x->segments;
	if (atomic_load(&x->is_off))
		out->n = 0;
	for (size_t i = 0; i < out->n; i++)
		segment_use(out->s[i]);
	pthread_mutex_unlock(&x->lock);
}

void index_segments_release(struct segments *s)
{
	for (size_t i = 0; i < s->n; i++)
		segment_release(s->s[i]);
	s->n = 0;
}

enum err index_take_in(struct index *x, size_t at, size_t n, const struct segment_info *info)
{
	struct segment *s, *old[SEGMENTS_MAX];
	enum err e;

	TRY(segment_open(x->dir, info, &s));
	pthread_mutex_lock(&x->lock);
	memcpy(old, x->segments.s + at, n * sizeof old[0]);
	memmove(x->segments.s + at + 1, x->segments.s + at + n, (x->segments.n - at - n) * sizeof old[0]);
	x->segments.s[at] = s;
	x->segments.n = x->segments.n - n + 1;
	pthread_mutex_unlock(&x->lock);
	e = index_write_manifest(x);
	for (size_t i = 0; i < n; i++) {
		struct segment_names names = segment_names(old[i]->info.number);
		for (int file = 0; file < SEGMENT_FILES && e == ERR_OK; file++)
			(void)!disk_remove(x->dir, names.of[file]);  /* logged; what stays is removed at the next opening */
		segment_release(old[i]);
	}
	index_note_written(x);
	return e;
}
