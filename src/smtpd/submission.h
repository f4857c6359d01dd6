/* smtpd/submission.h -- submission after login (RFC 6409), as an engine of a cell (net/session.h); `void *cell` is struct account.
 * The gate passes in session_open.command "EHLO name" or "HELO name"; for a printer that did not log in (grant from PRINTER) the
 * word "PRINTER" stands before it: "PRINTER EHLO scanner". The engine says 235 first, except to a printer, whose MAIL command is
 * the first input it gets. */
#ifndef FACTEUR_SMTPD_SUBMISSION_H
#define FACTEUR_SMTPD_SUBMISSION_H
#include "net/session.h"

extern const struct engine submission_engine;
#endif
