/* Parameters of MAIL and RCPT: one table, one reader. A parameter is known by its row; its function reads the value and
 * nothing else. */
#include "smtp/param.h"
#include "base/bytes.h"
#include "mime/timestamp.h"

struct params {  /* of one command; only one of the two is filled */
	struct smtp_mail_params mail;
	struct smtp_rcpt_params rcpt;
};

static int hex_digit(char c)  /* RFC 3461 §4: capitals only; small ones are read too */
{
	return chr_digit(c) ? c - '0' : chr_upper(c) >= 'A' && chr_upper(c) <= 'F' ? chr_upper(c) - 'A' + 10 : -1;
}

/* xtext = *( xchar / hexchar );  hexchar = "+" 2HEXDIG                                                   RFC 3461 §4
 * What it hides must be printable: it is shown in bounces, where a line break would be a field of its own. */
bool smtp_xtext(struct str in, struct arena *a, struct str *out)
{
	char *room = arena_alloc(a, in.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < in.n; i++) {
		int c = (unsigned char)in.p[i];
		if (c == '+') {
			int high = i + 2 < in.n ? hex_digit(in.p[i + 1]) : -1;
			int low = high >= 0 ? hex_digit(in.p[i + 2]) : -1;
			if (low < 0)
				return false;
			c = high * 16 + low;
			i += 2;
			if (c >= 0x80)
				return false;
		}
		if (c < 32 || c == 127)
			return false;
		room[n++] = (char)c;
	}
	*out = str_make(room, n);
	return utf8_valid(*out);
}

/* ---- MAIL ---- */

/* SIZE=1*20DIGIT                                                                                        RFC 1870 §5 */
static bool mail_size(struct str value, UNUSED struct arena *a, struct params *out)
{
	struct scan s = scan_of(value);

	out->mail.has_size = true;
	out->mail.size = scan_u64(&s);
	return !s.failed && scan_done(&s);
}

/* BODY=7BIT / 8BITMIME / BINARYMIME                                                         RFC 6152 §2, RFC 3030 §3 */
static bool mail_body(struct str value, UNUSED struct arena *a, struct params *out)
{
	if (str_ieq(value, STR("7BIT")))
		out->mail.body = SMTP_BODY_7BIT;
	else if (str_ieq(value, STR("8BITMIME")))
		out->mail.body = SMTP_BODY_8BITMIME;
	else if (str_ieq(value, STR("BINARYMIME")))
		out->mail.body = SMTP_BODY_BINARYMIME;
	return out->mail.body != SMTP_BODY_NONE;
}

/* SMTPUTF8, without a value                                                                           RFC 6531 §3.4 */
static bool mail_smtputf8(struct str value, UNUSED struct arena *a, struct params *out)
{
	out->mail.smtputf8 = true;
	return value.p == NULL;
}

/* RET=FULL / HDRS                                                                                     RFC 3461 §4.3 */
static bool mail_ret(struct str value, UNUSED struct arena *a, struct params *out)
{
	if (str_ieq(value, STR("FULL")))
		out->mail.ret = SMTP_RET_FULL;
	else if (str_ieq(value, STR("HDRS")))
		out->mail.ret = SMTP_RET_HDRS;
	return out->mail.ret != SMTP_RET_NONE;
}

/* ENVID=xtext                                                                                         RFC 3461 §4.4 */
static bool mail_envid(struct str value, struct arena *a, struct params *out)
{
	return value.n > 0 && smtp_xtext(value, a, &out->mail.envid) && out->mail.envid.n <= SMTP_ENVID_MAX &&
		   str_is_ascii(out->mail.envid);
}

/* AUTH=<> / xtext: who submitted it, as somebody else says                                               RFC 4954 §5 */
static bool mail_auth(struct str value, UNUSED struct arena *a, UNUSED struct params *out) { return value.n > 0; }

/* HOLDFOR=future-release-integer; future-release-integer = %x31-39 *8DIGIT                                RFC 4865 §4 */
static bool mail_hold_for(struct str value, UNUSED struct arena *a, struct params *out)
{
	struct scan s = scan_of(value);

	out->mail.hold_for = scan_number(&s, 999999999);
	return !s.failed && scan_done(&s) && value.n > 0 && value.p[0] != '0';
}

/* HOLDUNTIL=date-time (of RFC 3339: erratum 2040)                                                         RFC 4865 §4 */
static bool mail_hold_until(struct str value, UNUSED struct arena *a, struct params *out)
{
	struct scan s = scan_of(value);

	out->mail.hold_until = scan_timestamp(&s);
	return !s.failed && scan_done(&s) && out->mail.hold_until > 0;
}

/* BY=by-time ";" by-mode [by-trace]; by-time = ["-" / "+"] 1*9DIGIT; by-mode = "N" / "R"; by-trace = "T"   RFC 2852 §4 */
static bool mail_by(struct str value, UNUSED struct arena *a, struct params *out)
{
	struct scan s = scan_of(value);
	int sign = scan_take(&s, '-') ? -1 : (scan_take(&s, '+'), 1);

	out->mail.by_s = sign * (int64_t)scan_number(&s, SMTP_BY_SECONDS_MAX);
	scan_need(&s, ';');
	if (scan_take_istr(&s, STR("N")))
		out->mail.by = SMTP_BY_NOTIFY;
	else if (scan_take_istr(&s, STR("R")))
		out->mail.by = SMTP_BY_RETURN;
	out->mail.by_traces = scan_take_istr(&s, STR("T"));
	return !s.failed && scan_done(&s) && out->mail.by != SMTP_BY_NOTHING;
}

/* MT-PRIORITY=priority-value; priority-value = ["-"] "1" to "9" / "0"                                     RFC 6710 §6 */
static bool mail_priority(struct str value, UNUSED struct arena *a, struct params *out)
{
	struct scan s = scan_of(value);
	int sign = scan_take(&s, '-') ? -1 : 1;
	size_t n = scan_left(&s);

	out->mail.priority = sign * (int)scan_number(&s, SMTP_PRIORITY_MAX);
	return !s.failed && scan_done(&s) && n == 1 && (sign > 0 || out->mail.priority < 0);
}

/* REQUIRETLS, without a value                                                                              RFC 8689 §2 */
static bool mail_requiretls(struct str value, UNUSED struct arena *a, struct params *out)
{
	out->mail.requiretls = true;
	return value.p == NULL;
}

/* ---- RCPT ---- */

/* NOTIFY="NEVER" / 1#("SUCCESS" / "FAILURE" / "DELAY")                                                 RFC 3461 §4.1 */
static bool rcpt_notify(struct str value, UNUSED struct arena *a, struct params *out)
{
	static const struct { struct str word; uint8_t bit; } words[] = {
		{ { "SUCCESS", 7 }, SMTP_NOTIFY_SUCCESS },
		{ { "FAILURE", 7 }, SMTP_NOTIFY_FAILURE },
		{ { "DELAY", 5 }, SMTP_NOTIFY_DELAY },
	};
	struct str word, rest = value;
	bool more = value.n > 0;

	if (str_ieq(value, STR("NEVER"))) {
		out->rcpt.notify = SMTP_NOTIFY_NEVER;
		return true;
	}
	while (more) {
		uint8_t bit = 0;
		more = str_cut(rest, ',', &word, &rest);
		for (size_t i = 0; i < COUNT_OF(words); i++)
			if (str_ieq(word, words[i].word))
				bit = words[i].bit;
		if (bit == 0)
			return false;
		out->rcpt.notify |= bit;
	}
	return out->rcpt.notify != 0;
}

/* ORCPT=addr-type ";" xtext                                                               RFC 3461 §4.2, RFC 6533 §3 */
static bool rcpt_orcpt(struct str value, struct arena *a, struct params *out)
{
	struct str type, address;

	if (!str_cut(value, ';', &type, &address) || type.n == 0 || address.n == 0 || !str_is_ascii(type))
		return false;
	return smtp_xtext(value, a, &out->rcpt.orcpt) && out->rcpt.orcpt.n <= SMTP_ORCPT_MAX;
}

/* ---- both ---- */

static const struct {
	struct str word;
	bool       is_rcpt;
	bool     (*read)(struct str value, struct arena *a, struct params *out);
} known[] = {
	{ { "SIZE", 4 }, false, mail_size },		 { { "BODY", 4 }, false, mail_body },
	{ { "SMTPUTF8", 8 }, false, mail_smtputf8 }, { { "RET", 3 }, false, mail_ret },
	{ { "ENVID", 5 }, false, mail_envid },		 { { "AUTH", 4 }, false, mail_auth },
	{ { "HOLDFOR", 7 }, false, mail_hold_for },	 { { "HOLDUNTIL", 9 }, false, mail_hold_until },
	{ { "BY", 2 }, false, mail_by },			 { { "MT-PRIORITY", 11 }, false, mail_priority },
	{ { "REQUIRETLS", 10 }, false, mail_requiretls },
	{ { "NOTIFY", 6 }, true, rcpt_notify },		 { { "ORCPT", 5 }, true, rcpt_orcpt },
};

static bool is_keyword(char c) { return chr_alpha(c) || chr_digit(c) || c == '-'; }
static bool is_value(char c) { return (unsigned char)c > 32 && c != 127; }

/* esmtp-param = esmtp-keyword ["=" esmtp-value]; spaces before it                                    RFC 5321 §4.1.2
 * value->p is NULL without "=". An "=" inside a value is against the grammar, but common in ORCPT and ambiguous to
 * nobody. */
static bool scan_param(struct scan *s, struct str *keyword, struct str *value)
{
	const char *before = s->p;

	scan_skip(s, " ");
	if (s->p == before)
		scan_fail(s);
	*keyword = scan_while(s, is_keyword);
	*value = STR_NONE;
	if (keyword->n == 0)
		scan_fail(s);
	if (scan_take(s, '=')) {
		*value = scan_while(s, is_value);
		if (value->n == 0)
			scan_fail(s);
	}
	return !s->failed;
}

static bool is_at_end(struct scan s)
{
	scan_skip(&s, " ");
	return scan_done(&s);
}

static enum smtp_param_error scan_params(struct scan *s, bool is_rcpt, struct arena *a, struct params *out,
										 struct str *bad)
{
	unsigned seen = 0;
	struct str value;

	*bad = STR_NONE;
	while (!is_at_end(*s)) {
		size_t i = 0;
		if (!scan_param(s, bad, &value))
			return SMTP_PARAM_INVALID;
		while (i < COUNT_OF(known) && (known[i].is_rcpt != is_rcpt || !str_ieq(*bad, known[i].word)))
			i++;
		if (i == COUNT_OF(known))
			return SMTP_PARAM_UNKNOWN;
		if (seen & 1u << i)
			return SMTP_PARAM_TWICE;
		seen |= 1u << i;
		if (!known[i].read(value, a, out))
			return SMTP_PARAM_INVALID;
	}
	return s->failed ? SMTP_PARAM_INVALID : SMTP_PARAM_OK;
}

enum smtp_param_error scan_mail_params(struct scan *s, struct arena *a, struct smtp_mail_params *out, struct str *bad)
{
	struct params p = { 0 };
	enum smtp_param_error e = scan_params(s, false, a, &p, bad);

	*out = p.mail;
	return e;
}

enum smtp_param_error scan_rcpt_params(struct scan *s, struct arena *a, struct smtp_rcpt_params *out, struct str *bad)
{
	struct params p = { 0 };
	enum smtp_param_error e = scan_params(s, true, a, &p, bad);

	*out = p.rcpt;
	return e;
}
