/* MESSAGELIMIT (RFC 9738): with the setting imap_message_limit a command works on so many messages at most, the newest of those it names,
 * and says which was the last, so that the client can go on below it. COPY is all or nothing, so it is refused; SORT and THREAD make no
 * sense with a part. EXPUNGE, CLOSE and STATUS have no limit (§3.1).
 *
 * Off by default: mail programs that do not know it would believe that there is no more (§4.2). */
#include "imap/context_private.h"

typedef size_t next_rows(struct selected *s, const struct uid_set *set, uint64_t since, uint32_t *next, struct message_row *out, size_t max);

bool imap_limit_set(struct imap_session *s, struct imap_cmd *c, struct uid_set *set, bool *by_uid, uint64_t since, uint64_t flags)
{
	next_rows *rows_of = *by_uid ? selected_rows_by_uid : selected_rows;
	uint32_t limit = s->account->message_limit, next = 0;
	struct message_row rows[IMAP_BATCH];
	struct uid_set newest = { 0 };
	uint64_t total = 0, at = 0;
	size_t n;

	if (limit == 0 || selected_count(s->selected) <= limit)
		return false;
	while ((n = rows_of(s->selected, set, since, &next, rows, IMAP_BATCH)) > 0)
		for (size_t i = 0; i < n; i++)
			total += (rows[i].flags & flags) == flags;
	if (total <= limit)
		return false;
	for (next = 0; (n = rows_of(s->selected, set, since, &next, rows, IMAP_BATCH)) > 0;)
		for (size_t i = 0; i < n; i++)
			if ((rows[i].flags & flags) == flags && ++at > total - limit)
				uid_set_add(&newest, &c->arena, rows[i].uid, rows[i].uid);
	*set = newest;
	*by_uid = true;
	c->limited_to = newest.n > 0 ? newest.r[0].first : 0;
	return true;
}

static struct str code_of(struct imap_session *s, struct imap_cmd *c)
{
	uint32_t limit = s->account->message_limit;

	if (c->limited_to == 0 || c->limited_to == UINT32_MAX)  /* RFC 9738 §5: omitted when not known */
		return arena_printf(&c->arena, "MESSAGELIMIT %u", limit);
	return arena_printf(&c->arena, "MESSAGELIMIT %u %u", limit, c->limited_to);
}

struct imap_reply imap_limit_refuse(struct imap_session *s, struct imap_cmd *c)
{
	const char *code = str_cstr(&c->arena, code_of(s, c));

	c->limited_to = 0;
	return imap_no(c, code, "these are more than %u messages, which is what one command may work on; name fewer", s->account->message_limit);
}

/* The code stands in the tagged line, or before it where that has one already. */
struct imap_reply imap_limit_reply(struct imap_session *s, struct imap_cmd *c, struct imap_reply r)
{
	struct str code = code_of(s, c);

	if (r.status == IMAP_OK && !str_starts(r.text, STR("[")))
		r.text = arena_printf(&c->arena, "[" STR_FMT "] " STR_FMT ", the newest only", STR_ARG(code), STR_ARG(r.text));
	else if (r.status == IMAP_OK || r.status == IMAP_NO)
		buf_printf(&s->out, "* NO [" STR_FMT "] the newest only\r\n", STR_ARG(code));
	return r;
}

/* What a search would ask: the messages that a set among its keys names, or all. */
static const struct uid_set *candidates(const struct search_key *k, bool *by_uid)
{
	for (k = k->op == KEY_AND ? k->child : k; k != NULL; k = k->next) {
		*by_uid = k->op == KEY_UIDS;
		if (k->op == KEY_UIDS || k->op == KEY_SEQS)
			return &k->set;
	}
	return NULL;
}

bool search_limit(struct imap_session *s, struct imap_cmd *c, struct search *q)
{
	static const struct uid_range everything = { 1, UINT32_MAX };
	struct uid_set *set = ARENA_NEW(&c->arena, struct uid_set);
	bool by_uid = true;
	const struct uid_set *named = candidates(q->key, &by_uid);

	*set = named ? *named : (struct uid_set){ (struct uid_range *)(uintptr_t)&everything, 1, 1 };
	by_uid |= named == NULL;
	if (!imap_limit_set(s, c, set, &by_uid, 0, 0))
		return false;
	q->only = set;
	if (q->returns & RETURN_UPDATE)
		context_refuse(s, c, "a part of the mailbox is not kept up to date");
	q->returns &= ~(unsigned)RETURN_UPDATE;
	return true;
}
