/* cli/progress.h -- a bar on standard error while something long runs; nothing where standard error is not a
 * terminal, and nothing for what is over within half a second. */
#ifndef FACTEUR_CLI_PROGRESS_H
#define FACTEUR_CLI_PROGRESS_H
#include "base/buf.h"

struct progress {
	int64_t  started_ms, drawn_ms;
	bool     is_shown;
};
/* done of total; total 0: not known. */
void progress_show(struct progress *p, uint64_t done, uint64_t total);
/* Takes the bar away. */
void progress_end(struct progress *p);

/* The line itself, without its control characters: "[#####-----]  50 %  500 of 1000", at most `columns` wide. For the
 * tests too. */
void progress_line(uint64_t done, uint64_t total, int columns, struct buf *out);
#endif
