/* TLS for accepted connections.
 *
 * A struct tls is OpenSSL's SSL and nothing more: an idle connection must be cheap (14.5 kB with SSL_MODE_RELEASE_BUFFERS against
 * 46.6). The library context is our own, so that the provider of remote keys never stands beside the default one anywhere else
 * in the process. Contexts of certificates are made when a client first asks for the name: a server of 10,000 domains starts as
 * fast as one with two.
 *
 * Tickets: stateless, sealed with keys that the role keys shares with all gates, so that a phone that comes back to another gate
 * resumes and costs no signature. Without shared keys the process makes its own and changes them every 12 hours.
 *
 * ALPN: "imap", "pop3" and "http/1.1" are answered. A client that offers only web protocols elsewhere is refused: a browser lured to a mail port
 * (RFC 9325 §3.8). One that offers neither goes on without. */
#include "net/tls.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "net/loop.h"
#include "net/tls_private.h"
#include <assert.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>

enum { CLIENT_CHAIN_MAX = 32768, TICKET_LIFE_S = 24 * 3600, OWN_TICKET_KEY_S = 12 * 3600 };

/* Mozilla "intermediate", without the finite-field groups. TLS 1.3 keeps OpenSSL's three. */
static const char cipher_list[] =
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
	"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

struct entry {  /* one certificate */
	struct tls_certificate certificate;
	SSL_CTX *ctx;                 /* made at first use */
	bool     is_broken;
};

struct tls_server {
	OSSL_LIB_CTX   *lib;
	OSSL_PROVIDER  *default_provider, *remote_provider;
	struct channel *keys;
	struct arena   *arena;        /* of the entries: one for each load */
	struct entry   *entries;
	size_t          count;
	struct map      by_name;      /* "mail.example.org", "*.example.org" -> struct entry */
	uint8_t         ticket_keys[TLS_TICKET_KEYS_MAX][TLS_TICKET_KEY_SIZE];
	size_t          ticket_key_count;
	int64_t         own_ticket_key_s;  /* 0: the keys are shared */
	bool            asks_certificates;
};

static SSL *ssl_of(const struct tls *t) { return (SSL *)(uintptr_t)t; }

/* The first error in OpenSSL's queue, which is emptied. */
static const char *ssl_reason(void)
{
	unsigned long code = ERR_get_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	return reason ? reason : "unknown";
}

/* ---- certificates ---- */

static void own_ticket_keys(struct tls_server *s, int64_t now_s)
{
	if (s->own_ticket_key_s && now_s < s->own_ticket_key_s + OWN_TICKET_KEY_S)
		return;
	memmove(s->ticket_keys[1], s->ticket_keys[0], (TLS_TICKET_KEYS_MAX - 1) * TLS_TICKET_KEY_SIZE);
	random_bytes(s->ticket_keys[0], TLS_TICKET_KEY_SIZE);
	if (s->ticket_key_count < TLS_TICKET_KEYS_MAX)
		s->ticket_key_count++;
	s->own_ticket_key_s = now_s;
}

struct tls_server *tls_server_new(void)
{
	struct tls_server *s = MEM_NEW(struct tls_server);

	s->lib = OSSL_LIB_CTX_new();
	s->default_provider = s->lib ? OSSL_PROVIDER_load(s->lib, "default") : NULL;
	s->remote_provider = s->lib ? remote_provider_load(s->lib) : NULL;
	if (s->default_provider == NULL || s->remote_provider == NULL)
		log_error("TLS is not available reason=%s", ssl_reason());
	own_ticket_keys(s, clock_wall_s());
	return s;
}

static void entries_free(struct tls_server *s)
{
	for (size_t i = 0; i < s->count; i++)
		SSL_CTX_free(s->entries[i].ctx);
	map_free(&s->by_name);
	s->by_name = (struct map){ 0 };
	s->entries = NULL;
	s->count = 0;
	if (s->arena)
		arena_free(s->arena);
	mem_free(s->arena);
	s->arena = NULL;
}

void tls_server_free(struct tls_server *s)
{
	if (s == NULL)
		return;
	entries_free(s);
	OSSL_PROVIDER_unload(s->remote_provider);
	OSSL_PROVIDER_unload(s->default_provider);
	OSSL_LIB_CTX_free(s->lib);
	mem_wipe(s->ticket_keys, sizeof(s->ticket_keys));
	mem_free(s);
}

bool tls_server_is_ready(const struct tls_server *s) { return s->count > 0; }

/* 1: a key for this ticket; 2: the same, and the client should get a newer one; 0: none. See SSL_CTX_set_tlsext_ticket_key_evp_cb(3). */
static int ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seals)
{
	struct tls_server *s = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	size_t i = 0;

	if (seals && SSL_get0_peer_certificate(ssl) != NULL)
		return 0;  /* TLS 1.2: an empty ticket; for 1.3 any_certificate() said so */
	if (s->own_ticket_key_s)
		own_ticket_keys(s, clock_wall_s());
	if (seals) {
		random_bytes(iv, 16);
		memcpy(name, s->ticket_keys[0], 16);
	} else {
		while (i < s->ticket_key_count && memcmp(name, s->ticket_keys[i], 16) != 0)
			i++;
		if (i == s->ticket_key_count)
			return 0;
	}
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, s->ticket_keys[i] + 16, 32),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0), OSSL_PARAM_construct_end(),
	};
	if (EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, s->ticket_keys[i] + 48, iv, seals) != 1 ||
	    EVP_MAC_CTX_set_params(mac, params) != 1)
		return -1;
	return seals || i == 0 ? 1 : 2;
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *offered, unsigned n,
                           UNUSED void *context)
{
	static const struct str names[PROTOCOL_COUNT] = { [PROTOCOL_IMAP] = { "imap", 4 }, [PROTOCOL_POP3] = { "pop3", 4 },
	                                                 [PROTOCOL_HTTP] = { "http/1.1", 8 } };
	struct str own = names[(uintptr_t)SSL_get_app_data(ssl) % PROTOCOL_COUNT];
	struct scan s = scan_of(str_make(offered, n));
	bool is_web = false;

	while (!scan_done(&s)) {
		struct str name = scan_bytes(&s, (size_t)(unsigned char)*scan_bytes(&s, 1).p);
		if (s.failed)
			break;
		if (own.n && str_eq(name, own)) {
			*out = (const unsigned char *)name.p;
			*out_n = (unsigned char)name.n;
			return SSL_TLSEXT_ERR_OK;
		}
		is_web |= str_starts(name, STR("http/")) || str_eq(name, STR("h2")) || str_eq(name, STR("h3"));
	}
	return is_web ? SSL_TLSEXT_ERR_ALERT_FATAL : SSL_TLSEXT_ERR_NOACK;
}

static int choose_certificate(SSL *ssl, int *alert, void *server);

/* Whatever a client shows is taken: what counts is that its key signs this handshake, and whether the administrator has said whose the
 * certificate is (auth/client_certificate.h). No chain is built, so a stranger cannot make that expensive. A session that began with a
 * certificate is never resumed: the ticket would vouch for somebody whose certificate may be gone by then. */
static int any_certificate(X509_STORE_CTX *x, UNUSED void *context)
{
	SSL_set_num_tickets(X509_STORE_CTX_get_ex_data(x, SSL_get_ex_data_X509_STORE_CTX_idx()), 0);
	return 1;
}

/* What all certificates have in common. NULL: logged. */
static SSL_CTX *context_new(struct tls_server *s)
{
	static const unsigned char session_context[] = "facteur";
	SSL_CTX *c = SSL_CTX_new_ex(s->lib, NULL, TLS_server_method());

	if (c == NULL || SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) != 1 || SSL_CTX_set_cipher_list(c, cipher_list) != 1 ||
	    SSL_CTX_set1_groups_list(c, "X25519:P-256:P-384") != 1) {
		log_error("TLS context not made reason=%s", ssl_reason());
		SSL_CTX_free(c);
		return NULL;
	}
	SSL_CTX_set_security_level(c, 2);
	SSL_CTX_set_options(c, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(c, session_context, sizeof(session_context) - 1);
	SSL_CTX_set_timeout(c, TICKET_LIFE_S);
	SSL_CTX_set_num_tickets(c, 1);
	SSL_CTX_set_app_data(c, s);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(c, ticket_key);
	SSL_CTX_set_tlsext_servername_callback(c, choose_certificate);
	SSL_CTX_set_tlsext_servername_arg(c, s);
	SSL_CTX_set_alpn_select_cb(c, choose_protocol, NULL);
	SSL_CTX_set_cert_verify_callback(c, any_certificate, NULL);
	SSL_CTX_set_max_cert_list(c, CLIENT_CHAIN_MAX);
	return c;
}

/* Puts chain and remote key into a context. */
static bool context_fill(struct tls_server *s, SSL_CTX *c, const struct tls_certificate *cert)
{
	X509 *leaf = NULL;
	STACK_OF(X509) *rest = sk_X509_new_null();
	EVP_PKEY *key = NULL;
	bool ok = true;

	for (size_t i = 0; i < cert->chain_count && ok; i++) {
		const unsigned char *der = (const unsigned char *)cert->chain[i].p;
		X509 *x = X509_new_ex(s->lib, "provider=default"), *parsed = x ? d2i_X509(&x, &der, (long)cert->chain[i].n) : NULL;
		ok = parsed != NULL;
		if (!ok)
			continue;
		if (i == 0)
			leaf = parsed;
		else
			ok = sk_X509_push(rest, parsed) > 0;
	}
	if (ok && leaf)
		key = remote_key_new(s->lib, X509_get0_pubkey(leaf), cert->key_hash, s->keys);
	ok = ok && key && SSL_CTX_use_cert_and_key(c, leaf, key, rest, 1) == 1;
	EVP_PKEY_free(key);
	X509_free(leaf);
	sk_X509_pop_free(rest, X509_free);
	return ok;
}

static SSL_CTX *entry_context(struct tls_server *s, struct entry *e)
{
	if (e->ctx || e->is_broken)
		return e->ctx;
	SSL_CTX *c = context_new(s);
	if (c && !context_fill(s, c, &e->certificate)) {
		struct str name = e->certificate.name_count ? e->certificate.names[0] : STR("(no name)");
		log_error("certificate not usable name=" STR_FMT " reason=%s", STR_ARG(name), ssl_reason());
		SSL_CTX_free(c);
		c = NULL;
	}
	e->is_broken = c == NULL;
	e->ctx = c;
	return c;
}

/* The entry for a host name: its own, else the wildcard one label up (RFC 9525 §6.3); NULL: none. */
static struct entry *entry_for(const struct tls_server *s, struct str host)
{
	char lower[256];
	struct str head, tail;

	if (host.n == 0 || host.n > sizeof(lower))
		return NULL;
	for (size_t i = 0; i < host.n; i++)
		lower[i] = chr_lower(host.p[i]);
	struct entry *e = map_get(&s->by_name, str_make(lower, host.n));
	if (e || !str_cut(str_make(lower, host.n), '.', &head, &tail) || head.n == 0)
		return e;
	lower[head.n - 1] = '*';
	return map_get(&s->by_name, str_make(lower + head.n - 1, tail.n + 2));
}

static int choose_certificate(SSL *ssl, UNUSED int *alert, void *server)
{
	struct tls_server *s = server;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	struct entry *e = name ? entry_for(s, str_of(name)) : NULL;
	SSL_CTX *c = e ? entry_context(s, e) : NULL;

	if (c && c != SSL_get_SSL_CTX(ssl))
		SSL_set_SSL_CTX(ssl, c);
	return SSL_TLSEXT_ERR_OK;  /* an unknown name gets the first certificate: the client decides */
}

static void copy_certificate(struct arena *a, struct tls_certificate *to, const struct tls_certificate *from)
{
	*to = *from;
	to->names = arena_array(a, from->name_count, sizeof(*to->names));
	to->chain = arena_array(a, from->chain_count, sizeof(*to->chain));
	for (size_t i = 0; i < from->name_count; i++)
		to->names[i] = str_copy(a, from->names[i]);
	for (size_t i = 0; i < from->chain_count; i++)
		to->chain[i] = str_copy(a, from->chain[i]);
}

enum err tls_server_load(struct tls_server *s, const struct tls_certificates *c, struct channel *keys)
{
	struct tls_server fresh = { .lib = s->lib, .keys = keys, .count = c->count, .arena = MEM_NEW(struct arena) };

	s->keys = keys;
	if (c->ticket_key_count) {
		memcpy(s->ticket_keys, c->ticket_keys, sizeof(s->ticket_keys));
		s->ticket_key_count = c->ticket_key_count;
		s->own_ticket_key_s = 0;
	}
	fresh.entries = arena_array(fresh.arena, c->count, sizeof(*fresh.entries));
	for (size_t i = 0; i < c->count; i++) {
		struct tls_certificate *cert = &fresh.entries[i].certificate;
		copy_certificate(fresh.arena, cert, &c->list[i]);
		for (size_t n = 0; n < cert->name_count; n++)
			if (map_get(&fresh.by_name, cert->names[n]) == NULL)  /* the first certificate of a name wins */
				map_set(&fresh.by_name, cert->names[n], &fresh.entries[i]);
	}
	/* the context of the first one points to s: it is made as s's own */
	if (c->count == 0 || entry_context(s, &fresh.entries[0]) == NULL) {
		entries_free(&fresh);
		return c->count ? ERR_INVALID : ERR_NOTFOUND;
	}
	entries_free(s);
	s->arena = fresh.arena;
	s->entries = fresh.entries;
	s->count = fresh.count;
	s->by_name = fresh.by_name;
	return ERR_OK;
}

enum err tls_server_load_files(struct tls_server *s, const char *chain_pem, const char *key_pem)
{
	SSL_CTX *c = context_new(s);

	if (c == NULL)
		return ERR_INVALID;
	if (SSL_CTX_use_certificate_chain_file(c, chain_pem) != 1 || SSL_CTX_use_PrivateKey_file(c, key_pem, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(c) != 1) {
		log_error("certificate not usable chain=%s key=%s reason=%s", chain_pem, key_pem, ssl_reason());
		SSL_CTX_free(c);
		return ERR_INVALID;
	}
	entries_free(s);
	s->arena = MEM_NEW(struct arena);
	s->entries = arena_array(s->arena, 1, sizeof(*s->entries));
	s->entries[0].ctx = c;
	s->count = 1;
	return ERR_OK;
}

void tls_server_ask_certificates(struct tls_server *s, bool on) { s->asks_certificates = on; }

/* ---- connections ---- */

/* A client is not asked when it resumes a session. One that began before anybody was asked is not resumed: a program that has got a certificate
 * meanwhile could not show it as long as it has tickets. */
static bool ask_certificate(SSL *ssl)
{
	static const unsigned char session_context[] = "facteur asks";

	SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	return SSL_set_session_id_context(ssl, session_context, sizeof(session_context) - 1) == 1;
}

/* A record is 16 kB, and each one sent is a trip through TCP to the client, who is woken for it. Of one write all but the last are only queued
 * (MSG_MORE): whoever writes more than a record goes on at once, or waits until there is room, which is when what is queued goes out. */
static _Thread_local bool more_follows;

static int socket_write(BIO *bio, const char *bytes, int n)
{
	ssize_t sent = send((int)BIO_get_fd(bio, NULL), bytes, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL | (more_follows ? MSG_MORE : 0));

	BIO_clear_retry_flags(bio);
	if (sent <= 0 && BIO_sock_should_retry((int)sent))
		BIO_set_retry_write(bio);
	return (int)sent;
}

static BIO_METHOD *socket_method;

static void make_socket_method(void)
{
	const BIO_METHOD *plain = BIO_s_socket();

	socket_method = BIO_meth_new(BIO_TYPE_SOCKET, "socket");
	assert(socket_method != NULL);
	BIO_meth_set_write(socket_method, socket_write);
	BIO_meth_set_read(socket_method, BIO_meth_get_read(plain));
	BIO_meth_set_ctrl(socket_method, BIO_meth_get_ctrl(plain));
	BIO_meth_set_create(socket_method, BIO_meth_get_create(plain));
	BIO_meth_set_destroy(socket_method, BIO_meth_get_destroy(plain));
}

static bool set_socket(SSL *ssl, int fd)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	BIO *bio;

	pthread_once(&once, make_socket_method);
	bio = BIO_new(socket_method);
	if (bio == NULL)
		return false;
	BIO_set_fd(bio, fd, BIO_NOCLOSE);
	SSL_set_bio(ssl, bio, bio);
	return true;
}

struct tls *tls_accept(struct tls_server *s, int fd, enum protocol protocol)
{
	SSL *ssl = s->count ? SSL_new(entry_context(s, &s->entries[0])) : NULL;

	if (ssl == NULL || !set_socket(ssl, fd) || (s->asks_certificates && protocol != PROTOCOL_HTTP && !ask_certificate(ssl))) {
		log_error("TLS connection not made reason=%s", s->count ? ssl_reason() : "no certificate");
		SSL_free(ssl);
		return NULL;
	}
	SSL_set_app_data(ssl, (void *)(uintptr_t)protocol);
	SSL_set_accept_state(ssl);
	return (struct tls *)(void *)ssl;
}

void tls_free(struct tls *t) { SSL_free(ssl_of(t)); }

/* The outcome of a call that returned r. The reason stays in the queue of OpenSSL for tls_reason(). */
static enum err outcome(const struct tls *t, int r)
{
	switch (SSL_get_error(ssl_of(t), r)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return ERR_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return ERR_CLOSED;
	case SSL_ERROR_SYSCALL:
		ERR_clear_error();
		return ERR_CLOSED;
	default:
		return ERR_INVALID;
	}
}

enum err tls_handshake(struct tls *t)
{
	ERR_clear_error();
	int r = SSL_do_handshake(ssl_of(t));
	return r == 1 ? ERR_OK : outcome(t, r);
}

enum err tls_read(struct tls *t, char *room, size_t n, size_t *got)
{
	ERR_clear_error();
	*got = 0;
	int r = SSL_read_ex(ssl_of(t), room, n, got);
	return r == 1 ? ERR_OK : outcome(t, r);
}

enum err tls_write(struct tls *t, struct str bytes, size_t *taken)
{
	ERR_clear_error();
	*taken = 0;
	if (bytes.n == 0)
		return ERR_OK;
	more_follows = bytes.n > SSL3_RT_MAX_PLAIN_LENGTH;
	int r = SSL_write_ex(ssl_of(t), bytes.p, bytes.n, taken);
	more_follows = false;
	return r == 1 ? ERR_OK : outcome(t, r);
}

unsigned tls_wants(const struct tls *t) { return SSL_want_write(ssl_of(t)) ? LOOP_WRITE : LOOP_READ; }
bool tls_has_input(const struct tls *t) { return SSL_has_pending(ssl_of(t)) == 1 && SSL_pending(ssl_of(t)) > 0; }

void tls_close(struct tls *t)
{
	ERR_clear_error();
	if (SSL_is_init_finished(ssl_of(t)) && SSL_shutdown(ssl_of(t)) < 0)
		ERR_clear_error();
}

const char *tls_reason(UNUSED const struct tls *t)
{
	unsigned long code = ERR_peek_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;
	return reason ? reason : "";
}

struct str tls_text(const struct tls *t, struct arena *a)
{
	return arena_printf(a, "%s %s", SSL_get_version(ssl_of(t)), SSL_get_cipher_name(ssl_of(t)));
}

const char *tls_server_name(const struct tls *t) { return SSL_get_servername(ssl_of(t), TLSEXT_NAMETYPE_host_name); }
bool tls_was_resumed(const struct tls *t) { return SSL_session_reused(ssl_of(t)) == 1; }

bool tls_exporter(const struct tls *t, uint8_t out[32])
{
	static const char label[] = "EXPORTER-Channel-Binding";
	static const unsigned char empty[1];

	return SSL_version(ssl_of(t)) >= TLS1_3_VERSION &&
	       SSL_export_keying_material(ssl_of(t), out, 32, label, sizeof(label) - 1, empty, 0, 1) == 1;
}

bool tls_server_end_point(const struct tls *t, uint8_t out[64], size_t *n)
{
	X509 *x = SSL_get_certificate(ssl_of(t));
	int digest = NID_undef;
	unsigned size = 0;

	if (x == NULL || X509_get_signature_info(x, &digest, NULL, NULL, NULL) != 1 || digest == NID_undef)
		return false;  /* Ed25519 names no digest: RFC 5929 §4.1 leaves it undefined */
	if (digest == NID_md5 || digest == NID_sha1)
		digest = NID_sha256;
	if (X509_digest(x, EVP_get_digestbynid(digest), out, &size) != 1)
		return false;
	*n = size;
	return true;
}

bool tls_client_fingerprint(const struct tls *t, uint8_t out[32], bool *is_current)
{
	X509 *x = SSL_get0_peer_certificate(ssl_of(t));

	*is_current = x != NULL && X509_cmp_current_time(X509_get0_notBefore(x)) < 0 && X509_cmp_current_time(X509_get0_notAfter(x)) > 0;
	return x != NULL && !tls_was_resumed(t) && X509_digest(x, EVP_sha256(), out, NULL) == 1;
}
