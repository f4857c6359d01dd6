/* The value of one field, read in every way there is. */
#include "mime/header.h"
#include "mime/address.h"
#include "mime/date.h"
#include "mime/decode.h"
#include "mime/parse.h"
#include "base/bytes.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct str value = str_make(data, size), *ids;
	struct mail_date d;

	struct str text = header_decode(&a, value);
	assert(utf8_valid(text) && !str_has_ctl(text));
	assert(utf8_valid(header_base_subject(&a, value, NULL)));
	assert(header_ids(&a, value, &ids, 5) <= 5);
	if (date_parse(value, &d)) {
		char out[DATE_TEXT_MAX];
		struct mail_date again;
		size_t n = date_format(d.unix_s, d.zone_minutes, out);
		bool ok = date_parse(str_make(out, n), &again);
		assert(ok && again.unix_s == d.unix_s && again.zone_minutes == d.zone_minutes);
	}
	for (struct mime_param *p = mime_params_parse(&a, value); p; p = p->next)
		assert(utf8_valid(mime_param(&a, p, "filename")));
	for (int e = MIME_QUOTED_PRINTABLE; e <= MIME_BASE64; e++) {  /* byte by byte gives the same as all at once */
		struct mime_decoder dec = mime_decoder((enum mime_encoding)e);
		struct buf b = BUF(size + 8);
		for (size_t i = 0; i < size; i++)
			mime_decode(&dec, str_sub(value, i, 1), &b);
		mime_decode_end(&dec, &b);
		assert(!b.failed && str_eq(buf_str(&b), mime_decode_all(&a, (enum mime_encoding)e, value, size)));
		buf_free(&b);
	}
	arena_free(&a);
	return 0;
}
