/* auth/client_certificate.h -- certificates of devices that log in as an account (SASL EXTERNAL): the table client_certificate of keys.db. A
 * certificate is known by its fingerprint; who signed it does not matter, because the administrator has said whose it is. */
#ifndef FACTEUR_AUTH_CLIENT_CERTIFICATE_H
#define FACTEUR_AUTH_CLIENT_CERTIFICATE_H
#include "auth/secrets.h"

/* Adds one and sets *certificate_id. ERR_EXISTS: the account has it already; ERR_LIMIT: CLIENT_CERTIFICATES_MAX. */
enum err client_certificate_add(struct secrets *s, uint64_t account, const struct client_certificate *c, uint32_t *certificate_id) MUST_CHECK;
enum err client_certificate_remove(struct secrets *s, uint64_t account, uint32_t certificate_id) MUST_CHECK;   /* ERR_NOTFOUND */
enum err client_certificate_list(struct secrets *s, uint64_t account, struct arena *a, struct client_certificate **out, size_t *n) MUST_CHECK;
/* Inside a change: all of an account. */
enum err client_certificate_forget(struct secrets *s, uint64_t account) MUST_CHECK;

struct certificate_owner { uint64_t account; uint32_t certificate_id, rights; };
/* Who has it, to be asked about one account after the other: does it live? A deleted one keeps its certificates until it is purged. */
struct certificate_search {
	uint8_t  fingerprint[FINGERPRINT_SIZE];
	uint64_t account;                                  /* only this one; 0: whoever has it */
	bool   (*lives)(void *context, uint64_t account);
	void    *context;
};
/* Whose it is; notes that it was used. ERR_NOTFOUND: of nobody who lives; ERR_CONFLICT: of several. */
enum err client_certificate_find(struct secrets *s, const struct certificate_search *x, int64_t now_s, struct certificate_owner *out) MUST_CHECK;
#endif
