/* One line, one write, of at most PIPE_BUF bytes: more than that would be torn where a pipe has not room for all of it, and what one role
 * says be mixed with another one's. Bytes that are not printable UTF-8 are escaped here, so that no caller can forget it.
 * A pipe or a socket whose reader has stopped (a logger that hangs, a full disk behind `tee`) would hold whoever writes a line, one role after
 * the other, until nobody is served. What does not fit there, or on a full disk, is dropped, counted, and the count is told when there is room
 * again. */
#include "base/log.h"
#include "base/bytes.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"

enum { WORDS_MAX = PIPE_BUF - 16 /* an escape, "...", the end of the line */ };

static const char *role_name = "facteur";
static int own_pid;  /* 0: not asked yet */
static enum log_level least_level = LOG_LEVEL_INFO;
static bool as_json;
static int log_fd = 2;
static atomic_uint lost_lines;  /* since the last one that was written */
static _Thread_local char context[160];

void log_setup(const char *role, enum log_level least, bool json)
{
	log_role(role);
	least_level = least;
	as_json = json;
}

void log_role(const char *role)
{
	role_name = role;
	own_pid = (int)getpid();
}

void log_to_fd(int fd) { log_fd = fd; }

/* A pipe is opened once more: whoever else has it waits as before. A socket is the service manager's, and ours alone. */
void log_never_waits(int fd)
{
	char path[32];
	struct stat st;
	int own;

	if (fstat(fd, &st) < 0)
		return;
	if (S_ISSOCK(st.st_mode)) {
		int flags = fcntl(fd, F_GETFL);
		if (flags >= 0)
			fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	}
	if (!S_ISFIFO(st.st_mode))
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (own < 0)
		return;  /* nobody reads it: nobody waits either */
	dup2(own, fd);
	close(own);
}

void log_context(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(context, sizeof(context), fmt, ap);
	va_end(ap);
}

void log_context_clear(void) { context[0] = '\0'; }

static bool is_plain(char c) { return c >= 32 && c < 127 && !(as_json && (c == '"' || c == '\\')); }

/* What has no room is cut off, and "..." says so. */
static void add_escaped(struct buf *b, struct str text)
{
	struct scan s = scan_of(text);

	while (!scan_done(&s)) {
		const char *from = s.p;
		if (b->n >= WORDS_MAX) {
			buf_add_cstr(b, "...");
			return;
		}
		while (s.p < s.end && is_plain(*s.p) && b->n + (size_t)(s.p - from) < WORDS_MAX)
			s.p++;
		buf_add_bytes(b, from, (size_t)(s.p - from));
		if (scan_done(&s) || b->n >= WORDS_MAX)
			continue;
		from = s.p;
		int32_t c = utf8_next(&s);
		if (c >= 32 && c != 127 && c != 0xfffd && !(as_json && (c == '"' || c == '\\')))
			buf_add_bytes(b, from, (size_t)(s.p - from));
		else if (as_json && c < 0xfffd)
			buf_printf(b, "\\u%04x", (unsigned)c);
		else
			buf_printf(b, as_json ? "\\\\x%02x" : "\\x%02x", (unsigned char)*from);
	}
}

static void add_line(struct buf *line, enum log_level level, struct str text)
{
	static const char *const level_name[] = { "debug", "info", "warn", "error" };
	struct tm tm;
	int64_t now = clock_wall_ms();
	time_t seconds = (time_t)(now / 1000);

	gmtime_r(&seconds, &tm);
	buf_printf(line, as_json ? "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"," : "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ ",
	           tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(now % 1000));
	buf_printf(line, as_json ? "\"level\":\"%s\",\"role\":\"%s\",\"pid\":%d," : "%s %s[%d] ", level_name[level], role_name,
	           own_pid ? own_pid : (int)getpid());
	if (as_json)
		buf_add_cstr(line, "\"context\":\"");
	add_escaped(line, str_of(context));
	buf_add_cstr(line, as_json ? "\",\"text\":\"" : context[0] ? ": " : "");
	add_escaped(line, text);
	buf_add_cstr(line, as_json ? "\"}\n" : "\n");
}

/* False: it is not there, or a part of it. */
static bool write_line(enum log_level level, struct str text)
{
	CLEANUP(buf_free) struct buf line = BUF(PIPE_BUF);

	add_line(&line, level, text);
	return write(log_fd, line.p, line.n) == (ssize_t)line.n;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	CLEANUP(buf_free) struct buf text = BUF(4096);
	char told[120];
	va_list ap;

	if (level < least_level)
		return;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	unsigned lost = atomic_exchange(&lost_lines, 0);
	snprintf(told, sizeof(told), "whoever reads this log had stopped, or its disk was full: lines are missing here count=%u", lost);
	if (lost > 0 && !write_line(LOG_LEVEL_WARN, str_of(told)))
		atomic_fetch_add(&lost_lines, lost + 1);
	else if (!write_line(level, text.failed ? STR("(a log line over 4096 bytes)") : buf_str(&text)))
		atomic_fetch_add(&lost_lines, 1);
}

enum err log_errno(const char *what, const char *object)
{
	int kept = errno;

	log_error("%s failed object=%s error=%s", what, object, strerror(kept));
	return err_from_errno(kept);
}
