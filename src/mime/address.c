/* Address lists.
 * A reader for what mail has, not for the grammar: words (atoms, quoted strings, dots, comments) are collected until
 * a byte says what they were. "<" makes them a display name, ":" a group name, "@" a local part, "," or the end an
 * address without domain. The same words are kept as a phrase (joined by single blanks, or none where there was none)
 * and as a local part (joined without). So a phrase with dots ("John Q. Public"), 8-bit text, or a missing ">" all
 * come out as a person would read them. Nothing fails. */
#include "mime/address.h"
#include "mime/header.h"
#include "mime/mime_private.h"
#include "base/bytes.h"

enum { WORDS_MAX = 200, ROUTE_MAX = 1000, ATS_MAX = 3 };

struct word {
	struct str text;
	bool       is_after_space;
	bool       is_quoted;
};
struct words {
	struct word w[WORDS_MAX];
	size_t      n;
	struct str  comment;   /* the last one among them */
};
struct list {
	struct arena        *a;
	struct mail_address *m;
	size_t               n, cap;
};

static const bool ends_word[256] = {
	[0 ... ' '] = true, ['('] = true, [')'] = true, ['<'] = true, ['>'] = true, ['@'] = true, [','] = true, [';'] = true,
	[':'] = true, ['"'] = true, [127] = true,
};

static struct str word(struct scan *s)  /* up to a delimiter; 8-bit too */
{
	const char *from = s->p;

	while (s->p < s->end && !ends_word[(unsigned char)*s->p])
		s->p++;
	return str_make(from, (size_t)(s->p - from));
}

static void read_words(struct arena *a, struct scan *s, struct words *w)
{
	w->n = 0;
	w->comment = STR_NONE;
	for (;;) {
		const char *before = s->p;
		mime_skip_cfws(s, &w->comment);
		bool has_space = s->p != before;
		int c = scan_peek(s);
		struct str text;
		if (c == '"')
			text = mime_quoted_string(a, s);
		else
			text = word(s);
		if (c != '"' && text.n == 0) {
			if (c >= 0 && ((unsigned char)c <= ' ' || c == 127 || c == ')')) {
				s->p++;  /* control bytes and stray ")" */
				continue;
			}
			return;
		}
		if (w->n < WORDS_MAX)
			w->w[w->n++] = (struct word){ text, has_space, c == '"' };
	}
}

static struct str join(struct arena *a, const struct words *w, bool is_phrase)
{
	size_t n = 0;

	if (w->n == 1)
		return w->w[0].text.p ? w->w[0].text : STR("");
	for (size_t i = 0; i < w->n; i++)
		n += w->w[i].text.n + 1;
	char *out = arena_alloc(a, n + 1);
	n = 0;
	for (size_t i = 0; i < w->n; i++) {
		if (i && is_phrase && (w->w[i].is_after_space || w->w[i].is_quoted || w->w[i - 1].is_quoted))
			out[n++] = ' ';
		if (w->w[i].text.n)
			memcpy(out + n, w->w[i].text.p, w->w[i].text.n);
		n += w->w[i].text.n;
	}
	return str_make(out, n);
}

static void add(struct list *l, struct mail_address m)
{
	if (l->n == MAIL_ADDRESSES_MAX)
		return;
	l->m = arena_grow(l->a, l->m, l->n, &l->cap, sizeof(*l->m));
	l->m[l->n++] = m;
}

/* The cursor is after "@". domain = dot-atom / domain-literal / obs-domain; blanks and comments go. */
static struct str read_domain(struct arena *a, struct scan *s, struct str *comment)
{
	struct words w;

	w.n = 0;  /* its array is 5 kB */
	mime_skip_cfws(s, comment);
	if (scan_peek(s) == '[') {
		const char *from = s->p;
		while (!scan_done(s) && *s->p != ']' && *s->p != ',' && *s->p != '>')
			s->p++;
		scan_take(s, ']');
		return str_make(from, (size_t)(s->p - from));
	}
	for (;;) {
		struct str text = word(s);
		if (text.n && w.n < WORDS_MAX)
			w.w[w.n++].text = text;
		const char *from = s->p;
		mime_skip_cfws(s, comment);
		/* "a . b" is one obsolete domain, "a b" is not */
		bool goes_on = text.n && s->p != from && (scan_peek(s) == '.' || text.p[text.n - 1] == '.');
		if (!goes_on)
			break;
	}
	return w.n ? join(a, &w, false) : STR("");
}

/* "a@b@c": the last one is the domain. More than ATS_MAX of them is no address: they are passed over. */
static void read_domains(struct arena *a, struct scan *s, struct mail_address *m, struct str *comment)
{
	for (int i = 0; scan_take(s, '@'); i++) {
		if (m->domain.n && i < ATS_MAX)
			m->local = arena_printf(a, STR_FMT "@" STR_FMT, STR_ARG(m->local), STR_ARG(m->domain));
		m->domain = read_domain(a, s, comment);
	}
}

/* After "<": [route ":"] local "@" domain ">"; a comment goes nowhere. */
static void read_angle(struct arena *a, struct scan *s, struct mail_address *m)
{
	struct words w;

	mime_skip_cfws(s, NULL);
	if (scan_peek(s) == '@') {
		const char *from = s->p;
		while (!scan_done(s) && s->p - from < ROUTE_MAX && *s->p != ':' && *s->p != '>')
			s->p++;
		struct str route = str_trim(str_make(from, (size_t)(s->p - from)));
		if (scan_take(s, ':')) {
			m->route = route;
		} else {
			s->p = from;
		}
	}
	read_words(a, s, &w);
	m->local = join(a, &w, false);
	read_domains(a, s, m, NULL);
	while (!scan_done(s) && *s->p != '>' && *s->p != ',')  /* rubbish up to the bracket */
		s->p++;
	scan_take(s, '>');
}

static bool is_group_open(const struct list *l)
{
	for (size_t i = l->n; i > 0; i--)
		if (l->m[i - 1].kind != ADDRESS_MAILBOX)
			return l->m[i - 1].kind == ADDRESS_GROUP_BEGIN;
	return false;
}

/* One address, group begin or group end; something is always consumed. */
static void read_one(struct list *l, struct scan *s, bool *in_group)
{
	struct mail_address m = { .kind = ADDRESS_MAILBOX, .local = STR(""), .domain = STR("") };
	struct words w;

	read_words(l->a, s, &w);
	int c = scan_peek(s);
	if (c == '<') {
		s->p++;
		if (w.n)
			m.name = join(l->a, &w, true);
		read_angle(l->a, s, &m);
		if (m.local.n || m.domain.n || m.name.n)
			add(l, m);
		return;
	}
	if (c == ':' && !*in_group) {
		s->p++;
		m.kind = ADDRESS_GROUP_BEGIN;
		m.name = join(l->a, &w, true);
		add(l, m);
		*in_group = true;
		return;
	}
	if (c == '@') {
		m.local = join(l->a, &w, false);
		read_domains(l->a, s, &m, &w.comment);
		/* "bob@example.org <bob@example.org>": what came first was the name */
		if (scan_peek(s) == '<') {
			m.name = arena_printf(l->a, STR_FMT "@" STR_FMT, STR_ARG(m.local), STR_ARG(m.domain));
			m.local = m.domain = STR("");
			s->p++;
			read_angle(l->a, s, &m);
		} else if (w.comment.n) {
			m.name = header_unfold(l->a, w.comment);
		}
		if (m.local.n || m.domain.n)
			add(l, m);
		return;
	}
	if (w.n) {
		m.local = join(l->a, &w, true);
		if (w.comment.n)
			m.name = header_unfold(l->a, w.comment);
		add(l, m);
		return;
	}
	if (c >= 0 && c != ',' && c != ';')
		s->p++;  /* a delimiter that means nothing here */
}

size_t address_list_parse(struct arena *a, struct str value, struct mail_address **list)
{
	struct list l = { .a = a };
	struct scan s = scan_of(header_unfold(a, value));
	bool in_group = false;

	while (!scan_done(&s) && l.n < MAIL_ADDRESSES_MAX - 1) {  /* room for the end of a group */
		mime_skip_cfws(&s, NULL);
		if (scan_take(&s, ','))
			continue;
		if (scan_take(&s, ';')) {
			if (in_group)
				add(&l, (struct mail_address){ .kind = ADDRESS_GROUP_END });
			in_group = false;
			continue;
		}
		if (!scan_done(&s))
			read_one(&l, &s, &in_group);
	}
	if (is_group_open(&l))
		add(&l, (struct mail_address){ .kind = ADDRESS_GROUP_END });
	*list = l.m;
	return l.n;
}

static bool is_atext(char c)  /* RFC 5322 §3.2.3, RFC 6532 §3.2 */
{
	return (unsigned char)c >= 128 || chr_alpha(c) || chr_digit(c) ||
	       (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool is_dot_atom(struct str s)
{
	if (s.n == 0 || s.p[0] == '.' || s.p[s.n - 1] == '.')
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!is_atext(s.p[i]) && (s.p[i] != '.' || s.p[i - 1] == '.'))
			return false;
	return true;
}

struct str address_text(struct arena *a, const struct mail_address *m)
{
	struct str local = m->local;

	if (!is_dot_atom(local) && m->domain.n) {
		char *q = arena_alloc(a, local.n * 2 + 3);
		size_t n = 0;
		q[n++] = '"';
		for (size_t i = 0; i < local.n; i++) {
			if (local.p[i] == '"' || local.p[i] == '\\')
				q[n++] = '\\';
			q[n++] = local.p[i];
		}
		q[n++] = '"';
		local = str_make(q, n);
	}
	if (m->domain.n == 0)
		return local.p ? local : STR("");
	char *out = arena_alloc(a, local.n + 1 + m->domain.n + 1);
	memcpy(out, local.p, local.n);
	out[local.n] = '@';
	memcpy(out + local.n + 1, m->domain.p, m->domain.n);
	return str_make(out, local.n + 1 + m->domain.n);
}

struct str address_name(struct arena *a, const struct mail_address *m)
{
	return m->name.n ? header_decode(a, m->name) : STR("");
}

bool address_is_valid(const struct mail_address *m)
{
	if (m->kind != ADDRESS_MAILBOX || m->local.n == 0 || m->local.n > 64 || m->domain.n == 0 || m->domain.n > 255)
		return false;
	if (str_has_ctl(m->local) || !utf8_valid(m->local) || !utf8_valid(m->domain))
		return false;
	if (m->domain.p[0] == '[')
		return m->domain.n > 2 && m->domain.p[m->domain.n - 1] == ']' && !str_has_ctl(m->domain);
	size_t label = 0;
	for (size_t i = 0; i < m->domain.n; i++) {
		char c = m->domain.p[i];
		if (c == '.') {
			if (label == 0)
				return false;
			label = 0;
		} else if (chr_alpha(c) || chr_digit(c) || c == '-' || c == '_' || (unsigned char)c >= 128) {
			label++;
		} else {
			return false;
		}
	}
	return label > 0;
}
