/* The one look at a message when it comes in: everything that is asked again and again is made here, outside all locks,
 * so that no later command parses it (DESIGN §5).
 *
 * For threading, an id counts together with the base subject (RFC 8621 §3, RFC 5256 §2.1), both in one 64-bit hash that
 * stays the same for ever, since it is kept. Of a long References only the nearest ancestors and the root are used: a
 * thread whose members we hold is found by them, and a message writes at most DIGEST_REFERENCES rows. */
#include "store/digest.h"
#include "mime/header.h"
#include "mime/summary.h"

static uint64_t hash(uint64_t h, struct str s)  /* FNV-1a, letters in lower case */
{
	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)chr_lower(s.p[i])) * UINT64_C(0x100000001b3);
	return h;
}

static void add_reference(struct digest *out, uint64_t subject, struct str id)
{
	uint64_t h = hash(subject, id);

	h ^= h >> 32;
	for (size_t i = 0; i < out->n_references; i++)
		if (out->references[i] == h)
			return;
	if (id.n > 0 && out->n_references < DIGEST_REFERENCES)
		out->references[out->n_references++] = h;
}

static void add_ids(struct digest *out, uint64_t subject, const struct mime_envelope *e, struct arena *a)
{
	struct str *ids, *root;
	size_t n, own;

	n = header_ids(a, e->in_reply_to, &ids, 1);
	for (size_t i = 0; i < n; i++)
		add_reference(out, subject, ids[i]);
	n = header_ids(a, e->references, &root, HEADER_IDS_MAX);
	for (size_t i = n; i > 0 && n - i < DIGEST_REFERENCES - 4; i--)
		add_reference(out, subject, root[i - 1]);
	if (n > 0)
		add_reference(out, subject, root[0]);
	own = header_ids(a, e->message_id, &ids, 1);
	if (own > 0)
		add_reference(out, subject, ids[0]);
}

void digest_message(struct str message, struct arena *a, struct digest *out)
{
	CLEANUP(arena_free) struct arena scratch = { 0 };
	const struct mime_part *root = mime_parse(&scratch, message);
	uint64_t subject;

	*out = (struct digest){ 0 };
	out->record = str_copy(a, summary_build(&scratch, message, root));
	if (root->envelope == NULL)
		return;
	subject = hash(UINT64_C(0xcbf29ce484222325), header_base_subject(&scratch, root->envelope->subject, NULL));
	add_ids(out, subject, root->envelope, &scratch);
}
