/* The alias is known from ORCPT, which names the address that was written to (resolve.c); it is not stored a second time. Where a client has
 * given another ORCPT there is no mark, and the circle ends by the count of Received fields, as it would without all this. */
#include "queue/forward.h"
#include "mime/header.h"
#include "queue/queue_private.h"
#include <unistd.h>

enum { HEADER_LOOKED_AT = 64 << 10 };   /* bytes */
static const char field_name[] = "X-Facteur-Forwarded";

/* Of a message in a file: its beginning. */
static struct str header_of(const struct queue *q, const struct queue_body *body, struct arena *a)
{
	CLEANUP(fd_close) int fd = -1;
	struct str bytes = body->bytes;

	if (bytes.p == NULL) {
		char *room = arena_alloc(a, HEADER_LOOKED_AT);
		ssize_t n = spool_read(q->spool, body->spool, &fd) == ERR_OK ? pread(fd, room, HEADER_LOOKED_AT, 0) : 0;
		bytes = str_make(room, n > 0 ? (size_t)n : 0);
	}
	return str_sub(bytes, 0, header_size(bytes));
}

static bool has_mark(struct str header, struct str mark)
{
	struct scan s = scan_of(header);
	struct header_field f;

	while (header_next(&s, &f))
		if (str_ieq(f.name, str_of(field_name)) && str_ieq(str_trim(f.value), mark))
			return true;
	return false;
}

enum err forward_check(const struct queue *q, const struct queue_body *body, struct resolved *all, struct arena *a)
{
	bool has_dropped = false;

	if (all->forwards_n == 0)
		return ERR_OK;
	struct str header = header_of(q, body, a);
	for (size_t i = all->forwards_n; i-- > 0;) {
		struct str mark = lookup_forward_mark(q->lookup, all->forwards[i].alias, a);
		if (mark.n == 0 || !has_mark(header, mark))
			continue;
		resolved_drop_recipient(all, all->forwards[i].recipient, true, a);
		has_dropped = true;
	}
	return has_dropped && all->envelope.n == 0 && all->envelope.source != ENVELOPE_DELIVERY ? ERR_CONFLICT : ERR_OK;
}

struct str forward_field(const struct lookup *l, struct str address, struct str orcpt, struct arena *a)
{
	ptrdiff_t semicolon = str_chr(orcpt, ';');
	struct str alias = str_from(orcpt, (size_t)(semicolon + 1));
	ptrdiff_t at = str_rchr(alias, '@');

	if (l == NULL || semicolon < 0 || at < 0 || str_ieq(alias, address) || !lookup_domain(l, str_from(alias, (size_t)at + 1)))
		return STR("");
	struct str mark = lookup_forward_mark(l, alias, a);
	return mark.n == 0 ? STR("") : arena_printf(a, "%s: " STR_FMT "\r\n", field_name, STR_ARG(mark));
}
