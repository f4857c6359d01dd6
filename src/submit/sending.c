/* The watch over what an account sends.
 *
 * It is the cell that watches: it has the figures, and stays the only one that knows whom its owner writes to. It cannot stop itself for
 * good, so control is asked to (one request, answered when that is on disk); a cell that was broken into can stop its own account and
 * no other. The letters go the ordinary way through the queue, from nobody, so that nothing answers them, and as the server's own: what the
 * account itself has submitted is held while it is stopped, and the postmaster may read his mail elsewhere.
 *
 * A sudden bulk is slowed down, not refused: half a mailing that fails in the middle is worse than a mailing that takes an afternoon, and
 * what has not left can still be taken out of the queue when it turns out to be a thief's. The pace is that of mail which leaves; one
 * message to many goes as a whole.
 *
 * The message by which the account shows itself is not accepted any more; those before it wait in the queue (queue/parcels.h), where the
 * administrator finds them. What only looks unusual is reported, at most once a day. */
#include "submit/sending.h"
#include "base/clock.h"
#include "base/log.h"
#include "mime/build.h"
#include "queue/add.h"
#include "store/view.h"
#include "submit/watch.h"
#include <arpa/inet.h>

enum { CONTROL_TIMEOUT_MS = 10000, LETTER_MAX = 64 << 10 };

/* Telephones change their address all day, hardly ever their provider. */
static struct str network_of(struct str ip, struct arena *a)
{
	const char *text = str_cstr(a, str_sub(ip, 0, INET6_ADDRSTRLEN));
	unsigned char p[16];

	if (inet_pton(AF_INET, text, p) == 1)
		return arena_printf(a, "%d.%d.0.0/16", p[0], p[1]);
	if (inet_pton(AF_INET6, text, p) == 1)
		return arena_printf(a, "%x:%x::/32", p[0] << 8 | p[1], p[2] << 8 | p[3]);
	return STR("");
}

/* ---- letters */

struct letter {
	struct str     to;
	enum lang      lang;
	enum text      subject, text;
	struct str     why;      /* watch_encode(), or words */
};

static struct str postmaster_of(const struct account_info *info, struct arena *a)
{
	return arena_printf(a, "postmaster@" STR_FMT, STR_ARG(str_from(info->address, (size_t)(str_rchr(info->address, '@') + 1))));
}

static void write_letter(const struct account_info *info, const struct letter *l, struct arena *a, struct buf *out)
{
	struct str postmaster = postmaster_of(info, a);
	const struct str args[] = { info->address, watch_words(l->why, l->lang, a), postmaster };
	const struct build_part part = { .type = STR("text/plain"), .text = text_format(a, l->lang, l->text, args, COUNT_OF(args)) };
	const struct build_message m = {
		.from_name = info->hostname, .from = postmaster, .to = l->to, .subject = text_format(a, l->lang, l->subject, args, COUNT_OF(args)),
		.date = clock_wall_s(), .message_id = build_message_id(a, info->hostname), .is_auto_submitted = true, .parts = &part, .parts_n = 1,
	};

	build_message(&m, out);
}

static void send_letter(struct account *x, const struct account_info *info, const struct letter *l)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf body = BUF(LETTER_MAX);
	struct envelope_recipient to = { .address = l->to, .orcpt = STR(""), .detail = STR("") };
	const struct envelope e = {
		.source = ENVELOPE_DELIVERY, .sender = STR(""), .body = ENVELOPE_7BIT, .envid = STR(""), .received = clock_wall_s(), .peer = STR(""),
		.n = 1, .recipients = &to,
	};
	struct queue_id id;

	write_letter(info, l, &a, &body);
	if (body.failed || queue_add(x->queue, &e, &(struct queue_body){ .bytes = buf_str(&body) }, &id) != ERR_OK)
		log_error("a letter about what the account sends could not be written account=%llu", (unsigned long long)x->account);
}

/* ---- control */

bool get_sending_notice(struct scan *s, struct sending_notice *out)
{
	*out = (struct sending_notice){ .account = get_u64(s), .kind = (enum sending_kind)get_u8(s), .why = get_str(s, WATCH_WHY_MAX) };
	return get_end(s) && (out->kind == SENDING_UNUSUAL || out->kind == SENDING_STOP);
}

static enum err ask_control(struct account *x, enum sending_kind kind, struct str why, bool *is_news, enum lang *administrator)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(WATCH_WHY_MAX + 100);
	struct message answer;

	put_u64(&b, x->account);
	put_u8(&b, (uint8_t)kind);
	put_str(&b, why);
	TRY(channel_call(x->control, REQUEST_SENDING, buf_str(&b), NULL, 0, CONTROL_TIMEOUT_MS, &a, &answer));
	struct scan s = scan_of(answer.body);
	*is_news = get_bool(&s);
	*administrator = get_bool(&s) ? LANG_FR : LANG_EN;
	return get_end(&s) ? ERR_OK : ERR_INVALID;
}

/* ---- what follows from what was seen */

static enum err stop(struct account *x, const struct account_info *info, struct str why)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	enum lang administrator;
	bool is_news;

	TRY(ask_control(x, SENDING_STOP, why, &is_news, &administrator));
	if (!is_news)  /* another session of the account was faster */
		return ERR_OK;
	send_letter(x, info, &(struct letter){ info->address, info->french ? LANG_FR : LANG_EN, TEXT_SENDING_STOPPED_SUBJECT,
	                                       TEXT_SENDING_STOPPED_OWNER, why });
	send_letter(x, info, &(struct letter){ postmaster_of(info, &a), administrator, TEXT_SENDING_STOPPED_ADMIN_SUBJECT,
	                                       TEXT_SENDING_STOPPED_ADMIN, why });
	return ERR_OK;
}

/* Nobody's mail fails for it. */
static void report(struct account *x, const struct account_info *info, struct str why)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	enum lang administrator;
	uint64_t wait_s;
	bool is_news;

	if (view_spend(x->view, ALLOWANCE_REPORTS, 1, 1, &wait_s) != ERR_OK)
		return;  /* said today */
	if (ask_control(x, SENDING_UNUSUAL, why, &is_news, &administrator) == ERR_OK)
		send_letter(x, info, &(struct letter){ postmaster_of(info, &a), administrator, TEXT_SENDING_UNUSUAL_ADMIN_SUBJECT,
		                                       TEXT_SENDING_UNUSUAL_ADMIN, why });
}

static uint64_t per_hour(const struct account_info *info) { return conf_number(info->conf, SETTING_submit_recipients_per_hour); }

/* ERR_DENIED: it is stopped. */
static enum err judge(struct account *x, const struct account_info *info, bool is_slowed)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct sending_facts f;
	struct watch w;

	if (!conf_on(info->conf, SETTING_submit_watch))
		return ERR_OK;
	TRY(view_sending_facts(x->view, clock_wall_s(), &f));
	f.in[SENDING_HOUR].held_to = is_slowed ? per_hour(info) : 0;
	watch_judge(&f, &w);
	struct str why = watch_encode(&w, &a);
	if (w.points >= WATCH_STOP_POINTS) {
		TRY(stop(x, info, why));
		return ERR_DENIED;
	}
	if (w.points >= WATCH_REPORT_POINTS || is_slowed)
		report(x, info, why);
	return ERR_OK;
}

static struct sending_cost cost_of(const struct account_info *info, const struct submit_message *m, struct arena *a)
{
	return (struct sending_cost){ .recipients = m->all, .per_day = conf_number(info->conf, SETTING_submit_recipients_per_day),
		                          .per_hour = per_hour(info), .elsewhere = { network_of(m->ip, a), m->recipients, m->n } };
}

static void give_back(struct account *x, const struct sending_cost *c, bool is_remembered)
{
	if (view_sending_return(x->view, c, is_remembered, clock_wall_s()) != ERR_OK)
		log_warn("recipients of a message that was not taken stay counted account=%llu", (unsigned long long)x->account);
}

enum err submit_sending(struct account *x, const struct account_info *info, const struct submit_message *m, uint64_t *wait_s)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const struct sending_cost cost = cost_of(info, m, &a);

	*wait_s = 0;
	if (info->stopped_s != 0)
		return ERR_DENIED;
	TRY(view_sending_spend(x->view, &cost, clock_wall_s(), wait_s));
	enum err e = m->n == 0 ? ERR_OK : judge(x, info, *wait_s > 0);  /* what stays here is nobody's concern */
	if (e != ERR_OK)
		give_back(x, &cost, true);
	return e;
}

void submit_sending_take_back(struct account *x, const struct account_info *info, const struct submit_message *m)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const struct sending_cost cost = cost_of(info, m, &a);

	give_back(x, &cost, false);
}

static void say_failed(const struct account *x, enum err e)
{
	log_warn("refused recipients could not be weighed account=%llu error=%s", (unsigned long long)x->account, err_name(e));
}

void submit_sending_weigh(struct account *x, const struct account_info *info)
{
	enum err e = info->stopped_s != 0 ? ERR_OK : judge(x, info, false);

	if (e != ERR_OK && e != ERR_DENIED)
		say_failed(x, e);
}

void submit_sending_unknown(struct account *x, const struct account_info *info, struct str address)
{
	bool counts = false;
	enum err e = view_sending_unknown(x->view, sending_recipient(address), clock_wall_s(), &counts);

	if (e != ERR_OK)
		say_failed(x, e);
	else if (counts)
		submit_sending_weigh(x, info);
}
