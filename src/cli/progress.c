/* The bar: at most ten times a second, on one line that is taken away at the end. */
#include "cli/progress.h"
#include "base/clock.h"
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { PATIENCE_MS = 500, EVERY_MS = 100, BAR_MAX = 40, ROOM_FOR_NUMBERS = 36 };

void progress_line(uint64_t done, uint64_t total, int columns, struct buf *out)
{
	int bar = columns - ROOM_FOR_NUMBERS;

	if (total == 0) {
		buf_printf(out, "%llu …", (unsigned long long)done);
		return;
	}
	if (done > total)
		done = total;
	double part = (double)done / (double)total;
	if (bar > BAR_MAX)
		bar = BAR_MAX;
	if (bar >= 5) {
		buf_add_char(out, '[');
		for (int i = 0; i < bar; i++)
			buf_add_char(out, i < (int)(part * bar) ? '#' : '-');
		buf_add_cstr(out, "] ");
	}
	buf_printf(out, "%3d %%  %llu/%llu", (int)(part * 100), (unsigned long long)done, (unsigned long long)total);
}

void progress_show(struct progress *p, uint64_t done, uint64_t total)
{
	CLEANUP(buf_free) struct buf line = BUF(1000);
	struct winsize size = { 0 };
	int64_t now = clock_mono_ms();

	if (p->started_ms == 0)
		p->started_ms = now;
	if (now < p->started_ms + PATIENCE_MS || now < p->drawn_ms + EVERY_MS || isatty(STDERR_FILENO) != 1)
		return;
	p->drawn_ms = now;
	p->is_shown = true;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		size.ws_col = 80;
	progress_line(done, total, size.ws_col, &line);
	fprintf(stderr, "\r\033[K" STR_FMT, STR_ARG(buf_str(&line)));
	fflush(stderr);
}

void progress_end(struct progress *p)
{
	if (p->is_shown)
		fputs("\r\033[K", stderr);
	*p = (struct progress){ 0 };
}
