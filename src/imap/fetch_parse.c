/* fetch-att of RFC 9051 §9, RFC 3501 §9 (RFC822…), RFC 3516 (BINARY), RFC 7162 (MODSEQ, modifiers), RFC 8474 (EMAILID, THREADID),
 * RFC 8514 (SAVEDATE), RFC 8970 (PREVIEW), RFC 9394 (PARTIAL). */
#include "imap/fetch_private.h"

static bool is_section_char(char c) { return c == '.' || chr_digit(c) || chr_alpha(c); }

static struct fetch_section *add_section(struct imap_cmd *c, struct fetch *f)
{
	if (f->n_sections == FETCH_SECTIONS_MAX) {
		scan_fail(&c->args);
		return NULL;
	}
	if (f->n_sections == f->cap_sections)
		f->sections = arena_grow(&c->arena, f->sections, f->n_sections, &f->cap_sections, sizeof *f->sections);
	f->sections[f->n_sections] = (struct fetch_section){ .how = FETCH_BYTES };
	return &f->sections[f->n_sections++];
}

static void add_fixed(struct imap_cmd *c, struct fetch *f, const char *label, const char *where, bool sets_seen)
{
	struct fetch_section *section = add_section(c, f);

	if (section == NULL)
		return;
	section->label = str_of(label);
	section->where = str_of(where);
	f->sets_seen |= sets_seen;
}

/* section-part = nz-number *("." nz-number), then perhaps "." and a word: "1.2.HEADER" */
static bool is_section(struct str where, bool only_numbers)
{
	struct scan s = scan_of(where);
	bool has_part = false;

	while (chr_digit((char)scan_peek(&s))) {
		if (scan_u32(&s) == 0)
			return false;
		has_part = true;
		if (scan_done(&s))
			return !s.failed;
		scan_need(&s, '.');
	}
	struct str word = scan_rest(&s);
	if (s.failed || only_numbers)
		return false;
	return str_ieq(word, STR("HEADER")) || str_ieq(word, STR("TEXT")) || (has_part && str_ieq(word, STR("MIME")));
}

/* header-list = "(" header-fld-name *(SP header-fld-name) ")" */
static void parse_fields(struct imap_cmd *c, struct fetch_section *section, struct buf *label)
{
	imap_sp(&c->args);
	scan_need(&c->args, '(');
	section->fields = arena_array(&c->arena, FETCH_FIELDS_MAX, sizeof *section->fields);
	buf_add_cstr(label, " (");
	do {
		struct str name = imap_astring(&c->args, &c->arena);
		if (section->n_fields == FETCH_FIELDS_MAX || name.n == 0 || str_has_ctl(name))
			scan_fail(&c->args);
		if (c->args.failed)
			return;
		if (section->n_fields > 0)
			buf_add_char(label, ' ');
		section->fields[section->n_fields++] = name;
		bool is_atom = true;
		for (size_t i = 0; i < name.n; i++)
			is_atom &= imap_is_astring_char(name.p[i]);
		if (is_atom)
			buf_add(label, name);
		else
			imap_put_string(label, name, true);
	} while (scan_take(&c->args, ' '));
	scan_need(&c->args, ')');
	buf_add_char(label, ')');
}

/* partial = "<" number64 "." nz-number64 ">" */
static void parse_partial(struct imap_cmd *c, struct fetch_section *section)
{
	if (!scan_take(&c->args, '<'))
		return;
	section->is_partial = true;
	section->offset = imap_number64(&c->args);
	scan_need(&c->args, '.');
	section->count = imap_number64(&c->args);
	scan_need(&c->args, '>');
	if (section->count == 0)
		scan_fail(&c->args);
}

static struct str upper(struct imap_cmd *c, struct str s)
{
	char *p = arena_alloc(&c->arena, s.n + 1);

	for (size_t i = 0; i < s.n; i++)
		p[i] = chr_upper(s.p[i]);
	return str_make(p, s.n);
}

void fetch_parse_section(struct imap_cmd *c, const char *name, enum fetch_how how, struct fetch_section *section)
{
	CLEANUP(buf_free) struct buf label = BUF(FETCH_FIELDS_MAX * 1000);
	struct str where;

	scan_need(&c->args, '[');
	where = upper(c, scan_while(&c->args, is_section_char));
	if (c->args.failed)
		return;
	section->how = how;
	/* the word may go on with "HEADER.FIELDS.NOT" */
	bool is_not = how == FETCH_BYTES && str_ends(where, STR("HEADER.FIELDS.NOT"));
	bool is_fields = is_not || (how == FETCH_BYTES && str_ends(where, STR("HEADER.FIELDS")));
	buf_printf(&label, "%s[" STR_FMT, name, STR_ARG(where));
	if (is_fields) {
		scan_peek(&c->args);
		section->how = is_not ? FETCH_FIELDS_NOT : FETCH_FIELDS;
		where = str_sub(where, 0, where.n - (is_not ? sizeof ".FIELDS.NOT" - 1 : sizeof ".FIELDS" - 1));
		parse_fields(c, section, &label);
	}
	scan_need(&c->args, ']');
	buf_add_char(&label, ']');
	if (where.n > 0 && !is_section(where, how != FETCH_BYTES))
		scan_fail(&c->args);
	if (label.failed)
		scan_fail(&c->args);
	section->where = where;
	section->label = str_copy(&c->arena, buf_str(&label));
}

/* "[" … "]" behind the word, and what part of it; name is the word of the answer */
static void parse_section(struct imap_cmd *c, struct fetch *f, const char *name, enum fetch_how how)
{
	struct fetch_section *section = add_section(c, f);

	if (section == NULL)
		return;
	fetch_parse_section(c, name, how, section);
	if (how != FETCH_BINARY_SIZE)
		parse_partial(c, section);
}

/* [SP "(" "LAZY" ")"]: every message has its preview from the start, so it says nothing new     RFC 8970 §4.1 */
static void parse_lazy(struct imap_cmd *c)
{
	struct scan after = c->args;

	if (scan_take(&after, ' ') && scan_take(&after, '(') && imap_word(&after, "LAZY") && scan_take(&after, ')'))
		c->args = after;
}

static bool is_item_char(char c) { return c == '.' || c == '8' || c == '2' || chr_alpha(c); }

/* One fetch-att; the word is taken up to "[" */
static void parse_item(struct imap_session *s, struct imap_cmd *c, struct fetch *f)
{
	static const struct { const char *word; unsigned bits; } plain[] = {
		{ "UID", FETCH_UID }, { "FLAGS", FETCH_FLAGS }, { "INTERNALDATE", FETCH_INTERNALDATE }, { "RFC822.SIZE", FETCH_SIZE },
		{ "ENVELOPE", FETCH_ENVELOPE }, { "BODYSTRUCTURE", FETCH_BODYSTRUCTURE }, { "EMAILID", FETCH_EMAILID },
		{ "THREADID", FETCH_THREADID }, { "SAVEDATE", FETCH_SAVEDATE },
	};
	struct str word = scan_while(&c->args, is_item_char);

	if (scan_peek(&c->args) == '[') {
		if (str_ieq(word, STR("BODY")) || str_ieq(word, STR("BODY.PEEK")))
			parse_section(c, f, "BODY", FETCH_BYTES);
		else if (str_ieq(word, STR("BINARY")) || str_ieq(word, STR("BINARY.PEEK")))
			parse_section(c, f, "BINARY", FETCH_BINARY);
		else if (str_ieq(word, STR("BINARY.SIZE")))
			parse_section(c, f, "BINARY.SIZE", FETCH_BINARY_SIZE);
		else
			scan_fail(&c->args);
		f->sets_seen |= str_ieq(word, STR("BODY")) || str_ieq(word, STR("BINARY"));
		return;
	}
	for (size_t i = 0; i < COUNT_OF(plain); i++) {
		if (str_ieq(word, str_of(plain[i].word))) {
			f->items |= plain[i].bits;
			return;
		}
	}
	if (str_ieq(word, STR("BODY"))) {
		f->items |= FETCH_BODY;
	} else if (str_ieq(word, STR("PREVIEW"))) {
		f->items |= FETCH_PREVIEW;
		parse_lazy(c);
	} else if (str_ieq(word, STR("MODSEQ"))) {
		f->items |= FETCH_MODSEQ;
		imap_enable_condstore(s);
	} else if (str_ieq(word, STR("RFC822"))) {
		add_fixed(c, f, "RFC822", "", true);
	} else if (str_ieq(word, STR("RFC822.PEEK"))) {  /* quirk RFC822_PEEK */
		add_fixed(c, f, "RFC822", "", false);
	} else if (str_ieq(word, STR("RFC822.HEADER"))) {
		add_fixed(c, f, "RFC822.HEADER", "HEADER", false);
	} else if (str_ieq(word, STR("RFC822.TEXT"))) {
		add_fixed(c, f, "RFC822.TEXT", "TEXT", true);
	} else {
		scan_fail(&c->args);
	}
}

/* fetch-modifiers = SP "(" fetch-modifier *(SP fetch-modifier) ")"                                    RFC 7162 §7 */
static void parse_modifiers(struct imap_session *s, struct imap_cmd *c, struct fetch *f)
{
	imap_sp(&c->args);
	scan_need(&c->args, '(');
	do {
		if (imap_word(&c->args, "CHANGEDSINCE")) {
			imap_sp(&c->args);
			f->since = imap_number64(&c->args);
			f->has_since = true;
			f->items |= FETCH_MODSEQ;
		} else if (imap_word(&c->args, "VANISHED")) {
			f->wants_vanished = true;
		} else if (!f->has_partial && imap_word(&c->args, "PARTIAL")) {
			imap_sp(&c->args);
			imap_arg_partial(c, &f->partial);
			f->has_partial = true;
		} else {
			scan_fail(&c->args);
		}
	} while (scan_take(&c->args, ' '));
	scan_need(&c->args, ')');
	if (f->wants_vanished && !(f->has_since && c->is_uid && s->tongue.is_qresync)) {
		c->why = "VANISHED needs UID FETCH, CHANGEDSINCE, and ENABLE QRESYNC before (RFC 7162 section 3.2.6)";
		scan_fail(&c->args);
	}
	if (!c->args.failed && f->has_since)
		imap_enable_condstore(s);
}

static bool parse_macro(struct imap_cmd *c, struct fetch *f)
{
	if (imap_word(&c->args, "ALL"))
		f->items |= FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE | FETCH_ENVELOPE;
	else if (imap_word(&c->args, "FAST"))
		f->items |= FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE;
	else if (imap_word(&c->args, "FULL"))
		f->items |= FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE | FETCH_ENVELOPE | FETCH_BODY;
	else
		return false;
	return true;
}

void fetch_parse_items(struct imap_session *s, struct imap_cmd *c, struct fetch *f)
{
	scan_need(&c->args, '(');
	do
		parse_item(s, c, f);
	while (!c->args.failed && scan_take(&c->args, ' '));
	scan_need(&c->args, ')');
}

bool fetch_parse(struct imap_session *s, struct imap_cmd *c, struct fetch *f)
{
	if (c->is_uid && !s->tongue.is_uidonly)
		f->items |= FETCH_UID;
	if (scan_peek(&c->args) == '(')
		fetch_parse_items(s, c, f);
	else if (!parse_macro(c, f))
		parse_item(s, c, f);
	if (!c->args.failed && !scan_done(&c->args))
		parse_modifiers(s, c, f);
	return imap_arg_end(c);
}

bool fetch_needs_record(const struct fetch *f)
{
	if (f->items & FETCH_RECORD)
		return true;
	for (size_t i = 0; i < f->n_sections; i++)
		if (f->sections[i].where.n > 0)
			return true;
	return false;
}
