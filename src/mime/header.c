/* Fields of a header. Nothing here fails: a header is what strangers wrote, and somebody wants to read it anyway. */
#include "mime/header.h"
#include "mime/mime_private.h"
#include "base/bytes.h"

/* The next line with its line break. */
static bool take_line(struct scan *s, struct str *line)
{
	if (scan_done(s))
		return false;
	size_t left = scan_left(s);
	const char *lf = memchr(s->p, '\n', left);
	*line = str_make(s->p, lf ? (size_t)(lf - s->p) + 1 : left);
	s->p += line->n;
	return true;
}

static bool is_empty_line(struct str line)
{
	return line.n > 0 && (line.p[0] == '\n' || (line.n == 2 && line.p[0] == '\r' && line.p[1] == '\n'));
}

static bool is_field_name(struct str name)
{
	for (size_t i = 0; i < name.n; i++)
		if ((unsigned char)name.p[i] <= ' ' || (unsigned char)name.p[i] >= 127)
			return false;
	return name.n > 0;
}

static struct str without_break(struct str line)
{
	if (line.n && line.p[line.n - 1] == '\n')
		line.n--;
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	return line;
}

bool header_next(struct scan *s, struct header_field *out)
{
	struct str line;

	while (take_line(s, &line)) {
		if (is_empty_line(line)) {
			s->p = s->end;
			return false;
		}
		while (!scan_done(s) && (*s->p == ' ' || *s->p == '\t')) {
			struct str more;
			take_line(s, &more);
			line.n += more.n;
		}
		const char *colon = memchr(line.p, ':', line.n);
		if (!colon)
			continue;
		struct str name = str_make(line.p, (size_t)(colon - line.p));
		while (name.n && (name.p[name.n - 1] == ' ' || name.p[name.n - 1] == '\t'))
			name.n--;
		if (!is_field_name(name))
			continue;
		out->name = name;
		out->value = without_break(str_from(line, (size_t)(colon - line.p) + 1));
		out->line = line;
		return true;
	}
	return false;
}

bool header_find(struct str header, struct str name, struct str *value)
{
	struct scan s = scan_of(header);
	struct header_field f;

	while (header_next(&s, &f)) {
		if (str_ieq(f.name, name)) {
			*value = f.value;
			return true;
		}
	}
	*value = STR_NONE;
	return false;
}

size_t header_size(struct str message)
{
	struct scan s = scan_of(message);
	struct str line;

	while (take_line(&s, &line))
		if (is_empty_line(line))
			break;
	return scan_offset(&s);
}

struct str header_unfold(struct arena *a, struct str value)
{
	if (value.n == 0)
		return STR("");
	if (!memchr(value.p, '\n', value.n) && !memchr(value.p, '\r', value.n) && !memchr(value.p, '\0', value.n))
		return str_trim(value);
	char *out = arena_alloc(a, value.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < value.n; i++) {
		char c = value.p[i];
		bool is_break = c == '\n' || (c == '\r' && i + 1 < value.n && value.p[i + 1] == '\n');
		if (!is_break)
			out[n++] = c == '\r' || c == '\0' ? '?' : c;  /* as mime_rewrite() writes them */
	}
	return str_trim(str_make(out, n));
}

struct str header_decode(struct arena *a, struct str value)
{
	struct str text = header_decode_words(a, header_unfold(a, value));

	if (!str_has_ctl(text))
		return text;
	char *out = arena_alloc(a, text.n + 1);
	for (size_t i = 0; i < text.n; i++)
		out[i] = (unsigned char)text.p[i] < 32 || text.p[i] == 127 ? ' ' : text.p[i];
	return str_make(out, text.n);
}

/* --------------------------------------------------------------------------------------------- message identifiers */

static struct str without_space(struct arena *a, struct str s)
{
	char *out = NULL;
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		bool is_space = s.p[i] == ' ' || s.p[i] == '\t' || s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == '\0';
		if (is_space && !out) {
			out = arena_alloc(a, s.n + 1);
			memcpy(out, s.p, n = i);
		}
		if (!is_space && out)
			out[n++] = s.p[i];
	}
	return out ? str_make(out, n) : s;
}

size_t header_ids(struct arena *a, struct str value, struct str **ids, size_t max)
{
	struct str last[HEADER_IDS_MAX];
	size_t n = 0;
	struct scan s = scan_of(value);

	if (max > HEADER_IDS_MAX)
		max = HEADER_IDS_MAX;
	*ids = NULL;
	if (max == 0)
		return 0;
	bool has_brackets = str_chr(value, '<') >= 0;
	while (!scan_done(&s)) {
		struct str id;
		if (has_brackets) {
			scan_until(&s, '<');
			if (!scan_take(&s, '<'))
				break;
			id = without_space(a, scan_until(&s, '>'));
		} else {
			scan_skip(&s, " \t\r\n");
			const char *from = s.p;
			while (!scan_done(&s) && *s.p != ' ' && *s.p != '\t' && *s.p != '\r' && *s.p != '\n')
				s.p++;
			id = str_make(from, (size_t)(s.p - from));
			if (str_chr(id, '@') < 0)
				continue;
		}
		if (id.n)
			last[n++ % max] = id;  /* a ring: the newest references are the last ones */
	}
	size_t kept = n < max ? n : max;
	if (kept)
		*ids = arena_array(a, kept, sizeof(**ids));
	for (size_t i = 0; i < kept; i++)
		(*ids)[i] = last[(n - kept + i) % max];
	return kept;
}

/* ------------------------------------------------------------------------------------- base subject, RFC 5256 §2.1 */

static bool take_blob(struct str *s)  /* subj-blob = "[" *BLOBCHAR "]" *WSP */
{
	if (s->n == 0 || s->p[0] != '[')
		return false;
	for (size_t i = 1; i < s->n; i++) {
		if (s->p[i] == '[')
			return false;
		if (s->p[i] == ']') {
			i++;
			while (i < s->n && s->p[i] == ' ')
				i++;
			*s = str_from(*s, i);
			return true;
		}
	}
	return false;
}

static bool take_refwd(struct str *s)  /* subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":" */
{
	struct str t = *s;

	if (str_istarts(t, STR("re")))
		t = str_from(t, 2);
	else if (str_istarts(t, STR("fwd")))
		t = str_from(t, 3);
	else if (str_istarts(t, STR("fw")))
		t = str_from(t, 2);
	else
		return false;
	while (t.n && t.p[0] == ' ')
		t = str_from(t, 1);
	(void)take_blob(&t);
	if (t.n == 0 || t.p[0] != ':')
		return false;
	*s = str_from(t, 1);
	return true;
}

static bool take_leader(struct str *s)  /* subj-leader = (*subj-blob subj-refwd) / WSP */
{
	struct str t = *s;

	if (t.n && t.p[0] == ' ') {
		*s = str_from(t, 1);
		return true;
	}
	while (take_blob(&t))
		;
	if (!take_refwd(&t))
		return false;
	*s = t;
	return true;
}

struct str header_base_subject(struct arena *a, struct str value, bool *is_reply)
{
	struct str raw = header_decode(a, value);
	char *text = arena_alloc(a, raw.n + 1);
	size_t n = 0;
	bool unused;

	if (!is_reply)
		is_reply = &unused;
	*is_reply = false;
	for (size_t i = 0; i < raw.n; i++)  /* (1) runs of white space are one SP */
		if (raw.p[i] != ' ' || (n > 0 && text[n - 1] != ' '))
			text[n++] = raw.p[i];
	struct str s = str_make(text, n);
	for (;;) {
		for (;;) {  /* (2) trailers */
			s = str_trim(s);
			if (!str_iends(s, STR("(fwd)")))
				break;
			s.n -= 5;
			*is_reply = true;
		}
		bool has_changed;
		do {  /* (3), (4), (5): leaders, and blobs that leave something */
			has_changed = false;
			while (s.n) {
				struct str before = s;
				if (!take_leader(&s))
					break;
				if (before.p[0] != ' ')
					*is_reply = true;
				has_changed = true;
			}
			struct str t = s;
			if (take_blob(&t) && t.n) {
				s = t;
				has_changed = true;
			}
		} while (has_changed);
		if (!str_istarts(s, STR("[fwd:")) || s.p[s.n - 1] != ']')  /* (6) */
			return s;
		s = str_sub(s, 5, s.n - 6);
		*is_reply = true;
	}
}
