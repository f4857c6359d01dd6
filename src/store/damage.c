/* Looking for damage. What a client asks for is compared as it goes out (body.c); what nobody asks for may rot for years, and the backups that still
 * have it are thrown away meanwhile: so the administrator can have all of it compared.
 *
 * Emails are gone through in the order of their numbers. Where one stands is only looked for when it is damaged: that reads the mailboxes. */
#include "base/bytes.h"
#include "base/clock.h"
#include "mime/summary.h"
#include "store/chunk.h"
#include "store/damage.h"
#include "store/store_private.h"

enum { LOOK_MS = 1000, EMAILS_STEP = 64 };

struct found {
	uint32_t email, file;
	bool     is_unreadable;
};

/* ERR_NOTFOUND: purged meanwhile. */
static enum err look_at(struct view *v, uint32_t email, struct damage *out, struct found *found)
{
	struct place place;
	enum err e = body_compare(v, email, &place);

	if (e == ERR_NOTFOUND)
		return ERR_OK;
	if (e != ERR_OK && e != ERR_CORRUPT && e != ERR_IO)
		return e;
	out->checked++;
	out->bytes += place.size;
	if (e != ERR_OK)
		found[out->n++] = (struct found){ email, place.file, e == ERR_IO };
	return ERR_OK;
}

static enum err look_through(struct view *v, uint32_t from, struct damage *out, struct found *found)
{
	int64_t until_ms = clock_mono_ms() + LOOK_MS;
	uint32_t emails[EMAILS_STEP], after = from > 0 ? from - 1 : 0, settled = email_settled(v);
	size_t n;

	do {
		TRY(emails_after(v, after, settled, emails, COUNT_OF(emails), &n));
		for (size_t i = 0; i < n; i++) {
			TRY(look_at(v, emails[i], out, found));
			after = emails[i];
			if (out->n == DAMAGE_AT_ONCE || clock_mono_ms() >= until_ms) {  /* behind one at least: each call comes further */
				out->next = after + 1;
				return ERR_OK;
			}
		}
	} while (n == COUNT_OF(emails));
	return ERR_OK;
}

/* One step through a mailbox; *uid becomes where the next one begins, 0 at the end. */
static enum err find_in_chunk(struct view *v, int64_t mailbox_id, uint32_t *uid, struct str path, const struct found *found, struct damage *out)
{
	struct chunk *c;

	TRY(chunk_seek(v, mailbox_id, *uid, &c));
	for (size_t i = 0; c != NULL && i < chunk_count(c); i++) {
		struct slot slot = chunk_slot(c, i);
		for (size_t k = 0; k < out->n; k++)
			if (found[k].email == slot.email && out->messages[k].uid == 0) {
				out->messages[k].path = path;
				out->messages[k].uid = slot.uid;
			}
	}
	*uid = c != NULL ? chunk_last_uid(c) + 1 : 0;
	return ERR_OK;
}

static enum err find_places(struct view *v, const struct found *found, struct arena *a, struct damage *out)
{
	struct mailbox *boxes;
	size_t n;

	TRY(view_mailboxes(v, a, &boxes, &n));
	for (size_t i = 0; i < n; i++) {
		for (uint32_t uid = 1; uid != 0;) {
			pthread_mutex_lock(&v->db_lock);
			enum err e = find_in_chunk(v, boxes[i].mailbox_id, &uid, boxes[i].path, found, out);
			pthread_mutex_unlock(&v->db_lock);
			TRY(e);
		}
	}
	return ERR_OK;
}

enum err damage_look(struct view *v, uint32_t from, struct arena *a, struct damage *out)
{
	struct found found[DAMAGE_AT_ONCE] = { 0 };
	struct summary sum;

	*out = (struct damage){ 0 };
	TRY(look_through(v, from, out, found));
	if (out->n == 0)
		return ERR_OK;
	TRY(find_places(v, found, a, out));
	for (size_t i = 0; i < out->n; i++) {
		struct damaged_message *m = &out->messages[i];
		TRY(view_summaries(v, &found[i].email, 1, true, a, &sum));
		m->received = sum.received;
		m->size = sum.size;
		m->message_id = utf8_clip(summary_message_id(a, sum.record), DAMAGE_MESSAGE_ID_MAX);
		m->file = found[i].file;
		m->is_unreadable = found[i].is_unreadable;
	}
	return ERR_OK;
}
