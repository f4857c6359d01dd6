/* URLs that records and documents of others name. What a web server would not need to be asked (a user, a fragment) is refused, not dropped: who
 * writes it means something else. */
#include "http/url.h"
#include "base/scan.h"

static bool is_visible(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= 32 || s.p[i] >= 127)
			return false;
	return true;
}

bool http_url_read(struct str url, struct arena *a, struct http_url *out)
{
	struct str scheme = STR("https://"), rest = str_from(url, scheme.n), authority;
	ptrdiff_t slash = str_chr(rest, '/'), colon;
	uint64_t port = 0;

	*out = (struct http_url){ 0 };
	authority = slash < 0 ? rest : str_sub(rest, 0, (size_t)slash);
	if (!str_istarts(url, scheme) || !is_visible(rest) || str_chr(rest, '#') >= 0 || str_chr(authority, '?') >= 0 || str_chr(authority, '@') >= 0 ||
	    str_chr(authority, '[') >= 0)
		return false;
	colon = str_chr(authority, ':');
	if (colon >= 0 && (!str_to_u64(str_from(authority, (size_t)colon + 1), &port) || port == 0 || port > 65535))
		return false;
	out->host = str_lower(a, colon >= 0 ? str_sub(authority, 0, (size_t)colon) : authority);
	out->port = (uint16_t)port;
	out->path = slash < 0 ? STR("/") : str_copy(a, str_from(rest, (size_t)slash));
	return out->host.n > 0;
}
