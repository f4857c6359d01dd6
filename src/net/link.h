/* net/link.h -- a client's session in another account's cell, as his own cell sees it: the side of the pair that for his own account the gate
 * has. Bytes of the protocol go both ways; what comes back is the word of a cell that may have been broken into, and is treated so.
 *
 * Every call waits for the other cell, never longer than LINK_SILENCE_MS without a byte, and not at all once the client's own session has to
 * end. After a failure the link is good for nothing but link_free(). */
#ifndef FACTEUR_NET_LINK_H
#define FACTEUR_NET_LINK_H
#include "net/session.h"

enum { LINK_SILENCE_MS = 120000, LINK_OPEN_MS = 30000 };

struct link;

/* fd: our end of the pair (owned, also on a failure). session: the client's. name: what he calls the other account (session_open.login_name there).
 * record: where it begins; of an engine's park(). Nothing is waited for yet: a refusal is the answer to the first read. */
struct link *link_open(struct session *session, int fd, struct str name, struct str record);
void link_free(struct link *l);    /* NULL is fine */

/* From then on (mono ms) it is over, whatever comes: for what a client waits for beside other things. */
void link_hurry(struct link *l, int64_t until_ms);

enum err link_send(struct link *l, struct str bytes) MUST_CHECK;
/* A line without its ending, at most max bytes; valid until the next call. ERR_AGAIN: it is parked, all was read. ERR_LIMIT: longer.
 * ERR_DENIED, ERR_UNAVAILABLE: not begun. ERR_TIMEOUT, ERR_CLOSED: it is over. */
enum err link_line(struct link *l, size_t max, struct str *line) MUST_CHECK;
/* Between 1 and max bytes. */
enum err link_read(struct link *l, size_t max, struct str *bytes) MUST_CHECK;
/* The same up to the end of a line, with it (*ends_line), or max bytes of it. */
enum err link_part(struct link *l, size_t max, struct str *bytes, bool *ends_line) MUST_CHECK;
/* Nothing of what was sent was seen: the other cell refused it, or ended as it came. */
bool link_never_began(const struct link *l);
/* It was parked and ended there while nothing was asked: *record (valid until link_free()) goes on. */
bool link_has_left(struct link *l, struct str *record);
/* Parks it: *record goes on later, by link_open(), and knows the account up to *modseq. It is valid until link_free(). What was said before that and is not
 * read yet is still to be read, up to ERR_AGAIN: *record knows it as told. ERR_AGAIN: not now, the link goes on. */
enum err link_park(struct link *l, struct str *record, uint64_t *modseq) MUST_CHECK;

/* For tests and fuzz targets: what the other cell says is said already; what is sent goes to output. */
struct link *link_for_test(struct session *session, struct str input, struct buf *output);
#endif
