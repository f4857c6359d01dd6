/* One line, one write. Bytes that are not printable UTF-8 are escaped here, so that no caller can forget it. */
#include "base/log.h"
#include "base/bytes.h"
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"

static const char *role_name = "facteur";
static enum log_level least_level = LOG_LEVEL_INFO;
static bool as_json;
static int log_fd = 2;
static _Thread_local char context[160];

void log_setup(const char *role, enum log_level least, bool json)
{
	role_name = role;
	least_level = least;
	as_json = json;
}

void log_role(const char *role) { role_name = role; }

void log_to_fd(int fd) { log_fd = fd; }

void log_context(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(context, sizeof(context), fmt, ap);
	va_end(ap);
}

void log_context_clear(void) { context[0] = '\0'; }

static bool is_plain(char c) { return c >= 32 && c < 127 && !(as_json && (c == '"' || c == '\\')); }

static void add_escaped(struct buf *b, struct str text)
{
	struct scan s = scan_of(text);

	while (!scan_done(&s)) {
		const char *from = s.p;
		while (s.p < s.end && is_plain(*s.p))
			s.p++;
		buf_add_bytes(b, from, (size_t)(s.p - from));
		if (scan_done(&s))
			break;
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

void log_line(enum log_level level, const char *fmt, ...)
{
	static const char *const level_name[] = { "debug", "info", "warn", "error" };
	CLEANUP(buf_free) struct buf text = BUF(4096);
	CLEANUP(buf_free) struct buf line = BUF(16384);
	struct tm tm;
	va_list ap;

	if (level < least_level)
		return;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	int64_t now = clock_wall_ms();
	time_t seconds = (time_t)(now / 1000);
	gmtime_r(&seconds, &tm);
	buf_printf(&line, as_json ? "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"," : "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ ",
	           tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(now % 1000));
	buf_printf(&line, as_json ? "\"level\":\"%s\",\"role\":\"%s\",\"pid\":%d," : "%s %s[%d] ", level_name[level], role_name,
	           (int)getpid());
	if (as_json)
		buf_add_cstr(&line, "\"context\":\"");
	add_escaped(&line, str_of(context));
	buf_add_cstr(&line, as_json ? "\",\"text\":\"" : context[0] ? ": " : "");
	add_escaped(&line, text.failed ? STR("(a log line over 4096 bytes)") : buf_str(&text));
	buf_add_cstr(&line, as_json ? "\"}\n" : "\n");
	ssize_t ignored = write(log_fd, line.p, line.n);
	(void)ignored;
}

enum err log_errno(const char *what, const char *object)
{
	int kept = errno;

	log_error("%s failed object=%s error=%s", what, object, strerror(kept));
	return err_from_errno(kept);
}
