/* pop3/capa.h -- the answer to CAPA (RFC 2449 §5), before login (pop3/login.c, in the gate) and after (pop3/engine.c). */
#ifndef FACTEUR_POP3_CAPA_H
#define FACTEUR_POP3_CAPA_H
#include "base/buf.h"

struct pop3_capa {
	bool       offers_stls;   /* STLS is possible now */
	bool       offers_login;  /* USER and SASL: never in clear text, unless the setting allows it; after the login, too (RFC 2449 §6.2) */
	struct str sasl;          /* "PLAIN LOGIN" (auth/sasl.h: sasl_list()); empty: no SASL line */
};
/* The whole multi-line answer, with "+OK" and ".". */
void pop3_put_capa(struct buf *b, const struct pop3_capa *c);
#endif
