/* Tables.
 *
 * Each column is as wide as its widest cell. When the sum passes the terminal's width, the widest column gives way
 * one column at a time until all fits or every column is at SHRINK_MIN: so a long subject is cut before an address
 * is. A number is never cut, since half a number is a lie; nor is the first column, which names the row: it is what the
 * next command wants (`queue show 3f2a9c01-1234`); nor is anything in a pipe, where a script may be reading. What does not
 * fit even then is shown as records, a line for each cell. In a pipe a very long cell (a DKIM key) stands out of its column, instead of
 * pushing what stands behind it away in every row. */
#include "cli/table.h"
#include "base/bytes.h"

enum { GAP = 2, SHRINK_MIN = 8, WRAP_MIN = 20, PIPE_COLUMN_MAX = 80, OUT_MAX = 64 << 20 };

struct column {
	struct str title;
	bool       is_number, is_whole;
};

struct table {
	struct arena *arena;
	struct column columns[TABLE_COLUMNS_MAX];
	size_t        column_count;
	struct str   *cells;      /* row by row */
	size_t        n, cap;     /* cells */
};

/* Of one character. Ranges from Unicode 15 (EastAsianWidth W and F, general category Mn), the blocks that occur in
 * mail. */
static size_t char_columns(int32_t c)
{
	static const struct { int32_t from, to; uint8_t columns; } ranges[] = {
		{ 0x0300, 0x036f, 0 }, { 0x0483, 0x0489, 0 }, { 0x0591, 0x05bd, 0 }, { 0x064b, 0x065f, 0 },
		{ 0x1100, 0x115f, 2 }, { 0x1ab0, 0x1aff, 0 }, { 0x1dc0, 0x1dff, 0 }, { 0x200b, 0x200f, 0 },
		{ 0x202a, 0x202e, 0 }, { 0x2060, 0x2064, 0 }, { 0x20d0, 0x20ff, 0 }, { 0x2e80, 0x303e, 2 },
		{ 0x3041, 0x33ff, 2 }, { 0x3400, 0x4dbf, 2 }, { 0x4e00, 0x9fff, 2 }, { 0xa000, 0xa4cf, 2 },
		{ 0xac00, 0xd7a3, 2 }, { 0xf900, 0xfaff, 2 }, { 0xfe00, 0xfe0f, 0 }, { 0xfe20, 0xfe2f, 0 },
		{ 0xfe30, 0xfe6f, 2 }, { 0xff00, 0xff60, 2 }, { 0xffe0, 0xffe6, 2 }, { 0x1f300, 0x1f64f, 2 },
		{ 0x1f680, 0x1f6ff, 2 }, { 0x1f900, 0x1f9ff, 2 }, { 0x20000, 0x3fffd, 2 }, { 0xe0100, 0xe01ef, 0 },
	};

	for (size_t i = 0; i < COUNT_OF(ranges) && c >= ranges[i].from; i++)
		if (c <= ranges[i].to)
			return ranges[i].columns;
	return 1;
}

size_t text_columns(struct str s)
{
	struct scan in = scan_of(s);
	size_t n = 0;

	while (!scan_done(&in))
		n += char_columns(utf8_next(&in));
	return n;
}

/* Would this character do something to a terminal but appear? C0, DEL, C1, and what reorders or hides text. */
static bool is_invisible(int32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

struct str text_visible(struct arena *a, struct str s)
{
	CLEANUP(buf_free) struct buf b = BUF(OUT_MAX);
	struct scan in = scan_of(s);
	bool is_changed = false;

	while (!scan_done(&in)) {
		const char *from = in.p;
		int32_t c = utf8_next(&in);
		bool is_bad = c == 0xfffd && in.p - from == 1;
		if (!is_bad && !is_invisible(c)) {
			buf_add_bytes(&b, from, (size_t)(in.p - from));
			continue;
		}
		is_changed = true;
		for (const char *p = from; p < in.p; p++)
			buf_printf(&b, "\\x%02x", (unsigned char)*p);
	}
	return is_changed ? str_copy(a, buf_str(&b)) : s;
}

struct str text_cut(struct arena *a, struct str s, size_t columns)
{
	struct scan in = scan_of(s);
	size_t used = 0, keep = 0;

	if (text_columns(s) <= columns)
		return s;
	while (!scan_done(&in)) {
		size_t wide = char_columns(utf8_next(&in));
		if (used + wide + 1 > columns)
			break;
		used += wide;
		keep = scan_offset(&in);
	}
	return arena_printf(a, STR_FMT "…", STR_ARG(str_sub(s, 0, keep)));
}

static void put_spaces(struct buf *out, size_t n)
{
	while (n--)
		buf_add_char(out, ' ');
}

/* The words that fit, at least one; the rest stays. */
static struct str take_line(struct str *rest, size_t room)
{
	struct str line = *rest;

	for (size_t i = 0, taken = 0; i < rest->n; i++) {
		if (rest->p[i] != ' ' && i + 1 < rest->n)
			continue;
		size_t end = rest->p[i] == ' ' ? i : i + 1;
		if (text_columns(str_sub(*rest, 0, end)) > room && taken > 0) {
			line = str_sub(*rest, 0, taken);
			break;
		}
		taken = end;
	}
	*rest = str_trim(str_from(*rest, line.n));
	return line;
}

void text_wrap(struct buf *out, struct str s, size_t indent, int width)
{
	size_t room = width > 0 ? (size_t)width : SIZE_MAX;

	room = room > indent + WRAP_MIN ? room - indent : WRAP_MIN;
	do {
		struct str line = take_line(&s, room);
		buf_printf(out, STR_FMT "\n", STR_ARG(line));
		if (s.n > 0)
			put_spaces(out, indent);
	} while (s.n > 0);
}

struct table *table_new(struct arena *a)
{
	struct table *t = ARENA_NEW(a, struct table);

	t->arena = a;
	return t;
}

void table_column(struct table *t, struct str title, bool is_number)
{
	if (t->column_count < TABLE_COLUMNS_MAX)
		t->columns[t->column_count++] = (struct column){ title, is_number, is_number };
}

void table_keep_whole(struct table *t)
{
	if (t->column_count > 0)
		t->columns[t->column_count - 1].is_whole = true;
}

void table_row(struct table *t, const struct str *cells, size_t n)
{
	for (size_t i = 0; i < t->column_count; i++) {
		t->cells = arena_grow(t->arena, t->cells, t->n, &t->cap, sizeof(*t->cells));
		t->cells[t->n++] = i < n ? text_visible(t->arena, cells[i]) : STR("");
	}
}

size_t table_rows(const struct table *t) { return t->column_count ? t->n / t->column_count : 0; }

/* most: wider cells stand out. */
static void measure(const struct table *t, size_t most, size_t *widths)
{
	for (size_t i = 0; i < t->column_count; i++)
		widths[i] = text_columns(t->columns[i].title);
	for (size_t i = 0; i < t->n; i++) {
		size_t wide = text_columns(t->cells[i]);
		if (wide > widths[i % t->column_count] && wide <= most)
			widths[i % t->column_count] = wide;
	}
}

/* False: too much for this width. */
static bool shrink(const struct table *t, size_t *widths, size_t room)
{
	for (;;) {
		size_t sum = (t->column_count - 1) * GAP, widest = t->column_count;
		for (size_t i = 0; i < t->column_count; i++) {
			sum += widths[i];
			if (i > 0 && !t->columns[i].is_whole && widths[i] > SHRINK_MIN &&
			    (widest == t->column_count || widths[i] > widths[widest]))
				widest = i;
		}
		if (sum <= room || widest == t->column_count)
			return sum <= room;
		widths[widest]--;
	}
}

static void put_line(const struct table *t, const struct str *cells, const size_t *widths, bool is_cut, struct buf *out)
{
	for (size_t i = 0; i < t->column_count; i++) {
		struct str cell = is_cut ? text_cut(t->arena, cells[i], widths[i]) : cells[i];
		size_t wide = text_columns(cell), space = wide < widths[i] ? widths[i] - wide : 0;
		if (i)
			put_spaces(out, GAP);
		if (t->columns[i].is_number)
			put_spaces(out, space);
		buf_add(out, cell);
		if (!t->columns[i].is_number && i + 1 < t->column_count)
			put_spaces(out, space);
	}
}

static void print_records(const struct table *t, const struct table_style *style, struct buf *out)
{
	size_t wide = 0;

	for (size_t i = 0; i < t->column_count; i++)
		if (text_columns(t->columns[i].title) > wide)
			wide = text_columns(t->columns[i].title);
	for (size_t i = 0; i < t->n; i++) {
		struct str title = t->columns[i % t->column_count].title;
		if (i > 0 && i % t->column_count == 0)
			buf_add_char(out, '\n');
		buf_add_cstr(out, style->colour ? "\033[1m" : "");
		buf_add(out, title);
		buf_add_cstr(out, style->colour ? "\033[0m" : "");
		put_spaces(out, wide - text_columns(title) + GAP);
		buf_add(out, t->cells[i]);
		buf_add_char(out, '\n');
	}
}

void table_print(const struct table *t, const struct table_style *style, struct buf *out)
{
	size_t widths[TABLE_COLUMNS_MAX];
	struct str titles[TABLE_COLUMNS_MAX];

	if (t->column_count == 0)
		return;
	bool is_pipe = style->width <= 0;

	measure(t, is_pipe ? PIPE_COLUMN_MAX : SIZE_MAX, widths);
	if (!is_pipe && !shrink(t, widths, (size_t)style->width) && t->n > 0) {
		print_records(t, style, out);
		return;
	}
	for (size_t i = 0; i < t->column_count; i++)
		titles[i] = t->columns[i].title;
	if (style->colour)
		buf_add_cstr(out, "\033[1m");
	put_line(t, titles, widths, !is_pipe, out);
	buf_add_cstr(out, style->colour ? "\033[0m\n" : "\n");
	for (size_t i = 0; i < t->n; i += t->column_count) {
		put_line(t, t->cells + i, widths, !is_pipe, out);
		buf_add_char(out, '\n');
	}
}
