/* A SEND from the question where to the answer.
 *
 * Where it goes, and over which connection, is in outbound_way.c.
 *
 * A connection that was kept may have been closed by the other side while our first words were under way. That is nobody's failure: the
 * message begins anew, with a connection of its own. */
#include "deliver/outbound_private.h"
#include "base/clock.h"
#include "base/log.h"

enum { PROBE_MS = 60000, WITHOUT_BDAT_MAX = 1000 };

const struct outbound_settings outbound_defaults = {
	.port = 25, .connections_max = 500, .per_address_max = 20, .connect_ms = 10000, .keep_ms = 5000, .messages_max = 100,
	.ending_ms = SENDS_END_MS, .password_ms = 60000, .send_ms = SEND_TIMEOUT_MS - 20 * 60 * 1000,
};

static void job_link(struct outbound_job *j)
{
	struct outbound *r = j->outbound;

	j->next = r->jobs;
	j->link = &r->jobs;
	if (r->jobs)
		r->jobs->link = &j->next;
	r->jobs = j;
}

void job_free(struct outbound_job *j)
{
	job_wait_no_more(j);
	loop_timer_stop(j->outbound->loop, &j->ask_again);
	*j->link = j->next;
	if (j->next)
		j->next->link = j->link;
	mx_cancel(j->search);
	sts_cancel(j->policy_search);
	mx_route_free(j->route);
	plan_release(j);
	send_release(&j->in);
	if (j->password.p)
		arena_wipe(&j->arena);
	arena_free(&j->arena);
	mem_free(j);
}

/* ---- answers ---- */

void job_answer(struct outbound_job *j)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	const struct send_answer a = { .feedback = j->feedback, .n = j->in.send.n, .results = j->results, .n_attempts = j->attempt_count,
	                               .attempts = j->attempts };

	send_answer_encode(&a, &b);
	channel_reply(j->queue, j->call, ERR_OK, buf_str(&b), NULL, 0);
	job_free(j);
}

void job_settle(struct outbound_job *j, enum delivery_outcome outcome, const char *status, struct str text)
{
	for (size_t i = 0; i < j->in.send.n; i++)
		if (j->results[i].outcome == 0)
			result_set(j, i, outcome, status, text);
}

void job_note_attempt(struct outbound_job *j, struct str host, struct str text)
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

	bool is_login_wanted = j->way.host.n > 0 && r->code == 530;  /* RFC 4954 §6: our setting is wrong, not the message */

	result_set(j, i, is_login_wanted ? DELIVERY_DEFERRED : outcomes[r->outcome], "", r->text);
	j->results[i].status = is_login_wanted ? STR("4.7.0") : str_copy(&j->arena, r->status);
	if (is_login_wanted)
		j->feedback = SEND_UNREACHABLE;
	j->results[i].has_passed_dsn = r->passed_dsn;
	j->results[i].has_passed_by = r->passed_by;
	j->results[i].is_unsure = r->is_own_word && r->at == SMTP_AT_END;
}

static void take_results(struct outbound_job *j, const struct smtp_result *results)
{
	for (size_t i = 0; i < j->outgoing.n; i++)
		take_result(j, j->who[i], &results[i]);
}

/* REQUIRETLS: a server without TLS, or with a certificate that proves nothing, is no place for the message, and its sender hears so at once
 * (RFC 8689 §4.2.1). */
static struct smtp_result in_its_view(struct outbound_job *j, struct smtp_result why)
{
	const struct tls *tls = j->connection->stream.tls;
	bool offers_none = str_eq(why.status, STR("4.7.4")), is_flawed = tls != NULL && tls_client_flaw(tls) != TLS_FLAW_NONE;

	if (!job_requires_tls(j) || !why.is_own_word || why.at != SMTP_AT_STARTTLS || !(offers_none || is_flawed))
		return why;
	why.outcome = SMTP_OUTCOME_REFUSED;
	why.status = STR("5.7.10");
	why.text = arena_printf(&j->arena, "the sender wants every server on the way to encrypt and to prove itself (REQUIRETLS), and this one %s" STR_FMT,
	                        offers_none ? "offers no TLS" : "does not: ", STR_ARG(offers_none ? STR("") : why.text));
	return why;
}

/* The host of the connection is out: why, also as what to say if nobody else takes it. What only this message asks of TLS says nothing
 * about others for the same destination. */
static void note_failure(struct outbound_job *j, const struct smtp_result *reason)
{
	struct smtp_result why = in_its_view(j, *reason);
	bool is_its_own = job_requires_tls(j) && why.at == SMTP_AT_STARTTLS;

	job_note_attempt(j, j->connection->host, why.text);
	j->feedback = is_its_own ? SEND_GOOD : why.is_own_word ? SEND_UNREACHABLE : SEND_BUSY;
	j->all_refused &= why.outcome == SMTP_OUTCOME_REFUSED;
	take_result(j, 0, &why);
	j->results[0].outcome = 0;
}

/* ---- what connections report ---- */

/* Whatever else it says to MAIL may be about this sender, who is nobody; that it wants a login is about us. */
static void answer_probe(struct outbound_job *j, const struct smtp_result *said)
{
	struct outbound_connection *c = j->connection;

	if (said->code == 530)
		take_result(j, 0, said);
	else
		result_set(j, 0, DELIVERY_DONE, "2.0.0", c->has_login ? STR("the login was accepted") : STR("the server is ready for mail"));
	connection_leave(c);
	job_answer(j);
}

void job_ready(struct outbound_job *j)
{
	struct outbound_connection *c = j->connection;
	uint64_t number = j->in.send.number;

	j->feedback = SEND_GOOD;
	if (j->is_probe && smtp_sender_probed(c->sender) == NULL) {
		smtp_sender_probe(c->sender);
		connection_go_on(c);
		return;
	}
	if (j->is_probe) {
		answer_probe(j, smtp_sender_probed(c->sender));
		return;
	}
	switch (message_fit(j, smtp_sender_offers(c->sender), c->is_proven)) {
	case ERR_OK:
		smtp_sender_begin(c->sender, &j->outgoing);
		connection_go_on(c);
		return;
	case ERR_AGAIN:
		connection_rest(c);
		return;
	default:
		connection_hold(c, number);
		job_answer(j);
	}
}

/* A server that insists on TLS, and whose TLS did not work a moment ago: its "never" is about that connection (RFC 3207 §4). */
static bool is_about_tls(const struct outbound_job *j, const struct smtp_result *r)
{
	const struct outbound_connection *c = j->connection;
	bool has_failed = c->tls == SMTP_TLS_NEVER || (smtp_sender_offers(c->sender)->has & SMTP_OFFERS_STARTTLS && !smtp_sender_is_secure(c->sender));

	return j->way.tls == OUTBOUND_TLS_MAY && has_failed && (r->code == 530 || str_eq(r->status, STR("5.7.10")));
}

void job_finished(struct outbound_job *j)
{
	struct outbound_connection *c = j->connection;
	const struct smtp_result *results = smtp_sender_results(c->sender);
	uint64_t number = j->in.send.number;

	if (results[0].at == SMTP_AT_MAIL && (results[0].outcome == SMTP_OUTCOME_DEFERRED || is_about_tls(j, &results[0]))) {
		bool is_reused = c->is_reused;  /* "enough over this one" is no word about the next */
		if (!is_reused) {
			note_failure(j, &results[0]);
			j->all_refused = false;
		}
		smtp_sender_next(c->sender);
		j->connection = NULL;
		connection_leave(c);
		if (is_reused)
			job_begin_anew(j);
		else
			job_next_target(j);
		return;
	}
	take_results(j, results);
	smtp_sender_next(c->sender);
	if (smtp_sender_state(c->sender) == SMTP_SENDER_READY)
		connection_hold(c, number);
	else
		connection_leave(c);
	job_answer(j);
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

/* The server has said what it thinks of our login, and at its other addresses it would think the same: trying again and again is what
 * accounts are locked for. What was noted of this one stands for all. */
static void settle_login(struct outbound_job *j)
{
	j->results[0].outcome = DELIVERY_DEFERRED;
	for (size_t i = 1; i < j->in.send.n; i++)
		j->results[i] = j->results[0];
	job_answer(j);
}

/* Once for each host: the message goes again, and all that follow, with DATA. False: some of its recipients have it already. */
static bool avoid_chunking(struct outbound_job *j, const struct smtp_result *results)
{
	struct outbound *r = j->outbound;

	log_info("server offers CHUNKING and does not know BDAT host=" STR_FMT, STR_ARG(j->connection->host));
	if (r->without_bdat.n == WITHOUT_BDAT_MAX)
		map_free(&r->without_bdat);
	map_set(&r->without_bdat, j->connection->host_name, r);
	for (size_t i = 0; i < j->outgoing.n; i++)
		if (results[i].outcome == SMTP_OUTCOME_DONE)
			return false;
	for (size_t i = 0; i < j->in.send.n; i++)  /* some were refused perhaps: they are asked about again */
		j->results[i].outcome = 0;
	j->connection = NULL;
	job_begin_anew(j);
	return true;
}

void job_lost(struct outbound_job *j, const struct smtp_result *why)
{
	struct outbound_connection *c = j->connection;
	const struct smtp_result *results = smtp_sender_results(c->sender);

	if (smtp_sender_lacks_bdat(c->sender) && avoid_chunking(j, results))
		return;
	if (!may_go_on(j, results, why) && results) {
		take_results(j, results);
		j->feedback = why->code == 421 ? SEND_BUSY : SEND_GOOD;
		job_answer(j);
		return;
	}
	if (c->is_reused) {
		j->connection = NULL;
		job_begin_anew(j);
		return;
	}
	note_failure(j, why);
	j->connection = NULL;
	if (why->at == SMTP_AT_LOGIN && str_starts(why->status, STR("4.7.")))
		settle_login(j);
	else
		job_next_target(j);
}

/* ---- from the queue ---- */

static void begin(struct outbound *r, struct channel *queue, struct message *m, bool is_probe)
{
	struct outbound_job *j = MEM_NEW(struct outbound_job);

	*j = (struct outbound_job){ .outbound = r, .queue = queue, .call = m->call, .all_refused = true, .feedback = SEND_UNREACHABLE,
	                           .until_ms = clock_mono_ms() + (is_probe ? PROBE_MS : r->settings.send_ms), .is_probe = is_probe, .wants_new = is_probe };
	job_link(j);
	if (send_take(m, &j->in) != ERR_OK) {
		channel_reply(queue, m->call, ERR_INVALID, STR(""), NULL, 0);
		job_free(j);
		return;
	}
	if (job_must_end(j)) {
		job_give_back(j);
		return;
	}
	j->results = arena_array(&j->arena, j->in.send.n, sizeof(*j->results));
	j->people = arena_array(&j->arena, j->in.send.n, sizeof(*j->people));
	j->who = arena_array(&j->arena, j->in.send.n, sizeof(*j->who));
	job_choose_way(j);
	job_find_way(j);
}

void outbound_on_send(struct outbound *r, struct channel *queue, struct message *m) { begin(r, queue, m, false); }
void outbound_on_probe(struct outbound *r, struct channel *control, struct message *m) { begin(r, control, m, true); }

void outbound_on_sent(struct outbound *r, const struct message *m)
{
	struct scan s = scan_of(m->body);
	struct outbound_connection *c;
	uint64_t number;

	while (get_sent(&s, &number))
		if ((c = map_get_u64(&r->held, number)) != NULL)
			connection_pass_on(c);
}

/* ---- life ---- */

struct outbound *outbound_new(struct loop *loop, struct resolver *resolver, struct tls_client *tls)
{
	struct outbound *r = MEM_NEW(struct outbound);

	*r = (struct outbound){ .loop = loop, .resolver = resolver, .tls = tls, .settings = outbound_defaults, .waiting = { .end = &r->waiting.first },
	                        .look = { .run = outbound_look, .context = r }, .ending = { .due = outbound_ending_over, .context = r } };
	r->settings.hostname = STR("localhost");
	return r;
}

void outbound_configure(struct outbound *r, const struct outbound_settings *s)
{
	arena_reset(&r->arena);
	r->settings = *s;
	r->settings.hostname = str_copy(&r->arena, s->hostname);
}

size_t outbound_connections(const struct outbound *r) { return r->connection_count; }

void outbound_free(struct outbound *r)
{
	if (r == NULL)
		return;
	outbound_end(r);
	plan_end(r);
	map_free(&r->places);
	map_free(&r->held);
	map_free(&r->without_bdat);
	arena_free(&r->arena);
	mem_free(r);
}
