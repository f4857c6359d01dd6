/* role/line_client_test.h -- for tests of roles that talk to clients: a client that reads lines. Included where struct world (with
 * `char rest[65536]; size_t rest_n`: what came and is no line yet) and pump(), which lets the role work, are known. */
#ifndef FACTEUR_ROLE_LINE_CLIENT_TEST_H
#define FACTEUR_ROLE_LINE_CLIENT_TEST_H
#include "base/clock.h"
#include "base/test.h"
#include <sys/socket.h>
#include <unistd.h>

static void says(int fd, const char *text) { assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text)); }

/* The next line of the client, without CRLF; "(end)" when the connection is closed, "(quiet)" when nothing comes for
 * so long. */
static struct str line_within(struct world *w, int fd, int ms)
{
	static char line[sizeof(w->rest)];
	int64_t until = clock_mono_ms() + ms;
	for (;;) {
		char *end = memchr(w->rest, '\n', w->rest_n);
		if (end) {
			size_t n = (size_t)(end - w->rest) + 1;
			memcpy(line, w->rest, n);
			memmove(w->rest, w->rest + n, w->rest_n - n);
			w->rest_n -= n;
			return str_trim(str_make(line, n));
		}
		pump(w);
		ssize_t got = recv(fd, w->rest + w->rest_n, sizeof(w->rest) - w->rest_n, MSG_DONTWAIT);
		if (got == 0)
			return STR("(end)");
		w->rest_n += got > 0 ? (size_t)got : 0;
		if (got < 0 && clock_mono_ms() > until)
			return STR("(quiet)");
		if (got < 0)
			usleep(500);
	}
}
#endif
