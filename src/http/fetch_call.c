/* Both sides of FETCH. The asker is a role of ours, but what it asks for may come from a record of a stranger: what is no host, no path or no
 * port is refused here too, before anything becomes part of a request. */
#include "http/fetch_call.h"
#include "base/mem.h"
#include "dns/name.h"

enum { PATH_MAX_BYTES = 2048, TYPE_MAX = 200, WHY_MAX = 1000, MARGIN_MS = 5000 };

enum err fetch_call(struct channel *net, const struct http_place *p, struct arena *a, struct fetch_said *out)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	CLEANUP(fd_close) int fd = -1;
	struct message m;
	struct scan s;

	put_str(&b, p->host);
	put_u16(&b, p->port);
	put_str(&b, p->path);
	put_str(&b, p->type);
	put_u32(&b, (uint32_t)p->body_max);
	put_u32(&b, (uint32_t)p->deadline_ms);
	put_bool(&b, p->public_only);
	if (b.failed)
		return ERR_INVALID;
	if (p->type.n)
		TRY(memfd_make("post", p->body, &fd));
	TRY(channel_call(net, REQUEST_FETCH, buf_str(&b), &fd, fd >= 0, p->deadline_ms + MARGIN_MS, a, &m));
	s = scan_of(m.body);
	out->e = (enum err)get_u8(&s);
	out->why = get_str(&s, WHY_MAX);
	out->status = get_u16(&s);
	out->type = get_str(&s, TYPE_MAX);
	out->body = get_str(&s, FETCH_ANSWER_MAX);
	return get_end(&s) ? ERR_OK : ERR_INVALID;
}

/* ---- net ---- */

struct waiting {
	struct channel *ch;
	uint32_t        call;
};

static void fetched(void *context, const struct http_fetched *f)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct waiting *w = context;
	const struct http_answer *h = f->answer;

	put_u8(&b, (uint8_t)f->e);
	put_str(&b, str_sub(f->why, 0, WHY_MAX));
	put_u16(&b, h ? (uint16_t)h->status : 0);
	put_str(&b, h ? str_sub(h->content_type, 0, TYPE_MAX) : STR(""));
	put_str(&b, h ? buf_str(&h->body) : STR(""));
	channel_reply(w->ch, w->call, ERR_OK, buf_str(&b), NULL, 0);
	mem_free(w);
}

static bool is_path(struct str path)
{
	for (size_t i = 0; i < path.n; i++)
		if (path.p[i] <= 32 || path.p[i] >= 127)
			return false;
	return path.n > 0 && path.p[0] == '/';
}

static bool get_place(struct message *m, struct http_place *p, uint16_t port)
{
	struct scan s = scan_of(m->body);
	bool is_post;

	*p = (struct http_place){ .host = get_str(&s, DOMAIN_MAX) };
	p->port = get_u16(&s);
	p->path = get_str(&s, PATH_MAX_BYTES);
	p->type = get_str(&s, TYPE_MAX);
	p->body_max = get_u32(&s);
	p->deadline_ms = (int)get_count(&s, FETCH_DEADLINE_MAX_MS);
	p->public_only = get_bool(&s);
	if (p->port == 0)
		p->port = port;
	is_post = p->type.n > 0;
	return get_end(&s) && domain_is_host(p->host) && is_path(p->path) && !str_has_ctl(p->type) && p->body_max <= FETCH_ANSWER_MAX &&
	       m->fd_count == is_post && (!is_post || memfd_map(m->fds[0], FETCH_POST_MAX, &p->body) == ERR_OK);
}

void fetch_serve(struct resolver *resolver, struct tls_client *tls, uint16_t port, bool public_only, struct channel *ch, struct message *m)
{
	struct http_place p;
	struct waiting *w;

	if (!get_place(m, &p, port)) {
		channel_reply(ch, m->call, ERR_INVALID, STR(""), NULL, 0);
		return;
	}
	p.public_only = p.public_only && public_only;
	w = MEM_NEW(struct waiting);
	*w = (struct waiting){ ch, m->call };
	http_get(resolver, tls, &p, fetched, w);  /* copies the body */
	if (p.body.p)
		memfd_unmap(p.body);
}
