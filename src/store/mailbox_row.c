/* Rows of mailboxes: read when the account is opened, written with what changes in them.
 *
 * A STORE changes the chunk in which its message stands, and three columns here: unseen, deleted, modseq. They would be half of
 * what its commit writes, and all chunks say the same together. So a transaction of flags alone leaves the row as it is, and only memory has
 * the new values (is_ahead); the next transaction that writes the row, and the clean end of the account, bring it up to date. After a stop that
 * was not clean they are counted from the chunks, 50 ms for a million messages. */
#include "base/clock.h"
#include "base/log.h"
#include "store/chunk.h"
#include "store/store_private.h"

enum err mailbox_load(struct view *v)
{
	static const char sql[] = "SELECT mailbox_id, path, role, uidvalidity, uidnext, messages, unseen, deleted, size, "
							  "modseq, created, delivered FROM mailbox";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
	enum err names = delivered_load(v, STR_NONE);

	while (stmt_row(q)) {
		struct box *box = MEM_NEW(struct box);
		struct str path = stmt_str(q, 1);
		char *owned = mem_alloc(path.n + 1);
		memcpy(owned, path.p, path.n);
		box->m = (struct mailbox){ .mailbox_id = stmt_int64(q, 0),
								   .path = str_make(owned, path.n),
								   .role = (enum mailbox_role)stmt_int64(q, 2),
								   .uidvalidity = (uint32_t)stmt_int64(q, 3),
								   .uidnext = (uint32_t)stmt_int64(q, 4),
								   .messages = (uint32_t)stmt_int64(q, 5),
								   .unseen = (uint32_t)stmt_int64(q, 6),
								   .deleted = (uint32_t)stmt_int64(q, 7),
								   .size = stmt_u64(q, 8),
								   .highestmodseq = stmt_u64(q, 9) };
		box->created = stmt_int64(q, 10);
		box->seen = box->m;
		box->added_modseq = box->flags_modseq = box->vanished_modseq = box->m.highestmodseq;
		if (v->n_boxes == v->boxes_cap) {
			v->boxes_cap = v->boxes_cap ? v->boxes_cap * 2 : 16;
			v->boxes = mem_resize(v->boxes, v->boxes_cap * sizeof(struct box *));
		}
		v->boxes[v->n_boxes++] = box;
		if (box->m.role == MAILBOX_INBOX)
			names = delivered_load(v, stmt_str(q, 11));
	}
	TRY(stmt_end(q));
	if (names != ERR_OK)
		log_error("the account's database is damaged: the names of its newest deliveries account=%llu; bring it back from a backup",
		          (unsigned long long)v->config.account);
	return names;
}

enum err mailbox_write(struct tx *tx, const struct mailbox *m)
{
	static const char sql[] =
		"UPDATE mailbox SET uidnext = ?1, messages = ?2, unseen = ?3, deleted = ?4, size = ?5, modseq = ?6,"
		" delivered = coalesce(?8, delivered) WHERE mailbox_id = ?7";
	CLEANUP(stmt_release) struct stmt *q = db_query(tx->v->db, sql);

	stmt_bind_int64(q, 1, m->uidnext);
	stmt_bind_int64(q, 2, m->messages);
	stmt_bind_int64(q, 3, m->unseen);
	stmt_bind_int64(q, 4, m->deleted);
	stmt_bind_u64(q, 5, m->size);
	stmt_bind_u64(q, 6, m->highestmodseq);
	stmt_bind_int64(q, 7, m->mailbox_id);
	stmt_bind_blob(q, 8, m->role == MAILBOX_INBOX ? delivered_column(tx) : STR_NONE);
	tx->wrote_names |= m->role == MAILBOX_INBOX;
	return stmt_done(q);
}

static enum err write_flags(struct view *v, struct box *box)
{
	static const char sql[] = "UPDATE mailbox SET unseen = ?1, deleted = ?2, modseq = ?3 WHERE mailbox_id = ?4";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, box->m.unseen);
	stmt_bind_int64(q, 2, box->m.deleted);
	stmt_bind_u64(q, 3, box->m.highestmodseq);
	stmt_bind_int64(q, 4, box->m.mailbox_id);
	return stmt_done(q);
}

enum err mailbox_write_flags(struct view *v)
{
	for (size_t i = 0; i < v->n_boxes; i++)
		if (v->boxes[i]->is_ahead && !v->boxes[i]->is_deleted)
			TRY(write_flags(v, v->boxes[i]));
	return ERR_OK;
}

/* No modseq is above reserved, but where there is damage. */
static void count_chunk(struct mailbox *m, const struct chunk *c, uint64_t reserved)
{
	for (size_t i = 0; i < chunk_count(c); i++) {
		struct slot s = chunk_slot(c, i);
		m->unseen += !(s.flags & FLAG_SEEN);
		m->deleted += !!(s.flags & FLAG_DELETED);
		if (s.modseq > m->highestmodseq && s.modseq <= reserved)
			m->highestmodseq = s.modseq;
	}
}

static enum err count_flags(struct view *v, struct box *box)
{
	struct mailbox m = box->m;
	struct chunk *c = NULL;
	uint32_t from = 1;

	m.unseen = m.deleted = 0;
	do {
		TRY(chunk_seek(v, m.mailbox_id, from, &c));
		if (c != NULL) {
			count_chunk(&m, c, v->reserved);
			from = chunk_last_uid(c) + 1;
		}
	} while (c != NULL);
	box->is_ahead = true;
	box->m = box->seen = m;
	box->added_modseq = box->flags_modseq = box->vanished_modseq = m.highestmodseq;
	return ERR_OK;
}

enum err mailbox_count_flags(struct view *v)
{
	for (size_t i = 0; i < v->n_boxes; i++) {
		enum err e = v->boxes[i]->m.messages > 0 ? count_flags(v, v->boxes[i]) : ERR_OK;
		if (e == ERR_IO)
			e = count_flags(v, v->boxes[i]);
		if (e != ERR_OK && e != ERR_CORRUPT && e != ERR_IO)  /* a mailbox that cannot be read does not keep the others from it */
			return e;
		v->boxes[i]->is_uncounted = e != ERR_OK;
		v->is_uncounted |= e == ERR_IO;  /* the disk may give it next time */
	}
	return ERR_OK;
}

enum err mailbox_write_names(struct tx *tx)
{
	static const char sql[] = "UPDATE mailbox SET delivered = ?1 WHERE mailbox_id = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(tx->v->db, sql);
	const struct box *inbox = box_by_role(tx->v, MAILBOX_INBOX);

	stmt_bind_blob(q, 1, delivered_column(tx));
	stmt_bind_int64(q, 2, inbox != NULL ? inbox->m.mailbox_id : 0);
	TRY(stmt_done(q));
	return db_changes(tx->v->db) == 1 ? ERR_OK : ERR_CORRUPT;  /* a delivery without a name could come twice */
}

uint32_t mailbox_new_uidvalidity(struct view *v, uint32_t now)
{
	v->uidvalidity = now > v->uidvalidity ? now : v->uidvalidity + 1;
	return v->uidvalidity;
}

static enum err write_uidvalidity(struct view *v, const struct box *box)
{
	static const char sql[] = "UPDATE mailbox SET uidvalidity = ?1 WHERE mailbox_id = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, box->m.uidvalidity);
	stmt_bind_int64(q, 2, box->m.mailbox_id);
	return stmt_done(q);
}

/* The copy gives out uids and modseqs again that clients know for other messages: with the old UIDVALIDITY they would show those, and never
 * fetch the new ones. */
enum err mailbox_put_back(struct view *v)
{
	CLEANUP(tx_abandon) struct tx tx = { 0 };
	int64_t before_s = v->config.put_back_s, now = clock_wall_s();
	size_t n = 0;

	for (size_t i = 0; i < v->n_boxes && before_s <= now; i++)
		n += v->boxes[i]->m.uidvalidity < before_s;
	if (n == 0)
		return ERR_OK;
	TRY(tx_begin(v, TX_SYNC, &tx));
	for (size_t i = 0; i < v->n_boxes; i++) {
		struct box *box = v->boxes[i];
		if (box->m.uidvalidity >= before_s)
			continue;
		box->m.uidvalidity = box->seen.uidvalidity = mailbox_new_uidvalidity(v, (uint32_t)now);
		TRY(write_uidvalidity(v, box));
	}
	TRY(state_write_counters(v, tx.modseq, false));  /* no mailbox has this modseq */
	log_info("the account was put back from a copy: mail programs read its mailboxes anew account=%llu n=%zu", (unsigned long long)v->config.account, n);
	return tx_commit_synced(&tx);
}
