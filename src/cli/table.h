/* cli/table.h -- rows and columns for people. On a terminal: bold titles, colour, cut to its width (never the
 * first column nor a number; as records where that is not enough); in a pipe: the same columns as plain text, nothing cut. What goes into a cell may come from anywhere (a subject, a peer's name):
 * control characters are shown as "\xNN", so that nothing printed here can steer a terminal. */
#ifndef FACTEUR_CLI_TABLE_H
#define FACTEUR_CLI_TABLE_H
#include "base/arena.h"
#include "base/buf.h"

enum { TABLE_COLUMNS_MAX = 20 };

struct table_style {
	bool colour;
	int  width;      /* columns of the terminal; 0: as wide as it gets */
};

struct table;
/* Lives in the arena, as do the cells given to it. */
struct table *table_new(struct arena *a);
void table_column(struct table *t, struct str title, bool is_number);    /* numbers stand at the right */
void table_keep_whole(struct table *t);                                  /* the cells of the last column are never cut */
/* As many cells as there are columns; missing ones stay empty. */
void table_row(struct table *t, const struct str *cells, size_t n);
size_t table_rows(const struct table *t);
void table_print(const struct table *t, const struct table_style *style, struct buf *out);

/* Columns a terminal uses for this text (RFC 3629 UTF-8; East Asian wide characters take two, combining ones none). */
size_t text_columns(struct str s);
/* The text with control characters and malformed bytes made visible. */
struct str text_visible(struct arena *a, struct str s);
/* At most `columns` wide; what is cut ends in "…". */
struct str text_cut(struct arena *a, struct str s, size_t columns);
/* Broken at spaces into lines that end at the column `width` (0: one line, however long), but have 20 columns at least. The first
 * begins where out ends, which is `indent` columns in, as the others are. */
void text_wrap(struct buf *out, struct str s, size_t indent, int width);
#endif
