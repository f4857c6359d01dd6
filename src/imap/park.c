/* A waiting session is a record in the gate (DESIGN.md §2). The store can rebuild a window with its exact sequence numbers from
 * 32 bytes (struct selected_state: the messages below uidnext that exist, or vanished after modseq), so a mailbox of any size
 * parks; what was expunged meanwhile is still told with the right numbers. The one thing that may not fit is a saved search
 * result ("$"): then an idle session forgets it (RFC 5182 §2.1 lets a server drop it; "$" is then empty), any other session
 * stays attached. So does one whose NOTIFY names more than NOTIFY_RECORD_MAX bytes of mailboxes: it hears its news all the same
 * (SESSION_WAIT_NEWS), also of other accounts (FRAME_WAITS), for the price of a cell that does not leave. And one that keeps results up to date (RFC 5267): what they are
 * made of has no bound that a record could hold.
 *
 * render() speaks for a parked session in IDLE, or with NOTIFY: same news, same words as attached. More than a frame, or what needs the
 * bodies of messages: RENDERED_ATTACH, and resume() says it. Formats carry a version; a record of another one ends the session with BYE, the client connects again. */
#include "base/wire.h"
#include "imap/notify_private.h"
#include "imap/remote.h"
#include "store/events.h"

enum { PARK_VERSION = 1, PARK_ELSEWHERE = 3 /* a mailbox of another account is selected */, PARK_SAVED_MAX = 200 };  /* ranges of "$": 8 bytes each */

struct parked {
	struct imap_tongue    tongue;
	bool                  is_readonly, is_selected, has_notify;
	uint16_t              errors;
	struct str            idle_tag;
	struct selected_state state;
	uint16_t              rights;  /* imap_session.told_rights */
	struct str            saved;   /* ranges, 8 bytes each */
	struct str            notify;  /* notify_put() */
	uint64_t              owner;   /* of the mailbox that is selected, in another account; 0: none is */
	struct str            name, record;   /* what it is called, and the session that waits there … */
	uint32_t              uidvalidity;
	uint64_t              modseq;  /* … and knows his account up to here */
};

static void put_parked(struct buf *b, const struct parked *p)
{
	put_u8(b, p->owner != 0 ? PARK_ELSEWHERE : PARK_VERSION);
	put_u8(b, (uint8_t)(p->tongue.is_condstore | p->tongue.is_qresync << 1 | p->tongue.is_utf8 << 2 | p->tongue.is_rev2 << 3 |
	                    p->is_readonly << 4 | p->is_selected << 5 | p->tongue.is_uidonly << 6 |  /* NOLINT: 1 << 5 is taken for undefined */
	                    p->has_notify << 7));  /* NOLINT */
	put_u16(b, (uint16_t)(p->errors | (p->tongue.lang == LANG_FR) << 15));
	put_str(b, p->idle_tag);
	if (p->is_selected) {
		put_i64(b, p->state.mailbox_id);
		put_u32(b, p->state.uidvalidity);
		put_u32(b, p->state.uidnext);
		put_u32(b, p->state.count);
		put_u64(b, p->state.modseq);
		put_u32(b, p->state.keywords);
		put_u16(b, p->rights);
		put_str(b, p->saved);
	}
	if (p->has_notify) {
		put_u64(b, p->state.flags_modseq);
		put_str(b, p->notify);
	}
	if (p->owner != 0) {
		put_u64(b, p->owner);
		put_str(b, p->name);
		put_u32(b, p->uidvalidity);
		put_str(b, p->record);
		put_u64(b, p->modseq);
	}
}

void imap_fresh_record(struct imap_tongue tongue, struct buf *record)
{
	put_parked(record, &(struct parked){ .tongue = tongue });
}

void imap_notify_record(struct imap_tongue tongue, struct str notify, struct buf *record)
{
	put_parked(record, &(struct parked){ .tongue = tongue, .has_notify = true, .notify = notify });
}

static bool get_parked(struct str record, struct parked *p)
{
	struct scan s = scan_of(record);
	uint8_t version = get_u8(&s), bits = get_u8(&s);

	*p = (struct parked){
		.tongue = { bits & 1, bits >> 1 & 1, bits >> 2 & 1, bits >> 3 & 1, bits >> 6 & 1, LANG_EN },
		.is_readonly = bits >> 4 & 1, .is_selected = bits >> 5 & 1, .has_notify = bits >> 7 & 1,
	};
	p->errors = get_u16(&s);
	p->tongue.lang = p->errors >> 15 ? LANG_FR : LANG_EN;
	p->errors &= 0x7fff;
	p->idle_tag = get_str(&s, IMAP_TAG_MAX);
	if (p->is_selected) {
		p->state.mailbox_id = get_i64(&s);
		p->state.uidvalidity = get_u32(&s);
		p->state.uidnext = get_u32(&s);
		p->state.count = get_u32(&s);
		p->state.modseq = get_u64(&s);
		p->state.keywords = get_u32(&s);
		p->rights = get_u16(&s);
		p->saved = get_str(&s, PARK_SAVED_MAX * 8);
	}
	if (p->has_notify) {
		p->state.flags_modseq = get_u64(&s);
		p->notify = get_str(&s, NOTIFY_RECORD_MAX);
	}
	if (version == PARK_ELSEWHERE) {
		p->owner = get_u64(&s);
		p->name = get_str(&s, REMOTE_NAME_MAX);
		p->uidvalidity = get_u32(&s);
		p->record = get_str(&s, PARK_RECORD_MAX);
		p->modseq = get_u64(&s);
	}
	return get_end(&s) && (version == PARK_VERSION || (version == PARK_ELSEWHERE && p->owner != 0 && !p->is_selected)) && p->saved.n % 8 == 0;
}

/* Said whether it can be parked or not. */
static void wait_for_others(const struct imap_session *s)
{
	if (s->notify == NULL || s->notify->n == 0)
		return;
	session_waits_for_own(s->s);
	if (session_guest(s->s) == 0 && notify_watches_others(s->notify))
		session_waits_for_gains(s->s, s->notify->must_look_anew);
	for (size_t i = 0; i < s->notify->n_owners; i++)
		session_waits_for(s->s, s->notify->owners[i].account, s->notify->owners[i].told,
		                  s->notify->owners[i].must_look || s->notify->owners[i].could_not_ask ? WAIT_COULD_NOT_ASK : WAIT_ASKS_ONCE);
}

/* To a guest, who knows only some of them. Where they were not looked at since he was parked last, nothing was told either. */
static uint32_t keywords_told(const struct imap_session *s)
{
	return s->told_keywords == 0 || s->has_other_keywords ? s->parked_keywords : view_keywords_mark(s->view, s->told_keywords);
}

bool imap_park(void *state, struct buf *record, uint64_t *modseq)
{
	struct imap_session *s = state;
	CLEANUP(buf_free) struct buf saved = BUF(PARK_SAVED_MAX * 8), notify = BUF(NOTIFY_RECORD_MAX);
	struct parked p = { .tongue = s->tongue, .is_readonly = s->is_readonly, .is_selected = s->selected != NULL,
	                    .errors = (uint16_t)s->errors, .idle_tag = s->idle_tag, .rights = (uint16_t)s->told_rights };

	if (s->contexts != NULL || (s->saved.n > PARK_SAVED_MAX && s->idle_tag.n == 0)) {
		wait_for_others(s);
		return false;
	}
	for (size_t i = 0; i < s->saved.n && s->saved.n <= PARK_SAVED_MAX; i++) {
		put_u32(&saved, s->saved.r[i].first);
		put_u32(&saved, s->saved.r[i].last);
	}
	p.saved = buf_str(&saved);
	*modseq = 0;
	if (s->selected != NULL) {
		selected_state(s->selected, &p.state);
		if (s->guest != NULL)
			p.state.keywords = keywords_told(s);
		*modseq = p.state.modseq > s->told_modseq ? p.state.modseq : s->told_modseq;
	}
	if (s->remote != NULL) {
		if (!imap_remote_park(s->remote))
			return false;
		p.owner = s->remote->owner;
		p.name = buf_str(&s->remote->name);
		p.uidvalidity = s->remote->uidvalidity;
		p.record = buf_str(&s->remote->record);
		*modseq = s->remote->modseq;
		p.modseq = *modseq;
		if (s->idle_tag.n > 0 || (s->notify != NULL && s->notify->selected != 0))
			session_waits_for(s->s, p.owner, *modseq, s->remote->could_not_ask ? WAIT_COULD_NOT_ASK : WAIT_KNOWS);
	}
	if (s->notify != NULL) {
		notify_put(&notify, s->notify);
		p.has_notify = true;
		p.notify = buf_str(&notify);
	}
	if (s->notify != NULL && s->notify->n > 0)
		*modseq = s->notify->told;
	wait_for_others(s);
	put_parked(record, &p);
	return !record->failed && !notify.failed;
}

#define BYE(why) "* BYE [UNAVAILABLE] " why "; please connect again\r\n"

static const char is_old[] = BYE("the server was updated"), is_deleted[] = BYE("the selected mailbox was deleted by another program");

static void *bye(struct session *s, enum lang lang, const char *line)
{
	session_write(s, str_of(imap_in(lang, line)));
	return NULL;
}

/* What the record knows cannot be brought up to date. After an unclean stop the numbers that its cell may have used are given to nobody else. */
static const char *lost_track(const struct view *v)
{
	return view_was_unclean(v) ? BYE("the process of this mailbox was interrupted") : BYE("too much has changed in the mailbox");
}

/* False: the record is not ours. */
static bool restore(struct imap_session *i, const struct parked *p)
{
	struct scan saved = scan_of(p->saved);
	struct str address;

	i->tongue = p->tongue;
	i->is_readonly = p->is_readonly;
	i->errors = p->errors;
	i->mailbox_id = p->state.mailbox_id;
	i->told_rights = p->rights;
	i->parked_keywords = p->state.keywords;
	if (p->owner != 0 && !imap_is_other(p->name, &address))
		return false;
	if (p->owner != 0) {
		i->remote = imap_remote_new(i, p->owner, address);
		buf_add(&i->remote->name, p->name);
		i->remote->uidvalidity = p->uidvalidity;
		buf_reset(&i->remote->record);
		buf_add(&i->remote->record, p->record);
		i->remote->modseq = p->modseq;
	}
	if (p->idle_tag.n > 0) {
		memcpy(i->idle_room, p->idle_tag.p, p->idle_tag.n);
		i->idle_tag = str_make(i->idle_room, p->idle_tag.n);
	}
	while (!scan_done(&saved)) {
		uint32_t first = get_u32(&saved), last = get_u32(&saved);
		uid_set_push(&i->saved, &i->saved_arena, first, last);
	}
	uid_set_sort(&i->saved);
	i->own_before = events_own(i->view);
	if (!p->has_notify)
		return true;
	i->notify = notify_new();
	if (!notify_get(p->notify, i->notify) || (session_guest(i->s) != 0 && !notify_is_for_guest(i->notify)))
		return false;
	notify_others_changed(i->notify, session_info(i->s)->changed);
	return i->notify->items.n == 0 || notify_parse_items(i, i->notify);
}

void *imap_resume(struct session *s, void *cell, struct str record)
{
	struct account *account = cell;
	struct parked p;
	struct imap_session *i;
	enum err e = ERR_OK;

	if (!get_parked(record, &p))
		return bye(s, LANG_EN, is_old);
	if (p.owner != 0 && (session_guest(s) != 0 || account->others == NULL))  /* no honest cell asks for more */
		return bye(s, LANG_EN, BYE("a guest of this account sees the mailboxes that are shared with him, and no others"));
	i = imap_session_new(s, account);
	if (!restore(i, &p)) {
		imap_session_free(i);
		return bye(s, p.tongue.lang, is_old);
	}
	if (session_guest(s) != 0 && account->others == NULL)
		e = ERR_DENIED;
	else if (session_guest(s) != 0)
		e = imap_guest_new(i, account, session_guest(s), session_info(s)->login_name);
	if (e == ERR_OK && p.is_selected)
		e = imap_may(i, p.state.mailbox_id, RIGHT_READ);
	if (e == ERR_NOTFOUND && session_guest(s) != 0)  /* what he may not see does not exist, but he had it open */
		e = ERR_DENIED;
	if (e == ERR_OK && p.is_selected)
		e = selected_open(i->view, p.state.mailbox_id, &p.state, &i->selected);
	if (e == ERR_OK && (p.idle_tag.n == 0 || imap_send_news(i, true, &i->cmd.arena)))  /* for NOTIFY input() does it */
		return i;
	if (e == ERR_NOTFOUND)
		bye(s, p.tongue.lang, is_deleted);
	else if (e == ERR_DENIED)
		bye(s, p.tongue.lang, "* BYE [NOPERM] the owner does not share this mailbox with you any more; please connect again\r\n");
	else if (e != ERR_OK)
		bye(s, p.tongue.lang, lost_track(i->view));
	imap_session_free(i);
	return NULL;
}

static enum rendered bye_in(struct buf *bytes, enum lang lang, const char *line)
{
	buf_add_cstr(bytes, imap_in(lang, line));
	return RENDERED_BYE;
}

/* The selected mailbox of a session that idles, or that asked by NOTIFY (else NULL). */
static enum rendered render_selected(struct view *v, struct parked *p, const struct imap_notify *notify, struct buf *bytes)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	unsigned events = notify ? notify->selected : (unsigned)NOTIFY_MESSAGES;
	bool removals = p->idle_tag.n > 0 || (notify != NULL && !notify->is_delayed);
	struct news news;
	enum err e;

	if (events == 0)
		return RENDERED_KEEP;
	e = view_news(v, &p->state, removals, &a, &news);
	if (e == ERR_CONFLICT)
		return bye_in(bytes, p->tongue.lang, lost_track(v));
	if (e == ERR_NOTFOUND || (e == ERR_OK && news.is_deleted))
		return bye_in(bytes, p->tongue.lang, is_deleted);
	if (e != ERR_OK || (news.has_new && notify != NULL && notify->items.n > 0))
		return RENDERED_ATTACH;  /* what new messages are is read by the session */
	if (!(events & NOTIFY_FLAGS))
		news.n_changed = 0;
	imap_put_news(bytes, NULL, p->tongue, v, &news, notify != NULL);
	return RENDERED_KEEP;
}

enum rendered imap_render(void *cell, struct str record, struct buf *bytes, struct buf *new_record, uint64_t *modseq)
{
	struct account *account = cell;
	CLEANUP(buf_free) struct buf written = BUF(NOTIFY_RECORD_MAX);
	struct imap_notify notify = { 0 };
	enum rendered how = RENDERED_KEEP;
	struct parked p;

	if (!get_parked(record, &p) || (p.has_notify && !notify_get(p.notify, &notify))) {
		arena_free(&notify.arena);
		return bye_in(bytes, LANG_EN, is_old);
	}
	if (p.owner != 0) {  /* what is new lies elsewhere */
		arena_free(&notify.arena);
		return RENDERED_ATTACH;
	}
	*modseq = view_modseq(account->view);
	if (p.is_selected && (p.idle_tag.n > 0 || p.has_notify))
		how = render_selected(account->view, &p, p.has_notify ? &notify : NULL, bytes);
	if (how == RENDERED_KEEP && p.has_notify) {
		if (notify.n > 0 && notify_put_news(bytes, NULL, p.tongue, account->view, p.state.mailbox_id, &notify, NULL) != ERR_OK)
			how = RENDERED_ATTACH;
		notify_put(&written, &notify);
		p.notify = buf_str(&written);
	}
	arena_free(&notify.arena);
	put_parked(new_record, &p);
	if (how == RENDERED_KEEP && (bytes->failed || new_record->failed))
		how = RENDERED_ATTACH;
	if (how == RENDERED_ATTACH)
		buf_reset(bytes);  /* the session says it, from the beginning */
	return how;
}
