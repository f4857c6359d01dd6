/* Two small tables. One bounds how often an issuer is asked, whatever keys are named. The other remembers keys that were asked for: a mail program that
 * comes again and again with a token of a key that is gone shall hear that it is wrong, else it would never fetch another. Whoever makes up more
 * names than there are places only makes others hear "come back" once more. */
#include "auth/missing_key.h"

/* Its place, or the oldest one, which it takes; *is_new. */
static struct missing_seen *place_of(struct missing_seen *list, size_t n, uint64_t hash, bool *is_new)
{
	struct missing_seen *place = list;

	*is_new = false;
	for (size_t i = 0; i < n; i++) {
		if (list[i].at_ms != 0 && list[i].hash == hash)
			return &list[i];
		if (list[i].at_ms < place->at_ms)
			place = &list[i];
	}
	*is_new = true;
	*place = (struct missing_seen){ .hash = hash };
	return place;
}

static bool is_asked_for(struct missing_keys *m, uint64_t key, int64_t now_ms)
{
	bool is_new;
	struct missing_seen *k = place_of(m->keys, MISSING_KEYS_MAX, key, &is_new);

	if (is_new || now_ms >= k->at_ms + MISSING_KNOWN_MS)
		k->at_ms = now_ms;
	return now_ms < k->at_ms + MISSING_ASK_TAKES_MS;
}

bool missing_key(struct missing_keys *m, struct str issuer, struct str kid, int64_t now_ms, bool *asks)
{
	uint64_t hash = str_hash(issuer, 0);
	struct missing_seen *i = place_of(m->issuers, ISSUERS_MAX, hash, asks);

	*asks = *asks || now_ms >= i->at_ms + MISSING_ASK_EVERY_MS;
	if (*asks)
		i->at_ms = now_ms;
	return now_ms < i->at_ms + MISSING_ASK_TAKES_MS && is_asked_for(m, str_hash(kid, hash), now_ms);
}
