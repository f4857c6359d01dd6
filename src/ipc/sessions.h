/* ipc/sessions.h -- GATE_SESSIONS: which sessions a gate has. Asked in pages: u32 from index -> list, next index (0 = end). */
#ifndef FACTEUR_IPC_SESSIONS_H
#define FACTEUR_IPC_SESSIONS_H
#include "base/arena.h"
#include "base/wire.h"
#include "ipc/role.h"

enum { SESSIONS_PAGE_MAX = 160, SESSION_PEER_MAX = 64, SESSION_LOGIN_MAX = 160, SESSION_TLS_MAX = 64 };

struct session_info {
	uint64_t      session;
	uint64_t      account;        /* 0: not logged in yet */
	enum protocol protocol;
	bool          is_tls, is_parked, is_compressed;
	int64_t       since_s;        /* logged in, or connected */
	struct str    peer;           /* "192.0.2.7" */
	struct str    login;          /* as typed; empty: not logged in; cut at SESSION_LOGIN_MAX */
	struct str    tls;            /* "TLSv1.3 TLS_AES_128_GCM_SHA256"; empty: clear text */
	uint64_t      bytes_in, bytes_out;  /* from and to the client, before TLS and compression */
};
/* The answer: at most SESSIONS_PAGE_MAX sessions (they fit into one message), and where the next page begins; 0: that was all. */
void put_sessions(struct buf *b, const struct session_info *list, size_t n, uint32_t next);
/* Adds what the answer holds to *list, an array in the arena (start: NULL, 0, 0). */
bool get_sessions(struct scan *s, struct arena *a, struct session_info **list, size_t *n, size_t *cap, uint32_t *next);
#endif
