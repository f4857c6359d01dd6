/* A submitted message in pieces: what goes on has each needed field, no Bcc, the body untouched, and needs nothing a second time. */
#include "submit/fixup.h"
#include "mime/header.h"
#include <assert.h>

static void fix(struct str in, size_t piece, struct str received, struct buf *out)
{
	const struct fixup_facts facts = { received, STR("example.test"), STR("Alic\xc3\xa9"), STR("alice@example.test"), 1700000000 };
	struct fixup f;

	fixup_begin(&f);
	while (in.n > 0 && !f.is_whole) {
		struct str next = str_sub(in, 0, piece);
		in = str_from(in, next.n);
		if (fixup_take(&f, &next) != ERR_OK)
			break;
		in.p -= next.n;
		in.n += next.n;
	}
	fixup_end(&f);
	fixup_write(&f, &facts, out);
	buf_add(out, in);
	fixup_free(&f);
}

static void check(struct str message)
{
	struct scan s = scan_of(message);
	struct header_field f;
	bool has_date = false, has_id = false, has_from = false;

	while (header_next(&s, &f)) {
		assert(!str_ieq(f.name, STR("Bcc")) && !str_ieq(f.name, STR("Return-Path")));
		has_date = has_date || str_ieq(f.name, STR("Date"));
		has_id = has_id || str_ieq(f.name, STR("Message-ID"));
		has_from = has_from || str_ieq(f.name, STR("From"));
	}
	assert(has_date && has_id && has_from);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf once = BUF(4 << 20), twice = BUF(4 << 20), whole = BUF(4 << 20);
	struct arena a = { 0 };
	struct fixup f;
	struct authors got;

	if (size == 0)
		return 0;
	struct str in = str_make(data + 1, size - 1);
	fix(in, 1 + data[0] % 64u, STR(""), &once);
	check(buf_str(&once));
	fix(buf_str(&once), 1 + data[0] / 4u, STR(""), &twice);
	assert(str_eq(buf_str(&once), buf_str(&twice)));
	fix(in, size, STR("Received: x\r\n"), &whole);
	assert(str_starts(buf_str(&whole), STR("Received: x\r\n")));
	fixup_begin(&f);
	if (fixup_take(&f, &in) == ERR_OK) {
		fixup_end(&f);
		if (fixup_authors(&f, &a, &got) == ERR_OK)
			assert(got.n <= FIXUP_AUTHORS_MAX && (got.n > 0) == got.has_from);
	}
	fixup_free(&f);
	arena_free(&a);
	buf_free(&once);
	buf_free(&twice);
	buf_free(&whole);
	return 0;
}
