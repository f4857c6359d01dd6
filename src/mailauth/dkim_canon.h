/* mailauth/dkim_canon.h -- the canonical form "relaxed" of RFC 6376: what is hashed, so that mail systems may refold a header and
 * change white space at the ends of lines without breaking a signature. Pure. */
#ifndef FACTEUR_MAILAUTH_DKIM_CANON_H
#define FACTEUR_MAILAUTH_DKIM_CANON_H
#include "base/buf.h"
#include "crypto/digest.h"

/* One field (§3.4.2): "name:value" without a line break at the end. value: raw, after the colon, still folded. */
void dkim_relax_field(struct buf *out, struct str name, struct str value);

/* The body (§3.4.4), in pieces of any size, hashed as it passes. */
struct dkim_body {
	struct digest_state *digest;
	uint64_t empty_lines;      /* line breaks that count only if something follows */
	bool     has_text;         /* something was hashed */
	bool     space;            /* white space that counts only if its line goes on */
	bool     cr;               /* the last byte was a CR: of a line break, or text */
	size_t   n;
	char     room[4096];       /* on its way to the digest: words are shorter than what an update costs */
};
void dkim_body_begin(struct dkim_body *b);
void dkim_body_add(struct dkim_body *b, struct str piece);
void dkim_body_end(struct dkim_body *b, uint8_t hash[SHA256_SIZE]);  /* hash NULL: only frees */
#endif
