#include "text/charset.h"
#include "text/fold.h"
#include "base/test.h"
#include "base/bytes.h"

TEST(charset_to_utf8)
{
	static const struct { const char *name, *in, *out; } cases[] = {
		{ "UTF-8", "caf\xc3\xa9", "café" },
		{ "utf-8", "caf\xe9!", "caf\xef\xbf\xbd!" },           /* labelled but malformed */
		{ "iso-8859-1", "caf\xe9 \x80", "café €" },            /* Latin 1 is read as 1252 */
		{ "ISO-8859-15", "\xa4 \xbd", "€ œ" },
		{ "us-ascii", "caf\xe9", "café" },                     /* a lie: guessed */
		{ "us-ascii", "caf\xc3\xa9", "café" },
		{ "", "\x93hi\x94", "“hi”" },
		{ "no-such-charset", "caf\xe9", "café" },
		{ "../../etc/passwd", "a", "a" },                      /* never reaches ICU */
		{ "UTF-8,version=1", "a", "a" },
		{ "iso-2022-jp", "\x1b$B$3$s\x1b(B", "こん" },
		{ "Shift_JIS", "\x82\xb1\x82\xf1", "こん" },
		{ "gb2312", "\xc4\xe3\xba\xc3", "你好" },
		{ "koi8-r", "\xf0\xd2\xc9", "При" },
		{ "utf-7", "caf+AOk-", "café" },
		{ "windows-1252", "\x81", "\xef\xbf\xbd" },
	};
	struct arena a = { 0 };

	EACH(cases, c) EXPECT_STR(charset_to_utf8(&a, str_of(c->name), str_of(c->in), 1000), c->out);
	EXPECT_STR(charset_to_utf8(&a, STR("utf-8"), STR("ab\xc3\xa9"), 3), "ab");  /* the limit cuts no character */
	arena_free(&a);
}

TEST(charset_known)
{
	EXPECT(charset_is_known(STR("utf-8")));
	EXPECT(charset_is_known(STR("US-ASCII")));
	EXPECT(charset_is_known(STR("KOI8-R")));
	EXPECT(!charset_is_known(STR("nonsense")));
	EXPECT(!charset_is_known(STR("a/b")));
}

TEST(fold_casemap)
{
	static const struct { const char *a, *b; bool same; } cases[] = {
		{ "Hello", "hELLO", true }, { "É", "é", true }, { "é", "e", false }, { "é", "e\xcc\x81", true },  /* composed or not */
		{ "ﬁ", "fi", false },       /* decomposes to lower case after the title-casing: RFC 5051 §2 has no second round */
		{ "ﬁ", "ﬁ", true }, { "Ａ", "a", true }, { "ß", "SS", false }, { "ДА", "да", true }, { "x\xff", "X\xff", true },
	};
	struct arena a = { 0 };

	EACH(cases, c) {
		bool same = str_eq(fold_casemap(&a, str_of(c->a)), fold_casemap(&a, str_of(c->b)));
		if (same != c->same)
			print_error("%s / %s\n", c->a, c->b);
		EXPECT(same == c->same);
	}
	EXPECT(fold_contains(&a, STR("Un Café crème"), fold_casemap(&a, STR("CAFÉ"))));
	EXPECT(!fold_contains(&a, STR("Un Café crème"), fold_casemap(&a, STR("cafe c"))));
	EXPECT(fold_contains(&a, STR("x"), STR("")));
	arena_free(&a);
}

TEST(fold_accents)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "Élève ŒUVRE", "eleve oeuvre" }, { "Straße Ærø Łódź", "strasse aero lodz" }, { "ﬁn\tde\xc2\xa0ligne", "fin de ligne" },
		{ "l’été", "l'ete" }, { "Ｆｕｌｌ", "full" }, { "Việt Nam", "viet nam" }, { "日本", "日本" }, { "ÇA", "ca" },
	};
	struct arena a = { 0 };

	EACH(cases, c) EXPECT_STR(fold_accents(&a, str_of(c->in)), c->out);
	arena_free(&a);
}
