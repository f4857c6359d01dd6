/* From argv to the answer.
 *
 * The usage line of commands.def decides what the words mean, so that a new command needs nothing here. With a server
 * running its control does the work; without one this process does, under DIR/lock. Between "no socket" and "lock
 * taken" a server may be just starting or stopping: both are tried in turn for a few seconds. */
#include "cli/request.h"
#include "admin/offline.h"
#include "admin/wire.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cli/ask.h"
#include "cli/flags.h"
#include "cli/progress.h"
#include "cli/render.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { PATIENCE_MS = 8000, PAUSE_US = 100000, ANSWER_TIMEOUT_MS = 600000, SEND_TIMEOUT_MS = 30000 };

void answer_free(struct answer *a)
{
	json_decref(a->rows);
	json_decref(a->last);
	*a = (struct answer){ 0 };
}

bool answer_is_ok(const struct answer *a) { return a->last && json_is_true(json_object_get(a->last, "ok")); }

bool request_has_data(const struct cli *c)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/control/directory.db", c->dir);
	/* a folder that this user may not look into is there, too */
	return access(path, F_OK) == 0 || errno == EACCES;
}

/* ---- argv -> args ---- */

static json_t *text_value(struct str s) { return json_stringn_nocheck(s.p ? s.p : "", s.n); }

static void put_value(json_t *args, const struct admin_argument *a, struct str value)
{
	if (!a->is_many) {
		json_object_set_new(args, a->key, text_value(value));
		return;
	}
	json_t *list = json_object_get(args, a->key);
	if (list == NULL) {
		list = json_array();
		json_object_set_new(args, a->key, list);
	}
	json_array_append_new(list, text_value(value));
}

/* Does the command make a password by itself where none is given? Not that of somebody else's server (`route add`). */
static bool may_generate(const struct admin_argument *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i].key, "generate") == 0)
			return true;
	return false;
}

static bool put_secret(struct cli *c, json_t *args, const struct admin_argument *a, bool may_be_random)
{
	struct str secret;
	bool is_asked = ask_is_possible();

	if (is_asked ? !ask_password(c, may_be_random, &secret) : !ask_secret_line(c, &secret))
		return false;
	if (is_asked && secret.n == 0)
		json_object_set_new(args, "generate", json_true());
	else
		put_value(args, a, secret);
	return true;
}

/* The text of a file; -: of standard input. */
static bool read_text(struct cli *c, struct str name, struct buf *out)
{
	CLEANUP(fd_close) int opened = str_eq(name, STR("-")) ? -1 : open(str_cstr(&c->arena, name), O_RDONLY | O_CLOEXEC);
	int fd = str_eq(name, STR("-")) ? STDIN_FILENO : opened;
	char room[4096];
	ssize_t n = fd < 0 ? -1 : 0;

	while (fd >= 0 && (n = read(fd, room, sizeof room)) > 0 && !out->failed)
		buf_add_bytes(out, room, (size_t)n);
	if (n < 0)
		complain(c, TEXT_CLI_FILE_UNREADABLE, name, str_of(strerror(errno)));
	return n >= 0;
}

static bool put_file(struct cli *c, json_t *args, const struct admin_argument *a, struct str name)
{
	CLEANUP(buf_free) struct buf text = BUF(ADMIN_FILE_MAX);

	if (!read_text(c, name, &text))
		return false;
	if (text.failed || !utf8_valid(buf_str(&text)) || str_chr(buf_str(&text), '\0') >= 0) {
		complain(c, TEXT_CLI_FILE_LONG, name);
		return false;
	}
	put_value(args, a, buf_str(&text));
	return true;
}

static const struct admin_argument *option_find(const struct admin_argument *list, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].is_option && str_eq(name, str_of(list[i].name)))
			return &list[i];
	return NULL;
}

static void unknown_option(struct cli *c, enum admin_command command, const struct admin_argument *list, size_t n,
                           struct str name)
{
	const char *names[ADMIN_ARGUMENTS_MAX];
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		if (list[i].is_option)
			names[count++] = list[i].name + 2;
	const char *near = word_nearest(str_from(name, 2), names, count);
	if (near)
		complain(c, TEXT_CLI_UNKNOWN_FLAG_NEAR, str_from(name, 2), str_of(near));
	else
		complain(c, TEXT_CLI_UNKNOWN_FLAG, str_from(name, 2), str_of(admin_command_row(command)->words));
}

/* One "--option [VALUE]" at words[*at]. */
static bool take_option(struct cli *c, enum admin_command command, const struct admin_argument *list, size_t count,
                        json_t *args, const struct str *words, size_t n, size_t *at)
{
	struct str name, value;
	bool has_value = str_cut(words[*at], '=', &name, &value);
	const struct admin_argument *a = option_find(list, count, name);

	if (a == NULL) {
		unknown_option(c, command, list, count, name);
		return false;
	}
	if (has_value && a->kind != ADMIN_TEXT && a->kind != ADMIN_FILE) {
		complain(c, TEXT_CLI_FLAG_IS_SWITCH, str_from(name, 2));
		return false;
	}
	if (a->kind == ADMIN_SWITCH) {
		json_object_set_new(args, a->key, json_true());
		return true;
	}
	if (a->kind == ADMIN_SECRET)
		return put_secret(c, args, a, may_generate(list, count));
	if (!has_value && *at + 1 == n) {
		complain(c, TEXT_CLI_FLAG_NEEDS_VALUE, str_from(name, 2));
		return false;
	}
	value = has_value ? value : words[++*at];
	if (a->kind == ADMIN_FILE)
		return put_file(c, args, a, value);
	put_value(args, a, value);
	return true;
}

static const struct admin_argument *positional(const struct admin_argument *list, size_t n, size_t which)
{
	for (size_t i = 0; i < n; i++) {
		if (list[i].is_option)
			continue;
		if (which == 0 || list[i].is_many)
			return &list[i];
		which--;
	}
	return NULL;
}

bool request_expects(enum admin_command command, const struct str *words, size_t n, struct admin_argument *out)
{
	struct admin_argument list[ADMIN_ARGUMENTS_MAX];
	size_t count = admin_usage(command, list), positionals = 0;
	const struct admin_argument *a;

	for (size_t i = 0; i < n; i++) {
		a = option_find(list, count, words[i]);
		if (a != NULL && a->kind == ADMIN_TEXT && ++i == n) {
			*out = *a;
			return true;
		}
		positionals += a == NULL && !str_starts(words[i], STR("--"));
	}
	a = positional(list, count, positionals);
	if (a != NULL)
		*out = *a;
	return a != NULL;
}

static bool check_complete(struct cli *c, enum admin_command command, const struct admin_argument *list, size_t n,
                           json_t *args)
{
	const struct admin_command_row *row = admin_command_row(command);

	for (size_t i = 0; i < n; i++) {
		if (list[i].is_optional || list[i].is_option || json_object_get(args, list[i].key))
			continue;
		complain(c, TEXT_CLI_MISSING_WORD, str_of(list[i].name), str_of(list[i].meaning[c->lang]),
		         arena_printf(&c->arena, "%s %s", row->words, row->usage));
		return false;
	}
	return true;
}

/* A command that takes a password in one of several ways, and was told none: on a terminal it is asked for. */
static bool ask_missing_secret(struct cli *c, const struct admin_argument *list, size_t n, json_t *args)
{
	const struct admin_argument *secret = NULL;

	for (size_t i = 0; i < n; i++) {
		if (list[i].kind == ADMIN_SECRET)
			secret = &list[i];
		else if (json_object_get(args, list[i].key) &&
		         (strcmp(list[i].key, "generate") == 0 || strcmp(list[i].key, "hash") == 0 ||
		          strcmp(list[i].key, "remove") == 0))
			return true;
	}
	if (secret == NULL || !may_generate(list, n) || json_object_get(args, secret->key) || json_object_get(args, "generate") || !ask_is_possible())
		return true;
	return put_secret(c, args, secret, true);
}

json_t *request_arguments(struct cli *c, enum admin_command command, const struct str *words, size_t n)
{
	struct admin_argument list[ADMIN_ARGUMENTS_MAX];
	size_t count = admin_usage(command, list), given = 0;
	json_t *args = json_object();
	bool are_over = false;

	for (size_t i = 0; i < n; i++) {
		if (!are_over && str_eq(words[i], STR("--"))) {
			are_over = true;
			continue;
		}
		if (!are_over && str_starts(words[i], STR("--"))) {
			if (!take_option(c, command, list, count, args, words, n, &i))
				goto bad;
			continue;
		}
		const struct admin_argument *a = positional(list, count, given++);
		if (a == NULL) {
			complain(c, TEXT_CLI_TOO_MANY_WORDS, words[i], str_of(admin_command_row(command)->words));
			goto bad;
		}
		put_value(args, a, words[i]);
	}
	if (check_complete(c, command, list, count, args) && ask_missing_secret(c, list, count, args))
		return args;
bad:
	json_decref(args);
	return NULL;
}

/* ---- the exchange ---- */

struct exchange {
	struct cli     *cli;
	struct answer  *answer;
	struct progress progress;
};

/* One message of the answer; false: malformed. */
static bool on_message(struct exchange *x, struct str message)
{
	CLEANUP(admin_json_free) json_t *m = admin_json_read(message);
	json_t *progress = json_object_get(m, "progress"), *rows = json_object_get(m, "rows");

	if (m == NULL)
		return false;
	if (progress)
		progress_show(&x->progress, (uint64_t)json_integer_value(json_object_get(progress, "done")),
		              (uint64_t)json_integer_value(json_object_get(progress, "total")));
	if (rows) {
		if (x->answer->rows == NULL)
			x->answer->rows = json_array();
		json_array_extend(x->answer->rows, rows);
	}
	if (json_object_get(m, "ok") && x->answer->last == NULL)
		x->answer->last = json_incref(m);
	return true;
}

static bool on_offline_message(void *context, struct str message) { return on_message(context, message); }

static enum err ask_server(struct exchange *x, int fd, struct str request, int timeout_ms)
{
	CLEANUP(buf_free) struct buf b = BUF(ADMIN_REPLY_MAX);
	enum err e = admin_send(fd, request, SEND_TIMEOUT_MS);

	while (e == ERR_OK && x->answer->last == NULL) {
		e = admin_receive(fd, &b, timeout_ms);
		if (e == ERR_OK && !on_message(x, buf_str(&b)))
			e = ERR_INVALID;
	}
	return e;
}

static enum err ask_offline(struct exchange *x, struct str request)
{
	struct admin_offline *o = NULL;

	TRY(admin_offline_open(x->cli->dir, &o));
	admin_run(admin_offline_host(o), request, on_offline_message, x);
	admin_offline_close(o);
	return ERR_OK;
}

static bool say_why(struct cli *c, enum err e, bool was_sent)
{
	struct str dir = str_of(c->dir), why = str_of(err_name(e));

	if (e == ERR_DENIED)
		complain(c, TEXT_CLI_NOT_ALLOWED, dir);
	else if (was_sent)
		complain(c, TEXT_CLI_LOST, why);
	else if (e == ERR_AGAIN)
		complain(c, TEXT_CLI_BUSY, dir);
	else
		complain(c, TEXT_CLI_FAILED_TO_OPEN, dir, why);
	return false;
}

static bool exchange(struct exchange *x, struct str request)
{
	int64_t until = clock_mono_ms() + PATIENCE_MS;
	enum err e;

	for (;;) {
		CLEANUP(fd_close) int fd = -1;
		e = admin_connect(x->cli->dir, &fd);
		if (e == ERR_OK) {
			e = ask_server(x, fd, request, ANSWER_TIMEOUT_MS);
			return e == ERR_OK || say_why(x->cli, e, true);
		}
		if (e == ERR_NOTFOUND || e == ERR_CLOSED)
			e = ask_offline(x, request);
		if (e != ERR_AGAIN || clock_mono_ms() > until)
			break;
		usleep(PAUSE_US);
	}
	return e == ERR_OK || say_why(x->cli, e, false);
}

static void put_request(struct buf *b, const struct cli *c, enum admin_command command, json_t *args)
{
	CLEANUP(admin_json_free) json_t *request = json_object();

	json_object_set_new(request, "command", json_string(admin_command_row(command)->words));
	json_object_set(request, "args", args);
	json_object_set_new(request, "lang", json_string(lang_code(c->lang)));
	admin_json_write(b, request);
}

bool request_ask_server(struct cli *c, enum admin_command command, int timeout_ms, struct answer *out)
{
	CLEANUP(buf_free) struct buf b = BUF(ADMIN_REQUEST_MAX);
	CLEANUP(admin_json_free) json_t *args = json_object();
	CLEANUP(fd_close) int fd = -1;
	struct exchange x = { .cli = c, .answer = out };

	put_request(&b, c, command, args);
	return admin_connect(c->dir, &fd) == ERR_OK && ask_server(&x, fd, buf_str(&b), timeout_ms) == ERR_OK;
}

bool request_ask(struct cli *c, enum admin_command command, json_t *args, struct answer *out)
{
	CLEANUP(buf_free) struct buf b = BUF(ADMIN_REQUEST_MAX);
	struct exchange x = { .cli = c, .answer = out };

	put_request(&b, c, command, args);
	bool is_answered = exchange(&x, buf_str(&b));
	progress_end(&x.progress);
	if (b.p)
		mem_wipe(b.p, b.n);
	return is_answered;
}

int request_run(struct cli *c, enum admin_command command, const struct str *words, size_t n)
{
	CLEANUP(answer_free) struct answer answer = { 0 };
	CLEANUP(admin_json_free) json_t *args = request_arguments(c, command, words, n);

	if (args == NULL)
		return EXIT_USAGE;
	if (!request_has_data(c)) {
		complain(c, TEXT_CLI_NO_DATA, str_of(c->dir));
		return EXIT_FAILED;
	}
	if (!request_ask(c, command, args, &answer))
		return EXIT_FAILED;
	return render_answer(c, command, &answer);
}
