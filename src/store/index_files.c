/* Which segments the index has. It stands in search/segments, replaced as a whole; other files in the folder are leavings.
 *
 * The folder of an account can be put back from a copy without it, or beside it: then the index knows mail that never came, and has forgotten mail
 * that is there again. No look at the messages tells that for sure (the last email may have been purged since). So the list bears a mark, a
 * random number, and the row `state` of the account has the same: a new one whenever the list says more, or less, about messages. The row is durable
 * before the list is; because the power may fail between the two, it also has the mark before that. An older account knows neither.
 *
 * Words that another Unicode has folded are not found by what this one makes of a question: such a list is not believed either. */
#include "base/bytes.h"
#include "base/log.h"
#include "base/wire.h"
#include "store/index_private.h"
#include "store/store_private.h"
#include "text/fold.h"

enum { MANIFEST_MAX = 16384, DEAD_LEAST = 1000 };
static const char manifest_name[] = "segments", manifest_magic[] = "facteur search 5";

enum err index_write_manifest(struct index *x)
{
	CLEANUP(buf_free) struct buf b = BUF(MANIFEST_MAX);

	put_str(&b, str_of(manifest_magic));
	put_u32(&b, fold_version());
	put_u64(&b, x->mark);
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
	return i;
}

static enum err read_segments(struct view *v, struct index *x, struct str bytes)
{
	struct str body = str_sub(bytes, 0, bytes.n >= 4 ? bytes.n - 4 : 0);
	struct scan s = scan_of(body), sum = scan_of(str_from(bytes, body.n));
	uint32_t expected = 1;
	uint64_t mark, before;

	if (get_u32(&sum) != crc32c(0, body.p, body.n) || sum.failed || !str_eq(get_str(&s, 64), str_of(manifest_magic)))
		return ERR_CORRUPT;
	if (get_u32(&s) != fold_version())
		return ERR_CORRUPT;
	TRY(state_search_marks(v, &mark, &before));
	x->mark = get_u64(&s);
	if (x->mark != mark && x->mark != before)
		return ERR_CORRUPT;
	x->next_number = get_u32(&s);
	for (uint32_t n = get_count(&s, SEGMENTS_MAX); n > 0; n--) {
		struct segment_info info = get_info(&s);
		if (s.failed || info.first != expected || info.last < info.first || info.last >= atomic_load(&v->email_next) || info.number >= x->next_number)
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
		log_warn("the search index is of another account or another Unicode, or damaged; it is made anew account=%llu", (unsigned long long)v->config.account);
		index_close_segments(x);
		x->mark = 0;
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

enum err index_mark(struct view *v, struct index *x)
{
	uint64_t mark = random_u64() | 1;  /* an account without an index has 0 */

	TRY(state_set_search_marks(v, mark, x->mark));
	TRY(view_publish(v));
	x->mark = mark;
	return ERR_OK;
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

uint64_t index_unread(struct view *v, const struct index *x)
{
	uint32_t settled = email_settled(v), upto = atomic_load(&x->read_upto);

	return settled > upto ? settled - upto : 0;
}

void index_progress(struct view *v, struct index_progress *out)
{
	struct index *x = index_of(v);
	uint32_t settled = email_settled(v), upto = atomic_load(&x->written_upto);

	*out = (struct index_progress){ .done = atomic_load(&x->read_upto) };
	if (!atomic_load(&x->is_off) && settled > upto)
		out->todo = settled - (settled < out->done ? settled : (uint32_t)out->done);
}

void index_facts(struct view *v, struct index_facts *out)
{
	struct segments s;

	*out = (struct index_facts){ 0 };
	index_segments(v, &s);
	for (size_t i = 0; i < s.n; i++) {
		out->emails += s.s[i]->info.emails;
		for (int file = 0; file < SEGMENT_FILES; file++)
			out->bytes += s.s[i]->info.bytes[file];
	}
	index_segments_release(&s);
	out->todo = index_unread(v, index_of(v));
}
