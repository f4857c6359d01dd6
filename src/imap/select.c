/* SELECT, EXAMINE, UNSELECT, CLOSE, and QRESYNC's way back into a mailbox the client has in its cache (RFC 7162 §3.2.5): what is
 * gone (VANISHED (EARLIER)) and what has other flags, since the modseq it remembers. The fourth QRESYNC argument (sequence numbers
 * matched with UIDs) is a hint for servers that forget what was expunged; the store keeps it by modseq, so it is read and ignored. */
#include "imap/context_private.h"

/* Who has one of these has a mailbox that is not read-only (RFC 4314 §5.2). */
enum { RIGHTS_CHANGE = RIGHT_INSERT | RIGHT_EXPUNGE | RIGHT_SEEN | RIGHT_WRITE | RIGHT_DELETED };

struct qresync {
	bool           is_asked;
	uint32_t       uidvalidity;
	uint64_t       modseq;
	bool           has_known;
	struct uid_set known;
};

void imap_unselect_mailbox(struct imap_session *s)
{
	contexts_end(s);
	imap_claim_end(s);
	selected_close(s->selected);
	s->selected = NULL;
	s->mailbox_id = 0;
	s->told_keywords = 0;
	s->is_readonly = false;
	arena_reset(&s->saved_arena);
	s->saved = (struct uid_set){ 0 };
}

void imap_put_closed(struct imap_session *s) { buf_add_cstr(&s->out, imap_in(s->tongue.lang, "* OK [CLOSED] the mailbox before it\r\n")); }

void imap_enable_condstore(struct imap_session *s)
{
	if (s->tongue.is_condstore)
		return;
	s->tongue.is_condstore = true;
	if (s->selected != NULL)
		buf_printf(&s->out, "* OK [HIGHESTMODSEQ %llu] CONDSTORE\r\n", (unsigned long long)selected_modseq(s->selected));
}

/* known-uids, or a sequence-set of the match data: no "*" in them */
static void known_set(struct imap_cmd *c, struct uid_set *set)
{
	if (imap_sequence_set(&c->args, &c->arena, set) && set->n > 0 && set->r[set->n - 1].last == UINT32_MAX)
		scan_fail(&c->args);
}

/* "QRESYNC" SP "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"        RFC 7162 §7 */
static void parse_qresync(struct imap_session *s, struct imap_cmd *c, struct qresync *q)
{
	struct uid_set ignored = { 0 };

	imap_sp(&c->args);
	scan_need(&c->args, '(');
	q->is_asked = true;
	q->uidvalidity = scan_u32(&c->args);
	imap_sp(&c->args);
	q->modseq = imap_number64(&c->args);
	if (scan_take(&c->args, ' ')) {
		if (scan_peek(&c->args) != '(') {
			known_set(c, &q->known);
			q->has_known = true;
		}
		if (!q->has_known || scan_take(&c->args, ' ')) {
			scan_need(&c->args, '(');
			known_set(c, &ignored);
			if (s->tongue.is_uidonly && !c->args.failed) {  /* RFC 9586 §3.7 */
				c->why = "[UIDREQUIRED] after ENABLE UIDONLY there are no message numbers to compare with";
				scan_fail(&c->args);
			}
			imap_sp(&c->args);
			known_set(c, &ignored);
			scan_need(&c->args, ')');
		}
	}
	scan_need(&c->args, ')');
}

/* select-params = SP "(" select-param *(SP select-param) ")" */
static bool parse_params(struct imap_session *s, struct imap_cmd *c, bool *condstore, struct qresync *q)
{
	if (scan_done(&c->args))
		return !c->args.failed;
	imap_sp(&c->args);
	scan_need(&c->args, '(');
	do {
		if (imap_word(&c->args, "CONDSTORE")) {
			*condstore = true;
		} else if (imap_word(&c->args, "QRESYNC")) {
			if (!s->tongue.is_qresync) {
				c->why = "ENABLE QRESYNC first (RFC 7162 section 3.2.3)";
				return false;
			}
			parse_qresync(s, c, q);
		} else {
			scan_fail(&c->args);
		}
	} while (scan_take(&c->args, ' '));
	scan_need(&c->args, ')');
	return imap_arg_end(c);
}

uint64_t imap_keywords_known(struct imap_session *s)
{
	struct message_row rows[IMAP_BATCH];
	uint32_t next = 0;
	size_t n;

	if (s->guest == NULL)
		return UINT64_MAX;
	if (s->told_keywords != 0)
		return s->told_keywords;
	s->told_keywords = FLAGS_SYSTEM;
	while ((n = selected_rows(s->selected, NULL, 0, &next, rows, COUNT_OF(rows))) > 0)
		for (size_t i = 0; i < n; i++)
			s->told_keywords |= rows[i].flags & ~FLAG_GONE;
	s->has_other_keywords = view_keywords_mark(s->view, s->told_keywords) != s->parked_keywords;
	return s->told_keywords;
}

static void put_permanent_flags(struct imap_session *s)
{
	struct imap_flag_words w;

	s->told_rights = imap_rights(s, s->mailbox_id);
	imap_flag_words(&w, s->view);
	buf_add_cstr(&s->out, "* OK [PERMANENTFLAGS ");
	if (imap_is_readonly(s)) {
		buf_add_cstr(&s->out, imap_in(s->tongue.lang, "()] read only\r\n"));
		return;
	}
	imap_put_flags(&s->out, &w, s->view, (FLAGS_SYSTEM | (w.named & imap_keywords_known(s))) & imap_flags_of(s->told_rights));
	if (s->guest == NULL && view_keywords_fit(s->view, 1)) {
		buf_truncate(&s->out, s->out.n - 1);
		buf_add_cstr(&s->out, " \\*)");
	}
	buf_add_cstr(&s->out, imap_in(s->tongue.lang, "] these flags are kept\r\n"));
}

void imap_put_rights_news(struct imap_session *s)
{
	unsigned told = s->told_rights, rights = imap_rights(s, s->mailbox_id);

	if (s->is_readonly || rights == told)
		return;
	s->told_rights = rights;
	if (!(told & RIGHTS_CHANGE) != !(rights & RIGHTS_CHANGE))  /* RFC 9051 §7.1 */
		buf_add_cstr(&s->out, imap_in(s->tongue.lang, rights & RIGHTS_CHANGE ? "* OK [READ-WRITE] you may change something here now\r\n"
		                                                                      : "* OK [READ-ONLY] you may only read here now\r\n"));
	if (imap_flags_of(rights) != imap_flags_of(told))
		put_permanent_flags(s);
}

static void put_mailbox_state(struct imap_session *s, const struct mailbox *m, struct str given)
{
	enum lang lang = s->tongue.lang;
	uint32_t unseen;  /* for clients of IMAP4rev1 */

	imap_put_flags_line(&s->out, s->view, imap_keywords_known(s));
	s->has_other_keywords = false;
	put_permanent_flags(s);
	buf_printf(&s->out, "* %u EXISTS\r\n", selected_count(s->selected));
	if (!s->tongue.is_rev2) {
		buf_add_cstr(&s->out, "* 0 RECENT\r\n");
		if (m->unseen > 0 && !s->tongue.is_uidonly && (unseen = selected_first_unseen(s->selected)) > 0)
			buf_printf(&s->out, imap_in(lang, "* OK [UNSEEN %u] the first message that was not read\r\n"), unseen);
	}
	buf_printf(&s->out, imap_in(lang, "* OK [UIDVALIDITY %u] of this mailbox\r\n"), selected_uidvalidity(s->selected));
	buf_printf(&s->out, imap_in(lang, "* OK [UIDNEXT %u] of the next message\r\n"), selected_uidnext(s->selected));
	buf_printf(&s->out, imap_in(lang, "* OK [HIGHESTMODSEQ %llu] of all changes\r\n"), (unsigned long long)selected_modseq(s->selected));
	buf_printf(&s->out, imap_in(lang, "* OK [MAILBOXID (%s)] of this mailbox\r\n"), m->mailboxid);
	if (s->tongue.is_rev2)
		imap_put_list(s, m, imap_old_name(m->path, given), false);
	imap_spill(s);
}

static enum err put_resync(struct imap_session *s, struct imap_cmd *c, struct qresync *q)
{
	uint64_t since = view_modseq_floor(s->view, q->modseq);
	struct message_row rows[IMAP_BATCH];
	struct imap_flag_words w;
	uint32_t next = 0;
	size_t n;

	if (!q->has_known && selected_uidnext(s->selected) > 1)
		uid_set_add(&q->known, &c->arena, 1, selected_uidnext(s->selected) - 1);
	TRY(imap_put_earlier(s, q->has_known ? &q->known : NULL, since, &c->arena));
	imap_flag_words(&w, s->view);
	while ((n = selected_rows_by_uid(s->selected, &q->known, since, &next, rows, COUNT_OF(rows))) > 0) {
		imap_put_new_keywords(s, rows, n);
		for (size_t i = 0; i < n; i++) {
			imap_put_fetch(&s->out, s->tongue, &rows[i]);
			if (!s->tongue.is_uidonly)
				buf_printf(&s->out, "UID %u ", rows[i].uid);
			buf_add_cstr(&s->out, "FLAGS ");
			imap_put_flags(&s->out, &w, s->view, rows[i].flags);
			buf_printf(&s->out, " MODSEQ (%llu))\r\n", (unsigned long long)rows[i].modseq);
		}
		imap_spill(s);
	}
	return ERR_OK;
}

static struct imap_reply do_select(struct imap_session *s, struct imap_cmd *c, bool is_readonly)
{
	struct str path = imap_arg_mailbox(c, s);
	struct qresync q = { 0 };
	struct mailbox m;
	bool condstore = false;
	enum err e;

	if (!parse_params(s, c, &condstore, &q))
		return imap_bad(c, "mailbox [(CONDSTORE) or (QRESYNC (uidvalidity modseq [uids [(numbers uids)]]))]");
	if (s->selected != NULL) {
		imap_unselect_mailbox(s);
		imap_put_closed(s);
	}
	e = view_publish(s->view);  /* what was committed before this command is seen by it */
	if (e == ERR_OK)
		e = imap_find(s, path, RIGHT_READ, &c->arena, &m);
	if (e == ERR_OK)
		e = selected_open(s->view, m.mailbox_id, NULL, &s->selected);
	if (e != ERR_OK)
		return imap_err(c, e);
	s->mailbox_id = m.mailbox_id;
	s->is_readonly = is_readonly;
	s->tongue.is_condstore |= condstore || q.is_asked;
	put_mailbox_state(s, &m, path);
	if (q.is_asked && q.uidvalidity == selected_uidvalidity(s->selected))
		e = put_resync(s, c, &q);
	if (e != ERR_OK) {
		imap_unselect_mailbox(s);
		return imap_err(c, e);
	}
	return imap_ok(c, imap_is_readonly(s) ? "[READ-ONLY] examined" : "[READ-WRITE] selected");
}

/* Rights come and go while a mailbox is selected; EXAMINE stays. */
bool imap_is_readonly(struct imap_session *s) { return s->is_readonly || !(imap_rights(s, s->mailbox_id) & RIGHTS_CHANGE); }

struct imap_reply imap_readonly(struct imap_session *s, struct imap_cmd *c)
{
	if (s->guest != NULL && !(imap_rights(s, s->mailbox_id) & RIGHTS_CHANGE))
		return imap_no(c, "NOPERM", "the owner of this mailbox lets you read it, and no more");
	return imap_no(c, "NOPERM", "the mailbox was opened by EXAMINE, so nothing can be changed; SELECT it");
}

/* SELECT mailbox [select-params]                                      RFC 9051 §6.3.2; RFC 7162 §3.1.8 and §3.2.5 */
struct imap_reply imap_select(struct imap_session *s, struct imap_cmd *c) { return do_select(s, c, false); }
/* EXAMINE mailbox [select-params]                                                                 RFC 9051 §6.3.3 */
struct imap_reply imap_examine(struct imap_session *s, struct imap_cmd *c) { return do_select(s, c, true); }

/* UNSELECT                                                                                        RFC 9051 §6.4.2 */
struct imap_reply imap_unselect(struct imap_session *s, struct imap_cmd *c)
{
	if (!imap_arg_end(c))
		return imap_bad(c, "");
	imap_unselect_mailbox(s);
	return imap_ok(c, "unselected; nothing was expunged");
}

/* CLOSE: expunges without telling (RFC 9051 §6.4.1); other sessions hear of it. */
struct imap_reply imap_close(struct imap_session *s, struct imap_cmd *c)
{
	enum err e = ERR_OK;

	if (!imap_arg_end(c))
		return imap_bad(c, "");
	if (!s->is_readonly && imap_may(s, s->mailbox_id, RIGHT_EXPUNGE) == ERR_OK)
		e = view_expunge(s->view, s->mailbox_id, NULL, true, &c->arena, NULL);
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return imap_err(c, e);
	imap_unselect_mailbox(s);
	return imap_ok(c, "closed");
}
