/* filter-mailboxes: which mailboxes a NOTIFY (RFC 5465 §6) or an ESEARCH (RFC 7377 §2.2) is about. */
#include "imap/notify_private.h"
#include "imap/remote.h"

static const char *const words[FILTER_KINDS] = { "SELECTED", "SELECTED-DELAYED", "INBOXES", "PERSONAL", "SUBSCRIBED", "SUBTREE", "SUBTREE-ONE", "MAILBOXES" };

static bool has_names(enum filter_kind kind) { return kind == FILTER_SUBTREE || kind == FILTER_SUBTREE_ONE || kind == FILTER_MAILBOXES; }

/* one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")" */
static void parse_names(struct imap_session *s, struct imap_cmd *c, struct filter *out)
{
	bool is_list = scan_take(&c->args, '(');
	size_t cap = 0;

	do {
		struct str name = imap_arg_mailbox(c, s);
		if (out->n_names == FILTER_NAMES_MAX)
			scan_fail(&c->args);
		if (c->args.failed)
			return;
		if (out->n_names == cap)
			out->names = arena_grow(&c->arena, out->names, out->n_names, &cap, sizeof *out->names);
		out->names[out->n_names++] = imap_stored_name(s, name, &c->arena);
	} while (is_list && scan_take(&c->args, ' '));
	if (is_list)
		scan_need(&c->args, ')');
}

void filter_parse(struct imap_session *s, struct imap_cmd *c, unsigned kinds, struct filter *out)
{
	unsigned kind = 0;

	*out = (struct filter){ 0 };
	while (kind < FILTER_KINDS && !(kinds & 1u << kind && imap_word(&c->args, words[kind])))
		kind++;
	if (kind == FILTER_KINDS) {
		scan_fail(&c->args);
		return;
	}
	out->kind = (enum filter_kind)kind;
	if (!has_names(out->kind))
		return;
	imap_sp(&c->args);
	parse_names(s, c, out);
}

static bool is_below(struct str path, struct str parent)
{
	return path.n > parent.n && path.p[parent.n] == MAILBOX_SEPARATOR && str_starts(path, parent);
}

bool filter_matches(const struct filter *f, struct str path, bool is_subscribed)
{
	struct str address;

	switch (f->kind) {
	case FILTER_SELECTED:
	case FILTER_SELECTED_DELAYED:
		return false;
	case FILTER_INBOXES:  /* a script may deliver anywhere: then it means PERSONAL (RFC 5465 §6.3) */
	case FILTER_PERSONAL:
		return !imap_is_other(path, &address);
	case FILTER_SUBSCRIBED:
		return is_subscribed;
	default:
		break;
	}
	for (size_t i = 0; i < f->n_names; i++) {
		struct str name = f->names[i];
		bool is_inside = f->kind != FILTER_MAILBOXES && is_below(path, name);
		if (str_eq(path, name) || (is_inside && (f->kind == FILTER_SUBTREE || str_chr(str_from(path, name.n + 1), MAILBOX_SEPARATOR) < 0)))
			return true;
	}
	return false;
}
