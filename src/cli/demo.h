/* cli/demo.h -- the parts of the demonstration: its accounts (demo_accounts.c), what it prints (demo_card.c), its
 * life (demo.c). */
#ifndef FACTEUR_CLI_DEMO_H
#define FACTEUR_CLI_DEMO_H
#include "cli/cli_private.h"

#define DEMO_DOMAIN "example.test"
enum { DEMO_ACCOUNTS = 2 };

struct demo_account { struct str address, password; };

struct demo {
	struct cli         *cli;
	int                 port_offset;
	struct str          bind;          /* empty: this machine only */
	const char         *missing;       /* what the kernel lacks for the sandbox; NULL: nothing */
	struct demo_account accounts[DEMO_ACCOUNTS];
};

/* Makes alice and bob, or takes their passwords from DIR/accounts.txt; a welcome message for those that are new.
 * False: said. */
bool demo_accounts(struct demo *d);
/* Everything a person types into a mail program. */
void demo_card(struct demo *d);

/* One row for each port a mail program can be told. */
struct demo_port {
	const char *protocol, *security[LANG_COUNT];
	int         port;
	bool        has_greeting;  /* speaks first, without TLS */
};
extern const struct demo_port demo_ports[];
extern const size_t demo_port_count;
enum { DEMO_SMTP_PORT = 25 };
#endif
