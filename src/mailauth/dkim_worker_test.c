/* Keys of a domain from the first to the last, and who signs meanwhile. */
#include "base/test.h"
#include "mailauth/dkim_worker.h"
#include <poll.h>

struct fixture {
	const char         *folder;
	struct disk_dir    *dir;
	struct secrets     *secrets;
	struct dkim_worker *worker;
	struct arena        arena;
	/* the last answer */
	int                 answers;
	enum err            status;
	struct dkim_keys    keys;
	struct str          prefix;
};

static void open_all(struct fixture *f, bool has_thread)
{
	EXPECT_OK(disk_dir_open(f->folder, &f->dir));
	EXPECT_OK(secrets_open(f->dir, &f->secrets));
	f->worker = dkim_worker_new(f->secrets, has_thread);
}

static void close_all(struct fixture *f)
{
	dkim_worker_free(f->worker);
	secrets_close(f->secrets);
	disk_dir_close(&f->dir);
}

static void begin(struct fixture *f, bool has_thread)
{
	*f = (struct fixture){ .folder = test_dir() };
	open_all(f, has_thread);
}

static void end(struct fixture *f)
{
	close_all(f);
	arena_free(&f->arena);
	test_dir_remove(f->folder);
}

static void on_keys(void *context, enum err status, const struct dkim_keys *keys)
{
	struct fixture *f = context;
	CLEANUP(buf_free) struct buf b = BUF(60000);
	struct scan s;

	put_dkim_keys(&b, keys);
	s = scan_of(str_copy(&f->arena, buf_str(&b)));
	EXPECT(get_dkim_keys(&s, &f->arena, &f->keys));
	f->status = status;
	f->answers++;
}

static void on_signed(void *context, enum err status, struct str prefix)
{
	struct fixture *f = context;

	f->status = status;
	f->prefix = str_copy(&f->arena, prefix);
	f->answers++;
}

static void wait_answers(struct fixture *f, int n)
{
	while (f->answers < n) {
		struct pollfd p = { .fd = dkim_worker_fd(f->worker), .events = POLLIN };

		poll(&p, 1, 10);
		dkim_worker_receive(f->worker);
	}
	f->answers = 0;
}

static enum err command(struct fixture *f, enum dkim_op op, const char *domain, struct str selector)
{
	dkim_worker_command(f->worker, &(struct dkim_command){ op, str_of(domain), selector }, on_keys, f);
	wait_answers(f, 1);
	return f->status;
}

static void ask_signature(struct fixture *f, const char *author, const char *sender)
{
	struct dkim_request r = { .author = str_of(author), .sender = str_of(sender), .names = STR("from:from"), .header = STR("from:x\r\n") };

	dkim_worker_sign(f->worker, &r, on_signed, f);
}

static enum err sign(struct fixture *f, const char *author, const char *sender)
{
	ask_signature(f, author, sender);
	wait_answers(f, 1);
	return f->status;
}

static bool has_signature(struct fixture *f, struct str selector)
{
	return str_find(f->prefix, arena_printf(&f->arena, "s=" STR_FMT ";", STR_ARG(selector))) >= 0;
}

static struct str selector_of(struct fixture *f, enum dkim_algorithm algorithm, enum dkim_state state)
{
	for (size_t i = 0; i < f->keys.count; i++)
		if (f->keys.list[i].algorithm == algorithm && f->keys.list[i].state == state)
			return f->keys.list[i].selector;
	return STR("");
}

TEST(first_keys_sign_at_once)
{
	struct fixture f;

	begin(&f, true);
	EXPECT_ERR(sign(&f, "example.org", ""), ERR_NOTFOUND);
	EXPECT_OK(command(&f, DKIM_MAKE, "example.org", STR("")));
	EXPECT_INT(f.keys.count, 2);
	EXPECT_INT(f.keys.list[0].algorithm, DKIM_RSA);
	EXPECT_INT(f.keys.list[0].public_key.n, 294);  /* SubjectPublicKeyInfo of 2048 bits */
	EXPECT_INT(f.keys.list[1].public_key.n, 32);
	struct str rsa = f.keys.list[0].selector;

	EXPECT_OK(sign(&f, "example.org", ""));
	EXPECT(has_signature(&f, f.keys.list[0].selector) && has_signature(&f, f.keys.list[1].selector));
	EXPECT_OK(sign(&f, "elsewhere.example", "example.org"));  /* an author elsewhere, sent by one of ours */
	EXPECT(str_find(f.prefix, STR("d=example.org;")) > 0);
	EXPECT_OK(command(&f, DKIM_MAKE, "example.org", STR("")));  /* again: nothing changes */
	EXPECT_INT(f.keys.count, 2);
	EXPECT(str_eq(f.keys.list[0].selector, rsa));
	EXPECT_OK(command(&f, DKIM_FORGET, "example.org", STR("")));
	EXPECT_INT(f.keys.count, 0);
	EXPECT_ERR(sign(&f, "example.org", ""), ERR_NOTFOUND);
	end(&f);
}

TEST(rotation)
{
	struct fixture f;
	struct str old_rsa, new_rsa, old_ed, new_ed;

	begin(&f, true);
	EXPECT_OK(command(&f, DKIM_MAKE, "example.org", STR("")));
	old_rsa = selector_of(&f, DKIM_RSA, DKIM_SIGNS);
	old_ed = selector_of(&f, DKIM_ED25519, DKIM_SIGNS);
	EXPECT_OK(command(&f, DKIM_ROTATE, "example.org", STR("")));
	new_rsa = selector_of(&f, DKIM_RSA, DKIM_WAITS);
	new_ed = selector_of(&f, DKIM_ED25519, DKIM_WAITS);
	EXPECT(f.keys.count == 4 && new_rsa.n > 0 && !str_eq(new_rsa, old_rsa));
	EXPECT_ERR(command(&f, DKIM_ROTATE, "example.org", STR("")), ERR_EXISTS);
	EXPECT_OK(sign(&f, "example.org", ""));
	EXPECT(has_signature(&f, old_rsa) && !has_signature(&f, new_rsa));

	EXPECT_ERR(command(&f, DKIM_ACTIVATE, "example.org", old_rsa), ERR_NOTFOUND);  /* it does not wait */
	EXPECT_ERR(command(&f, DKIM_ACTIVATE, "example.net", new_rsa), ERR_NOTFOUND);
	EXPECT_OK(command(&f, DKIM_ACTIVATE, "example.org", new_rsa));
	EXPECT(str_eq(selector_of(&f, DKIM_RSA, DKIM_SIGNS), new_rsa));
	EXPECT(str_eq(selector_of(&f, DKIM_RSA, DKIM_RETIRED), old_rsa));
	EXPECT_OK(sign(&f, "example.org", ""));
	EXPECT(has_signature(&f, new_rsa) && !has_signature(&f, old_rsa) && has_signature(&f, old_ed));
	dkim_worker_command(f.worker, &(struct dkim_command){ .op = DKIM_WAITING }, on_keys, &f);
	wait_answers(&f, 1);
	EXPECT(f.keys.count == 1 && str_eq(f.keys.list[0].selector, new_ed) && str_eq(f.keys.list[0].domain, STR("example.org")));

	close_all(&f);  /* what was decided is there after a restart */
	open_all(&f, false);
	EXPECT_OK(sign(&f, "example.org", ""));
	EXPECT(has_signature(&f, new_rsa) && has_signature(&f, old_ed));
	EXPECT_OK(command(&f, DKIM_ACTIVATE, "example.org", new_ed));
	EXPECT_OK(sign(&f, "example.org", ""));
	EXPECT(has_signature(&f, new_rsa) && has_signature(&f, new_ed));
	end(&f);
}

/* A domain without keys has nothing that could go on signing: what rotation makes signs at once. */
TEST(rotation_without_keys)
{
	struct fixture f;

	begin(&f, false);
	EXPECT_OK(command(&f, DKIM_ROTATE, "example.org", STR("")));
	EXPECT_INT(f.keys.count, 2);
	EXPECT_INT(f.keys.list[0].state, DKIM_SIGNS);
	end(&f);
}

/* Two administrators at once: the domain has one key of each kind all the same. */
TEST(made_twice_at_once)
{
	struct fixture f;
	struct dkim_command c = { .op = DKIM_MAKE, .domain = STR("example.org") };

	begin(&f, true);
	dkim_worker_command(f.worker, &c, on_keys, &f);
	dkim_worker_command(f.worker, &c, on_keys, &f);
	wait_answers(&f, 2);
	EXPECT_INT(f.keys.count, 2);
	end(&f);
}

TEST(too_many_wait)
{
	struct fixture f;

	begin(&f, true);
	EXPECT_OK(command(&f, DKIM_MAKE, "example.org", STR("")));
	for (int i = 0; i < DKIM_PENDING_MAX; i++)
		ask_signature(&f, "example.org", "");
	EXPECT_INT(f.answers, 0);
	ask_signature(&f, "example.org", "");
	EXPECT_INT(f.answers, 1);
	EXPECT_ERR(f.status, ERR_LIMIT);
	wait_answers(&f, 1 + DKIM_PENDING_MAX);
	EXPECT_OK(f.status);
	end(&f);
}
