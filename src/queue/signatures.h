/* queue/signatures.h -- the DKIM fields of messages that are being sent: asked of keys once a message (once a recipient where each has his
 * own header; part is his index then, else SIGNATURES_WHOLE), and kept for as long as it is
 * likely that another destination of it follows. Nothing depends on it: what is not there is signed again.
 *
 * Also the domains of which keys has said that they have no key: the bodies of their messages need not be read, and keys not be woken. It
 * says when that may have changed. */
#ifndef FACTEUR_QUEUE_SIGNATURES_H
#define FACTEUR_QUEUE_SIGNATURES_H
#include "base/str.h"

enum { SIGNATURES_KEPT = 200, SIGNATURES_KEYLESS_MAX = 1000, SIGNATURES_WHOLE = UINT16_MAX };

struct signatures;
struct signatures *signatures_new(void);
void signatures_free(struct signatures *s);
/* False: not signed yet, or with other fields: those that stand before the message, of its one recipient (empty: none), and change where
 * the server's name does, or the group. *prefix may be empty: nobody here signs it. It lives until the next signatures_put(). */
bool signatures_find(const struct signatures *s, uint64_t log_id, uint64_t seq, uint16_t part, struct str fields, struct str *prefix);
void signatures_put(struct signatures *s, uint64_t log_id, uint64_t seq, uint16_t part, struct str fields, struct str prefix);
bool signatures_is_keyless(const struct signatures *s, struct str domain);
void signatures_keyless(struct signatures *s, struct str domain);
void signatures_forget_keyless(struct signatures *s);
#endif
