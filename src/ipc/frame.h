/* ipc/frame.h -- what gate and cell say to each other on the socketpair of one session (DESIGN.md §2).
 * SOCK_SEQPACKET: one datagram is one frame {u8 type, bytes}, at most FRAME_MAX; what a cell has for a client (DATA, COMPRESS) may come in
 * frames of FRAME_LARGE_MAX, because each frame of a large answer wakes the gate and is a write to the network. */
#ifndef FACTEUR_IPC_FRAME_H
#define FACTEUR_IPC_FRAME_H
#include "ipc/grant.h"
#include "ipc/role.h"
#include "text/text.h"

enum { FRAME_MAX = 16384, FRAME_DATA_MAX = FRAME_MAX - 1, FRAME_LARGE_MAX = 65536, FRAME_LARGE_DATA_MAX = FRAME_LARGE_MAX - 1,
       PARK_RECORD_MAX = 2048, PARK_WAITS_MAX = 64 /* other accounts */, PARK_WAIT_SIZE = 17,
       PARK_CHANGED_MAX = 8 * (PARK_WAITS_MAX + 1) };

enum attach { ATTACH_SESSION = 1, ATTACH_RENDER = 2, ATTACH_GUEST = 3 /* a session from another account's cell; master says whose */ };

/* How a parked session waits for another account: attached again until it knows the newest change; asked once for each change, whatever it knows
 * then; the same, and it could not ask for the last one. */
enum wait { WAIT_KNOWS, WAIT_ASKS_ONCE, WAIT_COULD_NOT_ASK };

/* What a session waits for besides; bits. */
enum {
	WAIT_OWN = 1,               /* changes of its own account */
	WAIT_GAINS = 2,             /* somebody shares something with it who did not before */
	WAIT_GAINS_UNKNOWN = 4,     /* the same, and what it was told of last it could not look at */
};

enum frame {
	/* gate -> cell */
	FRAME_OPEN = 1,    /* first frame of a session: struct session_open */
	FRAME_DATA,        /* both ways: bytes of the client, or for the client */
	FRAME_EOF,         /* the client closed its side */
	FRAME_STATE,       /* in a RENDER attachment: u32 index, grant, u8 protocol, str record */
	/* cell -> gate */
	FRAME_PARK,        /* u64 bytes_in, u64 modseq, bool wants_news, str record. bytes_in: all DATA bytes the cell has read. The
	                    * gate agrees by closing the pair; when it has sent more than bytes_in it ignores the frame and the
	                    * session goes on, so that no byte is lost between the two. Then str: whose changes it waits for. Empty: this
	                    * account's. Else u8: WAIT_OWN and the like; and for each other one u64 account, u64 modseq that it knows, u8 enum wait
	                    * (net/parked.h). The whole frame empty, to the cell of a guest's session: park now, or say STAYS. */
	FRAME_COMPRESS,    /* bytes for the client, still plain (the OK); what follows is deflated in both directions (RFC 4978). One
	                    * frame, because the client compresses as soon as it has read the OK; gate does it */
	FRAME_LOGOUT,      /* send what is buffered, then close the connection */
	FRAME_UNAUTH,      /* back to the login phase (RFC 8437): u64 bytes_in, str what the client sent after it gave up its login. The gate
	                    * agrees and goes on as with PARK: by closing the pair, or with more bytes, which the cell sends back in the next one */
	FRAME_RENDERED,    /* u32 index, u8 enum rendered, u64 modseq, str record, str bytes */
	FRAME_REFUSED,     /* master or cell: no session now: u8 enum err, u16 enum text: what the client is told (frame_refuse()) */
	FRAME_STAYS,       /* (empty) this session cannot be parked now */
	FRAME_WAITS,       /* one that cannot be parked waits all the same: as the str of PARK that says for whom, never empty. Holds until
	                    * CHANGED, the next WAITS or PARK */
	/* gate -> cell */
	FRAME_CHANGED,     /* the answer: as session_open.changed. Counts as one byte of DATA, so that no PARK is agreed to that knows nothing of it */
};

enum rendered {
	RENDERED_KEEP = 1,  /* send the bytes, keep the new record */
	RENDERED_ATTACH,    /* too much for one frame: attach the session again, its engine will say it */
	RENDERED_BYE,       /* send the bytes and close */
};

/* What a cell must know of a client; the strings are borrowed. */
struct session_open {
	struct grant  grant;
	enum protocol protocol;
	bool          is_tls;
	bool          is_compressed;
	struct str    peer;         /* "192.0.2.7" or "2001:db8::7", without brackets */
	uint16_t      peer_port, local_port;
	struct str    login_name;   /* as typed */
	struct str    command;      /* protocol's own: IMAP: tag and what was done ("a1 LOGIN", perhaps " fr"); submission: the EHLO name; POP3: "UTF8" if it was asked for */
	struct str    tls_text;     /* "TLSv1.3 TLS_AES_128_GCM_SHA256", for Received and the session list */
	struct str    record;       /* empty: new session; else the parked state to go on from */
	struct str    changed;      /* of the accounts that it waited for with WAIT_ASKS_ONCE: those that have changed, u64 each; 0: WAIT_GAINS */
};

void put_session_open(struct buf *b, const struct session_open *o);
bool get_session_open(struct scan *s, struct session_open *o);   /* false: malformed */

/* Sends one frame; waits while there is no room for it with the peer, at most timeout_ms (0: never waits, ERR_AGAIN). ERR_TIMEOUT; ERR_CLOSED;
 * ERR_LIMIT: the pair takes no frame of this size (net.core.wmem_default is small). */
enum err frame_send(int fd, enum frame type, struct str bytes, int timeout_ms) MUST_CHECK;
/* The same, of two pieces of memory. */
enum err frame_send_both(int fd, enum frame type, struct str bytes, struct str more, int timeout_ms) MUST_CHECK;
/* No session now, and why. Never waits: who does not read it sees the pair close. */
void frame_refuse(int fd, enum err why, enum text sentence);
bool get_refusal(struct scan *s, enum err *why, enum text *sentence);   /* false: malformed */
/* Receives one into room (FRAME_MAX bytes). ERR_AGAIN: none waits (non-blocking); ERR_CLOSED; ERR_INVALID: empty or over FRAME_MAX. */
enum err frame_receive(int fd, char *room, enum frame *type, struct str *bytes) MUST_CHECK;
/* The same, of a cell's own gate: room has FRAME_LARGE_MAX bytes. */
enum err frame_receive_large(int fd, char *room, enum frame *type, struct str *bytes) MUST_CHECK;
#endif
