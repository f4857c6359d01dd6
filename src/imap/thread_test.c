/* THREAD's algorithms on small mailboxes: the examples and the corners of RFC 5256 §3; a mailbox that somebody made to hurt. */
#include "imap/thread_private.h"
#include "base/bytes.h"
#include "base/scan.h"
#include "base/test.h"
#include "mime/summary.h"

struct case_message {
	const char *id, *references;  /* letters; "": none */
	const char *subject;          /* base subject; '+' before it: it was a reply */
	int         date;             /* 0: the order of the mailbox */
};
struct thread_case {
	enum thread_how how;
	const char *want;
	struct case_message messages[10];
};

static const struct thread_case cases[] = {
	{ THREAD_REFERENCES, "(1 2 3)", { { "a", "", "x", 0 }, { "b", "a", "+x", 0 }, { "c", "ab", "+x", 0 } } },
	/* the order of arrival says nothing: children before parents */
	{ THREAD_REFERENCES, "(3 2 1)", { { "c", "ab", "+x", 3 }, { "b", "a", "+x", 2 }, { "a", "", "x", 1 } } },
	/* a parent that is not there: two children keep it as a dummy, one does not */
	{ THREAD_REFERENCES, "((1)(2))", { { "b", "a", "+x", 0 }, { "c", "a", "+y", 0 } } },
	{ THREAD_REFERENCES, "(1)", { { "b", "a", "+x", 0 } } },
	/* a dummy between two messages is left out */
	{ THREAD_REFERENCES, "(1 (2)(3))", { { "a", "", "x", 0 }, { "c", "ab", "+x", 0 }, { "d", "ab", "+x", 0 } } },
	{ THREAD_REFERENCES, "((1)(2))", { { "c", "ab", "+x", 0 }, { "d", "a", "+x", 0 } } },
	/* the RFC's picture: 2; 3 with 6, and under it two ways on */
	{ THREAD_REFERENCES, "(1)(2 3 (4 5)(6 7 8))",
	  { { "a", "", "q", 0 }, { "b", "", "x", 0 }, { "c", "b", "+x", 0 }, { "d", "bc", "+x", 0 }, { "e", "bcd", "+x", 0 },
	    { "f", "bc", "+x", 0 }, { "g", "bcf", "+x", 0 }, { "h", "bcfg", "+x", 0 } } },
	/* who writes nonsense: itself, circles, the same identifier twice */
	{ THREAD_REFERENCES, "(1)", { { "a", "aa", "x", 0 } } },
	{ THREAD_REFERENCES, "(2 1)", { { "a", "b", "x", 0 }, { "b", "a", "+y", 0 } } },
	{ THREAD_REFERENCES, "(1 3)(2)", { { "a", "", "x", 0 }, { "a", "", "y", 0 }, { "b", "a", "+x", 0 } } },
	/* a gap in one References that another fills */
	{ THREAD_REFERENCES, "(1 2 3)", { { "a", "", "x", 0 }, { "b", "a", "+x", 0 }, { "c", "b", "+x", 0 } } },
	/* (5): the same subject, no references */
	{ THREAD_REFERENCES, "(1 2)", { { "a", "", "x", 0 }, { "b", "", "+x", 0 } } },
	{ THREAD_REFERENCES, "(2 1)", { { "b", "", "+x", 0 }, { "a", "", "x", 0 } } },
	{ THREAD_REFERENCES, "((1)(2))", { { "a", "", "x", 0 }, { "b", "", "x", 0 } } },
	{ THREAD_REFERENCES, "((1)(2)(3))", { { "a", "", "x", 0 }, { "b", "", "x", 0 }, { "c", "", "x", 0 } } },
	{ THREAD_REFERENCES, "((1)(2)(3))", { { "b", "a", "+x", 0 }, { "c", "a", "+x", 0 }, { "d", "", "+x", 0 } } },
	{ THREAD_REFERENCES, "((1)(2)(3)(4))", { { "b", "a", "+x", 0 }, { "c", "a", "+x", 0 }, { "e", "d", "+x", 0 }, { "f", "d", "+x", 0 } } },
	{ THREAD_REFERENCES, "(1)(2)", { { "a", "", "", 0 }, { "b", "", "", 0 } } },
	/* siblings and threads stand by the date they were sent */
	{ THREAD_REFERENCES, "(3)(1 (4)(2))", { { "a", "", "x", 5 }, { "b", "a", "+x", 9 }, { "c", "", "y", 4 }, { "d", "a", "+x", 6 } } },
	/* REFS: subjects say nothing, and the thread with the newest message is last */
	{ THREAD_REFS, "(2)(1 3)", { { "a", "", "x", 0 }, { "b", "", "x", 0 }, { "c", "a", "x", 0 } } },
	{ THREAD_REFS, "(3)((1)(2))", { { "b", "a", "x", 8 }, { "c", "a", "x", 9 }, { "d", "", "x", 7 } } },
	{ THREAD_ORDEREDSUBJECT, "(1 (3)(4))(2)", { { "", "", "x", 0 }, { "", "", "y", 0 }, { "", "", "x", 0 }, { "", "", "x", 0 } } },
	{ THREAD_ORDEREDSUBJECT, "(3 1)(2)", { { "", "", "x", 3 }, { "", "", "y", 2 }, { "", "", "x", 1 } } },
};

static size_t read_case(const struct thread_case *t, struct arena *a, struct thread_message *out)
{
	size_t n = 0;

	for (; n < COUNT_OF(t->messages) && t->messages[n].id != NULL; n++) {
		const struct case_message *m = &t->messages[n];
		uint64_t *ids = arena_array(a, 10, sizeof *ids);
		int64_t date = m->date ? m->date : (int64_t)n + 1;
		out[n] = (struct thread_message){ .number = (uint32_t)n + 1, .sent = date, .received = date, .references = ids };
		out[n].is_reply = m->subject[0] == '+';
		out[n].subject = str_of(m->subject + out[n].is_reply);
		if (m->id[0])
			out[n].id = summary_id_number(str_of(m->id));
		for (const char *p = m->references; *p; p++)
			ids[out[n].n_references++] = summary_id_number(str_make(p, 1));
	}
	return n;
}

TEST(threads_of_small_mailboxes)
{
	EACH(cases, t) {
		CLEANUP(arena_free) struct arena a = { 0 };
		CLEANUP(buf_free) struct buf b = BUF(1000);
		struct thread_message messages[COUNT_OF(t->messages)];
		struct thread_tree tree;
		size_t n = read_case(t, &a, messages);
		thread_build(&a, t->how, messages, n, &tree);
		thread_put(&b, &a, &tree, messages, n, NULL, NULL);
		EXPECT_STR(buf_str(&b), t->want);
	}
}

/* Each message once, whatever they refer to: chains forwards and backwards, all under one, circles, at random. */
TEST(threads_of_large_and_hostile_mailboxes)
{
	enum { N = 20000, REFERENCES = 3 };
	static struct thread_message messages[N];
	static uint64_t references[N][REFERENCES];
	uint64_t random = 88172645463325252ULL;

	for (int shape = 0; shape < 6; shape++) {
		for (int how = THREAD_ORDEREDSUBJECT; how <= THREAD_REFS; how++) {
			CLEANUP(arena_free) struct arena a = { 0 };
			CLEANUP(buf_free) struct buf b = BUF(1 << 20);
			static bool seen[N + 1];
			struct thread_tree tree;
			size_t count = 0;
			for (size_t i = 0; i < N; i++) {
				uint64_t other[] = { i, i + 2, 1, N - i, i + 1 < N ? i + 2 : 1, 0 };
				random ^= random << 13, random ^= random >> 7, random ^= random << 17;
				other[5] = random % (2 * N) + 1;
				references[i][0] = other[shape];
				references[i][1] = random % 3 ? 0 : random % N + 1;
				references[i][2] = shape < 4 ? other[shape] : other[5];
				messages[i] = (struct thread_message){ .number = (uint32_t)i + 1, .sent = (int64_t)(random % 1000), .received = (int64_t)i,
				                                       .id = i + 1, .references = references[i], .n_references = REFERENCES,
				                                       .subject = STR("x"), .is_reply = random % 2 };
			}
			thread_build(&a, (enum thread_how)how, messages, N, &tree);
			thread_put(&b, &a, &tree, messages, N, NULL, NULL);
			EXPECT(!b.failed);
			memset(seen, 0, sizeof seen);
			struct scan s = scan_of(buf_str(&b));
			while (!scan_done(&s)) {
				if (!chr_digit((char)scan_peek(&s))) {
					s.p++;
					continue;
				}
				uint32_t number = scan_u32(&s);
				EXPECT(number >= 1 && number <= N && !seen[number]);
				seen[number] = true;
				count++;
			}
			EXPECT_INT(count, N);
		}
	}
}
