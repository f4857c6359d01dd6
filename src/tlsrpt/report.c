/* What a report says, and how it travels. Names and texts in it are strangers' (hosts, policies): JSON quotes what it must, and headers get
 * only what is a domain, an address of ours or a number. */
#include "tlsrpt/report.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "base/scan.h"
#include "mime/date.h"
#include <jansson.h>
#include <time.h>
#include <zlib.h>

enum { DAY_S = 86400, LINE = 76, FAILURES_MAX = 2000 };

/* ---- JSON ---- */

static void set_text(json_t *o, const char *key, struct str text)
{
	json_t *value = text.n ? json_stringn(text.p, text.n) : NULL;   /* NULL also when it is not UTF-8 */

	if (value)
		json_object_set_new(o, key, value);
}

static struct str time_text(int64_t unix_s, struct arena *a)
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	gmtime_r(&t, &tm);
	return arena_printf(a, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* The lines of the policy; only_mx: the hosts that one of MTA-STS names. */
static json_t *lines_of(struct str text, bool only_mx)
{
	json_t *list = json_array();
	struct str line, key, value;

	while (text.n) {
		str_cut(text, '\n', &line, &text);
		line = str_trim(line);
		if (only_mx)
			line = str_cut(line, ':', &key, &value) && str_eq(str_trim(key), STR("mx")) ? str_trim(value) : STR("");
		if (line.n)
			json_array_append_new(list, json_stringn(line.p, line.n));
	}
	return list;
}

static json_t *policy_of(const struct tls_session *s)
{
	json_t *policy = json_object();

	set_text(policy, "policy-type", str_of(tls_policy_name(s->policy)));
	if (s->text.n)
		json_object_set_new(policy, "policy-string", lines_of(s->text, false));
	set_text(policy, "policy-domain", s->domain);
	if (s->policy == TLS_POLICY_STS && s->text.n)
		json_object_set_new(policy, "mx-host", lines_of(s->text, true));
	return policy;
}

static json_t *failure_of(const struct tls_session *s)
{
	json_t *f = json_object();

	set_text(f, "result-type", str_of(tls_result_name(s->result)));
	set_text(f, "sending-mta-ip", s->sending_ip);
	set_text(f, "receiving-mx-hostname", s->mx);
	set_text(f, "receiving-ip", s->receiving_ip);
	set_text(f, "failure-reason-code", s->info);
	json_object_set_new(f, "failed-session-count", json_integer(s->count));
	return f;
}

static bool is_same_policy(const struct tls_session *a, const struct tls_session *b) { return a->policy == b->policy && str_eq(a->text, b->text); }

/* All sessions from *at on that were under the same policy. */
static json_t *policy_row(const struct tlsrpt_report *r, size_t *at)
{
	const struct tls_session *first = &r->sessions[*at];
	json_t *row = json_object(), *failures = json_array();
	uint64_t good = 0, bad = 0;

	for (; *at < r->n && is_same_policy(first, &r->sessions[*at]); ++*at) {
		const struct tls_session *s = &r->sessions[*at];
		*(s->result == TLS_RESULT_GOOD ? &good : &bad) += s->count;
		if (s->result != TLS_RESULT_GOOD && json_array_size(failures) < FAILURES_MAX)
			json_array_append_new(failures, failure_of(s));
	}
	json_object_set_new(row, "policy", policy_of(first));
	json_object_set_new(row, "summary", json_pack("{s:I, s:I}", "total-successful-session-count", (json_int_t)good, "total-failure-session-count", (json_int_t)bad));
	if (json_array_size(failures) > 0)
		json_object_set_new(row, "failure-details", failures);
	else
		json_decref(failures);
	return row;
}

void tlsrpt_json(const struct tlsrpt_report *r, struct buf *out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	json_t *report = json_object(), *range = json_object(), *policies = json_array();

	set_text(report, "organization-name", r->organization);
	set_text(range, "start-datetime", time_text(r->day * DAY_S, &a));
	set_text(range, "end-datetime", time_text(r->day * DAY_S + DAY_S - 1, &a));
	json_object_set_new(report, "date-range", range);
	set_text(report, "contact-info", r->contact);
	set_text(report, "report-id", r->id);
	for (size_t at = 0; at < r->n;)
		json_array_append_new(policies, policy_row(r, &at));
	json_object_set_new(report, "policies", policies);
	size_t n = json_dumpb(report, NULL, 0, JSON_COMPACT);
	char *room = buf_reserve(out, n);
	if (room)
		buf_grew(out, json_dumpb(report, room, n, JSON_COMPACT));
	json_decref(report);
}

/* ---- gzip ---- */

enum err tlsrpt_gzip(struct str json, struct buf *out)
{
	z_stream z = { 0 };
	int done;

	if (deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return ERR_LIMIT;
	size_t max = deflateBound(&z, (uLong)json.n);
	char *room = buf_reserve(out, max);
	if (room == NULL) {
		deflateEnd(&z);
		return ERR_LIMIT;
	}
	z.next_in = (Bytef *)(uintptr_t)json.p;
	z.avail_in = (uInt)json.n;
	z.next_out = (Bytef *)room;
	z.avail_out = (uInt)max;
	done = deflate(&z, Z_FINISH);
	buf_grew(out, max - z.avail_out);
	deflateEnd(&z);
	return done == Z_STREAM_END ? ERR_OK : ERR_LIMIT;
}

/* ---- the message ---- */

struct str tlsrpt_file_name(const struct tlsrpt_report *r, struct arena *a)
{
	return arena_printf(a, STR_FMT "!" STR_FMT "!%lld!%lld!" STR_FMT ".json.gz", STR_ARG(r->domain_of_sender), STR_ARG(r->domain),
	                    (long long)r->day * DAY_S, (long long)r->day * DAY_S + DAY_S - 1, STR_ARG(r->id));
}

static void put_base64(struct str bytes, struct buf *out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str text = base64_encode(&a, bytes);

	for (size_t at = 0; at < text.n; at += LINE) {
		buf_add(out, str_sub(text, at, LINE));
		buf_add_cstr(out, "\r\n");
	}
}

/* TLS-Required: No, because what is wrong with TLS there must not keep the report of it away (RFC 8460 §3, RFC 8689 §3). */
static void put_header(const struct tlsrpt_report *r, struct str to, int64_t now_s, struct str boundary, struct buf *out)
{
	char date[DATE_TEXT_MAX];

	buf_printf(out, "Date: " STR_FMT "\r\n", STR_ARG(str_make(date, date_format(now_s, 0, date))));
	buf_printf(out, "From: <" STR_FMT ">\r\nTo: <" STR_FMT ">\r\n", STR_ARG(r->contact), STR_ARG(to));
	buf_printf(out, "Subject: Report Domain: " STR_FMT "\r\n Submitter: " STR_FMT "\r\n Report-ID: <" STR_FMT ">\r\n", STR_ARG(r->domain),
	           STR_ARG(r->domain_of_sender), STR_ARG(r->id));
	buf_printf(out, "Message-ID: <" STR_FMT ">\r\n", STR_ARG(r->id));
	buf_printf(out, "TLS-Report-Domain: " STR_FMT "\r\nTLS-Report-Submitter: " STR_FMT "\r\n", STR_ARG(r->domain), STR_ARG(r->domain_of_sender));
	buf_add_cstr(out, "TLS-Required: No\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n");
	buf_printf(out, "Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n\tboundary=\"" STR_FMT "\"\r\n\r\n", STR_ARG(boundary));
}

void tlsrpt_mail(const struct tlsrpt_report *r, struct str to, struct str gz, int64_t now_s, struct buf *out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str boundary = STR("=_tlsrpt_part_="), day = str_sub(time_text(r->day * DAY_S, &a), 0, 10), name = tlsrpt_file_name(r, &a);

	put_header(r, to, now_s, boundary, out);
	buf_printf(out, "--" STR_FMT "\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nHow the encryption of mail from " STR_FMT " to\r\n" STR_FMT
	           "\r\nwent on " STR_FMT " (UTC). This report was asked for by the TXT record of _smtp._tls there (RFC 8460).\r\n\r\n", STR_ARG(boundary),
	           STR_ARG(r->organization), STR_ARG(r->domain), STR_ARG(day));
	buf_printf(out, "--" STR_FMT "\r\nContent-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\n"
	           "\tfilename=\"" STR_FMT "\"\r\n\r\n", STR_ARG(boundary), STR_ARG(name));
	put_base64(gz, out);
	buf_printf(out, "\r\n--" STR_FMT "--\r\n", STR_ARG(boundary));
}
