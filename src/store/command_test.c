#include "base/test.h"
#include "store/command.h"

static void ask(struct view *v, const struct store_command *c, struct arena *a, struct store_answer *out)
{
	CLEANUP(buf_free) struct buf request = BUF(60000), reply = BUF(60000);

	store_command_encode(c, &request);
	EXPECT_OK(store_command_serve(v, buf_str(&request), &reply));
	EXPECT(!reply.failed);
	EXPECT_OK(store_answer_decode(str_copy(a, buf_str(&reply)), a, out));
}

TEST(mailboxes_in_pieces)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view_config config = { .account = 1 };
	struct store_command list = { .kind = STORE_COMMAND_MAILBOXES };
	struct store_answer answer;
	struct view *v;
	size_t seen = 0, answers = 0;
	char name[900];

	EXPECT_OK(view_open(dir, &config, &v));
	for (int i = 0; i < 100; i++) {
		memset(name, 'x', sizeof name);
		snprintf(name + 800, 90, "%d", i);
		EXPECT_OK(view_mailbox_create(v, str_of(name), MAILBOX_PLAIN, &a, NULL));
	}
	do {
		ask(v, &list, &a, &answer);
		seen += answer.n;
		answers++;
		list.first_mailbox = answer.next_mailbox;
	} while (answer.next_mailbox != 0);
	EXPECT_INT(seen, 106);
	EXPECT_INT(answers, 2);
	view_close(v);
	test_dir_remove(dir);
}

TEST(limits_undelete_and_nonsense)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf reply = BUF(60000);
	const char *dir = test_dir();
	struct view_config config = { .account = 1 };
	struct store_command limits = { .kind = STORE_COMMAND_LIMITS, .limits = { .quota_bytes = 12345, .message_size_max = 99, .messages_max = 7, .mailboxes_max = 8, .disk_reserve = 9 } };
	struct store_command index = { .kind = STORE_COMMAND_INDEX, .index_rebuilt = true };
	struct store_command check = { .kind = STORE_COMMAND_CHECK };
	struct store_command undelete = { .kind = STORE_COMMAND_UNDELETE, .since = 0 };
	struct store_answer answer;
	struct view *v;

	EXPECT_OK(view_open(dir, &config, &v));
	ask(v, &limits, &a, &answer);
	EXPECT_INT(answer.quota.limit_bytes, 12345);
	EXPECT_INT(view_message_size_max(v), 99);
	ask(v, &undelete, &a, &answer);
	EXPECT_INT(answer.restored, 0);
	ask(v, &index, &a, &answer);
	EXPECT_INT(answer.index.emails + answer.index.todo + answer.index.bytes, 0);
	ask(v, &check, &a, &answer);
	EXPECT_INT(answer.damage.checked + answer.damage.n + answer.damage.next, 0);
	EXPECT_ERR(store_command_serve(v, STR("\x7f"), &reply), ERR_INVALID);
	EXPECT_ERR(store_command_serve(v, STR("\x09"), &reply), ERR_INVALID);
	EXPECT_ERR(store_command_serve(v, STR("\x01"), &reply), ERR_INVALID);
	EXPECT_ERR(store_command_serve(v, STR(""), &reply), ERR_INVALID);
	view_close(v);
	test_dir_remove(dir);
}
