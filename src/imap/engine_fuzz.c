/* A logged-in client that says anything, made of words it might say. Low bytes choose a fragment, the others are themselves; four of
 * them park, render and attach, with the session's own record or with one made of the bytes that follow (a gate gone bad). The
 * account stays from one run to the next while it is small: whatever is in it must do no harm. */
#include "base/test.h"
#include "imap/engine.h"
#include "store/view.h"
#include "submit/account.h"
#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *const fragments[] = {
	"\r\n", " ", "a1 ", "\r\na2 ", "(", ")", "\"", "{1+}\r\nx", "{3}\r\nabc", "~{2+}\r\n\0x", "1:*", "1", "2,1", "*", "$", "NIL", "INBOX", "Trash",
	"a1 SELECT INBOX\r\n", "a1 SELECT INBOX (CONDSTORE)\r\n", "a1 EXAMINE Trash\r\n", "SELECT INBOX (QRESYNC (", "UNSELECT\r\n", "CLOSE\r\n",
	"a1 ENABLE QRESYNC\r\n", "ENABLE UTF8=ACCEPT IMAP4rev2\r\n", "a1 NOOP\r\n", "a1 IDLE\r\n", "DONE\r\n", "CAPABILITY\r\n", "ID (\"a\" NIL)\r\n",
	"FETCH ", "UID ", "FETCH 1:* ", "(UID FLAGS)", "ENVELOPE", "BODYSTRUCTURE", "BODY", "BODY[]", "BODY.PEEK[", "]", "<0.10>", "HEADER", ".FIELDS (",
	"HEADER.FIELDS.NOT (To)", "TEXT", "MIME", "1.2", "BINARY[1]", "BINARY.PEEK[1]<1.2>", "BINARY.SIZE[1]", "RFC822", ".SIZE", "INTERNALDATE", "MODSEQ",
	"EMAILID THREADID", " (CHANGEDSINCE 1", " VANISHED)", "ALL", "FULL", "FAST",
	"SEARCH ", "RETURN (MIN MAX COUNT ALL SAVE) ", "OR ", "NOT ", "ALL ", "TEXT x ", "BODY b ", "SUBJECT s ", "HEADER To \"\" ", "SINCE 1-Jan-2020 ",
	"LARGER 1 ", "KEYWORD k ", "MODSEQ 1 ", "UID 1:* ", "CHARSET UTF-8 ", "EMAILID M1 ", "UNSEEN ",
	"FUZZY ", "RETURN (RELEVANCY ALL) ", "SORT (RELEVANCY SUBJECT) UTF-8 ",
	"STORE ", "STORE 1:* +FLAGS (\\Seen k)\r\n", "(UNCHANGEDSINCE 1) ", "+FLAGS.SILENT ", "-FLAGS ", "FLAGS ", "(\\Deleted)", "\\Answered", "EXPUNGE\r\n",
	"UID EXPUNGE 1:*\r\n", "COPY 1:* Trash\r\n", "MOVE ", "a1 APPEND INBOX (\\Seen) {26+}\r\nSubject: s\r\nTo: t\r\n\r\nbody\r\n", "APPEND ",
	" \"17-Jul-1996 02:44:25 -0700\" ", "CREATE ", "CREATE f/g/h\r\n", "DELETE ", "RENAME ", "f", "/", "%", "&AMk-", "\xc3\x89", "SUBSCRIBE ", "LSUB \"\" *\r\n",
	"LIST ", "\"\" ", "(SUBSCRIBED RECURSIVEMATCH)", " RETURN (SPECIAL-USE CHILDREN STATUS (MESSAGES))", "STATUS INBOX ", "(MESSAGES UIDNEXT SIZE DELETED)",
	"a1 LANGUAGE fr-CA\r\n", "COMPARATOR \"i;*\"\r\n", "CATENATE (", "URL \"/INBOX/;UID=1\"", "TEXT {4+}\r\nabcd", "URL ;UID=1/;SECTION=", "/;PARTIAL=1.2",
	"SETMETADATA f (", "a1 SETMETADATA f (/private/specialuse \"\\\\Sent\")\r\n", "a1 SETMETADATA Sent (/private/specialuse NIL)\r\n", "/private/comment ", "/shared/x {1+}\r\ny)\r\n",
	"GETMETADATA (DEPTH infinity MAXSIZE 5) f (/private)\r\n", " RETURN (METADATA (/private/comment /private/specialuse))", " (USE (\\Sent \\Junk))\r\n",
	"a1 SUBSCRIBE gone/deep/x\r\n", "a1 LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (% gone/%)\r\n", "(SPECIAL-USE RECURSIVEMATCH)", "LSUB \"\" %\r\n",
	"REPLACE 1 INBOX ", "THREAD REFS UTF-8 ALL\r\n", "PREVIEW (LAZY)", "SAVEDATE ", " (PARTIAL -1:-5)", "RETURN (PARTIAL 1:2 SAVE) ",
	"GETQUOTA \"\"\r\n", "GETQUOTAROOT ", "NAMESPACE\r\n", "COMPRESS DEFLATE\r\n", "CHECK\r\n", "4294967295", "4294967296", "0", "18446744073709551615",
	"a1 SETACL INBOX ", "anyone ", "-bob ", "lrswipkxtecda", "+", "DELETEACL ", "GETACL INBOX\r\n", "LISTRIGHTS INBOX ", "MYRIGHTS ", "RETURN (MYRIGHTS)",
	"ENABLE UIDONLY\r\n", "UIDBATCHES 500 1:2\r\n",
	"RETURN (UPDATE CONTEXT COUNT) ", "RETURN (UPDATE (UID FLAGS)) ", "SORT RETURN (UPDATE) (SUBJECT) UTF-8 UNSEEN\r\n", "CANCELUPDATE \"a1\"\r\n",
	"ESEARCH IN (personal selected subtree-one (f Trash)) ", "ESEARCH ", "IN (selected) ",
	"NOTIFY SET STATUS ", "(selected (MessageNew (UID FLAGS BODY[TEXT]) MessageExpunge FlagChange))", "(personal (MessageNew MessageExpunge FlagChange))",
	"(subtree f (MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange))\r\n", "selected-delayed ", "NOTIFY NONE\r\n",
};

enum { MESSAGES_MAX = 300, PARK = 0xf8, RENDER, ATTACH, HOSTILE_RENDER, HOSTILE_ATTACH };

struct client {
	struct account *account;
	struct session *s;
	void           *state;
	struct buf      out, pending, record;
	bool            is_over;
};

static const struct session_open info = { .protocol = PROTOCOL_IMAP, .command = STR("a0 LOGIN") };

static struct account account;
static const char *folder;

static void remove_account(void)
{
	view_close(account.view);
	account.view = NULL;
	test_dir_remove(folder);
}

static struct account *make_account(void)
{
	const struct view_config config = { .account = 1, .limits.quota_bytes = 30000 };
	struct quota q = { 0 };

	if (account.view != NULL)
		view_quota(account.view, &q);
	else if (account.account == 0)
		atexit(remove_account);
	if (account.view != NULL && q.messages <= MESSAGES_MAX)
		return &account;
	if (account.view != NULL)
		remove_account();
	account.account = 1;
	folder = test_dir();
	if (view_open(folder, &config, &account.view) != ERR_OK)
		abort();
	return &account;
}

static void detach(struct client *c)
{
	if (c->state != NULL)
		imap_engine.close(c->state);
	c->state = NULL;
	session_test_free(c->s);
	c->s = NULL;
}

static void say(struct client *c)
{
	if (c->state == NULL || c->pending.n == 0)
		return;
	session_test_input(c->s, buf_str(&c->pending));
	buf_reset(&c->pending);
	c->is_over = imap_engine.input(c->state) == SESSION_CLOSE;
	assert(!c->out.failed);
	buf_reset(&c->out);
}

static void park(struct client *c)
{
	uint64_t modseq;

	if (c->state == NULL || session_has_input(c->s))
		return;
	buf_reset(&c->record);
	if (imap_engine.park(c->state, &c->record, &modseq))
		detach(c);
	assert(c->record.n <= PARK_RECORD_MAX);
}

static void attach(struct client *c, struct str record)
{
	if (c->state != NULL)
		return;
	c->s = session_for_test(&info, STR(""), &c->out);
	c->state = imap_engine.resume(c->s, c->account, record);
	if (c->state == NULL) {
		session_test_free(c->s);
		c->s = NULL;
	}
	c->is_over = c->state == NULL;
}

static void render(struct client *c, struct str record)
{
	CLEANUP(buf_free) struct buf bytes = BUF(FRAME_DATA_MAX), next = BUF(PARK_RECORD_MAX);
	uint64_t modseq;

	if (record.n > 0 && imap_engine.render(c->account, record, &bytes, &next, &modseq) == RENDERED_KEEP && c->state == NULL) {
		buf_reset(&c->record);
		buf_add(&c->record, buf_str(&next));
	}
}

static void act(struct client *c, uint8_t what, struct str rest)
{
	struct str hostile = str_sub(rest, 0, PARK_RECORD_MAX);

	say(c);
	switch (what) {
	case PARK:            park(c); break;
	case RENDER:          render(c, buf_str(&c->record)); break;
	case ATTACH:          attach(c, buf_str(&c->record)); break;
	case HOSTILE_RENDER:  render(c, hostile); break;
	case HOSTILE_ATTACH:  park(c); attach(c, hostile); break;
	default:              break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct client c = { .account = make_account(), .out = BUF(256 << 20), .pending = BUF(1 << 20), .record = BUF(PARK_RECORD_MAX) };

	c.s = session_for_test(&info, STR(""), &c.out);
	c.state = imap_engine.open(c.s, c.account);
	assert(c.state != NULL);
	for (size_t i = 0; i < n && !c.is_over; i++) {
		if (data[i] >= PARK && data[i] <= HOSTILE_ATTACH)
			act(&c, data[i], str_make(data + i + 1, n - i - 1));
		else if (data[i] < COUNT_OF(fragments))
			buf_add_cstr(&c.pending, fragments[data[i]]);
		else
			buf_add_char(&c.pending, (char)data[i]);
	}
	if (!c.is_over)
		say(&c);
	if (c.s != NULL)
		detach(&c);
	buf_free(&c.out);
	buf_free(&c.pending);
	buf_free(&c.record);
	return 0;
}
