/* What changed on other devices, as untagged responses (RFC 9051 §7.5.1, §7.5.2; RFC 7162 §3.2.10): the same function for a session
 * that has just run a command, one that idles, and one that is parked in the gate. */
#include "base/log.h"
#include "imap/context_private.h"
#include "imap/notify_private.h"
#include "store/events.h"

enum { SET_PIECE = 1000 };        /* ranges: 22 kB at most */

void imap_put_fetch(struct buf *b, struct imap_tongue tongue, const struct message_row *row)
{
	buf_add_bytes(b, "* ", 2);
	imap_put_number(b, tongue.is_uidonly ? row->uid : row->seq);
	if (tongue.is_uidonly)
		buf_add_bytes(b, " UIDFETCH (", 11);
	else
		buf_add_bytes(b, " FETCH (", 8);
}

void imap_flag_words(struct imap_flag_words *w, struct view *v)
{
	w->named = view_keywords(v, w->names);
	w->has_last = false;
}

static size_t add_word(char *text, size_t n, struct str word)
{
	if (n > 1)
		text[n++] = ' ';
	memcpy(text + n, word.p, word.n);
	return n + word.n;
}

static size_t flags_text(const struct imap_flag_words *w, uint64_t flags, char *text)
{
	static const struct str names[5] = { { "\\Seen", 5 }, { "\\Answered", 9 }, { "\\Flagged", 8 }, { "\\Deleted", 8 }, { "\\Draft", 6 } };
	size_t n = 1;

	text[0] = '(';
	for (size_t i = 0; i < 5; i++)
		if (flags & UINT64_C(1) << i)
			n = add_word(text, n, names[i]);
	for (uint64_t left = flags & w->named; left != 0; left &= left - 1)
		n = add_word(text, n, w->names[__builtin_ctzll(left >> 6)]);
	text[n++] = ')';
	return n;
}

void imap_put_flags(struct buf *b, struct imap_flag_words *w, struct view *v, uint64_t flags)
{
	flags &= ~FLAG_GONE;
	if (!w->has_last || w->last != flags) {
		if (flags & FLAGS_KEYWORDS & ~w->named)  /* a keyword was made after we looked */
			imap_flag_words(w, v);
		w->text_n = flags_text(w, flags, w->text);
		w->last = flags;
		w->has_last = true;
	}
	buf_add_bytes(b, w->text, w->text_n);
}

void imap_put_flags_line(struct buf *b, struct view *v, uint64_t keywords)
{
	struct imap_flag_words w;

	imap_flag_words(&w, v);
	buf_add_cstr(b, "* FLAGS ");
	imap_put_flags(b, &w, v, FLAGS_SYSTEM | (w.named & keywords));
	buf_add_cstr(b, "\r\n");
}

static void drain(struct buf *b, struct session *s)
{
	if (s == NULL || b->n < IMAP_OUT_PIECE)
		return;
	session_write(s, buf_str(b));
	buf_reset(b);
}

static void put_set(struct buf *b, struct session *s, const struct uid_set *set)
{
	for (size_t at = 0; at < set->n; at += SET_PIECE) {
		const struct uid_set piece = { .r = set->r + at, .n = set->n - at < SET_PIECE ? set->n - at : SET_PIECE };
		if (at > 0)
			buf_add_char(b, ',');
		uid_set_put(b, &piece);
		drain(b, s);
	}
}

void imap_put_set(struct imap_session *s, const struct uid_set *set) { put_set(&s->out, s->s, set); }

/* What another session has removed, and this client still counts, it hears of in VANISHED, as its numbers shift (RFC 7162 §3.2.10). */
static void leave_out_counted(struct imap_session *s, struct uid_set *gone, struct arena *a)
{
	struct uid_set all = *gone, counted = { 0 };
	struct message_row rows[IMAP_BATCH];
	uint32_t next = 0, last;
	size_t n;

	while ((n = selected_rows_by_uid(s->selected, &all, 0, &next, rows, COUNT_OF(rows))) > 0)
		for (size_t i = 0; i < n; i++)
			uid_set_add(&counted, a, rows[i].uid, rows[i].uid);
	if (counted.n == 0)
		return;
	*gone = (struct uid_set){ 0 };
	for (size_t r = 0; r < all.n; r++) {
		for (uint64_t uid = all.r[r].first; uid <= all.r[r].last; uid = (uint64_t)last + 1) {
			bool is_counted = uid_set_run(&counted, (uint32_t)uid, &last);
			last = last < all.r[r].last ? last : all.r[r].last;
			if (!is_counted)
				uid_set_add(gone, a, (uint32_t)uid, last);
		}
	}
}

enum err imap_put_earlier(struct imap_session *s, const struct uid_set *known, uint64_t since, struct arena *a)
{
	struct uid_set gone = { 0 };

	TRY(view_vanished(s->view, s->mailbox_id, since, known, a, &gone));
	leave_out_counted(s, &gone, a);
	if (gone.n == 0)
		return ERR_OK;
	buf_add_cstr(&s->out, "* VANISHED (EARLIER) ");
	imap_put_set(s, &gone);
	buf_add_cstr(&s->out, "\r\n");
	return ERR_OK;
}

static void put_count(struct buf *b, struct session *s, uint32_t n, const char *what)
{
	buf_add_cstr(b, "* ");
	imap_put_number(b, n);
	buf_add_cstr(b, what);
	drain(b, s);
}

static void put_removed(struct buf *b, struct session *s, struct imap_tongue tongue, const struct news *news)
{
	if (news->n_removed == 0)
		return;
	if (!tongue.is_qresync && !tongue.is_uidonly) {
		for (size_t i = 0; i < news->n_removed; i++)
			put_count(b, s, news->removed[i].seq, " EXPUNGE\r\n");
		return;
	}
	buf_add_cstr(b, "* VANISHED ");
	put_set(b, s, &news->vanished);
	buf_add_cstr(b, "\r\n");
	drain(b, s);
}

static void put_changed(struct buf *b, struct session *s, struct imap_tongue tongue, struct view *v, const struct news *news, bool with_uid)
{
	struct imap_flag_words w;

	if (news->n_changed == 0)
		return;
	imap_flag_words(&w, v);
	for (size_t i = 0; i < news->n_changed; i++) {
		const struct message_row *row = &news->changed[i];
		imap_put_fetch(b, tongue, row);
		if (with_uid && !tongue.is_uidonly) {
			buf_add_cstr(b, "UID ");
			imap_put_number(b, row->uid);
			buf_add_char(b, ' ');
		}
		buf_add_cstr(b, "FLAGS ");
		imap_put_flags(b, &w, v, row->flags);
		if (tongue.is_condstore) {
			buf_add_cstr(b, " MODSEQ (");
			imap_put_number(b, row->modseq);
			buf_add_char(b, ')');
		}
		buf_add_cstr(b, ")\r\n");
		drain(b, s);
	}
}

void imap_put_news(struct buf *b, struct session *s, struct imap_tongue tongue, struct view *v, const struct news *news, bool with_uid)
{
	if (news->has_keywords)
		imap_put_flags_line(b, v, UINT64_MAX);
	put_removed(b, s, tongue, news);
	if (news->has_new)
		put_count(b, s, news->exists, " EXISTS\r\n");
	put_changed(b, s, tongue, v, news, with_uid || imap_adds_uid(tongue));
}

/* Everything that happened since the client was told last, it did itself with the running command: nothing of it is news (RFC 5465 §5). */
static bool is_own(const struct imap_session *s)
{
	uint64_t own = events_own(s->view);

	return own != s->own_before && own == s->notify->told + 1 && own == view_modseq(s->view);
}

/* A guest hears of a keyword when a message here gets it, not when the owner makes it for another mailbox. */
static void put_guest_keywords(struct imap_session *s, const struct message_row *rows, size_t n)
{
	uint64_t flags = 0;

	for (size_t i = 0; i < n; i++)
		flags |= rows[i].flags;
	if ((flags & ~imap_keywords_known(s) & ~FLAG_GONE) == 0 && !s->has_other_keywords)
		return;
	s->has_other_keywords = false;
	s->told_keywords |= flags;
	imap_put_flags_line(&s->out, s->view, s->told_keywords);
}

void imap_put_new_keywords(struct imap_session *s, const struct message_row *rows, size_t n)
{
	if (s->guest != NULL)
		put_guest_keywords(s, rows, n);
	else if (selected_new_keywords(s->selected))
		imap_put_flags_line(&s->out, s->view, UINT64_MAX);
}

/* What the command has said itself. */
static void leave_out_shown(struct news *news, const struct uid_set *told, uint64_t modseq, struct arena *a)
{
	const struct message_row *all = news->changed;
	size_t n = news->n_changed;

	if (told->n == 0 || n == 0)
		return;
	news->changed = arena_array(a, n, sizeof *news->changed);
	news->n_changed = 0;
	for (size_t i = 0; i < n; i++)
		if (all[i].modseq > modseq || !uid_set_has(told, all[i].uid))
			news->changed[news->n_changed++] = all[i];
}

static bool send_selected(struct imap_session *s, bool removals, struct arena *a)
{
	unsigned events = s->notify ? s->notify->selected : (unsigned)NOTIFY_MESSAGES;
	uint32_t known = selected_uidnext(s->selected);
	static const struct news nothing = { 0 };
	struct fetch_wish wishes[CONTEXTS_MAX + 1];
	struct news news, shown;
	size_t n = 0;

	if (events == 0 && (s->cmd.row == NULL || !(s->cmd.row->allowed & REMOVES))) {  /* what it sees stays until it asks (RFC 5465 §5) */
		contexts_put_changed(s, &nothing, UINT32_MAX, wishes, &n, a);
		return true;
	}
	selected_news(s->selected, removals, a, &news);
	if (news.is_deleted) {
		imap_flush(s);
		session_write(s->s, str_of(imap_in(s->tongue.lang, "* BYE [UNAVAILABLE] the selected mailbox was deleted by another program; please connect again\r\n")));
		return false;
	}
	s->told_changes += news.n_changed;
	shown = news;
	if (!(events & NOTIFY_FLAGS))
		shown.n_changed = 0;
	leave_out_shown(&shown, &s->shown, s->shown_modseq, a);
	if (s->guest != NULL) {
		put_guest_keywords(s, shown.changed, shown.n_changed);
		shown.has_keywords = false;
	}
	contexts_put_removed(s, &news, a);
	imap_put_news(&s->out, s->s, s->tongue, s->view, &shown, s->notify != NULL);
	contexts_put_changed(s, &news, known, wishes, &n, a);
	if (news.has_new && s->notify != NULL && s->notify->items.n > 0 && !is_own(s)) {
		wishes[n] = (struct fetch_wish){ .what = &s->notify->fetch };
		uid_set_add(&wishes[n++].uids, a, known, UINT32_MAX);
	}
	return fetch_put_unasked(s, wishes, n);
}

/* looked_at: so far the selected one was looked at. What happened there since is not to count as told. */
static void send_others(struct imap_session *s, uint64_t looked_at)
{
	enum err e = ERR_OK;

	if (is_own(s))
		s->notify->told = view_modseq(s->view);
	else
		e = notify_put_news(&s->out, s->s, s->tongue, s->view, s->selected ? s->mailbox_id : 0, s->notify, s->guest ? s : NULL);
	if (e != ERR_OK)
		log_warn("news of mailboxes could not be told: %s", err_name(e));  /* tried again with the next ones */
	if (s->selected != NULL && s->notify->told > looked_at)
		s->notify->told = looked_at;
}

/* Names of others that were found to be different are events of this account by now. With a mailbox selected they wait until that is looked at again. */
static bool send_elsewhere(struct imap_session *s)
{
	if (!notify_others_tell(s))
		return false;
	if (s->selected == NULL && notify_put_news(&s->out, s->s, s->tongue, s->view, 0, s->notify, NULL) != ERR_OK)
		log_warn("news of mailboxes of others could not be told");
	return true;
}

bool imap_send_news(struct imap_session *s, bool removals, struct arena *a)
{
	uint64_t now = view_modseq(s->view);

	if (s->guest != NULL)
		s->told_modseq = now;
	bool is_welcome = imap_welcome(s) == ERR_OK;  /* else he has lost his rights, and learns nothing more */
	if (is_welcome && s->selected != NULL && !send_selected(s, removals, a))
		return false;
	s->shown = (struct uid_set){ 0 };
	if (is_welcome && s->selected != NULL && s->guest != NULL)
		imap_put_rights_news(s);
	if (is_welcome && s->notify != NULL && s->notify->n > 0)
		send_others(s, now);
	if (s->notify != NULL && (s->notify->n_owners > 0 || s->notify->must_look_anew) && !send_elsewhere(s))
		return false;
	imap_flush(s);
	return true;
}
