/* What commands about routes ask of other roles: keys for passwords, net for a try. */
#include "base/mem.h"
#include "queue/destination.h"
#include "queue/send.h"
#include "role/control_private.h"

enum { KEYS_MS = 20000, PROBE_MS = 90000 };

static enum err call(struct control *c, enum role role, uint16_t request, struct str body, int timeout_ms, struct arena *a, struct message *answer)
{
	struct control_peer *p = control_find_peer(c, role, 0);
	enum err e;

	if (p == NULL)
		return ERR_UNAVAILABLE;
	control_unlock(c);
	e = channel_call(p->ch, request, body, NULL, 0, timeout_ms, a, answer);
	control_lock(c);
	return e;
}

enum err control_route_password(void *context, const struct route_password_command *command, bool *was_there)
{
	CLEANUP(buf_free) struct buf b = BUF(2048);
	CLEANUP(arena_free) struct arena a = { 0 };
	struct message answer;
	struct scan s;

	put_route_password_command(&b, command);
	enum err e = b.failed ? ERR_INVALID : call(context, ROLE_KEYS, REQUEST_ROUTE_COMMAND, buf_str(&b), KEYS_MS, &a, &answer);
	mem_wipe(b.p, b.n);
	if (e != ERR_OK)
		return e;
	s = scan_of(answer.body);
	*was_there = get_bool(&s);
	return get_end(&s) ? ERR_OK : ERR_INVALID;
}

static struct str keep(struct arena *a, struct str s) { return s.n > 0 ? str_copy(a, s) : STR(""); }

enum err control_probe(void *context, struct str address, struct arena *a, struct queue_way *way, struct send_answer *out)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct control *c = context;
	struct send_recipient to = { .address = address, .orcpt = STR("") };
	struct message answer;
	int fds[MESSAGE_FDS_MAX], fd_count, memfd;

	if (!queue_way_of(c->lookup, address, a, way))
		return ERR_INVALID;
	way->route.host = keep(a, way->route.host);  /* the look-up may be another one when the lock was open */
	way->route.login = keep(a, way->route.login);
	struct send s = { .destination = way->destination, .route = way->route, .sender = STR(""), .body_type = ENVELOPE_7BIT, .body = STR(""), .fd = -1,
		                    .n = 1, .recipients = &to };
	if (!way->is_inner)
		lookup_source(c->lookup, 0, &s.source_ipv4, &s.source_ipv6);
	if (send_encode(&s, &b, fds, &fd_count, &memfd) != ERR_OK)
		return ERR_INVALID;
	TRY(call(c, ROLE_NET, REQUEST_PROBE, buf_str(&b), PROBE_MS, a, &answer));
	return send_answer_decode(answer.body, 1, a, out);
}
