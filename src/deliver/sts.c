/* Policies of MTA-STS (RFC 8461 §5): the TXT record says which version there is, the web server has the text.
 *
 *      TXT of _mta-sts.DOMAIN ──► the id we have? ──► the policy we keep
 *                                 another id      ──► fetch it from mta-sts.DOMAIN, keep it for max_age
 *
 * What was kept and has not run out holds whatever goes wrong with a new look (§3.3, §5.1): an attacker who drops packets must not be able
 * to turn a policy off. What was never had cannot be missed: then mail goes as if there were none. A domain is in the table as long
 * as somebody asks or there is something to remember; most have no policy and leave nothing behind.
 *
 * Its end must not be such a moment: so it is fetched again while it has time left, each day, beside the messages, which go by the one that
 * is kept, also those that come while it is being fetched: a web server that lets us wait holds up nobody's mail. Where no mail goes, a
 * look each minute finds those whose time it is (§3.3, §10.2): else the first message after a quiet month would be the one to attack.
 *
 * One look at a time for each domain, however many messages wait for it. */
#include "deliver/sts.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "http/fetch.h"
#include <stdio.h>

enum { KEPT_BYTES_MAX = 16 << 20, LOOK_AGAIN_S = 86400, REFRESHED_MAX = 10 /* a minute: 14,400 a day */, UNUSED_S = 90 * 86400 };

struct sts_search {
	struct sts_search *next, **link;
	sts_done           done;
	void              *context;
};

struct entry {                      /* a domain */
	struct sts        *sts;
	struct entry      *older, *newer;   /* by last use */
	struct str         domain;
	struct arena       name, kept, failure;   /* of domain; of policy and id; of why */
	size_t             counted;         /* bytes of them in sts->bytes */
	struct sts_search *searches;
	bool               is_looking;      /* question or fetch is open, or it waits for one, or results are told */
	bool               is_beside;       /* a fetch is open, or it waits for one, and nobody waits for it */
	struct question   *question;
	struct http_fetch *fetch;
	struct entry      *waits;           /* behind it, for a fetch */
	bool               has_policy;
	struct mta_sts_policy policy;
	struct str         id, why;
	enum tls_result    trouble;         /* of why */
	int64_t            expires_s, failed_until_s, looked_s, used_s;   /* clock_mono_ms() / 1000 */
	char               new_id[MTA_STS_ID_MAX + 1], failed_id[MTA_STS_ID_MAX + 1];   /* of the TXT record */
};

struct sts {
	struct resolver   *resolver;
	struct tls_client *tls;
	uint16_t           port;
	struct map         entries;
	struct entry      *newest, *oldest;
	struct entry      *waiting, **waiting_end;
	size_t             fetches, bytes;
	void             (*kept)(void *context, const struct sts_record *r);
	void              *kept_context;
	bool               is_restoring;
	bool               public_only;
};

static int64_t now_s(void) { return clock_mono_ms() / 1000; }

/* ---- the table ---- */

static void unlink_entry(struct entry *e)
{
	*(e->newer ? &e->newer->older : &e->sts->newest) = e->older;
	*(e->older ? &e->older->newer : &e->sts->oldest) = e->newer;
	e->older = e->newer = NULL;
}

static void use_entry(struct entry *e)
{
	struct sts *s = e->sts;

	e->older = s->newest;
	*(s->newest ? &s->newest->newer : &s->oldest) = e;
	s->newest = e;
}

static void entry_free(struct entry *e)
{
	question_cancel(e->question);
	http_cancel(e->fetch);
	unlink_entry(e);
	map_set(&e->sts->entries, e->domain, NULL);
	e->sts->bytes -= e->counted;
	while (e->searches) {
		struct sts_search *x = e->searches;
		e->searches = x->next;
		mem_free(x);
	}
	arena_free(&e->name);
	arena_free(&e->kept);
	arena_free(&e->failure);
	mem_free(e);
}

static struct entry *entry_of(struct sts *s, struct str domain)
{
	struct entry *e = map_get(&s->entries, domain);

	if (e != NULL) {
		unlink_entry(e);
	} else {
		e = MEM_NEW(struct entry);
		e->sts = s;
		e->domain = str_lower(&e->name, domain);
		map_set(&s->entries, e->domain, e);
	}
	use_entry(e);
	e->used_s = now_s();
	return e;
}

/* Those that were used longest ago make room. */
static void make_room(struct sts *s)
{
	for (struct entry *e = s->oldest, *next; e && (s->entries.n > STS_KEPT_MAX || s->bytes > KEPT_BYTES_MAX); e = next) {
		next = e->newer;
		if (!e->is_looking && !e->is_beside && e->searches == NULL)
			entry_free(e);
	}
}

/* ---- telling ---- */

static bool holds(const struct entry *e) { return e->has_policy && now_s() < e->expires_s; }

/* Whoever asks while this runs is not in the list that is told. */
static void tell(struct entry *e, struct str why, enum tls_result trouble)
{
	const struct mta_sts_policy *p = holds(e) && e->policy.mode != MTA_STS_NONE ? &e->policy : NULL;
	struct sts_search *list = e->searches, *x;

	e->searches = NULL;
	if (list)
		list->link = &list;
	while ((x = list) != NULL) {
		sts_done done = x->done;
		void *context = x->context;
		sts_cancel(x);
		done(context, p, p ? STR_NONE : why, p || why.n == 0 ? TLS_RESULT_GOOD : trouble);
	}
}

static void look(struct entry *e);

static void finish(struct entry *e, struct str why, enum tls_result trouble)
{
	tell(e, why, trouble);
	e->is_looking = e->question != NULL;
	if (e->is_looking)
		return;
	if (e->searches)
		look(e);
	else if (!e->is_beside && !holds(e) && now_s() >= e->failed_until_s)
		entry_free(e);
}

/* ---- the web server ---- */

static enum err read_policy(const struct http_fetched *f, struct arena *a, struct mta_sts_policy *p, struct str *why, enum tls_result *trouble)
{
	*why = f->why;
	*trouble = f->has_bad_certificate ? TLS_RESULT_STS_WEBPKI : TLS_RESULT_STS_FETCH;
	if (f->e != ERR_OK)
		return f->e;
	if (f->answer->status != 200) {
		*why = arena_printf(a, "the web server answers %d", f->answer->status);
		return ERR_INVALID;
	}
	if (!http_answer_is_type(f->answer, STR("text/plain"))) {
		*why = STR("it is not of the type text/plain");
		return ERR_INVALID;
	}
	*trouble = TLS_RESULT_STS_INVALID;
	return mta_sts_policy_parse(buf_str(&f->answer->body), a, p, why);
}

/* kept goes over to the entry. */
static void keep(struct entry *e, const struct arena *kept, const struct mta_sts_policy *policy, struct str id, int64_t age_s)
{
	arena_free(&e->kept);
	e->kept = *kept;
	e->policy = *policy;
	e->has_policy = true;
	e->id = str_copy(&e->kept, id);
	e->expires_s = now_s() + age_s;
	e->failed_until_s = 0;
	e->why = STR_NONE;
	e->sts->bytes += e->kept.total - e->counted;
	e->counted = e->kept.total;
}

static void tell_keeper(struct entry *e)
{
	const struct sts_record r = { e->domain, e->id, e->policy.text, clock_wall_s() + e->policy.max_age_s };

	if (e->sts->kept != NULL && r.text.n <= STS_RECORD_TEXT_MAX)
		e->sts->kept(e->sts->kept_context, &r);
}

/* What was kept stays. */
static void note_failure(struct entry *e, struct str why, enum tls_result trouble)
{
	e->trouble = trouble;
	arena_reset(&e->failure);
	e->why = arena_printf(&e->failure, "the MTA-STS policy of " STR_FMT " could not be had: " STR_FMT, STR_ARG(e->domain), STR_ARG(why));
	e->failed_until_s = now_s() + STS_FAILED_S;
	memcpy(e->failed_id, e->new_id, sizeof e->failed_id);
	log_info("mta-sts failed domain=" STR_FMT " reason=" STR_FMT, STR_ARG(e->domain), STR_ARG(why));
}

static void start_waiting(struct sts *s);

static void fetched(void *context, const struct http_fetched *f)
{
	struct entry *e = context;
	struct sts *s = e->sts;
	struct arena kept = { 0 };
	struct mta_sts_policy policy = { 0 };
	enum tls_result trouble;
	struct str why;

	e->fetch = NULL;
	e->is_beside = false;
	s->fetches--;
	if (read_policy(f, &kept, &policy, &why, &trouble) == ERR_OK) {
		keep(e, &kept, &policy, str_of(e->new_id), policy.max_age_s);
		tell_keeper(e);
	} else {
		note_failure(e, why, trouble);
		arena_free(&kept);
	}
	finish(e, e->why, e->trouble);
	start_waiting(s);
	make_room(s);
}

/* Servers that let us wait shall not keep the policies of all others away for minutes: where many fetches are under way, the later ones
 * have less time, so that half of the places are free again soon. */
static int deadline_ms(const struct sts *s) { return s->fetches < STS_FETCHES_MAX / 2 ? STS_DEADLINE_MS : STS_HURRIED_MS; }

static void fetch(struct entry *e)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct http_place place = { .host = arena_printf(&a, "mta-sts." STR_FMT, STR_ARG(e->domain)), .port = e->sts->port,
	                            .path = STR("/.well-known/mta-sts.txt"), .body_max = MTA_STS_TEXT_MAX, .deadline_ms = deadline_ms(e->sts),
	                            .public_only = e->sts->public_only };

	e->sts->fetches++;
	e->fetch = http_get(e->sts->resolver, e->sts->tls, &place, fetched, e);
}

static void start_waiting(struct sts *s)
{
	while (s->waiting && s->fetches < STS_FETCHES_MAX) {
		struct entry *e = s->waiting;
		s->waiting = e->waits;
		if (s->waiting == NULL)
			s->waiting_end = &s->waiting;
		e->waits = NULL;
		fetch(e);
	}
}

static void wait_for_fetch(struct entry *e)
{
	*e->sts->waiting_end = e;
	e->sts->waiting_end = &e->waits;
	start_waiting(e->sts);
}

/* ---- the TXT record ---- */

/* RFC 8461 §3.3 suggests once a day; what is kept for less than two days, when half of that is over. */
static int64_t look_again_s(const struct entry *e)
{
	int64_t half_s = e->policy.max_age_s / 2;

	return half_s < LOOK_AGAIN_S ? half_s : LOOK_AGAIN_S;
}

static bool is_old(const struct entry *e) { return e->expires_s - now_s() <= e->policy.max_age_s - look_again_s(e); }

static void answered(void *context, const struct dns_answer *a)
{
	struct entry *e = context;
	CLEANUP(arena_free) struct arena arena = { 0 };
	struct str id;
	enum err r = mta_sts_record(a, &arena, &id);

	e->question = NULL;
	if (e->is_beside && !holds(e)) {  /* it has run out meanwhile: the fetch decides */
		e->is_looking = false;
	} else if (r == ERR_AGAIN && !holds(e)) {
		struct str why = arena_printf(&arena, "the name servers of " STR_FMT " could not say whether it has an MTA-STS policy", STR_ARG(e->domain));
		finish(e, why, TLS_RESULT_GOOD);
	} else if (e->is_beside || r != ERR_OK || (holds(e) && str_eq(id, e->id) && !is_old(e))) {
		finish(e, STR_NONE, TLS_RESULT_GOOD);
	} else if (now_s() < e->failed_until_s && str_eq(id, str_of(e->failed_id))) {
		finish(e, e->why, e->trouble);
	} else {
		e->is_beside = holds(e) && str_eq(id, e->id);
		snprintf(e->new_id, sizeof e->new_id, STR_FMT, STR_ARG(id));
		wait_for_fetch(e);
		if (e->is_beside)
			finish(e, STR_NONE, TLS_RESULT_GOOD);
	}
}

static void look(struct entry *e)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str name = arena_printf(&a, "_mta-sts." STR_FMT, STR_ARG(e->domain));

	e->is_looking = true;
	e->looked_s = now_s();
	e->question = resolver_ask(e->sts->resolver, name, DNS_TXT, answered, e);
}

/* ---- for others ---- */

struct sts_search *sts_find(struct sts *s, struct str domain, sts_done done, void *context)
{
	struct entry *e = entry_of(s, domain);
	struct sts_search *x = MEM_NEW(struct sts_search);

	*x = (struct sts_search){ .next = e->searches, .link = &e->searches, .done = done, .context = context };
	if (x->next)
		x->next->link = &x->next;
	e->searches = x;
	if (!e->is_looking && !s->is_restoring)
		look(e);
	return x;
}

void sts_cancel(struct sts_search *x)
{
	if (x == NULL)
		return;
	*x->link = x->next;
	if (x->next)
		x->next->link = x->link;
	mem_free(x);
}

/* A look in vain is tried again a few times before the policy ends, and not each minute. */
static bool wants_refresh(const struct entry *e)
{
	return !e->is_looking && !e->is_beside && holds(e) && e->policy.mode != MTA_STS_NONE && is_old(e) && now_s() < e->used_s + UNUSED_S &&
	       now_s() >= e->looked_s + look_again_s(e) / 4;
}

void sts_refresh(struct sts *s)
{
	size_t n = 0;

	for (struct entry *e = s->is_restoring ? NULL : s->newest; e != NULL && n < REFRESHED_MAX; e = e->older) {
		if (!wants_refresh(e))
			continue;
		look(e);
		n++;
	}
}

bool sts_is_looking(const struct sts *s)
{
	const struct entry *e = s->newest;

	while (e != NULL && !e->is_looking && !e->is_beside)
		e = e->older;
	return e != NULL;
}

/* ---- over a restart ---- */

void sts_on_kept(struct sts *s, void (*kept)(void *context, const struct sts_record *r), void *context)
{
	s->kept = kept;
	s->kept_context = context;
}

void sts_restore_begin(struct sts *s) { s->is_restoring = true; }

void sts_restore(struct sts *s, const struct sts_record *r)
{
	struct arena kept = { 0 };
	struct mta_sts_policy policy;
	struct str why;
	int64_t age_s = r->expires_s - clock_wall_s();
	struct entry *e;

	if (age_s <= 0 || mta_sts_policy_parse(r->text, &kept, &policy, &why) != ERR_OK) {
		arena_free(&kept);
		return;
	}
	e = entry_of(s, r->domain);
	if (holds(e))  /* asked anew meanwhile */
		arena_free(&kept);
	else
		keep(e, &kept, &policy, r->id, age_s < policy.max_age_s ? age_s : policy.max_age_s);
	make_room(s);
}

void sts_restore_end(struct sts *s)
{
	s->is_restoring = false;
	for (struct entry *e = s->newest; e; e = e->older)
		if (e->searches && !e->is_looking)
			look(e);
}

void sts_public_only(struct sts *s, bool yes) { s->public_only = yes; }

struct sts *sts_new(struct resolver *resolver, struct tls_client *tls, uint16_t port)
{
	struct sts *s = MEM_NEW(struct sts);

	*s = (struct sts){ .resolver = resolver, .tls = tls, .port = port };
	s->waiting_end = &s->waiting;
	return s;
}

void sts_free(struct sts *s)
{
	if (s == NULL)
		return;
	while (s->newest)
		entry_free(s->newest);
	map_free(&s->entries);
	mem_free(s);
}
