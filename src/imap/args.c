/* Arguments of commands: the grammar, plus what this session knows (sequence numbers, keywords, the saved search result). */
#include "imap/imap_private.h"

bool imap_arg_end(struct imap_cmd *c) { return !c->args.failed && scan_done(&c->args); }

static void refuse(struct imap_cmd *c, const char *why)
{
	if (!c->args.failed)
		c->why = why;
	scan_fail(&c->args);
}

bool imap_arg_set(struct imap_cmd *c, struct imap_session *s, struct uid_set *set, bool *is_uid)
{
	uint32_t count = selected_count(s->selected);

	*set = (struct uid_set){ 0 };
	*is_uid = c->is_uid;
	if (scan_take(&c->args, '$')) {  /* RFC 9051 §6.4.4.1: UIDs, whatever the command */
		for (size_t i = 0; i < s->saved.n; i++)
			uid_set_push(set, &c->arena, s->saved.r[i].first, s->saved.r[i].last);
		*is_uid = true;
		return true;
	}
	if (!imap_sequence_set(&c->args, &c->arena, set))
		return false;
	uid_set_star(set, c->is_uid ? (count ? selected_uid(s->selected, count) : 0) : count);
	if (!c->is_uid && set->n > 0 && set->r[set->n - 1].last > count)
		refuse(c, "there is no message with so high a number in this mailbox");
	return !c->args.failed;
}

struct uid_set imap_arg_messages(struct imap_cmd *c, struct imap_session *s)
{
	struct uid_set set, uids = { 0 };
	bool is_uid;

	if (!imap_arg_set(c, s, &set, &is_uid))
		return uids;
	if (is_uid)
		return set;
	selected_to_uids(s->selected, &set, &c->arena, &uids);
	return uids;
}

void imap_arg_partial(struct imap_cmd *c, struct imap_partial *out)
{
	uint32_t n;

	out->is_from_end = scan_take(&c->args, '-');
	out->first = scan_u32(&c->args);
	scan_need(&c->args, ':');
	if (out->is_from_end)
		scan_need(&c->args, '-');
	out->last = scan_u32(&c->args);
	if (out->first == 0 || out->last == 0)
		refuse(c, "PARTIAL wants two positions from 1 on, 1:100, or from the end, -1:-100 (RFC 9394 section 4)");
	out->is_reversed = out->first > out->last;
	if (out->is_reversed) {
		n = out->first;
		out->first = out->last;
		out->last = n;
	}
}

struct str imap_arg_mailbox(struct imap_cmd *c, struct imap_session *s)
{
	struct scan before = c->args;
	struct str name = imap_mailbox(&c->args, &c->arena, imap_names_utf8(s->tongue));

	if (c->args.failed && !before.failed) {
		imap_astring(&before, &c->arena);
		if (!before.failed)
			c->why = "the mailbox name is not well encoded: modified UTF-7 (RFC 3501 section 5.1.3), or UTF-8 after ENABLE";
	}
	return imap_path_of(s, name);
}

/* One flag: a system flag is returned, a keyword goes to *keyword. */
static uint64_t one_flag(struct imap_cmd *c, struct str *keyword)
{
	static const struct { struct str name; uint64_t bit; } system_flags[] = {
		{ { "\\Seen", 5 }, FLAG_SEEN }, { { "\\Answered", 9 }, FLAG_ANSWERED }, { { "\\Flagged", 8 }, FLAG_FLAGGED },
		{ { "\\Deleted", 8 }, FLAG_DELETED }, { { "\\Draft", 6 }, FLAG_DRAFT },
		{ { "\\Recent", 7 }, 0 },  /* quirk RECENT_SENT_BACK */
	};
	struct str name = imap_flag(&c->args);

	if (c->args.failed)
		return 0;
	for (size_t i = 0; i < COUNT_OF(system_flags); i++)
		if (str_ieq(name, system_flags[i].name))
			return system_flags[i].bit;
	if (name.p[0] == '\\')
		refuse(c, "unknown system flag; there are \\Seen \\Answered \\Flagged \\Deleted \\Draft, and keywords without \"\\\"");
	else if (name.n > KEYWORD_NAME_MAX)
		refuse(c, "a keyword is at most 100 characters long");
	else
		*keyword = name;
	return 0;
}

void imap_arg_flags(struct imap_cmd *c, bool is_bare, struct imap_flags *out)
{
	bool in_list = scan_take(&c->args, '(');

	*out = (struct imap_flags){ 0 };
	if (!in_list && !is_bare)
		scan_fail(&c->args);
	if (in_list && scan_take(&c->args, ')'))
		return;
	for (int n = 0; !c->args.failed; n++) {
		struct str keyword = STR_NONE;
		if (n == IMAP_FLAGS_MAX) {
			refuse(c, "too many flags in one command");
			break;
		}
		out->system |= one_flag(c, &keyword);
		if (keyword.n > 0)
			out->keywords[out->n++] = keyword;
		if (!scan_take(&c->args, ' '))
			break;
	}
	if (in_list)
		scan_need(&c->args, ')');
}

uint64_t imap_flag_bits(struct imap_cmd *c, struct imap_session *s, const struct imap_flags *flags, bool makes_keywords)
{
	bool makes = makes_keywords && s->guest == NULL;
	uint64_t bits = flags->system, bit;
	size_t missing = 0;

	for (size_t i = 0; makes && i < flags->n; i++)
		missing += view_keyword(s->view, flags->keywords[i], false) == 0;
	bool fits = view_keywords_fit(s->view, missing);
	for (size_t i = 0; i < flags->n && !c->args.failed; i++) {
		bit = fits ? view_keyword(s->view, flags->keywords[i], makes) : 0;
		if (bit == 0 && makes)
			refuse(c, "[LIMIT] an account has at most 58 different keywords at a time, these would be more; use others that are there already, or take one away "
			          "from all messages, also those that can be undeleted, and try again when all programs have been silent for a minute");
		bits |= bit;
	}
	return c->args.failed ? 0 : bits;
}
