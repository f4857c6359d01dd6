/* DIR/facteur.conf: what is needed before the database opens. A line says one thing or nothing: what could be read in two ways (a value that
 * goes on in the next line, a name that stands there twice) is refused with its line, since half of what was meant is worse than nothing. Lines
 * "[section]" carry no meaning and are accepted for readers' eyes. */
#include "base/buf.h"
#include "base/err.h"
#include "conf/conf_private.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 64 << 10 };

/* name "=" value, of a setting that belongs here. */
static bool take_setting(struct conf *c, struct str line, struct conf_problem *p)
{
	struct str name, value;
	enum setting s;

	if (!str_cut(line, '=', &name, &value) || memchr(line.p, 0, line.n) != NULL)
		*p = (struct conf_problem){ .kind = CONF_SYNTAX };
	else if (!setting_find(str_trim(name), &s))
		*p = conf_unknown(str_trim(name));
	else if (setting_row(s)->scope != SCOPE_FILE)
		*p = (struct conf_problem){ .kind = CONF_WRONG_PLACE, .setting = s };
	else if (conf_is_set(c, s))
		*p = (struct conf_problem){ .kind = CONF_TWICE, .setting = s };
	else
		return conf_set(c, s, value, p);
	return false;
}

static bool is_remark(struct str line) { return line.n == 0 || strchr("#;[", line.p[0] ? line.p[0] : ' ') != NULL; }

static bool take_text(struct conf *c, struct str text, struct conf_problem *p)
{
	struct str line;

	if (str_starts(text, STR("\xef\xbb\xbf")))  /* some editors begin a file with it */
		text = str_from(text, 3);
	for (int number = 1; text.n > 0; number++) {
		str_cut(text, '\n', &line, &text);
		line = str_trim(line);
		if (!is_remark(line) && !take_setting(c, line, p)) {
			p->line = number;
			return false;
		}
	}
	return true;
}

static void unreadable(struct conf_problem *p)
{
	*p = (struct conf_problem){ .kind = CONF_UNREADABLE };
	conf_problem_word(p, str_of(strerror(errno)));
}

/* Of a pipe in its place nobody waits for the other end. */
static bool read_all(int fd, struct buf *out, struct conf_problem *p)
{
	struct stat st;
	ssize_t n = 1;

	if (fstat(fd, &st) < 0) {
		unreadable(p);
		return false;
	}
	for (char room[4096]; S_ISREG(st.st_mode) && n > 0 && !out->failed;) {
		n = read(fd, room, sizeof room);
		if (n > 0)
			buf_add_bytes(out, room, (size_t)n);
	}
	if (n < 0)
		unreadable(p);
	else if (!S_ISREG(st.st_mode) || out->failed)
		*p = (struct conf_problem){ .kind = CONF_NO_PLAIN_FILE };
	return p->kind == CONF_FINE;
}

bool conf_read_file(struct conf *c, const char *path, struct conf_problem *p)
{
	CLEANUP(buf_free) struct buf text = BUF(FILE_BYTES_MAX);
	CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	*p = (struct conf_problem){ .kind = CONF_FINE };
	if (fd < 0 && errno == ENOENT)
		return true;
	if (fd < 0) {
		unreadable(p);
		return false;
	}
	return read_all(fd, &text, p) && take_text(c, buf_str(&text), p);
}
