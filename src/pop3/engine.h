/* pop3/engine.h -- POP3 after login (RFC 1939), as an engine of a cell (net/session.h); `void *cell` is struct account.
 * The gate passes what was agreed before the login in session_open.command: "ASCII" or "UTF8" (RFC 6856 §2), then the SASL
 * mechanisms that it offered, for CAPA. */
#ifndef FACTEUR_POP3_ENGINE_H
#define FACTEUR_POP3_ENGINE_H
#include "net/session.h"

extern const struct engine pop3_engine;
#endif
