/* auth/secrets.h -- what the role keys keeps in keys.db: password hashes, app passwords, its own random secrets.
 * One thread. Changes are on disk when the call returns (synchronous = FULL), except the last use of app passwords. */
#ifndef FACTEUR_AUTH_SECRETS_H
#define FACTEUR_AUTH_SECRETS_H
#include "auth/command.h"
#include "crypto/digest.h"
#include "disk/disk.h"

enum { SECRET_KEY_SIZE = 32 };

struct secrets;
/* Opens or makes keys.db in this folder, which must outlive it. ERR_AGAIN (another process has it), ERR_IO, ERR_CORRUPT: logged. */
enum err secrets_open(struct disk_dir *dir, struct secrets **out) MUST_CHECK;
void secrets_close(struct secrets *s);  /* NULL is fine */

/* Made at random when the file was made: they never change, and never leave this process. */
const uint8_t *secrets_grant_key(const struct secrets *s);  /* for grant_key() */
const uint8_t *secrets_app_key(const struct secrets *s);    /* MACs of app passwords */
const uint8_t *secrets_scram_key(const struct secrets *s);  /* SCRAM salts, also the invented ones */

/* ERR_NOTFOUND: the account has no password of its own. */
enum err secrets_password(struct secrets *s, uint64_t account, struct arena *a, struct str *hash) MUST_CHECK;
enum err secrets_set_password(struct secrets *s, uint64_t account, struct str hash) MUST_CHECK;
/* Only if the hash is still the one given: an upgrade never undoes a change. ERR_CONFLICT. */
enum err secrets_upgrade_password(struct secrets *s, uint64_t account, struct str old_hash, struct str hash) MUST_CHECK;
enum err secrets_remove_password(struct secrets *s, uint64_t account) MUST_CHECK;
enum err secrets_forget(struct secrets *s, uint64_t account) MUST_CHECK;

struct app_secret {
	uint32_t app_password_id;
	uint32_t rights;
	uint8_t  mac[SHA256_SIZE];
	bool     has_scram;
	uint8_t  stored_key[SHA256_SIZE], server_key[SHA256_SIZE];
};
/* Adds one and sets *app_password_id. ERR_LIMIT: APP_PASSWORDS_MAX. */
enum err secrets_app_add(struct secrets *s, uint64_t account, struct str name, const struct app_secret *app, uint32_t *app_password_id) MUST_CHECK;
enum err secrets_app_remove(struct secrets *s, uint64_t account, uint32_t app_password_id) MUST_CHECK;
enum err secrets_app_list(struct secrets *s, uint64_t account, struct arena *a, struct app_password **apps, size_t *count) MUST_CHECK;
/* The one with this MAC. ERR_NOTFOUND. */
enum err secrets_app_find(struct secrets *s, uint64_t account, const uint8_t mac[SHA256_SIZE], struct app_secret *out) MUST_CHECK;
/* All that have SCRAM keys. */
enum err secrets_app_scram(struct secrets *s, uint64_t account, struct arena *a, struct app_secret **apps, size_t *count) MUST_CHECK;
/* Remembered in memory (at most 1000), written by secrets_flush(), which the owner calls once a minute and at the end. */
void secrets_app_used(struct secrets *s, uint64_t account, uint32_t app_password_id, int64_t now_s);
enum err secrets_flush(struct secrets *s);
#endif
