/* Submission after the login: the machine of smtpd.h in a cell. Here a thread may wait for other roles, so every question of the
 * machine is answered inside its callback, and SMTPD_WAIT never comes back.
 *
 * control is asked who this account is (its addresses, its limits) at the start, and again when that is older than ten seconds and a
 * message begins; when it does not answer then, what is known stands. Recipients of ours are asked for one by one: a mistyped
 * colleague is refused in the program where it was typed, not by a bounce an hour later. Those elsewhere are accepted and
 * kept by the queue; a cell knows by the domains that they are (account_info_is_elsewhere), and asks only where a server has hundreds of them.
 * A domain that became ours since is sorted out by the queue, which asks for every recipient. Recipients are counted (submit_sending) before the message goes to the queue, and given back if it is not taken.
 *
 * The struct smtpd_server is this session's own: the limits are the account's, and its counters are not shared between threads. */
#include "smtpd/submission.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "smtpd/smtpd.h"
#include "store/sending.h"
#include "submit/account.h"
#include "submit/sender.h"
#include "submit/sending.h"
#include <assert.h>

enum { INFO_TIMEOUT_MS = 5000, INFO_FRESH_MS = 10000, RESOLVE_TIMEOUT_MS = 5000, PIECE = 16384, OUT_MAX = 64 << 10 };

struct submission {
	struct session     *s;
	struct account     *account;
	struct smtpd       *machine;
	struct smtpd_server server;
	struct account_info info;
	struct arena        info_arena;
	int64_t             info_at_ms;
	uint64_t            left;        /* recipients the account may still write to today, as of MAIL */
	struct buf          elsewhere;   /* those of this message that are not ours: uint64_t, sending_recipient() */
};

/* ---- what control says of the account */

static enum err info_read(struct submission *p)
{
	struct arena a = { 0 };
	struct account_info info;

	session_will_wait(p->s);
	enum err e = account_info_ask(p->account->control, p->account->account, INFO_TIMEOUT_MS, &a, &info);
	if (e != ERR_OK) {
		arena_free(&a);
		return e;
	}
	account_info_free(&p->info);
	arena_free(&p->info_arena);
	p->info = info;
	p->info_arena = a;
	p->info_at_ms = clock_mono_ms();
	p->server.size_max = info.message_size_max;
	p->server.recipients_max = conf_number(info.conf, SETTING_submit_recipients_max);
	p->server.messages_max = conf_number(info.conf, SETTING_smtp_messages_per_connection);
	p->server.errors_max = conf_number(info.conf, SETTING_smtp_errors_max);
	p->server.hold_max = conf_number(info.conf, SETTING_submit_hold_max);
	p->server.memory_max = conf_number(info.conf, SETTING_smtp_memory_max);
	p->server.disk_reserve = conf_number(info.conf, SETTING_disk_reserve);
	return ERR_OK;
}

static void info_refresh(struct submission *p)
{
	if (clock_mono_ms() >= p->info_at_ms + INFO_FRESH_MS && info_read(p) != ERR_OK)
		log_warn("control does not answer; the settings of before are used account=%llu", (unsigned long long)p->account->account);
}

static uint64_t per_day(const struct submission *p) { return conf_number(p->info.conf, SETTING_submit_recipients_per_day); }

/* ---- what the machine asks */

static struct smtp_reply try_later(void)
{
	return SMTP_REPLY(451, "4.3.0", "the server cannot look this up at the moment: please try again later");
}

static struct smtp_reply stopped(void)
{
	return SMTP_REPLY(550, "5.7.1", "this account may not send at the moment: a message from this server in its inbox, or the administrator, says why");
}

static struct smtp_reply too_many_today(const struct submission *p, uint64_t wait_s, struct arena *a)
{
	if (wait_s > 86400)
		return smtp_reply_printf(a, 550, "5.7.1", "this account may write to %llu recipients in a day; this message has more",
		                         (unsigned long long)per_day(p));
	return smtp_reply_printf(a, 450, "4.7.1", "this account may write to %llu recipients in a day, and has done so: try again in %llu minutes",
	                         (unsigned long long)per_day(p), (unsigned long long)(wait_s + 59) / 60);
}

static struct smtp_reply on_sender(void *context, const struct envelope *e, struct arena *a)
{
	struct submission *p = context;

	info_refresh(p);
	buf_reset(&p->elsewhere);
	if (p->info.is_suspended)
		return SMTP_REPLY(550, "5.7.1", "this account is suspended: please ask the administrator");
	if (p->info.stopped_s != 0)
		return stopped();
	if (view_allowance_left(p->account->view, ALLOWANCE_RECIPIENTS, per_day(p), &p->left) != ERR_OK)
		return try_later();
	return submit_check_sender(&p->info, e->sender, a);
}

static struct smtp_reply answer_full(const struct resolve_info *r, struct str address, struct arena *a)
{
	if (r->full_is_temporary)
		return smtp_reply_printf(a, 452, "4.2.2", "the mailbox of <" STR_FMT "> is full: please try again later", STR_ARG(address));
	return smtp_reply_printf(a, 552, "5.2.2", "the mailbox of <" STR_FMT "> is full", STR_ARG(address));
}

static void add_elsewhere(struct submission *p, struct str address)
{
	uint64_t recipient = sending_recipient(address);

	buf_add_bytes(&p->elsewhere, &recipient, sizeof recipient);
}

static struct smtp_reply on_recipient(void *context, const struct envelope *e, const struct envelope_recipient *to, struct arena *a)
{
	struct submission *p = context;
	struct resolve_info r;

	if (e->n >= p->left)
		return too_many_today(p, 86400 / per_day(p) + 1, a);
	if (account_info_is_elsewhere(&p->info, to->address)) {
		add_elsewhere(p, to->address);
		return (struct smtp_reply){ 0 };
	}
	session_will_wait(p->s);
	if (resolve_ask(p->account->control, to->address, RESOLVE_TIMEOUT_MS, &r) != ERR_OK)
		return try_later();
	switch (r.kind) {
	case LOOKUP_INVALID:
		return smtp_reply_printf(a, 553, "5.1.3", "<" STR_FMT "> is not an address", STR_ARG(to->address));
	case LOOKUP_UNKNOWN:
		submit_sending_unknown(p->account, &p->info, to->address);
		return smtp_reply_printf(a, 550, "5.1.1", "nobody here has the address <" STR_FMT ">: please look how it is spelled",
		                         STR_ARG(to->address));
	case LOOKUP_FOUND:
		if (r.is_group && e->sender.n == 0)
			return smtpd_group_takes_no_bounce();
		if (!r.may_post)
			return smtpd_group_refusal(to->address, STR(""), a);
		return r.is_full ? answer_full(&r, to->address, a) : (struct smtp_reply){ 0 };
	case LOOKUP_FOREIGN:
		add_elsewhere(p, to->address);
		break;
	}
	return (struct smtp_reply){ 0 };
}

static struct smtp_reply on_header(void *context, const struct envelope *e, struct str header, struct buf *out, struct arena *a)
{
	CLEANUP(fixup_free) struct fixup f;
	struct submission *p = context;
	struct str rest = header;

	fixup_begin(&f);
	if (fixup_take(&f, &rest) != ERR_OK)
		return SMTP_REPLY(554, "5.6.0", "the header of the message is too large");
	fixup_end(&f);
	struct smtp_reply r = submit_check_authors(&p->info, &f, a);
	if (r.code != 0)
		return r;
	const struct fixup_facts facts = {
		.domain = p->server.hostname, .from_name = p->info.name, .from = e->sender.n > 0 ? e->sender : p->info.address,
		.now_s = clock_wall_s(),
	};
	fixup_write(&f, &facts, out);
	buf_add(out, rest);
	return r;
}

static void on_spool(void *context)
{
	struct submission *p = context;
	uint64_t spool = 0;
	int fd = -1;

	session_will_wait(p->s);
	enum err e = queue_spool(p->account->queue, &spool, &fd);
	smtpd_spooled(p->machine, e, spool, fd);
}

static void on_drop(void *context, uint64_t spool)
{
	const struct submission *p = context;

	queue_spool_drop(p->account->queue, spool);
}

static struct smtp_reply too_much_waits(const struct submission *p, uint64_t wait_s, struct arena *a)
{
	return smtp_reply_printf(a, 450, "4.7.1", "mail of this account leaves at %llu recipients an hour, and that of a whole day waits already: "
	                                          "try again in %llu minutes",
	                         (unsigned long long)conf_number(p->info.conf, SETTING_submit_recipients_per_hour),
	                         (unsigned long long)(wait_s - 86400 + 59) / 60);
}

/* Counted and judged, then the queue has it, or all is taken back. */
static struct smtp_reply spend(struct submission *p, const struct submit_message *m, struct arena *a, int64_t *slowed_until)
{
	uint64_t wait_s;
	enum err e = submit_sending(p->account, &p->info, m, &wait_s);

	switch (e) {
	case ERR_OK:
		*slowed_until = wait_s > 0 ? clock_wall_s() + (int64_t)wait_s : 0;
		return (struct smtp_reply){ 0 };
	case ERR_QUOTA:
		return too_many_today(p, wait_s, a);
	case ERR_LIMIT:
		return too_much_waits(p, wait_s, a);
	case ERR_FULL:
		return SMTP_REPLY(452, "4.3.1", "this server has no room for the message at the moment: please try again later");
	default:
		p->info_at_ms = 0;  /* control knows more by now */
		return e == ERR_DENIED ? stopped() : try_later();
	}
}

static void on_add(void *context, const struct envelope *from_client, const struct queue_body *body)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct submission *p = context;
	struct envelope e = *from_client;
	const struct submit_message m = { session_info(p->s)->peer, from_client->n, (const void *)p->elsewhere.p, p->elsewhere.n / sizeof(uint64_t) };
	struct queue_id id = { 0 };

	e.submitter = p->account->account;
	e.is_authenticated = true;
	session_will_wait(p->s);
	struct smtp_reply refused = spend(p, &m, &a, &e.slowed_until);
	if (refused.code != 0) {
		smtpd_refused(p->machine, refused);
		return;
	}
	enum err added = queue_add(p->account->queue, &e, body, &id);
	if (added != ERR_OK)
		submit_sending_take_back(p->account, &p->info, &m);
	smtpd_added(p->machine, added, id);
}

static void on_refused(void *context, const struct envelope *e, struct str recipient, const struct smtp_reply *r)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct submission *p = context;
	struct trail_event refused = smtpd_refusal_event(e, recipient, r, &a);

	refused.account = p->account->account;
	trail_tell(p->account->control, &refused);
}

static const struct smtpd_host host = {
	.sender = on_sender, .recipient = on_recipient, .header = on_header, .spool = on_spool, .drop = on_drop, .add = on_add, .refused = on_refused,
};

/* ---- the engine */

/* "EHLO name", "HELO name"; false before them "PRINTER". */
static bool split_command(struct str command, bool *is_esmtp, struct str *helo)
{
	bool is_printer = str_starts(command, STR("PRINTER "));
	struct str verb;

	if (is_printer)
		command = str_from(command, 8);
	str_cut(command, ' ', &verb, helo);
	*is_esmtp = str_ieq(verb, STR("EHLO"));
	return is_printer;
}

static void engine_close(void *state)
{
	struct submission *p = state;

	smtpd_free(p->machine);
	account_info_free(&p->info);
	arena_free(&p->info_arena);
	buf_free(&p->elsewhere);
	mem_free(p);
}

static void welcome(struct submission *p)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf out = BUF(OUT_MAX);
	struct smtp_reply r = smtp_reply_printf(&a, 235, "2.7.0", "you are logged in as " STR_FMT, STR_ARG(p->info.address));

	smtp_put_reply(&out, &r);
	session_write(p->s, buf_str(&out));
}

static void *engine_open(struct session *s, void *cell)
{
	const struct session_open *open = session_info(s);
	struct submission *p = MEM_NEW(struct submission);
	struct smtpd_client client = { .source = ENVELOPE_SUBMISSION, .peer = open->peer, .is_tls = open->is_tls, .tls_text = open->tls_text };
	bool is_printer = split_command(open->command, &client.is_esmtp, &client.helo);

	p->s = s;
	p->account = cell;
	p->elsewhere = BUF(ENVELOPE_RECIPIENTS_MAX * sizeof(uint64_t));
	if (info_read(p) != ERR_OK) {
		session_write(s, is_printer ? STR("421 4.3.0 this account cannot be used at the moment: please try again later\r\n")
		                            : STR("454 4.7.0 this account cannot be used at the moment: please try again later\r\n"));
		engine_close(p);
		return NULL;
	}
	p->server.hostname = str_copy(session_arena(s), p->info.hostname);
	client.login = is_printer ? STR("") : str_copy(session_arena(s), p->info.address);
	client.session = arena_printf(session_arena(s), "%08llx", (unsigned long long)open->grant.session);
	p->machine = smtpd_new(&p->server, &client, &host, p);
	if (!is_printer)
		welcome(p);
	return p;
}

/* False: the machine wants the connection closed. */
static bool feed(struct submission *p, struct str bytes)
{
	enum smtpd_next next;

	do {
		CLEANUP(buf_free) struct buf out = BUF(OUT_MAX);
		size_t used = 0;

		next = smtpd_input(p->machine, bytes, &used, &out);
		bytes = str_from(bytes, used);
		session_write(p->s, buf_str(&out));
		assert(next != SMTPD_WAIT && next != SMTPD_STARTTLS);  /* the callbacks answer; TLS is the gate's */
	} while (next == SMTPD_FLUSH);
	return next != SMTPD_CLOSE;
}

static enum session_next engine_input(void *state)
{
	struct submission *p = state;
	struct str bytes;

	while (session_has_input(p->s) && !session_is_dead(p->s))
		if (session_read(p->s, PIECE, 0, &bytes) != ERR_OK || !feed(p, bytes))
			return SESSION_CLOSE;
	return session_is_dead(p->s) ? SESSION_CLOSE : SESSION_WAIT;
}

static void engine_bye(void *state)
{
	struct submission *p = state;
	CLEANUP(buf_free) struct buf out = BUF(OUT_MAX);

	smtpd_bye(p->machine, "4.3.2", "the server ends this session: it stops, or the password was changed; please connect again", &out);
	session_write(p->s, buf_str(&out));
}

const struct engine submission_engine = {
	.protocol = PROTOCOL_SUBMISSION,
	.open = engine_open,
	.input = engine_input,
	.close = engine_close,
	.bye = engine_bye,
};
