/* Lines and fields of HTTP/1.1. Whatever two programs could understand in two ways is malformed here: a name with a space before its colon,
 * a folded line, a control character, a length with a sign. */
#include "http/http_private.h"
#include "base/scan.h"

static bool is_token_char(char c) { return chr_alpha(c) || chr_digit(c) || (c && strchr("!#$%&'*+-.^_`|~", c)); }

bool http_is_token(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!is_token_char(s.p[i]))
			return false;
	return s.n > 0;
}

/* field-line = field-name ":" OWS field-value OWS                                                                RFC 9112 §5 */
bool http_split_field(struct str line, struct str *name, struct str *value)
{
	if (!str_cut(line, ':', name, value) || !http_is_token(*name))
		return false;
	*value = str_trim(*value);
	for (size_t i = 0; i < value->n; i++)
		if (((unsigned char)value->p[i] < 32 && value->p[i] != '\t') || value->p[i] == 127)
			return false;
	return true;
}

bool http_read_length(struct str value, uint64_t *out)
{
	struct scan s = scan_of(value);
	uint64_t n = scan_number(&s, 1LL << HTTP_CONTENT_LENGTH_MAX_BITS);

	if (s.failed || !scan_done(&s))
		return false;
	*out = n;
	return true;
}

bool http_take_line(struct buf *line, struct str *in)
{
	const char *lf = memchr(in->p, '\n', in->n);
	size_t n = lf ? (size_t)(lf - in->p) + 1 : in->n;

	buf_add(line, str_sub(*in, 0, n));
	*in = str_from(*in, n);
	return lf != NULL;
}
