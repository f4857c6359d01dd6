/* account mailboxes, account compact, account index, account check, message undelete: what the account's cell is asked (store/command.h). */
#include "admin/admin_private.h"
#include "base/clock.h"

enum err admin_ask_cell(struct admin_call *c, const struct directory_account *x, const struct store_command *ask,
                        struct store_answer *out)
{
	enum err e = c->host->cell(c->host->context, x->account, ask, &c->arena, out);

	if (e == ERR_CONFLICT)
		return admin_refuse(c, e, TEXT_ADMIN_MAILBOX_UNCLEAN, x->address);
	if (e == ERR_UNAVAILABLE || e == ERR_TIMEOUT || e == ERR_AGAIN)
		return admin_refuse(c, e, TEXT_ADMIN_MAILBOX_CLOSED, x->address);
	return e;
}

static struct str role_word(uint8_t role)
{
	static const char *const words[MAILBOX_ROLES] = {
		[MAILBOX_PLAIN] = "", [MAILBOX_INBOX] = "inbox", [MAILBOX_DRAFTS] = "drafts", [MAILBOX_SENT] = "sent",
		[MAILBOX_JUNK] = "junk", [MAILBOX_TRASH] = "trash", [MAILBOX_ARCHIVE] = "archive",
	};
	return str_of(role < MAILBOX_ROLES ? words[role] : "");
}

enum err admin_account_mailboxes(struct admin_call *c)
{
	struct store_command ask = { .kind = STORE_COMMAND_MAILBOXES };
	struct directory_account x;
	struct store_answer answer;

	TRY(admin_account(c, admin_text(c, "address"), &x));
	do {
		TRY(admin_ask_cell(c, &x, &ask, &answer));
		for (size_t i = 0; i < answer.n; i++) {
			json_t *row = admin_row(c);
			admin_put_text(row, "mailbox", answer.mailboxes[i].path);
			admin_put_text(row, "role", role_word(answer.mailboxes[i].role));
			admin_put_number(row, "messages", answer.mailboxes[i].messages);
			admin_put_number(row, "unseen", answer.mailboxes[i].unseen);
			admin_put_number(row, "size", answer.mailboxes[i].size);
		}
		if (answer.next_mailbox != 0 && answer.next_mailbox <= ask.first_mailbox)
			return ERR_INVALID;
		ask.first_mailbox = answer.next_mailbox;
	} while (ask.first_mailbox != 0);
	return ERR_OK;
}

enum err admin_account_compact(struct admin_call *c)
{
	const struct store_command ask = { .kind = STORE_COMMAND_COMPACT };
	struct directory_account x;
	struct store_answer answer;

	TRY(admin_living_account(c, admin_text(c, "address"), &x));
	TRY(admin_ask_cell(c, &x, &ask, &answer));
	return admin_said(c, TEXT_ADMIN_COMPACTING, x.address);
}

enum err admin_account_index(struct admin_call *c)
{
	const struct store_command ask = { .kind = STORE_COMMAND_INDEX, .index_rebuilt = admin_is_on(c, "rebuild") };
	struct directory_account x;
	struct store_answer answer;

	TRY(admin_living_account(c, admin_text(c, "address"), &x));
	TRY(admin_ask_cell(c, &x, &ask, &answer));
	admin_put_number(admin_result(c), "indexed", answer.index.emails);
	admin_put_number(admin_result(c), "unindexed", answer.index.todo);
	admin_put_number(admin_result(c), "size", answer.index.bytes);
	return ask.index_rebuilt ? admin_said(c, TEXT_ADMIN_INDEX_FORGOTTEN, x.address) : ERR_OK;
}

static void put_damaged(struct admin_call *c, const struct damaged_message *m)
{
	json_t *row = admin_row(c);

	admin_put_text(row, "mailbox", m->path);
	admin_put_number(row, "uid", m->uid);
	admin_put_number(row, "received", (uint64_t)m->received);
	admin_put_number(row, "size", m->size);
	admin_put_text(row, "damage", str_of(m->is_unreadable ? "unreadable" : "damaged"));
	admin_put_text(row, "file", arena_printf(&c->arena, "bodies/%06u", m->file));
	admin_put_text(row, "message_id", m->message_id);
}

enum err admin_account_check(struct admin_call *c)
{
	struct store_command ask = { .kind = STORE_COMMAND_CHECK };
	uint64_t checked = 0, damaged = 0;
	struct directory_account x;
	struct store_answer answer;

	TRY(admin_account(c, admin_text(c, "address"), &x));
	do {
		TRY(admin_ask_cell(c, &x, &ask, &answer));
		for (size_t i = 0; i < answer.damage.n; i++)
			put_damaged(c, &answer.damage.messages[i]);
		checked += answer.damage.checked;
		damaged += answer.damage.n;
		if (answer.damage.next != 0 && answer.damage.next <= ask.first_email)
			return ERR_INVALID;
		ask.first_email = answer.damage.next;
		/* whoever waits hears each second that it goes on; without him it ends */
		if (ask.first_email != 0 && !admin_progress(c, checked, answer.quota.messages > checked ? answer.quota.messages : checked))
			return ERR_CLOSED;
	} while (ask.first_email != 0);
	if (damaged == 0)
		return admin_said(c, TEXT_ADMIN_CHECKED_WHOLE, x.address, admin_number_text(c, checked));
	c->has_fault = true;
	return admin_said(c, TEXT_ADMIN_CHECKED_DAMAGED, x.address, admin_number_text(c, checked), admin_number_text(c, damaged));
}

enum err admin_message_undelete(struct admin_call *c)
{
	struct store_command ask = { .kind = STORE_COMMAND_UNDELETE, .path = admin_text(c, "mailbox") };
	struct directory_account x;
	struct store_answer answer;
	uint64_t age;
	enum err e;

	TRY(admin_living_account(c, admin_text(c, "address"), &x));
	if (ask.path.p == NULL)
		ask.path = STR("");
	if (admin_text(c, "since").p != NULL) {
		TRY(admin_age(c, admin_text(c, "since"), &age));
		ask.since = clock_wall_s() - (int64_t)age;
	}
	e = ask.path.n > MAILBOX_PATH_MAX ? ERR_NOTFOUND : admin_ask_cell(c, &x, &ask, &answer);
	if (e == ERR_NOTFOUND)
		return admin_refuse(c, e, TEXT_ADMIN_NO_SUCH_MAILBOX, x.address, ask.path);
	if (e != ERR_OK)
		return e;
	admin_put_number(admin_result(c), "restored", answer.restored);
	return admin_said(c, TEXT_ADMIN_RESTORED, x.address, admin_number_text(c, answer.restored));
}
