#include "base/bytes.h"
#include "base/clock.h"
#include "base/test.h"
#include "base/mem.h"
#include "disk/disk.h"
#include "store/index_private.h"
#include "text/fold.h"
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { ROUNDS = 7, EACH_ROUND = 70, EMAILS = ROUNDS * EACH_ROUND };

static const char *const words[] = { "budget", "Budgets", "plan", "\xc3\xa9t\xc3\xa9", "ete", "\xc5\x93uvre", "oeuvre", "\xe6\x9d\xb1\xe4\xba\xac\xe9\x83\xbd",
                                     "\xe4\xba\xac\xe9\x83\xbd", "x7f3a9c", "invoice,", "re-invoice", "stra\xc3\x9f" "e", "STRASSE" };

struct world {
	const char  *dir;
	struct view *v;
	int64_t      inbox;
	uint32_t     random;
	char        *texts[EMAILS + 200];   /* by email */
	char        *subjects[EMAILS + 200];
	size_t       n;                     /* emails that are committed */
	uint32_t     next;
	struct append *many;
};

static void open_world(struct world *w)
{
	const struct view_config config = { .account = 7 };
	CLEANUP(arena_free) struct arena a = { 0 };
	struct mailbox m;

	EXPECT_OK(view_open(w->dir, &config, &w->v));
	EXPECT_OK(view_mailbox_by_role(w->v, MAILBOX_INBOX, &a, &m));
	w->inbox = m.mailbox_id;
}

static void begin(struct world *w)
{
	*w = (struct world){ .dir = test_dir(), .random = 3 };
	open_world(w);
}

static void end(struct world *w)
{
	EXPECT_OK(view_close(w->v));
	for (size_t i = 0; i < COUNT_OF(w->texts); i++) {
		mem_free(w->texts[i]);
		mem_free(w->subjects[i]);
	}
	test_dir_remove(w->dir);
}

static const char *word(struct world *w)
{
	w->random = w->random * 1664525 + 1013904223;
	return words[(w->random >> 16) % COUNT_OF(words)];
}

/* One sync for all of them: between begin_many() and end_many() messages are only written. */
static void begin_many(struct world *w) { EXPECT_OK(append_begin(w->v, &w->many)); }

static void end_many(struct world *w)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct appended *done;
	size_t n;

	EXPECT_OK(append_commit(&w->many, &a, &done, &n));
	w->n = done[n - 1].email;
}

static void put(struct world *w, struct append *ap, struct str message)
{
	const struct append_new in = { .mailbox_id = w->inbox, .internal_date = 1700000000 };

	EXPECT_OK(append_message(ap, &in, 0));
	EXPECT_OK(append_write(ap, message));
	EXPECT_OK(append_end(ap));
}

static uint32_t add(struct world *w, const char *subject, const char *text)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str message = arena_printf(&a, "From: Zo\xc3\xa9 <zoe@example.test>\r\nSubject: %s\r\nX-Tag: blue\r\nReceived: from deep.example\r\n"
	                                      "Content-Type: text/plain; charset=utf-8\r\n\r\n%s\r\n", subject, text);
	uint32_t email = ++w->next;

	put(w, w->many, message);
	EXPECT(email < COUNT_OF(w->texts));
	mem_free(w->texts[email]);
	mem_free(w->subjects[email]);
	w->texts[email] = mem_strdup(text);
	w->subjects[email] = mem_strdup(subject);
	return email;
}

static void add_random(struct world *w)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str text = STR(""), subject = arena_printf(&a, "%s %s", word(w), word(w));

	for (int i = 0; i < 6; i++)
		text = arena_printf(&a, STR_FMT "%s%s", STR_ARG(text), i % 3 ? " " : "-", word(w));
	add(w, str_cstr(&a, subject), str_cstr(&a, text));
}

static void add_round(struct world *w)
{
	begin_many(w);
	for (int i = 0; i < EACH_ROUND; i++)
		add_random(w);
	end_many(w);
}

static void make_index(struct world *w)
{
	int steps = 0;

	while (index_step(w->v, 1000))
		EXPECT(++steps < 1000);
}

static struct index_hits *find(struct world *w, struct arena *a, const char *text, unsigned fields, bool is_like)
{
	struct index_needle needle = { .text = str_of(text), .fields = fields, .is_like = is_like };

	index_find(w->v, &needle, 1, a);
	return needle.hits;
}

/* Never NO for what is there, never YES for what is not; returns how many are not sure. */
static size_t compare(struct world *w, const char *text, unsigned fields)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct index_hits *hits = find(w, &a, text, fields, false);
	size_t maybe = 0;

	for (uint32_t email = 1; email <= w->n; email++) {
		struct str needle = fold_casemap(&a, str_of(text));
		bool is_there = (fields & INDEX_BODY && fold_contains(&a, str_of(w->texts[email]), needle)) ||
		                (fields & INDEX_SUBJECT && fold_contains(&a, str_of(w->subjects[email]), needle));
		enum index_hit hit = index_hit(hits, email);
		if (is_there ? hit == HIT_NO : hit == HIT_YES)
			print_error("email %u, '%s' in fields %u: answer %d is wrong\n", email, text, fields, hit);
		EXPECT(is_there ? hit != HIT_NO : hit != HIT_YES);
		maybe += hit == HIT_MAYBE;
	}
	return maybe;
}

static void compare_all(struct world *w)
{
	static const char *const parts[] = { "udge", "budget plan", "t\xc3\xa9", "\xe6\x9d\xb1", "\xe4\xba\xac", "\xe6\x9d\xb1\xe4\xba\xac\xe9\x83\xbd", "7f3", "-", "e-inv",
	                                     "INVOICE,", "ss", "\xc3\x9f", "nothing", "s p" };

	for (size_t i = 0; i < COUNT_OF(parts); i++) {
		compare(w, parts[i], INDEX_BODY);
		compare(w, parts[i], INDEX_SUBJECT);
	}
	for (size_t i = 0; i < COUNT_OF(words); i++)
		compare(w, words[i], INDEX_BODY);
}

static int count(struct world *w, const char *text, unsigned fields, bool is_like)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct index_hits *hits = find(w, &a, text, fields, is_like);
	int n = 0;

	for (uint32_t email = 1; email <= w->n; email++)
		n += index_hit(hits, email) == HIT_YES;
	return n;
}

TEST(answers_are_those_of_the_messages)
{
	struct world w;
	struct index_facts facts;

	begin(&w);
	for (int round = 0; round < ROUNDS; round++) {   /* enough files of one level that they are merged */
		add_round(&w);
		if (round == 2)
			compare_all(&w);                          /* of the last ones it knows nothing yet */
		make_index(&w);
	}
	compare_all(&w);
	EXPECT_INT(compare(&w, "udge", INDEX_BODY), 0);   /* one word, or a part of one: the messages need not be asked */
	EXPECT_INT(compare(&w, "\xe4\xba\xac", INDEX_BODY), 0);
	EXPECT(compare(&w, "budget plan", INDEX_BODY) < EMAILS / 2);
	EXPECT_INT(count(&w, "blue", INDEX_HEADER, false), EMAILS);
	EXPECT_INT(count(&w, "blue", INDEX_BODY, false), 0);
	EXPECT_INT(count(&w, "deep", INDEX_ANY, false), 0);   /* Received is for machines */
	EXPECT_INT(count(&w, "zo\xc3\xa9", INDEX_FROM, false), EMAILS);
	EXPECT_INT(count(&w, "zoe@", INDEX_FROM, false), 0);   /* all of them perhaps */
	index_facts(w.v, &facts);
	EXPECT_INT(facts.emails, EMAILS);
	EXPECT_INT(facts.todo, 0);
	EXPECT_OK(view_close(w.v));
	open_world(&w);                                        /* it is still there */
	EXPECT_INT(compare(&w, "udge", INDEX_BODY), 0);
	end(&w);
}

TEST(words_that_resemble_are_found_and_weighed)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct index_liking liking;
	struct world w;
	uint32_t subject, body, plural, other;

	begin(&w);
	begin_many(&w);
	for (int i = 0; i < EACH_ROUND; i++)
		add(&w, "nothing", "of interest");
	subject = add(&w, "\xc3\x89t\xc3\xa9 2026", "x");
	body = add(&w, "x", "un \xc3\xa9t\xc3\xa9 chaud");
	plural = add(&w, "x", "des \xc3\xa9t\xc3\xa9s, des \xc5\x93uvres");
	other = add(&w, "x", "complet");
	end_many(&w);
	make_index(&w);
	struct index_hits *hits = find(&w, &a, "ete", INDEX_ANY, true);
	EXPECT_INT(index_relevancy(hits, 1), 0);
	EXPECT_INT(index_hit(hits, 1), HIT_NO);
	EXPECT_INT(index_relevancy(hits, subject), 100);
	EXPECT(index_relevancy(hits, body) < 100);
	EXPECT(index_relevancy(hits, plural) < index_relevancy(hits, body));
	EXPECT_INT(index_hit(hits, other), HIT_NO);
	EXPECT_INT(count(&w, "oeuvre", INDEX_BODY, true), 1);
	EXPECT_INT(count(&w, "chaude \xc3\xa9t\xc3\xa9", INDEX_BODY, true), 1);  /* in any order */
	EXPECT_INT(count(&w, "intrest", INDEX_BODY, true), EACH_ROUND);          /* mistyped */
	EXPECT_INT(count(&w, "intrest", INDEX_BODY, false), 0);
	index_like_begin(&liking, &a, STR("ETE chaude"));
	index_like_text(&liking, &a, STR("\xc3\xa9t\xc3\xa9"), INDEX_SUBJECT);
	EXPECT_INT(index_like_end(&liking), 0);
	index_like_text(&liking, &a, STR("chaud"), INDEX_BODY);
	EXPECT(index_like_end(&liking) > 0);
	end(&w);
}

/* A number that was taken before and is committed after the others must not be passed. */
TEST(a_message_that_is_committed_late_is_not_missed)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct appended *done;
	struct append *slow;
	struct world w;
	size_t n;

	begin(&w);
	EXPECT_OK(append_begin(w.v, &slow));
	put(&w, slow, STR("Subject: x\r\n\r\nearly bird\r\n"));
	w.next++;
	add_round(&w);
	add_round(&w);
	make_index(&w);
	EXPECT_OK(append_commit(&slow, &a, &done, &n));
	EXPECT_INT(done[0].email, 1);
	EXPECT_INT(index_hit(find(&w, &a, "bird", INDEX_BODY, false), 1), HIT_MAYBE);
	make_index(&w);
	EXPECT_INT(index_hit(find(&w, &a, "bird", INDEX_BODY, false), 1), HIT_YES);
	end(&w);
}

/* Messages that were begun and never came, as when a client is gone in the middle of many: their numbers are all that is left of them. */
TEST(numbers_without_a_message_are_no_work)
{
	CLEANUP(append_abandon) struct append *lost = NULL;
	CLEANUP(arena_free) struct arena a = { 0 };
	struct index_progress p;
	struct world w;

	begin(&w);
	add_round(&w);
	make_index(&w);
	EXPECT_OK(append_begin(w.v, &lost));
	for (int i = 0; i < 2 * EACH_ROUND; i++)
		put(&w, lost, STR("Subject: x\r\n\r\nlost\r\n"));
	append_abandon(&lost);
	EXPECT(!index_step(w.v, 20));
	index_progress(w.v, &p);
	EXPECT_INT(p.todo, 0);
	w.next += 2 * EACH_ROUND;
	begin_many(&w);
	for (int i = 0; i < EACH_ROUND; i++)
		add(&w, "unicorn", "horn");
	end_many(&w);
	make_index(&w);
	EXPECT_INT(index_hit(find(&w, &a, "unicorn", INDEX_SUBJECT, false), (uint32_t)w.n), HIT_YES);
	end(&w);
}

static void damage(struct world *w, const char *name, uint64_t at)
{
	struct disk_dir *dir;
	struct disk_file *f;

	EXPECT_OK(disk_dir_open(w->dir, &dir));
	EXPECT_OK(disk_open(dir, name, DISK_WRITE, &f));
	EXPECT_OK(disk_pwrite(f, "\xff\xff\xff\xff", 4, at));
	disk_close(&f);
	disk_dir_close(&dir);
}

static void lose(struct world *w, const char *name)
{
	struct disk_dir *dir;

	EXPECT_OK(disk_dir_open(w->dir, &dir));
	EXPECT_OK(disk_remove(dir, name));
	disk_dir_close(&dir);
}

TEST(what_is_damaged_or_lost_is_made_anew)
{
	static const struct { const char *name; uint64_t at; } cases[] = {
		{ "search/000001.words", 3 }, { "search/000001.words", 6 }, { "search/000001.words", 40 }, { "search/000001.lists", 9 },
		{ "search/000001.filters", 70 }, { "search/000001.filters", UINT64_MAX }, { "search/segments", 30 }, { "search/segments", UINT64_MAX }, { "search/000001.words", UINT64_MAX }, { "search/000001.lists", UINT64_MAX },
	};

	EACH(cases, c) {
		struct world w;
		begin(&w);
		add_round(&w);
		make_index(&w);
		EXPECT_INT(compare(&w, "budget", INDEX_BODY), 0);
		EXPECT_OK(view_close(w.v));
		if (c->at == UINT64_MAX)
			lose(&w, c->name);
		else
			damage(&w, c->name, c->at);
		open_world(&w);
		compare(&w, "e", INDEX_BODY);                     /* perhaps it sees the damage only now, and never says what is wrong */
		make_index(&w);
		EXPECT_INT(compare(&w, "budget", INDEX_BODY), 0);
		index_forget(w.v);
		EXPECT_INT(compare(&w, "budget", INDEX_BODY), EACH_ROUND);
		make_index(&w);
		EXPECT_INT(compare(&w, "budget", INDEX_BODY), 0);
		end(&w);
	}
}

/* As if an older Unicode had made it: with nothing else changed, its words are not believed. */
TEST(an_index_that_another_unicode_has_folded_is_made_anew)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct disk_dir *dir;
	struct index_facts facts;
	struct world w;

	begin(&w);
	add_round(&w);
	make_index(&w);
	for (int is_older = 0; is_older < 2; is_older++) {
		struct str was;
		EXPECT_OK(view_close(w.v));
		EXPECT_OK(disk_dir_open(str_cstr(&a, arena_printf(&a, "%s/search", w.dir)), &dir));
		EXPECT_OK(disk_read_file(dir, "segments", 1 << 14, &a, &was));
		char *bytes = memcpy(arena_alloc(&a, was.n), was.p, was.n);
		uint32_t version = fold_version(), sum;
		char *at = memmem(bytes, was.n, &version, sizeof version);
		EXPECT(at != NULL);
		version -= (uint32_t)is_older << 24;
		memcpy(at, &version, sizeof version);
		sum = crc32c(0, bytes, was.n - 4);
		memcpy(bytes + was.n - 4, &sum, sizeof sum);
		EXPECT_OK(disk_write_file(dir, "segments", str_make(bytes, was.n)));
		disk_dir_close(&dir);
		open_world(&w);
		index_facts(w.v, &facts);
		EXPECT_INT(facts.emails, is_older ? 0 : EACH_ROUND);
	}
	make_index(&w);
	EXPECT_INT(compare(&w, "budget", INDEX_BODY), 0);
	end(&w);
}

/* Expunges them, and lets the time go by after which nobody can bring them back; the account is opened anew. */
static void purge_now(struct world *w, const struct uid_set *uids)
{
	CLEANUP(arena_free) struct arena a = { 0 };

	EXPECT_OK(view_expunge(w->v, w->inbox, uids, false, &a, NULL));
	clock_wall_offset(40 * 86400);
	view_compact(w->v);
	for (int i = 0; i < 10000 && view_tick(w->v); i++)
		;
	EXPECT_OK(view_close(w->v));
	clock_wall_offset(0);
	open_world(w);
}

static void shell(struct world *w, const char *command)
{
	CLEANUP(arena_free) struct arena a = { 0 };

	EXPECT(system(str_cstr(&a, arena_printf(&a, "cd '%s' && %s", w->dir, command))) == 0);
}

/* An account with an index of two rounds of mail, of which a copy without its index was put back that is from before the second. */
static void put_back(struct world *w)
{
	begin(w);
	add_round(w);
	make_index(w);
	EXPECT_OK(view_close(w->v));
	shell(w, "mkdir copy && cp -r account.db* bodies copy");
	open_world(w);
	add_round(w);
	make_index(w);
	EXPECT_OK(view_close(w->v));
	shell(w, "rm -r account.db* bodies && mv copy/* .");
	open_world(w);
	w->next = EACH_ROUND;
}

/* A copy of the account without its index, which can be lost, is put back; the index that stayed there knows mail that never came. */
TEST(an_index_that_is_ahead_of_the_account_is_made_anew)
{
	struct world w;

	put_back(&w);
	begin_many(&w);
	for (int i = 0; i < 10; i++)
		add(&w, "nightingale", "nightingale");
	end_many(&w);
	compare(&w, "nightingale", INDEX_BODY);
	make_index(&w);
	EXPECT_INT(compare(&w, "nightingale", INDEX_BODY), 0);
	end(&w);
}

/* The same, and the number of the last email that the index knows never comes to anything here: the index cannot ask the account about it. */
TEST(an_index_of_an_account_that_was_put_back_is_not_believed)
{
	CLEANUP(append_abandon) struct append *lost = NULL;
	struct world w;

	put_back(&w);
	begin_many(&w);
	for (int i = 1; i < EACH_ROUND; i++)
		add(&w, "nightingale", "nightingale");
	EXPECT_OK(append_begin(w.v, &lost));
	put(&w, lost, STR("Subject: x\r\n\r\nlost\r\n"));
	append_abandon(&lost);
	w.next++;
	add(&w, "nightingale", "nightingale");
	end_many(&w);
	EXPECT_INT(compare(&w, "nightingale", INDEX_BODY), 2 * EACH_ROUND + 1);
	make_index(&w);
	EXPECT_INT(compare(&w, "nightingale", INDEX_BODY), 0);
	end(&w);
}

/* A copy is put back in which mail lives that was purged later: the index that stayed there has forgotten it. */
TEST(an_index_that_forgot_what_was_put_back_is_not_believed)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct uid_set most = { 0 };
	struct world w;

	begin(&w);
	begin_many(&w);
	for (int i = 0; i < 1200; i++) {
		if (i == 600) {
			end_many(&w);
			begin_many(&w);
		}
		put(&w, w.many, arena_printf(&a, "Subject: x\r\n\r\nnumber n%d\r\n", i));
	}
	end_many(&w);
	make_index(&w);
	EXPECT_OK(view_close(w.v));
	shell(&w, "mkdir copy && cp -r account.db* bodies copy");
	open_world(&w);
	uid_set_add(&most, &a, 1, 1190);
	purge_now(&w, &most);
	make_index(&w);
	EXPECT_OK(view_close(w.v));
	shell(&w, "rm -r account.db* bodies && mv copy/* .");
	open_world(&w);
	EXPECT_INT(index_hit(find(&w, &a, "n7", INDEX_BODY, false), 8), HIT_MAYBE);
	make_index(&w);
	EXPECT_INT(index_hit(find(&w, &a, "n7", INDEX_BODY, false), 8), HIT_YES);
	end(&w);
}

/* With no time at all each step is the least there is; what comes out is the same, also when it is looked at in between, or begun again. */
TEST(it_is_made_in_steps_however_small)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf text = BUF(1 << 20);
	struct index_facts facts;
	struct world w;
	int steps = 0;

	begin(&w);
	begin_many(&w);
	for (uint32_t i = 0; i < 60000; i++)
		utf8_put(&text, 0x4e00 + (uint32_t)((i * UINT64_C(2654435761) >> 7) % 20000));
	for (int i = 0; i < EACH_ROUND; i++)
		add_random(&w);
	uint32_t large = add(&w, "large", str_cstr(&a, buf_str(&text)));
	end_many(&w);
	for (int i = 0; i < 3; i++) {
		for (steps = 0; index_step(w.v, 0); steps++)
			if (steps % 100 == 0)
				compare(&w, "budget", INDEX_BODY);
		EXPECT(steps > 200);
		EXPECT_INT(compare(&w, "budget", INDEX_BODY), 0);
		EXPECT_INT(index_hit(find(&w, &a, str_cstr(&a, str_sub(buf_str(&text), 90000, 6)), INDEX_BODY, false), large), HIT_YES);
		index_forget(w.v);
		for (int some = 0; some < 97 * (i + 1); some++)
			index_step(w.v, 0);
		if (i == 0)
			index_forget(w.v);
	}
	EXPECT_OK(view_close(w.v));   /* in the middle of it */
	open_world(&w);
	index_facts(w.v, &facts);
	EXPECT_INT(facts.emails, 0);
	make_index(&w);
	compare_all(&w);
	end(&w);
}

TEST(it_waits_while_the_disk_is_nearly_full)
{
	struct index_facts facts;
	struct world w;

	begin(&w);
	add_round(&w);
	view_set_limits(w.v, &(struct view_limits){ .disk_reserve = UINT64_C(1) << 62 });
	EXPECT(!index_step(w.v, 20));
	compare(&w, "budget", INDEX_BODY);
	index_facts(w.v, &facts);
	EXPECT_INT(facts.emails, 0);
	view_set_limits(w.v, &(struct view_limits){ .disk_reserve = 1 });
	clock_mono_advance(60000);
	make_index(&w);
	EXPECT_INT(compare(&w, "budget", INDEX_BODY), 0);
	end(&w);
}

TEST(it_is_made_while_somebody_is_there)
{
	struct selected *s;
	struct index_facts facts;
	struct world w;

	begin(&w);
	add_round(&w);
	EXPECT_OK(selected_open(w.v, w.inbox, NULL, &s));
	view_tick(w.v);
	index_facts(w.v, &facts);
	EXPECT_INT(facts.emails, 0);  /* a short look is not worth it */
	clock_mono_advance(60000);
	for (int i = 0; i < 1000 && facts.emails < EACH_ROUND; i++) {
		view_tick(w.v);  /* says no more as well when a slow disk has used up its time */
		index_facts(w.v, &facts);
	}
	EXPECT_INT(facts.emails, EACH_ROUND);
	selected_close(s);
	end(&w);
}

/* The last email that the index has looked at, after a tick every so many ms, until it is `enough`. */
static uint64_t read_after_ticks(struct world *w, int n, int64_t every_ms, uint64_t enough)
{
	struct index_progress p = { 0 };

	for (int i = 0; i < n && p.done < enough; i++) {
		clock_mono_advance(every_ms);
		view_tick(w->v);
		index_progress(w->v, &p);
	}
	return p.done;
}

static void add_many(struct world *w, int n)
{
	begin_many(w);
	for (int i = 0; i < n; i++)
		put(w, w->many, STR("Subject: x\r\n\r\nx\r\n"));
	end_many(w);
}

TEST(it_rests_while_mail_pours_in)
{
	struct selected *s;
	struct world w;

	begin(&w);
	EXPECT_OK(selected_open(w.v, w.inbox, NULL, &s));
	for (int i = 0; i < 2; i++)
		EXPECT_INT(read_after_ticks(&w, 1, 60000, 1), 0);  /* he is here for long */
	for (int second = 0; second < 5; second++) {
		add_many(&w, 70);
		EXPECT_INT(read_after_ticks(&w, 20, 50, 1), 0);
	}
	EXPECT_INT(read_after_ticks(&w, 1000, 1000, 350), 350);  /* it is quiet again */
	for (int i = 0; i < 2; i++)
		add_many(&w, 600);
	EXPECT(read_after_ticks(&w, 10, 50, 351) > 350);  /* more would let a search wait; a slow machine has no time for it in the first tick */
	selected_close(s);
	end(&w);
}

/* Purged emails leave lists when they are many; what is undeleted was never gone. forgets: the index is thrown away when it has just seen that. */
static void purge(bool forgets)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct uid_set all = { 0 };
	struct index_facts before, after;
	struct world w;
	uint32_t restored;

	begin(&w);
	for (int i = 0; i < 1200; i++) {
		if (i % 600 == 0)
			begin_many(&w);
		put(&w, w.many, arena_printf(&a, "Subject: x\r\n\r\nnumber n%d\r\n", i));
		if (i % 600 == 599)
			end_many(&w);
	}
	make_index(&w);
	index_facts(w.v, &before);
	uid_set_add(&all, &a, 1, 1190);
	EXPECT_OK(view_expunge(w.v, w.inbox, &all, false, &a, NULL));
	EXPECT_INT(index_hit(find(&w, &a, "n7", INDEX_BODY, false), 8), HIT_YES);
	EXPECT_OK(view_undelete(w.v, 0, 0, &restored));
	EXPECT_INT(restored, 1190);
	uid_set_add(&all, &a, 1, 1200 + 1180);
	purge_now(&w, &all);
	if (forgets)
		index_forget(w.v);
	make_index(&w);
	index_facts(w.v, &after);
	EXPECT(after.emails < 100);
	EXPECT(after.bytes < before.bytes / 5);
	EXPECT_INT(index_hit(find(&w, &a, "n1185", INDEX_BODY, false), 1186), HIT_YES);
	end(&w);
}

TEST(purged_emails_make_room) { purge(false); }
TEST(what_was_to_make_room_is_thrown_away) { purge(true); }

static void on_wait(void *context) { atomic_fetch_add((_Atomic int *)context, 1); }

static void *search(void *view)
{
	index_step(view, 1);
	return NULL;
}

/* Who needs the index while another one takes a large message apart holds a thread, and says so: the account's other sessions go on. */
TEST(who_waits_for_the_index_gives_others_a_thread)
{
	_Atomic int waits = 0;
	const struct view_config config = { .account = 7, .on_wait = on_wait, .context = &waits };
	const char *dir = test_dir();
	struct view *v;
	struct index *x;
	pthread_t t;

	EXPECT_OK(view_open(dir, &config, &v));
	x = index_of(v);
	index_step(v, 1);
	waits = 0;
	pthread_mutex_lock(&x->work);
	pthread_create(&t, NULL, search, v);
	for (int64_t until_ms = clock_mono_ms() + 5000; waits == 0 && clock_mono_ms() < until_ms; usleep(500))
		;
	EXPECT_INT(waits, 1);
	pthread_mutex_unlock(&x->work);
	pthread_join(t, NULL);
	EXPECT_OK(view_close(v));
	test_dir_remove(dir);
}
