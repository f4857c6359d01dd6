/* auth/keyring.h -- the TLS certificates of this server and their private keys: read from PEM files, listed for gate and mx, signed
 * with on request (ipc/tls_key.h). One thread.
 *
 * Any arrangement of files works: certificate and key in one *.pem, or apart (*.pem, *.crt, *.cer, *.key), one pair for each name
 * or one for all; they are brought together by the public key. The certificate for clients that name no host is that of
 * default.pem if there is one, else the first by file name. For a name that several have it is one that has not expired, of another file than
 * default.pem, and of those the one that lives longest. */
#ifndef FACTEUR_AUTH_KEYRING_H
#define FACTEUR_AUTH_KEYRING_H
#include "disk/disk.h"
#include "ipc/tls_key.h"

enum { KEYRING_FILES_MAX = 20000, CERTIFICATE_SOON_S = 14 * 86400 };  /* SOON: so long before its end somebody has to hear of it */

struct keyring;
struct keyring *keyring_new(struct disk_dir *dir);    /* borrowed; NULL: there is no such folder, the ring stays empty */
void keyring_free(struct keyring *k);                 /* NULL is fine; wipes */

/* Reads the files again if any name, size, time, owner or right changed; true when the list is another one than before, or one of it has
 * expired. A file that cannot be read or does not fit is logged and left out; if nothing usable is left, the old list stays. Logs which
 * certificates that are shown have expired, or will soon. */
bool keyring_reload(struct keyring *k);
/* Says the last again when it was a day ago: true. now_ms: clock_mono_ms(). */
bool keyring_remind(struct keyring *k, int64_t now_ms);
/* All that there are; lives until the next keyring_reload(). */
const struct tls_certificates *keyring_list(const struct keyring *k);
/* What clients are shown of it, the list to send: each name stands in one certificate at most; lives as long. */
struct tls_certificates keyring_shown(const struct keyring *k);
/* The ticket keys change by themselves every 12 hours: true when it made a new one (the first one at the first call). */
bool keyring_rotate_tickets(struct keyring *k, int64_t now_ms);

/* ERR_NOTFOUND: no such key; ERR_INVALID: the scheme does not fit the key. */
enum err keyring_sign(const struct keyring *k, const struct tls_sign *r, struct buf *signature) MUST_CHECK;
#endif
