/* auth/app_password.h -- app passwords: made by us, 24 characters of 31 (118 bits), shown once as abcd-efgh-... A guess is hopeless,
 * so one HMAC is enough to keep and to check them; what is stored is of no use without the key of this server. */
#ifndef FACTEUR_AUTH_APP_PASSWORD_H
#define FACTEUR_AUTH_APP_PASSWORD_H
#include "auth/secrets.h"

enum { APP_PASSWORD_LETTERS = 24, APP_PASSWORD_TEXT = 24 + 5, SCRAM_ITERATIONS = 4096, SCRAM_SALT_SIZE = 16 };

struct str app_password_make(struct arena *a);
/* The MAC of what somebody typed: capitals, spaces and hyphens of phone keyboards do not count. */
void app_password_mac(const uint8_t key[SECRET_KEY_SIZE], uint64_t account, struct str typed, uint8_t mac[SHA256_SIZE]);

/* SCRAM-SHA-256 (RFC 5802 §3): StoredKey and ServerKey of a password as shown. */
void scram_keys(struct str password, const uint8_t salt[SCRAM_SALT_SIZE], uint8_t stored_key[SHA256_SIZE], uint8_t server_key[SHA256_SIZE]);
/* Whether the proof is of this key, over the messages as sent. On true *signature is the ServerSignature. */
bool scram_proof_is_right(const struct app_secret *app, struct str auth_message, const uint8_t proof[SHA256_SIZE],
                          uint8_t signature[SHA256_SIZE]);
/* The salt of an account, or of a name that does not exist: stable, and nobody can tell which it is. */
void scram_salt(const uint8_t key[SECRET_KEY_SIZE], uint64_t account, struct str login, uint8_t salt[SCRAM_SALT_SIZE]);
#endif
