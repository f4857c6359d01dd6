/* The web pages of a gate: over TLS, one request a connection, and few of them. A gate parses the frame of HTTP and no content: what it
 * answers by itself is the policy of MTA-STS of a domain of ours (RFC 8461 §3.3), which the look-up has; what only control knows it asks
 * of control (PAGE), as it asks keys about a password.
 *
 * The time from accept to the last byte of the request is the one for a login: a browser has asked within a second. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/page.h"
#include "http/request.h"
#include "role/gate_private.h"

enum { READ_PIECE = 4096 };

struct page_ask {   /* a question to control; outlives the client if it must */
	struct client *client;
};

struct web {
	struct http_request request;
	struct page_ask    *ask;
};

void web_end(struct client *c)
{
	struct web *w = c->web;

	if (w == NULL)
		return;
	c->web = NULL;
	if (w->ask)
		w->ask->client = NULL;
	http_request_free(&w->request);
	mem_free(w);
}

/* ---- answers ---- */

/* Nothing is loaded, run or framed; a form may come back here. */
#define PAGE_FIELDS "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'none'; " \
                    "style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'\r\n"

static void answer(struct client *c, int status, struct str type, struct str body, struct str extra)
{
	const struct http_request *r = &c->web->request;
	const struct http_reply reply = { status, type, body, extra, r->method == HTTP_HEAD };
	char room[PEER_TEXT_MAX];

	log_info("web page status=%d host=" STR_FMT " peer=%s session=%llu", status, STR_ARG(r->host), peer_text(&c->peer, room).p,
	         (unsigned long long)c->session);
	http_reply_put(&reply, clock_wall_s(), &c->out);
	web_end(c);
	client_close_soon(c);
}

static void answer_html(struct client *c, int status, struct str html)
{
	answer(c, status, STR("text/html; charset=utf-8"), html, status == 405 ? STR("Allow: GET, HEAD, POST\r\n" PAGE_FIELDS) : STR(PAGE_FIELDS));
}

static void answer_words(struct client *c, int status, enum text title, enum text why)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	bool french = c->web->request.french;
	enum lang lang = french ? LANG_FR : LANG_EN;

	answer_html(c, status, page_html(&a, french, str_of(text_get(lang, title)), str_of(text_get(lang, why)), STR("")));
}

/* ---- the policy ---- */

/* https://mta-sts.DOMAIN/.well-known/mta-sts.txt. Its text says of a domain without a policy that it has none, which is what those have to
 * hear who remember another one (§8.3). */
static bool answer_policy(struct client *c)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const struct http_request *r = &c->web->request;
	const struct lookup *l = c->gate->lookup;
	enum mta_sts_mode mode;

	if (!str_starts(r->host, STR("mta-sts.")) || !http_request_is_for(r, STR("/.well-known/mta-sts.txt")) ||
	    !lookup_domain_sts(l, str_from(r->host, 8), &mode))
		return false;
	if (r->method != HTTP_GET && r->method != HTTP_HEAD)
		answer_words(c, 405, TEXT_WEB_MISTAKE, TEXT_WEB_MISTAKE_WHY);
	else
		answer(c, 200, STR("text/plain; charset=utf-8"),
		       mta_sts_policy_text(&a, mode, lookup_hostname(l), conf_text(lookup_conf(l), SETTING_mta_sts_hosts)), STR(""));
	return true;
}

/* ---- pages of control ---- */

static void control_answered(void *context, struct message *m)
{
	struct page_ask *ask = context;
	struct client *c = ask->client;
	struct scan s = scan_of(m->body);
	struct page_answer page;

	mem_free(ask);
	if (c == NULL)
		return;
	c->web->ask = NULL;
	if (m->status != ERR_OK || !get_page_answer(&s, &page))
		answer_words(c, 503, TEXT_WEB_LATER, TEXT_WEB_LATER_WHY);
	else if (page.html.n == 0)
		answer_words(c, page.status, TEXT_WEB_NOT_FOUND, TEXT_WEB_NOT_FOUND_WHY);
	else
		answer_html(c, page.status, page.html);
}

static void ask_control(struct client *c)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct web *w = c->web;
	const struct http_request *r = &w->request;
	const struct page_request page = { r->method == HTTP_POST, r->host, r->path, buf_str(&r->body), r->french };

	put_page_request(&b, &page);
	w->ask = MEM_NEW(struct page_ask);
	w->ask->client = c;
	client_watch(c, web_ready, 0);
	channel_ask(c->gate->control, REQUEST_PAGE, buf_str(&b), NULL, 0, PAGE_TIMEOUT_MS, control_answered, w->ask);
}

/* ---- a request ---- */

static bool is_of_control(const struct http_request *r) { return r->path.n <= PAGE_PATH_MAX && str_starts(r->path, STR("/leave/")); }

static void serve(struct client *c)
{
	const struct http_request *r = &c->web->request;

	if (answer_policy(c))
		return;
	if (!is_of_control(r))
		answer_words(c, 404, TEXT_WEB_NOT_FOUND, TEXT_WEB_NOT_FOUND_WHY);
	else if (r->method == HTTP_OTHER)
		answer_words(c, 405, TEXT_WEB_MISTAKE, TEXT_WEB_MISTAKE_WHY);
	else
		ask_control(c);
}

void web_ready(void *context, unsigned events)
{
	struct client *c = context;
	enum err e = ERR_AGAIN;
	size_t got;

	if (c->web->ask) {  /* nothing is read meanwhile: this is the end of the connection */
		if (events & LOOP_GONE)
			client_end(c);
		return;
	}
	while (e == ERR_AGAIN) {
		char room[READ_PIECE];
		enum err read = stream_read(&c->stream, room, sizeof room, &got);
		if (read == ERR_AGAIN) {
			client_watch(c, web_ready, stream_wants(&c->stream, true, false));
			return;
		}
		if (read != ERR_OK) {
			client_end(c);
			return;
		}
		e = http_request_take(&c->web->request, str_make(room, got));
	}
	if (e == ERR_OK)
		serve(c);
	else
		answer_words(c, c->web->request.refuse, TEXT_WEB_MISTAKE, TEXT_WEB_MISTAKE_WHY);
}

void web_begin(struct client *c)
{
	c->phase = PHASE_WEB;
	c->web = MEM_NEW(struct web);
	http_request_init(&c->web->request);
	web_ready(c, LOOP_READ);
}
