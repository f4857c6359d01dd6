/* Grants: right ones pass, each changed field is noticed. */
#include "base/test.h"
#include "ipc/grant.h"

TEST(grant)
{
	uint8_t secret[32] = { 1, 2, 3 }, key[GRANT_KEY_SIZE], other[GRANT_KEY_SIZE];
	struct grant g = { .account = 7, .rights = 8, .expires_s = 1000, .epoch = 3, .session = 99, .app_password_id = 2 }, back;
	struct buf b = BUF(200);
	struct scan s;

	grant_key(secret, 7, key);
	grant_key(secret, 8, other);
	EXPECT(memcmp(key, other, sizeof key) != 0);
	grant_sign(&g, key);
	EXPECT_ERR(grant_check(&g, key, 7, 3, 999, false), ERR_OK);
	EXPECT_ERR(grant_check(&g, key, 7, 4, 999, false), ERR_DENIED);    /* the epoch went on */
	EXPECT_ERR(grant_check(&g, key, 7, 3, 1000, false), ERR_DENIED);   /* expired */
	EXPECT_ERR(grant_check(&g, key, 8, 3, 999, false), ERR_DENIED);
	EXPECT_ERR(grant_check(&g, other, 7, 3, 999, false), ERR_DENIED);
	EXPECT_ERR(grant_check(&g, key, 7, 3, 1000, true), ERR_OK);         /* a session that has begun goes on … */
	EXPECT_ERR(grant_check(&g, key, 7, 4, 1000, true), ERR_DENIED);

	put_grant(&b, &g);
	EXPECT_INT(b.n, GRANT_SIZE);
	for (size_t i = 0; i < b.n; i++) {  /* every byte counts */
		b.p[i] ^= 0x10;
		s = scan_of(buf_str(&b));
		get_grant(&s, &back);
		EXPECT_ERR(grant_check(&back, key, 7, 0, 0, false), ERR_DENIED);
		b.p[i] ^= 0x10;
	}
	s = scan_of(buf_str(&b));
	get_grant(&s, &back);
	EXPECT(get_end(&s));
	EXPECT_ERR(grant_check(&back, key, 7, 3, 999, false), ERR_OK);
	s = scan_of(str_sub(buf_str(&b), 0, GRANT_SIZE - 1));
	get_grant(&s, &back);
	EXPECT(s.failed);
	g.ends_session = true;
	EXPECT_ERR(grant_check(&g, key, 7, 3, 999, true), ERR_DENIED);      /* it is signed */
	grant_sign(&g, key);
	EXPECT_ERR(grant_check(&g, key, 7, 3, 999, true), ERR_OK);
	EXPECT_ERR(grant_check(&g, key, 7, 3, 1000, true), ERR_DENIED);     /* … unless the grant bounds it */
	buf_free(&b);
}
