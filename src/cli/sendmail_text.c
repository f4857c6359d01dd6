/* Standard input as a message. What scripts print is not mail yet: LF ends lines, progress bars leave CR alone, a forgotten header
 * leaves plain text. The server takes none of that (it must not: that is how messages are smuggled), so it is made right here. */
#include "cli/sendmail_private.h"

bool sendmail_dot(struct str text, size_t *at, size_t *end)
{
	for (;;) {
		struct str rest = str_from(text, *at);
		ptrdiff_t lf = rest.n ? str_chr(rest, '\n') : -1;
		if (lf < 0)
			return false;
		struct str line = str_sub(rest, 0, (size_t)lf);
		*end = *at;
		*at += (size_t)lf + 1;
		if (str_eq(line, STR(".")) || str_eq(line, STR(".\r")))
			return true;
	}
}

/* The line that opens a message in an mbox is no field. */
static struct str without_mbox_line(struct str in)
{
	struct str line, rest;

	if (!str_starts(in, STR("From ")) || !str_cut(in, '\n', &line, &rest))
		return in;
	return rest;
}

/* A first line that is a field ("Subject: x"), or the empty line of a message without fields. */
static bool begins_with_header(struct str in)
{
	struct str line, name, rest;

	str_cut(in, '\n', &line, &rest);
	if (str_trim(line).n == 0)
		return true;
	if (!str_cut(line, ':', &name, &rest) || str_trim(name).n == 0 || name.p[0] == ' ' || name.p[0] == '\t')
		return false;
	name = str_trim(name);
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] <= ' ' || name.p[i] > '~')
			return false;
	return true;
}

void sendmail_text(struct str in, struct buf *out)
{
	size_t column = 0;

	in = without_mbox_line(in);
	if (!begins_with_header(in))
		buf_add(out, STR("\r\n"));
	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];
		bool is_break = c == '\n' || c == '\r' || column == SENDMAIL_LINE_MAX;
		if (is_break) {
			buf_add(out, STR("\r\n"));
			column = 0;
		}
		if (c == '\r' && i + 1 < in.n && in.p[i + 1] == '\n')
			i++;
		if (c != '\n' && c != '\r') {
			buf_add_char(out, c ? c : '?');
			column++;
		}
	}
	if (column > 0)
		buf_add(out, STR("\r\n"));
}
