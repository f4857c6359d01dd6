/* Hostile originals, addresses and replies: a report is a multipart of three with the fields it must have, whatever they are. */
#include "deliver/bounce.h"
#include "mime/header.h"
#include "mime/parse.h"
#include <assert.h>

static void check(struct str m)
{
	struct arena a = { 0 };
	const struct mime_part *root = mime_parse(&a, m), *p = root->children;
	struct scan s = scan_of(m);
	struct header_field f;
	size_t to = 0, from = 0;

	assert(mime_is(root, "multipart", "report") && p && p->next && p->next->next && !p->next->next->next);
	while (header_next(&s, &f)) {
		to += str_ieq(f.name, STR("To"));
		from += str_ieq(f.name, STR("From"));
		assert(!str_ieq(f.name, STR("Bcc")) && !str_ieq(f.name, STR("Cc")));
	}
	assert(to == 1 && from == 1);
	for (size_t i = 0; i < m.n; i++)
		assert(m.p[i] != '\n' || (i > 0 && m.p[i - 1] == '\r'));
	arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = str_make(data, size), pieces[6];
	struct buf out = BUF(BOUNCE_BYTES_MAX), original = BUF(1 << 20);
	enum envelope_body body;
	bool smtputf8;

	if (size < 2)
		return 0;
	uint8_t flags = data[0], action = data[1];
	in = str_from(in, 2);
	for (size_t i = 0; i < COUNT_OF(pieces); i++)
		str_cut(in, '\0', &pieces[i], &in);
	if (pieces[0].n == 0)
		return 0;  /* nobody writes to "<>" */
	for (size_t i = 0; i < in.n; i++) {  /* what the queue has: CRLF lines, no NUL */
		if (in.p[i] == '\n')
			buf_add_char(&original, '\r');
		if (in.p[i] != '\r' && in.p[i] != '\0')
			buf_add_char(&original, in.p[i]);
	}
	const struct envelope e = { .sender = pieces[0], .envid = pieces[1], .smtputf8 = flags & 1, .ret = flags & 2 ? ENVELOPE_RET_FULL : ENVELOPE_RET_HDRS };
	const struct report_recipient x[] = {
		{ (enum report_action)(1 + action % (REPORT_ACTIONS - 1)), pieces[2], pieces[3], pieces[4], pieces[5], pieces[1], action },
		{ (enum report_action)(1 + action / 16 % (REPORT_ACTIONS - 1)), pieces[3], pieces[2], pieces[1], pieces[4], STR(""), 0 },
	};
	const struct report r = { .envelope = &e, .original = buf_str(&original), .size = original.n, .n = flags & 4 ? 2 : 1, .recipients = x };
	const struct bounce_style style = { flags & 8 ? LANG_FR : LANG_EN, flags & 16, STR("mail.example.org"), STR("example.org") };

	bounce_build(&r, &style, &out, &body, &smtputf8);
	assert(!out.failed);
	check(buf_str(&out));
	buf_free(&out);
	buf_free(&original);
	return 0;
}
