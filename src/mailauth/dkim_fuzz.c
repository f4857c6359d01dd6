/* A message to be signed, in one piece and in pieces; the field that comes of it; and what arrives in keys and control. The first byte
 * says how long the pieces are. */
#include "mailauth/dkim_sign.h"
#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static enum err fake_sign(void *context, enum dkim_algorithm algorithm, struct str data, struct buf *signature)
{
	assert(context == NULL && str_ends(data, STR("; b=")));
	buf_add(signature, str_sub(STR("0123456789012345678901234567890123456789012345678901234567890123456789"), 0, algorithm == DKIM_RSA ? 70 : 1));
	return ERR_OK;
}

/* Lines are short enough for any mail system and end with CRLF; what follows the first is a continuation. */
static void check_field(struct str field)
{
	bool first = true;

	while (field.n > 0) {
		ptrdiff_t at = str_find(field, STR("\r\n"));

		assert(at > 1 && at < 998 && (first || field.p[0] == '\t'));
		first = false;
		field = str_from(field, (size_t)at + 2);
	}
}

static void check_request(struct str body, bool is_ours)
{
	CLEANUP(buf_free) struct buf out = BUF(DKIM_PREFIX_MAX);
	struct scan s = scan_of(body);
	struct dkim_request r;

	if (!get_dkim_request(&s, &r))
		return;
	for (int i = 0; i < DKIM_ALGORITHM_COUNT; i++)
		if (dkim_field(&r, (enum dkim_algorithm)i, STR("example.org"), STR("20261128r"), 1764000000, fake_sign, NULL, &out) != ERR_OK)
			return;
	if (is_ours)
		check_field(str_sub(buf_str(&out), 0, (size_t)str_find(buf_str(&out), STR("\r\nDKIM-")) + 2));
}

static void check_message(struct str message, size_t step)
{
	CLEANUP(dkim_sign_free) struct dkim_sign *s = dkim_sign_begin(STR("a@example.org"));
	CLEANUP(buf_free) struct buf whole = BUF(DKIM_REQUEST_MAX), pieces = BUF(DKIM_REQUEST_MAX);
	struct scan in;
	struct dkim_request r;
	enum err e = dkim_sign_request(STR("a@example.org"), message, &whole);

	for (size_t at = 0; at < message.n; at += step)
		dkim_sign_add(s, str_sub(message, at, step));
	assert(dkim_sign_end(s, &pieces) == e);
	if (e != ERR_OK)
		return;
	assert(str_eq(buf_str(&whole), buf_str(&pieces)));
	in = scan_of(buf_str(&whole));
	assert(get_dkim_request(&in, &r));
	check_request(buf_str(&whole), true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str in = str_make(data + 1, n > 0 ? n - 1 : 0);
	struct scan s = scan_of(in);
	struct dkim_command c;
	struct dkim_keys keys;

	if (n == 0)
		return 0;
	check_message(in, (size_t)data[0] + 1);
	check_request(in, false);
	get_dkim_command(&s, &c);
	s = scan_of(in);
	get_dkim_keys(&s, &a, &keys);
	return 0;
}
