/* Headers that strangers wrote, as a list sends them on: one From, that of the list; no field that was not there; once is enough. */
#include "mime/header.h"
#include "mime/list.h"
#include <assert.h>

static size_t count(struct str header, struct str name)
{
	struct scan s = scan_of(header);
	struct header_field f;
	size_t n = 0;

	while (header_next(&s, &f))
		n += str_ieq(f.name, name);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(buf_free) struct buf out = BUF(size + 10000);
	struct str message = str_make(data, size), header = str_sub(message, 0, header_size(message));
	const struct list_post p = { .address = STR("team@example.org"), .title = STR("T"), .renames_author = size % 2, .message_id = STR("1@example.org"), .date = 1, .replies_to_list = size % 3 == 0 };

	list_obstacle(header, p.address);
	list_header(&p, header, &out);
	if (out.failed)
		return 0;
	struct str made = buf_str(&out);
	assert(list_obstacle(made, p.address) != LIST_MAY_PASS);
	assert(count(made, STR("List-Id")) == 1);
	if (p.renames_author)
		assert(count(made, STR("From")) == (count(header, STR("From")) > 0));
	assert(count(made, STR("Date")) == (count(header, STR("Date")) > 1 ? count(header, STR("Date")) : 1));
	assert(count(made, STR("To")) == count(header, STR("To")));
	return 0;
}
