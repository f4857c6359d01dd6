/* The line of the progress bar. */
#include "base/test.h"
#include "base/buf.h"
#include "cli/progress.h"

TEST(the_line_says_how_far)
{
	static const struct { uint64_t done, total; int columns; const char *line; } cases[] = {
		{ 0,    10,  46, "[----------]   0 %  0/10" },
		{ 5,    10,  46, "[#####-----]  50 %  5/10" },
		{ 10,   10,  46, "[##########] 100 %  10/10" },
		{ 11,   10,  46, "[##########] 100 %  10/10" },  /* a count that grew while it ran */
		{ 5,    10,  30, " 50 %  5/10" },                /* too narrow for a bar */
		{ 1234, 0,   80, "1234 …" },                     /* nobody knows how many there will be */
	};

	EACH(cases, c) {
		CLEANUP(buf_free) struct buf b = BUF(1000);
		progress_line(c->done, c->total, c->columns, &b);
		EXPECT_STR(buf_str(&b), c->line);
	}
}
