/* cli/sendmail_private.h -- the parts of `facteur sendmail` that touch neither files nor sockets. */
#ifndef FACTEUR_CLI_SENDMAIL_PRIVATE_H
#define FACTEUR_CLI_SENDMAIL_PRIVATE_H
#include "base/arena.h"
#include "base/buf.h"

enum { SENDMAIL_RECIPIENTS_MAX = 10000, SENDMAIL_LINE_MAX = 32 << 10 };

enum sendmail_mode { SENDMAIL_DELIVER, SENDMAIL_SMTP, SENDMAIL_MAILQ, SENDMAIL_NEWALIASES };
struct sendmail_options {
	enum sendmail_mode mode;
	bool        reads_recipients;   /* -t */
	bool        dot_is_text;        /* -i */
	bool        is_verbose;         /* -v */
	const char *sender;             /* -f; NULL: the caller's address; "": none */
	const char *name;               /* -F; NULL: not given */
	char      **words;              /* recipients */
	int         word_count;
};
/* False: *bad is the option that is unknown or lacks its value. */
bool sendmail_options(int argc, char **argv, struct sendmail_options *out, char bad[3]);

/* Does what was read so far end with a line of one dot? *end: where that line starts. Looks from *at on, which moves along. */
bool sendmail_dot(struct str text, size_t *at, size_t *end);
/* Lines as SMTP wants them: each ends in CRLF (also what ended in LF, or in CR alone, as progress bars do), at most SENDMAIL_LINE_MAX
 * bytes long, a NUL is "?"; the "From " line of an mbox goes; text that does not begin with a header gets an empty line before it. */
void sendmail_text(struct str in, struct buf *out);

/* Recipients of a list: as typed, or of To, Cc and Bcc. A name without a domain stays one ("root"). */
struct sendmail_recipients {
	struct str *address;            /* local@domain or local; in the arena */
	size_t      n, cap;
	struct str  bad;                /* what is no address */
};
/* False: r->bad is set, or (empty) there are more than SENDMAIL_RECIPIENTS_MAX. */
bool sendmail_recipients_add(struct sendmail_recipients *r, struct arena *a, struct str list);
/* From a header (RFC 5322 §3.6.3; the Resent- fields alone when there are any, §3.6.6). */
bool sendmail_recipients_of_header(struct sendmail_recipients *r, struct arena *a, struct str header);
#endif
