/* The keyring. A reload builds a new state beside the old one and swaps. Whoever renews copies certificate and key one after the other, or
 * forgets one: a certificate without its key leaves in use what its host had, else mail programs would be shown another host's. So does
 * a file that was one, and is being written, or cannot be read any more; one that is removed takes its certificate along. Files
 * of which nothing can be used change nothing. All is tried again when a file changes, or its owner or rights do. Change is seen
 * by names, sizes and times of the files, looked at every few seconds: no inotify, which would need another descriptor kind in
 * the sandbox and misses network file systems. */
#include "auth/keyring.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "crypto/digest.h"
#include "crypto/pkey.h"
#include <sys/stat.h>

enum { TICKET_KEY_MS = 12 * 3600 * 1000, REMIND_MS = 24 * 3600 * 1000 };

/* One reading of the folder. */
struct state {
	struct arena            arena;
	struct map              keys;     /* key_hash -> struct pkey */
	struct tls_certificates list;
	struct source          *sources;  /* of each in the list */
	struct tls_certificate *shown;    /* of them those that clients get to see, each with the names that it is shown for */
	size_t                  shown_count;
	int64_t                 next_end_s;  /* when one of them expires, and another one may be better */
};

struct source {
	struct str file;
	bool       is_before;   /* there is none in it now: the one of the state before */
	bool       is_shown;    /* clients get to see it */
};

struct keyring {
	struct disk_dir *dir;
	struct state    *state;
	uint8_t          seen[SHA256_SIZE];  /* over names, sizes, times */
	int64_t          ticket_at_ms, reminded_ms;
};

static void state_free(struct state *s)
{
	size_t at = 0;
	void *k;

	if (s == NULL)
		return;
	while (map_next(&s->keys, &at, NULL, &k))
		pkey_free(k);
	map_free(&s->keys);
	arena_free(&s->arena);
	mem_free(s);
}

struct keyring *keyring_new(struct disk_dir *dir)
{
	struct keyring *k = MEM_NEW(struct keyring);

	k->dir = dir;
	k->state = MEM_NEW(struct state);
	return k;
}

void keyring_free(struct keyring *k)
{
	if (k == NULL)
		return;
	state_free(k->state);
	mem_free(k);
}

const struct tls_certificates *keyring_list(const struct keyring *k) { return &k->state->list; }

static bool is_wanted(struct str name)
{
	static const struct str endings[] = { { ".pem", 4 }, { ".crt", 4 }, { ".cer", 4 }, { ".key", 4 } };

	for (size_t i = 0; i < COUNT_OF(endings); i++)
		if (str_iends(name, endings[i]))
			return name.p[0] != '.';
	return false;
}

/* The files to read, default.pem first, and a digest of what they look like from outside. */
static size_t look(struct keyring *k, struct arena *a, struct str **out, uint8_t seen[SHA256_SIZE])
{
	struct digest_state *d = digest_begin(DIGEST_SHA256);
	struct str *names = NULL, *wanted;
	size_t count = 0, n = 0;

	if (k->dir == NULL || disk_list(k->dir, a, &names, &count) != ERR_OK)
		count = 0;
	wanted = arena_array(a, count + 1, sizeof *wanted);
	for (size_t i = 0; i < count && n < KEYRING_FILES_MAX; i++) {
		struct stat st = { 0 };
		int64_t facts[4];

		if (!is_wanted(names[i]))
			continue;
		if (stat(str_cstr(a, arena_printf(a, "%s/" STR_FMT, disk_dir_path(k->dir), STR_ARG(names[i]))), &st) < 0)
			continue;
		facts[0] = st.st_size;
		facts[1] = st.st_ctim.tv_sec;  /* of its owner and its rights, too: one that could not be read may be readable now */
		facts[2] = st.st_ctim.tv_nsec;
		facts[3] = (int64_t)st.st_ino;
		digest_add(d, names[i]);
		digest_add(d, str_make(facts, sizeof facts));
		wanted[n] = names[i];
		if (str_eq(names[i], STR("default.pem"))) {
			memmove(wanted + 1, wanted, n * sizeof *wanted);
			wanted[0] = names[i];
		}
		n++;
	}
	digest_end(d, seen);
	*out = wanted;
	return n;
}

/* Takes the key of a file, if it holds one. */
static void read_key(struct state *s, struct str name, struct str pem)
{
	struct pkey *key = NULL;
	uint8_t hash[SHA256_SIZE];
	enum err e = pkey_from_pem(pem, &key);

	if (e == ERR_NOTFOUND)
		return;
	if (e != ERR_OK) {
		log_error("the private key in tls/" STR_FMT " cannot be used: it must be unencrypted PEM, RSA from 2048 bits, P-256, P-384, "
		          "P-521 or Ed25519", STR_ARG(name));
		return;
	}
	sha256(pkey_public_der(key, &s->arena), hash);
	if (map_get(&s->keys, str_make(hash, sizeof hash)) != NULL)
		pkey_free(key);  /* the same key in two files */
	else
		map_set(&s->keys, str_make(hash, sizeof hash), key);
}

static void read_certificate(struct state *s, struct str name, struct str pem, struct tls_certificate *list, size_t *count)
{
	struct tls_certificate *t = list + *count;
	struct certificate c;
	enum err e = certificate_read(pem, &s->arena, &c);

	if (e == ERR_NOTFOUND)
		return;
	if (e != ERR_OK || c.der_count > TLS_CHAIN_MAX || c.name_count > TLS_NAMES_MAX) {
		log_error("the certificate in tls/" STR_FMT " cannot be read error=%s", STR_ARG(name), err_name(e));
		return;
	}
	*t = (struct tls_certificate){ .name_count = c.name_count, .chain_count = c.der_count, .not_after_s = c.not_after_s };
	sha256(certificate_public_der(&c, &s->arena), t->key_hash);
	t->names = arena_array(&s->arena, c.name_count, sizeof *t->names);
	memcpy(t->names, c.names, c.name_count * sizeof *t->names);
	t->chain = arena_array(&s->arena, c.der_count, sizeof *t->chain);
	memcpy(t->chain, c.der, c.der_count * sizeof *t->chain);
	(*count)++;
}

static struct pkey *key_of(const struct state *s, const struct tls_certificate *t) { return map_get(&s->keys, str_make(t->key_hash, TLS_KEY_HASH_SIZE)); }

static bool is_of_same_host(const struct tls_certificate *a, const struct tls_certificate *b)
{
	return a->name_count > 0 && b->name_count > 0 && str_eq(a->names[0], b->names[0]);
}

static bool has_usable(const struct state *s, const struct tls_certificate *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!s->sources[i].is_before && key_of(s, list + i) != NULL)
			return true;
	return false;
}

/* Has another file one for the same host, with its key? */
static bool is_replaced(const struct state *s, const struct tls_certificate *list, size_t count, const struct tls_certificate *t)
{
	for (size_t i = 0; i < count; i++)
		if (!s->sources[i].is_before && is_of_same_host(list + i, t) && key_of(s, list + i) != NULL)
			return true;
	return false;
}

/* The certificate of this host that is in use; NULL: there is none, or another file has a new one. */
static const struct tls_certificate *in_use(const struct state *old, const struct state *s, const struct tls_certificate *list, size_t count,
                                            const struct tls_certificate *t)
{
	if (is_replaced(s, list, count, t))
		return NULL;
	for (size_t i = 0; i < old->list.count; i++)
		if (is_of_same_host(old->list.list + i, t))
			return old->list.list + i;
	return NULL;
}

/* The certificate that this file had. */
static const struct tls_certificate *had(const struct state *old, struct str file)
{
	for (size_t i = 0; i < old->list.count; i++)
		if (str_eq(old->sources[i].file, file))
			return old->list.list + i;
	return NULL;
}

/* Takes a certificate and its key over. */
static void keep(struct state *s, struct state *old, const struct tls_certificate *from, struct tls_certificate *to)
{
	struct str hash = str_make(from->key_hash, TLS_KEY_HASH_SIZE);

	*to = *from;
	to->names = arena_array(&s->arena, from->name_count, sizeof *to->names);
	to->chain = arena_array(&s->arena, from->chain_count, sizeof *to->chain);
	for (size_t i = 0; i < from->name_count; i++)
		to->names[i] = str_copy(&s->arena, from->names[i]);
	for (size_t i = 0; i < from->chain_count; i++)
		to->chain[i] = str_copy(&s->arena, from->chain[i]);
	if (key_of(s, to) == NULL) {
		map_set(&s->keys, hash, key_of(old, from));
		map_set(&old->keys, hash, NULL);
	}
}

/* What stays in use in the place of this one; NULL: nothing. It is said. */
static const struct tls_certificate *stays(const struct state *s, const struct state *old, const struct tls_certificate *list, size_t count, size_t i)
{
	struct str name = list[i].name_count ? list[i].names[0] : STR("?");
	const struct tls_certificate *before;

	if (s->sources[i].is_before) {
		before = is_replaced(s, list, count, list + i) ? NULL : had(old, s->sources[i].file);
		if (before)
			log_error("tls/" STR_FMT " has no certificate that can be used: the one it had stays in use, until the file is mended or removed name="
			          STR_FMT, STR_ARG(s->sources[i].file), STR_ARG(name));
		return before;
	}
	if (key_of(s, list + i) != NULL)
		return NULL;
	before = in_use(old, s, list, count, list + i);
	log_error("a certificate in tls/ has no private key there name=" STR_FMT "%s", STR_ARG(name), before ? ": the one before it stays in use" : "");
	return before;
}

/* Leaves out certificates without a key; where the key is still to come, or has come first, what the host had stays in use. */
static void match(struct state *s, struct state *old, struct tls_certificate *list, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		const struct tls_certificate *before = stays(s, old, list, count, i);

		if (before != NULL)
			keep(s, old, before, list + i);
		if (before != NULL || (!s->sources[i].is_before && key_of(s, list + i) != NULL)) {
			list[n] = list[i];
			s->sources[n++] = s->sources[i];
		}
	}
	s->list.list = list;
	s->list.count = n;
}

/* ---- which one is shown ---- */

static bool has_expired(const struct tls_certificate *t, int64_t now_s) { return t->not_after_s < now_s; }
static bool is_default(const struct state *s, size_t i) { return str_eq(s->sources[i].file, STR("default.pem")); }

/* For a name that both have. default.pem stands back: mostly it is the one of our own making, and the other the one of a public authority. Of two
 * others, the one that lives longer is the newer one. */
static bool is_better(const struct state *s, size_t one, size_t other, int64_t now_s)
{
	const struct tls_certificate *a = s->list.list + one, *b = s->list.list + other;

	if (has_expired(a, now_s) != has_expired(b, now_s))
		return has_expired(b, now_s);
	if (is_default(s, one) != is_default(s, other))
		return is_default(s, other);
	return a->not_after_s > b->not_after_s;
}

static void find_best(const struct state *s, int64_t now_s, struct map *best)
{
	for (size_t i = 0; i < s->list.count; i++) {
		for (size_t n = 0; n < s->list.list[i].name_count; n++) {
			uintptr_t there = (uintptr_t)map_get(best, s->list.list[i].names[n]);
			if (there == 0 || is_better(s, i, there - 1, now_s))
				map_set(best, s->list.list[i].names[n], (void *)(i + 1));
		}
	}
}

/* The names of default.pem stand back behind the wildcards of others, too. */
static bool is_shown_for(struct state *s, const struct map *best, size_t i, struct str name, int64_t now_s)
{
	struct str label, parent;
	uintptr_t wild;

	if ((uintptr_t)map_get(best, name) != i + 1)
		return false;
	if (!is_default(s, i) || !str_cut(name, '.', &label, &parent))
		return true;
	wild = (uintptr_t)map_get(best, arena_printf(&s->arena, "*." STR_FMT, STR_ARG(parent)));
	return wild == 0 || wild == i + 1 || !is_better(s, wild - 1, i, now_s);
}

/* One that is shown for no name of its own any more is left out; but default.pem, while it is valid, is for clients that name none. */
static void choose(struct state *s)
{
	int64_t now_s = clock_wall_s();
	struct map best = { 0 };

	find_best(s, now_s, &best);
	s->shown = arena_array(&s->arena, s->list.count, sizeof *s->shown);
	s->shown_count = 0;
	s->next_end_s = INT64_MAX;
	for (size_t i = 0; i < s->list.count; i++) {
		const struct tls_certificate *t = s->list.list + i;
		struct tls_certificate x = *t;
		x.names = arena_array(&s->arena, t->name_count, sizeof *x.names);
		x.name_count = 0;
		for (size_t n = 0; n < t->name_count; n++)
			if (is_shown_for(s, &best, i, t->names[n], now_s))
				x.names[x.name_count++] = t->names[n];
		s->sources[i].is_shown = x.name_count > 0 || t->name_count == 0 || (is_default(s, i) && !has_expired(t, now_s));
		if (s->sources[i].is_shown)
			s->shown[s->shown_count++] = x;
		if (!has_expired(t, now_s) && t->not_after_s < s->next_end_s)
			s->next_end_s = t->not_after_s;
	}
	map_free(&best);
}

struct tls_certificates keyring_shown(const struct keyring *k)
{
	struct tls_certificates c = k->state->list;

	c.list = k->state->shown;
	c.count = k->state->shown_count;
	return c;
}

/* ---- reading ---- */

static void remind(struct keyring *k)
{
	int64_t now = clock_wall_s();

	for (size_t i = 0; i < k->state->list.count; i++) {
		struct str file = k->state->sources[i].file;
		int64_t end = k->state->list.list[i].not_after_s;
		if (!k->state->sources[i].is_shown)
			continue;
		if (end < now)
			log_error("the certificate in tls/" STR_FMT " has expired: clients will refuse it", STR_ARG(file));
		else if (end < now + CERTIFICATE_SOON_S)
			log_warn("the certificate in tls/" STR_FMT " expires in %lld days", STR_ARG(file), (long long)((end - now) / 86400));
	}
	k->reminded_ms = clock_mono_ms();
}

bool keyring_remind(struct keyring *k, int64_t now_ms)
{
	if (now_ms - k->reminded_ms < REMIND_MS)
		return false;
	remind(k);
	return true;
}

bool keyring_reload(struct keyring *k)
{
	struct arena a = { 0 };
	struct str *names;
	uint8_t seen[SHA256_SIZE];
	size_t n = look(k, &a, &names, seen), count = 0;
	struct tls_certificate *list;
	struct state *s;

	if (memcmp(seen, k->seen, sizeof seen) == 0) {
		bool has_ended = k->state->list.count > 0 && clock_wall_s() > k->state->next_end_s;
		if (has_ended)
			choose(k->state);
		arena_free(&a);
		return has_ended;
	}
	memcpy(k->seen, seen, sizeof seen);
	s = MEM_NEW(struct state);
	list = arena_array(&s->arena, n + 1, sizeof *list);
	s->sources = arena_array(&s->arena, n + 1, sizeof *s->sources);
	for (size_t i = 0; i < n && count < TLS_CERTIFICATES_MAX; i++) {
		struct arena file = { 0 };
		const struct tls_certificate *before = had(k->state, names[i]);
		size_t found = count;
		struct str pem;
		enum err e = disk_read_file(k->dir, str_cstr(&file, names[i]), PKEY_PEM_MAX, &file, &pem);

		if (e == ERR_OK) {
			read_key(s, names[i], pem);
			read_certificate(s, names[i], pem, list, &count);
			mem_wipe((void *)(uintptr_t)pem.p, pem.n);
		} else {
			log_error("tls/" STR_FMT " cannot be read (it must belong to the user facteur and be smaller than 64 kB) error=%s",
			          STR_ARG(names[i]), err_name(e));
		}
		arena_free(&file);
		s->sources[found] = (struct source){ .file = str_copy(&s->arena, names[i]), .is_before = count == found };
		if (count == found && before != NULL)
			list[count++] = *before;
	}
	arena_free(&a);
	if (!has_usable(s, list, count) && k->state->list.count > 0) {
		log_error("no certificate in tls/ can be used any more: the ones read before stay in use");
		state_free(s);
		return false;
	}
	match(s, k->state, list, count);
	choose(s);
	memcpy(s->list.ticket_keys, k->state->list.ticket_keys, sizeof s->list.ticket_keys);
	s->list.ticket_key_count = k->state->list.ticket_key_count;
	state_free(k->state);
	k->state = s;
	log_info("certificates loaded count=%zu", s->list.count);
	remind(k);
	return true;
}

bool keyring_rotate_tickets(struct keyring *k, int64_t now_ms)
{
	struct tls_certificates *l = &k->state->list;

	if (l->ticket_key_count > 0 && now_ms - k->ticket_at_ms < TICKET_KEY_MS)
		return false;
	memmove(l->ticket_keys[1], l->ticket_keys[0], sizeof l->ticket_keys - sizeof l->ticket_keys[0]);
	random_bytes(l->ticket_keys[0], sizeof l->ticket_keys[0]);
	if (l->ticket_key_count < TLS_TICKET_KEYS_MAX)
		l->ticket_key_count++;
	k->ticket_at_ms = now_ms;
	return true;
}

enum err keyring_sign(const struct keyring *k, const struct tls_sign *r, struct buf *signature)
{
	static const struct { enum tls_scheme scheme; enum pkey_kind kind; struct pkey_scheme how; } schemes[] = {
		{ TLS_RSA_PKCS1_SHA256, PKEY_RSA, { "SHA256", "pkcs1" } }, { TLS_RSA_PKCS1_SHA384, PKEY_RSA, { "SHA384", "pkcs1" } },
		{ TLS_RSA_PKCS1_SHA512, PKEY_RSA, { "SHA512", "pkcs1" } }, { TLS_RSA_PSS_RSAE_SHA256, PKEY_RSA, { "SHA256", "pss" } },
		{ TLS_RSA_PSS_RSAE_SHA384, PKEY_RSA, { "SHA384", "pss" } }, { TLS_RSA_PSS_RSAE_SHA512, PKEY_RSA, { "SHA512", "pss" } },
		{ TLS_ECDSA_SECP256R1_SHA256, PKEY_EC, { "SHA256", NULL } }, { TLS_ECDSA_SECP384R1_SHA384, PKEY_EC, { "SHA384", NULL } },
		{ TLS_ED25519, PKEY_ED25519, { NULL, NULL } },
	};
	const struct pkey *key = map_get(&k->state->keys, str_make(r->key_hash, sizeof r->key_hash));

	if (key == NULL)
		return ERR_NOTFOUND;
	for (size_t i = 0; i < COUNT_OF(schemes); i++)
		if (schemes[i].scheme == r->scheme && schemes[i].kind == pkey_kind(key))
			return pkey_sign(key, &schemes[i].how, r->message, signature);
	return ERR_INVALID;
}
