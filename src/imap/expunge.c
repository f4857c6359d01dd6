/* EXPUNGE and UID EXPUNGE. What is removed is told by the news of the same command, as to every other session. */
#include "imap/imap_private.h"

static struct imap_reply expunge(struct imap_session *s, struct imap_cmd *c, const struct uid_set *uids)
{
	enum err e;

	if (imap_is_readonly(s))
		return imap_readonly(s, c);
	e = imap_may(s, s->mailbox_id, RIGHT_EXPUNGE);
	if (e == ERR_OK)
		e = view_expunge(s->view, s->mailbox_id, uids, true, &c->arena, NULL);
	imap_claim_end(s);
	if (e != ERR_OK)
		return imap_err(c, e);
	if (!s->tongue.is_condstore)
		return imap_ok(c, "expunged");
	if (!imap_send_news(s, true, &c->arena))  /* first the news: HIGHESTMODSEQ covers them (RFC 7162 §3.2.7) */
		return (struct imap_reply){ .status = IMAP_NO, .text = STR("the mailbox is gone"), .is_last = true };
	return imap_ok(c, "[HIGHESTMODSEQ %llu] expunged", (unsigned long long)selected_modseq(s->selected));
}

/* EXPUNGE                                                                                         RFC 9051 §6.4.3 */
struct imap_reply imap_expunge(struct imap_session *s, struct imap_cmd *c)
{
	return imap_arg_end(c) ? expunge(s, c, NULL) : imap_bad(c, "");
}

/* UID EXPUNGE sequence-set                                                          RFC 9051 §6.4.9, RFC 4315 §2.1 */
struct imap_reply imap_uid_expunge(struct imap_session *s, struct imap_cmd *c)
{
	struct uid_set uids = imap_arg_messages(c, s);

	bool by_uid = true;

	if (!imap_arg_end(c))
		return imap_bad(c, "uid-set");
	imap_limit_set(s, c, &uids, &by_uid, 0, FLAG_DELETED);
	return expunge(s, c, &uids);
}
