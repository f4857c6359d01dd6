/* The policy of one of our own domains, as its senders fetch it, and the id that tells them when it has changed: made of the text, so that
 * nobody has to think of counting. "testing" holds a day, so that a mistake is soon over; "enforce" a week, as RFC 8461 §10.2 asks for
 * "weeks or greater" to outlast an attack, and a domain that withdraws has to keep its word only that long. */
#include "base/bytes.h"
#include "crypto/digest.h"
#include "dns/mta_sts.h"

enum { AGE_SHORT_S = 86400, AGE_ENFORCE_S = 7 * 86400, ID_BYTES = 10 };

static const char *const modes[] = { [MTA_STS_NONE] = "none", [MTA_STS_TESTING] = "testing", [MTA_STS_ENFORCE] = "enforce" };

bool mta_sts_mode_parse(struct str word, enum mta_sts_mode *out)
{
	for (size_t i = 0; i < COUNT_OF(modes); i++) {
		if (str_ieq(word, str_of(modes[i]))) {
			*out = (enum mta_sts_mode)i;
			return true;
		}
	}
	return false;
}

struct str mta_sts_policy_text(struct arena *a, enum mta_sts_mode mode, struct str hostname, struct str also)
{
	CLEANUP(buf_free) struct buf b = BUF(MTA_STS_TEXT_MAX);
	struct str host, rest = str_trim(also);

	buf_printf(&b, "version: STSv1\r\nmode: %s\r\nmx: " STR_FMT "\r\n", modes[mode], STR_ARG(hostname));
	while (rest.n) {
		str_cut(rest, ' ', &host, &rest);
		rest = str_trim(rest);
		buf_printf(&b, "mx: " STR_FMT "\r\n", STR_ARG(host));
	}
	buf_printf(&b, "max_age: %d\r\n", mode == MTA_STS_ENFORCE ? AGE_ENFORCE_S : AGE_SHORT_S);
	return str_copy(a, buf_str(&b));
}

struct str mta_sts_policy_id(struct arena *a, struct str text)
{
	CLEANUP(buf_free) struct buf hex = BUF(2 * ID_BYTES);
	uint8_t digest[SHA256_SIZE];

	sha256(text, digest);
	hex_put(&hex, str_make(digest, ID_BYTES));
	return str_copy(a, buf_str(&hex));
}
