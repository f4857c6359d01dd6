/* CAPABILITY, ENABLE, ID, NOOP, CHECK, LOGOUT, UNAUTHENTICATE, COMPRESS, NAMESPACE: commands about the session itself. */
#include "imap/capability.h"
#include "imap/imap_private.h"

static void put_word(struct buf *b, const char *word)
{
	if (b->n > 0 && b->p[b->n - 1] != ' ')
		buf_add_char(b, ' ');
	buf_add_cstr(b, word);
}

void imap_put_capabilities(struct buf *b, uint64_t append_limit, uint32_t message_limit, bool is_compressed)
{
	static const char *const words[] = {
#define COMMAND(word, handler, allowed, advertises, arguments, spec) advertises,
#define FEATURE(word, before_login, spec)
#include "imap/commands.def"
#undef COMMAND
#undef FEATURE
	};

#define COMMAND(word, handler, allowed, advertises, arguments, spec)
#define FEATURE(word, before_login, spec) put_word(b, word);
#include "imap/commands.def"
#undef COMMAND
#undef FEATURE
	for (size_t i = 0; i < COUNT_OF(words); i++)
		if (words[i] != NULL)
			put_word(b, words[i]);
	if (!is_compressed)
		put_word(b, "COMPRESS=DEFLATE");
	buf_printf(b, " APPENDLIMIT=%llu", (unsigned long long)append_limit);
	if (message_limit > 0)
		buf_printf(b, " MESSAGELIMIT=%u", message_limit);
}

void imap_put_capabilities_before_login(struct buf *b)
{
#define COMMAND(word, handler, allowed, advertises, arguments, spec)
#define FEATURE(word, before_login, spec) if (before_login) put_word(b, word);
#include "imap/commands.def"
#undef COMMAND
#undef FEATURE
	put_word(b, "ID");
	put_word(b, "ENABLE");
}

/* CAPABILITY                                                                                      RFC 9051 §6.1.1 */
struct imap_reply imap_capability(struct imap_session *s, struct imap_cmd *c)
{
	if (!imap_arg_end(c))
		return imap_bad(c, "");
	buf_add_cstr(&s->out, "* CAPABILITY ");
	imap_put_capabilities(&s->out, view_message_size_max(s->view), s->account->message_limit, session_info(s->s)->is_compressed);
	buf_add_cstr(&s->out, "\r\n");
	return imap_ok(c, "that is all");
}

struct imap_reply imap_noop(struct imap_session *s, struct imap_cmd *c)
{
	(void)s;
	return imap_arg_end(c) ? imap_ok(c, "done") : imap_bad(c, "");
}

/* CHECK                                                                                           RFC 3501 §6.4.1 */
struct imap_reply imap_check(struct imap_session *s, struct imap_cmd *c)
{
	enum err e;

	if (!imap_arg_end(c))
		return imap_bad(c, "");
	e = view_publish(s->view);
	return e == ERR_OK ? imap_ok(c, "everything is on disk") : imap_err(c, e);
}

/* LOGOUT                                                                                          RFC 9051 §6.1.3 */
struct imap_reply imap_logout(struct imap_session *s, struct imap_cmd *c)
{
	struct imap_reply r;

	if (!imap_arg_end(c))
		return imap_bad(c, "");
	buf_add_cstr(&s->out, imap_in(c->lang, "* BYE see you\r\n"));
	r = imap_ok(c, "logged out");
	r.is_last = true;
	return r;
}

/* ENABLE capability *(SP capability)                                                              RFC 9051 §6.3.1 */
struct imap_reply imap_enable(struct imap_session *s, struct imap_cmd *c)
{
	CLEANUP(buf_free) struct buf enabled = BUF(200);

	do {
		struct str word = imap_atom(&c->args);
		struct imap_tongue *t = &s->tongue;
		if (c->args.failed)
			return imap_bad(c, "capability *(SP capability)");
		if (str_ieq(word, STR("CONDSTORE"))) {
			imap_enable_condstore(s);
			buf_add_cstr(&enabled, " CONDSTORE");
		} else if (str_ieq(word, STR("QRESYNC"))) {
			imap_enable_condstore(s);
			t->is_qresync = true;
			buf_add_cstr(&enabled, " QRESYNC");
		} else if (str_ieq(word, STR("UTF8=ACCEPT"))) {
			t->is_utf8 = true;
			buf_add_cstr(&enabled, " UTF8=ACCEPT");
		} else if (str_ieq(word, STR("IMAP4rev2"))) {
			t->is_rev2 = true;
			buf_add_cstr(&enabled, " IMAP4rev2");
		} else if (str_ieq(word, STR("UIDONLY"))) {
			t->is_uidonly = true;
			buf_add_cstr(&enabled, " UIDONLY");
		}
		if (enabled.failed)
			return imap_bad(c, "each capability once");
	} while (scan_take(&c->args, ' '));
	if (!imap_arg_end(c))
		return imap_bad(c, "capability *(SP capability)");
	buf_add_cstr(&s->out, "* ENABLED");
	buf_add(&s->out, buf_str(&enabled));
	buf_add_cstr(&s->out, "\r\n");
	return imap_ok(c, enabled.n ? "enabled" : "nothing of this can be enabled");
}

/* ID (NIL / "(" *(string SP nstring) ")")                                                             RFC 2971 §3 */
struct imap_reply imap_id(struct imap_session *s, struct imap_cmd *c)
{
	imap_scan_id(&c->args, &c->arena);
	if (!imap_arg_end(c))
		return imap_bad(c, "NIL, or (field value ...), at most 30 of them");
	buf_add_cstr(&s->out, "* ID (\"name\" \"facteur\")\r\n");
	return imap_ok(c, "pleased to meet you");
}

/* COMPRESS DEFLATE                                                                                    RFC 4978 §3 */
struct imap_reply imap_compress(struct imap_session *s, struct imap_cmd *c)
{
	struct imap_reply r;

	if (!imap_word(&c->args, "DEFLATE") || !imap_arg_end(c))
		return imap_bad(c, "DEFLATE");
	if (session_info(s->s)->is_compressed)
		return imap_no(c, "COMPRESSIONACTIVE", "DEFLATE is active already");
	r = imap_ok(c, "DEFLATE active");
	r.compresses = true;
	return r;
}

/* UNAUTHENTICATE: all of the session's state ends here, the gate begins anew, and there ends compression (net/relay.c).        RFC 8437 §3 */
struct imap_reply imap_unauthenticate(struct imap_session *s, struct imap_cmd *c)
{
	struct imap_reply r;

	if (!imap_arg_end(c))
		return imap_bad(c, "");
	r = imap_ok(c, "the login is given up");
	r.gives_up = true;
	return r;
}

void imap_put_namespaces(struct imap_session *s)
{
	buf_printf(&s->out, "* NAMESPACE ((\"\" \"/\")) ((\"" IMAP_OTHERS "/\" \"/\"%s)) NIL\r\n",
	           s->tongue.lang == LANG_FR ? " \"TRANSLATION\" (\"Autres utilisateurs/\")" : "");  /* RFC 5255 §3.4 */
}

/* NAMESPACE                                                                                      RFC 9051 §6.3.10 */
struct imap_reply imap_namespace(struct imap_session *s, struct imap_cmd *c)
{
	if (!imap_arg_end(c))
		return imap_bad(c, "");
	imap_put_namespaces(s);
	return imap_ok(c, "yours, and what others share with you");
}

/* IDLE: the tag is kept, the session parks; engine.c sees DONE.                                  RFC 9051 §6.3.13 */
struct imap_reply imap_idle(struct imap_session *s, struct imap_cmd *c)
{
	if (!imap_arg_end(c))
		return imap_bad(c, "");
	memcpy(s->idle_room, c->tag.p, c->tag.n);
	s->idle_tag = str_make(s->idle_room, c->tag.n);
	buf_add_cstr(&s->out, "+ idling\r\n");
	return (struct imap_reply){ .status = IMAP_PARK };
}
