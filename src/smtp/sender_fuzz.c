/* A sender and a server that says anything at any time. The first byte chooses the settings; then what it says, cut where a byte of 1-7
 * stands: something is written, a handshake made, a message begun, the connection closed. Whatever happens, each recipient is decided
 * once, and DONE only after the end of the message was written. */
#include "smtp/sender.h"
#include "base/bytes.h"
#include "base/test.h"
#include <assert.h>

enum { BODY_SIZE = 40000, PEOPLE = 5 };

static bool read_body(UNUSED void *context, uint64_t offset, char *room, size_t n)
{
	for (size_t i = 0; i < n; i++)
		room[i] = "\r\n.x"[(offset + i) % 4];
	return true;
}

static void check(struct smtp_sender *s)
{
	const struct smtp_result *r = smtp_sender_results(s);

	for (size_t i = 0; r && i < PEOPLE; i++)
		assert(r[i].outcome != SMTP_OUTCOME_NONE && utf8_valid(r[i].text) && r[i].status.n >= 5);
	assert(smtp_sender_patience_s(s) > 0);
}

static void step(struct smtp_sender *s, const struct smtp_outgoing *m, char what)
{
	enum smtp_sender_state state = smtp_sender_state(s);
	struct str out = smtp_sender_output(s);

	assert(smtp_sender_holds(s) <= SMTP_HOLDS_ALL);
	if (what == 7) {
		smtp_sender_closed(s, STR("closed"), out.n % 2);
	} else if (what == 6 && (state == SMTP_SENDER_READY || state == SMTP_SENDER_FINISHED)) {
		smtp_sender_quit(s);
	} else if (state == SMTP_SENDER_STARTTLS) {
		smtp_sender_secured(s);
	} else if (state == SMTP_SENDER_READY && what == 5 && smtp_sender_probed(s) == NULL) {
		smtp_sender_probe(s);
	} else if (state == SMTP_SENDER_READY) {
		smtp_sender_begin(s, m);
	} else if (state == SMTP_SENDER_FINISHED) {
		check(s);
		smtp_sender_next(s);
	} else {
		smtp_sender_wrote(s, what < 3 ? out.n : out.n / 2);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct smtp_outgoing_recipient people[PEOPLE] = {
		{ .address = { "a@x", 3 } }, { .address = { "b@x", 3 } }, { .address = { "c@x", 3 } }, { .address = { "d@x", 3 } }, { .address = { "e@x", 3 } },
	};
	struct smtp_outgoing m = { .sender = STR("me@x"), .body = SMTP_BODY_8BITMIME, .read = read_body, .n = PEOPLE, .recipients = people };
	struct smtp_sender_config c = { .hostname = STR("me") };
	struct str left = str_make(data, size);

	if (size == 0)
		return 0;
	c.tls = data[0] % 3;
	c.is_lmtp = (data[0] & 4) != 0;
	if (data[0] & 16) {
		c.login = STR("alice");
		c.password = STR("sesame");
		c.login_in_clear = (data[0] & 32) != 0;
	}
	m.size = data[0] & 8 ? BODY_SIZE : 100;
	left = str_from(left, 1);
	struct smtp_sender *s = smtp_sender_new(&c);
	while (left.n > 0 && smtp_sender_state(s) != SMTP_SENDER_OVER) {
		size_t n = 0;
		while (n < left.n && (left.p[n] < 1 || left.p[n] > 7))
			n++;
		smtp_sender_input(s, str_sub(left, 0, n));
		left = str_from(left, n);
		if (left.n > 0 && smtp_sender_state(s) != SMTP_SENDER_OVER)
			step(s, &m, left.p[0]);
		left = str_from(left, 1);
	}
	smtp_sender_closed(s, STR("end"), false);
	check(s);
	smtp_sender_free(s);
	return 0;
}
