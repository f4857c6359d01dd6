/* Two halves: odd first byte: the rest is a request as it came from the socket. Even: the next byte chooses a command, lines are
 * the values of its arguments in order, so that handlers are reached, too. The folder lives as long as the process. */
#include "admin/admin_private.h"
#include "admin/offline.h"
#include "base/log.h"
#include "base/test.h"
#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct admin_offline *offline;
static const char *folder;

static void leave(void)
{
	admin_offline_close(offline);
	test_dir_remove(folder);
}

static void keep_user(void)
{
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;

	assert(disk_dir_open(folder, &dir) == ERR_OK && disk_write_file(dir, "facteur.conf", STR("user = root\ncell_user = root\n")) == ERR_OK);
}

static void begin(void)
{
	log_setup("fuzz", LOG_LEVEL_ERROR, false);
	admin_json_setup();
	folder = test_dir();
	keep_user();
	assert(admin_offline_open(folder, &offline) == ERR_OK);
	atexit(leave);
}

static bool check(void *context, struct str message)
{
	CLEANUP(admin_json_free) json_t *value = admin_json_read(message);
	int *ends = context;

	assert(value != NULL);
	*ends += json_object_get(value, "ok") != NULL;
	return true;
}

/* A line that is not UTF-8, or empty, is an argument that was not given. */
static json_t *request_of(struct str lines, enum admin_command command)
{
	struct admin_argument list[ADMIN_ARGUMENTS_MAX];
	json_t *request = json_object(), *args = json_object();
	size_t n = admin_usage(command, list);

	json_object_set_new(request, "command", json_string(admin_command_row(command)->words));
	for (size_t i = 0; i < n && lines.n; i++) {
		struct str line;
		str_cut(lines, '\n', &line, &lines);
		json_t *value = line.n == 0 ? NULL : list[i].kind == ADMIN_SWITCH ? json_true() : json_stringn(line.p, line.n);
		if (value == NULL)
			continue;
		if (list[i].is_many) {
			json_t *many = json_array();
			json_array_append_new(many, value);
			value = many;
		}
		json_object_set_new(args, list[i].key, value);
	}
	json_object_set_new(request, "args", args);
	return request;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(buf_free) struct buf b = BUF(ADMIN_REQUEST_MAX);
	struct str in = str_make(data, size);
	int ends = 0;

	if (offline == NULL)
		begin();
	if (size < 2)
		return 0;
	if (data[0] & 1) {
		buf_add(&b, str_from(in, 1));
	} else {
		CLEANUP(admin_json_free) json_t *request = request_of(str_from(in, 2), (enum admin_command)(data[1] % ADMIN_COMMAND_COUNT));
		admin_json_write(&b, request);
	}
	admin_run(admin_offline_host(offline), buf_str(&b), check, &ends);
	assert(ends == 1);
	return 0;
}
