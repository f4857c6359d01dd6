/* net/tls_private.h -- what tls.c (connections) and provider.c (keys that are elsewhere) share. */
#ifndef FACTEUR_NET_TLS_PRIVATE_H
#define FACTEUR_NET_TLS_PRIVATE_H
#include "net/tls.h"
#include <openssl/provider.h>
#include <openssl/ssl.h>

/* Adds the provider of remote keys to a library context of its own. NULL: logged. */
OSSL_PROVIDER *remote_provider_load(OSSL_LIB_CTX *lib);
/* The private key that belongs to this public one and stays in the role keys. keys must outlive it. NULL: logged. */
EVP_PKEY *remote_key_new(OSSL_LIB_CTX *lib, EVP_PKEY *public_key, const uint8_t hash[TLS_KEY_HASH_SIZE], struct channel *keys);
#endif
