/* cli/ask.h -- questions on the terminal, secrets from standard input. */
#ifndef FACTEUR_CLI_ASK_H
#define FACTEUR_CLI_ASK_H
#include "cli/cli_private.h"

enum { ASK_LINE_MAX = 1024 };

/* May we ask? Standard input and standard error are terminals. */
bool ask_is_possible(void);
/* One line; an empty one is fallback. False: end of input. Question and fallback are shown. */
bool ask_line(struct cli *c, enum text question, struct str fallback, struct str *out);
/* A password, typed twice without being shown. An empty one, where that is offered, stands for a random one. False: end of input, Ctrl-C, or
 * three times two different ones (said). */
bool ask_password(struct cli *c, bool may_be_random, struct str *out);
/* The first line of standard input; the line end is not part of it. False: nothing there, or longer than ASK_LINE_MAX
 * (said). */
bool ask_secret_line(struct cli *c, struct str *out);
#endif
