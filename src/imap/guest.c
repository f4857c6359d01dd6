/* Somebody else in this account: a session whose client is logged in elsewhere, and looks at what the owner shares (RFC 4314).
 *
 * It comes from the cell of the guest's account, by a pair that master made: master says who he is, control which groups he is in, and the lists
 * of rights in this account decide. Nothing that the other cell says is trusted: it is a client that may be hostile, with fewer commands than the
 * owner has (command.c check()), and each command asks for its rights anew.
 *
 * To him the mailboxes have longer names, "Other Users/alice@example.org/INBOX". They are cut here on their way in and made long again on their way
 * out, so that his cell can pass commands and answers on as they are. What he may not see does not exist.
 *
 * The flags of a message are one for all who read it, \Seen, too: a mailbox that several people work on shows what nobody has looked at yet. */
#include "base/clock.h"
#include "base/mem.h"
#include "imap/imap_private.h"
#include <stdatomic.h>

enum { GUEST_FRESH_MS = 10000 };  /* so long a change of groups may go unnoticed; a change of rights never does */

enum err imap_guest_new(struct imap_session *s, const struct account *account, uint64_t guest, struct str address)
{
	struct imap_guest *g = MEM_NEW(struct imap_guest);

	g->account = guest;
	g->others = account->others;
	g->prefix = arena_printf(&g->whole, IMAP_OTHERS "/" STR_FMT "/", STR_ARG(address));
	s->as_guest = g;
	s->guest = &g->who;
	return imap_guest_look(s);
}

void imap_guest_free(struct imap_guest *g)
{
	if (g == NULL)
		return;
	arena_free(&g->whole);
	arena_free(&g->arena);
	mem_free(g);
}

static int places_of(const struct account *account, uint64_t guest)
{
	int n = 0;

	for (size_t i = 0; i < GUESTS_AT_ONCE; i++)
		n += atomic_load(&account->guests[i]) == guest;
	return n;
}

void imap_guest_begin(struct imap_session *s)
{
	struct imap_guest *g = s->as_guest;

	for (size_t i = 0; g != NULL && i < GUESTS_AT_ONCE && g->place == 0; i++) {
		uint64_t nobody = 0;
		if (atomic_compare_exchange_strong(&s->account->guests[i], &nobody, g->account))
			g->place = i + 1;
	}
	if (g != NULL && places_of(s->account, g->account) > GUEST_AT_ONCE)
		imap_guest_end(s);
}

void imap_guest_end(struct imap_session *s)
{
	if (s->as_guest == NULL || s->as_guest->place == 0)
		return;
	atomic_store(&s->account->guests[s->as_guest->place - 1], 0);
	s->as_guest->place = 0;
}

enum err imap_guest_look(struct imap_session *s)
{
	struct imap_guest *g = s->as_guest;
	int64_t now = clock_mono_ms();
	enum err e;

	if (g->asked_ms != 0 && now < g->asked_ms + GUEST_FRESH_MS)
		return ERR_OK;
	session_will_wait(s->s);
	arena_reset(&g->arena);
	e = g->others->guest(g->others->context, g->account, &g->arena, &g->who);
	if (e == ERR_OK && g->who.account != g->account)
		e = ERR_DENIED;
	g->asked_ms = e == ERR_OK ? now : 0;
	if (e != ERR_OK)
		g->who = (struct guest){ 0 };
	return e;
}

enum err imap_welcome(struct imap_session *s)
{
	if (s->guest == NULL)
		return ERR_OK;
	TRY(imap_guest_look(s));
	return s->selected == NULL ? ERR_OK : imap_may(s, s->mailbox_id, RIGHT_READ);
}

enum err imap_may(struct imap_session *s, int64_t mailbox_id, unsigned rights)
{
	return s->guest == NULL ? ERR_OK : rights_check(s->view, mailbox_id, s->guest, rights);
}

unsigned imap_rights(struct imap_session *s, int64_t mailbox_id)
{
	unsigned rights = RIGHTS_ALL;

	if (s->guest != NULL && rights_of(s->view, mailbox_id, s->guest, &rights) != ERR_OK)
		rights = 0;
	return rights;
}

uint64_t imap_flags_of(unsigned rights)
{
	uint64_t flags = rights & RIGHT_WRITE ? ~(FLAG_SEEN | FLAG_DELETED | FLAG_GONE) : 0;

	if (rights & RIGHT_SEEN)
		flags |= FLAG_SEEN;
	if (rights & RIGHT_DELETED)
		flags |= FLAG_DELETED;
	return flags;
}

enum err imap_find(struct imap_session *s, struct str path, unsigned rights, struct arena *a, struct mailbox *out)
{
	TRY(view_mailbox_find(s->view, path, a, out));
	return imap_may(s, out->mailbox_id, rights);
}

enum err imap_may_create(struct imap_session *s, struct str path, struct arena *a)
{
	struct mailbox parent;
	ptrdiff_t end;

	if (s->guest == NULL)
		return ERR_OK;
	while ((end = str_rchr(path, MAILBOX_SEPARATOR)) > 0) {
		path = str_sub(path, 0, (size_t)end);
		enum err e = imap_find(s, path, RIGHT_CREATE, a, &parent);
		if (e != ERR_NOTFOUND)
			return e;
		if (view_mailbox_find(s->view, path, a, &parent) == ERR_OK)
			return ERR_DENIED;  /* he does not see it: the same as where nothing is */
	}
	return ERR_DENIED;  /* the top of the account is its owner's */
}

struct str imap_name_of(struct imap_session *s, struct str path, struct arena *a)
{
	if (s->guest == NULL)
		return path;
	return arena_printf(a, STR_FMT STR_FMT, STR_ARG(s->as_guest->prefix), STR_ARG(path));
}

struct str imap_path_of(struct imap_session *s, struct str name)
{
	if (s->guest == NULL)
		return name;
	if (!str_istarts(name, s->as_guest->prefix))
		return STR_NONE;  /* no mailbox is called so */
	name = str_from(name, s->as_guest->prefix.n);
	return str_ieq(name, STR("INBOX")) ? STR("INBOX") : name;
}
