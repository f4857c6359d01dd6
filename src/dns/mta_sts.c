/* MTA-STS, the texts (RFC 8461).
 *
 * A policy is lines of "key: value"; the grammar (§3.2) wants the version first in spirit only: order is free, unknown keys are skipped,
 * of a key that may stand once the first counts. Lines end in CRLF, but files come from editors: LF is taken too. A policy that
 * is wrong in any other way is no policy: then mail goes as if there were none, so nothing here guesses. */
#include "dns/mta_sts.h"
#include "dns/name.h"
#include "dns/record.h"

enum { LINES_MAX = 1000 };

struct reading {
	struct arena          *a;
	struct mta_sts_policy *out;
	size_t                 line, cap;
	bool                   has_version, has_mode, has_age;
	struct str             why;   /* empty: nothing is wrong so far */
};

static void is_wrong(struct reading *r, const char *what)
{
	if (r->why.n == 0)
		r->why = arena_printf(r->a, "line %zu: %s", r->line, what);
}

static void read_mode(struct reading *r, struct str value)
{
	static const struct { const char *word; enum mta_sts_mode mode; } modes[] = {
		{ "none", MTA_STS_NONE }, { "testing", MTA_STS_TESTING }, { "enforce", MTA_STS_ENFORCE },
	};

	if (r->has_mode)
		return;
	for (size_t i = 0; i < COUNT_OF(modes); i++) {
		if (!str_eq(value, str_of(modes[i].word)))
			continue;
		r->out->mode = modes[i].mode;
		r->has_mode = true;
		return;
	}
	is_wrong(r, "mode is none, testing or enforce");
}

static void read_age(struct reading *r, struct str value)
{
	struct scan s = scan_of(value);
	uint64_t age;

	if (r->has_age)
		return;
	age = scan_number(&s, 9999999999);  /* 1*10(DIGIT) */
	if (s.failed || !scan_done(&s)) {
		is_wrong(r, "max_age is a number of seconds");
		return;
	}
	r->out->max_age_s = age < MTA_STS_AGE_MAX ? (uint32_t)age : MTA_STS_AGE_MAX;
	r->has_age = true;
}

/* A host name, or "*." and one. */
static void read_mx(struct reading *r, struct str value)
{
	struct mta_sts_policy *p = r->out;
	bool is_wild = str_starts(value, STR("*."));
	struct str host = is_wild ? str_from(value, 2) : value;

	if (!domain_is_host(host)) {
		is_wrong(r, "mx is the name of a mail host, or *. and a domain");
		return;
	}
	if (p->pattern_count == MTA_STS_PATTERNS_MAX) {
		is_wrong(r, "there are too many mx lines");
		return;
	}
	p->patterns = arena_grow(r->a, p->patterns, p->pattern_count, &r->cap, sizeof *p->patterns);
	p->patterns[p->pattern_count++] = str_lower(r->a, value);
}

static void read_line(struct reading *r, struct str line)
{
	struct str key, value;

	r->line++;
	line = str_trim(line);
	if (line.n == 0)
		return;
	if (!str_cut(line, ':', &key, &value)) {
		is_wrong(r, "a line is a key, a colon and a value");
		return;
	}
	key = str_trim(key);
	value = str_trim(value);
	if (str_eq(key, STR("version"))) {
		if (!r->has_version && !str_eq(value, STR("STSv1")))
			is_wrong(r, "the version is not STSv1");
		r->has_version = true;
	} else if (str_eq(key, STR("mode"))) {
		read_mode(r, value);
	} else if (str_eq(key, STR("max_age"))) {
		read_age(r, value);
	} else if (str_eq(key, STR("mx"))) {
		read_mx(r, value);
	}
}

enum err mta_sts_policy_parse(struct str text, struct arena *a, struct mta_sts_policy *out, struct str *why)
{
	struct reading r = { .a = a, .out = out };
	struct str line, rest = text;

	*out = (struct mta_sts_policy){ 0 };
	if (text.n > MTA_STS_TEXT_MAX) {
		*why = STR("the policy is larger than 64 kB");
		return ERR_INVALID;
	}
	out->text = str_copy(a, text);
	while (rest.n && r.line < LINES_MAX && r.why.n == 0) {
		str_cut(rest, '\n', &line, &rest);
		read_line(&r, line);
	}
	if (r.why.n == 0 && rest.n)
		r.why = STR("there are too many lines");
	if (r.why.n == 0 && !r.has_version)
		r.why = STR("the line \"version: STSv1\" is missing");
	if (r.why.n == 0 && !r.has_mode)
		r.why = STR("the line \"mode:\" is missing");
	if (r.why.n == 0 && !r.has_age)
		r.why = STR("the line \"max_age:\" is missing");
	if (r.why.n == 0 && out->mode != MTA_STS_NONE && out->pattern_count == 0)
		r.why = STR("there is no line \"mx:\"");
	*why = r.why;
	return r.why.n ? ERR_INVALID : ERR_OK;
}

bool mta_sts_policy_allows(const struct mta_sts_policy *p, struct str host)
{
	ptrdiff_t dot = str_chr(host, '.');

	for (size_t i = 0; i < p->pattern_count; i++) {
		struct str pattern = p->patterns[i];
		if (str_ieq(pattern, host))
			return true;
		if (pattern.p[0] == '*' && dot > 0 && str_ieq(str_from(pattern, 1), str_from(host, (size_t)dot)))
			return true;
	}
	return false;
}

/* ---- the TXT record ---- */

static bool is_id_char(char c) { return chr_alpha(c) || chr_digit(c); }

/* sts-text-record = sts-version 1*(sts-field-delim sts-field) [sts-field-delim]                              RFC 8461 §3.1 */
static bool read_record(struct str text, struct str *id)
{
	struct str field, name, value, rest;

	*id = STR_NONE;
	str_cut(text, ';', &field, &rest);
	while (rest.n) {
		str_cut(rest, ';', &field, &rest);
		if (!str_cut(field, '=', &name, &value) || !str_eq(str_trim(name), STR("id")) || id->n)
			continue;
		*id = str_trim(value);
	}
	if (id->n == 0 || id->n > MTA_STS_ID_MAX)
		return false;
	for (size_t i = 0; i < id->n; i++)
		if (!is_id_char(id->p[i]))
			return false;
	return true;
}

/* "v=STSv1" and then the end or a semicolon; white space around it. */
static bool is_record(struct str text)
{
	struct str version, rest;

	str_cut(text, ';', &version, &rest);
	return str_eq(str_trim(version), STR("v=STSv1"));
}

enum err mta_sts_record(const struct dns_answer *txt, struct arena *a, struct str *id)
{
	struct str text, found = STR_NONE;
	size_t n = 0;

	if (txt->outcome == DNS_FAILED || txt->outcome == DNS_FORGED)
		return ERR_AGAIN;
	for (size_t i = 0; i < txt->n; i++) {
		if (!dns_read_text(txt->records[i], a, &text) || !is_record(text))
			continue;
		found = text;
		n++;
	}
	if (n != 1)
		return ERR_NOTFOUND;
	return read_record(found, id) ? ERR_OK : ERR_INVALID;
}
