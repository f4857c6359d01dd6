/* "SRS0=" and "SRS1=" with "=" between the parts; the parts that are ours are base32, which survives servers that change case. 30 bits of
 * MAC: who guesses for them needs a thousand million RCPTs, and wins a bounce to one address. The MAC covers all that follows
 * it, in lower case. */
#include "smtp/srs.h"
#include "base/bytes.h"
#include "crypto/mac.h"

enum { DAY_S = 86400, DAYS = 1024, MAC_CHARS = 6, DAY_CHARS = 2, ADDRESS_MAX = 512 };

static const char base32[] = "abcdefghijklmnopqrstuvwxyz234567";

static void put_base32(uint32_t value, size_t chars, char *out)
{
	for (size_t i = chars; i-- > 0; value >>= 5)
		out[i] = base32[value & 31];
}

static bool get_base32(struct str s, uint32_t *value)
{
	*value = 0;
	for (size_t i = 0; i < s.n; i++) {
		const char *at = s.p[i] == '\0' ? NULL : strchr(base32, chr_lower(s.p[i]));
		if (at == NULL)
			return false;
		*value = *value << 5 | (uint32_t)(at - base32);
	}
	return true;
}

static void make_mac(struct str key, const char *kind, struct str rest, struct arena *a, char out[MAC_CHARS])
{
	uint8_t digest[SHA256_SIZE];
	uint32_t bits;

	hmac_sha256(key, str_lower(a, arena_printf(a, "%s=" STR_FMT, kind, STR_ARG(rest))), digest);
	memcpy(&bits, digest, sizeof bits);
	put_base32(bits, MAC_CHARS, out);
}

static struct str with_mac(struct str key, const char *kind, struct str rest, struct str domain, struct arena *a)
{
	char mac[MAC_CHARS];

	make_mac(key, kind, rest, a, mac);
	return arena_printf(a, "%s=%.*s=" STR_FMT "@" STR_FMT, kind, MAC_CHARS, mac, STR_ARG(rest), STR_ARG(domain));
}

/* "srs0" or "srs1" and one of the separators that are in use. */
static bool is_kind(struct str local, char digit)
{
	return local.n > 5 && str_istarts(local, STR("SRS")) && local.p[3] == digit && strchr("=+-", local.p[4]) != NULL;
}

bool srs_is(struct str local) { return is_kind(local, '0') || is_kind(local, '1'); }

/* What can stand in a local part without quotes. */
static bool is_plain(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 127 || strchr("\"(),:;<>@[\\]", s.p[i]) != NULL)
			return false;
	return s.n > 0;
}

struct str srs_forward(struct str key, struct str sender, struct str domain, int64_t now, struct arena *a)
{
	ptrdiff_t at = str_rchr(sender, '@');
	struct str local = str_sub(sender, 0, at < 0 ? 0 : (size_t)at), host = at < 0 ? STR("") : str_from(sender, (size_t)at + 1);
	char day[DAY_CHARS];

	if (!is_plain(local) || !is_plain(host) || str_chr(host, '=') >= 0 || sender.n > ADDRESS_MAX / 2)
		return sender;
	if (is_kind(local, '0'))  /* the first forwarder's: kept behind its own separator */
		return with_mac(key, "SRS1", arena_printf(a, STR_FMT "=" STR_FMT, STR_ARG(host), STR_ARG(str_from(local, 4))), domain, a);
	if (is_kind(local, '1')) {
		struct str mac, rest;
		str_cut(str_from(local, 5), '=', &mac, &rest);
		return rest.n > 0 ? with_mac(key, "SRS1", rest, domain, a) : sender;
	}
	put_base32((uint32_t)(now / DAY_S % DAYS), DAY_CHARS, day);
	return with_mac(key, "SRS0", arena_printf(a, "%.*s=" STR_FMT "=" STR_FMT, DAY_CHARS, day, STR_ARG(host), STR_ARG(local)), domain, a);
}

static bool is_fresh(struct str day, int64_t now)
{
	uint32_t made;

	if (day.n != DAY_CHARS || !get_base32(day, &made))
		return false;
	return ((uint32_t)(now / DAY_S % DAYS) + DAYS - made) % DAYS <= SRS_DAYS_MAX;
}

bool srs_reverse(struct str key, struct str local, int64_t now, struct arena *a, struct str *address)
{
	bool is_second = is_kind(local, '1');
	struct str mac, rest, part;
	char want[MAC_CHARS];

	if (!srs_is(local) || local.n > ADDRESS_MAX || !str_cut(str_from(local, 5), '=', &mac, &rest))
		return false;
	make_mac(key, is_second ? "SRS1" : "SRS0", rest, a, want);
	if (!str_same_secret(str_lower(a, mac), str_make(want, MAC_CHARS)))
		return false;
	if (is_second) {
		if (!str_cut(rest, '=', &part, &rest) || part.n == 0 || rest.n < 2)
			return false;
		*address = arena_printf(a, "SRS0" STR_FMT "@" STR_FMT, STR_ARG(rest), STR_ARG(part));
		return true;
	}
	if (!str_cut(rest, '=', &part, &rest) || !is_fresh(part, now) || !str_cut(rest, '=', &part, &rest) || part.n == 0 || rest.n == 0)
		return false;
	*address = arena_printf(a, STR_FMT "@" STR_FMT, STR_ARG(rest), STR_ARG(part));
	return true;
}
