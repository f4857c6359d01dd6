/* cli/setup.h -- what makes a data folder into a mail server; `facteur setup` and the demo. */
#ifndef FACTEUR_CLI_SETUP_H
#define FACTEUR_CLI_SETUP_H
#include "cli/users.h"

struct setup {
	struct str domain;       /* A-labels; empty: none is added */
	struct str hostname;     /* empty: stays as it is */
	struct str bind;         /* what facteur.conf shall say; empty: what it says, in a new one every address */
	struct users users;      /* out */
	bool made_certificate;   /* out */
	bool made_domain;        /* out */
};
/* Folder, facteur.conf, users, directory, certificate; what is there stays. False: said. No server may be needed, one
 * may run. */
bool setup_make(struct cli *c, struct setup *s);
/* The part of it that is about TLS; sets s->made_certificate. Failures are logged. */
enum err setup_certificate(struct cli *c, struct setup *s) MUST_CHECK;
/* One administrative command, for its effect; false: said. words as typed. */
bool setup_request(struct cli *c, const char *command, const char *key, struct str value, const char *key2,
                   struct str value2);
#endif
