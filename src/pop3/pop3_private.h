/* pop3/pop3_private.h -- one POP3 session: a list of messages fixed at login (RFC 1939 §8 gives it exclusive access; here IMAP may
 * change the mailbox meanwhile, and the numbers stay what they were). */
#ifndef FACTEUR_POP3_POP3_PRIVATE_H
#define FACTEUR_POP3_POP3_PRIVATE_H
#include "net/session.h"
#include "store/view.h"
#include "submit/account.h"

enum { POP3_LINE_MAX = 255, POP3_ERRORS_MAX = 50, POP3_HEADER_MAX = 256 * 1024 };  /* RFC 2449 §4: a command is at most 255 octets */

struct pop3_message {
	uint32_t uid, email;
	uint64_t size, emailid;
	bool     is_deleted, is_seen;
};

struct pop3 {
	struct session *s;
	struct view    *view;
	uint64_t        account;
	int64_t         mailbox_id;
	struct pop3_message *messages;  /* number n is messages[n - 1] */
	uint32_t        count;
	bool            has_lock, has_utf8, is_over;
	struct str      sasl;           /* the mechanisms that were offered before the login, for CAPA */
	struct arena    arena;          /* of one command */
	struct buf      header;         /* made ASCII for a client without UTF8 (downgrade.h) */
	struct arena    seen_arena;
	struct uid_set  seen;           /* retrieved, not yet marked in the store */
	int             errors;
};

/* maildrop.c */
enum err maildrop_open(struct pop3 *p, struct account *account) MUST_CHECK;  /* ERR_AGAIN: another session has it */
void     maildrop_close(struct pop3 *p);
/* The message that the argument names, or NULL after having answered -ERR. */
struct pop3_message *maildrop_find(struct pop3 *p, struct str number);
void     maildrop_mark_seen(struct pop3 *p);             /* writes what RETR collected */
void     maildrop_total(const struct pop3 *p, uint32_t *count, uint64_t *size);

/* engine.c */
void pop3_error(struct pop3 *p, const char *text);       /* "-ERR text", counted */
void pop3_failure(struct pop3 *p, enum err e);           /* the one place that turns enum err into -ERR */

#define COMMAND(word, handler, args, meaning, spec) void handler(struct pop3 *p, struct str rest);
#define CAPABILITY(line, spec)
#include "pop3/commands.def"
#undef COMMAND
#undef CAPABILITY
#endif
