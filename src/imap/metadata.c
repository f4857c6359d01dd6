/* GETMETADATA and SETMETADATA (RFC 5464), and the entries of LIST RETURN (METADATA …) (RFC 9590).
 *
 * /private is the reader's own, also where the mailbox is another account's; /shared everybody's who may read it, and to be changed by those who
 * may set flags there (RFC 5464 §3.3). The notes of the server
 * ("" as mailbox) are the account's under /private; /shared of the server is its administrator's, so nobody writes it here.
 *
 * /private/specialuse is what a mailbox is for, as LIST says it (RFC 6154 §4): its owner reads it here, and changes it. */
#include "imap/imap_private.h"
#include "store/metadata.h"
#include <stdlib.h>

enum { DEPTH_ALL = 2 };
/* What a guest may see of one mailbox, all asked for: what is shared, his own; a value of up to 1000 bytes is quoted, and may get as many \. */
enum { LINE_MAX_BYTES = METADATA_TOTAL_MAX + METADATA_GUEST_MAX + 2 * METADATA_ENTRIES_MAX * 1400 };

struct imap_metadata {
	struct str entries[METADATA_ENTRIES_MAX];
	size_t     n;
	uint64_t   max_size;        /* bytes of a value; longer ones are counted only */
	int        depth;           /* 0: exactly these; 1: and what is directly below; DEPTH_ALL */
	uint64_t   longest;         /* of the values that were too long */
	bool       is_read;         /* LIST: those of all mailboxes are here, by mailbox_id */
	struct metadata *all;
	size_t     n_all;
};

static struct str lower(struct imap_cmd *c, struct str s)
{
	char *p = arena_alloc(&c->arena, s.n + 1);

	for (size_t i = 0; i < s.n; i++)
		p[i] = chr_lower(s.p[i]);
	return str_make(p, s.n);
}

/* entry: begins with "/private" or "/shared", no empty part, no wildcard, printable ASCII                 RFC 5464 §3.2 */
static struct str parse_entry(struct imap_cmd *c)
{
	struct str name = lower(c, imap_astring(&c->args, &c->arena));
	bool is_ok = name.n <= METADATA_ENTRY_MAX && !str_ends(name, STR("/")) && str_find(name, STR("//")) < 0 &&
	             (str_eq(name, STR("/private")) || str_eq(name, STR("/shared")) || str_starts(name, STR("/private/")) ||
	              str_starts(name, STR("/shared/")));

	for (size_t i = 0; i < name.n; i++)
		is_ok = is_ok && name.p[i] > ' ' && name.p[i] < 127 && name.p[i] != '*' && name.p[i] != '%';
	if (!is_ok && !c->args.failed) {
		c->why = "the name of an entry begins with /private/ or /shared/, without empty parts, * or % (RFC 5464 section 3.2)";
		scan_fail(&c->args);
	}
	return name;
}

static bool has_entry(const struct imap_metadata *w, struct str entry)
{
	for (size_t i = 0; i < w->n; i++)
		if (str_eq(w->entries[i], entry))
			return true;
	return false;
}

/* entries = entry / "(" entry *(SP entry) ")" */
static void parse_entries(struct imap_cmd *c, struct imap_metadata *w)
{
	bool is_list = scan_take(&c->args, '(');

	do {
		if (w->n == METADATA_ENTRIES_MAX)
			scan_fail(&c->args);
		struct str entry = parse_entry(c);
		if (c->args.failed)
			return;
		if (!has_entry(w, entry))
			w->entries[w->n++] = entry;
	} while (is_list && scan_take(&c->args, ' '));
	if (is_list)
		scan_need(&c->args, ')');
}

/* "(MAXSIZE 1024 DEPTH infinity)": before the mailbox in the grammar of RFC 5464 §5, behind it in its examples */
static bool parse_options(struct imap_cmd *c, struct imap_metadata *w)
{
	struct scan before = c->args;

	if (!scan_take(&c->args, '('))
		return false;
	if (scan_peek(&c->args) == '/' || scan_peek(&c->args) == '"' || scan_peek(&c->args) == '{') {  /* the entries */
		c->args = before;
		return false;
	}
	do {
		if (imap_word(&c->args, "MAXSIZE")) {
			imap_sp(&c->args);
			w->max_size = imap_number64(&c->args);
		} else if (imap_word(&c->args, "DEPTH")) {
			imap_sp(&c->args);
			w->depth = imap_word(&c->args, "0") ? 0 : imap_word(&c->args, "1") ? 1 : imap_word(&c->args, "infinity") ? DEPTH_ALL : -1;
			if (w->depth < 0)
				scan_fail(&c->args);
		} else {
			scan_fail(&c->args);
		}
	} while (scan_take(&c->args, ' '));
	scan_need(&c->args, ')');
	imap_sp(&c->args);
	return true;
}

/* Is entry the wanted one, or so far below it? */
static bool is_wanted(struct str entry, struct str wanted, int depth)
{
	if (str_eq(entry, wanted))
		return true;
	if (depth == 0 || !str_starts(entry, wanted) || entry.p[wanted.n] != '/')
		return false;
	return depth == DEPTH_ALL || str_chr(str_from(entry, wanted.n + 1), '/') < 0;
}

static void put_value(struct buf *b, struct str value, bool is_utf8)
{
	bool has_nul = str_chr(value, '\0') >= 0;

	if (has_nul) {
		buf_printf(b, "~{%zu}\r\n", value.n);
		buf_add(b, value);
	} else {
		imap_put_string(b, value, is_utf8);
	}
}

static void put_entry(struct buf *b, size_t *count, struct str entry)
{
	buf_add_cstr(b, (*count)++ ? " " : "(");
	buf_add(b, entry);
	buf_add_char(b, ' ');
}

/* Among the entries of a mailbox, in order, what it is for. */
static void add_special_use(struct imap_session *s, const struct mailbox *m, struct arena *a, struct metadata **all, size_t *n)
{
	struct str use = m != NULL && s->guest == NULL ? str_of(mailbox_role_attribute(m->role)) : STR("");
	struct metadata *more;
	size_t at = 0;

	if (use.n == 0)
		return;
	more = arena_array(a, *n + 1, sizeof *more);
	while (at < *n && str_cmp((*all)[at].entry, STR(METADATA_SPECIAL_USE)) < 0)
		at++;
	if (*n > 0) {
		memcpy(more, *all, at * sizeof *more);
		memcpy(more + at + 1, *all + at, (*n - at) * sizeof *more);
	}
	more[at] = (struct metadata){ STR(METADATA_SPECIAL_USE), use };
	*all = more;
	(*n)++;
}

/* "* METADATA mailbox (entry value …)", each entry once, also where it lies below two that were asked for; one that was asked for by name and is not there
 * is NIL. m NULL: the account. */
static void put_metadata(struct imap_session *s, const struct mailbox *m, struct imap_metadata *w, struct metadata *all, size_t n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf line = BUF(LINE_MAX_BYTES);
	bool is_utf8 = imap_names_utf8(s->tongue);
	size_t count = 0;

	add_special_use(s, m, &a, &all, &n);
	bool *is_told = arena_array(&a, n + 1, sizeof *is_told);
	for (size_t i = 0; i < w->n; i++) {
		bool is_there = false;
		for (size_t k = 0; k < n; k++) {
			if (!is_wanted(all[k].entry, w->entries[i], w->depth))
				continue;
			is_there |= str_eq(all[k].entry, w->entries[i]);
			if (is_told[k])
				continue;
			is_told[k] = true;
			if (all[k].value.n > w->max_size) {
				w->longest = all[k].value.n > w->longest ? all[k].value.n : w->longest;
				continue;
			}
			put_entry(&line, &count, all[k].entry);
			put_value(&line, all[k].value, is_utf8);
		}
		if (!is_there && w->depth == 0) {
			put_entry(&line, &count, w->entries[i]);
			buf_add_cstr(&line, "NIL");
		}
	}
	if (count == 0)
		return;
	buf_add_cstr(&s->out, "* METADATA ");
	if (m == NULL)
		buf_add_cstr(&s->out, "\"\"");
	else
		imap_put_mailbox(&s->out, imap_name_of(s, m->path, &a), is_utf8);
	buf_add_char(&s->out, ' ');
	buf_add(&s->out, buf_str(&line));
	buf_add_cstr(&s->out, ")\r\n");
	imap_spill(s);
}

/* Whose "/private" is meant. */
static uint64_t reader_of(const struct imap_session *s) { return s->guest != NULL ? s->as_guest->account : 0; }

static enum err find_mailbox(struct imap_session *s, struct imap_cmd *c, struct str path, unsigned rights, struct mailbox *m)
{
	*m = (struct mailbox){ 0 };
	if (path.n == 0)
		return s->guest == NULL ? ERR_OK : ERR_NOTFOUND;  /* those of the account are its owner's */
	return imap_find(s, path, rights, &c->arena, m);
}

/* GETMETADATA [options] mailbox entries                                                          RFC 5464 §4.2 */
struct imap_reply imap_getmetadata(struct imap_session *s, struct imap_cmd *c)
{
	struct imap_metadata *w = ARENA_NEW(&c->arena, struct imap_metadata);
	struct metadata *all;
	struct mailbox m;
	struct str path;
	size_t n;
	enum err e;

	w->max_size = UINT64_MAX;
	bool has_options = parse_options(c, w);
	path = imap_arg_mailbox(c, s);
	imap_sp(&c->args);
	if (!has_options)
		parse_options(c, w);
	parse_entries(c, w);
	if (!imap_arg_end(c))
		return imap_bad(c, "[(MAXSIZE n DEPTH 0/1/infinity)] mailbox (entries)");
	e = find_mailbox(s, c, path, RIGHT_LOOKUP | RIGHT_READ, &m);
	if (e == ERR_OK)
		e = metadata_read(s->view, m.mailbox_id, reader_of(s), &c->arena, &all, &n);
	if (e != ERR_OK)
		return imap_err(c, e);
	put_metadata(s, path.n > 0 ? &m : NULL, w, all, n);
	if (w->longest > 0)
		return imap_ok(c, "[METADATA LONGENTRIES %llu] the longer ones are left out", (unsigned long long)w->longest);
	return imap_ok(c, "that is all");
}

/* "(" entry-value *(SP entry-value) ")"; entry-value = entry SP (nstring / literal8) */
static size_t parse_values(struct imap_cmd *c, struct metadata *out)
{
	size_t n = 0;

	scan_need(&c->args, '(');
	do {
		if (n == METADATA_ENTRIES_MAX)
			scan_fail(&c->args);
		struct str entry = parse_entry(c);
		imap_sp(&c->args);
		scan_take(&c->args, '~');
		struct str value = imap_nstring(&c->args, &c->arena);
		if (c->args.failed)
			return 0;
		out[n++] = (struct metadata){ entry, value };
	} while (scan_take(&c->args, ' '));
	scan_need(&c->args, ')');
	return n;
}

static struct imap_reply refuse_value(struct imap_cmd *c, const struct metadata *entries, size_t n, bool is_server)
{
	for (size_t i = 0; i < n; i++) {
		if (entries[i].value.n > METADATA_VALUE_MAX)
			return imap_no(c, "METADATA MAXSIZE 65536", "a value has at most 65536 bytes");
		if (is_server && str_starts(entries[i].entry, STR("/shared")))
			return imap_no(c, "NOPERM", "only the administrator writes what all users of the server see");
	}
	return (struct imap_reply){ .status = IMAP_OK };
}

static unsigned rights_for(const struct metadata *entries, size_t n)
{
	unsigned rights = RIGHT_LOOKUP | RIGHT_READ;

	for (size_t i = 0; i < n; i++)
		if (str_starts(entries[i].entry, STR("/shared")))
			rights |= RIGHT_WRITE;
	return rights;
}

static bool has_special_use(const struct metadata *entries, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(entries[i].entry, STR(METADATA_SPECIAL_USE)))
			return true;
	return false;
}

/* NIL: the mailbox is for nothing special any more. With other entries it would not be one step. */
static struct imap_reply set_special_use(struct imap_session *s, struct imap_cmd *c, int64_t mailbox_id, const struct metadata *entries, size_t n)
{
	enum mailbox_role role = MAILBOX_PLAIN;
	enum err e;

	if (n > 1)
		return imap_no(c, "CANNOT", METADATA_SPECIAL_USE " is set by itself, without other entries in the same command");
	if (s->guest != NULL)
		return imap_no(c, "USEATTR", "what a mailbox of another account is for, only its owner says");
	if (entries[0].value.p != NULL && !imap_role_of(entries[0].value, &role))
		return imap_no(c, "USEATTR", "a mailbox can be for \\Drafts, \\Sent, \\Junk, \\Trash or \\Archive");
	e = view_mailbox_set_role(s->view, mailbox_id, role);
	if (e == ERR_CONFLICT)
		return imap_no(c, "USEATTR", "another mailbox has this use; there can be only one");
	if (e == ERR_DENIED)
		return imap_no(c, "USEATTR", "INBOX is for what comes in, and for nothing else");
	return e == ERR_OK ? imap_ok(c, "noted") : imap_err(c, e);
}

/* SETMETADATA mailbox entry-values                                                               RFC 5464 §4.3 */
struct imap_reply imap_setmetadata(struct imap_session *s, struct imap_cmd *c)
{
	struct metadata *entries = arena_array(&c->arena, METADATA_ENTRIES_MAX, sizeof *entries);
	struct str path = imap_arg_mailbox(c, s);
	struct imap_reply r;
	struct mailbox m;
	size_t n;
	enum err e;

	imap_sp(&c->args);
	n = parse_values(c, entries);
	if (!imap_arg_end(c))
		return imap_bad(c, "mailbox (entry value …)");
	r = refuse_value(c, entries, n, path.n == 0);
	if (r.status != IMAP_OK)
		return r;
	e = find_mailbox(s, c, path, rights_for(entries, n), &m);
	if (e == ERR_OK && path.n > 0 && has_special_use(entries, n))
		return set_special_use(s, c, m.mailbox_id, entries, n);
	if (e == ERR_OK)
		e = metadata_write(s->view, m.mailbox_id, s->guest ? s->as_guest->account : 0, entries, n);
	if (e == ERR_LIMIT)
		return imap_no(c, "METADATA TOOMANY", "a mailbox has at most %d entries, and an account at most 4 MB of them", METADATA_ENTRIES_MAX);
	return e == ERR_OK ? imap_ok(c, "noted") : imap_err(c, e);
}

/* ------------------------------------------------------------------------------------------------ LIST RETURN (METADATA …) */

struct imap_metadata *imap_parse_metadata_entries(struct imap_cmd *c)
{
	struct imap_metadata *w = ARENA_NEW(&c->arena, struct imap_metadata);

	w->max_size = UINT64_MAX;
	parse_entries(c, w);
	return w;
}

void imap_put_metadata_entries(struct buf *b, const struct imap_metadata *wanted)
{
	buf_add_cstr(b, " METADATA (");
	for (size_t i = 0; i < wanted->n; i++) {
		buf_add_cstr(b, i > 0 ? " " : "");
		imap_put_string(b, wanted->entries[i], false);
	}
	buf_add_char(b, ')');
}

static int by_mailbox(const void *left, const void *right)
{
	const struct metadata *l = left, *r = right;

	return l->mailbox_id < r->mailbox_id ? -1 : l->mailbox_id > r->mailbox_id;
}

enum err imap_put_metadata(struct imap_session *s, const struct mailbox *m, struct imap_metadata *wanted)
{
	struct metadata *first, *end;

	if (!wanted->is_read)  /* all at once: of 10,000 mailboxes each by itself took 0.2 s */
		TRY(metadata_read_all(s->view, reader_of(s), &s->cmd.arena, &wanted->all, &wanted->n_all));
	wanted->is_read = true;
	end = wanted->all + wanted->n_all;
	first = wanted->n_all == 0 ? NULL : bsearch(&(struct metadata){ .mailbox_id = m->mailbox_id }, wanted->all, wanted->n_all, sizeof *first, by_mailbox);
	struct metadata *last = first;
	while (first != NULL && first > wanted->all && first[-1].mailbox_id == m->mailbox_id)
		first--;
	while (last != NULL && last < end && last->mailbox_id == m->mailbox_id)
		last++;
	put_metadata(s, m, wanted, first, (size_t)(last - first));
	return ERR_OK;
}
