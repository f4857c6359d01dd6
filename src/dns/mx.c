/* The search for a route: which questions are asked, when all answers are in. What they mean is in mx_plan.c.
 *
 *      MX of the domain ──► A and AAAA of every host, all at once ──► TLSA of each whose addresses are signed ──► done
 *
 * `open` counts questions without answer; at zero the next stage begins. Every question has its own deadline (DNS_DEADLINE_MS),
 * so a search ends after four of them at the latest. */
#include "dns/mx_private.h"
#include "base/mem.h"

enum stage { STAGE_MX, STAGE_ADDRESSES, STAGE_TLSA };

struct ask {                    /* one question for a host */
	struct mx_search *search;
	size_t            host;
	unsigned          attempt;  /* TLSA: which base domain */
	struct str        base;
	struct question  *question; /* NULL: answered */
};

struct mx_search {
	struct resolver *resolver;
	uint16_t         port;
	enum stage       stage;
	bool             without_dane;
	struct mx_plan   plan;
	mx_done          done;
	void            *context;
	struct loop_task settled;   /* without a question for MX */
	struct question *mx;
	struct ask      *asks[2];   /* A and AAAA; then TLSA in the first: one for each host */
	size_t           open;
};

static void search_free(struct mx_search *s)
{
	loop_defer_cancel(resolver_loop(s->resolver), &s->settled);
	question_cancel(s->mx);
	for (size_t k = 0; k < 2; k++)
		for (size_t i = 0; s->asks[k] && i < s->plan.route->host_count; i++)
			question_cancel(s->asks[k][i].question);
	mx_route_free(s->plan.route);
	mem_free(s);
}

static void next_stage(struct mx_search *s);

static void finish(struct mx_search *s)
{
	struct mx_route *route = s->plan.route;
	mx_done done = s->done;
	void *context = s->context;

	mem_free(s);   /* no question is open */
	done(context, route);
}

static void answered_address(void *context, const struct dns_answer *a)
{
	struct ask *x = context;
	struct mx_search *s = x->search;

	x->question = NULL;
	mx_plan_addresses(&s->plan, x->host, a);
	if (--s->open == 0)
		next_stage(s);
}

static void ask_addresses(struct mx_search *s)
{
	static const uint16_t types[] = { DNS_AAAA, DNS_A };
	struct mx_route *r = s->plan.route;

	for (size_t k = 0; k < COUNT_OF(types); k++) {
		s->asks[k] = arena_array(&r->arena, r->host_count, sizeof *s->asks[k]);
		for (size_t i = 0; i < r->host_count; i++) {
			struct ask *x = &s->asks[k][i];
			*x = (struct ask){ .search = s, .host = i };
			x->question = resolver_ask(s->resolver, r->hosts[i].name, types[k], answered_address, x);
			s->open++;
		}
	}
}

static bool ask_tlsa(struct ask *x);

static void answered_tlsa(void *context, const struct dns_answer *a)
{
	struct ask *x = context;
	struct mx_search *s = x->search;

	x->question = NULL;
	s->open--;
	if (!mx_plan_tlsa(&s->plan, x->host, x->base, a)) {
		x->attempt++;
		(void)ask_tlsa(x);
	}
	if (s->open == 0)
		next_stage(s);
}

/* False: there is nothing to ask. */
static bool ask_tlsa(struct ask *x)
{
	struct mx_search *s = x->search;
	struct str name;

	x->base = mx_plan_tlsa_base(&s->plan, x->host, x->attempt);
	if (x->base.n == 0)
		return false;
	name = arena_printf(&s->plan.route->arena, "_%u._tcp." STR_FMT, s->port, STR_ARG(x->base));
	x->question = resolver_ask(s->resolver, name, DNS_TLSA, answered_tlsa, x);
	s->open++;
	return true;
}

static void ask_dane(struct mx_search *s)
{
	struct mx_route *r = s->plan.route;

	s->asks[0] = arena_array(&r->arena, r->host_count, sizeof *s->asks[0]);
	s->asks[1] = NULL;
	for (size_t i = 0; i < r->host_count; i++) {
		s->asks[0][i] = (struct ask){ .search = s, .host = i };
		(void)ask_tlsa(&s->asks[0][i]);
	}
}

static void next_stage(struct mx_search *s)
{
	if (s->stage == STAGE_MX && !s->plan.route->outcome) {
		s->stage = STAGE_ADDRESSES;
		ask_addresses(s);
		return;
	}
	if (s->stage == STAGE_ADDRESSES) {
		s->stage = STAGE_TLSA;
		mx_plan_cut(&s->plan);
		if (!s->plan.route->outcome && !s->without_dane)
			ask_dane(s);
		if (s->open)
			return;
	}
	mx_plan_targets(&s->plan);
	finish(s);
}

static void answered_mx(void *context, const struct dns_answer *a)
{
	struct mx_search *s = context;

	s->mx = NULL;
	mx_plan_hosts(&s->plan, a);
	next_stage(s);
}

static void settled(void *context)
{
	struct mx_search *s = context;

	if (s->plan.route->outcome)
		finish(s);
	else
		next_stage(s);
}

static struct mx_search *search_new(struct resolver *r, struct str domain, uint16_t port, mx_done done, void *context)
{
	struct mx_search *s = MEM_NEW(struct mx_search);

	*s = (struct mx_search){ .resolver = r, .port = port, .done = done, .context = context };
	s->settled = (struct loop_task){ .run = settled, .context = s };
	s->plan = (struct mx_plan){ .route = mx_route_new(domain), .context = context };
	return s;
}

struct mx_search *mx_find(struct resolver *r, struct str domain, uint16_t port, mx_judge judge, mx_done done, void *context)
{
	struct mx_search *s = search_new(r, domain, port, done, context);

	s->plan.judge = judge;
	if (mx_plan_at_once(&s->plan))
		loop_defer(resolver_loop(r), &s->settled);
	else
		s->mx = resolver_ask(r, s->plan.route->domain, DNS_MX, answered_mx, s);
	return s;
}

struct mx_search *mx_find_host(struct resolver *r, struct str host, uint16_t port, mx_done done, void *context)
{
	struct mx_search *s = search_new(r, host, port, done, context);

	s->plan.route->is_given = true;
	if (!mx_plan_at_once(&s->plan))
		mx_plan_given(&s->plan);
	loop_defer(resolver_loop(r), &s->settled);
	return s;
}

void mx_without_dane(struct mx_search *s) { s->without_dane = true; }

void mx_cancel(struct mx_search *s)
{
	if (s != NULL)
		search_free(s);
}
