/* The names that other accounts share, for LIST. control knows who shares anything with this account, so that no other cell is woken; each of those
 * is asked for what its guest may see. One that does not answer is left out: the client's own mailboxes are not to suffer for it. Nor does one
 * that has been broken into and answers for ever: what is read has a limit, and so has the time. */
#include "imap/remote.h"
#include "base/clock.h"

/* Of all owners together, but for OWNER_MS; LINES_MAX: for each name, STATUS and MYRIGHTS. */
enum { NAMES_MAX = 20000, BYTES_MAX = 8 << 20, LINES_MAX = 2, OWNER_MS = 10000, LIST_MS = 30000 };

struct listing {
	struct imap_session *s;
	struct imap_cmd *c;
	struct imap_remote_name *names;
	size_t n, cap, bytes;
	int64_t until_ms;
};

static bool is_listed(struct str line) { return str_starts(line, STR("* LIST (")) || str_starts(line, STR("* STATUS ")) || str_starts(line, STR("* MYRIGHTS ")); }

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
		bool is_there = str_starts(before, parent) && (before.n == parent.n || before.p[parent.n] == MAILBOX_SEPARATOR);
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
	if (scan.failed || !imap_is_other(path, &address) || !str_ieq(address, r->address) || path.n > MAILBOX_PATH_MAX + REMOTE_ADDRESS_MAX + 20)
		return;
	add_parents(l, path);
	add(l, (struct imap_remote_name){
		.path = path, .is_noselect = has_attribute(attributes, STR("\\Noselect")), .has_children = has_attribute(attributes, STR("\\HasChildren")),
	});
}

static void ask(struct listing *l, struct imap_remote *r, struct str returns)
{
	struct link *link = imap_remote_link(r);
	CLEANUP(buf_free) struct buf ask = BUF(4096);
	int64_t until_ms = clock_mono_ms() + OWNER_MS;
	size_t first = l->n, lines = 0;
	struct str line;

	buf_printf(&ask, STR_FMT " LIST \"\" (", STR_ARG(l->c->tag));
	imap_put_string(&ask, arena_printf(&l->c->arena, IMAP_OTHERS "/" STR_FMT "/*", STR_ARG(r->address)), imap_names_utf8(l->s->tongue));
	buf_printf(&ask, ") RETURN (CHILDREN%s" STR_FMT ")\r\n", returns.n ? " " : "", STR_ARG(returns));
	if (link == NULL)
		return;
	link_hurry(link, until_ms < l->until_ms ? until_ms : l->until_ms);
	if (link_send(link, buf_str(&ask)) != ERR_OK)
		return;
	while (l->bytes < BYTES_MAX && imap_remote_line(r, is_listed, &line) == ERR_OK && is_listed(line)) {
		l->bytes += line.n;
		lines = str_starts(line, STR("* LIST (")) ? 0 : lines + 1;
		if (lines == 0)
			add_name(l, r, line);
		else if (l->n > first && lines <= LINES_MAX)
			l->names[l->n - 1].lines = arena_printf(&l->c->arena, STR_FMT STR_FMT "\r\n", STR_ARG(l->names[l->n - 1].lines), STR_ARG(line));
	}
}

void imap_remote_names(struct imap_session *s, struct imap_cmd *c, int levels, struct str returns, struct imap_remote_name **out, size_t *n)
{
	const struct others *others = s->account->others;
	struct listing l = { .s = s, .c = c, .until_ms = clock_mono_ms() + LIST_MS };
	struct share_owner *owners = NULL;
	size_t n_owners = 0;

	*out = NULL;
	*n = 0;
	if (others == NULL || s->guest != NULL || levels == 0)
		return;
	session_will_wait(s->s);
	if (others->list(others->context, &c->arena, &owners, &n_owners) != ERR_OK)
		return;  /* control is not there for the moment */
	for (size_t i = 0; i < n_owners && i < REMOTE_OWNERS_MAX && !session_is_dead(s->s); i++) {
		CLEANUP(imap_remote_close) struct imap_remote *r = imap_remote_new(s, owners[i].account, owners[i].address);
		add_parents(&l, arena_printf(&c->arena, IMAP_OTHERS "/" STR_FMT "/", STR_ARG(owners[i].address)));
		if (levels > 2 && clock_mono_ms() < l.until_ms)
			ask(&l, r, returns);
	}
	*out = l.names;
	*n = l.n;
}
