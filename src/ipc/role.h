/* ipc/role.h -- the roles: one binary, each process keeps only what it needs (DESIGN.md §2). */
#ifndef FACTEUR_IPC_ROLE_H
#define FACTEUR_IPC_ROLE_H
#include "base/str.h"

enum role {
	ROLE_MASTER = 1, ROLE_NURSERY, ROLE_CONTROL, ROLE_KEYS, ROLE_GATE, ROLE_MX, ROLE_QUEUE, ROLE_NET, ROLE_SCAN, ROLE_CELL,
	ROLE_COUNT
};

const char *role_name(enum role r);             /* "gate"; "?" if unknown */
bool role_find(struct str name, enum role *out);

/* Protocols a listening socket or a session speaks. The values travel between roles: append only. */
enum protocol {
	PROTOCOL_SMTP = 1,     /* port 25 */
	PROTOCOL_SUBMISSION,   /* 587 STARTTLS, 465 TLS */
	PROTOCOL_IMAP,         /* 143 STARTTLS, 993 TLS */
	PROTOCOL_POP3,         /* 110 STLS, 995 TLS */
	PROTOCOL_LOCAL,        /* DIR/submit.sock: SMTP from programs of this machine, to mx; who it is say the peer credentials */
	PROTOCOL_ADMIN,        /* DIR/admin.sock: the command line, to control (admin/admin.h) */
	PROTOCOL_HTTP,         /* 443 TLS: policies, pages */
	PROTOCOL_COUNT
};
const char *protocol_name(enum protocol p);
#endif
