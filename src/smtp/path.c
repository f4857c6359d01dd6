/* Paths. More is accepted than the grammar says where real mail needs it and nothing is ambiguous: dots anywhere in a
 * local part (mobile carriers gave out "a..b.@"), "_" in a domain, long local parts of mailing lists. What decides
 * about somebody's mail is never this grammar but the directory. */
#include "smtp/path.h"
#include "base/bytes.h"
#include <arpa/inet.h>
#include <string.h>

enum { LITERAL_MAX = 100 };

static bool is_utf8_byte(char c) { return (unsigned char)c >= 0x80; }

/* atext / "." / UTF8-non-ascii */
static bool is_dot_string(char c)
{
	return chr_alpha(c) || chr_digit(c) || is_utf8_byte(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~.", c) != NULL);
}

static bool is_domain_char(char c) { return chr_alpha(c) || chr_digit(c) || c == '-' || c == '_' || is_utf8_byte(c); }

/* Quoted-string = DQUOTE *(qtextSMTP / quoted-pairSMTP) DQUOTE                                       RFC 5321 §4.1.2 */
static void scan_quoted_string(struct scan *s)
{
	scan_need(s, '"');
	while (!s->failed && scan_peek(s) != '"') {
		int c = scan_peek(s);
		if (c == '\\') {
			s->p++;
			c = scan_peek(s);
			if (c >= 0x80)  /* RFC 6531 adds UTF-8 to qtext, not to quoted-pair */
				c = 0;
		}
		if (c < 32 || c == 127)
			scan_fail(s);
		else
			s->p++;
	}
	scan_need(s, '"');
}

/* Local-part = Dot-string / Quoted-string */
static struct str scan_local_part(struct scan *s)
{
	const char *from = s->p;

	if (scan_peek(s) == '"')
		scan_quoted_string(s);
	else if (scan_while(s, is_dot_string).n == 0)
		scan_fail(s);
	return s->failed ? STR_NONE : str_make(from, (size_t)(s->p - from));
}

/* address-literal = "[" ( IPv4-address-literal / IPv6-address-literal / General-address-literal ) "]"
 *                                                                                                    RFC 5321 §4.1.3 */
static void scan_address_literal(struct scan *s)
{
	char text[LITERAL_MAX + 1];
	uint8_t address[16];
	bool is_v6;

	scan_need(s, '[');
	struct str inside = scan_until(s, ']');
	scan_need(s, ']');
	if (s->failed)
		return;
	is_v6 = str_istarts(inside, STR("IPv6:"));
	if (is_v6)
		inside = str_from(inside, 5);
	if (inside.n > LITERAL_MAX || memchr(inside.p, 0, inside.n) != NULL) {
		scan_fail(s);
		return;
	}
	memcpy(text, inside.p, inside.n);
	text[inside.n] = '\0';
	/* no General-address-literal: no tag but IPv6 was ever registered */
	if (inet_pton(is_v6 ? AF_INET6 : AF_INET, text, address) != 1)
		scan_fail(s);
}

/* Domain = sub-domain *("." sub-domain); sub-domain is a U-label or Let-dig [Ldh-str] */
static void scan_domain_name(struct scan *s)
{
	do {
		struct str label = scan_while(s, is_domain_char);
		if (label.n == 0 || label.n > 63 * 4 || label.p[0] == '-' || label.p[label.n - 1] == '-')
			scan_fail(s);
	} while (scan_take(s, '.'));
}

static struct str scan_domain(struct scan *s)
{
	const char *from = s->p;

	if (scan_peek(s) == '[')
		scan_address_literal(s);
	else
		scan_domain_name(s);
	if (!s->failed && s->p - from > SMTP_DOMAIN_MAX)
		scan_fail(s);
	return s->failed ? STR_NONE : str_make(from, (size_t)(s->p - from));
}

/* A-d-l ":" = "@" Domain *("," "@" Domain) ":"                          RFC 5321 §4.1.2: MUST be accepted, SHOULD be
 * ignored */
static void scan_source_route(struct scan *s)
{
	if (scan_peek(s) != '@')
		return;
	do {
		scan_need(s, '@');
		scan_domain(s);
	} while (scan_take(s, ','));
	scan_need(s, ':');
}

/* Mailbox = Local-part "@" ( Domain / address-literal ) */
static void scan_mailbox(struct scan *s, bool may_be_local, struct smtp_path *p)
{
	const char *from = s->p;

	p->local = scan_local_part(s);
	if (may_be_local && scan_peek(s) == '>' && str_ieq(p->local, STR("postmaster"))) {
		p->address = p->local;
		return;
	}
	scan_need(s, '@');
	p->domain = scan_domain(s);
	if (s->failed)
		return;
	p->address = str_make(from, (size_t)(s->p - from));
	p->is_utf8 = !str_is_ascii(p->address);
	if (p->address.n > SMTP_PATH_MAX || !utf8_valid(p->address))
		scan_fail(s);
}

static bool finish(struct scan *s, struct smtp_path *p)
{
	if (s->failed)
		*p = (struct smtp_path){ 0 };
	return !s->failed;
}

/* Reverse-path = Path / "<>";  Path = "<" [ A-d-l ":" ] Mailbox ">"                                  RFC 5321 §4.1.2 */
bool scan_reverse_path(struct scan *s, struct smtp_path *p)
{
	*p = (struct smtp_path){ 0 };
	scan_need(s, '<');
	if (scan_take(s, '>'))
		return !s->failed;
	scan_source_route(s);
	scan_mailbox(s, false, p);
	scan_need(s, '>');
	return finish(s, p);
}

/* Forward-path = Path, or "<Postmaster>" */
bool scan_forward_path(struct scan *s, struct smtp_path *p)
{
	*p = (struct smtp_path){ 0 };
	scan_need(s, '<');
	scan_source_route(s);
	scan_mailbox(s, true, p);
	scan_need(s, '>');
	return finish(s, p);
}
