/* imap/answers_test.h -- words of answers, read by the clients of model_test.c and crowd_test.c; and numbers that choose what these play. */
#ifndef FACTEUR_IMAP_ANSWERS_TEST_H
#define FACTEUR_IMAP_ANSWERS_TEST_H
#include "base/scan.h"
#include "store/uid_set.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLAGS = 7, SEEN = 1, FLAGGED = 4, DELETED = 8, SYSTEM_FLAGS = 31, OTHER_FLAG = 1 << FLAGS /* any that is not named here */ };
static const char *const flag_names[FLAGS] = { "\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "k1", "k2" };

static uint32_t read_flags(struct str text)
{
	struct str word;
	uint32_t flags = 0;

	while (str_cut(text, ' ', &word, &text) || (word.n > 0 && text.n == 0)) {
		int f = 0;
		while (f < FLAGS && !str_ieq(word, str_of(flag_names[f])))
			f++;
		flags |= word.n > 0 ? 1u << f : 0;
		if (text.n == 0)
			break;
	}
	return flags;
}

/* "\Seen k1" */
static size_t flag_list(uint32_t flags, char *out, size_t room)
{
	size_t n = 0;

	out[0] = '\0';
	for (int f = 0; f < FLAGS; f++)
		if (flags & 1u << f)
			n += (size_t)snprintf(out + n, room - n, "%s%s", n ? " " : "", flag_names[f]);
	return n;
}

static bool read_set(struct arena *a, struct str text, struct uid_set *out)
{
	struct scan s = scan_of(text);

	do {
		uint32_t first = scan_u32(&s), last = scan_take(&s, ':') ? scan_u32(&s) : first;
		uid_set_add(out, a, first, last);
	} while (scan_take(&s, ','));
	return !s.failed && scan_done(&s);
}

/* 0: it is not there. */
static uint64_t long_after(struct str text, const char *word)
{
	ptrdiff_t at = str_find(text, str_of(word));
	struct scan s;

	if (at < 0)
		return 0;
	s = scan_of(str_from(text, (size_t)at + strlen(word)));
	return scan_number(&s, UINT64_MAX);
}

static uint32_t number_after(struct str text, const char *word) { return (uint32_t)long_after(text, word); }

/* Out of the environment. */
static unsigned number_of(const char *name, unsigned otherwise)
{
	const char *text = getenv(name);

	return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}
#endif
