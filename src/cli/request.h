/* cli/request.h -- one administrative command from argv to its answer: asked of the running server by DIR/admin.sock,
 * or run in this process when no server runs (admin/offline.h). */
#ifndef FACTEUR_CLI_REQUEST_H
#define FACTEUR_CLI_REQUEST_H
#include "admin/command.h"
#include "cli/cli_private.h"
#include <jansson.h>

/* words: what follows the command's own words. Says and prints everything; returns the exit code. */
int request_run(struct cli *c, enum admin_command command, const struct str *words, size_t n);

struct answer {
	json_t *rows;        /* array; NULL: the answer is not a list */
	json_t *last;        /* {"ok":…}; NULL: none came */
};
void answer_free(struct answer *a);   /* for CLEANUP */
bool answer_is_ok(const struct answer *a);
/* Sends {"command", "args", "lang"} and collects the answer; for setup and the demo too. False: said to standard
 * error. */
bool request_ask(struct cli *c, enum admin_command command, json_t *args, struct answer *out);
/* The same of a server that runs, without arguments; nothing is said. False: none runs, it does not let this user ask, or takes longer. */
bool request_ask_server(struct cli *c, enum admin_command command, int timeout_ms, struct answer *out);
/* Is there a server's data in the folder? */
bool request_has_data(const struct cli *c);

/* Which argument the next word would be, for a shell: an option's value, else a positional one; false: none. Borrows from the command's usage. */
bool request_expects(enum admin_command command, const struct str *words, size_t n, struct admin_argument *out);

/* args from words, by the usage of the command; NULL: said. Secrets are asked for or read from standard input.
 * may_ask false: without a terminal (the tests). */
json_t *request_arguments(struct cli *c, enum admin_command command, const struct str *words, size_t n);
#endif
