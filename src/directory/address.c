/* Addresses: what is one, and when two are the same.
 *
 * The local part is compared without case although RFC 5321 lets a host choose: no user means a different person by "Bob". The key
 * folds with i;unicode-casemap, then ASCII case, so that characters which decompose into ASCII letters (the Kelvin sign, full
 * width letters) meet the ASCII spelling instead of becoming a look-alike account. The quoted form of a local part is the same
 * address as its plain form (RFC 5321 §4.1.2). Domains go through IDNA 2008 (dns/name.h). */
#include "directory/address.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "dns/name.h"
#include "text/fold.h"

static bool is_atext(char c)
{
	return chr_alpha(c) || chr_digit(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c)) || (unsigned char)c >= 0x80;
}

/* Dot-string = Atom *("." Atom)                                                             RFC 5321 §4.1.2, RFC 6531 §3.3 */
static bool is_dot_string(struct str s)
{
	bool was_dot = true;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '.' && was_dot)
			return false;
		if (s.p[i] != '.' && !is_atext(s.p[i]))
			return false;
		was_dot = s.p[i] == '.';
	}
	return !was_dot;
}

/* Quoted-string = DQUOTE *QcontentSMTP DQUOTE; *out without quotes and backslashes */
static bool unquote(struct str s, struct arena *a, struct str *out)
{
	char *to = arena_alloc(a, s.n + 1);
	size_t n = 0;

	for (size_t i = 1; i + 1 < s.n; i++) {
		if (s.p[i] == '"' || (unsigned char)s.p[i] < 32 || s.p[i] == 127)
			return false;
		if (s.p[i] == '\\' && (++i + 1 >= s.n || (unsigned char)s.p[i] < 32 || (unsigned char)s.p[i] > 126))
			return false;
		to[n++] = s.p[i];
	}
	*out = str_make(to, n);
	return n > 0;
}

bool directory_domain_parse(struct str in, struct arena *a, struct str *out)
{
	return !str_ends(in, STR(".")) && domain_to_ascii(in, a, out);
}

bool directory_address_parse(struct str in, struct arena *a, struct directory_address *out)
{
	ptrdiff_t at = str_rchr(in, '@');
	struct str local, domain;

	*out = (struct directory_address){ 0 };
	if (at <= 0 || in.n > ADDRESS_TEXT_MAX || !utf8_valid(in))
		return false;
	local = str_sub(in, 0, (size_t)at);
	domain = str_from(in, (size_t)at + 1);
	if (local.n > 2 && local.p[0] == '"' && local.p[local.n - 1] == '"') {
		if (!unquote(local, a, &out->local))
			return false;
	} else if (is_dot_string(local)) {
		out->local = local;
	} else {
		return false;
	}
	if (out->local.n > ADDRESS_LOCAL_MAX)
		return false;
	if (domain.n > 2 && domain.p[0] == '[' && domain.p[domain.n - 1] == ']') {
		for (size_t i = 1; i + 1 < domain.n; i++)
			if (domain.p[i] <= ' ' || domain.p[i] > 'z' || strchr("[]\\", domain.p[i]))
				return false;
		out->is_literal = true;
		out->domain = str_lower(a, domain);
		return true;
	}
	return directory_domain_parse(domain, a, &out->domain);
}

struct str directory_address_key(struct arena *a, struct str local, struct str domain)
{
	struct str folded = str_is_ascii(local) ? local : fold_casemap(a, local);

	if (folded.n + 1 + domain.n > ADDRESS_KEY_MAX)
		return STR_NONE;
	char *key = arena_alloc(a, folded.n + domain.n + 2);
	for (size_t i = 0; i < folded.n; i++)
		key[i] = chr_lower(folded.p[i]);
	key[folded.n] = '@';
	memcpy(key + folded.n + 1, domain.p, domain.n);
	return str_make(key, folded.n + 1 + domain.n);
}

struct str directory_address_text(struct arena *a, const struct directory_address *x)
{
	CLEANUP(buf_free) struct buf b = BUF(1000);

	if (is_dot_string(x->local)) {
		buf_add(&b, x->local);
	} else {
		buf_add_char(&b, '"');
		for (size_t i = 0; i < x->local.n; i++) {
			if (x->local.p[i] == '"' || x->local.p[i] == '\\')
				buf_add_char(&b, '\\');
			buf_add_char(&b, x->local.p[i]);
		}
		buf_add_char(&b, '"');
	}
	buf_add_char(&b, '@');
	buf_add(&b, x->domain);
	return str_copy(a, buf_str(&b));
}
