/* The answer to EHLO. A keyword stands at the beginning of its line; some old servers write "SIZE=1000", so '=' ends one too. */
#include "smtp/offers.h"
#include "base/scan.h"

static const struct { const char *word; unsigned bit; } keywords[] = {
	{ "PIPELINING", SMTP_OFFERS_PIPELINING }, { "8BITMIME", SMTP_OFFERS_8BITMIME },     { "SMTPUTF8", SMTP_OFFERS_SMTPUTF8 },
	{ "CHUNKING", SMTP_OFFERS_CHUNKING },     { "BINARYMIME", SMTP_OFFERS_BINARYMIME }, { "SIZE", SMTP_OFFERS_SIZE },
	{ "DSN", SMTP_OFFERS_DSN },               { "STARTTLS", SMTP_OFFERS_STARTTLS },     { "REQUIRETLS", SMTP_OFFERS_REQUIRETLS },
	{ "LIMITS", SMTP_OFFERS_LIMITS },         { "DELIVERBY", SMTP_OFFERS_DELIVERBY },   { "MT-PRIORITY", SMTP_OFFERS_MT_PRIORITY },
};

static bool is_keyword(char c) { return chr_alpha(c) || chr_digit(c) || c == '-'; }

static uint32_t number_or_none(struct str value)
{
	struct scan s = scan_of(value);
	uint32_t n = scan_u32(&s);

	return s.failed || !scan_done(&s) ? 0 : n;
}

/* limits = [limit *(SP limit)]; limit = name "=" value                                                       RFC 9422 §4 */
static void read_limits(struct scan *s, struct smtp_offers *out)
{
	while (!scan_done(s)) {
		struct str name, value;
		scan_skip(s, " \t");
		if (!str_cut(scan_until(s, ' '), '=', &name, &value))
			continue;
		if (str_ieq(name, STR("MAILMAX")))
			out->mail_max = number_or_none(value);
		else if (str_ieq(name, STR("RCPTMAX")))
			out->rcpt_max = number_or_none(value);
		else if (str_ieq(name, STR("RCPTDOMAINMAX")))
			out->rcpt_domain_max = number_or_none(value);
	}
}

/* Mechanisms, parted by spaces; more than one line of them is allowed by nobody and written by some. */
static void read_auth(struct scan *s, struct smtp_offers *out)
{
	while (!scan_done(s)) {
		scan_skip(s, " \t");
		struct str name = scan_until(s, ' ');
		if (str_ieq(name, STR("PLAIN")))
			out->has |= SMTP_OFFERS_AUTH_PLAIN;
		else if (str_ieq(name, STR("LOGIN")))
			out->has |= SMTP_OFFERS_AUTH_LOGIN;
	}
}

static void read_line(struct str line, struct smtp_offers *out)
{
	struct scan s = scan_of(line);
	struct str word = scan_while(&s, is_keyword);

	if (str_ieq(word, STR("AUTH"))) {
		scan_skip(&s, " \t=");
		read_auth(&s, out);
		return;
	}
	for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
		if (!str_ieq(word, str_of(keywords[i].word)))
			continue;
		out->has |= keywords[i].bit;
		scan_skip(&s, " \t=");
		if (keywords[i].bit == SMTP_OFFERS_SIZE && !scan_done(&s))
			out->size_max = scan_u64(&s);
		if (keywords[i].bit == SMTP_OFFERS_DELIVERBY)  /* [min-by-time] *("," extension-token), RFC 2852 §3 */
			out->by_min = number_or_none(scan_until(&s, ','));
		if (keywords[i].bit == SMTP_OFFERS_LIMITS)
			read_limits(&s, out);
	}
}

void smtp_offers_read(struct str text, struct smtp_offers *out)
{
	struct str line;

	*out = (struct smtp_offers){ 0 };
	str_cut(text, '\n', &line, &text);
	while (text.n > 0) {
		str_cut(text, '\n', &line, &text);
		read_line(line, out);
	}
}
