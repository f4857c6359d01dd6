/* Only the part that is made for programs is read: what people are told is worded in a hundred ways, and an answer "I am away" comes to the same
 * address. The fields of each recipient stand in a block of their own, parted by an empty line. */
#include "mime/delivery_status.h"
#include "mime/header.h"
#include "mime/parse.h"

enum { BLOCKS_MAX = 200, REASON_MAX = 500 };

static struct str without_type(struct str value)
{
	struct str type, text;

	return str_cut(value, ';', &type, &text) ? str_trim(text) : value;
}

static bool block_has_failed(struct str block, struct arena *a, struct str *reason)
{
	struct str action, value;

	if (!header_find(block, STR("Action"), &action) || !str_ieq(header_unfold(a, action), STR("failed")))
		return false;
	if (!header_find(block, STR("Diagnostic-Code"), &value) && !header_find(block, STR("Status"), &value))
		value = STR("");
	*reason = str_sub(without_type(header_decode(a, value)), 0, REASON_MAX);
	return true;
}

static bool status_has_failed(struct str status, struct arena *a, struct str *reason)
{
	for (int i = 0; i < BLOCKS_MAX && status.n > 0; i++) {
		size_t n = header_size(status);
		if (block_has_failed(str_sub(status, 0, n), a, reason))
			return true;
		status = str_from(status, n);
	}
	return false;
}

bool delivery_has_failed(struct str message, struct arena *a, struct str *reason)
{
	*reason = STR("");
	for (const struct mime_part *p = mime_parse(a, message); p != NULL; p = mime_next(p))
		if ((mime_is(p, "message", "delivery-status") || mime_is(p, "message", "global-delivery-status")) &&
		    status_has_failed(mime_body(message, p), a, reason))
			return true;
	return false;
}
