/* facteur setup: a mail server in a folder, in one command, again and again without harm.
 *
 * What it makes, in this order: the folder and facteur.conf; the system users, when root, and their files theirs; the domain in the directory
 * (the same request `facteur domain add` sends, so a server may be running); a certificate (setup_certificate.c); the
 * first mailbox, if one is wished. */
#include "cli/setup.h"
#include "admin/wire.h"
#include "cli/ask.h"
#include "cli/flags.h"
#include "cli/owners.h"
#include "cli/request.h"
#include "conf/conf.h"
#include "directory/address.h"
#include "disk/disk.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONF_FILE_MAX = 64 << 10, COMMENT_WIDTH = 110 };

/* ---- folder, facteur.conf ---- */

static bool make_folder(struct cli *c, const char *path)
{
	char partial[PATH_MAX];

	/* each missing one on the way, too */
	for (const char *slash = path; (slash = strchr(slash + 1, '/')) != NULL;) {
		snprintf(partial, sizeof(partial), "%.*s", (int)(slash - path), path);
		mkdir(partial, 0755);
	}
	if (mkdir(path, 0711) == 0) {
		chmod(path, 0711);  /* whatever the umask: the roles' users pass through */
		return true;
	}
	if (errno == EEXIST && access(path, W_OK | X_OK) == 0)
		return true;
	complain(c, TEXT_SETUP_NO_FOLDER, str_of(path), str_of(strerror(errno == EEXIST ? EACCES : errno)));
	return false;
}

/* In lines of a width that people read. */
static void put_comment(struct buf *b, struct str text)
{
	while (text.n > COMMENT_WIDTH) {
		ptrdiff_t space = str_rchr(str_sub(text, 0, COMMENT_WIDTH), ' ');
		size_t n = space > 0 ? (size_t)space : COMMENT_WIDTH;
		buf_printf(b, "# " STR_FMT "\n", STR_ARG(str_sub(text, 0, n)));
		text = str_from(text, space > 0 ? n + 1 : n);
	}
	buf_printf(b, "# " STR_FMT "\n", STR_ARG(text));
}

/* A commented line for each setting that belongs into the file. */
static void put_conf(struct cli *c, const struct setup *s, struct buf *b)
{
	put_comment(b, str_of(text_get(c->lang, TEXT_SETUP_CONF_HEAD)));
	for (int i = 0; i < SETTING_COUNT; i++) {
		const struct setting_row *row = setting_row((enum setting)i);
		if (row->scope != SCOPE_FILE)
			continue;
		buf_add_char(b, '\n');
		put_comment(b, str_of(c->lang == LANG_FR ? row->meaning_fr : row->meaning_en));
		if (i == SETTING_bind && s->bind.n)
			buf_printf(b, "bind = " STR_FMT "\n", STR_ARG(s->bind));
		else
			buf_printf(b, "#%s = %s\n", row->name, row->fallback);
	}
}

/* The file that is there, with another line for bind. */
static void put_changed_conf(const struct setup *s, struct str text, struct buf *b)
{
	struct str line, name, value;
	bool is_put = false;

	while (text.n) {
		str_cut(text, '\n', &line, &text);
		if (str_cut(line, '=', &name, &value) && str_eq(str_trim(name), STR("bind"))) {
			is_put = true;
			buf_printf(b, "bind = " STR_FMT "\n", STR_ARG(s->bind));
		} else {
			buf_printf(b, STR_FMT "\n", STR_ARG(line));
		}
	}
	if (!is_put)
		buf_printf(b, "bind = " STR_FMT "\n", STR_ARG(s->bind));
}

static bool write_conf(struct cli *c, const struct setup *s)
{
	CLEANUP(disk_dir_close) struct disk_dir *d = NULL;
	CLEANUP(buf_free) struct buf b = BUF(CONF_FILE_MAX);
	struct str path = arena_printf(&c->arena, "%s/facteur.conf", c->dir), text;
	enum err e = disk_dir_open(c->dir, &d);

	if (e == ERR_OK)
		e = disk_read_file(d, "facteur.conf", CONF_FILE_MAX, &c->arena, &text);
	if (e == ERR_OK && s->bind.n == 0)
		return true;
	if (e == ERR_OK)
		put_changed_conf(s, text, &b);
	else if (e == ERR_NOTFOUND)
		put_conf(c, s, &b);
	else
		return false;
	if (e == ERR_OK && str_eq(text, buf_str(&b)))
		return true;
	return disk_write_file(d, "facteur.conf", buf_str(&b)) == ERR_OK && chmod(path.p, 0644) == 0;
}

/* A folder below /root, say: the roles' users could never open it. Then the server keeps the user who starts it. */
static bool keep_root(struct cli *c, struct setup *s)
{
	struct str path = arena_printf(&c->arena, "%s/facteur.conf", c->dir);
	FILE *f;

	const struct users *u = &s->users;

	if (u->uid == 0 || (users_can_reach(u->uid, u->gid, c->dir) && users_can_reach(u->cell_uid, u->cell_gid, c->dir)))
		return true;
	f = fopen(path.p, "ae");
	if (f == NULL ||
	    fprintf(f, "\n# %s\nuser = root\ncell_user = root\n", text_get(c->lang, TEXT_SETUP_CONF_ROOT)) < 0) {
		complain(c, TEXT_SETUP_NO_FOLDER, path, str_of(strerror(errno)));
		if (f)
			fclose(f);
		return false;
	}
	fclose(f);
	warn(c, TEXT_SETUP_KEEPS_ROOT, str_of(c->dir), str_of(s->users.user));
	return users_find(c, &s->users);
}

/* ---- the directory ---- */

static bool ask(struct cli *c, const char *command, json_t *args, struct answer *answer)
{
	enum admin_command found;

	return admin_command_named(str_of(command), &found) && request_ask(c, found, args, answer);
}

static bool complain_answer(struct cli *c, const struct answer *answer)
{
	complain(c, TEXT_CLI_PLAIN, str_of(json_string_value(json_object_get(answer->last, "sentence"))));
	return false;
}

bool setup_request(struct cli *c, const char *command, const char *key, struct str value, const char *key2,
                   struct str value2)
{
	CLEANUP(answer_free) struct answer answer = { 0 };
	CLEANUP(admin_json_free) json_t *args = json_object();

	json_object_set_new(args, key, json_stringn(value.p, value.n));
	if (key2)
		json_object_set_new(args, key2, value2.p ? json_stringn(value2.p, value2.n) : json_true());
	return ask(c, command, args, &answer) && (answer_is_ok(&answer) || complain_answer(c, &answer));
}

static bool add_domain(struct cli *c, struct setup *s)
{
	CLEANUP(answer_free) struct answer answer = { 0 };
	CLEANUP(admin_json_free) json_t *args = json_pack("{s:s#}", "domain", s->domain.p, (int)s->domain.n);
	const char *error;

	if (!ask(c, "domain add", args, &answer))
		return false;
	s->made_domain = answer_is_ok(&answer);
	error = json_string_value(json_object_get(answer.last, "error"));
	return s->made_domain || (error && strcmp(error, err_name(ERR_EXISTS)) == 0) || complain_answer(c, &answer);
}

static bool fill_directory(struct cli *c, struct setup *s)
{
	if (s->domain.n && !add_domain(c, s))
		return false;
	return s->hostname.n == 0 || setup_request(c, "config set", "setting", STR("hostname"), "value", s->hostname);
}

bool setup_make(struct cli *c, struct setup *s)
{
	char path[PATH_MAX];

	if (!make_folder(c, c->dir))
		return false;
	if (realpath(c->dir, path) == NULL) {
		complain(c, TEXT_SETUP_NO_FOLDER, str_of(c->dir), str_of(strerror(errno)));
		return false;
	}
	c->dir = str_copy(&c->arena, str_of(path)).p;
	if (!write_conf(c, s) || !users_find(c, &s->users))
		return false;
	users_make(c, &s->users);
	if (!keep_root(c, s) || !owners_mend(c, &s->users) || !fill_directory(c, s))
		return false;
	if (setup_certificate(c, s) != ERR_OK) {
		complain(c, TEXT_SETUP_NO_CERTIFICATE, str_of(c->dir));
		return false;
	}
	return true;
}

/* ---- the command ---- */

struct wishes {
	struct setup setup;
	struct str   account, password;
	bool         yes;
};

static bool choose_domain(struct cli *c, struct wishes *w, struct str typed)
{
	bool may_ask = !w->yes && ask_is_possible();

	if (typed.n == 0 && request_has_data(c))
		return true;  /* a second run, to mend what is missing */
	if (typed.n == 0 && (!may_ask || !ask_line(c, TEXT_SETUP_ASK_DOMAIN, STR(""), &typed) || typed.n == 0)) {
		complain(c, TEXT_SETUP_NEEDS_DOMAIN);
		return false;
	}
	if (directory_domain_parse(typed, &c->arena, &w->setup.domain))
		return true;
	complain(c, TEXT_SETUP_BAD_DOMAIN, typed);
	return false;
}

static bool choose_hostname(struct cli *c, struct wishes *w, struct str typed)
{
	bool is_new = !request_has_data(c);

	if (typed.n == 0 && is_new) {
		typed = arena_printf(&c->arena, "mail." STR_FMT, STR_ARG(w->setup.domain));
		if (!w->yes && ask_is_possible() && !ask_line(c, TEXT_SETUP_ASK_HOSTNAME, typed, &typed))
			return false;
	}
	if (typed.n == 0 || directory_domain_parse(typed, &c->arena, &w->setup.hostname))
		return true;
	complain(c, TEXT_SETUP_BAD_DOMAIN, typed);
	return false;
}

static bool choose_account(struct cli *c, struct wishes *w)
{
	if (w->account.n == 0 && !request_has_data(c) && !w->yes && ask_is_possible() &&
	    !ask_line(c, TEXT_SETUP_ASK_ACCOUNT, STR(""), &w->account))
		return false;
	if (w->account.n && str_chr(w->account, '@') < 0) {
		if (w->setup.domain.n == 0) {
			complain(c, TEXT_SETUP_NEEDS_DOMAIN);
			return false;
		}
		w->account = arena_printf(&c->arena, STR_FMT "@" STR_FMT, STR_ARG(w->account), STR_ARG(w->setup.domain));
	}
	return true;
}

/* Is it an account that somebody uses, not an alias, nor one that was deleted? */
static bool has_account(struct cli *c, struct str address)
{
	static const char *const living[] = { "active", "suspended", "full" };
	CLEANUP(answer_free) struct answer answer = { 0 };
	CLEANUP(admin_json_free) json_t *args = json_pack("{s:s#}", "address", address.p, (int)address.n);

	if (!ask(c, "account show", args, &answer) || !answer_is_ok(&answer))
		return false;
	const char *state = json_string_value(json_object_get(json_object_get(answer.last, "result"), "state"));
	for (size_t i = 0; i < COUNT_OF(living); i++)
		if (state != NULL && strcmp(state, living[i]) == 0)
			return true;
	return false;
}

static bool make_account(struct cli *c, struct wishes *w)
{
	CLEANUP(answer_free) struct answer answer = { 0 };
	CLEANUP(admin_json_free) json_t *args = json_pack(
		"{s:s#,s:b,s:s}", "address", w->account.p, (int)w->account.n, "generate", 1, "lang", lang_code(c->lang));

	if (!ask(c, "account add", args, &answer))
		return false;
	const char *password = json_string_value(json_object_get(json_object_get(answer.last, "result"), "password"));
	if (password != NULL)
		w->password = str_copy(&c->arena, str_of(password));
	return answer_is_ok(&answer) || has_account(c, w->account) || complain_answer(c, &answer);
}

static void report_json(const struct cli *c, const struct wishes *w)
{
	CLEANUP(admin_json_free) json_t *out = json_pack("{s:b,s:s}", "ok", 1, "dir", c->dir);
	const struct { const char *key; struct str value; } facts[] = {
		{ "domain", w->setup.domain }, { "hostname", w->setup.hostname },
		{ "address", w->account },     { "password", w->password },
	};

	for (size_t i = 0; i < COUNT_OF(facts); i++)
		if (facts[i].value.n)
			json_object_set_new(out, facts[i].key, json_stringn(facts[i].value.p, facts[i].value.n));
	cli_write_json(out, JSON_COMPACT);
}

static void report(struct cli *c, const struct wishes *w)
{
	bool is_usual = strcmp(c->dir, "/var/lib/facteur") == 0;  /* the folder of the systemd unit */
	struct str dir = str_of(c->dir), dash_d = is_usual ? STR("") : arena_printf(&c->arena, "-d %s ", c->dir);

	say(c, TEXT_SETUP_DONE, dir);
	if (w->setup.made_domain)
		say(c, TEXT_SETUP_DONE_DOMAIN, w->setup.domain);
	if (w->setup.made_certificate)
		say(c, TEXT_SETUP_DONE_CERTIFICATE, dir);
	if (w->password.n)
		say(c, TEXT_SETUP_DONE_ACCOUNT, w->account, w->password);
	if (!w->setup.made_domain)
		return;
	say(c, TEXT_SETUP_NEXT, w->setup.domain, dash_d,
	    is_usual ? str_of(text_get(c->lang, TEXT_SETUP_NEXT_SYSTEMD)) : STR(""));
}

int cli_setup(struct cli *c, int argc, char **argv)
{
	struct wishes w = { 0 };
	struct str words[1] = { STR_NONE }, hostname = STR_NONE;
	size_t n;
	const struct flag flags[] = {
		{ "yes", &w.yes, NULL }, { "hostname", NULL, &hostname }, { "account", NULL, &w.account }, { 0 },
	};

	if (!flags_parse(c, argc, argv, flags, words, 1, &n))
		return EXIT_USAGE;
	if (!choose_domain(c, &w, n ? words[0] : STR("")) || !choose_hostname(c, &w, hostname) || !choose_account(c, &w))
		return EXIT_USAGE;
	if (!setup_make(c, &w.setup) || (w.account.n && !make_account(c, &w)))
		return EXIT_FAILED;
	if (c->json)
		report_json(c, &w);
	else
		report(c, &w);
	return EXIT_OK;
}
