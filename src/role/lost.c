#include "role/lost.h"

bool lost_look(struct lost *l, const struct channel *ch, enum role role, uint32_t index, struct channel *master, int64_t now_ms)
{
	CLEANUP(buf_free) struct buf b = BUF(16);
	bool is_lost = ch != NULL && !channel_is_open(ch);

	if (!is_lost || l->since_ms == 0)
		l->since_ms = is_lost ? now_ms : 0;
	if (!is_lost || now_ms - l->since_ms < LOST_AFTER_MS)
		return is_lost;
	l->since_ms = now_ms;
	put_u8(&b, (uint8_t)role);
	put_u32(&b, index);
	channel_notify(master, NOTICE_LOST, buf_str(&b), NULL, 0);
	return true;
}
