/* Who moves messages into another account: only one at a time may.
 *
 * Between accounts MOVE is a copy there and a removal here, two transactions of two stores (remote_copy.c). Two who move the same message at the same
 * moment would both have it. So the one who moves claims it first, in the cell that it is in, and the other is told NO [INUSE]; or, if he comes when
 * it has gone already, NO [EXPUNGEISSUED] (RFC 5530 §3), before he has copied anything for good. A MOVE within the account claims what it moves, too.
 *
 * A claim is in memory only, and ends with what it was made for: with UID EXPUNGE, with any other command, with the session, after CLAIM_MS if nothing is heard
 * any more. So a guest's cell that dies leaves nothing behind that would have to be undone, least of all a mark on a message that an
 * EXPUNGE would take for the owner's will. What it leaves is what it was before there were claims: if it dies between the copy and the removal, or if the
 * owner's cell does, the message is in both places. It is never in none. */
#include "imap/imap_private.h"
#include "base/clock.h"
#include "base/mem.h"
#include <pthread.h>

enum { CLAIM_MS = 300000 };

struct imap_claim {
	struct imap_claim *next, **link;
	const struct account *account;
	int64_t        mailbox_id;
	int64_t        until_ms;
	struct uid_set uids;
	struct arena   arena;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct imap_claim *claims;  /* of all accounts of this process, few */

static bool have_one_in_common(const struct uid_set *one, const struct uid_set *other)
{
	size_t i = 0, k = 0;

	while (i < one->n && k < other->n) {
		if (one->r[i].last < other->r[k].first)
			i++;
		else if (other->r[k].last < one->r[i].first)
			k++;
		else
			return true;
	}
	return false;
}

static bool is_claimed(const struct imap_session *s, const struct uid_set *uids)
{
	int64_t now_ms = clock_mono_ms();

	for (const struct imap_claim *c = claims; c != NULL; c = c->next)
		if (c->account == s->account && c->mailbox_id == s->mailbox_id && now_ms < c->until_ms && have_one_in_common(&c->uids, uids))
			return true;
	return false;
}

/* Not what the window of the session shows, which may be of before. */
static enum err are_all_there(struct imap_session *s, const struct uid_set *uids)
{
	struct message_row rows[IMAP_BATCH];
	struct selected *now;
	uint64_t count = 0;
	uint32_t next = 0;
	size_t n;

	TRY(selected_open(s->view, s->mailbox_id, NULL, &now));
	while ((n = selected_rows_by_uid(now, uids, 0, &next, rows, COUNT_OF(rows))) > 0)
		for (size_t i = 0; i < n; i++)
			count += !(rows[i].flags & FLAG_GONE);
	selected_close(now);
	return count == uid_set_count(uids) ? ERR_OK : ERR_NOTFOUND;
}

enum err imap_claim_begin(struct imap_session *s, const struct uid_set *uids)
{
	struct imap_claim *c = MEM_NEW(struct imap_claim);
	bool is_taken;

	imap_claim_end(s);
	*c = (struct imap_claim){ .account = s->account, .mailbox_id = s->mailbox_id, .until_ms = clock_mono_ms() + CLAIM_MS };
	for (size_t i = 0; i < uids->n; i++)
		uid_set_push(&c->uids, &c->arena, uids->r[i].first, uids->r[i].last);
	pthread_mutex_lock(&lock);
	is_taken = is_claimed(s, uids);
	if (!is_taken) {
		c->next = claims;
		c->link = &claims;
		if (claims != NULL)
			claims->link = &c->next;
		claims = c;
		s->claim = c;
	}
	pthread_mutex_unlock(&lock);
	if (!is_taken)
		return ERR_OK;
	arena_free(&c->arena);
	mem_free(c);
	return ERR_CONFLICT;
}

void imap_claim_end(struct imap_session *s)
{
	struct imap_claim *c = s->claim;

	if (c == NULL)
		return;
	s->claim = NULL;
	pthread_mutex_lock(&lock);
	*c->link = c->next;
	if (c->next != NULL)
		c->next->link = c->link;
	pthread_mutex_unlock(&lock);
	arena_free(&c->arena);
	mem_free(c);
}

enum err imap_claim_all(struct imap_session *s, const struct uid_set *uids)
{
	enum err e = imap_claim_begin(s, uids);

	if (e == ERR_OK && (e = are_all_there(s, uids)) != ERR_OK)
		imap_claim_end(s);
	return e;
}

struct imap_reply imap_claim_refuse(struct imap_cmd *c, enum err e)
{
	if (e == ERR_CONFLICT)
		return imap_no(c, "INUSE", "somebody else is moving these messages; please try again");
	if (e == ERR_NOTFOUND)
		return imap_no(c, "EXPUNGEISSUED", "some of these messages are there no longer; nothing was moved");
	return imap_err(c, e);
}

/* CLAIM uid-set: the other account's cell will move these messages. May they be removed, too? */
struct imap_reply imap_claim(struct imap_session *s, struct imap_cmd *c)
{
	struct uid_set uids = { 0 };
	enum err e;

	if (!imap_sequence_set(&c->args, &c->arena, &uids) || !imap_arg_end(c))
		return imap_bad(c, "uid-set");
	if (imap_is_readonly(s))
		return imap_readonly(s, c);
	e = imap_may(s, s->mailbox_id, RIGHT_DELETED | RIGHT_EXPUNGE);
	if (e != ERR_OK)
		return imap_err(c, e);
	e = imap_claim_all(s, &uids);
	return e == ERR_OK ? imap_ok(c, "claimed") : imap_claim_refuse(c, e);
}
