/* Names as text. ASCII names, which nearly all are, take a path without the library: lower case and the rule for labels. The rest goes
 * through IDNA 2008 with the mapping of UTS 46, non-transitional: "straße" stays itself instead of becoming "strasse", which is another
 * domain. What comes out is checked again by the rule for labels, so both paths accept the same. */
#include "dns/name.h"
#include "base/bytes.h"
#include <idn2.h>

enum { LABEL_MAX = 63, INPUT_MAX = 4 * DOMAIN_MAX };

static bool is_ldh(struct str d)
{
	size_t label = 0;

	if (d.n == 0 || d.n > DOMAIN_MAX)
		return false;
	for (size_t i = 0; i <= d.n; i++) {
		if (i == d.n || d.p[i] == '.') {
			if (i == label || i - label > LABEL_MAX || d.p[label] == '-' || d.p[i - 1] == '-')
				return false;
			label = i + 1;
		} else if (!chr_alpha(d.p[i]) && !chr_digit(d.p[i]) && d.p[i] != '-') {
			return false;
		}
	}
	return true;
}

bool domain_to_ascii(struct str in, struct arena *a, struct str *out)
{
	char *ascii = NULL;

	if (in.n > 1 && in.p[in.n - 1] == '.')
		in.n--;
	if (in.n == 0 || in.n > INPUT_MAX || memchr(in.p, '\0', in.n))
		return false;
	if (str_is_ascii(in)) {
		*out = str_lower(a, in);
		return is_ldh(in);
	}
	if (!utf8_valid(in) || idn2_to_ascii_8z(str_cstr(a, in), &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL | IDN2_USE_STD3_ASCII_RULES) != IDN2_OK)
		return false;
	*out = str_lower(a, str_of(ascii));
	idn2_free(ascii);
	return is_ldh(*out);
}

struct str domain_to_unicode(struct str ascii, struct arena *a)
{
	char *text = NULL;
	struct str out = ascii;

	if (ascii.n > DOMAIN_MAX || memchr(ascii.p, '\0', ascii.n) || idn2_to_unicode_8z8z(str_cstr(a, ascii), &text, 0) != IDN2_OK)
		return ascii;
	if (utf8_valid(str_of(text)) && !str_has_ctl(str_of(text)))
		out = str_copy(a, str_of(text));
	idn2_free(text);
	return out;
}

bool domain_is_name(struct str d)
{
	size_t label = 0;

	if (d.n == 0 || d.n > DOMAIN_MAX)
		return false;
	for (size_t i = 0; i <= d.n; i++) {
		if (i == d.n || d.p[i] == '.') {
			if (i == label || i - label > LABEL_MAX)
				return false;
			label = i + 1;
		} else if (d.p[i] <= ' ' || d.p[i] > '~' || strchr("\\\"@[]", d.p[i])) {
			return false;
		}
	}
	return true;
}

bool domain_is_host(struct str ascii)
{
	struct str last = str_from(ascii, (size_t)(str_rchr(ascii, '.') + 1));

	if (!is_ldh(ascii))
		return false;
	for (size_t i = 0; i < last.n; i++)
		if (!chr_digit(last.p[i]))
			return true;
	return false;
}
