/* The keys of issuers of tokens are kept up to date: when they are due (directory/issuer.h), and when keys has seen a token that names one that is not
 * among them. Both are a command of control's own, `oauth refresh --due` (admin/oauth_keys.c), which looks again what is due: however many tokens are made
 * up, an issuer is asked once in five minutes. */
#include "admin/wire.h"
#include "base/clock.h"
#include "base/log.h"
#include "directory/issuer.h"
#include "role/control_private.h"

enum { EVERY_MS = 60 * 1000 };

static void refresh(struct control *c, struct str name)
{
	CLEANUP(admin_json_free) json_t *request = json_pack("{s:s, s:{s:b}, s:s}", "command", "oauth refresh", "args", "due", 1, "lang", "en");
	CLEANUP(buf_free) struct buf b = BUF(4096);

	if (name.n > 0)
		json_object_set_new(json_object_get(request, "args"), "issuer", json_stringn(name.p, name.n));
	admin_json_write(&b, request);
	if (!b.failed)
		control_run(c, buf_str(&b));
}

void control_tokens_tick(struct control *c, int64_t now_ms)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct issuer *list;
	bool is_due = false;
	size_t n;

	if (now_ms < c->tokens_ms || control_find_peer(c, ROLE_NET, 0) == NULL)  /* who would ask them? */
		return;
	c->tokens_ms = now_ms + EVERY_MS;
	if (issuer_list(c->directory, &a, &list, &n) != ERR_OK)
		return;
	for (size_t i = 0; i < n; i++)
		is_due = is_due || issuer_is_due(&list[i], false, clock_wall_s());
	if (is_due)
		refresh(c, STR(""));
}

void control_on_unknown_key(void *context, UNUSED struct channel *ch, struct message *m)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct control_peer *p = context;
	struct control *c = p->control;
	struct scan s = scan_of(m->body);
	struct str name = get_str(&s, ISSUER_TEXT_MAX);
	struct issuer i;

	if (!get_end(&s)) {
		log_error("a request for keys of an issuer is malformed role=%s", role_name(p->role));
		return;
	}
	control_lock(c);
	if (issuer_get(c->directory, name, &a, &i) == ERR_OK && issuer_is_due(&i, true, clock_wall_s()))
		refresh(c, i.name);
	control_unlock(c);
}
