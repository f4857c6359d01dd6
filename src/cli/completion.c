/* Completion for shells. The script for a shell is short and asks this program for every word (`facteur completion
 * words …`), so that what is offered always fits the program that is installed.
 *
 * Words may be names that somebody else has chosen, and an alias may be called `halt`@example.org: no script lets the shell look into a word (compgen -W
 * would run that), and what is inserted is quoted, by bash's printf %q, by zsh's compadd and by fish by themselves. */
#include "cli/completion.h"
#include "base/mem.h"
#include "cli/flags.h"
#include "cli/help.h"
#include "cli/request.h"
#include "conf/conf.h"

enum { WORDS_MAX = 64, OUTPUT_MAX = 64 << 10, LISTED_MAX = 500, WORD_MAX = 300, TAB_MS = 1000 };

static const struct { const char *shell, *script; } scripts[] = {
	{ "bash",
	  "_facteur() {\n"
	  "\tlocal word typed=${COMP_WORDS[COMP_CWORD]}\n"
	  "\tCOMPREPLY=()\n"
	  "\twhile IFS= read -r word; do\n"
	  "\t\t[[ $word == \"$typed\"* ]] && printf -v word %q \"$word\" && COMPREPLY+=(\"$word\")\n"
	  "\tdone < <(facteur completion words -- \"${COMP_WORDS[@]:1:COMP_CWORD-1}\" 2>/dev/null)\n"
	  "}\n"
	  "complete -o default -F _facteur facteur\n" },
	{ "zsh",
	  "#compdef facteur\n"
	  "_facteur() { compadd -- ${(f)\"$(facteur completion words -- ${words[2,CURRENT-1]} 2>/dev/null)\"} }\n"
	  "compdef _facteur facteur\n" },
	{ "fish", "complete -c facteur -f -a '(facteur completion words -- (commandline -opc)[2..-1])'\n" },
};

/* The word of a row after those that are typed already; empty: the row does not begin with them, or has no more. */
static struct str next_word(const char *row, const struct str *typed, size_t n)
{
	struct str rest = str_of(row), word;

	for (size_t i = 0; i < n; i++) {
		str_cut(rest, ' ', &word, &rest);
		if (!str_eq(word, typed[i]))
			return STR("");
	}
	str_cut(rest, ' ', &word, &rest);
	return word;
}

static void put_once(struct buf *out, struct str word)
{
	CLEANUP(buf_free) struct buf line = BUF(WORD_MAX);

	buf_printf(&line, "\n" STR_FMT "\n", STR_ARG(word));
	if (word.n && !line.failed && str_find(buf_str(out), buf_str(&line)) < 0)
		buf_add(out, str_from(buf_str(&line), out->n ? 1 : 0));
}

static void put_each(struct buf *out, const char *words, char between)
{
	struct str rest = str_of(words), word;

	while (rest.n > 0) {
		str_cut(rest, between, &word, &rest);
		put_once(out, word);
	}
}

/* What may stand where this argument is expected: its words; names of settings; on and off for the value of one that has no other. */
static void put_values(struct buf *out, enum lang lang, const struct admin_argument *a, struct str setting)
{
	static const struct { const char *name, *words[LANG_COUNT]; } values[] = {
#define VALUES(name, en, fr) { name, { [LANG_EN] = en, [LANG_FR] = fr } },
#define LISTED(name, command, column)
#include "cli/values.def"
#undef VALUES
#undef LISTED
	};
	enum setting s;

	for (size_t i = 0; i < COUNT_OF(values); i++)
		if (strcmp(values[i].name, a->name) == 0)
			put_each(out, values[i].words[lang], ' ');
	for (s = 0; strcmp(a->name, "SETTING") == 0 && s < SETTING_COUNT; s++)
		put_once(out, str_of(setting_row(s)->name));
	if (strcmp(a->name, "VALUE") == 0 && setting_find(setting, &s) && setting_row(s)->type == TYPE_SWITCH)
		put_each(out, "on off", ' ');
}

static void put_options(struct buf *out, enum admin_command command)
{
	struct admin_argument list[ADMIN_ARGUMENTS_MAX];
	size_t n = admin_usage(command, list);

	for (size_t i = 0; i < n; i++)
		if (list[i].is_option)
			put_once(out, str_of(list[i].name));
	put_once(out, STR("--json"));
	put_once(out, STR("--help"));
}

/* Options of a usage line: "[--yes] [--hostname NAME]". */
static void put_usage_options(struct buf *out, const char *usage)
{
	struct scan s = scan_of(str_of(usage));
	struct str first, rest;

	str_cut(str_of(usage), ' ', &first, &rest);
	if (first.n > 0 && first.p[0] >= 'a' && first.p[0] <= 'z')   /* "bash|zsh|fish" */
		put_each(out, usage, '|');
	while (!scan_done(&s)) {
		struct str piece = scan_until(&s, '['), word;
		str_cut(str_trim(piece), ' ', &word, &piece);
		if (str_ends(word, STR("]")))
			word.n--;
		if (str_starts(word, STR("--")))
			put_once(out, word);
		scan_take(&s, '[');
	}
	put_once(out, STR("--help"));
}

/* An argument's words, and what else may follow. */
static void put_arguments(struct buf *out, enum lang lang, enum admin_command command, const struct str *words, size_t n)
{
	struct admin_argument next;

	if (request_expects(command, words, n, &next)) {
		put_values(out, lang, &next, n > 0 ? words[0] : STR(""));
		if (next.is_option)
			return;  /* its value comes first */
	}
	put_options(out, command);
}

void completion_words(struct buf *out, enum lang lang, const struct str *typed, size_t n)
{
	enum admin_command command;
	size_t taken;

	if (n > 0 && str_eq(typed[0], STR("help")))
		return completion_words(out, lang, typed + 1, n - 1);
	if (n == 0)
		for (size_t i = 0; i < builtin_count; i++)
			put_once(out, str_of(builtins[i].word));
	else if (builtin_find(typed[0]))
		put_usage_options(out, builtin_find(typed[0])->usage);
	for (int i = 0; i < ADMIN_COMMAND_COUNT; i++)
		put_once(out, next_word(admin_command_row((enum admin_command)i)->words, typed, n));
	if (admin_command_find(typed, n, &command, &taken))
		put_arguments(out, lang, command, typed + taken, n - taken);
	if (out->n && out->p[0] == '\n')
		buf_drop_front(out, 1);
}

/* "domain add": its domain is a new one. */
static bool is_new(enum admin_command command, size_t n)
{
	struct str noun, verb;

	return str_cut(str_of(admin_command_row(command)->words), ' ', &noun, &verb) && str_eq(verb, STR("add")) && n == 0;
}

static void put_rows(struct buf *out, const json_t *rows, const char *column)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) {
		const char *word = json_string_value(json_object_get(row, column));
		if (word != NULL && i < LISTED_MAX && !str_has_ctl(str_of(word)) && str_chr(str_of(word), ' ') < 0)
			put_once(out, str_of(word));
	}
}

/* Names that only a server knows, for no longer than somebody waits after a Tab. */
static void put_listed(struct buf *out, struct cli *c, const struct str *typed, size_t n)
{
	static const struct { const char *name, *words, *column; } listed[] = {
#define VALUES(name, en, fr)
#define LISTED(name, words, column) { name, words, column },
#include "cli/values.def"
#undef VALUES
#undef LISTED
	};
	enum admin_command command, list;
	struct admin_argument next;
	size_t taken;

	if (!admin_command_find(typed, n, &command, &taken) || is_new(command, n - taken) || !request_expects(command, typed + taken, n - taken, &next))
		return;
	for (size_t i = 0; i < COUNT_OF(listed); i++) {
		CLEANUP(answer_free) struct answer answer = { 0 };
		if (strcmp(listed[i].name, next.name) == 0 && admin_command_named(str_of(listed[i].words), &list) && request_ask_server(c, list, TAB_MS, &answer))
			put_rows(out, answer.rows, listed[i].column);
	}
}

int cli_completion(struct cli *c, int argc, char **argv)
{
	struct str words[WORDS_MAX], *typed = words + 1;
	CLEANUP(buf_free) struct buf out = BUF(OUTPUT_MAX);
	static const struct flag none[] = { { 0 } };
	size_t n;

	if (!flags_parse(c, argc, argv, none, words, WORDS_MAX, &n))
		return EXIT_USAGE;
	if (n > 0 && str_eq(words[0], STR("words"))) {
		n--;
		while (n >= 2 && (str_eq(typed[0], STR("-d")) || str_eq(typed[0], STR("--dir")))) {
			c->dir = str_cstr(&c->arena, typed[1]);
			typed += 2;
			n -= 2;
		}
		completion_words(&out, c->lang, typed, n);
		put_listed(&out, c, typed, n);
		cli_write(buf_str(&out));
		return EXIT_OK;
	}
	for (size_t i = 0; n == 1 && i < COUNT_OF(scripts); i++) {
		if (!str_eq(words[0], str_of(scripts[i].shell)))
			continue;
		cli_write(str_of(scripts[i].script));
		return EXIT_OK;
	}
	complain(c, TEXT_CLI_WHICH_SHELL);
	return EXIT_USAGE;
}
