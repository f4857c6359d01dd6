/* gate between clients, cells that were taken over, keys, control and master. */
#include "role/role_fuzz.h"

#define GRANTED "%744gss"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *const words[] = {
	"a1 LOGIN alice secret\r\n", "a1 CAPABILITY\r\n", "a1 AUTHENTICATE PLAIN\r\n", "AGFsaWNlAHNlY3JldA==\r\n", "a1 AUTHENTICATE SCRAM-SHA-256\r\n",
	"biwsbj1hbGljZSxyPWFiY2RlZg==\r\n", "Yz1iaXdzLHI9YWJjZGVmR0hJLHA9QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE9\r\n", "a1 LOGIN {5+}\r\nalice {6+}\r\nsecret\r\n",
	"a1 STARTTLS\r\n", "a2 IDLE\r\n", "DONE\r\n", "a3 NOOP\r\n", "a4 LOGOUT\r\n", "*\r\n", "a5 COMPRESS DEFLATE\r\n", "x", "\r\n", NULL
};

static const struct fuzz_row rows[] = {
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_DIRECTORY, "vD" },
	{ FUZZ_SEND, ROLE_KEYS, REQUEST_CERTIFICATES, "=0=0=0=0=0" },
	{ FUZZ_SAY, ROLE_GATE, 0, "w" },
	{ FUZZ_ANSWER, ROLE_KEYS, REQUEST_VERIFY, "=144gss" },
	{ FUZZ_FRAME, ROLE_CELL, FRAME_DATA, "w" },
	{ FUZZ_FRAME, ROLE_CELL, FRAME_PARK, "88bss" },
	{ FUZZ_SAY, ROLE_GATE, 0, "r" },
	{ FUZZ_ANSWER, ROLE_KEYS, REQUEST_VERIFY, GRANTED },
	{ FUZZ_ANSWER, ROLE_KEYS, REQUEST_SCRAM_FIRST, "%748s" },
	{ FUZZ_ANSWER, ROLE_KEYS, REQUEST_SCRAM_FINAL, GRANTED },
	{ FUZZ_ANSWER, ROLE_KEYS, REQUEST_PRINTER, GRANTED },
	{ FUZZ_ANSWER, ROLE_KEYS, REQUEST_VERIFY, "r" },
	{ FUZZ_FRAME, ROLE_CELL, FRAME_DATA, "r" },
	{ FUZZ_FRAME, ROLE_CELL, FRAME_COMPRESS, "w" },
	{ FUZZ_FRAME, ROLE_CELL, FRAME_LOGOUT, "" },
	{ FUZZ_FRAME, ROLE_CELL, FRAME_UNAUTH, "8s" },
	{ FUZZ_FRAME, ROLE_CELL, FRAME_RENDERED, "4%48ss" },
	{ FUZZ_FRAME, ROLE_CELL, FRAME_RENDERED, "r" },
	{ FUZZ_FRAME, ROLE_CELL, FRAME_PARK, "r" },
	{ FUZZ_FRAME, ROLE_CELL, FRAME_REFUSED, "12" },
	{ FUZZ_FRAME, ROLE_CELL, 77, "r" },
	{ FUZZ_SEND, ROLE_MASTER, NOTICE_GATE_CHANGED, "a8" },
	{ FUZZ_SEND, ROLE_MASTER, NOTICE_GATE_EPOCH, "a4" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_GATE_SESSIONS, "4" },
	{ FUZZ_SEND, ROLE_KEYS, REQUEST_CERTIFICATES, "=1h=1=0=0=0h(s)(s)" },
	{ FUZZ_SEND, ROLE_KEYS, REQUEST_CERTIFICATES, "M" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_DIRECTORY, "vM" },
	{ FUZZ_SEND, ROLE_MASTER, NOTICE_CONNECT, "14P" },
	{ FUZZ_HANG_UP, ROLE_GATE, 0, NULL },
	{ FUZZ_DIE, ROLE_KEYS, 0, NULL },
	{ FUZZ_DIE, ROLE_CONTROL, 0, NULL },
	{ FUZZ_FRAME, ROLE_CELL, FRAME_PARK, "88=1s{%8a8%3}" },
	{ FUZZ_ANSWER, ROLE_MASTER, REQUEST_MAY_WAIT, "" },
	{ FUZZ_FRAME, ROLE_CELL, FRAME_WAITS, "%8{a8%3}" },
	{ FUZZ_SEND, ROLE_MASTER, NOTICE_GATE_GAINED, "{a}" },
};

static const struct fuzz_role gate = { .role = ROLE_GATE, .rows = rows, .row_count = COUNT_OF(rows), .listens = PROTOCOL_IMAP,
                                       .words = words, .before = "AB" };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) { return role_fuzz(&gate, data, n); }
