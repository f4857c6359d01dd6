/* DIR/facteur.conf: what is needed before the database opens. Read by libinih (packaged, tried by many); we judge the names
 * and values. Sections carry no meaning and are accepted for readers' eyes. */
#include "base/log.h"
#include "conf/conf_private.h"
#include <errno.h>
#include <ini.h>
#include <stdio.h>

struct reading {
	struct conf         *conf;
	struct conf_problem *problem;
};

static int on_line(void *user, UNUSED const char *section, const char *name, const char *value)
{
	struct reading *r = user;
	enum setting s;

	if (r->problem->kind != CONF_FINE)
		return 0;
	if (value == NULL || !setting_find(str_of(name), &s)) {
		*r->problem = (struct conf_problem){ .kind = value ? CONF_UNKNOWN : CONF_SYNTAX };
		conf_problem_word(r->problem, str_of(name));
		return 0;
	}
	if (setting_row(s)->scope != SCOPE_FILE) {
		*r->problem = (struct conf_problem){ .kind = CONF_WRONG_PLACE, .setting = s };
		return 0;
	}
	return conf_set(r->conf, s, str_of(value), r->problem);
}

bool conf_read_file(struct conf *c, const char *path, struct conf_problem *p)
{
	struct reading r = { c, p };
	FILE *f = fopen(path, "re");
	int line;

	*p = (struct conf_problem){ .kind = CONF_FINE };
	if (f == NULL && errno == ENOENT)
		return true;
	if (f == NULL) {
		log_errno("open", path);
		p->kind = CONF_UNREADABLE;
		return false;
	}
	line = ini_parse_file(f, on_line, &r);
	fclose(f);
	if (line != 0 && p->kind == CONF_FINE)
		p->kind = line < 0 ? CONF_UNREADABLE : CONF_SYNTAX;
	p->line = line > 0 ? line : 0;
	return p->kind == CONF_FINE;
}
