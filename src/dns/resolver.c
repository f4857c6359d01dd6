/* Questions, on libunbound.
 *
 * The library resolves and validates in a thread of its own, started with the first question, and reports through a descriptor that the
 * loop watches: signatures are checked beside the loop, not in it, and no thread of ours waits. (It also runs inside an event loop of
 * the caller; then a page of RSA signatures would hold up every connection.)
 *
 * A question lives from resolver_ask() until the library has answered, whatever the asker does: cancelled or over time it only loses its
 * callback. So the library is never told to forget, which costs it more than to finish, and its answer serves the next one who
 * asks. QUESTIONS_MAX bounds what may be open.
 *
 * What was answered is kept here for a while (kept.h), so that the library's thread is not woken for it again.
 *
 * Names under test., and the reverse zones of private networks, are answered by the library itself, empty. With name servers that
 * were set on purpose these may well know better: there they are asked.
 *
 * The key of the root is that of the package dns-root-data, which the distribution keeps current; the two keys built in are for
 * machines without it. */
#include "dns/resolver.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "dns/kept.h"
#include "dns/name.h"
#include <stdio.h>
#include <unbound.h>
#include <unistd.h>

enum { QUESTIONS_MAX = 10000, CLASS_IN = 1 };

static const char root_key_file[] = "/usr/share/dns/root.key";
/* KSK-2017 and KSK-2024 of the root zone (https://data.iana.org/root-anchors/root-anchors.xml) */
static const char *const root_keys[] = {
	". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
	". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
};

struct resolver {
	struct loop    *loop;
	struct ub_ctx  *ub;
	struct loop_fd  answers;
	struct question *first;     /* all that the library has not answered */
	struct kept     *kept;
	struct resolver_counts counts;
};

struct question {
	struct resolver *r;
	struct question *next, **link;
	dns_answered     done;      /* NULL: nobody waits any more */
	void            *context;
	struct str       name;
	uint16_t         type;
	struct arena     arena;
	struct loop_timer deadline;
	struct loop_task  at_once;  /* for what needs no server: with this answer */
	struct dns_answer answer;
};

static void forget(struct question *q)
{
	struct resolver *r = q->r;

	loop_timer_stop(r->loop, &q->deadline);
	loop_defer_cancel(r->loop, &q->at_once);
	*q->link = q->next;
	if (q->next)
		q->next->link = q->link;
	r->counts.waiting--;
	arena_free(&q->arena);
	mem_free(q);
}

/* To the asker, if there is still one. */
static void answer(struct question *q, const struct dns_answer *a)
{
	dns_answered done = q->done;

	loop_timer_stop(q->r->loop, &q->deadline);
	if (done == NULL)
		return;
	q->done = NULL;
	q->r->counts.answered++;
	q->r->counts.failed += a->outcome == DNS_FAILED;
	q->r->counts.forged += a->outcome == DNS_FORGED;
	done(q->context, a);
}

static struct dns_answer without_records(const struct question *q, enum dns_outcome outcome, const char *why)
{
	return (struct dns_answer){ .outcome = outcome, .type = q->type, .name = q->name, .canonical = q->name, .why = str_of(why) };
}

static void answer_without_records(struct question *q, enum dns_outcome outcome, const char *why)
{
	struct dns_answer a = without_records(q, outcome, why);

	answer(q, &a);
}

static void is_over_time(void *context)
{
	struct question *q = context;
	struct str why = arena_printf(&q->arena, "the name servers did not answer within %d seconds", DNS_DEADLINE_MS / 1000);

	answer_without_records(q, DNS_FAILED, why.p);
}

static void answer_at_once(void *context)
{
	struct question *q = context;

	answer(q, &q->answer);
	forget(q);
}

/* ---- the library's answer ---- */

static const char *failure_text(int rcode)
{
	switch (rcode) {
	case 1: return "the name servers could not read the question (FORMERR)";
	case 2: return "the name servers failed or could not be reached (SERVFAIL)";
	case 4: return "the name servers do not know this kind of question (NOTIMP)";
	case 5: return "the name servers refuse to answer (REFUSED)";
	default: return "the name servers answered with an error";
	}
}

static enum dns_outcome outcome_of(const struct ub_result *u)
{
	if (u->bogus)
		return DNS_FORGED;
	if (u->rcode == 0 && u->havedata)
		return DNS_RECORDS;
	if (u->rcode == 0)
		return DNS_NONE;
	return u->nxdomain ? DNS_NO_NAME : DNS_FAILED;
}

static struct str without_dot(struct arena *a, struct str name)
{
	struct str s = str_lower(a, name);

	if (s.n > 0 && s.p[s.n - 1] == '.')
		s.n--;
	return s;
}

/* The records are viewed where the library has them. */
static void convert(struct question *q, const struct ub_result *u, struct dns_answer *a)
{
	*a = (struct dns_answer){ .outcome = outcome_of(u), .type = q->type, .name = q->name, .canonical = q->name,
	                          .is_secure = u->secure && !u->bogus, .ttl_s = u->ttl > 0 ? (uint32_t)u->ttl : 0 };
	if (u->canonname && strlen(u->canonname) <= DNS_NAME_MAX)
		a->canonical = without_dot(&q->arena, str_of(u->canonname));
	if (a->outcome == DNS_FAILED)
		a->why = str_of(failure_text(u->rcode));
	if (a->outcome == DNS_FORGED)
		a->why = u->why_bogus ? str_of(u->why_bogus) : STR("the answer is not signed as its domain promises (DNSSEC)");
	if (a->outcome == DNS_FAILED || a->outcome == DNS_FORGED)
		a->ttl_s = 0;
	if (a->outcome != DNS_RECORDS)
		return;
	a->records = arena_array(&q->arena, DNS_RECORDS_MAX, sizeof *a->records);
	for (; u->data[a->n] && a->n < DNS_RECORDS_MAX; a->n++)
		a->records[a->n] = str_make(u->data[a->n], (size_t)u->len[a->n]);
}

static void has_answered(void *context, int error, struct ub_result *u)
{
	struct question *q = context;
	struct dns_answer a;

	if (error || u == NULL) {
		answer_without_records(q, DNS_FAILED, ub_strerror(error ? error : UB_SERVFAIL));
	} else {
		convert(q, u, &a);
		kept_add(q->r->kept, &a, clock_mono_ms());
		answer(q, &a);
	}
	forget(q);
	ub_resolve_free(u);
}

static void answers_are_there(void *context, UNUSED unsigned events)
{
	struct resolver *r = context;
	int error = ub_process(r->ub);

	if (error == 0)
		return;
	log_error("the resolver does not answer any more error=%s", ub_strerror(error));
	loop_unwatch(r->loop, &r->answers);
}

/* ---- asking ---- */

static void answer_soon(struct question *q, struct dns_answer a)
{
	q->answer = a;
	q->at_once = (struct loop_task){ .run = answer_at_once, .context = q };
	loop_defer(q->r->loop, &q->at_once);
}

struct question *resolver_ask(struct resolver *r, struct str name, uint16_t type, dns_answered done, void *context)
{
	struct question *q = MEM_NEW(struct question);
	struct dns_answer kept;
	int error;

	*q = (struct question){ .r = r, .next = r->first, .link = &r->first, .done = done, .context = context, .type = type };
	if (r->first)
		r->first->link = &q->next;
	r->first = q;
	r->counts.asked++;
	r->counts.waiting++;
	q->name = without_dot(&q->arena, name);
	q->deadline = (struct loop_timer){ .due = is_over_time, .context = q };
	if (!domain_is_name(q->name)) {
		answer_soon(q, without_records(q, DNS_NO_NAME, NULL));
		return q;
	}
	if (kept_find(r->kept, q->name, type, clock_mono_ms(), &q->arena, &kept)) {
		answer_soon(q, kept);
		return q;
	}
	if (r->counts.waiting > QUESTIONS_MAX) {
		answer_soon(q, without_records(q, DNS_FAILED, "this server waits for too many answers already"));
		return q;
	}
	error = ub_resolve_async(r->ub, str_cstr(&q->arena, q->name), type, CLASS_IN, q, has_answered, NULL);
	if (error)
		answer_soon(q, without_records(q, DNS_FAILED, ub_strerror(error)));
	else
		loop_timer_in(r->loop, &q->deadline, DNS_DEADLINE_MS);
	return q;
}

void *question_context(struct question *q, size_t n)
{
	q->context = arena_alloc(&q->arena, n);
	return q->context;
}

void question_cancel(struct question *q)
{
	if (q == NULL)
		return;
	q->done = NULL;
	loop_timer_stop(q->r->loop, &q->deadline);
}

struct loop *resolver_loop(const struct resolver *r) { return r->loop; }

struct resolver_counts resolver_counts(const struct resolver *r) { return r->counts; }

void dns_answer_copy(struct arena *a, const struct dns_answer *from, struct dns_answer *to)
{
	*to = *from;
	to->name = str_copy(a, from->name);
	to->canonical = str_copy(a, from->canonical);
	to->why = str_copy(a, from->why);
	to->records = arena_array(a, from->n, sizeof *to->records);
	for (size_t i = 0; i < from->n; i++)
		to->records[i] = str_copy(a, from->records[i]);
}

/* ---- set up ---- */

struct resolver_config resolver_config_of(const struct conf *c)
{
	return (struct resolver_config){ .servers = conf_text(c, SETTING_dns_server), .trust_anchor = conf_text(c, SETTING_dns_trust_anchor) };
}

/* A stream of lines from the library: "[1795849437] libunbound[29891:0] error: text". */
static ssize_t log_what_it_says(UNUSED void *cookie, const char *text, size_t n)
{
	struct str line = str_trim(str_make(text, n));
	ptrdiff_t name = str_find(line, STR(" libunbound[")), end = name < 0 ? -1 : str_find(str_from(line, (size_t)name), STR("] "));

	if (end > 0)
		line = str_from(line, (size_t)(name + end + 2));

	if (line.n)
		log_warn("the resolver says text=" STR_FMT, STR_ARG(line));
	return (ssize_t)n;
}

/* The library has one log for all of a process; it is never closed, since the library never lets go of it. */
static void take_its_log(struct ub_ctx *ub)
{
	static FILE *log;
	cookie_io_functions_t to_log = { .write = log_what_it_says };

	if (log == NULL && (log = fopencookie(NULL, "w", to_log)) != NULL)
		setvbuf(log, NULL, _IOLBF, BUFSIZ);
	if (log)
		ub_ctx_debugout(ub, log);
}

/* name: value, as in unbound.conf(5); false is a mistake of ours */
static bool set_options(struct ub_ctx *ub, const struct resolver_config *c)
{
	static const struct { const char *name, *value; } options[] = {
		{ "outgoing-range:", "256" },        /* sockets at once */
		{ "outgoing-num-tcp:", "32" },
		{ "num-queries-per-thread:", "4096" },
		{ "msg-cache-size:", "4m" }, { "rrset-cache-size:", "8m" }, { "key-cache-size:", "2m" }, { "neg-cache-size:", "1m" },
		{ "cache-max-ttl:", "86400" },
		{ "infra-host-ttl:", "60" },         /* a server that was away is asked again soon: mail waits, people do not sit before it */
		{ "infra-keep-probing:", "yes" },
		{ "minimal-responses:", "yes" },
		{ "harden-glue:", "yes" }, { "harden-dnssec-stripped:", "yes" }, { "harden-below-nxdomain:", "yes" },
		{ "qname-minimisation:", "yes" },
	};
	bool fine = true;

	for (size_t i = 0; i < COUNT_OF(options); i++)
		fine &= ub_ctx_set_option(ub, options[i].name, options[i].value) == 0;
	return fine && (c->servers.n == 0 || ub_ctx_set_option(ub, "unblock-lan-zones:", "yes") == 0);
}

static bool set_servers(struct ub_ctx *ub, struct str servers)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str one;

	while (servers.n) {
		str_cut(servers, ' ', &one, &servers);
		if (one.n == 0)
			continue;
		if (ub_ctx_set_fwd(ub, str_cstr(&a, one)) != 0) {
			log_error("dns_server: this is no address of a name server (192.0.2.53, 2001:db8::53@5353) server=" STR_FMT, STR_ARG(one));
			return false;
		}
	}
	return true;
}

static bool set_trust_anchor(struct ub_ctx *ub, struct str path)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *file = path.n ? str_cstr(&a, path) : root_key_file;
	int bad = 0;

	if (str_eq(path, STR("none")))
		return true;
	if (access(file, R_OK) == 0)
		return ub_ctx_add_ta_file(ub, file) == 0;
	if (path.n) {
		(void)log_errno("open", file);
		return false;
	}
	log_info("the keys of the root are those built in: install dns-root-data to have them kept current");
	for (size_t i = 0; i < COUNT_OF(root_keys); i++)
		bad |= ub_ctx_add_ta(ub, root_keys[i]);
	return bad == 0;
}

/* Files are read when the library takes its settings as final; a change of its own zones makes it do so. "invalid." has no names in any
 * case (RFC 6761 §6.4). */
static bool read_files(struct ub_ctx *ub, const struct resolver_config *c)
{
	return ub_ctx_zone_add(ub, "invalid.", "static") == 0 && (c->servers.n == 0 || ub_ctx_zone_remove(ub, "test.") == 0);
}

enum err resolver_new(struct loop *loop, const struct resolver_config *c, struct resolver **out)
{
	struct resolver *r = MEM_NEW(struct resolver);

	*r = (struct resolver){ .loop = loop, .ub = ub_ctx_create() };
	if (r->ub == NULL) {
		mem_free(r);
		return log_errno("ub_ctx_create", "resolver");
	}
	r->kept = kept_new();
	take_its_log(r->ub);
	if (ub_ctx_async(r->ub, 1) != 0 || !set_options(r->ub, c) || !set_servers(r->ub, c->servers) ||
	    !set_trust_anchor(r->ub, c->trust_anchor) || !read_files(r->ub, c)) {
		log_error("the resolver cannot start: see dns_server and dns_trust_anchor in facteur.conf");
		resolver_free(r);
		return ERR_INVALID;
	}
	r->answers = (struct loop_fd){ .ready = answers_are_there, .context = r, .fd = ub_fd(r->ub) };
	loop_watch(loop, &r->answers, LOOP_READ);
	*out = r;
	return ERR_OK;
}

void resolver_free(struct resolver *r)
{
	if (r == NULL)
		return;
	loop_unwatch(r->loop, &r->answers);
	ub_ctx_delete(r->ub);  /* its thread ends; no callback runs */
	while (r->first)
		forget(r->first);
	kept_free(r->kept);
	mem_free(r);
}
