/* The settings.
 *
 * A value is held twice: as it was typed (what travels and what is stored), and as the number everybody reads. Only what was
 * set is encoded, by name: two releases that know different settings understand each other, and a default that changes with a
 * release changes for everybody who never chose. Values are checked where they come in (conf_set); a stored value that a newer
 * release finds out of range is skipped in decoding and the default holds, because a server that does not start helps nobody. */
#include "conf/conf_private.h"
#include "base/log.h"
#include "base/mem.h"

struct value {
	char    *typed;   /* NULL: not set */
	uint64_t number;
};

struct conf {
	struct value values[SETTING_COUNT];
};

static const struct setting_row rows[SETTING_COUNT] = {
#define SETTING(scope, name, type, fallback, min, max, unit, en, fr) \
	[SETTING_##name] = { SCOPE_##scope, #name, TYPE_##type, fallback, (uint64_t)(min), (uint64_t)(max), unit, en, fr },
#include "conf/settings.def"
#undef SETTING
};

const struct setting_row *setting_row(enum setting s) { return &rows[s]; }

static char name_char(char c) { return c == '-' ? '_' : chr_lower(c); }

bool setting_find(struct str name, enum setting *out)
{
	for (int s = 0; s < SETTING_COUNT; s++) {
		size_t i = 0;
		while (i < name.n && rows[s].name[i] && name_char(name.p[i]) == rows[s].name[i])
			i++;
		if (i == name.n && rows[s].name[i] == '\0') {
			*out = (enum setting)s;
			return true;
		}
	}
	return false;
}

/* Letters of the one that are found, in order, in the other: crude, and enough for a slip of the finger. */
static size_t common(struct str a, const char *b)
{
	size_t found = 0;

	for (size_t i = 0; i < a.n && *b; i++) {
		const char *at = strchr(b, name_char(a.p[i]));
		if (at && at - b <= 2) {
			found++;
			b = at + 1;
		}
	}
	return found;
}

const char *setting_nearest(struct str name)
{
	const char *best = NULL;
	size_t best_score = 0;

	for (int s = 0; s < SETTING_COUNT; s++) {
		size_t n = strlen(rows[s].name), longer = n > name.n ? n : name.n, score = common(name, rows[s].name) * 100 / (longer ? longer : 1);
		if (score > best_score) {
			best_score = score;
			best = rows[s].name;
		}
	}
	return best_score >= 60 ? best : NULL;
}

struct conf *conf_new(void)
{
	struct conf *c = MEM_NEW(struct conf);

	for (int s = 0; s < SETTING_COUNT; s++)
		conf_unset(c, (enum setting)s);
	return c;
}

struct conf *conf_copy(const struct conf *c)
{
	struct conf *copy = MEM_NEW(struct conf);

	for (int s = 0; s < SETTING_COUNT; s++) {
		copy->values[s].number = c->values[s].number;
		if (c->values[s].typed)
			copy->values[s].typed = mem_strdup(c->values[s].typed);
	}
	return copy;
}

void conf_free(struct conf *c)
{
	if (c == NULL)
		return;
	for (int s = 0; s < SETTING_COUNT; s++)
		mem_free(c->values[s].typed);
	mem_free(c);
}

uint64_t conf_number(const struct conf *c, enum setting s) { return c->values[s].number; }
bool conf_on(const struct conf *c, enum setting s) { return c->values[s].number != 0; }
bool conf_is_set(const struct conf *c, enum setting s) { return c->values[s].typed != NULL; }
struct str conf_text(const struct conf *c, enum setting s) { return str_of(c->values[s].typed ? c->values[s].typed : rows[s].fallback); }

bool conf_set(struct conf *c, enum setting s, struct str value, struct conf_problem *p)
{
	uint64_t number = 0;

	value = str_trim(value);
	*p = (struct conf_problem){ .kind = conf_parse_value(&rows[s], value, &number), .setting = s };
	if (p->kind != CONF_FINE) {
		conf_problem_word(p, value);
		return false;
	}
	char *typed = mem_alloc(value.n + 1);
	if (value.n)
		memcpy(typed, value.p, value.n);
	mem_free(c->values[s].typed);
	c->values[s] = (struct value){ typed, number };
	return true;
}

void conf_unset(struct conf *c, enum setting s)
{
	mem_free(c->values[s].typed);
	c->values[s] = (struct value){ 0 };
	conf_parse_value(&rows[s], str_of(rows[s].fallback), &c->values[s].number);
}

struct str conf_show(struct arena *a, const struct conf *c, enum setting s)
{
	if (rows[s].type == TYPE_TEXT)
		return str_copy(a, conf_text(c, s));
	return conf_show_number(a, &rows[s], c->values[s].number);
}

void conf_encode(const struct conf *c, struct buf *out)
{
	uint32_t n = 0;

	for (int s = 0; s < SETTING_COUNT; s++)
		n += c->values[s].typed != NULL;
	put_u32(out, n);
	for (int s = 0; s < SETTING_COUNT; s++) {
		if (c->values[s].typed == NULL)
			continue;
		put_str(out, str_of(rows[s].name));
		put_str(out, str_of(c->values[s].typed));
	}
}

bool conf_decode(struct conf *c, struct scan *in)
{
	uint32_t n = get_count(in, 10000);

	for (uint32_t i = 0; i < n && !in->failed; i++) {
		struct str name = get_str(in, 200), value = get_str(in, CONF_TEXT_MAX);
		struct conf_problem p;
		enum setting s;
		if (in->failed || !setting_find(name, &s))
			continue;
		if (!conf_set(c, s, value, &p))
			log_warn("a stored setting is not valid any more, its default holds name=%s", rows[s].name);
	}
	return !in->failed;
}
