/* What strangers decide in reports: the TXT record that says where they go, and sessions with hosts and policies of theirs. */
#include "base/bytes.h"
#include "tlsrpt/report.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_record(struct str in, struct arena *a)
{
	struct tlsrpt_target t[TLSRPT_TARGETS_MAX];
	struct str texts[2];
	size_t n;

	str_cut(in, '\0', &texts[0], &texts[1]);
	n = tlsrpt_record(texts, texts[1].n ? 2 : 1, a, t);
	for (size_t i = 0; i < n; i++)
		if ((t[i].address.n == 0) == (t[i].host.n == 0) || str_has_ctl(t[i].address) || str_has_ctl(t[i].path) || (t[i].host.n && t[i].path.p[0] != '/'))
			abort();
}

static void try_sessions(struct str in)
{
	CLEANUP(buf_free) struct buf json = BUF(1 << 20), again = BUF(1 << 20);
	struct tls_session sessions[16];
	struct scan s = scan_of(in);
	size_t n = 0;

	while (n < COUNT_OF(sessions) && get_tls_session(&s, &sessions[n]))
		put_tls_session(&again, &sessions[n++]);
	const struct tlsrpt_report r = { STR("o"), STR("o"), STR("c@o"), STR("i"), STR("d"), 20000, sessions, n };
	tlsrpt_json(&r, &json);
	if (json.failed || (!s.failed && n < COUNT_OF(sessions) && !str_eq(buf_str(&again), in) && in.n > 0 && in.n < 1000))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(arena_free) struct arena a = { 0 };

	if (size < 1)
		return 0;
	if (data[0] & 1)
		try_record(str_make(data + 1, size - 1), &a);
	else
		try_sessions(str_make(data + 1, size - 1));
	return 0;
}
