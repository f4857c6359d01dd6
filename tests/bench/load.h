/* load.h -- what the load generators of the benchmark share: connections, messages, times, the start signal.
 *
 * A generator opens all its connections, does what it has to prepare, and says "ready"; it measures after it read a line from its
 * standard input, prints one line of JSON, and holds its connections until its standard input ends. So whoever started it can read
 * the counters of the server exactly before and after. A thread for each connection, blocking: it must cost little, not be clever.
 * Whatever goes wrong ends the process with a sentence: a benchmark that went on would measure something else. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* -- connections to 127.0.0.1 -- */
struct link;
struct link *link_open(int port, bool tls);  /* a full handshake each time */
void link_close(struct link *l);
void link_compress(struct link *l);  /* from now on DEFLATE both ways (RFC 4978) */
void link_write(struct link *l, const char *data, size_t n);
char *link_line(struct link *l, size_t *n);  /* without CRLF, NUL-terminated; good until the next call */
void link_skip(struct link *l, size_t n);
uint64_t link_bytes(const struct link *l);  /* read so far, after TLS and DEFLATE */

/* -- messages that look like mail: headers of a relay, text; from 12 kB on also HTML, from 40 kB on an attachment -- */
#define SIZE_MIX 0  /* sizes in turn: 40 % of 4 kB, 30 % of 12 kB, 40, 60 and 128 kB: 28 kB in the middle */
/* Writes message number `number` of about `size` bytes to out. Lines end with CRLF and none begins with a dot. */
void message_write(FILE *out, size_t size, long number, const char *from);

/* -- logins: a file with lines "ADDRESS PASSWORD" -- */
struct login {
	char address[128];
	char password[128];
};
struct login *logins_read(const char *path, long *n);

/* -- measuring -- */
int64_t now_us(void);
void times_room(size_t most);   /* before the threads start */
void times_add(int64_t us);     /* any thread */
/* Runs work(index) in a thread for each connection: all prepare, then all wait in load_ready() for the signal. Prints the JSON:
 * count, seconds, per_second, p50_us, p99_us, max_us of what times_add() got, bytes and answers. */
void load_run(long connections, void (*work)(long index));
void load_ready(void);
void load_add(uint64_t bytes, uint64_t answers);
_Noreturn void load_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
#endif
