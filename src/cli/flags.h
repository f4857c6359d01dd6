/* cli/flags.h -- the words after a command: flags in any place ("--yes", "--hostname NAME", "--hostname=NAME"), "--"
 * ends them, the rest are arguments. A flag nobody knows is an error that names the nearest one. */
#ifndef FACTEUR_CLI_FLAGS_H
#define FACTEUR_CLI_FLAGS_H
#include "cli/cli_private.h"

struct flag {
	const char *name;       /* without "--" */
	bool       *is_given;   /* may be NULL when value is not */
	struct str *value;      /* NULL: a switch */
};

/* flags ends with a NULL name. At most max arguments, *n of them. False: said to standard error, exit with
 * EXIT_USAGE. */
bool flags_parse(struct cli *c, int argc, char **argv, const struct flag *flags, struct str *arguments, size_t max,
                 size_t *n);

/* The candidate that a mistyped word most likely means; NULL when none is near. */
const char *word_nearest(struct str word, const char *const *candidates, size_t n);
#endif
