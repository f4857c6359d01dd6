/* Values as people type them: "on", "64MB", "90s", "1h", and why one was refused.
 *
 * Sizes count in powers of two (1 kB = 1024), because disks and quotas are shown that way by the tools beside us. A unit is
 * optional: a bare number is bytes or seconds. "1.5GB" is refused rather than rounded. */
#include "conf/conf_private.h"
#include "base/bytes.h"
#include <stdio.h>
#include <string.h>

struct unit { const char *name; uint64_t factor; };
/* The largest first: conf_show_number() takes the first that divides. */
static const struct unit sizes[] = {
	{ "TB", 1ULL << 40 }, { "GB", 1 << 30 }, { "MB", 1 << 20 }, { "kB", 1 << 10 }, { "B", 1 },
	{ "T", 1ULL << 40 }, { "G", 1 << 30 }, { "M", 1 << 20 }, { "k", 1 << 10 },
	{ "To", 1ULL << 40 }, { "Go", 1 << 30 }, { "Mo", 1 << 20 }, { "ko", 1 << 10 }, { "o", 1 }, { 0 },
};
static const struct unit durations[] = { { "d", 86400 }, { "h", 3600 }, { "m", 60 }, { "s", 1 }, { "j", 86400 }, { "min", 60 }, { 0 } };

static bool parse_with_unit(struct str value, const struct unit *units, uint64_t *number)
{
	struct scan s = scan_of(value);
	uint64_t n = scan_u64(&s), factor = 1;

	if (s.failed)
		return false;
	struct str unit = str_trim(scan_rest(&s));
	for (; unit.n; units++) {
		if (units->name == NULL)
			return false;
		if (str_ieq(unit, str_of(units->name))) {
			factor = units->factor;
			break;
		}
	}
	if (n > UINT64_MAX / factor)
		return false;
	*number = n * factor;
	return true;
}

static bool parse_switch(struct str value, uint64_t *number)
{
	static const struct { const char *word; bool on; } words[] = {
		{ "on", true }, { "off", false }, { "yes", true }, { "no", false }, { "true", true }, { "false", false },
		{ "1", true }, { "0", false }, { "oui", true }, { "non", false },
	};

	for (size_t i = 0; i < COUNT_OF(words); i++) {
		if (str_ieq(value, str_of(words[i].word))) {
			*number = words[i].on;
			return true;
		}
	}
	return false;
}

/* 0 is none, and the default, though what is not none begins at min. */
static bool may_be_none(const struct setting_row *row) { return row->min > 0 && strcmp(row->fallback, "0") == 0; }

enum conf_problem_kind conf_parse_value(const struct setting_row *row, struct str value, uint64_t *number)
{
	bool fine = false;

	switch (row->type) {
	case TYPE_SWITCH:   fine = parse_switch(value, number); break;
	case TYPE_NUMBER:   fine = str_to_u64(value, number); break;
	case TYPE_SIZE:     fine = parse_with_unit(value, sizes, number); break;
	case TYPE_DURATION: fine = parse_with_unit(value, durations, number); break;
	case TYPE_TEXT:     fine = utf8_valid(value) && !str_has_ctl(value); *number = value.n; break;
	}
	if (!fine)
		return CONF_NOT_A_VALUE;
	if (*number == 0 && may_be_none(row))
		return CONF_FINE;
	return *number < row->min ? CONF_TOO_SMALL : *number > row->max ? CONF_TOO_LARGE : CONF_FINE;
}

struct str conf_show_number(struct arena *a, const struct setting_row *row, uint64_t number)
{
	const struct unit *u = row->type == TYPE_SIZE ? sizes : durations;

	if (row->type == TYPE_SWITCH)
		return str_of(number ? "on" : "off");
	if (row->type == TYPE_NUMBER || number == 0)
		return arena_printf(a, "%llu", (unsigned long long)number);
	while (number % u->factor)
		u++;
	return arena_printf(a, "%llu%s", (unsigned long long)(number / u->factor), u->name);
}

bool conf_parse_duration(struct str text, uint64_t *seconds) { return parse_with_unit(str_trim(text), durations, seconds); }

struct str conf_show_range(struct arena *a, const struct setting_row *row)
{
	if (row->type == TYPE_SWITCH)
		return STR("on, off");
	if (row->type == TYPE_TEXT && strchr(row->unit, ',') != NULL)  /* these words, and no others */
		return str_of(row->unit);
	if (row->type == TYPE_TEXT)
		return arena_printf(a, "≤ %llu B", (unsigned long long)row->max);
	struct str min = conf_show_number(a, row, row->min), max = conf_show_number(a, row, row->max);
	return arena_printf(a, "%s" STR_FMT " … " STR_FMT, may_be_none(row) ? "0, " : "", STR_ARG(min), STR_ARG(max));
}

struct conf_problem conf_unknown(struct str name)
{
	struct conf_problem p = { .kind = CONF_UNKNOWN };

	conf_problem_word(&p, name);
	return p;
}

void conf_problem_word(struct conf_problem *p, struct str word)
{
	struct str cut = utf8_valid(word) ? utf8_clip(word, sizeof p->word - 1) : STR("(not UTF-8)");

	snprintf(p->word, sizeof p->word, STR_FMT, STR_ARG(cut));
}

static const char *example(enum setting_type type, bool french)
{
	switch (type) {
	case TYPE_SWITCH:   return french ? "on ou off" : "on or off";
	case TYPE_NUMBER:   return french ? "un nombre entier" : "a whole number";
	case TYPE_SIZE:     return french ? "une taille comme 64MB ou 10GB" : "a size such as 64MB or 10GB";
	case TYPE_DURATION: return french ? "une durée comme 90s, 5m, 1h ou 30d" : "a duration such as 90s, 5m, 1h or 30d";
	case TYPE_TEXT:     break;
	}
	return french ? "un texte d'une ligne en UTF-8" : "one line of UTF-8 text";
}

static struct str explain_range(struct arena *a, const struct conf_problem *p, bool french)
{
	const struct setting_row *row = setting_row(p->setting);
	struct str min, max;

	if (row->type == TYPE_TEXT)
		return arena_printf(a, french ? "%s peut avoir au plus %llu octets" : "%s may have at most %llu bytes", row->name,
		                    (unsigned long long)row->max);
	min = conf_show_number(a, row, row->min);
	max = conf_show_number(a, row, row->max);
	return arena_printf(a, french ? "« %s » ne convient pas à %s : il faut une valeur entre " STR_FMT " et " STR_FMT "%s"
	                              : "\"%s\" is out of range for %s: give a value from " STR_FMT " to " STR_FMT "%s",
	                    p->word, row->name, STR_ARG(min), STR_ARG(max), !may_be_none(row) ? "" : french ? ", ou 0 (aucune)" : ", or 0 (none)");
}

static struct str explain_kind(struct arena *a, const struct conf_problem *p, bool french)
{
	const struct setting_row *row = setting_row(p->setting);
	const char *near;

	switch (p->kind) {
	case CONF_FINE:
		break;
	case CONF_UNKNOWN:
		near = setting_nearest(str_of(p->word));
		if (near)
			return arena_printf(a, french ? "il n'y a pas de réglage « %s » : vouliez-vous dire %s ?"
			                              : "there is no setting \"%s\": did you mean %s?", p->word, near);
		return arena_printf(a, french ? "il n'y a pas de réglage « %s » : `facteur config list --all` les montre tous"
		                              : "there is no setting \"%s\": `facteur config list --all` shows them all", p->word);
	case CONF_NOT_A_VALUE:
		return arena_printf(a, french ? "« %s » n'est pas une valeur pour %s : il faut %s" : "\"%s\" is not a value for %s: give %s",
		                    p->word, row->name, example(row->type, french));
	case CONF_TOO_SMALL:
	case CONF_TOO_LARGE:
		return explain_range(a, p, french);
	case CONF_WRONG_PLACE:
		if (row->scope == SCOPE_FILE)
			return arena_printf(a, french ? "%s est lu avant l'ouverture de la base : écrivez-le dans facteur.conf et redémarrez"
			                              : "%s is read before the database opens: write it into facteur.conf and restart", row->name);
		return arena_printf(a, french ? "%s ne se règle pas à cet endroit : `facteur config set %s VALEUR`%s"
		                              : "%s is not set in this place: `facteur config set %s VALUE`%s", row->name, row->name,
		                    row->scope == SCOPE_SERVER ? (french ? " (pour tout le serveur)" : " (for the whole server)") : "");
	case CONF_TWICE:
		return arena_printf(a, french ? "%s est déjà fixé plus haut : gardez une seule ligne%s" : "%s is set above already: keep one line%s", row->name,
		                    strcmp(row->unit, "addresses") != 0 ? "" : french ? ", les valeurs séparées par des espaces" : ", with spaces between values");
	case CONF_SYNTAX:
		return str_of(french ? "cette ligne n'a pas la forme « nom = valeur » : écrivez chaque réglage sur une ligne, les commentaires derrière #"
		                     : "this line does not read \"name = value\": write each setting into one line, comments behind #");
	case CONF_UNREADABLE:
		return arena_printf(a, french ? "le fichier facteur.conf ne peut pas être lu : %s" : "the file facteur.conf cannot be read: %s", p->word);
	case CONF_NO_PLAIN_FILE:
		return str_of(french ? "facteur.conf doit être un simple fichier de 64 ko au plus" : "facteur.conf must be a plain file of at most 64 kB");
	}
	return STR("");
}

struct str conf_explain(struct arena *a, const struct conf_problem *p, bool french)
{
	struct str what = explain_kind(a, p, french);

	if (p->line == 0)
		return what;
	return arena_printf(a, french ? "facteur.conf, ligne %d : " STR_FMT : "facteur.conf, line %d: " STR_FMT, p->line, STR_ARG(what));
}
