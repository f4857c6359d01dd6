/* submit/fixup.h -- the header of a message that one of our users sends, on its way into the queue (RFC 6409 §8).
 *
 *   supplied when missing   Date, Message-ID, From
 *   removed                 Bcc, Resent-Bcc (RFC 5322 §3.6.3), Return-Path (RFC 5321 §4.4), a leading "From " line of an mbox
 *   put in front            the Received field
 *   everything else, and the body: not a byte is changed. Sender stays.
 *
 * A header ends at its empty line, or before the first line that is no field, where the empty line is then put in (programs that
 * pipe plain text into sendmail). So nothing that we did not look at can be read as a field by others.
 *
 *   fixup_begin(); while bytes come: fixup_take(); fixup_end(); once is_whole: look at authors, then fixup_write() */
#ifndef FACTEUR_SUBMIT_FIXUP_H
#define FACTEUR_SUBMIT_FIXUP_H
#include "base/arena.h"
#include "base/buf.h"

enum { FIXUP_HEADER_MAX = 1 << 20, FIXUP_AUTHORS_MAX = 100 };

struct fixup {
	bool       is_whole;       /* the header is there */
	struct buf taken;          /* the header, perhaps the start of the body */
	size_t     header_n;       /* bytes of fields in it, without the empty line */
	size_t     body_at;        /* in taken: what follows the empty line, or is no field */
	size_t     at;             /* private: the first line not looked at */
};

void fixup_begin(struct fixup *f);
/* Takes bytes from the front of *in until the header is whole; what is left of *in is body. ERR_LIMIT: the header is larger than
 * FIXUP_HEADER_MAX: refuse the message. */
enum err fixup_take(struct fixup *f, struct str *in) MUST_CHECK;
/* The message is over: what was taken is the header. */
void fixup_end(struct fixup *f);
void fixup_free(struct fixup *f);   /* for CLEANUP too */

/* The addresses of all From fields, at most FIXUP_AUTHORS_MAX. has_from: there is such a field. ERR_INVALID: one without an address,
 * or with what is no address; ERR_LIMIT: too many. */
struct authors {
	bool        has_from;
	struct str *addresses;     /* local@domain, in the arena */
	size_t      n;
};
enum err fixup_authors(const struct fixup *f, struct arena *a, struct authors *out) MUST_CHECK;

struct fixup_facts {
	struct str received;       /* a whole field with its line end; may be empty: somebody else puts it in front */
	struct str domain;         /* right side of a Message-ID */
	struct str from_name, from;/* for a message without From; name: UTF-8, may be empty */
	int64_t    now_s;
};
/* Adds the new header, its empty line and what was taken of the body to out. */
void fixup_write(const struct fixup *f, const struct fixup_facts *facts, struct buf *out);
/* All at once, for a header that is in memory, with its empty line or without. out fails when it is over FIXUP_HEADER_MAX. */
void fixup_header(struct str header, const struct fixup_facts *facts, struct buf *out);
#endif
