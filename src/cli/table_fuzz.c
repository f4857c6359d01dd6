/* Whatever a peer puts into a subject or a name: what is printed holds no control byte but the line ends of the table, is
 * UTF-8, and no cut text is wider than it may be. */
#include "base/bytes.h"
#include "cli/table.h"
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_text(struct arena *a, struct str in, size_t columns)
{
	struct str shown = text_visible(a, in);

	if (!utf8_valid(shown) || str_has_ctl(shown))
		abort();
	if (text_columns(text_cut(a, shown, columns)) > columns && columns > 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf out = BUF(1 << 20);
	struct str in = str_make(data, n), cells[3];
	const struct table_style style = { .colour = false, .width = n ? 20 + data[0] % 100 : 0 };
	struct table *t = table_new(&a);

	check_text(&a, in, n ? data[0] : 0);
	table_column(t, STR("a"), false);
	table_column(t, STR("b"), true);
	table_column(t, STR("c"), false);
	while (in.n) {
		for (size_t i = 0; i < COUNT_OF(cells); i++)
			str_cut(in, '|', &cells[i], &in);
		table_row(t, cells, COUNT_OF(cells));
	}
	table_print(t, &style, &out);
	for (size_t i = 0; i < out.n; i++)
		if ((unsigned char)out.p[i] < 0x20 && out.p[i] != '\n')
			abort();
	return 0;
}
