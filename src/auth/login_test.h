/* auth/login_test.h -- transcripts of a login phase, for the tests of imap/, pop3/, smtpd/ login.c. A line is
 *   "C: …"            what the client sends, with CRLF (C- : without)
 *   "S: …"            the next line the server says; "..." stands for anything
 *   "K: NAME PASSWORD OUTCOME"    keys is asked VERIFY for them, and answers so (OK, WRONG, SUSPENDED, NOT_ALLOWED, THROTTLED, BUSY, LOST)
 *   "K: FIRST NAME OUTCOME"  "K: FINAL OUTCOME"  "K: PRINTER OUTCOME"  "K: CERTIFICATE NAME OUTCOME"  "K: BEARER NAME KID OUTCOME"  the others
 *   "=INPUT" "=STARTTLS" "=OPEN command" "=CLOSE"      what the phase wants now
 *   "TLS"             the handshake is done;  "REFUSED"  the cell has no room
 * Each is played twice: as it arrives in one piece, and byte by byte. */
#ifndef FACTEUR_AUTH_LOGIN_TEST_H
#define FACTEUR_AUTH_LOGIN_TEST_H
#include "auth/login.h"
#include "base/mem.h"
#include "base/test.h"
#include "ipc/channel.h"

struct login_play {
	struct login      *l;
	struct login_facts facts;
	struct buf         in, out;
	enum login_want    want;
	bool               by_byte;
	struct arena       arena;
	const char        *line;
};

static void login_play_fail(struct login_play *p, const char *what, struct str got)
{
	print_error("at \"%s\"%s: %s: " STR_FMT "\n", p->line, p->by_byte ? " (by byte)" : "", what, STR_ARG(got));
	fail();
}

static void login_play_run(struct login_play *p)
{
	size_t used;

	if (p->want != LOGIN_INPUT)
		return;
	p->want = login_input(p->l, buf_str(&p->in), &used, &p->out);
	EXPECT(used <= p->in.n);
	buf_drop_front(&p->in, used);
}

static void login_play_client(struct login_play *p, struct str bytes)
{
	if (!p->by_byte) {
		buf_add(&p->in, bytes);
		login_play_run(p);
		return;
	}
	for (size_t i = 0; i < bytes.n; i++) {
		buf_add_char(&p->in, bytes.p[i]);
		login_play_run(p);
	}
}

static bool login_play_matches(struct str pattern, struct str line)
{
	ptrdiff_t gap = str_find(pattern, STR("..."));

	if (gap < 0)
		return str_eq(pattern, line);
	if (!str_starts(line, str_sub(pattern, 0, (size_t)gap)))
		return false;
	for (size_t i = (size_t)gap; i <= line.n; i++)
		if (login_play_matches(str_from(pattern, (size_t)gap + 3), str_from(line, i)))
			return true;
	return false;
}

static void login_play_server(struct login_play *p, struct str want)
{
	struct str line = STR_NONE, all = buf_str(&p->out);
	size_t n = 0;

	if (!login_line(all, &line, &n) || !str_ends(str_sub(all, 0, n), STR("\r\n")) || !login_play_matches(want, line))
		login_play_fail(p, "the server says", all);
	buf_drop_front(&p->out, n);
}

static enum verify_outcome login_play_outcome(struct login_play *p, struct str word)
{
	static const struct { const char *word; enum verify_outcome outcome; } words[] = {
		{ "OK", VERIFY_OK }, { "WRONG", VERIFY_WRONG }, { "APP", VERIFY_USE_APP_PASSWORD }, { "SUSPENDED", VERIFY_SUSPENDED },
		{ "NOT_ALLOWED", VERIFY_NOT_ALLOWED }, { "THROTTLED", VERIFY_THROTTLED }, { "BUSY", VERIFY_BUSY },
	};

	EACH(words, w)
		if (str_eq(word, str_of(w->word)))
			return w->outcome;
	login_play_fail(p, "unknown outcome", word);
	return VERIFY_BUSY;
}

/* The question must be the one of the line; *answer gets what keys says. */
static void login_play_ask(struct login_play *p, struct str question, struct str outcome, struct buf *answer)
{
	struct verify_reply r = { .delay_ms = 250, .retry_s = 30, .login = STR("alice@example.test"), .server_final = STR("v=c2ln") };
	struct scram_first_reply first = { .retry_s = 30, .scram_id = 42, .server_first = STR("r=abcXYZ,s=c2FsdA==,i=4096") };
	struct verify_request verify;
	struct scram_first_request scram;
	struct printer_request printer;
	struct scram_final_request final;
	struct certificate_login_request certificate;
	struct bearer_request bearer;
	struct scan s = scan_of(buf_str(&p->l->request));
	struct str name, password;

	r.outcome = first.outcome = login_play_outcome(p, outcome);
	if (r.outcome == VERIFY_OK) {
		r.grant = (struct grant){ .account = 7, .session = p->facts.session };
		r.delay_ms = 0;
	}
	if (str_starts(question, STR("FIRST "))) {
		EXPECT_INT(p->l->request_type, REQUEST_SCRAM_FIRST);
		EXPECT(get_scram_first_request(&s, &scram) && str_eq(scram.login, str_from(question, 6)));
		put_scram_first_reply(answer, &first);
		return;
	}
	if (str_eq(question, STR("FINAL"))) {
		EXPECT_INT(p->l->request_type, REQUEST_SCRAM_FINAL);
		EXPECT(get_scram_final_request(&s, &final) && final.scram_id == 42);
	} else if (str_starts(question, STR("CERTIFICATE"))) {
		EXPECT_INT(p->l->request_type, REQUEST_CERTIFICATE_LOGIN);
		EXPECT(get_certificate_login_request(&s, &certificate) && str_eq(certificate.login, str_trim(str_from(question, 11))));
		EXPECT(certificate.fingerprint[0] == 0xf1 && certificate.is_current);
	} else if (str_starts(question, STR("BEARER "))) {
		EXPECT_INT(p->l->request_type, REQUEST_BEARER);
		str_cut(str_from(question, 7), ' ', &name, &password);
		if (!get_bearer_request(&s, &bearer) || !str_eq(bearer.login, name) || !str_eq(bearer.kid, password))
			login_play_fail(p, "keys is asked", buf_str(&p->l->request));
	} else if (str_eq(question, STR("PRINTER"))) {
		EXPECT_INT(p->l->request_type, REQUEST_PRINTER);
		EXPECT(get_printer_request(&s, &printer) && printer.session == p->facts.session);
	} else {
		EXPECT_INT(p->l->request_type, REQUEST_VERIFY);
		str_cut(question, ' ', &name, &password);
		if (!get_verify_request(&s, &verify) || !str_eq(verify.login, name) || !str_eq(verify.password, password))
			login_play_fail(p, "keys is asked", buf_str(&p->l->request));
	}
	put_verify_reply(answer, &r);
}

static void login_play_keys(struct login_play *p, struct str line)
{
	CLEANUP(buf_free) struct buf answer = BUF(4096);
	ptrdiff_t space = str_rchr(line, ' ');
	struct str outcome = str_from(line, (size_t)(space + 1));

	if (p->want != LOGIN_ASK)
		login_play_fail(p, "keys is not asked; the server says", buf_str(&p->out));
	if (str_eq(outcome, STR("LOST"))) {
		p->want = login_answered(p->l, ERR_UNAVAILABLE, STR(""), &p->out);
	} else {
		login_play_ask(p, str_sub(line, 0, (size_t)space), outcome, &answer);
		p->want = login_answered(p->l, ERR_OK, buf_str(&answer), &p->out);
		EXPECT_INT(p->l->delay_ms, p->l->request_type == REQUEST_SCRAM_FIRST || str_eq(outcome, STR("OK")) ? 0 : 250);
	}
	login_play_run(p);
}

static void login_play_wants(struct login_play *p, struct str word)
{
	static const struct { const char *word; enum login_want want; } words[] = {
		{ "INPUT", LOGIN_INPUT }, { "STARTTLS", LOGIN_STARTTLS }, { "OPEN", LOGIN_OPEN }, { "CLOSE", LOGIN_CLOSE },
	};
	struct str command;

	str_cut(word, ' ', &word, &command);
	EACH(words, w) {
		if (!str_eq(word, str_of(w->word)))
			continue;
		if (p->want != w->want)
			login_play_fail(p, "wants something else; the server says", buf_str(&p->out));
		if (w->want != LOGIN_OPEN)
			return;
		EXPECT_INT(p->l->grant.account, 7);
		EXPECT(p->l->login_name.n > 0);
		if (!str_eq(p->l->command, command))
			login_play_fail(p, "the command is", p->l->command);
		return;
	}
	login_play_fail(p, "unknown word", word);
}

static void login_play_line(struct login_play *p, struct str line)
{
	if (str_starts(line, STR("S: "))) {
		login_play_server(p, str_from(line, 3));
		return;
	}
	if (str_starts(line, STR("=")))
		login_play_wants(p, str_from(line, 1));
	if (p->out.n > 0)
		login_play_fail(p, "the server also says", buf_str(&p->out));
	if (str_starts(line, STR("C: ")))
		login_play_client(p, arena_printf(&p->arena, STR_FMT "\r\n", STR_ARG(str_from(line, 3))));
	else if (str_starts(line, STR("C- ")))
		login_play_client(p, str_from(line, 3));
	else if (str_starts(line, STR("K: ")))
		login_play_keys(p, str_from(line, 3));
	else if (str_eq(line, STR("REFUSED")))
		p->want = login_refused(p->l, ERR_UNAVAILABLE, STR("no room"), &p->out);
	if (str_eq(line, STR("TLS"))) {
		EXPECT_INT(p->want, LOGIN_STARTTLS);
		p->facts.is_tls = p->facts.may_login = true;
		p->facts.can_start_tls = false;
		p->want = login_secured(p->l, &p->facts, &p->out);
	}
}

static void login_play_once(const struct login_protocol *protocol, const struct login_facts *facts, const char *const *lines,
                            bool by_byte)
{
	struct login_play p = { .facts = *facts, .in = BUF(1 << 20), .out = BUF(LOGIN_OUTPUT_MAX), .by_byte = by_byte };

	p.l = login_new(protocol, facts);
	p.want = login_greet(p.l, &p.out);
	for (; *lines != NULL; lines++) {
		p.line = *lines;
		login_play_line(&p, str_of(*lines));
	}
	if (p.out.n > 0)
		login_play_fail(&p, "at the end the server also says", buf_str(&p.out));
	EXPECT(!p.out.failed);
	login_free(p.l);
	buf_free(&p.in);
	buf_free(&p.out);
	arena_free(&p.arena);
}

#define LOGIN_PLAY(protocol, facts, ...) do { \
	static const char *const lp_lines[] = { __VA_ARGS__, NULL }; \
	login_play_once(protocol, facts, lp_lines, false); \
	login_play_once(protocol, facts, lp_lines, true); \
} while (0)

/* The connections there are. */
UNUSED static const struct login_facts login_clear = {
	.can_start_tls = true, .session = 9, .message_size_max = 1000, .recipients_max = 50, .hostname = STR("mail.test"), .peer = STR("192.0.2.7"),
};
UNUSED static const struct login_facts login_tls = {
	.is_tls = true, .may_login = true, .session = 9, .message_size_max = 1000, .recipients_max = 50, .hostname = STR("mail.test"),
	.peer = STR("192.0.2.7"),
};
#endif
