/* The table of signs against the figures. Each row is looked at alone and their points are added, so a sign more is a row more; nothing
 * is learned and nothing is hidden: the sentences say all that counted. */
#include "submit/watch.h"
#include "base/buf.h"
#include <stddef.h>

static const struct sign {
	const char *name;
	unsigned    points;
	size_t      of;              /* offset in struct sending_counts */
	enum sending_window within;
	uint64_t    at_least, percent, times, days;
	enum text   words;
} signs[WATCH_SIGNS] = {
#define SIGN(name, points, of, within, at_least, percent, times, days) \
	{ #name, points, offsetof(struct sending_counts, of), SENDING_##within, at_least, percent, times, days, TEXT_SIGN_##name },
#include "submit/signs.def"
#undef SIGN
};

static const char prefix[] = "signs:";

void watch_judge(const struct sending_facts *f, struct watch *out)
{
	*out = (struct watch){ 0 };
	for (size_t i = 0; i < WATCH_SIGNS; i++) {
		const struct sign *s = &signs[i];
		const struct sending_counts *in = &f->in[s->within];
		uint64_t counted;
		memcpy(&counted, (const char *)in + s->of, sizeof counted);
		if (counted < s->at_least || counted * 100 < in->recipients * s->percent || counted < f->usual_hour * s->times || f->days < s->days)
			continue;
		out->seen[out->n++] = (struct watch_seen){ (enum watch_sign)i, counted, in->recipients, f->usual_hour };
		out->points += s->points;
	}
}

struct str watch_encode(const struct watch *w, struct arena *a)
{
	CLEANUP(buf_free) struct buf b = BUF(WATCH_WHY_MAX);

	buf_printf(&b, "%s", prefix);
	for (size_t i = 0; i < w->n; i++)
		buf_printf(&b, " %s=%llu/%llu/%llu", signs[w->seen[i].sign].name, (unsigned long long)w->seen[i].counted,
		           (unsigned long long)w->seen[i].recipients, (unsigned long long)w->seen[i].usual);
	return str_copy(a, buf_str(&b));
}

/* "BULK=150/150/3"; of a later release: nothing. */
static void put_words(struct str word, enum lang lang, struct arena *a, struct buf *out)
{
	struct str name, rest, args[3] = { STR(""), STR(""), STR("") };

	if (!str_cut(word, '=', &name, &rest))
		return;
	str_cut(rest, '/', &args[0], &rest);
	str_cut(rest, '/', &args[1], &args[2]);
	for (size_t i = 0; i < WATCH_SIGNS; i++) {
		if (!str_eq(name, str_of(signs[i].name)))
			continue;
		buf_add_cstr(out, out->n > 0 ? "\n- " : "- ");
		buf_add(out, text_format(a, lang, signs[i].words, args, COUNT_OF(args)));
	}
}

struct str watch_words(struct str why, enum lang lang, struct arena *a)
{
	CLEANUP(buf_free) struct buf b = BUF(8192);
	struct str word, rest = why;

	if (!str_starts(why, str_of(prefix)))
		return why;
	while (rest.n > 0) {
		str_cut(rest, ' ', &word, &rest);
		put_words(word, lang, a, &b);
	}
	return b.n > 0 ? str_copy(a, buf_str(&b)) : STR("");
}
