/* NOTIFY (RFC 5465): a client says once what it wants to hear of, in the selected mailbox and in others, and hears it at any time, without
 * IDLE. Here is what it says, and how that is written into a parked record; notify_news.c says what is told.
 *
 * A group that says NONE takes its mailboxes out of all other groups: nothing else could be meant by it. */
#include "imap/notify_private.h"
#include "imap/remote.h"
#include "base/mem.h"
#include "base/wire.h"

static const struct { const char *word; unsigned bit; } events[] = {
	{ "MessageNew", NOTIFY_NEW }, { "MessageExpunge", NOTIFY_EXPUNGE }, { "FlagChange", NOTIFY_FLAGS }, { "MailboxName", NOTIFY_NAME },
	{ "SubscriptionChange", NOTIFY_SUBSCRIPTION }, { "MailboxMetadataChange", NOTIFY_METADATA },
	{ "ServerMetadataChange", NOTIFY_SERVER_METADATA } };
enum { EVENTS_ALL = (1 << COUNT_OF(events)) - 1 };

struct parsing {
	struct imap_session *s;
	struct imap_cmd     *c;
	struct notify_group  groups[NOTIFY_GROUPS_MAX];
	size_t               n;
	bool                 has_selected, is_unknown_event;
	struct str           items;      /* as they stand in the command */
};

struct imap_notify *notify_new(void) { return MEM_NEW(struct imap_notify); }

void notify_free(struct imap_notify *n)
{
	if (n == NULL)
		return;
	arena_free(&n->arena);
	mem_free(n);
}

unsigned notify_events(const struct imap_notify *n, struct str path, bool is_subscribed)
{
	unsigned all = 0;

	for (size_t i = 0; i < n->n; i++) {
		if (!filter_matches(&n->groups[i].filter, path, is_subscribed))
			continue;
		if (n->groups[i].events == 0)
			return 0;
		all |= n->groups[i].events;
	}
	return all;
}

bool notify_wants(const struct imap_notify *n, unsigned wanted)
{
	for (size_t i = 0; i < n->n; i++)
		if (n->groups[i].filter.kind > FILTER_SELECTED_DELAYED && (n->groups[i].events & wanted))
			return true;
	return false;
}

/* ---------------------------------------------------------------------------------------------------------- parsing */

static void refuse(struct imap_cmd *c, const char *why)
{
	if (!c->args.failed)
		c->why = why;
	scan_fail(&c->args);
}

/* [SP "(" fetch-att *(SP fetch-att) ")"] behind MessageNew */
static void parse_items(struct parsing *p, bool is_selected)
{
	struct imap_cmd *c = p->c;
	struct scan before = c->args;
	struct fetch ignored = { 0 };

	if (!scan_take(&before, ' ') || scan_peek(&before) != '(')
		return;
	c->args = before;
	if (!is_selected)
		refuse(c, "only SELECTED and SELECTED-DELAYED can say what to fetch of new messages (RFC 5465 section 8)");
	struct str rest = scan_rest(&c->args);
	fetch_parse_items(p->s, c, &ignored);
	p->items = str_sub(rest, 0, rest.n - scan_rest(&c->args).n);
	if (p->items.n > NOTIFY_ITEMS_MAX)
		refuse(c, "these are too many items for new messages");
}

static unsigned parse_event(struct parsing *p, bool is_selected)
{
	struct imap_cmd *c = p->c;

	for (size_t i = 0; i < COUNT_OF(events); i++) {
		if (!imap_word(&c->args, events[i].word))
			continue;
		if (is_selected && !(events[i].bit & NOTIFY_MESSAGES))
			refuse(c, "SELECTED takes MessageNew, MessageExpunge and FlagChange only (RFC 5465 section 6.1)");
		if (events[i].bit == NOTIFY_NEW)
			parse_items(p, is_selected);
		return events[i].bit;
	}
	imap_atom(&c->args);
	p->is_unknown_event = true;
	return NOTIFY_NEW | NOTIFY_EXPUNGE;  /* refused anyway; not for what is missing beside it */
}

/* events = "(" event *(SP event) ")" / "NONE" */
static unsigned parse_events(struct parsing *p, bool is_selected)
{
	struct imap_cmd *c = p->c;
	unsigned all = 0;

	if (imap_word(&c->args, "NONE"))
		return 0;
	scan_need(&c->args, '(');
	do
		all |= parse_event(p, is_selected);
	while (!c->args.failed && scan_take(&c->args, ' '));
	scan_need(&c->args, ')');
	if (!(all & NOTIFY_NEW) != !(all & NOTIFY_EXPUNGE))
		refuse(c, "MessageNew and MessageExpunge are asked for together (RFC 5465 section 5)");
	if ((all & NOTIFY_FLAGS) && !(all & NOTIFY_NEW))
		refuse(c, "FlagChange needs MessageNew and MessageExpunge beside it (RFC 5465 section 5)");
	return all;
}

/* event-group = "(" filter-mailboxes SP events ")" */
static void parse_group(struct parsing *p)
{
	const unsigned kinds = (1u << FILTER_KINDS) - 1 - (1u << FILTER_SUBTREE_ONE);
	struct imap_cmd *c = p->c;
	struct notify_group g = { 0 };

	scan_need(&c->args, '(');
	filter_parse(p->s, c, kinds, &g.filter);
	imap_sp(&c->args);
	bool is_selected = g.filter.kind == FILTER_SELECTED || g.filter.kind == FILTER_SELECTED_DELAYED;
	if (is_selected && p->has_selected)
		refuse(c, "SELECTED or SELECTED-DELAYED, one of them, once (RFC 5465 section 6.1)");
	p->has_selected |= is_selected;
	if (!c->args.failed)
		g.events = parse_events(p, is_selected);
	scan_need(&c->args, ')');
	if (p->n == NOTIFY_GROUPS_MAX)
		refuse(c, "[NOTIFICATIONOVERFLOW] at most 50 groups of mailboxes can be watched; PERSONAL is all of them");
	if (!c->args.failed)
		p->groups[p->n++] = g;
}

/* Into memory that lasts. */
static struct imap_notify *keep(const struct parsing *p)
{
	struct imap_notify *n = notify_new();
	size_t names = 0;

	n->groups = arena_array(&n->arena, p->n, sizeof *n->groups);
	n->n = p->n;
	n->items = str_copy(&n->arena, p->items);
	for (size_t i = 0; i < p->n; i++) {
		struct notify_group *g = &n->groups[i];
		*g = p->groups[i];
		g->filter.names = arena_array(&n->arena, g->filter.n_names, sizeof *g->filter.names);
		for (size_t k = 0; k < g->filter.n_names; k++, names++)
			g->filter.names[k] = str_copy(&n->arena, p->groups[i].filter.names[k]);
		if (g->filter.kind <= FILTER_SELECTED_DELAYED) {
			n->selected = g->events;
			n->is_delayed = g->filter.kind == FILTER_SELECTED_DELAYED;
		}
	}
	if (names <= FILTER_NAMES_MAX)
		return n;
	notify_free(n);
	return NULL;
}

bool notify_parse_items(struct imap_session *s, struct imap_notify *n)
{
	struct imap_cmd c = { .args = scan_of(n->items), .arena = n->arena };
	bool is_ok;

	n->fetch = (struct fetch){ 0 };
	fetch_parse_items(s, &c, &n->fetch);
	n->fetch.sets_seen = false;  /* what comes unasked was not read by anybody (RFC 5465 §5.2) */
	is_ok = imap_arg_end(&c);
	n->arena = c.arena;
	return is_ok;
}

static struct imap_reply bad_event(struct imap_cmd *c)
{
	struct str names = STR("");

	for (size_t i = 0; i < COUNT_OF(events); i++)
		names = arena_printf(&c->arena, STR_FMT "%s%s", STR_ARG(names), i ? " " : "", events[i].word);
	return imap_no(c, str_cstr(&c->arena, arena_printf(&c->arena, "BADEVENT (" STR_FMT ")", STR_ARG(names))), "these events can be told");
}

static void install(struct imap_session *s, struct imap_notify *n)
{
	notify_free(s->notify);
	s->notify = n;
}

struct str notify_of_selected(const struct imap_notify *n, struct arena *a)
{
	if (n->selected == 0)
		return STR("NOTIFY NONE");
	return arena_printf(a, "NOTIFY SET (%s (MessageNew%s" STR_FMT " MessageExpunge%s))", n->is_delayed ? "SELECTED-DELAYED" : "SELECTED",
	                    n->items.n > 0 ? " " : "", STR_ARG(n->items), n->selected & NOTIFY_FLAGS ? " FlagChange" : "");
}

/* The mailbox that is selected is in another account: its cell says what happens there. */
static struct imap_reply tell_owner(struct imap_session *s, struct imap_cmd *c, const struct imap_notify *n)
{
	if (s->remote == NULL)
		return (struct imap_reply){ .status = IMAP_OK };
	return imap_remote_command(s->remote, c, notify_of_selected(n, &c->arena));
}

/* NOTIFY SET: what has happened so far is told as ever, then the new rules hold. What others share is compared before: what is found by that is
 * nothing new to this client. */
static struct imap_reply set(struct imap_session *s, struct imap_cmd *c, struct imap_notify *n, bool wants_status)
{
	struct imap_reply there = tell_owner(s, c, n);
	enum err e = ERR_OK;

	if (there.status != IMAP_OK) {
		notify_free(n);
		return there;
	}
	if (!notify_others_begin(s, n, wants_status)) {
		notify_free(n);
		return (struct imap_reply){ .status = IMAP_CUT };
	}
	install(s, NULL);
	if (!imap_send_news(s, true, &c->arena)) {
		notify_free(n);
		return (struct imap_reply){ .status = IMAP_NO, .text = STR("the mailbox is gone"), .is_last = true };
	}
	install(s, n);
	n->told = view_modseq(s->view);
	if (n->items.n > 0 && !notify_parse_items(s, n))
		return imap_bad(c, "items of FETCH");  /* was well formed a moment ago */
	if (wants_status)
		e = notify_put_status(s, n);
	return e == ERR_OK ? imap_ok(c, "you will hear of these") : imap_err(c, e);
}

/* "NOTIFY" SP ("NONE" / "SET" [SP "STATUS"] SP event-group *(SP event-group))                          RFC 5465 §3.1, §8 */
struct imap_reply imap_notify(struct imap_session *s, struct imap_cmd *c)
{
	struct parsing *p = ARENA_NEW(&c->arena, struct parsing);
	struct imap_notify *n;
	bool wants_status = false;

	*p = (struct parsing){ .s = s, .c = c };
	if (imap_word(&c->args, "NONE")) {
		if (!imap_arg_end(c))
			return imap_bad(c, "NONE");
		n = notify_new();
		struct imap_reply there = tell_owner(s, c, n);
		install(s, n);
		return there.status == IMAP_OK ? imap_ok(c, "you will hear of nothing") : there;
	}
	if (!imap_word(&c->args, "SET"))
		scan_fail(&c->args);
	imap_sp(&c->args);
	if (imap_word(&c->args, "STATUS")) {
		wants_status = true;
		imap_sp(&c->args);
	}
	do
		parse_group(p);
	while (!c->args.failed && scan_take(&c->args, ' '));
	if (!imap_arg_end(c))
		return imap_bad(c, "NONE, or SET [STATUS] (mailboxes (events)) …");
	if (p->is_unknown_event)
		return bad_event(c);
	n = keep(p);
	if (n == NULL)
		return imap_no(c, "NOTIFICATIONOVERFLOW", "at most %d mailboxes can be named; SUBTREE and PERSONAL name many at once", FILTER_NAMES_MAX);
	if (s->guest != NULL && !notify_is_for_guest(n)) {
		notify_free(n);
		return imap_no(c, "CANNOT", "a guest hears of messages in mailboxes that he names, and in the selected one");
	}
	return set(s, c, n, wants_status);
}

/* ---------------------------------------------------------------------------------------------------------- parked */

bool notify_is_for_guest(const struct imap_notify *n)
{
	for (size_t i = 0; i < n->n; i++) {
		const struct notify_group *g = &n->groups[i];
		bool is_selected = g->filter.kind == FILTER_SELECTED || g->filter.kind == FILTER_SELECTED_DELAYED;
		bool is_named = g->filter.kind == FILTER_MAILBOXES || g->filter.kind == FILTER_SUBTREE || g->filter.kind == FILTER_PERSONAL;
		if ((!is_selected && !is_named) || (g->events & ~(unsigned)NOTIFY_MESSAGES))
			return false;
	}
	return n->n_owners == 0;
}

void notify_put(struct buf *b, const struct imap_notify *n)
{
	put_u64(b, n->told);
	put_u8(b, (uint8_t)n->selected);
	put_bool(b, n->is_delayed);
	put_str(b, n->items);
	put_u8(b, (uint8_t)n->n);
	for (size_t i = 0; i < n->n; i++) {
		const struct filter *f = &n->groups[i].filter;
		put_u8(b, (uint8_t)f->kind);
		put_u8(b, (uint8_t)n->groups[i].events);
		put_u16(b, (uint16_t)f->n_names);
		for (size_t k = 0; k < f->n_names; k++)
			put_str(b, f->names[k]);
	}
	put_u8(b, (uint8_t)n->n_owners);
	for (size_t i = 0; i < n->n_owners; i++) {
		put_u64(b, n->owners[i].account);
		put_u64(b, n->owners[i].told);
	}
}

static void get_group(struct scan *s, struct arena *a, struct notify_group *g)
{
	uint8_t kind = get_u8(s), bits = get_u8(s);
	uint16_t n = get_u16(s);

	if (kind >= FILTER_KINDS || bits > EVENTS_ALL || n > FILTER_NAMES_MAX)
		scan_fail(s);
	if (s->failed)
		return;
	*g = (struct notify_group){ .filter = { .kind = (enum filter_kind)kind, .n_names = n }, .events = bits };
	g->filter.names = arena_array(a, n, sizeof *g->filter.names);
	for (size_t k = 0; k < n; k++)
		g->filter.names[k] = str_copy(a, get_str(s, 2 * MAILBOX_PATH_MAX));
}

bool notify_get(struct str bytes, struct imap_notify *n)
{
	struct scan s = scan_of(bytes);

	n->told = get_u64(&s);
	n->selected = get_u8(&s);
	n->is_delayed = get_bool(&s);
	n->items = str_copy(&n->arena, get_str(&s, NOTIFY_ITEMS_MAX));
	n->n = get_u8(&s);
	if (s.failed || n->n > NOTIFY_GROUPS_MAX || (n->selected & ~(unsigned)NOTIFY_MESSAGES))
		return false;
	n->groups = arena_array(&n->arena, n->n, sizeof *n->groups);
	for (size_t i = 0; i < n->n; i++)
		get_group(&s, &n->arena, &n->groups[i]);
	n->n_owners = get_u8(&s);
	if (s.failed || n->n_owners > NOTIFY_OWNERS_MAX)
		return false;
	n->owners = n->n_owners > 0 ? arena_array(&n->arena, NOTIFY_OWNERS_MAX, sizeof *n->owners) : NULL;
	for (size_t i = 0; i < n->n_owners; i++) {
		n->owners[i].account = get_u64(&s);
		n->owners[i].told = get_u64(&s);
	}
	return get_end(&s);
}
