/* auth/sasl_private.h -- shared by the files of SASL mechanisms. */
#ifndef FACTEUR_AUTH_SASL_PRIVATE_H
#define FACTEUR_AUTH_SASL_PRIVATE_H
#include "auth/sasl.h"

/* saslname (RFC 5802 §7), decoded into the arena: at most LOGIN_NAME_MAX bytes of UTF-8 without control characters. */
struct str sasl_scan_name(struct scan *s, struct arena *a);
/* What a client of OAUTHBEARER or XOAUTH2 sends first: *login (may be empty) in the arena, *token borrowed from the message. NULL: fine; else
 * what was expected. */
const char *sasl_bearer_parse(bool is_xoauth2, struct str message, struct arena *a, struct str *login, struct str *token);
#endif
