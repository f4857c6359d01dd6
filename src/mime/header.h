/* mime/header.h -- the fields of a header, their text, and lists of message identifiers (RFC 5322 §2.2, RFC 2047, RFC
 * 5256 §2.1). */
#ifndef FACTEUR_MIME_HEADER_H
#define FACTEUR_MIME_HEADER_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/scan.h"

enum { HEADER_IDS_MAX = 1000, HEADER_DECODED_MAX = 1 << 20 };

struct header_field {
	struct str name;    /* without colon and the space before it */
	struct str value;   /* raw, after the colon: still folded, without the last line break */
	struct str line;    /* all bytes of the field with its last line break; line.p - header.p is its offset */
};

/* The next field of a header; false at the empty line or the end. Lines that are no field (no colon) are passed over;
 * a folded line belongs to the field before it. Start with scan_of(header) or scan_of(message). */
bool header_next(struct scan *s, struct header_field *out);
/* The first field of this name (any case); false: none, *value is STR_NONE. */
bool header_find(struct str header, struct str name, struct str *value);
/* Bytes of the header of a message, with its empty line. */
size_t header_size(struct str message);

/* Folding removed (RFC 5322 §2.2.3), trimmed; a CR alone or a NUL becomes "?". The value itself when it has none of
 * them. */
struct str header_unfold(struct arena *a, struct str value);
/* Unfolded, and RFC 2047 encoded words as UTF-8 (adjacent ones joined, also when a character is cut between two); raw
 * 8-bit text is guessed (charset_guess). Always valid UTF-8 without control characters. */
struct str header_decode(struct arena *a, struct str value);
/* The same for words already unfolded: a phrase, a comment. */
struct str header_decode_words(struct arena *a, struct str text);

/* The identifiers in Message-ID, In-Reply-To, References: what stands between < and >, without them and without
 * folding white space; at most max (≤ HEADER_IDS_MAX), the last ones when there are more. Words without brackets are
 * taken when there is no bracket at all and they have an "@". */
size_t header_ids(struct arena *a, struct str value, struct str **ids, size_t max);
/* RFC 5256 §2.1: without "Re:", "Fwd:", "[list]", "(fwd)"; runs of white space are one SP. value: raw, is decoded
 * here. Upper and lower case stay. is_reply may be NULL. */
struct str header_base_subject(struct arena *a, struct str value, bool *is_reply);
#endif
