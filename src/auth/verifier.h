/* auth/verifier.h -- who may log in: the judgement behind VERIFY, SCRAM_FIRST, SCRAM_FINAL and SECRET_COMMAND, without processes and
 * channels (role/keys.c adds those; the unit test does not need them). One owner thread; yescrypt runs in workers of its own. */
#ifndef FACTEUR_AUTH_VERIFIER_H
#define FACTEUR_AUTH_VERIFIER_H
#include "auth/secrets.h"
#include "directory/issuer.h"
#include "auth/verify.h"

/* An account as the directory knows it at this moment. */
struct login_account {
	uint64_t   account;
	uint32_t   epoch;
	uint32_t   rights;        /* bit mask of 1u << enum protocol */
	bool       is_suspended;
	struct str address;       /* its main address; borrowed from the arena or the directory until the next change */
};

struct verifier_options {
	struct secrets *secrets;  /* borrowed */
	/* The account somebody means by this login name (any case, an alias ...); false: none. */
	bool (*resolve)(void *context, struct str login, struct arena *a, struct login_account *out);
	/* The account of the printer or scanner at this IP address; false: none. */
	bool (*resolve_printer)(void *context, struct str ip, struct login_account *out);
	/* The account of this number; false: none. */
	bool (*resolve_account)(void *context, uint64_t account, struct login_account *out);
	/* The issuers whose tokens are believed: their number. Strings live in the arena or the directory. */
	size_t (*issuers)(void *context, struct arena *a, struct issuer **out);
	/* A token names a key that this issuer, whose keys are fetched, has not here: it is to be asked. */
	void (*fetch_keys)(void *context, const struct issuer *i);
	void  *context;
	int    workers;           /* threads for yescrypt; 0: none, verifier_receive() does it (tests) */
	bool   has_scram;         /* the setting: app passwords get SCRAM keys */
	bool   token_ends_session;   /* the setting; else the session may outlive the token by a day */
	int64_t (*now_ms)(void);  /* NULL: clock_mono_ms */
};

struct verifier;
struct verifier *verifier_new(const struct verifier_options *o);
void verifier_free(struct verifier *v);             /* pending asks are dropped, their done() does not run */
void verifier_set_scram(struct verifier *v, bool has_scram);
void verifier_set_token_ends_session(struct verifier *v, bool yes);

int  verifier_fd(const struct verifier *v);         /* readable: call verifier_receive() */
void verifier_receive(struct verifier *v);
void verifier_tick(struct verifier *v);             /* once a second */

/* done runs once, inside this call or inside verifier_receive() or verifier_tick(); the reply is borrowed. */
typedef void (*verifier_done)(void *context, const struct verify_reply *r);
void verifier_ask(struct verifier *v, const struct verify_request *r, verifier_done done, void *context);

/* asker: anything that tells one gate from another; a SCRAM exchange ends where it began. Strings live in the arena. */
void verifier_scram_first(struct verifier *v, const struct scram_first_request *r, const void *asker, struct arena *a,
                          struct scram_first_reply *out);
void verifier_scram_final(struct verifier *v, const struct scram_final_request *r, const void *asker, struct arena *a,
                          struct verify_reply *out);

/* CERTIFICATE_LOGIN and BEARER. Strings live in the arena. */
void verifier_certificate(struct verifier *v, const struct certificate_login_request *r, struct arena *a, struct verify_reply *out);
void verifier_bearer(struct verifier *v, const struct bearer_request *r, struct arena *a, struct verify_reply *out);

/* The grant of a device on the list of printers: submission and nothing else. The strings live until the next change. */
void verifier_printer(struct verifier *v, const struct printer_request *r, struct verify_reply *out);

typedef void (*verifier_answer)(void *context, enum err status, const struct secret_reply *r);
void verifier_command(struct verifier *v, const struct secret_command *c, verifier_answer answer, void *context);

/* The key of an account's grants, for its cell. */
void verifier_cell_key(const struct verifier *v, uint64_t account, uint8_t key[GRANT_KEY_SIZE]);
/* The epoch grants of this account carry: the directory's, or a newer one told by SECRET_EPOCH. */
uint32_t verifier_epoch(const struct verifier *v, uint64_t account, uint32_t of_directory);
#endif
