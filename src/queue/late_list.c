/* Reading queue.db: what is due, one row, one message and its body, and the pages an administrator sees. */
#include "base/bytes.h"
#include "base/log.h"
#include "queue/late_private.h"
#include "queue/record.h"
#include <fcntl.h>
#include <sys/stat.h>

#define MESSAGE_COLUMNS "log_id, seq, size, crc, spool, envelope, received"
#define HAS_ROWS "EXISTS (SELECT 1 FROM recipient r WHERE r.seq = m.seq AND r.log_id = m.log_id AND r.state < 3)"

void late_read_row(struct stmt *q, struct arena *a, struct late_row *out)
{
	*out = (struct late_row){
		.key = { stmt_u64(q, 0), stmt_u64(q, 1), (uint16_t)stmt_int64(q, 2) },
		.state = (enum late_state)stmt_int64(q, 3),
		.due = stmt_int64(q, 4),
		.recipient = { .account = stmt_u64(q, 5), .notify = (uint8_t)stmt_int64(q, 8), .address = str_copy(a, stmt_str(q, 9)),
		               .orcpt = str_copy(a, stmt_str(q, 10)), .detail = str_copy(a, stmt_str(q, 11)) },
		.tries = (uint32_t)stmt_int64(q, 6),
		.added = stmt_int64(q, 7),
		.status = str_copy(a, stmt_str(q, 12)),
		.reason = str_copy(a, stmt_str(q, 13)),
		.host = str_copy(a, stmt_str(q, 14)),
		.notice = (uint8_t)stmt_int64(q, 15),
		.tried = stmt_int64(q, 16),
		.asked = stmt_int64(q, 17),
	};
}

static enum err read_message(struct stmt *q, struct arena *a, struct late_message *out)
{
	*out = (struct late_message){ .log_id = stmt_u64(q, 0), .seq = stmt_u64(q, 1), .size = stmt_u64(q, 2),
	                              .crc = (uint32_t)stmt_int64(q, 3), .spool = stmt_u64(q, 4) };
	if (envelope_head_decode(str_copy(a, stmt_str(q, 5)), &out->envelope))
		return ERR_OK;
	log_error("an envelope in queue.db is damaged seq=%llu", (unsigned long long)out->seq);
	out->is_damaged = true;
	out->envelope = (struct envelope){ .sender = STR("?"), .peer = STR(""), .received = stmt_int64(q, 6) };
	return ERR_CORRUPT;
}

/* ---------------------------------------------------------------------------------------------------------- trying */

static enum err read_due(struct stmt *q, struct arena *a, struct late_due **out, size_t *n)
{
	size_t cap = 0;

	*out = NULL;
	*n = 0;
	while (stmt_row(q)) {
		*out = arena_grow(a, *out, *n, &cap, sizeof(**out));
		(*out)[(*n)++] = (struct late_due){ { stmt_u64(q, 0), stmt_u64(q, 1), (uint16_t)stmt_int64(q, 2) }, stmt_u64(q, 3),
		                                    stmt_int64(q, 4) };
	}
	return stmt_end(q);
}

enum err late_list_due(struct late *l, bool elsewhere, const struct late_due *after, int64_t until, size_t max, struct arena *a,
                       struct late_due **out, size_t *n)
{
	static const char sql[] =
		"SELECT log_id, seq, recipient, account, due FROM recipient WHERE state = 1 AND (account = 0) = ?3 AND due <= ?1"
		" AND (due, seq, log_id, recipient) > (?4, ?5, ?6, ?7) ORDER BY due, seq, log_id, recipient LIMIT ?2";
	const struct late_due none = { .due = -1 };
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_int64(q, 1, until < LATE_NEVER ? until : LATE_NEVER - 1);
	stmt_bind_int64(q, 2, (int64_t)max);
	stmt_bind_int64(q, 3, elsewhere);
	after = after != NULL ? after : &none;
	stmt_bind_int64(q, 4, after->due);
	stmt_bind_u64(q, 5, after->key.seq);
	stmt_bind_u64(q, 6, after->key.log_id);
	stmt_bind_int64(q, 7, after->key.recipient);
	return read_due(q, a, out, n);
}

enum err late_list_parked(struct late *l, struct str destination, size_t max, struct arena *a, struct late_due **out,
                          size_t *n)
{
	static const char sql[] =
		"SELECT log_id, seq, recipient, account, due FROM recipient"
		" WHERE account = 0 AND state = 1 AND due = 9223372036854775807 AND destination = ?1 LIMIT ?2";
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_blob(q, 1, destination);
	stmt_bind_int64(q, 2, (int64_t)max);
	return read_due(q, a, out, n);
}

enum err late_list_account(struct late *l, uint64_t account, int64_t now, size_t max, struct arena *a, struct late_due **out, size_t *n)
{
	static const char sql[] =
		"SELECT log_id, seq, recipient, account, due FROM recipient WHERE account = ?1 AND state = 1 AND release <= ?3"
		" ORDER BY log_id, seq LIMIT ?2";
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, account);
	stmt_bind_int64(q, 2, (int64_t)max);
	stmt_bind_int64(q, 3, now);
	return read_due(q, a, out, n);
}

enum err late_list_parked_long(struct late *l, int64_t added, size_t max, struct arena *a, struct late_due **out, size_t *n)
{
	static const char sql[] =  /* else the planner reads all that waits, each second */
		"SELECT log_id, seq, recipient, account, due FROM recipient INDEXED BY recipient_parked_long"
		" WHERE account = 0 AND state = 1 AND due = 9223372036854775807 AND added <= ?1"
		" AND destination NOT IN (SELECT destination FROM paused) ORDER BY added LIMIT ?2";
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_int64(q, 1, added);
	stmt_bind_int64(q, 2, (int64_t)max);
	return read_due(q, a, out, n);
}

enum err late_list_overdue(struct late *l, int64_t now, size_t max, struct arena *a, struct late_due **out, size_t *n)
{
	static const char sql[] =
		"SELECT log_id, seq, recipient, account, due FROM recipient INDEXED BY recipient_deadline"
		" WHERE state = 1 AND deadline > 0 AND deadline <= ?1 ORDER BY deadline LIMIT ?2";
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_int64(q, 1, now);
	stmt_bind_int64(q, 2, (int64_t)max);
	return read_due(q, a, out, n);
}

static enum err next_due(struct late *l, int64_t *due)
{
	static const char sql[] =
		"SELECT min(due) FROM (SELECT * FROM (SELECT due FROM recipient WHERE state = 1 AND (account = 0) = 0 ORDER BY due LIMIT 1)"
		" UNION ALL SELECT * FROM (SELECT due FROM recipient WHERE state = 1 AND (account = 0) = 1 ORDER BY due LIMIT 1))";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	*due = stmt_row(q) && !stmt_is_null(q, 0) ? stmt_int64(q, 0) : LATE_NEVER;
	return stmt_end(q);
}

enum err late_next_due(struct late *l, int64_t *due)
{
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);

	return next_due(held, due);
}

enum err late_find(struct late *l, const struct late_key *key, struct arena *a, struct late_row *out)
{
	static const char sql[] = "SELECT " LATE_ROW_COLUMNS " FROM recipient WHERE seq = ?1 AND log_id = ?2 AND recipient = ?3";
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, key->seq);
	stmt_bind_u64(q, 2, key->log_id);
	stmt_bind_int64(q, 3, key->recipient);
	if (!stmt_row(q))
		return stmt_err(q, ERR_NOTFOUND);
	late_read_row(q, a, out);
	return ERR_OK;
}

enum err late_message_find(struct late *l, uint64_t log_id, uint64_t seq, struct arena *a, struct late_message *out)
{
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);

	return late_read_message(l, log_id, seq, a, out);
}

enum err late_read_message(struct late *l, uint64_t log_id, uint64_t seq, struct arena *a, struct late_message *out)
{
	static const char sql[] = "SELECT " MESSAGE_COLUMNS " FROM message WHERE seq = ?1 AND log_id = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, seq);
	stmt_bind_u64(q, 2, log_id);
	if (!stmt_row(q))
		return stmt_err(q, ERR_NOTFOUND);
	return read_message(q, a, out);
}

enum err late_oldest_seq(struct late *l, uint64_t account, uint64_t log_id, uint64_t *seq)
{
	static const char sql[] =
		"SELECT seq FROM recipient WHERE account = ?1 AND log_id = ?2 AND state < 3 ORDER BY seq LIMIT 1";
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, account);
	stmt_bind_u64(q, 2, log_id);
	*seq = stmt_row(q) ? stmt_u64(q, 0) : UINT64_MAX;
	return stmt_end(q);
}

bool late_has_other_log(struct late *l, uint64_t account, uint64_t log_id)
{
	static const char sql[] = "SELECT 1 FROM recipient WHERE account = ?1 AND log_id < ?2 AND state < 3 UNION ALL "
							  "SELECT 1 FROM recipient WHERE account = ?1 AND log_id > ?2 AND state < 3 LIMIT 1";
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, account);
	stmt_bind_u64(q, 2, log_id);
	return stmt_row(q) || stmt_end(q) != ERR_OK;
}

/* ------------------------------------------------------------------------------------------------------------ bodies */

struct body_place {
	struct late_place place;
	uint64_t size, spool;
	uint32_t crc;
};

static enum err find_body(struct late *l, uint64_t log_id, uint64_t seq, struct body_place *out)
{
	static const char sql[] = "SELECT file, at, size, crc, spool FROM message WHERE seq = ?1 AND log_id = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, seq);
	stmt_bind_u64(q, 2, log_id);
	if (!stmt_row(q))
		return stmt_err(q, ERR_NOTFOUND);
	*out = (struct body_place){ { (uint32_t)stmt_int64(q, 0), stmt_u64(q, 1) }, stmt_u64(q, 2), stmt_u64(q, 4),
	                            (uint32_t)stmt_int64(q, 3) };
	return ERR_OK;
}

static enum err open_own_file(struct late *l, const struct body_place *b, struct disk_file **out)
{
	char name[SPOOL_NAME_MAX];
	uint64_t size;

	if (b->spool != 0) {
		spool_name(b->spool, name);
		TRY(disk_open(l->dir, name, DISK_READ, out));
	} else {
		late_bodies_name(b->place.file, name);
		TRY(disk_open(l->bodies.dir, name, DISK_READ, out));
	}
	TRY(disk_size(*out, &size));
	return size == b->size ? ERR_OK : ERR_CORRUPT;
}

static enum err read_small(struct late *l, const struct body_place *b, struct buf *bytes)
{
	CLEANUP(disk_close) struct disk_file *f = NULL;
	char *p;

	if (b->spool == 0) {
		TRY(late_bodies_read(&l->bodies, b->place, b->size, bytes));
	} else {
		TRY(open_own_file(l, b, &f));
		p = buf_reserve(bytes, (size_t)b->size);
		if (p == NULL)
			return ERR_LIMIT;
		TRY(disk_read_all(f, p, (size_t)b->size, 0));
		buf_grew(bytes, (size_t)b->size);
	}
	return crc32c(0, bytes->p, bytes->n) == b->crc ? ERR_OK : ERR_CORRUPT;
}

static enum err open_large(struct late *l, const struct body_place *b, int *fd)
{
	CLEANUP(disk_close) struct disk_file *f = NULL;

	TRY(open_own_file(l, b, &f));
	*fd = fcntl(disk_fd(f), F_DUPFD_CLOEXEC, 0);
	return *fd >= 0 ? ERR_OK : log_errno("dup", disk_name(f));
}

/* A message whose file is gone is damaged, not unknown. */
enum err late_body(struct late *l, uint64_t log_id, uint64_t seq, struct buf *bytes, int *fd)
{
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	struct body_place b = { 0 };
	enum err e;

	buf_reset(bytes);
	*fd = -1;
	TRY(find_body(l, log_id, seq, &b));
	e = b.size <= LATE_SHARED_MAX ? read_small(l, &b, bytes) : open_large(l, &b, fd);
	if (e != ERR_CORRUPT && e != ERR_NOTFOUND)
		return e;
	log_error("the body of a queued message is damaged seq=%llu file=%u spool=%llu", (unsigned long long)seq,
	          b.place.file, (unsigned long long)b.spool);
	return ERR_CORRUPT;
}

/* ------------------------------------------------------------------------------------------------ the administrator */

static enum err oldest(struct late *l, int64_t *received)
{
	static const char sql[] = "SELECT received FROM message m WHERE " HAS_ROWS " ORDER BY received LIMIT 1";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	*received = stmt_row(q) ? stmt_int64(q, 0) : 0;
	return stmt_end(q);
}

enum err late_count(struct late *l, struct late_counts *out)
{
	static const char sql[] = "SELECT state, elsewhere, n FROM tally";
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	*out = (struct late_counts){ 0 };
	while (stmt_row(q)) {
		uint64_t n = stmt_u64(q, 2);
		if (stmt_int64(q, 0) == LATE_HELD)
			out->held += n;
		else
			out->waiting += n;
		if (stmt_int64(q, 0) == LATE_WAITING && stmt_int64(q, 1))
			out->elsewhere = n;
	}
	TRY(stmt_end(q));
	TRY(oldest(l, &out->oldest));
	return next_due(l, &out->next_due);
}

enum err late_list(struct late *l, uint64_t log_id, uint64_t seq, size_t max, struct arena *a, struct late_message **out,
                   size_t *n)
{
	static const char sql[] =
		"SELECT " MESSAGE_COLUMNS " FROM message m WHERE (seq, log_id) > (?1, ?2) AND " HAS_ROWS
		" ORDER BY seq, log_id LIMIT ?3";
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);
	size_t cap = 0;

	*out = NULL;
	*n = 0;
	stmt_bind_u64(q, 1, seq);
	stmt_bind_u64(q, 2, log_id);
	stmt_bind_int64(q, 3, (int64_t)max);
	while (stmt_row(q)) {
		*out = arena_grow(a, *out, *n, &cap, sizeof(**out));
		(void)!read_message(q, a, &(*out)[(*n)++]);  /* a damaged one is listed, too */
	}
	return stmt_end(q);
}

enum err late_rows(struct late *l, uint64_t log_id, uint64_t seq, uint16_t from, size_t max, struct arena *a,
                   struct late_row **out, size_t *n)
{
	static const char sql[] =
		"SELECT " LATE_ROW_COLUMNS " FROM recipient WHERE seq = ?1 AND log_id = ?2 AND recipient >= ?3 AND state < 3"
		" ORDER BY recipient LIMIT ?4";
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);
	size_t cap = 0;

	*out = NULL;
	*n = 0;
	stmt_bind_u64(q, 1, seq);
	stmt_bind_u64(q, 2, log_id);
	stmt_bind_int64(q, 3, from);
	stmt_bind_int64(q, 4, (int64_t)max);
	while (stmt_row(q)) {
		*out = arena_grow(a, *out, *n, &cap, sizeof(**out));
		late_read_row(q, a, &(*out)[(*n)++]);
	}
	return stmt_end(q);
}

enum err late_row_with(struct late *l, uint64_t log_id, uint64_t seq, struct str text, struct arena *a, struct late_row *out)
{
	static const char sql[] =
		"SELECT " LATE_ROW_COLUMNS " FROM recipient WHERE seq = ?1 AND log_id = ?2 AND state < 3"
		" AND (?3 = '' OR instr(lower(CAST(address AS TEXT)), lower(?3)) > 0) ORDER BY recipient LIMIT 1";
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, seq);
	stmt_bind_u64(q, 2, log_id);
	stmt_bind_text(q, 3, text.n > 0 ? text : STR(""));
	if (!stmt_row(q))
		return stmt_err(q, ERR_NOTFOUND);
	late_read_row(q, a, out);
	return ERR_OK;
}

enum err late_summarise(struct late *l, uint64_t log_id, uint64_t seq, struct late_summary *out)
{
	static const char sql[] =
		"SELECT state, count(*), min(due) FROM recipient WHERE seq = ?1 AND log_id = ?2 AND state < 3 GROUP BY state";
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	*out = (struct late_summary){ .next_due = LATE_NEVER };
	stmt_bind_u64(q, 1, seq);
	stmt_bind_u64(q, 2, log_id);
	while (stmt_row(q)) {
		if (stmt_int64(q, 0) == LATE_HELD) {
			out->held = (uint32_t)stmt_int64(q, 1);
		} else {
			out->waiting = (uint32_t)stmt_int64(q, 1);
			out->next_due = stmt_int64(q, 2);
		}
	}
	return stmt_end(q);
}

/* The name has the upper half of the log id: a range of the key behind seq. */
enum err late_find_name(struct late *l, uint32_t log_id_high, uint64_t seq, uint64_t *log_id)
{
	static const char sql[] = "SELECT log_id FROM message m WHERE seq = ?1 AND log_id BETWEEN ?2 AND ?3 AND " HAS_ROWS;
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);
	uint64_t first = (uint64_t)log_id_high << 32;

	stmt_bind_u64(q, 1, seq);
	stmt_bind_u64(q, 2, first);
	stmt_bind_u64(q, 3, first | UINT32_MAX);
	if (!stmt_row(q))
		return stmt_err(q, ERR_NOTFOUND);
	*log_id = stmt_u64(q, 0);
	return ERR_OK;
}

/* ---------------------------------------------------------------------------------------------------- destinations */

static enum err read_names(struct stmt *q, struct arena *a, struct str **out, size_t *n)
{
	size_t cap = 0;

	*out = NULL;
	*n = 0;
	while (stmt_row(q)) {
		*out = arena_grow(a, *out, *n, &cap, sizeof(**out));
		(*out)[(*n)++] = str_copy(a, stmt_str(q, 0));
	}
	return stmt_end(q);
}

enum err late_list_destinations(struct late *l, uint64_t log_id, uint64_t seq, size_t max, struct arena *a, struct str **out, size_t *n)
{
	static const char sql[] =
		"SELECT DISTINCT destination FROM recipient WHERE seq = ?1 AND log_id = ?2 AND account = 0 AND state = 1 LIMIT ?3";
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, seq);
	stmt_bind_u64(q, 2, log_id);
	stmt_bind_int64(q, 3, (int64_t)max);
	return read_names(q, a, out, n);
}

enum err late_destinations(struct late *l, size_t max, struct arena *a, struct late_destination **out, size_t *n)
{
	static const char sql[] =
		"SELECT destination, count(*), min(due) FROM recipient WHERE state = 1 AND (account = 0) = 1"
		" GROUP BY destination ORDER BY 2 DESC, 1 LIMIT ?1";
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);
	size_t cap = 0;

	*out = NULL;
	*n = 0;
	stmt_bind_int64(q, 1, (int64_t)max);
	while (stmt_row(q)) {
		*out = arena_grow(a, *out, *n, &cap, sizeof(**out));
		(*out)[(*n)++] = (struct late_destination){ str_copy(a, stmt_str(q, 0)), stmt_u64(q, 1), stmt_int64(q, 2) };
	}
	return stmt_end(q);
}

enum err late_pause(struct late *l, struct str destination, bool is_paused)
{
	static const char add[] = "INSERT INTO paused(destination) VALUES(?1) ON CONFLICT DO NOTHING",
		remove[] = "DELETE FROM paused WHERE destination = ?1";
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, is_paused ? add : remove);

	stmt_bind_blob(q, 1, destination);
	return stmt_done(q);
}

enum err late_list_paused(struct late *l, struct arena *a, struct str **out, size_t *n)
{
	static const char sql[] = "SELECT destination FROM paused ORDER BY 1";
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	return read_names(q, a, out, n);
}
