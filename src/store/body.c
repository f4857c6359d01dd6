/* The bytes of a message, on their way to whoever reads it. Disks give back other bytes than were written, seldom and without a word; a
 * sum of each message stands before its bytes, so whoever asks for a damaged one hears so, and nobody takes it for what was sent.
 *
 * To compare costs the sum, and, where a part is wanted, the reading of the rest. A message that is not long is therefore read at once into
 * memory, and its parts are given from there. A long one is gone through before its first byte is given out, unless only its beginning is
 * wanted: ten thousand headers of messages with films in them must not read the films. That it was whole is remembered for a few of
 * them, since phones fetch a long one piece by piece. */
#include "base/log.h"
#include "store/store_private.h"

enum { BEGINNING = 8 };  /* such a part of a long message is given out without a look at the rest */

static struct place place_of(const struct body *b) { return (struct place){ b->in_file, b->at, b->size }; }

static bool is_first_time(struct view *v, uint32_t email)
{
	struct damaged *d = &v->damaged;
	bool is_known = false, has_room;

	pthread_mutex_lock(&v->memory_lock);
	for (size_t i = 0; i < d->n && !is_known; i++)
		is_known = d->emails[i] == email;
	has_room = d->n < COUNT_OF(d->emails);
	if (!is_known && has_room)
		d->emails[d->n++] = email;
	pthread_mutex_unlock(&v->memory_lock);
	return !is_known && has_room;
}

void body_is_damaged(struct view *v, uint32_t email, const struct place *place)
{
	if (is_first_time(v, email))
		log_error("a message is damaged on the disk: its bytes are not those that were stored account=%llu email=%u file=%u offset=%llu size_bytes=%llu; "
		          "`facteur account check` names all such messages of an account, look at the disk (dmesg, smartctl), and take them from a backup",
		          (unsigned long long)v->config.account, email, place->file, (unsigned long long)place->at, (unsigned long long)place->size);
}

static enum err result(const struct body *b, enum err e)
{
	struct place place = place_of(b);

	if (e == ERR_CORRUPT)
		body_is_damaged(b->view, b->email, &place);
	return e;
}

enum err body_open(struct view *v, uint32_t email, struct body *out)
{
	struct place place = { 0 };
	struct body_file *f = NULL;
	enum err e;

	*out = (struct body){ 0 };
	pthread_mutex_lock(&v->db_lock);
	e = email_place(v, email, &place);
	if (e == ERR_OK)  /* inside the lock: compaction may not remove the file in between */
		e = bodies_pin(v->bodies, place.file, &f);
	pthread_mutex_unlock(&v->db_lock);
	if (e == ERR_OK && place.size > BODY_KEPT && !body_file_holds(f, place.at, place.size)) {
		bodies_unpin(v->bodies, f);
		e = ERR_CORRUPT;  /* callers make room for a body: a size that cannot be true must not be believed */
	}
	if (e == ERR_CORRUPT && place.file != 0)
		body_is_damaged(v, email, &place);
	if (e == ERR_OK)
		*out = (struct body){ .view = v, .size = place.size, .at = place.at, .email = email, .in_file = place.file, .file = f };
	return e;
}

void body_close(struct body *b)
{
	if (b->view != NULL)
		bodies_unpin(b->view->bodies, b->file);
	mem_free(b->kept);
	*b = (struct body){ 0 };
}

static enum err read_all(struct body *b, void *p)
{
	struct place place = place_of(b);

	return result(b, body_file_read_message(b->file, &place, b->email, p));
}

static enum err keep(struct body *b)
{
	char *p = mem_resize(NULL, (size_t)b->size);  /* not zeroed: all of it is read, or it is freed */
	enum err e = read_all(b, p);

	if (e == ERR_OK)
		b->kept = p;
	else
		mem_free(p);
	return e;
}

enum err body_read(struct body *b, uint64_t offset, void *p, size_t n)
{
	if (offset > b->size || n > b->size - offset)
		return ERR_INVALID;
	if (n == 0)
		return ERR_OK;
	if (n == b->size && b->kept == NULL)
		return read_all(b, p);
	if (b->size > BODY_KEPT)
		return result(b, body_file_read(b->file, b->at + RECORD_HEADER + offset, p, n));
	if (b->kept == NULL)
		TRY(keep(b));
	memcpy(p, b->kept + offset, n);
	return ERR_OK;
}

enum err body_look(struct body *b, struct str *all)
{
	if (b->size > BODY_KEPT)
		return ERR_LIMIT;
	if (b->kept == NULL)
		TRY(keep(b));
	*all = str_make(b->kept, (size_t)b->size);
	return ERR_OK;
}

enum err body_check(struct body *b, uint64_t upto)
{
	struct place place = place_of(b);
	atomic_uint *whole;

	if (b->size <= BODY_KEPT || upto <= b->size / BEGINNING)
		return ERR_OK;
	whole = &b->view->whole[b->email % LONG_WHOLE];
	if (atomic_load(whole) == b->email)
		return ERR_OK;
	will_wait(b->view);
	TRY(result(b, body_file_check(b->file, &place, b->email)));
	atomic_store(whole, b->email);
	return ERR_OK;
}

enum err body_compare(struct view *v, uint32_t email, struct place *place)
{
	struct body_file *f = NULL;
	enum err e;

	*place = (struct place){ 0 };
	pthread_mutex_lock(&v->db_lock);
	e = email_place(v, email, place);
	enum err pinned = e == ERR_OK ? bodies_pin(v->bodies, place->file, &f) : e;
	pthread_mutex_unlock(&v->db_lock);
	TRY(e);
	e = pinned == ERR_OK ? body_file_check(f, place, email) : pinned;
	if (e == ERR_CORRUPT)
		body_is_damaged(v, email, place);
	if (e == ERR_CORRUPT && (f == NULL || !body_file_holds(f, place->at, RECORD_HEADER + place->size)))
		e = ERR_IO;
	if (f != NULL)
		bodies_unpin(v->bodies, f);
	return e;
}
