/* base/log.h -- one line for one event, to stderr (the journal) or a file: `time level role[pid] context: text`.
 * The text is `event key=value ...`. Bytes from outside are escaped by the logger (control bytes, and all non-UTF-8, as \xNN).
 * No passwords, no message text. Thread-safe; one write(2) a line. */
#ifndef FACTEUR_BASE_LOG_H
#define FACTEUR_BASE_LOG_H
#include "base/err.h"
#include "base/str.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

void log_setup(const char *role, enum log_level least, bool json);  /* role is kept, not copied */
void log_role(const char *role);                                     /* another name, the rest as it was set up: in a forked child */
void log_to_fd(int fd);                                              /* default 2; for reopening on SIGHUP: dup2 over it */
/* Lines that do not fit the pipe or socket behind fd are dropped from now on, instead of waiting for who reads it; the next one says how many. */
void log_never_waits(int fd);
void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
/* Logs "<what> failed object=<object> error=<strerror>" and maps errno to enum err. */
enum err log_errno(const char *what, const char *object);
/* What this thread works on now; shown in each of its lines ("session=17 account=3 peer=..."). Copied, cut at 160 bytes. */
void log_context(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_context_clear(void);
#endif
