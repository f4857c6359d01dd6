/* Completion for shells. The script for a shell is short and asks this program for every word (`facteur completion
 * words …`), so that what is offered always fits the program that is installed. */
#include "admin/command.h"
#include "cli/flags.h"
#include "cli/help.h"

enum { WORDS_MAX = 64, OUTPUT_MAX = 64 << 10 };

static const struct { const char *shell, *script; } scripts[] = {
	{ "bash",
	  "_facteur() {\n"
	  "\tlocal IFS=$'\\n'\n"
	  "\tCOMPREPLY=($(compgen -W \"$(facteur completion words -- \"${COMP_WORDS[@]:1:COMP_CWORD-1}\" 2>/dev/null)\" -- "
	  "\"${COMP_WORDS[COMP_CWORD]}\"))\n"
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
	CLEANUP(buf_free) struct buf line = BUF(200);

	buf_printf(&line, "\n" STR_FMT "\n", STR_ARG(word));
	if (word.n && str_find(buf_str(out), buf_str(&line)) < 0)
		buf_add(out, str_from(buf_str(&line), out->n ? 1 : 0));
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

static void put_words(struct buf *out, const struct str *typed, size_t n)
{
	enum admin_command command;
	size_t taken;

	if (n == 0)
		for (size_t i = 0; i < builtin_count; i++)
			put_once(out, str_of(builtins[i].word));
	else if (builtin_find(typed[0]))
		put_usage_options(out, builtin_find(typed[0])->usage);
	for (int i = 0; i < ADMIN_COMMAND_COUNT; i++)
		put_once(out, next_word(admin_command_row((enum admin_command)i)->words, typed, n));
	if (admin_command_find(typed, n, &command, &taken))
		put_options(out, command);
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
			typed += 2;
			n -= 2;
		}
		put_words(&out, typed, n);
		if (out.n && out.p[0] == '\n')
			buf_drop_front(&out, 1);
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
