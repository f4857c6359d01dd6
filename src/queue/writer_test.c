#include "queue/writer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/test.h"
#include "base/wire.h"
#include <limits.h>
#include <poll.h>
#include <unistd.h>

struct desk {
	const char      *path;
	struct disk_dir *dir;
	struct log      *log;
	struct writer   *writer;
	uint64_t         last_seq;
	size_t           done, refused;
};

struct note {
	struct writing writing;
	struct desk   *desk;
	char           text[100];
};

static void desk_open(struct desk *d)
{
	const struct log_config config = { 4, 1 << 20 };

	*d = (struct desk){ .path = test_dir() };
	log_setup("test", LOG_LEVEL_ERROR, false);
	EXPECT_OK(disk_dir_open(d->path, &d->dir));
	EXPECT_OK(log_open(d->dir, &config, &d->log));
	d->writer = writer_new(d->log);
}

static void desk_close(struct desk *d)
{
	writer_free(d->writer);
	log_close(&d->log);
	disk_dir_close(&d->dir);
	test_dir_remove(d->path);
}

static void written(struct writing *w)
{
	struct note *n = (struct note *)w;

	n->desk->done++;
	if (w->entry.result == ERR_OK) {
		EXPECT(w->entry.place.seq > n->desk->last_seq);  /* in the order they were added */
		n->desk->last_seq = w->entry.place.seq;
	} else {
		n->desk->refused++;
	}
	mem_free(n);
}

static struct writing *note(struct desk *d, enum log_kind kind)
{
	struct note *n = MEM_NEW(struct note);

	n->desk = d;
	n->writing = (struct writing){ .entry = { .kind = kind, .head = str_make(n->text, sizeof n->text) },
								   .done = written };
	return &n->writing;
}

static void add_kind(struct desk *d, enum log_kind kind) { writer_add(d->writer, note(d, kind)); }
static void add_later(struct desk *d) { writer_add_later(d->writer, note(d, LOG_DONE)); }

static void add(struct desk *d) { add_kind(d, LOG_MESSAGE); }

static void wait_for(struct desk *d, size_t done)
{
	writer_go(d->writer);
	for (int i = 0; i < 5000 && (d->done < done || !writer_is_idle(d->writer)); i++) {
		struct pollfd p = { writer_fd(d->writer), POLLIN, 0 };
		poll(&p, 1, 1);
		writer_receive(d->writer);
	}
	EXPECT_INT(d->done, done);
}

static void wait_for_any(struct desk *d)
{
	writer_go(d->writer);
	writer_receive(d->writer);
}

TEST(all_that_wait_are_written_in_their_order)
{
	struct desk d;

	desk_open(&d);
	for (size_t i = 0; i < 1000; i++) {
		add(&d);
		if (i % 100 == 99)
			wait_for(&d, i + 1);
	}
	wait_for(&d, 1000);
	EXPECT_INT(d.refused, 0);
	desk_close(&d);
}

TEST(w_goes_along_or_alone)
{
	struct desk d;

	desk_open(&d);
	for (int i = 0; i < 3; i++)
		add(&d);
	wait_for(&d, 3);
	writer_set_w(d.writer, d.last_seq, false);
	wait_for(&d, 3);
	EXPECT_INT(log_w(d.log), 0);  /* nobody came to take it along */
	add(&d);
	wait_for(&d, 4);
	EXPECT(log_w(d.log) > 0);
	writer_set_w(d.writer, d.last_seq, true);
	wait_for(&d, 4);
	EXPECT_INT(log_w(d.log), d.last_seq);
	writer_set_w(d.writer, 1, true);  /* it never goes back */
	wait_for(&d, 4);
	EXPECT_INT(log_w(d.log), d.last_seq);
	desk_close(&d);
}

TEST(a_lone_record_is_written_at_once)
{
	struct desk d;

	desk_open(&d);
	add(&d);
	EXPECT_INT(d.done, 0);
	writer_go(d.writer);
	EXPECT_INT(d.done, 1);
	add(&d);
	add(&d);
	writer_go(d.writer);
	EXPECT_INT(d.done, 1);  /* company is the thread's */
	add(&d);
	writer_go(d.writer);
	EXPECT_INT(d.done, 1);  /* and does not overtake */
	wait_for(&d, 4);
	desk_close(&d);
}

/* What has left is noted while the next message comes in: still one sender, and one write. */
TEST(a_note_is_no_company)
{
	struct desk d;

	desk_open(&d);
	EXPECT_INT(writer_patience_ms(d.writer), INT_MAX);
	add_later(&d);
	writer_go(d.writer);
	EXPECT_INT(d.done, 0);  /* it has time */
	EXPECT(writer_patience_ms(d.writer) <= WRITER_LATER_MS);
	add(&d);
	add_kind(&d, LOG_DONE);
	writer_go(d.writer);
	EXPECT_INT(d.done, 3);
	EXPECT_INT(writer_patience_ms(d.writer), INT_MAX);
	add_later(&d);
	for (int i = 0; i < 5000 && d.done < 4; i++) {  /* nobody came */
		usleep(1000);
		wait_for_any(&d);
	}
	EXPECT_INT(d.done, 4);
	EXPECT_INT(d.refused, 0);
	desk_close(&d);
}

/* More of them than a batch takes, behind messages that have no time: the rest is not forgotten. */
TEST(notes_that_have_time_are_all_written)
{
	struct desk d;

	desk_open(&d);
	add(&d);
	add(&d);
	for (int i = 0; i < 2 * WRITER_BATCH_MAX; i++)
		add_later(&d);
	wait_for(&d, 2 + 2 * WRITER_BATCH_MAX);
	EXPECT_INT(d.refused, 0);
	EXPECT(writer_is_idle(d.writer));
	desk_close(&d);
}

/* Who sent it has been told to try again by now. */
TEST(what_nobody_waits_for_any_more_is_not_written)
{
	struct desk d;

	desk_open(&d);
	int64_t now = clock_mono_ms();
	struct writing *records[] = { note(&d, LOG_MESSAGE), note(&d, LOG_MESSAGE), note(&d, LOG_MESSAGE) };
	records[0]->until_ms = now;
	records[2]->until_ms = now + 60000;
	for (size_t i = 0; i < COUNT_OF(records); i++)
		writer_add(d.writer, records[i]);
	wait_for(&d, 3);
	EXPECT_INT(d.refused, 1);
	uint64_t last = d.last_seq;
	struct writing *together[] = { note(&d, LOG_MESSAGE), note(&d, LOG_MESSAGE) };
	together[0]->until_ms = now;
	writer_add_together(d.writer, together, 2);
	wait_for(&d, 5);
	EXPECT_INT(d.refused, 3);
	add(&d);
	wait_for(&d, 6);
	EXPECT_INT(d.last_seq, last + 1);  /* what was not written has no number */
	desk_close(&d);
}

TEST(one_sender_does_not_wait_for_others)
{
	struct desk d;
	int64_t start;

	desk_open(&d);
	for (int i = 0; i < 200; i++)  /* a crowd that then leaves */
		add(&d);
	wait_for(&d, 200);
	for (size_t i = 1; i <= 50; i++) {
		add(&d);
		wait_for(&d, 200 + i);
	}
	start = clock_mono_us();
	for (size_t i = 1; i <= 50; i++) {
		add(&d);
		wait_for(&d, 250 + i);
	}
	print_message("%lld us a record\n", (long long)(clock_mono_us() - start) / 50);
	desk_close(&d);
}

TEST(what_waits_at_the_end_is_written)
{
	struct desk d;

	desk_open(&d);
	for (int i = 0; i < 700; i++)
		add(&d);
	writer_go(d.writer);
	writer_set_w(d.writer, 1, false);
	writer_free(d.writer);
	d.writer = NULL;
	EXPECT_INT(d.done, 700);
	EXPECT_INT(d.refused, 0);
	EXPECT_INT(log_w(d.log), 1);
	desk_close(&d);
}
