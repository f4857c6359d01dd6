/* keys, asked by gates, mx, control and master. Hashing passwords costs nothing here: crypt(3) is replaced. */
#include "auth/keyring.h"
#include "crypto/ca.h"
#include "role/role_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A "hash" is its setting and the password's first letters. */
struct crypt_data;
char *crypt_r(const char *phrase, const char *setting, struct crypt_data *data);
char *crypt_r(const char *phrase, const char *setting, struct crypt_data *data)
{
	char *output = (char *)data;  /* its first member, 384 bytes; <crypt.h> is for crypto/ alone */

	return snprintf(output, 384, "%.200s%.10s", setting, phrase) < 0 ? NULL : output;
}

static void prepare(const char *dir)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *keys = str_cstr(&a, arena_printf(&a, "%s/keys", dir)), *tls = str_cstr(&a, arena_printf(&a, "%s/tls", dir));
	struct str name = STR("mail.example.test");
	struct disk_dir *d;
	struct ca_pair ca, pair;

	assert(mkdir(keys, 0700) == 0 && mkdir(tls, 0700) == 0 && disk_dir_open(tls, &d) == ERR_OK);
	assert(ca_make(STR("CA"), 10, &a, &ca) == ERR_OK && ca_issue(&ca, &name, 1, 10, &a, &pair) == ERR_OK);
	assert(disk_write_file(d, "default.pem", arena_printf(&a, STR_FMT STR_FMT, STR_ARG(pair.certificate_pem), STR_ARG(pair.key_pem))) == ERR_OK);
	struct keyring *k = keyring_new(d);
	assert(keyring_reload(k));
	memcpy(fuzz_hash, keyring_list(k)->list[0].key_hash, sizeof fuzz_hash);
	keyring_free(k);
	disk_dir_close(&d);
}

static const struct fuzz_row rows[] = {
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_DIRECTORY, "vD" },
	{ FUZZ_SEND, ROLE_GATE, REQUEST_VERIFY, "18sss" },
	{ FUZZ_SEND, ROLE_GATE, REQUEST_SCRAM_FIRST, "18ssss" },
	{ FUZZ_SEND, ROLE_GATE, REQUEST_SCRAM_FINAL, "88sh" },
	{ FUZZ_SEND, ROLE_GATE, REQUEST_PRINTER, "8P" },
	{ FUZZ_SEND, ROLE_GATE, REQUEST_TLS_SIGN, "h2s" },
	{ FUZZ_SEND, ROLE_MX, REQUEST_TLS_SIGN, "r" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_SECRET_COMMAND, "1a44ss" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_CERTIFICATE_LIST, "r" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_CERTIFICATE_LIST, "4" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_DIRECTORY, "vM" },
	{ FUZZ_SEND, ROLE_MASTER, REQUEST_CELL_KEY, "a" },
	{ FUZZ_SEND, ROLE_MASTER, NOTICE_CONNECT, "14P" },
	{ FUZZ_SEND, ROLE_MASTER, NOTICE_LOG, "r" },
	{ FUZZ_ANSWER, ROLE_GATE, REQUEST_CERTIFICATES, "r" },
	{ FUZZ_ANSWER, ROLE_MX, REQUEST_CERTIFICATES, "r" },
	{ FUZZ_SEND, ROLE_GATE, REQUEST_VERIFY, "r" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_SECRET_COMMAND, "r" },
	{ FUZZ_DIE, ROLE_GATE, 0, NULL },
	{ FUZZ_DIE, ROLE_CONTROL, 0, NULL },
	{ FUZZ_SEND, ROLE_QUEUE, REQUEST_DKIM_SIGN, "sssss" },  /* DKIM_COMMAND is read by mailauth/dkim_fuzz.c: here it would make keys */
	{ FUZZ_SEND, ROLE_QUEUE, REQUEST_DKIM_SIGN, "r" },
	{ FUZZ_DIE, ROLE_QUEUE, 0, NULL },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_ROUTE_COMMAND, "1ss" },
	{ FUZZ_SEND, ROLE_NET, REQUEST_ROUTE_PASSWORD, "s" },
	{ FUZZ_SEND, ROLE_NET, REQUEST_ROUTE_PASSWORD, "r" },
	{ FUZZ_SEND, ROLE_GATE, REQUEST_BEARER, "18ssssss" },
	{ FUZZ_SEND, ROLE_GATE, REQUEST_CERTIFICATE_LOGIN, "18ssh" },
	{ FUZZ_SEND, ROLE_GATE, REQUEST_BEARER, "r" },
	{ FUZZ_DIE, ROLE_NET, 0, NULL },
};

static const struct fuzz_role keys = { .role = ROLE_KEYS, .rows = rows, .row_count = COUNT_OF(rows), .prepare = prepare, .before = "A" };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) { return role_fuzz(&keys, data, n); }
