#include "base/test.h"
#include "base/bytes.h"
#include "text/reason.h"
#include "text/text.h"
#include <stdlib.h>

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

TEST(languages_of_environments)
{
	static const struct { const char *all, *lang, *list; enum lang want; } cases[] = {
		{ NULL, NULL, NULL, LANG_EN }, { NULL, "fr_FR.UTF-8", NULL, LANG_FR }, { "C", "fr_FR.UTF-8", NULL, LANG_EN }, { "", "fr_FR.UTF-8", "", LANG_FR },
		{ NULL, "en_US.UTF-8", "fr_FR:en", LANG_FR }, { NULL, "en_US.UTF-8", "fr", LANG_FR }, { NULL, "fr_FR.UTF-8", "en:fr", LANG_EN },
		{ NULL, "fr_FR.UTF-8", "de:fro", LANG_FR },   /* none of ours: the locale counts */
		{ NULL, "de_DE.UTF-8", "de:fr", LANG_FR }, { NULL, "C.UTF-8", "fr", LANG_EN }, { "POSIX", NULL, "fr", LANG_EN }, { NULL, NULL, "fr", LANG_EN },
	};

	unsetenv("LC_MESSAGES");
	EACH(cases, t) {
		const struct { const char *name, *value; } set[] = { { "LC_ALL", t->all }, { "LANG", t->lang }, { "LANGUAGE", t->list } };
		for (size_t i = 0; i < COUNT_OF(set); i++)
			EXPECT((set[i].value ? setenv(set[i].name, set[i].value, 1) : unsetenv(set[i].name)) == 0);
		EXPECT_INT(lang_of_environment(), t->want);
	}
}

/* What the queue wrote down in English, for who reads French: with what stood in it, which may be a reason too. */
TEST(reasons)
{
	static const struct { const char *english, *french; } cases[] = {
		{ "The queued message cannot be read; see the server's log.", "Le message en attente ne peut être lu ; voyez le journal du serveur." },
		{ "mx.example.net [192.0.2.1]: no connection to port 25: Connection refused",
		  "mx.example.net [192.0.2.1] : pas de connexion au port 25 : connexion refusée" },
		{ "mx [192.0.2.1]: no connection to port 25 within 10 s: no answer", "mx [192.0.2.1] : pas de connexion au port 25 en 10 s : pas de réponse" },
		{ "Nobody could be reached for example.net a moment ago, so this waits for the next try there. What the last one said: no connection",
		  "Personne n'a pu être joint pour example.net à l'instant : ceci attend le prochain essai. Ce qu'a dit le dernier : no connection" },
		{ "Nobody could be reached for example.net a moment ago, so this waits for the next try there. What the last one said: "
		  "mx: no connection to port 25: No route to host",
		  "Personne n'a pu être joint pour example.net à l'instant : ceci attend le prochain essai. Ce qu'a dit le dernier : "
		  "mx : pas de connexion au port 25 : aucun chemin vers cet hôte" },
		{ "mx.example.net [192.0.2.1]: certificate refused: certificate has expired", "mx.example.net [192.0.2.1] : certificat refusé : le certificat a expiré" },
		{ "TLSv1.3, certificate not verified (self-signed certificate in certificate chain)",
		  "TLSv1.3, certificat non vérifié (la chaîne contient un certificat signé par lui-même, inconnu ici)" },
		{ "TLSv1.3, certificate valid for mx.example.net", "TLSv1.3, certificat valable pour mx.example.net" },
		{ "mx: TLS failed: no words for this one", "mx : TLS a échoué : no words for this one" },
		{ "The mailbox is full; delivery is tried again.", "La boîte est pleine ; la remise sera retentée." },
		{ "there is no domain exmaple.net: check the address for a typing mistake",
		  "le domaine exmaple.net n'existe pas : cherchez une faute de frappe dans l'adresse" },
		{ "{1}: no connection to port {2}: {3}", "{1} : pas de connexion au port {2} : {3}" },
		{ "The mailbox is full; delivery is tried again.", "La boîte est pleine ; la remise sera retentée." },
		{ "the mail servers of example.net could not be looked up: the name servers did not answer within 30 seconds",
		  "les serveurs de courrier de example.net n'ont pu être cherchés : les serveurs de noms n'ont pas répondu en 30 secondes" },
		{ "id.example.net [192.0.2.1]: no connection: Connection refused", "id.example.net [192.0.2.1] : pas de connexion : connexion refusée" },
		{ "id.example.net: the answer is too large", "id.example.net : la réponse est trop grande" },
		{ "id.example.net: a chunk of the answer is malformed", "id.example.net : un morceau de la réponse est mal formé" },
		{ "id.example.net: the header of the answer is too large", "id.example.net : l'en-tête de la réponse est trop grand" },
		{ "The mailbox did not answer in time, several times.", "La boîte n'a pas répondu à temps, plusieurs fois." },
		{ "The mailbox did not answer in time.", "La boîte n'a pas répondu à temps." },
		{ "greylisted, come back", "greylisted, come back" },   /* another server's */
		{ "", "" },
	};
	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		EXPECT_STR(text_reason(&a, LANG_FR, str_of(c->english)), c->french);
		EXPECT_STR(text_reason(&a, LANG_EN, str_of(c->english)), c->english);
	}
}
