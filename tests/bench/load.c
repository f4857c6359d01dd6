/* load.c -- connections, threads and times of the load generators; see load.h. */
#include "load.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum { BUFFER = 256 * 1024, LINE_MAX_B = 64 * 1024 * 1024, PATIENCE_S = 300 };  /* SORT of 1,000,000 is a line of 7 MB */

struct link {
	int      fd;
	SSL     *ssl;
	z_stream *in_z, *out_z;  /* NULL: no COMPRESS */
	char     *raw;           /* compressed bytes that came */
	char     *in;            /* [at, n) of its room was read and not yet taken */
	size_t   at, n, room;
	uint64_t bytes;
};

static SSL_CTX *context;
static pthread_once_t context_once = PTHREAD_ONCE_INIT;

void load_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "%s%s\n", errno ? ": " : "", errno ? strerror(errno) : "");
	exit(1);
}

int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void *must(void *p)
{
	if (p == NULL)
		load_fail("no memory");
	return p;
}

static void make_context(void)
{
	context = must(SSL_CTX_new(TLS_client_method()));
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
}

struct link *link_open(int port, bool tls)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval patience = { .tv_sec = PATIENCE_S };
	struct link *l = must(calloc(1, sizeof(*l)));
	int on = 1;

	l->in = must(malloc(BUFFER + 1));
	l->room = BUFFER;
	l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0 || connect(l->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		load_fail("connect to port %d", port);
	setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(l->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (!tls)
		return l;
	pthread_once(&context_once, make_context);
	l->ssl = must(SSL_new(context));
	SSL_set_fd(l->ssl, l->fd);
	if (SSL_connect(l->ssl) != 1)
		load_fail("no TLS on port %d", port);
	return l;
}

void link_close(struct link *l)
{
	SSL_free(l->ssl);
	close(l->fd);
	if (l->in_z != NULL) {
		inflateEnd(l->in_z);
		deflateEnd(l->out_z);
	}
	free(l->in_z);
	free(l->out_z);
	free(l->raw);
	free(l->in);
	free(l);
}

void link_compress(struct link *l)
{
	l->in_z = must(calloc(1, sizeof(*l->in_z)));
	l->out_z = must(calloc(1, sizeof(*l->out_z)));
	l->raw = must(malloc(BUFFER));
	if (inflateInit2(l->in_z, -15) != Z_OK || deflateInit2(l->out_z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		load_fail("zlib does not start");
}

static void write_raw(struct link *l, const char *data, size_t n)
{
	while (n > 0) {
		ssize_t done = l->ssl != NULL ? SSL_write(l->ssl, data, (int)(n < 1 << 20 ? n : 1 << 20)) : send(l->fd, data, n, MSG_NOSIGNAL);
		if (done <= 0)
			load_fail("the server closed the connection while we sent");
		data += done;
		n -= (size_t)done;
	}
}

void link_write(struct link *l, const char *data, size_t n)
{
	char out[16384];

	if (l->out_z == NULL) {
		write_raw(l, data, n);
		return;
	}
	l->out_z->next_in = (Bytef *)data;
	l->out_z->avail_in = (uInt)n;
	do {
		l->out_z->next_out = (Bytef *)out;
		l->out_z->avail_out = sizeof(out);
		deflate(l->out_z, Z_SYNC_FLUSH);
		write_raw(l, out, sizeof(out) - l->out_z->avail_out);
	} while (l->out_z->avail_out == 0);
}

static size_t read_raw(struct link *l, char *to, size_t most)
{
	ssize_t n = l->ssl != NULL ? SSL_read(l->ssl, to, (int)most) : recv(l->fd, to, most, 0);

	if (n < 0)
		load_fail("no answer within %d s", PATIENCE_S);
	if (n == 0)
		load_fail("the server closed the connection; it last said: %.*s", (int)(l->n - l->at), l->in + l->at);
	return (size_t)n;
}

static size_t read_some(struct link *l, char *to, size_t most)
{
	if (l->in_z == NULL)
		return read_raw(l, to, most);
	for (;;) {
		l->in_z->next_out = (Bytef *)to;
		l->in_z->avail_out = (uInt)most;
		int e = inflate(l->in_z, Z_SYNC_FLUSH);
		if (e != Z_OK && e != Z_BUF_ERROR)
			load_fail("the server's compressed bytes make no sense");
		if (l->in_z->avail_out < most)
			return most - l->in_z->avail_out;
		l->in_z->avail_in = (uInt)read_raw(l, l->raw, BUFFER);
		l->in_z->next_in = (Bytef *)l->raw;
	}
}

static void fill(struct link *l)
{
	if (l->at == l->n)
		l->at = l->n = 0;
	if (l->n == l->room && l->at > 0) {
		memmove(l->in, l->in + l->at, l->n - l->at);
		l->n -= l->at;
		l->at = 0;
	}
	if (l->n == l->room) {
		if (l->room >= LINE_MAX_B)
			load_fail("a line of more than %d bytes", LINE_MAX_B);
		l->room *= 2;
		l->in = must(realloc(l->in, l->room + 1));
	}
	size_t got = read_some(l, l->in + l->n, l->room - l->n);
	l->n += got;
	l->bytes += got;
}

char *link_line(struct link *l, size_t *n)
{
	size_t seen = 0;

	for (;;) {
		char *start = l->in + l->at, *end = memchr(start + seen, '\n', l->n - l->at - seen);
		if (end != NULL) {
			l->at += (size_t)(end - start) + 1;
			if (end > start && end[-1] == '\r')
				end--;
			*end = '\0';
			*n = (size_t)(end - start);
			return start;
		}
		seen = l->n - l->at;
		fill(l);
	}
}

void link_skip(struct link *l, size_t n)
{
	for (;;) {
		size_t here = l->n - l->at < n ? l->n - l->at : n;
		l->at += here;
		n -= here;
		if (n == 0)
			return;
		fill(l);
	}
}

uint64_t link_bytes(const struct link *l) { return l->bytes; }

/* -- messages -------------------------------------------------------------------------------------------------------- */

static const char *const sentences[] = {
	"Thank you for your letter of last week; the figures you asked for are below.",
	"We meet on Thursday at ten in the small room, please bring the second draft.",
	"The train leaves at 7:42 from platform 3 and arrives before noon.",
	"Nous avons bien recu votre commande et vous en remercions.",
	"If anything is missing, say so before the end of the month, so that it can still be changed.",
	"> On Tuesday you wrote that the list was complete, but I count two more.",
	"The invoice is attached. It replaces the one of the 14th, which had the wrong address.",
	"Best wishes to all of you, and see you soon."
};
enum { SENTENCES = sizeof(sentences) / sizeof(sentences[0]) };

static void write_text(FILE *out, size_t bytes, long number, const char *before, const char *after)
{
	size_t n = 0;

	for (unsigned long i = (unsigned long)number; n < bytes; i = i * 6364136223846793005UL + 1442695040888963407UL)
		n += (size_t)fprintf(out, "%s%s%s\r\n", before, sentences[(i >> 33) % SENTENCES], after);
}

static void write_base64(FILE *out, size_t bytes, long number)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned long x = (unsigned long)number * 2654435761UL + 1;

	for (size_t n = 0; n < bytes; n += 78) {
		for (int i = 0; i < 76; i++) {
			x = x * 6364136223846793005UL + 1442695040888963407UL;
			putc(digits[x >> 58], out);
		}
		fputs("\r\n", out);
	}
}

static size_t size_of(size_t size, long number)
{
	static const size_t mix[] = { 4000, 12000, 4000, 40000, 4000, 12000, 128000, 4000, 12000, 60000 };

	return size == SIZE_MIX ? mix[number % 10] : size;
}

void message_write(FILE *out, size_t size, long number, const char *from)
{
	size = size_of(size, number);
	bool html = size >= 12000, attached = size >= 40000;

	if (size >= 2000)  /* what relays add; a very small message is small because it has none of it */
		fprintf(out, "Received: from out.sender.test (out.sender.test [192.0.2.25])\r\n\tby mx.relay.test (Postfix) with ESMTPS id 4XyZ%08ld\r\n"
		             "\tfor <you@example.test>; Tue, 24 Nov 2026 10:00:01 +0000 (UTC)\r\n"
		             "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=sender.test; s=k1; t=1795514400;\r\n"
		             "\th=from:to:subject:date:message-id; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n"
		             "\tb=dGhpcyBpcyBub3QgYSBzaWduYXR1cmUgYnV0IGl0IGlzIGFzIGxvbmcgYXMgb25lIHdvdWxkIGJlIGFuZA\r\n"
		             "\t bG9va3MgbGlrZSBvbmUgdG8gYW55IHBhcnNlciB0aGF0IGRvZXMgbm90IGNoZWNrIGl0IGFnYWluc3Qga2V5\r\n", number);
	fprintf(out, "From: Load Generator <%s>\r\nTo: You <you@example.test>, Others <others@example.test>\r\n"
	             "Subject: Re: figures of week %ld\r\nDate: Tue, 24 Nov 2026 10:%02ld:%02ld +0000\r\n"
	             "Message-ID: <%ld.load@sender.test>\r\nIn-Reply-To: <%ld.load@sender.test>\r\nMIME-Version: 1.0\r\n",
	        from, number % 53, number / 60 % 60, number % 60, number, number - 1);
	if (attached)
		fputs("Content-Type: multipart/mixed; boundary=\"outer-bound\"\r\n\r\n--outer-bound\r\n", out);
	if (html)
		fputs("Content-Type: multipart/alternative; boundary=\"inner-bound\"\r\n\r\n--inner-bound\r\n", out);
	fputs("Content-Type: text/plain; charset=utf-8\r\n\r\n", out);
	size_t head = size >= 2000 ? 1300 : 500, body = size > head ? size - head : 1;
	size_t inner = attached ? 10000 : body;  /* the text, in both its forms */
	write_text(out, html ? inner / 4 : inner, number, "", "");
	if (html) {
		fputs("\r\n--inner-bound\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body>\r\n", out);
		write_text(out, inner - inner / 4, number, "<p style=\"margin:0\">", "</p>");
		fputs("</body></html>\r\n\r\n--inner-bound--\r\n", out);
	}
	if (attached) {
		fputs("\r\n--outer-bound\r\nContent-Type: application/pdf; name=\"figures.pdf\"\r\nContent-Disposition: attachment; "
		      "filename=\"figures.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n", out);
		write_base64(out, body - inner, number);
		fputs("\r\n--outer-bound--\r\n", out);
	}
}

/* -- logins ---------------------------------------------------------------------------------------------------------- */

struct login *logins_read(const char *path, long *n)
{
	FILE *f = fopen(path, "r");
	struct login *all = NULL, one;
	long room = 0;

	if (f == NULL)
		load_fail("open %s", path);
	for (*n = 0; fscanf(f, "%127s %127[^\n]", one.address, one.password) == 2; (*n)++) {
		if (*n == room)
			all = must(realloc(all, (size_t)(room = room * 2 + 16) * sizeof(one)));
		all[*n] = one;
	}
	fclose(f);
	if (*n == 0)
		load_fail("no logins in %s", path);
	return all;
}

/* -- measuring ------------------------------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t prepared, go, done;
static uint32_t *times;
static size_t times_n, times_most;
static uint64_t all_bytes, all_answers;
static void (*task)(long index);

void times_room(size_t most) { times = must(calloc(times_most = most, sizeof(*times))); }

void times_add(int64_t us)
{
	pthread_mutex_lock(&lock);
	if (times_n < times_most)
		times[times_n++] = (uint32_t)(us < 0 ? 0 : us);
	pthread_mutex_unlock(&lock);
}

void load_add(uint64_t bytes, uint64_t answers)
{
	pthread_mutex_lock(&lock);
	all_bytes += bytes;
	all_answers += answers;
	pthread_mutex_unlock(&lock);
}

void load_ready(void)
{
	pthread_barrier_wait(&prepared);
	pthread_barrier_wait(&go);
}

static void *thread(void *index)
{
	task((long)(intptr_t)index);
	pthread_barrier_wait(&done);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void wait_for_line(void)
{
	while (getchar() != '\n')
		if (feof(stdin))
			exit(1);  /* whoever started us is gone */
}

void load_run(long connections, void (*work)(long index))
{
	pthread_attr_t small;
	pthread_t t;

	task = work;
	pthread_barrier_init(&prepared, NULL, (unsigned)connections + 1);
	pthread_barrier_init(&go, NULL, (unsigned)connections + 1);
	pthread_barrier_init(&done, NULL, (unsigned)connections + 1);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 256 * 1024);
	for (long i = 0; i < connections; i++)
		if (pthread_create(&t, &small, thread, (void *)(intptr_t)i) != 0)
			load_fail("no more threads after %ld", i);
	pthread_barrier_wait(&prepared);
	puts("ready");
	fflush(stdout);
	wait_for_line();
	int64_t start = now_us();
	pthread_barrier_wait(&go);
	pthread_barrier_wait(&done);
	double seconds = (double)(now_us() - start) / 1e6;
	qsort(times, times_n, sizeof(*times), compare);
	printf("{\"count\": %zu, \"seconds\": %.6f, \"per_second\": %.1f, \"p50_us\": %u, \"p99_us\": %u, \"max_us\": %u, \"bytes\": %llu, "
	       "\"answers\": %llu}\n", times_n, seconds, (double)times_n / seconds, times_n ? times[times_n / 2] : 0,
	       times_n ? times[times_n * 99 / 100] : 0, times_n ? times[times_n - 1] : 0, (unsigned long long)all_bytes,
	       (unsigned long long)all_answers);
	fflush(stdout);
	while (getchar() != EOF)
		;
	exit(0);  /* the connections end with us */
}
