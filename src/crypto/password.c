/* Password hashes. New ones are yescrypt as libxcrypt's crypt_gensalt makes them (cost 5, "$y$j9T$": 16 MB, some 25 ms); old ones
 * are read in the spellings people bring from Dovecot, Postfix, LDAP and /etc/shadow.
 *
 * Two rules. The time a check takes depends on the hash, never on how the comparison goes. And a hash from outside never decides
 * how long we work: crypt(5) strings with an absurd cost ("$6$rounds=999999999$", bcrypt 31) are refused when they are
 * imported (password_hash_is_known) and again when checked. */
#include "crypto/password.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/mac.h"
#include <crypt.h>
#include <errno.h>

enum form { FORM_UNKNOWN, FORM_CRYPT, FORM_DIGEST, FORM_PBKDF2, FORM_PLAIN };

struct parsed {
	enum form   form;
	const char *kind;
	enum digest digest;     /* FORM_DIGEST */
	bool        is_salted, is_hex;
	struct str  text;       /* what follows {SCHEME} */
};

/* {SCHEME} prefixes of RFC 2307 and Dovecot. crypt(5) strings are also accepted without one. */
static const struct { const char *name; struct parsed as; } schemes[] = {
	{ "CRYPT",        { FORM_CRYPT } }, { "BLF-CRYPT",    { FORM_CRYPT } }, { "SHA512-CRYPT", { FORM_CRYPT } },
	{ "SHA256-CRYPT", { FORM_CRYPT } }, { "MD5-CRYPT",    { FORM_CRYPT } }, { "YESCRYPT",     { FORM_CRYPT } },
	{ "SSHA",         { FORM_DIGEST, "ssha",    DIGEST_SHA1,   true } },
	{ "SSHA256",      { FORM_DIGEST, "ssha256", DIGEST_SHA256, true } },
	{ "SSHA512",      { FORM_DIGEST, "ssha512", DIGEST_SHA512, true } },
	{ "SMD5",         { FORM_DIGEST, "smd5",    DIGEST_MD5,    true } },
	{ "SHA",          { FORM_DIGEST, "sha",     DIGEST_SHA1,   false } },
	{ "SHA1",         { FORM_DIGEST, "sha",     DIGEST_SHA1,   false } },
	{ "SHA256",       { FORM_DIGEST, "sha256",  DIGEST_SHA256, false } },
	{ "SHA512",       { FORM_DIGEST, "sha512",  DIGEST_SHA512, false } },
	{ "PBKDF2",       { FORM_PBKDF2, "pbkdf2" } },
	{ "PLAIN",        { FORM_PLAIN, "plain" } }, { "CLEAR", { FORM_PLAIN, "plain" } }, { "CLEARTEXT", { FORM_PLAIN, "plain" } },
};

/* The cost fields that may stand in a hash we are willing to check; about one second each at the upper end. */
enum { SHA_CRYPT_ROUNDS_MAX = 1000000, BCRYPT_COST_MAX = 14, PBKDF2_ROUNDS_MAX = 2000000 };

static bool sha_crypt_is_bearable(struct str hash)
{
	struct scan s = scan_of(str_from(hash, 3));

	if (!scan_take_str(&s, STR("rounds=")))
		return true;
	return scan_number(&s, SHA_CRYPT_ROUNDS_MAX) > 0 && scan_take(&s, '$');
}

static bool bcrypt_is_bearable(struct str hash)
{
	struct scan s = scan_of(str_from(hash, 4));
	uint64_t cost = scan_number(&s, 31);

	return !s.failed && cost >= 4 && cost <= BCRYPT_COST_MAX && scan_take(&s, '$');
}

/* yescrypt "$y$" params "$": flavour j, then N, then r. crypt_gensalt writes j75 (cost 1) .. j9T (5, 16 MB) .. jCT (8, 128 MB). */
static bool yescrypt_is_bearable(struct str hash)
{
	struct str params, rest;

	return str_cut(str_from(hash, 3), '$', &params, &rest) && params.n == 3 && params.p[0] == 'j' &&
	       memchr("789ABC", params.p[1], 6) != NULL && (params.p[2] == '5' || params.p[2] == 'T');
}

/* The kind of a crypt(5) string; NULL: not one we read, or too costly. */
static const char *crypt_kind(struct str hash)
{
	if (str_has_ctl(hash))
		return NULL;
	if (str_starts(hash, STR("$y$")))
		return yescrypt_is_bearable(hash) ? "yescrypt" : NULL;
	if (str_starts(hash, STR("$2b$")) || str_starts(hash, STR("$2a$")) || str_starts(hash, STR("$2y$")))
		return bcrypt_is_bearable(hash) ? "bcrypt" : NULL;
	if (str_starts(hash, STR("$6$")))
		return sha_crypt_is_bearable(hash) ? "sha512crypt" : NULL;
	if (str_starts(hash, STR("$5$")))
		return sha_crypt_is_bearable(hash) ? "sha256crypt" : NULL;
	if (str_starts(hash, STR("$1$")))
		return "md5crypt";
	return NULL;
}

/* Splits "{SCHEME.ENCODING}text"; false: a scheme we do not know. */
static bool parse_scheme(struct str hash, struct parsed *p)
{
	static const struct { struct str suffix; bool is_hex; } encodings[] = {
		{ { ".HEX", 4 }, true }, { { ".B64", 4 }, false }, { { ".BASE64", 7 }, false },
	};
	struct str name, text;
	bool is_hex = false;

	if (!str_cut(str_from(hash, 1), '}', &name, &text))
		return false;
	for (size_t i = 0; i < COUNT_OF(encodings); i++) {
		if (str_iends(name, encodings[i].suffix)) {
			name.n -= encodings[i].suffix.n;
			is_hex = encodings[i].is_hex;
			break;
		}
	}
	for (size_t i = 0; i < COUNT_OF(schemes); i++) {
		if (str_ieq(name, str_of(schemes[i].name))) {
			*p = schemes[i].as;
			p->is_hex = is_hex;
			p->text = text;
			return true;
		}
	}
	return false;
}

static struct parsed parse(struct str hash)
{
	struct parsed p = { FORM_CRYPT, .text = hash };

	if (hash.n == 0 || hash.n > PASSWORD_HASH_MAX)
		return (struct parsed){ FORM_UNKNOWN };
	if (hash.p[0] == '{' && !parse_scheme(hash, &p))
		return (struct parsed){ FORM_UNKNOWN };
	if (p.form == FORM_CRYPT) {
		p.kind = crypt_kind(p.text);
		if (p.kind == NULL)
			return (struct parsed){ FORM_UNKNOWN };
	}
	return p;
}

static bool password_is_usable(struct str password)
{
	return password.n > 0 && password.n <= PASSWORD_MAX && memchr(password.p, 0, password.n) == NULL;
}

/* crypt_r with everything it touched wiped: struct crypt_data is 32 kB and keeps the password. NULL: libxcrypt refused. */
static bool crypt_run(const char *password, const char *setting, char out[CRYPT_OUTPUT_SIZE])
{
	struct crypt_data *data = mem_alloc(sizeof *data);
	char *made = crypt_r(password, setting, data);
	bool ok = made != NULL && made[0] != '*';

	if (ok)
		memcpy(out, made, strnlen(made, CRYPT_OUTPUT_SIZE - 1) + 1);
	mem_wipe(data, sizeof *data);
	mem_free(data);
	return ok;
}

enum err password_hash(struct str password, struct arena *a, struct str *hash)
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE], made[CRYPT_OUTPUT_SIZE], text[PASSWORD_MAX + 1];
	uint8_t salt[16];
	bool ok;

	if (!password_is_usable(password))
		return ERR_INVALID;
	random_bytes(salt, sizeof salt);
	if (crypt_gensalt_rn("$y$", 0, (const char *)salt, sizeof salt, setting, sizeof setting) == NULL)
		return log_errno("crypt_gensalt", "yescrypt");
	memcpy(text, password.p, password.n);
	text[password.n] = 0;
	ok = crypt_run(text, setting, made);
	mem_wipe(text, sizeof text);
	if (!ok)
		return log_errno("crypt", "yescrypt");
	*hash = str_copy(a, str_of(made));
	return ERR_OK;
}

static enum err check_crypt(struct str hash, struct str password)
{
	char setting[PASSWORD_HASH_MAX + 1], made[CRYPT_OUTPUT_SIZE], text[PASSWORD_MAX + 1];
	bool ok;

	memcpy(setting, hash.p, hash.n);
	setting[hash.n] = 0;
	memcpy(text, password.p, password.n);
	text[password.n] = 0;
	ok = crypt_run(text, setting, made);
	mem_wipe(text, sizeof text);
	if (!ok)
		return ERR_INVALID;
	return str_same_secret(str_of(made), hash) ? ERR_OK : ERR_DENIED;
}

/* {SSHA}base64(SHA1(password salt) salt), RFC 2307 and its descendants */
static enum err check_digest(const struct parsed *p, struct str password)
{
	CLEANUP(buf_free) struct buf raw = BUF(PASSWORD_HASH_MAX);
	size_t n = digest_size(p->digest);
	struct digest_state *s;
	uint8_t out[DIGEST_SIZE_MAX];

	if (!(p->is_hex ? hex_get(&raw, p->text) : base64_get(&raw, p->text)) || raw.n < n || (!p->is_salted && raw.n != n))
		return ERR_INVALID;
	s = digest_begin(p->digest);
	digest_add(s, password);
	digest_add(s, str_from(buf_str(&raw), n));
	digest_end(s, out);
	return str_same_secret(str_make(out, n), str_make(raw.p, n)) ? ERR_OK : ERR_DENIED;
}

/* {PBKDF2}$1$SALT$ROUNDS$HEX: Dovecot's, PBKDF2-HMAC-SHA1 of 20 bytes, the salt taken as it stands */
static enum err check_pbkdf2(struct str text, struct str password)
{
	CLEANUP(buf_free) struct buf want = BUF(SHA1_SIZE);
	struct scan s = scan_of(text);
	uint8_t out[SHA1_SIZE];
	struct str salt;
	uint64_t rounds;

	scan_need_str(&s, STR("$1$"));
	salt = scan_until(&s, '$');
	scan_need(&s, '$');
	rounds = scan_number(&s, PBKDF2_ROUNDS_MAX);
	scan_need(&s, '$');
	if (s.failed || rounds == 0 || salt.n == 0 || !hex_get(&want, scan_rest(&s)) || want.n != SHA1_SIZE)
		return ERR_INVALID;
	pbkdf2(DIGEST_SHA1, password, salt, (uint32_t)rounds, out, sizeof out);
	return str_same_secret(str_make(out, sizeof out), buf_str(&want)) ? ERR_OK : ERR_DENIED;
}

/* The digests first: lengths tell an attacker nothing then. */
static enum err check_plain(struct str text, struct str password)
{
	uint8_t a[SHA256_SIZE], b[SHA256_SIZE];

	sha256(text, a);
	sha256(password, b);
	return str_same_secret(str_make(a, sizeof a), str_make(b, sizeof b)) ? ERR_OK : ERR_DENIED;
}

enum err password_check(struct str hash, struct str password)
{
	struct parsed p = parse(hash);

	if (p.form == FORM_UNKNOWN)
		return ERR_INVALID;
	if (!password_is_usable(password))
		return ERR_DENIED;
	switch (p.form) {
	case FORM_CRYPT:  return check_crypt(p.text, password);
	case FORM_DIGEST: return check_digest(&p, password);
	case FORM_PBKDF2: return check_pbkdf2(p.text, password);
	case FORM_PLAIN:  return check_plain(p.text, password);
	case FORM_UNKNOWN: break;
	}
	return ERR_INVALID;
}

/* A check with a password nobody has shows whether the text behind the scheme is well-formed; for crypt(5) strings the prefix
 * has to do, since a check there costs what it costs. */
bool password_hash_is_known(struct str hash)
{
	struct parsed p = parse(hash);

	if (p.form == FORM_CRYPT) {
		char setting[PASSWORD_HASH_MAX + 1];

		memcpy(setting, p.text.p, p.text.n);
		setting[p.text.n] = 0;
		return crypt_checksalt(setting) != CRYPT_SALT_INVALID && p.text.n >= 20;
	}
	if (p.form == FORM_DIGEST)
		return check_digest(&p, STR("x")) != ERR_INVALID;
	if (p.form == FORM_PLAIN)
		return password_is_usable(p.text);
	return p.form == FORM_PBKDF2 && check_pbkdf2(p.text, STR("x")) != ERR_INVALID;
}

bool password_hash_is_old(struct str hash)
{
	return !str_starts(hash, STR("$y$j9T$"));
}

const char *password_hash_kind(struct str hash)
{
	struct parsed p = parse(hash);

	return p.kind ? p.kind : "unknown";
}

/* yescrypt of a random password that was thrown away. */
struct str password_hash_nobody(void)
{
	return STR("$y$j9T$DJwSldCemUf8.Tg4PG5cP.$bOX98WvIdhIoxYg1JK/iaTJO9NkPcqFuKJCsyVHBRb1");
}
