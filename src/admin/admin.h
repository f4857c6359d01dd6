/* admin/admin.h -- administrative commands: a request as JSON in, replies as JSON out (wire.h), the work on the
 * directory and on the roles that struct admin_host stands for. role/control.c has one host, offline.c another, for
 * when no server runs. */
#ifndef FACTEUR_ADMIN_ADMIN_H
#define FACTEUR_ADMIN_ADMIN_H
#include "auth/certificates.h"
#include "auth/command.h"
#include "auth/dkim.h"
#include "auth/route_password.h"
#include "directory/directory.h"
#include "directory/share.h"
#include "dns/resolver.h"
#include "http/fetch_call.h"
#include "ipc/sessions.h"
#include "queue/command.h"
#include "store/command.h"
#include "queue/envelope.h"
#include "tlsrpt/book.h"
#include "trail/store.h"

struct queue_way;      /* queue/destination.h */
struct send_answer;    /* queue/send.h */

/* What a command may use. Every function returns when the thing is done. The directory is locked while a command runs
 * and unlocked only inside the functions marked "waits": what was read from it before such a call may have changed
 * after it. */
struct admin_host {
	void             *context;
	struct directory *directory;
	const char       *dir;            /* the data folder */
	bool              is_running;     /* a server runs: sessions, queue, cells */
	int64_t           started_s;
	const struct conf *file;          /* what facteur.conf says */

	/* keys: passwords. waits. As SECRET_COMMAND (auth/command.h). */
	enum err (*secret)(void *context, const struct secret_command *c, struct arena *a, struct secret_reply *out);
	/* waits: when it returns every role looks addresses up in the directory as it is now, or is not running.
	 * ERR_TIMEOUT: some role does not answer; it will get it. */
	enum err (*publish)(void *context);
	/* Sessions and grants of the account with an older epoch end within a second. waits. */
	enum err (*end_sessions)(void *context, uint64_t account, uint32_t epoch);
	/* Makes accounts/N. ERR_EXISTS: somebody's mail is in it. waits. */
	enum err (*make_folder)(void *context, uint64_t account);
	/* Erases accounts/N and all in it. waits. */
	enum err (*remove_folder)(void *context, uint64_t account);
	/* Asks the cell of the account, started if need be. waits. As store/command.h. ERR_CONFLICT: to compact, no
	 * server runs, and the account was not closed cleanly: only a cell can put it in order. */
	enum err (*cell)(void *context, uint64_t account, const struct store_command *c, struct arena *a,
					 struct store_answer *out);
	/* Settings changed: running cells are told their limits anew; account 0: all of them. Does not wait. */
	void     (*limits_changed)(void *context, uint64_t account);
	/* Running cells say how full their accounts are, so that the directory is up to date; 0: all of them, else the one of this account. One that
	 * does not answer within a second stays as it was heard last. waits. */
	void     (*usage)(void *context, uint64_t account);
	/* These may see something of others' that they could not see before: they hear of it. Does not wait. */
	void     (*gained)(void *context, const struct share_gains *gained);
	/* Ends the cell of the account; ERR_OK also when there is none. waits. */
	enum err (*end_cell)(void *context, uint64_t account);
	/* The queue; ERR_UNAVAILABLE when it does not run. waits. */
	enum err (*queue)(void *context, const struct queue_command *c, struct arena *a, struct queue_answer *out);
	/* The TLS certificates in use. waits. */
	enum err (*certificates)(void *context, struct arena *a, struct certificate_info **out, size_t *n);
	/* What the trail knows; ERR_UNAVAILABLE: none is kept. waits. */
	enum err (*trace)(void *context, const struct trail_query *q, struct arena *a, struct trail_found *out);
	/* keys: what signs the mail of a domain. waits. As DKIM_COMMAND (auth/dkim.h). */
	enum err (*dkim)(void *context, const struct dkim_command *c, struct arena *a, struct dkim_keys *out);
	/* net: the domain name system. ERR_UNAVAILABLE when it does not run. waits. */
	enum err (*question)(void *context, struct str name, enum dns_type type, struct arena *a, struct dns_answer *out);
	/* net: a text from a web server, or one posted there. ERR_UNAVAILABLE when it does not run. waits. */
	enum err (*fetch)(void *context, const struct http_place *p, struct arena *a, struct fetch_said *out);
	/* A message of the server's own into the queue; when it returns ERR_OK, it will be sent. As queue_add(). waits. */
	enum err (*mail)(void *context, const struct envelope *e, struct str message);
	struct book *book;                /* what is counted about TLS; NULL: nothing */
	/* keys: the passwords of routes. waits. As ROUTE_COMMAND (auth/route_password.h). */
	enum err (*route_password)(void *context, const struct route_password_command *c, bool *was_there);
	/* net: is there a server that would take mail for this address? *way: which way it would go. ERR_INVALID: no address. ERR_UNAVAILABLE
	 * when net does not run. waits. */
	enum err (*probe)(void *context, struct str address, struct arena *a, struct queue_way *way, struct send_answer *out);
	/* All sessions of all gates. waits. */
	enum err (*sessions)(void *context, struct arena *a, struct session_info **out, size_t *n);
};

/* Runs one request and sends its replies, the last of them always. send: false when the asker is gone (the command goes
 * on); "waits", as above. */
typedef bool (*admin_sender)(void *context, struct str message);
void admin_run(const struct admin_host *host, struct str request, admin_sender send, void *send_context);
#endif
