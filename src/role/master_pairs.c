/* Whether an account shares anything with another one, before the one's cell is let into the other's, and before a gate has its sessions wait for
 * changes there.
 *
 * What the owner shares is decided in his own cell, command by command. But a cell that was broken into could have any other cell started, and
 * could learn from its gate when anything happens in any account: so master believes only pairs that control's table of shares has
 * (directory/share.h). It remembers those that are there for a minute, and until control says that something has changed; that a pair is not there
 * it never remembers, so that who is let in today need not wait. */
#include "base/clock.h"
#include "base/mem.h"
#include "role/master_cell.h"

enum { PAIR_FRESH_MS = 60000, PAIRS_MAX = 20000, QUESTIONS_MAX = 10000, ASK_MS = 5000 };

static struct str pair_key(uint64_t guest, uint64_t owner, uint64_t room[2])
{
	room[0] = guest;
	room[1] = owner;
	return str_make((const char *)room, 2 * sizeof room[0]);
}

/* The value is until when it is remembered. */
static bool is_remembered(const struct master *m, uint64_t guest, uint64_t owner)
{
	uint64_t room[2];

	return (int64_t)(uintptr_t)map_get(&m->pairs, pair_key(guest, owner, room)) > clock_mono_ms();
}

static void remember(struct master *m, uint64_t guest, uint64_t owner)
{
	uint64_t room[2];

	if (m->pairs.n >= PAIRS_MAX)
		pairs_forget(m, 0);
	map_set(&m->pairs, pair_key(guest, owner, room), (void *)(uintptr_t)(clock_mono_ms() + PAIR_FRESH_MS));
}

void pairs_forget(struct master *m, uint64_t owner)
{
	size_t at = 0;
	struct str key;
	void *v;

	while (map_next(&m->pairs, &at, &key, &v))
		if (owner == 0 || map_key_u64(str_from(key, sizeof owner)) == owner)
			map_set(&m->pairs, key, NULL);
}

static void on_known(void *context, struct message *answer)
{
	struct pair_question *q = context;

	if (answer->status == ERR_OK)
		remember(q->master, q->guest, q->owner);
	if (q->next)
		q->next->link = q->link;
	*q->link = q->next;
	q->master->pair_question_count--;
	if (q->asker != NULL)
		q->answer(q, answer->status);
	mem_free(q);
}

void pair_ask(const struct pair_question *asked)
{
	struct master *m = asked->master;
	struct running *control = master_role(m, ROLE_CONTROL, 0);
	CLEANUP(buf_free) struct buf body = BUF(16);
	struct pair_question *q;

	if (is_remembered(m, asked->guest, asked->owner)) {
		asked->answer(asked, ERR_OK);
		return;
	}
	if (control == NULL || control->ch == NULL || m->pair_question_count == QUESTIONS_MAX) {
		asked->answer(asked, ERR_UNAVAILABLE);
		return;
	}
	q = MEM_NEW(struct pair_question);
	*q = *asked;
	q->next = m->pair_questions;
	q->link = &m->pair_questions;
	if (q->next)
		q->next->link = &q->next;
	m->pair_questions = q;
	m->pair_question_count++;
	put_u64(&body, q->guest);
	put_u64(&body, q->owner);
	channel_ask(control->ch, REQUEST_SHARES_WITH, buf_str(&body), NULL, 0, ASK_MS, on_known, q);
}

void pairs_asker_gone(struct master *m, const struct channel *ch)
{
	for (struct pair_question *q = m->pair_questions; q != NULL; q = q->next)
		if (q->asker == ch)
			q->asker = NULL;
}
