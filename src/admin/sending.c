/* account sending: how much an account sends, whether it may, and why not. The figures are the cell's own (store/sending.h).
 *
 * Letting it send again also forgives: else the next mail would meet the same signs. */
#include "admin/admin_private.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "submit/watch.h"

/* As one line: "- a\n- b" becomes "a; b". */
static struct str one_line(struct str words, struct arena *a)
{
	CLEANUP(buf_free) struct buf b = BUF(16 << 10);
	struct str line, rest = words;
	bool more = words.n > 0;

	while (more) {
		more = str_cut(rest, '\n', &line, &rest);
		buf_add_cstr(&b, b.n > 0 ? "; " : "");
		buf_add(&b, str_starts(line, STR("- ")) ? str_from(line, 2) : line);
	}
	return b.n > 0 ? str_copy(a, buf_str(&b)) : STR("");
}

static void put_account(struct admin_call *c, json_t *row, const struct directory_account *x)
{
	admin_put_text(row, "address", x->address);
	admin_put_text(row, "may_send", x->stopped_s != 0 ? STR("stopped") : STR("allowed"));
	if (x->stopped_s == 0)
		return;
	struct str why = one_line(watch_words(x->stopped_why, c->lang, &c->arena), &c->arena);
	admin_put_number(row, "stopped", (uint64_t)x->stopped_s);
	admin_put_text(row, "reason", why.n > 0 ? why : str_of(text_get(c->lang, TEXT_ADMIN_SENDING_BY_ADMINISTRATOR)));
}

static void put_figures(json_t *row, const struct sending_facts *f)
{
	admin_put_number(row, "last_hour", f->in[SENDING_HOUR].recipients);
	admin_put_number(row, "last_day", f->in[SENDING_DAY].recipients);
	admin_put_number(row, "strangers", f->in[SENDING_DAY].strangers);
	admin_put_number(row, "refused", f->in[SENDING_DAY].refused);
	admin_put_number(row, "networks", f->in[SENDING_DAY].networks);
}

static enum err list_stopped(struct admin_call *c)
{
	struct directory_account *list;
	size_t n;

	if (admin_is_on(c, "stop") || admin_is_on(c, "allow"))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_SENDING_WHOM, STR(""));
	TRY(account_list(c->directory, STR(""), &c->arena, &list, &n));
	for (size_t i = 0; i < n; i++)
		if (list[i].stopped_s != 0 && list[i].deleted_s == 0)
			put_account(c, admin_row(c), &list[i]);
	return ERR_OK;
}

static enum err ask_cell(struct admin_call *c, uint64_t account, enum store_command_kind kind, struct sending_facts *out)
{
	const struct store_command ask = { .kind = kind };
	struct store_answer answer;

	TRY(c->host->cell(c->host->context, account, &ask, &c->arena, &answer));
	*out = answer.sending;
	return ERR_OK;
}

static enum err stop(struct admin_call *c, const struct directory_account *x)
{
	struct str why = admin_text(c, "reason");

	if (why.n > STOPPED_WHY_MAX || str_has_ctl(why) || str_starts(why, STR("signs:")))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_SENDING_REASON_BAD, STR(""));
	TRY(account_stop_sending(c->directory, x->account, clock_wall_s(), why));
	TRY(admin_publish(c));
	return admin_said(c, TEXT_ADMIN_SENDING_STOPPED, x->address);
}

static enum err allow(struct admin_call *c, const struct directory_account *x)
{
	struct sending_facts f;

	TRY(ask_cell(c, x->account, STORE_COMMAND_FORGIVE, &f));
	TRY(account_stop_sending(c->directory, x->account, 0, STR("")));
	TRY(admin_publish(c));
	return admin_said(c, TEXT_ADMIN_SENDING_ALLOWED, x->address);
}

enum err admin_account_sending(struct admin_call *c)
{
	struct directory_account x;
	struct sending_facts f;
	json_t *row;

	if (admin_text(c, "address").p == NULL)
		return list_stopped(c);
	TRY(admin_living_account(c, admin_text(c, "address"), &x));
	if (admin_is_on(c, "stop") && admin_is_on(c, "allow"))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_SENDING_BOTH, STR(""));
	if (admin_is_on(c, "stop"))
		return stop(c, &x);
	if (admin_is_on(c, "allow"))
		return allow(c, &x);
	TRY(ask_cell(c, x.account, STORE_COMMAND_SENDING, &f));
	row = admin_row(c);
	put_account(c, row, &x);
	put_figures(row, &f);
	return ERR_OK;
}
