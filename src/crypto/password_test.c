/* Hashes made elsewhere are read, ours are made and checked, costs from outside are refused. */
#include "base/test.h"
#include "crypto/password.h"

TEST(foreign_hashes)
{
	static const struct { const char *hash, *kind; } cases[] = {  /* all of "secret" */
		{ "$y$j9T$dERtGEwe2crg001mJ/.fi1$I46i175lctXPB0gTASI6vQUfJ2.LBxbudmf5mAk2iF1", "yescrypt" },
		{ "$2b$05$DoDyYM66t8lliQNtcZI8oOWfpd9InVyprz/f2.um9p0FkFslLMh22", "bcrypt" },
		{ "{BLF-CRYPT}$2b$05$DoDyYM66t8lliQNtcZI8oOWfpd9InVyprz/f2.um9p0FkFslLMh22", "bcrypt" },
		{ "$6$mISGenoTOWPMO5Jj$GHkHJ/ObAgLiyaomRi4f.aLIboms/gdl4MgaxkCwqm8ImpgecAKJrL0hp68iTpB0sfGN5ggMAcrKh1GkQNIuY/",
		  "sha512crypt" },
		{ "{sha256-crypt}$5$xZCeC/j8bYn0hrXk$IyOUf6MPNgOVNPaGASIakWwzKsO/XCuDtEtO/V54eU0", "sha256crypt" },
		{ "$1$9r2f6HiC$PK7UUGgsEQlAPi0OUGQZW0", "md5crypt" },
		{ "{SSHA}1G904nLkTkGWjKNnQuB/hpWXC/hzYWx0c2FsdA==", "ssha" },
		{ "{SSHA256}oBmrdHcA6OZEkkCLeXh71YAerbvhXz1qqwjrPsXmEtNzYWx0c2FsdA==", "ssha256" },
		{ "{SSHA512.b64}aCu7JRc+kLsuEmFs1zTY+AiP7DSGnjjG+dH28Dp+E5usqoAixeTPihKqZmkWal4mUfp63tqvCAkFV1LKTDFH6XNhbHRzYWx0",
		  "ssha512" },
		{ "{SMD5}VAfQ6nCkaw9o3u+x706wnXNhbHRzYWx0", "smd5" },
		{ "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "sha" },
		{ "{SHA256.HEX}2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b", "sha256" },
		{ "{PBKDF2}$1$abcdefgh$5000$4d1f485e75d13fbf46ec6f88ea5cd2faebfe3e0a", "pbkdf2" },
		{ "{PLAIN}secret", "plain" },
	};

	EACH(cases, c) {
		EXPECT(password_hash_is_known(str_of(c->hash)));
		EXPECT_STR(str_of(password_hash_kind(str_of(c->hash))), c->kind);
		EXPECT_ERR(password_check(str_of(c->hash), STR("secret")), ERR_OK);
		EXPECT_ERR(password_check(str_of(c->hash), STR("Secret")), ERR_DENIED);
		EXPECT_ERR(password_check(str_of(c->hash), STR("")), ERR_DENIED);
		EXPECT_ERR(password_check(str_of(c->hash), STR("secret\0x")), ERR_DENIED);  /* crypt(3) would stop at the NUL */
		EXPECT_INT(password_hash_is_old(str_of(c->hash)), c->hash[0] != '$' || c->hash[1] != 'y');
	}
}

TEST(refused_hashes)
{
	static const char *const cases[] = {
		"", "secret", "{NOSUCH}secret", "{SSHA", "{SSHA}", "{SSHA}AAAA", "{SHA}AAAA", "{SSHA}!!!!", "{PLAIN}",
		"$6$rounds=999999999$mISGenoTOWPMO5Jj$GHkHJ/ObAgLiyaomRi4f.aLIboms/gdl4MgaxkCwqm8ImpgecAKJrL0hp68",  /* hours */
		"$6$rounds=x$mISGenoTOWPMO5Jj$GHkHJ", "$2b$31$DoDyYM66t8lliQNtcZI8oOWfpd9InVyprz/f2.um9p0FkFslLMh22",
		"$y$jFT$ol225LbB0Pyw36570IiDY/$I46i175lctXPB0gTASI6vQUfJ2.LBxbudmf5mAk2iF1",                          /* 1 GB */
		"$y$", "$y$j9T$", "$y$j9T", "$1$", "{PBKDF2}$1$abc$0$00", "{PBKDF2}$1$abc$99999999999$00", "*", "!",
	};

	EACH(cases, c) {
		EXPECT(!password_hash_is_known(str_of(*c)));
		EXPECT(password_check(str_of(*c), STR("secret")) != ERR_OK);
	}
}

TEST(own_hashes)
{
	struct arena a = { 0 };
	struct str hash = STR_NONE, other = STR_NONE;
	char long_password[PASSWORD_MAX + 1];

	memset(long_password, 'x', sizeof long_password);
	EXPECT_OK(password_hash(STR("correct horse \xc3\xa9"), &a, &hash));
	EXPECT(!password_hash_is_old(hash));
	EXPECT(password_hash_is_known(hash));
	EXPECT_ERR(password_check(hash, STR("correct horse \xc3\xa9")), ERR_OK);
	EXPECT_ERR(password_check(hash, STR("correct horse e")), ERR_DENIED);
	EXPECT_OK(password_hash(str_make(long_password, PASSWORD_MAX), &a, &other));  /* libxcrypt's own limit is 511 */
	EXPECT_ERR(password_check(other, str_make(long_password, PASSWORD_MAX)), ERR_OK);
	EXPECT_ERR(password_hash(str_make(long_password, sizeof long_password), &a, &other), ERR_INVALID);
	EXPECT_ERR(password_hash(STR(""), &a, &other), ERR_INVALID);
	EXPECT_ERR(password_hash(STR("a\0b"), &a, &other), ERR_INVALID);
	EXPECT_ERR(password_check(password_hash_nobody(), STR("secret")), ERR_DENIED);
	EXPECT(!password_hash_is_old(password_hash_nobody()));
	arena_free(&a);
}
