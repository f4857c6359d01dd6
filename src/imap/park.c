/* A waiting session is a record in the gate (DESIGN.md §2). The store can rebuild a window with its exact sequence numbers from
 * 32 bytes (struct selected_state: the messages below uidnext that exist, or vanished after modseq), so a mailbox of any size
 * parks; what was expunged meanwhile is still told with the right numbers. The one thing that may not fit is a saved search
 * result ("$"): then an idle session forgets it (RFC 5182 §2.1 lets a server drop it; "$" is then empty), any other session
 * stays attached.
 *
 * render() speaks for a parked session in IDLE: same news, same words as attached. More than a frame: RENDERED_ATTACH, and
 * resume() says it. Formats carry a version; a record of another one ends the session with BYE, the client connects again. */
#include "base/wire.h"
#include "imap/imap_private.h"

enum { PARK_VERSION = 1, PARK_SAVED_MAX = 200 };  /* ranges of "$": 8 bytes each */

struct parked {
	struct imap_tongue    tongue;
	bool                  is_readonly, is_selected;
	uint16_t              errors;
	struct str            idle_tag;
	struct selected_state state;
	struct str            saved;   /* ranges, 8 bytes each */
};

static void put_parked(struct buf *b, const struct parked *p)
{
	put_u8(b, PARK_VERSION);
	put_u8(b, (uint8_t)(p->tongue.is_condstore | p->tongue.is_qresync << 1 | p->tongue.is_utf8 << 2 | p->tongue.is_rev2 << 3 |
	                    p->is_readonly << 4 | p->is_selected << 5 | p->tongue.is_uidonly << 6));  /* NOLINT: 1 << 5 is taken for undefined */
	put_u16(b, p->errors);
	put_str(b, p->idle_tag);
	if (p->is_selected) {
		put_i64(b, p->state.mailbox_id);
		put_u32(b, p->state.uidvalidity);
		put_u32(b, p->state.uidnext);
		put_u32(b, p->state.count);
		put_u64(b, p->state.modseq);
		put_u32(b, p->state.keywords);
		put_str(b, p->saved);
	}
}

static bool get_parked(struct str record, struct parked *p)
{
	struct scan s = scan_of(record);
	uint8_t version = get_u8(&s), bits = get_u8(&s);

	*p = (struct parked){
		.tongue = { bits & 1, bits >> 1 & 1, bits >> 2 & 1, bits >> 3 & 1, bits >> 6 & 1 },
		.is_readonly = bits >> 4 & 1, .is_selected = bits >> 5 & 1, .errors = get_u16(&s),
	};
	p->idle_tag = get_str(&s, IMAP_TAG_MAX);
	if (p->is_selected) {
		p->state.mailbox_id = get_i64(&s);
		p->state.uidvalidity = get_u32(&s);
		p->state.uidnext = get_u32(&s);
		p->state.count = get_u32(&s);
		p->state.modseq = get_u64(&s);
		p->state.keywords = get_u32(&s);
		p->saved = get_str(&s, PARK_SAVED_MAX * 8);
	}
	return get_end(&s) && version == PARK_VERSION && bits < 128 && p->saved.n % 8 == 0;
}

bool imap_park(void *state, struct buf *record, uint64_t *modseq)
{
	struct imap_session *s = state;
	CLEANUP(buf_free) struct buf saved = BUF(PARK_SAVED_MAX * 8);
	struct parked p = { .tongue = s->tongue, .is_readonly = s->is_readonly, .is_selected = s->selected != NULL,
	                    .errors = (uint16_t)s->errors, .idle_tag = s->idle_tag };

	if (s->saved.n > PARK_SAVED_MAX && s->idle_tag.n == 0)
		return false;
	for (size_t i = 0; i < s->saved.n && s->saved.n <= PARK_SAVED_MAX; i++) {
		put_u32(&saved, s->saved.r[i].first);
		put_u32(&saved, s->saved.r[i].last);
	}
	p.saved = buf_str(&saved);
	*modseq = 0;
	if (s->selected != NULL) {
		selected_state(s->selected, &p.state);
		*modseq = p.state.modseq;
	}
	put_parked(record, &p);
	return !record->failed;
}

static void *bye(struct session *s, const char *why)
{
	session_printf(s, "* BYE [UNAVAILABLE] %s; please connect again\r\n", why);
	return NULL;
}

static void restore(struct imap_session *i, const struct parked *p)
{
	struct scan saved = scan_of(p->saved);

	i->tongue = p->tongue;
	i->is_readonly = p->is_readonly;
	i->errors = p->errors;
	i->mailbox_id = p->state.mailbox_id;
	if (p->idle_tag.n > 0) {
		memcpy(i->idle_room, p->idle_tag.p, p->idle_tag.n);
		i->idle_tag = str_make(i->idle_room, p->idle_tag.n);
	}
	while (!scan_done(&saved)) {
		uint32_t first = get_u32(&saved), last = get_u32(&saved);
		uid_set_push(&i->saved, &i->saved_arena, first, last);
	}
	uid_set_sort(&i->saved);
}

void *imap_resume(struct session *s, void *cell, struct str record)
{
	struct account *account = cell;
	struct parked p;
	struct imap_session *i;
	enum err e = ERR_OK;

	if (!get_parked(record, &p))
		return bye(s, "the server was updated");
	i = imap_session_new(s, account);
	restore(i, &p);
	if (session_guest(s) != 0 && account->others == NULL)
		e = ERR_DENIED;
	else if (session_guest(s) != 0)
		e = imap_guest_new(i, account, session_guest(s), session_info(s)->login_name);
	if (e == ERR_OK && p.is_selected)
		e = imap_may(i, p.state.mailbox_id, RIGHT_READ);
	if (e == ERR_OK && p.is_selected)
		e = selected_open(i->view, p.state.mailbox_id, &p.state, &i->selected);
	if (e == ERR_OK && (p.idle_tag.n == 0 || imap_send_news(i, true, &i->cmd.arena)))
		return i;
	if (e == ERR_NOTFOUND)
		bye(s, "the selected mailbox was deleted by another program");
	else if (e == ERR_DENIED)
		bye(s, "the owner does not share this mailbox with you any more");
	else if (e != ERR_OK)
		bye(s, "too much has changed in the mailbox");
	imap_session_free(i);
	return NULL;
}

enum rendered imap_render(void *cell, struct str record, struct buf *bytes, struct buf *new_record, uint64_t *modseq)
{
	struct account *account = cell;
	CLEANUP(arena_free) struct arena a = { 0 };
	struct parked p;
	struct news news;
	enum err e;

	if (!get_parked(record, &p)) {
		buf_add_cstr(bytes, "* BYE [UNAVAILABLE] the server was updated; please connect again\r\n");
		return RENDERED_BYE;
	}
	*modseq = view_modseq(account->view);
	if (p.is_selected && p.idle_tag.n > 0) {
		e = view_news(account->view, &p.state, true, &a, &news);
		if (e == ERR_OK && !news.is_deleted) {
			imap_put_news(bytes, NULL, p.tongue, account->view, &news);
		} else if (e == ERR_OK || e == ERR_CONFLICT || e == ERR_NOTFOUND) {
			buf_add_cstr(bytes, e == ERR_CONFLICT ? "* BYE [UNAVAILABLE] too much has changed in the mailbox; please connect again\r\n"
			                                      : "* BYE [UNAVAILABLE] the selected mailbox was deleted by another program; please connect again\r\n");
			return RENDERED_BYE;
		} else {
			return RENDERED_ATTACH;
		}
	}
	put_parked(new_record, &p);
	return bytes->failed || new_record->failed ? RENDERED_ATTACH : RENDERED_KEEP;
}
