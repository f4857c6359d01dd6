/* The trace field that this server adds to every message it takes (RFC 5321 §4.4), and the count of those it finds
 * (§6.3). */
#include "base/clock.h"
#include "mime/date.h"
#include "smtpd/smtpd_private.h"

/* A client's name for itself is any word; in a header only letters, digits and what names and literals are made of. */
static void put_name(struct buf *out, struct str name)
{
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		bool is_harmless = chr_alpha(c) || chr_digit(c) || (c != '\0' && strchr("-._:[]", c) != NULL);
		buf_add_char(out, is_harmless ? c : '?');
	}
}

/* "SMTP", "ESMTP", "ESMTPS", "ESMTPSA", "UTF8SMTPS" …                                   RFC 3848; RFC 6531 §4.3 */
static void put_protocol(const struct smtpd *s, struct buf *out)
{
	if (s->envelope.smtputf8)
		buf_add(out, STR("UTF8SMTP"));
	else
		buf_add(out, s->is_esmtp ? STR("ESMTP") : STR("SMTP"));
	if (!s->is_esmtp)
		return;
	if (s->client.is_tls)
		buf_add_char(out, 'S');
	if (s->client.source == ENVELOPE_SUBMISSION && s->client.login.n > 0)
		buf_add_char(out, 'A');
}

void smtpd_put_received(const struct smtpd *s, struct buf *out)
{
	const struct smtpd_client *c = &s->client;
	char date[DATE_TEXT_MAX];

	buf_add(out, STR("Received: from "));
	put_name(out, buf_str(&s->helo));
	if (c->peer.n == 0)
		buf_printf(out, " (" STR_FMT ")", STR_ARG(c->who));
	else
		buf_printf(out, " ([%s" STR_FMT "])", str_chr(c->peer, ':') >= 0 ? "IPv6:" : "", STR_ARG(c->peer));
	buf_printf(out, "\r\n\tby " STR_FMT " with ", STR_ARG(s->server->hostname));
	put_protocol(s, out);
	if (c->is_tls && c->tls_text.n > 0)
		buf_printf(out, " (" STR_FMT ")", STR_ARG(c->tls_text));
	buf_printf(out, "\r\n\tid " STR_FMT ".%llu", STR_ARG(c->session), (unsigned long long)s->messages);
	if (s->envelope.n == 1)  /* with several it would tell each who the others are (§7.2) */
		buf_printf(out, " for <" STR_FMT ">", STR_ARG(s->envelope.recipients[0].address));
	if (s->envelope.wishes.priority != 0)  /* RFC 6710 §5 */
		buf_printf(out, " priority %d", s->envelope.wishes.priority);
	date_format(clock_wall_s(), 0, date);
	buf_printf(out, ";\r\n\t%s\r\n", date);
}

size_t smtpd_count_received(struct str header)
{
	size_t n = 0;
	struct str line, rest = header;
	bool more;

	do {
		more = str_cut(rest, '\n', &line, &rest);
		n += str_istarts(line, STR("Received:"));
	} while (more);
	return n;
}
