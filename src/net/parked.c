/* Who waits, and what they must hear.
 *
 * An account is in the table while the gate has a session of it, parked or not, because its newest CHANGED must be
 * remembered for a session whose PARK is under way: the cell wrote the record before the change, the gate reads it
 * after. So nothing falls between: whoever parks with an older modseq is rendered at once.
 *
 * One render at a time for an account. It is given the sessions that lack something when it starts; who wakes up
 * meanwhile is taken out of it (its resume tells the news itself), what changes meanwhile starts the next one. A
 * cell that dies under a render has told nobody, or somebody the whole of it: each RENDERED is taken or not, so the
 * rest is simply asked again. The pair stays for KEEP_MS, because who gets one message often gets another: a new pair is twenty calls of gate, master
 * and cell. It does not keep the cell awake; one that has left meanwhile is found out by its end, or when it is asked, and then a new pair is made
 * at once. Who waits for changes of other accounts: visits.c; for others that begin to share: gains.c. */
#include "net/parked_private.h"
#include "base/log.h"
#include "base/mem.h"
#include <assert.h>

enum { RETRY_MAX_MS = 30000, UNWATCH_AFTER_MS = 5000, KEEP_MS = 5000 };

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

void parked_want(struct parked_account *a, bool tells)
{
	if (a->wanting++ == 0)
		set_watch(a, true, tells);
}

void parked_unwant(struct parked_account *a)
{
	if (--a->wanting == 0)
		unwatch_soon(a);
}

struct parked *parked_new(struct loop *l, const struct parked_host *host, void *context, size_t pairs_max)
{
	struct parked *p = MEM_NEW(struct parked);

	p->loop = l;
	p->host = host;
	p->context = context;
	p->kept_max = pairs_max;
	p->gains_end = &p->gains_first;
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

struct parked_account *parked_account_of(struct parked *p, uint64_t account)
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
	struct parked_account *a = parked_account_of(p, m->grant.account);

	assert(m->of == NULL);
	m->of = a;
	m->gains_seen = a->gains;
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

static void pair_close(struct parked_account *a)
{
	loop_timer_stop(a->table->loop, &a->keep);
	loop_unwatch(a->table->loop, &a->pair);
	fd_close(&a->pair.fd);
	a->pair.fd = -1;
	a->table->kept -= a->is_kept;
	a->is_kept = false;
}

static void keep_due(void *context) { pair_close(context); }

static void pair_keep(struct parked_account *a)
{
	struct parked *p = a->table;

	if (!a->is_kept && p->kept >= p->kept_max) {
		pair_close(a);
		return;
	}
	p->kept += !a->is_kept;
	a->is_kept = true;
	a->keep = (struct loop_timer){ .due = keep_due, .context = a };
	loop_timer_in(p->loop, &a->keep, KEEP_MS);
}

static void render_end(struct parked_account *a)
{
	for (uint32_t i = 0; i < a->who_n; i++)
		if (a->who[i])
			a->who[i]->place = 0;
	mem_free(a->who);
	a->who = NULL;
	a->who_n = a->sent = a->answered = 0;
}

void parked_account_left(struct parked_account *a)
{
	struct parked *p = a->table;

	if (a->first != NULL || a->visits != NULL)
		return;
	render_end(a);
	pair_close(a);
	loop_timer_stop(p->loop, &a->retry);
	loop_timer_stop(p->loop, &a->wake);
	gains_forget(a);
	set_watch(a, false, false);
	map_set_u64(&p->accounts, a->account, NULL);
	mem_free(a);
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
	if (m->waits_own)
		parked_unwant(a);
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
	parked_account_left(a);
}

static void set_record(struct member *m, struct str record)
{
	char *copy = mem_alloc(record.n);

	memcpy(copy, record.p, record.n);
	member_forget(m);
	m->record = str_make(copy, record.n);
}

bool member_park(UNUSED struct parked *p, struct member *m, struct str frame)
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
	m->listens = false;
	m->waits_own = wants_news;
	m->waits_gains = false;
	if (wants_news && waits.n > 0 && !visits_begin(m, waits)) {
		m->waits_own = false;
		return false;
	}
	visits_end(m);
	set_record(m, record);
	m->modseq = modseq;
	m->wants_news = wants_news;
	m->is_parked = true;
	if (m->waits_own)
		parked_want(a, false);
	render_soon(a);
	return true;
}

bool member_waits(struct member *m, struct str frame)
{
	bool is_read;

	visits_doubt(m);
	m->waits_gains = false;
	is_read = frame.n > 0 && visits_begin(m, frame);
	visits_end(m);
	m->waits_own = false;  /* of those its own cell knows */
	m->listens = is_read;
	return is_read;
}

/* ---- rendering */

static bool needs_news(const struct member *m)
{
	return m->is_parked && m->waits_own && !m->is_busy && m->place == 0 && m->modseq < m->of->newest;
}

static void render_failed(struct parked_account *a)
{
	bool was_kept = a->is_kept;

	render_end(a);
	pair_close(a);
	if (was_kept) {  /* the cell that had it has left: there may be another one */
		render_soon(a);
		return;
	}
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

	if (a->who == NULL) {  /* nobody was asked: the cell leaves */
		pair_close(a);
		return;
	}
	if (!send_states(a)) {
		render_failed(a);
		return;
	}
	while (a->answered < a->who_n && (e = frame_receive(a->pair.fd, room, &type, &bytes)) == ERR_OK) {
		if (type != FRAME_RENDERED || !take_rendered(a, bytes)) {
			e = ERR_INVALID;
			break;
		}
		if (map_get_u64(&p->accounts, account) != a || a->who == NULL)
			return;  /* the last session left, or the account with it */
	}
	if (a->answered == a->who_n) {
		render_end(a);
		pair_keep(a);
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

	if (a->who != NULL || a->retry.place)
		return;
	for (struct member *m = a->first; m; m = m->next)
		n += needs_news(m);
	if (n == 0)
		return;
	loop_timer_stop(p->loop, &a->keep);
	if (a->pair.fd < 0)
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
	visits_changed(a);
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
