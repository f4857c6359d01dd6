/* The encoding of SEND and of its answer. As DELIVER's (delivery.c): the bytes are the request's body when they are few and lie in a
 * sealed memfd when they are many, a leading byte says which; a body with a file of its own travels as that file.
 *
 * An answer has to fit a message of a channel whatever other servers said, so a text that would make it too long is cut short, the
 * later ones first: outcome and status of each recipient always fit. */
#include "queue/send.h"
#include "base/bytes.h"
#include "base/mem.h"
#include <sys/stat.h>
#include <unistd.h>

enum place { PLACE_HERE = 0, PLACE_MEMFD = 1 };
enum { INLINE_BODY = 0, FD_BODY = 1 };
enum { SEND_BYTES_MAX = SEND_INLINE_MAX + SEND_PREFIX_MAX + SEND_RECIPIENTS_MAX * (ENVELOPE_ADDRESS_MAX + ENVELOPE_ORCPT_MAX + 9) + 4096 };

/* ----------------------------------------------------------------------------------------------------- the question */

static bool recipients_fit(const struct send *s)
{
	if (s->n < 1 || s->n > SEND_RECIPIENTS_MAX)
		return false;
	for (size_t i = 0; i < s->n; i++)
		if (s->recipients[i].address.n > ENVELOPE_ADDRESS_MAX || s->recipients[i].orcpt.n > ENVELOPE_ORCPT_MAX)
			return false;
	return true;
}

static bool send_fits(const struct send *s)
{
	return recipients_fit(s) && s->destination.n > 0 && s->destination.n <= SEND_DESTINATION_MAX &&
	       s->route.host.n <= ROUTE_HOST_MAX && s->route.login.n <= ROUTE_LOGIN_MAX && s->source_ipv4.n <= SEND_SOURCE_MAX &&
	       s->source_ipv6.n <= SEND_SOURCE_MAX && s->sender.n <= ENVELOPE_ADDRESS_MAX && s->envid.n <= ENVELOPE_ENVID_MAX && s->prefix.n <= SEND_PREFIX_MAX &&
	       (s->fd >= 0 || (s->body.n == s->size && s->size <= SEND_INLINE_MAX));
}

/* A line break in an address would be a command of its own to the other server (RFC 5321 §4.1.2 has none in a path). */
static bool has_clean_addresses(const struct send *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (str_has_ctl(s->recipients[i].address))
			return false;
	return !str_has_ctl(s->sender) && !str_has_ctl(s->destination);
}

static void put_send(struct buf *b, const struct send *s)
{
	put_u64(b, s->number);
	put_u64(b, s->log_id);
	put_u64(b, s->seq);
	put_str(b, s->destination);
	put_route(b, &s->route);
	put_str(b, s->source_ipv4);
	put_str(b, s->source_ipv6);
	put_str(b, s->sender);
	put_u8(b, (uint8_t)s->body_type);
	put_u8(b, (uint8_t)s->ret);
	put_str(b, s->envid);
	put_bool(b, s->smtputf8);
	put_wishes(b, &s->wishes);
	put_str(b, s->prefix);
	put_u64(b, s->size);
	put_u32(b, (uint32_t)s->n);
	for (size_t i = 0; i < s->n; i++) {
		put_str(b, s->recipients[i].address);
		put_str(b, s->recipients[i].orcpt);
		put_u8(b, s->recipients[i].notify);
	}
	put_u8(b, s->fd >= 0 ? FD_BODY : INLINE_BODY);
	if (s->fd < 0)
		put_str(b, s->body);
}

enum err send_encode(const struct send *s, struct buf *request, int fds[MESSAGE_FDS_MAX], int *fd_count, int *memfd)
{
	CLEANUP(buf_free) struct buf b = BUF(SEND_BYTES_MAX);

	*memfd = -1;
	*fd_count = 0;
	if (!send_fits(s))
		return ERR_LIMIT;
	if (!has_clean_addresses(s))
		return ERR_INVALID;
	put_send(&b, s);
	if (b.failed)
		return ERR_LIMIT;
	if (b.n + 1 > MESSAGE_BODY_MAX) {
		TRY(memfd_make("send", buf_str(&b), memfd));
		fds[(*fd_count)++] = *memfd;
		put_u8(request, PLACE_MEMFD);
	} else {
		put_u8(request, PLACE_HERE);
		buf_add(request, buf_str(&b));
	}
	if (s->fd >= 0)
		fds[(*fd_count)++] = s->fd;
	return request->failed ? ERR_LIMIT : ERR_OK;
}

static void get_recipients(struct scan *s, struct arena *a, struct send *out)
{
	out->n = get_count(s, SEND_RECIPIENTS_MAX);
	if (out->n == 0)
		scan_fail(s);
	out->recipients = arena_array(a, out->n + 1, sizeof(*out->recipients));
	for (size_t i = 0; i < out->n && !s->failed; i++) {
		out->recipients[i].address = get_str(s, ENVELOPE_ADDRESS_MAX);
		out->recipients[i].orcpt = get_str(s, ENVELOPE_ORCPT_MAX);
		out->recipients[i].notify = get_u8(s);
	}
}

static void get_body(struct scan *s, bool has_fd, struct send *out)
{
	bool is_fd = get_u8(s) == FD_BODY;

	out->fd = -1;
	if (is_fd != has_fd)
		scan_fail(s);
	if (is_fd)
		return;
	out->body = get_str(s, SEND_INLINE_MAX);
	if (out->body.n != out->size)
		scan_fail(s);
}

bool send_parse(struct str bytes, bool has_fd, struct arena *a, struct send *out)
{
	struct scan s = scan_of(bytes);

	*out = (struct send){ .number = get_u64(&s), .fd = -1 };
	out->log_id = get_u64(&s);
	out->seq = get_u64(&s);
	out->destination = get_str(&s, SEND_DESTINATION_MAX);
	out->route = get_route(&s);
	out->source_ipv4 = get_str(&s, SEND_SOURCE_MAX);
	out->source_ipv6 = get_str(&s, SEND_SOURCE_MAX);
	out->sender = get_str(&s, ENVELOPE_ADDRESS_MAX);
	out->body_type = (enum envelope_body)get_u8(&s);
	out->ret = (enum envelope_ret)get_u8(&s);
	out->envid = get_str(&s, ENVELOPE_ENVID_MAX);
	out->smtputf8 = get_bool(&s);
	get_wishes(&s, &out->wishes);
	out->prefix = get_str(&s, SEND_PREFIX_MAX);
	out->size = get_u64(&s);
	get_recipients(&s, a, out);
	get_body(&s, has_fd, out);
	return get_end(&s) && has_clean_addresses(out) && out->destination.n > 0 && out->body_type >= ENVELOPE_7BIT && out->body_type <= ENVELOPE_BINARYMIME &&
	       out->ret <= ENVELOPE_RET_HDRS;
}

static bool has_size(int fd, uint64_t size)
{
	off_t end = lseek(fd, 0, SEEK_END);  /* not fstat(): the C library makes it a call by path, which net's sandbox refuses */
	return end >= 0 && (uint64_t)end == size;
}

/* The bytes behind the leading one, kept in *out; *files: how many descriptors come before the body's. */
static bool take_bytes(const struct message *m, struct send_in *out, struct str *bytes, int *files)
{
	*files = 0;
	if (m->body.n == 0)
		return false;
	if (m->body.p[0] == PLACE_HERE) {
		out->copy = BUF(MESSAGE_BODY_MAX);
		buf_add(&out->copy, str_from(m->body, 1));
		*bytes = out->copy.n > 0 ? buf_str(&out->copy) : STR("");
		return true;
	}
	if (m->body.p[0] != PLACE_MEMFD || m->body.n != 1 || m->fd_count < 1 || memfd_map(m->fds[0], SEND_BYTES_MAX, &out->mapped) != ERR_OK)
		return false;
	*files = 1;
	*bytes = out->mapped;
	return true;
}

enum err send_take(struct message *m, struct send_in *out)
{
	struct str bytes;
	int files;

	*out = (struct send_in){ .send = { .fd = -1 } };
	if (!take_bytes(m, out, &bytes, &files) || m->fd_count > files + 1 ||
	    !send_parse(bytes, m->fd_count > files, &out->arena, &out->send) ||
	    (m->fd_count > files && !has_size(m->fds[files], out->send.size))) {
		send_release(out);
		return ERR_INVALID;
	}
	if (m->fd_count > files) {
		out->send.fd = m->fds[files];
		m->fds[files] = -1;
	}
	return ERR_OK;
}

void send_release(struct send_in *in)
{
	if (in->mapped.p != NULL)
		memfd_unmap(in->mapped);
	fd_close(&in->send.fd);
	buf_free(&in->copy);
	arena_free(&in->arena);
	*in = (struct send_in){ .send = { .fd = -1 } };
}

/* ------------------------------------------------------------------------------------------------------- the answer */

/* left: bytes that all texts from here on may have together. */
static void put_text(struct buf *b, struct str s, size_t most, size_t *left)
{
	struct str clipped = utf8_valid(s) ? utf8_clip(s, most < *left ? most : *left) : STR("");

	*left -= clipped.n;
	put_str(b, clipped);
}

static void put_result(struct buf *b, const struct send_result *r, size_t *left)
{
	put_u8(b, (uint8_t)r->outcome);
	put_str(b, str_sub(r->status, 0, SEND_STATUS_MAX));
	put_text(b, r->text, SEND_TEXT_MAX, left);
	put_text(b, r->host, SEND_HOST_MAX, left);
	put_text(b, r->tls, SEND_TLS_MAX, left);
	put_bool(b, r->has_passed_dsn);
	put_bool(b, r->has_passed_by);
	put_bool(b, r->is_unsure);
}

void send_answer_encode(const struct send_answer *a, struct buf *out)
{
	size_t left = SEND_ANSWER_TEXTS_MAX, attempts = a->n_attempts < SEND_ATTEMPTS_MAX ? a->n_attempts : SEND_ATTEMPTS_MAX;

	put_u8(out, (uint8_t)a->feedback);
	put_u32(out, (uint32_t)a->n);
	for (size_t i = 0; i < a->n; i++)
		put_result(out, &a->results[i], &left);
	put_u32(out, (uint32_t)attempts);
	for (size_t i = 0; i < attempts; i++) {
		put_text(out, a->attempts[i].host, SEND_HOST_MAX, &left);
		put_text(out, a->attempts[i].text, SEND_TEXT_MAX, &left);
	}
}

static void get_result(struct scan *s, struct send_result *r)
{
	r->outcome = (enum delivery_outcome)get_u8(s);
	r->status = get_str(s, SEND_STATUS_MAX);
	r->text = get_str(s, SEND_TEXT_MAX);
	r->host = get_str(s, SEND_HOST_MAX);
	r->tls = get_str(s, SEND_TLS_MAX);
	r->has_passed_dsn = get_bool(s);
	r->has_passed_by = get_bool(s);
	r->is_unsure = get_bool(s);
	if (r->outcome < DELIVERY_DONE || r->outcome > DELIVERY_REFUSED)
		scan_fail(s);
}

enum err send_answer_decode(struct str bytes, size_t n, struct arena *a, struct send_answer *out)
{
	struct scan s = scan_of(bytes);

	*out = (struct send_answer){ .feedback = (enum send_feedback)get_u8(&s) };
	out->n = get_count(&s, SEND_RECIPIENTS_MAX);
	out->results = arena_array(a, out->n + 1, sizeof(*out->results));
	for (size_t i = 0; i < out->n && !s.failed; i++)
		get_result(&s, &out->results[i]);
	out->n_attempts = get_count(&s, SEND_ATTEMPTS_MAX);
	out->attempts = arena_array(a, out->n_attempts + 1, sizeof(*out->attempts));
	for (size_t i = 0; i < out->n_attempts && !s.failed; i++) {
		out->attempts[i].host = get_str(&s, SEND_HOST_MAX);
		out->attempts[i].text = get_str(&s, SEND_TEXT_MAX);
	}
	return get_end(&s) && out->n == n && out->feedback >= SEND_GOOD && out->feedback <= SEND_UNREACHABLE ? ERR_OK : ERR_INVALID;
}

void put_sent(struct buf *out, uint64_t number) { put_u64(out, number); }

bool get_sent(struct scan *s, uint64_t *number)
{
	if (scan_done(s))
		return false;
	*number = get_u64(s);
	return !s->failed;
}
