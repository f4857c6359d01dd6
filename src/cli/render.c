/* Answers for people and for programs. Which columns there are, of which kind, says admin/columns.def. */
#include "cli/render.h"
#include "admin/wire.h"
#include "base/buf.h"
#include "cli/timeline.h"
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { OUTPUT_MAX = 1 << 30 };

/* "1.5 GB", in the units in which settings are typed: 1 kB is 1,024 bytes. */
static struct str size_text(struct arena *a, enum lang lang, uint64_t bytes)
{
	static const char prefixes[] = " kMGTPE";
	const char *unit = text_get(lang, TEXT_CLI_UNIT_BYTE);
	double n = (double)bytes;
	size_t p = 0;

	while (n >= 1023.5 && p + 2 < sizeof(prefixes)) {
		n /= 1024;
		p++;
	}
	if (p == 0)
		return arena_printf(a, "%llu %s", (unsigned long long)bytes, unit);
	int tenths = (int)(n * 10 + 0.5);
	if (tenths >= 100 || tenths % 10 == 0)
		return arena_printf(a, "%.0f %c%s", n, prefixes[p], unit);
	return arena_printf(a, "%d%s%d %c%s", tenths / 10, text_get(lang, TEXT_CLI_DECIMAL), tenths % 10, prefixes[p],
	                    unit);
}

static struct str time_text(struct arena *a, enum lang lang, int64_t at)
{
	time_t t = (time_t)at;
	struct tm tm;
	char out[64];

	if (at == 0 || localtime_r(&t, &tm) == NULL)
		return str_of(text_get(lang, TEXT_CLI_NEVER));
	return str_copy(a, str_make(out, strftime(out, sizeof(out), "%Y-%m-%d %H:%M", &tm)));
}

static struct str plain_text(struct arena *a, const json_t *v)
{
	if (json_is_string(v))
		return str_make(json_string_value(v), json_string_length(v));
	if (json_is_integer(v))
		return arena_printf(a, "%lld", (long long)json_integer_value(v));
	if (json_is_real(v))
		return arena_printf(a, "%g", json_real_value(v));
	return STR("");
}

static struct str list_text(struct arena *a, const json_t *v)
{
	CLEANUP(buf_free) struct buf b = BUF(4 << 20);
	size_t i;
	json_t *item;

	json_array_foreach(v, i, item) {
		buf_add_cstr(&b, i ? ", " : "");
		buf_add(&b, plain_text(a, item));
	}
	return str_copy(a, buf_str(&b));
}

static struct str word_text(enum lang lang, struct str word)
{
	static const struct { const char *word, *french; } words[] = {
#define WORD(word, french) { word, french },
#include "cli/words.def"
#undef WORD
	};

	for (size_t i = 0; lang == LANG_FR && i < COUNT_OF(words); i++)
		if (str_eq(word, str_of(words[i].word)))
			return str_of(words[i].french);
	return word;
}

struct str render_value(struct arena *a, enum lang lang, enum admin_column_kind kind, const json_t *v)
{
	if (v == NULL || json_is_null(v))
		return STR("");
	if (json_is_array(v))
		return list_text(a, v);
	if (json_is_boolean(v))
		return str_of(text_get(lang, json_is_true(v) ? TEXT_CLI_YES : TEXT_CLI_NO));
	if (kind == ADMIN_COLUMN_WORD)
		return word_text(lang, plain_text(a, v));
	if (kind == ADMIN_COLUMN_LIMIT && json_is_integer(v) && json_integer_value(v) == 0)
		return str_of(text_get(lang, TEXT_CLI_NO_LIMIT));
	if ((kind == ADMIN_COLUMN_SIZE || kind == ADMIN_COLUMN_LIMIT) && json_is_integer(v))
		return size_text(a, lang, (uint64_t)json_integer_value(v));
	if (kind == ADMIN_COLUMN_TIME && json_is_integer(v))
		return time_text(a, lang, json_integer_value(v));
	if (kind == ADMIN_COLUMN_PERCENT && json_is_number(v))
		return arena_printf(a, "%.0f %%", json_number_value(v));
	return plain_text(a, v);
}

static bool is_number(enum admin_column_kind kind)
{
	return kind == ADMIN_COLUMN_NUMBER || kind == ADMIN_COLUMN_SIZE || kind == ADMIN_COLUMN_LIMIT ||
	       kind == ADMIN_COLUMN_PERCENT;
}

/* Does any row have it? (With no row at all: yes, unless the result has it, so that an empty list still shows its titles.) */
static bool is_used(const json_t *rows, const json_t *result, const struct admin_column *column)
{
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row)
		if (json_object_get(row, column->key))
			return true;
	return json_array_size(rows) == 0 && json_object_get(result, column->key) == NULL;
}

static void render_rows(struct cli *c, const struct admin_column *const *columns, size_t n, const json_t *result, const json_t *rows)
{
	CLEANUP(buf_free) struct buf out = BUF(OUTPUT_MAX);
	struct table *t = table_new(&c->arena);
	const struct admin_column *shown[ADMIN_COLUMNS_MAX];
	struct str cells[ADMIN_COLUMNS_MAX];
	size_t r, count = 0;
	json_t *row;

	for (size_t i = 0; i < n; i++) {
		if (!is_used(rows, result, columns[i]))
			continue;
		shown[count++] = columns[i];
		table_column(t, str_of(columns[i]->heading[c->lang]), is_number(columns[i]->kind));
		if (columns[i]->kind == ADMIN_COLUMN_WHOLE)
			table_keep_whole(t);
	}
	json_array_foreach(rows, r, row) {
		for (size_t i = 0; i < count; i++)
			cells[i] = render_value(&c->arena, c->lang, shown[i]->kind, json_object_get(row, shown[i]->key));
		table_row(t, cells, count);
	}
	table_print(t, &c->style, &out);
	cli_write(buf_str(&out));
	if (table_rows(t) == 0 && c->is_terminal)
		say(c, TEXT_CLI_NOTHING);
}

/* A thing and its facts, one a line; false: there are none to show. */
static bool render_result(struct cli *c, const struct admin_column *const *columns, size_t n, const json_t *result)
{
	CLEANUP(buf_free) struct buf out = BUF(OUTPUT_MAX);
	size_t wide = 0;

	for (size_t i = 0; i < n; i++) {
		size_t w = text_columns(str_of(columns[i]->heading[c->lang]));
		if (w > wide && json_object_get(result, columns[i]->key))
			wide = w;
	}
	for (size_t i = 0; i < n; i++) {
		const json_t *v = json_object_get(result, columns[i]->key);
		struct str heading = str_of(columns[i]->heading[c->lang]);
		struct str value = text_visible(&c->arena, render_value(&c->arena, c->lang, columns[i]->kind, v));
		if (v == NULL || value.n == 0)
			continue;
		buf_printf(&out, "%s" STR_FMT "%s%*s  " STR_FMT "\n", c->style.colour ? "\033[1m" : "", STR_ARG(heading),
		           c->style.colour ? "\033[0m" : "", (int)(wide - text_columns(heading)), "", STR_ARG(value));
	}
	cli_write(buf_str(&out));
	return out.n > 0;
}

/* A few messages are told one by one, many are a table without what happened to each. */
static void render_events(struct cli *c, const struct admin_column **columns, size_t n, const json_t *rows)
{
	CLEANUP(buf_free) struct buf out = BUF(OUTPUT_MAX);
	size_t shown = 0;

	if (json_array_size(rows) > 0 && json_array_size(rows) <= TIMELINES_MAX) {
		timeline_print(c, rows, &out);
		cli_write(buf_str(&out));
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (columns[i]->kind != ADMIN_COLUMN_EVENTS)
			columns[shown++] = columns[i];
	render_rows(c, columns, shown, NULL, rows);
	if (json_array_size(rows) > 0 && c->is_terminal)
		say(c, TEXT_CLI_TRACE_ONE);
}

static bool has_events(const struct admin_column *const *columns, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (columns[i]->kind == ADMIN_COLUMN_EVENTS)
			return true;
	return false;
}

static void print_json(const json_t *v)
{
	cli_write_json(v, (isatty(STDOUT_FILENO) == 1 ? JSON_INDENT(2) : JSON_COMPACT) | JSON_ENCODE_ANY);
}

static void render_json(const struct answer *a, size_t column_count)
{
	json_t *result = json_object_get(a->last, "result");

	if (!answer_is_ok(a))
		print_json(a->last);
	else if (a->rows && result) {  /* a thing and its parts */
		json_object_set(result, "rows", a->rows);
		print_json(result);
	} else if (a->rows)
		print_json(a->rows);
	else if (result)
		print_json(result);
	else if (column_count) {  /* a list with nothing in it */
		CLEANUP(admin_json_free) json_t *none = json_array();
		print_json(none);
	} else
		print_json(a->last);
}

int render_answer(struct cli *c, enum admin_command command, const struct answer *a)
{
	const struct admin_column *columns[ADMIN_COLUMNS_MAX];
	size_t n = admin_columns(command, columns);
	json_t *result = json_object_get(a->last, "result"), *sentence = json_object_get(a->last, "sentence");
	struct str said = text_visible(&c->arena, plain_text(&c->arena, sentence));

	int code = answer_is_ok(a) && !json_is_true(json_object_get(a->last, "has_fault")) ? EXIT_OK : EXIT_FAILED;

	if (c->json) {
		render_json(a, n);
		if (json_is_true(json_object_get(a->last, "has_more")))  /* an array has no room for it */
			fprintf(stderr, "facteur: " STR_FMT "\n", STR_ARG(said));
		return code;
	}
	if (!answer_is_ok(a)) {
		if (said.n == 0)
			said = plain_text(&c->arena, json_object_get(a->last, "error"));
		fprintf(stderr, "facteur: " STR_FMT "\n", STR_ARG(said));
		if (json_object_get(result, "password"))  /* made all the same, and told this once */
			render_result(c, columns, n, result);
		return EXIT_FAILED;
	}
	if (said.n)
		cli_write(arena_printf(&c->arena, STR_FMT "\n", STR_ARG(said)));
	bool is_told = (result && render_result(c, columns, n, result)) || said.n > 0;
	if (has_events(columns, n))
		render_events(c, columns, n, a->rows);
	else if (n && (a->rows || !is_told))
		render_rows(c, columns, n, result, a->rows);
	return code;
}
