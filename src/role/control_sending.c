/* What is sent, and whether it is a thief who does it.
 *
 * REFUSED: what other servers refuse of an account's mail is told to its cell, which weighs it with all else; a few refusals wake no cell
 * that sleeps. What a cell does not hear because it is just leaving is lost: the next ones will do.
 *
 * SENDING: a cell says that its account sends in an unusual way, or like a thief (submit/sending.h). The account is stopped here, and
 * every role hears of it; the letters are the cell's, for it is in its store that the reasons are. */
#include "base/clock.h"
#include "base/log.h"
#include "role/control_private.h"
#include "submit/sending.h"

/* Who gets the mail for postmaster@ of this address's domain. */
static bool administrator_is_french(const struct control *c, struct str address, struct arena *a)
{
	struct str domain = str_from(address, (size_t)(str_rchr(address, '@') + 1));
	struct lookup_account x;
	struct lookup_result r;

	return lookup_resolve(c->lookup, arena_printf(a, "postmaster@" STR_FMT, STR_ARG(domain)), a, &r) == LOOKUP_FOUND &&
	       lookup_account(c->lookup, r.targets[0].account, &x) && x.french;
}

static enum err stop(struct control *c, const struct sending_notice *n)
{
	TRY(account_stop_sending(c->directory, n->account, clock_wall_s(), n->why));
	return control_send_directory(c);
}

enum err control_sending_take(struct control_cell *cell, struct str notice, struct buf *answer)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct control *c = cell->control;
	struct scan s = scan_of(notice);
	struct directory_account x;
	struct sending_notice n;

	if (!get_sending_notice(&s, &n))
		return ERR_INVALID;
	if (n.account != cell->account)
		return ERR_DENIED;
	TRY(account_get(c->directory, n.account, &a, &x));
	log_warn("%s account=%llu address=" STR_FMT " why=" STR_FMT, n.kind == SENDING_STOP ? "stopped from sending" : "sends in an unusual way",
	         (unsigned long long)n.account, STR_ARG(x.address), STR_ARG(n.why));
	if (n.kind == SENDING_STOP && x.stopped_s == 0)
		TRY(stop(c, &n));
	put_bool(answer, x.stopped_s == 0);
	put_bool(answer, administrator_is_french(c, x.address, &a));
	return ERR_OK;
}

/* ---- what other servers refuse */

enum { WAKE_AT = 10, CELL_COMMAND_MS = 60000 };

static void is_weighed(UNUSED void *context, UNUSED struct message *answer) { }

void control_refused_tell(struct control_cell *cell)
{
	CLEANUP(buf_free) struct buf b = BUF(100);
	struct control *c = cell->control;
	struct store_command refused = { .kind = STORE_COMMAND_REFUSED, .refused = (uint32_t)(uintptr_t)map_get_u64(&c->refused, cell->account) };

	if (refused.refused == 0)
		return;
	map_set_u64(&c->refused, cell->account, NULL);
	store_command_encode(&refused, &b);
	channel_ask(cell->ch, REQUEST_CELL_COMMAND, buf_str(&b), NULL, 0, CELL_COMMAND_MS, is_weighed, NULL);
}

static void wake(struct control *c, uint64_t account)
{
	CLEANUP(buf_free) struct buf b = BUF(16);

	put_u64(&b, account);
	channel_notify(c->master, NOTICE_CONTROL_WAKE, buf_str(&b), NULL, 0);
}

void control_refused_take(struct control *c, struct str notice)
{
	struct scan s = scan_of(notice);
	uint64_t account = get_u64(&s);
	uintptr_t n = get_u32(&s);
	struct lookup_account x;

	if (!get_end(&s) || !lookup_account(c->lookup, account, &x))
		return;
	n += (uintptr_t)map_get_u64(&c->refused, account);
	map_set_u64(&c->refused, account, (void *)(n < UINT32_MAX ? n : UINT32_MAX));
	struct control_cell *cell = map_get_u64(&c->cells, account);
	if (cell != NULL)
		control_refused_tell(cell);
	else if (n >= WAKE_AT)
		wake(c, account);
}
