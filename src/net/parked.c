/* Who waits, and what they must hear.
 *
 * An account is in the table while the gate has a session of it, parked or not, because its newest CHANGED must be
 * remembered for a session whose PARK is under way: the cell wrote the record before the change, the gate reads it
 * after. So nothing falls between: whoever parks with an older modseq is rendered at once.
 *
 * One render at a time for an account. It is given the sessions that lack something when it starts; who wakes up
 * meanwhile is taken out of it (its resume tells the news itself), what changes meanwhile starts the next one. A
 * cell that dies under a render has told nobody, or somebody the whole of it: each RENDERED is taken or not, so the
 * rest is simply asked again. */
#include "net/parked.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include <assert.h>

enum { RETRY_FIRST_MS = 1000, RETRY_MAX_MS = 30000, UNWATCH_AFTER_MS = 5000, LOOK_AGAIN_MAX_MS = 300000 };

struct parked_account {
	struct parked    *table;
	uint64_t          account, newest;   /* the modseq of the last CHANGED */
	struct member    *first;
	struct visit     *visits;            /* members of other accounts that wait for changes of this one */
	struct loop_timer wake;              /* those that lack something are attached again */
	size_t            wanting;           /* parked and wants news: watched while there is one, and a little longer */
	bool              is_watched;
	struct loop_timer unwatch;
	struct loop_fd    pair;              /* of the running render; fd -1: none */
	struct member   **who;               /* by index of its STATE; NULL: answered, or no longer parked */
	uint32_t          who_n, sent, answered;
	uint64_t          asked_at;          /* newest when it started */
	struct loop_timer retry;
	int64_t           retry_ms;
};

struct visit {
	struct parked_account *at;
	struct member *m;
	struct visit  *next, **link;         /* of the account */
	struct visit  *more;                 /* of the member */
	uint64_t       modseq;               /* what the client knows of it */
	int64_t        look_ms;              /* it could not ask, and tries again then; 0: it could */
	int32_t        pause_ms;             /* before that; twice as long each time */
	bool           asks_once, must_look, is_kept;
};

struct parked {
	struct loop *loop;
	const struct parked_host *host;
	void        *context;
	struct map   accounts;
};

static void render_soon(struct parked_account *a);

/* ---- watching */

static void set_watch(struct parked_account *a, bool on, bool tells)
{
	loop_timer_stop(a->table->loop, &a->unwatch);
	if (a->is_watched != on)
		a->table->host->watch(a->table->context, a->account, on, tells);
	a->is_watched = on;
}

static void unwatch_due(void *context)
{
	struct parked_account *a = context;

	if (a->wanting == 0)
		set_watch(a, false, false);
}

/* Who renews IDLE is back in a moment: master and the cell need not hear of it. */
static void unwatch_soon(struct parked_account *a)
{
	a->unwatch = (struct loop_timer){ .due = unwatch_due, .context = a };
	loop_timer_in(a->table->loop, &a->unwatch, UNWATCH_AFTER_MS);
}

struct parked *parked_new(struct loop *l, const struct parked_host *host, void *context)
{
	struct parked *p = MEM_NEW(struct parked);

	p->loop = l;
	p->host = host;
	p->context = context;
	return p;
}

void parked_free(struct parked *p)
{
	if (p == NULL)
		return;
	assert(p->accounts.n == 0);
	map_free(&p->accounts);
	mem_free(p);
}

size_t parked_accounts(const struct parked *p) { return p->accounts.n; }

/* ---- members */

static struct parked_account *account_of(struct parked *p, uint64_t account)
{
	struct parked_account *a = map_get_u64(&p->accounts, account);

	if (a == NULL) {
		a = MEM_NEW(struct parked_account);
		a->table = p;
		a->account = account;
		a->pair.fd = -1;
		map_set_u64(&p->accounts, a->account, a);
	}
	return a;
}

void member_enter(struct parked *p, struct member *m)
{
	struct parked_account *a = account_of(p, m->grant.account);

	assert(m->of == NULL);
	m->of = a;
	m->next = a->first;
	m->link = &a->first;
	if (m->next)
		m->next->link = &m->next;
	a->first = m;
}

void member_forget(struct member *m)
{
	mem_free((void *)(uintptr_t)m->record.p);
	m->record = STR_NONE;
}

static void render_end(struct parked_account *a)
{
	struct parked *p = a->table;

	loop_unwatch(p->loop, &a->pair);
	fd_close(&a->pair.fd);
	a->pair.fd = -1;
	for (uint32_t i = 0; i < a->who_n; i++)
		if (a->who[i])
			a->who[i]->place = 0;
	mem_free(a->who);
	a->who = NULL;
	a->who_n = a->sent = a->answered = 0;
}

/* The last of its sessions, and of those that wait for it, has left. */
static void account_forget(struct parked_account *a)
{
	struct parked *p = a->table;

	if (a->first != NULL || a->visits != NULL)
		return;
	if (a->pair.fd >= 0)
		render_end(a);
	loop_timer_stop(p->loop, &a->retry);
	loop_timer_stop(p->loop, &a->wake);
	set_watch(a, false, false);
	map_set_u64(&p->accounts, a->account, NULL);
	mem_free(a);
}

/* ---- visits
 *
 * They stay while their member is attached, so that a change between two parkings is not missed; what it waits for is compared when it parks.
 *
 * When an account changes, all who wait for it want to know at once, more than its cell lets in: who could not ask tries again, a second later and
 * then less and less often. */

static bool has_changed(const struct visit *v) { return v->must_look || v->modseq < v->at->newest; }

static bool wants_to_look(const struct visit *v, int64_t now_ms) { return has_changed(v) || (v->look_ms != 0 && now_ms >= v->look_ms); }

static void wake_due(void *context);

static void wake_at(struct parked_account *a, int64_t at_ms)
{
	if (a->wake.place && a->wake.at_ms <= at_ms)
		return;
	a->wake.due = wake_due;
	a->wake.context = a;
	loop_timer_at(a->table->loop, &a->wake, at_ms);
}

/* Not at once: who parks just now is not asleep yet. */
static void wake_soon(struct parked_account *a) { wake_at(a, loop_now_ms(a->table->loop)); }

static void wake_due(void *context)
{
	struct parked_account *a = context;
	const struct parked_host *host = a->table->host;
	void *host_context = a->table->context;
	int64_t now_ms = loop_now_ms(a->table->loop);
	struct visit *next;

	for (struct visit *v = a->visits; v != NULL; v = v->next)
		if (v->look_ms > now_ms)
			wake_at(a, v->look_ms);
	for (struct visit *v = a->visits; v != NULL; v = next) {  /* a goes with the last of them */
		next = v->next;
		if (v->m->is_parked && wants_to_look(v, now_ms))
			host->news(host_context, v->m, RENDERED_ATTACH, STR(""));
	}
}

static struct visit *visit_new(struct parked *p, struct member *m, uint64_t account, bool asks_once)
{
	struct visit *v = MEM_NEW(struct visit);
	struct parked_account *a = account_of(p, account);

	*v = (struct visit){ .at = a, .m = m, .next = a->visits, .link = &a->visits, .more = m->visits, .modseq = UINT64_MAX, .must_look = asks_once };
	if (v->next)
		v->next->link = &v->next;
	a->visits = v;
	m->visits = v;
	if (a->wanting++ == 0)
		set_watch(a, true, true);
	return v;
}

static void visit_end(struct visit *v)
{
	struct parked_account *a = v->at;

	if (v->next)
		v->next->link = v->link;
	*v->link = v->next;
	mem_free(v);
	if (--a->wanting == 0)
		unwatch_soon(a);
	account_forget(a);
}

static void visits_doubt(struct member *m)
{
	for (struct visit *v = m->visits; v != NULL; v = v->more)
		v->is_kept = false;
}

/* All but those that are kept. */
static void visits_end(struct member *m)
{
	struct visit **link = &m->visits, *v;

	while ((v = *link) != NULL) {
		if (v->is_kept) {
			link = &v->more;
			continue;
		}
		*link = v->more;
		visit_end(v);
	}
}

/* When it tries again, if it still has to. One that has not been told since to ask had no chance to. */
static void look_again(struct parked *p, struct visit *v, bool could_not_ask)
{
	if (could_not_ask) {
		v->pause_ms = v->pause_ms == 0 ? RETRY_FIRST_MS : v->pause_ms < LOOK_AGAIN_MAX_MS / 2 ? v->pause_ms * 2 : LOOK_AGAIN_MAX_MS;
		v->look_ms = loop_now_ms(p->loop) + v->pause_ms;
	} else if (v->look_ms == 0) {
		v->pause_ms = 0;
	}
	if (v->look_ms != 0)
		wake_at(v->at, v->look_ms);
}

static void visit_again(struct parked *p, struct member *m, uint64_t account, uint64_t modseq, enum wait how)
{
	bool asks_once = how != WAIT_KNOWS;
	struct visit *v = m->visits;

	while (v != NULL && v->at->account != account)
		v = v->more;
	if (v == NULL)
		v = visit_new(p, m, account, asks_once);
	else if (asks_once && v->asks_once && modseq < v->modseq && !v->is_kept)
		modseq = v->modseq;  /* it was told of what is new: not again, whatever it has heard there */
	v->modseq = v->is_kept && v->modseq < modseq ? v->modseq : modseq;
	v->asks_once = asks_once;
	v->is_kept = true;
	look_again(p, v, how == WAIT_COULD_NOT_ASK);
	if (has_changed(v))
		wake_soon(v->at);
}

/* bool own, and for each other account u64, u64 modseq, u8 enum wait. False: malformed. */
static bool visits_begin(struct parked *p, struct member *m, struct str waits)
{
	struct scan s = scan_of(waits);
	bool is_own = get_bool(&s);

	while (!scan_done(&s)) {
		uint64_t account = get_u64(&s), modseq = get_u64(&s);
		uint8_t how = get_u8(&s);
		if (s.failed || how > WAIT_COULD_NOT_ASK)
			return false;
		if (account == m->of->account || account == 0)
			is_own = true;
		else
			visit_again(p, m, account, modseq, (enum wait)how);
	}
	m->waits_own = is_own;
	return !s.failed;
}

void member_changed(struct member *m, struct buf *out)
{
	for (struct visit *v = m->visits; v != NULL; v = v->more) {
		if (!v->asks_once || !wants_to_look(v, loop_now_ms(v->at->table->loop)))
			continue;
		put_u64(out, v->at->account);
		v->must_look = false;
		v->look_ms = 0;
		v->modseq = v->modseq > v->at->newest ? v->modseq : v->at->newest;
	}
}

void member_wake(UNUSED struct parked *p, struct member *m)
{
	struct parked_account *a = m->of;

	if (!m->is_parked)
		return;
	m->is_parked = m->is_busy = false;
	if (m->place)
		a->who[m->place - 1] = NULL;
	m->place = 0;
	if (m->waits_own && --a->wanting == 0)
		unwatch_soon(a);
	m->waits_own = false;
}

void member_leave(struct parked *p, struct member *m)
{
	struct parked_account *a = m->of;

	if (a == NULL)
		return;
	member_wake(p, m);
	member_forget(m);
	visits_doubt(m);
	visits_end(m);
	if (m->next)
		m->next->link = m->link;
	*m->link = m->next;
	m->of = NULL;
	account_forget(a);
}

static void set_record(struct member *m, struct str record)
{
	char *copy = mem_alloc(record.n);

	memcpy(copy, record.p, record.n);
	member_forget(m);
	m->record = str_make(copy, record.n);
}

bool member_park(struct parked *p, struct member *m, struct str frame)
{
	struct parked_account *a = m->of;
	struct scan s = scan_of(frame);

	assert(!m->is_parked);
	get_u64(&s);
	uint64_t modseq = get_u64(&s);
	bool wants_news = get_bool(&s);
	struct str record = get_str(&s, PARK_RECORD_MAX);
	struct str waits = get_str(&s, 1 + PARK_WAITS_MAX * PARK_WAIT_SIZE);
	if (!get_end(&s) || record.n == 0)
		return false;
	visits_doubt(m);
	m->waits_own = wants_news;
	if (wants_news && waits.n > 0 && !visits_begin(p, m, waits)) {
		m->waits_own = false;
		return false;
	}
	visits_end(m);
	set_record(m, record);
	m->modseq = modseq;
	m->wants_news = wants_news;
	m->is_parked = true;
	if (m->waits_own && a->wanting++ == 0)
		set_watch(a, true, false);
	render_soon(a);
	return true;
}

/* ---- rendering */

static bool needs_news(const struct member *m)
{
	return m->is_parked && m->waits_own && !m->is_busy && m->place == 0 && m->modseq < m->of->newest;
}

static void render_failed(struct parked_account *a)
{
	render_end(a);
	a->retry_ms = a->retry_ms ? a->retry_ms * 2 : RETRY_FIRST_MS;
	if (a->retry_ms > RETRY_MAX_MS)
		a->retry_ms = RETRY_MAX_MS;
	log_warn("waiting sessions could not be told what is new, trying again account=%llu in_ms=%lld",
	         (unsigned long long)a->account, (long long)a->retry_ms);
	loop_timer_in(a->table->loop, &a->retry, a->retry_ms);
}

static enum err send_state(struct parked_account *a, uint32_t i)
{
	CLEANUP(buf_free) struct buf b = BUF(FRAME_DATA_MAX);
	const struct member *m = a->who[i];

	put_u32(&b, i);
	put_grant(&b, &m->grant);
	put_u8(&b, m->protocol);
	put_str(&b, m->record);
	return frame_send(a->pair.fd, FRAME_STATE, buf_str(&b), 0);
}

/* Sends what fits. False: the cell is gone. */
static bool send_states(struct parked_account *a)
{
	for (; a->sent < a->who_n; a->sent++) {
		if (a->who[a->sent] == NULL) {  /* woke up before it was asked for */
			a->answered++;
			continue;
		}
		enum err e = send_state(a, a->sent);
		if (e == ERR_AGAIN)
			break;
		if (e != ERR_OK)
			return false;
	}
	loop_watch(a->table->loop, &a->pair, LOOP_READ | (a->sent < a->who_n ? LOOP_WRITE : 0u));
	return true;
}

/* False: not what we asked for. */
static bool take_rendered(struct parked_account *a, struct str frame)
{
	struct parked *p = a->table;
	struct scan s = scan_of(frame);
	uint32_t i = get_u32(&s);
	enum rendered how = (enum rendered)get_u8(&s);
	uint64_t modseq = get_u64(&s);
	struct str record = get_str(&s, PARK_RECORD_MAX), bytes = get_str(&s, FRAME_MAX);

	if (!get_end(&s) || i >= a->sent || how < RENDERED_KEEP || how > RENDERED_BYE || (how == RENDERED_KEEP && record.n == 0))
		return false;
	a->answered++;
	struct member *m = a->who[i];
	if (m == NULL)
		return true;  /* it woke up: its resume says the same */
	a->who[i] = NULL;
	m->place = 0;
	if (how == RENDERED_KEEP) {
		set_record(m, record);
		/* what was new when we asked is told, whatever number the cell puts on it: never ask for the same again */
		m->modseq = modseq > a->asked_at ? modseq : a->asked_at;
	}
	if (how != RENDERED_KEEP || bytes.n)
		p->host->news(p->context, m, how, bytes);
	return true;
}

static void render_ready(void *context, UNUSED unsigned events)
{
	struct parked_account *a = context;
	struct parked *p = a->table;
	uint64_t account = a->account;
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	enum err e = ERR_OK;

	if (!send_states(a)) {
		render_failed(a);
		return;
	}
	while (a->answered < a->who_n && (e = frame_receive(a->pair.fd, room, &type, &bytes)) == ERR_OK) {
		if (type != FRAME_RENDERED || !take_rendered(a, bytes)) {
			e = ERR_INVALID;
			break;
		}
		if (map_get_u64(&p->accounts, account) != a || a->pair.fd < 0)
			return;  /* the last session left, or the account with it */
	}
	if (a->answered == a->who_n) {
		render_end(a);
		a->retry_ms = 0;
		render_soon(a);
	} else if (e != ERR_AGAIN) {
		render_failed(a);
	}
}

static void retry_due(void *context) { render_soon(context); }

/* Starts a render if somebody lacks something and none is running or about to be tried again. */
static void render_soon(struct parked_account *a)
{
	struct parked *p = a->table;
	uint32_t n = 0;

	if (a->pair.fd >= 0 || a->retry.place)
		return;
	for (struct member *m = a->first; m; m = m->next)
		n += needs_news(m);
	if (n == 0)
		return;
	a->pair = (struct loop_fd){ .ready = render_ready, .context = a, .fd = p->host->attach(p->context, a->account) };
	a->retry = (struct loop_timer){ .due = retry_due, .context = a };
	if (a->pair.fd < 0) {
		render_failed(a);
		return;
	}
	a->who = mem_array(n, sizeof(struct member *));
	a->asked_at = a->newest;
	for (struct member *m = a->first; m; m = m->next) {
		if (!needs_news(m))
			continue;
		a->who[a->who_n++] = m;
		m->place = a->who_n;
	}
	if (!send_states(a))
		render_failed(a);
}

void parked_again(UNUSED struct parked *p, struct member *m)
{
	m->is_busy = false;
	if (m->of)
		render_soon(m->of);
}

/* ---- what master says */

void parked_changed(struct parked *p, uint64_t account, uint64_t modseq)
{
	struct parked_account *a = map_get_u64(&p->accounts, account);

	if (a == NULL || modseq <= a->newest)
		return;
	a->newest = modseq;
	render_soon(a);
	if (a->visits != NULL)
		wake_soon(a);
}

void parked_epoch(struct parked *p, uint64_t account, uint32_t epoch)
{
	struct parked_account *a = map_get_u64(&p->accounts, account);
	struct member *next;

	for (struct member *m = a ? a->first : NULL; m; m = next) {
		next = m->next;
		if (m->grant.epoch < epoch)
			p->host->revoked(p->context, m);
	}
}
