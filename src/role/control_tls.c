/* What control keeps about TLS to other servers (tlsrpt/book.h): policies for net, counts for the daily reports, and the reports when a day
 * is over. A book that cannot be opened costs these and nothing else. */
#include "base/clock.h"
#include "base/log.h"
#include "role/control_private.h"

enum { DAY_S = 86400, FIRST_MS = 60 * 1000, EVERY_MS = 20 * 60 * 1000 };

void control_tls_start(struct control *c)
{
	if (book_open(c->dir, &c->book) != ERR_OK) {
		log_error("policies of other domains are fetched anew after each restart, and no reports about TLS are sent: their file cannot be opened");
		c->book = NULL;
	}
	c->reports_ms = clock_mono_ms() + FIRST_MS;
}

void control_tls_stop(struct control *c)
{
	book_close(c->book);
	c->book = NULL;
}

void control_tls_tick(struct control *c, int64_t now_ms)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct book_domain *list;
	size_t n = 0;

	if (c->book == NULL || now_ms < c->reports_ms)
		return;
	c->reports_ms = now_ms + EVERY_MS;
	if (book_prune(c->book, clock_wall_s() / DAY_S) == ERR_OK && conf_on(lookup_conf(c->lookup), SETTING_tls_reports) && book_domains(c->book, clock_wall_s() / DAY_S, &a, &list, &n) == ERR_OK && n > 0)
		control_run(c, STR("{\"command\":\"tls report\",\"args\":{},\"lang\":\"en\"}"));
}

/* ---- from net ---- */

void control_on_sessions(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct control_peer *p = context;
	struct control *c = p->control;

	control_lock(c);
	if (c->book != NULL && book_count(c->book, clock_wall_s() / DAY_S, m->body) == ERR_INVALID)
		log_error("a count of TLS sessions is malformed role=%s", role_name(p->role));
	control_unlock(c);
}

void control_on_sts_kept(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct control_peer *p = context;
	struct control *c = p->control;
	struct scan s = scan_of(m->body);
	struct sts_record r;

	if (!get_sts_record(&s, &r) || !scan_done(&s)) {
		log_error("a policy to keep is malformed role=%s", role_name(p->role));
		return;
	}
	control_lock(c);
	if (c->book != NULL && book_keep(c->book, &r, clock_wall_s()) != ERR_OK)
		log_warn("the policy of a domain is not kept over a restart domain=" STR_FMT, STR_ARG(r.domain));
	control_unlock(c);
}

void control_on_sts_policies(void *context, struct channel *ch, struct message *m)
{
	CLEANUP(buf_free) struct buf records = BUF(MESSAGE_BODY_MAX), b = BUF(MESSAGE_BODY_MAX);
	struct control_peer *p = context;
	struct scan s = scan_of(m->body);
	uint64_t from = get_u64(&s), next = 0;
	enum err e = get_end(&s) ? ERR_OK : ERR_INVALID;

	control_lock(p->control);
	if (e == ERR_OK && p->control->book != NULL)
		e = book_kept(p->control->book, from, clock_wall_s(), &records, &next);
	control_unlock(p->control);
	put_u64(&b, next);
	buf_add(&b, buf_str(&records));
	channel_reply(ch, m->call, e, e == ERR_OK && !b.failed ? buf_str(&b) : STR(""), NULL, 0);
}
