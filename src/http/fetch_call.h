/* http/fetch_call.h -- FETCH: a text from a known place over HTTPS, or one posted there, from control, which may not connect to the outside,
 * to the role net, which does (http/fetch.h).
 *      str host, u16 port, str path, str type (empty: GET), u32 largest answer, u32 deadline in ms, bool public_only; POST: + memfd of the body
 *      -> u8 error, str why, u16 status, str content type, str body */
#ifndef FACTEUR_HTTP_FETCH_CALL_H
#define FACTEUR_HTTP_FETCH_CALL_H
#include "http/fetch.h"
#include "ipc/channel.h"

enum { FETCH_ANSWER_MAX = 50000, FETCH_POST_MAX = 16 << 20, FETCH_DEADLINE_MAX_MS = 120000 };

struct fetch_said {         /* all in the arena */
	enum err   e;           /* as struct http_fetched has it */
	struct str why;         /* unless OK */
	uint16_t   status;
	struct str type, body;
};
/* Waits. p->type and p->body: of a POST. port 0: the one for all other servers (https_port_out). ERR_OK: *out says what came of it; else as
 * channel_call(). */
enum err fetch_call(struct channel *net, const struct http_place *p, struct arena *a, struct fetch_said *out) MUST_CHECK;
/* The side of net: the handler of FETCH. The channel stays valid until it is answered. port: for those who ask with 0. public_only: whoever asks
 * with public_only gets it; false: this server may speak to private networks whoever names them. */
void fetch_serve(struct resolver *resolver, struct tls_client *tls, uint16_t port, bool public_only, struct channel *ch, struct message *m);
#endif
