/* imap/capability.h -- what CAPABILITY says (RFC 9051 §7.2.2), derived from commands.def. */
#ifndef FACTEUR_IMAP_CAPABILITY_H
#define FACTEUR_IMAP_CAPABILITY_H
#include "base/buf.h"

/* "IMAP4rev1 IMAP4rev2 LITERAL+ …" as it is after login. append_limit: bytes of one message (RFC 7889). */
void imap_put_capabilities(struct buf *b, uint64_t append_limit, uint32_t message_limit, bool is_compressed);
/* The same before login, without what the login phase knows best (STARTTLS, AUTH=, LOGINDISABLED, SASL-IR). */
void imap_put_capabilities_before_login(struct buf *b);
#endif
