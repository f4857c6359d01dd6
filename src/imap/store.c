/* STORE: flags in one transaction, then what they are now. The answer shows each message of the set whose flags this command asked
 * about; what others changed comes as news. Expunged messages are skipped, and mentioned in the end (RFC 9051 §6.4.6, RFC 2180 §4.2). */
#include "imap/context_private.h"

struct change {
	struct flags_change how;
	bool                is_silent;
};

/* store-modifiers = SP "(" "UNCHANGEDSINCE" SP mod-sequence-valzer ")"                             RFC 7162 §7 */
static void parse_modifiers(struct imap_session *s, struct imap_cmd *c, struct change *ch)
{
	if (!scan_take(&c->args, '('))
		return;
	if (!imap_word(&c->args, "UNCHANGEDSINCE"))
		scan_fail(&c->args);
	imap_sp(&c->args);
	ch->how.unchanged_since = imap_number64(&c->args);
	ch->how.has_unchanged_since = true;
	scan_need(&c->args, ')');
	imap_sp(&c->args);
	if (!c->args.failed)
		imap_enable_condstore(s);
}

/* store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag))) */
static void parse_item(struct imap_cmd *c, struct change *ch, struct imap_flags *flags)
{
	ch->how.op = scan_take(&c->args, '+') ? FLAGS_ADD : scan_take(&c->args, '-') ? FLAGS_REMOVE : FLAGS_REPLACE;
	ch->is_silent = imap_word(&c->args, "FLAGS.SILENT");
	if (!ch->is_silent && !imap_word(&c->args, "FLAGS"))
		scan_fail(&c->args);
	imap_sp(&c->args);
	imap_arg_flags(c, true, flags);
}

static bool is_any_there(struct imap_session *s, const struct uid_set *uids)
{
	struct message_row row;
	uint32_t next = 0;

	return selected_rows_by_uid(s->selected, uids, 0, &next, &row, 1) > 0;
}

/* Returns how many messages of the set are there. */
static size_t put_flags_now(struct imap_session *s, struct imap_cmd *c, const struct uid_set *uids, const struct uid_set *modified,
                            const struct change *ch, uint64_t modseq)
{
	bool with_modseq = s->tongue.is_condstore;
	struct message_row rows[IMAP_BATCH];
	struct imap_flag_words w;
	uint32_t next = 0;
	size_t n, seen = 0;

	imap_flag_words(&w, s->view);
	while ((n = selected_rows_by_uid(s->selected, uids, 0, &next, rows, COUNT_OF(rows))) > 0) {
		if (!ch->is_silent)
			imap_put_new_keywords(s, rows, n);
		for (size_t i = 0; i < n; i++) {
			bool is_changed = modseq != 0 && rows[i].modseq == modseq;
			if (rows[i].flags & FLAG_GONE)
				continue;
			seen++;
			/* silent: only the new modseq, to a client that wants modseqs; after UNCHANGEDSINCE that of each message, changed or not (RFC 7162 §3.1.3) */
			if ((modified->n > 0 && uid_set_has(modified, rows[i].uid)) ||
			    (ch->is_silent && !(with_modseq && (is_changed || ch->how.has_unchanged_since))))
				continue;
			imap_put_fetch(&s->out, s->tongue, &rows[i]);
			if ((c->is_uid && !s->tongue.is_uidonly) || imap_adds_uid(s->tongue)) {
				buf_add_cstr(&s->out, "UID ");
				imap_put_number(&s->out, rows[i].uid);
				buf_add_char(&s->out, ' ');
			}
			if (!ch->is_silent) {
				buf_add_cstr(&s->out, "FLAGS ");
				imap_put_flags(&s->out, &w, s->view, rows[i].flags);
			}
			if (with_modseq) {
				buf_add_cstr(&s->out, ch->is_silent ? "MODSEQ (" : " MODSEQ (");
				imap_put_number(&s->out, rows[i].modseq);
				buf_add_char(&s->out, ')');
			}
			buf_add_cstr(&s->out, ")\r\n");
		}
		imap_spill(s);
	}
	return seen;
}

/* STORE sequence-set [store-modifiers] store-att-flags                                            RFC 9051 §6.4.6 */
struct imap_reply imap_store(struct imap_session *s, struct imap_cmd *c)
{
	bool by_number = !c->is_uid && scan_peek(&c->args) != '$';  /* what was removed is no longer in "$" (RFC 5182 §2.1) */
	struct uid_set uids = imap_arg_messages(c, s), modified = { 0 };
	static const char usage[] = "sequence-set [(UNCHANGEDSINCE modseq)] [+-]FLAGS[.SILENT] (flags)";
	struct change ch = { 0 };
	struct imap_flags flags;
	uint64_t modseq = 0, asked = uid_set_count(&uids);
	size_t there;
	uint64_t told = s->told_changes;
	enum err e;

	imap_sp(&c->args);
	if (imap_is_readonly(s))
		return imap_readonly(s, c);
	parse_modifiers(s, c, &ch);
	parse_item(c, &ch, &flags);
	if (!imap_arg_end(c))
		return imap_bad(c, usage);
	ch.how.flags = imap_flag_bits(c, s, &flags, ch.how.op != FLAGS_REMOVE && is_any_there(s, &uids));
	if (c->args.failed)
		return imap_bad(c, usage);
	ch.how.untouched = s->guest != NULL ? ~imap_flags_of(imap_rights(s, s->mailbox_id)) : 0;
	/* some of them are changed without a word about the others: clients do not take a NO well (RFC 4314 §4) */
	if (s->guest != NULL && (~ch.how.untouched == 0 || ((ch.how.flags & ~ch.how.untouched) == 0 && (ch.how.flags != 0 || ch.how.op != FLAGS_REPLACE))))
		return imap_err(c, ERR_DENIED);
	bool by_uid = true;
	if (imap_limit_set(s, c, &uids, &by_uid, 0, 0))
		asked = uid_set_count(&uids);
	if (!imap_send_news(s, false, &c->arena))  /* a new keyword is announced before it is shown (RFC 9051 §7.3.5) */
		return (struct imap_reply){ .status = IMAP_CUT };
	/* Others changed flags: silence would leave it open whether these come before or after ours (RFC 9051 §6.4.6, the note) */
	if (s->told_changes != told)
		ch.is_silent = false;
	e = view_store_flags(s->view, s->mailbox_id, &uids, &ch.how, &c->arena, &modified, &modseq);
	if (e != ERR_OK)
		return imap_err(c, e);
	contexts_note(s, &uids);
	there = put_flags_now(s, c, &uids, &modified, &ch, modseq);
	selected_told(s->selected, modseq, !ch.is_silent);
	if (modified.n > 0) {
		struct uid_set numbers = { 0 };
		if (!c->is_uid)
			selected_to_seqs(s->selected, &modified, &c->arena, &numbers);
		return imap_ok(c, "[MODIFIED %s] these were changed by others meanwhile and stay as they are",
		               uid_set_text(c->is_uid ? &modified : &numbers, &c->arena));
	}
	if (by_number && there < asked)
		return imap_no(c, "EXPUNGEISSUED", "some of these messages no longer exist; the others were changed");
	return imap_ok(c, "stored");
}
