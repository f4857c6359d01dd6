/* Sessions that began with a token end when what let it in is gone: the issuer was removed, the key is not among its keys any more, or something else is
 * asked of its tokens. The grant carries a mark of all that (issuer_mark()), and each directory says which marks there are.
 *
 * keys and this gate hear of a change one after the other. A session whose mark is not known here may be the first of a new key, or the last of one that
 * keys had not yet forgotten: it is looked at again when both have heard of the change. */
#include "role/gate_private.h"
#include "base/log.h"

enum { BOTH_KNOW_MS = 10000 };

static bool is_known(const struct gate_tokens *t, uint32_t mark)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->marks[i] == mark)
			return true;
	return mark == 0;
}

static void end_unknown(struct gate *g)
{
	for (uint32_t i = 0; i < g->slot_n; i++) {
		struct client *c = g->slots[i];
		if (c == NULL || c->member.of == NULL || is_known(&g->tokens, c->member.grant.token_mark))
			continue;
		log_info("session ended, its token is not believed any more session=%llu account=%llu", (unsigned long long)c->session,
		         (unsigned long long)c->member.grant.account);
		client_bye(c, TEXT_GATE_LOGIN_ENDED);
	}
}

static void on_both_know(void *context) { end_unknown(context); }

void gate_tokens_directory(struct gate *g)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct gate_tokens *t = &g->tokens;
	uint64_t version = lookup_issuers_mark(g->lookup);
	struct issuer *list;
	size_t n;

	if (t->is_read && t->version == version)
		return;
	n = lookup_issuers(g->lookup, &a, &list);
	t->n = 0;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < list[i].key_count; k++)
			t->marks[t->n++] = issuer_mark(&list[i], &list[i].keys[k]);
	t->version = version;
	t->is_read = true;
	end_unknown(g);
}

void gate_tokens_session(struct gate *g, const struct grant *grant)
{
	struct loop_timer *look = &g->tokens.look;

	if (is_known(&g->tokens, grant->token_mark) || look->place != 0)
		return;
	*look = (struct loop_timer){ .due = on_both_know, .context = g };
	loop_timer_in(g->loop, look, BOTH_KNOW_MS);
}
