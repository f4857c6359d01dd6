/* facteur.conf, values as people type them, and settings as bytes: what is taken is shown in a way that is taken again. */
#include "base/mem.h"
#include "base/wire.h"
#include "conf/conf.h"
#include <assert.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void try_file(struct arena *a, struct str text)
{
	CLEANUP(fd_close) int fd = memfd_create("conf", MFD_CLOEXEC);
	struct conf *c = conf_new();
	struct conf_problem p;
	char path[32];

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	assert(write(fd, text.p, text.n) == (ssize_t)text.n);
	if (!conf_read_file(c, path, &p))
		assert(p.kind != CONF_FINE && conf_explain(a, &p, true).n > 0);
	conf_free(c);
}

static void try_value(struct arena *a, enum setting s, struct str value)
{
	struct conf *c = conf_new();
	struct conf_problem p;
	uint64_t seconds;

	(void)conf_parse_duration(value, &seconds);
	if (conf_set(c, s, value, &p)) {
		uint64_t number = conf_number(c, s);
		bool again = conf_set(c, s, str_copy(a, conf_show(a, c, s)), &p);
		assert(again && conf_number(c, s) == number);
	} else {
		assert(conf_explain(a, &p, false).n > 0);
	}
	conf_free(c);
}

static void try_bytes(struct str bytes)
{
	CLEANUP(buf_free) struct buf b = BUF(1 << 20), again = BUF(1 << 20);
	struct conf *c = conf_new(), *d = conf_new();
	struct scan s = scan_of(bytes);

	if (conf_decode(c, &s)) {
		conf_encode(c, &b);
		s = scan_of(buf_str(&b));
		bool ok = conf_decode(d, &s);
		conf_encode(d, &again);
		assert(ok && str_eq(buf_str(&b), buf_str(&again)));
	}
	conf_free(c);
	conf_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str in = str_make(data, n);

	if (n == 0)
		return 0;
	try_value(&a, (enum setting)(data[0] % SETTING_COUNT), str_from(in, 1));
	try_bytes(in);
	if (data[0] & 0x80)
		try_file(&a, str_from(in, 1));
	return 0;
}
