/* smtp/command.h -- a command line: verb and argument; what a client calls itself (RFC 5321 §4.1). */
#ifndef FACTEUR_SMTP_COMMAND_H
#define FACTEUR_SMTP_COMMAND_H
#include "base/str.h"

enum {
	SMTP_LINE_MAX = 4096,  /* bytes with CRLF: RFC 5321 §4.5.3.1.4 asks for 512, the parameters of DSN for more */
	SMTP_HELO_MAX = 255,
};

/* "MAIL FROM:<a@b>" -> "MAIL" and "FROM:<a@b>", without spaces around it. The line comes without its CRLF. */
void smtp_command(struct str line, struct str *verb, struct str *argument);
/* What a client calls itself in EHLO or HELO: one word of printable characters, at most 255 bytes. Any spelling: the
 * RFC forbids to refuse a client for its name (§4.1.4). False: there is none, or more than one word, or control
 * characters. */
bool smtp_helo_name(struct str argument, struct str *name);
#endif
