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

enum lang lang_of_environment(void)
{
	static const char *const names[] = { "LC_ALL", "LC_MESSAGES", "LANG" };

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		const char *value = getenv(names[i]);
		if (value && *value)
			return lang_of_locale(value);
	}
	return LANG_EN;
}

bool lang_find(struct str code, enum lang *out)
{
	if (!str_ieq(code, STR("fr")) && !str_ieq(code, STR("en")))
		return false;
	*out = str_ieq(code, STR("fr")) ? LANG_FR : LANG_EN;
	return true;
}

const char *lang_code(enum lang lang) { return lang == LANG_FR ? "fr" : "en"; }
