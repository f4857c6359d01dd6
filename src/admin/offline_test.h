/* Commands on a data folder without a server, for tests: requests as JSON, replies as an administrator would see them. */
#ifndef FACTEUR_ADMIN_OFFLINE_TEST_H
#define FACTEUR_ADMIN_OFFLINE_TEST_H
#include "admin/command.h"
#include "admin/offline.h"
#include "admin/wire.h"
#include "base/test.h"

struct answer {
	json_t *rows, *last;     /* all rows; the last message */
	size_t  pieces, ends;
};

static inline bool collect(void *context, struct str message)
{
	struct answer *a = context;
	json_t *value = admin_json_read(message), *rows;

	EXPECT(value != NULL);
	rows = json_object_get(value, "rows");
	if (rows != NULL) {
		json_array_extend(a->rows, rows);
		a->pieces++;
	}
	if (json_object_get(value, "ok") != NULL) {
		a->ends++;
		json_decref(a->last);
		a->last = json_incref(value);
	}
	json_decref(value);
	return true;
}

static inline void answer_free(struct answer *a)
{
	json_decref(a->rows);
	json_decref(a->last);
	*a = (struct answer){ 0 };
}

static const struct admin_host *own_host;   /* NULL: the one of a server that does not run */

/* args as the inside of a JSON object with ' for " */
static inline struct answer ask(struct admin_offline *o, const char *command, const char *args)
{
	CLEANUP(buf_free) struct buf b = BUF(100000);
	struct answer a = { .rows = json_array() };

	buf_printf(&b, "{'command':'%s','args':{%s},'lang':'en'}", command, args);
	for (size_t i = 0; i < b.n; i++)
		if (b.p[i] == '\'')
			b.p[i] = '"';
	admin_run(own_host ? own_host : admin_offline_host(o), buf_str(&b), collect, &a);
	EXPECT_INT(a.ends, 1);
	return a;
}

static inline const char *text(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value ? value : "";
}

/* The command has this outcome: "" for ok, else the error. */
static inline void gives(struct admin_offline *o, const char *command, const char *args, const char *error)
{
	struct answer a = ask(o, command, args);

	if (strcmp(text(a.last, "error"), error) != 0) {
		print_error("%s %s: error '%s' (%s), want '%s'\n", command, args, text(a.last, "error"), text(a.last, "sentence"), error);
		fail();
	}
	EXPECT(*error == '\0' || strlen(text(a.last, "sentence")) > 10);
	answer_free(&a);
}

static inline void says(struct admin_offline *o, const char *command, const char *args, const char *sentence)
{
	struct answer a = ask(o, command, args);

	EXPECT_STR(str_of(text(a.last, "sentence")), sentence);
	answer_free(&a);
}

/* One value of the result or of row i; NULL: it is not there. */
static inline void wants(struct admin_offline *o, const char *command, const char *args, int row, const char *key, const char *want)
{
	struct answer a = ask(o, command, args);
	const json_t *from = row < 0 ? json_object_get(a.last, "result") : json_array_get(a.rows, (size_t)row);
	char *got = json_dumps(json_object_get(from, key), JSON_ENCODE_ANY | JSON_COMPACT);

	if ((got == NULL) != (want == NULL) || (got != NULL && strcmp(got, want) != 0)) {
		print_error("%s %s: %s is %s, want %s (%s)\n", command, args, key, got ? got : "(missing)", want ? want : "(missing)", text(a.last, "sentence"));
		fail();
	}
	json_free_t release;
	json_get_alloc_funcs(NULL, &release);
	release(got);
	answer_free(&a);
}

static const char *folder;
static struct admin_offline *offline;

/* Whoever runs the tests keeps his user: the system users need not exist. */
static inline void keep_user(const char *dir)
{
	char path[300];
	FILE *f;

	snprintf(path, sizeof path, "%s/facteur.conf", dir);
	f = fopen(path, "we");
	EXPECT(f != NULL && fputs("user = root\ncell_user = root\n", f) >= 0 && fclose(f) == 0);
}

static inline struct admin_offline *begin(void)
{
	admin_json_setup();
	folder = test_dir();
	keep_user(folder);
	EXPECT_OK(admin_offline_open(folder, &offline));
	gives(offline, "domain add", "'domain':'example.test'", "");
	return offline;
}

static inline void end(void)
{
	admin_offline_close(offline);
	test_dir_remove(folder);
}
#endif
