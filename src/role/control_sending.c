/* SENDING: a cell says that its account sends in an unusual way, or like a thief (submit/sending.h). The account is stopped here, and
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
