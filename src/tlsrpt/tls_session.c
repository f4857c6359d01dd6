/* Sessions and kept policies as bytes, and the tally: a table from the bytes of a session without its number to that number. */
#include "tlsrpt/tls_session.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

enum { TAKE_MAX = 50000, SESSION_BYTES_MAX = TLS_SESSION_TEXT_MAX + TLS_SESSION_INFO_MAX + 5 * TLS_SESSION_NAME_MAX, DOMAIN_ID_MAX = 255 };

const char *tls_policy_name(enum tls_policy p)
{
	static const char *const names[TLS_POLICY_COUNT] = { [TLS_POLICY_NONE] = "no-policy-found", [TLS_POLICY_STS] = "sts", [TLS_POLICY_TLSA] = "tlsa" };

	return (unsigned)p < TLS_POLICY_COUNT && names[p] ? names[p] : "";
}

const char *tls_result_name(enum tls_result r)
{
	static const char *const names[TLS_RESULT_COUNT] = {
		[TLS_RESULT_GOOD] = "", [TLS_RESULT_NO_STARTTLS] = "starttls-not-supported", [TLS_RESULT_HOST_MISMATCH] = "certificate-host-mismatch",
		[TLS_RESULT_EXPIRED] = "certificate-expired", [TLS_RESULT_NOT_TRUSTED] = "certificate-not-trusted", [TLS_RESULT_FAILURE] = "validation-failure",
		[TLS_RESULT_TLSA_INVALID] = "tlsa-invalid", [TLS_RESULT_DNSSEC_INVALID] = "dnssec-invalid", [TLS_RESULT_DANE_REQUIRED] = "dane-required",
		[TLS_RESULT_STS_FETCH] = "sts-policy-fetch-error", [TLS_RESULT_STS_INVALID] = "sts-policy-invalid",
		[TLS_RESULT_STS_WEBPKI] = "sts-webpki-invalid",
	};

	return (unsigned)r < TLS_RESULT_COUNT ? names[r] : "";
}

/* Not in the middle of a line. */
static struct str clip_lines(struct str text)
{
	struct str cut = str_sub(text, 0, TLS_SESSION_TEXT_MAX);

	return cut.n == text.n ? text : str_sub(cut, 0, (size_t)(str_rchr(cut, '\n') + 1));
}

static void put_kind(struct buf *b, const struct tls_session *s)
{
	put_str(b, str_sub(s->domain, 0, TLS_SESSION_NAME_MAX));
	put_u8(b, (uint8_t)s->policy);
	put_str(b, clip_lines(s->text));
	put_u8(b, (uint8_t)s->result);
	put_str(b, str_sub(s->mx, 0, TLS_SESSION_NAME_MAX));
	put_str(b, str_sub(s->receiving_ip, 0, TLS_SESSION_NAME_MAX));
	put_str(b, str_sub(s->sending_ip, 0, TLS_SESSION_NAME_MAX));
	put_str(b, str_sub(s->info, 0, TLS_SESSION_INFO_MAX));
}

void put_tls_session(struct buf *b, const struct tls_session *s)
{
	put_u32(b, s->count);
	put_kind(b, s);
}

bool get_tls_session(struct scan *s, struct tls_session *out)
{
	uint8_t policy, result;

	if (scan_done(s))
		return false;
	out->count = get_u32(s);
	out->domain = get_str(s, TLS_SESSION_NAME_MAX);
	policy = get_u8(s);
	out->text = get_str(s, TLS_SESSION_TEXT_MAX);
	result = get_u8(s);
	out->mx = get_str(s, TLS_SESSION_NAME_MAX);
	out->receiving_ip = get_str(s, TLS_SESSION_NAME_MAX);
	out->sending_ip = get_str(s, TLS_SESSION_NAME_MAX);
	out->info = get_str(s, TLS_SESSION_INFO_MAX);
	if (policy == 0 || policy >= TLS_POLICY_COUNT || result >= TLS_RESULT_COUNT || out->domain.n == 0)
		scan_fail(s);
	out->policy = (enum tls_policy)policy;
	out->result = (enum tls_result)result;
	return !s->failed;
}

void put_sts_record(struct buf *b, const struct sts_record *r)
{
	put_str(b, r->domain);
	put_str(b, r->id);
	put_str(b, r->text);
	put_i64(b, r->expires_s);
}

bool get_sts_record(struct scan *s, struct sts_record *out)
{
	if (scan_done(s))
		return false;
	out->domain = get_str(s, DOMAIN_ID_MAX);
	out->id = get_str(s, DOMAIN_ID_MAX);
	out->text = get_str(s, STS_RECORD_TEXT_MAX);
	out->expires_s = get_i64(s);
	if (out->domain.n == 0)
		scan_fail(s);
	return !s->failed;
}

/* ---- the tally ---- */

struct tls_tally {
	struct map kinds;      /* bytes of a session without its number -> the number */
	uint64_t   left_out;
	void     (*news)(void *context);
	void      *context;
};

struct tls_tally *tls_tally_new(void (*news)(void *context), void *context)
{
	struct tls_tally *t = MEM_NEW(struct tls_tally);

	*t = (struct tls_tally){ .news = news, .context = context };
	return t;
}

void tls_tally_free(struct tls_tally *t)
{
	if (t == NULL)
		return;
	map_free(&t->kinds);
	mem_free(t);
}

void tls_tally_add(struct tls_tally *t, const struct tls_session *s)
{
	CLEANUP(buf_free) struct buf b = BUF(2 * SESSION_BYTES_MAX);
	uintptr_t n;

	if (t == NULL || s->count == 0 || s->domain.n == 0)
		return;
	if (t->kinds.n == 0 && t->news != NULL)
		t->news(t->context);
	put_kind(&b, s);
	n = (uintptr_t)map_get(&t->kinds, buf_str(&b));
	if (n == 0 && t->kinds.n >= TLS_TALLY_MAX)
		t->left_out += s->count;
	else
		map_set(&t->kinds, buf_str(&b), (void *)(n + s->count > UINT32_MAX ? UINT32_MAX : n + s->count));
}

bool tls_tally_take(struct tls_tally *t, struct buf *out)
{
	size_t at = 0;
	struct str kind;
	void *n;

	while (out->n < TAKE_MAX - 2 * SESSION_BYTES_MAX && map_next(&t->kinds, &at, &kind, &n)) {
		put_u32(out, (uint32_t)(uintptr_t)n);
		buf_add(out, kind);
		map_set(&t->kinds, kind, NULL);
	}
	if (t->left_out)
		log_warn("too many kinds of TLS sessions at once: some are missing in reports sessions=%llu", (unsigned long long)t->left_out);
	t->left_out = 0;
	return out->n > 0;
}
