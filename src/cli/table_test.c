/* Tables as people and pipes see them. */
#include "base/test.h"
#include "base/bytes.h"
#include "cli/table.h"

static struct str render(struct arena *a, const char *const *titles, const char *const *cells, size_t rows,
                         struct table_style style)
{
	CLEANUP(buf_free) struct buf b = BUF(1 << 20);
	struct table *t = table_new(a);
	size_t n = 0;

	for (; titles[n]; n++)
		table_column(t, str_of(titles[n][0] == '#' ? titles[n] + 1 : titles[n]), titles[n][0] == '#');
	for (size_t r = 0; r < rows; r++) {
		struct str row[TABLE_COLUMNS_MAX];
		for (size_t i = 0; i < n; i++)
			row[i] = str_of(cells[r * n + i]);
		table_row(t, row, n);
	}
	table_print(t, &style, &b);
	return str_copy(a, buf_str(&b));
}

TEST(columns_line_up)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	static const char *const titles[] = { "Address", "#Messages", "State", NULL };
	static const char *const cells[] = { "alice@example.test", "7", "ok", "zoé@example.test", "1200", "suspended" };

	EXPECT_STR(render(&a, titles, cells, 2, (struct table_style){ 0 }),
	           "Address             Messages  State\n"
	           "alice@example.test         7  ok\n"
	           "zoé@example.test        1200  suspended\n");
}

TEST(a_terminal_gets_what_fits)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	static const char *const titles[] = { "From", "Subject", "#Size", NULL };
	static const char *const cells[] = { "alice@example.test", "a subject that goes on and on and on", "12345" };

	EXPECT_STR(render(&a, titles, cells, 1, (struct table_style){ .width = 44 }),
	           "From                Subject             Size\n"
	           "alice@example.test  a subject that g…  12345\n");
	EXPECT(str_find(render(&a, titles, cells, 1, (struct table_style){ .width = 0 }), STR("on and on and on")) > 0);
}

/* In a pipe nothing is cut; but one long cell does not widen every row. */
TEST(a_very_long_cell_stands_out_of_its_column)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	static const char *const titles[] = { "Type", "Value", "Needed", NULL };
	char key[301];
	const char *const cells[] = { "MX", "10 mail.example.test.", "yes", "TXT", key, "yes", "A", "192.0.2.1", "no" };

	memset(key, 'k', 300);
	key[300] = '\0';
	EXPECT_STR(render(&a, titles, cells, 3, (struct table_style){ 0 }),
	           arena_printf(&a, "Type  Value                  Needed\n"
	                            "MX    10 mail.example.test.  yes\n"
	                            "TXT   %s  yes\n"
	                            "A     192.0.2.1              no\n", key).p);
}

/* Nothing that has to be typed into the next command is cut, however narrow the terminal. */
TEST(what_does_not_fit_is_shown_as_records)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	static const char *const titles[] = { "Message", "Recipient", "#Size", NULL };
	static const char *const cells[] = { "3f2a9c01-1234", "alice@example.test", "12", "3f2a9c01-1235", "bob@example.test", "7" };

	EXPECT_STR(render(&a, titles, cells, 2, (struct table_style){ .width = 24 }),
	           "Message    3f2a9c01-1234\nRecipient  alice@example.test\nSize       12\n\n"
	           "Message    3f2a9c01-1235\nRecipient  bob@example.test\nSize       7\n");
	EXPECT_STR(render(&a, titles, NULL, 0, (struct table_style){ .width = 12 }), "Message  Recipie…  Size\n");
}

TEST(colour_only_when_asked)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	static const char *const titles[] = { "A", NULL };
	static const char *const cells[] = { "1" };

	EXPECT_STR(render(&a, titles, cells, 1, (struct table_style){ .colour = true }), "\033[1mA\033[0m\n1\n");
}

TEST(nothing_printed_steers_the_terminal)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	static const struct { const char *in, *out; } cases[] = {
		{ "plain",              "plain" },
		{ "\033[2Jgone",        "\\x1b[2Jgone" },
		{ "two\nlines",         "two\\x0alines" },
		{ "caf\xc3\xa9",        "café" },
		{ "\xff broken",        "\\xff broken" },
		{ "\xc2\x9b" "31m",     "\\xc2\\x9b" "31m" },        /* CSI as one C1 character */
		{ "a\xe2\x80\xae" "cod.exe", "a\\xe2\\x80\\xaecod.exe" },  /* right-to-left override NOLINT(misc-misleading-bidirectional) */
	};

	EACH(cases, c) EXPECT_STR(text_visible(&a, str_of(c->in)), c->out);
}

TEST(widths_and_cuts)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	static const struct { const char *in; size_t columns, cut_to; const char *cut; } cases[] = {
		{ "abc",    3, 3, "abc" },
		{ "abcd",   4, 3, "ab…" },
		{ "日本語", 6, 4, "日…" },         /* two columns each: 日 and … leave one free */
		{ "e\xcc\x81t", 2, 2, "e\xcc\x81t" },  /* a combining accent takes none */
		{ "",       0, 0, "" },
	};

	EACH(cases, c) {
		EXPECT_INT(text_columns(str_of(c->in)), c->columns);
		EXPECT_STR(text_cut(&a, str_of(c->in), c->cut_to), c->cut);
	}
}

TEST(texts_are_broken_at_spaces)
{
	static const struct { const char *in; int width; const char *out; } cases[] = {
		{ "one two three four five six",         28, "- one two three four five\n  six\n" },
		{ "one two three four five six",         0,  "- one two three four five six\n" },
		{ "one two three four five six",         1,  "- one two three four\n  five six\n" },   /* never less than 20 columns */
		{ "é é é é é é é é é é é é é é é",       28, "- é é é é é é é é é é é é é\n  é é\n" },
		{ "averyveryverylongwordthatfitsnowhere", 22, "- averyveryverylongwordthatfitsnowhere\n" },
		{ "",                                    28, "- \n" },
	};

	EACH(cases, c) {
		CLEANUP(buf_free) struct buf b = BUF(1000);
		buf_add(&b, STR("- "));
		text_wrap(&b, str_of(c->in), 2, c->width);
		EXPECT_STR(buf_str(&b), c->out);
	}
}

TEST(a_table_without_rows_shows_its_titles)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	static const char *const titles[] = { "Address", "State", NULL };

	EXPECT_STR(render(&a, titles, NULL, 0, (struct table_style){ 0 }), "Address  State\n");
}
