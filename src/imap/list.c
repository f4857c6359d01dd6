/* LIST, with LIST-EXTENDED (RFC 5258), SPECIAL-USE (RFC 6154), LIST-STATUS (RFC 5819), LIST-METADATA (RFC 9590) and LIST-MYRIGHTS
 * (RFC 8440), and LSUB.
 *
 * Two sorted lists from the store, mailboxes and subscribed names, become one list of names; patterns choose. Parents always exist
 * (the store makes them), except those of subscriptions to mailboxes that are gone: they are listed as \NonExistent only where a
 * rule asks for it. */
#include "imap/remote.h"
#include "text/fold.h"
#include <stdlib.h>

enum { PATTERNS_MAX = 50 };
enum { SELECT_SUBSCRIBED = 1, SELECT_REMOTE = 2, SELECT_RECURSIVE = 4, SELECT_SPECIAL = 8 };
enum { RETURN_SUBSCRIBED = 1, RETURN_CHILDREN = 2, RETURN_SPECIAL = 4, RETURN_STATUS = 8, RETURN_METADATA = 16, RETURN_MYRIGHTS = 32 };

struct listing {
	unsigned   selects, returns;
	bool       is_extended, is_lsub;
	bool       is_empty;       /* a pattern */
	bool       lacks;          /* names of others that were listed before */
	struct imap_status_items status;
	struct imap_metadata *metadata;
	struct str reference;
	struct str patterns[PATTERNS_MAX];
	size_t     n_patterns;
};

struct name {
	struct str path;
	const struct mailbox *m;   /* NULL: another account's, or only a subscription */
	bool is_subscribed;
	bool has_chosen_inside;    /* a chosen descendant that no pattern shows by itself */
	bool is_denied;            /* another account's, that was seen before */
	struct str old;            /* what it was called before a RENAME (RFC 5465 §5.4); mostly empty */
	const struct imap_remote_name *other;   /* another account's mailbox, or what leads to one */
};

struct sorted {
	struct str path;
	size_t     at;             /* in the names */
};

/* ---------------------------------------------------------------------------------------------------------- parsing */

static void parse_select_options(struct imap_cmd *c, struct listing *l)
{
	static const struct { const char *word; unsigned bit; } options[] = {
		{ "SUBSCRIBED", SELECT_SUBSCRIBED }, { "REMOTE", SELECT_REMOTE }, { "RECURSIVEMATCH", SELECT_RECURSIVE },
		{ "SPECIAL-USE", SELECT_SPECIAL } };

	l->is_extended = true;
	while (!c->args.failed && !scan_take(&c->args, ')')) {
		size_t i = 0;
		while (i < COUNT_OF(options) && !imap_word(&c->args, options[i].word))
			i++;
		if (i == COUNT_OF(options) || (!scan_take(&c->args, ' ') && scan_peek(&c->args) != ')'))
			scan_fail(&c->args);
		else
			l->selects |= options[i].bit;
	}
	if ((l->selects & SELECT_RECURSIVE) && !(l->selects & (SELECT_SUBSCRIBED | SELECT_SPECIAL))) {
		c->why = "RECURSIVEMATCH needs SUBSCRIBED beside it (RFC 9051 section 6.3.9.1)";
		scan_fail(&c->args);
	}
	imap_sp(&c->args);
}

static void parse_return_options(struct imap_cmd *c, struct listing *l)
{
	l->is_extended = true;
	if (!imap_word(&c->args, "RETURN"))
		scan_fail(&c->args);
	imap_sp(&c->args);
	scan_need(&c->args, '(');
	while (!c->args.failed && !scan_take(&c->args, ')')) {
		if (imap_word(&c->args, "SUBSCRIBED")) {
			l->returns |= RETURN_SUBSCRIBED;
		} else if (imap_word(&c->args, "CHILDREN")) {
			l->returns |= RETURN_CHILDREN;
		} else if (imap_word(&c->args, "SPECIAL-USE")) {
			l->returns |= RETURN_SPECIAL;
		} else if (imap_word(&c->args, "STATUS")) {
			l->returns |= RETURN_STATUS;
			imap_sp(&c->args);
			imap_parse_status_items(c, &l->status);
		} else if (imap_word(&c->args, "METADATA")) {
			l->returns |= RETURN_METADATA;
			imap_sp(&c->args);
			l->metadata = imap_parse_metadata_entries(c);
		} else if (imap_word(&c->args, "MYRIGHTS")) {
			l->returns |= RETURN_MYRIGHTS;
		} else {
			scan_fail(&c->args);
		}
		if (!scan_take(&c->args, ' ') && scan_peek(&c->args) != ')')
			scan_fail(&c->args);
	}
}

static void parse_patterns(struct imap_session *s, struct imap_cmd *c, struct listing *l)
{
	bool is_utf8 = imap_names_utf8(s->tongue);
	bool is_list = scan_take(&c->args, '(');

	l->is_extended |= is_list;
	do {
		struct str pattern = imap_list_mailbox(&c->args, &c->arena, is_utf8);
		if (l->n_patterns == PATTERNS_MAX || pattern.n > 2 * MAILBOX_PATH_MAX)
			scan_fail(&c->args);
		if (c->args.failed)
			return;
		l->is_empty |= pattern.n == 0;
		if (l->reference.n > 0)
			pattern = arena_printf(&c->arena, STR_FMT STR_FMT, STR_ARG(l->reference), STR_ARG(pattern));
		l->patterns[l->n_patterns++] = fold_composed(&c->arena, pattern);
	} while (is_list && scan_take(&c->args, ' '));
	if (is_list)
		scan_need(&c->args, ')');
}

static bool parse(struct imap_session *s, struct imap_cmd *c, struct listing *l)
{
	if (!l->is_lsub && scan_take(&c->args, '('))
		parse_select_options(c, l);
	l->reference = imap_mailbox(&c->args, &c->arena, imap_names_utf8(s->tongue));
	if (l->reference.n > MAILBOX_PATH_MAX)
		scan_fail(&c->args);
	imap_sp(&c->args);
	parse_patterns(s, c, l);
	if (!l->is_lsub && scan_take(&c->args, ' '))
		parse_return_options(c, l);
	return imap_arg_end(c);
}

/* --------------------------------------------------------------------------------------------------------- choosing */

static bool matches(const struct listing *l, struct str path)
{
	CLEANUP(arena_free) struct arena a = { 0 };

	path = fold_composed(&a, path);
	for (size_t i = 0; i < l->n_patterns; i++)
		if (imap_list_match(l->patterns[i], path))
			return true;
	return false;
}

static int by_path(const void *left, const void *right)
{
	const struct sorted *l = left, *r = right;

	return str_cmp(l->path, r->path);
}

static bool is_inside(struct str path, struct str parent)
{
	return path.n > parent.n && path.p[parent.n] == MAILBOX_SEPARATOR && str_starts(path, parent);
}

/* What a guest may see, as he calls it; what lies above and is not for him is missing, his own cell fills it in. The mailboxes come in order,
 * children after their parents: `above` holds those that the next one may be in. */
static enum err guest_names(struct imap_session *s, struct arena *a, struct mailbox *boxes, size_t n_boxes, struct name **out, size_t *n)
{
	struct name *names = arena_array(a, n_boxes + 1, sizeof *names);
	struct mailbox *above[MAILBOX_DEPTH_MAX];
	size_t count = 0, depth = 0;

	for (size_t i = 0; i < n_boxes; i++) {
		struct mailbox *m = &boxes[i];
		if (imap_may(s, m->mailbox_id, RIGHT_LOOKUP) != ERR_OK)
			continue;
		m->has_children = false;
		m->role = MAILBOX_PLAIN;  /* his own \Trash is another one */
		while (depth > 0 && !is_inside(m->path, above[depth - 1]->path))
			depth--;
		if (depth > 0)
			above[depth - 1]->has_children = true;
		if (depth < MAILBOX_DEPTH_MAX)
			above[depth++] = m;
		names[count++] = (struct name){ .path = imap_name_of(s, m->path, a), .m = m };
	}
	*out = names;
	*n = count;
	return ERR_OK;
}

/* How deep into "Other Users/owner/mailbox" the patterns can reach; 0: not there at all. */
static int other_levels(const struct listing *l)
{
	int levels = 0;

	for (size_t i = 0; i < l->n_patterns; i++) {
		struct str p = l->patterns[i], name = STR(IMAP_OTHERS);
		size_t same = 0;
		int depth = 1;
		while (same < p.n && same < name.n && chr_lower(p.p[same]) == chr_lower(name.p[same]))
			same++;
		if (same < name.n && (same == p.n || (p.p[same] != '*' && p.p[same] != '%')))
			continue;
		for (size_t k = 0; k < p.n; k++)
			depth = p.p[k] == '*' ? 3 : p.p[k] == MAILBOX_SEPARATOR ? depth + 1 : depth;
		levels = depth > levels ? depth : levels;
	}
	return levels;
}

/* What owners are asked for with each name. */
static struct str other_returns(const struct listing *l, struct arena *a)
{
	CLEANUP(buf_free) struct buf b = BUF(METADATA_ENTRIES_TEXT_MAX);

	if (l->returns & RETURN_STATUS)
		buf_printf(&b, " STATUS " STR_FMT, STR_ARG(imap_status_items_text(l->status, a)));
	if (l->returns & RETURN_MYRIGHTS)
		buf_add_cstr(&b, " MYRIGHTS");
	if (l->returns & RETURN_METADATA)
		imap_put_metadata_entries(&b, l->metadata);
	return str_copy(a, buf_str(&b));
}

static int at_path(const struct sorted *sorted, size_t n, struct str path)
{
	const struct sorted *found = bsearch(&(struct sorted){ .path = path }, sorted, n, sizeof *sorted, by_path);

	return found ? (int)found->at : -1;
}

static bool is_chosen(const struct listing *l, const struct name *name)
{
	if ((l->selects & SELECT_SUBSCRIBED) && !name->is_subscribed)
		return false;
	if ((l->selects & SELECT_SPECIAL) && (name->m == NULL || *mailbox_role_attribute(name->m->role) == '\0'))
		return false;
	return name->m != NULL || name->other != NULL || (l->selects & SELECT_SUBSCRIBED);
}

/* Does a parent of what is chosen count, though it is not chosen itself?       RFC 9051 §6.3.9.1 RECURSIVEMATCH; of LSUB RFC 3501 §6.3.9 */
static bool wants_parents(const struct listing *l)
{
	struct str pattern = l->patterns[0];

	return l->is_lsub ? pattern.n > 0 && pattern.p[pattern.n - 1] == '%' : (l->selects & SELECT_RECURSIVE) != 0;
}

/* Tells the parents of each chosen name that no pattern shows. Those that do not exist (a subscription outlives its mailbox, and may be below
 * another that is gone) come behind the names, once each. */
static void find_parents(const struct listing *l, struct arena *a, struct name **names, size_t *n)
{
	struct name *all = *names;
	struct sorted *sorted = arena_array(a, *n + 1, sizeof *sorted), *missing;
	size_t n_missing = 0, missing_max = 0, count = *n;

	for (size_t i = 0; i < *n; i++) {
		sorted[i] = (struct sorted){ all[i].path, i };
		missing_max += all[i].m == NULL && all[i].other == NULL ? MAILBOX_DEPTH_MAX : 0;
	}
	missing = arena_array(a, missing_max + 1, sizeof *missing);
	qsort(sorted, *n, sizeof *sorted, by_path);
	for (size_t i = 0; i < *n; i++) {
		if (!is_chosen(l, &all[i]) || matches(l, all[i].path))
			continue;
		for (size_t end = all[i].path.n; end-- > 1;) {
			if (all[i].path.p[end] != MAILBOX_SEPARATOR)
				continue;
			struct str parent = str_make(all[i].path.p, end);
			int at = at_path(sorted, *n, parent);
			if (at >= 0)
				all[at].has_chosen_inside = true;
			else if (matches(l, parent) && n_missing < missing_max)
				missing[n_missing++] = (struct sorted){ parent, 0 };
		}
	}
	if (n_missing == 0)
		return;
	qsort(missing, n_missing, sizeof *missing, by_path);
	*names = arena_array(a, *n + n_missing, sizeof **names);
	memcpy(*names, all, *n * sizeof **names);
	for (size_t i = 0; i < n_missing; i++)
		if (i == 0 || !str_eq(missing[i].path, missing[i - 1].path))
			(*names)[count++] = (struct name){ .path = missing[i].path, .has_chosen_inside = true };
	*n = count;
}

/* Mailboxes in the store's order, those of others, then subscribed names that have no mailbox, and parents that have none. */
static enum err read_names(struct imap_session *s, struct listing *l, struct arena *a, struct name **out, size_t *n)
{
	struct mailbox *boxes;
	struct imap_remote_name *others;
	struct str *subscribed;
	struct name *names;
	struct sorted *sorted;
	size_t n_boxes, n_others, n_subscribed, count = 0, n_sorted;
	int at;

	TRY(view_publish(s->view));
	TRY(view_mailboxes(s->view, a, &boxes, &n_boxes));
	if (s->guest != NULL)
		return guest_names(s, a, boxes, n_boxes, out, n);
	TRY(view_subscriptions(s->view, a, &subscribed, &n_subscribed));
	l->lacks = !imap_remote_names(s, &s->cmd, other_levels(l), other_returns(l, a), &others, &n_others);
	if (s->is_cut)
		return ERR_CLOSED;
	names = arena_array(a, n_boxes + n_others + n_subscribed, sizeof *names);
	sorted = arena_array(a, n_boxes + n_others + 1, sizeof *sorted);
	for (size_t i = 0; i < n_boxes; i++)
		names[count++] = (struct name){ .path = boxes[i].path, .m = &boxes[i], .is_subscribed = boxes[i].is_subscribed };
	for (size_t i = 0; i < n_others; i++)
		names[count++] = (struct name){ .path = others[i].path, .other = &others[i] };
	n_sorted = count;
	for (size_t i = 0; i < n_sorted; i++)
		sorted[i] = (struct sorted){ names[i].path, i };
	qsort(sorted, n_sorted, sizeof *sorted, by_path);
	for (size_t i = 0; i < n_subscribed; i++) {
		at = at_path(sorted, n_sorted, subscribed[i]);
		if (at < 0)
			names[count++] = (struct name){ .path = subscribed[i], .is_subscribed = true };
		else
			names[at].is_subscribed = true;
	}
	*out = names;
	*n = count;
	if (wants_parents(l))
		find_parents(l, a, out, n);
	return ERR_OK;
}

/* ---------------------------------------------------------------------------------------------------------- writing */

static void put_attribute(struct buf *b, const char *word)
{
	if (b->p[b->n - 1] != '(')
		buf_add_char(b, ' ');
	buf_add_cstr(b, word);
}

/* childinfo-extended-item: what some descendant was chosen by                                       RFC 9051 §6.3.9.6 */
static void put_child_info(struct buf *b, unsigned selects)
{
	buf_add_cstr(b, " (\"CHILDINFO\" (");
	if (selects & SELECT_SUBSCRIBED)
		buf_add_cstr(b, "\"SUBSCRIBED\"");
	if (selects & SELECT_SPECIAL)
		buf_add_cstr(b, selects & SELECT_SUBSCRIBED ? " \"SPECIAL-USE\"" : "\"SPECIAL-USE\"");
	buf_add_cstr(b, "))");
}

/* child_info: the selection options, where CHILDINFO is to be said */
static void put_name(struct buf *b, struct imap_tongue tongue, const char *response, const struct name *name, unsigned returns,
                     unsigned child_info)
{
	buf_printf(b, "* %s (", response);
	if (name->m == NULL && name->other == NULL)
		put_attribute(b, "\\NonExistent");
	if (name->is_denied)
		put_attribute(b, "\\NoAccess");
	if (name->other != NULL && name->other->is_noselect)
		put_attribute(b, "\\Noselect");
	if ((returns & RETURN_CHILDREN) && name->other != NULL)
		put_attribute(b, name->other->has_children ? "\\HasChildren" : "\\HasNoChildren");
	if ((returns & RETURN_CHILDREN) && name->m != NULL)
		put_attribute(b, name->m->has_children ? "\\HasChildren" : "\\HasNoChildren");
	if ((returns & RETURN_SUBSCRIBED) && name->is_subscribed)
		put_attribute(b, "\\Subscribed");
	if ((returns & RETURN_SPECIAL) && name->m != NULL && *mailbox_role_attribute(name->m->role))
		put_attribute(b, mailbox_role_attribute(name->m->role));
	buf_add_cstr(b, ") \"/\" ");
	imap_put_mailbox(b, name->path, imap_names_utf8(tongue));
	if (child_info != 0)
		put_child_info(b, child_info);
	if (name->old.n > 0) {
		buf_add_cstr(b, " (\"OLDNAME\" (");
		imap_put_mailbox(b, name->old, imap_names_utf8(tongue));
		buf_add_cstr(b, "))");
	}
	buf_add_cstr(b, "\r\n");
}

struct str imap_old_name(struct str path, struct str given)
{
	if (given.n > 0 && given.p[given.n - 1] == MAILBOX_SEPARATOR)
		given.n--;
	return str_eq(path, given) ? STR_NONE : given;
}

void imap_put_list(struct imap_session *s, const struct mailbox *m, struct str old, bool is_gone)
{
	struct name name = { .path = imap_name_of(s, m->path, &s->cmd.arena), .m = is_gone ? NULL : m };

	if (old.n > 0)
		name.old = imap_name_of(s, old, &s->cmd.arena);
	put_name(&s->out, s->tongue, "LIST", &name, RETURN_CHILDREN | RETURN_SPECIAL, 0);
}

void imap_put_list_event(struct buf *b, struct imap_tongue tongue, struct str path, const struct mailbox *m, const struct imap_remote_name *other,
                         bool is_subscribed, struct str old)
{
	struct str address;
	struct name name = { .path = path, .m = m, .other = other, .is_subscribed = is_subscribed, .old = old };

	name.is_denied = m == NULL && other == NULL && imap_is_other(path, &address);

	put_name(b, tongue, "LIST", &name, RETURN_CHILDREN | RETURN_SPECIAL | RETURN_SUBSCRIBED, 0);
}

/* What RETURN asks for beside the name. */
static enum err put_returns(struct imap_session *s, struct imap_cmd *c, struct listing *l, const struct name *name)
{
	if (name->other != NULL)
		buf_add(&s->out, name->other->lines);
	if (name->m == NULL)
		return ERR_OK;
	if ((l->returns & RETURN_STATUS) && imap_may(s, name->m->mailbox_id, RIGHT_READ) == ERR_OK)
		TRY(imap_put_status(s, name->m, l->status, &c->arena));
	if ((l->returns & RETURN_METADATA) && imap_may(s, name->m->mailbox_id, RIGHT_LOOKUP | RIGHT_READ) == ERR_OK)
		TRY(imap_put_metadata(s, name->m, l->metadata));
	if (l->returns & RETURN_MYRIGHTS)
		imap_put_myrights(s, name->m);
	return ERR_OK;
}

static enum err put_all(struct imap_session *s, struct imap_cmd *c, struct listing *l)
{
	unsigned returns = l->returns;
	struct name *names;
	size_t n;

	if (!l->is_extended)  /* a plain LIST says what is free to say (RFC 3348, RFC 6154 §2) */
		returns |= RETURN_CHILDREN | RETURN_SPECIAL;
	if (l->selects & SELECT_SUBSCRIBED)
		returns |= RETURN_SUBSCRIBED;
	if (l->selects & SELECT_SPECIAL)
		returns |= RETURN_SPECIAL;
	TRY(read_names(s, l, &c->arena, &names, &n));
	for (size_t i = 0; i < n; i++) {
		if (!matches(l, names[i].path))
			continue;
		bool is_itself = is_chosen(l, &names[i]);
		if (!is_itself && !names[i].has_chosen_inside)
			continue;
		put_name(&s->out, s->tongue, "LIST", &names[i], returns, names[i].has_chosen_inside ? l->selects & (SELECT_SUBSCRIBED | SELECT_SPECIAL) : 0);
		if (is_itself)  /* who is only a parent of it is not asked about (RFC 5819 §3, RFC 8440 §4) */
			TRY(put_returns(s, c, l, &names[i]));
		imap_spill(s);
	}
	return ERR_OK;
}

/* LIST [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]                       RFC 9051 §6.3.9 */
struct imap_reply imap_list(struct imap_session *s, struct imap_cmd *c)
{
	struct listing l = { 0 };
	enum err e;

	if (!parse(s, c, &l))
		return imap_bad(c, "[(SUBSCRIBED RECURSIVEMATCH SPECIAL-USE)] reference pattern [RETURN (SUBSCRIBED CHILDREN SPECIAL-USE STATUS (items) METADATA (entries) MYRIGHTS)]");
	if (!l.is_extended && l.is_empty) {  /* an empty pattern asks for the separator */
		buf_add_cstr(&s->out, "* LIST (\\Noselect) \"/\" \"\"\r\n");
		return imap_ok(c, "the separator");
	}
	e = put_all(s, c, &l);
	if (s->is_cut)
		return (struct imap_reply){ .status = IMAP_CUT };
	if (e == ERR_OK && l.lacks)
		return imap_no(c, "UNAVAILABLE", "not all mailboxes of others can be listed at the moment; what is missing was not deleted. Please try again");
	return e == ERR_OK ? imap_ok(c, "listed") : imap_err(c, e);
}

/* LSUB: subscribed names; for a pattern that ends in "%", the parents of deeper ones as \Noselect.  RFC 3501 §6.3.9 */
static void put_lsub(struct imap_session *s, const struct listing *l, const struct name *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!matches(l, names[i].path) || (!names[i].is_subscribed && !names[i].has_chosen_inside))
			continue;
		buf_add_cstr(&s->out, names[i].is_subscribed ? "* LSUB () \"/\" " : "* LSUB (\\Noselect) \"/\" ");
		imap_put_mailbox(&s->out, names[i].path, imap_names_utf8(s->tongue));
		buf_add_cstr(&s->out, "\r\n");
		imap_spill(s);
	}
}

struct imap_reply imap_lsub(struct imap_session *s, struct imap_cmd *c)
{
	struct listing l = { .is_lsub = true, .selects = SELECT_SUBSCRIBED };
	struct name *names;
	size_t n;
	enum err e;

	if (!parse(s, c, &l))
		return imap_bad(c, "reference pattern");
	e = read_names(s, &l, &c->arena, &names, &n);
	if (s->is_cut)
		return (struct imap_reply){ .status = IMAP_CUT };
	if (e != ERR_OK)
		return imap_err(c, e);
	put_lsub(s, &l, names, n);
	return imap_ok(c, "listed");
}
