/* The fault layer. A power cut keeps what was synced and any part of the rest; no kernel interface shows that from outside, so the
 * program itself writes down what it asks for, and a tool plays out the possible ends (tests/crash). The record is written before
 * the operation: a state that contains an operation without its record cannot exist. Whether an operation was under a
 * sync is decided by the records too: its DONE must stand before the sync's begin.
 *
 * The two descriptors have fixed high numbers so that they survive fork, the sandbox and disk_close_inherited(). This file is the
 * one place besides base/log with state of the process, and it exists in test builds only. */
#include "disk/fault.h"
#ifdef FACTEUR_FAULT
#include "base/bytes.h"
#include "base/wire.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { RECORD_DATA_MAX = 65536, PATH_BYTES_MAX = 4096, CONTROL_MAX = 4000, RULES_MAX = 16, HEADER = 12 };

struct rule { enum disk_op op; struct str path, action; uint64_t n; };

static struct {
	pthread_mutex_t lock;
	bool            traces, fails;
	uint64_t        next_id;
	char            control[CONTROL_MAX];      /* the text the counters belong to */
	size_t          control_n;
	uint64_t        calls[RULES_MAX];
} fault = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool open_at(const char *variable, int flags, int number)
{
	const char *path = getenv(variable);
	int fd = path && *path ? open(path, flags, 0666) : -1;

	if (fd < 0)
		return false;
	if (dup3(fd, number, O_CLOEXEC) != number)
		abort();
	close(fd);
	(void)!fchmod(number, 0666);  /* the first is root, the roles are not */
	return true;
}

__attribute__((constructor)) void disk_fault_start(void)
{
	fault.traces = open_at("FACTEUR_DISK_TRACE", O_WRONLY | O_CREAT | O_APPEND, DISK_FAULT_TRACE_FD);
	fault.fails = open_at("FACTEUR_DISK_FAULT", O_RDONLY, DISK_FAULT_CONTROL_FD);
}

static void record(enum disk_op op, uint64_t id, int errnum, const char *folder, const char *name, uint64_t offset, struct str data)
{
	CLEANUP(buf_free) struct buf body = BUF(RECORD_DATA_MAX + PATH_BYTES_MAX + 64);
	CLEANUP(buf_free) struct buf whole = BUF(RECORD_DATA_MAX + PATH_BYTES_MAX + 128);
	size_t path_n = folder ? strlen(folder) + (*name ? 1 + strlen(name) : 0) : 0;

	put_u8(&body, (uint8_t)op);
	put_u32(&body, (uint32_t)getpid());
	put_u64(&body, id);
	put_u32(&body, (uint32_t)errnum);
	put_u64(&body, offset);
	put_u16(&body, (uint16_t)path_n);
	put_u32(&body, (uint32_t)data.n);
	if (folder)
		buf_printf(&body, *name ? "%s/%s" : "%s", folder, name);
	buf_add(&body, data);
	buf_add(&whole, STR("FDT1"));
	put_u32(&whole, (uint32_t)(HEADER + body.n));
	put_u32(&whole, crc32c(0, body.p, body.n));
	buf_add(&whole, buf_str(&body));
	if (whole.failed || write(DISK_FAULT_TRACE_FD, whole.p, whole.n) != (ssize_t)whole.n)
		abort();  /* a trace with holes proves nothing */
}

static bool op_is(struct str word, enum disk_op op)
{
	static const char *const words[DISK_OP_COUNT] = {
		[DISK_OP_DONE] = "done", [DISK_OP_CREATE] = "open", [DISK_OP_WRITE] = "write", [DISK_OP_TRUNCATE] = "truncate",
		[DISK_OP_SYNC] = "sync", [DISK_OP_DIRSYNC] = "dirsync", [DISK_OP_SYNCFS] = "sync", [DISK_OP_REMOVE] = "remove",
		[DISK_OP_REPLACE] = "replace", [DISK_OP_MKDIR] = "open", [DISK_OP_READ] = "read", [DISK_OP_OPEN] = "open",
		[DISK_OP_FORGET] = "forget",
	};
	return str_eq(word, STR("any")) || str_eq(word, str_of(words[op])) || (op == DISK_OP_SYNCFS && str_eq(word, STR("syncfs")));
}

static struct str next_word(struct str *line)
{
	struct str word;

	*line = str_trim(*line);
	str_cut(*line, ' ', &word, line);
	return word;
}

/* One line of the control file against this call. Returns the errno, or 0; *slow_ms grows. */
static int apply_rule(struct str line, size_t number, enum disk_op op, struct str path, uint64_t *slow_ms)
{
	struct str word = next_word(&line), part = next_word(&line), action = next_word(&line);
	uint64_t n = 0;

	if (!op_is(word, op) || !(str_eq(part, STR("*")) || str_find(path, part) >= 0) || !str_to_u64(str_trim(line), &n))
		return 0;
	if (str_eq(action, STR("slow"))) {
		*slow_ms += n;
		return 0;
	}
	uint64_t call = ++fault.calls[number];
	bool once = str_ends(action, STR("-once"));
	if (once ? call != n : call < n)
		return 0;
	return str_starts(action, STR("enospc")) ? ENOSPC : EIO;
}

static int ask_control(enum disk_op op, const char *folder, const char *name)
{
	char text[CONTROL_MAX], path[PATH_BYTES_MAX];
	ssize_t n = pread(DISK_FAULT_CONTROL_FD, text, sizeof(text), 0);
	uint64_t slow_ms = 0;
	int errnum = 0;

	if (n <= 0)
		return 0;
	int path_n = snprintf(path, sizeof(path), "%s/%s", folder, name);
	pthread_mutex_lock(&fault.lock);
	if ((size_t)n != fault.control_n || memcmp(text, fault.control, (size_t)n) != 0) {
		memcpy(fault.control, text, (size_t)n);
		fault.control_n = (size_t)n;
		memset(fault.calls, 0, sizeof(fault.calls));
	}
	struct str rest = str_make(text, (size_t)n), line;
	for (size_t i = 0; i < RULES_MAX && rest.n > 0; i++) {
		str_cut(rest, '\n', &line, &rest);
		line = str_trim(line);
		if (line.n == 0 || line.p[0] == '#')
			continue;
		int e = apply_rule(line, i, op, str_make(path, (size_t)path_n), &slow_ms);
		errnum = errnum ? errnum : e;
	}
	pthread_mutex_unlock(&fault.lock);
	if (slow_ms) {
		struct timespec ts = { (time_t)(slow_ms / 1000), (long)(slow_ms % 1000) * 1000000 };
		nanosleep(&ts, NULL);
	}
	return errnum;
}

int disk_fault_begin(enum disk_op op, const char *folder, const char *name, uint64_t offset, struct str data, uint64_t *id)
{
	int errnum = fault.fails ? ask_control(op, folder, name) : 0;

	*id = 0;
	if (errnum != 0 || !fault.traces || op == DISK_OP_READ || op == DISK_OP_OPEN || op == DISK_OP_FORGET)
		return errnum;
	*id = ((uint64_t)getpid() << 32) | (1 + (uint32_t)__atomic_fetch_add(&fault.next_id, 1, __ATOMIC_RELAXED));
	do {
		struct str piece = str_sub(data, 0, RECORD_DATA_MAX);
		record(op, *id, 0, folder, name, offset, piece);
		data = str_from(data, piece.n);
		offset += piece.n;
	} while (data.n > 0);
	return 0;
}

void disk_fault_done(uint64_t id, int errnum)
{
	int kept = errno;

	if (id != 0)
		record(DISK_OP_DONE, id, errnum, NULL, "", 0, STR_NONE);
	errno = kept;
}
#endif
