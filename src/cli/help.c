/* Help. Everything comes from tables, so that no command can be without it. */
#include "cli/help.h"
#include "admin/command.h"
#include "cli/flags.h"
#include "conf/conf.h"

enum { HELP_MAX = 1 << 20, WORDS_MIN = 20 };

const struct builtin builtins[] = {
#define COMMAND(word, run, usage, en, en_options, fr, fr_options) \
	{ word, run, usage, { en, fr }, { en_options, fr_options } },
#include "cli/commands.def"
#undef COMMAND
};
const size_t builtin_count = COUNT_OF(builtins);

const struct builtin *builtin_find(struct str word)
{
	for (size_t i = 0; i < builtin_count; i++)
		if (str_eq(word, str_of(builtins[i].word)))
			return &builtins[i];
	return NULL;
}

static struct str first_word(const char *words)
{
	struct str head, tail;

	str_cut(str_of(words), ' ', &head, &tail);
	return head;
}

bool help_has_group(struct str word)
{
	for (int i = 0; i < ADMIN_COMMAND_COUNT; i++)
		if (str_eq(word, first_word(admin_command_row((enum admin_command)i)->words)))
			return true;
	return false;
}

static void put_heading(struct cli *c, struct buf *b, const char *text)
{
	buf_printf(b, "%s%s%s\n", c->style.colour ? "\033[1m" : "", text, c->style.colour ? "\033[0m" : "");
}

static void put_line(struct cli *c, struct buf *b, const char *words, const char *meaning, size_t wide)
{
	size_t n = text_columns(str_of(words));

	buf_printf(b, "  %s%*s  ", words, n < wide ? (int)(wide - n) : 0, "");
	text_wrap(b, str_of(meaning), wide + 4, c->style.width);
}

/* Commands of control whose first word this is (all for none), with a blank line between groups. */
static void put_requests(struct cli *c, struct buf *b, struct str group, size_t wide)
{
	struct str before = STR_NONE;

	for (int i = 0; i < ADMIN_COMMAND_COUNT; i++) {
		const struct admin_command_row *row = admin_command_row((enum admin_command)i);
		struct str first = first_word(row->words);
		if (group.n && !str_eq(first, group))
			continue;
		if (before.n && !str_eq(first, before))
			buf_add_char(b, '\n');
		before = first;
		put_line(c, b, row->words, row->meaning[c->lang], wide);
	}
}

/* Columns for the words of these commands. */
static size_t width_of(struct str group)
{
	size_t wide = WORDS_MIN;

	for (int i = 0; i < ADMIN_COMMAND_COUNT; i++) {
		const char *words = admin_command_row((enum admin_command)i)->words;
		if (group.n == 0 || str_eq(first_word(words), group))
			wide = strlen(words) > wide ? strlen(words) : wide;
	}
	return wide;
}

static void put_all(struct cli *c, struct buf *b)
{
	size_t wide = width_of(STR_NONE);

	buf_printf(b, "%s\n\n", text_get(c->lang, TEXT_CLI_HELP_INTRO));
	put_heading(c, b, text_get(c->lang, TEXT_CLI_HELP_SERVER));
	for (size_t i = 0; i < builtin_count; i++)
		put_line(c, b, builtins[i].word, builtins[i].meaning[c->lang], wide);
	buf_add_char(b, '\n');
	put_heading(c, b, text_get(c->lang, TEXT_CLI_HELP_ADMINISTER));
	put_requests(c, b, STR_NONE, wide);
	buf_printf(b, "\n%s\n", text_get(c->lang, TEXT_CLI_HELP_OPTIONS));
}

static void put_builtin(struct cli *c, struct buf *b, const struct builtin *x)
{
	put_heading(c, b, x->meaning[c->lang]);
	buf_printf(b, "\n  facteur [-d DIR] %s %s\n", x->word, x->usage);
	if (x->options[c->lang][0])
		buf_printf(b, "\n%s", x->options[c->lang]);
}

static void put_request(struct cli *c, struct buf *b, enum admin_command command)
{
	const struct admin_command_row *row = admin_command_row(command);
	struct admin_argument list[ADMIN_ARGUMENTS_MAX];
	size_t n = admin_usage(command, list), wide = 0;

	put_heading(c, b, row->meaning[c->lang]);
	buf_printf(b, "\n  facteur [-d DIR] %s %s [--json]\n", row->words, row->usage);
	for (size_t i = 0; i < n; i++) {
		size_t w = strlen(list[i].name) + (list[i].placeholder.n ? list[i].placeholder.n + 1 : 0);
		wide = w > wide ? w : wide;
	}
	if (n)
		buf_add_char(b, '\n');
	for (size_t i = 0; i < n; i++) {
		struct str name = arena_printf(&c->arena, "%s%s" STR_FMT, list[i].name, list[i].placeholder.n ? " " : "",
		                               STR_ARG(list[i].placeholder));
		put_line(c, b, name.p, list[i].meaning[c->lang], wide);
	}
}

/* Words up to the first that is an option. */
static size_t leading_words(const struct str *words, size_t n)
{
	size_t i = 0;

	while (i < n && !str_starts(words[i], STR("-")))
		i++;
	return i;
}

bool help_put(struct cli *c, const struct str *words, size_t n, struct buf *b)
{
	enum admin_command command;
	size_t taken;

	n = leading_words(words, n);
	if (n == 0)
		put_all(c, b);
	else if (builtin_find(words[0]))
		put_builtin(c, b, builtin_find(words[0]));
	else if (admin_command_find(words, n, &command, &taken))
		put_request(c, b, command);
	else if (help_has_group(words[0])) {
		put_requests(c, b, words[0], width_of(words[0]));
		buf_printf(b, "\n%s\n", text_get(c->lang, TEXT_CLI_HELP_ONE));
	} else
		return false;
	return true;
}

int help_for(struct cli *c, const struct str *words, size_t n)
{
	CLEANUP(buf_free) struct buf b = BUF(HELP_MAX);

	if (!help_put(c, words, n, &b)) {
		complain(c, TEXT_CLI_UNKNOWN_COMMAND, words[0]);
		return EXIT_USAGE;
	}
	cli_write(buf_str(&b));
	return EXIT_OK;
}

/* ---- docs/commands.md, docs/settings.md ---- */

static void put_markdown_arguments(struct cli *c, struct buf *b, enum admin_command command)
{
	struct admin_argument list[ADMIN_ARGUMENTS_MAX];
	size_t n = admin_usage(command, list);

	for (size_t i = 0; i < n; i++)
		buf_printf(b, "- `%s`: %s\n", list[i].name, list[i].meaning[c->lang]);
}

static void put_commands_markdown(struct cli *c, struct buf *b)
{
	buf_printf(b, "# %s\n\n%s\n\n## %s\n", text_get(c->lang, TEXT_CLI_HELP_TITLE),
	           text_get(c->lang, TEXT_CLI_HELP_GENERATED), text_get(c->lang, TEXT_CLI_HELP_SERVER));
	for (size_t i = 0; i < builtin_count; i++)
		buf_printf(b, "\n### %s\n%s.\n```\nfacteur [-d DIR] %s %s\n%s```\n", builtins[i].word,
		           builtins[i].meaning[c->lang], builtins[i].word, builtins[i].usage, builtins[i].options[c->lang]);
	buf_printf(b, "\n## %s\n", text_get(c->lang, TEXT_CLI_HELP_ADMINISTER));
	for (int i = 0; i < ADMIN_COMMAND_COUNT; i++) {
		const struct admin_command_row *row = admin_command_row((enum admin_command)i);
		buf_printf(b, "\n### %s\n%s.\n```\nfacteur [-d DIR] %s%s%s\n```\n", row->words, row->meaning[c->lang],
		           row->words, row->usage[0] ? " " : "", row->usage);
		put_markdown_arguments(c, b, (enum admin_command)i);
	}
}

static void put_settings_markdown(struct cli *c, struct buf *b)
{
	static const enum text scopes[] = { TEXT_CLI_SCOPE_FILE, TEXT_CLI_SCOPE_SERVER, TEXT_CLI_SCOPE_DOMAIN,
		                                TEXT_CLI_SCOPE_ACCOUNT };

	buf_printf(b, "# %s\n\n%s\n", text_get(c->lang, TEXT_CLI_SETTINGS_TITLE),
	           text_get(c->lang, TEXT_CLI_SETTINGS_GENERATED));
	for (size_t scope = 0; scope < COUNT_OF(scopes); scope++) {
		bool has_heading = false;
		for (int i = 0; i < SETTING_COUNT; i++) {
			const struct setting_row *row = setting_row((enum setting)i);
			if (row->scope != (enum setting_scope)scope)
				continue;
			if (!has_heading)
				buf_printf(b, "\n## %s\n\n| | | |\n|---|---|---|\n", text_get(c->lang, scopes[scope]));
			has_heading = true;
			buf_printf(b, "| `%s` | %s%s%s | %s |\n", row->name, row->fallback[0] ? "`" : "", row->fallback,
			           row->fallback[0] ? "`" : "", c->lang == LANG_FR ? row->meaning_fr : row->meaning_en);
		}
	}
}

int cli_help(struct cli *c, int argc, char **argv)
{
	struct str words[8], what = STR_NONE;
	size_t n;
	const struct flag flags[] = { { "markdown", NULL, &what }, { 0 } };

	if (!flags_parse(c, argc, argv, flags, words, COUNT_OF(words), &n))
		return EXIT_USAGE;
	if (what.p == NULL)
		return help_for(c, words, n);
	CLEANUP(buf_free) struct buf b = BUF(HELP_MAX);
	if (str_eq(what, STR("settings")))
		put_settings_markdown(c, &b);
	else
		put_commands_markdown(c, &b);
	cli_write(buf_str(&b));
	return EXIT_OK;
}
