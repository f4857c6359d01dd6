/* CAPA. One list for both states, as RFC 2449 §5 wants it: a client may ask once. Only STLS is said where it is possible (RFC 2595 §4). */
#include "pop3/capa.h"

void pop3_put_capa(struct buf *b, const struct pop3_capa *c)
{
	buf_add_cstr(b, "+OK this server can\r\n");
	if (c->offers_stls)
		buf_add_cstr(b, "STLS\r\n");
	if (c->offers_login)
		buf_add_cstr(b, "USER\r\n");
	if (c->offers_login && c->sasl.n > 0)
		buf_printf(b, "SASL " STR_FMT "\r\n", STR_ARG(c->sasl));
#define COMMAND(word, handler, args, meaning, spec)
#define CAPABILITY(line, spec) buf_add_cstr(b, line "\r\n");
#include "pop3/commands.def"
#undef COMMAND
#undef CAPABILITY
	buf_add_cstr(b, ".\r\n");
}
