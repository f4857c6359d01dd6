/* An account sends under its own addresses only: a stolen password, or a program gone wild, must not speak for somebody else in the
 * house. The check is the same for MAIL and for From, because people only see From, and receiving servers judge by it (DMARC). */
#include "submit/sender.h"

/* "a@x, b@x and 3 more" */
static struct str senders(const struct account_info *info, struct arena *a)
{
	CLEANUP(buf_free) struct buf b = BUF(SMTP_REPLY_TEXT_MAX);
	size_t shown = info->sender_count < SUBMIT_SENDERS_SHOWN ? info->sender_count : SUBMIT_SENDERS_SHOWN;

	for (size_t i = 0; i < shown; i++)
		buf_printf(&b, "%s" STR_FMT, i ? ", " : "", STR_ARG(info->senders[i]));
	if (shown < info->sender_count)
		buf_printf(&b, " and %zu more", info->sender_count - shown);
	return b.n ? str_copy(a, buf_str(&b)) : STR("");
}

static struct smtp_reply refusal(const struct account_info *info, const char *where, struct str address, struct arena *a)
{
	return smtp_reply_printf(a, 553, "5.7.1", "this account must not send as <" STR_FMT "> (%s); it may send as " STR_FMT,
	                         STR_ARG(str_sub(address, 0, 100)), where, STR_ARG(senders(info, a)));
}

struct smtp_reply submit_check_sender(const struct account_info *info, struct str address, struct arena *a)
{
	if (address.n == 0 || account_info_may_send(info, address))
		return (struct smtp_reply){ 0 };
	return refusal(info, "MAIL FROM", address, a);
}

struct smtp_reply submit_check_authors(const struct account_info *info, const struct fixup *f, struct arena *a)
{
	struct authors authors;

	if (fixup_authors(f, a, &authors) != ERR_OK)
		return SMTP_REPLY(554, "5.6.0", "the From field of the message has no address that can be read, or too many");
	for (size_t i = 0; i < authors.n; i++)
		if (!account_info_may_send(info, authors.addresses[i]))
			return refusal(info, "From", authors.addresses[i], a);
	return (struct smtp_reply){ 0 };
}
