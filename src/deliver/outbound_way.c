/* Where a SEND goes: a connection that is kept for it, or the hosts of its destination one after the other.
 *
 * Which failures lead to the next host: whatever happens before a host has taken the sender (no connection, its greeting, EHLO, TLS, a
 * temporary no to MAIL). From the recipients on the host has looked at this message, and what it says counts: asking another one at once
 * would only tell a greylist to be annoyed. All hosts having said "never" to the connection is a "never"; anything else is tried again. */
#include "deliver/outbound_private.h"
#include "base/clock.h"
#include <errno.h>

enum {
	ATTEMPT_ADDRESSES_MAX = 8,   /* addresses tried for one SEND; the queue comes again later */
	ASK_AGAIN_MS = 200,          /* for a password that keys could not say */
};

/* The queue is about to count it as lost, and to send it again: nothing of it may go out any more. */
bool job_is_late(const struct outbound_job *j) { return clock_mono_ms() >= j->until_ms; }

/* Every host was tried; the last one's words stand for all, the others' are among the attempts. */
static void nobody_left(struct outbound_job *j)
{
	struct send_result last = j->results[0];

	if (last.text.n == 0)
		last = (struct send_result){ .text = STR("no mail server of the domain could be spoken to in the time for it"), .host = STR(""), .tls = STR("") };
	j->all_refused &= !job_is_late(j) && j->target == j->route->target_count;
	for (size_t i = 0; i < j->in.send.n; i++) {
		j->results[i] = last;
		j->results[i].outcome = j->all_refused ? DELIVERY_REFUSED : DELIVERY_DEFERRED;
		if (j->results[i].status.n == 0)
			j->results[i].status = STR("4.4.1");
		if (!j->all_refused && j->results[i].status.p[0] == '5')
			j->results[i].status = STR("4.4.1");
	}
	job_answer(j);
}

static void skip_host(struct outbound_job *j, const struct mx_host *host, const char *status, struct str why)
{
	job_note_attempt(j, host->name, why);
	j->all_refused = false;
	j->results[0] = (struct send_result){ .status = str_of(status), .text = str_copy(&j->arena, why), .host = str_copy(&j->arena, host->name),
	                                      .tls = STR("") };
	j->target++;
	j->in_clear = false;
}

static void settle_all(struct outbound_job *j, enum delivery_outcome outcome, const char *status, struct str text)
{
	job_settle(j, outcome, status, text);
	j->feedback = SEND_GOOD;
	job_answer(j);
}

/* This machine has no descriptor, memory or port to spare: nothing the destination could do about it, and no reason to give it a rest. */
static bool is_our_want(int e) { return e == EMFILE || e == ENFILE || e == ENOMEM || e == ENOBUFS || e == EAGAIN; }

static bool was_tried(const struct outbound_job *j, size_t host)
{
	for (size_t i = 0; i < j->target; i++)
		if (j->route->targets[i].host == host)
			return true;
	return false;
}

/* Hosts behind the target that nothing was tried of yet. */
static size_t hosts_left(const struct outbound_job *j)
{
	bool seen[MX_HOSTS_MAX] = { 0 };
	size_t n = 0;

	for (size_t i = j->target + 1; i < j->route->target_count; i++) {
		size_t host = j->route->targets[i].host;
		n += !seen[host] && !was_tried(j, host);
		seen[host] = true;
	}
	return n;
}

/* A further address of a host, when the addresses that may be tried are just enough for the hosts that have not had their turn: a backup must
 * not wait for ever behind a host that is down with all its eight addresses. */
static bool gives_way(const struct outbound_job *j)
{
	return !j->in_clear && was_tried(j, j->route->targets[j->target].host) && hosts_left(j) >= ATTEMPT_ADDRESSES_MAX - j->attempt_count;
}

void job_next_target(struct outbound_job *j)
{
	if (job_must_end(j)) {
		job_give_back(j);
		return;
	}
	while (j->target < j->route->target_count && j->attempt_count < ATTEMPT_ADDRESSES_MAX && !job_is_late(j)) {
		const struct mx_target *t = &j->route->targets[j->target];
		const struct mx_host *host = &j->route->hosts[t->host];
		struct str why;
		if (gives_way(j)) {
			j->all_refused = false;
			j->target++;
			continue;
		}
		if (job_has_policy(j, host) && !j->is_allowed[t->host]) {
			report_passed_over(j);
			skip_host(j, host, "4.7.5", STR("it is none of the mail hosts that the domain's policy (MTA-STS) allows"));
			continue;
		}
		struct outbound_connection *kept = connection_find_at(j, host, &t->address);
		if (kept) {
			j->target++;
			connection_use(kept, j);
			return;
		}
		if (place_wait(j, &t->address))
			return;
		if (connection_open(j, host, &t->address, &why)) {
			j->in_clear = false;
			j->target++;
			return;
		}
		if (is_our_want(errno)) {
			settle_all(j, DELIVERY_DEFERRED, "4.3.1", why);
			return;
		}
		skip_host(j, host, "4.4.1", why);
	}
	nobody_left(j);
}

/* REQUIRETLS: nobody may have changed which hosts these are (RFC 8689 §4.2.1). DNSSEC says so, or a policy that is enforced, or who set up
 * the route. no_policy: why it is not known; empty: there is none. */
static void go(struct outbound_job *j, struct str no_policy)
{
	bool is_known = j->route->is_secure || j->route->is_given || j->is_allowed != NULL;

	if (!job_requires_tls(j) || is_known)
		job_next_target(j);
	else if (no_policy.n > 0)
		settle_all(j, DELIVERY_DEFERRED, "4.7.30", arena_printf(&j->arena, "the sender wants every server on the way to prove itself "
		           "(REQUIRETLS), and whether this one can is not known yet: " STR_FMT, STR_ARG(no_policy)));
	else
		settle_all(j, DELIVERY_REFUSED, "5.7.30", STR("the sender wants every server on the way to prove itself (REQUIRETLS), and nothing "
		           "proves which one is the domain's mail server: neither signed records (DNSSEC) nor a policy (MTA-STS) in the mode enforce"));
}

/* The policy is gone when this returns. Only "enforce" changes what is done (RFC 8461 §5). */
static void on_policy(void *context, const struct mta_sts_policy *p, struct str why, enum tls_result trouble)
{
	struct outbound_job *j = context;
	const struct mx_route *route = j->route;

	j->policy_search = NULL;
	report_policy(j, p, why, trouble);
	if (p != NULL && p->mode == MTA_STS_ENFORCE) {
		j->is_allowed = arena_array(&j->arena, route->host_count, sizeof *j->is_allowed);
		for (size_t i = 0; i < route->host_count; i++)
			j->is_allowed[i] = mta_sts_policy_allows(p, route->hosts[i].name);
	}
	go(j, p == NULL ? why : STR(""));
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

	j->search = NULL;
	j->route = route;
	if (route->outcome != MX_FOUND) {
		struct str text = arena_printf(&j->arena, "%d %s " STR_FMT, route->code, route->status, STR_ARG(route->why));
		j->feedback = route->outcome == MX_REFUSED ? SEND_GOOD : SEND_UNREACHABLE;
		job_settle(j, route->outcome == MX_REFUSED ? DELIVERY_REFUSED : DELIVERY_DEFERRED, str_cstr(&j->arena, str_of(route->status)), text);
		job_answer(j);
		return;
	}
	j->all_refused &= !route->is_partial;
	if (j->outbound->settings.sts != NULL && !route->is_given && !job_is_relaxed(j) && may_have_policy(route))
		j->policy_search = sts_find(j->outbound->settings.sts, route->domain, on_policy, j);
	else
		go(j, STR(""));
}

/* Is this host this server? Behind a translator of addresses only its name tells. */
static enum mx_kind judge(void *context, struct str host, const struct peer *address)
{
	const struct outbound_settings *s = &((const struct outbound_job *)context)->outbound->settings;

	for (size_t i = 0; address && i < s->own_count; i++)
		if (memcmp(s->own[i].address, address->address, sizeof(address->address)) == 0)
			return MX_OWN;
	if (address && s->public_only && mx_is_private(address))
		return MX_PRIVATE;
	return str_ieq(host, s->hostname) ? MX_OWN : MX_USUAL;
}

/* An address as an SMTP literal: what is looked up no further. */
static struct str way_host(struct str host, struct arena *a)
{
	struct peer address;

	if (!peer_parse(host, &address))
		return host;
	return arena_printf(a, "[%s" STR_FMT "]", peer_is_v4(&address) ? "" : "IPv6:", STR_ARG(host));
}

/* A password goes nowhere but to this machine, or where the certificate was right. */
static enum outbound_tls way_tls(const struct route *r)
{
	static const enum outbound_tls by_route[] = {
		[ROUTE_TLS_NEVER] = OUTBOUND_TLS_NEVER, [ROUTE_TLS_MAY] = OUTBOUND_TLS_MAY, [ROUTE_TLS_ENCRYPT] = OUTBOUND_TLS_ENCRYPT,
		[ROUTE_TLS_VERIFY] = OUTBOUND_TLS_VERIFY, [ROUTE_TLS_IMPLICIT] = OUTBOUND_TLS_IMPLICIT,
	};
	return route_protects_login(r) ? by_route[r->tls] : OUTBOUND_TLS_VERIFY;
}

void job_choose_way(struct outbound_job *j)
{
	const struct send *s = &j->in.send;

	j->way = (struct outbound_way){ .port = j->outbound->settings.port, .login = STR("") };
	(void)!peer_parse(s->source_ipv4, &j->way.source_v4);
	(void)!peer_parse(s->source_ipv6, &j->way.source_v6);
	if (s->route.host.n > 0) {
		j->way.host = way_host(s->route.host, &j->arena);
		j->way.port = s->route.port;
		j->way.tls = way_tls(&s->route);
		j->way.is_lmtp = s->route.is_lmtp;
		j->way.login = s->route.login;
	}
	j->way.name = arena_printf(&j->arena, STR_FMT " %d " STR_FMT " " STR_FMT, STR_ARG(s->destination), (int)j->way.tls, STR_ARG(s->source_ipv4),
	                           STR_ARG(s->source_ipv6));
}

/* ---- the password of a way ---- */

static void ask_password(void *context)
{
	struct outbound_job *j = context;
	const struct outbound_settings *s = &j->outbound->settings;
	struct str route = route_name(&j->in.send.route, &j->arena);

	if (j->asked_ms == 0)
		j->asked_ms = clock_mono_ms();
	j->ticket = ++j->outbound->tickets;
	if (s->ask_password)
		s->ask_password(s->password_context, route, j->ticket);
	else
		outbound_password(j->outbound, j->ticket, ERR_UNAVAILABLE, STR(""));
}

void outbound_password(struct outbound *r, uint64_t ticket, enum err e, struct str password)
{
	struct outbound_job *j = r->jobs;

	while (j && j->ticket != ticket)
		j = j->next;
	if (j == NULL)
		return;
	if (e == ERR_OK) {
		j->password = str_copy(&j->arena, password);
		job_find_way(j);
		return;
	}
	if (e != ERR_NOTFOUND && !j->is_probe && clock_mono_ms() < j->asked_ms + r->settings.password_ms) {  /* keys is being restarted: no fault of the route */
		j->ask_again = (struct loop_timer){ .due = ask_password, .context = j };
		loop_timer_in(r->loop, &j->ask_again, ASK_AGAIN_MS);
		return;
	}
	j->feedback = SEND_UNREACHABLE;
	job_settle(j, DELIVERY_DEFERRED, "4.7.8", e == ERR_NOTFOUND
	           ? arena_printf(&j->arena, "no password is kept for the login of \"" STR_FMT "\": set it with `facteur route add`", STR_ARG(j->way.login))
	           : STR("the password for the smart host could not be had from the role keys; this server's log says more"));
	job_answer(j);
}

void job_find_way(struct outbound_job *j)
{
	struct outbound_connection *c = connection_find(j);

	if (c) {
		connection_use(c, j);
		return;
	}
	if (j->way.login.n > 0 && j->password.p == NULL) {
		ask_password(j);
		return;
	}
	mx_route_free(j->route);
	j->route = NULL;
	j->is_allowed = NULL;
	j->report = (struct outbound_report){ 0 };
	j->in_clear = false;
	j->target = 0;
	if (j->way.host.n > 0)
		j->search = mx_find_host(j->outbound->resolver, j->way.host, j->way.port, on_route, j);
	else
		j->search = mx_find(j->outbound->resolver, j->in.send.destination, j->way.port, judge, on_route, j);
	if (job_is_relaxed(j))
		mx_without_dane(j->search);
}

void job_begin_anew(struct outbound_job *j)
{
	j->wants_new = true;
	if (job_must_end(j))
		job_give_back(j);
	else
		job_find_way(j);
}
