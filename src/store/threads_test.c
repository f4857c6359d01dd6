/* Several sessions of an account at once, as in a cell: every thread has its own window and changes what the others
 * see. Afterwards all must agree, and so must the account when it is opened again. Run it with BUILD=tsan, too. */
#include "base/test.h"
#include "store/gist.h"
#include "store/index.h"
#include "store/rights.h"
#include "store/view.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { THREADS = 6, STEPS = 150 };

struct worker {
	pthread_t     thread;
	struct view  *v;
	int64_t       inbox, archive;
	unsigned      seed;
	uint64_t      guest;       /* whose line in the list of rights it changes */
	atomic_uint  *appended;
	enum err      failed;
};

static enum err append_one(struct worker *w, struct arena *a)
{
	struct append_new in = { .mailbox_id = w->inbox, .internal_date = 1 };
	struct append *ap;
	struct appended *done;
	size_t n;

	TRY(append_begin(w->v, &ap));
	TRY(append_message(ap, &in, 0));
	TRY(append_write(ap, STR("Subject: x\r\n\r\nhello\r\n")));
	TRY(append_end(ap));
	TRY(append_commit(&ap, a, &done, &n));
	atomic_fetch_add(w->appended, 1);
	return ERR_OK;
}

static enum err change_some(struct worker *w, struct selected *s, unsigned what, struct arena *a)
{
	struct flags_change change = { .op = rand_r(&w->seed) % 2 ? FLAGS_ADD : FLAGS_REMOVE, .flags = FLAG_SEEN };
	uint32_t seq = 1 + (unsigned)rand_r(&w->seed) % (selected_count(s) + 1), uid = selected_uid(s, seq);
	struct uid_set set = { 0 };
	struct copied copied;
	uint64_t modseq;

	if (uid == 0)
		return ERR_OK;
	uid_set_add(&set, a, uid, uid + 2);
	if (what == 0)
		return view_move(w->v, w->inbox, &set, w->archive, a, &copied);
	if (what == 1)
		return view_expunge(w->v, w->inbox, &set, false, a, NULL);
	TRY(view_store_flags(w->v, w->inbox, &set, &change, a, NULL, &modseq));
	selected_told(s, modseq, false);
	return ERR_OK;
}

static enum err look(struct worker *w, struct selected *s, struct arena *a)
{
	struct message_row rows[64];
	struct summary summaries[64];
	struct gist gists[64];
	uint32_t emails[64], next = 0;
	struct news news;
	size_t n;

	selected_news(s, rand_r(&w->seed) % 2, a, &news);
	n = selected_rows(s, NULL, 0, &next, rows, COUNT_OF(rows));
	for (size_t i = 0; i < n; i++)
		emails[i] = rows[i].email;
	TRY(view_summaries(w->v, emails, n, true, a, summaries));
	TRY(view_gists(w->v, emails, n, rand_r(&w->seed) % 2 ? GIST_TEXT(GIST_SUBJECT) : GIST_TEXT(GIST_FROM), a, gists));
	for (size_t i = 0; i < n; i++)
		if (gists[i].email != 0 && (gists[i].email != emails[i] || gists[i].size != summaries[i].size))
			return ERR_CORRUPT;
	return ERR_OK;
}

/* Each has a line of its own, and finds it as it left it, whatever the others do with theirs. */
static enum err share(struct worker *w)
{
	const struct guest guest = { .account = w->guest };
	const struct acl_entry line = { { SUBJECT_ACCOUNT, w->guest, STR(""), STR("x@example.test") }, false, 1 + (unsigned)rand_r(&w->seed) % RIGHTS_ALL };
	unsigned rights;

	TRY(acl_write(w->v, w->inbox, ACL_SET, &line));
	TRY(rights_of(w->v, w->inbox, &guest, &rights));
	if (acl_tell(w->v, NULL, 0) != ERR_UNAVAILABLE)
		return ERR_CORRUPT;
	return rights == line.rights ? ERR_OK : ERR_CORRUPT;
}

/* Whatever is known of the index at that moment: it never denies what every message has. */
static enum err search(struct worker *w, struct selected *s, struct arena *a)
{
	struct index_needle needle = { .text = STR("hello"), .fields = INDEX_BODY };
	struct message_row rows[64];
	uint32_t next = 0;
	size_t n;

	index_step(w->v, 2);
	index_find(w->v, &needle, 1, a);
	n = selected_rows(s, NULL, 0, &next, rows, COUNT_OF(rows));
	for (size_t i = 0; i < n; i++)
		if (index_hit(needle.hits, rows[i].email) == HIT_NO)
			return ERR_CORRUPT;
	return ERR_OK;
}

static enum err work(struct worker *w)
{
	struct selected *s;

	TRY(selected_open(w->v, w->inbox, NULL, &s));
	for (int i = 0; i < STEPS; i++) {
		CLEANUP(arena_free) struct arena a = { 0 };
		unsigned what = (unsigned)rand_r(&w->seed) % 12;
		if (what < 4)
			TRY(append_one(w, &a));
		else if (what < 9)
			TRY(change_some(w, s, what - 4, &a));
		else if (what == 9 && i % 4 == 0)
			TRY(share(w));
		else if (what == 10 && i % 4 == 0)
			TRY(search(w, s, &a));
		else
			TRY(look(w, s, &a));
		if (what == 11) {
			selected_close(s);
			TRY(selected_open(w->v, w->inbox, NULL, &s));
			view_tick(w->v);
		}
	}
	selected_close(s);
	return ERR_OK;
}

static void *run(void *context)
{
	struct worker *w = context;

	w->failed = work(w);
	return NULL;
}

TEST(sessions_of_several_threads)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct view_config config = { .account = 7 };
	struct worker workers[THREADS] = { 0 };
	const char *dir = test_dir();
	atomic_uint appended = 0;
	struct mailbox inbox, archive, again;
	struct selected *s;
	struct view *v;

	EXPECT_OK(view_open(dir, &config, &v));
	EXPECT_OK(view_mailbox_by_role(v, MAILBOX_INBOX, &a, &inbox));
	EXPECT_OK(view_mailbox_by_role(v, MAILBOX_ARCHIVE, &a, &archive));
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){
			.v = v, .inbox = inbox.mailbox_id, .archive = archive.mailbox_id, .seed = i, .guest = 100 + i, .appended = &appended
		};
		EXPECT(pthread_create(&workers[i].thread, NULL, run, &workers[i]) == 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		EXPECT_OK(workers[i].failed);
	}
	EXPECT_OK(view_mailbox_get(v, inbox.mailbox_id, &a, &inbox));
	EXPECT_INT(inbox.uidnext, atomic_load(&appended) + 1);
	EXPECT_OK(selected_open(v, inbox.mailbox_id, NULL, &s));
	EXPECT_INT(selected_count(s), inbox.messages);
	selected_close(s);
	EXPECT(acl_is_untold(v));
	view_close(v);
	EXPECT_OK(view_open(dir, &config, &v));
	EXPECT_OK(view_mailbox_get(v, inbox.mailbox_id, &a, &again));
	EXPECT(again.messages == inbox.messages && again.unseen == inbox.unseen && again.size == inbox.size);
	EXPECT_INT(again.highestmodseq, inbox.highestmodseq);
	view_close(v);
	test_dir_remove(dir);
}
