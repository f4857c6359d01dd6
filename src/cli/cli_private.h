/* cli/cli_private.h -- what the commands of the command line share: who asks, in which language, where the answer
 * goes. */
#ifndef FACTEUR_CLI_CLI_PRIVATE_H
#define FACTEUR_CLI_CLI_PRIVATE_H
#include "cli/table.h"
#include <jansson.h>
#include "text/text.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct cli {
	const char        *dir;         /* the data folder, as given: -d, FACTEUR_DIR, or the default */
	enum lang          lang;
	bool               json;
	bool               is_terminal; /* standard output is one */
	struct table_style style;
	struct arena       arena;
};

/* Sentences (text/cli.def) to people: say() to standard output; complain(), why the command fails, to standard error after
 * "facteur: ", or with --json as {"ok":false,"sentence":…} to standard output; warn(), it goes on, to standard error. */
void cli_say(struct cli *c, enum text id, const struct str *args, size_t n);
void cli_complain(struct cli *c, enum text id, const struct str *args, size_t n);
void cli_warn(struct cli *c, enum text id, const struct str *args, size_t n);
#define say(c, id, ...) cli_say((c), (id), (const struct str[]){ STR_NONE, __VA_ARGS__ } + 1, \
	sizeof((const struct str[]){ STR_NONE, __VA_ARGS__ }) / sizeof(struct str) - 1)
#define complain(c, id, ...) cli_complain((c), (id), (const struct str[]){ STR_NONE, __VA_ARGS__ } + 1, \
	sizeof((const struct str[]){ STR_NONE, __VA_ARGS__ }) / sizeof(struct str) - 1)
#define warn(c, id, ...) cli_warn((c), (id), (const struct str[]){ STR_NONE, __VA_ARGS__ } + 1, \
	sizeof((const struct str[]){ STR_NONE, __VA_ARGS__ }) / sizeof(struct str) - 1)
/* All of it to standard output. What fails is said by cli_end(). */
void cli_write(struct str s);
void cli_write_json(const json_t *v, size_t how);  /* JSON_… flags; and a newline */
/* The exit code of a command that ended with code: where its output could not be written (a full disk), that is said and it is none of success. */
int cli_end(struct cli *c, int code);

/* The commands that are not requests to control. argv[0] is the command's own word. They return the exit code. */
int cli_serve(struct cli *c, int argc, char **argv);
int cli_setup(struct cli *c, int argc, char **argv);
int cli_demo(struct cli *c, int argc, char **argv);
int cli_selftest(struct cli *c, int argc, char **argv);
int cli_completion(struct cli *c, int argc, char **argv);
int cli_help(struct cli *c, int argc, char **argv);

/* A port offset as typed; false: said. */
bool cli_port_offset(struct cli *c, struct str typed, int *out);
#endif
