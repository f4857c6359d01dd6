/* LANGUAGE (RFC 5255 §3). There are English, which is also "i-default" and what every connection begins with, and French. A range is looked up
 * as RFC 4647 §3.4 says: "fr-CA" is cut to "fr" before the next one is tried.
 *
 * Sentences stand in English where the code says them, and french.def has the other language by the English one: so a handler reads as
 * it did, and nobody who does not ask for French pays more than one compare for it. A few hundred rows are looked through one by one, because a
 * person waits for the answer. */
#include "imap/language.h"
#include "imap/imap_private.h"

static const struct { const char *english, *french; } sentences[] = {
#define FRENCH(english, french) { english, french },
#include "imap/french.def"
#undef FRENCH
};

const char *imap_in(enum lang lang, const char *english)
{
	if (lang != LANG_FR)
		return english;
	for (size_t i = 0; i < COUNT_OF(sentences); i++)
		if (strcmp(sentences[i].english, english) == 0)
			return sentences[i].french;
	return english;
}

/* RFC 4647 §3.4 */
static bool find(struct str range, enum lang *lang, const char **tag)
{
	static const struct { struct str name; enum lang lang; const char *tag; } known[] = {
		{ { "en", 2 }, LANG_EN, "en" }, { { "fr", 2 }, LANG_FR, "fr" }, { { "i-default", 9 }, LANG_EN, "i-default" },
		{ { "default", 7 }, LANG_EN, "i-default" }, { { "*", 1 }, LANG_EN, "en" },
	};

	for (ptrdiff_t cut = 0; cut >= 0; range = str_sub(range, 0, (size_t)(cut > 0 ? cut : 0))) {
		for (size_t i = 0; i < COUNT_OF(known); i++) {
			if (!str_ieq(range, known[i].name))
				continue;
			*lang = known[i].lang;
			*tag = known[i].tag;
			return true;
		}
		cut = str_rchr(range, '-');
	}
	return false;
}

enum imap_language imap_language_choose(struct scan *args, struct arena *a, enum lang *lang, struct buf *out)
{
	const char *tag = NULL;
	enum lang chosen = LANG_EN;

	if (scan_done(args) && !args->failed) {
		buf_add_cstr(out, "* LANGUAGE (en fr i-default)\r\n");
		return IMAP_LANGUAGE_LISTED;
	}
	for (int n = 0; !scan_done(args) && !args->failed; n++) {
		if (n == IMAP_LANGUAGES_MAX)
			scan_fail(args);
		else if (n > 0)
			imap_sp(args);
		struct str range = imap_astring(args, a);
		if (!args->failed && tag == NULL)
			find(range, &chosen, &tag);
	}
	if (args->failed)
		return IMAP_LANGUAGE_MALFORMED;
	if (tag == NULL)
		return IMAP_LANGUAGE_UNKNOWN;
	*lang = chosen;
	buf_printf(out, "* LANGUAGE (%s)\r\n", tag);
	return IMAP_LANGUAGE_CHOSEN;
}

/* LANGUAGE *(SP lang-range-quoted)                                                                RFC 5255 §3.2 */
struct imap_reply imap_language(struct imap_session *s, struct imap_cmd *c)
{
	switch (imap_language_choose(&c->args, &c->arena, &s->tongue.lang, &s->out)) {
	case IMAP_LANGUAGE_LISTED:
		return imap_ok(c, "the languages of this server");
	case IMAP_LANGUAGE_UNKNOWN:
		return imap_no(c, NULL, "none of these languages is spoken here; there are French and English");
	case IMAP_LANGUAGE_MALFORMED:
		return imap_bad(c, "languages, the most wanted first, or none to ask which there are");
	case IMAP_LANGUAGE_CHOSEN:
	default:
		if (c->lang != s->tongue.lang && s->guest == NULL)  /* their names are in another language, too (RFC 5255 §3.2) */
			imap_put_namespaces(s);
		c->lang = s->tongue.lang;
		return imap_ok(c, c->lang == LANG_FR ? "French from now on" : "English from now on");
	}
}
