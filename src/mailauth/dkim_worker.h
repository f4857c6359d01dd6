/* mailauth/dkim_worker.h -- the judgement behind DKIM_SIGN and DKIM_COMMAND, for the role keys and for a command that runs without a
 * server: keys out of keys.db, signatures and new keys made in a thread of its own. One owner thread. */
#ifndef FACTEUR_MAILAUTH_DKIM_WORKER_H
#define FACTEUR_MAILAUTH_DKIM_WORKER_H
#include "auth/dkim_store.h"
#include "mailauth/dkim_sign.h"

enum { DKIM_PENDING_MAX = 64 };   /* more that wait get ERR_LIMIT */

struct dkim_worker;
/* has_thread false: dkim_worker_receive() does the work (tests, commands). */
struct dkim_worker *dkim_worker_new(struct secrets *s, bool has_thread);   /* borrowed */
void dkim_worker_free(struct dkim_worker *w);        /* what waits is dropped, its done() does not run; NULL is fine */
int  dkim_worker_fd(const struct dkim_worker *w);    /* readable: call dkim_worker_receive() */
void dkim_worker_receive(struct dkim_worker *w);

/* done runs once, inside this call or inside dkim_worker_receive(); what it is given is borrowed. */
typedef void (*dkim_signed)(void *context, enum err status, struct str prefix);
void dkim_worker_sign(struct dkim_worker *w, const struct dkim_request *r, dkim_signed done, void *context);
typedef void (*dkim_commanded)(void *context, enum err status, const struct dkim_keys *keys);
void dkim_worker_command(struct dkim_worker *w, const struct dkim_command *c, dkim_commanded done, void *context);
#endif
