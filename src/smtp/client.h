/* smtp/client.h -- the client side of SMTP (RFC 5321) over a connected descriptor: commands out, replies in. Every call waits, at most
 * timeout_ms for each read and write. The descriptor stays the caller's. */
#ifndef FACTEUR_SMTP_CLIENT_H
#define FACTEUR_SMTP_CLIENT_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/scan.h"

enum { SMTP_ANSWER_MAX = 64 << 10, SMTP_ANSWER_LINES_MAX = 500 };

struct smtp_answer {
	int        code;       /* 250, 550 … */
	struct str text;       /* what follows the codes, lines joined with '\n'; printable, UTF-8 as it came; in the arena */
	struct str enhanced;   /* "5.1.1" (RFC 3463), of its first line; empty: none */
};
/* Its first digit: 2 done, 3 go on, 4 try again later, 5 never. */
static inline int smtp_answer_class(const struct smtp_answer *r) { return r->code / 100; }

/* A whole reply at the cursor. ERR_AGAIN: not whole yet (the cursor stays); ERR_INVALID: no reply of SMTP, or over the limits. */
enum err scan_smtp_answer(struct scan *s, struct arena *a, struct smtp_answer *out) MUST_CHECK;

struct smtp_client {
	int        fd, timeout_ms;
	struct buf in;         /* private */
	int        trace_fd;   /* -1; else the conversation is written there, without the message */
};
void smtp_client_init(struct smtp_client *c, int fd, int timeout_ms);
void smtp_client_free(struct smtp_client *c);   /* for CLEANUP too */
/* The next reply. ERR_TIMEOUT, ERR_CLOSED, ERR_INVALID: the peer does not speak SMTP. */
enum err smtp_client_answer(struct smtp_client *c, struct arena *a, struct smtp_answer *out) MUST_CHECK;
/* A command line (without its CRLF, which must not be in it either) and the reply to it. */
enum err smtp_client_say(struct smtp_client *c, struct str line, struct arena *a, struct smtp_answer *out) MUST_CHECK;
/* The bytes as they are. */
enum err smtp_client_write(struct smtp_client *c, struct str bytes) MUST_CHECK;
/* The text of a message after 354: lines that end in CRLF, their first dot doubled here, the end and its dot added (RFC 5321 §4.5.2).
 * Then the reply. */
enum err smtp_client_data(struct smtp_client *c, struct str text, struct arena *a, struct smtp_answer *out) MUST_CHECK;
#endif
