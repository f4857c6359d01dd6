/* Local delivery: from the queue's log into an account.
 *
 * One transaction a batch, because a commit costs the same for one message and for sixty. If the batch as a whole does
 * not go in (the quota is reached in the middle, a folder disappears meanwhile) it is done again message by message, so
 * that one message never holds up the others. A failure is an answer, never a loss: the queue still has the message.
 *
 * A delivery that may have been done before (replay after a crash, late delivery) is looked up first. If it is there,
 * its body may still be torn, since neither was synced; it is then written again from the queue's copy. For that the
 * lines put before the message must come out the same each time: they hold nothing but what the log record says. */
#include "base/bytes.h"
#include "base/log.h"
#include "deliver/local.h"
#include "store/delivered.h"
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum { TRACE_MAX = 2 * DELIVERY_ADDRESS_MAX + 100, READ_STEP = 64 << 10 };

/* Return-Path by RFC 5321 §4.4; Delivered-To names the address the sender wrote, so that rules and people see it. */
static void put_trace(struct buf *b, const struct delivery *d)
{
	buf_add_cstr(b, "Return-Path: <");
	if (!str_has_ctl(d->sender))
		buf_add(b, d->sender);
	buf_add_cstr(b, ">\r\n");
	if (d->original_recipient.n > 0 && !str_has_ctl(d->original_recipient)) {
		buf_add_cstr(b, "Delivered-To: ");
		buf_add(b, d->original_recipient);
		buf_add_cstr(b, "\r\n");
	}
}

static uint64_t stored_size(const struct delivery *d)
{
	CLEANUP(buf_free) struct buf trace = BUF(TRACE_MAX);

	put_trace(&trace, d);
	return trace.n + d->size;
}

static struct delivery_result answer(const struct delivery *d, enum delivery_outcome outcome, const char *status,
									 const char *reason)
{
	return (struct delivery_result){ .log_id = d->log_id, .seq = d->seq, .recipient = d->recipient, .outcome = outcome,
		.status = str_of(status), .reason = str_of(reason) };
}

/* Full, or with less room than this one needs; when it needs more than there would be in an empty account, no retry helps. */
static struct delivery_result answer_full(struct view *v, const struct delivery *d, const struct deliver_settings *settings)
{
	struct quota q;

	if (stored_size(d) > view_delivery_size_max(v))
		return answer(d, DELIVERY_REFUSED, "5.2.3", "The message is larger than the whole mailbox may be.");
	view_quota(v, &q);
	bool has_room = q.percent < 100;
	if (settings->full_is_refused)
		return answer(d, DELIVERY_REFUSED, "5.2.2", has_room ? "The mailbox has less room left than this message needs." : "The mailbox is full.");
	return answer(d, DELIVERY_DEFERRED, "4.2.2", has_room ? "The mailbox has less room left than this message needs; delivery is tried again."
	                                                     : "The mailbox is full; delivery is tried again.");
}

static struct delivery_result answer_failed(const struct delivery *d)
{
	return answer(d, DELIVERY_DEFERRED, "4.3.0", "The account's storage failed; see the server's log.");
}

/* where: the mailbox, when it is delivered. */
static struct delivery_result answer_err(struct view *v, const struct delivery *d, const struct deliver_settings *settings,
										 enum err e, struct str where)
{
	struct delivery_result done;

	switch (e) {
	case ERR_OK:
		done = answer(d, DELIVERY_DONE, "2.0.0", "");
		done.reason = utf8_clip(where, DELIVERY_REASON_MAX);
		return done;
	case ERR_QUOTA:
		return answer_full(v, d, settings);
	case ERR_FULL:
		return answer(d, DELIVERY_DEFERRED, "4.3.1", "The server's disk is full; delivery is tried again.");
	case ERR_LIMIT:
		if (stored_size(d) <= view_message_size_max(v))  /* of the process, not of the message */
			return answer_failed(d);
		return answer(d, DELIVERY_REFUSED, "5.3.4", "The message is larger than this account accepts.");
	case ERR_INVALID:
		return answer(d, DELIVERY_REFUSED, "5.6.0", "The message is empty or has a NUL byte.");
	case ERR_CORRUPT:
		return answer(d, DELIVERY_DEFERRED, "4.3.0",
					  "The queued message does not match its checksum; see the server's log.");
	default:
		return answer_failed(d);
	}
}

/* ----------------------------------------------------------------------------------------------------- one message */

/* Where the owner's own mail lies (a draft may be sent, what is among the sent was written by him), and what is emptied. */
static bool is_own(const struct mailbox *m) { return m->role == MAILBOX_DRAFTS || m->role == MAILBOX_SENT || m->role == MAILBOX_TRASH; }

static bool is_in_own(struct view *v, const struct mailbox *m, struct arena *a)
{
	struct mailbox above;

	for (size_t i = 0; i < m->path.n; i++)
		if (m->path.p[i] == MAILBOX_SEPARATOR && view_mailbox_find(v, str_sub(m->path, 0, i), a, &above) == ERR_OK && is_own(&above))
			return true;
	return false;
}

/* The folder that the sub-address names. Whoever writes chooses it: so it is none of those, nor one inside them. */
static bool names_folder(struct view *v, struct str detail, struct arena *a, struct mailbox *m)
{
	return detail.n > 0 && view_mailbox_find(v, detail, a, m) == ERR_OK && !is_own(m) && !is_in_own(v, m, a);
}

/* Its number, and its path for the trail. */
static int64_t mailbox_for(struct view *v, const struct deliver_settings *settings, const struct delivery *d,
						   struct arena *a, struct str *where)
{
	struct mailbox m;

	if ((settings->detail_is_folder && names_folder(v, d->detail, a, &m)) || view_mailbox_by_role(v, MAILBOX_INBOX, a, &m) == ERR_OK) {
		*where = m.path;
		return m.mailbox_id;
	}
	return 0;
}

static enum err write_file(struct append *ap, const struct delivery *d, struct arena *a)
{
	char *step = arena_alloc(a, READ_STEP);
	uint32_t crc = 0;

	for (uint64_t at = 0; at < d->size;) {
		ssize_t n = pread(d->fd, step, READ_STEP, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return log_errno("pread", "delivery");
		if (n == 0)
			return ERR_CORRUPT;
		crc = crc32c(crc, step, (size_t)n);
		TRY(append_write(ap, str_make(step, (size_t)n)));
		at += (uint64_t)n;
	}
	return crc == d->crc ? ERR_OK : ERR_CORRUPT;
}

static enum err write_message(struct append *ap, const struct delivery *d, struct arena *a)
{
	CLEANUP(buf_free) struct buf trace = BUF(TRACE_MAX);

	put_trace(&trace, d);
	TRY(append_write(ap, buf_str(&trace)));
	if (d->fd >= 0)
		return write_file(ap, d, a);
	if (crc32c(0, d->body.p, d->body.n) != d->crc)
		return ERR_CORRUPT;
	return append_write(ap, d->body);
}

static enum err add_message(struct view *v, struct append *ap, const struct deliver_settings *settings,
							const struct delivery *d, struct arena *a, struct str *where)
{
	struct append_new in = { .mailbox_id = mailbox_for(v, settings, d, a, where), .internal_date = d->received };
	struct delivery_key key = { d->log_id, d->seq, d->recipient };

	if (d->size == 0)
		return ERR_INVALID;
	TRY(append_message(ap, &in, d->size));
	TRY(write_message(ap, d, a));
	TRY(append_end(ap));
	append_delivered(ap, &key);
	return ERR_OK;
}

/* ------------------------------------------------------------------------------------------------------ duplicates */

static enum err write_again(struct view *v, uint32_t email, const struct delivery *d)
{
	CLEANUP(buf_free) struct buf trace = BUF(TRACE_MAX);
	struct str pieces[2];
	enum err e;

	put_trace(&trace, d);
	pieces[0] = buf_str(&trace);
	pieces[1] = d->body;
	if (d->fd >= 0) {
		void *p = mmap(NULL, d->size, PROT_READ, MAP_PRIVATE, d->fd, 0);
		if (p == MAP_FAILED)
			return log_errno("mmap", "delivery");
		pieces[1] = str_make(p, d->size);
	}
	e = crc32c(0, pieces[1].p, pieces[1].n) == d->crc ? delivered_repair(v, email, pieces, 2) : ERR_CORRUPT;
	if (d->fd >= 0)
		munmap((void *)(uintptr_t)pieces[1].p, pieces[1].n);
	return e;
}

/* ERR_NOTFOUND: it was never delivered. */
static enum err settle_duplicate(struct view *v, const struct delivery *d)
{
	struct delivery_key key = { d->log_id, d->seq, d->recipient };
	uint32_t email;
	enum err e;

	TRY(delivered_find(v, &key, &email));
	e = delivered_check(v, email);
	if (e == ERR_NOTFOUND)
		return ERR_OK;  /* delivered, read, expunged and forgotten */
	return e == ERR_CORRUPT ? write_again(v, email, d) : e;
}

/* --------------------------------------------------------------------------------------------------------- batches */

static enum err commit(struct append **ap, const struct deliver_settings *settings, struct arena *a)
{
	struct appended *done;
	size_t n;

	return settings->sync_now ? append_commit(ap, a, &done, &n) : append_commit_later(ap, a, &done, &n);
}

static enum err deliver_into(struct view *v, const struct deliver_settings *settings, const struct delivery *d,
							 struct arena *a, struct str *where)
{
	CLEANUP(append_abandon) struct append *ap = NULL;

	TRY(append_begin(v, &ap));
	append_for_delivery(ap);
	TRY(add_message(v, ap, settings, d, a, where));
	return commit(&ap, settings, a);
}

/* The folder of its sub-address may be being deleted: then the inbox. */
static enum err deliver_alone(struct view *v, const struct deliver_settings *settings, const struct delivery *d,
							  struct arena *a, struct str *where)
{
	struct deliver_settings to_inbox = *settings;
	enum err e = deliver_into(v, settings, d, a, where);

	to_inbox.detail_is_folder = false;
	return e == ERR_NOTFOUND ? deliver_into(v, &to_inbox, d, a, where) : e;
}

void deliver_batch(struct view *v, const struct deliver_settings *settings, const struct delivery_batch *batch,
				   struct arena *a, struct delivery_result **out)
{
	CLEANUP(append_abandon) struct append *ap = NULL;
	bool *is_added = arena_array(a, batch->n + 1, sizeof *is_added);
	struct str *where = arena_array(a, batch->n + 1, sizeof *where);
	struct delivery_result *results = arena_array(a, batch->n + 1, sizeof *results);
	enum err begun = append_begin(v, &ap), e;

	if (begun == ERR_OK)
		append_for_delivery(ap);
	*out = results;
	for (size_t i = 0; i < batch->n; i++) {
		const struct delivery *d = &batch->deliveries[i];
		e = d->may_be_duplicate ? settle_duplicate(v, d) : ERR_NOTFOUND;
		if (e == ERR_NOTFOUND) {
			e = begun == ERR_OK ? add_message(v, ap, settings, d, a, &where[i]) : begun;
			is_added[i] = e == ERR_OK;
		}
		results[i] = answer_err(v, d, settings, e, where[i]);
	}
	if (begun != ERR_OK)
		return;
	append_forget_delivered(ap, batch->prune_log_id, batch->prune_seq, batch->is_only_log);
	e = commit(&ap, settings, a);
	for (size_t i = 0; i < batch->n; i++) {
		const struct delivery *d = &batch->deliveries[i];
		enum err alone = e;
		if (is_added[i] && (e == ERR_QUOTA || e == ERR_NOTFOUND))
			alone = deliver_alone(v, settings, d, a, &where[i]);
		if (is_added[i] && e != ERR_OK)
			results[i] = answer_err(v, d, settings, alone, where[i]);
		results[i].is_synced = settings->sync_now && is_added[i] && results[i].outcome == DELIVERY_DONE;
	}
}

enum err deliver_serve(struct view *v, const struct deliver_settings *settings, struct message *request,
					   struct buf *reply)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(delivery_batch_release) struct delivery_batch_in in = { 0 };
	struct delivery_result *results;

	TRY(delivery_batch_decode(request, &a, &in));
	deliver_batch(v, settings, &in.batch, &a, &results);
	delivery_results_encode(results, in.batch.n, reply);
	return ERR_OK;
}
