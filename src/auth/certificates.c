/* Pages of CERTIFICATE_LIST: at most 100 × (400 + 48) bytes fit into one message. */
#include "auth/certificates.h"

static void put_names(struct buf *b, const struct tls_certificate *c)
{
	CLEANUP(buf_free) struct buf text = BUF(CERTIFICATE_NAMES_TEXT_MAX);

	for (size_t i = 0; i < c->name_count; i++) {
		if (text.n + c->names[i].n + 8 > CERTIFICATE_NAMES_TEXT_MAX) {
			buf_add_cstr(&text, ", …");
			break;
		}
		buf_add_cstr(&text, i ? ", " : "");
		buf_add(&text, c->names[i]);
	}
	put_str(b, buf_str(&text));
}

enum err certificates_serve(const struct keyring *k, struct str request, struct buf *answer)
{
	const struct tls_certificates all = keyring_shown(k);
	struct scan s = scan_of(request);
	uint32_t from = get_u32(&s), n;

	if (!get_end(&s) || from > all.count)
		return ERR_INVALID;
	n = all.count - from > CERTIFICATES_PAGE_MAX ? CERTIFICATES_PAGE_MAX : (uint32_t)(all.count - from);
	put_u32(answer, from + n < all.count ? from + n : 0);
	put_u32(answer, n);
	for (uint32_t i = from; i < from + n; i++) {
		put_names(answer, &all.list[i]);
		put_i64(answer, all.list[i].not_after_s);
		put_str(answer, str_make(all.list[i].key_hash, TLS_KEY_HASH_SIZE));
	}
	return ERR_OK;
}

bool get_certificates(struct scan *s, struct arena *a, struct certificate_info **list, size_t *n, size_t *cap,
					  uint32_t *next)
{
	uint32_t count;

	*next = get_u32(s);
	count = get_count(s, CERTIFICATES_PAGE_MAX);
	for (uint32_t i = 0; i < count && !s->failed; i++) {
		struct certificate_info x = { .names = str_copy(a, get_str(s, CERTIFICATE_NAMES_TEXT_MAX)) };
		x.not_after_s = get_i64(s);
		struct str hash = get_str(s, TLS_KEY_HASH_SIZE);
		if (hash.n != TLS_KEY_HASH_SIZE)
			scan_fail(s);
		else
			memcpy(x.key_hash, hash.p, hash.n);
		*list = arena_grow(a, *list, *n, cap, sizeof **list);
		(*list)[(*n)++] = x;
	}
	return get_end(s);
}
