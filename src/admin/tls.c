/* tls list, tls report: what is counted about TLS to other servers, and the daily reports about it (RFC 8460).
 *
 * A day is reported once it is over, each domain at its own minute of the first four hours, so that not every server of the world writes at
 * midnight (§4.1). Who has published no address gets none, and is forgotten. Where no name server answers, or the one web server that
 * wants it does not, it stays for the next round, for three days. The messages ask for no report of their own delivery, and TLS on their
 * way is not counted: nothing that a report causes can cause another. */
#include "admin/admin_private.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "dns/record.h"
#include "queue/envelope.h"
#include "tlsrpt/report.h"
#include <time.h>

enum { DAY_S = 86400, SPREAD_S = 4 * 3600, TEXTS_MAX = 50, POST_MS = 60000, ID_BYTES = 8 };

static struct str day_text(struct admin_call *c, int64_t day)
{
	CLEANUP(buf_free) struct buf b = BUF(64);
	time_t t = (time_t)(day * DAY_S);
	struct tm tm;

	gmtime_r(&t, &tm);
	buf_printf(&b, "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
	return str_copy(&c->arena, buf_str(&b));
}

static enum err need_book(struct admin_call *c)
{
	if (!c->host->is_running)
		return admin_refuse(c, ERR_UNAVAILABLE, TEXT_ADMIN_NOT_RUNNING, STR(""));
	return c->host->book != NULL ? ERR_OK : admin_refuse(c, ERR_UNAVAILABLE, TEXT_TLS_NO_BOOK, STR(""));
}

/* ---- tls list ---- */

static void put_count(struct admin_call *c, const struct book_domain *d, enum tls_policy policy, uint64_t good, uint64_t bad)
{
	json_t *row = admin_row(c);

	admin_put_text(row, "day", day_text(c, d->day));
	admin_put_text(row, "domain", d->domain);
	admin_put_text(row, "policy", str_of(tls_policy_name(policy)));
	admin_put_number(row, "secure", good);
	admin_put_number(row, "failures", bad);
}

static enum err list_domain(struct admin_call *c, const struct book_domain *d)
{
	uint64_t good[TLS_POLICY_COUNT] = { 0 }, bad[TLS_POLICY_COUNT] = { 0 };
	struct tls_session *sessions;
	size_t n;

	TRY(book_sessions(c->host->book, d->day, d->domain, &c->arena, &sessions, &n));
	for (size_t i = 0; i < n; i++)
		(sessions[i].result == TLS_RESULT_GOOD ? good : bad)[sessions[i].policy] += sessions[i].count;
	for (enum tls_policy p = TLS_POLICY_NONE; p < TLS_POLICY_COUNT; p++)
		if (good[p] + bad[p] > 0)
			put_count(c, d, p, good[p], bad[p]);
	return ERR_OK;
}

enum err admin_tls_list(struct admin_call *c)
{
	struct book_domain *list;
	size_t n;

	TRY(need_book(c));
	TRY(book_domains(c->host->book, INT64_MAX, &c->arena, &list, &n));
	for (size_t i = 0; i < n; i++)
		TRY(list_domain(c, &list[i]));
	return ERR_OK;
}

/* ---- tls report ---- */

/* Who we are, to those who are told. ERR_NOTFOUND: no domain yet, nobody who could sign. */
static enum err set_sender(struct admin_call *c, struct tlsrpt_report *r)
{
	struct directory_domain *domains;
	struct conf *conf;
	size_t n;
	enum err e;

	TRY(domain_list(c->directory, &c->arena, &domains, &n));
	if (n == 0)
		return ERR_NOTFOUND;
	TRY(directory_conf(c->directory, &conf));
	e = directory_hostname(c->directory, conf, &c->arena, &r->organization);
	conf_free(conf);
	r->domain_of_sender = domains[0].name;
	r->contact = arena_printf(&c->arena, "postmaster@" STR_FMT, STR_ARG(domains[0].name));
	return e;
}

static void set_id(struct admin_call *c, struct tlsrpt_report *r)
{
	CLEANUP(buf_free) struct buf hex = BUF(2 * ID_BYTES);
	char bytes[ID_BYTES];

	random_bytes(bytes, sizeof bytes);
	hex_put(&hex, str_make(bytes, sizeof bytes));
	r->id = arena_printf(&c->arena, "tls." STR_FMT "@" STR_FMT, STR_ARG(buf_str(&hex)), STR_ARG(r->domain_of_sender));
}

static enum err mail_report(struct admin_call *c, const struct tlsrpt_report *r, struct str to, struct str gz)
{
	CLEANUP(buf_free) struct buf mail = BUF(2 * TLSRPT_BYTES_MAX);
	struct envelope_recipient recipient = { .address = to, .orcpt = STR(""), .detail = STR(""), .notify = ENVELOPE_NOTIFY_NEVER };
	struct envelope e = { .source = ENVELOPE_LOCAL, .sender = r->contact, .body = ENVELOPE_7BIT, .envid = STR(""), .received = clock_wall_s(),
	                      .peer = STR(""), .list = STR(""), .wishes = { .tls = ENVELOPE_TLS_OPTIONAL }, .n = 1, .recipients = &recipient };
	struct directory_address x;

	if (!str_is_ascii(to) || !directory_address_parse(to, &c->arena, &x))
		return ERR_INVALID;
	tlsrpt_mail(r, to, gz, clock_wall_s(), &mail);
	return mail.failed ? ERR_LIMIT : c->host->mail(c->host->context, &e, buf_str(&mail));
}

/* It would say the same to the same report again; but for "too slow", "too early" and "too many" (RFC 9110 §15.5, 8470, 6585). */
static bool is_for_good(unsigned status) { return status / 100 == 4 && status != 408 && status != 425 && status != 429; }

static enum err post_report(struct admin_call *c, const struct tlsrpt_target *t, struct str gz)
{
	struct http_place place = { .host = t->host, .port = t->port, .path = t->path, .body_max = FETCH_ANSWER_MAX, .deadline_ms = POST_MS,
	                            .public_only = true, .type = STR("application/tlsrpt+gzip"), .body = gz };
	struct fetch_said said;

	TRY(c->host->fetch(c->host->context, &place, &c->arena, &said));
	if (said.e != ERR_OK) {
		log_info("tls report not posted host=" STR_FMT " reason=" STR_FMT, STR_ARG(t->host), STR_ARG(said.why));
		return said.e;
	}
	if (said.status / 100 == 2)
		return ERR_OK;
	log_info("tls report not taken host=" STR_FMT " status=%u", STR_ARG(t->host), said.status);
	return is_for_good(said.status) ? ERR_INVALID : ERR_UNAVAILABLE;
}

/* ERR_OK: one at least has it. *sent: to whom. ERR_INVALID, ERR_LIMIT: nobody ever will. */
static enum err send_report(struct admin_call *c, const struct tlsrpt_report *r, const struct tlsrpt_target *targets, size_t n, struct str *sent, size_t *sent_n)
{
	CLEANUP(buf_free) struct buf json = BUF(TLSRPT_BYTES_MAX), gz = BUF(TLSRPT_BYTES_MAX);
	enum err result = ERR_INVALID;

	tlsrpt_json(r, &json);
	if (json.failed)
		return ERR_LIMIT;
	TRY(tlsrpt_gzip(buf_str(&json), &gz));
	for (size_t i = 0; i < n; i++) {
		bool is_mail = targets[i].address.n > 0;
		enum err e = is_mail ? mail_report(c, r, targets[i].address, buf_str(&gz)) : post_report(c, &targets[i], buf_str(&gz));
		if (e == ERR_OK)
			sent[(*sent_n)++] = is_mail ? targets[i].address : targets[i].host;
		else if (e != ERR_INVALID && e != ERR_LIMIT)
			result = e;
	}
	return *sent_n > 0 ? ERR_OK : result;
}

/* Who wants reports about the domain. ERR_AGAIN: nobody could say. */
static enum err find_targets(struct admin_call *c, struct str domain, struct tlsrpt_target out[TLSRPT_TARGETS_MAX], size_t *n)
{
	struct str texts[TEXTS_MAX];
	struct dns_answer answer;
	size_t count = 0;

	TRY(c->host->question(c->host->context, arena_printf(&c->arena, "_smtp._tls." STR_FMT, STR_ARG(domain)), DNS_TXT, &c->arena, &answer));
	if (answer.outcome == DNS_FAILED || answer.outcome == DNS_FORGED)
		return ERR_AGAIN;
	for (size_t i = 0; i < answer.n && count < TEXTS_MAX; i++)
		count += dns_read_text(answer.records[i], &c->arena, &texts[count]);
	*n = tlsrpt_record(texts, count, &c->arena, out);
	return ERR_OK;
}

static void put_report(struct admin_call *c, const struct book_domain *d, const struct str *sent, size_t n)
{
	json_t *row = admin_row(c);

	admin_put_text(row, "day", day_text(c, d->day));
	admin_put_text(row, "domain", d->domain);
	admin_put_number(row, "secure", d->good);
	admin_put_number(row, "failures", d->bad);
	admin_put_list(row, "sent_to", sent, n);
}

/* What cannot be done now stays in the book; the error is about the book or the directory. */
static enum err report_domain(struct admin_call *c, const struct book_domain *d)
{
	struct tlsrpt_report r = { .domain = d->domain, .day = d->day };
	struct tlsrpt_target targets[TLSRPT_TARGETS_MAX];
	struct str sent[TLSRPT_TARGETS_MAX];
	struct tls_session *sessions;
	size_t n = 0, sent_n = 0;
	enum err e = find_targets(c, d->domain, targets, &n);

	if (e != ERR_OK)
		return ERR_OK;
	if (n > 0) {
		TRY(set_sender(c, &r));
		set_id(c, &r);
		TRY(book_sessions(c->host->book, d->day, d->domain, &c->arena, &sessions, &r.n));
		r.sessions = sessions;
		e = send_report(c, &r, targets, n, sent, &sent_n);
		log_info("tls report domain=" STR_FMT " day=" STR_FMT " sent=%zu id=" STR_FMT " result=%s", STR_ARG(d->domain), STR_ARG(day_text(c, d->day)), sent_n,
		         STR_ARG(r.id), err_name(e));
	}
	if (sent_n > 0)
		put_report(c, d, sent, sent_n);
	return e == ERR_OK || e == ERR_INVALID || e == ERR_LIMIT ? book_reported(c->host->book, d->day, d->domain) : ERR_OK;
}

/* The domain's own minute has come. */
static bool is_due(const struct book_domain *d, int64_t now_s)
{
	uint64_t seconds = str_hash_keyed(d->domain, 0, 0) % SPREAD_S;

	return now_s >= (d->day + 1) * DAY_S + (int64_t)seconds;
}

enum err admin_tls_report(struct admin_call *c)
{
	bool now = admin_is_on(c, "now");
	struct book_domain *list;
	uint64_t reported = 0;
	size_t n;

	TRY(need_book(c));
	if (!book_begin_report(c->host->book))
		return admin_refuse(c, ERR_AGAIN, TEXT_TLS_REPORTING, STR(""));
	enum err e = book_domains(c->host->book, now ? INT64_MAX : clock_wall_s() / DAY_S, &c->arena, &list, &n);
	for (size_t i = 0; e == ERR_OK && i < n; i++) {
		if (!now && !is_due(&list[i], clock_wall_s()))
			continue;
		e = report_domain(c, &list[i]);
		reported++;
		admin_progress(c, i + 1, n);
	}
	book_end_report(c->host->book);
	if (e != ERR_OK)
		return e;
	return admin_said(c, TEXT_TLS_REPORTED, admin_number_text(c, reported));
}
