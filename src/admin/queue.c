/* queue list, show, retry, hold, release, remove, destinations, pause, resume, status: pages of queue/command.h as rows. */
#include "admin/admin_private.h"
#include "base/clock.h"
#include "queue/destination.h"
#include "text/reason.h"

/* The answer is in a. */
static enum err ask_queue(struct admin_call *c, const struct queue_command *ask, struct arena *a, struct queue_answer *out)
{
	enum err e;

	if (!c->host->is_running)
		return admin_refuse(c, ERR_UNAVAILABLE, TEXT_ADMIN_NOT_RUNNING, STR(""));
	e = c->host->queue(c->host->context, ask, a, out);
	if (e == ERR_NOTFOUND && ask->name.n)
		return admin_refuse(c, e, TEXT_ADMIN_NO_SUCH_MESSAGE, ask->name);
	return e;
}

static void put_due(json_t *row, int64_t due)
{
	admin_put_number(row, "next_try", due == LATE_NEVER || due < 0 ? 0 : (uint64_t)due);
}

struct str admin_reply_text(struct arena *a, enum lang lang, struct str text)
{
	struct str code, status, words;

	if (!str_cut(text, ' ', &code, &words) || !str_cut(words, ' ', &status, &words))
		return text;
	return arena_printf(a, STR_FMT " " STR_FMT " " STR_FMT, STR_ARG(code), STR_ARG(status), STR_ARG(text_reason(a, lang, words)));
}

/* "4.2.2 the mailbox is full". What is parked was perhaps never tried, and has no reason of its own. */
static struct str reason(struct arena *a, enum lang lang, struct str status, struct str text, bool is_never_tried)
{
	if (text.n == 0 && is_never_tried)
		return str_of(text_get(lang, TEXT_ADMIN_QUEUE_ELSEWHERE));
	if (text.n >= 3 && chr_digit(text.p[0]) && chr_digit(text.p[1]) && chr_digit(text.p[2]))
		return admin_reply_text(a, lang, text);
	text = text_reason(a, lang, text);
	return status.n ? arena_printf(a, STR_FMT " " STR_FMT, STR_ARG(status), STR_ARG(text)) : text;
}

static void put_listed(struct admin_call *c, struct arena *a, const struct queue_listed *m)
{
	json_t *row = admin_row(c);
	uint32_t others = m->waiting + m->held > 1 ? m->waiting + m->held - 1 : 0;

	admin_put_text(row, "message", queue_name(m->id, a));
	admin_put_text(row, "recipient",
				   others ? arena_printf(a, STR_FMT " +%u", STR_ARG(m->address), others) : m->address);
	admin_put_text(row, "sender", m->sender.n ? m->sender : STR("<>"));
	admin_put_number(row, "size", m->size);
	admin_put_number(row, "received", (uint64_t)m->received);
	admin_put_number(row, "waiting", m->waiting);
	admin_put_number(row, "held", m->held);
	put_due(row, m->waiting > 0 ? m->next_due : LATE_NEVER);
	admin_put_text(row, "reason", reason(a, c->lang, m->status, m->reason, m->waiting > 0 && m->next_due == LATE_NEVER));
}

static bool is_bounce(struct str sender) { return str_eq(sender, STR("<>")); }

static bool is_wanted(const struct admin_call *c, const struct queue_listed *m)
{
	struct str sender = admin_text(c, "sender");

	if (admin_is_on(c, "held") && m->held == 0)
		return false;
	return sender.p == NULL || (is_bounce(sender) ? m->sender.n == 0 : str_ifind(m->sender, sender) >= 0);
}

enum err admin_queue_list(struct admin_call *c)
{
	struct str recipient = admin_text(c, "recipient");
	struct queue_command ask = { .kind = QUEUE_LIST, .recipient = -1, .name = STR(""), .text = recipient.p != NULL ? recipient : STR("") };
	CLEANUP(arena_free) struct arena page = { 0 };
	struct queue_answer answer = { 0 };

	if (recipient.n > ENVELOPE_ADDRESS_MAX)
		return ERR_OK;  /* no address is that long */
	do {
		arena_reset(&page);
		TRY(ask_queue(c, &ask, &page, &answer));
		for (size_t i = 0; i < answer.n; i++)
			if (is_wanted(c, &answer.messages[i]))
				put_listed(c, &page, &answer.messages[i]);
		ask.after = answer.last;
	} while (answer.has_more && !c->is_gone);
	return ERR_OK;
}

static struct str state_word(enum late_state s)
{
	return s == LATE_HELD ? STR("held") : s == LATE_WAITING ? STR("waiting") : STR("finished");
}

enum err admin_queue_show(struct admin_call *c)
{
	struct queue_command ask = { .kind = QUEUE_SHOW, .recipient = -1, .name = admin_text(c, "message") };
	CLEANUP(arena_free) struct arena page = { 0 };
	struct queue_answer answer = { 0 };

	do {
		arena_reset(&page);
		TRY(ask_queue(c, &ask, &page, &answer));
		for (size_t i = 0; i < answer.n; i++) {
			const struct queue_shown *r = &answer.recipients[i];
			json_t *row = admin_row(c);
			admin_put_text(row, "recipient", r->address);
			admin_put_text(row, "state", state_word(r->state));
			admin_put_number(row, "tries", r->tries);
			put_due(row, r->state == LATE_HELD ? LATE_NEVER : r->due);
			admin_put_text(row, "reason", reason(&page, c->lang, r->status, r->reason, r->state == LATE_WAITING && r->due == LATE_NEVER));
			ask.from = (uint16_t)(r->index + 1);
		}
	} while (answer.has_more && answer.n > 0);
	if (answer.messages != NULL) {
		admin_put_text(admin_result(c), "message", ask.name);
		admin_put_text(admin_result(c), "sender", answer.messages[0].sender.n ? answer.messages[0].sender : STR("<>"));
		admin_put_number(admin_result(c), "size", answer.messages[0].size);
		admin_put_number(admin_result(c), "received", (uint64_t)answer.messages[0].received);
		admin_put_text(admin_result(c), "peer", answer.peer);
	}
	return ERR_OK;
}

static enum err order(struct admin_call *c, enum queue_command_kind kind, struct queue_answer *out)
{
	struct queue_command ask = { .kind = kind, .recipient = -1, .name = admin_text(c, "message") };

	if (ask.name.p == NULL)
		ask.name = STR("");
	return ask_queue(c, &ask, &c->arena, out);
}

enum err admin_queue_retry(struct admin_call *c)
{
	struct queue_answer answer = { 0 };

	TRY(order(c, QUEUE_RETRY, &answer));
	if (answer.changed == 0 && admin_text(c, "message").p != NULL)
		return admin_said(c, TEXT_ADMIN_QUEUE_RETRIED_NONE, admin_text(c, "message"));
	return admin_said(c, TEXT_ADMIN_QUEUE_RETRIED, admin_number_text(c, answer.changed));
}

enum err admin_queue_hold(struct admin_call *c)
{
	struct queue_answer answer = { 0 };

	TRY(order(c, QUEUE_HOLD, &answer));
	return admin_said(c, TEXT_ADMIN_QUEUE_HELD, admin_text(c, "message"));
}

enum err admin_queue_release(struct admin_call *c)
{
	struct queue_answer answer = { 0 };

	TRY(order(c, QUEUE_RELEASE, &answer));
	return admin_said(c, TEXT_ADMIN_QUEUE_RELEASED, admin_text(c, "message"));
}

/* Of a page; what went meanwhile by itself is none of ours. */
static enum err remove_of(struct admin_call *c, struct arena *a, const struct queue_answer *page, struct str sender, uint64_t *removed)
{
	for (size_t i = 0; i < page->n; i++) {
		struct queue_command ask = { .kind = QUEUE_REMOVE, .recipient = -1, .name = queue_name(page->messages[i].id, a) };
		struct queue_answer answer = { 0 };
		if (!str_ieq(page->messages[i].sender, is_bounce(sender) ? STR("") : sender))
			continue;
		enum err e = c->host->queue(c->host->context, &ask, a, &answer);
		if (e != ERR_OK && e != ERR_NOTFOUND)
			return e;
		*removed += e == ERR_OK;
	}
	return ERR_OK;
}

/* What a thief has left in the queue is thousands of messages. */
static enum err remove_from(struct admin_call *c, struct str sender)
{
	struct queue_command ask = { .kind = QUEUE_LIST, .recipient = -1, .name = STR("") };
	CLEANUP(arena_free) struct arena a = { 0 };
	struct queue_answer page = { 0 };
	uint64_t removed = 0;

	do {
		arena_reset(&a);
		TRY(ask_queue(c, &ask, &a, &page));
		TRY(remove_of(c, &a, &page, sender, &removed));
		ask.after = page.last;
	} while (page.has_more);
	return admin_said(c, TEXT_ADMIN_QUEUE_REMOVED_FROM, admin_number_text(c, removed), sender);
}

enum err admin_queue_remove(struct admin_call *c)
{
	struct str message = admin_text(c, "message"), sender = admin_text(c, "sender");
	struct queue_answer answer = { 0 };

	if ((message.p == NULL) == (sender.p == NULL) || (sender.p != NULL && str_chr(sender, '@') < 0 && !is_bounce(sender)))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_QUEUE_REMOVE_WHICH, STR(""));
	if (sender.p != NULL)
		return remove_from(c, sender);
	TRY(order(c, QUEUE_REMOVE, &answer));
	return admin_said(c, TEXT_ADMIN_QUEUE_REMOVED, admin_text(c, "message"));
}

/* 0: nothing is to be sent there, or nothing may. */
static uint64_t next_try(const struct queue_destination *d)
{
	if (d->is_paused || d->waiting + d->sending == 0)
		return 0;
	return d->again > 0 ? (uint64_t)d->again : (uint64_t)clock_wall_s();
}

static struct str condition_word(const struct queue_destination *d)
{
	if (d->is_paused)
		return STR("paused");
	return d->failures > 0 ? STR("unreachable") : STR("reachable");
}

enum err admin_queue_destinations(struct admin_call *c)
{
	struct queue_command ask = { .kind = QUEUE_DESTINATIONS, .recipient = -1, .name = STR("") };
	struct queue_answer answer = { 0 };

	TRY(ask_queue(c, &ask, &c->arena, &answer));
	for (size_t i = 0; i < answer.n; i++) {
		const struct queue_destination *d = &answer.destinations[i];
		json_t *row = admin_row(c);
		admin_put_text(row, "destination", d->name);
		admin_put_number(row, "waiting", d->waiting);
		admin_put_number(row, "sending", d->sending);
		admin_put_text(row, "condition", condition_word(d));
		admin_put_number(row, "next_try", next_try(d));
	}
	return ERR_OK;
}

static enum err order_domain(struct admin_call *c, enum queue_command_kind kind, enum text said)
{
	struct queue_command ask = { .kind = kind, .recipient = -1, .name = admin_text(c, "domain") };
	struct queue_answer answer = { 0 };
	enum err e;

	if (!c->host->is_running)
		return admin_refuse(c, ERR_UNAVAILABLE, TEXT_ADMIN_NOT_RUNNING, STR(""));
	e = c->host->queue(c->host->context, &ask, &c->arena, &answer);
	if (e == ERR_INVALID)
		return admin_refuse(c, e, TEXT_ADMIN_NOT_A_DOMAIN, ask.name);
	if (e == ERR_CONFLICT)
		return admin_refuse(c, e, TEXT_ADMIN_PAUSE_ROUTED, ask.name);
	return e != ERR_OK ? e : admin_said(c, said, ask.name);
}

/* The name of a route that is there; or of none, as a domain's is. */
static enum err names_a_way(struct admin_call *c, struct str name, bool *out)
{
	struct directory_route *list;
	size_t n;

	*out = str_chr(name, ':') < 0 || str_starts(name, STR("["));
	TRY(route_list(c->directory, &c->arena, &list, &n));
	for (size_t i = 0; i < n && !*out; i++) {
		struct str way = queue_way_name(&list[i].route, &c->arena);
		*out = list[i].route.host.n > 0 && str_starts(name, way) && (name.n == way.n || str_starts(str_from(name, way.n), STR(" for ")));
	}
	return ERR_OK;
}

enum err admin_queue_pause(struct admin_call *c)
{
	bool is_way;

	TRY(names_a_way(c, admin_text(c, "domain"), &is_way));
	return order_domain(c, QUEUE_PAUSE, is_way ? TEXT_ADMIN_QUEUE_PAUSED : TEXT_ADMIN_QUEUE_PAUSED_UNUSED);
}

/* Where the whole server sends nothing, no destination can be let go by itself. */
enum err admin_queue_resume(struct admin_call *c)
{
	struct conf *conf;

	TRY(directory_conf(c->directory, &conf));
	bool is_off = !conf_on(conf, SETTING_send_elsewhere);
	conf_free(conf);
	return order_domain(c, QUEUE_RESUME, is_off ? TEXT_ADMIN_QUEUE_RESUMED_OFF : TEXT_ADMIN_QUEUE_RESUMED);
}

struct str admin_queue_trouble(struct admin_call *c, const struct queue_counters *q)
{
	if (q->has_failed)
		return str_of(text_get(c->lang, TEXT_ADMIN_LOG_FAILED));
	if (q->is_disk_full)
		return str_of(text_get(c->lang, TEXT_ADMIN_DISK_FULL));
	if (q->failing == 0)
		return STR("");
	struct directory_account who = { .address = arena_printf(&c->arena, "%llu", (unsigned long long)q->failing_account) }, found;
	if (account_get(c->directory, q->failing_account, &c->arena, &found) == ERR_OK)
		who = found;
	return text_format(&c->arena, c->lang, q->failing > 1 ? TEXT_ADMIN_DISK_OF_SEVERAL : TEXT_ADMIN_DISK_OF_ONE,
	                   ADMIN_TEXTS(who.address, arena_printf(&c->arena, "%llu", (unsigned long long)q->failing - 1)));
}

enum err admin_queue_status(struct admin_call *c)
{
	struct queue_command ask = { .kind = QUEUE_COUNTERS, .recipient = -1, .name = STR("") };
	struct queue_answer answer = { 0 };
	json_t *result;

	TRY(ask_queue(c, &ask, &c->arena, &answer));
	result = admin_result(c);
	admin_put_number(result, "backlog", answer.counters.backlog);
	admin_put_number(result, "deferred", answer.counters.late.waiting);
	admin_put_number(result, "held", answer.counters.late.held);
	admin_put_number(result, "elsewhere", answer.counters.late.elsewhere);
	admin_put_number(result, "oldest", (uint64_t)answer.counters.late.oldest);
	admin_put_number(result, "log_percent", answer.counters.fill_percent);
	admin_put_text(result, "trouble", admin_queue_trouble(c, &answer.counters));
	return ERR_OK;
}
