/* How TLS to other servers goes, counted for the daily reports (RFC 8460): each connection once, when it is known whether it is encrypted, under
 * the policy that applied to it. A policy that only tests changes nothing about the connection; what it would have refused is counted all
 * the same: that is what it is published for.
 *
 * Not counted: what goes a way that an administrator chose, what its sender lets go without TLS (the reports themselves, which would else be
 * reported about), and where no connection came about: that says nothing about TLS. */
#include "deliver/outbound_private.h"
#include "base/bytes.h"
#include <sys/socket.h>

static bool is_reported(const struct outbound_job *j)
{
	return j != NULL && j->outbound->settings.tally != NULL && j->route != NULL && !j->route->is_given && !job_is_relaxed(j) && j->route->domain.p[0] != '[';
}

void report_policy(struct outbound_job *j, const struct mta_sts_policy *p, struct str why, enum tls_result trouble)
{
	if (!is_reported(j))
		return;
	j->report = (struct outbound_report){ .trouble = trouble, .why = str_copy(&j->arena, why) };
	if (p == NULL)
		return;
	j->report.sts = str_copy(&j->arena, p->text);
	j->report.allows = arena_array(&j->arena, j->route->host_count, sizeof *j->report.allows);
	for (size_t i = 0; i < j->route->host_count; i++)
		j->report.allows[i] = mta_sts_policy_allows(p, j->route->hosts[i].name);
}

/* Its records as a zone file has them. */
static struct str tlsa_text(struct arena *a, const struct mx_host *host)
{
	CLEANUP(buf_free) struct buf b = BUF(TLS_SESSION_TEXT_MAX);

	for (size_t i = 0; i < host->tlsa_count; i++) {
		const struct dns_tlsa *t = &host->tlsa[i];
		buf_printf(&b, "%u %u %u ", t->usage, t->selector, t->matching);
		hex_put(&b, t->data);
		buf_add_char(&b, '\n');
	}
	return str_copy(a, b.failed ? STR("") : buf_str(&b));
}

static struct str own_address(int fd, struct arena *a)
{
	struct sockaddr_storage own = { 0 };
	socklen_t n = sizeof own;
	char room[PEER_TEXT_MAX];
	struct peer p = { 0 };

	if (getsockname(fd, (struct sockaddr *)&own, &n) < 0)
		return STR("");
	peer_from_sockaddr(&p, (struct sockaddr *)&own);
	return str_copy(a, peer_text(&p, room));
}

/* Under which policy, and what else than TLS itself speaks against the host. */
static void choose_policy(const struct outbound_job *j, size_t at, struct arena *a, struct tls_session *s)
{
	const struct mx_host *host = &j->route->hosts[at];

	if (host->dane == MX_DANE_VERIFY || host->dane == MX_DANE_ENCRYPT) {
		s->policy = TLS_POLICY_TLSA;
		s->text = tlsa_text(a, host);
	} else if (j->report.sts.n) {
		s->policy = TLS_POLICY_STS;
		s->text = j->report.sts;
		if (s->result == TLS_RESULT_GOOD && !j->report.allows[at]) {
			s->result = TLS_RESULT_FAILURE;
			s->info = STR("the host is none of those that the policy allows");
		}
	} else if (j->report.trouble != TLS_RESULT_GOOD && s->result == TLS_RESULT_GOOD) {
		s->policy = TLS_POLICY_STS;
		s->result = j->report.trouble;
		s->info = j->report.why;
	}
}

static void count(const struct outbound_connection *c, const struct outbound_job *j, size_t at, enum tls_result result, struct str info)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const struct mx_host *host = &j->route->hosts[at];
	struct tls_session s = { .domain = j->route->domain, .policy = TLS_POLICY_NONE, .result = result, .text = STR(""), .info = info, .count = 1 };
	char room[PEER_TEXT_MAX];

	choose_policy(j, at, &a, &s);
	s.mx = s.receiving_ip = s.sending_ip = STR("");
	if (s.result != TLS_RESULT_GOOD) {
		s.mx = host->name;
		s.receiving_ip = c ? peer_text(&c->address, room) : STR("");
		s.sending_ip = c ? own_address(c->stream.fd, &a) : STR("");
	} else {
		s.info = STR("");
	}
	tls_tally_add(j->outbound->settings.tally, &s);
}

/* The host that the connection of this job goes to: its target has been taken. */
static size_t host_of(const struct outbound_job *j) { return j->route->targets[j->target - 1].host; }

static enum tls_result result_of(enum tls_flaw flaw)
{
	static const enum tls_result results[] = {
		[TLS_FLAW_NONE] = TLS_RESULT_GOOD, [TLS_FLAW_NAME] = TLS_RESULT_HOST_MISMATCH, [TLS_FLAW_EXPIRED] = TLS_RESULT_EXPIRED,
		[TLS_FLAW_UNTRUSTED] = TLS_RESULT_NOT_TRUSTED,
	};

	return results[flaw];
}

static void count_once(struct outbound_connection *c, enum tls_result result, struct str info)
{
	if (c->is_counted || !is_reported(c->job) || c->job->target == 0)
		return;
	c->is_counted = true;
	count(c, c->job, host_of(c->job), result, info);
}

/* Without a policy any certificate will do. With one that only tests, it is looked at here. */
void report_secured(struct outbound_connection *c)
{
	enum tls_flaw flaw = TLS_FLAW_NONE;

	if (is_reported(c->job) && c->job->target > 0 && c->job->report.sts.n && c->expect.trust != TLS_TRUST_DANE)
		flaw = tls_client_flaw(c->stream.tls);
	count_once(c, result_of(flaw), flaw ? str_of(tls_client_flaw_name(c->stream.tls)) : STR(""));
}

void report_broken(struct outbound_connection *c)
{
	enum tls_flaw flaw = c->expect.trust == TLS_TRUST_ANY ? TLS_FLAW_NONE : tls_client_flaw(c->stream.tls);

	count_once(c, flaw ? result_of(flaw) : TLS_RESULT_FAILURE, str_of(flaw ? tls_client_flaw_name(c->stream.tls) : tls_reason(c->stream.tls)));
}

/* Where TLS was tried before and did not work, that was counted. */
void report_in_clear(struct outbound_connection *c)
{
	if (c->tls != SMTP_TLS_NEVER)
		count_once(c, TLS_RESULT_NO_STARTTLS, STR(""));
}

void report_passed_over(struct outbound_job *j)
{
	if (is_reported(j))
		count(NULL, j, j->route->targets[j->target].host, TLS_RESULT_FAILURE, STR("the host is none of those that the policy allows"));
}
