/* The pages of GATE_SESSIONS. A page is at most 160 × (60 + 64 + 160 + 64) bytes: it always fits into one message. */
#include "ipc/sessions.h"

void put_sessions(struct buf *b, const struct session_info *list, size_t n, uint32_t next)
{
	put_u32(b, next);
	put_u32(b, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		put_u64(b, list[i].session);
		put_u64(b, list[i].account);
		put_u8(b, (uint8_t)list[i].protocol);
		put_bool(b, list[i].is_tls);
		put_bool(b, list[i].is_parked);
		put_i64(b, list[i].since_s);
		put_bool(b, list[i].is_compressed);
		put_str(b, str_sub(list[i].peer, 0, SESSION_PEER_MAX));
		put_str(b, str_sub(list[i].login, 0, SESSION_LOGIN_MAX));
		put_str(b, str_sub(list[i].tls, 0, SESSION_TLS_MAX));
		put_u64(b, list[i].bytes_in);
		put_u64(b, list[i].bytes_out);
	}
}

bool get_sessions(struct scan *s, struct arena *a, struct session_info **list, size_t *n, size_t *cap, uint32_t *next)
{
	uint32_t count;

	*next = get_u32(s);
	count = get_count(s, SESSIONS_PAGE_MAX);
	for (uint32_t i = 0; i < count && !s->failed; i++) {
		struct session_info x = { .session = get_u64(s), .account = get_u64(s) };
		x.protocol = (enum protocol)get_u8(s);
		x.is_tls = get_bool(s);
		x.is_parked = get_bool(s);
		x.since_s = get_i64(s);
		x.is_compressed = get_bool(s);
		x.peer = str_copy(a, get_str(s, SESSION_PEER_MAX));
		x.login = str_copy(a, get_str(s, SESSION_LOGIN_MAX));
		x.tls = str_copy(a, get_str(s, SESSION_TLS_MAX));
		x.bytes_in = get_u64(s);
		x.bytes_out = get_u64(s);
		if (s->failed || x.protocol <= 0 || x.protocol >= PROTOCOL_COUNT)
			return false;
		*list = arena_grow(a, *list, *n, cap, sizeof **list);
		(*list)[(*n)++] = x;
	}
	return get_end(s);
}
