/* mime/downgrade.h -- a message with eight-bit text made to fit a server that takes seven bits only (RFC 6152 §3, RFC 2045 §6).
 *
 * Leaves with eight-bit bytes become quoted-printable, or base64 where that is shorter; Content-Transfer-Encoding of what is declared 8bit
 * or binary says so, or 7bit. What decodes to something else than before is nothing but preambles and epilogues, whose eight-bit bytes
 * become "?". All else stays byte for byte.
 *
 * The new message is never in memory: a plan is made, which some hundred bytes a part, and read from wherever one likes. */
#ifndef FACTEUR_MIME_DOWNGRADE_H
#define FACTEUR_MIME_DOWNGRADE_H
#include "base/arena.h"
#include "mime/parse.h"

enum downgrade_outcome {
	DOWNGRADE_DONE,
	DOWNGRADE_NOT_NEEDED,   /* all of it is ASCII */
	DOWNGRADE_HEADER,       /* a header field, of the message or of a part, has eight-bit bytes: no encoding hides them */
	DOWNGRADE_SIGNED,       /* inside multipart/signed: whatever is changed there breaks the signature (RFC 1847 §2.1) */
	DOWNGRADE_BROKEN,       /* in what must not be encoded: a multipart without its boundary, message/partial, an encoding nobody knows */
};

struct downgrade_piece;
struct mime_downgrade {
	uint64_t size;                       /* of the new message */
	/* private */
	struct str message;
	struct downgrade_piece *pieces;
	size_t   n, cap;
	struct {                             /* where reading has come to */
		uint64_t offset;             /* in the new message */
		size_t   piece, at;          /* at: bytes of the piece's source that are taken */
		size_t   column;
		char     held[80];           /* made, and not yet asked for */
		size_t   held_at, held_n;
	} cursor;
};

/* *out lives in the arena and points into message, which must outlive it; it is set by DOWNGRADE_DONE only. */
enum downgrade_outcome mime_downgrade(struct arena *a, struct str message, struct mime_downgrade *out) MUST_CHECK;
/* n bytes from offset on; offset + n ≤ size. Cheap where the last read ended, or at 0. */
void mime_downgrade_read(struct mime_downgrade *d, uint64_t offset, char *room, size_t n);
#endif
