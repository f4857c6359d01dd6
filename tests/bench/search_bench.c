/* What searching costs: an account of N messages (argument 1, default 100000) of some 5 kB in a folder (argument 2, default /var/tmp): making the
 * index, what it takes on disk, and IMAP searches, each the best of five. Build: make search-bench
 *
 * The words of a text are drawn as in a language (the i-th most usual one with a frequency of 1/i, out of 60,000), and each message has what mail
 * has besides: identifiers, addresses, numbers and links that occur once. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "imap/engine.h"
#include "net/session.h"
#include "store/index.h"
#include "submit/account.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { VOCABULARY = 60000, WORDS = 450, AT_ONCE = 500, ROUNDS = 5 };

static uint64_t seed = 42;

static uint64_t random_number(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

static int64_t cpu_us(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * INT64_C(1000000) + r.ru_utime.tv_usec + r.ru_stime.tv_usec;
}

static void need(enum err e, const char *what)
{
	if (e == ERR_OK)
		return;
	fprintf(stderr, "%s: %s\n", what, err_name(e));
	exit(1);
}

/* The same number is always the same word; usual ones are short. */
static void put_word(struct buf *b, uint64_t number)
{
	static const char *const syllables[] = { "ba", "re", "ti", "on", "ment", "ca", "lo", "si", "ver", "pla", "\xc3\xa9t", "qui", "sta", "mo", "du", "ne" };

	for (number += 16; number > 0; number /= 16)
		buf_add_cstr(b, syllables[number % 16]);
}

static void put_text(struct buf *b, int n)
{
	for (int i = 0; i < n; i++) {
		double u = (double)(random_number() >> 11) / (double)(UINT64_C(1) << 53);
		put_word(b, (uint64_t)pow(VOCABULARY, u));
		buf_add_cstr(b, i % 12 == 11 ? ".\r\n" : " ");
	}
}

static struct str message(struct buf *b, unsigned number)
{
	buf_reset(b);
	buf_printf(b, "Received: from mx%llx.example.org by mx.example.test id %016llx; Tue, 24 Nov 2026 10:00:00 +0000\r\n",
	           (unsigned long long)(random_number() % 1000), (unsigned long long)random_number());
	buf_add_cstr(b, "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; b=");
	for (int i = 0; i < 20; i++)
		buf_printf(b, "%016llx", (unsigned long long)random_number());
	buf_printf(b, "\r\nFrom: Person %llu <p%llu@example.org>\r\nTo: Bob <bob@example.test>\r\nSubject: ", (unsigned long long)(random_number() % 2000),
	           (unsigned long long)(random_number() % 2000));
	put_text(b, 6);
	buf_printf(b, "\r\nMessage-ID: <%016llx.%u@example.org>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n",
	           (unsigned long long)random_number(), number);
	put_text(b, WORDS);
	buf_printf(b, "\r\nhttps://example.org/track?id=%016llx%016llx order %llu rare%uword\r\n", (unsigned long long)random_number(),
	           (unsigned long long)random_number(), (unsigned long long)(random_number() % 1000000), number);
	return buf_str(b);
}

static void fill(struct view *v, unsigned n)
{
	struct append_new in = { .internal_date = 1700000000 };
	struct buf b = BUF(100000);
	struct mailbox inbox;
	struct arena a = { 0 };

	need(view_mailbox_by_role(v, MAILBOX_INBOX, &a, &inbox), "inbox");
	in.mailbox_id = inbox.mailbox_id;
	for (unsigned done = 0; done < n; done += AT_ONCE) {
		struct append *ap;
		struct appended *out;
		size_t got;
		need(append_begin(v, &ap), "append");
		for (unsigned i = 0; i < AT_ONCE; i++) {
			need(append_message(ap, &in, 0), "append");
			need(append_write(ap, message(&b, done + i)), "append");
			need(append_end(ap), "append");
		}
		need(append_commit(&ap, &a, &out, &got), "append");
		arena_reset(&a);
		view_tick(v);
	}
	arena_free(&a);
	buf_free(&b);
}

static void search(struct session *s, void *state, struct buf *out, const char *program)
{
	int64_t best_us = INT64_MAX, cpu = INT64_MAX;

	for (int i = 0; i < ROUNDS; i++) {
		buf_reset(out);
		session_test_input(s, STR("t SEARCH RETURN (COUNT) "));
		session_test_input(s, str_of(program));
		session_test_input(s, STR("\r\n"));
		int64_t from_us = clock_mono_us(), from_cpu = cpu_us();
		imap_engine.input(state);
		int64_t us = clock_mono_us() - from_us, c = cpu_us() - from_cpu;
		best_us = us < best_us ? us : best_us;
		cpu = c < cpu ? c : cpu;
	}
	ptrdiff_t at = str_find(buf_str(out), STR("COUNT "));
	printf("%-44s %9.3f ms wall %9.3f ms cpu   found %.*s\n", program, (double)best_us / 1000, (double)cpu / 1000,
	       at < 0 ? 0 : (int)strcspn(out->p + at + 6, "\r"), at < 0 ? "" : out->p + at + 6);
}

int main(int argc, char **argv)
{
	static const char *const programs[] = {
		"ALL", "TEXT rare777word", "TEXT are777wor", "BODY rare777word", "SUBJECT rare777word", "FROM p77@example.org", "TEXT quilo", "TEXT \"order 77\"", "BODY stamover",
		"OR OR FROM rare777word SUBJECT rare777word TEXT rare777word", "FUZZY TEXT rare777word", "FUZZY TEXT \"rare777words order\"", "FUZZY TEXT rarr777word",
		"UNSEEN SINCE 1-Jan-2020 TEXT rare777word" };
	unsigned n = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100000;
	const struct session_open info = { .protocol = PROTOCOL_IMAP, .command = STR("a0 LOGIN") };
	struct view_config config = { .account = 1 };
	struct account account = { .account = 1 };
	struct buf out = BUF(64 << 20);
	struct index_facts facts;
	struct rusage r;
	char dir[300];

	snprintf(dir, sizeof dir, "%s/search-bench-XXXXXX", argc > 2 ? argv[2] : "/var/tmp");
	if (mkdtemp(dir) == NULL)
		return 1;
	need(view_open(dir, &config, &account.view), "open");
	fill(account.view, n);
	getrusage(RUSAGE_SELF, &r);
	long before_kib = r.ru_maxrss;
	int64_t from_us = clock_mono_us(), from_cpu = cpu_us(), longest_us = 0, longest_cpu = 0;
	for (bool more = true; more;) {
		int64_t step_us = clock_mono_us(), step_cpu = cpu_us();
		more = index_step(account.view, 20);
		step_us = clock_mono_us() - step_us;
		longest_us = step_us > longest_us ? step_us : longest_us;
		step_cpu = cpu_us() - step_cpu;
		longest_cpu = step_cpu > longest_cpu ? step_cpu : longest_cpu;
	}
	index_facts(account.view, &facts);
	getrusage(RUSAGE_SELF, &r);
	printf("index of %llu messages: %.1f us cpu, %.1f us wall and %.0f bytes on disk a message; longest step %.1f ms wall, %.1f ms cpu; %ld kB more memory\n",
	       (unsigned long long)facts.emails, (double)(cpu_us() - from_cpu) / n, (double)(clock_mono_us() - from_us) / n, (double)facts.bytes / n,
	       (double)longest_us / 1000, (double)longest_cpu / 1000, r.ru_maxrss - before_kib);
	struct session *s = session_for_test(&info, STR(""), &out);
	void *state = imap_engine.open(s, &account);
	session_test_input(s, STR("s SELECT INBOX\r\n"));
	imap_engine.input(state);
	for (size_t i = 0; i < COUNT_OF(programs); i++)
		search(s, state, &out, programs[i]);
	imap_engine.close(state);
	session_test_free(s);
	need(view_close(account.view), "close");
	printf("left in %s\n", dir);
	return 0;
}
