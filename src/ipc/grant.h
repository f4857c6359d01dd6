/* ipc/grant.h -- "this session may act for this account": made by keys, carried by gate, checked by the cell itself with the
 * key of its account (HKDF of a secret that stays in keys), so that a cell can check grants but forge none for others. */
#ifndef FACTEUR_IPC_GRANT_H
#define FACTEUR_IPC_GRANT_H
#include "base/wire.h"

enum { GRANT_KEY_SIZE = 32, GRANT_MAC_SIZE = 32, GRANT_SIZE = 8 + 4 + 1 + 4 + 8 + 4 + 8 + 4 + GRANT_MAC_SIZE };

struct grant {
	uint64_t account;
	uint32_t rights;             /* bit mask of 1u << enum protocol: what this password may be used for */
	/* It bounds the session, too: the gate ends it then, and no cell takes it back. */
	bool     ends_session;
	/* Wall clock. A new session needs a fresh grant; one that is attached or parked lives on, unless ends_session, and comes back with the
	 * old one: account, epoch and MAC are checked each time, the expiry only at the beginning (net/attach.h). */
	int64_t  expires_s;
	uint32_t epoch;              /* of the account when it was given */
	/* Of a login by token: what let it in (issuer_mark()); 0: another login. The session ends when nothing in the directory has this mark any more:
	 * the gate looks. */
	uint32_t token_mark;
	uint64_t session;            /* the gate's number of the session; it is part of the MAC */
	uint32_t app_password_id;    /* 0: the account's own password */
	uint8_t  mac[GRANT_MAC_SIZE];/* HMAC-SHA-256 over all above */
};

void put_grant(struct buf *b, const struct grant *g);
void get_grant(struct scan *s, struct grant *g);
void grant_sign(struct grant *g, const uint8_t key[GRANT_KEY_SIZE]);
/* ERR_OK; ERR_DENIED: forged, another account, expired, or older than epoch. goes_on: of a session that has begun before. */
enum err grant_check(const struct grant *g, const uint8_t key[GRANT_KEY_SIZE], uint64_t account, uint32_t epoch, int64_t now_s, bool goes_on);
/* key = HKDF-SHA-256(secret, account) */
void grant_key(const uint8_t secret[32], uint64_t account, uint8_t key[GRANT_KEY_SIZE]);
#endif
