/* TLS towards other servers. Without a policy any certificate is taken, and old versions of TLS too, since refusing them would send
 * the message in clear text; it is verified all the same, so that the trail can say how good it was. With a policy the library decides
 * in the handshake: what is not proven does not become a connection. */
#include "net/tls_client.h"
#include "base/log.h"
#include "base/mem.h"
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct tls_client {
	OSSL_LIB_CTX  *lib;
	OSSL_PROVIDER *provider;
	SSL_CTX       *ctx;
};

static SSL *ssl_of(const struct tls *t) { return (SSL *)(uintptr_t)t; }

static const char *reason(void)
{
	unsigned long code = ERR_get_error();
	const char *text = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	return text ? text : "unknown";
}

struct tls_client *tls_client_new(const char *ca_file)
{
	struct tls_client *c = MEM_NEW(struct tls_client);

	c->lib = OSSL_LIB_CTX_new();
	c->provider = c->lib ? OSSL_PROVIDER_load(c->lib, "default") : NULL;
	c->ctx = c->provider ? SSL_CTX_new_ex(c->lib, NULL, TLS_client_method()) : NULL;
	if (c->ctx == NULL || SSL_CTX_dane_enable(c->ctx) != 1) {
		log_error("TLS to other servers is not available reason=%s", reason());
		return c;
	}
	SSL_CTX_set_options(c->ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(c->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
	if (X509_STORE_load_file_ex(SSL_CTX_get_cert_store(c->ctx), ca_file, c->lib, NULL) != 1)
		log_warn("the certificates of the authorities cannot be read, servers cannot prove themselves by them file=%s reason=%s", ca_file,
		         reason());
	return c;
}

void tls_client_free(struct tls_client *c)
{
	if (c == NULL)
		return;
	SSL_CTX_free(c->ctx);
	if (c->provider)
		OSSL_PROVIDER_unload(c->provider);
	OSSL_LIB_CTX_free(c->lib);
	mem_free(c);
}

/* Names are those of the SAN (RFC 9525 §2). With DANE-TA, what the administrator of the domain has pinned may also be an old certificate,
 * whose name is in its CN (RFC 7672 §3.2.3). */
static bool set_names(SSL *ssl, const struct tls_expect *e, struct arena *a)
{
	bool ok = true;

	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | (e->trust == TLS_TRUST_DANE ? 0 : X509_CHECK_FLAG_NEVER_CHECK_SUBJECT));
	for (size_t i = 0; i < e->name_count; i++)
		ok &= SSL_add1_host(ssl, str_cstr(a, e->names[i])) == 1;
	return ok;
}

/* How many of the records can be used; -1: a failure of the library. */
static int set_pins(SSL *ssl, const struct tls_expect *e, struct arena *a)
{
	int usable = 0;

	if (SSL_dane_enable(ssl, e->name_count ? str_cstr(a, e->names[0]) : NULL) != 1)
		return -1;
	SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	for (size_t i = 0; i < e->pin_count; i++) {
		const struct tls_pin *p = &e->pins[i];
		usable += SSL_dane_tlsa_add(ssl, p->usage, p->selector, p->matching, (const unsigned char *)p->data.p, p->data.n) > 0;
	}
	return usable;
}

static bool expect(SSL *ssl, const struct tls_expect *e)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	int usable = 0;

	if (e->server_name.n && SSL_set_tlsext_host_name(ssl, str_cstr(&a, e->server_name)) != 1)
		return false;
	if (e->trust == TLS_TRUST_DANE && (usable = set_pins(ssl, e, &a)) < 0)
		return false;
	if (!set_names(ssl, e, &a))
		return false;
	if (e->trust == TLS_TRUST_ANY) {
		SSL_set_security_level(ssl, 0);
		SSL_set_min_proto_version(ssl, TLS1_VERSION);
	} else {
		SSL_set_min_proto_version(ssl, TLS1_2_VERSION);
	}
	bool is_strict = e->trust == TLS_TRUST_AUTHORITIES ? e->name_count > 0 : usable > 0;
	if (e->trust == TLS_TRUST_AUTHORITIES && !is_strict)
		return false;  /* nobody's certificate would be right */
	SSL_set_verify(ssl, is_strict ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	return true;
}

struct tls *tls_connect(struct tls_client *c, int fd, const struct tls_expect *e)
{
	SSL *ssl = c->ctx ? SSL_new(c->ctx) : NULL;

	ERR_clear_error();
	if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 || !expect(ssl, e)) {
		log_error("TLS to another server is not possible reason=%s", reason());
		SSL_free(ssl);
		return NULL;
	}
	SSL_set_connect_state(ssl);
	return (struct tls *)(void *)ssl;
}

bool tls_client_has_ended(const struct tls *t) { return (SSL_get_shutdown(ssl_of(t)) & SSL_RECEIVED_SHUTDOWN) != 0; }

bool tls_client_is_proven(const struct tls *t)
{
	return SSL_get_verify_mode(ssl_of(t)) != SSL_VERIFY_NONE && SSL_get_verify_result(ssl_of(t)) == X509_V_OK;
}

enum tls_flaw tls_client_flaw(const struct tls *t)
{
	switch (SSL_get_verify_result(ssl_of(t))) {
	case X509_V_OK:                         return TLS_FLAW_NONE;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:    return TLS_FLAW_NAME;
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:     return TLS_FLAW_EXPIRED;
	default:                                return TLS_FLAW_UNTRUSTED;
	}
}

const char *tls_client_flaw_name(const struct tls *t) { return X509_verify_cert_error_string(SSL_get_verify_result(ssl_of(t))); }

struct str tls_client_words(const struct tls *t, struct arena *a)
{
	long verdict = SSL_get_verify_result(ssl_of(t));
	int depth = SSL_get0_dane_authority(ssl_of(t), NULL, NULL);
	const char *version = SSL_get_version(ssl_of(t));

	if (verdict == X509_V_OK && depth >= 0)
		return arena_printf(a, "%s, certificate proven by DANE", version);
	if (verdict == X509_V_OK && SSL_get0_peername(ssl_of(t)))
		return arena_printf(a, "%s, certificate valid for %s", version, SSL_get0_peername(ssl_of(t)));
	return arena_printf(a, "%s, certificate not verified (%s)", version,
	                    verdict == X509_V_OK ? "no name to check" : X509_verify_cert_error_string(verdict));
}

struct str tls_client_failure(const struct tls *t, struct arena *a)
{
	long verdict = SSL_get_verify_result(ssl_of(t));

	if (verdict != X509_V_OK && SSL_get_verify_mode(ssl_of(t)) != SSL_VERIFY_NONE)
		return arena_printf(a, "certificate refused: %s", X509_verify_cert_error_string(verdict));
	return arena_printf(a, "TLS failed: %s", tls_reason(t)[0] ? tls_reason(t) : "the connection was closed");
}
