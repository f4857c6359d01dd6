/* A fetch goes through its states by itself:
 *
 *      names ──► address, one after the other: connect ──► TLS ──► request out ──► answer in ──► done
 *
 * Until the request is out a failure only costs the address: the next one is tried, and the last reason is told when none is left.
 * One timer bounds the whole, another each attempt to connect, so that a silent address leaves time for the next. */
#include "http/fetch.h"
#include "base/mem.h"
#include "dns/mx.h"
#include "dns/record.h"
#include "net/stream.h"
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

enum { ADDRESSES_MAX = 4, CONNECT_MS = 10000, PIECE = 16384, REQUEST_MAX = 4096 };   /* addresses of each family */

enum step { STEP_NAMES, STEP_CONNECT, STEP_TLS, STEP_REQUEST, STEP_ANSWER };

struct http_fetch {
	struct loop       *loop;
	struct tls_client *tls;
	http_done          done;
	void              *context;
	struct arena       arena;
	struct str         host, why;     /* why the last attempt failed */
	uint16_t           port;
	enum step          step;
	struct question   *questions[2];  /* AAAA, A */
	struct peer        addresses[2][ADDRESSES_MAX];
	size_t             counts[2], tried;
	struct stream      stream;
	struct loop_fd     watch;
	struct loop_timer  deadline, attempt;
	struct buf         request;
	size_t             sent;
	struct http_answer answer;
	bool               has_bad_certificate;   /* the last address that was spoken to */
	bool                public_only;
};

static void hang_up(struct http_fetch *f)
{
	loop_timer_stop(f->loop, &f->attempt);
	loop_unwatch(f->loop, &f->watch);
	if (f->stream.fd >= 0)
		stream_close(&f->stream);
	f->stream = (struct stream){ .fd = -1 };
}

static void fetch_free(struct http_fetch *f)
{
	hang_up(f);
	question_cancel(f->questions[0]);
	question_cancel(f->questions[1]);
	loop_timer_stop(f->loop, &f->deadline);
	http_answer_free(&f->answer);
	buf_free(&f->request);
	arena_free(&f->arena);
	mem_free(f);
}

static void finish(struct http_fetch *f, enum err e, struct str why)
{
	struct http_fetched result = { .e = e, .why = why, .answer = e == ERR_OK ? &f->answer : NULL, .has_bad_certificate = f->has_bad_certificate };
	http_done done = f->done;

	f->done = NULL;
	hang_up(f);
	if (done)
		done(f->context, &result);
	fetch_free(f);
}

void http_cancel(struct http_fetch *f)
{
	if (f != NULL)
		fetch_free(f);
}

static void over_time(void *context)
{
	struct http_fetch *f = context;

	finish(f, ERR_TIMEOUT, f->why.n ? f->why : arena_printf(&f->arena, STR_FMT " did not answer in time", STR_ARG(f->host)));
}

static void next_address(struct http_fetch *f);

/* ---- request and answer ---- */

static void watch(struct http_fetch *f, bool reads, bool writes) { loop_watch(f->loop, &f->watch, stream_wants(&f->stream, reads, writes)); }

static void read_answer(struct http_fetch *f)
{
	char room[PIECE];
	size_t got = 0;
	enum err e = ERR_AGAIN, r;

	while (e == ERR_AGAIN && (r = stream_read(&f->stream, room, sizeof room, &got)) != ERR_AGAIN)
		e = r == ERR_OK ? http_answer_take(&f->answer, str_make(room, got)) : http_answer_end(&f->answer, tls_client_has_ended(f->stream.tls));
	if (e == ERR_AGAIN)
		watch(f, true, false);
	else
		finish(f, e, e == ERR_OK ? STR_NONE : arena_printf(&f->arena, STR_FMT ": %s", STR_ARG(f->host), f->answer.why));
}

static void send_request(struct http_fetch *f)
{
	struct str rest = str_from(buf_str(&f->request), f->sent);
	size_t taken;
	enum err e = ERR_OK;

	while (rest.n && (e = stream_write(&f->stream, rest, &taken)) == ERR_OK) {
		f->sent += taken;
		rest = str_from(rest, taken);
	}
	if (e == ERR_AGAIN) {
		watch(f, false, true);
	} else if (e != ERR_OK) {
		finish(f, ERR_CLOSED, arena_printf(&f->arena, STR_FMT " closed the connection", STR_ARG(f->host)));
	} else {
		f->step = STEP_ANSWER;
		read_answer(f);
	}
}

/* ---- one address ---- */

static void failed(struct http_fetch *f, struct str why)
{
	char room[PEER_TEXT_MAX];
	size_t at = (f->tried - 1) / 2, family = (f->tried - 1) % 2;
	struct str address = peer_text(&f->addresses[family][at], room);

	f->why = arena_printf(&f->arena, STR_FMT " [" STR_FMT "]: " STR_FMT, STR_ARG(f->host), STR_ARG(address), STR_ARG(why));
	hang_up(f);
	next_address(f);
}

static void over_attempt(void *context)
{
	struct http_fetch *f = context;

	failed(f, f->step == STEP_CONNECT ? STR("no connection in time") : STR("no TLS in time"));
}

static void shake_hands(struct http_fetch *f)
{
	enum err e = stream_handshake(&f->stream);

	if (e == ERR_AGAIN) {
		watch(f, true, false);
	} else if (e != ERR_OK) {
		f->has_bad_certificate = tls_client_flaw(f->stream.tls) != TLS_FLAW_NONE;
		failed(f, tls_client_failure(f->stream.tls, &f->arena));
	} else {
		loop_timer_stop(f->loop, &f->attempt);
		f->step = STEP_REQUEST;
		send_request(f);
	}
}

static void connected(struct http_fetch *f)
{
	struct tls_expect expect = { .trust = TLS_TRUST_AUTHORITIES, .server_name = f->host, .names = &f->host, .name_count = 1 };
	int error = 0;
	socklen_t n = sizeof error;

	if (getsockopt(f->stream.fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0 || error) {
		failed(f, arena_printf(&f->arena, "no connection: %s", strerror(error ? error : errno)));
		return;
	}
	f->stream.tls = tls_connect(f->tls, f->stream.fd, &expect);
	if (f->stream.tls == NULL) {
		failed(f, STR("TLS is not possible here"));
		return;
	}
	f->stream.is_handshaking = true;
	f->step = STEP_TLS;
	shake_hands(f);
}

static void ready(void *context, UNUSED unsigned events)
{
	struct http_fetch *f = context;

	switch (f->step) {
	case STEP_NAMES: break;
	case STEP_CONNECT: connected(f); break;
	case STEP_TLS: shake_hands(f); break;
	case STEP_REQUEST: send_request(f); break;
	case STEP_ANSWER: read_answer(f); break;
	}
}

static socklen_t sockaddr_of(const struct peer *p, uint16_t port, struct sockaddr_storage *out)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	memcpy(&v4.sin_addr, p->address + 12, 4);
	memcpy(&v6.sin6_addr, p->address, 16);
	if (peer_is_v4(p))
		memcpy(out, &v4, sizeof v4);
	else
		memcpy(out, &v6, sizeof v6);
	return peer_is_v4(p) ? sizeof v4 : sizeof v6;
}

static void try_address(struct http_fetch *f, const struct peer *p)
{
	struct sockaddr_storage address = { 0 };
	socklen_t n = sockaddr_of(p, f->port, &address);
	const struct sockaddr *to = (const struct sockaddr *)(const void *)&address;

	f->step = STEP_CONNECT;
	f->stream = (struct stream){ .fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) };
	if (f->stream.fd < 0 || (connect(f->stream.fd, to, n) < 0 && errno != EINPROGRESS)) {
		failed(f, arena_printf(&f->arena, "no connection: %s", strerror(errno)));
		return;
	}
	f->watch = (struct loop_fd){ .ready = ready, .context = f, .fd = f->stream.fd };
	loop_watch(f->loop, &f->watch, LOOP_WRITE);
	loop_timer_in(f->loop, &f->attempt, CONNECT_MS);
}

/* The families by turns, IPv6 first. */
static void next_address(struct http_fetch *f)
{
	while (f->tried < 2 * ADDRESSES_MAX) {
		size_t family = f->tried % 2, at = f->tried / 2;
		f->tried++;
		if (at < f->counts[family]) {
			try_address(f, &f->addresses[family][at]);
			return;
		}
	}
	finish(f, ERR_UNAVAILABLE, f->why.n ? f->why : arena_printf(&f->arena, STR_FMT " has no address", STR_ARG(f->host)));
}

/* ---- the name ---- */

static void take_addresses(struct http_fetch *f, size_t family, const struct dns_answer *a)
{
	f->questions[family] = NULL;
	if (a->outcome == DNS_FAILED || a->outcome == DNS_FORGED)
		f->why = arena_printf(&f->arena, "the address of " STR_FMT " could not be looked up: " STR_FMT, STR_ARG(f->host), STR_ARG(a->why));
	for (size_t i = 0; i < a->n && f->counts[family] < ADDRESSES_MAX; i++) {
		struct peer *address = &f->addresses[family][f->counts[family]];
		if (!dns_read_address(a->records[i], address))
			continue;
		if (f->public_only && mx_is_private(address))
			f->why = arena_printf(&f->arena, STR_FMT " has an address of a private network: nothing is fetched there because "
			                      "others say so (smtp_to_private in facteur.conf allows it)", STR_ARG(f->host));
		else
			f->counts[family]++;
	}
	if (f->questions[0] == NULL && f->questions[1] == NULL)
		next_address(f);
}

static void answered_v6(void *context, const struct dns_answer *a) { take_addresses(context, 0, a); }
static void answered_v4(void *context, const struct dns_answer *a) { take_addresses(context, 1, a); }

static void put_request(struct buf *b, const struct http_place *p)
{
	bool is_post = p->type.n > 0;

	buf_printf(b, "%s " STR_FMT " HTTP/1.1\r\nHost: " STR_FMT, is_post ? "POST" : "GET", STR_ARG(p->path), STR_ARG(p->host));
	if (p->port != 443)
		buf_printf(b, ":%u", p->port);
	buf_add_cstr(b, "\r\nUser-Agent: facteur\r\nAccept: */*\r\nConnection: close\r\n");
	if (is_post)
		buf_printf(b, "Content-Type: " STR_FMT "\r\nContent-Length: %zu\r\n", STR_ARG(p->type), p->body.n);
	buf_add_cstr(b, "\r\n");
	buf_add(b, p->body);
}

struct http_fetch *http_get(struct resolver *resolver, struct tls_client *tls, const struct http_place *p, http_done done, void *context)
{
	struct http_fetch *f = MEM_NEW(struct http_fetch);

	*f = (struct http_fetch){ .loop = resolver_loop(resolver), .tls = tls, .done = done, .context = context, .port = p->port,
	                          .public_only = p->public_only,
	                          .stream = { .fd = -1 }, .request = BUF(REQUEST_MAX + p->body.n) };
	f->host = str_copy(&f->arena, p->host);
	http_answer_init(&f->answer, p->body_max);
	put_request(&f->request, p);
	f->deadline = (struct loop_timer){ .due = over_time, .context = f };
	f->attempt = (struct loop_timer){ .due = over_attempt, .context = f };
	loop_timer_in(f->loop, &f->deadline, p->deadline_ms);
	f->questions[0] = resolver_ask(resolver, f->host, DNS_AAAA, answered_v6, f);
	f->questions[1] = resolver_ask(resolver, f->host, DNS_A, answered_v4, f);
	return f;
}
