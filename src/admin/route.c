/* route add, list, remove, test: where mail goes instead of to the mail hosts of its domain (directory/route.h). */
#include "admin/admin_private.h"
#include "queue/destination.h"
#include "queue/send.h"
#include "trail/refusals.h"

/* keys answers; a failure of keys itself gets its sentence. */
static enum err password(struct admin_call *c, enum route_password_op op, struct str name, struct str secret, bool *was_there)
{
	const struct route_password_command command = { op, name, secret };
	enum err e = c->host->route_password(c->host->context, &command, was_there);

	if (e == ERR_INVALID)
		return admin_refuse(c, e, TEXT_ADMIN_PASSWORD_BAD, STR(""));
	return e;
}

static enum err pattern_argument(struct admin_call *c, struct str *out)
{
	if (route_pattern_parse(admin_text(c, "pattern"), &c->arena, out))
		return ERR_OK;
	return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_NOT_A_PATTERN, admin_text(c, "pattern"));
}

/* The route as its arguments have it, with a sentence for what cannot be. */
static enum err route_arguments(struct admin_call *c, struct route *out)
{
	struct str tls = admin_text(c, "tls"), login = admin_text(c, "login");

	if (!route_target_parse(admin_text(c, "server"), &c->arena, out))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_NOT_A_SERVER, admin_text(c, "server"));
	if (tls.p != NULL && !route_tls_parse(tls, &out->tls))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_NOT_A_TLS_MODE, tls);
	if (login.p != NULL && (login.n == 0 || login.n > ROUTE_LOGIN_MAX || str_has_ctl(login)))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_LOGIN_BAD, STR(""));
	if (out->host.n == 0 && (tls.p != NULL || login.p != NULL))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_DIRECT_ALONE, STR(""));
	if (login.p != NULL)
		out->login = login;
	route_complete(out, tls.p != NULL);
	if (!route_can_verify(out))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_ROUTE_ADDRESS_UNVERIFIED, out->host);
	if (!route_protects_login(out))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_ROUTE_LOGIN_UNSAFE, str_of(route_tls_name(out->tls)));
	return ERR_OK;
}

/* A login has a password: the one that is given, else the one that is kept. */
static enum err set_password(struct admin_call *c, const struct route *r)
{
	struct str secret = admin_text(c, "password"), name = route_name(r, &c->arena);
	bool is_there = false;

	if (r->login.n == 0)
		return secret.p == NULL ? ERR_OK : admin_refuse(c, ERR_INVALID, TEXT_ADMIN_ROUTE_NO_LOGIN, STR(""));
	if (secret.p != NULL)
		return password(c, ROUTE_PASSWORD_SET, name, secret, &is_there);
	TRY(password(c, ROUTE_PASSWORD_HAS, name, STR(""), &is_there));
	return is_there ? ERR_OK : admin_refuse(c, ERR_INVALID, TEXT_ADMIN_ROUTE_NO_PASSWORD, r->login);
}

static enum err find(struct admin_call *c, struct str pattern, struct route *out)
{
	struct directory_route *list;
	size_t n;

	TRY(route_list(c->directory, &c->arena, &list, &n));
	for (size_t i = 0; i < n; i++) {
		if (!str_eq(list[i].pattern, pattern))
			continue;
		*out = list[i].route;
		return ERR_OK;
	}
	return ERR_NOTFOUND;
}

/* The password of a route that was, unless another one has the same login at the same place. */
static enum err forget_password(struct admin_call *c, const struct route *gone)
{
	struct str name = route_name(gone, &c->arena);
	struct directory_route *list;
	bool was_there;
	size_t n;

	if (gone->login.n == 0)
		return ERR_OK;
	TRY(route_list(c->directory, &c->arena, &list, &n));
	for (size_t i = 0; i < n; i++)
		if (str_eq(route_name(&list[i].route, &c->arena), name))
			return ERR_OK;
	return password(c, ROUTE_PASSWORD_FORGET, name, STR(""), &was_there);
}

/* First nobody goes the old way any more, then its password goes: mail in between would wait for one that is not there. */
static enum err publish_without(struct admin_call *c, const struct route *gone)
{
	enum err published = admin_publish(c), forgotten = forget_password(c, gone);

	return published != ERR_OK ? published : forgotten;
}

static struct str server_text(struct admin_call *c, const struct route *r)
{
	struct route bare = *r;

	bare.login = STR("");
	return r->host.n > 0 ? route_name(&bare, &c->arena) : STR("direct");
}

enum err admin_route_add(struct admin_call *c)
{
	struct route r, before = { .login = STR("") };
	struct str pattern;

	TRY(pattern_argument(c, &pattern));
	TRY(route_arguments(c, &r));
	TRY(set_password(c, &r));
	enum err e = find(c, pattern, &before);
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return e;
	e = route_set(c->directory, pattern, &r);
	if (e == ERR_LIMIT)
		return admin_refuse(c, e, TEXT_ADMIN_ROUTES_FULL, STR(""));
	if (e != ERR_OK)
		return e;
	TRY(publish_without(c, &before));
	return r.host.n > 0 ? admin_said(c, TEXT_ADMIN_ROUTE_SET, pattern, server_text(c, &r)) : admin_said(c, TEXT_ADMIN_ROUTE_DIRECT, pattern);
}

enum err admin_route_list(struct admin_call *c)
{
	struct directory_route *list;
	size_t n;

	TRY(route_list(c->directory, &c->arena, &list, &n));
	for (size_t i = 0; i < n; i++) {
		json_t *row = admin_row(c);
		admin_put_text(row, "pattern", list[i].pattern);
		admin_put_text(row, "server", server_text(c, &list[i].route));
		admin_put_text(row, "tls_mode", list[i].route.host.n > 0 ? str_of(route_tls_name(list[i].route.tls)) : STR(""));
		admin_put_text(row, "login", list[i].route.login);
	}
	return ERR_OK;
}

enum err admin_route_remove(struct admin_call *c)
{
	struct route gone = { .login = STR("") };
	struct str pattern;

	TRY(pattern_argument(c, &pattern));
	enum err e = find(c, pattern, &gone);
	if (e == ERR_OK)
		e = route_remove(c->directory, pattern);
	if (e == ERR_NOTFOUND)
		return admin_refuse(c, e, TEXT_ADMIN_NO_SUCH_ROUTE, pattern);
	if (e != ERR_OK)
		return e;
	TRY(publish_without(c, &gone));
	return admin_said(c, TEXT_ADMIN_ROUTE_REMOVED, pattern);
}

/* ---- test ---- */

/* A domain of ours leaves by a route of its own name only. */
static bool stays_here(struct admin_call *c, struct str address, struct str *domain)
{
	struct route r = { .login = STR("") };

	if (!directory_domain_parse(str_from(address, (size_t)str_chr(address, '@') + 1), &c->arena, domain) || !domain_exists(c->directory, *domain))
		return false;
	return find(c, *domain, &r) != ERR_OK || r.host.n == 0;
}

/* What went wrong, and why where the words are known. What to do then is said to senders, not to who makes routes. */
static enum err test_failed(struct admin_call *c, struct str address, const struct send_result *r)
{
	const struct refusal *known = refusal_find(r->status, r->text);
	const struct refusal_facts facts = { .recipient = address, .host = r->host, .reply = r->text };
	struct str said = admin_reply_text(&c->arena, c->lang, r->text);

	if (r->host.n > 0)
		said = arena_printf(&c->arena, STR_FMT ": " STR_FMT, STR_ARG(r->host), STR_ARG(said));

	if (known == NULL)
		return admin_refuse(c, ERR_CONFLICT, TEXT_ADMIN_ROUTE_TEST_FAILED, said);
	return admin_refuse(c, ERR_CONFLICT, TEXT_ADMIN_ROUTE_TEST_EXPLAINED, said, refusal_why(known, c->lang, &facts, &c->arena));
}

enum err admin_route_test(struct admin_call *c)
{
	struct str text = admin_text(c, "recipient"), address = text, domain;
	struct send_answer answer;
	struct queue_way way;

	if (str_chr(text, '@') < 0)
		address = arena_printf(&c->arena, "postmaster@" STR_FMT, STR_ARG(text));
	if (stays_here(c, address, &domain)) {
		admin_put_text(admin_result(c), "way", STR("here"));
		return admin_said(c, TEXT_ADMIN_ROUTE_TEST_OURS, text, domain);
	}
	if (!c->host->is_running)
		return admin_refuse(c, ERR_UNAVAILABLE, TEXT_ADMIN_NOT_RUNNING, STR(""));
	enum err e = c->host->probe(c->host->context, address, &c->arena, &way, &answer);
	if (e == ERR_INVALID)
		return admin_refuse(c, e, TEXT_ADMIN_NOT_A_DOMAIN, text);
	if (e != ERR_OK)
		return e;
	if (answer.results[0].outcome != DELIVERY_DONE)
		return test_failed(c, address, &answer.results[0]);
	json_t *result = admin_result(c);
	admin_put_text(result, "way", way.route.host.n > 0 ? way.destination : STR("direct"));
	admin_put_text(result, "server", answer.results[0].host);
	admin_put_text(result, "encryption", answer.results[0].tls.n > 0 ? answer.results[0].tls : str_of(text_get(c->lang, TEXT_ADMIN_ROUTE_TEST_CLEAR)));
	return admin_said(c, way.route.login.n > 0 ? TEXT_ADMIN_ROUTE_TEST_LOGGED_IN : TEXT_ADMIN_ROUTE_TEST_GOOD, text, answer.results[0].host);
}
