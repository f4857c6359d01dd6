/* Tables for base/: what the rest of the house stands on. */
#include "base/test.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/map.h"
#include "base/thread.h"
#include "base/wire.h"
#include <limits.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(numbers)
{
	static const struct { const char *in; bool ok; uint64_t v; } cases[] = {
		{ "0", true, 0 }, { "4294967295", true, 4294967295u },
		{ "4294967296", true, 4294967296u },
		{ "18446744073709551615", true, UINT64_MAX },
		{ "18446744073709551616", false, 0 },  /* one more than fits */
		{ "", false, 0 }, { "-1", false, 0 }, { "1x", false, 0 },
	};
	EACH(cases, c) {
		uint64_t v = 0;
		EXPECT(str_to_u64(str_of(c->in), &v) == c->ok);
		EXPECT(v == c->v);
	}
	struct scan s = scan_of(STR("4294967296"));
	scan_u32(&s);
	EXPECT(s.failed && scan_done(&s));
}

TEST(utf8)
{
	static const struct { const char *in; bool ok; } cases[] = {
		{ "", true }, { "h\xc3\xa9", true }, { "\xf0\x9f\x93\xae", true },
		{ "\xc0\x80", false },          /* overlong NUL */
		{ "\xed\xa0\x80", false },      /* a surrogate */
		{ "\xf4\x90\x80\x80", false },  /* above U+10FFFF */
		{ "\xc3", false }, { "\xff", false },
		{ "\xef\xbf\xbd", true },       /* U+FFFD itself is a character */
	};
	EACH(cases, c) EXPECT(utf8_valid(str_of(c->in)) == c->ok);
	EXPECT_STR(utf8_clip(STR("ab\xc3\xa9"), 3), "ab");
}

TEST(base64)
{
	static const struct { const char *in; bool ok; const char *out; } cases[] = {
		{ "", true, "" }, { "Zg==", true, "f" }, { "Zm9v", true, "foo" },
		{ "Zh==", false, "" },  /* stray bits */
		{ "Zg=", false, "" }, { "Zg", false, "" }, { "Z===", false, "" }, { "Zm9v\r\n", false, "" }, { "=m9v", false, "" },
	};
	EACH(cases, c) {
		CLEANUP(buf_free) struct buf b = BUF(100);
		EXPECT(base64_get(&b, str_of(c->in)) == c->ok);
		if (c->ok)
			EXPECT(str_eq(buf_str(&b), str_of(c->out)));
	}
	CLEANUP(arena_free) struct arena a = { 0 };
	EXPECT_STR(base64_encode(&a, STR("fooba")), "Zm9vYmE=");
}

TEST(crc32c_check_value) { EXPECT_INT(crc32c(0, "123456789", 9), 0xe3069283u); }

/* Long ones are summed up another way than short ones, a part of them each. */
TEST(crc32c_of_a_whole_is_that_of_its_pieces)
{
	static const size_t sizes[] = { 3071, 3072, 3073, 6144, 9999, 20000 };
	static char bytes[20000];

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (char)(i * 2654435761u >> 13);
	EACH(sizes, n) {
		uint32_t crc = 0;
		for (size_t at = 0, step; at < *n; at += step) {
			step = *n - at < 100 ? *n - at : 100;
			crc = crc32c(crc, bytes + at, step);
		}
		EXPECT_INT(crc32c(0, bytes, *n), crc);
	}
}

TEST(wire_round_trip)
{
	CLEANUP(buf_free) struct buf b = BUF(1000);
	put_u16(&b, 65535);
	put_str(&b, STR("hello"));
	put_bool(&b, true);
	struct scan s = scan_of(buf_str(&b));
	EXPECT_INT(get_u16(&s), 65535);
	EXPECT_STR(get_str(&s, 5), "hello");
	EXPECT(get_bool(&s));
	EXPECT(get_end(&s));
	s = scan_of(buf_str(&b));
	get_u16(&s);
	get_str(&s, 4);  /* longer than this reader allows */
	EXPECT(s.failed);
}

TEST(buf_failure_is_sticky)
{
	CLEANUP(buf_free) struct buf b = BUF(4);
	buf_add(&b, STR("abc"));
	buf_add(&b, STR("de"));
	buf_add(&b, STR("f"));
	EXPECT(b.failed);
	EXPECT_STR(buf_str(&b), "abc");
}

/* The pipe is full: lines are dropped and counted, and whoever has its other descriptor still waits as he wants to. */
TEST(a_log_that_nobody_reads_holds_nobody)
{
	static char said[200000];
	int ends[2], kept;
	size_t n = 0;

	EXPECT(pipe(ends) == 0);
	kept = dup(ends[1]);
	log_never_waits(ends[1]);
	log_to_fd(ends[1]);
	for (int i = 0; i < 4000; i++)
		log_warn("one line of many number=%d", i);
	while (n < 60000)
		n += (size_t)read(ends[0], said + n, sizeof(said) - n);
	log_warn("there is room again");
	log_to_fd(2);
	close(ends[1]);
	EXPECT(write(kept, "end", 3) == 3);
	close(kept);
	for (ssize_t got; (got = read(ends[0], said + n, sizeof(said) - n)) > 0;)
		n += (size_t)got;
	close(ends[0]);
	unsigned lost = 0, lines = 0;
	for (size_t i = 0; i < n; i++)
		lines += said[i] == '\n';
	const char *told = strstr(said, "lines are missing here count=");
	EXPECT(told != NULL && sscanf(told, "lines are missing here count=%u", &lost) == 1);  /* NOLINT(cert-err34-c): we wrote it */
	EXPECT_INT(lost + lines, 4000 + 2);
	EXPECT(strstr(said, "there is room again") != NULL);
}

/* One write of more than PIPE_BUF bytes to a full pipe is torn, and a line without its end would take the next one along. */
TEST(a_log_line_is_whole_however_long_its_words)
{
	static const struct { bool is_json; const char *bytes; } cases[] = { { false, "\x01" }, { true, "\x01" }, { true, "\xff" }, { true, "\"" }, { false, "\xc3\xa9" }, { false, "a" } };
	static char said[PIPE_BUF + 100];

	EACH(cases, c) {
		char words[4001];
		int ends[2];
		size_t n = 0;
		for (size_t each = strlen(c->bytes); n + each < sizeof(words); n += each)
			memcpy(words + n, c->bytes, each);
		words[n] = '\0';
		EXPECT(pipe(ends) == 0);
		log_setup("facteur", LOG_LEVEL_INFO, c->is_json);
		log_to_fd(ends[1]);
		log_warn("said=%s", words);
		log_to_fd(2);
		log_setup("facteur", LOG_LEVEL_INFO, false);
		close(ends[1]);
		ssize_t got = read(ends[0], said, sizeof(said));
		close(ends[0]);
		EXPECT(got > 0 && got <= PIPE_BUF && str_ends(str_make(said, (size_t)got), c->is_json ? STR("\"}\n") : STR("\n")));
		EXPECT(str_find(str_make(said, (size_t)(got > 0 ? got : 0)), STR("said=")) > 0);
		EXPECT(utf8_valid(str_make(said, (size_t)(got > 0 ? got : 0))));
	}
}

static void *nothing(void *context) { return context; }

/* It ends with a sentence; nobody waits for a thread that never began. */
TEST(no_room_for_a_thread)
{
	char said[1000] = "";
	pthread_attr_t attr;
	pthread_t thread;
	int ends[2], status = 0;

	EXPECT(pipe(ends) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		log_to_fd(ends[1]);
		pthread_attr_init(&attr);
		if (pthread_attr_setstacksize(&attr, (size_t)1 << 46) == 0 && pthread_setattr_default_np(&attr) == 0)
			thread_begin(&thread, nothing, NULL);
		_exit(0);
	}
	close(ends[1]);
	EXPECT(read(ends[0], said, sizeof(said) - 1) > 0);
	EXPECT(strstr(said, "LimitAS=") != NULL && strstr(said, "a thread cannot begin (Resource temporarily unavailable)") != NULL);
	close(ends[0]);
	EXPECT(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

TEST(map_many)
{
	struct map m = { 0 };
	for (uint64_t i = 1; i <= 5000; i++)
		map_set_u64(&m, i, (void *)(uintptr_t)i);
	for (uint64_t i = 1; i <= 5000; i += 2)
		map_set_u64(&m, i, NULL);
	EXPECT_INT(m.n, 2500);
	for (uint64_t i = 1; i <= 5000; i++)
		EXPECT(map_get_u64(&m, i) == (i % 2 ? NULL : (void *)(uintptr_t)i));
	for (uint64_t i = 1; i <= 100000; i++) {  /* tombstones do not pile up */
		map_set_u64(&m, i + 10000, (void *)1);
		map_set_u64(&m, i + 10000, NULL);
	}
	EXPECT(m.cap <= 32768);
	map_free(&m);
}

/* Tables in shared memory are written by one process and read by another. */
TEST(a_keyed_hash_is_the_same_everywhere)
{
	EXPECT_INT(str_hash_keyed(STR("the same in every process"), 1, 2), 0xaa5f7c984beb80eaULL);
	EXPECT(str_hash_keyed(STR("the same in every process"), 1, 3) != 0xaa5f7c984beb80eaULL);
	EXPECT(str_hash_keyed(STR("the same in every process"), 2, 2) != 0xaa5f7c984beb80eaULL);
}
