/* Emails: what is known of a message besides where it stands: its place in bodies/, its size and time, its thread, and
 * its summary (ENVELOPE and BODYSTRUCTURE ready to send). An email never changes; compaction moves its bytes.
 *
 * Threads (RFC 8621 §3): emails belong together when one names the Message-ID of another, or of a common ancestor, and
 * their base subjects are equal. The hash of (Message-ID, base subject) of every id a message has or names leads in
 * `reference` to the thread; the first one found decides, and a thread never changes, so THREADID is stable (RFC 8474
 * §5.3).
 *
 * EMAILID and THREADID carry the time of arrival, so that an account put back from an older copy, which gives out the
 * same numbers again, does not give out the same ids. */
#include "store/store_private.h"
#include <stdio.h>

void email_id_text(uint64_t emailid, char out[18])
{
	snprintf(out, 18, "M%016llx", (unsigned long long)emailid);
}

void thread_id_text(uint64_t threadid, char out[18])
{
	snprintf(out, 18, "T%016llx", (unsigned long long)threadid);
}

static uint64_t emailid_of(uint32_t email, int64_t received)
{
	return (uint64_t)(uint32_t)received << 32 | email;
}

/* --------------------------------------------------------------------------------------------------------- threads */

static enum err thread_find(struct view *v, const uint64_t *references, size_t n, uint64_t *thread)
{
	static const char sql[] = "SELECT thread FROM reference WHERE hash = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	for (size_t i = 0; i < n; i++) {
		stmt_bind_u64(q, 1, references[i]);
		if (stmt_row(q)) {
			*thread = stmt_u64(q, 0);
			return ERR_OK;
		}
		TRY(stmt_end(q));
		stmt_reset(q);
	}
	return ERR_OK;
}

static enum err thread_note(struct view *v, const uint64_t *references, size_t n, uint64_t thread)
{
	static const char sql[] = "INSERT OR IGNORE INTO reference VALUES (?1, ?2)";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	for (size_t i = 0; i < n; i++) {
		stmt_bind_u64(q, 1, references[i]);
		stmt_bind_u64(q, 2, thread);
		TRY(stmt_done(q));
		stmt_reset(q);
	}
	return ERR_OK;
}

/* ------------------------------------------------------------------------------------------------------------ rows */

enum err email_insert(struct tx *tx, const struct email_new *in)
{
	static const char sql[] = "INSERT INTO email VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
	uint64_t thread = emailid_of(in->email, in->received);

	TRY(thread_find(tx->v, in->digest.references, in->digest.n_references, &thread));
	TRY(thread_note(tx->v, in->digest.references, in->digest.n_references, thread));
	CLEANUP(stmt_release) struct stmt *q = db_query(tx->v->db, sql);
	stmt_bind_int64(q, 1, in->email);
	stmt_bind_int64(q, 2, in->place.file);
	stmt_bind_u64(q, 3, in->place.at);
	stmt_bind_u64(q, 4, in->place.size);
	stmt_bind_int64(q, 5, in->received);
	stmt_bind_u64(q, 6, thread);
	stmt_bind_blob(q, 7, in->digest.record);
	return stmt_done(q);
}

enum err email_place(struct view *v, uint32_t email, struct place *out)
{
	static const char sql[] = "SELECT file, at, size FROM email WHERE email_id = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, email);
	if (!stmt_row(q))
		return stmt_err(q, ERR_NOTFOUND);
	*out = (struct place){ (uint32_t)stmt_int64(q, 0), stmt_u64(q, 1), stmt_u64(q, 2) };
	return ERR_OK;
}

/* Its old bytes are dead from now on. */
enum err email_set_place(struct view *v, uint32_t email, const struct place *to)
{
	static const char sql[] = "UPDATE email SET file = ?1, at = ?2 WHERE email_id = ?3";
	struct place was;

	TRY(email_place(v, email, &was));
	TRY(body_file_add_dead(v, &was));
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
	stmt_bind_int64(q, 1, to->file);
	stmt_bind_u64(q, 2, to->at);
	stmt_bind_int64(q, 3, email);
	return stmt_done(q);
}

enum err emails_after(struct view *v, uint32_t after, uint32_t upto, uint32_t *out, size_t max, size_t *n)
{
	static const char sql[] = "SELECT email_id FROM email WHERE email_id > ?1 AND email_id <= ?2 ORDER BY email_id LIMIT ?3";
	enum err e;

	*n = 0;
	pthread_mutex_lock(&v->db_lock);
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
		stmt_bind_int64(q, 1, after);
		stmt_bind_int64(q, 2, upto);
		stmt_bind_int64(q, 3, (int64_t)max);
		while (*n < max && stmt_row(q))
			out[(*n)++] = (uint32_t)stmt_int64(q, 0);
		e = *n == max ? ERR_OK : stmt_end(q);
	}
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

enum err email_delete(struct tx *tx, uint32_t email)
{
	static const char sql[] = "DELETE FROM email WHERE email_id = ?1";
	struct place was;

	TRY(email_place(tx->v, email, &was));
	TRY(body_file_add_dead(tx->v, &was));
	TRY(gists_forget(tx->v, email));
	CLEANUP(stmt_release) struct stmt *q = db_query(tx->v->db, sql);
	stmt_bind_int64(q, 1, email);
	return stmt_done(q);
}

/* ------------------------------------------------------------------------------------------------------- summaries */

static void read_summary(struct stmt *q, bool with_record, struct arena *a, struct summary *out)
{
	out->email = (uint32_t)stmt_int64(q, 0);
	out->size = stmt_u64(q, 1);
	out->received = stmt_int64(q, 2);
	out->threadid = stmt_u64(q, 3);
	out->emailid = emailid_of(out->email, out->received);
	if (with_record)
		out->record = str_copy(a, stmt_str(q, 4));
}

/* One statement steps over the range; emails that nobody asked for are passed over. */
static enum err summaries_in_range(struct stmt *q, const uint32_t *emails, size_t n, bool with_record, struct arena *a,
								   struct summary *out)
{
	size_t i = 0;

	stmt_bind_int64(q, 1, emails[0]);
	stmt_bind_int64(q, 2, emails[n - 1]);
	while (i < n && stmt_row(q)) {
		uint32_t email = (uint32_t)stmt_int64(q, 0);
		while (i < n && emails[i] < email)
			i++;
		if (i < n && emails[i] == email)
			read_summary(q, with_record, a, &out[i++]);
	}
	return i == n ? ERR_OK : stmt_end(q);
}

static enum err summaries_one_by_one(struct stmt *q, const uint32_t *emails, size_t n, bool with_record,
									 struct arena *a, struct summary *out)
{
	for (size_t i = 0; i < n; i++) {
		stmt_bind_int64(q, 1, emails[i]);
		stmt_bind_int64(q, 2, emails[i]);
		if (stmt_row(q))
			read_summary(q, with_record, a, &out[i]);
		else
			TRY(stmt_end(q));
		stmt_reset(q);
	}
	return ERR_OK;
}

/* Mail of a mailbox usually arrived in the order of its uids, so a range of emails holds little else. */
static bool is_dense(const uint32_t *emails, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (emails[i] <= emails[i - 1])
			return false;
	return n > 1 && emails[n - 1] - emails[0] < 3 * n;
}

enum err view_summaries(struct view *v, const uint32_t *emails, size_t n, bool with_record, struct arena *a,
						struct summary *out)
{
	static const char full[] = "SELECT email_id, size, received, thread, summary FROM email WHERE email_id BETWEEN ?1 "
							   "AND ?2 ORDER BY email_id";
	static const char numbers[] =
		"SELECT email_id, size, received, thread FROM email WHERE email_id BETWEEN ?1 AND ?2 ORDER BY email_id";
	enum err e;

	memset(out, 0, n * sizeof *out);
	if (n == 0)
		return ERR_OK;
	pthread_mutex_lock(&v->db_lock);
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(v->db, with_record ? full : numbers);
		if (is_dense(emails, n))
			e = summaries_in_range(q, emails, n, with_record, a, out);
		else
			e = summaries_one_by_one(q, emails, n, with_record, a, out);
	}
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

/* Where a run of rows ends whose emails lie close together. */
static size_t end_of_run(const struct row *rows, size_t from, size_t n)
{
	size_t i = from + 1;

	while (i < n && rows[i].email > rows[i - 1].email && rows[i].email - rows[i - 1].email <= 3)
		i++;
	return i;
}

enum err email_sizes(struct view *v, struct row *rows, size_t n)
{
	static const char sql[] = "SELECT email_id, size FROM email WHERE email_id BETWEEN ?1 AND ?2 ORDER BY email_id";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	for (size_t i = 0, end; i < n; i = end) {
		end = end_of_run(rows, i, n);
		stmt_bind_int64(q, 1, rows[i].email);
		stmt_bind_int64(q, 2, rows[end - 1].email);
		for (size_t k = i; k < end; k++)
			rows[k].size = 0;
		for (size_t k = i; k < end && stmt_row(q);) {
			uint32_t email = (uint32_t)stmt_int64(q, 0);
			while (k < end && rows[k].email < email)
				k++;
			if (k < end && rows[k].email == email)
				rows[k++].size = stmt_u64(q, 1);
		}
		TRY(stmt_end(q));
		stmt_reset(q);
	}
	return ERR_OK;
}
