/* Any bytes as commands of a logged-in client, in two halves; a small account is made once. */
#include "base/test.h"
#include "pop3/engine.h"
#include "store/view.h"
#include "submit/account.h"
#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void add(struct view *v, struct arena *a, struct str text)
{
	struct append *ap;
	struct appended *got;
	struct mailbox inbox;
	size_t count;
	bool ok = view_mailbox_by_role(v, MAILBOX_INBOX, a, &inbox) == ERR_OK && append_begin(v, &ap) == ERR_OK &&
	          append_message(ap, &(struct append_new){ inbox.mailbox_id, 1700000000, 0 }, text.n) == ERR_OK &&
	          append_write(ap, text) == ERR_OK && append_end(ap) == ERR_OK && append_commit(&ap, a, &got, &count) == ERR_OK;

	assert(ok);
}

static struct account account;
static const char *folder;

static void remove_account(void)
{
	view_close(account.view);
	test_dir_remove(folder);
}

static struct account *make_account(void)
{
	struct arena a = { 0 };

	if (account.view != NULL)
		return &account;
	folder = test_dir();
	if (view_open(folder, &(struct view_config){ .account = 1 }, &account.view) != ERR_OK)
		abort();
	atexit(remove_account);
	for (int i = 0; i < 5; i++)
		add(account.view, &a, STR("Subject: x\r\n\r\n.\r\n..\r\nlast"));
	arena_free(&a);
	return &account;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct session_open info = { .protocol = PROTOCOL_POP3 };
	struct account *of_all = make_account();
	struct buf out = BUF(64 << 20);
	struct session *s = session_for_test(&info, str_make(data, n / 2), &out);
	void *state = pop3_engine.open(s, of_all);

	assert(state != NULL);
	if (pop3_engine.input(state) == SESSION_WAIT) {
		session_test_input(s, str_make(data + n / 2, n - n / 2));
		pop3_engine.input(state);
	}
	pop3_engine.close(state);
	session_test_free(s);
	buf_free(&out);
	return 0;
}
