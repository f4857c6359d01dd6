/* net/tls_client.h -- TLS for those who connect: what a server's certificate has to show, from nothing at all to DANE (RFC 7672). The
 * connection that comes out is a struct tls (net/tls.h) like any other; it is never blocked on. */
#ifndef FACTEUR_NET_TLS_CLIENT_H
#define FACTEUR_NET_TLS_CLIENT_H
#include "net/tls.h"

struct tls_client;
/* Reads the certificates of the authorities at once, so before the sandbox closes. A file that cannot be read is logged: then no
 * certificate is valid for TLS_TRUST_AUTHORITIES. */
struct tls_client *tls_client_new(const char *ca_file);
void tls_client_free(struct tls_client *c);

enum tls_trust {
	TLS_TRUST_ANY,          /* encrypt, whoever it is; old versions and ciphers too: the alternative is clear text */
	TLS_TRUST_AUTHORITIES,  /* a certificate of a known authority, for one of the names (RFC 5280, RFC 9525) */
	TLS_TRUST_DANE,         /* one that fits a TLSA record; DANE-EE without regard to names and dates (RFC 7672 §3.1.1) */
};
struct tls_pin {            /* a TLSA record (RFC 6698 §2.1) */
	uint8_t    usage, selector, matching;
	struct str data;
};
struct tls_expect {
	enum tls_trust    trust;
	struct str        server_name;   /* SNI; empty: none (an address) */
	const struct str *names;         /* one of them must be in the certificate */
	size_t            name_count;
	const struct tls_pin *pins;
	size_t            pin_count;
};
/* On a connected, non-blocking socket, which stays the caller's. What is expected is not needed afterwards. DANE without one record that
 * this library can use: any certificate will do (RFC 7672 §2.2), and tls_client_words() says so. NULL: not possible, logged. */
struct tls *tls_connect(struct tls_client *c, int fd, const struct tls_expect *e);
/* After the handshake: has the certificate shown what was expected? Never, where nothing was or no record could be used. */
bool tls_client_is_proven(const struct tls *t);
/* After the end of the stream: did the server say so (close_notify)? Else anybody on the way may have cut it. */
bool tls_client_has_ended(const struct tls *t);
/* What is the matter with the certificate, whether it mattered or not; also after a handshake that it has ended. */
enum tls_flaw {
	TLS_FLAW_NONE,
	TLS_FLAW_NAME,          /* it is for other names */
	TLS_FLAW_EXPIRED,       /* or not valid yet */
	TLS_FLAW_UNTRUSTED,     /* no known authority; none of the TLSA records fits */
};
enum tls_flaw tls_client_flaw(const struct tls *t);
const char *tls_client_flaw_name(const struct tls *t);   /* "self-signed certificate" */
/* After the handshake, for people: "TLSv1.3, certificate proven by DANE"; "TLSv1.2, certificate not verified (self-signed certificate)".
 * After one that failed: why. */
struct str tls_client_words(const struct tls *t, struct arena *a);
struct str tls_client_failure(const struct tls *t, struct arena *a);
#endif
