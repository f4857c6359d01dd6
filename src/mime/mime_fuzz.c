/* Everything that reads a whole message: the tree, the record and its readers, texts, rewriting. */
#include "mime/parse.h"
#include "mime/rewrite.h"
#include "mime/summary.h"
#include "mime/text.h"
#include "base/bytes.h"
#include <assert.h>

static void check_tree(struct str message, const struct mime_part *root)
{
	uint32_t parts = 0;

	for (const struct mime_part *p = root; p; p = mime_next(p)) {
		parts++;
		assert(parts <= MIME_PARTS_MAX);
		assert(p->body_at == p->header_at + p->header_n && p->body_at + p->body_n <= message.n);
		if (p->parent) {
			assert(p->header_at >= p->parent->body_at);
			assert(p->body_at + p->body_n <= p->parent->body_at + p->parent->body_n);
		}
		assert((p->children != NULL) == (p->kind == MIME_MULTIPART || p->kind == MIME_MESSAGE));
		uint32_t lines = 0;
		for (size_t i = p->body_at; i < p->body_at + p->body_n; i++)
			lines += message.p[i] == '\n';
		assert(lines == p->body_lines);
	}
}

static void check_record(struct arena *a, struct str message, struct str record)
{
	static const char *const sections[] = { "", "1", "1.1", "2.MIME", "1.HEADER", "3.1.TEXT", "2.2.2", "TEXT",
	                                        "HEADER" };
	struct buf b = BUF(SUMMARY_MAX);

	assert(summary_is_valid(record) && record.n <= SUMMARY_MAX);
	bool ok = summary_body(record, true, &b);
	assert(ok);
	buf_reset(&b);
	ok = summary_bodystructure_rev1(record, &b);
	assert(ok && b.n <= summary_bodystructure(record).n);
	buf_free(&b);
	assert(utf8_valid(summary_preview(record)) && !str_has_ctl(summary_preview(record)));
	for (size_t i = 0; i < COUNT_OF(sections); i++) {
		struct summary_section s;
		if (summary_section(record, str_of(sections[i]), &s))
			assert(s.offset + s.length <= message.n);
	}
	for (int f = SUMMARY_FROM; f <= SUMMARY_BCC; f++)
		assert(utf8_valid(summary_addresses(a, record, (enum summary_field)f)));
	assert(utf8_valid(summary_subject(a, record)));
	(void)summary_message_id(a, record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct str message = str_make(data, size);
	struct buf out = BUF(size * 4 + 100000);
	struct mime_part *root = mime_parse(&a, message);
	struct mail_date d;

	check_tree(message, root);
	check_record(&a, message, summary_build(&a, message, root));
	for (const struct mime_part *p = mime_text_first(root); p; p = mime_text_next(p))
		assert(utf8_valid(mime_text(&a, message, p, 100000)));
	assert(utf8_valid(mime_header_text(&a, message)) || !str_is_ascii(message));
	for (const struct mime_part *p = root; p; p = mime_next(p))
		(void)mime_filename(&a, p);
	mime_rewrite(message, root, &out);
	if (!out.failed)
		assert(!mime_needs_rewrite(buf_str(&out), mime_parse(&a, buf_str(&out))));
	buf_free(&out);
	/* the same bytes as a record from a damaged disk */
	struct summary_section s;
	struct buf b = BUF(SUMMARY_MAX);
	(void)summary_section(message, STR("1.2"), &s);
	(void)summary_body(message, false, &b);
	(void)summary_addresses(&a, message, SUMMARY_TO);
	(void)summary_sent(message, &d);
	buf_free(&b);
	arena_free(&a);
	return 0;
}
