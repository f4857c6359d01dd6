/* The catalogue. A table in memory, no files: a sentence is there whatever the sandbox lets a process open. */
#include "text/text.h"
#include "base/buf.h"
#include <stdlib.h>

static const char *const sentences[TEXT_COUNT][LANG_COUNT] = {
#define TEXT(name, english, french) [TEXT_##name] = { english, french },
#include "text/text.def"
#undef TEXT
};

const char *text_get(enum lang lang, enum text id) { return sentences[id][lang]; }

struct str text_format(struct arena *a, enum lang lang, enum text id, const struct str *args, size_t n)
{
	CLEANUP(buf_free) struct buf b = BUF(64 << 10);
	const char *p = sentences[id][lang];

	while (*p) {
		if (p[0] == '{' && p[1] >= '1' && p[1] <= '9' && p[2] == '}') {
			size_t which = (size_t)(p[1] - '1');
			if (which < n)
				buf_add(&b, args[which]);
			p += 3;
			continue;
		}
		buf_add_char(&b, *p++);
	}
	return str_copy(a, buf_str(&b));
}

enum lang lang_of_locale(const char *locale)
{
	return locale && (strncmp(locale, "fr", 2) == 0) && !chr_alpha(locale[2]) ? LANG_FR : LANG_EN;
}

/* The first language of a list that is one of ours: "de:fr_CA:en". */
static bool first_of_list(struct str list, enum lang *out)
{
	struct str one;

	while (list.n > 0) {
		str_cut(list, ':', &one, &list);
		if ((one.n < 3 || !chr_alpha(one.p[2])) && lang_find(str_sub(one, 0, 2), out))
			return true;
	}
	return false;
}

enum lang lang_of_environment(void)
{
	static const char *const names[] = { "LC_ALL", "LC_MESSAGES", "LANG" };
	const char *locale = "C", *list = getenv("LANGUAGE");
	enum lang lang;

	for (size_t i = COUNT_OF(names); i-- > 0;)
		if (getenv(names[i]) && *getenv(names[i]))  /* NOLINT(clang-analyzer-core.NullDereference): nobody changes it in between */
			locale = getenv(names[i]);
	bool is_plain = str_eq(str_of(locale), STR("C")) || str_starts(str_of(locale), STR("C.")) || str_eq(str_of(locale), STR("POSIX"));
	/* as gettext has it: the list goes first, but says nothing where somebody has chosen no language at all */
	return list && !is_plain && first_of_list(str_of(list), &lang) ? lang : lang_of_locale(locale);
}

bool lang_find(struct str code, enum lang *out)
{
	if (!str_ieq(code, STR("fr")) && !str_ieq(code, STR("en")))
		return false;
	*out = str_ieq(code, STR("fr")) ? LANG_FR : LANG_EN;
	return true;
}

const char *lang_code(enum lang lang) { return lang == LANG_FR ? "fr" : "en"; }
