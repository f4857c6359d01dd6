/* search-program of RFC 9051 §9, with RETURN (RFC 4731, RFC 5182, RFC 9394), MODSEQ (RFC 7162 §3.1.5), EMAILID and
 * THREADID (RFC 8474 §6), CONTEXT and UPDATE (RFC 5267 §4), OLDER and YOUNGER (RFC 5032), SAVED… (RFC 8514 §4.3), FUZZY (RFC 6203 §3).
 * Depth and number of keys are limited: the evaluator recurses. Needles are folded here, once. */
#include "imap/context_private.h"
#include "base/bytes.h"
#include "text/fold.h"
#include "text/words.h"

enum argument { NOTHING, STRING, DATE, NUMBER, SECONDS, KEYWORD, SET, HEADER_STRING, MODSEQ, OBJECT, AFTER, BEFORE };

static const struct {
	const char    *word;
	enum search_op op;
	enum argument  argument;
	uint64_t       flags;
} words[] = {
	{ "ALL", KEY_ALL, NOTHING, 0 }, { "ANSWERED", KEY_FLAGS, NOTHING, FLAG_ANSWERED }, { "BCC", KEY_BCC, STRING, 0 },
	{ "BEFORE", KEY_BEFORE, DATE, 0 }, { "BODY", KEY_BODY, STRING, 0 }, { "CC", KEY_CC, STRING, 0 },
	{ "DELETED", KEY_FLAGS, NOTHING, FLAG_DELETED }, { "DRAFT", KEY_FLAGS, NOTHING, FLAG_DRAFT },
	{ "FLAGGED", KEY_FLAGS, NOTHING, FLAG_FLAGGED }, { "FROM", KEY_FROM, STRING, 0 }, { "HEADER", KEY_HEADER, HEADER_STRING, 0 },
	{ "KEYWORD", KEY_FLAGS, KEYWORD, 0 }, { "LARGER", KEY_LARGER, NUMBER, 0 }, { "MODSEQ", KEY_MODSEQ, MODSEQ, 0 },
	{ "NEW", KEY_NONE, NOTHING, 0 },  /* NEW and RECENT need \Recent, which nothing has; so everything is OLD */
	{ "OLD", KEY_ALL, NOTHING, 0 }, { "ON", KEY_ON, DATE, 0 }, { "RECENT", KEY_NONE, NOTHING, 0 },
	{ "SEEN", KEY_FLAGS, NOTHING, FLAG_SEEN }, { "SENTBEFORE", KEY_SENTBEFORE, DATE, 0 }, { "SENTON", KEY_SENTON, DATE, 0 },
	{ "SENTSINCE", KEY_SENTSINCE, DATE, 0 }, { "SINCE", KEY_SINCE, DATE, 0 }, { "SMALLER", KEY_SMALLER, NUMBER, 0 },
	{ "SUBJECT", KEY_SUBJECT, STRING, 0 }, { "TEXT", KEY_TEXT, STRING, 0 }, { "TO", KEY_TO, STRING, 0 },
	{ "UID", KEY_UIDS, SET, 0 }, { "UIDAFTER", KEY_UIDS, AFTER, 0 }, { "UIDBEFORE", KEY_UIDS, BEFORE, 0 }, { "UNANSWERED", KEY_NO_FLAGS, NOTHING, FLAG_ANSWERED },
	{ "UNDELETED", KEY_NO_FLAGS, NOTHING, FLAG_DELETED }, { "UNDRAFT", KEY_NO_FLAGS, NOTHING, FLAG_DRAFT },
	{ "UNFLAGGED", KEY_NO_FLAGS, NOTHING, FLAG_FLAGGED }, { "UNKEYWORD", KEY_NO_FLAGS, KEYWORD, 0 },
	{ "UNSEEN", KEY_NO_FLAGS, NOTHING, FLAG_SEEN }, { "EMAILID", KEY_EMAILID, OBJECT, 0 }, { "THREADID", KEY_THREADID, OBJECT, 0 },
	{ "OLDER", KEY_OLDER, SECONDS, 0 }, { "YOUNGER", KEY_YOUNGER, SECONDS, 0 }, { "SAVEDBEFORE", KEY_SAVEDBEFORE, DATE, 0 },
	{ "SAVEDON", KEY_SAVEDON, DATE, 0 }, { "SAVEDSINCE", KEY_SAVEDSINCE, DATE, 0 },
	{ "SAVEDATESUPPORTED", KEY_ALL, NOTHING, 0 },  /* every mailbox here keeps save dates */
};

struct parsing {
	struct imap_session *s;
	struct imap_cmd     *c;
	struct search       *out;
	int                  depth;
	bool                 is_like;   /* inside FUZZY */
};

static struct search_key *parse_key(struct parsing *p);

static bool has_words(struct str folded)
{
	struct words w = words_of(folded);
	struct str word;

	return words_next(&w, &word);
}

static void parse_needle(struct parsing *p, struct search_key *key)
{
	struct str text = imap_astring(&p->c->args, &p->c->arena);

	if (!utf8_valid(text)) {
		p->c->why = "the text to search for is not valid UTF-8";
		scan_fail(&p->c->args);
	}
	if (p->c->args.failed)
		return;
	key->written = text;
	key->text = fold_casemap(&p->c->arena, text);
	key->is_like = p->is_like && key->op != KEY_HEADER && has_words(key->text);
}

static void parse_set(struct parsing *p, struct search_key *key)
{
	struct imap_cmd *c = p->c;
	uint32_t count = selected_count(p->s->selected), largest = count;

	if (scan_take(&c->args, '$')) {
		if (p->out->refuses_saved) {
			c->why = "\"$\" is about the selected mailbox; here only IN (SELECTED) goes with it";
			scan_fail(&c->args);
		}
		key->op = KEY_UIDS;
		for (size_t i = 0; i < p->s->saved.n; i++)
			uid_set_push(&key->set, &c->arena, p->s->saved.r[i].first, p->s->saved.r[i].last);
		return;
	}
	if (key->op == KEY_SEQS && p->s->tongue.is_uidonly && !c->args.failed) {
		c->why = "[UIDREQUIRED] after ENABLE UIDONLY write UID and a set of UIDs, or ALL (RFC 9586 section 3.5)";
		scan_fail(&c->args);
	}
	imap_sequence_set(&c->args, &c->arena, &key->set);
	if (key->op == KEY_UIDS && count > 0)
		largest = selected_uid(p->s->selected, count);
	if (key->op == KEY_UIDS && key->set.n > 0 && key->set.r[key->set.n - 1].last == UINT32_MAX && key->set.r[key->set.n - 1].first < UINT32_MAX)
		key->open_from = key->set.r[key->set.n - 1].first;
	uid_set_star(&key->set, largest);
}

/* "MODSEQ" [SP entry-name SP entry-type-req] SP mod-sequence-valzer: one modseq for all flags here, so the entry is ignored */
static void parse_modseq(struct parsing *p, struct search_key *key)
{
	struct scan *args = &p->c->args;

	if (scan_peek(args) == '"') {
		imap_string(args, &p->c->arena);
		imap_sp(args);
		if (!imap_word(args, "priv") && !imap_word(args, "shared") && !imap_word(args, "all"))
			scan_fail(args);
		imap_sp(args);
	}
	key->number = imap_number64(args);
	p->out->has_modseq = true;
	if (!args->failed)
		imap_enable_condstore(p->s);
}

static void parse_argument(struct parsing *p, struct search_key *key, enum argument argument)
{
	struct imap_cmd *c = p->c;

	if (argument != NOTHING)
		imap_sp(&c->args);
	switch (argument) {
	case NOTHING:
		break;
	case STRING:
		parse_needle(p, key);
		break;
	case HEADER_STRING:
		key->name = imap_astring(&c->args, &c->arena);
		imap_sp(&c->args);
		parse_needle(p, key);
		break;
	case DATE:
		key->day = imap_date(&c->args);
		break;
	case NUMBER:
		key->number = imap_number64(&c->args);
		break;
	case SECONDS:
		key->number = scan_u32(&c->args);
		if (key->number == 0)
			scan_fail(&c->args);
		break;
	case KEYWORD: {
		struct str name = imap_flag(&c->args);
		key->number = c->args.failed ? 0 : view_keyword(p->s->view, name, false);
		key->name = name;
		if (key->number == 0)  /* a keyword that nothing has */
			key->op = key->op == KEY_FLAGS ? KEY_NONE : KEY_ALL;
		break;
	}
	case SET:
		parse_set(p, key);
		break;
	case MODSEQ:
		parse_modseq(p, key);
		break;
	case AFTER:
	case BEFORE: {  /* RFC 9738 §3.2 */
		uint32_t uid = scan_u32(&c->args);
		if (uid == 0)
			scan_fail(&c->args);
		else if (argument == AFTER && uid < UINT32_MAX)
			uid_set_add(&key->set, &c->arena, uid + 1, UINT32_MAX);
		else if (argument == BEFORE && uid > 1)
			uid_set_add(&key->set, &c->arena, 1, uid - 1);
		break;
	}
	case OBJECT:
		key->text = imap_astring(&c->args, &c->arena);
		break;
	}
}

/* search-key *(SP search-key), all of which must match */
static struct search_key *parse_keys(struct parsing *p)
{
	struct search_key *first = parse_key(p), *last = first;

	if (scan_peek(&p->c->args) != ' ')
		return first;
	while (!p->c->args.failed && scan_take(&p->c->args, ' ')) {
		last->next = parse_key(p);
		last = last->next;
	}
	struct search_key *all = ARENA_NEW(&p->c->arena, struct search_key);
	*all = (struct search_key){ .op = KEY_AND, .child = first };
	return all;
}

/* Behind "OR" SP: search-key SP search-key. Those that are OR themselves are of the same list: programs write a hundred alternatives as OR a OR b OR c d, or
 * as OR OR OR a b c d, which are not a hundred keys inside each other. */
static void parse_or(struct parsing *p, struct search_key *key)
{
	struct search_key **end = &key->child;

	for (size_t missing = 2; missing > 0 && !p->c->args.failed;) {
		if (imap_word(&p->c->args, "OR")) {
			missing++;
		} else {
			*end = parse_key(p);
			end = &(*end)->next;
			missing--;
		}
		if (missing > 0)
			imap_sp(&p->c->args);
	}
}

static void parse_by_word(struct parsing *p, struct search_key *key)
{
	struct imap_cmd *c = p->c;

	if (imap_word(&c->args, "NOT")) {
		key->op = KEY_NOT;
		imap_sp(&c->args);
		key->child = parse_key(p);
		return;
	}
	if (imap_word(&c->args, "OR")) {
		key->op = KEY_OR;
		imap_sp(&c->args);
		parse_or(p, key);
		return;
	}
	if (imap_word(&c->args, "FUZZY")) {
		bool was_like = p->is_like;
		key->op = KEY_AND;
		imap_sp(&c->args);
		p->is_like = p->out->has_fuzzy = true;
		key->child = parse_key(p);
		p->is_like = was_like;
		return;
	}
	for (size_t i = 0; i < COUNT_OF(words); i++) {
		if (imap_word(&c->args, words[i].word)) {
			key->op = words[i].op;
			key->number = words[i].flags;
			p->out->has_saved |= key->op >= KEY_SAVEDBEFORE && key->op <= KEY_SAVEDSINCE;
			parse_argument(p, key, words[i].argument);
			return;
		}
	}
	scan_fail(&c->args);
}

static struct search_key *parse_key(struct parsing *p)
{
	struct search_key *key = ARENA_NEW(&p->c->arena, struct search_key);
	struct scan *args = &p->c->args;

	if (++p->depth > SEARCH_DEPTH_MAX || ++p->out->n_keys > SEARCH_KEYS_MAX) {
		if (!args->failed)
			p->c->why = "this search has too many keys, or too many inside each other";
		scan_fail(args);
	}
	int c = scan_peek(args);
	if (c == '(') {
		args->p++;
		key->op = KEY_AND;
		key->child = parse_keys(p);
		scan_need(args, ')');
	} else if (c == '*' || c == '$' || chr_digit((char)c)) {
		key->op = KEY_SEQS;
		parse_set(p, key);
		p->c->has_numbers |= key->op == KEY_SEQS;  /* not "$" */
	} else {
		parse_by_word(p, key);
	}
	p->depth--;
	return key;
}

/* modifier-update = "UPDATE" ["(" fetch-att *(SP fetch-att) ")"], in the RFC's example with a space before it       RFC 5465 §7 */
static void parse_update(struct imap_session *s, struct imap_cmd *c, struct search *out)
{
	struct fetch ignored = { 0 };
	struct scan after = c->args;

	scan_take(&after, ' ');
	if (scan_peek(&after) != '(')
		return;
	c->args = after;
	struct str rest = scan_rest(&c->args);
	fetch_parse_items(s, c, &ignored);
	out->update_items = str_sub(rest, 0, rest.n - scan_rest(&c->args).n);
}

/* search-return-opts = SP "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")" */
void search_parse_return(struct imap_session *s, struct imap_cmd *c, struct search *out)
{
	static const struct { const char *word; unsigned bit; } options[] = {
		{ "MIN", RETURN_MIN }, { "MAX", RETURN_MAX }, { "ALL", RETURN_ALL }, { "COUNT", RETURN_COUNT }, { "SAVE", RETURN_SAVE },
		{ "PARTIAL", RETURN_PARTIAL }, { "RELEVANCY", RETURN_RELEVANCY }, { "UPDATE", RETURN_UPDATE },
		{ "CONTEXT", 0 } };  /* a hint (RFC 5267 §4.2) */

	if (!imap_word(&c->args, "RETURN"))
		return;
	out->has_return = true;
	imap_sp(&c->args);
	scan_need(&c->args, '(');
	while (!c->args.failed && !scan_take(&c->args, ')')) {
		size_t i = 0;
		while (i < COUNT_OF(options) && !imap_word(&c->args, options[i].word))
			i++;
		bool is_partial = i < COUNT_OF(options) && options[i].bit == RETURN_PARTIAL;
		if (is_partial) {
			imap_sp(&c->args);
			imap_arg_partial(c, &out->partial);
		}
		if (i < COUNT_OF(options) && options[i].bit == RETURN_UPDATE)
			parse_update(s, c, out);
		if (is_partial && (out->returns & RETURN_PARTIAL))
			scan_fail(&c->args);
		if (i == COUNT_OF(options) || (!scan_take(&c->args, ' ') && scan_peek(&c->args) != ')'))
			scan_fail(&c->args);
		else
			out->returns |= options[i].bit;
	}
	if ((out->returns & ~(unsigned)RETURN_UPDATE) == 0)  /* whoever wants the changes wants to know of what */
		out->returns |= RETURN_ALL;
	out->wants_relevancy = (out->returns & RETURN_RELEVANCY) != 0;
	if ((out->returns & RETURN_ALL) && (out->returns & RETURN_PARTIAL) && !c->args.failed) {
		c->why = "ALL and PARTIAL exclude each other (RFC 9394 section 3.1)";
		scan_fail(&c->args);
	}
	imap_sp(&c->args);
}

static bool is_charset(struct str name)
{
	return str_ieq(name, STR("UTF-8")) || str_ieq(name, STR("US-ASCII")) || str_ieq(name, STR("UTF8"));  /* quirk CHARSET_UTF8 */
}

bool search_parse_charset(struct imap_cmd *c, struct search *out)
{
	struct str charset = imap_astring(&c->args, &c->arena);

	imap_sp(&c->args);
	out->is_bad_charset = !c->args.failed && !is_charset(charset);
	return !c->args.failed && !out->is_bad_charset;
}

bool search_parse_program(struct imap_session *s, struct imap_cmd *c, struct search *out)
{
	struct parsing p = { .s = s, .c = c, .out = out };

	out->program = scan_rest(&c->args);
	out->key = parse_keys(&p);
	return imap_arg_end(c);
}

bool search_parse_options(struct imap_session *s, struct imap_cmd *c, struct search *out)
{
	search_parse_return(s, c, out);
	if (!imap_word(&c->args, "CHARSET"))
		return !c->args.failed;
	imap_sp(&c->args);
	if (s->tongue.is_utf8 && !c->args.failed) {
		c->why = "after ENABLE UTF8=ACCEPT a SEARCH has no CHARSET (RFC 6855 section 3)";
		scan_fail(&c->args);
	}
	return search_parse_charset(c, out);
}
