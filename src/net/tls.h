/* net/tls.h -- TLS for those who accept: certificates by host name, handshakes and bytes that never block.
 * TLS 1.2 and 1.3 with Mozilla's "intermediate" suites, session tickets, ALPN. The private keys are in the role keys: their
 * stand-in here (net/provider.c) sends what is to be signed over a channel.
 *
 * One struct tls_server a process; its certificates may be replaced while connections live (they keep theirs). */
#ifndef FACTEUR_NET_TLS_H
#define FACTEUR_NET_TLS_H
#include "ipc/channel.h"
#include "ipc/tls_key.h"

struct tls_server;
struct tls_server *tls_server_new(void);
void tls_server_free(struct tls_server *s);
/* Takes the certificates of a CERTIFICATES message; keys: whom to ask for signatures (must outlive the server; may be closed and
 * replaced meanwhile). The first must be usable: ERR_INVALID, logged, and the old ones stay. Another that turns out
 * to be unusable when a client first names it is logged and the first one is shown instead. ERR_NOTFOUND: the list is empty. */
enum err tls_server_load(struct tls_server *s, const struct tls_certificates *c, struct channel *keys) MUST_CHECK;
/* One certificate and its key from PEM files: for tests. ERR_NOTFOUND, ERR_INVALID logged. */
enum err tls_server_load_files(struct tls_server *s, const char *chain_pem, const char *key_pem) MUST_CHECK;
bool tls_server_is_ready(const struct tls_server *s);   /* has a certificate: STARTTLS may be offered */

/* From the next connection on: mail clients are asked for a certificate of their own (none has to have one; browsers are not asked). */
void tls_server_ask_certificates(struct tls_server *s, bool on);

struct tls;   /* one connection */
/* On an accepted, non-blocking socket, which stays the caller's. protocol chooses the ALPN name. */
struct tls *tls_accept(struct tls_server *s, int fd, enum protocol protocol);
void tls_free(struct tls *t);                          /* NULL is fine */
/* ERR_OK: done. ERR_AGAIN: wait for tls_wants(). ERR_CLOSED: the peer went away. ERR_INVALID: not TLS, no common version or
 * cipher, a refused certificate …: tls_reason(). Reading and writing before it is done also go on with it. */
enum err tls_handshake(struct tls *t) MUST_CHECK;
/* *got > 0 bytes. ERR_AGAIN (tls_wants()), ERR_CLOSED: end of the stream, also without close_notify; ERR_INVALID: broken. */
enum err tls_read(struct tls *t, char *room, size_t n, size_t *got) MUST_CHECK;
/* *taken > 0 of the bytes are sent or will be; of more than 16 kB the first 16 are taken, and go out with what the caller writes next: the rest, at
 * once. ERR_AGAIN: none was taken; try later with bytes that start the same. */
enum err tls_write(struct tls *t, struct str bytes, size_t *taken) MUST_CHECK;
unsigned tls_wants(const struct tls *t);               /* LOOP_READ or LOOP_WRITE: what ERR_AGAIN waits for */
bool tls_has_input(const struct tls *t);               /* decrypted bytes wait: tls_read() gives some though the socket is quiet */
void tls_close(struct tls *t);                         /* sends close_notify if it fits; never waits */

const char *tls_reason(const struct tls *t);           /* why it failed: "wrong version number"; "" if it did not */
struct str tls_text(const struct tls *t, struct arena *a);     /* "TLSv1.3 TLS_AES_128_GCM_SHA256" */
const char *tls_server_name(const struct tls *t);      /* what the client asked for (SNI), or NULL */
bool tls_was_resumed(const struct tls *t);

/* Channel bindings for SCRAM-PLUS: RFC 9266 (TLS 1.3 only; false before) and RFC 5929 §4 (hash of our certificate). */
bool tls_exporter(const struct tls *t, uint8_t out[32]);
bool tls_server_end_point(const struct tls *t, uint8_t out[64], size_t *n);

/* SHA-256 of the certificate that the client has shown in the handshake of this connection, and proved to hold the key of. Nobody has looked at
 * who signed it. False: none. *is_current: it is valid at this time. Such a connection gets no ticket: what is shown is shown each time anew. */
bool tls_client_fingerprint(const struct tls *t, uint8_t out[32], bool *is_current);
#endif
