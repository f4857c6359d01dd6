/* auth/secrets_private.h -- keys.db, for the files that each write one more of its tables. */
#ifndef FACTEUR_AUTH_SECRETS_PRIVATE_H
#define FACTEUR_AUTH_SECRETS_PRIVATE_H
#include "auth/secrets.h"
#include "db/db.h"

struct db *secrets_db(struct secrets *s);
#endif
