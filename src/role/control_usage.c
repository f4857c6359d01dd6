/* What cells report of their accounts: how much is used, and whether that is all there is.
 *
 * Full or not is in the directory, which is built anew and sent to all for it: a mailbox at the edge of its quota, or a cell that has
 * been broken into, may ask for that once a second, and a few times at once. The newest report counts, now or in the next turn.
 *
 * Else it is a figure for lists. Every cell says it when it begins and when it leaves, and a transaction of directory.db is two syncs
 * (measured: 40 of 300 syncs for 200 messages to 20 accounts that slept), so figures gather for some seconds, or until a command is
 * run, and are written together. Those that a crash takes are the ones of before until the account's cell is here again.
 *
 * Who looks at such a list has the cells that run say theirs first. One that does not answer costs him a second, once for all of them, and is shown as it
 * was heard last. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "role/control_private.h"

enum { USAGE_EVERY_MS = 1000, USAGE_AHEAD_MS = 3000, GATHER_MS = 5000, ASK_MS = 1000 };

void control_usage_write(struct control *c)
{
	struct account_use *uses = mem_array(c->uses.n, sizeof *uses);
	size_t at = 0, n = 0;
	void *v;

	while (map_next(&c->uses, &at, NULL, &v)) {
		uses[n++] = *(struct account_use *)v;
		mem_free(v);
	}
	map_free(&c->uses);
	c->uses = (struct map){ 0 };
	enum err e = n > 0 ? account_uses(c->directory, uses, n) : ERR_OK;
	if (e != ERR_OK)
		log_error("usage not noted accounts=%zu error=%s", n, err_name(e));
	mem_free(uses);
}

static void gather(struct control_cell *cell, int64_t now_ms)
{
	struct control *c = cell->control;
	struct account_use *use = map_get_u64(&c->uses, cell->account);

	if (c->uses.n == 0)
		c->uses_ms = now_ms + GATHER_MS;
	if (use == NULL)
		map_set_u64(&c->uses, cell->account, use = MEM_NEW(struct account_use));
	*use = (struct account_use){ cell->account, cell->used_bytes, cell->messages };
}

/* Its fullness as published is not what it says. */
static void note_full(struct control_cell *cell, int64_t now_ms)
{
	struct control *c = cell->control;
	bool changed = false;
	enum err e;

	cell->has_usage = false;
	cell->note_ms = (cell->note_ms > now_ms ? cell->note_ms : now_ms) + USAGE_EVERY_MS;
	mem_free(map_get_u64(&c->uses, cell->account));
	map_set_u64(&c->uses, cell->account, NULL);
	e = account_usage(c->directory, cell->account, cell->used_bytes, cell->messages, cell->is_full, &changed);
	if (e == ERR_OK && changed)
		e = control_send_directory(c);
	if (e != ERR_OK && e != ERR_NOTFOUND)
		log_error("usage not noted account=%llu error=%s", (unsigned long long)cell->account, err_name(e));
}

static bool is_full_as_published(const struct control_cell *cell)
{
	struct lookup_account x;

	return lookup_account(cell->control->lookup, cell->account, &x) && x.is_full;
}

static void answered(struct control_cell *cell)
{
	if (!cell->is_asked)
		return;
	cell->is_asked = false;
	cell->control->uses_asked--;
	pthread_cond_broadcast(&cell->control->news);
}

static void ask(struct control_cell *cell)
{
	if (cell->is_asked || channel_notify(cell->ch, NOTICE_TELL_USAGE, STR(""), NULL, 0) != ERR_OK)
		return;
	cell->is_asked = true;
	cell->control->uses_asked++;
}

/* The cell of this account (0: any), which may have gone. */
static bool is_awaited(struct control *c, uint64_t account)
{
	const struct control_cell *one = account != 0 ? map_get_u64(&c->cells, account) : NULL;

	return account != 0 ? one != NULL && one->is_asked : c->uses_asked > 0;
}

void control_usage_ask(struct control *c, uint64_t account)
{
	int64_t until_ms = clock_mono_ms() + ASK_MS;
	struct control_cell *one = account != 0 ? map_get_u64(&c->cells, account) : NULL;
	size_t at = 0;
	void *v;

	if (one != NULL)
		ask(one);
	while (account == 0 && map_next(&c->cells, &at, NULL, &v))
		ask(v);
	while (is_awaited(c, account))
		if (!control_wait(c, until_ms))
			break;
	control_usage_write(c);
}

void control_usage_take(struct control_cell *cell, struct str report)
{
	struct scan s = scan_of(report);
	uint64_t account = get_u64(&s), bytes = get_u64(&s), messages = get_u64(&s);
	bool is_full = get_bool(&s);
	int64_t now = clock_mono_ms();

	if (!get_end(&s) || account != cell->account)
		return;
	answered(cell);
	if (cell->has_told && bytes == cell->used_bytes && messages == cell->messages && is_full == cell->is_full)
		return;
	cell->has_told = true;
	cell->used_bytes = bytes;
	cell->messages = messages;
	cell->is_full = is_full;
	if (!cell->has_usage && is_full == is_full_as_published(cell)) {
		gather(cell, now);
		return;
	}
	cell->has_usage = true;
	if (now + USAGE_AHEAD_MS >= cell->note_ms)
		note_full(cell, now);
}

void control_usage_gone(struct control_cell *cell)
{
	answered(cell);
	if (cell->has_usage)
		note_full(cell, clock_mono_ms());
}

void control_usage_tick(struct control *c, int64_t now_ms)
{
	size_t at = 0;
	void *v;

	while (map_next(&c->cells, &at, NULL, &v)) {
		struct control_cell *cell = v;
		if (cell->has_usage && now_ms >= cell->note_ms)
			note_full(cell, now_ms);
	}
	if (c->uses.n > 0 && now_ms >= c->uses_ms)
		control_usage_write(c);
}
