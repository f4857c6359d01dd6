/* conf/conf.h -- the settings: one table (settings.def), typed access, parsing with errors that teach.
 *
 * A struct conf holds a value for every setting, the default where nothing was set. `conf_number(c, SETTING_smtp_timeout)` is
 * an array access. Sets are copied freely (conf_copy), overlaid (server, then domain, then account) and travel as
 * (name, value) pairs, so that an older or newer reader skips names it does not know. Not thread-safe while being changed. */
#ifndef FACTEUR_CONF_CONF_H
#define FACTEUR_CONF_CONF_H
#include "base/arena.h"
#include "base/wire.h"

enum setting {
#define SETTING(scope, name, ...) SETTING_##name,
#include "conf/settings.def"
#undef SETTING
	SETTING_COUNT
};

enum setting_scope { SCOPE_FILE, SCOPE_SERVER, SCOPE_DOMAIN, SCOPE_ACCOUNT };
enum setting_type { TYPE_SWITCH, TYPE_NUMBER, TYPE_SIZE, TYPE_DURATION, TYPE_TEXT };
enum { CONF_TEXT_MAX = 4000, CONF_ENCODED_MAX = 256 << 10 };

struct setting_row {
	enum setting_scope scope;
	const char        *name;
	enum setting_type  type;
	const char        *fallback;   /* the default, as it would be typed */
	uint64_t           min, max;
	const char        *unit, *meaning_en, *meaning_fr;
};
const struct setting_row *setting_row(enum setting s);
/* By name; "-" and "_" are the same. false: there is none. */
bool setting_find(struct str name, enum setting *out);
/* The setting whose name is nearest to a mistyped one; NULL when none is near. */
const char *setting_nearest(struct str name);

struct conf;
struct conf *conf_new(void);                       /* all defaults */
struct conf *conf_copy(const struct conf *c);
void conf_free(struct conf *c);                    /* NULL is fine */

uint64_t   conf_number(const struct conf *c, enum setting s);  /* NUMBER; SIZE in bytes; DURATION in seconds; SWITCH 0 or 1 */
bool       conf_on(const struct conf *c, enum setting s);      /* SWITCH */
struct str conf_text(const struct conf *c, enum setting s);    /* TEXT; borrowed until it is set again. NUL-terminated */
bool       conf_is_set(const struct conf *c, enum setting s);  /* not the default by silence */

/* Why a value was refused. conf_explain() makes the sentence: what happened, why, what would be right. */
enum conf_problem_kind {
	CONF_FINE, CONF_UNKNOWN, CONF_NOT_A_VALUE, CONF_TOO_SMALL, CONF_TOO_LARGE, CONF_WRONG_PLACE, CONF_TWICE, CONF_SYNTAX, CONF_UNREADABLE,
	CONF_NO_PLAIN_FILE,
};
struct conf_problem {
	enum conf_problem_kind kind;
	enum setting setting;          /* unless UNKNOWN, SYNTAX, UNREADABLE, NO_PLAIN_FILE */
	char         word[64];         /* the unknown name or the bad value, cut; why it is unreadable */
	int          line;             /* of the file; 0: no file */
};
/* The problem of a name that is no setting. */
struct conf_problem conf_unknown(struct str name);
struct str conf_explain(struct arena *a, const struct conf_problem *p, bool french);

/* Sets from text as people type it. False: refused, *p says why, nothing changed. */
bool conf_set(struct conf *c, enum setting s, struct str value, struct conf_problem *p) MUST_CHECK;
void conf_unset(struct conf *c, enum setting s);   /* back to the default */
/* The value as it can be typed again, short: "64MB", "on", "1h". */
struct str conf_show(struct arena *a, const struct conf *c, enum setting s);

/* What may be typed: "1MB … 1GB", "on, off", "≤ 253 B": for people of any language. */
struct str conf_show_range(struct arena *a, const struct setting_row *row);
/* "2d", "12h", "90": seconds. False: not a length of time. */
bool conf_parse_duration(struct str text, uint64_t *seconds);

/* Reads DIR/facteur.conf (`name = value`, # comments; at most 64 kB) into c, which has nothing set: settings of scope FILE only, each once.
 * No file: true, nothing set. */
bool conf_read_file(struct conf *c, const char *path, struct conf_problem *p) MUST_CHECK;

/* What is set, as bytes. Decoding sets it over what is there: overlays. Unknown names and values out of range are skipped,
 * malformed bytes give false (c may then be partly set). */
void conf_encode(const struct conf *c, struct buf *out);
bool conf_decode(struct conf *c, struct scan *s) MUST_CHECK;
#endif
