/* A SEND from the question where to the answer.
 *
 * Which failures lead to the next host: whatever happens before a host has taken the sender (no connection, its greeting, EHLO, TLS, a
 * temporary no to MAIL). From the recipients on the host has looked at this message, and what it says counts: asking another one at once
 * would only tell a greylist to be annoyed. All hosts having said "never" to the connection is a "never"; anything else is tried again.
 *
 * A connection that was kept may have been closed by the other side while our first words were under way. That is nobody's failure: the
 * message begins anew, with a connection of its own. */
#include "deliver/outbound_private.h"
#include "base/clock.h"
#include "base/log.h"

enum { ATTEMPT_ADDRESSES_MAX = 8 };  /* addresses tried for one SEND; the queue comes again later */

const struct outbound_settings outbound_defaults = {
	.port = 25, .connections_max = 500, .per_address_max = 20, .connect_ms = 10000, .keep_ms = 5000, .messages_max = 100,
	.send_ms = SEND_TIMEOUT_MS - 20 * 60 * 1000,
};

static void find_way(struct outbound_job *j);
static void next_target(struct outbound_job *j);

/* ---- the lists ---- */

static void unlink_job(struct outbound_job *j)
{
	if (j->outbound->waiting_end == &j->next)
		j->outbound->waiting_end = j->link;
	*j->link = j->next;
	if (j->next)
		j->next->link = j->link;
}

static void link_job(struct outbound_job *j)
{
	struct outbound *r = j->outbound;

	j->is_waiting = false;
	j->next = r->jobs;
	j->link = &r->jobs;
	if (r->jobs)
		r->jobs->link = &j->next;
	r->jobs = j;
}

static void wait_for_room(struct outbound_job *j)
{
	struct outbound *r = j->outbound;

	unlink_job(j);
	j->is_waiting = true;
	j->next = NULL;
	j->link = r->waiting_end;
	*r->waiting_end = j;
	r->waiting_end = &j->next;
}

static void job_free(struct outbound_job *j)
{
	unlink_job(j);
	mx_cancel(j->search);
	sts_cancel(j->policy_search);
	mx_route_free(j->route);
	message_release(j);
	send_release(&j->in);
	arena_free(&j->arena);
	mem_free(j);
}

/* ---- answers ---- */

static void answer(struct outbound_job *j)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	const struct send_answer a = { .feedback = j->feedback, .n = j->in.send.n, .results = j->results, .n_attempts = j->attempt_count,
	                               .attempts = j->attempts };

	send_answer_encode(&a, &b);
	channel_reply(j->queue, j->call, ERR_OK, buf_str(&b), NULL, 0);
	job_free(j);
}

static void settle_open(struct outbound_job *j, enum delivery_outcome outcome, const char *status, struct str text)
{
	for (size_t i = 0; i < j->in.send.n; i++)
		if (j->results[i].outcome == 0)
			result_set(j, i, outcome, status, text);
}

static void note_attempt(struct outbound_job *j, struct str host, struct str text)
{
	if (j->attempt_count == SEND_ATTEMPTS_MAX)
		return;
	j->attempts[j->attempt_count++] = (struct send_attempt){ str_copy(&j->arena, host), str_copy(&j->arena, text) };
}

/* What a server said to a recipient. */
static void take_result(struct outbound_job *j, size_t i, const struct smtp_result *r)
{
	static const enum delivery_outcome outcomes[] = {
		[SMTP_OUTCOME_NONE] = DELIVERY_DEFERRED, [SMTP_OUTCOME_DONE] = DELIVERY_DONE, [SMTP_OUTCOME_DEFERRED] = DELIVERY_DEFERRED,
		[SMTP_OUTCOME_REFUSED] = DELIVERY_REFUSED,
	};

	result_set(j, i, outcomes[r->outcome], "", r->text);
	j->results[i].status = str_copy(&j->arena, r->status);
	j->results[i].has_passed_dsn = r->passed_dsn;
	j->results[i].is_unsure = r->is_own_word && r->at == SMTP_AT_END;
}

static void take_results(struct outbound_job *j, const struct smtp_result *results)
{
	for (size_t i = 0; i < j->outgoing.n; i++)
		take_result(j, j->who[i], &results[i]);
}

/* The host of the connection is out: why, also as what to say if nobody else takes it. */
static void note_failure(struct outbound_job *j, const struct smtp_result *why)
{
	note_attempt(j, j->connection->host, why->text);
	j->feedback = why->is_own_word ? SEND_UNREACHABLE : SEND_BUSY;
	j->all_refused &= why->outcome == SMTP_OUTCOME_REFUSED;
	take_result(j, 0, why);
	j->results[0].outcome = 0;
}

/* ---- what connections report ---- */

void job_ready(struct outbound_job *j)
{
	struct outbound_connection *c = j->connection;
	uint64_t number = j->in.send.number;

	j->feedback = SEND_GOOD;
	if (message_fit(j, smtp_sender_offers(c->sender), c->is_proven)) {
		smtp_sender_begin(c->sender, &j->outgoing);
		connection_go_on(c);
		return;
	}
	connection_hold(c, number);
	answer(j);
}

void job_finished(struct outbound_job *j)
{
	struct outbound_connection *c = j->connection;
	const struct smtp_result *results = smtp_sender_results(c->sender);
	uint64_t number = j->in.send.number;

	if (results[0].at == SMTP_AT_MAIL && results[0].outcome == SMTP_OUTCOME_DEFERRED) {
		note_failure(j, &results[0]);
		smtp_sender_next(c->sender);
		connection_leave(c);
		j->connection = NULL;
		next_target(j);
		return;
	}
	take_results(j, results);
	smtp_sender_next(c->sender);
	if (smtp_sender_state(c->sender) == SMTP_SENDER_READY)
		connection_hold(c, number);
	else
		connection_leave(c);
	answer(j);
}

/* Has this host, on this connection, done nothing with the message yet? Where it took the recipients in several turns, the later ones
 * begin with MAIL too: whoever was decided about before must not get the message again. */
static bool may_go_on(const struct outbound_job *j, const struct smtp_result *results, const struct smtp_result *why)
{
	for (size_t i = 0; results && i < j->outgoing.n; i++)
		if (results[i].at > SMTP_AT_MAIL)
			return false;
	return why->at <= SMTP_AT_MAIL && (results == NULL || why->is_own_word || why->code == 421);
}

void job_lost(struct outbound_job *j, const struct smtp_result *why)
{
	struct outbound_connection *c = j->connection;
	const struct smtp_result *results = smtp_sender_results(c->sender);

	if (!may_go_on(j, results, why) && results) {
		take_results(j, results);
		j->feedback = why->code == 421 ? SEND_BUSY : SEND_GOOD;
		answer(j);
		return;
	}
	if (c->is_reused) {
		j->connection = NULL;
		find_way(j);
		return;
	}
	note_failure(j, why);
	j->connection = NULL;
	next_target(j);
}

/* ---- the way ---- */

/* The queue is about to count it as lost, and to send it again: nothing of it may go out any more. */
static bool is_late(const struct outbound_job *j) { return clock_mono_ms() >= j->until_ms; }

/* May a connection that was made for another message carry this one? What asks for proof finds its way anew. */
static bool may_share(const struct outbound_connection *c, const struct outbound_job *j)
{
	return str_eq(c->destination, j->in.send.destination) && !is_late(j) && !j->in.send.requires_tls &&
	       (c->is_proven || j->is_allowed == NULL);
}

static struct outbound_connection *find_free(const struct outbound_job *j)
{
	for (struct outbound_connection *c = j->outbound->connections; c; c = c->next)
		if (c->state == CONNECTION_FREE && may_share(c, j))
			return c;
	return NULL;
}

/* Who keeps a connection that nobody needs now makes room for who has none. */
static void give_room(struct outbound *r)
{
	for (struct outbound_connection *c = r->connections; c; c = c->next) {
		if (c->state == CONNECTION_FREE) {
			loop_timer_in(r->loop, &c->timer, 0);
			return;
		}
	}
}

static bool has_room(struct outbound *r, const struct peer *address)
{
	size_t n = 0;

	if (r->connection_count >= r->settings.connections_max) {
		give_room(r);
		return false;
	}
	for (const struct outbound_connection *c = r->connections; c; c = c->next)
		n += memcmp(c->address.address, address->address, sizeof(address->address)) == 0;
	return n < r->settings.per_address_max;
}

/* Every host was tried; the last one's words stand for all, the others' are among the attempts. */
static void nobody_left(struct outbound_job *j)
{
	struct send_result last = j->results[0];

	if (last.text.n == 0)
		last = (struct send_result){ .text = STR("no mail server of the domain could be spoken to in the time for it"), .host = STR(""), .tls = STR("") };
	j->all_refused &= !is_late(j);
	for (size_t i = 0; i < j->in.send.n; i++) {
		j->results[i] = last;
		j->results[i].outcome = j->all_refused ? DELIVERY_REFUSED : DELIVERY_DEFERRED;
		if (j->results[i].status.n == 0)
			j->results[i].status = STR("4.4.1");
		if (!j->all_refused && j->results[i].status.p[0] == '5')
			j->results[i].status = STR("4.4.1");
	}
	answer(j);
}

static void skip_host(struct outbound_job *j, const struct mx_host *host, const char *status, struct str why)
{
	note_attempt(j, host->name, why);
	j->all_refused = false;
	j->results[0] = (struct send_result){ .status = str_of(status), .text = str_copy(&j->arena, why), .host = str_copy(&j->arena, host->name),
	                                      .tls = STR("") };
	j->target++;
	j->in_clear = false;
}

static void next_target(struct outbound_job *j)
{
	while (j->target < j->route->target_count && j->attempt_count < ATTEMPT_ADDRESSES_MAX && !is_late(j)) {
		const struct mx_target *t = &j->route->targets[j->target];
		const struct mx_host *host = &j->route->hosts[t->host];
		struct str why;
		if (host->dane == MX_DANE_UNKNOWN) {
			skip_host(j, host, "4.7.5", host->why);
			continue;
		}
		if (job_has_policy(j, host) && !j->is_allowed[t->host]) {
			skip_host(j, host, "4.7.5", STR("it is none of the mail hosts that the domain's policy (MTA-STS) allows"));
			continue;
		}
		if (!has_room(j->outbound, &t->address)) {
			wait_for_room(j);
			return;
		}
		if (connection_open(j, host, &t->address, &why)) {
			j->in_clear = false;
			j->target++;
			return;
		}
		skip_host(j, host, "4.4.1", why);
	}
	nobody_left(j);
}

/* The policy is gone when this returns. Only "enforce" changes what is done (RFC 8461 §5). */
static void on_policy(void *context, const struct mta_sts_policy *p, UNUSED struct str why)
{
	struct outbound_job *j = context;
	const struct mx_route *route = j->route;

	j->policy_search = NULL;
	if (p != NULL && p->mode == MTA_STS_ENFORCE) {
		j->is_allowed = arena_array(&j->arena, route->host_count, sizeof *j->is_allowed);
		for (size_t i = 0; i < route->host_count; i++)
			j->is_allowed[i] = mta_sts_policy_allows(p, route->hosts[i].name);
	}
	next_target(j);
}

/* Is there a host that DANE says nothing of? An address in brackets has no policy. */
static bool may_have_policy(const struct mx_route *route)
{
	for (size_t i = 0; i < route->host_count; i++)
		if (route->hosts[i].dane == MX_DANE_NONE && route->domain.p[0] != '[')
			return true;
	return false;
}

static void on_route(void *context, struct mx_route *route)
{
	struct outbound_job *j = context;
	const struct send *s = &j->in.send;

	j->search = NULL;
	j->route = route;
	if (route->outcome != MX_FOUND) {
		struct str text = arena_printf(&j->arena, "%d %s " STR_FMT, route->code, route->status, STR_ARG(route->why));
		j->feedback = route->outcome == MX_REFUSED ? SEND_GOOD : SEND_UNREACHABLE;
		settle_open(j, route->outcome == MX_REFUSED ? DELIVERY_REFUSED : DELIVERY_DEFERRED, str_cstr(&j->arena, str_of(route->status)), text);
		answer(j);
		return;
	}
	if (s->requires_tls && !route->is_secure) {  /* RFC 8689 §4.2.1: nobody may have changed where it goes */
		settle_open(j, DELIVERY_REFUSED, "5.7.30", STR("the sender wants every server on the way to prove itself (REQUIRETLS), and which one "
		                                               "is the domain's mail server is not signed (DNSSEC)"));
		j->feedback = SEND_GOOD;
		answer(j);
		return;
	}
	if (j->outbound->settings.sts != NULL && may_have_policy(route))
		j->policy_search = sts_find(j->outbound->settings.sts, route->domain, on_policy, j);
	else
		next_target(j);
}

/* Is this host this server? Of addresses nobody can know: it may be behind a translator of them. */
static bool is_own(void *context, struct str host, UNUSED const struct peer *address)
{
	const struct outbound_job *j = context;
	return str_ieq(host, j->outbound->settings.hostname);
}

static void find_way(struct outbound_job *j)
{
	struct outbound_connection *c = find_free(j);

	if (c) {
		connection_use(c, j);
		return;
	}
	mx_route_free(j->route);
	j->route = NULL;
	j->is_allowed = NULL;
	j->in_clear = false;
	j->target = 0;
	j->search = mx_find(j->outbound->resolver, j->in.send.destination, j->outbound->settings.port, is_own, on_route, j);
}

/* Each of those who wait, once; who finds no room waits again, behind the others of his kind. */
void outbound_room(struct outbound *r)
{
	struct outbound_job *first = r->waiting;

	if (r->is_looking)
		return;
	r->is_looking = true;
	r->waiting = NULL;
	r->waiting_end = &r->waiting;
	if (first)
		first->link = &first;
	while (first) {
		struct outbound_job *j = first;
		unlink_job(j);
		link_job(j);
		next_target(j);
	}
	r->is_looking = false;
}

/* ---- from the queue ---- */

void outbound_on_send(struct outbound *r, struct channel *queue, struct message *m)
{
	struct outbound_job *j = MEM_NEW(struct outbound_job);

	*j = (struct outbound_job){ .outbound = r, .queue = queue, .call = m->call, .all_refused = true, .feedback = SEND_UNREACHABLE,
	                           .until_ms = clock_mono_ms() + r->settings.send_ms };
	link_job(j);
	if (send_take(m, &j->in) != ERR_OK) {
		channel_reply(queue, m->call, ERR_INVALID, STR(""), NULL, 0);
		job_free(j);
		return;
	}
	j->results = arena_array(&j->arena, j->in.send.n, sizeof(*j->results));
	j->people = arena_array(&j->arena, j->in.send.n, sizeof(*j->people));
	j->who = arena_array(&j->arena, j->in.send.n, sizeof(*j->who));
	find_way(j);
}

void outbound_on_sent(struct outbound *r, const struct message *m)
{
	struct outbound_connection *c = r->connections;
	uint64_t number;

	if (!get_sent(m->body, &number))
		return;
	while (c && !(c->state == CONNECTION_HELD && c->number == number))
		c = c->next;
	if (c == NULL)
		return;
	struct outbound_job *j = r->waiting;
	while (j && !may_share(c, j))
		j = j->next;
	if (j == NULL || !connection_is_good(c)) {
		connection_release(c);
		return;
	}
	unlink_job(j);
	link_job(j);
	connection_use(c, j);
}

/* ---- life ---- */

struct outbound *outbound_new(struct loop *loop, struct resolver *resolver, struct tls_client *tls)
{
	struct outbound *r = MEM_NEW(struct outbound);

	*r = (struct outbound){ .loop = loop, .resolver = resolver, .tls = tls, .settings = outbound_defaults, .waiting_end = &r->waiting };
	r->settings.hostname = STR("localhost");
	return r;
}

void outbound_configure(struct outbound *r, const struct outbound_settings *s)
{
	arena_reset(&r->arena);
	r->settings = *s;
	r->settings.hostname = str_copy(&r->arena, s->hostname);
}

void outbound_drop_all(struct outbound *r)
{
	r->is_looking = true;  /* nobody who waits finds room: they go */
	while (r->connections) {
		r->connections->job = NULL;
		connection_free(r->connections);
	}
	while (r->jobs)
		job_free(r->jobs);
	while (r->waiting)
		job_free(r->waiting);
	r->is_looking = false;
}

void outbound_stop(struct outbound *r)
{
	struct outbound_connection *next;

	r->stops = true;
	for (struct outbound_connection *c = r->connections; c; c = next) {
		next = c->next;
		if (c->state == CONNECTION_FREE || c->state == CONNECTION_HELD)
			connection_leave(c);  /* frees itself only: no job of its own */
	}
}

size_t outbound_connections(const struct outbound *r) { return r->connection_count; }

void outbound_free(struct outbound *r)
{
	if (r == NULL)
		return;
	outbound_drop_all(r);
	arena_free(&r->arena);
	mem_free(r);
}
