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

enum { ENABLE_CONDSTORE = 1, ENABLE_QRESYNC = 2, ENABLE_UTF8 = 4, ENABLE_REV2 = 8, ENABLE_UIDONLY = 16 };
static const struct { struct str word; unsigned bits; } can_be_enabled[] = {
	{ { "CONDSTORE", 9 }, ENABLE_CONDSTORE }, { { "QRESYNC", 7 }, ENABLE_QRESYNC }, { { "UTF8=ACCEPT", 11 }, ENABLE_UTF8 },
	{ { "IMAP4rev2", 9 }, ENABLE_REV2 }, { { "UIDONLY", 7 }, ENABLE_UIDONLY },
};

/* What is unknown is passed over; names: those that are known, once each, as the client has them in order. */
static unsigned parse_enabled(struct imap_cmd *c, struct buf *names)
{
	unsigned all = 0;

	do {
		struct str word = imap_atom(&c->args);
		for (size_t i = 0; i < COUNT_OF(can_be_enabled) && !c->args.failed; i++) {
			if (!str_ieq(word, can_be_enabled[i].word) || (all & can_be_enabled[i].bits) != 0)
				continue;
			all |= can_be_enabled[i].bits;
			buf_add_char(names, ' ');
			buf_add(names, can_be_enabled[i].word);
		}
	} while (scan_take(&c->args, ' '));
	return all;
}

/* ENABLE capability *(SP capability)                                                              RFC 9051 §6.3.1 */
struct imap_reply imap_enable(struct imap_session *s, struct imap_cmd *c)
{
	CLEANUP(buf_free) struct buf names = BUF(200);
	unsigned wanted = parse_enabled(c, &names);
	struct imap_tongue *t = &s->tongue;

	if (!imap_arg_end(c))
		return imap_bad(c, "capability *(SP capability)");
	if (wanted & (ENABLE_CONDSTORE | ENABLE_QRESYNC))
		imap_enable_condstore(s);
	t->is_qresync |= (wanted & ENABLE_QRESYNC) != 0;
	t->is_utf8 |= (wanted & ENABLE_UTF8) != 0;
	t->is_rev2 |= (wanted & ENABLE_REV2) != 0;
	t->is_uidonly |= (wanted & ENABLE_UIDONLY) != 0;
	buf_add_cstr(&s->out, "* ENABLED");
	buf_add(&s->out, buf_str(&names));
	buf_add_cstr(&s->out, "\r\n");
	return imap_ok(c, wanted ? "enabled" : "nothing of this can be enabled");
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
struct imap_reply imap_unauthenticate(UNUSED struct imap_session *s, struct imap_cmd *c)
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
