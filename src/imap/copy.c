/* COPY and MOVE. One transaction each: an account that is full ends up with none of the messages, not with some. */
#include "imap/remote.h"

/* A copy takes its flags along, as far as the rights at the target allow to set them (RFC 4314 §4). */
static uint64_t left_out(struct imap_session *s, int64_t mailbox_id)
{
	return s->guest == NULL ? 0 : ~(imap_flags_of(imap_rights(s, mailbox_id)) | FLAG_GONE);
}

static struct imap_reply transfer(struct imap_session *s, struct imap_cmd *c, bool is_move)
{
	struct uid_set from = imap_arg_messages(c, s);
	struct str name, address;
	struct mailbox to;
	struct copied done = { 0 };
	enum err e;

	imap_sp(&c->args);
	name = imap_arg_mailbox(c, s);
	if (!imap_arg_end(c))
		return imap_bad(c, "sequence-set mailbox");
	if (is_move && imap_is_readonly(s))
		return imap_readonly(s, c);
	bool by_uid = true;
	if (imap_limit_set(s, c, &from, &by_uid, 0, 0) && !is_move)
		return imap_limit_refuse(s, c);
	if (s->guest == NULL && imap_is_other(name, &address))
		return imap_remote_copy_to(s, c, &from, name, address, is_move);
	e = imap_find(s, name, RIGHT_INSERT, &c->arena, &to);
	if (e == ERR_OK && is_move)
		e = imap_may(s, s->mailbox_id, RIGHT_DELETED | RIGHT_EXPUNGE);
	if (e == ERR_OK && is_move && (e = imap_claim_begin(s, &from)) != ERR_OK)
		return imap_claim_refuse(c, e);
	if (e == ERR_OK)  /* synced when it returns */
		e = view_transfer(s->view, s->mailbox_id, &from, to.mailbox_id, is_move, left_out(s, to.mailbox_id), &c->arena, &done);
	imap_claim_end(s);
	if (e == ERR_NOTFOUND)
		return imap_no(c, "TRYCREATE", "there is no such mailbox; CREATE it first");
	if (e == ERR_LIMIT)
		return imap_no(c, "LIMIT", "one of these messages is in this account a thousand times already, with the copies that were removed lately; nothing was copied");
	if (e != ERR_OK)
		return imap_err(c, e);
	if (done.to.n == 0)
		return imap_ok(c, "none of these messages is there");
	if (!is_move)
		return imap_ok(c, "[COPYUID %u %s %s] copied", done.uidvalidity, uid_set_text(&done.from, &c->arena), uid_set_text(&done.to, &c->arena));
	/* RFC 6851 §4.3: COPYUID comes before the EXPUNGEs, so in an untagged OK */
	buf_printf(&s->out, "* OK [COPYUID %u ", done.uidvalidity);
	imap_put_set(s, &done.from);
	buf_add_char(&s->out, ' ');
	imap_put_set(s, &done.to);
	buf_add_cstr(&s->out, "] these\r\n");
	if (!imap_send_news(s, true, &c->arena))
		return (struct imap_reply){ .status = IMAP_NO, .text = STR("the mailbox is gone"), .is_last = true };
	if (s->tongue.is_condstore)
		return imap_ok(c, "[HIGHESTMODSEQ %llu] moved", (unsigned long long)selected_modseq(s->selected));
	return imap_ok(c, "moved");
}

/* COPY sequence-set mailbox                                                           RFC 9051 §6.4.7, COPYUID §7.1 */
struct imap_reply imap_copy(struct imap_session *s, struct imap_cmd *c) { return transfer(s, c, false); }
/* MOVE sequence-set mailbox                                                             RFC 9051 §6.4.8, RFC 6851 */
struct imap_reply imap_move(struct imap_session *s, struct imap_cmd *c) { return transfer(s, c, true); }
