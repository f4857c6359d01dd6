/* The TXT record of _smtp._tls.DOMAIN (RFC 8460 §3):
 *      tlsrpt-record = "v=TLSRPTv1" 1*(field-delim tlsrpt-rua / extension) [field-delim]
 *      tlsrpt-rua    = "rua=" uri *(*WSP "," *WSP uri)
 * A comma, a semicolon or an exclamation mark within a URI is percent-encoded there. */
#include "base/bytes.h"
#include "base/scan.h"
#include "http/url.h"
#include "tlsrpt/report.h"

static bool is_record(struct str text)
{
	struct str version, rest;

	str_cut(text, ';', &version, &rest);
	return str_eq(str_trim(version), STR("v=TLSRPTv1"));
}

static int hex_of(char c)
{
	return chr_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* False: a "%" that means nothing, or what it means has no place in an address. */
static bool decode(struct str in, struct arena *a, struct str *out)
{
	CLEANUP(buf_free) struct buf b = BUF(TLSRPT_URI_MAX);

	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];
		if (c == '%') {
			int high = i + 2 < in.n ? hex_of(in.p[i + 1]) : -1, low = i + 2 < in.n ? hex_of(in.p[i + 2]) : -1;
			if (high < 0 || low < 0)
				return false;
			c = (char)(high * 16 + low);
			i += 2;
		}
		buf_add_char(&b, c);
	}
	*out = str_copy(a, b.n ? buf_str(&b) : STR(""));
	return !b.failed && b.n > 0 && !str_has_ctl(*out) && str_chr(*out, ' ') < 0 && str_chr(*out, '<') < 0 && str_chr(*out, '>') < 0;
}

static bool read_mailto(struct str rest, struct arena *a, struct tlsrpt_target *t)
{
	struct str address, query;

	str_cut(rest, '?', &address, &query);
	return decode(address, a, &t->address) && str_chr(t->address, '@') > 0;
}

static bool read_https(struct str uri, struct arena *a, struct tlsrpt_target *t)
{
	struct http_url url;

	if (!http_url_read(uri, a, &url))
		return false;
	t->host = url.host;
	t->port = url.port;
	t->path = url.path;
	return true;
}

static bool read_uri(struct str uri, struct arena *a, struct tlsrpt_target *t)
{
	struct str mailto = STR("mailto:");

	*t = (struct tlsrpt_target){ .address = STR(""), .host = STR(""), .path = STR("") };
	if (uri.n > TLSRPT_URI_MAX)
		return false;
	if (str_istarts(uri, mailto))
		return read_mailto(str_from(uri, mailto.n), a, t);
	return read_https(uri, a, t);
}

static size_t read_rua(struct str value, struct arena *a, struct tlsrpt_target out[TLSRPT_TARGETS_MAX])
{
	struct str uri;
	size_t n = 0;

	while (value.n && n < TLSRPT_TARGETS_MAX) {
		str_cut(value, ',', &uri, &value);
		n += read_uri(str_trim(uri), a, &out[n]);
	}
	return n;
}

size_t tlsrpt_record(const struct str *texts, size_t n, struct arena *a, struct tlsrpt_target out[TLSRPT_TARGETS_MAX])
{
	struct str found = STR_NONE, field, name, value, rest;
	size_t count = 0;

	for (size_t i = 0; i < n; i++) {
		if (!is_record(texts[i]))
			continue;
		found = texts[i];
		count++;
	}
	if (count != 1)
		return 0;
	str_cut(found, ';', &field, &rest);
	while (rest.n) {
		str_cut(rest, ';', &field, &rest);
		if (str_cut(field, '=', &name, &value) && str_eq(str_trim(name), STR("rua")))
			return read_rua(value, a, out);
	}
	return 0;
}
