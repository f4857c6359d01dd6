/* The three parts of a report (RFC 3462, since RFC 6522): the text for people, the fields for programs (RFC 3464), the message or its
 * header.
 *
 * The text. Most people stop after one sentence, so the first one says it all: which address, what became of it, whether anything is
 * still to come. Then which message it was, why, what to do; the words of the other server come last, since they frighten. The
 * explanation is trail/refusals.def's; where no row knows the reply, it speaks for itself.
 *
 * What is hostile: addresses, replies, the whole original. A value reaches a field only through mime/build.h, which lets no line break
 * through; here each is made printable first (one line, valid UTF-8 or "?"). A line of the original's header that is too long to travel
 * is cut. The boundary is random, so the original cannot know it.
 *
 * Two alphabets. message/delivery-status is ASCII; a recipient beyond that makes it message/global-delivery-status with addresses of the
 * type utf-8 (RFC 6533 §3); a header beyond ASCII that SMTPUTF8 allowed goes back as message/global or message/global-headers. Such a
 * report has 8-bit parts, but needs SMTPUTF8 itself only when the sender's own address does (RFC 6533 §4). */
#include "deliver/bounce.h"
#include "base/bytes.h"
#include "mime/build.h"
#include "mime/date.h"
#include "mime/downgrade.h"
#include "mime/header.h"
#include "mime/timestamp.h"
#include "trail/refusals.h"
#include <time.h>

enum {
	COLUMNS = 76, SUBJECT_MAX = 150, VALUE_MAX = 900, ID_MAX = 250,
	HEADER_LINE_MAX = 990,    /* RFC 5322 §2.1.1: 998 */
	TEXT_MAX = 2 << 20, STATUS_MAX = 1 << 20,
};

struct bouncing {
	const struct report       *report;
	const struct bounce_style *style;
	struct arena               arena;
	struct str                 header;          /* of the original */
	struct str                 subject, date;   /* of it, readable */
	bool                       returns_all, is_global;
};

/* ---- making things printable */

/* One line of valid UTF-8 without control characters. */
static struct str one_line(struct arena *a, struct str s, size_t max)
{
	CLEANUP(buf_free) struct buf b = BUF(4 * max);
	struct scan in = scan_of(s);

	while (!scan_done(&in) && b.n < max) {
		int32_t c = utf8_next(&in);
		if (c == 0xfffd)
			buf_add_char(&b, '?');
		else if (c < 32 || (c >= 127 && c < 160) || c == 0x2028 || c == 0x2029 || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069))
			buf_add_char(&b, ' ');  /* also what turns the direction of a line */
		else
			utf8_put(&b, (uint32_t)c);
	}
	return str_trim(str_copy(a, buf_str(&b)));
}

static struct str ascii_line(struct arena *a, struct str s, size_t max)
{
	struct str line = one_line(a, s, max);
	char *p = str_cstr(a, line);

	for (size_t i = 0; i < line.n; i++)
		if ((unsigned char)p[i] >= 127)
			p[i] = '?';
	return str_make(p, line.n);
}

static struct str date_text(struct arena *a, int64_t unix_s)
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL)
		return STR("?");
	return arena_printf(a, "%04d-%02d-%02d %02d:%02d UTC", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min);
}

static struct str number_text(struct arena *a, size_t n) { return arena_printf(a, "%zu", n); }

/* ---- what the original says of itself */

static void read_original(struct bouncing *b)
{
	const struct report *r = b->report;
	struct str value;

	b->header = str_sub(r->original, 0, header_size(r->original));
	b->subject = header_find(b->header, STR("Subject"), &value) ? one_line(&b->arena, header_decode(&b->arena, value), SUBJECT_MAX) : STR("");
	b->date = header_find(b->header, STR("Date"), &value) ? ascii_line(&b->arena, header_unfold(&b->arena, value), 60) : STR("");
	b->is_global = !str_is_ascii(r->envelope->sender);
	for (size_t i = 0; i < r->n; i++)
		b->is_global |= !str_is_ascii(r->recipients[i].address) || !str_is_ascii(r->recipients[i].orcpt);
}

static bool is_failure(enum report_action a) { return a == REPORT_FAILED || a == REPORT_EXPIRED; }

/* RET counts for failures only; nobody needs a whole message back that has arrived (RFC 3461 §4.3). */
static bool wants_all(const struct report *r)
{
	for (size_t i = 0; i < r->n; i++)
		if (is_failure(r->recipients[i].action))
			return r->envelope->ret == ENVELOPE_RET_FULL;
	return false;
}

/* The action of all of them; REPORT_NOTHING: they differ. An expired one is a failed one here. */
static enum report_action common_action(const struct report *r)
{
	enum report_action first = r->recipients[0].action;

	for (size_t i = 1; i < r->n; i++) {
		enum report_action next = r->recipients[i].action;
		if (next != first && !(is_failure(next) && is_failure(first)))
			return REPORT_NOTHING;
	}
	return first;
}

/* What matters most of it, for the subject. */
static enum report_action worst_action(const struct report *r)
{
	static const int rank[REPORT_ACTIONS] = { [REPORT_FAILED] = 4, [REPORT_EXPIRED] = 4, [REPORT_DELAYED] = 3, [REPORT_RELAYED] = 2,
		                                      [REPORT_DELIVERED] = 1 };
	enum report_action worst = r->recipients[0].action;

	for (size_t i = 1; i < r->n; i++)
		if (rank[r->recipients[i].action] > rank[worst])
			worst = r->recipients[i].action;
	return worst;
}

/* ---- the text for people */

static const struct {
	enum text subject, one, many, is;
	const char *word, *status;   /* RFC 3464 §2.3.3, §2.3.4 */
} actions[REPORT_ACTIONS] = {
	[REPORT_DELAYED] = { TEXT_BOUNCE_SUBJECT_DELAYED, TEXT_BOUNCE_ONE_DELAYED, TEXT_BOUNCE_MANY_DELAYED, TEXT_BOUNCE_IS_DELAYED,
	                     "delayed", "4.0.0" },
	[REPORT_FAILED] = { TEXT_BOUNCE_SUBJECT_FAILED, TEXT_BOUNCE_ONE_FAILED, TEXT_BOUNCE_MANY_FAILED, TEXT_BOUNCE_IS_FAILED,
	                    "failed", "5.0.0" },
	[REPORT_EXPIRED] = { TEXT_BOUNCE_SUBJECT_FAILED, TEXT_BOUNCE_ONE_EXPIRED, TEXT_BOUNCE_MANY_FAILED, TEXT_BOUNCE_IS_EXPIRED,
	                     "failed", "5.4.7" },
	[REPORT_DELIVERED] = { TEXT_BOUNCE_SUBJECT_DELIVERED, TEXT_BOUNCE_ONE_DELIVERED, TEXT_BOUNCE_MANY_DELIVERED,
	                       TEXT_BOUNCE_IS_DELIVERED, "delivered", "2.0.0" },
	[REPORT_RELAYED] = { TEXT_BOUNCE_SUBJECT_RELAYED, TEXT_BOUNCE_ONE_RELAYED, TEXT_BOUNCE_MANY_MIXED, TEXT_BOUNCE_IS_RELAYED,
	                     "relayed", "2.0.0" },
};

/* The next word. French has blanks inside its quotation marks and before ';', ':', '!' and '?': no line begins or ends there. */
static struct str take_word(struct str *rest)
{
	struct str word, next, behind;

	str_cut(*rest, ' ', &word, rest);
	while (rest->n > 0 && word.n > 0 && word.n < COLUMNS) {
		str_cut(*rest, ' ', &next, &behind);
		bool is_mark = next.n == 1 ? str_chr(STR(";:!?"), next.p[0]) >= 0 : str_starts(next, STR("»"));
		if (!is_mark && !str_ends(word, STR("«")))
			break;
		word.n = (size_t)(next.p + next.n - word.p);
		*rest = behind;
	}
	return word;
}

/* A paragraph, its lines broken at blanks. */
static void put_wrapped(struct buf *out, const char *indent, struct str text)
{
	struct str rest = text;
	size_t column = 0;

	while (rest.n > 0) {
		struct str word = take_word(&rest);
		if (word.n == 0)
			continue;
		if (column > 0 && column + 1 + word.n > COLUMNS) {
			buf_add_char(out, '\n');
			column = 0;
		}
		buf_add_cstr(out, column == 0 ? indent : " ");
		buf_add(out, word);
		column += word.n + (column == 0 ? strlen(indent) : 1);
	}
	buf_add_char(out, '\n');
}

static void put_first_sentence(struct bouncing *b, enum lang lang, struct buf *out)
{
	const struct report *r = b->report;
	enum report_action action = common_action(r);
	struct str until = date_text(&b->arena, r->gives_up);
	struct str who = r->n == 1 ? one_line(&b->arena, r->recipients[0].address, VALUE_MAX) : number_text(&b->arena, r->n);
	enum text id = action == REPORT_NOTHING ? TEXT_BOUNCE_MANY_MIXED : r->n == 1 ? actions[action].one : actions[action].many;

	put_wrapped(out, "", text_fmt(&b->arena, lang, id, who, until));
	if (r->n > 1)
		put_wrapped(out, "", str_of(text_get(lang, TEXT_BOUNCE_OTHERS)));
	buf_add_char(out, '\n');
}

static struct str nth_word(struct str words, int n)
{
	struct str word, rest = words;

	do
		str_cut(rest, ' ', &word, &rest);
	while (n-- > 0);
	return word;
}

/* The Date field is English and for programs: readers of another language get its time in words, in the zone it was written in. */
static struct str written_text(struct bouncing *b, enum lang lang)
{
	struct arena *a = &b->arena;
	struct mail_date date;
	struct tm tm;

	if (lang == LANG_EN || !date_parse(b->date, &date))
		return b->date;
	time_t local = (time_t)(date.unix_s + date.zone_minutes * 60);
	int zone = date.zone_minutes < 0 ? -date.zone_minutes : date.zone_minutes;
	if (gmtime_r(&local, &tm) == NULL)
		return b->date;
	struct str day = nth_word(str_of(text_get(lang, TEXT_BOUNCE_DAYS)), tm.tm_wday), month = nth_word(str_of(text_get(lang, TEXT_BOUNCE_MONTHS)), tm.tm_mon);
	return arena_printf(a, STR_FMT " %d " STR_FMT " %d, %02d:%02d (%c%02d%02d)", STR_ARG(day), tm.tm_mday, STR_ARG(month), tm.tm_year + 1900, tm.tm_hour,
	                    tm.tm_min, date.zone_minutes < 0 ? '-' : '+', zone / 60 % 100, zone % 60);
}

static void put_which(struct bouncing *b, enum lang lang, struct buf *out)
{
	if (b->subject.n > 0)
		put_wrapped(out, "  ", text_fmt(&b->arena, lang, TEXT_BOUNCE_THE_SUBJECT, b->subject));
	if (b->date.n > 0)
		put_wrapped(out, "  ", text_fmt(&b->arena, lang, TEXT_BOUNCE_THE_DATE, written_text(b, lang)));
	if (b->subject.n > 0 || b->date.n > 0)
		buf_add_char(out, '\n');
}

/* Our users wrote to an alias and may never have seen the address it leads to. */
static void put_forwarded(struct bouncing *b, enum lang lang, const struct report_recipient *x, struct buf *out)
{
	struct str type, asked;

	if (str_cut(x->orcpt, ';', &type, &asked) && asked.n > 0 && !str_ieq(asked, x->address))
		put_wrapped(out, "", text_fmt(&b->arena, lang, TEXT_BOUNCE_FORWARDED, one_line(&b->arena, asked, VALUE_MAX)));
}

static bool has_reason(const struct report_recipient *x) { return x->action <= REPORT_EXPIRED && x->action != REPORT_NOTHING; }

static void put_recipient(struct bouncing *b, enum lang lang, const struct report_recipient *x, struct buf *out)
{
	const struct refusal *known = has_reason(x) ? refusal_find(x->status, x->text) : NULL;
	struct str address = one_line(&b->arena, x->address, VALUE_MAX);
	const struct refusal_facts facts = { address, one_line(&b->arena, x->host, VALUE_MAX), x->text };
	struct str why, next = str_of(text_get(lang, TEXT_BOUNCE_NEXT_UNKNOWN));

	if (b->report->n > 1)
		put_wrapped(out, "", text_fmt(&b->arena, lang, actions[x->action].is, address));
	put_forwarded(b, lang, x, out);
	if (has_reason(x)) {
		if (known != NULL)
			why = refusal_why(known, lang, &facts, &b->arena);
		else if (x->host.n > 0 || x->text.n == 0)
			why = str_of(text_get(lang, TEXT_BOUNCE_WHY_UNKNOWN));
		else
			why = one_line(&b->arena, x->text, VALUE_MAX);  /* a sentence of ours */
		if (known != NULL)
			next = refusal_next(known, lang, &facts, &b->arena);
		put_wrapped(out, "", text_fmt(&b->arena, lang, TEXT_BOUNCE_WHY, why));
		if (x->action != REPORT_DELAYED || known != NULL)
			put_wrapped(out, "", text_fmt(&b->arena, lang, TEXT_BOUNCE_NEXT, next));
	}
	if (b->report->n > 1 || has_reason(x))
		buf_add_char(out, '\n');
}

static void put_answer(struct bouncing *b, enum lang lang, const struct report_recipient *x, struct buf *out)
{
	struct str line, rest = x->text;

	if (x->text.n == 0)
		return;
	if (b->report->n > 1)
		put_wrapped(out, "  ", one_line(&b->arena, x->address, VALUE_MAX));
	if (x->host.n > 0)
		put_wrapped(out, "  ", text_fmt(&b->arena, lang, TEXT_BOUNCE_ANSWERED, one_line(&b->arena, x->host, VALUE_MAX)));
	else
		put_wrapped(out, "  ", str_of(text_get(lang, TEXT_BOUNCE_OURS)));
	while (rest.n > 0) {
		str_cut(rest, '\n', &line, &rest);
		put_wrapped(out, "    ", one_line(&b->arena, line, VALUE_MAX));
	}
}

static void put_details(struct bouncing *b, enum lang lang, struct buf *out)
{
	const struct report *r = b->report;
	enum text returned = b->returns_all ? TEXT_BOUNCE_RETURNED_FULL : wants_all(r) ? TEXT_BOUNCE_RETURNED_LARGE : TEXT_BOUNCE_RETURNED_HEADER;

	put_wrapped(out, "", text_fmt(&b->arena, lang, TEXT_BOUNCE_DETAILS, queue_name(r->message, &b->arena)));
	for (size_t i = 0; i < r->n; i++)
		put_answer(b, lang, &r->recipients[i], out);
	buf_add_char(out, '\n');
	put_wrapped(out, "", str_of(text_get(lang, returned)));
}

static void put_text(struct bouncing *b, enum lang lang, struct buf *out)
{
	put_first_sentence(b, lang, out);
	put_which(b, lang, out);
	for (size_t i = 0; i < b->report->n; i++)
		put_recipient(b, lang, &b->report->recipients[i], out);
	put_details(b, lang, out);
}

/* ---- the fields for programs                                                                                    RFC 3464 §2 */

static struct str field_value(struct bouncing *b, struct str s)
{
	return b->is_global ? one_line(&b->arena, s, VALUE_MAX) : ascii_line(&b->arena, s, VALUE_MAX);
}

static void put_typed(struct bouncing *b, struct buf *out, const char *name, const char *type, struct str value)
{
	build_field_raw(out, name, arena_printf(&b->arena, "%s; " STR_FMT, type, STR_ARG(value)));
}

/* "5.7.26" and of the class that belongs to the action. */
static bool is_status_of(struct str status, enum report_action action)
{
	struct scan s = scan_of(status);
	uint32_t class = scan_u32(&s);
	bool fits = action == REPORT_DELAYED ? class == 4 : is_failure(action) ? class == 5 : class == 2;

	scan_need(&s, '.');
	bool is_small = scan_number(&s, 999) <= 999;
	scan_need(&s, '.');
	is_small = scan_number(&s, 999) <= 999 && is_small;
	return !s.failed && scan_done(&s) && fits && is_small;
}

/* "mx1.example.net [192.0.2.7]" -> "mx1.example.net" */
static struct str host_name(struct str host)
{
	struct str name, rest;

	str_cut(host, ' ', &name, &rest);
	return name;
}

static void put_recipient_fields(struct bouncing *b, const struct report_recipient *x, struct buf *out)
{
	struct str type, asked, address = field_value(b, x->address);
	bool has_status = is_status_of(x->status, x->action);

	buf_add(out, STR("\r\n"));
	if (str_cut(x->orcpt, ';', &type, &asked) && asked.n > 0)
		put_typed(b, out, "Original-Recipient", str_cstr(&b->arena, ascii_line(&b->arena, type, 40)), field_value(b, asked));
	put_typed(b, out, "Final-Recipient", str_is_ascii(address) ? "rfc822" : "utf-8", address);
	build_field_raw(out, "Action", str_of(actions[x->action].word));
	build_field_raw(out, "Status", has_status ? x->status : str_of(actions[x->action].status));
	if (x->host.n > 0)
		put_typed(b, out, "Remote-MTA", "dns", field_value(b, host_name(x->host)));
	if (x->text.n > 0)
		put_typed(b, out, "Diagnostic-Code", x->host.n > 0 ? "smtp" : "x-facteur", field_value(b, x->text));
	if (x->tried != 0)
		build_field_date(out, "Last-Attempt-Date", x->tried);
	if (x->action == REPORT_DELAYED)
		build_field_date(out, "Will-Retry-Until", b->report->gives_up);
}

/* What was asked for beside delivery                                                     RFC 4865, RFC 2852 */
static void put_wishes_fields(struct bouncing *b, const struct envelope_wishes *w, struct buf *out)
{
	char text[TIMESTAMP_TEXT_MAX];

	if (w->release != 0)
		build_field_raw(out, "Future-Release-Request", arena_printf(&b->arena, "until; " STR_FMT, STR_ARG(timestamp_text(w->release, text))));
	if (w->deliver_by != 0)
		build_field_date(out, "Deliver-By-Date", w->deliver_by);
}

static void put_status(struct bouncing *b, struct buf *out)
{
	const struct report *r = b->report;

	if (r->envelope->envid.n > 0)
		build_field_raw(out, "Original-Envelope-Id", ascii_line(&b->arena, r->envelope->envid, VALUE_MAX));
	put_typed(b, out, "Reporting-MTA", "dns", ascii_line(&b->arena, b->style->hostname, VALUE_MAX));
	build_field_date(out, "Arrival-Date", r->envelope->received);
	put_wishes_fields(b, &r->envelope->wishes, out);
	for (size_t i = 0; i < r->n; i++)
		put_recipient_fields(b, &r->recipients[i], out);
}

/* ---- the message, or its header */

/* Lines that are too long are cut, and the whole at a line's end. */
static void put_header(struct bouncing *b, struct buf *out)
{
	struct str line, rest = str_sub(b->header, 0, REPORT_HEADER_MAX);

	while (rest.n > 0) {
		bool is_whole = str_cut(rest, '\n', &line, &rest);
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (!is_whole && b->header.n > REPORT_HEADER_MAX)
			return;
		buf_add(out, utf8_valid(line) ? utf8_clip(line, HEADER_LINE_MAX) : str_sub(line, 0, HEADER_LINE_MAX));
		buf_add(out, STR("\r\n"));
	}
}

static struct str original_type(const struct bouncing *b)
{
	bool is_global = b->report->envelope->smtputf8 && !str_is_ascii(b->header);

	if (b->returns_all)
		return is_global ? STR("message/global") : STR("message/rfc822");
	return is_global ? STR("message/global-headers") : STR("text/rfc822-headers");
}

/* ---- together */

/* Of the message it is about, so that mail programs show both in one conversation; "": none that may be repeated. */
static struct str original_id(struct bouncing *b)
{
	struct str value, *ids;

	if (!header_find(b->header, STR("Message-ID"), &value) || header_ids(&b->arena, value, &ids, 1) == 0)
		return STR("");
	if (ids[0].n > ID_MAX || !str_is_ascii(ids[0]) || str_has_ctl(ids[0]) || str_chr(ids[0], ' ') >= 0)
		return STR("");
	return arena_printf(&b->arena, "<" STR_FMT ">", STR_ARG(ids[0]));
}

static struct str subject_of(struct bouncing *b, enum lang lang)
{
	struct str about = b->subject.n > 0 ? b->subject : str_of(text_get(lang, TEXT_BOUNCE_NO_SUBJECT));

	return text_fmt(&b->arena, lang, actions[worst_action(b->report)].subject, about);
}

static void put_message(struct bouncing *b, struct str text, struct str status, struct str original, struct buf *out)
{
	enum lang lang = b->style->lang;
	bool has_8bit = !str_is_ascii(status) || !str_is_ascii(original);
	struct str id = original_id(b), host = ascii_line(&b->arena, b->style->hostname, VALUE_MAX);
	const struct build_part parts[] = {
		{ .type = STR("text/plain"), .text = text, .description = str_of(text_get(lang, TEXT_BOUNCE_PART_TEXT)) },
		{ .type = b->is_global ? STR("message/global-delivery-status") : STR("message/delivery-status"), .raw = status,
		  .description = str_of(text_get(lang, TEXT_BOUNCE_PART_STATUS)) },
		{ .type = original_type(b), .raw = original, .description = str_of(text_get(lang, TEXT_BOUNCE_PART_MESSAGE)) },
	};
	const struct build_message m = {
		.from_name = text_fmt(&b->arena, lang, TEXT_BOUNCE_FROM, host),
		.from = arena_printf(&b->arena, "postmaster@" STR_FMT, STR_ARG(b->style->from_domain)),
		.to = b->report->envelope->sender,
		.subject = subject_of(b, lang),
		.date = b->report->now,
		.message_id = build_message_id(&b->arena, host),
		.in_reply_to = id,
		.references = id,
		.is_auto_submitted = true,
		.extra = has_8bit ? STR("Content-Transfer-Encoding: 8bit\r\n") : STR(""),
		.parts = parts,
		.parts_n = COUNT_OF(parts),
		.multipart = "report; report-type=delivery-status",
	};

	build_message(&m, out);
}

/* Also to a server that takes ASCII only? What is inside message/rfc822 cannot be encoded as a whole (RFC 2046 §5.2.1), so a header with raw
 * eight-bit bytes in it would keep the report from arriving. As text, which a header alone is, it can. */
static bool can_travel(struct bouncing *b, const struct buf *out)
{
	struct mime_downgrade ascii;
	enum downgrade_outcome how = mime_downgrade(&b->arena, buf_str(out), &ascii);

	return how == DOWNGRADE_DONE || how == DOWNGRADE_NOT_NEEDED;
}

void bounce_build(const struct report *r, const struct bounce_style *style, struct buf *out, enum envelope_body *body, bool *smtputf8)
{
	struct bouncing b = { .report = r, .style = style };
	CLEANUP(buf_free) struct buf text = BUF(TEXT_MAX), status = BUF(STATUS_MAX), original = BUF(REPORT_ORIGINAL_MAX + REPORT_HEADER_MAX);

	read_original(&b);
	b.returns_all = wants_all(r) && r->original.n == r->size && r->size <= REPORT_ORIGINAL_MAX;
	put_text(&b, style->lang, &text);
	if (style->is_bilingual) {
		buf_add_cstr(&text, "\n----------------------------------------\n\n");
		put_text(&b, style->lang == LANG_FR ? LANG_EN : LANG_FR, &text);
	}
	put_status(&b, &status);
	if (b.returns_all)
		buf_add(&original, r->original);
	else
		put_header(&b, &original);
	put_message(&b, buf_str(&text), buf_str(&status), original.n > 0 ? buf_str(&original) : STR("\r\n"), out);
	if (b.returns_all && !can_travel(&b, out)) {
		b.returns_all = false;
		buf_reset(&original);
		buf_reset(out);
		put_header(&b, &original);
		put_message(&b, buf_str(&text), buf_str(&status), buf_str(&original), out);
	}
	*body = str_is_ascii(buf_str(out)) ? ENVELOPE_7BIT : ENVELOPE_8BITMIME;
	*smtputf8 = !str_is_ascii(r->envelope->sender);
	out->failed |= text.failed || status.failed || original.failed;
	arena_free(&b.arena);
}
