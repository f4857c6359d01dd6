/* Requests come in, replies go out. What a request may hold is read from the usage of its command, so that a handler
 * finds what it needs and nothing else.
 *
 * Rows leave in pieces while the handler goes on, so that a list is never in memory as JSON. Whatever happens, exactly
 * one last message is sent. All strings of a request are UTF-8 without NUL: jansson refuses everything else. */
#include "admin/admin_private.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"

enum { ROWS_PIECE = 200, WEIGHT_PIECE = 5000, MANY_MAX = 10000, TEXT_MAX = 8000 };

static admin_handler *const handlers[ADMIN_COMMAND_COUNT] = {
#define COMMAND(handler, words, usage, columns, en, fr) [handler##_COMMAND] = handler,
#include "admin/commands.def"
#undef COMMAND
};

/* ---- answers ---- */

/* ERR_LIMIT: it is too large, and was not sent. */
static enum err send_json(struct admin_call *c, const json_t *value)
{
	CLEANUP(buf_free) struct buf b = BUF(ADMIN_REPLY_MAX);

	admin_json_write(&b, value);
	if (b.failed) {
		log_error("a reply is too large command=%s", admin_command_row(c->command)->words);
		return ERR_LIMIT;
	}
	enum err e = c->send(c->send_context, buf_str(&b)) ? ERR_OK : ERR_CLOSED;
	mem_wipe(b.p, b.n);
	return e;
}

static void send_rows(struct admin_call *c)
{
	CLEANUP(admin_json_free) json_t *piece = NULL;

	if (c->rows == NULL || json_array_size(c->rows) == 0)
		return;
	piece = json_object();
	json_object_set_new(piece, "rows", c->rows);
	c->rows = json_array();
	c->weight = 0;
	enum err e = send_json(c, piece);
	c->is_cut |= e == ERR_LIMIT;
	c->is_gone |= e == ERR_CLOSED;
}

bool admin_progress(struct admin_call *c, uint64_t done, uint64_t total)
{
	CLEANUP(admin_json_free) json_t *message = json_object();
	json_t *progress = json_object();

	admin_put_number(progress, "done", done);
	admin_put_number(progress, "total", total);
	json_object_set_new(message, "progress", progress);
	return send_json(c, message) != ERR_CLOSED;
}

/* Values in the newest row: a group may have 10,000 members. */
static size_t weight(const json_t *rows)
{
	json_t *row = json_array_get(rows, json_array_size(rows) - 1), *value;
	const char *key;
	size_t n = 0;

	json_object_foreach(row, key, value)
		n += json_is_array(value) ? json_array_size(value) : 1;
	return n;
}

json_t *admin_row(struct admin_call *c)
{
	json_t *row = json_object();

	if (c->rows == NULL)
		c->rows = json_array();
	c->weight += json_array_size(c->rows) > 0 ? weight(c->rows) : 0;
	if (json_array_size(c->rows) == ROWS_PIECE || c->weight > WEIGHT_PIECE)
		send_rows(c);
	json_array_append_new(c->rows, row);
	return row;
}

json_t *admin_result(struct admin_call *c)
{
	if (c->result == NULL)
		c->result = json_object();
	return c->result;
}

static json_t *text_value(struct str value)
{
	CLEANUP(buf_free) struct buf b = BUF(ADMIN_REPLY_MAX);
	struct scan s = scan_of(value);

	if (utf8_valid(value))
		return json_stringn_nocheck(value.n ? value.p : "", value.n);
	while (!scan_done(&s))
		utf8_put(&b, (uint32_t)utf8_next(&s));
	return json_stringn_nocheck(b.n ? b.p : "", b.n);
}

void admin_put_text(json_t *to, const char *key, struct str value) { json_object_set_new(to, key, text_value(value)); }
void admin_put_number(json_t *to, const char *key, uint64_t value)
{
	json_object_set_new(to, key, json_integer((json_int_t)value));
}
void admin_put_switch(json_t *to, const char *key, bool value) { json_object_set_new(to, key, json_boolean(value)); }

void admin_put_list(json_t *to, const char *key, const struct str *list, size_t n)
{
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(array, text_value(list[i]));
	json_object_set_new(to, key, array);
}

enum err admin_say(struct admin_call *c, enum err e, enum text id, const struct str *args, size_t n)
{
	c->sentence = text_format(&c->arena, c->lang, id, args, n);
	return e;
}

struct str admin_number_text(struct admin_call *c, uint64_t n)
{
	return arena_printf(&c->arena, "%llu", (unsigned long long)n);
}

/* The sentence of an error whose handler had nothing better to say. */
static enum text general_sentence(enum err e)
{
	switch (e) {
	case ERR_LIMIT:
	case ERR_QUOTA:       return TEXT_ADMIN_LIMIT;
	case ERR_FULL:        return TEXT_ADMIN_FULL;
	case ERR_IO:
	case ERR_CORRUPT:     return TEXT_ADMIN_DISK;
	case ERR_TIMEOUT:
	case ERR_AGAIN:
	case ERR_CLOSED:
	case ERR_UNAVAILABLE: return TEXT_ADMIN_NO_ANSWER;
	default:              return TEXT_INTERNAL_ERROR;
	}
}

static void send_end(struct admin_call *c, enum err e)
{
	CLEANUP(admin_json_free) json_t *end = json_object();

	send_rows(c);
	if (c->is_cut && e == ERR_OK)
		e = ERR_LIMIT;
	json_object_set_new(end, "ok", json_boolean(e == ERR_OK));
	if (e != ERR_OK) {
		admin_put_text(end, "error", str_of(err_name(e)));
		if (c->sentence.n == 0)
			c->sentence = str_of(text_get(c->lang, general_sentence(e)));
	}
	if (c->sentence.n > 0)
		admin_put_text(end, "sentence", c->sentence);
	if (c->has_fault)
		admin_put_switch(end, "has_fault", true);
	if (c->has_more)
		admin_put_switch(end, "has_more", true);
	if (c->result != NULL)
		json_object_set(end, "result", c->result);
	if (send_json(c, end) != ERR_LIMIT)
		return;
	json_decref(c->result);  /* what was done is done; it is only too much to tell */
	c->result = NULL;
	c->sentence = STR("");
	send_end(c, ERR_LIMIT);
}

/* ---- requests ---- */

static bool is_text_of(const json_t *v, size_t max) { return json_is_string(v) && json_string_length(v) <= max; }
static bool is_text(const json_t *v) { return is_text_of(v, TEXT_MAX); }

static bool is_list_of_texts(const json_t *v)
{
	if (!json_is_array(v) || json_array_size(v) > MANY_MAX)
		return false;
	for (size_t i = 0; i < json_array_size(v); i++)
		if (!is_text(json_array_get(v, i)))
			return false;
	return true;
}

static bool has_right_type(const struct admin_argument *a, const json_t *v)
{
	if (a->is_many)
		return is_list_of_texts(v) && (a->is_optional || json_array_size(v) > 0);
	return a->kind == ADMIN_SWITCH ? json_is_true(v) : is_text_of(v, a->kind == ADMIN_FILE ? ADMIN_FILE_MAX : TEXT_MAX);
}

/* Everything the command needs is there, and nothing else. */
static enum err check_arguments(struct admin_call *c)
{
	const struct admin_command_row *row = admin_command_row(c->command);
	struct admin_argument list[ADMIN_ARGUMENTS_MAX];
	size_t n = admin_usage(c->command, list), found = 0;

	for (size_t i = 0; i < n; i++) {
		const json_t *v = json_object_get(c->args, list[i].key);
		if (v == NULL && !list[i].is_optional)
			return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_ARGUMENT_MISSING, str_of(list[i].name), str_of(row->words),
								str_of(row->usage));
		if (v != NULL && !has_right_type(&list[i], v))
			return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_ARGUMENT_WRONG, str_of(list[i].name), str_of(row->words),
								str_of(row->usage));
		found += v != NULL;
	}
	if (found != json_object_size(c->args))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_NOT_A_REQUEST, STR(""));
	return ERR_OK;
}

static enum err read_request(struct admin_call *c, const json_t *request)
{
	const json_t *lang = json_object_get(request, "lang"), *command = json_object_get(request, "command");

	if (is_text(lang))
		lang_find(str_of(json_string_value(lang)), &c->lang);
	c->args = json_object_get(request, "args");
	if (!is_text(command) || (c->args != NULL && !json_is_object(c->args)))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_NOT_A_REQUEST, STR(""));
	if (!admin_command_named(str_of(json_string_value(command)), &c->command))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_NO_SUCH_COMMAND, str_of(json_string_value(command)));
	return check_arguments(c);
}

void admin_run(const struct admin_host *host, struct str request, admin_sender send, void *send_context)
{
	struct admin_call c = { .host = host, .directory = host->directory, .send = send, .send_context = send_context };
	CLEANUP(admin_json_free) json_t *value = admin_json_read(request);
	enum err e = read_request(&c, value);

	if (e == ERR_OK) {
		e = handlers[c.command](&c);
		if (host->is_running)  /* the log of a server; on a terminal the answer says it all */
			log_info("command words=\"%s\" result=%s", admin_command_row(c.command)->words, err_name(e));
	}
	send_end(&c, e);
	json_decref(c.rows);
	json_decref(c.result);
	mem_wipe((void *)(uintptr_t)c.generated.p, c.generated.n);
	arena_free(&c.arena);
}

/* ---- arguments ---- */

struct str admin_text(const struct admin_call *c, const char *key)
{
	const json_t *v = json_object_get(c->args, key);

	return v != NULL ? str_make(json_string_value(v), json_string_length(v)) : STR_NONE;
}

bool admin_is_on(const struct admin_call *c, const char *key) { return json_is_true(json_object_get(c->args, key)); }
size_t admin_count(const struct admin_call *c, const char *key)
{
	return json_array_size(json_object_get(c->args, key));
}

struct str admin_text_at(const struct admin_call *c, const char *key, size_t i)
{
	const json_t *v = json_array_get(json_object_get(c->args, key), i);

	return str_make(json_string_value(v), json_string_length(v));
}
