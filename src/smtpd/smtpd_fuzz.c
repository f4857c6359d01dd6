/* The machine: any bytes, cut anywhere, answered at once or later. The first byte chooses; what a client sees must not
 * depend on the cuts (except behind STARTTLS, where the cut decides whether something stood behind it). */
#include "base/clock.h"
#include "smtpd/test_host.h"

static enum smtpd_next run(struct test_host *t, struct str in, unsigned seed)
{
	enum smtpd_next next = SMTPD_INPUT;

	while (in.n > 0 && next == SMTPD_INPUT) {
		size_t n = seed == 0 ? in.n : 1 + (seed = seed * 1103515245 + 12345) / 65536 % 37;
		struct str some = str_sub(in, 0, n);
		next = test_host_feed(t, some);
		in = str_from(in, some.n);
	}
	return next;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = str_make(data, size);
	struct test_host whole, cut;
	bool has_tls;

	if (size < 2)
		return 0;
	in = str_from(in, 1);
	has_tls = str_ifind(in, STR("STARTTLS")) >= 0;
	test_host_begin(&whole, ENVELOPE_MX);
	test_host_begin(&cut, ENVELOPE_MX);
	cut.is_slow = data[0] & 1;
	run(&whole, in, 0);
	run(&cut, in, 1u + data[0]);
	if (!has_tls) {
		assert(str_eq(buf_str(&whole.out), buf_str(&cut.out)));
		assert(whole.added_count == cut.added_count && whole.last == cut.last);
	}
	test_host_end(&whole);
	test_host_end(&cut);
	return 0;
}
