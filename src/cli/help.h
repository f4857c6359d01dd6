/* cli/help.h -- --help of everything, from the two tables of commands; docs/commands.md too. */
#ifndef FACTEUR_CLI_HELP_H
#define FACTEUR_CLI_HELP_H
#include "cli/cli_private.h"

struct builtin {
	const char *word;
	int       (*run)(struct cli *c, int argc, char **argv);   /* NULL: main() knows it */
	const char *usage;
	const char *meaning[LANG_COUNT], *options[LANG_COUNT];
};
extern const struct builtin builtins[];
extern const size_t builtin_count;
const struct builtin *builtin_find(struct str word);      /* NULL: none */

/* Help for the command, or the group of commands, that the words name; all for no words. False: they name none. */
bool help_put(struct cli *c, const struct str *words, size_t n, struct buf *b);
/* The same to standard output. Returns the exit code. */
int help_for(struct cli *c, const struct str *words, size_t n);
/* Is this the first word of a group ("account")? */
bool help_has_group(struct str word);
#endif
