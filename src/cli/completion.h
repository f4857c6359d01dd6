/* cli/completion.h -- what may come next on a command line, for shells. */
#ifndef FACTEUR_CLI_COMPLETION_H
#define FACTEUR_CLI_COMPLETION_H
#include "cli/cli_private.h"

/* Behind the typed words (without "facteur"): a word a line. Nothing is asked of a server. */
void completion_words(struct buf *out, enum lang lang, const struct str *typed, size_t n);
#endif
