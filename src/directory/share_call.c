/* The cell's side of SUBJECT, GUEST, SHARES and SHARED: encode, ask, decode. */
#include "directory/address.h"
#include "directory/share.h"
#include <stdlib.h>

static enum err call(struct channel *control, uint16_t type, struct str body, int timeout_ms, struct arena *a,
					 struct message *answer)
{
	return control == NULL ? ERR_UNAVAILABLE : channel_call(control, type, body, NULL, 0, timeout_ms, a, answer);
}

bool subject_is(const struct subject *x, const struct subject *y)
{
	return x->kind == y->kind && x->account == y->account && str_eq(x->group, y->group);
}

enum err subject_ask(struct channel *control, struct str text, int timeout_ms, struct arena *a, struct subject *out)
{
	CLEANUP(buf_free) struct buf b = BUF(SUBJECT_NAME_MAX + 4);
	struct message answer;
	struct scan s;

	put_str(&b, text);
	if (b.failed)
		return ERR_NOTFOUND;
	TRY(call(control, REQUEST_SUBJECT, buf_str(&b), timeout_ms, a, &answer));
	s = scan_of(answer.body);
	*out = (struct subject){ .kind = (enum subject_kind)get_u8(&s), .account = get_u64(&s) };
	out->group = get_str(&s, SUBJECT_GROUP_MAX);
	out->name = get_str(&s, SUBJECT_NAME_MAX);
	return get_end(&s) && out->kind >= SUBJECT_ANYONE && out->kind < SUBJECT_KINDS ? ERR_OK : ERR_INVALID;
}

enum err guest_ask(struct channel *control, uint64_t guest, int timeout_ms, struct arena *a, struct guest *out)
{
	CLEANUP(buf_free) struct buf b = BUF(8);
	struct message answer;
	struct scan s;

	put_u64(&b, guest);
	TRY(call(control, REQUEST_GUEST, buf_str(&b), timeout_ms, a, &answer));
	s = scan_of(answer.body);
	*out = (struct guest){ .account = guest, .address = get_str(&s, ADDRESS_TEXT_MAX), .is_anyone = get_bool(&s) };
	out->n_groups = get_count(&s, GUEST_GROUPS_MAX);
	out->groups = arena_array(a, out->n_groups, sizeof *out->groups);
	for (size_t i = 0; i < out->n_groups; i++)
		out->groups[i] = get_str(&s, SUBJECT_GROUP_MAX);
	return get_end(&s) ? ERR_OK : ERR_INVALID;
}

enum err shares_tell(struct channel *control, const struct subject *with, size_t n, int timeout_ms)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct message answer;

	put_u32(&b, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		put_u8(&b, (uint8_t)with[i].kind);
		put_u64(&b, with[i].account);
		put_str(&b, with[i].group);
	}
	if (b.failed)
		return ERR_LIMIT;
	return call(control, REQUEST_SHARES, buf_str(&b), timeout_ms, &a, &answer);
}

/* One page of them: address empty: those behind *after, which is 0 when there are no more. */
static enum err ask_page(struct channel *control, struct str address, int timeout_ms, struct arena *a, uint64_t *after,
                         struct share_owner **page, size_t *n)
{
	CLEANUP(buf_free) struct buf b = BUF(SUBJECT_NAME_MAX + 16);
	struct message answer;
	struct scan s;

	put_str(&b, address);
	put_u64(&b, *after);
	if (b.failed)
		return ERR_NOTFOUND;
	TRY(call(control, REQUEST_SHARED, buf_str(&b), timeout_ms, a, &answer));
	s = scan_of(answer.body);
	*after = get_u64(&s);
	*n = get_count(&s, SHARED_OWNERS_MAX);
	*page = arena_array(a, *n, sizeof **page);
	for (size_t i = 0; i < *n; i++)
		(*page)[i] = (struct share_owner){ .account = get_u64(&s), .address = get_str(&s, ADDRESS_TEXT_MAX) };
	return get_end(&s) ? ERR_OK : ERR_INVALID;
}

static int by_address(const void *left, const void *right)
{
	return str_cmp(((const struct share_owner *)left)->address, ((const struct share_owner *)right)->address);
}

enum err shared_ask(struct channel *control, int timeout_ms, struct arena *a, struct share_owner **out, size_t *n)
{
	uint64_t after = 0, before;

	*out = arena_array(a, SHARED_OWNERS_MAX, sizeof **out);
	*n = 0;
	do {
		struct share_owner *page;
		size_t count;
		before = after;
		TRY(ask_page(control, STR(""), timeout_ms, a, &after, &page, &count));
		if (after != 0 && after <= before)
			return ERR_INVALID;
		for (size_t i = 0; i < count && *n < SHARED_OWNERS_MAX; i++)
			(*out)[(*n)++] = page[i];
	} while (after != 0 && *n < SHARED_OWNERS_MAX);
	qsort(*out, *n, sizeof **out, by_address);
	return ERR_OK;
}

enum err shared_find(struct channel *control, struct str address, int timeout_ms, struct arena *a,
					 struct share_owner *out)
{
	struct share_owner *page;
	uint64_t after = 0;
	size_t n;

	if (address.n == 0)
		return ERR_NOTFOUND;
	TRY(ask_page(control, address, timeout_ms, a, &after, &page, &n));
	if (n != 1)
		return ERR_NOTFOUND;
	*out = page[0];
	return ERR_OK;
}
