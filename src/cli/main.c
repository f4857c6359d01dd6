/* `facteur`: the first words of a command line, and nothing else. `--role` is what master executes; a few commands
 * live here (serve, setup, demo …); all others are requests to the role control (cli/request.c), one row each in
 * admin/commands.def. */
#include "admin/command.h"
#include "admin/wire.h"
#include "base/log.h"
#include "base/version.h"
#include "cli/flags.h"
#include "cli/help.h"
#include "cli/request.h"
#include "cli/sendmail.h"
#include "role/role.h"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { WORDS_MAX = 4096, WIDTH_LEAST = 40 };

static void look_at_terminal(struct cli *c)
{
	const char *term = getenv("TERM"), *plain = getenv("NO_COLOR");
	struct winsize size;

	c->is_terminal = isatty(STDOUT_FILENO) == 1;
	if (!c->is_terminal)
		return;
	c->style.colour = (plain == NULL || *plain == '\0') && term && strcmp(term, "dumb") != 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		c->style.width = size.ws_col < WIDTH_LEAST ? WIDTH_LEAST : size.ws_col;
	else
		c->style.width = 80;
}

static int unknown(struct cli *c, const struct str *words, size_t n)
{
	CLEANUP(buf_free) struct buf typed = BUF(1000);
	const char *names[64], *near;

	for (size_t i = 0; i < n && i < 3; i++)
		buf_printf(&typed, "%s" STR_FMT, i ? " " : "", STR_ARG(words[i]));
	for (size_t i = 0; i < builtin_count && i < COUNT_OF(names); i++)
		names[i] = builtins[i].word;
	near = word_nearest(words[0], names, builtin_count);
	if (near == NULL)
		near = admin_command_nearest(buf_str(&typed));
	if (near)
		complain(c, TEXT_CLI_UNKNOWN_COMMAND_NEAR, buf_str(&typed), str_of(near));
	else
		complain(c, TEXT_CLI_UNKNOWN_COMMAND, buf_str(&typed));
	return EXIT_USAGE;
}

static bool has_word(int argc, char **argv, const char *word)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], word) == 0)
			return true;
	return false;
}

/* --json may stand anywhere; here it is taken out, so that no command has to know it. */
static int take_json(struct cli *c, int argc, char **argv)
{
	int kept = 0;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			while (i < argc)
				argv[kept++] = argv[i++];
			break;
		}
		if (strcmp(argv[i], "--json") == 0)
			c->json = true;
		else
			argv[kept++] = argv[i];
	}
	return kept;
}

/* argv[0] is the first word after the global options. */
static int dispatch(struct cli *c, int argc, char **argv)
{
	struct str words[WORDS_MAX];
	size_t n = 0, taken;
	enum admin_command command;

	if (strcmp(argv[0], "sendmail") == 0)
		return cli_sendmail(argc, argv, c->dir);
	argc = take_json(c, argc, argv);
	for (int i = 0; i < argc && n < WORDS_MAX; i++)
		words[n++] = str_of(argv[i]);
	if (n == 0 || has_word(argc, argv, "--help") || has_word(argc, argv, "-h"))
		return help_for(c, words, n);
	if (builtin_find(words[0]))
		return builtin_find(words[0])->run(c, argc, argv);
	if (admin_command_find(words, n, &command, &taken))
		return request_run(c, command, words + taken, n - taken);
	if (help_has_group(words[0]) && n == 1) {  /* `facteur account` */
		help_for(c, words, n);
		return EXIT_USAGE;
	}
	return unknown(c, words, n);
}

static bool is_sendmail(const char *name)
{
	struct str s = str_of(name);

	return str_ends(s, STR("sendmail")) || str_ends(s, STR("mailq")) || str_ends(s, STR("newaliases"));
}

/* Started with one of the three closed, the next file that is opened would take its place, and be written into. */
static void fill_closed_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)open("/dev/null", fd == STDOUT_FILENO ? O_RDONLY : O_RDWR);  /* so that a write to it still fails */
}

int main(int argc, char **argv)
{
	struct cli c = { .dir = getenv("FACTEUR_DIR"), .lang = lang_of_environment() };
	int at = 1;

	fill_closed_descriptors();
	if (c.dir == NULL || *c.dir == '\0')
		c.dir = "/var/lib/facteur";
	if (argc > 0 && is_sendmail(argv[0]))
		return cli_sendmail(argc, argv, c.dir);
	if (argc > 1 && strcmp(argv[1], "--role") == 0)
		return role_main(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);  /* roles inherit it: a limit of file sizes is an error of that write, and ends nobody */
	log_setup("facteur", LOG_LEVEL_WARN, false);
	admin_json_setup();
	look_at_terminal(&c);
	for (; at < argc && argv[at][0] == '-'; at++) {
		struct str word = str_of(argv[at]);
		if (str_eq(word, STR("-d")) || str_eq(word, STR("--dir"))) {
			if (at + 1 == argc) {
				complain(&c, TEXT_CLI_DIR_NEEDS_VALUE);
				return EXIT_USAGE;
			}
			c.dir = argv[++at];
		} else if (str_eq(word, STR("--json"))) {
			c.json = true;
		} else if (str_eq(word, STR("--version"))) {
			cli_write(STR("facteur " FACTEUR_VERSION "\n"));
			return cli_end(&c, EXIT_OK);
		} else if (str_eq(word, STR("--help")) || str_eq(word, STR("-h"))) {
			return cli_end(&c, help_for(&c, NULL, 0));
		} else {
			complain(&c, TEXT_CLI_UNKNOWN_COMMAND, word);
			return EXIT_USAGE;
		}
	}
	if (at == argc) {
		help_for(&c, NULL, 0);
		return EXIT_USAGE;
	}
	int code = cli_end(&c, dispatch(&c, argc - at, argv + at));
	arena_free(&c.arena);
	return code;
}
