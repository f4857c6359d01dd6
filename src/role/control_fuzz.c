/* control, asked by cells, answered by everybody, and commanded over the admin socket. The directory is the same at each start. */
#include "admin/command.h"
#include "role/role_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
/* Control ends while commands wait; what they have allocated goes with its process. */
const char *__asan_default_options(void);  /* NOLINT: the sanitizer's name */
const char *__asan_default_options(void) { return "detect_leaks=0"; }

static struct buf pristine = { .max = 1 << 20 };

static const char *path_of(struct arena *a, const char *dir, const char *name) { return str_cstr(a, arena_printf(a, "%s/control/%s", dir, name)); }

static void prepare(const char *dir)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	FILE *f = fopen(path_of(&a, dir, "directory.db"), "r");
	char room[4096];
	size_t n;

	while (f != NULL && (n = fread(room, 1, sizeof room, f)) > 0)
		buf_add_bytes(&pristine, room, n);
	assert(f != NULL && !pristine.failed);
	fclose(f);
}

static void reset(const char *dir)
{
	CLEANUP(arena_free) struct arena a = { 0 };

	unlink(path_of(&a, dir, "directory.db-wal"));
	unlink(path_of(&a, dir, "directory.db-shm"));
	unlink(path_of(&a, dir, "trail.db"));
	unlink(path_of(&a, dir, "trail.db-wal"));
	unlink(path_of(&a, dir, "tls.db"));
	unlink(path_of(&a, dir, "tls.db-wal"));
	FILE *f = fopen(path_of(&a, dir, "directory.db"), "w");
	assert(f != NULL && fwrite(pristine.p, 1, pristine.n, f) == pristine.n);
	fclose(f);
}

static void put_value(struct buf *json, bool is_first, const struct admin_argument *argument, struct str value)
{
	const char *many[] = { argument->is_many ? "[" : "", argument->is_many ? "]" : "" };

	buf_printf(json, "%s\"%s\":", is_first ? "" : ",", argument->key);
	if (argument->kind == ADMIN_SWITCH)
		buf_add_cstr(json, "true");
	else
		buf_printf(json, "%s\"" STR_FMT "\"%s", many[0], STR_ARG(value), many[1]);
}

/* Any command as it comes over the socket: with the arguments that it needs, but for some; without the others, but for some. */
static void put_command(struct fuzz_world *w, struct buf *b)
{
	CLEANUP(buf_free) struct buf json = BUF(20000), room = BUF(1000);
	struct admin_argument list[ADMIN_ARGUMENTS_MAX];
	struct scan *in = &w->in;
	enum admin_command command = (enum admin_command)(get_u8(in) % ADMIN_COMMAND_COUNT);
	uint16_t unusual = get_u16(in);
	size_t n = admin_usage(command, list), given = 0;

	buf_printf(&json, "{\"command\":\"%s\",\"args\":{", admin_command_row(command)->words);
	for (size_t i = 0; i < n; i++)
		if (list[i].is_optional == (unusual >> i & 1))
			put_value(&json, given++ == 0, &list[i], list[i].kind == ADMIN_SWITCH ? STR("") : fuzz_string(in, &room));
	buf_add_cstr(&json, "},\"lang\":\"en\"}");
	put_u32(b, (uint32_t)json.n);
	buf_add(b, buf_str(&json));
}

static const struct fuzz_row rows[] = {
	{ FUZZ_ANSWER, ROLE_KEYS, REQUEST_DIRECTORY, "" },
	{ FUZZ_ANSWER, ROLE_MX, REQUEST_DIRECTORY, "r" },
	{ FUZZ_SEND, ROLE_CELL, REQUEST_ACCOUNT_INFO, "a" },
	{ FUZZ_SEND, ROLE_CELL, REQUEST_RESOLVE, "s" },
	{ FUZZ_SEND, ROLE_CELL, REQUEST_SENDING, "a%3s" },
	{ FUZZ_SEND, ROLE_CELL, REQUEST_SUBJECT, "s" },
	{ FUZZ_SEND, ROLE_CELL, REQUEST_GUEST, "a" },
	{ FUZZ_SEND, ROLE_CELL, REQUEST_SHARES, "(%48s)" },
	{ FUZZ_SEND, ROLE_CELL, REQUEST_SHARED, "s8" },
	{ FUZZ_SEND, ROLE_CELL, NOTICE_USAGE, "a88b" },
	{ FUZZ_SEND, ROLE_QUEUE, NOTICE_TRAIL, "r" },
	{ FUZZ_SEND, ROLE_QUEUE, NOTICE_REFUSED, "a4" },
	{ FUZZ_SEND, ROLE_CELL, NOTICE_TRAIL, "r" },
	{ FUZZ_SEND, ROLE_NET, NOTICE_TLS_SESSIONS, "4s%3s%9ssss" },
	{ FUZZ_SEND, ROLE_NET, NOTICE_TLS_SESSIONS, "r" },
	{ FUZZ_SEND, ROLE_NET, NOTICE_STS_KEPT, "sss8" },
	{ FUZZ_SEND, ROLE_NET, REQUEST_STS_POLICIES, "8" },
	{ FUZZ_SEND, ROLE_GATE, REQUEST_PAGE, "bsssb" },
	{ FUZZ_SEND, ROLE_GATE, REQUEST_PAGE, "r" },
	{ FUZZ_SEND, ROLE_CELL, REQUEST_ACCOUNT_INFO, "r" },
	{ FUZZ_SEND, ROLE_CELL, REQUEST_RESOLVE, "r" },
	{ FUZZ_SAY, ROLE_CONTROL, 0, "X" },
	{ FUZZ_SAY, ROLE_CONTROL, 0, "4r" },
	{ FUZZ_ANSWER, ROLE_KEYS, REQUEST_SECRET_COMMAND, "b4s(44s88)" },
	{ FUZZ_ANSWER, ROLE_KEYS, REQUEST_SECRET_COMMAND, "r" },
	{ FUZZ_ANSWER, ROLE_KEYS, REQUEST_CERTIFICATE_LIST, "r" },
	{ FUZZ_ANSWER, ROLE_QUEUE, REQUEST_QUEUE_COMMAND, "%7r" },
	{ FUZZ_ANSWER, ROLE_QUEUE, REQUEST_QUEUE_COMMAND, "=18884bb888888" },
	{ FUZZ_ANSWER, ROLE_GATE, REQUEST_GATE_SESSIONS, "r" },
	{ FUZZ_ANSWER, ROLE_CELL, REQUEST_CELL_COMMAND, "%48884" },
	{ FUZZ_ANSWER, ROLE_CELL, REQUEST_CELL_COMMAND, "=18884(s1448)" },
	{ FUZZ_ANSWER, ROLE_CELL, REQUEST_CELL_COMMAND, "=;888488(ss4488b)" },
	{ FUZZ_ANSWER, ROLE_MASTER, REQUEST_ACCOUNT_FOLDER, "" },
	{ FUZZ_ANSWER, ROLE_MASTER, REQUEST_CELL_END, "" },
	{ FUZZ_ANSWER, ROLE_MASTER, REQUEST_ACCOUNT_REMOVE, "" },
	{ FUZZ_SEND, ROLE_MASTER, NOTICE_CONTROL_CELL, "aP" },
	{ FUZZ_SEND, ROLE_MASTER, NOTICE_CONNECT, "14P" },
	{ FUZZ_HANG_UP, ROLE_CONTROL, 0, NULL },
	{ FUZZ_DIE, ROLE_CELL, 0, NULL },
	{ FUZZ_DIE, ROLE_KEYS, 0, NULL },
	{ FUZZ_DIE, ROLE_QUEUE, 0, NULL },
	{ FUZZ_SEND, ROLE_QUEUE, REQUEST_LIST_ORDER, "%3ssass" },
	{ FUZZ_SEND, ROLE_QUEUE, REQUEST_LIST_ORDER, "r" },
	{ FUZZ_SEND, ROLE_KEYS, NOTICE_UNKNOWN_KEY, "s" },
	{ FUZZ_ANSWER, ROLE_NET, REQUEST_PROBE, "r" },
	{ FUZZ_ANSWER, ROLE_KEYS, REQUEST_ROUTE_COMMAND, "b" },
	{ FUZZ_DIE, ROLE_NET, 0, NULL },
	{ FUZZ_SEND, ROLE_MASTER, REQUEST_SHARES_WITH, "aa" },
};

static const struct fuzz_role control = { .role = ROLE_CONTROL, .rows = rows, .row_count = COUNT_OF(rows), .listens = PROTOCOL_ADMIN,
                                          .prepare = prepare, .reset = reset, .hook = put_command, .before = "A" };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) { return role_fuzz(&control, data, n); }
