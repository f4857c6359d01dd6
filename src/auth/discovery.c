/* The document has to be about the very issuer that was asked for (Discovery §4.3, RFC 8414 §3.3): a server of many realms that answers every path
 * with its main one would else have tokens of all of them believed. Only its jwks_uri is read; what else it says is for clients of the issuer. */
#include "auth/discovery.h"
#include <jansson.h>

static void json_release(json_t **value) { json_decref(*value); }

/* OpenID puts the well-known part behind the path of the issuer (Discovery §4.1), RFC 8414 before it (§3.1). */
bool discovery_places(struct str issuer, struct arena *a, struct http_url out[DISCOVERY_PLACES])
{
	struct http_url url;
	struct str path;

	if (!http_url_read(issuer, a, &url) || str_chr(url.path, '?') >= 0)
		return false;
	path = url.path;
	while (path.n > 0 && path.p[path.n - 1] == '/')
		path.n--;
	out[0] = out[1] = url;
	out[0].path = arena_printf(a, STR_FMT "/.well-known/openid-configuration", STR_ARG(path));
	out[1].path = arena_printf(a, "/.well-known/oauth-authorization-server" STR_FMT, STR_ARG(path));
	return true;
}

static struct str text_of(const json_t *from, const char *name, struct arena *a)
{
	const json_t *value = json_object_get(from, name);

	return json_is_string(value) ? str_copy(a, str_make(json_string_value(value), json_string_length(value))) : STR("");
}

enum err discovery_read(struct str text, struct str issuer, struct arena *a, struct str *keys, struct str *said)
{
	CLEANUP(json_release) json_t *document = text.n > 0 && text.n <= DISCOVERY_TEXT_MAX ? json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL) : NULL;
	struct http_url url;

	*keys = *said = STR("");
	if (!json_is_object(document) || !json_is_string(json_object_get(document, "issuer")))
		return ERR_INVALID;
	*said = text_of(document, "issuer", a);
	if (!str_eq(*said, issuer))
		return ERR_CONFLICT;
	*said = text_of(document, "jwks_uri", a);
	if (said->n > DISCOVERY_URL_MAX || !http_url_read(*said, a, &url))
		return ERR_NOTFOUND;
	*keys = *said;
	return ERR_OK;
}
