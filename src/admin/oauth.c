/* oauth add, list, remove: issuers whose tokens log in. The keys are read here, once; what is kept of them can only verify. */
#include "admin/admin_private.h"
#include "auth/jwks.h"
#include "base/clock.h"

static bool is_name(struct str s) { return s.n > 0 && s.n <= ISSUER_TEXT_MAX && !str_has_ctl(s); }

static enum err read_keys(struct admin_call *c, struct issuer *i)
{
	struct str text = admin_text(c, "keys");
	enum err e;

	if (text.p == NULL)
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_KEYS_MISSING, i->name);
	i->keys = arena_array(&c->arena, ISSUER_KEYS_MAX, sizeof *i->keys);
	e = jwks_read(text, &c->arena, i->keys, &i->key_count);
	if (e == ERR_OK)
		return e;
	return admin_refuse(c, ERR_INVALID, e == ERR_NOTFOUND ? TEXT_ADMIN_KEYS_NONE : e == ERR_DENIED ? TEXT_ADMIN_KEYS_SECRET :
	                    e == ERR_LIMIT ? TEXT_ADMIN_KEYS_MANY : TEXT_ADMIN_KEYS_BAD, i->name);
}

enum err admin_oauth_add(struct admin_call *c)
{
	struct issuer i = { .name = admin_text(c, "issuer"), .audience = admin_text(c, "audience"), .claim = admin_text(c, "claim"),
	                    .domain = admin_text(c, "only"), .changed_s = clock_wall_s() };
	enum err e;

	if (i.claim.p == NULL)
		i.claim = STR("email");
	if (!is_name(i.name))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_ISSUER_BAD, i.name);
	if (!is_name(i.audience) || !is_name(i.claim))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_AUDIENCE_BAD, STR(""));
	if (i.domain.p != NULL)
		TRY(admin_domain(c, i.domain, &i.domain));
	TRY(read_keys(c, &i));
	e = issuer_set(c->directory, &i);
	if (e == ERR_LIMIT)
		return admin_refuse(c, e, TEXT_ADMIN_ISSUERS_FULL, STR(""));
	if (e != ERR_OK)
		return e;
	TRY(admin_publish(c));
	admin_put_number(admin_result(c), "keys", i.key_count);
	return admin_said(c, TEXT_ADMIN_ISSUER_ADDED, i.name, i.audience, i.claim);
}

enum err admin_oauth_list(struct admin_call *c)
{
	struct issuer *list;
	size_t n;

	TRY(issuer_list(c->directory, &c->arena, &list, &n));
	for (size_t i = 0; i < n; i++) {
		json_t *row = admin_row(c);
		admin_put_text(row, "issuer", list[i].name);
		admin_put_text(row, "audience", list[i].audience);
		admin_put_text(row, "claim", list[i].claim);
		admin_put_text(row, "only", list[i].domain);
		admin_put_number(row, "keys", list[i].key_count);
		admin_put_number(row, "since", (uint64_t)list[i].changed_s);
	}
	return ERR_OK;
}

enum err admin_oauth_remove(struct admin_call *c)
{
	struct str name = admin_text(c, "issuer");
	enum err e = issuer_remove(c->directory, name);

	if (e == ERR_NOTFOUND)
		return admin_refuse(c, e, TEXT_ADMIN_NO_SUCH_ISSUER, name);
	if (e != ERR_OK)
		return e;
	TRY(admin_publish(c));
	return admin_said(c, TEXT_ADMIN_ISSUER_REMOVED, name);
}
