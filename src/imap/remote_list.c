/* The names that other accounts share, for LIST. control knows who shares anything with this account, so that no other cell is woken; each of those
 * is asked for what its guest may see. The client's own mailboxes are not to suffer from one that does not answer, nor from one
 * that has been broken into and answers for ever: what is read has a limit, and so has the time.
 *
 * Who does not answer now is listed as he answered last (store/shared_names.h), and the client is told so by an untagged NO. For a program that
 * synchronises takes a name that is missing for a mailbox that was deleted, and may delete its own copy (mbsync, "Remove Near"). What was never heard
 * cannot be missed. What was too much to be kept can: then the command itself ends with NO.
 *
 * NOTIFY asks for a word that stands for all of them before it asks for the names. */
#include "imap/remote.h"
#include "base/clock.h"

/* Of all owners together, but for OWNER_MS. */
enum { NAMES_MAX = 20000, BYTES_MAX = 8 << 20, OWNER_MS = 10000, LIST_MS = 30000 };

struct listing {
	struct imap_session *s;
	struct imap_cmd *c;
	struct imap_remote_name *names;
	size_t n, cap, bytes;
	int64_t until_ms;
	struct shared_names *kept;
	size_t n_kept;
	bool   lacks;               /* names that were listed before */
};

/* What an owner says: a name, and what belongs to it, each once. */
static const struct str listed_words[] = { { "* LIST (", 8 }, { "* STATUS ", 9 }, { "* MYRIGHTS ", 11 }, { "* METADATA ", 11 } };

static size_t word_of(struct str line)
{
	size_t i = 0;

	while (i < COUNT_OF(listed_words) && !str_starts(line, listed_words[i]))
		i++;
	return i;
}

static bool is_listed(struct str line) { return word_of(line) < COUNT_OF(listed_words); }

static bool has_attribute(struct str attributes, struct str word)
{
	struct str one;

	while (attributes.n > 0) {
		str_cut(attributes, ' ', &one, &attributes);
		if (str_ieq(one, word))
			return true;
	}
	return false;
}

static void add(struct listing *l, struct imap_remote_name name)
{
	if (l->n >= NAMES_MAX)
		return;
	l->names = arena_grow(&l->c->arena, l->names, l->n, &l->cap, sizeof *l->names);
	l->names[l->n++] = name;
}

/* What lies above a name and was not listed: who is let into a mailbox is told where it is. All below it comes behind it, so what the name before
 * is in, or is, is there already. */
static void add_parents(struct listing *l, struct str path)
{
	for (size_t i = 0; i < path.n; i++) {
		struct str parent = str_sub(path, 0, i), before = l->n > 0 ? l->names[l->n - 1].path : STR_NONE;
		bool is_there = str_starts(before, parent) && (before.n == parent.n || before.p[parent.n] == MAILBOX_SEPARATOR);  /* NOLINT: n > 0 has a p */
		if (path.p[i] == MAILBOX_SEPARATOR && !is_there)
			add(l, (struct imap_remote_name){ .path = parent, .is_noselect = true, .has_children = true });
	}
}

/* * LIST (\HasNoChildren) "/" name */
static void add_name(struct listing *l, struct imap_remote *r, struct str line)
{
	struct scan scan = scan_of(line);
	struct str attributes, path, address;

	scan_need_str(&scan, STR("* LIST ("));
	attributes = scan_until(&scan, ')');
	scan_need_str(&scan, STR(") \"/\" "));
	path = imap_mailbox(&scan, &l->c->arena, imap_names_utf8(l->s->tongue));
	if (scan.failed || !imap_is_other(path, &address) || !str_ieq(address, r->address) || path.n > REMOTE_NAME_MAX)
		return;
	add_parents(l, path);
	add(l, (struct imap_remote_name){
		.path = path, .is_noselect = has_attribute(attributes, STR("\\Noselect")), .has_children = has_attribute(attributes, STR("\\HasChildren")),
	});
}

/* A note may be a literal, and what stands behind it belongs to the same answer. */
static enum err take_whole(struct listing *l, struct imap_remote *r, struct str line, struct buf *whole)
{
	struct imap_literal literal;
	struct str piece;

	for (;;) {
		buf_add(whole, line);
		buf_add_cstr(whole, "\r\n");
		l->bytes += line.n;
		if (!imap_literal_announced(line, &literal))
			return whole->failed ? ERR_LIMIT : ERR_OK;
		if (l->bytes >= BYTES_MAX || literal.n > BYTES_MAX - l->bytes)
			return ERR_LIMIT;
		l->bytes += literal.n;
		for (uint64_t left = literal.n; left > 0; left -= piece.n) {
			TRY(link_read(r->link, (size_t)left, &piece));
			buf_add(whole, piece);
		}
		TRY(link_line(r->link, IMAP_LINE_MAX, &line));
	}
}

/* What belongs to the name before it; NULL: to none. */
static enum err add_lines(struct listing *l, struct imap_remote *r, struct str line, struct imap_remote_name *name)
{
	CLEANUP(buf_free) struct buf whole = BUF(BYTES_MAX);

	TRY(take_whole(l, r, line, &whole));
	if (name != NULL)
		name->lines = arena_printf(&l->c->arena, STR_FMT STR_FMT, STR_ARG(name->lines), STR_ARG(buf_str(&whole)));
	return ERR_OK;
}

/* True: that was all of it. */
static bool ask_once(struct listing *l, struct imap_remote *r, struct str returns)
{
	struct link *link = imap_remote_link(r);
	CLEANUP(buf_free) struct buf ask = BUF(4096 + METADATA_ENTRIES_TEXT_MAX);
	int64_t until_ms = clock_mono_ms() + OWNER_MS;
	size_t first = l->n;
	unsigned said = 0;
	struct str line;

	buf_printf(&ask, STR_FMT " LIST \"\" (", STR_ARG(l->c->tag));
	imap_put_string(&ask, arena_printf(&l->c->arena, IMAP_OTHERS "/" STR_FMT "/*", STR_ARG(r->address)), imap_names_utf8(l->s->tongue));
	buf_printf(&ask, ") RETURN (CHILDREN" STR_FMT ")\r\n", STR_ARG(returns));
	if (link == NULL)
		return false;
	link_hurry(link, until_ms < l->until_ms ? until_ms : l->until_ms);
	if (link_send(link, buf_str(&ask)) != ERR_OK)
		return false;
	while (l->bytes < BYTES_MAX && l->n < NAMES_MAX && imap_remote_line(r, is_listed, &line) == ERR_OK) {
		if (!is_listed(line))
			return !str_starts(line, STR("*")) && imap_remote_reply(l->c, line).status == IMAP_OK;
		unsigned word = 1u << word_of(line);
		bool is_name = word == 1, is_new = l->n > first && (said & word) == 0;
		said = is_name ? 0 : said | word;
		if (add_lines(l, r, line, !is_name && is_new ? &l->names[l->n - 1] : NULL) != ERR_OK)
			return false;
		if (is_name)
			add_name(l, r, line);
	}
	return false;
}

static bool ask(struct listing *l, struct imap_remote *r, struct str returns)
{
	bool is_heard;

	do
		is_heard = ask_once(l, r, returns);
	while (!is_heard && imap_remote_comes_again(r));
	return is_heard;
}

/* ------------------------------------------------------------------------------------------------- what was heard before */

static const struct shared_names *kept_of(const struct listing *l, const struct share_owner *owner)
{
	for (size_t i = 0; i < l->n_kept; i++)
		if (l->kept[i].owner == owner->account && str_ieq(l->kept[i].address, owner->address))
			return &l->kept[i];
	return NULL;
}

/* Who shares nothing any more is not missed. */
static void forget_others(struct listing *l, const struct share_owner *owners, size_t n)
{
	for (size_t i = 0; i < l->n_kept; i++) {
		bool is_there = false;
		for (size_t k = 0; k < n; k++)
			is_there |= owners[k].account == l->kept[i].owner;
		if (!is_there)
			remote_names_forget(l->s, &l->kept[i]);
	}
}

/* Instead of what he has not said, or not all of. */
static void recall(struct listing *l, const struct share_owner *owner, size_t first)
{
	const struct shared_names *kept = kept_of(l, owner);
	struct imap_remote_name *names;
	size_t n;

	l->lacks |= remote_names_are_too_many(kept);
	bool is_known = remote_names_get(kept, &l->c->arena, &names, &n) && kept != NULL;
	if (is_known)
		l->n = first;
	for (size_t i = 0; is_known && i < n; i++)
		add(l, names[i]);
	enum lang lang = l->s->tongue.lang;
	if (is_known)
		buf_printf(&l->s->out, imap_in(lang, "* NO [UNAVAILABLE] the account of " STR_FMT " does not answer at the moment; its mailboxes are listed as they were seen last\r\n"),
		           STR_ARG(owner->address));
	else
		buf_printf(&l->s->out, imap_in(lang, "* NO [UNAVAILABLE] the account of " STR_FMT " does not answer at the moment; its mailboxes are missing in this list\r\n"),
		           STR_ARG(owner->address));
}

/* control is not there: who was heard before. */
static void owners_kept(struct listing *l, struct share_owner **out, size_t *n)
{
	*out = arena_array(&l->c->arena, l->n_kept + 1, sizeof **out);
	for (size_t i = 0; i < l->n_kept; i++)
		(*out)[i] = (struct share_owner){ l->kept[i].owner, l->kept[i].address };
	*n = l->n_kept;
}

static void list_owner(struct listing *l, const struct share_owner *owner, struct str returns)
{
	CLEANUP(imap_remote_close) struct imap_remote *r = imap_remote_new(l->s, owner->account, owner->address);
	size_t first = l->n;

	if (clock_mono_ms() < l->until_ms && !session_is_dead(l->s->s) && ask(l, r, returns))
		remote_names_keep(l->s, kept_of(l, owner), owner, STR(""), &l->names[first], l->n - first);
	else if (r->is_cut)  /* half an answer has gone out */
		l->s->is_cut = true;
	else
		recall(l, owner, first);
}

/* What leads to his names; their place is returned. */
static size_t add_top(struct listing *l, const struct share_owner *owner)
{
	add_parents(l, arena_printf(&l->c->arena, IMAP_OTHERS "/" STR_FMT "/", STR_ARG(owner->address)));
	return l->n;
}

static void read_kept(struct listing *l)
{
	if (shared_names_read(l->s->view, &l->c->arena, &l->kept, &l->n_kept) != ERR_OK)
		l->n_kept = 0;
}

/* "[NAMES word] …". What happens between it and the names changes the next one. Empty: it has none, then the names are asked for. */
static struct str ask_word(struct listing *l, struct imap_remote *r)
{
	struct imap_reply reply = imap_remote_command(r, l->c, STR("NAMES"));
	struct scan s = scan_of(reply.text);
	struct str word;

	scan_need_str(&s, STR("[NAMES "));
	word = scan_until(&s, ']');
	return reply.status == IMAP_OK && !s.failed && word.n <= REMOTE_WORD_MAX ? word : STR("");
}

bool imap_remote_hear_names(struct imap_session *s, const struct share_owner *owner, int64_t until_ms)
{
	CLEANUP(imap_remote_close) struct imap_remote *r = imap_remote_new(s, owner->account, owner->address);
	struct listing l = { .s = s, .c = &s->cmd, .until_ms = until_ms };
	struct str word;
	size_t first;
	bool is_heard;

	if (clock_mono_ms() >= until_ms)
		return false;
	r->until_ms = until_ms;
	read_kept(&l);
	word = ask_word(&l, r);
	first = add_top(&l, owner);
	is_heard = word.n > 0 && str_eq(word, remote_names_word(kept_of(&l, owner)));
	if (!is_heard && ask(&l, r, STR(" STATUS (MAILBOXID)"))) {
		remote_names_keep(s, kept_of(&l, owner), owner, word, &l.names[first], l.n - first);
		is_heard = true;
	}
	s->is_cut |= r->is_cut;
	return is_heard;
}

void imap_remote_forget_names(struct imap_session *s, const struct share_owner *owners, size_t n)
{
	struct listing l = { .s = s, .c = &s->cmd };

	read_kept(&l);
	forget_others(&l, owners, n);
}

bool imap_remote_names(struct imap_session *s, struct imap_cmd *c, int levels, struct str returns, struct imap_remote_name **out, size_t *n)
{
	const struct others *others = s->account->others;
	struct listing l = { .s = s, .c = c, .until_ms = clock_mono_ms() + LIST_MS };
	struct share_owner *owners = NULL;
	size_t n_owners = 0;

	*out = NULL;
	*n = 0;
	if (others == NULL || s->guest != NULL || levels == 0)
		return true;
	session_will_wait(s->s);
	read_kept(&l);
	if (others->list(others->context, &c->arena, &owners, &n_owners) == ERR_OK)
		forget_others(&l, owners, n_owners);
	else
		owners_kept(&l, &owners, &n_owners);
	for (size_t i = 0; i < n_owners && i < REMOTE_OWNERS_MAX && !s->is_cut; i++) {
		add_top(&l, &owners[i]);
		if (levels > 2)
			list_owner(&l, &owners[i], returns);
	}
	*out = l.names;
	*n = l.n;
	return !l.lacks;
}
