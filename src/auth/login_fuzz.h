/* auth/login_fuzz.h -- any bytes against a login phase, for imap/, pop3/, smtpd/ login_fuzz.c. The first bytes choose the connection
 * and where the rest is cut into arrivals; the answers of keys come out of the input, too. */
#ifndef FACTEUR_AUTH_LOGIN_FUZZ_H
#define FACTEUR_AUTH_LOGIN_FUZZ_H
#include "auth/login.h"
#include "ipc/channel.h"
#include <assert.h>

static enum login_want login_fuzz_answer(struct login *l, uint8_t choice, struct buf *out)
{
	struct verify_reply r = { .outcome = (enum verify_outcome)(1 + choice % (VERIFY_OUTCOME_COUNT - 1)), .server_final = STR("v=c2ln") };
	struct scram_first_reply first = { .outcome = choice & 0x40 ? VERIFY_OK : r.outcome, .scram_id = 1,
	                                   .server_first = STR("r=abcXYZ,s=c2FsdA==,i=4096") };
	CLEANUP(buf_free) struct buf answer = BUF(4096);

	assert(!l->request.failed);
	if (choice & 0x80)
		return login_answered(l, ERR_UNAVAILABLE, STR(""), out);
	if (l->request_type == REQUEST_SCRAM_FIRST)
		put_scram_first_reply(&answer, &first);
	else
		put_verify_reply(&answer, &r);
	return login_answered(l, ERR_OK, buf_str(&answer), out);
}

/* What is wanted is done as the gate would; false: the connection is over. */
static bool login_fuzz_step(struct login *l, enum login_want want, struct login_facts *facts, uint8_t choice, struct buf *in, struct buf *out)
{
	size_t used;

	for (int i = 0; i < 100; i++) {
		switch (want) {
		case LOGIN_CLOSE:
			return false;
		case LOGIN_STARTTLS:
			assert(!facts->is_tls && in->n == 0);
			facts->is_tls = facts->may_login = true;
			facts->can_start_tls = false;
			want = login_secured(l, facts, out);
			break;
		case LOGIN_ASK:
			assert(facts->may_login || facts->is_printer);
			want = login_fuzz_answer(l, choice, out);
			break;
		case LOGIN_OPEN:
			assert(l->command.n <= 1024 && l->login_name.n <= 512);
			want = login_refused(l, ERR_LIMIT, STR(""), out);
			break;
		case LOGIN_INPUT:
			if (in->n == 0)
				return true;
			want = login_input(l, buf_str(in), &used, out);
			assert(used <= in->n);
			buf_drop_front(in, used);
			if (want == LOGIN_INPUT && used == 0)
				return in->n < LOGIN_INPUT_MAX || !"a full buffer must not wait";
			break;
		}
		assert(!out->failed);
	}
	return true;
}

static int login_fuzz(const struct login_protocol *protocol, const uint8_t *data, size_t n)
{
	struct login_facts facts = { .hostname = STR("mail.test"), .peer = STR("192.0.2.7"), .message_size_max = 1000 };
	struct str rest = str_make(data, n);
	uint8_t how = n > 0 ? data[0] : 0;
	CLEANUP(buf_free) struct buf in = BUF(LOGIN_INPUT_MAX), out = BUF(2 << 20);
	struct login *l;
	bool goes_on = true;

	facts.is_tls = facts.may_login = how & 1;
	facts.can_start_tls = !facts.is_tls;
	facts.has_scram = how & 2;
	facts.is_printer = how & 4;
	facts.has_bearer = how & 32;
	facts.has_certificate = facts.is_tls && how & 64;
	facts.mistakes_max = 200;
	if (facts.is_tls && how & 8)
		facts.binding.tls_exporter = STR("EXPORTED");
	rest = str_from(rest, 1);
	l = login_new(protocol, &facts);
	login_greet(l, &out);
	while (goes_on && rest.n > 0) {
		uint8_t choice = (uint8_t)rest.p[0];
		size_t size = how & 16 ? rest.n : 1 + choice % 64;
		struct str piece = str_sub(str_from(rest, 1), 0, size < LOGIN_INPUT_MAX - in.n ? size : LOGIN_INPUT_MAX - in.n);

		buf_add(&in, piece);
		rest = str_from(rest, 1 + piece.n);
		buf_reset(&out);
		goes_on = login_fuzz_step(l, LOGIN_INPUT, &facts, choice, &in, &out);
	}
	login_free(l);
	return 0;
}
#endif
