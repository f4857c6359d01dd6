/* DELE, RSET, QUIT: what is removed, and when. Only QUIT removes (RFC 1939 §6); a connection that breaks removes nothing. */
#include "base/log.h"
#include "pop3/pop3_private.h"

/* DELE n                                                                                           RFC 1939 §5 */
void pop3_dele(struct pop3 *p, struct str rest)
{
	struct pop3_message *m = maildrop_find(p, rest);

	if (m == NULL)
		return;
	m->is_deleted = true;
	session_printf(p->s, "+OK message %u will be removed at QUIT\r\n", (unsigned)(m - p->messages) + 1);
}

/* RSET                                                                                             RFC 1939 §5 */
void pop3_rset(struct pop3 *p, struct str rest)
{
	uint32_t count;
	uint64_t size;

	if (rest.n > 0) {
		pop3_error(p, "this command has no arguments");
		return;
	}
	for (uint32_t i = 0; i < p->count; i++)
		p->messages[i].is_deleted = false;
	maildrop_total(p, &count, &size);
	session_printf(p->s, "+OK %u messages (%llu octets)\r\n", count, (unsigned long long)size);
}

/* QUIT: enters the UPDATE state                                                                    RFC 1939 §6
 * All or none is removed, in one synced transaction; they can be undeleted for 30 days. */
void pop3_quit(struct pop3 *p, struct str rest)
{
	struct uid_set gone = { 0 };
	uint32_t count = 0;
	enum err e = ERR_OK;

	if (rest.n > 0) {
		pop3_error(p, "this command has no arguments");
		return;
	}
	for (uint32_t i = 0; i < p->count; i++) {
		if (p->messages[i].is_deleted) {
			uid_set_add(&gone, &p->arena, p->messages[i].uid, p->messages[i].uid);
			count++;
		}
	}
	maildrop_mark_seen(p);
	if (count > 0)
		e = view_expunge(p->view, p->mailbox_id, &gone, false, &p->arena, NULL);
	p->is_over = true;
	if (e != ERR_OK) {
		log_warn("messages could not be removed account=%llu count=%u error=%s", (unsigned long long)p->account, count, err_name(e));
		session_write(p->s, STR("-ERR [SYS/TEMP] the messages could not be removed; they are still there, please try again later\r\n"));
		return;
	}
	session_printf(p->s, "+OK %u removed, goodbye\r\n", count);
}
