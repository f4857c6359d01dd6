/* EHLO. What the whole server can do stands in the table; the others depend on the connection and are written here. */
#include "smtp/ehlo.h"
#include "base/arena.h"
#include "mime/timestamp.h"

static const struct { const char *keyword, *value; } keywords[] = {
#define KEYWORD(keyword, value, spec) { keyword, value },
#include "smtp/keywords.def"
#undef KEYWORD
};

/* LIMITS RCPTMAX=1000 MAILMAX=1000                                                                     RFC 9422 §4 */
static struct str limits(struct arena *a, const struct smtp_ehlo *e)
{
	struct str all = STR("");

	if (e->recipients_max > 0)
		all = arena_printf(a, " RCPTMAX=%llu", (unsigned long long)e->recipients_max);
	if (e->messages_max > 0)
		all = arena_printf(a, STR_FMT " MAILMAX=%llu", STR_ARG(all), (unsigned long long)e->messages_max);
	return str_from(all, 1);
}

/* FUTURERELEASE SP max-future-release-interval SP max-future-release-date-time                              RFC 4865 §4 */
static struct str future_release(struct arena *a, const struct smtp_ehlo *e)
{
	char last[TIMESTAMP_TEXT_MAX];

	if (e->hold_max == 0)
		return STR("");
	return arena_printf(a, "%llu " STR_FMT, (unsigned long long)e->hold_max, STR_ARG(timestamp_text(e->now + (int64_t)e->hold_max, last)));
}

/* What a keyword says on this connection; false: it is not offered. */
static bool value_of(const char *keyword, const struct smtp_ehlo *e, struct arena *a, struct str *value)
{
	*value = STR("");
	if (strcmp(keyword, "SIZE") == 0)
		*value = arena_printf(a, "%llu", (unsigned long long)e->message_size_max);
	else if (strcmp(keyword, "LIMITS") == 0)
		*value = limits(a, e);
	else if (strcmp(keyword, "AUTH") == 0)
		*value = e->mechanisms;
	else if (strcmp(keyword, "XCALLER") == 0)
		*value = e->caller;
	else if (strcmp(keyword, "FUTURERELEASE") == 0)
		*value = future_release(a, e);
	else if (strcmp(keyword, "REQUIRETLS") == 0)
		return e->is_tls;
	else
		return strcmp(keyword, "STARTTLS") == 0 && e->offers_starttls;
	return value->n > 0;
}

void smtp_put_ehlo(struct buf *b, const struct smtp_ehlo *e)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str line = e->peer.n > 0 ? arena_printf(&a, STR_FMT " greets " STR_FMT, STR_ARG(e->hostname), STR_ARG(e->peer)) : e->hostname;

	for (size_t i = 0; i < COUNT_OF(keywords); i++) {
		struct str value = str_of(keywords[i].value);

		if (keywords[i].value == NULL && !value_of(keywords[i].keyword, e, &a, &value))
			continue;
		buf_printf(b, "250-" STR_FMT "\r\n", STR_ARG(line));
		line = arena_printf(&a, "%s%s" STR_FMT, keywords[i].keyword, value.n > 0 ? " " : "", STR_ARG(value));
	}
	buf_printf(b, "250 " STR_FMT "\r\n", STR_ARG(line));
}
