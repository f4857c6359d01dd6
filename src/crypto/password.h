/* crypto/password.h -- password hashes: yescrypt is made; what users bring from other servers is read.
 *
 * Read: crypt(5) strings that libxcrypt knows ($y$ $gy$ $7$ $2b$ $2a$ $2y$ $6$ $5$ $1$), bare or behind a Dovecot-style prefix
 * ({CRYPT} {BLF-CRYPT} {SHA512-CRYPT} {SHA256-CRYPT} {MD5-CRYPT}); {SSHA} {SSHA256} {SSHA512} {SHA} {SHA256} {SHA512} {SMD5}
 * (base64 or, with .HEX, hex), {PBKDF2} as Dovecot writes it, and {PLAIN} {CLEAR} {CLEARTEXT}.
 * A password is at most PASSWORD_MAX bytes and has no NUL (crypt(3) would cut it there). */
#ifndef FACTEUR_CRYPTO_PASSWORD_H
#define FACTEUR_CRYPTO_PASSWORD_H
#include "base/arena.h"

enum { PASSWORD_MAX = 511, PASSWORD_HASH_MAX = 384 };

/* A fresh yescrypt hash ("$y$j9T$..."): 16 MB and some 25 ms of one core. ERR_INVALID: empty, too long or with a NUL. */
enum err password_hash(struct str password, struct arena *a, struct str *hash) MUST_CHECK;
/* Takes as long as the hash's own cost. ERR_OK; ERR_DENIED: another password; ERR_INVALID: a hash we cannot read. */
enum err password_check(struct str hash, struct str password) MUST_CHECK;
/* True when password_check could read it. Cheap. */
bool password_hash_is_known(struct str hash);
/* True when the hash is not of the kind and cost that password_hash() makes: hash the password again at the next login. */
bool password_hash_is_old(struct str hash);
/* "yescrypt", "bcrypt", "sha512crypt", "SSHA" ...; "unknown". For lists. */
const char *password_hash_kind(struct str hash);
/* A hash no password matches but that costs the same to check: for names that do not exist. */
struct str password_hash_nobody(void);
#endif
