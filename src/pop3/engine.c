/* The POP3 engine of a cell: login's last word, the table of commands, the end. All commands that have arrived are run before the
 * answers go out in one piece (PIPELINING, RFC 2449 §6.6), and before \Seen is written for what they retrieved. */
#include "pop3/engine.h"
#include "base/log.h"
#include "base/mem.h"
#include "pop3/capa.h"
#include "pop3/pop3_private.h"

static const struct {
	struct str word;
	void     (*run)(struct pop3 *p, struct str rest);
} commands[] = {
#define COMMAND(word, handler, args, meaning, spec) { { word, sizeof(word) - 1 }, handler },
#define CAPABILITY(line, spec)
#include "pop3/commands.def"
#undef COMMAND
#undef CAPABILITY
};

void pop3_error(struct pop3 *p, const char *text)
{
	session_printf(p->s, "-ERR %s\r\n", text);
	p->errors++;
}

void pop3_failure(struct pop3 *p, enum err e)
{
	switch (e) {
	case ERR_NOTFOUND:
		pop3_error(p, "this message has just been removed by another program");
		break;
	case ERR_CORRUPT:
		pop3_error(p, "[SYS/PERM] this message is damaged on the server's disk; please tell the administrator");
		break;
	default:
		pop3_error(p, "[SYS/TEMP] the server cannot do this at the moment; please try again later");
		break;
	}
}

/* CAPA                                                                                             RFC 2449 §5 */
void pop3_capa(struct pop3 *p, struct str rest)
{
	CLEANUP(buf_free) struct buf b = BUF(4096);

	if (rest.n > 0) {
		pop3_error(p, "this command has no arguments");
		return;
	}
	pop3_put_capa(&b, &(struct pop3_capa){ .offers_login = true, .sasl = p->sasl });
	session_write(p->s, buf_str(&b));
}

static void engine_close(void *state)
{
	struct pop3 *p = state;

	maildrop_close(p);
	arena_free(&p->arena);
	arena_free(&p->seen_arena);
	buf_free(&p->header);
	mem_free(p);
}

static void *engine_open(struct session *s, void *cell)
{
	struct pop3 *p = MEM_NEW(struct pop3);
	struct str charset;
	uint32_t count;
	uint64_t size;
	enum err e;

	p->s = s;
	p->header = BUF(4 * POP3_HEADER_MAX);
	str_cut(session_info(s)->command, ' ', &charset, &p->sasl);
	p->has_utf8 = str_eq(charset, STR("UTF8"));
	e = maildrop_open(p, cell);
	if (e == ERR_AGAIN)  /* RFC 2449 §8.1.1 */
		session_write(s, STR("-ERR [IN-USE] another program is reading this mailbox by POP3; please try again when it has finished\r\n"));
	else if (e != ERR_OK)
		session_write(s, STR("-ERR [SYS/TEMP] the mailbox cannot be opened at the moment; please try again later\r\n"));
	if (e != ERR_OK) {
		engine_close(p);
		return NULL;
	}
	maildrop_total(p, &count, &size);
	session_printf(s, "+OK %u messages (%llu octets)\r\n", count, (unsigned long long)size);
	return p;
}

static void run(struct pop3 *p, struct str line)
{
	struct str word, rest;

	str_cut(line, ' ', &word, &rest);
	rest = str_trim(rest);
	for (size_t i = 0; i < COUNT_OF(commands); i++) {
		if (str_ieq(word, commands[i].word)) {
			commands[i].run(p, rest);
			return;
		}
	}
	if (str_ieq(word, STR("USER")) || str_ieq(word, STR("PASS")) || str_ieq(word, STR("AUTH")) || str_ieq(word, STR("STLS")) ||
	    str_ieq(word, STR("APOP")) || str_ieq(word, STR("UTF8")))
		pop3_error(p, "you are logged in already; this command comes before the login");
	else
		pop3_error(p, "unknown command; CAPA and RFC 1939 say what there is");
}

static enum session_next engine_input(void *state)
{
	struct pop3 *p = state;
	struct str line;
	enum err e = ERR_OK;

	while (!p->is_over && !session_is_dead(p->s) && (e = session_line(p->s, POP3_LINE_MAX, &line)) == ERR_OK) {
		run(p, line);
		arena_reset(&p->arena);
		if (p->errors >= POP3_ERRORS_MAX) {
			session_write(p->s, STR("-ERR too many errors; goodbye\r\n"));
			p->is_over = true;
		}
	}
	maildrop_mark_seen(p);
	if (e == ERR_LIMIT)
		session_printf(p->s, "-ERR a command is at most %d characters long; goodbye\r\n", POP3_LINE_MAX);
	return p->is_over || (e != ERR_OK && e != ERR_AGAIN) || session_is_dead(p->s) ? SESSION_CLOSE : SESSION_WAIT;
}

const struct engine pop3_engine = {
	.protocol = PROTOCOL_POP3,
	.open = engine_open,
	.input = engine_input,
	.close = engine_close,
};
