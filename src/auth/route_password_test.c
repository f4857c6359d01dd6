#include "base/test.h"
#include "auth/route_password.h"

static enum err run(struct secrets *s, enum route_password_op op, const char *name, const char *password, bool *was_there)
{
	CLEANUP(buf_free) struct buf b = BUF(4096);
	struct route_password_command c = { op, str_of(name), str_of(password) }, out;

	put_route_password_command(&b, &c);
	struct scan in = scan_of(buf_str(&b));
	EXPECT(get_route_password_command(&in, &out));
	return route_password_run(s, &out, was_there);
}

/* Kept as they are, by name, over a restart; changed and forgotten. */
TEST(a_life)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *path = test_dir();
	struct disk_dir *dir;
	struct secrets *s;
	struct str password;
	bool was_there;

	EXPECT_OK(disk_dir_open(path, &dir));
	EXPECT_OK(secrets_open(dir, &s));
	EXPECT_ERR(route_password_find(s, STR("alice@relay.example:587"), &a, &password), ERR_NOTFOUND);
	EXPECT_OK(run(s, ROUTE_PASSWORD_SET, "alice@relay.example:587", "p\xc3\xa4ss word", &was_there));
	EXPECT(!was_there);
	EXPECT_OK(run(s, ROUTE_PASSWORD_SET, "bob@relay.example:587", "other", &was_there));
	secrets_close(s);
	EXPECT_OK(secrets_open(dir, &s));
	EXPECT_OK(route_password_find(s, STR("alice@relay.example:587"), &a, &password));
	EXPECT_STR(password, "p\xc3\xa4ss word");
	EXPECT_OK(run(s, ROUTE_PASSWORD_SET, "alice@relay.example:587", "new", &was_there));
	EXPECT(was_there);
	EXPECT_OK(route_password_find(s, STR("alice@relay.example:587"), &a, &password));
	EXPECT_STR(password, "new");
	EXPECT_ERR(run(s, ROUTE_PASSWORD_SET, "alice@relay.example:587", "", &was_there), ERR_INVALID);
	EXPECT_OK(run(s, ROUTE_PASSWORD_FORGET, "alice@relay.example:587", "", &was_there));
	EXPECT_OK(run(s, ROUTE_PASSWORD_HAS, "alice@relay.example:587", "", &was_there));
	EXPECT(!was_there);
	EXPECT_OK(run(s, ROUTE_PASSWORD_HAS, "bob@relay.example:587", "", &was_there));
	EXPECT(was_there);
	secrets_close(s);
	disk_dir_close(&dir);
	test_dir_remove(path);
}

TEST(malformed)
{
	static const struct str cases[] = { { "", 0 }, { "\1", 1 }, { "\1\0\0\0\0\0\0\0\0", 9 }, { "\4\1\0\0\0a\0\0\0\0", 10 },
	                                    { "\1\1\0\0\0a\0\0\0\0x", 11 } };
	struct route_password_command c;

	EACH(cases, in) {
		struct scan s = scan_of(*in);
		EXPECT(!get_route_password_command(&s, &c));
	}
}
