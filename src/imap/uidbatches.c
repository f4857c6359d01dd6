/* UIDBATCHES (RFC 10022): the UIDs of the mailbox cut into pieces of so many messages, the newest first. A client that has no message
 * numbers (UIDONLY) learns from it what to ask for at a time.
 *
 * A piece costs one look at the session's numbering, so there is no limit to how many are told (RFC 10022 §3.1.7 would allow one), and
 * nobody who asks again is sent away (§3.1.1). Each begins where the one above it ended: no UID is in two of them or in none. */
#include "imap/imap_private.h"

enum { BATCH_MIN = 500 };   /* RFC 10022 §3.1.3.2: smaller ones would be message numbers again */

/* nz-number ":" nz-number, the lower first */
static bool parse_range(struct imap_cmd *c, uint32_t *first, uint32_t *last)
{
	*first = scan_u32(&c->args);
	scan_need(&c->args, ':');
	*last = scan_u32(&c->args);
	if (!c->args.failed && *first > *last) {
		c->why = "[CLIENTBUG] the first batch comes first: 1:4, not 4:1 (RFC 10022 section 3.1.5)";
		scan_fail(&c->args);
	}
	return !c->args.failed && *first > 0;
}

/* The UID range of batch number i, from 1. False: there is none. */
static bool batch(struct selected *s, uint32_t size, uint64_t i, uint32_t *high, uint32_t *low)
{
	uint32_t count = selected_count(s);
	uint64_t above = (i - 1) * size;

	if (above >= count)
		return false;
	*high = above == 0 ? selected_uidnext(s) - 1 : selected_uid(s, (uint32_t)(count - above + 1)) - 1;
	*low = count - above <= size ? 1 : selected_uid(s, (uint32_t)(count - above - size + 1));
	return true;
}

/* UIDBATCHES nz-number [SP nz-number ":" nz-number]                                                RFC 10022 §3.1 */
struct imap_reply imap_uidbatches(struct imap_session *s, struct imap_cmd *c)
{
	uint32_t size = scan_u32(&c->args), first = 1, last = UINT32_MAX, high, low;
	bool is_range = scan_take(&c->args, ' ');

	if (size == 0 || (is_range && !parse_range(c, &first, &last)) || !imap_arg_end(c))
		return imap_bad(c, "size [first:last]");
	if (size < BATCH_MIN)
		return imap_no(c, "TOOFEW", "a batch has at least %d messages", BATCH_MIN);
	buf_printf(&s->out, "* UIDBATCHES (TAG \"" STR_FMT "\")", STR_ARG(c->tag));
	for (uint64_t i = first; i <= last && batch(s->selected, size, i, &high, &low); i++) {
		buf_printf(&s->out, "%c%u:%u", i == first ? ' ' : ',', high, low);
		imap_spill(s);
	}
	buf_add_cstr(&s->out, "\r\n");
	return imap_ok(c, "cut");
}
