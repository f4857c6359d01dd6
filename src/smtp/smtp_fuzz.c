/* Everything of a command line: verb, path, parameters; and a reply that quotes it. */
#include "base/buf.h"
#include "smtp/command.h"
#include "smtp/param.h"
#include "smtp/path.h"
#include "smtp/reply.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf out = BUF(1 << 20);
	struct str verb, argument, name, bad;
	struct smtp_path p;
	struct smtp_mail_params mail;
	struct smtp_rcpt_params rcpt;

	smtp_command(str_make(data, size), &verb, &argument);
	smtp_helo_name(argument, &name);
	struct scan s = scan_of(argument);
	if (scan_reverse_path(&s, &p)) {
		assert(p.address.n <= SMTP_PATH_MAX && !str_has_ctl(p.address));
		if (scan_mail_params(&s, &a, &mail, &bad) == SMTP_PARAM_OK) {
			assert(mail.envid.n <= SMTP_ENVID_MAX && !str_has_ctl(mail.envid));
			assert(mail.by_s >= -SMTP_BY_SECONDS_MAX && mail.by_s <= SMTP_BY_SECONDS_MAX && mail.hold_for <= SMTP_BY_SECONDS_MAX);
			assert(mail.priority >= -SMTP_PRIORITY_MAX && mail.priority <= SMTP_PRIORITY_MAX && mail.hold_until >= 0);
		}
	}
	s = scan_of(argument);
	if (scan_forward_path(&s, &p) && scan_rcpt_params(&s, &a, &rcpt, &bad) == SMTP_PARAM_OK)
		assert(rcpt.orcpt.n <= SMTP_ORCPT_MAX && !str_has_ctl(rcpt.orcpt));
	smtp_put_reply(&out, &(struct smtp_reply){ 550, "5.1.1", str_make(data, size) });
	struct str rest = buf_str(&out), line;
	while (str_cut(rest, '\n', &line, &rest))
		assert(line.n < SMTP_REPLY_LINE_MAX && str_starts(line, STR("550")) && line.p[line.n - 1] == '\r');
	assert(rest.n == 0);
	return 0;
}
