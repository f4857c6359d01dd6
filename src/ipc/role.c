/* Names of roles and protocols. */
#include "ipc/role.h"

static const char *const role_names[ROLE_COUNT] = {
	[ROLE_MASTER] = "master", [ROLE_NURSERY] = "nursery", [ROLE_CONTROL] = "control", [ROLE_KEYS] = "keys",
	[ROLE_GATE] = "gate", [ROLE_MX] = "mx", [ROLE_QUEUE] = "queue", [ROLE_NET] = "net", [ROLE_SCAN] = "scan",
	[ROLE_CELL] = "cell",
};

const char *role_name(enum role r) { return (unsigned)r < ROLE_COUNT && role_names[r] ? role_names[r] : "?"; }

bool role_find(struct str name, enum role *out)
{
	for (int r = ROLE_MASTER; r < ROLE_COUNT; r++) {
		if (str_eq(name, str_of(role_names[r]))) {
			*out = (enum role)r;
			return true;
		}
	}
	return false;
}

const char *protocol_name(enum protocol p)
{
	static const char *const names[PROTOCOL_COUNT] = {
		[PROTOCOL_SMTP] = "smtp", [PROTOCOL_SUBMISSION] = "submission", [PROTOCOL_IMAP] = "imap", [PROTOCOL_POP3] = "pop3",
		[PROTOCOL_LOCAL] = "local", [PROTOCOL_ADMIN] = "admin", [PROTOCOL_HTTP] = "http",
	};
	return (unsigned)p < PROTOCOL_COUNT && names[p] ? names[p] : "?";
}
