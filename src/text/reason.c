/* A reason out of the queue, in the language of who reads it.
 *
 * It was written down in English: a server that wrote it in another language could not know who would read it, and what other servers answer is
 * English anyhow. So it is recognised: each English sentence of text/reasons.def is a pattern, whose {1} {2} are what stood there, and that
 * may be a reason itself (what the last try said). What no row knows, as every word of another server, stays as it is. */
#include "text/reason.h"

enum { ARGUMENTS_MAX = 4, DEPTH_MAX = 3 };

static const enum text reasons[] = {
#define TEXT(name, english, french) TEXT_##name,
#include "text/reasons.def"
#undef TEXT
};

static bool is_placeholder(const char *p) { return p[0] == '{' && p[1] >= '1' && p[1] <= '0' + ARGUMENTS_MAX && p[2] == '}'; }

/* What stands in front of the next placeholder. */
static struct str literal(const char *p)
{
	size_t n = 0;

	while (p[n] != '\0' && !is_placeholder(p + n))
		n++;
	return str_make(p, n);
}

/* Each placeholder takes as little as it can, the last one the rest. */
static bool fits(const char *pattern, struct str in, struct str *arguments)
{
	struct str words = literal(pattern);

	if (!str_starts(in, words))
		return false;
	in = str_from(in, words.n);
	pattern += words.n;
	while (*pattern != '\0') {
		struct str *argument = &arguments[pattern[1] - '1'];
		words = literal(pattern + 3);
		ptrdiff_t end = words.n == 0 ? (ptrdiff_t)in.n : str_find(in, words);
		if (end < 0)
			return false;
		*argument = str_sub(in, 0, (size_t)end);
		in = str_from(in, (size_t)end + words.n);
		pattern += 3 + words.n;
	}
	return in.n == 0;
}

static struct str retell(struct arena *a, enum lang lang, struct str english, int depth)
{
	for (size_t i = 0; i < sizeof reasons / sizeof *reasons && depth < DEPTH_MAX; i++) {
		struct str arguments[ARGUMENTS_MAX] = { 0 };
		if (!fits(text_get(LANG_EN, reasons[i]), english, arguments))
			continue;
		for (size_t k = 0; k < ARGUMENTS_MAX; k++)
			arguments[k] = arguments[k].n > 0 ? retell(a, lang, arguments[k], depth + 1) : STR("");
		return text_format(a, lang, reasons[i], arguments, ARGUMENTS_MAX);
	}
	return english;
}

struct str text_reason(struct arena *a, enum lang lang, struct str english) { return lang == LANG_EN ? english : retell(a, lang, english, 0); }
