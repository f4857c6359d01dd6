/* Issuers of tokens as an administrator works with them: their keys given by hand, and fetched from where they are published. */
#include "admin/offline_test.h"
#include "base/clock.h"
#include "directory/issuer.h"

TEST(issuers_of_tokens)
{
	struct admin_offline *o = begin();
#define TOKEN_K1 "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0.eyJpc3MiOiJodHRwczovL2lkLnRlc3QvbWFpbCJ9.AAAA"   /* {"iss":"https://id.test/mail"} */
#define ED25519 "\\\"kty\\\":\\\"OKP\\\",\\\"crv\\\":\\\"Ed25519\\\",\\\"x\\\":\\\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\\\",\\\"kid\\\":\\\"k0\\\""
	static const struct { const char *command, *args, *error; } cases[] = {
		{ "oauth add", "'issuer':'https://id.test','audience':'mail'", "unavailable" },   /* nothing runs that could fetch its keys */
		{ "oauth refresh", "", "unavailable" },
		{ "oauth add", "'issuer':'https://id.test','audience':'mail','keys':'[]'", "invalid" },
		{ "oauth add", "'issuer':'https://id.test','audience':'mail','keys':'{\\\"keys\\\":[{" ED25519 ",\\\"d\\\":\\\"AA\\\"}]}'", "invalid" },
		{ "oauth add", "'issuer':'','audience':'mail','keys':'{\\\"keys\\\":[{" ED25519 "}]}'", "invalid" },
		{ "oauth add", "'issuer':'https://id.test','audience':'','keys':'{\\\"keys\\\":[{" ED25519 "}]}'", "invalid" },
		{ "oauth add", "'issuer':'https://id.test','audience':'mail','only':'other.test','keys':'{\\\"keys\\\":[{" ED25519 "}]}'", "notfound" },
		{ "oauth add", "'issuer':'https://id.test','audience':'mail','only':'EXAMPLE.test','keys':'{\\\"keys\\\":[{" ED25519 "}]}'", "" },
		{ "oauth remove", "'issuer':'https://id.test/'", "notfound" },
	};

	EACH(cases, t) gives(o, t->command, t->args, t->error);
	wants(o, "oauth list", "", 0, "issuer", "\"https://id.test\"");
	wants(o, "oauth list", "", 0, "claim", "\"email\"");
	gives(o, "oauth check", "", "invalid");
	gives(o, "oauth check", "'token':'ya29.opaque'", "denied");
	gives(o, "oauth add", "'issuer':'https://id.test/mail','audience':'mail','keys':'{\\\"keys\\\":[{" ED25519 "}]}'", "");
	/* {"alg":"RS256","kid":"k1"} of nobody, and of somebody */
	says(o, "oauth check", "'token':'eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0.e30.AAAA'", "its \"iss\" is \"\", which is not in `facteur oauth list`, letter for letter");
	says(o, "oauth check", "'token':'" TOKEN_K1 "'", "it is signed with the key \"k1\", which is not among those that were given for its issuer: "
	     "`facteur oauth add` again, without --keys, and they are fetched and kept up to date");
	gives(o, "oauth remove", "'issuer':'https://id.test/mail'", "");
	wants(o, "oauth list", "", 0, "only", "\"example.test\"");
	wants(o, "oauth list", "", 0, "keys", "1");
	gives(o, "oauth remove", "'issuer':'https://id.test'", "");
	gives(o, "oauth remove", "'issuer':'https://id.test'", "notfound");
	end();
}

/* ---- issuers that publish their keys: web pages as the role net would bring them ---- */

static struct page { const char *url; int status; const char *text; } web[8];
static int asked, asked_public;
static bool is_withdrawn;   /* the issuer is removed while it is asked */
static bool is_net_away;

static enum err fetch(UNUSED void *context, const struct http_place *p, struct arena *a, struct fetch_said *out)
{
	struct str url = arena_printf(a, "https://" STR_FMT "%s" STR_FMT, STR_ARG(p->host), p->port ? ":8443" : "", STR_ARG(p->path));

	asked++;
	asked_public += p->public_only;
	if (is_net_away)
		return ERR_UNAVAILABLE;
	*out = (struct fetch_said){ .e = ERR_UNAVAILABLE, .why = STR("no connection in time") };
	if (is_withdrawn)
		EXPECT_OK(issuer_remove(own_host->directory, STR("https://id.test/mail")));
	is_withdrawn = false;
	for (size_t i = 0; i < COUNT_OF(web); i++)
		if (web[i].url != NULL && str_eq(str_of(web[i].url), url))
			*out = (struct fetch_said){ .status = (uint16_t)web[i].status, .type = STR("text/html"), .body = str_of(web[i].text) };
	return ERR_OK;
}

static void age_keys(struct admin_offline *o, int64_t days)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct directory *d = admin_offline_host(o)->directory;
	struct issuer i;

	EXPECT_OK(issuer_get(d, STR("https://id.test/mail"), &a, &i));
	i.source.fetched_s -= days * 86400;
	i.source.tried_s -= days * 86400;
	EXPECT_OK(issuer_note(d, i.name, &i.source));
}

TEST(keys_of_issuers_are_fetched)
{
#define DOCUMENT "https://id.test/mail/.well-known/openid-configuration"
#define OTHER_DOCUMENT "https://id.test/.well-known/oauth-authorization-server/mail"
#define ADD "'issuer':'https://id.test/mail','audience':'mail'"
#define ABOUT "{\"issuer\":\"https://id.test/mail\",\"jwks_uri\":\"https://id.test/keys\"}"
#define JWK(kid) "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\",\"kid\":\"" kid "\"}"
	static const struct { struct page pages[3]; const char *error, *sentence; } cases[] = {
		{ { { NULL } }, "notfound", "its keys cannot be fetched, nothing was changed: " DOCUMENT " could not be fetched: no connection in time" },
		{ { { DOCUMENT, 404, "" }, { OTHER_DOCUMENT, 404, "" } }, "notfound", DOCUMENT " answers with the status 404" },
		{ { { DOCUMENT, 302, "" } }, "notfound", DOCUMENT " answers with the status 302" },
		{ { { DOCUMENT, 200, "<html>" } }, "notfound", "what " DOCUMENT " answers is not the description of an issuer" },
		{ { { DOCUMENT, 200, "{\"issuer\":\"https://id.test/mail/\",\"jwks_uri\":\"https://id.test/keys\"}" } }, "notfound", "is about another issuer: https://id.test/mail/." },
		{ { { DOCUMENT, 200, "{\"issuer\":\"https://id.test/mail\",\"jwks_uri\":\"http://id.test/keys\"}" } }, "notfound", "(\"jwks_uri\": http://id.test/keys)" },
		{ { { DOCUMENT, 200, "{\"issuer\":\"https://id.test/mail\",\"jwks_uri\":7}" } }, "notfound", "does not say where its keys are" },
		{ { { DOCUMENT, 200, ABOUT } }, "notfound", "https://id.test/keys could not be fetched: no connection in time" },
		{ { { DOCUMENT, 200, ABOUT }, { "https://id.test/keys", 200, "[]" } }, "notfound", "is not a set of public keys" },
		{ { { DOCUMENT, 200, ABOUT }, { "https://id.test/keys", 200, "{\"keys\":[]}" } }, "notfound", "publishes no key that tokens can be verified with" },
		{ { { DOCUMENT, 200, ABOUT }, { "https://id.test/keys", 200, "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}" } }, "notfound", "publishes a private or shared key" },
		{ { { DOCUMENT, 404, "" }, { OTHER_DOCUMENT, 200, ABOUT }, { "https://id.test/keys", 200, "{\"keys\":[" JWK("k0") "]}" } }, "", "Its keys were fetched" },
	};
	CLEANUP(arena_free) struct arena long_texts = { 0 };
	struct admin_offline *o = begin();
	struct admin_host host = *admin_offline_host(o);

	host.is_running = true;
	host.fetch = fetch;
	own_host = &host;
	EACH(cases, c) {
		memcpy(web, c->pages, sizeof c->pages);
		struct answer a = ask(o, "oauth add", ADD);
		if (strcmp(text(a.last, "error"), c->error) != 0 || strstr(text(a.last, "sentence"), c->sentence) == NULL) {
			print_error("got %s: %s\nwant %s: %s\n", text(a.last, "error"), text(a.last, "sentence"), c->error, c->sentence);
			fail();
		}
		answer_free(&a);
	}
	gives(o, "oauth add", "'issuer':'http://id.test/mail','audience':'mail'", "notfound");
	wants(o, "oauth list", "", 0, "keys_from", "\"https://id.test/keys\"");
	wants(o, "oauth list", "", 0, "trouble", "\"\"");
	/* at another host the issuer's word counts less: nothing private */
	EXPECT_INT(asked_public, 0);
	web[2] = (struct page){ OTHER_DOCUMENT, 200, "{\"issuer\":\"https://id.test/mail\",\"jwks_uri\":\"https://keys.test:8443/\"}" };
	web[1] = (struct page){ "https://keys.test:8443/", 200, "{\"keys\":[" JWK("k0") "," JWK("k1") "]}" };
	asked = 0;
	gives(o, "oauth refresh", "'due':true", "");
	EXPECT_INT(asked, 0);                             /* they are fresh */
	wants(o, "oauth refresh", "", 0, "keys", "2");
	EXPECT_INT(asked_public, 1);
	EXPECT_INT(asked, 3);
	/* a token whose key is not known: asked, and told so */
	says(o, "oauth check", "'token':'" TOKEN_K1 "'", "its signature is wrong: it was changed on its way, or something else than its issuer has made it; "
	     "the issuer was asked for its keys just now. ");
	EXPECT_INT(asked, 6);
	/* whatever goes wrong later, the keys stay … */
	web[1].status = 503;
	wants(o, "oauth refresh", "'issuer':'https://id.test/mail'", 0, "trouble", "\"https://keys.test:8443/ answers with the status 503: is the issuer written as in "
	      "\\\"iss\\\" of its tokens? If it publishes nothing there, give its keys with --keys FILE\"");
	wants(o, "oauth list", "", 0, "keys", "2");
	asked = 0;
	age_keys(o, 6);
	wants(o, "oauth refresh", "'due':true", 0, "keys", "2");
	EXPECT_INT(asked, 3);
	/* … but not for ever */
	age_keys(o, 2);
	wants(o, "oauth refresh", "'due':true", 0, "keys", "0");
	says(o, "oauth check", "'token':'" TOKEN_K1 "'", "it is signed with the key \"k1\", which its issuer does not publish; the issuer was asked just now. "
	     "no token of it logs in, as its last keys are too old (the setting token_keys_age), or were withdrawn: https://keys.test:8443/ answers with the status 503: "
	     "is the issuer written as in \"iss\" of its tokens? If it publishes nothing there, give its keys with --keys FILE");
	web[1].status = 200;
	wants(o, "oauth refresh", "", 0, "keys", "2");
	uint64_t version = directory_version(host.directory);
	web[1].text = "{\"keys\":[" JWK("k1") "," JWK("k0") "]}";
	wants(o, "oauth refresh", "", 0, "keys", "2");
	EXPECT_INT(directory_version(host.directory), version);   /* in another order they are the same */
	is_net_away = true;                               /* our own trouble is told, too, and counts */
	wants(o, "oauth refresh", "", 0, "trouble", "\"" DOCUMENT " could not be fetched: the process of this server that asks others does not answer\"");
	wants(o, "oauth list", "", 0, "keys", "2");
	gives(o, "oauth add", "'issuer':'https://id.test/other','audience':'mail'", "notfound");
	struct answer french = { .rows = json_array() };
	admin_run(&host, STR("{\"command\":\"oauth list\",\"args\":{},\"lang\":\"fr\"}"), collect, &french);
	EXPECT_STR(str_of(text(json_array_get(french.rows, 0), "trouble")), DOCUMENT " n'a pu être pris : le processus de ce serveur qui interroge les autres ne répond pas");
	answer_free(&french);
	is_net_away = false;
	/* an issuer that says that it has no key takes back those of before */
	web[1].text = "{\"keys\":[]}";
	wants(o, "oauth refresh", "", 0, "keys", "0");
	web[1].text = "{\"keys\":[" JWK("k0") "," JWK("k1") "]}";
	wants(o, "oauth refresh", "", 0, "keys", "2");
	/* a document that goes on and on */
	web[2].text = arena_printf(&long_texts, "{\"issuer\":\"%0*d\"}", 50000 - 20, 0).p;
	struct answer long_one = ask(o, "oauth refresh", "");
	EXPECT(strlen(text(json_array_get(long_one.rows, 0), "trouble")) < 2000);
	answer_free(&long_one);
	web[2].text = arena_printf(&long_texts, "{\"issuer\":\"https://id.test/mail\",\"jwks_uri\":\"https://id.test/%0*d\"}", 10000, 0).p;
	long_one = ask(o, "oauth refresh", "");
	EXPECT(strstr(text(json_array_get(long_one.rows, 0), "trouble"), "does not say where its keys are") != NULL);
	answer_free(&long_one);
	wants(o, "oauth list", "", 0, "keys", "2");
	/* by hand again: the server leaves them alone */
	is_withdrawn = true;
	gives(o, "oauth refresh", "", "");                /* gone meanwhile: not made again */
	gives(o, "oauth refresh", "'issuer':'https://id.test/mail'", "notfound");
	gives(o, "oauth add", ADD ",'keys':'{\\\"keys\\\":[{" ED25519 "}]}'", "");
	gives(o, "oauth refresh", "'issuer':'https://id.test/mail'", "invalid");
	asked = 0;
	gives(o, "oauth refresh", "", "");
	EXPECT_INT(asked, 0);
	own_host = NULL;
	end();
}
