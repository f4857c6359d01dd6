/* Flags, and the guess at what a mistyped word was meant to be. */
#include "cli/flags.h"

enum { WORD_MAX = 40 };

/* Damerau-Levenshtein (neighbours swapped count once): how many slips of the finger lie between the two. */
static size_t slips(struct str a, struct str b)
{
	size_t d[WORD_MAX + 1][WORD_MAX + 1];

	for (size_t i = 0; i <= a.n; i++)
		d[i][0] = i;
	for (size_t j = 0; j <= b.n; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= a.n; i++) {
		for (size_t j = 1; j <= b.n; j++) {
			size_t best = d[i - 1][j - 1] + (chr_lower(a.p[i - 1]) != chr_lower(b.p[j - 1]));
			if (d[i - 1][j] + 1 < best)
				best = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < best)
				best = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1] && d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	}
	return d[a.n][b.n];
}

const char *word_nearest(struct str word, const char *const *candidates, size_t n)
{
	const char *best = NULL;
	size_t least = word.n <= 3 ? 2 : 3;  /* more slips than this are another word */

	if (word.n == 0 || word.n > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		struct str candidate = str_of(candidates[i]);
		if (candidate.n > WORD_MAX)
			continue;
		size_t count = str_starts(candidate, word) ? 0 : slips(word, candidate);
		if (count < least) {
			least = count;
			best = candidates[i];
		}
	}
	return best;
}

static const struct flag *flag_find(const struct flag *flags, struct str name)
{
	for (; flags->name; flags++)
		if (str_eq(name, str_of(flags->name)))
			return flags;
	return NULL;
}

static void unknown_flag(struct cli *c, const struct flag *flags, struct str name, const char *command)
{
	const char *names[32];
	size_t n = 0;

	while (n < COUNT_OF(names) && flags[n].name) {
		names[n] = flags[n].name;
		n++;
	}
	const char *near = word_nearest(name, names, n);
	if (near)
		complain(c, TEXT_CLI_UNKNOWN_FLAG_NEAR, name, str_of(near));
	else
		complain(c, TEXT_CLI_UNKNOWN_FLAG, name, str_of(command));
}

bool flags_parse(struct cli *c, int argc, char **argv, const struct flag *flags, struct str *arguments, size_t max,
                 size_t *n)
{
	bool are_over = false;

	*n = 0;
	for (int i = 1; i < argc; i++) {
		struct str word = str_of(argv[i]), name, value;
		if (str_eq(word, STR("--")) && !are_over) {
			are_over = true;
			continue;
		}
		if (are_over || !str_starts(word, STR("--"))) {
			if (*n == max) {
				complain(c, TEXT_CLI_TOO_MANY_WORDS, word, str_of(argv[0]));
				return false;
			}
			arguments[(*n)++] = word;
			continue;
		}
		bool has_value = str_cut(str_from(word, 2), '=', &name, &value);
		const struct flag *f = flag_find(flags, name);
		if (f == NULL) {
			unknown_flag(c, flags, name, argv[0]);
			return false;
		}
		if (f->value && !has_value && i + 1 == argc) {
			complain(c, TEXT_CLI_FLAG_NEEDS_VALUE, name);
			return false;
		}
		if (!f->value && has_value) {
			complain(c, TEXT_CLI_FLAG_IS_SWITCH, name);
			return false;
		}
		if (f->value)
			*f->value = has_value ? value : str_of(argv[++i]);
		if (f->is_given)
			*f->is_given = true;
	}
	return true;
}
