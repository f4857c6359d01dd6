/* net/session.h -- a logged-in client as a cell's engine sees it: bytes in, bytes out, and the promise that waiting costs
 * nothing. An engine (imap, pop3, submission) is a row of functions; the pool of the cell (net/pool.c) calls them, one thread
 * for one session at a time.
 *
 * Reading a line never blocks: when no complete line is there the engine returns SESSION_WAIT and is called again. Reading a
 * literal or DATA inside a command blocks, with a deadline. Writing is buffered and flushed when the engine returns or the
 * buffer is full; it blocks, with a deadline; on a dead connection reads fail and writes do nothing. */
#ifndef FACTEUR_NET_SESSION_H
#define FACTEUR_NET_SESSION_H
#include "base/arena.h"
#include "base/buf.h"
#include "ipc/frame.h"

struct session;

enum session_next {
	SESSION_WAIT,    /* call input() again when bytes come; park after 2 s without any */
	SESSION_WAIT_NEWS, /* the same, but also when the account has changed (attached_changed()), and parked it is told news */
	SESSION_PARK,    /* park now (IDLE): news are wanted. Where it cannot be parked: as SESSION_WAIT_NEWS */
	SESSION_CLOSE,   /* flush, then end the connection */
	SESSION_UNAUTH,  /* flush, then back to the login phase; what the client has sent already goes along */
};

/* One protocol's engine. cell: what role/cell.c gave the pool (struct cell of role/cell.h is opaque here). */
struct engine {
	enum protocol protocol;
	/* After a login: says the login succeeded (tagged OK, +OK, 235) and returns the engine's state. NULL: it has said why not; the
	 * session ends. */
	void *(*open)(struct session *s, void *cell);
	/* From a parked record; the client has sent something. NULL: the record cannot be used; it has said BYE. */
	void *(*resume)(struct session *s, void *cell, struct str record);
	/* Runs every complete command that is there; none may be there (SESSION_WAIT_NEWS). */
	enum session_next (*input)(void *state);
	/* Writes the parked state (at most PARK_RECORD_MAX) and the modseq it knows; false: cannot be parked now. NULL: never parks. */
	bool (*park)(void *state, struct buf *record, uint64_t *modseq);
	void (*close)(void *state);
	/* News for a parked session that wants them: bytes to send (may be empty) and the new record. NULL: none. */
	enum rendered (*render)(void *cell, struct str record, struct buf *bytes, struct buf *new_record, uint64_t *modseq);
	/* The server ends the session (it stops, the password was changed): say so in the protocol's words. NULL: says nothing. */
	void (*bye)(void *state);
};

const struct session_open *session_info(const struct session *s);   /* record is empty here */
uint64_t session_guest(const struct session *s);                    /* the account whose cell it comes from; 0: from a gate */
/* For park(): news are not this account's, or is_own not only, but those of others, PARK_WAITS_MAX at most. What is known of that one is modseq;
 * how: ipc/frame.h. It is asked also when park() says that it cannot be. */
void session_waits_for(struct session *s, uint64_t account, uint64_t modseq, enum wait how);
void session_waits_for_own(struct session *s);
/* Who shares something with this account, and did not before. is_unknown: it was told that there is somebody, and could not look. */
void session_waits_for_gains(struct session *s, bool is_unknown);
/* Beside those of session_info(): of the accounts that it waits for with WAIT_ASKS_ONCE, those that have changed since it could not be parked, u64 each;
 * 0: somebody shares something with this account who did not before. */
struct str session_take_changed(struct session *s, struct arena *a);

/* A line ended by LF (a CR before it is cut off), at most max bytes without the ending; *line is valid until the next read.
 * ERR_AGAIN: not complete yet; ERR_LIMIT: longer than max (the engine answers and closes); ERR_CLOSED. */
enum err session_line(struct session *s, size_t max, struct str *line) MUST_CHECK;
/* The same, but waits for the line, inside a command (AUTHENTICATE continuation, DONE). ERR_TIMEOUT. */
enum err session_line_wait(struct session *s, size_t max, int timeout_ms, struct str *line) MUST_CHECK;
/* Between 1 and max bytes, waiting for them. *bytes is valid until the next read. ERR_TIMEOUT, ERR_CLOSED. */
enum err session_read(struct session *s, size_t max, int timeout_ms, struct str *bytes) MUST_CHECK;
bool session_has_input(const struct session *s);
/* The engine is about to wait for another role: lets another thread serve the account's other sessions meanwhile. */
void session_will_wait(struct session *s);

void session_write(struct session *s, struct str bytes);
void session_printf(struct session *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void session_flush(struct session *s);
void session_compress(struct session *s);        /* after the OK is written: flushes, then the gate deflates (RFC 4978) */
/* The peer is gone or too slow, or the session has to end: finish quickly. Writes may still arrive: half an answer must not look whole. */
bool session_is_dead(const struct session *s);
/* The wire bytes written so far, for logs and statistics. */
uint64_t session_bytes_out(const struct session *s);
struct arena *session_arena(struct session *s);  /* lives as long as the attachment */

/* For unit tests and fuzz targets of engines: a session over two buffers, without processes. Input that runs out is ERR_CLOSED
 * for waiting reads and ERR_AGAIN for session_line. */
struct session *session_for_test(const struct session_open *info, struct str input, struct buf *output);
void session_test_input(struct session *s, struct str more);
void session_test_guest(struct session *s, uint64_t guest);
struct str session_test_waits(const struct session *s);   /* what session_waits_for() was told, as in FRAME_PARK */
/* It has to end (the server stops) when so many more bytes have been written. */
void session_test_end_after(struct session *s, uint64_t bytes);
void session_test_free(struct session *s);
#endif
