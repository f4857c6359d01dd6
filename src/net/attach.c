/* The life of sessions in a cell: attach, run, park, end.
 *
 * A session is a source of the pool; its thread runs the engine and decides at the end what comes next. Parking is agreed with
 * the gate: the cell offers a record together with the number of bytes it has read and keeps the engine until the gate closes
 * the pair; a byte that was under way simply goes on to the engine (ipc/frame.h). A render attachment is a source
 * that answers STATE frames and knows no engine state; the gate keeps it a while after that. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/session_private.h"
#include <pthread.h>
#include <unistd.h>

enum { PARK_AFTER_MS = 2000, RENDER_BYTES_MAX = 12 * 1024, GUESTS_MAX = 100, GUEST_MAX = 50 /* of the same account */, GUEST_TAKES_MS = 30000, GUESTS_WAITING_MAX = 3, KEPT_FREE = 2 /* threads */, CROWDED_MS = 3000,
       CHANGED_MAX = 8 * PARK_CHANGED_MAX };

struct attached {
	struct pool        *pool;
	struct attach_host  host;
	pthread_mutex_t     lock;   /* of the list, count and waiting */
	struct session     *first;
	size_t              count, guests;
	int                 waiting;    /* threads that wait for a client to read */
	_Atomic int         guests_waiting;   /* threads that wait for a guest's cell to read */
	_Atomic int         wanting;    /* sessions that want to hear of changes */
	_Atomic uint64_t    changes;
};

struct attached *attached_new(struct pool *p, const struct attach_host *host)
{
	struct attached *at = MEM_NEW(struct attached);

	at->pool = p;
	at->host = *host;
	pthread_mutex_init(&at->lock, NULL);
	return at;
}

bool attached_guest_waits(struct attached *at)
{
	if (at->guests_waiting++ < GUESTS_WAITING_MAX)
		return true;
	at->guests_waiting--;
	return false;
}

void attached_guest_waited(struct attached *at) { at->guests_waiting--; }

static void add_waiting(struct attached *at, int n)
{
	pthread_mutex_lock(&at->lock);
	at->waiting += n;
	pthread_mutex_unlock(&at->lock);
}

void attached_waits_for_client(struct attached *at) { add_waiting(at, 1); }
void attached_waited_for_client(struct attached *at) { add_waiting(at, -1); }

bool attached_gives_up(struct attached *at, int64_t since_ms)
{
	bool gives_up;

	if (clock_mono_ms() < since_ms + CROWDED_MS)
		return false;
	pthread_mutex_lock(&at->lock);
	gives_up = at->waiting > pool_threads_max(at->pool) - KEPT_FREE;
	at->waiting -= gives_up;
	pthread_mutex_unlock(&at->lock);
	return gives_up;
}

static void set_wanting(struct session *s, bool wants_news)
{
	if (s->wants_news != wants_news)
		s->owner->wanting += wants_news ? 1 : -1;
	s->wants_news = wants_news;
}

static void set_counted(struct session *s, bool is_counted)
{
	pthread_mutex_lock(&s->owner->lock);
	s->owner->count += (size_t)is_counted - (size_t)s->is_counted;
	s->is_counted = is_counted;
	pthread_mutex_unlock(&s->owner->lock);
}

static void session_end(struct session *s)
{
	struct attached *at = s->owner;

	set_wanting(s, false);

	if (s->state)
		s->engine->close(s->state);
	pthread_mutex_lock(&at->lock);
	if (s->next)
		s->next->link = s->link;
	*s->link = s->next;
	at->count -= s->is_counted;
	at->guests -= s->guest != 0;
	pthread_mutex_unlock(&at->lock);
	fd_close(&s->fd);
	buf_free(&s->in);
	buf_free(&s->out);
	buf_free(&s->waits);
	buf_free(&s->changed);
	arena_free(&s->arena);
	mem_free(s);
}

static const struct engine *engine_of(struct attached *at, enum protocol protocol)
{
	for (const struct engine *const *e = at->host.engines; *e; e++)
		if ((*e)->protocol == protocol)
			return *e;
	return NULL;
}

/* A grant is for what its password may be used for: one of a printer, or of an app password for sending, opens no
 * mailbox, whatever a gate says. goes_on: of a session that began before. */
static bool may_enter(const struct attach_host *host, const struct grant *g, enum protocol protocol, bool goes_on)
{
	return (g->rights & 1u << protocol) != 0 && host->check(host->context, g, goes_on) == ERR_OK;
}

/* Master has said whose it is; what may be seen is decided by the engine, for each command. */
static bool begin_guest(struct session *s, struct str record)
{
	s->epoch = UINT32_MAX - 1;  /* it ends with the server; with the guest's password ends the session in his own cell */
	if (s->engine != NULL && s->engine->resume != NULL && record.n > 0)
		s->state = s->engine->resume(s, s->owner->host.cell, str_copy(&s->arena, record));
	s->is_resumed = true;
	if (s->state == NULL)
		session_flush(s);
	return s->state != NULL;
}

static void set_log_context(struct session *s)
{
	bool is_guest = s->guest != 0;

	s->log_text = arena_printf(&s->arena, "%s=%llu session=%llu peer=%.*s", is_guest ? "guest" : "account",
	                           (unsigned long long)(is_guest ? s->guest : s->info.grant.account),
	                           (unsigned long long)s->info.grant.session, STR_ARG(s->info.peer));
	log_context("%.*s", STR_ARG(s->log_text));
}

/* The first frame of a session says who it is. False: refused. */
static bool session_begin(struct session *s)
{
	struct attached *at = s->owner;
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	struct session_open o;

	if (frame_receive(s->fd, room, &type, &bytes) != ERR_OK || type != FRAME_OPEN)
		return false;
	struct scan scan = scan_of(bytes);
	if (!get_session_open(&scan, &o)) {
		log_error("malformed OPEN from gate size_bytes=%zu", bytes.n);
		return false;
	}
	s->info = o;
	s->epoch = o.grant.epoch;
	s->info.peer = str_copy(&s->arena, o.peer);
	s->info.login_name = str_copy(&s->arena, o.login_name);
	s->info.command = str_copy(&s->arena, o.command);
	s->info.tls_text = str_copy(&s->arena, o.tls_text);
	s->info.record = STR_NONE;
	s->info.changed = str_copy(&s->arena, o.changed);
	s->engine = engine_of(at, o.protocol);
	set_log_context(s);
	if (s->guest != 0)
		return begin_guest(s, o.record);
	if (s->engine == NULL || !may_enter(&at->host, &o.grant, o.protocol, o.record.n > 0)) {
		log_warn("session refused protocol=%s peer=%.*s", protocol_name(o.protocol), STR_ARG(o.peer));
		frame_refuse(s->fd, ERR_DENIED, TEXT_CELL_LOGIN_OLD);
		return false;
	}
	if (!o.record.n)
		s->state = s->engine->open(s, at->host.cell);
	else if (s->engine->resume)
		s->state = s->engine->resume(s, at->host.cell, str_copy(&s->arena, o.record));
	s->is_resumed = o.record.n > 0;
	if (s->state == NULL)
		session_flush(s);
	return s->state != NULL;
}

static void put_waits(const struct session *s, struct buf *b)
{
	if (s->waits.n == 0 && (s->waits_also & ~WAIT_OWN) == 0)  /* its own account's changes, in any case */
		return;
	put_u8(b, s->waits_also);
	buf_add(b, buf_str(&s->waits));
}

/* It stays, and what happens in its own account is heard here. Of others the gate says it. */
static void say_waits(struct session *s)
{
	CLEANUP(buf_free) struct buf waits = BUF(1 + PARK_WAITS_MAX * PARK_WAIT_SIZE);

	put_waits(s, &waits);
	if (waits.n > 0 && s->guest == 0 && session_frame(s, FRAME_WAITS, buf_str(&waits), STR_NONE) != ERR_OK)
		log_debug("what a session waits for was not said");
}

/* Offers the session to the gate. False: it cannot be parked now. */
static bool session_park(struct session *s, bool wants_news)
{
	CLEANUP(buf_free) struct buf record = BUF(PARK_RECORD_MAX), frame = BUF(FRAME_DATA_MAX), waits = BUF(1 + PARK_WAITS_MAX * PARK_WAIT_SIZE);
	uint64_t modseq = 0;

	buf_free(&s->waits);
	s->waits = BUF(PARK_WAITS_MAX * PARK_WAIT_SIZE);
	s->waits_also = 0;
	if (s->engine->park == NULL || session_has_input(s) || s->is_eof)
		return false;
	if (!s->engine->park(s->state, &record, &modseq) || record.failed) {
		if (wants_news)
			say_waits(s);
		return false;
	}
	put_u64(&frame, s->bytes_in);
	put_u64(&frame, modseq);
	put_bool(&frame, wants_news);
	put_str(&frame, buf_str(&record));
	put_waits(s, &waits);
	put_str(&frame, buf_str(&waits));
	s->owner->host.parked(s->owner->host.context, wants_news);
	if (session_frame(s, FRAME_PARK, buf_str(&frame), STR_NONE) != ERR_OK)
		return false;
	s->is_parking = true;
	s->offered_ms = s->guest != 0 ? clock_mono_ms() : 0;
	return true;
}

static enum pool_next finish(struct session *s, enum session_next next)
{
	if (s->must_end && s->state && s->engine->bye)
		s->engine->bye(s->state);
	session_flush(s);
	if (!s->is_dead && next == SESSION_CLOSE && session_frame(s, FRAME_LOGOUT, STR(""), STR_NONE) != ERR_OK)
		log_debug("end of session not sent");
	session_end(s);
	return POOL_GONE;
}

/* The client has given up its login: what it sent since goes back to the gate, which agrees by closing the pair. Until then more of it may
 * come, and goes back with the rest. False: it has sent more than a login phase takes, or nobody is there. */
static bool session_give_back(struct session *s)
{
	CLEANUP(buf_free) struct buf frame = BUF(FRAME_DATA_MAX);

	session_flush(s);
	put_u64(&frame, s->bytes_in);
	put_str(&frame, str_make(s->in.p + s->in_at, s->in.n - s->in_at));
	return !frame.failed && !s->is_dead && session_frame(s, FRAME_UNAUTH, buf_str(&frame), STR_NONE) == ERR_OK;
}

/* Runs the engine on what is there; says what comes next. One frame is taken here: engines take what follows as they need it. */
static enum session_next session_run(struct session *s)
{
	s->is_drained = false;
	bool has_more = session_fill(s, 0) == ERR_OK;

	if (has_more) {  /* what was offered is not agreed to: the client had already sent more */
		s->is_parking = false;
		s->is_left = false;
		s->offered_ms = 0;
	}
	if (s->must_end || s->is_dead || s->is_left)
		return SESSION_CLOSE;
	if (s->is_leaving)
		return s->is_eof ? SESSION_CLOSE : has_more ? SESSION_UNAUTH : SESSION_WAIT;
	bool is_resumed = s->is_resumed;  /* it may idle: only its engine can say so, also before the client says more */
	s->is_resumed = false;
	bool wants_news = s->wants_news && !s->is_parking;  /* what it said it knows is with the gate, which tells it the rest */
	if (session_has_input(s) || is_resumed || (wants_news && !s->is_eof))
		return s->engine->input(s->state);
	return s->is_eof ? SESSION_CLOSE : SESSION_WAIT;
}

static enum pool_next session_step(struct session *s)
{
	int64_t waited_since = s->waits_since_ms;
	uint64_t bytes_before = s->bytes_in, changes = s->owner->changes;

	s->waits_since_ms = 0;
	if (s->state == NULL && !session_begin(s))
		return finish(s, s->engine ? SESSION_CLOSE : SESSION_WAIT);
	enum session_next next = session_run(s);
	s->is_leaving |= next == SESSION_UNAUTH;
	if (next == SESSION_CLOSE || s->must_end || s->is_dead || s->is_eof || (next == SESSION_UNAUTH && !session_give_back(s)))
		return finish(s, SESSION_CLOSE);
	if (s->is_leaving) {
		set_wanting(s, false);
		return POOL_ARM;
	}
	session_flush(s);
	session_slim(s);
	if (s->is_parking) {
		s->must_park = false;  /* the offer is on its way */
		return POOL_ARM;
	}
	bool wants_news = next == SESSION_PARK || next == SESSION_WAIT_NEWS;
	set_wanting(s, wants_news);
	if (wants_news && s->owner->changes != changes)  /* perhaps after it looked, and before anybody knew that it wants to hear */
		pool_kick(s->pool, s->source);
	bool was_quiet = waited_since && s->bytes_in == bytes_before && clock_mono_ms() >= waited_since + PARK_AFTER_MS;
	if (next == SESSION_PARK)
		session_park(s, true);
	else if (was_quiet || s->must_park)
		session_park(s, wants_news);
	if (s->must_park && !s->is_parking && session_frame(s, FRAME_STAYS, STR(""), STR_NONE) != ERR_OK)
		log_debug("the guest's cell is gone");
	s->must_park = false;
	if (!s->is_parking && !was_quiet) {  /* one that refused to be parked is not asked again before its next command */
		s->waits_since_ms = waited_since && s->bytes_in == bytes_before ? waited_since : clock_mono_ms();
		pool_alarm(s->pool, s->waits_since_ms + PARK_AFTER_MS);
	}
	return POOL_ARM;
}

static enum pool_next session_ready(void *context)
{
	struct session *s = context;

	log_context("%.*s", STR_ARG(s->log_text));
	enum pool_next next = session_step(s);
	log_context_clear();
	return next;
}

/* One STATE in, one RENDERED out. */
static enum err render_one(struct session *s, struct str frame)
{
	CLEANUP(buf_free) struct buf bytes = BUF(RENDER_BYTES_MAX), record = BUF(PARK_RECORD_MAX), out = BUF(FRAME_DATA_MAX);
	struct scan scan = scan_of(frame);
	struct attach_host *host = &s->owner->host;
	uint64_t modseq = 0;
	struct grant g;

	uint32_t index = get_u32(&scan);
	get_grant(&scan, &g);
	uint8_t protocol = get_u8(&scan);
	struct str state = get_str(&scan, PARK_RECORD_MAX);
	if (!get_end(&scan))
		return ERR_INVALID;
	const struct engine *engine = engine_of(s->owner, (enum protocol)protocol);
	enum rendered how = RENDERED_BYE;
	if (engine && engine->render && may_enter(host, &g, engine->protocol, true))
		how = engine->render(host->cell, state, &bytes, &record, &modseq);
	if (bytes.failed || record.failed) {
		how = RENDERED_ATTACH;
		buf_reset(&bytes);
		buf_reset(&record);
	}
	put_u32(&out, index);
	put_u8(&out, (uint8_t)how);
	put_u64(&out, modseq);
	put_str(&out, buf_str(&record));
	put_str(&out, buf_str(&bytes));
	return frame_send(s->fd, FRAME_RENDERED, buf_str(&out), SESSION_WRITE_TIMEOUT_MS);
}

static enum pool_next render_ready(void *context)
{
	struct session *s = context;
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	enum err e;

	set_counted(s, true);
	while ((e = frame_receive(s->fd, room, &type, &bytes)) == ERR_OK) {
		if (type != FRAME_STATE || render_one(s, bytes) != ERR_OK) {
			e = ERR_CLOSED;
			break;
		}
		s->owner->host.told(s->owner->host.context);
	}
	if (e == ERR_AGAIN) {
		set_counted(s, false);
		return POOL_ARM;
	}
	session_end(s);
	return POOL_GONE;
}

static void take(struct attached *at, int fd, enum attach kind, uint64_t guest)
{
	struct session *s = MEM_NEW(struct session);

	s->fd = fd;
	s->pool = at->pool;
	s->owner = at;
	s->in = BUF(SESSION_IN_MAX + FRAME_MAX);
	s->out = BUF(SESSION_OUT_FULL + FRAME_MAX);
	s->changed = BUF(CHANGED_MAX);
	s->epoch = UINT32_MAX;
	s->is_render = kind == ATTACH_RENDER;
	s->is_counted = true;
	s->guest = guest;
	s->takes_large = guest == 0;  /* a guest's are read by a thread of another cell, whose stack is small */
	pthread_mutex_lock(&at->lock);
	s->next = at->first;
	s->link = &at->first;
	if (s->next)
		s->next->link = &s->next;
	at->first = s;
	at->count++;
	at->guests += guest != 0;
	/* the source's number is set under the lock: attached_tick() reads it under the lock */
	s->source = pool_add(at->pool, fd, s->is_render ? render_ready : session_ready, s);
	pthread_mutex_unlock(&at->lock);
}

void attached_take(struct attached *at, int fd, enum attach kind) { take(at, fd, kind, 0); }

static bool has_room(struct attached *at, uint64_t guest)
{
	size_t his = 0;

	pthread_mutex_lock(&at->lock);
	for (const struct session *s = at->first; s != NULL; s = s->next)
		his += s->guest == guest;
	bool has = at->guests < GUESTS_MAX && his < GUEST_MAX;
	pthread_mutex_unlock(&at->lock);
	return has;
}

void attached_take_guest(struct attached *at, int fd, uint64_t guest)
{
	if (guest != 0 && has_room(at, guest))
		take(at, fd, ATTACH_SESSION, guest);
	else
		close(fd);  /* he is told that this account is not to be had at the moment */
}

int64_t attached_tick(struct attached *at, int64_t now_ms)
{
	int64_t next = 0;

	pthread_mutex_lock(&at->lock);
	for (struct session *s = at->first; s; s = s->next) {
		int64_t since = s->waits_since_ms, offered = s->offered_ms;
		if (offered != 0 && now_ms >= offered + GUEST_TAKES_MS && !s->is_left) {  /* nobody's cell stays awake for a guest who waits */
			s->is_left = true;
			pool_kick(at->pool, s->source);
		}
		if (since == 0)
			continue;
		if (now_ms >= since + PARK_AFTER_MS)
			pool_kick(at->pool, s->source);
		else if (next == 0 || since + PARK_AFTER_MS < next)
			next = since + PARK_AFTER_MS;
	}
	pthread_mutex_unlock(&at->lock);
	return next;
}

void attached_changed(struct attached *at)
{
	at->changes++;
	if (at->wanting == 0)
		return;
	pthread_mutex_lock(&at->lock);
	for (struct session *s = at->first; s; s = s->next)
		if (s->wants_news)
			pool_kick(at->pool, s->source);
	pthread_mutex_unlock(&at->lock);
}

size_t attached_count(struct attached *at)
{
	pthread_mutex_lock(&at->lock);
	size_t n = at->count;
	pthread_mutex_unlock(&at->lock);
	return n;
}

void attached_end(struct attached *at, uint32_t epoch)
{
	pthread_mutex_lock(&at->lock);
	for (struct session *s = at->first; s; s = s->next) {
		if (s->epoch < epoch) {
			s->must_end = true;
			pool_kick(at->pool, s->source);
		}
	}
	pthread_mutex_unlock(&at->lock);
}

void attached_free(struct attached *at)
{
	while (at->first)
		session_end(at->first);
	pthread_mutex_destroy(&at->lock);
	mem_free(at);
}
