/* The story of a message:
 *
 *   3f2a9c01-1234: waiting
 *     from ann@example.org to bob@example.net
 *     Message-ID <x@example.org>
 *
 *     2026-11-28 10:02:11  handed in by ann@example.org, from laptop.lan [192.0.2.7]
 *     2026-11-28 10:02:12  mx1.example.net [192.0.2.9] does not take it for bob@example.net yet: “450 4.2.1 …”
 *                          why: …
 *                          what to do: …
 *
 * On a terminal lines are broken at spaces and go on under their beginning; in a pipe an event is one line. Sentences come from the
 * server in the asker's language; what strangers wrote in them is made visible here. */
#include "cli/timeline.h"
#include "cli/render.h"
#include <time.h>

enum { INDENT = 4, TIME_COLUMNS = 19 };

static struct str text(const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);

	return json_is_string(v) ? str_make(json_string_value(v), json_string_length(v)) : STR("");
}

/* first stands before the first line, the others are indented as far. */
static void put_text(struct cli *c, struct buf *out, struct str first, size_t indent, struct str what)
{
	buf_printf(out, "%*s" STR_FMT, (int)(indent - text_columns(first)), "", STR_ARG(first));
	text_wrap(out, text_visible(&c->arena, what), indent, c->style.width);
}

static struct str time_of(struct cli *c, const json_t *event)
{
	time_t t = (time_t)json_integer_value(json_object_get(event, "at"));
	struct tm tm;
	char room[64];

	if (localtime_r(&t, &tm) == NULL)
		return STR("");
	return str_copy(&c->arena, str_make(room, strftime(room, sizeof room, "%Y-%m-%d %H:%M:%S  ", &tm)));
}

static void put_more(struct cli *c, struct buf *out, enum text id, struct str value)
{
	if (value.n > 0)
		put_text(c, out, STR(""), INDENT + TIME_COLUMNS + 2, text_fmt(&c->arena, c->lang, id, value));
}

/* is_new: the explanation is not that of the event before; a message that is tried thirty times is not explained thirty times. */
static void put_event(struct cli *c, struct buf *out, const json_t *event, bool is_new)
{
	const json_t *next = json_object_get(event, "next_try");

	put_text(c, out, time_of(c, event), INDENT + TIME_COLUMNS + 2, text(event, "sentence"));
	if (next)
		put_more(c, out, TEXT_CLI_TRACE_NEXT_TRY, render_value(&c->arena, c->lang, ADMIN_COLUMN_TIME, next));
	if (!is_new)
		return;
	put_more(c, out, TEXT_CLI_TRACE_WHY, text(event, "explanation"));
	put_more(c, out, TEXT_CLI_TRACE_NEXT, text(event, "next_step"));
}

static void put_head(struct cli *c, struct buf *out, const json_t *row)
{
	struct str name = text(row, "message"), id = text(row, "message_id");
	struct str state = render_value(&c->arena, c->lang, ADMIN_COLUMN_WORD, json_object_get(row, "state"));
	struct str from = text_fmt(&c->arena, c->lang, TEXT_CLI_TRACE_FROM, text(row, "sender"));
	struct str to = render_value(&c->arena, c->lang, ADMIN_COLUMN_LIST, json_object_get(row, "recipients"));

	if (name.n == 0)
		name = str_of(text_get(c->lang, state.n > 0 ? TEXT_CLI_TRACE_NAMELESS : TEXT_CLI_TRACE_CARRIED_OUT));
	else
		name = text_fmt(&c->arena, c->lang, TEXT_CLI_TRACE_STATE, name, state);
	buf_printf(out, "%s" STR_FMT "%s\n", c->style.colour ? "\033[1m" : "", STR_ARG(text_visible(&c->arena, name)),
	           c->style.colour ? "\033[0m" : "");
	put_text(c, out, STR(""), INDENT, from);
	if (to.n > 0)
		put_text(c, out, STR(""), INDENT, text_fmt(&c->arena, c->lang, TEXT_CLI_TRACE_TO, to));
	if (id.n > 0)
		put_text(c, out, STR(""), INDENT, arena_printf(&c->arena, "Message-ID <" STR_FMT ">", STR_ARG(id)));
	if (text(row, "explanation").n > 0)
		put_text(c, out, STR(""), INDENT, text(row, "explanation"));
	buf_add_char(out, '\n');
}

void timeline_print(struct cli *c, const json_t *rows, struct buf *out)
{
	const json_t *row, *event;
	size_t r, i;

	json_array_foreach(rows, r, row) {
		struct str before = STR("");
		if (r > 0)
			buf_add_char(out, '\n');
		put_head(c, out, row);
		json_array_foreach(json_object_get(row, "events"), i, event) {
			struct str why = text(event, "explanation");
			put_event(c, out, event, !str_eq(why, before));
			before = why;
		}
	}
}
