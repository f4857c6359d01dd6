/* status: how the server is, at a glance. What does not answer is left out and named as trouble; the rest is still
 * shown. */
#include "admin/admin_private.h"
#include "base/clock.h"
#include "base/version.h"
#include "directory/issuer.h"

static void put_accounts(struct admin_call *c, json_t *result)
{
	struct directory_account *list;
	struct directory_domain *domains;
	uint64_t living = 0, suspended = 0, deleted = 0;
	size_t n;

	if (domain_list(c->directory, &c->arena, &domains, &n) == ERR_OK)
		admin_put_number(result, "domains", n);
	if (account_list(c->directory, STR(""), &c->arena, &list, &n) != ERR_OK)
		return;
	for (size_t i = 0; i < n; i++) {
		deleted += list[i].deleted_s != 0;
		living += list[i].deleted_s == 0;
		suspended += list[i].deleted_s == 0 && list[i].is_suspended;
	}
	admin_put_number(result, "accounts", living);
	admin_put_number(result, "accounts_suspended", suspended);
	admin_put_number(result, "accounts_deleted", deleted);
}

/* Returns what is wrong, or "". */
static struct str put_queue(struct admin_call *c, json_t *result)
{
	const struct queue_command ask = { .kind = QUEUE_COUNTERS, .recipient = -1, .name = STR("") };
	struct queue_answer answer;

	if (c->host->queue(c->host->context, &ask, &c->arena, &answer) != ERR_OK)
		return str_of(text_get(c->lang, TEXT_ADMIN_NO_ANSWER));
	admin_put_number(result, "queue_backlog", answer.counters.backlog);
	admin_put_number(result, "queue_deferred", answer.counters.late.waiting);
	return admin_queue_trouble(c, &answer.counters);
}

/* The one that expires first; but clients that name no host do not look at what they are shown. Returns what is wrong with it, or "". */
static struct str put_certificates(struct admin_call *c, json_t *result)
{
	const struct certificate_info *first = NULL;
	struct certificate_info *list;
	size_t n;

	if (c->host->certificates(c->host->context, &c->arena, &list, &n) != ERR_OK)
		return STR("");
	for (size_t i = 0; i < n; i++)
		if (list[i].names.n > 0 && (first == NULL || list[i].not_after_s < first->not_after_s))
			first = &list[i];
	if (first == NULL || first->not_after_s <= 0)
		return STR("");
	admin_put_number(result, "certificate_expires", (uint64_t)first->not_after_s);
	int64_t left_s = first->not_after_s - clock_wall_s();
	if (left_s >= CERTIFICATE_SOON_S)
		return STR("");
	return text_format(&c->arena, c->lang, left_s < 0 ? TEXT_ADMIN_CERTIFICATE_ENDED : TEXT_ADMIN_CERTIFICATE_ENDS,
	                   ADMIN_TEXTS(first->names, admin_number_text(c, left_s < 0 ? 0 : (uint64_t)left_s / 86400)));
}

/* An issuer whose keys cannot be fetched: its tokens go on for some days, and then do not. "": there is none. */
static struct str trouble_of_issuers(struct admin_call *c)
{
	struct issuer *list;
	size_t n;

	if (issuer_list(c->directory, &c->arena, &list, &n) != ERR_OK)
		return STR("");
	for (size_t i = 0; i < n; i++)
		if (list[i].source.fault != ISSUER_FINE)
			return text_format(&c->arena, c->lang, list[i].key_count > 0 ? TEXT_ISSUER_IN_TROUBLE : TEXT_ISSUER_SHUT_OUT, ADMIN_TEXTS(list[i].name));
	return STR("");
}

enum err admin_status(struct admin_call *c)
{
	json_t *result = admin_result(c);
	struct session_info *list = NULL;
	struct str hostname, of_certificates, trouble = STR("");
	struct conf *conf;
	size_t n = 0;

	TRY(directory_conf(c->directory, &conf));
	enum err e = directory_hostname(c->directory, conf, &c->arena, &hostname);
	conf_free(conf);
	TRY(e);
	admin_put_text(result, "version", str_of(FACTEUR_VERSION));
	admin_put_switch(result, "running", c->host->is_running);
	admin_put_text(result, "hostname", hostname);
	admin_put_text(result, "folder", str_of(c->host->dir));
	put_accounts(c, result);
	of_certificates = put_certificates(c, result);
	if (!c->host->is_running)
		return ERR_OK;
	admin_put_number(result, "up_since", (uint64_t)c->host->started_s);
	if (c->host->sessions(c->host->context, &c->arena, &list, &n) == ERR_OK)
		admin_put_number(result, "sessions", n);
	else
		trouble = str_of(text_get(c->lang, TEXT_ADMIN_NO_ANSWER));
	if (trouble.n == 0)
		trouble = of_certificates.n > 0 ? of_certificates : trouble_of_issuers(c);
	struct str of_queue = put_queue(c, result);
	admin_put_text(result, "trouble", of_queue.n ? of_queue : trouble);
	return ERR_OK;
}
