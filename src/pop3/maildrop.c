/* The maildrop: INBOX as a numbered list, read once at login. 24 bytes and a summary row a message: 10,000 messages open in some
 * 10 ms. The flag \Seen is set as other servers do it (RETR sets it, TOP does not), collected and written once for each burst of
 * pipelined commands: a row a message would cost more than sending it. */
#include "base/log.h"
#include "base/mem.h"
#include "pop3/pop3_private.h"

enum { BATCH = 250 };

static enum err read_sizes(struct pop3 *p)
{
	for (uint32_t at = 0; at < p->count; at += BATCH) {
		uint32_t emails[BATCH], n = p->count - at < BATCH ? p->count - at : BATCH;
		struct summary summaries[BATCH];

		for (uint32_t i = 0; i < n; i++)
			emails[i] = p->messages[at + i].email;
		TRY(view_summaries(p->view, emails, n, false, &p->arena, summaries));
		for (uint32_t i = 0; i < n; i++) {
			p->messages[at + i].size = summaries[i].size;
			p->messages[at + i].emailid = summaries[i].emailid;
		}
		arena_reset(&p->arena);
	}
	return ERR_OK;
}

static enum err read_messages(struct pop3 *p)
{
	struct message_row rows[BATCH];
	struct selected *window;
	uint32_t next = 0;
	size_t n;

	TRY(selected_open(p->view, p->mailbox_id, NULL, &window));
	p->messages = mem_array(selected_count(window) + 1, sizeof *p->messages);
	while ((n = selected_rows(window, NULL, 0, &next, rows, BATCH)) > 0)
		for (size_t i = 0; i < n; i++)
			if ((rows[i].flags & FLAG_GONE) == 0)
				p->messages[p->count++] = (struct pop3_message){ .uid = rows[i].uid, .email = rows[i].email,
				                                                 .is_seen = (rows[i].flags & FLAG_SEEN) != 0 };
	selected_close(window);
	return read_sizes(p);
}

enum err maildrop_open(struct pop3 *p, struct account *account)
{
	struct mailbox inbox;

	p->view = account->view;
	p->account = account->account;
	if (!view_maildrop_lock(p->view))
		return ERR_AGAIN;
	p->has_lock = true;
	TRY(view_publish(p->view));
	TRY(view_mailbox_by_role(p->view, MAILBOX_INBOX, &p->arena, &inbox));
	p->mailbox_id = inbox.mailbox_id;
	return read_messages(p);
}

void maildrop_close(struct pop3 *p)
{
	maildrop_mark_seen(p);
	if (p->has_lock)
		view_maildrop_unlock(p->view);
	p->has_lock = false;
	mem_free(p->messages);
	p->messages = NULL;
	p->count = 0;
}

struct pop3_message *maildrop_find(struct pop3 *p, struct str number)
{
	uint64_t n;

	if (!str_to_u64(number, &n)) {
		pop3_error(p, "expected: the number of a message, as LIST shows it");
		return NULL;
	}
	if (n == 0 || n > p->count) {
		pop3_error(p, p->count ? "there is no message with this number" : "there are no messages");
		return NULL;
	}
	if (p->messages[n - 1].is_deleted) {
		pop3_error(p, "this message is marked to be removed; RSET takes the marks back");
		return NULL;
	}
	return &p->messages[n - 1];
}

void maildrop_mark_seen(struct pop3 *p)
{
	const struct flags_change seen = { .op = FLAGS_ADD, .flags = FLAG_SEEN };
	enum err e;

	if (p->seen.n == 0)
		return;
	uid_set_sort(&p->seen);
	e = view_store_flags(p->view, p->mailbox_id, &p->seen, &seen, &p->seen_arena, NULL, NULL);
	if (e != ERR_OK)
		log_warn("retrieved messages could not be marked as seen account=%llu error=%s", (unsigned long long)p->account, err_name(e));
	p->seen = (struct uid_set){ 0 };
	arena_reset(&p->seen_arena);
}

void maildrop_total(const struct pop3 *p, uint32_t *count, uint64_t *size)
{
	*count = 0;
	*size = 0;
	for (uint32_t i = 0; i < p->count; i++) {
		if (!p->messages[i].is_deleted) {
			(*count)++;
			*size += p->messages[i].size;
		}
	}
}
