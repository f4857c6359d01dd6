/* App passwords and SCRAM keys. All app passwords of an account share one salt (SCRAM tells the client the salt before it knows
 * which password comes), derived from the account's number, so that it survives a rename; for a name that does not exist it is
 * derived from the name. 4096 rounds (RFC 7677 §4) protect nothing here that 118 random bits do not. */
#include "auth/app_password.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "crypto/mac.h"

struct str app_password_make(struct arena *a)
{
	struct str w = random_word(a, APP_PASSWORD_LETTERS);
	char *out = arena_alloc(a, APP_PASSWORD_TEXT);
	size_t n = 0;

	for (size_t i = 0; i < w.n; i++) {
		if (i > 0 && i % 4 == 0)
			out[n++] = '-';
		out[n++] = w.p[i];
	}
	return str_make(out, n);
}

void app_password_mac(const uint8_t key[SECRET_KEY_SIZE], uint64_t account, struct str typed, uint8_t mac[SHA256_SIZE])
{
	CLEANUP(buf_free) struct buf b = BUF(64 + SECRET_MAX);

	put_u64(&b, account);
	for (size_t i = 0; i < typed.n && i < SECRET_MAX; i++)
		if (typed.p[i] != '-' && typed.p[i] != ' ')
			buf_add_char(&b, chr_lower(typed.p[i]));
	hmac_sha256(str_make(key, SECRET_KEY_SIZE), buf_str(&b), mac);
	mem_wipe(b.p, b.n);
}

void scram_keys(struct str password, const uint8_t salt[SCRAM_SALT_SIZE], uint8_t stored_key[SHA256_SIZE], uint8_t server_key[SHA256_SIZE])
{
	uint8_t salted[SHA256_SIZE], client_key[SHA256_SIZE];

	pbkdf2(DIGEST_SHA256, password, str_make(salt, SCRAM_SALT_SIZE), SCRAM_ITERATIONS, salted, sizeof salted);
	hmac_sha256(str_make(salted, sizeof salted), STR("Client Key"), client_key);
	sha256(str_make(client_key, sizeof client_key), stored_key);
	hmac_sha256(str_make(salted, sizeof salted), STR("Server Key"), server_key);
	mem_wipe(salted, sizeof salted);
	mem_wipe(client_key, sizeof client_key);
}

/* ClientKey = ClientProof XOR HMAC(StoredKey, AuthMessage); right if H(ClientKey) = StoredKey */
bool scram_proof_is_right(const struct app_secret *app, struct str auth_message, const uint8_t proof[SHA256_SIZE],
                          uint8_t signature[SHA256_SIZE])
{
	uint8_t client_key[SHA256_SIZE], hashed[SHA256_SIZE];

	hmac_sha256(str_make(app->stored_key, SHA256_SIZE), auth_message, client_key);
	for (int i = 0; i < SHA256_SIZE; i++)
		client_key[i] ^= proof[i];
	sha256(str_make(client_key, sizeof client_key), hashed);
	mem_wipe(client_key, sizeof client_key);
	if (!str_same_secret(str_make(hashed, sizeof hashed), str_make(app->stored_key, SHA256_SIZE)))
		return false;
	hmac_sha256(str_make(app->server_key, SHA256_SIZE), auth_message, signature);
	return true;
}

void scram_salt(const uint8_t key[SECRET_KEY_SIZE], uint64_t account, struct str login, uint8_t salt[SCRAM_SALT_SIZE])
{
	CLEANUP(buf_free) struct buf b = BUF(1024);
	uint8_t mac[SHA256_SIZE];

	put_u64(&b, account);
	if (account == 0)
		for (size_t i = 0; i < login.n; i++)
			buf_add_char(&b, chr_lower(login.p[i]));
	hmac_sha256(str_make(key, SECRET_KEY_SIZE), buf_str(&b), mac);
	memcpy(salt, mac, SCRAM_SALT_SIZE);
}
