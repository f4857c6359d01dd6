/* mx between servers on port 25, queue, keys, control and master. */
#include "role/role_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *const words[] = {
	"EHLO x.test\r\n", "MAIL FROM:<a@b.test>\r\n", "RCPT TO:<alice@example.test>\r\n", "RCPT TO:<staff@example.test>\r\n", "DATA\r\n",
	"Subject: x\r\n\r\nbody\r\n.\r\n", "BDAT 5 LAST\r\nhello", "BDAT 3\r\nabc", "RSET\r\n", "QUIT\r\n", "NOOP\r\n", "VRFY x\r\n", "STARTTLS\r\n",
	"HELO y\r\n", "MAIL FROM:<> SIZE=1000 BODY=BINARYMIME\r\n", "RCPT TO:<nobody@example.test> NOTIFY=NEVER\r\n", "EXPN\r\n", "\r\n", "x", "MAIL FROM:<a@b.test> SIZE=300000\r\n",
	NULL
};

/* Enough of a message that it goes to a spool file. */
static void put_bulk(UNUSED struct fuzz_world *w, struct buf *b)
{
	for (int i = 0; i < 2600; i++)
		buf_add_cstr(b, "a line of a hundred bytes, of which there are so many that the message does not stay in memory ..\r\n");
}

static const struct fuzz_row rows[] = {
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_DIRECTORY, "vD" },
	{ FUZZ_SEND, ROLE_KEYS, REQUEST_CERTIFICATES, "=0=0=0=0=0" },
	{ FUZZ_SAY, ROLE_MX, 0, "w" },
	{ FUZZ_SAY, ROLE_MX, 0, "ww" },
	{ FUZZ_SAY, ROLE_MX, 0, "r" },
	{ FUZZ_ANSWER, ROLE_QUEUE, REQUEST_ADD, "88" },
	{ FUZZ_ANSWER, ROLE_QUEUE, REQUEST_ADD, "r" },
	{ FUZZ_ANSWER, ROLE_QUEUE, REQUEST_SPOOL, "8F" },
	{ FUZZ_ANSWER, ROLE_QUEUE, REQUEST_SPOOL, "r" },
	{ FUZZ_SAY, ROLE_MX, 0, "X" },
	{ FUZZ_SEND, ROLE_KEYS, REQUEST_CERTIFICATES, "=1h=1=0=0=0h(s)(s)" },
	{ FUZZ_SEND, ROLE_KEYS, REQUEST_CERTIFICATES, "M" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_DIRECTORY, "vM" },
	{ FUZZ_SEND, ROLE_MASTER, NOTICE_CONNECT, "14P" },
	{ FUZZ_HANG_UP, ROLE_MX, 0, NULL },
	{ FUZZ_DIE, ROLE_QUEUE, 0, NULL },
	{ FUZZ_DIE, ROLE_KEYS, 0, NULL },
};

static const struct fuzz_role mx = { .role = ROLE_MX, .rows = rows, .row_count = COUNT_OF(rows), .listens = PROTOCOL_SMTP, .words = words,
                                     .hook = put_bulk, .before = "AB" };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) { return role_fuzz(&mx, data, n); }
