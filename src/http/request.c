/* A request, read as it arrives. Lines are judged one by one, so that nonsense is refused at its first line, and a flood of fields at its
 * hundredth; the body goes straight into its buffer. Chunked bodies are refused with 411: RFC 9112 §6.3 allows it, and whoever posts a form
 * knows its length. */
#include "http/request.h"
#include "base/scan.h"
#include "http/http_private.h"
#include "mime/date.h"

enum state { FIRST, FIELDS, BODY, DONE, BAD };

void http_request_init(struct http_request *r)
{
	*r = (struct http_request){ .body = BUF(HTTP_REQUEST_BODY_MAX), .line = BUF(HTTP_REQUEST_LINE_MAX), .state = FIRST, .host = STR(""), .path = STR("") };
}

void http_request_free(struct http_request *r)
{
	buf_free(&r->body);
	buf_free(&r->line);
	arena_free(&r->arena);
}

static enum err refuse(struct http_request *r, int status)
{
	r->state = BAD;
	r->refuse = status;
	return ERR_INVALID;
}

/* ---- the first line ---- */

static enum http_method method_of(struct str word)
{
	return str_eq(word, STR("GET")) ? HTTP_GET : str_eq(word, STR("HEAD")) ? HTTP_HEAD : str_eq(word, STR("POST")) ? HTTP_POST : HTTP_OTHER;
}

static bool is_visible(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= 32 || s.p[i] >= 127)
			return false;
	return s.n > 0;
}

/* uri-host [ ":" port ]; what it may hold is what a name or an address may hold.                                  RFC 9110 §7.2 */
static bool read_host(struct http_request *r, struct str text)
{
	ptrdiff_t colon = str_rchr(text, ':'), bracket = str_rchr(text, ']');

	if (colon > bracket) {
		for (size_t i = (size_t)colon + 1; i < text.n; i++)
			if (!chr_digit(text.p[i]))
				return false;
		text = str_sub(text, 0, (size_t)colon);
	}
	if (text.n > 1 && text.p[text.n - 1] == '.')
		text.n--;
	for (size_t i = 0; i < text.n; i++)
		if (!chr_alpha(text.p[i]) && !chr_digit(text.p[i]) && !strchr("-._:[]", text.p[i]))
			return false;
	r->host = str_lower(&r->arena, text);
	return text.n > 0 && text.n <= 255;
}

/* origin-form, and absolute-form, which every server has to take (RFC 9112 §3.2.2). Its host is the one that counts, then. */
static bool read_target(struct http_request *r, struct str target)
{
	struct scan s = scan_of(target);

	if (!is_visible(target) || str_chr(target, '#') >= 0)
		return false;
	if (scan_take_istr(&s, STR("https://")) || scan_take_istr(&s, STR("http://"))) {
		if (!read_host(r, scan_until(&s, '/')))
			return false;
		r->is_over = true;
		target = scan_done(&s) ? STR("/") : scan_rest(&s);
	}
	r->path = str_copy(&r->arena, target);
	return target.p[0] == '/';
}

/* request-line = method SP request-target SP HTTP-version                                                        RFC 9112 §3 */
static enum err read_first(struct http_request *r, struct str line)
{
	struct str method, target, version;

	if (!str_cut(line, ' ', &method, &line) || !str_cut(line, ' ', &target, &version) || !http_is_token(method))
		return refuse(r, 400);
	if (!str_starts(version, STR("HTTP/")))
		return refuse(r, 400);
	if (!str_eq(version, STR("HTTP/1.1")) && !str_eq(version, STR("HTTP/1.0")))
		return refuse(r, 505);
	r->method = method_of(method);
	if (!read_target(r, target))
		return refuse(r, 400);
	r->state = FIELDS;
	return ERR_AGAIN;
}

/* ---- fields ---- */

/* Which comes first? Weights are not looked at: programs write them in order. */
static bool prefers_french(struct str value)
{
	ptrdiff_t fr = str_ifind(value, STR("fr")), en = str_ifind(value, STR("en"));

	return fr >= 0 && (en < 0 || fr < en);
}

static enum err read_field(struct http_request *r, struct str line)
{
	struct str name, value;

	if (++r->fields > HTTP_FIELDS_MAX)
		return refuse(r, 431);
	if (!http_split_field(line, &name, &value))
		return refuse(r, 400);
	if (str_ieq(name, STR("host"))) {
		struct str over = r->host;
		if (r->has_host || !read_host(r, value))
			return refuse(r, 400);
		r->has_host = true;
		if (r->is_over)
			r->host = over;
	} else if (str_ieq(name, STR("content-length"))) {
		if (r->has_length || !http_read_length(value, &r->left))
			return refuse(r, 400);
		r->has_length = true;
	} else if (str_ieq(name, STR("transfer-encoding"))) {
		return refuse(r, str_ieq(value, STR("chunked")) ? 411 : 501);
	} else if (str_ieq(name, STR("expect"))) {
		return refuse(r, 417);
	} else if (str_ieq(name, STR("accept-language"))) {
		r->french = prefers_french(value);
	}
	return ERR_AGAIN;
}

/* The empty line has come. */
static enum err begin_body(struct http_request *r)
{
	if (!r->has_host)
		return refuse(r, 400);
	if (r->method == HTTP_POST && !r->has_length)
		return refuse(r, 411);
	if (r->left > HTTP_REQUEST_BODY_MAX)
		return refuse(r, 413);
	r->state = r->left ? BODY : DONE;
	return r->left ? ERR_AGAIN : ERR_OK;
}

/* ---- the bytes ---- */

static enum err take_line(struct http_request *r, struct str *in)
{
	size_t before = in->n;
	bool is_whole = http_take_line(&r->line, in);
	struct str line = buf_str(&r->line);
	bool is_first = r->state == FIRST;
	enum err e;

	r->head_bytes += before - in->n;
	if (r->line.failed)
		return refuse(r, is_first ? 414 : 431);
	if (r->head_bytes > HTTP_REQUEST_HEAD_MAX)
		return refuse(r, 431);
	if (!is_whole)
		return ERR_AGAIN;
	if (!str_ends(line, STR("\r\n")))
		return refuse(r, 400);
	line.n -= 2;
	if (line.n == 0)  /* before the first line it is forgiven (RFC 9112 §2.2), within the limit of the head */
		e = is_first ? ERR_AGAIN : begin_body(r);
	else
		e = is_first ? read_first(r, line) : read_field(r, line);
	buf_reset(&r->line);
	return e;
}

static enum err take_body(struct http_request *r, struct str *in)
{
	size_t n = r->left < in->n ? (size_t)r->left : in->n;

	buf_add(&r->body, str_sub(*in, 0, n));
	*in = str_from(*in, n);
	r->left -= n;
	if (r->left > 0)
		return ERR_AGAIN;
	r->state = DONE;
	return ERR_OK;
}

enum err http_request_take(struct http_request *r, struct str bytes)
{
	enum err e = r->state == DONE ? ERR_OK : r->state == BAD ? ERR_INVALID : ERR_AGAIN;

	while (bytes.n && e == ERR_AGAIN)
		e = r->state == BODY ? take_body(r, &bytes) : take_line(r, &bytes);
	return e;
}

bool http_request_is_for(const struct http_request *r, struct str path)
{
	struct str own, query;

	str_cut(r->path, '?', &own, &query);
	return str_eq(own, path);
}

/* ---- answers ---- */

static const char *reason_of(int status)
{
	static const struct { int status; const char *words; } reasons[] = {
		{ 200, "OK" }, { 400, "Bad Request" }, { 404, "Not Found" }, { 405, "Method Not Allowed" }, { 410, "Gone" }, { 411, "Length Required" },
		{ 413, "Content Too Large" }, { 414, "URI Too Long" }, { 417, "Expectation Failed" }, { 431, "Request Header Fields Too Large" },
		{ 501, "Not Implemented" }, { 503, "Service Unavailable" }, { 505, "HTTP Version Not Supported" },
	};

	for (size_t i = 0; i < COUNT_OF(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].words;
	return "";
}

/* IMF-fixdate is the date of a message in UTC, with its zone as a word.                                          RFC 9110 §5.6.7 */
static void put_date(int64_t now_s, struct buf *out)
{
	char room[DATE_TEXT_MAX];
	struct str date = str_make(room, date_format(now_s, 0, room)), zone = STR(" +0000");

	if (str_ends(date, zone))
		date.n -= zone.n;
	buf_printf(out, "Date: " STR_FMT " GMT\r\n", STR_ARG(date));
}

void http_reply_put(const struct http_reply *r, int64_t now_s, struct buf *out)
{
	buf_printf(out, "HTTP/1.1 %d %s\r\n", r->status, reason_of(r->status));
	put_date(now_s, out);
	buf_printf(out, "Content-Type: " STR_FMT "\r\nContent-Length: %zu\r\nConnection: close\r\n", STR_ARG(r->type), r->body.n);
	buf_add_cstr(out, "X-Content-Type-Options: nosniff\r\n");
	buf_add(out, r->extra);
	buf_add_cstr(out, "\r\n");
	if (!r->is_head)
		buf_add(out, r->body);
}
