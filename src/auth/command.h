/* auth/command.h -- SECRET_COMMAND: what control asks of keys about the passwords of an account.
 * keys does not raise epochs: after a change that must end sessions control raises the account's epoch, publishes the
 * directory and sends EPOCH. Passwords in these messages never reach a log.
 *
 *   SECRET_SET_PASSWORD  account, secret          -> (empty)      ERR_INVALID: empty, longer than 511 bytes, NUL in it
 *   SECRET_SET_HASH      account, secret = hash   -> (empty)      ERR_INVALID: a hash we cannot read (crypto/password.h)
 *   SECRET_REMOVE        account                  -> (empty)      no password any more: only app passwords log in
 *   SECRET_CHECK         account, secret          -> (empty)      ERR_DENIED: it is not this account's own password
 *   SECRET_STATUS        account                  -> flag: has a password; text: kind of hash; count of app passwords in id
 *   SECRET_APP_ADD       account, name, rights    -> id, text: the password, shown once     ERR_LIMIT: APP_PASSWORDS_MAX reached
 *   SECRET_APP_LIST      account                  -> apps
 *   SECRET_APP_REMOVE    account, id              -> (empty)      ERR_NOTFOUND
 *   SECRET_CERTIFICATE_ADD  account, name, rights, secret = fingerprint, id = when it expires (seconds since 1970, 0: unknown)
 *                                                -> id           ERR_EXISTS; ERR_LIMIT: CLIENT_CERTIFICATES_MAX reached
 *   SECRET_CERTIFICATE_LIST account               -> certificates
 *   SECRET_CERTIFICATE_REMOVE account, id         -> (empty)      ERR_NOTFOUND
 *   SECRET_FORGET        account                  -> (empty)      all of it, the account is gone
 *   SECRET_EPOCH         account, id = epoch      -> (empty)      remembered passwords are dropped, grants carry at least this */
#ifndef FACTEUR_AUTH_COMMAND_H
#define FACTEUR_AUTH_COMMAND_H
#include "base/arena.h"
#include "auth/verify.h"
#include "base/wire.h"

enum secret_op {
	SECRET_SET_PASSWORD = 1, SECRET_SET_HASH, SECRET_REMOVE, SECRET_CHECK, SECRET_STATUS, SECRET_APP_ADD, SECRET_APP_LIST,
	SECRET_APP_REMOVE, SECRET_FORGET, SECRET_EPOCH, SECRET_CERTIFICATE_ADD, SECRET_CERTIFICATE_LIST, SECRET_CERTIFICATE_REMOVE, SECRET_OP_COUNT
};
enum { APP_PASSWORDS_MAX = 50, APP_PASSWORD_NAME_MAX = 100, SECRET_MAX = 512, CLIENT_CERTIFICATES_MAX = 50 };

struct secret_command {   /* strings are borrowed; fields an operation does not use are zero */
	enum secret_op op;
	uint64_t   account;
	uint32_t   id;
	uint32_t   rights;    /* bit mask of 1u << enum protocol; 0: all */
	struct str name;      /* what the owner calls it: "my phone" */
	struct str secret;
};
void put_secret_command(struct buf *b, const struct secret_command *c);
bool get_secret_command(struct scan *s, struct secret_command *c);

struct app_password {
	uint32_t   app_password_id;
	uint32_t   rights;
	struct str name;
	int64_t    created_s, last_used_s;   /* 0: never used; last use is kept to within an hour */
};
struct client_certificate {
	uint32_t   certificate_id;
	uint32_t   rights;                          /* as of an app password */
	struct str name;
	uint8_t    fingerprint[FINGERPRINT_SIZE];   /* SHA-256 of the certificate */
	int64_t    expires_s;                       /* 0: not known */
	int64_t    created_s, last_used_s;          /* 0: never used; last use is kept to within a day */
};
struct secret_reply {
	bool       flag;
	uint32_t   id;
	struct str text;
	struct app_password *apps;
	size_t     app_count;
	struct client_certificate *certificates;
	size_t     certificate_count;
};
void put_secret_reply(struct buf *b, const struct secret_reply *r);
bool get_secret_reply(struct scan *s, struct arena *a, struct secret_reply *r);
#endif
