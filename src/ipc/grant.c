/* Grants: what is signed is exactly what put_grant() writes before the MAC, so a field added there is covered by itself.
 *
 * The key of an account is HKDF(secret, account). A cell holds its own key only: it can forge a grant for the account whose mail
 * it has anyway, and none for others. The account number is also inside the MAC, so a key handed to the wrong cell (a bug in
 * master) verifies nothing. */
#include "ipc/grant.h"
#include "base/mem.h"
#include "crypto/mac.h"
#include <assert.h>

enum { GRANT_SIGNED_SIZE = GRANT_SIZE - GRANT_MAC_SIZE };

void put_grant(struct buf *b, const struct grant *g)
{
	put_u64(b, g->account);
	put_u32(b, g->rights);
	put_bool(b, g->ends_session);
	put_i64(b, g->expires_s);
	put_u32(b, g->epoch);
	put_u32(b, g->token_mark);
	put_u64(b, g->session);
	put_u32(b, g->app_password_id);
	buf_add_bytes(b, g->mac, sizeof g->mac);
}

void get_grant(struct scan *s, struct grant *g)
{
	struct str mac;

	g->account = get_u64(s);
	g->rights = get_u32(s);
	g->ends_session = get_bool(s);
	g->expires_s = get_i64(s);
	g->epoch = get_u32(s);
	g->token_mark = get_u32(s);
	g->session = get_u64(s);
	g->app_password_id = get_u32(s);
	mac = scan_bytes(s, sizeof g->mac);
	if (mac.n == sizeof g->mac)
		memcpy(g->mac, mac.p, sizeof g->mac);
	else
		memset(g->mac, 0, sizeof g->mac);
}

static void grant_mac(const struct grant *g, const uint8_t key[GRANT_KEY_SIZE], uint8_t mac[GRANT_MAC_SIZE])
{
	CLEANUP(buf_free) struct buf b = BUF(GRANT_SIZE);

	put_grant(&b, g);
	assert(b.n == GRANT_SIZE);
	hmac_sha256(str_make(key, GRANT_KEY_SIZE), str_make(b.p, GRANT_SIGNED_SIZE), mac);
}

void grant_sign(struct grant *g, const uint8_t key[GRANT_KEY_SIZE])
{
	grant_mac(g, key, g->mac);
}

enum err grant_check(const struct grant *g, const uint8_t key[GRANT_KEY_SIZE], uint64_t account, uint32_t epoch, int64_t now_s, bool goes_on)
{
	uint8_t mac[GRANT_MAC_SIZE];

	grant_mac(g, key, mac);
	if (!str_same_secret(str_make(mac, sizeof mac), str_make(g->mac, sizeof g->mac)))
		return ERR_DENIED;
	if (g->account != account || g->epoch < epoch)
		return ERR_DENIED;
	return g->expires_s > now_s || (goes_on && !g->ends_session) ? ERR_OK : ERR_DENIED;
}

void grant_key(const uint8_t secret[32], uint64_t account, uint8_t key[GRANT_KEY_SIZE])
{
	CLEANUP(buf_free) struct buf info = BUF(64);

	buf_add_cstr(&info, "facteur grant 1 ");
	put_u64(&info, account);
	hkdf_sha256(str_make(secret, 32), STR_NONE, buf_str(&info), key, GRANT_KEY_SIZE);
}
