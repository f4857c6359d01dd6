/* What the SMTP machine of a connection asks its host (smtpd/smtpd.h): who may send, whether there is such a recipient, what a local program left out;
 * a place in the spool and in the queue, whose answers come later.
 *
 * Recipients are looked up in the directory that control has sent, in memory: a stranger who guesses addresses costs nothing but that. */
#include "base/clock.h"
#include "base/log.h"
#include "dns/name.h"
#include "mime/header.h"
#include "role/mx_private.h"
#include "submit/fixup.h"

static struct smtp_reply may_send_only(const struct mx_session *s, struct arena *a)
{
	return smtp_reply_printf(a, 553, "5.7.1", "user %u may send as " STR_FMT " only", s->caller.uid,
							 STR_ARG(s->caller.address));
}

static struct smtp_reply host_sender(void *context, const struct envelope *e, struct arena *a)
{
	struct mx_session *s = context;

	if (!s->is_local || e->sender.n == 0 || mx_caller_may_send(s->mx, &s->caller, e->sender, a))
		return (struct smtp_reply){ 0 };
	return may_send_only(s, a);
}

static struct smtp_reply found_reply(const struct lookup_result *r)
{
	bool is_full = r->n > 0, is_temporary = false;

	for (size_t i = 0; i < r->n; i++) {
		is_full = is_full && r->targets[i].is_full;
		is_temporary = is_temporary || r->targets[i].full_is_temporary;
	}
	if (!is_full)
		return (struct smtp_reply){ 0 };
	if (is_temporary)
		return SMTP_REPLY(452, "4.2.2", "this mailbox is full at the moment: please try again later");
	return SMTP_REPLY(552, "5.2.2", "this mailbox is full; please tell the person in another way");
}

/* Without a token in the address nobody knows who leaves. */
static struct smtp_reply leave_reply(const struct mx_session *s, const struct lookup_result *r, struct arena *a)
{
	struct list_address what;

	if (r->n != 1 || r->targets[0].order != LIST_LEAVE || !lookup_list_order(s->mx->lookup, r->targets[0].remote, a, &what) || what.token.n > 0)
		return (struct smtp_reply){ 0 };
	return SMTP_REPLY(550, "5.7.1", "to leave the group, use the address or the link in List-Unsubscribe of a message you got from it");
}

/* A group takes it from whom it says, and nothing that has no sender: bounces and automatic answers are not for its members. */
static struct smtp_reply group_reply(const struct mx_session *s, const struct lookup_result *r, const struct envelope *e, struct arena *a)
{
	for (size_t i = 0; i < r->n; i++) {
		struct lookup_group g;
		if (!r->targets[i].is_group || !lookup_group(s->mx->lookup, r->targets[i].remote, &g))
			continue;
		if (e->sender.n == 0)
			return smtpd_group_takes_no_bounce();
		if (!s->caller.is_administrator && !lookup_group_may_post(s->mx->lookup, &g, e->sender, s->caller.account))
			return smtpd_group_refusal(r->targets[i].remote, s->caller.account == 0 ? e->sender : STR(""), a);
	}
	return (struct smtp_reply){ 0 };
}

static struct smtp_reply host_recipient(void *context, const struct envelope *e,
										const struct envelope_recipient *asked, struct arena *a)
{
	struct mx_session *s = context;
	struct smtp_reply reply;
	struct lookup_result r;

	s->concerned = 0;
	switch (lookup_resolve(s->mx->lookup, asked->address, a, &r)) {
	case LOOKUP_FOUND:
		s->concerned = r.n == 1 ? r.targets[0].account : 0;
		if (r.is_for_bounces && e->sender.n > 0 && !s->is_local)  /* else whoever has seen it could send anything there, in our name */
			return SMTP_REPLY(550, "5.7.1", "this address takes bounces of forwarded mail, and nothing else: please write to the sender's own address");
		reply = group_reply(s, &r, e, a);
		if (reply.code == 0)
			reply = leave_reply(s, &r, a);
		return reply.code != 0 ? reply : found_reply(&r);
	case LOOKUP_FOREIGN:
		if (s->is_local)
			return (struct smtp_reply){ 0 };  /* kept in the queue, to be sent on */
		return smtp_reply_printf(a, 550, "5.7.1",
								 "this server takes no mail for <" STR_FMT ">: it is not responsible for that domain",
								 STR_ARG(asked->address));
	case LOOKUP_UNKNOWN:
		return smtp_reply_printf(a, 550, "5.1.1", "there is nobody called <" STR_FMT "> here: please check the address",
								 STR_ARG(asked->address));
	case LOOKUP_INVALID:
		break;
	}
	return SMTP_REPLY(553, "5.1.3", "this is not an address that can exist");
}

static struct smtp_reply check_authors(struct mx_session *s, const struct fixup *f, struct arena *a)
{
	struct authors authors;

	if (fixup_authors(f, a, &authors) != ERR_OK)
		return SMTP_REPLY(554, "5.6.0", "the From field of the message has no address, or what is none, or too many");
	for (size_t i = 0; i < authors.n; i++)
		if (!mx_caller_may_send(s->mx, &s->caller, authors.addresses[i], a))
			return may_send_only(s, a);
	return (struct smtp_reply){ 0 };
}

/* ---- what a stranger says in our name ---- */

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* [CFWS] */
static void skip_comments(struct scan *s)
{
	for (int depth = 0; !scan_done(s) && (depth > 0 || is_space(*s->p) || *s->p == '('); s->p++) {
		depth += (*s->p == '(') - (*s->p == ')');
		if (*s->p == '\\' && s->p + 1 < s->end)
			s->p++;
	}
}

static bool is_word(char c) { return !is_space(c) && c != ';' && c != '"' && c != '('; }

enum { NAME_MAX_BYTES = 255, LEVELS_MAX = 8 };   /* whoever reads such a field looks for a name that he knows: none is longer, or this far below a domain */

/* The name of this server, or one in a domain of ours. All that is costly is done once a field, and of fields there may be thousands. */
static bool is_our_name(const struct lookup *l, struct str name)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	bool is_ours = str_ieq(name, lookup_hostname(l));
	struct str label;

	if (name.n > NAME_MAX_BYTES || (!str_is_ascii(name) && !domain_to_ascii(name, &a, &name)))
		return false;
	for (int i = 0; i < LEVELS_MAX && name.n > 0 && !is_ours; i++) {
		is_ours = lookup_domain(l, name);
		str_cut(name, '.', &label, &name);
	}
	return is_ours;
}

/* authres-header-field = "Authentication-Results:" [CFWS] authserv-id …                                            RFC 8601 §2.2 */
static bool is_forged_verdict(const struct lookup *l, const struct header_field *f)
{
	struct scan s = scan_of(f->value);

	if (!str_ieq(f->name, STR("Authentication-Results")))
		return false;
	skip_comments(&s);
	scan_take(&s, '"');
	return is_our_name(l, scan_while(&s, is_word));
}

/* People's programs show what such a field says, and take it for the word of their own server (RFC 8601 §5). */
static void drop_forged_verdicts(const struct lookup *l, struct str header, struct buf *out)
{
	struct scan s = scan_of(header);
	struct header_field f;
	const char *kept = header.p;

	while (header_next(&s, &f)) {
		if (!is_forged_verdict(l, &f))
			continue;
		buf_add(out, str_make(kept, (size_t)(f.line.p - kept)));
		kept = f.line.p + f.line.n;
	}
	if (kept == header.p)
		return;
	buf_add(out, str_make(kept, (size_t)(header.p + header.n - kept)));
	if (out->n == 0)  /* there was nothing else, not even an empty line */
		buf_add_cstr(out, "\r\n");
}

/* What a local program leaves out is supplied, as for everybody who submits (submit/fixup.h). */
static struct smtp_reply host_header(void *context, UNUSED const struct envelope *e, struct str header, struct buf *out,
									 struct arena *a)
{
	CLEANUP(fixup_free) struct fixup f = { 0 };
	struct mx_session *s = context;
	struct fixup_facts facts = { .from = s->caller.address, .now_s = clock_wall_s() };
	struct smtp_reply r = { 0 };
	struct str local;

	if (!s->is_local) {
		drop_forged_verdicts(s->mx->lookup, header, out);
		return r;
	}
	fixup_begin(&f);
	if (fixup_take(&f, &header) != ERR_OK)
		return SMTP_REPLY(554, "5.6.0", "the header of the message is too large");
	fixup_end(&f);
	if (!s->caller.is_administrator)
		r = check_authors(s, &f, a);
	str_cut(s->caller.address, '@', &local, &facts.domain);
	fixup_write(&f, &facts, out);
	buf_add(out, header);  /* what it did not take */
	return r;
}

static void on_spooled(void *context, enum err result, uint64_t spool, int fd)
{
	struct mx_session *s = context;

	mx_session_context(s);
	smtpd_spooled(s->smtpd, result, spool, fd);
	mx_session_answered(s);
	log_context_clear();
}

static void host_spool(void *context)
{
	struct mx_session *s = context;
	enum err e = queue_spool_ask(s->mx->queue, on_spooled, s);

	if (e != ERR_OK)
		smtpd_spooled(s->smtpd, e, 0, -1);
}

static void host_drop(void *context, uint64_t spool)
{
	const struct mx_session *s = context;

	queue_spool_drop(s->mx->queue, spool);
}

static void on_rewritten(void *context)
{
	struct mx_session *s = context;

	mx_session_context(s);
	smtpd_rewritten(s->smtpd);
	mx_session_answered(s);
	log_context_clear();
}

static void host_rewrite(void *context, struct smtpd_rewrite *w)
{
	mx_rewrite(((struct mx_session *)context)->mx, w, on_rewritten, context);
}

static void on_added(void *context, enum err result, struct queue_id id)
{
	struct mx_session *s = context;

	mx_session_context(s);
	smtpd_added(s->smtpd, result, id);
	mx_session_answered(s);
	log_context_clear();
}

static void host_add(void *context, const struct envelope *e, const struct queue_body *body)
{
	struct mx_session *s = context;
	struct envelope full = *e;
	enum err result;

	full.submitter = s->caller.account;
	result = queue_add_ask(s->mx->queue, &full, body, on_added, s);
	if (result != ERR_OK)
		smtpd_added(s->smtpd, result, (struct queue_id){ 0 });
}

static void host_refused(void *context, const struct envelope *e, struct str recipient, const struct smtp_reply *r)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct mx_session *s = context;

	struct trail_event refused = smtpd_refusal_event(e, recipient, r, &a);

	refused.account = s->is_local ? s->caller.account : recipient.n > 0 ? s->concerned : 0;
	mx_note_refusal(s->mx, &refused);
}

const struct smtpd_host mx_session_host = {
	.sender = host_sender, .recipient = host_recipient, .header = host_header, .spool = host_spool, .drop = host_drop,
	.rewrite = host_rewrite, .add = host_add, .refused = host_refused,
};
