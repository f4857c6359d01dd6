/* STAT, LIST, UIDL: the list of the maildrop. Sizes are those of the stored message, whose lines end in CRLF (RFC 1939 §11). */
#include "pop3/pop3_private.h"

static bool no_arguments(struct pop3 *p, struct str rest)
{
	if (rest.n > 0)
		pop3_error(p, "this command has no arguments");
	return rest.n == 0;
}

/* STAT                                                                                             RFC 1939 §5 */
void pop3_stat(struct pop3 *p, struct str rest)
{
	uint32_t count;
	uint64_t size;

	if (!no_arguments(p, rest))
		return;
	maildrop_total(p, &count, &size);
	session_printf(p->s, "+OK %u %llu\r\n", count, (unsigned long long)size);
}

/* LIST [n]                                                                                         RFC 1939 §5 */
void pop3_list(struct pop3 *p, struct str rest)
{
	uint32_t count;
	uint64_t size;

	if (rest.n > 0) {
		const struct pop3_message *m = maildrop_find(p, rest);

		if (m != NULL)
			session_printf(p->s, "+OK %u %llu\r\n", (unsigned)(m - p->messages) + 1, (unsigned long long)m->size);
		return;
	}
	maildrop_total(p, &count, &size);
	session_printf(p->s, "+OK %u messages (%llu octets)\r\n", count, (unsigned long long)size);
	for (uint32_t i = 0; i < p->count; i++)
		if (!p->messages[i].is_deleted)
			session_printf(p->s, "%u %llu\r\n", i + 1, (unsigned long long)p->messages[i].size);
	session_write(p->s, STR(".\r\n"));
}

/* UIDL [n]: the EMAILID, which a copy, a move and a restore keep                                    RFC 1939 §7 */
void pop3_uidl(struct pop3 *p, struct str rest)
{
	char id[18];

	if (rest.n > 0) {
		const struct pop3_message *m = maildrop_find(p, rest);

		if (m == NULL)
			return;
		email_id_text(m->emailid, id);
		session_printf(p->s, "+OK %u %s\r\n", (unsigned)(m - p->messages) + 1, id);
		return;
	}
	session_write(p->s, STR("+OK unique ids follow\r\n"));
	for (uint32_t i = 0; i < p->count; i++) {
		if (p->messages[i].is_deleted)
			continue;
		email_id_text(p->messages[i].emailid, id);
		session_printf(p->s, "%u %s\r\n", i + 1, id);
	}
	session_write(p->s, STR(".\r\n"));
}

/* NOOP                                                                                             RFC 1939 §5 */
void pop3_noop(struct pop3 *p, struct str rest)
{
	if (no_arguments(p, rest))
		session_write(p->s, STR("+OK\r\n"));
}
