/* alice and bob. Their passwords are random and stay in DIR/accounts.txt (only for its owner), one line an account:
 * address, space, password. The file is written last: where it is missing the accounts get new passwords, and no
 * password is ever lost between making an account and noting it. */
#include "admin/wire.h"
#include "base/bytes.h"
#include "cli/demo.h"
#include "cli/request.h"
#include "cli/setup.h"
#include "disk/disk.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FILE_MAX = 64 << 10 };

static const char *const names[DEMO_ACCOUNTS] = { "alice", "bob" };
static const char *const full_names[DEMO_ACCOUNTS] = { "Alice Exemple", "Bob Exemple" };

/* "k7mpq-x3rst-9fwqa": 74 bits, and still readable over the telephone. */
static struct str make_password(struct arena *a)
{
	return arena_printf(a, "%s-%s-%s", random_word(a, 5).p, random_word(a, 5).p, random_word(a, 5).p);
}

static bool read_file(struct demo *d, struct disk_dir *dir)
{
	struct str text, line, address, password;
	size_t found = 0;

	if (disk_read_file(dir, "accounts.txt", FILE_MAX, &d->cli->arena, &text) != ERR_OK)
		return false;
	while (text.n) {
		str_cut(text, '\n', &line, &text);
		str_cut(line, ' ', &address, &password);
		for (size_t i = 0; i < DEMO_ACCOUNTS; i++) {
			if (!str_eq(address, d->accounts[i].address) || password.n == 0)
				continue;
			d->accounts[i].password = password;
			found++;
		}
	}
	return found == DEMO_ACCOUNTS;
}

static bool write_file(struct demo *d, struct disk_dir *dir)
{
	CLEANUP(buf_free) struct buf b = BUF(FILE_MAX);

	for (size_t i = 0; i < DEMO_ACCOUNTS; i++)
		buf_printf(&b, STR_FMT " " STR_FMT "\n", STR_ARG(d->accounts[i].address), STR_ARG(d->accounts[i].password));
	return disk_write_file(dir, "accounts.txt", buf_str(&b)) == ERR_OK;
}

/* Makes the account, or gives a new password to the one that is there. */
static bool make_account(struct demo *d, size_t i, bool *is_new)
{
	CLEANUP(answer_free) struct answer answer = { 0 };
	const struct demo_account *x = &d->accounts[i];
	enum admin_command command;
	CLEANUP(admin_json_free) json_t *args = json_pack("{s:s#,s:s#,s:s,s:s}", "address", x->address.p, (int)x->address.n,
	                                                  "password", x->password.p, (int)x->password.n, "name",
	                                                  full_names[i], "lang", lang_code(d->cli->lang));

	if (!admin_command_named(STR("account add"), &command) || !request_ask(d->cli, command, args, &answer))
		return false;
	*is_new = answer_is_ok(&answer);
	return *is_new || setup_request(d->cli, "account password", "address", x->address, "password", x->password);
}

/* Through `facteur sendmail`, the way every program of this machine sends. */
static bool send_welcome(struct demo *d, size_t i)
{
	struct str address = d->accounts[i].address;
	struct str text = text_fmt(&d->cli->arena, d->cli->lang, TEXT_DEMO_WELCOME, str_of(full_names[i]), address);
	int ends[2], status = 1;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return false;
	pid_t pid = fork();
	if (pid == 0) {
		dup2(ends[0], STDIN_FILENO);
		execl("/proc/self/exe", "facteur", "-d", d->cli->dir, "sendmail", "-f", "postmaster@" DEMO_DOMAIN, address.p,
		      (char *)NULL);
		_exit(127);
	}
	close(ends[0]);
	bool is_written = pid > 0 && write(ends[1], text.p, text.n) == (ssize_t)text.n;
	close(ends[1]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			break;
	return is_written && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool make_accounts(struct demo *d)
{
	for (size_t i = 0; i < DEMO_ACCOUNTS; i++) {
		bool is_new;
		d->accounts[i].password = make_password(&d->cli->arena);
		if (!make_account(d, i, &is_new))
			return false;
		if (is_new && !send_welcome(d, i))
			warn(d->cli, TEXT_DEMO_NO_WELCOME, d->accounts[i].address);
	}
	return true;
}

bool demo_accounts(struct demo *d)
{
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;

	for (size_t i = 0; i < DEMO_ACCOUNTS; i++)
		d->accounts[i].address = arena_printf(&d->cli->arena, "%s@%s", names[i], DEMO_DOMAIN);
	if (disk_dir_open(d->cli->dir, &dir) != ERR_OK)
		return false;
	return read_file(d, dir) || (make_accounts(d) && write_file(d, dir));
}
