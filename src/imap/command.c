/* Reading commands. A command is whole before its handler sees it: lines joined, literals where they came, so that parsing is one
 * cursor over one piece of bytes and never waits. Only APPEND reads its own literals, because a message does not belong into
 * memory.
 *
 * A literal that is too large: without "+" the client waits for our leave and gets NO instead; with "+" it is sending already,
 * so up to IMAP_DROP_MAX are read and dropped; beyond that the connection ends (RFC 7888 §4). */
#include "imap/imap_private.h"

enum { IMAP_DROP_MAX = 1 << 20 };

static const struct imap_command commands[] = {
#define COMMAND(word, handler, allowed, advertises, arguments, spec) { { word, sizeof(word) - 1 }, handler, allowed },
#define FEATURE(word, before_login, spec)
#include "imap/commands.def"
#undef COMMAND
#undef FEATURE
};

static const struct imap_command *find(struct str word, bool is_uid)
{
	for (size_t i = 0; i < COUNT_OF(commands); i++) {
		struct str name = commands[i].word;
		bool row_is_uid = str_starts(name, STR("UID "));
		if (row_is_uid == is_uid && str_ieq(word, row_is_uid ? str_from(name, 4) : name))
			return &commands[i];
	}
	return NULL;
}

static void say(struct imap_session *s, const char *text)
{
	struct imap_cmd *c = &s->cmd;

	session_printf(s->s, STR_FMT " %s\r\n", STR_ARG(c->tag.n ? c->tag : STR("*")), text);
}

static enum imap_read refuse(struct imap_session *s, const char *text)
{
	imap_flush(s);
	say(s, imap_in(s->tongue.lang, text));
	s->errors++;
	return IMAP_READ_REFUSED;
}

static enum imap_read end(struct imap_session *s, const char *text)
{
	imap_flush(s);
	session_printf(s->s, "* BYE %s\r\n", imap_in(s->tongue.lang, text));
	return IMAP_READ_OVER;
}

/* tag SP command-word [SP arguments]; leaves the cursor at the arguments */
static enum imap_read read_head(struct imap_session *s, struct str line)
{
	struct imap_cmd *c = &s->cmd;
	struct scan scan = scan_of(line);
	struct str word;

	c->tag = STR_NONE;
	c->why = NULL;
	c->has_numbers = false;
	c->limited_to = 0;
	c->lang = s->tongue.lang;
	c->tag = str_copy(&c->arena, imap_tag(&scan));
	imap_sp(&scan);
	if (scan.failed) {
		c->tag = STR_NONE;
		return refuse(s, "BAD a command is: tag SP command [SP arguments]");
	}
	word = imap_atom(&scan);
	c->is_uid = str_ieq(word, STR("UID"));
	if (c->is_uid) {
		imap_sp(&scan);
		word = imap_atom(&scan);
	}
	bool is_whole = !scan.failed && (scan_take(&scan, ' ') || scan_done(&scan));
	c->row = is_whole ? find(word, c->is_uid) : NULL;
	c->args = scan;
	return IMAP_READ_DONE;
}

static bool drop_literal(struct imap_session *s, uint64_t n)
{
	struct str piece;

	for (; n > 0; n -= piece.n)
		if (session_read(s->s, n < 65536 ? (size_t)n : 65536, IMAP_LITERAL_TIMEOUT_MS, &piece) != ERR_OK)
			return false;
	return true;
}

bool imap_read_literal(struct imap_session *s, const struct imap_literal *l, struct buf *into)
{
	uint64_t left = l->n;
	struct str piece;

	if (l->waits) {
		imap_flush(s);
		session_write(s->s, STR("+ send the literal\r\n"));
		session_flush(s->s);
	}
	for (; left > 0; left -= piece.n) {
		if (session_read(s->s, left < 65536 ? (size_t)left : 65536, IMAP_LITERAL_TIMEOUT_MS, &piece) != ERR_OK)
			return false;
		buf_add(into, piece);
	}
	return true;
}

/* The rest of a refused command that the client sends without waiting: this literal, and what follows it on its last line, perhaps another
 * one. False: the peer is gone, or it would be too much. */
static bool drop_rest(struct imap_session *s, struct imap_literal l)
{
	struct str line;

	while (!l.waits) {
		if (l.n > IMAP_DROP_MAX || !drop_literal(s, l.n) ||
		    session_line_wait(s->s, IMAP_LINE_MAX, IMAP_LITERAL_TIMEOUT_MS, &line) != ERR_OK)
			return false;
		if (!imap_literal_announced(line, &l))
			break;
	}
	return true;
}

static enum imap_read too_large(struct imap_session *s, const struct imap_literal *l)
{
	if (!drop_rest(s, *l))
		return end(s, "[TOOBIG] this literal is too large for a command");
	return refuse(s, "BAD [TOOBIG] this literal is too large for a command (262144 bytes in all)");
}

/* The rest of a command whose first line, with its head, is in c->text and ends with a literal. */
static enum imap_read read_literals(struct imap_session *s, struct imap_literal l)
{
	struct imap_cmd *c = &s->cmd;
	size_t args_at = scan_offset(&c->args);
	struct str line;

	for (;;) {
		if (l.n > IMAP_COMMAND_MAX - c->text.n)
			return too_large(s, &l);
		buf_add(&c->text, STR("\r\n"));
		if (!imap_read_literal(s, &l, &c->text) ||
		    session_line_wait(s->s, IMAP_LINE_MAX, IMAP_LITERAL_TIMEOUT_MS, &line) != ERR_OK)
			return end(s, "the rest of the command did not come in time");
		buf_add(&c->text, line);
		if (c->text.n > IMAP_COMMAND_MAX)
			return end(s, "[TOOBIG] the command is too long");
		if (!imap_literal_announced(line, &l))
			break;
	}
	c->args = scan_of(buf_str(&c->text));
	scan_bytes(&c->args, args_at);
	return IMAP_READ_DONE;
}

static enum imap_read check(struct imap_session *s)
{
	const struct imap_command *row = s->cmd.row;

	if (row == NULL || ((row->allowed & CELLS) && s->guest == NULL))
		return refuse(s, "BAD unknown command, or one that belongs before the login");
	if (s->guest != NULL && (row->allowed & IN_AUTH) && !(row->allowed & (GUESTS | NAMES)))
		return refuse(s, "NO [CANNOT] this is not possible in mailboxes of other accounts");
	if (!(row->allowed & (s->selected || s->remote ? IN_SELECTED : IN_AUTH)))
		return refuse(s, "BAD no mailbox is selected; SELECT one first");
	if ((row->allowed & NUMBERS) && s->tongue.is_uidonly)
		return refuse(s, "BAD [UIDREQUIRED] after ENABLE UIDONLY there are no message numbers; write UID before the command");
	return IMAP_READ_DONE;
}

enum imap_read imap_next_command(struct imap_session *s)
{
	struct imap_cmd *c = &s->cmd;
	struct imap_literal l;
	struct str line;
	enum imap_read got;
	enum err e = session_line(s->s, IMAP_LINE_MAX, &line);

	c->tag = STR_NONE;
	if (e == ERR_AGAIN)
		return IMAP_READ_NONE;
	if (e == ERR_LIMIT)
		return end(s, "[TOOBIG] a command line is at most 65536 bytes long");
	if (e != ERR_OK)
		return IMAP_READ_OVER;
	bool has_literal = imap_literal_announced(line, &l);
	buf_reset(&c->text);
	if (has_literal) {  /* keep it: reading on overwrites the line */
		buf_add(&c->text, line);
		line = buf_str(&c->text);
	}
	got = read_head(s, line);
	if (got == IMAP_READ_DONE && has_literal && (c->row == NULL || !(c->row->allowed & STREAMS))) {
		if (c->row == NULL && l.waits)  /* no leave is given to send it */
			return check(s);
		got = read_literals(s, l);
		has_literal = false;
	}
	if (got == IMAP_READ_DONE)
		got = check(s);
	if (got == IMAP_READ_REFUSED && has_literal && !drop_rest(s, l))  /* nobody may take it for commands */
		return IMAP_READ_OVER;
	return got;
}
