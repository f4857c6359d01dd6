/* The tables of commands, arguments and columns. The usage line that a person reads in --help is also what the machine
 * parses: one spelling of the truth. A usage that names an argument or a column that does not exist is our own bug
 * (assert; the unit test walks all rows). */
#include "admin/command.h"
#include <assert.h>

static const struct admin_command_row commands[ADMIN_COMMAND_COUNT] = {
#define COMMAND(handler, words, usage, columns, en, fr) [handler##_COMMAND] = { words, usage, columns, { en, fr } },
#include "admin/commands.def"
#undef COMMAND
};

static const struct admin_argument arguments[] = {
#define ARGUMENT(as_typed, what, as_sent, en, fr)                                                                      \
	{ .name = as_typed, .key = as_sent, .kind = ADMIN_##what, .meaning = { en, fr } },
#include "admin/arguments.def"
#undef ARGUMENT
};

static const struct admin_column columns[] = {
#define COLUMN(key, kind, en, fr) { #key, ADMIN_COLUMN_##kind, { en, fr } },
#include "admin/columns.def"
#undef COLUMN
};

const struct admin_command_row *admin_command_row(enum admin_command c) { return &commands[c]; }

/* How many words of argv the row takes; 0: it does not fit. */
static size_t words_taken(const char *words, const struct str *argv, size_t n)
{
	struct str rest = str_of(words), word;
	size_t taken = 0;

	for (;;) {
		bool has_more = str_cut(rest, ' ', &word, &rest);
		if (taken == n || !str_eq(word, argv[taken]))
			return 0;
		taken++;
		if (!has_more)
			return taken;
	}
}

bool admin_command_find(const struct str *argv, size_t n, enum admin_command *out, size_t *taken)
{
	*taken = 0;
	for (int c = 0; c < ADMIN_COMMAND_COUNT; c++) {
		size_t words = words_taken(commands[c].words, argv, n);
		if (words > *taken) {
			*taken = words;
			*out = (enum admin_command)c;
		}
	}
	return *taken > 0;
}

bool admin_command_named(struct str words, enum admin_command *out)
{
	for (int c = 0; c < ADMIN_COMMAND_COUNT; c++) {
		if (str_eq(words, str_of(commands[c].words))) {
			*out = (enum admin_command)c;
			return true;
		}
	}
	return false;
}

/* Bytes to insert, remove or change to make b of a; only for short words. */
static size_t distance(struct str a, struct str b)
{
	enum { MAX = 40 };
	size_t row[MAX + 1];

	if (a.n > MAX || b.n > MAX)
		return MAX;
	for (size_t j = 0; j <= b.n; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.n; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= b.n; j++) {
			size_t change = diagonal + (a.p[i - 1] != b.p[j - 1]),
				   gap = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
			diagonal = row[j];
			row[j] = change < gap ? change : gap;
		}
	}
	return row[b.n];
}

const char *admin_command_nearest(struct str words)
{
	const char *best = NULL;
	size_t best_distance = words.n / 2 + 1;

	for (int c = 0; c < ADMIN_COMMAND_COUNT; c++) {
		size_t d = distance(words, str_of(commands[c].words));
		if (d < best_distance) {
			best_distance = d;
			best = commands[c].words;
		}
	}
	return best;
}

static const struct admin_argument *argument_row(struct str name)
{
	for (size_t i = 0; i < COUNT_OF(arguments); i++)
		if (str_eq(name, str_of(arguments[i].name)))
			return &arguments[i];
	assert(!"an argument of commands.def is missing in arguments.def");
	return NULL;
}

/* usage = item *(" " item); item = NAME ["..."] / "[" NAME ["..."] "]" / "[--name]" / "[--name VALUE]" */
size_t admin_usage(enum admin_command c, struct admin_argument out[ADMIN_ARGUMENTS_MAX])
{
	struct scan s = scan_of(str_of(commands[c].usage));
	size_t n = 0;

	while (!scan_done(&s)) {
		bool is_optional = scan_take(&s, '[');
		struct str item = scan_until(&s, is_optional ? ']' : ' '), name, placeholder = STR("");
		bool is_many = str_ends(item, STR("..."));
		scan_take(&s, ']');
		scan_take(&s, ' ');
		if (is_many)
			item = str_sub(item, 0, item.n - 3);
		str_cut(item, ' ', &name, &placeholder);
		assert(n < ADMIN_ARGUMENTS_MAX);
		out[n] = *argument_row(name);
		out[n].placeholder = placeholder;
		out[n].is_option = str_starts(name, STR("--"));
		out[n].is_optional = is_optional;
		out[n].is_many = is_many;
		n++;
	}
	return n;
}

static const struct admin_column *column_row(struct str key)
{
	for (size_t i = 0; i < COUNT_OF(columns); i++)
		if (str_eq(key, str_of(columns[i].key)))
			return &columns[i];
	assert(!"a column of commands.def is missing in columns.def");
	return NULL;
}

size_t admin_columns(enum admin_command c, const struct admin_column *out[ADMIN_COLUMNS_MAX])
{
	struct str rest = str_of(commands[c].columns), key;
	size_t n = 0;

	while (rest.n) {
		str_cut(rest, ' ', &key, &rest);
		assert(n < ADMIN_COLUMNS_MAX);
		out[n++] = column_row(key);
	}
	return n;
}
