/* Hashes that users bring. crypt(3) is replaced: here it is about what we hand to it, and about the kinds that we read ourselves. */
#include "crypto/password.h"
#include <assert.h>
#include <crypt.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

char *crypt_r(const char *phrase, const char *setting, struct crypt_data *data)
{
	return snprintf(data->output, sizeof data->output, "%.380s%.1s", setting, phrase) < 0 ? NULL : data->output;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str hash, password;

	str_cut(str_make(data, n), '\n', &hash, &password);
	(void)password_hash_is_old(hash);
	assert(password_hash_kind(hash) != NULL);
	(void)password_hash_is_known(hash);
	(void)!password_check(hash, password);
	return 0;
}
