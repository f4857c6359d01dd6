/* What others ask of a cell: the queue delivers and wants to know that it is on disk, control's administrator looks and changes. And what
 * control is told in turn: how full the account is, with whom it shares. */
#include "base/clock.h"
#include "base/log.h"
#include "role/cell_private.h"
#include "role/role.h"
#include "store/command.h"
#include "store/rights.h"
#include "store/view.h"
#include "submit/sending.h"

void cell_report_usage(struct cell *c, bool always)
{
	CLEANUP(buf_free) struct buf b = BUF(64);
	struct quota q;

	view_quota(c->account.view, &q);
	int percent = q.percent >= 100 ? 100 : q.percent >= 90 ? 90 : 0;
	if (percent == c->over_percent && !always)
		return;
	c->over_percent = percent;
	put_u64(&b, c->start.account);
	put_u64(&b, q.used_bytes);
	put_u64(&b, q.messages);
	put_bool(&b, percent == 100);
	channel_notify(c->control, NOTICE_USAGE, buf_str(&b), NULL, 0);
}

/* Two threads may have a batch and the same one asked again over the next socket, when the queue has been connected anew. The second says that
 * it may be there already, and looks; the first does not, so it may come before it or not at all. */
static void on_deliver(void *context, struct channel *ch, struct message *m)
{
	struct cell *c = context;
	CLEANUP(buf_free) struct buf answer = BUF(MESSAGE_BODY_MAX);

	if (m->fd_count > 0 || attached_count(c->attached) > 0)  /* else it takes some milliseconds, and nobody is here whom they would keep */
		pool_will_wait(c->pool);
	pthread_mutex_lock(&c->delivering);
	if (!channel_is_current(ch, m)) {
		pthread_mutex_unlock(&c->delivering);
		return;
	}
	enum err e = deliver_serve(c->account.view, &c->delivery, m, &answer);
	pthread_mutex_unlock(&c->delivering);
	channel_reply(ch, m->call, e, buf_str(&answer), NULL, 0);
	c->last_delivery_ms = clock_mono_ms();
	if (e == ERR_OK) {
		cell_publish_soon(c);
		cell_report_usage(c, false);
	}
	pool_alarm(c->pool, clock_mono_ms() + TICK_MS);
}

static void on_sync(void *context, struct channel *ch, struct message *m)
{
	struct cell *c = context;

	pool_will_wait(c->pool);
	channel_reply(ch, m->call, view_publish(c->account.view), STR(""), NULL, 0);
}

void cell_use_settings(struct cell *c, const struct account_info *info)
{
	pthread_mutex_lock(&c->delivering);
	c->account.message_limit = (uint32_t)conf_number(info->conf, SETTING_imap_message_limit);
	c->delivery.detail_is_folder = conf_on(info->conf, SETTING_detail_is_folder);
	c->delivery.full_is_refused = !conf_on(info->conf, SETTING_over_quota_temporary);
	pthread_mutex_unlock(&c->delivering);
}

/* Settings changed: the limits are in the command, the rest is asked for. */
static void read_settings_again(struct cell *c)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(account_info_free) struct account_info info = { 0 };

	if (account_info_ask(c->control, c->start.account, INFO_TIMEOUT_MS, &a, &info) != ERR_OK)
		return;
	cell_use_settings(c, &info);
	view_set_undelete_days(c->account.view, (uint32_t)conf_number(info.conf, SETTING_undelete_days));
}

/* Other servers have refused some of its mail: is it still the owner who sends? */
static void weigh_refusals(struct cell *c)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(account_info_free) struct account_info info = { 0 };

	if (account_info_ask(c->control, c->start.account, INFO_TIMEOUT_MS, &a, &info) == ERR_OK)
		submit_sending_weigh(&c->account, &info);
}

/* Control's table follows the lists of rights, also after a kill between the two, or while control was away. */
void cell_tell_shares(struct cell *c)
{
	if (!acl_is_untold(c->account.view) || !channel_is_open(c->control))
		return;
	pool_will_wait(c->pool);
	if (acl_tell(c->account.view, c->control, INFO_TIMEOUT_MS) != ERR_OK)
		log_warn("with whom mailboxes are shared could not be noted yet account=%llu; it is tried again",
		         (unsigned long long)c->start.account);
}

static void on_command(void *context, struct channel *ch, struct message *m)
{
	struct cell *c = context;
	CLEANUP(buf_free) struct buf answer = BUF(MESSAGE_BODY_MAX);
	struct store_command command = { 0 };

	pool_will_wait(c->pool);
	cell_publish(c);  /* the administrator looks, too */
	enum err e = store_command_serve(c->account.view, m->body, &answer);
	if (e == ERR_OK && store_command_decode(m->body, &command) == ERR_OK && command.kind == STORE_COMMAND_LIMITS)
		read_settings_again(c);
	else if (e == ERR_OK && command.kind == STORE_COMMAND_REFUSED)
		weigh_refusals(c);
	cell_tell_shares(c);
	channel_reply(ch, m->call, e, buf_str(&answer), NULL, 0);
	c->last_delivery_ms = clock_mono_ms();
}

static void on_tell_usage(void *context, UNUSED struct channel *ch, UNUSED struct message *m)
{
	struct cell *c = context;

	if (c->account.view != NULL)  /* else it says so when it is open */
		cell_report_usage(c, true);
}

const struct channel_handler cell_queue_handlers[] = { { REQUEST_DELIVER, on_deliver }, { REQUEST_CELL_SYNC, on_sync }, { 0 } };
const struct channel_handler cell_control_handlers[] = { { REQUEST_CELL_COMMAND, on_command }, { NOTICE_TELL_USAGE, on_tell_usage }, { 0 } };
