/* A connection to another server: socket, TLS and timer around an smtp_sender. It never waits: whatever happens, talk() writes what the
 * sender has, reads what is there, and looks what has become of it.
 *
 * A connection that broke is freed at once, wherever we are; so nothing touches it after a call that may have done so. */
#include "deliver/outbound_private.h"
#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_PIECE = 16 << 10, ROUND_MAX = 64, WRITE_MAX = 256 << 10, HELD_MS = 60000 };
enum { CONTENT_GRACE_MS = 180 * 1000, CONTENT_BYTE_MS = 2 };   /* 500 bytes a second, after three minutes */

static void talk(struct outbound_connection *c);

/* ---- life ---- */

static void unhold(struct outbound_connection *c)
{
	if (c->state == CONNECTION_HELD)
		map_set_u64(&c->outbound->held, c->number, NULL);
}

void connection_free(struct outbound_connection *c)
{
	struct outbound *r = c->outbound;

	loop_unwatch(r->loop, &c->watch);
	loop_timer_stop(r->loop, &c->timer);
	stream_close(&c->stream);
	smtp_sender_free(c->sender);
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	unhold(c);
	place_leave(c);
	arena_free(&c->arena);
	mem_free(c);
}

/* Nothing more comes of it: the job hears why. */
static void lost(struct outbound_connection *c, struct smtp_result why)
{
	struct outbound_job *j = c->job;

	if (j) {
		if (why.at == SMTP_AT_STARTTLS)  /* not offered, or refused; what was tried and failed is counted already */
			report_in_clear(c);
		c->job = NULL;
		job_lost(j, &why);  /* copies what it keeps */
	}
	connection_free(c);
}

static struct smtp_result own_words(struct outbound_connection *c, const char *status, enum smtp_stage at, struct str text)
{
	return (struct smtp_result){ .outcome = SMTP_OUTCOME_DEFERRED, .is_own_word = true, .at = at, .status = str_of(status),
	                             .text = str_copy(&c->arena, text) };
}

static void closed(struct outbound_connection *c, const char *why, bool is_clean)
{
	smtp_sender_closed(c->sender, str_of(why), is_clean);
	lost(c, *smtp_sender_failure(c->sender));
}

void connection_give_up(struct outbound_connection *c, const char *why) { closed(c, why, false); }

static int64_t content_until_ms(const struct outbound_connection *c)
{
	return c->content_ms == 0 ? INT64_MAX : c->content_ms + CONTENT_GRACE_MS + (int64_t)smtp_sender_content_out(c->sender) * CONTENT_BYTE_MS;
}

static void on_timer(void *context)
{
	struct outbound_connection *c = context;

	switch (c->state) {
	case CONNECTION_OPENING:
		lost(c, own_words(c, "4.4.1", SMTP_AT_GREETING, arena_printf(&c->arena, "no connection to port %u within %d s: no answer",
		                                                               c->port, c->outbound->settings.connect_ms / 1000)));
		return;
	case CONNECTION_FREE:
		connection_leave(c);
		return;
	case CONNECTION_LEAVING:
		connection_free(c);
		return;
	case CONNECTION_HELD:  /* a SENT that does not come: the queue is busy, or has other troubles */
		connection_leave(c);
		return;
	case CONNECTION_TALKING:
		closed(c, clock_mono_ms() >= content_until_ms(c) ? "the server takes the message too slowly" : "no answer for too long", false);
	}
}

/* The peer has as long as RFC 5321 gives it, from its last sign of progress on, and with all its progress as long as the job has. While it
 * takes a message, a drop now and then is no progress. */
static void set_timer(struct outbound_connection *c)
{
	uint64_t progress = smtp_sender_progress(c->sender);
	int64_t at_ms = clock_mono_ms() + (int64_t)smtp_sender_patience_s(c->sender) * 1000;

	if (c->timer.place && progress == c->progress)
		return;
	c->progress = progress;
	if (c->job && c->job->until_ms < at_ms)
		at_ms = c->job->until_ms;
	if (content_until_ms(c) < at_ms)
		at_ms = content_until_ms(c);
	loop_timer_at(c->outbound->loop, &c->timer, at_ms);
}

/* ---- opening ---- */

union address { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; };

static socklen_t to_sockaddr(const struct peer *p, uint16_t port, union address *a)
{
	*a = (union address){ 0 };
	if (peer_is_v4(p)) {
		a->v4.sin_family = AF_INET;
		a->v4.sin_port = htons(port);
		memcpy(&a->v4.sin_addr, p->address + 12, 4);
		return sizeof(a->v4);
	}
	a->v6.sin6_family = AF_INET6;
	a->v6.sin6_port = htons(port);
	memcpy(&a->v6.sin6_addr, p->address, 16);
	return sizeof(a->v6);
}

static void no_connection(struct outbound_connection *c, int why)
{
	lost(c, own_words(c, "4.4.1", SMTP_AT_GREETING,
	                  arena_printf(&c->arena, "no connection to port %u: %s", c->port, strerror(why))));
}

static void on_ready(void *context, UNUSED unsigned events)
{
	struct outbound_connection *c = context;
	int why = 0;
	socklen_t n = sizeof(why);

	if (c->state == CONNECTION_OPENING) {
		if (getsockopt(c->stream.fd, SOL_SOCKET, SO_ERROR, &why, &n) < 0 || why != 0) {
			no_connection(c, why ? why : errno);
			return;
		}
		c->state = CONNECTION_TALKING;
		loop_timer_stop(c->outbound->loop, &c->timer);
	}
	talk(c);
}

static struct str copy_all(struct arena *a, struct str s) { return s.n ? str_copy(a, s) : STR(""); }

/* What the certificate has to show. The route goes with the job, the connection may outlive it. */
static void set_expectation(struct outbound_connection *c, const struct outbound_job *j, const struct mx_host *host)
{
	static const enum smtp_sender_tls by_way[] = {
		[OUTBOUND_TLS_MAY] = SMTP_TLS_MAY, [OUTBOUND_TLS_NEVER] = SMTP_TLS_NEVER, [OUTBOUND_TLS_ENCRYPT] = SMTP_TLS_MUST,
		[OUTBOUND_TLS_VERIFY] = SMTP_TLS_MUST, [OUTBOUND_TLS_IMPLICIT] = SMTP_TLS_IMPLICIT,
	};
	bool must_prove = job_requires_tls(j) || j->way.tls >= OUTBOUND_TLS_VERIFY || job_has_policy(j, host);
	struct str *names = arena_array(&c->arena, host->name_count + 1, sizeof(*names));
	struct tls_pin *pins = arena_array(&c->arena, host->tlsa_count + 1, sizeof(*pins));
	bool is_dane = host->dane == MX_DANE_VERIFY && !job_is_relaxed(j);
	bool must_encrypt = is_dane || (host->dane == MX_DANE_ENCRYPT && !job_is_relaxed(j)) || must_prove;

	for (size_t i = 0; i < host->name_count; i++)
		names[i] = str_copy(&c->arena, host->names[i]);
	if (!is_dane || host->name_count == 0)
		names[0] = copy_all(&c->arena, host->name);
	for (size_t i = 0; i < host->tlsa_count; i++) {
		const struct dns_tlsa *t = &host->tlsa[i];
		pins[i] = (struct tls_pin){ t->usage, t->selector, t->matching, str_copy(&c->arena, t->data) };
	}
	bool is_named = names[0].n > 0 && names[0].p[0] != '[';
	c->tls = by_way[j->way.tls];
	if (c->tls == SMTP_TLS_MAY)
		c->tls = must_encrypt ? SMTP_TLS_MUST : j->in_clear ? SMTP_TLS_NEVER : SMTP_TLS_MAY;
	c->expect = (struct tls_expect){
		.trust = is_dane ? TLS_TRUST_DANE : must_prove && is_named ? TLS_TRUST_AUTHORITIES : TLS_TRUST_ANY,
		.server_name = is_named ? names[0] : STR(""), .names = names, .name_count = !is_named ? 0 : is_dane ? host->name_count : 1,
		.pins = pins, .pin_count = host->tlsa_count,
	};
}

/* -1: not even begun; errno says why. */
static int socket_to(const struct outbound_way *way, const struct peer *to)
{
	static const struct peer any = { 0 };
	const struct peer *from = way_source(way, to);
	union address a, source;
	int on = 1, e;
	socklen_t n = to_sockaddr(to, way->port, &a);
	int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	bool is_bound = memcmp(from->address, any.address, sizeof(any.address)) == 0 || bind(fd, &source.any, to_sockaddr(from, 0, &source)) == 0;
	if (!is_bound || (connect(fd, &a.any, n) < 0 && errno != EINPROGRESS)) {
		e = errno;
		fd_close(&fd);
		errno = e;
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static struct str no_socket(struct outbound_job *j, const struct peer *to, int why)
{
	struct str source = peer_is_v4(to) ? j->in.send.source_ipv4 : j->in.send.source_ipv6;

	if (why == EADDRNOTAVAIL && source.n > 0)
		return arena_printf(&j->arena, "mail is to be sent from " STR_FMT " (setting %s), which is no address of this machine", STR_ARG(source),
		                    peer_is_v4(to) ? "source_ipv4" : "source_ipv6");
	return arena_printf(&j->arena, "no connection to port %u: %s", j->way.port, strerror(why));
}

bool connection_open(struct outbound_job *j, const struct mx_host *host, const struct peer *address, struct str *why)
{
	struct outbound *r = j->outbound;
	char text[PEER_TEXT_MAX];
	int fd = socket_to(&j->way, address);

	if (fd < 0) {
		int e = errno;
		*why = no_socket(j, address, e);
		errno = e;
		return false;
	}
	struct outbound_connection *c = MEM_NEW(struct outbound_connection);
	*c = (struct outbound_connection){
		.outbound = r, .next = r->connections, .link = &r->connections, .stream = { .fd = fd }, .job = j, .address = *address,
		.watch = { .ready = on_ready, .context = c, .fd = fd }, .timer = { .due = on_timer, .context = c },
	};
	if (r->connections)
		r->connections->link = &c->next;
	r->connections = c;
	c->destination = str_copy(&c->arena, j->way.name);
	c->port = j->way.port;
	c->opened_ms = clock_mono_ms();
	c->source = *way_source(&j->way, address);
	c->is_relaxed = job_is_relaxed(j);
	c->is_shareable = j->way.host.n == 0;
	c->host_name = copy_all(&c->arena, host->name);
	place_enter(c);
	c->host = arena_printf(&c->arena, "[" STR_FMT "]", STR_ARG(peer_text(address, text)));
	if (!str_eq(c->host, host->name))  /* an address that was given is its own name */
		c->host = arena_printf(&c->arena, STR_FMT " " STR_FMT, STR_ARG(host->name), STR_ARG(c->host));
	c->tls_words = STR("");
	set_expectation(c, j, host);
	c->has_login = j->way.login.n > 0;
	c->sender = smtp_sender_new(&(struct smtp_sender_config){ .hostname = r->settings.hostname, .is_lmtp = j->way.is_lmtp, .tls = c->tls,
		.avoids_chunking = map_get(&r->without_bdat, c->host_name) != NULL, .login = j->way.login, .password = j->password, .login_in_clear = peer_is_loopback(address), .is_given = j->way.host.n > 0 });
	j->connection = c;
	loop_watch(r->loop, &c->watch, LOOP_WRITE);
	loop_timer_in(r->loop, &c->timer, r->settings.connect_ms);
	return true;
}

/* ---- talking ---- */

/* False: not all could be written now, or it is the turn of others. One that is broken is no matter of ours: reading gives what was still
 * said, and then the end. */
static bool write_some(struct outbound_connection *c)
{
	uint64_t end = c->stream.bytes_out + WRITE_MAX;

	for (struct str out; (out = smtp_sender_output(c->sender)).n > 0;) {
		size_t taken = 0;
		if (c->stream.bytes_out >= end || stream_write(&c->stream, out, &taken) != ERR_OK)
			return false;
		smtp_sender_wrote(c->sender, taken);
	}
	return true;
}

/* False: the connection is gone. */
static bool read_all(struct outbound_connection *c)
{
	char room[READ_PIECE];

	for (int i = 0; i < ROUND_MAX; i++) {
		size_t got = 0;
		errno = 0;
		enum err e = stream_read(&c->stream, room, sizeof(room), &got);
		if (e == ERR_AGAIN)
			return true;
		if (e != ERR_OK) {
			closed(c, errno == ECONNRESET ? "the connection was reset" : "the connection was closed", errno != ECONNRESET);
			return false;
		}
		smtp_sender_input(c->sender, str_make(room, got));
		if (smtp_sender_state(c->sender) != SMTP_SENDER_BUSY)
			return true;
	}
	return true;
}

/* What calls itself TLS there does not work. Where nothing asks for it, clear text is what everybody did before (RFC 7435). */
static void tls_failed(struct outbound_connection *c)
{
	struct outbound_job *j = c->job;
	struct str why = tls_client_failure(c->stream.tls, &c->arena);

	report_broken(c);
	if (j && c->tls == SMTP_TLS_MAY) {
		j->in_clear = true;
		j->target--;  /* the one that this connection went to */
	}
	lost(c, own_words(c, c->tls != SMTP_TLS_MAY ? "4.7.5" : "4.7.0", SMTP_AT_STARTTLS, why));
}

/* ERR_OK: encrypted. ERR_AGAIN: wait. ERR_CLOSED: the connection is gone. */
static enum err shake_hands(struct outbound_connection *c)
{
	if (c->stream.tls == NULL) {
		c->stream.tls = tls_connect(c->outbound->tls, c->stream.fd, &c->expect);
		c->stream.is_handshaking = true;
	}
	if (c->stream.tls == NULL) {
		lost(c, own_words(c, "4.7.0", SMTP_AT_STARTTLS, STR("TLS is not possible on this server: its log says more")));
		return ERR_CLOSED;
	}
	enum err e = stream_handshake(&c->stream);
	if (e == ERR_AGAIN)
		return e;
	if (e != ERR_OK) {
		tls_failed(c);
		return ERR_CLOSED;
	}
	c->tls_words = tls_client_words(c->stream.tls, &c->arena);
	c->is_proven = tls_client_is_proven(c->stream.tls);
	report_secured(c);
	if (c->has_login && !c->is_proven && !peer_is_loopback(&c->address)) {
		lost(c, own_words(c, "4.7.5", SMTP_AT_LOGIN, arena_printf(&c->arena, "the certificate of the server proves nothing (" STR_FMT "), so it does "
		                                                           "not get the password", STR_ARG(c->tls_words))));
		return ERR_CLOSED;
	}
	smtp_sender_secured(c->sender);
	return ERR_OK;
}

static void rewatch(struct outbound_connection *c)
{
	bool writes = smtp_sender_output(c->sender).n > 0;

	if (smtp_sender_content_out(c->sender) == 0)
		c->content_ms = 0;
	else if (c->content_ms == 0)
		c->content_ms = clock_mono_ms();
	loop_watch(c->outbound->loop, &c->watch, stream_wants(&c->stream, true, writes));
	if (c->state == CONNECTION_TALKING || c->state == CONNECTION_LEAVING)
		set_timer(c);
}

static void talk(struct outbound_connection *c)
{
	enum smtp_sender_state state;
	enum err e;
	bool all_written;

	do {
		e = smtp_sender_state(c->sender) == SMTP_SENDER_STARTTLS ? shake_hands(c) : ERR_OK;
		if (e == ERR_CLOSED)
			return;
		if (e == ERR_AGAIN)
			break;
		all_written = write_some(c);
		if (!read_all(c))
			return;
		state = smtp_sender_state(c->sender);
		if (state == SMTP_SENDER_OVER) {
			lost(c, *smtp_sender_failure(c->sender));
			return;
		}
		if (state == SMTP_SENDER_READY)
			report_in_clear(c);
		if (c->state == CONNECTION_TALKING && (state == SMTP_SENDER_READY || state == SMTP_SENDER_FINISHED)) {
			(state == SMTP_SENDER_READY ? job_ready : job_finished)(c->job);
			return;
		}
	} while (state == SMTP_SENDER_STARTTLS || (all_written && smtp_sender_output(c->sender).n > 0));
	rewatch(c);
}

void connection_go_on(struct outbound_connection *c) { talk(c); }

void connection_rest(struct outbound_connection *c)
{
	loop_timer_stop(c->outbound->loop, &c->timer);
	loop_watch(c->outbound->loop, &c->watch, stream_wants(&c->stream, true, false));
}

/* ---- after a message ---- */

void connection_use(struct outbound_connection *c, struct outbound_job *j)
{
	unhold(c);
	c->state = CONNECTION_TALKING;
	c->is_reused = true;
	c->job = j;
	j->connection = c;
	loop_timer_stop(c->outbound->loop, &c->timer);
	job_ready(j);
}

void connection_hold(struct outbound_connection *c, uint64_t number)
{
	c->job = NULL;
	c->number = number;
	c->state = CONNECTION_HELD;
	map_set_u64(&c->outbound->held, number, c);
	loop_timer_in(c->outbound->loop, &c->timer, HELD_MS);
	rewatch(c);
}

bool connection_is_good(const struct outbound_connection *c)
{
	return smtp_sender_messages(c->sender) < c->outbound->settings.messages_max && !c->outbound->stops && !c->outbound->is_ending;
}

void connection_release(struct outbound_connection *c)
{
	if (!connection_is_good(c)) {
		connection_leave(c);
		return;
	}
	unhold(c);
	c->state = CONNECTION_FREE;
	loop_timer_in(c->outbound->loop, &c->timer, c->outbound->settings.keep_ms);
}

void connection_leave(struct outbound_connection *c)
{
	c->job = NULL;
	unhold(c);
	c->state = CONNECTION_LEAVING;
	loop_timer_stop(c->outbound->loop, &c->timer);
	if (smtp_sender_state(c->sender) != SMTP_SENDER_BUSY)
		smtp_sender_quit(c->sender);
	talk(c);
}
