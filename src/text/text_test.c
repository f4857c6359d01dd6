#include "base/test.h"
#include "base/bytes.h"
#include "text/text.h"

/* Each placeholder of a sentence is in both languages, and both are UTF-8 on one line. */
TEST(both_languages_agree)
{
	for (int id = 0; id < TEXT_COUNT; id++) {
		const char *en = text_get(LANG_EN, (enum text)id), *fr = text_get(LANG_FR, (enum text)id);
		EXPECT(en[0] && fr[0] && utf8_valid(str_of(en)) && utf8_valid(str_of(fr)));
		for (int c = '1'; c <= '9'; c++) {
			char mark[] = { '{', (char)c, '}', '\0' };
			if ((strstr(en, mark) == NULL) != (strstr(fr, mark) == NULL)) {
				print_error("%s\n%s\n", en, fr);
				fail();
			}
		}
	}
}

TEST(languages_of_locales)
{
	static const struct { const char *locale; enum lang lang; } cases[] = {
		{ "fr_FR.UTF-8", LANG_FR }, { "fr", LANG_FR }, { "fr.UTF-8", LANG_FR }, { "fro", LANG_EN }, { "en_GB", LANG_EN },
		{ "C", LANG_EN }, { "", LANG_EN }, { NULL, LANG_EN },
	};

	EACH(cases, t) EXPECT_INT(lang_of_locale(t->locale), t->lang);
}
