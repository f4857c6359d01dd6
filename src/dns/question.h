/* dns/question.h -- QUESTION: a question to the domain name system, from a role that may not connect to the outside (control; mx) to
 * the role net, which asks it (dns/resolver.h).
 *      str name (A-labels), u16 type -> u8 outcome, bool secure, u32 ttl, str canonical, str why, list of str rdata
 * An answer that does not fit into one message is cut after a whole record. */
#ifndef FACTEUR_DNS_QUESTION_H
#define FACTEUR_DNS_QUESTION_H
#include "dns/resolver.h"
#include "ipc/channel.h"

enum { QUESTION_TIMEOUT_MS = DNS_DEADLINE_MS + 5000 };

/* The asking side, where waiting is allowed (a thread of control). *out lives in the arena. ERR_OK: out->outcome says what came, also
 * when the name servers failed; else as channel_call(). */
enum err question_call(struct channel *net, struct str name, uint16_t type, struct arena *a, struct dns_answer *out) MUST_CHECK;

/* For event loops that use channel_ask() themselves. */
void put_question(struct buf *b, struct str name, uint16_t type);
bool get_dns_answer(struct scan *s, struct arena *a, struct dns_answer *out);

/* The side of net: the handler of REQUEST_QUESTION; answers when it is known. The channel stays valid until then. */
void question_serve(struct resolver *r, struct channel *ch, struct message *m);
#endif
