/* How much an account has and may have: bytes, messages, mailboxes. The limits hold for what is committed, seen or not: a delivery that
 * nobody has seen yet may wait long for its sync. Bytes count once for an email in several mailboxes, messages count in each
 * (RFC 9208 §5.2). What is there when a limit shrinks stays; a MOVE never fails for a limit, so that a full account can be tidied. */
#include "conf/conf.h"
#include "store/store_private.h"

enum { MESSAGE_SIZE_DEFAULT = 64 << 20, GRACE_MIN = 1 << 20 };

/* An account is refused mail at the door once it is full, when its sender is still there to hear it; until then what was taken for it should
 * go in, or a bounce goes to an address that anyone may have written there. So the last delivery may pass the quota, by a tenth, and by what
 * a letter with a picture needs where that is little. What is larger than that room waits like mail for a full account. */
uint64_t usage_with_grace(uint64_t quota_bytes) { return quota_bytes + (quota_bytes / 10 > GRACE_MIN ? quota_bytes / 10 : GRACE_MIN); }

struct usage usage_committed(const struct view *v)
{
	struct usage u = { 0 };

	for (size_t i = 0; i < v->n_boxes; i++) {
		if (v->boxes[i]->is_deleted)
			continue;
		u.bytes += v->boxes[i]->m.size;
		u.messages += v->boxes[i]->m.messages;
		u.mailboxes++;
	}
	u.bytes -= (uint64_t)v->shared_bytes;
	return u;
}

/* … and what the transaction adds to it */
static struct usage usage_of(const struct tx *tx)
{
	struct usage u = usage_committed(tx->v);

	for (size_t i = 0; i < tx->n_boxes; i++) {
		u.bytes += tx->counters[i].size - tx->boxes[i]->m.size;
		u.messages += (uint64_t)tx->counters[i].messages - tx->boxes[i]->m.messages;
	}
	for (size_t i = 0; i < tx->n_reshapes; i++)
		u.mailboxes += tx->reshapes[i].is_born;
	return u;
}

static bool fits(uint64_t used, uint64_t limit) { return limit == 0 || used <= limit; }

bool usage_fits(const struct tx *tx)
{
	struct usage u = usage_of(tx);

	return fits(u.bytes, tx->v->config.limits.quota_bytes) && fits(u.messages, tx->v->config.limits.messages_max);
}

bool usage_fits_messages(const struct tx *tx)
{
	uint64_t limit = tx->v->config.limits.messages_max;

	return limit == 0 || fits(usage_of(tx).messages, limit);
}

bool usage_fits_mailboxes(const struct tx *tx) { return fits(usage_of(tx).mailboxes, tx->v->config.limits.mailboxes_max); }

void usage_note(struct view *v)
{
	struct usage used = usage_committed(v);

	pthread_mutex_lock(&v->memory_lock);
	v->used = used;
	pthread_mutex_unlock(&v->memory_lock);
}

struct view_limits view_limits_of(const struct conf *conf)
{
	return (struct view_limits){
		.quota_bytes = conf_number(conf, SETTING_quota), .message_size_max = conf_number(conf, SETTING_message_size_max),
		.messages_max = conf_number(conf, SETTING_quota_messages), .mailboxes_max = conf_number(conf, SETTING_quota_mailboxes),
		.disk_reserve = conf_number(conf, SETTING_disk_reserve),
	};
}

void view_set_limits(struct view *v, const struct view_limits *limits)
{
	pthread_mutex_lock(&v->memory_lock);
	v->config.limits = *limits;
	if (limits->message_size_max == 0)
		v->config.limits.message_size_max = MESSAGE_SIZE_DEFAULT;
	if (limits->mailboxes_max == 0 || limits->mailboxes_max > MAILBOXES_MAX)
		v->config.limits.mailboxes_max = MAILBOXES_MAX;
	pthread_mutex_unlock(&v->memory_lock);
}

uint64_t view_message_size_max(struct view *v)
{
	uint64_t max;

	pthread_mutex_lock(&v->memory_lock);
	max = v->config.limits.message_size_max;
	pthread_mutex_unlock(&v->memory_lock);
	return max;
}

uint64_t view_delivery_size_max(struct view *v)
{
	uint64_t max = view_message_size_max(v), quota;

	pthread_mutex_lock(&v->memory_lock);
	quota = v->config.limits.quota_bytes;
	pthread_mutex_unlock(&v->memory_lock);
	return quota > 0 && usage_with_grace(quota) < max ? usage_with_grace(quota) : max;
}

static unsigned percent(uint64_t used, uint64_t limit)
{
	if (limit == 0)
		return 0;
	return used >= limit ? 100 : (unsigned)((double)used / (double)limit * 100);
}

void view_quota(struct view *v, struct quota *out)
{
	const struct view_limits *limits = &v->config.limits;
	unsigned messages;

	pthread_mutex_lock(&v->memory_lock);
	*out = (struct quota){ .used_bytes = v->used.bytes, .limit_bytes = limits->quota_bytes, .messages_max = limits->messages_max,
	                       .messages = v->used.messages, .mailboxes = v->used.mailboxes, .mailboxes_max = limits->mailboxes_max };
	out->percent = percent(v->used.bytes, limits->quota_bytes);
	messages = percent(v->used.messages, limits->messages_max);
	if (messages > out->percent)
		out->percent = messages;
	pthread_mutex_unlock(&v->memory_lock);
}
