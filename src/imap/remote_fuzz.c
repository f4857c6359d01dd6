/* Both sides of a shared mailbox, each with the other one gone bad. In one half of the runs a client of this account works in mailboxes of another
 * one, whose cell answers whatever comes to its mind; in the other half somebody else's cell speaks for its guest, who has some rights here.
 *
 * The first byte chooses the half. Then bytes are fragments of commands, as in engine_fuzz.c, up to a byte 255; what follows are the other cell's
 * answers, those of one visit after the other, cut by bytes 254. */
#include "base/test.h"
#include "base/wire.h"
#include "imap/engine.h"
#include "imap/imap_private.h"
#include "imap/remote.h"
#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define HERS "\"Other Users/alice@x/"
static const char *const fragments[] = {
	"\r\n", " ", "a1 ", "INBOX", HERS "INBOX\"", HERS, "(", ")", "\"", "1:*", "1",
	"a1 SELECT " HERS "INBOX\"\r\n", "a1 EXAMINE " HERS "f\" (QRESYNC (1 1))\r\n", "a1 ENABLE QRESYNC\r\n", "a1 SELECT INBOX\r\n", "UNSELECT\r\n", "CLOSE\r\n",
	"a1 NOOP\r\n", "a1 IDLE\r\n", "DONE\r\n", "FETCH 1:* (FLAGS)\r\n", "UID FETCH 1:* BODY[]\r\n", "SEARCH ALL\r\n", "STORE 1 +FLAGS (\\Seen k)\r\n", "EXPUNGE\r\n",
	"COPY 1:* INBOX\r\n", "UID MOVE 1:* Trash\r\n", "COPY 1:* " HERS "INBOX\"\r\n", "a1 MOVE 1:* " HERS "f\"\r\n",
	"a1 APPEND " HERS "INBOX\" (\\Seen) {12+}\r\nSubject: s\r\n\r\n", "a1 APPEND INBOX {12+}\r\nSubject: s\r\n\r\n", "a1 LIST \"\" *\r\n", "LIST \"\" \"Other Users/%\"\r\n",
	"a1 LIST (SUBSCRIBED) \"\" * RETURN (STATUS (MESSAGES) MYRIGHTS)\r\n", "LSUB \"\" *\r\n", "SUBSCRIBE " HERS "f\"\r\n", "STATUS " HERS "INBOX\" (MESSAGES HIGHESTMODSEQ)\r\n",
	"CREATE " HERS "f/g\"\r\n", "DELETE " HERS "f\"\r\n", "RENAME " HERS "f\" " HERS "h\"\r\n", "RENAME " HERS "f\" h\r\n", "REPLACE 1 INBOX {3+}\r\nabc\r\n",
	"GETQUOTAROOT " HERS "INBOX\"\r\n", "MYRIGHTS " HERS "INBOX\"\r\n", "GETACL " HERS "INBOX\"\r\n", "CREATE \"Other Users/x\"\r\n", "LOGOUT\r\n",
	/* answers */
	"a1 OK done\r\n", "a1 NO [NOPERM] no\r\n", "a1 BAD what\r\n", "a1 OK [READ-WRITE] selected\r\n", "a1 OK [APPENDUID 3 4:5] stored\r\n", "+ idling\r\n", "+ \r\n",
	"* BYE gone\r\n", "* 3 EXISTS\r\n", "* 1 EXPUNGE\r\n", "* 1 FETCH (UID 5 FLAGS (\\Seen k) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" BODY[] {5}\r\nabcde)\r\n",
	"* 1 FETCH (UID 6 BODY[] {4000000000}\r\n", "* 2 FETCH (FLAGS ())\r\n", "* LIST (\\HasChildren) \"/\" " HERS "f\"\r\n", "* LIST () \"/\" INBOX\r\n",
	"* STATUS " HERS "f\" (MESSAGES 1)\r\n", "* STATUS INBOX (MESSAGES 1)\r\n", "* CAPABILITY x\r\n", "* ENABLED\r\n", "* VANISHED 1:9\r\n", "x OK no\r\n", "* ", "{3}\r\n",
	"* OK [CLOSED]\r\n", "~{18446744073709551615}\r\n", "{18446744073709551616}\r\n",
	/* names that are watched, messages that are claimed */
	"a1 NOTIFY SET STATUS (SUBTREE \"Other Users\" (MessageNew MessageExpunge MailboxName)) (PERSONAL (MailboxName))\r\n",
	"a1 NOTIFY SET (MAILBOXES " HERS "f\" (MailboxName)) (SELECTED (MessageNew MessageExpunge))\r\n", "notify OK done\r\n", "notify NO [INUSE] no\r\n",
	"* STATUS " HERS "f\" (MAILBOXID (F1))\r\n", "* STATUS " HERS "g\" (MAILBOXID (F1))\r\n", "* LIST (\\Noselect) \"/\" " HERS "g\"\r\n", "* LIST () \"/\" " HERS "f/g\"\r\n",
	"a1 CLAIM 1:5\r\n", "a1 OK claimed\r\n", "UID MOVE 1:* " HERS "f\"\r\n", "UID EXPUNGE 1:5\r\n", "a1 APPEND INBOX CATENATE (URL \";UID=5\")\r\n", "* OK [UIDVALIDITY 7] x\r\n",
	"notify OK [NAMES 1f] x\r\n", "a1 NAMES\r\n",
};

enum { CUT_ANSWERS = 255, CUT_VISIT = 254, ANSWER_MAX = 30000, VISITS_MAX = 40, MESSAGES_MAX = 100, PARK = 253 };

static struct account account;
static const char *folder;
static struct str answers;
static int ends[VISITS_MAX];
static size_t n_ends;

static void remove_account(void)
{
	view_close(account.view);
	account.view = NULL;
	test_dir_remove(folder);
}

static void add(struct buf *b, uint8_t byte)
{
	if (byte < COUNT_OF(fragments))
		buf_add_cstr(b, fragments[byte]);
	else
		buf_add_char(b, (char)byte);
}

static enum err find(UNUSED void *context, struct str address, UNUSED struct arena *a, struct share_owner *out)
{
	*out = (struct share_owner){ str_eq(address, STR("alice@x")) ? 2 : 1, address };
	return address.n < 30 ? ERR_OK : ERR_NOTFOUND;
}

static enum err list(UNUSED void *context, struct arena *a, struct share_owner **out, size_t *n)
{
	*out = arena_array(a, 1, sizeof **out);
	**out = (struct share_owner){ 2, STR("alice@x") };
	*n = 1;
	return ERR_OK;
}

static enum err guest(UNUSED void *context, uint64_t number, UNUSED struct arena *a, struct guest *out)
{
	*out = (struct guest){ .account = number, .address = STR("bob@x") };
	return ERR_OK;
}

static enum err visit(UNUSED void *context, UNUSED uint64_t owner, int *fd)
{
	CLEANUP(buf_free) struct buf said = BUF(ANSWER_MAX);
	int pair[2];
	size_t used = 0;

	while (used < answers.n && (uint8_t)answers.p[used] != CUT_VISIT)
		add(&said, (uint8_t)answers.p[used++]);
	answers = str_from(answers, used < answers.n ? used + 1 : used);
	if (n_ends == VISITS_MAX || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return ERR_UNAVAILABLE;
	for (struct str rest = buf_str(&said); rest.n > 0; rest = str_from(rest, 5000))
		if (frame_send(pair[1], FRAME_DATA, str_sub(rest, 0, 5000), 0) != ERR_OK)
			break;
	shutdown(pair[1], SHUT_WR);  /* it hears us, and says no more */
	ends[n_ends++] = pair[1];
	*fd = pair[0];
	return ERR_OK;
}

static const struct others others = { find, list, guest, visit, NULL };

static void make_account(void)
{
	const struct view_config config = { .account = 1, .limits.quota_bytes = 30000 };
	CLEANUP(arena_free) struct arena a = { 0 };
	struct mailbox m;
	struct quota q = { 0 };

	if (account.view != NULL)
		view_quota(account.view, &q);
	else if (account.account == 0)
		atexit(remove_account);
	if (account.view != NULL && q.messages <= MESSAGES_MAX)
		return;
	if (account.view != NULL)
		remove_account();
	folder = test_dir();
	account = (struct account){ .account = 1, .others = &others };
	if (view_open(folder, &config, &account.view) != ERR_OK || view_mailbox_find(account.view, STR("INBOX"), &a, &m) != ERR_OK)
		abort();
	const struct acl_entry line = { .who = { .kind = SUBJECT_ACCOUNT, .account = 7, .name = STR("bob@x") }, .rights = RIGHTS_ALL };
	if (acl_write(account.view, m.mailbox_id, ACL_SET, &line) != ERR_OK)
		abort();
}

/* Parks, and comes back with the same record. */
static void *park(struct session *s, void *state, struct buf *record)
{
	uint64_t modseq;

	buf_reset(record);
	if (session_has_input(s) || !imap_engine.park(state, record, &modseq))
		return state;
	imap_engine.close(state);
	return imap_engine.resume(s, &account, buf_str(record));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct session_open info = { .protocol = PROTOCOL_IMAP, .command = STR("a0 LOGIN"), .login_name = STR("alice@x") };
	CLEANUP(buf_free) struct buf out = BUF(256 << 20), pending = BUF(1 << 20), record = BUF(PARK_RECORD_MAX), changed = BUF(8);
	bool is_guest = n > 0 && data[0] & 1;
	size_t cut = 1;
	enum session_next next = SESSION_WAIT;

	put_u64(&changed, 2);  /* alice's account has always changed */
	info.changed = buf_str(&changed);
	make_account();
	while (cut < n && data[cut] != CUT_ANSWERS)
		cut++;
	answers = n > cut ? str_make(data + cut + 1, n - cut - 1) : STR("");
	struct session *s = session_for_test(&info, STR(""), &out);
	session_test_guest(s, is_guest ? 7 : 0);
	imap_fresh_record((struct imap_tongue){ .is_rev2 = is_guest && data[0] & 2 }, &record);
	void *state = is_guest ? imap_engine.resume(s, &account, buf_str(&record)) : imap_engine.open(s, &account);
	assert(state != NULL);
	for (size_t i = 1; i < cut && state != NULL && next != SESSION_CLOSE; i++) {
		if (data[i] != PARK)
			add(&pending, data[i]);
		if (data[i] != PARK && i + 1 < cut)
			continue;
		session_test_input(s, buf_str(&pending));
		buf_reset(&pending);
		next = imap_engine.input(state);
		assert(!out.failed);
		if (next != SESSION_CLOSE)
			state = park(s, state, &record);
		buf_reset(&out);
	}
	if (state != NULL)
		imap_engine.close(state);
	session_test_free(s);
	while (n_ends > 0)
		close(ends[--n_ends]);
	return 0;
}
