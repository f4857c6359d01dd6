/* OAUTHBEARER (RFC 7628 §3.1) and XOAUTH2 (as Google and Microsoft documented it, and mail programs speak it): one message that carries a
 * token and, perhaps, a user. Whether the token counts is decided elsewhere; here it is only found. Host and port of OAUTHBEARER are what the
 * client believes it has reached: a token says by its audience whom it is for, and that is signed. */
#include "auth/sasl_private.h"
#include "base/bytes.h"

/* b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="                          RFC 6750 §2.1 */
static bool is_token(char c) { return chr_alpha(c) || chr_digit(c) || (c != 0 && strchr("-._~+/=", c) != NULL); }

/* "Bearer" 1*SP b64token; the scheme in any case (RFC 9110 §11.1) */
static bool scan_bearer(struct str value, struct str *token)
{
	struct scan s = scan_of(value);

	if (!scan_take_istr(&s, STR("Bearer")) || scan_peek(&s) != ' ')
		return false;
	scan_skip(&s, " ");
	*token = scan_while(&s, is_token);
	return scan_done(&s) && token->n > 0;
}

/* client-resp = (gs2-header kvsep *kvpair kvsep) / kvsep; kvpair = key "=" value kvsep; kvsep = %x01      RFC 7628 §3.1 */
static bool scan_pairs(struct scan *s, struct str *user, struct str *token)
{
	while (!s->failed && scan_peek(s) != 1) {
		struct str pair = scan_until(s, 1), key, value;

		scan_need(s, 1);
		if (!str_cut(pair, '=', &key, &value))
			scan_fail(s);
		else if (str_eq(key, STR("auth")) && !scan_bearer(value, token))
			scan_fail(s);
		else if (user != NULL && str_eq(key, STR("user")))
			*user = value;
	}
	scan_need(s, 1);
	return !s->failed && scan_done(s) && token->n > 0;
}

/* gs2-header = gs2-cbind-flag "," [ "a=" saslname ] ","; there is nothing to bind to here: "n", or "y"     RFC 5801 §4 */
static struct str scan_gs2(struct scan *s, struct arena *a)
{
	struct str login = STR("");

	if (!scan_take(s, 'n'))
		scan_need(s, 'y');
	scan_need(s, ',');
	if (scan_take_str(s, STR("a=")))
		login = sasl_scan_name(s, a);
	scan_need(s, ',');
	scan_need(s, 1);
	return login;
}

const char *sasl_bearer_parse(bool is_xoauth2, struct str message, struct arena *a, struct str *login, struct str *token)
{
	struct scan s = scan_of(message);

	*login = STR("");
	*token = STR_NONE;
	if (!is_xoauth2)
		*login = scan_gs2(&s, a);
	if (!scan_pairs(&s, is_xoauth2 ? login : NULL, token))
		return is_xoauth2 ? "expected: user=NAME ^A auth=Bearer TOKEN ^A ^A" : "expected: n,a=user, ^A auth=Bearer TOKEN ^A ^A";
	if (login->n > LOGIN_NAME_MAX || !utf8_valid(*login) || str_has_ctl(*login))
		return "the user name is too long or holds control characters";
	return token->n <= TOKEN_MAX ? NULL : "the token is too long";
}
