/* admin/command.h -- the tables of administrative commands, read by the command line (argv, help, tables, docs) and by
 * the dispatcher. Nothing here talks to anybody. */
#ifndef FACTEUR_ADMIN_COMMAND_H
#define FACTEUR_ADMIN_COMMAND_H
#include "base/arena.h"
#include "base/scan.h"
#include "text/text.h"

enum admin_command {
#define COMMAND(handler, words, usage, columns, en, fr) handler##_COMMAND,
#include "admin/commands.def"
#undef COMMAND
	ADMIN_COMMAND_COUNT
};

struct admin_command_row {
	const char *words;             /* "group member add" */
	const char *usage, *columns;
	const char *meaning[LANG_COUNT];
};
const struct admin_command_row *admin_command_row(enum admin_command c);
/* The row whose words all stand at the beginning of argv, the longest one; *taken: how many. False: none. */
bool admin_command_find(const struct str *argv, size_t n, enum admin_command *out, size_t *taken);
/* By its words as one string: what travels as "command". */
bool admin_command_named(struct str words, enum admin_command *out);
/* The command nearest to mistyped words; NULL when none is near. */
const char *admin_command_nearest(struct str words);

enum admin_argument_kind { ADMIN_TEXT, ADMIN_SWITCH, ADMIN_SECRET, ADMIN_FILE };
enum { ADMIN_FILE_MAX = 65536 };  /* bytes of a file that travels in a request */
struct admin_argument {
	const char *name;              /* "ADDRESS", "--name" */
	const char *key;               /* in "args": "address" */
	enum admin_argument_kind kind;
	const char *meaning[LANG_COUNT];
	/* from the usage of a command: */
	struct str  placeholder;       /* "TEXT" of [--name TEXT]; empty for switches and positionals */
	bool        is_option, is_optional, is_many;
};
enum { ADMIN_ARGUMENTS_MAX = 12 };
/* The arguments of a command in the order of its usage; returns their number. */
size_t admin_usage(enum admin_command c, struct admin_argument out[ADMIN_ARGUMENTS_MAX]);

enum admin_column_kind {
	ADMIN_COLUMN_TEXT,
	ADMIN_COLUMN_WHOLE,
	ADMIN_COLUMN_WORD,
	ADMIN_COLUMN_LIST,
	ADMIN_COLUMN_NUMBER,
	ADMIN_COLUMN_SIZE,
	ADMIN_COLUMN_LIMIT,
	ADMIN_COLUMN_TIME,
	ADMIN_COLUMN_SWITCH,
	ADMIN_COLUMN_PERCENT,
	ADMIN_COLUMN_EVENTS
};
struct admin_column {
	const char *key;
	enum admin_column_kind kind;
	const char *heading[LANG_COUNT];
};
enum { ADMIN_COLUMNS_MAX = 20 };
/* The columns of a command's result in order; returns their number. */
size_t admin_columns(enum admin_command c, const struct admin_column *out[ADMIN_COLUMNS_MAX]);
#endif
