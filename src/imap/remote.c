/* Mailboxes of other accounts (RFC 2342: "Other Users/alice@example.org/…"), seen from the cell of the account that looks at them.
 *
 * No cell reads another account's files. The session has a second session in the owner's cell, made by master, where the ordinary engine runs for a
 * guest (guest.c) and decides what he may do. Commands about such a mailbox go there as they came, and what is answered goes to
 * the client. So everything that the engine can do works in shared mailboxes as in one's own: QRESYNC, SORT, the index of the owner. The other way, a
 * view of the store by requests, would have sent each row through a second copy of all this.
 *
 * The other cell may have been broken into. It can lie about its own mailboxes, but about nothing else: responses are passed on only of the kinds
 * that speak of the selected mailbox or of a name below the owner's, and never a tag, a greeting or a continuation. Literals are counted through.
 *
 * The second session lives as long as something happens: it parks when the first one does, its record lies in that one's record, and the gate waits
 * for changes of the owner's account. One that is lost in the middle ends the client's session, too: what he knows of the mailbox is no longer
 * kept true by anybody, and he finds everything when he connects again. */
#include "imap/remote.h"
#include "base/clock.h"
#include "base/mem.h"
#include <poll.h>

enum { TAIL_MAX = 32 /* "~{18446744073709551615}" at the end of a line */, PLACE_LOOK_MS = 10, PLACE_LOOKS = 200, BUSY_MS = 2000, BUSY_PAUSE_MS = 20 };

/* ------------------------------------------------------------------------------------------------------------ names */

bool imap_is_other(struct str name, struct str *address)
{
	struct str rest;

	if (!str_istarts(name, STR(IMAP_OTHERS "/")))
		return false;
	str_cut(str_from(name, sizeof IMAP_OTHERS), MAILBOX_SEPARATOR, address, &rest);
	return address->n <= REMOTE_ADDRESS_MAX && str_chr(*address, '@') > 0;  /* a folder of one's own that happens to be called so has none */
}

/* ------------------------------------------------------------------------------------------------------ the session there */

struct imap_remote *imap_remote_new(struct imap_session *s, uint64_t owner, struct str address)
{
	struct imap_remote *r = MEM_NEW(struct imap_remote);

	r->s = s;
	r->owner = owner;
	r->address = str_copy(&r->arena, address);
	r->record = BUF(PARK_RECORD_MAX);
	r->name = BUF(REMOTE_NAME_MAX);
	imap_fresh_record(s->tongue, &r->record);
	return r;
}

enum err imap_remote_open(struct imap_session *s, struct str address, struct imap_remote **out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const struct others *others = s->account->others;
	struct share_owner owner;

	session_will_wait(s->s);
	TRY(others->find(others->context, address, &a, &owner));
	if (owner.account == s->account->account)
		return ERR_NOTFOUND;
	*out = imap_remote_new(s, owner.account, address);
	return ERR_OK;
}

void imap_remote_free(struct imap_remote *r)
{
	if (r == NULL)
		return;
	imap_remote_rest(r);
	link_free(r->link);
	buf_free(&r->record);
	buf_free(&r->name);
	arena_free(&r->arena);
	mem_free(r);
}

void imap_remote_close(struct imap_remote **r) { imap_remote_free(*r); }

void imap_remote_rest(struct imap_remote *r)
{
	if (r != NULL && r->is_counted) {
		r->is_counted = false;
		r->s->account->visits--;
	}
}

static bool take_place(struct imap_remote *r)
{
	if (!r->is_counted && r->s->account->visits++ >= IMAP_VISITS_MAX)
		r->s->account->visits--;
	else
		r->is_counted = true;
	return r->is_counted;
}

/* A program with five connections has them all ask at once, and each is served in a moment. False: too many wait already. */
static bool begin_waiting(struct imap_remote *r)
{
	for (int looks = r->is_unasked ? 0 : PLACE_LOOKS; !take_place(r); looks--) {
		r->is_busy = looks == 0 || session_is_dead(r->s->s);
		if (r->is_busy)
			return false;
		session_will_wait(r->s->s);
		poll(NULL, 0, PLACE_LOOK_MS);
	}
	return true;
}

struct link *imap_remote_link(struct imap_remote *r)
{
	const struct others *others = r->s->account->others;
	struct str record;
	int fd;

	if (!begin_waiting(r))
		return NULL;
	if (r->link != NULL && link_has_left(r->link, &record)) {  /* it was told to wait elsewhere: nothing is lost */
		buf_reset(&r->record);
		buf_add(&r->record, record);
		link_free(r->link);
		r->link = NULL;
	}
	if (r->link == NULL && !r->is_lost) {
		session_will_wait(r->s->s);
		r->why = others->visit(others->context, r->owner, &fd);
		if (r->why == ERR_OK)
			r->link = link_open(r->s->s, fd, r->address, buf_str(&r->record));
		if (r->link != NULL && r->until_ms != 0)
			link_hurry(r->link, r->until_ms);
	}
	r->is_lost |= r->link == NULL;
	return r->link;
}

bool imap_remote_comes_again(struct imap_remote *r)
{
	if (r->came_again || r->link == NULL || r->is_cut || !link_never_began(r->link) || session_is_dead(r->s->s))
		return false;
	link_free(r->link);
	r->link = NULL;
	r->came_again = true;
	return true;
}

enum err imap_remote_settle(struct imap_remote *r, struct str *record)
{
	struct str line;

	*record = STR_NONE;
	TRY(link_park(r->link, record, &r->modseq));
	return imap_remote_line(r, NULL, &line);
}

/* It may have told news on its way: they are in no record, and nobody says them again. What speaks of anything else then is lost. */
bool imap_remote_park(struct imap_remote *r)
{
	struct str record;
	enum err e;

	if (r->link == NULL || r->is_lost)
		return !r->is_lost;
	e = imap_remote_settle(r, &record);
	if (e == ERR_AGAIN && record.n == 0)
		return false;
	imap_flush(r->s);
	session_flush(r->s->s);
	r->is_lost = e != ERR_AGAIN;
	buf_reset(&r->record);
	buf_add(&r->record, record);
	link_free(r->link);
	r->link = NULL;
	imap_remote_rest(r);
	return !r->is_lost;
}

/* --------------------------------------------------------------------------------------------------------- answers */

/* What an owner's cell may say, and of what it speaks then: of the selected mailbox, of one with its name behind the word, of none. */
enum about { ABOUT_SELECTED, ABOUT_NAMED, ABOUT_NOTHING };
struct told { struct str word; enum about about; };
static const struct told told_words[] = {
	{ { "FLAGS", 5 }, ABOUT_SELECTED }, { { "SEARCH", 6 }, ABOUT_SELECTED }, { { "SORT", 4 }, ABOUT_SELECTED }, { { "THREAD", 6 }, ABOUT_SELECTED },
	{ { "VANISHED", 8 }, ABOUT_SELECTED }, { { "UIDBATCHES", 10 }, ABOUT_SELECTED }, { { "STATUS", 6 }, ABOUT_NAMED }, { { "ACL", 3 }, ABOUT_NAMED },
	{ { "LISTRIGHTS", 10 }, ABOUT_NAMED }, { { "MYRIGHTS", 8 }, ABOUT_NAMED }, { { "QUOTAROOT", 9 }, ABOUT_NAMED },
	{ { "METADATA", 8 }, ABOUT_NAMED },
};
static const struct told told_numbers[] = {
	{ { "EXISTS", 6 }, ABOUT_SELECTED }, { { "EXPUNGE", 7 }, ABOUT_SELECTED }, { { "FETCH", 5 }, ABOUT_SELECTED }, { { "UIDFETCH", 8 }, ABOUT_SELECTED },
	{ { "RECENT", 6 }, ABOUT_SELECTED },
};
static const struct told told_codes[] = {   /* of OK and NO; no [ALERT], which people take for a word of their server */
	{ { "PERMANENTFLAGS", 14 }, ABOUT_SELECTED }, { { "READ-ONLY", 9 }, ABOUT_SELECTED }, { { "READ-WRITE", 10 }, ABOUT_SELECTED }, { { "UNSEEN", 6 }, ABOUT_SELECTED }, { { "UIDVALIDITY", 11 }, ABOUT_SELECTED },
	{ { "UIDNEXT", 7 }, ABOUT_SELECTED }, { { "HIGHESTMODSEQ", 13 }, ABOUT_SELECTED }, { { "MAILBOXID", 9 }, ABOUT_SELECTED },
	{ { "CLOSED", 6 }, ABOUT_SELECTED }, { { "COPYUID", 7 }, ABOUT_SELECTED }, { { "APPENDUID", 9 }, ABOUT_SELECTED }, { { "MESSAGELIMIT", 12 }, ABOUT_NOTHING },
	{ { "NOUPDATE", 8 }, ABOUT_NOTHING }, { { "INPROGRESS", 10 }, ABOUT_NOTHING }, { { "CORRUPTION", 10 }, ABOUT_NOTHING },
};

/* Is it the name of a mailbox of this owner, however it is written? */
static bool take_own_name(const struct imap_remote *r, struct scan *s)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str name = imap_mailbox(s, &a, imap_names_utf8(r->s->tongue)), address;

	return !s->failed && imap_is_other(name, &address) && str_ieq(address, r->address) && name.n > sizeof IMAP_OTHERS + address.n + 1;
}

static bool is_own_name(const struct imap_remote *r, struct str rest)
{
	struct scan s = scan_of(rest);

	return take_own_name(r, &s);
}

/* May it speak of what the client has selected? Where that is in another account it is not to be touched. */
static bool is_selected_there(const struct imap_remote *r) { return r == r->s->remote || (r->s->remote == NULL && r->s->selected == NULL); }

static bool is_in(const struct imap_remote *r, const struct told *list, size_t n, struct str word, struct str rest)
{
	for (size_t i = 0; i < n; i++)
		if (str_ieq(word, list[i].word))
			return list[i].about == ABOUT_NOTHING || (list[i].about == ABOUT_NAMED ? is_own_name(r, rest) : is_selected_there(r));
	return false;
}

/* (\HasChildren) "/" name */
static bool is_own_list(const struct imap_remote *r, struct str rest)
{
	struct scan s = scan_of(rest);

	scan_need(&s, '(');
	scan_until(&s, ')');
	scan_need_str(&s, STR(") \"/\" "));
	return !s.failed && is_own_name(r, scan_rest(&s));
}

/* (TAG "a" MAILBOX name UIDVALIDITY 1) UID ALL 1:5, or without a name of the selected one */
static bool is_own_esearch(const struct imap_remote *r, struct str rest)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct scan s = scan_of(rest);

	scan_need_str(&s, STR("(TAG "));
	imap_astring(&s, &a);
	if (scan_take(&s, ')'))
		return is_selected_there(r);
	scan_need_str(&s, STR(" MAILBOX "));
	if (!take_own_name(r, &s))
		return false;
	scan_need_str(&s, STR(" UIDVALIDITY "));
	scan_u32(&s);
	return scan_take(&s, ')');
}

static bool is_own_sentence(const struct imap_remote *r, struct str rest)
{
	struct scan s = scan_of(rest);
	size_t n = 0;

	if (!scan_take(&s, '['))
		return true;
	rest = scan_rest(&s);
	while (n < rest.n && rest.p[n] != ' ' && rest.p[n] != ']')
		n++;
	return is_in(r, told_codes, COUNT_OF(told_codes), str_sub(rest, 0, n), STR_NONE);
}

/* May the client hear this? */
static bool may_be_told(const struct imap_remote *r, struct str line)
{
	struct scan s = scan_of(line);
	struct str word, rest;

	if (!scan_take_str(&s, STR("* ")))
		return false;
	if (chr_digit((char)scan_peek(&s))) {
		scan_u32(&s);
		scan_need(&s, ' ');
		str_cut(scan_rest(&s), ' ', &word, &rest);
		return !s.failed && is_in(r, told_numbers, COUNT_OF(told_numbers), word, rest);
	}
	str_cut(scan_rest(&s), ' ', &word, &rest);
	if (str_ieq(word, STR("LIST")))
		return is_own_list(r, rest);
	if (str_ieq(word, STR("ESEARCH")))
		return is_own_esearch(r, rest);
	if (str_ieq(word, STR("OK")) || str_ieq(word, STR("NO")) || str_ieq(word, STR("BAD")))
		return is_own_sentence(r, rest);
	return is_in(r, told_words, COUNT_OF(told_words), word, rest);
}

/* "* OK [UIDVALIDITY 12] …" */
static void note_validity(struct imap_remote *r, struct str line)
{
	struct scan s = scan_of(line);

	if (scan_take_istr(&s, STR("* OK [UIDVALIDITY ")))
		r->uidvalidity = scan_u32(&s);
}

static void tell(struct imap_remote *r, struct str bytes)
{
	buf_add(&r->s->out, bytes);
	imap_spill(r->s);
}

/* The rest of a response whose first bytes are told: to the end of its last line, through its literals. tail: its last bytes so far. */
static enum err tell_rest(struct imap_remote *r, struct str tail, bool ends_line)
{
	char room[TAIL_MAX];
	size_t n = 0;
	struct imap_literal l;
	struct str piece;

	for (;;) {
		struct str last = tail.n > TAIL_MAX ? str_from(tail, tail.n - TAIL_MAX) : tail;
		if (n + last.n > TAIL_MAX) {
			size_t drop = n + last.n - TAIL_MAX;
			memmove(room, room + drop, n - drop);
			n -= drop;
		}
		memcpy(room + n, last.p, last.n);
		n += last.n;
		if (ends_line) {
			struct str line = str_make(room, n);
			while (line.n > 0 && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
				line.n--;
			if (!imap_literal_announced(line, &l))
				return ERR_OK;
			for (uint64_t left = l.n; left > 0; left -= piece.n) {
				TRY(link_read(r->link, left < IMAP_OUT_PIECE ? (size_t)left : IMAP_OUT_PIECE, &piece));
				tell(r, piece);
			}
			n = 0;
		}
		TRY(link_part(r->link, IMAP_OUT_PIECE, &tail, &ends_line));
		tell(r, tail);
	}
}

/* Our command there has the tag of the client's here: answers may name it (RFC 9051 §7.3.4). */
static bool is_tagged(const struct imap_remote *r, struct str line)
{
	struct str tag = r->s->cmd.tag;

	return tag.n > 0 && str_starts(line, tag) && line.n > tag.n && line.p[tag.n] == ' ';
}

enum err imap_remote_line(struct imap_remote *r, bool (*wants)(struct str line), struct str *line)
{
	CLEANUP(buf_free) struct buf head = BUF(REMOTE_HEAD_MAX + FRAME_MAX);

	for (;;) {
		bool ends_line = false;
		struct str piece;
		buf_reset(&head);
		while (!ends_line && head.n < REMOTE_HEAD_MAX) {
			TRY(link_part(r->link, REMOTE_HEAD_MAX, &piece, &ends_line));
			buf_add(&head, piece);
		}
		struct str text = buf_str(&head);
		while (ends_line && text.n > 0 && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
			text.n--;
		if (str_starts(text, STR("* BYE")) || (ends_line && (is_tagged(r, text) || (wants != NULL && wants(text) && (text.p[0] != '*' || may_be_told(r, text)))))) {
			r->is_unshared |= str_starts(text, STR("* BYE [NOPERM]"));
			*line = str_copy(&r->s->cmd.arena, text);
			return ends_line ? ERR_OK : ERR_LIMIT;
		}
		if (str_starts(text, STR("+")) && ends_line)
			continue;  /* leave to send what we have sent already */
		if ((str_starts(text, STR("* ENABLED")) || str_starts(text, STR("* CAPABILITY")) || str_starts(text, STR("* LANGUAGE"))) && ends_line)
			continue;  /* our own is what counts */
		if (!may_be_told(r, text))
			return ERR_INVALID;
		note_validity(r, text);
		tell(r, buf_str(&head));
		r->is_cut = true;  /* until the whole of it is there */
		TRY(tell_rest(r, buf_str(&head), ends_line));
		r->is_cut = false;
	}
}

/* Whoever comes back in a minute is told so; only where the owner's cell speaks of rights it is not worth trying. */
static struct imap_reply not_let_in(struct imap_cmd *c, bool is_unshared)
{
	return is_unshared ? imap_no(c, "NOPERM", "the owner's account does not let you in")
	                   : imap_no(c, "UNAVAILABLE", "the owner's account cannot be reached at the moment; please try again later");
}

struct imap_reply imap_remote_gone(struct imap_remote *r, struct imap_cmd *c)
{
	bool is_unshared = r->is_unshared || (r->link == NULL && r->why == ERR_NOTFOUND);
	const char *bye = is_unshared ? "* BYE [NOPERM] the owner does not share this mailbox with you any more; please connect again\r\n"
	                              : "* BYE [UNAVAILABLE] the selected mailbox of another account cannot be reached any more; please connect again\r\n";

	if (r->is_busy) {
		r->is_busy = false;
		return imap_no(c, "INUSE", "too many of your programs use mailboxes of others at the moment; please try again");
	}
	r->is_lost = true;
	if (r->is_cut)
		return (struct imap_reply){ .status = IMAP_CUT };
	if (r != r->s->remote)
		return not_let_in(c, is_unshared);
	imap_flush(r->s);
	session_write(r->s->s, str_of(imap_in(r->s->tongue.lang, bye)));
	return (struct imap_reply){ .status = IMAP_NO, .text = STR("[UNAVAILABLE] the other account cannot be reached any more"), .is_last = true };
}

/* Without a code that speaks for the server: people are shown an [ALERT] (RFC 9051 §7.1). */
static struct str without_alarm(struct str text)
{
	static const struct str codes[] = { { "[ALERT", 6 }, { "[CAPABILITY", 11 }, { "[REFERRAL", 9 } };
	struct scan s;

	for (size_t i = 0; i < COUNT_OF(codes); i++) {
		if (!str_istarts(text, codes[i]))
			continue;
		s = scan_of(text);
		scan_until(&s, ']');
		scan_take_str(&s, STR("] "));
		return scan_rest(&s);
	}
	return text;
}

/* "A OK text" */
struct imap_reply imap_remote_reply(struct imap_cmd *c, struct str line)
{
	static const struct { struct str word; enum imap_status status; } words[] = { { { "OK ", 3 }, IMAP_OK }, { { "NO ", 3 }, IMAP_NO }, { { "BAD ", 4 }, IMAP_BAD } };
	struct str tag, rest;

	str_cut(line, ' ', &tag, &rest);
	if (str_starts(line, STR("* BYE")))
		return not_let_in(c, str_starts(line, STR("* BYE [NOPERM]")));
	for (size_t i = 0; i < COUNT_OF(words); i++)
		if (str_starts(rest, words[i].word) && rest.n <= REMOTE_REPLY_MAX)
			return (struct imap_reply){ .status = words[i].status, .text = without_alarm(str_from(rest, words[i].word.n)) };
	return imap_no(c, "SERVERBUG", "the owner's account gave an answer that makes no sense");
}

static struct imap_reply answer(struct imap_remote *r, struct imap_cmd *c, enum err e, struct str line)
{
	if (e != ERR_OK)
		return imap_remote_gone(r, c);
	r->came_again = false;
	if (!str_starts(line, STR("* BYE")))
		return imap_remote_reply(c, line);
	r->is_lost = true;
	return r == r->s->remote ? imap_remote_gone(r, c) : imap_remote_reply(c, line);
}

struct imap_reply imap_remote_answer(struct imap_remote *r, struct imap_cmd *c)
{
	struct str line = STR_NONE;

	return answer(r, c, r->link == NULL ? ERR_CLOSED : imap_remote_line(r, NULL, &line), line);
}

static enum err ask(struct imap_remote *r, struct imap_cmd *c, struct str text, struct str *line)
{
	struct link *link = imap_remote_link(r);

	if (link == NULL)
		return ERR_CLOSED;
	TRY(link_send(link, arena_printf(&c->arena, STR_FMT " " STR_FMT "\r\n", STR_ARG(c->tag), STR_ARG(text))));
	return imap_remote_line(r, NULL, line);
}

static struct imap_reply say_once(struct imap_remote *r, struct imap_cmd *c, struct str text)
{
	struct str line = STR_NONE;
	enum err e;

	do
		e = ask(r, c, text, &line);
	while (e != ERR_OK && imap_remote_comes_again(r));
	return answer(r, c, e, line);
}

bool imap_remote_is_busy(const struct imap_reply *reply) { return reply->status == IMAP_NO && !reply->is_last && str_starts(reply->text, STR("[INUSE]")); }

bool imap_remote_tries_again(struct imap_remote *r, const struct imap_reply *reply, int64_t *until_ms)
{
	int64_t now_ms = clock_mono_ms();

	if (*until_ms == 0)
		*until_ms = now_ms + BUSY_MS;
	if (!imap_remote_is_busy(reply) || r->link == NULL || session_is_dead(r->s->s) || now_ms >= *until_ms)
		return false;
	session_will_wait(r->s->s);
	poll(NULL, 0, BUSY_PAUSE_MS);
	return true;
}

struct imap_reply imap_remote_command(struct imap_remote *r, struct imap_cmd *c, struct str text)
{
	struct imap_reply reply;
	int64_t until_ms = 0;

	do
		reply = say_once(r, c, text);
	while (imap_remote_tries_again(r, &reply, &until_ms));
	return reply;
}

struct imap_remote *imap_remote_for(struct imap_session *s, struct imap_cmd *c, struct str address, struct imap_remote **temporary,
                                    struct imap_reply *reply)
{
	enum err e;

	*temporary = NULL;
	if (s->remote != NULL && str_ieq(s->remote->address, address))
		return s->remote;
	if (s->account->others == NULL)
		e = ERR_NOTFOUND;
	else
		e = imap_remote_open(s, address, temporary);
	if (e != ERR_OK)
		*reply = imap_err(c, e);
	return *temporary;
}
