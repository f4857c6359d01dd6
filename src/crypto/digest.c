/* Digests on OpenSSL's EVP. The algorithms are fetched once, lazily and thread-safely, because EVP_sha256() and friends look the
 * implementation up again at each use (some 0.5 µs, more than hashing a short string). Fetching allocates, so it cannot fail
 * for reasons of input: a failure is our own bug or a broken OpenSSL and ends the process. */
#include "crypto/digest.h"
#include "base/mem.h"
#include <assert.h>
#include <openssl/evp.h>
#include <pthread.h>

static pthread_once_t fetched = PTHREAD_ONCE_INIT;
static EVP_MD *algorithms[DIGEST_MD5 + 1];

static void fetch_all(void)
{
	static const char *const names[] = { [DIGEST_SHA256] = "SHA256", [DIGEST_SHA512] = "SHA512", [DIGEST_SHA1] = "SHA1",
	                                     [DIGEST_MD5] = "MD5" };

	for (size_t i = DIGEST_SHA256; i < COUNT_OF(names); i++)
		algorithms[i] = EVP_MD_fetch(NULL, names[i], NULL);  /* MD5 may be missing in a FIPS set-up: checked at use */
}

static const EVP_MD *algorithm(enum digest d)
{
	pthread_once(&fetched, fetch_all);
	assert(d >= DIGEST_SHA256 && d <= DIGEST_MD5 && algorithms[d] != NULL);
	return algorithms[d];
}

size_t digest_size(enum digest d)
{
	switch (d) {
	case DIGEST_SHA256: return SHA256_SIZE;
	case DIGEST_SHA512: return SHA512_SIZE;
	case DIGEST_SHA1:   return SHA1_SIZE;
	case DIGEST_MD5:    return MD5_SIZE;
	}
	assert(!"digest");
	return 0;
}

void digest_once(enum digest d, struct str in, uint8_t *out)
{
	unsigned n = 0;
	int ok = EVP_Digest(in.n ? in.p : "", in.n, out, &n, algorithm(d), NULL);

	assert(ok == 1 && n == digest_size(d));
}

/* The EVP context under our own name: nothing else is kept. */
struct digest_state *digest_begin(enum digest d)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	int ok = c != NULL && EVP_DigestInit_ex2(c, algorithm(d), NULL) == 1;

	assert(ok);
	return (struct digest_state *)c;
}

void digest_add(struct digest_state *s, struct str in)
{
	int ok = in.n == 0 || EVP_DigestUpdate((EVP_MD_CTX *)s, in.p, in.n) == 1;

	assert(ok);
}

void digest_end(struct digest_state *s, uint8_t *out)
{
	EVP_MD_CTX *c = (EVP_MD_CTX *)s;
	unsigned n;
	int ok = out == NULL || EVP_DigestFinal_ex(c, out, &n) == 1;

	assert(ok);
	EVP_MD_CTX_free(c);
}
