/* COMPARATOR (RFC 5255 §4.7): which comparison SEARCH, SORT and THREAD use. There is one, i;unicode-casemap: it finds "ÉTÉ" for "été", which is
 * what people mean, and every text of ours is prepared for it. So a client can ask, and gets it by each pattern that matches. */
#include "imap/imap_private.h"

enum { COMPARATOR_PATTERNS_MAX = 20 };

static const struct str comparator = STR("i;unicode-casemap");

/* collation-order = ["+" / "-" / ""] collation-wild, "*" for any characters                        RFC 4790 §3.2 */
static bool matches(struct str wanted)
{
	struct str head, tail;

	if (str_ieq(wanted, STR("default")))
		return true;
	if (!str_cut(wanted, '*', &head, &tail))
		return str_ieq(wanted, comparator);
	if (str_chr(tail, '*') >= 0 || head.n + tail.n > comparator.n)  /* one "*" at most */
		return false;
	return str_istarts(comparator, head) && str_iends(comparator, tail);
}

/* COMPARATOR *(SP comp-order-quoted) */
struct imap_reply imap_comparator(struct imap_session *s, struct imap_cmd *c)
{
	bool is_known = scan_done(&c->args);

	for (int n = 0; !scan_done(&c->args) && !c->args.failed; n++) {
		if (n == COMPARATOR_PATTERNS_MAX)
			scan_fail(&c->args);
		else if (n > 0)
			imap_sp(&c->args);
		is_known |= matches(imap_astring(&c->args, &c->arena));
	}
	if (!imap_arg_end(c))
		return imap_bad(c, "up to 20 names of comparators, or none to ask which one is used");
	if (!is_known)
		return imap_no(c, "BADCOMPARATOR", "there is one comparator here, i;unicode-casemap");
	buf_printf(&s->out, "* COMPARATOR " STR_FMT "\r\n", STR_ARG(comparator));
	return imap_ok(c, "used by SEARCH, SORT and THREAD");
}
