/* imap/engine.h -- IMAP after login (RFC 9051, RFC 3501), as an engine of a cell (net/session.h); `void *cell` is struct account.
 * The gate passes in session_open.command what the login was: "a1 LOGIN" (the tag, then a word for the answer, then "fr" if the client
 * asked for French). Waiting sessions park: their state is about 70 bytes (park.c). */
#ifndef FACTEUR_IMAP_ENGINE_H
#define FACTEUR_IMAP_ENGINE_H
#include "net/session.h"

extern const struct engine imap_engine;
#endif
