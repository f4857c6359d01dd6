/* The texts of one message, word by word into a batch, in steps of a few milliseconds: two megabytes of Chinese have half a million words. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "mime/header.h"
#include "mime/summary.h"
#include "mime/text.h"
#include "store/index_private.h"
#include "text/fold.h"
#include "text/words.h"

enum { TEXT_MAX = 2 << 20 /* bytes of a message that are indexed */, PIECE = 32 << 10 /* bytes folded at once */, LOOK_AT_CLOCK = 256 };

enum phase { AT_END, IN_HEADERS, IN_BODIES };

struct message_words {
	struct batch           *batch;
	struct arena            arena;
	char                   *bytes;         /* owned while it is not at its end */
	struct str              message;
	const struct mime_part *root, *part;   /* whose text is next; NULL: no more in this phase */
	enum phase              phase;
	size_t                  text_left;
	enum index_field        field;         /* of the text at hand: */
	struct str              text;          /* not folded yet */
	struct buf              folded;
	bool                    is_cut;        /* words has begun */
	struct words            words;
};

/* A text begins; what is too much of the message is left out, and said so. */
static void begin_text(struct message_words *m, enum index_field field, struct str text)
{
	if (text.n > m->text_left) {
		batch_mark_unsure(m->batch);
		text = utf8_clip(text, m->text_left);
	}
	m->text_left -= text.n;
	m->field = field;
	m->text = text;
	buf_reset(&m->folded);
	m->is_cut = false;
}

/* False: the time is over. */
static bool fold_text(struct message_words *m, int64_t until_ms)
{
	while (m->text.n > 0) {
		struct str piece = utf8_clip(m->text, PIECE);
		piece = piece.n > 0 ? piece : m->text;
		fold_casemap_into(&m->folded, piece);
		m->text = str_from(m->text, piece.n);
		if (m->text.n > 0 && clock_mono_ms() >= until_ms)
			return false;
	}
	if (!m->is_cut)
		m->words = words_of(buf_str(&m->folded));
	m->is_cut = true;
	return true;
}

static bool go_on_with_text(struct message_words *m, int64_t until_ms)
{
	struct str word;

	if (!fold_text(m, until_ms))
		return false;
	for (unsigned i = 1; words_next(&m->words, &word); i++) {
		batch_add_word(m->batch, word, m->field);
		if (i % LOOK_AT_CLOCK == 0 && clock_mono_ms() >= until_ms)
			return false;
	}
	return true;
}

static void add_record(struct message_words *m, struct str record)
{
	static const struct { enum index_field field; enum summary_field summary; } addresses[] = {
		{ INDEX_FROM, SUMMARY_FROM }, { INDEX_TO, SUMMARY_TO }, { INDEX_CC, SUMMARY_CC }, { INDEX_BCC, SUMMARY_BCC } };

	for (size_t i = 0; i < COUNT_OF(addresses); i++) {
		begin_text(m, addresses[i].field, summary_addresses(&m->arena, record, addresses[i].summary));
		go_on_with_text(m, INT64_MAX);
	}
	begin_text(m, INDEX_SUBJECT, summary_subject(&m->arena, record));
	go_on_with_text(m, INT64_MAX);
}

struct message_words *message_words_new(void)
{
	struct message_words *m = MEM_NEW(struct message_words);

	m->folded = BUF((size_t)TEXT_MAX * 11 + 16);
	return m;
}

void message_words_free(struct message_words *m)
{
	if (m == NULL)
		return;
	arena_free(&m->arena);
	buf_free(&m->folded);
	mem_free(m->bytes);
	mem_free(m);
}

void message_words_begin(struct message_words *m, struct batch *b, uint32_t email, struct str record, char *bytes, size_t n)
{
	m->batch = b;
	m->bytes = bytes;
	m->message = str_make(bytes, n);
	m->text_left = TEXT_MAX;
	batch_begin_email(b, email);
	add_record(m, record);
	m->part = m->root = mime_parse(&m->arena, m->message);
	m->phase = IN_HEADERS;
}

bool message_words_is_done(const struct message_words *m) { return m->phase == AT_END; }

static void end_message(struct message_words *m)
{
	if (m->text_left == 0)
		batch_mark_unsure(m->batch);
	arena_reset(&m->arena);
	mem_free(m->bytes);
	m->bytes = NULL;
	m->phase = AT_END;
}

/* False: there is none. */
static bool next_text(struct message_words *m)
{
	if (m->phase == IN_HEADERS && m->part == NULL) {
		m->phase = IN_BODIES;
		m->part = mime_text_first(m->root);
	}
	if (m->part == NULL || m->text_left == 0)
		return false;
	if (m->phase == IN_HEADERS) {
		begin_text(m, INDEX_HEADER, mime_part_header_text(&m->arena, m->message, m->part));
		m->part = mime_next(m->part);
	} else {
		begin_text(m, INDEX_BODY, mime_text(&m->arena, m->message, m->part, MIME_TEXT_MAX));
		m->part = mime_text_next(m->part);
	}
	return true;
}

void message_words_step(struct message_words *m, int64_t until_ms)
{
	while (m->phase != AT_END) {
		if (!go_on_with_text(m, until_ms))
			return;
		if (!next_text(m))
			end_message(m);
		else if (clock_mono_ms() >= until_ms)
			return;
	}
}
