/* admin/oauth.h -- what the oauth commands share: the keys of an issuer, fetched from where it publishes them. */
#ifndef FACTEUR_ADMIN_OAUTH_H
#define FACTEUR_ADMIN_OAUTH_H
#include "admin/admin_private.h"
#include "directory/issuer.h"

/* Sets keys and source; the server runs. ERR_NOTFOUND: they could not be had, source.fault says why, keys stay. Nothing is stored. waits. */
enum err oauth_fetch(struct admin_call *c, struct issuer *i) MUST_CHECK;
/* Fetches and stores; *now: as it stands afterwards, with whatever trouble there was. *changed: to be published; else untouched. ERR_NOTFOUND: there is no
 * such issuer (any more). waits. */
enum err oauth_refresh(struct admin_call *c, struct str name, struct issuer *now, bool *changed) MUST_CHECK;
/* What went wrong at the last look, and what to do; empty: nothing. */
struct str oauth_trouble(struct admin_call *c, const struct issuer *i);
#endif
