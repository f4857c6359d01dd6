/* A folder of certificates and keys that somebody filled by hand: two files, cut where a line of the input is "==". */
#include "auth/keyring.h"
#include "base/log.h"
#include "base/test.h"
#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct disk_dir *dir;
static const char *folder;

static void leave(void)
{
	disk_dir_close(&dir);
	test_dir_remove(folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	CLEANUP(buf_free) struct buf signature = BUF(TLS_SIGNATURE_MAX);
	struct str in = str_make(data, n), second = STR("");
	ptrdiff_t at = str_find(in, STR("\n==\n"));
	struct tls_sign r = { .scheme = TLS_ECDSA_SECP256R1_SHA256, .message = STR("hello") };

	if (dir == NULL) {
		log_to_fd(-1);
		folder = test_dir();
		assert(disk_dir_open(folder, &dir) == ERR_OK);
		atexit(leave);
	}
	if (at >= 0) {
		second = str_from(in, (size_t)at + 4);
		in.n = (size_t)at + 1;
	}
	assert(disk_write_file(dir, "a.pem", in) == ERR_OK && disk_write_file(dir, "b.key", second) == ERR_OK);
	struct keyring *k = keyring_new(dir);
	keyring_reload(k);
	const struct tls_certificates *list = keyring_list(k);
	for (size_t i = 0; i < list->count; i++) {
		memcpy(r.key_hash, list->list[i].key_hash, sizeof r.key_hash);
		(void)!keyring_sign(k, &r, &signature);
	}
	keyring_free(k);
	return 0;
}
