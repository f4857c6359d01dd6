/* "=" parts what is ours from the name of the group, as in SRS (smtp/srs.h): it needs no quotes, and is not the separator of anybody's
 * sub-addresses. Case does not matter, since some servers change it: tokens are base32, and what the MAC covers is folded.
 *
 * 40 bits of MAC: who guesses needs 10^12 RCPTs, and wins that one member is taken out of one group, of which he is told. */
#include "directory/list_address.h"
#include "base/bytes.h"
#include "crypto/mac.h"

enum { PART_BYTES = 5, PART_CHARS = LIST_TOKEN_CHARS / 2 };
static const char base32[] = "abcdefghijklmnopqrstuvwxyz234567";
static const char *const words[] = { [LIST_BOUNCE] = "bounce", [LIST_LEAVE] = "leave" };

/* The first 40 bits of the MAC, in letters. */
static void mac_letters(struct str key, struct str text, char out[PART_CHARS])
{
	uint8_t digest[SHA256_SIZE];
	uint64_t bits = 0;

	hmac_sha256(key, text, digest);
	for (int i = 0; i < PART_BYTES; i++)
		bits = bits << 8 | digest[i];
	for (int i = PART_CHARS - 1; i >= 0; i--, bits >>= 5)
		out[i] = base32[bits & 31];
}

/* The spelling that all spellings of an address have in common. */
static struct str fold(struct arena *a, struct str address)
{
	struct directory_address x;

	return directory_address_parse(address, a, &x) ? directory_address_key(a, x.local, x.domain) : STR("");
}

static void member_letters(struct str key, struct str group, struct str member, struct arena *a, char out[PART_CHARS])
{
	mac_letters(key, arena_printf(a, "list member=" STR_FMT "=" STR_FMT, STR_ARG(group), STR_ARG(fold(a, member))), out);
}

static void proof_letters(struct str key, enum list_order order, struct str group, struct str member, struct arena *a, char out[PART_CHARS])
{
	mac_letters(key, arena_printf(a, "list %s=" STR_FMT "=" STR_FMT, words[order], STR_ARG(group), STR_ARG(member)), out);
}

struct str list_address(struct str key, struct str group, enum list_order order, struct str member, struct arena *a)
{
	char letters[LIST_TOKEN_CHARS];
	struct directory_address x;

	if (!directory_address_parse(group, a, &x))
		return STR("");
	if (member.n > 0) {
		struct str folded = directory_address_key(a, x.local, x.domain);
		member_letters(key, folded, member, a, letters);
		proof_letters(key, order, folded, str_make(letters, PART_CHARS), a, letters + PART_CHARS);
	}
	x.local = arena_printf(a, STR_FMT "=%s%s%.*s", STR_ARG(x.local), words[order], member.n > 0 ? "=" : "", member.n > 0 ? LIST_TOKEN_CHARS : 0,
	                       letters);
	return directory_address_text(a, &x);
}

/* "team=bounce=TOKEN": cut at the last word of ours. */
static bool cut_local(struct str local, enum list_order order, struct str *group, struct str *token)
{
	struct str word = str_of(words[order]), rest;
	ptrdiff_t at = str_rchr(local, '=');

	*token = STR("");
	if (at > 0 && local.n - (size_t)at - 1 == LIST_TOKEN_CHARS) {
		*token = str_from(local, (size_t)at + 1);
		local = str_sub(local, 0, (size_t)at);
		at = str_rchr(local, '=');
	}
	rest = at > 0 ? str_from(local, (size_t)at + 1) : STR("");
	*group = str_sub(local, 0, at > 0 ? (size_t)at : 0);
	return str_ieq(rest, word);
}

bool list_address_parse(struct str key, struct str address, struct arena *a, struct list_address *out)
{
	char proof[PART_CHARS];
	struct directory_address x;
	struct str group = STR_NONE;

	*out = (struct list_address){ 0 };
	if (str_chr(address, '=') < 0 || !directory_address_parse(address, a, &x))
		return false;
	for (enum list_order order = LIST_BOUNCE; order <= LIST_LEAVE && out->order == LIST_NONE; order++)
		if (cut_local(x.local, order, &group, &out->token))
			out->order = order;
	if (out->order == LIST_NONE)
		return false;
	x.local = group;
	out->group = directory_address_text(a, &x);
	out->token = str_lower(a, out->token);
	if (out->token.n == 0)
		return true;
	proof_letters(key, out->order, directory_address_key(a, x.local, x.domain), str_sub(out->token, 0, PART_CHARS), a, proof);
	return str_same_secret(str_from(out->token, PART_CHARS), str_make(proof, PART_CHARS));
}

struct str forward_mark(struct str key, struct str alias, struct arena *a)
{
	char letters[PART_CHARS];
	struct str folded = fold(a, alias);

	if (folded.n == 0)
		return STR("");
	mac_letters(key, arena_printf(a, "forward=" STR_FMT, STR_ARG(folded)), letters);
	return str_copy(a, str_make(letters, PART_CHARS));
}

bool list_address_is_of(struct str key, const struct list_address *x, struct str member, struct arena *a)
{
	char letters[PART_CHARS];

	if (x->token.n != LIST_TOKEN_CHARS)
		return false;
	member_letters(key, fold(a, x->group), member, a, letters);
	return str_same_secret(str_sub(x->token, 0, PART_CHARS), str_make(letters, PART_CHARS));
}
